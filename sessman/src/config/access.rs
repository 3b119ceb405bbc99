//! Who may do what with sessions, beside the key that the host asks for.

/// Who may do what with sessions, beside the key that the host asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AccessConfig {
    /// What a live session's id alone opens.
    pub client_access: ClientAccess,
    /// Whether a session says who its user is although anybody may create one for any user.
    pub allow_open_login: bool,
}

/// What a live session's id alone opens where there is a key; each opens what the one before does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ClientAccess {
    /// Nothing.
    None,
    /// Everything but a change of the session's data or user.
    Read,
    /// A change of its data, too.
    Write,
}
