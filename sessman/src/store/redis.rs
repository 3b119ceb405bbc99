//! Sessions in Redis or Valkey: a single server, with or without replicas behind its address, or a cluster.
//!
//! - [`RedisConfig`]: where the servers are and who logs in; `config`: the keys of `sessman.json`; `server_url`: what is
//!   written in one
//! - [`RedisStore`]: the store; `state`: what it has; `store`: what it does
//! - `link`: the way to one server; `line`: a connection that is made when first needed; `greeting`: what is said first on it;
//!   `wire`: commands and answers on it, for all calls; `reply`: how answers are read; `values`: what is in them; `stream`: the
//!   bytes below, TLS included
//! - `durable`: writes that are answered once replicas have them
//! - `servers`: which server has a key; `slots`: the map of a cluster; `calls`: commands on their way there
//! - `keys`: the names of the keys; `layout`: a record as one value; `scripts`: what is done in one atomic step
//! - `users`: the names of a user's sessions; `index`: those of all; `places`: a user's places
//! - `reading`: several records at a time; `listing`: pages and counts; `deletion`: records and then their names;
//!   `leftovers`: what is done behind the answer; `retention`: for how long servers keep what has ended
//! - `sweep`: what looks at every key; `tidying`: what is put in order, a share at a time
//! - `hazards`: settings of a server that lose sessions; `clocks`: how far its clock differs
//! - `checkup`, `shell`: for administrators
//! - `failure`: the servers' errors without what must not be shown
//!
//! # The keys
//! One string a session, which a command or a script of that one key creates, changes or deletes, so that a cluster serves
//! as well as a single server. The server removes it a minute after `expires_at`. It is told how long that is and not when, so that
//! no clock of its own ends anything early; who reads compares with the engine's `now`.
//!
//! The names of all sessions are in 256 keys beside them, which lists and counts are read from. A user has two more
//! keys: the names of their sessions, and their places (see [`Claim`](super::Claim)). No step spans two keys. A name is
//! written before its session, in one piece with it where one server has both, and is taken away after it; so each session is among
//! the names, and a name may be of a session that is not there, which whoever reads it finds out. Should a name be refused, its
//! session is taken back. Such a name is removed once it is older than any call can
//! take. Each session has a mark of its own in its name, so that a late removal never takes the name of a later session
//! with the same handle.
//!
//! # What is promised
//! What a server promises: an answered write is in its memory, and with `appendfsync everysec` on its disk a second
//! later. A command that changes something is sent once, and again only where the server said that it did
//! not execute it.

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
