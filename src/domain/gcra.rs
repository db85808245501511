//! The generic cell rate algorithm: one number a rate, and the true time to the next admit.
//!
//! The state is the theoretical arrival time (TAT): the moment at which the bucket will be full again. Taking `n` permits
//! moves it `n × period / amount` ahead; a request fits while the TAT stays within one period of now (burst = amount).
//! Time is kept in 2⁻³² nanoseconds so that a rate of a billion nano-dollars a second still tells one from the next.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::clock::Timestamp;

/// Nanoseconds with 32 bits of fraction.
type Fine = u128;

const fn fine(nanos: u64) -> Fine {
    (nanos as Fine) << 32
}

/// The state of one rate. The default is a full bucket; the one that is full later is the greater.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Gcra {
    tat: Fine,
}

/// What a rate says to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// There is room.
    Fits,
    /// There will be room after this long.
    Wait(Duration),
    /// Never: it asks for more than the burst.
    Never,
}

/// The parameters of a rate: `amount` permits each `period` nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the two that make a rate")]
pub struct Rate {
    pub amount: u64,
    pub period: u64,
}

impl Rate {
    /// The time that `n` permits take to refill. Permits that cannot refill (amount 0) take the whole period each.
    fn cost(self, n: u64) -> Fine {
        if n == 0 {
            return 0;
        }
        match self.amount {
            0 => fine(self.period).saturating_mul(Fine::from(n)),
            // 64 + 32 + 64 bits could overflow: split the division where the product would.
            amount => match fine(self.period).checked_mul(Fine::from(n)) {
                Some(product) => product / Fine::from(amount),
                None => (fine(self.period) / Fine::from(amount)).saturating_mul(Fine::from(n)),
            },
        }
    }
}

impl Gcra {
    /// From a TAT that a store kept, in nanoseconds since the epoch.
    pub fn from_tat(tat: Timestamp) -> Self {
        Self { tat: fine(tat.as_nanos()) }
    }

    /// When the bucket is full again, rounded up.
    pub fn tat(self) -> Timestamp {
        Timestamp::from_nanos(u64::try_from((self.tat + fine(1) - 1) >> 32).unwrap_or(u64::MAX))
    }

    /// Whether `n` permits can be taken at `now`. Takes nothing.
    pub fn check(self, rate: Rate, n: u64, now: Timestamp) -> Verdict {
        if n == 0 {
            return Verdict::Fits;
        }
        if n > rate.amount {
            return Verdict::Never;
        }
        let now = fine(now.as_nanos());
        let after = self.tat.max(now).saturating_add(rate.cost(n));
        let latest = now + fine(rate.period);
        if after <= latest {
            return Verdict::Fits;
        }
        let wait = (after - latest + fine(1) - 1) >> 32;
        Verdict::Wait(Duration::from_nanos(u64::try_from(wait).unwrap_or(u64::MAX)))
    }

    /// Takes `n` permits, whether they fit or not (a settlement above its hold, a shadow limit).
    pub fn take(&mut self, rate: Rate, n: u64, now: Timestamp) {
        if n > 0 {
            self.tat = self.tat.max(fine(now.as_nanos())).saturating_add(rate.cost(n));
        }
    }

    /// Gives `n` permits back, rounded up: what was taken in one piece may come back in several.
    pub fn give_back(&mut self, rate: Rate, n: u64) {
        if n > 0 {
            self.tat = self.tat.saturating_sub(rate.cost(n).saturating_add(1));
        }
    }

    /// Permits not yet refilled at `now`, rounded up.
    pub fn used(self, rate: Rate, now: Timestamp) -> u64 {
        let debt = self.tat.saturating_sub(fine(now.as_nanos()));
        let period = fine(rate.period);
        let permits = match debt.checked_mul(Fine::from(rate.amount)) {
            Some(product) => product.div_ceil(period),
            None => debt.div_ceil(period).saturating_mul(Fine::from(rate.amount)),
        };
        u64::try_from(permits).unwrap_or(u64::MAX)
    }

    /// Whether nothing is owed at `now`, so that the state may be forgotten.
    pub fn is_full(self, now: Timestamp) -> bool {
        self.tat <= fine(now.as_nanos())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 60_000_000_000;
    const START: Timestamp = Timestamp::from_secs(1_800_000_000);

    fn take_all(gcra: &mut Gcra, rate: Rate, now: Timestamp) -> u64 {
        let mut taken = 0;
        while gcra.check(rate, 1, now) == Verdict::Fits {
            gcra.take(rate, 1, now);
            taken += 1;
        }
        taken
    }

    #[test]
    fn the_burst_is_the_amount_exactly() {
        for amount in [1, 3, 7, 60, 999, 1_000_003] {
            let rate = Rate { amount, period: MINUTE };
            assert_eq!(take_all(&mut Gcra::default(), rate, START), amount);
        }
    }

    #[test]
    fn the_wait_that_is_told_is_the_wait_that_helps() {
        let rate = Rate { amount: 7, period: MINUTE };
        let mut gcra = Gcra::default();
        take_all(&mut gcra, rate, START);
        let Verdict::Wait(wait) = gcra.check(rate, 1, START) else { panic!("the bucket is empty") };
        assert_eq!(gcra.check(rate, 1, START.plus(wait)), Verdict::Fits);
        assert_ne!(gcra.check(rate, 1, START.plus(wait).minus(Duration::from_nanos(1))), Verdict::Fits);
    }

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let rate = Rate { amount: 100, period: MINUTE };
        let mut gcra = Gcra::default();
        gcra.take(rate, 80, START);
        gcra.give_back(rate, 50);
        assert_eq!(gcra.used(rate, START), 30);
        assert_eq!(gcra.check(rate, 70, START), Verdict::Fits);
        assert_ne!(gcra.check(rate, 71, START), Verdict::Fits);
    }

    #[test]
    fn more_than_the_burst_never_fits_and_zero_blocks_all() {
        assert_eq!(Gcra::default().check(Rate { amount: 10, period: MINUTE }, 11, START), Verdict::Never);
        assert_eq!(Gcra::default().check(Rate { amount: 0, period: MINUTE }, 1, START), Verdict::Never);
    }

    #[test]
    fn nano_dollars_do_not_vanish_in_a_dear_rate() {
        let rate = Rate { amount: 1_000_000_000_000, period: 1_000_000_000 };
        let mut gcra = Gcra::default();
        for _ in 0..1_000 {
            gcra.take(rate, 1, START);
        }
        assert_eq!(gcra.used(rate, START), 1_000);
    }
}
