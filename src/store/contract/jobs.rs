//! What every store of jobs must do. Run [`run`] on yours, in a test:
//!
//! ```
//! use kancy::store::contract::jobs;
//! use kancy::store::memory::jobs::MemoryJobs;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let mine = MemoryJobs::new();
//! jobs::run(&mine, &mine).await;
//! # }
//! ```
//!
//! The checks use ids and workspaces of their own, but lease whatever is due: give them a store that nobody works on.

use std::time::Duration;

use crate::base::clock::Timestamp;
use crate::base::id::new_id;
use crate::domain::caller::Home;
use crate::domain::delivery::{Delivery, DeliveryState};
use crate::domain::job::{Ending, Idempotency, Job, JobState};
use crate::domain::name::Name;
use crate::domain::video::Order;
use crate::domain::webhook::EventKind;
use crate::store::error::StoreErrorKind;
use crate::store::jobs::{JobFilter, JobStore, Outbox, Put};
use crate::store::tables::Page;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

/// Every check below, on one store through both of its traits.
pub async fn run(jobs: &dyn JobStore, outbox: &dyn Outbox) {
    a_change_is_made_by_whoever_is_first(jobs, outbox).await;
    a_job_is_leased_to_one_at_a_time(jobs).await;
    a_nudge_makes_an_open_job_due(jobs).await;
    an_idempotency_key_has_one_job(jobs).await;
    what_is_not_settled_is_found_whosever_it_is(jobs).await;
    lists_keep_to_a_project_and_are_paged(jobs).await;
    a_removed_job_is_gone(jobs).await;
    a_delivery_is_leased_and_counted_once(outbox).await;
    a_delivery_can_be_sent_again(outbox).await;
    what_is_pending_for_a_dropped_endpoint_is_dropped(outbox).await;
}

/// An open job that is due at once.
pub fn sample(workspace: &str) -> Job {
    let name = |text: &str| Name::new(text).expect("a name of 1 to 64 of A-Z a-z 0-9 . _ -");
    let home = Home { workspace: name(workspace), project: name("site"), team: None, environment: None };
    let order = Order { duration: 6, resolution: "720p".to_owned(), ..Order::default() };
    Job::new(new_id("vidgen_"), home, workspace.into(), "model".into(), order, NOW)
}

/// A pending delivery that is due at once.
pub fn sample_delivery(endpoint_id: &str) -> Delivery {
    Delivery {
        id: new_id("dlv_"),
        event_id: new_id("evt_"),
        workspace: Name::new("contract").expect("a name of 1 to 64 of A-Z a-z 0-9 . _ -"),
        kind: EventKind::Completed,
        endpoint_id: endpoint_id.into(),
        url: "https://example.com/hook".into(),
        body: "{}".into(),
        state: DeliveryState::Pending,
        attempts: 0,
        last_status: None,
        created_at: NOW,
        due_at: Some(NOW),
    }
}

fn somewhere() -> String {
    new_id("contract-")
}

async fn put(jobs: &dyn JobStore, job: &Job) {
    assert_eq!(jobs.put(job.clone()).await.expect("a job is stored"), Put::New);
}

async fn get(jobs: &dyn JobStore, id: &str) -> Job {
    jobs.get(id).await.expect("a job is read").expect("the job is there")
}

/// Takes what a check has left out of the way of the next.
async fn clear(jobs: &dyn JobStore, id: &str) {
    let version = get(jobs, id).await.version;
    assert!(jobs.remove(id, version).await.expect("a job is removed"), "the version was the stored one");
}

