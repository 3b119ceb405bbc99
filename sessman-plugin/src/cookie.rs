//! The session cookie (RFC 6265bis): how it is set, and in `header` how it is parsed.

pub(crate) mod header;

use std::net::IpAddr;

use plugin_api::{Caller, Request};
use sessman::config::{CookieConfig, SameSite};
use sessman::id::SessionId;
use sessman::record::Record;

/// The `Set-Cookie` that sets an id. That of a persistent session lasts as long as the session; another one ends with the
/// browser.
pub(crate) fn set(config: &CookieConfig, id: &SessionId, record: &Record, request: &Request<'_>) -> String {
    let mut text = [0; SessionId::TEXT_LENGTH];
    let max_age = match is_persistent(config, record) {
        // The answer belongs to the write that set both times.
        true => format!("; Max-Age={}", record.expires_at.since(record.last_activity).as_secs()),
        false => String::new(),
    };
    format!("{}={}{max_age}{}", config.name, id.expose(&mut text), attributes(config, request))
}

/// Whether the session's cookie outlives the browser.
pub(crate) fn is_persistent(config: &CookieConfig, record: &Record) -> bool {
    config.persistent || record.persistent
}

/// The `Set-Cookie` that deletes the cookie.
pub(crate) fn clear(config: &CookieConfig, request: &Request<'_>) -> String {
    format!("{}=; Max-Age=0{}", config.name, attributes(config, request))
}

fn attributes(config: &CookieConfig, request: &Request<'_>) -> String {
    let mut attributes = format!("; Path={}", config.path);
    if let Some(domain) = &config.domain {
        attributes.push_str("; Domain=");
        attributes.push_str(domain);
    }
    attributes.push_str("; HttpOnly");
    attributes.push_str(match config.same_site {
        SameSite::Strict => "; SameSite=Strict",
        SameSite::Lax => "; SameSite=Lax",
        SameSite::None => "; SameSite=None",
    });
    if is_secure(config, request) {
        attributes.push_str("; Secure");
    }
    if config.partitioned {
        attributes.push_str("; Partitioned");
    }
    attributes
}

/// Without a configured value, `Secure` is omitted for a plain HTTP request from this machine to an open instance,
/// because some browsers reject a `Secure` cookie there. A caller with the key passes the cookie on to browsers
/// elsewhere.
fn is_secure(config: &CookieConfig, request: &Request<'_>) -> bool {
    let is_tried_out =
        request.caller() == Caller::Open && request.scheme() == "http" && is_local(request.host());
    config.secure.unwrap_or(config.wants_secure() || !is_tried_out)
}

/// Whether browsers treat this host as the local machine, where a cookie need not be `Secure`.
fn is_local(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    name == "localhost"
        || name.ends_with(".localhost")
        || name.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_hosts_are_told_from_others() {
        for local in
            ["localhost", "LOCALHOST:6123", "app.localhost", "127.0.0.1:1", "[::1]:6123", "127.9.9.9"]
        {
            assert!(is_local(local), "{local}");
        }
        for other in ["", "example.org", "localhost.example.org", "10.0.0.1:80", "[2001:db8::1]"] {
            assert!(!is_local(other), "{other}");
        }
    }
}
