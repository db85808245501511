//! What a request must be like to pass.

use std::sync::Arc;

use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, request};

use crate::base::error::{Code, Error};
use crate::domain::caller::Caller;
use crate::domain::endpoint::Endpoint;
use crate::domain::modality::Modality;
use crate::domain::model::{Catalog, ModelTerms};
use crate::http::body::Segments;
use crate::http::call::{Call, Facts};
use crate::http::meter::Meter;
use crate::wire::json::shown;
use crate::wire::multipart::{self, Layout};
use crate::wire::peek;

use super::collect::Collected;

/// The layer's settings.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    pub(super) catalog: Option<Arc<dyn Catalog>>,
    pub(super) max_body_bytes: usize,
    pub(super) max_upload_bytes: usize,
}

impl Default for Rules {
    fn default() -> Self {
        Self { catalog: None, max_body_bytes: 32 << 20, max_upload_bytes: 25 << 20 }
    }
}

/// What a request's head says of its body.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) bound: Bound,
    /// The body's length, where the head tells it.
    pub(super) length: Option<u64>,
    /// The model route and how its body is written; `None` for a request that is not inspected.
    route: Option<(Endpoint, Format)>,
}

/// The most bytes of a body that are collected.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bound {
    pub(super) max_bytes: usize,
    /// The field that is nearly all of it.
    field: Option<&'static str>,
}

impl Bound {
    pub(super) const fn of_body(max_bytes: usize) -> Self {
        Self { max_bytes, field: None }
    }

