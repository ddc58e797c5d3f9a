//! Any bytes as Hello and as HelloAck: no panic; what is accepted says the same when it is written
//! again, and a Hello that names another cluster, node or version is never accepted.
#![no_main]

use libfuzzer_sys::fuzz_target;
use quorate_transport::{
    ChannelId, ClusterId, Frame, Hello, HelloAck, HelloStatus, Identity, Incarnation, Kind, NodeId,
};

const CLUSTER: ClusterId = ClusterId::new(0x0123_4567_89ab_cdef_0011_2233_4455_6677);

fuzz_target!(|data: &[u8]| {
    let Some((lengths, rest)) = data.split_first() else { return };
    // Long enough for both, or cut anywhere.
    let (first, second) = rest.split_at(rest.len().min(usize::from(*lengths)));
    let as_frame =
        |kind, body: &[u8]| Frame::new(kind, ChannelId::ENDPOINT).with_body(body.to_vec());
    let hello = Hello::decode(&as_frame(Kind::Hello, first));
    let ack = HelloAck::decode(&as_frame(Kind::HelloAck, second));
    assert!(Hello::decode(&as_frame(Kind::HelloAck, first)).is_err());
    assert!(HelloAck::decode(&as_frame(Kind::Hello, second)).is_err());

    if let Ok(hello) = &hello {
        assert_eq!(Hello::decode(&hello.to_frame()).as_ref(), Ok(hello));
        let me = Identity::new(CLUSTER, NodeId::new(2), Incarnation::new(1));
        let status = hello.check(&me);
        if status == HelloStatus::Accept {
            assert_eq!(hello.identity.cluster, CLUSTER);
            assert_ne!(hello.identity.node, me.node);
            assert!(hello.target.is_none_or(|target| target == me.node));
            assert!(hello.wire_min <= 1 && hello.wire_max >= 1);
        }
    }
    if let Ok(ack) = &ack {
        assert_eq!(HelloAck::decode(&ack.to_frame()).as_ref(), Ok(ack));
        if let Ok(hello) = &hello
            && ack.check(hello).is_ok()
        {
            assert_eq!((ack.status, ack.nonce), (HelloStatus::Accept, hello.nonce));
            assert_ne!(ack.node, hello.identity.node);
        }
    }
});
