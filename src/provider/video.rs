//! What a vendor of video is: an exchange of several steps, each a request to make and an answer to read.
//!
//! Create, poll, fetch, cancel: every step is a pure function from what is known to the vendor's next request, and one
//! from the vendor's answer to what it means. Who sends them, when, and how often is the business of `jobs`.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri};
use serde_json::Value;

use crate::base::clock::Timestamp;
use crate::base::error::{Code, Error};
use crate::domain::abilities::Abilities;
use crate::domain::job::Video;
use crate::domain::usage::Usage;
use crate::domain::video::{Order, VideoRequest};
use crate::http::body::CallBody;
use crate::wire::data_url::DataUrl;
use crate::wire::vendor_error::is_truthy;

use super::traits::Target;

/// A video that is to be made.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "what a codec needs of it")]
pub struct NewVideo<'a> {
    pub job_id: &'a str,
    /// The vendor's id of the model.
    pub upstream: &'a str,
    /// Prompt and pictures, as the caller wrote them.
    pub request: &'a VideoRequest,
    /// The options, settled against the model's table.
    pub order: &'a Order,
    /// Where the vendor may tell of progress.
    pub callback: Option<&'a str>,
    /// When the job is given up.
    pub deadline: Timestamp,
    pub now: Timestamp,
}

/// A vendor's whole answer, its body cut at 64 KiB (for several jobs at once, at 1 MiB).
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the parts of an answer")]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    /// The body as JSON; `null` where it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The offline provider's: nothing was asked of anybody.
    pub fn none() -> Self {
        Self { status: StatusCode::OK, headers: HeaderMap::new(), body: Bytes::new() }
    }
}

/// What a poll found.
#[derive(Clone, Debug, PartialEq)]
pub enum Seen {
    /// Still waiting at the vendor.
    Queued,
    /// At work; with the percentage, where the vendor tells one.
    Running(Option<u8>),
    /// Done.
    Completed(Vec<Video>, Usage),
    /// The vendor gave up, and why.
    Failed(Error),
    /// Cancelled at the vendor.
    Cancelled,
    /// The vendor let it lapse.
    Expired,
    /// The vendor does not know it.
    Gone,
    /// A state that the codec has no word for: the job stays as it was until its deadline.
    Unclear,
}

/// Where a finished video's bytes are.
#[derive(Clone, Debug)]
pub enum Content {
    /// The vendor must be asked for a link first; [`VideoProvider::link`] reads the answer.
    Ask(Request<CallBody>),
    /// At this link.
    At(Link),
    /// Here: the offline provider's.
    Here(Bytes),
}

/// How a job is cancelled.
#[derive(Clone, Debug)]
pub enum Cancel {
    /// The vendor must be asked; [`VideoProvider::cancelled`] reads the answer.
    Ask(Box<Request<CallBody>>),
    /// Nobody has to be asked.
    Done,
    /// The vendor has no way.
    Impossible,
}

/// A link to a video's bytes.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "a URL and what goes with it")]
pub struct Link {
    pub url: Uri,
    /// The vendor's credential, where the link needs it; never sent on to where a redirect leads.
    pub header: Option<(HeaderName, HeaderValue)>,
}

/// A vendor's codec of video jobs. Stateless; `None` for a request means that nothing has to be asked.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a codec of video jobs",
    note = "implement `VideoProvider`: how the vendor's jobs are made, polled, fetched and cancelled"
)]
pub trait VideoProvider: fmt::Debug + Send + Sync + 'static {
    /// What the vendor's model can do.
    fn abilities(&self, upstream: &str) -> Abilities;

    /// The request that makes the job.
    fn create(&self, new: &NewVideo<'_>, target: &Target) -> Result<Option<Request<CallBody>>, Error>;

    /// The vendor's handle of the job that was made. `None`: the answer is a success that names none, so that the job may
    /// have been made; an error: the vendor says that it was not.
    fn created(&self, new: &NewVideo<'_>, answer: &Answer) -> Result<Option<Arc<str>>, Error>;

    /// What the caller should know of how the codec read the request.
    fn warnings(&self, _request: &VideoRequest) -> Vec<String> {
        Vec::new()
    }

    /// By what handle a job may be found whose create was lost; `None` where the vendor has no such thing.
    fn recover(&self, job_id: &str, order: &Order) -> Option<Arc<str>>;

    /// The request that asks how the job stands.
    fn poll(&self, handle: &str, target: &Target, now: Timestamp) -> Result<Option<Request<CallBody>>, Error>;

    /// How several jobs are asked for at once, where the vendor has a way.
    fn batch(&self) -> Option<&dyn Batch> {
        None
    }

    /// What the answer says; `polls` counts the earlier ones. An error is the poll's, not the job's: it will be asked again.
    fn polled(&self, polls: u32, answer: &Answer, now: Timestamp) -> Result<Seen, Error>;

    /// Where the bytes of `video` are.
    fn content(&self, video: &Video, target: &Target, now: Timestamp) -> Result<Content, Error>;

    /// The link in the answer to [`Content::Ask`].
    fn link(&self, answer: &Answer) -> Result<Link, Error>;

    /// How the job is cancelled.
    fn cancel(&self, handle: &str, target: &Target, now: Timestamp) -> Result<Cancel, Error>;

    /// Whether the answer to a cancel says that it is done.
    fn cancelled(&self, answer: &Answer) -> bool {
        answer.status.is_success()
    }

    /// What a callback wants to be answered with, where it is a challenge.
    fn challenge(&self, _callback: &[u8]) -> Option<Bytes> {
        None
    }

    /// Hosts from which the vendor gives out videos: `host`, or `*.host` for all below it.
    fn content_hosts(&self) -> &'static [&'static str];

    /// The pace at which the vendor wants to be asked at most.
    fn pace(&self) -> Duration;
}

