//! A vendor tells that a job has moved. Nothing of what it says is believed: it is a nudge to ask.

use std::error::Error as StdError;
use std::future::poll_fn;
use std::pin::pin;

use bytes::{Bytes, BytesMut};
use http::{Method, Request, Response, StatusCode};
use http_body::Body;

use crate::base::error::{Code, Error};
use crate::base::secret::constant_time_eq;
use crate::domain::job::Job;
use crate::http::reply::ReplyTo;

use super::body::{JobBody, JobFuture, json};
use super::{VideoJobs, store_failed};

/// Under which vendors call back.
const PREFIX: &str = "/internal/callbacks/";

/// The longest callback that is read, in bytes.
const LONGEST: usize = 256 * 1024;

impl VideoJobs {
    /// Whether `path` is one at which vendors call back. No key is asked for there: the path holds a token.
    pub fn is_callback(path: &str) -> bool {
        path.starts_with(PREFIX)
    }

    /// Answers a vendor's callback.
    pub fn callback<B>(&self, mut request: Request<B>) -> JobFuture
    where
        B: Body<Data = Bytes, Error: Into<Box<dyn StdError + Send + Sync>>> + Send + 'static,
    {
        let (jobs, to) = (self.clone(), ReplyTo::of(&mut request));
        JobFuture::new(async move {
            match jobs.called_back(request).await {
                Ok(response) => response,
                Err(error) => to.error(&error).map(JobBody::of_reply),
            }
        })
    }

    async fn called_back<B: Body<Data = Bytes>>(&self, request: Request<B>) -> Result<Response<JobBody>, Error> {
        if request.method() != Method::POST {
            return Err(Error::new(Code::MethodNotAllowed, "This URL takes POST alone.").allow("POST"));
        }
        let path = request.uri().path().strip_prefix(PREFIX).unwrap_or_default();
        let (provider, token) = path.split_once('/').ok_or_else(nothing)?;
        let (id, secret) = token.split_once('.').ok_or_else(nothing)?;
        let job = self.0.store.get(id).await.map_err(|error| store_failed(&error))?.ok_or_else(nothing)?;
        let is_right = |job: &Job| {
            *job.provider == *provider
                && job.callback.as_ref().is_some_and(|own| constant_time_eq(own.as_bytes(), secret.as_bytes()))
        };
        if !is_right(&job) {
            return Err(nothing());
        }
        let (_, codec) = self.vendor(&job.model).ok_or_else(nothing)?;
        let body = collect(request.into_body()).await?;
        if let Some(answer) = codec.challenge(&body) {
            let mut response = json(StatusCode::OK, &serde_json::Value::Null);
            *response.body_mut() = JobBody::whole(answer);
            return Ok(response);
        }
        if job.handle.is_some() {
            self.0.store.nudge(&job.id, self.now()).await.map_err(|error| store_failed(&error))?;
        }
        Ok(json(StatusCode::OK, &serde_json::json!({ "status": "ok" })))
    }
}

async fn collect<B: Body<Data = Bytes>>(body: B) -> Result<Bytes, Error> {
    let (mut body, mut read) = (pin!(body), BytesMut::new());
    while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        let frame = frame.map_err(|_| Error::new(Code::InvalidJson, "The body broke off."))?;
        if let Some(data) = frame.data_ref() {
            if read.len() + data.len() > LONGEST {
                return Err(Error::new(Code::RequestTooLarge, "A callback is at most 256 KiB long."));
            }
            read.extend_from_slice(data);
        }
    }
    Ok(read.freeze())
}

fn nothing() -> Error {
    Error::new(Code::NotFound, "There is nothing at this URL.")
}
