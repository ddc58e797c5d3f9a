//! [`LogView`]: what a replica knows of its log without reading it: where it starts and ends, the
//! term of every entry, how far it is committed, handed out, durable and applied, and the newest
//! blocks.

use crate::error::Invariant;
use crate::{Block, LogId, LogIndex, SnapshotMeta, Term};
use core::hash::{Hash, Hasher};
use std::collections::VecDeque;

/// Consecutive entries of one term: from `first` to the entry before the next run.
///
/// # Examples
/// ```
/// use quorate_raft::{LogIndex, Term, TermRun};
/// let run = TermRun::new(LogIndex::new(1), Term::new(1));
/// assert_eq!(run.first.value(), 1);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TermRun {
    /// First index of the run.
    pub first: LogIndex,
    /// The term of its entries.
    pub term: Term,
}

impl TermRun {
    /// A run of `term` from `first`.
    #[must_use]
    pub const fn new(first: LogIndex, term: Term) -> Self {
        Self { first, term }
    }
}

/// The answer to "give me the blocks from here".
#[derive(Debug)]
pub(crate) enum Slice {
    /// In memory.
    Blocks(Vec<Block>),
    /// Only in the store: ask for them.
    Stored,
    /// Behind the end of the log.
    Empty,
}

#[derive(Clone, Debug)]
pub(crate) struct LogView {
    /// Everything up to here is compacted away; the term is kept for the consistency check.
    start: LogId,
    runs: Vec<TermRun>,
    last: LogId,
    /// The end of the log, contiguous up to `last`.
    blocks: VecDeque<Block>,
    cached_bytes: u64,
    /// Membership changes in the log, as far as their blocks were seen in this life.
    changes: VecDeque<LogIndex>,
    /// Entries before this were not seen: any may be a change.
    changes_known_from: LogIndex,
    /// Group time of the newest block that left the cache.
    evicted_time_ms: u64,
    pub(crate) commit: LogIndex,
    /// Handed out for application.
    pub(crate) applying: LogIndex,
    pub(crate) applied: LogIndex,
    /// Handed out to the store.
    pub(crate) handed: LogIndex,
    /// Known durable on the local disk.
    pub(crate) durable: LogIndex,
    /// A snapshot that replaces the log, until the store has it.
    pub(crate) pending_snapshot: Option<SnapshotMeta>,
    pub(crate) snapshot_handed: bool,
}

impl LogView {
    /// The view of a stored log. `blocks` are the newest ones the store had at hand, ending at
    /// `last`.
    pub(crate) fn new(start: LogId, runs: Vec<TermRun>, last: LogId, blocks: Vec<Block>) -> Self {
        let cached_bytes = blocks.iter().map(|b| b.as_bytes().len() as u64).sum();
        let changes = blocks.iter().flat_map(Block::changes).collect();
        let changes_known_from = blocks.first().map_or_else(|| last.index.next(), Block::first);
        Self {
            changes,
            changes_known_from,
            start,
            runs,
            last,
            blocks: blocks.into(),
            cached_bytes,
            evicted_time_ms: 0,
            commit: start.index,
            applying: start.index,
            applied: start.index,
            handed: last.index,
            durable: last.index,
            pending_snapshot: None,
            snapshot_handed: false,
        }
    }

    pub(crate) const fn last(&self) -> LogId {
        self.last
    }

    pub(crate) const fn start(&self) -> LogId {
        self.start
    }

    pub(crate) const fn first_index(&self) -> LogIndex {
        self.start.index.next()
    }

    /// Group time of the last entry.
    pub(crate) fn time_ms(&self) -> u64 {
        self.blocks.back().map_or(self.evicted_time_ms, Block::time_ms)
    }

    pub(crate) const fn set_start_time(&mut self, time_ms: u64) {
        self.evicted_time_ms = time_ms;
    }

