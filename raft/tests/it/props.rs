//! Properties over generated inputs, each against something simpler that is plainly right.

use crate::golden::encoded;
use crate::group::{GROUP, message, nodes};
use bytes::Bytes;
use proptest::collection::{btree_set, vec};
use proptest::prelude::*;
use quorate_clocks::{Drift, Monotonic};
use quorate_raft::quorum::{self, VoteResult};
use quorate_raft::{
    AppendRequest, Ballot, Block, Body, Completion, EntryBody, Limits, LogId, LogIndex, LogStore,
    Membership, MemoryLog, Owner, Proposal, ReadId, SnapshotMeta, StoreError, Term, wire,
};
use quorate_transport::{ClusterId, NodeId};
use std::collections::BTreeSet;
use std::time::Duration;

/// Up to seven voters of ten.
fn half() -> impl Strategy<Value = Vec<NodeId>> {
    btree_set(1_u64..=10, 0..=7).prop_map(|ids| nodes(&ids.into_iter().collect::<Vec<_>>()))
}

/// Whether `yes` holds more than half of the voters; of none, every set does.
fn is_majority(voters: &[NodeId], yes: impl Fn(NodeId) -> bool) -> bool {
    voters.is_empty() || 2 * voters.iter().filter(|v| yes(**v)).count() > voters.len()
}

fn blocks_of(lens: &[(u64, usize)]) -> Vec<Block> {
    let (mut prev, mut blocks) = (LogId::ZERO, Vec::new());
    for (terms, count) in lens {
        let block = block_behind(prev, prev.term.value().max(1) + terms, *count);
        prev = block.last();
        blocks.push(block);
    }
    blocks
}

fn block_behind(prev: LogId, term: u64, count: usize) -> Block {
    let mut p = Proposal::new(&Limits::default());
    for n in 0..count {
        let data = format!("{term}/{}", prev.index.value() + 1 + n as u64);
        p.push(EntryBody::Normal(data.as_bytes())).unwrap();
    }
    p.stamp(GROUP, Term::new(term), prev, 7)
}

