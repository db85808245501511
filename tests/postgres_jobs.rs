//! Video jobs in PostgreSQL: the contract, and two instances that share the work.
#![cfg(all(feature = "postgres", feature = "client"))]

#[path = "support/databases.rs"]
mod databases;
#[path = "support/servers.rs"]
mod servers;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use databases::{connect, database};
use http::{HeaderValue, Request, Uri, header::AUTHORIZATION};
use kancy::client::TokioHost;
use kancy::domain::abilities::Abilities;
use kancy::domain::job::{Idempotency, Job, JobState};
use kancy::domain::video::Order;
use kancy::http::body::CallBody;
use kancy::jobs::VideoJobs;
use kancy::provider::traits::Target;
use kancy::provider::video::{Answer, Cancel, Content, Link, NewVideo, Seen, VideoProvider};
use kancy::store::contract;
use kancy::store::jobs::{JobStore, Put};
use kancy::store::ledger::RecordFilter;
use kancy::{
    Amounts, Error, HyperClient, ManualClock, Outcome, Page, PostgresStore, Registry, Timestamp, UsageRecord,
    UsageSink, UsageStore,
};
use servers::postgres;

const START: Timestamp = Timestamp::from_secs(1_800_000_000);

/// A vendor that counts how often it is asked about each job, and has them all done once it is told to.
#[derive(Clone, Debug, Default)]
struct Counting(Arc<Mutex<Polls>>);

#[derive(Debug, Default)]
struct Polls {
    asked: HashMap<String, u32>,
    done: bool,
}

impl VideoProvider for Counting {
    fn abilities(&self, _: &str) -> Abilities {
        Abilities::NONE
    }

    fn create(&self, _: &NewVideo<'_>, _: &Target) -> Result<Option<Request<CallBody>>, Error> {
        Ok(None)
    }

    fn created(&self, new: &NewVideo<'_>, _: &Answer) -> Result<Option<Arc<str>>, Error> {
        Ok(Some(new.job_id.into()))
    }

    fn recover(&self, _: &str, _: &Order) -> Option<Arc<str>> {
        None
    }

    fn poll(&self, handle: &str, _: &Target, _: Timestamp) -> Result<Option<Request<CallBody>>, Error> {
        *self.0.lock().unwrap().asked.entry(handle.to_owned()).or_default() += 1;
        Ok(None)
    }

    fn polled(&self, _: u32, _: &Answer, _: Timestamp) -> Result<Seen, Error> {
        let done = self.0.lock().unwrap().done;
        Ok(if done { Seen::Completed(Vec::new(), kancy::Usage::NONE) } else { Seen::Running(None) })
    }

    fn content(&self, _: &kancy::domain::job::Video, _: &Target, _: Timestamp) -> Result<Content, Error> {
        Ok(Content::Here(bytes::Bytes::new()))
    }

    fn link(&self, _: &Answer) -> Result<Link, Error> {
        let header = Some((AUTHORIZATION, HeaderValue::from_static("")));
        Ok(Link { url: Uri::from_static("http://nowhere.test"), header })
    }

    fn cancel(&self, _: &str, _: &Target, _: Timestamp) -> Result<Cancel, Error> {
        Ok(Cancel::Done)
    }

    fn content_hosts(&self) -> &'static [&'static str] {
        &[]
    }

    fn pace(&self) -> Duration {
        Duration::from_secs(5)
    }
}

fn twin(store: &PostgresStore, clock: &Arc<ManualClock>, vendor: &Counting) -> VideoJobs {
    let (jobs, sink) = (Arc::new(store.clone()), Arc::new(store.clone()));
    VideoJobs::new(Registry::offline(), HyperClient::new(), jobs, sink, TokioHost)
        .codec("echo", vendor.clone())
        .clock(Arc::clone(clock))
}

/// A job that its vendor has taken, due at once.
fn taken() -> Job {
    let job = contract::jobs::sample("acme");
    let deadline = START.plus(Duration::from_secs(1_800));
    Job { model: "demo-video".into(), handle: Some(job.id.clone()), deadline, ..job }
}

