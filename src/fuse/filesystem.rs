//! The kernel's questions, each turned into one call of the view.
//!
//! Promises: nothing here waits for a store. What is in memory or in the local catalog is answered on the
//! spot; everything else goes to the store's lane together with the reply object. Inode numbers and
//! file handles carry no state, forgetting is ignored. Whatever would change something is EROFS; the kernel asks for none of it unless
//! somebody remounted it read-write.

use super::ahead::Ahead;
use super::answer::{Ticket, fail};
use super::aside::Aside;
use super::backing::{Backings, Opened};
use super::convert::{self, FOREVER};
use super::lane::Lanes;
use super::turns::Names;
use crate::model::StoreId;
use crate::store::OpenFile;
use crate::view::{self, Caller, Content, Ino, Looked, Stat, Tree, Ttl};
use fuser::{
    BsdFileFlags, Errno, FileHandle, Filesystem, FopenFlags, Generation, INodeNo, InitFlags, KernelConfig, LockOwner,
    OpenAccMode, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyDirectoryPlus,
    ReplyEmpty, ReplyEntry, ReplyLseek, ReplyOpen, ReplyStatfs, ReplyWrite, ReplyXattr, Request, TimeOrNow, WriteFlags,
};
use std::cell::RefCell;
use std::ffi::OsStr;
use std::io;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

/// Inode numbers are never used again for something else.
const GENERATION: Generation = Generation(0);
/// Reads that the kernel sends before it waits for answers, of all stores together. So many of a store that is slow hold up those
/// of the others. Each may hold 1 MiB of memory of its reader.
const MAX_BACKGROUND: u16 = 1024;
/// The names of POSIX ACLs begin so.
const ACLS: &[u8] = b"system.posix_acl_";
/// `lseek(2)`; the protocol sends these two only.
const SEEK_DATA: i32 = 3;
const SEEK_HOLE: i32 = 4;

/// What a mount does about extended attributes. The kernel is told once, when it is mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Attributes {
    pub(super) xattrs: Xattrs,
    /// Whether ACLs decide on access (FUSE_POSIX_ACL). The kernel then asks for the ACL of each file of which somebody asks it.
    pub(super) enforces_acls: bool,
}

/// How a mount answers for extended attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Xattrs {
    /// `user.asof.*` by name only; the kernel asks once for a list.
    VirtualOnly,
    /// As recorded.
    Recorded,
    /// Only ACLs, by name only, so that the kernel lets them decide on access.
    AccessOnly,
}

/// What the loops, the lanes and the mount share.
pub(super) struct Shared {
    pub(super) tree: Arc<Tree>,
    pub(super) lanes: Arc<Lanes>,
    pub(super) ahead: Option<Ahead>,
    pub(super) aside: Aside,
    pub(super) attributes: Attributes,
    pub(super) is_passthrough: AtomicBool,
    pub(super) backings: Backings,
}

pub(super) struct AsofFilesystem(pub(super) Arc<Shared>);

