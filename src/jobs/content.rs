//! A finished video's bytes, streamed from the vendor: its address and its credential stay here.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HOST, IF_RANGE,
    LAST_MODIFIED, LOCATION, RANGE,
};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri};

use crate::base::error::{Code, Error};
use crate::domain::job::{Job, JobState};
use crate::http::body::CallBody;
use crate::http::dial::{PublicOnly, refusal};
use crate::http::fetch::is_named;
use crate::http::vendor::{AnyBody, transport_failure};
use crate::provider::traits::Target;
use crate::provider::video::{Content, Link, VideoProvider};

use super::body::JobBody;
use super::{ASK, VideoJobs};

/// How many redirects are followed.
const REDIRECTS: usize = 3;

impl VideoJobs {
    /// The bytes of one of the job's videos.
    pub(super) async fn content(&self, job: Job, index: usize, asked: &HeaderMap) -> Result<Response<JobBody>, Error> {
        if job.state != JobState::Completed {
            let message = match job.state.is_terminal() {
                true => "This job has no video: it did not complete. Its `error` says why.",
                false => "The video is not ready: read the job until its status is completed.",
            };
            return Err(Error::new(Code::VideoNotReady, message));
        }
        let Some(video) = job.videos.get(index) else {
            return Err(Error::new(Code::InvalidParameter, "The job has no video of this index.").param("index"));
        };
        if job.is_content_gone(index, self.now()) {
            return Err(expired());
        }
        let (target, codec) = self.vendor(&job.model).ok_or_else(|| {
            Error::new(Code::ProviderModelUnavailable, "This job's model is not registered any more.")
        })?;
        let link = match codec.content(video, &target, self.now())? {
            Content::Here(bytes) => return Ok(named(&job, part(bytes, asked))),
            Content::At(link) => link,
            Content::Ask(request) => {
                let answer = self.ask(Some(request), ASK).await.map_err(|error| transport_failure(&*error))?;
                let answer = answer.ok_or_else(|| {
                    Error::provider(Code::ProviderTimeout, "The provider did not answer in time. Try again.")
                })?;
                codec.link(&answer)?
            }
        };
        let response = self.fetch(link, &target, &*codec, asked).await?;
        Ok(named(&job, response))
    }

    async fn fetch(
        &self,
        mut link: Link,
        target: &Arc<Target>,
        codec: &dyn VideoProvider,
        asked: &HeaderMap,
    ) -> Result<Response<JobBody>, Error> {
        for _ in 0..=REDIRECTS {
            let request = request(&link, target, codec, asked)?;
            let response = self.0.client.send(request).await.map_err(|error| transport_failure(&*error))?;
            if !response.status().is_redirection() {
                return answer(response);
            }
            let next = response.headers().get(LOCATION).and_then(|to| follow(&link.url, to)).ok_or_else(not_allowed)?;
            // The credential is for the vendor's own address alone, and there still needed.
            let stays = next.scheme() == link.url.scheme() && next.authority() == link.url.authority();
            link = Link { url: next, header: link.header.filter(|_| stays) };
        }
        Err(not_allowed())
    }
}

/// As much of `whole` as is asked for.
fn part(whole: Bytes, asked: &HeaderMap) -> Response<JobBody> {
    let range = asked.get(RANGE).filter(|_| !asked.contains_key(IF_RANGE)).and_then(|range| range.to_str().ok());
    let (status, shown, told) = match range.and_then(|range| wanted(range, whole.len())) {
        None => (StatusCode::OK, whole, None),
        Some(Some(at)) => {
            let told = format!("bytes {}-{}/{}", at.start, at.end - 1, whole.len());
            (StatusCode::PARTIAL_CONTENT, whole.slice(at), Some(told))
        }
        Some(None) => (StatusCode::RANGE_NOT_SATISFIABLE, Bytes::new(), Some(format!("bytes */{}", whole.len()))),
    };
    let mut response = Response::new(JobBody::whole(shown));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.extend(told.and_then(|told| Some((CONTENT_RANGE, HeaderValue::try_from(told).ok()?))));
    response
}

/// The bytes that one range names; `Some(None)` where there are none of them, `None` where all are to be sent.
fn wanted(range: &str, length: usize) -> Option<Option<Range<usize>>> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let number = |text: &str| text.trim().parse::<usize>().ok();
    let at = match (number(first), number(last)) {
        (None, Some(last)) if first.trim().is_empty() => length.saturating_sub(last)..length,
        (Some(first), None) if last.trim().is_empty() => first..length,
        (Some(first), Some(last)) if first <= last => first..last.saturating_add(1).min(length),
        _ => return None,
    };
    Some(Some(at).filter(|at| at.start < at.end))
}

/// The request to a link whose host is an allowed one.
fn request(
    link: &Link,
    target: &Target,
    codec: &dyn VideoProvider,
    asked: &HeaderMap,
) -> Result<Request<CallBody>, Error> {
    let is_listed = is_named(&link.url, &target.content_hosts);
    let is_own = || codec.content_hosts().iter().any(|pattern| matches(pattern, link.url.host().unwrap_or_default()));
    if !(is_listed || is_own()) || refusal(&link.url, is_listed).is_some() {
        return Err(not_allowed());
    }
    let mut request = Request::new(CallBody::empty());
    *request.uri_mut() = link.url.clone();
    let headers = request.headers_mut();
    for name in [RANGE, IF_RANGE] {
        if let Some(value) = asked.get(&name) {
            headers.insert(name, value.clone());
        }
    }
    if let Some((name, value)) = link.header.clone().filter(|(name, _)| *name != HOST) {
        headers.insert(name, value);
    }
    request.extensions_mut().insert(target.timeouts);
    if !is_listed {
        request.extensions_mut().insert(PublicOnly);
    }
    Ok(request)
}

