//! Addresses of exports.
//!
//! Promises: what `qemu-nbd`, `nbdinfo` and libvirt print as the address of an export is understood; everything else is
//! refused with what about it.
//!
//! Source of the form: `doc/uri.md` of NetworkBlockDevice/nbd.

use super::error::Error;
use super::place::Place;
use std::path::PathBuf;

/// The port that IANA gave to the protocol.
const PORT: u16 = 10809;

/// The longest string of the protocol.
const NAME_BYTES_MAX: usize = 4096;

/// The address of an export: `nbd://HOST[:PORT]/EXPORT`, `nbd+unix:///EXPORT?socket=PATH`.
///
/// With `nbds` instead of `nbd` the connection is encrypted. Then the query has `tls-certificates=DIR`, the folder with
/// `ca-cert.pem` and, if the server wants to know who asks, `client-cert.pem` and `client-key.pem`; and it may have
/// `tls-hostname=NAME`, the name in the server's certificate, if that is not the host (of a socket: `localhost`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uri {
    /// Where its server listens.
    pub place: Place,
    /// Its name; empty for the one that the server takes for the usual.
    pub export: String,
    /// The folder with the certificates if the connection is to be encrypted.
    pub certificates: Option<PathBuf>,
    /// The name in the server's certificate if it is another than that of the host.
    pub tls_name: Option<String>,
}

impl Uri {
    /// Returns what `text` says.
    ///
    /// # Errors
    /// [`Error::Uri`].
    pub fn parse(text: &str) -> Result<Self, Error> {
        let refused = |why| Error::Uri { uri: text.to_owned(), why };
        let (scheme, rest) = text.split_once("://").ok_or_else(|| refused("it has no \"://\""))?;
        let (tls, unix) = match scheme {
            "nbd" => (false, false),
            "nbds" => (true, false),
            "nbd+unix" => (false, true),
            "nbds+unix" => (true, true),
            _ => return Err(refused("it does not begin with nbd://, nbds://, nbd+unix:// or nbds+unix://")),
        };
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, export) = rest.split_once('/').unwrap_or((rest, ""));
        let export = text_of(export).ok_or_else(|| refused("its export is not UTF-8, or a % begins no byte"))?;
        if export.len() > NAME_BYTES_MAX {
            return Err(refused("its export has more than 4096 bytes"));
        }
        let value = |key: &str| {
            let pair = query.split('&').filter_map(|pair| pair.split_once('=')).find(|(name, _)| *name == key);
            let text = pair.map(|(_, value)| text_of(value).filter(|text| !text.is_empty()));
            text.map(|text| {
                text.ok_or_else(|| refused("what follows its ? is empty, not UTF-8, or a % begins no byte"))
            })
        };
        let socket = value("socket").transpose()?;
        let place = match (unix, socket) {
            (true, _) if !authority.is_empty() => return Err(refused("a host and a socket are one too many")),
            (true, Some(path)) => Place::Unix(path.into()),
            (true, None) => return Err(refused("it lacks ?socket=PATH")),
            (false, Some(_)) => return Err(refused("a socket goes with nbd+unix://")),
            (false, None) => tcp(authority).ok_or_else(|| refused("it lacks a host, or its port is no number"))?,
        };
        let certificates = value("tls-certificates").transpose()?.map(PathBuf::from);
        if tls != certificates.is_some() {
            return Err(refused("nbds and ?tls-certificates=DIR, the folder with ca-cert.pem, go together"));
        }
        Ok(Self { place, export, certificates, tls_name: value("tls-hostname").transpose()? })
    }
}

fn tcp(authority: &str) -> Option<Place> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    let port = match port.strip_prefix(':') {
        Some(digits) => digits.parse().ok().filter(|port| *port > 0)?,
        None if port.is_empty() => PORT,
        None => return None,
    };
    let host = text_of(host).filter(|host| !host.is_empty() && !host.contains('@'))?;
    Some(Place::Tcp { host, port })
}

/// Returns the text that `escaped` stands for; `%` and two hexadecimal digits are a byte.
fn text_of(escaped: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(escaped.len());
    let mut rest = escaped.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let mut digit = || char::from(rest.next()?).to_digit(16);
            let (high, low) = (digit()?, digit()?);
            bytes.push((high << 4 | low) as u8);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok().filter(|text| !text.contains('\0'))
}
