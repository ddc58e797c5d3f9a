//! `qwal stat`, `qwal verify`, `qwal scrub`.

use std::io::Write;

use quorate_wal::{Damage, Pace, ReadError, RecoveryReport, StreamId, WalReader};

use super::{Outcome, State, json};

/// All streams of all spaces.
pub(super) fn streams(reader: &WalReader) -> impl Iterator<Item = StreamId> + '_ {
    (0..=u16::MAX).flat_map(|space| reader.streams(space))
}

/// What the log holds.
pub(super) fn stat(
    out: &mut dyn Write,
    reader: &WalReader,
    report: &RecoveryReport,
    as_json: bool,
) -> Outcome {
    let marks = reader.marks();
    if as_json {
        writeln!(out, "{}", json::marks(&marks))?;
        writeln!(out, "{}", json::report(report))?;
    } else {
        writeln!(out, "records    {}..={}", marks.low, marks.written)?;
        writeln!(out, "durable    {}", marks.durable)?;
        writeln!(out, "high       {}", marks.high)?;
        writeln!(out, "segments   {}", report.segments)?;
        writeln!(out, "bytes      {}", report.bytes_scanned)?;
        writeln!(out, "tail       {:?}", report.tail)?;
        writeln!(out, "damage     {}", report.damage.len())?;
        writeln!(out, "streams    {}", report.streams)?;
    }
    for id in streams(reader) {
        let stream = reader.stream(id);
        let (bounds, blocks, bytes) = (stream.bounds(), stream.blocks().len(), stream.bytes());
        let (low, next, health) = (bounds.start, bounds.end, stream.health());
        if as_json {
            let health = json::health(&health);
            writeln!(
                out,
                "{{\"stream\":\"{id}\",\"low\":{low},\"next\":{next},\"blocks\":{blocks},\
                 \"bytes\":{bytes},\"health\":{health}}}"
            )?;
        } else {
            writeln!(
                out,
                "stream {id}: indexes {low}..{next}, {blocks} blocks, {bytes} bytes, {health:?}"
            )?;
        }
    }
    Ok(State::of(report))
}

fn line(out: &mut dyn Write, damage: &Damage, as_json: bool) -> std::io::Result<()> {
    if as_json { writeln!(out, "{}", json::damage(damage)) } else { writeln!(out, "{damage}") }
}

/// Whether the log is sound.
pub(super) fn verify(out: &mut dyn Write, report: &RecoveryReport, as_json: bool) -> Outcome {
    if as_json {
        writeln!(out, "{}", json::report(report))?;
        return Ok(State::of(report));
    }
    for damage in &report.damage {
        line(out, damage, false)?;
    }
    for lost in &report.accepted {
        writeln!(out, "accepted: records {lost}")?;
    }
    if report.repaired > 0 {
        writeln!(out, "redundant copies that are bad: {}", report.repaired)?;
    }
    let state = State::of(report);
    let word = match state {
        State::Sound => "sound",
        State::Torn => "torn or unverifiable tail",
        _ => "corrupt",
    };
    let (tail, durable, bytes) = (report.tail, report.durable, report.bytes_scanned);
    writeln!(out, "{word}: tail {tail:?}, proven up to {durable}, {bytes} bytes verified")?;
    Ok(state)
}

/// Reads every sealed segment once more, past the cache.
pub(super) fn scrub(
    out: &mut dyn Write,
    reader: &WalReader,
    report: &RecoveryReport,
    as_json: bool,
) -> Outcome {
    let mut state = State::of(report);
    for damage in &report.damage {
        line(out, damage, as_json)?;
    }
    let mut scrub = reader.scrub(Pace::unlimited());
    for found in scrub.by_ref() {
        state = state.max(tell(out, &found, as_json)?);
    }
    let counts = scrub.counts();
    if as_json {
        writeln!(out, "{}", json::counts(&counts))?;
    } else {
        writeln!(
            out,
            "{} segments, {} bytes, {} damaged places, {} bad header copies, {} unreadable",
            counts.segments, counts.bytes, counts.damage, counts.copies_bad, counts.unreadable
        )?;
    }
    Ok(state)
}

fn tell(
    out: &mut dyn Write,
    found: &Result<Damage, ReadError>,
    as_json: bool,
) -> std::io::Result<State> {
    match found {
        Ok(damage) => line(out, damage, as_json).map(|()| State::Corrupt),
        Err(error) => {
            let text = error.to_string();
            if as_json {
                writeln!(out, "{{\"error\":{}}}", json::string(&text))?;
            } else {
                writeln!(out, "{text}")?;
            }
            Ok(if error.is_corruption() { State::Corrupt } else { State::Failed })
        }
    }
}
