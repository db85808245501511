//! What large pictures and recordings cost on their way through the whole gateway, beside a proxy without any codec over
//! the same sockets, the same server and the same client library. The aim: under 1.5 times the CPU; an answer that passes
//! through is not held, one that is translated is held once at most, an upload is held once.
//!
//! An upload is also put beside a proxy without any codec that holds it: what that costs more than the bare one is the
//! price of 25 MB on their way through the memory instead of the processor's caches, and no codec can be below it. It is
//! not the price of fresh memory: the pages that an upload faults in are told, and are few.
//!
//! What is measured has a core of its own, and the caller and the vendor share another, as they would have other machines:
//! a proxy that streams beside its caller on one core moves bytes that never left it, and costs a third less than anywhere
//! else.

use std::convert::Infallible;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{Criterion, Throughput};
use http::{Request, Response, Uri};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Either, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use kancy::client::TokioHost;
use kancy::config::Stores;
use kancy::http::body::{CallBody, Segments};
use kancy::{Clock, Config, HyperClient, NewKey, SystemClock, Timestamp};
use tokio::net::TcpListener;
use tower::ServiceExt as _;
use tower::util::BoxCloneSyncService;

mod support;

const PICTURE: usize = 10 << 20;
const RECORDING: usize = 25 * 1024 * 1024 - 1024;

const CONFIG: &str = r#"
[storage]
url = "memory:"
[providers.openai]
kind = "openai"
base_url = "http://VENDOR/v1"
api_key = "secret"
[providers.gemini]
kind = "gemini"
base_url = "http://VENDOR"
api_key = "secret"
"#;

type Served = UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;
type Service = BoxCloneSyncService<Request<Incoming>, Response<Served>, Infallible>;

/// Of what is measured.
const OWN_CORE: usize = 0;
/// Of all else.
const OTHER_CORE: usize = 1;

/// A server on a thread of its own.
struct Server {
    address: SocketAddr,
    task: Task,
}

/// A thread, as the kernel calls it: `PID/task/TID`.
struct Task(String);

impl Task {
    fn own() -> Self {
        Self(std::fs::read_link("/proc/thread-self").unwrap_or_default().display().to_string())
    }

    /// Keeps the thread, and those that it starts from now on, on this core; says whether that could be done.
    fn keep_on(&self, core: usize) -> bool {
        let thread = self.0.rsplit('/').next().unwrap_or_default();
        let mut taskset = Command::new("taskset");
        let kept =
            taskset.args(["-cp", &core.to_string(), thread]).stdout(Stdio::null()).stderr(Stdio::null()).status();
        kept.is_ok_and(|status| status.success())
    }

    /// The CPU time that it has taken so far; where nobody tells it, the time.
    fn cpu(&self, begun: Instant) -> Duration {
        let told = std::fs::read_to_string(format!("/proc/{}/schedstat", self.0)).ok();
        let nanos = told.and_then(|told| told.split(' ').next()?.parse().ok());
        nanos.map_or_else(|| begun.elapsed(), Duration::from_nanos)
    }

    /// The pages that it was given so far.
    fn faults(&self) -> u64 {
        let told = std::fs::read_to_string(format!("/proc/{}/stat", self.0)).unwrap_or_default();
        let fields = told.rsplit(") ").next().unwrap_or_default();
        fields.split(' ').nth(7).and_then(|minor| minor.parse().ok()).unwrap_or(0)
    }
}

impl Server {
    fn start<F: Future<Output = Service>>(make: impl FnOnce() -> F + Send + 'static) -> Self {
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async move {
                let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
                let service = TowerToHyperService::new(make().await);
                let address = listener.local_addr().expect("an address");
                tell.send(Self { address, task: Task::own() }).expect("somebody who waits");
                loop {
                    let (stream, _) = listener.accept().await.expect("a connection");
                    stream.set_nodelay(true).expect("a socket");
                    let service = service.clone();
                    tokio::spawn(async move {
                        let server = auto::Builder::new(TokioExecutor::new());
                        let _ = server.serve_connection(TokioIo::new(stream), service).await;
                    });
                }
            })
        });
        told.recv().expect("a server")
    }

    /// It is measured.
    fn alone(self) -> Self {
        self.task.keep_on(OWN_CORE);
        self
    }

    /// What `work` costs it.
    fn cost(&self, work: impl FnOnce()) -> Duration {
        let begun = Instant::now();
        let before = self.task.cpu(begun);
        work();
        self.task.cpu(begun) - before
    }
}

/// A vendor that takes what it is sent, and answers so.
fn vendor(answer: Bytes) -> Server {
    Server::start(move || async move {
        Service::new(tower::service_fn(move |request: Request<Incoming>| {
            let answer = answer.clone();
            async move {
                let mut body = request.into_body();
                while body.frame().await.is_some() {}
                let response = Response::builder().header("content-type", "application/json");
                Ok(response.body(Full::from(answer).map_err(Into::into).boxed_unsync()).expect("a response"))
            }
        }))
    })
}

