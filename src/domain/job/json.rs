//! How a job looks to its caller: our own object, and the OpenAI SDK's `video`.

use serde_json::{Value, json};

use super::{Job, JobState};

/// The object of `/v1/videos/generations`. `base` is the gateway's public address, where it has one; it stands before the content URL.
pub fn generation(job: &Job, base: Option<&str>) -> Value {
    let (done, used) = (job.state == JobState::Completed, job.used());
    let seconds = |at: Option<crate::base::clock::Timestamp>| at.map(|at| at.as_secs());
    let data: Vec<_> = job
        .videos
        .iter()
        .enumerate()
        .filter(|_| done)
        .map(|(index, video)| {
            let content = format!("/v1/videos/generations/{}/content?index={index}", job.id);
            json!({
                "url": format!("{}{content}", base.unwrap_or_default()),
                "content_url": content,
                "content_type": "video/mp4",
                "width": video.width,
                "height": video.height,
                "duration": used.video_seconds,
                "expires_at": seconds(video.expires_at),
            })
        })
        .collect();
    let usage = done.then(|| {
        json!({
            "video_count": used.videos,
            "video_seconds": used.video_seconds,
            "resolution": job.order.resolution,
            "output_tokens": Some(used.output_tokens).filter(|n| *n > 0),
            "provider_units": null,
            "cost": { "amount": job.cost, "currency": "USD" },
        })
    });
    json!({
        "id": &*job.id,
        "object": "video.generation",
        "model": &*job.model,
        "status": job.state,
        "progress": job.progress,
        "created_at": job.created_at.as_secs(),
        "started_at": seconds(job.started_at),
        "completed_at": seconds(job.completed_at),
        "expires_at": seconds(job.videos.iter().filter_map(|video| video.expires_at).min()),
        "prompt": null,
        "duration": job.order.duration,
        "aspect_ratio": job.order.aspect_ratio,
        "resolution": job.order.resolution,
        "seed": job.order.seed,
        "data": data,
        "error": job.error.as_ref().map(|e| json!({ "code": &*e.code, "type": &*e.kind, "message": &*e.message })),
        "usage": usage,
        "warnings": job.warnings,
        "metadata": job.metadata.as_deref().cloned().unwrap_or_default(),
    })
}

/// The OpenAI SDK's `video`. It knows four states: what was cancelled or has expired is failed there.
pub fn openai_video(job: &Job) -> Value {
    let status = match job.state {
        JobState::Cancelled | JobState::Expired => "failed",
        other => other.as_str(),
    };
    let error = match (&job.error, job.state) {
        (Some(error), _) => json!({ "code": &*error.code, "message": &*error.message }),
        (None, JobState::Cancelled) => json!({ "code": "cancelled", "message": "The job was cancelled." }),
        _ => Value::Null,
    };
    json!({
        "id": &*job.id,
        "object": "video",
        "model": &*job.model,
        "status": status,
        "progress": job.progress,
        "created_at": job.created_at.as_secs(),
        "completed_at": job.completed_at.map(|at| at.as_secs()),
        "expires_at": job.videos.iter().filter_map(|video| video.expires_at).min().map(|at| at.as_secs()),
        "prompt": null,
        "size": job.order.pixels(),
        "seconds": job.order.duration.to_string(),
        "remixed_from_video_id": null,
        "error": error,
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::job;
    use super::super::{Ending, Video};
    use super::*;
    use crate::base::clock::Timestamp;

    #[test]
    fn a_finished_job_shows_the_gateways_own_link_and_never_the_vendors() {
        let mut job = job("vidgen_1");
        let video = Video { source: "https://cdn.example/secret".into(), width: None, height: None, expires_at: None };
        job.end(Ending::Completed(vec![video], job.asked()), false, Timestamp::from_secs(160));
        let shown = generation(&job, Some("https://ai.example"));
        assert_eq!(shown["data"][0]["url"], "https://ai.example/v1/videos/generations/vidgen_1/content?index=0");
        assert_eq!(shown["usage"]["cost"]["amount"], "2.400000000");
        assert_eq!((&shown["status"], &shown["progress"]), (&json!("completed"), &json!(100)));
        assert!(!shown.to_string().contains("cdn.example"));
        let video = openai_video(&job);
        assert_eq!((&video["object"], &video["seconds"]), (&json!("video"), &json!("6")));
        assert_eq!(video["size"], "720p", "it follows a picture");
        job.order.aspect_ratio = Some("9:16".into());
        assert_eq!(openai_video(&job)["size"], "720x1280");
        job.order.size = Some("1024x1792".into());
        assert_eq!(openai_video(&job)["size"], "1024x1792");
    }

    #[test]
    fn the_sdk_sees_a_cancelled_job_as_failed_with_its_reason() {
        let mut job = job("vidgen_1");
        job.end(Ending::Cancelled, false, Timestamp::from_secs(160));
        let video = openai_video(&job);
        assert_eq!((&video["status"], &video["error"]["code"]), (&json!("failed"), &json!("cancelled")));
        assert_eq!(generation(&job, None)["status"], "cancelled");
    }
}
