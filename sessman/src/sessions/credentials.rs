//! What opens a session.

use std::net::IpAddr;

use crate::id::{Handle, SessionId};

/// What a client presents to use a session.
#[derive(Debug, Clone, Copy)]
pub struct Credentials<'a> {
    /// What names the session.
    pub key: Key<'a>,
    /// If set, the session is found only if it belongs to this user; `None` accepts any owner.
    pub user_id: Option<&'a str>,
    /// The client's address, if it is known.
    pub address: Option<IpAddr>,
}

/// What names a session.
#[derive(Debug, Clone, Copy)]
pub enum Key<'a> {
    /// The id that a client holds: whoever presents it may use the session.
    Id(&'a SessionId),
    /// The session's public name, which proves nothing: only for a part of this program that knows by other means that it may
    /// use the session.
    Handle(Handle),
}

impl Key<'_> {
    /// The handle of the session that it names.
    pub fn handle(self) -> Handle {
        match self {
            Self::Id(id) => id.handle(),
            Self::Handle(handle) => handle,
        }
    }
}

impl<'a> From<&'a SessionId> for Key<'a> {
    fn from(id: &'a SessionId) -> Self {
        Self::Id(id)
    }
}
