//! The body of a routed answer.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::base::error::{Error, Origin};
use crate::base::log;
use crate::http::reply::error_event;

use super::pump::Pump;
use crate::http::vendor::VendorBody;

/// The body of a routed answer: what the codec makes of the vendor's bytes `B`.
///
/// A failure, or the host's going down, ends an event stream with one error event; any other body fails, so that the caller's connection breaks
/// off instead of passing half an answer for a whole one. Dropped early, the vendor's body is dropped with it, or handed
/// to the [`Drain`](super::Drain).
pub struct RouteBody<B: VendorBody> {
    /// What was awaited before the head was sent.
    first: Option<Bytes>,
    rest: Option<Box<Pump<B>>>,
    is_event_stream: bool,
}

impl<B: VendorBody> RouteBody<B> {
    pub(super) fn new(first: Option<Bytes>, rest: Box<Pump<B>>, is_event_stream: bool) -> Self {
        let rest = Some(rest).filter(|r| !r.is_over());
        Self { first, rest, is_event_stream }
    }
}

impl<B: VendorBody> Body for RouteBody<B> {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        let is_event_stream = self.is_event_stream;
        let Some(rest) = self.rest.as_mut() else { return Poll::Ready(None) };
        let next = match rest.poll_next(cx) {
            Poll::Pending if is_event_stream => rest.poll_cut(cx),
            next => next,
        };
        let next = ready!(next);
        if let Some(Err(error)) = &next
            && error.origin() == Origin::Provider
        {
            log::vendor_failed(rest.request_id(), error);
        }
        let next = match next {
            Some(Err(error)) if is_event_stream => Some(Ok(error_event(&error, rest.request_id()))),
            next => next,
        };
        if rest.is_over() {
            self.rest = None;
        }
        Poll::Ready(next.map(|next| next.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.rest.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match (&self.first, &self.rest) {
            (Some(first), None) => SizeHint::with_exact(first.len() as u64),
            (None, None) => SizeHint::with_exact(0),
            _ => SizeHint::default(),
        }
    }
}

impl<B: VendorBody> Drop for RouteBody<B> {
    fn drop(&mut self) {
        if let Some(rest) = self.rest.take().filter(|_| !std::thread::panicking()) {
            rest.leave();
        }
    }
}

impl<B: VendorBody> fmt::Debug for RouteBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RouteBody").field("is_event_stream", &self.is_event_stream).finish_non_exhaustive()
    }
}
