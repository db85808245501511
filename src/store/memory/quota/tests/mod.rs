use std::collections::HashMap;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::base::clock::ManualClock;
use crate::base::money::Money;
use crate::domain::caller::{Caller, Home, ModelPatterns};
use crate::domain::limit::{LimitKey, Measure, Per};
use crate::domain::modality::Modality;
use crate::domain::record::UsageRecord;
use crate::store::contract;
use crate::store::ledger::{GroupBy, RecordFilter, UsageRow};
use crate::store::memory::alerts::MemoryAlerts;
use crate::store::quota::{Refusal, RefusalWait};
use crate::store::tables::{Page, PageOf};

mod seeding;

const START: Timestamp = Timestamp::from_secs(1_800_000_000);

fn caller() -> Caller {
    let name = |text| Name::new(text).unwrap();
    let home = Home { workspace: name("acme"), project: name("site"), team: Some(name("web")), environment: None };
    Caller::new("key1".into(), None, home, ModelPatterns::all(), Arc::from(Modality::ALL.as_slice()))
}

fn limit(scope: &str, measure: Measure, per: Option<Per>, amount: u64) -> Arc<Limit> {
    let key = LimitKey { scope: scope.parse().unwrap(), modality: None, model: None, measure, per };
    Arc::new(Limit::new(key, amount))
}

fn spend_total(amount: u64) -> Arc<Limit> {
    limit("workspace:acme", Measure::Spend, Some(Per::Total), amount)
}

fn units(n: u64) -> Amounts {
    Amounts { input_tokens: n, spend: Money::from_nanos(n), ..Amounts::ONE_REQUEST }
}

fn request(hold: Amounts, limits: &[Arc<Limit>], now: Timestamp) -> Reservation {
    let (modality, model) = (Some(Modality::Text), Some("m".into()));
    Reservation { caller: caller(), modality, model, hold, limits: limits.into(), lasting: false, record: None, now }
}

/// Without a ledger, and where counters are known, the answer is there at once.
fn ask(store: &MemoryQuota, hold: Amounts, limits: &[Arc<Limit>], now: Timestamp) -> Result<Grant, Refusal> {
    match store.reserve(request(hold, limits, now)).now().expect("a known counter is not waited for").unwrap() {
        Decision::Admitted { grant, .. } => Ok(grant),
        Decision::Refused(refusal) => Err(refusal),
    }
}

fn counts(store: &MemoryQuota, limit: &Arc<Limit>, now: Timestamp) -> (u64, u64) {
    let states = tokio_test::block_on(store.state(vec![Arc::clone(limit)], now)).unwrap();
    (states[0].used, states[0].reserved)
}

#[tokio::test]
async fn the_memory_store_keeps_the_contract() {
    contract::quota::all(&MemoryQuota::new()).await;
    contract::quota::a_lasting_hold_that_was_forgotten_is_placed_again(&MemoryQuota::new(), &MemoryQuota::new()).await;
}

#[test]
fn sixty_four_threads_cannot_overshoot_a_cap_by_a_nano_dollar() {
    let store = MemoryQuota::new();
    let cap = spend_total(1_000_003);
    let limits = [cap.clone(), limit("key:key1", Measure::Concurrency, None, 48)];
    std::thread::scope(|scope| {
        for thread in 0..64u64 {
            let (store, cap, limits) = (&store, &cap, &limits);
            scope.spawn(move || {
                for round in 0..200u64 {
                    let hold = 1 + (thread * 31 + round * 17) % 997;
                    if let Ok(grant) = ask(store, units(hold), limits, START) {
                        let (used, reserved) = counts(store, cap, START);
                        assert!(used + reserved <= 1_000_003);
                        match round % 3 {
                            0 => grant.settle(units(hold)),
                            1 => grant.settle(units(hold / 2)),
                            _ => grant.void(),
                        }
                    }
                }
            });
        }
    });
    let (used, reserved) = counts(&store, &cap, START);
    assert!(used <= 1_000_003);
    assert_eq!((reserved, counts(&store, &limits[1], START)), (0, (0, 0)));
}

#[test]
fn of_two_hundred_at_once_exactly_those_that_fit_are_admitted() {
    let store = MemoryQuota::new();
    let limits = [spend_total(1_000)];
    let admitted = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..200 {
            scope.spawn(|| {
                if let Ok(grant) = ask(&store, units(100), &limits, START) {
                    admitted.fetch_add(1, Ordering::SeqCst);
                    grant.settle(units(100));
                }
            });
        }
    });
    assert_eq!(admitted.into_inner(), 10);
}

