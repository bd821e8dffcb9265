//! Encrypted connections.
//!
//! Promises: the server proves by a certificate of the given authority that it has the name that the address says, or there
//! is no connection. There is no other way: neither anonymous TLS nor the authorities of this machine are used, since a disk
//! is not given to, or taken from, whoever has bought a name.
//!
//! Source of the file names: `docs/system/tls.rst` of QEMU 10.0, which libvirt and libnbd follow.

use super::error::Error;
use super::place::Place;
use super::uri::Uri;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::io;
use std::path::Path;
use std::sync::Arc;

/// The certificate of the authority, and the client's own with its key, in the folder that the address names.
const AUTHORITY: &str = "ca-cert.pem";
const CERTIFICATE: &str = "client-cert.pem";
const KEY: &str = "client-key.pem";

/// Whom to trust, and whom to be.
pub(super) struct Tls {
    pub(super) config: Arc<ClientConfig>,
    pub(super) name: ServerName<'static>,
}

/// Returns what `uri` says about encryption; nothing if it does not ask for it. The client proves who it is if the folder has
/// a certificate for it.
pub(super) fn load(uri: &Uri) -> Result<Option<Tls>, Error> {
    let Some(dir) = &uri.certificates else {
        return Ok(None);
    };
    let failed = |source| Error::Certificates { dir: dir.clone(), source };
    let name = match (&uri.tls_name, &uri.place) {
        (Some(name), _) | (None, Place::Tcp { host: name, .. }) => name.clone(),
        (None, Place::Unix(_)) => "localhost".to_owned(),
    };
    let name = ServerName::try_from(name).map_err(|error| failed(io::Error::other(error)))?;
    let config = config(dir).map_err(failed)?;
    Ok(Some(Tls { config: Arc::new(config), name }))
}

fn config(dir: &Path) -> io::Result<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().map_err(io::Error::other)?;
    let mut trusted = RootCertStore::empty();
    for certificate in certificates(&dir.join(AUTHORITY))? {
        trusted.add(certificate).map_err(io::Error::other)?;
    }
    let builder = builder.with_root_certificates(trusted);
    if !dir.join(CERTIFICATE).try_exists()? {
        return Ok(builder.with_no_client_auth());
    }
    let own = certificates(&dir.join(CERTIFICATE))?;
    let key = PrivateKeyDer::from_pem_file(dir.join(KEY)).map_err(|error| unreadable(&dir.join(KEY), &error))?;
    builder.with_client_auth_cert(own, key).map_err(io::Error::other)
}

fn certificates(path: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let read = || CertificateDer::pem_file_iter(path)?.collect::<Result<Vec<_>, _>>();
    let found = read().map_err(|error| unreadable(path, &error))?;
    if found.is_empty() { Err(io::Error::other(format!("{path:?} holds no certificate"))) } else { Ok(found) }
}

fn unreadable(path: &Path, error: &rustls::pki_types::pem::Error) -> io::Error {
    io::Error::other(format!("cannot read {path:?}: {error}"))
}
