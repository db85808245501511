//! What Google's error answers mean: `google.rpc.Status` under a key `error`, sometimes in an array of one.

use std::borrow::Cow;
use std::time::Duration;

use http::{HeaderMap, StatusCode};
use serde::Deserialize;

use crate::base::error::{Code, Error};
use crate::wire::vendor_error::{VendorError, retry_after};

/// An error answer's body.
#[derive(Debug, Default, Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    error: Option<Status<'a>>,
}

/// `google.rpc.Status` in JSON.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Status<'a> {
    code: Option<u16>,
    #[serde(borrow, default)]
    message: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    status: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    details: Vec<Detail<'a>>,
}

/// One of the details; of each kind the fields that matter.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Detail<'a> {
    /// Of `ErrorInfo`.
    #[serde(borrow)]
    reason: Option<Cow<'a, str>>,
    /// Of `RetryInfo`: `26s`, `0.5s`.
    #[serde(borrow)]
    retry_delay: Option<Cow<'a, str>>,
}

/// An error answer of its own.
pub(super) fn answered(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Error {
    // The array first: a list can pass for a struct's fields.
    let read = serde_json::from_slice::<[Envelope<'_>; 1]>(body)
        .map(|[only]| only)
        .or_else(|_| serde_json::from_slice::<Envelope<'_>>(body));
    let error = read.ok().and_then(|e| e.error).unwrap_or_default();
    mean(status.as_u16(), &error, retry_after(headers))
}

/// An error inside an answer that began as a success.
pub(super) fn inside(error: &Status<'_>) -> Error {
    mean(error.code.unwrap_or_else(|| status_of(error.status.as_deref().unwrap_or_default())), error, None)
}

fn mean(status: u16, error: &Status<'_>, wait: Option<Duration>) -> Error {
    let message = error.message.as_deref().unwrap_or_default();
    let kind = error.status.as_deref().unwrap_or_default();
    let code = code(status, error, &message.to_ascii_lowercase());
    let vendor = VendorError { kind: kind.to_owned(), message: message.to_owned(), ..VendorError::default() };
    let made = vendor.into_error(code);
    match wait.or_else(|| error.details.iter().find_map(|d| seconds(d.retry_delay.as_deref()?))) {
        Some(wait) if matches!(code, Code::ProviderRateLimited | Code::ProviderOverloaded) => made.retry_after(wait),
        _ => made,
    }
}

fn code(status: u16, error: &Status<'_>, message: &str) -> Code {
    let named = error.status.as_deref().unwrap_or_default();
    let bad_key = error.details.iter().any(|d| d.reason.as_deref() == Some("API_KEY_INVALID"))
        || ["api key not valid", "api key not found", "api key expired"].iter().any(|text| message.contains(text));
    match (status, named) {
        _ if bad_key => Code::ProviderAuthError,
        (402, _) => Code::ProviderQuotaExhausted,
        (400, "FAILED_PRECONDITION") if message.contains("billing") => Code::ProviderQuotaExhausted,
        (401 | 403, _) => Code::ProviderAuthError,
        (429, _) => Code::ProviderRateLimited,
        (503, _) | (_, "UNAVAILABLE") => Code::ProviderOverloaded,
        (408 | 504, _) => Code::ProviderTimeout,
        (413, _) => Code::RequestTooLarge,
        (404, _) if message.contains("model") => Code::ModelNotFound,
        (400 | 422, _) if message.contains("token count") && message.contains("exceeds the maximum") => {
            Code::ContextLengthExceeded
        }
        (400 | 422, "INVALID_ARGUMENT" | "OUT_OF_RANGE") => Code::InvalidParameter,
        (400 | 404 | 415 | 422, _) => Code::ProviderRejected,
        _ => Code::ProviderError,
    }
}

/// The HTTP status that goes with the name of a `google.rpc.Code`.
fn status_of(name: &str) -> u16 {
    match name {
        "INVALID_ARGUMENT" | "FAILED_PRECONDITION" | "OUT_OF_RANGE" => 400,
        "UNAUTHENTICATED" => 401,
        "PERMISSION_DENIED" => 403,
        "NOT_FOUND" => 404,
        "RESOURCE_EXHAUSTED" => 429,
        "UNAVAILABLE" => 503,
        "DEADLINE_EXCEEDED" => 504,
        _ => 500,
    }
}

/// A `google.protobuf.Duration` in JSON.
fn seconds(text: &str) -> Option<Duration> {
    text.strip_suffix('s')?.parse().ok().and_then(|s: f64| Duration::try_from_secs_f64(s).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(status: u16, body: &str) -> Error {
        answered(StatusCode::from_u16(status).unwrap(), &HeaderMap::new(), body.as_bytes())
    }

    #[test]
    fn a_bad_key_is_the_gateways_fault_though_google_calls_it_a_400() {
        let error = fault(
            400,
            r#"{"error":{"code":400,"message":"API key AIzaSy123 not valid.","status":"INVALID_ARGUMENT","details":[
                {"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"API_KEY_INVALID","metadata":{"service":"x"}}]}}"#,
        );
        assert_eq!(error.code(), Code::ProviderAuthError);
        assert!(!error.message().contains("AIza"));
        let error = fault(400, r#"{"error":{"message":"API key expired. Please renew the API key."}}"#);
        assert_eq!(error.code(), Code::ProviderAuthError);
    }

    #[test]
    fn a_rate_limit_keeps_googles_own_retry_time_and_has_none_without_it() {
        let error = fault(
            429,
            r#"{"error":{"code":429,"message":"quota","status":"RESOURCE_EXHAUSTED","details":[{"@type":"x","violations":[]},
                {"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"34.4s"}]}}"#,
        );
        assert_eq!((error.code(), error.wait()), (Code::ProviderRateLimited, Some(Duration::from_millis(34_400))));
        assert_eq!(fault(429, r#"{"error":{"message":"Resource has been exhausted"}}"#).wait(), None);
        let headers = HeaderMap::from_iter([(http::header::RETRY_AFTER, "12".parse().unwrap())]);
        let error = answered(StatusCode::TOO_MANY_REQUESTS, &headers, b"<html>");
        assert_eq!(error.wait(), Some(Duration::from_secs(12)));
    }

    #[test]
    fn each_status_is_of_its_class() {
        for (status, body, want) in [
            (
                503,
                r#"[{"error":{"code":503,"status":"UNAVAILABLE","message":"The model is overloaded."}}]"#,
                Code::ProviderOverloaded,
            ),
            (500, r#"{"error":{"code":500,"status":"INTERNAL","message":"An internal error"}}"#, Code::ProviderError),
            (504, r#"{"error":{"status":"DEADLINE_EXCEEDED","message":"Deadline"}}"#, Code::ProviderTimeout),
            (403, r#"{"error":{"status":"PERMISSION_DENIED","message":"disabled"}}"#, Code::ProviderAuthError),
            (404, r#"{"error":{"status":"NOT_FOUND","message":"models/x is not found"}}"#, Code::ModelNotFound),
            (404, "<html>not found</html>", Code::ProviderRejected),
            (
                400,
                r#"{"error":{"status":"INVALID_ARGUMENT","message":"The input token count (9) exceeds the maximum number of tokens allowed (1)."}}"#,
                Code::ContextLengthExceeded,
            ),
            (400, r#"{"error":{"status":"INVALID_ARGUMENT","message":"Unknown name"}}"#, Code::InvalidParameter),
            (
                400,
                r#"{"error":{"status":"FAILED_PRECONDITION","message":"User location is not supported"}}"#,
                Code::ProviderRejected,
            ),
            (413, "", Code::RequestTooLarge),
            (502, "<html>", Code::ProviderError),
        ] {
            let error = fault(status, body);
            assert_eq!(error.code(), want, "{body}");
            assert!(!error.message().is_empty());
        }
    }

    #[test]
    fn an_error_inside_an_answer_goes_by_its_name_where_it_has_no_number() {
        for (name, want) in [
            ("RESOURCE_EXHAUSTED", Code::ProviderRateLimited),
            ("UNAVAILABLE", Code::ProviderOverloaded),
            ("DEADLINE_EXCEEDED", Code::ProviderTimeout),
            ("PERMISSION_DENIED", Code::ProviderAuthError),
            ("UNAUTHENTICATED", Code::ProviderAuthError),
            ("INVALID_ARGUMENT", Code::InvalidParameter),
            ("INTERNAL", Code::ProviderError),
            ("", Code::ProviderError),
        ] {
            let status = Status { status: Some(name.into()), ..Status::default() };
            assert_eq!(inside(&status).code(), want, "{name}");
        }
    }

    #[test]
    fn an_unknown_model_names_the_setting() {
        let error = fault(
            404,
            r#"{"error":{"status":"NOT_FOUND","message":"models/x is not found. See https://x.dev/?key=1"}}"#,
        );
        assert!(error.message().contains("[models.\"…\"].upstream") && !error.message().contains("://"), "{error}");
    }
}
