//! Sessions: the table against a model, its encoding, and (in `nodes`) whole nodes that repeat
//! requests.

pub(crate) mod nodes;

use crate::golden::hex;
use proptest::collection::vec;
use proptest::prelude::*;
use quorate_raft::{
    LogIndex, ProposeError, SessionId, SessionLimits, SessionTable, SessionVerdict,
};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::time::Duration;

fn limits(ttl_ms: u64) -> SessionLimits {
    SessionLimits::new(Duration::from_millis(ttl_ms))
}

fn index(n: u64) -> LogIndex {
    LogIndex::new(n)
}

const fn refused(why: ProposeError) -> SessionVerdict {
    SessionVerdict::Refused(why)
}

/// Asks, and answers with `reply` if it is to be applied.
fn ask(table: &mut SessionTable, time: u64, id: SessionId, seq: u64, ack: u64) -> SessionVerdict {
    let verdict = table.request(time, id, seq, ack);
    if verdict == SessionVerdict::Apply {
        table.answered(id, seq, format!("r{seq}").as_bytes());
    }
    verdict
}

fn encoded(table: &SessionTable) -> Vec<u8> {
    let frozen = table.freeze();
    let mut bytes = Vec::new();
    frozen.write_to(&mut bytes).unwrap();
    assert_eq!(bytes.len() as u64, frozen.encoded_bytes());
    bytes
}

fn decoded(bytes: &[u8]) -> std::io::Result<SessionTable> {
    SessionTable::read_from(&mut &bytes[..], bytes.len() as u64)
}

#[test]
fn a_repeated_request_is_answered_and_not_applied() {
    let mut table = SessionTable::new();
    let id = table.open(index(4), 0, &limits(100));
    assert_eq!(id, SessionId::new(4));
    assert_eq!(ask(&mut table, 0, id, 1, 0), SessionVerdict::Apply);
    assert_eq!(ask(&mut table, 1, id, 2, 0), SessionVerdict::Apply);
    assert_eq!(ask(&mut table, 2, id, 1, 0), SessionVerdict::Repeated("r1".into()));
    assert_eq!(table.request(2, id, 3, 1), SessionVerdict::Apply);
    assert_eq!(table.request(2, id, 3, 1), SessionVerdict::Pending, "not answered yet");
    assert_eq!(ask(&mut table, 3, id, 1, 0), refused(ProposeError::SequenceReused), "acknowledged");
}

#[test]
fn who_is_not_used_for_longer_than_it_lives_has_expired() {
    let mut table = SessionTable::new();
    let id = table.open(index(1), 1_000, &limits(100));
    assert_eq!(ask(&mut table, 1_100, id, 1, 0), SessionVerdict::Apply, "exactly as long");
    assert_eq!(ask(&mut table, 1_200, id, 1, 0), SessionVerdict::Repeated("r1".into()), "renewed");
    let expired = refused(ProposeError::SessionExpired);
    assert_eq!(ask(&mut table, 1_301, id, 2, 0), expired);
    assert_eq!(ask(&mut table, 1_301, SessionId::new(9), 1, 0), expired, "never opened");
    assert!(table.is_empty());
    assert!(!table.close(1_301, id), "closing what is gone is no mistake");
}

#[test]
fn too_far_ahead_of_what_was_acknowledged_is_refused_and_not_noted() {
    let mut table = SessionTable::new();
    let id = table.open(index(1), 0, &limits(100).window(2));
    let window = refused(ProposeError::SessionWindow { max: 2 });
    assert_eq!(ask(&mut table, 0, id, 3, 0), window);
    assert_eq!(ask(&mut table, 0, id, 2, 0), SessionVerdict::Apply);
    assert_eq!(ask(&mut table, 0, id, u64::MAX, 0), window);
    assert_eq!(ask(&mut table, 0, id, 3, 1), SessionVerdict::Apply, "it was not noted before");
    assert_eq!(ask(&mut table, 0, id, u64::MAX, u64::MAX - 1), SessionVerdict::Apply);
}

#[test]
fn a_reply_too_large_to_keep_is_remembered_as_applied() {
    let mut table = SessionTable::new();
    let id = table.open(index(1), 0, &limits(100).reply_bytes_max(2));
    for (seq, verdict) in
        [(1, SessionVerdict::Repeated("12".into())), (2, SessionVerdict::ReplyLost)]
    {
        assert_eq!(table.request(0, id, seq, 0), SessionVerdict::Apply);
        table.answered(id, seq, if seq == 1 { b"12" } else { b"123" });
        assert_eq!(table.request(0, id, seq, 0), verdict);
    }
    assert_eq!(table.request(0, id, 3, 0), SessionVerdict::Apply);
    table.answered_before(id, 3);
    assert_eq!(table.request(0, id, 3, 0), SessionVerdict::ReplyLost);
}

