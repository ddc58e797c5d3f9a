//! Codecs and typed channels: what is refused, by whom, and what then was executed.

use crate::support::*;
use bytes::Bytes;
use proptest::prelude::*;
use quorate_transport::*;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Debug;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Request {
    Read(String),
    Write { key: String, value: Vec<u8>, fences: BTreeMap<u64, i32> },
    Both(Option<Box<Self>>, (u8, f64)),
}

/// `Codec::<T>` of `codec`, there and back.
fn encoded<T, C: Codec<T>>(codec: &C, value: &T) -> Result<Bytes, CodecError> {
    let mut out = Vec::new();
    codec.encode(value, &mut out)?;
    Ok(out.into())
}

/// A length as a varint of bincode and postcard, then nothing.
fn bincode_length(len: u64) -> Bytes {
    let mut out = vec![253];
    out.extend_from_slice(&len.to_le_bytes());
    out.into()
}

fn postcard_length(mut len: u64) -> Bytes {
    let mut out = Vec::new();
    while len >= 0x80 {
        out.push((len & 0x7f) as u8 | 0x80);
        len >>= 7;
    }
    out.push(len as u8);
    out.into()
}

/// H5: a length inside the payload must not drive allocation: 2^60 elements would abort here.
#[test]
fn h05_a_claimed_length_allocates_nothing() {
    let claimed = bincode_length(1 << 60);
    let limit = 1 << 20;
    let codec = Bincode::<{ 1 << 20 }>;
    let text: Result<String, _> = codec.decode(&claimed);
    assert_eq!(text, Err(CodecError::TooLarge { limit }));
    // A sequence has no size of its own in this format: it ends where the bytes end.
    let numbers: Result<Vec<u64>, _> = codec.decode(&claimed);
    assert_eq!(numbers, Err(CodecError::Malformed { offset: 9 }));
    let nested: Result<Vec<Vec<Vec<[u64; 32]>>>, _> = codec.decode(&claimed);
    assert_eq!(nested, Err(CodecError::Malformed { offset: 9 }));
    let map: Result<BTreeMap<u64, u64>, _> = codec.decode(&claimed);
    assert_eq!(map, Err(CodecError::Malformed { offset: 9 }));

    let claimed = postcard_length(1 << 60);
    let offset = claimed.len() as u64;
    let text: Result<String, _> = Postcard.decode(&claimed);
    assert_eq!(text, Err(CodecError::Malformed { offset }));
    let numbers: Result<Vec<u64>, _> = Postcard.decode(&claimed);
    assert_eq!(numbers, Err(CodecError::Malformed { offset }));
    let nested: Result<Vec<Vec<Vec<[u64; 32]>>>, _> = Postcard.decode(&claimed);
    assert_eq!(nested, Err(CodecError::Malformed { offset }));
}

#[test]
fn lengths_within_the_limit_are_held_against_the_body() {
    let claimed = bincode_length(1 << 19);
    let text: Result<String, _> = Bincode::<{ 1 << 20 }>.decode(&claimed);
    assert_eq!(text, Err(CodecError::Malformed { offset: 9 }));
}

#[test]
fn trailing_bytes_are_refused() {
    fn check<C: Codec<u32>>(codec: &C) {
        let mut body = encoded(codec, &7).unwrap().to_vec();
        body.extend([0, 0, 0]);
        assert_eq!(codec.decode(&body.into()), Err(CodecError::Trailing { bytes: 3 }));
    }
    check(&Postcard);
    check(&Bincode::<1024>);
}

#[test]
fn over_the_limit_is_refused_in_both_directions() {
    let refused = Err(CodecError::TooLarge { limit: 16 });
    let long = "sixteen and more bytes".to_owned();
    assert_eq!(encoded(&Bincode::<16>, &long), refused);
    // Fifteen and the length fit exactly; when reading the length counts as eight bytes.
    let exact = encoded(&Bincode::<16>, &"x".repeat(15)).unwrap();
    assert_eq!(exact.len(), 16);
    let narrow: Result<String, _> = Bincode::<22>.decode(&exact);
    assert_eq!(narrow, Err(CodecError::TooLarge { limit: 22 }));
    assert_eq!(Bincode::<23>.decode(&exact), Ok("x".repeat(15)));
    // Whoever wrote it had another limit; the whole body counts, trailing bytes included.
    let body = encoded(&Bincode::<64>, &long).unwrap();
    let decoded: Result<String, _> = Bincode::<16>.decode(&body);
    assert_eq!(decoded.map(Bytes::from), refused);
    let mut padded = encoded(&Bincode::<16>, &1_u8).unwrap().to_vec();
    padded.resize(17, 0);
    let decoded: Result<u8, _> = Bincode::<16>.decode(&padded.into());
    assert_eq!(decoded, Err(CodecError::TooLarge { limit: 16 }));
}