fn entries(blocks: &[Block]) -> Vec<(LogId, Bytes)> {
    let of = |b: &Block| b.iter().map(|e| (e.id, Bytes::copy_from_slice(e.data))).collect();
    blocks.iter().flat_map(|b| -> Vec<_> { of(b) }).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// The committed value is the largest that a majority of both halves has reached.
    #[test]
    fn quorum_commits_what_both_halves_reached(
        incoming in half(),
        outgoing in half(),
        acked in vec(0_u64..6, 11),
    ) {
        let at = |id: NodeId| acked[usize::try_from(id.value()).unwrap()];
        let reached = |v: &u64| {
            is_majority(&incoming, |id| at(id) >= *v) && is_majority(&outgoing, |id| at(id) >= *v)
        };
        let expected = if incoming.is_empty() && outgoing.is_empty() {
            None
        } else {
            (0..6).rev().find(reached)
        };
        prop_assert_eq!(quorum::committed(&incoming, &outgoing, at), expected);
    }

    /// A vote is won, lost, or open exactly if all, none, or some ways to fill in the missing
    /// answers win it.
    #[test]
    fn quorum_votes_like_every_completion(
        incoming in half(),
        outgoing in half(),
        answers in vec(proptest::option::of(any::<bool>()), 11),
    ) {
        let at = |id: NodeId| answers[usize::try_from(id.value()).unwrap()];
        let all: BTreeSet<NodeId> = incoming.iter().chain(&outgoing).copied().collect();
        let open: Vec<NodeId> = all.into_iter().filter(|id| at(*id).is_none()).collect();
        let (mut wins, mut losses) = (0_u32, 0_u32);
        for choice in 0..1_u32 << open.len() {
            let yes = |id: NodeId| match open.iter().position(|o| *o == id) {
                Some(bit) => choice >> bit & 1 == 1,
                None => at(id) == Some(true),
            };
            if is_majority(&incoming, yes) && is_majority(&outgoing, yes) {
                wins += 1;
            } else {
                losses += 1;
            }
        }
        let expected = match (wins, losses) {
            (_, 0) => VoteResult::Won,
            (0, _) => VoteResult::Lost,
            _ => VoteResult::Pending,
        };
        prop_assert_eq!(quorum::vote(&incoming, &outgoing, at), expected);
    }

    #[test]
    fn members_are_sorted_and_once(a in half(), b in half()) {
        let m = Membership::of_voters(&a).with_learners(&b);
        let expected: BTreeSet<NodeId> = a.iter().chain(&b).copied().collect();
        prop_assert_eq!(m.members(), expected.into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn blocks_round_trip(
        data in vec(vec(any::<u8>(), 0..40), 1..20),
        term in 1_u64..1 << 40,
        prev in 0_u64..1 << 40,
        time in any::<u64>(),
    ) {
        let mut p = Proposal::new(&Limits::default());
        data.iter().for_each(|d| p.push(EntryBody::Normal(d)).unwrap());
        let block = p.stamp(GROUP, Term::new(term), LogId::new(term - 1, prev), time);
        let again = Block::decode(block.as_bytes().clone(), &Limits::default()).unwrap();
        prop_assert_eq!(&again, &block);
        prop_assert_eq!(again.time_ms(), time);
        prop_assert_eq!(again.last().index.value(), prev + data.len() as u64);
        let found: Vec<Vec<u8>> = again.iter().map(|e| e.data.to_vec()).collect();
        prop_assert_eq!(found, data);
    }

    /// Cutting a block is cutting the list of its entries, and what is cut fits together again.
    #[test]
    fn parts_of_a_block_are_parts_of_its_entries(count in 1_usize..12, at in 0_u64..20) {
        let block = block_behind(LogId::new(2, 4), 3, count);
        let (whole, at) = (entries(std::slice::from_ref(&block)), LogIndex::new(at));
        let head = block.prefix(LogIndex::new(at.value().saturating_sub(1)));
        let tail = block.suffix(at);
        let kept: Vec<Block> = head.iter().chain(&tail).cloned().collect();
        prop_assert_eq!(entries(&kept), whole);
        if let (Some(head), Some(tail)) = (&head, &tail) {
            prop_assert_eq!(tail.prev(), head.last());
        }
        for part in kept {
            prop_assert_eq!(Block::decode(part.as_bytes().clone(), &Limits::default()), Ok(part));
        }
    }

    /// What is decoded is what was encoded: the bytes of both are the same.
    #[test]
    fn messages_round_trip(
        term in 0_u64..1 << 50,
        id in (0_u64..1 << 50, 0_u64..1 << 50),
        n in any::<u64>(),
        yes in any::<bool>(),
        ids in vec(any::<u64>(), 0..20),
        blocks in vec((0_u64..3, 1_usize..4), 0..12),
    ) {
        let (log, index) = (LogId::new(id.0, id.1), LogIndex::new(id.1));
        let mut ballot = Ballot::default();
        ballot.last = log;
        ballot.commit = LogId::new(id.1, id.0);
        ballot.force = yes;
        let ids: Vec<ReadId> = ids.into_iter().map(ReadId::new).collect();
        let stamp = Monotonic::from_nanos(n);
        let promise = Duration::from_millis(id.0 >> 18);
        let bodies = vec![
            Body::Append { prev: log, commit: index, blocks: blocks_of(&blocks) },
            Body::Accepted { index },
            Body::Rejected { index, hint: LogId::new(id.0, n) },
            Body::SnapshotRequest { have: index },
            Body::PreVote(ballot),
            Body::Vote(ballot),
            Body::PreVoteResp { granted: yes, commit: log },
            Body::VoteResp { granted: yes, commit: log },
            Body::Heartbeat { commit: index, read: n, stamp },
            Body::HeartbeatResp { read: n, stamp, promise },
            Body::Commit { index },
            Body::ReadIndex { ids: ids.clone(), lease: yes },
            Body::ReadIndexResp { index, ids },
        ];
        for body in bodies {
            let bytes = encoded(&message(term, body));
            let (again, store) = wire::decode(&bytes, &Limits::default()).unwrap();
            prop_assert_eq!((encoded(&again), store), (bytes, 0x99));
        }
    }

    /// Whatever the two clocks do within what they say of themselves, and whenever the heartbeat
    /// arrives: the leader's count of a promise ends before the voter's, in true time.
    #[test]
    fn a_lease_ends_before_the_promise_behind_it(
        promise in 0_u64..600_000_000_000,
        bounds in (0_u32..=500_000, 0_u32..=500_000),
        // Rates as shares of what is allowed, in thousandths: -1000 is as slow as may be.
        rates in (-1_000_i64..=1_000, -1_000_i64..=1_000),
        late in 0_u64..1_000_000_000,
    ) {
        let drift = |ppm| Drift::from_ppm(ppm).unwrap();
        let counted = drift(bounds.0).shrink(Duration::from_nanos(promise)).as_nanos();
        let kept = drift(bounds.1).stretch(Duration::from_nanos(promise)).as_nanos();
        // How much true time passes while a clock shows so much, in billionths of a nanosecond.
        let rate = |bound: u32, share: i64| {
            u128::try_from(1_000_000_000 + i64::from(bound) * share).unwrap()
        };
        let leader_ends = counted * 1_000_000_000_000_000_000 / rate(bounds.0, rates.0);
        let voter_ends = kept * 1_000_000_000_000_000_000 / rate(bounds.1, rates.1)
            + u128::from(late) * 1_000_000_000;
        prop_assert!(leader_ends <= voter_ends, "{leader_ends} > {voter_ends}");
    }

    /// Bytes that mean nothing are refused, never misread into a panic.
    #[test]
    fn noise_is_refused(bytes in vec(any::<u8>(), 0..300)) {
        prop_assert!(wire::decode(&bytes.clone().into(), &Limits::default()).is_err());
        prop_assert!(Block::decode(bytes.into(), &Limits::default()).is_err());
    }
}

/// What one step does to a log.
#[derive(Clone, Debug)]
enum Step {
    /// A block of so many entries that begins so far before the end, in a term higher by so much.
    Append { back: u64, terms: u64, count: usize },
    /// Everything up to so far before the end is in a snapshot.
    Compact { back: u64 },
    /// A snapshot so far behind the end replaces the log.
    Install { ahead: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0_u64..6, 0_u64..2, 1_usize..5)
            .prop_map(|(back, terms, count)| Step::Append { back, terms, count }),
        2 => (0_u64..8).prop_map(|back| Step::Compact { back }),
        1 => (0_u64..5).prop_map(|ahead| Step::Install { ahead }),
    ]
}

/// A log as a list: entry n stands at n; what is compacted is still there to compare with.
#[derive(Default)]
struct Model {
    entries: Vec<LogId>,
    start: u64,
}

impl Model {
    fn last(&self) -> LogId {
        self.entries.last().copied().unwrap_or(LogId::ZERO)
    }

    fn id(&self, index: u64) -> LogId {
        index.checked_sub(1).map_or(LogId::ZERO, |i| self.entries[usize::try_from(i).unwrap()])
    }
}

fn meta_at(id: LogId) -> SnapshotMeta {
    SnapshotMeta::new(id, Membership::of_voters(&nodes(&[1])))
}

fn now<T: Send + 'static>(call: impl FnOnce(Completion<T>)) -> Result<T, StoreError> {
    let (tx, rx) = std::sync::mpsc::channel();
    call(Completion::new(move |result| tx.send(result).unwrap()));
    rx.recv().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// The log in memory against a list, over appends that replace, compactions and snapshots.
    #[test]
    fn memory_log_is_a_list(steps in vec(step(), 1..30)) {
        let mut store = MemoryLog::new();
        let owner = Owner::new(ClusterId::new(7), NodeId::new(1));
        store.open(GROUP, owner).unwrap();
        let mut model = Model::default();
        for step in steps {
            let last = model.last().index.value();
            match step {
                Step::Append { back, terms, count } => {
                    let keep = last.saturating_sub(back).max(model.start);
                    let term = model.last().term.value().max(1) + terms + u64::from(back > 0);
                    let block = block_behind(model.id(keep), term, count);
                    model.entries.truncate(usize::try_from(keep).unwrap());
                    model.entries.extend(block.iter().map(|e| e.id));
                    let blocks = [block];
                    let request = AppendRequest::new(None, &blocks, None, true);
                    now(|done| store.append(GROUP, request, done)).unwrap();
                }
                Step::Compact { back } => {
                    let to = last.saturating_sub(back).max(model.start);
                    store.compact(GROUP, &meta_at(model.id(to))).unwrap();
                    model.start = to;
                }
                Step::Install { ahead } => {
                    let id = LogId::new(model.last().term.value() + 1, last + 1 + ahead);
                    let meta = meta_at(id);
                    let request = AppendRequest::new(None, &[], Some(&meta), true);
                    now(|done| store.append(GROUP, request, done)).unwrap();
                    model.entries.resize(usize::try_from(id.index.value()).unwrap(), id);
                    model.start = id.index.value();
                }
            }
            let open = store.open(GROUP, owner).unwrap();
            prop_assert_eq!(open.last, model.last());
            prop_assert_eq!(open.mark.map_or(0, |m| m.last.index.value()), model.start);
            let from = LogIndex::new(model.start + 1);
            let loaded = now(|done| store.load(GROUP, from, u64::MAX, done)).unwrap();
            let found: Vec<LogId> =
                entries(&loaded).into_iter().map(|e| e.0).filter(|id| id.index >= from).collect();
            let live = &model.entries[usize::try_from(model.start).unwrap()..];
            prop_assert_eq!(&found[..], live);
        }
    }
}
