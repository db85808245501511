//! The outbox of webhooks, and the endpoints that they go to.

use rusqlite::{Connection, Row, params};

use crate::base::clock::Timestamp;
use crate::base::secret::Secret;
use crate::base::store_future::StoreFuture;
use crate::domain::delivery::{Delivery, DeliveryState};
use crate::domain::webhook::Endpoint;
use crate::store::error::StoreResult;
use crate::store::jobs::Outbox;
use crate::store::tables::{Page, PageOf};
use crate::store::webhooks::{EndpointStore, SignedEndpoint};

use super::columns::{Json, Word};
use super::tables::{bad_cursor, execute, rows_of};
use super::{SqliteStore, nanos, query, time};

/// What [`read`] reads.
const COLUMNS: &str = "delivery, state, attempts, last_status, due_at, leased_until";

/// What a process that is gone had under way is nobody's now.
pub(super) const RECOVER: &str = "UPDATE outbox SET leased_until = NULL WHERE leased_until IS NOT NULL";

impl Outbox for SqliteStore {
    fn push(&self, deliveries: Vec<Delivery>) -> StoreFuture<StoreResult<()>> {
        self.0.writer.run(move |connection| insert(connection, &deliveries))
    }

    fn claim_due(&self, now: Timestamp, until: Timestamp, limit: usize) -> StoreFuture<StoreResult<Vec<Delivery>>> {
        self.0.writer.run(move |connection| {
            let sql = format!(
                "SELECT {COLUMNS} FROM outbox WHERE due_at <= ?2 AND (leased_until IS NULL OR leased_until <= ?2) \
                 ORDER BY due_at LIMIT ?1"
            );
            let due = query(connection, &sql, params![rows_of(limit), nanos(now)], read)?;
            for delivery in &due {
                let sql = "UPDATE outbox SET leased_until = ?2 WHERE id = ?1";
                execute(connection, sql, params![delivery.id, nanos(until)])?;
            }
            Ok(due.into_iter().map(|delivery| Delivery { due_at: Some(until), ..delivery }).collect())
        })
    }

    fn attempted(&self, delivery: Delivery) -> StoreFuture<StoreResult<()>> {
        self.0.writer.run(move |connection| {
            let Delivery { id, state, attempts, last_status, due_at, .. } = &delivery;
            let sql = "UPDATE outbox SET state = ?2, attempts = ?3, last_status = ?4, due_at = ?5, leased_until = NULL \
                 WHERE id = ?1 AND attempts < ?3";
            let values = params![id, state.as_str(), attempts, last_status, due_at.map(nanos)];
            execute(connection, sql, values).map(drop)
        })
    }

    fn redeliver(&self, id: &str, now: Timestamp) -> StoreFuture<StoreResult<Option<Delivery>>> {
        let id = id.to_owned();
        self.0.writer.run(move |connection| {
            let sql = format!(
                "UPDATE outbox SET state = 'pending', due_at = ?2, leased_until = NULL WHERE id = ?1 RETURNING {COLUMNS}"
            );
            Ok(query(connection, &sql, params![id, nanos(now)], read)?.pop())
        })
    }

    fn drop_endpoint(&self, endpoint_id: &str) -> StoreFuture<StoreResult<()>> {
        let id = endpoint_id.to_owned();
        self.0.writer.run(move |connection| {
            let sql = "UPDATE outbox SET state = 'dropped', due_at = NULL, leased_until = NULL \
                 WHERE endpoint_id = ?1 AND state = 'pending'";
            execute(connection, sql, [id]).map(drop)
        })
    }

    fn deliveries(&self, wanted: Option<DeliveryState>, page: Page) -> StoreFuture<StoreResult<PageOf<Delivery>>> {
        self.0.readers.run(move |connection| {
            let wanted = wanted.map(DeliveryState::as_str);
            let from = match &page.after {
                None => i64::MAX,
                Some(id) => {
                    let sql = "SELECT seq FROM outbox WHERE id = ?1 AND (?2 IS NULL OR state = ?2)";
                    let seq = query(connection, sql, params![id, wanted], |row| row.get(0))?.pop();
                    seq.ok_or_else(bad_cursor)?
                }
            };
            let sql = format!(
                "SELECT {COLUMNS} FROM outbox WHERE seq < ?1 AND (?2 IS NULL OR state = ?2) ORDER BY seq DESC LIMIT ?3"
            );
            let mut items = query(connection, &sql, params![from, wanted, rows_of(page.limit) + 1], read)?;
            let more = items.len() > page.limit;
            items.truncate(page.limit);
            let next = items.last().filter(|_| more).map(|delivery| delivery.id.to_string());
            Ok(PageOf { items, next })
        })
    }
}

/// Puts deliveries into the outbox; those whose id is there stay as they are.
pub(super) fn insert(connection: &Connection, deliveries: &[Delivery]) -> StoreResult<()> {
    for delivery in deliveries {
        let Delivery { id, endpoint_id, state, attempts, last_status, due_at, .. } = delivery;
        let kept = serde_json::to_string(delivery).unwrap_or_default();
        let sql = "INSERT INTO outbox (id, endpoint_id, state, attempts, last_status, due_at, delivery) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (id) DO NOTHING";
        let values = params![id, endpoint_id, state.as_str(), attempts, last_status, due_at.map(nanos), kept];
        execute(connection, sql, values)?;
    }
    Ok(())
}

fn read(row: &Row<'_>) -> rusqlite::Result<Delivery> {
    let Json(delivery) = row.get::<_, Json<Delivery>>(0)?;
    let (due, leased) = (row.get::<_, Option<i64>>(4)?, row.get::<_, Option<i64>>(5)?);
    Ok(Delivery {
        state: row.get::<_, Word<DeliveryState>>(1)?.0,
        attempts: row.get(2)?,
        last_status: row.get(3)?,
        due_at: due.map(|due| time(due.max(leased.unwrap_or(due)))),
        ..delivery
    })
}

impl EndpointStore for SqliteStore {
    fn all(&self) -> StoreFuture<StoreResult<Vec<SignedEndpoint>>> {
        self.0.readers.run(|connection| {
            query(connection, "SELECT endpoint, secrets FROM endpoints ORDER BY seq", [], |row| {
                let (Json(endpoint), Json(secrets)) =
                    (row.get::<_, Json<Endpoint>>(0)?, row.get::<_, Json<Vec<String>>>(1)?);
                Ok((endpoint, secrets.into_iter().map(Secret::from).collect()))
            })
        })
    }

    fn put(&self, endpoint: Endpoint, secrets: Vec<Secret>) -> StoreFuture<StoreResult<()>> {
        let kept = serde_json::to_string(&endpoint).unwrap_or_default();
        let secrets: Vec<_> = secrets.iter().map(Secret::expose).collect();
        let secrets = serde_json::to_string(&secrets).unwrap_or_default();
        self.0.writer.run(move |connection| {
            let sql = "INSERT INTO endpoints (id, endpoint, secrets) VALUES (?1, ?2, ?3) \
                 ON CONFLICT (id) DO UPDATE SET endpoint = ?2, secrets = ?3";
            execute(connection, sql, params![endpoint.id, kept, secrets]).map(drop)
        })
    }

    fn remove(&self, id: &str) -> StoreFuture<StoreResult<bool>> {
        let id = id.to_owned();
        self.0.writer.run(move |connection| {
            execute(connection, "DELETE FROM endpoints WHERE id = ?1", [id]).map(|gone| gone > 0)
        })
    }
}
