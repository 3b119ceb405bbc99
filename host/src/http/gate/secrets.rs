//! The secrets that can be guessed, and what a request brought in their place.
//!
//! Keys of the host are looked at here; what only a plugin knows it tells by the extension `guess` of the request.

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

/// How fast wrong ones may come from one address.
pub(crate) struct Pace {
    /// Those that are answered like any other request.
    pub(crate) free: u32,
    /// After which one of them is forgotten.
    pub(crate) forget: Duration,
    /// The most that are remembered, so that an address is as good as new after some minutes.
    pub(crate) most: u32,
    /// So many are not worth a line of the log.
    pub(crate) quiet: u32,
}

impl Secret {
    pub(crate) const ALL: [Self; 3] = [Self::ApiKey, Self::AdminKey, Self::SessionId];

    /// In metrics.
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
            // Honest clients bring ids of sessions that have ended, some of them several at once.
            Self::SessionId => Pace { free: 60, forget: Duration::from_secs(1), most: 120, quiet: 60 },
        }
    }

    /// Whether too many are answered by 429. An id that misses is answered as ever: whoever logged out has to learn so.
    pub(crate) fn is_refused(self) -> bool {
        self != Self::SessionId
    }
}

/// What a request brought that opens nothing. It goes with the answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Misses {
    /// It needed an API key, and brought none.
    pub(crate) without_key: bool,
    /// How many wrong ones of each kind.
    wrong: [u32; Secret::ALL.len()],
}

impl Misses {
    /// One wrong secret.
    pub(crate) fn one(secret: Secret) -> Self {
        let mut misses = Self::default();
        misses.wrong[secret as usize] = 1;
        misses
    }

    /// No API key.
    pub(crate) fn without_key() -> Self {
        Self { without_key: true, ..Self::default() }
    }

    /// These and others.
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

    /// The kinds of which there are some, and how many.
    pub(crate) fn wrong(&self) -> impl Iterator<Item = (Secret, u32)> {
        Secret::ALL.into_iter().zip(self.wrong).filter(|(_, count)| *count > 0)
    }

    /// Whether there is nothing to tell of.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What a plugin says of the secrets of a request.
#[derive(Debug, Default)]
pub(crate) struct Told {
    admin_keys: AtomicU32,
    session_ids: AtomicU32,
}

impl Told {
    /// As the plugin sees it.
    pub(crate) fn extension(self: Arc<Self>) -> RawExtension {
        RawExtension::new::<RawGuessBox>(RawGuess_TO::from_ptr(RBox::new(Teller(self)), TD_Opaque))
    }

    /// What it has said so far.
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
