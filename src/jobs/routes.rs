//! What a caller may ask about its jobs: read, list, cancel, delete, fetch. In two shapes, over the same jobs.

use http::header::{CONTENT_TYPE, LOCATION, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use serde_json::{Value, json};

use crate::base::error::{Code, Error};
use crate::domain::caller::Caller;
use crate::domain::endpoint::Endpoint;
use crate::domain::job::json::openai_video;
use crate::domain::job::{Job, JobState};
use crate::http::body::ResponseBody;
use crate::http::reply::ReplyTo;
use crate::store::error::StoreErrorKind;
use crate::store::jobs::JobFilter;
use crate::store::tables::Page;

use super::body::{self, JobBody, JobFuture};
use super::{VideoJobs, store_failed};

/// Whose shape an answer has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// `/v1/videos/generations`.
    Generation,
    /// `/v1/videos`, as OpenAI's SDKs know it.
    OpenAi,
}

/// What stands behind a job's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum About<'a> {
    All,
    One(&'a str),
    Cancel(&'a str),
    Content(&'a str),
}

impl<'a> About<'a> {
    const fn allow(self) -> &'static str {
        match self {
            Self::All => "GET, POST",
            Self::One(_) => "GET, DELETE",
            Self::Cancel(_) => "POST",
            Self::Content(_) => "GET",
        }
    }
}

fn route(path: &str) -> Option<(Shape, About<'_>)> {
    let bare = path.strip_prefix("/v1").unwrap_or(path).strip_prefix("/videos")?;
    let (shape, rest) = match bare.strip_prefix("/generations") {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => (Shape::Generation, rest),
        _ => (Shape::OpenAi, bare),
    };
    if rest.is_empty() {
        return Some((shape, About::All));
    }
    let mut segments = rest.strip_prefix('/')?.split('/');
    let id = segments.next().filter(|id| !id.is_empty())?;
    let about = match (segments.next(), segments.next()) {
        (None, _) => About::One(id),
        (Some("cancel"), None) => About::Cancel(id),
        (Some("content"), None) => About::Content(id),
        _ => return None,
    };
    Some((shape, about))
}

impl VideoJobs {
    /// Whether `path` is one of the job routes. A POST to the list of jobs makes one, and goes the way of all model requests.
    pub fn serves(path: &str) -> bool {
        route(path).is_some()
    }

    /// Answers a request about jobs of the [`Caller`] in its extensions; anything but the making of one.
    pub fn answer<B>(&self, mut request: Request<B>) -> JobFuture {
        let (jobs, to) = (self.clone(), ReplyTo::of(&mut request));
        let (head, _) = request.into_parts();
        JobFuture::new(async move {
            let mut response = match jobs.answer_head(head).await {
                Ok(response) => response,
                Err(error) => to.error(&error).map(JobBody::of_reply),
            };
            to.stamp(&mut response);
            response
        })
    }

    async fn answer_head(&self, head: http::request::Parts) -> Result<Response<JobBody>, Error> {
        let caller = head.extensions.get::<Caller>().ok_or_else(|| {
            Error::new(Code::InternalError, "Video jobs have owners: put AuthLayer around this service.")
        })?;
        let (shape, about) =
            route(head.uri.path()).ok_or_else(|| Error::new(Code::NotFound, "There is nothing at this URL."))?;
        let query = head.uri.query();
        match (&head.method, about) {
            (&Method::GET, About::All) => self.list(shape, caller, query).await,
            (&Method::GET, About::One(id)) => self.read(shape, self.owned(id, caller).await?).await,
            (&Method::DELETE, About::One(id)) => self.delete(shape, self.owned(id, caller).await?).await,
            (&Method::POST, About::Cancel(id)) => {
                let job = self.cancel(self.owned(id, caller).await?).await?;
                Ok(body::json(StatusCode::OK, &self.show(shape, &job)))
            }
            (&Method::GET, About::Content(id)) => {
                self.fetch_content(self.owned(id, caller).await?, query, &head.headers).await
            }
            (_, about) => {
                let allow = about.allow();
                Err(Error::new(Code::MethodNotAllowed, format!("This URL takes {allow}.")).allow(allow))
            }
        }
    }

    fn show(&self, shape: Shape, job: &Job) -> Value {
        match shape {
            Shape::Generation => self.shown(job),
            Shape::OpenAi => openai_video(job),
        }
    }

    /// The answer to a create.
    pub(crate) fn accepted<B>(&self, endpoint: Endpoint, path: &str, job: &Job) -> Response<ResponseBody<B>> {
        let shape = if endpoint == Endpoint::Videos { Shape::OpenAi } else { Shape::Generation };
        let mut response = Response::new(ResponseBody::reply(self.show(shape, job).to_string().into()));
        *response.status_mut() = StatusCode::ACCEPTED;
        let headers = response.headers_mut();
        // Below a router's own prefix, which does not show here, only a relative reference leads to the job.
        let place = match path == endpoint.path() {
            true => format!("{path}/{}", job.id),
            false => format!("{}/{}", path.rsplit('/').next().unwrap_or_default(), job.id),
        };
        if let Ok(place) = HeaderValue::from_str(&place) {
            headers.insert(LOCATION, place);
        }
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }

    async fn read(&self, shape: Shape, job: Job) -> Result<Response<JobBody>, Error> {
        let job = self.refresh(job).await?;
        let mut response = body::json(StatusCode::OK, &self.show(shape, &job));
        if !job.state.is_terminal() {
            let wait = job.due_at.map_or(1, |due| due.since(self.now()).as_secs().clamp(1, 30));
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(wait));
        }
        Ok(response)
    }

    async fn delete(&self, shape: Shape, job: Job) -> Result<Response<JobBody>, Error> {
        let mut job = if job.state.is_terminal() { job } else { self.cancel(job).await? };
        if !job.settled {
            job = self.settle(job).await.map_err(|error| store_failed(&error))?;
        }
        // Where somebody else has settled it meanwhile, it has another version; where a twin of this request has removed it,
        // it is gone all the same.
        while !self.0.store.remove(&job.id, job.version).await.map_err(|error| store_failed(&error))? {
            match self.0.store.get(&job.id).await.map_err(|error| store_failed(&error))? {
                Some(stored) => job = stored,
                None => break,
            }
        }
        let object = if shape == Shape::OpenAi { "video.deleted" } else { "video.generation.deleted" };
        Ok(body::json(StatusCode::OK, &json!({ "id": &*job.id, "object": object, "deleted": true })))
    }

    async fn fetch_content(
        &self,
        job: Job,
        query: Option<&str>,
        asked: &HeaderMap,
    ) -> Result<Response<JobBody>, Error> {
        let mut index = 0;
        for (name, value) in pairs(query) {
            match name {
                "index" => index = value.parse().map_err(|_| wrong("index", "a number from 0 on"))?,
                "variant" if value == "video" => {}
                "variant" => return Err(wrong("variant", "video: there are no others")),
                _ => return Err(unknown(name)),
            }
        }
        self.content(self.refresh(job).await?, index, asked).await
    }

    async fn list(&self, shape: Shape, caller: &Caller, query: Option<&str>) -> Result<Response<JobBody>, Error> {
        let home = caller.home();
        let mut filter = JobFilter {
            workspace: home.workspace.to_string(),
            project: home.project.to_string(),
            environment: home.environment.as_ref().map(ToString::to_string),
            state: None,
            model: None,
            ascending: false,
        };
        let mut page = Page { after: None, limit: 20 };
        for (name, value) in pairs(query) {
            match name {
                "limit" => {
                    let limit = value.parse().ok().filter(|n| (1..=100).contains(n));
                    page.limit = limit.ok_or_else(|| wrong("limit", "a number from 1 to 100"))?;
                }
                "after" => page.after = Some(value.to_owned()),
                "order" => {
                    filter.ascending = match value {
                        "asc" => true,
                        "desc" => false,
                        _ => return Err(wrong("order", "asc or desc")),
                    }
                }
                "status" => {
                    let state = value.parse::<JobState>();
                    filter.state = Some(state.map_err(|_| wrong("status", "one of the states of a job"))?);
                }
                "model" => filter.model = Some(value.to_owned()),
                _ => return Err(unknown(name)),
            }
        }
        let found = self.0.store.list(filter, page).await.map_err(|error| match error.kind() {
            StoreErrorKind::Refused => wrong("after", "the id of a job in this list"),
            _ => store_failed(&error),
        })?;
        let ids = (found.items.first().map(|job| job.id.to_string()), found.items.last().map(|job| job.id.to_string()));
        let data: Vec<_> = found.items.iter().map(|job| self.show(shape, job)).collect();
        let list = json!({
            "object": "list",
            "data": data,
            "first_id": ids.0,
            "last_id": ids.1,
            "has_more": found.next.is_some(),
        });
        Ok(body::json(StatusCode::OK, &list))
    }
}

