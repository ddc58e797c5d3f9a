//! The end of a life of the log, and the acceptance of damage at its beginning.

use std::path::PathBuf;
use std::sync::Arc;

use crate::batch::{Batch, Op};
use crate::core::Core;
use crate::create;
use crate::driver::Threads;
use crate::error::{FailedOp, Failure, InDoubt, OpenError, WriteError};
use crate::format::record::Hole;
use crate::lsn::{Ack, Lsn, LsnSpan};
use crate::marks::{Marks, set_place};
use crate::report::{Damage, RecoveryReport};
use crate::staging::{Gate, Given, Staging};
use crate::vfs::OpenMode;
use crate::waiters::Goal;

/// The most bytes of one accepted place.
const HOLE_WORST: usize = 56;
/// The most damaged places a log can have accepted.
const HOLES_MAX: usize = 4096;

/// Syncs, ends the threads, leaves the clean mark, gives the lock back; errors are told (H55).
pub(crate) fn close(core: &Arc<Core>, threads: Option<Threads>) -> Result<(), InDoubt> {
    // A second shutdown waits here: the lock is given back only when all is stored.
    let mut closing = core.closing.lock();
    let (ticket, newest) = {
        let mut staging = core.staging.lock();
        let was_open = matches!(staging.gate, Gate::Open);
        if was_open {
            staging.gate = Gate::Closed;
            staging.want_sync();
        }
        (was_open.then_some(staging.ticket), staging.next_lsn - 1)
    };
    let synced = match ticket {
        Some(ticket) => core.wait(Goal::Durable(ticket)),
        None => core.progress.lock().failed.clone().map_or(Ok(()), Err),
    };
    core.stop_threads();
    if let Some(threads) = threads {
        threads.join();
    }
    let outcome = synced.and_then(|()| match (&*closing, ticket) {
        (Some(failure), _) => Err(Arc::clone(failure)),
        (None, Some(_)) => mark_clean(core),
        (None, None) => Ok(()),
    });
    *closing = outcome.clone().err();
    drop(core.lock.lock().take());
    outcome.map_err(|cause| {
        let from = core.progress.lock().durable_lsn + 1;
        let lsns = LsnSpan::new(Lsn::new(from), Some(Lsn::new(newest)));
        InDoubt { lsns, cause }
    })
}

/// Says in MANIFEST that the log ends here; only where the next life goes on at this very place.
fn mark_clean(core: &Core) -> Result<(), Arc<Failure>> {
    let place = {
        let io = core.io.lock();
        let whole = io.file.is_some() && io.d == io.w;
        let place = core.progress.lock().place;
        (whole && place.off == io.w && place.seq == io.seq).then_some(place)
    };
    let low = core.staging.lock().table.main_low;
    let Some(place) = place else { return Ok(()) };
    let mut marks = core.marks.lock();
    let now = *marks.now();
    let same = now.clean && now.durable_seq == place.seq && now.durable_off == place.off;
    if same && now.main_low >= low {
        return Ok(());
    }
    let marked = marks.write(|m| {
        set_place(m, place);
        m.clean = true;
        m.main_low = m.main_low.max(low);
    });
    marked.map_err(Arc::new)
}

/// Stages a Hole for every damage; the log takes writes from here on.
pub(crate) fn accept(core: &Core, report: &RecoveryReport) -> Result<Given, WriteError> {
    let op = "accept_damage";
    {
        let mut staging = core.staging.lock();
        match staging.gate {
            Gate::Damaged => staging.gate = Gate::Accepting,
            Gate::Open => {
                return Err(WriteError::Invalid { op, why: "the log was opened without damage" });
            }
            _ => staging.check_gate()?,
        }
        let same = report.damage == core.damage;
        if !same || report.durable.as_u64() + 1 != staging.next_lsn {
            staging.gate = Gate::Damaged;
            return Err(WriteError::Invalid { op, why: "the report is of another open" });
        }
    }
    let outcome = stage_holes(core, report);
    if outcome.is_err() {
        let mut staging = core.staging.lock();
        if matches!(staging.gate, Gate::Accepting) {
            staging.gate = Gate::Damaged;
        }
    }
    outcome
}

fn stage_holes(core: &Core, report: &RecoveryReport) -> Result<Given, WriteError> {
    if report.damage.len() + report.accepted.len() > HOLES_MAX {
        let why = "more than 4,096 damaged places";
        return Err(WriteError::Invalid { op: "accept_damage", why });
    }
    restore_manifest(core)?;
    if let Err(failure) = core.prepare_ahead() {
        let failure = Arc::new(failure);
        core.poison(&failure);
        return Err(WriteError::Poisoned(failure));
    }
    // The gate opens in the critical section that stages the holes: whoever writes after them
    // writes behind them (G13).
    let newest = report.durable.as_u64();
    let given = {
        let mut staging = core.staging.lock();
        if matches!(staging.gate, Gate::Accepting) {
            staging.gate = Gate::Open;
        }
        let given = stage_all(&mut staging, core.config.batch_bytes_max, report, newest);
        if given.is_err() && matches!(staging.gate, Gate::Open) {
            staging.gate = Gate::Damaged;
        }
        given
    };
    core.after_stage(&given, false, Ack::Durable);
    given
}

/// In as many batches as it takes.
fn stage_all(
    staging: &mut Staging,
    batch_max: usize,
    report: &RecoveryReport,
    newest: u64,
) -> Result<Given, WriteError> {
    let mut first = None;
    let mut last = None;
    for places in report.damage.chunks((batch_max / HOLE_WORST).max(1)) {
        let mut batch = Batch::new();
        for damage in places {
            batch.push(Op::Hole(hole_of(damage, newest)));
        }
        let given = staging.stage(&batch.ops, &batch.data, batch.bytes(), Ack::Durable)?;
        first.get_or_insert(given.lsns.from);
        last = Some(given);
    }
    let nothing = WriteError::Invalid { op: "accept_damage", why: "the report has no damage" };
    let mut given = last.ok_or(nothing)?;
    given.lsns.from = first.unwrap_or(given.lsns.from);
    Ok(given)
}

/// A hole has an end: numbers given out from here on are not in it.
fn hole_of(damage: &Damage, newest: u64) -> Hole {
    Hole {
        segment: damage.segment,
        from_off: damage.offset,
        to_off: 0,
        from_lsn: damage.lost.from.as_u64(),
        to_lsn: damage.lost.to.map_or(newest, Lsn::as_u64),
    }
}

/// A lost MANIFEST is written anew, now that its loss is accepted.
fn restore_manifest(core: &Core) -> Result<(), WriteError> {
    let mut marks = core.marks.lock();
    if marks.exists() {
        return Ok(());
    }
    let path = core.dir.join("MANIFEST");
    let stopped = |path: PathBuf, source| {
        let failure = Arc::new(Failure::new(FailedOp::Manifest, path, 0, source));
        core.poison(&failure);
        WriteError::Poisoned(failure)
    };
    let now = match create::manifest(core.vfs.as_ref(), &core.dir, marks.now()) {
        Ok(now) => now,
        Err(OpenError::Io { path, source }) => return Err(stopped(path, source)),
        Err(_) => return Err(WriteError::NoSpace { needed: 8192 }),
    };
    let file = match core.vfs.open(&path, OpenMode::Write) {
        Ok(file) => file,
        Err(source) => return Err(stopped(path, source)),
    };
    *marks = Marks::new(Some(file), path, now);
    Ok(())
}