    /// The term of the entry at `index`; of the compaction point too, `None` outside of the log.
    pub(crate) fn term(&self, index: LogIndex) -> Option<Term> {
        if index == self.start.index {
            return Some(self.start.term);
        }
        if index < self.start.index || index > self.last.index {
            return None;
        }
        let behind = self.runs.partition_point(|run| run.first <= index);
        self.runs.get(behind.checked_sub(1)?).map(|run| run.term)
    }

    pub(crate) fn contains(&self, id: LogId) -> bool {
        self.term(id.index) == Some(id.term)
    }

    /// The largest index ≤ `index` whose term is ≤ `term`, with its term; (i, 0) if the search
    /// meets the compacted part first.
    pub(crate) fn conflict_hint(&self, index: LogIndex, term: Term) -> LogId {
        let mut i = index;
        while i > LogIndex::ZERO {
            match self.term(i) {
                None => return LogId::of(Term::ZERO, i),
                Some(own) if own <= term => return LogId::of(own, i),
                // The whole run has this term: go on before it.
                Some(_) => i = self.run_start(i).prev(),
            }
        }
        LogId::ZERO
    }

    fn run_start(&self, index: LogIndex) -> LogIndex {
        let behind = self.runs.partition_point(|run| run.first <= index);
        // Only the compaction point itself lies before all runs.
        behind.checked_sub(1).and_then(|i| self.runs.get(i)).map_or(index, |run| run.first)
    }

    /// Adds a block right behind the end.
    pub(crate) fn append(&mut self, block: Block) {
        debug_assert_eq!(block.first(), self.last.index.next(), "blocks are contiguous");
        debug_assert!(block.term() >= self.last.term, "terms never fall along the log");
        if self.runs.last().is_none_or(|run| run.term != block.term()) {
            self.runs.push(TermRun::new(block.first(), block.term()));
        }
        self.last = block.last();
        self.changes.extend(block.changes());
        self.cached_bytes += block.as_bytes().len() as u64;
        self.blocks.push_back(block);
    }

    /// A follower's append (R10): keeps what agrees, replaces from the first entry that differs,
    /// never shortens the log for entries that are merely missing from the message. // H4
    pub(crate) fn merge(&mut self, blocks: Vec<Block>) -> Result<(), Invariant> {
        for block in blocks {
            let Some(at) = self.first_mismatch(&block) else {
                if crate::plant::planted("truncate_on_short_append") {
                    self.truncate_from(block.last().index.next());
                }
                continue;
            };
            if at <= self.commit {
                return Err(Invariant::CommittedConflict { at, commit: self.commit });
            }
            self.truncate_from(at);
            if let Some(rest) = block.suffix(at) {
                self.append(rest);
            }
        }
        Ok(())
    }

    /// The first index of `block` that is missing here or has another term.
    fn first_mismatch(&self, block: &Block) -> Option<LogIndex> {
        let mut i = block.first();
        while i <= block.last().index {
            // Entries at or below the compaction point are committed: they agree.
            if i > self.start.index && self.term(i) != Some(block.term()) {
                return Some(i);
            }
            i = self.run_end(i).next();
        }
        None
    }

    fn run_end(&self, index: LogIndex) -> LogIndex {
        if index <= self.start.index {
            return self.start.index;
        }
        let behind = self.runs.partition_point(|run| run.first <= index);
        self.runs.get(behind).map_or(self.last.index, |next| next.first.prev())
    }

    fn truncate_from(&mut self, at: LogIndex) {
        if at > self.last.index {
            return;
        }
        let keep = at.prev();
        while let Some(block) = self.blocks.back().filter(|b| b.last().index >= at) {
            self.cached_bytes -= block.as_bytes().len() as u64;
            let kept = block.prefix(keep);
            self.blocks.pop_back();
            if let Some(kept) = kept {
                self.cached_bytes += kept.as_bytes().len() as u64;
                self.blocks.push_back(kept);
                break;
            }
        }
        while self.runs.last().is_some_and(|run| run.first >= at) {
            self.runs.pop();
        }
        while self.changes.back().is_some_and(|change| *change >= at) {
            self.changes.pop_back();
        }
        let term = self.runs.last().map_or(self.start.term, |run| run.term);
        self.last = LogId::of(term, keep);
        // What is replaced is neither handed out nor durable any more, whatever the disk still
        // holds.
        self.handed = self.handed.min(keep);
        self.durable = self.durable.min(keep);
    }