/// Of two changes to one version the first is made and the second is not, deliveries included.
pub async fn a_change_is_made_by_whoever_is_first(jobs: &dyn JobStore, outbox: &dyn Outbox) {
    let job = sample(&somewhere());
    put(jobs, &job).await;
    let endpoint = somewhere();
    let (first, second) = (sample_delivery(&endpoint), sample_delivery(&endpoint));
    let mut ended = job.clone();
    ended.end(Ending::Cancelled, false, NOW);
    let stored = jobs.replace(ended.clone(), vec![first.clone()]).await.expect("a job is replaced");
    let stored = stored.expect("nobody else was first");
    assert_eq!((stored.version, stored.state), (1, JobState::Cancelled));
    assert_eq!(get(jobs, &job.id).await, stored);
    assert_eq!(jobs.replace(ended, vec![second.clone()]).await.expect("it is answered"), None, "its version is gone");
    let all = outbox.deliveries(None, Page { after: None, limit: 1_000 }).await.expect("deliveries are listed").items;
    assert!(all.contains(&first), "the delivery goes with its change");
    assert!(!all.iter().any(|d| d.id == second.id), "a change that is not made delivers nothing");
    outbox.drop_endpoint(&endpoint).await.expect("an endpoint is dropped");
    clear(jobs, &job.id).await;
}

/// A lease keeps everybody else off until it ends; a change may move the due time.
pub async fn a_job_is_leased_to_one_at_a_time(jobs: &dyn JobStore) {
    let job = sample(&somewhere());
    put(jobs, &job).await;
    let until = NOW.plus(Duration::from_secs(60));
    let before = NOW.minus(Duration::from_nanos(1));
    assert!(jobs.due(before, until, 9).await.expect("due jobs are read").is_empty(), "nothing is due yet");
    let leased = jobs.due(NOW, until, 9).await.expect("due jobs are read");
    assert_eq!(leased.iter().map(|j| &j.id).collect::<Vec<_>>(), [&job.id], "due at its time, equality included");
    assert!(jobs.due(NOW, until, 9).await.expect("due jobs are read").is_empty(), "somebody holds the lease");
    assert_eq!(jobs.claim(&job.id, NOW, until).await.expect("it is answered"), None, "by id as well");
    let later = until.plus(Duration::from_secs(60));
    let again = jobs.claim(&job.id, until, later).await.expect("it is answered");
    assert_eq!(again.expect("the lease has ended").version, job.version, "a lease is no change");
    let mut over = get(jobs, &job.id).await;
    over.due_at = None;
    jobs.replace(over, Vec::new()).await.expect("a job is replaced").expect("nobody else was first");
    let end = Timestamp::from_nanos(u64::MAX / 4);
    assert!(jobs.due(end, end, 9).await.expect("due jobs are read").is_empty(), "what is over is never due");
    clear(jobs, &job.id).await;
}

/// A nudge moves the due time of an open job to now, and leaves one that is over alone.
pub async fn a_nudge_makes_an_open_job_due(jobs: &dyn JobStore) {
    let late = NOW.plus(Duration::from_secs(600));
    let job = Job { due_at: Some(late), ..sample(&somewhere()) };
    put(jobs, &job).await;
    jobs.nudge(&job.id, NOW).await.expect("a job is nudged");
    let mut leased = jobs.claim(&job.id, NOW, late).await.expect("it is answered").expect("it is due now");
    leased.end(Ending::Cancelled, false, NOW);
    leased.due_at = None;
    jobs.replace(leased, Vec::new()).await.expect("a job is replaced").expect("nobody else was first");
    jobs.nudge(&job.id, NOW).await.expect("a nudge is never refused");
    assert_eq!(jobs.claim(&job.id, NOW, late).await.expect("it is answered"), None, "it is over");
    clear(jobs, &job.id).await;
}

