//! The atomic steps: Lua scripts with one key each, the only kind that works everywhere in a cluster.

use std::sync::LazyLock;

use redis::{Cmd, Script};

use super::layout;

/// A script, and how it is called.
pub(super) struct Step {
    source: LazyLock<String>,
    script: LazyLock<Script>,
}

macro_rules! step {
    ($name:ident, $source:expr) => {
        pub(super) static $name: Step =
            Step { source: LazyLock::new(|| $source), script: LazyLock::new(|| Script::new(&$name.source)) };
    };
}

step!(CREATE, of_records(concat!(include_str!("scripts/record.lua"), include_str!("scripts/create.lua"))));
step!(UPDATE, of_records(include_str!("scripts/update.lua")));
step!(DELETE, of_records(concat!(include_str!("scripts/record.lua"), include_str!("scripts/delete.lua"))));
step!(
    BEGINNING,
    of_records(concat!(include_str!("scripts/record.lua"), include_str!("scripts/beginning.lua")))
);
step!(CLAIM, include_str!("scripts/claim.lua").into());
step!(RELEASE, include_str!("scripts/release.lua").into());
step!(FORGET, include_str!("scripts/forget.lua").into());
step!(LEAD, include_str!("scripts/lead.lua").into());

/// A script about records, with the constants of their layout.
fn of_records(script: &str) -> String {
    layout::constants() + script
}

impl Step {
    /// `EVALSHA`: the server knows the hash once it has run the script.
    pub(super) fn by_hash<A: AsRef<[u8]>>(&self, key: &[u8], arguments: &[A]) -> Cmd {
        command("EVALSHA", self.script.get_hash(), key, arguments)
    }

    /// `EVAL`: sends the whole script.
    pub(super) fn in_full<A: AsRef<[u8]>>(&self, key: &[u8], arguments: &[A]) -> Cmd {
        command("EVAL", &self.source, key, arguments)
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
