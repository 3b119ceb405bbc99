//! Programs that the checks need and a fresh machine lacks.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::process::{on_path, succeed};

/// A program, and the Debian package that brings it.
pub(crate) struct Tool {
    pub(crate) program: &'static str,
    pub(crate) package: &'static str,
}

/// What the end to end tests call: the JavaScript package runs under Node, strace shows that a write is on the
/// disk before its answer, libfaketime comes with faketime and lets the wall clock jump, curl and openssl speak TLS and
/// HTTP/2 as others do, nginx and Caddy are proxies in front, and Chromium says what a page of another origin may do.
/// What `deploy` holds is read by Compose, systemd and ShellCheck, and bubblewrap runs it in what a container would be. Man
/// pages and completions are read by those who will read them.
pub(crate) const END_TO_END: &[Tool] = &[
    Tool { program: "node", package: "nodejs" },
    Tool { program: "strace", package: "strace" },
    Tool { program: "faketime", package: "faketime" },
    Tool { program: "curl", package: "curl" },
    Tool { program: "openssl", package: "openssl" },
    Tool { program: "nginx", package: "nginx-light" },
    Tool { program: "caddy", package: "caddy" },
    Tool { program: "chromium", package: "chromium" },
    Tool { program: "sqlite3", package: "sqlite3" },
    Tool { program: "bwrap", package: "bubblewrap" },
    Tool { program: "docker-compose", package: "docker-compose" },
    Tool { program: "shellcheck", package: "shellcheck" },
    Tool { program: "systemd-analyze", package: "systemd" },
    Tool { program: "mandoc", package: "mandoc" },
    Tool { program: "fish", package: "fish" },
    Tool { program: "zsh", package: "zsh" },
];

/// What packs a release, and looks into it.
pub(crate) const PACKING: &[Tool] = &[
    Tool { program: "dpkg-deb", package: "dpkg" },
    Tool { program: "readelf", package: "binutils" },
    Tool { program: "tar", package: "tar" },
    Tool { program: "xz", package: "xz-utils" },
];

/// Makes more load than a client of ours, on less of the machine.
pub(crate) const WRK: Tool = Tool { program: "wrk", package: "wrk" };

/// libFuzzer is written in C++.
pub(crate) const CPP: Tool = Tool { program: "c++", package: "g++" };

/// Installs the tools that are missing.
///
/// # Errors
/// If that takes root or a Debian package manager and there is none; the error says what to install.
pub(crate) fn ensure(tools: &[Tool]) -> Result<()> {
    let missing: Vec<&Tool> = tools.iter().filter(|tool| !on_path(tool.program)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let packages: Vec<&str> = missing.iter().map(|tool| tool.package).collect();
    let programs: Vec<&str> = missing.iter().map(|tool| tool.program).collect();
    if !on_path("apt-get") || !is_root() {
        bail!("not installed: {}; as root: apt-get install {}", programs.join(", "), packages.join(" "));
    }
    install(&packages).with_context(|| format!("not installed: {}", programs.join(", ")))
}

/// Unpacks a Debian package into `folder` and installs nothing: a server that comes with the one program that is wanted is
/// not to be started. Nothing if that has been done.
///
/// # Errors
/// If the package cannot be had, or not be unpacked.
pub(crate) fn unpack(package: &str, folder: &Path) -> Result<()> {
    // Written last, so that what was cut short is begun anew.
    let stamp = folder.join("unpacked");
    if stamp.exists() {
        return Ok(());
    }
    println!("unpacking {package}");
    fs::create_dir_all(folder).with_context(|| format!("could not make {}", folder.display()))?;
    let apt = |arguments: &[&str]| {
        succeed(Command::new("apt-get").stdout(Stdio::null()).arg("-q").args(arguments).current_dir(folder))
    };
    apt(&["download", package]).or_else(|_| apt(&["update"]).and_then(|()| apt(&["download", package])))?;
    for entry in fs::read_dir(folder)? {
        let file = entry?.path();
        if file.extension().is_some_and(|extension| extension == "deb") {
            succeed(Command::new("dpkg").arg("-x").arg(&file).arg(folder))?;
            fs::remove_file(&file)?;
        }
    }
    fs::write(&stamp, package).with_context(|| format!("could not write {}", stamp.display()))
}

fn install(packages: &[&str]) -> Result<()> {
    println!("installing {}", packages.join(", "));
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive").stdout(Stdio::null()).arg("-q").args(arguments);
        succeed(&mut command)
    };
    let install = || apt(&[&["install", "-y", "--no-install-recommends"], packages].concat());
    // The package lists of a new machine are empty or old; updating good ones would take longer than the install.
    install().or_else(|_| apt(&["update"]).and_then(|()| install()))
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

#[cfg(test)]
mod tests {
    use super::{Tool, ensure};

    #[test]
    fn what_is_there_is_not_installed() {
        ensure(&[Tool { program: "sh", package: "no-such-package-anywhere" }]).unwrap();
    }
}
