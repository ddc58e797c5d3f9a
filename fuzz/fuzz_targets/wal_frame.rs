//! Any bytes as a frame: salt, number and offset first, then the frame.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((head, frame)) = data.split_at_checked(20) else { return };
    let number = |at: usize| head[at..at + 8].iter().fold(0, |n, &b| n << 8 | u64::from(b));
    let offset = u32::from_be_bytes([head[16], head[17], head[18], head[19]]);
    let _ = quorate_wal::probe::frame(number(0), number(8), offset, frame);
    let _ = quorate_wal::probe::heads(frame);
});
