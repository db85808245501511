//! Records, usage, alerts, and what one project sees.

use super::*;

#[test]
fn requests_are_filtered_and_shown_in_full() {
    let world = World::new();
    let (status, list) = world.get(
        "/admin/v1/requests?workspace=w&project=p&team=t&environment=e&key=k&model=m%2Fx&status=200&outcome=completed\
         &id=i&request_id=r&from=1.5&to=2&limit=7&after=cursor",
    );
    let some = |text: &str| Some(text.to_owned());
    let asked = RecordFilter {
        workspace: some("w"),
        project: some("p"),
        team: some("t"),
        environment: some("e"),
        key: some("k"),
        model: some("m/x"),
        status: Some(200),
        outcome: some("completed"),
        id: some("i"),
        request_id: some("r"),
        from: Some(Timestamp::from_nanos(1_500_000_000)),
        to: Some(Timestamp::from_secs(2)),
    };
    assert_eq!(world.ledger.filter(), asked);
    let record = json!({
        "id": "rec_1", "request_id": "req_1", "time": 1_800_000_000.25, "workspace": "acme", "project": "site",
        "team": null, "environment": null, "key_id": "k", "endpoint": "/v1/chat/completions", "modality": "text",
        "model": "gpt-4o", "provider": "openai", "upstream_model": "gpt-4o", "upstream_request_id": null,
        "status": 200, "code": null, "outcome": "completed", "streamed": true, "latency_ms": 12, "first_byte_ms": 3,
        "usage": { "input_tokens": 10, "cached_input_tokens": 4, "cache_write_tokens": 0, "output_tokens": 5,
                   "reasoning_tokens": 1, "images": 0, "video_seconds": 0, "audio_seconds": 0, "characters": 0 },
        "estimated": false, "cost_usd": "0.000000075",
    });
    assert_eq!((status, list), (200, json!({ "data": [record], "has_more": true, "next": "n" })));
}

#[test]
fn usage_has_the_columns_of_its_groups_first() {
    let world = World::new();
    let (status, report) = world.get("/admin/v1/usage?group_by=day,team&from=0&to=1900000000");
    assert_eq!(world.ledger.groups(), [GroupBy::Day, GroupBy::Team]);
    let row = json!({
        "day": "2027-01-15", "team": null, "requests": 2, "errors": 1, "input_tokens": 10, "cached_input_tokens": 4,
        "cache_write_tokens": 0, "output_tokens": 5, "reasoning_tokens": 1, "images": 0, "video_seconds": 0,
        "audio_seconds": 0, "characters": 0, "cost_usd": "0.000000075",
    });
    assert_eq!((status, &report), (200, &json!({ "data": [row] })));
    assert!(report.to_string().starts_with(r#"{"data":[{"day""#));
}

#[test]
fn alerts_are_shown_with_their_threshold_as_a_number() {
    let (status, list) = World::new().get("/admin/v1/alerts?limit=1");
    let alert = json!({
        "id": "alert_1", "time": 1_800_000_000.0, "scope": "workspace:acme", "modality": null, "model": null,
        "measure": "spend", "per": "day", "window_start": 1_799_971_200u64, "threshold": 0.8,
        "amount": "1.000000000", "used": "0.800000001", "mode": "enforce",
    });
    assert_eq!((status, &list["data"][0]), (200, &alert));
}

#[test]
fn a_store_that_is_down_is_a_500_without_its_words() {
    let world = World::new();
    world.ledger.fail();
    for path in ["/requests", "/usage"] {
        let answer = world.get(path);
        assert_eq!(code(&answer), (500, "ledger_unavailable"));
        assert!(!answer.1.to_string().contains("disk"), "{answer:?}");
    }
}

#[test]
fn a_key_sees_its_own_project_and_cannot_ask_for_another() {
    let ledger = Arc::new(Ledger::default());
    let name = |text| Name::new(text).unwrap();
    let home = Home { workspace: name("acme"), project: name("site"), team: Some(name("web")), environment: None };
    let caller = Caller::new("k".into(), None, home, ModelPatterns::all(), Arc::from([]));
    let ask = |method: &str, path: &str, caller: Option<&Caller>| {
        let mut request = Request::builder().method(method).uri(path).body(()).unwrap();
        if let Some(caller) = caller {
            request.extensions_mut().insert(caller.clone());
        }
        read(tokio_test::block_on(UsageService::new(ledger.clone()).call(request)).unwrap())
    };
    assert_eq!(ask("GET", "/v1/requests", None).0, 401);
    for path in ["/v1/requests?team=other&limit=1", "/requests?team=other", "/v1/usage?group_by=model"] {
        assert_eq!(ask("GET", path, Some(&caller)).0, 200, "{path}");
        let filter = ledger.filter();
        assert_eq!((filter.workspace.as_deref(), filter.project.as_deref()), (Some("acme"), Some("site")), "{path}");
    }
    for path in ["/v1/requests?workspace=other", "/v1/requests?project=site", "/v1/usage?project=other"] {
        assert_eq!(ask("GET", path, Some(&caller)).0, 400, "{path}");
    }
    assert_eq!(ask("POST", "/v1/usage", Some(&caller)).0, 405);
    assert!(UsageService::serves("/v1/usage") && UsageService::serves("/requests"));
    assert!(!UsageService::serves("/v1/models"));
}
