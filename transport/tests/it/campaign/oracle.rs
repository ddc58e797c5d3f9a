//! What was sent, what arrived, what the senders were told; and whether the three agree.

use crate::support::counts;
use quorate_transport::*;
use std::collections::BTreeMap;

/// Names one thing that was sent in a run.
pub type Id = u64;

/// One-way messages of one sender's life to one node on one lane, by rising number.
type Stream = (NodeId, Incarnation, NodeId, Lane);

#[derive(Default)]
pub struct Oracle {
    /// Latest number delivered. // G2
    messages: BTreeMap<Stream, Id>,
    /// Latest incarnation of a node that spoke to a life of another. // G9
    lives: BTreeMap<(NodeId, Incarnation, NodeId), Incarnation>,
    refused: BTreeMap<Id, ()>,
    calls: BTreeMap<Id, Call>,
    streams: BTreeMap<Id, Stream1>,
    pub totals: Totals,
}

#[derive(Default)]
struct Call {
    idempotent: bool,
    executed: u32,
    outcome: Option<Result<(), CallError>>,
}

#[derive(Default)]
struct Stream1 {
    accepted: u32,
    outcome: Option<Result<(), StreamError>>,
}

counts!(Totals:
    // Faults.
    cuts,
    restarts,
    deaf_phases,
    frames_delayed,
    sessions_broken,
    black_holes,
    frames_swallowed,
    queues_full,
    datagrams_lost,
    datagrams_doubled,
    datagrams_corrupted,
    datagrams_delayed,
    // What came of it.
    messages_sent,
    messages_delivered,
    messages_refused,
    datagrams_sent,
    datagrams_delivered,
    calls_ok,
    calls_not_sent,
    calls_rejected,
    calls_maybe_executed,
    calls_maybe_unexecuted,
    calls_dropped,
    idempotent_ok,
    idempotent_definite,
    idempotent_maybe,
    idempotent_restarted,
    dedup_hits,
    streams_ok,
    streams_failed,
    streams_maybe,
    sessions_up,
    peers_down,
);

impl Oracle {
    /// A frame of this life of `from` reached this life of `to`.
    pub fn heard(&mut self, from: Peer, to: Identity) {
        let key = (to.node, to.incarnation, from.node);
        let latest = self.lives.entry(key).or_insert(from.incarnation);
        assert!(
            from.incarnation >= *latest,
            "G9: node {} of life {:?} spoke after {latest:?}",
            from.node,
            from.incarnation
        );
        *latest = from.incarnation;
    }

    pub fn message_delivered(&mut self, from: Peer, to: NodeId, lane: Lane, id: Id) {
        self.totals.messages_delivered += 1;
        assert!(!self.refused.contains_key(&id), "G3: a refused message {id} was delivered");
        let key = (from.node, from.incarnation, to, lane);
        let last = self.messages.insert(key, id).unwrap_or(0);
        assert!(id > last, "G1, G2: message {id} after {last} on {lane}");
    }

    pub fn message_refused(&mut self, id: Id) {
        self.totals.messages_refused += 1;
        self.refused.insert(id, ());
    }

    pub fn call_begins(&mut self, id: Id, idempotent: bool) {
        self.calls.insert(id, Call { idempotent, ..Call::default() });
    }

    /// A component answered: that is its effect.
    pub fn call_executed(&mut self, id: Id) {
        let call = self.calls.get_mut(&id).expect("G1: a call nobody made");
        call.executed += 1;
        assert!(call.executed == 1, "G5, G6: call {id} executed {} times", call.executed);
    }

    pub fn call_ended(&mut self, id: Id, outcome: Result<(), CallError>) {
        let call = self.calls.get_mut(&id).expect("a call that was begun");
        assert!(call.outcome.is_none(), "G1: call {id} ended twice");
        call.outcome = Some(outcome);
    }

    pub fn stream_begins(&mut self, id: Id) {
        self.streams.insert(id, Stream1::default());
    }

    pub fn stream_accepted(&mut self, id: Id) {
        let stream = self.streams.get_mut(&id).expect("G12: a stream nobody sent");
        stream.accepted += 1;
        assert!(stream.accepted == 1, "G12: stream {id} accepted twice");
    }

    pub fn stream_ended(&mut self, id: Id, outcome: Result<(), StreamError>) {
        let stream = self.streams.get_mut(&id).expect("a stream that was begun");
        assert!(stream.outcome.is_none());
        stream.outcome = Some(outcome);
    }

    /// Calls that were answered so far.
    pub fn answered(&self) -> usize {
        self.calls.values().filter(|call| matches!(call.outcome, Some(Ok(())))).count()
    }

    /// Nothing goes on any more: both ends agree.
    pub fn finish(mut self) -> Totals {
        for (id, call) in &self.calls {
            judge_call(*id, call, &mut self.totals);
        }
        for (id, stream) in &self.streams {
            judge_stream(*id, stream, &mut self.totals);
        }
        self.totals
    }
}

fn judge_call(id: Id, call: &Call, totals: &mut Totals) {
    let executed = call.executed > 0;
    let Some(outcome) = &call.outcome else {
        totals.calls_dropped += 1;
        return;
    };
    match outcome {
        Ok(()) => assert!(executed, "G5: call {id} was answered and not executed"),
        Err(error) if error.is_definite() => {
            assert!(!executed, "G5: call {id} was executed and reported as {error}");
        }
        Err(_) => {}
    }
    let counter = match (call.idempotent, outcome) {
        (false, Ok(())) => &mut totals.calls_ok,
        (false, Err(CallError::NotSent(_))) => &mut totals.calls_not_sent,
        (false, Err(CallError::Rejected(_))) => &mut totals.calls_rejected,
        (false, Err(_)) if executed => &mut totals.calls_maybe_executed,
        (false, Err(_)) => &mut totals.calls_maybe_unexecuted,
        (true, Ok(())) => &mut totals.idempotent_ok,
        (true, Err(error)) if error.is_definite() => &mut totals.idempotent_definite,
        (true, Err(CallError::MaybeExecuted(maybe))) if maybe.cause == Cause::Restarted => {
            &mut totals.idempotent_restarted
        }
        (true, Err(_)) => &mut totals.idempotent_maybe,
    };
    *counter += 1;
}

fn judge_stream(id: Id, stream: &Stream1, totals: &mut Totals) {
    let accepted = stream.accepted > 0;
    match &stream.outcome {
        Some(Ok(())) => {
            assert!(accepted, "G12: stream {id} finished and was not accepted");
            totals.streams_ok += 1;
        }
        Some(Err(error)) if error.is_definite() => {
            assert!(!accepted, "G12: stream {id} was accepted and reported as {error}");
            totals.streams_failed += 1;
        }
        Some(Err(_)) => totals.streams_maybe += 1,
        None => {}
    }
}
