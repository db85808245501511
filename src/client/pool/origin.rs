//! The connections to one origin, and the requests that wait for one.

use std::collections::VecDeque;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use http::header::HOST;
use http::uri::{Authority, Scheme};
use http::{HeaderValue, Request, Uri, Version};
use hyper::client::conn::{http1, http2};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use crate::client::BoxError;
use crate::http::body::CallBody;

use super::arriving::{Arriving, Attempt, Fetched};
use super::dial::{Dial, Dialled};
use super::lease::Lease;

/// How often it is looked for what has not been used; it goes after [`ROUNDS`] of them.
const ROUND: Duration = Duration::from_secs(20);
const ROUNDS: u32 = 3;

/// A scheme and an authority.
pub(in crate::client) struct Origin {
    scheme: Scheme,
    authority: Authority,
    host: HeaderValue,
    dial: Arc<dyn Dial>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The one put back last is taken first, so that those which are too many grow old.
    idle: Vec<Idle>,
    shared: Option<Shared>,
    waiting: VecDeque<Waiter>,
    dialling: usize,
    tickets: u64,
    round: u32,
    sweeper: Option<AbortHandle>,
}

struct Idle {
    sender: http1::SendRequest<CallBody>,
    since: u32,
}

struct Shared {
    sender: http2::SendRequest<CallBody>,
    used: u32,
}

struct Waiter {
    ticket: u64,
    give: oneshot::Sender<Result<Fetched, BoxError>>,
}

/// What an origin has for a request.
pub(in crate::client) enum Found {
    /// A connection that has served before.
    Free(Lease),
    /// One is being made; one that is put back before counts, too.
    Arriving(Arriving),
}

impl Origin {
    pub(super) fn new(scheme: Scheme, authority: Authority, dial: Arc<dyn Dial>) -> Result<Self, BoxError> {
        let usual = if scheme == Scheme::HTTPS { 443 } else { 80 };
        let host = match authority.port_u16() {
            Some(port) if port != usual => HeaderValue::try_from(format!("{}:{port}", authority.host())),
            _ => HeaderValue::from_str(authority.host()),
        };
        Ok(Self { scheme, authority, host: host?, dial, state: Mutex::default() })
    }

    /// A connection for one request.
    pub(in crate::client) fn find(self: &Arc<Self>) -> Found {
        let mut state = self.state();
        if let Some(connection) = state.take() {
            return Found::Free(Lease::new(self.clone(), connection));
        }
        let (give, given) = oneshot::channel();
        state.tickets += 1;
        let ticket = state.tickets;
        state.waiting.push_back(Waiter { ticket, give });
        state.dialling += 1;
        drop(state);
        let attempt = Attempt::new(self.clone(), ticket);
        let dialling = self.dial.dial(self.url("/"));
        tokio::spawn(async move { attempt.end(dialling.await) });
        Found::Arriving(Arriving::new(self.clone(), given))
    }

    /// An attempt has ended. It counts no more from the moment at which what came of it is there: another that fails
    /// meanwhile would rely on this one.
    pub(super) fn dialled(self: &Arc<Self>, ticket: u64, end: Result<Dialled, BoxError>) {
        let mut state = self.state();
        state.dialling -= 1;
        match end {
            Ok(connection) => self.put(state, connection, false),
            Err(error) => state.fail(ticket, error),
        }
    }

    /// Takes a connection: the request that has waited longest gets it.
    pub(super) fn give(self: &Arc<Self>, connection: Dialled, used: bool) {
        self.put(self.state(), connection, used);
    }

    fn put(self: &Arc<Self>, mut state: MutexGuard<'_, State>, connection: Dialled, used: bool) {
        match connection {
            Dialled::Http1(sender) => state.give(sender, used),
            Dialled::Http2(_) if used => return,
            Dialled::Http2(sender) => state.share(sender),
        }
        if state.sweeper.as_ref().is_some_and(|sweeper| !sweeper.is_finished()) || state.is_empty() {
            return;
        }
        // An answer may be dropped anywhere.
        if let Ok(runtime) = Handle::try_current() {
            state.sweeper = Some(runtime.spawn(sweep(Arc::downgrade(self))).abort_handle());
        }
    }

    /// Whether it has nothing, and nothing is to come.
    pub(super) fn is_empty(&self) -> bool {
        let mut state = self.state();
        // The sweeper may have ended with their runtime.
        state.let_go_of_closed();
        state.is_empty() && state.dialling == 0
    }

