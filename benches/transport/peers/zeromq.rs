//! zeromq REQ and REP: one request at a time by its nature.

use crate::ours::PAYLOAD;
use crate::side::Sides;
use crate::subject::{Caller, Served, Subject};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::Mutex;
use zeromq::{RepSocket, ReqSocket, Socket, SocketRecv, SocketSend, ZmqMessage};

#[derive(Clone)]
struct Calls(Arc<Mutex<ReqSocket>>);

impl Caller for Calls {
    async fn call(&self) {
        let mut socket = self.0.lock().await;
        let request = ZmqMessage::from(bytes::Bytes::from_static(PAYLOAD));
        socket.send(request).await.expect("connected");
        let answer = socket.recv().await.expect("an answer");
        assert_eq!(answer.get(0).map(|body| &body[..]), Some(&PAYLOAD[..]));
    }
}

pub(crate) fn calls(sides: &Sides) -> Subject {
    let served = Served::default();
    let count = served.clone();
    let at = sides.server.run(async move {
        let mut socket = RepSocket::new();
        let at = socket.bind("tcp://127.0.0.1:0").await.expect("a free port");
        drop(tokio::spawn(async move {
            while let Ok(request) = socket.recv().await {
                count.fetch_add(1, Ordering::SeqCst);
                if socket.send(request).await.is_err() {
                    return;
                }
            }
        }));
        at.to_string()
    });
    let socket = sides.client.run(async move {
        let mut socket = ReqSocket::new();
        socket.connect(&at).await.expect("it listens");
        socket
    });
    Subject::new("zeromq (REQ/REP)", Calls(Arc::new(Mutex::new(socket))), served, ())
}
