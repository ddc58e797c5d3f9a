//! [`Step`]: some entries, applied. Requests that sessions repeat are answered from the table and
//! never reach the machine. (5.7)

use crate::error::ProposeError;
use crate::machine::{Batch, Replies, StateMachine};
use crate::session::{SessionTable, SessionVerdict};
use crate::{Entry, EntryBody, LogId, LogIndex, SessionId};
use bytes::Bytes;
use std::ops::AddAssign;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// What whoever proposed an entry that is applied now is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Reply(Bytes),
    /// A repetition of what was applied, whose reply was not kept.
    ReplyLost,
    /// It stands in the log and does nothing.
    Refused(ProposeError),
}

/// Entries with what became of them; none: nobody can ask.
pub(super) type Answers = Vec<(LogId, Option<Answer>)>;

/// What sessions asked for in vain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Repeats {
    pub(super) answered: u64,
    pub(super) refused: u64,
}

impl AddAssign for Repeats {
    fn add_assign(&mut self, other: Self) {
        self.answered += other.answered;
        self.refused += other.refused;
    }
}

/// What a step gave.
#[derive(Debug, Default)]
pub(super) struct Done {
    pub(super) answers: Answers,
    pub(super) repeats: Repeats,
    /// The entries that the machine was given, if they are to be noted.
    pub(super) given: Vec<LogIndex>,
}

/// Who asked for an entry that is the machine's.
struct Asked {
    /// Of which session, with its number there.
    request: Option<(SessionId, u64)>,
    /// Where its answer belongs.
    slot: usize,
}

/// Machine and sessions, going through entries together.
pub(super) struct Step<'a, 'e, M> {
    machine: &'a mut M,
    sessions: &'a mut SessionTable,
    /// The machine has these entries already.
    has: LogIndex,
    done: Done,
    given: Vec<Entry<'e>>,
    /// Of those, in the same order.
    asked: Vec<Asked>,
    keeps_answers: bool,
    notes_given: bool,
}

impl<'a, 'e, M: StateMachine> Step<'a, 'e, M> {
    pub(super) fn new(machine: &'a mut M, sessions: &'a mut SessionTable, has: LogIndex) -> Self {
        Self {
            machine,
            sessions,
            has,
            done: Done::default(),
            given: Vec::new(),
            asked: Vec::new(),
            keeps_answers: true,
            notes_given: false,
        }
    }

    /// Nobody here waits for what becomes of the entries.
    pub(super) const fn forget_answers(&mut self) {
        self.keeps_answers = false;
    }

    /// Says afterwards what the machine was given.
    pub(super) const fn note_given(&mut self) {
        self.notes_given = true;
    }

