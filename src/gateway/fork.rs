//! A way that divides: what an inner service answers, or a reply of the gateway's own.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::admin::{Reply, ReplyFuture};
use crate::base::error::Error;
use crate::http::body::{CallBody, ResponseBody};
use crate::jobs::{JobBody, JobFuture};

pin_project! {
    /// A body of the one kind or the other.
    #[project = ForkBodyProj]
    pub enum ForkBody<B> {
        #[doc(hidden)]
        Inner { #[pin] body: B },
        #[doc(hidden)]
        Reply { #[pin] body: ResponseBody<CallBody> },
        #[doc(hidden)]
        Job { #[pin] body: JobBody },
    }
}

impl<B: Body<Data = Bytes, Error = Error>> Body for ForkBody<B> {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match self.project() {
            ForkBodyProj::Inner { body } => body.poll_frame(cx),
            ForkBodyProj::Job { body } => body.poll_frame(cx),
            ForkBodyProj::Reply { body } => {
                body.poll_frame(cx).map(|frame| frame.map(|f| f.map_err(|never| match never {})))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Inner { body } => body.is_end_stream(),
            Self::Reply { body } => body.is_end_stream(),
            Self::Job { body } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Inner { body } => body.size_hint(),
            Self::Reply { body } => body.size_hint(),
            Self::Job { body } => body.size_hint(),
        }
    }
}

impl<B> fmt::Debug for ForkBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Inner { .. } => "ForkBody::Inner",
            Self::Reply { .. } => "ForkBody::Reply",
            Self::Job { .. } => "ForkBody::Job",
        })
    }
}

pin_project! {
    /// The future of the one kind or the other.
    #[project = ForkProj]
    pub enum Fork<F> {
        #[doc(hidden)]
        Inner { #[pin] future: F },
        #[doc(hidden)]
        Asked { #[pin] future: ReplyFuture },
        #[doc(hidden)]
        Job { #[pin] future: JobFuture },
        #[doc(hidden)]
        Said { reply: Option<Reply> },
    }
}

pin_project! {
    /// A future whose answer's body goes on in a box: the layers have made it large, and it is moved ten times on its way out.
    pub struct Boxed<F> {
        #[pin]
        future: F,
    }
}

impl<F> Boxed<F> {
    pub(super) fn new(future: F) -> Self {
        Self { future }
    }
}

impl<F, B, E> Future for Boxed<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<Pin<Box<B>>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().future.poll(cx).map(|answer| answer.map(|response| response.map(Box::pin)))
    }
}

impl<F> fmt::Debug for Boxed<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Boxed")
    }
}

impl<F> Fork<F> {
    /// A reply that is known at once.
    pub(super) fn said(reply: Reply) -> Self {
        Self::Said { reply: Some(reply) }
    }
}

impl<F, B> Future for Fork<F>
where
    F: Future<Output = Result<Response<B>, Infallible>>,
{
    type Output = Result<Response<ForkBody<B>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let reply = match self.project() {
            ForkProj::Inner { future } => {
                return future.poll(cx).map(|r| r.map(|r| r.map(|body| ForkBody::Inner { body })));
            }
            ForkProj::Job { future } => {
                return future.poll(cx).map(|r| r.map(|r| r.map(|body| ForkBody::Job { body })));
            }
            ForkProj::Asked { future } => match ready!(future.poll(cx)) {
                Ok(reply) => reply,
                Err(never) => match never {},
            },
            ForkProj::Said { reply } => match reply.take() {
                Some(reply) => reply,
                None => return Poll::Pending,
            },
        };
        Poll::Ready(Ok(reply.map(|body| ForkBody::Reply { body })))
    }
}

impl<F> fmt::Debug for Fork<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Inner { .. } => "Fork::Inner",
            Self::Asked { .. } => "Fork::Asked",
            Self::Job { .. } => "Fork::Job",
            Self::Said { .. } => "Fork::Said",
        })
    }
}
