//! The decoder of image answers that are translated: gathers pictures over as many steps as it takes.
//!
//! A vendor that makes one picture a call is called `n` times, one call after the other; a vendor that gives a URL where
//! the picture itself was asked for is followed by a fetch from that URL. What fails after something was made costs only
//! itself: the answer holds what there is, and its `warnings` tell of the rest.

use bytes::{Bytes, BytesMut};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Request, response};

use crate::base::error::{Code, Error};
use crate::domain::usage::Usage;
use crate::http::body::CallBody;
use crate::http::fetch::ContentHosts;
use crate::wire::base64::Encoder;
use crate::wire::images::{Answer, Form, Made};

use super::traits::{Decoder, Exchange, Output, Target};

/// The longest answer of a vendor: a few large pictures in base64.
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
    pub(super) warnings: Vec<String>,
    pub(super) dropped: Vec<&'static str>,
    /// The vendor's own hosts, from which pictures may be fetched.
    pub(super) hosts: &'static [&'static str],
    pub(super) read: fn(&Bytes) -> Result<Taken, Error>,
}

impl Plan {
    /// The exchange that does it.
    pub(super) fn into_exchange(self, target: &Target) -> Exchange {
        let gallery = Gallery {
            hosts: ContentHosts::new(self.hosts, target.content_hosts.clone()),
            counts_tokens: target.terms.price.prices_tokens(),
            request: (self.calls > 1).then(|| self.request.clone()),
            left: self.calls,
            form: self.form,
            size: self.size,
            warnings: self.warnings,
            read: self.read,
            step: Step::Making(BytesMut::new()),
            next: None,
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
    request: Option<Request<CallBody>>,
    /// Calls whose answer has not been read.
    left: u64,
    form: Option<Form>,
    size: Option<String>,
    warnings: Vec<String>,
    read: fn(&Bytes) -> Result<Taken, Error>,
    step: Step,
    next: Option<Request<CallBody>>,
    made: Vec<Made>,
    used: Usage,
    /// The vendor's answer, should it go on as it is.
    whole: Option<Bytes>,
}

enum Step {
    Making(BytesMut),
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

impl Gallery {
    fn take(&mut self, body: &Bytes) -> Result<(), Error> {
        let taken = (self.read)(body)?;
        self.left = self.left.saturating_sub(1);
        self.whole = (taken.is_answer && taken.missing.is_empty()).then(|| body.clone());
        self.used = self.used.plus(&taken.usage);
        self.made.extend(taken.made);
        self.warnings.extend(taken.missing);
        Ok(())
    }

    /// What was used so far, in the units that count.
    fn usage(&self) -> Usage {
        let tokens = if self.counts_tokens { self.used } else { Usage::NONE };
        Usage { images: self.made.len() as u64, ..tokens }
    }

    /// Goes on to the next call, to the next fetch, or to the end.
    fn settle(&mut self, out: &mut Output) {
        out.deliver(self.usage());
        if self.left > 0 {
            self.step = Step::Making(BytesMut::new());
            self.next = self.request.clone();
            return;
        }
        if self.form == Some(Form::Base64) {
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
        let url: String = serde_json::from_slice(text).unwrap_or_default();
        Some(self.hosts.get(&url))
    }

    fn kept_as_url(&mut self, at: usize, error: &Error) {
        self.warnings.push(format!("Picture {} is given as a URL. {}", at + 1, error.message()));
    }

    fn write(&mut self, out: &mut Output) {
        self.step = Step::Done;
        match self.whole.take().filter(|_| self.warnings.is_empty() && self.fits()) {
            Some(whole) => out.write(whole),
            None => {
                let answer = Answer {
                    made: &self.made,
                    form: self.form,
                    size: self.size.take(),
                    warnings: &self.warnings,
                    usage: self.used,
                };
                answer.write().into_iter().for_each(|frame| out.write(frame));
            }
        }
        out.report(self.usage());
        out.complete();
    }

    /// Whether one answer holds all pictures in the form that the caller wants.
    fn fits(&self) -> bool {
        self.request.is_none()
            && self.made.iter().all(|made| match (made, self.form) {
                (_, None) => true,
                (Made::Url(_), Some(form)) => form == Form::Url,
                (Made::Base64 { .. }, Some(form)) => form == Form::Base64,
            })
    }
}

impl Decoder for Gallery {
    fn head(&mut self, _: &response::Parts) -> Result<HeaderMap, Error> {
        Ok(HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]))
    }

    fn push(&mut self, piece: Bytes, _: &mut Output) -> Result<(), Error> {
        match &mut self.step {
            Step::Making(body) if body.len() + piece.len() <= MAX_ANSWER => body.extend_from_slice(&piece),
            Step::Fetching(_, picture) if picture.bytes + piece.len() <= MAX_PICTURE => {
                picture.bytes += piece.len();
                picture.encoder.push(&piece, &mut picture.text);
            }
            Step::Making(_) | Step::Fetching(..) => {
                return Err(Error::provider(
                    Code::ProviderError,
                    "The vendor's answer is larger than a picture can be.",
                ));
            }
            Step::Done => {}
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut Output) -> Result<(), Error> {
        match &mut self.step {
            Step::Making(body) => {
                let body = body.split().freeze();
                self.take(&body)?;
            }
            Step::Fetching(at, picture) if picture.bytes > 0 => {
                picture.encoder.finish(&mut picture.text);
                picture.text.push(b'"');
                let text = std::mem::take(&mut picture.text).into();
                self.made[*at] = Made::Base64 { media_type: "image/png".to_owned(), text };
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
        if self.made.is_empty() {
            return Err(error);
        }
        match self.step {
            Step::Making(_) => {
                let said = format!("Picture {} was not made. {}", self.made.len() + 1, error.message());
                self.warnings.push(said);
                // What one picture showed the next may not; anything else would only happen again.
                let again = error.code() == Code::ContentPolicyViolation;
                self.left = if again { self.left.saturating_sub(1) } else { 0 };
            }
            Step::Fetching(at, _) => self.kept_as_url(at, &error),
            Step::Done => return Ok(()),
        }
        self.settle(out);
        Ok(())
    }
}

#[cfg(test)]
#[path = "gallery_tests.rs"]
mod tests;
