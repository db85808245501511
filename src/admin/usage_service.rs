//! What a calling key may read of its own project.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Request;
use tower_service::Service;

use crate::base::error::{Code, Error};
use crate::domain::caller::Caller;
use crate::http::reply::ReplyTo;
use crate::store::ledger::UsageStore;

use super::answer::{Answer, Reply};
use super::reports::{self, Reach};
use super::routes::{CLIENT, USAGE_ROUTES, UsageAction, action, route};
use super::service::ReplyFuture;

/// `GET /v1/usage` and `GET /v1/requests`: usage, cost and request records of the calling key's project.
///
/// Stands behind `AuthLayer`, whose [`Caller`] decides the project; without one every request is refused.
#[derive(Clone, Debug)]
pub struct UsageService(Arc<dyn UsageStore>);

impl UsageService {
    /// Reads this ledger.
    pub fn new(usage: Arc<dyn UsageStore>) -> Self {
        Self(usage)
    }

    /// Whether `path`, with or without `/v1`, is one of this service's.
    pub fn serves(path: &str) -> bool {
        route(USAGE_ROUTES, CLIENT, path).is_some()
    }
}

impl<B> Service<Request<B>> for UsageService {
    type Response = Reply;
    type Error = Infallible;
    type Future = ReplyFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<B>) -> ReplyFuture {
        let to = ReplyTo::of(&mut request);
        let usage = Arc::clone(&self.0);
        let (parts, _) = request.into_parts();
        ReplyFuture::new(async move { Answer::reply(answer(&*usage, &parts).await, &to) })
    }
}

async fn answer(usage: &dyn UsageStore, request: &http::request::Parts) -> Result<Answer, Error> {
    let caller = request
        .extensions
        .get::<Caller>()
        .ok_or_else(|| Error::new(Code::InvalidApiKey, "This API takes an API key: send `Authorization: Bearer …`."))?;
    let (action, _) = action(USAGE_ROUTES, CLIENT, &request.method, request.uri.path())?;
    let (reach, query) = (Reach::Project(caller.home()), request.uri.query());
    match action {
        UsageAction::ListRequests => reports::requests(usage, reach, query).await,
        UsageAction::Usage => reports::usage(usage, reach, query).await,
    }
}
