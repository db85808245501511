//! The vendor's request: the caller's bytes with a few splices.

use std::ops::Range;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request};

use crate::base::error::{Code, Error};
use crate::base::secret::Secret;
use crate::domain::endpoint::Endpoint;
use crate::http::body::{CallBody, Segments};
use crate::http::call::Call;
use crate::provider::traits::{Credential, Target};
use crate::wire::members::{Event, Members};
use crate::wire::splice::splice;

use super::dialect::Dialect;
use super::{messages, voice};

/// New bytes for a place of the body; an empty place inserts.
pub(super) type Edit = (Range<usize>, Bytes);

/// The request, and what was left out of it.
pub(super) fn encode(
    dialect: Dialect,
    call: &Call,
    target: &Target,
) -> Result<(Request<CallBody>, Vec<&'static str>), Error> {
    let Some(path) = dialect.path(call.endpoint()) else {
        return Err(Error::new(
            Code::ProviderModelUnavailable,
            format!("Providers of the kind {} do not serve {} here.", dialect.kind(), call.endpoint().path()),
        ));
    };
    let mut edits = Edits::new(call, target);
    match call.endpoint() {
        Endpoint::ChatCompletions => edits.chat(dialect),
        Endpoint::Responses => edits.response()?,
        Endpoint::Speech => voice::check_speech(dialect, call.facts())?,
        _ => {}
    }
    let (body, dropped) = edits.done();
    let content_type = match &call.facts().multipart {
        Some(form) => voice::content_type(form)?,
        None => HeaderValue::from_static("application/json"),
    };
    let accept = match call.endpoint() {
        Endpoint::Speech => "*/*",
        _ if call.streams() => "text/event-stream",
        endpoint if endpoint.takes_recording() => "*/*",
        _ => "application/json",
    };
    Ok((post(target, path, content_type, accept, body)?, dropped))
}

/// A request to the vendor's `path`, with the gateway's credential and no header of the caller's.
pub(super) fn post(
    target: &Target,
    path: &'static str,
    content_type: HeaderValue,
    accept: &'static str,
    body: Segments,
) -> Result<Request<CallBody>, Error> {
    let mut request = Request::new(CallBody::from(body));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = target.route(path)?;
    let headers = request.headers_mut();
    // These, and what the client adds: the map must not grow on its way out.
    headers.reserve(6);
    headers.insert(CONTENT_TYPE, content_type);
    headers.insert(ACCEPT, HeaderValue::from_static(accept));
    if let Credential::ApiKey(key) = target.credential.credential() {
        headers.insert(AUTHORIZATION, bearer(&key)?);
    }
    Ok(request)
}

fn bearer(key: &Secret) -> Result<HeaderValue, Error> {
    key.bearer().ok_or_else(|| {
        Error::provider(
            Code::ProviderAuthError,
            "The gateway's credential for this provider is not usable; its operator has to correct it.",
        )
        .cause("the credential cannot stand in a header")
    })
}

/// A top-level member: its key (quote included) and its value.
struct Member {
    key: String,
    key_at: usize,
    value: Range<usize>,
}

/// What the facts do not tell: found only where a dialect makes it matter.
#[derive(Default)]
struct Layout {
    members: Vec<Member>,
    /// The values of the messages' `role`.
    roles: Vec<Range<usize>>,
}

impl Layout {
    fn of(body: &Segments, roles: bool) -> Self {
        let mut scanner = Members::new(if roles { 3 } else { 1 });
        let mut layout = Self::default();
        let mut role_at = None;
        for piece in body.pieces() {
            let mut at = 0;
            while let Some(event) = scanner.next(piece, &mut at) {
                match event {
                    Event::Begin { depth: 1, key_at, value_at } => {
                        layout.members.push(Member {
                            key: scanner.key().into_owned(),
                            key_at,
                            value: value_at..value_at,
                        });
                    }
                    Event::End { depth: 1, value_end } => {
                        layout.members.last_mut().into_iter().for_each(|member| member.value.end = value_end);
                    }
                    Event::Begin { depth: 3, value_at, .. } => {
                        let in_messages = layout.members.last().is_some_and(|member| member.key == "messages");
                        role_at = (in_messages && scanner.key() == "role").then_some(value_at);
                    }
                    Event::End { depth: 3, value_end } => layout.roles.extend(role_at.take().map(|at| at..value_end)),
                    _ => {}
                }
            }
        }
        layout
    }

    fn member(&self, key: &str) -> Option<&Member> {
        self.members.iter().find(|member| member.key == key)
    }
}

/// The splices of one request.
pub(super) struct Edits<'a> {
    call: &'a Call,
    target: &'a Target,
    layout: Layout,
    edits: Vec<Edit>,
    /// The top-level members to leave out.
    cut: Vec<&'static str>,
    /// Those of them that the caller is told of.
    dropped: Vec<&'static str>,
}

