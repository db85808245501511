//! A picture that a caller sends along: by URL, in the JSON, or as a file of a form.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use bytes::Bytes;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::base::error::Error;
use crate::wire::base64::Encoder;
use crate::wire::data_url::DataUrl;
use crate::wire::facts::Part;
use crate::wire::openai_request::{invalid, missing, unsupported};
use crate::wire::text::Text;

/// A picture that the caller sends along.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Picture<'a> {
    /// By an https URL.
    Url(Cow<'a, str>),
    Inline {
        media_type: String,
        base64: Cow<'a, str>,
    },
}

/// As one URL: its own, or a `data:` one.
impl fmt::Display for Picture<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(url) => f.write_str(url),
            Self::Inline { media_type, base64 } => {
                write!(f, "data:{media_type};base64,")?;
                f.write_str(base64)
            }
        }
    }
}

/// As a URL, written straight into the request.
impl Serialize for Picture<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A file of a form.
pub(super) fn uploaded<'a>(pieces: &[Bytes], part: &Part) -> Result<Picture<'a>, Error> {
    if part.content.is_empty() {
        return Err(invalid(&part.name, "the file is empty"));
    }
    let declared = part.content_type.as_deref().unwrap_or_default().to_ascii_lowercase();
    let mut base64 = Vec::with_capacity(part.content.len().div_ceil(3) * 4);
    let mut encoder = Encoder::default();
    each(pieces, part, |run| encoder.push(run, &mut base64));
    encoder.finish(&mut base64);
    let base64 = String::from_utf8(base64).unwrap_or_default();
    let media_type = DataUrl { media_type: declared, base64: &base64 }.sniffed().to_owned();
    if !media_type.starts_with("image/") {
        return Err(invalid(&part.name, "the file is no picture: send PNG, JPEG or WebP"));
    }
    Ok(Picture::Inline { media_type, base64: base64.into() })
}

/// A picture in JSON: a URL, or an object around one.
pub(super) fn linked<'a>(raw: &'a str, place: &str) -> Result<Picture<'a>, Error> {
    if raw.starts_with('{') {
        let object: HashMap<String, &'a RawValue> = serde_json::from_str(raw).map_err(|e| invalid(place, e))?;
        if object.contains_key("file_id") {
            return Err(unsupported(format_args!("{place}.file_id"), "send the picture itself, as a data: URL"));
        }
        let url = ["image_url", "url"].iter().find_map(|key| object.get(*key));
        let url = url.ok_or_else(|| missing(format_args!("{place}.image_url")))?;
        return linked(url.get(), &format!("{place}.image_url"));
    }
    let Text(url) = serde_json::from_str(raw).map_err(|_| invalid(place, "give a URL, or a list of them"))?;
    if url.get(..8).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://")) {
        return Ok(Picture::Url(url));
    }
    let (media_type, prefix) = {
        let data = DataUrl::parse(&url)
            .map_err(|_| invalid(place, "give an https URL, or data:image/png;base64, and the picture in base64"))?;
        (data.sniffed().to_owned(), url.len() - data.base64.len())
    };
    if !media_type.starts_with("image/") {
        return Err(invalid(place, format_args!("{media_type} is no picture")));
    }
    let base64 = match url {
        Cow::Borrowed(url) => Cow::Borrowed(url[prefix..].trim_end()),
        Cow::Owned(url) => Cow::Owned(url[prefix..].trim_end().to_owned()),
    };
    Ok(Picture::Inline { media_type, base64 })
}

/// A part's bytes where they lie.
pub(super) fn each(pieces: &[Bytes], part: &Part, mut take: impl FnMut(&[u8])) {
    let mut offset = 0;
    for piece in pieces {
        let place = |at: usize| at.clamp(offset, offset + piece.len()) - offset;
        take(&piece[place(part.content.start)..place(part.content.end)]);
        offset += piece.len();
    }
}
