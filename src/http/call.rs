//! A call: what the inspect layer learnt of a request, carried in its extensions to quota and route.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::domain::endpoint::Endpoint;
use crate::domain::model::ModelTerms;
use crate::domain::price::Options;

use super::body::Segments;

/// A value and where it stands in the body, as byte offsets over all segments.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "a value and its place")]
pub struct Located<T> {
    pub value: T,
    /// The value's own bytes, quotes included.
    pub at: Range<usize>,
}

/// What one pass over a body finds out, without building a tree.
///
/// JSON bodies: fields of the top-level object, unless said otherwise. Multipart bodies: form fields of those names
/// (`at` is then empty). A JSON `null` counts as absent.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
#[allow(missing_docs, reason = "named after the fields that they are read from")]
pub struct Facts {
    pub model: Option<Located<String>>,
    pub stream: Option<Located<bool>>,
    /// The whole `stream_options` value.
    pub stream_options: Option<Located<StreamOptions>>,
    pub max_tokens: Option<Located<u64>>,
    pub max_completion_tokens: Option<Located<u64>>,
    /// `/v1/responses`.
    pub max_output_tokens: Option<Located<u64>>,
    pub n: Option<Located<u64>>,
    pub store: Option<Located<bool>>,
    pub size: Option<String>,
    pub quality: Option<String>,
    pub resolution: Option<String>,
    /// `mode`, and whether audio is asked for, of a video.
    pub mode: Option<String>,
    pub audio: Option<bool>,
    /// `seconds` or `duration`, as written: a number, or a string of one.
    pub seconds: Option<u64>,
    /// Characters (Unicode scalar values) of `input`, when it is one string.
    pub input_chars: Option<u64>,
    pub response_format: Option<String>,
    /// Length of the body in bytes.
    pub body_bytes: u64,
    /// Bytes of it that are base64 of media parts.
    pub media_bytes: u64,
    /// Image, audio and file parts of messages or input items.
    pub media_parts: u64,
    /// The first feature without a bound that was seen (`file_id`, `web_search_options`, `tools[0].type`, `service_tier`, …).
    pub unbounded: Option<String>,
    /// Where the top-level object's opening brace stands.
    pub object_at: usize,
    /// Whether that object has any member.
    pub has_members: bool,
    /// Multipart only: the boundary, and the place of the file's bytes.
    pub multipart: Option<Multipart>,
}

/// What `stream_options` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "its fields")]
pub struct StreamOptions {
    pub include_usage: Option<bool>,
    /// Offset just behind the opening brace, where a member can be put first.
    pub inside: usize,
    pub is_empty: bool,
    /// Where the value of `include_usage` stands, when it is there.
    pub include_usage_at: Option<(usize, usize)>,
}

/// A multipart body's layout.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs, reason = "its parts")]
pub struct Multipart {
    pub boundary: String,
    pub parts: Vec<Part>,
}

/// A part of a multipart body. Offsets are over all segments.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs, reason = "its fields")]
pub struct Part {
    pub name: String,
    pub filename: Option<String>,
    pub content_type: Option<String>,
    /// The part's content.
    pub content: Range<usize>,
    /// The whole part: from its delimiter line up to the next one.
    pub whole: Range<usize>,
}

/// What the inspect layer found, put into the request's extensions. It cannot be made outside this crate.
///
/// Cheap to clone.
#[derive(Clone)]
pub struct Call(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    endpoint: Endpoint,
    facts: Facts,
    segments: Segments,
    terms: Option<Arc<ModelTerms>>,
    output_bound: Option<u64>,
}

impl Call {
    pub(crate) fn new(endpoint: Endpoint, facts: Facts, segments: Segments, terms: Option<Arc<ModelTerms>>) -> Self {
        Self(Arc::new(Inner { endpoint, facts, segments, terms, output_bound: None }))
    }

    /// The model route.
    pub fn endpoint(&self) -> Endpoint {
        self.0.endpoint
    }

    /// What the body says.
    pub fn facts(&self) -> &Facts {
        &self.0.facts
    }

    /// The body's bytes, in the segments that arrived.
    pub fn segments(&self) -> &Segments {
        &self.0.segments
    }

    /// The body in one piece; a copy only where it arrived in several.
    pub fn body(&self) -> Bytes {
        self.0.segments.joined()
    }

    /// The model id that the caller names.
    pub fn model(&self) -> &str {
        self.0.facts.model.as_ref().map_or("", |m| &m.value)
    }

    /// Whether the answer is to be streamed.
    pub fn streams(&self) -> bool {
        self.0.facts.stream.as_ref().is_some_and(|s| s.value)
    }

    /// Whether the caller asked for the usage chunk of a stream.
    pub fn wants_usage(&self) -> bool {
        self.0.facts.stream_options.as_ref().is_some_and(|o| o.value.include_usage == Some(true))
    }

    /// The model's terms as they stood at admission, where a catalog was asked.
    pub fn terms(&self) -> Option<&Arc<ModelTerms>> {
        self.0.terms.as_ref()
    }

    /// The output bound in tokens, for one choice, that the vendor must be sent: what the hold was reckoned with.
    /// `None` when no limit depends on it; then the caller's own bound goes on unchanged.
    pub fn output_bound(&self) -> Option<u64> {
        self.0.output_bound
    }

    /// What a price tier may ask of this request.
    pub fn price_options(&self) -> Options {
        let facts = &self.0.facts;
        Options {
            size: facts.size.clone(),
            quality: facts.quality.clone(),
            resolution: facts.resolution.clone(),
            audio: facts.audio,
            mode: facts.mode.clone(),
        }
    }

    /// The same call with an output bound.
    #[must_use]
    pub(crate) fn bound_output(&self, tokens: u64) -> Self {
        let mut inner = Inner::clone(&self.0);
        inner.output_bound = Some(tokens);
        Self(Arc::new(inner))
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("endpoint", &self.0.endpoint)
            .field("model", &self.model())
            .field("bytes", &self.0.segments.len())
            .finish_non_exhaustive()
    }
}
