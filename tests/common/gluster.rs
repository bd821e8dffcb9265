//! Random changes to a mounted volume, and a plain copy of it for the truth.
//!
//! A [`Churn`] does with a tree what its users do over months: every kind of node, rename, link and attribute, with
//! names that are hard to carry. It is made of its seed alone: the same seed does the same to an equal tree.
//! [`save`] keeps what a client sees now.
//!
//! Every operation is one that a client of GlusterFS 10.3 may do on bricks of ext4, and must succeed. So there is none
//! that the client refuses (`O_TMPFILE`, exchanging names, `RENAME_NOREPLACE`) or acknowledges and does not do (zeroing
//! a range), and no file has more names than fit into the attributes of its inode.
//!
//! Needs root. Never asks the wall clock; times that nobody sets are those of the file system.

// Every test file is a program of its own and uses a part of this.
#![allow(dead_code, unreachable_pub)]
// ACLs and devices have no calls in the standard library.
#![allow(unsafe_code)]

use crate::common::dice::Dice;
use crate::common::{PlainTree, joined, run};
use asof::model::{Kind, escape_bytes};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// More names than this, and whole trees are removed.
const NAMES_MAX: usize = 400;

/// Directories below each other, at most: with names of 255 bytes a path stays below `PATH_MAX`.
const DEPTH_MAX: usize = 6;

/// Names of one file, at most. On ext4 all attributes of an inode have 4096 bytes, and each name is an attribute of up
/// to 292 bytes (`trusted.gfid2path.*`): what does not fit makes `link(2)` on the volume fail with ENOSPC.
const LINKS_MAX: u64 = 5;

/// Makes `to`, which must not exist, a plain copy of the tree: names, bytes, hard links, attributes, ACLs, times.
///
/// Of a volume with several subvolumes, `tree` should be a mount of its own, made after the changes: a client that made
/// them itself may go on telling an older time of a directory (seen for 1 to 4 of 150 to 340 names), while a new one
/// tells the newest that any brick has (true for all of 228 directories).
///
/// # Panics
/// If `rsync` is missing or reports anything.
pub fn save(tree: &Path, to: &Path) {
    assert!(!to.exists(), "\"{}\" is new", to.display());
    // Without the window it leaves the time of what it just made, where only the part below a second differs.
    let options = ["-aHAXS", "--numeric-ids", "--modify-window=-1"].map(OsStr::new);
    run("rsync", options.into_iter().chain([tree.join("").as_os_str(), to.join("").as_os_str()]));
}

/// Random changes to one tree. What it knows of the tree it keeps in memory, so nobody else may change names in it.
pub struct Churn {
    tree: PlainTree,
    acl: bool,
    dice: Dice,
    /// All paths but the root's.
    names: BTreeMap<Vec<u8>, Kind>,
    log: Vec<String>,
}

/// Does one change, or nothing (none) where the tree has no room for it. Returns what was done.
type Operation = fn(&mut Churn) -> Option<String>;

/// Every operation with its weight.
const OPERATIONS: &[(&str, usize, Operation)] = &[
    ("create", 14, Churn::create),
    ("create_sparse", 1, Churn::create_sparse),
    ("mkdir", 6, Churn::mkdir),
    ("symlink", 3, Churn::symlink),
    ("mknod", 3, Churn::mknod),
    ("link", 4, Churn::link),
    ("write", 4, Churn::write),
    ("append", 4, Churn::append),
    ("truncate", 3, Churn::truncate),
    ("rewrite", 4, Churn::rewrite),
    ("replace", 3, Churn::replace),
    ("write_after_unlink", 1, Churn::write_after_unlink),
    ("rename", 6, Churn::rename),
    ("rename_over", 4, Churn::rename_over),
    ("rename_directory", 3, Churn::rename_directory),
    ("rename_directory_over", 1, Churn::rename_directory_over),
    ("swap", 2, Churn::swap),
    ("unlink", 6, Churn::unlink),
    ("rmdir", 2, Churn::rmdir),
    ("remove_tree", 1, Churn::remove_tree),
    ("recreate", 3, Churn::recreate),
    ("chmod", 4, Churn::chmod),
    ("chown", 3, Churn::chown),
    ("utime", 3, Churn::utime),
    ("setxattr", 4, Churn::setxattr),
    ("removexattr", 2, Churn::removexattr),
    ("setfacl", 3, Churn::setfacl),
];

