//! turmoil: a tokio runtime for each host, all of them looked at every millisecond.

use crate::flood::{DEPTH, LATENCY, NODES, Window};
use crate::idle::EVERY;
use crate::peers::echo;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures_util::{SinkExt, StreamExt};
use quorate_benches::busy::Busy;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_local;
use tokio_util::codec::{FramedRead, FramedWrite, LengthDelimitedCodec};
use turmoil::net::{TcpListener, TcpStream};
use turmoil::{Builder, Sim};

pub(crate) const NAME: &str = "turmoil";
pub(crate) const CALLS: &str = "turmoil, framed calls";
const PORT: u16 = 9_000;

fn world(length: Duration) -> Sim<'static> {
    let mut builder = Builder::new();
    builder.simulation_duration(length).rng_seed(1);
    builder.min_message_latency(LATENCY).max_message_latency(LATENCY);
    builder.build()
}

/// Runs `node` on each host until they have counted so far together.
fn run<F>(node: impl Fn(u64, Arc<AtomicU64>) -> F + Copy + 'static, until: u64) -> f64
where
    F: Future<Output = turmoil::Result> + 'static,
{
    let begun = Busy::begin();
    let mut sim = world(Duration::from_secs(86_400));
    let done = Arc::new(AtomicU64::new(0));
    for id in 1..=NODES {
        let done = done.clone();
        sim.host(format!("n{id}"), move || node(id, done.clone()));
    }
    while done.load(Relaxed) < until {
        sim.step().expect("no fault");
    }
    begun.nanos() / until as f64
}

/// Connects to the next one.
async fn dial(id: u64) -> TcpStream {
    let next = format!("n{}", id % NODES + 1);
    TcpStream::connect((next, PORT)).await.expect("it listens")
}

/// Nanoseconds of an echo.
pub(crate) fn flood(Window { depth, count }: Window) -> f64 {
    let node = move |id, done: Arc<AtomicU64>| async move {
        let listener = TcpListener::bind(("0.0.0.0", PORT)).await?;
        spawn_local(async move {
            echo::ask(dial(id).await, depth, count).await;
            done.fetch_add(count, Relaxed);
        });
        let (stream, _) = listener.accept().await?;
        echo::answer(stream).await;
        Ok(())
    };
    run(node, NODES * count)
}

/// Nanoseconds of `length`.
pub(crate) fn idle(length: Duration) -> f64 {
    let begun = Busy::begin();
    let mut sim = world(length * 2);
    let woken = Arc::new(AtomicU64::new(0));
    for id in 1..=NODES {
        let woken = woken.clone();
        sim.host(format!("n{id}"), move || {
            let woken = woken.clone();
            async move {
                let mut timer = tokio::time::interval(EVERY);
                loop {
                    timer.tick().await;
                    woken.fetch_add(1, Relaxed);
                }
            }
        });
    }
    while sim.elapsed() < length {
        sim.step().expect("no fault");
    }
    let expected = NODES * u64::try_from(length.as_nanos() / EVERY.as_nanos()).expect("few");
    assert!(woken.load(Relaxed).abs_diff(expected) <= 2 * NODES, "{woken:?} of {expected}");
    begun.nanos()
}

type Waiting = Rc<RefCell<BTreeMap<u64, oneshot::Sender<Bytes>>>>;

/// A client that tells answers apart by a number in front of each frame.
#[derive(Clone)]
struct Caller {
    send: mpsc::UnboundedSender<Bytes>,
    waiting: Waiting,
    next: Rc<RefCell<u64>>,
}

impl Caller {
    fn new(stream: TcpStream) -> Self {
        let (read, write) = stream.into_split();
        let mut read = FramedRead::new(read, LengthDelimitedCodec::new());
        let mut write = FramedWrite::new(write, LengthDelimitedCodec::new());
        let (send, mut queue) = mpsc::unbounded_channel::<Bytes>();
        let waiting = Waiting::default();
        let answered = waiting.clone();
        spawn_local(async move {
            while let Some(frame) = queue.recv().await {
                write.send(frame).await.expect("connected");
            }
        });
        spawn_local(async move {
            while let Some(Ok(mut frame)) = read.next().await {
                let waits = answered.borrow_mut().remove(&frame.get_u64_le()).expect("asked");
                waits.send(frame.freeze()).expect("it waits");
            }
        });
        Self { send, waiting, next: Rc::default() }
    }

    async fn call(&self, body: &[u8]) -> Bytes {
        let id = {
            let mut next = self.next.borrow_mut();
            *next += 1;
            *next
        };
        let mut frame = BytesMut::with_capacity(8 + body.len());
        frame.put_u64_le(id);
        frame.put_slice(body);
        let (answer, answered) = oneshot::channel();
        self.waiting.borrow_mut().insert(id, answer);
        self.send.send(frame.freeze()).expect("it runs");
        let in_time = tokio::time::timeout(Duration::from_secs(60), answered).await;
        in_time.expect("in time").expect("an answer")
    }
}

/// Nanoseconds of a call, `DEPTH` tasks a node.
pub(crate) fn calls(count: u64) -> f64 {
    let node = move |id, done: Arc<AtomicU64>| async move {
        let listener = TcpListener::bind(("0.0.0.0", PORT)).await?;
        spawn_local(async move {
            let caller = Caller::new(dial(id).await);
            for _ in 0..DEPTH {
                let (caller, done) = (caller.clone(), done.clone());
                spawn_local(async move {
                    for _ in 0..count / DEPTH {
                        assert_eq!(caller.call(&[7; 64]).await[..], [7; 64]);
                        done.fetch_add(1, Relaxed);
                    }
                });
            }
        });
        let (stream, _) = listener.accept().await?;
        let (read, write) = stream.into_split();
        let mut read = FramedRead::new(read, LengthDelimitedCodec::new());
        let mut write = FramedWrite::new(write, LengthDelimitedCodec::new());
        while let Some(frame) = read.next().await {
            write.send(frame?.freeze()).await?;
        }
        Ok(())
    };
    run(node, NODES * count)
}
