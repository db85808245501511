//! Holds that outlast their requests, as those of video jobs do.

use crate::base::id::new_id;
use crate::domain::hold::LastingHold;
use crate::domain::limit::{Measure, Per};
use crate::store::quota::{QuotaStore, RefusalWait};

use super::stage::{Stage, units};

/// A job's hold stays when its request is over, until its end is booked: concurrency with it.
pub async fn a_lasting_hold_outlives_its_grant_and_is_settled_by_whoever_has_it(store: &dyn QuotaStore) {
    let stage = Stage::new(store);
    let limits = [stage.total(100), stage.limit(Measure::Concurrency, None, 1)];
    let all: Vec<_> = limits.iter().collect();
    for (used, posted) in [(Some(units(30)), 30), (None, 30), (Some(units(40)), 70)] {
        let (grant, hold) = stage.lasting(units(30), &all).await;
        stage.keep(&hold).await;
        drop(grant);
        assert_eq!(stage.refused(units(1), &all).await.wait, RefusalWait::Soon, "the slot is held");
        assert_eq!(stage.counts(&limits[0]).await.1, 30);
        stage.settle(&hold, used).await;
        assert_eq!(stage.counts(&limits[0]).await, (posted, 0, 100 - posted));
        assert_eq!(stage.counts(&limits[1]).await, (0, 0, 1));
    }
}

/// By its grant or by its id, the first end is the only one; what nobody has held changes nothing.
pub async fn a_lasting_hold_is_settled_once(store: &dyn QuotaStore) {
    let stage = Stage::new(store);
    let limits = [stage.total(100), stage.limit(Measure::Concurrency, None, 5)];
    let all: Vec<_> = limits.iter().collect();
    let (by_id_first, first) = stage.lasting(units(10), &all).await;
    let (by_grant_first, second) = stage.lasting(units(10), &all).await;
    stage.settle(&first, Some(units(4))).await;
    by_id_first.settle(units(9));
    by_grant_first.settle(units(5));
    assert_eq!(stage.counts(&limits[0]).await, (9, 0, 91));
    for hold in [&first, &second] {
        stage.settle(hold, Some(units(10))).await;
        stage.keep(hold).await;
        stage.settle(hold, Some(units(10))).await;
    }
    let stranger = LastingHold { id: new_id("hold_"), ..first };
    stage.settle(&stranger, Some(units(10))).await;
    assert_eq!(stage.counts(&limits[0]).await, (9, 0, 91));
    assert_eq!(stage.counts(&limits[1]).await, (0, 0, 5));
}

/// Keeping a hold that is there places nothing.
pub async fn a_lasting_hold_that_is_kept_counts_once(store: &dyn QuotaStore) {
    let stage = Stage::new(store);
    let limits = [stage.total(100), stage.limit(Measure::Tokens, Some(Per::Minute), 100)];
    let all: Vec<_> = limits.iter().collect();
    let (_grant, hold) = stage.lasting(units(60), &all).await;
    for _ in 0..3 {
        stage.keep(&hold).await;
    }
    assert_eq!(stage.counts(&limits[0]).await, (0, 60, 40));
    stage.settle(&hold, Some(units(20))).await;
    assert_eq!(stage.counts(&limits[0]).await, (20, 0, 80));
    assert_eq!(stage.counts(&limits[1]).await, (20, 0, 80));
}

/// For stores whose counters are lost now and then, by a restart or by the loss of their server: a hold that `store` has
/// forgotten is placed again, without asking, and settled like any other. `earlier` is the store as it was.
pub async fn a_lasting_hold_that_was_forgotten_is_placed_again(earlier: &dyn QuotaStore, store: &dyn QuotaStore) {
    let stage = Stage::new(earlier);
    let limits = [stage.total(100), stage.limit(Measure::Concurrency, None, 2)];
    let all: Vec<_> = limits.iter().collect();
    let (before, hold) = stage.lasting(units(60), &all).await;
    drop(before);
    let stage = stage.moved_to(store);
    stage.keep(&hold).await;
    stage.keep(&hold).await;
    stage.refused(units(41), &all).await;
    assert_eq!(stage.counts(&limits[0]).await, (0, 60, 40), "from the first admit on");
    assert_eq!(stage.counts(&limits[1]).await, (0, 1, 1));
    stage.settle(&hold, Some(units(25))).await;
    stage.settle(&hold, Some(units(25))).await;
    assert_eq!(stage.counts(&limits[0]).await, (25, 0, 75));
    assert_eq!(stage.counts(&limits[1]).await, (0, 0, 2));
}
