//! Every row of the vendors' error tables: what a caller is told, and that nothing is billed.

use std::sync::{Arc, Mutex};

use kancy::Outcome;
use serde_json::{Value, json};

use crate::world::{Answer, Reply, World, form, wav, world};

/// An answer of the vendor's, and the code that the caller sees.
type Row = (Answer, &'static str);

/// The vendor's answer in turn, whatever it is asked.
struct Turn(Arc<Mutex<Answer>>, World);

impl Turn {
    async fn new() -> Self {
        let turn = Arc::new(Mutex::new(Answer::json(500, "{}")));
        let vendors = Arc::clone(&turn);
        Self(turn, world("", move |_| vendors.lock().unwrap().clone()).await)
    }

    /// Plays each row on the route that `ask` goes by.
    async fn play(&self, what: &str, rows: &[Row], ask: impl AsyncFn(&World) -> Reply) {
        for (answer, code) in rows {
            *self.0.lock().unwrap() = answer.clone();
            let reply = ask(&self.1).await;
            self.told(&format!("{what}: {answer:?}"), &reply, code).await;
        }
    }

    async fn told(&self, row: &str, reply: &Reply, code: &str) {
        let (status, kind) = match code {
            "provider_rate_limited" => (429, "rate_limit_error"),
            _ if code.starts_with("provider_") && code != "provider_rejected" => (500, "api_error"),
            _ => (400, "invalid_request_error"),
        };
        let error = &reply.json()["error"];
        let got = (reply.status, error["code"].as_str(), error["type"].as_str(), error["origin"].as_str());
        assert_eq!(got, (status, Some(code), Some(kind), Some("provider")), "{row}");
        let message = error["message"].as_str().unwrap();
        assert!(!message.is_empty() && message.len() <= 1_000 && !message.contains("sk-"), "{row}: {message}");
        let record = self.1.records().await.pop().unwrap();
        assert_eq!((record.outcome, record.code.as_deref()), (Some(Outcome::ProviderFailed), Some(code)), "{row}");
        assert_eq!((record.usage, record.cost.as_nanos()), (Default::default(), 0), "{row}: a failure is not billed");
    }
}

fn picture(model: &'static str) -> impl AsyncFn(&World) -> Reply {
    async move |world: &World| world.images(&json!({"model": model, "prompt": "a cat"})).await
}

fn speech(model: &'static str) -> impl AsyncFn(&World) -> Reply {
    async move |world: &World| {
        world.post("/v1/audio/speech", &json!({"model": model, "input": "Hi", "voice": "alloy"})).await
    }
}

async fn transcript(world: &World) -> Reply {
    let file = wav(2);
    world.form("/v1/audio/transcriptions", &[("model", b"whisper-asr"), ("file=a.wav", &file)]).await
}

#[tokio::test]
async fn minimax_says_it_by_number_within_a_success() {
    let base = |number: i64| json!({"base_resp": {"status_code": number, "status_msg": "why sk-abc123def456ghi789"}});
    let mut rows: Vec<Row> = [
        (1000, "provider_error"),
        (1001, "provider_timeout"),
        (1002, "provider_rate_limited"),
        (1004, "provider_auth_error"),
        (1008, "provider_quota_exhausted"),
        (1013, "provider_error"),
        (1024, "provider_error"),
        (1033, "provider_error"),
        (1026, "content_policy_violation"),
        (1027, "content_policy_violation"),
        (1028, "provider_quota_exhausted"),
        (1030, "provider_quota_exhausted"),
        (1039, "provider_rate_limited"),
        (1041, "provider_rate_limited"),
        (1042, "invalid_parameter"),
        (1043, "invalid_parameter"),
        (1044, "invalid_parameter"),
        (2013, "invalid_parameter"),
        (2037, "invalid_parameter"),
        (2038, "provider_auth_error"),
        (2039, "invalid_parameter"),
        (2042, "invalid_parameter"),
        (2045, "provider_rate_limited"),
        (2048, "invalid_parameter"),
        (2049, "provider_auth_error"),
        (2056, "provider_quota_exhausted"),
        (2061, "provider_model_unavailable"),
        (9999, "provider_error"),
    ]
    .map(|(number, code)| (Answer::json(200, base(number)), code))
    .into();
    rows.extend([
        (Answer::json(200, json!({"data": null, "base_resp": {"status_code": "1008"}})), "provider_quota_exhausted"),
        (
            Answer::json(200, json!({"data": {}, "base_resp": {"status_code": 1026, "status_msg": null}})),
            "content_policy_violation",
        ),
        (Answer::json(200, json!({"base_resp": {"status_code": 0}})), "provider_error"),
        (Answer::json(200, json!({"base_resp": null})), "provider_error"),
        (Answer::json(200, "{}"), "provider_error"),
        (Answer::json(200, ""), "provider_error"),
        (Answer::json(200, "<html>"), "provider_error"),
        (
            Answer::json(401, json!({"type": "error", "error": {"type": "authorized_error", "message": "m"}})),
            "provider_auth_error",
        ),
        (
            Answer::json(429, json!({"type": "error", "error": {"message": "insufficient balance (1008)"}})),
            "provider_quota_exhausted",
        ),
        (
            Answer::json(500, json!({"type": "error", "error": {"message": "insufficient balance (1008)"}})),
            "provider_quota_exhausted",
        ),
        (
            Answer::json(400, json!({"type": "error", "error": {"message": "invalid params (2013)"}})),
            "invalid_parameter",
        ),
        (Answer::json(429, "{}"), "provider_rate_limited"),
        (Answer::json(503, "{}"), "provider_overloaded"),
        (Answer::json(504, "{}"), "provider_timeout"),
        (Answer::json(502, "<html>"), "provider_error"),
    ]);
    let turn = Turn::new().await;
    turn.play("minimax images", &rows, picture("minimax-image")).await;
    turn.play("minimax speech", &rows, speech("minimax-tts")).await;
    // What its safety check took out, wherever it says so.
    let filtered = [
        json!({"data": {"image_urls": []}, "metadata": {"success_count": "0", "failed_count": "1"}, "base_resp": {"status_code": 0}}),
        json!({"data": {"image_urls": null, "failed_count": 1}, "base_resp": {"status_code": 0}}),
    ];
    let rows = filtered.map(|body| (Answer::json(200, body), "content_policy_violation"));
    turn.play("minimax images", &rows, picture("minimax-image")).await;
}

#[tokio::test]
async fn ark_says_it_by_a_name_in_the_error_and_within_a_picture() {
    let named =
        |name: &str| json!({"code": name, "message": "why. Request id: 0217", "param": "", "type": "BadRequest"});
    let table = [
        (400, "MissingParameter", "invalid_parameter"),
        (400, "MissingParameter.prompt", "invalid_parameter"),
        (400, "InvalidParameter", "invalid_parameter"),
        (400, "InvalidParameter.OversizedImage", "invalid_parameter"),
        (400, "InvalidParameter.UnsupportedImageFormat", "invalid_parameter"),
        (400, "InvalidArgumentError", "invalid_parameter"),
        (400, "SensitiveContentDetected", "content_policy_violation"),
        (400, "SensitiveContentDetected.SevereViolation", "content_policy_violation"),
        (400, "SensitiveContentDetected.Violence", "content_policy_violation"),
        (400, "InputTextSensitiveContentDetected", "content_policy_violation"),
        (400, "InputImageSensitiveContentDetected.PrivacyInformation", "content_policy_violation"),
        (400, "OutputImageSensitiveContentDetected", "content_policy_violation"),
        (400, "InputImageRiskDetection", "content_policy_violation"),
        (400, "InvalidEndpoint.ClosedEndpoint", "provider_model_unavailable"),
        (401, "AuthenticationError", "provider_auth_error"),
        (401, "InvalidAccountStatus", "provider_auth_error"),
        (403, "AccessDenied", "provider_auth_error"),
        (403, "AccountOverdueError", "provider_quota_exhausted"),
        (403, "OperationDenied.ServiceOverdue", "provider_quota_exhausted"),
        (403, "OperationDenied.InvalidState", "provider_auth_error"),
        (404, "InvalidEndpointOrModel.NotFound", "model_not_found"),
        (404, "InvalidEndpointOrModel.ModelIDAccessDisabled", "model_not_found"),
        (404, "ModelNotOpen", "model_not_found"),
        (404, "UnsupportedModel", "model_not_found"),
        (429, "RateLimitExceeded.EndpointRPMExceeded", "provider_rate_limited"),
        (429, "RateLimitExceeded.EndpointTPMExceeded", "provider_rate_limited"),
        (429, "ModelAccountRpmRateLimitExceeded", "provider_rate_limited"),
        (429, "ModelAccountTpmRateLimitExceeded", "provider_rate_limited"),
        (429, "ModelAccountIpmRateLimitExceeded", "provider_rate_limited"),
        (429, "APIAccountRpmRateLimitExceeded", "provider_rate_limited"),
        (429, "AccountRateLimitExceeded", "provider_rate_limited"),
        (429, "RequestBurstTooFast", "provider_rate_limited"),
        (429, "QuotaExceeded", "provider_rate_limited"),
        (429, "ServerOverloaded", "provider_overloaded"),
        (429, "SetLimitExceeded", "provider_quota_exhausted"),
        (500, "InternalServiceError", "provider_error"),
        (503, "ServiceUnavailable", "provider_overloaded"),
    ];
    let turn = Turn::new().await;
    let rows = table.map(|(status, name, code)| (Answer::json(status, json!({"error": named(name)})), code));
    turn.play("ark", &rows, picture("bytedance-image")).await;
    // The same words in an answer that began as a success: for a picture, or for all of it.
    for (_, name, code) in table.into_iter().filter(|(status, ..)| *status != 503) {
        let bodies = [
            json!({"model": "m", "created": 1, "data": [{"error": named(name)}], "usage": {"generated_images": 0}}),
            json!({"error": named(name)}),
        ];
        let rows = bodies.map(|body| (Answer::json(200, body), code));
        turn.play("ark, inside", &rows, picture("bytedance-image")).await;
    }
    let rows = [
        (Answer::json(200, r#"{"data":[]}"#), "provider_error"),
        (Answer::json(200, r#"{"data":null}"#), "provider_error"),
        (Answer::json(200, r#"{"data":[{"url":null}]}"#), "provider_error"),
        (Answer::json(200, r#"{"data":[{"url":"https://a"#), "provider_error"),
        (Answer::json(502, "<html>"), "provider_error"),
    ];
    turn.play("ark", &rows, picture("bytedance-image")).await;
    let waits = [(
        Answer::json(429, json!({"error": named("QuotaExceeded")})).with("retry-after", "9"),
        "provider_rate_limited",
    )];
    turn.play("ark", &waits, async |world: &World| {
        let reply = picture("bytedance-image")(world).await;
        assert_eq!(reply.headers["retry-after"], "9");
        reply
    })
    .await;
}

#[tokio::test]
async fn openai_says_it_by_type_and_code() {
    let error = |status: u16, kind: &str, code: Value, param: Value, message: &str| {
        Answer::json(status, json!({"error": {"message": message, "type": kind, "param": param, "code": code}}))
    };
    let bad = "invalid_request_error";
    let rows = [
        (
            error(400, bad, Value::Null, Value::Null, "We could not parse the JSON body of your request."),
            "invalid_parameter",
        ),
        (
            error(
                400,
                bad,
                json!("missing_required_parameter"),
                json!("prompt"),
                "Missing required parameter: 'prompt'.",
            ),
            "invalid_parameter",
        ),
        (error(400, bad, json!("invalid_type"), json!("n"), "Invalid type for 'n'"), "invalid_parameter"),
        (error(400, bad, json!("invalid_value"), json!("size"), "Invalid value: 'x'."), "invalid_parameter"),
        (error(400, bad, json!("integer_above_max_value"), json!("n"), "Invalid 'n'"), "invalid_parameter"),
        (error(400, bad, json!("string_above_max_length"), json!("prompt"), "Invalid 'prompt'"), "invalid_parameter"),
        (
            error(400, bad, json!("unknown_parameter"), json!("quality"), "Unknown parameter: 'quality'."),
            "invalid_parameter",
        ),
        (error(400, bad, json!("unsupported_parameter"), json!("seed"), "Unsupported parameter"), "invalid_parameter"),
        (error(400, bad, json!("unsupported_value"), json!("background"), "Unsupported value"), "invalid_parameter"),
        (
            error(400, bad, json!("invalid_image_url"), Value::Null, "Error while downloading https://x.test/a."),
            "invalid_parameter",
        ),
        (error(400, bad, json!("unsupported_file"), json!("file"), "m"), "invalid_parameter"),
        (
            error(
                400,
                "image_generation_user_error",
                json!("moderation_blocked"),
                Value::Null,
                "Your request was rejected by the safety system.",
            ),
            "content_policy_violation",
        ),
        (
            error(
                400,
                "image_generation_user_error",
                json!("invalid_image_file"),
                json!("images[0].image_url"),
                "Invalid image data.",
            ),
            "invalid_parameter",
        ),
        (error(400, bad, json!("content_policy_violation"), Value::Null, "m"), "content_policy_violation"),
        (
            error(400, bad, json!("billing_hard_limit_reached"), Value::Null, "Billing hard limit has been reached"),
            "provider_quota_exhausted",
        ),
        (
            error(400, bad, json!("model_not_found"), json!("model"), "The requested model 'x' does not exist."),
            "model_not_found",
        ),
        (error(401, bad, Value::Null, Value::Null, "You didn't provide an API key."), "provider_auth_error"),
        (
            error(401, bad, json!("invalid_api_key"), Value::Null, "Incorrect API key provided: sk-wrong****-key."),
            "provider_auth_error",
        ),
        (
            error(401, bad, json!("invalid_organization"), Value::Null, "No such organization: org-x."),
            "provider_auth_error",
        ),
        (error(401, bad, json!("ip_not_authorized"), Value::Null, "m"), "provider_auth_error"),
        (
            error(403, bad, Value::Null, Value::Null, "You are not allowed to sample from this model"),
            "provider_auth_error",
        ),
        (
            error(
                403,
                bad,
                json!("model_not_found"),
                Value::Null,
                "Project `proj_x` does not have access to model `m`",
            ),
            "provider_auth_error",
        ),
        (
            error(
                403,
                "request_forbidden",
                json!("unsupported_country_region_territory"),
                Value::Null,
                "Country not supported",
            ),
            "provider_auth_error",
        ),
        (
            error(
                404,
                bad,
                json!("model_not_found"),
                Value::Null,
                "The model `nope` does not exist or you do not have access to it.",
            ),
            "model_not_found",
        ),
        (error(404, bad, Value::Null, Value::Null, "Invalid URL (POST /v1/foo)"), "invalid_parameter"),
        (error(405, bad, json!("method_not_supported"), Value::Null, "Not allowed to GET"), "provider_error"),
        (error(408, "", Value::Null, Value::Null, "timeout"), "provider_timeout"),
        (error(409, "conflict", Value::Null, Value::Null, "resource was updated"), "provider_error"),
        (
            error(
                413,
                "server_error",
                Value::Null,
                Value::Null,
                "Maximum content size limit (26214400) exceeded (26228340 bytes read)",
            ),
            "context_length_exceeded",
        ),
        (
            error(415, bad, json!("unsupported_content_type"), Value::Null, "Unsupported content type: 'x'."),
            "invalid_parameter",
        ),
        (error(422, bad, Value::Null, Value::Null, "cannot be followed"), "invalid_parameter"),
        (
            error(429, "requests", json!("rate_limit_exceeded"), Value::Null, "Rate limit reached on images per min"),
            "provider_rate_limited",
        ),
        (
            error(
                429,
                "tokens",
                json!("rate_limit_exceeded"),
                Value::Null,
                "Request too large for gpt-image-2 on tokens per min",
            ),
            "provider_rate_limited",
        ),
        (
            error(
                429,
                "insufficient_quota",
                json!("insufficient_quota"),
                Value::Null,
                "You exceeded your current quota",
            ),
            "provider_quota_exhausted",
        ),
        (error(429, "", json!("slow_down"), Value::Null, "m"), "provider_rate_limited"),
        (error(500, "server_error", Value::Null, Value::Null, "The server had an error"), "provider_error"),
        (Answer::of_type("text/html", "<html>502</html>").status(502), "provider_error"),
        (Answer::of_type("text/html", "<html>504</html>").status(504), "provider_timeout"),
        (
            error(503, "service_unavailable_error", json!("server_is_overloaded"), Value::Null, "overloaded"),
            "provider_overloaded",
        ),
        (
            error(503, "server_error", Value::Null, Value::Null, "That model is currently overloaded"),
            "provider_overloaded",
        ),
        // Successes that are none.
        (error(200, "server_error", Value::Null, Value::Null, "The server had an error"), "provider_error"),
        (Answer::of_type("text/html", "<html>login</html>"), "provider_error"),
    ];
    let turn = Turn::new().await;
    turn.play("openai images", &rows, picture("openai-image")).await;
    turn.play("dall-e", &rows, picture("dall-e-3")).await;
    turn.play("openai speech", &rows, speech("openai-tts")).await;
    turn.play("openai transcripts", &rows, transcript).await;
    turn.play("openai edits", &rows, async |world: &World| {
        let fields: [(&str, &[u8]); 3] =
            [("model", b"openai-image"), ("prompt", b"a"), ("image=a.png", b"\x89PNG\r\n\x1a\n")];
        let body = form(&fields);
        world.send("/v1/images/edits", "multipart/form-data; boundary=b0", http_body_util::Full::from(body)).await
    })
    .await;
    let url = async |world: &World| {
        world.images(&json!({"model": "openai-image", "prompt": "a", "response_format": "url"})).await
    };
    turn.play("openai images, inlined", &rows[..40], url).await;
}

#[tokio::test]
async fn google_says_it_by_status_details_and_endings() {
    let error = |status: u16, name: &str, message: &str| {
        Answer::json(status, json!({"error": {"code": status, "message": message, "status": name}}))
    };
    let detailed = |status: u16, name: &str, detail: Value| {
        Answer::json(status, json!([{"error": {"code": status, "message": "m", "status": name, "details": [detail]}}]))
    };
    let rows = [
        (error(400, "INVALID_ARGUMENT", "Unknown name \"x\""), "invalid_parameter"),
        (
            error(
                400,
                "INVALID_ARGUMENT",
                "The input token count (9) exceeds the maximum number of tokens allowed (1).",
            ),
            "context_length_exceeded",
        ),
        (
            detailed(
                400,
                "INVALID_ARGUMENT",
                json!({"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}),
            ),
            "provider_auth_error",
        ),
        (error(400, "INVALID_ARGUMENT", "API key expired. Please renew the API key."), "provider_auth_error"),
        (error(400, "FAILED_PRECONDITION", "User location is not supported for the API use."), "provider_rejected"),
        (
            error(400, "FAILED_PRECONDITION", "The free tier is not available in your country. Please enable billing."),
            "provider_quota_exhausted",
        ),
        (error(400, "OUT_OF_RANGE", "seed"), "invalid_parameter"),
        (error(401, "UNAUTHENTICATED", "m"), "provider_auth_error"),
        (error(403, "PERMISSION_DENIED", "m"), "provider_auth_error"),
        (error(404, "NOT_FOUND", "models/x is not found for API version v1beta"), "model_not_found"),
        (error(409, "ABORTED", "m"), "provider_error"),
        (error(413, "", "m"), "request_too_large"),
        (error(429, "RESOURCE_EXHAUSTED", "Resource has been exhausted (e.g. check quota)."), "provider_rate_limited"),
        (detailed(429, "RESOURCE_EXHAUSTED", json!({"retryDelay": "26s"})), "provider_rate_limited"),
        (error(499, "CANCELLED", "m"), "provider_error"),
        (error(500, "INTERNAL", "m"), "provider_error"),
        (error(501, "UNIMPLEMENTED", "m"), "provider_error"),
        (error(503, "UNAVAILABLE", "The model is overloaded."), "provider_overloaded"),
        (error(504, "DEADLINE_EXCEEDED", "m"), "provider_timeout"),
        (Answer::of_type("text/html", "<html>").status(502), "provider_error"),
        // Successes that are none.
        (
            Answer::json(200, json!({"error": {"status": "RESOURCE_EXHAUSTED", "message": "m"}})),
            "provider_rate_limited",
        ),
        (Answer::json(200, "{}"), "provider_error"),
        (Answer::json(200, "<html>"), "provider_error"),
    ];
    let turn = Turn::new().await;
    turn.play("gemini", &rows, picture("google-image")).await;
    let imagen = &rows[..rows.len() - 2];
    turn.play("imagen", imagen, picture("imagen")).await;
    let ends = |reason: &str| {
        Answer::json(200, json!({"candidates": [{"content": {"parts": [{"text": "no"}]}, "finishReason": reason}]}))
    };
    let blocked = |reason: &str| Answer::json(200, json!({"promptFeedback": {"blockReason": reason}}));
    let rows = [
        (ends("IMAGE_SAFETY"), "content_policy_violation"),
        (ends("SAFETY"), "content_policy_violation"),
        (ends("PROHIBITED_CONTENT"), "content_policy_violation"),
        (ends("IMAGE_PROHIBITED_CONTENT"), "content_policy_violation"),
        (ends("RECITATION"), "content_policy_violation"),
        (ends("IMAGE_RECITATION"), "content_policy_violation"),
        (ends("NO_IMAGE"), "provider_error"),
        (ends("IMAGE_OTHER"), "provider_error"),
        (ends("STOP"), "provider_error"),
        (ends("A_WORD_OF_TOMORROW"), "provider_error"),
        (blocked("SAFETY"), "content_policy_violation"),
        (blocked("OTHER"), "content_policy_violation"),
        (blocked("PROHIBITED_CONTENT"), "content_policy_violation"),
        (Answer::json(200, r#"{"candidates":[]}"#), "provider_error"),
        (Answer::json(200, r#"{"candidates":[{"content":{}}]}"#), "provider_error"),
        (Answer::json(200, r#"{"candidates":[{"content":null,"finishReason":null}]}"#), "provider_error"),
        (
            Answer::json(
                200,
                r#"{"candidates":[{"content":{"parts":[{"inlineData":{"mimeType":"image/png","data":""}}]}}]}"#,
            ),
            "provider_error",
        ),
        (
            Answer::json(200, r#"{"candidates":[{"content":{"parts":[{"inlineData":{"mimeType":"image/png"}}]}}]}"#),
            "provider_error",
        ),
    ];
    turn.play("gemini", &rows, picture("google-image")).await;
    let rows = [
        (Answer::json(200, "{}"), "content_policy_violation"),
        (Answer::json(200, r#"{"predictions":[]}"#), "content_policy_violation"),
        (Answer::json(200, r#"{"predictions":[{"raiFilteredReason":"why"}]}"#), "content_policy_violation"),
        (Answer::json(200, r#"{"predictions":[{"gcsUri":"gs://a"}]}"#), "provider_error"),
    ];
    turn.play("imagen", &rows, picture("imagen")).await;
}

#[tokio::test]
async fn what_was_made_beside_a_refusal_is_given_billed_and_told() {
    let picture = "aGk=";
    for (model, n, body) in [
        (
            "minimax-image",
            3,
            json!({"data": {"image_base64": [picture, picture]}, "metadata": {"success_count": "2", "failed_count": "1"}}),
        ),
        (
            "minimax-image",
            3,
            json!({"data": {"image_base64": [picture, picture], "image_urls": null, "failed_count": 1}, "base_resp": null}),
        ),
        (
            "imagen",
            3,
            json!({"predictions": [{"bytesBase64Encoded": picture}, {"raiFilteredReason": "why"},
                {"bytesBase64Encoded": picture, "mimeType": "image/webp"}]}),
        ),
    ] {
        let answer = Answer::json(200, &body);
        let world = world("", move |_| answer.clone()).await;
        let request = json!({"model": model, "prompt": "a", "n": n, "response_format": "b64_json"});
        let reply = world.images(&request).await;
        let value = reply.json();
        assert_eq!(value["data"], json!([{"b64_json": picture}, {"b64_json": picture}]), "{model} {:?}", reply.bytes);
        assert_eq!(value["warnings"].as_array().unwrap().len(), 1, "{model}: {value}");
        let record = world.records().await.pop().unwrap();
        assert_eq!((record.usage.images, record.outcome, record.estimated), (2, Some(Outcome::Completed), false));
        assert!(record.cost.as_nanos() > 0);
    }
}
