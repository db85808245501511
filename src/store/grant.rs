//! A grant: what an admitted request holds, until it is settled. Exactly once.

use std::fmt;

use crate::domain::limit::Amounts;

/// A reservation that a quota store has made. Settle it once with the truth; dropped unsettled, it posts what it holds.
#[must_use = "an unsettled grant posts all that it holds"]
pub struct Grant {
    held: Amounts,
    ticket: Option<Box<dyn Ticket>>,
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
        Self { held, ticket: Some(Box::new(ticket)) }
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
        if let Some(ticket) = self.ticket.take() {
            ticket.settle(used);
        }
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        self.resolve(Some(self.held));
    }
}

impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grant").field("held", &self.held).field("open", &self.ticket.is_some()).finish()
    }
}
