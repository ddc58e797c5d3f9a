//! A disk under a mark file that crashes, tears writes and fails.

use quorate_clocks::testing::SlotFile;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

/// What is left of a write that was under way when the machine crashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tear {
    Nothing,
    /// Only its first bytes.
    First(usize),
    /// Only its last bytes.
    Last(usize),
    /// Noise, in its place or in its whole sector.
    Garbage {
        seed: u64,
        sector: bool,
    },
    /// All of it, although nothing was synced.
    All,
}

/// Nothing, every part, several kinds of garbage, all.
pub(crate) fn all_tears() -> impl Iterator<Item = Tear> {
    let parts = (1..32).flat_map(|n| [Tear::First(n), Tear::Last(n)]);
    let garbage = (0..16).map(|seed| Tear::Garbage { seed, sector: seed % 2 == 1 });
    [Tear::Nothing, Tear::All].into_iter().chain(parts).chain(garbage)
}

/// The machine stops in the `op`-th write or sync from now on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Crash {
    pub(crate) op: u64,
    pub(crate) tear: Tear,
}

/// What a failed operation leaves behind, while the machine goes on.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Loss {
    /// What was to be written is dropped but for this; the cache keeps all of it and looks written.
    Dropped(Tear),
    /// The process was killed: what was written stands in the cache, and comes to the disk with the
    /// next sync.
    Killed,
}

/// Clones are handles of one disk.
#[derive(Clone, Debug)]
pub(crate) struct Disk(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    durable: Vec<u8>,
    cache: Vec<u8>,
    /// Written and not synced.
    pending: Option<(usize, Vec<u8>)>,
    ops: u64,
    crash: Option<Crash>,
    crashed: bool,
    failure: Option<(u64, Loss)>,
}

impl Disk {
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        Self(Arc::new(Mutex::new(State {
            cache: bytes.clone(),
            durable: bytes,
            pending: None,
            ops: 0,
            crash: None,
            crashed: false,
            failure: None,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// What a machine finds that starts now.
    pub(crate) fn durable(&self) -> Vec<u8> {
        self.state().durable.clone()
    }

    pub(crate) fn crash_at(&self, crash: Crash) {
        let mut state = self.state();
        state.ops = 0;
        state.crash = Some(crash);
        state.failure = None; // it was there
    }

    /// The `op`-th write or sync from now on fails; the disk goes on.
    pub(crate) fn fail_at(&self, op: u64) {
        self.lose_at(op, Loss::Dropped(Tear::Nothing));
    }

    /// The same, and what it leaves behind.
    pub(crate) fn lose_at(&self, op: u64, loss: Loss) {
        let mut state = self.state();
        state.ops = 0;
        state.failure = Some((op, loss));
    }
}

impl State {
    /// Before each write and sync.
    fn step(&mut self) -> io::Result<()> {
        let op = self.ops;
        self.ops += 1;
        if self.crash.is_some_and(|crash| crash.op == op) {
            self.stop();
        }
        if self.crashed {
            return Err(io::Error::other("the machine is gone"));
        }
        match self.failure {
            Some((at, Loss::Dropped(tear))) if at == op => self.lose(tear),
            Some((at, Loss::Killed)) if at == op => {}
            _ => return Ok(()),
        }
        Err(io::Error::other("the disk failed"))
    }

    fn stop(&mut self) {
        self.crashed = true;
        if let Some(crash) = self.crash {
            self.lose(crash.tear);
        }
    }

    /// Only `tear` of what is pending comes to the disk.
    fn lose(&mut self, tear: Tear) {
        let Some((at, bytes)) = self.pending.take() else { return };
        let end = at + bytes.len();
        match tear {
            Tear::Nothing => {}
            Tear::All => self.durable[at..end].copy_from_slice(&bytes),
            Tear::First(n) => self.durable[at..at + n].copy_from_slice(&bytes[..n]),
            Tear::Last(n) => {
                self.durable[end - n..end].copy_from_slice(&bytes[bytes.len() - n..]);
            }
            Tear::Garbage { seed, sector } => {
                let mut rng = crate::support::Rng::new(seed);
                let end = if sector { at + 512 } else { end };
                for byte in &mut self.durable[at..end] {
                    *byte = u8::try_from(rng.below(256)).unwrap();
                }
            }
        }
    }
}

impl SlotFile for Disk {
    fn bytes(&mut self) -> io::Result<u64> {
        Ok(self.state().cache.len() as u64)
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        let state = self.state();
        buffer.copy_from_slice(&state.cache[..buffer.len()]);
        Ok(())
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        let at = usize::try_from(offset).unwrap();
        let elsewhere = state.pending.as_ref().is_some_and(|(other, _)| *other != at);
        assert!(!elsewhere, "two writes without a sync may both be torn");
        // A crash in a write tears that write.
        state.pending = Some((at, bytes.to_vec()));
        state.step()?;
        state.cache[at..at + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.state();
        state.step()?;
        if let Some((at, bytes)) = state.pending.take() {
            state.durable[at..at + bytes.len()].copy_from_slice(&bytes);
        }
        Ok(())
    }
}

/// CRC-32 (IEEE) once more, by a table, so that the crate's own is checked by another.
pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    let table: Vec<u32> = (0..256_u32)
        .map(|byte| {
            (0..8).fold(byte, |c, _| if c & 1 == 1 { c >> 1 ^ 0xEDB8_8320 } else { c >> 1 })
        })
        .collect();
    !bytes.iter().fold(!0, |crc, byte| {
        let index = usize::from(crc.to_le_bytes()[0] ^ byte);
        table[index] ^ crc >> 8
    })
}
