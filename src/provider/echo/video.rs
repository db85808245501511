//! `demo-video`: a job that is queued, runs, and is done after three polls; its film is one picture.

use std::sync::Arc;
use std::time::Duration;

use http::Request;

use crate::base::clock::Timestamp;
use crate::base::error::{Code, Error};
use crate::domain::abilities::{Abilities, Sound};
use crate::domain::job::Video;
use crate::domain::usage::Usage;
use crate::domain::video::Order;
use crate::http::body::CallBody;
use crate::provider::traits::Target;
use crate::provider::video::{Answer, Cancel, Content, Link, NewVideo, Seen, VideoProvider};

use super::film::mp4;

/// The codec of `demo-video`.
#[derive(Clone, Copy, Debug, Default)]
pub struct EchoVideo;

impl VideoProvider for EchoVideo {
    fn abilities(&self, _: &str) -> Abilities {
        Abilities {
            durations: &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12],
            ratios: &["16:9", "9:16", "1:1"],
            resolutions: &["480p", "720p", "1080p"],
            last_frame: true,
            references: 4,
            seed: true,
            negative_prompt: true,
            sound: Sound::Switched(true),
            watermark: true,
            max_prompt: 10_000,
            ..Abilities::NONE
        }
    }

    fn create(&self, _: &NewVideo<'_>, _: &Target) -> Result<Option<Request<CallBody>>, Error> {
        Ok(None)
    }

    fn created(&self, new: &NewVideo<'_>, _: &Answer) -> Result<Option<Arc<str>>, Error> {
        Ok(Some(new.job_id.into()))
    }

    fn recover(&self, job_id: &str, _: &Order) -> Option<Arc<str>> {
        Some(job_id.into())
    }

    fn poll(&self, _: &str, _: &Target, _: Timestamp) -> Result<Option<Request<CallBody>>, Error> {
        Ok(None)
    }

    fn polled(&self, polls: u32, _: &Answer, _: Timestamp) -> Result<Seen, Error> {
        let video = Video { source: "demo.mp4".into(), width: Some(64), height: Some(64), expires_at: None };
        Ok(match polls {
            0 => Seen::Queued,
            1 => Seen::Running(Some(30)),
            2 => Seen::Running(Some(60)),
            _ => Seen::Completed(vec![video], Usage { videos: 1, ..Usage::NONE }),
        })
    }

    fn content(&self, _: &Video, _: &Target, _: Timestamp) -> Result<Content, Error> {
        Ok(Content::Here(mp4(b"demo-video", 6).into()))
    }

    fn link(&self, _: &Answer) -> Result<Link, Error> {
        Err(Error::new(Code::InternalError, "The offline provider has no links."))
    }

    fn cancel(&self, _: &str, _: &Target, _: Timestamp) -> Result<Cancel, Error> {
        Ok(Cancel::Done)
    }

    fn content_hosts(&self) -> &'static [&'static str] {
        &[]
    }

    fn pace(&self) -> Duration {
        Duration::from_secs(1)
    }
}
