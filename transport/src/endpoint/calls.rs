//! Messages and calls of this node, and its answers to those of others.

use super::core::{Core, PeerEntry};
use crate::inbox::Item;
use crate::mux::{ABANDONED, EXPIRED, FORGOTTEN, OVERLOADED, Prefix, RESTARTED, Verdict};
use crate::{
    Body, CallError, CallId, CallOptions, Cause, ChannelId, Frame, InboundCall, Lane, NodeId,
    Reply, SendError,
};
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Stored answers below this are copied, so that a small one does not pin a large block. // H24
const COPY_BELOW: usize = 64 * 1024;

impl Core {
    // Calls and messages of this node.

    pub(crate) fn send_message(
        &self,
        channel: ChannelId,
        payload_checked: bool,
        to: NodeId,
        lane: Lane,
        body: Body,
    ) -> Result<(), SendError> {
        if self.is_closed() {
            return Err(SendError::Closed);
        }
        if to == self.identity.node {
            return Err(SendError::SelfAddressed);
        }
        let mut frame = Frame::message(channel, body);
        if payload_checked {
            frame = frame.without_body_crc();
        }
        self.transport.send(to, lane, frame)?;
        if let Some(peer) = self.known_untold(to, lane) {
            self.note_sent(&peer, lane);
        }
        Ok(())
    }

    pub(crate) fn call(self: &Arc<Self>, request: CallRequest) -> Reply {
        match self.begin_call(request) {
            Ok((peer, id)) => Reply::waiting(self.clone(), peer, id),
            Err(error) => {
                self.counters.calls_not_sent.add(1);
                Reply::failed(CallError::NotSent(error))
            }
        }
    }

    fn begin_call(&self, request: CallRequest) -> Result<(Arc<PeerEntry>, CallId), SendError> {
        let CallRequest { channel, payload_checked, to, body, options, prefix } = request;
        if self.is_closed() {
            return Err(SendError::Closed);
        }
        let peer = self.peer(to).ok_or(SendError::Full)?;
        self.enter_call()?;
        let now = self.runtime.now();
        let deadline = now.saturating_add(self.cut_deadline(options.within));
        let lane = options.lane;
        let body = match prefix {
            Some(prefix) => body.after(Bytes::copy_from_slice(&prefix.encode())),
            None => body,
        };
        self.note_sent(&peer, lane);
        let begun = self.with(&peer, |mux| mux.call(now, channel, lane, body, deadline));
        let (id, mut frame) = begun.inspect_err(|_| {
            self.inflight.fetch_sub(1, Ordering::AcqRel);
        })?;
        if prefix.is_some() {
            frame.flags |= crate::frame::IDEMPOTENT;
        }
        if payload_checked && prefix.is_none() {
            frame = frame.without_body_crc();
        }
        if let Err(error) = self.transmit(to, lane, frame) {
            self.with(&peer, |mux| mux.call_not_sent(id, error));
        }
        // Shut down meanwhile: whoever came too late for `fail_all` fails itself.
        if self.is_closed() {
            self.with(&peer, |mux| mux.fail_all(Cause::Cancelled));
        }
        Ok((peer, id))
    }

    pub(crate) fn cut_deadline(&self, within: Duration) -> Duration {
        within.min(self.config.deadline_max)
    }

    fn enter_call(&self) -> Result<(), SendError> {
        let inflight = self.inflight.fetch_add(1, Ordering::AcqRel);
        if inflight >= u64::from(self.config.calls_inflight_max) {
            self.inflight.fetch_sub(1, Ordering::AcqRel); // H16
            return Err(SendError::Full);
        }
        self.counters.calls_inflight_max.raise(inflight + 1);
        Ok(())
    }

    pub(crate) fn call_finished(&self, outcome: &Result<Bytes, CallError>) {
        self.inflight.fetch_sub(1, Ordering::AcqRel);
        match outcome {
            Ok(_) => self.counters.calls_ok.add(1),
            Err(CallError::NotSent(_)) => self.counters.calls_not_sent.add(1),
            Err(CallError::Rejected(_)) => self.counters.calls_rejected.add(1),
            Err(CallError::MaybeExecuted(_)) => self.counters.calls_maybe.add(1),
        }
    }

    /// The future exists only after the call's `send` returned, so the Cancel is behind it. // H8
    pub(crate) fn cancel_call(&self, peer: &PeerEntry, id: CallId) {
        self.inflight.fetch_sub(1, Ordering::AcqRel);
        self.counters.calls_cancelled.add(1);
        if let Some((lane, frame)) = self.with(peer, |mux| mux.cancel(id)) {
            self.send_control(peer.node(), lane, frame);
        }
    }

    // Calls of others.

    /// A call came in: to its component, unless it is one that was run already.
    pub(super) fn deliver_call(&self, call: Arc<InboundCall>, body: Bytes) {
        let Some(prefix) = call.prefix() else {
            return self.deliver(call.channel(), Item::Call { call, body });
        };
        let now = self.runtime.now();
        let verdict = self.dedup().begin(now, &call, prefix);
        match verdict {
            Verdict::Run => self.deliver(call.channel(), Item::Call { call, body }),
            Verdict::Attached => {}
            Verdict::Answered(answer) => self.give_answer(&call, answer),
            Verdict::Restarted => self.send_reject(&call, RESTARTED, Bytes::new()),
            Verdict::Forgotten => self.send_reject(&call, FORGOTTEN, Bytes::new()),
            Verdict::Overloaded => self.send_reject(&call, OVERLOADED, Bytes::new()),
        }
    }

