//! What is done in one atomic step: scripts of one key each, the only kind that a cluster runs anywhere.

use std::sync::LazyLock;

use redis::{Cmd, Script};

/// A script, and how it is called.
pub(super) struct Step {
    script: LazyLock<Script>,
    source: &'static str,
}

macro_rules! step {
    ($name:ident, $file:literal) => {
        pub(super) static $name: Step =
            Step { script: LazyLock::new(|| Script::new(include_str!($file))), source: include_str!($file) };
    };
}

step!(CREATE, "scripts/create.lua");
step!(UPDATE, "scripts/update.lua");
step!(DELETE, "scripts/delete.lua");
step!(CLAIM, "scripts/claim.lua");
step!(RELEASE, "scripts/release.lua");
step!(FORGET, "scripts/forget.lua");

impl Step {
    /// Calls the script by its hash, which a server knows once it has seen the script.
    pub(super) fn by_hash<A: AsRef<[u8]>>(&self, key: &[u8], arguments: &[A]) -> Cmd {
        command("EVALSHA", self.script.get_hash(), key, arguments)
    }

    /// Sends the script along.
    pub(super) fn in_full<A: AsRef<[u8]>>(&self, key: &[u8], arguments: &[A]) -> Cmd {
        command("EVAL", self.source, key, arguments)
    }
}

fn command<A: AsRef<[u8]>>(name: &str, script: &str, key: &[u8], arguments: &[A]) -> Cmd {
    let mut command = redis::cmd(name);
    command.arg(script).arg(1).arg(key);
    for argument in arguments {
        command.arg(argument.as_ref());
    }
    command
}
