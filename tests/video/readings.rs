//! What each vendor's answers mean, in every form that they come in: fields missing, null or of another type, states that
//! nobody knows, errors inside a success.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use kancy::domain::abilities::Abilities;
use kancy::domain::video::{Order, VideoRequest};
use kancy::provider::ark::ArkVideo;
use kancy::provider::gemini::VeoVideo;
use kancy::provider::kling::KlingVideo;
use kancy::provider::minimax::MiniMaxVideo;
use kancy::provider::video::{Answer, NewVideo, Seen, VideoProvider};
use serde_json::{Value, json};

use crate::world::START;

fn answer(status: u16, body: &Value) -> Answer {
    Answer {
        status: StatusCode::from_u16(status).unwrap(),
        headers: HeaderMap::new(),
        body: Bytes::from(body.to_string()),
    }
}

/// A state in one word.
fn polled(codec: &dyn VideoProvider, status: u16, body: &Value) -> String {
    match codec.polled(0, &answer(status, body), START) {
        Ok(Seen::Queued) => "queued".into(),
        Ok(Seen::Running(None)) => "running".into(),
        Ok(Seen::Running(Some(percent))) => format!("running {percent}"),
        Ok(Seen::Completed(videos, usage)) => {
            let sources: Vec<_> = videos.iter().map(|video| &*video.source).collect();
            format!("completed {} {}s {}t", sources.join(" "), usage.video_seconds, usage.output_tokens)
        }
        Ok(Seen::Failed(error)) => format!("failed {}", error.code().as_str()),
        Ok(Seen::Cancelled) => "cancelled".into(),
        Ok(Seen::Expired) => "expired".into(),
        Ok(Seen::Gone) => "gone".into(),
        Ok(Seen::Unclear) => "unclear".into(),
        Err(error) => format!("again {}", error.code().as_str()),
    }
}

/// The handle, `lost` where the job may have been made, or the refusal's code.
fn created(codec: &dyn VideoProvider, upstream: &str, status: u16, body: &Value) -> String {
    let (request, order) = (VideoRequest::default(), Order { aspect_ratio: Some("16:9".into()), ..Order::default() });
    let new = NewVideo {
        job_id: "j",
        upstream,
        request: &request,
        order: &order,
        callback: None,
        deadline: START,
        now: START,
    };
    match codec.created(&new, &answer(status, body)) {
        Ok(Some(handle)) => handle.to_string(),
        Ok(None) => "lost".into(),
        Err(error) => error.code().as_str().into(),
    }
}

fn check(codec: &dyn VideoProvider, cases: &[(u16, Value, &str)]) {
    for (status, body, want) in cases {
        assert_eq!(polled(codec, *status, body), *want, "{status} {body}");
    }
}

#[test]
fn minimax_polls() {
    let ok = json!({ "status_code": 0, "status_msg": "success" });
    check(
        &MiniMaxVideo,
        &[
            (200, json!({ "status": "Preparing", "base_resp": ok }), "queued"),
            (200, json!({ "status": "Queueing", "base_resp": ok, "error": null }), "queued"),
            (200, json!({ "status": "processing", "file_id": "" }), "running"),
            (200, json!({ "status": "Success", "file_id": 1_768, "base_resp": ok }), "completed 1768 0s 0t"),
            (200, json!({ "status": "success", "file_id": "1768", "video_width": "1024" }), "completed 1768 0s 0t"),
            (200, json!({ "status": "Success", "base_resp": ok }), "failed provider_error"),
            (200, json!({ "status": "Success", "file_id": "../x", "base_resp": ok }), "failed provider_error"),
            (
                200,
                json!({ "status": "Fail", "base_resp": { "status_code": 1027, "status_msg": "m" } }),
                "failed content_policy_violation",
            ),
            (
                200,
                json!({ "status": "Fail", "base_resp": { "status_code": "1027" } }),
                "failed content_policy_violation",
            ),
            (200, json!({ "status": "Failed", "base_resp": ok }), "failed provider_error"),
            (200, json!({ "base_resp": { "status_code": 1026 } }), "failed content_policy_violation"),
            (200, json!({ "status": "Unknown", "base_resp": ok }), "unclear"),
            (200, json!({ "base_resp": { "status_code": 1002, "status_msg": "slow" } }), "again provider_rate_limited"),
            (200, json!({ "base_resp": { "status_code": 1004 } }), "again provider_auth_error"),
            (200, json!(null), "unclear"),
            (502, json!("<html>"), "again provider_error"),
            // The second API.
            (200, json!({ "task": { "id": "t", "status": "queued", "error": null } }), "queued"),
            (200, json!({ "task": { "id": "t", "status": "Running" } }), "running"),
            (
                200,
                json!({ "task": { "id": "t", "status": "succeeded", "content": { "url": "https://x/y" },
                    "usage": { "total_seconds": "5.2" }, "duration": 5 } }),
                "completed v2:t 6s 0t",
            ),
            (200, json!({ "task": { "id": "t", "status": "succeeded", "content": {} } }), "failed provider_error"),
            (
                200,
                json!({ "task": { "status": "failed", "error": { "code": "1027", "message": "m" } } }),
                "failed content_policy_violation",
            ),
            (200, json!({ "task": { "status": "cancelled" } }), "cancelled"),
            (200, json!({ "task": { "status": "expired" } }), "expired"),
            (200, json!({ "task": { "status": "upscaling" } }), "unclear"),
            (500, json!({ "type": "error", "error": { "message": "record not found", "http_code": "500" } }), "gone"),
            (
                500,
                json!({ "type": "error", "error": { "message": "internal", "http_code": "500" } }),
                "again provider_error",
            ),
        ],
    );
}