    /// The caller gave up: a call that is still queued is not executed.
    pub(super) fn revoke_call(&self, call: &Arc<InboundCall>) {
        if self.inbox(call.channel()).is_some_and(|inbox| inbox.remove(call)) {
            self.release(call);
        } else {
            self.detach(call);
        }
    }

    /// Nobody waits for the answer to this try of an idempotent call.
    pub(super) fn detach(&self, call: &Arc<InboundCall>) {
        if let Some(prefix) = call.prefix() {
            self.dedup().detach(call, prefix);
        }
    }

    /// An idempotent call was not executed and will not be: it may be tried again.
    fn release(&self, call: &Arc<InboundCall>) {
        let Some(prefix) = call.prefix() else { return };
        let attached = self.dedup().release(call, prefix);
        attached.iter().for_each(|other| self.send_reject(other, OVERLOADED, Bytes::new()));
    }

    /// Whether a component may have this call: not revoked, not expired.
    pub(crate) fn take_call(&self, call: &Arc<InboundCall>) -> bool {
        if call.is_revoked() {
            // Cancelled between its way out of the queue and here: nobody has run it.
            self.release(call);
            return false;
        }
        let late = call.deadline() <= self.runtime.now();
        if late && !crate::mutant::on("expired_call_executed") {
            self.counters.inbound_expired.add(1);
            self.reject(call, EXPIRED, Bytes::new());
            return false;
        }
        true
    }

    /// `TooLarge` leaves the call unanswered: another answer may follow, or a reject.
    pub(crate) fn answer(&self, call: &Arc<InboundCall>, body: Body) -> Result<(), SendError> {
        self.transport.limits().check(call.lane(), body.len())?;
        match call.prefix() {
            Some(prefix) => self.answer_once(call, prefix, body),
            None => self.send_answer(call, body),
        }
    }

    /// Answers an idempotent call, keeps the answer, and gives it to whoever asked again meanwhile.
    /// It is kept only after the peer's limits were asked: what is kept cannot be made smaller.
    fn answer_once(
        &self,
        call: &Arc<InboundCall>,
        prefix: Prefix,
        body: Body,
    ) -> Result<(), SendError> {
        let mut answer = body.into_bytes();
        if answer.len() < COPY_BELOW {
            answer = Bytes::copy_from_slice(&answer);
        }
        let mut sent = self.send_answer(call, answer.clone().into());
        if sent == Err(SendError::Disconnected) {
            // The first try is gone; whoever tried again knows the limits as well.
            let other = self.dedup().first_attached(call, prefix);
            sent = other.map_or(sent, |other| self.send_answer(&other, answer.clone().into()));
        }
        if is_too_large(&sent) {
            return sent;
        }
        let attached = self.dedup().complete(call, prefix, &answer);
        attached.iter().for_each(|other| self.give_answer(other, answer.clone()));
        sent
    }

    /// An answer that stands already. Where it does not fit, the caller would wait in vain.
    fn give_answer(&self, call: &Arc<InboundCall>, answer: Bytes) {
        if is_too_large(&self.send_answer(call, answer.into())) {
            self.send_reject(call, ABANDONED, Bytes::new());
        }
    }

    fn send_answer(&self, call: &Arc<InboundCall>, body: Body) -> Result<(), SendError> {
        let peer = self.known(call.node()).ok_or(SendError::Disconnected)?;
        let now = self.runtime.now();
        let frame = self.with(&peer, |mux| mux.answer(now, call, body));
        let frame = frame.ok_or(SendError::Disconnected)?;
        let sent = self.transmit(call.node(), call.lane(), frame);
        if is_too_large(&sent) {
            self.with(&peer, |mux| mux.answer_not_sent(call.clone()));
        }
        sent
    }

    pub(crate) fn reject(&self, call: &Arc<InboundCall>, aux: u32, detail: Bytes) {
        if let Some(prefix) = call.prefix() {
            let attached = match aux {
                ABANDONED => self.dedup().abandon(call, prefix),
                _ => self.dedup().release(call, prefix),
            };
            // Expired is said of one call's own deadline; the others may ask again.
            let aux = if aux == EXPIRED { OVERLOADED } else { aux };
            attached.iter().for_each(|other| self.send_reject(other, aux, detail.clone()));
        }
        self.send_reject(call, aux, detail);
    }

    fn send_reject(&self, call: &Arc<InboundCall>, aux: u32, detail: Bytes) {
        let Some(peer) = self.known(call.node()) else { return };
        let now = self.runtime.now();
        if let Some(frame) = self.with(&peer, |mux| mux.reject(now, call, aux, detail)) {
            self.send_control(call.node(), call.lane(), frame);
        }
    }
}

const fn is_too_large(sent: &Result<(), SendError>) -> bool {
    matches!(sent, Err(SendError::TooLarge { .. }))
}

/// A call to be made.
pub(crate) struct CallRequest {
    pub(crate) channel: ChannelId,
    pub(crate) payload_checked: bool,
    pub(crate) to: NodeId,
    pub(crate) body: Body,
    pub(crate) options: CallOptions,
    /// Only idempotent calls have one.
    pub(crate) prefix: Option<Prefix>,
}
