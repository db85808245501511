//! The process is killed between any two steps of a job's life, and started again over the same file.

use std::collections::HashSet;
use std::convert::Infallible;
use std::future::pending;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use kancy::config::Stores;
use kancy::domain::delivery::{Delivery, DeliveryState};
use kancy::http::body::CallBody;
use kancy::store::error::StoreResult;
use kancy::store::jobs::{JobFilter, JobStore, Outbox, Put};
use kancy::store::ledger::UsageSink;
use kancy::{Job, Money, Page, PageOf, SqliteStore, StoreFuture, Timestamp, UsageRecord};
use serde_json::json;
use tokio::sync::Notify;
use tower::ServiceExt;

use crate::vendors::{Answer, FILM};
use crate::world::{Client, Outside, World, example};

/// A process with so many steps to live: each call to a store or to the outside is two, before it and after it.
#[derive(Clone, Debug)]
struct Life(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    left: AtomicUsize,
    dead: AtomicBool,
    killed: Notify,
}

impl Life {
    fn of(steps: usize) -> Self {
        Self(Arc::new(Inner { left: steps.into(), dead: AtomicBool::new(false), killed: Notify::new() }))
    }

    /// Goes one step on; never comes back from the last.
    async fn step(&self) {
        let has_left = |left: usize| left.checked_sub(1);
        if self.0.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, has_left).is_err() {
            self.0.dead.store(true, Ordering::SeqCst);
            self.0.killed.notify_one();
            pending().await
        }
    }

    fn call<T: Send + Unpin + 'static>(
        &self,
        work: impl FnOnce() -> StoreFuture<T> + Send + 'static,
    ) -> StoreFuture<T> {
        let life = self.clone();
        StoreFuture::new(async move {
            life.step().await;
            let done = work().await;
            life.step().await;
            done
        })
    }
}

/// The store as a process with a [`Life`] has it.
#[derive(Clone, Debug)]
struct Mortal {
    store: Arc<SqliteStore>,
    life: Life,
}

/// A call of the inner store within the life.
macro_rules! live {
    ($own:ident, $trait:ident :: $call:ident ( $($argument:ident),* )) => {{
        let store = Arc::clone(&$own.store);
        $own.life.call(move || $trait::$call(&*store, $($argument),*))
    }};
    ($own:ident, $trait:ident :: $call:ident ( & $id:ident $(, $argument:ident)* )) => {{
        let (store, id) = (Arc::clone(&$own.store), $id.to_owned());
        $own.life.call(move || $trait::$call(&*store, &id $(, $argument)*))
    }};
}

impl JobStore for Mortal {
    fn put(&self, job: Job) -> StoreFuture<StoreResult<Put>> {
        live!(self, JobStore::put(job))
    }
    fn twin(&self, key_id: &str, key: &str, now: Timestamp) -> StoreFuture<StoreResult<Option<Job>>> {
        let (store, key_id, key) = (Arc::clone(&self.store), key_id.to_owned(), key.to_owned());
        self.life.call(move || store.twin(&key_id, &key, now))
    }
    fn get(&self, id: &str) -> StoreFuture<StoreResult<Option<Job>>> {
        live!(self, JobStore::get(&id))
    }
    fn replace(&self, job: Job, deliveries: Vec<Delivery>) -> StoreFuture<StoreResult<Option<Job>>> {
        live!(self, JobStore::replace(job, deliveries))
    }
    fn claim(&self, id: &str, now: Timestamp, until: Timestamp) -> StoreFuture<StoreResult<Option<Job>>> {
        live!(self, JobStore::claim(&id, now, until))
    }
    fn due(&self, now: Timestamp, until: Timestamp, limit: usize) -> StoreFuture<StoreResult<Vec<Job>>> {
        live!(self, JobStore::due(now, until, limit))
    }
    fn nudge(&self, id: &str, now: Timestamp) -> StoreFuture<StoreResult<()>> {
        live!(self, JobStore::nudge(&id, now))
    }
    fn unsettled(&self, page: Page) -> StoreFuture<StoreResult<PageOf<Job>>> {
        live!(self, JobStore::unsettled(page))
    }
    fn list(&self, filter: JobFilter, page: Page) -> StoreFuture<StoreResult<PageOf<Job>>> {
        live!(self, JobStore::list(filter, page))
    }
    fn remove(&self, id: &str, version: u64) -> StoreFuture<StoreResult<bool>> {
        live!(self, JobStore::remove(&id, version))
    }
}

