//! The counter of one limit: pure arithmetic, for stores that count in this language.

mod rate;
#[cfg(feature = "postgres")]
mod saved;

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::clock::Timestamp;
use crate::base::id::new_id;
use crate::domain::alert::Alert;
use crate::domain::gcra::{Rate, Verdict};
use crate::domain::limit::{Amounts, Limit, Measure, Per, Window};
use crate::domain::window;
use crate::store::quota::{LimitState, RefusalWait, Room};

use self::rate::RateTally;

/// How long a counter that owes nothing is kept after its last use. Seeding it anew costs a query.
const KEEP_IDLE: Duration = Duration::from_secs(600);

#[derive(Clone)]
pub(crate) struct Counter {
    pub(crate) limit: Arc<Limit>,
    tally: Tally,
    /// Sum of the open holds in the present window.
    held: u64,
    /// Open holds of any window: while there are some, their index here must not be given to another counter.
    open: usize,
    /// Posted since the last [`mark`](Self::mark).
    fresh: u64,
    alerted: Alerted,
    touched: Timestamp,
    /// Whether what the ledger knows of the window is in it.
    pub(crate) seeded: bool,
}

#[derive(Clone, Serialize, Deserialize)]
enum Tally {
    Rate { period: u64, tally: Box<RateTally> },
    Span { per: Per, start: Timestamp, posted: u64 },
    Leases,
}

/// The highest threshold that was raised in a window.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Alerted {
    window: Timestamp,
    upto: u32,
}

/// What one grant holds of one counter.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Hold {
    /// Where the counter stands in this process.
    #[serde(skip)]
    pub(crate) counter: usize,
    held: u64,
    /// The slot of a rate, the start of a calendar window.
    place: u64,
    /// The limit's amount at the hold: what a permit of a rate cost in time.
    amount: u64,
}

impl Hold {
    /// A place in `counter` where nothing is held yet.
    pub(crate) fn on(counter: usize) -> Self {
        Self { counter, held: 0, place: 0, amount: 0 }
    }
}

impl Counter {
    pub(crate) fn new(limit: Arc<Limit>, now: Timestamp) -> Self {
        let tally = match limit.key.window() {
            Window::Rate { period } => Tally::Rate { period, tally: Box::new(RateTally::new()) },
            Window::Calendar(per) => Tally::Span { per, start: window::start(per, now), posted: 0 },
            Window::Total => Tally::Span { per: Per::Total, start: Timestamp::EPOCH, posted: 0 },
            Window::Lease => Tally::Leases,
        };
        let (held, open, fresh) = (0, 0, 0);
        Self { limit, tally, held, open, fresh, alerted: Alerted::default(), touched: now, seeded: false }
    }

    fn measure(&self) -> Measure {
        self.limit.key.measure
    }

    fn rate(&self, period: u64) -> Rate {
        Rate { amount: self.limit.amount, period }
    }

    /// Starts the window that holds `now`, when it is another one.
    pub(crate) fn roll(&mut self, now: Timestamp) {
        self.touched = now;
        if let Tally::Span { per, start, posted } = &mut self.tally {
            let present = window::start(*per, now);
            if present > *start {
                (*start, *posted, self.held) = (present, 0, 0);
            }
        }
    }

    /// Why `hold` does not fit at `now`; `None` when it does.
    pub(crate) fn refuses(&self, hold: &Amounts, now: Timestamp) -> Option<RefusalWait> {
        let amount = self.limit.amount;
        let n = hold.of(self.measure());
        if amount == 0 && matches!(self.measure(), Measure::Requests | Measure::Spend | Measure::Concurrency) {
            return Some(RefusalWait::TooLarge);
        }
        if n > amount {
            return Some(RefusalWait::TooLarge);
        }
        let fits = |posted: u64| u128::from(posted) + u128::from(self.held) + u128::from(n) <= u128::from(amount);
        match &self.tally {
            Tally::Rate { period, tally } => match tally.check(self.rate(*period), n, now) {
                Verdict::Fits => None,
                Verdict::Wait(wait) => Some(RefusalWait::After(wait)),
                Verdict::Never => Some(RefusalWait::TooLarge),
            },
            _ if n == 0 => None,
            Tally::Span { posted, .. } if fits(*posted) => None,
            Tally::Span { per, .. } => Some(match window::end(*per, now) {
                Some(end) => RefusalWait::After(end.since(now)),
                None => RefusalWait::Never,
            }),
            Tally::Leases => (!fits(0)).then_some(RefusalWait::Soon),
        }
    }

