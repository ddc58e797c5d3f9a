//! [`Runtime`]: the only door of any driver of the family to an executor, a clock and a seed.

use quorate_clocks::{Clock, Monotonic, Timer};
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

/// What a [`Runtime`] spawns.
///
/// # Examples
/// ```
/// use quorate_transport::Task;
/// let task: Task = Box::pin(async {});
/// # drop(task);
/// ```
pub type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Executor, clock, timers and seeds of one process, handed to drivers so that they run unchanged
/// in a simulation.
///
/// # Examples
/// A driver that beats until it is told to stop:
/// ```
/// use quorate_transport::{Runtime, sleep};
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicBool, Ordering};
/// use std::time::Duration;
///
/// fn start(runtime: Arc<dyn Runtime>, stop: Arc<AtomicBool>) {
///     let rt = runtime.clone();
///     runtime.spawn("beat", Box::pin(async move {
///         while !stop.load(Ordering::Relaxed) {
///             sleep(&*rt, Duration::from_millis(100)).await;
///         }
///     }));
/// }
/// # let _ = start;
/// ```
pub trait Runtime: Send + Sync + 'static {
    /// The clock of this process.
    fn clock(&self) -> &Arc<dyn Clock>;

    /// Runs a task to its end, or until the runtime ends. The name is for traces.
    fn spawn(&self, name: &'static str, task: Task);

    /// A new timer.
    fn timer(&self) -> Box<dyn Timer>;

    /// A number that was not given before; the only source of randomness of a driver.
    fn seed(&self) -> u64;

    /// The monotonic time of [`clock`](Self::clock).
    fn now(&self) -> Monotonic {
        self.clock().monotonic()
    }
}

/// The time of a [`timeout`] ran out.
///
/// # Examples
/// ```
/// assert_eq!(quorate_transport::Elapsed::new().to_string(), "deadline has passed");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Elapsed;

impl Elapsed {
    /// The error.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("deadline has passed")
    }
}

impl std::error::Error for Elapsed {}

/// Waits for `d` of the runtime's clock.
///
/// # Cancel safety
/// Dropping it forgets the wait, nothing else.
///
/// # Examples
/// ```
/// # #[cfg(feature = "tokio")] {
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use quorate_transport::{Runtime, TokioRuntime, sleep};
/// let rt = TokioRuntime::current();
/// let start = rt.now();
/// sleep(&rt, std::time::Duration::from_millis(1)).await;
/// assert!(rt.now() > start);
/// # }) }
/// ```
pub async fn sleep(rt: &dyn Runtime, d: Duration) {
    let deadline = rt.now().saturating_add(d);
    let mut timer = rt.timer();
    poll_fn(|cx| timer.poll_at(deadline, cx)).await;
}

/// Runs `f` for at most `d` of the runtime's clock.
///
/// # Errors
/// [`Elapsed`] if `f` was not done; it is dropped then.
///
/// # Cancel safety
/// That of `f`.
///
/// # Examples
/// ```
/// # #[cfg(feature = "tokio")] {
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use quorate_transport::{TokioRuntime, timeout};
/// use std::time::Duration;
/// let rt = TokioRuntime::current();
/// assert_eq!(timeout(&rt, Duration::from_secs(1), async { 7 }).await, Ok(7));
/// assert!(timeout(&rt, Duration::ZERO, std::future::pending::<()>()).await.is_err());
/// # }) }
/// ```
pub async fn timeout<F: Future>(rt: &dyn Runtime, d: Duration, f: F) -> Result<F::Output, Elapsed> {
    let deadline = rt.now().saturating_add(d);
    let mut timer = rt.timer();
    let mut f = pin!(f);
    poll_fn(|cx| {
        if let Poll::Ready(out) = f.as_mut().poll(cx) {
            return Poll::Ready(Ok(out));
        }
        timer.poll_at(deadline, cx).map(|()| Err(Elapsed))
    })
    .await
}
