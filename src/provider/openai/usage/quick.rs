//! The usual form of a `usage` object, read without serde: each answer has one, and reading it so costs a fifth.
//!
//! Usual is an object of counts, nulls and objects of counts, without escapes and without a key that stands twice.
//! Whatever is anything else is left to serde.

use crate::wire::lenient::Lenient;
use crate::wire::text::{short_text_end, text_end};

use super::{Count, InputDetails, OutputDetails, Reported};

/// What `bytes` say, where they have the usual form.
pub(super) fn read(bytes: &[u8]) -> Option<Reported> {
    let mut said = Reported::default();
    let rest = read_first(bytes, &mut said)?;
    rest.trim_ascii_start().is_empty().then_some(said)
}

/// Reads the object at the beginning of `bytes` into `said`, where it has the usual form, and gives what follows it.
pub(in super::super) fn read_first<'a>(bytes: &'a [u8], said: &mut Reported) -> Option<&'a [u8]> {
    let mut reader = Reader { rest: bytes };
    reader.object(said)?;
    Some(reader.rest)
}

/// An object with known members.
trait Members {
    /// The count that `key` names.
    fn count(&mut self, key: &[u8]) -> Option<&mut Count>;

    /// Reads the object that `key` names.
    fn nested(&mut self, key: &[u8], reader: &mut Reader<'_>) -> Option<()>;
}

impl Members for Reported {
    fn count(&mut self, key: &[u8]) -> Option<&mut Count> {
        Some(match key {
            b"prompt_tokens" => &mut self.prompt_tokens,
            b"input_tokens" => &mut self.input_tokens,
            b"completion_tokens" => &mut self.completion_tokens,
            b"output_tokens" => &mut self.output_tokens,
            b"total_tokens" => &mut self.total_tokens,
            b"reasoning_tokens" => &mut self.reasoning_tokens,
            b"cached_tokens" => &mut self.cached_tokens,
            b"prompt_cache_hit_tokens" => &mut self.prompt_cache_hit_tokens,
            b"cache_creation_input_tokens" => &mut self.cache_creation_input_tokens,
            _ => return None,
        })
    }

    fn nested(&mut self, key: &[u8], reader: &mut Reader<'_>) -> Option<()> {
        match key {
            b"prompt_tokens_details" => reader.details(&mut self.prompt_tokens_details),
            b"completion_tokens_details" => reader.details(&mut self.completion_tokens_details),
            b"input_tokens_details" => reader.details(&mut self.input_tokens_details),
            b"input_token_details" => reader.details(&mut self.input_token_details),
            b"output_tokens_details" => reader.details(&mut self.output_tokens_details),
            _ => None,
        }
    }
}

impl Members for InputDetails {
    fn count(&mut self, key: &[u8]) -> Option<&mut Count> {
        Some(match key {
            b"cached_tokens" => &mut self.cached_tokens,
            b"cache_write_tokens" => &mut self.cache_write_tokens,
            b"cache_creation_input_tokens" => &mut self.cache_creation_input_tokens,
            b"image_tokens" => &mut self.image_tokens,
            b"audio_tokens" => &mut self.audio_tokens,
            _ => return None,
        })
    }

    fn nested(&mut self, _: &[u8], _: &mut Reader<'_>) -> Option<()> {
        None
    }
}

impl Members for OutputDetails {
    fn count(&mut self, key: &[u8]) -> Option<&mut Count> {
        Some(match key {
            b"reasoning_tokens" => &mut self.reasoning_tokens,
            b"text_tokens" => &mut self.text_tokens,
            b"audio_tokens" => &mut self.audio_tokens,
            _ => return None,
        })
    }

    fn nested(&mut self, _: &[u8], _: &mut Reader<'_>) -> Option<()> {
        None
    }
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    #[inline]
    fn space(&mut self) {
        if self.rest.first().is_some_and(u8::is_ascii_whitespace) {
            self.rest = self.rest.trim_ascii_start();
        }
    }

