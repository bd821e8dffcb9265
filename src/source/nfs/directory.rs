//! Reads one directory of a copy into a [`Listing`](crate::model::Listing).
//!
//! Promises: all that is told of a name is of one file, and as that was at one moment. A directory that did not change while it was
//! read proves that for its names: two `statx` and one list of attributes per name, and no path built. One that changed, or may
//! have, is read once more with each file held ([`sys::hold`]). What cannot be read is a finding and a mark on the entry or the
//! listing, never a silent gap. Names are asked about in the order of their inode numbers, which lie beside each other on disk, and
//! told in the order of their bytes. Opens no file but to have its bytes read ([`Copy::open_file`]).

use super::mark::Mark;
use super::out::{Out, Read, boundary_text};
use super::xattrs::XattrBuffers;
use crate::model::{Attrs, EntryName, FileKey, FindingKind, Kind, ListedEntry, RelPath, Timestamp, XattrSet};
use crate::source::{FileStamp, TopDirectory};
use crate::sys::read;
use crate::sys::walk::{self as sys, FileAt, Stat, Whereabouts, XattrCalls};
use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// How long before the walk something must have changed last to be known not to have changed since: FAT stamps in steps of two seconds,
/// and clocks of servers are not ours.
const STILL_S: i64 = 3;
/// How often a file is looked at that changes at each look.
const LOOKS_MAX: usize = 8;
/// Room for names per call: about 8,000 of them; the kernel allocates nothing for it.
const NAMES_BYTES: usize = 256 * 1024;
/// The inode number of the empty directory that a snapshot on btrfs has where a subvolume was nested in the original
/// (`BTRFS_EMPTY_SUBVOL_DIR_OBJECTID`, `include/uapi/linux/btrfs_tree.h`); what is stored there has 256 or more.
const INODE_OF_NESTED_SUBVOLUME: u64 = 2;

/// What is the same for all directories of one walk.
#[derive(Debug)]
pub(super) struct Copy {
    root: OwnedFd,
    root_stat: Stat,
    is_on_btrfs: bool,
    has_numbers_for_life: bool,
    xattr_calls: XattrCalls,
    began: Timestamp,
}

impl Copy {
    /// Returns the copy whose root is open as `root`; what is stamped `began` or later changed during the walk.
    pub(super) fn new(root: OwnedFd, began: Timestamp) -> io::Result<Self> {
        let root_stat = sys::stat_fd(root.as_fd())?;
        let is_on_btrfs = sys::is_on_btrfs(root.as_fd())?;
        let has_numbers_for_life = read::numbers(root.as_fd())? == read::Numbers::ForLife;
        let xattr_calls = sys::probe_xattr_calls(root.as_fd());
        Ok(Self { root, root_stat, is_on_btrfs, has_numbers_for_life, xattr_calls, began })
    }

    /// Returns its top directory.
    pub(super) fn top(&self) -> io::Result<TopDirectory> {
        let seen = sys::seen_root(self.root.as_fd(), c"", &self.root_stat, None)?;
        Ok(TopDirectory { seen, mtime: self.root_stat.mtime })
    }

    /// Opens the directory at `path` for listing.
    ///
    /// # Errors
    /// As [`sys::open_beneath`].
    pub(super) fn open_directory(&self, path: &RelPath) -> io::Result<OwnedFd> {
        sys::open_beneath(self.root.as_fd(), path.as_bytes())
    }

