//! A log without threads: its work in units, done when the caller says so.

use std::sync::atomic::Ordering::Relaxed;

use crate::core::Core;
use crate::plant::planted;

/// What [`Wal::turn`](crate::Wal::turn) says about further turns.
///
/// # Examples
/// ```
/// # use std::{path::Path, sync::Arc};
/// use quorate_wal::{Config, Driver, Turn, Wal, vfs::MemVfs};
/// let config = Config::embedded().driver(Driver::manual(|| {})).build()?;
/// let (wal, _) = Wal::open_on(Arc::new(MemVfs::new()), Path::new("log"), config, None)?;
/// while wal.turn() == Turn::Again {} // prepares the next segment
/// assert_eq!(wal.turn(), Turn::Park);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Turn {
    /// Something was done; there may be more.
    Again,
    /// Nothing to do until `wake` is called.
    Park,
    /// The log has stopped or was closed: nothing will ever be done.
    Done,
}

/// One unit of work.
#[derive(Clone, Copy, Debug)]
enum Unit {
    Commit,
    Mark,
    Reclaim,
    Prepare,
    Flush,
}

impl Core {
    /// Does one unit of work: commits first, then what gives room, the idle mark last.
    pub(crate) fn turn(&self) -> Turn {
        {
            let progress = self.progress.lock();
            if progress.closed || progress.failed.is_some() {
                return Turn::Done;
            }
        }
        let Some(unit) = self.next_unit() else { return Turn::Park };
        let outcome = self.guarded(|| match unit {
            Unit::Commit => {
                self.lead_if_free();
                Ok(())
            }
            Unit::Flush => {
                if !planted("flush_asked_kept") {
                    self.flush_asked.store(false, Relaxed);
                }
                // If another thread leads, its group may have been taken before these were
                // staged; when it is done it wakes us for what was asked.
                if !self.lead_if_free() && self.has_staged() {
                    self.ask();
                }
                Ok(())
            }
            Unit::Mark => self.mark(),
            Unit::Reclaim => self.reclaim(),
            Unit::Prepare => self.prepare_ahead().map(|_| ()),
        });
        if let Err(failure) = outcome {
            self.poison(&std::sync::Arc::new(failure));
        }
        Turn::Again
    }

    fn next_unit(&self) -> Option<Unit> {
        {
            let mut progress = self.progress.lock();
            if progress.asked && !progress.leading {
                progress.asked = false;
                return Some(Unit::Commit);
            }
        }
        let mut chores = self.chores.lock();
        let chores = &mut *chores;
        let due = [
            (&mut chores.mark_now, Unit::Mark),
            (&mut chores.reclaim, Unit::Reclaim),
            (&mut chores.prepare, Unit::Prepare),
            (&mut chores.flush, Unit::Flush),
            (&mut chores.mark_idle, Unit::Mark),
        ];
        due.into_iter().find_map(|(flag, unit)| std::mem::take(flag).then_some(unit))
    }

    /// Does all the work there is now.
    pub(crate) fn turn_all(&self) {
        while self.turn() == Turn::Again {}
    }
}
