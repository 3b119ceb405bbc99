//! The Debian package: the files of the tarball in Debian's places, and the scripts of `deploy/debian`.
//!
//! By `dpkg-deb`, which is on every Debian. cargo-deb packs what one crate builds, from a list in that crate's manifest; here
//! are the files of three, and man pages that a program wrote, and so its list would be as long as this one, for minutes of
//! building it first.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::Release;
use super::tree::{SHARE, copy};
use crate::artifacts;
use crate::new::filled;
use crate::process::{output_of, succeed};
use crate::workspace::Workspace;

/// Of the package, its user and its folders.
const NAME: &str = "pserve";

/// What systemd finds. The timer of backups is there, and enabled by whoever wants it, as the socket is.
const UNITS: [&str; 4] =
    ["pserve.service", "pserve.socket", "sessman-backup.service", "sessman-backup.timer"];

/// What is said below Debian's folders, and not beside the INI file.
const PATHS: [(&str, &str); 2] = [
    ("\nplugins = plugins\n", "\nplugins = /usr/lib/pserve/plugins\n"),
    ("\nstate = state\n", "\nstate = /var/lib/pserve\n"),
];

/// Lays the package out in `root` and packs it into a file in `into`.
pub(super) fn pack(
    workspace: &Workspace,
    release: &Release,
    tree: &Path,
    root: &Path,
    into: &Path,
) -> Result<PathBuf> {
    let debian = workspace.root.join("deploy/debian");
    let template = |name: &str| {
        let file = debian.join(name);
        fs::read_to_string(&file).with_context(|| format!("could not read {}", file.display()))
    };
    let mit = fs::read_to_string(tree.join("LICENSE-MIT"))?;
    let doc = root.join("usr/share/doc").join(NAME);
    lay_out(tree, root, &doc)?;
    // What a hyphen begins is older than what has none, as 1.0.0-rc.1 is older than 1.0.0.
    let version = format!("{}-1", release.version.replace('-', "~"));
    fs::write(doc.join("copyright"), filled(&template("copyright")?, &[("mit", folded(&mit))])?)?;
    let date = output_of(
        Command::new("date").args(["--utc", "--rfc-email", "--date"]).arg(format!("@{}", release.epoch)),
    )?;
    let maintainer = template("control")?;
    let maintainer = maintainer.lines().find_map(|line| line.strip_prefix("Maintainer: "));
    let maintainer = maintainer.context("control names no maintainer")?;
    let entry = format!(
        "{NAME} ({version}) unstable; urgency=medium\n\n  * changelog.gz says what is new.\n\n -- {maintainer}  {date}"
    );
    fs::write(doc.join("changelog.Debian"), entry)?;
    compress(root, &doc)?;

    let architecture = output_of(Command::new("dpkg").arg("--print-architecture"))?;
    let control = root.join("DEBIAN");
    let values = [
        ("version", version.clone()),
        ("architecture", architecture.trim().to_owned()),
        ("kibibytes", kibibytes(root)?),
        ("glibc", glibc(root)?),
    ];
    fs::create_dir(&control)?;
    fs::write(control.join("control"), filled(&template("control")?, &values)?)?;
    for script in ["postinst", "prerm", "postrm"] {
        copy(&debian.join(script), &control.join(script))?;
    }
    let listed = "find etc -type f -printf '/%p\\n' | sort > DEBIAN/conffiles
        find usr -type f -print0 | sort -z | xargs -0 md5sum > DEBIAN/md5sums
        chmod -R u=rwX,go=rX .";
    succeed(
        Command::new("bash").args(["-o", "pipefail", "-euc", listed]).env("LC_ALL", "C").current_dir(root),
    )?;
    let deb = into.join(format!("{NAME}_{version}_{}.deb", architecture.trim()));
    let mut dpkg = Command::new("dpkg-deb");
    dpkg.env("SOURCE_DATE_EPOCH", &release.epoch).args(["--root-owner-group", "-Zxz"]);
    dpkg.arg(format!("-z{}", release.level)).arg("--build");
    succeed(dpkg.arg(root).arg(&deb))?;
    Ok(deb)
}

