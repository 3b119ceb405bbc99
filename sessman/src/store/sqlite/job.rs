//! A queued write and its caller.

use std::path::Path;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::cache::Written;
use super::failure::store_error;
use super::operation::{Failure, Operation, Transaction};
use super::waiting::Share;
use crate::store::{Result, StoreError};

/// A write that waits for its turn, its commit and its reply.
pub(super) trait Job: Send {
    /// Makes the write and keeps its result.
    fn execute(&mut self, transaction: &mut Transaction<'_>);
    /// Sends the result to the caller, after the commit. Returns whether the caller still waits.
    fn answer(self: Box<Self>, path: &Path) -> bool;
    /// Tells the caller that the write was rolled back.
    fn undone(self: Box<Self>, error: StoreError);
    /// Whether the caller is gone; then the write is skipped.
    fn is_abandoned(&self) -> bool;
    /// Whether it needs more disk space.
    fn is_growing(&self) -> bool;
    /// The write was rolled back because the disk is full.
    fn refuse(&mut self);
}

/// An operation and its caller.
pub(super) struct Call<O: Operation> {
    operation: O,
    result: Option<std::result::Result<O::Output, Failure>>,
    caller: oneshot::Sender<Result<O::Output>>,
    /// Its part of the memory quota of queued writes; held until the reply.
    share: Option<Share>,
}

impl<O: Operation> Call<O> {
    /// A job for it, and the channel of its reply.
    pub(super) fn boxed(
        operation: O,
        share: Option<Share>,
    ) -> (Box<dyn Job>, oneshot::Receiver<Result<O::Output>>) {
        let (caller, answer) = oneshot::channel();
        (Box::new(Self { operation, result: None, caller, share }), answer)
    }
}

impl<O: Operation> Job for Call<O> {
    fn execute(&mut self, transaction: &mut Transaction<'_>) {
        if self.is_abandoned() {
            // It may have run before, in a transaction that was rolled back.
            self.result = None;
            return;
        }
        let result = self.operation.execute(transaction);
        if let Err(Failure::Sqlite(_)) = &result {
            // SQLite may keep a part of a statement that fails on a corrupt file, so no cached record is certain.
            transaction.withheld.add(Written::AllGone);
        }
        self.result = Some(result);
    }

    fn answer(self: Box<Self>, path: &Path) -> bool {
        let Self { operation, result, caller, share } = *self;
        // Free the memory before the caller continues.
        drop((operation, share));
        // A call without a result never ran; its caller sees the closed channel.
        let Some(result) = result else { return false };
        // If the caller is gone, its write stays committed.
        let answer = caller.send(result.map_err(|failure| match failure {
            Failure::Sqlite(error) => store_error(path, &Arc::new(error)),
            Failure::Store(error) => error,
        }));
        answer.is_ok()
    }

    fn undone(self: Box<Self>, error: StoreError) {
        let _ = self.caller.send(Err(error));
    }

    fn is_abandoned(&self) -> bool {
        self.caller.is_closed()
    }

    fn is_growing(&self) -> bool {
        self.operation.bytes() > 0
    }

    fn refuse(&mut self) {
        self.result = Some(Err(StoreError::Full.into()));
    }
}