#[derive(Clone, Debug)]
enum Step {
    Reserve(u64),
    Settle(prop::sample::Index, u64),
    Void(prop::sample::Index),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0u64..60).prop_map(Step::Reserve),
        3 => (any::<prop::sample::Index>(), 0u64..60).prop_map(|(which, used)| Step::Settle(which, used)),
        1 => any::<prop::sample::Index>().prop_map(Step::Void),
        1 => (1u64..100_000).prop_map(Step::Pass),
    ]
}

proptest! {
    /// Whatever is reserved, settled, voided and waited for: each window's counter is what a plain model says, and never
    /// above its cap.
    #[test]
    fn posted_and_held_never_exceed_a_cap(steps in prop::collection::vec(step(), 1..120)) {
        const CAP: u64 = 100;
        let store = MemoryQuota::new();
        let day = limit("project:acme/site", Measure::Spend, Some(Per::Day), CAP);
        let rate = limit("workspace:acme", Measure::Tokens, Some(Per::Hour), CAP);
        let leases = limit("key:key1", Measure::Concurrency, None, 3);
        let limits = [day.clone(), rate.clone(), leases.clone()];
        let day_of = |at: Timestamp| at.as_secs() / 86_400;
        let mut posted: HashMap<u64, u64> = HashMap::new();
        let mut open: Vec<(u64, u64, Grant)> = Vec::new();
        let mut now = START;
        for step in steps {
            match step {
                Step::Pass(seconds) => now = now.plus(Duration::from_secs(seconds)),
                Step::Reserve(hold) => {
                    let held: u64 = open.iter().filter(|(on, ..)| *on == day_of(now)).map(|(_, held, _)| held).sum();
                    let has_room = posted.get(&day_of(now)).unwrap_or(&0) + held + hold <= CAP && open.len() < 3;
                    match ask(&store, units(hold), &limits, now) {
                        Ok(grant) => {
                            prop_assert!(has_room);
                            open.push((day_of(now), hold, grant));
                        }
                        Err(refusal) => prop_assert!(!has_room || refusal.limit.key == rate.key),
                    }
                }
                Step::Settle(which, used) if !open.is_empty() => {
                    let (on, held, grant) = open.swap_remove(which.index(open.len()));
                    let used = used.min(held);
                    *posted.entry(on).or_default() += used;
                    grant.settle(units(used));
                }
                Step::Void(which) if !open.is_empty() => open.swap_remove(which.index(open.len())).2.void(),
                Step::Settle(..) | Step::Void(_) => {}
            }
            let (used, reserved) = counts(&store, &day, now);
            let held: u64 = open.iter().filter(|(on, ..)| *on == day_of(now)).map(|(_, held, _)| held).sum();
            prop_assert_eq!((used, reserved), (posted.get(&day_of(now)).copied().unwrap_or(0), held));
            prop_assert!(used + reserved <= CAP);
            prop_assert_eq!(counts(&store, &leases, now), (0, open.len() as u64));
            let (used, reserved) = counts(&store, &rate, now);
            prop_assert!(used + reserved <= CAP);
        }
        prop_assert_eq!(store.overshoots(), 0);
    }
}

#[test]
fn limits_of_the_file_and_of_the_api_with_one_key_count_each_for_itself() {
    let store = MemoryQuota::new();
    let mut of_file = Limit::clone(&spend_total(100));
    of_file.source = crate::domain::limit::LimitSource::Config;
    let both = [spend_total(50), Arc::new(of_file)];
    ask(&store, units(50), &both, START).unwrap().settle(units(50));
    assert_eq!((counts(&store, &both[0], START), counts(&store, &both[1], START)), ((50, 0), (50, 0)));
    assert_eq!(ask(&store, units(1), &both, START).unwrap_err().limit.amount, 50);
}

#[test]
fn a_clock_that_lags_does_not_reopen_a_window_that_is_over() {
    let store = MemoryQuota::new();
    let day = [limit("workspace:acme", Measure::Spend, Some(Per::Day), 10)];
    let tomorrow = START.plus(Duration::from_secs(86_400));
    ask(&store, units(10), &day, tomorrow).unwrap().settle(units(10));
    assert!(ask(&store, units(1), &day, START).is_err());
    assert!(ask(&store, units(1), &day, tomorrow).is_err());
}

#[test]
fn an_overshoot_is_counted() {
    let store = MemoryQuota::new();
    ask(&store, units(1), &[spend_total(10)], START).unwrap().settle(units(2));
    assert_eq!(store.overshoots(), 1);
}

#[test]
fn counters_follow_the_limits_in_use_not_the_requests() {
    let store = MemoryQuota::new();
    let mut now = START;
    for round in 0..2_000u64 {
        let scope = format!("key:key{round}");
        let gone = [
            limit(&scope, Measure::Requests, Some(Per::Second), 10),
            limit(&scope, Measure::Requests, Some(Per::Day), 10),
            limit(&scope, Measure::Concurrency, None, 10),
        ];
        drop(ask(&store, units(1), &gone, now).unwrap());
        now = now.plus(Duration::from_secs(3_600));
    }
    // Those of a day, and those that pruning has not come round to yet.
    assert!(store.counters() < 300, "{}", store.counters());
}

