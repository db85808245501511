//! `data:` URLs: how callers send images and files inside a request.

/// What a `data:` URL holds: its media type in lower case, and base64 that is known to be well formed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct DataUrl<'a> {
    pub(crate) media_type: String,
    pub(crate) base64: &'a str,
}

/// Each prefix is the base64 of the format's opening bytes.
const KNOWN: [(&str, &str); 5] = [
    ("iVBORw0KGg", "image/png"),
    ("/9j/", "image/jpeg"),
    ("R0lGOD", "image/gif"),
    ("UklGR", "image/webp"),
    ("JVBERi", "application/pdf"),
];

/// The type of the picture whose base64 begins so, where its first bytes tell.
pub(crate) fn picture_type(base64: &[u8]) -> Option<&'static str> {
    let found = KNOWN.iter().find(|(prefix, _)| base64.starts_with(prefix.as_bytes()));
    found.map(|(_, kind)| *kind).filter(|kind| kind.starts_with("image/"))
}

impl<'a> DataUrl<'a> {
    /// Reads `url`; the error says what is wrong with it.
    pub(crate) fn parse(url: &'a str) -> Result<Self, &'static str> {
        let rest = url.get(..5).filter(|scheme| scheme.eq_ignore_ascii_case("data:")).map(|_| &url[5..]);
        let (head, data) = rest.and_then(|r| r.split_once(',')).ok_or("write it as data:<media type>;base64,<data>")?;
        let mut fields = head.split(';').map(str::trim);
        let media_type = fields.next().unwrap_or_default().to_ascii_lowercase();
        if !media_type.contains('/') {
            return Err("it names no media type: write data:<media type>;base64,<data>");
        }
        if !fields.any(|field| field.eq_ignore_ascii_case("base64")) {
            return Err("its data must be base64: write data:<media type>;base64,<data>");
        }
        let base64 = data.trim();
        if base64.is_empty() {
            return Err("it holds no data");
        }
        if !is_base64(base64) {
            return Err("its data is no base64");
        }
        Ok(Self { media_type, base64 })
    }

    /// The media type that the first bytes speak of, where they are known: callers often declare a wrong one.
    pub(crate) fn sniffed(&self) -> &str {
        let found = KNOWN.iter().find(|(prefix, kind)| {
            let riff = *kind == "image/webp";
            self.base64.starts_with(prefix) && (!riff || self.media_type.starts_with("image/"))
        });
        found.map_or(&self.media_type, |(_, kind)| kind)
    }

    /// The bytes.
    pub(crate) fn decode(&self) -> Vec<u8> {
        let digits = self.base64.bytes().filter_map(sextet).map(u32::from);
        let mut bytes = Vec::with_capacity(self.base64.len() / 4 * 3);
        let (mut bits, mut held) = (0u32, 0);
        for digit in digits {
            bits = (bits << 6) | digit;
            held += 6;
            if held >= 8 {
                held -= 8;
                bytes.push((bits >> held) as u8);
            }
        }
        bytes
    }
}

/// Whether `text` is base64, padded or not.
pub(crate) fn is_base64(text: &str) -> bool {
    let digits = text.trim_end_matches('=');
    let padding = text.len() - digits.len();
    let whole = padding <= 2 && digits.len() % 4 != 1 && (padding == 0 || text.len().is_multiple_of(4));
    whole && digits.bytes().all(|b| sextet(b).is_some())
}

fn sextet(byte: u8) -> Option<u8> {
    Some(match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_and_case_are_understood() {
        let url = DataUrl::parse("DATA:Image/PNG;charset=utf-8;base64,aGk=").unwrap();
        assert_eq!((url.media_type.as_str(), url.decode().as_slice()), ("image/png", &b"hi"[..]));
        assert_eq!(DataUrl::parse("data:text/plain;base64,aGk").unwrap().decode(), b"hi");
    }

    #[test]
    fn what_is_no_data_url_is_refused() {
        for bad in ["https://x", "data:", "data:image/png;base64", "data:image/png,hi", "data:;base64,aGk=", "ü"] {
            assert!(DataUrl::parse(bad).is_err(), "{bad}");
        }
        for data in ["", "a", "aGk=x", "aG=", "aG k", "a===", "%%%%"] {
            assert!(DataUrl::parse(&format!("data:image/png;base64,{data}")).is_err(), "{data}");
        }
    }

    #[test]
    fn the_bytes_win_over_the_declared_type() {
        assert_eq!(DataUrl::parse("data:image/png;base64,/9j/4AAQ").unwrap().sniffed(), "image/jpeg");
        assert_eq!(DataUrl::parse("data:audio/wav;base64,UklGRiQA").unwrap().sniffed(), "audio/wav");
        assert_eq!(DataUrl::parse("data:text/csv;base64,YSxi").unwrap().sniffed(), "text/csv");
    }
}
