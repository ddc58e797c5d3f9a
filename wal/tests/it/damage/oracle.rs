//! Holds what a damaged log says against the books of its maker.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use quorate_wal::vfs::MemVfs;
use quorate_wal::{
    Batch, ConfigBuilder, Health, Lsn, LsnSpan, OpenError, ReadBound, ReadError, Recovery,
    RecoveryReport, Replayed, Slot, Tail, Wal,
};

use super::places::{Class, Map};
use super::specimen::{Specimen, Wrote};
use crate::rig::{dir, group, manual, settle};

/// What an open made of the damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verdict {
    Intact,
    Torn,
    Unverifiable,
    Corruption,
}

/// What may not be.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults {
    pub(crate) silent: Vec<String>,
    pub(crate) splices: Vec<String>,
    pub(crate) false_corruption: Vec<String>,
    pub(crate) wrong_spans: Vec<String>,
    /// The last write was lost by the device, without a trace: outside of what can be seen.
    pub(crate) lost_writes: u64,
}

impl Faults {
    pub(crate) fn is_empty(&self) -> bool {
        self.all().next().is_none()
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &String> {
        let lists = [&self.silent, &self.splices, &self.false_corruption, &self.wrong_spans];
        lists.into_iter().flatten()
    }
}

type Seen = BTreeMap<u64, Wrote>;
type Opened = (Result<(Wal, RecoveryReport), OpenError>, Seen);

/// Opens, and takes down what is shown with a number.
pub(crate) fn open_seeing(disk: &MemVfs, config: ConfigBuilder) -> Opened {
    let mut seen = Seen::new();
    let mut visit = |op: Replayed<'_>| {
        let (lsn, wrote) = match op {
            Replayed::Record { lsn, bytes } => (lsn, Wrote::Record(bytes.to_vec())),
            Replayed::Block { lsn, stream, first, bytes, .. } => {
                (lsn, Wrote::Block { stream: stream.id(), first, bytes: bytes.to_vec() })
            }
            Replayed::Meta { lsn, stream, slot, bytes } => {
                (lsn, Wrote::Meta { stream: stream.id(), slot, bytes: bytes.to_vec() })
            }
            _ => return,
        };
        seen.insert(lsn.as_u64(), wrote);
    };
    let vfs = Arc::new(disk.clone());
    let opened = Wal::open_on(vfs, dir(), config.build().unwrap(), Some(&mut visit));
    (opened, seen)
}

/// One damaged log under judgement.
pub(crate) struct Judge<'a> {
    pub(crate) specimen: &'a Specimen,
    pub(crate) map: &'a Map,
    pub(crate) what: &'a str,
    pub(crate) faults: Faults,
    /// Bytes that differ from the specimen, by what they mean.
    pub(crate) touched: BTreeSet<Class>,
    changed: BTreeMap<PathBuf, Option<Vec<u8>>>,
    proven: u64,
    seed: u64,
}

impl<'a> Judge<'a> {
    /// `None`: nothing changed.
    pub(crate) fn new(
        specimen: &'a Specimen,
        map: &'a Map,
        disk: &MemVfs,
        what: &'a str,
    ) -> Option<Self> {
        let mut changed = BTreeMap::new();
        let mut touched = BTreeSet::new();
        for (path, before) in &map.files {
            let now = disk.contents(path).ok();
            if now.as_ref() == Some(before) {
                continue;
            }
            let bytes = now.as_deref().unwrap_or(&[]);
            let differs = |i: usize| bytes.get(i) != before.get(i);
            let classes = map.classes[path].iter().enumerate();
            touched.extend(classes.filter(|&(i, _)| differs(i)).map(|(_, class)| *class));
            touched.insert(Class::Unused);
            changed.insert(path.clone(), now);
        }
        let faults = Faults::default();
        if changed.is_empty() {
            return None;
        }
        let mut judge = Self { specimen, map, what, faults, touched, changed, proven: 0, seed: 0 };
        judge.proven = judge.proof();
        Some(judge)
    }

    fn untouched(&self, path: &PathBuf, range: std::ops::Range<usize>) -> bool {
        let before = self.map.files[path].get(range.clone());
        match self.changed.get(path) {
            None => true,
            Some(None) => false,
            Some(Some(now)) => now.get(range) == before,
        }
    }

