//! Any bytes as a message between replicas, handed to one that follows: no panic, what is accepted
//! says the same when written again, and the invariants of the core hold.
//!
//! First byte: whether the checksums of the header and of the body are mended.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use quorate_raft::{Boot, Config, GroupId, Limits, Membership, Output, Raft, wire};
use quorate_transport::Monotonic;
use quorate_transport::NodeId;

const HEADER: usize = 96;

fn mend(message: &mut [u8], body: bool) {
    if message.len() < HEADER {
        return;
    }
    let len = (message.len() - HEADER) as u32;
    let crc = crc32fast::hash(&message[HEADER..]);
    message[92..96].copy_from_slice(&len.to_le_bytes());
    if body {
        message[56..64].copy_from_slice(&u64::from(crc).to_le_bytes());
    }
    message[4..8].fill(0);
    let crc = crc32fast::hash(&message[..HEADER]);
    message[4..8].copy_from_slice(&crc.to_le_bytes());
}

fuzz_target!(|data: &[u8]| {
    let Some((how, bytes)) = data.split_first() else { return };
    let mut bytes = bytes.to_vec();
    if how & 1 != 0 {
        mend(&mut bytes, how & 2 != 0);
    }
    let limits = Limits::default();
    let Ok((message, store)) = wire::decode(&bytes.into(), &limits) else { return };
    let pieces = wire::encode(&message, store).expect("it was small enough to arrive");
    let again: Bytes = pieces.concat().into();
    let (same, from) = wire::decode(&again, &limits).expect("we wrote it");
    assert_eq!(wire::encode(&same, from).expect("as small").concat(), again);

    let ids = [1, 2, 3].map(NodeId::new);
    let boot = Boot::fresh(ids[0], GroupId::new(1), Membership::of_voters(&ids));
    let config = Config::lan().build().expect("a preset is valid");
    let mut raft = Raft::new(config, boot, Monotonic::ZERO, 1).expect("a fresh start is valid");
    let mut out = Output::default();
    for from in [ids[1], ids[2]] {
        let _ = raft.handle_message(Monotonic::ZERO, from, message.clone());
        raft.check_invariants().expect("whatever was said");
        raft.drain(&mut out);
    }
});
