//! Following the plain log: a reader that waits where a [`Reader`] ends.

use std::future::poll_fn;
use std::task::{Context, Poll};

use crate::error::ReadError;
use crate::lsn::Lsn;
use crate::reader::{Reader, Record};
use crate::waiters::{Goal, WaiterKey};

/// The records of the plain log from a number on, each as soon as it is within the bound.
///
/// It ends (`None`) when the log was shut down or has stopped and everything within the bound was
/// returned, or after damage behind which it cannot find its way. Other errors do not end it:
/// after [`ReadError::Truncated`] it goes on at the low mark, after [`ReadError::Lost`] behind the
/// hole, and a failed read is tried again by the next call.
///
/// It is woken by the marks of the log: by groups that are synced or written, and by
/// [`Wal::advance_high`](crate::Wal::advance_high). It causes no commit: records staged with
/// [`Ack::Staged`](crate::Ack::Staged) appear when they are written for another reason.
///
/// It pins the segment it reads, also while it waits: that one is not deleted meanwhile.
///
/// # Cost
/// Like [`Reader`]; one registered waker while it waits.
///
/// # Examples
/// ```
/// # use std::{path::Path, sync::Arc, task::{Context, Poll, Waker}};
/// use quorate_wal::{Config, Lsn, ReadBound, Wal, vfs::MemVfs};
/// let config = Config::embedded().build()?;
/// let (wal, _) = Wal::open_on(Arc::new(MemVfs::new()), Path::new("log"), config, None)?;
/// let mut tail = wal.tail(Lsn::new(1), ReadBound::Durable);
/// let mut cx = Context::from_waker(Waker::noop());
/// assert!(tail.poll_next(&mut cx).is_pending());
/// wal.append_blocking(b"news")?;
/// let Poll::Ready(Some(Ok(record))) = tail.poll_next(&mut cx) else { panic!("it is there") };
/// assert_eq!(&record.bytes[..], b"news");
/// wal.shutdown().wait()?;
/// assert!(matches!(tail.poll_next(&mut cx), Poll::Ready(None)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Tailer {
    reader: Reader,
    key: Option<(Goal, WaiterKey)>,
    ended: bool,
}

impl Tailer {
    pub(crate) const fn new(reader: Reader) -> Self {
        Self { reader, key: None, ended: false }
    }

    /// The lowest number that it has not looked at yet; records returned so far are below it.
    #[must_use]
    pub const fn position(&self) -> Lsn {
        Lsn::new(self.reader.next)
    }

    /// The next record, when there is one; see [`Tailer`] for errors and the end.
    ///
    /// # Errors
    /// See [`ReadError`]; `NotYet` and `NotARecord` do not occur.
    ///
    /// # Cancel safety
    /// Dropping the future loses no record: the next call returns the one it would have. The
    /// waker is let go.
    pub async fn next(&mut self) -> Option<Result<Record, ReadError>> {
        let waiting = Waiting(self);
        poll_fn(|cx| waiting.0.poll_next(cx)).await
    }

    /// Like [`next`](Self::next), for callers that poll: pending means that the waker is called
    /// when there may be something to read. Only the newest waker is kept.
    ///
    /// # Errors
    /// See [`next`](Self::next).
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Record, ReadError>>> {
        if let Some(read) = self.take() {
            return Poll::Ready(Some(read));
        }
        let goal = Goal::Readable(self.reader.bound, self.reader.next);
        let stopped = self.register(goal, cx);
        // What came within the bound before the registration woke nobody.
        if let Some(read) = self.take() {
            return Poll::Ready(Some(read));
        }
        // The marks of a log that has stopped do not move any more.
        self.ended |= stopped;
        if self.ended { Poll::Ready(None) } else { Poll::Pending }
    }

    /// What can be read now.
    fn take(&mut self) -> Option<Result<Record, ReadError>> {
        if self.ended {
            return None;
        }
        let read = self.reader.next();
        match &read {
            Some(Ok(_)) => {}
            Some(Err(ReadError::Truncated { low })) => self.reader.retry(Some(*low)),
            Some(Err(ReadError::Io { .. } | ReadError::TooManyReaders { .. })) => {
                self.reader.retry(None);
            }
            // After damage without a known end the reader does not go on.
            Some(Err(_)) | None => self.ended = self.reader.is_done(),
        }
        read
    }

    /// Registers the waker, unless the log has stopped; whether it has.
    fn register(&mut self, goal: Goal, cx: &Context<'_>) -> bool {
        let core = &self.reader.core;
        let mut progress = core.progress.lock();
        let known = match self.key.take() {
            Some((old, key)) if old == goal => Some(key),
            Some((_, key)) => {
                progress.forget(key);
                None
            }
            None => None,
        };
        if core.stopped(&progress).is_some() {
            return true;
        }
        self.key = Some((goal, progress.register(goal, known, cx.waker())));
        false
    }

    fn forget(&mut self) {
        if let Some((_, key)) = self.key.take() {
            self.reader.core.progress.lock().forget(key);
        }
    }
}

impl Drop for Tailer {
    fn drop(&mut self) {
        self.forget();
    }
}

/// Lets the waker go when the future is dropped (H33).
struct Waiting<'a>(&'a mut Tailer);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.forget();
    }
}

#[cfg(feature = "stream")]
impl futures_core::Stream for Tailer {
    type Item = Result<Record, ReadError>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Self::Item>> {
        Self::poll_next(&mut self, cx)
    }
}

impl crate::core::Core {
    /// Tells those who follow the log up to the high-water mark that it rose.
    pub(crate) fn raise_high(&self, to: u64) {
        let ready = {
            let mut progress = self.progress.lock();
            progress.high_lsn = progress.high_lsn.max(to);
            progress.take_tails()
        };
        for waiter in ready {
            waiter.done();
        }
    }
}
