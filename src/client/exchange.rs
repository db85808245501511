//! One request and the head of its answer, over a connection of the pool.

use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;

use crate::http::body::CallBody;

use super::BoxError;
use super::pool::{Answer, Arriving, Found, Lease, Origin};

/// A request on its way, until its answer's head.
pub(super) enum Exchange {
    Waiting(Box<Waiting>),
    Sent(Sent),
    /// Until it is told.
    Failed(Option<BoxError>),
}

/// A request for which there is no connection yet.
pub(super) struct Waiting {
    request: Request<CallBody>,
    origin: Arc<Origin>,
    arriving: Arriving,
}

pub(super) struct Sent {
    answer: Answer,
    lease: Lease,
    /// The connection has served before, and so may have ended unnoticed.
    used: bool,
}

enum Next {
    Exchange(Exchange),
    Answer(Response<Incoming>),
}

impl Exchange {
    pub(super) fn new(origin: Arc<Origin>, request: Request<CallBody>) -> Self {
        match origin.find() {
            Found::Free(lease) => Self::send(lease, request, true),
            Found::Arriving(arriving) => Self::Waiting(Box::new(Waiting { request, origin, arriving })),
        }
    }

    pub(super) fn failed(error: BoxError) -> Self {
        Self::Failed(Some(error))
    }

    fn send(mut lease: Lease, request: Request<CallBody>, used: bool) -> Self {
        Self::Sent(Sent { answer: lease.send(request), lease, used })
    }

    /// The answer, with the connection that its body comes over.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(Response<Incoming>, Lease), BoxError>> {
        loop {
            match ready!(self.poll_next(cx))? {
                Next::Exchange(next) => *self = next,
                Next::Answer(response) => match mem::replace(self, Self::Failed(None)) {
                    Self::Sent(sent) => return Poll::Ready(Ok((response, sent.lease))),
                    _ => return Poll::Pending,
                },
            }
        }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Next, BoxError>> {
        match self {
            Self::Waiting(waiting) => {
                let arrived = ready!(waiting.arriving.poll(cx))?;
                let request = mem::take(&mut waiting.request);
                Poll::Ready(Ok(Next::Exchange(match arrived {
                    Some((lease, used)) => Self::send(lease, request, used),
                    None => Self::new(waiting.origin.clone(), request),
                })))
            }
            Self::Sent(sent) => Poll::Ready(match ready!(sent.answer.as_mut().poll(cx)) {
                Ok(response) => Ok(Next::Answer(response)),
                Err(error) => sent.again(error).map(Next::Exchange),
            }),
            Self::Failed(error) => error.take().map_or(Poll::Pending, |error| Poll::Ready(Err(error))),
        }
    }
}

impl Sent {
    /// Sends once more what was not sent, as its connection had ended between two requests.
    fn again(&self, mut error: TrySendError<Request<CallBody>>) -> Result<Exchange, BoxError> {
        match error.take_message().filter(|_| self.used) {
            Some(request) => Ok(Exchange::new(self.lease.origin().clone(), request)),
            None => Err(error.into_error().into()),
        }
    }
}