    /// Opens the regular file at `path` for reading.
    ///
    /// # Errors
    /// What the system says; `ELOOP` for a link and `EXDEV` for another mount.
    pub(super) fn open_file(&self, path: &RelPath) -> io::Result<File> {
        let file = read::open_beneath(self.root.as_fd(), path.as_bytes(), read::Mounts::Refused)?;
        if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("not a regular file")) }
    }

    /// Tells whether what `stat` tells of is `file`.
    pub(super) fn is(&self, file: &FileStamp, stat: &Stat) -> bool {
        // Inode numbers that are not for life may be others by now.
        (!self.has_numbers_for_life || file.key.is_none_or(|key| key == key_of(stat)))
            && (stat.size_bytes, stat.mtime) == (file.size_bytes, file.mtime)
            && file.ctime.is_none_or(|ctime| ctime == stat.ctime)
    }

    /// Returns the mark of the root.
    pub(super) fn root_mark(&self) -> Mark {
        Mark::of(&self.root_stat)
    }

    /// Tells whether what lies at `place` is on another mount than the root.
    fn is_boundary(&self, place: Whereabouts) -> bool {
        place.is_beyond(&self.root_stat.whereabouts())
    }

    /// Returns `stat` without the times that the kernel makes up.
    ///
    /// For the directory in place of a nested subvolume it makes a new inode at each look, with the time of that look
    /// (`new_simple_dir` of `fs/btrfs/inode.c`): it would be another version in each copy, and seem to have changed
    /// between the listing of its parent and its own.
    fn without_made_up_times(&self, stat: Stat) -> Stat {
        let is_made_up =
            self.is_on_btrfs && stat.inode == INODE_OF_NESTED_SUBVOLUME && !self.is_boundary(stat.whereabouts());
        let never = Timestamp::default();
        if is_made_up { Stat { mtime: never, ctime: never, born: None, ..stat } } else { stat }
    }

    /// Tells whether what `stat` tells of has not changed since the walk began: each change of a file, or of the names in a directory,
    /// sets its ctime, which nobody can set back.
    fn stood_still(&self, stat: &Stat) -> bool {
        stat.ctime.seconds < self.began.seconds.saturating_sub(STILL_S)
    }

    /// Returns the time stamp that shows that a file changed during the walk, if one does.
    ///
    /// The time of last change is taken back by tools that copy times (`rsync -a`), the change time is not; but
    /// for a file with several names it also moves when a newer copy is linked against this one.
    fn changed_at(&self, stat: &Stat) -> Option<Timestamp> {
        self.within_walk([Some(stat.mtime), (stat.nlink == 1).then_some(stat.ctime)])
    }

    /// Tells whether names came or went in a directory during the walk, also where that was before it was named: what moved
    /// from there into a directory that had been read by then is in no listing.
    fn changed_directory(&self, stat: &Stat) -> bool {
        self.within_walk([Some(stat.mtime), Some(stat.ctime)]).is_some()
    }

    /// Returns the first of these stamps that the walk lived to see. A stamp in the future was set on purpose and says nothing.
    fn within_walk(&self, stamps: [Option<Timestamp>; 2]) -> Option<Timestamp> {
        let suspect = stamps.into_iter().flatten().find(|at| *at >= self.began)?;
        (suspect <= sys::real_clock()).then_some(suspect)
    }
}

/// Reads directories one after the other with the same buffers; one per thread.
#[derive(Debug)]
pub(super) struct Reader<'c> {
    copy: &'c Copy,
    names: Vec<u8>,
    xattr: XattrBuffers,
}

impl<'c> Reader<'c> {
    pub(super) fn new(copy: &'c Copy) -> Self {
        Self { copy, names: vec![0; NAMES_BYTES], xattr: XattrBuffers::default() }
    }

    /// Reads the directory `path`, which was `mark` when it was named.
    pub(super) fn read(&mut self, number: u64, path: RelPath, mark: Mark) -> Read {
        let mut out = Out::new(number, path);
        if out.listing.path.is_root() {
            let copy = self.copy;
            out.listing.root = Some(self.root_attrs(copy, &mut out));
        }
        if mark != Mark::BOUNDARY {
            match self.open(&out.listing.path) {
                Ok(dir) => match sys::stat_fd(dir.as_fd()).map(|stat| self.copy.without_made_up_times(stat)) {
                    Ok(stat) if Mark::of(&stat).identity == mark.identity => {
                        self.read_names(dir.as_fd(), mark, &mut out);
                    }
                    // Its names would be shown with the owner and rights of the one that was named.
                    Ok(_) => out.exchanged(),
                    Err(error) => out.not_opened(&error),
                },
                Err(error) => out.not_opened(&error),
            }
        } else {
            // What lies below is unknown, not gone: a view must not show an empty directory to `rsync --delete`.
            out.listing.complete = false;
        }
        out.finish()
    }

    fn open(&self, path: &RelPath) -> io::Result<OwnedFd> {
        if path.is_root() {
            // Opened anew: a clone would share the place up to which it was listed.
            sys::open_beneath(self.copy.root.as_fd(), b".")
        } else {
            sys::open_beneath(self.copy.root.as_fd(), path.as_bytes())
        }
    }

    fn root_attrs(&mut self, copy: &Copy, out: &mut Out) -> (FileKey, Attrs) {
        let (stat, xattrs) = match self.look(FileAt::Open(copy.root.as_fd())) {
            Ok(Sight::Here(seen)) => (seen.stat, seen.xattrs),
            Ok(Sight::Beyond) => (copy.root_stat, Err(io::Error::other("it is on another mount by now"))),
            Err(error) => (copy.root_stat, Err(error)),
        };
        let xattrs = xattrs.unwrap_or_else(|error| {
            // The root is no entry that could carry the mark, so its listing does.
            out.listing.complete = false;
            out.find(None, FindingKind::Unreadable, format!("extended attributes: {error}"));
            XattrSet::default()
        });
        (key_of(&stat), attrs_of(&stat, Kind::Directory, xattrs, Vec::new()))
    }

