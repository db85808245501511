//! A JSON scanner over a body that lies in pieces: checks the grammar (RFC 8259) and builds nothing.
//!
//! Whoever drives it looks at the first byte of a [value](Scan::value) and says what to do with it: [skip](Scan::skip)
//! it, read it, or [enter](Scan::enter) it. A result never depends on where the pieces are cut.

use std::ops::Range;

use bytes::Bytes;

use crate::base::error::{Code, Error};

use super::cursor::Cursor;
use super::marks::{Block, Marks};
use super::text::short_text_end;
use super::utf8;

/// The deepest nesting that is read. The scanner recurses, so this also bounds its stack.
const MAX_DEPTH: u32 = 128;

/// Up to here every integer is the same number to every JSON reader.
pub(crate) const MAX_WHOLE: u64 = 1 << 53;

#[derive(Debug)]
pub(crate) struct Scan<'a> {
    cursor: Cursor<'a>,
    /// Lent, as they are larger than all else.
    marks: &'a mut Marks,
    depth: u32,
}

impl<'a> Scan<'a> {
    pub(crate) fn new(pieces: &'a [Bytes], marks: &'a mut Marks) -> Self {
        Self { cursor: Cursor::new(pieces), marks, depth: 0 }
    }

    pub(crate) fn offset(&self) -> usize {
        self.cursor.offset()
    }

    #[inline]
    fn space(&mut self) {
        self.cursor.skip_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r'));
    }

    /// The first byte of the value that comes next; the scanner stands on it.
    #[inline(always)]
    pub(crate) fn value(&mut self) -> Result<u8, Error> {
        match self.cursor.here() {
            Some(byte) if byte > b' ' => Ok(byte),
            _ => self.value_further_on(),
        }
    }

    /// The same behind white space, or in the next piece.
    #[inline(never)]
    fn value_further_on(&mut self) -> Result<u8, Error> {
        self.space();
        self.cursor.peek().ok_or_else(early)
    }

    /// Goes past the opening bracket that the scanner stands on.
    pub(crate) fn enter(&mut self) -> Result<(), Error> {
        if self.depth == MAX_DEPTH {
            return Err(self.bad("it is nested more than 128 deep"));
        }
        self.depth += 1;
        self.cursor.advance(1);
        Ok(())
    }

    /// Whether another item comes before `close`, and goes up to it; else goes past `close`.
    pub(crate) fn more(&mut self, close: u8, first: &mut bool) -> Result<bool, Error> {
        let was_first = std::mem::replace(first, false);
        match self.value()? {
            byte if byte == close => {
                self.depth -= 1;
                self.cursor.advance(1);
                Ok(false)
            }
            _ if was_first => Ok(true),
            b',' => {
                self.cursor.advance(1);
                Ok(true)
            }
            _ => Err(self.bad("a comma or a closing bracket is missing")),
        }
    }

