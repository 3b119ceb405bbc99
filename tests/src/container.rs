//! What a container engine makes of `deploy/image/Dockerfile`, without one: its files are laid out by its own commands,
//! and run by bubblewrap with nothing but them and the C library of this machine, read-only, as the user it names, as
//! process 1, without any right.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::artifacts;
use crate::pserve::Pserve;

/// Where pserve keeps what it writes, in the image and as a package.
const STATE: &str = "/var/lib/pserve";

/// Names and values.
pub type Environment = BTreeMap<String, String>;

/// The files and settings of the image.
pub struct Image {
    folder: TempDir,
    /// `ENV`.
    pub environment: Environment,
    /// `USER`.
    pub user: String,
    /// Whose `/var/lib/pserve` is.
    owner: String,
    /// `ENTRYPOINT`.
    pub entrypoint: Vec<String>,
    /// The command of `HEALTHCHECK`.
    pub healthcheck: Vec<String>,
}

impl Image {
    /// Builds it from what `cargo xtask test` has built: the compiler is not run, all else of the Dockerfile is.
    ///
    /// # Panics
    /// When an instruction is not one that is known here, or fails.
    pub fn build() -> Self {
        let folder = tempfile::Builder::new().prefix("pserve-image-").tempdir().expect("a temporary folder");
        let mut image = Self {
            folder,
            environment: Environment::new(),
            user: String::new(),
            owner: String::new(),
            entrypoint: Vec::new(),
            healthcheck: Vec::new(),
        };
        let source = image.path("source");
        fs::create_dir_all(source.join("target")).expect("a folder");
        symlink(artifacts(), source.join("target/release")).expect("a link");
        symlink(Path::new(env!("CARGO_MANIFEST_DIR")).join("../config"), source.join("config"))
            .expect("a link");
        for line in instructions() {
            let (instruction, rest) = line.split_once(' ').expect("an instruction");
            match instruction {
                "FROM" | "WORKDIR" | "EXPOSE" => {}
                "RUN" => image.run(rest),
                "COPY" if rest == ". ." => {}
                "COPY" => image.copy(rest),
                "ENV" => image.environment.extend(rest.split_whitespace().map(|setting| {
                    let (name, value) = setting.split_once('=').expect("a name and a value");
                    (name.to_owned(), value.to_owned())
                })),
                "USER" => rest.clone_into(&mut image.user),
                "ENTRYPOINT" => image.entrypoint = words(rest),
                "HEALTHCHECK" => image.healthcheck = words(rest.split_once(" CMD ").expect("a command").1),
                _ => panic!("{line}"),
            }
        }
        assert_eq!(image.owner, image.user, "who runs must own what is written to");
        image
    }

    /// Of a `RUN`, the commands that put files into places, below the folder of the image.
    fn run(&mut self, commands: &str) {
        for command in commands.split("&&").map(str::trim).filter(|command| command.starts_with("install ")) {
            let shown = command.replace("/image", &self.path("image").display().to_string());
            let shown = shown.replace(STATE, &self.path("state").display().to_string());
            // Whose they are is checked against USER; the sandbox knows one user alone.
            let (owner, words): (Vec<&str>, Vec<&str>) = shown
                .split(' ')
                .partition(|word| word.starts_with("--owner=") || word.starts_with("--group="));
            let owner: Vec<&str> = owner.iter().filter_map(|word| Some(word.split_once('=')?.1)).collect();
            if !owner.is_empty() {
                self.owner = owner.join(":");
            }
            let mut shell = Command::new("sh");
            shell.arg("-euc").arg(words.join(" ")).current_dir(self.path("source"));
            assert!(shell.status().is_ok_and(|status| status.success()), "{shown}");
        }
    }

    fn copy(&self, rest: &str) {
        let [from, source, target] = rest.split(' ').collect::<Vec<_>>()[..] else { panic!("{rest}") };
        assert_eq!(from, "--from=build");
        let to = self.path(&format!("root{target}"));
        fs::create_dir_all(&to).expect("a folder");
        let mut copy = Command::new("cp");
        copy.arg("-r").arg(self.path(source.trim_start_matches('/')).join(".")).arg(to);
        assert!(copy.status().is_ok_and(|status| status.success()), "{rest}");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A file of it.
    pub fn file(&self, path: &str) -> PathBuf {
        self.path(&format!("root{path}"))
    }

    /// What is its `/var/lib/pserve`.
    pub fn state(&self) -> PathBuf {
        self.path("state")
    }

    /// A command in it, with this environment besides the image's, which may write to `/var/lib/pserve` alone. It sees
    /// the network of this machine.
    ///
    /// # Panics
    /// When the image's user is no pair of numbers.
    pub fn command(&self, environment: &Environment, program: &[String]) -> Command {
        let (user, group) = self.user.split_once(':').expect("a user and a group");
        let mut command = Command::new("bwrap");
        command.args([
            "--die-with-parent",
            "--as-pid-1",
            "--cap-drop",
            "ALL",
            "--unshare-pid",
            "--unshare-ipc",
        ]);
        command.args(["--unshare-user", "--uid", user, "--gid", group]);
        command.env_clear().env("PATH", "/usr/bin").envs(&self.environment).envs(environment);
        command.args(["--tmpfs", "/", "--proc", "/proc", "--dev", "/dev"]);
        let library = format!("/usr/lib/{}-linux-gnu", std::env::consts::ARCH);
        for path in [library.as_str(), "/usr/lib64", "/etc/hosts", "/etc/resolv.conf"] {
            command.args(["--ro-bind-try", path, path]);
        }
        command.args(["--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64"]);
        for path in ["/usr/bin", "/usr/lib/pserve", "/etc/pserve"] {
            command.arg("--ro-bind").arg(self.file(path)).arg(path);
        }
        command.arg("--bind").arg(self.state()).args([STATE, "--chdir", "/etc/pserve", "--remount-ro", "/"]);
        command.args(program);
        command
    }

    /// Starts it, as a container with this environment.
    ///
    /// # Errors
    /// What it wrote before it ended.
    pub fn start(&self, environment: &Environment) -> Result<Pserve, String> {
        Pserve::spawn(self.command(environment, &self.entrypoint), self.path("pserve.log"))
    }
}

/// The instructions of the Dockerfile, each on one line.
fn instructions() -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/image/Dockerfile");
    let text = fs::read_to_string(path).expect("the Dockerfile");
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let text = lines.collect::<Vec<_>>().join("\n").replace("\\\n", "");
    text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

fn words(list: &str) -> Vec<String> {
    serde_json::from_str(list).unwrap_or_else(|error| panic!("{error}: {list}"))
}
