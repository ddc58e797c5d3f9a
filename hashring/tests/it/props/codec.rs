//! Encodings: one for each value, and nothing else is accepted.

use crate::contract;
use crate::random::{self, Random, seeds};
use quorate_hashring::{
    Assign, DecodeError, KeyHash, Level, NodeId, PartitionTable, RangeId, RangeMap, Rules, SipKey,
    Topology,
};

const WEIGHTS: &[u16] = &[0, 1, 3, 50];

fn table(random: &mut Random) -> PartitionTable {
    let shape = [0, 3, 2, 0];
    let count = 2 + random.below(6);
    let topology = random::topology(random, count, shape, WEIGHTS);
    let replicas = 1 + random.below(3);
    let mut rules = random::rules(random, replicas, shape, true).allow_short();
    if random.once_in(3) {
        rules = rules.at_most_soft(Level::Host, 1);
    }
    let hash = match random.below(3) {
        0 => KeyHash::xxh3(random.next()),
        1 => KeyHash::xxh64(random.next()),
        _ => KeyHash::siphash13(SipKey::new(1, 2)),
    };
    let bits = u8::try_from(random.below(6)).unwrap();
    Assign::new(&topology, &rules).partition_bits(bits).key_hash(hash).solve().unwrap().into_table()
}

#[test]
fn topologies_and_tables_come_back_as_they_were() {
    for seed in seeds(2_000) {
        let random = &mut Random::new(seed);
        let table = table(random);
        let hash = Some(*quorate_hashring::Locate::key_hash(&table));
        let bytes = table.encode();
        let back = PartitionTable::decode(&bytes, hash).unwrap();
        assert_eq!(back, table, "seed {seed}");
        assert_eq!(back.digest(), table.digest());
        assert_eq!(back.encode(), bytes);
        let topology = quorate_hashring::Locate::topology(&table);
        let bytes = topology.encode();
        let back = Topology::decode(&bytes).unwrap();
        assert_eq!((&back, back.digest()), (topology, topology.digest()));
        assert_eq!(back.encode(), bytes);
    }
}

/// Seals changed bytes again, so that the checks behind the sums are met too.
pub(crate) fn reseal(bytes: &mut [u8]) {
    if bytes.len() < 28 {
        return;
    }
    let (body, end) = (&bytes[24..bytes.len() - 4], bytes.len() - 4);
    let mut text = vec![bytes[4], bytes[5]];
    text.extend_from_slice(body);
    let digest = KeyHash::xxh3(0).hash(&text);
    bytes[16..24].copy_from_slice(&digest.to_le_bytes());
    let crc = crc32(&bytes[..end]);
    bytes[end..].copy_from_slice(&crc.to_le_bytes());
}

pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    let bit = |sum: u32| if sum & 1 == 1 { (sum >> 1) ^ 0xEDB8_8320 } else { sum >> 1 };
    !bytes.iter().fold(u32::MAX, |sum, &byte| (0..8).fold(sum ^ u32::from(byte), |s, _| bit(s)))
}

/// Changes some bytes, cuts some off, appends some, and seals again half of the time.
pub(crate) fn mutated(random: &mut Random, bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..=random.below(3) {
        let at = random.below(bytes.len());
        match random.below(5) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = u8::try_from(random.below(256)).unwrap(),
            2 => bytes[at] = 0xFF,
            3 => bytes.truncate(at.max(1)),
            _ => bytes.insert(at, u8::try_from(random.below(256)).unwrap()),
        }
    }
    if random.once_in(2) {
        if bytes.len() >= 28 && random.once_in(2) {
            let length = u32::try_from(bytes.len() - 28).unwrap();
            bytes[8..12].copy_from_slice(&length.to_le_bytes());
        }
        reseal(&mut bytes);
    }
    bytes
}

/// G16: each mutation is a typed error, or a value whose only encoding it is.
#[test]
fn mutated_topologies_and_tables_are_refused_or_canonical() {
    let (mut refused, mut accepted, mut invalid) = (0, 0, 0);
    for seed in seeds(500) {
        let random = &mut Random::new(seed);
        let table = table(random);
        let topology = quorate_hashring::Locate::topology(&table).encode();
        let hash = Some(KeyHash::siphash13(SipKey::new(1, 2)));
        let table = table.encode();
        for _ in 0..100 {
            let bytes = mutated(random, &table);
            let decoded = [None, hash].map(|hash| PartitionTable::decode(&bytes, hash));
            for decoded in decoded {
                match decoded {
                    Ok(table) => {
                        assert_eq!(table.encode(), bytes, "seed {seed}");
                        accepted += 1;
                    }
                    Err(error) => {
                        invalid += u32::from(matches!(error, DecodeError::Invalid { .. }));
                        refused += 1;
                    }
                }
            }
            let bytes = mutated(random, &topology);
            match Topology::decode(&bytes) {
                Ok(topology) => assert_eq!(topology.encode(), bytes, "seed {seed}"),
                Err(_) => refused += 1,
            }
        }
    }
    println!("refused {refused}, accepted {accepted}, broken rules {invalid}");
    assert!(refused > 100_000 && accepted > 1_000 && invalid > 10_000 || seeds(500).count() < 500);
}

/// As above for maps of ranges; views are mutated in `props::handover`. With these, mutated
/// encodings of all kinds are more than 200,000.
#[test]
fn mutated_range_maps_are_refused_or_canonical() {
    let (mut refused, mut accepted, mut invalid) = (0, 0, 0);
    for seed in seeds(500) {
        let random = &mut Random::new(seed);
        let nodes = [1, 2, 300].map(NodeId::new);
        let mut map = RangeMap::new(RangeId::new(9), &nodes[..1 + random.below(3)]).unwrap();
        for id in 0..random.below(6) as u64 {
            let at = [b'a' + u8::try_from(random.below(9)).unwrap(); 3];
            let range = map.locate(&at);
            let split =
                map.split(range.id, range.epoch, &at[..1 + random.below(3)], RangeId::new(id));
            map = split.unwrap_or(map);
        }
        let bytes = map.encode();
        for _ in 0..110 {
            let bytes = mutated(random, &bytes);
            match RangeMap::decode(&bytes) {
                Ok(map) => {
                    assert_eq!(map.encode(), bytes, "seed {seed}");
                    accepted += 1;
                }
                Err(error) => {
                    invalid += u32::from(matches!(error, DecodeError::Invalid { .. }));
                    refused += 1;
                }
            }
        }
    }
    println!("refused {refused}, accepted {accepted}, broken rules {invalid}");
    assert!(refused > 25_000 && accepted > 500 && invalid > 5_000 || seeds(500).count() < 500);
}

/// Each byte changed alone, and each length, is an error.
#[test]
fn no_changed_byte_and_no_other_length_is_accepted() {
    let topology = contract::cluster(3);
    let table = Assign::new(&topology, &Rules::new(2)).partition_bits(2).solve().unwrap();
    let bytes = table.into_table().encode();
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 0x10;
        assert!(PartitionTable::decode(&changed, None).is_err(), "byte {at}");
        assert!(PartitionTable::decode(&bytes[..at], None).is_err(), "{at} bytes");
    }
    let mut longer = bytes.clone();
    longer.push(0);
    let expected = DecodeError::Trailing { have: bytes.len() + 1, expected: bytes.len() };
    assert_eq!(PartitionTable::decode(&longer, None), Err(expected));
}