/// `*.example.com` is all below it.
fn matches(pattern: &str, host: &str) -> bool {
    let host = host.to_ascii_lowercase();
    match pattern.strip_prefix('*') {
        Some(suffix) => host.len() > suffix.len() && host.ends_with(suffix),
        None => host == pattern,
    }
}

/// Where a redirect leads.
fn follow(from: &Uri, to: &HeaderValue) -> Option<Uri> {
    let to = to.to_str().ok()?.split('#').next()?;
    let (scheme, authority) = (from.scheme_str()?, from.authority()?);
    let folder = from.path().rsplit_once('/').map_or("", |(folder, _)| folder);
    let url: Uri = if to.starts_with("//") {
        format!("{scheme}:{to}").parse().ok()?
    } else if to.starts_with('/') {
        format!("{scheme}://{authority}{to}").parse().ok()?
    } else if to.contains("://") {
        to.parse().ok()?
    } else {
        format!("{scheme}://{authority}{folder}/{to}").parse().ok()?
    };
    url.scheme().is_some().then_some(url)
}

/// The vendor's answer, with what of its head concerns the bytes.
fn answer(response: Response<AnyBody>) -> Result<Response<JobBody>, Error> {
    let (head, body) = response.into_parts();
    match head.status {
        // A page that explains something is no video.
        StatusCode::OK | StatusCode::PARTIAL_CONTENT if is_page(&head.headers) => return Err(not_given()),
        StatusCode::OK | StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => {}
        StatusCode::FORBIDDEN | StatusCode::NOT_FOUND | StatusCode::GONE => return Err(expired()),
        _ => return Err(not_given()),
    }
    if head.status == StatusCode::RANGE_NOT_SATISFIABLE {
        // What the vendor says of it is nobody's film.
        let mut empty = Response::new(JobBody::whole(Bytes::new()));
        *empty.status_mut() = head.status;
        empty.headers_mut().extend(head.headers.get(CONTENT_RANGE).map(|range| (CONTENT_RANGE, range.clone())));
        return Ok(empty);
    }
    let mut passed = Response::new(JobBody::stream(body));
    *passed.status_mut() = head.status;
    for name in [CONTENT_TYPE, CONTENT_LENGTH, CONTENT_RANGE, ACCEPT_RANGES, ETAG, LAST_MODIFIED] {
        if let Some(value) = head.headers.get(&name) {
            passed.headers_mut().insert(name, value.clone());
        }
    }
    Ok(passed)
}

fn is_page(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default().to_ascii_lowercase();
    ["text/", "application/json", "application/xml"].iter().any(|page| kind.starts_with(page))
}

/// What a browser should know of the file.
fn named(job: &Job, mut response: Response<JobBody>) -> Response<JobBody> {
    if !response.status().is_success() {
        return response;
    }
    let headers = response.headers_mut();
    let is_video = headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"video/"));
    if !is_video {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("video/mp4"));
    }
    if let Ok(name) = HeaderValue::from_str(&format!("inline; filename=\"{}.mp4\"", job.id)) {
        headers.insert(CONTENT_DISPOSITION, name);
    }
    response
}

fn expired() -> Error {
    Error::new(Code::VideoExpired, "The vendor keeps videos for a while only, and this one is gone: order it anew.")
}

fn not_given() -> Error {
    Error::provider(Code::ProviderError, "The provider did not give out the video. Try again.")
}

fn not_allowed() -> Error {
    Error::provider(
        Code::ProviderError,
        "The provider's link leads to a host that this gateway does not fetch from; its operator names such hosts in content_hosts.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_match_whole_or_below_a_star() {
        assert!(matches("*.volces.com", "a.b.volces.com") && matches("*.volces.com", "A.VOLCES.COM"));
        assert!(!matches("*.volces.com", "volces.com") && !matches("*.volces.com", "evilvolces.com"));
        assert!(matches("x.example", "x.example") && !matches("x.example", "y.x.example"));
        let url: Uri = "http://127.0.0.1:9000/v.mp4".parse().unwrap();
        assert!(is_named(&url, &["127.0.0.1:9000".into()]) && is_named(&url, &["127.0.0.1".into()]));
        assert!(!is_named(&url, &["127.0.0.1:9001".into()]));
    }

    #[test]
    fn a_range_names_bytes_or_none_or_all() {
        for (range, want) in [
            ("bytes=0-3", Some(Some(0..4))),
            ("bytes=4-", Some(Some(4..10))),
            ("bytes=-3", Some(Some(7..10))),
            ("bytes=-99", Some(Some(0..10))),
            ("bytes=8-99", Some(Some(8..10))),
            ("bytes=10-", Some(None)),
            ("bytes=-0", Some(None)),
            ("bytes=5-2", None),
            ("bytes=0-1,3-4", None),
            ("bytes=", None),
            ("bytes=-", None),
            ("lines=1-2", None),
        ] {
            assert_eq!(wanted(range, 10), want, "{range}");
        }
    }

    #[test]
    fn a_redirect_is_followed_as_a_browser_would() {
        let from: Uri = "https://a.example/x".parse().unwrap();
        let to = |text: &'static str| follow(&from, &HeaderValue::from_static(text)).map(|url| url.to_string());
        assert_eq!(to("/y").as_deref(), Some("https://a.example/y"));
        assert_eq!(to("https://b.example/y").as_deref(), Some("https://b.example/y"));
        assert_eq!(to("//b.example/y").as_deref(), Some("https://b.example/y"));
        assert_eq!(to("y?a=b#c").as_deref(), Some("https://a.example/y?a=b"));
        assert_eq!((to("https://"), to("")), (None, Some("https://a.example/".to_owned())));
    }
}
