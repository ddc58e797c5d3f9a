//! Certificates of nodes, by an authority made for the run.

use crate::ours::CLUSTER;
use quorate_transport::TlsIdentity;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new([]).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(params, key).expect("a certificate"))
    }

    /// A certificate that names this node of the cluster, and its key.
    pub(crate) fn certify(&self, node: u64) -> TlsIdentity {
        let cluster = format!("c{CLUSTER}.quorate.internal");
        let names = [format!("n{node}.{cluster}"), cluster];
        let params = CertificateParams::new(names).expect("names of hosts");
        let key = KeyPair::generate().expect("a key");
        let chain = params.signed_by(&key, &self.0).expect("a certificate").pem();
        let (ca, key) = (self.0.pem(), key.serialize_pem());
        TlsIdentity::from_pem(ca.as_bytes(), chain.as_bytes(), key.as_bytes())
            .expect("they belong together")
    }
}
