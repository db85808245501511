//! See the [module docs](super).

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::base::error::Error;
use crate::domain::caller::Caller;
use crate::http::body::ResponseBody;
use crate::http::reply::ReplyTo;

use super::flight::Waiting;

pin_project! {
    /// The response future of [`AuthService`](super::AuthService).
    pub struct ResponseFuture<S, B>
    where
        S: Service<Request<B>>,
    {
        #[pin]
        state: State<S, B>,
        reply: ReplyTo,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S, B>
    where
        S: Service<Request<B>>,
    {
        Waiting { waiting: Waiting, held: Option<(S, Request<B>)> },
        Refused { refusal: Error },
        Admitted { #[pin] response: S::Future },
    }
}

impl<S: Service<Request<B>>, B> State<S, B> {
    /// What comes of the verdict on the caller of `request`.
    fn decided(inner: &mut S, mut request: Request<B>, verdict: Result<Caller, Error>, reply: &ReplyTo) -> Self {
        match verdict {
            Ok(caller) => {
                request.extensions_mut().insert(caller.asking(reply.asks()));
                Self::Admitted { response: inner.call(request) }
            }
            Err(refusal) => Self::Refused { refusal },
        }
    }
}

impl<S: Service<Request<B>>, B> ResponseFuture<S, B> {
    pub(super) fn decided(inner: &mut S, request: Request<B>, verdict: Result<Caller, Error>, reply: ReplyTo) -> Self {
        Self { state: State::decided(inner, request, verdict, &reply), reply }
    }

    /// `inner` must be ready.
    pub(super) fn waiting(waiting: Waiting, inner: S, request: Request<B>, reply: ReplyTo) -> Self {
        Self { state: State::Waiting { waiting, held: Some((inner, request)) }, reply }
    }
}

impl<S, B, RB> Future for ResponseFuture<S, B>
where
    S: Service<Request<B>, Response = Response<RB>>,
{
    type Output = Result<Response<ResponseBody<RB>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let next = match this.state.as_mut().project() {
                StateProj::Waiting { waiting, held } => {
                    let verdict = ready!(Pin::new(waiting).poll(cx));
                    let (mut inner, request) = held.take().expect("the request is held until the verdict");
                    State::decided(&mut inner, request, verdict, this.reply)
                }
                StateProj::Refused { refusal } => return Poll::Ready(Ok(this.reply.error(refusal))),
                StateProj::Admitted { response } => {
                    let mut response = ready!(response.poll(cx))?;
                    this.reply.stamp(&mut response);
                    return Poll::Ready(Ok(response.map(ResponseBody::inner)));
                }
            };
            this.state.set(next);
        }
    }
}

impl<S: Service<Request<B>>, B> fmt::Debug for ResponseFuture<S, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.state {
            State::Waiting { .. } => "ResponseFuture::Waiting",
            State::Refused { .. } => "ResponseFuture::Refused",
            State::Admitted { .. } => "ResponseFuture::Admitted",
        })
    }
}
