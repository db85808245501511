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
use crate::http::body::ResponseBody;
use crate::http::finish::{Ended, Finish, GuardedBody};
use crate::http::meter::Meter;
use crate::http::reply::ReplyTo;
use crate::store::grant::Grant;

/// Settles a grant with what the request came to. Once: when the answer ends, or when it is given up.
pub(super) struct Settle {
    meter: Meter,
    grant: Grant,
}

impl Settle {
    pub(super) fn new(meter: Meter, grant: Grant) -> Self {
        Self { meter, grant }
    }

    fn settle(self, ended: Ended) {
        match self.meter.book(ended).amounts() {
            Some(used) => self.grant.settle(used),
            None => self.grant.void(),
        }
    }
}

impl Finish for Settle {
    fn is_complete(&self) -> bool {
        self.meter.is_complete()
    }

    fn finish(self, ended: Ended) -> Option<StoreFuture<()>> {
        if !self.meter.is_draining() {
            self.settle(ended);
            return None;
        }
        // The rest is read in the background: what it comes to is known when that is over.
        let meter = self.meter.clone();
        if let Err(over) = meter.defer(Box::new(move |ended| self.settle(ended))) {
            over(ended);
        }
        None
    }
}

pin_project! {
    /// The body of a response that passed a [`QuotaLayer`](super::QuotaLayer): the inner service's, untouched, or a refusal.
    pub struct QuotaBody<B> {
        #[pin]
        kind: Kind<B>,
    }
}

pin_project! {
    #[project = KindProj]
    enum Kind<B> {
        Guarded { #[pin] body: GuardedBody<B, Settle> },
        Plain { #[pin] body: ResponseBody<B> },
    }
}

impl<B: Body<Data = Bytes>> QuotaBody<B> {
    /// The inner body, with a grant to settle at its end if there is one.
    pub(super) fn inner(body: B, settle: Option<Settle>) -> Self {
        let kind = match settle {
            Some(settle) => Kind::Guarded { body: GuardedBody::new(body, settle) },
            None => Kind::Plain { body: ResponseBody::inner(body) },
        };
        Self { kind }
    }

    pub(super) fn refusal(reply: &ReplyTo, error: &Error) -> Response<Self> {
        reply.error(error).map(|body| Self { kind: Kind::Plain { body } })
    }
}

impl<B: Body<Data = Bytes>> Body for QuotaBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.project().kind.project() {
            KindProj::Guarded { body } => body.poll_frame(cx),
            KindProj::Plain { body } => body.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Guarded { body } => body.is_end_stream(),
            Kind::Plain { body } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Guarded { body } => body.size_hint(),
            Kind::Plain { body } => body.size_hint(),
        }
    }
}

impl<B> fmt::Debug for QuotaBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            Kind::Guarded { .. } => "QuotaBody::Guarded",
            Kind::Plain { .. } => "QuotaBody::Plain",
        })
    }
}
