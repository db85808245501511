//! The life of a job, on all four vendors and in every way that it can end.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use kancy::wire::standard_webhooks::sign;
use serde_json::{Value, json};

use crate::vendors::{Answer, FILM};
use crate::world::{Reply, SECRET, example, world, world_with};

#[tokio::test(start_paused = true)]
async fn the_products_example_runs_on_every_vendor_from_create_to_file_and_webhook() {
    for (model, cost) in [
        ("minimax-video", "0.280000000"),
        ("kling-video", "0.600000000"),
        ("bytedance-video", "0.313200000"),
        ("veo", "2.400000000"),
    ] {
        let world = world().await;
        let created = world.create(model).await;
        let id = created.id();
        assert_eq!(created.headers["location"], format!("/v1/videos/generations/{id}"), "{model}");
        assert_eq!((&created.json()["status"], &created.json()["prompt"]), (&json!("queued"), &Value::Null));
        world.pass(Duration::from_secs(30)).await;
        assert_eq!(world.job(&id).await["status"], "in_progress", "{model}");
        world.finish().await;

        let job = world.job(&id).await;
        assert_eq!((&job["status"], &job["progress"]), (&json!("completed"), &json!(100)), "{model}: {job}");
        assert_eq!(job["usage"]["cost"]["amount"], cost, "{model}");
        assert_eq!(job["usage"]["video_seconds"], 6, "{model}");
        let url = job["data"][0]["content_url"].as_str().unwrap().to_owned();
        let film = world.get(&url).await;
        assert_eq!((film.status, &film.bytes[..]), (200, FILM), "{model}");
        assert_eq!(film.headers["content-type"], "video/mp4");
        let part = world.ask(Request::get(&url).header("range", "bytes=4-7")).await;
        assert_eq!((part.status, &part.bytes[..]), (206, &b"ftyp"[..]), "{model}");

        assert_eq!(world.webhooks.send_due().await.unwrap(), 1, "{model}");
        let vendors = world.vendors.lock().unwrap();
        let [told] = vendors.received()[..] else { panic!("one webhook was expected") };
        let (event, sent_at) = (told.header("webhook-id"), told.header("webhook-timestamp").parse().unwrap());
        let text = std::str::from_utf8(&told.text).unwrap();
        assert_eq!(told.header("webhook-signature"), sign(&[SECRET.into()], event, sent_at, text));
        assert_eq!((&told.body["type"], &told.body["id"]), (&json!("video.generation.completed"), &json!(event)));
        assert_eq!(told.body["data"], job);
        assert!(told.public_only);
        let shown = format!("{job}{:?}{:?}", film.headers, told.body);
        for hidden in ["cdn.test", "secret", "gemini.test", "sunrise"] {
            assert!(!shown.contains(hidden), "{model} shows {hidden}");
        }
        // The key is for the vendor alone, not for where its redirect leads.
        for fetched in vendors.asked.iter().filter(|asked| asked.head.uri.host() == Some("cdn.test")) {
            assert_eq!((fetched.header("x-goog-api-key"), fetched.header("authorization")), ("", ""));
        }
        assert_eq!(vendors.made().len(), 1, "{model}");
    }
}

#[tokio::test(start_paused = true)]
async fn below_a_routers_prefix_the_place_of_a_job_is_told_by_where_it_was_asked_for() {
    let world = world().await;
    for (path, last) in [("/videos/generations", "generations"), ("/videos", "videos")] {
        let created = world.post(path, example("veo")).await;
        assert_eq!(created.headers["location"], format!("{last}/{}", created.id()));
    }
}