/// Hands requests on and answers back, as they are; `holds`: a request only once it has all come.
fn proxy(vendor: SocketAddr, holds: bool) -> Server {
    Server::start(move || async move {
        let client = Client::builder(TokioExecutor::new()).build_http::<Either<Incoming, CallBody>>();
        Service::new(tower::service_fn(move |request: Request<Incoming>| {
            let client = client.clone();
            async move {
                let (head, body) = request.into_parts();
                let body = if holds { Either::Right(held(body).await) } else { Either::Left(body) };
                let mut request = Request::from_parts(head, body);
                let to = format!("http://{vendor}{}", request.uri().path());
                *request.uri_mut() = to.parse::<Uri>().expect("an address");
                let response = client.request(request).await.expect("an answer");
                Ok(response.map(|body| body.map_err(Into::into).boxed_unsync()))
            }
        }))
    })
    .alone()
}

async fn held(mut body: Incoming) -> CallBody {
    let mut pieces = Vec::new();
    while let Some(frame) = body.frame().await {
        pieces.extend(frame.expect("a caller that stays").into_data());
    }
    Segments::new(pieces).into()
}

/// The gateway, and the key that opens it.
fn gateway(vendor: SocketAddr) -> (Server, String) {
    let (key, record) = NewKey::new("acme", "site").expect("good names").mint(Timestamp::EPOCH);
    let server = Server::start(move || async move {
        let config = Config::parse(&CONFIG.replace("VENDOR", &vendor.to_string()), |_| None).expect("a configuration");
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let stores = Stores::memory(Arc::clone(&clock));
        stores.key_admin.insert(record).await.expect("the key is new");
        let assembled = config.gateway(stores, HyperClient::new(), TokioHost, clock).await;
        let gateway = assembled.expect("a gateway").0.build();
        Service::new(tower::service_fn(move |request: Request<Incoming>| {
            let answer = gateway.clone().oneshot(request);
            async move { answer.await.map(|answer| answer.map(|body| body.map_err(Into::into).boxed_unsync())) }
        }))
    });
    (server.alone(), key.text.expose().to_owned())
}

/// One way through the gateway.
struct Way {
    name: &'static str,
    path: &'static str,
    content_type: &'static str,
    request: Bytes,
    answer: Bytes,
    /// The most bytes that may be held at a time, beside what a proxy holds.
    bound: usize,
}

/// A caller with a connection that stays.
struct Caller {
    stream: TcpStream,
    request: Vec<u8>,
    buffer: Vec<u8>,
}

impl Caller {
    fn new(way: &Way, to: &Server, key: &str) -> Self {
        let head = format!(
            "POST {} HTTP/1.1\r\nhost: a\r\ncontent-type: {}\r\nauthorization: Bearer {key}\r\ncontent-length: {}\r\n\r\n",
            way.path,
            way.content_type,
            way.request.len(),
        );
        let stream = TcpStream::connect(to.address).expect("a connection");
        stream.set_nodelay(true).expect("a socket");
        Self { stream, request: [head.as_bytes(), &way.request].concat(), buffer: vec![0; 1 << 18] }
    }

    /// Sends the request and reads the answer to its end: its length, or the last of its chunks.
    fn ask(&mut self) {
        self.stream.write_all(&self.request).expect("a server that reads");
        let (mut head, mut read) = (Vec::new(), 0);
        loop {
            let bytes = self.stream.read(&mut self.buffer).expect("a server that answers");
            assert!(bytes > 0, "the server hung up");
            read += bytes;
            if head.len() < 4_096 {
                head.extend_from_slice(&self.buffer[..bytes.min(4_096)]);
            }
            let text = String::from_utf8_lossy(&head);
            let Some(end) = text.find("\r\n\r\n") else { continue };
            assert!(text.starts_with("HTTP/1.1 200"), "{}", &text[..text.len().min(600)]);
            let length =
                text[..end].lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
            let over = match length {
                Some(length) => read >= end + 4 + length,
                None => self.buffer[..bytes].ends_with(b"0\r\n\r\n"),
            };
            if over {
                return;
            }
        }
    }
}

