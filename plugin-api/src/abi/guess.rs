//! The extension [`GUESS`] of a request: a plugin reports that the request presented an invalid secret.
//!
//! The host counts, delays and logs guesses in one place: those of its own keys, and those of secrets that only a
//! plugin can verify.

use abi_stable::sabi_trait;
use abi_stable::std_types::RBox;

/// The extension's name, which a plugin asks a request for.
pub const GUESS: &str = "guess";
/// Its version.
pub const GUESS_VERSION: u32 = 1;

/// Kind of secret: a key of the plugin's own.
pub const ADMIN_KEY: u8 = 1;
/// Kind of secret: the id of a session.
pub const SESSION_ID: u8 = 2;

/// An owned [`RawGuess`].
pub type RawGuessBox = RawGuess_TO<RBox<()>>;

/// Records the invalid secrets that a request presented. They count towards the answer to that request.
#[sabi_trait]
pub trait RawGuess: Send + Sync + 'static {
    /// The request presented an invalid secret of this kind. An unknown kind is ignored.
    #[sabi(last_prefix_field)]
    fn wrong(&self, kind: u8);
}
