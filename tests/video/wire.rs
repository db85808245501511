//! What is particular to one vendor, or to what becomes of its videos.

use std::time::Duration;

use http::Request;
use serde_json::json;

use crate::vendors::{Answer, FILM};
use crate::world::{World, example, world, world_with};

fn paths(world: &World, part: &str) -> Vec<String> {
    let vendors = world.vendors.lock().unwrap();
    let asked = vendors.asked.iter().filter(|asked| asked.head.method == "GET");
    asked.map(|asked| asked.head.uri.to_string()).filter(|uri| uri.contains(part)).collect()
}

#[tokio::test(start_paused = true)]
async fn many_jobs_of_one_vendor_are_asked_for_at_once() {
    let world = world().await;
    let mut ids = Vec::new();
    for model in ["bytedance-video", "bytedance-video", "kling-video", "bytedance-video"] {
        ids.push(world.create(model).await.id());
    }
    world.pass(Duration::from_secs(30)).await;
    let asked = paths(&world, "/contents/generations/tasks");
    let [list] = &asked[..] else { panic!("one request was expected: {asked:?}") };
    for id in ["cgt-1", "cgt-2", "cgt-3"] {
        assert!(list.contains(&format!("filter.task_ids={id}")), "{list}");
    }
    assert!(list.contains("page_num=1&page_size=3"), "{list}");
    for id in &ids {
        assert_eq!(world.job(id).await["status"], "in_progress");
    }
    world.finish().await;
    for id in &ids {
        assert_eq!(world.job(id).await["status"], "completed");
    }
    assert!(paths(&world, "/tasks/").is_empty(), "none is asked for alone");
    assert_eq!(world.counted().await, (0, 24, 0));
}

#[tokio::test(start_paused = true)]
async fn what_a_list_does_not_tell_is_asked_for_alone_and_a_failing_one_ends_no_job() {
    let world = world().await;
    world.vendors.lock().unwrap().no_list = true;
    let ids = [world.create("bytedance-video").await.id(), world.create("bytedance-video").await.id()];
    world.pass(Duration::from_secs(30)).await;
    assert_eq!((paths(&world, "filter.task_ids").len(), paths(&world, "/tasks/cgt-").len()), (1, 2));
    world.vendors.lock().unwrap().no_list = false;
    world.vendors.lock().unwrap().poll = Some((503, json!({ "error": { "code": "ServiceUnavailable" } })));
    world.pass(Duration::from_secs(60)).await;
    assert_eq!((paths(&world, "filter.task_ids").len(), paths(&world, "/tasks/cgt-").len()), (2, 2));
    world.vendors.lock().unwrap().poll = None;
    world.finish().await;
    for id in &ids {
        assert_eq!(world.job(id).await["status"], "completed");
    }
}

#[tokio::test(start_paused = true)]
async fn googles_newer_models_are_spoken_to_by_interactions() {
    let world = world_with(|text| {
        format!("{text}\n[models.\"omni\"]\nprovider = \"gemini\"\nupstream = \"gemini-omni-1.1-flash\"\nmodality = \"video\"\nprice = {{ per_video_second = \"0.10\" }}\n")
    })
    .await;
    let id = world.create("omni").await.id();
    let asked = world.vendors.lock().unwrap().made()[0].body.clone();
    assert_eq!(
        (&asked["model"], &asked["input"]),
        (&json!("gemini-omni-1.1-flash"), &json!(example("omni")["prompt"]))
    );
    let format = &asked["response_format"];
    assert_eq!(
        (&format["duration"], &format["delivery"], &format["aspect_ratio"]),
        (&json!("6s"), &json!("uri"), &json!("16:9"))
    );
    assert_eq!((&asked["background"], &asked["store"]), (&json!(true), &json!(true)));
    world.finish().await;
    let job = world.job(&id).await;
    assert_eq!((&job["status"], &job["usage"]["cost"]["amount"]), (&json!("completed"), &json!("0.600000000")));
    assert_eq!(paths(&world, "/v1beta/interactions/in1").len(), 3);
    let film = world.get(&format!("/v1/videos/generations/{id}/content")).await;
    assert_eq!((film.status, &film.bytes[..]), (200, FILM));
}