/// One key of one caller has one job for a day; the same key of another caller is another.
pub async fn an_idempotency_key_has_one_job(jobs: &dyn JobStore) {
    let used = |body: &str| Some(Idempotency { key: "twice".into(), body: body.into() });
    let first = Job { idempotency: used("a"), ..sample(&somewhere()) };
    put(jobs, &first).await;
    let twin = Job { id: new_id("vidgen_"), ..first.clone() };
    match jobs.put(twin.clone()).await.expect("it is answered") {
        Put::Known(known) => assert_eq!(known.id, first.id),
        other => panic!("the first job was expected, not {other:?}"),
    }
    let other_body = Job { idempotency: used("b"), ..twin.clone() };
    assert_eq!(jobs.put(other_body).await.expect("it is answered"), Put::Reused);
    let other_key = Job { idempotency: used("b"), ..sample(&somewhere()) };
    put(jobs, &other_key).await;
    let next_day = Job { created_at: NOW.plus(Duration::from_secs(86_400)), ..twin };
    put(jobs, &next_day).await;
    let twin =
        jobs.twin(&next_day.key_id, &next_day.idempotency.as_ref().expect("it has a key").key, next_day.created_at);
    let twin = twin.await.expect("it is answered");
    assert_eq!(twin.map(|job| job.id), Some(next_day.id.clone()), "the key leads to the job that has it now");
    let none = jobs.twin(&next_day.key_id, "a key that nobody used", NOW).await.expect("it is answered");
    assert_eq!(none, None);
    clear(jobs, &first.id).await;
    let again = Job { id: new_id("vidgen_"), ..next_day.clone() };
    match jobs.put(again).await.expect("it is answered") {
        Put::Known(known) => assert_eq!(known.id, next_day.id, "the first job's end takes no other's key"),
        other => panic!("the next day's job was expected, not {other:?}"),
    }
    for id in [&other_key.id, &next_day.id] {
        clear(jobs, id).await;
    }
}

/// Open jobs and those that have ended and are not settled, of all projects, oldest first; pages join, whatever ends
/// between two of them.
pub async fn what_is_not_settled_is_found_whosever_it_is(jobs: &dyn JobStore) {
    let all: Vec<_> = (0..4).map(|_| sample(&somewhere())).collect();
    for job in &all {
        put(jobs, job).await;
    }
    let mut ended = get(jobs, &all[1].id).await;
    ended.end(Ending::Cancelled, false, NOW);
    jobs.replace(ended, Vec::new()).await.expect("a job is replaced").expect("nobody else was first");
    let page = |after: Option<String>| Page { after, limit: 2 };
    let ids = |items: &[Job]| items.iter().map(|job| job.id.clone()).collect::<Vec<_>>();
    let first = jobs.unsettled(page(None)).await.expect("jobs are read");
    assert_eq!(ids(&first.items), [&all[0].id, &all[1].id].map(Clone::clone));
    let mut settled = get(jobs, &all[1].id).await;
    settled.settle();
    jobs.replace(settled, Vec::new()).await.expect("a job is replaced").expect("nobody else was first");
    let rest = jobs.unsettled(page(first.next)).await.expect("jobs are read");
    assert_eq!((ids(&rest.items), rest.next), (vec![all[2].id.clone(), all[3].id.clone()], None));
    let again = jobs.unsettled(page(None)).await.expect("jobs are read");
    assert_eq!(ids(&again.items), [&all[0].id, &all[2].id].map(Clone::clone), "what is settled is left out");
    for job in &all {
        clear(jobs, &job.id).await;
    }
}

/// Newest first or oldest first, never another project's; pages join without a gap.
pub async fn lists_keep_to_a_project_and_are_paged(jobs: &dyn JobStore) {
    let (here, elsewhere) = (somewhere(), somewhere());
    let mine: Vec<_> = (0..3).map(|_| sample(&here)).collect();
    let foreign = sample(&elsewhere);
    for job in mine.iter().chain([&foreign]) {
        put(jobs, job).await;
    }
    let filter = |ascending| JobFilter {
        workspace: here.clone(),
        project: "site".into(),
        environment: None,
        state: None,
        model: None,
        ascending,
    };
    let page = |after: Option<&str>| Page { after: after.map(str::to_owned), limit: 2 };
    for ascending in [false, true] {
        let first = jobs.list(filter(ascending), page(None)).await.expect("jobs are listed");
        let rest = jobs.list(filter(ascending), page(first.next.as_deref())).await.expect("jobs are listed");
        assert_eq!(rest.next, None);
        let mut ids: Vec<_> = first.items.iter().chain(&rest.items).map(|job| job.id.clone()).collect();
        if !ascending {
            ids.reverse();
        }
        assert_eq!(ids, mine.iter().map(|job| job.id.clone()).collect::<Vec<_>>());
    }
    let none = JobFilter { state: Some(JobState::Failed), ..filter(false) };
    assert!(jobs.list(none, page(None)).await.expect("jobs are listed").items.is_empty());
    let strange = jobs.list(filter(false), page(Some(&foreign.id))).await.expect_err("a foreign cursor is refused");
    assert_eq!(strange.kind(), StoreErrorKind::Refused);
    for job in mine.iter().chain([&foreign]) {
        clear(jobs, &job.id).await;
    }
}

