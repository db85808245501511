//! Content blocks, and OpenAI's parts as such.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::base::error::Error;
use crate::wire::data_url::DataUrl;
use crate::wire::openai_request::{Part, PartKind, invalid, unsupported};

use super::super::capability::MAX_IMAGE_BYTES;

/// A block of content.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Block<'a> {
    Text {
        text: Cow<'a, str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_control: Option<&'a RawValue>,
    },
    Image {
        source: Source,
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_control: Option<&'a RawValue>,
    },
    Document {
        source: Source,
        #[serde(skip_serializing_if = "Option::is_none")]
        title: Option<Cow<'a, str>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_control: Option<&'a RawValue>,
    },
    ToolUse {
        id: String,
        name: Cow<'a, str>,
        input: Box<RawValue>,
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_control: Option<&'a RawValue>,
    },
    ToolResult {
        tool_use_id: String,
        #[serde(skip_serializing_if = "ResultContent::is_empty")]
        content: ResultContent<'a>,
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_control: Option<&'a RawValue>,
    },
    Thinking {
        thinking: Cow<'a, str>,
        signature: Cow<'a, str>,
    },
    RedactedThinking {
        data: Cow<'a, str>,
    },
}

/// What a tool gave back.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum ResultContent<'a> {
    Text(Cow<'a, str>),
    Blocks(Vec<Block<'a>>),
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Source {
    Base64 { media_type: String, data: String },
    Text { media_type: &'static str, data: String },
    Url { url: String },
}

impl ResultContent<'_> {
    fn is_empty(&self) -> bool {
        match self {
            Self::Text(text) => text.is_empty(),
            Self::Blocks(blocks) => blocks.is_empty(),
        }
    }
}

impl<'a> Block<'a> {
    pub(super) fn text(text: impl Into<Cow<'a, str>>) -> Self {
        Self::Text { text: text.into(), cache_control: None }
    }

    /// A part as a block; `None` for a text without a letter, which the vendor refuses.
    pub(super) fn of(part: Part<'a>, place: &str) -> Result<Option<Self>, Error> {
        let cache_control = part.cache_control;
        Ok(Some(match part.kind {
            PartKind::Text(text) if text.trim().is_empty() => return Ok(None),
            PartKind::Text(text) => Self::Text { text, cache_control },
            PartKind::Image { url } => {
                Self::Image { source: image(&url, &format!("{place}.image_url.url"))?, cache_control }
            }
            PartKind::File { data, filename } => {
                let source = document(&data, &format!("{place}.file.file_data"))?;
                Self::Document { source, title: filename.filter(|name| !name.is_empty()), cache_control }
            }
            PartKind::Audio { .. } => {
                return Err(unsupported(format_args!("{place}.input_audio"), "this model does not hear audio"));
            }
        }))
    }

    /// A text part of a message that can hold nothing else.
    pub(super) fn text_of(part: Part<'a>, place: &str) -> Result<Option<Self>, Error> {
        match part.kind {
            PartKind::Text(_) => Self::of(part, place),
            _ => Err(invalid(format_args!("{place}.type"), "this role's messages hold text alone")),
        }
    }

    /// Marks the block as the end of a cached prefix.
    pub(super) fn cache(&mut self, mark: &'a RawValue) {
        match self {
            Self::Text { cache_control, .. }
            | Self::Image { cache_control, .. }
            | Self::Document { cache_control, .. }
            | Self::ToolUse { cache_control, .. }
            | Self::ToolResult { cache_control, .. } => *cache_control = Some(mark),
            Self::Thinking { .. } | Self::RedactedThinking { .. } => {}
        }
    }
}

fn is_https(url: &str) -> bool {
    url.get(..8).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://"))
}

fn image(url: &str, place: &str) -> Result<Source, Error> {
    if is_https(url) {
        return Ok(Source::Url { url: url.to_owned() });
    }
    if url.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("http://")) {
        return Err(invalid(place, "this model's vendor fetches https URLs alone; send https or a data: URL"));
    }
    let data = DataUrl::parse(url).map_err(|why| invalid(place, why))?;
    let media_type = match data.sniffed() {
        "image/jpg" => "image/jpeg",
        kind @ ("image/jpeg" | "image/png" | "image/gif" | "image/webp") => kind,
        other => {
            let why = format!("this model sees image/jpeg, image/png, image/gif and image/webp, not {other}");
            return Err(invalid(place, why));
        }
    };
    if data.base64.len() / 4 * 3 > MAX_IMAGE_BYTES + 2 {
        return Err(invalid(place, "this model's vendor takes images of at most 5 MB; send a smaller one"));
    }
    Ok(Source::Base64 { media_type: media_type.to_owned(), data: data.base64.to_owned() })
}

fn document(file: &str, place: &str) -> Result<Source, Error> {
    if is_https(file) {
        return Ok(Source::Url { url: file.to_owned() });
    }
    let data = DataUrl::parse(file).map_err(|why| invalid(place, why))?;
    match data.sniffed() {
        "application/pdf" => {
            Ok(Source::Base64 { media_type: "application/pdf".to_owned(), data: data.base64.to_owned() })
        }
        kind if kind.starts_with("text/") || matches!(kind, "application/json" | "application/xml") => {
            let text = String::from_utf8(data.decode()).map_err(|_| invalid(place, "the text is no UTF-8"))?;
            Ok(Source::Text { media_type: "text/plain", data: text })
        }
        other => Err(invalid(place, format!("this model reads application/pdf and text files, not {other}"))),
    }
}
