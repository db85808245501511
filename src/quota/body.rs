//! The response body, and what happens when it ends.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::base::error::Error;
use crate::base::store_future::StoreFuture;
use crate::domain::limit::Amounts;
use crate::http::body::ResponseBody;
use crate::http::finish::{Ended, Finish, GuardedBody, guard};
use crate::http::meter::Meter;
use crate::http::reply::ReplyTo;
use crate::store::grant::Grant;

/// Settles a grant with what the request came to. Once: when the answer ends, or when it is given up.
pub(super) struct Settle {
    meter: Meter,
    /// `None` once it is settled.
    grant: Option<Grant>,
    /// What is posted where a job takes the request over, and not this hold with it.
    known: Amounts,
}

impl Settle {
    pub(super) fn new(meter: Meter, grant: Grant, known: Amounts) -> Self {
        Self { meter, grant: Some(grant), known }
    }

    fn settle(mut self, ended: Ended) {
        let Some(grant) = self.grant.take() else { return };
        match self.meter.book(ended).amounts() {
            Some(used) => grant.settle(used),
            None => grant.void(),
        }
    }
}

impl Drop for Settle {
    fn drop(&mut self) {
        // A lasting hold is the job's now.
        if let Some(grant) = self.grant.take_if(|grant| grant.hold().is_none()) {
            grant.settle(self.known);
        }
    }
}

impl Finish for Settle {
    fn is_complete(&self) -> bool {
        self.meter.is_complete()
    }

    fn finish(self, ended: Ended) -> Option<StoreFuture<()>> {
        if !self.meter.is_handed_on() {
            self.settle(ended);
            return None;
        }
        // Where the rest is read in the background, what it comes to is known when that is over.
        let meter = self.meter.clone();
        if let Err(settle) = meter.defer(move |ended| self.settle(ended)) {
            settle(ended);
        }
        None
    }
}

pin_project! {
    /// The body of a response that passed a [`QuotaLayer`](super::QuotaLayer): the inner service's, untouched, or a refusal.
    pub struct QuotaBody<B> {
        #[pin]
        inner: GuardedBody<ResponseBody<B>, Settle>,
    }
}

/// Empty, for layers that answer in the inner service's place.
impl<B> Default for QuotaBody<B> {
    fn default() -> Self {
        Self { inner: GuardedBody::default() }
    }
}

impl<B: Body<Data = Bytes>> QuotaBody<B> {
    /// The inner service's response, with a grant to settle at its end if there is one.
    pub(super) fn guard(response: Response<B>, settle: Option<Settle>) -> Response<Self> {
        guard(response.map(ResponseBody::inner), settle).map(|inner| Self { inner })
    }

    pub(super) fn refusal(reply: &ReplyTo, error: &Error) -> Response<Self> {
        guard(reply.error(error), None).map(|inner| Self { inner })
    }
}

impl<B: Body<Data = Bytes>> Body for QuotaBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        self.project().inner.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl<B> fmt::Debug for QuotaBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("QuotaBody")
    }
}
