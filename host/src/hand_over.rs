//! Hands over from one instance to another while requests wait.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;

use crate::config::Limits;
use crate::http::control::orders::OrderError;
use crate::plugin::{Instance, State, callers_first};

/// How long streams may take to end after their plugin was told to stop, even when the grace period is used up.
pub(crate) const LAST_MOMENT: Duration = Duration::from_millis(500);
/// The time in which the leaving instances must complete their requests and release their resources, together.
const PATIENCE: &str = "the shorter of [limits] shutdown_grace and half of request_timeout";

/// Instances to remove, and instances that replace them.
pub(crate) struct HandOver<'a> {
    pub(crate) leaving: &'a [Arc<Instance>],
    pub(crate) coming: &'a [Arc<Instance>],
}

impl HandOver<'_> {
    /// Moves exclusive resources from the leaving to the coming instances. If that fails, it rolls back to the leaving
    /// ones.
    ///
    /// # Errors
    /// Which instances were not drained in time, or could not be activated.
    pub(crate) async fn run(&self, limits: &Limits) -> Result<(), OrderError> {
        // The waiting requests must still have time for their answers.
        let patience = limits.shutdown_grace.min(limits.request_timeout / 2);
        let serving: Vec<&Arc<Instance>> =
            self.leaving.iter().filter(|instance| instance.state() == State::Ready).collect();
        let deadline = Instant::now() + patience;
        let groups = callers_first(&serving);
        let busy = drain(&groups, deadline).await;
        if !busy.is_empty() {
            for instance in serving.iter().filter(|instance| instance.state() == State::HandingOver) {
                instance.resume();
            }
            self.discard().await;
            let (busy, patience) = (busy.join(", "), patience.as_millis());
            let reason = format!("{busy} still answered requests after {patience} ms ({PATIENCE})");
            return Err(OrderError::State(reason));
        }
        match self.exchange(&groups, deadline).await {
            Ok(()) => Ok(()),
            Err(refusal) => {
                let deadline = deadline.max(Instant::now() + LAST_MOMENT);
                for instance in self.coming.iter().filter(|instance| instance.state() == State::Ready) {
                    let _ = instance.deactivate(deadline).await;
                }
                self.discard().await;
                for instance in groups.iter().rev().flatten() {
                    if let Err(error) = instance.activate().await {
                        let reason = error.line();
                        tracing::error!(
                            instance = instance.name,
                            reason,
                            "not active again; it is tried again"
                        );
                    }
                }
                Err(refusal)
            }
        }
    }

    async fn exchange(&self, groups: &[Vec<&Arc<Instance>>], deadline: Instant) -> Result<(), OrderError> {
        for group in groups {
            let let_go = join_all(group.iter().map(|instance| instance.deactivate(deadline))).await;
            for (instance, result) in group.iter().zip(let_go) {
                result.map_err(|reason| {
                    let limit =
                        if Instant::now() < deadline { String::new() } else { format!(" ({PATIENCE})") };
                    OrderError::State(format!("`{}` did not let go: {reason}{limit}", instance.name))
                })?;
            }
        }
        let coming: Vec<&Arc<Instance>> = self.coming.iter().collect();
        for instance in callers_first(&coming).into_iter().rev().flatten() {
            if let Err(error) = instance.activate().await {
                if groups.iter().flatten().any(|before| before.name == instance.name) {
                    return Err(OrderError::Invalid(format!("{}: {}", instance.name, error.line())));
                }
                tracing::error!(
                    instance = instance.name,
                    reason = error.line(),
                    "not active; it is tried again"
                );
            }
        }
        Ok(())
    }

    /// Ends what was prepared.
    async fn discard(&self) {
        join_all(self.coming.iter().map(|instance| instance.shut_down(LAST_MOMENT))).await;
    }
}

/// Lets the instances complete their requests: callers first, as they still need those that they call. Returns the names of
/// those that were not done by `deadline`.
async fn drain<'a>(groups: &[Vec<&'a Arc<Instance>>], deadline: Instant) -> Vec<&'a str> {
    for group in groups {
        for instance in group {
            instance.suspend();
        }
        let drained = join_all(group.iter().map(|instance| instance.drained(deadline))).await;
        let busy: Vec<&str> = group
            .iter()
            .zip(drained)
            .filter(|(_, drained)| !drained)
            .map(|(instance, _)| instance.name.as_str())
            .collect();
        if !busy.is_empty() {
            return busy;
        }
    }
    Vec::new()
}
