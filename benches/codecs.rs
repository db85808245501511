//! How fast streams are read and rewritten, in bytes of the vendor's a second on one core, and what an open one keeps in
//! memory. The aim for Anthropic and Gemini: 150 MB/s, and under 32 KB however long the stream.

use std::convert::Infallible;
use std::hint::black_box;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use criterion::{Criterion, Throughput};
use futures_util::FutureExt as _;
use http::{Request, Response};
use http_body_util::{Empty, Full};
use kancy::http::body::CallBody;
use kancy::http::call::Call;
use kancy::provider::traits::{Decoder, Output, Provider, Target};
use kancy::wire::peek::peek;
use kancy::{Anthropic, Dialect, Gemini, InspectLayer, OpenAi, Registry};
use tower::{Layer, Service, service_fn};

mod support;

/// What a read from a socket may bring.
const PIECE: usize = 8 * 1024;

/// A stream in the vendor's words: how it begins, what it repeats, how it ends.
struct Stream {
    name: &'static str,
    codec: Arc<dyn Provider>,
    begins: &'static str,
    goes_on: &'static str,
    ends: &'static str,
}

fn streams() -> [Stream; 3] {
    [
        Stream {
            name: "anthropic",
            codec: Arc::new(Anthropic),
            begins: concat!(
                "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_01\",\"type\":\"message\",",
                "\"role\":\"assistant\",\"model\":\"claude\",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,",
                "\"usage\":{\"input_tokens\":25,\"output_tokens\":1}}}\n\nevent: content_block_start\ndata: ",
                "{\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n"
            ),
            goes_on: concat!(
                "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":",
                "{\"type\":\"text_delta\",\"text\":\" the limits of its\\nworkspace\"}}\n\n"
            ),
            ends: concat!(
                "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\nevent: message_delta\ndata: ",
                "{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\",\"stop_sequence\":null},",
                "\"usage\":{\"output_tokens\":15}}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"
            ),
        },
        Stream {
            name: "gemini",
            codec: Arc::new(Gemini),
            begins: "",
            goes_on: concat!(
                "data: {\"candidates\": [{\"content\": {\"parts\": [{\"text\": \" the limits of its\\nworkspace\"}],\"role\": ",
                "\"model\"},\"index\": 0}],\"usageMetadata\": {\"promptTokenCount\": 8,\"candidatesTokenCount\": 3,",
                "\"totalTokenCount\": 11},\"modelVersion\": \"gemini-2.5-flash\",\"responseId\": \"r1\"}\n\n"
            ),
            ends: concat!(
                "data: {\"candidates\": [{\"content\": {\"parts\": [{\"text\": \".\"}],\"role\": \"model\"},\"finishReason\": ",
                "\"STOP\",\"index\": 0}],\"usageMetadata\": {\"promptTokenCount\": 8,\"candidatesTokenCount\": 4,",
                "\"totalTokenCount\": 12}}\n\n"
            ),
        },
        Stream {
            name: "openai",
            codec: Arc::new(OpenAi::new(Dialect::OpenAi)),
            begins: "",
            goes_on: concat!(
                "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1754000000,\"model\":\"gpt-4o\",",
                "\"system_fingerprint\":\"fp_0\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" the limits of its\\n",
                "workspace\"},\"logprobs\":null,\"finish_reason\":null}],\"usage\":null}\n\n"
            ),
            ends: concat!(
                "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1754000000,\"model\":\"gpt-4o\",",
                "\"choices\":[],\"usage\":{\"prompt_tokens\":8,\"completion_tokens\":5,\"total_tokens\":13}}\n\ndata: [DONE]\n\n"
            ),
        },
    ]
}

impl Stream {
    fn bytes(&self, events: usize) -> Bytes {
        [self.begins, &self.goes_on.repeat(events), self.ends].concat().into()
    }

    fn decoder(&self) -> Box<dyn Decoder> {
        let mut target = Target::clone(&Registry::offline().target("demo-chat").expect("an offline model"));
        target.codec = Arc::clone(&self.codec);
        target.credential = Arc::new(kancy::provider::traits::Credential::ApiKey("key".into()));
        let decoder = self.codec.encode(&call(), &target).expect("a chat").decoder;
        with_head(decoder)
    }
}

fn with_head(mut decoder: Box<dyn Decoder>) -> Box<dyn Decoder> {
    let head = Response::builder().header("content-type", "text/event-stream").body(()).expect("a head").into_parts().0;
    decoder.head(&head).expect("a stream");
    decoder
}

/// A streamed chat, as the inspect layer finds it.
fn call() -> Call {
    const BODY: &str = r#"{"model":"m","stream":true,"messages":[{"role":"user","content":"Hello"}],"max_tokens":256}"#;
    let found = Arc::new(Mutex::new(None));
    let finder = Arc::clone(&found);
    let inner = service_fn(move |request: Request<CallBody>| {
        *finder.lock().expect("one thread") = request.extensions().get::<Call>().cloned();
        std::future::ready(Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new())))
    });
    let request = Request::post("/v1/chat/completions").body(Full::from(BODY)).expect("a request");
    drop(InspectLayer::new().layer(inner).call(request).now_or_never());
    found.lock().expect("one thread").take().expect("a call")
}

/// Reads `stream` in pieces of the size given; returns how many bytes came out.
fn decode(mut decoder: Box<dyn Decoder>, stream: &Bytes, piece: usize) -> usize {
    let (mut out, mut written) = (Output::default(), 0);
    let mut take =
        |out: &mut Output| std::iter::from_fn(|| out.next_frame()).map(|frame| written += frame.len()).count();
    for at in (0..stream.len()).step_by(piece) {
        decoder.push(stream.slice(at..stream.len().min(at + piece)), &mut out).expect("a sound stream");
        take(&mut out);
    }
    decoder.finish(&mut out).expect("a sound stream");
    take(&mut out);
    assert!(out.is_complete());
    written
}

fn body(kb: usize) -> Vec<Bytes> {
    let text = r#"Compare these two contracts, clause by clause.\nNote every \"limit of liability\" and who pays. "#;
    let messages = text.repeat((kb * 1024 - 150) / text.len());
    let body = format!(
        r#"{{"model":"gpt-4o","messages":[{{"role":"system","content":"Be precise."}},{{"role":"user","content":"{messages}"}}],"max_tokens":256}}"#
    );
    Bytes::from(body).chunks(16 * 1024).map(Bytes::copy_from_slice).collect()
}

fn main() {
    let mut c = Criterion::default().configure_from_args().measurement_time(Duration::from_secs(2));
    c = c.warm_up_time(Duration::from_millis(500));
    for stream in streams() {
        let bytes = stream.bytes(10_000);
        let event = stream.goes_on.len();
        let (_, peak) = support::allocations(|| drop(black_box(decode(stream.decoder(), &bytes, PIECE))));
        println!(
            "{}: {} KB of stream, at most {:.1} KB in memory",
            stream.name,
            bytes.len() >> 10,
            peak as f64 / 1024.0
        );
        let mut group = c.benchmark_group(stream.name);
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        for (name, piece) in [("in 8 KB pieces", PIECE), ("an event a piece", event)] {
            group.bench_function(name, |b| b.iter(|| decode(stream.decoder(), &bytes, piece)));
        }
    }
    let mut group = c.benchmark_group("peek");
    for kb in [1, 100] {
        let body = body(kb);
        group.throughput(Throughput::Bytes(body.iter().map(|p| p.len() as u64).sum()));
        group.bench_function(format!("{kb} KB"), |b| b.iter(|| peek(black_box(&body))));
    }
    group.finish();
    c.final_summary();
}
