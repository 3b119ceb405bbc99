//! Whatever comes in from outside, made up at random, and what must hold for it.
//!
//! [`TARGETS`] lists the doors; each is a file with a way to make inputs and a check of what comes out. Some thousands
//! of each are part of the tests, always the same ones; `cargo xtask fuzz` runs a million, other ones each time.
//!
//! Inputs are made by `proptest`, from the pieces that a grammar is made of, so that most get past the first character;
//! it shrinks what fails, too. `bolero` would offer coverage-guided engines besides, but pins a version of `indexmap`
//! that excludes the one `config` needs, and those engines need a nightly compiler.
//!
//! A finding becomes a test with a name, beside the code that it was found in.

mod data;
mod documents;
mod ids;
mod ini;
mod json5;
mod pieces;
mod requests;
mod run;

pub use run::{Finding, Plan};

/// A door, and how to try it.
pub struct Target {
    /// What it is called on the command line.
    pub name: &'static str,
    /// What is tried.
    pub about: &'static str,
    /// Tries it as often as the plan says.
    pub run: fn(&Plan) -> Result<(), Finding>,
}

/// Every door.
pub const TARGETS: &[Target] = &[
    Target { name: "ini", about: "the INI file", run: ini::run },
    Target { name: "json5", about: "a plugin's JSON file and its references", run: json5::run },
    Target { name: "requests", about: "requests to the session routes", run: requests::run },
    Target { name: "ids", about: "session ids and handles", run: ids::run },
    Target { name: "bson", about: "records as MongoDB documents", run: documents::written },
    Target { name: "documents", about: "MongoDB documents of any kind as records", run: documents::foreign },
    Target { name: "data", about: "the JSON that sessions hold", run: data::run },
];

#[cfg(test)]
mod tests {
    use super::*;

    const EXECUTIONS: u32 = 10_000;

    fn short(name: &str) {
        let target = TARGETS.iter().find(|target| target.name == name).unwrap();
        let plan = Plan { executions: EXECUTIONS, seed: 1 };
        if let Err(finding) = (target.run)(&plan) {
            panic!("{name}: {finding}");
        }
    }

    #[test]
    fn ini_files() {
        short("ini");
    }

    #[test]
    fn json_files() {
        short("json5");
    }

    #[test]
    fn requests() {
        short("requests");
    }

    #[test]
    fn session_ids() {
        short("ids");
    }

    #[test]
    fn records_as_documents() {
        short("bson");
    }

    #[test]
    fn documents_as_records() {
        short("documents");
    }

    #[test]
    fn data_of_sessions() {
        short("data");
    }
}
