//! One brick on a local file system: who is where in it, and how a client would see each node.
//!
//! Promises: reads only, with no access time changed where the kernel permits that. No symbolic link is followed, also
//! not those that Gluster keeps as handles of directories: chains of them are walked by hand, so they may be of any depth
//! and a loop in them ends. What a handle or a `trusted.gfid2path.*` says is believed only after the name was found
//! where it is said to be. Never crosses a mount, and never shows what is internal to Gluster.
//!
//! A node can be [`Look::Unsure`]: its names do not add up, because the brick changed that very moment, attributes are
//! of before Gluster 3.12, or a crash left a handle behind. Look again; then [`Reader::find`] all of them in one walk.

mod state;
#[cfg(test)]
mod tests;

use super::Gfid;
use super::part::{Node, NodeName, State, Text};
use crate::model::{Kind, Timestamp, escape_bytes};
use crate::sys::read;
use crate::sys::walk::{self as sys, Stat, XattrCalls, errno};
use lru::LruCache;
use state::{Attribute, Attributes};
use std::collections::{HashMap, HashSet};
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// Directories that a [`Reader`] keeps open: one descriptor each, far below the 1,024 that a process may have by default.
const DIRECTORIES_OPEN_MAX: NonZeroUsize = NonZeroUsize::new(256).expect("it is not 0");
/// Room for names per call: about 2,000 of them.
const NAMES_BYTES: usize = 64 * 1024;
/// Room for lists and values of extended attributes at the first try: the kernel allocates as much per call.
const XATTR_BYTES_FIRST: usize = 512;
/// `XATTR_LIST_MAX` and `XATTR_SIZE_MAX` (`include/uapi/linux/limits.h`): nothing is longer.
const XATTR_BYTES_MAX: usize = 65_536;

