//! Gives a problem body to requests that hyper itself rejects because they are not valid HTTP, like to every other
//! error.
//!
//! hyper answers such a request below the service, with a bare status, and has no hook for it. So the stream below
//! hyper looks for that answer: while the headers of a request are being read, nothing else is written.
//!
//! Headers for which there is no memory are rejected here, too: hyper would close the connection without an answer.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use plugin_api::abi::response::RawResponse;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::http::message::phase::Phase;
use crate::http::message::problem::ProblemType;

/// Detail of a 503.
const NO_ROOM: &str = "there is no memory for the headers now ([limits] max_memory)";

/// Detail of a 431.
pub(super) const TOO_MANY_HEADERS: &str = "the request has too many headers, or too long ones";

/// A stream that adds a body to hyper's own rejections.
pub(crate) struct RefusalStream<S> {
    stream: S,
    phase: Phase,
    /// The answer that replaces hyper's, as far as it is not written yet.
    answer: Vec<u8>,
    written: usize,
    /// Nothing more is read.
    has_ended: bool,
}

impl<S> RefusalStream<S> {
    pub(crate) fn new(stream: S, phase: Phase) -> Self {
        Self { stream, phase, answer: Vec::new(), written: 0, has_ended: false }
    }

    pub(crate) fn into_inner(self) -> S {
        self.stream
    }
}

impl<S: AsyncWrite + Unpin> RefusalStream<S> {
    /// Writes the rest of the answer.
    fn poll_answer(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(left) = self.answer.get(self.written..).filter(|left| !left.is_empty()) {
            match ready!(Pin::new(&mut self.stream).poll_write(context, left))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.written += written,
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Replaces hyper's rejection; returns whether these bytes are one.
    fn take(&mut self, bytes: &[u8]) -> bool {
        let Some(answer) = self.phase.is_reading_headers().then(|| with_body(bytes)).flatten() else {
            return false;
        };
        (self.answer, self.written) = (answer, 0);
        self.phase.leave_unread();
        true
    }
}

/// The same answer with a problem body, if it is one of hyper's rejections.
fn with_body(bytes: &[u8]) -> Option<Vec<u8>> {
    let head = std::str::from_utf8(bytes.strip_suffix(b"\r\n\r\n")?).ok()?;
    let (line, headers) = head.split_once("\r\n")?;
    let (kind, detail) = match line.strip_prefix("HTTP/1.")?.split_once(' ')?.1.get(..3)? {
        "400" => (ProblemType::MalformedRequest, "this is no HTTP/1.1 request"),
        "414" => (ProblemType::TargetTooLong, "the request's target is too long"),
        "431" => (ProblemType::HeadersTooLarge, TOO_MANY_HEADERS),
        _ => return None,
    };
    let (lengths, others): (Vec<_>, Vec<_>) =
        headers.split("\r\n").partition(|header| header.starts_with("content-length:"));
    if lengths != ["content-length: 0"] {
        return None;
    }
    Some(problem(&format!("{line}\r\n{}", others.join("\r\n")), kind, detail))
}

/// An answer with a problem body, as bytes for the wire.
fn problem(head: &str, kind: ProblemType, detail: &str) -> Vec<u8> {
    let body = RawResponse::from(kind.document(detail)).body;
    let length = body.len();
    let mut answer =
        format!("{head}\r\ncontent-type: application/problem+json\r\ncontent-length: {length}\r\n\r\n")
            .into_bytes();
    answer.extend_from_slice(&body);
    answer
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for RefusalStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.has_ended {
            match ready!(Pin::new(&mut self.stream).poll_read(context, buffer)) {
                Err(error) if error.kind() == io::ErrorKind::OutOfMemory => {
                    let head = "HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close";
                    (self.answer, self.written) = (problem(head, ProblemType::Overloaded, NO_ROOM), 0);
                    self.phase.leave_unread();
                    self.has_ended = true;
                }
                read => return Poll::Ready(read),
            }
        }
        ready!(self.as_mut().poll_flush(context))?;
        Poll::Ready(Err(io::ErrorKind::OutOfMemory.into()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for RefusalStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_answer(context))?;
        if self.take(bytes) {
            return Poll::Ready(Ok(bytes.len()));
        }
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_answer(context))?;
        if let [only] = slices
            && self.take(only)
        {
            return Poll::Ready(Ok(only.len()));
        }
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_answer(context))?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_answer(context))?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hypers_own_refusals_get_a_body() {
        let refusal = "HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\ndate: x\r\n\r\n";
        let answer = String::from_utf8(with_body(refusal.as_bytes()).unwrap()).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(
            head.starts_with("HTTP/1.1 400 Bad Request\r\nconnection: close\r\ndate: x\r\ncontent-type: "),
            "{head}"
        );
        assert!(head.ends_with(&format!("content-length: {}", body.len())), "{head}");
        assert!(body.contains("\"status\":400") && body.contains("\"error\":"), "{body}");
        for other in [
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 400 Bad Request\r\ncontent-length: 5\r\n\r\n",
            "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\nmore",
            "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
        ] {
            assert_eq!(with_body(other.as_bytes()), None, "{other}");
        }
    }

    #[tokio::test]
    async fn headers_without_room_are_answered() {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

        use crate::budget::{Budget, Payer};
        use crate::http::message::header_block::HeaderBlock;
        use crate::http::transport::deadline::{DeadlineStream, Deadlines};

        let budget = Budget::new(1);
        let headers = HeaderBlock::new(&budget, Payer::Stranger(budget.client(None)));
        let (mut client, server) = tokio::io::duplex(64 * 1024);
        let phase = Phase::default();
        let deadlines = Deadlines { header: std::time::Duration::from_secs(60), ..Deadlines::default() };
        let stream = DeadlineStream::new(server, phase.clone(), deadlines).counting(headers);
        let mut stream = RefusalStream::new(stream, phase.clone());
        client.write_all(&[b'a'; 16 * 1024]).await.unwrap();
        let mut read = Vec::new();
        assert_eq!(stream.read_to_end(&mut read).await.unwrap_err().kind(), io::ErrorKind::OutOfMemory);
        assert!(phase.is_unread());
        drop(stream);
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("retry-after: 1"), "{answer}");
        assert!(answer.contains(NO_ROOM), "{answer}");
    }
}
