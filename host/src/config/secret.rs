//! Types for what must never be printed.

use std::fmt;

use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

/// An API key. Only its SHA-256 is kept: comparison takes the same time whatever the candidate's length, and the key
/// itself does not stay in memory after the configuration was read. `==` is for comparing configurations; keys from
/// clients are compared by [`ApiKeys::accept`].
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey {
    digest: [u8; 32],
    is_short: bool,
}

/// Minimum number of characters of a key.
pub(crate) const LEAST_KEY: usize = 12;

impl ApiKey {
    /// Hashes the key.
    pub fn new(key: &str) -> Self {
        Self { digest: digest(key.as_bytes()), is_short: key.chars().count() < LEAST_KEY }
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(..)")
    }
}

/// The keys that grant access to one thing; several while a key is being rotated.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ApiKeys(pub Vec<ApiKey>);

impl ApiKeys {
    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether one of them is so short that it can be guessed.
    pub(crate) fn has_short(&self) -> bool {
        self.0.iter().any(|key| key.is_short)
    }

    /// Whether `candidate` is one of the keys. All of them are compared, each in constant time.
    pub fn accept(&self, candidate: &[u8]) -> bool {
        let candidate = digest(candidate);
        let matched = self.0.iter().fold(Choice::from(0), |found, key| found | key.digest.ct_eq(&candidate));
        matched.into()
    }
}

fn digest(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// A plugin's parameters as the text of a JSON object. They hold passwords, so `Debug` shows nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct Parameters(String);

impl Parameters {
    /// Serializes an object.
    pub fn new(object: &serde_json::Map<String, serde_json::Value>) -> Self {
        // Maps with string keys always serialize, so there is no error to report.
        Self(serde_json::to_string(object).unwrap_or_else(|_| "{}".into()))
    }

    /// The JSON text, for the plugin alone.
    pub fn json(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Parameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Parameters(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_of_the_keys_is_accepted_and_nothing_else() {
        let keys = ApiKeys(vec![ApiKey::new("old"), ApiKey::new("new")]);
        assert!(keys.accept(b"old") && keys.accept(b"new"));
        assert!(!keys.accept(b"") && !keys.accept(b"ne") && !keys.accept(b"new "));
        assert!(!ApiKeys::default().accept(b""));
    }

    #[test]
    fn secrets_are_not_printed() {
        let object = serde_json::json!({ "password": "hidden" });
        let parameters = Parameters::new(object.as_object().unwrap());
        let printed = format!("{:?} {:?}", ApiKeys(vec![ApiKey::new("hidden")]), parameters);
        assert!(!printed.contains("hidden"), "{printed}");
    }
}
