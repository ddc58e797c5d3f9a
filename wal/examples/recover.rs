//! A copy of a log rots: Strict refuses and says what is lost, Salvage reads the rest, and once
//! the damage is accepted the log goes on.

use std::error::Error;
use std::path::Path;

use quorate_wal::{Config, ConfigBuilder, Lsn, OpenError, ReadError, Recovery, Wal};

fn config() -> ConfigBuilder {
    Config::embedded()
}

/// What was seen on the way, line by line.
pub(crate) fn run(dir: &Path) -> Result<Vec<String>, Box<dyn Error>> {
    let mut seen = Vec::new();
    let copy = dir.join("copy");
    {
        let (wal, _) = Wal::open(dir.join("log"), config().build()?)?;
        for n in 1..=5 {
            wal.append_blocking(format!("payment {n}").as_bytes())?;
        }
        wal.checkpoint_to(&copy)?; // never by copying the files of an open log
        wal.shutdown().wait()?;
    }
    rot(&copy, b"payment 3")?;

    match Wal::open(&copy, config().build()?) {
        Err(OpenError::Corruption(report)) => {
            for damage in &report.damage {
                seen.push(format!("refused: lost {}, evidence {:?}", damage.lost, damage.evidence));
                seen.push(format!("one bit explains it: {}", damage.single_bit.is_some()));
            }
        }
        other => return Err(format!("damage was not noticed: {other:?}").into()),
    }

    let (wal, report) = Wal::open(&copy, config().recovery(Recovery::Salvage).build()?)?;
    let lost = matches!(wal.get(Lsn::new(3)), Err(ReadError::Lost { .. }));
    let kept = String::from_utf8_lossy(&wal.get(Lsn::new(4))?).into_owned();
    seen.push(format!("salvaged: 3 is lost: {lost}, 4 is {kept:?}"));
    // The moment to fetch what is lost from elsewhere; then:
    wal.accept_damage(&report)?.wait()?;
    let next = wal.append_blocking(b"payment 3, from the replica")?;
    wal.shutdown().wait()?;

    let (wal, report) = Wal::open(&copy, config().build()?)?;
    let again = String::from_utf8_lossy(&wal.get(next)?).into_owned();
    seen.push(format!("strict again: {} accepted, {again:?}", report.accepted.len()));
    wal.shutdown().wait()?;
    Ok(seen)
}

/// Flips one bit of `what` wherever it stands in the log.
fn rot(dir: &Path, what: &[u8]) -> std::io::Result<()> {
    for item in std::fs::read_dir(dir)? {
        let path = item?.path();
        let mut bytes = std::fs::read(&path)?;
        if let Some(at) = bytes.windows(what.len()).position(|w| w == what) {
            bytes[at] ^= 1;
            std::fs::write(&path, bytes)?;
        }
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "an example shows what it did")]
fn main() -> Result<(), Box<dyn Error>> {
    let dir = std::env::temp_dir().join(format!("qwal-recover-{}", std::process::id()));
    for line in run(&dir)? {
        println!("{line}");
    }
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}