/// The files, each in its place.
fn lay_out(tree: &Path, root: &Path, doc: &Path) -> Result<()> {
    for program in artifacts::program_files() {
        copy(&tree.join(&program), &root.join("usr/bin").join(&program))?;
    }
    for plugin in artifacts::shipped_plugin_files() {
        copy(&tree.join("plugins").join(&plugin), &root.join("usr/lib/pserve/plugins").join(&plugin))?;
    }
    for unit in UNITS {
        copy(&tree.join("deploy/systemd").join(unit), &root.join("usr/lib/systemd/system").join(unit))?;
    }
    copy(&tree.join("sessman.json"), &root.join("etc/pserve/sessman.json"))?;
    let mut ini = fs::read_to_string(tree.join("pserve.ini"))?;
    for (beside, there) in PATHS {
        ensure!(ini.matches(beside).count() == 1, "pserve.ini is to have the line `{}` once", beside.trim());
        ini = ini.replace(beside, there);
    }
    fs::write(root.join("etc/pserve/pserve.ini"), ini)?;
    for (from, to) in [
        ("bash-completion", "bash-completion"),
        ("fish", "fish"),
        ("man", "man"),
        ("zsh/site-functions", "zsh/vendor-completions"),
    ] {
        copy_all(&tree.join(SHARE).join(from), &root.join("usr/share").join(to))?;
    }
    copy_all(&tree.join("docs"), &doc.join("docs"))?;
    for example in ["sessman.mongodb.json", "sessman.redis.json"] {
        copy(&tree.join(example), &doc.join("examples").join(example))?;
    }
    copy(&tree.join("CHANGELOG.md"), &doc.join("changelog"))?;
    for file in ["THIRD-PARTY-LICENSES.txt", "sbom.cdx.json"] {
        copy(&tree.join(file), &doc.join(file))?;
    }
    Ok(())
}

fn copy_all(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from).with_context(|| format!("could not read {}", from.display()))? {
        let entry = entry?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() { copy_all(&from, &to)? } else { copy(&from, &to)? }
    }
    Ok(())
}

/// As Debian wants them: man pages, changelogs, and what is long and seldom read.
fn compress(root: &Path, doc: &Path) -> Result<()> {
    let mut gzip = Command::new("gzip");
    gzip.args(["-n", "-9", "-r"]).arg(root.join("usr/share/man"));
    for file in ["changelog", "changelog.Debian", "THIRD-PARTY-LICENSES.txt", "sbom.cdx.json"] {
        gzip.arg(doc.join(file));
    }
    succeed(&mut gzip)
}

/// A text as a field of a control file has it.
fn folded(text: &str) -> String {
    let line = |line: &str| if line.trim().is_empty() { " .".to_owned() } else { format!(" {line}") };
    text.trim().lines().map(line).collect::<Vec<_>>().join("\n")
}

fn kibibytes(root: &Path) -> Result<String> {
    let said = output_of(Command::new("du").args(["--apparent-size", "-sk"]).arg(root))?;
    Ok(said.split_whitespace().next().context("du says no number")?.to_owned())
}

/// The version of the C library that the programs ask for.
fn glibc(root: &Path) -> Result<String> {
    let mut readelf = Command::new("readelf");
    readelf.args(["--version-info", "--wide"]);
    for program in artifacts::program_files() {
        readelf.arg(root.join("usr/bin").join(program));
    }
    for plugin in artifacts::shipped_plugin_files() {
        readelf.arg(root.join("usr/lib/pserve/plugins").join(plugin));
    }
    newest(&output_of(&mut readelf)?).context("the programs ask for no version of the C library")
}

fn newest(symbols: &str) -> Option<String> {
    let versions = symbols.split("GLIBC_").skip(1).filter_map(|rest| {
        let version = rest.split(|c: char| !c.is_ascii_digit() && c != '.').next()?;
        version.split('.').map(str::parse).collect::<Result<Vec<u32>, _>>().ok()
    });
    let newest = versions.max()?;
    Some(newest.iter().map(u32::to_string).collect::<Vec<_>>().join("."))
}

#[cfg(test)]
mod tests {
    use super::{folded, newest};

    #[test]
    fn versions_are_compared_as_numbers() {
        let symbols = "Name: GLIBC_2.4  Flags\nName: GLIBC_2.34\nName: GLIBC_PRIVATE\nName: GLIBC_2.2.5 ";
        assert_eq!(newest(symbols).as_deref(), Some("2.34"));
        assert_eq!(newest("GCC_3.0"), None);
    }

    #[test]
    fn an_empty_line_of_a_field_is_a_dot() {
        assert_eq!(folded("a\n\n  b\n"), " a\n .\n   b");
    }
}
