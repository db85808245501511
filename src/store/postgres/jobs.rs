//! Video jobs. Work is shared out by leases: whoever looks for some passes over the rows that others are taking.

use std::sync::Arc;

use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::base::clock::Timestamp;
use crate::base::store_future::StoreFuture;
use crate::domain::delivery::Delivery;
use crate::domain::job::Job;
use crate::domain::name::Name;
use crate::store::error::{StoreError, StoreErrorKind, StoreResult};
use crate::store::jobs::{JobFilter, JobStore, Put, REMEMBERED};
use crate::store::tables::{Page, PageOf};

use super::outbox::DeliveryRows;
use super::{PostgresStore, Shared, nanos, patient, signed, unsigned};

/// Takes a key from the job of another day.
const FORGET: &str = "UPDATE kancy_jobs SET idempotency_key = NULL \
     WHERE key_id = $1 AND idempotency_key = $2 AND created_at <= $3";
const INSERT: &str = "INSERT INTO kancy_jobs (id, version, record_id, workspace, project, environment, key_id, model, \
         state, created_at, due_at, idempotency_key, job) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) \
     ON CONFLICT (key_id, idempotency_key) WHERE idempotency_key IS NOT NULL DO NOTHING";
const TWIN: &str = "SELECT job, due_at FROM kancy_jobs WHERE key_id = $1 AND idempotency_key = $2";
const GET: &str = "SELECT job, due_at FROM kancy_jobs WHERE id = $1";
/// The change and what it announces in one statement, which is one transaction.
const REPLACE: &str = "WITH changed AS (UPDATE kancy_jobs \
         SET version = version + 1, record_id = $3, state = $4, due_at = $5, job = $6 \
         WHERE id = $1 AND version = $2 RETURNING id), \
     announced AS (INSERT INTO kancy_outbox (id, endpoint_id, state, attempts, last_status, due_at, delivery) \
         SELECT d.* FROM changed, unnest($7::text[], $8::text[], $9::text[], $10::integer[], $11::integer[], \
             $12::bigint[], $13::text[]) AS d ON CONFLICT (id) DO NOTHING) \
     SELECT id FROM changed";
const CLAIM: &str = "UPDATE kancy_jobs SET due_at = $3 WHERE id = $1 AND due_at <= $2 RETURNING job, due_at";
const DUE: &str = "WITH due AS (SELECT seq, due_at FROM kancy_jobs WHERE due_at <= $1 \
         ORDER BY due_at, seq LIMIT $3 FOR UPDATE SKIP LOCKED), \
     leased AS (UPDATE kancy_jobs SET due_at = $2 FROM due WHERE kancy_jobs.seq = due.seq \
         RETURNING job, kancy_jobs.due_at, due.due_at AS since, due.seq) \
     SELECT job, due_at FROM leased ORDER BY since, seq";
const NUDGE: &str = "UPDATE kancy_jobs SET due_at = $2 WHERE id = $1 AND state IN ('queued', 'in_progress')";
const UNSETTLED: &str =
    "SELECT job, due_at, seq FROM kancy_jobs WHERE due_at IS NOT NULL AND seq > $1 ORDER BY seq LIMIT $2";
const REMOVE: &str = "DELETE FROM kancy_jobs WHERE id = $1 AND version = $2";
/// What a listing may show at all.
const OWN: &str = "workspace = $1 AND project = $2 AND environment IS NOT DISTINCT FROM $3";

impl JobStore for PostgresStore {
    fn put(&self, job: Job) -> StoreFuture<StoreResult<Put>> {
        let shared = Arc::clone(&self.0.shared);
        StoreFuture::new(patient(async move {
            loop {
                if insert(&shared, &job).await? {
                    return Ok(Put::New);
                }
                // Where it has been removed meanwhile, this one is the first.
                if let Some(twin) = twin(&shared, &job).await? {
                    let body = |job: &Job| job.idempotency.as_ref().map(|used| Arc::clone(&used.body));
                    let same = body(&twin) == body(&job);
                    return Ok(if same { Put::Known(Box::new(twin)) } else { Put::Reused });
                }
            }
        }))
    }

