//! The SQLite store: the contract suites, and what a file must survive.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use kancy::domain::job::{Idempotency, Job};
use kancy::store::contract;
use kancy::store::jobs::{JobStore, Outbox, Put};
use kancy::store::ledger::PostedQuery;
use kancy::store::tables::LimitStore;
use kancy::store::webhooks::EndpointStore;
use kancy::{
    Amounts, Limit, LimitKey, Measure, Money, Outcome, Page, Per, SqliteOptions, SqliteStore, StoreErrorKind,
    Timestamp, Usage, UsageRecord, UsageSink, UsageStore,
};

/// A folder of its own for each test, gone with it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("kancy-sqlite-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("kancy.db")
    }

    fn log(&self) -> PathBuf {
        self.0.join("kancy.db-log")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn everything() -> Page {
    Page { after: None, limit: 1000 }
}

#[tokio::test]
async fn it_keeps_the_contract_of_key_stores() {
    let folder = Folder::new();
    let store = SqliteStore::open(folder.file()).unwrap();
    contract::keys::run(&store, &store).await;
}

#[tokio::test]
async fn it_keeps_the_contract_of_ledgers() {
    for durable in [true, false] {
        let folder = Folder::new();
        let next = AtomicUsize::new(0);
        contract::ledger::run(async || {
            let mut options = SqliteOptions::default();
            options.durable = durable;
            let file = folder.0.join(format!("{}.db", next.fetch_add(1, Ordering::Relaxed)));
            SqliteStore::open_with(file, options).unwrap()
        })
        .await;
    }
}

#[tokio::test]
async fn it_keeps_the_contracts_of_jobs_and_webhooks() {
    let folder = Folder::new();
    let store = SqliteStore::open(folder.file()).unwrap();
    contract::jobs::run(&store, &store).await;
    contract::endpoints::run(&store).await;
}

#[tokio::test]
async fn jobs_deliveries_and_endpoints_outlive_the_process_and_nothing_stays_leased() {
    let folder = Folder::new();
    let now = Timestamp::from_secs(1_800_000_000);
    let until = now.plus(Duration::from_secs(120));
    let record = |id: &str| UsageRecord { outcome: None, ..contract::ledger::record(id, now) };
    let making = Job {
        due_at: Some(until),
        record: Some(Box::new(record("making").into())),
        idempotency: Some(Idempotency { key: "k".into(), body: "b".into() }),
        ..contract::jobs::sample("acme")
    };
    let made = Job {
        handle: Some("task-1".into()),
        record: Some(Box::new(record("made").into())),
        ..contract::jobs::sample("acme")
    };
    let delivery = contract::jobs::sample_delivery("whk_1");
    let endpoint = contract::endpoints::sample();
    {
        let store = SqliteStore::open(folder.file()).unwrap();
        for (job, id) in [(&making, "making"), (&made, "made")] {
            JobStore::put(&store, job.clone()).await.unwrap();
            store.open(&record(id)).await.unwrap();
        }
        store.open(&record("neither")).await.unwrap();
        store.push(vec![delivery.clone()]).await.unwrap();
        EndpointStore::put(&store, endpoint.clone(), vec!["whsec_b25l".into()]).await.unwrap();
        assert_eq!(store.due(now, until, 9).await.unwrap().len(), 1);
        assert_eq!(store.claim_due(now, until, 9).await.unwrap().len(), 1);
    }
    let store = SqliteStore::open(folder.file()).unwrap();
    assert_eq!(store.recovered(), 1, "the rows of jobs stay open");
    let due: Vec<_> = store.due(now, until, 9).await.unwrap().into_iter().map(|job| job.id).collect();
    assert_eq!(due, [making.id.clone(), made.id.clone()], "what was cut while it was made is due at once");
    assert_eq!(store.claim_due(now, until, 9).await.unwrap().len(), 1);
    assert_eq!(EndpointStore::all(&store).await.unwrap(), [(endpoint, vec!["whsec_b25l".into()])]);
    match JobStore::put(&store, Job { id: "twin".into(), ..making.clone() }).await.unwrap() {
        Put::Known(known) => assert_eq!(known.id, making.id),
        other => panic!("the job of before was expected, not {other:?}"),
    }
}

#[tokio::test]
async fn what_was_in_flight_at_a_crash_is_posted_at_its_hold_and_what_had_ended_stays() {
    let folder = Folder::new();
    let now = Timestamp::from_secs(1_800_000_000);
    let held = Amounts {
        input_tokens: 100,
        output_tokens: 20,
        spend: Money::from_nanos(12_500_000_007),
        ..Amounts::ONE_REQUEST
    };
    {
        let store = SqliteStore::open(folder.file()).unwrap();
        let mut running = contract::ledger::record("running", now);
        (running.outcome, running.held) = (None, Some(held));
        store.open(&running).await.unwrap();
        let ended = contract::ledger::record("ended", now);
        store.record(ended).await.unwrap();
    }
    let store = SqliteStore::open(folder.file()).unwrap();
    assert_eq!(store.recovered(), 1);
    let records = store.records(Default::default(), everything()).await.unwrap().items;
    let recovered = records.iter().find(|r| &*r.id == "running").unwrap();
    assert_eq!(recovered.outcome, Some(Outcome::UnknownAfterCrash));
    assert!(recovered.estimated && recovered.held.is_none());
    assert_eq!((recovered.usage.input_tokens, recovered.usage.output_tokens), (100, 20));
    assert_eq!(recovered.cost, held.spend);
    let ended = records.iter().find(|r| &*r.id == "ended").unwrap();
    assert_eq!(ended, &contract::ledger::record("ended", now));
}

#[tokio::test]
async fn limits_outlive_the_process() {
    let folder = Folder::new();
    let key = |per| LimitKey {
        scope: "workspace:acme".parse().unwrap(),
        modality: None,
        model: Some("gpt-4o".into()),
        measure: Measure::Spend,
        per: Some(per),
    };
    let mut limit = Limit::new(key(Per::Day), 5);
    limit.alert_at = vec![500, 1000];
    {
        let store = SqliteStore::open(folder.file()).unwrap();
        LimitStore::put(&store, limit.key.scope.clone(), vec![limit.clone(), Limit::new(key(Per::Month), 7)])
            .await
            .unwrap();
        LimitStore::put(&store, limit.key.scope.clone(), vec![limit.clone()]).await.unwrap();
    }
    assert_eq!(LimitStore::all(&SqliteStore::open(folder.file()).unwrap()).await.unwrap(), [limit]);
}

#[test]
fn a_file_in_use_is_refused_and_free_again_when_its_owner_is_gone() {
    let folder = Folder::new();
    let first = SqliteStore::open(folder.file()).unwrap();
    let refused = SqliteStore::open(folder.file()).unwrap_err();
    assert!(refused.message().contains("in use"), "{refused}");
    drop(first);
    SqliteStore::open(folder.file()).unwrap();
}

#[test]
fn a_file_that_is_not_ours_is_refused_in_one_line_and_left_as_it_is() {
    let folder = Folder::new();
    let noise = b"this is no database, but something that somebody still wants".repeat(100);
    std::fs::write(folder.file(), &noise).unwrap();
    let refused = SqliteStore::open(folder.file()).unwrap_err();
    assert_eq!(refused.kind(), StoreErrorKind::Corrupt);
    assert!(!refused.message().contains('\n'), "{refused}");
    assert_eq!(std::fs::read(folder.file()).unwrap(), noise);

    std::fs::remove_file(folder.file()).unwrap();
    let other = rusqlite::Connection::open(folder.file()).unwrap();
    other.execute_batch("CREATE TABLE theirs (x)").unwrap();
    drop(other);
    let refused = SqliteStore::open(folder.file()).unwrap_err();
    assert!(refused.message().contains("another program"), "{refused}");
}

#[tokio::test]
async fn a_file_that_was_closed_is_whole_without_its_log() {
    let folder = Folder::new();
    let store = SqliteStore::open(folder.file()).unwrap();
    store.record(contract::ledger::record("r", Timestamp::from_secs(1_800_000_000))).await.unwrap();
    drop(store);
    let copy = folder.0.join("copy.db");
    std::fs::copy(folder.file(), &copy).unwrap();
    let rows = SqliteStore::open(copy).unwrap().usage(Default::default(), Vec::new()).await.unwrap();
    assert_eq!(rows[0].requests, 1);
}

#[test]
fn a_damaged_file_is_refused_in_one_line_and_left_as_it_is() {
    let folder = Folder::new();
    drop(SqliteStore::open(folder.file()).unwrap());
    let mut bytes = std::fs::read(folder.file()).unwrap();
    bytes[4_096..].iter_mut().for_each(|byte| *byte = !*byte);
    std::fs::write(folder.file(), &bytes).unwrap();
    let refused = SqliteStore::open(folder.file()).unwrap_err();
    assert_eq!(refused.kind(), StoreErrorKind::Corrupt);
    assert!(refused.message().contains("damaged") && !refused.message().contains('\n'), "{refused}");
    assert_eq!(std::fs::read(folder.file()).unwrap(), bytes);
}

#[test]
fn a_file_of_a_newer_version_is_refused() {
    let folder = Folder::new();
    drop(SqliteStore::open(folder.file()).unwrap());
    let newer = rusqlite::Connection::open(folder.file()).unwrap();
    newer.pragma_update(None, "user_version", 9_999).unwrap();
    drop(newer);
    let refused = SqliteStore::open(folder.file()).unwrap_err();
    assert!(refused.message().contains("newer"), "{refused}");
}

#[tokio::test]
async fn many_writers_share_transactions_and_lose_nothing() {
    let folder = Folder::new();
    let store = Arc::new(SqliteStore::open(folder.file()).unwrap());
    let now = Timestamp::from_secs(1_800_000_000);
    let writes = (0..2_000).map(|n| {
        let store = Arc::clone(&store);
        tokio::spawn(async move { store.record(contract::ledger::record(&format!("r{n}"), now)).await })
    });
    for write in writes.collect::<Vec<_>>() {
        write.await.unwrap().unwrap();
    }
    let rows = store.usage(Default::default(), Vec::new()).await.unwrap();
    assert_eq!(rows[0].requests, 2_000);
}

/// A record as it is while its request runs.
fn running(id: &str) -> UsageRecord {
    let mut record = contract::ledger::record(id, Timestamp::from_secs(1_800_000_000));
    (record.outcome, record.status, record.latency_ms) = (None, None, None);
    (record.usage, record.cost, record.held) = (Usage::NONE, Money::ZERO, Some(Amounts::ONE_REQUEST));
    record
}

fn ended(id: &str) -> UsageRecord {
    contract::ledger::record(id, Timestamp::from_secs(1_800_000_000))
}

async fn open(store: &SqliteStore, ids: impl IntoIterator<Item = String>) {
    for opened in join_all(ids.into_iter().map(|id| store.open(&running(&id)))).await {
        opened.unwrap();
    }
}

async fn end(store: &SqliteStore, ids: impl IntoIterator<Item = String>) {
    for committed in join_all(ids.into_iter().map(|id| store.record(ended(&id)))).await {
        committed.unwrap();
    }
}

/// Looks at the file beside the store.
fn count(folder: &Folder, what: &str) -> i64 {
    let connection = rusqlite::Connection::open(folder.file()).unwrap();
    connection.query_row(&format!("SELECT count(*) FROM {what}"), [], |row| row.get(0)).unwrap()
}

/// Asks for what gives all that has ended its row, and nothing else.
async fn settle(store: &SqliteStore) -> u64 {
    let query = PostedQuery { key: contract::ledger::workspace_limit(), from: Timestamp::EPOCH, each: false };
    store.posted(query).await.unwrap().first().map_or(0, |(_, posted)| posted.requests)
}

#[tokio::test]
async fn what_has_ended_gets_its_row_when_somebody_looks_and_what_runs_when_it_is_looked_for() {
    let folder = Folder::new();
    let store = SqliteStore::open(folder.file()).unwrap();
    open(&store, (0..100).map(|n| format!("r{n}"))).await;
    end(&store, (0..50).map(|n| format!("r{n}"))).await;
    assert_eq!((settle(&store).await, count(&folder, "ledger")), (50, 50));
    assert!((1..20).contains(&count(&folder, "openings")), "many share a row");
    let rows = store.usage(Default::default(), Vec::new()).await.unwrap();
    assert_eq!(rows[0].requests, 100, "what runs is counted as well");
    assert_eq!((count(&folder, "ledger"), count(&folder, "openings")), (100, 0));
    end(&store, (50..100).map(|n| format!("r{n}"))).await;
    assert_eq!(settle(&store).await, 100);
    assert_eq!((count(&folder, "ledger"), count(&folder, "ledger WHERE outcome IS NULL")), (100, 0));
}

#[tokio::test]
async fn many_records_get_their_rows_without_anybody_looking() {
    let folder = Folder::new();
    let store = SqliteStore::open(folder.file()).unwrap();
    for round in 0..30 {
        end(&store, (0..100).map(|n| format!("r{round}-{n}"))).await;
    }
    assert!((1_900..=3_000).contains(&count(&folder, "ledger")), "{}", count(&folder, "ledger"));
}

#[tokio::test]
async fn one_record_gets_its_row_after_a_while() {
    let folder = Folder::new();
    let store = SqliteStore::open(folder.file()).unwrap();
    end(&store, ["r".to_owned()]).await;
    let end = Instant::now() + Duration::from_secs(60);
    while count(&folder, "ledger") == 0 {
        assert!(Instant::now() < end, "nobody ever gave it its row");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What a process that is killed leaves of its files, in a folder of its own.
fn crash(folder: &Folder) -> Folder {
    let left = Folder::new();
    for file in std::fs::read_dir(&folder.0).unwrap() {
        let path = file.unwrap().path();
        std::fs::copy(&path, left.0.join(path.file_name().unwrap())).unwrap();
    }
    left
}

#[tokio::test]
async fn after_a_crash_everything_that_was_durable_is_told_apart() {
    let folder = Folder::new();
    let store = SqliteStore::open(folder.file()).unwrap();
    open(&store, (0..100).map(|n| format!("r{n}"))).await;
    end(&store, (0..20).map(|n| format!("r{n}"))).await;
    let crashes = [crash(&folder), {
        settle(&store).await;
        end(&store, (20..40).map(|n| format!("r{n}"))).await;
        // A record told twice in one transaction ends one request, not two.
        end(&store, ["r40", "r40"].map(str::to_owned)).await;
        crash(&folder)
    }];
    drop(store);
    for (left, over) in crashes.into_iter().chain([folder]).zip([20, 41, 41]) {
        for recovered in [100 - over, 0] {
            let store = SqliteStore::open(left.file()).unwrap();
            assert_eq!(store.recovered(), recovered as u64);
            assert_eq!(count(&left, "openings"), 0);
            let records = store.records(Default::default(), everything()).await.unwrap().items;
            assert_eq!(records.len(), 100);
            for record in records {
                let number: usize = record.id[1..].parse().unwrap();
                let cut = UsageRecord {
                    outcome: Some(Outcome::UnknownAfterCrash),
                    estimated: true,
                    held: None,
                    ..running(&record.id)
                };
                assert_eq!(record, if number < over { ended(&record.id) } else { cut });
            }
        }
    }
}

#[tokio::test]
async fn a_record_of_any_length_outlives_a_crash() {
    let folder = Folder::new();
    let store = SqliteStore::open(folder.file()).unwrap();
    // Around the length of a row that others share, and more than the log has room for at first.
    let lengths = (3_800..3_900).step_by(3).chain([70_000, 600_000]);
    let long = |length: usize| UsageRecord { request_id: "x".repeat(length).into(), ..running(&format!("r{length}")) };
    let opened = join_all(lengths.clone().map(|length| store.open(&long(length)))).await;
    assert!(opened.iter().all(Result::is_ok));
    let early = crash(&folder);
    settle(&store).await;
    open(&store, ["later".to_owned()]).await;
    for left in [early, crash(&folder)] {
        let store = SqliteStore::open(left.file()).unwrap();
        let records = store.records(Default::default(), everything()).await.unwrap().items;
        for length in lengths.clone() {
            let found = records.iter().filter(|record| record.request_id.len() == length);
            assert_eq!(found.map(|record| record.outcome).collect::<Vec<_>>(), [Some(Outcome::UnknownAfterCrash)]);
        }
    }
}

#[tokio::test]
async fn where_rows_cannot_be_made_no_counter_is_told_a_sum_without_them() {
    let folder = Folder::new();
    let store = SqliteStore::open(folder.file()).unwrap();
    let trouble = rusqlite::Connection::open(folder.file()).unwrap();
    let refuse = "CREATE TRIGGER refused BEFORE INSERT ON ledger BEGIN SELECT RAISE(ABORT, 'refused'); END";
    trouble.execute_batch(refuse).unwrap();
    end(&store, ["r".to_owned()]).await;
    let query = || PostedQuery { key: contract::ledger::workspace_limit(), from: Timestamp::EPOCH, each: false };
    assert_eq!(store.posted(query()).await.unwrap_err().kind(), StoreErrorKind::Unavailable);
    assert!(store.open(&running("refused")).await.is_err());
    trouble.execute_batch("DROP TRIGGER refused").unwrap();
    assert_eq!(settle(&store).await, 1);
}

#[tokio::test]
async fn a_block_that_was_cut_ends_the_log_and_what_stood_before_it_is_kept() {
    let folder = Folder::new();
    let store = SqliteStore::open(folder.file()).unwrap();
    // Of an earlier round, behind what follows.
    end(&store, (0..100).map(|n| format!("old{n}"))).await;
    assert_eq!(settle(&store).await, 100);
    for id in ["first", "second"] {
        end(&store, [id.to_owned()]).await;
    }
    let log = std::fs::read(folder.log()).unwrap();
    let second = log.windows(6).position(|bytes| bytes == b"second").unwrap();
    for (at, found) in [(log.len() - 1, 102), (second, 101)] {
        let left = crash(&folder);
        let mut torn = log.clone();
        torn[at] ^= 1;
        std::fs::write(left.log(), torn).unwrap();
        let store = SqliteStore::open(left.file()).unwrap();
        assert_eq!(settle(&store).await, found);
    }
}

#[tokio::test]
async fn the_log_of_another_database_is_refused_and_left_as_it_is() {
    let (folder, other) = (Folder::new(), Folder::new());
    let store = SqliteStore::open(folder.file()).unwrap();
    drop(SqliteStore::open(other.file()).unwrap());
    end(&store, ["r".to_owned()]).await;
    std::fs::copy(folder.log(), other.log()).unwrap();
    let refused = SqliteStore::open(other.file()).unwrap_err();
    assert!(refused.message().contains("another database's") && !refused.message().contains('\n'), "{refused}");
    assert_eq!(std::fs::read(other.log()).unwrap(), std::fs::read(folder.log()).unwrap());
    std::fs::remove_file(other.log()).unwrap();
    assert_eq!(settle(&SqliteStore::open(other.file()).unwrap()).await, 0);
}

#[tokio::test]
async fn whoever_removes_the_database_begins_anew_and_its_log_is_put_aside() {
    let folder = Folder::new();
    let store = SqliteStore::open(folder.file()).unwrap();
    end(&store, ["r".to_owned()]).await;
    let left = crash(&folder);
    let log = std::fs::read(left.log()).unwrap();
    for file in std::fs::read_dir(&left.0).unwrap().map(|file| file.unwrap().path()) {
        if file != left.log() {
            std::fs::remove_file(file).unwrap();
        }
    }
    let store = SqliteStore::open(left.file()).unwrap();
    assert_eq!(settle(&store).await, 0);
    let aside = std::fs::read_dir(&left.0).unwrap().map(|file| file.unwrap().path());
    let aside: Vec<_> = aside.filter(|file| file.to_string_lossy().contains("kancy.db-log-of-")).collect();
    assert_eq!(std::fs::read(&aside[0]).unwrap(), log);
    end(&store, ["s".to_owned()]).await;
    assert_eq!(settle(&SqliteStore::open(crash(&left).file()).unwrap()).await, 1);
}

#[cfg(unix)]
#[tokio::test]
async fn a_file_is_the_same_by_each_of_its_names() {
    let (folder, other) = (Folder::new(), Folder::new());
    drop(SqliteStore::open(folder.file()).unwrap());
    std::os::unix::fs::symlink(folder.file(), other.file()).unwrap();
    let store = SqliteStore::open(other.file()).unwrap();
    end(&store, ["r".to_owned()]).await;
    let left = crash(&folder);
    assert_eq!(settle(&SqliteStore::open(left.file()).unwrap()).await, 1, "its log is where the file is");
    assert!(SqliteStore::open(folder.file()).unwrap_err().message().contains("another process"));
}

#[tokio::test]
async fn a_log_that_is_damaged_before_its_end_is_refused_and_left_as_it_is() {
    let folder = Folder::new();
    let store = SqliteStore::open(folder.file()).unwrap();
    for id in ["first", "second", "third"] {
        end(&store, [id.to_owned()]).await;
    }
    let left = crash(&folder);
    let mut damaged = std::fs::read(left.log()).unwrap();
    let second = damaged.windows(6).position(|bytes| bytes == b"second").unwrap();
    damaged[second] ^= 1;
    std::fs::write(left.log(), &damaged).unwrap();
    let refused = SqliteStore::open(left.file()).unwrap_err();
    assert!(refused.message().contains("kancy.db-log: it is damaged"), "{refused}");
    assert!(!refused.message().contains('\n'), "{refused}");
    assert_eq!(std::fs::read(left.log()).unwrap(), damaged);
}

#[test]
fn a_file_in_the_place_of_the_log_is_refused_and_left_as_it_is() {
    let folder = Folder::new();
    drop(SqliteStore::open(folder.file()).unwrap());
    assert!(!folder.log().exists(), "closed, there is nothing left in it");
    std::fs::write(folder.log(), b"notes of somebody").unwrap();
    let refused = SqliteStore::open(folder.file()).unwrap_err();
    assert!(refused.message().contains("kancy.db-log") && !refused.message().contains('\n'), "{refused}");
    assert_eq!(std::fs::read(folder.log()).unwrap(), b"notes of somebody");
}

#[tokio::test]
async fn nothing_is_left_of_what_has_ended_and_its_rows_are_used_again() {
    let folder = Folder::new();
    let store = SqliteStore::open(folder.file()).unwrap();
    open(&store, ["long".to_owned()]).await;
    for round in 0..100 {
        open(&store, (0..20).map(|n| format!("r{round}-{n}"))).await;
        settle(&store).await;
        end(&store, (0..20).map(|n| format!("r{round}-{n}"))).await;
        settle(&store).await;
        assert!((1..=5).contains(&count(&folder, "openings")));
    }
    end(&store, ["long".to_owned()]).await;
    assert_eq!((settle(&store).await, count(&folder, "openings"), count(&folder, "ledger")), (2_001, 0, 2_001));
}

#[tokio::test]
async fn requests_that_run_for_long_keep_few_rows_from_being_used_again() {
    let folder = Folder::new();
    {
        let store = SqliteStore::open(folder.file()).unwrap();
        for round in 0..200 {
            open(&store, (0..10).map(|n| format!("r{round}-{n}"))).await;
            settle(&store).await;
            end(&store, (1..10).map(|n| format!("r{round}-{n}"))).await;
            settle(&store).await;
        }
        assert!(count(&folder, "openings") < 100, "of 200 that run each in a row of its own");
        assert!(count(&folder, "ledger WHERE outcome IS NULL") > 100, "the others have theirs in the ledger");
        end(&store, (0..10).map(|round| format!("r{round}-0"))).await;
    }
    let store = SqliteStore::open(folder.file()).unwrap();
    assert_eq!(store.recovered(), 190);
    let rows = store.usage(Default::default(), Vec::new()).await.unwrap();
    assert_eq!((rows[0].requests, rows[0].errors), (2_000, 190));
}

#[tokio::test]
async fn rows_that_version_2_had_opened_are_posted_but_for_those_of_jobs() {
    let folder = Folder::new();
    let old = rusqlite::Connection::open(folder.file()).unwrap();
    old.execute_batch(include_str!("../src/store/sqlite/migrations/1.sql")).unwrap();
    old.execute_batch(include_str!("../src/store/sqlite/migrations/2.sql")).unwrap();
    old.pragma_update(None, "application_id", 0x6b6e_6379).unwrap();
    old.pragma_update(None, "user_version", 2).unwrap();
    let held = r#"{"requests":1,"input_tokens":100,"output_tokens":20,"spend":"0.000000500","images":0,"video_seconds":0,"audio_seconds":0,"characters":0}"#;
    for (id, outcome, held) in
        [("ended", Some("completed"), None), ("cut", None, Some(held)), ("job", None, Some(held))]
    {
        let sql = "INSERT INTO ledger (id, request_id, time, workspace, project, key_id, endpoint, outcome, streamed, \
             input_tokens, cached_input_tokens, cache_write_tokens, output_tokens, reasoning_tokens, images, \
             video_seconds, audio_seconds, characters, image_input_tokens, image_output_tokens, audio_input_tokens, \
             audio_output_tokens, videos, estimated, cost, held) VALUES (?1, 'q', 7, 'acme', 'site', 'k', '/v1', ?2, 0, \
             0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, ?3)";
        old.execute(sql, rusqlite::params![id, outcome, held]).unwrap();
    }
    let job = Job { record: Some(Box::new(running("job").into())), ..contract::jobs::sample("acme") };
    let sql = "INSERT INTO jobs (id, workspace, project, model, state, version, created_at, due_at, record_id, key_id, job) \
         VALUES (?1, 'acme', 'site', 'm', 'queued', 0, 7, 7, 'job', 'k', ?2)";
    old.execute(sql, rusqlite::params![&*job.id, serde_json::to_string(&job).unwrap()]).unwrap();
    drop(old);

    let store = SqliteStore::open(folder.file()).unwrap();
    assert_eq!(store.recovered(), 1);
    let records = store.records(Default::default(), everything()).await.unwrap().items;
    let found: Vec<_> = records.iter().map(|r| (&*r.id, r.outcome, r.usage.input_tokens, r.cost.as_nanos())).collect();
    // Of one moment, the last to come in first: the order of version 2 is kept.
    assert_eq!(
        found,
        [
            ("job", None, 0, 0),
            ("cut", Some(Outcome::UnknownAfterCrash), 100, 500),
            ("ended", Some(Outcome::Completed), 0, 0)
        ]
    );
    end(&store, ["job".to_owned()]).await;
    settle(&store).await;
    assert_eq!(count(&folder, "ledger WHERE outcome = 'completed'"), 2);
}

#[tokio::test]
async fn what_version_3_had_opened_is_posted_unless_it_had_ended() {
    let folder = Folder::new();
    let old = rusqlite::Connection::open(folder.file()).unwrap();
    for migration in [
        include_str!("../src/store/sqlite/migrations/1.sql"),
        include_str!("../src/store/sqlite/migrations/2.sql"),
        include_str!("../src/store/sqlite/migrations/3.sql"),
    ] {
        old.execute_batch(migration).unwrap();
    }
    old.pragma_update(None, "application_id", 0x6b6e_6379).unwrap();
    old.pragma_update(None, "user_version", 3).unwrap();
    let line = |id: &str| {
        format!(
            r#"[["{id}","q-{id}",1800000000000000000,{{"workspace":"acme","project":"site","team":"web","environment":null}},"key1","/v1/chat/completions"],["text","gpt-4o","openai","gpt-4o",null],[null,null,true,null,300],[null,false,"0.000000000",[1,100,20,12500000007,0,0,0,0]]]"#
        )
    };
    let rows = [format!("[{},{}]    ", line("cut"), line("ended")), format!("[{}]", line("other"))];
    for (number, row) in rows.iter().enumerate() {
        old.execute("INSERT INTO openings VALUES (?1, ?2)", rusqlite::params![number as i64, row]).unwrap();
    }
    let sql = "INSERT INTO ledger (id, request_id, time, workspace, project, key_id, endpoint, outcome, streamed, \
         input_tokens, cached_input_tokens, cache_write_tokens, output_tokens, reasoning_tokens, images, \
         video_seconds, audio_seconds, characters, image_input_tokens, image_output_tokens, audio_input_tokens, \
         audio_output_tokens, videos, estimated, cost) VALUES ('ended', 'q-ended', 1800000000000000000, 'acme', 'site', \
         'key1', '/v1/chat/completions', 'completed', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7)";
    old.execute(sql, []).unwrap();
    drop(old);

    let store = SqliteStore::open(folder.file()).unwrap();
    assert_eq!(store.recovered(), 2);
    let records = store.records(Default::default(), everything()).await.unwrap().items;
    let ids: Vec<_> = records.iter().map(|record| &*record.id).collect();
    assert_eq!(ids, ["other", "cut", "ended"]);
    assert_eq!((records[2].outcome, records[2].cost.as_nanos()), (Some(Outcome::Completed), 7));
    let mut expected = running("cut");
    (expected.request_id, expected.upstream_request_id) = ("q-cut".into(), None);
    Arc::make_mut(&mut expected.home).environment = None;
    (expected.outcome, expected.estimated, expected.held) = (Some(Outcome::UnknownAfterCrash), true, None);
    (expected.usage.input_tokens, expected.usage.output_tokens) = (100, 20);
    expected.cost = Money::from_nanos(12_500_000_007);
    assert_eq!(records[1], expected);
}
