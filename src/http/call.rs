//! A call: what the inspect layer learnt of a request, carried in its extensions to quota and route.

use std::fmt;
use std::sync::{Arc, Weak};

use bytes::Bytes;

use crate::domain::endpoint::Endpoint;
use crate::domain::model::ModelTerms;
use crate::domain::price::Options;

use super::body::Segments;

pub use crate::wire::audio_duration::AudioLength;
pub use crate::wire::facts::{Facts, Located, Multipart, Part, StreamOptions};

/// What the inspect layer found, put into the request's extensions. It cannot be made outside this crate.
///
/// Cheap to clone.
#[derive(Clone)]
pub struct Call {
    found: Arc<Found>,
    output_bound: Option<u64>,
}

struct Found {
    endpoint: Endpoint,
    facts: Box<Facts>,
    segments: Segments,
    terms: Option<Arc<ModelTerms>>,
}

/// Tells one call from another, even when that is gone.
pub(crate) struct CallId(Weak<Found>);

impl CallId {
    pub(crate) fn is_of(&self, call: &Call) -> bool {
        Weak::as_ptr(&self.0) == Arc::as_ptr(&call.found)
    }
}

impl Call {
    pub(crate) fn id(&self) -> CallId {
        CallId(Arc::downgrade(&self.found))
    }

    pub(crate) fn new(
        endpoint: Endpoint,
        facts: impl Into<Box<Facts>>,
        segments: Segments,
        terms: Option<Arc<ModelTerms>>,
    ) -> Self {
        let facts = facts.into();
        Self { found: Arc::new(Found { endpoint, facts, segments, terms }), output_bound: None }
    }

    /// The model route.
    pub fn endpoint(&self) -> Endpoint {
        self.found.endpoint
    }

    /// What the body says.
    pub fn facts(&self) -> &Facts {
        &self.found.facts
    }

    /// The body's bytes, in the segments that arrived.
    pub fn segments(&self) -> &Segments {
        &self.found.segments
    }

    /// The body in one piece; a copy only where it arrived in several.
    pub fn body(&self) -> Bytes {
        self.found.segments.joined()
    }

    /// The model id that the caller names.
    pub fn model(&self) -> &str {
        self.found.facts.model.as_ref().map_or("", |m| &m.value)
    }

    /// Whether the answer is to be streamed.
    pub fn streams(&self) -> bool {
        self.found.facts.stream.as_ref().is_some_and(|s| s.value)
    }

    /// Whether the caller asked for the usage chunk of a stream.
    pub fn wants_usage(&self) -> bool {
        self.found.facts.stream_options.as_ref().is_some_and(|o| o.value.include_usage == Some(true))
    }

    /// The model's terms as they stood at admission, where a catalog was asked.
    pub fn terms(&self) -> Option<&Arc<ModelTerms>> {
        self.found.terms.as_ref()
    }

    /// The output bound in tokens, for one choice, that the vendor must be sent: what the hold was reckoned with.
    /// `None` when no limit depends on it; then the caller's own bound goes on unchanged.
    pub fn output_bound(&self) -> Option<u64> {
        self.output_bound
    }

    /// What a price tier may ask of this request.
    pub fn price_options(&self) -> Options {
        let facts = &self.found.facts;
        Options {
            size: facts.size.clone(),
            quality: facts.quality.clone(),
            resolution: facts.resolution.clone(),
            audio: facts.audio,
            mode: facts.mode.clone(),
        }
    }

    /// The same call with an output bound; the tightest of several.
    #[must_use]
    pub(crate) fn bound_output(&self, tokens: u64) -> Self {
        let tokens = self.output_bound.map_or(tokens, |bound| bound.min(tokens));
        Self { output_bound: Some(tokens), ..self.clone() }
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("endpoint", &self.found.endpoint)
            .field("model", &self.model())
            .field("bytes", &self.found.segments.len())
            .finish_non_exhaustive()
    }
}
