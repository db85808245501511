//! The answer in OpenAI's shape, written around the vendor's bytes.

use bytes::Bytes;

use crate::domain::usage::Usage;
use crate::wire::json::write_string;
use crate::wire::openai_chat::unix_now;
use crate::wire::outline::Text;

use super::request::Form;

/// A picture as the vendor gave it, in the bytes of its answer.
#[derive(Clone, Debug)]
pub(crate) enum Made {
    Url(Text),
    Base64 { media_type: String, text: Text },
}

impl Made {
    /// Whether it is a picture whose bytes went on while they came.
    pub(crate) fn was_handed_on(&self) -> bool {
        matches!(self, Self::Base64 { text, .. } if text.was_handed_on())
    }
}

/// An answer to be written.
#[derive(Debug)]
pub(crate) struct Answer<'a> {
    pub(crate) made: &'a [Made],
    /// How the caller wants them, where it matters to the caller.
    pub(crate) form: Option<Form>,
    /// The size that was asked of the vendor, where that is known.
    pub(crate) size: Option<String>,
    pub(crate) warnings: &'a [String],
    /// Tokens; left out where there are none.
    pub(crate) usage: Usage,
}

impl Answer<'_> {
    /// The answer in pieces, of which the pictures' are the vendor's own bytes.
    pub(crate) fn write(&self) -> Vec<Bytes> {
        self.write_from(begin(), 0)
    }

    /// What follows where the text of the first picture is already out, behind what [`begin_with`] wrote.
    pub(crate) fn write_behind_first(&self) -> Vec<Bytes> {
        self.write_from(b"}".to_vec(), 1)
    }

    fn write_from(&self, mut open: Vec<u8>, first: usize) -> Vec<Bytes> {
        let mut frames = Vec::with_capacity(2 * self.made.len() + 1);
        for (at, made) in self.made.iter().enumerate().skip(first) {
            if at > 0 {
                open.push(b',');
            }
            let past_quote = head(&mut open, made, self.form);
            frames.push(std::mem::take(&mut open).into());
            let (Made::Url(text) | Made::Base64 { text, .. }) = made;
            let mut pieces = text.pieces().iter().cloned();
            frames.extend(pieces.next().map(|first| first.slice(past_quote..)));
            frames.extend(pieces);
            open.push(b'}');
        }
        open.push(b']');
        self.write_members(&mut open);
        open.push(b'}');
        frames.push(open.into());
        frames
    }

    /// All that stands behind the pictures.
    fn write_members(&self, out: &mut Vec<u8>) {
        if let Some(size) = &self.size {
            out.extend_from_slice(b",\"size\":");
            write_string(out, size);
        }
        if !self.warnings.is_empty() {
            out.push(b',');
            write_warnings(out, self.warnings);
        }
        if self.usage.input_tokens + self.usage.output_tokens > 0 {
            out.extend_from_slice(b",\"usage\":");
            out.extend_from_slice(self.tokens().to_string().as_bytes());
        }
    }

    fn tokens(&self) -> serde_json::Value {
        let Usage { input_tokens, output_tokens, image_input_tokens, image_output_tokens, .. } = self.usage;
        let parts = |whole: u64, image: u64| serde_json::json!({"text_tokens": whole.saturating_sub(image), "image_tokens": image});
        serde_json::json!({
            "input_tokens": input_tokens,
            "output_tokens": output_tokens,
            "total_tokens": input_tokens.saturating_add(output_tokens),
            "input_tokens_details": parts(input_tokens, image_input_tokens),
            "output_tokens_details": parts(output_tokens, image_output_tokens),
        })
    }
}

/// The beginning of an answer whose first picture's text comes next, and how much of that text is to be left out.
pub(crate) fn begin_with(first: &Made, form: Option<Form>) -> (Vec<u8>, usize) {
    let mut open = begin();
    let past_quote = head(&mut open, first, form);
    (open, past_quote)
}

fn begin() -> Vec<u8> {
    format!("{{\"created\":{},\"data\":[", unix_now()).into_bytes()
}

/// Appends what stands before a picture's text. Says how much of the text is to be left out: the quote, where it stands
/// before a `data:` already.
fn head(out: &mut Vec<u8>, made: &Made, form: Option<Form>) -> usize {
    match (made, form) {
        (Made::Url(_), _) => out.extend_from_slice(b"{\"url\":"),
        (Made::Base64 { media_type, .. }, Some(Form::Url)) => {
            out.extend_from_slice(format!("{{\"url\":\"data:{media_type};base64,").as_bytes());
            return 1;
        }
        (Made::Base64 { .. }, _) => out.extend_from_slice(b"{\"b64_json\":"),
    }
    0
}

/// Appends the member `warnings`.
pub(crate) fn write_warnings(out: &mut Vec<u8>, warnings: &[String]) {
    out.extend_from_slice(b"\"warnings\":[");
    for (at, warning) in warnings.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write_string(out, warning);
    }
    out.push(b']');
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn written(answer: &Answer<'_>) -> Value {
        let mut value: Value = serde_json::from_slice(&answer.write().concat()).unwrap();
        assert!(value.as_object_mut().unwrap().remove("created").unwrap().is_u64());
        value
    }

    #[test]
    fn each_form_is_written_around_the_vendors_bytes() {
        let text = Bytes::from_static(br#""aGk\/""#);
        let inline = Made::Base64 { media_type: "image/png".into(), text: text.clone().into() };
        let made = [inline, Made::Url(Bytes::from_static(br#""https:\/\/a""#).into())];
        let mut answer =
            Answer { made: &made, form: Some(Form::Base64), size: None, warnings: &[], usage: Usage::NONE };
        assert_eq!(written(&answer), json!({"data": [{"b64_json": "aGk/"}, {"url": "https://a"}]}));
        assert!(answer.write().iter().any(|frame| frame.as_ptr() == text.as_ptr()), "the picture was copied");
        answer.form = Some(Form::Url);
        assert_eq!(written(&answer)["data"][0], json!({"url": "data:image/png;base64,aGk/"}));
    }

    #[test]
    fn warnings_size_and_tokens_are_there_when_there_are_any() {
        let warnings = ["a \"b\"".to_owned()];
        let usage = Usage { input_tokens: 5, output_tokens: 1290, image_output_tokens: 1290, ..Usage::NONE };
        let answer = Answer { made: &[], form: None, size: Some("8x8".into()), warnings: &warnings, usage };
        assert_eq!(
            written(&answer),
            json!({"size": "8x8", "warnings": ["a \"b\""], "data": [], "usage": {
                "input_tokens": 5, "output_tokens": 1290, "total_tokens": 1295,
                "input_tokens_details": {"text_tokens": 5, "image_tokens": 0},
                "output_tokens_details": {"text_tokens": 0, "image_tokens": 1290}}})
        );
    }
}
