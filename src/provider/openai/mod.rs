//! The vendors that speak OpenAI's wire format: OpenAI, DashScope (Qwen), Moonshot (Kimi), Ark (Doubao), and any
//! compatible server.
//!
//! Nothing is translated. The caller's bytes go to the vendor as they came, with splices for what that vendor does
//! otherwise; the vendor's bytes go back as they came, and usage is read on the side. What sets the vendors apart is one
//! row each in [`Dialect`]; what their errors mean is one table in `fault`.
//!
//! | route | what is spliced, and what is refused |
//! |---|---|
//! | chat | model, bound, `stream_options`, and the quirks of the dialect |
//! | responses | model, bound, `store` as false; what the vendor would keep or run on its own is 400 |
//! | speech | model; a text that OpenAI would not speak is 400 |
//! | transcriptions, translations | the content of the form's `model` part; the recording goes on in the pieces that came |
//! | embeddings | model |
//! | images | see `images` |
//!
//! Voice is billed by what its model has a price for: tokens as the answer tells them, else characters of the text, or
//! seconds as the answer or the recording itself tells them.

mod billing;
mod chunks;
mod dialect;
mod events;
mod fault;
mod images;
mod messages;
mod plain;
mod raw;
mod request;
mod stream;
mod tail;
mod usage;
mod voice;

#[cfg(test)]
mod tests;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, StatusCode, response};

use crate::base::error::{Code, Error};
use crate::domain::endpoint::Endpoint;
use crate::http::call::Call;
use crate::http::headers::answer_headers;

use super::traits::{Decoder, Exchange, Output, Provider, Target};

use billing::Billing;
use chunks::Chunks;
pub use dialect::Dialect;
use events::TypedEvents;
use plain::Plain;
use raw::Raw;
use stream::Stream;

/// The codec of the OpenAI-shaped vendors.
///
/// ```
/// use kancy::provider::openai::{Dialect, OpenAi};
/// use kancy::provider::traits::Provider;
///
/// assert_eq!(OpenAi::new(Dialect::Moonshot).kind(), "moonshot");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct OpenAi {
    dialect: Dialect,
}

impl OpenAi {
    /// The codec for this vendor.
    pub const fn new(dialect: Dialect) -> Self {
        Self { dialect }
    }
}

impl Provider for OpenAi {
    fn kind(&self) -> &'static str {
        self.dialect.kind()
    }

    fn supports(&self, endpoint: Endpoint) -> bool {
        self.dialect.path(endpoint).is_some()
    }

    fn encode(&self, call: &Call, target: &Target) -> Result<Exchange, Error> {
        if matches!(call.endpoint(), Endpoint::ImageGenerations | Endpoint::ImageEdits) {
            return images::encode(self.dialect, call, target);
        }
        let (request, dropped) = request::encode(self.dialect, call, target)?;
        let decoder = Answer {
            dialect: self.dialect,
            endpoint: call.endpoint(),
            asked: Written::of(call),
            shows_usage: call.wants_usage() || !call.streams(),
            billing: Billing::of(call, target),
            sound: voice::sound(call),
            images: None,
            form: None,
        };
        Ok(Exchange { request: Some(request), decoder: Box::new(decoder), dropped: dropped.into() })
    }

    fn fault(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Error {
        fault::of_answer(self.dialect, status, headers, body)
    }
}

/// How an answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Written {
    Events,
    Json,
    Text,
    Sound,
}

impl Written {
    fn of(call: &Call) -> Self {
        match call.endpoint() {
            Endpoint::Speech => Self::Sound,
            _ if call.streams() => Self::Events,
            endpoint if endpoint.takes_recording() => match call.facts().response_format.as_deref() {
                Some("text" | "srt" | "vtt") => Self::Text,
                _ => Self::Json,
            },
            _ => Self::Json,
        }
    }
}

/// Reads one way of writing an answer.
trait Form: Send + Sync {
    fn push(&mut self, piece: Bytes, out: &mut Output) -> Result<(), Error>;

    fn finish(&mut self, out: &mut Output) -> Result<(), Error>;
}

