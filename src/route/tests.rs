//! Exchanges of several steps, over a client that plays a vendor and a host of results.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full};
use tower::{ServiceExt, service_fn};
use tower_service::Service;

use super::ProviderRouteService;
use crate::base::error::{Code, Error};
use crate::domain::endpoint::Endpoint;
use crate::domain::modality::Modality;
use crate::domain::model::ModelTerms;
use crate::domain::record::Outcome;
use crate::domain::usage::Usage;
use crate::http::body::{CallBody, Segments};
use crate::http::call::Call;
use crate::http::fetch::{ContentHosts, Fetch};
use crate::http::finish::Ended;
use crate::http::meter::{Abandoned, Meter};
use crate::provider::openai::{Dialect, OpenAi};
use crate::provider::registry::Registry;
use crate::provider::traits::{Credential, Decoder, Exchange, Output, Provider, Target, Timeouts};
use crate::wire::peek::peek;

/// A vendor that makes something at `/make` and says where it lies; the decoder fetches it and puts it out.
#[derive(Debug)]
struct TwoSteps {
    /// Whether the decoder can do without the second step.
    forgiving: bool,
}

struct Steps {
    forgiving: bool,
    url: Option<String>,
    next: Option<Request<CallBody>>,
    text: Vec<u8>,
}

impl Provider for TwoSteps {
    fn kind(&self) -> &'static str {
        "two-steps"
    }

    fn supports(&self, _: Endpoint) -> bool {
        true
    }

    fn encode(&self, _: &Call, _: &Target) -> Result<Exchange, Error> {
        let request = Request::post("https://vendor.test/make").header("authorization", "Bearer upstream-secret");
        let decoder = Steps { forgiving: self.forgiving, url: None, next: None, text: Vec::new() };
        let request = Some(request.body(CallBody::empty()).unwrap());
        Ok(Exchange { request, decoder: Box::new(decoder), dropped: vec!["x"].into() })
    }

    fn fault(&self, _: StatusCode, _: &HeaderMap, _: &[u8]) -> Error {
        Error::provider(Code::ProviderOverloaded, "The vendor is busy.")
    }
}

impl Decoder for Steps {
    fn head(&mut self, vendor: &response::Parts) -> Result<HeaderMap, Error> {
        Ok(vendor.headers.clone())
    }

    fn push(&mut self, piece: Bytes, _: &mut Output) -> Result<(), Error> {
        self.text.extend_from_slice(&piece);
        Ok(())
    }

    fn finish(&mut self, out: &mut Output) -> Result<(), Error> {
        let text = String::from_utf8(std::mem::take(&mut self.text)).unwrap();
        if self.url.is_none() {
            out.deliver(Usage { images: 1, ..Usage::NONE });
            let hosts = ContentHosts::new(&["*.cdn.test"], Arc::new([]));
            self.next = Some(hosts.get(&text)?);
            self.url = Some(text);
            return Ok(());
        }
        out.write(text.into());
        out.report(Usage { images: 1, ..Usage::NONE });
        out.complete();
        Ok(())
    }

    fn next_request(&mut self) -> Option<Request<CallBody>> {
        self.next.take()
    }

    fn stumbled(&mut self, error: Error, out: &mut Output) -> Result<(), Error> {
        let url = self.url.take().filter(|_| self.forgiving).ok_or(error)?;
        out.write(url.into());
        out.report(Usage { images: 1, ..Usage::NONE });
        out.complete();
        Ok(())
    }
}

const TIMEOUTS: Timeouts = Timeouts { first_byte: Duration::from_secs(7), idle: Duration::from_secs(3) };

type Seen = Arc<Mutex<Vec<(String, bool, bool)>>>;

/// Answers by path; notes the URL, whether it bore a credential, and whether it was a fetch.
#[derive(Clone)]
struct Vendor {
    seen: Seen,
    made: &'static str,
}

impl Service<Request<CallBody>> for Vendor {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<CallBody>) -> Self::Future {
        assert_eq!(request.extensions().get(), Some(&TIMEOUTS));
        let credential = request.headers().contains_key("authorization");
        let fetch = request.extensions().get::<Fetch>().is_some();
        self.seen.lock().unwrap().push((request.uri().to_string(), credential, fetch));
        let answer = match request.uri().path() {
            "/make" if self.made == "busy" => Response::builder().status(503).body(Full::default()),
            "/make" => Response::builder().header("content-type", "text/made").body(Full::from(self.made)),
            "/moved" => {
                Response::builder().status(302).header("location", "https://b.cdn.test/there").body(Full::default())
            }
            "/away" => {
                Response::builder().status(302).header("location", "http://127.0.0.1/there").body(Full::default())
            }
            "/there" => Response::builder().header("content-type", "text/there").body(Full::from("the thing")),
            _ => Response::builder().status(404).body(Full::from("<Error>secret</Error>")),
        };
        ready(Ok(answer.unwrap()))
    }
}

struct Answered {
    status: u16,
    kind: String,
    body: String,
    seen: Vec<(String, bool, bool)>,
    booked: (Outcome, u64),
}

fn target(terms: &Arc<ModelTerms>) -> Target {
    Target {
        provider: "p".into(),
        codec: Arc::new(TwoSteps { forgiving: false }),
        base_url: "https://vendor.test".parse().unwrap(),
        credential: Arc::new(Credential::None),
        upstream: "m".into(),
        terms: Arc::clone(terms),
        timeouts: TIMEOUTS,
        content_hosts: Arc::new([]),
    }
}

