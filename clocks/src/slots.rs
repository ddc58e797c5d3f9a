//! The two slots of a mark file: their bytes, what a file means after a crash, and raising it.

#![cfg_attr(
    not(feature = "testing"),
    expect(unreachable_pub, reason = "the crate's tests reach it through `testing`")
)]

use crate::{
    Clock, MarkDamage, MarkError, MarkFalls, MarkKind, MarkOp, MarkStats, SlotError, SystemClock,
    mutant,
};
use core::cmp::Ordering;
use std::io;
use std::path::PathBuf;

/// Length of a mark file.
pub const MARK_FILE_BYTES: usize = 1_024;
/// Where the slots stand: in sectors of their own, so that one write tears one slot at most.
const SLOTS_AT: [usize; 2] = [0, 512];
const SLOT_BYTES: usize = 32;
/// "QMRK".
const MAGIC: u32 = u32::from_le_bytes(*b"QMRK");
const VERSION: u16 = 1;

/// What holds the slots: a file, or a test's idea of one.
pub trait SlotFile {
    /// How long it is.
    ///
    /// # Errors
    /// It cannot be asked.
    fn bytes(&mut self) -> io::Result<u64>;

    /// Fills `buffer` from the start of the file.
    ///
    /// # Errors
    /// It cannot be read.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<()>;

    /// Writes `bytes` at `offset`; durable after the next [`sync`](Self::sync).
    ///
    /// # Errors
    /// It cannot be written, or was in part.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Makes everything written durable.
    ///
    /// # Errors
    /// What was written is durable or not.
    fn sync(&mut self) -> io::Result<()>;
}

/// What a slot says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Slot {
    kind: u16,
    value: u64,
    sequence: u64,
}