/// The parameters of a query. All that job routes take are plain words, so nothing is decoded.
fn pairs(query: Option<&str>) -> impl Iterator<Item = (&str, &str)> {
    let pairs = query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

fn wrong(name: &'static str, must: &str) -> Error {
    Error::new(Code::InvalidParameter, format!("The parameter `{name}` must be {must}.")).param(name)
}

fn unknown(name: &str) -> Error {
    let shown: String = name.chars().filter(|c| !c.is_control()).take(40).collect();
    Error::new(Code::UnsupportedParameter, format!("This URL takes no parameter `{shown}`.")).param(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_told_apart_with_and_without_the_prefix() {
        use About::{All, Cancel, Content, One};
        for (path, found) in [
            ("/v1/videos/generations", Some((Shape::Generation, All))),
            ("/videos/generations/x", Some((Shape::Generation, One("x")))),
            ("/v1/videos/generations/x/cancel", Some((Shape::Generation, Cancel("x")))),
            ("/v1/videos/generations/x/content", Some((Shape::Generation, Content("x")))),
            ("/v1/videos", Some((Shape::OpenAi, All))),
            ("/v1/videos/x/content", Some((Shape::OpenAi, Content("x")))),
            ("/v1/videos/generationsx", Some((Shape::OpenAi, One("generationsx")))),
            ("/v1/videos/", None),
            ("/v1/videos/x/", None),
            ("/v1/videos/x/remix", None),
            ("/v1/videos/x/content/y", None),
            ("/v1/models", None),
        ] {
            assert_eq!(route(path), found, "{path}");
        }
    }
}
