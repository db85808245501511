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
use super::collect::{Collect, Collected, Missing};

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
    fn go_on(mut self, body: Result<Collected, Missing>) -> Result<S::Future, Error> {
        let Self { rules, plan, head, .. } = &mut self;
        let collected = body.map_err(|missing| match missing {
            Missing::Refused(error) => refuse(error, head),
            Missing::Left(error) => leave(error, head),
        })?;
        let came = collected.segments.len() as u64;
        let segments = rules.inspect(*plan, head, collected).map_err(|error| match plan.length > Some(came) {
            // The body of an HTTP/2 stream that its caller has cancelled ends as if it were whole.
            true => leave(error, head),
            false => refuse(error, head),
        })?;
        // A length that a caller in the same process made up must not go on.
        if plan.length != Some(came)
            && let Some(length) = head.headers.get_mut(CONTENT_LENGTH)
        {
            *length = HeaderValue::from(came);
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

/// Tells the meter that the caller is gone.
fn leave(error: Error, head: &request::Parts) -> Error {
    if let Some(meter) = head.extensions.get::<Meter>() {
        meter.leave();
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

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::future::pending;
    use std::io::{Error as IoError, ErrorKind};

    use bytes::Bytes;
    use http::{Request, Response};
    use http_body::Frame;
    use http_body_util::{Full, StreamBody};
    use tower::{Layer as _, ServiceExt as _, service_fn};

    use super::super::InspectLayer;
    use crate::domain::record::Outcome;
    use crate::http::body::CallBody;
    use crate::http::finish::Ended;
    use crate::http::meter::{Abandoned, Meter};

    /// What is recorded of a caller whose body of `length` bytes ends in the middle, by `error` or as if it were whole.
    async fn recorded(length: Option<usize>, error: Option<IoError>) -> (Outcome, Option<u16>, bool) {
        let frames = [Ok(Frame::data(Bytes::from_static(br#"{"model":"#)))].into_iter().chain(error.map(Err));
        let meter = Meter::new(Abandoned::Seen);
        let mut request = Request::post("/v1/chat/completions");
        if let Some(length) = length {
            request = request.header("content-length", length);
        }
        let mut request = request.body(StreamBody::new(futures_util::stream::iter(frames))).unwrap();
        request.extensions_mut().insert(meter.clone());
        let inner = service_fn(|_: Request<CallBody>| pending::<Result<Response<Full<Bytes>>, Infallible>>());
        let answer = InspectLayer::new().layer(inner).oneshot(request).await.unwrap();
        meter.status(answer.status().as_u16());
        let outcome = meter.book(Ended::Whole).outcome;
        meter.learnt(|learnt| (outcome, learnt.status, learnt.failure.is_some()))
    }

    #[tokio::test]
    async fn who_is_gone_in_the_middle_of_a_body_was_not_refused() {
        let gone = (Outcome::ClientClosed, None, false);
        for kind in [ErrorKind::UnexpectedEof, ErrorKind::ConnectionReset] {
            // As a host's own body would wrap it.
            let wrapped = || IoError::other(Wrapped(kind.into()));
            assert_eq!(recorded(Some(100), Some(kind.into())).await, gone);
            assert_eq!(recorded(None, Some(wrapped())).await, gone);
        }
        assert_eq!(recorded(Some(100), None).await, gone);
        let refused = (Outcome::Refused, Some(400), true);
        assert_eq!(recorded(Some(100), Some(ErrorKind::InvalidData.into())).await, refused);
        assert_eq!(recorded(Some(9), None).await, refused);
        assert_eq!(recorded(None, None).await, refused);
    }

    #[derive(Debug)]
    struct Wrapped(IoError);

    impl std::fmt::Display for Wrapped {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("the body failed")
        }
    }

    impl std::error::Error for Wrapped {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            Some(&self.0)
        }
    }
}