impl Way {
    fn measure(&self, c: &mut Criterion) {
        const TIMES: usize = 4;
        let vendor = vendor(self.answer.clone());
        let (holding, (gateway, key)) = (proxy(vendor.address, true), gateway(vendor.address));
        let proxy = proxy(vendor.address, false);
        let mut bare = Caller::new(self, &proxy, &key);
        let mut governed = Caller::new(self, &gateway, &key);
        (0..TIMES).for_each(|_| bare.ask());
        (0..TIMES).for_each(|_| governed.ask());
        let (_, beside) = support::allocations(|| bare.ask());
        let (_, peak) = support::allocations(|| governed.ask());
        let held = peak.saturating_sub(beside);
        let before = gateway.task.faults();
        (0..TIMES).for_each(|_| governed.ask());
        let faults = (gateway.task.faults() - before) / TIMES as u64;
        let kilobytes = (self.request.len() + self.answer.len()) >> 10;
        println!("{}: {kilobytes} KB, at most {} KB held, {faults} pages faulted in", self.name, held >> 10);
        assert!(held <= self.bound, "more than {} KB", self.bound >> 10);
        let mut compare = |what, other: &Server, caller: &mut Caller| {
            let mut ratios: Vec<_> = (0..31)
                .map(|_| {
                    let other = other.cost(|| (0..TIMES).for_each(|_| caller.ask()));
                    let governed = gateway.cost(|| (0..TIMES).for_each(|_| governed.ask()));
                    governed.as_secs_f64() / other.as_secs_f64()
                })
                .collect();
            ratios.sort_by(f64::total_cmp);
            println!("{}: {:.2} times the CPU of a {what} proxy", self.name, ratios[ratios.len() / 2]);
        };
        compare("bare", &proxy, &mut bare);
        if self.request.len() > self.answer.len() {
            let mut caller = Caller::new(self, &holding, &key);
            (0..TIMES).for_each(|_| caller.ask());
            compare("holding", &holding, &mut caller);
        }
        let mut group = c.benchmark_group(self.name);
        group.throughput(Throughput::Bytes((self.request.len() + self.answer.len()) as u64));
        let mut bench = |name, server: &Server, caller: &mut Caller| {
            group
                .bench_function(name, |b| b.iter_custom(|times| server.cost(|| (0..times).for_each(|_| caller.ask()))));
        };
        bench("bare", &proxy, &mut bare);
        bench("governed", &gateway, &mut governed);
    }
}

/// Base64 that looks like a picture's.
fn base64(bytes: usize) -> String {
    let mut noise = noise(48 * 1024);
    noise[..12].copy_from_slice(b"\x89PNG\r\n\x1a\n\0\0\0\r");
    let text = kancy::wire::base64::encode(&noise);
    text.repeat(bytes.div_ceil(text.len()))[..bytes].to_owned()
}

fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let word = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(word).flatten().take(bytes).collect()
}

fn form(fields: &[(&str, &[u8])]) -> Bytes {
    let mut body = Vec::new();
    for (name, content) in fields {
        let head = format!("--b0\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n");
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--b0--\r\n");
    body.into()
}

fn ways() -> Vec<Way> {
    const FORM: &str = "multipart/form-data; boundary=b0";
    const SLACK: usize = 1 << 20;
    let drawn = |name, model: &str, form: &str, answer: &str, bound| Way {
        name,
        path: "/v1/images/generations",
        content_type: "application/json",
        request: format!(r#"{{"model":"{model}","prompt":"a cat","response_format":"{form}"}}"#).into(),
        answer: answer.to_owned().into(),
        bound,
    };
    let heard = |name, file: &str, recording: &[u8]| Way {
        name,
        path: "/v1/audio/transcriptions",
        content_type: FORM,
        request: form(&[("model", b"whisper-asr"), (&format!("file\"; filename=\"{file}"), recording)]),
        answer: r#"{"text":"Hello","usage":{"type":"duration","seconds":2}}"#.into(),
        // The pieces are hyper's own buffers, and each holds what the read did not fill, too. hyper takes smaller ones when
        // reads fill less than half, so that about three quarters are filled.
        bound: RECORDING / 3 * 4 + 2 * SLACK,
    };
    let text = base64(PICTURE);
    let openai = format!(
        r#"{{"created":1,"data":[{{"b64_json":"{text}"}}],"usage":{{"input_tokens":9,"output_tokens":9,"total_tokens":18}}}}"#
    );
    let gemini = format!(
        r#"{{"candidates":[{{"content":{{"parts":[{{"inlineData":{{"mimeType":"image/png","data":"{text}"}}}}]}}}}]}}"#
    );
    let mut wav =
        b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x80\x3e\0\0\x02\0\x10\0data\0\0\0\0".to_vec();
    wav.extend(noise(RECORDING - wav.len()));
    // Frames of 417 bytes, as at 128 kbit/s.
    let mut mp3 = noise(RECORDING / 417 * 417);
    mp3.chunks_mut(417).for_each(|frame| frame[..4].copy_from_slice(b"\xff\xfb\x90\x00"));
    vec![
        drawn("a picture passed through", "openai-image", "b64_json", &openai, SLACK),
        drawn("a picture translated", "google-image", "b64_json", &gemini, SLACK),
        drawn("a picture inlined", "openai-image", "url", &openai, SLACK),
        heard("a WAV uploaded", "a.wav", &wav),
        heard("an MP3 uploaded", "a.mp3", &mp3),
    ]
}

fn main() {
    if !Task::own().keep_on(OTHER_CORE) {
        println!("taskset keeps no thread on a core here: what runs beside what is up to the kernel");
    }
    let mut c = Criterion::default().configure_from_args().measurement_time(Duration::from_secs(2));
    c = c.warm_up_time(Duration::from_millis(500)).sample_size(10);
    ways().iter().for_each(|way| way.measure(&mut c));
    c.final_summary();
}
