//! What the host runs and reads, and who else may write to it; what lies beside its plugins.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use e2e::artifacts;
use e2e::pserve::Site;

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn site() -> Site {
    let site = Site::new();
    site.write("sessman.json", r#"{ "backend": "memory" }"#);
    site.write("key", "0123456789abcdef");
    let key = site.path("key");
    site.ini(&format!(
        "[auth]\napikey=${{FILE:{}}}\n[plugin_parms]\nsessman=json=sessman.json",
        key.display()
    ));
    site
}

/// Whether `pserve check` finds the site good, and what it says.
fn check(site: &Site) -> (bool, String) {
    let mut command = Command::new(artifacts().join("pserve"));
    let output = command.arg("-i").arg(site.path("pserve.ini")).arg("check").output().unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A shared library of the system.
fn library_of_the_system() -> PathBuf {
    let folders = ["/lib/x86_64-linux-gnu", "/lib/aarch64-linux-gnu", "/lib64", "/usr/lib64"];
    let libraries = folders.iter().map(|folder| Path::new(folder).join("libm.so.6"));
    libraries.into_iter().find(|path| path.exists()).expect("the library of mathematics")
}

#[test]
fn what_others_may_write_to_is_neither_run_nor_read() {
    let found = |name: &str, mode: u32| {
        let site = site();
        set_mode(&site.path(name), mode);
        (check(&site), site)
    };
    for name in ["pserve.ini", "sessman.json", "key", "plugins/libsessman_plugin.so", "plugins", "."] {
        let ((is_good, said), _site) = found(name, 0o755);
        assert!(is_good, "{name}: {said}");
        let ((is_good, said), site) = found(name, 0o777);
        assert!(!is_good && said.contains("everybody may write to it; `chmod o-w` it"), "{name}: {said}");
        // One whose plugin or parameters are refused serves the others.
        let started = site.try_start();
        let serves = started.as_ref().is_ok_and(|pserve| pserve.client().get("/readyz").status == 200);
        assert!(!serves, "{name}");
    }
}

#[test]
fn what_is_no_plugin_is_left_alone_and_keeps_nobody_from_being_ready() {
    let site = site();
    let pserve = site.start();
    let client = pserve.client().with("X-Custom-Auth", "0123456789abcdef");
    client.get("/readyz").expect(200);
    fs::copy(library_of_the_system(), site.path("plugins/libm.so")).unwrap();
    symlink(site.path("gone.so"), site.path("plugins/dangling.so")).unwrap();
    client.send("POST", "/reload/all", "").expect(200);
    client.get("/readyz").expect(200);
    let log = pserve.log();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("no plugin, and left alone")).collect();
    let names = ["dangling.so", "libm.so"];
    assert!(
        lines.len() == 2
            && lines.iter().zip(names).all(|(line, name)| line.contains("WARN") && line.contains(name)),
        "{log}"
    );
    let (is_good, said) = check(&site);
    assert!(is_good && names.iter().all(|name| said.contains(name)), "{said}");
    // What was a plugin until now is missed, whether or not a line names it.
    let plugin = site.path("plugins/libsessman_plugin.so");
    fs::remove_file(&plugin).unwrap();
    symlink(site.path("gone.so"), &plugin).unwrap();
    client.send("POST", "/reload/all", "").expect(422);
    client.get("/readyz").expect(200);
    fs::remove_file(&plugin).unwrap();
    fs::copy(library_of_the_system(), &plugin).unwrap();
    client.send("POST", "/reload/all", "").expect(422);
    client.get("/sessman/get?session_id=none").expect(404);
    // At a start the line names what is not there.
    let started = site.start();
    started.client().get("/readyz").expect(503);
}

#[test]
fn the_files_that_the_host_makes_are_for_its_user_and_group() {
    let site = site();
    let rest = "[log]\nfile=host.log\n[plugin_parms]\nsessman=json=sessman.json\n";
    site.write(
        "pserve.ini",
        format!("[network]\nport=0\n[paths]\nplugins=plugins\npidfile=host.pid\n{rest}"),
    );
    let _pserve = site.start();
    for name in ["host.log", "host.pid"] {
        assert_eq!(mode(&site.path(name)) & 0o027, 0, "{name}");
    }
}