impl Churn {
    /// Reads what is in `tree`, and does nothing yet. ACLs are set only where `acl` (the mount has the option).
    ///
    /// # Panics
    /// If the tree cannot be read.
    pub fn new(tree: &Path, seed: u64, acl: bool) -> Self {
        let tree = PlainTree::at(tree.to_owned());
        let names = names_below(tree.path());
        Self { tree, acl, dice: Dice::new(seed), names, log: Vec::new() }
    }

    /// Does `count` operations and returns how many of each kind they were.
    ///
    /// # Panics
    /// If one is refused; [`Churn::log`] is what came before, and the last of it is printed.
    pub fn run(&mut self, count: usize) -> BTreeMap<&'static str, usize> {
        let mut done = BTreeMap::new();
        let sides: usize = OPERATIONS.iter().map(|operation| operation.1).sum();
        for _ in 0..count {
            let said = loop {
                let mut rest = self.dice.roll(sides);
                let (mut name, mut operation) = ("", Churn::create as Operation);
                for (each, weight, call) in OPERATIONS {
                    (name, operation) = (each, *call);
                    match rest.checked_sub(*weight) {
                        Some(less) => rest = less,
                        None => break,
                    }
                }
                if self.names.len() > NAMES_MAX {
                    (name, operation) = ("remove_tree", Churn::remove_tree);
                }
                if let Some(said) = operation(self) {
                    *done.entry(name).or_default() += 1;
                    break format!("{name} {said}");
                }
            };
            self.log.push(said);
        }
        done
    }

    /// Returns what was done, a line an operation; paths are escaped.
    pub fn log(&self) -> &[String] {
        &self.log
    }

    /// Returns the paths that the tree should have now, with their kinds; without the root.
    pub fn names(&self) -> &BTreeMap<Vec<u8>, Kind> {
        &self.names
    }

    fn create(&mut self) -> Option<String> {
        let path = self.new_path()?;
        let bytes = self.bytes();
        self.done(fs::write(self.tree.join(&path), &bytes), "create", &path);
        self.names.insert(path.clone(), Kind::File);
        Some(format!("{} {} bytes", escape_bytes(&path), bytes.len()))
    }

    fn create_sparse(&mut self) -> Option<String> {
        let path = self.new_path()?;
        let (size, offset) = (1 + self.dice.roll(4 << 20), self.dice.roll(4 << 20));
        let bytes = self.bytes();
        self.tree.sparse_file(&path, size as u64, offset as u64, &bytes);
        self.names.insert(path.clone(), Kind::File);
        Some(format!("{} {size} bytes, {} at {offset}", escape_bytes(&path), bytes.len()))
    }

    fn mkdir(&mut self) -> Option<String> {
        let path = self.new_path()?;
        self.done(fs::create_dir(self.tree.join(&path)), "mkdir", &path);
        self.names.insert(path.clone(), Kind::Directory);
        Some(escape_bytes(&path).into_owned())
    }

    fn symlink(&mut self) -> Option<String> {
        const TARGETS: [&[u8]; 7] = [
            b".",
            b"/etc/passwd",
            b"../no such thing",
            b"a b%20\n,c",
            b"\xff\xfe",
            // The handle of a directory looks like this.
            b"../../00/00/00000000-0000-0000-0000-000000000001/docs",
            &[b'L'; 1000],
        ];
        let path = self.new_path()?;
        let target = self.dice.pick(&TARGETS)?;
        self.done(
            std::os::unix::fs::symlink(OsStr::from_bytes(target), self.tree.join(&path)),
            "make a symbolic link",
            &path,
        );
        self.names.insert(path.clone(), Kind::Symlink);
        Some(format!("{} to {}", escape_bytes(&path), escape_bytes(target)))
    }

    fn mknod(&mut self) -> Option<String> {
        let path = self.new_path()?;
        let kind = self.dice.pick(&[Kind::Fifo, Kind::Socket, Kind::CharDevice, Kind::BlockDevice])?;
        let is_device = matches!(kind, Kind::CharDevice | Kind::BlockDevice);
        // Above 255, where the old and the new way to write a device number part.
        let number = if is_device { libc::makedev(7, self.dice.roll(1000) as u32) } else { 0 };
        self.tree.special(&path, kind, number);
        self.names.insert(path.clone(), kind);
        Some(format!("{} {kind:?} {number}", escape_bytes(&path)))
    }

    fn link(&mut self) -> Option<String> {
        let from = self.pick_of(|kind| matches!(kind, Kind::File | Kind::Fifo))?;
        if self.metadata(&from).nlink() >= LINKS_MAX {
            return None;
        }
        let path = self.new_path()?;
        self.done(fs::hard_link(self.tree.join(&from), self.tree.join(&path)), "link", &path);
        self.names.insert(path.clone(), self.names[&from]);
        Some(format!("{} as {}", escape_bytes(&from), escape_bytes(&path)))
    }

    fn write(&mut self) -> Option<String> {
        let path = self.pick_of(is_file)?;
        let offset = self.dice.roll(20_000);
        let bytes = self.bytes();
        let file = fs::OpenOptions::new().write(true).open(self.tree.join(&path));
        self.done(file.and_then(|file| file.write_all_at(&bytes, offset as u64)), "write", &path);
        Some(format!("{} {} bytes at {offset}", escape_bytes(&path), bytes.len()))
    }

    fn append(&mut self) -> Option<String> {
        let path = self.pick_of(is_file)?;
        let bytes = self.bytes();
        let file = fs::OpenOptions::new().append(true).open(self.tree.join(&path));
        self.done(file.and_then(|mut file| file.write_all(&bytes)), "append to", &path);
        Some(format!("{} {} bytes", escape_bytes(&path), bytes.len()))
    }

    fn truncate(&mut self) -> Option<String> {
        let path = self.pick_of(is_file)?;
        let size = [0, self.dice.roll(100), self.dice.roll(50_000)][self.dice.roll(3)];
        let file = fs::OpenOptions::new().write(true).open(self.tree.join(&path));
        self.done(file.and_then(|file| file.set_len(size as u64)), "truncate", &path);
        Some(format!("{} to {size}", escape_bytes(&path)))
    }

    fn rewrite(&mut self) -> Option<String> {
        let path = self.pick_of(is_file)?;
        let bytes = self.bytes();
        self.done(fs::write(self.tree.join(&path), &bytes), "rewrite", &path);
        Some(format!("{} {} bytes", escape_bytes(&path), bytes.len()))
    }

    /// As editors save: a new file under another name, then over the old one.
    fn replace(&mut self) -> Option<String> {
        let path = self.pick_of(is_file)?;
        let other = self.new_path_in(parent_of(&path).to_vec())?;
        let bytes = self.bytes();
        self.done(fs::write(self.tree.join(&other), &bytes), "create", &other);
        self.done(fs::rename(self.tree.join(&other), self.tree.join(&path)), "replace", &path);
        Some(format!("{} by {} with {} bytes", escape_bytes(&path), escape_bytes(&other), bytes.len()))
    }

    /// A record of a write to a node that has no name any more.
    fn write_after_unlink(&mut self) -> Option<String> {
        let path = self.new_path()?;
        let bytes = self.bytes();
        let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(self.tree.join(&path));
        let done = file.and_then(|mut file| {
            file.write_all(&bytes)?;
            fs::remove_file(self.tree.join(&path))?;
            file.write_all(&bytes)
        });
        self.done(done, "write after unlink to", &path);
        Some(escape_bytes(&path).into_owned())
    }

    fn rename(&mut self) -> Option<String> {
        let from = self.pick_of(|kind| kind != Kind::Directory)?;
        let to = self.new_path()?;
        self.move_to(&from, &to)
    }

    fn rename_over(&mut self) -> Option<String> {
        let from = self.pick_of(|kind| kind != Kind::Directory)?;
        let to = self.pick_of(|kind| kind != Kind::Directory)?;
        let (one, other) = (self.metadata(&from), self.metadata(&to));
        // Two names of one file: rename(2) does nothing at all.
        if (one.dev(), one.ino()) == (other.dev(), other.ino()) {
            return None;
        }
        self.move_to(&from, &to)
    }

    fn rename_directory(&mut self) -> Option<String> {
        let from = self.pick_of(|kind| kind == Kind::Directory)?;
        let to = self.new_path()?;
        self.move_directory(&from, &to)
    }

    fn rename_directory_over(&mut self) -> Option<String> {
        let from = self.pick_of(|kind| kind == Kind::Directory)?;
        let to = self.pick_empty_directory()?;
        self.move_directory(&from, &to)
    }

    fn move_directory(&mut self, from: &[u8], to: &[u8]) -> Option<String> {
        let inside = [from, b"/"].concat();
        if to == from || to.starts_with(&inside) || from.starts_with(&[to, b"/"].concat()) {
            return None;
        }
        let below = self.below(from).iter().map(|path| depth_of(path)).max().unwrap_or_else(|| depth_of(from));
        if depth_of(to) + below - depth_of(from) > DEPTH_MAX {
            return None;
        }
        self.move_to(from, to)
    }

    /// Two names change places by way of a third one.
    fn swap(&mut self) -> Option<String> {
        let (one, other) =
            (self.pick_of(|kind| kind != Kind::Directory)?, self.pick_of(|kind| kind != Kind::Directory)?);
        let aside = self.new_path()?;
        if one == other {
            return None;
        }
        let (a, b) = (self.metadata(&one), self.metadata(&other));
        if (a.dev(), a.ino()) == (b.dev(), b.ino()) {
            return None;
        }
        self.move_to(&one, &aside)?;
        self.move_to(&other, &one)?;
        self.move_to(&aside, &other)?;
        Some(format!("{} and {} by {}", escape_bytes(&one), escape_bytes(&other), escape_bytes(&aside)))
    }

    fn unlink(&mut self) -> Option<String> {
        let path = self.pick_of(|kind| kind != Kind::Directory)?;
        self.done(fs::remove_file(self.tree.join(&path)), "unlink", &path);
        self.names.remove(&path);
        Some(escape_bytes(&path).into_owned())
    }

    fn rmdir(&mut self) -> Option<String> {
        let path = self.pick_empty_directory()?;
        self.done(fs::remove_dir(self.tree.join(&path)), "rmdir", &path);
        self.names.remove(&path);
        Some(escape_bytes(&path).into_owned())
    }

    fn remove_tree(&mut self) -> Option<String> {
        let path = self.pick_of(|kind| kind == Kind::Directory)?;
        let below = self.below(&path);
        // So that the tree grows, until it is large.
        if below.len() > 20 && self.names.len() <= NAMES_MAX {
            return None;
        }
        self.done(fs::remove_dir_all(self.tree.join(&path)), "remove the tree", &path);
        for gone in below.iter().chain([&path]) {
            self.names.remove(gone);
        }
        Some(format!("{} with {} names", escape_bytes(&path), below.len()))
    }

    /// The name stays, the node is another one, of any kind.
    fn recreate(&mut self) -> Option<String> {
        let path = self.pick_of(|kind| kind != Kind::Directory)?;
        self.done(fs::remove_file(self.tree.join(&path)), "unlink", &path);
        let kind = self.dice.pick(&[Kind::File, Kind::File, Kind::Directory, Kind::Symlink])?;
        let here = self.tree.join(&path);
        let made = match kind {
            Kind::Directory if depth_of(&path) < DEPTH_MAX => fs::create_dir(here),
            Kind::Symlink => std::os::unix::fs::symlink("again", here),
            _ => fs::write(here, self.bytes()),
        };
        self.done(made, "create again", &path);
        let kind = Kind::from_mode(self.metadata(&path).mode())?;
        self.names.insert(path.clone(), kind);
        Some(format!("{} as {kind:?}", escape_bytes(&path)))
    }

    fn chmod(&mut self) -> Option<String> {
        let path = self.pick_of(|kind| kind != Kind::Symlink)?;
        // Not on files: the sticky bit, alone (a pointer file of DHT) or with the set-group-id bit (a file that
        // rebalance moves), is a sign of Gluster's own.
        let modes: &[u32] = if self.names[&path] == Kind::Directory {
            &[0o755, 0o700, 0o1777, 0o2775, 0o500, 0]
        } else {
            &[0o644, 0o600, 0o755, 0o4755, 0o2755, 0o444, 0]
        };
        let mode = self.dice.pick(modes)?;
        self.tree.mode(&path, mode);
        Some(format!("{} {mode:o}", escape_bytes(&path)))
    }

    fn chown(&mut self) -> Option<String> {
        let path = self.pick_of(|_| true)?;
        let owners = [0, 33, 1000, 65_534, 4_000_000_000];
        let (uid, gid) = (self.dice.pick(&owners)?, self.dice.pick(&owners)?);
        self.tree.owner(&path, uid, gid);
        Some(format!("{} {uid}:{gid}", escape_bytes(&path)))
    }

    fn utime(&mut self) -> Option<String> {
        let path = self.pick_of(|_| true)?;
        let seconds = self.dice.pick(&[0, 1, 1_000_000_000, 1_600_000_000, 4_102_444_800])?;
        let nanos = self.dice.pick(&[0, 1, 123_456_789, 999_999_999])?;
        self.tree.mtime(&path, seconds, nanos);
        Some(format!("{} {seconds}.{nanos:09}", escape_bytes(&path)))
    }

    fn setxattr(&mut self) -> Option<String> {
        let path = self.pick_of(|kind| matches!(kind, Kind::File | Kind::Directory))?;
        let name = self.dice.pick(&["user.a", "user.b", "user.\u{e9}"])?;
        let length = self.dice.pick(&[0, 1, 20, 100])?;
        let value: Vec<u8> = (0..length).map(|_| self.dice.roll(256) as u8).collect();
        self.tree.xattr(&path, name, &value);
        Some(format!("{} {name} {length} bytes", escape_bytes(&path)))
    }

    fn removexattr(&mut self) -> Option<String> {
        // No list is kept of who has which: it is set, then removed.
        let path = self.pick_of(|kind| matches!(kind, Kind::File | Kind::Directory))?;
        let name = self.dice.pick(&["user.a", "user.b", "user.\u{e9}"])?;
        self.tree.xattr(&path, name, b"removed next").no_xattr(&path, name);
        Some(format!("{} {name}", escape_bytes(&path)))
    }

    fn setfacl(&mut self) -> Option<String> {
        if !self.acl {
            return None;
        }
        let path = self.pick_of(|kind| matches!(kind, Kind::File | Kind::Directory))?;
        let is_default = self.names[&path] == Kind::Directory && self.dice.roll(2) == 0;
        let name = if is_default { "system.posix_acl_default" } else { "system.posix_acl_access" };
        let (user, perm) = (self.dice.pick(&[33, 1000, 4_000_000_000])?, self.dice.roll(8) as u16);
        self.tree.xattr(&path, name, &acl(user, perm));
        Some(format!("{} {name} user {user} {perm}", escape_bytes(&path)))
    }

    fn move_to(&mut self, from: &[u8], to: &[u8]) -> Option<String> {
        self.done(fs::rename(self.tree.join(from), self.tree.join(to)), "rename", from);
        let kind = self.names.remove(from)?;
        self.names.insert(to.to_vec(), kind);
        for path in self.below(from) {
            let kind = self.names.remove(&path)?;
            self.names.insert([to, &path[from.len()..]].concat(), kind);
        }
        Some(format!("{} to {}", escape_bytes(from), escape_bytes(to)))
    }

    /// Returns all paths below a directory.
    fn below(&self, path: &[u8]) -> Vec<Vec<u8>> {
        let inside = [path, b"/"].concat();
        self.names
            .range(inside.clone()..)
            .map(|entry| entry.0)
            .take_while(|p| p.starts_with(&inside))
            .cloned()
            .collect()
    }

    fn pick_of(&mut self, of: impl Fn(Kind) -> bool) -> Option<Vec<u8>> {
        let paths: Vec<&Vec<u8>> = self.names.iter().filter(|entry| of(*entry.1)).map(|entry| entry.0).collect();
        self.dice.pick(&paths).cloned()
    }

    fn pick_empty_directory(&mut self) -> Option<Vec<u8>> {
        let path = self.pick_of(|kind| kind == Kind::Directory)?;
        self.below(&path).is_empty().then_some(path)
    }

    /// Returns a path that is not there yet, in a directory that is.
    fn new_path(&mut self) -> Option<Vec<u8>> {
        // The root is one of them.
        let directory = if self.dice.roll(4) == 0 { None } else { self.pick_of(|kind| kind == Kind::Directory) };
        self.new_path_in(directory.unwrap_or_default())
    }

    fn new_path_in(&mut self, directory: Vec<u8>) -> Option<Vec<u8>> {
        if !directory.is_empty() && depth_of(&directory) >= DEPTH_MAX {
            return None;
        }
        let name = self.name(directory.is_empty());
        let path = joined(&directory, &name);
        (!self.names.contains_key(&path)).then_some(path)
    }

    /// Returns a name: one of few, so that they are used again.
    fn name(&mut self, in_root: bool) -> Vec<u8> {
        let n = self.dice.roll(12);
        match self.dice.roll(24) {
            0 => format!("with space {n}").into_bytes(),
            1 => format!("a,b,{n}").into_bytes(),
            2 => format!("line\nbreak{n}").into_bytes(),
            3 => format!("{n}%20%0A%").into_bytes(),
            4 => [b"\xff\xfe\x01".as_slice(), n.to_string().as_bytes()].concat(),
            5 => format!("{n:L>255}").into_bytes(),
            // How rsync calls a file on its way: DHT places it by the name in the middle, so that a rename to that
            // name stays on its brick.
            6 => format!(".f{n}.Ab12Cd").into_bytes(),
            7 => format!("-rf {n}").into_bytes(),
            8 => format!("\u{e9}t\u{e9}\u{65e5}{n}").into_bytes(),
            9 => format!("back\\slash\"{n}'").into_bytes(),
            10 => format!(" {n} ").into_bytes(),
            11 => format!("...{n}").into_bytes(),
            12 => format!("{n}\n").into_bytes(),
            // Internal in the root of a brick, and there only.
            13 if !in_root => [b".glusterfs".as_slice(), b".shard", b".trashcan"][n % 3].to_vec(),
            _ => format!("f{n}").into_bytes(),
        }
    }

    /// Returns bytes for a file: mostly few, now and then more than one block of anything.
    fn bytes(&mut self) -> Vec<u8> {
        let length = match self.dice.roll(20) {
            0 => 0,
            1 => 100_000 + self.dice.roll(200_000),
            2..6 => self.dice.roll(20_000),
            _ => self.dice.roll(500),
        };
        (0..length).map(|_| self.dice.roll(256) as u8).collect()
    }

    fn metadata(&self, path: &[u8]) -> fs::Metadata {
        let metadata = fs::symlink_metadata(self.tree.join(path));
        self.done(metadata, "look at", path)
    }

    /// Returns what the system gave, or fails with the operations that came last.
    fn done<T>(&self, result: std::io::Result<T>, what: &str, path: &[u8]) -> T {
        result.unwrap_or_else(|e| {
            let mut last = String::new();
            for line in &self.log[self.log.len().saturating_sub(20)..] {
                let _ = writeln!(last, "  {line}");
            }
            panic!("cannot {what} \"{}\": {e}; the operations before:\n{last}", escape_bytes(path))
        })
    }
}

