//! A request as a plugin sees it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use abi_stable::std_types::RStr;

use crate::abi::call::{CALL, CALL_VERSION, CALLED, CALLED_VERSION};
use crate::abi::guess::{ADMIN_KEY, GUESS, GUESS_VERSION, RawGuessBox, SESSION_ID};
use crate::abi::request::{RawAddress, RawRequestRef};
use crate::extension::RawExtension;
use crate::{CallError, Called, Calls, Principal, Session};

/// The caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// The instance has no key: anyone may call it.
    Open,
    /// A caller with the instance's key.
    Keyed,
    /// A caller without it.
    Unkeyed,
}

/// A secret that only the plugin can verify, and that an attacker may try to guess.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Secret {
    /// A key of the plugin's own.
    AdminKey = ADMIN_KEY,
    /// The id of a session.
    SessionId = SESSION_ID,
}

/// A request, borrowed from the host for the time it takes to answer it.
pub struct Request<'a>(RawRequestRef<'a>);

impl<'a> Request<'a> {
    pub(crate) fn new(raw: RawRequestRef<'a>) -> Self {
        Self(raw)
    }

    /// Index of the matched route in [`Plugin::routes`](crate::Plugin::routes).
    pub fn route(&self) -> usize {
        self.0.route() as usize
    }

    /// As received, usually upper case.
    pub fn method(&self) -> &str {
        self.0.method().into()
    }

    /// The whole raw path, still percent-encoded.
    pub fn path(&self) -> &str {
        self.0.path().into()
    }

    /// The part of the raw path below the mount, without a leading slash.
    pub fn path_below_mount(&self) -> &str {
        self.0.path_below_mount().into()
    }

    /// The raw query without `?`; empty if there is none. The host has removed `apikey`.
    pub fn query(&self) -> &str {
        self.0.query().into()
    }

    /// The first value of the header with this lower-case name.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.nth_header(name, 0)
    }

    /// All values of the header with this lower-case name.
    pub fn header_all<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'s [u8]> {
        (0..).map_while(move |nth| self.nth_header(name, nth))
    }

    /// All header lines, names in lower case.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        (0..).map_while(|index| {
            let header = self.0.header_at(index).into_option()?;
            Some((header.name.into(), header.value.into()))
        })
    }

    /// The whole body. The host has removed a top-level `apikey` from a JSON body.
    pub fn body(&self) -> &[u8] {
        self.0.body().into()
    }

    /// The client's address, from the connection or from the header of a trusted proxy; `None` on a Unix socket.
    pub fn client_address(&self) -> Option<IpAddr> {
        self.0.client_address().into()
    }

    /// `http` or `https`, as used by the client.
    pub fn scheme(&self) -> &str {
        self.0.scheme().into()
    }

    /// Host and port as sent by the client; empty if it sent none.
    pub fn host(&self) -> &str {
        self.0.host().into()
    }

    /// The request's id in logs.
    pub fn request_id(&self) -> &str {
        self.0.request_id().into()
    }

    /// The time from now until the request's deadline.
    pub fn time_left(&self) -> Duration {
        Duration::from_nanos(self.0.time_left())
    }

    /// The caller.
    pub fn caller(&self) -> Caller {
        match self.0.caller() {
            0 => Caller::Open,
            1 => Caller::Keyed,
            // A number from a later version of the host must not grant access.
            _ => Caller::Unkeyed,
        }
    }

    /// The user whose session was admitted by a session guard.
    pub fn principal(&self) -> Option<Principal> {
        let principal = self.0.principal().into_option()?;
        Some(Principal { user_id: principal.user_id.into(), handle: principal.handle.into() })
    }

    /// Whether this is a cross-site request: sent by a browser for a page of another origin that CORS does not allow.
    pub fn is_cross_site(&self) -> bool {
        self.0.cross_site()
    }

    /// An ability that version 1 of the ABI does not have; see [`crate::extension`].
    pub fn extension(&self, id: &str, version: u32) -> Option<RawExtension> {
        self.0.extension(RStr::from(id), version).into()
    }

    /// Calls to other instances on behalf of this request: with the client's address, its cookies and this request's
    /// deadline. For calls of the plugin's own, see [`Host::calls`](crate::Host::calls).
    ///
    /// # Errors
    /// [`CallError::Unsupported`].
    pub fn calls(&self) -> Result<Calls, CallError> {
        Calls::new(self.extension(CALL, CALL_VERSION))
    }

    /// The live session of the user whom this request is answered for, in a plugin that sessions guard
    /// (`auth_type=session`). It needs `calls=` with the name of the instance that keeps the sessions.
    ///
    /// # Errors
    /// [`CallError::NoSession`] if sessions do not guard this plugin or the session has ended, and those of a call.
    pub async fn session(&self) -> Result<Session, CallError> {
        let principal = self.principal().ok_or(CallError::NoSession)?;
        Session::of(self.calls()?, principal).await
    }

    /// The instance that makes this request by a call, and what it may do; `None` for a request of a client.
    pub fn called(&self) -> Option<Called> {
        Called::read(self.extension(CALLED, CALLED_VERSION)?)
    }

    /// Tells the host that the request presented an invalid secret of this kind. The host counts guesses, delays their
    /// answers and logs them. Returns whether the host supports this.
    pub fn brought_wrong(&self, secret: Secret) -> bool {
        let raw = self.extension(GUESS, GUESS_VERSION);
        let Some(guess) = raw.and_then(|raw| raw.downcast::<RawGuessBox>().ok()) else { return false };
        guess.wrong(secret as u8);
        true
    }

    fn nth_header(&self, name: &str, nth: usize) -> Option<&[u8]> {
        self.0.header(RStr::from(name), nth).into_option().map(Into::into)
    }
}

impl From<Option<IpAddr>> for RawAddress {
    fn from(address: Option<IpAddr>) -> Self {
        let mut octets = [0; 16];
        let family = match address {
            None => 0,
            Some(IpAddr::V4(address)) => {
                octets[..4].copy_from_slice(&address.octets());
                4
            }
            Some(IpAddr::V6(address)) => {
                octets = address.octets();
                6
            }
        };
        Self { family, octets }
    }
}

impl From<RawAddress> for Option<IpAddr> {
    fn from(RawAddress { family, octets }: RawAddress) -> Self {
        match family {
            4 => Some(Ipv4Addr::new(octets[0], octets[1], octets[2], octets[3]).into()),
            6 => Some(Ipv6Addr::from(octets).into()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_survive_the_boundary() {
        for text in ["127.0.0.1", "203.0.113.9", "::1", "2001:db8::7"] {
            let address: Option<IpAddr> = text.parse().ok();
            assert_eq!(Option::<IpAddr>::from(RawAddress::from(address)), address);
        }
        assert_eq!(Option::<IpAddr>::from(RawAddress::from(None)), None);
    }
}