    #[inline]
    fn eat(&mut self, byte: u8) -> Option<()> {
        self.space();
        self.rest = self.rest.strip_prefix(&[byte])?;
        Some(())
    }

    fn key(&mut self) -> Option<&'a [u8]> {
        self.eat(b'"')?;
        let end = short_text_end(self.rest).or_else(|| text_end(self.rest))?;
        let (key, rest) = self.rest.split_at(end);
        self.rest = rest.strip_prefix(b"\"")?;
        self.eat(b':')?;
        self.space();
        Some(key)
    }

    fn object(&mut self, into: &mut impl Members) -> Option<()> {
        self.eat(b'{')?;
        if self.eat(b'}').is_some() {
            return Some(());
        }
        loop {
            let key = self.key()?;
            match self.rest.first()? {
                b'0'..=b'9' => {
                    let number = self.number()?;
                    if let Some(count) = into.count(key) {
                        put(count, number)?;
                    } else if key == b"seconds" || key.ends_with(b"_details") {
                        return None;
                    }
                }
                b'n' => self.rest = self.rest.strip_prefix(b"null")?,
                b'{' => into.nested(key, self)?,
                _ => return None,
            }
            if self.eat(b',').is_none() {
                return self.eat(b'}');
            }
        }
    }

    fn details<T: Members + Default>(&mut self, into: &mut Lenient<T>) -> Option<()> {
        let mut details = T::default();
        self.object(&mut details)?;
        put(into, Lenient::Object(details))
    }

    /// A whole number that ends where it must, and cannot overflow.
    fn number<T>(&mut self) -> Option<Lenient<T>> {
        let digits = self.rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (number, rest) = self.rest.split_at(digits);
        let leads = digits > 1 && number[0] == b'0';
        if leads || digits > 15 || !matches!(rest.first()?, b',' | b'}' | b' ' | b'\n' | b'\r' | b'\t') {
            return None;
        }
        self.rest = rest;
        Some(Lenient::Number(number.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'))))
    }
}

/// A key that stands twice is not usual.
fn put<T>(place: &mut Lenient<T>, value: Lenient<T>) -> Option<()> {
    let is_free = matches!(place, Lenient::Absent);
    *place = value;
    is_free.then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The pieces of usage objects, usual ones and others.
    fn text() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            4 => (0u64..100_000).prop_map(|n| n.to_string()),
            1 => prop::sample::select(vec!["null", "-1", "1.5", "1e3", "007", "\"9\"", "true", "[]", "99999999999999999999"])
                .prop_map(str::to_owned),
        ];
        let key = prop::sample::select(vec![
            "prompt_tokens",
            "completion_tokens",
            "total_tokens",
            "cached_tokens",
            "audio_tokens",
            "text_tokens",
            "reasoning_tokens",
            "prompt_tokens_details",
            "completion_tokens_details",
            "input_token_details",
            "seconds",
            "cost",
            "prompt\\u005ftokens",
        ]);
        leaf.prop_recursive(2, 24, 6, move |inner| {
            // A key that stands twice is an error to serde; beside a null it is not seen here.
            prop::collection::btree_map(key.clone(), inner, 0..6).prop_map(|members| {
                let members: Vec<_> = members.iter().map(|(key, value)| format!("\"{key}\" : {value}")).collect();
                format!("{{{}}}", members.join(" ,\n"))
            })
        })
    }

    proptest! {
        #[test]
        fn what_is_read_quickly_is_what_serde_reads(text in text()) {
            if let Some(quick) = read(text.as_bytes()) {
                let slow: Lenient<Reported> = serde_json::from_str(&text).unwrap();
                prop_assert_eq!(format!("{:?}", Lenient::Object(quick)), format!("{slow:?}"));
            }
        }
    }

    #[test]
    fn the_usual_form_is_read_quickly() {
        let usual = r#"{"prompt_tokens":19,"completion_tokens":10,"total_tokens":29,"prompt_tokens_details":{"cached_tokens":0,
            "audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":0,"accepted_prediction_tokens":0},"cost":null}"#;
        assert!(read(usual.as_bytes()).is_some());
    }
}
