//! What a flood of large requests took goes back to the system.
//!
//! The allocator of glibc keeps what is freed for those who ask next, however much it was and however long nobody asks.
//! So after each flood it is told to return whole pages. Told to do so at each free, it would make a request of 240 KB cost
//! twice as much.

#![allow(unsafe_code, reason = "the allocator is told in C")]

use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::Budget;

/// How often it looks.
const LOOK: Duration = Duration::from_millis(250);
/// A flood is over once so many bytes fewer are taken than at its height.
const FLOOD: usize = 32 << 20;
/// Floods that follow one another within the first of these are one. It is told again after the second, as there is what was
/// still under way at the first.
const PAUSES: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(10)];

/// Gives memory back after each flood, for ever.
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
                // It goes through all that is free, which takes some milliseconds.
                let _ = spawn_blocking(trim).await;
            }
        }
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn trim() {
    // SAFETY: it takes a number, and locks what it goes through.
    unsafe { libc::malloc_trim(0) };
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn trim() {}
