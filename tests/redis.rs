//! The Redis quota store, on a throw-away server: the contract, two instances that share one server, and lost counters.
#![cfg(feature = "redis")]

#[path = "support/servers.rs"]
mod servers;

use std::sync::Arc;
use std::time::{Duration, Instant};

use kancy::store::contract;
use kancy::store::guarded::Guarded;
use kancy::store::memory::alerts::MemoryAlerts;
use kancy::store::quota::{Decision, RefusalWait, Reservation};
use kancy::store::redis::RedisQuota;
use kancy::store::tables::{AlertStore, Page};
use kancy::{
    Amounts, Limit, LimitKey, Measure, MemoryLedger, Money, Per, QuotaStore, Scope, Timestamp, UsageRecord, UsageSink,
};
use servers::{Server, redis};

async fn connect(server: &Server, ledger: &Arc<MemoryLedger>) -> RedisQuota {
    RedisQuota::connect(&server.url, Arc::clone(ledger) as _).await.unwrap()
}

fn ledger() -> Arc<MemoryLedger> {
    Arc::new(MemoryLedger::new())
}

fn limit(measure: Measure, per: Option<Per>, amount: u64) -> Arc<Limit> {
    let scope: Scope = "workspace:acme".parse().unwrap();
    Arc::new(Limit::new(LimitKey { scope, modality: None, model: None, measure, per }, amount))
}

fn total(amount: u64) -> Arc<Limit> {
    limit(Measure::Spend, Some(Per::Total), amount)
}

fn spend(nanos: u64) -> Amounts {
    Amounts { spend: Money::from_nanos(nanos), input_tokens: nanos, ..Amounts::ONE_REQUEST }
}

fn request(hold: Amounts, limits: &[Arc<Limit>]) -> Reservation {
    let caller = contract::quota::caller("acme");
    let limits = limits.into();
    Reservation {
        caller,
        modality: None,
        model: None,
        hold,
        limits,
        lasting: false,
        record: None,
        now: Timestamp::EPOCH,
    }
}

async fn admitted(store: &impl QuotaStore, hold: Amounts, limits: &[Arc<Limit>]) -> kancy::store::grant::Grant {
    match store.reserve(request(hold, limits)).await.unwrap() {
        Decision::Admitted { grant, .. } => grant,
        Decision::Refused(refusal) => panic!("refused: {refusal:?}"),
    }
}

async fn refused(store: &impl QuotaStore, hold: Amounts, limits: &[Arc<Limit>]) -> RefusalWait {
    match store.reserve(request(hold, limits)).await.unwrap() {
        Decision::Admitted { .. } => panic!("admitted"),
        Decision::Refused(refusal) => refusal.wait,
    }
}

async fn counts(store: &impl QuotaStore, limit: &Arc<Limit>) -> (u64, u64) {
    let state = store.state(vec![Arc::clone(limit)], Timestamp::EPOCH).await.unwrap().remove(0);
    (state.used, state.reserved)
}

