//! P3: messages that nobody answers.

use crate::floors::{FRAME, connect};
use crate::ours::{CHANNEL, PAYLOAD, Pair, SERVER, open};
use crate::side::Sides;
use crate::{Bench, peers};
use bytes::Bytes;
use quorate_benches::sheet::Line;
use quorate_benches::turns::{Contender, take_turns};
use quorate_transport::{Endpoint, Inbound, Lane, SendError};
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Mutex;

const FLOOR: &str = "pre-framed blocks of 64 KiB";
const SEND: &str = "LengthDelimitedCodec, send";
/// Receivers tell how many came at multiples of it.
pub(crate) const STEP: u64 = 1_000;
/// Messages of a turn.
const COUNT: u64 = 100_000;
/// After this nothing comes any more.
pub(crate) const LOST: Duration = Duration::from_secs(10);

/// Blocks of whole frames, read in blocks and only counted.
fn floor(sides: &Sides) -> impl FnMut(&Sides, u64) + use<> {
    let (client, mut server) = connect(sides);
    let (tell, counted) = mpsc::channel();
    drop(sides.server.begin(async move {
        let (mut block, mut total) = (vec![0; 64 << 10], 0_u64);
        loop {
            match server.read(&mut block).await {
                Ok(read) if read > 0 => total += read as u64,
                _ => return,
            }
            tell.send(total).ok();
        }
    }));
    let client = Arc::new(Mutex::new(client));
    let mut total = 0;
    move |sides, count| {
        let (client, bytes) = (client.clone(), count as usize * FRAME);
        total += bytes as u64;
        sides.client.run(async move {
            let (mut client, block) = (client.lock().await, vec![7; 64 << 10]);
            let mut left = bytes;
            while left > 0 {
                let now = left.min(block.len());
                client.write_all(&block[..now]).await.expect("connected");
                left -= now;
            }
        });
        while counted.recv_timeout(LOST).expect("a message was lost") < total {}
    }
}

/// `send` on Data, waiting for room when it says that there is none.
pub(crate) fn messages(sides: &Sides) -> impl FnMut(&Sides, u64) + use<> {
    let pair = Pair::new(sides);
    let (tell, counted) = mpsc::channel();
    let mut channel = open(&pair.server, CHANNEL);
    drop(sides.server.begin(async move {
        let mut count = 0_u64;
        while let Some(inbound) = channel.recv().await {
            let Inbound::Message { body, .. } = inbound else { continue };
            assert_eq!(body.len(), PAYLOAD.len());
            count += 1;
            if count.is_multiple_of(STEP) {
                tell.send(count).ok();
            }
        }
    }));
    let (sender, receiver) = open(&pair.client, CHANNEL).split();
    let mut total = 0;
    move |sides, count| {
        let _kept = (&pair, &receiver);
        let (sender, body) = (sender.clone(), Bytes::from_static(PAYLOAD));
        total += count;
        sides.client.run(async move {
            for _ in 0..count {
                while let Err(error) = sender.send(SERVER, Lane::Data, body.clone()) {
                    assert_eq!(error, SendError::Full);
                    poll_fn(|cx| sender.poll_ready(SERVER, Lane::Data, cx))
                        .await
                        .expect("connected");
                }
            }
        });
        loop {
            match counted.recv_timeout(LOST) {
                Ok(found) if found >= total => return,
                Ok(_) => {}
                Err(_) => panic!("a message was lost: {}", tell_all(&pair)),
            }
        }
    }
}

/// What both sides counted.
fn tell_all(pair: &Pair) -> String {
    let of =
        |who: &str, e: &Endpoint| format!("{who}: {:?}\n{:?}\n", e.stats(), e.transport_stats());
    of("client", &pair.client) + &of("server", &pair.server)
}

pub(crate) fn by<'a>(
    name: &str,
    sides: &'a Sides,
    count: u64,
    mut work: impl FnMut(&Sides, u64) + 'a,
) -> Contender<'a> {
    Contender::new(name, move || {
        let begun = Instant::now();
        work(sides, count);
        begun.elapsed().as_secs_f64() * 1e9 / count as f64
    })
}

/// P3: one-way messages of 64 bytes.
pub(crate) fn oneway(bench: &mut Bench) {
    let sides = Sides::new();
    let contenders = vec![
        by(FLOOR, &sides, COUNT, floor(&sides)),
        by("ours", &sides, COUNT, messages(&sides)),
        by(SEND, &sides, COUNT, peers::framed::messages(&sides, true)),
        by("LengthDelimitedCodec, feed", &sides, COUNT, peers::framed::messages(&sides, false)),
    ];
    let rounds = take_turns(contenders, bench.rounds);
    let line = Line::times("P3 a one-way message", &rounds, "ours", Some(FLOOR));
    let line = line
        .goal("≥ 5× LengthDelimitedCodec, send", rounds.ratio(SEND, "ours") >= 5.0)
        .goal("≥ 0.6× floor", rounds.ratio("ours", FLOOR) <= 1.0 / 0.6);
    bench.sheet.push(line);
}
