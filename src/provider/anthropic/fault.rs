//! What the vendor's errors mean, whether they come as an answer or inside a stream.

use std::time::Duration;

use http::{HeaderMap, StatusCode};
use serde::Deserialize;

use crate::base::error::{Code, Error};
use crate::wire::text::Text;

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    error: Option<Detail<'a>>,
}

#[derive(Default, Deserialize)]
struct Detail<'a> {
    #[serde(borrow, rename = "type", default)]
    kind: Option<Text<'a>>,
    #[serde(default)]
    message: Option<Text<'a>>,
    #[serde(default)]
    details: Option<Inner<'a>>,
}

#[derive(Deserialize)]
struct Inner<'a> {
    #[serde(borrow, default)]
    error_code: Option<Text<'a>>,
}

/// The error of an answer that is no success.
pub(super) fn of_answer(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Error {
    // What stands before the vendor answers in HTML.
    let detail = serde_json::from_slice::<Body<'_>>(body).ok().and_then(|body| body.error).unwrap_or_default();
    let error = detail.error(status.as_u16());
    match (error.code(), wait(headers)) {
        (Code::ProviderRateLimited | Code::ProviderOverloaded, Some(wait)) => error.retry_after(wait),
        _ => error,
    }
}

/// The error that an event, or a body under status 200, holds; `None` where it holds none.
pub(super) fn in_stream(data: &[u8]) -> Option<Error> {
    let detail = serde_json::from_slice::<Body<'_>>(data).ok()?.error?;
    let status = match detail.kind.as_deref().unwrap_or_default() {
        "invalid_request_error" => 400,
        "authentication_error" => 401,
        "billing_error" => 402,
        "permission_error" => 403,
        "not_found_error" => 404,
        "request_too_large" => 413,
        "rate_limit_error" => 429,
        "timeout_error" => 504,
        "overloaded_error" => 529,
        _ => 500,
    };
    Some(detail.error(status))
}

impl Detail<'_> {
    fn error(&self, status: u16) -> Error {
        let message = clean(self.message.as_deref().unwrap_or_default());
        let kind = self.kind.as_deref().unwrap_or_default();
        let cause = format!("status {status}, {kind}: {message}");
        let told = |code, text: &'static str| match message.is_empty() {
            true => Error::provider(code, text),
            false => Error::provider(code, message.clone()),
        };
        match self.code(status, &message) {
            Code::ProviderAuthError => {
                Error::provider(Code::ProviderAuthError, "The model's vendor refuses the gateway's credential.")
            }
            Code::ProviderQuotaExhausted => {
                Error::provider(Code::ProviderQuotaExhausted, "The gateway's account at the model's vendor is exhausted.")
            }
            Code::ModelNotFound => {
                let text = "The model's vendor does not have it, or no longer. Name one that it has in [models.\"…\"].upstream";
                let text = if message.is_empty() { format!("{text}.") } else { format!("{text} ({message}).") };
                Error::provider(Code::ModelNotFound, text).param("model")
            }
            Code::ProviderOverloaded => {
                Error::provider(Code::ProviderOverloaded, "The model's vendor is overloaded. Try again later.")
            }
            Code::ProviderTimeout => {
                Error::provider(Code::ProviderTimeout, "The model's vendor took too long. Stream long answers.")
            }
            Code::ProviderError => Error::provider(Code::ProviderError, "The model's vendor failed. Try again later."),
            Code::ProviderRateLimited => told(Code::ProviderRateLimited, "The model's vendor is asked too often."),
            Code::RequestTooLarge => told(Code::RequestTooLarge, "The request is larger than the model's vendor takes."),
            code => told(code, "The model's vendor refuses the request."),
        }
        .cause(cause)
    }

    fn code(&self, status: u16, message: &str) -> Code {
        let message = message.to_ascii_lowercase();
        let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
        let reason = self.details.as_ref().and_then(|d| d.error_code.as_deref()).unwrap_or_default();
        if reason.ends_with("spend_limit_reached")
            || says(&["credit balance is too low", "reached your specified api usage limits"])
        {
            return Code::ProviderQuotaExhausted;
        }
        if reason.starts_with("organization_") || reason.starts_with("linked_organization_") {
            return Code::ProviderAuthError;
        }
        if self.kind.as_deref() == Some("overloaded_error") {
            return Code::ProviderOverloaded;
        }
        match status {
            401 | 403 => Code::ProviderAuthError,
            402 => Code::ProviderQuotaExhausted,
            404 if message.starts_with("model:") => Code::ModelNotFound,
            413 => Code::RequestTooLarge,
            400 | 404 | 415 | 422 if says(&["prompt is too long", "exceed context limit"]) => {
                Code::ContextLengthExceeded
            }
            400 | 404 | 415 | 422 if says(&["content filtering policy", "usage policy"]) => {
                Code::ContentPolicyViolation
            }
            400 | 422 if names_a_field(&message) => Code::InvalidParameter,
            400 | 404 | 415 | 422 => Code::ProviderRejected,
            429 => Code::ProviderRateLimited,
            408 | 504 => Code::ProviderTimeout,
            503 | 529 => Code::ProviderOverloaded,
            _ => Code::ProviderError,
        }
    }
}

/// `messages.0.content: …`
fn names_a_field(message: &str) -> bool {
    let head = message.split_once(':').map_or("", |(head, _)| head);
    !head.is_empty() && !head.contains(' ')
}

fn wait(headers: &HeaderMap) -> Option<Duration> {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<f64>().ok();
    let seconds = number("retry-after-ms").map(|ms| ms / 1_000.0).or_else(|| number("retry-after"))?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// A vendor's message as a caller may read it.
fn clean(message: &str) -> String {
    message.chars().filter(|c| !c.is_control()).take(1_000).collect()
}
