//! What the OpenAI-shaped vendors' errors mean: the one table from their words to our codes.

use http::{HeaderMap, StatusCode};

use crate::base::error::{Code, Error};
use crate::wire::vendor_error::{VendorError, retry_after};

use super::dialect::Dialect;

use Code::{
    ContentPolicyViolation as Policy, ContextLengthExceeded as TooLong, InvalidParameter as Parameter,
    ModelNotFound as NoModel, ProviderAuthError as Auth, ProviderError as Failed, ProviderModelUnavailable as Closed,
    ProviderOverloaded as Overloaded, ProviderQuotaExhausted as Exhausted, ProviderRateLimited as RateLimited,
    ProviderRejected as Rejected, ProviderTimeout as TimedOut,
};

/// Parts of a vendor's `code` (or else its `type`) in lower case without punctuation, so that `DataInspectionFailed` and
/// `data_inspection_failed` are one row. The first row that fits wins.
const NAMED: &[(&str, Code)] = &[
    ("insufficientquota", Exhausted),
    ("exceededcurrentquota", Exhausted),
    ("quotaexceeded", Exhausted),
    ("setlimitexceeded", Exhausted),
    ("freetieronly", Exhausted),
    ("arrearage", Exhausted),
    ("overdue", Exhausted),
    ("insufficientbalance", Exhausted),
    ("billinghardlimit", Exhausted),
    ("billingnotactive", Exhausted),
    ("overloaded", Overloaded),
    ("modelunavailable", Overloaded),
    ("modelservingerror", Overloaded),
    ("invalidapikey", Auth),
    ("incorrectapikey", Auth),
    ("apikeyinvalid", Auth),
    ("authenticationerror", Auth),
    ("authorizederror", Auth),
    ("accessdenied", Auth),
    ("accountstatus", Auth),
    ("operationdenied", Auth),
    ("invalidorganization", Auth),
    ("ratelimit", RateLimited),
    ("throttling", RateLimited),
    ("toomanyrequests", RateLimited),
    ("slowdown", RateLimited),
    ("burst", RateLimited),
    ("limitrequests", RateLimited),
    ("timeout", TimedOut),
    ("closedendpoint", Closed),
    ("invalidendpointormodel", NoModel),
    ("modelnotfound", NoModel),
    ("modelnotopen", NoModel),
    ("unsupportedmodel", NoModel),
    ("invalidmodel", NoModel),
    ("deploymentnotfound", NoModel),
    ("resourcenotfound", NoModel),
    ("datainspectionfailed", Policy),
    ("sensitivecontent", Policy),
    ("riskdetection", Policy),
    ("contentfilter", Policy),
    ("contentpolicy", Policy),
    ("biopolicy", Policy),
    ("moderationblocked", Policy),
    ("contextlength", TooLong),
    ("contextwindow", TooLong),
    ("imagefile", Parameter),
    ("imagetoo", Parameter),
    ("imageparse", Parameter),
    ("downloadimage", Parameter),
];

/// Parts of a message in lower case, for vendors whose codes say too little.
const SAID: &[(&str, Code)] = &[
    ("insufficient balance", Exhausted),
    ("insufficient_balance", Exhausted),
    ("credit balance is too low", Exhausted),
    ("arrearage", Exhausted),
    ("exceeded current quota", Exhausted),
    ("quota exhausted", Exhausted),
    ("api key not valid", Auth),
    ("api key expired", Auth),
    ("api_key_invalid", Auth),
    ("incorrect api key", Auth),
    ("invalid api key", Auth),
    ("invalid api-key", Auth),
    ("model not exist", NoModel),
    ("model does not exist", NoModel),
    ("considered high risk", Policy),
    ("content management policy", Policy),
    ("safety system", Policy),
    ("maximum context length", TooLong),
    ("context window", TooLong),
    ("model token limit", TooLong),
    ("token length too long", TooLong),
    ("range of input length", TooLong),
];

