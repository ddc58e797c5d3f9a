//! Timestamps: orders, texts, bytes.

use crate::support::Rng;
use proptest::prelude::*;
use quorate_clocks::{Generation, LamportTime, Stamp, Timestamp, WallTime};

fn any_timestamp() -> impl Strategy<Value = Timestamp> {
    let edges = prop::sample::select(vec![1, 4_095, 4_096, u64::MAX, Timestamp::LAST_MICROS << 12]);
    prop_oneof![1..=u64::MAX, edges, (1_u64..1 << 52).prop_map(|m| m << 12)]
        .prop_map(|bits| Timestamp::from_bits(bits).unwrap())
}

proptest! {
    #![proptest_config(crate::support::cases())]

    #[test]
    fn order_of_values_is_order_of_bytes(a in any_timestamp(), b in any_timestamp()) {
        prop_assert_eq!(a.cmp(&b), a.to_bytes().cmp(&b.to_bytes()));
        prop_assert_eq!(a.cmp(&b), b.to_bytes_descending().cmp(&a.to_bytes_descending()));
        let (x, y) = (Stamp { time: a, node: 9_u64 }, Stamp { time: b, node: 3 });
        prop_assert_eq!(x.cmp(&y), x.to_bytes().cmp(&y.to_bytes()));
    }

    #[test]
    fn text_and_bytes_come_back(t in any_timestamp(), node in any::<u64>()) {
        prop_assert_eq!(t.to_string().parse(), Ok(t));
        prop_assert_eq!(Timestamp::from_bytes(t.to_bytes()), Some(t));
        prop_assert_eq!(Timestamp::from_bytes_descending(t.to_bytes_descending()), Some(t));
        let stamp = Stamp { time: t, node };
        prop_assert_eq!(Stamp::from_bytes(stamp.to_bytes()), Some(stamp));
        prop_assert!(t.wall() <= t.wall_end());
        prop_assert_eq!(t.wall_end().as_nanos() / 1_000, t.micros());
    }

    /// Whatever parses is what is written: one text for each value.
    #[test]
    fn h10_only_the_canonical_text_is_taken(t in any_timestamp(), seed in any::<u64>()) {
        let text = t.to_string();
        let mut rng = Rng::new(seed);
        let at = usize::try_from(rng.below(text.len() as u64)).unwrap();
        let byte = char::from(*rng.pick(b"0123456789.+- xZ"));
        let mut replaced = text.clone();
        replaced.replace_range(at..=at, &byte.to_string());
        let mut inserted = text.clone();
        inserted.insert(at, byte);
        let mut removed = text.clone();
        removed.remove(at);
        for other in [replaced, inserted, removed, format!("{text} "), text[..at].to_owned()] {
            match other.parse::<Timestamp>() {
                Ok(parsed) => prop_assert_eq!(parsed.to_string(), other),
                Err(error) => prop_assert!(error.offset <= other.len()),
            }
        }
    }
}

#[test]
fn h10_texts_that_would_lose_or_invent_digits_are_refused() {
    for (text, offset) in [
        ("", 0),
        ("1", 1),
        ("1.", 2),
        ("1.12345+0", 7),
        ("1.1234567+0", 8),
        ("1.123456", 8),
        ("1.123456+", 9),
        ("1.123456+4096", 12),
        ("1.123456+01", 10),
        ("01.123456+1", 1),
        ("0.000000+0", 9),
        ("-1.000000+0", 0),
        ("1.000000+1 ", 10),
        ("4503599628.000000+0", 9),
        ("4503599627.370496+0", 11),
        ("99999999999999999999.000000+0", 9),
    ] {
        let error = text.parse::<Timestamp>().unwrap_err();
        assert_eq!(error.offset, offset, "{text:?}");
    }
    assert_eq!("4503599627.370495+4095".parse(), Ok(Timestamp::from_bits(u64::MAX).unwrap()));
}

/// Milliseconds, microseconds and nanoseconds do not mix by accident: no conversion from a bare
/// number exists. This is the list of what would have to stop compiling.
#[test]
fn h11_points_in_time_are_made_by_names_that_say_the_unit() {
    let t = Timestamp::from_parts(1_700_000_000_000_001, 3).unwrap();
    assert_eq!(t.wall(), WallTime::from_nanos(1_700_000_000_000_001_000));
    assert_eq!(t.wall_end(), WallTime::from_nanos(1_700_000_000_000_001_999));
    for source in [include_str!("../../src/time.rs"), include_str!("../../src/timestamp.rs")] {
        for forbidden in ["From<u64>", "impl Add", "impl Sub", "Into<u64>"] {
            assert!(!source.contains(forbidden), "{forbidden}");
        }
    }
}

#[test]
fn parts_out_of_range_make_no_stamp() {
    assert_eq!(Timestamp::from_parts(0, 0), None);
    assert_eq!(Timestamp::from_parts(0, 1), Some(Timestamp::MIN));
    assert_eq!(Timestamp::from_parts(1, 4_096), None);
    assert_eq!(Timestamp::from_parts(Timestamp::LAST_MICROS + 1, 0), None);
    assert_eq!(Timestamp::from_bytes([0; 8]), None);
    assert_eq!(Timestamp::from_bytes_descending([0xFF; 8]), None);
    assert_eq!(Stamp::from_bytes([0; 16]), None);
}

#[test]
fn h29_human_readable_formats_carry_text() {
    let t = Timestamp::from_parts((1 << 51) + 1, 1).unwrap();
    let json = serde_json::to_string(&Stamp { time: t, node: 7_u64 }).unwrap();
    assert_eq!(json, r#"{"time":"2251799813.685249+1","node":7}"#);
    assert_eq!(serde_json::from_str::<Stamp<u64>>(&json).unwrap().time, t);
    let number = format!(r#"{{"time":{},"node":7}}"#, t.to_bits());
    assert!(serde_json::from_str::<Stamp<u64>>(&number).is_err());
    assert!(serde_json::from_str::<Timestamp>(r#""1.5+0""#).is_err());
    let time = LamportTime::new(u64::MAX - 1);
    assert_eq!(serde_json::to_string(&time).unwrap(), r#""18446744073709551614""#);
    assert_eq!(serde_json::from_str::<LamportTime>(r#""7""#).unwrap(), LamportTime::new(7));
    assert_eq!(serde_json::from_str::<Generation>(r#""7""#).unwrap(), Generation::new(7));
    for other in [r#""07""#, r#""+7""#, "7", r#""""#, r#""18446744073709551616""#] {
        assert!(serde_json::from_str::<LamportTime>(other).is_err(), "{other}");
        assert!(serde_json::from_str::<Generation>(other).is_err(), "{other}");
    }
}
