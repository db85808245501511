//! Paid for once: holds, settlements, twins and lost answers.

use std::sync::Arc;
use std::time::Duration;

use http::Request;
use kancy::config::Stores;
use kancy::domain::hold::LastingHold;
use kancy::store::error::StoreResult;
use kancy::store::quota::{Decision, LimitState, Reservation};
use kancy::{Amounts, Limit, Outcome, QuotaStore, StoreError, StoreFuture, Timestamp};
use serde_json::json;

use crate::vendors::Answer;
use crate::world::{Outside, example, world, world_with};

#[tokio::test(start_paused = true)]
async fn a_job_holds_until_it_ends_and_its_record_is_completed_then() {
    let world = world().await;
    world.create("veo").await;
    assert_eq!(world.counted().await, (1, 0, 6), "one slot and six seconds are held");
    let open = &world.records().await[0];
    assert_eq!((open.outcome, open.status, open.cost.as_nanos()), (None, Some(202), 0));
    world.finish().await;
    assert_eq!(world.counted().await, (0, 6, 0));
    let [record] = &world.records().await[..] else { panic!("one record was expected") };
    assert_eq!((record.outcome, record.status, record.estimated), (Some(Outcome::Completed), Some(202), false));
    assert_eq!((record.cost, record.usage.video_seconds), ("2.40".parse().unwrap(), 6));
    assert_eq!(record.upstream_model.as_deref(), Some("veo-3.1-generate-001"));
}

