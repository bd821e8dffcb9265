//! The root of a brick, open: of which volume it is, what is internal in it, and where it ends.
//!
//! Promises: a directory that carries no mark of a brick is refused. Never crosses a mount.

use super::error::Error;
use super::names::{is_fixed_internal, is_internal_name};
use crate::source::gluster::Gfid;
use crate::source::gluster::part::Unhealed;
use crate::sys::read;
use crate::sys::walk::{self as sys, FileAt, Stat, Whereabouts, XattrCalls, errno};
use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Room for names per call of a listing: about 1,000 gfids.
const INDEX_BYTES: usize = 64 * 1024;

/// The root of a brick, open. Shared by the readers of a scan.
#[derive(Debug)]
pub struct Brick {
    pub(super) path: PathBuf,
    pub(super) root: OwnedFd,
    root_stat: Stat,
    /// `.glusterfs`.
    pub(super) handles: OwnedFd,
    pub(super) xattr_calls: XattrCalls,
    volume_id: Gfid,
    /// `trusted.afr.VOLUME-client-`.
    pub(super) accusation: Vec<u8>,
    pub(super) fragments: bool,
}

impl Brick {
    /// Opens the brick with its root at `path`, of the volume with the name `volume`; `fragments` as in
    /// [`crate::source::gluster::part::Request`].
    ///
    /// # Errors
    /// [`Error::Open`], [`Error::Unmarked`] or [`Error::Mark`].
    pub fn open(path: &Path, volume: &str, fragments: bool) -> Result<Self, Error> {
        let fail = |source| Error::Open { path: path.to_owned(), source };
        let root = sys::open_root(path).map_err(fail)?;
        let root_stat = sys::stat_fd(root.as_fd()).map_err(fail)?;
        let xattr_calls = sys::probe_xattr_calls(root.as_fd());
        let mark = |attribute: &'static CStr| {
            let name = attribute.to_str().expect("the names of marks are ASCII");
            let mut value = [0; 64];
            match sys::get_xattr(xattr_calls, FileAt::Open(root.as_fd()), attribute, &mut value) {
                Ok(length) => match Gfid::from_bytes(&value[..length]) {
                    Some(gfid) => Ok(gfid),
                    None => Err(Error::Mark {
                        path: path.to_owned(),
                        attribute: name,
                        found: format!("{length} bytes"),
                        expected: "16".to_owned(),
                    }),
                },
                Err(e) if matches!(e.raw_os_error(), Some(errno::ENODATA | errno::EOPNOTSUPP)) => {
                    Err(Error::Unmarked { path: path.to_owned(), attribute: name })
                }
                Err(source) => Err(fail(source)),
            }
        };
        let volume_id = mark(c"trusted.glusterfs.volume-id")?;
        let gfid = mark(c"trusted.gfid")?;
        if gfid != Gfid::ROOT {
            return Err(Error::Mark {
                path: path.to_owned(),
                attribute: "trusted.gfid",
                found: gfid.to_string(),
                expected: Gfid::ROOT.to_string(),
            });
        }
        let handles = sys::open_beneath(root.as_fd(), b".glusterfs").map_err(fail)?;
        let accusation = format!("trusted.afr.{volume}-client-").into_bytes();
        Ok(Self { path: path.to_owned(), root, root_stat, handles, xattr_calls, volume_id, accusation, fragments })
    }

    /// Returns the path that it was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the id of the volume that it is of.
    pub fn volume_id(&self) -> Gfid {
        self.volume_id
    }

    /// Opens the regular file `gfid` for reading, by its handle. None: it is not on this brick.
    ///
    /// # Errors
    /// What opening says.
    pub fn open_file(&self, gfid: Gfid) -> io::Result<Option<File>> {
        match read::open_beneath(self.root.as_fd(), gfid.handle().as_bytes(), read::Mounts::Crossed) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            opened => opened.map(Some),
        }
    }

    /// Returns of which nodes this brick knows that copies of them are to be healed (`indices/xattrop`, where a name is a gfid; the
    /// file that all of them are links to is another one).
    ///
    /// # Errors
    /// What listing says.
    pub fn unhealed(&self) -> io::Result<Unhealed> {
        let index = match sys::open_beneath(self.handles.as_fd(), b"indices/xattrop") {
            Ok(index) => index,
            // A volume without copies has none.
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Unhealed::default()),
            Err(e) => return Err(e),
        };
        let mut buffer = vec![0; INDEX_BYTES];
        let mut unhealed = Unhealed::default();
        loop {
            let entries = sys::read_directory(index.as_fd(), &mut buffer)?;
            if entries.is_end() {
                return Ok(unhealed);
            }
            for gfid in entries.iter().filter_map(|(_, name)| name.to_str().ok()?.parse().ok()) {
                unhealed.add(gfid);
            }
        }
    }

    /// Tells whether `name` in the directory `parent`, which is `gfid`, is kept from clients.
    ///
    /// `.shard` and `.trashcan` count by their fixed gfids and not by name: where shard and trash were never on, and
    /// where the trash has another name (`features.trash-dir`), a directory of that name is the user's.
    pub fn is_internal(&self, parent: Gfid, name: &[u8], gfid: Gfid) -> bool {
        (parent == Gfid::ROOT && is_internal_name(name)) || self.is_internal_gfid(gfid)
    }

    pub(super) fn is_internal_gfid(&self, gfid: Gfid) -> bool {
        // `.glusterfs-anonymous-inode-*` (`afr_handle_anon_inode_options`, `xlators/cluster/afr/src/afr.c`).
        let mut anonymous = self.volume_id;
        anonymous.0[0] ^= 1;
        gfid == anonymous || is_fixed_internal(gfid)
    }

    /// Tells whether what lies at `place` is on another mount than the root.
    pub(super) fn is_boundary(&self, place: Whereabouts) -> bool {
        place.is_beyond(&self.root_stat.whereabouts())
    }

    /// Returns the gfid of the file at `at`; none where there is none.
    pub(super) fn gfid_of(&self, at: FileAt<'_>) -> io::Result<Option<Gfid>> {
        let mut value = [0; 16];
        match sys::get_xattr(self.xattr_calls, at, c"trusted.gfid", &mut value) {
            Ok(length) => Ok(Gfid::from_bytes(&value[..length])),
            Err(e) if matches!(e.raw_os_error(), Some(errno::ENODATA | errno::ERANGE | errno::EOPNOTSUPP)) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
