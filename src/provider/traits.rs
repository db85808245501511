//! What a vendor's codec is.
//!
//! A codec does no I/O. [`Provider::encode`] makes the vendor's request and a [`Decoder`]; the route sends the one and
//! pushes what comes back through the other, cut wherever the network cut it. So recorded answers test a codec without a
//! socket, and it runs over any client.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, Uri, response};

use crate::base::error::{Code, Error};
use crate::base::secret::Secret;
use crate::domain::endpoint::Endpoint;
use crate::domain::model::ModelTerms;
use crate::domain::usage::Usage;
use crate::http::body::{CallBody, Segments};
use crate::http::call::Call;
use crate::wire::dropped::Dropped;

use super::base_url::BaseUrl;

/// A vendor's credential.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the vendors' own words")]
pub enum Credential {
    ApiKey(Secret),
    AccessKey {
        access: Secret,
        secret: Secret,
    },
    /// The offline provider needs none.
    None,
}

/// Where a vendor's credential comes from, asked anew for each request: rotating one needs no restart.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a source of credentials",
    note = "use a `Credential` for a fixed one, or implement `CredentialSource` to rotate it"
)]
pub trait CredentialSource: fmt::Debug + Send + Sync + 'static {
    /// The credential to use now. Must not block.
    fn credential(&self) -> Credential;
}

impl CredentialSource for Credential {
    fn credential(&self) -> Credential {
        self.clone()
    }
}

impl<T: CredentialSource + ?Sized> CredentialSource for Arc<T> {
    fn credential(&self) -> Credential {
        (**self).credential()
    }
}

/// How long a vendor may take. Put into the extensions of the vendor's request, where it is not the default; a client of
/// your own should keep to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the two of CONTRACT section 2")]
pub struct Timeouts {
    /// From the call to the response's headers.
    pub first_byte: Duration,
    /// Between two pieces of the body.
    pub idle: Duration,
}

impl Timeouts {
    /// Tells the client of them.
    pub(crate) fn note_in<B>(self, request: &mut Request<B>) {
        if self != Self::default() {
            request.extensions_mut().insert(self);
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { first_byte: Duration::from_secs(600), idle: Duration::from_secs(120) }
    }
}

/// Where a model runs: everything that a codec needs beside the call. Comes from the registry, never from a request.
#[derive(Clone, Debug)]
#[non_exhaustive]
#[allow(missing_docs, reason = "a model's way to its vendor")]
pub struct Target {
    /// The provider's name in the configuration.
    pub provider: Arc<str>,
    pub codec: Arc<dyn Provider>,
    pub base_url: BaseUrl,
    pub credential: Arc<dyn CredentialSource>,
    /// The vendor's id of the model.
    pub upstream: Arc<str>,
    pub terms: Arc<ModelTerms>,
    pub timeouts: Timeouts,
    /// `host` or `host:port` from which results may be fetched, beside the kind's own.
    pub content_hosts: Arc<[String]>,
}

impl Target {
    /// A model on these `terms`, which the provider of that name runs under the same id. The other fields can be set
    /// afterwards: `upstream`, `timeouts`, `content_hosts`.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use kancy::domain::{modality::Modality, model::ModelTerms, price::Price};
    /// use kancy::provider::{codec::codec, kind::Kind};
    /// use kancy::provider::traits::{Credential, Target};
    /// use kancy::{Registry, Secret};
    ///
    /// let mut terms = ModelTerms::new("llama-3.3-70b", Modality::Text);
    /// terms.price = Price::Free;
    /// terms.max_output_tokens = Some(8_192);
    /// let key = Credential::ApiKey(Secret::new("sk-of-our-own-server"));
    /// let target = Target::new(terms, "our-server", codec(Kind::OpenAiCompatible), "http://10.0.0.7:8000/v1".parse()?, Arc::new(key));
    /// let registry = Registry::new([target])?;
    /// assert!(registry.target("llama-3.3-70b").is_some());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new(
        terms: ModelTerms,
        provider: impl Into<Arc<str>>,
        codec: Arc<dyn Provider>,
        base_url: BaseUrl,
        credential: Arc<dyn CredentialSource>,
    ) -> Self {
        Self {
            provider: provider.into(),
            codec,
            base_url,
            credential,
            upstream: Arc::clone(&terms.id),
            terms: Arc::new(terms),
            timeouts: Timeouts::default(),
            content_hosts: Arc::new([]),
        }
    }

    /// The URL of a route that every request takes: `/chat/completions`.
    pub fn route(&self, route: &'static str) -> Result<Uri, Error> {
        self.base_url.route(route).ok_or_else(no_url)
    }

    /// The URL of any other route.
    pub fn url(&self, route: &str) -> Result<Uri, Error> {
        self.base_url.join(route).ok_or_else(no_url)
    }
}

fn no_url() -> Error {
    Error::new(Code::InvalidParameter, "The model's upstream id cannot stand in a URL.").param("model")
}

/// A vendor's codec. Stateless; shared by all requests.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a provider codec",
    note = "implement `Provider`: `encode` a call, `fault` a vendor's error answer"
)]
pub trait Provider: fmt::Debug + Send + Sync + 'static {
    /// The kind's name in configuration: `openai`, `anthropic`, …
    fn kind(&self) -> &'static str;

    /// Whether the codec is built for this route; a route that it is not answers `provider_model_unavailable`.
    fn supports(&self, endpoint: Endpoint) -> bool;

    /// The vendor's request for this call, and what reads its answer. An error here is a refusal: the vendor was not called.
    fn encode(&self, call: &Call, target: &Target) -> Result<Exchange, Error>;

    /// What an answer of the vendor that is no success means. `body` is cut at 64 KiB.
    fn fault(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Error;
}

