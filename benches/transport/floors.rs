//! What the machine can do at best: the same bytes by sockets alone.

use crate::ours::{PAYLOAD, any_port};
use crate::side::Sides;
use crate::subject::{Served, Subject, Taken};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;

pub(crate) const PING_PONG: &str = "hand-written ping-pong";
/// Header and payload.
pub(crate) const FRAME: usize = 32 + PAYLOAD.len();
const BLOCK: usize = 64 << 10;

/// A connection of the two sides, without delays.
pub(crate) fn connect(sides: &Sides) -> (TcpStream, TcpStream) {
    let listener = sides.server.run(TcpListener::bind(any_port())).expect("a free port");
    let at = listener.local_addr().expect("bound");
    let accepted = sides.server.begin(async move { listener.accept().await });
    let client = sides.client.run(TcpStream::connect(at)).expect("it listens");
    let (server, _) = accepted.recv().expect("no panic").expect("a connection");
    for stream in [&client, &server] {
        stream.set_nodelay(true).expect("a socket");
    }
    (client, server)
}

/// Frames of 32 + 64 bytes there and back, no parsing: at depth 1 a ping-pong, else as many out at
/// a time as came back at a time, in one write.
pub(crate) fn ping_pong(sides: &Sides) -> Subject {
    let (client, mut server) = connect(sides);
    let served = Served::default();
    let count = served.clone();
    drop(sides.server.begin(async move {
        let (mut block, mut held) = (vec![0; BLOCK], 0);
        loop {
            let read = server.read(&mut block[held..]).await.unwrap_or(0);
            if read == 0 {
                return;
            }
            held += read;
            let whole = held - held % FRAME;
            count.fetch_add((whole / FRAME) as u64, Ordering::SeqCst);
            server.write_all(&block[..whole]).await.expect("the client reads");
            block.copy_within(whole..held, 0);
            held -= whole;
        }
    }));
    let client = Arc::new(Mutex::new(client));
    let turn = move |sides: &Sides, depth, time| {
        let client = client.clone();
        sides.client.run(async move { in_flight(&mut *client.lock().await, depth, time).await })
    };
    Subject::raw(PING_PONG, turn, served, ())
}

async fn in_flight(stream: &mut TcpStream, depth: usize, time: Duration) -> Taken {
    let begun = Instant::now();
    let end = begun + time;
    let mut taken = Taken::default();
    let mut block = vec![0; depth * FRAME];
    let (mut sent, mut back, mut held) = (0, 0, 0);
    let mut due = depth;
    loop {
        let at = Instant::now();
        stream.write_all(&block[..due * FRAME]).await.expect("the server reads");
        sent += due as u64;
        loop {
            held += stream.read(&mut block[held..]).await.expect("the server writes");
            due = held / FRAME;
            if due > 0 {
                break;
            }
        }
        back += due as u64;
        held -= due * FRAME;
        if depth == 1 {
            taken.latencies.push(at.elapsed().as_nanos() as u64);
        }
        if Instant::now() >= end {
            break;
        }
    }
    while back < sent {
        held += stream.read(&mut block[held..]).await.expect("the server writes");
        back += (held / FRAME) as u64;
        held %= FRAME;
    }
    Taken { count: back, elapsed: begun.elapsed(), ..taken }
}
