//! The drawing of crates and rooms.

/// Crates of the product, and their root files.
pub(super) const CRATES: &[(&str, &str)] = &[
    ("plugin-api", "plugin-api/src/lib.rs"),
    ("pserve", "host/src/lib.rs"),
    ("sessctl", "sessctl/src/main.rs"),
    ("settings", "settings/src/lib.rs"),
];
