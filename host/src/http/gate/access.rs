//! Access rules of instances, and a check that nothing is exposed to the network by mistake.

use std::net::{IpAddr, SocketAddr};

use crate::config::{ApiKeys, Auth, AuthType, LEAST_KEY};
use crate::source::is_of_this_machine;

/// Who may call an instance.
#[derive(Debug, Clone)]
pub(crate) enum Access {
    /// Everybody, as configured.
    Open,
    /// Everybody on this machine, because neither the instance nor `[auth]` configures a key.
    OpenByDefault,
    /// Callers with one of the keys.
    Keyed(ApiKeys),
    /// Callers with a live session of the instance with this name.
    Session(String),
}

impl Access {
    /// Combines an instance's own parameters with `[auth]`; `keeper` finds the instance that keeps the sessions.
    pub(crate) fn new(
        auth_type: &AuthType,
        auth: &Auth,
        keeper: impl FnOnce(Option<&str>) -> Result<String, String>,
    ) -> Result<Self, String> {
        Ok(match auth_type {
            AuthType::None => Self::Open,
            AuthType::Plugin(keys) => Self::Keyed(keys.clone()),
            AuthType::Default if auth.keys.is_empty() => Self::OpenByDefault,
            AuthType::Default | AuthType::Global => Self::Keyed(auth.keys.clone()),
            AuthType::Session(named) => Self::Session(keeper(named.as_deref())?),
        })
    }
}

/// Lists those of `[auth]` and of instances whose keys are so short that they can be guessed: one line each.
pub(crate) fn short_keys<'a>(
    auth: &Auth,
    instances: impl IntoIterator<Item = (&'a str, &'a Access)>,
) -> Vec<String> {
    let own = instances.into_iter().filter_map(|(name, access)| match access {
        Access::Keyed(keys) if *keys != auth.keys && keys.has_short() => Some(format!("`apikey` of {name}")),
        _ => None,
    });
    let global = [("apikey", &auth.keys), ("metrics_apikey", &auth.metrics_keys)]
        .into_iter()
        .filter(|(_, keys)| keys.has_short())
        .map(|(key, _)| format!("[auth] {key}"));
    let line = |whose| {
        format!(
            "{whose}: a key of fewer than {LEAST_KEY} characters can be guessed; write a random one, such as \
             `openssl rand -hex 16` prints"
        )
    };
    global.chain(own).map(line).collect()
}

/// Rejects a configuration that exposes an instance to the network although it is not configured as open, or although
/// its keys can be guessed.
///
/// # Errors
/// What to configure.
pub(crate) fn check_exposure<'a>(
    address: SocketAddr,
    auth: &Auth,
    instances: impl IntoIterator<Item = (&'a str, &'a Access)> + Clone,
) -> Result<(), ExposureError> {
    if is_of_this_machine(&address) {
        return Ok(());
    }
    let address = address.ip();
    let open: Vec<String> = instances
        .clone()
        .into_iter()
        .filter(|(_, access)| matches!(access, Access::OpenByDefault))
        .map(|(name, _)| name.to_owned())
        .collect();
    if !open.is_empty() {
        return Err(ExposureError::Open { address, open });
    }
    let short = short_keys(auth, instances);
    if short.is_empty() { Ok(()) } else { Err(ExposureError::ShortKeys { address, short }) }
}

/// A configuration that would expose instances to the network.
#[derive(Debug, thiserror::Error)]
pub enum ExposureError {
    /// Instances without an access rule.
    #[error(
        "[network] bindto = {address} is reached from other machines, but no key protects {}: write `apikey = ...` in \
         [auth], or let everybody in by `auth_type=none` in the parameters of {}",
        open.join(", "),
        open.join(", ")
    )]
    Open {
        /// The address that is bound.
        address: IpAddr,
        /// Their names.
        open: Vec<String>,
    },
    /// Instances whose keys can be guessed.
    #[error("[network] bindto = {address} is reached from other machines: {}", short.join("; "))]
    ShortKeys {
        /// The address that is bound.
        address: IpAddr,
        /// One line each.
        short: Vec<String>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ApiKey;

    fn keys(keys: &[&str]) -> ApiKeys {
        ApiKeys(keys.iter().map(|key| ApiKey::new(key)).collect())
    }

    fn auth(list: &[&str]) -> Auth {
        Auth { keys: keys(list), metrics_keys: ApiKeys::default(), allow_query_key: false }
    }

    #[test]
    fn access_comes_from_both_places() {
        let access = |auth_type: &AuthType, list: &[&str]| {
            Access::new(auth_type, &auth(list), |named| {
                named.map(str::to_owned).ok_or_else(|| "none".to_owned())
            })
        };
        assert!(matches!(access(&AuthType::Default, &[]), Ok(Access::OpenByDefault)));
        assert!(matches!(access(&AuthType::None, &["k"]), Ok(Access::Open)));
        assert!(matches!(access(&AuthType::Default, &["k"]), Ok(Access::Keyed(keys)) if keys.accept(b"k")));
        let own = AuthType::Plugin(keys(&["own"]));
        assert!(matches!(access(&own, &["k"]), Ok(Access::Keyed(keys)) if !keys.accept(b"k")));
        assert!(
            matches!(access(&AuthType::Session(Some("s".into())), &[]), Ok(Access::Session(name)) if name == "s")
        );
        assert!(access(&AuthType::Session(None), &[]).is_err());
    }

    #[test]
    fn open_by_default_is_for_loopback_addresses() {
        let address = |text: &str| text.parse().unwrap();
        let none = auth(&[]);
        let check = |at: &str, access: Access| check_exposure(address(at), &none, [("sessman", &access)]);
        assert!(check("127.0.0.1:1", Access::OpenByDefault).is_ok());
        assert!(check("[::1]:1", Access::OpenByDefault).is_ok());
        assert!(check("[::ffff:127.0.0.1]:1", Access::OpenByDefault).is_ok());
        assert!(check("0.0.0.0:1", Access::Open).is_ok());
        let message = check("0.0.0.0:1", Access::OpenByDefault).unwrap_err().to_string();
        assert!(message.contains("`auth_type=none` in the parameters of sessman"), "{message}");
        assert!(check("[::]:1", Access::OpenByDefault).is_err());
        for (key, refused) in [("a", true), ("11 letters!", true), ("12 letters !", false)] {
            let message = check("0.0.0.0:1", Access::Keyed(keys(&["another one that is long", key])));
            assert_eq!(message.is_err(), refused, "{key}");
            assert!(check("127.0.0.1:1", Access::Keyed(keys(&[key]))).is_ok());
        }
        let global = Auth { metrics_keys: keys(&["m"]), ..auth(&["k"]) };
        let instances = [("a", &Access::Keyed(global.keys.clone())), ("b", &Access::Keyed(keys(&["x"])))];
        let lines = short_keys(&global, instances);
        assert!(lines.len() == 3 && lines[0].starts_with("[auth] apikey: "), "{lines:?}");
        assert!(lines[1].starts_with("[auth] metrics_apikey: "), "{lines:?}");
        assert!(lines[2].starts_with("`apikey` of b: ") && lines[2].contains("openssl"), "{lines:?}");
        assert!(
            check_exposure(address("0.0.0.0:1"), &Auth { metrics_keys: keys(&["m"]), ..auth(&[]) }, [])
                .is_err()
        );
    }
}
