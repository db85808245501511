//! The vendors that speak OpenAI's wire format: OpenAI, DashScope (Qwen), Moonshot (Kimi), Ark (Doubao), and any
//! compatible server.
//!
//! Nothing is translated. The caller's bytes go to the vendor as they came, with splices for what that vendor does
//! otherwise; the vendor's bytes go back as they came, and usage is read on the side. What sets the vendors apart is one
//! row each in [`Dialect`]; what their errors mean is one table in `fault`.

mod dialect;
mod fault;
mod images;
mod plain;
mod request;
mod stream;
mod usage;

#[cfg(test)]
mod tests;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, response};

use crate::base::error::{Code, Error};
use crate::domain::endpoint::Endpoint;
use crate::http::call::Call;

use super::traits::{Decoder, Exchange, Output, Provider, Target};

pub use dialect::Dialect;
use plain::Plain;
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
            asked_stream: call.streams(),
            shows_usage: call.wants_usage() || !call.streams(),
            counts_output: call.endpoint() == Endpoint::ChatCompletions,
            images: None,
            form: None,
        };
        Ok(Exchange { request: Some(request), decoder: Box::new(decoder), dropped })
    }

    fn fault(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Error {
        fault::of_answer(self.dialect, status, headers, body)
    }
}

/// A successful answer: events or one JSON body, as its head says.
struct Answer {
    dialect: Dialect,
    asked_stream: bool,
    shows_usage: bool,
    counts_output: bool,
    /// Of an answer made of pictures: what is counted, and members to put before all others.
    images: Option<(images::Counts, Bytes)>,
    form: Option<Form>,
}

enum Form {
    Images(Box<images::Stream>),
    Stream(Box<Stream>),
    Plain(Box<Plain>),
}

impl Answer {
    /// The vendor's content type decides; where it says nothing, what was asked for.
    fn is_stream(&self, content_type: &str) -> Result<bool, Error> {
        let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match kind.as_str() {
            "text/event-stream" => Ok(true),
            "text/html" => Err(Error::provider(
                Code::ProviderError,
                "The provider answered with a web page; its base URL may be wrong.",
            )),
            kind if kind.ends_with("json") => Ok(false),
            _ => Ok(self.asked_stream),
        }
    }

    fn form(&mut self) -> Result<&mut Form, Error> {
        self.form
            .as_mut()
            .ok_or_else(|| Error::new(Code::InternalError, "The answer's head was not read before its body."))
    }
}

impl Decoder for Answer {
    fn head(&mut self, vendor: &response::Parts) -> Result<HeaderMap, Error> {
        let content_type = vendor.headers.get(CONTENT_TYPE);
        let text = content_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
        let stream = self.is_stream(text)?;
        let typed = text.to_ascii_lowercase();
        let says_so = if stream { typed.starts_with("text/event-stream") } else { typed.contains("json") };
        let default = if stream { "text/event-stream; charset=utf-8" } else { "application/json" };
        let content_type = content_type.filter(|_| says_so).cloned().unwrap_or(HeaderValue::from_static(default));

        let mut headers = HeaderMap::with_capacity(3);
        headers.insert(CONTENT_TYPE, content_type);
        self.form = Some(if stream {
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
            headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
            match self.images.take() {
                Some((counts, _)) => Form::Images(Box::new(images::Stream::new(self.dialect, counts))),
                None => Form::Stream(Box::new(Stream::new(self.dialect, self.shows_usage))),
            }
        } else {
            Form::Plain(Box::new(match self.images.take() {
                Some((counts, first)) => Plain::of_images(self.dialect, counts, first),
                None => Plain::new(self.dialect, self.counts_output),
            }))
        });
        Ok(headers)
    }

    fn push(&mut self, piece: Bytes, out: &mut Output) -> Result<(), Error> {
        match self.form()? {
            Form::Images(stream) => stream.push(piece, out),
            Form::Stream(stream) => stream.push(piece, out),
            Form::Plain(plain) => plain.push(piece, out),
        }
    }

    fn finish(&mut self, out: &mut Output) -> Result<(), Error> {
        match self.form()? {
            Form::Images(stream) => stream.finish(out),
            Form::Stream(stream) => stream.finish(out),
            Form::Plain(plain) => plain.finish(out),
        }
    }
}