#[tokio::test(start_paused = true)]
async fn failure_cancellation_and_expiry_give_everything_back() {
    let safety = json!({ "id": "cgt-1", "status": "failed",
        "error": { "code": "OutputVideoSensitiveContentDetected", "message": "no" } });
    for (poll, status, code, outcome, event) in [
        (Some((200, safety)), "failed", json!("content_policy_violation"), Outcome::ProviderFailed, "failed"),
        (
            Some((200, json!({ "status": "expired" }))),
            "expired",
            json!("provider_timeout"),
            Outcome::ProviderFailed,
            "expired",
        ),
        (
            Some((404, json!({ "error": { "code": "NotFound.Task" } }))),
            "expired",
            json!("provider_error"),
            Outcome::ProviderFailed,
            "expired",
        ),
        (None, "cancelled", json!(null), Outcome::ClientClosed, "cancelled"),
    ] {
        let world = world().await;
        let id = world.create("bytedance-video").await.id();
        match poll {
            None => {
                let cancelled = world.ask(Request::post(format!("/v1/videos/generations/{id}/cancel"))).await;
                assert_eq!(cancelled.status, 200);
            }
            poll => {
                world.vendors.lock().unwrap().poll = poll;
                world.finish().await;
            }
        }
        let job = world.job(&id).await;
        assert_eq!((&job["status"], &job["error"]["code"]), (&json!(status), &code));
        assert_eq!(world.counted().await, (0, 0, 0), "{status}");
        let record = &world.records().await[0];
        assert_eq!((record.outcome, record.cost.as_nanos()), (Some(outcome), 0), "{status}");
        world.webhooks.send_due().await.unwrap();
        let vendors = world.vendors.lock().unwrap();
        assert_eq!(vendors.received()[0].body["type"], format!("video.generation.{event}"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_vendor_that_cannot_cancel_says_so_and_the_job_goes_on() {
    let world = world().await;
    let id = world.create("kling-video").await.id();
    let refused = world.ask(Request::post(format!("/v1/videos/generations/{id}/cancel"))).await;
    assert_eq!((refused.status, refused.code().as_str()), (400, "video_not_cancellable"));
    world.finish().await;
    assert_eq!(world.job(&id).await["status"], "completed");
    let late = world.ask(Request::post(format!("/v1/videos/generations/{id}/cancel"))).await;
    assert_eq!(late.code(), "video_not_cancellable");
}

#[tokio::test(start_paused = true)]
async fn a_hundred_reads_a_callback_and_two_drivers_settle_once() {
    let world = world().await;
    let (_, other) = world.twin().await;
    world.vendors.lock().unwrap().running = Some(0);
    let id = world.create("minimax-video").await.id();
    world.clock.advance(Duration::from_secs(60));
    let path = format!("/v1/videos/generations/{id}");
    let callback = world.vendors.lock().unwrap().made()[0].body["callback_url"].as_str().unwrap().to_owned();
    let callback = callback.strip_prefix("https://ai.example.com").unwrap();
    let reads = futures_util::future::join_all((0..100).map(|_| world.get(&path)));
    let told = world.anonymous(callback, json!({ "status": "success" }));
    let (told, reads, mine, theirs) = tokio::join!(told, reads, world.jobs.follow_due(), other.follow_due());
    assert!(mine.is_ok() && theirs.is_ok() && reads.iter().all(|read| read.status == 200));
    assert_eq!(told.status, 200);
    world.finish().await;
    other.follow_due().await.unwrap();
    assert_eq!(world.counted().await, (0, 6, 0));
    let records = world.records().await;
    assert_eq!((records.len(), records[0].cost), (1, "0.28".parse().unwrap()));
    while world.webhooks.send_due().await.unwrap() > 0 {}
    let vendors = world.vendors.lock().unwrap();
    assert_eq!((vendors.received().len(), vendors.made().len()), (1, 1));
    let queries = vendors.asked.iter().filter(|asked| asked.head.uri.path().contains("/query/")).count();
    assert_eq!(queries, 1, "one lease, one poll");
}

#[tokio::test(start_paused = true)]
async fn a_job_that_another_instance_ends_frees_its_slot_at_once() {
    let world = world().await;
    let (_, other) = world.twin().await;
    let id = world.create("veo").await.id();
    for _ in 0..10 {
        world.clock.advance(Duration::from_secs(60));
        other.follow_due().await.unwrap();
    }
    assert_eq!(world.job(&id).await["status"], "completed");
    assert_eq!(world.counted().await, (0, 6, 0));
    assert_eq!(world.records().await.len(), 1);
    world.jobs.follow_due().await.unwrap();
    assert_eq!(world.counted().await, (0, 6, 0), "and once");
}

/// Counters that admit, and then cannot be reached.
#[derive(Debug)]
struct Unkeeping(Arc<dyn QuotaStore>);

impl QuotaStore for Unkeeping {
    fn reserve(&self, reservation: Reservation) -> StoreFuture<StoreResult<Decision>> {
        self.0.reserve(reservation)
    }

    fn keep(&self, _: Vec<LastingHold>, _: Duration) -> StoreFuture<StoreResult<()>> {
        StoreFuture::ready(Err(StoreError::unavailable("down")))
    }

    fn settle(&self, hold: LastingHold, used: Option<Amounts>) -> StoreFuture<StoreResult<()>> {
        self.0.settle(hold, used)
    }

    fn state(&self, limits: Vec<Arc<Limit>>, now: Timestamp) -> StoreFuture<StoreResult<Vec<LimitState>>> {
        self.0.state(limits, now)
    }
}

#[tokio::test(start_paused = true)]
async fn no_vendor_is_called_for_a_job_whose_hold_cannot_be_kept() {
    let outside = Outside::with(|text| text);
    let mut stores = Stores::memory(outside.clock.clone());
    stores.quota = Arc::new(Unkeeping(stores.quota));
    let world = outside.world(stores, outside.client()).await;
    let refused = world.post("/v1/videos/generations", example("veo")).await;
    assert_eq!((refused.status, refused.code().as_str()), (500, "quota_unavailable"));
    assert!(world.vendors.lock().unwrap().asked.is_empty());
    assert_eq!(world.get("/v1/videos/generations").await.json()["data"], json!([]));
    assert_eq!(world.counted().await, (0, 0, 0));
    assert_eq!(world.records().await[0].outcome, Some(Outcome::Refused));
}

#[tokio::test(start_paused = true)]
async fn one_idempotency_key_makes_one_job() {
    let world = world().await;
    let slow = Answer { delay: Duration::from_secs(5), ..Answer::json(200, json!({ "id": "cgt-1" })) };
    world.vendors.lock().unwrap().creates.push(slow);
    let path = "/v1/videos/generations";
    let (first, twin) = tokio::join!(
        world.post_once(path, example("bytedance-video"), "k"),
        world.post_once(path, example("bytedance-video"), "k")
    );
    assert_eq!((first.status, twin.status), (202, 202));
    assert_eq!(first.id(), twin.id());
    let later = world.post_once(path, example("bytedance-video"), "k").await;
    assert_eq!((later.status, later.id()), (202, first.id()));
    let other = world.post_once(path, example("veo"), "k").await;
    assert_eq!((other.status, other.code().as_str()), (400, "idempotency_key_reused"));
    let two_keys = Request::post(path).header("content-type", "application/json").header("idempotency-key", "k");
    let two_keys = two_keys.header("idempotency-key", "l");
    let refused = world.send(&world.key, two_keys, example("bytedance-video").to_string().into()).await;
    assert_eq!((refused.status, refused.code().as_str()), (400, "invalid_parameter"));
    assert_eq!(world.vendors.lock().unwrap().made().len(), 1);
    world.finish().await;
    assert_eq!(world.counted().await, (0, 6, 0), "the twins cost nothing");
}

#[tokio::test(start_paused = true)]
async fn a_job_that_has_filled_a_limit_is_given_again_to_who_asks_for_it_again() {
    let world = world_with(|text| text.replace("amount = 10\n", "amount = 1\n")).await;
    let path = "/v1/videos/generations";
    let first = world.post_once(path, example("bytedance-video"), "k").await;
    assert_eq!(world.post_once(path, example("bytedance-video"), "another").await.code(), "concurrency_exceeded");
    let again = world.post_once(path, example("bytedance-video"), "k").await;
    assert_eq!((again.status, again.id()), (202, first.id()));
    assert_eq!(world.post_once(path, example("veo"), "k").await.code(), "idempotency_key_reused");
    assert_eq!(world.counted().await, (1, 0, 6), "what was asked again took nothing");
    let outcomes: Vec<_> = world.records().await.iter().map(|r| (r.outcome, r.status, r.cost.as_nanos())).collect();
    let refused = |status| (Some(Outcome::Refused), Some(status), 0);
    assert_eq!(outcomes, [(None, Some(202), 0), refused(429), (Some(Outcome::Completed), Some(202), 0), refused(400)]);
}

#[tokio::test(start_paused = true)]
async fn a_refused_create_leaves_its_idempotency_key_free() {
    let world = world().await;
    let limited = json!({ "error": { "code": "RequestBurstTooFast", "message": "slow down" } });
    world.vendors.lock().unwrap().creates.push(Answer::json(429, limited));
    let path = "/v1/videos/generations";
    assert_eq!(world.post_once(path, example("bytedance-video"), "k").await.status, 429);
    assert_eq!(world.post_once(path, example("bytedance-video"), "k").await.status, 202);
}

#[tokio::test(start_paused = true)]
async fn a_lost_create_is_never_repeated_and_goes_by_the_operators_rule() {
    for (rule, cost) in [("release", "0"), ("charge", "2.40")] {
        let world = world_with(|text| format!("{text}\n[jobs]\non_unknown = \"{rule}\"\n")).await;
        let lost = Answer { delay: Duration::from_secs(300), ..Answer::json(200, json!({})) };
        world.vendors.lock().unwrap().creates.push(lost);
        let answer = world.post_once("/v1/videos/generations", example("veo"), "k").await;
        assert_eq!((answer.status, answer.code().as_str()), (500, "provider_timeout"));
        let again = world.post_once("/v1/videos/generations", example("veo"), "k").await;
        assert_eq!((again.status, &again.json()["status"]), (202, &json!("failed")));
        assert_eq!(world.vendors.lock().unwrap().made().len(), 1);
        let record = &world.records().await[0];
        assert_eq!((record.outcome, record.status), (Some(Outcome::ProviderFailed), Some(500)));
        assert!(record.estimated);
        assert_eq!(record.cost, cost.parse().unwrap(), "{rule}");
        assert_eq!(world.counted().await.0, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_create_is_found_again_where_the_vendor_knows_our_id() {
    let world = world().await;
    let lost = Answer { delay: Duration::from_secs(300), ..Answer::json(200, json!({})) };
    world.vendors.lock().unwrap().creates.push(lost);
    let id = world.create("kling-video").await.id();
    world.finish().await;
    assert_eq!(world.job(&id).await["status"], "completed");
    let vendors = world.vendors.lock().unwrap();
    assert_eq!(vendors.made().len(), 1);
    let polled = vendors.asked.iter().any(|asked| asked.head.uri.path() == format!("/v1/videos/text2video/{id}"));
    assert!(polled, "by our own id");
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_leaves_while_the_job_is_made_has_it_all_the_same() {
    let world = world().await;
    let slow = Answer { delay: Duration::from_secs(5), ..Answer::json(200, json!({ "id": "cgt-1" })) };
    world.vendors.lock().unwrap().creates.push(slow);
    let leaving = world.post("/v1/videos/generations", example("bytedance-video"));
    assert!(tokio::time::timeout(Duration::from_secs(1), leaving).await.is_err());
    tokio::time::sleep(Duration::from_secs(10)).await;
    world.finish().await;
    let list = world.get("/v1/videos/generations").await.json();
    assert_eq!(list["data"][0]["status"], "completed");
    assert_eq!(world.counted().await, (0, 6, 0));
    assert_eq!(world.records().await[0].outcome, Some(Outcome::Completed));
}

#[tokio::test(start_paused = true)]
async fn the_offline_model_needs_no_vendor() {
    let world = world_with(|text| {
        format!("{text}\n[providers.echo]\nkind = \"echo\"\n[models.\"demo-video\"]\nprovider = \"echo\"\nmodality = \"video\"\nprice = \"free\"\n")
    })
    .await;
    let id = world.create("demo-video").await.id();
    let mut seen = vec![world.job(&id).await["status"].clone()];
    for _ in 0..6 {
        world.pass(Duration::from_secs(30)).await;
        let status = world.job(&id).await["status"].clone();
        if seen.last() != Some(&status) {
            seen.push(status);
        }
    }
    assert_eq!(seen, ["queued", "in_progress", "completed"]);
    let film = world.get(&format!("/v1/videos/generations/{id}/content")).await;
    assert_eq!((film.status, &film.bytes[4..8]), (200, &b"ftyp"[..]));
    let part = world.ask(Request::get(format!("/v1/videos/{id}/content")).header("range", "bytes=4-7")).await;
    assert_eq!((part.status, &part.bytes[..]), (206, &b"ftyp"[..]));
    assert!(world.vendors.lock().unwrap().asked.is_empty());
}
