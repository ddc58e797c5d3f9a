//! Every place of a log that can be damaged, and what is known to be true of it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;

use super::specimen::{Ending, Specimen};
use crate::reference::bytes::{
    DATA, END, FRAMES_AT, Head, LINK, Life, head, le, link, page, payload,
};
use crate::rig::{dir, segments};

/// What a damaged byte means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Class {
    /// Nothing of the log.
    Unused,
    /// Left behind by a torn life; never read again.
    Discarded,
    /// Written and never acknowledged.
    Unacked,
    /// Acknowledged, and nothing on the disk speaks for it.
    LastGroup,
    /// Something else on the disk proves that it was durable.
    Proven,
}

/// Something on the disk that proves all numbers up to one durable.
#[derive(Clone, Debug)]
pub(crate) struct Evidence {
    pub(crate) path: PathBuf,
    pub(crate) range: Range<usize>,
    pub(crate) covers: u64,
}

/// A place to damage.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) path: PathBuf,
    pub(crate) range: Range<usize>,
    /// Its kind, by which the table is printed.
    pub(crate) group: &'static str,
}

/// A specimen with its places.
#[derive(Debug)]
pub(crate) struct Map {
    pub(crate) files: BTreeMap<PathBuf, Vec<u8>>,
    pub(crate) classes: BTreeMap<PathBuf, Vec<Class>>,
    pub(crate) evidence: Vec<Evidence>,
    pub(crate) places: Vec<Place>,
}

struct Segment {
    path: PathBuf,
    bytes: Vec<u8>,
    life: Life,
    /// Frames up to where the segment ends, the End frame among them if there is one.
    frames: Vec<Head>,
    end: usize,
}

fn at(n: u64) -> usize {
    usize::try_from(n).unwrap()
}

impl Map {
    pub(crate) fn of(specimen: &Specimen) -> Self {
        let disk = &specimen.disk;
        let mut files = BTreeMap::new();
        for path in segments(disk).into_iter().chain([dir().join("MANIFEST")]) {
            let bytes = disk.contents(&path).unwrap();
            files.insert(path, bytes);
        }
        let mut map =
            Self { files, classes: BTreeMap::new(), evidence: Vec::new(), places: Vec::new() };
        let segments = map.segments();
        map.find_evidence(&segments);
        map.classify(&segments, specimen);
        map.manifest();
        for segment in &segments {
            map.list(segment);
        }
        let whole: Vec<Place> = map
            .files
            .iter()
            .map(|(path, bytes)| (path.clone(), 0..bytes.len()))
            .map(|(path, range)| Place { path, range, group: "whole file" })
            .collect();
        map.places.extend(whole);
        map
    }

    fn segments(&self) -> Vec<Segment> {
        let mut found: Vec<Segment> = Vec::new();
        for (path, bytes) in &self.files {
            let Some(number) = path.file_stem().and_then(|s| s.to_str()?.parse().ok()) else {
                continue;
            };
            let page = page(bytes, 0, number).unwrap().unwrap();
            let life = Life { salt: page.salt, number };
            let (path, bytes) = (path.clone(), bytes.clone());
            found.push(Segment { path, bytes, life, frames: Vec::new(), end: at(FRAMES_AT) });
        }
        let ends: BTreeMap<u64, u64> = found.iter().filter_map(|s| s.link()).collect();
        for segment in &mut found {
            segment.walk(ends.get(&segment.life.number).copied());
        }
        found
    }

    fn find_evidence(&mut self, segments: &[Segment]) {
        for segment in segments {
            for (i, frame) in segment.frames.iter().enumerate() {
                let below = &segment.frames[..i];
                let covers = below.iter().filter(|f| f.at < frame.durable);
                let mut covers = covers.map(|f| f.first + f.numbers - 1).max().unwrap_or(0);
                if frame.kind == LINK {
                    let bytes = payload(&segment.bytes, frame).unwrap();
                    covers = link(bytes, segment.life).unwrap().prev_last;
                }
                let (path, from) = (segment.path.clone(), at(frame.at));
                let to = if frame.kind == LINK { at(frame.after()) } else { from + 40 };
                self.evidence.push(Evidence { path, range: from..to, covers });
            }
        }
        let path = dir().join("MANIFEST");
        let bytes = &self.files[&path];
        let mut found = Vec::new();
        for from in [0, 4096] {
            let covers = if le(bytes, from + 56, 8) > 0 { le(bytes, from + 72, 8) } else { 0 };
            found.push(Evidence { path: path.clone(), range: from..from + 128, covers });
        }
        self.evidence.extend(found);
    }

