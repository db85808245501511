//! Video jobs. A job is kept as JSON beside the columns that are asked for.

use rusqlite::{Connection, OptionalExtension, Row, named_params, params};

use crate::base::clock::Timestamp;
use crate::base::store_future::StoreFuture;
use crate::domain::delivery::Delivery;
use crate::domain::job::Job;
use crate::domain::name::Name;
use crate::store::error::StoreResult;
use crate::store::jobs::{JobFilter, JobStore, Put, REMEMBERED};
use crate::store::sql::signed;
use crate::store::tables::{Page, PageOf};

use super::columns::Json;
use super::tables::{bad_cursor, before, execute, page_of, rows_of};
use super::{SqliteStore, failed, nanos, outbox, query, time};

/// What [`read`] reads.
const COLUMNS: &str = "job, version, due_at, leased_until";

/// What a process that is gone had under way is nobody's now. A job that it was just making has no name at its vendor
/// and is looked at at once.
pub(super) const RECOVER: &str = "UPDATE jobs SET leased_until = NULL, \
     due_at = CASE WHEN job ->> '$.handle' IS NULL THEN min(due_at, created_at) ELSE due_at END \
     WHERE due_at IS NOT NULL";

impl JobStore for SqliteStore {
    fn put(&self, job: Job) -> StoreFuture<StoreResult<Put>> {
        self.0.writer.run(move |connection| {
            let used = job.idempotency.as_ref();
            let known = used.map(|used| twin(connection, &job.key_id, &used.key, job.created_at)).transpose()?;
            if let Some(known) = known.flatten() {
                let body = |job: &Job| job.idempotency.as_ref().map(|used| used.body.clone());
                return Ok(if body(&known) == body(&job) { Put::Known(Box::new(known)) } else { Put::Reused });
            }
            let sql = "INSERT INTO jobs (id, workspace, project, environment, model, state, version, created_at, due_at, \
                 record_id, key_id, idempotency_key, job) VALUES (:id, :workspace, :project, :environment, :model, :state, \
                 :version, :created_at, :due_at, :record_id, :key_id, :idempotency_key, :job)";
            let home = &job.home;
            let values = named_params! {
                ":id": job.id,
                ":workspace": home.workspace.as_str(),
                ":project": home.project.as_str(),
                ":environment": home.environment.as_ref().map(Name::as_str),
                ":model": job.model,
                ":state": job.state.as_str(),
                ":version": signed(job.version),
                ":created_at": nanos(job.created_at),
                ":due_at": job.due_at.map(nanos),
                ":record_id": job.record.as_ref().map(|record| record.id.as_str()),
                ":key_id": job.key_id,
                ":idempotency_key": job.idempotency.as_ref().map(|used| &used.key),
                ":job": json(&job),
            };
            execute(connection, sql, values).map(|_| Put::New)
        })
    }

    fn twin(&self, key_id: &str, idempotency_key: &str, now: Timestamp) -> StoreFuture<StoreResult<Option<Job>>> {
        let (key_id, idempotency_key) = (key_id.to_owned(), idempotency_key.to_owned());
        self.0.readers.run(move |connection| twin(connection, &key_id, &idempotency_key, now))
    }

    fn get(&self, id: &str) -> StoreFuture<StoreResult<Option<Job>>> {
        let id = id.to_owned();
        self.0.readers.run(move |connection| find(connection, "id = ?1", [id]))
    }

    fn replace(&self, mut job: Job, deliveries: Vec<Delivery>) -> StoreFuture<StoreResult<Option<Job>>> {
        self.0.writer.run(move |connection| {
            let version = signed(job.version);
            job.version += 1;
            let record_id = job.record.as_ref().map(|record| record.id.as_str());
            let values = params![job.id, version, job.state.as_str(), job.due_at.map(nanos), record_id, json(&job)];
            let sql = "UPDATE jobs SET version = version + 1, state = ?3, due_at = ?4, leased_until = NULL, \
                 record_id = ?5, job = ?6 WHERE id = ?1 AND version = ?2";
            if execute(connection, sql, values)? == 0 {
                return Ok(None);
            }
            outbox::insert(connection, &deliveries)?;
            Ok(Some(job))
        })
    }

    fn claim(&self, id: &str, now: Timestamp, until: Timestamp) -> StoreFuture<StoreResult<Option<Job>>> {
        let id = id.to_owned();
        self.0.writer.run(move |connection| {
            let sql = format!("UPDATE jobs SET leased_until = ?3 WHERE id = ?1 AND {DUE} RETURNING {COLUMNS}");
            Ok(query(connection, &sql, params![id, nanos(now), nanos(until)], read)?.pop())
        })
    }

    fn due(&self, now: Timestamp, until: Timestamp, limit: usize) -> StoreFuture<StoreResult<Vec<Job>>> {
        self.0.writer.run(move |connection| {
            let sql = format!("SELECT seq, {COLUMNS} FROM jobs WHERE {DUE} ORDER BY due_at LIMIT ?1");
            let found = query(connection, &sql, params![rows_of(limit), nanos(now)], |row| {
                Ok((row.get::<_, i64>(0)?, read_from(row, 1)?))
            })?;
            for (seq, _) in &found {
                execute(connection, "UPDATE jobs SET leased_until = ?2 WHERE seq = ?1", params![seq, nanos(until)])?;
            }
            Ok(found.into_iter().map(|(_, job)| Job { due_at: Some(until), ..job }).collect())
        })
    }

