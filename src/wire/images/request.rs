//! What a caller asks for, read from JSON or from a form.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::fmt;

use bytes::Bytes;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::base::error::{Code, Error};
use crate::wire::base64::Encoder;
use crate::wire::data_url::DataUrl;
use crate::wire::dropped::Dropped;
use crate::wire::facts::{Facts, Multipart, Part};
use crate::wire::openai_request::{invalid, missing, unsupported};
use crate::wire::text::Text;

use super::size::Size;

/// How the caller wants to have pictures: `response_format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Url,
    Base64,
}

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

/// A request for images in the caller's words.
#[derive(Debug)]
pub(crate) struct ImageRequest<'a> {
    pub(crate) prompt: String,
    /// At least 1.
    pub(crate) n: u64,
    /// `None` leaves it to the vendor.
    pub(crate) size: Option<Size>,
    pub(crate) form: Option<Form>,
    pub(crate) pictures: Vec<Picture<'a>>,
    pub(crate) has_mask: bool,
    pub(crate) quality: Option<String>,
    pub(crate) output_format: Option<String>,
    pub(crate) seed: Option<i64>,
    pub(crate) partial_pictures: Option<i64>,
    pub(crate) watermark: bool,
    /// The fields of [`SOFT`] that ask for something.
    given: Vec<&'static str>,
    /// The names of fields that nobody knows.
    unknown: Vec<String>,
}

/// Options that a vendor may lack without the request being another one.
pub(crate) const SOFT: [&str; 13] = [
    "quality",
    "background",
    "output_format",
    "output_compression",
    "negative_prompt",
    "seed",
    "watermark",
    "style",
    "moderation",
    "input_fidelity",
    "partial_images",
    "guidance_scale",
    "user",
];

/// The fields that are read, beside those of [`SOFT`].
const READ: [&str; 9] = ["model", "prompt", "n", "size", "response_format", "image", "images", "mask", "stream"];

/// More reference pictures than any vendor takes.
const MAX_PICTURES: usize = 16;

impl<'a> ImageRequest<'a> {
    /// Reads the request. `body` is the whole of it where it is JSON; a form's parts are looked up in `pieces` alone.
    pub(crate) fn read(pieces: &'a [Bytes], body: &'a [u8], facts: &Facts) -> Result<Self, Error> {
        let fields = match &facts.multipart {
            Some(form) => Fields::of_form(pieces, form),
            None => Fields::of_json(body)?,
        };
        let form = match fields.text("response_format")?.as_deref() {
            None => None,
            Some("url") => Some(Form::Url),
            Some("b64_json") => Some(Form::Base64),
            Some(_) => return Err(invalid("response_format", "give \"url\" or \"b64_json\"")),
        };
        let prompt = fields.text("prompt")?.ok_or_else(|| missing("prompt"))?;
        if prompt.trim().is_empty() {
            return Err(invalid("prompt", "it is empty: say what the picture should show"));
        }
        let mut given = Vec::new();
        for field in SOFT {
            if fields.asks(field) {
                given.push(field);
            }
        }
        Ok(Self {
            prompt,
            n: facts.n.as_ref().map_or(1, |n| n.value),
            size: fields.text("size")?.map_or(Ok(None), |size| Size::read(&size))?,
            form,
            pictures: fields.pictures()?,
            has_mask: fields.asks("mask"),
            quality: fields.text("quality")?.filter(|quality| quality != "auto"),
            output_format: fields.text("output_format")?,
            seed: fields.whole("seed")?,
            partial_pictures: fields.whole("partial_images")?,
            watermark: fields.flag("watermark")?.unwrap_or(false),
            given,
            unknown: fields.unknown(),
        })
    }

    /// Refuses a prompt of more characters than the vendor takes.
    pub(crate) fn prompt_at_most(&self, characters: usize) -> Result<(), Error> {
        let there = self.prompt.chars().count();
        if there <= characters {
            return Ok(());
        }
        Err(invalid("prompt", format_args!("this model takes at most {characters} characters, and it has {there}")))
    }

    /// Refuses more pictures at once than the vendor makes.
    pub(crate) fn n_at_most(&self, most: u64) -> Result<(), Error> {
        if self.n <= most {
            return Ok(());
        }
        Err(invalid("n", format_args!("this model makes at most {most} at once")))
    }

