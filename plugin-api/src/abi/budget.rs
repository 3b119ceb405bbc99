//! The extension [`BUDGET`]: memory that a plugin holds for others is counted with the host's.
//!
//! What strangers can make a process allocate has to have one bound, wherever it is allocated. A plugin draws before it
//! allocates, and gives back once it has freed. A host without the extension counts nothing.

use abi_stable::sabi_trait;
use abi_stable::std_types::RBox;

/// The extension's name, which a plugin asks its host for.
pub const BUDGET: &str = "budget";
/// Its version.
pub const BUDGET_VERSION: u32 = 1;

/// Kind of memory: what waits for something else to take it, such as writes for a disk.
pub const WAITING: u8 = 0;
/// Kind of memory: what is kept, such as a cache, and could be done without.
pub const KEPT: u8 = 1;

/// An owned [`RawBudget`].
pub type RawBudgetBox = RawBudget_TO<RBox<()>>;

/// The host's memory, for one instance. When it is dropped all is given back that was drawn by it.
#[sabi_trait]
pub trait RawBudget: Send + Sync + 'static {
    /// Draws so many bytes more of a kind, as they are to be allocated. Says whether they were to be had: if not, nothing
    /// was drawn, and they must not be allocated. Of a kind that the host does not know there is nothing.
    fn draw(&self, kind: u8, bytes: u64) -> bool;
    /// Gives back bytes that were freed.
    #[sabi(last_prefix_field)]
    fn give_back(&self, kind: u8, bytes: u64);
}
