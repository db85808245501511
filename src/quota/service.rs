//! The service: asks before the inner service is called.

use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use crate::http::meter::counts;
use crate::http::reply::ReplyTo;
use crate::store::quota::Headroom;

use super::body::QuotaBody;
use super::future::QuotaFuture;
use super::layer::QuotaLayer;

/// Made by [`QuotaLayer`]. See the [module docs](super).
#[derive(Clone, Debug)]
pub struct QuotaService<S> {
    inner: S,
    layer: Arc<QuotaLayer>,
}

impl<S> QuotaService<S> {
    pub(super) fn new(inner: S, layer: QuotaLayer) -> Self {
        Self { inner, layer: Arc::new(layer) }
    }

    /// The inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The inner service, to be changed.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// The inner service alone.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, A, B> Service<Request<A>> for QuotaService<S>
where
    S: Service<Request<A>, Response = Response<B>> + Clone,
    B: Body<Data = Bytes>,
{
    type Response = Response<QuotaBody<B>>;
    type Error = S::Error;
    type Future = QuotaFuture<S, A>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<A>) -> QuotaFuture<S, A> {
        if !counts(request.method()) {
            return QuotaFuture::ungoverned(&mut self.inner, request);
        }
        let reply = ReplyTo::of(&mut request);
        match self.layer.ask(request.extensions_mut()) {
            Ok(asked) => QuotaFuture::asking(asked, reply, &mut self.inner, request),
            Err((meter, error)) => QuotaFuture::refused(&meter, reply, error, Headroom::default()),
        }
    }
}
