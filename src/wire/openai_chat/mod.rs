//! The answer side of OpenAI's chat shape, for vendors whose answers are translated: chunks of a stream, a whole completion.

mod chunk;
mod completion;
mod usage;

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::{BufMut, BytesMut};
use serde::Serialize;

pub(crate) use chunk::{ChunkWriter, Delta};
pub(crate) use completion::{Answer, AnswerCall, Completion};

/// Why a choice ended, in OpenAI's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FinishReason {
    Stop,
    Length,
    ToolCalls,
    ContentFilter,
}

/// The id of a completion, from the vendor's own: `chatcmpl-` and what follows its prefix.
pub(crate) fn completion_id(vendor: &str) -> String {
    match vendor.rsplit_once(['_', '-']).map_or(vendor, |(_, tail)| tail) {
        "" => crate::base::id::new_id("chatcmpl-"),
        tail => format!("chatcmpl-{tail}"),
    }
}

/// Seconds since 1970 for `created`: the one place where a codec looks at a clock, as no decision hangs on it.
fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Appends `value`. It cannot fail: memory is the sink, and no map with odd keys is ever given.
fn json<T: Serialize + ?Sized>(out: &mut BytesMut, value: &T) {
    let _ = serde_json::to_writer(out.writer(), value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_told_from_the_vendors() {
        assert_eq!(completion_id("msg_01X"), "chatcmpl-01X");
        assert_eq!(completion_id("abc"), "chatcmpl-abc");
        assert_eq!(completion_id("").len(), "chatcmpl-".len() + 22);
    }
}
