//! Stores of video jobs, and the outbox of what is announced about them.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::base::clock::Timestamp;
use crate::base::store_future::StoreFuture;
use crate::domain::delivery::{Delivery, DeliveryState};
use crate::domain::job::{Job, JobState};

use super::error::StoreResult;
use super::tables::{Page, PageOf};

/// How long an idempotency key is remembered.
pub const REMEMBERED: Duration = Duration::from_secs(24 * 3_600);

/// What became of a job that was put in.
#[derive(Clone, Debug, PartialEq)]
pub enum Put {
    /// It is stored.
    New,
    /// The calling key has used this idempotency key before, with the same body: this is the job of then.
    Known(Box<Job>),
    /// It has used it before, with another body.
    Reused,
}

/// Which jobs a listing shows: those of one project.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the filters of `GET /v1/videos/generations`")]
pub struct JobFilter {
    pub workspace: String,
    pub project: String,
    /// `None` = keys without an environment.
    pub environment: Option<String>,
    pub state: Option<JobState>,
    pub model: Option<String>,
    /// Oldest first instead of newest first.
    pub ascending: bool,
}

impl JobFilter {
    /// Whether the listing shows `job`.
    pub fn shows(&self, job: &Job) -> bool {
        job.home.workspace.as_str() == self.workspace
            && job.home.project.as_str() == self.project
            && job.home.environment.as_ref().map(|e| e.as_str()) == self.environment.as_deref()
            && self.state.is_none_or(|state| job.state == state)
            && self.model.as_deref().is_none_or(|model| *job.model == *model)
    }
}

/// Keeps video jobs.
///
/// Several instances may work on one store: a change is made by compare-and-set, and work is shared out by leases.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a store of jobs",
    note = "use `MemoryJobs`, or implement `JobStore` and `Outbox` and run `contract::jobs` on it"
)]
pub trait JobStore: fmt::Debug + Send + Sync + 'static {
    /// Stores a new job, unless its idempotency key was used by the same calling key within 24 hours.
    fn put(&self, job: Job) -> StoreFuture<StoreResult<Put>>;

    /// The job that was made under this idempotency key by the same calling key within 24 hours before `now`.
    fn twin(&self, key_id: &str, idempotency_key: &str, now: Timestamp) -> StoreFuture<StoreResult<Option<Job>>>;

    /// The job with this id.
    fn get(&self, id: &str) -> StoreFuture<StoreResult<Option<Job>>>;

    /// Replaces the stored job when its version is still `job.version`, stores it with the next version, and puts
    /// `deliveries` into the outbox: all of it or nothing. `None` = somebody else was first; else the job as it is stored now.
    fn replace(&self, job: Job, deliveries: Vec<Delivery>) -> StoreFuture<StoreResult<Option<Job>>>;

    /// Takes a lease on the job when it is due at `now`: nobody else is given it before `until`. `None` = it is not due.
    fn claim(&self, id: &str, now: Timestamp, until: Timestamp) -> StoreFuture<StoreResult<Option<Job>>>;

    /// Takes a lease on at most `limit` jobs that are due, longest due first.
    fn due(&self, now: Timestamp, until: Timestamp, limit: usize) -> StoreFuture<StoreResult<Vec<Job>>>;

    /// Makes a job that is not over due at `now`.
    fn nudge(&self, id: &str, now: Timestamp) -> StoreFuture<StoreResult<()>>;

    /// Jobs of any project that are not settled, open ones and ended ones, in the order of their making; cursors are the
    /// store's own.
    fn unsettled(&self, page: Page) -> StoreFuture<StoreResult<PageOf<Job>>>;

    /// Jobs in the order of their making. A cursor (a job's id) that is none of this list is refused.
    fn list(&self, filter: JobFilter, page: Page) -> StoreFuture<StoreResult<PageOf<Job>>>;

    /// Forgets the job when its version is still `version`; `false` when it is not.
    fn remove(&self, id: &str, version: u64) -> StoreFuture<StoreResult<bool>>;
}

