//! Single steps of DVV sets, what they refuse, and their hazard.

use quorate_clocks::{Causality, DecodeError, DvvError, DvvSet, EncodeError, VersionVector};

type Set = DvvSet<u64, &'static str>;

fn values(set: &Set) -> Vec<&'static str> {
    set.values().copied().collect()
}

#[test]
fn a_write_replaces_what_its_writer_has_read() {
    let first = Set::new("a").update(None, 1);
    let read = first.context();
    let second = Set::with_context(&read, "b").update(Some(&first), 1);
    assert_eq!(values(&second), ["b"]);
    let third = Set::with_context(&read, "c").update(Some(&second), 2);
    assert_eq!(values(&third), ["b", "c"]);
    assert_eq!(third.actors().collect::<Vec<_>>(), [1, 2]);
    assert_eq!((third.len(), third.is_empty()), (2, false));
    assert_eq!(first.causality(&third), Causality::Before);
    assert_eq!(third.causality(&third.clone()), Causality::Equal);
}

#[test]
fn sync_takes_the_newer_list_and_the_higher_floor() {
    let build =
        |n, values: Vec<&'static str>| Set::from_parts(vec![(1, n, values)], vec![]).unwrap();
    // One knows 1..=4 with 3 and 4 alive, the other has seen 3 replaced.
    let (one, other) = (build(4, vec!["4", "3"]), build(3, vec![]));
    assert_eq!(values(&one.sync(&other)), ["4"]);
    let longer = build(3, vec!["3", "2", "1"]);
    assert_eq!(values(&one.sync(&longer)), ["4", "3"]);
    assert_eq!(values(&longer.sync(&build(5, vec!["5"]))), ["5"]);
}

#[test]
fn anonymous_values_follow_the_newer_side() {
    let build = |n, more: Vec<&'static str>| Set::from_parts(vec![(1, n, vec![])], more).unwrap();
    let (older, newer) = (build(1, vec!["x"]), build(2, vec!["y"]));
    assert_eq!(values(&older.sync(&newer)), ["y"]);
    assert_eq!(values(&newer.sync(&older)), ["y"]);
    assert_eq!(values(&older.sync(&build(1, vec!["y", "x", "y"]))), ["x", "y"]);
    // The reason why only sets without anonymous values are said to be associative.
    let left = Set::from_parts(vec![(1, 1, vec![])], vec!["x"]).unwrap();
    let right = Set::from_parts(vec![(2, 1, vec![])], vec!["y"]).unwrap();
    let both = Set::from_parts(vec![(1, 1, vec![]), (2, 1, vec![])], vec!["z"]).unwrap();
    assert_eq!(values(&left.sync(&right).sync(&both)), ["x", "y", "z"]);
    assert_eq!(values(&left.sync(&right.sync(&both))), ["z"]);
}

#[test]
fn each_anonymous_value_gets_a_dot() {
    let server = Set::new("a").update(None, 1);
    let nothing = Set::from_parts(vec![(1, 1, vec![])], vec![]).unwrap();
    let same = nothing.update(Some(&server), 1);
    assert_eq!((values(&same), same.context().get(1)), (vec![], 1)); // as sync: 1 was seen
    let two = Set::from_parts(vec![], vec!["b", "c"]).unwrap().update(Some(&server), 1);
    assert_eq!((values(&two), two.context().get(1)), (vec!["c", "b", "a"], 3));
    // At the end of the numbers a dot still names one value.
    let full = Set::from_parts(vec![(1, u64::MAX, vec!["old"])], vec![]).unwrap();
    let full = Set::new("new").update(Some(&full), 1);
    assert_eq!((values(&full), full.context().get(1)), (vec!["new"], u64::MAX));
}

#[test]
fn parts_that_are_no_set_are_refused() {
    let more = Set::from_parts(vec![(2, 5, vec![]), (1, 1, vec!["a", "b"])], vec![]);
    let error = more.unwrap_err();
    assert_eq!(error, DvvError::Values { position: 1, counter: 1, values: 2 });
    assert_eq!(error.to_string(), "entry 1 has 2 values of 1 events");
    let zero = Set::from_parts(vec![(1, 0, vec!["a"])], vec![]);
    assert_eq!(zero, Err(DvvError::Values { position: 0, counter: 0, values: 1 }));
    let twice = Set::from_parts(vec![(2, 1, vec![]), (1, 1, vec![]), (2, 2, vec![])], vec![]);
    assert_eq!(twice, Err(DvvError::Duplicate { first: 0, second: 2 }));
    // Zero entries without values are nothing.
    let set =
        Set::from_parts(vec![(3, 1, vec!["c"]), (2, 0, vec![]), (1, 1, vec!["a"])], vec!["z"]);
    let set = set.unwrap();
    assert_eq!(values(&set), ["a", "c", "z"]);
    let (entries, anonymous) = set.parts();
    assert_eq!(entries.collect::<Vec<_>>(), [(1, 1, &["a"][..]), (3, 1, &["c"][..])]);
    assert_eq!(anonymous, ["z"]);
}

