//! What is malformed, altered, foreign or too much is refused with a typed answer and changes
//! nothing.

use crate::golden::{a_block, a_session_block, encoded, lease_messages, messages};
use crate::group::{
    GROUP, Group, T, block, boot, draft, heartbeat, heartbeat_resp, index, message, node, proposal,
};
use bytes::Bytes;
use quorate_clocks::Monotonic;
use quorate_raft::{
    Block, BlockError, Body, BootError, BusyWhy, Config, EntryBody, GroupId, Limits, LogId,
    Membership, MemorySnapshots, Message, Proposal, ProposeError, Raft, ReadError, ReadId,
    SnapshotMeta, SnapshotStore as _, StepError, Term, wire, write_snapshot,
};
use quorate_transport::NodeId;
use std::io;

const LIMITS: fn() -> Limits = Limits::default;

fn refused(bytes: &[u8]) -> StepError {
    match wire::decode(&Bytes::copy_from_slice(bytes), &LIMITS()) {
        Err(error) => error,
        Ok((message, _)) => panic!("taken: {message:?}"),
    }
}

/// Puts a right checksum on an altered header of a message.
fn resealed(bytes: &mut [u8]) {
    bytes[4..8].fill(0);
    let crc = crc32fast::hash(&bytes[..96]);
    bytes[4..8].copy_from_slice(&crc.to_le_bytes());
}

/// The same for a block.
fn resealed_block(bytes: &mut [u8]) -> Result<Block, BlockError> {
    let body_crc = crc32fast::hash(&bytes[64..]);
    bytes[56..60].copy_from_slice(&body_crc.to_le_bytes());
    let crc = crc32fast::hash(&bytes[..60]);
    bytes[60..64].copy_from_slice(&crc.to_le_bytes());
    Block::decode(Bytes::copy_from_slice(bytes), &LIMITS())
}

#[test]
fn every_flipped_bit_of_every_message_is_refused() {
    for message in messages().into_iter().chain(lease_messages()) {
        let bytes = encoded(&message);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            refused(&flipped);
        }
    }
}

#[test]
fn every_flipped_bit_of_a_block_is_refused() {
    let bytes = a_block().as_bytes().clone();
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(Block::decode(flipped.into(), &LIMITS()).is_err(), "bit {bit}");
    }
}

#[test]
fn messages_cut_short_or_too_long_are_refused() {
    for message in messages().into_iter().chain(lease_messages()) {
        let bytes = encoded(&message);
        for len in 0..bytes.len() {
            refused(&bytes[..len]);
        }
        refused(&[&bytes[..], &[0]].concat());
    }
    // A body where none belongs, with every checksum right.
    let mut bytes = encoded(&message(3, Body::TimeoutNow)).to_vec();
    bytes.extend_from_slice(&[0; 8]);
    bytes[92] = 8;
    resealed(&mut bytes);
    assert_eq!(refused(&bytes), StepError::Malformed { what: "trailing bytes" });
}

#[test]
fn blocks_cut_short_or_too_long_are_refused() {
    let bytes = a_block().as_bytes().clone();
    for len in 0..bytes.len() {
        let cut = Block::decode(bytes.slice(..len), &LIMITS());
        assert!(matches!(cut, Err(BlockError::Truncated { .. })), "cut to {len}: {cut:?}");
    }
    let longer = [&bytes[..], &[0]].concat();
    let refusal = Block::decode(longer.into(), &LIMITS());
    assert_eq!(refusal, Err(BlockError::Trailing { bytes: 1 }));
}

#[test]
fn other_versions_kinds_and_numbers_out_of_range_are_refused() {
    let fresh = || encoded(&message(3, Body::Commit { index: index(8) })).to_vec();
    let with = |at: usize, value: u8| {
        let mut bytes = fresh();
        bytes[at] = value;
        resealed(&mut bytes);
        bytes
    };
    assert_eq!(refused(&with(0, 2)), StepError::Malformed { what: "version" });
    for kind in [0, 11, 16, 255] {
        assert_eq!(refused(&with(1, kind)), StepError::Malformed { what: "kind" });
    }
    // Term, log term, log index, commit index, commit term: near the end of the numbers.
    for at in [16, 24, 32, 40, 48] {
        let mut bytes = fresh();
        bytes[at..at + 8].fill(0xFF);
        resealed(&mut bytes);
        let expected = StepError::Malformed { what: "term or index out of range" };
        assert_eq!(refused(&bytes), expected, "field at {at}");
    }
}

