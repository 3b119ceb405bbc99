//! Hello.
