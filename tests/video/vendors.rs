//! Stand-ins for the four vendors and a receiver of webhooks, which behave as their documents say.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use serde_json::{Value, json};

/// A request as a vendor saw it.
#[derive(Clone, Debug)]
pub struct Asked {
    pub head: Parts,
    pub body: Value,
    pub text: Bytes,
    /// The gateway forbade its client to go to private addresses.
    pub public_only: bool,
}

impl Asked {
    pub fn header(&self, name: &str) -> &str {
        self.head.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// What a vendor answers.
#[derive(Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Bytes,
    pub delay: Duration,
}

impl Answer {
    pub fn json(status: u16, body: Value) -> Self {
        Self { status, headers: Vec::new(), body: body.to_string().into(), delay: Duration::ZERO }
    }
}

/// How the vendors behave.
#[derive(Default)]
pub struct Vendors {
    pub asked: Vec<Asked>,
    /// Polls that are answered with "running" before the end; by default two.
    pub running: Option<usize>,
    /// In the place of the next creates' answers.
    pub creates: Vec<Answer>,
    /// In the place of the end's answer, and of "running".
    pub poll: Option<(u16, Value)>,
    /// What the receiver of webhooks answers, one after another; then 200.
    pub receiver: Vec<u16>,
    /// When the receiver wants to be asked again, in seconds.
    pub retry_after: Option<&'static str>,
    /// In the place of the film.
    pub film: Option<Answer>,
    /// Whether Ark has no list of tasks.
    pub no_list: bool,
    polls: HashMap<String, usize>,
    ark_tasks: usize,
}

pub const FILM: &[u8] = b"\0\0\0\x18ftypisom the film";

impl Vendors {
    pub fn answer(&mut self, asked: Asked) -> Answer {
        self.asked.push(asked.clone());
        let host = asked.head.uri.host().unwrap_or_default().to_owned();
        match host.as_str() {
            "receiver.test" => Answer {
                headers: self.retry_after.map(|wait| ("retry-after", wait.to_owned())).into_iter().collect(),
                ..Answer::json(if self.receiver.is_empty() { 200 } else { self.receiver.remove(0) }, json!({}))
            },
            "cdn.test" => self.film.clone().unwrap_or_else(|| film(&asked)),
            _ if asked.head.method == "POST" && !self.creates.is_empty() => self.creates.remove(0),
            "minimax.test" => self.minimax(&asked),
            "kling.test" => self.kling(&asked),
            "ark.test" => self.ark(&asked),
            "gemini.test" => self.gemini(&asked),
            other => panic!("nobody is at {other}"),
        }
    }

    /// The requests that make jobs.
    pub fn made(&self) -> Vec<&Asked> {
        let is_vendor = |asked: &&Asked| asked.head.uri.host() != Some("receiver.test");
        self.asked.iter().filter(|asked| asked.head.method == "POST").filter(is_vendor).collect()
    }

    /// The requests to the receiver of webhooks.
    pub fn received(&self) -> Vec<&Asked> {
        self.asked.iter().filter(|asked| asked.head.uri.host() == Some("receiver.test")).collect()
    }

    fn is_running(&mut self, path: &str) -> bool {
        let polls = self.polls.entry(path.to_owned()).or_default();
        *polls += 1;
        *polls <= self.running.unwrap_or(2)
    }

    fn minimax(&mut self, asked: &Asked) -> Answer {
        let ok = json!({ "status_code": 0, "status_msg": "success" });
        let path = asked.head.uri.path();
        match path {
            "/v1/video_generation" => Answer::json(200, json!({ "task_id": "1069161", "base_resp": ok })),
            "/v1/files/retrieve" => {
                let file = json!({ "file_id": 1768, "download_url": "https://cdn.test/film.mp4?signature=x" });
                Answer::json(200, json!({ "file": file, "base_resp": ok }))
            }
            _ => match (self.is_running(path), self.poll.clone()) {
                (_, Some((status, body))) => Answer::json(status, body),
                (true, _) => {
                    Answer::json(200, json!({ "task_id": "1069161", "status": "Processing", "base_resp": ok }))
                }
                (false, _) => {
                    let done = json!({ "task_id": "1069161", "status": "Success", "file_id": "1768", "video_width": 1366,
                        "video_height": 768, "base_resp": ok });
                    Answer::json(200, done)
                }
            },
        }
    }

    fn kling(&mut self, asked: &Asked) -> Answer {
        let path = asked.head.uri.path();
        let wrap = |data: Value| json!({ "code": 0, "message": "SUCCEED", "request_id": "r", "data": data });
        if asked.head.method == "POST" {
            return Answer::json(200, wrap(json!({ "task_id": "k1", "task_status": "submitted" })));
        }
        match (self.is_running(path), self.poll.clone()) {
            (_, Some((status, body))) => Answer::json(status, body),
            (true, _) => Answer::json(200, wrap(json!({ "task_id": "k1", "task_status": "processing" }))),
            (false, _) => {
                let videos = json!([{ "id": "v", "url": "https://cdn.test/film.mp4", "duration": "6.1" }]);
                let done = json!({ "task_id": "k1", "task_status": "succeed", "task_result": { "videos": videos } });
                Answer::json(200, wrap(done))
            }
        }
    }

