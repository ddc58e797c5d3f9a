//! R0 to R2, R4: MANIFEST, the files and what their first bytes say.

use super::Files;
use super::bytes::{
    FRAMES_AT, Head, LINK, Life, Link, Newer, Page, Slot, head, link, page, payload, slot,
};

/// A file that may be part of the log.
#[derive(Clone, Debug)]
pub(super) struct Segment<'a> {
    pub(super) number: u64,
    /// Cut to `segment_bytes`.
    pub(super) bytes: &'a [u8],
    pub(super) salt: Option<u64>,
    pub(super) short: bool,
    /// Of the size of the files that are written to next.
    pub(super) link: Option<(Head, Link)>,
}

impl Segment<'_> {
    pub(super) fn life(&self) -> Life {
        Life { salt: self.salt.unwrap_or(0), number: self.number }
    }
}

/// Everything that is known before frames are read.
#[derive(Clone, Debug)]
pub(super) struct Heads<'a> {
    pub(super) slot: Option<Slot>,
    pub(super) oldest: u64,
    pub(super) segments: Vec<Segment<'a>>,
    pub(super) repaired: u32,
}

impl<'a> Heads<'a> {
    pub(super) fn segment(&self, number: u64) -> Option<&Segment<'a>> {
        self.segments.iter().find(|s| s.number == number)
    }
}

/// `None`: a creation that never finished.
pub(super) fn heads(files: &Files) -> Result<Option<Heads<'_>>, Newer> {
    let Some(found) = manifest(files)? else { return Ok(None) };
    let (best, mut repaired) = found;
    let least = best.map_or(0, |s| s.oldest);
    let mut pages = Vec::new();
    for (&number, file) in files.segments.range(least..) {
        let (first, second) = (page(file, 0, number)?, page(file, 2048, number)?);
        repaired += u32::from(first.is_some() != second.is_some());
        pages.push((number, file, first.or(second)));
    }
    let uuid = best.map(|s| s.uuid);
    let uuid = uuid.or_else(|| pages.iter().find_map(|(_, _, page)| page.map(|p| p.uuid)));
    let mut salts: Vec<(u64, u64)> = best.map(|s| (s.seq, s.salt)).into_iter().collect();
    let mut segments = Vec::new();
    for (number, file, found) in pages.into_iter().rev() {
        let found: Option<Page> = found.filter(|p| Some(p.uuid) == uuid);
        let named = salts.iter().find(|(n, _)| *n == number).map(|&(_, salt)| salt);
        let salt = found.map(|p| p.salt).or(named);
        let size = found.map_or(file.len() as u64, |p| p.segment_bytes);
        let grows = found.is_some_and(|p| p.grows);
        let kept = file.len().min(usize::try_from(size).unwrap());
        let mut segment = Segment {
            number,
            bytes: &file[..kept],
            salt,
            short: !grows && (file.len() as u64) < size,
            link: None,
        };
        segment.link = salt.and_then(|_| first_link(file, segment.life()));
        if let Some((_, link)) = segment.link {
            salts.push((link.prev, link.prev_salt));
        }
        segments.push(segment);
    }
    segments.reverse();
    let oldest = best.map_or_else(|| segments.first().map_or(1, |s| s.number), |s| s.oldest);
    Ok(Some(Heads { slot: best, oldest, segments, repaired }))
}

fn manifest(files: &Files) -> Result<Option<(Option<Slot>, u32)>, Newer> {
    let Some(file) = &files.manifest else {
        let untouched = |file: &Vec<u8>| file.iter().skip(4136).all(|&b| b == 0);
        let begun = files.segments.iter().all(|(&n, file)| n == 1 && untouched(file));
        return Ok((!begun).then_some((None, 0)));
    };
    let slots = [slot(file, 0)?, slot(file, 1)?];
    let best = slots.into_iter().flatten().max_by_key(|s| s.number);
    let bad = slots.iter().filter(|s| s.is_none()).count();
    Ok(Some((best, if best.is_some() { u32::try_from(bad).unwrap() } else { 0 })))
}

fn first_link(file: &[u8], life: Life) -> Option<(Head, Link)> {
    let head = head(file, FRAMES_AT, life).ok()??;
    if head.kind != LINK {
        return None;
    }
    Some((head, link(payload(file, &head)?, life)?))
}
