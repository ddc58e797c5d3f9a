//! serde forms: canonical only, numbers above 2⁵³ as text.

use quorate_clocks::{Dot, Replica, VectorClock, VersionVector};

const BIG: u64 = (1 << 53) + 1;

fn refused<T: serde::de::DeserializeOwned + std::fmt::Debug>(json: &str, why: &str) {
    let error = serde_json::from_str::<T>(json).unwrap_err().to_string();
    assert!(error.contains(why), "{json}: {error}");
}

#[test]
fn h29_large_numbers_are_text_in_json() {
    let actor = Replica { node: BIG, incarnation: 2 };
    let vector = VersionVector::from_entries([(actor, BIG)]);
    let json = serde_json::to_string(&vector).unwrap();
    assert_eq!(json, r#"[["9007199254740993.2","9007199254740993"]]"#);
    assert_eq!(serde_json::from_str::<VersionVector<Replica>>(&json).unwrap(), vector);
    let dot = Dot { actor, counter: 1 };
    let json = serde_json::to_string(&dot).unwrap();
    assert_eq!(json, r#"["9007199254740993.2","1"]"#);
    assert_eq!(serde_json::from_str::<Dot<Replica>>(&json).unwrap(), dot);
    let clock = VectorClock::from_entries((1..=9_u16).map(|actor| (actor, 7)));
    let json = serde_json::to_string(&clock).unwrap();
    assert_eq!(serde_json::from_str::<VectorClock<u16>>(&json).unwrap(), clock);
    assert_eq!(serde_json::from_str::<VectorClock<u16>>("[]").unwrap(), VectorClock::new());
}

/// Ids are the caller's own, in the form of their own type.
#[test]
fn h29_other_ids_are_written_as_their_type_is() {
    let json = serde_json::to_string(&Dot { actor: BIG, counter: BIG }).unwrap();
    assert_eq!(json, r#"[9007199254740993,"9007199254740993"]"#);
    let json = serde_json::to_string(&VectorClock::from_entries([(BIG, 1)])).unwrap();
    assert_eq!(json, r#"[[9007199254740993,"1"]]"#);
}

#[test]
fn other_forms_are_refused() {
    refused::<VectorClock<u16>>(r#"[[2,"1"],[1,"1"]]"#, "not in order");
    refused::<VersionVector<u16>>(r#"[[1,"1"],[1,"1"]]"#, "not in order");
    for counter in ["0", "01", "+1", "", " 1", "x", "18446744073709551616"] {
        refused::<VectorClock<u16>>(&format!(r#"[[1,"{counter}"]]"#), "a counter is a number");
        refused::<Dot<u16>>(&format!(r#"[1,"{counter}"]"#), "a counter is a number");
    }
    refused::<Dot<u16>>("[1,1]", "invalid type");
    for replica in ["", "1", "1.", ".1", "1.2.3", "01.2", "1.+2", "1. 2"] {
        refused::<Replica>(&format!(r#""{replica}""#), "node.incarnation");
    }
    let entries: Vec<String> = (0..4_097).map(|actor| format!(r#"[{actor},"1"]"#)).collect();
    refused::<VectorClock<u16>>(&format!("[{}]", entries.join(",")), "4096");
}
