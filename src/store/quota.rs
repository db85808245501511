//! Stores of quota counters: one atomic admit over every limit that applies, all or nothing.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::base::clock::Timestamp;
use crate::base::store_future::StoreFuture;
use crate::domain::caller::Caller;
use crate::domain::limit::{Amounts, Limit};
use crate::domain::modality::Modality;

use super::error::StoreResult;
use super::grant::Grant;

/// A request that asks to be admitted.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "who, for what, how much")]
pub struct Reservation {
    pub caller: Caller,
    pub modality: Option<Modality>,
    pub model: Option<Arc<str>>,
    /// The most that the request can come to.
    pub hold: Amounts,
    /// Every limit that applies, enforced and shadow ones.
    pub limits: Vec<Arc<Limit>>,
    /// The gateway's time; stores with a clock of their own go by that.
    pub now: Timestamp,
}

/// What a limit has left, for the response's headers.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "a limit and what is left of it")]
pub struct Headroom {
    pub limit: Arc<Limit>,
    /// After this request's hold.
    pub remaining: u64,
    /// Until it is whole again; `None` for totals and leases.
    pub resets_in: Option<Duration>,
}

/// Why a request was refused.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the limit and the wait")]
pub struct Refusal {
    pub limit: Arc<Limit>,
    pub wait: RefusalWait,
    /// Of the enforced request and token limits, as for an admitted request but without this one's hold.
    pub headroom: Vec<Headroom>,
}

/// When a refused request may come again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalWait {
    /// The true time to the next admit.
    After(Duration),
    /// A slot may come free any moment; nothing is promised.
    Soon,
    /// No time helps (a total is spent).
    Never,
    /// The request is larger than the limit's whole amount: it can never fit.
    TooLarge,
}

/// A quota store's answer.
#[derive(Debug)]
pub enum Decision {
    /// Every enforced limit has room; the hold is placed on all of them, shadow ones included.
    Admitted {
        /// The hold.
        grant: Grant,
        /// Of the enforced request and token limits.
        headroom: Vec<Headroom>,
    },
    /// Some enforced limit has none; nothing was consumed of any.
    Refused(Refusal),
}

/// The state of one limit, for operators.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the columns of `GET /limits/state`")]
pub struct LimitState {
    pub limit: Arc<Limit>,
    pub used: u64,
    pub reserved: u64,
    pub remaining: u64,
    pub resets_at: Option<Timestamp>,
}

/// Keeps the counters of limits. The limits themselves travel with each call.
///
/// For every limit and window, at every instant: posted + held ≤ amount, whatever the concurrency.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a store of quota counters",
    note = "use `MemoryQuota`, or implement `QuotaStore` and run `contract::quota` on it"
)]
pub trait QuotaStore: fmt::Debug + Send + Sync + 'static {
    /// Admits against all limits at once, or against none. Concurrency is held as a lease until the grant is settled.
    fn reserve(&self, reservation: Reservation) -> StoreFuture<StoreResult<Decision>>;

    /// The state of these limits at `now`.
    fn state(&self, limits: Vec<Arc<Limit>>, now: Timestamp) -> StoreFuture<StoreResult<Vec<LimitState>>>;
}

impl<T: QuotaStore + ?Sized> QuotaStore for Arc<T> {
    fn reserve(&self, reservation: Reservation) -> StoreFuture<StoreResult<Decision>> {
        (**self).reserve(reservation)
    }

    fn state(&self, limits: Vec<Arc<Limit>>, now: Timestamp) -> StoreFuture<StoreResult<Vec<LimitState>>> {
        (**self).state(limits, now)
    }
}
