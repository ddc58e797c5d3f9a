//! tarpc over TCP with bincode, and over its channel in memory.

use super::TARPC;
use crate::ours::{PAYLOAD, any_port};
use crate::side::Sides;
use crate::subject::{Caller, Served, Subject};
use bytes::Bytes;
use futures_util::StreamExt;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use tarpc::context::Context;
use tarpc::server::{BaseChannel, Channel};
use tarpc::tokio_serde::formats::Bincode;
use tarpc::{ClientMessage, Response, Transport, client, context, serde_transport, transport};

#[tarpc::service]
pub(crate) trait Echo {
    async fn echo(body: Bytes) -> Bytes;
}

#[derive(Clone)]
struct Server(Served);

impl Echo for Server {
    async fn echo(self, _: Context, body: Bytes) -> Bytes {
        self.0.fetch_add(1, Ordering::SeqCst);
        body
    }
}

/// Calls of so many bytes.
#[derive(Clone)]
pub(crate) struct Calls(EchoClient, Bytes);

impl Calls {
    pub(crate) fn sized(&self, bytes: usize) -> Self {
        Self(self.0.clone(), vec![7; bytes].into())
    }
}

impl Caller for Calls {
    async fn call(&self) {
        let answer = self.0.echo(context::current(), self.1.clone()).await;
        assert_eq!(answer.expect("an answer"), self.1);
    }
}

async fn serve<T>(transport: T, served: Served)
where
    T: Transport<Response<EchoResponse>, ClientMessage<EchoRequest>> + Send + 'static,
    T::Error: std::error::Error + Send + Sync + 'static,
{
    let channel = BaseChannel::with_defaults(transport);
    let answers = channel.execute(Server(served).serve());
    answers.for_each(|answer| async { drop(tokio::spawn(answer)) }).await;
}

/// A server over TCP, for as many connections as come.
pub(crate) fn server(sides: &Sides) -> (SocketAddr, Served) {
    let served = Served::default();
    let count = served.clone();
    let at = sides.server.run(async move {
        let listening = serde_transport::tcp::listen(any_port(), Bincode::default).await;
        let mut listening = listening.expect("a free port");
        let at = listening.local_addr();
        drop(tokio::spawn(async move {
            while let Some(connection) = listening.next().await {
                let connection = connection.expect("a connection");
                connection.get_ref().set_nodelay(true).expect("a socket");
                drop(tokio::spawn(serve(connection, count.clone())));
            }
        }));
        at
    });
    (at, served)
}

/// A client of it.
pub(crate) async fn connect(at: SocketAddr) -> Calls {
    let connection = serde_transport::tcp::connect(at, Bincode::default).await;
    let connection = connection.expect("it listens");
    connection.get_ref().set_nodelay(true).expect("a socket");
    let client = EchoClient::new(client::Config::default(), connection).spawn();
    Calls(client, Bytes::from_static(PAYLOAD))
}

pub(crate) fn calls(sides: &Sides) -> Subject {
    let (at, served) = server(sides);
    Subject::new(TARPC, sides.client.run(connect(at)), served, ())
}

/// Client and server over tarpc's channel, both on the client's side.
pub(crate) fn in_memory(sides: &Sides) -> Subject {
    let served = Served::default();
    let count = served.clone();
    let calls = sides.client.run(async move {
        let (near, far) = transport::channel::unbounded();
        drop(tokio::spawn(serve(far, count)));
        let client = EchoClient::new(client::Config::default(), near).spawn();
        Calls(client, Bytes::from_static(PAYLOAD))
    });
    Subject::new("tarpc (channel)", calls, served, ())
}