    /// Applies `entries`.
    ///
    /// The machine gets them in few batches; what it is given and what the sessions become depends
    /// on the order of entries alone, not on where steps or batches end.
    pub(super) fn apply(mut self, entries: &[Entry<'e>]) -> Result<Done, Arc<str>> {
        self.given.reserve(entries.len());
        self.asked.reserve(entries.len());
        if self.keeps_answers {
            self.done.answers.reserve(entries.len());
        }
        for entry in entries {
            let answer = match entry.body() {
                Some(EntryBody::Normal(_)) => {
                    self.give(entry, None);
                    None
                }
                Some(EntryBody::Session { session, seq, ack, .. }) => {
                    self.request(entry, (session, seq), ack)?
                }
                Some(EntryBody::Open(limits)) => {
                    self.sessions.open(entry.id.index, time_of(entry), &limits);
                    None
                }
                Some(EntryBody::Close(id)) => {
                    self.sessions.close(time_of(entry), id);
                    None
                }
                _ => None,
            };
            if self.keeps_answers {
                self.done.answers.push((entry.id, answer));
            }
        }
        self.run()?;
        Ok(self.done)
    }

    /// Asks the table about a request; what is new is given to the machine.
    fn request(
        &mut self,
        entry: &Entry<'e>,
        (session, seq): (SessionId, u64),
        ack: u64,
    ) -> Result<Option<Answer>, Arc<str>> {
        let mut verdict = self.sessions.request(time_of(entry), session, seq, ack);
        if verdict == SessionVerdict::Pending {
            // Repeated within one batch: the first one's reply is needed now.
            self.run()?;
            verdict = self.sessions.request(time_of(entry), session, seq, ack);
        }
        let answer = match verdict {
            SessionVerdict::Apply => {
                self.give(entry, Some((session, seq)));
                return Ok(None);
            }
            SessionVerdict::Repeated(_) if crate::plant::planted("session_repeat_as_new") => {
                self.give(entry, None);
                return Ok(None);
            }
            SessionVerdict::Repeated(reply) => Answer::Reply(reply),
            SessionVerdict::ReplyLost => Answer::ReplyLost,
            SessionVerdict::Refused(why) => {
                self.done.repeats.refused += 1;
                return Ok(Some(Answer::Refused(why)));
            }
            SessionVerdict::Pending => return Err("a request was applied without a reply".into()),
        };
        self.done.repeats.answered += 1;
        Ok(Some(answer))
    }

    /// The next entry is the machine's, unless it has it.
    fn give(&mut self, entry: &Entry<'e>, request: Option<(SessionId, u64)>) {
        if entry.id.index > self.has {
            let slot = self.done.answers.len();
            self.given.push(*entry);
            self.asked.push(Asked { request, slot });
        } else if let Some((session, seq)) = request {
            self.sessions.answered_before(session, seq);
        }
    }

    /// The machine applies what it was given.
    fn run(&mut self) -> Result<(), Arc<str>> {
        if self.given.is_empty() {
            return Ok(());
        }
        let given = core::mem::take(&mut self.given);
        let wanted = given.len();
        if self.notes_given {
            self.done.given.extend(given.iter().map(|e| e.id.index));
        }
        let mut replies = Replies::with_capacity(wanted);
        catch_unwind(AssertUnwindSafe(|| self.machine.apply(Batch::of(given), &mut replies)))
            .map_err(|_| "the machine panicked in apply")?;
        let found = replies.len();
        if found != wanted {
            return Err(format!("the machine gave {found} replies to {wanted} entries").into());
        }
        for (asked, reply) in self.asked.drain(..).zip(replies.take()) {
            if let Some((session, seq)) = asked.request {
                self.sessions.answered(session, seq, &reply);
            }
            if let Some((_, answer)) = self.done.answers.get_mut(asked.slot) {
                *answer = Some(Answer::Reply(reply));
            }
        }
        Ok(())
    }
}

/// The time that sessions expire by: the group's, the same on every replica and in every replay.
/// // H40
fn time_of(entry: &Entry<'_>) -> u64 {
    #[cfg(mutant)]
    if crate::plant::planted("session_expiry_local_clock") {
        return local_ms();
    }
    entry.time_ms
}

/// What a replica must not ask.
#[cfg(mutant)]
#[expect(clippy::disallowed_methods, reason = "the planted bug is that it looks at a clock")]
fn local_ms() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::SnapshotSource;
    use crate::session::SessionLimits;
    use crate::{Block, GroupId, Limits, Proposal, Term};
    use core::time::Duration;
    use proptest::prelude::*;
    use std::io;

    /// Replies with how many entries it has seen.
    #[derive(Default)]
    struct Seen(Vec<Vec<u8>>);

    impl StateMachine for Seen {
        fn apply(&mut self, batch: Batch<'_>, out: &mut Replies) {
            for entry in batch {
                self.0.push(entry.data.to_vec());
                out.push(self.0.len().to_string());
            }
        }

        fn snapshot(&self) -> io::Result<Box<dyn SnapshotSource>> {
            Err(io::ErrorKind::Unsupported.into())
        }

        fn restore(&mut self, _: &mut dyn io::Read) -> io::Result<()> {
            Err(io::ErrorKind::Unsupported.into())
        }
    }