async fn command(server: &Server, words: &[&str]) {
    let client = redis::Client::open(server.url.as_str()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let mut command = redis::cmd(words[0]);
    command.arg(&words[1..]);
    command.query_async::<redis::Value>(&mut connection).await.unwrap();
}

/// A record of `acme` that cost `nanos`, of this month.
async fn post(ledger: &MemoryLedger, id: &str, nanos: u64) {
    let now = kancy::Clock::now(&kancy::SystemClock::new());
    let cost = Money::from_nanos(nanos);
    let usage = kancy::Usage { input_tokens: nanos, ..kancy::Usage::NONE };
    ledger.record(UsageRecord { cost, usage, ..contract::ledger::record(id, now) }).await.unwrap();
}

#[tokio::test]
async fn it_keeps_the_contract() {
    let Some(server) = redis() else { return };
    let store = connect(&server, &ledger()).await;
    contract::quota::timeless(&store).await;
    contract::quota::timeless(&Guarded::new(store.clone())).await;
    let Some(empty) = redis() else { return };
    let emptied = connect(&empty, &ledger()).await;
    contract::quota::a_lasting_hold_that_was_forgotten_is_placed_again(&store, &emptied).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_of_two_instances_get_exactly_a_caps_worth() {
    let Some(server) = redis() else { return };
    let ledger = ledger();
    let stores = [connect(&server, &ledger).await, connect(&server, &ledger).await];
    let limits = [total(40), limit(Measure::Concurrency, None, 70), limit(Measure::Requests, Some(Per::Hour), 1_000)];
    let callers: Vec<_> = (0..64)
        .map(|n| {
            let (store, limits) = (stores[n % 2].clone(), limits.to_vec());
            tokio::spawn(async move {
                let mut taken = 0;
                for _ in 0..3 {
                    if let Decision::Admitted { grant, .. } = store.reserve(request(spend(1), &limits)).await.unwrap() {
                        grant.settle(spend(1));
                        taken += 1;
                    }
                }
                taken
            })
        })
        .collect();
    let mut taken = 0;
    for caller in callers {
        taken += caller.await.unwrap();
    }
    assert_eq!(taken, 40);
    for store in &stores {
        store.flush().await;
    }
    assert_eq!(counts(&stores[0], &limits[0]).await, (40, 0));
    assert_eq!(counts(&stores[1], &limits[1]).await, (0, 0));
}

#[tokio::test]
async fn an_empty_redis_is_no_fresh_budget() {
    let Some(server) = redis() else { return };
    let ledger = ledger();
    let store = connect(&server, &ledger).await;
    let limits = [total(100), limit(Measure::Tokens, Some(Per::Hour), 100), limit(Measure::Concurrency, None, 2)];
    admitted(&store, spend(50), &limits).await.settle(spend(50));
    post(&ledger, "a", 50).await;
    let running = admitted(&store, spend(30), &limits).await;
    command(&server, &["FLUSHALL"]).await;
    refused(&store, spend(21), &limits).await;
    assert_eq!(counts(&store, &limits[0]).await, (50, 30), "what is posted and what runs are both there again");
    assert_eq!(counts(&store, &limits[2]).await, (0, 1));
    command(&server, &["SCRIPT", "FLUSH"]).await;
    running.settle(spend(10));
    assert_eq!(counts(&store, &limits[0]).await, (60, 0));
    drop(admitted(&store, spend(35), &limits).await);
}

#[tokio::test]
async fn a_new_instance_and_a_limit_that_comes_back_start_from_the_ledger() {
    let Some(server) = redis() else { return };
    let ledger = ledger();
    post(&ledger, "a", 60).await;
    let store = connect(&server, &ledger).await;
    assert_eq!(counts(&store, &total(100)).await, (60, 0));
    // It is away while 30 more are spent.
    post(&ledger, "b", 30).await;
    refused(&store, spend(11), &[total(100)]).await;
    let again = connect(&server, &ledger).await;
    assert_eq!(counts(&again, &total(200)).await, (90, 0));
}

#[tokio::test]
async fn an_instance_that_stops_leaves_no_lost_money_and_no_leaked_slot() {
    let Some(server) = redis() else { return };
    let limits = [total(100), limit(Measure::Concurrency, None, 1)];
    let (url, held) = (server.url.clone(), limits.to_vec());
    let lease = Duration::from_millis(500);
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let store = RedisQuota::connect_with(&url, ledger(), lease).await.unwrap();
            std::mem::forget(admitted(&store, spend(30), &held).await);
            std::mem::forget(store);
        });
        runtime.shutdown_background();
    })
    .join()
    .unwrap();
    let survivor = RedisQuota::connect_with(&server.url, ledger(), lease).await.unwrap();
    assert_eq!(refused(&survivor, spend(1), &limits).await, RefusalWait::Soon);
    let end = Instant::now() + Duration::from_secs(5);
    while counts(&survivor, &limits[1]).await != (0, 0) {
        assert!(Instant::now() < end, "the slot is not freed");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(counts(&survivor, &limits[0]).await, (30, 0));
    // A living one keeps its slot for longer than a lease.
    let living = admitted(&survivor, spend(1), &limits).await;
    tokio::time::sleep(lease * 2).await;
    assert_eq!(counts(&survivor, &limits[1]).await, (0, 1));
    drop(living);
}

