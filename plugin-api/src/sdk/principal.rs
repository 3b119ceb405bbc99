//! Who is logged in.

/// A user, and the public name of the session that authenticates them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Principal {
    /// The user of the session.
    pub user_id: String,
    /// The session's public name.
    pub handle: String,
}
