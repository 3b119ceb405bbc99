//! The types that cross the boundary between host and plugin, version 1.
//!
//! Every type here has a layout that `abi_stable` checks when a library is loaded. The traits are object types with a
//! table of functions. Data is read by calling them, so that neither side sees the other's structures. Enumerations
//! cross as numbers, so that a value which this version does not know is not undefined behaviour.
//!
//! Once frozen, these types get no new members: new abilities are added as an `extension`.

#![allow(
    non_camel_case_types,
    non_local_definitions,
    missing_docs,
    unused_qualifications,
    reason = "made by abi_stable's macros"
)]
#![allow(clippy::undocumented_unsafe_blocks, unsafe_code, reason = "made by abi_stable's macros")]

pub mod budget;
pub mod call;
pub mod guess;
pub mod host;
pub mod module;
pub mod now;
pub mod plugin;
pub mod request;
pub mod response;
pub mod tasks;