/// What an answer that is no success means.
pub(super) fn of_answer(dialect: Dialect, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Error {
    let said = VendorError::parse(body);
    let code = classify(dialect, Some(status.as_u16()), &said);
    let error = said.into_error(code);
    match retry_after(headers).filter(|_| code == RateLimited) {
        Some(wait) => error.retry_after(wait),
        None => error,
    }
}

/// What an error inside an answer means that began as a success.
pub(super) fn of_event(dialect: Dialect, data: &[u8]) -> Error {
    let said = VendorError::parse(data);
    let code = classify(dialect, said.status, &said);
    said.into_error(code)
}

fn classify(dialect: Dialect, status: Option<u16>, said: &VendorError) -> Code {
    match (status, named(dialect, said)) {
        (_, Some(code @ (Exhausted | Overloaded))) => code,
        (Some(402), _) => Exhausted,
        (Some(401 | 403 | 407), _) | (_, Some(Auth)) => Auth,
        (Some(429), _) => RateLimited,
        (Some(503 | 529), _) => Overloaded,
        (Some(408 | 504), _) => TimedOut,
        (Some(400 | 404 | 413 | 415 | 422), Some(code @ (NoModel | Closed | Policy | TooLong))) => code,
        (Some(status @ (400 | 404 | 413 | 415 | 422)), _) => rejected(status, said),
        (Some(_), Some(TimedOut)) => TimedOut,
        (Some(_), _) => Failed,
        (None, Some(code)) => code,
        (None, None) if is_about_parameters(said) => Parameter,
        (None, None) => Failed,
    }
}

fn named(dialect: Dialect, said: &VendorError) -> Option<Code> {
    let by_name = |name: &str| {
        let name: String = name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
        if dialect.means_rate(&name) {
            return Some(RateLimited);
        }
        NAMED.iter().find(|(part, _)| name.contains(part)).map(|(_, code)| *code)
    };
    let by_message = || {
        let message = said.message.to_ascii_lowercase();
        SAID.iter().find(|(part, _)| message.contains(part)).map(|(_, code)| *code)
    };
    by_name(&said.code).or_else(|| by_name(&said.kind)).or_else(by_message)
}

/// A request that the vendor refused for a reason with no name of its own.
fn rejected(status: u16, said: &VendorError) -> Code {
    match status {
        413 => TooLong,
        404 if said.param == "model" || said.message.to_ascii_lowercase().contains("model") => NoModel,
        _ if is_about_parameters(said) => Parameter,
        _ => Rejected,
    }
}

fn is_about_parameters(said: &VendorError) -> bool {
    let name = if said.code.is_empty() { &said.kind } else { &said.code };
    let name = name.to_ascii_lowercase();
    !said.param.is_empty() || ["invalid", "missing", "unsupported", "unknown"].iter().any(|part| name.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meant(dialect: Dialect, status: u16, body: &str) -> Error {
        of_answer(dialect, StatusCode::from_u16(status).unwrap(), &HeaderMap::new(), body.as_bytes())
    }

    /// `{"error":{…}}` with this code, type and message.
    fn body(code: &str, kind: &str, message: &str) -> String {
        serde_json::json!({"error": {"code": code, "type": kind, "message": message, "param": ""}}).to_string()
    }

    #[test]
    fn every_row_of_the_table_is_reachable_by_its_own_words() {
        for (part, code) in NAMED {
            let said = VendorError { code: (*part).to_owned(), ..VendorError::default() };
            assert_eq!(named(Dialect::OpenAi, &said), Some(*code), "{part}");
        }
        for (part, code) in SAID {
            let said = VendorError { message: part.to_uppercase(), ..VendorError::default() };
            assert_eq!(named(Dialect::OpenAi, &said), Some(*code), "{part}");
        }
    }

    #[test]
    fn vendors_codes_mean_what_the_contract_says() {
        use Dialect::{Ark, Compatible, DashScope, Moonshot, OpenAi};
        for (dialect, status, code, kind, message, want) in [
            (OpenAi, 404, "model_not_found", "invalid_request_error", "m", NoModel),
            (OpenAi, 400, "model_not_found", "invalid_request_error", "m", NoModel),
            (OpenAi, 403, "model_not_found", "invalid_request_error", "m", Auth),
            (OpenAi, 401, "invalid_api_key", "invalid_request_error", "m", Auth),
            (OpenAi, 400, "context_length_exceeded", "invalid_request_error", "m", TooLong),
            (OpenAi, 400, "moderation_blocked", "image_generation_user_error", "m", Policy),
            (OpenAi, 400, "unknown_parameter", "invalid_request_error", "m", Parameter),
            (OpenAi, 429, "rate_limit_exceeded", "tokens", "m", RateLimited),
            (OpenAi, 429, "insufficient_quota", "insufficient_quota", "m", Exhausted),
            (OpenAi, 429, "", "insufficient_quota", "m", Exhausted),
            (OpenAi, 400, "billing_hard_limit_reached", "invalid_request_error", "m", Exhausted),
            (OpenAi, 503, "", "server_error", "m", Overloaded),
            (OpenAi, 500, "", "server_error", "m", Failed),
            (OpenAi, 408, "", "", "m", TimedOut),
            (OpenAi, 409, "", "conflict", "m", Failed),
            (DashScope, 400, "Arrearage", "", "m", Exhausted),
            (DashScope, 400, "DataInspectionFailed", "", "m", Policy),
            (DashScope, 400, "data_inspection_failed", "data_inspection_failed", "m", Policy),
            (DashScope, 429, "insufficient_quota", "insufficient_quota", "m", RateLimited),
            (DashScope, 429, "Throttling.AllocationQuota", "", "m", RateLimited),
            (DashScope, 403, "AllocationQuota.FreeTierOnly", "", "m", Exhausted),
            (DashScope, 500, "RequestTimeOut", "", "m", TimedOut),
            (DashScope, 503, "ModelServingError", "", "m", Overloaded),
            (DashScope, 400, "invalid_parameter_error", "invalid_request_error", "m", Parameter),
            (Moonshot, 401, "", "invalid_authentication_error", "m", Auth),
            (Moonshot, 403, "", "exceeded_current_quota_error", "m", Exhausted),
            (Moonshot, 429, "", "exceeded_current_quota_error", "m", Exhausted),
            (Moonshot, 429, "", "engine_overloaded_error", "m", Overloaded),
            (Moonshot, 429, "", "rate_limit_reached_error", "m", RateLimited),
            (Moonshot, 404, "", "resource_not_found_error", "Not found the model x or Permission denied", NoModel),
            (Moonshot, 400, "", "content_filter", "m", Policy),
            (Moonshot, 400, "", "invalid_request_error", "Your request exceeded model token limit : 8192", TooLong),
            (Ark, 400, "InvalidParameter", "BadRequest", "m", Parameter),
            (Ark, 400, "InputTextSensitiveContentDetected", "BadRequest", "m", Policy),
            (Ark, 400, "SensitiveContentDetected.SevereViolation", "BadRequest", "m", Policy),
            (Ark, 403, "AccountOverdueError", "Forbidden", "m", Exhausted),
            (Ark, 404, "InvalidEndpointOrModel.NotFound", "NotFound", "m", NoModel),
            (Ark, 404, "ModelNotOpen", "NotFound", "m", NoModel),
            (Ark, 429, "ServerOverloaded", "TooManyRequests", "m", Overloaded),
            (Ark, 429, "SetLimitExceeded", "TooManyRequests", "m", Exhausted),
            (Ark, 429, "ModelAccountTpmRateLimitExceeded", "TooManyRequests", "m", RateLimited),
            (Ark, 429, "RequestBurstTooFast", "TooManyRequests", "m", RateLimited),
            (Compatible, 402, "", "", "m", Exhausted),
            (Compatible, 413, "rate_limit_exceeded", "tokens", "m", TooLong),
            (Compatible, 400, "tool_use_failed", "invalid_request_error", "m", Rejected),
            (Compatible, 400, "invalid-argument", "", "Incorrect API key provided.", Auth),
            (Compatible, 418, "", "", "m", Failed),
        ] {
            let error = meant(dialect, status, &body(code, kind, message));
            assert_eq!(error.code(), want, "{dialect:?} {status} {code} {kind}");
            assert!(!error.message().is_empty());
        }
    }

    #[test]
    fn an_unknown_model_names_the_setting_that_fixes_it() {
        let error = meant(
            Dialect::Ark,
            404,
            &body("InvalidEndpointOrModel.NotFound", "NotFound", "The model or endpoint x does not exist"),
        );
        assert!(error.message().contains("[models.\"…\"].upstream"), "{}", error.message());
        assert_eq!(error.param_name(), Some("model"));
    }

    #[test]
    fn the_field_at_fault_is_passed_on_and_an_empty_one_is_not() {
        let with =
            r#"{"error":{"message":"m","param":"tools[0].function.parameters","code":"invalid_function_parameters"}}"#;
        assert_eq!(meant(Dialect::OpenAi, 400, with).param_name(), Some("tools[0].function.parameters"));
        assert_eq!(meant(Dialect::Ark, 400, &body("InvalidParameter", "BadRequest", "m")).param_name(), None);
    }

    #[test]
    fn only_a_rate_limit_carries_the_vendors_retry_time() {
        let headers: HeaderMap =
            [(http::header::RETRY_AFTER, http::HeaderValue::from_static("7"))].into_iter().collect();
        let wait = |status| of_answer(Dialect::OpenAi, status, &headers, b"{}").wait();
        assert_eq!(wait(StatusCode::TOO_MANY_REQUESTS), Some(std::time::Duration::from_secs(7)));
        assert_eq!(wait(StatusCode::INTERNAL_SERVER_ERROR), None);
    }

    #[test]
    fn an_error_inside_a_success_goes_by_the_status_that_it_names() {
        for (data, want) in [
            (r#"{"error":{"message":"m","code":502}}"#, Failed),
            (r#"{"error":{"message":"m","code":429}}"#, RateLimited),
            (r#"{"error":{"message":"m","code":"tool_use_failed","status_code":400}}"#, Rejected),
            (r#"{"error":{"message":"m","code":"content_filter","status":400}}"#, Policy),
            (r#"{"error":{"message":"m","type":"rate_limit_error"}}"#, RateLimited),
            (r#"{"error":"text"}"#, Failed),
            (r#"{"base_resp":{"status_code":1028,"status_msg":"Daily quota exhausted for image-01"}}"#, Exhausted),
        ] {
            assert_eq!(of_event(Dialect::Compatible, data.as_bytes()).code(), want, "{data}");
        }
    }
}
