use http::{HeaderMap, StatusCode};

use crate::base::error::{Code, Origin};

use super::*;

fn fault(status: u16, body: &str) -> Error {
    let error = Anthropic.fault(StatusCode::from_u16(status).unwrap(), &HeaderMap::new(), body.as_bytes());
    assert_eq!(error.origin(), Origin::Provider);
    assert!(!error.message().is_empty());
    error
}

fn typed(kind: &str, message: &str) -> String {
    json!({"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}).to_string()
}

#[test]
fn every_answer_of_the_vendor_has_its_code() {
    const INVALID: &str = "invalid_request_error";
    for (status, kind, message, code) in [
        (401, "authentication_error", "invalid x-api-key", Code::ProviderAuthError),
        (403, "permission_error", "no", Code::ProviderAuthError),
        (402, "billing_error", "pay", Code::ProviderQuotaExhausted),
        (400, INVALID, "Your credit balance is too low to access the Anthropic API.", Code::ProviderQuotaExhausted),
        (400, INVALID, "prompt is too long: 213000 tokens > 200000 maximum", Code::ContextLengthExceeded),
        (400, INVALID, "Output blocked by content filtering policy", Code::ContentPolicyViolation),
        (400, INVALID, "messages.0: Input does not match the expected shape.", Code::InvalidParameter),
        (400, INVALID, "This model does not support effort level 'xhigh'.", Code::ProviderRejected),
        (404, "not_found_error", "model: claude-x", Code::ModelNotFound),
        (404, "not_found_error", "Not found", Code::ProviderRejected),
        (413, "request_too_large", "Request exceeds the maximum size", Code::RequestTooLarge),
        (429, "rate_limit_error", "slow down", Code::ProviderRateLimited),
        (500, "api_error", "Internal server error", Code::ProviderError),
        (500, "overloaded_error", "Overloaded", Code::ProviderOverloaded),
        (503, "", "", Code::ProviderOverloaded),
        (504, "timeout_error", "late", Code::ProviderTimeout),
        (529, "overloaded_error", "Overloaded", Code::ProviderOverloaded),
        (409, "conflict_error", "again", Code::ProviderError),
    ] {
        assert_eq!(fault(status, &typed(kind, message)).code(), code, "{status} {message}");
    }
}

#[test]
fn an_answer_that_is_not_the_apis_goes_by_its_status() {
    for body in ["<html>too large</html>", "", "{\"error\":\"text\"}", "null"] {
        assert_eq!(fault(413, body).code(), Code::RequestTooLarge);
        assert_eq!(fault(502, body).code(), Code::ProviderError);
    }
}

#[test]
fn credentials_troubles_are_told_to_the_operator_alone() {
    let error = fault(401, &typed("authentication_error", "invalid x-api-key sk-ant-1"));
    assert!(!error.message().contains("x-api-key"));
    assert!(error.operator_cause().unwrap().contains("x-api-key"));
}

#[test]
fn a_retired_model_names_the_key_to_change() {
    let error = fault(404, &typed("not_found_error", "model: claude-3-opus-20240229"));
    assert!(error.message().contains(r#"[models."…"].upstream"#) && error.message().contains("claude-3-opus-20240229"));
    assert_eq!(error.param_name(), Some("model"));
}

#[test]
fn an_exhausted_plan_is_no_rate_whatever_its_status() {
    let details = json!({"error_code": "enforced_spend_limit_reached"});
    let body = json!({"error": {"type": "rate_limit_error", "message": "limit", "details": details}});
    assert_eq!(fault(429, &body.to_string()).code(), Code::ProviderQuotaExhausted);
}

#[test]
fn the_vendors_own_retry_time_is_kept() {
    let wait = |name: &'static str, value: &'static str| {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        let body = typed("rate_limit_error", "slow down");
        Anthropic.fault(StatusCode::TOO_MANY_REQUESTS, &headers, body.as_bytes()).wait().map(|wait| wait.as_millis())
    };
    assert_eq!(wait("retry-after", "12"), Some(12_000));
    assert_eq!(wait("retry-after-ms", "250"), Some(250));
    assert_eq!(wait("retry-after", "Wed, 21 Oct 2026 07:28:00 GMT"), None);
    assert_eq!(wait("retry-after", "-1"), None);
}
