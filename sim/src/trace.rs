//! What happened, as one hash and as the newest records.
//!
//! The hash is what two runs are compared by, so everything that could differ goes into it: bodies
//! and disk operations too (H22). Records are formatted only when somebody looks.

use crate::SimTime;
use quorate_transport::NodeId;
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::{self, Write as _};

/// One step of the hash.
pub(crate) const fn mix(hash: u64, word: u64) -> u64 {
    (hash.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95)
}

/// What kind of thing happened. The numbers go into the hash: a new kind gets a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Boot = 1,
    Crash = 2,
    Message = 3,
    Datagram = 4,
    Timer = 5,
    LinkUp = 6,
    LinkDown = 7,
    Completion = 8,
    Send = 9,
    SendDatagram = 10,
    Unsent = 11,
    Lost = 12,
    Fault = 13,
    Fact = 14,
    Believe = 15,
    Disown = 16,
    Reached = 17,
    Note = 18,
    Poll = 21,
    Heal = 22,
    Refused = 23,
    CallEnded = 24,
}

/// One thing that happened.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) at: SimTime,
    pub(crate) what: What,
    /// Where; 0 if nowhere.
    pub(crate) node: u64,
    /// The other node; 0 if there is none.
    pub(crate) peer: u64,
    /// Length, key or token.
    pub(crate) size: u64,
    /// Checksum or value.
    pub(crate) sum: u64,
    /// The name of a fact or mark, or of a channel's lane.
    pub(crate) name: &'static str,
}

/// The hash, the newest records, and the file that gets all of them if somebody asked.
#[derive(Debug)]
pub(crate) struct Trace {
    on: bool,
    hash: u64,
    newest: VecDeque<Record>,
    newest_max: usize,
    notes: VecDeque<(u64, String)>,
    records: u64,
    file: Option<io::BufWriter<std::fs::File>>,
}

/// Texts are kept apart from records, which are many.
const NOTES_MAX: usize = 256;

impl Record {
    pub(crate) fn new(at: SimTime, what: What, node: NodeId) -> Self {
        Self { at, what, node: node.value(), peer: 0, size: 0, sum: 0, name: "" }
    }

    /// Something that happens to no single node.
    pub(crate) const fn nowhere(at: SimTime, what: What) -> Self {
        Self { at, what, node: 0, peer: 0, size: 0, sum: 0, name: "" }
    }

    pub(crate) const fn peer(mut self, peer: NodeId) -> Self {
        self.peer = peer.value();
        self
    }

    pub(crate) const fn size(mut self, size: u64, sum: u64) -> Self {
        (self.size, self.sum) = (size, sum);
        self
    }

    pub(crate) const fn name(mut self, name: &'static str) -> Self {
        self.name = name;
        self
    }

    /// A frame, datagram or anything else with a body.
    pub(crate) fn body(self, body: &[u8]) -> Self {
        self.size(body.len() as u64, u64::from(crc32fast::hash(body)))
    }
}

impl Trace {
    pub(crate) fn new(on: bool, newest_max: usize) -> Self {
        let (newest, notes) = (VecDeque::new(), VecDeque::new());
        Self { on, hash: 0, newest, newest_max, notes, records: 0, file: None }
    }

    /// Whether records are wanted at all: without them bodies need no checksum either.
    pub(crate) const fn is_on(&self) -> bool {
        self.on
    }

    /// Also writes every record to a file, as JSON lines.
    pub(crate) fn write_to(&mut self, path: &std::path::Path) -> io::Result<()> {
        self.file = Some(io::BufWriter::new(std::fs::File::create(path)?));
        Ok(())
    }

    pub(crate) fn record(&mut self, record: Record) {
        if !self.on {
            return;
        }
        let Record { at, what, node, peer, size, sum, name } = record;
        let mut hash = mix(self.hash, at.as_nanos());
        hash = mix(hash, u64::from(what as u8) | (name.len() as u64) << 8);
        for word in [node, peer, size, sum] {
            hash = mix(hash, word);
        }
        for piece in name.as_bytes().chunks(8) {
            let mut word = [0; 8];
            word[..piece.len()].copy_from_slice(piece);
            hash = mix(hash, u64::from_le_bytes(word));
        }
        self.hash = hash;
        self.keep(record);
    }

    /// A word that is no record: a reading of a clock, a disk operation.
    pub(crate) const fn fold(&mut self, word: u64) {
        if self.on {
            self.hash = mix(self.hash, word);
        }
    }

    fn keep(&mut self, record: Record) {
        self.records += 1;
        if self.newest_max == 0 && self.file.is_none() {
            return;
        }
        if let Some(file) = &mut self.file {
            // A full disk must not change what the world does.
            drop(file.write_all(json(&record).as_bytes()));
        }
        if self.newest.len() == self.newest_max {
            self.newest.pop_front();
        }
        if self.newest_max > 0 {
            self.newest.push_back(record);
        }
    }

    /// A text, beside the record that was made last.
    pub(crate) fn note(&mut self, text: String) {
        if self.notes.len() == NOTES_MAX {
            self.notes.pop_front();
        }
        self.notes.push_back((self.records, text));
    }

    pub(crate) const fn hash(&self) -> u64 {
        self.hash
    }