#[test]
fn alerts_are_raised_once_for_each_limit_window_and_threshold() {
    let alerts = Arc::new(MemoryAlerts::new());
    let clock = Arc::new(ManualClock::at(START.plus(Duration::from_secs(9))));
    let store = MemoryQuota::new().alerts(alerts.clone()).clock(clock);
    let watched = |per, amount| {
        let mut watched = Limit::clone(&limit("workspace:acme", Measure::Spend, Some(per), amount));
        watched.alert_at = vec![500, 800, 1_200];
        [Arc::new(watched)]
    };
    let day = watched(Per::Day, 100);
    let held = ask(&store, units(90), &day, START).unwrap();
    let raised = || tokio_test::block_on(alerts.list(Page { after: None, limit: 100 })).unwrap().items;
    assert!(raised().is_empty(), "what is held raises nothing");
    held.void();
    for _ in 0..10 {
        ask(&store, units(10), &day, START).unwrap().settle(units(10));
    }
    let seen: Vec<_> = raised().iter().rev().map(|a| (a.threshold, a.used, a.time.as_secs())).collect();
    assert_eq!(seen, [(500, 50, START.as_secs() + 9), (800, 80, START.as_secs() + 9)]);
    assert_eq!(raised()[0].window_start, Some(crate::domain::window::start(Per::Day, START)));

    let tomorrow = START.plus(Duration::from_secs(86_400));
    ask(&store, units(50), &day, tomorrow).unwrap().settle(units(130));
    assert_eq!(raised().len(), 5, "a new window, all three at once");

    let total = watched(Per::Total, 10);
    ask(&store, units(5), &total, START).unwrap().settle(units(5));
    assert_eq!(raised()[0].window_start, None);

    let minute = watched(Per::Minute, 100);
    for _ in 0..3 {
        ask(&store, units(30), &minute, tomorrow).unwrap().settle(units(30));
    }
    let of_minute = raised().into_iter().filter(|a| a.limit.key.per == Some(Per::Minute)).count();
    assert_eq!(of_minute, 2);
}

#[test]
fn a_limit_that_is_set_anew_keeps_the_present_window_alone() {
    let store = MemoryQuota::new();
    let day = |amount| [limit("workspace:acme", Measure::Spend, Some(Per::Day), amount)];
    let minute = |amount| [limit("workspace:acme", Measure::Tokens, Some(Per::Minute), amount)];
    let tomorrow = START.plus(Duration::from_secs(86_400));
    for (now, n) in [(START, 70), (tomorrow, 20)] {
        for limits in [day(100), minute(100)] {
            ask(&store, units(n), &limits, now).unwrap().settle(units(n));
        }
    }
    for amount in [100, 200] {
        assert_eq!(counts(&store, &day(amount)[0], tomorrow), (20, 0));
        ask(&store, units(amount - 20), &day(amount), tomorrow).unwrap().void();
    }
    assert_eq!(counts(&store, &minute(100)[0], tomorrow), (20, 0));
    // A rate keeps its debt in time: 12 seconds of it are 40 of 200 a minute.
    assert_eq!(counts(&store, &minute(200)[0], tomorrow), (40, 0));
    ask(&store, units(160), &minute(200), tomorrow).unwrap().void();
    assert!(ask(&store, units(161), &minute(200), tomorrow).is_err());
}

#[test]
fn a_limit_that_comes_back_without_a_ledger_holds_what_still_runs() {
    let store = MemoryQuota::new();
    let slots = |amount| [limit("workspace:acme", Measure::Concurrency, None, amount)];
    ask(&store, units(1), &slots(2), START).unwrap().settle(units(1));
    let meanwhile = ask(&store, units(1), &[], START).unwrap();
    assert_eq!(counts(&store, &slots(1)[0], START), (0, 1));
    assert!(ask(&store, units(1), &slots(1), START).is_err());
    meanwhile.void();
    assert!(ask(&store, units(1), &slots(1), START).is_ok());
}

#[test]
fn a_limit_that_comes_back_in_another_window_holds_what_runs_in_it() {
    let store = MemoryQuota::new();
    let day = || [limit("workspace:acme", Measure::Spend, Some(Per::Day), 10)];
    ask(&store, units(5), &day(), START).unwrap().settle(units(5));
    let tomorrow = START.plus(Duration::from_secs(86_400));
    let running = ask(&store, units(8), &[], tomorrow).unwrap();
    let back = day();
    assert!(ask(&store, units(3), &back, tomorrow).is_err());
    running.settle(units(1));
    ask(&store, units(9), &back, tomorrow).unwrap().void();
}
