//! What is asked of a large ledger goes by an index, and comes out right. 50,000 rows, or `KANCY_LEDGER_ROWS` of them.
#![cfg(feature = "postgres")]

#[path = "support/databases.rs"]
mod databases;
#[path = "support/servers.rs"]
mod servers;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use databases::{connect, database};
use kancy::store::contract::ledger::{NOON, record};
use kancy::store::ledger::{GroupBy, PostedQuery, RecordFilter};
use kancy::{
    LimitKey, Measure, Money, Name, Outcome, Page, Per, PostgresStore, Scope, Timestamp, UsageRecord, UsageSink,
    UsageStore,
};
use servers::{Server, postgres};

const WORKSPACES: usize = 20;
const DAY: u64 = 86_400;

/// Days of traffic: workspaces and keys in turn, a tenth of a cent each, and now and then one that was refused.
fn rows(count: usize) -> impl Iterator<Item = UsageRecord> {
    let start = NOON.minus(Duration::from_secs(30 * DAY));
    let step = Duration::from_secs(30 * DAY) / u32::try_from(count).unwrap();
    (0..count).map(move |n| {
        let mut row = record(&format!("rec_{n:08}"), start.plus(step * u32::try_from(n).unwrap()));
        let home = Arc::make_mut(&mut row.home);
        home.workspace = Name::new(&format!("w{}", n % WORKSPACES)).unwrap();
        home.project = Name::new(["site", "shop"][n / WORKSPACES % 2]).unwrap();
        row.key_id = format!("key{}", n % 100).into();
        row.model = Some(["gpt-4o", "claude-3-opus", "qwen-max"][n % 3].into());
        row.cost = Money::from_nanos(1_000_000);
        if n % 50 == 47 {
            row.outcome = Some(Outcome::Refused);
        }
        row
    })
}

async fn fill(store: &PostgresStore, count: usize) {
    let mut waiting = Vec::new();
    for row in rows(count) {
        waiting.push(store.record(row));
        if waiting.len() == 20_000 {
            for written in waiting.drain(..) {
                written.await.unwrap();
            }
        }
    }
    for written in waiting {
        written.await.unwrap();
    }
}

/// Has the server explain every statement of the sessions at this URL in its log.
fn explained(url: &str) -> String {
    let options = "-c session_preload_libraries=auto_explain -c auto_explain.log_min_duration=0";
    format!("{url}&options={}", options.replace(' ', "%20").replace('=', "%3D"))
}

/// The plans of what `asked` the ledger, which must all go by an index.
async fn by_index<T>(server: &Server, what: &str, asked: impl Future<Output = T>) -> T {
    let before = server.log().len();
    let start = Instant::now();
    let answer = asked.await;
    println!("{what}: {:?}", start.elapsed());
    let log = server.log();
    let plans: Vec<_> =
        log[before..].split("LOG:").filter(|e| e.contains("plan:") && e.contains("kancy_ledger")).collect();
    assert!(!plans.is_empty(), "{what}: no plan in the log");
    for plan in plans {
        assert!(plan.contains("Index") && !plan.contains("Seq Scan"), "{what} goes by no index:{plan}");
    }
    answer
}

fn of(workspace: &str) -> RecordFilter {
    RecordFilter { workspace: Some(workspace.to_owned()), ..RecordFilter::default() }
}