#[tokio::test(start_paused = true)]
async fn pictures_go_as_each_vendor_takes_them() {
    let world = world().await;
    for (model, more) in [
        ("kling-video", json!({ "last_frame": "https://pictures.test/b.png", "resolution": "1080p" })),
        ("bytedance-video", json!({ "aspect_ratio": "9:16", "user": "alice" })),
        ("veo", json!({ "duration": 8, "aspect_ratio": "9:16", "last_frame": "data:image/png;base64,iVBORw0KGgo=" })),
    ] {
        let mut asked = json!({ "model": model, "prompt": "A street", "duration": 6, "image": "data:image/png;base64,iVBORw0KGgo=" });
        asked.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let made = world.post("/v1/videos/generations", asked).await;
        assert_eq!(made.status, 202, "{:?}", made.bytes);
    }
    let vendors = world.vendors.lock().unwrap();
    let made = vendors.made();
    let [kling, ark, veo] = made[..] else { panic!("three jobs were expected") };
    assert_eq!(kling.head.uri.path(), "/v1/videos/image2video");
    assert_eq!(
        (&kling.body["image"], &kling.body["image_tail"]),
        (&json!("iVBORw0KGgo="), &json!("https://pictures.test/b.png"))
    );
    assert_eq!((&kling.body["mode"], kling.body.get("aspect_ratio")), (&json!("pro"), None));
    assert_eq!((&ark.body["ratio"], &ark.body["content"][1]["role"]), (&json!("9:16"), &json!("first_frame")));
    let named = ark.body["safety_identifier"].as_str().unwrap();
    assert!(named.len() <= 64 && !named.contains("alice"));
    assert_eq!(veo.body["instances"][0]["lastFrame"]["mimeType"], "image/png");
    assert_eq!(veo.body["parameters"]["aspectRatio"], "9:16");
}

#[tokio::test(start_paused = true)]
async fn what_is_dropped_or_moved_is_told_and_never_sent() {
    let world = world_with(|text| {
        text.replace(
            "[models.\"veo\"]\nprovider = \"gemini\"",
            "[models.\"veo\"]\nprovider = \"gemini\"\noptions = \"nearest\"",
        )
    })
    .await;
    let mut asked = example("veo");
    asked.as_object_mut().unwrap().extend(
        json!({ "duration": 7, "aspect_ratio": "21:9", "resolution": "480p", "seed": 5, "fps": 30, "audio": false, "camera": 1 })
            .as_object()
            .unwrap()
            .clone(),
    );
    let made = world.post("/v1/videos/generations", asked).await.json();
    let warnings = made["warnings"].to_string();
    for told in [
        "`duration` 7 became 8",
        "`aspect_ratio` 21:9 became 16:9",
        "`resolution` 480p became 720p",
        "`seed`",
        "`fps`",
        "`audio`",
        "`camera`",
    ] {
        assert!(warnings.contains(told), "{told}: {warnings}");
    }
    assert_eq!(world.counted().await, (1, 0, 8), "what it becomes is held");
    let sent = world.vendors.lock().unwrap().made()[0].body.clone();
    let parameters = &sent["parameters"];
    assert_eq!((&parameters["durationSeconds"], &parameters["resolution"]), (&json!(8), &json!("720p")));
    assert!(parameters.get("seed").is_none() && !sent.to_string().contains("fps"));
    let mut asked = example("bytedance-video");
    asked["prompt"] = json!("A street\n--dur 12");
    let made = world.post("/v1/videos/generations", asked).await.json();
    assert!(made["warnings"][0].as_str().unwrap().contains("taken out of the prompt"), "{made}");
}

