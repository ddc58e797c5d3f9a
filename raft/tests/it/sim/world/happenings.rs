//! What happens to the world: clients that ask, faults, and the end, when everything must be well
//! again.

use super::{CATCH_UP_ROUNDS, Event, Step, World};
use quorate_raft::{EntryBody, LogIndex, Proposal, Proposed, Raft, ReadId, Role};
use std::collections::BTreeSet;
use std::time::Duration;

impl World {
    pub(super) fn client(&mut self) -> Step {
        let (low, high) = self.plan.client_every;
        let after = self.draw.between(low, high);
        self.schedule(after, Event::Client);
        let i = self.draw.pick(self.nodes.len());
        if self.nodes[i].raft.is_none() {
            return Ok(());
        }
        match self.draw.below(10) {
            0..7 => {
                // Mostly at a leader, so that something happens.
                // One of several: a deposed leader that does not know it yet diverges this way.
                let leads = |i: &usize| {
                    self.nodes[*i].raft.as_ref().is_some_and(|r| r.role() == Role::Leader)
                };
                let leaders: Vec<usize> = (0..self.nodes.len()).filter(leads).collect();
                let i = if leaders.is_empty() { i } else { leaders[self.draw.pick(leaders.len())] };
                self.propose(i)
            }
            7..9 => self.read(i),
            _ => {
                let now = self.now;
                if let Some(raft) =
                    self.nodes[i].raft.as_mut().filter(|_| now.as_nanos().is_multiple_of(3))
                {
                    let _not_the_leader = raft.transfer(now, None);
                }
                self.after(i)
            }
        }
    }

    pub(super) fn propose(&mut self, i: usize) -> Step {
        self.requests += 1;
        let mut data = format!("request {}", self.requests).into_bytes();
        if self.plan.large_entries && self.draw.chance(400) {
            data.resize(3_000, b'.');
        }
        let mut proposal = Proposal::new(self.config.limits());
        proposal.push(EntryBody::Normal(&data)).unwrap();
        let now = self.now;
        let Some(raft) = &mut self.nodes[i].raft else { return Ok(()) };
        match raft.propose(now, proposal) {
            Ok(Proposed::Appended { term, range }) => {
                self.nodes[i].waiting.insert(*range.start(), term);
            }
            Ok(other) => return Err(format!("unexpected {other:?}")),
            Err(_) => {
                self.counters.count("proposal refused");
                self.refused.insert(data);
            }
        }
        self.after(i)
    }

    pub(super) fn read(&mut self, i: usize) -> Step {
        self.requests += 1;
        let id = ReadId::new(self.requests);
        // Everything acknowledged so far must be seen.
        let newest = self.observer.committed.iter().rev();
        let mut acked = newest.filter(|(_, data)| self.acknowledged.contains(data));
        let needed = acked.next().map_or(LogIndex::ZERO, |(id, _)| id.index);
        let now = self.now;
        let node = &mut self.nodes[i];
        let Some(raft) = &mut node.raft else { return Ok(()) };
        let through_follower = raft.role() != Role::Leader;
        if raft.read(now, id).is_ok() {
            node.reads.insert(id, needed);
            if through_follower {
                self.counters.count("read through a follower");
            }
        }
        self.after(i)
    }

    pub(super) fn fault(&mut self) -> Step {
        if self.calm {
            return Ok(());
        }
        let (low, high) = self.plan.fault_every;
        let after = self.draw.between(low, high);
        self.schedule(after, Event::Fault);
        let n = self.nodes.len();
        let i = self.draw.pick(n);
        let leader = self
            .nodes
            .iter()
            .position(|node| node.raft.as_ref().is_some_and(|r| r.role() == Role::Leader));
        match self.draw.below(10) {
            0..4 => {
                let victim = if self.plan.hunt_leaders { leader.unwrap_or(i) } else { i };
                if self.nodes[victim].raft.is_some() {
                    self.crash(victim);
                }
            }
            4..7 => {
                for i in 0..n {
                    if self.nodes[i].raft.is_none() && self.draw.chance(700) {
                        self.counters.count("restart");
                        self.start(i);
                        self.after(i)?;
                    }
                }
            }
            7 => self.partition(),
            8 => {
                self.counters.count("one-way partition");
                self.cut.extend((0..n).filter(|j| *j != i).map(|j| (i, j)));
            }
            _ => {
                self.counters.count("heal");
                self.cut.clear();
            }
        }
        Ok(())
    }

    pub(super) fn partition(&mut self) {
        self.counters.count("partition");
        let n = self.nodes.len();
        let side: Vec<bool> = (0..n).map(|_| self.draw.chance(500)).collect();
        for (a, b) in (0..n).flat_map(|a| (0..n).map(move |b| (a, b))) {
            if side[a] != side[b] {
                self.cut.insert((a, b));
            }
        }
    }

    // --- the end -------------------------------------------------------------------------------

    pub(super) fn end_of_faults(&mut self) -> Step {
        self.calm = true;
        self.cut.clear();
        for i in 0..self.nodes.len() {
            if self.nodes[i].raft.is_none() {
                self.start(i);
                self.after(i)?;
            }
        }
        Ok(())
    }

    /// After the faults ended: there is one leader, it commits, everyone has applied the same,
    /// nothing acknowledged is missing and nothing refused is there.
    pub(super) fn must_serve(&mut self) -> Step {
        // The client goes on; let what it proposed come to rest.
        let quiet = self.now.saturating_add(Duration::from_millis(300));
        self.plan.client_every = (10_000_000, 10_000_000);
        self.run_until(quiet)?;
        let mut leaders = Vec::new();
        for node in &self.nodes {
            let raft = node.raft.as_ref().ok_or("a node is down at the end")?;
            if raft.role() == Role::Leader {
                leaders.push(node.id);
            }
        }
        if leaders.len() != 1 {
            return Err(format!("{leaders:?} lead after the faults ended"));
        }
        let leader = usize::try_from(leaders[0].value()).unwrap() - 1;
        let before = self.observer.committed.len();
        self.propose(leader)?;
        // A laggard with a stalled disk may need a while; one that is stuck never gets there.
        for _ in 0..CATCH_UP_ROUNDS {
            self.run_until(self.now.saturating_add(Duration::from_millis(250)))?;
            if self.nodes.iter().all(|node| node.state == self.observer.committed) {
                break;
            }
        }
        if self.observer.committed.len() <= before {
            return Err("nothing commits after the faults ended".to_owned());
        }
        for node in &self.nodes {
            if node.state != self.observer.committed {
                let all: Vec<_> =
                    self.nodes.iter().map(|n| n.raft.as_ref().map(Raft::status)).collect();
                return Err(format!("node {} did not catch up: {all:?}", node.id));
            }
        }
        let there: BTreeSet<&Vec<u8>> = self.observer.committed.iter().map(|(_, d)| d).collect();
        if let Some(lost) = self.acknowledged.iter().find(|data| !there.contains(data)) {
            return Err(format!("acknowledged and lost: {}", String::from_utf8_lossy(lost)));
        }
        match self.refused.iter().find(|data| there.contains(data)) {
            Some(ghost) => Err(format!("refused, yet there: {}", String::from_utf8_lossy(ghost))),
            None => Ok(()),
        }
    }
}
