//! What one pass over a request body finds out.

use std::ops::Range;

use crate::base::error::{Code, Error};

use super::audio_duration::AudioLength;

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
    /// How many `messages` there are.
    pub messages: Option<u64>,
    pub store: Option<Located<bool>>,
    pub size: Option<String>,
    pub quality: Option<String>,
    pub resolution: Option<String>,
    /// `mode`, and whether audio is asked for, of a video.
    pub mode: Option<String>,
    pub audio: Option<bool>,
    /// `seconds` or `duration`, as written: a number, or a string of one.
    pub seconds: Option<u64>,
    /// How many items `input` has: one, when it is a string; none, when it is neither that nor an array.
    pub input_items: Option<u64>,
    /// Characters (Unicode scalar values) of `input`, when it is one string.
    pub input_chars: Option<u64>,
    /// The same as the strictest vendor counts them: a character of a dense script (three bytes of UTF-8 and more) twice.
    pub input_weight: Option<u64>,
    pub response_format: Option<String>,
    /// Length of the body in bytes.
    pub body_bytes: u64,
    /// Bytes of it that are base64 of media parts.
    pub media_bytes: u64,
    /// Image, audio and file parts of messages or input items.
    pub media_parts: u64,
    /// The first feature without a bound that was seen (`file_id`, `web_search_options`, `tools[0].type`, `service_tier`, …).
    pub unbounded: Option<String>,
    /// The first thing that the vendor would keep, or do on its own: what only it could bound or tell the owner of
    /// (`previous_response_id`, `conversation`, `background`, `prompt` by id, `tools[0].type`, `input[0]` by id).
    pub unowned: Option<String>,
    /// Where the top-level object's opening brace stands.
    pub object_at: usize,
    /// Whether that object has any member.
    pub has_members: bool,
    /// Its members that are `null`. Whoever sets one of these must replace it: a twin put in beside it would lose to it.
    pub nulls: Vec<Located<String>>,
    /// Multipart only: the boundary, and the place of the file's bytes.
    pub multipart: Option<Multipart>,
    /// Audio uploads only: how long the recording in `file` is, as far as it is one.
    pub recording: Option<AudioLength>,
}

impl Facts {
    /// Where the top-level member `name` stands as a `null`.
    pub fn null_at(&self, name: &str) -> Option<Range<usize>> {
        self.nulls.iter().find(|n| n.value == name).map(|n| n.at.clone())
    }

    /// Refuses a chat without messages.
    pub(crate) fn require_messages(&self) -> Result<(), Error> {
        let missing = "Send the conversation: the field `messages` is missing.";
        require(self.messages, "messages", "an array of at least one message", missing)
    }

    /// Refuses an embedding of nothing.
    pub(crate) fn require_input(&self) -> Result<(), Error> {
        let missing = "Send the text to embed: the field `input` is missing.";
        require(self.input_items, "input", "a text, or an array of at least one item", missing)
    }

    /// Takes in a media part that carries `payload` bytes.
    pub(super) fn add_media(&mut self, payload: u64) {
        self.media_parts += 1;
        self.media_bytes += payload;
    }
}

/// Refuses a field that has none of what there must be one of, or is not there.
fn require(count: Option<u64>, field: &'static str, must: &str, missing: &'static str) -> Result<(), Error> {
    match count {
        Some(1..) => Ok(()),
        Some(0) => Err(wrong(field, must)),
        None => Err(Error::new(Code::MissingParameter, missing).param(field)),
    }
}

/// A field that does not say what it must.
pub(super) fn wrong(field: &'static str, must: &str) -> Error {
    Error::new(Code::InvalidParameter, format!("The field `{field}` must be {must}.")).param(field)
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

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use crate::base::error::Code;
    use crate::wire::peek::peek;

    #[test]
    fn an_embedding_needs_something_to_embed() {
        for (input, refused) in [
            ("", Some(Code::MissingParameter)),
            (r#","input":null"#, Some(Code::MissingParameter)),
            (r#","input":[]"#, Some(Code::InvalidParameter)),
            (r#","input":{}"#, Some(Code::InvalidParameter)),
            (r#","input":"a""#, None),
            (r#","input":["a","b"]"#, None),
            (r#","input":[[1,2]]"#, None),
        ] {
            let facts = peek(&[Bytes::from(format!(r#"{{"model":"m"{input}}}"#))]).unwrap();
            assert_eq!(facts.require_input().err().map(|error| error.code()), refused, "{input}");
        }
    }
}
