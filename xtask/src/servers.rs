//! The servers that tests run against.

use std::process::Command;

use crate::mongodb::MongoDb;
use crate::redis::Redis;
use crate::workspace::Workspace;

/// All of them; they stop with this value.
pub(crate) struct Servers {
    mongodb: MongoDb,
    redis: Redis,
}

impl Servers {
    /// Finds or starts them.
    pub(crate) fn provide(workspace: &Workspace) -> Self {
        Self { mongodb: MongoDb::provide(workspace), redis: Redis::provide(workspace) }
    }

    /// What could not be had: a name and a reason each.
    pub(crate) fn missing(&self) -> impl Iterator<Item = &(&'static str, String)> {
        self.mongodb.missing.iter().chain(&self.redis.missing)
    }

    /// Hands the description to a command that runs tests.
    pub(crate) fn describe_to(&self, command: &mut Command) {
        self.mongodb.describe_to(command);
        self.redis.describe_to(command);
    }
}
