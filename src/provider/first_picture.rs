//! The first picture of an answer that is translated: it goes on to the caller while it comes, by the pieces that came.

use bytes::Bytes;

use crate::base::error::Error;
use crate::provider::traits::Output;
use crate::wire::data_url::picture_type;
use crate::wire::images::{Form, Made, begin_with};
use crate::wire::outline::{Outline, Taker};

use super::gallery::Taken;

/// So many long texts are looked at: a vendor sends a signature or two before its picture.
const LOOKS: u8 = 8;

/// What became of the first picture.
#[derive(Debug)]
pub(super) struct First {
    /// Whether the caller has the beginning of it, and all of it.
    pub(super) is_out: bool,
    pub(super) is_whole: bool,
    looks: u8,
}

impl First {
    /// `may`: whether it may go on at all.
    pub(super) fn of(may: bool) -> Self {
        Self { is_out: false, is_whole: false, looks: if may { LOOKS } else { 0 } }
    }
}

/// Hands the first picture on, where the document before it leaves no doubt that it is one.
pub(super) struct Showing<'a> {
    pub(super) first: &'a mut First,
    pub(super) form: Option<Form>,
    pub(super) read: fn(&Outline) -> Result<Taken, Error>,
    pub(super) out: &'a mut Output,
    /// How much of what comes next is to be left out.
    pub(super) past: usize,
}

impl Showing<'_> {
    /// The picture that the text at hand is, by the vendor's own reader.
    fn picture(&self, before: &Outline, beginning: &[u8]) -> Option<Made> {
        let taken = (self.read)(before).ok()?;
        // What is in the caller's shape may go on as it is, once it has all come.
        let is_answer = taken.is_answer && self.form != Some(Form::Url);
        let mut made = taken.made.into_iter().next().filter(Made::was_handed_on)?;
        if is_answer || !taken.missing.is_empty() {
            return None;
        }
        // Vendors tell the type behind the picture, if at all.
        if let (Some(Form::Url), Made::Base64 { media_type, .. }) = (self.form, &mut made) {
            *media_type = picture_type(beginning.get(1..)?)?.to_owned();
        }
        Some(made)
    }
}

impl Taker for Showing<'_> {
    fn takes(&mut self, before: impl FnOnce() -> Outline, beginning: &[u8]) -> bool {
        if self.first.is_out || self.first.looks == 0 {
            return false;
        }
        self.first.looks -= 1;
        let Some(made) = self.picture(&before(), beginning) else { return false };
        self.first.is_out = true;
        let (head, past) = begin_with(&made, self.form);
        self.past = past;
        self.out.write(head.into());
        true
    }

    fn more(&mut self, piece: Bytes) {
        self.out.write(piece.slice(std::mem::take(&mut self.past)..));
    }

    fn closed(&mut self) {
        self.first.is_whole = true;
    }
}
