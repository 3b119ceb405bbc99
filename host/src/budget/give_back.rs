//! Returns memory to the system after a flood of large requests.
//!
//! The allocator of glibc caches freed memory for later allocations, without a limit of size or time. So after each
//! flood it is told to return whole pages. To do so after each free would double the cost of a request of 240 KB.

#![allow(unsafe_code, reason = "the allocator is told in C")]

use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::Budget;

/// Interval of the checks.
const LOOK: Duration = Duration::from_millis(250);
/// A flood is over once the use has dropped by this many bytes from its peak.
const FLOOD: usize = 32 << 20;
/// Floods that follow one another within the first pause count as one. The trim is repeated after the second pause,
/// for what was still in use at the first.
const PAUSES: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(10)];

/// Trims the heap after each flood. Never completes.
pub(crate) async fn give_back(budget: Arc<Budget>) {
    let mut most = 0;
    loop {
        sleep(LOOK).await;
        let taken = budget.taken();
        most = taken.max(most);
        if most - taken >= FLOOD {
            for pause in PAUSES {
                sleep(pause).await;
                most = budget.taken();
                // It walks the whole heap, which takes some milliseconds.
                let _ = spawn_blocking(trim).await;
            }
        }
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn trim() {
    // SAFETY: it takes a number, and locks the heap itself.
    unsafe { libc::malloc_trim(0) };
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn trim() {}
