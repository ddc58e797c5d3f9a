//! The two threads of a log, and the only place that reads a clock.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::config::Driver;
use crate::core::{Chores, Core};
use crate::error::Failure;
use crate::plant::planted;
use crate::sync::{Lock, Signal};
use crate::waiters::DurablePlace;

/// The body of a thread.
type Run = fn(&Core);

/// The running threads.
#[derive(Debug)]
pub(crate) struct Threads {
    handles: Vec<JoinHandle<()>>,
}

/// The time now; for durations only.
#[expect(clippy::disallowed_methods, reason = "the driver is where time enters the crate")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Measures how long something takes; nothing, for a log without a clock.
#[derive(Debug)]
pub(crate) struct Stopwatch(Option<Instant>);

impl Stopwatch {
    pub(crate) fn start(driver: &Driver) -> Self {
        Self((!driver.is_manual()).then(now))
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.0.map_or(Duration::ZERO, |start| start.elapsed())
    }
}

impl Threads {
    /// Starts both threads, if the log is to have any.
    pub(crate) fn start(core: &Arc<Core>) -> std::io::Result<Self> {
        let mut threads = Self { handles: Vec::new() };
        if core.config.driver.is_manual() {
            return Ok(threads);
        }
        let runs: [(&str, Run); 2] = [("qwal-commit", commits), ("qwal-maint", maintains)];
        for (name, run) in runs {
            let shared = Arc::clone(core);
            let builder = std::thread::Builder::new().name(name.to_owned());
            match builder.spawn(move || run(&shared)) {
                Ok(handle) => threads.handles.push(handle),
                Err(e) => {
                    core.stop_threads();
                    threads.join();
                    return Err(e);
                }
            }
        }
        Ok(threads)
    }

    /// Waits for the threads to end; a thread of the log itself does not wait for itself.
    pub(crate) fn join(self) {
        let me = std::thread::current().id();
        for handle in self.handles {
            if handle.thread().id() != me {
                // A panic of the thread's work was already turned into a failure of the log.
                drop(handle.join());
            }
        }
    }
}

/// Holds the calling thread for so long.
pub(crate) fn pause(time: Duration) {
    let (nobody, never) = (Lock::new(()), Signal::new());
    let until = now() + time;
    loop {
        let left = until.saturating_duration_since(now());
        if left.is_zero() {
            return;
        }
        drop(never.wait_for(nobody.lock(), left));
    }
}

/// The processors there are; asked for once, as the system reads several files for the answer.
pub(crate) fn cores() -> usize {
    static CORES: OnceLock<usize> = OnceLock::new();
    *CORES.get_or_init(|| std::thread::available_parallelism().map_or(1, std::num::NonZero::get))
}

/// Runs `work` on so many threads beside `main`, or on fewer if the system has no more.
pub(crate) fn beside<T>(threads: usize, work: &(dyn Fn() + Sync), main: impl FnOnce() -> T) -> T {
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let builder = std::thread::Builder::new().name("qwal-verify".to_owned());
            if builder.spawn_scoped(scope, work).is_err() {
                break;
            }
        }
        main()
    })
}

/// Runs the end of a log away from the executor; on this thread if there can be no other.
pub(crate) fn spawn_close(work: impl FnOnce() + Send + 'static) {
    let work = Arc::new(Lock::new(Some(work)));
    let shared = Arc::clone(&work);
    let builder = std::thread::Builder::new().name("qwal-close".to_owned());
    if builder.spawn(move || run_once(&shared)).is_err() {
        run_once(&work);
    }
}

fn run_once(work: &Lock<Option<impl FnOnce()>>) {
    let work = work.lock().take();
    if let Some(work) = work {
        work();
    }
}

impl Core {
    /// Tells both threads to end.
    pub(crate) fn stop_threads(&self) {
        let all = {
            let mut progress = self.progress.lock();
            progress.closed = true;
            progress.take_all()
        };
        for waiter in all {
            waiter.look();
        }
        self.done.notify_all();
        self.work.notify_all();
        self.chores.lock().stop = true;
        self.chores_due.notify_all();
        self.call_maintenance();
        self.end_events();
    }
}