    /// Refuses more reference pictures than the vendor takes.
    pub(crate) fn pictures_at_most(&self, most: usize) -> Result<(), Error> {
        match (self.pictures.len(), most) {
            (0, _) => Ok(()),
            (_, 0) => Err(unsupported("image", "this model takes no reference pictures")),
            (there, most) if there > most => {
                Err(invalid("image", format_args!("this model takes at most {most} pictures, and there are {there}")))
            }
            _ => Ok(()),
        }
    }

    /// Refuses a mask, where the vendor edits by instruction alone.
    pub(crate) fn no_mask(&self) -> Result<(), Error> {
        if self.has_mask {
            return Err(unsupported("mask", "this model edits by the prompt alone: say there what is to change"));
        }
        Ok(())
    }

    /// The request in a vendor's words. Pictures are large: there is room for them from the start.
    pub(crate) fn written(&self, body: &impl Serialize) -> Result<Bytes, Error> {
        let of = |picture: &Picture<'_>| match picture {
            Picture::Url(url) => url.len(),
            Picture::Inline { base64, .. } => base64.len(),
        };
        let pictures: usize = self.pictures.iter().map(|picture| of(picture) + 64).sum();
        let mut text = Vec::with_capacity(pictures + self.prompt.len() + 1_024);
        serde_json::to_writer(&mut text, body)
            .map_err(|e| Error::new(Code::InternalError, "The request could not be written.").cause(e.to_string()))?;
        Ok(text.into())
    }

    /// What is left out, as the vendor has only `honoured` of the soft options.
    pub(crate) fn ignored(&self, honoured: &[&str]) -> Vec<&'static str> {
        self.given.iter().copied().filter(|field| !honoured.contains(field)).collect()
    }

    /// What is told to be left out where the request is translated: what is `ignored`, and what nobody knows.
    pub(crate) fn dropped(&self, ignored: Vec<&'static str>) -> Dropped {
        let mut dropped = Dropped::from(ignored);
        self.unknown.iter().for_each(|name| dropped.push_unknown(name));
        dropped
    }
}

/// The sentence of `warnings` about an option that was left out; none about what does not touch the picture.
pub(crate) fn left_out(field: &str) -> Option<String> {
    (field != "user").then(|| format!("\"{field}\" was left out: this model does not have it."))
}

