//! Validation of the input of a new session.

use std::net::IpAddr;

use crate::data::Data;
use crate::error::Error;

/// The most characters of a user id.
pub const MAX_USER_ID: usize = 256;

/// Whether this is a valid user id.
///
/// # Errors
/// [`Error::Invalid`].
pub fn check_user_id(user_id: &str) -> Result<(), Error> {
    let length = user_id.chars().count();
    if length == 0 || length > MAX_USER_ID || user_id.chars().any(char::is_control) {
        return Err(Error::Invalid(
            "user_id: expected 1 to 256 characters, none of them a control character".into(),
        ));
    }
    Ok(())
}

/// The client's address in a session's metadata; `None` if there is none.
///
/// # Errors
/// The value is not an address.
#[allow(clippy::result_unit_err, reason = "there is one way to be none")]
pub fn client_ip(metadata: &Data) -> Result<Option<IpAddr>, ()> {
    match &metadata.to_value()["client_ip"] {
        serde_json::Value::Null => Ok(None),
        serde_json::Value::String(text) => {
            text.parse().map(|address: IpAddr| Some(address.to_canonical())).map_err(drop)
        }
        _ => Err(()),
    }
}
