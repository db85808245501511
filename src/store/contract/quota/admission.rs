//! What is admitted, what is refused, and what an end leaves behind.

use std::sync::Arc;

use crate::domain::limit::{Limit, Measure, Mode, Per};
use crate::store::grant::Grant;
use crate::store::quota::{QuotaStore, RefusalWait};

use super::stage::{Stage, units};

/// Ten requests fit a limit of ten, for each kind of window; the eleventh does not.
pub async fn exactly_the_amount_is_admitted(store: &dyn QuotaStore) {
    for per in [Per::Minute, Per::Hour, Per::Day, Per::Month, Per::Total] {
        let stage = Stage::new(store);
        let limit = stage.limit(Measure::Requests, Some(per), 10);
        for _ in 0..10 {
            stage.admitted(units(1), &[&limit]).await.settle(units(1));
        }
        stage.refused(units(1), &[&limit]).await;
        assert_eq!(stage.counts(&limit).await, (10, 0, 0), "{per:?}");
    }
}

/// One limit of four that refuses leaves the other three as they were.
pub async fn a_refusal_consumes_nothing_of_any_limit(store: &dyn QuotaStore) {
    let stage = Stage::new(store);
    let limits = [
        stage.limit(Measure::Requests, Some(Per::Minute), 100),
        stage.limit(Measure::Tokens, Some(Per::Day), 100),
        stage.limit(Measure::Concurrency, None, 100),
        stage.total(5),
    ];
    let all: Vec<_> = limits.iter().collect();
    for _ in 0..20 {
        let refusal = stage.refused(units(6), &all).await;
        assert_eq!(refusal.limit.key, limits[3].key);
    }
    for limit in &limits {
        let (used, reserved, _) = stage.counts(limit).await;
        assert_eq!((used, reserved), (0, 0), "{:?}", limit.key);
    }
}

/// What a hold did not come to can be held by others.
pub async fn settling_posts_the_truth_and_releases_the_rest(store: &dyn QuotaStore) {
    for per in [Per::Minute, Per::Day, Per::Total] {
        let stage = Stage::new(store);
        let limit = stage.limit(Measure::Tokens, Some(per), 100);
        let grant = stage.admitted(units(80), &[&limit]).await;
        assert_eq!(stage.counts(&limit).await, (0, 80, 20), "{per:?}");
        stage.refused(units(21), &[&limit]).await;
        grant.settle(units(30));
        assert_eq!(stage.counts(&limit).await, (30, 0, 70), "{per:?}");
        drop(stage.admitted(units(70), &[&limit]).await);
    }
}

/// A void grant gives everything back, the request's count included.
pub async fn a_void_grant_leaves_no_trace(store: &dyn QuotaStore) {
    let stage = Stage::new(store);
    let limits = [
        stage.limit(Measure::Requests, Some(Per::Minute), 1),
        stage.limit(Measure::Requests, Some(Per::Day), 1),
        stage.limit(Measure::Concurrency, None, 1),
    ];
    for _ in 0..3 {
        stage.admitted(units(1), &limits.iter().collect::<Vec<_>>()).await.void();
    }
    for limit in &limits {
        assert_eq!(stage.counts(limit).await, (0, 0, 1), "{:?}", limit.key);
    }
}

/// A grant that nobody settles posts its hold: nothing is lost.
pub async fn a_dropped_grant_posts_all_that_it_holds(store: &dyn QuotaStore) {
    let stage = Stage::new(store);
    let limit = stage.total(100);
    drop(stage.admitted(units(40), &[&limit]).await);
    assert_eq!(stage.counts(&limit).await, (40, 0, 60));
}

/// A vendor that bills more than its bound is posted in full, and the next admission sees it.
pub async fn a_truth_above_the_hold_is_posted(store: &dyn QuotaStore) {
    let stage = Stage::new(store);
    let limit = stage.total(100);
    stage.admitted(units(40), &[&limit]).await.settle(units(120));
    assert_eq!(stage.counts(&limit).await, (120, 0, 0));
    stage.refused(units(1), &[&limit]).await;
}