    /// The newest `n` records, a line each.
    pub(crate) fn tail(&self, n: usize) -> String {
        let skipped = self.newest.len().saturating_sub(n);
        let first = self.records - self.newest.len() as u64;
        let mut out = String::new();
        for (i, record) in (0..).zip(&self.newest).skip(skipped) {
            // A string takes everything.
            let _ = write!(out, "{record}");
            let number = first + i + 1;
            for (_, text) in self.notes.iter().filter(|(beside, _)| *beside == number) {
                let _ = write!(out, " {text}");
            }
            out.push('\n');
        }
        out
    }

    /// Gives what is buffered to the file.
    pub(crate) fn flush(&mut self) {
        if let Some(file) = &mut self.file {
            drop(file.flush());
        }
    }
}

/// `12.350s n2 message from n1: 17 bytes, sum 0x1234`.
impl std::fmt::Display for Record {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { at, node, peer, size, sum, name, .. } = self;
        write!(f, "{at} ")?;
        if *node != 0 {
            write!(f, "n{node} ")?;
        }
        match self.what {
            What::Boot => write!(f, "boots, incarnation {size}"),
            What::Crash => write!(f, "dies"),
            What::Message => {
                write!(f, "gets a frame from n{peer} on {name}: {size} bytes, {sum:#x}")
            }
            What::Datagram => write!(f, "gets a datagram from n{peer}: {size} bytes, {sum:#x}"),
            What::Timer => write!(f, "wakes"),
            What::LinkUp => write!(f, "{name} to n{peer} up, session {size}"),
            What::LinkDown => write!(f, "{name} to n{peer} down, session {size}"),
            What::Completion => write!(f, "disk work {size} is due"),
            What::Send => write!(f, "sends n{peer} on {name}: {size} bytes, {sum:#x}"),
            What::SendDatagram => write!(f, "sends n{peer} a datagram: {size} bytes, {sum:#x}"),
            What::Unsent => write!(f, "gets back {size} frames for n{peer} on {name}"),
            What::Lost if *name == "datagram" => write!(f, "loses a datagram from n{peer}"),
            What::Lost => write!(f, "loses {size} frames from n{peer} on {name}"),
            What::Fault => write!(f, "fault ({name}):"),
            What::Fact => write!(f, "{name}[{size}] = {sum:#x}"),
            What::Believe => write!(f, "believes {name}[{size}] until {sum}"),
            What::Disown => write!(f, "gives up {name}[{size}]"),
            What::Reached => write!(f, "reached {name}"),
            What::Note => write!(f, "notes"),
            What::Poll => write!(f, "polls task {size}"),
            What::Heal => write!(f, "heal"),
            What::Refused => write!(f, "cannot send to n{peer} on {name}: {size} bytes"),
            What::CallEnded => write!(f, "call {size} to n{peer} ended"),
        }
    }
}

fn json(record: &Record) -> String {
    let Record { at, what, node, peer, size, sum, name } = record;
    let at = at.as_nanos();
    format!(
        "{{\"time\":{at},\"what\":\"{what:?}\",\"node\":{node},\"peer\":{peer},\
         \"size\":{size},\"sum\":{sum},\"name\":\"{name}\"}}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(size: u64) -> Record {
        Record::new(SimTime::from_nanos(1), What::Fact, NodeId::new(1)).size(size, 2).name("term")
    }

    /// H22: each word of a record moves the hash.
    #[test]
    fn every_part_of_a_record_is_in_the_hash() {
        let hash = |record: Record| {
            let mut trace = Trace::new(true, 0);
            trace.record(record);
            trace.hash()
        };
        let plain = hash(record(7));
        assert_eq!(plain, hash(record(7)));
        let mut later = record(7);
        later.at = SimTime::from_nanos(2);
        let mut other = record(7);
        other.what = What::Note;
        let variants = [
            record(8),
            record(7).size(7, 3),
            record(7).peer(NodeId::new(2)),
            record(7).name("terms"),
            record(7).body(b"a body"),
            later,
            other,
        ];
        for variant in variants {
            assert_ne!(hash(variant.clone()), plain, "{variant:?}");
        }
    }

    /// H29: what is kept does not grow.
    #[test]
    fn only_the_newest_are_kept() {
        let mut trace = Trace::new(true, 3);
        for i in 0..1_000 {
            trace.record(record(i));
            trace.note(format!("note {i}"));
        }
        assert_eq!((trace.newest.len(), trace.notes.len()), (3, NOTES_MAX));
        let line = "0.000000001s n1 term[999] = 0x2 note 999\n";
        assert_eq!(trace.tail(1), line);
        assert_eq!(trace.tail(100).lines().count(), 3);
    }

    #[test]
    fn a_trace_that_is_off_costs_and_says_nothing() {
        let mut trace = Trace::new(false, 3);
        trace.record(record(1));
        assert_eq!((trace.hash(), trace.tail(9)), (0, String::new()));
    }

    #[test]
    fn what_is_lost_is_frames_or_a_datagram() {
        let lost = |name| {
            let record = Record::new(SimTime::ZERO, What::Lost, NodeId::new(2));
            record.peer(NodeId::new(1)).size(3, 0).name(name).to_string()
        };
        assert!(lost("bulk").ends_with("n2 loses 3 frames from n1 on bulk"), "{}", lost("bulk"));
        assert!(lost("datagram").ends_with("n2 loses a datagram from n1"), "{}", lost("datagram"));
    }
}
