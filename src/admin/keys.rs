//! Keys: made, shown, rotated and revoked.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Number, Value, json};

use crate::base::error::{Code, Error};
use crate::domain::caller::{Home, ModelPatterns};
use crate::domain::key::{KeyId, KeyRecord, KeySource, MintedKey};
use crate::domain::modality::Modality;
use crate::domain::name::Name;
use crate::store::keys::KeyFilter;

use super::answer::{Answer, list_failed, store_failed};
use super::form::Form;
use super::query::{PAGE, Query, timestamp};
use super::render;
use super::routes::not_found;
use super::service::Admin;

/// The longest that an old secret may live on after a rotation, in seconds.
const LONGEST_GRACE: u64 = 2_592_000;

pub(super) async fn list(admin: &Admin, query: Option<&str>) -> Result<Answer, Error> {
    let mut query = Query::parse(query, &[&["workspace", "project"], &PAGE])?;
    let name = |text: &str| Name::new(text).ok();
    let filter = KeyFilter {
        workspace: query.read("workspace", "a name", name)?,
        project: query.read("project", "a name", name)?,
    };
    let page = admin.stores.keys.list(filter, query.page()?).await;
    let page = page.map_err(|error| list_failed(Code::AuthUnavailable, error))?;
    Ok(Answer::ok(render::page(page, |key| Value::Object(render::key(&key)))))
}

pub(super) async fn create(admin: &Admin, body: &[u8]) -> Result<Answer, Error> {
    let (minted, record) = new_key(admin, body)?;
    let record = admin.stores.keys.insert(record).await.map_err(failed)?;
    let detail = Value::Object(render::key(&record));
    admin.audit("key.create", record.id.to_string(), detail).await?;
    let mut shown = render::key(&record);
    shown.insert("key".to_owned(), json!(minted.text.expose()));
    Ok(Answer::created(Value::Object(shown)))
}

fn new_key(admin: &Admin, body: &[u8]) -> Result<(MintedKey, KeyRecord), Error> {
    let mut form = Form::parse(
        body,
        &["workspace", "project", "team", "environment", "name", "models", "modalities", "expires_at"],
    )?;
    let home = Home {
        workspace: form.required("workspace")?,
        project: form.required("project")?,
        team: form.optional("team")?,
        environment: form.optional("environment")?,
    };
    let models = match form.optional("models")? {
        None => ModelPatterns::all(),
        Some(patterns) => ModelPatterns::new(patterns).map_err(|why| form.invalid("models", &why))?,
    };
    let expires_at = match form.optional::<Number>("expires_at")? {
        None => None,
        Some(seconds) => {
            let end = timestamp(&seconds.to_string());
            Some(end.ok_or_else(|| form.invalid("expires_at", "must be unix seconds, as a number"))?)
        }
    };
    let minted = MintedKey::new(home.environment.as_ref());
    let record = KeyRecord {
        id: minted.id.clone(),
        name: form.optional("name")?,
        home,
        models,
        modalities: form.optional("modalities")?.unwrap_or_else(|| Modality::ALL.to_vec()),
        digest: minted.digest,
        old: None,
        retired: Vec::new(),
        source: KeySource::Api,
        created_at: admin.clock.now(),
        expires_at,
        last_used_at: None,
        revoked_at: None,
    };
    Ok((minted, record))
}

pub(super) async fn get(admin: &Admin, id: &str) -> Result<Answer, Error> {
    let record = find(admin, id).await?;
    Ok(Answer::ok(Value::Object(render::key(&record))))
}

pub(super) async fn rotate(admin: &Admin, id: &str, body: &[u8]) -> Result<Answer, Error> {
    let mut form = Form::parse(body, &["grace_seconds"])?;
    let grace = form.optional("grace_seconds")?.unwrap_or(0);
    if grace > LONGEST_GRACE {
        return Err(form.invalid("grace_seconds", "must be from 0 to 2592000"));
    }
    let record = find(admin, id).await?;
    let now = admin.clock.now();
    may_rotate(&record, admin)?;
    let minted = MintedKey::rotate(&record.id, record.home.environment.as_ref());
    let old_until = now.plus(Duration::from_secs(grace));
    admin.stores.keys.rotate(&record.id, minted.digest, old_until, now).await.map_err(failed)?;
    admin.audit("key.rotate", id.to_owned(), json!({ "grace_seconds": grace })).await?;
    Ok(Answer::ok(json!({ "id": record.id, "key": minted.text.expose() })))
}

/// Says clearly what a store would refuse in its own words.
fn may_rotate(record: &KeyRecord, admin: &Admin) -> Result<(), Error> {
    let refused = |message: &'static str| Err(Error::new(Code::InvalidParameter, message));
    if record.source == KeySource::Config {
        return refused("This key stands in the configuration file: change it there.");
    }
    if record.revoked_at.is_some() {
        return refused("This key is revoked for good: create a new one.");
    }
    match record.expires_at {
        Some(end) if admin.clock.now() >= end => refused("This key has expired: create a new one."),
        _ => Ok(()),
    }
}

pub(super) async fn revoke(admin: &Admin, id: &str) -> Result<Answer, Error> {
    let id = KeyId::new(id).ok_or_else(not_found)?;
    let record = admin.stores.keys.revoke(&id, admin.clock.now()).await.map_err(failed)?;
    admin.audit("key.revoke", id.to_string(), json!({})).await?;
    Ok(Answer::ok(Value::Object(render::key(&record))))
}

async fn find(admin: &Admin, id: &str) -> Result<Arc<KeyRecord>, Error> {
    let id = KeyId::new(id).ok_or_else(not_found)?;
    admin.stores.keys.get(&id).await.map_err(failed)?.ok_or_else(not_found)
}

fn failed(error: crate::store::error::StoreError) -> Error {
    store_failed(Code::AuthUnavailable, error)
}
