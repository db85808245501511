//! Limits: the whole set of a scope at a time, and the state of their counters.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::base::error::{Code, Error};
use crate::domain::limit::{Limit, LimitKey, LimitSource, Measure, Scope};
use crate::domain::limit_book::LimitBook;
use crate::domain::limit_rules::{self, Written};

use super::answer::{Answer, store_failed};
use super::form::Form;
use super::query::{self, PAGE, Query};
use super::render;
use super::service::Admin;

const FIELDS: [&str; 8] = ["modality", "model", "measure", "amount", "per", "mode", "alert_at", "on_store_failure"];

pub(super) fn list(admin: &Admin, query: Option<&str>) -> Result<Answer, Error> {
    let mut query = Query::parse(query, &[&["scope"], &PAGE])?;
    let scope = query.scope()?.ok_or_else(|| {
        Error::new(Code::MissingParameter, "Name the scope whose limits to show: ?scope=workspace:W.").param("scope")
    })?;
    let (limit, after) = query.part()?;
    let mut set = set_of(admin, &scope);
    if let Some(data) = set["data"].as_array_mut() {
        data.drain(..after.min(data.len()));
        let has_more = data.len() > limit;
        data.truncate(limit);
        set["has_more"] = has_more.into();
        set["next"] = has_more.then(|| (after + limit).to_string()).into();
    }
    Ok(Answer::ok(set))
}

/// All limits of a scope: under `data` as every list has it, under `limits` as PUT takes them.
fn set_of(admin: &Admin, scope: &Scope) -> Value {
    let mut limits = admin.stores.book.of_scope(scope);
    limits.sort_by(|a, b| a.key.cmp(&b.key));
    let limits: Vec<_> = limits.iter().map(|limit| render::limit(limit)).collect();
    json!({ "scope": scope.to_string(), "limits": limits, "data": limits, "has_more": false, "next": null })
}

pub(super) async fn put(admin: &Admin, body: &[u8]) -> Result<Answer, Error> {
    let mut form = Form::parse(body, &["scope", "limits"])?;
    let scope = query::scope(&form.required::<String>("scope")?)?;
    let limits = form.required::<Vec<Value>>("limits")?;
    let limits: Vec<_> =
        limits.into_iter().enumerate().map(|(at, value)| limit(&scope, at, value)).collect::<Result<_, _>>()?;
    // A book of these alone finds what is named twice, before anything is stored.
    LimitBook::new(limits.clone()).map_err(|why| Error::new(Code::InvalidParameter, why).param("limits"))?;

    let detail = json!({ "limits": limits.iter().map(render::limit).collect::<Vec<_>>() });
    admin.stores.limits.put(scope.clone(), limits.clone()).await.map_err(failed)?;
    follow_store(admin, &scope, limits).await?;
    admin.audit("limits.put", scope.to_string(), detail).await?;
    Ok(Answer::ok(set_of(admin, &scope)))
}

/// Puts `limits` in force, and then whatever the store has come to hold since: of two that change one scope at a time,
/// the later in the store is the later in force, in whatever order they get here.
async fn follow_store(admin: &Admin, scope: &Scope, mut limits: Vec<Limit>) -> Result<(), Error> {
    loop {
        limits.sort_by(|a, b| a.key.cmp(&b.key));
        admin
            .stores
            .book
            .put(scope, limits.clone())
            .map_err(|why| Error::new(Code::InternalError, "The limits are stored but not in force.").cause(why))?;
        let mut stored = admin.stores.limits.all().await.map_err(failed)?;
        stored.retain(|limit| limit.key.scope == *scope);
        stored.sort_by(|a, b| a.key.cmp(&b.key));
        if stored == limits {
            return Ok(());
        }
        limits = stored;
    }
}

fn limit(scope: &Scope, at: usize, value: Value) -> Result<Limit, Error> {
    let mut form = Form::of(value, Some(format!("limits[{at}]")), &FIELDS)?;
    let measure: Measure = form.required("measure")?;
    let amount = amount(&mut form, measure)?;
    let per = limit_rules::window(measure, form.optional("per")?).map_err(|why| form.invalid("per", why))?;
    let alert_at: Vec<f64> = form.optional("alert_at")?.unwrap_or_default();
    let model: Option<String> = form.optional("model")?;
    if model.as_deref() == Some("") {
        return Err(form.invalid("model", "is empty; leave it out for all models"));
    }
    Ok(Limit {
        key: LimitKey {
            scope: scope.clone(),
            modality: form.optional("modality")?,
            model: model.map(Arc::from),
            measure,
            per,
        },
        amount,
        mode: form.optional("mode")?.unwrap_or_default(),
        alert_at: limit_rules::thresholds(&alert_at).map_err(|why| form.invalid("alert_at", why))?,
        on_store_failure: form.optional("on_store_failure")?,
        source: LimitSource::Api,
    })
}

fn amount(form: &mut Form, measure: Measure) -> Result<u64, Error> {
    let given: Value = form.required("amount")?;
    let written = match &given {
        Value::String(text) => Written::Text(text),
        Value::Number(number) => match number.as_i128() {
            Some(n) => Written::Integer(n),
            None => {
                let reason = "is too large, or has a fraction; write a whole number, and spend as a string";
                return Err(form.invalid("amount", reason));
            }
        },
        _ => return Err(form.invalid("amount", "must be a whole number, or a decimal string for spend")),
    };
    limit_rules::amount(measure, written).map_err(|why| form.invalid("amount", &why))
}

pub(super) async fn states(admin: &Admin, query: Option<&str>) -> Result<Answer, Error> {
    let mut limits = match Query::parse(query, &[&["scope"]])?.scope()? {
        Some(scope) => admin.stores.book.of_scope(&scope),
        None => admin.stores.book.all(),
    };
    limits.sort_by(|a, b| a.key.cmp(&b.key));
    let states = admin.stores.quota.state(limits, admin.clock.now()).await;
    let states = states.map_err(|error| store_failed(Code::QuotaUnavailable, error))?;
    let data: Vec<_> = states.iter().map(render::limit_state).collect();
    Ok(Answer::ok(json!({ "data": data })))
}

fn failed(error: crate::store::error::StoreError) -> Error {
    store_failed(Code::QuotaUnavailable, error)
}