#[test]
fn ark_polls() {
    let done = |more: Value| {
        let mut task = json!({ "id": "c", "status": "succeeded", "content": { "video_url": "https://x/y" } });
        task.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        task
    };
    check(
        &ArkVideo,
        &[
            (200, json!({ "id": "c", "status": "queued" }), "queued"),
            (200, json!({ "id": "c", "status": "Running", "error": null }), "running"),
            (
                200,
                done(json!({ "usage": { "completion_tokens": 246_840 }, "duration": 5 })),
                "completed https://x/y 5s 246840t",
            ),
            (
                200,
                done(json!({ "usage": { "completion_tokens": "9" }, "duration": "5" })),
                "completed https://x/y 5s 9t",
            ),
            (200, done(json!({ "usage": null, "duration": null })), "completed https://x/y 0s 0t"),
            (200, json!({ "status": "succeeded", "content": { "video_url": null } }), "failed provider_error"),
            (200, json!({ "status": "succeeded" }), "failed provider_error"),
            (
                200,
                json!({ "status": "failed", "error": { "code": "OutputAudioSensitiveContentDetected", "message": "m" } }),
                "failed content_policy_violation",
            ),
            (200, json!({ "status": "failed" }), "failed provider_error"),
            (200, json!({ "status": "cancelled" }), "cancelled"),
            (200, json!({ "status": "expired", "error": {} }), "expired"),
            (200, json!({ "status": "paused" }), "unclear"),
            (200, json!([]), "unclear"),
            (200, json!({ "error": { "code": "InternalServiceError", "message": "m" } }), "again provider_error"),
            (
                200,
                json!({ "error": { "code": "AccountOverdueError", "message": "m" } }),
                "again provider_quota_exhausted",
            ),
            (404, json!({ "error": { "code": "NotFound.Task" } }), "gone"),
            (429, json!({ "error": { "code": "RequestBurstTooFast" } }), "again provider_rate_limited"),
            (401, json!({ "error": { "code": "AuthenticationError" } }), "again provider_auth_error"),
        ],
    );
}

