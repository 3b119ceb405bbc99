//! The packages of a release, made of the files that the tests use; `cargo xtask soak dist` looks at real ones.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use e2e::release::{Packages, first_steps, succeed};
use serde_json::Value;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
const PROGRAMS: [&str; 2] = ["pserve", "sessctl"];

/// Made once for all tests, in a folder that the next run makes anew.
fn packages() -> &'static Packages {
    static PACKAGES: OnceLock<Packages> = OnceLock::new();
    PACKAGES.get_or_init(|| {
        let into = std::path::absolute(e2e::artifacts().join("../dist-as-built")).unwrap();
        let _ = fs::remove_dir_all(&into);
        fs::create_dir_all(into.join("tree")).unwrap();
        fs::write(into.join("tree/of-somebody-else"), "").unwrap();
        Packages::make(Path::new(ROOT), &["--as-built"], &into)
    })
}

fn unpacked() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let unpacked = packages().unpack(folder.path());
    (folder, unpacked)
}

#[test]
fn checksums_are_of_the_packages_and_what_is_beside_them_stays() {
    let Packages { tarball, deb } = packages();
    let folder = tarball.parent().unwrap();
    assert!(folder.join("tree/of-somebody-else").exists());
    let sums = fs::read_to_string(folder.join("SHA256SUMS")).unwrap();
    let names: Vec<&str> = sums.lines().map(|line| line.split_once("  ").unwrap().1).collect();
    assert_eq!(names, [tarball, deb].map(|package| package.file_name().unwrap().to_str().unwrap()));
    succeed(Command::new("sha256sum").args(["--check", "--quiet", "SHA256SUMS"]).current_dir(folder));
}

/// What `pserve` and `sessctl` generate, in one folder.
fn generated() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for program in PROGRAMS {
        succeed(Command::new(e2e::artifacts().join(program)).arg("generate").arg(folder.path()));
    }
    folder
}

/// The program's commands, as its help lists them.
fn commands(program: &str) -> Vec<String> {
    let help = succeed(Command::new(e2e::artifacts().join(program)).arg("--help"));
    let listed = help.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    let names = listed.lines().filter_map(|line| line.split_whitespace().next());
    names.filter(|name| *name != "help").map(str::to_owned).collect()
}

