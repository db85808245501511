//! `/v1/embeddings` over `embedContent` (one text) and `batchEmbedContents` (a list of them).
//!
//! `dimensions` becomes `outputDimensionality`; `encoding_format` is honoured here, as Google sends numbers alone; `user`
//! and what nobody knows is dropped. Input as token numbers is refused: they mean nothing to Gemini. Older models report no usage; then the
//! answer tells our estimate of some four bytes a token.

use std::borrow::Cow;

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, response};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::base::error::{Code, Error};
use crate::domain::usage::Usage;
use crate::http::call::Call;
use crate::provider::traits::{Decoder, Output};
use crate::wire::base64;
use crate::wire::dropped::Dropped;
use crate::wire::fields::Fields;
use crate::wire::openai_request::{invalid, missing, unsupported};
use crate::wire::text::Text;

use super::counts::Counts;
use super::fault::{self, Status};
use super::whole::{Gathered, json_head, unreadable};

/// A request for embeddings, in Gemini's words.
pub(super) struct Encoded {
    pub(super) method: &'static str,
    pub(super) body: Bytes,
    pub(super) decoder: Embeddings,
    pub(super) dropped: Dropped,
}

#[derive(Serialize)]
struct Batch<'a> {
    requests: Vec<EmbedContent<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EmbedContent<'a> {
    model: &'a str,
    content: Content<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_dimensionality: Option<u32>,
}

#[derive(Serialize)]
struct Content<'a> {
    parts: [Part<'a>; 1],
}

#[derive(Serialize)]
struct Part<'a> {
    text: Cow<'a, str>,
}

/// Translates the call; `resource` is the model's name as Google has it: `models/…`.
pub(super) fn encode(call: &Call, resource: &str) -> Result<Encoded, Error> {
    let given = call.body();
    let mut fields: Fields<'_> = serde_json::from_slice(&given).map_err(|e| {
        Error::new(Code::InvalidJson, format!("The body is no JSON object of an embeddings request: {e}."))
    })?;
    let (texts, one) = input(fields.take("input"))?;
    let base64 = match fields.take("encoding_format").map(RawValue::get) {
        None | Some("\"float\"") => false,
        Some("\"base64\"") => true,
        Some(_) => return Err(invalid("encoding_format", "give \"float\" or \"base64\"")),
    };
    let output_dimensionality = fields.take("dimensions").map(|raw| serde_json::from_str(raw.get())).transpose();
    let output_dimensionality = output_dimensionality.ok().filter(|d| *d != Some(0));
    let output_dimensionality =
        output_dimensionality.ok_or_else(|| invalid("dimensions", "give a whole number from 1"))?;
    let estimate = texts.iter().map(|t| (t.len() as u64).div_ceil(4)).sum();
    let content =
        |text| EmbedContent { model: resource, content: Content { parts: [Part { text }] }, output_dimensionality };
    let mut requests: Vec<_> = texts.into_iter().map(content).collect();
    let (method, body) = match (one, requests.pop()) {
        (true, Some(only)) => ("embedContent", serde_json::to_vec(&only)),
        (_, last) => {
            requests.extend(last);
            ("batchEmbedContents", serde_json::to_vec(&Batch { requests }))
        }
    };
    let body =
        body.map_err(|e| Error::new(Code::InternalError, "The request could not be written.").cause(e.to_string()))?;
    let decoder = Embeddings { body: Gathered::default(), model: call.model().to_owned(), base64, estimate };
    // The codec reads it from the call.
    fields.take("model");
    let mut dropped: Dropped = ["user"].into_iter().filter(|name| fields.has(name)).collect();
    fields.left().for_each(|name| dropped.push_unknown(name));
    Ok(Encoded { method, body: body.into(), decoder, dropped })
}

