//! How keys, limits, records and reports look in JSON: CONTRACT section 6, field by field.

use serde_json::{Map, Value, json};

use crate::base::clock::Timestamp;
use crate::domain::key::KeyRecord;
use crate::domain::limit::{Limit, Per};
use crate::domain::modality::Modality;
use crate::domain::record::{Outcome, UsageRecord};
use crate::domain::usage::Usage;
use crate::store::ledger::{GroupBy, UsageRow};
use crate::store::quota::LimitState;
use crate::store::tables::{AuditEntry, PageOf};

use super::query::group_name;

/// A page of a list.
pub(super) fn page<T>(page: PageOf<T>, item: impl FnMut(T) -> Value) -> Value {
    let has_more = page.next.is_some();
    let data: Vec<_> = page.items.into_iter().map(item).collect();
    json!({ "data": data, "has_more": has_more, "next": page.next })
}

/// A key without any secret.
pub(super) fn key(key: &KeyRecord) -> Map<String, Value> {
    let seconds = |time: Option<Timestamp>| time.map(Timestamp::as_secs);
    object(json!({
        "id": key.id,
        "name": key.name,
        "workspace": key.home.workspace,
        "project": key.home.project,
        "team": key.home.team,
        "environment": key.home.environment,
        "models": key.models,
        "modalities": key.modalities,
        "created_at": key.created_at.as_secs(),
        "expires_at": seconds(key.expires_at),
        "last_used_at": seconds(key.last_used_at),
        "revoked_at": seconds(key.revoked_at),
    }))
}

/// A limit without its scope.
pub(super) fn limit(limit: &Limit) -> Value {
    let alert_at: Vec<_> = limit.alert_at.iter().map(|part| f64::from(*part) / 1_000.0).collect();
    json!({
        "modality": limit.key.modality,
        "model": limit.key.model,
        "measure": limit.key.measure,
        "amount": limit.key.measure.json(limit.amount),
        "per": limit.key.per,
        "mode": limit.mode,
        "alert_at": alert_at,
        "on_store_failure": limit.on_store_failure,
        "source": limit.source,
    })
}

/// What a limit has used, and what is left.
pub(super) fn limit_state(state: &LimitState) -> Value {
    let limit = &state.limit;
    let amount = |n| limit.key.measure.json(n);
    // A total never resets, and a slot is free when its request ends, whatever a store may say.
    let resets = !matches!(limit.key.per, None | Some(Per::Total));
    json!({
        "scope": limit.key.scope.to_string(),
        "modality": limit.key.modality,
        "model": limit.key.model,
        "measure": limit.key.measure,
        "per": limit.key.per,
        "mode": limit.mode,
        "source": limit.source,
        "amount": amount(limit.amount),
        "used": amount(state.used),
        "reserved": amount(state.reserved),
        "remaining": amount(state.remaining),
        // Rounded up: at the second told, it has happened.
        "resets_at": state.resets_at.filter(|_| resets).map(|at| at.as_nanos().div_ceil(1_000_000_000)),
    })
}

/// A request record.
pub(super) fn record(record: &UsageRecord) -> Value {
    json!({
        "id": record.id,
        "request_id": record.request_id,
        "time": record.time.as_secs_millis(),
        "workspace": record.home.workspace,
        "project": record.home.project,
        "team": record.home.team,
        "environment": record.home.environment,
        "key_id": record.key_id,
        "endpoint": record.endpoint,
        "modality": record.modality.map(Modality::as_str),
        "model": record.model,
        "provider": record.provider,
        "upstream_model": record.upstream_model,
        "upstream_request_id": record.upstream_request_id,
        "status": record.status,
        "code": record.code,
        "outcome": record.outcome.map(Outcome::as_str),
        "streamed": record.streamed,
        "latency_ms": record.latency_ms,
        "first_byte_ms": record.first_byte_ms,
        "usage": usage(&record.usage),
        "estimated": record.estimated,
        "cost_usd": record.cost,
    })
}

/// A group of a usage report.
pub(super) fn usage_row(by: &[GroupBy], row: UsageRow) -> Value {
    let mut columns: Map<_, _> =
        by.iter().zip(row.group).map(|(group, value)| (group_name(*group).to_owned(), json!(value))).collect();
    columns.insert("requests".to_owned(), json!(row.requests));
    columns.insert("errors".to_owned(), json!(row.errors));
    columns.append(&mut usage(&row.usage));
    columns.insert("cost_usd".to_owned(), json!(row.cost));
    Value::Object(columns)
}

/// An entry of the audit trail.
pub(super) fn audit(entry: AuditEntry) -> Value {
    json!({
        "id": entry.id,
        "time": entry.time.as_secs_millis(),
        "actor": entry.actor,
        "action": entry.action,
        "target": entry.target,
        "detail": entry.detail,
    })
}

fn usage(usage: &Usage) -> Map<String, Value> {
    object(json!({
        "input_tokens": usage.input_tokens,
        "cached_input_tokens": usage.cached_input_tokens,
        "cache_write_tokens": usage.cache_write_tokens,
        "output_tokens": usage.output_tokens,
        "reasoning_tokens": usage.reasoning_tokens,
        "images": usage.images,
        "video_seconds": usage.video_seconds,
        "audio_seconds": usage.audio_seconds,
        "characters": usage.characters,
    }))
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}
