//! Google's Gemini API behind `/v1/chat/completions`, `/v1/embeddings` and the image routes.
//!
//! A chat goes to `generateContent`, streamed to `streamGenerateContent?alt=sse`; embeddings go to `embedContent` and
//! `batchEmbedContents`; images go to `generateContent`, of an `imagen` model to `predict`. What a family of models can do is data, in `capability`; what an error means is in `fault`.
//!
//! ```
//! use kancy::provider::gemini::Gemini;
//! use kancy::provider::traits::Provider;
//! assert_eq!(Gemini.kind(), "gemini");
//! ```
//!
//! # What becomes of a field
//!
//! | field | |
//! |---|---|
//! | `messages` | system and developer messages go to `systemInstruction`, wherever they stand; same speakers are merged; a turn's tool results stand together, in the order of its calls |
//! | text, image (`data:` or https), audio, PDF and text files | mapped; `detail` is dropped, `file_id` and other types are a 400 |
//! | `max_completion_tokens`, `max_tokens` | `maxOutputTokens`, at most the model's ceiling, which is also the default where its terms name one |
//! | `temperature`, `top_p`, `top_k` | mapped where the family heeds them, else dropped |
//! | `stop` | mapped, without empty ones; more than five are a 400 |
//! | `n` | `candidateCount` where the family has it, else a 400 |
//! | `seed` | mapped, its low 32 bits |
//! | `presence_penalty`, `frequency_penalty` | mapped where the family takes them, else dropped |
//! | `logprobs`, `top_logprobs` | mapped where the family has them, else a 400 |
//! | `tools`, `tool_choice` | mapped; `strict` asks for validated calls where the family has them |
//! | `response_format` | `responseMimeType` and a schema in the family's dialect; beside tools a 400 before Gemini 3 |
//! | `reasoning_effort` | a thinking budget or level; dropped where the family does not think |
//! | `service_tier` | `flex`, `priority` mapped; `auto`, `default` need nothing; others dropped |
//! | `parallel_tool_calls: false`, `user`, `metadata`, `store`, `logit_bias`, `prediction`, `verbosity`, `prompt_cache_*` | dropped |
//! | audio in `modalities`, `web_search_options`, `functions`, token numbers as `input` | 400 |
//! | anything else | left out: the vendor refuses what it does not know |
//!
//! Of a request for images:
//!
//! | field | |
//! |---|---|
//! | `n` | a call each, side by side, at most 10; Imagen makes up to 4 at once |
//! | `size` | the nearest aspect ratio and, where the family has levels, resolution; Google chooses the pixels |
//! | `response_format` | Google gives base64; `url` makes a `data:` URL of it |
//! | `image`, and the files of an edit | sent before the prompt; Imagen takes none |
//! | `seed` | mapped, its low 32 bits; not by Imagen |
//! | `output_format` | by Imagen alone |
//! | `quality`, `background`, `negative_prompt`, … | left out, with a warning |
//! | `mask`, `stream` | 400 |
//!
//! What is dropped and has a name goes into [`Exchange::dropped`].
//!
//! # What Gemini has and OpenAI lacks
//!
//! Thoughts come back as `reasoning_content`. Thought signatures come back in
//! `tool_calls[].extra_content.google.thought_signature`, as Google's own OpenAI endpoint sends them, and are read from
//! there in the history; for a client that loses them, the text that Google documents stands in, at some cost in quality.
//! Ids of calls are minted for the models that give none, and are not sent back to these.
//!
//! # Failure
//!
//! A prompt that Google blocks is an answer (200, `content_filter`), as it was billed. A stream that ends before every
//! choice has said why it ended is left without `[DONE]` and is not [complete](super::traits::Output::complete).

mod answer;
mod calls;
mod capability;
mod counts;
mod embeddings;
mod fault;
mod images;
mod interactions;
mod logprobs;
mod request;
mod schema;
mod stream;
mod video;
mod whole;

use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode};

use crate::base::error::{Code, Error};
use crate::domain::endpoint::Endpoint;
use crate::http::body::CallBody;
use crate::http::call::Call;

use super::traits::{Credential, Decoder, Exchange, Provider, Target};

pub use video::VeoVideo;

/// The key's header. The query's `?key=` would end up in logs.
const API_KEY: HeaderName = HeaderName::from_static("x-goog-api-key");

/// The codec of kind `gemini`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Gemini;

