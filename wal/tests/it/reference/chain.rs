//! R5 and R7a: which files the log consists of; and the answer as a whole (R9).

use quorate_wal::DamageKind;

use super::bytes::{END, FRAMES_AT, Head, Newer, head};
use super::heads::{Heads, Segment, heads};
use super::walk::Walk;
use super::{Answer, Files, Hurt, Item, Reading};

/// A member of the chain.
#[derive(Clone, Copy, Debug)]
pub(super) enum Part<'a> {
    Linked(&'a Segment<'a>),
    /// Known to be part of the log, without a sound Link.
    Headless(&'a Segment<'a>),
    Lost(u64, DamageKind),
}

impl Part<'_> {
    pub(super) fn number(&self) -> u64 {
        match self {
            Self::Linked(s) | Self::Headless(s) => s.number,
            Self::Lost(number, _) => *number,
        }
    }
}

/// What the files behind the chain are.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Prepared {
    pub(super) any_lost_its_end: bool,
    pub(super) any_followed: bool,
}

/// Headers that a search finds from `from` on.
pub(super) fn plausible<'a>(
    segment: &'a Segment<'_>,
    from: u64,
    expected: u64,
) -> impl Iterator<Item = Head> + 'a {
    let life = segment.life();
    (from.next_multiple_of(8)..segment.bytes.len() as u64).step_by(8).filter_map(move |at| {
        let found = head(segment.bytes, at, life).ok().flatten()?;
        (found.first.abs_diff(expected) < 1 << 32).then_some(found)
    })
}

pub(super) fn read(files: &Files, told: u64) -> Result<Answer, Newer> {
    let Some(heads) = heads(files)? else { return Ok(Answer::New) };
    let mut chain = linked_chain(&heads)?;
    let top = chain.last().map_or(0, Part::number);
    let prepared = above(&heads, top, &mut chain)?;
    let mut walk = Walk::new(&heads, prepared, told);
    for (i, part) in chain.iter().enumerate() {
        walk.part(*part, chain.get(i + 1))?;
    }
    let walked = walk.finish(chain.is_empty());
    let mut damage = walked.damage;
    if heads.slot.is_none() {
        let (next, kind) = (walked.next, DamageKind::Manifest);
        let to = next.map(|n| n - 1);
        damage.insert(0, Hurt { segment: 0, offset: 0, kind, from: next.unwrap_or(0), to });
    }
    let lows = heads.segments.iter().filter_map(|s| s.link).map(|(_, link)| link.low);
    let lows = lows.chain(heads.slot.map(|s| s.low));
    let kept = walked.items.iter().filter_map(|(_, item)| match item {
        Item::KeepMain(low) => Some(*low),
        _ => None,
    });
    let low = lows.chain(kept).max().unwrap_or(1).max(1);
    let accepts = |hurt: &Hurt| {
        walked.items.iter().any(|(_, item)| {
            let Item::Hole { segment, offset, from, to } = item else { return false };
            match hurt.to {
                Some(last) if last < hurt.from => {
                    (*segment, *offset) == (hurt.segment, hurt.offset)
                }
                Some(last) => {
                    let same = (*segment, *offset) == (hurt.segment, hurt.offset);
                    last <= *to && (same || *from <= hurt.from)
                }
                None => false,
            }
        })
    };
    let (accepted, damage) = damage.into_iter().partition(accepts);
    let repaired = heads.repaired + walked.repaired;
    let (end, items) = (walked.end, walked.items);
    Ok(Answer::Read(Reading { end, damage, accepted, repaired, items, low }))
}

/// What an unlinked file is by itself.
fn alone<'a>(heads: &'a Heads<'a>, number: u64) -> Result<(Option<Part<'a>>, Prepared), Newer> {
    let mut prepared = Prepared::default();
    let Some(segment) = heads.segment(number) else {
        return Ok((Some(Part::Lost(number, DamageKind::MissingSegment)), prepared));
    };
    if segment.salt.is_none() {
        return Ok((Some(Part::Lost(number, DamageKind::SegmentHeader)), prepared));
    }
    let links = heads.segments.iter().filter_map(|s| s.link);
    let expected = links.map(|(head, _)| head.first).max().unwrap_or(1);
    let first = head(segment.bytes, FRAMES_AT, segment.life())?;
    let marked = heads.slot.is_some_and(|s| s.seq == number);
    let found: Vec<Head> = plausible(segment, FRAMES_AT + 8, expected).collect();
    if marked || found.iter().any(|h| h.durable > FRAMES_AT) {
        return Ok((Some(Part::Headless(segment)), prepared));
    }
    prepared.any_lost_its_end = !first.is_some_and(|h| h.kind == END && h.first == 0);
    prepared.any_followed = !found.is_empty();
    Ok((None, prepared))
}

fn linked_chain<'a>(heads: &'a Heads<'a>) -> Result<Vec<Part<'a>>, Newer> {
    let below = |bound: u64| heads.segments.iter().rfind(|s| s.number < bound && s.link.is_some());
    let mut chain = Vec::new();
    let mut at = below(u64::MAX);
    while let Some(segment) = at {
        chain.push(Part::Linked(segment));
        let prev = segment.link.map_or(0, |(_, link)| link.prev);
        if prev == 0 || prev < heads.oldest {
            break;
        }
        at = match heads.segment(prev) {
            Some(found) if found.link.is_some() => Some(found),
            found => {
                chain.push(match found {
                    None => Part::Lost(prev, DamageKind::MissingSegment),
                    Some(s) if s.salt.is_none() => Part::Lost(prev, DamageKind::SegmentHeader),
                    Some(s) => Part::Headless(s),
                });
                let next = below(prev);
                let least = next.map_or(heads.oldest, |s| s.number + 1);
                for number in (least..prev).rev() {
                    chain.extend(alone(heads, number)?.0);
                }
                next
            }
        };
    }
    chain.reverse();
    Ok(chain)
}

fn above<'a>(heads: &'a Heads<'a>, top: u64, chain: &mut Vec<Part<'a>>) -> Result<Prepared, Newer> {
    let highest = heads.segments.last().map_or(0, |s| s.number);
    let highest = highest.max(heads.slot.map_or(0, |s| s.newest));
    let mut all = Prepared::default();
    for number in (top + 1).max(heads.oldest)..=highest {
        let (part, prepared) = alone(heads, number)?;
        chain.extend(part);
        all.any_lost_its_end |= prepared.any_lost_its_end;
        all.any_followed |= prepared.any_followed;
    }
    Ok(all)
}
