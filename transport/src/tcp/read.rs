//! The reader of one connection.

use super::Shared;
use super::connection::Connection;
use crate::{Decoder, DownReason, Frame, FrameError, Kind};
use std::io::{self, ErrorKind};
use std::sync::atomic::Ordering;
use tokio::net::TcpStream;

/// Frames of one turn, so that neighbours on the executor are not starved. // H26
const TURN_FRAMES: u32 = 256;
/// Bytes of one turn.
const TURN_BYTES: usize = 1 << 20;

/// Reads until the connection ends; returns why.
///
/// Bytes go from the socket into the decoder without an await in between: dropping this future
/// loses nothing of the stream but the connection. // H1
pub(super) async fn run(shared: &Shared, conn: &Connection, decoder: &mut Decoder) -> DownReason {
    loop {
        let skipped = decoder.skipped();
        let turn = turn(shared, conn, decoder);
        shared.counters.skipped.add(decoder.skipped() - skipped);
        conn.activity.fetch_add(1, Ordering::Relaxed);
        conn.refill_inline();
        if let Some(sink) = shared.sink.get() {
            sink.on_batch_end();
        }
        match turn {
            Turn::Spent => tokio::task::yield_now().await,
            Turn::Dry => {
                if let Some(block) = decoder.take_idle_block() {
                    shared.pool.put(block);
                }
                if let Err(error) = conn.stream.readable().await {
                    return DownReason::Io(error.kind());
                }
            }
            Turn::Over(reason) => return reason,
        }
    }
}

enum Turn {
    /// The budget is used up.
    Spent,
    /// The socket has nothing more.
    Dry,
    Over(DownReason),
}

fn turn(shared: &Shared, conn: &Connection, decoder: &mut Decoder) -> Turn {
    let (mut frames, mut bytes) = (0, 0);
    loop {
        match decoder.decode() {
            Ok(Some(frame)) => {
                if let Some(reason) = deliver(shared, conn, frame) {
                    return Turn::Over(reason);
                }
                frames += 1;
                if frames >= TURN_FRAMES {
                    return Turn::Spent;
                }
                continue;
            }
            Ok(None) => {}
            Err(error) => return Turn::Over(violation(shared, conn, error)),
        }
        if bytes >= TURN_BYTES {
            return Turn::Spent;
        }
        match read_some(shared, &conn.stream, decoder) {
            Ok(0) => return Turn::Over(DownReason::Io(ErrorKind::UnexpectedEof)), // H22
            Ok(n) => bytes += n,
            Err(e) if e.kind() == ErrorKind::WouldBlock => return Turn::Dry,
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Turn::Over(DownReason::Io(e.kind())),
        }
    }
}

/// From the socket into the decoder, without waiting.
pub(super) fn read_some(
    shared: &Shared,
    stream: &TcpStream,
    decoder: &mut Decoder,
) -> io::Result<usize> {
    if decoder.wants_block() {
        decoder.give_block(shared.pool.take());
    }
    let n = decoder.fill(|mut space| stream.try_read_buf(&mut space))?;
    shared.counters.bytes_in.add(u64::try_from(n).unwrap_or(u64::MAX));
    Ok(n)
}

fn deliver(shared: &Shared, conn: &Connection, frame: Frame) -> Option<DownReason> {
    if frame.kind == Kind::GoAway {
        let protocol = frame.aux == super::connection::GOAWAY_PROTOCOL;
        return Some(if protocol { DownReason::Protocol } else { DownReason::Closed });
    }
    if !frame.kind.is_allowed_on(conn.lane) {
        let what = "kind for this lane";
        return Some(violation(shared, conn, FrameError::Malformed { what }));
    }
    shared.counters.frames_in.add(1);
    if let Some(sink) = shared.sink.get() {
        sink.on_frame(conn.peer, conn.lane, conn.session, frame);
    }
    None
}

fn violation(shared: &Shared, conn: &Connection, error: FrameError) -> DownReason {
    shared.count_violation(error);
    tracing::warn!(peer = %conn.peer.node, lane = %conn.lane, %error, "protocol violation");
    DownReason::Protocol
}