#[test]
fn too_many_siblings_give_the_set_back() {
    let server = Set::new("a").update(None, 1);
    let write = Set::with_context(&VersionVector::from_entries([(7, 3)]), "b");
    let refused = write.clone().try_update(Some(&server), 1, 1).unwrap_err();
    assert_eq!((&refused.set, refused.siblings, refused.limit), (&write, 2, 1));
    assert_eq!(refused.to_string(), "2 siblings, the limit is 1");
    let taken = refused.set.try_update(Some(&server), 1, 2).unwrap();
    assert_eq!(taken, write.update(Some(&server), 1));
    assert!(Set::new("a").try_update(None, 1, 0).is_err());
}

#[test]
fn one_value_is_chosen_or_made() {
    let set = Set::from_parts(vec![(1, 3, vec!["m", "z"]), (2, 1, vec!["t"])], vec!["b", "p"]);
    let set = set.unwrap();
    // Heads and anonymous values only: "z" is not the newest of its actor.
    assert_eq!(set.newest(|a, b| a <= b), Some(&"t"));
    assert_eq!(set.newest(|a, b| a >= b), Some(&"b"));
    assert_eq!(set.newest(|_, _| true), Some(&"p"));
    let won = set.clone().last_writer_wins(|a, b| a <= b);
    let expected = Set::from_parts(vec![(1, 3, vec![]), (2, 1, vec!["t"])], vec![]).unwrap();
    assert_eq!(won, expected);
    let won = set.clone().last_writer_wins(|a, b| a >= b);
    assert_eq!(
        (values(&won), won.parts().1, won.context()),
        (vec!["b"], &["b"][..], set.context())
    );
    let made = set.clone().reconcile(|all| {
        assert_eq!(all, ["m", "z", "t", "b", "p"]);
        "one"
    });
    assert_eq!((values(&made), made.parts().1.len()), (vec!["one"], 1));
    assert_eq!(made.context(), set.context());
    let none = Set::from_parts(vec![(1, 3, vec![])], vec![]).unwrap();
    assert_eq!(none.newest(|_, _| true), None);
    assert_eq!(none.clone().last_writer_wins(|_, _| true), none);
    assert_eq!(set.map(str::len).values().sum::<usize>(), 5);
}

#[test]
fn h34_a_context_of_another_key_hides_values() {
    // Server 1 holds two keys; the client writes to "cart" with what it read of "name".
    let cart = Set::new("milk").update(None, 1);
    let mut name = Set::new("ada").update(None, 1);
    for _ in 0..3 {
        name = Set::with_context(&name.context(), "ada l.").update(Some(&name), 1);
    }
    let write = Set::with_context(&name.context(), "eggs");
    // What a store can see: a context ahead of the server for the server's own actor.
    let ahead: Vec<_> =
        write.context().missing_from(&cart.context()).map(|range| range.actor).collect();
    assert_eq!(ahead, [1]);
    let wrong = write.update(Some(&cart), 1);
    assert_eq!(values(&wrong), ["eggs"], "the milk nobody had read is gone");
    let right = Set::new("eggs").update(Some(&cart), 1);
    assert_eq!(values(&right), ["eggs", "milk"]);
    // Why this is no assertion: a context read from another server is ahead, and in its right.
    let elsewhere = Set::with_context(&cart.context(), "milk, bread").update(Some(&cart), 2);
    let write = Set::with_context(&elsewhere.context(), "milk, bread, tea");
    assert_eq!(write.context().missing_from(&cart.context()).count(), 1);
    assert_eq!(values(&write.update(Some(&cart), 1)), ["milk, bread, tea"]);
}

type Bytes = DvvSet<u16, Vec<u8>>;

fn decode(bytes: &[u8]) -> Result<Bytes, DecodeError> {
    DvvSet::decode_with(bytes, |value| (value != b"bad").then(|| value.to_vec()))
}

