//! Authorities: one drives the transition, and the ones before it may not know yet that they were
//! replaced.

use super::net::Event;
use super::world::World;
use quorate_hashring::{
    Assign, Epoch, KeyHash, Locate, MoveId, NodeId, Order, Partition, PartitionTable, PlanLimits,
    Planner, Replicate, Rules, Source, Stage, Transition, View, Weight,
};

pub(super) struct Authority {
    pub(super) transition: Transition,
    planner: Planner<u64>,
    /// Of the newest authority: what it wrote down as copied, for the next one.
    copied: Vec<MoveId>,
}

/// A copy under way.
pub(super) struct Copy {
    /// The epoch of the `Copying` view, the tag of its rows.
    tag: Epoch,
    id: MoveId,
    to: usize,
    partitions: Vec<Partition>,
    need: usize,
    /// Whose data came, and all of it merged.
    heard: Vec<usize>,
    merged: Vec<u64>,
    is_over: bool,
}

impl Authority {
    fn new(transition: Transition, world: &World, copied: Vec<MoveId>) -> Self {
        let limits = PlanLimits::default().incoming(4).outgoing(4).attempts_max(30);
        let mut planner = Planner::new(transition.moves(), world.quorum, limits).unwrap();
        for id in &copied {
            planner.done(*id).unwrap();
        }
        Self { transition, planner, copied }
    }
}

impl World {
    pub(super) fn on_govern(&mut self) -> Result<(), String> {
        self.net.after(10, Event::Govern);
        let newest = self.log.view(self.log.newest());
        let is_driven = self.authorities.iter().any(|a| a.transition.view() == &newest);
        if newest.stage() == Stage::Settled {
            if !is_driven && !self.is_healed && self.net.random.once_in(15) {
                let next = self.next_table(&newest);
                let begun = Transition::begin(&newest, next, self.quorum);
                let transition = begun.map_err(|error| format!("begin: {error}"))?;
                self.authorities.push(Authority::new(transition, self, Vec::new()));
                self.counters.transitions += 1;
            }
        } else if !is_driven {
            self.take_over(&newest)?; // H44
        }
        let mut authorities = std::mem::take(&mut self.authorities);
        for authority in &mut authorities {
            self.govern(authority)?;
        }
        // Whoever finished, or lost the race for the next view, is gone.
        authorities.retain(|authority| {
            let view = authority.transition.view();
            !authority.transition.is_finished() && self.log.view(self.log.newest()) == *view
                || authority.transition.view().stage() == Stage::Settled
                    && !authority.transition.is_finished()
        });
        authorities.extend(std::mem::take(&mut self.authorities));
        self.authorities = authorities;
        Ok(())
    }

    /// A new authority, which knows the committed view and, at times, what was copied.
    fn take_over(&mut self, newest: &View) -> Result<(), String> {
        let knows = self.net.random.once_in(2);
        let copied = self.copied_before.clone().filter(|(epoch, _)| {
            knows && newest.stage() == Stage::Copying && *epoch == newest.epoch()
        });
        let copied = copied.map_or(Vec::new(), |(_, copied)| copied);
        let resumed = Transition::resume(newest, self.quorum, &copied);
        let transition = resumed.map_err(|error| format!("resume: {error}"))?;
        self.authorities.push(Authority::new(transition, self, copied));
        self.counters.resumes += 1;
        Ok(())
    }

    fn govern(&mut self, authority: &mut Authority) -> Result<(), String> {
        if let Some(view) = authority.transition.poll_view() {
            // O1: one order, by comparing with what it was made from.
            if self.log.commit(&view) {
                let committed = authority.transition.committed(&view);
                committed.map_err(|error| format!("committed: {error}"))?;
                for node in 0..self.replicas.len() {
                    let at = self.log.newest();
                    self.net.send(Event::View { node, at });
                }
            }
        }
        for (at, replica) in self.replicas.iter().enumerate() {
            let node = NodeId::new(at as u64 + 1);
            match replica.gate {
                Some(_) => authority.planner.node_up(node),
                None => authority.planner.node_down(node),
            }
            if authority.transition.is_source_ready(node) {
                authority.planner.source_ready(node);
            }
        }
        if authority.transition.view().stage() == Stage::Copying {
            while let Some(order) = authority.planner.poll_order() {
                self.copy(&authority.transition, order);
            }
        }
        if authority.planner.is_stuck().is_some() && !self.is_healed {
            let _ = authority.transition.abort();
        }
        Ok(())
    }

    fn copy(&mut self, transition: &Transition, order: Order<u64>) {
        let view = transition.view();
        let shift = 64 - view.table().bits();
        let (start, end) = (order.what.start, order.what.end);
        let inside = |p: &u32| {
            let at = u64::from(*p) << shift;
            start <= at && end.is_none_or(|end| at < end)
        };
        let partitions = (0..view.table().partitions()).filter(inside);
        let partitions: Vec<Partition> =
            partitions.map(|p| Partition::new(u16::try_from(p).unwrap())).collect();
        let (nodes, need) = match order.source {
            Source::Slot(from) => (vec![from], 1),
            Source::Quorum { nodes, need } => {
                self.counters.quorum_copies += 1;
                (nodes, usize::from(need))
            }
            _ => panic!("a source that the campaign does not know"),
        };
        let copy = self.copies.len();
        self.copies.push(Copy {
            tag: view.epoch(),
            id: order.what.id,
            to: usize::try_from(order.what.to.value()).unwrap() - 1,
            partitions,
            need,
            heard: Vec::new(),
            merged: Vec::new(),
            is_over: false,
        });
        for node in nodes {
            let node = usize::try_from(node.value()).unwrap() - 1;
            self.net.send(Event::CopyRead { copy, node });
        }
        self.net.after(120, Event::CopyTimeout { copy });
        self.counters.copies += 1;
    }

