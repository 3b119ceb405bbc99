//! The secrets that can be guessed, and the invalid ones that a request presented.
//!
//! The host checks its own keys. What only a plugin can verify is reported by the plugin, through the extension
//! `guess` of the request.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use abi_stable::sabi_trait::TD_Opaque;
use abi_stable::std_types::RBox;
use plugin_api::abi::guess::{ADMIN_KEY, RawGuess, RawGuess_TO, RawGuessBox, SESSION_ID};
use plugin_api::extension::RawExtension;

/// A kind of secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Secret {
    /// A key of `[auth]` or of an instance.
    ApiKey,
    /// A key of a plugin's own.
    AdminKey,
    /// The id of a session.
    SessionId,
}

/// The rate at which invalid secrets may come from one address.
pub(crate) struct Pace {
    /// Number of attempts that are answered without a delay.
    pub(crate) free: u32,
    /// After this time one attempt is forgotten.
    pub(crate) forget: Duration,
    /// Limit of attempts that are remembered, so that they are all forgotten after some minutes.
    pub(crate) most: u32,
    /// Up to this many attempts are not logged.
    pub(crate) quiet: u32,
}

impl Secret {
    pub(crate) const ALL: [Self; 3] = [Self::ApiKey, Self::AdminKey, Self::SessionId];

    /// The label in metrics.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::ApiKey => "api_key",
            Self::AdminKey => "admin_key",
            Self::SessionId => "session_id",
        }
    }

    /// For people.
    pub(crate) fn plural(self) -> &'static str {
        match self {
            Self::ApiKey => "API keys",
            Self::AdminKey => "admin keys",
            Self::SessionId => "session ids",
        }
    }

    pub(crate) fn pace(self) -> Pace {
        match self {
            Self::ApiKey | Self::AdminKey => {
                Pace { free: 10, forget: Duration::from_secs(6), most: 30, quiet: 0 }
            }
            // Honest clients present ids of sessions that have expired or ended, some of them several at once.
            Self::SessionId => Pace { free: 60, forget: Duration::from_secs(1), most: 120, quiet: 60 },
        }
    }

    /// Whether too many are answered with 429. An unknown session id is answered as usual: a client that was logged
    /// out must learn so.
    pub(crate) fn is_refused(self) -> bool {
        self != Self::SessionId
    }
}

/// The invalid secrets that a request presented. Attached to the answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Misses {
    /// The request needed an API key, and had none.
    pub(crate) without_key: bool,
    /// Number of invalid secrets of each kind.
    wrong: [u32; Secret::ALL.len()],
}

impl Misses {
    /// One invalid secret.
    pub(crate) fn one(secret: Secret) -> Self {
        let mut misses = Self::default();
        misses.wrong[secret as usize] = 1;
        misses
    }

    /// A missing API key.
    pub(crate) fn without_key() -> Self {
        Self { without_key: true, ..Self::default() }
    }

    /// Adds up these and others.
    pub(crate) fn and(mut self, other: Self) -> Self {
        self.without_key |= other.without_key;
        for (count, more) in self.wrong.iter_mut().zip(other.wrong) {
            *count = count.saturating_add(more);
        }
        self
    }

    /// Without those of a kind.
    pub(crate) fn without(mut self, secret: Secret) -> Self {
        self.wrong[secret as usize] = 0;
        self
    }

    /// The kinds with at least one invalid secret, and their numbers.
    pub(crate) fn wrong(&self) -> impl Iterator<Item = (Secret, u32)> {
        Secret::ALL.into_iter().zip(self.wrong).filter(|(_, count)| *count > 0)
    }

    /// Whether there is nothing to count.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The guesses that a plugin reports for a request.
#[derive(Debug, Default)]
pub(crate) struct Told {
    admin_keys: AtomicU32,
    session_ids: AtomicU32,
    /// Those of calls that the plugin made for the request: session ids.
    of_calls: AtomicU32,
}

impl Told {
    /// The extension that is passed to the plugin.
    pub(crate) fn extension(self: Arc<Self>) -> RawExtension {
        RawExtension::new::<RawGuessBox>(RawGuess_TO::from_ptr(RBox::new(Teller(self)), TD_Opaque))
    }

    /// Adds the session ids that a call made for the request did not find.
    pub(crate) fn add(&self, misses: &Misses) {
        self.of_calls.fetch_add(misses.wrong[Secret::SessionId as usize], Ordering::Relaxed);
    }

    /// The guesses of calls.
    pub(crate) fn misses_of_calls(&self) -> Misses {
        let mut misses = Misses::default();
        misses.wrong[Secret::SessionId as usize] = self.of_calls.load(Ordering::Relaxed);
        misses
    }

    /// The guesses reported so far.
    pub(crate) fn misses(&self) -> Misses {
        let mut misses = Misses::default();
        misses.wrong[Secret::AdminKey as usize] = self.admin_keys.load(Ordering::Relaxed);
        misses.wrong[Secret::SessionId as usize] = self.session_ids.load(Ordering::Relaxed);
        misses
    }
}

struct Teller(Arc<Told>);

impl RawGuess for Teller {
    fn wrong(&self, kind: u8) {
        let count = match kind {
            ADMIN_KEY => &self.0.admin_keys,
            SESSION_ID => &self.0.session_ids,
            _ => return,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_plugin_says_is_counted_by_kind() {
        let told = Arc::new(Told::default());
        let guess = Arc::clone(&told).extension().downcast::<RawGuessBox>().unwrap();
        for kind in [1, 2, 2, 0, 3, 255] {
            guess.wrong(kind);
        }
        let counts: Vec<(Secret, u32)> = told.misses().wrong().collect();
        assert_eq!(counts, [(Secret::AdminKey, 1), (Secret::SessionId, 2)]);
        let all = told.misses().and(Misses::one(Secret::ApiKey));
        assert_eq!(all.wrong().count(), 3);
        assert_eq!(all.without(Secret::SessionId).wrong().count(), 2);
        assert!(Misses::default().is_empty() && !Misses::without_key().is_empty());
    }
}
