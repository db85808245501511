//! How many rows a second the ledgers make durable when they come in batches. The aim: 20,000, in SQLite and in PostgreSQL.
//!
//! PostgreSQL is a throw-away server of its own; where it is not installed, it is left out.

use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput};
use futures_util::future::join_all;
use kancy::base::id::new_id;
use kancy::store::contract::ledger::{NOON, record};
use kancy::{Amounts, Money, Name, PostgresStore, SqliteStore, Usage, UsageRecord, UsageSink};
use tokio::runtime::Runtime;

#[path = "../tests/support/servers.rs"]
mod servers;

/// Rows of one measurement.
const ROWS: usize = 20_000;

/// Finished records of many tenants, as a day brings them.
fn finished() -> Vec<UsageRecord> {
    let row = |n: usize| {
        let mut row = record(&new_id::<String>("rec_"), NOON.plus(Duration::from_millis(n as u64)));
        row.request_id = new_id("req_");
        Arc::make_mut(&mut row.home).workspace = Name::new(&format!("w{}", n % 50)).expect("a name");
        row.key_id = format!("key{:022}", n % 500).into();
        row.upstream_request_id = Some(new_id("chatcmpl-"));
        row
    };
    (0..ROWS).map(row).collect()
}

/// The same record while its request runs.
fn running(row: &UsageRecord) -> UsageRecord {
    let held = Some(Amounts { input_tokens: 100, output_tokens: 50, ..Amounts::ONE_REQUEST });
    UsageRecord { outcome: None, status: None, usage: Usage::NONE, cost: Money::ZERO, held, ..row.clone() }
}

/// The time until all rows are durable. With `opened`, each was opened (durably) before.
async fn time(sink: &dyn UsageSink, opened: bool) -> Duration {
    let rows = finished();
    let start = Instant::now();
    if opened {
        for done in join_all(rows.iter().map(|row| sink.open(&running(row)))).await {
            done.expect("a row is opened");
        }
    }
    for done in join_all(rows.into_iter().map(|row| sink.record(row))).await {
        done.expect("a row is written");
    }
    start.elapsed()
}

fn measure(c: &mut Criterion, runtime: &Runtime, name: &str, sink: &dyn UsageSink) {
    let mut group = c.benchmark_group("ledger");
    group.sample_size(10).sampling_mode(SamplingMode::Flat).throughput(Throughput::Elements(ROWS as u64));
    group.warm_up_time(Duration::from_secs(1));
    for (what, opened) in [("recorded", false), ("opened and recorded", true)] {
        group.bench_function(BenchmarkId::new(name, what), |b| {
            b.iter_custom(|times| (0..times).map(|_| runtime.block_on(time(sink, opened))).sum());
        });
    }
    group.finish();
}

fn main() {
    let c = &mut Criterion::default().configure_from_args();
    let runtime = Runtime::new().expect("a runtime");
    let folder = std::env::temp_dir().join(format!("kancy-bench-{}", std::process::id()));
    std::fs::create_dir(&folder).expect("a folder");
    let sqlite = SqliteStore::open(folder.join("kancy.db")).expect("a file");
    measure(c, &runtime, "sqlite", &sqlite);
    drop(sqlite);
    let _ = std::fs::remove_dir_all(&folder);
    if let Some(server) = servers::postgres() {
        let store = runtime.block_on(connect(&server.url));
        measure(c, &runtime, "postgres", &*store);
    }
    c.final_summary();
}

/// A server that has just opened its port may not take callers yet.
async fn connect(url: &str) -> Arc<PostgresStore> {
    loop {
        match PostgresStore::connect(url).await {
            Ok(store) => return Arc::new(store),
            Err(error) => eprintln!("{error}"),
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
