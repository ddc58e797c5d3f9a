//! The one task of a connection under TLS: both directions share the state of the session.

use super::connection::Life;
use super::read::Reader;
use super::stream::Sealed;
use super::write::Writer;
use crate::DownReason;
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io::ErrorKind;
use std::pin::pin;
use std::task::{Context, Poll};

/// As in plaintext: writes at once, reads after the predecessors, then reports the end.
pub(super) async fn run(mut life: Life, mut writer: Writer, mut reader: Reader, stream: Sealed) {
    let conn = life.conn.clone();
    let mut stream = stream;
    let mut written = false;
    // What is left in the writer's hands waits with the connection.
    let mut write = |cx: &mut Context<'_>, stream: &mut Sealed| {
        conn.wake.listen(cx);
        if !written && let Poll::Ready(frames) = writer.poll(cx, stream) {
            conn.take_back(frames);
            written = true;
        }
        written
    };
    {
        let mut gate = pin!(life.pass_gate());
        poll_fn(|cx| {
            write(cx, &mut stream);
            gate.as_mut().poll(cx)
        })
        .await;
    }
    life.announce();
    let reason = poll_fn(|cx| {
        // First the ear, then the question: whoever kills sets the flag, then rings.
        write(cx, &mut stream);
        if conn.is_killed() {
            return Poll::Ready(DownReason::Io(ErrorKind::NotConnected));
        }
        reader.poll(cx, &mut stream)
    })
    .await;
    life.wind_down(reason);
    poll_fn(|cx| if write(cx, &mut stream) { Poll::Ready(()) } else { Poll::Pending }).await;
    conn.kill(reason);
    drop(stream);
    life.finish(VecDeque::new());
}