#[tokio::test]
async fn a_jobs_hold_outlives_its_instance_and_is_settled_by_another() {
    let Some(server) = redis() else { return };
    let limits = [total(100), limit(Measure::Concurrency, None, 2)];
    let (url, held) = (server.url.clone(), limits.to_vec());
    let lease = Duration::from_millis(300);
    let hold = std::thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let hold = runtime.block_on(async {
            let store = RedisQuota::connect_with(&url, ledger(), lease).await.unwrap();
            std::mem::forget(admitted(&store, spend(5), &held).await);
            let job = Reservation { lasting: true, ..request(spend(30), &held) };
            let Decision::Admitted { grant, .. } = store.reserve(job).await.unwrap() else { panic!("it fits") };
            let hold = grant.hold().cloned().unwrap();
            store.keep(vec![hold.clone()], Duration::from_secs(60)).await.unwrap();
            std::mem::forget(store);
            hold
        });
        runtime.shutdown_background();
        hold
    })
    .join()
    .unwrap();
    let survivor = RedisQuota::connect_with(&server.url, ledger(), lease).await.unwrap();
    let end = Instant::now() + Duration::from_secs(5);
    while counts(&survivor, &limits[0]).await != (5, 30) {
        assert!(Instant::now() < end, "the request that died is not posted beside the job");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tokio::time::sleep(lease).await;
    assert_eq!(counts(&survivor, &limits[1]).await, (0, 1));
    for _ in 0..2 {
        survivor.settle(hold.clone(), Some(spend(10))).await.unwrap();
        assert_eq!(counts(&survivor, &limits[0]).await, (15, 0));
        survivor.keep(vec![hold.clone()], Duration::from_secs(60)).await.unwrap();
    }
    assert_eq!(counts(&survivor, &limits[1]).await, (0, 0));
}

#[tokio::test]
async fn a_jobs_hold_that_nobody_looks_at_any_more_is_posted() {
    let Some(server) = redis() else { return };
    let store = connect(&server, &ledger()).await;
    let limits = [total(100), limit(Measure::Concurrency, None, 1)];
    let job = Reservation { lasting: true, ..request(spend(30), &limits) };
    let Decision::Admitted { grant, .. } = store.reserve(job).await.unwrap() else { panic!("it fits") };
    let hold = grant.hold().cloned().unwrap();
    store.keep(vec![hold.clone()], Duration::from_millis(50)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(60)).await;
    assert_eq!(counts(&store, &limits[1]).await, (0, 0));
    store.settle(hold, Some(spend(1))).await.unwrap();
    assert_eq!(counts(&store, &limits[0]).await, (30, 0), "it has had its end");
    let unkept = Reservation { lasting: true, ..request(spend(30), &limits) };
    let Decision::Admitted { grant, .. } = store.reserve(unkept).await.unwrap() else { panic!("it fits") };
    let id = grant.hold().cloned().unwrap().id;
    assert_eq!(counts(&store, &limits[0]).await, (30, 30));
    command(&server, &["ZADD", "{kancy:acme}:leases", "XX", "0", &id]).await;
    assert_eq!(counts(&store, &limits[0]).await, (30, 0), "without a job it is void");
}

#[tokio::test]
async fn amounts_at_the_edge_of_exactness_are_exact() {
    let Some(server) = redis() else { return };
    let store = connect(&server, &ledger()).await;
    let most = (1u64 << 53) - 1;
    for per in [Per::Second, Per::Hour, Per::Total] {
        let cap = [limit(Measure::Spend, Some(per), most)];
        let grant = admitted(&store, spend(most - 1), &cap).await;
        if per == Per::Total {
            drop(admitted(&store, spend(1), &cap).await);
            refused(&store, spend(1), &cap).await;
            assert_eq!(counts(&store, &cap[0]).await, (1, most - 1));
        }
        grant.void();
    }
    // More than that is kept at that.
    let endless = [limit(Measure::Spend, Some(Per::Month), u64::MAX)];
    drop(admitted(&store, spend(u64::MAX), &endless).await);
    refused(&store, spend(1), &endless).await;
}

