//! Clients that openapi-generator makes from the description: each is compiled, and runs a session.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use e2e::artifacts;
use e2e::pserve::{Pserve, Site};

const KEY: &str = "the-key-of-generated-clients";
/// What each program says in the end.
const DONE: &str = "a session was begun, read, changed, listed and ended";

/// A service, and a folder for a client of it.
struct Workshop {
    site: Site,
    pserve: Pserve,
    generator: PathBuf,
}

impl Workshop {
    /// `None`, and said so, where one of the programs is missing.
    fn open(test: &str, programs: &[&str]) -> Option<Self> {
        let generator =
            artifacts().join("../tools/openapi-generator/openapi_generator_cli/openapi-generator.jar");
        if !generator.exists() {
            e2e::skip(test, "the Python package openapi-generator-cli is not installed");
            return None;
        }
        for program in ["java"].iter().chain(programs) {
            let found = Command::new("which").arg(program).stdout(Stdio::null()).status();
            if !found.is_ok_and(|status| status.success()) {
                e2e::skip(test, &format!("there is no {program}"));
                return None;
            }
        }
        let site = Site::new();
        site.ini(&format!("[auth]\napikey={KEY}\n[plugin_parms]\nsessman=backend=memory"));
        let pserve = site.start();
        let description = pserve.client().get("/sessman/openapi.json").expect(200);
        site.write("openapi.json", description.text);
        Some(Self { site, pserve, generator })
    }

    /// Makes a client in the folder of this name.
    fn generate(&self, arguments: &[&str], into: &str) {
        let mut java = Command::new("java");
        java.args(["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-jar"]).arg(&self.generator);
        java.args(["generate", "-i", "openapi.json", "-o", into]).args(arguments);
        self.run(java.current_dir(self.site.path("")));
    }

    fn run(&self, command: &mut Command) -> String {
        let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{command:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
        said
    }

    /// Runs the finished program.
    fn run_session(&self, command: &mut Command) {
        let said = self.run(command.arg(format!("http://{}", self.pserve.address())).arg(KEY));
        assert!(said.contains(DONE), "{said}");
    }

    fn copy(&self, name: &str, to: &str) {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("generated").join(name);
        let to = self.site.path(to);
        fs::create_dir_all(to.parent().expect("a folder")).expect("the folder is made");
        fs::copy(source, to).expect("the program is copied");
    }
}

#[test]
fn a_generated_go_client_runs_a_session() {
    let test = "a_generated_go_client_runs_a_session";
    let Some(workshop) = Workshop::open(test, &["go"]) else { return };
    let names = ["--git-host", "example.test", "--git-user-id", "sessions", "--git-repo-id", "sessman"];
    workshop.generate(
        &[&["-g", "go", "--additional-properties", "packageName=sessman"], &names[..]].concat(),
        "client",
    );
    workshop.copy("main.go", "client/session/main.go");
    let folder = workshop.site.path("client");
    let program = folder.join("program");
    let mut go = Command::new("go");
    // All that it needs is in Go itself.
    go.current_dir(&folder).env("GOFLAGS", "-mod=mod").env("GOPROXY", "off");
    workshop.run(go.arg("build").arg("-o").arg(&program).arg("./session"));
    workshop.run_session(&mut Command::new(program));
}

#[test]
fn a_generated_typescript_client_runs_a_session() {
    let test = "a_generated_typescript_client_runs_a_session";
    let compiler = artifacts().join("../tools/javascript/node_modules/typescript/bin/tsc");
    if !compiler.exists() {
        e2e::skip(test, "the npm packages are not installed");
        return;
    }
    let Some(workshop) = Workshop::open(test, &["node"]) else { return };
    workshop.generate(&["-g", "typescript-fetch"], "client");
    workshop.copy("main.ts", "main.ts");
    let mut tsc = Command::new("node");
    tsc.arg(compiler).args(["--strict", "--module", "commonjs", "--target", "es2022", "--skipLibCheck"]);
    tsc.args(["--lib", "es2022,dom", "main.ts"]);
    workshop.run(tsc.current_dir(workshop.site.path("")));
    workshop.run_session(Command::new("node").arg(workshop.site.path("main.js")));
}

#[test]
fn a_generated_java_client_runs_a_session() {
    let test = "a_generated_java_client_runs_a_session";
    let libraries = artifacts().join("../tools/generated-java");
    if !libraries.join("installed").exists() {
        e2e::skip(test, "what Java clients are compiled with is not installed");
        return;
    }
    let Some(workshop) = Workshop::open(test, &["javac"]) else { return };
    workshop.generate(&["-g", "java", "--library", "native"], "client");
    workshop.copy("Main.java", "Main.java");
    let classes = workshop.site.path("classes");
    let mut sources = vec![workshop.site.path("Main.java")];
    add_sources(&workshop.site.path("client/src/main/java"), &mut sources);
    let libraries = format!("{}/*", libraries.display());
    let mut javac = Command::new("javac");
    javac.args(["-nowarn", "-cp", &libraries]).arg("-d").arg(&classes).args(&sources);
    workshop.run(&mut javac);
    let path = format!("{}:{libraries}", classes.display());
    workshop.run_session(Command::new("java").args(["-cp", &path, "Main"]));
}

fn add_sources(folder: &Path, sources: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the folder is read") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            add_sources(&path, sources);
        } else if path.extension().is_some_and(|extension| extension == "java") {
            sources.push(path);
        }
    }
}