    /// The newest number that something still on the disk proves to have been durable.
    fn proof(&self) -> u64 {
        let still = self.map.evidence.iter().filter(|evidence| {
            let path = &evidence.path;
            // Of a segment also the salt must be known.
            self.untouched(path, evidence.range.clone())
                && (path.ends_with("MANIFEST")
                    || self.untouched(path, 0..96)
                    || self.untouched(path, 2048..2144))
        });
        still.map(|evidence| evidence.covers).max().unwrap_or(0)
    }

    const fn is_proven(&self, lsn: u64) -> bool {
        lsn <= self.proven
    }

    pub(crate) fn judge(&mut self, disk: &MemVfs, seed: u64) -> Verdict {
        self.seed = seed;
        let lives_on = seed.is_multiple_of(6);
        let (opened, seen) = open_seeing(disk, manual());
        match opened {
            Ok((wal, report)) => {
                let verdict = match report.tail {
                    Tail::Unverifiable { .. } => Verdict::Unverifiable,
                    Tail::Torn { .. } => Verdict::Torn,
                    _ => Verdict::Intact,
                };
                self.compare(&wal, &report, &seen);
                if lives_on {
                    let lsn = wal.append_blocking(b"after").unwrap();
                    drop(wal);
                    self.reopen(disk, &seen, lsn, &report);
                }
                verdict
            }
            Err(OpenError::Corruption(strict)) => {
                let innocent = self.touched.iter().all(|class| *class <= Class::Unacked);
                if innocent {
                    self.fault(|f| &mut f.false_corruption, &format!("{strict:?}"));
                }
                let salvage = manual().recovery(Recovery::Salvage);
                let (opened, seen) = open_seeing(disk, salvage);
                let (wal, report) = opened.unwrap();
                assert_eq!(report.damage, strict.damage, "{}: the same verdict twice", self.what);
                self.compare(&wal, &report, &seen);
                if lives_on {
                    wal.accept_damage(&report).unwrap().wait().unwrap();
                    settle(&wal);
                    let lsn = wal.append_blocking(b"after").unwrap();
                    drop(wal);
                    self.reopen(disk, &seen, lsn, &report);
                }
                Verdict::Corruption
            }
            Err(other) => panic!("{}: {other:?}", self.what),
        }
    }

    fn fault(&mut self, list: impl FnOnce(&mut Faults) -> &mut Vec<String>, text: &str) {
        let text = format!("{}: {text}", self.what);
        list(&mut self.faults).push(text);
    }

    fn compare(&mut self, wal: &Wal, report: &RecoveryReport, seen: &Seen) {
        let holes: Vec<LsnSpan> = report.damage.iter().map(|d| d.lost).collect();
        let tail = match report.tail {
            Tail::Unverifiable { lsns } => Some(lsns),
            _ => None,
        };
        self.invented(seen);
        let specimen = self.specimen;
        let mut lost = Vec::new();
        for (&lsn, wrote) in specimen.wrote.range(specimen.low..) {
            let in_hole = holes.iter().any(|h| h.contains(Lsn::new(lsn)));
            let in_tail = tail.is_some_and(|t| t.contains(Lsn::new(lsn)));
            if seen.get(&lsn) == Some(wrote) {
                if in_hole || in_tail {
                    self.fault(|f| &mut f.wrong_spans, &format!("{lsn} is there: {report:?}"));
                }
                continue;
            }
            // Carried: written again under another number, which is there.
            if seen.values().any(|found| found == wrote) {
                continue;
            }
            if in_hole {
                lost.push(lsn);
            }
            let named = in_hole || in_tail && !self.is_proven(lsn);
            if lsn > specimen.acked || named {
                continue;
            }
            if self.is_lost_write(lsn) {
                self.faults.lost_writes += 1;
            } else {
                self.fault(|f| &mut f.silent, &format!("{lsn} {wrote:?}: {report:?}"));
            }
        }
        self.exact(&holes, seen, report);
        self.sequence(wal, seen, report);
        self.read_path(wal, seen);
        self.health(wal, &lost);
    }

