//! What a caller asks for, read from JSON or from a form.

use bytes::Bytes;
use serde::Serialize;

use crate::base::error::{Code, Error};
use crate::wire::dropped::Dropped;
use crate::wire::facts::Facts;
use crate::wire::openai_request::{invalid, missing, unsupported};

use super::fields::Fields;
use super::picture::Picture;
use super::size::Size;

/// How the caller wants to have pictures: `response_format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Url,
    Base64,
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
