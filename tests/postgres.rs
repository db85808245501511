//! The PostgreSQL store, on a throw-away server: the contracts, two instances that share one database, and crashes.
#![cfg(feature = "postgres")]

#[path = "support/databases.rs"]
mod databases;
#[path = "support/servers.rs"]
mod servers;

use std::sync::Arc;
use std::time::{Duration, Instant};

use databases::{connect, database};
use kancy::domain::job::Job;
use kancy::domain::key::KeyRefusal;
use kancy::store::contract;
use kancy::store::ledger::RecordFilter;
use kancy::store::postgres::{PostgresOptions, PostgresStore};
use kancy::store::quota::{Decision, Reservation};
use kancy::store::tables::{AlertStore, AuditEntry, AuditStore, LimitStore, Page};
use kancy::{
    Amounts, KeyAdmin, KeyStore, Limit, LimitKey, Measure, Money, Outcome, Per, QuotaStore, Scope, StoreErrorKind,
    Timestamp, UsageRecord, UsageSink, UsageStore,
};
use servers::postgres;

fn total(workspace: &str, amount: u64) -> Arc<Limit> {
    limit(workspace, Measure::Spend, Some(Per::Total), amount)
}

fn limit(workspace: &str, measure: Measure, per: Option<Per>, amount: u64) -> Arc<Limit> {
    let scope: Scope = format!("workspace:{workspace}").parse().unwrap();
    Arc::new(Limit::new(LimitKey { scope, modality: None, model: None, measure, per }, amount))
}

fn spend(nanos: u64) -> Amounts {
    Amounts { spend: Money::from_nanos(nanos), ..Amounts::ONE_REQUEST }
}

fn request(workspace: &str, hold: Amounts, limits: &[Arc<Limit>]) -> Reservation {
    let caller = contract::quota::caller(workspace);
    Reservation {
        caller,
        modality: None,
        model: None,
        hold,
        limits: limits.into(),
        lasting: false,
        record: None,
        now: Timestamp::EPOCH,
    }
}

async fn counts(store: &PostgresStore, limit: &Arc<Limit>) -> (u64, u64) {
    let state = store.state(vec![Arc::clone(limit)], Timestamp::EPOCH).await.unwrap().remove(0);
    (state.used, state.reserved)
}

