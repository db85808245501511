//! A bound on how long a caller may be silent before it has said which HTTP it speaks.
//!
//! hyper times a request's head, but only once it knows the version: who connects and sends nothing, or the beginning of
//! HTTP/2's preface, would hold a connection for ever.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A connection whose first bytes must come in time.
pub struct Greeting<S> {
    stream: S,
    at_most: Duration,
    /// `None` once the version is known.
    awaited: Option<Awaited>,
}

#[derive(Default)]
struct Awaited {
    /// So much of the preface has come.
    seen: usize,
    /// Made at the first wait: mostly the bytes are there.
    until: Option<Pin<Box<Sleep>>>,
}

impl<S> Greeting<S> {
    pub fn new(stream: S, at_most: Duration) -> Self {
        Self { stream, at_most, awaited: Some(Awaited::default()) }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Greeting<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self { stream, at_most, awaited } = &mut *self;
        let before = buffer.filled().len();
        let read = Pin::new(stream).poll_read(cx, buffer);
        let Some(waiting) = awaited else { return read };
        if read.is_pending() {
            let until = waiting.until.get_or_insert_with(|| Box::pin(sleep(*at_most)));
            return until.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()));
        }
        let (came, left) = (&buffer.filled()[before..], &PREFACE[waiting.seen..]);
        waiting.seen += came.len();
        if came.is_empty() || came.len() >= left.len() || !left.starts_with(came) {
            *awaited = None;
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Greeting<S> {
    forward!(stream: poll_write, poll_write_vectored, is_write_vectored, poll_flush, poll_shutdown);
}