    fn ark(&mut self, asked: &Asked) -> Answer {
        const TASKS: &str = "/api/v3/contents/generations/tasks";
        let path = asked.head.uri.path();
        if asked.head.method == "POST" {
            self.ark_tasks += 1;
            return Answer::json(200, json!({ "id": format!("cgt-{}", self.ark_tasks) }));
        }
        if let Some(task) = path.strip_prefix(TASKS).and_then(|rest| rest.strip_prefix('/')) {
            // What has ended is removed, and that is a success, too.
            return match (asked.head.method.as_str(), self.poll.clone()) {
                ("DELETE", _) => Answer::json(200, json!({})),
                (_, Some((status, body))) => Answer::json(status, body),
                _ => Answer::json(200, self.ark_task(task)),
            };
        }
        match self.poll.clone() {
            _ if self.no_list => Answer::json(404, json!({ "error": { "code": "NotFound" } })),
            Some((status, body)) => Answer::json(status, body),
            None => {
                let query = asked.head.uri.query().unwrap_or_default();
                let wanted = query.split('&').filter_map(|pair| pair.strip_prefix("filter.task_ids="));
                // The newest first, and not in the order of asking.
                let mut items: Vec<_> = wanted.map(|id| self.ark_task(id)).collect();
                items.reverse();
                Answer::json(200, json!({ "total": items.len(), "items": items }))
            }
        }
    }

    fn ark_task(&mut self, id: &str) -> Value {
        match self.is_running(&format!("ark {id}")) {
            true => json!({ "id": id, "status": "running" }),
            false => json!({ "id": id, "status": "succeeded", "content": { "video_url": "https://cdn.test/film.mp4" },
                "usage": { "completion_tokens": 130_500, "total_tokens": 130_500 }, "duration": 6, "resolution": "720p" }),
        }
    }

    fn gemini(&mut self, asked: &Asked) -> Answer {
        let path = asked.head.uri.path();
        let operation = "models/veo-3.1-generate-001/operations/op1";
        if asked.header("x-goog-api-key") != "gemini-secret" {
            let error = json!({ "code": 403, "status": "PERMISSION_DENIED", "message": "unregistered callers" });
            return Answer::json(403, json!({ "error": error }));
        }
        if asked.head.method == "POST" {
            return Answer::json(
                200,
                match path {
                    "/v1beta/interactions" => json!({ "id": "in1", "status": "queued" }),
                    _ => json!({ "name": operation }),
                },
            );
        }
        let moved = |to: &str| Answer {
            headers: vec![("location", to.to_owned())],
            ..Answer::json(302, json!({ "error": { "code": 302, "message": "Unknown Error.", "status": "UNKNOWN" } }))
        };
        match path {
            "/v1beta/files/f1:download" => {
                return moved("https://gemini.test/download/v1beta/files/f1:download?alt=media");
            }
            "/download/v1beta/files/f1:download" => return moved("https://cdn.test/film.mp4"),
            _ => {}
        }
        let uri = "https://gemini.test/v1beta/files/f1:download?alt=media";
        let is_interaction = path == "/v1beta/interactions/in1";
        match (self.is_running(path), self.poll.clone()) {
            (_, Some((status, body))) => Answer::json(status, body),
            (true, _) if is_interaction => Answer::json(200, json!({ "id": "in1", "status": "in_progress" })),
            (true, _) => Answer::json(200, json!({ "name": operation })),
            (false, _) if is_interaction => {
                let video = json!({ "type": "video", "mime_type": "video/mp4", "uri": uri });
                let steps = json!([{ "type": "model_output", "content": [video] }]);
                Answer::json(200, json!({ "id": "in1", "status": "completed", "steps": steps }))
            }
            (false, _) => {
                let made = json!({ "generateVideoResponse": { "generatedSamples": [{ "video": { "uri": uri } }] } });
                Answer::json(200, json!({ "name": operation, "done": true, "response": made }))
            }
        }
    }
}

fn film(asked: &Asked) -> Answer {
    let headers = vec![("content-type", "video/mp4".to_owned()), ("accept-ranges", "bytes".to_owned())];
    let whole = Answer { status: 200, headers, body: Bytes::from_static(FILM), delay: Duration::ZERO };
    match asked.header("range") {
        "bytes=4-7" => Answer {
            status: 206,
            headers: vec![("content-range", format!("bytes 4-7/{}", FILM.len()))],
            body: Bytes::from_static(&FILM[4..8]),
            ..whole
        },
        _ => whole,
    }
}
