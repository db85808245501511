//! A vendor's body with a bound on the silence between two pieces.

use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::http::timeout::TimedOut;

/// The response body of [`HyperClient`](super::HyperClient). Fails with [`TimedOut::Idle`] when the vendor falls silent.
pub struct ClientBody {
    inner: Incoming,
    idle: Duration,
    /// Made at the first wait. It is moved on when it fires, not at each wait: most waits are short.
    limit: Option<Pin<Box<Sleep>>>,
    /// Since when there has been nothing.
    since: Option<Instant>,
}

impl ClientBody {
    pub(super) fn new(inner: Incoming, idle: Duration) -> Self {
        Self { inner, idle, limit: None, since: None }
    }
}

impl Body for ClientBody {
    type Data = Bytes;
    type Error = Box<dyn StdError + Send + Sync>;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(cx) {
            this.since = None;
            return Poll::Ready(frame.map(|f| f.map_err(Into::into)));
        }
        let until = *this.since.get_or_insert_with(Instant::now) + this.idle;
        let limit = this.limit.get_or_insert_with(|| Box::pin(sleep_until(until)));
        while limit.as_mut().poll(cx).is_ready() {
            if limit.deadline() >= until {
                return Poll::Ready(Some(Err(TimedOut::Idle.into())));
            }
            limit.as_mut().reset(until);
        }
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl fmt::Debug for ClientBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBody").field("idle", &self.idle).finish_non_exhaustive()
    }
}