async fn eventually(what: &str, within: Duration, mut holds: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + within;
    while !holds().await {
        assert!(Instant::now() < end, "{what}: not within {within:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until `store` hears what other instances change: once it does, it trusts nothing that it knew before.
async fn hears(store: &PostgresStore) {
    eventually("it listens", Duration::from_secs(5), async || store.epoch() > 0).await;
}

#[tokio::test]
async fn it_keeps_the_contracts() {
    let Some(server) = postgres() else { return };
    let store = connect(&database(&server).await).await;
    contract::keys::run(&store, &store).await;
    contract::quota::timeless(&store).await;
    contract::ledger::run(async || connect(&database(&server).await).await).await;
}

#[tokio::test]
async fn small_tables_are_paged_and_limits_are_put_as_whole_sets() {
    let Some(server) = postgres() else { return };
    let url = database(&server).await;
    let (store, other) = (connect(&url).await, connect(&url).await);
    let acme = [total("acme", 5), limit("acme", Measure::Requests, Some(Per::Minute), 60)].map(|l| Limit::clone(&l));
    let scope = acme[0].key.scope.clone();
    let seen = other.limits_changed(0).await;
    store.put(scope.clone(), acme.to_vec()).await.unwrap();
    tokio::time::timeout(Duration::from_secs(1), other.limits_changed(seen))
        .await
        .expect("it is heard of within a second");
    assert_eq!(other.all().await.unwrap(), acme);
    store.put(scope, acme[1..].to_vec()).await.unwrap();
    assert_eq!(other.all().await.unwrap(), acme[1..]);

    for n in 0..5u64 {
        let entry = AuditEntry {
            id: n.to_string().into(),
            time: Timestamp::from_secs(n),
            actor: "admin".into(),
            action: "key.create".into(),
            target: "k".into(),
            detail: serde_json::json!({"n": n}),
        };
        store.append(entry).await.unwrap();
    }
    let first = AuditStore::list(&store, Page { after: None, limit: 3 }).await.unwrap();
    let second = AuditStore::list(&other, Page { after: first.next.clone(), limit: 3 }).await.unwrap();
    let ids: Vec<_> = first.items.iter().chain(&second.items).map(|e| e.time.as_secs()).collect();
    assert_eq!((ids, second.next), (vec![4, 3, 2, 1, 0], None));
}

#[tokio::test]
async fn alerts_of_both_instances_are_kept_once() {
    let Some(server) = postgres() else { return };
    let url = database(&server).await;
    let stores = [connect(&url).await, connect(&url).await];
    let cap = Arc::new(Limit { alert_at: vec![500, 1000], ..Limit::clone(&total("acme", 10)) });
    for n in 0..10 {
        let Decision::Admitted { grant, .. } =
            stores[n % 2].reserve(request("acme", spend(1), &[Arc::clone(&cap)])).await.unwrap()
        else {
            panic!("it fits")
        };
        grant.settle(spend(1));
        stores[n % 2].flush().await;
    }
    eventually("both alerts are there", Duration::from_secs(5), async || {
        AlertStore::list(&stores[0], Page { after: None, limit: 10 }).await.unwrap().items.len() == 2
    })
    .await;
    let alerts = AlertStore::list(&stores[1], Page { after: None, limit: 10 }).await.unwrap();
    assert_eq!(alerts.items.iter().map(|a| (a.threshold, a.used)).collect::<Vec<_>>(), [(1000, 10), (500, 5)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_of_two_instances_get_exactly_a_caps_worth() {
    let Some(server) = postgres() else { return };
    let url = database(&server).await;
    let stores = [connect(&url).await, connect(&url).await];
    let limits = [total("acme", 40), limit("acme", Measure::Concurrency, None, 50)];
    let callers: Vec<_> = (0..64)
        .map(|n| {
            let (store, limits) = (stores[n % 2].clone(), limits.to_vec());
            tokio::spawn(async move {
                let mut taken = 0;
                for _ in 0..3 {
                    if let Decision::Admitted { grant, .. } =
                        store.reserve(request("acme", spend(1), &limits)).await.unwrap()
                    {
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
async fn a_key_that_is_revoked_here_is_refused_there_within_a_second() {
    let Some(server) = postgres() else { return };
    let url = database(&server).await;
    let (here, there) = (connect(&url).await, connect(&url).await);
    let record = contract::keys::sample("acme", "site");
    let (id, digest) = (record.id.clone(), record.digest);
    here.insert(record).await.unwrap();
    hears(&there).await;
    let epoch = there.epoch();
    assert_eq!(there.lookup(&id).await.unwrap().unwrap().check(&digest, Timestamp::EPOCH), Ok(()));
    here.revoke(&id, Timestamp::from_secs(1)).await.unwrap();
    eventually("the epoch grows", Duration::from_secs(1), async || there.epoch() > epoch).await;
    let seen = there.lookup(&id).await.unwrap().unwrap().check(&digest, Timestamp::EPOCH);
    assert_eq!(seen, Err(KeyRefusal::Revoked));
}

#[tokio::test]
async fn while_the_ear_is_broken_no_cache_is_trusted() {
    let Some(server) = postgres() else { return };
    let store = connect(&database(&server).await).await;
    hears(&store).await;
    let epoch = store.epoch();
    drop(server);
    eventually("the epoch grows on", Duration::from_secs(5), async || store.epoch() > epoch + 4).await;
}

/// Runs one instance in a runtime of its own, and kills that with requests in flight.
fn crash(url: String, limits: Vec<Arc<Limit>>, records: Vec<UsageRecord>) {
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let store = PostgresStore::connect_with(&url, quick()).await.unwrap();
            for record in &records {
                store.open(record).await.unwrap();
                let held = record.held.unwrap();
                // Without its name a counter that is met while the row has ended and the hold is open counts both.
                let reservation = Reservation { record: Some(record.id.clone()), ..request("acme", held, &limits) };
                let Decision::Admitted { grant, .. } = store.reserve(reservation).await.unwrap() else {
                    panic!("it fits")
                };
                std::mem::forget(grant);
            }
            std::mem::forget(store);
        });
        runtime.shutdown_background();
    })
    .join()
    .unwrap();
}

fn quick() -> PostgresOptions {
    let mut options = PostgresOptions::default();
    options.stale_after = Duration::from_secs(1);
    options
}

#[tokio::test]
async fn an_instance_that_stops_leaves_no_lost_money_and_no_leaked_slot() {
    let Some(server) = postgres() else { return };
    let url = database(&server).await;
    let limits = vec![total("acme", 100), limit("acme", Measure::Concurrency, None, 2)];
    let running = |id: &str| UsageRecord {
        outcome: None,
        held: Some(spend(30)),
        cost: Money::ZERO,
        usage: kancy::Usage::NONE,
        ..contract::ledger::record(id, contract::ledger::NOON)
    };
    crash(url.clone(), limits.clone(), vec![running("a"), running("b")]);
    let survivor = PostgresStore::connect_with(&url, quick()).await.unwrap();
    assert!(matches!(survivor.reserve(request("acme", spend(1), &limits)).await.unwrap(), Decision::Refused(_)));
    eventually("the slots are free", Duration::from_secs(30), async || counts(&survivor, &limits[1]).await == (0, 0))
        .await;
    assert_eq!(counts(&survivor, &limits[0]).await, (60, 0));
    let posted = survivor.records(RecordFilter::default(), Page { after: None, limit: 10 }).await.unwrap().items;
    let ends: Vec<_> = posted.iter().map(|r| (r.outcome, r.cost.as_nanos(), r.estimated, r.held)).collect();
    assert_eq!(ends, [(Some(Outcome::UnknownAfterCrash), 30, true, None); 2]);
    assert!(matches!(survivor.reserve(request("acme", spend(41), &limits)).await.unwrap(), Decision::Refused(_)));
    assert!(matches!(survivor.reserve(request("acme", spend(40), &limits)).await.unwrap(), Decision::Admitted { .. }));
}

#[tokio::test]
async fn a_jobs_hold_and_record_outlive_its_instance_and_another_ends_them() {
    let Some(server) = postgres() else { return };
    let url = database(&server).await;
    let limits = vec![total("acme", 100), limit("acme", Measure::Concurrency, None, 2)];
    let running = |id: &str, held: u64| UsageRecord {
        outcome: None,
        held: Some(spend(held)),
        cost: Money::ZERO,
        ..contract::ledger::record(id, contract::ledger::NOON)
    };
    let (maker, held) = (url.clone(), limits.clone());
    let (of_job, of_request) = (running("of job", 30), running("of request", 5));
    let hold = std::thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let hold = runtime.block_on(async {
            let store = PostgresStore::connect_with(&maker, quick()).await.unwrap();
            let on_record = |record: &UsageRecord| Reservation {
                record: Some(record.id.clone()),
                ..request("acme", record.held.unwrap(), &held)
            };
            let lasting = Reservation { lasting: true, ..on_record(&of_job) };
            let Decision::Admitted { grant, .. } = store.reserve(lasting).await.unwrap() else { panic!("it fits") };
            let beside = on_record(&of_request);
            let hold = grant.hold().cloned().unwrap();
            let job = contract::jobs::sample("acme");
            let job = Job { record: Some(Box::new(of_job.clone().into())), hold: Some(hold.clone().into()), ..job };
            kancy::store::jobs::JobStore::put(&store, job).await.unwrap();
            store.keep(vec![hold.clone()], Duration::from_secs(86_400)).await.unwrap();
            for record in [of_job, of_request] {
                store.open(&record).await.unwrap();
            }
            std::mem::forget(store.reserve(beside).await.unwrap());
            std::mem::forget(store);
            hold
        });
        runtime.shutdown_background();
        hold
    })
    .join()
    .unwrap();
    let survivor = PostgresStore::connect_with(&url, quick()).await.unwrap();
    let outcomes = async || {
        let page = Page { after: None, limit: 10 };
        let records = survivor.records(RecordFilter::default(), page).await.unwrap().items;
        ["of job", "of request"].map(|id| records.iter().find(|r| &*r.id == id).unwrap().outcome)
    };
    eventually("the dead instance's request is posted", Duration::from_secs(30), async || {
        counts(&survivor, &limits[0]).await == (5, 30) && outcomes().await == [None, Some(Outcome::UnknownAfterCrash)]
    })
    .await;
    assert_eq!(counts(&survivor, &limits[1]).await, (0, 1));
    for _ in 0..2 {
        survivor.settle(hold.clone(), Some(spend(10))).await.unwrap();
        assert_eq!(counts(&survivor, &limits[0]).await, (15, 0));
        survivor.keep(vec![hold.clone()], Duration::from_secs(86_400)).await.unwrap();
    }
    assert_eq!(counts(&survivor, &limits[1]).await, (0, 0));
}

#[tokio::test]
async fn a_jobs_hold_that_nobody_looks_at_any_more_is_posted() {
    let Some(server) = postgres() else { return };
    let url = database(&server).await;
    let store = PostgresStore::connect_with(&url, quick()).await.unwrap();
    let limits = [total("acme", 100), limit("acme", Measure::Concurrency, None, 1)];
    let lasting = Reservation { lasting: true, ..request("acme", spend(30), &limits) };
    let Decision::Admitted { grant, .. } = store.reserve(lasting).await.unwrap() else { panic!("it fits") };
    let hold = grant.hold().cloned().unwrap();
    let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    store.keep(vec![hold.clone()], Duration::from_secs(60)).await.unwrap();
    let unkept = Reservation { lasting: true, ..request("acme", spend(30), &limits[..1]) };
    drop(store.reserve(unkept).await.unwrap());
    assert_eq!(counts(&store, &limits[0]).await, (0, 60));
    client.batch_execute("UPDATE kancy_quota_grants SET until = now()").await.unwrap();
    eventually("the slot is free", Duration::from_secs(30), async || counts(&store, &limits[1]).await == (0, 0)).await;
    store.settle(hold, Some(spend(1))).await.unwrap();
    assert_eq!(counts(&store, &limits[0]).await, (30, 0), "it has had its end; the one without a job is void");
}

#[tokio::test]
async fn counters_that_are_lost_are_rebuilt_from_the_ledger() {
    let Some(server) = postgres() else { return };
    let url = database(&server).await;
    let store = connect(&url).await;
    let cap = [total("acme", 100)];
    store
        .record(UsageRecord { cost: Money::from_nanos(60), ..contract::ledger::record("a", Timestamp::from_secs(5)) })
        .await
        .unwrap();
    assert_eq!(counts(&store, &cap[0]).await, (60, 0));
    let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute("TRUNCATE kancy_quota_counters").await.unwrap();
    assert!(matches!(store.reserve(request("acme", spend(41), &cap)).await.unwrap(), Decision::Refused(_)));
}

#[tokio::test]
async fn text_that_postgres_does_not_take_holds_up_nobody() {
    let Some(server) = postgres() else { return };
    let store = connect(&database(&server).await).await;
    let strange =
        UsageRecord { model: Some("a\0b\\u0000".into()), ..contract::ledger::record("a", contract::ledger::NOON) };
    let both = (store.record(strange), store.record(contract::ledger::record("b", contract::ledger::NOON)));
    both.0.await.unwrap();
    both.1.await.unwrap();
    let models = store.usage(RecordFilter::default(), vec![kancy::store::ledger::GroupBy::Model]).await.unwrap();
    let mut models: Vec<_> = models.into_iter().filter_map(|row| row.group[0].clone()).collect();
    models.sort();
    assert_eq!(models, ["a\u{fffd}b\\u0000", "gpt-4o"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_writers_of_the_same_rows_do_not_wait_for_each_other_for_ever() {
    let Some(server) = postgres() else { return };
    let url = database(&server).await;
    let writers: Vec<_> = (0..8u64)
        .map(|writer| {
            let url = url.clone();
            tokio::spawn(async move {
                let store = connect(&url).await;
                let mut waiting = Vec::new();
                for n in 0..200u64 {
                    let id = format!("r{}", (n * 7 + writer * 31) % 100);
                    waiting.push(store.record(contract::ledger::record(&id, contract::ledger::NOON)));
                    let workspace = format!("w{}", (n + writer) % 5);
                    let limits = [total(&workspace, 1_000_000)];
                    if let Decision::Admitted { grant, .. } =
                        store.reserve(request(&workspace, spend(1), &limits)).await.unwrap()
                    {
                        grant.settle(spend(1));
                    }
                }
                for written in waiting {
                    written.await.unwrap();
                }
                store.flush().await;
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    let store = connect(&url).await;
    let mut sum = 0;
    for n in 0..5 {
        sum += counts(&store, &total(&format!("w{n}"), 1_000_000)).await.0;
    }
    assert_eq!(sum, 1_600);
    let rows = store.usage(RecordFilter::default(), vec![]).await.unwrap();
    assert_eq!(rows[0].requests, 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn admits_a_second() {
    let Some(server) = postgres() else { return };
    let store = connect(&database(&server).await).await;
    for parallel in [1, 64] {
        let start = Instant::now();
        let rounds = if parallel == 1 { 300 } else { 100 };
        let limits = [total("acme", u64::MAX), limit("acme", Measure::Requests, Some(Per::Minute), 1_000_000)];
        let tasks: Vec<_> = (0..parallel)
            .map(|_| {
                let (store, limits) = (store.clone(), limits.clone());
                tokio::spawn(async move {
                    for _ in 0..rounds {
                        if let Decision::Admitted { grant, .. } =
                            store.reserve(request("acme", spend(1), &limits)).await.unwrap()
                        {
                            grant.settle(spend(1));
                        }
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        println!(
            "quota, {parallel} callers: {:.0} admits/s",
            (rounds * parallel) as f64 / start.elapsed().as_secs_f64()
        );
    }
}

#[tokio::test]
async fn a_newer_database_and_a_wish_for_tls_are_refused_with_what_to_do() {
    let Some(server) = postgres() else { return };
    let url = database(&server).await;
    drop(connect(&url).await);
    let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute("INSERT INTO kancy_migrations (version) VALUES (99)").await.unwrap();
    let newer = PostgresStore::connect(&url).await.unwrap_err();
    assert_eq!(newer.kind(), StoreErrorKind::Refused);
    assert!(newer.message().contains("99"), "{newer}");
    let nobody = PostgresStore::connect("postgres://u:hunter2@127.0.0.1:1/x").await.unwrap_err();
    assert!(nobody.message().contains("refused") && !nobody.message().contains("hunter2"), "{nobody}");
    let tls = PostgresStore::connect("postgres://u:hunter2@localhost/x?sslmode=require").await.unwrap_err();
    assert!(tls.message().contains("sslmode=disable") && !tls.message().contains("hunter2"), "{tls}");
}
