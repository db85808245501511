//! Stores that fail, forget, or are changed by somebody else at the wrong moment.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::Request;
use kancy::config::Stores;
use kancy::domain::delivery::Delivery;
use kancy::domain::hold::LastingHold;
use kancy::store::error::StoreResult;
use kancy::store::jobs::{JobFilter, JobStore, Put};
use kancy::store::memory::quota::MemoryQuota;
use kancy::store::quota::{Decision, LimitState, Reservation};
use kancy::{Amounts, Job, Limit, Page, PageOf, QuotaStore, StoreError, StoreFuture, Timestamp};
use serde_json::json;

use crate::vendors::Answer;
use crate::world::{Outside, World, example, world};

const VIDEOS: &str = "/v1/videos/generations";

/// A store of jobs in which things go wrong at a word.
#[derive(Debug)]
struct Moody {
    store: Arc<dyn JobStore>,
    /// Changes that fail before they are made.
    failures: AtomicUsize,
    /// Whether somebody else changes the job that is removed next, just before that.
    is_changed: AtomicBool,
}

impl JobStore for Moody {
    fn put(&self, job: Job) -> StoreFuture<StoreResult<Put>> {
        self.store.put(job)
    }
    fn twin(&self, key_id: &str, key: &str, now: Timestamp) -> StoreFuture<StoreResult<Option<Job>>> {
        self.store.twin(key_id, key, now)
    }
    fn get(&self, id: &str) -> StoreFuture<StoreResult<Option<Job>>> {
        self.store.get(id)
    }
    fn replace(&self, job: Job, deliveries: Vec<Delivery>) -> StoreFuture<StoreResult<Option<Job>>> {
        let less = |left: usize| left.checked_sub(1);
        match self.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less) {
            Ok(_) => StoreFuture::ready(Err(StoreError::unavailable("down"))),
            Err(_) => self.store.replace(job, deliveries),
        }
    }
    fn claim(&self, id: &str, now: Timestamp, until: Timestamp) -> StoreFuture<StoreResult<Option<Job>>> {
        self.store.claim(id, now, until)
    }
    fn due(&self, now: Timestamp, until: Timestamp, limit: usize) -> StoreFuture<StoreResult<Vec<Job>>> {
        self.store.due(now, until, limit)
    }
    fn nudge(&self, id: &str, now: Timestamp) -> StoreFuture<StoreResult<()>> {
        self.store.nudge(id, now)
    }
    fn unsettled(&self, page: Page) -> StoreFuture<StoreResult<PageOf<Job>>> {
        self.store.unsettled(page)
    }
    fn list(&self, filter: JobFilter, page: Page) -> StoreFuture<StoreResult<PageOf<Job>>> {
        self.store.list(filter, page)
    }
    fn remove(&self, id: &str, version: u64) -> StoreFuture<StoreResult<bool>> {
        let (store, id) = (Arc::clone(&self.store), id.to_owned());
        let is_changed = self.is_changed.swap(false, Ordering::SeqCst);
        StoreFuture::new(async move {
            if is_changed {
                let job = store.get(&id).await?.expect("the job is there");
                store.replace(job, Vec::new()).await?.expect("nobody else was first");
            }
            store.remove(&id, version).await
        })
    }
}

async fn moody() -> (World, Arc<Moody>) {
    let outside = Outside::with(|text| text);
    let mut stores = Stores::memory(outside.clock.clone());
    let (failures, is_changed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let moody = Arc::new(Moody { store: stores.jobs, failures, is_changed });
    stores.jobs = moody.clone();
    (outside.world(stores, outside.client()).await, moody)
}

#[tokio::test(start_paused = true)]
async fn what_a_vendor_has_made_is_stored_as_soon_as_the_store_is_back() {
    let (world, moody) = moody().await;
    moody.failures.store(3, Ordering::SeqCst);
    let id = world.create("bytedance-video").await.id();
    world.finish().await;
    assert_eq!(world.job(&id).await["status"], "completed");
    assert_eq!(world.counted().await, (0, 6, 0));
    assert_eq!(world.vendors.lock().unwrap().made().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_is_changed_while_it_is_deleted_is_gone_all_the_same() {
    let (world, moody) = moody().await;
    let id = world.create("veo").await.id();
    world.finish().await;
    moody.is_changed.store(true, Ordering::SeqCst);
    assert_eq!(world.ask(Request::delete(format!("{VIDEOS}/{id}"))).await.json()["deleted"], true);
    assert_eq!(world.get(&format!("{VIDEOS}/{id}")).await.status, 404);
}

#[tokio::test(start_paused = true)]
async fn a_twin_that_waited_long_for_the_first_to_be_refused_has_all_its_time() {
    let world = world().await;
    let limited = json!({ "error": { "code": "RequestBurstTooFast", "message": "slow down" } });
    let delay = Duration::from_secs(5);
    let answers = [Answer::json(429, limited), Answer::json(200, json!({ "id": "cgt-1" }))];
    world.vendors.lock().unwrap().creates.extend(answers.map(|answer| Answer { delay, ..answer }));
    let asking = || world.post_once(VIDEOS, example("bytedance-video"), "k");
    let driver = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        world.clock.advance(Duration::from_secs(100));
        tokio::time::sleep(Duration::from_secs(6)).await;
        assert_eq!(world.vendors.lock().unwrap().made().len(), 2, "the twin's job is being made");
        assert_eq!(world.jobs.follow_due().await.unwrap(), 0, "and nobody takes it for one that was cut");
    };
    let (first, twin, ()) = tokio::join!(asking(), asking(), driver);
    assert_eq!((first.status, twin.status), (429, 202));
    assert_eq!(world.job(&twin.id()).await["status"], "queued");
}

/// Counters that may be lost with all they hold.
#[derive(Debug)]
struct Forgetful(Mutex<Arc<dyn QuotaStore>>);

impl Forgetful {
    fn now(&self) -> Arc<dyn QuotaStore> {
        Arc::clone(&self.0.lock().unwrap())
    }
}

impl QuotaStore for Forgetful {
    fn reserve(&self, reservation: Reservation) -> StoreFuture<StoreResult<Decision>> {
        self.now().reserve(reservation)
    }

    fn keep(&self, holds: Vec<LastingHold>, lease: Duration) -> StoreFuture<StoreResult<()>> {
        self.now().keep(holds, lease)
    }

    fn settle(&self, hold: LastingHold, used: Option<Amounts>) -> StoreFuture<StoreResult<()>> {
        self.now().settle(hold, used)
    }

    fn state(&self, limits: Vec<Arc<Limit>>, now: Timestamp) -> StoreFuture<StoreResult<Vec<LimitState>>> {
        self.now().state(limits, now)
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_that_ends_at_a_callers_read_is_counted_by_counters_that_had_forgotten_it() {
    let outside = Outside::with(|text| text.replace("amount = 100\n", "amount = 12\n"));
    let mut stores = Stores::memory(outside.clock.clone());
    let quota = Arc::new(Forgetful(Mutex::new(stores.quota)));
    stores.quota = quota.clone();
    let world = outside.world(stores, outside.client()).await;
    world.vendors.lock().unwrap().running = Some(0);
    let id = world.create("minimax-video").await.id();
    *quota.0.lock().unwrap() = Arc::new(MemoryQuota::with_ledger(world.stores.usage.clone()));
    world.create("veo").await;
    world.clock.advance(Duration::from_secs(60));
    assert_eq!(world.job(&id).await["status"], "completed");
    assert_eq!(world.counted().await, (1, 6, 6));
    assert_eq!(world.post(VIDEOS, example("kling-video")).await.status, 429, "the limit is used up");
}
