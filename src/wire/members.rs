//! Finds the members of a JSON body's outer objects without building a tree, in pieces that the network cut anywhere.
//!
//! Byte splices need to know where a member stands; a decoder that passes a body on needs one member of it (`usage`).
//! The body is trusted to be JSON: of one that is not, the places found are meaningless, never out of bounds.

use std::borrow::Cow;

use super::text::text_end;

/// The longest key that is remembered, in bytes; a longer one reads as empty.
const MAX_KEY: usize = 64;

/// A place in an object. Offsets are over all pieces; `depth` is 1 for the members of the outermost object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A member's value begins; its key is [`Members::key`] and begins (with its quote) at `key_at`.
    Begin {
        /// How many containers are open.
        depth: usize,
        /// Where the key's opening quote stands.
        key_at: usize,
        /// Where the value's first byte stands.
        value_at: usize,
    },
    /// The value of the last member of this depth has ended.
    End {
        /// How many containers are open.
        depth: usize,
        /// Behind the value's last byte.
        value_end: usize,
    },
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    /// Before a value.
    #[default]
    Value,
    /// In an object, before a key or its end.
    Object,
    Key,
    AfterKey,
    Text,
    /// A number, `true`, `false` or `null`.
    Scalar,
    AfterValue,
    /// Inside a container that is too deep to matter, outside and inside its strings.
    Deep,
    DeepText,
}

/// A scanner for the members of objects down to a depth.
#[derive(Debug)]
pub struct Members {
    deepest: usize,
    place: Place,
    offset: usize,
    depth: usize,
    /// Bit `d` is set where the container of depth `d` is an object.
    objects: u32,
    escaped: bool,
    key: Vec<u8>,
    key_at: usize,
}

impl Members {
    /// Looks at objects in at most `deepest` containers: 1 = the outermost object alone. At most 31.
    pub fn new(deepest: usize) -> Self {
        Self {
            deepest: deepest.min(31),
            place: Place::Value,
            offset: 0,
            depth: 0,
            objects: 0,
            escaped: false,
            key: Vec::new(),
            key_at: 0,
        }
    }

