//! MiniMax behind `/v1/audio/speech`, by `t2a_v2`, and `/v1/images/generations`, by `image_generation`.
//!
//! MiniMax answers 200 whatever happens: `base_resp.status_code` tells, and `fault` says what it means.
//!
//! # What becomes of a field of `/v1/audio/speech`
//!
//! | field | |
//! |---|---|
//! | `input` | at most 10,000 characters |
//! | `voice` | OpenAI's six first names are MiniMax's nearest; every other name or id goes on |
//! | `response_format` | mp3, pcm (24 kHz, 16 bits, one channel), flac, wav; opus and aac are 400 |
//! | `speed` | 0.5 to 2; below and above, the nearest of these |
//! | `stream_format` | both |
//! | `instructions` | left out, and said so |
//!
//! # What becomes of a field of `/v1/images/generations`
//!
//! | field | |
//! |---|---|
//! | `prompt` | at most 1,500 characters |
//! | `n` | at most 9 |
//! | `size` | `width` and `height` where MiniMax has them (512 to 2048, multiples of 8), else the nearest aspect ratio, with a warning |
//! | `response_format` | `b64_json` is MiniMax's `base64`; URLs are MiniMax's own and live a day |
//! | `image` | one reference picture, of a person: `subject_reference` |
//! | `seed`, `watermark` | mapped; no watermark unless asked for |
//! | `quality`, `background`, `negative_prompt`, … | left out, with a warning |
//! | `/v1/images/edits`, `mask`, `stream` | 400 |

mod fault;
mod image;
mod sound;
mod speech;
mod video;
mod video2;
mod video_fault;

#[cfg(test)]
mod tests;

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Request, StatusCode};

use crate::base::error::{Code, Error};
use crate::domain::endpoint::Endpoint;
use crate::http::body::CallBody;
use crate::http::call::Call;

use super::traits::{Credential, Exchange, Provider, Target};

pub use video::MiniMaxVideo;

/// The codec of kind `minimax`.
///
/// ```
/// use kancy::provider::minimax::MiniMax;
/// use kancy::provider::traits::Provider;
/// assert_eq!(MiniMax.kind(), "minimax");
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct MiniMax;

impl Provider for MiniMax {
    fn kind(&self) -> &'static str {
        "minimax"
    }

    fn supports(&self, endpoint: Endpoint) -> bool {
        matches!(endpoint, Endpoint::Speech | Endpoint::ImageGenerations | Endpoint::ImageEdits)
    }

    fn encode(&self, call: &Call, target: &Target) -> Result<Exchange, Error> {
        match call.endpoint() {
            Endpoint::Speech => speech::encode(call, target),
            Endpoint::ImageGenerations | Endpoint::ImageEdits => image::encode(call, target),
            other => {
                let message = format!("Models of kind minimax do not answer {}.", other.path());
                Err(Error::new(Code::ProviderModelUnavailable, message))
            }
        }
    }

    fn fault(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Error {
        fault::answered(status, headers, body)
    }
}

/// A request to the route `path`.
fn post(target: &Target, path: &str, body: CallBody) -> Result<Request<CallBody>, Error> {
    let mut request = Request::post(target.url(path)?)
        .header(CONTENT_TYPE, "application/json")
        .header(ACCEPT, "application/json")
        .body(body)
        .map_err(|e| Error::new(Code::InternalError, "The request could not be made.").cause(e.to_string()))?;
    if let Credential::ApiKey(key) = target.credential.credential() {
        let mut value = HeaderValue::from_str(&format!("Bearer {}", key.expose())).map_err(|_| {
            let message = "The gateway's API key for MiniMax cannot stand in a header. The operator must correct it.";
            Error::provider(Code::ProviderAuthError, message)
        })?;
        value.set_sensitive(true);
        request.headers_mut().insert(AUTHORIZATION, value);
    }
    Ok(request)
}
