//! Sessions in MongoDB, 4.4 and later: a single server, a replica set or a sharded cluster.
//!
//! - [`MongoConfig`]: where the server is and the login; `config`: the keys of `sessman.json`
//! - [`MongoStore`]: the store
//! - `connection`: the driver's client, created lazily, and the limits of every call
//! - `document`: a record as a document; `fields` parses them; `scalars`: single values; `json`: its data as BSON
//! - `conditions`: filters of commands
//! - `writes`: create, update, delete; `again`: retries where a server says that nothing matched
//! - `listing`, `counts`: reads of many records, with a bound on each
//! - `claims`: the places of users, in a collection of their own; `lease`: leader election for the clean-up
//! - `cleanup`: deletes in batches; `probe`: whether sessions can be written
//! - `indexes`: the indexes of the collection, created at the start and checked
//! - `metrics`: metrics of the driver
//! - `checkup`, `shell`: for administrators
//! - `failure`: the driver's errors, without anything secret
//!
//! # The documents
//! `_id` is the handle's 12 bytes as BinData. Its order is the order of the handles. Its bytes are random, so that a
//! collection sharded on `{_id: "hashed"}`, or on ranges, fills evenly. A shell shows it as the handle itself but for two
//! characters of the alphabet: `db.sessions.findOne({_id: BinData(0, "AbC+/...")})` has `+` and `/` where the handle has `-`
//! and `_`. Every call that serves a request names one `_id`, and so reaches one shard.
//!
//! # Guarantees
//! Writes are acknowledged by a majority and reads go to the primary, whatever the URL says, so that an acknowledged write
//! survives a failover. The driver retries a write whose connection broke, with a transaction number by which a replica set
//! detects duplicates (`retryWrites`, on unless the URL says otherwise). A single server has no such numbers, and then
//! nothing is retried. Only classic update operators are used, so that compatible servers work too.
//!
//! # Stale reads
//! Reads have the server's default read concern, `local`, unless the URL says otherwise. A primary that is partitioned off
//! keeps serving reads until it steps down (`electionTimeoutMillis`, 10 s by default), and may return a session that was
//! ended elsewhere meanwhile. `majority` would not change that: it also returns old data. `linearizable` would, and costs
//! every read a round trip to a majority, so it is the operator's choice. No decision depends on such a read: a write has its
//! precondition in its own filter, and is acknowledged by a majority.

mod again;
mod checkup;
mod claims;
mod cleanup;
mod conditions;
mod config;
mod connection;
mod connection_string;
mod counts;
mod document;
#[cfg(feature = "fuzzing")]
pub mod documents;
mod failure;
mod fields;
mod indexes;
mod json;
mod key;
mod lease;
mod listing;
mod metrics;
mod probe;
mod scalars;
mod settings;
mod shell;
mod store;
#[cfg(test)]
mod tests;
mod writes;

pub(super) use config::MongoKeys;
pub use settings::MongoConfig;
pub use store::MongoStore;
