//! Keys: made, rotated, refused.

use super::*;

#[test]
fn a_new_key_is_shown_once_and_opens_what_was_asked() {
    let world = World::new();
    let body = json!({
        "workspace": "acme", "project": "site", "team": "web", "environment": "production", "name": "n",
        "models": ["gpt-4o", "claude-*"], "modalities": ["text"], "expires_at": 1_900_000_000u64,
    });
    let (status, made) = world.ask("POST", "/admin/v1/keys", body);
    let presented = PresentedKey::parse(made["key"].as_str().unwrap()).unwrap();
    assert_eq!((status, presented.id.as_str()), (201, made["id"].as_str().unwrap()));
    assert!(text(&made["key"]).starts_with("kancy_production_"));

    let shown = json!({
        "id": made["id"], "name": "n", "workspace": "acme", "project": "site", "team": "web",
        "environment": "production", "models": ["gpt-4o", "claude-*"], "modalities": ["text"],
        "created_at": 1_800_000_000u64, "expires_at": 1_900_000_000u64, "last_used_at": null, "revoked_at": null,
    });
    assert_eq!(world.get(&format!("/admin/v1/keys/{}", presented.id)), (200, shown.clone()));
    let list = json!({ "data": [shown], "has_more": false, "next": null });
    assert_eq!(world.get("/admin/v1/keys?workspace=acme&project=site"), (200, list));
    let audit = world.get("/admin/v1/audit").1;
    assert_eq!((&audit["data"][0]["action"], &audit["data"][0]["target"]), (&json!("key.create"), &made["id"]));
    assert!(!audit.to_string().contains(made["key"].as_str().unwrap()));
}

#[test]
fn a_key_that_cannot_be_made_names_the_field() {
    let world = World::new();
    let good = json!({ "workspace": "acme", "project": "site" });
    for (field, value, want) in [
        ("workspace", Value::Null, "missing_parameter"),
        ("workspace", json!("a b"), "invalid_parameter"),
        ("project", json!(5), "invalid_parameter"),
        ("models", json!(["a*b"]), "invalid_parameter"),
        ("modalities", json!(["smell"]), "invalid_parameter"),
        ("expires_at", json!("tomorrow"), "invalid_parameter"),
        ("expires_at", json!(-1), "invalid_parameter"),
        ("colour", json!("red"), "invalid_parameter"),
    ] {
        let mut body = good.clone();
        body[field] = value;
        let answer = world.ask("POST", "/admin/v1/keys", body);
        assert_eq!((code(&answer), &answer.1["error"]["param"]), ((400, want), &json!(field)), "{answer:?}");
    }
    let broken = world.send("POST", "/keys", Some("Bearer token"), Bytes::from_static(b"{"));
    assert_eq!(code(&broken), (400, "invalid_json"));
    let huge = world.send("POST", "/keys", Some("Bearer token"), vec![b' '; (1 << 20) + 1].into());
    assert_eq!(code(&huge), (400, "request_too_large"));
    assert_eq!(world.get("/keys").1["data"], json!([]));
}

#[test]
fn a_rotated_key_keeps_its_id_and_its_old_secret_for_the_grace() {
    let world = World::new();
    let (id, old) = world.new_key();
    let (status, rotated) = world.ask("POST", &format!("/keys/{id}/rotate"), json!({ "grace_seconds": 60 }));
    assert_eq!((status, text(&rotated["id"])), (200, id.clone()));
    let (old, new) =
        (PresentedKey::parse(&old).unwrap(), PresentedKey::parse(rotated["key"].as_str().unwrap()).unwrap());
    let record = tokio_test::block_on(world.keys.get(&new.id)).unwrap().unwrap();
    assert!(record.check(&new.digest, NOW).is_ok());
    assert!(record.check(&old.digest, NOW.plus(Duration::from_secs(59))).is_ok());
    assert!(record.check(&old.digest, NOW.plus(Duration::from_secs(60))).is_err());

    let without_body = world.ask("POST", &format!("/keys/{id}/rotate"), Value::Null);
    assert_eq!(without_body.0, 200);
}

#[test]
fn what_cannot_be_rotated_says_why() {
    let world = World::new();
    let (id, _) = world.new_key();
    for grace in [json!(2_592_001), json!(-1), json!("1"), json!(1.5)] {
        let answer = world.ask("POST", &format!("/keys/{id}/rotate"), json!({ "grace_seconds": grace }));
        assert_eq!((answer.0, &answer.1["error"]["param"]), (400, &json!("grace_seconds")));
    }
    assert_eq!(world.ask("POST", "/keys/0000000000000000000000/rotate", json!({})).0, 404);
    assert_eq!(world.ask("DELETE", &format!("/keys/{id}"), Value::Null).1["revoked_at"], json!(1_800_000_000u64));
    let revoked = world.ask("POST", &format!("/keys/{id}/rotate"), json!({}));
    assert_eq!(code(&revoked), (400, "invalid_parameter"));

    let ended = json!({ "workspace": "acme", "project": "site", "expires_at": NOW.as_secs() });
    let (_, ended) = world.ask("POST", "/keys", ended);
    assert_eq!(world.ask("POST", &format!("/keys/{}/rotate", text(&ended["id"])), json!({})).0, 400);

    let (_, record) = NewKey::new("acme", "site").unwrap().mint(NOW);
    let of_file = KeyRecord { source: KeySource::Config, ..record };
    let of_file = tokio_test::block_on(world.keys.insert(of_file)).unwrap();
    assert_eq!(world.ask("POST", &format!("/keys/{}/rotate", of_file.id), json!({})).0, 400);
}

#[test]
fn keys_are_listed_a_page_at_a_time_and_each_once() {
    let world = World::new();
    let mut made = [world.new_key().0, world.new_key().0, world.new_key().0];
    let (_, first) = world.get("/keys?limit=2");
    assert_eq!((first["data"].as_array().unwrap().len(), &first["has_more"]), (2, &json!(true)));
    let (_, rest) = world.get(&format!("/keys?limit=2&after={}", text(&first["next"])));
    assert_eq!((&rest["has_more"], &rest["next"]), (&json!(false), &Value::Null));
    let pages = [&first["data"], &rest["data"]].into_iter().flat_map(|data| data.as_array().unwrap());
    let mut listed: Vec<_> = pages.map(|key| text(&key["id"])).collect();
    listed.sort();
    made.sort();
    assert_eq!(listed, made);
}
