//! Where the bytes of a generation came from, as a URI.
//!
//! Promises: one that is not of a known kind is refused, so that a mistyped one is not found out when it is needed. Nothing is
//! ever opened because of it.

use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// What a location may begin with: a file (RFC 8089), an NBD export (NBD's `doc/uri.md`), a volume or snapshot of
/// OpenStack's block storage (as Trove writes it, `cinder://ID`), a disk of a libvirt guest.
const SCHEMES: [&str; 7] = ["file", "nbd", "nbds", "nbd+unix", "nbds+unix", "cinder", "libvirt"];

/// Text that is no location.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{found:?} is no location: {why}, expected file:///PATH, nbd://HOST/EXPORT, nbd+unix:///EXPORT?socket=PATH, cinder://ID or libvirt:///DOMAIN/DISK"
)]
pub struct BadLocation {
    /// What was given.
    pub found: String,
    /// What is wrong with it.
    pub why: String,
}

/// Where bytes came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location(String);

impl Location {
    /// Checks a URI.
    ///
    /// # Errors
    /// [`BadLocation`].
    pub fn parse(text: &str) -> Result<Self, BadLocation> {
        let bad = |why: String| BadLocation { found: text.to_owned(), why };
        let Some((scheme, rest)) = text.split_once(':') else { return Err(bad("it has no scheme".to_owned())) };
        if !SCHEMES.contains(&scheme) {
            return Err(bad(format!("the scheme {scheme:?} is not known")));
        }
        let Some(rest) = rest.strip_prefix("//") else { return Err(bad(format!("no // follows {scheme}:"))) };
        if rest.is_empty() {
            return Err(bad(format!("nothing follows {scheme}://")));
        }
        match rest.bytes().find(|byte| !byte.is_ascii_graphic()) {
            Some(byte) => Err(bad(format!("byte 0x{byte:02x} has to be written as %{byte:02X}"))),
            None => Ok(Self(text.to_owned())),
        }
    }

    /// Returns that of a file.
    pub fn of_file(path: &Path) -> Self {
        Self(format!("file://{}", escape(path.as_os_str().as_bytes())))
    }

    /// Returns that of a disk of a guest.
    pub fn of_guest(domain: &str, disk: &str) -> Self {
        Self(format!("libvirt:///{}/{}", escape(domain.as_bytes()).replace('/', "%2F"), escape(disk.as_bytes())))
    }

    /// Returns that of a guest, all disks of it.
    pub fn of_domain(domain: &str) -> Self {
        Self(format!("libvirt:///{}", escape(domain.as_bytes()).replace('/', "%2F")))
    }

    /// Returns it as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Percent-encodes what is no part of a plain path.
fn escape(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len()), |mut out, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' | b'~' | b'+' | b'@' => {
                out.push(*byte as char);
            }
            byte => write!(out, "%{byte:02X}").expect("text takes text"),
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_of_a_known_kind_is_kept_as_it_is() {
        for text in [
            "file:///srv/a%20b.qcow2",
            "nbd://host:10809/vda",
            "nbd+unix:///vda?socket=/run/x",
            "nbds://host/",
            "cinder://5f1e6dd2-6ac0-4a4c-8f5c-0d1b0a6c9d3e",
            "libvirt:///vm1/vda",
        ] {
            assert_eq!(Location::parse(text).unwrap().as_str(), text);
        }
        assert_eq!(Location::of_file(Path::new("/srv/a b%.qcow2")).as_str(), "file:///srv/a%20b%25.qcow2");
        assert_eq!(Location::of_guest("a/b c", "vda").as_str(), "libvirt:///a%2Fb%20c/vda");
    }

    #[test]
    fn what_is_no_location_is_told_with_what_is_wrong() {
        let why = |text| Location::parse(text).unwrap_err().why;
        assert_eq!(why("swift://container/x"), "the scheme \"swift\" is not known");
        assert_eq!(why("/srv/a.qcow2"), "it has no scheme");
        assert_eq!(why("cinder:5f1e"), "no // follows cinder:");
        assert_eq!(why("cinder://"), "nothing follows cinder://");
        assert_eq!(why("file:///a b"), "byte 0x20 has to be written as %20");
        assert_eq!(
            Location::parse("x").unwrap_err().to_string(),
            "\"x\" is no location: it has no scheme, expected file:///PATH, nbd://HOST/EXPORT, nbd+unix:///EXPORT?socket=PATH, \
             cinder://ID or libvirt:///DOMAIN/DISK"
        );
    }
}
