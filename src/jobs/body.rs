//! What job routes answer with: JSON of our own, or a video on its way from the vendor.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use serde_json::Value;

use crate::base::error::Error;
use crate::http::body::ResponseBody;
use crate::http::vendor::{AnyBody, transport_failure};

/// The body of a job route's answer.
#[derive(Debug)]
pub struct JobBody(ResponseBody<AnyBody>);

impl JobBody {
    pub(super) fn stream(body: AnyBody) -> Self {
        Self(ResponseBody::inner(body))
    }

    pub(super) fn whole(bytes: Bytes) -> Self {
        Self(ResponseBody::reply(bytes))
    }

    pub(super) fn of_reply(reply: ResponseBody<AnyBody>) -> Self {
        Self(reply)
    }
}

/// A JSON answer.
pub(super) fn json(status: StatusCode, value: &Value) -> Response<JobBody> {
    let mut response = Response::new(JobBody::whole(value.to_string().into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

impl Body for JobBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        Pin::new(&mut self.0).poll_frame(cx).map_err(|error| transport_failure(&*error))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

/// The answer of a job route to come.
#[must_use = "futures do nothing unless polled"]
pub struct JobFuture(Pin<Box<dyn Future<Output = Response<JobBody>> + Send>>);

impl JobFuture {
    pub(super) fn new(answer: impl Future<Output = Response<JobBody>> + Send + 'static) -> Self {
        Self(Box::pin(answer))
    }
}

impl Future for JobFuture {
    type Output = Result<Response<JobBody>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx).map(Ok)
    }
}

impl fmt::Debug for JobFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JobFuture")
    }
}