/// Why a brick or a node in it cannot be looked at.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The root or `.glusterfs` cannot be opened or read.
    #[error("cannot open the brick {path:?}")]
    Open {
        /// The root.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A directory that carries no mark of a brick: not a brick, not mounted, or the reader is not root.
    #[error("{path:?} is no brick: it shows no {attribute} (root alone sees it, and the brick's disk must be mounted)")]
    Unmarked {
        /// The directory.
        path: PathBuf,
        /// The attribute.
        attribute: &'static str,
    },
    /// A mark with a value that no brick has.
    #[error("{path:?} is no brick: its {attribute} is {found}, expected {expected}")]
    Mark {
        /// The directory.
        path: PathBuf,
        /// The attribute.
        attribute: &'static str,
        /// Its value.
        found: String,
        /// What it has to be.
        expected: String,
    },
    /// A node cannot be read.
    #[error("cannot look at {gfid}")]
    Node {
        /// The node.
        gfid: Gfid,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A handle that is not what its name says.
    #[error("handle {handle:?} is {found}, expected {gfid}")]
    Handle {
        /// Its path below the brick.
        handle: String,
        /// What is there.
        found: String,
        /// What its name says.
        gfid: Gfid,
    },
    /// A node that is somewhere in what the walk for lost names could not read, or nowhere.
    #[error("cannot tell where {gfid} is: {why}, and {unread:?} could not be searched")]
    Nowhere {
        /// The node.
        gfid: Gfid,
        /// Why its names do not add up.
        why: String,
        /// The first directory that the walk could not read.
        unread: String,
    },
}

/// The root of a brick, open. Shared by the readers of a scan.
#[derive(Debug)]
pub struct Brick {
    path: PathBuf,
    root: OwnedFd,
    root_stat: Stat,
    /// `.glusterfs`.
    handles: OwnedFd,
    xattr_calls: XattrCalls,
    volume_id: Gfid,
    /// `trusted.afr.VOLUME-client-`.
    accusation: Vec<u8>,
    fragments: bool,
}

impl Brick {
    /// Opens the brick with its root at `path`, of the volume with the name `volume`; `fragments` as in
    /// [`super::part::Request`].
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
            match sys::get_xattr(xattr_calls, root.as_fd(), None, attribute, &mut value) {
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

    /// Opens the regular file `gfid` for reading, by its handle. None: it is not on this brick.
    ///
    /// # Errors
    /// What opening says.
    pub fn open_file(&self, gfid: Gfid) -> io::Result<Option<File>> {
        match read::open_beneath(self.root.as_fd(), gfid.handle().as_bytes()) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            opened => opened.map(Some),
        }
    }

    /// Tells whether `name` in the directory `parent`, which is `gfid`, is kept from clients.
    ///
    /// `.shard` and `.trashcan` count by their fixed gfids and not by name: where shard and trash were never on, and
    /// where the trash has another name (`features.trash-dir`), a directory of that name is the user's.
    pub fn is_internal(&self, parent: Gfid, name: &[u8], gfid: Gfid) -> bool {
        (parent == Gfid::ROOT && is_internal_name(name)) || self.is_internal_gfid(gfid)
    }

    fn is_internal_gfid(&self, gfid: Gfid) -> bool {
        // `.glusterfs-anonymous-inode-*` (`afr_handle_anon_inode_options`, `xlators/cluster/afr/src/afr.c`).
        let mut anonymous = self.volume_id;
        anonymous.0[0] ^= 1;
        gfid == anonymous || is_fixed_internal(gfid)
    }

    /// Tells whether `stat` lies on another mount than the root.
    fn is_boundary(&self, stat: &Stat) -> bool {
        match (stat.mount, self.root_stat.mount) {
            (Some(mount), Some(root)) => mount != root,
            _ => stat.device != self.root_stat.device,
        }
    }

    /// Returns the gfid of `name` in `dir`, or of `dir` itself; none where there is none.
    fn gfid_at(&self, dir: BorrowedFd<'_>, name: Option<&CStr>) -> io::Result<Option<Gfid>> {
        let mut value = [0; 16];
        match sys::get_xattr(self.xattr_calls, dir, name, c"trusted.gfid", &mut value) {
            Ok(length) => Ok(Gfid::from_bytes(&value[..length])),
            Err(e) if matches!(e.raw_os_error(), Some(errno::ENODATA | errno::ERANGE | errno::EOPNOTSUPP)) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Tells whether `gfid` is a directory of Gluster's own, the same in every volume.
pub(super) fn is_fixed_internal(gfid: Gfid) -> bool {
    matches!(gfid, Gfid::SHARDS | Gfid::SHARDS_TO_REMOVE | Gfid::TRASHCAN)
}

/// Tells whether a name in the root of a brick is Gluster's own whatever its gfid. `.landfill` is what
/// `.glusterfs/landfill` was before 3.3 (`afr_is_private_directory`, `xlators/cluster/afr/src/afr-common.c`).
pub(super) fn is_internal_name(name: &[u8]) -> bool {
    name == b".glusterfs" || name == b".landfill" || name.starts_with(b".glusterfs-anonymous-inode")
}

/// Returns the file whose shard a name in `.shard` tells.
pub(super) fn shard_base(name: &[u8]) -> Option<Gfid> {
    state::parse_shard(name)
}

/// What a name or a handle on the brick is.
#[derive(Debug)]
pub enum Sight {
    /// A node of the volume.
    Node(Box<State>),
    /// Something that has no gfid: put onto the brick by hand, or made this very moment ([`Stat::ctime`] tells).
    Stranger(Stat),
    /// Another file system is mounted there.
    Boundary,
}

/// What the brick knows of a gfid.
#[derive(Debug)]
pub enum Look {
    /// A node with all its names on this brick.
    Node(Box<Node>),
    /// Not on this brick, or without a name.
    Gone,
    /// It has names below internal directories only.
    Internal,
    /// Its names do not add up.
    Unsure {
        /// What was found against what was expected.
        why: String,
        /// Its inode, for what is no directory.
        inode: Option<u64>,
    },
}

/// What a name points to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Occupant {
    /// This node.
    Node(Gfid),
    /// There is no such name, or no such directory on this brick.
    Nobody,
    /// It is kept from clients.
    Internal,
    /// The directory could not be found though it has a handle, and why.
    Unsure(String),
}

/// A directory, open, where it was found.
#[derive(Debug)]
struct Directory {
    fd: OwnedFd,
    /// None for the root.
    at: Option<NodeName>,
    internal: bool,
}

/// Where a directory is.
enum Place {
    Here(Rc<Directory>),
    Absent,
    Stale(String),
}

/// What a handle tells.
enum Handle {
    Absent,
    Directory(NodeName),
    Other,
}

/// What a walk for lost names found.
#[derive(Debug, Default)]
struct Found {
    names: HashMap<u64, Vec<NodeName>>,
    directories: HashMap<Gfid, NodeName>,
    /// The first directory that could not be read.
    unread: Option<String>,
}

/// A stat and the attributes beside it.
struct Inode {
    stat: Stat,
    kind: Kind,
    attributes: Attributes,
    target: Option<Vec<u8>>,
}

impl Inode {
    fn into_state(self, gfid: Gfid, fragments: bool) -> State {
        self.attributes.into_state(gfid, self.kind, &self.stat, self.target, fragments)
    }
}

/// Looks at one node after the other, with the same buffers and the last directories kept open.
#[derive(Debug)]
pub struct Reader<'b> {
    brick: &'b Brick,
    root: Rc<Directory>,
    directories: LruCache<Gfid, Rc<Directory>>,
    found: Option<Found>,
    list: Vec<u8>,
    value: Vec<u8>,
}

impl<'b> Reader<'b> {
    /// Returns the brick.
    pub fn brick(&self) -> &'b Brick {
        self.brick
    }

    /// Returns what `name` in the open directory `dir` is (none: what `dir` itself is).
    ///
    /// **Cost:** one `statx`, one list of extended attributes, one call for each of those that count.
    ///
    /// # Errors
    /// What the system says; `ENOENT` where the name vanished.
    pub fn sight(&mut self, dir: BorrowedFd<'_>, name: Option<&CStr>) -> io::Result<Sight> {
        let inode = self.inode(dir, name, false)?;
        if self.brick.is_boundary(&inode.stat) {
            return Ok(Sight::Boundary);
        }
        Ok(match inode.attributes.gfid {
            Some(gfid) => Sight::Node(Box::new(inode.into_state(gfid, self.brick.fragments))),
            None => Sight::Stranger(inode.stat),
        })
    }

    /// Returns the root of the volume as it is now.
    ///
    /// # Errors
    /// [`Error::Node`].
    pub fn root(&mut self) -> Result<State, Error> {
        let root = Rc::clone(&self.root);
        let inode =
            self.inode(root.fd.as_fd(), None, false).map_err(|source| Error::Node { gfid: Gfid::ROOT, source })?;
        Ok(inode.into_state(Gfid::ROOT, self.brick.fragments))
    }

    /// Returns the node `gfid` as it is now. [`Node::data`] is false.
    ///
    /// # Errors
    /// [`Error::Node`], [`Error::Handle`], and, after a [`Reader::find`] that could not read all, [`Error::Nowhere`].
    pub fn node(&mut self, gfid: Gfid) -> Result<Look, Error> {
        if gfid == Gfid::ROOT {
            return Ok(Look::Node(Box::new(Node { state: self.root()?, names: Vec::new(), data: false, made: false })));
        }
        let fail = |source| Error::Node { gfid, source };
        if let Handle::Directory(_) = self.handle(gfid).map_err(fail)? {
            return self.node_of_directory(gfid);
        }
        let name = handle_name(gfid);
        let inode = match self.inode(self.brick.handles.as_fd(), Some(&name), true) {
            Ok(inode) => inode,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Look::Gone),
            Err(error) => return Err(fail(error)),
        };
        // The last name went, the handle waits for its last user or for nobody.
        if inode.stat.nlink < 2 && inode.kind != Kind::Directory {
            return Ok(Look::Gone);
        }
        if inode.kind == Kind::Directory || inode.attributes.gfid != Some(gfid) {
            let found = match inode.attributes.gfid {
                _ if inode.kind == Kind::Directory => "a directory itself".to_owned(),
                Some(other) => other.to_string(),
                None => "without trusted.gfid".to_owned(),
            };
            return Err(Error::Handle { handle: gfid.handle(), found, gfid });
        }
        self.node_of_names(gfid, inode)
    }

    fn node_of_directory(&mut self, gfid: Gfid) -> Result<Look, Error> {
        let fail = |source| Error::Node { gfid, source };
        match self.directory(gfid).map_err(fail)? {
            Place::Here(dir) if dir.internal => Ok(Look::Internal),
            Place::Here(dir) => {
                let state =
                    self.inode(dir.fd.as_fd(), None, false).map_err(fail)?.into_state(gfid, self.brick.fragments);
                Ok(Look::Node(Box::new(Node {
                    state,
                    names: dir.at.clone().into_iter().collect(),
                    data: false,
                    made: false,
                })))
            }
            Place::Absent => Ok(Look::Gone),
            Place::Stale(why) => {
                // A user's link whose last name went, with a target like a handle's: it carries a gfid, handles do not.
                let own = self.brick.gfid_at(self.brick.handles.as_fd(), Some(&handle_name(gfid)));
                if matches!(own, Ok(Some(_))) {
                    return Ok(Look::Gone);
                }
                self.not_found(gfid, why, None)
            }
        }
    }

    /// Checks the names of what is no directory against the directories and the link count.
    fn node_of_names(&mut self, gfid: Gfid, mut inode: Inode) -> Result<Look, Error> {
        let fail = |source| Error::Node { gfid, source };
        let mut claims = std::mem::take(&mut inode.attributes.names);
        claims.sort();
        claims.dedup();
        let (mut names, mut is_internal) = (Vec::new(), false);
        let mut count = 0;
        for claim in claims {
            let Place::Here(dir) = self.directory(claim.parent).map_err(fail)? else { continue };
            let Ok(name) = CString::new(claim.name.0.as_slice()) else { continue };
            match sys::stat_at(dir.fd.as_fd(), &name) {
                // The link count is of the inode, so names count that lead to it, not those with its gfid.
                Ok(stat) if (stat.device, stat.inode) == (inode.stat.device, inode.stat.inode) => {
                    count += 1;
                    is_internal |= dir.internal;
                    if !dir.internal {
                        names.push(claim);
                    }
                }
                Ok(_) => {}
                Err(e) if is_not_there(&e) => {}
                Err(error) => return Err(fail(error)),
            }
        }
        if let Some(found) = &self.found {
            names.extend(found.names.get(&inode.stat.inode).into_iter().flatten().cloned());
            names.sort();
            names.dedup();
        }
        let expected = inode.stat.nlink - 1;
        // After the walk the names are what they are: the quarantine of bit-rot links to the inode as well.
        if count != expected && (self.found.is_none() || names.is_empty() && !is_internal) {
            let why = format!("{count} of its names are where they should be, the link count expects {expected}");
            return self.not_found(gfid, why, Some(inode.stat.inode));
        }
        if names.is_empty() {
            return Ok(Look::Internal);
        }
        let state = inode.into_state(gfid, self.brick.fragments);
        Ok(Look::Node(Box::new(Node { state, names, data: false, made: false })))
    }

    /// What is left to say of a node that is not where it should be: before the walk that it may be elsewhere, after it
    /// that it is not in the namespace, if the walk saw all of that.
    fn not_found(&self, gfid: Gfid, why: String, inode: Option<u64>) -> Result<Look, Error> {
        match &self.found {
            None => Ok(Look::Unsure { why, inode }),
            Some(Found { unread: None, .. }) => Ok(Look::Gone),
            Some(Found { unread: Some(unread), .. }) => Err(Error::Nowhere { gfid, why, unread: unread.clone() }),
        }
    }

    /// Returns what `name` in the directory `parent` points to now.
    ///
    /// # Errors
    /// [`Error::Node`] of the directory.
    pub fn occupant(&mut self, parent: Gfid, name: &[u8]) -> Result<Occupant, Error> {
        let fail = |source| Error::Node { gfid: parent, source };
        let dir = match self.directory(parent).map_err(fail)? {
            Place::Here(dir) if dir.internal => return Ok(Occupant::Internal),
            Place::Here(dir) => dir,
            Place::Absent => return Ok(Occupant::Nobody),
            Place::Stale(why) => {
                return Ok(match self.not_found(parent, why.clone(), None)? {
                    Look::Unsure { .. } => Occupant::Unsure(why),
                    _ => Occupant::Nobody,
                });
            }
        };
        let Ok(c_name) = CString::new(name) else { return Ok(Occupant::Nobody) };
        if parent == Gfid::ROOT && is_internal_name(name) {
            return Ok(Occupant::Internal);
        }
        match self.brick.gfid_at(dir.fd.as_fd(), Some(&c_name)) {
            Ok(Some(gfid)) if self.brick.is_internal(parent, name, gfid) => Ok(Occupant::Internal),
            Ok(Some(gfid)) => Ok(Occupant::Node(gfid)),
            Ok(None) => Ok(Occupant::Nobody),
            Err(error) if is_not_there(&error) => Ok(Occupant::Nobody),
            Err(error) => Err(fail(error)),
        }
    }

    /// Opens the directory `gfid`, which a walk named as `path` (names joined by `/`), for listing: where it is now, if it
    /// was renamed since. None if it was removed since.
    ///
    /// # Errors
    /// What the system says; `EXDEV` where another file system is mounted.
    pub fn open_walked(&mut self, path: &[u8], gfid: Gfid) -> io::Result<Option<OwnedFd>> {
        let fd = match path {
            b"" => sys::open_beneath(self.brick.root.as_fd(), b"."),
            path => sys::open_beneath(self.brick.root.as_fd(), path),
        };
        match fd {
            Ok(fd) if self.brick.gfid_at(fd.as_fd(), None)? == Some(gfid) => return Ok(Some(fd)),
            Ok(_) => {}
            Err(error) if is_not_there(&error) => {}
            Err(error) => return Err(error),
        }
        match self.directory(gfid)? {
            Place::Here(dir) if dir.internal => Ok(None),
            // Opened anew: a clone would share the place up to which the directory was listed.
            Place::Here(dir) => sys::open_beneath(dir.fd.as_fd(), b".").map(Some),
            Place::Absent => Ok(None),
            Place::Stale(why) => Err(io::Error::other(why)),
        }
    }

    /// Returns the file whose shard `gfid` is, by what the shard itself says; none where it is no shard or does
    /// not say, then with its inode.
    ///
    /// # Errors
    /// [`Error::Node`].
    pub fn base_of_shard(&mut self, gfid: Gfid) -> Result<(Option<Gfid>, Option<u64>), Error> {
        let name = handle_name(gfid);
        match self.inode(self.brick.handles.as_fd(), Some(&name), true) {
            Ok(inode) if inode.kind != Kind::File => Ok((None, None)),
            Ok(inode) => {
                let names = &inode.attributes.names;
                let base =
                    names.iter().find(|at| at.parent == Gfid::SHARDS).and_then(|at| state::parse_shard(&at.name.0));
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

    /// Searches the whole brick for the names of `inodes` and for the places of `directories`, in one walk; from then on
    /// nodes and occupants are told by what it found, and are not [`Look::Unsure`] any more.
    ///
    /// **Cost:** one listing and one attribute per directory; no call per file where the file system tells kinds in
    /// listings.
    pub fn find(&mut self, inodes: &HashSet<u64>, directories: &HashSet<Gfid>) {
        let mut found = Found::default();
        // Depth first: `chain` holds where the directories above the current one are.
        let mut stack: Vec<(usize, Vec<u8>)> = vec![(0, Vec::new())];
        let mut chain: Vec<(Gfid, NodeName)> = Vec::new();
        let mut buffer = vec![0; NAMES_BYTES];
        while let Some((depth, path)) = stack.pop() {
            chain.truncate(depth.saturating_sub(1));
            match self.find_in(&path, depth, &mut chain, &mut buffer, inodes, &mut found) {
                Ok(children) => {
                    if depth > 0 && chain.len() == depth && directories.contains(&chain[depth - 1].0) {
                        found.directories.extend(chain.iter().cloned());
                    }
                    stack.extend(children.into_iter().map(|child| (depth + 1, child)));
                }
                Err(error) if is_not_there(&error) => {}
                Err(_) => drop(found.unread.get_or_insert_with(|| escape_bytes(&path).into_owned())),
            }
        }
        self.directories.clear();
        self.found = Some(found);
    }

    /// Reads one directory of the walk and returns the paths of those in it.
    fn find_in(
        &self,
        path: &[u8],
        depth: usize,
        chain: &mut Vec<(Gfid, NodeName)>,
        buffer: &mut [u8],
        inodes: &HashSet<u64>,
        found: &mut Found,
    ) -> io::Result<Vec<Vec<u8>>> {
        let mut children = Vec::new();
        let root = self.brick.root.as_fd();
        let fd = sys::open_beneath(root, if depth == 0 { b"." } else { path })?;
        let gfid = match self.brick.gfid_at(fd.as_fd(), None)? {
            Some(gfid) if !self.brick.is_internal_gfid(gfid) => gfid,
            _ => return Ok(children),
        };
        if depth > 0 {
            let parent = chain.last().map_or(Gfid::ROOT, |above| above.0);
            let name = path.rsplit(|b| *b == b'/').next().unwrap_or_default();
            chain.push((gfid, NodeName { parent, name: Text(name.to_vec()) }));
        }
        loop {
            let entries = sys::read_directory(fd.as_fd(), buffer)?;
            if entries.is_end() {
                return Ok(children);
            }
            for (inode, kind, name) in entries.iter_kinds() {
                let bytes = name.to_bytes();
                if depth == 0 && is_internal_name(bytes) {
                    continue;
                }
                let kind = match kind {
                    Some(kind) => Some(kind),
                    None => sys::stat_at(fd.as_fd(), name).ok().and_then(|stat| Kind::from_mode(stat.mode)),
                };
                if kind == Some(Kind::Directory) {
                    children.push(join(path, bytes));
                } else if inodes.contains(&inode) {
                    found.names.entry(inode).or_default().push(NodeName { parent: gfid, name: Text(bytes.to_vec()) });
                }
            }
        }
    }

    /// Opens the directory `gfid` where its handle and those above it say that it is.
    fn directory(&mut self, gfid: Gfid) -> io::Result<Place> {
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
        match self.brick.gfid_at(fd.as_fd(), None)? {
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
    fn handle(&self, gfid: Gfid) -> io::Result<Handle> {
        if let Some(place) = self.found.as_ref().and_then(|found| found.directories.get(&gfid)) {
            return Ok(Handle::Directory(place.clone()));
        }
        let name = handle_name(gfid);
        let handles = self.brick.handles.as_fd();
        let read = sys::stat_at(handles, &name).and_then(|stat| match Kind::from_mode(stat.mode) {
            Some(Kind::Symlink) if stat.nlink == 1 => sys::read_link(handles, &name, stat.size_bytes).map(Some),
            _ => Ok(None),
        });
        match read {
            Ok(Some(target)) => Ok(state::parse_handle(&target).map_or(Handle::Other, Handle::Directory)),
            Ok(None) => Ok(Handle::Other),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Handle::Absent),
            Err(error) => Err(error),
        }
    }

    /// Reads all that counts of `name` in `dir`, or of `dir` itself; the names that it claims only if `names` are wanted.
    fn inode(&mut self, dir: BorrowedFd<'_>, name: Option<&CStr>, names: bool) -> io::Result<Inode> {
        let brick = self.brick;
        let stat = match name {
            Some(name) => sys::stat_at(dir, name)?,
            None => sys::stat_fd(dir)?,
        };
        let Some(kind) = Kind::from_mode(stat.mode) else {
            return Err(io::Error::other(format!("mode {:o} names no type of file", stat.mode)));
        };
        let mut attributes = Attributes::default();
        let mut target = None;
        if let (Kind::Symlink, Some(name)) = (kind, name) {
            match sys::read_link(dir, name, stat.size_bytes) {
                Ok(bytes) => target = Some(bytes),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(error),
                Err(error) => attributes.lacks(format!("target of the link: {error}")),
            }
        }
        let length = fit(&mut self.list, |room| sys::list_xattrs(brick.xattr_calls, dir, name, room))?;
        for attribute in self.list[..length].split_inclusive(|b| *b == 0) {
            let Ok(attribute) = CStr::from_bytes_with_nul(attribute) else { continue };
            let bytes = attribute.to_bytes();
            let what = Attribute::of(bytes, &brick.accusation);
            if what == Attribute::Hidden || (what == Attribute::Path && !names) {
                continue;
            }
            match fit(&mut self.value, |room| sys::get_xattr(brick.xattr_calls, dir, name, attribute, room)) {
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

/// Returns `path` with `name` below it.
pub(super) fn join(path: &[u8], name: &[u8]) -> Vec<u8> {
    let mut joined = Vec::with_capacity(path.len() + 1 + name.len());
    joined.extend_from_slice(path);
    if !path.is_empty() {
        joined.push(b'/');
    }
    joined.extend_from_slice(name);
    joined
}

/// Returns where the handle of `gfid` is, below `.glusterfs`.
fn handle_name(gfid: Gfid) -> CString {
    let handle = gfid.handle();
    CString::new(&handle[".glusterfs/".len()..]).expect("hexadecimal digits have no zero byte")
}

/// Tells whether an error says that the name is not there, or is no directory to be passed.
fn is_not_there(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(errno::ENOENT | errno::ENOTDIR | errno::ELOOP))
}

/// Calls with little room, and with all that there can be where that is too small.
fn fit(buffer: &mut [u8], mut call: impl FnMut(&mut [u8]) -> io::Result<usize>) -> io::Result<usize> {
    match call(&mut buffer[..XATTR_BYTES_FIRST]) {
        Err(error) if error.raw_os_error() == Some(errno::ERANGE) => call(buffer),
        done => done,
    }
}