    /// What the caller of a larger body is told.
    pub(super) fn exceeded(self) -> Error {
        let say = |message| Error::new(Code::RequestTooLarge, message);
        match (self.field, self.max_bytes) {
            (Some(field), most) => {
                say(format!("The upload is larger than {most} bytes: send a shorter file.")).param(field)
            }
            (None, most) => say(format!("The body is larger than {most} bytes: shorten it, or give media by URL.")),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Format {
    Json,
    Multipart,
}

impl Rules {
    /// Refuses another call than the one that the request's meter follows. It has nothing to do with that: it is taken away.
    pub(super) fn check(&self, head: &mut request::Parts) -> Result<(), Error> {
        let Some(meter) = head.extensions.get::<Meter>() else { return Ok(()) };
        let Err(error) = meter.check(head.extensions.get::<Call>()) else { return Ok(()) };
        if head.method != Method::POST || Endpoint::of(head.uri.path()).is_none() {
            return Ok(());
        }
        head.extensions.remove::<Meter>();
        Err(error)
    }

    /// Looks at the head, before any byte of the body.
    pub(super) fn plan(&self, head: &request::Parts) -> Result<Plan, Error> {
        let endpoint = Endpoint::of(head.uri.path()).filter(|_| head.method == Method::POST);
        let bound = if endpoint.is_some_and(Endpoint::takes_recording) {
            Bound { max_bytes: self.max_upload_bytes, field: Some("file") }
        } else {
            Bound::of_body(self.max_body_bytes)
        };
        let said = Said::by(&head.headers);
        let route = match endpoint {
            Some(endpoint) => Some((endpoint, said.format(endpoint)?)),
            None => None,
        };
        let length = said.length.and_then(|length| length.to_str().ok()?.parse().ok());
        match length {
            Some(length) if length > bound.max_bytes as u64 => Err(bound.exceeded()),
            length => Ok(Plan { bound, length, route }),
        }
    }

    /// Reads the collected body and puts the `Call` into the extensions.
    pub(super) fn inspect(
        &self,
        plan: Plan,
        head: &mut request::Parts,
        collected: Collected,
    ) -> Result<Segments, Error> {
        let Collected { segments, layout } = collected;
        let Some((endpoint, _)) = plan.route else { return Ok(segments) };
        let facts = match layout {
            None => peek::peek(segments.pieces())?,
            Some(layout) => {
                let mut layout = *layout?;
                let walk = layout.take_walk();
                let mut facts = multipart::facts(segments.pieces(), layout)?;
                if endpoint.takes_recording() {
                    facts.read_recording(segments.pieces(), walk);
                }
                Box::new(facts)
            }
        };
        let terms = match (&self.catalog, &facts.model) {
            (Some(catalog), Some(model)) => catalog.terms(&model.value),
            _ => None,
        };
        // Of an InspectLayer further out, and maybe a QuotaLayer that has held for it.
        let before = head.extensions.get::<Call>();
        let mut call = Call::new(endpoint, facts, segments.clone(), terms);
        if let Some(bound) = before.and_then(Call::output_bound) {
            call = call.bound_output(bound);
        }
        if let Some(error) = head.extensions.get::<Meter>().and_then(|meter| meter.identify(&call, before).err()) {
            // The call that it follows has nothing to do with this one.
            head.extensions.remove::<Meter>();
            return Err(error);
        }
        if self.catalog.is_some() {
            admit(&call, head.extensions.get::<Caller>())?;
        }
        match endpoint {
            Endpoint::ChatCompletions => call.facts().require_messages()?,
            Endpoint::Embeddings => call.facts().require_input()?,
            _ => {}
        }
        if endpoint.takes_recording() {
            call.facts().require_recording()?;
        }
        head.extensions.insert(call);
        Ok(segments)
    }
}

impl Plan {
    /// What reads a form while it comes; an error is said once it is here.
    pub(super) fn layout(&self, headers: &HeaderMap) -> Option<Result<Box<Layout>, Error>> {
        let is_form = matches!(self.route, Some((_, Format::Multipart)));
        is_form.then(|| Layout::new(text(headers.get(CONTENT_TYPE))).map(Box::new))
    }
}

/// Whether the model is there, is allowed to the caller, and fits the route.
fn admit(call: &Call, caller: Option<&Caller>) -> Result<(), Error> {
    let Facts { model: Some(model), .. } = call.facts() else {
        let message = "Name the model: the field `model` is missing. GET /v1/models lists what this key may use.";
        return Err(Error::new(Code::MissingParameter, message).param("model"));
    };
    let id = || shown(&model.value);
    let Some(terms) = call.terms() else {
        let message = format!("The model `{}` does not exist. GET /v1/models lists what this key may use.", id());
        return Err(Error::new(Code::ModelNotFound, message).param("model"));
    };
    if caller.is_some_and(|caller| !caller.may_use(&terms.id, terms.modality)) {
        let message = format!(
            "This key may not use the model `{}`. GET /v1/models lists what it may use; ask for a wider key.",
            id()
        );
        return Err(Error::new(Code::InsufficientPermissions, message).param("model"));
    }
    if terms.modality != call.endpoint().modality() {
        return Err(misrouted(&id(), terms));
    }
    Ok(())
}

fn misrouted(id: &str, terms: &ModelTerms) -> Error {
    let routes: Vec<_> =
        Endpoint::ALL.into_iter().filter(|e| e.modality() == terms.modality).map(Endpoint::path).collect();
    let modality = terms.modality;
    let article = if matches!(modality, Modality::Image | Modality::Embedding) { "an" } else { "a" };
    let message = format!("The model `{id}` is {article} {modality} model: use POST {}.", routes.join(" or "));
    Error::new(Code::InvalidParameter, message).param("model")
}

/// What the headers say of the body, found in one walk: there are few of them.
#[derive(Default)]
struct Said<'a> {
    content_type: Option<&'a HeaderValue>,
    length: Option<&'a HeaderValue>,
    is_compressed: bool,
}

impl<'a> Said<'a> {
    fn by(headers: &'a HeaderMap) -> Self {
        let mut said = Self::default();
        for (name, value) in headers {
            if *name == CONTENT_TYPE {
                said.content_type.get_or_insert(value);
            } else if *name == CONTENT_LENGTH {
                said.length.get_or_insert(value);
            } else if *name == CONTENT_ENCODING {
                said.is_compressed |= !value.as_bytes().eq_ignore_ascii_case(b"identity");
            }
        }
        said
    }

    /// How the route's body is written, if it is written in a way that the route takes.
    fn format(&self, endpoint: Endpoint) -> Result<Format, Error> {
        if self.is_compressed {
            let message = "Compressed requests are not read: send the body as it is.";
            return Err(Error::new(Code::InvalidParameter, message));
        }
        format(endpoint, text(self.content_type))
    }
}

/// The format of this content type, if the route takes it.
fn format(endpoint: Endpoint, content_type: &str) -> Result<Format, Error> {
    // As it is nearly always written.
    let media_type = match content_type {
        "application/json" => content_type,
        other => other.split(';').next().unwrap_or_default().trim(),
    };
    let is = |known: &str| media_type.eq_ignore_ascii_case(known);
    let format = if media_type.is_empty() || is("application/json") {
        Some(Format::Json)
    } else if is("multipart/form-data") {
        Some(Format::Multipart)
    } else {
        media_type.to_ascii_lowercase().ends_with("+json").then_some(Format::Json)
    };
    let taken: &[Format] = match endpoint {
        endpoint if endpoint.takes_recording() => &[Format::Multipart],
        Endpoint::ImageEdits | Endpoint::Videos => &[Format::Json, Format::Multipart],
        _ => &[Format::Json],
    };
    format.filter(|format| taken.contains(format)).ok_or_else(|| {
        let names: Vec<_> = taken.iter().map(|format| format.media_type()).collect();
        let message = format!("This content-type is not taken here: send `{}`.", names.join("` or `"));
        Error::new(Code::InvalidParameter, message)
    })
}

impl Format {
    const fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Multipart => "multipart/form-data",
        }
    }
}

