//! The golden vectors of `FORMAT.md`: what the document says is what the code writes and reads.

use quorate_clocks::{
    ActorBytes, Causality, DvvSet, MatrixClock, Replica, Stamp, Timestamp, VectorClock,
    VersionVector, VersionedKey,
};
use std::collections::{BTreeMap, BTreeSet};

/// The vectors in `FORMAT.md` by name: rows of a table with a name first and hex digits last.
pub(crate) fn golden() -> BTreeMap<String, Vec<u8>> {
    let mut vectors = BTreeMap::new();
    for line in include_str!("../../FORMAT.md").lines() {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [name, _, hex] = cells.as_slice() else { continue };
        let code = |cell: &str| {
            cell.strip_prefix('`').and_then(|cell| cell.strip_suffix('`')).map(str::to_owned)
        };
        let (Some(name), Some(bytes)) = (code(name), code(hex).and_then(|hex| bytes(&hex))) else {
            continue;
        };
        assert!(vectors.insert(name, bytes).is_none(), "twice: {line}");
    }
    vectors
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u32>> = hex.chars().map(|c| c.to_digit(16)).collect();
    let pairs = digits.filter(|digits| digits.len() % 2 == 0)?;
    pairs.chunks(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).ok()).collect()
}

fn stamp() -> Timestamp {
    Timestamp::from_parts(1_700_000_000_123_456, 7).unwrap()
}

fn keys() -> Vec<(&'static str, &'static [u8])> {
    vec![("key_plain", b"k"), ("key_zero", b"a\0"), ("key_empty", b"")]
}

fn sets() -> (DvvSet<u16, Vec<u8>>, DvvSet<u64, Vec<u8>>) {
    let siblings =
        DvvSet::from_parts(vec![(5, 2, vec![b"x".to_vec()])], vec![b"yz".to_vec()]).unwrap();
    (siblings, DvvSet::with_context(&VersionVector::from_entries([(1, 2)]), vec![]))
}

fn written<A: ActorBytes>(set: &DvvSet<A, Vec<u8>>) -> Vec<u8> {
    set.encode_with(|value, out| out.extend_from_slice(value)).unwrap()
}

fn u16s() -> VectorClock<u16> {
    VectorClock::from_entries([(5, 65_536), (4, 4), (3, 3), (2, 2), (1, 1)])
}

fn u64s() -> VectorClock<u64> {
    VectorClock::from_entries([(258, 1), (1, 3)])
}

fn replica() -> VersionVector<Replica> {
    VersionVector::from_entries([(Replica { node: 1, incarnation: 2 }, 5)])
}

/// 258 knows what 1 has written; nothing is known of 3's updates but that it is there.
fn matrix() -> MatrixClock<u64> {
    let (mut clock, mut one) = (MatrixClock::new(258), MatrixClock::new(1));
    one.tick();
    one.tick();
    one.receive(3, &MatrixClock::new(3)).unwrap();
    clock.tick();
    clock.receive(1, &one).unwrap();
    clock
}

#[test]
fn what_is_written_is_what_the_document_says() {
    let golden = golden();
    let mut seen = BTreeSet::new();
    let mut check = |name: &str, bytes: &[u8]| {
        assert_eq!(golden.get(name).map(Vec::as_slice), Some(bytes), "{name}");
        seen.insert(name.to_owned());
    };
    check("timestamp_key", &stamp().to_bytes());
    check("timestamp_descending", &stamp().to_bytes_descending());
    check("timestamp_first", &Timestamp::MIN.to_bytes());
    check("stamp_u64", &Stamp { time: stamp(), node: 258 }.to_bytes());
    check("vector_empty", &VectorClock::<u64>::new().encode().unwrap());
    check("vector_u64", &u64s().encode().unwrap());
    check("vector_u16", &u16s().encode().unwrap());
    check("vector_bytes", &VectorClock::from_entries([(*b"key", 7)]).encode().unwrap());
    check("version_replica", &replica().encode().unwrap());
    check("matrix_new", &MatrixClock::new(5_u16).encode().unwrap());
    check("matrix_u64", &matrix().encode().unwrap());
    let (siblings, write) = sets();
    check("dvv_siblings", &written(&siblings));
    check("dvv_write", &written(&write));
    for (name, key) in keys() {
        let mut out = Vec::new();
        VersionedKey::encode_into(key, stamp(), &mut out).unwrap();
        check(name, &out);
    }
    // None of these kinds stands in the document without being checked here.
    let kinds = ["timestamp_", "stamp_", "vector_", "version_", "matrix_", "dvv_", "key_"];
    let listed = golden.into_keys().filter(|name| kinds.iter().any(|kind| name.starts_with(kind)));
    assert_eq!(listed.collect::<BTreeSet<_>>(), seen);
}

#[test]
fn what_the_document_says_is_read() {
    let golden = golden();
    let bytes = |name: &str| golden[name].as_slice();
    assert_eq!(Timestamp::from_bytes(bytes("timestamp_key").try_into().unwrap()), Some(stamp()));
    let descending = bytes("timestamp_descending").try_into().unwrap();
    assert_eq!(Timestamp::from_bytes_descending(descending), Some(stamp()));
    let with_node = Stamp::from_bytes(bytes("stamp_u64").try_into().unwrap());
    assert_eq!(with_node, Some(Stamp { time: stamp(), node: 258 }));
    assert_eq!(VectorClock::<u64>::decode(bytes("vector_empty")), Ok(VectorClock::new()));
    assert_eq!(VectorClock::decode(bytes("vector_u64")), Ok(u64s()));
    assert_eq!(VectorClock::decode(bytes("vector_u16")), Ok(u16s()));
    let named = VectorClock::from_entries([(*b"key", 7)]);
    assert_eq!(VectorClock::decode(bytes("vector_bytes")), Ok(named));
    assert_eq!(VersionVector::decode(bytes("version_replica")), Ok(replica()));
    let new = MatrixClock::<u16>::decode(bytes("matrix_new")).unwrap();
    assert_eq!((new.me(), new.rows().len(), new.row(5)), (5, 1, Some(&VersionVector::new())));
    let read = MatrixClock::decode(bytes("matrix_u64")).unwrap();
    assert_eq!((read.me(), read.compare(&matrix())), (258, Causality::Equal));
    assert!(read.rows().eq(matrix().rows()));
    let (siblings, write) = sets();
    let own = |value: &[u8]| Some(value.to_vec());
    assert_eq!(DvvSet::decode_with(bytes("dvv_siblings"), own), Ok(siblings));
    assert_eq!(DvvSet::decode_with(bytes("dvv_write"), own), Ok(write));
    for (name, key) in keys() {
        let (read, t) = VersionedKey::split(bytes(name)).unwrap();
        assert_eq!((&*read, t), (key, stamp()));
    }
}
