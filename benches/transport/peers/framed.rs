//! tokio-util's `LengthDelimitedCodec`: frames without checksums.

use crate::floors::connect;
use crate::oneway::LOST;
use crate::ours::PAYLOAD;
use crate::side::Sides;
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use std::sync::Arc;
use std::sync::mpsc;
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio_util::codec::{Framed, LengthDelimitedCodec};

/// One-way messages: `send` flushes each, `feed` lets the codec's buffer fill.
pub(crate) fn messages(sides: &Sides, each: bool) -> impl FnMut(&Sides, u64) + use<> {
    let (client, server) = connect(sides);
    let (tell, counted) = mpsc::channel();
    drop(sides.server.begin(async move {
        let mut stream = Framed::new(server, LengthDelimitedCodec::new());
        let mut count = 0_u64;
        while let Some(frame) = stream.next().await {
            assert_eq!(frame.expect("a frame").len(), PAYLOAD.len());
            count += 1;
            // The sender asks for an end now and then.
            if count.is_multiple_of(crate::oneway::STEP) {
                tell.send(count).ok();
            }
        }
    }));
    let framed: Framed<TcpStream, _> = Framed::new(client, LengthDelimitedCodec::new());
    let client = Arc::new(Mutex::new(framed));
    let mut total = 0;
    move |sides, count| {
        let client = client.clone();
        total += count;
        sides.client.run(async move {
            let mut framed = client.lock().await;
            let body = Bytes::from_static(PAYLOAD);
            for _ in 0..count {
                if each {
                    framed.send(body.clone()).await.expect("connected");
                } else {
                    framed.feed(body.clone()).await.expect("connected");
                }
            }
            SinkExt::<Bytes>::flush(&mut *framed).await.expect("connected");
        });
        while counted.recv_timeout(LOST).expect("a message was lost") < total {}
    }
}
