//! What is to be announced, and where to.

use std::sync::Arc;

use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::base::clock::Timestamp;
use crate::base::secret::Secret;
use crate::base::store_future::StoreFuture;
use crate::domain::delivery::{Delivery, DeliveryState};
use crate::domain::webhook::Endpoint;
use crate::store::error::{StoreError, StoreResult};
use crate::store::jobs::Outbox;
use crate::store::tables::{Page, PageOf};
use crate::store::webhooks::{EndpointStore, SignedEndpoint};

use super::jobs::not_of_this_list;
use super::row::word;
use super::{PostgresStore, nanos, patient, signed, unsigned};

const PUSH: &str = "INSERT INTO kancy_outbox (id, endpoint_id, state, attempts, last_status, due_at, delivery) \
     SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::integer[], $5::integer[], $6::bigint[], $7::text[]) \
     ON CONFLICT (id) DO NOTHING";
const CLAIM_DUE: &str = "WITH due AS (SELECT seq, due_at FROM kancy_outbox WHERE due_at <= $1 \
         ORDER BY due_at, seq LIMIT $3 FOR UPDATE SKIP LOCKED), \
     leased AS (UPDATE kancy_outbox AS o SET due_at = $2 FROM due WHERE o.seq = due.seq \
         RETURNING o.delivery, o.state, o.attempts, o.last_status, o.due_at, due.due_at AS since, due.seq) \
     SELECT delivery, state, attempts, last_status, due_at FROM leased ORDER BY since, seq";
const ATTEMPTED: &str = "UPDATE kancy_outbox SET state = $2, attempts = $3, last_status = $4, due_at = $5 \
     WHERE id = $1 AND attempts < $3";
const REDELIVER: &str = "UPDATE kancy_outbox SET state = 'pending', due_at = $2 WHERE id = $1 \
     RETURNING delivery, state, attempts, last_status, due_at";
const DROP_ENDPOINT: &str =
    "UPDATE kancy_outbox SET state = 'dropped', due_at = NULL WHERE endpoint_id = $1 AND state = 'pending'";
const PLACE: &str = "SELECT seq FROM kancy_outbox WHERE id = $1";
const LIST: &str = "SELECT delivery, state, attempts, last_status, due_at FROM kancy_outbox WHERE seq < $1 \
     ORDER BY seq DESC LIMIT $2";
const LIST_STATE: &str = "SELECT delivery, state, attempts, last_status, due_at FROM kancy_outbox WHERE seq < $1 \
     AND state = $3 ORDER BY seq DESC LIMIT $2";

/// Deliveries, by column.
#[derive(Default)]
pub(super) struct DeliveryRows {
    ids: Vec<String>,
    endpoints: Vec<String>,
    states: Vec<&'static str>,
    attempts: Vec<i32>,
    statuses: Vec<Option<i32>>,
    due: Vec<Option<i64>>,
    deliveries: Vec<String>,
}

impl DeliveryRows {
    pub(super) fn of(deliveries: &[Delivery]) -> StoreResult<Self> {
        let mut rows = Self::default();
        for delivery in deliveries {
            rows.ids.push(delivery.id.to_string());
            rows.endpoints.push(delivery.endpoint_id.to_string());
            rows.states.push(delivery.state.as_str());
            rows.attempts.push(attempts(delivery));
            rows.statuses.push(delivery.last_status.map(i32::from));
            rows.due.push(delivery.due_at.map(nanos));
            rows.deliveries.push(serde_json::to_string(delivery).map_err(StoreError::corrupt)?);
        }
        Ok(rows)
    }

    pub(super) fn columns(&self) -> [&(dyn ToSql + Sync); 7] {
        [&self.ids, &self.endpoints, &self.states, &self.attempts, &self.statuses, &self.due, &self.deliveries]
    }
}

impl Outbox for PostgresStore {
    fn push(&self, deliveries: Vec<Delivery>) -> StoreFuture<StoreResult<()>> {
        if deliveries.is_empty() {
            return StoreFuture::ready(Ok(()));
        }
        let shared = Arc::clone(&self.0.shared);
        StoreFuture::new(patient(async move {
            shared.execute(PUSH, &DeliveryRows::of(&deliveries)?.columns()).await.map(drop)
        }))
    }

    fn claim_due(&self, now: Timestamp, until: Timestamp, limit: usize) -> StoreFuture<StoreResult<Vec<Delivery>>> {
        let shared = Arc::clone(&self.0.shared);
        StoreFuture::new(patient(async move {
            let values: [&(dyn ToSql + Sync); 3] = [&nanos(now), &nanos(until), &signed(limit as u64)];
            shared.query(CLAIM_DUE, &values).await?.iter().map(read).collect()
        }))
    }