    fn block(bodies: &[EntryBody<'_>]) -> Block {
        let mut p = Proposal::new(&Limits::default());
        bodies.iter().for_each(|body| p.push(*body).unwrap());
        p.stamp(GroupId::new(1), Term::new(1), LogId::ZERO, 0)
    }

    /// Applies `block` in steps of `each` entries.
    fn run(block: &Block, each: usize, has: u64) -> (Seen, SessionTable, Answers, Repeats) {
        let (mut machine, mut sessions) = (Seen::default(), SessionTable::new());
        let (mut answers, mut repeats) = (Vec::new(), Repeats::default());
        let entries: Vec<Entry<'_>> = block.iter().collect();
        for entries in entries.chunks(each) {
            let step = Step::new(&mut machine, &mut sessions, LogIndex::new(has));
            let done = step.apply(entries).unwrap();
            answers.extend(done.answers);
            repeats += done.repeats;
        }
        (machine, sessions, answers, repeats)
    }

    fn body() -> impl Strategy<Value = (u8, u64, u64, u64)> {
        (0_u8..12, 1_u64..4, 1_u64..6, 0_u64..6)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        /// Replicas apply in batches of their own sizes; state, sessions and answers are the same.
        #[test]
        fn where_batches_end_makes_no_difference(bodies in prop::collection::vec(body(), 1..60)) {
            let limits = SessionLimits::new(Duration::from_secs(1)).sessions_max(2).window(3);
            let of = |(kind, session, seq, ack): &(u8, u64, u64, u64)| match kind {
                0 => EntryBody::Open(limits),
                1 => EntryBody::Close(SessionId::new(*session)),
                2 => EntryBody::Normal(b"plain"),
                3 => EntryBody::Noop,
                _ => EntryBody::Session {
                    session: SessionId::new(*session),
                    seq: *seq,
                    ack: (*ack).min(seq - 1),
                    data: b"asked",
                },
            };
            let bodies: Vec<EntryBody<'_>> =
                [EntryBody::Open(limits); 2].into_iter().chain(bodies.iter().map(of)).collect();
            let block = block(&bodies);
            let (machine, sessions, answers, repeats) = run(&block, 1, 0);
            for each in [2, 7, 64] {
                let again = run(&block, each, 0);
                prop_assert_eq!(&again.0.0, &machine.0);
                prop_assert_eq!(&again.1, &sessions);
                prop_assert_eq!(&again.2, &answers);
                prop_assert_eq!(again.3, repeats);
            }
        }
    }

    #[test]
    fn what_the_machine_was_given_is_noted_without_repetitions() {
        let request =
            EntryBody::Session { session: SessionId::new(1), seq: 1, ack: 0, data: b"asked" };
        let open = EntryBody::Open(SessionLimits::new(Duration::from_secs(1)));
        let block = block(&[open, request, request, EntryBody::Normal(b"plain")]);
        let (mut machine, mut sessions) = (Seen::default(), SessionTable::new());
        let mut step = Step::new(&mut machine, &mut sessions, LogIndex::ZERO);
        step.note_given();
        let done = step.apply(&block.iter().collect::<Vec<_>>()).unwrap();
        assert_eq!(done.given, [LogIndex::new(2), LogIndex::new(4)]);
    }

    /// A machine that keeps its own state has the request already; its session must know that.
    #[test]
    fn what_the_machine_has_is_not_applied_to_it_again_but_counts_for_its_session() {
        let request =
            EntryBody::Session { session: SessionId::new(1), seq: 1, ack: 0, data: b"asked" };
        let open = EntryBody::Open(SessionLimits::new(Duration::from_secs(1)));
        let block = block(&[open, request, EntryBody::Normal(b"plain"), request]);
        let (machine, _, answers, repeats) = run(&block, 2, 2);
        assert_eq!(machine.0, [b"plain"]);
        assert_eq!(answers[3].1, Some(Answer::ReplyLost));
        assert_eq!(repeats, Repeats { answered: 1, refused: 0 });
    }
}
