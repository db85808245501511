//! A grant: what an admitted request holds, until it is settled. Exactly once.

use std::fmt;
use std::sync::Arc;

use crate::domain::hold::LastingHold;
use crate::domain::limit::Amounts;

/// A reservation that a quota store has made. Settle it once with the truth; dropped unsettled, it posts what it holds.
///
/// A [lasting](Self::lasting) one stays as it is when it is dropped: a job has its hold, and settles it by
/// [`QuotaStore::settle`](super::quota::QuotaStore::settle).
#[must_use = "an unsettled grant posts all that it holds"]
pub struct Grant {
    held: Amounts,
    lasting: Option<Box<LastingHold>>,
    claim: Option<Claim>,
}

/// How a grant is settled.
enum Claim {
    Ticket(Box<dyn Ticket>),
    /// By its number in the store's own list.
    Numbered(Arc<dyn Numbered>, u64),
}

/// A store that knows its grants by number: they need no ticket in a box each.
pub(crate) trait Numbered: Send + Sync + 'static {
    /// As [`Ticket::settle`].
    fn settle(&self, number: u64, used: Option<Amounts>);
}

/// The store's side of a grant: it owns whatever it needs to settle without waiting and without failing.
pub trait Ticket: Send + Sync + 'static {
    /// Releases the hold and posts `used` to the window of the admission. `None` voids the grant: as if it had never been.
    ///
    /// Called at most once, possibly from a `Drop`: must not block, wait or panic.
    fn settle(self: Box<Self>, used: Option<Amounts>);
}

impl Grant {
    /// A grant of `held`, settled through `ticket`.
    pub fn new(held: Amounts, ticket: impl Ticket) -> Self {
        Self { held, lasting: None, claim: Some(Claim::Ticket(Box::new(ticket))) }
    }

    /// A grant of `held` that `store` has under this number.
    pub(crate) fn numbered(held: Amounts, store: Arc<dyn Numbered>, number: u64) -> Self {
        Self { held, lasting: None, claim: Some(Claim::Numbered(store, number)) }
    }

    /// A grant of a hold that may outlive it. `ticket` settles by the hold's id: who comes second changes nothing.
    pub fn lasting(hold: LastingHold, ticket: impl Ticket) -> Self {
        Self { held: hold.amounts, lasting: Some(Box::new(hold)), claim: Some(Claim::Ticket(Box::new(ticket))) }
    }

    /// The hold, where it may outlive the grant.
    pub fn hold(&self) -> Option<&LastingHold> {
        self.lasting.as_deref()
    }

    /// What it holds.
    pub fn held(&self) -> Amounts {
        self.held
    }

    /// Posts the truth and releases the rest.
    pub fn settle(mut self, used: Amounts) {
        self.resolve(Some(used));
    }

    /// Gives everything back, the request's count included.
    pub fn void(mut self) {
        self.resolve(None);
    }

    fn resolve(&mut self, used: Option<Amounts>) {
        match self.claim.take() {
            Some(Claim::Ticket(ticket)) => ticket.settle(used),
            Some(Claim::Numbered(store, number)) => store.settle(number, used),
            None => {}
        }
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        if self.lasting.is_none() {
            self.resolve(Some(self.held));
        }
    }
}

impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grant").field("held", &self.held).field("open", &self.claim.is_some()).finish()
    }
}