#[test]
fn the_tarball_serves_in_an_empty_folder_as_the_page_says() {
    let folder = tempfile::tempdir().unwrap();
    let told = first_steps(&packages().tarball, folder.path());
    assert!(told.contains(r#""user_id":"ada""#) && told.contains("good; instances: sessman"), "{told}");
}

#[test]
fn the_tarball_has_all_that_the_page_names_and_nothing_of_this_machine() {
    let (_folder, unpacked) = unpacked();
    let page = fs::read_to_string(format!("{ROOT}/docs/install.md")).unwrap();
    let table = page.split("| in the folder | is |").nth(1).unwrap().split("\n\n").next().unwrap();
    let named: Vec<&str> = table.split('`').skip(1).step_by(2).collect();
    assert!(named.len() >= 12, "{named:?}");
    for name in named {
        assert!(unpacked.join(name).exists(), "{name}");
    }
    let here = std::path::absolute(ROOT).unwrap();
    let text = fs::read_to_string(unpacked.join("THIRD-PARTY-LICENSES.txt")).unwrap();
    assert!(text.contains("\ntokio 1.") && text.contains("Permission is hereby granted"));
    for file in ["THIRD-PARTY-LICENSES.txt", "sbom.cdx.json", "SHA256SUMS"] {
        let text = fs::read_to_string(unpacked.join(file)).unwrap();
        assert!(!text.contains(here.to_str().unwrap()) && !text.contains("registry/src"), "{file}");
    }
    // One owner, one time.
    let list =
        succeed(Command::new("tar").args(["-tv", "--utc", "--full-time", "-f"]).arg(&packages().tarball));
    let times: std::collections::BTreeSet<_> =
        list.lines().map(|line| line.split_whitespace().nth(4)).collect();
    assert_eq!(times.len(), 1, "{times:?}");
    assert!(list.lines().all(|line| line.split_whitespace().nth(1) == Some("0/0")), "{list}");
}

#[test]
fn there_is_a_man_page_for_each_command_with_a_word_on_each_option() {
    let folder = generated();
    let pages = folder.path().join("man/man1");
    let mut wanted = Vec::new();
    for program in PROGRAMS {
        wanted.push(format!("{program}.1"));
        wanted.extend(commands(program).iter().map(|command| format!("{program}-{command}.1")));
    }
    let mut found: Vec<String> =
        fs::read_dir(&pages).unwrap().map(|page| page.unwrap().file_name().into_string().unwrap()).collect();
    wanted.sort();
    found.sort();
    assert_eq!(found, wanted);
    for page in found {
        let page = pages.join(page);
        let lint = Command::new("mandoc").args(["-T", "lint", "-W", "warning"]).arg(&page).output().unwrap();
        // A page is of a version, and not of a day.
        let told = String::from_utf8_lossy(&lint.stdout);
        let wrong: Vec<&str> = told.lines().filter(|line| !line.contains("missing date")).collect();
        assert!(wrong.is_empty(), "{wrong:?}");
        let text = fs::read_to_string(&page).unwrap();
        // An option or argument, and what is said about it in the next line.
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            if line == ".TP" {
                let (item, said) = (lines.next().unwrap(), lines.next().unwrap());
                assert!(!said.is_empty() && !said.starts_with('.'), "{item} in {}", page.display());
            }
        }
    }
    let shown = succeed(Command::new("mandoc").args(["-T", "utf8"]).arg(pages.join("sessctl-backup.1")));
    // Each example in a line, and the version below.
    assert!(shown.contains("  sessctl backup sessions-$(date +%F).backup\n"), "{shown}");
    assert!(shown.contains(concat!("\nsessctl ", env!("CARGO_PKG_VERSION"))), "{shown}");
}

#[test]
fn each_shell_completes_commands_and_options() {
    let folder = generated();
    let file = |name: &str| folder.path().join(name);
    for (program, begun, command) in [("pserve", "hea", "healthcheck"), ("sessctl", "back", "backup")] {
        let bash = file(&format!("bash-completion/completions/{program}"));
        let asked = format!(
            "source '{}'; COMP_WORDS=({program} {begun}); COMP_CWORD=1; _{program} {program} {begun} {program}; echo \"${{COMPREPLY[@]}}\"",
            bash.display()
        );
        assert_eq!(succeed(Command::new("bash").args(["-euc", &asked])).trim(), command);

        let fish = file(&format!("fish/vendor_completions.d/{program}.fish"));
        let asked = format!("source '{}'; complete -C '{program} {begun}'", fish.display());
        let told =
            succeed(Command::new("fish").args(["--no-config", "-c", &asked]).env("HOME", folder.path()));
        assert!(told.starts_with(&format!("{command}\t")), "{told}");
        for line in fs::read_to_string(&fish).unwrap().lines() {
            let names_something = [" -l ", " -a "].iter().any(|word| line.contains(word));
            assert!(!line.starts_with("complete") || !names_something || line.contains(" -d '"), "{line}");
        }

        let zsh = file(&format!("zsh/site-functions/_{program}"));
        succeed(Command::new("zsh").arg("-n").arg(&zsh));
        let text = fs::read_to_string(&zsh).unwrap();
        assert!(text.starts_with(&format!("#compdef {program}\n")) && text.contains(&format!("({command})")));
    }
}

#[test]
fn a_folder_that_cannot_be_written_to_is_named() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("man"), "a file").unwrap();
    let output =
        Command::new(e2e::artifacts().join("pserve")).arg("generate").arg(folder.path()).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && told.contains("/man/man1/pserve.1: "), "{told}");
}

/// Looks at a list of parts as CycloneDX's own schema has it, and at the names of licences as SPDX has them.
const VALIDATOR: &str = "
import json, re, sys, jsonschema_rs
from pathlib import Path
folder = Path(sys.argv[1]) / 'cyclonedx/schema/_res'
read = lambda name: json.loads((folder / name).read_text())
files = {'spdx': 'spdx.SNAPSHOT.schema.json', 'jsf': 'jsf-0.82.SNAPSHOT.schema.json'}
find = lambda uri: read(next(file for name, file in files.items() if uri.rsplit('/')[-1].startswith(name)))
bom = json.load(open(sys.argv[2]))
validator = jsonschema_rs.validator_for(read('bom-1.5.SNAPSHOT.schema.json'), retriever=find)
for error in validator.iter_errors(bom):
    sys.exit(str(error))
known = set(read('spdx.SNAPSHOT.schema.json')['enum'])
for part in bom['components']:
    for licence in part['licenses']:
        for word in re.findall(r'[A-Za-z0-9.+-]+', licence['expression']):
            assert word in known | {'OR', 'AND', 'WITH'}, (part['name'], word)
";

