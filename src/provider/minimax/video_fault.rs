//! What MiniMax's errors mean: a status code inside an answer that HTTP calls a success, or HTTP's own.

use serde_json::Value;

use crate::base::error::{Code, Error};
use crate::provider::video::{Answer, has_error, text};
use crate::wire::vendor_error::{VendorError, retry_after};

use super::fault::meaning;

/// The error in `answer`, where it holds one.
pub(super) fn of(answer: &Answer) -> Result<(), Error> {
    let value = answer.json();
    let inner = number(&value);
    if answer.status.is_success() && inner == 0 && !has_error(&value) {
        return Ok(());
    }
    let code = if inner == 0 { by_status(answer.status.as_u16()) } else { meaning(inner) };
    Err(made(VendorError::of_value(&value), code, answer))
}

/// Why a job failed, by the code in its query.
pub(super) fn of_job(answer: &Answer) -> Error {
    let value = answer.json();
    match number(&value) {
        inner if inner != 0 => made(VendorError::of_value(&value), meaning(inner), answer),
        _ => Error::provider(Code::ProviderError, "The provider could not make this video."),
    }
}

/// The status code inside; 0 is fine.
fn number(value: &Value) -> i64 {
    text(value, "/base_resp/status_code").parse().unwrap_or(0)
}

fn made(vendor: VendorError, code: Code, answer: &Answer) -> Error {
    let error = vendor.into_error(code);
    match retry_after(&answer.headers).filter(|_| code == Code::ProviderRateLimited) {
        Some(wait) => error.retry_after(wait),
        None => error,
    }
}

const fn by_status(status: u16) -> Code {
    match status {
        400 | 422 => Code::InvalidParameter,
        401 | 403 => Code::ProviderAuthError,
        402 => Code::ProviderQuotaExhausted,
        404 | 413 | 415 => Code::ProviderRejected,
        408 | 504 => Code::ProviderTimeout,
        429 => Code::ProviderRateLimited,
        503 | 529 => Code::ProviderOverloaded,
        _ => Code::ProviderError,
    }
}