    /// The device lost the last write, and said that it had not: what was there before is whole.
    fn is_lost_write(&self, lsn: u64) -> bool {
        let stale = self.what.starts_with("Stale") || self.what.starts_with("Misdirect");
        stale && !self.is_proven(lsn)
    }

    /// Nothing is shown that was not written, under no other number.
    fn invented(&mut self, seen: &Seen) {
        let wrote = &self.specimen.wrote;
        let begin = wrote.keys().next().copied().unwrap_or(0);
        for (lsn, found) in seen.range(begin..) {
            if wrote.get(lsn) != Some(found) {
                self.fault(|f| &mut f.splices, &format!("{lsn} is {found:?}"));
            }
        }
    }

    /// A closed span ends where readable numbers begin, on both sides.
    fn exact(&mut self, holes: &[LsnSpan], seen: &Seen, report: &RecoveryReport) {
        let holed = |lsn: u64| holes.iter().any(|h| h.contains(Lsn::new(lsn)));
        for hole in holes.iter().filter(|h| !h.is_empty()) {
            let Some(to) = hole.to else { continue };
            for next in [hole.from.as_u64() - 1, to.as_u64() + 1] {
                let there = next < self.specimen.low
                    || holed(next)
                    || !self.specimen.wrote.contains_key(&next)
                    || seen.contains_key(&next)
                    || next > self.specimen.acked
                    || self.is_lost_write(next);
                if !there {
                    self.fault(|f| &mut f.wrong_spans, &format!("{hole} at {next}: {report:?}"));
                }
            }
        }
    }

    /// A reader from the low mark gives every record that recovery showed, and holes between.
    fn sequence(&mut self, wal: &Wal, seen: &Seen, report: &RecoveryReport) {
        let low = wal.marks().low.as_u64().max(self.specimen.low);
        let mut shown = seen.range(low..).filter_map(|(lsn, wrote)| match wrote {
            Wrote::Record(bytes) => Some((*lsn, &bytes[..])),
            _ => None,
        });
        let mut odd = None;
        for record in wal.read(Lsn::new(low), ReadBound::Written) {
            match record {
                Ok(record) if shown.next() == Some((record.lsn.as_u64(), &record.bytes[..])) => {}
                Err(ReadError::Lost { .. }) => {}
                other => {
                    odd = Some(format!("in sequence: {other:?}"));
                    break;
                }
            }
        }
        let odd = odd.or_else(|| shown.next().map(|(lsn, _)| format!("{lsn} is not in sequence")));
        let odd = odd.map(|text| format!("{text}: {:?} {report:?}", wal.marks()));
        if let Some(text) = odd {
            self.fault(|f| &mut f.splices, &text);
        }
    }

    /// `get`, streams and cells give the bytes that recovery showed, or an error; of what is
    /// there an eighth is asked for, another one each time.
    fn read_path(&mut self, wal: &Wal, seen: &Seen) {
        let specimen = self.specimen;
        // By number, so that the newest shown value of a cell stays; drops are not in the books.
        let begin = specimen.wrote.keys().next().copied().unwrap_or(0);
        let mut cells: BTreeMap<(u64, u8), &Vec<u8>> = BTreeMap::new();
        for (_, wrote) in seen.range(begin..) {
            if let Wrote::Meta { stream, slot, bytes } = wrote {
                cells.insert((*stream, *slot), bytes);
            }
        }
        let mut out = Vec::new();
        for (&lsn, wrote) in specimen.wrote.range(specimen.low..) {
            let there = seen.contains_key(&lsn);
            if there && !(lsn + self.seed).is_multiple_of(8) {
                continue;
            }
            let same = match wrote {
                Wrote::Record(bytes) => match wal.get(Lsn::new(lsn)) {
                    Ok(found) => there && found[..] == bytes[..],
                    Err(_) => !there,
                },
                Wrote::Block { stream, first, bytes } => {
                    out.clear();
                    let read = wal.stream(group(*stream)).read(*first..first + 1, 1, &mut out);
                    match (read, out.first()) {
                        // Under this number, another one it was carried to, or an older one
                        // of a life before a drop that is lost: in any case as it was shown.
                        (Ok(_), Some(block)) => {
                            matches!(
                                seen.get(&block.lsn.as_u64()),
                                Some(Wrote::Block { first: shown, bytes: as_shown, .. })
                                    if shown == first && block.bytes[..] == as_shown[..]
                            ) && (!there || block.bytes[..] == bytes[..])
                        }
                        (Ok(_), None) => false,
                        (Err(_), _) => !there,
                    }
                }
                Wrote::Meta { .. } => true,
            };
            if !same {
                let text = format!("{lsn} {wrote:?} is shown {there} and read otherwise {out:?}");
                self.fault(|f| &mut f.splices, &text);
            }
        }
        for ((stream, slot), bytes) in cells {
            let found = wal.stream(group(stream)).meta(Slot::new(slot).unwrap());
            if found.as_deref() != Some(&bytes[..]) {
                self.fault(|f| &mut f.splices, &format!("cell {slot} of {stream}: {found:?}"));
            }
        }
    }

