//! `qwal dump`: the records of the plain log, then each stream's cells and blocks.

use std::io::{self, Write};

use quorate_wal::{Block, Lsn, ReadBound, ReadError, RecoveryReport, Slot, StreamId, WalReader};

use super::{Args, Outcome, State, json, verify};

/// Bytes of blocks read at once.
const READ_BYTES: u64 = 1 << 20;

struct Dump<'a> {
    out: &'a mut dyn Write,
    json: bool,
    hex: bool,
    from: Lsn,
    state: State,
}

/// Prints the records of the plain log and the blocks and cells of the streams.
pub(super) fn dump(
    out: &mut dyn Write,
    reader: &WalReader,
    report: &RecoveryReport,
    args: &Args,
) -> Outcome {
    let state = State::of(report);
    let from = args.from.unwrap_or(Lsn::ZERO);
    let mut dump = Dump { out, json: args.json, hex: args.hex, from, state };
    match args.stream {
        Some(id) => dump.stream(reader, id)?,
        None => {
            dump.records(reader)?;
            for id in verify::streams(reader) {
                dump.stream(reader, id)?;
            }
        }
    }
    Ok(dump.state)
}

impl Dump<'_> {
    fn records(&mut self, reader: &WalReader) -> io::Result<()> {
        let low = reader.marks().low.max(self.from);
        for read in reader.read(low, ReadBound::Written) {
            match read {
                Ok(record) => {
                    let (lsn, bytes) = (record.lsn, self.bytes(&record.bytes));
                    if self.json {
                        writeln!(self.out, "{{\"lsn\":{lsn},\"bytes\":{}}}", json::string(&bytes))?;
                    } else {
                        writeln!(self.out, "{lsn} record {bytes}")?;
                    }
                }
                Err(error) => self.wrong(&error)?,
            }
        }
        Ok(())
    }

    fn stream(&mut self, reader: &WalReader, id: StreamId) -> io::Result<()> {
        let stream = reader.stream(id);
        for slot in (0..Slot::COUNT).filter_map(Slot::new) {
            if let Some(cell) = stream.meta(slot) {
                let (slot, bytes) = (slot.as_u8(), self.bytes(&cell));
                if self.json {
                    let bytes = json::string(&bytes);
                    let line = format!("{{\"stream\":\"{id}\",\"slot\":{slot},\"bytes\":{bytes}}}");
                    writeln!(self.out, "{line}")?;
                } else {
                    writeln!(self.out, "{id} cell {slot} {bytes}")?;
                }
            }
        }
        let mut blocks = Vec::new();
        let from = self.from;
        for info in stream.blocks().into_iter().filter(|info| info.lsn >= from) {
            blocks.clear();
            match stream.read(info.live, READ_BYTES, &mut blocks) {
                Ok(_) => {
                    if let Some(block) = blocks.first() {
                        self.block(id, block)?;
                    }
                }
                Err(error) => self.wrong(&error)?,
            }
        }
        Ok(())
    }

    fn block(&mut self, id: StreamId, block: &Block) -> io::Result<()> {
        let Block { lsn, first, count, live, tag, .. } = block;
        let bytes = self.bytes(&block.bytes);
        let (from, to) = (live.start, live.end);
        if self.json {
            let bytes = json::string(&bytes);
            return writeln!(
                self.out,
                "{{\"stream\":\"{id}\",\"lsn\":{lsn},\"first\":{first},\"count\":{count},\
                 \"live\":[{from},{to}],\"tag\":{tag},\"bytes\":{bytes}}}"
            );
        }
        writeln!(
            self.out,
            "{lsn} block of {id} first {first} count {count} live {from}..{to} tag {tag} {bytes}"
        )
    }

    fn wrong(&mut self, error: &ReadError) -> io::Result<()> {
        let state = if error.is_corruption() { State::Corrupt } else { State::Failed };
        self.state = self.state.max(state);
        let text = error.to_string();
        if self.json {
            return writeln!(self.out, "{{\"error\":{}}}", json::string(&text));
        }
        writeln!(self.out, "{text}")
    }

    /// As hex, or as text with what cannot be printed escaped.
    fn bytes(&self, bytes: &[u8]) -> String {
        if !self.hex {
            return bytes.escape_ascii().to_string();
        }
        let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect()
    }
}