#[tokio::test]
async fn it_keeps_the_contracts_of_jobs_and_webhooks() {
    let Some(server) = postgres() else { return };
    let store = connect(&database(&server).await).await;
    contract::jobs::run(&store, &store).await;
    contract::endpoints::run(&store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_instances_poll_each_job_once() {
    let Some(server) = postgres() else { return };
    let url = database(&server).await;
    let stores = [connect(&url).await, connect(&url).await];
    let (clock, vendor) = (Arc::new(ManualClock::at(START)), Counting::default());
    let [here, there] = stores.each_ref().map(|store| twin(store, &clock, &vendor));
    let jobs: Vec<_> = (0..300).map(|_| taken()).collect();
    for job in &jobs {
        assert_eq!(stores[0].put(job.clone()).await.unwrap(), Put::New);
    }
    // More than one instance takes at a time, so that both have their share.
    let (some, others) = tokio::join!(here.follow_due(), there.follow_due());
    assert_eq!((some.unwrap() + others.unwrap(), here.follow_due().await.unwrap()), (jobs.len(), 0));
    let polls = vendor.0.lock().unwrap();
    assert!(jobs.iter().all(|job| polls.asked[&*job.id] == 1), "{polls:?}");
}

#[tokio::test]
async fn a_job_of_an_instance_that_is_gone_is_followed_and_settled_by_another() {
    let Some(server) = postgres() else { return };
    let url = database(&server).await;
    let (gone, other) = (connect(&url).await, connect(&url).await);
    let (clock, vendor) = (Arc::new(ManualClock::at(START)), Counting::default());
    let record = UsageRecord {
        outcome: None,
        held: Some(Amounts::ONE_REQUEST),
        usage: kancy::Usage::NONE,
        cost: kancy::Money::ZERO,
        ..contract::ledger::record("video", START)
    };
    gone.open(&record).await.unwrap();
    let job = Job { record: Some(Box::new(record.into())), ..taken() };
    gone.put(job.clone()).await.unwrap();
    let lease = START.plus(Duration::from_secs(120));
    assert_eq!(gone.due(START, lease, 9).await.unwrap().len(), 1);
    drop(gone);

    vendor.0.lock().unwrap().done = true;
    let other_jobs = twin(&other, &clock, &vendor);
    assert_eq!(other_jobs.follow_due().await.unwrap(), 0, "the lease is kept");
    clock.advance(Duration::from_secs(120));
    assert_eq!(other_jobs.follow_due().await.unwrap(), 1);
    let ended = other.get(&job.id).await.unwrap().unwrap();
    assert_eq!((ended.state, ended.settled, ended.due_at), (JobState::Completed, true, None));
    let records = other.records(RecordFilter::default(), Page { after: None, limit: 9 }).await.unwrap().items;
    assert_eq!(records.iter().map(|r| (r.outcome, r.held)).collect::<Vec<_>>(), [(Some(Outcome::Completed), None)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_twins_on_two_instances_one_makes_the_job() {
    let Some(server) = postgres() else { return };
    let url = database(&server).await;
    let stores = [connect(&url).await, connect(&url).await];
    let used = Some(Idempotency { key: "twice".into(), body: "a".into() });
    let twins = (0..16).map(|n| {
        let (store, job) = (stores[n % 2].clone(), Job { idempotency: used.clone(), ..taken() });
        tokio::spawn(async move {
            match store.put(Job { key_id: "key".into(), ..job.clone() }).await.unwrap() {
                Put::New => (job.id, true),
                Put::Known(known) => (known.id, false),
                Put::Reused => panic!("the body is the same"),
            }
        })
    });
    let mut put = Vec::new();
    for twin in twins.collect::<Vec<_>>() {
        put.push(twin.await.unwrap());
    }
    assert_eq!(put.iter().filter(|(_, new)| *new).count(), 1);
    assert!(put.iter().all(|(id, _)| *id == put[0].0), "{put:?}");
}
