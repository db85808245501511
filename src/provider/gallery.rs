//! The decoder of image answers that are translated: gathers pictures over as many steps as it takes.
//!
//! A vendor that makes one picture a call is called `n` times, side by side; a vendor that gives a URL where the picture
//! itself was asked for is followed by a fetch from that URL. What fails where something was made costs only itself: the
//! answer holds what there is, in the order of the calls, and its `warnings` tell of the rest.
//!
//! Where there is one call and no fetch, the answer begins with the first picture and does not wait for its end.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, response};

use crate::base::error::{Code, Error};
use crate::domain::usage::Usage;
use crate::http::body::{CallBody, Segments};
use crate::http::fetch::ContentHosts;
use crate::http::headers::answer_headers;
use crate::wire::base64::Encoder;
use crate::wire::dropped::Dropped;
use crate::wire::images::{Answer, Form, Made};
use crate::wire::outline::{Outline, Outliner};

use super::first_picture::{First, Showing};
use super::traits::{Decoder, Exchange, MadeAs, Output, Target};

/// The longest answer of a vendor to one call: a few large pictures in base64.
const MAX_ANSWER: usize = 128 * 1024 * 1024;
/// The largest picture that is fetched.
const MAX_PICTURE: usize = 32 * 1024 * 1024;

/// What one answer of the vendor holds.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub(super) made: Vec<Made>,
    /// Tokens; pictures are counted from `made`.
    pub(super) usage: Usage,
    /// Why pictures are missing, one sentence each.
    pub(super) missing: Vec<String>,
    /// Whether the vendor's answer is in the caller's shape, so that it may go on as it is.
    pub(super) is_answer: bool,
}

/// How a vendor is asked for pictures and how it answers.
pub(super) struct Plan {
    /// The request, sent as often as there are `calls`.
    pub(super) request: Request<CallBody>,
    pub(super) calls: u64,
    pub(super) form: Option<Form>,
    /// The size that the vendor was asked for, where it is exact.
    pub(super) size: Option<String>,
    /// The quality that it was asked for, where that is another than the caller's.
    pub(super) quality: Option<String>,
    pub(super) warnings: Vec<String>,
    pub(super) dropped: Dropped,
    /// The vendor's own hosts, from which pictures may be fetched.
    pub(super) hosts: &'static [&'static str],
    pub(super) read: fn(&Outline) -> Result<Taken, Error>,
    /// Whether a picture is one whatever stands behind it, so that the caller may have it while it comes. Not so where the
    /// vendor says afterwards that it was a draft, or that all of it failed.
    pub(super) is_final: bool,
}

impl Plan {
    /// The exchange that does it.
    pub(super) fn into_exchange(self, target: &Target) -> Exchange {
        let beside: Vec<_> = (1..self.calls).map(|_| self.request.clone()).collect();
        let gallery = Gallery {
            hosts: ContentHosts::new(self.hosts, target.content_hosts.clone()),
            counts_tokens: target.terms.price.prices_tokens(),
            form: self.form,
            made_as: MadeAs { size: self.size.clone(), quality: self.quality },
            size: self.size,
            warnings: self.warnings,
            read: self.read,
            calls: (0..=beside.len()).map(|_| Came::Nothing).collect(),
            step: if beside.is_empty() { Step::Making(Outliner::default()) } else { Step::Beside },
            beside,
            next: None,
            first: First::of(self.is_final),
            made: Vec::new(),
            used: Usage::NONE,
            whole: None,
        };
        Exchange { request: Some(self.request), decoder: Box::new(gallery), dropped: self.dropped }
    }
}

struct Gallery {
    hosts: ContentHosts,
    /// Whether the model's price goes by tokens. Where it does not, they are told to the caller and count nowhere, as they
    /// were not held either.
    counts_tokens: bool,
    form: Option<Form>,
    size: Option<String>,
    made_as: MadeAs,
    warnings: Vec<String>,
    read: fn(&Outline) -> Result<Taken, Error>,
    /// What became of each call.
    calls: Vec<Came>,
    /// The requests of all calls but the first.
    beside: Vec<Request<CallBody>>,
    step: Step,
    next: Option<Request<CallBody>>,
    first: First,
    /// Of all calls, once they have ended.
    made: Vec<Made>,
    used: Usage,
    /// The vendor's answer, should it go on as it is.
    whole: Option<Outline>,
}

