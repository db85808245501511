//! Stores of quota counters: one atomic admit over every limit that applies, all or nothing.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::base::clock::Timestamp;
use crate::base::short_id::Id;
use crate::base::store_future::StoreFuture;
use crate::domain::caller::Caller;
use crate::domain::hold::LastingHold;
use crate::domain::limit::{Amounts, Limit, Measure, Mode};
use crate::domain::modality::Modality;

use super::error::StoreResult;
use super::grant::Grant;

/// How long a lasting hold lives that nobody has [kept](QuotaStore::keep) yet: its instance died before there was a job,
/// or at least before its vendor was called. Longer than it takes until a job whose making was cut is found.
pub const UNKEPT: Duration = Duration::from_secs(180);

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
    pub limits: Arc<[Arc<Limit>]>,
    /// Whether the hold is a job's, which outlives the request and its instance.
    pub lasting: bool,
    /// The request's record in the ledger, which tells what became of it should its instance die. `None` where nobody
    /// keeps one.
    pub record: Option<Id>,
    /// The gateway's time; stores with a clock of their own go by that.
    pub now: Timestamp,
}

impl Reservation {
    /// The lasting hold of this request under an `id` of its own, admitted `at` that moment of the store's clock.
    pub fn lasting_hold(&self, id: Arc<str>, at: Timestamp) -> LastingHold {
        LastingHold {
            id,
            home: self.caller.home().clone(),
            key_id: self.caller.shared_key_id(),
            modality: self.modality,
            model: self.model.clone(),
            amounts: self.hold,
            at,
        }
    }
}

/// What the response's headers tell: of the enforced request limits, and of the enforced token limits, the one with the
/// least left in proportion. To be collected from what each limit has left.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs, reason = "one of each kind")]
pub struct Headroom {
    pub requests: Option<Room>,
    pub tokens: Option<Room>,
}

impl Headroom {
    /// Whether a limit may be told of.
    pub fn tells(limit: &Limit) -> bool {
        limit.mode == Mode::Enforce && (limit.key.measure == Measure::Requests || limit.key.measure.is_tokens())
    }

    fn add(&mut self, room: Room) {
        let place = if room.limit.key.measure == Measure::Requests { &mut self.requests } else { &mut self.tokens };
        if Self::tells(&room.limit) && place.as_ref().is_none_or(|least| room.is_less_than(least)) {
            *place = Some(room);
        }
    }
}

impl FromIterator<Room> for Headroom {
    fn from_iter<I: IntoIterator<Item = Room>>(rooms: I) -> Self {
        rooms.into_iter().fold(Self::default(), |mut headroom, room| {
            headroom.add(room);
            headroom
        })
    }
}

/// What a limit has left.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "a limit and what is left of it")]
pub struct Room {
    pub limit: Arc<Limit>,
    /// After this request's hold.
    pub remaining: u64,
    /// Until it is whole again; `None` for totals and leases.
    pub resets_in: Option<Duration>,
}

impl Room {
    /// In proportion to what there is.
    fn is_less_than(&self, other: &Self) -> bool {
        let cross = |x: &Self, y: &Self| u128::from(x.remaining) * u128::from(y.limit.amount.max(1));
        cross(self, other) < cross(other, self)
    }
}

/// Why a request was refused.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the limit and the wait")]
pub struct Refusal {
    pub limit: Arc<Limit>,
    pub wait: RefusalWait,
    /// As for an admitted request, but without this one's hold.
    pub headroom: Headroom,
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
        /// What is left behind it.
        headroom: Headroom,
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
    /// Admits against all limits at once, or against none. Concurrency is held as a lease until the grant is settled. The
    /// grant of a reservation that is to last is a [lasting](Grant::lasting) one.
    ///
    /// The future may be dropped at any await, as the caller may leave: a store that waits once it has placed a hold keeps
    /// it [`Unclaimed`](super::unclaimed::Unclaimed) meanwhile, so that it becomes void, and no request is billed that never ran.
    fn reserve(&self, reservation: Reservation) -> StoreFuture<StoreResult<Decision>>;

    /// Keeps lasting holds open for `lease` from now, whichever instance has placed them. A store that shares its counters
    /// posts one that is not kept any more at its amounts, and voids one that never was within [`UNKEPT`]. Where the store
    /// has forgotten one, it is placed again, whether it fits or not. One that is settled stays so.
    fn keep(&self, holds: Vec<LastingHold>, lease: Duration) -> StoreFuture<StoreResult<()>>;

    /// Ends a lasting hold as [`Ticket::settle`](super::grant::Ticket::settle) does, whichever instance has placed it;
    /// ready when that cannot be lost any more. One that is settled, or was never known, changes nothing.
    fn settle(&self, hold: LastingHold, used: Option<Amounts>) -> StoreFuture<StoreResult<()>>;

    /// The state of these limits at `now`.
    fn state(&self, limits: Vec<Arc<Limit>>, now: Timestamp) -> StoreFuture<StoreResult<Vec<LimitState>>>;

    /// A request under these limits was admitted while the store could not be reached, and is over: what it used stands in
    /// the ledger alone, from which their counters are to be brought up before they are asked again. Must not block or
    /// fail. Stores that can always be reached have nothing to do.
    fn missed(&self, _limits: &[Arc<Limit>]) {}
}

impl<T: QuotaStore + ?Sized> QuotaStore for Arc<T> {
    fn reserve(&self, reservation: Reservation) -> StoreFuture<StoreResult<Decision>> {
        (**self).reserve(reservation)
    }

    fn keep(&self, holds: Vec<LastingHold>, lease: Duration) -> StoreFuture<StoreResult<()>> {
        (**self).keep(holds, lease)
    }

    fn settle(&self, hold: LastingHold, used: Option<Amounts>) -> StoreFuture<StoreResult<()>> {
        (**self).settle(hold, used)
    }

    fn state(&self, limits: Vec<Arc<Limit>>, now: Timestamp) -> StoreFuture<StoreResult<Vec<LimitState>>> {
        (**self).state(limits, now)
    }

    fn missed(&self, limits: &[Arc<Limit>]) {
        (**self).missed(limits);
    }
}
