//! [`Dedup`]: which idempotent calls were run already, and what was answered.
//!
//! One table per endpoint. A call is named by its caller (node and incarnation), the caller's
//! session and a sequence. The table decides whether to run it, to wait for the run that is going
//! on, to repeat the answer, or to say that it is not known any more. // H37

use crate::{InboundCall, Incarnation, NodeId};
use bytes::Bytes;
use quorate_clocks::Monotonic;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// Sessions are kept at least this long after their last call.
const SESSION_IDLE: Duration = Duration::from_secs(60);
/// Calls that wait for the answer of one that runs. Their caller makes one try after the other, and
/// those whose session ended do not count.
const ATTACHED_MAX: usize = 16;

/// Bytes of the prefix in front of the payload.
pub(crate) const PREFIX: usize = 32;

/// What an idempotent call says of itself, in front of its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Prefix {
    /// The caller's session.
    pub(crate) session: u128,
    /// Rises with each call of the session.
    pub(crate) sequence: u64,
    /// The life of the receiver that may have run it already; 0: none.
    pub(crate) incarnation: Incarnation,
}

impl Prefix {
    pub(crate) fn encode(&self) -> [u8; PREFIX] {
        let mut out = [0; PREFIX];
        out[..16].copy_from_slice(&self.session.to_le_bytes());
        out[16..24].copy_from_slice(&self.sequence.to_le_bytes());
        out[24..].copy_from_slice(&self.incarnation.value().to_le_bytes());
        out
    }

    pub(crate) fn decode(body: &[u8]) -> Option<Self> {
        let raw = body.first_chunk::<PREFIX>()?;
        let word = |at: usize| -> [u8; 8] { std::array::from_fn(|i| raw[at + i]) };
        Some(Self {
            session: u128::from_le_bytes(std::array::from_fn(|i| raw[i])),
            sequence: u64::from_le_bytes(word(16)),
            incarnation: Incarnation::new(u64::from_le_bytes(word(24))),
        })
    }
}

/// Limits of the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DedupLimits {
    pub(crate) sessions_max: usize,
    pub(crate) window: u64,
    pub(crate) reply_bytes_max: usize,
}

/// What is to be done with a call.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// Give it to the component; [`Dedup::complete`] or another end must follow.
    Run,
    /// The same call is being run: its answer goes to this one, too.
    Attached,
    /// It was run: this was the answer.
    Answered(Bytes),
    /// Another life of this node may have run it.
    Restarted,
    /// It may have been run, and what was answered is not known any more.
    Forgotten,
    /// There is no room for another session, or too many wait for the run that is going on. This
    /// call was not executed.
    Overloaded,
}

/// Counters of the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct DedupStats {
    pub(crate) hits: u64,
    pub(crate) forgotten: u64,
    pub(crate) restarted: u64,
    pub(crate) overloaded: u64,
    pub(crate) sessions: u64,
    pub(crate) evicted: u64,
    pub(crate) reply_bytes: u64,
}

type Key = (NodeId, Incarnation, u128);

#[derive(Debug)]
pub(crate) struct Dedup {
    me: Incarnation,
    limits: DedupLimits,
    sessions: BTreeMap<Key, Session>,
    /// Sessions without a running call by their last call: the first one makes room.
    idle: BTreeSet<(Monotonic, Key)>,
    /// Stored answers, oldest first; an entry without an answer any more is skipped.
    answers: VecDeque<(Key, u64)>,
    /// Answers stored now, and their bytes.
    stored: usize,
    bytes: usize,
    stats: DedupStats,
}

#[derive(Debug, Default)]
struct Session {
    last_call: Monotonic,
    highest: u64,
    /// How many of `calls` are being run.
    running: usize,
    calls: BTreeMap<u64, Entry>,
}

#[derive(Debug)]
enum Entry {
    /// Being run; these calls want the answer as well.
    Running(Vec<Arc<InboundCall>>),
    Answered(Bytes),
    /// It may have had an effect, and there is no answer.
    Lost,
}

fn name(call: &InboundCall, prefix: Prefix) -> (Key, u64) {
    let from = call.from();
    ((from.node, from.incarnation, prefix.session), prefix.sequence)
}

