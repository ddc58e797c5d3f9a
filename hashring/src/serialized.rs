//! Readable forms of ids, topologies and keys for serde: numbers and names, not the wire form.

use crate::{Level, Node, NodeId, Topology, Weight};
use alloc::string::String;
use alloc::vec::Vec;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub(crate) fn node_id<S: Serializer>(node: &NodeId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(node.value())
}

/// A node as readers see it: places that are not named are left out.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct NodeView {
    id: u64,
    weight: u32,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    region: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    zone: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    rack: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    host: String,
}

impl From<&Node> for NodeView {
    fn from(node: &Node) -> Self {
        let [region, zone, rack, host] = Level::ALL.map(|level| node.location(level).into());
        Self { id: node.id().value(), weight: node.weight_of().raw(), region, zone, rack, host }
    }
}

impl Serialize for Topology {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.nodes().iter().map(NodeView::from))
    }
}

impl<'de> Deserialize<'de> for Topology {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let views = Vec::<NodeView>::deserialize(deserializer)?;
        let mut builder = Self::builder();
        for view in views {
            let id = NodeId::try_new(view.id).ok_or_else(|| D::Error::custom("node id zero"))?;
            let node = Node::new(id)
                .weight(Weight::from_raw(view.weight))
                .at(Level::Region, &view.region)
                .at(Level::Zone, &view.zone)
                .at(Level::Rack, &view.rack)
                .at(Level::Host, &view.host);
            builder = builder.node(node);
        }
        builder.build().map_err(D::Error::custom)
    }
}
