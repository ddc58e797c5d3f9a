//! Any bytes as a datagram: no panic; what is accepted encodes to the bytes it was read from, and
//! a packet of another length, for another node or of another cluster never is accepted.
//!
//! First byte: bit 0 mends what tells a datagram from other packets, the length and the checksum,
//! bit 1 also cluster and target, so that mutations get past them; the other bits set the limit of
//! a body.
#![no_main]

use libfuzzer_sys::fuzz_target;
use quorate_transport::{ClusterId, Datagram, DatagramError, Identity, Incarnation, NodeId};

const HEADER: usize = 40;
const CLUSTER: ClusterId = ClusterId::new(0x0123_4567_89ab_cdef_0011_2233_4455_6677);
/// Both halves of the cluster, and of the node, folded.
const CLUSTER_HASH: u64 = 0x0123_4567_89ab_cdef ^ 0x0011_2233_4455_6677;
const ME: u64 = 2;

fn me(cluster: ClusterId, node: u64) -> Identity {
    Identity::new(cluster, NodeId::new(node), Incarnation::new(1))
}

fn mend(wire: &mut [u8], addressed: bool) {
    let Some(body) = wire.len().checked_sub(HEADER) else { return };
    let Ok(body) = u16::try_from(body) else { return };
    wire[..4].copy_from_slice(&[0x44, 0x51, 1, 0]);
    wire[6..8].copy_from_slice(&body.to_le_bytes());
    if addressed {
        wire[8..16].copy_from_slice(&CLUSTER_HASH.to_le_bytes());
        wire[32..36].copy_from_slice(&(ME as u32).to_le_bytes());
    }
    let mut crc = crc32fast::Hasher::new();
    crc.update(&wire[..36]);
    crc.update(&wire[HEADER..]);
    wire[36..HEADER].copy_from_slice(&crc.finalize().to_le_bytes());
}

fuzz_target!(|data: &[u8]| {
    let Some((mode, wire)) = data.split_first() else { return };
    let mut wire = wire.to_vec();
    if mode & 1 != 0 {
        mend(&mut wire, mode & 2 != 0);
    }
    let limit = 1_u32 << (mode >> 2).min(17);
    let found = match Datagram::decode(&wire, &me(CLUSTER, ME), limit) {
        Ok(found) => found,
        Err(error) => {
            assert!(!error.is_retryable(), "nobody sends it again");
            return;
        }
    };
    assert!(found.body.len() <= limit as usize, "more than was allowed");
    assert_ne!(found.source, NodeId::new(ME), "this node sends nothing to itself");
    let from = Identity::new(CLUSTER, found.source, found.incarnation);
    let again = Datagram::encode(&from, NodeId::new(ME), found.channel, found.body);
    assert_eq!(again.as_deref(), Ok(&wire[..]), "what was read is what was written");

    let decode = |wire: &[u8], me: Identity| Datagram::decode(wire, &me, limit).err();
    assert_eq!(decode(&wire, me(CLUSTER, ME + 1)), Some(DatagramError::Target));
    assert_eq!(decode(&wire, me(ClusterId::new(1), ME)), Some(DatagramError::Cluster));
    let cut = decode(&wire[..wire.len() - 1], me(CLUSTER, ME));
    assert!(matches!(cut, Some(DatagramError::Length { .. })), "cut off: {cut:?}");
    let longer = decode(&[&wire[..], &[0]].concat(), me(CLUSTER, ME));
    assert!(matches!(longer, Some(DatagramError::Length { .. })), "longer: {longer:?}");
});
