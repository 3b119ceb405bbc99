//! The Python client: its own tests, each of which starts a real `pserve`, and what a user's tools say of it.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// Where `cargo xtask` installs what is needed, if it is there; a skipped test is reported.
fn tools(test: &str, name: &str) -> Option<PathBuf> {
    let folder = e2e::artifacts().join("../tools").join(name);
    if folder.join("installed").exists() {
        return Some(folder);
    }
    e2e::skip(test, &format!("what xtask/{name}.txt lists is not installed"));
    None
}

/// Python in the folder of the package, with `packages` and nothing of the user's.
fn python(packages: &Path, arguments: &[&str]) -> Command {
    let mut path = vec![packages.join("bin")];
    path.extend(env::split_paths(&env::var_os("PATH").unwrap()));
    let caches = e2e::artifacts().join("../tools/python-caches");
    let mut python = Command::new("python3");
    python.args(arguments).current_dir(format!("{ROOT}/clients/python"));
    python.env("PATH", env::join_paths(path).unwrap()).env("PYTHONPATH", packages);
    python.env("PYTHONDONTWRITEBYTECODE", "1").env("PYTHONNOUSERSITE", "1");
    python.env("MYPY_CACHE_DIR", caches.join("mypy")).env("RUFF_CACHE_DIR", caches.join("ruff"));
    python.env("PRE_COMMIT_HOME", caches.join("pre-commit")).env("E2E_ARTIFACTS", e2e::artifacts());
    python
}

/// Runs it to its end; what it printed.
fn run(mut command: Command) -> String {
    let output = command.output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{told}\n{}", String::from_utf8_lossy(&output.stderr));
    told
}

#[test]
fn format_lints_and_types_of_the_python_code_hold() {
    let Some(packages) = tools("format_lints_and_types_of_the_python_code_hold", "python-client") else {
        return;
    };
    let arguments = ["-m", "pre_commit", "run", "--all-files", "--config", ".pre-commit-config.yaml"];
    let told = run(python(&packages, &arguments));
    assert_eq!(told.matches("Passed").count(), 3, "{told}");
}

#[test]
fn the_tests_of_the_python_client_pass() {
    let Some(packages) = tools("the_tests_of_the_python_client_pass", "python-client") else {
        return;
    };
    let told = run(python(&packages, &["-m", "pytest"]));
    assert!(told.contains(" passed") && !told.contains("skipped"), "{told}");
}

#[test]
fn djangos_own_tests_of_session_engines_pass() {
    let name = "djangos_own_tests_of_session_engines_pass";
    let (Some(packages), Some(tests)) = (tools(name, "python-client"), tools(name, "django-tests")) else {
        return;
    };
    let mut python = python(&packages, &["tests/django_suite.py"]);
    let path = env::join_paths([Path::new("src"), &packages]).unwrap();
    let told = run({
        python.arg(tests).env("PYTHONPATH", path);
        python
    });
    assert!(told.contains("76 of Django's tests ran, 0 skipped"), "{told}");
    assert_eq!(told.matches("left out: ").count(), 1, "{told}");
}

#[test]
fn the_package_is_built_and_installed_with_its_types() {
    let Some(packages) = tools("the_package_is_built_and_installed_with_its_types", "python-client") else {
        return;
    };
    // A build writes into the folder of the source.
    let folder = tempfile::tempdir().unwrap();
    let (source, installed) = (folder.path().join("source"), folder.path().join("installed"));
    run({
        let mut copy = Command::new("cp");
        copy.args(["-r", &format!("{ROOT}/clients/python")]).arg(&source);
        copy
    });
    let offline = ["-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-build-isolation"];
    let mut pip = python(&packages, &offline);
    pip.args(["--root-user-action", "ignore", "--target"]).arg(&installed).arg(&source);
    run(pip);
    assert!(installed.join("sessman/py.typed").exists());
    let code = "import sessman, importlib.metadata as m; print(sessman.__file__, m.requires('sessman'))";
    let mut user = python(&packages, &["-c", code]);
    user.env("PYTHONPATH", env::join_paths([&installed, &packages]).unwrap()).current_dir(folder.path());
    let told = run(user);
    assert!(told.starts_with(installed.to_str().unwrap()), "{told}");
    let always = told.split('\'').filter(|requirement| requirement.contains(['<', '>']));
    let always: Vec<&str> = always.filter(|requirement| !requirement.contains("extra ==")).collect();
    assert!(matches!(always[..], [only] if only.starts_with("httpx")), "{told}");
}
