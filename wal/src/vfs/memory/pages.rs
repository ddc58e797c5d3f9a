//! The bytes of a file in memory, in pages that copies of a disk share until one writes.
//!
//! A campaign looks at a hundred thousand disks that differ in a few sectors: copying only what
//! differs is what makes it quick.

use std::ops::Range;
use std::sync::Arc;

const PAGE: usize = 4096;

type Page = Arc<[u8; PAGE]>;

thread_local! {
    /// What holds nothing is one page; one for each thread, so that nobody waits for its count.
    static BLANK: Page = Arc::new([0; PAGE]);
}

fn blank() -> Page {
    BLANK.with(Arc::clone)
}

/// What a page holds that nobody wrote.
static ZEROS: [u8; PAGE] = [0; PAGE];

/// Bytes; what the last page has beyond the end is zero, and so are pages that are not held.
#[derive(Clone, Debug, Default)]
pub(in crate::vfs) struct Pages {
    pages: Vec<Page>,
    len: usize,
}

impl PartialEq for Pages {
    fn eq(&self, other: &Self) -> bool {
        let held = self.pages.len().max(other.pages.len());
        self.len == other.len && (0..held).all(|page| self.page(page) == other.page(page))
    }
}

/// The parts of `range`, page by page: which page, and where in it.
fn parts(range: Range<usize>) -> impl Iterator<Item = (usize, Range<usize>)> {
    (range.start / PAGE..range.end.div_ceil(PAGE)).map(move |page| {
        let begin = page * PAGE;
        (page, range.start.max(begin) - begin..range.end.min(begin + PAGE) - begin)
    })
}

impl From<&[u8]> for Pages {
    fn from(bytes: &[u8]) -> Self {
        let mut pages = Self::default();
        pages.write(0, bytes);
        pages
    }
}

impl Pages {
    pub(in crate::vfs) const fn len(&self) -> usize {
        self.len
    }

    /// Bytes in memory: those of the pages up to the last one ever written.
    pub(in crate::vfs) const fn held(&self) -> usize {
        self.pages.len() * PAGE
    }

    fn page(&self, page: usize) -> &[u8; PAGE] {
        self.pages.get(page).map_or(&ZEROS, |held| held)
    }

    /// Cuts, or grows with zeros.
    pub(in crate::vfs) fn resize(&mut self, len: usize) {
        if len < self.len {
            self.pages.truncate(len.div_ceil(PAGE));
            let within = len % PAGE;
            if within > 0
                && let Some(last) = self.pages.get_mut(len / PAGE)
            {
                Arc::make_mut(last)[within..].fill(0);
            }
        }
        self.len = len;
    }

    /// Holds the pages before `end`, which lies within.
    fn hold(&mut self, end: usize) {
        let needed = end.div_ceil(PAGE);
        if self.pages.len() < needed {
            self.pages.resize_with(needed, blank);
        }
    }

    /// Puts `bytes` at `at`; the file grows if they end beyond it.
    pub(in crate::vfs) fn write(&mut self, at: usize, bytes: &[u8]) {
        let end = at + bytes.len();
        self.len = self.len.max(end);
        self.hold(end);
        let mut rest = bytes;
        for (page, part) in parts(at..end) {
            let (now, later) = rest.split_at(part.len());
            rest = later;
            let page = &mut self.pages[page];
            match <&[u8; PAGE]>::try_from(now) {
                Ok(whole) if *whole == ZEROS => *page = blank(),
                Ok(whole) => *page = Arc::new(*whole),
                Err(_) => Arc::make_mut(page)[part].copy_from_slice(now),
            }
        }
    }

    /// Like [`write`](Self::write), and what lies beyond the end is left out.
    pub(in crate::vfs) fn write_within(&mut self, at: usize, bytes: &[u8]) {
        let room = self.len.saturating_sub(at).min(bytes.len());
        if room > 0 {
            self.write(at, &bytes[..room]);
        }
    }

