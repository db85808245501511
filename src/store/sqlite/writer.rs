//! The one thread that writes, and its queue.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rusqlite::{Connection, Transaction};

use crate::base::store_future::StoreFuture;
use crate::domain::record::UsageRecord;
use crate::store::error::{StoreError, StoreResult};

use super::columns::write_record;
use super::failed;
use super::promise::{Promise, promise};

/// Records that could not be written wait for another try, at most so many; beyond, the oldest is given up.
const MAX_RETAINED: usize = 100_000;
const RETRY: Duration = Duration::from_millis(250);

/// Tells whoever waits for a job how its transaction went.
type Done = Box<dyn FnOnce(StoreResult<()>) + Send>;
type Work = Box<dyn FnOnce(&Transaction<'_>) -> Done + Send>;

enum Job {
    /// A row of the ledger, opened or finished. Kept and tried again when it cannot be written.
    Record(Box<UsageRecord>, Option<Promise<()>>),
    Work(Work),
}

#[derive(Default)]
struct Queue {
    jobs: Vec<Job>,
    /// Jobs ever queued, and those of them that have been tried.
    queued: u64,
    tried: u64,
    closed: bool,
}

struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
    idle: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A way to the writer's queue.
#[derive(Clone)]
pub(super) struct Handle(Arc<Shared>);

/// The writer. Dropped, it writes what is left and ends.
pub(super) struct Writer {
    handle: Handle,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub(super) fn start(connection: Connection) -> StoreResult<Self> {
        let shared = Arc::new(Shared { queue: Mutex::default(), wake: Condvar::new(), idle: Condvar::new() });
        let own = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("kancy-sqlite-writer".to_owned())
            .spawn(move || run(connection, &own))
            .map_err(|e| StoreError::unavailable(format!("no thread for the database: {e}")))?;
        Ok(Self { handle: Handle(shared), thread: Some(thread) })
    }

    pub(super) fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Writes a row of the ledger. Never blocks; `wait` says whether someone waits for the commit.
    pub(super) fn record(&self, record: UsageRecord, wait: bool) -> StoreFuture<StoreResult<()>> {
        let (kept, future) = if wait {
            let (kept, future) = promise();
            (Some(kept), future)
        } else {
            (None, StoreFuture::ready(Ok(())))
        };
        self.handle.push(Job::Record(Box::new(record), kept));
        future
    }

    /// Runs `work` in a savepoint of the next transaction; its result is out when that has been committed.
    pub(super) fn run<T, W>(&self, work: W) -> StoreFuture<StoreResult<T>>
    where
        T: Send + Unpin + 'static,
        W: FnOnce(&Connection) -> StoreResult<T> + Send + 'static,
    {
        let (kept, future) = promise();
        self.handle.push(Job::Work(Box::new(move |transaction| {
            let result = in_savepoint(transaction, work);
            Box::new(move |committed| kept.keep(committed.and(result)))
        })));
        future
    }
}

impl Handle {
    fn push(&self, job: Job) {
        let mut queue = self.0.lock();
        queue.jobs.push(job);
        queue.queued += 1;
        drop(queue);
        self.0.wake.notify_one();
    }

    /// Blocks until all that was queued before is written (or has failed).
    pub(super) fn flush(&self) {
        let mut queue = self.0.lock();
        let upto = queue.queued;
        while !queue.closed && queue.tried < upto {
            queue = self.0.idle.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.handle.0.lock().closed = true;
        self.handle.0.wake.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panic of the writer has been told to everyone who waited for it.
            drop(thread.join());
        }
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Writer")
    }
}

fn in_savepoint<T>(transaction: &Transaction<'_>, work: impl FnOnce(&Connection) -> StoreResult<T>) -> StoreResult<T> {
    transaction.execute_batch("SAVEPOINT work").map_err(|e| failed(&e))?;
    let result = work(transaction);
    let end = if result.is_ok() { "RELEASE work" } else { "ROLLBACK TO work; RELEASE work" };
    transaction.execute_batch(end).map_err(|e| failed(&e))?;
    result
}

/// The writer's life: take all that waits, write it in one transaction, tell everyone.
fn run(mut connection: Connection, shared: &Shared) {
    let mut retained: Vec<Job> = Vec::new();
    loop {
        let (jobs, closed) = take(shared, !retained.is_empty());
        let new = jobs.len() as u64;
        retained.extend(jobs);
        retained = write(&mut connection, std::mem::take(&mut retained));
        let mut queue = shared.lock();
        queue.tried += new;
        shared.idle.notify_all();
        if closed && queue.jobs.is_empty() {
            return;
        }
    }
}

/// Waits for jobs; while some are retained, no longer than until their next try.
fn take(shared: &Shared, retained: bool) -> (Vec<Job>, bool) {
    let mut queue = shared.lock();
    while queue.jobs.is_empty() && !queue.closed {
        if retained {
            queue = shared.wake.wait_timeout(queue, RETRY).unwrap_or_else(PoisonError::into_inner).0;
            break;
        }
        queue = shared.wake.wait(queue).unwrap_or_else(PoisonError::into_inner);
    }
    (std::mem::take(&mut queue.jobs), queue.closed)
}

/// One transaction. Returns the records that must be tried again.
fn write(connection: &mut Connection, jobs: Vec<Job>) -> Vec<Job> {
    let mut waiting: Vec<Done> = Vec::new();
    let mut records = Vec::with_capacity(jobs.len());
    let outcome = (|| {
        let transaction = connection.transaction()?;
        for job in jobs {
            match job {
                Job::Work(work) => waiting.push(work(&transaction)),
                Job::Record(record, promise) => records.push((record, promise)),
            }
        }
        for (record, _) in &records {
            write_record(&transaction, record)?;
        }
        transaction.commit()
    })()
    .map_err(|e| failed(&e));
    waiting.into_iter().for_each(|done| done(outcome.clone()));
    let mut retained = Vec::new();
    for (record, promise) in records {
        if let Some(promise) = promise {
            promise.keep(outcome.clone());
        }
        if outcome.is_err() {
            retained.push(Job::Record(record, None));
        }
    }
    let surplus = retained.len().saturating_sub(MAX_RETAINED);
    retained.drain(..surplus);
    retained
}
