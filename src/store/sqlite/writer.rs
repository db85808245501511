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

use super::commit::Committer;
use super::promise::{Promise, promise};
use super::{failed, line};

/// Where so many rows wait, none is taken but of what a vendor may have billed.
const BOUND: usize = 100_000;
const RETRY: Duration = Duration::from_millis(250);
/// A batch with so many jobs was one of a busy time: the next waits for more to share its commit.
const BUSY: usize = 4;
const LINGER: Duration = Duration::from_micros(400);

/// Tells whoever waits for a job how its transaction went.
pub(super) type Done = Box<dyn FnOnce(StoreResult<()>) + Send>;
pub(super) type Work = Box<dyn FnOnce(&Transaction<'_>) -> Done + Send>;

/// What whoever reads from now on must find in the ledger.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Look {
    /// Whatever is there.
    #[default]
    Any,
    /// All that has ended.
    Ended,
    /// That, and all that runs.
    Running,
}

/// What is written together.
#[derive(Default)]
pub(super) struct Batch {
    /// Records that were opened or have ended. They are kept, and tried again, when they cannot be written.
    pub(super) records: usize,
    pub(super) lines: Vec<u8>,
    pub(super) promises: Vec<Promise<()>>,
    pub(super) works: Vec<Work>,
    pub(super) look: Look,
}

impl Batch {
    fn len(&self) -> usize {
        self.records + self.works.len()
    }

    fn is_empty(&self) -> bool {
        self.len() == 0 && self.look == Look::Any
    }
}

#[derive(Default)]
struct Queue {
    batch: Batch,
    /// Times that something was queued, and those of them that have been tried.
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
    pub(super) fn start(committer: Committer) -> StoreResult<Self> {
        let shared = Arc::new(Shared { queue: Mutex::default(), wake: Condvar::new(), idle: Condvar::new() });
        let own = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("kancy-sqlite-writer".to_owned())
            .spawn(move || run(committer, &own))
            .map_err(|e| StoreError::unavailable(format!("no thread for the database: {e}")))?;
        Ok(Self { handle: Handle(shared), thread: Some(thread) })
    }

    pub(super) fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Writes down a record. Never blocks; `wait` says whether someone waits for the commit.
    pub(super) fn record(&self, record: &UsageRecord, wait: bool) -> StoreFuture<StoreResult<()>> {
        let mut queue = self.handle.0.lock();
        if queue.batch.records + queue.retained >= BOUND && !record.may_be_billed() {
            let why = format!("SQLite: {BOUND} rows wait to be written: no more are taken");
            return StoreFuture::ready(Err(StoreError::unavailable(why)));
        }
        let (kept, future) = match (wait, queue.retained) {
            (true, 0) => {
                let (kept, future) = promise();
                (Some(kept), future)
            }
            (true, _) => (None, StoreFuture::ready(Err(failing_now()))),
            (false, _) => (None, StoreFuture::ready(Ok(()))),
        };
        line::push(record, &mut queue.batch.lines);
        queue.batch.records += 1;
        queue.batch.promises.extend(kept);
        self.handle.queued(queue);
        future
    }

    /// Whether rows wait because they could not be written. Until they are, nothing should be opened.
    pub(super) fn is_failing(&self) -> bool {
        self.handle.is_failing()
    }

    /// Lets whoever reads from now on find it in the ledger.
    pub(super) fn show(&self, look: Look) {
        let mut queue = self.handle.0.lock();
        queue.batch.look = queue.batch.look.max(look);
        self.handle.queued(queue);
    }

    /// Runs `work` in a savepoint of the next transaction; its result is out when that has been committed.
    pub(super) fn run<T, W>(&self, work: W) -> StoreFuture<StoreResult<T>>
    where
        T: Send + Unpin + 'static,
        W: FnOnce(&Connection) -> StoreResult<T> + Send + 'static,
    {
        let (kept, future) = promise();
        let mut queue = self.handle.0.lock();
        queue.batch.works.push(Box::new(move |transaction| {
            let result = in_savepoint(transaction, work);
            Box::new(move |committed| kept.keep(committed.and(result)))
        }));
        self.handle.queued(queue);
        future
    }
}

impl Handle {
    /// Something was put into the queue.
    fn queued(&self, mut queue: MutexGuard<'_, Queue>) {
        queue.queued += 1;
        let asleep = std::mem::take(&mut queue.asleep);
        drop(queue);
        if asleep {
            self.0.wake.notify_one();
        }
    }

    /// Whether the last try to write rows failed: then what is read lacks some.
    pub(super) fn is_failing(&self) -> bool {
        self.0.lock().retained > 0
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

/// The writer's life: take all that waits, write it together, tell everyone.
fn run(mut committer: Committer, shared: &Shared) {
    let mut batch = Batch::default();
    let mut is_busy = false;
    loop {
        let was_failing = committer.is_failing();
        let (tried, closed) = take(shared, &mut batch, &committer, is_busy);
        is_busy = batch.len() >= BUSY;
        let written = committer.write(&mut batch, closed);
        if let Err(error) = &written
            && !was_failing
        {
            log::store_failed("the ledger's rows cannot be written: they wait", error);
        }
        let mut queue = shared.lock();
        queue.tried = tried;
        queue.retained = committer.retained();
        shared.idle.notify_all();
        if closed && queue.batch.is_empty() {
            drop(queue);
            committer.close(written);
            return;
        }
    }
}

/// Waits for jobs, and in a busy time for more of them; or until something that was left is due. Puts them into `batch`,
/// which is empty.
fn take(shared: &Shared, batch: &mut Batch, committer: &Committer, is_busy: bool) -> (u64, bool) {
    let mut queue = shared.lock();
    if committer.is_failing() {
        let retry = shared.wake.wait_timeout_while(queue, RETRY, |queue| !queue.closed);
        queue = retry.unwrap_or_else(PoisonError::into_inner).0;
    } else {
        let waits = |queue: &mut Queue| {
            queue.asleep = queue.batch.is_empty() && !queue.closed;
            queue.asleep
        };
        queue = match committer.due_in() {
            None => shared.wake.wait_while(queue, waits).unwrap_or_else(PoisonError::into_inner),
            Some(due) => shared.wake.wait_timeout_while(queue, due, waits).unwrap_or_else(PoisonError::into_inner).0,
        };
        queue.asleep = false;
        if is_busy && !queue.closed {
            // Nobody is woken for the jobs that come meanwhile.
            drop(queue);
            thread::sleep(LINGER);
            queue = shared.lock();
        }
    }
    std::mem::swap(&mut queue.batch, batch);
    (queue.queued, queue.closed)
}
