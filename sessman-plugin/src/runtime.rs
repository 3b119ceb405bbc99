//! The plugin's own tokio runtime: the host's runtime is not available in a separate library.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::runtime::Handle;

pin_project_lite::pin_project! {
    /// A future that is polled and dropped within the context of the runtime, but on the caller's thread.
    ///
    /// It costs only two thread-local writes; a task on the runtime would cost two thread switches.
    pub(crate) struct Entered<F> {
        runtime: Handle,
        #[pin]
        future: Option<F>,
    }

    impl<F> PinnedDrop for Entered<F> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            let _entered = this.runtime.enter();
            this.future.set(None);
        }
    }
}

impl<F> Entered<F> {
    pub(crate) fn new(runtime: Handle, future: F) -> Self {
        Self { runtime, future: Some(future) }
    }
}

impl<F: Future> Future for Entered<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let _entered = this.runtime.enter();
        // It is only taken out in drop.
        this.future.as_pin_mut().map_or(Poll::Pending, |future| future.poll(context))
    }
}
