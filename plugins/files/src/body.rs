//! The body of an answer: a small file at once, a large one piece by piece.

use std::fs::File;
use std::future::Future;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;
use plugin_api::Response;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

/// The most bytes of a file that are in memory for one answer.
const PIECE: u64 = 64 * 1024;

/// An answer with these bytes of a file as its body. The file must have them.
///
/// # Errors
/// The file cannot be read.
pub(crate) fn response(status: u16, file: File, bytes: Range<u64>, threads: &Handle) -> io::Result<Response> {
    let length = bytes.end - bytes.start;
    if length <= PIECE {
        return Ok(Response::new(status).with_body(read(&file, &bytes)?));
    }
    let pieces = Pieces { file: Arc::new(file), left: bytes, reading: None, threads: threads.clone() };
    Ok(Response::stream(status, pieces).with_header("content-length", length.to_string()))
}

fn read(file: &File, bytes: &Range<u64>) -> io::Result<Vec<u8>> {
    let length = usize::try_from(bytes.end - bytes.start).map_err(io::Error::other)?;
    let mut piece = vec![0; length];
    file.read_exact_at(&mut piece, bytes.start)?;
    Ok(piece)
}

/// Bytes of a file. The next piece is read when the one before was sent.
struct Pieces {
    file: Arc<File>,
    left: Range<u64>,
    reading: Option<JoinHandle<io::Result<Vec<u8>>>>,
    threads: Handle,
}

impl Stream for Pieces {
    type Item = Result<Vec<u8>, String>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.reading.is_none() && this.left.is_empty() {
            return Poll::Ready(None);
        }
        let reading = this.reading.get_or_insert_with(|| {
            let piece = this.left.start..this.left.end.min(this.left.start + PIECE);
            this.left.start = piece.end;
            let file = Arc::clone(&this.file);
            this.threads.spawn_blocking(move || read(&file, &piece))
        });
        let Poll::Ready(read) = Pin::new(reading).poll(context) else { return Poll::Pending };
        this.reading = None;
        Poll::Ready(Some(match read {
            Ok(Ok(piece)) => Ok(piece),
            // Shorter than it was: what was announced cannot be sent, and the connection is closed.
            Ok(Err(error)) => Err(format!("cannot read the file: {error}")),
            Err(_) => Err("the plugin is being stopped".to_owned()),
        }))
    }
}
