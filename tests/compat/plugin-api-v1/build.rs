//! Makes this `plugin-api` to the compiler: `abi_stable` compares the name of the package that a type is from, and
//! cargo would not tell two packages of one name and version apart.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-env=CARGO_PKG_NAME=plugin-api");
}