fn posted(scope: &str, from: Timestamp, each: bool) -> PostedQuery {
    let scope: Scope = scope.parse().unwrap();
    let key = LimitKey { scope, modality: None, model: None, measure: Measure::Spend, per: Some(Per::Total) };
    PostedQuery { key, from, each }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listings_reports_and_counters_go_by_index() {
    let Some(server) = postgres() else { return };
    let count = std::env::var("KANCY_LEDGER_ROWS").map_or(50_000, |rows| rows.parse().unwrap());
    let url = database(&server).await;
    fill(&connect(&url).await, count).await;
    let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute("ANALYZE kancy_ledger").await.unwrap();
    let store = connect(&explained(&url)).await;
    let all: Vec<_> = rows(count).collect();
    the_listing(&server, &store, &all).await;
    the_report(&server, &store, &all).await;
    the_counters(&server, &store, &all).await;
}

async fn the_listing(server: &Server, store: &PostgresStore, all: &[UsageRecord]) {
    let ids = |rows: &[UsageRecord]| rows.iter().map(|row| row.id.clone()).collect::<Vec<_>>();
    let newest = |keep: &dyn Fn(&UsageRecord) -> bool, from: usize| -> Vec<_> {
        all.iter().rev().filter(|row| keep(row)).skip(from).take(100).map(|row| row.id.clone()).collect()
    };
    let page = |after: Option<&str>| Page { after: after.map(str::to_owned), limit: 100 };
    for (filter, keep) in [
        (RecordFilter::default(), &(|_: &UsageRecord| true) as &dyn Fn(&UsageRecord) -> bool),
        (of("w7"), &|row| row.home.workspace.as_str() == "w7"),
        (RecordFilter { key: Some("key27".to_owned()), ..RecordFilter::default() }, &|row| &*row.key_id == "key27"),
        (RecordFilter { project: Some("shop".to_owned()), ..of("w7") }, &|row| {
            (row.home.workspace.as_str(), row.home.project.as_str()) == ("w7", "shop")
        }),
    ] {
        let what = format!("the listing of {filter:?}");
        let first = by_index(server, &what, store.records(filter.clone(), page(None))).await.unwrap();
        let second = by_index(server, &what, store.records(filter, page(first.next.as_deref()))).await.unwrap();
        assert_eq!((ids(&first.items), ids(&second.items)), (newest(keep, 0), newest(keep, 100)), "{what}");
    }
    let one = RecordFilter { request_id: Some("req-rec_00000777".to_owned()), ..RecordFilter::default() };
    let found = by_index(server, "a request by its id", store.records(one, page(None))).await.unwrap();
    assert_eq!(found.items, [all[777].clone()]);
}

async fn the_report(server: &Server, store: &PostgresStore, all: &[UsageRecord]) {
    let (from, to) = (NOON.minus(Duration::from_secs(2 * DAY)), NOON.minus(Duration::from_secs(DAY)));
    let filter = RecordFilter { from: Some(from), to: Some(to), ..of("w7") };
    let report = store.usage(filter, vec![GroupBy::Model]);
    let report = by_index(server, "a workspace's usage of a day", report).await.unwrap();
    let mut expected = BTreeMap::new();
    for row in all.iter().filter(|r| r.home.workspace.as_str() == "w7" && r.time >= from && r.time < to) {
        let sums: &mut (u64, u64, u64) = expected.entry(row.model.clone().unwrap().to_string()).or_default();
        *sums = (sums.0 + 1, sums.1 + row.usage.input_tokens, sums.2 + row.cost.as_nanos());
    }
    let sums = |row: &kancy::store::ledger::UsageRow| (row.requests, row.usage.input_tokens, row.cost.as_nanos());
    let report: BTreeMap<_, _> = report.iter().map(|row| (row.group[0].clone().unwrap(), sums(row))).collect();
    assert!(report.len() == 3 && report == expected, "{report:?}, not {expected:?}");
}

fn counts(row: &UsageRecord) -> bool {
    row.outcome != Some(Outcome::Refused)
}

async fn the_counters(server: &Server, store: &PostgresStore, all: &[UsageRecord]) {
    let spent = |keep: &dyn Fn(&UsageRecord) -> bool| -> u64 {
        all.iter().filter(|row| counts(row) && keep(row)).map(|row| row.cost.as_nanos()).sum()
    };
    let hour = NOON.minus(Duration::from_secs(3_600));
    for (scope, from, keep) in [
        (
            "workspace:w7",
            Timestamp::EPOCH,
            &(|row: &UsageRecord| row.home.workspace.as_str() == "w7") as &dyn Fn(&_) -> bool,
        ),
        ("project:w7/shop", hour, &|row: &UsageRecord| {
            (row.home.workspace.as_str(), row.home.project.as_str()) == ("w7", "shop") && row.time >= hour
        }),
        ("key:key27", Timestamp::EPOCH, &|row: &UsageRecord| &*row.key_id == "key27"),
    ] {
        let what = format!("what counts for {scope}");
        let sum = by_index(server, &what, store.posted(posted(scope, from, false))).await.unwrap();
        assert_eq!(sum.iter().map(|(_, n)| n.spend.as_nanos()).sum::<u64>(), spent(keep), "{what}");
    }
    let each = by_index(server, "a rate's last hour", store.posted(posted("workspace:w7", hour, true))).await.unwrap();
    assert_eq!(
        each.len(),
        all.iter().filter(|r| counts(r) && r.home.workspace.as_str() == "w7" && r.time >= hour).count()
    );
}