#[test]
fn a_value_without_a_form_is_refused_before_it_is_sent() {
    /// Sequences of unknown length have none in bincode.
    #[derive(Debug, Deserialize)]
    struct Endless;
    impl Serialize for Endless {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            use serde::ser::SerializeSeq;
            serializer.serialize_seq(None)?.end()
        }
    }
    assert_eq!(encoded(&Bincode::<16>, &Endless), Err(CodecError::Encode));
    assert_eq!(encoded(&Postcard, &Endless), Err(CodecError::Encode));

    let net = Net::new();
    let (a, _b) = (net.endpoint(1), net.endpoint(2));
    let client = net.channel(&a).typed::<Endless, u8, _>(Postcard);
    let sent = client.send(node(2), Lane::Data, &Endless);
    assert_eq!(sent, Err(TypedSendError::Codec(CodecError::Encode)));
    let answer = net.rt.block_on(client.call(node(2), &Endless, seconds(1)));
    assert_eq!(answer, Err(TypedCallError::Request(CodecError::Encode)));
    assert_eq!(a.transport_stats().frames_out, 0);
}

/// Two nodes that mean different codecs: nothing is executed, both sides can tell.
#[test]
fn a_call_of_another_codec_executes_nothing() {
    let net = Net::new();
    let (a, b) = (net.endpoint(1), net.endpoint(2));
    let client = net.channel(&a).typed::<u32, u32, _>(Postcard);
    let mut server = net.channel(&b).typed::<u32, u32, _>(Bincode::<1024>);
    let answer = client.call(node(2), &7, seconds(1));
    net.rt.run();
    assert!(server.try_recv().is_none(), "the component never sees it");
    let error = net.rt.block_on(answer).unwrap_err();
    assert!(error.is_definite() && error.is_undecodable_request() && !error.is_retryable());
    let TypedCallError::Call(CallError::Rejected(Reject::Application { code, detail })) = error
    else {
        panic!("{error}")
    };
    assert_eq!(code, CodecError::REJECT_CODE);
    assert_eq!(&detail[..], b"body is of codec 1, expected 2");
    assert_eq!(server.undecodable(), 1);
}

