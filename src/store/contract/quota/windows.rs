//! How windows pass: for stores that go by the time of each reservation.

use std::time::Duration;

use crate::domain::limit::{Measure, Per};
use crate::store::quota::{QuotaStore, RefusalWait};

use super::stage::{Stage, units};

/// A day's counter refuses until midnight, UTC, and is empty then.
pub async fn a_calendar_window_starts_anew_at_its_end(store: &dyn QuotaStore) {
    let mut stage = Stage::new(store);
    let limit = stage.limit(Measure::Requests, Some(Per::Day), 1);
    drop(stage.admitted(units(1), &[&limit]).await);
    let RefusalWait::After(wait) = stage.refused(units(1), &[&limit]).await.wait else { panic!("a day has an end") };
    assert_eq!(stage.state(&limit).await.resets_at, Some(stage.now.plus(wait)));
    stage.now = stage.now.plus(wait - Duration::from_nanos(1));
    stage.refused(units(1), &[&limit]).await;
    stage.now = stage.now.plus(Duration::from_nanos(1));
    assert_eq!(stage.counts(&limit).await, (0, 0, 1));
    drop(stage.admitted(units(1), &[&limit]).await);
}

/// What is settled after its day is over changes nothing in the next one.
pub async fn a_settlement_posts_to_the_window_of_its_admission(store: &dyn QuotaStore) {
    let mut stage = Stage::new(store);
    let limit = stage.limit(Measure::Tokens, Some(Per::Day), 100);
    let yesterday = stage.admitted(units(100), &[&limit]).await;
    stage.now = stage.now.plus(Duration::from_secs(86_400));
    let today = stage.admitted(units(30), &[&limit]).await;
    yesterday.settle(units(100));
    assert_eq!(stage.counts(&limit).await, (0, 30, 70));
    today.settle(units(20));
    assert_eq!(stage.counts(&limit).await, (20, 0, 80));
}

/// After exactly the wait that a rate tells, and not before, the request is admitted.
pub async fn a_rate_tells_the_true_time_to_the_next_admit(store: &dyn QuotaStore) {
    let mut stage = Stage::new(store);
    let limit = stage.limit(Measure::Requests, Some(Per::Minute), 7);
    for _ in 0..7 {
        drop(stage.admitted(units(1), &[&limit]).await);
    }
    let RefusalWait::After(wait) = stage.refused(units(1), &[&limit]).await.wait else { panic!("a rate refills") };
    let tolerance = Duration::from_micros(1);
    stage.now = stage.now.plus(wait.saturating_sub(tolerance));
    stage.refused(units(1), &[&limit]).await;
    stage.now = stage.now.plus(tolerance);
    drop(stage.admitted(units(1), &[&limit]).await);
    stage.refused(units(1), &[&limit]).await;
}

/// A hold that is settled after the bucket has refilled does not refill it once more.
pub async fn giving_back_never_returns_what_has_refilled(store: &dyn QuotaStore) {
    let mut stage = Stage::new(store);
    let limit = stage.limit(Measure::Tokens, Some(Per::Minute), 100);
    let long = stage.admitted(units(100), &[&limit]).await;
    stage.now = stage.now.plus(Duration::from_secs(60));
    let next = stage.admitted(units(100), &[&limit]).await;
    long.settle(units(0));
    stage.refused(units(1), &[&limit]).await;
    next.settle(units(40));
    assert_eq!(stage.counts(&limit).await, (40, 0, 60));
}
