//! The names in certificates: which node of which cluster.

use crate::{ClusterId, DownReason, NodeId};
use rustls::pki_types::{CertificateDer, ServerName};
use webpki::EndEntityCert;

/// What a dialer demands of a server's certificate: a node, or any node of the cluster.
pub(crate) fn server_name(
    cluster: ClusterId,
    node: Option<NodeId>,
) -> Result<ServerName<'static>, DownReason> {
    let name = match node {
        Some(node) => format!("n{node}.c{cluster}.quorate.internal"),
        None => format!("c{cluster}.quorate.internal"),
    };
    ServerName::try_from(name).map_err(|_| DownReason::Identity)
}

/// Whether a certificate, whose chain is verified, names this node of this cluster. // H23
pub(crate) fn names(leaf: &CertificateDer<'_>, cluster: ClusterId, node: NodeId) -> bool {
    let (Ok(leaf), Ok(name)) = (EndEntityCert::try_from(leaf), server_name(cluster, Some(node)))
    else {
        return false;
    };
    leaf.verify_is_valid_for_subject_name(&name).is_ok()
}