    /// Reads the names in `dir`, which was `mark` when it was named, and all that they are.
    fn read_names(&mut self, dir: BorrowedFd<'_>, mark: Mark, out: &mut Out) {
        let before = out.mark();
        self.read_entries(dir, false, out);
        let mut now = sys::stat_fd(dir).map(|now| self.copy.without_made_up_times(now));
        if !now.as_ref().is_ok_and(|now| Mark::of(now) == mark && self.copy.stood_still(now)) {
            // Names may have been exchanged between two calls.
            out.back_to(before);
            match sys::rewind_directory(dir) {
                Ok(()) => self.read_entries(dir, true, out),
                Err(error) => out.not_listed(&error),
            }
            now = sys::stat_fd(dir).map(|now| self.copy.without_made_up_times(now));
        }
        match now {
            Ok(now) if Mark::of(&now) == mark && !self.copy.changed_directory(&now) => {}
            Ok(_) => out.change(None, "the directory changed while the copy was walked".to_owned()),
            Err(error) => out.change(None, format!("the directory cannot be checked for changes: {error}")),
        }
    }

    fn read_entries(&mut self, dir: BorrowedFd<'_>, held: bool, out: &mut Out) {
        let mut names = std::mem::take(&mut self.names);
        loop {
            let entries = match sys::read_directory(dir, &mut names) {
                Ok(entries) => entries,
                Err(error) => {
                    out.not_listed(&error);
                    break;
                }
            };
            if entries.is_end() {
                break;
            }
            let mut by_inode: Vec<Named<'_>> = entries.iter_kinds().collect();
            by_inode.sort_unstable_by_key(|entry| entry.0);
            out.listing.entries.reserve(by_inode.len());
            for named in by_inode {
                self.read_entry(dir, named, held, out);
            }
        }
        self.names = names;
    }

    fn read_entry(&mut self, dir: BorrowedFd<'_>, named: Named<'_>, held: bool, out: &mut Out) {
        let (copy, raw_name) = (self.copy, named.2);
        let name = match EntryName::new(raw_name.to_bytes()) {
            Ok(name) => name,
            Err(error) => return out.lose(None, format!("the file system lists what is no name: {error}")),
        };
        let seen = match held.then(|| sys::hold(dir, raw_name)) {
            None => self.look(FileAt::Named(dir, raw_name)),
            Some(file) => file.and_then(|file| self.look(FileAt::Held(file.as_fd()))),
        };
        let Seen { stat, xattrs, target } = match seen {
            Ok(Sight::Beyond) => return Self::read_boundary(dir, named, name, out),
            Ok(Sight::Here(seen)) => seen,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return out.vanish(&name),
            Err(error) => return out.lose(Some(&name), format!("attributes: {error}")),
        };
        let key = key_of(&stat);
        let stat = copy.without_made_up_times(stat);
        let Some(kind) = Kind::from_mode(stat.mode) else {
            return out.lose(Some(&name), format!("mode {:o} is not a type of file", stat.mode));
        };
        let mut unreadable = false;
        let target = target.unwrap_or_else(|error| {
            unreadable = true;
            out.find(Some(&name), FindingKind::Unreadable, format!("target of the link: {error}"));
            Vec::new()
        });
        let xattrs = xattrs.unwrap_or_else(|error| {
            unreadable = true;
            out.find(Some(&name), FindingKind::Unreadable, format!("extended attributes: {error}"));
            XattrSet::default()
        });
        if let Some(at) = copy.changed_at(&stat).filter(|_| kind == Kind::File) {
            out.change(Some(&name), format!("it changed at {at}, after the walk began"));
        }
        if kind == Kind::Directory {
            out.directories.push((out.listing.entries.len(), Mark::of(&stat)));
        }
        let attrs = attrs_of(&stat, kind, xattrs, target);
        out.listing.entries.push(ListedEntry { name, key, attrs, unreadable, origin: 0 });
    }

    /// Tells of a name where something else is mounted what the kernel knows without asking that: its server may never answer.
    fn read_boundary(dir: BorrowedFd<'_>, named: Named<'_>, name: EntryName, out: &mut Out) {
        let (inode, listed_as, raw_name) = named;
        let told = sys::stat_without_waiting(FileAt::Named(dir, raw_name)).unwrap_or_default();
        let kind = Kind::from_mode(told.mode).or(listed_as);
        out.find(Some(&name), FindingKind::Boundary, boundary_text(kind.unwrap_or(Kind::File)).to_owned());
        let kind = match kind {
            Some(Kind::Directory) => {
                out.directories.push((out.listing.entries.len(), Mark::BOUNDARY));
                Kind::Directory
            }
            Some(kind) if kind != Kind::File || told.size_bytes > 0 => kind,
            // FUSE tells of its files what it was asked last, and others than its owner nothing. One of no bytes would be read as an empty
            // file, without an error: of this name nothing is known.
            _ => {
                out.listing.complete = false;
                return;
            }
        };
        let stat = match told.mode {
            0 => Stat { mode: kind.mode_bits(), nlink: 1, inode, ..told },
            _ => told,
        };
        // It may be a file of the copy that is mounted here again, and it is not to be taken for that one: device
        // numbers have 32 bits, so none is this.
        let key = FileKey { device: !stat.device, ..key_of(&stat) };
        let attrs = attrs_of(&stat, kind, XattrSet::default(), Vec::new());
        out.listing.entries.push(ListedEntry { name, key, attrs, unreadable: false, origin: 0 });
    }

