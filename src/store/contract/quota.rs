//! The contract of quota stores: what every [`QuotaStore`] must do.
//!
//! Each function is one promise, and panics where it is broken. It works in a workspace of its own and later than the one
//! before, so that all of them can run on one store, one after the other. Stores that take the time from each reservation
//! run [`all`]; stores with a clock of their own run [`timeless`].
//!
//! ```
//! # async fn run() {
//! use kancy::store::contract;
//! use kancy::store::memory::quota::MemoryQuota;
//!
//! contract::quota::all(&MemoryQuota::new()).await;
//! # }
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::base::clock::Timestamp;
use crate::base::id::new_id;
use crate::base::money::Money;
use crate::domain::caller::{Caller, Home, ModelPatterns};
use crate::domain::hold::LastingHold;
use crate::domain::limit::{Amounts, Limit, LimitKey, Measure, Mode, Per, Scope};
use crate::domain::modality::Modality;
use crate::domain::name::Name;
use crate::store::grant::Grant;
use crate::store::quota::{Decision, LimitState, QuotaStore, Refusal, RefusalWait, Reservation};

/// The suite for stores that go by the time of each reservation.
pub async fn all(store: &dyn QuotaStore) {
    timeless(store).await;
    a_calendar_window_starts_anew_at_its_end(store).await;
    a_settlement_posts_to_the_window_of_its_admission(store).await;
    a_rate_tells_the_true_time_to_the_next_admit(store).await;
    giving_back_never_returns_what_has_refilled(store).await;
}

/// The part of the suite in which no time passes: for stores with a clock of their own.
pub async fn timeless(store: &dyn QuotaStore) {
    exactly_the_amount_is_admitted(store).await;
    a_refusal_consumes_nothing_of_any_limit(store).await;
    settling_posts_the_truth_and_releases_the_rest(store).await;
    a_void_grant_leaves_no_trace(store).await;
    a_dropped_grant_posts_all_that_it_holds(store).await;
    a_truth_above_the_hold_is_posted(store).await;
    concurrency_is_given_back_by_every_end(store).await;
    a_shadow_limit_counts_and_never_refuses(store).await;
    an_amount_of_zero_blocks_all(store).await;
    a_request_above_the_amount_can_never_fit(store).await;
    changing_the_amount_keeps_the_counter(store).await;
    a_new_limit_holds_what_was_admitted_before_it(store).await;
    the_hardest_refusal_is_told(store).await;
    a_lasting_hold_outlives_its_grant_and_is_settled_by_whoever_has_it(store).await;
    a_lasting_hold_is_settled_once(store).await;
    a_lasting_hold_that_is_kept_counts_once(store).await;
}

/// A workspace of its own, and a caller in it.
struct Stage<'a> {
    store: &'a dyn QuotaStore,
    workspace: Name,
    caller: Caller,
    now: Timestamp,
}

/// A caller in `workspace`, with a key of its own that may use everything.
///
/// # Panics
/// When the name is none.
pub fn caller(workspace: &str) -> Caller {
    let name = |text: &str| Name::new(text).expect("a name");
    let home = Home { workspace: name(workspace), project: name("site"), team: None, environment: None };
    Caller::new(new_id(""), None, home, ModelPatterns::all(), Arc::from(Modality::ALL.as_slice()))
}

/// So much of each measure, and one request.
fn units(n: u64) -> Amounts {
    Amounts { input_tokens: n, spend: Money::from_nanos(n), ..Amounts::ONE_REQUEST }
}

impl<'a> Stage<'a> {
    fn new(store: &'a dyn QuotaStore) -> Self {
        let caller = caller(&new_id::<String>("w"));
        let workspace = caller.home().workspace.clone();
        // Time never goes back in a store, not even from one promise to the next.
        static STAGES: AtomicU64 = AtomicU64::new(0);
        let days = 40 * STAGES.fetch_add(1, Ordering::Relaxed);
        let now = Timestamp::from_secs(1_800_000_000 + days * 86_400);
        Self { store, workspace, caller, now }
    }

    fn limit(&self, measure: Measure, per: Option<Per>, amount: u64) -> Arc<Limit> {
        let scope = Scope::Workspace(self.workspace.clone());
        Arc::new(Limit::new(LimitKey { scope, modality: None, model: None, measure, per }, amount))
    }

    fn total(&self, amount: u64) -> Arc<Limit> {
        self.limit(Measure::Spend, Some(Per::Total), amount)
    }

    async fn ask(&self, hold: Amounts, limits: &[&Arc<Limit>]) -> Decision {
        self.ask_for(hold, limits, false).await
    }

    async fn lasting(&self, hold: Amounts, limits: &[&Arc<Limit>]) -> (Grant, LastingHold) {
        let Decision::Admitted { grant, .. } = self.ask_for(hold, limits, true).await else { panic!("it fits") };
        let hold = grant.hold().cloned().expect("the grant of a lasting reservation has a hold");
        assert_eq!((&hold.home, &*hold.key_id), (self.caller.home(), self.caller.key_id()));
        (grant, hold)
    }

    async fn settle(&self, hold: &LastingHold, used: Option<Amounts>) {
        self.store.settle(hold.clone(), used).await.expect("a lasting hold is settled");
    }

    async fn keep(&self, hold: &LastingHold) {
        self.store.keep(vec![hold.clone()], Duration::from_secs(3_600)).await.expect("a lasting hold is kept");
    }

    async fn ask_for(&self, hold: Amounts, limits: &[&Arc<Limit>], lasting: bool) -> Decision {
        let limits = limits.iter().map(|l| Arc::clone(l)).collect();
        let (modality, model) = (Some(Modality::Text), Some("m".into()));
        let reservation = Reservation {
            caller: self.caller.clone(),
            modality,
            model,
            hold,
            limits,
            lasting,
            record: None,
            now: self.now,
        };
        self.store.reserve(reservation).await.expect("the store answers")
    }

    async fn admitted(&self, hold: Amounts, limits: &[&Arc<Limit>]) -> Grant {
        match self.ask(hold, limits).await {
            Decision::Admitted { grant, .. } => grant,
            Decision::Refused(refusal) => panic!("refused: {refusal:?}"),
        }
    }

    async fn refused(&self, hold: Amounts, limits: &[&Arc<Limit>]) -> Refusal {
        match self.ask(hold, limits).await {
            Decision::Admitted { .. } => panic!("admitted {hold:?}"),
            Decision::Refused(refusal) => refusal,
        }
    }

    async fn state(&self, limit: &Arc<Limit>) -> LimitState {
        let states = self.store.state(vec![Arc::clone(limit)], self.now).await.expect("the store answers");
        states.into_iter().next().expect("a state for each limit")
    }

    /// Used, reserved and remaining.
    async fn counts(&self, limit: &Arc<Limit>) -> (u64, u64, u64) {
        let state = self.state(limit).await;
        (state.used, state.reserved, state.remaining)
    }
}

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
    let stage = Stage { store, ..stage };
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