    fn twin(&self, key_id: &str, idempotency_key: &str, now: Timestamp) -> StoreFuture<StoreResult<Option<Job>>> {
        let shared = Arc::clone(&self.0.shared);
        let (key_id, idempotency_key) = (key_id.to_owned(), idempotency_key.to_owned());
        StoreFuture::new(patient(async move {
            let twin = one(shared.query(TWIN, &[&key_id, &idempotency_key]).await?)?;
            Ok(twin.filter(|twin| now.since(twin.created_at) < REMEMBERED))
        }))
    }

    fn get(&self, id: &str) -> StoreFuture<StoreResult<Option<Job>>> {
        let (shared, id) = (Arc::clone(&self.0.shared), id.to_owned());
        StoreFuture::new(patient(async move { one(shared.query(GET, &[&id]).await?) }))
    }

    fn replace(&self, mut job: Job, deliveries: Vec<Delivery>) -> StoreFuture<StoreResult<Option<Job>>> {
        let shared = Arc::clone(&self.0.shared);
        StoreFuture::new(patient(async move {
            let version = signed(job.version);
            job.version += 1;
            let (id, record, state, due) = (&*job.id, record_id(&job), job.state.as_str(), job.due_at.map(nanos));
            let (kept, announced) = (kept(&job)?, DeliveryRows::of(&deliveries)?);
            let change: [&(dyn ToSql + Sync); 6] = [&id, &version, &record, &state, &due, &kept];
            let values: Vec<_> = change.into_iter().chain(announced.columns()).collect();
            let changed = shared.query(REPLACE, &values).await?;
            Ok((!changed.is_empty()).then_some(job))
        }))
    }

    fn claim(&self, id: &str, now: Timestamp, until: Timestamp) -> StoreFuture<StoreResult<Option<Job>>> {
        let (shared, id) = (Arc::clone(&self.0.shared), id.to_owned());
        StoreFuture::new(patient(async move { one(shared.query(CLAIM, &[&id, &nanos(now), &nanos(until)]).await?) }))
    }

    fn due(&self, now: Timestamp, until: Timestamp, limit: usize) -> StoreFuture<StoreResult<Vec<Job>>> {
        let shared = Arc::clone(&self.0.shared);
        StoreFuture::new(patient(async move {
            let values: [&(dyn ToSql + Sync); 3] = [&nanos(now), &nanos(until), &signed(limit as u64)];
            shared.query(DUE, &values).await?.iter().map(read).collect()
        }))
    }

    fn nudge(&self, id: &str, now: Timestamp) -> StoreFuture<StoreResult<()>> {
        let (shared, id) = (Arc::clone(&self.0.shared), id.to_owned());
        StoreFuture::new(patient(async move { shared.execute(NUDGE, &[&id, &nanos(now)]).await.map(drop) }))
    }

    fn unsettled(&self, page: Page) -> StoreFuture<StoreResult<PageOf<Job>>> {
        let shared = Arc::clone(&self.0.shared);
        StoreFuture::new(patient(async move { unsettled(&shared, &page).await }))
    }

    fn list(&self, filter: JobFilter, page: Page) -> StoreFuture<StoreResult<PageOf<Job>>> {
        let shared = Arc::clone(&self.0.shared);
        StoreFuture::new(patient(async move { list(&shared, &filter, &page).await }))
    }

    fn remove(&self, id: &str, version: u64) -> StoreFuture<StoreResult<bool>> {
        let (shared, id) = (Arc::clone(&self.0.shared), id.to_owned());
        StoreFuture::new(patient(async move { Ok(shared.execute(REMOVE, &[&id, &signed(version)]).await? > 0) }))
    }
}

