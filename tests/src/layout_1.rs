//! Sessions as releases wrote them that knew layout 1 only: a file, keys, documents and a backup, kept as they were in
//! `tests/fixtures/layout-1`, and what puts them into a store.
//!
//! - `release`: builds the last such release, for what is to run beside today's
//! - `fixtures`: makes the fixtures with it, and puts them into stores

mod fixtures;
mod release;

pub use fixtures::{Fixture, Kept, USER, make_all, rules};
pub use release::build;
