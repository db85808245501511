//! The request of `t2a_v2`.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::base::error::{Code, Error};
use crate::http::call::Call;
use crate::provider::traits::{Exchange, Target};
use crate::wire::dropped::Dropped;

use super::post;
use super::sound::{Delivery, Sound};

/// The most characters that are spoken at a time.
const MAX_INPUT: u64 = 10_000;

/// OpenAI's voices, and the nearest of MiniMax's.
const VOICES: &[(&str, &str)] = &[
    ("alloy", "male-qn-qingse"),
    ("echo", "male-qn-jingying"),
    ("fable", "female-shaonv"),
    ("onyx", "male-qn-badao"),
    ("nova", "female-yujie"),
    ("shimmer", "female-tianmei"),
];

#[derive(Clone, Copy)]
struct Format {
    name: &'static str,
    content_type: &'static str,
    sample_rate: u32,
    /// A WAV names its length at its start, so MiniMax sends it whole.
    streams: bool,
}

const FORMATS: &[Format] = &[
    Format { name: "mp3", content_type: "audio/mpeg", sample_rate: 32_000, streams: true },
    // OpenAI's is 24 kHz, and has no header that could say otherwise.
    Format { name: "pcm", content_type: "audio/pcm", sample_rate: 24_000, streams: true },
    Format { name: "flac", content_type: "audio/flac", sample_rate: 32_000, streams: true },
    Format { name: "wav", content_type: "audio/wav", sample_rate: 32_000, streams: false },
];

#[derive(Default, Deserialize)]
#[serde(default)]
struct Asked {
    input: String,
    voice: Value,
    response_format: Value,
    speed: Value,
    stream_format: Value,
    instructions: Value,
    /// `model` is read from the call; the vendor knows nothing of the rest.
    #[serde(flatten)]
    more: Map<String, Value>,
}

pub(super) fn encode(call: &Call, target: &Target) -> Result<Exchange, Error> {
    let characters = characters(call)?;
    let asked: Asked = serde_json::from_slice(&call.body()).map_err(|error| {
        Error::new(Code::InvalidParameter, format!("A field of the request has the wrong type: {error}."))
    })?;
    let format = format(&asked.response_format)?;
    let delivery = match asked.stream_format.as_str() {
        None if asked.stream_format.is_null() => Delivery::Bytes(format.content_type),
        Some("audio") => Delivery::Bytes(format.content_type),
        Some("sse") => Delivery::Events,
        _ => return Err(invalid("stream_format", "\"audio\" or \"sse\"")),
    };
    let mut body = json!({
        "model": &*target.upstream,
        "text": asked.input,
        "stream": format.streams,
        "output_format": "hex",
        "language_boost": "auto",
        "voice_setting": {"voice_id": voice(&asked.voice)?, "speed": speed(&asked.speed)?, "vol": 1.0, "pitch": 0},
        "audio_setting": {"sample_rate": format.sample_rate, "format": format.name, "channel": 1},
    });
    if format.streams {
        // Else the last event brings all of the sound once more.
        body["stream_options"] = json!({"exclude_aggregated_audio": true});
    }
    if format.name == "mp3" {
        body["audio_setting"]["bitrate"] = json!(128_000);
    }
    let mut dropped: Dropped = (!asked.instructions.is_null()).then_some("instructions").into_iter().collect();
    let unknown = asked.more.iter().filter(|(name, value)| *name != "model" && !value.is_null());
    unknown.for_each(|(name, _)| dropped.push_unknown(name));
    Ok(Exchange {
        request: Some(post(target, "/v1/t2a_v2", Bytes::from(body.to_string()).into())?),
        decoder: Box::new(Sound::new(delivery, characters)),
        dropped,
    })
}

/// The characters to speak, if they can be.
fn characters(call: &Call) -> Result<u64, Error> {
    match call.facts().input_chars {
        None => {
            let message = "Send the text to speak in \"input\", as one string.";
            Err(Error::new(Code::MissingParameter, message).param("input"))
        }
        Some(length @ 1..=MAX_INPUT) => Ok(length),
        Some(length) => Err(invalid("input", &format!("a text of 1 to {MAX_INPUT} characters; it has {length}"))),
    }
}

fn format(asked: &Value) -> Result<Format, Error> {
    let asked = if asked.is_null() { "mp3" } else { asked.as_str().unwrap_or_default() };
    let names = || FORMATS.iter().map(|format| format.name).collect::<Vec<_>>().join(", ");
    let found = FORMATS.iter().find(|format| format.name == asked).copied();
    found.ok_or_else(|| invalid("response_format", &format!("one that this model speaks in: {}", names())))
}

/// A name, or `{"id": …}` of a voice of one's own.
fn voice(asked: &Value) -> Result<&str, Error> {
    if asked.is_null() {
        return Err(
            Error::new(Code::MissingParameter, "Name the voice that is to speak: send \"voice\".").param("voice")
        );
    }
    let name = asked.as_str().or_else(|| asked["id"].as_str()).filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| invalid("voice", "a voice's name, or an object with its \"id\""))?;
    Ok(VOICES.iter().find(|(theirs, _)| *theirs == name).map_or(name, |(_, ours)| ours))
}

fn speed(asked: &Value) -> Result<f64, Error> {
    let speed = if asked.is_null() { Some(1.0) } else { asked.as_f64() };
    let speed = speed.filter(|speed| (0.25..=4.0).contains(speed));
    speed.map(|speed| speed.clamp(0.5, 2.0)).ok_or_else(|| invalid("speed", "a number from 0.25 to 4"))
}

fn invalid(field: &'static str, must: &str) -> Error {
    Error::new(Code::InvalidParameter, format!("The field {field:?} must be {must}.")).param(field)
}
