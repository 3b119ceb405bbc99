//! The MongoDB stand-in of `tests/standin`: fetched and compiled once, started by a command line.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, ErrorKind};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::process::{Server, succeed};
use crate::workspace::Workspace;
use crate::{maven, tools};

/// The command line that starts a stand-in once a port is appended.
pub(crate) struct StandIn {
    pub(crate) command: Vec<String>,
}

impl StandIn {
    /// Makes sure that the stand-in can be started: installs Java and Maven, fetches the server, compiles the launcher.
    pub(crate) fn prepare(workspace: &Workspace) -> Result<Self> {
        let sources = workspace.root.join("tests/standin");
        let place = Place { folder: workspace.tools().join("standin") };
        if !place.is_built_from(&sources)? {
            tools::ensure(maven::TOOLS)?;
            place.build_from(&sources)?;
        }
        Ok(Self { command: place.command() })
    }

    /// Starts one on any free port; what it logs goes to the file `log`.
    pub(crate) fn start(&self, log: &Path) -> Result<(Server, u16)> {
        let log = File::create(log).with_context(|| format!("could not write {}", log.display()))?;
        let mut child = Command::new(&self.command[0])
            .args(&self.command[1..])
            .arg("0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .context("the MongoDB stand-in could not be started")?;
        let output = child.stdout.take();
        let server = Server(child);
        let mut line = String::new();
        BufReader::new(output.context("the stand-in has no output")?).read_line(&mut line)?;
        let port = line.trim().parse().context("the MongoDB stand-in ended without saying its port")?;
        Ok((server, port))
    }
}

/// The folder with the fetched and compiled files.
struct Place {
    folder: PathBuf,
}

impl Place {
    fn libraries(&self) -> PathBuf {
        self.folder.join("libraries")
    }

    fn classes(&self) -> PathBuf {
        self.folder.join("classes")
    }

    /// Written last, so that a build that was cut short is begun anew.
    fn stamp(&self) -> PathBuf {
        self.folder.join("built-from")
    }

    fn is_built_from(&self, sources: &Path) -> Result<bool> {
        match fs::read_to_string(self.stamp()) {
            Ok(stamp) => Ok(stamp == text_of(sources)?),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error).with_context(|| format!("could not read {}", self.stamp().display())),
        }
    }

    fn build_from(&self, sources: &Path) -> Result<()> {
        println!("preparing the MongoDB stand-in");
        if self.folder.exists() {
            fs::remove_dir_all(&self.folder)
                .with_context(|| format!("could not remove {}", self.folder.display()))?;
        }
        fs::create_dir_all(self.classes())
            .with_context(|| format!("could not make {}", self.classes().display()))?;

        maven::fetch(&sources.join("pom.xml"), &self.libraries())
            .context("the MongoDB stand-in could not be fetched")?;

        let mut javac = Command::new("javac");
        javac.args(["--release", "11", "-cp"]).arg(self.libraries().join("*")).arg("-d").arg(self.classes());
        succeed(javac.arg(sources.join("StandIn.java")))?;
        fs::write(self.stamp(), text_of(sources)?).context("could not finish the MongoDB stand-in")
    }

    fn command(&self) -> Vec<String> {
        // The first compiler alone and one collector thread: tests start many, on few cores, and a start takes a quarter
        // of a second so. The heap is what it may become: the soaks put several hundred thousand sessions into it.
        let flags = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx2g"];
        let log = "-Dorg.slf4j.simpleLogger.defaultLogLevel=error";
        let class_path = format!("{}:{}/*", self.classes().display(), self.libraries().display());
        let mut command = vec!["java".to_owned()];
        command.extend(flags.map(str::to_owned));
        command.extend([log.to_owned(), "-cp".to_owned(), class_path, "StandIn".to_owned()]);
        command
    }
}

/// Everything that the compiled files depend on.
fn text_of(sources: &Path) -> Result<String> {
    let mut text = String::new();
    for name in ["pom.xml", "StandIn.java"] {
        let path = sources.join(name);
        let source =
            fs::read_to_string(&path).with_context(|| format!("could not read {}", path.display()))?;
        ensure!(!source.is_empty(), "{} is empty", path.display());
        text.push_str(&source);
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{Place, text_of};

    #[test]
    fn a_changed_source_or_an_unfinished_build_is_built_again() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place { folder: folder.path().join("standin") };
        fs::create_dir(&place.folder).unwrap();
        fs::write(folder.path().join("pom.xml"), "pom").unwrap();
        fs::write(folder.path().join("StandIn.java"), "java").unwrap();
        assert!(!place.is_built_from(folder.path()).unwrap());

        fs::write(place.stamp(), text_of(folder.path()).unwrap()).unwrap();
        assert!(place.is_built_from(folder.path()).unwrap());

        fs::write(folder.path().join("StandIn.java"), "other java").unwrap();
        assert!(!place.is_built_from(folder.path()).unwrap());
    }
}