impl Provider for Gemini {
    fn kind(&self) -> &'static str {
        "gemini"
    }

    fn supports(&self, endpoint: Endpoint) -> bool {
        matches!(
            endpoint,
            Endpoint::ChatCompletions | Endpoint::Embeddings | Endpoint::ImageGenerations | Endpoint::ImageEdits
        )
    }

    fn encode(&self, call: &Call, target: &Target) -> Result<Exchange, Error> {
        match call.endpoint() {
            Endpoint::ChatCompletions => chat(call, target),
            Endpoint::Embeddings => {
                let encoded = embeddings::encode(call, &resource(&target.upstream, str::to_owned))?;
                let request = post(target, encoded.method, encoded.body.into())?;
                Ok(Exchange { request: Some(request), decoder: Box::new(encoded.decoder), dropped: encoded.dropped })
            }
            Endpoint::ImageGenerations | Endpoint::ImageEdits => images::encode(call, target),
            other => {
                let message = format!("Models of kind gemini do not answer {}.", other.path());
                Err(Error::new(Code::ProviderModelUnavailable, message))
            }
        }
    }

    fn fault(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Error {
        fault::answered(status, headers, body)
    }
}

fn chat(call: &Call, target: &Target) -> Result<Exchange, Error> {
    let encoded = request::encode(call, target)?;
    let (method, decoder): (_, Box<dyn Decoder>) = if call.streams() {
        let decoder = stream::ChatStream::new(call.model(), call.wants_usage(), encoded.names);
        ("streamGenerateContent?alt=sse", Box::new(decoder))
    } else {
        ("generateContent", Box::new(whole::WholeChat::new(call.model(), encoded.names)))
    };
    let request = post(target, method, encoded.body.into())?;
    Ok(Exchange { request: Some(request), decoder, dropped: encoded.dropped })
}

fn post(target: &Target, method: &str, body: CallBody) -> Result<Request<CallBody>, Error> {
    let Credential::ApiKey(key) = target.credential.credential() else {
        let message = "The gateway has no API key for Gemini. The operator must set `api_key` of its provider.";
        return Err(Error::provider(Code::ProviderAuthError, message));
    };
    let mut key = HeaderValue::from_str(key.expose()).map_err(|_| {
        let message = "The gateway's API key for Gemini cannot stand in a header. The operator must correct it.";
        Error::provider(Code::ProviderAuthError, message)
    })?;
    key.set_sensitive(true);
    let mut request = Request::post(target.url(&format!("/v1beta/{}:{method}", resource(&target.upstream, encoded)))?)
        .header(CONTENT_TYPE, "application/json")
        .header(ACCEPT, if method.ends_with("sse") { "text/event-stream" } else { "application/json" })
        .body(body)
        .map_err(|e| Error::new(Code::InternalError, "The request could not be made.").cause(e.to_string()))?;
    request.headers_mut().insert(API_KEY, key);
    Ok(request)
}

/// The model's name as Google has it, collection in front; `write` writes the id behind it.
fn resource(upstream: &str, write: impl Fn(&str) -> String) -> String {
    match upstream.strip_prefix("tunedModels/") {
        Some(id) => format!("tunedModels/{}", write(id)),
        None => format!("models/{}", write(upstream.strip_prefix("models/").unwrap_or(upstream))),
    }
}

/// `id` as one segment of a path: whatever it holds, it cannot leave it.
fn encoded(id: &str) -> String {
    let mut path = String::with_capacity(id.len());
    for byte in id.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-' => path.push(byte.into()),
            _ => path.push_str(&format!("%{byte:02X}")),
        }
    }
    path
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod paths {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ids_are_named_with_their_collection_once() {
        for (upstream, want) in [
            ("gemini-2.5-flash--gemini-chat-1a", "models/gemini-2.5-flash--gemini-chat-1a"),
            ("models/gemini-2.5-flash", "models/gemini-2.5-flash"),
            ("tunedModels/mine-1", "tunedModels/mine-1"),
            ("{model}--x", "models/%7Bmodel%7D--x"),
            ("../../admin?key=1#", "models/..%2F..%2Fadmin%3Fkey%3D1%23"),
        ] {
            assert_eq!(resource(upstream, encoded), want);
        }
    }

    proptest! {
        #[test]
        fn an_id_cannot_leave_its_place_in_the_path(id in "\\PC{0,40}|[./%?#:\\\\]{0,12}") {
            let text = format!("http://127.0.0.1:9/base/v1beta/models/{}:generateContent", encoded(&id));
            let uri: http::Uri = text.parse().unwrap();
            prop_assert_eq!(uri.query(), None);
            prop_assert_eq!(uri.path().split('/').count(), 5);
            prop_assert!(uri.path().ends_with(":generateContent"));
            prop_assert_eq!(uri.authority().unwrap().as_str(), "127.0.0.1:9");
        }
    }
}
