//! An answer in OpenAI's shape, read where it cannot pass through.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::base::error::{Code, Error};
use crate::provider::gallery::Taken;
use crate::provider::openai::dialect::Dialect;
use crate::provider::openai::fault;
use crate::provider::openai::usage::{self, Reported};
use crate::wire::images::Made;
use crate::wire::lenient::Lenient;
use crate::wire::outline::Outline;
use crate::wire::vendor_error::is_truthy;

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow, default)]
    data: Option<Vec<Picture<'a>>>,
    #[serde(default)]
    output_format: Option<String>,
    #[serde(default)]
    usage: Lenient<Reported>,
    #[serde(default)]
    error: Value,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Picture<'a> {
    #[serde(borrow)]
    url: Option<&'a RawValue>,
    #[serde(borrow)]
    b64_json: Option<&'a RawValue>,
    /// Ark says what became of each picture.
    error: Value,
}

/// Reads an answer. A picture that failed stands among the others, with its error.
pub(super) fn read(outline: &Outline) -> Result<Taken, Error> {
    let answer: Answer<'_> = serde_json::from_slice(outline.rest()).map_err(|e| {
        Error::provider(Code::ProviderError, "The vendor's answer cannot be read.").cause(e.to_string())
    })?;
    if is_truthy(&answer.error) {
        return Err(failure(answer.error));
    }
    let media_type = format!("image/{}", answer.output_format.as_deref().unwrap_or("png"));
    let (mut taken, mut failed) = (Taken { is_answer: true, ..Taken::default() }, None);
    for picture in answer.data.unwrap_or_default() {
        if let Some(text) = picture.b64_json.and_then(|raw| outline.text(raw)) {
            taken.made.push(Made::Base64 { media_type: media_type.clone(), text });
        } else if let Some(url) = picture.url.and_then(|raw| outline.text(raw)) {
            taken.made.push(Made::Url(url));
        } else if is_truthy(&picture.error) {
            let error = failure(picture.error);
            taken.missing.push(format!("A picture was not made. {}", error.message()));
            failed.get_or_insert(error);
        } else {
            taken.missing.push("A picture cannot be read in the vendor's answer.".to_owned());
        }
    }
    taken.usage = usage::read_images(&answer.usage).unwrap_or_default();
    match (taken.made.is_empty(), failed) {
        (true, Some(error)) => Err(error),
        (true, None) => Err(Error::provider(Code::ProviderError, "The vendor's answer holds no picture.")),
        (false, _) => Ok(taken),
    }
}

fn failure(error: Value) -> Error {
    fault::of_event(Dialect::Ark, serde_json::json!({"error": error}).to_string().as_bytes())
}
