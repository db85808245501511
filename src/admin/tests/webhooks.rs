//! Webhook endpoints and deliveries.

use serde_json::json;

use super::{World, code, text};
use crate::store::contract::jobs::sample_delivery;
use crate::store::jobs::Outbox;

#[test]
fn an_endpoint_shows_its_secret_once_and_its_deletion_shows_its_last_state() {
    let world = World::new();
    let asked = json!({ "workspace": "acme", "url": "https://example.com/hook", "events": ["usage.alert.triggered"] });
    let (status, made) = world.ask("POST", "/webhooks", asked);
    assert_eq!((status, &made["events"]), (201, &json!(["usage.alert.triggered"])));
    assert!(text(&made["secret"]).starts_with("whsec_"));
    let (_, list) = world.get("/webhooks");
    assert_eq!((&list["data"][0]["id"], &list["data"][0]["secret"]), (&made["id"], &json!(null)));
    let path = format!("/webhooks/{}", text(&made["id"]));
    let (status, gone) = world.ask("DELETE", &path, json!(null));
    assert_eq!((status, &gone["url"]), (200, &json!("https://example.com/hook")));
    assert_eq!(world.ask("DELETE", &path, json!(null)).0, 404);
    let (_, audit) = world.get("/audit");
    let actions: Vec<_> = audit["data"].as_array().unwrap().iter().map(|entry| text(&entry["action"])).collect();
    assert_eq!(actions, ["webhook.delete", "webhook.create"]);
    assert!(!audit.to_string().contains("whsec_"));
}

#[test]
fn endpoints_are_listed_in_pages_newest_first() {
    let world = World::new();
    let make = |path: &str| {
        let asked = json!({ "workspace": "acme", "url": format!("https://example.com/{path}") });
        text(&world.ask("POST", "/webhooks", asked).1["id"]).to_owned()
    };
    let made = ["a", "b", "c"].map(make);
    let (_, first) = world.get("/webhooks?limit=2");
    let ids = |page: &serde_json::Value| -> Vec<String> {
        page["data"].as_array().unwrap().iter().map(|endpoint| text(&endpoint["id"]).to_owned()).collect()
    };
    assert_eq!((ids(&first), &first["has_more"]), (vec![made[2].clone(), made[1].clone()], &json!(true)));
    let (_, last) = world.get(&format!("/webhooks?limit=2&after={}", text(&first["next"])));
    assert_eq!((ids(&last), &last["next"]), (vec![made[0].clone()], &json!(null)));
    assert_eq!(world.get("/webhooks?after=nothing").0, 400);
    let asked = json!({ "workspace": "acme", "url": "https://example.com/d" });
    assert_eq!(world.ask("POST", "/webhooks?x=1", asked).0, 400);
    assert_eq!(world.ask("DELETE", &format!("/webhooks/{}?x=1", made[0]), json!(null)).0, 400);
    assert_eq!(ids(&world.get("/webhooks").1).len(), 3);
}

#[test]
fn a_url_into_a_private_network_is_refused_unless_that_is_allowed() {
    let world = World::new();
    let addresses = [
        "0.0.0.0",
        "10.0.0.1",
        "100.64.0.1",
        "127.0.0.1",
        "169.254.169.254",
        "172.31.255.255",
        "192.0.0.1",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.0.1",
        "198.19.0.1",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "255.255.255.255",
        "[::]",
        "[::1]",
        "[::10.0.0.1]",
        "[::ffff:10.0.0.1]",
        "[::ffff:7f00:1]",
        "[::ffff:0:10.0.0.1]",
        "[64:ff9b::10.0.0.1]",
        "[64:ff9b:1::10.0.0.1]",
        "[100::1]",
        "[2001::1]",
        "[2001:db8::1]",
        "[2002:a00:1::1]",
        "[3fff::1]",
        "[fc00::1]",
        "[fe80::1]",
        "[fec0::1]",
        "[ff02::1]",
        "2130706433",
        "0x7f.1",
        "127.1",
        "localhost",
        "a.localhost",
        "metadata.google.internal",
        "user:pw@example.com",
        "example.com:22",
    ];
    let urls = addresses.iter().map(|address| format!("https://{address}/"));
    for url in urls.chain(["http://example.com/", "ftp://example.com/", "/hook", "no url", ""].map(str::to_owned)) {
        let answer = world.ask("POST", "/webhooks", json!({ "workspace": "acme", "url": url }));
        assert_eq!(code(&answer), (400, "invalid_parameter"), "{url}");
        assert_eq!(answer.1["error"]["param"], "url");
    }
    let inside = json!({ "workspace": "acme", "url": "http://127.0.0.1:9000/", "allow_private": true });
    assert_eq!(world.ask("POST", "/webhooks", inside).0, 201);
    let unknown = json!({ "workspace": "acme", "url": "https://example.com/", "events": ["video.started"] });
    assert_eq!(code(&world.ask("POST", "/webhooks", unknown)), (400, "invalid_parameter"));
}

#[test]
fn deliveries_are_listed_and_sent_again_on_demand() {
    let world = World::new();
    let delivery = sample_delivery("whk_1");
    tokio_test::block_on(world.outbox.push(vec![delivery.clone()])).unwrap();
    let (_, list) = world.get("/webhooks/deliveries?status=pending");
    assert_eq!((&list["data"][0]["id"], &list["data"][0]["status"]), (&json!(delivery.id), &json!("pending")));
    let path = format!("/webhooks/deliveries/{}/redeliver", delivery.id);
    let (status, again) = world.ask("POST", &path, json!(null));
    assert_eq!((status, &again["event_id"]), (200, &json!(delivery.event_id)));
    assert_eq!(world.ask("POST", "/webhooks/deliveries/dlv_none/redeliver", json!(null)).0, 404);
    assert_eq!(code(&world.get("/webhooks/deliveries?status=lost")), (400, "invalid_parameter"));
}
