//! One request and the head of its answer, over a connection of the pool.

use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::http::body::CallBody;
use crate::http::timeout::TimedOut;

use super::BoxError;
use super::pool::{Answer, Arriving, Found, Lease, Origin, end_of};

/// A request on its way, until its answer's head.
pub(super) struct Exchange {
    stage: Stage,
    /// Since when somebody waits for it.
    since: Option<Instant>,
}

enum Stage {
    Waiting(Box<Waiting>),
    Sent(Sent),
    /// Until it is told.
    Failed(Option<BoxError>),
}

/// A request for which there is no connection yet.
struct Waiting {
    request: Request<CallBody>,
    origin: Arc<Origin>,
    arriving: Arriving,
    limit: Option<Pin<Box<Sleep>>>,
}

struct Sent {
    answer: Answer,
    lease: Lease,
    /// The connection has served before, and so may have ended unnoticed.
    used: bool,
}

impl Exchange {
    pub(super) fn new(origin: Arc<Origin>, request: Request<CallBody>) -> Self {
        Self { stage: Stage::find(origin, request), since: None }
    }

    pub(super) fn failed(error: BoxError) -> Self {
        Self { stage: Stage::Failed(Some(error)), since: None }
    }

    /// The answer, with the connection that its body comes over. Fails when there is none within `bound` of the first call.
    pub(super) fn poll(
        &mut self,
        bound: Duration,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(Response<Incoming>, Lease), BoxError>> {
        while let Poll::Ready(next) = self.stage.poll(cx)? {
            match next {
                Next::Stage(stage) => self.stage = stage,
                Next::Answer(response) => match mem::replace(&mut self.stage, Stage::Failed(None)) {
                    Stage::Sent(sent) => return Poll::Ready(Ok((response, sent.lease))),
                    _ => break,
                },
            }
        }
        let until = end_of(*self.since.get_or_insert_with(Instant::now), bound);
        self.stage.poll_limit(until, cx).map(|()| Err(TimedOut::FirstByte.into()))
    }
}

enum Next {
    Stage(Stage),
    Answer(Response<Incoming>),
}

impl Stage {
    fn find(origin: Arc<Origin>, request: Request<CallBody>) -> Self {
        match origin.find() {
            Found::Free(lease) => Self::send(lease, request, true),
            Found::Arriving(arriving) => Self::Waiting(Box::new(Waiting { request, origin, arriving, limit: None })),
        }
    }

    fn send(mut lease: Lease, request: Request<CallBody>, used: bool) -> Self {
        Self::Sent(Sent { answer: lease.send(request), lease, used })
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Next, BoxError>> {
        match self {
            Self::Waiting(waiting) => {
                let arrived = ready!(waiting.arriving.poll(cx))?;
                let request = mem::take(&mut waiting.request);
                Poll::Ready(Ok(Next::Stage(match arrived {
                    Some((lease, used)) => Self::send(lease, request, used),
                    None => Self::find(waiting.origin.clone(), request),
                })))
            }
            Self::Sent(sent) => Poll::Ready(match ready!(sent.answer.as_mut().poll(cx)) {
                Ok(response) => Ok(Next::Answer(response)),
                Err(error) => sent.again(error).map(Next::Stage),
            }),
            Self::Failed(error) => error.take().map_or(Poll::Pending, |error| Poll::Ready(Err(error))),
        }
    }

    fn poll_limit(&mut self, until: Instant, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Waiting(waiting) => {
                waiting.limit.get_or_insert_with(|| Box::pin(sleep_until(until))).as_mut().poll(cx)
            }
            Self::Sent(sent) => sent.lease.silence().poll_until(until, cx),
            Self::Failed(_) => Poll::Pending,
        }
    }
}

impl Sent {
    /// Sends once more what was not sent, as its connection had ended between two requests.
    fn again(&self, mut error: TrySendError<Request<CallBody>>) -> Result<Stage, BoxError> {
        match error.take_message().filter(|_| self.used) {
            Some(request) => Ok(Stage::find(self.lease.origin().clone(), request)),
            None => Err(error.into_error().into()),
        }
    }
}
