//! The response future: owns the guard until there is a body to own it.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::Response;
use http_body::Body;
use pin_project_lite::pin_project;

use crate::http::finish::{Ended, Once, guard};

use super::body::MeteringBody;
use super::finish::Record;

pin_project! {
    /// The future of [`MeteringService`](super::MeteringService).
    ///
    /// The inner future is dropped before the guard, so that what it does on drop is in the meter when the guard fires.
    pub struct ResponseFuture<F, B> {
        #[pin]
        inner: F,
        once: Once<Record>,
        answer: Option<Box<Response<MeteringBody<B>>>>,
    }
}

impl<F, B> ResponseFuture<F, B> {
    pub(super) fn new(inner: F, once: Once<Record>) -> Self {
        Self { inner, once, answer: None }
    }
}

impl<F, B, E> Future for ResponseFuture<F, B>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body<Data = Bytes>,
{
    type Output = Result<Response<MeteringBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let mut answer = match this.answer.take() {
            Some(answer) => *answer,
            None => match ready!(this.once.watch(|| this.inner.as_mut().poll(cx))) {
                Ok(mut response) => {
                    let mut record = this.once.take();
                    if let Some(record) = record.as_mut() {
                        record.on_head(&mut response);
                    }
                    guard(response, record).map(MeteringBody::new)
                }
                Err(error) => {
                    drop(this.once.fire(Ended::Failed));
                    return Poll::Ready(Err(error));
                }
            },
        };
        if answer.body_mut().poll_committed(cx).is_pending() {
            *this.answer = Some(Box::new(answer));
            return Poll::Pending;
        }
        Poll::Ready(Ok(answer))
    }
}

impl<F, B> fmt::Debug for ResponseFuture<F, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").field("guard", &self.once).finish_non_exhaustive()
    }
}
