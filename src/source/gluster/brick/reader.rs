//! Gets about in a brick: from a gfid to its handle, from handles to the directory, from a name to all that counts of an
//! inode.
//!
//! Promises: a handle is believed only after the name was found where it is said to be; chains of handles may be of any
//! depth, and a loop in them ends. At most [`DIRECTORIES_OPEN_MAX`] directories are kept open.

use super::error::Error;
use super::names::handle_name;
use super::root::Brick;
use super::state::{self, Attribute, Attributes};
use crate::model::{Kind, escape_bytes};
use crate::source::gluster::Gfid;
use crate::source::gluster::part::{NodeName, State};
use crate::sys::walk::{self as sys, FileAt, Stat, errno};
use lru::LruCache;
use std::collections::{HashMap, HashSet};
use std::ffi::CStr;
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

/// Directories that a [`Reader`] keeps open: one descriptor each, far below the 1,024 that a process may have by default.
const DIRECTORIES_OPEN_MAX: NonZeroUsize = NonZeroUsize::new(256).expect("it is not 0");
/// Room for names per call: about 2,000 of them.
pub(super) const NAMES_BYTES: usize = 64 * 1024;
/// Room for lists and values of extended attributes at the first try: the kernel allocates as much per call.
const XATTR_BYTES_FIRST: usize = 512;
/// `XATTR_LIST_MAX` and `XATTR_SIZE_MAX` (`include/uapi/linux/limits.h`): nothing is longer.
const XATTR_BYTES_MAX: usize = 65_536;

/// How long ago a file must have changed last to be known not to have changed since: clocks go in steps.
const STILL_S: i64 = 3;
/// How often a file is looked at whose permissions change at each look.
const LOOKS_MAX: usize = 8;

/// A directory, open, where it was found.
#[derive(Debug)]
pub(super) struct Directory {
    pub(super) fd: OwnedFd,
    /// None for the root.
    pub(super) at: Option<NodeName>,
    pub(super) internal: bool,
}

/// Where a directory is.
pub(super) enum Place {
    Here(Rc<Directory>),
    Absent,
    Stale(String),
}

/// What a handle tells.
pub(super) enum Handle {
    Absent,
    Directory(NodeName),
    Other,
}

/// What a walk for lost names found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) names: HashMap<u64, Vec<NodeName>>,
    pub(super) directories: HashMap<Gfid, NodeName>,
    /// The first directory that could not be read.
    pub(super) unread: Option<String>,
}

/// A stat and the attributes beside it.
pub(super) struct Inode {
    pub(super) stat: Stat,
    pub(super) kind: Kind,
    pub(super) attributes: Attributes,
    target: Option<Vec<u8>>,
}

impl Inode {
    pub(super) fn into_state(self, gfid: Gfid, fragments: bool) -> State {
        self.attributes.into_state(gfid, self.kind, &self.stat, self.target, fragments)
    }
}

/// Looks at one node after the other, with the same buffers and the last directories kept open.
#[derive(Debug)]
pub struct Reader<'b> {
    pub(super) brick: &'b Brick,
    pub(super) root: Rc<Directory>,
    pub(super) directories: LruCache<Gfid, Rc<Directory>>,
    pub(super) found: Option<Found>,
    list: Vec<u8>,
    value: Vec<u8>,
}

impl Brick {
    /// Returns a reader of it; one per thread.
    ///
    /// # Errors
    /// [`Error::Open`] if no further descriptor can be had.
    pub fn reader(&self) -> Result<Reader<'_>, Error> {
        let fail = |source| Error::Open { path: self.path.clone(), source };
        let fd = self.root.try_clone().map_err(fail)?;
        Ok(Reader {
            brick: self,
            root: Rc::new(Directory { fd, at: None, internal: false }),
            directories: LruCache::new(DIRECTORIES_OPEN_MAX),
            found: None,
            list: vec![0; XATTR_BYTES_MAX],
            value: vec![0; XATTR_BYTES_MAX],
        })
    }
}

impl<'b> Reader<'b> {
    /// Returns the brick.
    pub fn brick(&self) -> &'b Brick {
        self.brick
    }
}

