//! The request to OpenAI: the caller's bytes, JSON or form, with splices.

use bytes::Bytes;
use http::HeaderValue;

use crate::base::error::Error;
use crate::domain::endpoint::Endpoint;
use crate::http::body::Segments;
use crate::http::call::{Call, Multipart};
use crate::provider::gallery::Plan;
use crate::provider::openai::billing::Billing;
use crate::provider::openai::dialect::Dialect;
use crate::provider::openai::request::{Edits, post};
use crate::provider::openai::{Answer, Written, voice};
use crate::provider::traits::{Exchange, MadeAs, Target};
use crate::wire::images::{Form, ImageRequest, SOFT, left_out, write_warnings};
use crate::wire::openai_request::{invalid, missing, unsupported};
use crate::wire::splice::splice;

use super::Counts;
use super::model::Model;
use super::read::read;

/// Pictures on the way to the whole one; each costs tokens, which the hold counts.
const MAX_PARTIAL: i64 = 3;

/// What becomes of fields of the request.
#[derive(Default)]
struct Changes {
    cut: Vec<&'static str>,
    /// Fields and the texts that replace theirs.
    replaced: Vec<(&'static str, String)>,
    warnings: Vec<String>,
    dropped: Vec<&'static str>,
    made_as: MadeAs,
}

pub(super) fn encode(dialect: Dialect, call: &Call, target: &Target) -> Result<Exchange, Error> {
    let given = if call.facts().multipart.is_some() { Bytes::new() } else { call.body() };
    let request = ImageRequest::read(call.segments().pieces(), &given, call.facts())?;
    let model = Model::of(&target.upstream).filter(|_| dialect == Dialect::OpenAi);
    let changes = match model {
        Some(model) => changes(model, &request, call, target)?,
        None => Changes::default(),
    };
    let path = dialect.path(call.endpoint()).unwrap_or_default();
    let (content_type, body) = match &call.facts().multipart {
        Some(form) => (voice::content_type(form)?, in_form(form, call, target, &changes)),
        None => (HeaderValue::from_static("application/json"), in_json(call, target, &changes)),
    };
    let accept = if call.streams() { "text/event-stream" } else { "application/json" };
    let sent = post(target, path, content_type, accept, body)?;
    let inlines = request.form == Some(Form::Url) && model.is_some_and(|model| !model.has_form);
    if inlines && !call.streams() {
        let plan = Plan {
            request: sent,
            calls: 1,
            form: request.form,
            size: changes.made_as.size,
            quality: changes.made_as.quality,
            warnings: changes.warnings,
            dropped: changes.dropped.into(),
            hosts: &[],
            read,
            is_final: true,
        };
        return Ok(plan.into_exchange(target));
    }
    let mut first = Vec::new();
    if !changes.warnings.is_empty() {
        write_warnings(&mut first, &changes.warnings);
        first.push(b',');
    }
    let mut dropped = changes.dropped;
    if inlines {
        dropped.push("response_format");
    }
    let decoder = Answer {
        dialect,
        endpoint: call.endpoint(),
        asked: Written::of(call),
        shows_usage: true,
        billing: Billing::of(call, target),
        sound: "",
        images: Some((Counts { made_as: changes.made_as, ..Counts::of(call, target) }, first.into())),
        form: None,
    };
    Ok(Exchange { request: Some(sent), decoder: Box::new(decoder), dropped: dropped.into() })
}

/// What the model needs otherwise than it was written.
fn changes(model: &Model, request: &ImageRequest<'_>, call: &Call, target: &Target) -> Result<Changes, Error> {
    request.prompt_at_most(model.max_prompt)?;
    request.n_at_most(model.max_n)?;
    if call.endpoint() == Endpoint::ImageGenerations && !request.pictures.is_empty() {
        return Err(unsupported("image", "POST /v1/images/edits works from pictures on this model"));
    }
    if call.endpoint() == Endpoint::ImageEdits {
        if !model.edits {
            return Err(unsupported("model", "it makes pictures from text alone; gpt-image models edit"));
        }
        if request.pictures.is_empty() {
            return Err(missing("image"));
        }
    }
    if request.partial_pictures.is_some_and(|partial| !(0..=MAX_PARTIAL).contains(&partial)) {
        return Err(invalid("partial_images", format_args!("this model gives 0 to {MAX_PARTIAL} of them")));
    }
    if call.streams() && model.has_form {
        return Err(unsupported("stream", "this model's pictures come in one answer"));
    }
    let mut changes = Changes::default();
    let honoured: Vec<_> = model.options.iter().copied().chain(["quality"]).collect();
    changes.dropped = request.ignored(&honoured);
    changes.warnings = changes.dropped.iter().filter_map(|field| left_out(field)).collect();
    // Even one that asks for nothing would be unknown there.
    changes.cut = SOFT.iter().copied().filter(|field| !honoured.contains(field)).collect();
    if !model.has_form {
        changes.cut.push("response_format");
    }
    if let Some(quality) = model.quality(request, target.terms.options, &mut changes.warnings)? {
        changes.made_as.quality = Some(quality.to_owned());
        changes.replaced.push(("quality", quality.to_owned()));
    }
    if request.quality.is_none() && model.has_form {
        changes.cut.push("quality");
        changes.made_as.quality = Some(model.qualities[0].to_owned());
    }
    if request.size.is_none() && model.has_form {
        changes.cut.push("size");
        changes.made_as.size = Some("1024x1024".to_owned());
    }
    if let Some((wanted, size)) = request.size.map(|wanted| (wanted, model.size(wanted))).filter(|(w, s)| w != s) {
        changes.warnings.push(format!("\"size\" {wanted} was made as {size}, the nearest that this model has."));
        changes.made_as.size = Some(size.to_string());
        changes.replaced.push(("size", size.to_string()));
    }
    Ok(changes)
}

fn in_json(call: &Call, target: &Target, changes: &Changes) -> Segments {
    let mut edits = Edits::new(call, target).with_members();
    for (field, text) in &changes.replaced {
        edits.replace(field, serde_json::Value::from(text.as_str()).to_string());
    }
    changes.cut.iter().for_each(|field| edits.leave_out(field));
    edits.done().0
}

/// The form with other texts in some parts and without others. Files are shared, not copied.
fn in_form(form: &Multipart, call: &Call, target: &Target, changes: &Changes) -> Segments {
    let mut edits = Vec::new();
    for part in &form.parts {
        let name = part.bare_name();
        if changes.cut.contains(&name) {
            edits.push((part.whole.clone(), Bytes::new()));
        } else if name == "model" && call.model() != &*target.upstream {
            edits.push((part.content.clone(), Bytes::copy_from_slice(target.upstream.as_bytes())));
        } else if let Some((_, text)) = changes.replaced.iter().find(|(field, _)| *field == name) {
            edits.push((part.content.clone(), text.clone().into()));
        }
    }
    Segments::new(splice(call.segments().pieces(), edits))
}
