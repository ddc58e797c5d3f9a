//! What every contender proposes, and what its replicas do with what was committed.

/// A log is compacted whenever about so many bytes were applied: memory stays bounded, and all
/// contenders pay for it alike.
const LOG_KEPT: usize = 1 << 20;
/// What an entry takes beside its payload, about the same for everybody.
const ENTRY_HEAD: usize = 32;

/// Payloads of one size, each with its number in front.
pub(crate) struct Payloads {
    buf: Vec<u8>,
    next: u64,
    kept: usize,
}

impl Payloads {
    pub(crate) fn new(size: usize) -> Self {
        assert!(size >= 16, "room for the number in front and for the last bytes");
        Self { buf: vec![0x5A; size], next: 0, kept: 0 }
    }

    pub(crate) fn size(&self) -> usize {
        self.buf.len()
    }

    /// The next one. A contender copies it once, into whatever it proposes.
    pub(crate) fn next(&mut self) -> &[u8] {
        self.next += 1;
        self.kept += self.buf.len() + ENTRY_HEAD;
        self.buf[..8].copy_from_slice(&self.next.to_le_bytes());
        &self.buf
    }

    /// Whether it is time to compact.
    pub(crate) fn compaction_due(&mut self) -> bool {
        let due = self.kept >= LOG_KEPT;
        if due {
            self.kept = 0;
        }
        due
    }

    /// What every replica must have come to by now.
    pub(crate) fn expected(&self) -> Applier {
        let mut again = Self::new(self.buf.len());
        let mut applier = Applier::default();
        (0..self.next).for_each(|_| applier.apply(again.next()));
        applier
    }
}

/// A state machine that looks at each entry: its first and last bytes, in order. To look at all
/// bytes would hide the consensus behind the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Applier {
    pub(crate) entries: u64,
    sum: u64,
}

impl Applier {
    pub(crate) fn apply(&mut self, data: &[u8]) {
        let word = |bytes: Option<&[u8; 8]>| u64::from_le_bytes(*bytes.expect("16 bytes or more"));
        self.entries += 1;
        self.sum = self.sum.rotate_left(5) ^ word(data.first_chunk()) ^ word(data.last_chunk());
    }
}
