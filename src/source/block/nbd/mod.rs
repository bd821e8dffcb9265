//! A disk that a server gives over the network block device protocol: what of it is allocated or dirty, and its bytes.
//!
//! Promises: nothing but reading is ever asked for; of the commands of the protocol only READ, BLOCK_STATUS and DISC are
//! sent. Every length and place that the server says is checked against what was asked, and a range is whole when a call
//! returns, or the call fails. A server that says nothing for [`Options::timeout`] is given up.
//! Never asks the same connection again after an error: where in the stream it is nobody knows then.
//!
//! Source of the protocol: `doc/proto.md` of NetworkBlockDevice/nbd (2025), and of the names of QEMU's dirty bitmaps
//! `docs/interop/nbd.rst` of QEMU 10.0.

mod error;
mod export;
mod handshake;
mod options;
mod place;
mod session;
#[cfg(test)]
mod tests;
mod tls;
mod transfer;
mod uri;
mod wire;

pub use error::Error;
use export::FLAG_READ_ONLY;
pub use export::{BASE_ALLOCATION, Chunk, STATE_DIRTY, STATE_HOLE, STATE_ZERO, Status};
pub use options::Options;
pub use place::Place;
use session::Session;
use std::io;
use tls::Tls;
pub use uri::Uri;
use wire::Wire;

/// An export of a server, open for reading.
pub struct Client {
    session: Session,
    spent: bool,
}

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
        Ok(Self { session: Session { wire, export, next_handle: 1 }, spent: false })
    }

    /// Returns the size of the disk in bytes.
    pub fn size_bytes(&self) -> u64 {
        self.session.export.size_bytes
    }

    /// Returns the transmission flags (`NBD_FLAG_*`) of the export.
    pub fn flags(&self) -> u16 {
        self.session.export.flags
    }

    /// Tells whether the server lets nobody write to this export. A disk that can be written to may change while it is read.
    pub fn is_read_only(&self) -> bool {
        self.session.export.flags & FLAG_READ_ONLY != 0
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
        self.session.check_range(offset, length)?;
        let Some(id) = self.session.export.contexts.get(context).copied() else {
            let there = self.session.export.contexts.keys().cloned().collect();
            let export = self.session.export.name.clone();
            return Err(Error::NoContext { export, context: context.to_owned(), there });
        };
        self.guarded(|session| transfer::status(session, id, offset, length, each))
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
        self.guarded(|session| transfer::read(session, ranges, each))
    }

    fn guarded(&mut self, deed: impl FnOnce(&mut Session) -> Result<(), Error>) -> Result<(), Error> {
        if self.spent {
            return Err(Error::Spent);
        }
        let outcome = deed(&mut self.session);
        self.spent = outcome.is_err();
        outcome
    }
}

impl Drop for Client {
    /// Says goodbye; a server that is gone already does not mind.
    fn drop(&mut self) {
        if !self.spent {
            let _ = self.session.wire.send(&wire::request(wire::CMD_DISC, 0, 0, 0), "taking leave");
        }
    }
}
