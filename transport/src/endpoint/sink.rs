//! [`EndpointSink`]: where the transport delivers.

use super::core::Core;
use crate::{ChannelId, Frame, Kind, Lane, LinkEvent, NodeId, Peer, SessionId, Sink};
use bytes::Bytes;
use std::sync::Weak;

/// The transport's hold on the endpoint: weak, or the two would keep each other alive.
pub(super) struct EndpointSink(Weak<Core>);

impl EndpointSink {
    pub(super) const fn new(core: Weak<Core>) -> Self {
        Self(core)
    }
}

impl Sink for EndpointSink {
    fn on_frame(&self, from: Peer, lane: Lane, session: SessionId, frame: Frame) {
        if let Some(core) = self.0.upgrade() {
            core.handle_frames(from, lane, session, &mut std::iter::once(frame));
        }
    }

    fn on_frames(
        &self,
        from: Peer,
        lane: Lane,
        session: SessionId,
        frames: &mut dyn Iterator<Item = Frame>,
    ) {
        if let Some(core) = self.0.upgrade() {
            core.handle_frames(from, lane, session, frames);
        }
    }

    fn on_datagram(&self, from: Peer, channel: ChannelId, body: Bytes) {
        if let Some(core) = self.0.upgrade() {
            core.handle_datagram(from, channel, body);
        }
    }

    fn on_event(&self, event: LinkEvent) {
        if let Some(core) = self.0.upgrade() {
            core.handle_event(&event);
        }
    }

    fn on_unsent(&self, to: NodeId, _lane: Lane, frames: &mut dyn Iterator<Item = Frame>) {
        let Some(core) = self.0.upgrade() else { return };
        let Some(peer) = core.known(to) else {
            // Nothing but one-way messages is sent to a node without an entry.
            let messages = frames.filter(|frame| frame.kind == Kind::Message).count();
            return core.count_unsent(u64::try_from(messages).unwrap_or(u64::MAX));
        };
        for frame in frames {
            if core.is_closed() && frame.kind.is_application() {
                core.count_unsent_at_shutdown();
            }
            core.with(&peer, |mux| mux.handle_unsent(&frame));
        }
    }

    fn on_batch_end(&self) {
        if let Some(core) = self.0.upgrade() {
            core.wake_components();
        }
    }
}
