//! A vendor's body with a bound on the silence between two pieces.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::http::timeout::TimedOut;

use super::BoxError;
use super::pool::Lease;
use super::silence::Silence;

/// The response body of [`HyperClient`](super::HyperClient). Fails with [`TimedOut::Idle`] when the vendor falls silent.
pub struct ClientBody {
    inner: Incoming,
    silence: Silence,
    /// Until the end.
    lease: Option<Lease>,
}

impl ClientBody {
    pub(super) fn new(inner: Incoming, lease: Lease, silence: Silence) -> Self {
        let mut body = Self { inner, silence, lease: Some(lease) };
        if body.inner.is_end_stream() {
            body.give_back();
        }
        body
    }

    fn give_back(&mut self) {
        if let Some(lease) = self.lease.take() {
            lease.give_back();
        }
    }
}

impl Drop for ClientBody {
    /// What is left of the answer may be little and there already: then the connection stays, else hyper ends it.
    fn drop(&mut self) {
        self.give_back();
    }
}

impl Body for ClientBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(cx) {
            this.silence.end();
            match &frame {
                Some(Err(_)) => this.lease = None,
                Some(Ok(_)) if !this.inner.is_end_stream() => {}
                _ => this.give_back(),
            }
            return Poll::Ready(frame.map(|f| f.map_err(Into::into)));
        }
        this.silence.poll(cx).map(|()| Some(Err(TimedOut::Idle.into())))
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
        f.debug_struct("ClientBody").field("idle", &self.silence.bound()).finish_non_exhaustive()
    }
}