/// Inserts the job; `false` where its idempotency key is taken. Of two at the same time one waits for the other.
async fn insert(shared: &Shared, job: &Job) -> StoreResult<bool> {
    let used = job.idempotency.as_ref().map(|used| &*used.key);
    if let Some(key) = used {
        let day_before = nanos(job.created_at.minus(REMEMBERED));
        shared.execute(FORGET, &[&&*job.key_id, &key, &day_before]).await?;
    }
    let home = &job.home;
    let values: [&(dyn ToSql + Sync); 13] = [
        &&*job.id,
        &signed(job.version),
        &record_id(job),
        &home.workspace.as_str(),
        &home.project.as_str(),
        &home.environment.as_ref().map(Name::as_str),
        &&*job.key_id,
        &&*job.model,
        &job.state.as_str(),
        &nanos(job.created_at),
        &job.due_at.map(nanos),
        &used,
        &kept(job)?,
    ];
    Ok(shared.execute(INSERT, &values).await? > 0)
}

/// The job that has the idempotency key of `job`.
async fn twin(shared: &Shared, job: &Job) -> StoreResult<Option<Job>> {
    let used = job.idempotency.as_ref().map(|used| &*used.key);
    one(shared.query(TWIN, &[&&*job.key_id, &used]).await?)
}

/// A cursor is a row's number.
async fn unsettled(shared: &Shared, page: &Page) -> StoreResult<PageOf<Job>> {
    let after = page.after.as_deref().map_or(Ok(0), str::parse::<i64>).map_err(|_| not_of_this_list())?;
    let most = signed(page.limit as u64).saturating_add(1);
    let mut rows = shared.query(UNSETTLED, &[&after, &most]).await?;
    let more = rows.len() > page.limit;
    rows.truncate(page.limit);
    let next = rows.last().filter(|_| more).map(|row| row.get::<_, i64>(2).to_string());
    Ok(PageOf { items: rows.iter().map(read).collect::<StoreResult<_>>()?, next })
}

async fn list(shared: &Shared, filter: &JobFilter, page: &Page) -> StoreResult<PageOf<Job>> {
    let state = filter.state.map(|state| state.as_str());
    let mut values: Vec<&(dyn ToSql + Sync)> = vec![&filter.workspace, &filter.project, &filter.environment];
    let from: i64 = match &page.after {
        None if filter.ascending => 0,
        None => i64::MAX,
        Some(id) => {
            let find = format!("SELECT seq FROM kancy_jobs WHERE {OWN} AND id = $4");
            let found = shared.query(&find, &[values[0], values[1], values[2], id]).await?;
            found.first().ok_or_else(not_of_this_list)?.get(0)
        }
    };
    let (beyond, order) = if filter.ascending { (">", "ASC") } else { ("<", "DESC") };
    let select = format!(
        "SELECT job, due_at FROM kancy_jobs WHERE {OWN} AND seq {beyond} $4 \
         AND ($5::text IS NULL OR state = $5) AND ($6::text IS NULL OR model = $6) ORDER BY seq {order} LIMIT $7"
    );
    let most = signed(page.limit as u64).saturating_add(1);
    values.extend([&from as &(dyn ToSql + Sync), &state, &filter.model, &most]);
    let mut items = shared.query(&select, &values).await?.iter().map(read).collect::<StoreResult<Vec<_>>>()?;
    let more = items.len() > page.limit;
    items.truncate(page.limit);
    let next = items.last().filter(|_| more).map(|job| job.id.to_string());
    Ok(PageOf { items, next })
}

pub(super) fn not_of_this_list() -> StoreError {
    StoreError::new(StoreErrorKind::Refused, "the cursor is none of this list")
}

fn record_id(job: &Job) -> Option<&str> {
    job.record.as_ref().map(|record| &*record.id)
}

fn kept(job: &Job) -> StoreResult<String> {
    serde_json::to_string(job).map_err(StoreError::corrupt)
}

fn one(rows: Vec<Row>) -> StoreResult<Option<Job>> {
    rows.first().map(read).transpose()
}

/// A job from its JSON and its due time.
fn read(row: &Row) -> StoreResult<Job> {
    let job: Job = serde_json::from_str(row.get(0)).map_err(StoreError::corrupt)?;
    let due_at = row.get::<_, Option<i64>>(1).map(|at| Timestamp::from_nanos(unsigned(at)));
    Ok(Job { due_at, ..job })
}
