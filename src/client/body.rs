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
    idle: Idle,
}

impl ClientBody {
    pub(super) fn new(inner: Incoming, idle: Duration) -> Self {
        Self { inner, idle: Idle { bound: idle, limit: None, since: None } }
    }
}

/// The bound on a silence.
struct Idle {
    bound: Duration,
    /// Made at the first wait. It is moved on when it fires, not at each wait: most waits are short.
    limit: Option<Pin<Box<Sleep>>>,
    /// Since when there has been nothing.
    since: Option<Instant>,
}

impl Idle {
    /// There is nothing yet. Ready when that has lasted too long.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let until = *self.since.get_or_insert_with(Instant::now) + self.bound;
        let limit = self.limit.get_or_insert_with(|| Box::pin(sleep_until(until)));
        while limit.as_mut().poll(cx).is_ready() {
            if limit.deadline() >= until {
                return Poll::Ready(());
            }
            limit.as_mut().reset(until);
        }
        Poll::Pending
    }
}

impl Body for ClientBody {
    type Data = Bytes;
    type Error = Box<dyn StdError + Send + Sync>;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(cx) {
            this.idle.since = None;
            return Poll::Ready(frame.map(|f| f.map_err(Into::into)));
        }
        this.idle.poll(cx).map(|()| Some(Err(TimedOut::Idle.into())))
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
        f.debug_struct("ClientBody").field("idle", &self.idle.bound).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::time::{advance, timeout};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn silence_is_too_long_after_its_bound_however_often_it_was_broken_before() {
        let bound = Duration::from_secs(10);
        let mut idle = Idle { bound, limit: None, since: None };
        // Waits that end a little before the bound, over several of the moments at which the limit fires.
        for _ in 0..5 {
            let wait = timeout(Duration::from_secs(9), poll_fn(|cx| idle.poll(cx)));
            assert!(wait.await.is_err(), "early");
            idle.since = None;
            // Nobody asks: that is no silence of the vendor's.
            advance(Duration::from_secs(60)).await;
        }
        let start = Instant::now();
        // Nothing but the limit wakes this task.
        poll_fn(|cx| idle.poll(cx)).await;
        let waited = start.elapsed();
        assert!((bound..bound + Duration::from_millis(5)).contains(&waited), "{waited:?}");
    }
}
