//! What must hold in any history of a group.

use super::disk::{Durable, State};
use quorate_raft::{Block, LogId, LogIndex, Term};
use quorate_transport::NodeId;
use std::collections::BTreeMap;

/// The group as an all-seeing observer knows it.
#[derive(Debug, Default)]
pub(crate) struct Observer {
    leaders: BTreeMap<Term, NodeId>,
    /// Every entry ever appended anywhere: its predecessor's term, its data.
    entries: BTreeMap<(Term, LogIndex), (Term, Vec<u8>)>,
    /// What is committed, from index 1 on. Never changes once set.
    pub(crate) committed: State,
    /// In which term each of them was committed: that of the leader who counted.
    committed_in: Vec<Term>,
    votes: BTreeMap<(NodeId, Term), NodeId>,
}

type Checked = Result<(), String>;

impl Observer {
    /// Election safety (paper §5.2) and, for a new leader, leader completeness (§5.4). True if it
    /// is new.
    pub(crate) fn on_leader(
        &mut self,
        node: NodeId,
        term: Term,
        holds: impl Fn(LogId) -> bool,
    ) -> Result<bool, String> {
        match self.leaders.insert(term, node) {
            Some(other) if other != node => {
                return Err(format!("two leaders in term {term}: {other} and {node}"));
            }
            Some(_) => return Ok(false),
            None => {}
        }
        // A candidate that was stopped may learn of its election when later leaders have committed
        // more.
        let before = self.committed.iter().zip(&self.committed_in).filter(|(_, by)| **by < term);
        match before.map(|(entry, _)| entry).find(|(id, _)| !holds(*id)) {
            Some((id, _)) => {
                Err(format!("leader {node} of term {term} lacks committed entry {id}"))
            }
            None => Ok(true),
        }
    }

    /// The data of an entry that some node appended.
    pub(crate) fn data(&self, id: LogId) -> Option<&[u8]> {
        self.entries.get(&(id.term, id.index)).map(|(_, data)| &data[..])
    }

    pub(crate) fn has_leader(&self, term: Term) -> bool {
        self.leaders.contains_key(&term)
    }

    /// Log matching (paper §5.3), by induction: the same term and index always hold the same data
    /// behind the same predecessor.
    pub(crate) fn on_append(&mut self, block: &Block) -> Checked {
        let mut prev_term = block.prev().term;
        for entry in block.iter() {
            let key = (entry.id.term, entry.id.index);
            let seen = self.entries.entry(key).or_insert_with(|| (prev_term, entry.data.to_vec()));
            if seen.0 != prev_term || seen.1 != entry.data {
                return Err(format!("two different entries {}", entry.id));
            }
            prev_term = entry.id.term;
        }
        Ok(())
    }

    /// A vote left the node: it must be on its disk, and be its only one in that term.
    pub(crate) fn on_vote(
        &mut self,
        voter: NodeId,
        term: Term,
        to: NodeId,
        disk: &Durable,
    ) -> Checked {
        let durable =
            disk.hard.term > term || (disk.hard.term == term && disk.hard.vote == Some(to));
        if !durable {
            return Err(format!("node {voter} voted in term {term} before that was durable"));
        }
        match self.votes.insert((voter, term), to) {
            Some(other) if other != to => {
                Err(format!("node {voter} voted for {other} and {to} in term {term}"))
            }
            _ => Ok(()),
        }
    }

    /// Entries up to `commit` are committed as far as `node` knows: the same everywhere, never
    /// changed, and when new, durable on the disks of a majority: `decided` says whether.
    pub(crate) fn on_commit(
        &mut self,
        node: NodeId,
        new: &[(LogId, Vec<u8>)],
        decided: impl Fn(LogId) -> bool,
    ) -> Result<u64, String> {
        let mut count = 0;
        for (id, data) in new {
            let at = usize::try_from(id.index.value() - 1).unwrap();
            if let Some((known, known_data)) = self.committed.get(at) {
                if known != id || known_data != data {
                    return Err(format!("node {node} commits {id} where {known} was committed"));
                }
                continue;
            }
            if at != self.committed.len() {
                return Err(format!("node {node} commits {id} before the entries before it"));
            }
            if !decided(*id) {
                return Err(format!("node {node} commits {id}, which no majority's disks hold"));
            }
            self.committed.push((*id, data.clone()));
            self.committed_in.extend(new.last().map(|(last, _)| last.term));
            count += 1;
        }
        Ok(count)
    }

    /// State machine safety (paper §5.4.3): applied in order, and only what is committed.
    pub(crate) fn check_applied(&self, node: NodeId, state: &[(LogId, Vec<u8>)]) -> Checked {
        let known = self.committed.get(..state.len());
        if known != Some(state) {
            return Err(format!("node {node} applied something that is not committed"));
        }
        Ok(())
    }
}
