//! The plugin's own tokio runtime: the host's is not visible in a library of its own.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::runtime::Handle;

pin_project_lite::pin_project! {
    /// A future that is polled, and dropped, as if it ran on the runtime, though it runs on the caller's thread.
    ///
    /// It costs nothing but two thread-local writes; a task on the runtime would cost two switches of thread.
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
        // It is taken out in drop alone.
        this.future.as_pin_mut().map_or(Poll::Pending, |future| future.poll(context))
    }
}
