//! The response future: asked, admitted, answered.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::base::error::Error;
use crate::base::store_future::StoreFuture;
use crate::domain::limit::Amounts;
use crate::http::finish::{Ended, Once};
use crate::http::meter::Meter;
use crate::http::reply::ReplyTo;
use crate::store::error::StoreResult;
use crate::store::quota::{Decision, Headroom};

use super::body::{QuotaBody, Settle};
use super::layer::{Asked, Later, QuotaLayer};
use super::refusal::set_headroom;

pin_project! {
    /// The response future of [`QuotaService`](super::QuotaService).
    pub struct QuotaFuture<S, A>
    where
        S: Service<Request<A>>,
    {
        #[pin]
        state: State<S, A, S::Future>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S, A, F> {
        Asking {
            #[pin]
            decision: StoreFuture<StoreResult<Decision>>,
            waiting: Option<Box<Waiting<S, A>>>,
        },
        // The inner future is dropped before the guard: what it does on drop is done when the guard fires.
        Running {
            #[pin]
            future: F,
            running: Running,
        },
        Refused {
            refusal: Option<Box<Refusal>>,
        },
    }
}

/// A request that waits for a store, and the service that is ready for it.
struct Waiting<S, A> {
    asking: Asking,
    inner: S,
    request: Request<A>,
}

/// What is known of a request whose hold was reckoned.
struct Asking {
    meter: Meter,
    hold: Amounts,
    known: Amounts,
    later: Option<Later>,
    reply: ReplyTo,
}

/// A request that was handed on: admitted, or not governed.
#[derive(Default)]
struct Running {
    once: Option<Once<Settle>>,
    governed: Option<ReplyTo>,
    headroom: Headroom,
}

struct Refusal {
    reply: ReplyTo,
    error: Error,
    headroom: Headroom,
}

impl<S, A> QuotaFuture<S, A>
where
    S: Service<Request<A>>,
{
    /// Hands on what no limit governs.
    pub(super) fn ungoverned(inner: &mut S, request: Request<A>) -> Self {
        Self { state: State::Running { future: inner.call(request), running: Running::default() } }
    }

    /// Goes on at once where the store has answered already. `inner` must be ready.
    pub(super) fn asking(asked: Asked, reply: ReplyTo, inner: &mut S, request: Request<A>) -> Self
    where
        S: Clone,
    {
        let Asked { meter, hold, known, later, decision } = asked;
        let asking = Asking { meter, hold, known, later, reply };
        let state = match decision.now() {
            Ok(answer) => asking.go_on(answer, inner, request),
            Err(decision) => {
                // The clone is not ready: the one that is goes with the request.
                let next = inner.clone();
                let inner = std::mem::replace(inner, next);
                State::Asking { decision, waiting: Some(Box::new(Waiting { asking, inner, request })) }
            }
        };
        Self { state }
    }

    pub(super) fn refused(meter: &Meter, reply: ReplyTo, error: Error, headroom: Headroom) -> Self {
        Self { state: State::refused(meter, reply, error, headroom) }
    }
}

impl<S, A, F> State<S, A, F> {
    fn refused(meter: &Meter, reply: ReplyTo, error: Error, headroom: Headroom) -> Self {
        meter.fail(&error);
        Self::Refused { refusal: Some(Box::new(Refusal { reply, error, headroom })) }
    }
}

impl Asking {
    fn go_on<S, A>(
        mut self,
        answer: StoreResult<Decision>,
        inner: &mut S,
        request: Request<A>,
    ) -> State<S, A, S::Future>
    where
        S: Service<Request<A>>,
    {
        let admission = match QuotaLayer::decide(answer, self.hold, self.later.take()) {
            Ok(admission) => admission,
            Err((error, headroom)) => return State::refused(&self.meter, self.reply, error, headroom),
        };
        // The one place where a hold becomes known to whoever keeps books: before the inner service is called.
        self.meter.hold(self.known);
        if let Some(hold) = admission.grant.hold() {
            self.meter.may_last(hold.clone());
        }
        let once = Some(Once::new(Settle::new(self.meter, admission.grant, self.known)));
        let future = inner.call(request);
        State::Running { future, running: Running { once, governed: Some(self.reply), headroom: admission.headroom } }
    }
}

impl Running {
    /// The inner service's response, with the grant to be settled at the end of its body.
    fn answer<B: Body<Data = Bytes>>(&mut self, mut response: Response<B>) -> Response<QuotaBody<B>> {
        if let Some(reply) = &self.governed {
            reply.stamp(&mut response);
            set_headroom(&self.headroom, reply.request_id(), response.headers_mut());
        }
        let settle = self.once.as_mut().and_then(Once::take);
        QuotaBody::guard(response, settle)
    }
}

impl<S, A, B> Future for QuotaFuture<S, A>
where
    S: Service<Request<A>, Response = Response<B>>,
    B: Body<Data = Bytes>,
{
    type Output = Result<Response<QuotaBody<B>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            let next = match state.as_mut().project() {
                StateProj::Asking { decision, waiting } => {
                    let answer = ready!(decision.poll(cx));
                    let Some(waiting) = waiting.take() else { return Poll::Pending };
                    let Waiting { asking, mut inner, request } = *waiting;
                    asking.go_on(answer, &mut inner, request)
                }
                StateProj::Running { future, running } => {
                    let polled = match running.once.as_mut() {
                        Some(once) => once.watch(|| future.poll(cx)),
                        None => future.poll(cx),
                    };
                    return Poll::Ready(match ready!(polled) {
                        Ok(response) => Ok(running.answer(response)),
                        Err(error) => {
                            drop(running.once.as_mut().and_then(|once| once.fire(Ended::Failed)));
                            Err(error)
                        }
                    });
                }
                StateProj::Refused { refusal } => {
                    let Some(refusal) = refusal.take() else { return Poll::Pending };
                    let mut response = QuotaBody::refusal(&refusal.reply, &refusal.error);
                    set_headroom(&refusal.headroom, refusal.reply.request_id(), response.headers_mut());
                    return Poll::Ready(Ok(response));
                }
            };
            state.set(next);
        }
    }
}

impl<S, A> fmt::Debug for QuotaFuture<S, A>
where
    S: Service<Request<A>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.state {
            State::Asking { .. } => "QuotaFuture::Asking",
            State::Running { .. } => "QuotaFuture::Running",
            State::Refused { .. } => "QuotaFuture::Refused",
        })
    }
}