#[test]
fn kling_polls() {
    let told = |data: Value| json!({ "code": 0, "message": "SUCCEED", "request_id": "r", "data": data });
    let made = |videos: Value| told(json!({ "task_status": "succeed", "task_result": { "videos": videos } }));
    check(
        &KlingVideo,
        &[
            (200, told(json!({ "task_status": "submitted" })), "queued"),
            (200, told(json!({ "task_status": "Processing", "task_result": null })), "running"),
            (200, json!({ "data": { "task_status": "processing" } }), "running"),
            (
                200,
                made(json!([{ "url": "https://x/1" }, { "url": "" }, { "url": "https://x/2" }])),
                "completed https://x/1 https://x/2 0s 0t",
            ),
            (200, made(json!([])), "failed provider_error"),
            (200, made(json!(null)), "failed provider_error"),
            (
                200,
                told(json!({ "task_status": "failed", "task_status_msg": "Failure to pass the risk control system" })),
                "failed content_policy_violation",
            ),
            (200, told(json!({ "task_status": "failed", "task_status_msg": null })), "failed provider_error"),
            (200, told(json!({ "task_status": "reviewing" })), "unclear"),
            (200, told(json!(null)), "unclear"),
            (200, json!({ "code": 1203, "message": "no such task" }), "gone"),
            (404, json!({ "code": "1203", "message": "no such task" }), "gone"),
            (429, json!({ "code": 1102, "message": "pack used up" }), "again provider_quota_exhausted"),
            (429, json!({ "code": "1101", "message": "arrears" }), "again provider_quota_exhausted"),
            (429, json!({ "code": 1304, "message": "ip" }), "again provider_auth_error"),
            (429, json!({ "code": 1302, "message": "too fast" }), "again provider_rate_limited"),
            (401, json!({ "code": 1004, "message": "expired" }), "again provider_auth_error"),
            (200, json!({ "error": { "message": "m" } }), "again provider_error"),
        ],
    );
}

#[test]
fn veo_polls() {
    let done = |response: Value| json!({ "name": "models/v/operations/o", "done": true, "response": response });
    let sample = |uri: &str| json!({ "video": { "uri": uri } });
    check(
        &VeoVideo,
        &[
            (200, json!({ "name": "models/v/operations/o" }), "running"),
            (200, json!({ "name": "o", "done": false, "error": null }), "running"),
            (200, json!({ "name": "o", "metadata": { "progressPercent": "40" } }), "running 40"),
            (
                200,
                done(json!({ "generateVideoResponse": { "generatedSamples": [sample("https://x/1")] } })),
                "completed https://x/1 0s 0t",
            ),
            (
                200,
                json!({ "name": "o", "done": "true", "error": null,
                    "response": { "generateVideoResponse": { "generatedSamples": [{}, sample("https://x/2")] } } }),
                "completed https://x/2 0s 0t",
            ),
            (
                200,
                done(
                    json!({ "generateVideoResponse": { "raiMediaFilteredCount": 1, "raiMediaFilteredReasons": ["m"] } }),
                ),
                "failed content_policy_violation",
            ),
            (
                200,
                done(json!({ "generateVideoResponse": { "raiMediaFilteredCount": "2" } })),
                "failed content_policy_violation",
            ),
            (
                200,
                done(json!({ "generateVideoResponse": { "raiMediaFilteredCount": 0, "raiMediaFilteredReasons": [] } })),
                "failed provider_error",
            ),
            (200, done(json!(null)), "failed provider_error"),
            (
                200,
                json!({ "name": "o", "done": true, "error": { "code": 8, "message": "m" } }),
                "failed provider_rate_limited",
            ),
            (
                200,
                json!({ "name": "o", "done": true, "error": { "code": 3, "message": "m" } }),
                "failed provider_rejected",
            ),
            (200, json!({ "name": "o", "error": { "code": "7", "message": "m" } }), "failed provider_auth_error"),
            (200, json!({ "error": { "code": 14, "message": "m" } }), "again provider_overloaded"),
            (404, json!({ "error": { "code": 404, "status": "NOT_FOUND" } }), "gone"),
            (503, json!({ "error": { "code": 503, "status": "UNAVAILABLE" } }), "again provider_overloaded"),
            (200, json!(null), "unclear"),
            // Interactions.
            (200, json!({ "id": "i", "status": "queued" }), "queued"),
            (200, json!({ "id": "i", "status": "in_progress", "steps": [] }), "running"),
            (
                200,
                json!({ "id": "i", "status": "completed", "usage": { "total_output_tokens": 5, "total_thought_tokens": 2 },
                    "steps": [{ "type": "thought" }, { "type": "model_output", "content": [{ "type": "text", "text": "t" },
                        { "type": "video", "mime_type": "video/mp4", "uri": "https://x/3" }] }] }),
                "completed https://x/3 0s 7t",
            ),
            (
                200,
                json!({ "id": "i", "status": "completed", "output_video": { "uri": "https://x/4" } }),
                "completed https://x/4 0s 0t",
            ),
            (200, json!({ "id": "i", "status": "completed", "steps": [] }), "failed provider_error"),
            (
                200,
                json!({ "id": "i", "status": "failed", "errors": [{ "code": 400, "message": "violates our policy" }] }),
                "failed content_policy_violation",
            ),
            (200, json!({ "id": "i", "status": "budget_exceeded" }), "failed provider_quota_exhausted"),
            (200, json!({ "id": "i", "status": "incomplete", "errors": null }), "failed provider_error"),
            (200, json!({ "id": "i", "status": "cancelled" }), "cancelled"),
            (200, json!({ "id": "i", "status": "dreaming" }), "unclear"),
        ],
    );
}