impl<'a> Edits<'a> {
    /// The model's id, spliced in.
    pub(super) fn new(call: &'a Call, target: &'a Target) -> Self {
        let mut this =
            Self { call, target, layout: Layout::default(), edits: Vec::new(), cut: Vec::new(), dropped: Vec::new() };
        let model = call.facts().model.as_ref().filter(|model| *model.value != *target.upstream);
        this.edits.extend(model.and_then(|model| match &call.facts().multipart {
            Some(form) => voice::model_edit(form, &target.upstream),
            None => Some((model.at.clone(), serde_json::Value::from(&*target.upstream).to_string().into())),
        }));
        this
    }

    fn chat(&mut self, dialect: Dialect) {
        if dialect.has_quirks() {
            self.layout = Layout::of(self.call.segments(), dialect.lacks_developer());
        }
        if self.call.streams() {
            self.ask_for_usage();
        }
        self.bound_output(dialect);
        if dialect.has_quirks() {
            self.rename_developers();
            self.clamp(dialect);
            self.drop_foreign(dialect);
            self.mend_messages(dialect);
            if !self.call.streams() && dialect.thinks_in_streams_alone(&self.target.upstream) {
                self.do_not_think();
            }
        }
    }

    /// Nothing is left with the vendor, where no key of ours would guard it, and nothing runs there that has no bound.
    fn response(&mut self) -> Result<(), Error> {
        let facts = self.call.facts();
        if let Some(thing) = &facts.unowned {
            let message = format!(
                "What {thing:?} stands for would be kept or run by the provider, where this gateway can neither guard nor bound it: leave it out, and send the whole conversation in \"input\" and functions of your own in \"tools\"."
            );
            return Err(Error::new(Code::UnsupportedParameter, message).param(thing.clone()));
        }
        match &facts.store {
            Some(store) if store.value => self.edits.push((store.at.clone(), Bytes::from_static(b"false"))),
            Some(_) => {}
            None => self.set("store", "false"),
        }
        match (self.call.output_bound(), &facts.max_output_tokens) {
            (Some(tokens), Some(asked)) => self.edits.push((asked.at.clone(), tokens.to_string().into())),
            (Some(tokens), None) => self.set("max_output_tokens", &tokens.to_string()),
            (None, _) => {}
        }
        Ok(())
    }

    /// Usage is what a stream is billed by: it is asked for whether or not the caller wants to see it.
    fn ask_for_usage(&mut self) {
        let Some(options) = self.call.facts().stream_options.as_ref() else {
            return self.set("stream_options", "{\"include_usage\":true}");
        };
        match (options.value.include_usage, options.value.include_usage_at) {
            (Some(true), _) => {}
            (_, Some((from, to))) => self.edits.push((from..to, Bytes::from_static(b"true"))),
            _ => {
                let member: &[u8] =
                    if options.value.is_empty { b"\"include_usage\":true" } else { b"\"include_usage\":true," };
                self.edits.push((options.value.inside..options.value.inside, Bytes::from_static(member)));
            }
        }
    }

    /// Sends the bound that the hold was reckoned with, under the name that the vendor knows.
    fn bound_output(&mut self, dialect: Dialect) {
        let facts = self.call.facts();
        let (old, new) = (facts.max_tokens.as_ref(), facts.max_completion_tokens.as_ref());
        let bound = self.call.output_bound();
        if let Some(tokens) = bound {
            // Both of them, should both stand there: vendors do not agree on which one counts.
            let others = old.into_iter().chain(new).filter(|said| said.value != tokens);
            self.edits.extend(others.map(|said| (said.at.clone(), tokens.to_string().into())));
        }
        match (old, new) {
            (None, None) => {
                let ceiling = self.target.terms.max_output_tokens.filter(|_| dialect.needs_bound());
                if let Some(tokens) = bound.or(ceiling) {
                    self.set(dialect.bound_field(), &tokens.to_string());
                }
            }
            (None, Some(_)) if dialect.renames_bound() => self.rename_bound(),
            (Some(_), _) if dialect.renames_bound() => self.cut.push("max_completion_tokens"),
            _ => {}
        }
    }

    fn rename_bound(&mut self) {
        let Some(member) = self.layout.member("max_completion_tokens") else { return };
        let before = Segments::new(self.call.segments().slice(member.key_at..member.value.start)).joined();
        let key_end = member.key_at + memchr::memrchr(b'"', &before).map_or(0, |at| at + 1);
        self.edits.push((member.key_at..key_end, Bytes::from_static(b"\"max_tokens\"")));
        // One that is null would stand beside it.
        self.cut.push("max_tokens");
    }

    fn rename_developers(&mut self) {
        for role in &self.layout.roles {
            let said = Segments::new(self.call.segments().slice(role.clone())).joined();
            if said == "\"developer\"" {
                self.edits.push((role.clone(), Bytes::from_static(b"\"system\"")));
            }
        }
    }

