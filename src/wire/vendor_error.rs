//! What vendors' error bodies have in common.
//!
//! Their shapes are many: `{"error":{…}}`, `{"error":"text"}`, `{"code":…,"message":…}`, `{"detail":…}`, `{"base_resp":…}`,
//! a web page of some proxy. [`VendorError::parse`] reads them all; which [`Code`] it means is each vendor's own table.

use std::time::Duration;

use http::HeaderMap;
use serde_json::Value;

use crate::base::error::{Code, Error};
use crate::domain::window;

use super::scrub::scrub;

/// A vendor's error as it says it itself; a part that it does not say is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VendorError {
    /// Its `code`, numbers as text.
    pub code: String,
    /// Its `type`.
    pub kind: String,
    /// What it says to people. Not yet fit to be shown: [`into_error`](Self::into_error) cleans it.
    pub message: String,
    /// The field at fault.
    pub param: String,
    /// The HTTP status that the body itself names: what counts where the answer's own was 200.
    pub status: Option<u16>,
}

impl VendorError {
    /// Reads an error body of any shape.
    pub fn parse(body: &[u8]) -> Self {
        match serde_json::from_slice(body) {
            Ok(value) => Self::of_value(&value),
            Err(_) => {
                let text = String::from_utf8_lossy(body);
                let markup = text.trim_start().starts_with('<');
                Self { message: if markup { String::new() } else { text.trim().to_owned() }, ..Self::default() }
            }
        }
    }

    /// Reads an error that has been parsed.
    pub fn of_value(value: &Value) -> Self {
        if let Some(text) = value.as_str() {
            return Self { message: text.to_owned(), ..Self::default() };
        }
        let inner = ["error", "base_resp"].iter().filter_map(|key| value.get(key)).find(|inner| is_truthy(inner));
        match inner {
            Some(Value::String(text)) => Self { message: text.clone(), ..Self::of_object(value) },
            Some(inner) => Self::of_object(inner),
            None => Self::of_object(value),
        }
    }

    fn of_object(value: &Value) -> Self {
        let text = |keys: &[&str]| {
            keys.iter().map(|key| plain(&value[*key])).find(|text| !text.is_empty()).unwrap_or_default()
        };
        let code = text(&["code"]);
        let status = ["status", "status_code", "http_code", "raw_status_code", "code"]
            .iter()
            .find_map(|key| plain(&value[*key]).parse().ok().filter(|status| (400..600).contains(status)));
        Self {
            code: if code.is_empty() { text(&["status_code"]) } else { code },
            kind: text(&["type"]),
            message: text(&["message", "status_msg", "msg", "detail"]),
            param: text(&["param"]),
            status,
        }
    }

    /// The failure that the caller sees.
    ///
    /// What concerns the operator's own account (a bad credential, an empty balance) is told to the caller in general
    /// terms alone; the vendor's words become the operator's cause.
    pub fn into_error(self, code: Code) -> Error {
        let said = scrub(&self.message);
        let message = match code {
            Code::ProviderAuthError => {
                return Error::provider(
                    code,
                    "The provider refused the gateway's credential or access. The gateway's operator has to correct it; a retry does not help.",
                )
                .cause(self.cause(&said));
            }
            Code::ProviderQuotaExhausted => {
                return Error::provider(
                    code,
                    "The gateway's account with the provider is exhausted or in arrears. Its operator has to settle that; a retry does not help.",
                )
                .cause(self.cause(&said));
            }
            Code::ModelNotFound => format!(
                "The provider does not offer this model to the gateway; its operator names the provider's id in [models.\"…\"].upstream. {said}"
            ),
            _ if said.is_empty() => "The provider answered with an error and no message.".to_owned(),
            _ => said,
        };
        let error = Error::provider(code, message.trim_end().to_owned());
        match (code, self.param.is_empty()) {
            (Code::ModelNotFound, _) => error.param("model"),
            (_, false) if code.status().is_client_error() => error.param(scrub(&self.param)),
            _ => error,
        }
    }

    fn cause(&self, said: &str) -> String {
        [scrub(&self.code).as_str(), scrub(&self.kind).as_str(), said]
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join(": ")
    }
}

/// Whether an `error` member says that there is an error: `null`, `false`, `""` and `{}` do not.
pub fn is_truthy(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::String(text) => !text.is_empty(),
        Value::Object(members) => !members.is_empty(),
        _ => true,
    }
}

/// When the vendor wants us back: `retry-after-ms`, else `retry-after` in seconds or as a date, which is measured by the
/// vendor's own clock, its `date`.
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    let number = |name: &str| text(name)?.parse::<f64>().ok();
    if let Some(seconds) = number("retry-after-ms").map(|ms| ms / 1_000.0).or_else(|| number("retry-after")) {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let seconds = http_date(text("retry-after")?)?.saturating_sub(http_date(text("date")?)?);
    Some(Duration::from_secs(seconds))
}

