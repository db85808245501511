//! What a dead instance held, settled by another: by the ledger's word on each request.
#![cfg(feature = "postgres")]

#[path = "support/databases.rs"]
mod databases;
#[path = "support/servers.rs"]
mod servers;

use std::sync::Arc;
use std::time::{Duration, Instant};

use databases::database;
use kancy::store::contract::{jobs::sample, ledger::NOON, ledger::record, quota::caller};
use kancy::store::jobs::JobStore;
use kancy::store::ledger::RecordFilter;
use kancy::store::postgres::{PostgresOptions, PostgresStore};
use kancy::store::quota::{Decision, Reservation};
use kancy::{
    Amounts, Job, Limit, LimitKey, Measure, Money, Outcome, Page, Per, QuotaStore, Timestamp, Usage, UsageRecord,
    UsageSink, UsageStore,
};
use servers::postgres;

const HELD: u64 = 30;

fn limit(measure: Measure, per: Option<Per>) -> Arc<Limit> {
    let scope = "workspace:acme".parse().unwrap();
    Arc::new(Limit::new(LimitKey { scope, modality: None, model: None, measure, per }, 1_000))
}

fn held() -> Amounts {
    Amounts { spend: Money::from_nanos(HELD), ..Amounts::ONE_REQUEST }
}

async fn store(url: &str) -> PostgresStore {
    let mut options = PostgresOptions::default();
    options.stale_after = Duration::from_secs(1);
    PostgresStore::connect_with(url, options).await.unwrap()
}

async fn counts(store: &PostgresStore, limits: &[Arc<Limit>]) -> Vec<(u64, u64)> {
    let states = store.state(limits.to_vec(), Timestamp::EPOCH).await.unwrap();
    states.iter().map(|state| (state.used, state.reserved)).collect()
}

/// Runs an instance that dies with three requests admitted: one answered and on record, one on its way at its vendor, and
/// one that had not got as far as the ledger.
fn crash(url: String, limits: Vec<Arc<Limit>>) {
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let store = store(&url).await;
            for id in ["answered", "running", "unsent"] {
                let reservation = Reservation {
                    caller: caller("acme"),
                    modality: None,
                    model: None,
                    hold: held(),
                    limits: limits.as_slice().into(),
                    lasting: false,
                    record: Some(id.into()),
                    now: Timestamp::EPOCH,
                };
                let Decision::Admitted { grant, .. } = store.reserve(reservation).await.unwrap() else {
                    panic!("it fits")
                };
                std::mem::forget(grant);
            }
            let running = |id| UsageRecord {
                outcome: None,
                held: Some(held()),
                cost: Money::ZERO,
                usage: Usage::NONE,
                ..record(id, NOON)
            };
            store.open(&running("running")).await.unwrap();
            store.open(&running("answered")).await.unwrap();
            store.record(UsageRecord { cost: Money::from_nanos(7), ..record("answered", NOON) }).await.unwrap();
            std::mem::forget(store);
        });
        runtime.shutdown_background();
    })
    .join()
    .unwrap();
}

/// Where rows are not durable, one may be lost of a job that is settled.
#[tokio::test]
async fn a_row_that_no_job_will_complete_any_more_is_posted_at_its_hold() {
    let Some(server) = postgres() else { return };
    let url = database(&server).await;
    let gone = url.clone();
    let dying = std::thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let store = store(&gone).await;
            for (id, due_at) in [("settled", None), ("open", Some(NOON))] {
                let row = UsageRecord { outcome: None, held: Some(held()), cost: Money::ZERO, ..record(id, NOON) };
                store.open(&row).await.unwrap();
                let row = Some(Box::new(row.into()));
                JobStore::put(&store, Job { record: row, due_at, ..sample("acme") }).await.unwrap();
            }
            std::mem::forget(store);
        });
        runtime.shutdown_background();
    });
    dying.join().unwrap();
    let survivor = store(&url).await;
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        let page = Page { after: None, limit: 9 };
        let rows = survivor.records(RecordFilter::default(), page).await.unwrap().items;
        let ends = ["settled", "open"].map(|id| rows.iter().find(|row| &*row.id == id).unwrap());
        if ends[0].outcome == Some(Outcome::UnknownAfterCrash) {
            assert_eq!((ends[0].cost, ends[1].outcome), (Money::from_nanos(HELD), None));
            return;
        }
        assert!(Instant::now() < end, "it is not posted: {rows:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn what_a_dead_instance_held_ends_by_its_records() {
    let Some(server) = postgres() else { return };
    let url = database(&server).await;
    let limits = [limit(Measure::Spend, Some(Per::Total)), limit(Measure::Concurrency, None)];
    crash(url.clone(), limits.to_vec());
    // Met while the ledger has an end and the grant is open: it is counted once.
    let survivor = store(&url).await;
    let end = Instant::now() + Duration::from_secs(20);
    while counts(&survivor, &limits).await[1] != (0, 0) {
        assert!(Instant::now() < end, "the slots are not free");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for _ in 0..10 {
        assert_eq!(counts(&survivor, &limits).await, [(7 + HELD, 0), (0, 0)]);
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}