impl Outbox for Mortal {
    fn push(&self, deliveries: Vec<Delivery>) -> StoreFuture<StoreResult<()>> {
        live!(self, Outbox::push(deliveries))
    }
    fn claim_due(&self, now: Timestamp, until: Timestamp, limit: usize) -> StoreFuture<StoreResult<Vec<Delivery>>> {
        live!(self, Outbox::claim_due(now, until, limit))
    }
    fn attempted(&self, delivery: Delivery) -> StoreFuture<StoreResult<()>> {
        live!(self, Outbox::attempted(delivery))
    }
    fn redeliver(&self, id: &str, now: Timestamp) -> StoreFuture<StoreResult<Option<Delivery>>> {
        live!(self, Outbox::redeliver(&id, now))
    }
    fn drop_endpoint(&self, endpoint_id: &str) -> StoreFuture<StoreResult<()>> {
        live!(self, Outbox::drop_endpoint(&endpoint_id))
    }
    fn deliveries(&self, state: Option<DeliveryState>, page: Page) -> StoreFuture<StoreResult<PageOf<Delivery>>> {
        live!(self, Outbox::deliveries(state, page))
    }
}

impl UsageSink for Mortal {
    fn open(&self, record: &UsageRecord) -> StoreFuture<StoreResult<()>> {
        let (store, record) = (Arc::clone(&self.store), record.clone());
        self.life.call(move || UsageSink::open(&*store, &record))
    }

    /// Accepted when the call returns, so that there is a step behind it alone; the dead record nothing.
    fn record(&self, record: UsageRecord) -> StoreFuture<StoreResult<()>> {
        if self.life.0.dead.load(Ordering::SeqCst) {
            return StoreFuture::new(pending());
        }
        let (life, done) = (self.life.clone(), UsageSink::record(&*self.store, record));
        StoreFuture::new(async move {
            let done = done.await;
            life.step().await;
            done
        })
    }
}

fn client(inner: Client, life: Life) -> Client {
    let service = tower::service_fn(move |request: Request<CallBody>| {
        let (inner, life) = (inner.clone(), life.clone());
        async move {
            life.step().await;
            let answer: Response<Full<Bytes>> = inner.oneshot(request).await?;
            life.step().await;
            Ok::<_, Infallible>(answer)
        }
    });
    Client::new(service)
}

struct File(PathBuf);

