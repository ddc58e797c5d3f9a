//! The founding of a group: its founders tell each other which disks they have, and each records
//! all of them before it votes. From then on a node answers only for its own disk. (5.12)

use super::calls::{self, Call, Roll, refusal};
use super::mailbox::Report;
use super::shard::Shard;
use crate::error::StoreError;
use crate::machine::StateMachine;
use crate::store::{AppendRequest, Completion};
use crate::{LogId, Membership, SnapshotMeta, StoreId};
use bytes::Bytes;
use quorate_clocks::Monotonic;
use quorate_transport::{CallError, CallOptions, NodeId, Reject, Responder};
use std::collections::{BTreeMap, BTreeSet};

/// A group that does not exist yet.
pub(super) struct Founding {
    founders: Vec<NodeId>,
    known: BTreeMap<NodeId, StoreId>,
    /// Who is being asked.
    asking: BTreeSet<NodeId>,
    /// When those who did not answer are asked again.
    ask_at: Monotonic,
    /// All are known, and being recorded.
    recording: bool,
}

impl Founding {
    /// None of `founders` is known yet; there must be some.
    pub(super) fn new(founders: &[NodeId]) -> Self {
        Self {
            founders: Membership::of_voters(founders).voters,
            known: BTreeMap::new(),
            asking: BTreeSet::new(),
            ask_at: Monotonic::ZERO,
            recording: false,
        }
    }

    /// When time brings it on.
    pub(super) const fn wakes_at(&self) -> Monotonic {
        if self.recording { Monotonic::FAR_FUTURE } else { self.ask_at }
    }
}

impl<M: StateMachine> Shard<M> {
    /// Asks who has not answered; records the roll once everybody has.
    pub(super) fn continue_founding(&mut self, now: Monotonic) {
        let (me, own) = (self.raft.id(), self.store_id);
        let Some(founding) = &mut self.founding else { return };
        if founding.recording {
            return;
        }
        founding.known.insert(me, own);
        let founders = &founding.founders;
        let missing = founders.iter().filter(|id| !founding.known.contains_key(id));
        let missing: Vec<NodeId> = missing.copied().collect();
        if missing.is_empty() {
            self.record_roll();
        } else if founding.ask_at <= now {
            founding.ask_at = now.saturating_add(self.config.heartbeat_interval);
            let ask: Vec<NodeId> =
                missing.into_iter().filter(|id| founding.asking.insert(*id)).collect();
            let founders = founding.founders.clone();
            ask.into_iter().for_each(|id| self.call_roll(id, founders.clone()));
        }
    }

    fn call_roll(&self, founder: NodeId, founders: Vec<NodeId>) {
        let body = calls::encode(self.group, &Call::Roll { founders });
        let within = CallOptions::within(self.config.election_timeout);
        let reply = self.sender.call(founder, body, within);
        let mailbox = self.mailbox.clone();
        self.runtime.spawn(
            "raft-roll",
            Box::pin(async move {
                let result = reply.await;
                mailbox.push(Report::Rolled { founder, result });
            }),
        );
    }

    /// A founder answered, or did not.
    pub(super) fn rolled(&mut self, founder: NodeId, result: Result<Bytes, CallError>) {
        let Some(founding) = &mut self.founding else { return };
        founding.asking.remove(&founder);
        match result {
            Ok(bytes) => match calls::decode_roll(&bytes) {
                Some(roll) => self.heard(founder, roll),
                None => tracing::warn!(peer = %founder, "roll call answered with something else"),
            },
            Err(CallError::Rejected(Reject::Application { code: refusal::FOUNDERS, .. })) => {
                self.stop(&format!("node {founder} was started with other founders"));
            }
            // Not there yet: it is asked again.
            Err(_) => {}
        }
    }

    fn heard(&mut self, founder: NodeId, roll: Roll) {
        let foreign = roll.known.is_some_and(|known| known != self.store_id)
            && !crate::plant::planted("any_disk_will_do");
        if foreign {
            // H23: another disk voted under this id. What it promised is not known here.
            self.stop(&format!(
                "node {founder} knows another disk of this node: remove this member and add it anew"
            ));
        } else if roll.founded && roll.known.is_none() {
            self.stop(&format!(
                "node {founder} has a group without this node: start it without founders and add it"
            ));
        } else if let Some(founding) = &mut self.founding {
            founding.known.insert(founder, roll.store);
        }
    }

    /// Durable before the first vote: it is the membership that the log begins with.
    fn record_roll(&mut self) {
        let Some(founding) = &mut self.founding else { return };
        founding.recording = true;
        let stores = founding.known.iter().map(|(id, store)| (*id, *store));
        let membership = Membership::of_voters(&founding.founders).with_stores(stores);
        let mark = SnapshotMeta::new(LogId::ZERO, membership);
        let (mailbox, made) = (self.mailbox.clone(), mark.membership.clone());
        let done = Completion::new(move |result: Result<(), StoreError>| {
            mailbox.push(Report::Founded(result.map(|()| made)));
        });
        self.store.append(self.group, AppendRequest::new(None, &[], Some(&mark), true), done);
    }

    /// The group exists, as far as this node is concerned.
    pub(super) fn founded(&mut self, now: Monotonic, result: Result<Membership, StoreError>) {
        match result {
            Ok(membership) => {
                self.founding = None;
                if self.raft.found(now, membership.clone()) {
                    self.machine.found(&membership);
                }
            }
            Err(error) => self.stop(&format!("log store: {error}")),
        }
    }

    /// Which disk this node has, and which one it knows of `from`.
    pub(super) fn serve_roll(&mut self, from: NodeId, founders: &[NodeId], reply: Responder) {
        let differ = self.founding.as_ref().is_some_and(|founding| {
            !founders.is_empty() && Membership::of_voters(founders).voters != founding.founders
        });
        if differ {
            reply.reject(refusal::FOUNDERS, Bytes::new());
            let ours = self.founding.as_ref().is_some_and(|f| f.founders.contains(&from));
            if ours {
                self.stop(&format!("node {from} was started with other founders"));
            }
            return;
        }
        let membership = self.raft.membership();
        // Of a group that is about to be recorded, too: it will not know another disk. // H23
        let recording = self.founding.as_ref().filter(|founding| founding.recording);
        let recorded = recording.and_then(|founding| founding.known.get(&from));
        let roll = Roll {
            store: self.store_id,
            known: membership.stores.get(&from).or(recorded).copied(),
            founded: !membership.is_empty(),
        };
        // Whoever does not hear it asks again.
        let _ = reply.reply(calls::encode_roll(self.group, roll));
    }
}
