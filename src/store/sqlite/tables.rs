//! The small tables: limits set by API, alerts, the audit trail.

use rusqlite::{Connection, Row, params};

use crate::base::clock::Timestamp;
use crate::base::store_future::StoreFuture;
use crate::domain::alert::Alert;
use crate::domain::limit::{Limit, Scope};
use crate::store::error::{StoreError, StoreErrorKind, StoreResult};
use crate::store::kept::{KeptAlert, KeptLimit};
use crate::store::tables::{AlertStore, AuditEntry, AuditStore, LimitStore, Page, PageOf};

use super::columns::Json;
use super::{SqliteStore, failed, nanos, query};

/// The row number before which a page starts.
pub(super) fn before(page: &Page) -> StoreResult<Option<i64>> {
    page.after.as_deref().map(str::parse).transpose().map_err(|_| bad_cursor())
}

pub(super) fn bad_cursor() -> StoreError {
    StoreError::new(StoreErrorKind::Refused, "the cursor is none of this list: take `next` of the page before")
}

/// A page of rows, of which one more was read than is shown.
pub(super) fn page_of<T>(mut rows: Vec<(T, i64)>, limit: usize) -> PageOf<T> {
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().filter(|_| more).map(|(_, seq)| seq.to_string());
    PageOf { items: rows.into_iter().map(|(item, _)| item).collect(), next }
}

/// Runs a statement; returns how many rows it changed.
pub(super) fn execute(connection: &Connection, sql: &str, values: impl rusqlite::Params) -> StoreResult<usize> {
    let done = connection.prepare_cached(sql).and_then(|mut statement| statement.execute(values));
    done.map_err(|e| failed(&e))
}

/// So many rows, as a `LIMIT` takes it; one more can be added.
pub(super) fn rows_of(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX - 1)
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
    let rows = query(connection, &sql, params![before, rows_of(page.limit) + 1], |row| Ok((read(row)?, row.get(0)?)))?;
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
        self.0.writer.run(move |connection| {
            let done = match kept.is_empty() {
                true => execute(connection, "DELETE FROM limits WHERE scope = ?1", [scope.to_string()]),
                false => execute(
                    connection,
                    "INSERT INTO limits (scope, limits) VALUES (?1, ?2) ON CONFLICT (scope) DO UPDATE SET limits = ?2",
                    [scope.to_string(), json],
                ),
            };
            done.map(drop)
        })
    }
}

impl AlertStore for SqliteStore {
    fn raise(&self, alert: Alert) {
        let (limit, source) = (&alert.limit.key, alert.limit.source);
        let key = (limit.scope.to_string(), limit.modality, &limit.model, limit.measure, limit.per, source);
        let mark = serde_json::to_string(&(key, alert.window_start, alert.threshold)).unwrap_or_default();
        let json = serde_json::to_string(&KeptAlert::of(&alert)).unwrap_or_default();
        let time = nanos(alert.time);
        // Nobody waits for it.
        drop(self.0.writer.run(move |connection| {
            execute(
                connection,
                "INSERT INTO alerts (id, time, mark, alert) VALUES (?1, ?2, ?3, ?4) ON CONFLICT (mark) DO NOTHING",
                params![&*alert.id, time, mark, json],
            )
            .map(drop)
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
            .map(drop)
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