#[test]
fn block_fields_that_no_writer_produces_are_refused() {
    let with = |at: usize, value: &[u8]| {
        let mut bytes = a_block().as_bytes().to_vec();
        bytes[at..at + value.len()].copy_from_slice(value);
        resealed_block(&mut bytes)
    };
    let field = |what| Err(BlockError::Field { what });
    assert_eq!(with(0, b"QRB2"), Err(BlockError::Magic { found: u32::from_le_bytes(*b"QRB2") }));
    assert_eq!(with(4, &[2]), Err(BlockError::Version { found: 2 }));
    assert_eq!(with(5, &[2]), field("flags"));
    assert_eq!(with(6, &[1]), field("flags"));
    assert_eq!(with(16, &[0; 8]), field("term"));
    assert_eq!(with(24, &[0; 8]), field("first index"));
    assert_eq!(with(24, &[0xFF; 8]), field("first index"));
    assert_eq!(with(24, &(u64::MAX - 2).to_le_bytes()), field("first index"));
    assert_eq!(with(32, &[4]), field("term"));
    assert_eq!(with(48, &[0]), field("count"));
    assert_eq!(with(48, &[3]), Err(BlockError::Count { expected: 3, found: 2 }));
    assert_eq!(with(64, &[2]), field("membership change: head"));
    assert_eq!(with(5, &[1]), field("flag of membership changes"));
    assert_eq!(with(64, &[9]), Err(BlockError::Kind { found: 9 }));
    assert_eq!(with(64, &[0]), Err(BlockError::Kind { found: 0 }), "a Noop with data");
    assert_eq!(with(65, &[1]), field("entry padding"));
    assert_eq!(with(68, &[3]), field("entry header"), "7 bytes are left for the next entry");
    assert_eq!(with(68, &[200]), field("entry length"));
}

