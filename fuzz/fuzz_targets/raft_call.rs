//! Any bytes as a call between drivers, a snapshot's piece among them, and as the answer to one: no
//! panic, and what is accepted says the same when written again.
//!
//! First byte: whether the checksum is mended.
#![no_main]

use libfuzzer_sys::fuzz_target;
use quorate_raft::fuzzing;

fn mend(call: &mut [u8]) {
    if call.len() < 8 {
        return;
    }
    call[4..8].fill(0);
    let crc = crc32fast::hash(call);
    call[4..8].copy_from_slice(&crc.to_le_bytes());
}

fuzz_target!(|data: &[u8]| {
    let Some((how, bytes)) = data.split_first() else { return };
    let mut bytes = bytes.to_vec();
    if how & 1 != 0 {
        mend(&mut bytes);
    }
    fuzzing::check_call(&bytes.into());
});
