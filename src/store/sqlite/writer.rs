//! The one thread that writes, and its queue.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rusqlite::{Connection, Transaction};

use crate::base::log;
use crate::base::store_future::StoreFuture;
use crate::domain::record::UsageRecord;
use crate::store::error::{StoreError, StoreResult};

use super::failed;
use super::openings::Openings;
use super::promise::{Promise, keep_all, promise};

/// Where so many jobs wait, no row is taken but of what a vendor may have billed.
const BOUND: usize = 100_000;
const RETRY: Duration = Duration::from_millis(250);
/// A transaction with so many jobs was one of a busy time: the next waits for more to share its commit.
const BUSY: u64 = 4;
const LINGER: Duration = Duration::from_micros(400);

/// Tells whoever waits for a job how its transaction went.
type Done = Box<dyn FnOnce(StoreResult<()>) + Send>;
type Work = Box<dyn FnOnce(&Transaction<'_>) -> Done + Send>;

enum Job {
    /// A row of the ledger, opened or finished. Kept and tried again when it cannot be written.
    Record(Box<UsageRecord>, Option<Promise<()>>),
    Work(Work),
    /// Whatever runs gets its row in the ledger.
    Show,
}

#[derive(Default)]
struct Queue {
    jobs: Vec<Job>,
    /// Jobs ever queued, and those of them that have been tried.
    queued: u64,
    tried: u64,
    /// Rows that could not be written and wait for another try.
    retained: usize,
    closed: bool,
    /// Whether the writer waits to be woken.
    asleep: bool,
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
        if !record.may_be_billed() && self.handle.waiting() >= BOUND {
            let why = format!("SQLite: {BOUND} rows wait to be written: no more are taken");
            return StoreFuture::ready(Err(StoreError::unavailable(why)));
        }
        let failing = wait && self.is_failing();
        let (kept, future) = if failing {
            (None, StoreFuture::ready(Err(failing_now())))
        } else if wait {
            let (kept, future) = promise();
            (Some(kept), future)
        } else {
            (None, StoreFuture::ready(Ok(())))
        };
        self.handle.push(Job::Record(Box::new(record), kept));
        future
    }

    /// Whether rows wait because they could not be written. Until they are, nothing should be opened.
    pub(super) fn is_failing(&self) -> bool {
        self.handle.0.lock().retained > 0
    }

    /// Lets whoever reads from now on find what runs in the ledger.
    pub(super) fn show_running(&self) {
        self.handle.push(Job::Show);
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
        let asleep = std::mem::take(&mut queue.asleep);
        drop(queue);
        if asleep {
            self.0.wake.notify_one();
        }
    }

    fn waiting(&self) -> usize {
        let queue = self.0.lock();
        queue.jobs.len() + queue.retained
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

/// Why nothing is opened now.
pub(super) fn failing_now() -> StoreError {
    StoreError::unavailable("SQLite: the ledger's rows cannot be written at the moment: they wait")
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
    let mut openings = Openings::default();
    let mut is_busy = false;
    loop {
        let (jobs, closed) = take(shared, !retained.is_empty(), is_busy);
        let new = jobs.len() as u64;
        is_busy = new >= BUSY;
        let was_failing = !retained.is_empty();
        retained.extend(jobs);
        let written = write(&mut connection, &mut openings, std::mem::take(&mut retained), &mut retained);
        if let Err(error) = &written
            && !was_failing
        {
            log::store_failed("the ledger's rows cannot be written: they wait", error);
        }
        let mut queue = shared.lock();
        queue.tried += new;
        queue.retained = retained.len();
        shared.idle.notify_all();
        if closed && queue.jobs.is_empty() {
            if let (Err(error), lost @ 1..) = (written, retained.len()) {
                log::store_failed(&format!("{lost} rows of the ledger were never written"), &error);
            }
            // So that the file is whole without its log; where a reader is in the way, the next start does it.
            drop(connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)"));
            return;
        }
    }
}

/// Waits for jobs, and in a busy time for more of them; while rows are retained, until their next try.
fn take(shared: &Shared, retained: bool, is_busy: bool) -> (Vec<Job>, bool) {
    let mut queue = shared.lock();
    if retained {
        let retry = shared.wake.wait_timeout_while(queue, RETRY, |queue| !queue.closed);
        queue = retry.unwrap_or_else(PoisonError::into_inner).0;
    } else {
        let jobs = shared.wake.wait_while(queue, |queue| {
            queue.asleep = queue.jobs.is_empty() && !queue.closed;
            queue.asleep
        });
        queue = jobs.unwrap_or_else(PoisonError::into_inner);
        if is_busy && !queue.closed {
            // Nobody is woken for the jobs that come meanwhile.
            drop(queue);
            thread::sleep(LINGER);
            queue = shared.lock();
        }
    }
    (std::mem::take(&mut queue.jobs), queue.closed)
}

/// One transaction. The rows that must be tried again are put into `retained`.
fn write(
    connection: &mut Connection,
    openings: &mut Openings,
    jobs: Vec<Job>,
    retained: &mut Vec<Job>,
) -> StoreResult<()> {
    let mut waiting: Vec<Done> = Vec::new();
    let mut records = Vec::with_capacity(jobs.len());
    let outcome = (|| {
        let transaction = connection.transaction()?;
        let mut shown = false;
        for job in jobs {
            match job {
                Job::Work(work) => waiting.push(work(&transaction)),
                Job::Record(record, promise) => records.push((record, promise)),
                Job::Show => shown = true,
            }
        }
        let change = openings.write(&transaction, records.iter().map(|(record, _)| &**record), shown)?;
        transaction.commit()?;
        openings.committed(change);
        Ok(())
    })()
    .map_err(|e: rusqlite::Error| failed(&e));
    waiting.into_iter().for_each(|done| done(outcome.clone()));
    let mut promises = Vec::with_capacity(records.len());
    for (record, promise) in records {
        promises.extend(promise);
        if outcome.is_err() {
            retained.push(Job::Record(record, None));
        }
    }
    keep_all(promises, &outcome);
    outcome
}