impl Dedup {
    pub(crate) fn new(me: Incarnation, limits: DedupLimits) -> Self {
        Self {
            me,
            limits,
            sessions: BTreeMap::new(),
            idle: BTreeSet::new(),
            answers: VecDeque::new(),
            stored: 0,
            bytes: 0,
            stats: DedupStats::default(),
        }
    }

    pub(crate) fn stats(&self) -> DedupStats {
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        DedupStats {
            sessions: count(self.sessions.len()),
            reply_bytes: count(self.bytes),
            ..self.stats
        }
    }

    /// A call came in.
    pub(crate) fn begin(
        &mut self,
        now: Monotonic,
        call: &Arc<InboundCall>,
        prefix: Prefix,
    ) -> Verdict {
        let retried = prefix.incarnation.value() != 0;
        if retried && prefix.incarnation != self.me && !crate::mutant::on("dedup_any_incarnation") {
            self.stats.restarted += 1;
            return Verdict::Restarted;
        }
        let (key, sequence) = name(call, prefix);
        if !self.sessions.contains_key(&key) {
            if retried && self.stats.evicted > 0 {
                // It may have been run in a session that had to make room.
                self.stats.forgotten += 1;
                return Verdict::Forgotten;
            }
            if self.sessions.len() >= self.limits.sessions_max && !self.evict(now) {
                self.stats.overloaded += 1;
                return Verdict::Overloaded;
            }
        }
        let window = self.limits.window;
        let session = self.sessions.entry(key).or_default();
        if session.running == 0 {
            self.idle.remove(&(session.last_call, key));
        }
        session.last_call = now;
        let verdict = session.look_up(sequence, call, window);
        if session.running == 0 {
            self.idle.insert((now, key));
        }
        match &verdict {
            Verdict::Attached | Verdict::Answered(_) => self.stats.hits += 1,
            Verdict::Forgotten => self.stats.forgotten += 1,
            Verdict::Run => self.forget_below(key),
            Verdict::Overloaded => self.stats.overloaded += 1,
            Verdict::Restarted => {}
        }
        verdict
    }

    /// Removes the session that is idle the longest, if it is for long enough.
    fn evict(&mut self, now: Monotonic) -> bool {
        let Some(&(last_call, key)) = self.idle.first() else { return false };
        if now.since(last_call) <= SESSION_IDLE {
            return false;
        }
        self.idle.pop_first();
        if let Some(session) = self.sessions.remove(&key) {
            session.calls.into_values().for_each(|entry| self.discount(&entry));
        }
        self.stats.evicted += 1;
        true
    }

    /// What fell out of the window of a session is not remembered, unless it is still running.
    fn forget_below(&mut self, key: Key) {
        let Some(session) = self.sessions.get_mut(&key) else { return };
        let old = session.calls.range(..=session.low_water(self.limits.window));
        let over = old.filter(|(_, entry)| !matches!(entry, Entry::Running(_)));
        let over: Vec<u64> = over.map(|(sequence, _)| *sequence).collect();
        let gone: Vec<Entry> = over.iter().filter_map(|s| session.calls.remove(s)).collect();
        gone.iter().for_each(|entry| self.discount(entry));
    }

    fn discount(&mut self, entry: &Entry) {
        if let Entry::Answered(answer) = entry {
            self.stored -= 1;
            self.bytes -= answer.len();
        }
    }

    /// The component answered: stores the answer and gives the other calls that want it.
    pub(crate) fn complete(
        &mut self,
        call: &InboundCall,
        prefix: Prefix,
        answer: &Bytes,
    ) -> Vec<Arc<InboundCall>> {
        let (key, sequence) = name(call, prefix);
        let keeps = answer.len() <= self.limits.reply_bytes_max;
        let entry = if keeps { Entry::Answered(answer.clone()) } else { Entry::Lost };
        let attached = self.end(key, sequence, entry);
        self.trim();
        attached
    }

    /// The component gave no answer and may have done something: it must not run again. // H38
    pub(crate) fn abandon(&mut self, call: &InboundCall, prefix: Prefix) -> Vec<Arc<InboundCall>> {
        let (key, sequence) = name(call, prefix);
        self.end(key, sequence, Entry::Lost)
    }

    /// It surely had no effect: it may be tried again.
    pub(crate) fn release(&mut self, call: &InboundCall, prefix: Prefix) -> Vec<Arc<InboundCall>> {
        let (key, sequence) = name(call, prefix);
        self.take_running(key, sequence).unwrap_or_default()
    }

