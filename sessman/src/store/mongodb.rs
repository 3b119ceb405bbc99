//! mongodb.
