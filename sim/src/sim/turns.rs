//! Turns of workers, which stand for threads: each has a time of its own beside the tasks.
//!
//! A turn is taken when the time of a sync is over, so that a crash in that time leaves nothing
//! written. If its operations take longer, the worker is busy for the rest, and whoever it woke is
//! woken at the end; what it sent is stamped anyway.

use super::Sim;
use crate::disk::Cost;
use crate::machine::Input;
use crate::panics;
use crate::trace::{Record, What};
use crate::world::Event;
use crate::{SimTime, Violation};
use quorate_wal::Turn;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

impl Sim {
    /// These workers want a turn.
    pub(super) fn schedule_turns(&mut self, place: u32, workers: BTreeMap<usize, SimTime>) {
        let now = self.world.now;
        for (worker, since) in workers {
            let Some(life) = self.life(place) else { return };
            let disk = &life.shared.disk;
            let Some(of) = life.workers.get_mut(worker) else { continue };
            if let Some(ending) = &mut of.ending {
                ending.workers.insert(worker);
            } else if !of.scheduled && of.turn.is_some() {
                of.scheduled = true;
                of.waits = disk.time(Cost::Sync);
                // Not before the line that unparked it.
                let due = since.max(now).saturating_add(of.waits);
                self.turn_event(due, place, Input::Turn { worker });
            }
        }
    }

    fn turn_event(&mut self, at: SimTime, place: u32, input: Input) {
        let life = self.world.machine(place).incarnation;
        self.world.events.push(at, Event::Input { place, life, input });
    }

    /// A worker's turn: its time is over, now it does what it took that time for.
    pub(super) fn take_turn(&mut self, place: u32, worker: usize) -> Result<(), Violation> {
        self.world.handled += 1;
        let now = self.world.now;
        let Some(life) = self.life(place) else { return Ok(()) };
        let shared = Arc::clone(&life.shared);
        let Some(of) = life.workers.get_mut(worker) else { return Ok(()) };
        // A stall is waited for before anything is written, too.
        let stall = shared.disk.take_stall();
        if !stall.is_zero() {
            self.turn_event(now.saturating_add(stall), place, Input::Turn { worker });
            return Ok(());
        }
        of.scheduled = false;
        life.polls = 0;
        let waited = of.waits;
        let Some(mut turn) = of.turn.take() else { return Ok(()) };
        let record = Record::new(now, What::Completion, shared.id);
        self.world.trace.record(record.size(worker as u64, 0));
        // What others did at this moment took their time.
        self.world.set_now(now);
        let machine = self.world.machine_mut(place);
        machine.spent = 0;
        machine.stand(now);
        shared.disk.prepay(waited);
        shared.executor.hold();
        let ran = panics::caught(|| (turn(), turn));
        shared.disk.prepay(Duration::ZERO);
        let ran = ran.map(|(turned, turn)| {
            if let Some(of) = self.life(place).and_then(|life| life.workers.get_mut(worker)) {
                of.turn = (turned != Turn::Done).then_some(turn);
            }
            if turned == Turn::Again {
                shared.executor.unpark(worker);
            }
        });
        let (woken, until) = (shared.executor.take_held(), self.world.handler_time(place));
        if until == now {
            shared.executor.release(woken);
        } else if let Some(of) = self.life(place).and_then(|life| life.workers.get_mut(worker)) {
            of.ending = Some(woken);
            self.turn_event(until, place, Input::TurnEnd { worker });
        }
        self.end_tasks(place, ran)
    }

    /// A turn that took longer than was thought is over: now others hear of it.
    pub(super) fn end_turn(&mut self, place: u32, worker: usize) -> Result<(), Violation> {
        self.world.handled += 1;
        self.world.set_now(self.world.now);
        let Some(life) = self.life(place) else { return Ok(()) };
        let Some(of) = life.workers.get_mut(worker) else { return Ok(()) };
        let woken = of.ending.take().unwrap_or_default();
        life.shared.executor.release(woken);
        self.look(place)
    }
}
