//! Sessions in Redis or Valkey: a single server, with or without replicas behind its address, or a cluster.
//!
//! - [`RedisConfig`]: where the servers are and the login; `config`: the keys of `sessman.json`; `server_url`: parses one
//! - [`RedisStore`]: the store; `state`: its fields; `store`: its operations
//! - `link`: the connections to one server; `line`: a lazy connection that reconnects; `greeting`: the handshake on it;
//!   `wire`: the pipeline of all calls on it; `reply`: parses replies; `values`: types of replies; `stream`: TCP and TLS
//! - `durable`: writes that are acknowledged once replicas have them (`WAIT`)
//! - `servers`: which server has a key; `slots`: the slot map of a cluster; `calls`: sends commands, with redirections
//! - `keys`: the names of the keys; `layout`: a record as one value; `scripts`: the atomic steps, as Lua scripts
//! - `users`: the index of a user's sessions; `index`: that of all sessions; `places`: a user's places
//! - `reading`: reads several records at a time; `listing`: pages and counts; `deletion`: deletes records, then their index
//!   entries; `leftovers`: background work; `retention`: how long servers keep expired records
//! - `sweep`: scans of all keys; `tidying`: incremental maintenance of the indexes
//! - `hazards`: settings of a server that lose sessions; `clocks`: clock skew of the servers
//! - `checkup`, `shell`: for administrators
//! - `failure`: the servers' errors, without anything secret
//!
//! # The keys
//! One string per session. A command or a script on that one key creates, changes or deletes it, so that a cluster works as
//! well as a single server. Its TTL is a minute longer than the session's. It is set as a duration (`PX`) and not as a
//! time, so that a wrong clock of the server expires nothing early; a reader checks expiry with the engine's `now`.
//!
//! The names of all sessions are in 256 more keys, the index for lists and counts. A user has two more keys: the names of
//! the user's sessions, and their places (see [`Claim`](super::Claim)). No atomic step spans two keys. A name is written
//! before its session (in one pipeline if one server has both), and removed after it. So every session is in the index; a
//! name may be without a session, which a reader detects. If writing a name fails, its session is rolled back. A name
//! without a session is removed once it is older than any call can take. A name includes the session's mark, so that a late
//! removal never hits a later session with the same handle.
//!
//! # Guarantees
//! Those of the server: an acknowledged write is in its memory, and with `appendfsync everysec` on its disk a second
//! later. A write command is sent once, and retried only if the server said that it did not execute it.

mod calls;
mod checkup;
mod clocks;
mod config;
mod deletion;
mod durable;
mod failure;
mod greeting;
mod hazards;
mod index;
mod keys;
mod layout;
mod leftovers;
mod line;
mod link;
mod listing;
mod places;
mod reading;
#[cfg(feature = "fuzzing")]
pub mod records;
#[cfg(feature = "fuzzing")]
pub mod replies;
mod reply;
mod retention;
mod scripts;
mod server_url;
mod servers;
mod settings;
mod shell;
mod slots;
mod state;
mod store;
mod stream;
mod sweep;
#[cfg(test)]
mod tests;
mod tidying;
mod users;
mod values;
mod wire;

pub(super) use config::RedisKeys;
pub use settings::RedisConfig;
pub use state::RedisStore;
