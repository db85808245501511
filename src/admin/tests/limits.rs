//! Limits: put as a set, and their states.

use super::*;

#[test]
fn limits_are_put_as_a_set_beside_those_of_the_file() {
    let world = World::new();
    let body = json!({ "scope": "project:acme/site", "limits": [
        { "measure": "spend", "amount": "12.5", "per": "month", "alert_at": [0.8, 0.5], "model": "gpt-4o", "modality": "text" },
        { "measure": "concurrency", "amount": 3, "mode": "shadow", "on_store_failure": "open" },
    ]});
    let (status, put) = world.ask("PUT", "/admin/v1/limits", body);
    assert_eq!(status, 200);
    let want = json!([
        { "modality": null, "model": null, "measure": "requests", "amount": 5, "per": "minute", "mode": "enforce",
          "alert_at": [], "on_store_failure": null, "source": "config" },
        { "modality": null, "model": null, "measure": "concurrency", "amount": 3, "per": null, "mode": "shadow",
          "alert_at": [], "on_store_failure": "open", "source": "api" },
        { "modality": "text", "model": "gpt-4o", "measure": "spend", "amount": "12.500000000", "per": "month",
          "mode": "enforce", "alert_at": [0.5, 0.8], "on_store_failure": null, "source": "api" },
    ]);
    assert_eq!((&put["data"], &put["limits"]), (&want, &want));
    assert_eq!(world.get("/admin/v1/limits?scope=project%3Aacme/site"), (200, put));
    assert_eq!(world.limits.0.lock().unwrap().len(), 2);
    let page = |more: &str| world.get(&format!("/limits?scope=project:acme/site{more}"));
    let shown = |more: &str| page(more).1["data"].as_array().unwrap().clone();
    let (status, first) = page("&limit=2");
    assert_eq!((status, &first["has_more"], &first["next"]), (200, &json!(true), &json!("2")));
    assert_eq!([shown("&limit=2"), shown("&limit=2&after=2")].concat(), want.as_array().unwrap()[..]);
    assert_eq!(
        (page("&limit=2&after=2").1["next"].clone(), page("&after=99").1["data"].clone()),
        (Value::Null, json!([]))
    );
    for wrong in ["&limit=0", "&limit=1001", "&after=x"] {
        assert_eq!(page(wrong).0, 400, "{wrong}");
    }

    let emptied = world.ask("PUT", "/limits", json!({ "scope": "project:acme/site", "limits": [] }));
    assert_eq!((emptied.0, emptied.1["data"].as_array().unwrap().len()), (200, 1));
    assert!(world.limits.0.lock().unwrap().is_empty());
}

#[test]
fn a_bad_limit_names_its_field_and_leaves_the_old_set() {
    let world = World::new();
    let good = json!({ "measure": "requests", "amount": 7, "per": "day" });
    assert_eq!(world.ask("PUT", "/limits", json!({ "scope": "workspace:w", "limits": [good] })).0, 200);
    for (field, value, param) in [
        ("amount", json!(-1), "limits[0].amount"),
        ("amount", json!(1.5), "limits[0].amount"),
        ("amount", json!("7"), "limits[0].amount"),
        ("amount", Value::Null, "limits[0].amount"),
        ("measure", json!("concurrency"), "limits[0].per"),
        ("measure", json!("spend"), "limits[0].amount"),
        ("measure", json!("hugs"), "limits[0].measure"),
        ("per", Value::Null, "limits[0].per"),
        ("per", json!("week"), "limits[0].per"),
        ("mode", json!("soft"), "limits[0].mode"),
        ("alert_at", json!([0]), "limits[0].alert_at"),
        ("scope", json!("workspace:w"), "limits[0].scope"),
    ] {
        let mut limit = good.clone();
        limit[field] = value;
        let answer = world.ask("PUT", "/limits", json!({ "scope": "workspace:w", "limits": [limit] }));
        assert_eq!((answer.0, &answer.1["error"]["param"]), (400, &json!(param)), "{answer:?}");
    }
    let twice = world.ask("PUT", "/limits", json!({ "scope": "workspace:w", "limits": [good, good] }));
    assert_eq!((twice.0, &twice.1["error"]["param"]), (400, &json!("limits")));
    for scope in ["planet:w", "key:site-prod"] {
        let answer = world.ask("PUT", "/limits", json!({ "scope": scope, "limits": [good] }));
        assert_eq!((answer.0, &answer.1["error"]["param"]), (400, &json!("scope")));
    }
    let kept = world.get("/limits?scope=workspace:w").1;
    assert_eq!((kept["data"].as_array().unwrap().len(), &kept["data"][0]["amount"]), (1, &json!(7)));
    assert_eq!(world.book.of_scope(&"workspace:w".parse().unwrap())[0].amount, 7);
}

#[test]
fn what_another_instance_stored_meanwhile_is_what_comes_into_force() {
    let world = World::new();
    let theirs = Limit::new(limit_key("workspace:w"), 99);
    *world.limits.1.lock().unwrap() = Some(theirs);
    let ours = json!({ "scope": "workspace:w", "limits": [{ "measure": "requests", "amount": 1, "per": "minute" }] });
    let (status, put) = world.ask("PUT", "/limits", ours);
    assert_eq!((status, &put["data"][0]["amount"]), (200, &json!(99)));
}

#[test]
fn limit_states_show_every_counter_in_its_own_unit() {
    let world = World::new();
    let limits = json!([
        { "measure": "spend", "amount": "2", "per": "total" },
        { "measure": "requests", "amount": 9, "per": "second" },
    ]);
    assert_eq!(world.ask("PUT", "/limits", json!({ "scope": "workspace:w", "limits": limits })).0, 200);
    let (_, states) = world.get("/admin/v1/limits/state?scope=workspace:w");
    let common = |measure: &str, per: &str| {
        json!({ "scope": "workspace:w", "modality": null, "model": null, "measure": measure, "per": per,
                "mode": "enforce", "source": "api" })
    };
    let mut rate = common("requests", "second");
    let mut spend = common("spend", "total");
    rate.as_object_mut().unwrap().extend(
        json!({ "amount": 9, "used": 1, "reserved": 2, "remaining": 3, "resets_at": 1_800_000_001u64 })
            .as_object()
            .unwrap()
            .clone(),
    );
    spend.as_object_mut().unwrap().extend(
        json!({ "amount": "2.000000000", "used": "0.000000001", "reserved": "0.000000002",
                "remaining": "0.000000003", "resets_at": null })
        .as_object()
        .unwrap()
        .clone(),
    );
    assert_eq!(states, json!({ "data": [rate, spend] }));
    assert_eq!(world.get("/limits/state").1["data"].as_array().unwrap().len(), 3);
}