thread_local! {
    /// Bytes on their way from the page cache to the kernel; grows to the largest read of this loop (1 MiB).
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl Shared {
    fn entry(&self, found: Result<(Stat, Ttl), view::Error>, parent: Ino, reply: ReplyEntry) {
        match found.and_then(|found| self.guarded(found.0).map(|_| found)) {
            Ok((stat, ttl)) => reply.entry(&convert::duration(ttl), &convert::attributes(&stat), GENERATION),
            Err(e) => fail(&self.tree, "lookup", parent, &e, reply),
        }
    }

    fn look_up(&self, parent: Ino, name: &[u8], caller: Caller, pid: u32, reply: ReplyEntry) {
        match self.tree.lookup_for(caller, parent, name) {
            Ok(Looked::Found(stat, ttl)) => {
                if let Some(ahead) = &self.ahead {
                    ahead.looked_up(&stat, pid);
                }
                self.entry(Ok((stat, ttl)), parent, reply);
            }
            // A plain ENOENT is not cached by the kernel, an entry without an inode is.
            Ok(Looked::Missing(Ttl::Forever)) => reply.entry(&FOREVER, &convert::no_attributes(), GENERATION),
            Ok(Looked::Missing(Ttl::Short | Ttl::None)) => reply.error(Errno::ENOENT),
            Err(e) => fail(&self.tree, "lookup", parent, &e, reply),
        }
    }

    fn list(&self, ino: Ino, offset: u64, mut reply: ReplyDirectory) {
        let mut is_empty = true;
        let listed = self.tree.list(ino, offset, &mut |name, stat, next, _ttl| {
            is_empty = false;
            flow(reply.add(INodeNo(stat.ino.0), next, convert::file_type(stat.kind), OsStr::from_bytes(name)))
        });
        match listed {
            Ok(()) => reply.ok(),
            // The next question begins at the end, and is answered with the error.
            Err(view::Error::Unlisted(_)) if !is_empty => reply.ok(),
            Err(e) => fail(&self.tree, "readdir", ino, &e, reply),
        }
    }

    fn list_plus(&self, ino: Ino, offset: u64, pid: u32, mut reply: ReplyDirectoryPlus) {
        let (mut is_empty, mut refused) = (true, Ok(()));
        let listed = self.tree.list(ino, offset, &mut |name, stat, next, ttl| {
            if let Err(e) = self.guarded(*stat) {
                refused = Err(e);
                return ControlFlow::Break(());
            }
            is_empty = false;
            let attributes = convert::attributes(stat);
            let name = OsStr::from_bytes(name);
            flow(reply.add(attributes.ino, next, name, &convert::duration(ttl), &attributes, GENERATION))
        });
        match listed.and(refused) {
            Ok(()) => {
                reply.ok();
                // Those before `offset` the kernel has: it goes on asking when it has taken in what it was told.
                if let Some(ahead) = &self.ahead {
                    let names = Names { count: view::names_before(offset), are_all: is_empty };
                    ahead.listed(ino, names, pid);
                }
            }
            // As in `list`: the names that were seen come first.
            Err(view::Error::Unlisted(_) | view::Error::Unguarded(_)) if !is_empty => reply.ok(),
            // Also when some names fitted already: a listing that breaks off is an error, not a shorter listing.
            Err(e) => fail(&self.tree, "readdir", ino, &e, reply),
        }
    }

    /// Returns `stat`, unless its node has an ACL and this mount is not one in which that decides.
    ///
    /// Nothing of it then reaches the kernel, which would go by the modes alone. Whoever is inside a mount that was left behind when
    /// the first ACL came has to come in again.
    fn guarded(&self, stat: Stat) -> Result<Stat, view::Error> {
        if !self.attributes.enforces_acls && self.tree.has_acl(stat.xattrs)? {
            return Err(view::Error::Unguarded(self.tree.describe(stat.ino)));
        }
        Ok(stat)
    }

    /// Answers a read from the page cache of the store, or gives the reply back.
    fn read_now(&self, file: &OpenFile, offset: u64, size: usize, reply: ReplyData) -> Option<ReplyData> {
        BUFFER.with_borrow_mut(|buffer| match file.read_cached(room(buffer, size), offset) {
            Some(n) => {
                reply.data(&buffer[..n]);
                None
            }
            None => Some(reply),
        })
    }

    fn read_in_lane(&self, store: StoreId, ino: Ino, offset: u64, size: usize, reply: ReplyData) {
        let ticket = Ticket::new(&self.tree, "read", ino, reply);
        let asker = Arc::clone(&ticket);
        let work = move |buffer: &mut Vec<u8>| {
            if ticket.is_answered() {
                return;
            }
            let bytes = room(buffer, size);
            match ticket.tree.ask(ino, |file| file.read_at(bytes, offset)) {
                Ok(n) => ticket.claim().into_iter().for_each(|reply| reply.data(&buffer[..n])),
                Err(e) => ticket.fail(&e),
            }
        };
        self.lanes.ask(store, asker, Box::new(work));
    }

    fn seek_in_lane(&self, store: StoreId, ino: Ino, offset: u64, whence: i32, reply: ReplyLseek) {
        let ticket = Ticket::new(&self.tree, "seek", ino, reply);
        let asker = Arc::clone(&ticket);
        let work = move |_: &mut Vec<u8>| {
            let seek =
                |file: &OpenFile| if whence == SEEK_DATA { file.seek_data(offset) } else { file.seek_hole(offset) };
            match ticket.tree.ask(ino, seek) {
                Ok(found) => ticket.claim().into_iter().for_each(|reply| answer_seek(found, reply)),
                Err(e) => ticket.fail(&e),
            }
        };
        self.lanes.ask(store, asker, Box::new(work));
    }

    fn xattr(&self, ino: Ino, name: &[u8], size: u32, reply: ReplyXattr) {
        match self.tree.xattr(ino, name) {
            Ok(Some(value)) => return answer_xattr(&value, size, reply),
            Ok(None) => {}
            Err(e) => return fail(&self.tree, "getxattr", ino, &e, reply),
        }
        // The kernel asks for ACLs to decide on access: any other error would be its answer to whoever comes.
        if name.starts_with(ACLS) && self.attributes.enforces_acls {
            return reply.error(Errno::ENODATA);
        }
        match self.tree.may_have_xattr(name) {
            Ok(true) => reply.error(Errno::ENODATA),
            // As a file system says it that has none such: `ls -l` then stops asking each file for `security.selinux`. The kernel
            // does not keep this answer (it keeps ENOSYS only), so what is published later is shown.
            Ok(false) => reply.error(Errno::EOPNOTSUPP),
            Err(e) => fail(&self.tree, "getxattr", ino, &e, reply),
        }
    }
}

/// Opens a file for the kernel to read from, which asks nobody whether it is still what was indexed.
fn open_as_indexed(tree: &Tree, ino: Ino) -> Result<Arc<OpenFile>, view::Error> {
    // It may have been kept open since.
    let file = tree.open(ino)?;
    match file.check() {
        Ok(()) => Ok(file),
        Err(bad) => tree.open_elsewhere(ino, &file, &bad),
    }
}

/// Opens for passthrough in the store's lane.
fn open_in_lane(shared: &Arc<Shared>, store: StoreId, ino: Ino, reply: ReplyOpen) {
    let ticket = Ticket::new(&shared.tree, "open", ino, reply);
    let (asker, own) = (Arc::clone(&ticket), Arc::clone(shared));
    let work = move |_: &mut Vec<u8>| {
        if let Some(Err(e)) = own.backings.held(ino).map(|held| held.check()) {
            // The kernel takes no second file while somebody has this one open.
            return ticket.fail(&e.into());
        }
        let file = match open_as_indexed(&ticket.tree, ino) {
            Ok(file) => file,
            Err(e) => return ticket.fail(&e),
        };
        let Some(reply) = ticket.claim() else { return };
        match own.backings.open(ino, file, reply) {
            Opened::Done => {}
            Opened::Plain(e) => {
                tracing::warn!("{} is read without passthrough: {e}", own.tree.describe(ino));
            }
            Opened::Refused(reply) => {
                if own.is_passthrough.swap(false, Ordering::Relaxed) {
                    tracing::warn!("the kernel refuses passthrough (it takes root); all files are read without it");
                }
                // From here on the kernel opens by itself and reads by inode, as by default.
                reply.error(Errno::ENOSYS);
            }
        }
    };
    shared.lanes.ask(store, asker, Box::new(work));
}

impl Filesystem for AsofFilesystem {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> io::Result<()> {
        let shared = &self.0;
        let mut wanted = InitFlags::FUSE_DO_READDIRPLUS
            | InitFlags::FUSE_PARALLEL_DIROPS
            | InitFlags::FUSE_CACHE_SYMLINKS
            | InitFlags::FUSE_EXPORT_SUPPORT
            | InitFlags::FUSE_NO_OPEN_SUPPORT
            | InitFlags::FUSE_NO_OPENDIR_SUPPORT;
        if shared.attributes.enforces_acls {
            wanted |= InitFlags::FUSE_POSIX_ACL;
        }
        if shared.is_passthrough.load(Ordering::Relaxed) {
            wanted |= InitFlags::FUSE_PASSTHROUGH;
            // 1: stores on plain file systems; an overlay over the mount stays possible.
            let _ = config.set_max_stack_depth(1);
        }
        let missing = wanted & !config.capabilities();
        if missing.contains(InitFlags::FUSE_PASSTHROUGH) {
            shared.is_passthrough.store(false, Ordering::Relaxed);
            tracing::warn!("this kernel has no passthrough (6.9 or later has); files are read without it");
        }
        if missing.contains(InitFlags::FUSE_POSIX_ACL) {
            tracing::warn!("this kernel does not enforce ACLs on such mounts; only modes decide on access");
        }
        let _ = config.add_capabilities(wanted & config.capabilities());
        let _ = config.set_max_background(MAX_BACKGROUND);
        Ok(())
    }

    fn lookup(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let (shared, parent) = (&self.0, Ino(parent.0));
        match name.as_bytes() {
            // By file handle (NFS): the inode itself, and a directory's parent.
            b"." => return shared.entry(shared.tree.stat(parent), parent, reply),
            b".." => {
                let above = shared.tree.parent(parent).and_then(|above| shared.tree.stat(above));
                return shared.entry(above, parent, reply);
            }
            _ => {}
        }
        let (name, pid) = (name.as_bytes(), request.pid());
        let caller = Caller { uid: request.uid(), gid: request.gid() };
        if !parent.is_made() {
            return shared.look_up(parent, name, caller, pid, reply);
        }
        let (own, name) = (Arc::clone(shared), name.to_owned());
        shared.aside.ask(caller.uid, Box::new(move || own.look_up(parent, &name, caller, pid, reply)));
    }

    fn getattr(&self, _request: &Request, ino: INodeNo, _fh: Option<FileHandle>, reply: ReplyAttr) {
        let (tree, ino) = (&self.0.tree, Ino(ino.0));
        match tree.stat(ino).and_then(|(stat, ttl)| Ok((self.0.guarded(stat)?, ttl))) {
            Ok((stat, ttl)) => reply.attr(&convert::duration(ttl), &convert::attributes(&stat)),
            Err(e) => fail(tree, "getattr", ino, &e, reply),
        }
    }

    fn readlink(&self, _request: &Request, ino: INodeNo, reply: ReplyData) {
        let (tree, ino) = (&self.0.tree, Ino(ino.0));
        match tree.readlink(ino) {
            Ok(target) => reply.data(&target),
            Err(e) => fail(tree, "readlink", ino, &e, reply),
        }
    }

    fn open(&self, _request: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let (shared, ino) = (&self.0, Ino(ino.0));
        if flags.acc_mode() != OpenAccMode::O_RDONLY {
            return reply.error(Errno::EROFS);
        }
        if !shared.is_passthrough.load(Ordering::Relaxed) {
            // Told once, the kernel opens by itself from then on and keeps its cache.
            return reply.error(Errno::ENOSYS);
        }
        match shared.tree.content(ino) {
            Ok(Content::Bytes(_)) => reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO),
            Ok(Content::Stored { store, .. }) => open_in_lane(shared, store, ino, reply),
            Err(e) => fail(&shared.tree, "open", ino, &e, reply),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.error(Errno::ENOSYS);
    }

    fn release(
        &self,
        _request: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        self.0.backings.release(Ino(ino.0));
        reply.ok();
    }

    fn read(
        &self,
        request: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let (shared, ino, size_bytes) = (&self.0, Ino(ino.0), size as usize);
        if offset == 0
            && let Some(ahead) = &shared.ahead
        {
            ahead.read(ino, size, request.pid());
        }
        if let Some(file) = shared.tree.opened(ino) {
            if let Some(reply) = shared.read_now(&file, offset, size_bytes, reply) {
                shared.read_in_lane(file.store(), ino, offset, size_bytes, reply);
            }
            return;
        }
        match shared.tree.content(ino) {
            Ok(Content::Bytes(bytes)) => {
                let from = usize::try_from(offset).map_or(bytes.len(), |o| o.min(bytes.len()));
                let to = from.saturating_add(size_bytes).min(bytes.len());
                reply.data(&bytes[from..to]);
            }
            Ok(Content::Stored { store, .. }) => shared.read_in_lane(store, ino, offset, size_bytes, reply),
            Err(e) => fail(&shared.tree, "read", ino, &e, reply),
        }
    }

    fn lseek(&self, _: &Request, ino: INodeNo, _fh: FileHandle, offset: i64, whence: i32, reply: ReplyLseek) {
        let (shared, ino) = (&self.0, Ino(ino.0));
        let Ok(offset) = u64::try_from(offset) else { return reply.error(Errno::ENXIO) };
        if whence != SEEK_DATA && whence != SEEK_HOLE {
            return reply.error(Errno::EINVAL);
        }
        match shared.tree.content(ino) {
            Ok(Content::Bytes(bytes)) => {
                let end = bytes.len() as u64;
                let found = if whence == SEEK_DATA { offset } else { end };
                answer_seek((offset < end).then_some(found), reply);
            }
            Ok(Content::Stored { store, .. }) => shared.seek_in_lane(store, ino, offset, whence, reply),
            Err(e) => fail(&shared.tree, "seek", ino, &e, reply),
        }
    }

    fn opendir(&self, _request: &Request, _ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        // As for open: the kernel then caches listings, and asks neither at opening nor at closing.
        reply.error(Errno::ENOSYS);
    }

    fn readdir(&self, request: &Request, ino: INodeNo, _fh: FileHandle, offset: u64, reply: ReplyDirectory) {
        let (shared, ino) = (&self.0, Ino(ino.0));
        if !ino.is_made() {
            return shared.list(ino, offset, reply);
        }
        let own = Arc::clone(shared);
        shared.aside.ask(request.uid(), Box::new(move || own.list(ino, offset, reply)));
    }

    fn readdirplus(&self, request: &Request, ino: INodeNo, _fh: FileHandle, offset: u64, reply: ReplyDirectoryPlus) {
        let (shared, ino, pid) = (&self.0, Ino(ino.0), request.pid());
        if !ino.is_made() {
            return shared.list_plus(ino, offset, pid, reply);
        }
        let own = Arc::clone(shared);
        shared.aside.ask(request.uid(), Box::new(move || own.list_plus(ino, offset, pid, reply)));
    }

    fn statfs(&self, _request: &Request, _ino: INodeNo, reply: ReplyStatfs) {
        let usage = self.0.tree.usage();
        let blocks = usage.bytes.div_ceil(u64::from(convert::BLOCK_BYTES));
        reply.statfs(blocks, 0, 0, usage.entries, 0, convert::BLOCK_BYTES, 255, convert::BLOCK_BYTES);
    }

    fn getxattr(&self, _request: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        match self.0.attributes.xattrs {
            // Told once, the kernel answers so by itself from then on.
            Xattrs::AccessOnly if !self.0.attributes.enforces_acls => reply.error(Errno::ENOSYS),
            Xattrs::AccessOnly if !name.as_bytes().starts_with(ACLS) => reply.error(Errno::EOPNOTSUPP),
            Xattrs::AccessOnly | Xattrs::VirtualOnly | Xattrs::Recorded => {
                self.0.xattr(Ino(ino.0), name.as_bytes(), size, reply);
            }
        }
    }

    fn listxattr(&self, request: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        let (tree, ino) = (&self.0.tree, Ino(ino.0));
        match self.0.attributes.xattrs {
            Xattrs::VirtualOnly | Xattrs::AccessOnly => return reply.error(Errno::ENOSYS),
            Xattrs::Recorded => {}
        }
        match tree.xattr_names(ino) {
            Ok(names) => answer_xattr(&joined(&names, request.uid()), size, reply),
            Err(e) => fail(tree, "listxattr", ino, &e, reply),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        _: INodeNo,
        _mode: Option<u32>,
        _uid: Option<u32>,
        _gid: Option<u32>,
        _size: Option<u64>,
        _atime: Option<TimeOrNow>,
        _mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _fh: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        reply.error(Errno::EROFS);
    }

    fn mknod(&self, _: &Request, _: INodeNo, _: &OsStr, _mode: u32, _umask: u32, _rdev: u32, reply: ReplyEntry) {
        reply.error(Errno::EROFS);
    }

    fn mkdir(&self, _: &Request, _: INodeNo, _: &OsStr, _mode: u32, _umask: u32, reply: ReplyEntry) {
        reply.error(Errno::EROFS);
    }

    fn unlink(&self, _: &Request, _: INodeNo, _: &OsStr, reply: ReplyEmpty) {
        reply.error(Errno::EROFS);
    }

    fn rmdir(&self, _: &Request, _: INodeNo, _: &OsStr, reply: ReplyEmpty) {
        reply.error(Errno::EROFS);
    }

    fn symlink(&self, _: &Request, _: INodeNo, _: &OsStr, _target: &Path, reply: ReplyEntry) {
        reply.error(Errno::EROFS);
    }

    fn rename(
        &self,
        _: &Request,
        _: INodeNo,
        _: &OsStr,
        _new_parent: INodeNo,
        _new_name: &OsStr,
        _flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        reply.error(Errno::EROFS);
    }

    fn link(&self, _: &Request, _: INodeNo, _new_parent: INodeNo, _new_name: &OsStr, reply: ReplyEntry) {
        reply.error(Errno::EROFS);
    }

    fn create(&self, _: &Request, _: INodeNo, _: &OsStr, _mode: u32, _umask: u32, _flags: i32, reply: ReplyCreate) {
        reply.error(Errno::EROFS);
    }

    fn write(
        &self,
        _: &Request,
        _: INodeNo,
        _fh: FileHandle,
        _offset: u64,
        _data: &[u8],
        _write_flags: WriteFlags,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        reply.error(Errno::EROFS);
    }

    fn fallocate(
        &self,
        _: &Request,
        _: INodeNo,
        _fh: FileHandle,
        _offset: u64,
        _length: u64,
        _mode: i32,
        reply: ReplyEmpty,
    ) {
        reply.error(Errno::EROFS);
    }

    fn setxattr(
        &self,
        _: &Request,
        _: INodeNo,
        _: &OsStr,
        _value: &[u8],
        _flags: i32,
        _position: u32,
        reply: ReplyEmpty,
    ) {
        reply.error(Errno::EROFS);
    }

    fn removexattr(&self, _: &Request, _: INodeNo, _: &OsStr, reply: ReplyEmpty) {
        reply.error(Errno::EROFS);
    }
}

/// Joins names with zero bytes. As elsewhere, `trusted.*` is for root's eyes only (xattr(7)).
fn joined(names: &[Vec<u8>], uid: u32) -> Vec<u8> {
    let shown = names.iter().filter(|n| uid == 0 || !n.starts_with(b"trusted."));
    shown.flat_map(|n| n.iter().copied().chain([0])).collect()
}

fn answer_xattr(value: &[u8], room: u32, reply: ReplyXattr) {
    match (room as usize, value.len()) {
        (0, length) => reply.size(length as u32),
        (room, length) if length > room => reply.error(Errno::ERANGE),
        _ => reply.data(value),
    }
}

fn answer_seek(found: Option<u64>, reply: ReplyLseek) {
    match found {
        Some(at) => reply.offset(at as i64),
        None => reply.error(Errno::ENXIO),
    }
}

fn flow(is_full: bool) -> ControlFlow<()> {
    if is_full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}

/// Returns the first `size` bytes of a buffer that only grows, so that memory is zeroed once.
fn room(buffer: &mut Vec<u8>, size: usize) -> &mut [u8] {
    if buffer.len() < size {
        buffer.resize(size, 0);
    }
    &mut buffer[..size]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trusted_names_are_listed_for_root_only() {
        let names = [b"trusted.x".to_vec(), b"user.y".to_vec()];
        assert_eq!(joined(&names, 0), b"trusted.x\0user.y\0");
        assert_eq!(joined(&names, 1000), b"user.y\0");
    }
}