/// The request's fields by name, before anything is known of them.
enum Fields<'a> {
    Json(HashMap<String, &'a RawValue>),
    Form(&'a [Bytes], Vec<Part>),
}

impl<'a> Fields<'a> {
    fn of_json(body: &'a [u8]) -> Result<Self, Error> {
        let fields: HashMap<String, &'a RawValue> = serde_json::from_slice(body).map_err(|e| {
            Error::new(Code::InvalidJson, format!("The body is no JSON object of an image request: {e}."))
        })?;
        Ok(Self::Json(fields))
    }

    fn of_form(pieces: &'a [Bytes], form: &Multipart) -> Self {
        Self::Form(pieces, form.parts.clone())
    }

    /// The fields that are there and that nobody knows, by name.
    fn unknown(&self) -> Vec<String> {
        let names: BTreeSet<&str> = match self {
            Self::Json(fields) => fields.keys().map(String::as_str).filter(|name| self.json(name).is_some()).collect(),
            Self::Form(_, parts) => parts.iter().map(Part::bare_name).collect(),
        };
        let is_known = |name: &str| READ.contains(&name) || SOFT.contains(&name);
        names.into_iter().filter(|name| !is_known(name)).map(str::to_owned).collect()
    }

    /// The JSON value of a field that is there and not null.
    fn json(&self, name: &str) -> Option<&'a str> {
        match self {
            Self::Json(fields) => fields.get(name).map(|raw| raw.get()).filter(|raw| *raw != "null"),
            Self::Form(..) => None,
        }
    }

    fn form_text(&self, name: &'static str) -> Result<Option<String>, Error> {
        let Self::Form(pieces, parts) = self else { return Ok(None) };
        let mut found = parts.iter().filter(|part| part.bare_name() == name && part.filename.is_none());
        let Some(part) = found.next() else { return Ok(None) };
        if found.next().is_some() {
            return Err(invalid(name, "the form field stands twice: send it once"));
        }
        let text = String::from_utf8(content(pieces, part)).map_err(|_| invalid(name, "it is no UTF-8 text"))?;
        Ok(Some(text).filter(|text| !text.is_empty() || name == "prompt"))
    }

    fn text(&self, name: &'static str) -> Result<Option<String>, Error> {
        match self.json(name) {
            Some(raw) => serde_json::from_str(raw).map(Some).map_err(|_| invalid(name, "give a text")),
            None => self.form_text(name),
        }
    }

    fn flag(&self, name: &'static str) -> Result<Option<bool>, Error> {
        let text = match self.json(name) {
            Some(raw) => Some(raw.to_owned()),
            None => self.form_text(name)?,
        };
        text.map(|text| text.parse()).transpose().map_err(|_| invalid(name, "give true or false"))
    }

    fn whole(&self, name: &'static str) -> Result<Option<i64>, Error> {
        let text = match self.json(name) {
            Some(raw) => Some(raw.to_owned()),
            None => self.form_text(name)?,
        };
        text.map(|text| text.parse()).transpose().map_err(|_| invalid(name, "give a whole number"))
    }

    /// Whether a field says something that is not what would be done anyhow.
    fn asks(&self, name: &str) -> bool {
        match self {
            Self::Json(_) => self.json(name).is_some_and(|raw| !matches!(raw, "\"auto\"" | "\"\"" | "false")),
            Self::Form(pieces, parts) => parts.iter().filter(|part| part.bare_name() == name).any(|part| {
                part.filename.is_some() || !matches!(content(pieces, part).as_slice(), b"auto" | b"" | b"false")
            }),
        }
    }

    fn pictures(&self) -> Result<Vec<Picture<'a>>, Error> {
        let mut found = Vec::new();
        for name in ["image", "images"] {
            match self {
                Self::Form(pieces, parts) => {
                    for part in parts.iter().filter(|part| part.bare_name() == name) {
                        found.push(uploaded(pieces, part)?);
                    }
                }
                Self::Json(_) => {
                    let Some(raw) = self.json(name) else { continue };
                    if raw.starts_with('[') {
                        let list: Vec<&RawValue> = serde_json::from_str(raw).map_err(|e| invalid(name, e))?;
                        for (at, one) in list.iter().enumerate() {
                            found.push(linked(one.get(), &format!("{name}[{at}]"))?);
                        }
                    } else {
                        found.push(linked(raw, name)?);
                    }
                }
            }
        }
        if found.len() > MAX_PICTURES {
            return Err(invalid("image", format_args!("give at most {MAX_PICTURES} pictures")));
        }
        Ok(found)
    }
}

/// A part's bytes.
fn content(pieces: &[Bytes], part: &Part) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(part.content.len());
    each(pieces, part, |run| bytes.extend_from_slice(run));
    bytes
}

/// A part's bytes where they lie.
fn each(pieces: &[Bytes], part: &Part, mut take: impl FnMut(&[u8])) {
    let mut offset = 0;
    for piece in pieces {
        let place = |at: usize| at.clamp(offset, offset + piece.len()) - offset;
        take(&piece[place(part.content.start)..place(part.content.end)]);
        offset += piece.len();
    }
}