/// A request at 72, an opening at 106, a closing at 138: behind the headers of the entries.
#[test]
fn malformed_session_entries_are_refused() {
    let with = |at: usize, value: &[u8]| {
        let mut bytes = a_session_block().as_bytes().to_vec();
        bytes[at..at + value.len()].copy_from_slice(value);
        resealed_block(&mut bytes)
    };
    assert!(with(72, &[4]).is_ok(), "as it was");
    let malformed = Err(BlockError::Field { what: "session entry" });
    for (at, value, what) in [
        (72, &[0; 8][..], "a request of session 0"),
        (80, &[0; 8], "number 0"),
        (80, &[7], "acknowledges itself"),
        (88, &[0xFF; 8], "acknowledges the future"),
        (106, &[0; 8], "no time to live"),
        (114, &[0; 4], "no sessions"),
        (114, &[0xFF; 4], "too many sessions"),
        (118, &[0; 4], "no window"),
        (118, &[0xFF; 4], "too wide a window"),
        (122, &[0xFF; 4], "too large replies"),
        (126, &[1], "padding"),
        (138, &[0; 8], "closes session 0"),
    ] {
        assert_eq!(with(at, value), malformed, "{what}");
    }
    // Each of them too short and too long.
    for (kind, right) in [(3, 24..=usize::MAX), (4, 24..=24), (5, 8..=8)] {
        for len in 0..40 {
            let block = block(3, LogId::ZERO, &[&"\u{1}".repeat(len)]);
            let mut bytes = block.as_bytes().to_vec();
            bytes[64] = kind;
            // A request's number must be above what it acknowledges; an opening ends with zeros.
            if kind == 3 && len >= 24 {
                bytes[88..96].fill(0);
            } else if kind == 4 && len == 24 {
                bytes[80..96].copy_from_slice(&[1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
            }
            let expected = right.contains(&len);
            assert_eq!(resealed_block(&mut bytes).is_ok(), expected, "kind {kind}, {len} bytes");
        }
    }
}

#[test]
fn every_flipped_bit_of_a_block_with_sessions_is_refused() {
    let bytes = a_session_block().as_bytes().clone();
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(Block::decode(flipped.into(), &LIMITS()).is_err(), "bit {bit}");
    }
}

#[test]
fn what_is_over_the_limits_is_refused_before_it_is_looked_at() {
    let mut big = Proposal::new(&LIMITS().entry_bytes_max(2_000).block_bytes_max(2_000));
    big.push(EntryBody::Normal(&[7; 1_000])).unwrap();
    big.push(EntryBody::Normal(&[7; 900])).unwrap();
    let bytes = big.stamp(GROUP, Term::new(1), LogId::ZERO, 0).as_bytes().clone();
    let decode = |limits: Limits| Block::decode(bytes.clone(), &limits).map(|b| b.count());
    assert_eq!(decode(LIMITS()), Ok(2));
    let small = LIMITS().entry_bytes_max(900).block_bytes_max(900);
    assert_eq!(decode(small), Err(BlockError::TooLarge { found: 1_916, max: 908 }));
    let entry = LIMITS().entry_bytes_max(999).block_bytes_max(4_000);
    assert_eq!(decode(entry), Err(BlockError::TooLarge { found: 1_000, max: 999 }));
    let count = LIMITS().block_entries_max(1);
    assert_eq!(decode(count), Err(BlockError::Field { what: "count" }));
    // A length that nothing backs allocates nothing.
    let mut huge = bytes.to_vec();
    huge[52..56].copy_from_slice(&u32::MAX.to_le_bytes());
    let crc = crc32fast::hash(&huge[..60]);
    huge[60..64].copy_from_slice(&crc.to_le_bytes());
    assert!(matches!(Block::decode(huge.into(), &LIMITS()), Err(BlockError::TooLarge { .. })));
}

#[test]
fn too_many_or_half_read_ids_are_refused() {
    let ids = |n: u64| (0..n).map(ReadId::new).collect();
    let most = encoded(&message(0, Body::ReadIndex { ids: ids(4_096), lease: false }));
    assert!(wire::decode(&most, &LIMITS()).is_ok());
    let over = encoded(&message(0, Body::ReadIndex { ids: ids(4_097), lease: false }));
    assert_eq!(refused(&over), StepError::Malformed { what: "read ids" });
    let mut half = encoded(&message(0, Body::ReadIndex { ids: ids(1), lease: false })).to_vec();
    half.pop();
    half[92] = 7;
    let crc = crc32fast::hash(&half[96..]);
    half[56..60].copy_from_slice(&crc.to_le_bytes());
    resealed(&mut half);
    assert_eq!(refused(&half), StepError::Malformed { what: "read ids" });
}

/// What a core refuses leaves no trace: its status, and that it wants nothing done.
fn refuses(g: &mut Group, from: u64, m: Message, expected: &StepError) {
    let before = format!("{:?}", g.raft(2).status());
    let now = g.now;
    let found = g.raft(2).handle_message(now, node(from), m);
    assert_eq!(found.as_ref(), Err(expected));
    assert_eq!(format!("{:?}", g.raft(2).status()), before);
    assert!(!g.raft(2).has_output());
}

#[test]
fn messages_of_others_have_no_effect() {
    let mut g = Group::with(&draft().build().unwrap(), vec![boot(2, &[1, 2, 3], 1, &[])]);
    let other = Message::new(GroupId::new(9), Term::new(9), Body::TimeoutNow);
    let wrong = StepError::WrongGroup { expected: GROUP, found: GroupId::new(9) };
    refuses(&mut g, 1, other, &wrong);
    let unknown = StepError::UnknownPeer { from: node(7) };
    let answers = [
        Body::Accepted { index: index(1) },
        Body::Rejected { index: index(1), hint: LogId::ZERO },
        Body::PreVoteResp { granted: true, commit: LogId::ZERO },
        Body::VoteResp { granted: true, commit: LogId::ZERO },
        heartbeat_resp(1),
        Body::ReadIndexResp { index: index(1), ids: vec![ReadId::new(1)] },
    ];
    for body in answers {
        refuses(&mut g, 7, message(9, body), &unknown);
    }
}

#[test]
fn blocks_that_do_not_fit_their_message_leave_the_log_alone() {
    let mut g = Group::with(&draft().build().unwrap(), vec![boot(2, &[1, 2, 3], 1, &[])]);
    let first = block(1, LogId::ZERO, &["a"]);
    let gap = block(1, LogId::new(1, 2), &["c"]);
    let later = block(5, LogId::ZERO, &["a"]);
    let foreign = proposal(&["a"]).stamp(GroupId::new(9), Term::new(1), LogId::ZERO, 0);
    let contiguous = StepError::Malformed { what: "blocks are not contiguous" };
    let cases = [
        (vec![first, gap], contiguous.clone()),
        (vec![block(1, LogId::new(1, 1), &["b"])], contiguous),
        (vec![later], StepError::Malformed { what: "block of a later term than its message" }),
        (vec![foreign], StepError::WrongGroup { expected: GROUP, found: GroupId::new(9) }),
    ];
    for (blocks, expected) in cases {
        let append = Body::Append { prev: LogId::ZERO, commit: index(9), blocks };
        assert_eq!(g.hand(1, 2, message(1, append)), Err(expected));
        assert_eq!((g.last(2), g.commit(2)), (LogId::ZERO, 0));
        assert!(g.flights.is_empty(), "nor is anything acknowledged");
    }
}

/// Whatever a leader claims to be committed, a follower commits only what it holds.
#[test]
fn a_commit_index_beyond_the_log_is_cut_to_it() {
    let mut g = Group::with(&draft().build().unwrap(), vec![boot(2, &[1, 2, 3], 1, &[])]);
    let blocks = vec![block(1, LogId::ZERO, &["a", "b"])];
    let append = Body::Append { prev: LogId::ZERO, commit: index(99), blocks };
    g.hand(1, 2, message(1, append)).unwrap();
    assert_eq!(g.commit(2), 2);
    g.hand(1, 2, message(1, heartbeat(99, 0))).unwrap();
    g.hand(1, 2, message(1, Body::Commit { index: index(99) })).unwrap();
    assert_eq!(g.commit(2), 2);
}

#[test]
fn proposals_are_refused_for_a_reason_and_not_appended() {
    let ids = [1, 2, 3];
    let config = draft().uncommitted_bytes_max(1 << 10).build().unwrap();
    let mut g = Group::with(&config, ids.iter().map(|id| boot(*id, &ids, 0, &[])).collect());
    assert_eq!(g.propose(1, "a"), Err(ProposeError::NoLeader));
    g.elect(1);
    assert_eq!(g.propose(2, "a"), Err(ProposeError::NotLeader { leader: node(1) }));
    let now = g.now;
    let empty = g.raft(1).propose(now, Proposal::new(&LIMITS())).map_err(|(e, _)| e);
    assert_eq!(empty, Err(ProposeError::Empty));
    g.isolate(1, &[2, 3]);
    let large = "x".repeat(900);
    g.propose(1, &large).unwrap();
    let last = g.last(1);
    let busy = ProposeError::Busy { why: BusyWhy::Uncommitted };
    assert_eq!(g.propose(1, &large), Err(busy));
    assert_eq!(g.last(1), last);
    g.cut.clear();
    g.pass(T / 2);
    g.propose(1, &large).unwrap();
}

#[test]
fn reads_are_refused_for_a_reason() {
    let ids = [1, 2, 3];
    let config = draft().reads_pending_max(2).build().unwrap();
    let mut g = Group::with(&config, ids.iter().map(|id| boot(*id, &ids, 0, &[])).collect());
    let now = g.now;
    assert_eq!(g.raft(1).read(now, ReadId::new(1)), Err(ReadError::NoLeader));
    g.elect(1);
    g.read(1, 1);
    g.read(1, 2);
    assert_eq!(g.raft(1).read(now, ReadId::new(3)), Err(ReadError::Busy));
    g.settle();
    g.read(1, 3);
}

#[test]
fn entries_over_the_limit_never_enter_a_proposal() {
    let limits = LIMITS().entry_bytes_max(4).block_bytes_max(20).block_entries_max(2);
    let mut p = Proposal::new(&limits);
    assert_eq!(p.push(EntryBody::Normal(b"12345")).unwrap_err().what, "entry");
    p.push(EntryBody::Normal(b"1")).unwrap();
    assert_eq!(p.push(EntryBody::Normal(b"1234")).unwrap_err().what, "block", "20 bytes");
    p.push(EntryBody::Normal(b"1")).unwrap();
    assert_eq!(p.push(EntryBody::Normal(b"")).unwrap_err().what, "block", "2 entries");
    assert_eq!(p.count(), 2);
}

#[test]
fn starts_that_contradict_themselves_are_refused() {
    let config: Config = draft().build().unwrap();
    let start = |boot| Raft::new(config.clone(), boot, Monotonic::ZERO, 1).map(drop);
    let many: Vec<u64> = (1..=16).collect();
    assert_eq!(start(boot(1, &many, 0, &[])), Err(BootError::Membership));
    assert_eq!(start(boot(1, &many[..15], 0, &[])), Ok(()));
    let mut learners = boot(1, &[], 0, &[]);
    learners.membership = Membership::default().with_learners(&[node(1)]);
    assert_eq!(start(learners), Err(BootError::Membership));
    let mut ahead = boot(1, &[1], 1, &[block(1, LogId::ZERO, &["a", "b"])]);
    ahead.applied = index(2);
    let expected = BootError::Applied { applied: index(2), first: index(0), commit: index(0) };
    assert_eq!(start(ahead), Err(expected));
}

/// More voters than majorities are counted over: refused where it is read, so that it never gets to
/// where it is counted.
#[test]
fn a_snapshot_with_too_many_voters_is_refused() {
    for (voters, fits) in [(15, true), (16, false)] {
        let members: Vec<NodeId> = (1..=voters).map(NodeId::new).collect();
        let meta = SnapshotMeta::new(LogId::new(1, 9), Membership::of_voters(&members));
        let mut file = Vec::new();
        let state = |w: &mut dyn io::Write| w.write_all(b"x");
        write_snapshot(&mut file, &meta, Box::new(state)).unwrap();
        let mut receiver = MemorySnapshots::new().receive(&meta).unwrap();
        receiver.write(&file).unwrap();
        assert_eq!(receiver.finish().is_ok(), fits, "{voters} voters");
    }
}