    /// Ends a run: whoever waits for its answer, or `None` if there is no such run.
    fn take_running(&mut self, key: Key, sequence: u64) -> Option<Vec<Arc<InboundCall>>> {
        let session = self.sessions.get_mut(&key)?;
        let entry = session.calls.get_mut(&sequence)?;
        let Entry::Running(attached) = entry else { return None };
        let attached = std::mem::take(attached);
        session.calls.remove(&sequence);
        session.running -= 1;
        if session.running == 0 {
            self.idle.insert((session.last_call, key));
        }
        Some(attached)
    }

    fn attached(
        &mut self,
        call: &InboundCall,
        prefix: Prefix,
    ) -> Option<&mut Vec<Arc<InboundCall>>> {
        let (key, sequence) = name(call, prefix);
        match self.sessions.get_mut(&key)?.calls.get_mut(&sequence)? {
            Entry::Running(attached) => Some(attached),
            Entry::Answered(_) | Entry::Lost => None,
        }
    }

    /// One of those that wait for the answer of this call.
    pub(crate) fn first_attached(
        &mut self,
        call: &InboundCall,
        prefix: Prefix,
    ) -> Option<Arc<InboundCall>> {
        self.attached(call, prefix)?.first().cloned()
    }

    /// Nobody waits for the answer to this very call any more: its caller gave up, or its session
    /// ended. The run it is attached to goes on.
    pub(crate) fn detach(&mut self, call: &Arc<InboundCall>, prefix: Prefix) {
        if let Some(attached) = self.attached(call, prefix) {
            attached.retain(|other| !Arc::ptr_eq(other, call));
        }
    }

    fn end(&mut self, key: Key, sequence: u64, entry: Entry) -> Vec<Arc<InboundCall>> {
        let window = self.limits.window;
        let Some(attached) = self.take_running(key, sequence) else { return Vec::new() };
        let Some(session) = self.sessions.get_mut(&key) else { return attached };
        if sequence > session.low_water(window) {
            if let Entry::Answered(answer) = &entry {
                self.stored += 1;
                self.bytes += answer.len();
                self.answers.push_back((key, sequence));
            }
            session.calls.insert(sequence, entry);
        }
        attached
    }

    /// Drops stored answers, oldest first, until they fit. // H37
    fn trim(&mut self) {
        while self.bytes > self.limits.reply_bytes_max {
            let Some((key, sequence)) = self.answers.pop_front() else { return };
            let calls = self.sessions.get_mut(&key).map(|session| &mut session.calls);
            let Some(entry) = calls.and_then(|calls| calls.get_mut(&sequence)) else { continue };
            if matches!(entry, Entry::Answered(_)) {
                let answer = std::mem::replace(entry, Entry::Lost);
                self.discount(&answer);
            }
        }
        // Names of answers that went otherwise must not pile up.
        if self.answers.len() > 2 * self.stored + 64 {
            let sessions = &self.sessions;
            self.answers.retain(|(key, sequence)| {
                let entry = sessions.get(key).and_then(|s| s.calls.get(sequence));
                matches!(entry, Some(Entry::Answered(_)))
            });
        }
    }
}

impl Session {
    /// The highest sequence that is not remembered any more; `None` yet: 0 stands for nothing.
    const fn low_water(&self, window: u64) -> u64 {
        self.highest.saturating_sub(window)
    }

    fn look_up(&mut self, sequence: u64, call: &Arc<InboundCall>, window: u64) -> Verdict {
        let low = self.low_water(window);
        match self.calls.get_mut(&sequence) {
            Some(Entry::Running(attached)) if attached.len() >= ATTACHED_MAX => Verdict::Overloaded,
            Some(Entry::Running(attached)) => {
                attached.push(call.clone());
                Verdict::Attached
            }
            Some(Entry::Answered(answer)) => Verdict::Answered(answer.clone()),
            Some(Entry::Lost) => Verdict::Forgotten,
            None if sequence <= low => Verdict::Forgotten,
            None => {
                self.highest = self.highest.max(sequence);
                self.running += 1;
                self.calls.insert(sequence, Entry::Running(Vec::new()));
                Verdict::Run
            }
        }
    }
}
