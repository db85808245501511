//! An answer that is no JSON, passed through as it comes: sound, and transcripts as text.

use bytes::Bytes;

use crate::base::error::{Code, Error};
use crate::provider::traits::Output;

use super::Form;
use super::billing::Billing;

pub(super) struct Raw {
    billing: Billing,
    /// Speech is never nothing; the transcript of silence is.
    may_be_empty: bool,
    passed: u64,
}

impl Raw {
    pub(super) const fn new(billing: Billing, may_be_empty: bool) -> Self {
        Self { billing, may_be_empty, passed: 0 }
    }
}

impl Form for Raw {
    fn push(&mut self, piece: Bytes, out: &mut Output) -> Result<(), Error> {
        self.passed += piece.len() as u64;
        out.write(piece);
        if self.passed > 0 {
            out.deliver(self.billing.delivered(self.passed.div_ceil(4)));
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut Output) -> Result<(), Error> {
        if self.passed == 0 && !self.may_be_empty {
            return Err(Error::provider(Code::ProviderError, "The provider answered without a sound. Try again."));
        }
        if let Some(used) = self.billing.silent() {
            out.report(used);
        }
        out.complete();
        Ok(())
    }
}