#[tokio::test(start_paused = true)]
async fn each_vendor_is_asked_in_its_own_words() {
    let world = world().await;
    for model in ["minimax-video", "kling-video", "bytedance-video", "veo"] {
        let mut asked = example(model);
        asked["prompt"] = json!("A street --dur 12 --rs 1080p");
        assert_eq!(world.post("/v1/videos/generations", asked).await.status, 202, "{model}");
    }
    let vendors = world.vendors.lock().unwrap();
    let made = vendors.made();
    let [minimax, kling, ark, veo] = made[..] else { panic!("four jobs were expected") };
    assert_eq!(minimax.header("authorization"), "Bearer minimax-secret");
    assert_eq!((&minimax.body["duration"], &minimax.body["resolution"]), (&json!(6), &json!("768P")));
    assert!(minimax.body.get("aspect_ratio").is_none());
    let callback = minimax.body["callback_url"].as_str().unwrap();
    assert!(callback.starts_with("https://ai.example.com/internal/callbacks/minimax/vidgen_"));
    assert!(kling.header("authorization").starts_with("Bearer eyJ"), "a token, not the key");
    assert_eq!((&kling.body["duration"], &kling.body["mode"]), (&json!("6"), &json!("std")));
    assert_eq!((&kling.body["sound"], &kling.body["aspect_ratio"]), (&json!("off"), &json!("16:9")));
    assert!(kling.body["external_task_id"].as_str().unwrap().starts_with("vidgen_"));
    assert_eq!(ark.body["content"][0]["text"], "A street", "commands in the prompt are taken out");
    assert_eq!((&ark.body["ratio"], &ark.body["generate_audio"]), (&json!("16:9"), &json!(true)));
    assert_eq!(veo.header("x-goog-api-key"), "gemini-secret");
    assert_eq!(veo.body["parameters"]["durationSeconds"], 6);
}

