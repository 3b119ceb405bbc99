//! Replies of the writer to its callers.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::job::Job;

/// Replies that are committed and not delivered yet.
///
/// The writer wakes one caller, which delivers the replies to all others. Callers mostly run on one thread, where waking
/// another task costs no system call. And on a core that the writer shares with them, the first caller that it wakes
/// preempts it.
#[derive(Default)]
pub(super) struct Answers(Mutex<VecDeque<Box<dyn Job>>>);

impl Answers {
    fn jobs(&self) -> MutexGuard<'_, VecDeque<Box<dyn Job>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the first caller that still waits, once the other replies are ready for it to deliver.
    pub(super) fn give(&self, batch: &mut Vec<Box<dyn Job>>, path: &Path) {
        self.jobs().extend(batch.drain(..));
        loop {
            let Some(job) = self.jobs().pop_front() else { return };
            if job.answer(path) {
                return;
            }
        }
    }

    /// Delivers all replies.
    pub(super) fn carry(&self, path: &Path) {
        let jobs = std::mem::take(&mut *self.jobs());
        for job in jobs {
            job.answer(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::super::operation::Transaction;
    use super::*;
    use crate::store::StoreError;

    struct Told(Sender<()>);

    impl Job for Told {
        fn execute(&mut self, _: &mut Transaction<'_>) {}

        fn answer(self: Box<Self>, _: &Path) -> bool {
            self.0.send(()).is_ok()
        }

        fn undone(self: Box<Self>, _: StoreError) {}

        fn is_abandoned(&self) -> bool {
            false
        }

        fn is_growing(&self) -> bool {
            false
        }

        fn refuse(&mut self) {}
    }

    #[test]
    fn one_that_is_there_is_answered_and_the_others_by_whoever_carries() {
        let (mut batch, mut callers): (Vec<Box<dyn Job>>, Vec<Receiver<()>>) = (Vec::new(), Vec::new());
        for _ in 0..4 {
            let (told, caller) = channel();
            batch.push(Box::new(Told(told)));
            callers.push(caller);
        }
        drop(callers.remove(0));
        let (answers, path) = (Answers::default(), Path::new("sessions.db"));
        answers.give(&mut batch, path);
        let heard = || callers.iter().map(|caller| caller.try_recv().is_ok()).collect::<Vec<_>>();
        assert_eq!(heard(), [true, false, false]);
        answers.carry(path);
        assert_eq!(heard(), [false, true, true]);
        answers.carry(path);
        assert_eq!(heard(), [false; 3]);
    }
}
