//! Snapshots on their way: in pieces, each a call; the receiver says where it wants the next one.
//! What arrived survives restarts of both sides, so that a broken transfer goes on there.

use super::disk::State;
use super::replica::{Replica, Step};
use bytes::Bytes;
use quorate_raft::{Body, LogId, Message, Role, SnapshotMeta};
use quorate_sim::{CallError, CallToken, ChannelId, Ctx, InboundCall, Lane, NodeId, Peer};
use std::collections::BTreeMap;
use std::time::Duration;

/// What a campaign must have met.
pub(crate) const MUST_HAPPEN: [&str; 1] = ["snapshot resumed"];

/// Entries of one piece.
const PIECE: u64 = 25;

/// A snapshot as its maker made it: the same index made elsewhere is another one.
type Id = (LogId, NodeId);

/// The content of snapshots that are being sent, and how much of them arrived where.
#[derive(Debug, Default)]
pub(crate) struct Transfers {
    content: BTreeMap<u64, (Id, Message, State)>,
    /// Of each receiver the one it has begun to receive.
    arrived: BTreeMap<NodeId, (Id, u64)>,
}

/// A transfer at its sender.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sending {
    to: NodeId,
    number: u64,
}

impl Replica {
    /// Starts to send what `message` speaks of: a snapshot of `meta`.
    pub(crate) fn send_snapshot(
        &mut self,
        ctx: &mut Ctx<'_>,
        to: NodeId,
        message: &Message,
        meta: &SnapshotMeta,
    ) -> Step {
        let count = usize::try_from(meta.last.index.value()).unwrap();
        let state = self.state.get(..count).ok_or("snapshot of what was not applied")?.to_vec();
        let number = {
            let transfers = &mut self.world.borrow_mut().transfers;
            let number = transfers.content.len() as u64;
            transfers.content.insert(number, ((meta.last, self.id), message.clone(), state));
            number
        };
        self.send_piece(ctx, Sending { to, number }, 0);
        Ok(())
    }

    fn send_piece(&mut self, ctx: &mut Ctx<'_>, sending: Sending, offset: u64) {
        let body = [sending.number.to_le_bytes(), offset.to_le_bytes()].concat();
        let within = Duration::from_millis(300);
        let call = ctx.call(sending.to, Lane::Bulk, ChannelId::RAFT, body, within);
        self.sending.insert(call, sending);
    }

    /// The receiver said what it wants next, or nothing.
    pub(crate) fn piece_answered(
        &mut self,
        ctx: &mut Ctx<'_>,
        call: CallToken,
        result: Result<Bytes, CallError>,
    ) -> Step {
        let sending = self.sending.remove(&call).expect("an outcome for each call");
        // Two transfers to one receiver would each undo what the other has brought.
        let newer = |other: &Sending| other.to == sending.to && other.number > sending.number;
        if self.raft.role() != Role::Leader || self.sending.values().any(newer) {
            return Ok(());
        }
        let total = self.world.borrow().transfers.content[&sending.number].2.len() as u64;
        match result.map(|body| u64::from_le_bytes(body[..].try_into().unwrap())) {
            Ok(next) if next < total => {
                self.send_piece(ctx, sending, next);
                Ok(())
            }
            end => {
                self.raft.snapshot_sent(ctx.now(), sending.to, end.is_ok());
                self.after(ctx)
            }
        }
    }

    /// A piece arrived.
    pub(crate) fn take_piece(
        &mut self,
        ctx: &mut Ctx<'_>,
        from: Peer,
        body: &Bytes,
        call: InboundCall,
    ) -> Step {
        let number = u64::from_le_bytes(body[..8].try_into().unwrap());
        let offset = u64::from_le_bytes(body[8..].try_into().unwrap());
        let (message, state, next) = {
            let transfers = &mut self.world.borrow_mut().transfers;
            let (id, message, state) = transfers.content[&number].clone();
            let known = transfers.arrived.get(&self.id).filter(|(other, _)| *other == id);
            let have = known.map_or(0, |(_, have)| *have);
            if offset == 0 && have > 0 {
                ctx.reached("snapshot resumed");
            }
            let next = if offset == have { (have + PIECE).min(state.len() as u64) } else { have };
            transfers.arrived.insert(self.id, (id, next));
            (message, state, next)
        };
        if next == state.len() as u64 {
            self.world.borrow_mut().transfers.arrived.remove(&self.id);
            debug_assert!(matches!(message.body, Body::Snapshot(_)));
            self.incoming = Some(state);
            self.handle(ctx, from.node, message)?;
        }
        ctx.reply(call, Bytes::copy_from_slice(&next.to_le_bytes()));
        Ok(())
    }
}
