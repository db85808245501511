//! Chat on Anthropic's Messages API, for callers that speak OpenAI.
//!
//! The codec is two pure halves: `request` puts OpenAI's words into Anthropic's, `stream` and `response` put the answer
//! back. What a family of models takes is data, in `capability`; what an error means is in `fault`.
//!
//! # What becomes of a field
//!
//! | field | |
//! |---|---|
//! | `messages` | system and developer messages go to `system`, wherever they stand; same speakers are merged; a tool's results come first in their turn |
//! | text, image (`data:` or https), PDF and text files, `cache_control` | mapped |
//! | audio, `file_id`, images the vendor does not see or over 5 MB | 400 |
//! | `max_completion_tokens`, `max_tokens` | mapped, at most the model's ceiling; the family's default where nobody names one |
//! | `temperature` (at most 1), `top_p`, `top_k` | mapped where the family takes them and does not think, else dropped |
//! | `stop` | mapped, without blank ones |
//! | `tools`, `tool_choice`, `parallel_tool_calls` | mapped; a forced call on a family that refuses force becomes a free one (dropped); `strict` where the schema fits the vendor's grammar, else dropped |
//! | `response_format` | `json_schema`: the vendor's own where it can, else a tool that must be called; `json_object`: a sentence in `system` |
//! | `reasoning_effort` | a budget or an effort; dropped where the model cannot think, or where the history lacks the thinking that the vendor wants back |
//! | `user`, `safety_identifier` | `metadata.user_id`, as a SHA-256 |
//! | `service_tier` | `auto`, `default` mapped; others dropped |
//! | `n` over 1, `logprobs`, audio in `modalities`, `web_search_options`, `functions` | 400 |
//! | `seed`, penalties, `logit_bias`, `metadata`, `store`, `prediction`, `verbosity`, `prompt_cache_*` | dropped |
//! | anything else | dropped: the vendor refuses what it does not know |
//!
//! What is dropped and has a name goes into [`Exchange::dropped`].
//!
//! Thinking comes back as `reasoning_content`, and signed in `thinking_blocks`, which a caller may hand back in its next
//! request. A stream sends the signature alone, with the block's text in the `reasoning_content` before it.

mod capability;
mod fault;
mod message;
mod request;
mod response;
mod stream;

#[cfg(test)]
mod tests;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};

use crate::base::error::{Code, Error};
use crate::domain::endpoint::Endpoint;
use crate::http::body::CallBody;
use crate::http::call::Call;
use crate::wire::openai_request::ChatRequest;

use super::traits::{Credential, Decoder, Exchange, Provider, Target};

/// The version whose wire the codec speaks; newer ones refuse sampling outright.
const VERSION: HeaderValue = HeaderValue::from_static("2023-06-01");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The codec of Anthropic's Messages API, kind `anthropic`. The base URL is the bare origin.
///
/// ```
/// use kancy::domain::endpoint::Endpoint;
/// use kancy::provider::anthropic::Anthropic;
/// use kancy::provider::traits::Provider;
///
/// assert!(Anthropic.supports(Endpoint::ChatCompletions));
/// assert!(!Anthropic.supports(Endpoint::Embeddings));
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Anthropic;

impl Provider for Anthropic {
    fn kind(&self) -> &'static str {
        "anthropic"
    }

    fn supports(&self, endpoint: Endpoint) -> bool {
        endpoint == Endpoint::ChatCompletions
    }

    fn encode(&self, call: &Call, target: &Target) -> Result<Exchange, Error> {
        let body = call.body();
        let translated = request::translate(ChatRequest::parse(&body)?, call, target)?;
        let bytes = serde_json::to_vec(&translated.body)
            .map_err(|e| Error::new(Code::InternalError, "The request could not be written.").cause(e.to_string()))?;
        let decoder: Box<dyn Decoder> = match call.streams() {
            true => Box::new(stream::Stream::new(call, translated.json_tool)),
            false => Box::new(response::Whole::new(call, translated.json_tool)),
        };
        Ok(Exchange { request: Some(post(bytes.into(), target)?), decoder, dropped: translated.dropped })
    }

    fn fault(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Error {
        fault::of_answer(status, headers, body)
    }
}

fn post(body: Bytes, target: &Target) -> Result<Request<CallBody>, Error> {
    let mut request = Request::new(CallBody::from(body));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = target.route("/v1/messages")?;
    let headers = request.headers_mut();
    headers.insert("x-api-key", key(target)?);
    headers.insert("anthropic-version", VERSION);
    headers.insert(CONTENT_TYPE, JSON);
    Ok(request)
}

fn key(target: &Target) -> Result<HeaderValue, Error> {
    let unusable = |why: &str| {
        let cause = format!("provider {:?}: {why}", target.provider);
        Error::provider(Code::ProviderAuthError, "The gateway has no usable credential for this model.").cause(cause)
    };
    let Credential::ApiKey(secret) = target.credential.credential() else {
        return Err(unusable("kind anthropic needs an api_key"));
    };
    let mut value = HeaderValue::from_str(secret.expose())
        .map_err(|_| unusable("the api_key holds characters that no header can carry"))?;
    value.set_sensitive(true);
    Ok(value)
}
