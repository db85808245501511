//! A gRPC service governed by keys, quotas and metering: the layers need neither tonic nor a body of JSON.
//!
//! ```text
//! cargo run --example tonic_service
//! ```

use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use kancy::{
    AuthLayer, Caller, Clock, KeyAdmin, Limit, LimitBook, LimitKey, Measure, MemoryKeys, MemoryLedger, MemoryQuota,
    Meter, MeteringLayer, NewKey, Per, QuotaLayer, Secret, SystemClock, Usage,
};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

use speech::{Speaker, SpeakerServer, Spoken, Text};

/// The team's service: speaks a text, whole or word by word.
struct Loud;

impl Speaker for Loud {
    async fn say(&self, request: Request<Text>) -> Result<Response<Spoken>, Status> {
        meter(&request);
        let text = request.into_inner().text;
        if text.is_empty() {
            return Err(Status::invalid_argument("say what?"));
        }
        Ok(Response::new(Spoken { text: text.to_uppercase() }))
    }

    async fn recite(&self, request: Request<Text>) -> Result<Response<WordStream>, Status> {
        meter(&request);
        let words: Vec<_> = request.into_inner().text.split_whitespace().map(str::to_uppercase).collect();
        let words = words.into_iter().map(|text| match text.as_str() {
            "FAIL" => Err(Status::internal("the voice broke")),
            _ => Ok(Spoken { text }),
        });
        Ok(Response::new(Box::pin(tokio_stream::iter(words))))
    }
}

type WordStream = Pin<Box<dyn tokio_stream::Stream<Item = Result<Spoken, Status>> + Send>>;

fn meter(request: &Request<Text>) {
    if let (Some(_caller), Some(meter)) = (request.extensions().get::<Caller>(), request.extensions().get::<Meter>()) {
        meter.add(Usage { characters: request.get_ref().text.chars().count() as u64, ..Usage::NONE });
    }
}

/// Serves on `listener`; a key that opens the service, its ledger, and the server's future.
pub async fn serve(
    listener: TcpListener,
) -> Result<(Secret, Arc<MemoryLedger>, impl Future<Output = Result<(), tonic::transport::Error>>), Box<dyn Error>> {
    let keys = MemoryKeys::new();
    let (minted, record) = NewKey::new("acme", "voice")?.mint(SystemClock::new().now());
    keys.insert(record).await?;
    let ledger = Arc::new(MemoryLedger::new());
    let limits = LimitBook::new([Limit::new(
        LimitKey {
            scope: "project:acme/voice".parse()?,
            modality: None,
            model: None,
            measure: Measure::Requests,
            per: Some(Per::Minute),
        },
        5,
    )])?;
    let server = Server::builder()
        .tcp_nodelay(true)
        .layer(AuthLayer::new(keys))
        .layer(MeteringLayer::new(Arc::clone(&ledger)))
        .layer(QuotaLayer::new(MemoryQuota::new(), Arc::new(limits)))
        .add_service(SpeakerServer::new(Loud))
        .serve_with_incoming(TcpListenerStream::new(listener));
    Ok((minted.text, ledger, server))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:50051").await?;
    let address = listener.local_addr()?;
    let (key, _, server) = serve(listener).await?;
    println!("serving speech.Speaker on http://{address}; metadata: authorization: Bearer {}", key.expose());
    server.await?;
    Ok(())
}

/// What a build script makes of a `.proto` file, by hand: `speech.Speaker` with a unary and a streaming call.
pub mod speech {
    use std::convert::Infallible;
    use std::future::Future;
    use std::sync::Arc;
    use std::task::{Context, Poll};

    use tonic::body::Body;
    use tonic::codegen::{BoxFuture, Service, StdError, http};
    use tonic::server::{Grpc, NamedService, ServerStreamingService, UnaryService};
    use tonic::{Request, Response, Status};
    use tonic_prost::ProstCodec;

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Text {
        #[prost(string, tag = "1")]
        pub text: String,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Spoken {
        #[prost(string, tag = "1")]
        pub text: String,
    }

    pub trait Speaker: Send + Sync + 'static {
        fn say(&self, request: Request<Text>) -> impl Future<Output = Result<Response<Spoken>, Status>> + Send;
        fn recite(
            &self,
            request: Request<Text>,
        ) -> impl Future<Output = Result<Response<super::WordStream>, Status>> + Send;
    }

    pub struct SpeakerServer<T>(Arc<T>);

    impl<T> SpeakerServer<T> {
        pub fn new(speaker: T) -> Self {
            Self(Arc::new(speaker))
        }
    }

    impl<T> Clone for SpeakerServer<T> {
        fn clone(&self) -> Self {
            Self(Arc::clone(&self.0))
        }
    }

    impl<T> NamedService for SpeakerServer<T> {
        const NAME: &'static str = "speech.Speaker";
    }

    struct Say<T>(Arc<T>);

    impl<T: Speaker> UnaryService<Text> for Say<T> {
        type Response = Spoken;
        type Future = BoxFuture<Response<Spoken>, Status>;

        fn call(&mut self, request: Request<Text>) -> Self::Future {
            let speaker = Arc::clone(&self.0);
            Box::pin(async move { speaker.say(request).await })
        }
    }

    struct Recite<T>(Arc<T>);

    impl<T: Speaker> ServerStreamingService<Text> for Recite<T> {
        type Response = Spoken;
        type ResponseStream = super::WordStream;
        type Future = BoxFuture<Response<super::WordStream>, Status>;

        fn call(&mut self, request: Request<Text>) -> Self::Future {
            let speaker = Arc::clone(&self.0);
            Box::pin(async move { speaker.recite(request).await })
        }
    }

    impl<T, B> Service<http::Request<B>> for SpeakerServer<T>
    where
        T: Speaker,
        B: tonic::codegen::Body + Send + 'static,
        B::Error: Into<StdError> + Send + 'static,
    {
        type Response = http::Response<Body>;
        type Error = Infallible;
        type Future = BoxFuture<Self::Response, Infallible>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, request: http::Request<B>) -> Self::Future {
            let speaker = Arc::clone(&self.0);
            Box::pin(async move {
                let mut grpc = Grpc::new(ProstCodec::<Spoken, Text>::default());
                Ok(match request.uri().path() {
                    "/speech.Speaker/Say" => grpc.unary(Say(speaker), request).await,
                    "/speech.Speaker/Recite" => grpc.server_streaming(Recite(speaker), request).await,
                    _ => Status::unimplemented("no such call").into_http(),
                })
            })
        }
    }

    /// The client's side.
    pub struct SpeakerClient {
        inner: tonic::client::Grpc<tonic::transport::Channel>,
    }

    impl SpeakerClient {
        pub fn new(channel: tonic::transport::Channel) -> Self {
            Self { inner: tonic::client::Grpc::new(channel) }
        }

        pub async fn say(&mut self, request: Request<Text>) -> Result<Response<Spoken>, Status> {
            self.ready().await?;
            let path = http::uri::PathAndQuery::from_static("/speech.Speaker/Say");
            self.inner.unary(request, path, ProstCodec::<Text, Spoken>::default()).await
        }

        pub async fn recite(&mut self, request: Request<Text>) -> Result<Response<tonic::Streaming<Spoken>>, Status> {
            self.ready().await?;
            let path = http::uri::PathAndQuery::from_static("/speech.Speaker/Recite");
            self.inner.server_streaming(request, path, ProstCodec::<Text, Spoken>::default()).await
        }

        async fn ready(&mut self) -> Result<(), Status> {
            self.inner.ready().await.map_err(|e| Status::unknown(e.to_string()))
        }
    }
}