/// Commits whenever futures wait and nobody else leads.
fn commits(core: &Core) {
    let mut progress = core.progress.lock();
    loop {
        if progress.closed {
            return;
        }
        let ready = progress.asked && !progress.leading && progress.failed.is_none();
        if !ready {
            progress = core.work.wait(progress);
            continue;
        }
        progress.asked = false;
        let crowd = progress.begin_leading();
        drop(progress);
        core.lead(0, crowd);
        progress = core.progress.lock();
    }
}

/// When the maintenance thread has to do something by itself.
#[derive(Debug, Default)]
struct Deadlines {
    flush: Option<Instant>,
    mark: Option<(Instant, DurablePlace)>,
    prepare: Option<Instant>,
}

impl Deadlines {
    fn next(&self) -> Option<Instant> {
        let mark = self.mark.map(|(at, _)| at);
        [self.flush, mark, self.prepare].into_iter().flatten().min()
    }
}

/// Prepares, reclaims, marks, flushes.
fn maintains(core: &Core) {
    let mut deadlines = Deadlines::default();
    loop {
        let Some(chores) = next_chores(core, &deadlines) else { return };
        let tended = core.guarded(|| tend(core, chores, &mut deadlines));
        let Err(failure) = tended else { continue };
        core.poison(&Arc::new(failure));
    }
}

/// Waits for work or for a deadline; `None`: the log is closed.
fn next_chores(core: &Core, deadlines: &Deadlines) -> Option<Chores> {
    let mut chores = core.chores.lock();
    loop {
        if chores.stop {
            return None;
        }
        let armed = deadlines.mark.is_some();
        let asked = chores.prepare
            || chores.reclaim
            || chores.mark_now
            || (chores.mark_idle && !armed)
            || (chores.flush && deadlines.flush.is_none());
        let left = deadlines.next().map(|at| at.saturating_duration_since(now()));
        if asked || left.is_some_and(|left| left.is_zero()) {
            let taken = *chores;
            *chores = Chores { mark_idle: chores.mark_idle, ..Chores::default() };
            return Some(taken);
        }
        chores = match left {
            Some(left) => core.chores_due.wait_for(chores, left),
            None => core.chores_due.wait(chores),
        };
    }
}

fn tend(core: &Core, chores: Chores, deadlines: &mut Deadlines) -> Result<(), Failure> {
    let time = now();
    let due = |at: Option<Instant>| at.is_some_and(|at| at <= time);
    if chores.flush && deadlines.flush.is_none() {
        deadlines.flush = Some(time + core.config.flush_staged);
    }
    if due(deadlines.flush) {
        if !planted("flush_asked_kept") {
            core.flush_asked.store(false, Relaxed);
        }
        // If somebody else leads, that group may have been taken before these were staged.
        let again = !core.lead_if_free() && core.has_staged();
        deadlines.flush = again.then(|| time + core.config.flush_staged);
    }
    if chores.reclaim || due(deadlines.prepare) {
        core.reclaim()?;
    }
    // After a reclaim there is often nothing left to say: it has written the position, too.
    if chores.mark_now {
        core.mark()?;
    }
    mark_when_idle(core, chores, deadlines, time)?;
    if chores.prepare || chores.reclaim || due(deadlines.prepare) {
        let again = core.prepare_ahead()?;
        deadlines.prepare = again.then(|| now() + core.config.prepare_retry);
    }
    Ok(())
}

/// Writes the durable position when nothing was appended for `mark_idle`.
fn mark_when_idle(
    core: &Core,
    chores: Chores,
    deadlines: &mut Deadlines,
    time: Instant,
) -> Result<(), Failure> {
    match deadlines.mark {
        None if chores.mark_idle => {
            let place = core.progress.lock().place;
            deadlines.mark = Some((time + core.config.mark_idle, place));
        }
        Some((at, seen)) if at <= time => {
            // First the flag, then the look: what is published in between asks again.
            core.chores.lock().mark_idle = false;
            let place = core.progress.lock().place;
            if place == seen {
                deadlines.mark = None;
                core.mark()?;
            } else {
                deadlines.mark = Some((time + core.config.mark_idle, place));
            }
        }
        _ => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Duration, now, pause};

    #[test]
    fn a_pause_is_no_shorter_than_asked_for() {
        let (start, time) = (now(), Duration::from_millis(3));
        pause(time);
        assert!(start.elapsed() >= time);
    }
}
