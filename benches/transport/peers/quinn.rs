//! quinn: a stream of QUIC for each call; encrypted, as QUIC always is.

use crate::ours::{PAYLOAD, any_port};
use crate::side::Sides;
use crate::subject::{Caller, Served, Subject};
use ::quinn::{ClientConfig, Connection, Endpoint, ServerConfig};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;

#[derive(Clone)]
struct Calls(Connection);

impl Caller for Calls {
    async fn call(&self) {
        let (mut to, mut from) = self.0.open_bi().await.expect("connected");
        to.write_all(PAYLOAD).await.expect("connected");
        to.finish().expect("not finished yet");
        assert_eq!(from.read_to_end(1024).await.expect("an answer"), PAYLOAD);
    }
}

fn certificates() -> (ServerConfig, ClientConfig) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let certificate = made.cert.der().clone();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let server = ServerConfig::with_single_cert(vec![certificate.clone()], key.into());
    let mut roots = RootCertStore::empty();
    roots.add(certificate).expect("it was just made");
    let client = ClientConfig::with_root_certificates(Arc::new(roots)).expect("a verifier");
    (server.expect("they belong together"), client)
}

async fn serve(connection: Connection, served: Served) {
    while let Ok((mut to, mut from)) = connection.accept_bi().await {
        let served = served.clone();
        drop(tokio::spawn(async move {
            let request = from.read_to_end(1024).await.expect("a request");
            served.fetch_add(1, Ordering::SeqCst);
            to.write_all(&request).await.expect("connected");
            to.finish().expect("not finished yet");
        }));
    }
}

pub(crate) fn calls(sides: &Sides) -> Subject {
    let served = Served::default();
    let count = served.clone();
    let (server, client) = certificates();
    let server = sides.server.run(async { Endpoint::server(server, any_port()) });
    let server = server.expect("a free port");
    let at = server.local_addr().expect("bound");
    let accepting = server.clone();
    drop(sides.server.begin(async move {
        while let Some(incoming) = accepting.accept().await {
            let connection = incoming.await.expect("a handshake");
            drop(tokio::spawn(serve(connection, count.clone())));
        }
    }));
    let (endpoint, connection) = sides.client.run(async move {
        let endpoint = Endpoint::client(any_port()).expect("a free port");
        let dialed = endpoint.connect_with(client, at, "localhost").expect("a valid name");
        (endpoint, dialed.await.expect("a handshake"))
    });
    Subject::new("quinn (QUIC)", Calls(connection), served, (server, endpoint))
}
