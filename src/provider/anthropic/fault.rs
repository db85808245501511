//! What the vendor's errors mean, whether they come as an answer or inside a stream.

use http::{HeaderMap, StatusCode};
use serde_json::Value;

use crate::base::error::{Code, Error};
use crate::wire::vendor_error::{VendorError, is_truthy, retry_after};

/// The error of an answer that is no success.
pub(super) fn of_answer(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Error {
    let (error, reason) = match serde_json::from_slice(body) {
        Ok(body) => read(&body),
        // What stands before the vendor answers in HTML.
        Err(_) => (VendorError::parse(body), String::new()),
    };
    let code = code(status.as_u16(), &error, &reason);
    let error = error.into_error(code);
    match (code, retry_after(headers)) {
        (Code::ProviderRateLimited | Code::ProviderOverloaded, Some(wait)) => error.retry_after(wait),
        _ => error,
    }
}

/// The error that an event, or a body under status 200, holds; `None` where it holds none.
pub(super) fn in_stream(body: &Value) -> Option<Error> {
    if !is_truthy(&body["error"]) {
        return None;
    }
    let (error, reason) = read(body);
    let status = match error.kind.as_str() {
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
    let code = code(status, &error, &reason);
    Some(error.into_error(code))
}

/// The error, and the vendor's stable name for its reason where it gives one.
fn read(body: &Value) -> (VendorError, String) {
    let reason = body["error"]["details"]["error_code"].as_str().unwrap_or_default();
    (VendorError::of_value(body), reason.to_owned())
}

fn code(status: u16, error: &VendorError, reason: &str) -> Code {
    let message = error.message.to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
    if reason.ends_with("spend_limit_reached")
        || says(&["credit balance is too low", "reached your specified api usage limits"])
    {
        return Code::ProviderQuotaExhausted;
    }
    if reason.starts_with("organization_") || reason.starts_with("linked_organization_") {
        return Code::ProviderAuthError;
    }
    if error.kind == "overloaded_error" {
        return Code::ProviderOverloaded;
    }
    match status {
        401 | 403 => Code::ProviderAuthError,
        402 => Code::ProviderQuotaExhausted,
        404 if message.starts_with("model:") => Code::ModelNotFound,
        413 => Code::RequestTooLarge,
        400 | 404 | 415 | 422 if says(&["prompt is too long", "exceed context limit"]) => Code::ContextLengthExceeded,
        400 | 404 | 415 | 422 if says(&["content filtering policy", "usage policy"]) => Code::ContentPolicyViolation,
        400 | 422 if names_a_field(&message) => Code::InvalidParameter,
        400 | 404 | 415 | 422 => Code::ProviderRejected,
        429 => Code::ProviderRateLimited,
        408 | 504 => Code::ProviderTimeout,
        503 | 529 => Code::ProviderOverloaded,
        _ => Code::ProviderError,
    }
}

/// `messages.0.content: …`
fn names_a_field(message: &str) -> bool {
    let head = message.split_once(':').map_or("", |(head, _)| head);
    !head.is_empty() && !head.contains(' ')
}