impl File {
    fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("kancy-video-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// One start of the process: a runtime, the file, and a gateway over it. `false` when it was killed.
fn live(outside: &Outside, file: &File, steps: usize, scenario: impl AsyncFnOnce(&World)) -> bool {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let life = Life::of(steps);
    runtime.block_on(async {
        let work = async {
            let store = SqliteStore::open(file.0.join("kancy.db")).unwrap();
            let mut stores = Stores::sqlite(store.clone(), outside.clock.clone());
            let mortal = Arc::new(Mortal { store: Arc::new(store), life: life.clone() });
            (stores.jobs, stores.outbox, stores.sink) = (mortal.clone(), mortal.clone(), mortal);
            let world = outside.world(stores, client(outside.client(), life.clone())).await;
            scenario(&world).await;
        };
        tokio::select! {
            () = work => true,
            () = life.0.killed.notified() => false,
        }
    })
    // The runtime goes with all its tasks, as a process does.
}

const VIDEOS: &str = "/v1/videos/generations";

/// What a caller does who wants one video and does not give up, and what the host does beside it.
async fn want_one(world: &World, model: &str) {
    holds_what_is_open(world).await;
    let asking = async {
        for _ in 0..3 {
            if world.post_once(VIDEOS, example(model), "once").await.status != 429 {
                return;
            }
        }
    };
    let driving = async {
        loop {
            tokio::time::sleep(Duration::from_millis(5)).await;
            world.jobs.follow_due().await.unwrap();
        }
    };
    tokio::select! {
        () = asking => {}
        () = driving => {}
    }
    follow_to_the_end(world).await;
}

async fn follow_to_the_end(world: &World) {
    for _ in 0..40 {
        let unsettled = world.stores.jobs.unsettled(Page { after: None, limit: 9 }).await.unwrap().items;
        let open = unsettled.iter().any(|job| !job.state.is_terminal());
        if unsettled.is_empty() {
            break;
        }
        world.pass(if open { Duration::from_secs(60) } else { Duration::from_secs(1) }).await;
    }
    for _ in 0..3 {
        world.webhooks.send_due().await.unwrap();
        world.clock.advance(Duration::from_secs(5));
    }
}

/// At every start, before the first admit: the counters are the sum of the records and of what is open.
async fn holds_what_is_open(world: &World) {
    let unsettled = world.stores.jobs.unsettled(Page { after: None, limit: 9 }).await.unwrap().items;
    let open = unsettled.iter().filter(|job| !job.state.is_terminal()).count() as u64;
    let ended: u64 = world.records().await.iter().map(|record| record.usage.video_seconds).sum();
    assert_eq!(world.counted().await, (open, ended, 6 * open), "{unsettled:?}");
}

/// What must be true in the end, however often it was killed. Returns the job's state.
fn check(outside: &Outside, file: &File, most_made: usize) -> String {
    let mut state = String::new();
    assert!(live(outside, file, usize::MAX, async |world: &World| {
        holds_what_is_open(world).await;
        let list = world.get(VIDEOS).await.json();
        let [job] = &list["data"].as_array().unwrap()[..] else { panic!("one job was expected: {list}") };
        state = job["status"].as_str().unwrap().to_owned();
        let records = world.records().await;
        assert!(records.iter().all(|record| record.outcome.is_some()), "{records:?}");
        let seconds = if state == "completed" { 6 } else { 0 };
        assert_eq!(world.counted().await, (0, seconds, 0), "{state}");
        let cost: u64 = records.iter().map(|record| record.cost.as_nanos()).sum();
        let told = job["usage"]["cost"]["amount"].as_str().unwrap_or("0.000000000");
        assert_eq!(told, Money::from_nanos(cost).to_string(), "{state}");
        let vendors = outside.vendors.lock().unwrap();
        assert!(vendors.made().len() <= most_made, "{} creates", vendors.made().len());
        let told: HashSet<_> = vendors.received().iter().map(|told| (told.header("webhook-id"), &told.text)).collect();
        assert_eq!(told.len(), 1, "one end, one id, one body");
    }));
    state
}

/// Kills after each number of steps there is, starts again, and lets that one live.
fn killed_at_any_step(outside: impl Fn() -> Outside, model: &str, most_made: usize) -> HashSet<String> {
    let mut ends = HashSet::new();
    for steps in 0.. {
        let (outside, file) = (outside(), File::new());
        let lived = live(&outside, &file, steps, async |world: &World| want_one(world, model).await);
        if lived {
            assert!(steps > 20, "the life of a job has more than {steps} steps");
            return ends;
        }
        assert!(live(&outside, &file, usize::MAX, async |world: &World| want_one(world, model).await));
        ends.insert(check(&outside, &file, most_made));
    }
    ends
}

fn plain() -> Outside {
    Outside::with(|text| text)
}

/// The vendor refuses the first create: the caller asks again, under the same key.
fn busy() -> Outside {
    let busy = json!({ "task_id": "", "base_resp": { "status_code": 1002, "status_msg": "rate limit" } });
    let outside = plain();
    outside.vendors.lock().unwrap().creates.push(Answer::json(200, busy));
    outside
}

fn ends(words: &[&str]) -> HashSet<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[test]
fn killed_between_any_two_steps_a_job_is_made_settled_and_announced_once() {
    // Cut while it was made, nobody knows what became of it; else it completes.
    assert_eq!(killed_at_any_step(plain, "minimax-video", 1), ends(&["completed", "failed"]));
}

#[test]
fn a_vendor_that_knows_our_id_is_asked_for_the_job_whose_making_was_cut() {
    assert_eq!(killed_at_any_step(plain, "kling-video", 1), ends(&["completed"]));
}

#[test]
fn a_refusal_that_was_cut_leaves_no_hold_and_no_second_job() {
    assert_eq!(killed_at_any_step(busy, "minimax-video", 2), ends(&["completed", "failed"]));
}

#[test]
fn killed_again_and_again_it_comes_to_the_same_end() {
    for steps in 16..22 {
        let (outside, file) = (plain(), File::new());
        let lives =
            (0..50).take_while(|_| !live(&outside, &file, steps, async |w: &World| want_one(w, "kling-video").await));
        assert!((1..50).contains(&lives.count()), "{steps} steps a life");
        assert_eq!(check(&outside, &file, 1), "completed", "{steps} steps a life");
    }
}

#[tokio::test]
async fn after_a_restart_content_is_served_and_keys_are_known() {
    let (outside, file) = (plain(), File::new());
    let stores = |store: SqliteStore| Stores::sqlite(store, outside.clock.clone());
    let open = || SqliteStore::open(file.0.join("kancy.db")).unwrap();
    let id = {
        let world = outside.world(stores(open()), outside.client()).await;
        let id = world.post_once(VIDEOS, example("veo"), "k").await.id();
        world.finish().await;
        id
    };
    let world = outside.world(stores(open()), outside.client()).await;
    let film = world.get(&format!("{VIDEOS}/{id}/content")).await;
    assert_eq!((film.status, &film.bytes[..]), (200, FILM));
    assert_eq!(world.post_once(VIDEOS, example("veo"), "k").await.id(), id);
    assert_eq!(world.post_once(VIDEOS, example("kling-video"), "k").await.code(), "idempotency_key_reused");
    assert_eq!(world.webhooks.send_due().await.unwrap(), 1);
}