/// What became of a call.
enum Came {
    /// It was not sent.
    Nothing,
    Pictures(Vec<Made>),
    Failure(Error),
}

enum Step {
    /// One call's answer comes in.
    Making(Outliner),
    /// Several calls are out, side by side.
    Beside,
    /// The picture of this number is being fetched.
    Fetching(usize, Picture),
    Done,
}

/// A picture that is being fetched, as the JSON string that it will be.
struct Picture {
    text: Vec<u8>,
    encoder: Encoder,
    bytes: usize,
}

impl Picture {
    /// More of it; `false` where it is too large.
    fn push(&mut self, piece: &[u8]) -> bool {
        self.bytes += piece.len();
        if self.bytes > MAX_PICTURE {
            return false;
        }
        self.encoder.push(piece, &mut self.text);
        true
    }
}

impl Gallery {
    fn take(&mut self, at: usize, answer: &Outline) -> Result<(), Error> {
        let taken = (self.read)(answer)?;
        if self.first.is_out && !taken.made.first().is_some_and(Made::was_handed_on) {
            return Err(Error::provider(Code::ProviderError, "The vendor took its picture back. Try again."));
        }
        self.whole = (self.calls.len() == 1 && !self.first.is_out && taken.is_answer && taken.missing.is_empty())
            .then(|| answer.clone());
        self.used = self.used.plus(&taken.usage);
        self.warnings.extend(taken.missing);
        self.calls[at] = Came::Pictures(taken.made);
        Ok(())
    }

    /// What was used so far, in the units that count.
    fn usage(&self) -> Usage {
        let tokens = if self.counts_tokens { self.used } else { Usage::NONE };
        let coming = self.calls.iter().map(|came| if let Came::Pictures(made) = came { made.len() } else { 0 });
        Usage { images: (self.made.len() + coming.sum::<usize>()) as u64, ..tokens }
    }

    /// All calls have ended: their pictures are put in order. The first failure, where there is no picture at all.
    fn gather(&mut self) -> Result<(), Error> {
        let mut failed = None;
        let several = self.calls.len() > 1;
        for (at, came) in std::mem::take(&mut self.calls).into_iter().enumerate() {
            match came {
                Came::Pictures(made) => self.made.extend(made),
                Came::Failure(error) => {
                    self.warnings.push(format!("Picture {} was not made. {}", at + 1, error.message()));
                    failed.get_or_insert(error);
                }
                Came::Nothing if several => {
                    self.warnings.push(format!("Picture {} was not asked for after another had failed.", at + 1));
                }
                Came::Nothing => {}
            }
        }
        match failed {
            Some(error) if self.made.is_empty() => Err(error),
            _ => Ok(()),
        }
    }

    /// Goes on to the next fetch, or to the end.
    fn settle(&mut self, out: &mut Output) {
        out.deliver(self.usage());
        // With bytes out there is no further step.
        if self.form == Some(Form::Base64) && !self.first.is_out {
            let from = if let Step::Fetching(at, _) = self.step { at + 1 } else { 0 };
            for at in from..self.made.len() {
                match self.fetch(at) {
                    None => {}
                    Some(Ok(request)) => {
                        let picture = Picture { text: b"\"".to_vec(), encoder: Encoder::default(), bytes: 0 };
                        self.step = Step::Fetching(at, picture);
                        self.next = Some(request);
                        return;
                    }
                    Some(Err(error)) => self.kept_as_url(at, &error),
                }
            }
        }
        self.write(out);
    }

    fn fetch(&self, at: usize) -> Option<Result<Request<CallBody>, Error>> {
        let Made::Url(text) = self.made.get(at)? else { return None };
        Some(self.hosts.get(&text.read().unwrap_or_default()))
    }

    fn kept_as_url(&mut self, at: usize, error: &Error) {
        self.warnings.push(format!("Picture {} is given as a URL. {}", at + 1, error.message()));
    }

