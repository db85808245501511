//! A video job is made; its caller waits for it, and it goes on without them.

use std::task::{Context, Poll, ready};

use crate::base::error::Origin;
use crate::base::log;
use crate::domain::endpoint::Endpoint;
use crate::http::meter::Meter;
use crate::http::reply::ReplyTo;
use crate::http::vendor::VendorBody;
use crate::jobs::{Creation, VideoJobs};

use super::future::Answer;

/// A video job in the making.
pub(super) struct Making {
    pub(super) reply: ReplyTo,
    pub(super) meter: Meter,
    pub(super) endpoint: Endpoint,
    pub(super) path: Box<str>,
    pub(super) jobs: VideoJobs,
    pub(super) creation: Creation,
}

impl Making {
    pub(super) fn poll_answer<RB: VendorBody>(&mut self, cx: &mut Context<'_>) -> Poll<Answer<RB>> {
        let job = match ready!(self.creation.as_mut().poll(cx)) {
            Ok(job) => job,
            Err(error) => {
                self.meter.fail(&error);
                if error.origin() == Origin::Provider {
                    log::vendor_failed(self.reply.request_id(), &error);
                }
                return Poll::Ready(self.reply.error(&error));
            }
        };
        let mut response = self.jobs.accepted(self.endpoint, &self.path, &job);
        self.reply.stamp(&mut response);
        Poll::Ready(response)
    }
}
