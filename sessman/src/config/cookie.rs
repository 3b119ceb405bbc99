//! The cookie that carries a session's id.

use serde::Deserialize;
use serde_json::Value;
use settings::Problem;

use super::values::problem;
use crate::id::SessionId;

/// The cookie that carries a session's id (RFC 6265bis). It is always `HttpOnly`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CookieConfig {
    /// Its name.
    pub name: String,
    /// Its `Path`.
    pub path: String,
    /// Its `Domain`; `None` for the host only.
    pub domain: Option<String>,
    /// Its `SameSite`.
    pub same_site: SameSite,
    /// Its `Secure`. If not set, it is `Secure`, except without a key and with the browser on this machine.
    pub secure: Option<bool>,
    /// Whether it outlives the browser, whatever the session says ("remember me" for all).
    pub persistent: bool,
    /// Its `Partitioned` (CHIPS): a page in a frame of another site has a cookie of its own for each of these sites.
    pub partitioned: bool,
    /// Whether the answer to `end` asks the browser to clear what it keeps of the site (`Clear-Site-Data`).
    pub clear_site_data: bool,
}

/// When a browser sends a cookie with cross-site requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SameSite {
    /// Never.
    Strict,
    /// Only when the user follows a link.
    Lax,
    /// Always; browsers then require `Secure`.
    None,
}

/// Size limits of browsers: of name and value together, and of each attribute (RFC 6265bis, section 5.6).
const MAX_NAME_AND_VALUE: usize = 4_096;
const MAX_ATTRIBUTE: usize = 1_024;

impl CookieConfig {
    /// Whether browsers accept it only with `Secure`, whatever its origin.
    pub fn wants_secure(&self) -> bool {
        self.same_site == SameSite::None
            || self.partitioned
            || self.has_prefix("__Secure-")
            || self.has_prefix("__Host-")
    }

    /// Whether the name has this prefix; browsers ignore its case.
    fn has_prefix(&self, prefix: &str) -> bool {
        self.name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    }

    /// Reports what would make browsers reject it: its size, or attributes that its name prefix requires.
    fn check(&self, problems: &mut Vec<Problem>) {
        let longest_name = MAX_NAME_AND_VALUE - SessionId::TEXT_LENGTH;
        for (key, length, most) in [
            ("cookie.name", self.name.len(), longest_name),
            ("cookie.path", self.path.len(), MAX_ATTRIBUTE),
            ("cookie.domain", self.domain.as_ref().map_or(0, String::len), MAX_ATTRIBUTE),
        ] {
            if length > most {
                problems.push(problem(key, &format!("expected at most {most} characters")));
            }
        }
        if self.secure == Some(false) && self.wants_secure() {
            let why = "browsers take it only with Secure: its name begins with __Host- or __Secure-, same_site is None, or it is partitioned";
            problems.push(problem("cookie.secure", why));
        }
        if self.has_prefix("__Host-") && (self.path != "/" || self.domain.is_some()) {
            problems.push(problem("cookie.name", "with __Host- browsers take no domain and no path but /"));
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawCookie {
    #[serde(deserialize_with = "settings::loose::option")]
    name: Option<String>,
    #[serde(deserialize_with = "settings::loose::option")]
    path: Option<String>,
    #[serde(deserialize_with = "settings::loose::option")]
    domain: Option<String>,
    #[serde(deserialize_with = "settings::loose::option")]
    same_site: Option<String>,
    #[serde(deserialize_with = "settings::loose::option")]
    secure: Option<bool>,
    #[serde(deserialize_with = "settings::loose::option")]
    persistent: Option<bool>,
    #[serde(deserialize_with = "settings::loose::option")]
    partitioned: Option<bool>,
    #[serde(deserialize_with = "settings::loose::option")]
    clear_site_data: Option<bool>,
}

/// Reads the key `cookie`.
pub(super) fn read(
    value: Option<&Value>,
    instance: &str,
    problems: &mut Vec<Problem>,
) -> Option<CookieConfig> {
    let raw = match value {
        None | Some(Value::Null | Value::Bool(true)) => RawCookie::default(),
        Some(Value::Bool(false)) => return None,
        Some(Value::String(text)) if text == "false" => return None,
        Some(Value::Object(members)) => match settings::read::<RawCookie>(members) {
            Ok(raw) => raw,
            Err(wrong) => {
                problems.extend(wrong.into_iter().map(|p| problem(&format!("cookie.{}", p.key), &p.message)));
                return None;
            }
        },
        Some(_) => {
            problems.push(problem(
                "cookie",
                "expected false, or an object with name, path, domain, same_site, secure, persistent, partitioned, clear_site_data",
            ));
            return None;
        }
    };
    let plain = match instance {
        "sessman" => "PS_SESSID".to_owned(),
        other => format!("{other}_sid"),
    };
    let can_be_host = raw.domain.is_none()
        && raw.path.as_deref().is_none_or(|path| path == "/")
        && raw.secure != Some(false);
    let name = match raw.name.as_deref() {
        None => plain,
        Some("auto") if can_be_host => format!("__Host-{plain}"),
        Some("auto") if raw.secure != Some(false) => format!("__Secure-{plain}"),
        Some("auto") => plain,
        Some(name) => name.to_owned(),
    };
    if name.is_empty() || !name.bytes().all(is_token) {
        problems.push(problem("cookie.name", "expected letters, digits and !#$%&'*+-.^_`|~"));
    }
    let path = raw.path.unwrap_or_else(|| "/".to_owned());
    if !path.starts_with('/') || !path.bytes().all(is_attribute) {
        problems.push(problem("cookie.path", "expected a path that begins with /, without ; or spaces"));
    }
    if raw.domain.as_deref().is_some_and(|domain| !is_domain(domain)) {
        let expected = "expected a domain name such as example.org, without scheme, port and path; one beyond ASCII in its \
                        xn-- form";
        problems.push(problem("cookie.domain", expected));
    }
    let same_site = match raw.same_site.as_deref().map(str::to_ascii_lowercase).as_deref() {
        None | Some("lax") => SameSite::Lax,
        Some("strict") => SameSite::Strict,
        Some("none") => SameSite::None,
        Some(_) => {
            problems.push(problem("cookie.same_site", "expected Strict, Lax or None"));
            SameSite::Lax
        }
    };
    let cookie = CookieConfig {
        name,
        path,
        domain: raw.domain,
        same_site,
        secure: raw.secure,
        persistent: raw.persistent.unwrap_or(false),
        partitioned: raw.partitioned.unwrap_or(false),
        clear_site_data: raw.clear_site_data.unwrap_or(false),
    };
    cookie.check(problems);
    Some(cookie)
}

/// RFC 9110 `tchar`.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Whether it is valid as `Domain`. Browsers ignore a leading dot.
fn is_domain(text: &str) -> bool {
    let is_label = |label: &str| {
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        !label.is_empty() && label.bytes().all(is_part)
    };
    text.strip_prefix('.').unwrap_or(text).split('.').all(is_label)
}

fn is_attribute(byte: u8) -> bool {
    byte.is_ascii_graphic() && byte != b';'
}
