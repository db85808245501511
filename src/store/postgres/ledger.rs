//! Writing the ledger: one task, as many rows at a time as have come meanwhile.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::base::store_future::StoreFuture;
use crate::domain::record::UsageRecord;
use crate::store::error::{StoreError, StoreErrorKind, StoreResult};
use crate::store::ledger::UsageSink;
use crate::store::queue::Queue;

use super::row::{UPSERT, arrays};
use super::{PostgresStore, Shared, failed, patient};

/// Rows that wait at most; what comes beyond is refused.
const BOUND: usize = 100_000;
/// Rows of one transaction at most.
const BATCH: usize = 1_000;
/// How long a batch that failed waits for its next try.
const RETRY: Duration = Duration::from_millis(250);

/// A row, and whom to tell of its commit.
pub(super) struct Write {
    record: UsageRecord,
    done: Option<oneshot::Sender<StoreResult<()>>>,
}

pub(super) type LedgerQueue = Queue<Write>;

pub(super) fn queue() -> LedgerQueue {
    Queue::new()
}

impl UsageSink for PostgresStore {
    fn open(&self, record: &UsageRecord) -> StoreFuture<StoreResult<()>> {
        self.write(record.clone())
    }

    fn record(&self, record: UsageRecord) -> StoreFuture<StoreResult<()>> {
        self.write(record)
    }
}

impl PostgresStore {
    fn write(&self, record: UsageRecord) -> StoreFuture<StoreResult<()>> {
        let (done, wait) = if self.0.durable { oneshot::channel() } else { return self.write_behind(record) };
        if self.0.ledger.push(Write { record, done: Some(done) }, BOUND).is_err() {
            return StoreFuture::ready(Err(full()));
        }
        StoreFuture::new(async move {
            wait.await.unwrap_or_else(|_| Err(StoreError::unavailable("the ledger's writer has ended")))
        })
    }

    fn write_behind(&self, record: UsageRecord) -> StoreFuture<StoreResult<()>> {
        StoreFuture::ready(self.0.ledger.push(Write { record, done: None }, BOUND).map_err(|_| full()))
    }
}

fn full() -> StoreError {
    StoreError::unavailable(format!("{BOUND} records wait for PostgreSQL: no more are taken"))
}

/// Writes until the queue is closed and empty.
pub(super) async fn run(shared: Arc<Shared>, queue: Arc<LedgerQueue>) {
    while let Some(writes) = queue.take(BATCH).await {
        let taken = writes.len();
        let (mut batch, waiting) = merge(writes);
        let mut written = write(&shared, &batch).await;
        waiting.into_iter().for_each(|done| {
            // Whoever does not wait any more needs no word.
            let _ = done.send(written.clone());
        });
        queue.tried(taken);
        // What was accepted is not given up while the store is open, but for rows that can never be written.
        while let Err(error) = &written {
            if *shared.closed.borrow() {
                break;
            }
            if error.kind() == StoreErrorKind::Refused {
                batch = without_refused(&shared, batch).await;
            } else {
                tokio::time::sleep(RETRY).await;
            }
            written = write(&shared, &batch).await;
        }
    }
}

/// Tries each row alone: one that is refused shall not hold up the others.
async fn without_refused(shared: &Shared, batch: Vec<UsageRecord>) -> Vec<UsageRecord> {
    let mut left = Vec::new();
    for row in batch {
        match write(shared, std::slice::from_ref(&row)).await {
            Ok(()) => {}
            Err(error) if error.kind() == StoreErrorKind::Refused => {}
            Err(_) => left.push(row),
        }
    }
    left
}

/// One row for each id, in the order of ids, so that no two writers wait for each other. The first end is the only one.
fn merge(writes: Vec<Write>) -> (Vec<UsageRecord>, Vec<oneshot::Sender<StoreResult<()>>>) {
    let mut rows = BTreeMap::new();
    let mut waiting = Vec::with_capacity(writes.len());
    for Write { record, done } in writes {
        waiting.extend(done);
        match rows.entry(Arc::clone(&record.id)) {
            Entry::Vacant(place) => {
                place.insert(record);
            }
            Entry::Occupied(mut place) if place.get().outcome.is_none() => {
                place.insert(record);
            }
            Entry::Occupied(_) => {}
        }
    }
    (rows.into_values().collect(), waiting)
}

async fn write(shared: &Shared, records: &[UsageRecord]) -> StoreResult<()> {
    if records.is_empty() {
        return Ok(());
    }
    patient(async {
        let client = shared.client().await?;
        let statement = client.prepare_cached(&UPSERT).await.map_err(|e| failed(&e))?;
        let arrays = arrays(records, &shared.instance);
        client.execute_raw(&statement, arrays).await.map(drop).map_err(|e| failed(&e))
    })
    .await
}