#[test]
fn the_list_of_parts_is_cyclonedx_and_names_what_is_in_the_lock_file() {
    let (_folder, unpacked) = unpacked();
    let bom = unpacked.join("sbom.cdx.json");
    let parts: Value = serde_json::from_str(&fs::read_to_string(&bom).unwrap()).unwrap();
    let lock = fs::read_to_string(format!("{ROOT}/Cargo.lock")).unwrap();
    let mut names = Vec::new();
    for part in parts["components"].as_array().unwrap() {
        let (name, version) = (part["name"].as_str().unwrap(), part["version"].as_str().unwrap());
        if name != "sqlite" {
            assert!(
                lock.contains(&format!("name = \"{name}\"\nversion = \"{version}\"\n")),
                "{name} {version}"
            );
        }
        if part["purl"].as_str().is_some_and(|purl| purl.starts_with("pkg:cargo/")) {
            assert_eq!(part["hashes"][0]["content"].as_str().unwrap().len(), 64, "{name}");
        }
        names.push(name);
    }
    for name in ["pserve", "sessctl", "sessman-plugin", "hyper", "mongodb", "sqlite", "ring"] {
        assert!(names.contains(&name), "{name}");
    }
    // Of the tests and the build alone.
    for name in ["e2e", "proptest", "serde_derive", "cc"] {
        assert!(!names.contains(&name), "{name}");
    }
    let tools = e2e::artifacts().join("../tools");
    let (schema, validator) = (tools.join("cyclonedx"), tools.join("schemathesis"));
    if !schema.join("cyclonedx").exists() || !validator.join("jsonschema_rs").exists() {
        e2e::skip(
            "the_list_of_parts_is_cyclonedx_and_names_what_is_in_the_lock_file",
            "the Python packages cyclonedx-python-lib and schemathesis are not installed",
        );
        return;
    }
    let mut python = Command::new("python3");
    succeed(python.args(["-c", VALIDATOR]).arg(&schema).arg(&bom).env("PYTHONPATH", &validator));
}

#[test]
fn the_debian_package_has_everything_in_its_place() {
    let root = tempfile::tempdir().unwrap();
    let deb = &packages().deb;
    succeed(Command::new("dpkg-deb").arg("--raw-extract").arg(deb).arg(root.path()));
    let control = fs::read_to_string(root.path().join("DEBIAN/control")).unwrap();
    assert!(control.contains("\nDepends: adduser, libc6 (>= 2.") && !control.contains("{{"), "{control}");
    let conffiles = fs::read_to_string(root.path().join("DEBIAN/conffiles")).unwrap();
    assert_eq!(conffiles, "/etc/pserve/pserve.ini\n/etc/pserve/sessman.json\n");
    for script in ["postinst", "prerm", "postrm"] {
        let script = root.path().join("DEBIAN").join(script);
        succeed(Command::new("sh").arg("-n").arg(&script));
        assert_eq!(fs::metadata(&script).unwrap().permissions().mode() & 0o777, 0o755);
    }
    succeed(Command::new("md5sum").args(["--check", "--quiet", "DEBIAN/md5sums"]).current_dir(root.path()));
    let list = succeed(Command::new("dpkg-deb").arg("--contents").arg(deb));
    assert!(list.lines().all(|line| line.contains(" root/root ")), "{list}");
    for place in [
        "/usr/lib/systemd/system/pserve.service",
        "/usr/lib/systemd/system/pserve.socket",
        "/usr/lib/systemd/system/sessman-backup.service",
        "/usr/lib/systemd/system/sessman-backup.timer",
        "/usr/share/man/man1/sessctl-backup.1.gz",
        "/usr/share/bash-completion/completions/pserve",
        "/usr/share/fish/vendor_completions.d/pserve.fish",
        "/usr/share/zsh/vendor-completions/_sessctl",
        "/usr/share/doc/pserve/copyright",
        "/usr/share/doc/pserve/changelog.Debian.gz",
        "/usr/share/doc/pserve/docs/install.md",
    ] {
        assert!(list.contains(&format!(" .{place}\n")), "{place} is not in\n{list}");
    }
    // The configuration says where the package puts things; here they are below another folder.
    let ini = root.path().join("etc/pserve/pserve.ini");
    let text = fs::read_to_string(&ini).unwrap();
    for path in ["/usr/lib/pserve/plugins", "/var/lib/pserve"] {
        assert!(text.contains(&format!("= {path}\n")), "{text}");
    }
    let mut check = Command::new(root.path().join("usr/bin/pserve"));
    check.env("PSERVE_PATHS_PLUGINS", root.path().join("usr/lib/pserve/plugins"));
    let told = succeed(check.arg("-i").arg(&ini).arg("check"));
    assert!(told.contains("good; instances: sessman"), "{told}");
    // The unit starts what the package brings, with the configuration that it brings, as the user that it makes.
    let unit = fs::read_to_string(root.path().join("usr/lib/systemd/system/pserve.service")).unwrap();
    assert!(unit.contains("\nExecStart=/usr/bin/pserve -i /etc/pserve/pserve.ini\n"), "{unit}");
    assert!(unit.contains("\nUser=pserve\n"), "{unit}");
}