#[tokio::test(start_paused = true)]
async fn what_a_model_has_not_is_refused_with_what_it_has_and_counts_nowhere() {
    let world = world().await;
    for (model, field, value, has) in [
        ("minimax-video", "duration", json!(7), "6 or 10"),
        ("minimax-video", "aspect_ratio", json!("9:16"), "16:9"),
        ("kling-video", "duration", json!(16), "14 or 15"),
        ("bytedance-video", "resolution", json!("768p"), "480p, 720p or 1080p"),
        ("veo", "duration", json!(5), "4, 6 or 8"),
        ("veo", "aspect_ratio", json!("1:1"), "16:9 or 9:16"),
    ] {
        let mut asked = example(model);
        asked[field] = value;
        let refused = world.post("/v1/videos/generations", asked).await;
        let error = &refused.json()["error"];
        assert_eq!((refused.status, &error["param"]), (400, &json!(field)), "{model}");
        assert!(error["message"].as_str().unwrap().contains(has), "{error}");
    }
    assert!(world.vendors.lock().unwrap().asked.is_empty());
    assert_eq!(world.counted().await, (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_foreign_job_is_as_unknown_as_one_that_never_was() {
    let world = world().await;
    let id = world.create("veo").await.id();
    for (method, path) in [
        ("GET", format!("/v1/videos/generations/{id}")),
        ("GET", format!("/v1/videos/{id}")),
        ("GET", format!("/v1/videos/generations/{id}/content")),
        ("POST", format!("/v1/videos/generations/{id}/cancel")),
        ("DELETE", format!("/v1/videos/generations/{id}")),
    ] {
        let request = || Request::builder().method(method);
        let foreign = world.as_stranger(request().uri(&path)).await;
        let unknown = world.ask(request().uri(path.replace(&id, "vidgen_none"))).await;
        assert_eq!((foreign.status, foreign.code().as_str()), (404, "not_found"), "{method} {path}");
        let told = |reply: &Reply| {
            let mut body = reply.json();
            let id = body["error"]["request_id"].take();
            let mut headers = reply.headers.clone();
            assert_eq!(headers.remove("x-request-id").unwrap(), id.as_str().unwrap());
            (body.to_string(), headers)
        };
        assert_eq!(told(&foreign), told(&unknown), "{method} {path}");
    }
    assert_eq!(world.as_stranger(Request::get("/v1/videos/generations")).await.json()["data"], json!([]));
    assert_eq!(world.job(&id).await["status"], "queued");
}

#[tokio::test(start_paused = true)]
async fn the_sdks_shape_shows_the_same_jobs() {
    let world = world().await;
    let asked = json!({ "model": "veo", "prompt": "A street", "seconds": "8", "size": "1280x720" });
    let created = world.post("/v1/videos", asked).await;
    assert_eq!((created.status, &created.json()["object"]), (202, &json!("video")));
    assert_eq!((&created.json()["seconds"], &created.json()["size"]), (&json!("8"), &json!("1280x720")));
    world.finish().await;
    let id = created.id();
    assert_eq!(world.get(&format!("/v1/videos/{id}")).await.json()["status"], "completed");
    assert_eq!(world.job(&id).await["resolution"], "720p");
    let list = world.get("/v1/videos?limit=5&order=asc").await.json();
    assert_eq!((&list["data"][0]["id"], &list["has_more"]), (&json!(id), &json!(false)));
    let film = world.get(&format!("/v1/videos/{id}/content")).await;
    assert_eq!(&film.bytes[..], FILM);
    let deleted = world.ask(Request::delete(format!("/v1/videos/{id}"))).await.json();
    assert_eq!(deleted, json!({ "id": id, "object": "video.deleted", "deleted": true }));
    assert_eq!(world.get(&format!("/v1/videos/{id}")).await.status, 404);
}

#[tokio::test(start_paused = true)]
async fn a_form_with_a_picture_is_read() {
    let world = world().await;
    let part = |name: &str, rest: &str, text: &str| {
        format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"{rest}\r\n\r\n{text}\r\n")
    };
    let form = [
        part("model", "", "veo"),
        part("prompt", "", "A street"),
        part("seconds", "", "4"),
        part("input_reference", "; filename=\"a.png\"\r\nContent-Type: image/png", "pixels"),
        "--b--\r\n".to_owned(),
    ]
    .concat();
    let request = Request::post("/v1/videos").header("content-type", "multipart/form-data; boundary=b");
    let created = world.ask_with(request, Bytes::from(form)).await;
    assert_eq!(created.status, 202, "{:?}", created.bytes);
    let vendors = world.vendors.lock().unwrap();
    let image = &vendors.made()[0].body["instances"][0]["image"];
    assert_eq!(image, &json!({ "bytesBase64Encoded": "cGl4ZWxz", "mimeType": "image/png" }));
}

#[tokio::test(start_paused = true)]
async fn content_is_fetched_from_allowed_hosts_alone() {
    let world = world_with(|text| text.replace("\"cdn.test\"", "\"other.test\"")).await;
    let id = world.create("kling-video").await.id();
    let early = world.get(&format!("/v1/videos/generations/{id}/content")).await;
    assert_eq!((early.status, early.code().as_str()), (400, "video_not_ready"));
    world.finish().await;
    let refused = world.get(&format!("/v1/videos/generations/{id}/content")).await;
    assert_eq!((refused.status, refused.code().as_str()), (500, "provider_error"));
    assert!(!world.vendors.lock().unwrap().asked.iter().any(|asked| asked.head.uri.host() == Some("cdn.test")));
}

#[tokio::test(start_paused = true)]
async fn a_callback_is_a_nudge_and_nothing_of_it_is_believed() {
    let world = world().await;
    let id = world.create("minimax-video").await.id();
    let callback = world.vendors.lock().unwrap().made()[0].body["callback_url"].as_str().unwrap().to_owned();
    let path = callback.strip_prefix("https://ai.example.com").unwrap();
    let challenge = world.anonymous(path, json!({ "challenge": "c-1" })).await;
    assert_eq!((challenge.status, challenge.json()), (200, json!({ "challenge": "c-1" })));
    assert_eq!(world.anonymous(&path[..path.len() - 1], json!({ "challenge": "c-1" })).await.status, 404);
    assert_eq!(world.anonymous(&path.replace("/minimax/", "/kling/"), json!({})).await.status, 404);
    assert_eq!(world.anonymous(path, json!({ "status": "success", "file_id": "9" })).await.status, 200);
    assert_eq!(world.jobs.follow_due().await.unwrap(), 1, "it is due at once");
    assert_eq!(world.job(&id).await["status"], "in_progress");
}

#[tokio::test(start_paused = true)]
async fn an_unknown_state_is_kept_as_it_was_until_the_deadline() {
    let world = world().await;
    let id = world.create("bytedance-video").await.id();
    world.vendors.lock().unwrap().poll = Some((200, json!({ "id": "cgt-1", "status": "daydreaming" })));
    world.pass(Duration::from_secs(60)).await;
    assert_eq!(world.job(&id).await["status"], "queued");
    world.pass(Duration::from_secs(1_800)).await;
    assert_eq!(world.job(&id).await["status"], "expired");
}

#[tokio::test(start_paused = true)]
async fn a_vendor_that_cannot_be_polled_is_asked_again_and_the_job_lives_on() {
    let world = world().await;
    let id = world.create("bytedance-video").await.id();
    world.vendors.lock().unwrap().poll = Some((502, json!("<html>bad gateway</html>")));
    world.pass(Duration::from_secs(60)).await;
    world.pass(Duration::from_secs(60)).await;
    assert_eq!(world.job(&id).await["status"], "queued");
    world.vendors.lock().unwrap().poll = None;
    world.finish().await;
    assert_eq!(world.job(&id).await["status"], "completed");
}

#[tokio::test(start_paused = true)]
async fn vendors_refusals_of_a_create_are_told_as_their_table_says() {
    for (model, status, body, want) in [
        (
            "minimax-video",
            200,
            json!({"task_id": "", "base_resp": {"status_code": 1002, "status_msg": "rate limit"}}),
            (429, "provider_rate_limited"),
        ),
        (
            "minimax-video",
            200,
            json!({"base_resp": {"status_code": 1026, "status_msg": "sensitive"}}),
            (400, "content_policy_violation"),
        ),
        (
            "minimax-video",
            200,
            json!({"base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}}),
            (500, "provider_quota_exhausted"),
        ),
        ("kling-video", 429, json!({"code": 1101, "message": "arrears"}), (500, "provider_quota_exhausted")),
        (
            "kling-video",
            429,
            json!({"code": 1303, "message": "parallel task over resource pack limit"}),
            (429, "provider_rate_limited"),
        ),
        ("kling-video", 401, json!({"code": 1002, "message": "invalid"}), (500, "provider_auth_error")),
        (
            "bytedance-video",
            400,
            json!({"error": {"code": "InputTextSensitiveContentDetected", "message": "m"}}),
            (400, "content_policy_violation"),
        ),
        (
            "bytedance-video",
            429,
            json!({"error": {"code": "ServerOverloaded", "message": "m"}}),
            (500, "provider_overloaded"),
        ),
        (
            "bytedance-video",
            404,
            json!({"error": {"code": "InvalidEndpointOrModel.NotFound", "message": "m"}}),
            (400, "model_not_found"),
        ),
        (
            "veo",
            429,
            json!({"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "m"}}),
            (429, "provider_rate_limited"),
        ),
    ] {
        let world = world().await;
        world.vendors.lock().unwrap().creates.push(Answer::json(status, body.clone()));
        let refused = world.post("/v1/videos/generations", example(model)).await;
        assert_eq!((refused.status, refused.code().as_str()), want, "{model} {body}");
        assert_eq!(refused.json()["error"]["origin"], "provider");
        let records = world.records().await;
        assert_eq!((records.len(), records[0].status, records[0].usage.video_seconds), (1, Some(want.0), 0));
        assert_eq!(world.counted().await, (0, 0, 0), "{model}");
        assert_eq!(world.get("/v1/videos/generations").await.json()["data"], json!([]));
    }
}

#[tokio::test(start_paused = true)]
async fn polls_keep_to_the_operators_bounds_however_they_are_spread() {
    let world = world_with(|text| format!("{text}\n[jobs]\npoll_seconds = 3\nmax_poll_seconds = 4\n")).await;
    for _ in 0..10 {
        let id = world.create("veo").await.id();
        let job = world.stores.jobs.get(&id).await.unwrap().unwrap();
        let wait = job.due_at.unwrap().since(job.created_at);
        assert!((Duration::from_secs(3)..=Duration::from_secs(4)).contains(&wait), "{wait:?}");
    }
}
