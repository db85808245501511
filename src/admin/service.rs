//! The admin API as a service: who may call it, and which handler answers.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::AUTHORIZATION;
use http::{HeaderMap, Request};
use http_body::Body;
use serde_json::Value;
use tower_service::Service;

use crate::base::clock::Clock;
use crate::base::error::{Code, Error};
use crate::base::id::new_id;
use crate::base::secret::Secret;
use crate::domain::limit_book::LimitBook;
use crate::http::reply::ReplyTo;
use crate::store::jobs::Outbox;
use crate::store::keys::KeyAdmin;
use crate::store::ledger::UsageStore;
use crate::store::quota::QuotaStore;
use crate::store::tables::{AlertStore, AuditEntry, AuditStore, LimitStore};
use crate::store::webhooks::EndpointStore;

use super::answer::{Answer, Reply};
use super::query::Query;
use super::reports::Reach;
use super::routes::{ADMIN, ADMIN_ROUTES, AdminAction, action};
use super::{form, keys, limits, reports, webhooks};

/// What the admin API reads and changes. Every one must be what the layers work with, else it shows another gateway.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "named after what they keep")]
pub struct AdminStores {
    pub keys: Arc<dyn KeyAdmin>,
    pub limits: Arc<dyn LimitStore>,
    /// The limits in force, those of the configuration included.
    pub book: Arc<LimitBook>,
    pub quota: Arc<dyn QuotaStore>,
    pub usage: Arc<dyn UsageStore>,
    pub alerts: Arc<dyn AlertStore>,
    pub audit: Arc<dyn AuditStore>,
    /// Those of the configuration included.
    pub endpoints: Arc<dyn EndpointStore>,
    pub outbox: Arc<dyn Outbox>,
}

/// The admin API under `/admin/v1`, as a tower service. Cheap to clone; see the [module](super).
#[derive(Clone)]
pub struct AdminService(Arc<Admin>);

pub(super) struct Admin {
    token: Secret,
    pub(super) stores: AdminStores,
    pub(super) clock: Arc<dyn Clock>,
}

impl AdminService {
    /// The API for whoever holds `token`. An empty token opens nothing.
    pub fn new(token: Secret, stores: AdminStores, clock: Arc<dyn Clock>) -> Self {
        Self(Arc::new(Admin { token, stores, clock }))
    }
}

impl fmt::Debug for AdminService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdminService").field("stores", &self.0.stores).finish_non_exhaustive()
    }
}

impl<B> Service<Request<B>> for AdminService
where
    B: Body + Send + 'static,
    B::Data: Send,
{
    type Response = Reply;
    type Error = Infallible;
    type Future = ReplyFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<B>) -> ReplyFuture {
        let to = ReplyTo::of(&mut request);
        let admin = Arc::clone(&self.0);
        ReplyFuture::new(async move { Answer::reply(admin.answer(request).await, &to) })
    }
}

impl Admin {
    async fn answer<B: Body>(&self, request: Request<B>) -> Result<Answer, Error> {
        let (parts, body) = request.into_parts();
        self.authenticate(&parts.headers)?;
        let (action, id) = action(ADMIN_ROUTES, ADMIN, &parts.method, parts.uri.path())?;
        let (query, id) = (parts.uri.query(), id.unwrap_or_default());
        if !action.takes_query() {
            Query::parse(query, &[])?;
        }
        let stores = &self.stores;
        match action {
            AdminAction::ListKeys => keys::list(self, query).await,
            AdminAction::CreateKey => keys::create(self, &form::collect(body).await?).await,
            AdminAction::GetKey => keys::get(self, id).await,
            AdminAction::RevokeKey => keys::revoke(self, id).await,
            AdminAction::RotateKey => keys::rotate(self, id, &form::collect(body).await?).await,
            AdminAction::ListLimits => limits::list(self, query),
            AdminAction::PutLimits => limits::put(self, &form::collect(body).await?).await,
            AdminAction::LimitStates => limits::states(self, query).await,
            AdminAction::ListRequests => reports::requests(&*stores.usage, Reach::All, query).await,
            AdminAction::Usage => reports::usage(&*stores.usage, Reach::All, query).await,
            AdminAction::ListAlerts => reports::alerts(&*stores.alerts, query).await,
            AdminAction::ListWebhooks => webhooks::list(self, query).await,
            AdminAction::CreateWebhook => webhooks::create(self, &form::collect(body).await?).await,
            AdminAction::DeleteWebhook => webhooks::delete(self, id).await,
            AdminAction::ListDeliveries => webhooks::deliveries(self, query).await,
            AdminAction::Redeliver => webhooks::redeliver(self, id).await,
            AdminAction::ListAudit => reports::audit(&*stores.audit, query).await,
        }
    }

    fn authenticate(&self, headers: &HeaderMap) -> Result<(), Error> {
        match bearer(headers) {
            Some(token) if !token.is_empty() && self.token.matches(token) => Ok(()),
            _ => {
                Err(Error::new(Code::InvalidApiKey, "This API takes the admin token: send `Authorization: Bearer …`."))
            }
        }
    }

    /// Notes what was just done.
    pub(super) async fn audit(&self, action: &'static str, target: String, detail: Value) -> Result<(), Error> {
        let entry = AuditEntry {
            id: new_id("audit_"),
            time: self.clock.now(),
            actor: "admin".into(),
            action: action.into(),
            target,
            detail,
        };
        self.stores.audit.append(entry).await.map_err(|error| {
            Error::new(Code::InternalError, "The change was made, but the audit trail could not take it.")
                .cause(error.message())
        })
    }
}

/// The bearer token, where exactly one credential was sent.
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let mut sent = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (sent.next(), sent.next()) else { return None };
    let (scheme, token) = value.as_bytes().split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then_some(token)
}

/// The response to come, of [`AdminService`] and [`UsageService`](super::UsageService).
#[must_use = "futures do nothing unless polled"]
pub struct ReplyFuture(Pin<Box<dyn Future<Output = Reply> + Send>>);

impl ReplyFuture {
    pub(super) fn new(reply: impl Future<Output = Reply> + Send + 'static) -> Self {
        Self(Box::pin(reply))
    }
}

impl Future for ReplyFuture {
    type Output = Result<Reply, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx).map(Ok)
    }
}

impl fmt::Debug for ReplyFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReplyFuture")
    }
}