/// A request to a vendor and the decoder of its answer.
pub struct Exchange {
    /// What to send; `None` when the decoder answers on its own (the offline provider).
    pub request: Option<Request<CallBody>>,
    /// Reads the answer.
    pub decoder: Box<dyn Decoder>,
    /// Request fields that the vendor does not have and that were left out: goes out as `x-kancy-dropped`.
    pub dropped: Dropped,
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange").field("dropped", &self.dropped).finish_non_exhaustive()
    }
}

/// Reads a vendor's successful answer, piece by piece, and writes the caller's.
///
/// The result must not depend on how the pieces are cut. Memory must not grow with the answer's length where the answer
/// is streamed or passed through.
pub trait Decoder: Send + Sync + 'static {
    /// The headers of the caller's answer, given the head of the vendor's (a 2xx). With `request: None`, a bare 200.
    fn head(&mut self, vendor: &response::Parts) -> Result<HeaderMap, Error>;

    /// The next piece. An error ends the answer: with its own status while nothing was put out, else as an event.
    fn push(&mut self, piece: Bytes, out: &mut Output) -> Result<(), Error>;

    /// The vendor's answer has ended. What is missing (no finish was seen) shows in `out` not being [complete](Output::complete).
    fn finish(&mut self, out: &mut Output) -> Result<(), Error>;

    /// The next request of an exchange that has more than one; asked after [`finish`](Self::finish) and
    /// [`stumbled`](Self::stumbled). While there is a next one, nothing may have been put out: the caller's answer begins
    /// with the last step, and its head is what [`head`](Self::head) makes of that one.
    fn next_request(&mut self) -> Option<Request<CallBody>> {
        None
    }

    /// A step failed before anything was put out. A decoder that can do with what it has says so; then it is asked for
    /// its next request as if the step had ended.
    fn stumbled(&mut self, error: Error, _out: &mut Output) -> Result<(), Error> {
        Err(error)
    }

    /// Requests that go out side by side with the exchange's own, a few at a time; asked once, before anything is sent.
    ///
    /// Where there are any, each answer comes whole, by [`part`](Self::part), the own request's too. Once all have come,
    /// [`head`](Self::head) and [`finish`](Self::finish) are called as for a bare 200 without a body.
    fn beside(&mut self) -> Vec<Request<CallBody>> {
        Vec::new()
    }

    /// The whole answer to one of several requests, or why there is none, in the order in which they end: 0 is the
    /// exchange's own request, 1 the first one [beside](Self::beside) it. Nothing may be put out yet. `false` where
    /// those that have not gone out yet are not worth sending.
    fn part(&mut self, _at: usize, _answer: Result<Segments, Error>, _out: &mut Output) -> bool {
        false
    }
}

/// What a decoder puts out: bytes for the caller, and what they mean for the meter.
#[derive(Debug, Default)]
pub struct Output {
    /// Most of the time there is but one: it needs no queue.
    first: Option<Bytes>,
    frames: VecDeque<Bytes>,
    usage: Option<Usage>,
    delivered: Usage,
    complete: bool,
    is_prelude: bool,
    made_as: MadeAs,
}

/// What was made, where that decides the price and is not what was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the options of a price tier; `None` is as asked")]
pub struct MadeAs {
    pub size: Option<String>,
    pub quality: Option<String>,
}

impl Output {
    /// Bytes for the caller.
    pub fn write(&mut self, bytes: Bytes) {
        if bytes.is_empty() {
            return;
        }
        if self.has_frames() {
            self.frames.push_back(bytes);
        } else {
            self.first = Some(bytes);
        }
    }

    /// Usage as the vendor reports it; a later report replaces an earlier one.
    pub fn report(&mut self, usage: Usage) {
        self.usage = Some(usage);
    }

    /// What has been delivered so far, by our own count: the ground of an estimate.
    pub fn deliver(&mut self, so_far: Usage) {
        self.delivered = so_far;
    }

    /// What was made is priced as this.
    pub fn made_as(&mut self, made: MadeAs) {
        self.made_as = made;
    }

    /// What is to be priced otherwise than it was asked for.
    pub fn is_made_as(&self) -> &MadeAs {
        &self.made_as
    }

    /// The answer is whole: its finish was seen.
    pub fn complete(&mut self) {
        self.complete = true;
    }

    /// Whether the bytes that wait say nothing yet, as comments do: they go out when the vendor pauses, and are left out
    /// where an error is what comes next.
    pub fn prelude(&mut self, is_one: bool) {
        self.is_prelude = is_one;
    }

    /// Whether what waits is worth waiting for more; not without end.
    pub(crate) fn is_prelude(&self) -> bool {
        self.is_prelude && self.first.is_some() && self.frames.len() < 16
    }

    /// Leaves out what waits.
    pub(crate) fn forget(&mut self) {
        self.first = None;
        self.frames.clear();
    }

    /// The next bytes for the caller.
    pub fn next_frame(&mut self) -> Option<Bytes> {
        self.first.take().or_else(|| self.frames.pop_front())
    }

    /// Whether bytes wait for the caller.
    pub fn has_frames(&self) -> bool {
        self.first.is_some() || !self.frames.is_empty()
    }

    /// The last report.
    pub fn usage(&self) -> Option<Usage> {
        self.usage
    }

    /// What was delivered.
    pub fn delivered(&self) -> Usage {
        self.delivered
    }

    /// Whether the finish was seen.
    pub fn is_complete(&self) -> bool {
        self.complete
    }
}
