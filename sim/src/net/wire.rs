//! Some frames and datagrams pass the real encoder and decoder, so that what the world carries is
//! what a wire could carry.

use bytes::Bytes;
use quorate_transport::{
    ChannelId, ClusterId, Datagram, Decoder, Frame, Identity, Incarnation, NodeId,
};

/// Every world is one cluster.
pub(crate) const CLUSTER: ClusterId = ClusterId::new(0x7175_6f72_6174_6521);

/// The frame as the decoder makes it of the encoder's bytes.
#[expect(clippy::panic, reason = "a codec that does not read what it wrote is a finding")]
pub(super) fn through(frame: Frame) -> Frame {
    let max = u32::try_from(frame.body.len()).unwrap_or(u32::MAX);
    let Ok(bytes) = frame.encode(0) else { return frame };
    let mut decoder = Decoder::new(max.max(1 << 10));
    decoder.feed(&bytes);
    match decoder.decode() {
        Ok(Some(decoded)) => decoded,
        other => panic!("the decoder does not read what the encoder wrote: {other:?}"),
    }
}

/// Who sends a datagram to whom.
#[derive(Clone, Copy, Debug)]
pub(super) struct Route {
    pub(super) from: (NodeId, Incarnation),
    pub(super) to: NodeId,
    pub(super) channel: ChannelId,
}

impl Route {
    /// The body as the decoder makes it of the encoder's packet.
    #[expect(clippy::panic, reason = "a codec that does not read what it wrote is a finding")]
    pub(super) fn through(self, body: &Bytes) -> Bytes {
        match self.carry(body, &[]) {
            Some(read) => read,
            None => panic!("the decoder does not read what the encoder wrote: {self:?}"),
        }
    }

    /// The packet, with the bits at these places flipped, as its receiver reads it; `None` if it
    /// is refused.
    pub(super) fn carry(self, body: &[u8], flips: &[u64]) -> Option<Bytes> {
        let sender = Identity::new(CLUSTER, self.from.0, self.from.1);
        let receiver = Identity::new(CLUSTER, self.to, Incarnation::new(1));
        let mut packet = Datagram::encode(&sender, self.to, self.channel, body).ok()?;
        flip(&mut packet, flips);
        let read = Datagram::decode(&packet, &receiver, u32::from(u16::MAX)).ok()?;
        Some(Bytes::copy_from_slice(read.body))
    }
}

/// Flips bits, each place taken modulo the length; a place that comes twice is flipped once.
pub(super) fn flip(bytes: &mut [u8], places: &[u64]) {
    let bits = bytes.len() as u64 * 8;
    if bits == 0 {
        return;
    }
    let mut places: Vec<u64> = places.iter().map(|place| place % bits).collect();
    places.sort_unstable();
    places.dedup();
    for bit in places {
        bytes[usize::try_from(bit / 8).unwrap_or(0)] ^= 1 << (bit % 8);
    }
}
