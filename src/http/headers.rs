//! Headers that this crate reads and writes, and the request id that travels with a request.

use std::fmt;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Request};

use crate::base::id::RequestId;
use crate::domain::caller::Caller;

/// `x-request-id`
pub static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// `retry-after-ms`
pub const RETRY_AFTER_MS: HeaderName = HeaderName::from_static("retry-after-ms");
/// `x-should-retry`
pub const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");
/// `grpc-status`
pub const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
/// `x-accel-buffering`
pub const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
/// `x-kancy-dropped`: request fields that the vendor does not have.
pub const DROPPED: HeaderName = HeaderName::from_static("x-kancy-dropped");

/// The request's id, where a layer further out has found one.
pub(crate) fn known_request_id<B>(request: &Request<B>) -> Option<&RequestId> {
    let extensions = request.extensions();
    extensions.get::<Caller>().and_then(Caller::request_id).or_else(|| extensions.get::<RequestId>())
}

/// The same, else the caller's or a minted one, which goes into the extensions for the layers below. Also says whether this
/// call is the first to know it: whoever is sets it on the response.
pub(crate) fn request_id<B>(request: &mut Request<B>) -> (RequestId, bool) {
    if let Some(id) = known_request_id(request) {
        return (id.clone(), false);
    }
    let id = RequestId::accept(request.headers().get(&REQUEST_ID));
    request.extensions_mut().insert(id.clone());
    (id, true)
}

/// Sets `x-request-id`, unless it is told already.
pub(crate) fn set_request_id(headers: &mut HeaderMap, id: &RequestId) {
    let id = id.id().as_bytes();
    if headers.get(&REQUEST_ID).is_some_and(|told| told.as_bytes() == id) {
        return;
    }
    if let Ok(value) = HeaderValue::from_bytes(id) {
        headers.insert(&REQUEST_ID, value);
    }
}

/// The headers of an answer to a caller, with room for all that the layers add: the map must not grow on its way out.
pub fn answer_headers(content_type: HeaderValue) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(12);
    headers.insert(http::header::CONTENT_TYPE, content_type);
    headers
}

/// The vendor's own id of a request, under the names that vendors give it.
pub fn upstream_request_id(headers: &HeaderMap) -> Option<&str> {
    static NAMES: [HeaderName; 6] = [
        HeaderName::from_static("x-request-id"),
        HeaderName::from_static("request-id"),
        HeaderName::from_static("apim-request-id"),
        HeaderName::from_static("x-dashscope-call-gateway"),
        HeaderName::from_static("trace-id"),
        HeaderName::from_static("x-tt-logid"),
    ];
    NAMES.iter().find_map(|name| headers.get(name)?.to_str().ok().filter(|id| (1..=256).contains(&id.len())))
}

/// Whether the request speaks gRPC.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(http::header::CONTENT_TYPE).is_some_and(speaks_grpc)
}

/// Whether this content type is one of gRPC's.
pub(crate) fn speaks_grpc(content_type: &HeaderValue) -> bool {
    content_type.as_bytes().starts_with(b"application/grpc")
}

/// Shows a duration as Go's `time.Duration` prints it, at millisecond grain: `250ms`, `1.5s`, `6m0s`, `1h0m0s`. Rounded up.
#[derive(Clone, Copy, Debug)]
pub struct GoDuration(pub Duration);

impl GoDuration {
    /// Writes it out. Quicker than its `Display`, which comes to the same.
    pub(crate) fn write(&self, f: &mut impl fmt::Write) -> fmt::Result {
        let millis = self.0.subsec_nanos().div_ceil(1_000_000);
        let millis = self.0.as_secs().saturating_mul(1_000).saturating_add(millis.into());
        match millis {
            0 => return f.write_str("0s"),
            1..1_000 => {
                f.write_str(itoa::Buffer::new().format(millis))?;
                return f.write_str("ms");
            }
            _ => {}
        }
        let (seconds, rest) = (millis / 1_000, millis % 1_000);
        let mut whole = |number: u64, unit| {
            f.write_str(itoa::Buffer::new().format(number))?;
            f.write_str(unit)
        };
        if seconds >= 3_600 {
            whole(seconds / 3_600, "h")?;
        }
        if seconds >= 60 {
            whole(seconds / 60 % 60, "m")?;
        }
        whole(seconds % 60, "")?;
        match rest {
            0 => {}
            rest if rest % 100 == 0 => write!(f, ".{}", rest / 100)?,
            rest if rest % 10 == 0 => write!(f, ".{:02}", rest / 10)?,
            rest => write!(f, ".{rest:03}")?,
        }
        f.write_str("s")
    }
}

impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_go_prints_them() {
        for (millis, want) in [
            (0, "0s"),
            (6, "6ms"),
            (250, "250ms"),
            (1_000, "1s"),
            (1_007, "1.007s"),
            (8_640, "8.64s"),
            (8_600, "8.6s"),
            (360_000, "6m0s"),
            (864_000, "14m24s"),
            (5_400_000, "1h30m0s"),
        ] {
            assert_eq!(GoDuration(Duration::from_millis(millis)).to_string(), want);
        }
        assert_eq!(GoDuration(Duration::from_nanos(1)).to_string(), "1ms");
    }
}
