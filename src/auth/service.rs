//! See the [module docs](super).

use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use tower_service::Service;

use crate::domain::caller::Caller;
use crate::http::body::ResponseBody;
use crate::http::reply::ReplyTo;

use super::cache::{Identity, KeyCache};
use super::credential::{Presented, strip};
use super::future::ResponseFuture;

/// The service of [`AuthLayer`](super::AuthLayer). See the [module docs](super).
#[derive(Clone, Debug)]
pub struct AuthService<S> {
    inner: S,
    keys: Arc<KeyCache>,
    passes_known: bool,
}

impl<S> AuthService<S> {
    pub(super) fn new(inner: S, keys: Arc<KeyCache>, passes_known: bool) -> Self {
        Self { inner, keys, passes_known }
    }

    /// The service behind.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The service behind.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// The service behind.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, B, RB> Service<Request<B>> for AuthService<S>
where
    S: Service<Request<B>, Response = Response<RB>> + Clone,
{
    type Response = Response<ResponseBody<RB>>;
    type Error = S::Error;
    type Future = ResponseFuture<S, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> ResponseFuture<S, B> {
        let now = self.keys.now();
        let presented = Presented::in_headers(request.headers());
        let reply = ReplyTo::find(&request, &presented.reply, now);
        let has_echo = presented.has_echo;
        let known = request.extensions().get::<Caller>().filter(|_| self.passes_known && presented.is_none()).cloned();
        if let Some(caller) = known {
            return ResponseFuture::decided(&mut self.inner, request, Ok(caller), reply);
        }
        let identity = match presented.bearer(request.headers()) {
            Ok(key) => self.keys.identify(key, now),
            Err(refusal) => Identity::Now(Err(refusal)),
        };
        strip(request.headers_mut(), has_echo);
        match identity {
            Identity::Now(verdict) => ResponseFuture::decided(&mut self.inner, request, verdict, reply),
            Identity::Later(waiting) => {
                // The clone has not been asked whether it is ready; the one in hand has.
                let clone = self.inner.clone();
                let ready = std::mem::replace(&mut self.inner, clone);
                ResponseFuture::waiting(waiting, ready, request, reply)
            }
        }
    }
}