    /// Places `hold`, whether it fits or not.
    pub(crate) fn place(&mut self, counter: usize, hold: &Amounts, now: Timestamp) -> Hold {
        let held = hold.of(self.measure());
        let amount = self.limit.amount;
        let place = match &mut self.tally {
            Tally::Rate { period, tally } => tally.take(Rate { amount, period: *period }, held, now),
            Tally::Span { start, .. } => start.as_nanos(),
            Tally::Leases => 0,
        };
        self.held = self.held.saturating_add(held);
        self.open += 1;
        Hold { counter, held, place, amount }
    }

    /// Places what was admitted before this counter was there. The debt of a rate is reckoned by [`absorb`](Self::absorb).
    pub(crate) fn adopt(&mut self, counter: usize, hold: &Amounts, at: Timestamp) -> Hold {
        let held = hold.of(self.measure());
        let amount = self.limit.amount;
        self.open += 1;
        let (place, present) = match &self.tally {
            Tally::Rate { period, .. } => (RateTally::slot_of(*period, at), true),
            Tally::Span { per, start, .. } => {
                let admitted = window::start(*per, at);
                (admitted.as_nanos(), admitted == *start)
            }
            Tally::Leases => (0, true),
        };
        if present {
            self.held = self.held.saturating_add(held);
        }
        Hold { counter, held, place, amount }
    }

    /// Releases `hold` and posts `used` in its place. Returns whether that was more than was held.
    pub(crate) fn settle(&mut self, hold: Hold, used: &Amounts) -> bool {
        let used = used.of(self.measure());
        self.open = self.open.saturating_sub(1);
        match &mut self.tally {
            Tally::Rate { period, tally } => {
                let rate = Rate { amount: self.limit.amount, period: *period };
                tally.correct(rate, hold.place, Rate { amount: hold.amount, period: *period }, hold.held, used);
            }
            Tally::Span { start, posted, .. } if start.as_nanos() == hold.place => {
                *posted = posted.saturating_add(used);
            }
            // The window has rolled: its successor owes nothing for it.
            Tally::Span { .. } => return false,
            Tally::Leases => {
                self.held = self.held.saturating_sub(hold.held);
                return false;
            }
        }
        self.fresh = self.fresh.saturating_add(used);
        self.held = self.held.saturating_sub(hold.held);
        used > hold.held
    }

    /// What is used and held of the amount at `now`. A rate's holds refill like all else that was taken.
    fn used(&self, now: Timestamp) -> (u64, u64) {
        match &self.tally {
            Tally::Rate { period, tally } => {
                let owed = tally.gcra().used(self.rate(*period), now);
                let held = self.held.min(owed);
                (owed - held, held)
            }
            Tally::Span { per, start, .. } if window::start(*per, now) > *start => (0, 0),
            Tally::Span { posted, .. } => (*posted, self.held),
            Tally::Leases => (0, self.held),
        }
    }

    fn remaining(&self, now: Timestamp) -> u64 {
        let (used, held) = self.used(now);
        self.limit.amount.saturating_sub(used).saturating_sub(held)
    }

    fn resets_at(&self, now: Timestamp) -> Option<Timestamp> {
        match &self.tally {
            Tally::Rate { tally, .. } => Some(tally.gcra().tat().max(now)),
            Tally::Span { per, .. } => window::end(*per, now),
            Tally::Leases => None,
        }
    }

