//! The small tables: limits set by API, alerts, the audit trail.

use std::sync::Arc;

use rusqlite::{Connection, Row, params};
use serde::{Deserialize, Serialize};

use crate::base::clock::Timestamp;
use crate::base::store_future::StoreFuture;
use crate::domain::alert::Alert;
use crate::domain::limit::{Limit, LimitKey, LimitSource, Measure, Mode, OnStoreFailure, Per, Scope};
use crate::domain::modality::Modality;
use crate::store::error::{StoreError, StoreErrorKind, StoreResult};
use crate::store::tables::{AlertStore, AuditEntry, AuditStore, LimitStore, Page, PageOf};

use super::columns::Json;
use super::{SqliteStore, failed, nanos, query};

/// The row number before which a page starts.
fn before(page: &Page) -> StoreResult<Option<i64>> {
    page.after.as_deref().map(str::parse).transpose().map_err(|_| bad_cursor())
}

pub(super) fn bad_cursor() -> StoreError {
    StoreError::new(StoreErrorKind::Refused, "the cursor is none of this list: take `next` of the page before")
}

/// A page of rows, of which one more was read than is shown.
fn page_of<T>(mut rows: Vec<(T, i64)>, limit: usize) -> PageOf<T> {
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().filter(|_| more).map(|(_, seq)| seq.to_string());
    PageOf { items: rows.into_iter().map(|(item, _)| item).collect(), next }
}

fn execute(connection: &Connection, sql: &str, values: impl rusqlite::Params) -> StoreResult<()> {
    let done = connection.prepare_cached(sql).and_then(|mut statement| statement.execute(values));
    done.map(drop).map_err(|e| failed(&e))
}