impl Slot {
    fn encode(self) -> [u8; SLOT_BYTES] {
        let mut bytes = [0; SLOT_BYTES];
        bytes[0..4].copy_from_slice(&MAGIC.to_le_bytes());
        bytes[4..6].copy_from_slice(&VERSION.to_le_bytes());
        bytes[6..8].copy_from_slice(&self.kind.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.value.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.sequence.to_le_bytes());
        let sum = crc32(&bytes[..28]);
        bytes[28..32].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// Only whole slots of this version are read.
    fn decode(bytes: &[u8; SLOT_BYTES]) -> Result<Self, SlotError> {
        let [magic, head, v0, v1, s0, s1, reserved, sum] = words(bytes);
        if magic != MAGIC {
            return Err(SlotError::Magic { found: magic });
        }
        let expected = crc32(&bytes[..28]);
        if sum != expected {
            return Err(SlotError::Checksum { expected, found: sum });
        }
        let [version_low, version_high, kind_low, kind_high] = head.to_le_bytes();
        let version = u16::from_le_bytes([version_low, version_high]);
        if version != VERSION {
            return Err(SlotError::Version { found: version });
        }
        if reserved != 0 {
            return Err(SlotError::Reserved { found: reserved });
        }
        let join = |low: u32, high: u32| u64::from(high) << 32 | u64::from(low);
        let kind = u16::from_le_bytes([kind_low, kind_high]);
        Ok(Self { kind, value: join(v0, v1), sequence: join(s0, s1) })
    }
}

fn words(bytes: &[u8; SLOT_BYTES]) -> [u32; 8] {
    let (chunks, _) = bytes.as_chunks::<4>();
    core::array::from_fn(|i| u32::from_le_bytes(chunks[i]))
}

/// CRC-32 (IEEE), bit by bit: 28 bytes do not deserve a table.
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = crc >> 1 ^ (0xEDB8_8320 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}

/// Whether the slot may be written over: torn or rotten. A whole slot of a form unknown here was
/// written by a later version.
const fn is_broken(error: SlotError) -> bool {
    matches!(error, SlotError::Magic { .. } | SlotError::Checksum { .. })
}

/// The newest value of two slots, and which slot is torn, rotten or behind.
fn judge(slots: [Result<Slot, SlotError>; 2]) -> Result<(Slot, Option<usize>), MarkDamage> {
    match slots {
        [Ok(a), Ok(b)] => match (a.sequence.cmp(&b.sequence), a.value.cmp(&b.value)) {
            (Ordering::Equal, Ordering::Equal) => Ok((a, None)),
            (Ordering::Greater, Ordering::Greater | Ordering::Equal) => Ok((a, Some(1))),
            (Ordering::Less, Ordering::Less | Ordering::Equal) => Ok((b, Some(0))),
            _ => Err(MarkDamage::Contradiction {
                first: (a.sequence, a.value),
                second: (b.sequence, b.value),
            }),
        },
        [Ok(a), Err(error)] if is_broken(error) => Ok((a, Some(1))),
        [Err(error), Ok(b)] if is_broken(error) => Ok((b, Some(0))),
        [a, b] => Err(MarkDamage::Slots { first: a.err(), second: b.err() }),
    }
}

/// The slot that the disk may not hold as it was read: the one that was written last.
///
/// A broken one; else the later one, whose sync may have failed or never happened; of two equal
/// ones that at 512, since both ways of writing end with it.
fn doubtful(slots: [Result<Slot, SlotError>; 2]) -> usize {
    match slots {
        [Ok(a), Ok(b)] => usize::from(a.sequence <= b.sequence),
        [first, _] => usize::from(first.is_ok()),
    }
}

/// A mark over two slots.
#[derive(Debug)]
pub struct SlotMark<F> {
    file: F,
    path: PathBuf,
    slot: Slot,
    poison: Option<(MarkOp, io::ErrorKind)>,
    stats: MarkStats,
    clock: SystemClock,
}

impl<F: SlotFile> SlotMark<F> {
    /// Writes the slots of a new file, with value 0, and makes them durable.
    ///
    /// # Errors
    /// [`MarkError::Io`].
    pub fn create(mut file: F, path: PathBuf, kind: MarkKind) -> Result<Self, MarkError> {
        let slot = Slot { kind: kind.code(), value: 0, sequence: 0 };
        let mut bytes = [0; MARK_FILE_BYTES];
        for at in SLOTS_AT {
            bytes[at..at + SLOT_BYTES].copy_from_slice(&slot.encode());
        }
        let written = file.write_at(0, &bytes);
        io_step(written, MarkOp::Write, &path)?;
        let mut mark = Self::of(file, path, slot);
        let synced = mark.sync();
        io_step(synced, MarkOp::Sync, &mark.path)?;
        Ok(mark)
    }

    /// Reads a file, and makes durable in both slots what it returns.
    ///
    /// What was read may stand in the page cache alone: after a failed sync the kernel takes its
    /// pages for written, and neither a look at them nor another sync shows what the disk has. So
    /// both slots are written, also if they are whole and equal. // H26
    ///
    /// # Errors
    /// [`MarkError::Corrupt`], [`MarkError::Kind`], [`MarkError::Io`].
    pub fn open(mut file: F, path: PathBuf, kind: MarkKind) -> Result<Self, MarkError> {
        let length = file.bytes();
        let length = io_step(length, MarkOp::Read, &path)?;
        if length != MARK_FILE_BYTES as u64 {
            let damage = MarkDamage::Length { bytes: length };
            return Err(MarkError::Corrupt { path, damage });
        }
        let mut bytes = [0; MARK_FILE_BYTES];
        let read = file.read(&mut bytes);
        io_step(read, MarkOp::Read, &path)?;
        let slots = SLOTS_AT.map(|at| {
            let mut slot = [0; SLOT_BYTES];
            slot.copy_from_slice(&bytes[at..at + SLOT_BYTES]);
            Slot::decode(&slot)
        });
        for found in slots.iter().flatten().map(|slot| slot.kind) {
            if found != kind.code() {
                return Err(MarkError::Kind { path, expected: kind, found });
            }
        }
        let (slot, behind) = match judge(slots) {
            Ok(judged) => judged,
            Err(damage) => return Err(MarkError::Corrupt { path, damage }),
        };
        let mut mark = Self::of(file, path, slot);
        match mark.write_anew(doubtful(slots)) {
            Ok(()) => mark.stats.repairs += u64::from(behind.is_some()),
            Err((op, source)) => return Err(MarkError::Io { path: mark.path, op, source }),
        }
        Ok(mark)
    }

