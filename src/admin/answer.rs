//! What a handler answers with, and what a store's failure becomes.

use bytes::Bytes;
use http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, VARY};
use http::{HeaderValue, Response, StatusCode};
use serde_json::Value;

use crate::base::error::{Code, Error};
use crate::http::body::{CallBody, ResponseBody};
use crate::http::headers::set_request_id;
use crate::http::reply::ReplyTo;
use crate::store::error::{StoreError, StoreErrorKind};

use super::query::invalid;
use super::routes::not_found;

/// The response of both services: a reply of their own, never an inner body.
pub type Reply = Response<ResponseBody<CallBody>>;

/// A status and a JSON body.
#[derive(Debug)]
pub(super) struct Answer {
    status: StatusCode,
    body: Value,
}

impl Answer {
    pub(super) fn ok(body: Value) -> Self {
        Self { status: StatusCode::OK, body }
    }

    pub(super) fn created(body: Value) -> Self {
        Self { status: StatusCode::CREATED, body }
    }

    /// The response to whoever asked.
    pub(super) fn reply(answer: Result<Self, Error>, to: &ReplyTo) -> Reply {
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => return to.error(&error),
        };
        let mut response = Response::new(ResponseBody::reply(Bytes::from(answer.body.to_string())));
        *response.status_mut() = answer.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        // Some answers hold a key that is shown once.
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(VARY, HeaderValue::from(AUTHORIZATION));
        set_request_id(headers, to.request_id());
        response
    }
}

/// A store's failure at something that the URL or the body named; `code` is for a store that does not answer.
pub(super) fn store_failed(code: Code, error: StoreError) -> Error {
    match error.kind() {
        StoreErrorKind::NotFound => not_found(),
        StoreErrorKind::Refused => Error::new(Code::InvalidParameter, error.message().to_owned()),
        _ => Error::new(code, "The store does not answer. Try again.").cause(error.message()),
    }
}

/// A store's failure at a list, where all that it can refuse is the cursor.
pub(super) fn list_failed(code: Code, error: StoreError) -> Error {
    match error.kind() {
        StoreErrorKind::NotFound | StoreErrorKind::Refused => {
            invalid("after", "is no cursor of this list: use the `next` of the page before")
        }
        _ => store_failed(code, error),
    }
}