/// A request to `endpoint`, as the inspect layer hands it on.
fn request(endpoint: Endpoint, terms: Arc<ModelTerms>) -> (Request<()>, Meter) {
    let facts = peek(&[r#"{"model":"m"}"#.into()]).unwrap();
    let segments = Segments::new(vec![r#"{"model":"m"}"#.into()]);
    let call = Call::new(endpoint, facts, segments, Some(terms));
    let meter = Meter::new(Abandoned::Seen);
    meter.identify(&call, None).unwrap();
    let mut request = Request::post(endpoint.path()).body(()).unwrap();
    request.extensions_mut().insert(call);
    request.extensions_mut().insert(meter.clone());
    (request, meter)
}

async fn answered(made: &'static str, forgiving: bool) -> Answered {
    let terms = Arc::new(ModelTerms::new("m", Modality::Image));
    let target = Target { codec: Arc::new(TwoSteps { forgiving }), ..target(&terms) };
    let seen = Seen::default();
    let route = ProviderRouteService::new(Registry::new([target]).unwrap(), Vendor { seen: Arc::clone(&seen), made });
    let (request, meter) = request(Endpoint::ImageGenerations, terms);
    let response = route.oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let kind = parts.headers.get("content-type").map_or(String::new(), |kind| kind.to_str().unwrap().to_owned());
    let body = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
    let booked = meter.book(Ended::Whole);
    let seen = seen.lock().unwrap().clone();
    Answered { status: parts.status.as_u16(), kind, body, seen, booked: (booked.outcome, booked.usage.images) }
}

#[tokio::test]
async fn the_answer_is_that_of_the_last_step_and_a_fetch_bears_no_credential() {
    let answer = answered("https://a.cdn.test/there", false).await;
    assert_eq!((answer.status, answer.kind.as_str(), answer.body.as_str()), (200, "text/there", "the thing"));
    let seen =
        [("https://vendor.test/make".to_owned(), true, false), ("https://a.cdn.test/there".to_owned(), false, true)];
    assert_eq!(answer.seen, seen);
    assert_eq!(answer.booked, (Outcome::Completed, 1));
}

#[tokio::test]
async fn a_redirect_within_the_list_is_followed_and_one_out_of_it_is_not() {
    let answer = answered("https://a.cdn.test/moved", false).await;
    assert_eq!((answer.seen.len(), answer.body.as_str()), (3, "the thing"));
    for made in ["https://a.cdn.test/away", "https://a.cdn.test/gone", "https://evil.test/there"] {
        let answer = answered(made, false).await;
        assert_eq!(answer.status, 500, "{made}");
        assert!(answer.seen.iter().all(|(url, ..)| !url.contains("127.0.0.1") && !url.contains("evil")), "{made}");
        assert!(answer.body.contains("could not be fetched") && !answer.body.contains("secret"), "{}", answer.body);
        assert_eq!(answer.booked, (Outcome::ProviderFailed, 1), "what was made is billed");
    }
}

#[tokio::test]
async fn a_decoder_may_do_without_a_step_and_its_answer_is_whole() {
    let answer = answered("https://a.cdn.test/gone", true).await;
    assert_eq!(
        (answer.status, answer.kind.as_str(), answer.body.as_str()),
        (200, "text/made", "https://a.cdn.test/gone")
    );
    assert_eq!(answer.booked, (Outcome::Completed, 1));
}

#[tokio::test]
async fn a_first_step_that_fails_is_the_vendors_fault_and_costs_nothing() {
    let answer = answered("busy", true).await;
    assert_eq!((answer.status, answer.seen.len(), answer.booked), (500, 1, (Outcome::ProviderFailed, 0)));
    assert!(answer.body.contains("provider_overloaded"));
}

/// A chat answer in one piece, whose end the vendor shows only when it is polled again, or keeps back.
struct Unended {
    ends: bool,
    said: bool,
}

impl Body for Unended {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match std::mem::replace(&mut self.said, true) {
            false => Poll::Ready(Some(Ok(Frame::data(CHAT.into())))),
            true if self.ends => Poll::Ready(None),
            true => Poll::Pending,
        }
    }
}

const CHAT: &str = r#"{"choices":[{"message":{"content":"a"}}],"usage":{"prompt_tokens":9,"completion_tokens":3}}"#;

#[tokio::test]
async fn an_answer_in_one_piece_has_a_length_and_does_not_wait_for_its_end() {
    for (ends, length) in [(true, Some(CHAT.len() as u64)), (false, None)] {
        let client = service_fn(move |_: Request<CallBody>| {
            ready(Ok::<_, Infallible>(Response::new(Unended { ends, said: false })))
        });
        let terms = Arc::new(ModelTerms::new("m", Modality::Text));
        let target = Target { codec: Arc::new(OpenAi::new(Dialect::OpenAi)), ..target(&terms) };
        let route = ProviderRouteService::new(Registry::new([target]).unwrap(), client);
        let (request, meter) = request(Endpoint::ChatCompletions, terms);
        let mut body = route.oneshot(request).await.unwrap().into_body();
        assert_eq!(body.size_hint().exact(), length);
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), CHAT);
        drop(body);
        let booked = meter.book(Ended::Dropped);
        assert_eq!((booked.usage.output_tokens, booked.estimated), (3, false), "ends: {ends}");
    }
}