    fn classify(&mut self, segments: &[Segment], specimen: &Specimen) {
        let proven = self.evidence.iter().map(|e| e.covers).max().unwrap_or(0);
        if specimen.shape.ending == Ending::Closed {
            assert_eq!(proven, specimen.acked, "a clean end is marked");
        }
        let of = |last: u64| match last {
            n if n <= proven => Class::Proven,
            n if n <= specimen.acked => Class::LastGroup,
            _ => Class::Unacked,
        };
        for segment in segments {
            let mut classes = vec![Class::Unused; segment.bytes.len()];
            for copy in [0, 2048] {
                classes[copy..copy + 96].fill(Class::Proven);
            }
            let sealed = segments
                .iter()
                .any(|s| s.life.number > segment.life.number && !s.frames.is_empty());
            let behind = if sealed { Class::Discarded } else { Class::Unacked };
            for (class, &byte) in classes.iter_mut().zip(&segment.bytes).skip(segment.end) {
                *class = if byte == 0 { Class::Unused } else { behind };
            }
            let mut newest = Class::Unused;
            for (i, frame) in segment.frames.iter().enumerate() {
                let next = segment.frames.get(i + 1);
                newest = match (frame.kind, next) {
                    (DATA, _) if frame.numbers > 0 => of(frame.first + frame.numbers - 1),
                    (LINK, Some(next)) if next.numbers > 0 => of(next.first + next.numbers - 1),
                    (LINK, _) => of(frame.first),
                    _ => newest,
                };
                let ignored = frame.kind == END && sealed;
                let class = if ignored { Class::Discarded } else { newest };
                classes[at(frame.at)..at(frame.after())].fill(class);
            }
            self.classes.insert(segment.path.clone(), classes);
        }
        let mut classes = vec![Class::Unused; 8192];
        classes[..128].fill(Class::Proven);
        classes[4096..4224].fill(Class::Proven);
        self.classes.insert(dir().join("MANIFEST"), classes);
    }

    fn add(&mut self, path: &std::path::Path, range: Range<usize>, group: &'static str) {
        if !range.is_empty() {
            self.places.push(Place { path: path.to_path_buf(), range, group });
        }
    }

    fn manifest(&mut self) {
        let path = dir().join("MANIFEST");
        let fields = [0, 8, 10, 12, 16, 24, 40, 48, 56, 64, 72, 80, 84, 88, 96, 124, 128];
        for base in [0, 4096] {
            for field in fields.windows(2) {
                self.add(&path, base + field[0]..base + field[1], "manifest slot");
            }
        }
        self.add(&path, 128..4096, "manifest unused");
        self.add(&path, 4224..8192, "manifest unused");
    }

    fn list(&mut self, segment: &Segment) {
        let path = &segment.path;
        let fields = [0, 8, 10, 11, 12, 16, 32, 40, 48, 52, 56, 92, 96];
        for base in [0, 2048] {
            for field in fields.windows(2) {
                self.add(path, base + field[0]..base + field[1], "header copy");
            }
        }
        self.add(path, 96..2048, "header unused");
        let fields = [0, 4, 5, 6, 8, 12, 16, 24, 28, 32, 36, 40];
        for frame in &segment.frames {
            let from = at(frame.at);
            let (head, load) = match frame.kind {
                DATA => ("frame header", "record"),
                LINK => ("link header", "link payload"),
                END => ("end frame", ""),
                _ => ("pad header", "pad payload"),
            };
            for field in fields.windows(2) {
                self.add(path, from + field[0]..from + field[1], head);
            }
            let (start, len) = (from + 40, at(frame.len));
            match frame.kind {
                DATA => {
                    for byte in 0..len.min(8) {
                        self.add(path, start + byte..start + byte + 1, load);
                    }
                    self.add(path, start..start + len.min(8), "payload start");
                    let middle = start + len / 2;
                    self.add(path, middle..(middle + 8).min(start + len), "payload middle");
                    self.add(path, start + len.saturating_sub(8)..start + len, "payload end");
                    self.add(path, start + len..at(frame.after()), "padding");
                }
                LINK => {
                    for field in [0, 8, 16, 20, 24, 32, 40, 48].windows(2) {
                        self.add(path, start + field[0]..start + field[1], load);
                    }
                }
                _ => self.add(path, start..start + len, load),
            }
        }
        if segment.frames.is_empty() {
            self.add(path, 4096..4136, "end of preparation");
        }
        let used = segment.frames.last().map_or(4136, |f| at(f.after()));
        let end = segment.bytes.len();
        for from in (used..end.saturating_sub(64)).step_by((end - used) / 6 + 1) {
            self.add(path, from..from + 64, "unused or left");
        }
    }
}

impl Segment {
    /// What its Link says of the segment before: number and end.
    fn link(&self) -> Option<(u64, u64)> {
        let head = head(&self.bytes, FRAMES_AT, self.life).unwrap()?;
        if head.kind != LINK {
            return None;
        }
        let link = link(payload(&self.bytes, &head)?, self.life)?;
        Some((link.prev, link.prev_end))
    }

    fn walk(&mut self, end: Option<u64>) {
        let (mut here, mut expected) = (FRAMES_AT, None);
        while let Some(frame) = head(&self.bytes, here, self.life).unwrap() {
            let first = expected.unwrap_or(frame.first);
            let begins = expected.is_some() || frame.kind == LINK;
            let whole = payload(&self.bytes, &frame).is_some();
            if !begins || frame.first != first || !whole {
                break;
            }
            self.frames.push(frame);
            expected = Some(frame.first + frame.numbers);
            if frame.kind == END || Some(here) == end {
                break;
            }
            here = frame.after();
        }
        self.end = at(end.unwrap_or(here)).max(at(FRAMES_AT));
    }
}
