//! Random small histories: of a service that does one thing at a time, then perhaps spoilt.

use quorate_sim::{Event, History, Outcome, Recorder, Rng, SimTime};

use super::models::{Model, Op, Ret};

/// What happened to an operation.
pub(crate) struct Asked<M: Model> {
    pub(crate) process: u64,
    pub(crate) op: Op<M>,
    /// Where its events stand, and how it ended.
    pub(crate) invoked: usize,
    pub(crate) ended: Option<(usize, Outcome<Ret<M>>)>,
}

impl<M: Model> Clone for Asked<M> {
    fn clone(&self) -> Self {
        Self { op: self.op.clone(), ended: self.ended.clone(), ..*self }
    }
}

/// A history as the tests see it.
#[derive(Clone)]
pub(crate) struct Play<M: Model> {
    pub(crate) asked: Vec<Asked<M>>,
    pub(crate) events: usize,
}

impl<M: Model> Play<M> {
    /// At most `most` operations of up to four processes.
    pub(crate) fn random(rng: &mut Rng, most: u64) -> Self {
        let count = rng.index(usize::try_from(most).unwrap()) + 1;
        let processes = rng.between(1, 4);
        let mut play = Self { asked: Vec::new(), events: 0 };
        let mut service = M::default();
        // Operations that may still happen, and what they answered, if they did.
        let mut pending: Vec<(usize, Option<Ret<M>>)> = Vec::new();
        let mut busy: Vec<Option<usize>> = vec![None; usize::try_from(processes).unwrap()];
        let mut quiet = 0;
        while quiet < 12 {
            quiet += 1;
            let process = rng.below(processes);
            let slot = &mut busy[usize::try_from(process).unwrap()];
            // Something takes effect, also of those whose process gave up waiting.
            if rng.chance(400_000) {
                let at = rng.index(pending.len());
                if let Some((id, done @ None)) = pending.get_mut(at) {
                    *done = service.run(&play.asked[*id].op);
                }
            }
            match *slot {
                None if play.asked.len() < count => {
                    let op = M::ask(rng, process);
                    *slot = Some(play.asked.len());
                    pending.push((play.asked.len(), None));
                    play.asked.push(Asked { process, op, invoked: play.events, ended: None });
                }
                Some(id) if rng.chance(600_000) => {
                    let at = pending.iter().position(|(other, _)| *other == id).unwrap();
                    let outcome = match (&pending[at].1, rng.below(10)) {
                        (_, 0) => Outcome::Unknown,
                        (Some(ret), _) => Outcome::Ok(ret.clone()),
                        (None, 1..=3) => Outcome::Fail,
                        _ => continue,
                    };
                    if outcome != Outcome::Unknown {
                        pending.remove(at);
                    }
                    *slot = None;
                    play.asked[id].ended = Some((play.events, outcome));
                }
                _ => continue,
            }
            play.events += 1;
            quiet = 0;
        }
        if rng.chance(850_000) {
            play.spoil(rng);
        }
        play
    }

    /// Makes one answer a lie, or an outcome one.
    fn spoil(&mut self, rng: &mut Rng) {
        for _ in 0..=rng.below(4) {
            let at = rng.index(self.asked.len());
            let asked = &mut self.asked[at];
            if let Some((_, outcome)) = &mut asked.ended {
                *outcome = match rng.below(8) {
                    0 => Outcome::Fail,
                    1 => Outcome::Unknown,
                    _ => Outcome::Ok(M::lie(rng, &asked.op)),
                };
            }
        }
    }

    /// Its first events: what ends later is open.
    pub(crate) fn prefix(&self, events: usize) -> Self {
        let began = self.asked.iter().filter(|asked| asked.invoked < events);
        let asked = began.map(|asked| {
            let ended = asked.ended.clone().filter(|(at, _)| *at < events);
            Asked { ended, ..asked.clone() }
        });
        Self { asked: asked.collect(), events }
    }

    /// Recorded, one nanosecond from event to event.
    pub(crate) fn history(&self) -> History<Op<M>, Ret<M>> {
        let recorder = Recorder::new();
        let mut ids = Vec::new();
        for event in 0..self.events {
            let now = SimTime::from_nanos(u64::try_from(event).unwrap());
            for (at, asked) in self.asked.iter().enumerate() {
                if asked.invoked == event {
                    assert_eq!(at, ids.len());
                    ids.push(recorder.invoke(now, asked.process, asked.op.clone()));
                }
                match &asked.ended {
                    Some((end, Outcome::Ok(ret))) if *end == event => {
                        recorder.ok(ids[at], now, ret.clone());
                    }
                    Some((end, Outcome::Fail)) if *end == event => recorder.fail(ids[at], now),
                    Some((end, _)) if *end == event => recorder.unknown(ids[at], now),
                    _ => {}
                }
            }
        }
        let history = recorder.history();
        assert_eq!(history.events().count(), self.events);
        let begins = history.events().filter(|event| matches!(event, Event::Invoke(_)));
        assert_eq!(begins.count(), self.asked.len());
        history
    }
}
