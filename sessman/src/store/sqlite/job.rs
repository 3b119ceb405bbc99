//! An operation that waits for the writer, and its caller.

use std::path::Path;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::cache::Written;
use super::failure::store_error;
use super::operation::{Failure, Operation, Transaction};
use super::waiting::Share;
use crate::store::{Result, StoreError};

/// A write that waits for its turn, its commit and its answer.
pub(super) trait Job: Send {
    /// Makes the write and keeps what came of it.
    fn execute(&mut self, transaction: &mut Transaction<'_>);
    /// Tells the caller what came of it: it is committed, or was not made. Says whether there still was a caller.
    fn answer(self: Box<Self>, path: &Path) -> bool;
    /// Tells the caller that it was undone.
    fn undone(self: Box<Self>, error: StoreError);
    /// Whether nobody waits for it any more: it is not begun then.
    fn is_abandoned(&self) -> bool;
    /// Whether it brings along what has to be kept.
    fn is_growing(&self) -> bool;
    /// Its part of a transaction was undone: there is no room for it.
    fn refuse(&mut self);
}

/// An operation and its caller.
pub(super) struct Call<O: Operation> {
    operation: O,
    result: Option<std::result::Result<O::Output, Failure>>,
    caller: oneshot::Sender<Result<O::Output>>,
    /// Of the memory that waiting writes may take; kept until it is answered.
    share: Option<Share>,
}

impl<O: Operation> Call<O> {
    /// A job of it, and where its answer comes.
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
            // It may have been made before, in a transaction that was undone.
            self.result = None;
            return;
        }
        let result = self.operation.execute(transaction);
        if let Err(Failure::Sqlite(_)) = &result {
            // SQLite may keep a part of what fails on a damaged file: nothing of before is certain.
            transaction.withheld.add(Written::AllGone);
        }
        self.result = Some(result);
    }

    fn answer(self: Box<Self>, path: &Path) -> bool {
        let Self { operation, result, caller, share } = *self;
        // Free by the time that the caller goes on.
        drop((operation, share));
        // A call without a result was never begun; its caller hears from the closed channel.
        let Some(result) = result else { return false };
        // A caller that went away meanwhile has its write made all the same.
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
