//! A disk that a server gives over the network block device protocol: what of it is allocated or dirty, and its bytes.
//!
//! Promises: nothing but reading is ever asked for; of the commands of the protocol only READ, BLOCK_STATUS and DISC are
//! sent. Every length and place that the server says is checked against what was asked, and a range is whole when a call
//! returns, or the call fails. A server that says nothing for [`Options::timeout`] is given up.
//! Never asks the same connection again after an error: where in the stream it is nobody knows then.
//!
//! Source of the protocol: `doc/proto.md` of NetworkBlockDevice/nbd (2025), and of the names of QEMU's dirty bitmaps
//! `docs/interop/nbd.rst` of QEMU 10.0.

mod handshake;
#[cfg(test)]
mod tests;
mod tls;
mod transfer;
mod uri;
mod wire;

pub use uri::{Place, Uri};

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::time::Duration;
use tls::Tls;
use wire::Wire;

/// The context that tells what of a disk is allocated; see [`Status::flags`].
pub const BASE_ALLOCATION: &str = "base:allocation";

/// In [`Status::flags`] of [`BASE_ALLOCATION`]: nothing is stored for it.
pub const STATE_HOLE: u32 = 1;

/// In [`Status::flags`] of [`BASE_ALLOCATION`]: it reads as zeros.
pub const STATE_ZERO: u32 = 2;

/// In [`Status::flags`] of a context `qemu:dirty-bitmap:NAME`: it was written to.
pub const STATE_DIRTY: u32 = 1;

/// How to talk to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// How long to wait for a connection to a host.
    pub connect_timeout: Duration,
    /// How long the server may be silent while something is expected of it.
    pub timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { connect_timeout: Duration::from_secs(10), timeout: Duration::from_secs(60) }
    }
}

/// What a context says of a run of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Where it begins, in bytes.
    pub offset: u64,
    /// How long it is, in bytes.
    pub length: u64,
    /// Bits whose meaning the context gives.
    pub flags: u32,
}

/// A run of the disk that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chunk<'a> {
    /// These bytes.
    Data(&'a [u8]),
    /// So many zeros, which the server did not send.
    Hole(u64),
}