    /// The key of the member that began last.
    pub fn key(&self) -> Cow<'_, str> {
        if self.key.len() > MAX_KEY {
            return Cow::Borrowed("");
        }
        if self.key.contains(&b'\\') {
            let quoted = [b"\"", self.key.as_slice(), b"\""].concat();
            return Cow::Owned(serde_json::from_slice(&quoted).unwrap_or_default());
        }
        match std::str::from_utf8(&self.key) {
            Ok(key) => Cow::Borrowed(key),
            Err(_) => String::from_utf8_lossy(&self.key),
        }
    }

    /// How many bytes have been read.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// Whether the outermost container is an object and has been closed.
    pub fn is_closed(&self) -> bool {
        self.depth == 0 && self.place == Place::AfterValue && self.objects & 2 != 0
    }

    /// Whether something other than an object stands outermost.
    pub fn is_no_object(&self) -> bool {
        let begun = self.depth > 0 || self.place != Place::Value;
        begun && self.objects & 2 == 0
    }

    /// The next event in `piece` from `at` on, which moves along; `None` when the piece is used up.
    pub fn next(&mut self, piece: &[u8], at: &mut usize) -> Option<Event> {
        while let Some(&byte) = piece.get(*at) {
            let from = *at;
            let event = match self.place {
                Place::Deep | Place::DeepText => match self.deep(piece, at) {
                    true => None,
                    false => {
                        *at += 1;
                        self.structure(byte)
                    }
                },
                Place::Key | Place::Text => self.string(piece, at),
                Place::Scalar if matches!(byte, b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r') => self.ended(),
                _ => {
                    *at += 1;
                    self.structure(byte)
                }
            };
            self.offset += *at - from;
            if event.is_some() {
                return event;
            }
        }
        None
    }

    /// One byte outside strings.
    fn structure(&mut self, byte: u8) -> Option<Event> {
        match (self.place, byte) {
            (_, b' ' | b'\t' | b'\n' | b'\r') => None,
            (Place::Object, b'"') => {
                self.key.clear();
                self.key_at = self.offset;
                self.go(Place::Key)
            }
            (Place::AfterKey, b':') => self.go(Place::Value),
            (Place::AfterValue, b',') if self.in_object() => self.go(Place::Object),
            (Place::AfterValue, b',') => self.go(Place::Value),
            (Place::Deep | Place::Object | Place::AfterValue | Place::Value, b'}' | b']') => self.close(),
            (Place::Value, _) => {
                let begin = self.in_object().then_some(Event::Begin {
                    depth: self.depth,
                    key_at: self.key_at,
                    value_at: self.offset,
                });
                match byte {
                    b'{' | b'[' => self.open(byte == b'{'),
                    b'"' => self.place = Place::Text,
                    _ => self.place = Place::Scalar,
                }
                begin
            }
            _ => None,
        }
    }

    /// Goes through what is too deep to matter, up to the bracket that closes it: nearly all of a body, so without a look
    /// at each byte's meaning. Says whether it went on at all.
    fn deep(&mut self, piece: &[u8], at: &mut usize) -> bool {
        let from = *at;
        while *at < piece.len() {
            if self.place == Place::DeepText {
                if std::mem::take(&mut self.escaped) {
                    *at += 1;
                    continue;
                }
                let Some(found) = memchr::memchr2(b'"', b'\\', &piece[*at..]) else {
                    *at = piece.len();
                    break;
                };
                *at += found + 1;
                self.escaped = piece[*at - 1] == b'\\';
                if !self.escaped {
                    self.place = Place::Deep;
                }
                continue;
            }
            let Some(found) = piece[*at..].iter().position(|byte| BRACKETS[usize::from(*byte)]) else {
                *at = piece.len();
                break;
            };
            *at += found;
            match piece[*at] {
                b'"' => self.place = Place::DeepText,
                b'{' | b'[' => self.depth += 1,
                _ if self.depth > self.deepest + 1 => self.depth -= 1,
                _ => break,
            }
            *at += 1;
        }
        *at > from
    }

    /// Bytes inside a string, up to its closing quote.
    fn string(&mut self, piece: &[u8], at: &mut usize) -> Option<Event> {
        let from = *at;
        if std::mem::take(&mut self.escaped) {
            *at += 1;
        } else if let Some(found) = text_end(&piece[from..]) {
            *at = from + found + 1;
            self.escaped = piece[from + found] == b'\\';
            if !self.escaped {
                if self.place == Place::Key {
                    self.remember(&piece[from..*at - 1]);
                    return self.go(Place::AfterKey);
                }
                return self.ended_at(self.offset + found + 1);
            }
        } else {
            *at = piece.len();
        }
        if self.place == Place::Key {
            self.remember(&piece[from..*at]);
        }
        None
    }

    fn remember(&mut self, bytes: &[u8]) {
        let room = (MAX_KEY + 1).saturating_sub(self.key.len());
        self.key.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn open(&mut self, object: bool) {
        self.depth += 1;
        if self.depth > self.deepest {
            self.place = Place::Deep;
            return;
        }
        self.objects = self.objects & !(1 << self.depth) | u32::from(object) << self.depth;
        self.place = if object { Place::Object } else { Place::Value };
    }

    fn close(&mut self) -> Option<Event> {
        self.depth = self.depth.saturating_sub(1);
        self.ended_at(self.offset + 1)
    }

    fn ended(&mut self) -> Option<Event> {
        self.ended_at(self.offset)
    }

    fn ended_at(&mut self, value_end: usize) -> Option<Event> {
        self.place = Place::AfterValue;
        self.in_object().then_some(Event::End { depth: self.depth, value_end })
    }

    fn in_object(&self) -> bool {
        (1..=self.deepest).contains(&self.depth) && self.objects & (1 << self.depth) != 0
    }

    fn go(&mut self, place: Place) -> Option<Event> {
        self.place = place;
        None
    }
}

/// The bytes that change where a scan through a deep value stands.
static BRACKETS: [bool; 256] = {
    let mut table = [false; 256];
    let mut at = 0;
    while at < 5 {
        table[b"\"{}[]"[at] as usize] = true;
        at += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BODY: &str = r#" {"a" : "x\"}", "m\u006fdel":"gpt" ,"list":[{"role":"user","c":[{"role":1}]},{"role" : "developer"}],
        "n":-1.5e3,"o":{"p":{"q":null}}, "e":{}, "t":true}  "#;

    /// Depth, key and text of every member's value.
    fn members(pieces: &[&[u8]], deepest: usize) -> Vec<(usize, String, String)> {
        let whole = pieces.concat();
        let mut scanner = Members::new(deepest);
        let (mut open, mut found) = (Vec::new(), Vec::new());
        for piece in pieces {
            let mut at = 0;
            while let Some(event) = scanner.next(piece, &mut at) {
                match event {
                    Event::Begin { depth, key_at, value_at } => {
                        assert_eq!(whole[key_at], b'"');
                        open.push((depth, scanner.key().into_owned(), value_at));
                    }
                    Event::End { depth, value_end } => {
                        let (begun, key, value_at) = open.pop().unwrap();
                        assert_eq!(begun, depth);
                        found.push((depth, key, String::from_utf8(whole[value_at..value_end].to_vec()).unwrap()));
                    }
                }
            }
        }
        assert_eq!(scanner.is_closed(), open.is_empty());
        assert_eq!(scanner.offset(), whole.len());
        found
    }

    #[test]
    fn top_level_members_are_found_with_their_exact_values() {
        let found = members(&[BODY.as_bytes()], 1);
        let keys: Vec<_> = found.iter().map(|(_, key, _)| key.as_str()).collect();
        assert_eq!(keys, ["a", "model", "list", "n", "o", "e", "t"]);
        assert_eq!(found[0].2, r#""x\"}""#);
        assert_eq!(found[3].2, "-1.5e3");
        assert_eq!(found[4].2, r#"{"p":{"q":null}}"#);
        assert_eq!(found[6].2, "true");
    }

    #[test]
    fn the_members_of_a_lists_objects_are_two_deeper() {
        let found = members(&[BODY.as_bytes()], 3);
        let roles: Vec<_> =
            found.iter().filter(|(_, key, _)| key == "role").map(|(d, _, v)| (*d, v.as_str())).collect();
        assert_eq!(roles, [(3, "\"user\""), (3, "\"developer\"")]);
    }

    #[test]
    fn what_is_no_object_is_told() {
        for (text, no_object) in
            [("", false), (" ", false), ("{", false), ("{}", false), ("[", true), ("\"a", true), ("<html>", true)]
        {
            let mut scanner = Members::new(1);
            assert_eq!(scanner.next(text.as_bytes(), &mut 0), None);
            assert_eq!(scanner.is_no_object(), no_object, "{text}");
        }
    }

    proptest! {
        #[test]
        fn the_cut_does_not_matter(cuts in proptest::collection::vec(0..BODY.len(), 0..10), deepest in 1usize..5) {
            let mut cuts = cuts;
            cuts.extend([0, BODY.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|w| &BODY.as_bytes()[w[0]..w[1]]).collect();
            prop_assert_eq!(members(&pieces, deepest), members(&[BODY.as_bytes()], deepest));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(proptest::sample::select(&b"{}[]\",:\\ a1\n"[..]), 0..80)) {
            let mut scanner = Members::new(2);
            let mut at = 0;
            while scanner.next(&bytes, &mut at).is_some() {}
            prop_assert_eq!(at, bytes.len());
        }
    }
}