fn encode(set: &Bytes) -> Result<Vec<u8>, EncodeError> {
    set.encode_with(|value, out| out.extend_from_slice(value))
}

#[test]
fn bytes_that_are_no_set_are_refused() {
    let set = Bytes::from_parts(vec![(5, 2, vec![b"x".to_vec()])], vec![b"yz".to_vec()]).unwrap();
    let good = encode(&set).unwrap();
    assert_eq!(good.len(), 8 + 14 + 5 + 6);
    assert_eq!(decode(&good), Ok(set));
    let with = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        decode(&bytes).unwrap_err()
    };
    assert_eq!(with(0, 0), DecodeError::Version { offset: 0, found: 0 });
    assert_eq!(with(1, 4), DecodeError::Width { offset: 1, expected: 2, found: 4 });
    assert_eq!(with(3, 17), DecodeError::TooMany { offset: 2, count: 4_353, limit: 4_096 });
    assert_eq!(with(5, 5), DecodeError::TooMany { offset: 4, count: 1_281, limit: 1_024 });
    assert_eq!(with(10, 0), DecodeError::Zero { offset: 10 });
    assert_eq!(with(18, 3), DecodeError::TooMany { offset: 18, count: 3, limit: 2 });
    let long = DecodeError::TooMany { offset: 22, count: 0x0200_0001, limit: 16 << 20 };
    assert_eq!(with(25, 2), long);
    assert_eq!(with(22, 99), DecodeError::Short { offset: 33, needed: 125 });
    assert_eq!(with(4, 0), DecodeError::Trailing { offset: 27 });
    let mut two = Bytes::from_parts(vec![(5, 2, vec![]), (6, 1, vec![])], vec![]).unwrap();
    let mut bytes = encode(&two).unwrap();
    bytes[22] = 5;
    assert_eq!(decode(&bytes), Err(DecodeError::Order { offset: 22 }));
    two = Bytes::new(b"bad".to_vec());
    assert_eq!(decode(&encode(&two).unwrap()), Err(DecodeError::Value { offset: 12 }));
    for len in 0..good.len() {
        let error = decode(&good[..len]).unwrap_err();
        assert!(error.is_retryable() && error.offset() == len, "{error}");
    }
}

#[test]
fn sets_are_written_up_to_the_limits() {
    let many = |n: usize| Bytes::from_parts(vec![], vec![vec![]; n]).unwrap();
    assert_eq!(decode(&encode(&many(1_024)).unwrap()), Ok(many(1_024)));
    let error = EncodeError::Values { count: 1_025, limit: 1_024 };
    assert_eq!(encode(&many(1_025)), Err(error));
    assert_eq!(error.to_string(), "1025 values, the limit is 1024");
    // The limit holds for all values together.
    let entries = (1..=1_000).map(|actor| (actor, 1, vec![vec![]])).collect();
    let mut bytes = encode(&Bytes::from_parts(entries, vec![vec![]]).unwrap()).unwrap();
    bytes[4] = 25;
    let error = decode(&bytes).unwrap_err();
    assert!(matches!(error, DecodeError::TooMany { count: 1, limit: 0, .. }), "{error}");
    let long = Bytes::new(vec![0; (16 << 20) + 1]);
    assert_eq!(
        encode(&long),
        Err(EncodeError::ValueBytes { len: (16 << 20) + 1, limit: 16 << 20 })
    );
    let entries = (0..4_097).map(|actor| (actor, 1, vec![])).collect();
    let wide = Bytes::from_parts(entries, vec![]).unwrap();
    assert_eq!(encode(&wide), Err(EncodeError::Entries { count: 4_097, limit: 4_096 }));
}

/// The closure may do what it likes to its `Vec`.
#[test]
fn values_are_written_into_a_vec_of_their_own() {
    let parts = vec![(1, 2, vec!["a long value", "b"]), (4, 1, vec![""])];
    let set = Set::from_parts(parts, vec!["c", "dd"]).unwrap();
    let appended = set.encode_with(|value, out| out.extend_from_slice(value.as_bytes()));
    let replaced = set.encode_with(|value, out| *out = value.as_bytes().to_vec());
    assert_eq!(replaced, appended);
    let own = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
    let back = DvvSet::<u64, String>::decode_with(&replaced.unwrap(), own).unwrap();
    assert!(back.values().eq(set.values()));
}