/// Several jobs of one vendor, asked for in one request.
pub trait Batch: Send + Sync {
    /// So many at most.
    fn most(&self) -> usize;

    /// The request that asks how these jobs stand.
    fn ask(&self, handles: &[&str], target: &Target) -> Result<Request<CallBody>, Error>;

    /// What the answer says of each. `None` for one that it does not tell of, which is then asked for alone.
    fn read(&self, handles: &[&str], answer: &Answer, now: Timestamp) -> Result<Vec<Option<Seen>>, Error>;
}

/// A JSON request to `url`, or one without a body where `body` is `null`.
pub(super) fn request(method: Method, url: Uri, auth: (HeaderName, HeaderValue), body: &Value) -> Request<CallBody> {
    let text = if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) };
    let mut request = Request::new(CallBody::from(text));
    *request.method_mut() = method;
    *request.uri_mut() = url;
    let headers = request.headers_mut();
    headers.insert(auth.0, auth.1);
    if !body.is_null() {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    request
}

/// A credential as a header value that no log shows.
pub(super) fn secret_header(name: HeaderName, text: &str) -> Result<(HeaderName, HeaderValue), Error> {
    let mut value = HeaderValue::from_str(text)
        .map_err(|_| Error::new(Code::ProviderAuthError, "The provider's credential cannot stand in a header."))?;
    value.set_sensitive(true);
    Ok((name, value))
}

/// `Authorization: Bearer` with the target's API key.
pub(super) fn bearer(target: &Target) -> Result<(HeaderName, HeaderValue), Error> {
    match target.credential.credential() {
        super::traits::Credential::ApiKey(key) => secret_header(AUTHORIZATION, &format!("Bearer {}", key.expose())),
        _ => {
            Err(Error::new(Code::ProviderAuthError, "This provider needs an API key; the gateway's operator sets it."))
        }
    }
}

/// A vendor's text or number at `pointer`, as text; empty where there is none.
pub(super) fn text(value: &Value, pointer: &str) -> String {
    match value.pointer(pointer) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => String::new(),
    }
}

/// A vendor's whole number at `pointer`, written as a number or as a string; a fraction is rounded up.
pub(super) fn number(value: &Value, pointer: &str) -> Option<u64> {
    let of_float = |number: f64| {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded before it is cast")]
        (0.0..1e15).contains(&number).then(|| number.ceil() as u64)
    };
    match value.pointer(pointer)? {
        Value::Number(number) => number.as_u64().or_else(|| number.as_f64().and_then(of_float)),
        Value::String(text) => text.trim().parse().ok().or_else(|| text.trim().parse().ok().and_then(of_float)),
        _ => None,
    }
}

/// Whether an answer holds an `error` that is one.
pub(super) fn has_error(value: &Value) -> bool {
    value.get("error").is_some_and(is_truthy)
}

/// An answer that says it is fine and then lacks what it must have.
pub(super) fn unreadable() -> Error {
    Error::provider(Code::ProviderError, "The provider's answer could not be read.")
}

/// The media type and the base64 of a picture that the request brings along; `None` where it is a link.
pub(super) fn picture<'a>(image: &'a str, field: &'static str) -> Result<Option<(String, &'a str)>, Error> {
    if !image.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("data:")) {
        return Ok(None);
    }
    let wrong = |why| Error::new(Code::InvalidParameter, format!("The picture in `{field}`: {why}.")).param(field);
    let url = DataUrl::parse(image).map_err(wrong)?;
    Ok(Some((url.sniffed().to_owned(), url.base64)))
}

/// A vendor's id where it stands in a URL: nothing that could lead to another path.
pub(super) fn path_safe(id: &str) -> Result<&str, Error> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"-_.~".contains(&b);
    match !id.is_empty() && id.bytes().all(fits) && id != "." && id != ".." {
        true => Ok(id),
        false => Err(unreadable()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn numbers_are_read_however_they_are_written() {
        let value = json!({ "a": 5, "b": "5", "c": 5.1, "d": "5.1", "e": -1, "f": "x", "g": null, "h": 1e40 });
        let read: Vec<_> = "abcdefghi".chars().map(|name| number(&value, &format!("/{name}"))).collect();
        assert_eq!(read, [Some(5), Some(5), Some(6), Some(6), None, None, None, None, None]);
    }
}
