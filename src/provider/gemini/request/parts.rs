//! Parts of a content: what Gemini calls a message's pieces.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::base::error::Error;
use crate::wire::data_url::{DataUrl, is_base64};
use crate::wire::openai_request::{Part as Given, PartKind, invalid, unsupported};

/// A turn of the conversation, or the system instruction (which has no role).
#[derive(Debug, Serialize)]
pub(super) struct Content<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) role: Option<Role>,
    pub(super) parts: Vec<Part<'a>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Role {
    User,
    Model,
}

/// A part: one field tells its kind; a call may bear its thought signature beside.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Part<'a> {
    #[serde(flatten)]
    pub(super) kind: Kind<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) thought_signature: Option<Cow<'a, str>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Kind<'a> {
    Text(&'a str),
    InlineData(Blob<'a>),
    FileData(FileData<'a>),
    FunctionCall(FunctionCall<'a>),
    FunctionResponse(FunctionResponse<'a>),
}

impl Default for Kind<'_> {
    fn default() -> Self {
        Self::Text(" ")
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Blob<'a> {
    mime_type: String,
    data: &'a str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct FileData<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    mime_type: Option<&'static str>,
    file_uri: &'a str,
}

#[derive(Debug, Serialize)]
pub(super) struct FunctionCall<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<&'a str>,
    pub(super) name: Cow<'a, str>,
    pub(super) args: Box<RawValue>,
}

#[derive(Debug, Serialize)]
pub(super) struct FunctionResponse<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<&'a str>,
    pub(super) name: Cow<'a, str>,
    pub(super) response: Box<RawValue>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) parts: Vec<Part<'a>>,
}

impl<'a> Part<'a> {
    pub(super) fn of(kind: Kind<'a>) -> Self {
        Self { kind, thought_signature: None }
    }

    pub(super) fn is_text(&self) -> bool {
        matches!(self.kind, Kind::Text(_))
    }

    /// A caller's part at `place`; `None` for empty text, which Gemini refuses.
    pub(super) fn convert(given: &'a Given<'a>, place: &str) -> Result<Option<Self>, Error> {
        let kind = match &given.kind {
            PartKind::Text(text) if text.is_empty() => return Ok(None),
            PartKind::Text(text) => Kind::Text(text),
            PartKind::Image { url } => image(url, &format!("{place}.image_url.url"))?,
            PartKind::Audio { data, format } => audio(data, format, &format!("{place}.input_audio"))?,
            PartKind::File { data, .. } => file(data, &format!("{place}.file.file_data"))?,
        };
        Ok(Some(Self::of(kind)))
    }
}

fn image<'a>(url: &'a str, place: &str) -> Result<Kind<'a>, Error> {
    if is_https(url) {
        return Ok(by_url(url));
    }
    let image = data_url(url, place)?;
    match image.sniffed() {
        "image/jpg" => Ok(blob("image/jpeg", image.base64)),
        kind if kind.starts_with("image/") => Ok(blob(kind, image.base64)),
        kind => Err(invalid(place, format_args!("{kind} is no image; send it as a file part"))),
    }
}

fn audio<'a>(data: &'a str, format: &str, place: &str) -> Result<Kind<'a>, Error> {
    if !matches!(format, "wav" | "mp3" | "aiff" | "aac" | "ogg" | "flac") {
        let why = format_args!("{format:?} is none of wav, mp3, aiff, aac, ogg and flac");
        return Err(invalid(format_args!("{place}.format"), why));
    }
    if !is_base64(data) {
        return Err(invalid(format_args!("{place}.data"), "it is no base64"));
    }
    Ok(blob(&format!("audio/{format}"), data))
}

fn file<'a>(data: &'a str, place: &str) -> Result<Kind<'a>, Error> {
    if is_https(data) {
        return Ok(by_url(data));
    }
    let file = data_url(data, place)?;
    let kind = file.sniffed();
    let family = kind.split('/').next().unwrap_or_default();
    match (kind, family) {
        ("application/json", _) | (_, "text") => Ok(blob("text/plain", file.base64)),
        ("application/pdf", _) | (_, "image" | "audio" | "video") => Ok(blob(kind, file.base64)),
        _ => Err(unsupported(place, format_args!("Gemini reads PDF, text, images, audio and video, not {kind}"))),
    }
}

fn blob<'a>(mime_type: &str, data: &'a str) -> Kind<'a> {
    Kind::InlineData(Blob { mime_type: mime_type.to_owned(), data })
}

fn data_url<'a>(url: &'a str, place: &str) -> Result<DataUrl<'a>, Error> {
    DataUrl::parse(url).map_err(|why| {
        let shown = url.split([':', '/']).next().unwrap_or_default();
        match shown {
            "http" | "gs" => invalid(place, "give an https or a data: URL"),
            _ => invalid(place, why),
        }
    })
}

fn is_https(url: &str) -> bool {
    url.get(..8).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://"))
}

/// Google fetches it; where the path names the type it is told.
fn by_url(url: &str) -> Kind<'_> {
    const TYPES: [(&str, &str); 9] = [
        (".png", "image/png"),
        (".jpg", "image/jpeg"),
        (".jpeg", "image/jpeg"),
        (".webp", "image/webp"),
        (".heic", "image/heic"),
        (".heif", "image/heif"),
        (".gif", "image/gif"),
        (".pdf", "application/pdf"),
        (".mp4", "video/mp4"),
    ];
    let path = url.split(['?', '#']).next().unwrap_or_default().to_ascii_lowercase();
    let mime_type = TYPES.iter().find(|(end, _)| path.ends_with(end)).map(|(_, kind)| *kind);
    Kind::FileData(FileData { mime_type, file_uri: url })
}
