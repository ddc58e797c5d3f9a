//! moonpool-transport on tokio, its JSON replaced by bincode.

use crate::ours::any_port;
use crate::side::Sides;
use crate::subject::{Caller, Served, Subject};
use moonpool_transport::{
    CodecError, MessageCodec, NetTransportBuilder, NetworkAddress, RpcError, TokioProviders,
    service,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::Ordering;

const TOKEN: u32 = 4;

#[derive(Clone)]
struct Bincode;

impl MessageCodec for Bincode {
    fn encode<T: Serialize>(&self, message: &T) -> Result<Vec<u8>, CodecError> {
        bincode1::serialize(message).map_err(|error| CodecError::Encode(error))
    }

    fn decode<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, CodecError> {
        bincode1::deserialize(body).map_err(|error| CodecError::Decode(error))
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Message {
    body: String,
}

#[service]
trait Echo {
    async fn echo(&self, request: Message) -> Result<Message, RpcError>;
}

struct Calls(Arc<Echo>, String);

impl Clone for Calls {
    fn clone(&self) -> Self {
        Self(self.0.clone(), self.1.clone())
    }
}

impl Caller for Calls {
    async fn call(&self) {
        let request = Message { body: self.1.clone() };
        let answer = self.0.echo.get_reply(request).await.expect("an answer");
        assert_eq!(answer.body, self.1);
    }
}

/// It must be told its own port: one that is free now.
fn free_port() -> NetworkAddress {
    let socket = std::net::TcpListener::bind(any_port()).expect("a free port");
    let at = socket.local_addr().expect("bound").to_string();
    NetworkAddress::parse(&at).expect("an address")
}

pub(crate) fn calls(sides: &Sides) -> Subject {
    let served = Served::default();
    let count = served.clone();
    let (there, here) = (free_port(), free_port());
    let at = there.clone();
    sides.server.run(async move {
        let transport = NetTransportBuilder::new(TokioProviders::new())
            .codec(Bincode)
            .local_address(at)
            .build_listening()
            .await
            .expect("a free port");
        let server = Echo::well_known(&transport, TOKEN);
        drop(tokio::spawn(async move {
            while let Some((request, reply)) = server.echo.recv().await {
                count.fetch_add(1, Ordering::SeqCst);
                reply.send(request);
            }
            drop(transport);
        }));
    });
    let (client, kept) = sides.client.run(async move {
        let transport = NetTransportBuilder::new(TokioProviders::new())
            .codec(Bincode)
            .local_address(here)
            .build_listening()
            .await
            .expect("a free port");
        (Echo::client_well_known(there, TOKEN, &transport), transport)
    });
    let body = "7".repeat(64);
    Subject::new("moonpool-transport (bincode)", Calls(Arc::new(client), body), served, kept)
}