impl Reader<'_> {
    /// Opens the directory `gfid` where its handle and those above it say that it is.
    pub(super) fn directory(&mut self, gfid: Gfid) -> io::Result<Place> {
        let mut chain = Vec::new();
        let mut seen = HashSet::new();
        let mut at = gfid;
        let mut dir = loop {
            if at == Gfid::ROOT {
                break Rc::clone(&self.root);
            }
            if let Some(dir) = self.directories.get(&at) {
                break Rc::clone(dir);
            }
            if !seen.insert(at) {
                return Ok(Place::Stale(format!("the handles of directories form a loop through {at}")));
            }
            match self.handle(at)? {
                Handle::Directory(place) => {
                    let parent = place.parent;
                    chain.push((at, place));
                    at = parent;
                }
                _ if chain.is_empty() => return Ok(Place::Absent),
                Handle::Absent => return Ok(Place::Stale(format!("directory {at} above it has no handle"))),
                Handle::Other => return Ok(Place::Stale(format!("{at}, which should be above it, is no directory"))),
            }
        };
        for (gfid, place) in chain.into_iter().rev() {
            match self.step(&dir, gfid, place)? {
                Ok(below) => {
                    dir = Rc::new(below);
                    self.directories.put(gfid, Rc::clone(&dir));
                }
                Err(why) => return Ok(Place::Stale(why)),
            }
        }
        Ok(Place::Here(dir))
    }

    /// Opens the directory `gfid` at `place` in `parent`, or says why it is not there.
    fn step(&self, parent: &Directory, gfid: Gfid, place: NodeName) -> io::Result<Result<Directory, String>> {
        let name = &place.name.0;
        let is_there = |what: String| format!("directory {gfid} is not at {:?}: {what}", escape_bytes(name));
        let fd = match sys::open_beneath(parent.fd.as_fd(), name) {
            Ok(fd) => fd,
            Err(error) if is_not_there(&error) || error.raw_os_error() == Some(errno::EXDEV) => {
                return Ok(Err(is_there(error.to_string())));
            }
            Err(error) => return Err(error),
        };
        match self.brick.gfid_of(FileAt::Open(fd.as_fd()))? {
            Some(found) if found == gfid => {}
            Some(other) => return Ok(Err(is_there(format!("{other} is there")))),
            None => return Ok(Err(is_there("what is there has no trusted.gfid".to_owned()))),
        }
        let internal = parent.internal || self.brick.is_internal(place.parent, name, gfid);
        Ok(Ok(Directory { fd, at: Some(place), internal }))
    }

    /// Reads the handle of `gfid`.
    ///
    /// The handle of a directory is a symbolic link with one name, its own. A user's symbolic link is one too,
    /// hard linked: it has a second name, and its target means nothing here.
    pub(super) fn handle(&self, gfid: Gfid) -> io::Result<Handle> {
        if let Some(place) = self.found.as_ref().and_then(|found| found.directories.get(&gfid)) {
            return Ok(Handle::Directory(place.clone()));
        }
        let name = handle_name(gfid);
        let handles = self.brick.handles.as_fd();
        let read = sys::stat_at(handles, &name).and_then(|stat| match Kind::from_mode(stat.mode) {
            Some(Kind::Symlink) if stat.nlink == 1 => {
                sys::read_link(FileAt::Named(handles, &name), stat.size_bytes).map(Some)
            }
            _ => Ok(None),
        });
        match read {
            Ok(Some(target)) => Ok(state::parse_handle(&target).map_or(Handle::Other, Handle::Directory)),
            Ok(None) => Ok(Handle::Other),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Handle::Absent),
            Err(error) => Err(error),
        }
    }

    /// Reads all that counts of the file at `at`, as it was at one moment; the names that it claims only if `names` are wanted.
    pub(super) fn inode(&mut self, at: FileAt<'_>, names: bool) -> io::Result<Inode> {
        let FileAt::Named(dir, name) = at else { return self.inode_of_held(at, names) };
        let began = sys::stamp_clock();
        let inode = self.look_once(at, names)?;
        // Whoever exchanges names sets the ctimes of what has them.
        let stood_still = inode.stat.ctime.seconds < began.seconds.saturating_sub(STILL_S);
        if stood_still && sys::stat_of(at)? == inode.stat {
            return Ok(inode);
        }
        let held = sys::hold(dir, name)?;
        self.inode_of_held(FileAt::Held(held.as_fd()), names)
    }

    fn inode_of_held(&mut self, at: FileAt<'_>, names: bool) -> io::Result<Inode> {
        let owner = |stat: &Stat| (stat.mode, stat.uid, stat.gid);
        for _ in 1..LOOKS_MAX {
            let inode = self.look_once(at, names)?;
            if owner(&sys::stat_of(at)?) == owner(&inode.stat) {
                return Ok(inode);
            }
        }
        // Mode and ACL of two moments may let in whom neither did.
        let mut inode = self.look_once(at, names)?;
        inode.attributes.lacks("its permissions were others at each look".to_owned());
        Ok(inode)
    }

    fn look_once(&mut self, at: FileAt<'_>, names: bool) -> io::Result<Inode> {
        let brick = self.brick;
        let stat = sys::stat_of(at)?;
        let Some(kind) = Kind::from_mode(stat.mode) else {
            return Err(io::Error::other(format!("mode {:o} is not a type of file", stat.mode)));
        };
        let mut attributes = Attributes::default();
        let mut target = None;
        if kind == Kind::Symlink {
            match sys::read_link(at, stat.size_bytes) {
                Ok(bytes) => target = Some(bytes),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(error),
                Err(error) => attributes.lacks(format!("target of the link: {error}")),
            }
        }
        let length = fit(&mut self.list, |room| sys::list_xattrs(brick.xattr_calls, at, room))?;
        for attribute in self.list[..length].split_inclusive(|b| *b == 0) {
            let Ok(attribute) = CStr::from_bytes_with_nul(attribute) else { continue };
            let bytes = attribute.to_bytes();
            let what = Attribute::of(bytes, &brick.accusation);
            if what == Attribute::Hidden || (what == Attribute::Path && !names) {
                continue;
            }
            match fit(&mut self.value, |room| sys::get_xattr(brick.xattr_calls, at, attribute, room)) {
                Ok(length) => attributes.take(what, bytes, &self.value[..length]),
                // Removed since it was listed.
                Err(e) if matches!(e.raw_os_error(), Some(errno::ENODATA | errno::EOPNOTSUPP)) => {}
                Err(error) if what == Attribute::Gfid || error.kind() == io::ErrorKind::NotFound => return Err(error),
                Err(error) => attributes.lacks(format!("{}: {error}", escape_bytes(bytes))),
            }
        }
        Ok(Inode { stat, kind, attributes, target })
    }
}

/// Tells whether an error says that the name is not there, or is no directory to be passed.
pub(super) fn is_not_there(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(errno::ENOENT | errno::ENOTDIR | errno::ELOOP))
}

/// Calls with little room, and with all that there can be where that is too small.
fn fit(buffer: &mut [u8], mut call: impl FnMut(&mut [u8]) -> io::Result<usize>) -> io::Result<usize> {
    match call(&mut buffer[..XATTR_BYTES_FIRST]) {
        Err(error) if error.raw_os_error() == Some(errno::ERANGE) => call(buffer),
        done => done,
    }
}
