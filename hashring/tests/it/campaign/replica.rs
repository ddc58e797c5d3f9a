//! A replica: a gate in front of a store that keeps the greatest version of each key.

use super::net::{Event, Request};
use super::world::{KEYS, World};
use quorate_hashring::{
    Epoch, Gate, InstallError, Installed, NodeId, Partition, Pass, Reject, View,
};
use std::collections::BTreeMap;

pub(super) struct Replica {
    pub(super) id: NodeId,
    /// None while it is down.
    pub(super) gate: Option<Gate>,
    /// Rises with each crash.
    pub(super) life: u32,
    /// The newest view on its disk.
    durable: View,
    /// The versions on its disk, by key.
    pub(super) store: Vec<u64>,
    /// What was admitted and not applied.
    working: BTreeMap<u64, (Pass, Request)>,
    works: u64,
}

impl Replica {
    pub(super) fn new(id: NodeId, view: &View) -> Self {
        Self {
            id,
            gate: Some(Gate::new(id, view.clone())),
            life: 0,
            durable: view.clone(),
            store: vec![0; KEYS],
            working: BTreeMap::new(),
            works: 0,
        }
    }
}

impl World {
    pub(super) fn on_request(&mut self, request: Request) -> Result<(), String> {
        let replica = &mut self.replicas[request.node];
        let Some(gate) = &replica.gate else { return Ok(()) };
        let here = gate.view().epoch();
        let is_unmoved = self.log.is_unmoved(request.partition, request.view, here);
        self.counters.unmoved += u64::from(is_unmoved && request.view != here);
        match gate.admit(request.partition, request.tag) {
            Ok(pass) => {
                replica.works += 1;
                let (node, life, work) = (request.node, replica.life, replica.works);
                replica.working.insert(work, (pass, request));
                let slow = if !self.is_healed && self.net.random.once_in(12) { 140 } else { 12 };
                let delay = self.net.random.below(slow);
                self.net.after(delay, Event::Apply { node, life, work });
            }
            Err(reject) => {
                if is_unmoved {
                    return Err(format!("G10: {request:?} refused with {reject}"));
                }
                match reject {
                    Reject::Stale { .. } => self.counters.stale += 1,
                    Reject::Ahead { .. } => {
                        self.counters.ahead += 1;
                        self.fetch(request.node);
                    }
                    _ => return Err(format!("{request:?} went to the wrong node: {reject}")),
                }
                let (op, node) = (request.op, request.node);
                self.net.send(Event::Answer { op, node, answer: Err(reject) });
            }
        }
        Ok(())
    }

    /// Asks for the newest view.
    fn fetch(&mut self, node: usize) {
        let at = self.log.newest();
        self.net.send(Event::View { node, at });
    }

    pub(super) fn on_apply(&mut self, node: usize, life: u32, work: u64) {
        let replica = &mut self.replicas[node];
        if replica.life != life || replica.gate.is_none() {
            return;
        }
        let Some((pass, request)) = replica.working.remove(&work) else { return };
        let held = &mut replica.store[request.key];
        *held = (*held).max(request.write.unwrap_or(0));
        let answer = Ok(*held);
        drop(pass); // O2: only now
        self.net.send(Event::Answer { op: request.op, node, answer });
    }

    pub(super) fn on_view(&mut self, node: usize, at: usize) -> Result<(), String> {
        let view = self.log.view(at);
        let replica = &self.replicas[node];
        let Some(gate) = &replica.gate else { return Ok(()) };
        match gate.install(view) {
            Ok(Installed::Already) | Err(InstallError::Stale { .. }) => return Ok(()),
            Ok(Installed::Skipped { .. }) => self.counters.skipped += 1,
            Ok(_) => {}
            Err(error) => return Err(format!("install: {error}")),
        }
        let (life, delay) = (replica.life, self.net.random.below(15));
        self.net.after(delay, Event::Durable { node, life, at });
        Ok(())
    }

    pub(super) fn on_durable(&mut self, node: usize, life: u32, at: usize) {
        let view = self.log.view(at);
        let replica = &mut self.replicas[node];
        if replica.life == life && view.epoch() > replica.durable.epoch() {
            replica.durable = view;
        }
    }

    pub(super) fn on_tick(&mut self, node: usize) {
        self.net.after(25, Event::Tick { node });
        let replica = &mut self.replicas[node];
        let Some(gate) = &replica.gate else { return };
        // O4: nothing is reported that a crash could take back.
        let epoch: Epoch = gate.acked().min(replica.durable.epoch());
        for (key, partition) in self.partitions.iter().enumerate() {
            if replica.store[key] > 0 && gate.may_drop(*partition) {
                replica.store[key] = 0;
                self.counters.deleted += 1;
            }
        }
        self.net.send(Event::Ack { node, epoch });
        if self.net.random.once_in(6) || self.is_healed {
            self.fetch(node);
        }
    }

    pub(super) fn on_crash(&mut self, node: usize) {
        let down = self.replicas.iter().filter(|replica| replica.gate.is_none()).count();
        if self.is_healed || down >= 2 || self.replicas[node].gate.is_none() {
            return;
        }
        let replica = &mut self.replicas[node];
        replica.gate = None;
        replica.life += 1;
        replica.working.clear();
        self.counters.crashes += 1;
        let delay = 20 + self.net.random.below(300);
        self.net.after(delay, Event::Restart { node });
    }

    pub(super) fn on_restart(&mut self, node: usize) {
        let replica = &mut self.replicas[node];
        if replica.gate.is_none() {
            replica.gate = Some(Gate::new(replica.id, replica.durable.clone()));
        }
    }

    /// What a node holds of the partitions of a copy, by key; 0 for keys of others.
    pub(super) fn held(&self, node: usize, of: &[Partition]) -> Option<Vec<u64>> {
        let replica = &self.replicas[node];
        replica.gate.as_ref()?;
        let values = replica.store.iter().zip(&self.partitions);
        Some(values.map(|(value, p)| if of.contains(p) { *value } else { 0 }).collect())
    }

    /// A copy comes through the gate like a write, with the tag of the row.
    pub(super) fn merge(
        &mut self,
        node: usize,
        of: &[Partition],
        tag: Epoch,
        values: &[u64],
    ) -> bool {
        let replica = &mut self.replicas[node];
        let Some(gate) = &replica.gate else { return false };
        let passes: Result<Vec<Pass>, Reject> = of.iter().map(|p| gate.admit(*p, tag)).collect();
        match passes {
            Ok(passes) => {
                for (held, value) in replica.store.iter_mut().zip(values) {
                    *held = (*held).max(*value); // O3
                }
                drop(passes);
                true
            }
            Err(Reject::Ahead { .. }) => {
                self.fetch(node);
                false
            }
            Err(_) => false,
        }
    }
}
