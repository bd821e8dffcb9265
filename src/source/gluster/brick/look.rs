//! What a node is, which names it has, and what a name points to.
//!
//! Promises: what is told as a node has all its names on this brick; where they do not add up that is said, with what to
//! search for.

use super::error::Error;
use super::names::{handle_name, is_internal_name};
use super::reader::{Found, Handle, Inode, Place, Reader, is_not_there};
use crate::model::Kind;
use crate::source::gluster::Gfid;
use crate::source::gluster::part::{Node, State};
use crate::sys::walk::{self as sys, FileAt, Stat};
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

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

impl Reader<'_> {
    /// Returns what the file at `at` is.
    ///
    /// **Cost:** three `statx`, one list of extended attributes, one call for each of those that count; of what changed just now twice
    /// as much.
    ///
    /// # Errors
    /// What the system says; `ENOENT` where the name vanished.
    pub fn sight(&mut self, at: FileAt<'_>) -> io::Result<Sight> {
        // Before anything is asked of it: what somebody mounted here may never answer.
        if self.brick.is_boundary(sys::whereabouts(at)?) {
            return Ok(Sight::Boundary);
        }
        let inode = self.inode(at, false)?;
        if self.brick.is_boundary(inode.stat.whereabouts()) {
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
        let inode = self
            .inode(FileAt::Open(root.fd.as_fd()), false)
            .map_err(|source| Error::Node { gfid: Gfid::ROOT, source })?;
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
        let inode = match self.inode(FileAt::Named(self.brick.handles.as_fd(), &name), true) {
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
                let state = self
                    .inode(FileAt::Open(dir.fd.as_fd()), false)
                    .map_err(fail)?
                    .into_state(gfid, self.brick.fragments);
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
                let own = self.brick.gfid_of(FileAt::Named(self.brick.handles.as_fd(), &handle_name(gfid)));
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
        match self.brick.gfid_of(FileAt::Named(dir.fd.as_fd(), &c_name)) {
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
            Ok(fd) if self.brick.gfid_of(FileAt::Open(fd.as_fd()))? == Some(gfid) => return Ok(Some(fd)),
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
}