#[test]
fn a_create_is_made_refused_or_lost() {
    let error = json!({ "error": { "code": "InvalidParameter", "message": "m" } });
    for (codec, upstream, status, body, want) in [
        (&MiniMaxVideo as &dyn VideoProvider, "MiniMax-Hailuo-2.3", 200, json!({ "task_id": 7 }), "7"),
        (&MiniMaxVideo, "MiniMax-H3", 200, json!({ "task_id": "7", "base_resp": { "status_code": 0 } }), "v2:7"),
        (&MiniMaxVideo, "MiniMax-Hailuo-02", 200, json!({ "task_id": "", "base_resp": { "status_code": 0 } }), "lost"),
        (
            &MiniMaxVideo,
            "MiniMax-Hailuo-02",
            200,
            json!({ "task_id": "", "base_resp": { "status_code": "2013" } }),
            "invalid_parameter",
        ),
        (&ArkVideo, "m", 200, json!({ "id": "cgt-1" }), "cgt-1"),
        (&ArkVideo, "m", 200, error.clone(), "invalid_parameter"),
        (&ArkVideo, "m", 200, json!({ "id": null }), "lost"),
        (&ArkVideo, "m", 200, json!("<html>"), "lost"),
        (&KlingVideo, "m", 200, json!({ "code": 0, "data": { "task_id": "k" } }), "text2video/k"),
        (&KlingVideo, "m", 200, json!({ "code": "1301", "message": "m" }), "content_policy_violation"),
        (&KlingVideo, "m", 200, json!({ "code": 0 }), "lost"),
        (&VeoVideo, "veo-3", 200, json!({ "name": "models/v/operations/o" }), "models/v/operations/o"),
        (&VeoVideo, "veo-3", 200, json!({ "name": "models/../../x" }), "lost"),
        (
            &VeoVideo,
            "veo-3",
            200,
            json!({ "error": { "code": 400, "status": "INVALID_ARGUMENT" } }),
            "invalid_parameter",
        ),
        (&VeoVideo, "gemini-omni-1.1-flash", 200, json!({ "id": "i1", "status": "queued" }), "interactions/i1"),
        (&VeoVideo, "gemini-omni-1.1-flash", 200, json!({ "status": "queued" }), "lost"),
    ] {
        assert_eq!(created(codec, upstream, status, &body), want, "{body}");
    }
}

#[test]
fn a_lost_kling_job_is_looked_for_where_it_was_made() {
    let order = |ratio: Option<&str>| Order { aspect_ratio: ratio.map(str::to_owned), ..Order::default() };
    assert_eq!(KlingVideo.recover("j", &order(Some("1:1"))).as_deref(), Some("text2video/j"));
    assert_eq!(KlingVideo.recover("j", &order(None)).as_deref(), Some("image2video/j"));
}