    /// What `range` holds, which lies within.
    pub(in crate::vfs) fn slice(&self, range: Range<usize>) -> Vec<u8> {
        let mut out = Vec::with_capacity(range.len());
        for (page, part) in parts(range) {
            out.extend_from_slice(&self.page(page)[part]);
        }
        out
    }

    pub(in crate::vfs) fn to_vec(&self) -> Vec<u8> {
        self.slice(0..self.len)
    }

    /// Fills `buf` with what stands at `at`, all of it within.
    pub(in crate::vfs) fn read(&self, at: usize, buf: &mut [u8]) {
        let mut rest = buf;
        for (page, part) in parts(at..at + rest.len()) {
            let (now, later) = rest.split_at_mut(part.len());
            now.copy_from_slice(&self.page(page)[part]);
            rest = later;
        }
    }

    /// Takes over what `other` holds in `range`, which lies within both.
    pub(in crate::vfs) fn take_over(&mut self, other: &Self, range: Range<usize>) {
        self.hold(range.end);
        for (page, part) in parts(range) {
            if part.len() == PAGE {
                self.pages[page] = other.pages.get(page).map_or_else(blank, Arc::clone);
            } else {
                Arc::make_mut(&mut self.pages[page])[part.clone()]
                    .copy_from_slice(&other.page(page)[part]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_the_bytes_a_vec_would_hold() {
        let (mut pages, mut plain) = (Pages::default(), Vec::new());
        let mut rng = 5;
        for round in 0..2000_u32 {
            let draw = |n: usize, rng: &mut u64| {
                usize::try_from(crate::vfs::crash::mix(rng) % n as u64).unwrap_or(0)
            };
            let at = draw(20_000, &mut rng);
            let len = draw(9000, &mut rng);
            if round % 7 == 0 {
                pages.resize(at);
                plain.resize(at, 0);
            } else {
                let byte = round.to_le_bytes()[0] % 3;
                pages.write(at, &vec![byte; len]);
                if plain.len() < at + len {
                    plain.resize(at + len, 0);
                }
                plain[at..at + len].fill(byte);
            }
            let shared = pages.clone();
            assert_eq!(shared.to_vec(), plain);
            assert_eq!(pages, Pages::from(&plain[..]));
            let from = draw(plain.len() + 1, &mut rng);
            let to = from + draw(plain.len() - from + 1, &mut rng);
            let mut buf = vec![9; to - from];
            pages.read(from, &mut buf);
            assert_eq!((&buf[..], pages.slice(from..to)), (&plain[from..to], buf.clone()));
            let mut other = Pages::from(&vec![7; plain.len()][..]);
            other.take_over(&pages, from..to);
            let mut expected = vec![7; plain.len()];
            expected[from..to].copy_from_slice(&plain[from..to]);
            assert_eq!(other.to_vec(), expected);
        }
    }

    #[test]
    fn a_copy_does_not_see_what_is_written_later() {
        let mut pages = Pages::from(&[1; 10_000][..]);
        let copy = pages.clone();
        pages.write(4000, &[2; 5000]);
        pages.resize(3);
        assert_eq!(copy.to_vec(), [1; 10_000]);
        pages.resize(10_000);
        assert_eq!(pages.slice(2..5), [1, 0, 0], "what was cut off does not come back");
    }

    #[test]
    fn what_nobody_wrote_takes_no_room() {
        let mut pages = Pages::default();
        pages.resize(16 << 30);
        assert_eq!((pages.len(), pages.held()), (16 << 30, 0));
        pages.write(5000, b"x");
        assert_eq!(pages.held(), 2 * PAGE);
        assert_eq!(pages.slice(4999..5002), [0, b'x', 0]);
        let mut other = Pages::default();
        other.resize(3 * PAGE);
        other.take_over(&pages, 0..3 * PAGE);
        other.write_within(3 * PAGE - 1, b"yz");
        assert_eq!((other.len(), other.slice(3 * PAGE - 1..3 * PAGE)), (3 * PAGE, b"y".to_vec()));
        pages.resize(2);
        assert_eq!((pages.held(), pages.to_vec()), (PAGE, vec![0, 0]));
    }
}