#[test]
fn an_undecodable_message_is_given_to_the_component() {
    let net = Net::new();
    let (a, b) = (net.endpoint(1), net.endpoint(2));
    let client = net.channel(&a);
    let mut server = net.channel(&b).typed::<u32, u32, _>(Postcard);
    let wrong = CodecError::WrongCodec { expected: 1, found: 9 };
    let cases: [(&'static [u8], CodecError); 4] = [
        (b"\x09x", wrong),
        (b"", CodecError::Malformed { offset: 0 }),
        (b"\x01\xff", CodecError::Malformed { offset: 1 }),
        (b"\x01\x07tail", CodecError::Trailing { bytes: 4 }),
    ];
    for (sent, expected) in cases {
        client.send(node(2), Lane::Control, sent).unwrap();
        net.rt.run();
        let Some(TypedInbound::Undecodable { from, lane, body, error }) = server.try_recv() else {
            panic!("{expected} was lost")
        };
        assert_eq!((from.node, lane, error), (node(1), Lane::Control, expected));
        assert_eq!(&body[..], sent);
    }
    assert_eq!(server.undecodable(), 4);
    client.send(node(2), Lane::Control, &b"\x01\x07"[..]).unwrap();
    net.rt.run();
    let found = server.try_recv();
    assert!(matches!(found, Some(TypedInbound::Message { value: 7, .. })), "{found:?}");
}

/// The handler ran: an answer that cannot be read must not look like a failure.
#[test]
fn an_undecodable_answer_is_not_definite() {
    let net = Net::new();
    let (a, b) = (net.endpoint(1), net.endpoint(2));
    let client = net.channel(&a).typed::<u32, String, _>(Postcard);
    let mut server = net.channel(&b).typed::<u32, u32, _>(Postcard);
    let answer = client.call(node(2), &7, seconds(1));
    let Some(TypedInbound::Call { value, reply, .. }) = net.rt.block_on(server.recv()) else {
        panic!()
    };
    reply.reply(&(value + 1000)).unwrap();
    let error = net.rt.block_on(answer).unwrap_err();
    assert!(matches!(error, TypedCallError::Answer(CodecError::Malformed { .. })), "{error}");
    assert!(!error.is_definite() && !error.is_retryable());
}

#[test]
fn typed_calls_answers_rejects_and_halves() {
    let net = Net::new();
    let (a, b) = (net.endpoint(1), net.endpoint(2));
    let client = net.channel(&a).typed::<Request, Result<u64, String>, _>(Postcard);
    let server = net.channel(&b).typed::<Request, Result<u64, String>, _>(Postcard);
    let (sender, mut receiver) = server.split();
    let request = Request::Read("key".into());

    let answer = client.call(node(2), &request, seconds(1));
    let Some(TypedInbound::Call { from, value, reply }) = net.rt.block_on(receiver.recv()) else {
        panic!()
    };
    assert_eq!((from.node, &value), (node(1), &request));
    assert!(!reply.is_cancelled());
    reply.reply(&Err("none".into())).unwrap();
    assert_eq!(net.rt.block_on(answer).unwrap(), Err("none".to_owned()));

    let answer = client.call(node(2), &request, seconds(1));
    let Some(TypedInbound::Call { reply, .. }) = net.rt.block_on(receiver.recv()) else { panic!() };
    reply.reject(3, Bytes::from_static(b"no"));
    let rejected = Reject::Application { code: 3, detail: Bytes::from_static(b"no") };
    let expected = TypedCallError::Call(CallError::Rejected(rejected));
    assert_eq!(net.rt.block_on(answer), Err(expected));

    let answer = client.call(node(2), &request, seconds(1));
    drop(net.rt.block_on(receiver.recv()));
    let error = net.rt.block_on(answer).unwrap_err();
    assert!(!error.is_definite(), "{error}");

    // To oneself.
    let answer = sender.call(node(2), &request, seconds(1));
    let Some(TypedInbound::Call { reply, .. }) = net.rt.block_on(receiver.recv()) else { panic!() };
    reply.reply(&Ok(4)).unwrap();
    assert_eq!(net.rt.block_on(answer), Ok(Ok(4)));
}

/// Dropping the typed future cancels as the untyped one does.
#[test]
fn a_dropped_typed_reply_cancels() {
    let net = Net::new();
    let (a, b) = (net.endpoint(1), net.endpoint(2));
    let client = net.channel(&a).typed::<u8, u8, _>(Postcard);
    let mut server = net.channel(&b).typed::<u8, u8, _>(Postcard);
    let answer = client.call(node(2), &1, seconds(1));
    let Some(TypedInbound::Call { reply, .. }) = net.rt.block_on(server.recv()) else { panic!() };
    drop(answer);
    net.rt.run();
    assert!(reply.is_cancelled());
    net.rt.block_on(reply.cancelled());
}

#[test]
fn raw_is_the_bytes_themselves() {
    let value = Bytes::from_static(b"as they are");
    let body = encoded(&Raw, &value).unwrap();
    assert_eq!(body, value);
    let back: Bytes = Raw.decode(&body).unwrap();
    assert_eq!(back.as_ptr(), body.as_ptr(), "decoding shares");
    assert_eq!(Codec::<Vec<u8>>::decode(&Raw, &body), Ok(value.to_vec()));
    let ids = [<Raw as Codec<Bytes>>::ID, <Raw as Codec<Vec<u8>>>::ID];
    assert_eq!(ids, [0, 0]);
    assert_eq!([<Postcard as Codec<u8>>::ID, <Bincode as Codec<u8>>::ID], [1, 2]);
}

fn request() -> impl Strategy<Value = Request> {
    let key = || proptest::collection::vec(any::<char>(), 0..12).prop_map(String::from_iter);
    let leaf = prop_oneof![
        key().prop_map(Request::Read),
        (
            key(),
            proptest::collection::vec(any::<u8>(), 0..300),
            proptest::collection::btree_map(any::<u64>(), any::<i32>(), 0..5)
        )
            .prop_map(|(key, value, fences)| Request::Write { key, value, fences }),
    ];
    leaf.prop_recursive(3, 8, 1, |inner| {
        let number = any::<i32>().prop_map(f64::from);
        (proptest::option::of(inner.prop_map(Box::new)), (any::<u8>(), number))
            .prop_map(|(inner, pair)| Request::Both(inner, pair))
    })
}

fn round_trip<C: Codec<Request>>(codec: &C, value: &Request) -> Result<(), TestCaseError> {
    let body = encoded(codec, value).unwrap();
    prop_assert_eq!(&codec.decode(&body).unwrap(), value);
    // Every prefix is refused: a value ends where it ends.
    for end in 0..body.len() {
        prop_assert!(codec.decode(&body.slice(..end)).is_err());
    }
    Ok(())
}

fn config() -> ProptestConfig {
    ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn values_come_back_as_they_were(value in request()) {
        round_trip(&Postcard, &value)?;
        round_trip(&Bincode::<65_536>, &value)?;
    }

    #[test]
    fn noise_never_panics(noise in proptest::collection::vec(any::<u8>(), 0..200)) {
        let noise = Bytes::from(noise);
        let _: Result<Request, _> = Postcard.decode(&noise);
        let _: Result<Request, _> = Bincode::<128>.decode(&noise);
    }
}