/// A page of a table: `columns` and the row's number, newest first.
fn list<T>(
    connection: &Connection,
    table: &str,
    columns: &str,
    page: &Page,
    read: impl Fn(&Row<'_>) -> rusqlite::Result<T>,
) -> StoreResult<PageOf<T>> {
    let before = before(page)?.unwrap_or(i64::MAX);
    let sql = format!("SELECT seq, {columns} FROM {table} WHERE seq < ?1 ORDER BY seq DESC LIMIT ?2");
    let limit = i64::try_from(page.limit).unwrap_or(i64::MAX - 1) + 1;
    let rows = query(connection, &sql, params![before, limit], |row| Ok((read(row)?, row.get(0)?)))?;
    Ok(page_of(rows, page.limit))
}

impl LimitStore for SqliteStore {
    fn all(&self) -> StoreFuture<StoreResult<Vec<Limit>>> {
        self.0.readers.run(|connection| {
            let sql = "SELECT limits FROM limits ORDER BY scope";
            let sets = query(connection, sql, [], |row| row.get::<_, Json<Vec<KeptLimit>>>(0))?;
            sets.into_iter().flat_map(|Json(set)| set).map(KeptLimit::limit).collect()
        })
    }

    fn put(&self, scope: Scope, limits: Vec<Limit>) -> StoreFuture<StoreResult<()>> {
        let kept: Vec<_> = limits.iter().map(KeptLimit::of).collect();
        let json = serde_json::to_string(&kept).unwrap_or_default();
        self.0.writer.run(move |connection| match kept.is_empty() {
            true => execute(connection, "DELETE FROM limits WHERE scope = ?1", [scope.to_string()]),
            false => execute(
                connection,
                "INSERT INTO limits (scope, limits) VALUES (?1, ?2) ON CONFLICT (scope) DO UPDATE SET limits = ?2",
                [scope.to_string(), json],
            ),
        })
    }
}

impl AlertStore for SqliteStore {
    fn raise(&self, alert: Alert) {
        let kept = KeptAlert::of(&alert);
        let (limit, window, threshold) = (&kept.limit, kept.window_start, kept.threshold);
        let key = (&limit.scope, limit.modality, &limit.model, limit.measure, limit.per, limit.source);
        let mark = serde_json::to_string(&(key, window, threshold)).unwrap_or_default();
        let json = serde_json::to_string(&kept).unwrap_or_default();
        let time = nanos(alert.time);
        // Nobody waits for it.
        drop(self.0.writer.run(move |connection| {
            execute(
                connection,
                "INSERT INTO alerts (id, time, mark, alert) VALUES (?1, ?2, ?3, ?4) ON CONFLICT (mark) DO NOTHING",
                params![&*alert.id, time, mark, json],
            )
        }));
    }

    fn list(&self, page: Page) -> StoreFuture<StoreResult<PageOf<Alert>>> {
        self.0.readers.run(move |connection| {
            let page = list(connection, "alerts", "alert", &page, |row| row.get::<_, Json<KeptAlert>>(1))?;
            let items = page.items.into_iter().map(|Json(kept)| kept.alert()).collect::<Result<_, _>>()?;
            Ok(PageOf { items, next: page.next })
        })
    }
}

impl AuditStore for SqliteStore {
    fn append(&self, entry: AuditEntry) -> StoreFuture<StoreResult<()>> {
        let time = nanos(entry.time);
        self.0.writer.run(move |connection| {
            execute(
                connection,
                "INSERT INTO audit (id, time, actor, action, target, detail) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![&*entry.id, time, &*entry.actor, entry.action, entry.target, entry.detail.to_string()],
            )
        })
    }

    fn list(&self, page: Page) -> StoreFuture<StoreResult<PageOf<AuditEntry>>> {
        self.0.readers.run(move |connection| {
            list(connection, "audit", "id, time, actor, action, target, detail", &page, |row| {
                Ok(AuditEntry {
                    id: row.get(1)?,
                    time: Timestamp::from_nanos(row.get::<_, i64>(2)?.max(0) as u64),
                    actor: row.get(3)?,
                    action: row.get::<_, String>(4)?.into(),
                    target: row.get(5)?,
                    detail: row.get::<_, Json<serde_json::Value>>(6)?.0,
                })
            })
        })
    }
}

/// A limit as it is kept.
#[derive(Serialize, Deserialize)]
struct KeptLimit {
    scope: String,
    modality: Option<Modality>,
    model: Option<Arc<str>>,
    measure: Measure,
    per: Option<Per>,
    amount: u64,
    mode: Mode,
    alert_at: Vec<u32>,
    on_store_failure: Option<OnStoreFailure>,
    source: LimitSource,
}

impl KeptLimit {
    fn of(limit: &Limit) -> Self {
        let key = &limit.key;
        Self {
            scope: key.scope.to_string(),
            modality: key.modality,
            model: key.model.clone(),
            measure: key.measure,
            per: key.per,
            amount: limit.amount,
            mode: limit.mode,
            alert_at: limit.alert_at.clone(),
            on_store_failure: limit.on_store_failure,
            source: limit.source,
        }
    }

    fn limit(self) -> StoreResult<Limit> {
        let scope = self.scope.parse::<Scope>().map_err(|e| StoreError::new(StoreErrorKind::Corrupt, e))?;
        let key = LimitKey { scope, modality: self.modality, model: self.model, measure: self.measure, per: self.per };
        Ok(Limit {
            key,
            amount: self.amount,
            mode: self.mode,
            alert_at: self.alert_at,
            on_store_failure: self.on_store_failure,
            source: self.source,
        })
    }
}

/// An alert as it is kept.
#[derive(Serialize, Deserialize)]
struct KeptAlert {
    id: Arc<str>,
    time: Timestamp,
    limit: KeptLimit,
    window_start: Option<Timestamp>,
    threshold: u32,
    used: u64,
}

impl KeptAlert {
    fn of(alert: &Alert) -> Self {
        Self {
            id: Arc::clone(&alert.id),
            time: alert.time,
            limit: KeptLimit::of(&alert.limit),
            window_start: alert.window_start,
            threshold: alert.threshold,
            used: alert.used,
        }
    }

    fn alert(self) -> StoreResult<Alert> {
        Ok(Alert {
            id: self.id,
            time: self.time,
            limit: Arc::new(self.limit.limit()?),
            window_start: self.window_start,
            threshold: self.threshold,
            used: self.used,
        })
    }
}
