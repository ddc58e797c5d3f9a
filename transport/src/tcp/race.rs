//! [`race`]: the first of two futures; tokio's `select!` would need its macro crates.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use tokio::sync::watch;

/// Runs both until one is done; `first` is asked first. The other is dropped.
pub(super) async fn race<T>(first: impl Future<Output = T>, second: impl Future<Output = T>) -> T {
    let (mut first, mut second) = (pin!(first), pin!(second));
    poll_fn(|cx| match first.as_mut().poll(cx) {
        Poll::Ready(out) => Poll::Ready(out),
        Poll::Pending => second.as_mut().poll(cx),
    })
    .await
}

/// Waits until the flag is true; for ever if its owner is gone.
pub(super) async fn wait_for(flag: &mut watch::Receiver<bool>) {
    if flag.wait_for(|yes| *yes).await.is_err() {
        std::future::pending::<()>().await;
    }
}