    /// The log becomes the state of `meta` and nothing behind it.
    pub(crate) fn restore(&mut self, meta: SnapshotMeta) {
        self.start = meta.last;
        self.runs.clear();
        self.blocks.clear();
        self.changes.clear();
        self.cached_bytes = 0;
        self.evicted_time_ms = meta.time_ms;
        self.last = meta.last;
        self.commit = meta.last.index;
        self.handed = meta.last.index;
        self.durable = meta.last.index;
        self.snapshot_handed = false;
        self.pending_snapshot = Some(meta);
    }

    /// Forgets everything up to `to`.
    pub(crate) fn compact(&mut self, to: LogIndex) {
        let Some(term) = self.term(to).filter(|_| to > self.start.index) else {
            return;
        };
        self.start = LogId::of(term, to);
        let behind = self.runs.partition_point(|run| run.first <= to);
        self.runs.drain(..behind.saturating_sub(1));
        match self.runs.first_mut() {
            Some(run) if to < self.last.index => run.first = to.next().max(run.first),
            _ => self.runs.clear(),
        }
        // The compaction point may be the last entry of its run.
        if self.runs.get(1).is_some_and(|next| next.first <= to.next()) {
            self.runs.remove(0);
        }
        while self.changes.front().is_some_and(|change| *change <= to) {
            self.changes.pop_front();
        }
        while self.blocks.front().is_some_and(|b| b.last().index <= to) {
            self.evict_front();
        }
    }

    /// Whether a membership change is, or may be, behind `from` and not behind `to`.
    pub(crate) fn may_have_change(&self, from: LogIndex, to: LogIndex) -> bool {
        let unseen = from < to && from.next() < self.changes_known_from;
        unseen || self.changes.iter().any(|change| from < *change && *change <= to)
    }

    /// Two membership changes that are not known to be committed, if there are two.
    pub(crate) fn uncommitted_changes(&self) -> Option<(LogIndex, LogIndex)> {
        let mut open = self.changes.iter().filter(|change| **change > self.commit);
        Some((*open.next()?, *open.next()?))
    }

    /// Lets go of blocks over `max` bytes that the store holds and the machine was given.
    pub(crate) fn evict(&mut self, max: u64) {
        let kept_from = self.durable.min(self.applying);
        while self.cached_bytes > max
            && self.blocks.front().is_some_and(|b| b.last().index <= kept_from)
        {
            self.evict_front();
        }
    }

    fn evict_front(&mut self) {
        if let Some(block) = self.blocks.pop_front() {
            self.cached_bytes -= block.as_bytes().len() as u64;
            self.evicted_time_ms = block.time_ms();
        }
    }

    /// Blocks that begin exactly at `from`, up to `bytes_max` but at least one.
    pub(crate) fn slice(&self, from: LogIndex, bytes_max: u64) -> Slice {
        match self.covering(from, bytes_max) {
            Slice::Blocks(mut blocks) => {
                if blocks[0].first() < from
                    && let Some(cut) = blocks[0].suffix(from)
                {
                    blocks[0] = cut;
                }
                Slice::Blocks(blocks)
            }
            other => other,
        }
    }

    /// Blocks of which the first contains `from`, up to `bytes_max` but at least one.
    pub(crate) fn covering(&self, from: LogIndex, bytes_max: u64) -> Slice {
        if from > self.last.index {
            return Slice::Empty;
        }
        if self.blocks.front().is_none_or(|front| front.first() > from) {
            return Slice::Stored;
        }
        let begin = self.position(from);
        Slice::Blocks(take_bytes(self.blocks.range(begin..), bytes_max))
    }

    /// Blocks not yet handed to the store.
    pub(crate) fn unhanded(&self) -> Vec<Block> {
        if self.handed >= self.last.index {
            return Vec::new();
        }
        self.blocks.range(self.position(self.handed.next())..).cloned().collect()
    }

