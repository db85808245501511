//! Time as the gateway sees it: nanoseconds since the Unix epoch, from a [`Clock`] that tests turn by hand.
//!
//! Windows and rates must survive a wall clock that is set back (no mass reset, no lock-out), so the
//! [`SystemClock`] moves with the monotonic clock and follows the wall clock only forward.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// A point in time: nanoseconds since the Unix epoch, UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The epoch itself, 1970-01-01T00:00:00Z.
    pub const EPOCH: Self = Self(0);

    /// From nanoseconds since the epoch.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// From whole seconds since the epoch; saturates in the year 2554.
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1_000_000_000))
    }

    /// Nanoseconds since the epoch.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Whole seconds since the epoch, rounded down.
    pub const fn as_secs(self) -> u64 {
        self.0 / 1_000_000_000
    }

    /// Seconds since the epoch with milliseconds as the fraction, for JSON that people read.
    pub fn as_secs_millis(self) -> f64 {
        (self.0 / 1_000_000) as f64 / 1_000.0
    }

    /// How long ago `earlier` was; zero when it lies ahead.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// This point moved `by` forward; saturates.
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// This point moved `by` back; stops at the epoch.
    pub fn minus(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// Where the time comes from. Implement it to run the stack on a clock of your own.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a clock",
    note = "use `SystemClock`, or `ManualClock` in tests"
)]
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// The present. Must never go back.
    fn now(&self) -> Timestamp;
}

impl<T: Clock + ?Sized> Clock for Arc<T> {
    fn now(&self) -> Timestamp {
        (**self).now()
    }
}

/// The machine's clock: monotonic, and drawn forward when the wall clock runs ahead (a suspended machine, a late NTP step).
#[derive(Debug)]
pub struct SystemClock {
    started: Instant,
    /// Wall time at `started`, in nanoseconds; only ever raised.
    anchor: AtomicU64,
    /// When the wall clock was last looked at, in nanoseconds since `started`.
    looked: AtomicU64,
}

impl SystemClock {
    /// Starts from the wall clock's present.
    pub fn new() -> Self {
        Self { started: Instant::now(), anchor: AtomicU64::new(wall_nanos()), looked: AtomicU64::new(0) }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

fn wall_nanos() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        const LAG: u64 = 1_000_000_000;
        const LOOK_EVERY: u64 = 100_000_000;
        let elapsed = u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let anchored = self.anchor.load(Ordering::Relaxed).saturating_add(elapsed);
        if elapsed.saturating_sub(self.looked.load(Ordering::Relaxed)) < LOOK_EVERY {
            return Timestamp(anchored);
        }
        self.looked.store(elapsed, Ordering::Relaxed);
        let wall = wall_nanos();
        if wall > anchored.saturating_add(LAG) {
            self.anchor.fetch_max(wall - elapsed, Ordering::Relaxed);
            return Timestamp(wall);
        }
        Timestamp(anchored)
    }
}

/// A clock that stands still until it is told to move. For tests and simulations.
#[derive(Debug, Default)]
pub struct ManualClock(AtomicU64);

impl ManualClock {
    /// A clock that shows `at`.
    pub fn at(at: Timestamp) -> Self {
        Self(AtomicU64::new(at.as_nanos()))
    }

    /// Moves the clock `by` forward.
    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX), Ordering::SeqCst);
    }

    /// Sets the clock; a point behind the present is ignored, as a [`Clock`] never goes back.
    pub fn set(&self, to: Timestamp) {
        self.0.fetch_max(to.as_nanos(), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_clock_never_goes_back() {
        let clock = SystemClock::new();
        let mut last = clock.now();
        for _ in 0..1000 {
            let now = clock.now();
            assert!(now >= last);
            last = now;
        }
    }

    #[test]
    fn a_manual_clock_moves_only_when_told_and_only_forward() {
        let clock = ManualClock::at(Timestamp::from_secs(100));
        clock.advance(Duration::from_millis(1500));
        assert_eq!(clock.now(), Timestamp::from_nanos(101_500_000_000));
        clock.set(Timestamp::from_secs(1));
        assert_eq!(clock.now().as_secs(), 101);
    }
}