    fn nudge(&self, id: &str, now: Timestamp) -> StoreFuture<StoreResult<()>> {
        let id = id.to_owned();
        self.0.writer.run(move |connection| {
            let sql = "UPDATE jobs SET due_at = ?2, leased_until = NULL \
                 WHERE id = ?1 AND state IN ('queued', 'in_progress')";
            execute(connection, sql, params![id, nanos(now)]).map(drop)
        })
    }

    fn unsettled(&self, page: Page) -> StoreFuture<StoreResult<PageOf<Job>>> {
        self.0.readers.run(move |connection| {
            let after = before(&page)?.unwrap_or(0);
            let sql =
                format!("SELECT seq, {COLUMNS} FROM jobs WHERE due_at IS NOT NULL AND seq > ?1 ORDER BY seq LIMIT ?2");
            let rows = query(connection, &sql, params![after, rows_of(page.limit) + 1], |row| {
                Ok((read_from(row, 1)?, row.get(0)?))
            })?;
            Ok(page_of(rows, page.limit))
        })
    }

    fn list(&self, filter: JobFilter, page: Page) -> StoreFuture<StoreResult<PageOf<Job>>> {
        self.0.readers.run(move |connection| list(connection, &filter, &page))
    }

    fn remove(&self, id: &str, version: u64) -> StoreFuture<StoreResult<bool>> {
        let id = id.to_owned();
        self.0.writer.run(move |connection| {
            let sql = "DELETE FROM jobs WHERE id = ?1 AND version = ?2";
            execute(connection, sql, params![id, signed(version)]).map(|gone| gone > 0)
        })
    }
}

/// Due by `?2`, and under nobody's lease.
const DUE: &str = "due_at <= ?2 AND (leased_until IS NULL OR leased_until <= ?2)";

/// The job that used an idempotency key, while that is remembered.
fn twin(connection: &Connection, key_id: &str, idempotency_key: &str, now: Timestamp) -> StoreResult<Option<Job>> {
    let since = nanos(now.minus(REMEMBERED));
    let condition = "key_id = ?1 AND idempotency_key = ?2 AND created_at > ?3 ORDER BY created_at DESC LIMIT 1";
    find(connection, condition, params![key_id, idempotency_key, since])
}

/// The filter comes first, so that a cursor is looked for among what it shows.
fn list(connection: &Connection, filter: &JobFilter, page: &Page) -> StoreResult<PageOf<Job>> {
    const SHOWN: &str = "workspace = :workspace AND project = :project AND environment IS :environment \
         AND (:state IS NULL OR state = :state) AND (:model IS NULL OR model = :model)";
    let shown = named_params! {
        ":workspace": filter.workspace,
        ":project": filter.project,
        ":environment": filter.environment,
        ":state": filter.state.map(|state| state.as_str()),
        ":model": filter.model,
    };
    let from = match &page.after {
        None => None,
        Some(id) => {
            let sql = format!("SELECT seq FROM jobs WHERE id = :id AND {SHOWN}");
            let values: Vec<_> = shown.iter().copied().chain([(":id", id as &dyn rusqlite::ToSql)]).collect();
            let seq = query(connection, &sql, values.as_slice(), |row| row.get::<_, i64>(0))?.pop();
            Some(seq.ok_or_else(bad_cursor)?)
        }
    };
    let (beyond, order, start) = if filter.ascending { (">", "ASC", 0) } else { ("<", "DESC", i64::MAX) };
    let sql =
        format!("SELECT {COLUMNS} FROM jobs WHERE {SHOWN} AND seq {beyond} :from ORDER BY seq {order} LIMIT :limit");
    let (from, limit) = (from.unwrap_or(start), rows_of(page.limit) + 1);
    let rest: [(&str, &dyn rusqlite::ToSql); 2] = [(":from", &from), (":limit", &limit)];
    let values: Vec<_> = shown.iter().copied().chain(rest).collect();
    let mut items = query(connection, &sql, values.as_slice(), read)?;
    let more = items.len() > page.limit;
    items.truncate(page.limit);
    let next = items.last().filter(|_| more).map(|job| job.id.to_string());
    Ok(PageOf { items, next })
}

fn find(connection: &Connection, condition: &str, values: impl rusqlite::Params) -> StoreResult<Option<Job>> {
    connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM jobs WHERE {condition}"))
        .and_then(|mut statement| statement.query_row(values, read).optional())
        .map_err(|e| failed(&e))
}

fn read(row: &Row<'_>) -> rusqlite::Result<Job> {
    read_from(row, 0)
}

/// A job from [`COLUMNS`], the first of which is column `from`.
fn read_from(row: &Row<'_>, from: usize) -> rusqlite::Result<Job> {
    let Json(mut job) = row.get::<_, Json<Job>>(from)?;
    job.version = row.get::<_, i64>(from + 1)?.max(0) as u64;
    let (due, leased) = (row.get::<_, Option<i64>>(from + 2)?, row.get::<_, Option<i64>>(from + 3)?);
    job.due_at = due.map(|due| time(due.max(leased.unwrap_or(due))));
    Ok(job)
}

fn json(job: &Job) -> String {
    serde_json::to_string(job).unwrap_or_default()
}