    fn attempted(&self, delivery: Delivery) -> StoreFuture<StoreResult<()>> {
        let shared = Arc::clone(&self.0.shared);
        StoreFuture::new(patient(async move {
            let values: [&(dyn ToSql + Sync); 5] = [
                &&*delivery.id,
                &delivery.state.as_str(),
                &attempts(&delivery),
                &delivery.last_status.map(i32::from),
                &delivery.due_at.map(nanos),
            ];
            shared.execute(ATTEMPTED, &values).await.map(drop)
        }))
    }

    fn redeliver(&self, id: &str, now: Timestamp) -> StoreFuture<StoreResult<Option<Delivery>>> {
        let (shared, id) = (Arc::clone(&self.0.shared), id.to_owned());
        StoreFuture::new(patient(async move {
            shared.query(REDELIVER, &[&id, &nanos(now)]).await?.first().map(read).transpose()
        }))
    }

    fn drop_endpoint(&self, endpoint_id: &str) -> StoreFuture<StoreResult<()>> {
        let (shared, id) = (Arc::clone(&self.0.shared), endpoint_id.to_owned());
        StoreFuture::new(patient(async move { shared.execute(DROP_ENDPOINT, &[&id]).await.map(drop) }))
    }

    fn deliveries(&self, wanted: Option<DeliveryState>, page: Page) -> StoreFuture<StoreResult<PageOf<Delivery>>> {
        let shared = Arc::clone(&self.0.shared);
        StoreFuture::new(patient(async move {
            let before: i64 = match &page.after {
                None => i64::MAX,
                Some(id) => shared.query(PLACE, &[id]).await?.first().ok_or_else(not_of_this_list)?.get(0),
            };
            let most = signed(page.limit as u64).saturating_add(1);
            let rows = match wanted.map(DeliveryState::as_str) {
                None => shared.query(LIST, &[&before, &most]).await?,
                Some(state) => shared.query(LIST_STATE, &[&before, &most, &state]).await?,
            };
            let mut items = rows.iter().map(read).collect::<StoreResult<Vec<_>>>()?;
            let more = items.len() > page.limit;
            items.truncate(page.limit);
            let next = items.last().filter(|_| more).map(|delivery| delivery.id.to_string());
            Ok(PageOf { items, next })
        }))
    }
}

fn attempts(delivery: &Delivery) -> i32 {
    i32::try_from(delivery.attempts).unwrap_or(i32::MAX)
}

/// A delivery from its JSON and the columns that change.
fn read(row: &Row) -> StoreResult<Delivery> {
    let delivery: Delivery = serde_json::from_str(row.get(0)).map_err(StoreError::corrupt)?;
    Ok(Delivery {
        state: word(row.get(1))?,
        attempts: u32::try_from(row.get::<_, i32>(2)).unwrap_or(0),
        last_status: row.get::<_, Option<i32>>(3).and_then(|status| u16::try_from(status).ok()),
        due_at: row.get::<_, Option<i64>>(4).map(|at| Timestamp::from_nanos(unsigned(at))),
        ..delivery
    })
}

impl EndpointStore for PostgresStore {
    fn all(&self) -> StoreFuture<StoreResult<Vec<SignedEndpoint>>> {
        let shared = Arc::clone(&self.0.shared);
        StoreFuture::new(patient(async move {
            let rows = shared.query("SELECT endpoint, secrets FROM kancy_endpoints ORDER BY seq", &[]).await?;
            let read = |row: &Row| {
                let endpoint: Endpoint = serde_json::from_str(row.get(0)).map_err(StoreError::corrupt)?;
                let secrets: Vec<&str> = row.get(1);
                Ok((endpoint, secrets.into_iter().map(Secret::from).collect()))
            };
            rows.iter().map(read).collect()
        }))
    }

    fn put(&self, endpoint: Endpoint, secrets: Vec<Secret>) -> StoreFuture<StoreResult<()>> {
        let shared = Arc::clone(&self.0.shared);
        StoreFuture::new(patient(async move {
            let put = "INSERT INTO kancy_endpoints (id, endpoint, secrets) VALUES ($1, $2, $3) \
                 ON CONFLICT (id) DO UPDATE SET endpoint = excluded.endpoint, secrets = excluded.secrets";
            let kept = serde_json::to_string(&endpoint).map_err(StoreError::corrupt)?;
            let secrets: Vec<_> = secrets.iter().map(Secret::expose).collect();
            shared.execute(put, &[&&*endpoint.id, &kept, &secrets]).await.map(drop)
        }))
    }

    fn remove(&self, id: &str) -> StoreFuture<StoreResult<bool>> {
        let (shared, id) = (Arc::clone(&self.0.shared), id.to_owned());
        StoreFuture::new(patient(async move {
            Ok(shared.execute("DELETE FROM kancy_endpoints WHERE id = $1", &[&id]).await? > 0)
        }))
    }
}