/// Keeps what is to be announced.
pub trait Outbox: fmt::Debug + Send + Sync + 'static {
    /// Adds deliveries that belong to no job's change. One whose id is there stays as it is.
    fn push(&self, deliveries: Vec<Delivery>) -> StoreFuture<StoreResult<()>>;

    /// Takes a lease on at most `limit` deliveries that are due, longest due first.
    fn claim_due(&self, now: Timestamp, until: Timestamp, limit: usize) -> StoreFuture<StoreResult<Vec<Delivery>>>;

    /// Notes an attempt: replaces the delivery's state, attempts, status and due time, where its attempts are still
    /// fewer than these; else nothing changes.
    fn attempted(&self, delivery: Delivery) -> StoreFuture<StoreResult<()>>;

    /// Makes the delivery pending again and due at `now`, its attempts kept; `None` when it is not known.
    fn redeliver(&self, id: &str, now: Timestamp) -> StoreFuture<StoreResult<Option<Delivery>>>;

    /// Drops what is pending for an endpoint.
    fn drop_endpoint(&self, endpoint_id: &str) -> StoreFuture<StoreResult<()>>;

    /// Deliveries, newest first, in one state or in any.
    fn deliveries(&self, state: Option<DeliveryState>, page: Page) -> StoreFuture<StoreResult<PageOf<Delivery>>>;
}

impl<T: JobStore + ?Sized> JobStore for Arc<T> {
    fn put(&self, job: Job) -> StoreFuture<StoreResult<Put>> {
        (**self).put(job)
    }

    fn twin(&self, key_id: &str, idempotency_key: &str, now: Timestamp) -> StoreFuture<StoreResult<Option<Job>>> {
        (**self).twin(key_id, idempotency_key, now)
    }

    fn get(&self, id: &str) -> StoreFuture<StoreResult<Option<Job>>> {
        (**self).get(id)
    }

    fn replace(&self, job: Job, deliveries: Vec<Delivery>) -> StoreFuture<StoreResult<Option<Job>>> {
        (**self).replace(job, deliveries)
    }

    fn claim(&self, id: &str, now: Timestamp, until: Timestamp) -> StoreFuture<StoreResult<Option<Job>>> {
        (**self).claim(id, now, until)
    }

    fn due(&self, now: Timestamp, until: Timestamp, limit: usize) -> StoreFuture<StoreResult<Vec<Job>>> {
        (**self).due(now, until, limit)
    }

    fn nudge(&self, id: &str, now: Timestamp) -> StoreFuture<StoreResult<()>> {
        (**self).nudge(id, now)
    }

    fn unsettled(&self, page: Page) -> StoreFuture<StoreResult<PageOf<Job>>> {
        (**self).unsettled(page)
    }

    fn list(&self, filter: JobFilter, page: Page) -> StoreFuture<StoreResult<PageOf<Job>>> {
        (**self).list(filter, page)
    }

    fn remove(&self, id: &str, version: u64) -> StoreFuture<StoreResult<bool>> {
        (**self).remove(id, version)
    }
}

impl<T: Outbox + ?Sized> Outbox for Arc<T> {
    fn push(&self, deliveries: Vec<Delivery>) -> StoreFuture<StoreResult<()>> {
        (**self).push(deliveries)
    }

    fn claim_due(&self, now: Timestamp, until: Timestamp, limit: usize) -> StoreFuture<StoreResult<Vec<Delivery>>> {
        (**self).claim_due(now, until, limit)
    }

    fn attempted(&self, delivery: Delivery) -> StoreFuture<StoreResult<()>> {
        (**self).attempted(delivery)
    }

    fn redeliver(&self, id: &str, now: Timestamp) -> StoreFuture<StoreResult<Option<Delivery>>> {
        (**self).redeliver(id, now)
    }

    fn drop_endpoint(&self, endpoint_id: &str) -> StoreFuture<StoreResult<()>> {
        (**self).drop_endpoint(endpoint_id)
    }

    fn deliveries(&self, state: Option<DeliveryState>, page: Page) -> StoreFuture<StoreResult<PageOf<Delivery>>> {
        (**self).deliveries(state, page)
    }
}
