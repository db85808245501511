//! Jobs and their outbox in memory.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::base::clock::Timestamp;
use crate::base::store_future::StoreFuture;
use crate::domain::delivery::{Delivery, DeliveryState};
use crate::domain::job::Job;
use crate::store::error::{StoreError, StoreErrorKind, StoreResult};
use crate::store::jobs::{JobFilter, JobStore, Outbox, Put, REMEMBERED};
use crate::store::tables::{Page, PageOf};

/// Keeps jobs and deliveries, and forgets them with the process: all that are open, and the newest of those that are over
/// (10,000 of each unless said otherwise).
pub struct MemoryJobs {
    state: Mutex<State>,
    keep: usize,
}

#[derive(Debug, Default)]
struct State {
    jobs: Table<Job>,
    outbox: Table<Delivery>,
    idempotency: HashMap<(Arc<str>, Arc<str>), Arc<str>>,
}

/// Rows in the order of their coming, with an index by id and one by due time.
#[derive(Debug)]
struct Table<T> {
    /// Boxed: a tree of rows this large would be half empty.
    rows: BTreeMap<u64, Box<T>>,
    ids: HashMap<Arc<str>, u64>,
    due: BTreeSet<(Timestamp, u64)>,
    /// Those that are over, oldest first.
    over: VecDeque<u64>,
    next: u64,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { rows: BTreeMap::new(), ids: HashMap::new(), due: BTreeSet::new(), over: VecDeque::new(), next: 0 }
    }
}

/// What the table asks of a row.
trait Row: Clone {
    fn id(&self) -> &Arc<str>;
    fn due_at(&mut self) -> &mut Option<Timestamp>;
}

impl Row for Job {
    fn id(&self) -> &Arc<str> {
        &self.id
    }

    fn due_at(&mut self) -> &mut Option<Timestamp> {
        &mut self.due_at
    }
}

impl Row for Delivery {
    fn id(&self) -> &Arc<str> {
        &self.id
    }

    fn due_at(&mut self) -> &mut Option<Timestamp> {
        &mut self.due_at
    }
}

impl<T: Row> Table<T> {
    fn get(&self, id: &str) -> Option<&T> {
        self.rows.get(self.ids.get(id)?).map(|row| &**row)
    }

    /// Puts the row in the place of the one with its id, or behind all others. At most `keep` that are over stay.
    fn set(&mut self, mut row: T, keep: usize) -> Option<T> {
        let known = self.ids.get(row.id()).copied();
        let number = known.unwrap_or_else(|| {
            self.next += 1;
            self.next
        });
        let due = *row.due_at();
        let before = self.rows.get_mut(&number).and_then(|held| *held.due_at());
        if let Some(at) = before {
            self.due.remove(&(at, number));
        }
        match due {
            Some(at) => drop(self.due.insert((at, number))),
            None if known.is_none() || before.is_some() => self.over.push_back(number),
            None => {}
        }
        self.ids.insert(Arc::clone(row.id()), number);
        self.rows.insert(number, Box::new(row));
        self.forget(keep)
    }

    fn forget(&mut self, keep: usize) -> Option<T> {
        while self.over.len() > keep {
            let oldest = self.over.pop_front()?;
            // One that was made due again is over no more.
            if self.rows.get_mut(&oldest).is_some_and(|row| row.due_at().is_none()) {
                let row = self.rows.remove(&oldest)?;
                self.ids.remove(row.id());
                return Some(*row);
            }
        }
        None
    }

    fn remove(&mut self, id: &str) -> Option<T> {
        let number = self.ids.remove(id)?;
        let mut row = self.rows.remove(&number)?;
        if let Some(at) = *row.due_at() {
            self.due.remove(&(at, number));
        }
        self.over.retain(|over| *over != number);
        Some(*row)
    }

    /// Moves the row's due time; `None` when it is not due by `now`.
    fn lease(&mut self, number: u64, now: Timestamp, until: Timestamp) -> Option<T> {
        let row = self.rows.get_mut(&number)?;
        let at = row.due_at().filter(|at| *at <= now)?;
        *row.due_at() = Some(until);
        let row = T::clone(row);
        self.due.remove(&(at, number));
        self.due.insert((until, number));
        Some(row)
    }

    fn lease_due(&mut self, now: Timestamp, until: Timestamp, limit: usize) -> Vec<T> {
        let numbers: Vec<_> = self.due.range(..=(now, u64::MAX)).take(limit).map(|(_, number)| *number).collect();
        numbers.into_iter().filter_map(|number| self.lease(number, now, until)).collect()
    }

    /// A page of the rows that will be due again, oldest first. A cursor is a row's number.
    fn open(&self, page: &Page) -> StoreResult<PageOf<T>> {
        let after = page.after.as_deref().map_or(Ok(0), str::parse::<u64>);
        let after = after.map_err(|_| StoreError::new(StoreErrorKind::Refused, "the cursor is none of this list"))?;
        let mut numbers: Vec<u64> = self.due.iter().map(|(_, number)| *number).filter(|n| *n > after).collect();
        numbers.sort_unstable();
        let more = numbers.len() > page.limit;
        numbers.truncate(page.limit);
        let next = numbers.last().filter(|_| more).map(u64::to_string);
        let items = numbers.iter().filter_map(|number| self.rows.get(number)).map(|row| T::clone(row)).collect();
        Ok(PageOf { items, next })
    }