    /// The first block that ends at or behind `index`. Almost every question is about the newest
    /// entries: searched in doubling steps from the end, so that a large cache costs them nothing.
    fn position(&self, index: LogIndex) -> usize {
        let is_before = |at: usize| self.blocks[at].last().index < index;
        let (mut low, mut high, mut step) = (0, self.blocks.len(), 1);
        while let Some(probe) = high.checked_sub(step) {
            if is_before(probe) {
                low = probe + 1;
                break;
            }
            high = probe;
            step *= 2;
        }
        while low < high {
            let middle = low + (high - low) / 2;
            if is_before(middle) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// Whether the committed blocks that the machine was not given yet have more than `max` bytes.
    /// Those of an earlier life count once they are read. Cheap unless there is a lot: only then
    /// they are added up.
    pub(crate) fn waits_for_machine(&self, max: u64) -> bool {
        if self.cached_bytes <= max || self.applying >= self.commit {
            return false;
        }
        let mut bytes = 0_u64;
        self.blocks
            .range(self.position(self.applying.next())..)
            .take_while(|block| block.first() <= self.commit)
            .any(|block| {
                bytes = bytes.saturating_add(block.as_bytes().len() as u64);
                bytes > max
            })
    }

    pub(crate) const fn cached_bytes(&self) -> u64 {
        self.cached_bytes
    }

    /// See [`Raft::hash_behaviour`](crate::Raft::hash_behaviour).
    pub(crate) fn hash_behaviour<H: Hasher>(&self, into: &mut H) {
        let Self {
            start,
            runs,
            last,
            blocks,
            changes,
            changes_known_from,
            commit,
            applying,
            applied,
            handed,
            durable,
            pending_snapshot,
            snapshot_handed,
            // Follows from the blocks.
            cached_bytes: _,
            // Group time: only sessions look at it.
            evicted_time_ms: _,
        } = self;
        (start, last, commit, applying, applied, handed, durable).hash(into);
        (changes, changes_known_from, snapshot_handed).hash(into);
        pending_snapshot.as_ref().map(|meta| meta.last).hash(into);
        runs.iter().for_each(|run| (run.first, run.term).hash(into));
        for block in blocks {
            block.first().hash(into);
            block.iter().for_each(|entry| (entry.id, entry.kind, entry.data).hash(into));
        }
    }

    pub(crate) fn check(&self) -> Result<(), Invariant> {
        let order = |what, low: LogIndex, high: LogIndex| {
            if low <= high { Ok(()) } else { Err(Invariant::Order { what, low, high }) }
        };
        order("start ≤ commit", self.start.index, self.commit)?;
        order("commit ≤ last", self.commit, self.last.index)?;
        order("applied ≤ applying", self.applied, self.applying)?;
        order("applying ≤ commit", self.applying, self.commit)?;
        order("handed ≤ last", self.handed, self.last.index)?;
        order("durable ≤ handed", self.durable, self.handed)?;
        if let Some(back) = self.blocks.back() {
            order("cache reaches last", self.last.index, back.last().index)?;
            order("last reaches cache", back.last().index, self.last.index)?;
        }
        Ok(())
    }
}

/// Clones of the first blocks whose sizes add up to at most `bytes_max`, but at least one.
pub(crate) fn take_bytes<'a>(
    blocks: impl Iterator<Item = &'a Block> + 'a,
    bytes_max: u64,
) -> Vec<Block> {
    let mut taken = Vec::new();
    let mut bytes = 0_u64;
    for block in blocks {
        bytes = bytes.saturating_add(block.as_bytes().len() as u64);
        if !taken.is_empty() && bytes > bytes_max {
            break;
        }
        taken.push(block.clone());
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EntryBody, GroupId, Limits, Proposal};
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn block(prev: LogId, term: u64, count: u64) -> Block {
        let mut p = Proposal::new(&Limits::default());
        (0..count).for_each(|n| p.push(EntryBody::Normal(&n.to_le_bytes())).unwrap());
        p.stamp(GroupId::new(1), Term::new(term), prev, 0)
    }

    #[derive(Clone, Debug)]
    enum Step {
        /// A leader's append that begins so far before the end, in a term higher by so much.
        Merge {
            back: u64,
            terms: u64,
            count: u64,
        },
        Compact {
            back: u64,
        },
        /// Blocks leave memory; the store has them.
        Evict,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            8 => (0_u64..7, 0_u64..2, 1_u64..6)
                .prop_map(|(back, terms, count)| Step::Merge { back, terms, count }),
            1 => (0_u64..9).prop_map(|back| Step::Compact { back }),
            1 => Just(Step::Evict),
        ]
    }

