//! What Ark's error codes mean, in an answer of their own and inside a task.

use crate::base::error::{Code, Error};
use crate::provider::video::Answer;
use crate::wire::vendor_error::{VendorError, retry_after};

/// The error that an answer is.
pub(super) fn of(answer: &Answer) -> Error {
    let vendor = VendorError::parse(&answer.body);
    let code = by_code(&vendor.code).unwrap_or_else(|| by_status(answer.status.as_u16()));
    let error = vendor.into_error(code);
    match retry_after(&answer.headers).filter(|_| code == Code::ProviderRateLimited) {
        Some(wait) => error.retry_after(wait),
        None => error,
    }
}

/// Why a task failed.
pub(super) fn of_task(task: &serde_json::Value) -> Error {
    let vendor = VendorError::of_value(task);
    let code = by_code(&vendor.code).unwrap_or(Code::ProviderError);
    vendor.into_error(code)
}

/// Codes come in families, told apart by how they begin or what they hold.
fn by_code(code: &str) -> Option<Code> {
    let begins = |heads: &[&str]| heads.iter().any(|head| code.starts_with(head));
    Some(match code {
        "" => return None,
        _ if code.contains("SensitiveContentDetected") || code.contains("RiskDetection") => {
            Code::ContentPolicyViolation
        }
        "ServerOverloaded" => Code::ProviderOverloaded,
        "SetLimitExceeded" | "AccountOverdueError" => Code::ProviderQuotaExhausted,
        _ if begins(&["OperationDenied.ServiceOverdue"]) => Code::ProviderQuotaExhausted,
        _ if begins(&["AuthenticationError", "InvalidAccountStatus", "AccessDenied", "OperationDenied"]) => {
            Code::ProviderAuthError
        }
        _ if begins(&["InvalidEndpointOrModel", "ModelNotOpen", "UnsupportedModel"]) => Code::ModelNotFound,
        _ if begins(&["InvalidEndpoint."]) => Code::ProviderModelUnavailable,
        _ if begins(&["MissingParameter", "InvalidParameter", "InvalidArgument"]) => Code::InvalidParameter,
        _ if code.contains("RateLimit") || begins(&["QuotaExceeded", "RequestBurst", "InflightBatch"]) => {
            Code::ProviderRateLimited
        }
        _ => return None,
    })
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
