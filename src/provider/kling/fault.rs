//! What Kling's numbers mean: its 429 may be an account in arrears, which is nothing that a caller could wait for.

use serde_json::Value;

use crate::base::error::{Code, Error};
use crate::provider::video::{Answer, has_error, text};
use crate::wire::vendor_error::{VendorError, retry_after};

/// The number in an answer; 0 is fine.
pub(super) fn number(value: &Value) -> i64 {
    text(value, "/code").parse().unwrap_or(0)
}

/// The error in `answer`, where it holds one.
pub(super) fn of(answer: &Answer) -> Result<(), Error> {
    let value = answer.json();
    let number = number(&value);
    if answer.status.is_success() && number == 0 && !has_error(&value) {
        return Ok(());
    }
    let code = match (number, answer.status.as_u16()) {
        (1000..=1004 | 1100 | 1304, _) => Code::ProviderAuthError,
        (1101 | 1102, _) => Code::ProviderQuotaExhausted,
        (1103, _) => Code::ProviderModelUnavailable,
        (1200 | 1201, _) => Code::InvalidParameter,
        (1202, _) => Code::ProviderError,
        (1203, _) => Code::ModelNotFound,
        (1300 | 1301, _) => Code::ContentPolicyViolation,
        (1302 | 1303, _) => Code::ProviderRateLimited,
        (5001, _) | (_, 503) => Code::ProviderOverloaded,
        (5002, _) | (_, 408 | 504) => Code::ProviderTimeout,
        (_, 401 | 403) => Code::ProviderAuthError,
        (_, 429) => Code::ProviderRateLimited,
        (_, 400 | 404 | 413 | 415 | 422) => Code::ProviderRejected,
        _ => Code::ProviderError,
    };
    let error = VendorError::of_value(&value).into_error(code);
    Err(match retry_after(&answer.headers).filter(|_| code == Code::ProviderRateLimited) {
        Some(wait) => error.retry_after(wait),
        None => error,
    })
}

/// Why a task failed: free text, in which safety has its own words.
pub(super) fn of_task(message: &str) -> Error {
    let lower = message.to_ascii_lowercase();
    let unsafe_words = ["risk control", "content", "sensitive", "policy"];
    let code = match unsafe_words.iter().any(|word| lower.contains(word)) {
        true => Code::ContentPolicyViolation,
        false => Code::ProviderError,
    };
    VendorError { message: message.to_owned(), ..VendorError::default() }.into_error(code)
}
