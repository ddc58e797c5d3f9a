//! tonic without protobuf: a codec of raw bytes.

use super::TONIC;
use crate::ours::{PAYLOAD, any_port};
use crate::side::Sides;
use crate::subject::{Caller, Served, Subject};
use bytes::{Buf, BufMut, Bytes};
use futures_util::stream;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use tonic::body::Body;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::codegen::http::{Request as HttpRequest, Response as HttpResponse};
use tonic::codegen::{BoxFuture, Service};
use tonic::server::{ClientStreamingService, NamedService, UnaryService};
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Response, Status, Streaming};

const ECHO: &str = "/bench.Echo/Echo";
const TAKE: &str = "/bench.Echo/Take";

#[derive(Clone, Copy, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, body: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(body.copy_to_bytes(body.remaining())))
    }
}

#[derive(Clone)]
struct Echo(Served);

impl UnaryService<Bytes> for Echo {
    type Response = Bytes;
    type Future = std::future::Ready<Result<Response<Bytes>, Status>>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        self.0.fetch_add(1, Ordering::SeqCst);
        std::future::ready(Ok(Response::new(request.into_inner())))
    }
}

impl NamedService for Echo {
    const NAME: &'static str = "bench.Echo";
}

impl Service<HttpRequest<Body>> for Echo {
    type Response = HttpResponse<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: HttpRequest<Body>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move {
            let mut grpc = tonic::server::Grpc::new(Raw);
            Ok(match request.uri().path() {
                TAKE => grpc.client_streaming(Take, request).await,
                _ => grpc.unary(service, request).await,
            })
        })
    }
}

/// Takes a stream of messages whole and answers how many bytes they had.
struct Take;

impl ClientStreamingService<Bytes> for Take {
    type Response = Bytes;
    type Future = BoxFuture<Response<Bytes>, Status>;

    fn call(&mut self, request: Request<Streaming<Bytes>>) -> Self::Future {
        Box::pin(async move {
            let (mut messages, mut total) = (request.into_inner(), 0);
            while let Some(message) = messages.message().await? {
                total += message.len() as u64;
            }
            Ok(Response::new(Bytes::copy_from_slice(&total.to_le_bytes())))
        })
    }
}

/// Calls of so many bytes.
#[derive(Clone)]
pub(crate) struct Calls(Grpc<Channel>, Bytes);

impl Calls {
    pub(crate) fn sized(&self, bytes: usize) -> Self {
        Self(self.0.clone(), vec![7; bytes].into())
    }

    /// So many messages in one stream; over when the server has answered.
    async fn stream(mut self, count: u64) {
        self.0.ready().await.expect("connected");
        let bytes = count * self.1.len() as u64;
        let messages = stream::iter((0..count).map(move |_| self.1.clone()));
        let path = PathAndQuery::from_static(TAKE);
        let answer = self.0.client_streaming(Request::new(messages), path, Raw).await;
        let answer: Response<Bytes> = answer.expect("an answer");
        assert_eq!(answer.into_inner(), &bytes.to_le_bytes()[..], "bytes were lost");
    }
}

impl Caller for Calls {
    async fn call(&self) {
        let mut grpc = self.0.clone();
        grpc.ready().await.expect("connected");
        let path = PathAndQuery::from_static(ECHO);
        let answer = grpc.unary(Request::new(self.1.clone()), path, Raw).await;
        let answer: Response<Bytes> = answer.expect("an answer");
        assert_eq!(answer.into_inner(), self.1);
    }
}

pub(crate) fn server(sides: &Sides) -> (SocketAddr, Served) {
    let served = Served::default();
    let service = Echo(served.clone());
    let at = sides.server.run(async move {
        let incoming = TcpIncoming::bind(any_port()).expect("a free port").with_nodelay(Some(true));
        let at = incoming.local_addr().expect("bound");
        let server = Server::builder().add_service(service).serve_with_incoming(incoming);
        drop(tokio::spawn(server));
        at
    });
    (at, served)
}

pub(crate) async fn connect(at: SocketAddr) -> Calls {
    let endpoint = Endpoint::from_shared(format!("http://{at}")).expect("an address");
    let channel = endpoint.tcp_nodelay(true).connect().await.expect("it listens");
    Calls(Grpc::new(channel), Bytes::from_static(PAYLOAD))
}

pub(crate) fn calls(sides: &Sides) -> Subject {
    let (at, served) = server(sides);
    Subject::new(TONIC, sides.client.run(connect(at)), served, ())
}

/// Streams of messages of so many bytes, one at a time on one connection.
pub(crate) fn streams(sides: &Sides, bytes: usize) -> impl FnMut(&Sides, u64) + use<> {
    let (at, _) = server(sides);
    let calls = sides.client.run(connect(at)).sized(bytes);
    move |sides, count| sides.client.run(calls.clone().stream(count))
}