    pub(super) fn on_copy_read(&mut self, copy: usize, node: usize) {
        if let Some(values) = self.held(node, &self.copies[copy].partitions) {
            self.net.send(Event::CopyData { copy, node, values });
        }
    }

    pub(super) fn on_copy_data(&mut self, copy: usize, node: usize, values: &[u64]) {
        let of = &mut self.copies[copy];
        if of.heard.contains(&node) {
            return;
        }
        of.heard.push(node);
        of.merged.resize(values.len(), 0);
        for (merged, value) in of.merged.iter_mut().zip(values) {
            *merged = (*merged).max(*value);
        }
        if of.heard.len() == of.need {
            let values = of.merged.clone();
            self.net.send(Event::CopyWrite { copy, values });
        }
    }

    pub(super) fn on_copy_write(&mut self, copy: usize, values: &[u64]) {
        let Copy { to, partitions, tag, .. } = &self.copies[copy];
        let (to, partitions, tag) = (*to, partitions.clone(), *tag);
        if self.merge(to, &partitions, tag, values) {
            self.net.send(Event::Copied { copy });
        }
    }

    /// Reports go to whoever drives the change that the copy was made for.
    pub(super) fn on_copied(&mut self, copy: usize, is_done: bool) -> Result<(), String> {
        let Copy { tag, id, is_over, .. } = &mut self.copies[copy];
        let (tag, id) = (*tag, *id);
        if std::mem::replace(is_over, true) && !is_done {
            return Ok(());
        }
        for authority in &mut self.authorities {
            let view = authority.transition.view();
            if view.stage() != Stage::Copying || view.epoch() != tag {
                continue;
            }
            if !is_done {
                let _ = authority.planner.failed(id); // it may be another authority's
                continue;
            }
            authority.planner.done(id).map_err(|error| format!("done: {error}"))?;
            let copied = authority.transition.handle_copied(id);
            copied.map_err(|error| format!("copied: {error}"))?;
            authority.copied.push(id);
            self.copied_before = Some((tag, authority.copied.clone()));
        }
        Ok(())
    }

    pub(super) fn on_ack(&mut self, node: usize, epoch: Epoch) {
        for authority in &mut self.authorities {
            authority.transition.handle_ack(NodeId::new(node as u64 + 1), epoch);
        }
    }

    /// Another one takes over; the one before goes on without knowing, if it is not simply dead.
    pub(super) fn on_replace(&mut self) -> Result<(), String> {
        let delay = 200 + self.net.random.below(900);
        self.net.after(delay, Event::Replace);
        let newest = self.log.view(self.log.newest());
        if self.is_healed || newest.stage() == Stage::Settled {
            return Ok(());
        }
        if self.net.random.once_in(2) || self.authorities.len() > 2 {
            self.authorities.clear();
        }
        self.take_over(&newest)
    }

    pub(super) fn on_abort(&mut self) {
        let delay = 300 + self.net.random.below(1_500);
        self.net.after(delay, Event::Abort);
        let Some(authority) = self.authorities.last_mut() else { return };
        let stage = authority.transition.view().stage();
        if authority.transition.abort().is_ok() {
            self.counters.aborts += 1;
            self.counters.aborts_switched += u64::from(stage == Stage::Switched);
        }
    }

    /// The table to change to: solved anew after nodes came, went or weigh more, or some rows
    /// with other nodes.
    fn next_table(&mut self, view: &View) -> PartitionTable {
        let (table, nodes) = (view.table(), self.replicas.len());
        let random = &mut self.net.random;
        let id = |at: usize| NodeId::new(at as u64 + 1);
        if random.once_in(2) {
            let mut builder = table.topology().to_builder();
            for at in 0..nodes {
                let weight = Weight::units([0, 1, 1, 2][random.below(4)]);
                builder = builder.reweigh(id(at), if at < 4 { Weight::ONE } else { weight });
            }
            let topology = builder.build().unwrap();
            let bits = table.bits();
            let solved = Assign::new(&topology, table.rules()).partition_bits(bits).previous(table);
            return solved.solve().unwrap().into_table();
        }
        let ids: Vec<NodeId> = table.topology().nodes().iter().map(|node| node.id()).collect();
        let rows = (0..table.partitions()).map(|p| {
            let row = table.row(Partition::new(u16::try_from(p).unwrap())).unwrap();
            let mut row: Vec<NodeId> = row.iter().map(|at| ids[usize::from(at.value())]).collect();
            for _ in 0..[0, 0, 1, 1, 2, 3][random.below(6)] {
                let (place, other) = (random.below(row.len()), id(random.below(nodes)));
                if !row.contains(&other) {
                    row[place] = other;
                }
            }
            row
        });
        let rows: Vec<Vec<NodeId>> = rows.collect();
        let hash = KeyHash::default();
        PartitionTable::from_rows(table.topology(), &Rules::new(3), hash, &rows).unwrap()
    }
}
