//! Memory maps (feature `mmap`): the only unsafe code of the crate.

use std::fs::File;
use std::io;

use bytes::Bytes;
use memmap2::Mmap;

/// The content of a file that nobody changes as long as a map of it may exist.
///
/// The callers' part: only segments behind the one that is written are mapped, by the process
/// that holds the lock of the log; no write, truncation or reuse of such a file happens while its
/// [`Segment`](crate::segments::Segment) is held, and every `Bytes` that leaves the crate holds
/// it. Deleting the name of a mapped file is harmless (H52).
#[expect(unsafe_code, reason = "a map cannot be made without; audited here")]
pub(crate) fn map(file: &File) -> io::Result<Bytes> {
    // SAFETY: the bytes do not change while the map exists: see above, and the crate's
    // assumption that nobody else changes the files of a log.
    let map = unsafe { Mmap::map(file) }?;
    Ok(Bytes::from_owner(map))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    #[test]
    fn a_map_outlives_the_file_and_its_name() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"mapped").unwrap();
        let map = super::map(file.as_file()).unwrap();
        drop(file);
        assert_eq!(&map.slice(1..)[..], b"apped");
    }
}