/// The seconds since 1970 that an HTTP date stands for: `Wed, 21 Oct 2026 07:28:00 GMT`.
fn http_date(text: &str) -> Option<u64> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let mut words = text.strip_suffix(" GMT")?.split_once(", ")?.1.split([' ', ':']);
    let mut word = || words.next();
    let number = |word: Option<&str>| word?.parse::<u64>().ok();
    let day = number(word())?;
    let month = word().and_then(|month| MONTHS.iter().position(|name| *name == month))? as u64 + 1;
    let year = number(word())?;
    let (hour, minute, second) = (number(word())?, number(word())?, number(word())?);
    let plausible =
        (1970..10_000).contains(&year) && (1..=31).contains(&day) && hour < 24 && minute < 60 && second <= 60;
    plausible.then(|| (window::days(year, month) + day - 1) * 86_400 + hour * 3_600 + minute * 60 + second)
}

/// A string, or a number as text.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Array(_) | Value::Object(_) => value.to_string(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_of_error_body_is_read() {
        for (body, code, kind, message, status) in [
            (r#"{"error":{"message":"m","type":"t","param":null,"code":"c"}}"#, "c", "t", "m", None),
            (r#"{"error":{"message":"m","code":429}}"#, "429", "", "m", Some(429)),
            (r#"{"error":"text"}"#, "", "", "text", None),
            (r#"{"code":"invalid-argument","error":"text"}"#, "invalid-argument", "", "text", None),
            (r#"{"code":"InvalidApiKey","message":"m","request_id":"r"}"#, "InvalidApiKey", "", "m", None),
            (r#"{"message":"m"}"#, "", "", "m", None),
            (r#"{"detail":"Invalid API Key"}"#, "", "", "Invalid API Key", None),
            (r#"{"base_resp":{"status_code":1028,"status_msg":"m"}}"#, "1028", "", "m", None),
            (r#"{"type":"error","error":{"type":"t","message":"m","http_code":"400"}}"#, "", "t", "m", Some(400)),
            (r#""text""#, "", "", "text", None),
            ("upstream connect error", "", "", "upstream connect error", None),
            ("<html><body>502</body></html>", "", "", "", None),
            ("", "", "", "", None),
            ("[]", "", "", "", None),
        ] {
            let error = VendorError::parse(body.as_bytes());
            assert_eq!(
                (error.code.as_str(), error.kind.as_str(), error.message.as_str(), error.status),
                (code, kind, message, status),
                "{body}"
            );
        }
    }

    #[test]
    fn the_callers_message_is_never_empty_and_a_credential_fault_tells_the_operator_alone() {
        let error = VendorError::parse(b"").into_error(Code::ProviderError);
        assert!(!error.message().is_empty());
        let error = VendorError::parse(
            br#"{"error":{"message":"Incorrect API key provided: upstream-secret","code":"invalid_api_key"}}"#,
        )
        .into_error(Code::ProviderAuthError);
        assert!(!error.message().contains("upstream-secret"));
        assert_eq!(error.operator_cause(), Some("invalid_api_key: Incorrect API key provided: [secret]"));
    }

    #[test]
    fn retry_times_are_read_in_both_units() {
        let read = |pairs: &[(&'static str, &'static str)]| {
            retry_after(
                &pairs
                    .iter()
                    .map(|(n, v)| (http::HeaderName::from_static(n), http::HeaderValue::from_static(v)))
                    .collect(),
            )
        };
        assert_eq!(read(&[("retry-after", "2")]), Some(Duration::from_secs(2)));
        assert_eq!(read(&[("retry-after", "20"), ("retry-after-ms", "1.5")]), Some(Duration::from_micros(1_500)));
        let date = |after, now| read(&[("retry-after", after), ("date", now)]);
        let (eve, new_year) = ("Thu, 31 Dec 2026 23:59:30 GMT", "Fri, 01 Jan 2027 00:00:05 GMT");
        assert_eq!(date(new_year, eve), Some(Duration::from_secs(35)));
        assert_eq!(date(eve, new_year), Some(Duration::ZERO));
        assert_eq!(date("Fri, 99 Foo 2027 00:00:05 GMT", eve), None);
        assert_eq!(http_date("Thu, 01 Jan 1970 00:00:01 GMT"), Some(1));
        for none in ["Wed, 21 Oct 2026 07:28:00 GMT", "-1", "NaN", "soon", ""] {
            assert_eq!(read(&[("retry-after", none)]), None);
        }
    }
}
