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
    /// All that are served before, and all that are served afterwards: some of them may be called.
    pub(crate) before: &'a [&'a Arc<Instance>],
    pub(crate) after: &'a [&'a Arc<Instance>],
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
        let deadline = Instant::now() + patience;
        let serving: Vec<&Arc<Instance>> =
            self.leaving.iter().filter(|instance| instance.state() == State::Ready).collect();
        let mut let_go = Vec::new();
        let mut outcome = Ok(());
        // Callers first: until they have let go, they need those that they call.
        for group in callers_first(&serving, self.before) {
            outcome = release(&group, deadline, patience, &mut let_go).await;
            if outcome.is_err() {
                break;
            }
        }
        if outcome.is_ok() {
            outcome = self.activate(&serving).await;
        }
        if outcome.is_err() {
            self.roll_back(&serving, &let_go, deadline).await;
        }
        outcome
    }

    async fn activate(&self, serving: &[&Arc<Instance>]) -> Result<(), OrderError> {
        let coming: Vec<&Arc<Instance>> = self.coming.iter().collect();
        for instance in callers_first(&coming, self.after).into_iter().rev().flatten() {
            if let Err(error) = instance.activate().await {
                if serving.iter().any(|before| before.name == instance.name) {
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

    /// Back to the leaving instances. Only those that were told to let go are activated again: another one still has all that
    /// it needs.
    async fn roll_back(&self, serving: &[&Arc<Instance>], let_go: &[&Arc<Instance>], deadline: Instant) {
        let deadline = deadline.max(Instant::now() + LAST_MOMENT);
        for instance in self.coming.iter().filter(|instance| instance.state() == State::Ready) {
            let _ = instance.deactivate(deadline).await;
        }
        join_all(self.coming.iter().map(|instance| instance.shut_down(LAST_MOMENT))).await;
        for instance in serving.iter().filter(|instance| instance.state() == State::HandingOver) {
            if !let_go.iter().any(|other| Arc::ptr_eq(other, instance)) {
                instance.resume();
            }
        }
        for instance in let_go.iter().rev() {
            if let Err(error) = instance.activate().await {
                let reason = error.line();
                tracing::error!(instance = instance.name, reason, "not active again; it is tried again");
            }
        }
    }
}

/// Lets the instances of a group complete their requests, and release what they hold. Those that were told to release it are
/// added to `let_go`.
async fn release<'a>(
    group: &[&'a Arc<Instance>],
    deadline: Instant,
    patience: Duration,
    let_go: &mut Vec<&'a Arc<Instance>>,
) -> Result<(), OrderError> {
    for instance in group {
        instance.suspend();
    }
    let drained = join_all(group.iter().map(|instance| instance.drained(deadline))).await;
    let busy = group.iter().zip(drained).filter(|(_, drained)| !drained);
    let busy: Vec<&str> = busy.map(|(instance, _)| instance.name.as_str()).collect();
    if !busy.is_empty() {
        let (busy, patience) = (busy.join(", "), patience.as_millis());
        let reason = format!("{busy} still answered requests after {patience} ms ({PATIENCE})");
        return Err(OrderError::State(reason));
    }
    let_go.extend(group);
    let released = join_all(group.iter().map(|instance| instance.deactivate(deadline))).await;
    for (instance, result) in group.iter().zip(released) {
        result.map_err(|reason| {
            let limit = if Instant::now() < deadline { String::new() } else { format!(" ({PATIENCE})") };
            OrderError::State(format!("`{}` did not let go: {reason}{limit}", instance.name))
        })?;
    }
    Ok(())
}
