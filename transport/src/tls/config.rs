//! Both sides' configurations, made together and checked before anything is replaced.

use super::ClientCertificates::{self, Optional, Required};
use super::TlsError;
use crate::DownReason;
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::TLS13;
use rustls::{AlertDescription, ClientConfig, RootCertStore, ServerConfig};
use std::io;
use std::sync::Arc;

/// The only application protocol.
const ALPN: &[u8] = b"quorate/1";

pub(super) struct Configs {
    pub(super) client: Arc<ClientConfig>,
    pub(super) required: Option<Arc<ServerConfig>>,
    pub(super) optional: Option<Arc<ServerConfig>>,
}

type Own = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn refused(what: &'static str) -> impl Fn(rustls::Error) -> TlsError {
    move |error| TlsError::Refused { what, reason: error.to_string() }
}

fn certificates(what: &'static str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let all = all.map_err(|error| TlsError::Pem { what, reason: error.to_string() })?;
    if all.is_empty() { Err(TlsError::Empty { what }) } else { Ok(all) }
}

fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, TlsError> {
    use rustls::pki_types::pem::Error;
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| match error {
        Error::NoItemsFound => TlsError::Empty { what: "key" },
        // Never the text itself: it is a key.
        _ => TlsError::Pem { what: "key", reason: "no private key can be read".into() },
    })
}

impl Configs {
    pub(super) fn from_pem(ca: &[u8], own: Option<(&[u8], &[u8])>) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        for root in certificates("ca", ca)? {
            roots.add(root).map_err(refused("ca"))?;
        }
        let roots = Arc::new(roots);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let Some((chain, key)) = own else {
            let client = client(&roots, &provider, None)?;
            return Ok(Self { client, required: None, optional: None });
        };
        let chain = certificates("chain", chain)?;
        let key = private_key(key)?;
        let own = || (chain.clone(), key.clone_key());
        Ok(Self {
            client: client(&roots, &provider, Some(own()))?,
            required: Some(server(&roots, &provider, Required, own())?),
            optional: Some(server(&roots, &provider, Optional, own())?),
        })
    }
}

fn client(
    roots: &Arc<RootCertStore>,
    provider: &Arc<CryptoProvider>,
    own: Option<Own>,
) -> Result<Arc<ClientConfig>, TlsError> {
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&TLS13])
        .map_err(refused("version"))?
        .with_root_certificates(roots.clone());
    let mut config = match own {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => {
            builder.with_client_auth_cert(chain, key).map_err(refused("certificate"))?
        }
    };
    config.alpn_protocols = vec![ALPN.to_vec()];
    // A resumed session would stand on a certificate that is not looked at again. // H40
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

fn server(
    roots: &Arc<RootCertStore>,
    provider: &Arc<CryptoProvider>,
    demand: ClientCertificates,
    (chain, key): Own,
) -> Result<Arc<ServerConfig>, TlsError> {
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone());
    let verifier = match demand {
        Required => verifier,
        Optional => verifier.allow_unauthenticated(),
    };
    let verifier = verifier
        .build()
        .map_err(|error| TlsError::Refused { what: "ca", reason: error.to_string() })?;
    let mut config = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&TLS13])
        .map_err(refused("version"))?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .map_err(refused("certificate"))?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// What TLS says of a failure: of certificates, or of the protocol. `None`: it was not TLS.
pub(crate) fn reason_of(error: &io::Error) -> Option<DownReason> {
    use AlertDescription as Alert;
    let error = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    Some(match error {
        rustls::Error::InvalidCertificate(_)
        | rustls::Error::NoCertificatesPresented
        | rustls::Error::AlertReceived(
            Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::UnknownCA
            | Alert::AccessDenied
            | Alert::DecryptError
            | Alert::CertificateRequired,
        ) => DownReason::Identity,
        _ => DownReason::Protocol,
    })
}