    fn clamp(&mut self, dialect: Dialect) {
        let dropped: Vec<_> = dialect.dropped(&self.target.upstream).collect();
        for clamp in dialect.clamps().iter().filter(|clamp| !dropped.contains(&clamp.field)) {
            let Some((from, text)) = self.value(clamp.field) else { continue };
            let number = std::str::from_utf8(&text).ok().and_then(|text| text.parse::<f64>().ok());
            if number.is_some_and(|number| !(clamp.accepts)(number)) {
                self.edits.push((from..from + text.len(), Bytes::from_static(clamp.nearest.as_bytes())));
            }
        }
    }

    fn mend_messages(&mut self, dialect: Dialect) {
        let upstream = &*self.target.upstream;
        let (no_lists, thoughts) = (dialect.reads_texts_alone(upstream), dialect.wants_thoughts_back(upstream));
        // A long conversation is put together for those alone that need it.
        if (no_lists || thoughts)
            && let Some((from, messages)) = self.value("messages")
        {
            if no_lists {
                self.edits.extend(messages::flatten(&messages, from));
            }
            let thinks = |(_, thinking): (usize, Bytes)| memchr::memmem::find(&thinking, b"\"disabled\"").is_none();
            if thoughts && self.value("thinking").is_none_or(thinks) {
                self.edits.extend(messages::with_thoughts(&messages, from));
            }
        }
        if dialect.knows_one_schema(upstream)
            && let Some((from, format)) = self.value("response_format")
            && let Some(mended) = messages::without_dialect(&format)
        {
            self.edits.push((from..from + format.len(), mended));
        }
    }

    /// Where the value of a member begins, and the value.
    fn value(&self, key: &str) -> Option<(usize, Bytes)> {
        let place = self.layout.member(key)?.value.clone();
        Some((place.start, Segments::new(self.call.segments().slice(place)).joined()))
    }

    /// A caller that asked for thoughts is told that there are none.
    fn do_not_think(&mut self) {
        const FIELD: &str = "enable_thinking";
        let Some((from, value)) = self.value(FIELD) else { return self.set(FIELD, "false") };
        if value != "false" {
            self.edits.push((from..from + value.len(), Bytes::from_static(b"false")));
            self.dropped.push(FIELD);
        }
    }

    fn drop_foreign(&mut self, dialect: Dialect) {
        let foreign = dialect.dropped(&self.target.upstream).filter(|field| self.layout.member(field).is_some());
        self.dropped.extend(foreign);
        self.cut.extend(&self.dropped);
    }

    /// Looks up all members, so that some can be left out or replaced.
    pub(super) fn with_members(mut self) -> Self {
        self.layout = Layout::of(self.call.segments(), false);
        self
    }

    /// Leaves a member out, if it is there.
    pub(super) fn leave_out(&mut self, key: &'static str) {
        self.cut.push(key);
    }

    /// Puts a value in the place of a member's.
    pub(super) fn replace(&mut self, key: &str, value: String) {
        if let Some(member) = self.layout.member(key) {
            self.edits.push((member.value.clone(), value.into()));
        }
    }

    /// Gives the top-level `key` this value, in the place of a null or as a new member.
    fn set(&mut self, key: &str, value: &str) {
        let facts = self.call.facts();
        if let Some(null) = facts.null_at(key) {
            self.edits.push((null, value.to_owned().into()));
            return;
        }
        let comma = if facts.has_members { "," } else { "" };
        let at = facts.object_at + 1;
        self.edits.push((at..at, format!("\"{key}\":{value}{comma}").into()));
    }

    pub(super) fn done(mut self) -> (Segments, Vec<&'static str>) {
        if self.edits.is_empty() && self.cut.is_empty() {
            return (self.call.segments().clone(), self.dropped);
        }
        let cuts = self.cuts();
        self.edits.retain(|(place, _)| !cuts.iter().any(|cut| place.start < cut.end && cut.start < place.end));
        self.edits.extend(cuts.into_iter().map(|cut| (cut, Bytes::new())));
        (Segments::new(splice(self.call.segments().pieces(), self.edits)), self.dropped)
    }

    /// The places of the members to leave out, each with one of the commas around it.
    fn cuts(&self) -> Vec<Range<usize>> {
        let members = &self.layout.members;
        let is_cut = |member: &Member| self.cut.iter().any(|field| *field == member.key);
        // The model's own member always stays, so there is a last one that does.
        let Some(last_kept) = members.iter().rposition(|member| !is_cut(member)) else { return Vec::new() };
        let (before, behind) = members.split_at(last_kept + 1);
        let mut cuts: Vec<_> =
            before.windows(2).filter(|pair| is_cut(&pair[0])).map(|pair| pair[0].key_at..pair[1].key_at).collect();
        cuts.extend(behind.last().map(|last| members[last_kept].value.end..last.value.end));
        cuts
    }
}
