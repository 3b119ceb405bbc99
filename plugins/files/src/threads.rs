//! Threads that read files: a disk that is slow must not delay the host's own threads.

use std::io;

use tokio::runtime::{Builder, Handle, Runtime};

/// How many files are read at the same time.
const THREADS: usize = 8;

/// The threads, which are started when there is something to read, and end when there is not.
pub(crate) struct Threads {
    runtime: Option<Runtime>,
    handle: Handle,
}

impl Threads {
    pub(crate) fn new() -> io::Result<Self> {
        // Only its blocking threads are used, so that nothing has to drive it.
        let runtime =
            Builder::new_current_thread().max_blocking_threads(THREADS).thread_name("files").build()?;
        Ok(Self { handle: runtime.handle().clone(), runtime: Some(runtime) })
    }

    pub(crate) fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Runs `work` on one of the threads; `None` if it panicked, or if they have been stopped.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        self.handle.spawn_blocking(work).await.ok()
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        // A disk that hangs must not stop the host.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