    /// The value in both slots and on the disk, under new numbers, the slot `doubtful` first: the
    /// other one is whole on the disk meanwhile.
    fn write_anew(&mut self, doubtful: usize) -> Result<(), (MarkOp, io::Error)> {
        // Saturating: a file that is used up still opens, and says so when it is raised.
        if doubtful == 1 {
            // A step of its own, so that whatever fails, the next `open` finds the slot in doubt:
            // it is the one at 512 if the numbers are equal, else the one with the larger number.
            self.slot.sequence = self.slot.sequence.saturating_add(1);
            self.write(1, self.slot)?;
        }
        self.slot.sequence = self.slot.sequence.saturating_add(1);
        self.write_both(self.slot)
    }

    fn of(file: F, path: PathBuf, slot: Slot) -> Self {
        let stats = MarkStats::default();
        Self { file, path, slot, poison: None, stats, clock: SystemClock::new() }
    }

    /// The value of the last raise that returned.
    pub const fn get(&self) -> u64 {
        self.slot.value
    }

    /// Counters.
    pub const fn stats(&self) -> MarkStats {
        self.stats
    }

    /// The file.
    pub const fn path(&self) -> &PathBuf {
        &self.path
    }

    /// Both slots, one after the other, each made durable: at every moment one of them is whole.
    ///
    /// # Errors
    /// Those of [`MarkError`] that its variants name.
    pub fn raise(&mut self, to: u64) -> Result<(), MarkError> {
        self.check_poison()?;
        MarkFalls::check(self.slot.value, to).map_err(MarkError::Falls)?;
        if to == self.slot.value {
            return Ok(());
        }
        let sequence = self.slot.sequence.checked_add(1);
        let Some(sequence) = sequence else {
            return Err(MarkError::Exhausted { path: self.path.clone() });
        };
        let slot = Slot { value: to, sequence, ..self.slot };
        if let Err((op, error)) = self.write_both(slot) {
            // What the disk holds now is unknown, and a second sync would not say: after a failed
            // one the kernel may have dropped what it could not write. // H26
            self.poison = Some((op, error.kind()));
            return self.check_poison();
        }
        self.slot = slot;
        self.stats.raises += 1;
        Ok(())
    }

    fn check_poison(&self) -> Result<(), MarkError> {
        match self.poison {
            Some((op, kind)) => Err(MarkError::Poisoned { path: self.path.clone(), op, kind }),
            None => Ok(()),
        }
    }

    /// The slot at 0, durably, then the one at 512.
    fn write_both(&mut self, slot: Slot) -> Result<(), (MarkOp, io::Error)> {
        self.write(0, slot)?;
        if mutant::on("one_slot_written") {
            return Ok(());
        }
        self.write(1, slot)
    }

    /// One slot, durably.
    fn write(&mut self, which: usize, slot: Slot) -> Result<(), (MarkOp, io::Error)> {
        let at = SLOTS_AT[which] as u64;
        self.file.write_at(at, &slot.encode()).map_err(|error| (MarkOp::Write, error))?;
        self.sync().map_err(|error| (MarkOp::Sync, error))
    }

    fn sync(&mut self) -> io::Result<()> {
        let start = self.clock.monotonic();
        let done = self.file.sync();
        let took = self.clock.monotonic().since(start).as_micros();
        let took = u64::try_from(took).unwrap_or(u64::MAX);
        self.stats.fsync_us_max = self.stats.fsync_us_max.max(took);
        done
    }
}

fn io_step<T>(result: io::Result<T>, op: MarkOp, path: &std::path::Path) -> Result<T, MarkError> {
    result.map_err(|source| MarkError::Io { path: path.to_owned(), op, source })
}
