//! Quota counters that many instances share: one task for each instance works off what has come, a transaction at a time.
//!
//! A transaction locks the rows of its workspaces in the order of their names, so no two wait for each other, and reads
//! the server's clock after that: under the lock time only goes forward. Then all is arithmetic in memory (see `books`)
//! and one write. Settlements stand in the same queue as admissions: who asks later sees them.

mod batch;
mod books;
mod rows;
mod worker;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::base::clock::Timestamp;
use crate::base::store_future::StoreFuture;
use crate::domain::hold::LastingHold;
use crate::domain::limit::{Amounts, Limit};
use crate::store::error::{StoreError, StoreResult};
use crate::store::limit_name::limit_name;
use crate::store::queue::Queue;
use crate::store::quota::{Decision, LimitState, QuotaStore, Reservation};
use crate::store::unclaimed::Unclaimed;

use super::{PostgresStore, Shared, failed, patient};

pub(super) use worker::run;

/// Jobs that wait at most; settlements come beside.
const BOUND: usize = 10_000;

type Reply<T> = oneshot::Sender<StoreResult<T>>;

/// How a grant ends.
#[derive(Clone, Copy, Debug)]
pub(super) enum End {
    Used(Amounts),
    Void,
    /// Its instance is gone: nobody will ever know.
    AtHold,
}

pub(super) enum Job {
    Reserve {
        request: Reservation,
        reply: Reply<Unclaimed>,
    },
    State {
        limits: Vec<Arc<Limit>>,
        reply: Reply<Vec<LimitState>>,
    },
    /// Whoever waits is told when it is committed.
    Settle {
        grant: String,
        workspace: String,
        end: End,
        reply: Option<Reply<()>>,
    },
}

impl Job {
    /// A settlement that nobody waits for.
    pub(super) fn settle(grant: String, workspace: String, end: End) -> Self {
        Self::Settle { grant, workspace, end, reply: None }
    }

    /// Whether someone still waits for it.
    fn is_wanted(&self) -> bool {
        match self {
            Self::Reserve { reply, .. } => !reply.is_closed(),
            Self::State { reply, .. } => !reply.is_closed(),
            Self::Settle { .. } => true,
        }
    }
}

pub(super) type QuotaQueue = Queue<Job>;

pub(super) fn queue() -> QuotaQueue {
    Queue::new()
}

impl QuotaStore for PostgresStore {
    fn reserve(&self, request: Reservation) -> StoreFuture<StoreResult<Decision>> {
        let (reply, answer) = oneshot::channel();
        if self.0.quota.push(Job::Reserve { request, reply }, BOUND).is_err() {
            return StoreFuture::ready(Err(full()));
        }
        StoreFuture::new(async move { answer.await.unwrap_or_else(|_| Err(ended())).map(Unclaimed::claim) })
    }

    fn keep(&self, holds: Vec<LastingHold>, lease: Duration) -> StoreFuture<StoreResult<()>> {
        let shared = Arc::clone(&self.0.shared);
        StoreFuture::new(patient(async move {
            let ids: Vec<_> = holds.iter().map(|hold| &*hold.id).collect();
            rows::keep(&shared.client().await?, &ids, lease.as_secs_f64()).await
        }))
    }

    fn settle(&self, hold: LastingHold, used: Option<Amounts>) -> StoreFuture<StoreResult<()>> {
        let (reply, answer) = oneshot::channel();
        let (grant, workspace) = (hold.id.to_string(), hold.home.workspace.to_string());
        let end = used.map_or(End::Void, End::Used);
        // There are never more of them than jobs that were open.
        self.0.quota.push_surely(Job::Settle { grant, workspace, end, reply: Some(reply) });
        StoreFuture::new(async move { answer.await.unwrap_or_else(|_| Err(ended())) })
    }

    fn state(&self, limits: Vec<Arc<Limit>>, _: Timestamp) -> StoreFuture<StoreResult<Vec<LimitState>>> {
        let (reply, answer) = oneshot::channel();
        if self.0.quota.push(Job::State { limits, reply }, BOUND).is_err() {
            return StoreFuture::ready(Err(full()));
        }
        StoreFuture::new(async move { answer.await.unwrap_or_else(|_| Err(ended())) })
    }

    fn missed(&self, limits: &[Arc<Limit>]) {
        self.0.shared.missed().extend(limits.iter().map(|limit| limit_name(limit)));
    }
}

fn full() -> StoreError {
    StoreError::unavailable(format!("{BOUND} requests wait for PostgreSQL: no more are taken"))
}

fn ended() -> StoreError {
    StoreError::unavailable("the quota store's task has ended")
}