    /// The view, and beside it the term of every entry ever, by position.
    struct Pair {
        view: LogView,
        terms: Vec<u64>,
        /// Entries from here on are in memory.
        cached_from: u64,
    }

    impl Pair {
        fn last(&self) -> u64 {
            self.terms.len() as u64
        }

        fn id(&self, index: u64) -> LogId {
            let term = index.checked_sub(1).map_or(0, |i| self.terms[usize::try_from(i).unwrap()]);
            LogId::new(term, index)
        }

        fn step(&mut self, step: &Step) {
            let start = self.view.start().index.value();
            match *step {
                Step::Merge { back, terms, count } => {
                    let keep = self.last().saturating_sub(back).max(start);
                    let newest = self.id(self.last()).term.value().max(1);
                    let term = newest + terms + u64::from(back > 0);
                    self.view.merge(vec![block(self.id(keep), term, count)]).unwrap();
                    self.terms.truncate(usize::try_from(keep).unwrap());
                    self.terms.extend((0..count).map(|_| term));
                    self.cached_from = self.cached_from.min(keep + 1);
                }
                Step::Compact { back } => {
                    let to = self.last().saturating_sub(back).max(start);
                    self.view.commit = self.view.commit.max(LogIndex::new(to));
                    self.view.applying = self.view.commit;
                    self.view.applied = self.view.commit;
                    self.view.compact(LogIndex::new(to));
                }
                Step::Evict => {
                    let last = self.view.last().index;
                    (self.view.durable, self.view.handed, self.view.applying) = (last, last, last);
                    self.view.commit = last;
                    self.view.evict(0);
                    (self.view.applying, self.view.commit) = (LogIndex::ZERO, LogIndex::ZERO);
                    self.cached_from = self.last() + 1;
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        /// Terms, matches and slices over replacing appends and compactions, against a list.
        #[test]
        fn a_view_is_a_list_of_terms(steps in vec(step(), 1..40)) {
            let view = LogView::new(LogId::ZERO, Vec::new(), LogId::ZERO, Vec::new());
            let mut pair = Pair { view, terms: Vec::new(), cached_from: 1 };
            for step in &steps {
                // Committed entries are never replaced: this model commits by compaction alone.
                pair.view.commit = pair.view.start().index;
                pair.step(step);
                let (view, start) = (&pair.view, pair.view.start().index.value());
                prop_assert_eq!(view.last(), pair.id(pair.last()));
                for i in 0..=pair.last() + 1 {
                    let known = (i >= start && i <= pair.last()).then(|| pair.id(i).term);
                    prop_assert_eq!(view.term(LogIndex::new(i)), known, "term of {}", i);
                    let expected: Vec<LogId> = (i..=pair.last()).map(|n| pair.id(n)).collect();
                    match view.slice(LogIndex::new(i), u64::MAX) {
                        Slice::Empty => prop_assert!(i > pair.last()),
                        Slice::Stored => prop_assert!(i < pair.cached_from || i <= start),
                        Slice::Blocks(blocks) => {
                            let found: Vec<LogId> =
                                blocks.iter().flat_map(Block::iter).map(|e| e.id).collect();
                            prop_assert_eq!(found, expected);
                        }
                    }
                }
            }
        }
    }
}
