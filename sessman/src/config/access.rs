//! Access control of sessions, beside the key that the host requires.

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::Value;
use settings::Problem;
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq as _};

use super::raw::RawConfig;
use super::values::{choice, problem};

/// Access control of sessions, beside the key that the host requires.
#[derive(Debug, Clone)]
pub struct AccessConfig {
    /// What a client may do with a live session's id and no key.
    pub client_access: ClientAccess,
    /// Whether a session authenticates its user even though anybody can create one for any user.
    pub allow_open_login: bool,
    /// Whether `verify` also answers on paths below its own.
    pub verify_prefix: bool,
    /// Whether `verify` accepts CORS preflights.
    pub verify_preflight: bool,
    /// Signs the responses of `verify`; `None` for no signature.
    pub verify_key: Option<VerifyKey>,
    /// Whether ids are accepted in the query of a URL.
    pub ids_in_urls: bool,
    /// Whether session events are written to the log.
    pub audit: bool,
    /// The keys for the admin routes; `None` if those are closed.
    pub admin_keys: Option<AdminKeys>,
}

/// What a live session's id permits where there is a key; each level includes the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ClientAccess {
    /// Nothing.
    None,
    /// Everything but a change of the session's data or user.
    Read,
    /// A change of its data, too.
    Write,
}

/// The least length of a key, in characters.
const LEAST_KEY: usize = 12;

/// The administrators' keys. Kept as hashes: they cannot be shown, and comparing them takes the same time for every length.
#[derive(Clone)]
pub struct AdminKeys(Vec<[u8; 32]>);

impl AdminKeys {
    /// Whether `key` is one of them. Constant time, whichever matches, or none.
    pub fn accept(&self, key: &[u8]) -> bool {
        let hash = hash(key);
        let matches = self.0.iter().fold(Choice::from(0), |found, key| found | key.ct_eq(&hash));
        matches.into()
    }
}

impl std::fmt::Debug for AdminKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AdminKeys({})", self.0.len())
    }
}

/// The least length of a key that nobody types, in characters.
const LEAST_VERIFY_KEY: usize = 32;

/// The key that signs the responses of `verify`, so that a back end with the same key trusts no others.
#[derive(Clone)]
pub struct VerifyKey(Hmac<Sha256>);

impl VerifyKey {
    /// The HMAC-SHA-256 (RFC 2104) of `text`.
    pub fn sign(&self, text: &str) -> [u8; 32] {
        self.0.clone().chain_update(text).finalize().into_bytes().into()
    }
}

impl std::fmt::Debug for VerifyKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("VerifyKey(..)")
    }
}

fn hash(key: &[u8]) -> [u8; 32] {
    Sha256::digest(key).into()
}

/// Reads the keys for access control.
pub(super) fn read(raw: &RawConfig, problems: &mut Vec<Problem>) -> AccessConfig {
    AccessConfig {
        client_access: choice(
            "client_access",
            raw.client_access.as_deref(),
            &[("none", ClientAccess::None), ("read", ClientAccess::Read), ("write", ClientAccess::Write)],
            problems,
        ),
        allow_open_login: raw.allow_open_login.unwrap_or(false),
        ids_in_urls: raw.ids_in_urls.unwrap_or(true),
        audit: raw.audit.unwrap_or(true),
        verify_prefix: raw.verify_prefix.unwrap_or(false),
        verify_preflight: raw.verify_preflight.unwrap_or(false),
        verify_key: verify_key(raw.verify_key.as_deref(), problems),
        admin_keys: admin_keys(raw.admin_key.as_ref(), problems),
    }
}

fn admin_keys(value: Option<&Value>, problems: &mut Vec<Problem>) -> Option<AdminKeys> {
    let texts = match value {
        None | Some(Value::Null) => return None,
        // A variable that is not set, in a file that takes the key from it: the routes stay closed.
        Some(Value::String(text)) if text.is_empty() => return None,
        Some(Value::Array(items)) => items.iter().map(Value::as_str).collect(),
        Some(one) => vec![one.as_str()],
    };
    let keys = texts.iter().flatten().filter(|text| is_key(text, LEAST_KEY));
    let keys: Vec<[u8; 32]> = keys.map(|text| hash(text.as_bytes())).collect();
    if keys.is_empty() || keys.len() < texts.len() {
        let expected = format!(
            "expected a text of at least {LEAST_KEY} visible ASCII characters, such as `openssl rand -hex 16` prints, or a list \
             of them"
        );
        problems.push(problem("admin_key", &expected));
        return None;
    }
    Some(AdminKeys(keys))
}

/// Whether it has at least `least` characters and is valid in a header: visible ASCII without surrounding blanks.
fn is_key(text: &str, least: usize) -> bool {
    let is_visible = text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
    text.len() >= least && is_visible && text.trim() == text
}

fn verify_key(text: Option<&str>, problems: &mut Vec<Problem>) -> Option<VerifyKey> {
    let text = text?;
    if !is_key(text, LEAST_VERIFY_KEY) {
        let expected = format!(
            "expected a text of at least {LEAST_VERIFY_KEY} visible ASCII characters, such as `openssl rand -hex 32` prints"
        );
        problems.push(problem("verify_key", &expected));
        return None;
    }
    Some(VerifyKey(Hmac::new_from_slice(text.as_bytes()).expect("HMAC takes a key of any length")))
}
