//! Sessions in MongoDB, 4.4 and later: a single server, a replica set or a sharded cluster.
//!
//! - [`MongoConfig`]: where the server is and who logs in; `config`: the keys of `sessman.json`
//! - [`MongoStore`]: the store
//! - `connection`: the driver's client, made when first needed, and the limits of every call
//! - `document`: a record as a document; `fields` reads them; `scalars`: fields of one value; `json`: its data as BSON
//! - `conditions`: which documents a command is of
//! - `writes`: create, update, delete; `again`: what to do where a server says that nothing matched
//! - `listing`, `counts`: reads of many records, bounded however many there are
//! - `claims`: the entries of users, in a collection beside the sessions; `lease`: which node does the clean-up
//! - `cleanup`: what deletes by slices; `probe`: whether sessions can be written
//! - `indexes`: what the collection is searched by, made at the start and checked
//! - `metrics`: what is counted of the driver's doings
//! - `checkup`, `shell`: for administrators
//! - `failure`: the driver's errors without what must not be shown
//!
//! # The documents
//! `_id` is the handle's 12 bytes as BinData. Its order is the order of the handles, its bytes are random (so that a
//! collection sharded on `{_id: "hashed"}`, or on ranges, fills evenly), and a shell shows it as the handle itself but
//! for two characters of the alphabet: `db.sessions.findOne({_id: BinData(0, "AbC+/...")})` has `+` and `/` where the
//! handle has `-` and `_`. Every call on the way of a request names one `_id`, and so reaches one shard.
//!
//! # What is promised
//! Writes are acknowledged by a majority and reads go to the primary, whatever the URL says, so that an answered
//! write outlives a failover. The driver repeats a write that broke off, with a number by which a replica set knows
//! it (`retryWrites`, on unless the URL says otherwise); a single server offers no such numbers, and then nothing is
//! repeated. Only classic update operators are used, so that compatible servers serve too.
//!
//! # Stale reads
//! Reads have the server's default concern, `local`, unless the URL says otherwise. A primary that was cut off goes on
//! answering reads until it steps down (`electionTimeoutMillis`, 10 s by default), and may show a session that ended elsewhere
//! meanwhile. `majority` would not change that: what it shows was true once, too. `linearizable` would, and costs every read
//! a round to a majority, so it is the operator's choice. No decision leans on such a read: a write names in its own
//! condition what it was decided by, and is acknowledged by a majority.

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
