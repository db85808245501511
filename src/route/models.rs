//! `GET /v1/models`: what the calling key may use.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response};
use serde_json::{Value, json};

use crate::base::error::{Code, Error};
use crate::domain::caller::Caller;
use crate::http::body::ResponseBody;
use crate::provider::registry::Registry;
use crate::provider::traits::Target;

/// The answer to `GET /v1/models` (`id: None`) or `GET /v1/models/{id}`. A model that the key may not use is not there.
pub fn models_reply<B>(
    registry: &Registry,
    caller: &Caller,
    id: Option<&str>,
) -> Result<Response<ResponseBody<B>>, Error> {
    let may_use = |t: &Target| caller.may_use(&t.terms.id, t.terms.modality);
    let answer = match id {
        None => {
            let all = registry.targets();
            let data: Vec<_> = all.iter().filter(|t| may_use(t)).map(|t| show(t)).collect();
            json!({ "object": "list", "data": data })
        }
        Some(id) => match registry.target(id).filter(|t| may_use(t)) {
            Some(target) => show(&target),
            None => {
                return Err(Error::new(
                    Code::NotFound,
                    "This key has no such model. GET /v1/models lists what it may use.",
                )
                .param("model"));
            }
        },
    };
    let mut response = Response::new(ResponseBody::reply(Bytes::from(answer.to_string())));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

fn show(target: &Target) -> Value {
    json!({
        "id": &*target.terms.id,
        "object": "model",
        "created": 0,
        "owned_by": &*target.provider,
        "modality": target.terms.modality,
    })
}
