//! A bound on how long a request's body may take: a caller who sends a byte a second would hold its connection for days.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Sleep, sleep};

/// Enough for the largest body over a slow line.
const AT_MOST: Duration = Duration::from_secs(120);

/// A request body that fails when it takes too long.
pub struct Deadline {
    inner: Incoming,
    /// Made at the first wait: most bodies have come with their heads.
    limit: Option<Pin<Box<Sleep>>>,
}

impl Deadline {
    pub fn new(inner: Incoming) -> Self {
        Self { inner, limit: None }
    }
}

impl Body for Deadline {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(cx) {
            return Poll::Ready(frame.map(|frame| frame.map_err(io::Error::other)));
        }
        let limit = self.limit.get_or_insert_with(|| Box::pin(sleep(AT_MOST)));
        limit.as_mut().poll(cx).map(|()| Some(Err(io::ErrorKind::TimedOut.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