    /// A page of the rows that `shows`. A cursor is a row's id.
    fn page(&self, shows: impl Fn(&T) -> bool, ascending: bool, page: &Page) -> StoreResult<PageOf<T>> {
        let from = match &page.after {
            None => None,
            Some(id) => match self.get(id).filter(|row| shows(row)) {
                Some(_) => self.ids.get(id.as_str()).copied(),
                None => {
                    return Err(StoreError::new(StoreErrorKind::Refused, "the cursor is none of this list"));
                }
            },
        };
        let mut rows: Box<dyn Iterator<Item = &T>> = match (ascending, from) {
            (true, from) => Box::new(self.rows.range(from.map_or(0, |n| n + 1)..).map(|(_, row)| &**row)),
            (false, from) => Box::new(self.rows.range(..from.unwrap_or(u64::MAX)).rev().map(|(_, row)| &**row)),
        };
        let mut rows = rows.by_ref().filter(|row| shows(row));
        let items: Vec<T> = rows.by_ref().take(page.limit).cloned().collect();
        let next = rows.next().and(items.last()).map(|row| row.id().to_string());
        Ok(PageOf { items, next })
    }
}

impl MemoryJobs {
    /// No jobs yet.
    pub fn new() -> Self {
        Self { state: Mutex::default(), keep: 10_000 }
    }

    /// Keeps so many jobs, and so many deliveries, that are over.
    #[must_use]
    pub fn keep(mut self, over: usize) -> Self {
        self.keep = over;
        self
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for MemoryJobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        let (jobs, deliveries) = (state.jobs.rows.len(), state.outbox.rows.len());
        f.debug_struct("MemoryJobs").field("jobs", &jobs).field("deliveries", &deliveries).finish_non_exhaustive()
    }
}

impl Default for MemoryJobs {
    fn default() -> Self {
        Self::new()
    }
}

impl State {
    fn set_job(&mut self, job: Job, keep: usize) {
        if let Some(forgotten) = self.jobs.set(job, keep) {
            self.forget_key(&forgotten);
        }
    }

    fn forget_key(&mut self, job: &Job) {
        let Some(used) = &job.idempotency else { return };
        let key = (Arc::clone(&job.key_id), Arc::clone(&used.key));
        // Its day over, another job may have the key.
        if self.idempotency.get(&key) == Some(&job.id) {
            self.idempotency.remove(&key);
        }
    }

    /// The job that used an idempotency key, while that is remembered.
    fn twin(&self, key_id: &Arc<str>, idempotency_key: &Arc<str>, now: Timestamp) -> Option<&Job> {
        let id = self.idempotency.get(&(Arc::clone(key_id), Arc::clone(idempotency_key)))?;
        self.jobs.get(id).filter(|known| now.since(known.created_at) < REMEMBERED)
    }
}

impl JobStore for MemoryJobs {
    fn put(&self, job: Job) -> StoreFuture<StoreResult<Put>> {
        let mut state = self.lock();
        let used = job.idempotency.as_ref();
        if let Some(known) = used.and_then(|used| state.twin(&job.key_id, &used.key, job.created_at)) {
            let same = known.idempotency.as_ref().map(|i| &i.body) == job.idempotency.as_ref().map(|i| &i.body);
            let put = if same { Put::Known(Box::new(known.clone())) } else { Put::Reused };
            return StoreFuture::ready(Ok(put));
        }
        if let Some(used) = &job.idempotency {
            state.idempotency.insert((Arc::clone(&job.key_id), Arc::clone(&used.key)), Arc::clone(&job.id));
        }
        state.set_job(job, self.keep);
        StoreFuture::ready(Ok(Put::New))
    }

    fn twin(&self, key_id: &str, idempotency_key: &str, now: Timestamp) -> StoreFuture<StoreResult<Option<Job>>> {
        StoreFuture::ready(Ok(self.lock().twin(&key_id.into(), &idempotency_key.into(), now).cloned()))
    }

    fn get(&self, id: &str) -> StoreFuture<StoreResult<Option<Job>>> {
        StoreFuture::ready(Ok(self.lock().jobs.get(id).cloned()))
    }

    fn replace(&self, mut job: Job, deliveries: Vec<Delivery>) -> StoreFuture<StoreResult<Option<Job>>> {
        let mut state = self.lock();
        if state.jobs.get(&job.id).is_none_or(|held| held.version != job.version) {
            return StoreFuture::ready(Ok(None));
        }
        job.version += 1;
        state.set_job(job.clone(), self.keep);
        for delivery in deliveries {
            state.outbox.set(delivery, self.keep);
        }
        StoreFuture::ready(Ok(Some(job)))
    }

