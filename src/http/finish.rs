//! The once-guard: something that must happen exactly once when a request is over, however it ends.
//!
//! The guard is owned first by the response future, then by the response body. It fires when the body ends, when it has
//! said that nothing more will come, or has given all the bytes that its head promised (hyper never polls again then),
//! on trailers, on an error, on a panic, and when future or body are dropped.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Response, response};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::base::store_future::StoreFuture;

use super::headers::{GRPC_STATUS, is_grpc};

/// How a request was over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The body was delivered to its end.
    Whole,
    /// The body, or the service in its place, failed; or the answer itself says that the server did.
    Failed,
    /// Future or body was dropped: the caller is gone.
    Dropped,
    /// The service or its body panicked.
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
    pub(crate) fn new(finish: impl Into<Option<F>>) -> Self {
        Self(finish.into())
    }

    pub(crate) fn fire(&mut self, ended: Ended) -> Option<StoreFuture<()>> {
        self.0.take().and_then(|f| f.finish(ended))
    }

    /// The guard itself, to be owned by another.
    pub(crate) fn take(&mut self) -> Option<F> {
        self.0.take()
    }

    /// Runs `poll`. A panic in it fires at once: whoever catches it further out drops this guard when the unwinding is
    /// over, and it would be taken for a caller who left.
    pub(crate) fn watch<T>(&mut self, poll: impl FnOnce() -> T) -> T {
        struct Alarm<'a, F: Finish>(&'a mut Once<F>);
        impl<F: Finish> Drop for Alarm<'_, F> {
            fn drop(&mut self) {
                if std::thread::panicking() {
                    drop(self.0.fire(Ended::Panicked));
                }
            }
        }
        let _alarm = Alarm(self);
        poll()
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

/// How many bytes will come. The end of a gRPC answer is in its trailers, behind the last byte.
fn promised<B: Body>(head: &response::Parts, body: &B) -> Option<u64> {
    if is_grpc(&head.headers) {
        return None;
    }
    let told = || head.headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok();
    told().or_else(|| body.size_hint().exact())
}

/// Puts a once-guard on a response's body; `None` leaves it unguarded.
pub(crate) fn guard<B, F>(response: Response<B>, finish: Option<F>) -> Response<GuardedBody<B, F>>
where
    B: Body<Data = Bytes>,
    F: Finish,
{
    let (head, inner) = response.into_parts();
    let body = GuardedBody::new(&head, inner, finish);
    Response::from_parts(head, body)
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
        whole: Ended,
        promised: Option<u64>,
        held: Option<Box<Frame<Bytes>>>,
        commit: Option<StoreFuture<()>>,
        over: bool,
    }
}

/// Empty, and unguarded.
impl<B: Default, F: Finish> Default for GuardedBody<B, F> {
    fn default() -> Self {
        let inner = B::default();
        Self { inner, once: Once::new(None), whole: Ended::Whole, promised: None, held: None, commit: None, over: true }
    }
}

impl<B: Body<Data = Bytes>, F: Finish> GuardedBody<B, F> {
    /// Wraps `inner`. A body that is empty from the start fires at once, as nobody may ever poll it; so does one of which
    /// all that matters is known, so that head and body wait for the same commit and go out together.
    pub(crate) fn new(head: &response::Parts, inner: B, finish: impl Into<Option<F>>) -> Self {
        let mut once = Once::new(finish);
        let is_complete = once.0.as_ref().is_none_or(F::is_complete);
        let over = inner.is_end_stream();
        // What the headers would tell of the end matters to nobody then.
        let promised = if is_complete { None } else { promised(head, &inner) };
        let fault = head.status.is_server_error() || !is_complete && grpc_fault(&head.headers);
        let whole = if fault { Ended::Failed } else { Ended::Whole };
        let is_known = over || is_complete || promised == Some(0);
        let commit = if is_known { once.fire(whole) } else { None };
        Self { inner, once, whole, promised, held: None, commit, over }
    }

    /// Waits for the commit of an answer that was over before its body was asked for: its head must wait.
    pub(crate) fn poll_committed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(commit) = self.commit.as_mut() {
            ready!(Pin::new(commit).poll(cx));
            self.commit = None;
        }
        Poll::Ready(())
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
            return Poll::Ready(Some(Ok(*frame)));
        }
        if *this.over {
            return Poll::Ready(None);
        }
        let inner = this.inner.as_mut();
        let frame = match ready!(this.once.watch(|| inner.poll_frame(cx))).transpose() {
            Ok(frame) => frame,
            Err(error) => {
                drop(this.once.fire(Ended::Failed));
                *this.over = true;
                return Poll::Ready(Some(Err(error)));
            }
        };
        if let Some(data) = frame.as_ref().and_then(Frame::data_ref) {
            if let Some(finish) = this.once.0.as_mut() {
                finish.on_data(data);
            }
            *this.promised = this.promised.map(|left| left.saturating_sub(data.len() as u64));
        }
        if frame.as_ref().and_then(Frame::trailers_ref).is_some_and(grpc_fault) {
            *this.whole = Ended::Failed;
        }
        *this.over = frame.as_ref().is_none_or(Frame::is_trailers) || this.inner.is_end_stream();
        if *this.over || *this.promised == Some(0) || this.once.0.as_ref().is_some_and(F::is_complete) {
            *this.commit = this.once.fire(*this.whole);
        }
        if let Some(commit) = this.commit.as_mut() {
            if Pin::new(commit).poll(cx).is_pending() {
                *this.held = frame.map(Box::new);
                return Poll::Pending;
            }
            *this.commit = None;
        }
        Poll::Ready(frame.map(Ok))
    }

    /// Only what a poll has seen counts: an inner body that ends between two polls must be polled once more, or the
    /// guard would take the drop that follows for a caller who left.
    fn is_end_stream(&self) -> bool {
        self.over && self.held.is_none() && self.commit.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let held = self.held.as_ref().and_then(|frame| frame.data_ref()).map_or(0, |d| d.len() as u64);
        let inner = if self.over { SizeHint::with_exact(0) } else { self.inner.size_hint() };
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower() + held);
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper + held);
        }
        hint
    }
}

/// Whether these headers or trailers carry a `grpc-status` that gRPC itself maps to an HTTP status of 500 and up:
/// UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE, DATA_LOSS.
fn grpc_fault(headers: &HeaderMap) -> bool {
    let status = headers.get(GRPC_STATUS).map(|v| v.as_bytes());
    matches!(status, Some(b"2" | b"4" | b"12" | b"13" | b"14" | b"15"))
}

#[cfg(test)]
mod tests;