    /// A stream that lost something is not intact (G13).
    fn health(&mut self, wal: &Wal, lost: &[u64]) {
        for lsn in lost {
            let stream = match &self.specimen.wrote[lsn] {
                Wrote::Record(_) => continue,
                Wrote::Block { stream, .. } | Wrote::Meta { stream, .. } => *stream,
            };
            if wal.stream(group(stream)).health() == Health::Intact {
                self.fault(|f| &mut f.silent, &format!("stream {stream} intact without {lsn}"));
            }
        }
    }

    /// After acceptance and an append: everything that was there is there, and nothing else.
    fn reopen(&mut self, disk: &MemVfs, before: &Seen, new: Lsn, report: &RecoveryReport) {
        let (opened, seen) = open_seeing(disk, manual());
        let (wal, again) = match opened {
            Ok(opened) => opened,
            Err(e) => {
                let text = format!("refused again: {e:?}\nafter {report:?}");
                self.fault(|f| &mut f.false_corruption, &text);
                return;
            }
        };
        let new = (new.as_u64(), Wrote::Record(b"after".to_vec()));
        if let Some(odd) = self.differs(before, &seen, &[&new]) {
            self.fault(|f| &mut f.splices, &format!("after {}: {odd} of {report:?}", new.0));
        }
        if again.accepted.len() > report.damage.len() {
            self.fault(|f| &mut f.wrong_spans, &format!("accepted {again:?}"));
        }
        // And once more, with something behind it.
        let mut batch = Batch::new();
        let lsn = wal.commit_blocking(batch.record(b"again")).unwrap();
        drop(wal);
        let (opened, seen) = open_seeing(disk, manual());
        let more = (lsn.as_u64(), Wrote::Record(b"again".to_vec()));
        let odd = self.differs(before, &seen, &[&new, &more]);
        if opened.is_err() || odd.is_some() {
            self.fault(|f| &mut f.splices, &format!("the next life differs: {odd:?}"));
        }
    }

    /// What of `before` and `new` is not there, or there that is neither. Meanwhile maintenance
    /// may have written things again under other numbers, and given back what is older than the
    /// books or was written over.
    fn differs(&self, before: &Seen, now: &Seen, new: &[&(u64, Wrote)]) -> Option<String> {
        let begin = self.specimen.wrote.keys().next().copied().unwrap_or(0);
        for (lsn, wrote) in before.range(begin..) {
            let moved = || now.values().any(|found| found == wrote);
            let over = wrote.cell().is_some()
                && before.range(lsn + 1..).any(|(_, later)| later.cell() == wrote.cell());
            if now.get(lsn) != Some(wrote) && !over && !moved() {
                return Some(format!("{lsn} is gone"));
            }
        }
        for (lsn, wrote) in now.range(begin..) {
            let known = before.get(lsn) == Some(wrote)
                || new.iter().any(|(n, w)| (n, w) == (lsn, wrote))
                || !matches!(wrote, Wrote::Record(_)) && before.values().any(|w| w == wrote);
            if !known {
                return Some(format!("{lsn} was not there"));
            }
        }
        new.iter().find(|(lsn, _)| !now.contains_key(lsn)).map(|(lsn, _)| format!("{lsn} is lost"))
    }
}