    fn claim(&self, id: &str, now: Timestamp, until: Timestamp) -> StoreFuture<StoreResult<Option<Job>>> {
        let mut state = self.lock();
        let number = state.jobs.ids.get(id).copied();
        StoreFuture::ready(Ok(number.and_then(|number| state.jobs.lease(number, now, until))))
    }

    fn due(&self, now: Timestamp, until: Timestamp, limit: usize) -> StoreFuture<StoreResult<Vec<Job>>> {
        StoreFuture::ready(Ok(self.lock().jobs.lease_due(now, until, limit)))
    }

    fn nudge(&self, id: &str, now: Timestamp) -> StoreFuture<StoreResult<()>> {
        let mut state = self.lock();
        let found = state.jobs.get(id).filter(|job| !job.state.is_terminal()).cloned();
        if let Some(mut job) = found {
            job.due_at = Some(now);
            state.set_job(job, self.keep);
        }
        StoreFuture::ready(Ok(()))
    }

    fn unsettled(&self, page: Page) -> StoreFuture<StoreResult<PageOf<Job>>> {
        StoreFuture::ready(self.lock().jobs.open(&page))
    }

    fn list(&self, filter: JobFilter, page: Page) -> StoreFuture<StoreResult<PageOf<Job>>> {
        StoreFuture::ready(self.lock().jobs.page(|job| filter.shows(job), filter.ascending, &page))
    }

    fn remove(&self, id: &str, version: u64) -> StoreFuture<StoreResult<bool>> {
        let mut state = self.lock();
        let is_same = state.jobs.get(id).is_some_and(|job| job.version == version);
        if let Some(job) = is_same.then(|| state.jobs.remove(id)).flatten() {
            state.forget_key(&job);
        }
        StoreFuture::ready(Ok(is_same))
    }
}

impl Outbox for MemoryJobs {
    fn push(&self, deliveries: Vec<Delivery>) -> StoreFuture<StoreResult<()>> {
        let mut state = self.lock();
        for delivery in deliveries {
            if state.outbox.get(&delivery.id).is_none() {
                state.outbox.set(delivery, self.keep);
            }
        }
        StoreFuture::ready(Ok(()))
    }

    fn claim_due(&self, now: Timestamp, until: Timestamp, limit: usize) -> StoreFuture<StoreResult<Vec<Delivery>>> {
        StoreFuture::ready(Ok(self.lock().outbox.lease_due(now, until, limit)))
    }

    fn attempted(&self, delivery: Delivery) -> StoreFuture<StoreResult<()>> {
        let mut state = self.lock();
        if state.outbox.get(&delivery.id).is_some_and(|held| held.attempts < delivery.attempts) {
            state.outbox.set(delivery, self.keep);
        }
        StoreFuture::ready(Ok(()))
    }

    fn redeliver(&self, id: &str, now: Timestamp) -> StoreFuture<StoreResult<Option<Delivery>>> {
        let mut state = self.lock();
        let again = state.outbox.get(id).cloned().map(|delivery| Delivery {
            state: DeliveryState::Pending,
            due_at: Some(now),
            ..delivery
        });
        if let Some(delivery) = again.clone() {
            state.outbox.set(delivery, self.keep);
        }
        StoreFuture::ready(Ok(again))
    }

    fn drop_endpoint(&self, endpoint_id: &str) -> StoreFuture<StoreResult<()>> {
        let mut state = self.lock();
        let pending = |d: &&Delivery| d.state == DeliveryState::Pending && *d.endpoint_id == *endpoint_id;
        let dropped: Vec<_> = state.outbox.rows.values().map(|row| &**row).filter(pending).cloned().collect();
        for delivery in dropped {
            state.outbox.set(Delivery { state: DeliveryState::Dropped, due_at: None, ..delivery }, self.keep);
        }
        StoreFuture::ready(Ok(()))
    }

    fn deliveries(&self, wanted: Option<DeliveryState>, page: Page) -> StoreFuture<StoreResult<PageOf<Delivery>>> {
        let shows = |delivery: &Delivery| wanted.is_none_or(|wanted| delivery.state == wanted);
        StoreFuture::ready(self.lock().outbox.page(shows, false, &page))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::job::{Ending, tests::job};
    use crate::store::contract;

    #[tokio::test]
    async fn the_contract_holds() {
        let store = MemoryJobs::new();
        contract::jobs::run(&store, &store).await;
    }

    #[tokio::test]
    async fn of_jobs_that_are_over_the_newest_stay_and_open_ones_always() {
        let store = MemoryJobs::new().keep(2);
        for id in ["open", "a", "b", "c"] {
            store.put(job(id)).await.unwrap();
        }
        for id in ["a", "b", "c"] {
            let mut over = store.get(id).await.unwrap().unwrap();
            over.end(Ending::Cancelled, false, Timestamp::from_secs(200));
            over.due_at = None;
            store.replace(over, Vec::new()).await.unwrap().unwrap();
        }
        let mut left = Vec::new();
        for id in ["open", "a", "b", "c"] {
            left.push(store.get(id).await.unwrap().is_some());
        }
        assert_eq!(left, [true, false, true, true]);
    }
}
