//! Webhook endpoints and the deliveries to them.

use http::Uri;
use serde_json::{Map, Value, json};

use crate::base::error::{Code, Error};
use crate::base::id::new_id;
use crate::domain::delivery::{Delivery, DeliveryState};
use crate::domain::name::Name;
use crate::domain::webhook::{Endpoint, EventKind};
use crate::http::dial::refusal;
use crate::store::tables::PageOf;
use crate::wire::standard_webhooks::mint_secret;

use super::answer::{Answer, list_failed, store_failed};
use super::form::Form;
use super::query::{PAGE, Query};
use super::render;
use super::routes::not_found;
use super::service::Admin;

pub(super) async fn list(admin: &Admin, query: Option<&str>) -> Result<Answer, Error> {
    let page = Query::parse(query, &[&PAGE])?.page()?;
    let mut all: Vec<_> =
        admin.stores.endpoints.all().await.map_err(failed)?.into_iter().map(|(e, _)| e).rev().collect();
    if let Some(after) = page.after {
        let at = all.iter().position(|endpoint| *endpoint.id == *after).ok_or_else(|| {
            let message = "must be `next` of the page before; that webhook may have been deleted: start anew.";
            Error::new(Code::InvalidParameter, format!("The query parameter \"after\" {message}")).param("after")
        })?;
        all.drain(..=at);
    }
    let has_more = all.len() > page.limit;
    all.truncate(page.limit);
    let next = all.last().filter(|_| has_more).map(|endpoint| endpoint.id.to_string());
    Ok(Answer::ok(render::page(PageOf { items: all, next }, |endpoint| Value::Object(shown(&endpoint)))))
}

pub(super) async fn create(admin: &Admin, body: &[u8]) -> Result<Answer, Error> {
    let mut form = Form::parse(body, &["workspace", "url", "events", "allow_private"])?;
    let workspace: Name = form.required("workspace")?;
    let url: String = form.required("url")?;
    let allow_private = form.optional("allow_private")?.unwrap_or(false);
    let parsed: Option<Uri> = url.parse().ok();
    if let Some(why) = parsed.map_or(Some("is no URL"), |url| refusal(&url, allow_private)) {
        return Err(form.invalid("url", why));
    }
    let events: Vec<EventKind> = form.optional("events")?.unwrap_or_else(|| EventKind::ALL.to_vec());
    let endpoint = Endpoint {
        id: new_id("whk_"),
        workspace,
        url: url.into(),
        events,
        allow_private,
        created_at: admin.clock.now(),
        disabled: false,
    };
    let secret = mint_secret();
    admin.stores.endpoints.put(endpoint.clone(), vec![secret.clone()]).await.map_err(failed)?;
    let mut answer = shown(&endpoint);
    admin.audit("webhook.create", endpoint.id.to_string(), Value::Object(answer.clone())).await?;
    answer.insert("secret".to_owned(), json!(secret.expose()));
    Ok(Answer::created(Value::Object(answer)))
}

pub(super) async fn delete(admin: &Admin, id: &str) -> Result<Answer, Error> {
    let all = admin.stores.endpoints.all().await.map_err(failed)?;
    let (endpoint, _) = all.into_iter().find(|(endpoint, _)| *endpoint.id == *id).ok_or_else(not_found)?;
    if !admin.stores.endpoints.remove(id).await.map_err(failed)? {
        return Err(not_found());
    }
    admin.stores.outbox.drop_endpoint(id).await.map_err(failed)?;
    admin.audit("webhook.delete", id.to_owned(), json!({})).await?;
    Ok(Answer::ok(Value::Object(shown(&endpoint))))
}

pub(super) async fn deliveries(admin: &Admin, query: Option<&str>) -> Result<Answer, Error> {
    const STATES: [DeliveryState; 4] =
        [DeliveryState::Pending, DeliveryState::Delivered, DeliveryState::Failed, DeliveryState::Dropped];
    let mut query = Query::parse(query, &[&["status"], &PAGE])?;
    let find = |text: &str| STATES.into_iter().find(|state| state.as_str() == text);
    let state = query.read("status", "pending, delivered, failed or dropped", find)?;
    let page = admin.stores.outbox.deliveries(state, query.page()?).await;
    let page = page.map_err(|error| list_failed(Code::InternalError, error))?;
    Ok(Answer::ok(render::page(page, |delivery| delivered(&delivery))))
}

pub(super) async fn redeliver(admin: &Admin, id: &str) -> Result<Answer, Error> {
    let again = admin.stores.outbox.redeliver(id, admin.clock.now()).await.map_err(failed)?;
    again.map(|delivery| Answer::ok(delivered(&delivery))).ok_or_else(not_found)
}

fn failed(error: crate::store::error::StoreError) -> Error {
    store_failed(Code::InternalError, error)
}

fn shown(endpoint: &Endpoint) -> Map<String, Value> {
    let mut shown = Map::new();
    shown.insert("id".to_owned(), json!(endpoint.id));
    shown.insert("workspace".to_owned(), json!(endpoint.workspace));
    shown.insert("url".to_owned(), json!(endpoint.url));
    shown.insert("events".to_owned(), json!(endpoint.events));
    shown.insert("allow_private".to_owned(), json!(endpoint.allow_private));
    shown.insert("disabled".to_owned(), json!(endpoint.disabled));
    shown.insert("created_at".to_owned(), json!(endpoint.created_at.as_secs()));
    shown
}

fn delivered(delivery: &Delivery) -> Value {
    json!({
        "id": delivery.id,
        "event_id": delivery.event_id,
        "type": delivery.kind,
        "url": delivery.url,
        "status": delivery.state,
        "attempts": delivery.attempts,
        "last_status": delivery.last_status,
        "next_attempt_at": delivery.due_at.map(|at| at.as_secs()),
    })
}
