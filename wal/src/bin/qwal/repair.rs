//! `qwal repair` and `qwal checkpoint`.

use std::error::Error;
use std::io::Write;
use std::path::Path;

use quorate_wal::{CheckpointError, Config, Recovery, Wal, WalReader};

use super::{Outcome, State, json, verify};

/// Prints what would be accepted, or records that it is.
pub(super) fn repair(out: &mut dyn Write, dir: &Path, as_json: bool, accept: bool) -> Outcome {
    let (_, report) = WalReader::open(dir)?;
    let state = verify::verify(out, &report, as_json)?;
    if report.damage.is_empty() {
        return Ok(state);
    }
    if !accept {
        if !as_json {
            writeln!(out, "with --accept these records are given up for good")?;
        }
        return Ok(state);
    }
    let (wal, report) = Wal::open(dir, config(dir)?)?;
    // Between the two looks the log may have been accepted by somebody else.
    if !report.damage.is_empty() {
        wal.accept_damage(&report)?.wait()?;
    }
    wal.shutdown().wait()?;
    let (_, after) = WalReader::open(dir)?;
    if as_json {
        writeln!(out, "{}", json::report(&after))?;
    } else {
        writeln!(out, "accepted {} damaged places", report.damage.len())?;
    }
    Ok(State::of(&after))
}

/// Settings that fit the segments there are.
fn config(dir: &Path) -> Result<Config, Box<dyn Error>> {
    let mut bytes = 0;
    for item in std::fs::read_dir(dir)? {
        let item = item?;
        if item.file_name().to_string_lossy().ends_with(".qwal") {
            bytes = item.metadata()?.len().max(bytes);
        }
    }
    let bytes = bytes.next_multiple_of(4096).clamp(16 << 10, 1 << 30);
    let batch = (bytes / 4).min(1 << 20);
    let frame = (bytes / 4).min(4 << 10);
    let config = Config::embedded().segment_bytes(bytes).frame_bytes(frame);
    let config = config.batch_bytes_max(batch).staged_bytes_max(batch * 2);
    Ok(config.recovery(Recovery::Salvage).build()?)
}

/// Copies the log so that the copy opens clean.
pub(super) fn checkpoint(out: &mut dyn Write, dir: &Path, to: &Path, as_json: bool) -> Outcome {
    let (reader, report) = WalReader::open(dir)?;
    let state = State::of(&report);
    match reader.checkpoint_to(to) {
        Ok(lsn) => {
            if as_json {
                writeln!(out, "{{\"lsn\":{lsn}}}")?;
            } else {
                writeln!(out, "copied up to {lsn}")?;
            }
            Ok(state)
        }
        Err(error) if error.is_corruption() => {
            let what = match &error {
                CheckpointError::Corruption(copy) => copy.as_ref(),
                _ => &report,
            };
            verify::verify(out, what, as_json)?;
            Ok(State::Corrupt)
        }
        Err(error) => Err(error.into()),
    }
}