    /// Path and query alone, and the header that names the host.
    pub(super) fn address_http1(&self, request: &mut Request<CallBody>) {
        let path = request.uri().path_and_query().cloned();
        *request.uri_mut() = path.map_or_else(|| Uri::from_static("/"), Uri::from);
        *request.version_mut() = Version::HTTP_11;
        request.headers_mut().entry(HOST).or_insert_with(|| self.host.clone());
    }

    /// The whole URL. It is there but where the request was on its way over HTTP/1.1 before.
    pub(super) fn address_http2(&self, request: &mut Request<CallBody>) {
        if request.uri().authority().is_none() {
            *request.uri_mut() = self.url(request.uri().path_and_query().map_or("/", |path| path.as_str()));
        }
    }

    fn url(&self, path: &str) -> Uri {
        let url = Uri::builder().scheme(self.scheme.clone()).authority(self.authority.clone()).path_and_query(path);
        // Its parts come from URLs.
        url.build().unwrap_or_default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take(&mut self) -> Option<Dialled> {
        if let Some(shared) = self.shared.as_mut().filter(|shared| !shared.sender.is_closed()) {
            shared.used = self.round;
            return Some(Dialled::Http2(shared.sender.clone()));
        }
        self.shared = None;
        let mut at = self.idle.len();
        while let Some(before) = at.checked_sub(1) {
            at = before;
            // One that is neither is being read to its end.
            if self.idle[at].sender.is_ready() {
                return Some(Dialled::Http1(self.idle.remove(at).sender));
            }
            if self.idle[at].sender.is_closed() {
                self.idle.remove(at);
            }
        }
        None
    }

    fn give(&mut self, mut sender: http1::SendRequest<CallBody>, used: bool) {
        // A new one goes to whoever waits even if it ended at once: they learn of it.
        if used && !sender.is_ready() {
            self.idle.push(Idle { sender, since: self.round });
            return;
        }
        while let Some(waiter) = self.waiting.pop_front() {
            match waiter.give.send(Ok((Dialled::Http1(sender), used))) {
                Err(Ok((Dialled::Http1(back), _))) => sender = back,
                _ => return,
            }
        }
        self.idle.push(Idle { sender, since: self.round });
    }

    /// All who wait get the one connection, and those that are still being made are not needed.
    fn share(&mut self, sender: http2::SendRequest<CallBody>) {
        let shared = match self.shared.take() {
            Some(shared) if !shared.sender.is_closed() => shared,
            _ => Shared { sender, used: self.round },
        };
        for waiter in mem::take(&mut self.waiting) {
            let _ = waiter.give.send(Ok((Dialled::Http2(shared.sender.clone()), false)));
        }
        self.shared = Some(shared);
    }

    /// An attempt failed: so does the request that it was made for, or, where that one is served, one for which no attempt
    /// is left.
    fn fail(&mut self, ticket: u64, error: BoxError) {
        let own = self.waiting.iter().position(|waiter| waiter.ticket == ticket);
        let waiter = match own {
            Some(at) => self.waiting.remove(at),
            None if self.waiting.len() > self.dialling => self.waiting.pop_front(),
            None => None,
        };
        if let Some(waiter) = waiter {
            let _ = waiter.give.send(Err(error));
        }
    }

    fn is_empty(&self) -> bool {
        self.idle.is_empty() && self.shared.is_none()
    }

    fn let_go_of_closed(&mut self) {
        self.idle.retain(|idle| !idle.sender.is_closed());
        self.shared.take_if(|shared| shared.sender.is_closed());
    }

    /// Lets go of what has not been used. Whether nothing is left.
    fn sweep(&mut self) -> bool {
        self.round += 1;
        let old = |since: u32| self.round - since >= ROUNDS;
        self.idle.retain(|idle| !old(idle.since));
        self.shared.take_if(|shared| old(shared.used));
        self.let_go_of_closed();
        if self.is_empty() {
            self.sweeper = None;
        }
        self.is_empty()
    }
}

async fn sweep(origin: Weak<Origin>) {
    loop {
        tokio::time::sleep(ROUND).await;
        let Some(origin) = origin.upgrade() else { return };
        if origin.state().sweep() {
            return;
        }
    }
}
