//! Deliveries: schedule, same id, the end at 410, and what is refused.

use std::time::Duration;

use kancy::domain::delivery::DeliveryState;
use kancy::store::jobs::Outbox as _;
use kancy::wire::standard_webhooks::sign;
use kancy::{Clock as _, Page};
use serde_json::json;

use crate::world::{SECRET, example, world, world_with};

#[tokio::test(start_paused = true)]
async fn a_delivery_is_tried_again_on_schedule_under_the_same_id() {
    let world = world().await;
    world.vendors.lock().unwrap().receiver = vec![500, 302, 503];
    world.create("veo").await;
    world.finish().await;
    assert_eq!(world.webhooks.send_due().await.unwrap(), 1);
    assert_eq!(world.webhooks.send_due().await.unwrap(), 0, "not before its time");
    for wait in [6, 331, 1_981] {
        world.clock.advance(Duration::from_secs(wait));
        assert_eq!(world.webhooks.send_due().await.unwrap(), 1, "after {wait} s");
    }
    world.clock.advance(Duration::from_secs(900_000));
    assert_eq!(world.webhooks.send_due().await.unwrap(), 0, "the receiver has taken it");
    let vendors = world.vendors.lock().unwrap();
    let ids: Vec<_> = vendors.received().iter().map(|told| told.header("webhook-id").to_owned()).collect();
    assert_eq!(ids.len(), 4);
    assert!(ids.iter().all(|id| *id == ids[0] && id.starts_with("evt_")));
    let stamps: Vec<_> = vendors.received().iter().map(|told| told.header("webhook-timestamp").to_owned()).collect();
    assert!(stamps.windows(2).all(|two| two[0] < two[1]), "each attempt is stamped anew");
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_is_gone_is_sent_nothing_more() {
    let world = world().await;
    world.vendors.lock().unwrap().receiver = vec![410];
    for _ in 0..2 {
        world.create("veo").await;
        world.finish().await;
        world.webhooks.send_due().await.unwrap();
    }
    assert_eq!(world.vendors.lock().unwrap().received().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_jobs_own_webhook_needs_a_workspace_that_has_one_and_must_lead_outside() {
    let mut asked = example("veo");
    asked["webhook_url"] = json!("https://127.0.0.1/hook");
    let refused = world().await.post("/v1/videos/generations", asked.clone()).await;
    assert_eq!((refused.status, refused.code().as_str()), (400, "invalid_parameter"));
    let without = world_with(|text| text.replace("workspace = \"acme\"\nurl", "workspace = \"other\"\nurl")).await;
    let refused = without.post("/v1/videos/generations", asked.clone()).await;
    assert_eq!((refused.status, refused.code().as_str()), (400, "callbacks_not_enabled"));

    asked["webhook_url"] = json!("https://receiver.test/own");
    let world = world().await;
    assert_eq!(world.post("/v1/videos/generations", asked).await.status, 202);
    world.finish().await;
    assert_eq!(world.webhooks.send_due().await.unwrap(), 2);
    let vendors = world.vendors.lock().unwrap();
    let mut paths: Vec<_> = vendors.received().iter().map(|told| told.head.uri.path().to_owned()).collect();
    paths.sort();
    assert_eq!(paths, ["/hook", "/own"]);
}

#[tokio::test(start_paused = true)]
async fn an_alert_goes_the_same_way_once() {
    let world = world_with(|text| text.replace("amount = 100\n", "amount = 12\nalert_at = [0.5]\n")).await;
    for _ in 0..2 {
        world.create("veo").await;
        world.finish().await;
    }
    tokio::time::sleep(Duration::from_millis(10)).await;
    while world.webhooks.send_due().await.unwrap() > 0 {}
    let vendors = world.vendors.lock().unwrap();
    let alerts: Vec<_> =
        vendors.received().into_iter().filter(|told| told.body["type"] == "usage.alert.triggered").collect();
    let [alert] = alerts[..] else { panic!("one alert was expected, not {}", alerts.len()) };
    assert_eq!(alert.body["data"]["scope"], "workspace:acme");
    assert_eq!(alert.body["data"]["measure"], "video_seconds");
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_is_overloaded_is_left_alone_for_a_while() {
    for (status, retry_after, wait) in [(429, Some("90"), 90), (502, None, 60), (504, None, 60), (503, None, 5)] {
        let world = world().await;
        world.vendors.lock().unwrap().receiver = vec![status];
        world.vendors.lock().unwrap().retry_after = retry_after;
        world.create("veo").await;
        world.finish().await;
        assert_eq!(world.webhooks.send_due().await.unwrap(), 1);
        world.clock.advance(Duration::from_secs(wait - 1));
        assert_eq!(world.webhooks.send_due().await.unwrap(), 0, "{status}: not before {wait} s");
        // A tenth is added at most.
        world.clock.advance(Duration::from_secs(1 + wait / 10 + 1));
        assert_eq!(world.webhooks.send_due().await.unwrap(), 1, "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_delivery_that_has_failed_for_good_is_on_the_log_and_can_be_sent_again() {
    let world = world_with(|text| format!("{text}\n[delivery]\nschedule_seconds = [0, 1]\n")).await;
    world.vendors.lock().unwrap().receiver = vec![500, 418];
    world.create("veo").await;
    world.finish().await;
    for _ in 0..5 {
        world.webhooks.send_due().await.unwrap();
        world.clock.advance(Duration::from_secs(60));
    }
    let log = || world.stores.outbox.deliveries(None, Page { after: None, limit: 9 });
    let [failed] = &log().await.unwrap().items[..] else { panic!("one delivery was expected") };
    assert_eq!((failed.state, failed.attempts, failed.last_status), (DeliveryState::Failed, 2, Some(418)));
    world.stores.outbox.redeliver(&failed.id, world.clock.now()).await.unwrap().unwrap();
    assert_eq!(world.webhooks.send_due().await.unwrap(), 1);
    let [sent] = &log().await.unwrap().items[..] else { panic!("one delivery was expected") };
    assert_eq!((sent.state, sent.attempts, sent.last_status), (DeliveryState::Delivered, 3, Some(200)));
    let vendors = world.vendors.lock().unwrap();
    let ids: Vec<_> = vendors.received().iter().map(|told| told.header("webhook-id").to_owned()).collect();
    assert!(ids.len() == 3 && ids.iter().all(|id| *id == *failed.event_id), "{ids:?}");
}

#[tokio::test(start_paused = true)]
async fn while_a_secret_is_rotated_both_sign() {
    const NEW: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    let world = world_with(|text| text.replace(&format!("\"{SECRET}\""), &format!("[\"{NEW}\", \"{SECRET}\"]"))).await;
    world.create("veo").await;
    world.finish().await;
    world.webhooks.send_due().await.unwrap();
    let vendors = world.vendors.lock().unwrap();
    let told = vendors.received()[0];
    let (id, at) = (told.header("webhook-id"), told.header("webhook-timestamp").parse().unwrap());
    let both = sign(&[NEW.into(), SECRET.into()], id, at, std::str::from_utf8(&told.text).unwrap());
    assert_eq!((told.header("webhook-signature"), both.split(' ').count()), (both.as_str(), 2));
}