fn is_file(kind: Kind) -> bool {
    kind == Kind::File
}

fn parent_of(path: &[u8]) -> &[u8] {
    path.iter().rposition(|byte| *byte == b'/').map_or(b"", |at| &path[..at])
}

/// Returns how many names a path has.
fn depth_of(path: &[u8]) -> usize {
    1 + path.iter().filter(|byte| **byte == b'/').count()
}

/// Returns an ACL with one user more than the mode has, as `system.posix_acl_*` has it (`linux/posix_acl_xattr.h`,
/// version 2, little endian).
fn acl(user: u32, perm: u16) -> Vec<u8> {
    const NOBODY: u32 = u32::MAX;
    let mut bytes = 2_u32.to_le_bytes().to_vec();
    // In the order that the kernel asks for: owner, user, group, mask, others.
    for (tag, perm, id) in [(1_u16, 6_u16, NOBODY), (2, perm, user), (4, 4, NOBODY), (16, 7, NOBODY), (32, 0, NOBODY)] {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(perm.to_le_bytes());
        bytes.extend(id.to_le_bytes());
    }
    bytes
}

/// Returns all paths below `root` with their kinds.
///
/// # Panics
/// If the tree cannot be read.
pub fn names_below(root: &Path) -> BTreeMap<Vec<u8>, Kind> {
    let mut names = BTreeMap::new();
    let mut todo: Vec<(Vec<u8>, PathBuf)> = vec![(Vec::new(), root.to_owned())];
    while let Some((path, directory)) = todo.pop() {
        for entry in fs::read_dir(&directory).expect("a tree can be read") {
            let entry = entry.expect("a tree can be read");
            let below = joined(&path, entry.file_name().as_bytes());
            let mode = entry.metadata().expect("a tree can be read").mode();
            let kind = Kind::from_mode(mode).expect("a known kind");
            if kind == Kind::Directory {
                todo.push((below.clone(), entry.path()));
            }
            names.insert(below, kind);
        }
    }
    names
}