#[test]
fn the_least_recently_used_makes_room_then_the_oldest() {
    let mut table = SessionTable::new();
    let three = limits(1_000).sessions_max(3);
    let ids: Vec<SessionId> = (1..=3).map(|n| table.open(index(n), 5, &three)).collect();
    assert_eq!(ask(&mut table, 6, ids[0], 1, 0), SessionVerdict::Apply);
    table.open(index(4), 7, &three);
    assert_eq!(table.len(), 3);
    let expired = refused(ProposeError::SessionExpired);
    assert_eq!(ask(&mut table, 7, ids[1], 1, 0), expired, "2 and 3 are equal, 2 is older");
    // Whoever has expired goes first, however recently it was used.
    let brief = table.open(index(5), 8, &limits(1).sessions_max(3));
    table.open(index(6), 10, &three);
    assert_eq!(ask(&mut table, 10, brief, 1, 0), expired);
    assert_eq!(ask(&mut table, 10, ids[0], 1, 0), SessionVerdict::Repeated("r1".into()));
}

/// A snapshot is written while entries go on being applied.
#[test]
fn a_frozen_table_does_not_change() {
    let mut table = SessionTable::new();
    let id = table.open(index(1), 0, &limits(100));
    ask(&mut table, 0, id, 1, 0);
    let (frozen, before) = (table.freeze(), table.clone());
    ask(&mut table, 50, id, 2, 1);
    table.open(index(2), 50, &limits(100));
    let mut bytes = Vec::new();
    frozen.write_to(&mut bytes).unwrap();
    assert_eq!(decoded(&bytes).unwrap(), before);
    assert_ne!(table, before);
}

// --- encoding ----------------------------------------------------------------------------------

/// Two sessions: one with a reply, one lost and an empty one, the other without any.
pub(crate) fn a_table() -> SessionTable {
    let mut table = SessionTable::new();
    let id = table.open(index(4), 1_000, &limits(60_000).window(16).reply_bytes_max(8));
    for (seq, reply) in [(2, &b"ok"[..]), (3, b"far too long"), (5, b"")] {
        assert_eq!(table.request(1_234, id, seq, 1), SessionVerdict::Apply);
        table.answered(id, seq, reply);
    }
    table.open(index(9), 1_300, &limits(1));
    table
}

#[test]
fn a_table_is_encoded_as_ever() {
    let expected: String = TABLE.split_whitespace().collect();
    assert_eq!(hex(&encoded(&a_table())), expected);
    assert_eq!(decoded(&encoded(&a_table())).unwrap(), a_table());
    assert_eq!(
        encoded(&SessionTable::new()),
        b"",
        "no sessions, no bytes: as before there were any"
    );
}

/// The file's checksum is not asked here: whatever the bytes are, nothing panics and nothing is
/// allocated that they cannot hold.
#[test]
fn altered_and_cut_tables_are_refused_or_harmless() {
    let bytes = encoded(&a_table());
    for len in 1..bytes.len() {
        let error = decoded(&bytes[..len]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData, "cut to {len}");
        // The file ends before the section does.
        let short = SessionTable::read_from(&mut &bytes[..len], bytes.len() as u64);
        assert_eq!(short.unwrap_err().kind(), ErrorKind::UnexpectedEof, "{len} of the file");
    }
    assert!(decoded(&[&bytes[..], &[0]].concat()).is_err(), "trailing bytes");
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        if let Ok(table) = decoded(&flipped) {
            assert_eq!(encoded(&table), flipped, "bit {bit}: another table, but a table");
        }
    }
}

#[test]
fn table_fields_that_no_writer_produces_are_refused() {
    let with = |at: usize, value: &[u8]| {
        let mut bytes = encoded(&a_table());
        bytes[at..at + value.len()].copy_from_slice(value);
        decoded(&bytes).unwrap_err().to_string()
    };
    assert_eq!(with(0, &[2]), "session table: version 2, expected 1");
    assert_eq!(with(4, &[0]), "session table: number of sessions");
    assert_eq!(with(4, &[0xFF; 4]), "session table: number of sessions");
    assert_eq!(with(4, &[0, 0, 1, 0]), "session table: truncated", "65,536 sessions");
    let range = "session table: session out of range";
    assert_eq!(with(8, &[0; 8]), range, "id");
    assert_eq!(with(16, &[0; 8]), range, "time to live");
    assert_eq!(with(40, &[0; 4]), range, "window");
    assert_eq!(with(40, &[0xFF; 4]), range, "window");
    assert_eq!(with(44, &[0xFF; 4]), range, "largest reply");
    assert_eq!(with(48, &[17]), range, "more replies than the window");
    assert_eq!(with(52, &[1]), range, "padding");
    let order = "session table: reply out of order";
    assert_eq!(with(56, &[1]), order, "acknowledged");
    assert_eq!(with(56, &[18]), order, "beyond the window");
    assert_eq!(with(68, &[1]), order, "padding");
    assert_eq!(with(64, &[9]), "session table: reply too large");
    assert_eq!(with(8, &[9]), "session table: sessions out of order");
}

const TABLE: &str = "0100000002000000040000000000000060ea000000000000d204000000000000 \
     0100000000000000100000000800000003000000000000000200000000000000 \
     02000000000000006f6b0300000000000000ffffffff00000000050000000000 \
     0000000000000000000009000000000000000100000000000000140500000000 \
     0000000000000000000000040000000001000000000000000000";

