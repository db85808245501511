use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HeaderValue};
use http::{Request, Response, request};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::base::error::Error;
use crate::http::body::{CallBody, ResponseBody};
use crate::http::meter::Meter;
use crate::http::reply::ReplyTo;

use super::accept::{Plan, Rules};
use super::collect::{Collect, Collected};

pin_project! {
    /// The future of [`InspectService`](super::InspectService): collects the body, then calls the inner service.
    pub struct ResponseFuture<S, B>
    where
        S: Service<Request<CallBody>>,
    {
        reply: ReplyTo,
        #[pin]
        state: State<S, S::Future, B>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S, F, B> {
        Reading { #[pin] collect: Collect<B>, reading: Option<Reading<S>> },
        Calling { #[pin] future: F },
        Refused { error: Option<Error> },
    }
}

/// What waits for the body.
pub(super) struct Reading<S> {
    pub(super) inner: S,
    pub(super) rules: Arc<Rules>,
    pub(super) plan: Plan,
    pub(super) head: request::Parts,
}

impl<S, B> ResponseFuture<S, B>
where
    S: Service<Request<CallBody>>,
{
    pub(super) fn reading(reply: ReplyTo, collect: Collect<B>, reading: Reading<S>) -> Self {
        Self { reply, state: State::Reading { collect, reading: Some(reading) } }
    }

    pub(super) fn refused(reply: ReplyTo, error: Error, head: &request::Parts) -> Self {
        Self { reply, state: State::Refused { error: Some(refuse(error, head)) } }
    }
}

impl<S> Reading<S>
where
    S: Service<Request<CallBody>>,
{
    /// Calls the inner service, unless the body is not what it should be.
    fn go_on(mut self, body: Result<Collected, Error>) -> Result<S::Future, Error> {
        let Self { rules, plan, head, .. } = &mut self;
        let checked = body.and_then(|collected| rules.inspect(*plan, head, collected));
        let segments = checked.map_err(|error| refuse(error, head))?;
        // A length that a caller in the same process made up must not go on.
        if let Some(length) = head.headers.get_mut(CONTENT_LENGTH) {
            let is_true = length.to_str().is_ok_and(|said| said.parse() == Ok(segments.len()));
            if !is_true {
                *length = HeaderValue::from(segments.len());
            }
        }
        Ok(self.inner.call(Request::from_parts(self.head, segments.into())))
    }
}

/// Tells the meter of a refusal.
fn refuse(error: Error, head: &request::Parts) -> Error {
    if let Some(meter) = head.extensions.get::<Meter>() {
        meter.fail(&error);
    }
    error
}

impl<S, B, RB> Future for ResponseFuture<S, B>
where
    S: Service<Request<CallBody>, Response = Response<RB>>,
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    type Output = Result<Response<ResponseBody<RB>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let next = match this.state.as_mut().project() {
                StateProj::Reading { collect, reading } => {
                    let body = ready!(collect.poll(cx));
                    let reading = reading.take().expect("polled after it was done");
                    match reading.go_on(body) {
                        Ok(future) => State::Calling { future },
                        Err(error) => State::Refused { error: Some(error) },
                    }
                }
                StateProj::Calling { future } => {
                    let mut response = ready!(future.poll(cx))?;
                    this.reply.stamp(&mut response);
                    return Poll::Ready(Ok(response.map(ResponseBody::inner)));
                }
                StateProj::Refused { error } => {
                    let error = error.take().expect("polled after it was done");
                    return Poll::Ready(Ok(this.reply.error(&error)));
                }
            };
            this.state.set(next);
        }
    }
}

impl<S, B> fmt::Debug for ResponseFuture<S, B>
where
    S: Service<Request<CallBody>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
