//! What MiniMax's error numbers mean, in `base_resp` of any answer, and the errors of its newer routes.

use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::Value;

use crate::base::error::{Code, Error};
use crate::wire::vendor_error::{VendorError, retry_after};

/// `base_resp`: 0 is success.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct BaseResp {
    /// A number, or a text of one.
    status_code: Value,
    status_msg: Option<String>,
}

impl BaseResp {
    /// The failure that it tells of, if it does.
    pub(super) fn check(&self) -> Result<(), Error> {
        let number = match &self.status_code {
            Value::Null => Some(0),
            Value::String(text) => text.parse().ok(),
            other => other.as_i64(),
        };
        if number == Some(0) {
            return Ok(());
        }
        let message = self.status_msg.clone().unwrap_or_default();
        let said = VendorError { code: self.status_code.to_string(), message, ..VendorError::default() };
        Err(said.into_error(number.map_or(Code::ProviderError, meaning)))
    }
}

/// What an answer that is no success means.
pub(super) fn answered(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Error {
    let said = VendorError::parse(body);
    let code = match (numbered(&said), status.as_u16()) {
        (Some(number), _) if number != 0 => meaning(number),
        (_, 402) => Code::ProviderQuotaExhausted,
        (_, 401 | 403) => Code::ProviderAuthError,
        (_, 429) => Code::ProviderRateLimited,
        (_, 503 | 529) => Code::ProviderOverloaded,
        (_, 408 | 504) => Code::ProviderTimeout,
        (_, 413) => Code::RequestTooLarge,
        (_, 400 | 404 | 415 | 422) => Code::ProviderRejected,
        _ => Code::ProviderError,
    };
    let error = said.into_error(code);
    match retry_after(headers).filter(|_| code == Code::ProviderRateLimited) {
        Some(wait) => error.retry_after(wait),
        None => error,
    }
}

/// The number as `base_resp` has it, or in brackets within the message, as the newer routes write it.
fn numbered(said: &VendorError) -> Option<i64> {
    let in_brackets = || {
        let (_, rest) = said.message.rsplit_once('(')?;
        rest.split_once(')').and_then(|(number, _)| number.parse().ok())
    };
    said.code.parse().ok().or_else(in_brackets).filter(|number| *number >= 1_000)
}

/// The one table of the vendor's numbers.
pub(super) fn meaning(number: i64) -> Code {
    match number {
        1001 => Code::ProviderTimeout,
        1002 | 1039 | 1041 | 2045 => Code::ProviderRateLimited,
        1004 | 2038 | 2049 => Code::ProviderAuthError,
        1008 | 1028 | 1030 | 2056 => Code::ProviderQuotaExhausted,
        1026 | 1027 => Code::ContentPolicyViolation,
        1042..=1044 | 2013 | 2037 | 2039 | 2042 | 2048 => Code::InvalidParameter,
        2061 => Code::ProviderModelUnavailable,
        _ => Code::ProviderError,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_of_the_vendors_table_has_its_meaning() {
        use Code::{
            ContentPolicyViolation as Policy, InvalidParameter as Parameter, ProviderAuthError as Auth,
            ProviderError as Failed, ProviderModelUnavailable as NoModel, ProviderQuotaExhausted as Exhausted,
            ProviderRateLimited as RateLimited, ProviderTimeout as TimedOut,
        };
        for (numbers, want) in [
            (&[1000, 1013, 1024, 1033, 7777][..], Failed),
            (&[1001], TimedOut),
            (&[1002, 1039, 1041, 2045], RateLimited),
            (&[1004, 2038, 2049], Auth),
            (&[1008, 1028, 1030, 2056], Exhausted),
            (&[1026, 1027], Policy),
            (&[1042, 1043, 1044, 2013, 2037, 2039, 2042, 2048], Parameter),
            (&[2061], NoModel),
        ] {
            for number in numbers {
                let base = BaseResp { status_code: (*number).into(), status_msg: None };
                assert_eq!(base.check().unwrap_err().code(), want, "{number}");
                let body = format!(r#"{{"base_resp":{{"status_code":{number},"status_msg":"m"}}}}"#);
                let error = answered(StatusCode::INTERNAL_SERVER_ERROR, &HeaderMap::new(), body.as_bytes());
                assert_eq!(error.code(), want, "{number}");
            }
        }
        assert!(BaseResp::default().check().is_ok());
    }

    #[test]
    fn the_newer_routes_errors_are_read_by_number_and_else_by_status() {
        for (status, body, want) in [
            (
                500,
                r#"{"type":"error","error":{"type":"t","message":"insufficient balance (1008)","http_code":"500"}}"#,
                Code::ProviderQuotaExhausted,
            ),
            (
                400,
                r#"{"type":"error","error":{"type":"t","message":"invalid params (2013)","http_code":"400"}}"#,
                Code::InvalidParameter,
            ),
            (
                401,
                r#"{"type":"error","error":{"type":"authorized_error","message":"login fail"}}"#,
                Code::ProviderAuthError,
            ),
            (429, "{}", Code::ProviderRateLimited),
            (404, "{}", Code::ProviderRejected),
            (503, "<html>", Code::ProviderOverloaded),
            (500, "", Code::ProviderError),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(answered(status, &HeaderMap::new(), body.as_bytes()).code(), want, "{body}");
        }
    }
}