/// A successful answer: events, one JSON body, text or sound, as its head says.
struct Answer {
    dialect: Dialect,
    endpoint: Endpoint,
    asked: Written,
    shows_usage: bool,
    billing: Billing,
    /// The content type of the sound that was asked for.
    sound: &'static str,
    /// Of an answer made of pictures: what is counted, and members to put before all others.
    images: Option<(images::Counts, Bytes)>,
    form: Option<Box<dyn Form>>,
}

impl Answer {
    /// The vendor's content type decides; where it says nothing, what was asked for.
    fn written(&self, content_type: &str) -> Result<Written, Error> {
        // The two that nearly all answers have, as they are nearly always written.
        match content_type {
            "application/json" => return Ok(Written::Json),
            "text/event-stream" | "text/event-stream; charset=utf-8" => return Ok(Written::Events),
            _ => {}
        }
        let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let wrong = |message| Err(Error::provider(Code::ProviderError, message));
        match kind.as_str() {
            "text/event-stream" => Ok(Written::Events),
            "text/html" => wrong("The provider answered with a web page; its base URL may be wrong."),
            kind if kind.ends_with("json") => Ok(Written::Json),
            kind if kind.starts_with("text/") && self.endpoint.takes_recording() => Ok(Written::Text),
            _ => Ok(self.asked),
        }
    }

    /// The content type that goes out: the vendor's own, where it fits what the answer is.
    fn content_type(&self, written: Written, said: Option<&HeaderValue>) -> HeaderValue {
        if let Some(json) = said.filter(|said| written == Written::Json && said.as_bytes() == b"application/json") {
            return json.clone();
        }
        let text = said.and_then(|value| value.to_str().ok()).unwrap_or_default().to_ascii_lowercase();
        let (fits, default) = match written {
            Written::Events => (text.starts_with("text/event-stream"), "text/event-stream; charset=utf-8"),
            Written::Json => (text.contains("json"), "application/json"),
            Written::Text => (!text.is_empty(), "text/plain; charset=utf-8"),
            Written::Sound => (!text.is_empty(), self.sound),
        };
        said.filter(|_| fits).cloned().unwrap_or(HeaderValue::from_static(default))
    }

    fn read(&self, written: Written) -> Box<dyn Form> {
        let (dialect, billing) = (self.dialect, self.billing);
        if let Some((counts, first)) = &self.images {
            return match written {
                Written::Events => Box::new(images::Stream::new(dialect, counts.clone())),
                _ => Box::new(Plain::of_images(dialect, billing, counts.clone(), first.clone())),
            };
        }
        match (written, self.endpoint) {
            (Written::Events, Endpoint::ChatCompletions | Endpoint::Embeddings) => {
                Box::new(Stream::new(Chunks::new(dialect, self.shows_usage)))
            }
            (Written::Events, endpoint) => Box::new(Stream::new(TypedEvents::new(dialect, endpoint, billing))),
            (Written::Json, Endpoint::ChatCompletions | Endpoint::Embeddings) if !dialect.nests_usage() => {
                Box::new(Plain::new(dialect, billing).by_its_end())
            }
            (Written::Json, _) => Box::new(Plain::new(dialect, billing)),
            (Written::Text, _) => Box::new(Raw::new(billing, true)),
            (Written::Sound, _) => Box::new(Raw::new(billing, false)),
        }
    }

    fn form(&mut self) -> Result<&mut Box<dyn Form>, Error> {
        self.form
            .as_mut()
            .ok_or_else(|| Error::new(Code::InternalError, "The answer's head was not read before its body."))
    }
}

impl Decoder for Answer {
    fn head(&mut self, vendor: &response::Parts) -> Result<HeaderMap, Error> {
        let content_type = vendor.headers.get(CONTENT_TYPE);
        let text = content_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
        let written = self.written(text)?;
        if (written, self.endpoint) == (Written::Json, Endpoint::Speech) {
            return Err(Error::provider(Code::ProviderError, "The provider answered without a sound. Try again."));
        }
        let headers = answer_headers(self.content_type(written, content_type));
        self.form = Some(self.read(written));
        Ok(headers)
    }

    fn push(&mut self, piece: Bytes, out: &mut Output) -> Result<(), Error> {
        self.form()?.push(piece, out)
    }

    fn finish(&mut self, out: &mut Output) -> Result<(), Error> {
        self.form()?.finish(out)
    }
}
