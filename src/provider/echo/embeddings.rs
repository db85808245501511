//! Embeddings drawn from a hash of the text: equal texts have equal vectors, others are as good as random.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::base::error::Error;
use crate::domain::usage::Usage;
use crate::http::call::Call;
use crate::wire::base64;

use super::{Answer, body, count_tokens, invalid, missing};

const DIMENSIONS: u64 = 8;
const MOST_DIMENSIONS: u64 = 1_024;
const MOST_INPUTS: usize = 2_048;

/// `/v1/embeddings`.
pub(super) fn answer(call: &Call, model: &str) -> Result<Answer, Error> {
    let body = body(call)?;
    let inputs = inputs(&body["input"])?;
    let dimensions = match &body["dimensions"] {
        Value::Null => DIMENSIONS,
        asked => asked
            .as_u64()
            .filter(|asked| (1..=MOST_DIMENSIONS).contains(asked))
            .ok_or_else(|| invalid("dimensions", "a whole number from 1 to 1024"))?,
    };
    let in_base64 = body["encoding_format"] == "base64";
    let tokens: u64 = inputs.iter().map(|input| tokens(input)).sum();
    let data: Vec<_> = inputs
        .iter()
        .enumerate()
        .map(|(index, input)| {
            let vector = vector(input, dimensions);
            let embedding = if in_base64 {
                let bytes: Vec<u8> = vector.iter().flat_map(|number| number.to_le_bytes()).collect();
                json!(base64::encode(&bytes))
            } else {
                json!(vector)
            };
            json!({"object": "embedding", "index": index, "embedding": embedding})
        })
        .collect();
    let usage = json!({"prompt_tokens": tokens, "total_tokens": tokens});
    let whole = json!({"object": "list", "data": data, "model": model, "usage": usage});
    Ok(Answer::json(&whole, Usage { input_tokens: tokens, ..Usage::NONE }))
}

/// A string, token numbers, or a list of either.
fn inputs(input: &Value) -> Result<Vec<&Value>, Error> {
    let wanted = || invalid("input", "a string, a list of token numbers, or a list of at most 2048 of either");
    match input {
        Value::Null => Err(missing("input")),
        Value::String(_) => Ok(vec![input]),
        Value::Array(items) if items.is_empty() => Err(wanted()),
        Value::Array(items) if items.iter().all(Value::is_u64) => Ok(vec![input]),
        Value::Array(items)
            if items.len() <= MOST_INPUTS && items.iter().all(|item| item.is_string() || item.is_array()) =>
        {
            Ok(items.iter().collect())
        }
        _ => Err(wanted()),
    }
}

fn tokens(input: &Value) -> u64 {
    match input {
        Value::Array(numbers) => numbers.len() as u64,
        text => count_tokens(text.as_str().unwrap_or_default()),
    }
    .max(1)
}

/// A vector of length one.
fn vector(input: &Value, dimensions: u64) -> Vec<f32> {
    let hash = Sha256::digest(input.to_string());
    let mut state = hash.iter().take(8).fold(0u64, |state, byte| state << 8 | u64::from(*byte)) | 1;
    let raw: Vec<f32> = (0..dimensions)
        .map(|_| {
            // xorshift64
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            f32::from((state >> 48) as u16) / 32_768.0 - 1.0
        })
        .collect();
    let length = raw.iter().map(|number| number * number).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
    raw.into_iter().map(|number| number / length).collect()
}
