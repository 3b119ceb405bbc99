//! The types that cross the boundary between host and plugin, version 1.
//!
//! Every type here has a layout that `abi_stable` checks when a library is loaded. The traits are object types with
//! a table of functions; data is reached by calling them, so that neither side sees the other's structures. Numbers
//! stand for enumerations: a value that this version does not know is then no undefined behaviour.
//!
//! Nothing is added to these types once they are frozen: new abilities come through `extension`.

#![allow(
    non_camel_case_types,
    non_local_definitions,
    missing_docs,
    unused_qualifications,
    reason = "made by abi_stable's macros"
)]
#![allow(clippy::undocumented_unsafe_blocks, unsafe_code, reason = "made by abi_stable's macros")]

pub mod budget;
pub mod guess;
pub mod host;
pub mod module;
pub mod now;
pub mod plugin;
pub mod request;
pub mod response;
