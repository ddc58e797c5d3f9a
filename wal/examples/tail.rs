//! Follows a log while it is written: one task appends, another applies what is durable.

use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake};
use std::thread::Thread;

use quorate_wal::{Config, Lsn, ReadBound, ReadError, Tailer, Wal};

/// Applies records to a sum until the log is shut down.
async fn apply(mut tail: Tailer) -> Result<(u64, Lsn), ReadError> {
    let (mut sum, mut applied) = (0, Lsn::ZERO);
    while let Some(record) = tail.next().await {
        let record = record?;
        sum += u64::from(record.bytes[0]);
        applied = record.lsn;
    }
    Ok((sum, applied))
}

/// Appends 200 records while somebody follows; the sum and the last number that was applied.
pub(crate) fn run(dir: &Path) -> Result<(u64, u64), Box<dyn std::error::Error>> {
    let (wal, _) = Wal::open(dir, Config::embedded().build()?)?;
    let tail = wal.tail(Lsn::new(1), ReadBound::Durable);
    let follower = std::thread::spawn(move || block_on(apply(tail)));
    for n in 1..=200_u8 {
        wal.append_blocking(&[n])?;
    }
    wal.shutdown().wait()?; // the follower reads what is left, then its tail ends
    let (sum, applied) = follower.join().map_err(|_| "the follower panicked")??;
    Ok((sum, applied.as_u64()))
}

#[expect(clippy::print_stdout, reason = "an example shows what it did")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = std::env::temp_dir().join(format!("qwal-tail-{}", std::process::id()));
    let (sum, applied) = run(&dir)?;
    println!("applied up to {applied}, sum {sum}");
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}

/// Any executor will do; this one parks the thread.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(std::thread::current())).into();
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}