#[tokio::test(start_paused = true)]
async fn more_of_what_a_model_has_not_is_refused_with_what_it_has() {
    let world = world().await;
    let picture = "data:image/png;base64,iVBORw0KGgo=";
    for (model, more, param, told) in [
        ("veo", json!({ "resolution": "1080p" }), "duration", "use 8."),
        ("veo", json!({ "image": picture, "last_frame": picture }), "duration", "use 8."),
        ("veo", json!({ "resolution": "8k" }), "resolution", "720p, 1080p or 4k"),
        ("veo", json!({ "image": "https://pictures.test/a.png" }), "image", "data: URL"),
        ("veo", json!({ "n": 2 }), "n", "one video"),
        ("kling-video", json!({ "image": "file:///etc/passwd" }), "image", "must be a URL"),
        ("kling-video", json!({ "image": "" }), "image", "must be a URL"),
        (
            "kling-video",
            json!({ "image": picture, "last_frame": picture, "resolution": "720p" }),
            "resolution",
            "use 1080p.",
        ),
        ("kling-video", json!({ "reference_images": [picture] }), "reference_images", "no reference images"),
        ("kling-video", json!({ "image": "data:image/png,raw" }), "image", "base64"),
        ("minimax-video", json!({ "duration": 10, "resolution": "1080p" }), "duration", "use 6."),
        ("minimax-video", json!({ "last_frame": picture, "image": picture }), "last_frame", "no `last_frame`"),
        ("bytedance-video", json!({ "prompt": "--dur 12" }), "prompt", "commands alone"),
        ("bytedance-video", json!({ "size": "wide" }), "size", "width x height"),
    ] {
        let mut asked = example(model);
        asked.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let refused = world.post("/v1/videos/generations", asked).await;
        let error = &refused.json()["error"];
        assert_eq!((refused.status, &error["param"]), (400, &json!(param)), "{model} {more} {error}");
        assert!(error["message"].as_str().unwrap().contains(told), "{error}");
    }
    assert!(world.vendors.lock().unwrap().asked.is_empty());
    assert_eq!(world.counted().await, (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_key_follows_its_vendors_own_redirect_and_leaves_for_nobody_else() {
    let world = world().await;
    let id = world.create("veo").await.id();
    world.finish().await;
    let film = world.get(&format!("/v1/videos/{id}/content")).await;
    assert_eq!((film.status, &film.bytes[..]), (200, FILM));
    let vendors = world.vendors.lock().unwrap();
    let keys: Vec<_> = vendors
        .asked
        .iter()
        .filter(|asked| asked.head.uri.path().contains("download") || asked.head.uri.host() == Some("cdn.test"))
        .map(|asked| (asked.head.uri.path().to_owned(), asked.header("x-goog-api-key").to_owned()))
        .collect();
    let key = "gemini-secret".to_owned();
    assert_eq!(
        keys,
        [
            ("/v1beta/files/f1:download".to_owned(), key.clone()),
            ("/download/v1beta/files/f1:download".to_owned(), key),
            ("/film.mp4".to_owned(), String::new()),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_link_that_expires_is_asked_for_anew_each_time() {
    let world = world().await;
    let id = world.create("minimax-video").await.id();
    world.finish().await;
    for _ in 0..2 {
        assert_eq!(world.get(&format!("/v1/videos/generations/{id}/content")).await.status, 200);
    }
    assert_eq!(paths(&world, "/v1/files/retrieve?file_id=1768").len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_content_host_that_gives_no_film_is_not_passed_off_as_one() {
    let world = world().await;
    let id = world.create("kling-video").await.id();
    world.finish().await;
    let page = |status: u16, kind: &str| Answer {
        headers: vec![("content-type", kind.to_owned()), ("content-range", "bytes */9".to_owned())],
        ..Answer::json(status, json!("InternalHost 10.0.0.7"))
    };
    let to = |url: &str| Answer { headers: vec![("location", url.to_owned())], ..Answer::json(302, json!({})) };
    for (film, status, code) in [
        (page(200, "text/html"), 500, "provider_error"),
        (page(200, "application/json"), 500, "provider_error"),
        (page(403, "application/xml"), 400, "video_expired"),
        (page(404, "text/html"), 400, "video_expired"),
        (page(500, "text/html"), 500, "provider_error"),
        (page(416, "application/xml"), 416, ""),
        (to("https://127.0.0.1/film.mp4"), 500, "provider_error"),
        (to("https://169.254.169.254/latest"), 500, "provider_error"),
        (to("https://elsewhere.test/film.mp4"), 500, "provider_error"),
        (to("http://a.klingai.com/film.mp4"), 500, "provider_error"),
        (to("https://user:pw@a.klingai.com/film.mp4"), 500, "provider_error"),
        (to("/film.mp4"), 500, "provider_error"),
    ] {
        world.vendors.lock().unwrap().film = Some(film);
        let answer =
            world.ask(Request::get(format!("/v1/videos/generations/{id}/content")).header("range", "bytes=90-")).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{:?}", answer.bytes);
        assert!(!String::from_utf8_lossy(&answer.bytes).contains("10.0.0.7"));
        assert!(status != 416 || answer.bytes.is_empty() && answer.headers["content-range"] == "bytes */9");
    }
    let vendors = world.vendors.lock().unwrap();
    assert!(vendors.asked.iter().all(|asked| asked.head.uri.host().is_some_and(|host| host.ends_with(".test"))));
}

#[tokio::test(start_paused = true)]
async fn a_job_that_the_vendor_has_finished_is_paid_for_though_its_caller_cancels() {
    let world = world().await;
    world.vendors.lock().unwrap().running = Some(0);
    let id = world.create("bytedance-video").await.id();
    let refused = world.ask(Request::post(format!("/v1/videos/generations/{id}/cancel"))).await;
    assert_eq!((refused.status, refused.code().as_str()), (400, "video_not_cancellable"));
    let job = world.job(&id).await;
    assert_eq!((&job["status"], &job["usage"]["cost"]["amount"]), (&json!("completed"), &json!("0.313200000")));
    let deleted = |asked: &&crate::vendors::Asked| asked.head.method == "DELETE";
    assert_eq!(world.vendors.lock().unwrap().asked.iter().filter(deleted).count(), 0, "the film is not deleted");
    assert_eq!(world.counted().await, (0, 6, 0));
}

/// A cap on the workspace's spend in place of its other limits, and tiers on Kling's price.
async fn capped(cap: &str) -> World {
    let tiers = "[models.\"kling-video\"]\nprovider = \"kling\"\n[[models.\"kling-video\".price_tier]]\nwhen = { resolution = \"1080p\" }\nprice = { per_video_second = \"0.20\" }\n[[models.\"kling-video\".price_tier]]\nwhen = { audio = true }\nprice = { per_video_second = \"0.15\" }";
    world_with(|text| {
        text.replace("measure = \"video_seconds\"\namount = 100", &format!("measure = \"spend\"\namount = \"{cap}\""))
            .replace("[models.\"kling-video\"]\nprovider = \"kling\"", tiers)
            .replace("price = { per_video_second = \"0.10\" }\n", "")
            .replace(tiers, &format!("{tiers}\n[models.\"kling-video\".price]\nper_video_second = \"0.10\""))
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn a_hold_covers_whatever_the_video_becomes() {
    let picture = "data:image/png;base64,iVBORw0KGgo=";
    for (model, more, cost) in [
        ("kling-video", json!({}), "1.20"),
        ("kling-video", json!({ "resolution": "720p" }), "0.60"),
        ("kling-video", json!({ "resolution": "1080P" }), "1.20"),
        ("kling-video", json!({ "size": "1920x1080" }), "1.20"),
        ("kling-video", json!({ "image": picture, "last_frame": picture }), "1.20"),
        ("bytedance-video", json!({}), "0.3272"),
        ("bytedance-video", json!({ "max_tokens": 1 }), "0.3272"),
        ("bytedance-video", json!({ "resolution": "1080p" }), "0.7100"),
        ("veo", json!({ "duration": null }), "3.20"),
    ] {
        let nano: f64 = cost.parse().unwrap();
        for (cap, status) in [(nano, 202), (nano - 0.0005, 429)] {
            let world = capped(&format!("{cap:.4}")).await;
            let mut asked = example(model);
            asked.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let answer = world.post("/v1/videos/generations", asked).await;
            assert_eq!(answer.status, status, "{model} {more} under {cap}: {}", answer.json());
            world.finish().await;
            let spent: Vec<_> = world.records().await.iter().map(|record| record.cost.as_nanos()).collect();
            let spent = Duration::from_nanos(spent.iter().sum()).as_secs_f64();
            assert!(spent <= cap + 1e-9, "{model} {more}: {spent}");
        }
    }
}
