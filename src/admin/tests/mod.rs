//! The admin API and the project's usage API, called as services over small stand-in stores.

mod fakes;
mod keys;
mod limits;
mod reports;
mod webhooks;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower_service::Service as _;

use super::*;
use crate::base::clock::{ManualClock, Timestamp};
use crate::base::secret::Secret;
use crate::domain::caller::{Caller, Home, ModelPatterns};
use crate::domain::key::{KeyRecord, KeySource, NewKey, PresentedKey};
use crate::domain::limit::{Limit, LimitKey, LimitSource, Measure, Per};
use crate::domain::limit_book::LimitBook;
use crate::domain::name::Name;
use crate::http::body::CallBody;
use crate::store::keys::KeyAdmin as _;
use crate::store::ledger::{GroupBy, RecordFilter};
use crate::store::memory::audit::MemoryAudit;
use crate::store::memory::jobs::MemoryJobs;
use crate::store::memory::keys::MemoryKeys;
use crate::store::memory::webhooks::MemoryEndpoints;

use fakes::{Alerts, Ledger, Limits, Quota};

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

struct World {
    admin: AdminService,
    keys: Arc<MemoryKeys>,
    ledger: Arc<Ledger>,
    limits: Arc<Limits>,
    book: Arc<LimitBook>,
    outbox: Arc<MemoryJobs>,
}

impl World {
    fn new() -> Self {
        Self::with_token("token")
    }

    fn with_token(token: &str) -> Self {
        let (keys, ledger, limits) =
            (Arc::new(MemoryKeys::new()), Arc::new(Ledger::default()), Arc::new(Limits::default()));
        let file = Limit { source: LimitSource::Config, ..Limit::new(limit_key("project:acme/site"), 5) };
        let book = Arc::new(LimitBook::new([file]).unwrap());
        let outbox = Arc::new(MemoryJobs::new());
        let stores = AdminStores {
            keys: keys.clone(),
            limits: limits.clone(),
            book: book.clone(),
            quota: Arc::new(Quota),
            usage: ledger.clone(),
            alerts: Arc::new(Alerts),
            audit: Arc::new(MemoryAudit::new()),
            endpoints: Arc::new(MemoryEndpoints::new()),
            outbox: outbox.clone(),
        };
        let admin = AdminService::new(Secret::from(token), stores, Arc::new(ManualClock::at(NOW)));
        Self { admin, keys, ledger, limits, book, outbox }
    }

    /// What the holder of the admin token is answered.
    fn ask(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let body = if body.is_null() { Bytes::new() } else { body.to_string().into() };
        self.send(method, path, Some("Bearer token"), body)
    }

    fn get(&self, path: &str) -> (u16, Value) {
        self.ask("GET", path, Value::Null)
    }

    fn send(&self, method: &str, path: &str, authorization: Option<&str>, body: Bytes) -> (u16, Value) {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(value) = authorization {
            request = request.header("authorization", value);
        }
        let call = self.admin.clone().call(request.body(CallBody::from(body)).unwrap());
        read(tokio_test::block_on(call).unwrap())
    }

    fn new_key(&self) -> (String, String) {
        let (status, key) = self.ask("POST", "/admin/v1/keys", json!({ "workspace": "acme", "project": "site" }));
        assert_eq!(status, 201);
        (text(&key["id"]), text(&key["key"]))
    }
}

fn read(response: Reply) -> (u16, Value) {
    assert!(response.headers().contains_key("x-request-id"));
    let status = response.status().as_u16();
    let body = tokio_test::block_on(response.into_body().collect()).unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap())
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn limit_key(scope: &str) -> LimitKey {
    let scope = scope.parse().unwrap();
    LimitKey { scope, modality: None, model: None, measure: Measure::Requests, per: Some(Per::Minute) }
}

fn code(answer: &(u16, Value)) -> (u16, &str) {
    (answer.0, answer.1["error"]["code"].as_str().unwrap_or_default())
}

#[test]
fn only_the_admin_token_opens_anything_even_an_unknown_path() {
    let world = World::new();
    for authorization in
        [None, Some("token"), Some("Bearer"), Some("Bearer "), Some("Bearer tokens"), Some("Basic token")]
    {
        for path in ["/admin/v1/keys", "/admin/v1/nothing"] {
            let answer = world.send("GET", path, authorization, Bytes::new());
            assert_eq!(code(&answer), (401, "invalid_api_key"), "{authorization:?}");
        }
    }
    assert_eq!(world.send("GET", "/keys", Some("bearer token"), Bytes::new()).0, 200);
}

#[test]
fn two_credentials_are_refused_even_if_one_is_good() {
    let request = Request::get("/keys").header("authorization", "Bearer token").header("authorization", "Bearer token");
    let response = World::new().admin.call(request.body(CallBody::empty()).unwrap());
    assert_eq!(tokio_test::block_on(response).unwrap().status(), 401);
}

#[test]
fn an_empty_admin_token_opens_nothing() {
    let world = World::with_token("");
    assert_eq!(world.send("GET", "/keys", Some("Bearer "), Bytes::new()).0, 401);
}

#[test]
fn unknown_urls_and_methods_are_told_apart() {
    let world = World::new();
    assert_eq!(code(&world.get("/admin/v1/nothing")), (404, "not_found"));
    assert_eq!(code(&world.get("/admin/v1/keys/short")), (404, "not_found"));
    assert_eq!(code(&world.get("/admin/v1/keys/0000000000000000000000")), (404, "not_found"));
    let request = Request::delete("/admin/v1/keys").header("authorization", "Bearer token").body(CallBody::empty());
    let response = tokio_test::block_on(world.admin.clone().call(request.unwrap())).unwrap();
    assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(response.headers()["allow"], "GET, POST");
}

#[test]
fn a_bad_query_is_refused_by_name() {
    let world = World::new();
    for (path, param) in [
        ("/keys?workspace=a%20b", "workspace"),
        ("/keys?model=x", "model"),
        ("/keys?limit=0", "limit"),
        ("/keys?after=bad", "after"),
        ("/requests?limit=1001", "limit"),
        ("/requests?status=ok", "status"),
        ("/requests?outcome=fine", "outcome"),
        ("/requests?from=yesterday", "from"),
        ("/usage?group_by=day,day", "group_by"),
        ("/usage?group_by=hour", "group_by"),
        ("/usage?workspace=acme", "workspace"),
        ("/limits?scope=acme", "scope"),
        ("/limits", "scope"),
        ("/limits/state?scopes=x", "scopes"),
        ("/audit?actor=admin", "actor"),
        ("/keys/0000000000000000000000?full=1", "full"),
    ] {
        let answer = world.get(path);
        assert_eq!((answer.0, &answer.1["error"]["param"]), (400, &json!(param)), "{path}");
    }
}
