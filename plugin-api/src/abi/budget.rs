//! The extension [`BUDGET`]: memory that a plugin holds on behalf of clients counts towards the host's memory limit.
//!
//! What unauthenticated clients can make a process allocate needs a single limit, wherever it is allocated. A plugin
//! reserves memory before it allocates, and returns it after it has freed. A host without the extension counts
//! nothing.

use abi_stable::sabi_trait;
use abi_stable::std_types::RBox;

/// The extension's name, which a plugin asks its host for.
pub const BUDGET: &str = "budget";
/// Its version.
pub const BUDGET_VERSION: u32 = 1;

/// Kind of memory: queued data that is waiting to be processed, such as pending disk writes.
pub const WAITING: u8 = 0;
/// Kind of memory: retained data that can be evicted, such as a cache.
pub const KEPT: u8 = 1;

/// An owned [`RawBudget`].
pub type RawBudgetBox = RawBudget_TO<RBox<()>>;

/// The host's memory budget, for one instance. Dropping it returns everything that was reserved through it.
#[sabi_trait]
pub trait RawBudget: Send + Sync + 'static {
    /// Reserves `bytes` more bytes of this kind, before they are allocated. Returns whether they were available. If
    /// not, nothing was reserved, and they must not be allocated. A kind that the host does not know is never
    /// available.
    fn draw(&self, kind: u8, bytes: u64) -> bool;
    /// Returns bytes that were freed.
    #[sabi(last_prefix_field)]
    fn give_back(&self, kind: u8, bytes: u64);
}