/// The texts, and whether they came as one rather than as a list.
fn input(raw: Option<&RawValue>) -> Result<(Vec<Cow<'_, str>>, bool), Error> {
    let raw = raw.ok_or_else(|| missing("input"))?.get();
    if raw.starts_with('"') {
        let text: Text<'_> = serde_json::from_str(raw).map_err(|e| invalid("input", e))?;
        return Ok((vec![filled(text, "input")?], true));
    }
    let items: Vec<&RawValue> =
        serde_json::from_str(raw).map_err(|_| invalid("input", "give a text or a list of texts"))?;
    if items.is_empty() {
        return Err(invalid("input", "the list is empty"));
    }
    let texts = items.into_iter().enumerate().map(|(at, item)| {
        let place = format!("input[{at}]");
        match serde_json::from_str(item.get()) {
            Ok(text) => filled(text, &place),
            Err(_) => Err(unsupported(place, "Gemini takes texts, not token numbers")),
        }
    });
    Ok((texts.collect::<Result<_, _>>()?, false))
}

fn filled<'a>(text: Text<'a>, place: &str) -> Result<Cow<'a, str>, Error> {
    if text.0.is_empty() { Err(invalid(place, "the text is empty")) } else { Ok(text.0) }
}

/// The decoder of either answer.
#[derive(Debug)]
pub(super) struct Embeddings {
    body: Gathered,
    model: String,
    base64: bool,
    /// Tokens of the input, where the vendor does not count them.
    estimate: u64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a> {
    #[serde(borrow)]
    embedding: Option<Values<'a>>,
    #[serde(default)]
    embeddings: Vec<Values<'a>>,
    usage_metadata: Option<Counts>,
    error: Option<Status<'a>>,
}

#[derive(Debug, Deserialize)]
struct Values<'a> {
    #[serde(borrow)]
    values: &'a RawValue,
}

impl Decoder for Embeddings {
    fn head(&mut self, _: &response::Parts) -> Result<HeaderMap, Error> {
        Ok(json_head())
    }

    fn push(&mut self, piece: Bytes, _: &mut Output) -> Result<(), Error> {
        self.body.push(&piece)
    }

    fn finish(&mut self, out: &mut Output) -> Result<(), Error> {
        let body = self.body.take();
        let answer: Answer<'_> = serde_json::from_slice(&body).map_err(unreadable)?;
        if let Some(error) = &answer.error {
            return Err(fault::inside(error));
        }
        let reported = answer.usage_metadata.map(|c| c.usage()).filter(|u| *u != Usage::NONE);
        let tokens = reported.map_or(self.estimate, |u| u.input_tokens);
        out.write(self.write(answer.embedding.iter().chain(&answer.embeddings), tokens)?);
        if let Some(usage) = reported {
            out.report(usage);
        }
        out.complete();
        Ok(())
    }
}

impl Embeddings {
    fn write<'v>(&self, all: impl Iterator<Item = &'v Values<'v>>, tokens: u64) -> Result<Bytes, Error> {
        let mut out = BytesMut::from(&b"{\"object\":\"list\",\"data\":["[..]);
        let mut any = false;
        for (index, vector) in all.enumerate() {
            let comma = if index > 0 { "," } else { "" };
            out.extend_from_slice(
                format!("{comma}{{\"object\":\"embedding\",\"index\":{index},\"embedding\":").as_bytes(),
            );
            if self.base64 {
                let numbers: Vec<f32> = serde_json::from_str(vector.values.get()).map_err(unreadable)?;
                let bytes: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
                out.extend_from_slice(format!("\"{}\"", base64::encode(&bytes)).as_bytes());
            } else {
                out.extend(vector.values.get().bytes().filter(|b| !b.is_ascii_whitespace()));
            }
            out.put_u8(b'}');
            any = true;
        }
        if !any {
            return Err(unreadable("it holds no embedding"));
        }
        let model = serde_json::to_string(&self.model).map_err(unreadable)?;
        let usage = format!("{{\"prompt_tokens\":{tokens},\"total_tokens\":{tokens}}}");
        out.extend_from_slice(format!("],\"model\":{model},\"usage\":{usage}}}").as_bytes());
        Ok(out.freeze())
    }
}