/// A file of a form.
fn uploaded<'a>(pieces: &[Bytes], part: &Part) -> Result<Picture<'a>, Error> {
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
fn linked<'a>(raw: &'a str, place: &str) -> Result<Picture<'a>, Error> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{multipart, peek};

    fn json(body: &str, check: impl FnOnce(Result<ImageRequest<'_>, Error>)) {
        let pieces = [Bytes::copy_from_slice(body.as_bytes())];
        let facts = peek::peek(&pieces).expect(body);
        check(ImageRequest::read(&pieces, body.as_bytes(), &facts));
    }

    #[test]
    fn what_cannot_be_meant_names_the_field() {
        for (body, code, param) in [
            (r#"{}"#, Code::MissingParameter, "prompt"),
            (r#"{"prompt":null}"#, Code::MissingParameter, "prompt"),
            (r#"{"prompt":" \n"}"#, Code::InvalidParameter, "prompt"),
            (r#"{"prompt":["a"]}"#, Code::InvalidParameter, "prompt"),
            (r#"{"prompt":"a","size":"huge"}"#, Code::InvalidParameter, "size"),
            (r#"{"prompt":"a","response_format":"png"}"#, Code::InvalidParameter, "response_format"),
            (r#"{"prompt":"a","seed":"x"}"#, Code::InvalidParameter, "seed"),
            (r#"{"prompt":"a","watermark":1}"#, Code::InvalidParameter, "watermark"),
            (r#"{"prompt":"a","image":"http://x/y.png"}"#, Code::InvalidParameter, "image"),
            (r#"{"prompt":"a","image":["data:text/plain;base64,aGk="]}"#, Code::InvalidParameter, "image[0]"),
            (r#"{"prompt":"a","images":[{"file_id":"f"}]}"#, Code::UnsupportedParameter, "images[0].file_id"),
            (r#"{"prompt":"a","images":[{}]}"#, Code::MissingParameter, "images[0].image_url"),
        ] {
            json(body, |result| {
                let error = result.expect_err(body);
                assert_eq!((error.code(), error.param_name()), (code, Some(param)), "{body}");
            });
        }
        let zero = peek::peek(&[Bytes::from_static(br#"{"prompt":"a","n":0}"#)]).unwrap_err();
        assert_eq!((zero.code(), zero.param_name()), (Code::InvalidParameter, Some("n")));
    }

    #[test]
    fn limits_are_named_with_their_number() {
        json(r#"{"prompt":"four","n":3,"image":["https://a/1","https://a/2"],"mask":"https://a/m"}"#, |request| {
            let request = request.unwrap();
            for (result, number) in [
                (request.prompt_at_most(3), "at most 3 characters"),
                (request.n_at_most(2), "at most 2 at once"),
                (request.pictures_at_most(1), "at most 1 pictures"),
                (request.pictures_at_most(0), "no reference pictures"),
                (request.no_mask(), "by the prompt alone"),
            ] {
                assert!(result.unwrap_err().message().contains(number), "{number}");
            }
            assert!(
                request.prompt_at_most(4).is_ok()
                    && request.n_at_most(3).is_ok()
                    && request.pictures_at_most(2).is_ok()
            );
        });
    }

    #[test]
    fn an_option_that_asks_for_nothing_is_not_missed() {
        json(
            r#"{"prompt":"a","quality":"auto","background":"transparent","watermark":false,"seed":5,"style":null,"user":"u"}"#,
            |request| {
                let request = request.unwrap();
                assert_eq!(request.ignored(&["seed"]), ["background", "user"]);
                assert!(left_out("background").is_some() && left_out("user").is_none());
            },
        );
    }

    #[test]
    fn pictures_come_by_url_by_data_url_and_in_a_form() {
        let png = "iVBORw0KGgo=";
        json(
            &format!(
                r#"{{"prompt":"a","image":"data:image\/jpeg;base64,{png}","images":["https://a/b",{{"image_url":{{"url":"https://c/d"}}}}]}}"#
            ),
            |request| {
                let pictures = request.unwrap().pictures;
                assert_eq!(pictures[0], Picture::Inline { media_type: "image/png".into(), base64: png.into() });
                assert_eq!(pictures[1..], [Picture::Url("https://a/b".into()), Picture::Url("https://c/d".into())]);
            },
        );
        let form = "--b\r\nContent-Disposition: form-data; name=\"image[]\"; filename=\"a.png\"\r\nContent-Type: image/png\r\n\r\n\
            \u{7f}PNG\r\n--b\r\nContent-Disposition: form-data; name=\"prompt\"\r\n\r\na cat\r\n\
            --b\r\nContent-Disposition: form-data; name=\"seed\"\r\n\r\n7\r\n--b--\r\n";
        let pieces = [Bytes::from(form)];
        let facts = multipart::read(&pieces, "multipart/form-data; boundary=b").unwrap();
        let request = ImageRequest::read(&pieces, &[], &facts).unwrap();
        assert_eq!((request.prompt.as_str(), request.seed, request.n), ("a cat", Some(7), 1));
        assert_eq!(request.pictures[0].to_string(), "data:image/png;base64,f1BORw==");
    }
}