    fn write(&mut self, out: &mut Output) {
        self.step = Step::Done;
        match self.whole.take().filter(|_| self.warnings.is_empty() && self.fits()) {
            Some(whole) => whole.into_pieces().into_iter().for_each(|piece| out.write(piece)),
            None => {
                let answer = Answer {
                    made: &self.made,
                    form: self.form,
                    size: self.size.take(),
                    warnings: &self.warnings,
                    usage: self.used,
                };
                let frames = if self.first.is_out { answer.write_behind_first() } else { answer.write() };
                frames.into_iter().for_each(|frame| out.write(frame));
            }
        }
        out.report(self.usage());
        out.made_as(std::mem::take(&mut self.made_as));
        out.complete();
    }

    /// Whether one answer holds all pictures in the form that the caller wants.
    fn fits(&self) -> bool {
        self.made.iter().all(|made| match (made, self.form) {
            (_, None) => true,
            (Made::Url(_), Some(form)) => form == Form::Url,
            (Made::Base64 { .. }, Some(form)) => form == Form::Base64,
        })
    }
}

impl Decoder for Gallery {
    fn head(&mut self, _: &response::Parts) -> Result<HeaderMap, Error> {
        Ok(answer_headers(HeaderValue::from_static("application/json")))
    }

    fn push(&mut self, piece: Bytes, out: &mut Output) -> Result<(), Error> {
        let fits = match &mut self.step {
            Step::Making(answer) => {
                let (form, read) = (self.form, self.read);
                let mut showing = Showing { first: &mut self.first, form, read, out, past: 0 };
                answer.push_to(&piece, &mut showing);
                if self.first.is_whole {
                    out.deliver(Usage { images: 1, ..Usage::NONE });
                }
                answer.len() <= MAX_ANSWER
            }
            Step::Fetching(_, picture) => picture.push(&piece),
            Step::Beside | Step::Done => true,
        };
        if fits {
            return Ok(());
        }
        Err(Error::provider(Code::ProviderError, "The vendor's answer is larger than a picture can be."))
    }

    fn finish(&mut self, out: &mut Output) -> Result<(), Error> {
        match &mut self.step {
            Step::Making(answer) => {
                let answer = std::mem::take(answer).done();
                if self.first.is_out && !answer.is_whole() {
                    // The caller is told that it broke off.
                    return Ok(());
                }
                self.take(0, &answer)?;
                self.gather()?;
            }
            Step::Beside => self.gather()?,
            Step::Fetching(at, picture) if picture.bytes > 0 => {
                picture.encoder.finish(&mut picture.text);
                picture.text.push(b'"');
                let text = Bytes::from(std::mem::take(&mut picture.text));
                self.made[*at] = Made::Base64 { media_type: "image/png".to_owned(), text: text.into() };
                self.whole = None;
            }
            Step::Fetching(..) => return Err(Error::provider(Code::ProviderError, "The vendor's result is empty.")),
            Step::Done => return Ok(()),
        }
        self.settle(out);
        Ok(())
    }

    fn next_request(&mut self) -> Option<Request<CallBody>> {
        self.next.take()
    }

    fn stumbled(&mut self, error: Error, out: &mut Output) -> Result<(), Error> {
        let Step::Fetching(at, _) = self.step else { return Err(error) };
        self.kept_as_url(at, &error);
        self.settle(out);
        Ok(())
    }

    fn beside(&mut self) -> Vec<Request<CallBody>> {
        std::mem::take(&mut self.beside)
    }

    fn part(&mut self, at: usize, answer: Result<Segments, Error>, out: &mut Output) -> bool {
        let taken = answer.and_then(|answer| {
            let mut outliner = Outliner::default();
            answer.pieces().iter().for_each(|piece| outliner.push(piece));
            self.take(at, &outliner.done())
        });
        // What one picture showed the next may not; anything else would only happen again.
        let goes_on = taken.as_ref().err().is_none_or(|error| error.code() == Code::ContentPolicyViolation);
        if let Err(error) = taken {
            self.calls[at] = Came::Failure(error);
        }
        out.deliver(self.usage());
        goes_on
    }
}

#[cfg(test)]
#[path = "gallery_tests.rs"]
mod tests;