#[test]
fn each_version_has_its_own_durations() {
    let rows: [(&dyn VideoProvider, &str, u64, u64, usize); 13] = [
        (&KlingVideo, "kling-v1", 5, 10, 2),
        (&KlingVideo, "kling-v1-6", 5, 10, 2),
        (&KlingVideo, "kling-v2-5-turbo", 5, 10, 2),
        (&KlingVideo, "kling-v2-6", 5, 10, 2),
        (&KlingVideo, "kling-v3", 3, 15, 13),
        (&MiniMaxVideo, "MiniMax-Hailuo-2.3", 6, 10, 2),
        (&MiniMaxVideo, "T2V-01", 6, 6, 1),
        (&MiniMaxVideo, "MiniMax-H3", 4, 15, 12),
        (&ArkVideo, "doubao-seedance-1-0-pro-250528", 2, 12, 11),
        (&ArkVideo, "dreamina-seedance-2-0-260128", 4, 15, 12),
        (&ArkVideo, "doubao-seedance-2-5-x", 4, 30, 27),
        (&VeoVideo, "veo-3.1-generate-001", 4, 8, 3),
        (&VeoVideo, "gemini-omni-1.1-flash", 3, 10, 8),
    ];
    for (codec, upstream, least, most, count) in rows {
        let Abilities { durations, .. } = codec.abilities(upstream);
        assert_eq!(
            (durations.first(), durations.last(), durations.len()),
            (Some(&least), Some(&most), count),
            "{upstream}"
        );
    }
}

/// `value` with each of its parts, itself included, in turn replaced by `junk`, or taken out.
fn spoilt(value: &Value, junk: &Value) -> Vec<Value> {
    let mut all = vec![junk.clone()];
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                let mut without = members.clone();
                without.remove(name);
                all.push(without.into());
                all.extend(spoilt(member, junk).into_iter().map(|spoilt| {
                    let mut members = members.clone();
                    members.insert(name.clone(), spoilt);
                    members.into()
                }));
            }
        }
        Value::Array(items) => {
            all.push(json!([]));
            for (at, item) in items.iter().enumerate() {
                all.extend(spoilt(item, junk).into_iter().map(|spoilt| {
                    let mut items = items.clone();
                    items[at] = spoilt;
                    items.into()
                }));
            }
        }
        _ => {}
    }
    all
}

#[test]
fn no_answer_ends_a_job_as_done_without_a_film_or_breaks_its_reader() {
    let minimax = json!({ "task_id": "1", "status": "Success", "file_id": "2", "video_width": 1, "base_resp": { "status_code": 0 } });
    let minimax2 = json!({ "task": { "id": "t", "status": "succeeded", "content": { "url": "https://x/y" }, "duration": 5,
        "usage": { "total_seconds": 5 } } });
    let ark = json!({ "id": "c", "status": "succeeded", "content": { "video_url": "https://x/y" }, "duration": 5,
        "usage": { "completion_tokens": 9 } });
    let kling = json!({ "code": 0, "message": "m", "data": { "task_id": "k", "task_status": "succeed",
        "task_result": { "videos": [{ "id": "v", "url": "https://x/y" }] } } });
    let veo = json!({ "name": "o", "done": true, "response": { "generateVideoResponse": {
        "generatedSamples": [{ "video": { "uri": "https://x/y" } }] } } });
    let omni = json!({ "id": "i", "status": "completed", "steps": [{ "type": "model_output", "content": [
        { "type": "video", "uri": "https://x/y" }] }], "usage": { "total_output_tokens": 3 } });
    let bodies: [(&dyn VideoProvider, Value); 6] = [
        (&MiniMaxVideo, minimax),
        (&MiniMaxVideo, minimax2),
        (&ArkVideo, ark),
        (&KlingVideo, kling),
        (&VeoVideo, veo),
        (&VeoVideo, omni),
    ];
    let junk = [
        json!(null),
        json!(true),
        json!(-1),
        json!(1e300),
        json!("\u{0}\u{1f4a5}/../"),
        json!([[]]),
        json!({ "a": {} }),
    ];
    for (codec, good) in &bodies {
        assert!(polled(*codec, 200, good).starts_with("completed"), "{good}");
        for body in junk.iter().flat_map(|junk| spoilt(good, junk)) {
            for status in [200, 400, 500] {
                let answer = answer(status, &body);
                if let Ok(Seen::Completed(videos, _)) = codec.polled(0, &answer, START) {
                    assert!(!videos.is_empty() && videos.iter().all(|video| !video.source.is_empty()), "{body}");
                }
                let _ = (created(*codec, "m", status, &body), codec.link(&answer), codec.cancelled(&answer));
                if let Some(batch) = codec.batch() {
                    let told = batch.read(&["c", "d"], &answer, START);
                    assert!(told.is_err() || told.is_ok_and(|told| told.len() == 2));
                }
            }
        }
    }
}
