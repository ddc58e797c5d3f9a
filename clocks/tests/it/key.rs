//! Versioned keys: order, forms, refusals.

use crate::alloc::measure;
use crate::support::cases;
use proptest::prelude::*;
use quorate_clocks::{KeyError, Timestamp, VersionedKey};
use std::borrow::Cow;
use std::cmp::Reverse;

fn form(key: &[u8], t: Timestamp) -> Vec<u8> {
    let mut out = Vec::new();
    VersionedKey::encode_into(key, t, &mut out).unwrap();
    out
}

/// Short keys over few bytes, so that many are prefixes of others.
fn key() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop_oneof![Just(0), Just(1), Just(0xFE), Just(0xFF), any::<u8>()], 0..6)
}

fn stamp() -> impl Strategy<Value = Timestamp> {
    let few = prop_oneof![1..4_u64, Just(u64::MAX), 1..u64::MAX];
    few.prop_map(|bits| Timestamp::from_bits(bits).unwrap())
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn byte_order_is_key_then_newest_first(
        rows in prop::collection::vec((key(), stamp()), 2..8)
    ) {
        let mut by_value = rows.clone();
        by_value.sort_by_key(|(key, t)| (key.clone(), Reverse(*t)));
        let mut by_bytes: Vec<Vec<u8>> = rows.iter().map(|(key, t)| form(key, *t)).collect();
        by_bytes.sort();
        let back: Vec<(Vec<u8>, Timestamp)> = by_bytes.iter().map(|bytes| {
            let (key, t) = VersionedKey::split(bytes).unwrap();
            (key.into_owned(), t)
        }).collect();
        prop_assert_eq!(back, by_value);
    }

    #[test]
    fn what_is_not_written_is_refused(key in key(), t in stamp(), at in 0..64_usize, byte: u8) {
        let good = form(&key, t);
        for len in 0..good.len() {
            let short = Err(KeyError::Short { offset: len });
            prop_assert_eq!(VersionedKey::split(&good[..len]), short);
        }
        let mut bytes = good.clone();
        bytes.push(byte);
        let trailing = Err(KeyError::Trailing { offset: good.len() });
        prop_assert_eq!(VersionedKey::split(&bytes), trailing);
        let mut bytes = good;
        let at = at % bytes.len();
        bytes[at] = byte;
        if let Ok((key, t)) = VersionedKey::split(&bytes) {
            prop_assert_eq!(form(&key, t), bytes);
        }
    }
}

#[test]
fn keys_without_zeros_are_borrowed() {
    let bytes = form(b"plain", Timestamp::MIN);
    let ((key, _), usage) = measure(|| VersionedKey::split(&bytes).unwrap());
    assert!(matches!(key, Cow::Borrowed(b"plain")) && usage.calls == 0);
    let bytes = form(b"\0a\0\0", Timestamp::MIN);
    let ((key, _), usage) = measure(|| VersionedKey::split(&bytes).unwrap());
    assert_eq!((&*key, usage.bytes), (&b"\0a\0\0"[..], 4));
}

#[test]
fn bad_keys_are_refused() {
    let bytes = form(b"k", Timestamp::MIN);
    let mut escape = bytes.clone();
    escape[2] = 7;
    let error = VersionedKey::split(&escape).unwrap_err();
    assert_eq!(error, KeyError::Escape { offset: 2, found: 7 });
    assert_eq!(error.to_string(), "byte 0x07 follows a zero byte at byte 2");
    let mut zero = bytes;
    zero[3..].fill(0xFF);
    assert_eq!(VersionedKey::split(&zero), Err(KeyError::Timestamp { offset: 3 }));
    assert!(VersionedKey::split(b"").unwrap_err().is_retryable() && !error.is_retryable());
}

#[test]
fn keys_are_taken_up_to_64_kib() {
    for byte in [0, 7] {
        let mut key = vec![byte; 65_536];
        let bytes = form(&key, Timestamp::MIN);
        assert_eq!(VersionedKey::split(&bytes).unwrap().0, key);
        key.push(byte);
        let mut out = vec![1];
        let error = VersionedKey::encode_into(&key, Timestamp::MIN, &mut out).unwrap_err();
        assert_eq!(error, KeyError::TooLong { len: 65_537, limit: 65_536 });
        assert_eq!(out, [1]);
        // The same form one byte longer.
        let longer = [if byte == 0 { &[0, 0xFF][..] } else { &[7] }, &bytes].concat();
        let error = VersionedKey::split(&longer).unwrap_err();
        assert_eq!(error, KeyError::TooLong { len: 65_537, limit: 65_536 });
    }
}