/// Why a disk cannot be had from a server.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is none.
    #[error("{uri:?} names no disk of an NBD server: {why}")]
    Uri {
        /// As it was given.
        uri: String,
        /// What about it.
        why: &'static str,
    },
    /// Nobody answers there.
    #[error("cannot connect to {place}")]
    Connect {
        /// Where.
        place: Place,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The connection broke.
    #[error("the connection to the NBD server broke while {doing}")]
    Broken {
        /// What was going on.
        doing: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The server is silent.
    #[error("the NBD server said nothing for {} s while {doing}", .waited.as_secs_f32())]
    Silent {
        /// For how long.
        waited: Duration,
        /// What was going on.
        doing: &'static str,
    },
    /// The server gives the export over encrypted connections only, and the address does not ask for one.
    #[error("the NBD server gives export {export:?} over TLS only; its address begins with nbds:// then")]
    NeedsTls {
        /// Its name.
        export: String,
    },
    /// The certificates that the address names are not usable.
    #[error("cannot use the TLS certificates in {dir:?}")]
    Certificates {
        /// Their folder.
        dir: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The two ends do not agree on encryption, or the server cannot prove that it has the name that the address says.
    #[error("no encrypted connection to the NBD server")]
    Tls {
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The server has no such export.
    #[error("the NBD server has no export {export:?}; it has {}", listed(.there))]
    NoExport {
        /// What was asked for.
        export: String,
        /// Those that it tells of.
        there: Vec<String>,
    },
    /// The export has no such context: there is no bitmap of that name, or it is not exported.
    #[error("export {export:?} has no context {context:?}; it has {}", listed(.there))]
    NoContext {
        /// The export.
        export: String,
        /// What was asked for.
        context: String,
        /// Those that it has.
        there: Vec<String>,
    },
    /// The server does not want to.
    #[error("the NBD server refuses {what}: {why}")]
    Refused {
        /// What was asked for.
        what: &'static str,
        /// Its reason, in its words if it has any.
        why: String,
    },
    /// It cannot read its own disk.
    #[error("the NBD server cannot tell {length} bytes at byte {offset}: {why}")]
    Failed {
        /// Where.
        offset: u64,
        /// How much was asked for.
        length: u64,
        /// Its reason.
        why: String,
    },
    /// A range was asked for that is not on the disk.
    #[error("{length} bytes at byte {offset} are not on the disk of {size} bytes")]
    Range {
        /// Where.
        offset: u64,
        /// How much.
        length: u64,
        /// How long the disk is.
        size: u64,
    },
    /// It does not keep to the protocol.
    #[error("the NBD server does not keep to the protocol: {0}")]
    Protocol(String),
    /// Something went wrong earlier, and where in the stream the connection is is not known.
    #[error("the connection to the NBD server is not usable after what went wrong before")]
    Spent,
    /// Who wanted the bytes could not take them.
    #[error("cannot keep what the NBD server gave of byte {offset}")]
    Taker {
        /// Which bytes.
        offset: u64,
        /// Why.
        #[source]
        source: io::Error,
    },
}

fn listed(names: &[String]) -> String {
    match names {
        [] => "none that it tells of".to_owned(),
        names => names.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", "),
    }
}

/// An export of a server, open for reading.
pub struct Client {
    wire: Wire,
    export: Export,
    /// The number of the next request.
    next_handle: u64,
    spent: bool,
}

/// What the server said of the export.
#[derive(Debug)]
struct Export {
    name: String,
    size_bytes: u64,
    flags: u16,
    /// What requests must be multiples of.
    block_bytes_min: u32,
    /// The most that one reading request may ask for.
    read_bytes_max: u32,
    structured: bool,
    /// Numbers of the contexts, by name.
    contexts: BTreeMap<String, u32>,
}

/// In the flags of an export: it cannot be written to.
const FLAG_READ_ONLY: u16 = 2;

impl Client {
    /// Opens the export that `uri` names, and the contexts that [`Client::status`] will be asked for.
    ///
    /// # Errors
    /// [`Error::NoContext`] if it lacks one of `contexts`; [`Error::NoExport`]; [`Error::NeedsTls`]; [`Error::Certificates`]; [`Error::Connect`] and
    /// whatever else talking to it can meet.
    pub fn connect(uri: &Uri, contexts: &[String], options: &Options) -> Result<Self, Error> {
        let tls = tls::load(uri)?;
        let wire = Wire::connect(&uri.place, options)?;
        Self::open(wire, tls.as_ref(), &uri.export, contexts)
    }

    fn open(wire: Wire, tls: Option<&Tls>, name: &str, contexts: &[String]) -> Result<Self, Error> {
        let mut wire = handshake::greet(wire, tls)?;
        let export = handshake::negotiate(&mut wire, name, contexts)?;
        Ok(Self { wire, export, next_handle: 1, spent: false })
    }

    /// Returns the size of the disk in bytes.
    pub fn size_bytes(&self) -> u64 {
        self.export.size_bytes
    }

    /// Returns the transmission flags (`NBD_FLAG_*`) of the export.
    pub fn flags(&self) -> u16 {
        self.export.flags
    }

    /// Tells whether the server lets nobody write to this export. A disk that can be written to may change while it is read.
    pub fn is_read_only(&self) -> bool {
        self.export.flags & FLAG_READ_ONLY != 0
    }

    /// Calls `each` with what `context` says of `length` bytes from `offset` on: the whole range in order, without gap.
    /// Neighbours may have the same flags.
    ///
    /// # Errors
    /// [`Error::NoContext`] if it was not among the contexts that the export was opened with; [`Error::Range`];
    /// [`Error::Failed`]. What was told before stands.
    ///
    /// **Cost**: a round trip for each GiB, and for each answer that the server cuts short.
    pub fn status(&mut self, context: &str, offset: u64, length: u64, each: impl FnMut(Status)) -> Result<(), Error> {
        self.check_range(offset, length)?;
        let Some(id) = self.export.contexts.get(context).copied() else {
            let there = self.export.contexts.keys().cloned().collect();
            let export = self.export.name.clone();
            return Err(Error::NoContext { export, context: context.to_owned(), there });
        };
        self.guarded(|client| transfer::status(client, id, offset, length, each))
    }

    /// Reads `ranges` (offset and length) and calls `each` with what comes, in the order in which it comes: every byte of
    /// each range once, if this returns without an error. Sixteen requests are under way at a time.
    ///
    /// # Errors
    /// [`Error::Range`]; [`Error::Failed`]; [`Error::Taker`] with what `each` said. What was told before stands.
    ///
    /// **Cost**: 16 MiB of requests under way; one buffer of 1 MiB, or what one block of the server takes.
    pub fn read(
        &mut self,
        ranges: impl Iterator<Item = (u64, u64)>,
        each: impl FnMut(u64, Chunk<'_>) -> io::Result<()>,
    ) -> Result<(), Error> {
        self.guarded(|client| transfer::read(client, ranges, each))
    }

    fn guarded(&mut self, deed: impl FnOnce(&mut Self) -> Result<(), Error>) -> Result<(), Error> {
        if self.spent {
            return Err(Error::Spent);
        }
        let outcome = deed(self);
        self.spent = outcome.is_err();
        outcome
    }

    fn check_range(&self, offset: u64, length: u64) -> Result<(), Error> {
        let size = self.export.size_bytes;
        match offset.checked_add(length) {
            Some(end) if end <= size => Ok(()),
            _ => Err(Error::Range { offset, length, size }),
        }
    }
}

impl Drop for Client {
    /// Says goodbye; a server that is gone already does not mind.
    fn drop(&mut self) {
        if !self.spent {
            let _ = self.wire.send(&wire::request(wire::CMD_DISC, 0, 0, 0), "taking leave");
        }
    }
}
