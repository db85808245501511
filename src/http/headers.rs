//! Headers that this crate reads and writes, and the request id that travels with a request.

use http::{HeaderMap, HeaderName, HeaderValue, Request};

use crate::base::id::RequestId;

/// `x-request-id`
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// `retry-after-ms`
pub const RETRY_AFTER_MS: HeaderName = HeaderName::from_static("retry-after-ms");
/// `x-should-retry`
pub const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");
/// `x-kancy-dropped`: request fields that the vendor does not have.
pub const DROPPED: HeaderName = HeaderName::from_static("x-kancy-dropped");

/// The request's id: the one in its extensions, else the caller's or a minted one, put there for the layers below.
///
/// Also says whether this call put it there: whoever did sets it on the response.
pub(crate) fn request_id<B>(request: &mut Request<B>) -> (RequestId, bool) {
    if let Some(id) = request.extensions().get::<RequestId>() {
        return (id.clone(), false);
    }
    let id = RequestId::accept(request.headers().get(REQUEST_ID));
    request.extensions_mut().insert(id.clone());
    (id, true)
}

/// Sets `x-request-id`.
pub(crate) fn set_request_id(headers: &mut HeaderMap, id: &RequestId) {
    if let Ok(value) = HeaderValue::from_str(id.as_str()) {
        headers.insert(REQUEST_ID, value);
    }
}

/// The vendor's own id of a request, under the names that vendors give it.
pub fn upstream_request_id(headers: &HeaderMap) -> Option<&str> {
    const NAMES: [&str; 6] =
        ["x-request-id", "request-id", "apim-request-id", "x-dashscope-call-gateway", "trace-id", "x-tt-logid"];
    NAMES.iter().find_map(|name| headers.get(*name)?.to_str().ok().filter(|id| (1..=256).contains(&id.len())))
}

/// Whether the request speaks gRPC.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(http::header::CONTENT_TYPE).is_some_and(|v| v.as_bytes().starts_with(b"application/grpc"))
}

/// `nanos` as Go's `time.Duration` prints it, at millisecond grain: `250ms`, `1.5s`, `6m0s`, `1h0m0s`. Rounded up.
pub fn go_duration(wait: std::time::Duration) -> String {
    let millis = u64::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
    if millis == 0 {
        return "0s".to_owned();
    }
    if millis < 1_000 {
        return format!("{millis}ms");
    }
    let (seconds, rest) = (millis / 1_000, millis % 1_000);
    let mut text = String::new();
    if seconds >= 3_600 {
        text.push_str(&format!("{}h", seconds / 3_600));
    }
    if seconds >= 60 {
        text.push_str(&format!("{}m", seconds / 60 % 60));
    }
    text.push_str(&(seconds % 60).to_string());
    if rest > 0 {
        text.push('.');
        text.push_str(format!("{rest:03}").trim_end_matches('0'));
    }
    text.push('s');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn durations_read_as_go_prints_them() {
        for (millis, want) in [
            (0, "0s"),
            (6, "6ms"),
            (250, "250ms"),
            (1_000, "1s"),
            (8_640, "8.64s"),
            (360_000, "6m0s"),
            (864_000, "14m24s"),
            (5_400_000, "1h30m0s"),
        ] {
            assert_eq!(go_duration(Duration::from_millis(millis)), want);
        }
        assert_eq!(go_duration(Duration::from_nanos(1)), "1ms");
    }
}
