//! Which file of the product imports from which, as the compiler resolves names: by the items that it names, through
//! re-exports. The tests here hold that no circle stands between files, and that the drawing in ARCHITECTURE.md is true.

mod circles;
mod drawing;
mod source;
mod tree;
