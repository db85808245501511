//! The once-guard: something that must happen exactly once when a request is over, however it ends.
//!
//! The guard is owned first by the response future, then by the response body. It fires when the body ends, when it has
//! said that nothing more will come (hyper never polls again then), on trailers, on an error, and when future or body
//! are dropped.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::base::store_future::StoreFuture;

/// How a request was over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The body was delivered to its end. With the `grpc-status` of its trailers, where it has one.
    Whole {
        /// `None` when it is no gRPC answer.
        grpc_status: Option<u32>,
    },
    /// The body, or the service in its place, failed.
    Failed,
    /// Future or body was dropped: the caller is gone.
    Dropped,
    /// Dropped while unwinding.
    Panicked,
}

/// What must happen once.
pub(crate) trait Finish: Unpin {
    /// Whether all that matters is known already, so that the frame at hand may be treated as the last.
    fn is_complete(&self) -> bool {
        false
    }

    /// Sees each data frame on its way to the caller.
    fn on_data(&mut self, _data: &Bytes) {}

    /// The end. The last frame waits for the future that comes back, if one does. Must not block or panic.
    fn finish(self, ended: Ended) -> Option<StoreFuture<()>>;
}

/// Holds a [`Finish`] and fires it on drop at the latest.
pub(crate) struct Once<F: Finish>(Option<F>);

impl<F: Finish> Once<F> {
    pub(crate) fn new(finish: F) -> Self {
        Self(Some(finish))
    }

    pub(crate) fn fire(&mut self, ended: Ended) -> Option<StoreFuture<()>> {
        self.0.take().and_then(|f| f.finish(ended))
    }

    /// The guard itself, to be owned by another.
    pub(crate) fn take(&mut self) -> Option<F> {
        self.0.take()
    }

    pub(crate) fn get_mut(&mut self) -> Option<&mut F> {
        self.0.as_mut()
    }
}

impl<F: Finish> Drop for Once<F> {
    fn drop(&mut self) {
        let ended = if std::thread::panicking() { Ended::Panicked } else { Ended::Dropped };
        // Nobody is left to wait for the commit: the record is accepted all the same.
        drop(self.fire(ended));
    }
}

impl<F: Finish> fmt::Debug for Once<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Once(armed)" } else { "Once(fired)" })
    }
}

pin_project! {
    /// A body with a once-guard.
    ///
    /// Field order matters: the inner body is dropped before the guard, so that what it does on drop (handing the rest
    /// of an answer to a drain) is done when the guard fires.
    pub(crate) struct GuardedBody<B, F>
    where
        F: Finish,
    {
        #[pin]
        inner: B,
        once: Once<F>,
        held: Option<Frame<Bytes>>,
        commit: Option<StoreFuture<()>>,
        over: bool,
    }
}

impl<B: Body<Data = Bytes>, F: Finish> GuardedBody<B, F> {
    /// Wraps `inner`. A body that is empty from the start fires at once, as nobody may ever poll it.
    pub(crate) fn new(inner: B, finish: F) -> Self {
        let mut once = Once::new(finish);
        let over = inner.is_end_stream();
        let commit = if over { once.fire(Ended::Whole { grpc_status: None }) } else { None };
        Self { inner, once, held: None, commit, over }
    }
}

impl<B: Body<Data = Bytes>, F: Finish> Body for GuardedBody<B, F> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let mut this = self.project();
        if let Some(commit) = this.commit.as_mut() {
            ready!(Pin::new(commit).poll(cx));
            *this.commit = None;
        }
        if let Some(frame) = this.held.take() {
            return Poll::Ready(Some(Ok(frame)));
        }
        if *this.over {
            return Poll::Ready(None);
        }
        let frame = match ready!(this.inner.as_mut().poll_frame(cx)) {
            Some(Ok(frame)) => Some(frame),
            Some(Err(error)) => {
                drop(this.once.fire(Ended::Failed));
                *this.over = true;
                return Poll::Ready(Some(Err(error)));
            }
            None => None,
        };
        let grpc_status = frame.as_ref().and_then(Frame::trailers_ref).and_then(grpc_status);
        let last = frame.as_ref().is_none_or(Frame::is_trailers) || this.inner.is_end_stream();
        if let (Some(finish), Some(data)) = (this.once.get_mut(), frame.as_ref().and_then(Frame::data_ref)) {
            finish.on_data(data);
        }
        let complete = last || this.once.get_mut().is_some_and(|f| f.is_complete());
        *this.over = last;
        if complete {
            *this.commit = this.once.fire(Ended::Whole { grpc_status });
        }
        match this.commit.as_mut() {
            Some(commit) => match Pin::new(commit).poll(cx) {
                Poll::Ready(()) => *this.commit = None,
                Poll::Pending => {
                    *this.held = frame;
                    return Poll::Pending;
                }
            },
            None => {}
        }
        Poll::Ready(frame.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.held.is_none() && self.commit.is_none() && (self.over || self.inner.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let held = self.held.as_ref().and_then(Frame::data_ref).map_or(0, |d| d.len() as u64);
        let inner = self.inner.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower() + held);
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper + held);
        }
        hint
    }
}

fn grpc_status(trailers: &HeaderMap) -> Option<u32> {
    trailers.get("grpc-status")?.to_str().ok()?.parse().ok()
}
