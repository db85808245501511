use std::error::Error as StdError;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use crate::http::body::{CallBody, ResponseBody};
use crate::http::reply::ReplyTo;

use super::accept::Rules;
use super::collect::Collect;
use super::future::{Reading, ResponseFuture};

/// The service of [`InspectLayer`](super::InspectLayer). See the [module docs](super).
#[derive(Clone, Debug)]
pub struct InspectService<S> {
    inner: S,
    rules: Arc<Rules>,
}

impl<S> InspectService<S> {
    pub(super) fn new(inner: S, rules: Arc<Rules>) -> Self {
        Self { inner, rules }
    }
}

impl<S, B, RB> Service<Request<B>> for InspectService<S>
where
    S: Service<Request<CallBody>, Response = Response<RB>> + Clone,
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    type Response = Response<ResponseBody<RB>>;
    type Error = S::Error;
    type Future = ResponseFuture<S, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let reply = ReplyTo::of(&mut request);
        // The service that was polled ready is the one to call; its clone is not ready.
        let clone = self.inner.clone();
        let inner = std::mem::replace(&mut self.inner, clone);
        let (mut head, body) = request.into_parts();
        match self.rules.check(&mut head).and_then(|()| self.rules.plan(&head)) {
            Ok(plan) => {
                let collect = Collect::new(body, plan.bound, plan.layout(&head.headers));
                let reading = Reading { inner, rules: self.rules.clone(), plan, head };
                ResponseFuture::reading(reply, collect, reading)
            }
            Err(error) => ResponseFuture::refused(reply, error, &head),
        }
    }
}
