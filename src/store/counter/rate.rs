//! A rate whose takers may give back later than they took.
//!
//! A bucket refills while a request runs. If what the request did not use were simply put back at its end, the part that
//! had refilled meanwhile would be there twice, and the debts of others would vanish. So the recent past is kept, in
//! slots of a thirtieth of the period: giving back never reaches below the debt of those who came after, which is the
//! GCRA replayed over their slots.

use serde::{Deserialize, Serialize};

use crate::base::clock::Timestamp;
use crate::domain::gcra::{Gcra, Rate, Verdict};

/// Slots kept: one period and a little more.
const SLOTS: usize = 32;
/// Slots in a period.
const IN_PERIOD: u64 = 30;

#[derive(Clone, Copy, Default, Serialize, Deserialize)]
struct Slot {
    number: u64,
    /// The last take in it.
    last: Timestamp,
    permits: u64,
}

/// The state of one rate.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct RateTally {
    gcra: Gcra,
    newest: u64,
    slots: [Slot; SLOTS],
}

impl RateTally {
    pub(super) fn new() -> Self {
        Self { gcra: Gcra::default(), newest: 0, slots: [Slot::default(); SLOTS] }
    }

    /// The number of the slot that holds `at`.
    pub(super) fn slot_of(period: u64, at: Timestamp) -> u64 {
        at.as_nanos() / (period / IN_PERIOD)
    }

    pub(super) fn gcra(&self) -> Gcra {
        self.gcra
    }

    pub(super) fn check(&self, rate: Rate, n: u64, now: Timestamp) -> Verdict {
        self.gcra.check(rate, n, now)
    }

    /// Takes `n` permits, whether they fit or not. Returns the number of the slot that remembers it.
    pub(super) fn take(&mut self, rate: Rate, n: u64, now: Timestamp) -> u64 {
        self.gcra.take(rate, n, now);
        let number = Self::slot_of(rate.period, now);
        let slot = &mut self.slots[number as usize % SLOTS];
        if slot.number != number {
            *slot = Slot { number, ..Slot::default() };
        }
        slot.last = slot.last.max(now);
        slot.permits = slot.permits.saturating_add(n);
        self.newest = self.newest.max(number);
        number
    }

    /// Turns `held` permits that were taken in `slot`, at the rate `then`, into `used` ones. When the slot is forgotten,
    /// all of it has refilled and nothing changes.
    pub(super) fn correct(&mut self, rate: Rate, slot: u64, then: Rate, held: u64, used: u64) {
        if self.newest.saturating_sub(slot) >= SLOTS as u64 || self.slots[slot as usize % SLOTS].number != slot {
            return;
        }
        let taken = &mut self.slots[slot as usize % SLOTS];
        if used >= held {
            taken.permits = taken.permits.saturating_add(used - held);
            self.gcra.take(rate, used - held, taken.last);
            return;
        }
        taken.permits = taken.permits.saturating_sub(held - used);
        let mut less = self.gcra;
        less.give_back(then, held - used);
        self.gcra = self.gcra.min(less.max(self.since(rate, slot)));
    }

    /// The debt of all takes in `slot` and after it, had nobody come before.
    fn since(&self, rate: Rate, slot: u64) -> Gcra {
        let mut debt = Gcra::default();
        for number in slot..=self.newest {
            let Slot { number: found, last, permits } = self.slots[number as usize % SLOTS];
            if found == number {
                debt.take(rate, permits, last);
            }
        }
        debt
    }

    /// Keeps the larger debt of the two.
    pub(super) fn merge(&mut self, other: Self) {
        let gcra = self.gcra.max(other.gcra);
        *self = Self { gcra, ..other };
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    const RATE: Rate = Rate { amount: 100, period: 60_000_000_000 };
    const START: Timestamp = Timestamp::from_secs(1_800_000_000);

    fn after(seconds: u64) -> Timestamp {
        START.plus(Duration::from_secs(seconds))
    }

    /// The debt of these takes, had each taken from the first what it takes now.
    fn ideal(takes: &[(Timestamp, u64)]) -> Gcra {
        takes.iter().fold(Gcra::default(), |mut gcra, (at, n)| {
            gcra.take(RATE, *n, *at);
            gcra
        })
    }

    #[test]
    fn what_has_refilled_is_not_given_back_a_second_time() {
        let mut tally = RateTally::new();
        let first = tally.take(RATE, 100, START);
        tally.take(RATE, 100, after(60));
        tally.correct(RATE, first, RATE, 100, 0);
        assert_eq!(tally.gcra().used(RATE, after(60)), 100);
    }

    #[test]
    fn giving_back_spares_the_debt_of_those_who_came_later() {
        let mut tally = RateTally::new();
        let first = tally.take(RATE, 100, START);
        tally.take(RATE, 50, after(50));
        tally.correct(RATE, first, RATE, 100, 0);
        assert_eq!(tally.gcra().used(RATE, after(50)), 50);
    }

    #[test]
    fn in_whatever_order_they_settle_all_of_it_comes_back() {
        for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2]] {
            let mut tally = RateTally::new();
            let slots: Vec<u64> = (0..3).map(|_| tally.take(RATE, 30, START)).collect();
            for i in order {
                tally.correct(RATE, slots[i], RATE, 30, 3);
            }
            assert_eq!(tally.gcra().used(RATE, START), 9);
        }
    }

    proptest! {
        /// Takes and corrections in any order never leave less debt than the truth alone would have made.
        #[test]
        fn the_debt_is_never_below_that_of_the_truth(
            steps in prop::collection::vec((0u64..20_000, 1u64..60, 0u64..90, any::<prop::sample::Index>(), any::<bool>()), 1..60)
        ) {
            let mut tally = RateTally::new();
            let mut takes: Vec<(Timestamp, u64)> = Vec::new();
            let mut open: Vec<(usize, u64)> = Vec::new();
            let mut now = START;
            for (millis, n, used, pick, settle) in steps {
                now = now.plus(Duration::from_millis(millis));
                open.push((takes.len(), tally.take(RATE, n, now)));
                takes.push((now, n));
                if settle {
                    let (which, slot) = open.swap_remove(pick.index(open.len()));
                    let held = takes[which].1;
                    let used = used.min(held);
                    tally.correct(RATE, slot, RATE, held, used);
                    takes[which].1 = used;
                }
                let slack = Duration::from_nanos(1);
                prop_assert!(tally.gcra().tat().plus(slack) >= ideal(&takes).tat());
            }
        }
    }
}
