//! Redis's glob patterns: `*`, `?`, `[a-z]`, `[^a]`, `\` before a literal character.

use bytes::Bytes;

#[derive(Clone, Debug)]
pub(crate) struct Pattern(Bytes);

impl Pattern {
    pub(crate) const fn new(text: Bytes) -> Self {
        Self(text)
    }

    pub(crate) fn any() -> Self {
        Self(Bytes::from_static(b"*"))
    }

    pub(crate) fn matches(&self, text: &[u8]) -> bool {
        matches(&self.0, text)
    }
}

/// Iterative, with one place to go back to: linear in practice, at worst pattern × text.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    // Behind the last `*`, and how much text it has swallowed.
    let mut retry: Option<(usize, usize)> = None;
    loop {
        if p == pattern.len() && t == text.len() {
            return true;
        }
        if pattern.get(p) == Some(&b'*') {
            p += 1;
            retry = Some((p, t));
            continue;
        }
        if let Some(next) = one(&pattern[p..], text.get(t)) {
            p += next;
            t += 1;
            continue;
        }
        match &mut retry {
            Some((star, swallowed)) if *swallowed < text.len() => {
                *swallowed += 1;
                (p, t) = (*star, *swallowed);
            }
            _ => return false,
        }
    }
}

/// Whether the first element of the pattern takes this byte: then its length.
fn one(pattern: &[u8], byte: Option<&u8>) -> Option<usize> {
    let byte = *byte?;
    match pattern {
        [b'?', ..] => Some(1),
        [b'\\', literal, ..] => (*literal == byte).then_some(2),
        [b'[', rest @ ..] => {
            let end = rest.iter().skip(1).position(|b| *b == b']').map(|i| i + 1)?;
            class(&rest[..end], byte).then_some(end + 2)
        }
        [literal, ..] => (*literal == byte).then_some(1),
        [] => None,
    }
}

/// The inside of `[…]`.
fn class(inside: &[u8], byte: u8) -> bool {
    let (negated, mut rest) = match inside {
        [b'^', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let mut found = false;
    while let [first, tail @ ..] = rest {
        if let [b'-', last, tail @ ..] = tail {
            let (low, high) = if first <= last { (first, last) } else { (last, first) };
            found |= (low..=high).contains(&&byte);
            rest = tail;
        } else {
            found |= *first == byte;
            rest = tail;
        }
    }
    found != negated
}