// --- against a model ---------------------------------------------------------------------------

/// A session as anyone would write it down.
#[derive(Clone, Debug)]
struct Plain {
    limits: SessionLimits,
    used: u64,
    low: u64,
    replies: BTreeMap<u64, Option<String>>,
}

#[derive(Clone, Debug, Default)]
struct Model(BTreeMap<u64, Plain>);

impl Model {
    fn expire(&mut self, now: u64) {
        self.0.retain(|_, s| now - s.used <= s.limits.ttl_ms());
    }

    fn open(&mut self, id: u64, now: u64, limits: SessionLimits) {
        self.expire(now);
        while self.0.len() >= limits.sessions_max_value() as usize {
            let least = self.0.iter().min_by_key(|(id, s)| (s.used, **id)).map(|(id, _)| *id);
            self.0.remove(&least.unwrap());
        }
        self.0.insert(id, Plain { limits, used: now, low: 0, replies: BTreeMap::new() });
    }

    fn ask(&mut self, now: u64, id: u64, seq: u64, ack: u64, reply: &str) -> SessionVerdict {
        self.expire(now);
        let Some(s) = self.0.get_mut(&id) else { return refused(ProposeError::SessionExpired) };
        s.used = now;
        s.low = s.low.max(ack);
        let low = s.low;
        s.replies.retain(|seq, _| *seq > low);
        if seq <= low {
            return refused(ProposeError::SequenceReused);
        }
        match s.replies.get(&seq) {
            Some(Some(reply)) => return SessionVerdict::Repeated(reply.clone().into()),
            Some(None) => return SessionVerdict::ReplyLost,
            None => {}
        }
        let max = s.limits.window_value();
        if seq - low > u64::from(max) {
            return refused(ProposeError::SessionWindow { max });
        }
        let fits = reply.len() <= s.limits.reply_bytes_max_value() as usize;
        s.replies.insert(seq, fits.then(|| reply.to_owned()));
        SessionVerdict::Apply
    }
}

#[derive(Clone, Debug)]
enum Op {
    Open {
        ttl: u64,
        max: u32,
        window: u32,
        reply: u32,
    },
    Ask {
        which: usize,
        seq: u64,
        back: u64,
        reply: usize,
    },
    Close {
        which: usize,
    },
    Pass {
        ms: u64,
    },
    /// The table goes through a snapshot, as on a replica that was restarted.
    Restart,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        2 => (1_u64..60, 1_u32..6, 1_u32..5, 0_u32..6)
            .prop_map(|(ttl, max, window, reply)| Op::Open { ttl, max, window, reply }),
        8 => (0_usize..8, 1_u64..10, 1_u64..10, 0_usize..9)
            .prop_map(|(which, seq, back, reply)| Op::Ask { which, seq, back, reply }),
        1 => (0_usize..8).prop_map(|which| Op::Close { which }),
        3 => (0_u64..40).prop_map(|ms| Op::Pass { ms }),
        1 => Just(Op::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Over any history the table says what a plain map says, and holds the same sessions.
    #[test]
    fn the_table_is_a_map(ops in vec(op(), 1..120)) {
        let (mut table, mut model) = (SessionTable::new(), Model::default());
        let (mut now, mut opened) = (0, Vec::new());
        for (op, at) in ops.into_iter().zip(1_u64..) {
            match op {
                Op::Open { ttl, max, window, reply } => {
                    let limits =
                        limits(ttl).sessions_max(max).window(window).reply_bytes_max(reply);
                    prop_assert_eq!(table.open(index(at), now, &limits).value(), at);
                    model.open(at, now, limits);
                    opened.push(at);
                }
                Op::Ask { which, seq, back, reply } => {
                    // Mostly one of the newest, sometimes one that is long gone, or never was.
                    let id = opened.iter().rev().nth(which).copied().unwrap_or(1_000);
                    let (reply, ack) = ("x".repeat(reply), seq.saturating_sub(back));
                    let found = table.request(now, SessionId::new(id), seq, ack);
                    if found == SessionVerdict::Apply {
                        table.answered(SessionId::new(id), seq, reply.as_bytes());
                    }
                    prop_assert_eq!(found, model.ask(now, id, seq, ack, &reply));
                }
                Op::Close { which } => {
                    let id = opened.iter().rev().nth(which).copied().unwrap_or(1_000);
                    model.expire(now);
                    let was_open = model.0.remove(&id).is_some();
                    prop_assert_eq!(table.close(now, SessionId::new(id)), was_open);
                }
                Op::Pass { ms } => now += ms,
                Op::Restart => {
                    let again = decoded(&encoded(&table)).unwrap();
                    prop_assert_eq!(&again, &table);
                    table = again;
                }
            }
            // Asking twice for the same expires on both sides alike.
            let mut swept = (table.clone(), model.clone());
            swept.0.close(now, SessionId::new(u64::MAX));
            swept.1.expire(now);
            prop_assert_eq!(swept.0.len(), swept.1.0.len());
        }
    }
}
