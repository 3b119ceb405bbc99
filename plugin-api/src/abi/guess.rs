//! The extension [`GUESS`] of a request: a plugin says that it brought a secret that is none.
//!
//! The host counts, slows and logs guesses in one place, those of its own keys and those of what only a plugin knows.

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

/// Takes down what a request brought. It counts for the answer to that request.
#[sabi_trait]
pub trait RawGuess: Send + Sync + 'static {
    /// It brought a secret of this kind that is none. Other kinds mean nothing.
    #[sabi(last_prefix_field)]
    fn wrong(&self, kind: u8);
}
