//! Mutual TLS: two nodes prove who they are and talk; a third shows another node's certificate, is
//! refused, and learns why. The certificates are made here; ordinarily they are files.

use quorate_transport::*;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::error::Error;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

const CLUSTER: ClusterId = ClusterId::new(7);
const CHANNEL: ChannelId = ChannelId::new(16);

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Result<Self, rcgen::Error> {
        let mut params = CertificateParams::new(vec![])?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Ok(Self(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?))
    }

    /// A certificate that names node `n` of the cluster, and its key.
    fn certify(&self, n: u64) -> Result<TlsIdentity, Box<dyn Error>> {
        let cluster = format!("c{CLUSTER}.quorate.internal");
        let params = CertificateParams::new([format!("n{n}.{cluster}"), cluster])?;
        let key = KeyPair::generate()?;
        let chain = params.signed_by(&key, &self.0)?.pem();
        let (ca, key) = (self.0.pem(), key.serialize_pem());
        Ok(TlsIdentity::from_pem(ca.as_bytes(), chain.as_bytes(), key.as_bytes())?)
    }
}

/// Node `n`, which shows `certificate`, whosoever it is.
fn start(
    n: u64,
    certificate: TlsIdentity,
) -> Result<(Endpoint, Arc<TcpTransport>), Box<dyn Error>> {
    let me = Identity::new(CLUSTER, NodeId::new(n), Incarnation::new(1));
    let tcp = TcpTransport::bind(me, TcpConfig::local().tls(certificate).build()?)?;
    Ok((Endpoint::start(tcp.clone(), EndpointConfig::default())?, tcp))
}

/// What came of it, in two lines.
///
/// # Errors
/// If it is not what the documentation says.
pub async fn run() -> Result<[String; 2], Box<dyn Error>> {
    let authority = Authority::new()?;
    let (a, _) = start(1, authority.certify(1)?)?;
    let (b, tcp) = start(2, authority.certify(2)?)?;
    let at_b = Address::from(tcp.local_addr().ok_or("a member listens")?);
    let mut server = b.channel(CHANNEL, ChannelOptions::new())?;
    let client = a.channel(CHANNEL, ChannelOptions::new())?;
    let found = a.discover(&at_b).await?;
    let answer = client.call(found.node, b"hi", CallOptions::within(Duration::from_secs(5)));
    let Some(Inbound::Call { from, body, reply }) = server.recv().await else {
        return Err("no call".into());
    };
    reply.reply(body)?;
    let _ = answer.await?;
    let (caller, proven) = (from.node, from.authenticated && found.authenticated);
    let talked = format!("node {caller} called node {}, both proven: {proven}", found.node);

    // A valid certificate, of somebody else.
    let (c, _) = start(3, authority.certify(1)?)?;
    let refused = match c.discover(&at_b).await {
        Ok(peer) => return Err(format!("node 3 got in to node {}", peer.node).into()),
        Err(error) => format!("node 3: {error}"),
    };
    Ok([talked, refused])
}

/// Runs it.
pub fn main() -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let lines = runtime.block_on(run())?;
    writeln!(std::io::stdout(), "{}", lines.join("\n"))?;
    Ok(())
}
