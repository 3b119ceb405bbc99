//! Makes the types of this crate `plugin-api`'s to the compiler, so that they differ from the host's in their layout
//! and in nothing else.
#![allow(clippy::print_stdout, reason = "it is how a build script speaks to cargo")]

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-env=CARGO_PKG_NAME=plugin-api");
}
