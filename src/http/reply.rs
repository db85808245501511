//! How a failure looks on the wire: the OpenAI envelope, the SSE event, the gRPC headers.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use serde_json::json;

use crate::base::clock::Timestamp;
use crate::base::error::{Error, Origin};
use crate::base::id::RequestId;
use crate::base::log;
use crate::domain::caller::{Asks, Caller};

use super::body::ResponseBody;
use super::headers::{
    REQUEST_ID, RETRY_AFTER_MS, SHOULD_RETRY, is_grpc, known_request_id, request_id, set_request_id, speaks_grpc,
};

/// To whom a reply goes: taken from the request before it is handed on.
#[derive(Clone, Debug)]
pub(crate) struct ReplyTo {
    request_id: RequestId,
    grpc: bool,
    owns_id: bool,
}

/// The headers of a request that tell how to reply, for whoever walks through all of them anyway.
#[derive(Default)]
pub(crate) struct ReplyHeaders<'a> {
    content_type: Option<&'a HeaderValue>,
    request_id: Option<&'a HeaderValue>,
}

impl<'a> ReplyHeaders<'a> {
    /// Takes a header, if it is one of them.
    pub(crate) fn take(&mut self, name: &HeaderName, value: &'a HeaderValue) -> bool {
        let place = match name {
            name if *name == CONTENT_TYPE => &mut self.content_type,
            name if *name == REQUEST_ID => &mut self.request_id,
            _ => return false,
        };
        place.get_or_insert(value);
        true
    }
}

impl ReplyTo {
    pub(crate) fn of<B>(request: &mut Request<B>) -> Self {
        if let Some(Asks { request_id, by_grpc }) = request.extensions().get::<Caller>().and_then(Caller::asks) {
            return Self { request_id: request_id.clone(), grpc: *by_grpc, owns_id: false };
        }
        let grpc = is_grpc(request.headers());
        let (request_id, owns_id) = request_id(request);
        Self { request_id, grpc, owns_id }
    }

    /// For a layer that tells the layers below of the id by the [`Caller`], and has looked at the headers and the clock.
    pub(crate) fn find<B>(request: &Request<B>, headers: &ReplyHeaders<'_>, now: Timestamp) -> Self {
        let known = known_request_id(request).cloned();
        let (grpc, owns_id) = (headers.content_type.is_some_and(speaks_grpc), known.is_none());
        let request_id = known.unwrap_or_else(|| RequestId::accept_at(headers.request_id, now));
        Self { request_id, grpc, owns_id }
    }

    /// What those below are told.
    pub(crate) fn asks(&self) -> Asks {
        Asks { request_id: self.request_id.clone(), by_grpc: self.grpc }
    }

    pub(crate) fn request_id(&self) -> &RequestId {
        &self.request_id
    }

    /// A response that tells the caller of `error`.
    pub(crate) fn error<B>(&self, error: &Error) -> Response<ResponseBody<B>> {
        if error.origin() == Origin::Gateway
            && error.operator_cause().is_some()
            && error.code().status().is_server_error()
        {
            log::failed(&self.request_id, error);
        }
        let mut response = if self.grpc { self.grpc_error(error) } else { self.json_error(error) };
        retry_headers(error, response.headers_mut());
        set_request_id(response.headers_mut(), &self.request_id);
        response
    }

    /// Sets `x-request-id` on the inner service's response, where this layer was the first to know the id.
    pub(crate) fn stamp<B>(&self, response: &mut Response<B>) {
        if self.owns_id {
            set_request_id(response.headers_mut(), &self.request_id);
        }
    }

    fn json_error<B>(&self, error: &Error) -> Response<ResponseBody<B>> {
        let mut response = Response::new(ResponseBody::reply(envelope(error, &self.request_id)));
        *response.status_mut() = error.code().status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if error.code().status() == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(methods) = error.allowed_methods() {
            headers.insert(ALLOW, HeaderValue::from_static(methods));
        }
        response
    }

    fn grpc_error<B>(&self, error: &Error) -> Response<ResponseBody<B>> {
        let mut response = Response::new(ResponseBody::reply(Bytes::new()));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert("grpc-status", HeaderValue::from(error.code().grpc() as u16));
        let message = format!("{}: {}", error.code().as_str(), error.message());
        if let Ok(value) = HeaderValue::from_str(&percent(&message)) {
            headers.insert("grpc-message", value);
        }
        response
    }
}

/// The envelope's JSON.
pub(crate) fn envelope(error: &Error, request_id: &RequestId) -> Bytes {
    let mut inner = json!({
        "message": error.message(),
        "type": error.code().kind(),
        "param": error.param_name(),
        "code": error.code().as_str(),
        "origin": error.origin().as_str(),
        "request_id": request_id.as_str(),
    });
    if let Some(limit) = error.refused_limit() {
        inner["limit"] = json!(limit);
    }
    json!({ "error": inner }).to_string().into()
}

/// The event that ends a stream which had begun.
pub(crate) fn error_event(error: &Error, request_id: &RequestId) -> Bytes {
    let mut event = b"data: ".to_vec();
    event.extend_from_slice(&envelope(error, request_id));
    event.extend_from_slice(b"\n\n");
    event.into()
}

/// `retry-after`, `retry-after-ms`, `x-should-retry`.
fn retry_headers(error: &Error, headers: &mut HeaderMap) {
    const LONGEST: Duration = Duration::from_secs(60);
    if let Some(wait) = error.wait() {
        let millis = u64::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
        headers.insert(RETRY_AFTER, HeaderValue::from(millis.div_ceil(1_000).max(1)));
        headers.insert(RETRY_AFTER_MS, HeaderValue::from(millis));
    }
    let too_long = error.wait().is_some_and(|wait| wait > LONGEST).then_some(false);
    if let Some(retry) = error.retry_hint().or(too_long) {
        headers.insert(SHOULD_RETRY, HeaderValue::from_static(if retry { "true" } else { "false" }));
    }
}

/// gRPC's percent encoding of a message.
fn percent(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut out, byte| {
        match byte {
            b'%' => out.push_str("%25"),
            0x20..=0x7e => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::error::Code;

    #[test]
    fn a_wait_is_told_in_whole_seconds_rounded_up_and_in_milliseconds() {
        let told = |wait| {
            let mut headers = HeaderMap::new();
            retry_headers(&Error::new(Code::RateLimitExceeded, "slow down").retry_after(wait), &mut headers);
            let text = |name: &str| headers.get(name).map(|v| v.to_str().unwrap().to_owned());
            (text("retry-after"), text("retry-after-ms"), text("x-should-retry"))
        };
        assert_eq!(told(Duration::from_nanos(1)), (Some("1".into()), Some("1".into()), None));
        assert_eq!(told(Duration::from_millis(1_001)), (Some("2".into()), Some("1001".into()), None));
        assert_eq!(told(Duration::from_millis(60_001)).2, Some("false".into()));
    }

    #[test]
    fn grpc_messages_are_percent_encoded() {
        assert_eq!(percent("50% of\nü"), "50%25 of%0A%C3%BC");
    }
}