/// Removed under its version alone, and then unknown.
pub async fn a_removed_job_is_gone(jobs: &dyn JobStore) {
    let job = sample(&somewhere());
    put(jobs, &job).await;
    assert!(!jobs.remove(&job.id, 7).await.expect("it is answered"), "another version stays");
    assert!(jobs.remove(&job.id, 0).await.expect("it is answered"));
    assert_eq!(jobs.get(&job.id).await.expect("it is answered"), None);
}

/// One lease at a time; an attempt that is already counted changes nothing.
pub async fn a_delivery_is_leased_and_counted_once(outbox: &dyn Outbox) {
    let delivery = sample_delivery(&somewhere());
    outbox.push(vec![delivery.clone()]).await.expect("a delivery is kept");
    let until = NOW.plus(Duration::from_secs(60));
    let leased = outbox.claim_due(NOW, until, 9).await.expect("due deliveries are read");
    assert_eq!(leased.iter().map(|d| &d.id).collect::<Vec<_>>(), [&delivery.id]);
    assert!(outbox.claim_due(NOW, until, 9).await.expect("due deliveries are read").is_empty(), "it is leased");
    let done = Delivery {
        state: DeliveryState::Delivered,
        attempts: 1,
        last_status: Some(200),
        due_at: None,
        ..delivery.clone()
    };
    outbox.attempted(done.clone()).await.expect("an attempt is noted");
    let late = Delivery { state: DeliveryState::Failed, last_status: Some(500), ..done.clone() };
    outbox.attempted(late).await.expect("it is answered");
    let page = Page { after: None, limit: 1_000 };
    let kept = outbox.deliveries(Some(DeliveryState::Delivered), page).await.expect("deliveries are listed").items;
    assert!(kept.contains(&done), "the first word on an attempt stays");
    assert!(outbox.claim_due(until, until, 9).await.expect("due deliveries are read").is_empty(), "it is over");
}

/// What is over is sent again on demand, under the same event id.
pub async fn a_delivery_can_be_sent_again(outbox: &dyn Outbox) {
    let over = Delivery { state: DeliveryState::Failed, attempts: 10, due_at: None, ..sample_delivery(&somewhere()) };
    outbox.push(vec![over.clone()]).await.expect("a delivery is kept");
    let again = outbox.redeliver(&over.id, NOW).await.expect("it is answered").expect("it is known");
    assert_eq!((again.state, again.due_at, &again.event_id), (DeliveryState::Pending, Some(NOW), &over.event_id));
    let until = NOW.plus(Duration::from_secs(60));
    assert_eq!(outbox.claim_due(NOW, until, 9).await.expect("due deliveries are read").len(), 1);
    assert_eq!(outbox.redeliver("dlv_none", NOW).await.expect("it is answered"), None);
    outbox.drop_endpoint(&over.endpoint_id).await.expect("an endpoint is dropped");
}

/// Nothing more is sent to an endpoint that is gone.
pub async fn what_is_pending_for_a_dropped_endpoint_is_dropped(outbox: &dyn Outbox) {
    let (gone, stays) = (sample_delivery(&somewhere()), sample_delivery(&somewhere()));
    outbox.push(vec![gone.clone(), stays.clone()]).await.expect("deliveries are kept");
    outbox.drop_endpoint(&gone.endpoint_id).await.expect("an endpoint is dropped");
    let until = NOW.plus(Duration::from_secs(60));
    let leased = outbox.claim_due(NOW, until, 9).await.expect("due deliveries are read");
    assert_eq!(leased.iter().map(|d| &d.id).collect::<Vec<_>>(), [&stays.id]);
    outbox.drop_endpoint(&stays.endpoint_id).await.expect("an endpoint is dropped");
}
