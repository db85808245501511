//! Speech is a tone as long as the text; transcription tells how much it heard.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::base::error::{Code, Error};
use crate::domain::endpoint::Endpoint;
use crate::domain::usage::Usage;
use crate::http::call::{AudioLength, Call};

use super::{Answer, body, event, invalid, missing};

/// Samples a second, 16 bits each, one channel: OpenAI's `pcm`.
const RATE: usize = 24_000;
/// A character takes 20 ms; nothing takes longer than five seconds.
const SAMPLES_A_CHARACTER: usize = RATE / 50;
const MOST_SAMPLES: usize = 5 * RATE;
/// What a second of a compressed recording takes, roughly: for files that do not tell how long they are.
const BYTES_A_SECOND: u64 = 32_000;

/// `/v1/audio/speech`: a WAV whatever was asked for, as its content type says; raw samples for `pcm`.
pub(super) fn speech(call: &Call) -> Result<Answer, Error> {
    let body = body(call)?;
    let input = body["input"].as_str().filter(|input| !input.is_empty()).ok_or_else(|| missing("input"))?;
    if body["stream_format"] == "sse" {
        let message = "The offline provider sends audio only: leave out \"stream_format\".";
        return Err(Error::new(Code::UnsupportedParameter, message).param("stream_format"));
    }
    let characters = input.chars().count();
    let samples = tone((characters * SAMPLES_A_CHARACTER).min(MOST_SAMPLES));
    let usage = Usage { characters: characters as u64, ..Usage::NONE };
    Ok(match body["response_format"].as_str() {
        Some("pcm") => Answer::whole("audio/pcm", samples, usage),
        _ => Answer::whole("audio/wav", wav(&samples), usage),
    })
}

/// A soft triangle wave of 400 Hz.
fn tone(samples: usize) -> Vec<u8> {
    const PERIOD: usize = RATE / 400;
    let at = |i: usize| {
        let phase = i % PERIOD;
        let rise = phase.min(PERIOD - phase) as i16;
        (rise - (PERIOD / 4) as i16) * 200
    };
    (0..samples).flat_map(|i| at(i).to_le_bytes()).collect()
}

fn wav(samples: &[u8]) -> Vec<u8> {
    let rate = RATE as u32;
    let length = samples.len() as u32;
    let mut file = Vec::with_capacity(44 + samples.len());
    file.extend(b"RIFF");
    file.extend((36 + length).to_le_bytes());
    file.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    file.extend(rate.to_le_bytes());
    file.extend((2 * rate).to_le_bytes());
    file.extend(b"\x02\0\x10\0data");
    file.extend(length.to_le_bytes());
    file.extend(samples);
    file
}

/// `/v1/audio/transcriptions` and `/v1/audio/translations`.
pub(super) fn transcription(call: &Call) -> Result<Answer, Error> {
    let form = call.facts().multipart.as_ref();
    let form = form.ok_or_else(|| invalid("file", "sent as a file of multipart/form-data"))?;
    let file = form.parts.iter().find(|part| part.name == "file").ok_or_else(|| missing("file"))?;
    let bytes = file.content.len() as u64;
    let seconds = match call.facts().recording {
        Some(AudioLength::Told(seconds)) => seconds,
        _ => bytes.div_ceil(BYTES_A_SECOND).max(1),
    };
    let text = format!("Heard {bytes} bytes.");
    let usage = Usage { audio_seconds: seconds, ..Usage::NONE };
    let told = json!({"type": "duration", "seconds": seconds});
    if call.streams() {
        let frames: Vec<Bytes> = vec![
            event(&json!({"type": "transcript.text.delta", "delta": text})),
            event(&json!({"type": "transcript.text.done", "text": text, "usage": told})),
        ];
        return Ok(Answer::events(frames, usage));
    }
    let clock = |mark: char| {
        let (hours, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
        format!("00:00:00{mark}000 --> {hours:02}:{minutes:02}:{seconds:02}{mark}000")
    };
    const TEXT: &str = "text/plain; charset=utf-8";
    Ok(match call.facts().response_format.as_deref() {
        None | Some("json") => Answer::json(&json!({"text": text, "usage": told}), usage),
        Some("text") => Answer::whole(TEXT, format!("{text}\n"), usage),
        Some("srt") => Answer::whole(TEXT, format!("1\n{}\n{text}\n\n", clock(',')), usage),
        Some("vtt") => Answer::whole(TEXT, format!("WEBVTT\n\n{}\n{text}\n\n", clock('.')), usage),
        Some("verbose_json") => Answer::json(&verbose(call.endpoint(), &text, seconds, &told), usage),
        Some(_) => return Err(invalid("response_format", "json, text, srt, vtt or verbose_json")),
    })
}

fn verbose(endpoint: Endpoint, text: &str, seconds: u64, usage: &Value) -> Value {
    let task = if endpoint == Endpoint::Translations { "translate" } else { "transcribe" };
    json!({
        "task": task, "language": "english", "duration": seconds as f64, "text": text,
        "segments": [{
            "id": 0, "seek": 0, "start": 0.0, "end": seconds as f64, "text": text, "tokens": [], "temperature": 0.0,
            "avg_logprob": 0.0, "compression_ratio": 1.0, "no_speech_prob": 0.0,
        }],
        "usage": usage,
    })
}