#[tokio::test]
async fn a_rate_tells_a_wait_that_helps_and_gives_back_what_was_not_used() {
    let Some(server) = redis() else { return };
    let store = connect(&server, &ledger()).await;
    let rate = [limit(Measure::Tokens, Some(Per::Second), 7)];
    let grant = admitted(&store, spend(7), &rate).await;
    let RefusalWait::After(wait) = refused(&store, spend(3), &rate).await else { panic!("a rate refills") };
    assert!(wait <= Duration::from_nanos(3_000_000_000 / 7 + 1_000), "{wait:?}");
    tokio::time::sleep(wait).await;
    let later = admitted(&store, spend(3), &rate).await;
    // All but what has refilled is given back, and the later one's debt stays.
    grant.void();
    let (_, reserved) = counts(&store, &rate[0]).await;
    assert!((1..=3).contains(&reserved), "{reserved}");
    later.void();
}

#[tokio::test]
async fn alerts_are_raised_at_the_crossing() {
    let Some(server) = redis() else { return };
    let alerts = Arc::new(MemoryAlerts::new());
    let store = connect(&server, &ledger()).await.alerts(Arc::clone(&alerts) as _);
    let cap = [Arc::new(Limit { alert_at: vec![500, 1000], ..Limit::clone(&total(10)) })];
    for _ in 0..10 {
        admitted(&store, spend(1), &cap).await.settle(spend(1));
    }
    store.flush().await;
    let raised = alerts.list(Page { after: None, limit: 10 }).await.unwrap().items;
    assert_eq!(raised.iter().map(|a| (a.threshold, a.used)).collect::<Vec<_>>(), [(1000, 10), (500, 5)]);
}

#[tokio::test]
async fn a_reservation_that_nobody_waits_for_is_void() {
    let Some(server) = redis() else { return };
    let store = connect(&server, &ledger()).await;
    let cap = [total(100)];
    assert_eq!(counts(&store, &cap[0]).await, (0, 0));
    for _ in 0..10 {
        let abandoned = store.reserve(request(spend(10), &cap));
        tokio::select! {
            biased;
            _ = abandoned => {}
            () = tokio::task::yield_now() => {}
        }
    }
    let end = Instant::now() + Duration::from_secs(5);
    while counts(&store, &cap[0]).await.1 != 0 {
        assert!(Instant::now() < end, "a hold is left");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(counts(&store, &cap[0]).await, (0, 0));
}

#[tokio::test]
async fn a_server_that_does_not_answer_costs_a_tenth_of_a_second() {
    let Some(server) = redis() else { return };
    let store = Guarded::new(connect(&server, &ledger()).await);
    let cap = [total(100)];
    drop(admitted(&store, spend(1), &cap).await);
    command(&server, &["CLIENT", "PAUSE", "3000"]).await;
    for _ in 0..7 {
        let start = Instant::now();
        store.reserve(request(spend(1), &cap)).await.unwrap_err();
        assert!(start.elapsed() < Duration::from_millis(200), "{:?}", start.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn admits_a_second() {
    let Some(server) = redis() else { return };
    let store = connect(&server, &ledger()).await;
    let limits = [total(u64::MAX), limit(Measure::Requests, Some(Per::Minute), 1_000_000)];
    for parallel in [1, 64] {
        let start = Instant::now();
        let rounds = 10_000 / parallel;
        let tasks: Vec<_> = (0..parallel)
            .map(|_| {
                let (store, limits) = (store.clone(), limits.clone());
                tokio::spawn(async move {
                    for _ in 0..rounds {
                        admitted(&store, spend(1), &limits).await.settle(spend(1));
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        println!("{parallel} callers: {:.0} admits/s", (rounds * parallel) as f64 / start.elapsed().as_secs_f64());
    }
}
