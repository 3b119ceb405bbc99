//! Whatever comes in from outside, made up at random, and what must hold for it.
//!
//! [`TARGETS`] lists the doors; each is a file with a way to make inputs and a check of what comes out. Some thousands
//! of each are part of the tests, always the same ones; `cargo xtask fuzz` tries a million, other ones each time.
//!
//! Inputs are made by `proptest`, from the pieces that a grammar is made of, so that most get past the first character;
//! it shrinks what fails, too. [`Door::at_random`] lets chance decide, as the tests do. [`Door::with_bytes`] lets bytes
//! decide, for the program of this crate, where libFuzzer picks those that reach more code; where a door takes text, the
//! bytes may also be the text.
//!
//! A finding becomes a test with a name, beside the code that it was found in.

mod choice;
mod cookies;
mod data;
mod documents;
mod door;
mod frames;
mod ids;
mod ini;
pub mod instance;
mod json5;
pub mod log;
mod pieces;
mod replies;
mod requests;
mod values;

pub use door::{Door, Finding, Plan};

/// A door, and how to try it.
pub struct Target {
    /// What it is called on the command line.
    pub name: &'static str,
    /// What is tried.
    pub about: &'static str,
    /// Makes it ready.
    pub open: fn() -> Box<dyn Door>,
}

/// Every door.
pub const TARGETS: &[Target] = &[
    Target { name: "ini", about: "the INI file", open: ini::open },
    Target { name: "json5", about: "a plugin's JSON file and its references", open: json5::open },
    Target { name: "requests", about: "requests to the session routes", open: requests::open },
    Target { name: "cookies", about: "the Cookie header", open: cookies::open },
    Target { name: "ids", about: "session ids and handles", open: ids::open },
    Target { name: "bson", about: "records as MongoDB documents", open: documents::written },
    Target { name: "documents", about: "MongoDB documents of any kind as records", open: documents::foreign },
    Target {
        name: "values",
        about: "records as Redis values, and values of any kind as records",
        open: values::open,
    },
    Target { name: "replies", about: "what a Redis server answers", open: replies::open },
    Target { name: "frames", about: "what a client sends on an HTTP/2 connection", open: frames::open },
    Target { name: "data", about: "the JSON that sessions hold", open: data::open },
];

#[cfg(test)]
mod tests {
    use super::*;

    const EXECUTIONS: u32 = 10_000;

    fn short(name: &str) {
        let target = TARGETS.iter().find(|target| target.name == name).unwrap();
        let plan = Plan { executions: EXECUTIONS, seed: 1 };
        if let Err(finding) = (target.open)().at_random(&plan) {
            panic!("{name}: {finding}");
        }
    }

    #[test]
    fn bytes_that_end_anywhere_are_an_input_of_every_target() {
        for target in TARGETS {
            let door = (target.open)();
            for seed in door.seeds() {
                for bytes in
                    [&seed[..], &seed[..seed.len() / 2], &vec![0; seed.len()], &vec![0xff; seed.len()]]
                {
                    if let Err(finding) = door.with_bytes(bytes) {
                        panic!("{}: {finding}", target.name);
                    }
                }
            }
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
    fn cookies() {
        short("cookies");
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
    fn records_as_values() {
        short("values");
    }

    #[test]
    fn answers_of_a_redis_server() {
        short("replies");
    }

    #[test]
    fn frames_of_a_client() {
        short("frames");
    }

    #[test]
    fn data_of_sessions() {
        short("data");
    }
}