    /// Returns all that a file is, as it was at one moment.
    ///
    /// # Errors
    /// `ENOENT` where the name vanished; what the system says of a file of which nothing can be known.
    fn look(&mut self, at: FileAt<'_>) -> io::Result<Sight> {
        let mut seen = match self.look_once(at)? {
            Sight::Here(seen) => seen,
            Sight::Beyond => return Ok(Sight::Beyond),
        };
        for _ in 1..LOOKS_MAX {
            // The ctime that comes last speaks for all that was read before.
            if self.copy.stood_still(&seen.stat) {
                return Ok(Sight::Here(seen));
            }
            let Sight::Here(again) = self.look_once(at)? else { return Ok(Sight::Beyond) };
            if again.lets_in_as(&seen) {
                return Ok(Sight::Here(again));
            }
            seen = again;
        }
        // Mode and ACL of two moments may let in whom neither did.
        seen.xattrs = Err(io::Error::other("they were others at each look"));
        Ok(Sight::Here(seen))
    }

    fn look_once(&mut self, at: FileAt<'_>) -> io::Result<Sight> {
        // Before anything is asked of it: what a user mounted here may never answer.
        if self.copy.is_boundary(sys::whereabouts(at)?) {
            return Ok(Sight::Beyond);
        }
        let xattrs = self.xattr.read(self.copy.xattr_calls, at);
        let stat = sys::stat_of(at)?;
        if self.copy.is_boundary(stat.whereabouts()) {
            return Ok(Sight::Beyond);
        }
        let target = match Kind::from_mode(stat.mode) {
            Some(Kind::Symlink) => sys::read_link(at, stat.size_bytes),
            _ => Ok(Vec::new()),
        };
        for error in [xattrs.as_ref().err(), target.as_ref().err()].into_iter().flatten() {
            if let FileAt::Named(..) = at
                && error.kind() == io::ErrorKind::NotFound
            {
                return Err(io::ErrorKind::NotFound.into());
            }
        }
        Ok(Sight::Here(Seen { stat, xattrs, target }))
    }
}

/// A name in a directory with the inode number and the kind that its listing tells.
type Named<'b> = (u64, Option<Kind>, &'b CStr);

/// What a look at a name gave.
enum Sight {
    /// A file of the copy.
    Here(Seen),
    /// Something on another mount, which was not asked for anything.
    Beyond,
}

/// What a look at a file gave.
struct Seen {
    stat: Stat,
    xattrs: io::Result<XattrSet>,
    /// Of a symbolic link; of others empty.
    target: io::Result<Vec<u8>>,
}

impl Seen {
    /// Tells whether two looks gave the same permissions; what is being written has other times each time.
    fn lets_in_as(&self, other: &Self) -> bool {
        let owner = |stat: &Stat| (stat.mode, stat.uid, stat.gid);
        owner(&self.stat) == owner(&other.stat) && self.xattrs.as_ref().ok() == other.xattrs.as_ref().ok()
    }
}

fn key_of(stat: &Stat) -> FileKey {
    let born = stat.born.unwrap_or_default();
    FileKey { device: stat.device, inode: stat.inode, born_ns: born.ns_since(Timestamp::default()) }
}

fn attrs_of(stat: &Stat, kind: Kind, xattrs: XattrSet, target: Vec<u8>) -> Attrs {
    let is_device = matches!(kind, Kind::CharDevice | Kind::BlockDevice);
    Attrs {
        mode: stat.mode,
        uid: stat.uid,
        gid: stat.gid,
        size_bytes: match kind {
            Kind::File | Kind::Directory => stat.size_bytes,
            Kind::Symlink => target.len() as u64,
            Kind::Fifo | Kind::Socket | Kind::CharDevice | Kind::BlockDevice => 0,
        },
        allocated_bytes: (kind == Kind::File && stat.allocated_bytes < stat.size_bytes).then_some(stat.allocated_bytes),
        mtime: stat.mtime,
        ctime: stat.ctime,
        nlink: stat.nlink,
        rdev: if is_device { stat.rdev } else { 0 },
        xattrs,
        target,
    }
}
