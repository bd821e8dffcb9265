//! Shards: of which file each is, and when it changed last.
//! Not at all where shards were never on.

use super::error::Error;
use super::names::{handle_name, shard_base};
use super::reader::{NAMES_BYTES, Place, Reader};
use crate::model::{Kind, Timestamp};
use crate::source::gluster::Gfid;
use crate::sys::walk::{self as sys, FileAt};
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

impl Reader<'_> {
    /// Returns the file whose shard `gfid` is, by what the shard itself says; none where it is no shard or does
    /// not say, then with its inode.
    ///
    /// # Errors
    /// [`Error::Node`].
    pub fn base_of_shard(&mut self, gfid: Gfid) -> Result<(Option<Gfid>, Option<u64>), Error> {
        let name = handle_name(gfid);
        match self.inode(FileAt::Named(self.brick.handles.as_fd(), &name), true) {
            Ok(inode) if inode.kind != Kind::File => Ok((None, None)),
            Ok(inode) => {
                let names = &inode.attributes.names;
                let base = names.iter().find(|at| at.parent == Gfid::SHARDS).and_then(|at| shard_base(&at.name.0));
                Ok((base, names.is_empty().then_some(inode.stat.inode)))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok((None, None)),
            Err(source) => Err(Error::Node { gfid, source }),
        }
    }

    /// Calls `each` for inode and name of every shard on this brick but the first ones. Not at all where shards were
    /// never on.
    ///
    /// # Errors
    /// [`Error::Node`] of `.shard`.
    pub fn list_shards(&mut self, each: &mut dyn FnMut(u64, &[u8])) -> Result<(), Error> {
        self.each_shard(&mut |_, inode, name| {
            each(inode, name.to_bytes());
            Ok(())
        })
    }

    /// Calls `each` for every shard on this brick with the file that it is of and when its inode changed last.
    ///
    /// **Cost:** one `statx` a shard.
    ///
    /// # Errors
    /// [`Error::Node`] if they cannot be listed.
    pub fn stamp_shards(&mut self, each: &mut dyn FnMut(Gfid, Timestamp)) -> Result<(), Error> {
        self.each_shard(&mut |dir, _, name| {
            let Some(base) = shard_base(name.to_bytes()) else { return Ok(()) };
            match sys::stat_at(dir, name) {
                Ok(stat) => each(base, stat.ctime),
                // Removed since it was listed.
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(e),
            }
            Ok(())
        })
    }

    /// Calls `each` for every name in `.shard`, with that directory and the inode.
    fn each_shard(&mut self, each: &mut dyn FnMut(BorrowedFd<'_>, u64, &CStr) -> io::Result<()>) -> Result<(), Error> {
        let fail = |source| Error::Node { gfid: Gfid::SHARDS, source };
        let Place::Here(dir) = self.directory(Gfid::SHARDS).map_err(fail)? else { return Ok(()) };
        let fd = sys::open_beneath(dir.fd.as_fd(), b".").map_err(fail)?;
        let mut buffer = vec![0; NAMES_BYTES];
        loop {
            let entries = sys::read_directory(fd.as_fd(), &mut buffer).map_err(fail)?;
            if entries.is_end() {
                return Ok(());
            }
            for (inode, name) in entries.iter() {
                each(fd.as_fd(), inode, name).map_err(fail)?;
            }
        }
    }

    /// Returns when the inode of the node `gfid`, which is no directory, changed last by the brick's clock; none where it is
    /// not on this brick.
    ///
    /// # Errors
    /// [`Error::Node`].
    pub fn inode_changed(&mut self, gfid: Gfid) -> Result<Option<Timestamp>, Error> {
        match sys::stat_at(self.brick.handles.as_fd(), &handle_name(gfid)) {
            Ok(stat) => Ok(Some(stat.ctime)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Error::Node { gfid, source }),
        }
    }

    /// Tells whether this brick has shards.
    ///
    /// # Errors
    /// [`Error::Node`] of `.shard`.
    pub fn has_shards(&mut self) -> Result<bool, Error> {
        let place = self.directory(Gfid::SHARDS).map_err(|source| Error::Node { gfid: Gfid::SHARDS, source })?;
        Ok(!matches!(place, Place::Absent))
    }
}