/// A lease ends with its grant, however that ends.
pub async fn concurrency_is_given_back_by_every_end(store: &dyn QuotaStore) {
    let stage = Stage::new(store);
    let limit = stage.limit(Measure::Concurrency, None, 1);
    let ends: [fn(Grant); 3] = [|g| g.settle(units(1)), Grant::void, drop];
    for end in ends {
        let grant = stage.admitted(units(1), &[&limit]).await;
        assert_eq!(stage.refused(units(1), &[&limit]).await.wait, RefusalWait::Soon);
        end(grant);
        assert_eq!(stage.counts(&limit).await, (0, 0, 1));
    }
}

/// A shadow limit is counted beside the enforced ones and refuses nothing.
pub async fn a_shadow_limit_counts_and_never_refuses(store: &dyn QuotaStore) {
    let stage = Stage::new(store);
    let mut shadow = Limit::clone(&stage.total(10));
    shadow.mode = Mode::Shadow;
    let shadow = Arc::new(shadow);
    for _ in 0..3 {
        stage.admitted(units(8), &[&shadow]).await.settle(units(8));
    }
    assert_eq!(stage.counts(&shadow).await, (24, 0, 0));
}

/// A limit of 0 admits nobody, not even what costs nothing.
pub async fn an_amount_of_zero_blocks_all(store: &dyn QuotaStore) {
    let stage = Stage::new(store);
    for limit in [
        stage.total(0),
        stage.limit(Measure::Requests, Some(Per::Minute), 0),
        stage.limit(Measure::Requests, Some(Per::Day), 0),
        stage.limit(Measure::Concurrency, None, 0),
    ] {
        assert_eq!(stage.refused(units(0), &[&limit]).await.wait, RefusalWait::TooLarge);
    }
}

/// A request that is larger than the whole limit is told so; it is never shrunk to fit.
pub async fn a_request_above_the_amount_can_never_fit(store: &dyn QuotaStore) {
    for per in [Per::Second, Per::Minute, Per::Day, Per::Month, Per::Total] {
        let stage = Stage::new(store);
        let limit = stage.limit(Measure::Tokens, Some(per), 100);
        assert_eq!(stage.refused(units(101), &[&limit]).await.wait, RefusalWait::TooLarge, "{per:?}");
        assert_eq!(stage.refused(units(u64::MAX), &[&limit]).await.wait, RefusalWait::TooLarge, "{per:?}");
    }
}

/// Raising and lowering an amount changes what is left, not what was used.
pub async fn changing_the_amount_keeps_the_counter(store: &dyn QuotaStore) {
    let stage = Stage::new(store);
    let before = stage.total(100);
    let grant = stage.admitted(units(60), &[&before]).await;
    let raised = stage.total(200);
    assert_eq!(stage.counts(&raised).await, (0, 60, 140));
    stage.admitted(units(140), &[&raised]).await.void();
    grant.settle(units(50));
    let lowered = stage.total(40);
    assert_eq!(stage.counts(&lowered).await, (50, 0, 0));
    stage.refused(units(1), &[&lowered]).await;
}

/// A limit that comes while requests run counts them too.
pub async fn a_new_limit_holds_what_was_admitted_before_it(store: &dyn QuotaStore) {
    let stage = Stage::new(store);
    let first = stage.admitted(units(60), &[]).await;
    let second = stage.admitted(units(30), &[]).await;
    let limits = [stage.total(100), stage.limit(Measure::Concurrency, None, 2)];
    let all: Vec<_> = limits.iter().collect();
    stage.refused(units(5), &all).await;
    assert_eq!(stage.counts(&limits[0]).await, (0, 90, 10));
    assert_eq!(stage.counts(&limits[1]).await, (0, 2, 0));
    first.settle(units(10));
    second.void();
    assert_eq!(stage.counts(&limits[0]).await, (10, 0, 90));
    drop(stage.admitted(units(90), &all).await);
}

/// Where several limits refuse, the caller is told of the one that time helps least.
pub async fn the_hardest_refusal_is_told(store: &dyn QuotaStore) {
    let stage = Stage::new(store);
    let rate = stage.limit(Measure::Requests, Some(Per::Minute), 1);
    let day = stage.limit(Measure::Requests, Some(Per::Day), 1);
    let total = stage.limit(Measure::Requests, Some(Per::Total), 1);
    drop(stage.admitted(units(1), &[&rate, &day, &total]).await);
    assert_eq!(stage.refused(units(1), &[&rate, &day]).await.limit.key, day.key);
    let refusal = stage.refused(units(1), &[&total, &day, &rate]).await;
    assert_eq!((&refusal.limit.key, refusal.wait), (&total.key, RefusalWait::Never));
}
