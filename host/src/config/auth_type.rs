//! Who may call an instance: `auth_type` and `apikey` of its parameters.

use super::secret::{ApiKey, ApiKeys};
use super::sections::HostKeys;

/// Who may call an instance, according to its own parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuthType {
    /// Not configured: the `[auth]` key if there is one.
    Default,
    /// The `[auth]` key.
    Global,
    /// Its own keys.
    Plugin(ApiKeys),
    /// A live session of this instance; of the only one that keeps sessions if none is named.
    Session(Option<String>),
    /// Everybody.
    None,
}

/// What the parameters say.
///
/// # Errors
/// What is wrong with them, or with both together.
pub(super) fn auth_type(own: &HostKeys, has_global_key: bool) -> Result<AuthType, String> {
    let keys = own.apikey.as_ref().map(|keys| api_keys(&keys.0)).transpose();
    let keys = keys.map_err(|message| format!("apikey: {message}"))?;
    if own.auth.is_some() && own.auth_type.is_some() {
        return Err("`auth` means the same as `auth_type`; write one of them".into());
    }
    let auth = match (
        own.auth_type.as_deref().or(own.auth.as_deref()).map(str::to_ascii_lowercase).as_deref(),
        &keys,
    ) {
        (None, None) => AuthType::Default,
        // With a key, `plugin` is the default: a key that is never checked would give false security.
        (None | Some("plugin"), Some(keys)) => AuthType::Plugin(keys.clone()),
        (Some("plugin"), None) => return Err("auth_type=plugin needs an `apikey` of the instance".into()),
        (Some("global"), _) if !has_global_key => {
            return Err("auth_type=global needs `apikey` in [auth]".into());
        }
        (Some("global"), _) => AuthType::Global,
        (Some("none"), _) => AuthType::None,
        (Some("session"), _) => AuthType::Session(own.session_plugin.as_deref().map(str::to_lowercase)),
        (Some(_), _) => {
            let key = if own.auth.is_some() { "auth" } else { "auth_type" };
            return Err(format!("{key}: expected global, plugin, session or none"));
        }
    };
    if keys.is_some() && !matches!(auth, AuthType::Plugin(_)) {
        return Err("`apikey` counts only with auth_type=plugin".into());
    }
    if own.session_plugin.is_some() && !matches!(auth, AuthType::Session(_)) {
        return Err("`session_plugin` counts only with auth_type=session".into());
    }
    Ok(auth)
}

/// Converts configured keys.
///
/// # Errors
/// There is no key, an empty one, or one that cannot be sent in a header.
pub(crate) fn api_keys(written: &[String]) -> Result<ApiKeys, String> {
    if written.is_empty() {
        return Err("an empty list would lock everybody out; leave the key away instead".into());
    }
    for (at, key) in written.iter().enumerate() {
        if key.is_empty() {
            return Err(match written.len() {
                1 => "an empty key".into(),
                count => {
                    format!("an empty key, number {} of {count}: its variable or file holds nothing", at + 1)
                }
            });
        }
        if key.chars().any(char::is_control) || key.trim() != key {
            return Err("white space around it, or a control character in it".into());
        }
    }
    Ok(ApiKeys(written.iter().map(|key| ApiKey::new(key)).collect()))
}
