//! The offline provider: answers every route but video by itself, always the same answer to the same request.
//!
//! For trying the gateway out and for tests: it sends nothing anywhere. Chat says the last user message back, embeddings
//! are drawn from a hash of their text, images and speech are small but real files, transcription tells how much it heard.

mod audio;
mod demo;
mod embeddings;
mod film;
mod image;
mod text;
mod video;

#[cfg(test)]
mod tests;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, response};
use serde_json::Value;

use crate::base::error::{Code, Error};
use crate::domain::endpoint::Endpoint;
use crate::domain::usage::Usage;
use crate::http::call::Call;
use crate::http::headers::answer_headers;
use crate::wire::dropped::Dropped;

use super::traits::{Decoder, Exchange, Output, Provider, Target};

pub use demo::demo_models;
pub use video::EchoVideo;

/// The `created` of every answer: a codec has no clock, and the same request has the same answer.
const CREATED: u64 = 1_700_000_000;

/// The codec of the offline provider.
///
/// ```
/// use kancy::provider::echo::Echo;
/// use kancy::provider::traits::Provider;
///
/// assert_eq!(Echo.kind(), "echo");
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Echo;

impl Provider for Echo {
    fn kind(&self) -> &'static str {
        "echo"
    }

    fn supports(&self, endpoint: Endpoint) -> bool {
        !matches!(endpoint, Endpoint::VideoGenerations | Endpoint::Videos)
    }

    fn encode(&self, call: &Call, target: &Target) -> Result<Exchange, Error> {
        let answer = match call.endpoint() {
            Endpoint::ChatCompletions => text::chat(call, &target.upstream),
            Endpoint::Responses => text::response(call, &target.upstream),
            Endpoint::Embeddings => embeddings::answer(call, &target.upstream),
            Endpoint::ImageGenerations | Endpoint::ImageEdits => image::answer(call),
            Endpoint::Speech => audio::speech(call),
            Endpoint::Transcriptions | Endpoint::Translations => audio::transcription(call),
            other => Err(Error::new(
                Code::ProviderModelUnavailable,
                format!("The offline provider does not serve {}.", other.path()),
            )),
        }?;
        Ok(Exchange { request: None, decoder: Box::new(answer), dropped: Dropped::default() })
    }

    fn fault(&self, _: StatusCode, _: &HeaderMap, _: &[u8]) -> Error {
        Error::new(Code::InternalError, "The offline provider is never called, so it cannot fail.")
    }
}

/// A finished answer.
struct Answer {
    content_type: &'static str,
    frames: Vec<Bytes>,
    usage: Usage,
}

impl Answer {
    fn json(value: &Value, usage: Usage) -> Self {
        Self::whole("application/json", value.to_string(), usage)
    }

    fn whole(content_type: &'static str, body: impl Into<Bytes>, usage: Usage) -> Self {
        Self { content_type, frames: vec![body.into()], usage }
    }

    fn events(frames: Vec<Bytes>, usage: Usage) -> Self {
        Self { content_type: "text/event-stream; charset=utf-8", frames, usage }
    }
}

/// An event without a name.
fn event(data: &Value) -> Bytes {
    format!("data: {data}\n\n").into()
}

impl Decoder for Answer {
    fn head(&mut self, _: &response::Parts) -> Result<HeaderMap, Error> {
        Ok(answer_headers(HeaderValue::from_static(self.content_type)))
    }

    fn push(&mut self, _: Bytes, _: &mut Output) -> Result<(), Error> {
        Ok(())
    }

    fn finish(&mut self, out: &mut Output) -> Result<(), Error> {
        self.frames.drain(..).for_each(|frame| out.write(frame));
        out.report(self.usage);
        out.complete();
        Ok(())
    }
}

/// The body as a tree: what a gateway avoids, the offline vendor may.
fn body(call: &Call) -> Result<Value, Error> {
    serde_json::from_slice(&call.body()).map_err(|_| Error::new(Code::InvalidJson, "The body is not valid JSON."))
}

fn missing(field: &'static str) -> Error {
    Error::new(Code::MissingParameter, format!("The field \"{field}\" is missing.")).param(field)
}

fn invalid(field: &'static str, wanted: &str) -> Error {
    Error::new(Code::InvalidParameter, format!("The field \"{field}\" has to be {wanted}.")).param(field)
}

/// A token is four characters here.
fn count_tokens(text: &str) -> u64 {
    text.chars().count().div_ceil(4) as u64
}