    pub(crate) fn room(&self, now: Timestamp) -> Room {
        let resets_in = self.resets_at(now).map(|at| at.since(now));
        Room { limit: Arc::clone(&self.limit), remaining: self.remaining(now), resets_in }
    }

    pub(crate) fn state(&self, now: Timestamp) -> LimitState {
        let (used, reserved) = self.used(now);
        let limit = Arc::clone(&self.limit);
        LimitState { limit, used, reserved, remaining: self.remaining(now), resets_at: self.resets_at(now) }
    }

    /// Raises the thresholds that posted use has reached in the window of an admission at `admitted`.
    pub(crate) fn alert(&mut self, admitted: Timestamp, now: Timestamp, time: Timestamp, raised: &mut Vec<Alert>) {
        let Some(per) = self.limit.key.per.filter(|_| !self.limit.alert_at.is_empty()) else { return };
        let window = window::start(per, admitted);
        if window > self.alerted.window {
            self.alerted = Alerted { window, upto: 0 };
        } else if window < self.alerted.window {
            return;
        }
        let (used, _) = self.used(now);
        for &threshold in &self.limit.alert_at {
            let reached = u128::from(used) * 1_000 >= u128::from(self.limit.amount) * u128::from(threshold);
            if reached && used > 0 && threshold > self.alerted.upto {
                self.alerted.upto = threshold;
                raised.push(Alert {
                    id: new_id("alert_"),
                    time,
                    limit: Arc::clone(&self.limit),
                    window_start: (per != Per::Total).then_some(window),
                    threshold,
                    used,
                });
            }
        }
    }

    /// From when on the ledger is asked; `None` for leases, which it does not know.
    pub(crate) fn ledger_from(&self, now: Timestamp) -> Option<Timestamp> {
        match &self.tally {
            Tally::Rate { period, .. } => Some(now.minus(Duration::from_nanos(*period))),
            Tally::Span { per, .. } => Some(window::start(*per, now)),
            Tally::Leases => None,
        }
    }

    pub(crate) fn is_rate(&self) -> bool {
        matches!(self.tally, Tally::Rate { .. })
    }

    /// Counts what is posted from here on.
    pub(crate) fn mark(&mut self) {
        self.fresh = 0;
    }

    /// What was posted since the mark.
    pub(crate) fn fresh(&self) -> u64 {
        self.fresh
    }

    /// Brings in what the ledger posts to the present window, and `missed`: what was posted here while it was asked. `open`
    /// are the holds that are not settled, for a rate. What the counter has already is not counted twice.
    pub(crate) fn absorb(
        &mut self,
        posted: &[(Timestamp, Amounts)],
        missed: u64,
        open: &[(Timestamp, Amounts)],
        now: Timestamp,
    ) {
        let measure = self.measure();
        let amount = self.limit.amount;
        match &mut self.tally {
            Tally::Rate { period, tally } => {
                let mut all: Vec<_> = posted.iter().chain(open).map(|(at, n)| (*at, n.of(measure))).collect();
                all.sort_by_key(|(at, _)| *at);
                all.push((now, missed));
                let mut replayed = RateTally::new();
                for (at, n) in all {
                    replayed.take(Rate { amount, period: *period }, n, at);
                }
                tally.merge(replayed);
            }
            Tally::Span { posted: counted, .. } => {
                let sum = posted.iter().fold(missed, |sum, (_, n)| sum.saturating_add(n.of(measure)));
                *counted = (*counted).max(sum);
            }
            Tally::Leases => {}
        }
        self.seeded = true;
    }

    /// Whether the counter can be forgotten: it would be the same if it were made anew.
    pub(crate) fn is_idle(&self, now: Timestamp) -> bool {
        let owes_nothing = match &self.tally {
            Tally::Rate { tally, .. } => tally.gcra().is_full(now),
            Tally::Span { per, start, .. } => window::start(*per, now) > *start,
            Tally::Leases => true,
        };
        self.open == 0 && owes_nothing && now >= self.touched.plus(KEEP_IDLE)
    }
}
