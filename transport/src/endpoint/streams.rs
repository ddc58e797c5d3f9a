//! Streams and datagrams of this node.

use super::core::Core;
use crate::inbox::Item;
use crate::stream::CHUNK_MAX;
use crate::{
    ChannelId, Frame, Kind, Lane, LinkEvent, NodeId, Peer, SendError, SendStream, StreamOptions,
};
use bytes::Bytes;
use std::sync::Arc;

impl Core {
    pub(crate) fn open_stream(
        self: &Arc<Self>,
        channel: ChannelId,
        payload_checked: bool,
        to: NodeId,
        head: Bytes,
        options: StreamOptions,
    ) -> Result<SendStream, SendError> {
        if self.is_closed() {
            return Err(SendError::Closed);
        }
        if to == self.identity.node {
            return Err(SendError::SelfAddressed);
        }
        if head.len() > CHUNK_MAX {
            let bytes = u64::try_from(head.len()).unwrap_or(u64::MAX);
            return Err(SendError::TooLarge { bytes, max: 64 * 1024 });
        }
        let peer = self.peer(to).ok_or(SendError::Full)?;
        let (id, frame) = self.with(&peer, |mux| mux.open_stream(channel, head))?;
        // The receiver's credit comes on Control, which it may have no address to dial.
        if self.transport.lane(to, Lane::Control).session.is_none() {
            let ping = Frame::new(Kind::Ping, ChannelId::ENDPOINT);
            self.send_control(to, Lane::Control, ping);
        }
        if let Err(error) = self.transport.send(to, Lane::Bulk, frame) {
            self.with(&peer, |mux| mux.forget_own_stream(id));
            return Err(error);
        }
        self.counters.streams_out.add(1);
        self.note_sent(&peer, Lane::Bulk);
        let window = self.transport.lane(to, Lane::Bulk).stream_window_bytes;
        if window > 0 {
            self.with(&peer, |mux| mux.set_stream_window(window));
        }
        Ok(SendStream::new(self.clone(), peer, channel, id, payload_checked, options))
    }

    /// What the peer's new Bulk session announced, if this is the event of one.
    pub(super) fn window_after(&self, node: NodeId, event: &LinkEvent) -> Option<u32> {
        let LinkEvent::Up { lane: Lane::Bulk, .. } = event else { return None };
        let window = self.transport.lane(node, Lane::Bulk).stream_window_bytes;
        (window > 0).then_some(window)
    }

    pub(crate) fn send_datagram(
        &self,
        channel: ChannelId,
        to: NodeId,
        body: &[u8],
    ) -> Result<(), SendError> {
        if self.is_closed() {
            return Err(SendError::Closed);
        }
        if to == self.identity.node {
            return Err(SendError::SelfAddressed);
        }
        self.transport.send_datagram(to, channel, body)?;
        self.counters.datagrams_out.add(1);
        Ok(())
    }

    pub(super) fn handle_datagram(&self, from: Peer, channel: ChannelId, body: Bytes) {
        self.counters.datagrams_in.add(1);
        self.deliver(channel, Item::Datagram { from, body });
        self.wake_components();
    }
}
