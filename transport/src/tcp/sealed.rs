//! The one task of a connection under TLS: both directions share the state of the session.

use super::connection::Life;
use super::read::Reader;
use super::stream::Sealed;
use super::write::Writer;
use crate::DownReason;
use std::future::{Future, poll_fn};
use std::io::ErrorKind;
use std::pin::pin;
use std::task::Poll;

/// As in plaintext: writes at once, reads after the predecessors, then reports the end.
pub(super) async fn run(mut life: Life, mut writer: Writer, mut reader: Reader, stream: Sealed) {
    let conn = life.conn.clone();
    let mut stream = stream;
    let mut leftover = None;
    {
        let mut gate = pin!(life.pass_gate());
        poll_fn(|cx| {
            conn.wake.listen(cx);
            if leftover.is_none()
                && let Poll::Ready(frames) = writer.poll(cx, &mut stream)
            {
                leftover = Some(frames);
            }
            gate.as_mut().poll(cx)
        })
        .await;
    }
    life.announce();
    let reason = poll_fn(|cx| {
        // First the ear, then the question: whoever kills sets the flag, then rings.
        conn.wake.listen(cx);
        if leftover.is_none()
            && let Poll::Ready(frames) = writer.poll(cx, &mut stream)
        {
            leftover = Some(frames);
        }
        if conn.is_killed() {
            return Poll::Ready(DownReason::Io(ErrorKind::NotConnected));
        }
        reader.poll(cx, &mut stream)
    })
    .await;
    life.wind_down(reason);
    let leftover = match leftover {
        Some(frames) => frames,
        None => {
            poll_fn(|cx| {
                conn.wake.listen(cx);
                writer.poll(cx, &mut stream)
            })
            .await
        }
    };
    conn.kill(reason);
    drop(stream);
    life.finish(leftover);
}
