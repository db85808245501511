//! Writing the ledger: one task, as many rows at a time as have come meanwhile.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::base::log;
use crate::base::store_future::StoreFuture;
use crate::domain::record::UsageRecord;
use crate::store::error::{StoreError, StoreErrorKind, StoreResult};
use crate::store::ledger::UsageSink;
use crate::store::queue::Queue;

use super::row::{UPSERT, arrays};
use super::{Inner, PostgresStore, Shared, failed, patient};

/// Rows that wait at most; what comes beyond is refused.
const BOUND: usize = 100_000;
/// Rows of one transaction at most.
const BATCH: usize = 1_000;
/// How long a batch that failed waits for its next try.
const RETRY: Duration = Duration::from_millis(250);
/// The longest that a request is held up for its row. A batch that takes longer is stuck: until it has come through,
/// nothing is opened, and who ends does not wait.
const WAIT: Duration = Duration::from_secs(2);

/// A row, and whom to tell of its commit.
struct Write {
    record: UsageRecord,
    done: Option<oneshot::Sender<StoreResult<()>>>,
}

/// The way to the writer.
pub(super) struct Ledger {
    queue: Queue<Write>,
    /// Since when the batch at hand has been tried.
    trying: Mutex<Option<Instant>>,
}

impl Ledger {
    pub(super) fn new() -> Self {
        Self { queue: Queue::new(), trying: Mutex::default() }
    }

    /// Waits until all that was handed over before has been tried.
    pub(super) async fn flush(&self) {
        self.queue.flush().await;
    }

    /// Nothing more will come.
    pub(super) fn close(&self) {
        self.queue.close();
    }

    fn trying(&self) -> MutexGuard<'_, Option<Instant>> {
        self.trying.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_stuck(&self) -> bool {
        self.trying().is_some_and(|since| since.elapsed() >= WAIT)
    }

    /// Hands a row over; the future is ready when it is committed, or has not been for too long.
    fn write(&self, record: UsageRecord, durable: bool) -> StoreFuture<StoreResult<()>> {
        let waits = durable && !self.is_stuck();
        let (done, committed) = waits.then(oneshot::channel).unzip();
        let may_be_billed = record.may_be_billed();
        let write = Write { record, done };
        if may_be_billed {
            self.queue.push_surely(write);
        } else if self.queue.push(write, BOUND).is_err() {
            return StoreFuture::ready(Err(full()));
        }
        match committed {
            Some(committed) => StoreFuture::new(async move {
                match timeout(WAIT, committed).await {
                    Ok(answer) => {
                        answer.unwrap_or_else(|_| Err(StoreError::unavailable("the ledger's writer has ended")))
                    }
                    Err(_) => Err(stuck()),
                }
            }),
            None if durable => StoreFuture::ready(Err(stuck())),
            None => StoreFuture::ready(Ok(())),
        }
    }
}

impl UsageSink for PostgresStore {
    fn open(&self, record: &UsageRecord) -> StoreFuture<StoreResult<()>> {
        let Inner { ledger, shared, .. } = &*self.0;
        if shared.durable && ledger.is_stuck() {
            return StoreFuture::ready(Err(stuck()));
        }
        ledger.write(record.clone(), shared.durable)
    }

    fn record(&self, record: UsageRecord) -> StoreFuture<StoreResult<()>> {
        self.0.ledger.write(record, self.0.shared.durable)
    }
}

fn full() -> StoreError {
    StoreError::unavailable(format!("{BOUND} records wait for PostgreSQL: no more are taken"))
}

fn stuck() -> StoreError {
    StoreError::unavailable("PostgreSQL does not take the ledger's rows at the moment: they wait")
}

/// Writes until the queue is closed and empty.
pub(super) async fn run(shared: Arc<Shared>, ledger: Arc<Ledger>) {
    while let Some(writes) = ledger.queue.take(BATCH).await {
        let taken = writes.len();
        *ledger.trying() = Some(Instant::now());
        let (mut batch, waiting) = merge(writes);
        let mut written = write(&shared, &batch).await;
        waiting.into_iter().for_each(|done| {
            // Whoever does not wait any more needs no word.
            let _ = done.send(written.clone());
        });
        ledger.queue.tried(taken);
        if let Err(error) = &written {
            log::store_failed("the ledger's rows cannot be written: they wait", error);
        }
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
        *ledger.trying() = None;
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
        match rows.entry(record.id.clone()) {
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