/// The content type; text that is no ASCII is none that is known.
fn text(content_type: Option<&HeaderValue>) -> &str {
    content_type.map_or("", |value| value.to_str().unwrap_or("?"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::caller::{Home, ModelPatterns};
    use crate::domain::name::Name;
    use crate::domain::record::Outcome;
    use crate::http::finish::Ended;
    use crate::http::meter::Abandoned;
    use bytes::Bytes;
    use http::Request;

    /// One text model, `gpt-4o`, and one image model, `vendor/image:1`.
    #[derive(Debug)]
    struct Two;

    impl Catalog for Two {
        fn terms(&self, id: &str) -> Option<Arc<ModelTerms>> {
            let modality = match id {
                "gpt-4o" => Modality::Text,
                "vendor/image:1" => Modality::Image,
                _ => return None,
            };
            Some(Arc::new(ModelTerms::new(id, modality)))
        }
    }

    fn caller(models: &str, modality: Modality) -> Caller {
        let name = |text| Name::new(text).unwrap();
        let home = Home { workspace: name("acme"), project: name("site"), team: None, environment: None };
        let models = ModelPatterns::new(vec![models.to_owned()]).unwrap();
        Caller::new("id".into(), None, home, models, Arc::from([modality]))
    }

    /// What becomes of a body that `caller` posts to `path`, and the meter that watched.
    fn inspect(path: &str, caller: Caller, body: &str) -> (Result<(), Error>, Meter) {
        let rules = Rules { catalog: Some(Arc::new(Two)), ..Rules::default() };
        let meter = Meter::new(Abandoned::Seen);
        let (mut head, ()) = Request::post(path).body(()).unwrap().into_parts();
        head.extensions.insert(caller);
        head.extensions.insert(meter.clone());
        let plan = rules.plan(&head).unwrap();
        let segments = Segments::from(Bytes::copy_from_slice(body.as_bytes()));
        let result = rules.inspect(plan, &mut head, Collected { segments, layout: None }).map(drop);
        assert_eq!(head.extensions.get::<Call>().is_some(), result.is_ok());
        (result, meter)
    }

    const CHAT: &str = "/v1/chat/completions";

    fn chat(model: &str) -> String {
        format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":"hi"}}]}}"#)
    }

    #[test]
    fn a_model_that_is_not_registered_is_unknown_even_to_a_key_that_may_use_nothing() {
        let (result, _) = inspect(CHAT, caller("none", Modality::Video), &chat("gpt-5"));
        assert_eq!(result.unwrap_err().code(), Code::ModelNotFound);
    }

    #[test]
    fn a_registered_model_that_the_key_may_not_use_is_refused_by_name_and_by_modality() {
        for caller in [caller("claude-*", Modality::Text), caller("*", Modality::Image)] {
            let (result, meter) = inspect(CHAT, caller, &chat("gpt-4o"));
            assert_eq!(result.unwrap_err().code(), Code::InsufficientPermissions);
            assert_eq!(&*meter.learnt(|learnt| learnt.terms.clone()).unwrap().id, "gpt-4o");
        }
    }

    #[test]
    fn a_model_of_another_modality_is_told_its_route() {
        let (result, _) = inspect(CHAT, caller("*", Modality::Image), &chat("vendor/image:1"));
        let error = result.unwrap_err();
        assert_eq!((error.code(), error.param_name()), (Code::InvalidParameter, Some("model")));
        assert!(error.message().contains("an image model: use POST /v1/images/generations or"), "{error}");
    }

    #[test]
    fn a_call_that_passes_is_known_to_the_meter() {
        let (result, meter) = inspect(CHAT, caller("gpt-4o", Modality::Text), &chat("gpt-4o"));
        result.unwrap();
        assert_eq!(meter.learnt(|learnt| learnt.terms.clone()).unwrap().modality, Modality::Text);
        assert_ne!(meter.book(Ended::Dropped).outcome, Outcome::Refused);
    }

    #[test]
    fn a_strange_model_id_is_shown_short_and_without_control_characters() {
        let id = format!(r"x\r\nset-cookie: a\u0000{}", "y".repeat(10_000));
        let (result, _) = inspect(CHAT, caller("*", Modality::Text), &chat(&id));
        let error = result.unwrap_err();
        assert_eq!(error.code(), Code::ModelNotFound);
        assert!(error.message().len() < 200 && !error.message().contains(char::is_control), "{error}");
    }
}
