//! The response body: the inner service's, with the guard.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::http::finish::GuardedBody;

use super::finish::Record;

pin_project! {
    /// The body of a metered answer: the inner service's frames untouched, the last one held back until the record of a
    /// durable ledger is committed.
    pub struct MeteringBody<B> {
        #[pin]
        guarded: GuardedBody<B, Record>,
    }
}

/// Empty, for layers that answer in the inner service's place.
impl<B: Default> Default for MeteringBody<B> {
    fn default() -> Self {
        Self { guarded: GuardedBody::default() }
    }
}

impl<B: Body<Data = Bytes>> MeteringBody<B> {
    pub(super) fn new(guarded: GuardedBody<B, Record>) -> Self {
        Self { guarded }
    }

    pub(super) fn poll_committed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.guarded.poll_committed(cx)
    }
}

impl<B: Body<Data = Bytes>> Body for MeteringBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        self.project().guarded.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.guarded.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.guarded.size_hint()
    }
}

impl<B> fmt::Debug for MeteringBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MeteringBody").finish_non_exhaustive()
    }
}