    /// Reads a member's key and its colon; the value comes next. The key comes as [text](Self::text) does.
    pub(crate) fn key(&mut self, sink: impl FnMut(&[u8])) -> Result<Option<&'a [u8]>, Error> {
        if self.value()? != b'"' {
            return Err(self.bad("a key in double quotes is missing"));
        }
        if let Some(key) = self.short_key() {
            return Ok(Some(key));
        }
        let plain = self.text(sink)?;
        if self.value()? != b':' {
            return Err(self.bad("the colon behind a key is missing"));
        }
        self.cursor.advance(1);
        Ok(plain)
    }

    /// A plain key with its colon right behind it, as nearly all are: to ask for marks would take longer.
    #[inline]
    fn short_key(&mut self) -> Option<&'a [u8]> {
        let text = self.cursor.rest().get(1..)?;
        let end = short_text_end(text)?;
        let (key, behind) = text.split_at_checked(end)?;
        if !behind.starts_with(b"\":") {
            return None;
        }
        self.cursor.advance(key.len() + "\"\":".len());
        Some(key)
    }

    /// Checks the value that comes next, and goes past it.
    pub(crate) fn skip(&mut self) -> Result<(), Error> {
        let mut first = true;
        match self.value()? {
            b'"' => self.skip_string(),
            b'{' => {
                self.enter()?;
                while self.more(b'}', &mut first)? {
                    let _plain = self.key(|_| ())?;
                    self.skip()?;
                }
                Ok(())
            }
            b'[' => {
                self.enter()?;
                while self.more(b']', &mut first)? {
                    self.skip()?;
                }
                Ok(())
            }
            b't' => self.literal("true").map(drop),
            b'f' => self.literal("false").map(drop),
            b'n' => self.literal("null").map(drop),
            _ => self.number().map(drop),
        }
    }

    /// Reads the literal that the first byte promised.
    pub(crate) fn literal(&mut self, text: &str) -> Result<Range<usize>, Error> {
        let start = self.offset();
        match self.cursor.eat(text.as_bytes()) {
            true => Ok(start..self.offset()),
            false => Err(self.bad("a value is missing")),
        }
    }

    /// Reads a number: its value where it is a plain integer of at most 2^53.
    pub(crate) fn number(&mut self) -> Result<Option<u64>, Error> {
        let negative = self.cursor.eat_byte(b'-');
        let whole = match self.cursor.peek() {
            Some(b'0') => {
                self.cursor.advance(1);
                Some(0)
            }
            Some(b'1'..=b'9') => self.integer(),
            None => return Err(early()),
            Some(_) if negative => return Err(self.bad("a number has no digits")),
            Some(_) => return Err(self.bad("a value is missing")),
        };
        let fraction = self.cursor.eat_byte(b'.');
        if fraction {
            self.digits()?;
        }
        let exponent = self.cursor.eat_byte(b'e') || self.cursor.eat_byte(b'E');
        if exponent {
            let _sign = self.cursor.eat_byte(b'+') || self.cursor.eat_byte(b'-');
            self.digits()?;
        }
        Ok(whole.filter(|_| !negative && !fraction && !exponent))
    }

    /// Reads digits; `None` when they come to more than 2^53.
    fn integer(&mut self) -> Option<u64> {
        let mut whole = 0u64;
        while let Some(digit @ b'0'..=b'9') = self.cursor.peek() {
            whole = whole.saturating_mul(10).saturating_add(u64::from(digit - b'0'));
            self.cursor.advance(1);
        }
        Some(whole).filter(|whole| *whole <= MAX_WHOLE)
    }

    fn digits(&mut self) -> Result<(), Error> {
        match self.cursor.skip_while(|byte| byte.is_ascii_digit()) {
            0 => Err(self.bad("a number has no digits")),
            _ => Ok(()),
        }
    }

    /// Reads the string that the scanner stands on, and gives its decoded UTF-8 to `sink`, run by run. A run may end
    /// within a character; all of them together are whole.
    pub(crate) fn string(&mut self, mut sink: impl FnMut(&[u8])) -> Result<Range<usize>, Error> {
        let start = self.offset();
        if let Some(plain) = self.text(&mut sink)? {
            sink(plain);
        }
        Ok(start..self.offset())
    }

    /// Reads the string that the scanner stands on. What it says is returned where it stands in one piece and without
    /// escapes, else given to `sink` as by [`string`](Self::string).
    #[inline]
    pub(crate) fn text(&mut self, mut sink: impl FnMut(&[u8])) -> Result<Option<&'a [u8]>, Error> {
        let which = |block: &Block| block.quotes | block.escapes;
        self.cursor.advance(1);
        let (mut run, mut mark) = self.run(which)?;
        if mark == Some(b'"') {
            self.cursor.advance(1);
            return Ok(Some(run));
        }
        loop {
            sink(run);
            if let Some(mark) = mark {
                self.cursor.advance(1);
                if mark == b'"' {
                    return Ok(None);
                }
                sink(self.escape()?.encode_utf8(&mut [0; 4]).as_bytes());
            }
            (run, mark) = self.run(which)?;
        }
    }

    /// Checks the string that the scanner stands on, and goes past it.
    pub(crate) fn skip_string(&mut self) -> Result<(), Error> {
        self.cursor.advance(1);
        loop {
            match self.run(|block| block.quotes | block.strange)?.1 {
                Some(b'"') => {
                    self.cursor.advance(1);
                    return Ok(());
                }
                Some(_) => drop(self.escape()?),
                None => {}
            }
        }
    }

    /// Reads a string on to the next byte at which `which` has a bit, or to the end of the piece: what lies before it, and
    /// the byte.
    #[inline]
    fn run(&mut self, which: impl Fn(&Block) -> u64) -> Result<(&'a [u8], Option<u8>), Error> {
        let (piece, at) = self.cursor.piece();
        if at == piece.len() {
            return Err(early());
        }
        let mark = self.marks.find(piece, self.cursor.begins(), at, which);
        let run = &piece[at..mark.unwrap_or(piece.len())];
        if self.marks.has_controls() && has_control(run) {
            return Err(self.bare_control(run));
        }
        self.cursor.advance(run.len());
        Ok((run, mark.map(|mark| piece[mark])))
    }

    fn bare_control(&self, run: &[u8]) -> Error {
        let at = run.iter().position(|byte| is_control(*byte)).unwrap_or_default();
        bad("a string holds a bare control character", self.offset() + at)
    }

    /// Whether the body is UTF-8. `is_read`: all of it has been read.
    pub(crate) fn check_text(&self, pieces: &[Bytes], is_read: bool) -> Result<(), Error> {
        // What stands outside of strings was held against the grammar, which is ASCII.
        if is_read && self.marks.is_ascii() {
            return Ok(());
        }
        utf8::check(pieces).map_err(|offset| bad("it is not UTF-8", offset))
    }

    /// Reads what follows a backslash.
    fn escape(&mut self) -> Result<char, Error> {
        let start = self.offset() - 1;
        match self.cursor.next().ok_or_else(early)? {
            b'u' => self.unicode(start),
            byte => match UNESCAPED[usize::from(byte)] {
                0 => Err(bad("a string holds an unknown escape", start)),
                plain => Ok(char::from(plain)),
            },
        }
    }

    /// Reads what follows `\u`. Half a surrogate pair is no character: readers disagree on it, so it is refused.
    fn unicode(&mut self, start: usize) -> Result<char, Error> {
        let lone = || bad("a string holds half a surrogate pair", start);
        let code = match self.hex(start)? {
            high @ 0xd800..0xdc00 => {
                if !self.cursor.eat(b"\\u") {
                    return Err(lone());
                }
                match self.hex(start)? {
                    low @ 0xdc00..0xe000 => 0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00),
                    _ => return Err(lone()),
                }
            }
            code => code,
        };
        char::from_u32(code).ok_or_else(lone)
    }

    fn hex(&mut self, start: usize) -> Result<u32, Error> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = char::from(self.cursor.next().ok_or_else(early)?).to_digit(16);
            code = code << 4 | digit.ok_or_else(|| bad("a \\u escape needs four hexadecimal digits", start))?;
        }
        Ok(code)
    }

    /// Nothing but white space may follow.
    pub(crate) fn end(&mut self) -> Result<(), Error> {
        self.space();
        match self.cursor.peek() {
            None => Ok(()),
            Some(_) => Err(self.bad("something follows the end of the object")),
        }
    }

    /// What is wrong with the byte that the scanner stands on.
    pub(crate) fn bad(&self, what: &str) -> Error {
        bad(what, self.offset())
    }
}

fn bad(what: &str, offset: usize) -> Error {
    Error::new(Code::InvalidJson, format!("The body is not valid JSON: {what}, at byte {offset}."))
}

fn early() -> Error {
    Error::new(Code::InvalidJson, "The body is not valid JSON: it ended early.")
}

/// What a backslash and a byte stand for; 0 where more bytes tell, or nothing does.
static UNESCAPED: [u8; 256] = {
    let mut table = [0; 256];
    let (from, to) = (b"\"\\/bfnrt", b"\"\\/\x08\x0c\n\r\t");
    let mut at = 0;
    while at < from.len() {
        table[from[at] as usize] = to[at];
        at += 1;
    }
    table
};

const fn is_control(byte: u8) -> bool {
    byte < 0x20
}

/// Without an early exit, so that it is done in wide steps.
fn has_control(bytes: &[u8]) -> bool {
    bytes.iter().fold(false, |found, byte| found | is_control(*byte))
}
