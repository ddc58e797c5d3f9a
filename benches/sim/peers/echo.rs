//! The echo of S1 over a stream of bytes: a window of questions, answered in their order.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The `n`th question: 64 bytes that no other has.
pub(crate) fn question(n: u64) -> [u8; 64] {
    let mut body = [7; 64];
    body[..8].copy_from_slice(&n.to_le_bytes());
    body
}

/// Asks `count` questions, `depth` at a time.
pub(crate) async fn ask<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, depth: u64, count: u64) {
    let mut answer = [0; 64];
    for n in 0..depth.min(count) {
        stream.write_all(&question(n)).await.expect("connected");
        stream.flush().await.expect("connected");
    }
    for n in 0..count {
        stream.read_exact(&mut answer).await.expect("an answer");
        assert_eq!(answer, question(n));
        if n + depth < count {
            stream.write_all(&question(n + depth)).await.expect("connected");
            stream.flush().await.expect("connected");
        }
    }
}

/// Answers until the other side goes.
pub(crate) async fn answer<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) {
    let mut body = [0; 64];
    while stream.read_exact(&mut body).await.is_ok() {
        stream.write_all(&body).await.expect("connected");
        stream.flush().await.expect("connected");
    }
}
