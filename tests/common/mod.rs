//! Worlds for tests that stand outside: copies on a disk, a catalog over them, and pictures of trees to compare.
//!
//! A [`World`] is a temporary folder with a folder of copies, a catalog and one source, `homes`, kept by `path`. A
//! [`Picture`] is all of a tree that a backup must bring back, by path; it is taken of a view with
//! [`picture_of_view`] and of a plain directory with [`picture_of_copy`], and two of them are compared with
//! [`assert_same`]. A picture of a directory is taken with system calls of its own and not with the code under test.
//!
//! Needs root (owners, device nodes). Never touches anything outside its temporary folder, never waits,
//! never asks the wall clock.

// Every test file is a program of its own and uses a part of this.
#![allow(dead_code, unreachable_pub)]
// What a copy really holds is asked of the system directly: the program's own calls are what is tested.
#![allow(unsafe_code)]

#[path = "dice.rs"]
pub mod dice;

use asof::catalog::{NewSource, Reader, SourceRow, Writer};
use asof::clock::Fixed;
use asof::index::{Done, NewCopy, index_copy};
use asof::model::{Kind, Rule, SourceKind, Time, escape_bytes};
use asof::monitor::Collect;
use asof::source::nfs::{Nfs, Settings};
use asof::source::{Found, Source};
use asof::view::{Ino, Looked, Stat, Tree};
use std::collections::{BTreeMap, HashMap};
use std::ffi::{CString, OsStr, OsString};
use std::fs;
use std::ops::ControlFlow;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use tempfile::TempDir;

/// What every world takes for the present: 2026-12-31T00:00:00Z, after all copies.
pub const NOW: Time = Time(1_798_675_200);

/// What one path of a tree is; two trees that are equal in all of it restore alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    pub kind: Kind,
    /// Permission bits with set-id and sticky bits.
    pub perm: u32,
    pub uid: u32,
    pub gid: u32,
    pub size_bytes: u64,
    /// Seconds and nanoseconds.
    pub mtime: (i64, u32),
    /// Where the copies keep it; else none.
    pub ctime: Option<(i64, u32)>,
    pub nlink: u32,
    pub rdev: u64,
    pub target: Vec<u8>,
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// The first path, bytewise, of the same file: equal for hard links and for nothing else.
    pub same_file_as: Vec<u8>,
    /// The bytes of a regular file, where the picture was taken with them.
    pub bytes: Option<Vec<u8>>,
}

/// A tree by path; the root's path is empty.
pub type Picture = BTreeMap<Vec<u8>, Shown>;

/// Fails with the first path at which two trees differ and what each of them says of it.
///
/// # Panics
/// If they differ.
#[track_caller]
pub fn assert_same(found: &Picture, expected: &Picture, what: &dyn std::fmt::Display) {
    if found == expected {
        return;
    }
    let paths: std::collections::BTreeSet<_> = found.keys().chain(expected.keys()).collect();
    let path = paths.into_iter().find(|p| found.get(*p) != expected.get(*p)).expect("unequal maps differ somewhere");
    panic!(
        "{what}: \"{}\" differs\n   found {:?}\nexpected {:?}",
        escape_bytes(path),
        found.get(path),
        expected.get(path)
    );
}

/// Takes the picture of everything below `root` of a view: listings, then attributes, targets and extended
/// attributes of each entry, and the bytes where `with_bytes`.
///
/// Checks on the way what must hold of any tree: a listing in order and without doubles, the same attributes
/// by listing and by number, a look-up that finds what was listed.
///
/// # Panics
/// If the tree cannot be read or contradicts itself.
pub fn picture_of_view(tree: &Tree, root: Ino, with_bytes: bool, with_ctime: bool) -> Picture {
    let mut picture = Picture::new();
    let mut first_paths: HashMap<Ino, Vec<u8>> = HashMap::new();
    let mut todo = vec![(Vec::new(), root)];
    let (stat, _) = tree.stat(root).expect("a root has attributes");
    let shown = shown_in_view(tree, &stat, with_bytes, with_ctime);
    picture.insert(Vec::new(), Shown { same_file_as: Vec::new(), ..shown });
    while let Some((path, dir)) = todo.pop() {
        let mut last: Vec<u8> = Vec::new();
        for (name, stat) in listing(tree, dir) {
            assert!(last < name, "a listing is in order: {:?} then {:?}", escape_bytes(&last), escape_bytes(&name));
            last.clone_from(&name);
            let below = joined(&path, &name);
            assert_eq!(
                tree.stat(stat.ino).expect("a listed entry has attributes").0,
                stat,
                "{:?}",
                escape_bytes(&below)
            );
            match tree.lookup(dir, &name).expect("a listed entry can be looked up") {
                Looked::Found(found, _) => assert_eq!(found, stat, "{:?}", escape_bytes(&below)),
                Looked::Missing(_) => panic!("{:?} is listed and not found", escape_bytes(&below)),
            }
            let first = first_paths.entry(stat.ino).or_insert_with(|| below.clone());
            if below < *first {
                first.clone_from(&below);
            }
            if stat.kind == Kind::Directory {
                todo.push((below.clone(), stat.ino));
            }
            // The number stands in for the first path until all paths are known.
            let number = stat.ino.0.to_be_bytes().to_vec();
            let shown = shown_in_view(tree, &stat, with_bytes, with_ctime);
            picture.insert(below, Shown { same_file_as: number, ..shown });
        }
    }
    for shown in picture.values_mut().filter(|s| !s.same_file_as.is_empty()) {
        let number = u64::from_be_bytes(shown.same_file_as.as_slice().try_into().expect("a number was put there"));
        shown.same_file_as.clone_from(&first_paths[&Ino(number)]);
    }
    picture
}

/// Returns the entries of `dir` in the order in which they are listed, without the dots.
///
/// # Panics
/// If it cannot be listed.
pub fn listing(tree: &Tree, dir: Ino) -> Vec<(Vec<u8>, Stat)> {
    let mut entries = Vec::new();
    tree.list(dir, 0, &mut |name, stat, _, _| {
        if name != b"." && name != b".." {
            entries.push((name.to_vec(), *stat));
        }
        ControlFlow::Continue(())
    })
    .unwrap_or_else(|e| panic!("{} cannot be listed: {e}", tree.describe(dir)));
    entries
}

/// Returns the number of `path` below the top, by one look-up a name.
pub fn ino_of(tree: &Tree, path: &str) -> Option<Ino> {
    path.split('/').filter(|name| !name.is_empty()).try_fold(Ino::ROOT, |dir, name| {
        match tree.lookup(dir, name.as_bytes()).expect("a look-up answers") {
            Looked::Found(stat, _) => Some(stat.ino),
            Looked::Missing(_) => None,
        }
    })
}

/// Reads all bytes of a file of a view.
///
/// # Panics
/// If it cannot be opened or read to its recorded end.
pub fn bytes_in_view(tree: &Tree, ino: Ino) -> Vec<u8> {
    let file = tree.open(ino).unwrap_or_else(|e| panic!("cannot open: {e}"));
    let mut bytes = vec![0; usize::try_from(file.size_bytes()).expect("a test file fits into memory")];
    let read = file.read_at(&mut bytes, 0).expect("an open file can be read");
    assert_eq!(read, bytes.len(), "a file is read to its recorded end");
    bytes
}

fn shown_in_view(tree: &Tree, stat: &Stat, with_bytes: bool, with_ctime: bool) -> Shown {
    let names = tree.xattr_names(stat.ino).expect("attributes are to be had");
    let value = |name: &Vec<u8>| tree.xattr(stat.ino, name).expect("attributes are to be had").expect("it was listed");
    Shown {
        kind: stat.kind,
        perm: stat.perm,
        uid: stat.uid,
        gid: stat.gid,
        size_bytes: stat.size_bytes,
        mtime: (stat.mtime.seconds, stat.mtime.nanos),
        ctime: with_ctime.then_some((stat.ctime.seconds, stat.ctime.nanos)),
        nlink: stat.nlink,
        rdev: stat.rdev,
        target: if stat.kind == Kind::Symlink {
            tree.readlink(stat.ino).expect("a link has a target")
        } else {
            Vec::new()
        },
        xattrs: names.iter().map(|name| (name.clone(), value(name))).collect(),
        same_file_as: Vec::new(),
        bytes: (with_bytes && stat.kind == Kind::File).then(|| bytes_in_view(tree, stat.ino)),
    }
}

/// Takes the picture of a directory as `stat`, `readlink` and `getxattr` tell it, bytes included. Link counts of all but
/// directories are names inside the directory.
///
/// # Panics
/// If something cannot be read.
pub fn picture_of_copy(root: &Path) -> Picture {
    let mut picture = Picture::new();
    let mut groups: HashMap<(u64, u64), Vec<Vec<u8>>> = HashMap::new();
    let mut todo = vec![Vec::new()];
    while let Some(path) = todo.pop() {
        let here = root.join(OsStr::from_bytes(&path));
        let metadata = fs::symlink_metadata(&here).expect("a test tree can be read");
        if metadata.is_dir() {
            for entry in fs::read_dir(&here).expect("a test tree can be read") {
                todo.push(joined(&path, entry.expect("a test tree can be read").file_name().as_bytes()));
            }
        }
        groups.entry((metadata.dev(), metadata.ino())).or_default().push(path.clone());
        picture.insert(path, shown_on_disk(&here, &metadata));
    }
    for paths in groups.values_mut() {
        paths.sort();
        for path in &*paths {
            let shown = picture.get_mut(path).expect("it was put there");
            shown.same_file_as.clone_from(&paths[0]);
            if shown.kind != Kind::Directory {
                shown.nlink = u32::try_from(paths.len()).expect("a test tree is small");
            }
        }
    }
    picture
}

/// Returns what `path` itself is, `metadata` being of it; link counts as they are, no group.
///
/// # Panics
/// If something of it cannot be read.
pub fn shown_on_disk(path: &Path, metadata: &fs::Metadata) -> Shown {
    let kind = match metadata.file_type() {
        t if t.is_dir() => Kind::Directory,
        t if t.is_symlink() => Kind::Symlink,
        t if t.is_fifo() => Kind::Fifo,
        t if t.is_socket() => Kind::Socket,
        t if t.is_char_device() => Kind::CharDevice,
        t if t.is_block_device() => Kind::BlockDevice,
        _ => Kind::File,
    };
    let is_device = matches!(kind, Kind::CharDevice | Kind::BlockDevice);
    Shown {
        kind,
        perm: metadata.mode() & 0o7777,
        uid: metadata.uid(),
        gid: metadata.gid(),
        size_bytes: metadata.size(),
        mtime: (metadata.mtime(), u32::try_from(metadata.mtime_nsec()).expect("below a billion")),
        ctime: None,
        nlink: u32::try_from(metadata.nlink()).expect("a test tree is small"),
        rdev: if is_device { metadata.rdev() } else { 0 },
        target: if kind == Kind::Symlink {
            fs::read_link(path).expect("a link has a target").into_os_string().into_vec()
        } else {
            Vec::new()
        },
        xattrs: xattrs_of(path),
        same_file_as: Vec::new(),
        bytes: (kind == Kind::File).then(|| fs::read(path).expect("a test file can be read")),
    }
}

/// Returns the extended attributes of `path` itself, in name order.
fn xattrs_of(path: &Path) -> Vec<(Vec<u8>, Vec<u8>)> {
    let path = c_path(path);
    let mut list = vec![0_u8; 65_536];
    // SAFETY: `list` has the room that is told, and `path` ends with a zero byte.
    let n = unsafe { libc::llistxattr(path.as_ptr(), list.as_mut_ptr().cast(), list.len()) };
    list.truncate(usize::try_from(n).expect("attributes can be listed"));
    let mut items: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    for name in list.split(|b| *b == 0).filter(|name| !name.is_empty()) {
        let c_name = CString::new(name).expect("a name has no zero byte");
        let mut value = vec![0_u8; 65_536];
        // SAFETY: as above, for `value`.
        let n = unsafe { libc::lgetxattr(path.as_ptr(), c_name.as_ptr(), value.as_mut_ptr().cast(), value.len()) };
        value.truncate(usize::try_from(n).expect("attributes can be read"));
        items.push((name.to_vec(), value));
    }
    items.sort();
    items
}

/// Returns `name` below `path`.
pub fn joined(path: &[u8], name: &[u8]) -> Vec<u8> {
    if path.is_empty() { name.to_vec() } else { [path, b"/", name].concat() }
}

fn c_path(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).expect("a path has no zero byte")
}

/// A folder of copies and a catalog.
pub struct World {
    root: TempDir,
}

impl World {
    /// Returns a world with an empty folder of copies and a catalog with the source `homes` over it.
    ///
    /// # Panics
    /// If the temporary folder cannot be made.
    pub fn new() -> Self {
        let world = Self::without_catalog();
        Writer::create(&world.catalog()).expect("a new catalog can be made");
        let mut writer = world.writer();
        let settings = Settings::new(world.copies()).to_json().expect("a temporary path is UTF-8");
        let source = NewSource {
            name: "homes",
            kind: SourceKind::Nfs,
            settings: &settings,
            rule: Rule::COPIES,
            added_at: Time(0),
        };
        writer.add_source(&source).expect("a source can be added");
        world
    }

    /// Returns a world with an empty folder of copies only, for tests that make the catalog by the program.
    ///
    /// # Panics
    /// If the temporary folder cannot be made.
    pub fn without_catalog() -> Self {
        let root = tempfile::tempdir().expect("a temporary folder can be made");
        let root_path = fs::canonicalize(root.path()).expect("it was made");
        fs::create_dir(root_path.join("copies")).expect("it was made");
        Self { root }
    }

    /// Returns the folder of the world.
    pub fn path(&self) -> PathBuf {
        fs::canonicalize(self.root.path()).expect("it is there while the world is")
    }

    /// Returns the folder of copies.
    pub fn copies(&self) -> PathBuf {
        self.path().join("copies")
    }

    /// Returns the catalog's file.
    pub fn catalog(&self) -> PathBuf {
        self.path().join("catalog.db")
    }

    /// Returns the copy called `name`, an empty directory if it is new.
    ///
    /// # Panics
    /// If it cannot be made.
    pub fn copy(&self, name: &str) -> PlainTree {
        PlainTree::at(self.copies().join(name))
    }

    /// Opens the catalog for writing.
    ///
    /// # Panics
    /// If that fails.
    pub fn writer(&self) -> Writer {
        Writer::open(&self.catalog()).expect("the catalog can be written")
    }

    /// Opens the catalog for reading.
    ///
    /// # Panics
    /// If that fails.
    pub fn reader(&self) -> Reader {
        Reader::open(&self.catalog()).expect("the catalog can be read")
    }

    /// Returns the source `homes`.
    ///
    /// # Panics
    /// If that fails.
    pub fn source(&self) -> SourceRow {
        self.reader().source("homes").expect("the world has it")
    }

    /// Returns the tree over the catalog; the present is [`NOW`] and the zone UTC.
    ///
    /// # Panics
    /// If that fails.
    pub fn tree(&self) -> Tree {
        Tree::over(&self.catalog(), 64, Arc::new(Fixed(NOW)), jiff::tz::TimeZone::UTC).expect("a tree over the catalog")
    }

    /// Indexes the copy called `name`.
    ///
    /// # Panics
    /// If that fails, or if something was found amiss.
    pub fn index(&self, name: &str) -> Done {
        let monitor = Collect::default();
        let done = self.index_with(name, &monitor).expect("a copy can be indexed");
        let findings = monitor.findings.into_inner().expect("nobody panicked");
        assert_eq!(findings, [], "nothing is amiss with copy {name}");
        done
    }

    /// Indexes the copy called `name` by these rules.
    ///
    /// # Errors
    /// As [`index_copy`].
    pub fn index_with(&self, name: &str, monitor: &Collect) -> Result<Done, asof::index::Error> {
        let copies = self.copies();
        let reader = Nfs::new(Settings::new(copies.clone()), &jiff::tz::TimeZone::UTC).expect("the settings hold");
        let path = copies.join(name);
        let found = Found { taken_at: reader.instant_of(&path).expect("the name tells a date"), path };
        let source = self.source();
        let copy = NewCopy {
            source: &source,
            found: &found,
            store: &copies,
            again: false,
            settle: std::time::Duration::ZERO,
            root: None,
        };
        index_copy(&mut self.writer(), &copy, &reader, &Fixed(NOW), monitor)
    }

    /// Runs the program with the world's catalog and `args`, in UTC.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn asof<I: IntoIterator<Item = A>, A: AsRef<OsStr>>(&self, args: I) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_asof"));
        command.env_remove("ASOF_CATALOG").env("TZ", "UTC").arg("--catalog").arg(self.catalog()).args(args);
        command.output().expect("the program can be started")
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

/// A directory that is filled by hand; every call returns it, so that a tree reads as one sentence. Paths are relative
/// to it, and parent directories are made.
#[derive(Clone, Debug)]
pub struct PlainTree {
    path: PathBuf,
}

impl PlainTree {
    /// Returns the tree at `path`, an empty one if it is new.
    ///
    /// # Panics
    /// If it cannot be made. So do all that follow.
    pub fn at(path: PathBuf) -> Self {
        fs::create_dir_all(&path).expect("a directory can be made");
        Self { path }
    }

    /// Returns its directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the absolute path of `name`.
    pub fn join(&self, name: impl AsRef<[u8]>) -> PathBuf {
        self.path.join(OsStr::from_bytes(name.as_ref()))
    }

    fn room_for(&self, name: impl AsRef<[u8]>) -> PathBuf {
        let path = self.join(name);
        fs::create_dir_all(path.parent().expect("it is below the tree")).expect("a directory can be made");
        path
    }

    /// Makes or rewrites a regular file.
    pub fn file(&self, name: impl AsRef<[u8]>, bytes: impl AsRef<[u8]>) -> &Self {
        fs::write(self.room_for(name), bytes).expect("a file can be written");
        self
    }

    /// Makes a file of `size_bytes` that is all hole but for `bytes` at `offset`.
    pub fn sparse_file(&self, name: impl AsRef<[u8]>, size_bytes: u64, offset: u64, bytes: &[u8]) -> &Self {
        use std::os::unix::fs::FileExt;
        let file = fs::File::create(self.room_for(name)).expect("a file can be made");
        file.set_len(size_bytes).and_then(|()| file.write_all_at(bytes, offset)).expect("a file can be written");
        self
    }

    /// Makes a directory.
    pub fn directory(&self, name: impl AsRef<[u8]>) -> &Self {
        fs::create_dir_all(self.join(name)).expect("a directory can be made");
        self
    }

    /// Makes a symbolic link.
    pub fn symlink(&self, name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> &Self {
        std::os::unix::fs::symlink(OsStr::from_bytes(target.as_ref()), self.room_for(name))
            .expect("a link can be made");
        self
    }

    /// Gives the file `from` one more name.
    pub fn hard_link(&self, from: impl AsRef<[u8]>, name: impl AsRef<[u8]>) -> &Self {
        fs::hard_link(self.join(from), self.room_for(name)).expect("a link can be made");
        self
    }

    /// Makes a fifo, socket or device node; `number` is `st_rdev`.
    pub fn special(&self, name: impl AsRef<[u8]>, kind: Kind, number: u64) -> &Self {
        let path = c_path(&self.room_for(name));
        // SAFETY: `path` ends with a zero byte.
        let done = unsafe { libc::mknod(path.as_ptr(), kind.mode_bits() | 0o640, number) };
        assert_eq!(done, 0, "a {kind:?} can be made: {}", std::io::Error::last_os_error());
        self
    }

    /// Sets an extended attribute, `system.posix_acl_access` among them.
    pub fn xattr(&self, name: impl AsRef<[u8]>, attribute: &str, value: &[u8]) -> &Self {
        let path = c_path(&self.join(name));
        let attribute = CString::new(attribute).expect("a name has no zero byte");
        // SAFETY: both names end with a zero byte, and `value` has the length that is told.
        let done = unsafe { libc::lsetxattr(path.as_ptr(), attribute.as_ptr(), value.as_ptr().cast(), value.len(), 0) };
        assert_eq!(done, 0, "an attribute can be set: {}", std::io::Error::last_os_error());
        self
    }

    /// Removes an extended attribute.
    pub fn no_xattr(&self, name: impl AsRef<[u8]>, attribute: &str) -> &Self {
        let path = c_path(&self.join(name));
        let attribute = CString::new(attribute).expect("a name has no zero byte");
        // SAFETY: both names end with a zero byte.
        let done = unsafe { libc::lremovexattr(path.as_ptr(), attribute.as_ptr()) };
        assert_eq!(done, 0, "an attribute can be removed: {}", std::io::Error::last_os_error());
        self
    }

    /// Sets the owner.
    pub fn owner(&self, name: impl AsRef<[u8]>, uid: u32, gid: u32) -> &Self {
        std::os::unix::fs::lchown(self.join(name), Some(uid), Some(gid)).expect("an owner can be set");
        self
    }

    /// Sets the permission bits.
    pub fn mode(&self, name: impl AsRef<[u8]>, mode: u32) -> &Self {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(self.join(name), fs::Permissions::from_mode(mode)).expect("rights can be set");
        self
    }

    /// Sets the time of last change, of a link its own.
    pub fn mtime(&self, name: impl AsRef<[u8]>, seconds: i64, nanos: u32) -> &Self {
        let path = c_path(&self.join(name));
        let time = libc::timespec { tv_sec: seconds, tv_nsec: nanos.into() };
        // SAFETY: `path` ends with a zero byte and two times follow each other.
        let done =
            unsafe { libc::utimensat(libc::AT_FDCWD, path.as_ptr(), [time, time].as_ptr(), libc::AT_SYMLINK_NOFOLLOW) };
        assert_eq!(done, 0, "a time can be set: {}", std::io::Error::last_os_error());
        self
    }

    /// Removes whatever has this name, with all that is below it.
    pub fn remove(&self, name: impl AsRef<[u8]>) -> &Self {
        let path = self.join(name);
        let metadata = fs::symlink_metadata(&path).expect("it is there");
        if metadata.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.expect("it can be removed");
        self
    }

    /// Renames `from` to `name`, which has no name yet or is replaced as `rename(2)` does.
    pub fn rename(&self, from: impl AsRef<[u8]>, name: impl AsRef<[u8]>) -> &Self {
        fs::rename(self.join(from), self.room_for(name)).expect("it can be renamed");
        self
    }

    /// Makes `to`, a new directory, an independent copy of the tree (`cp -a`).
    pub fn copy_to(&self, to: &Path) -> PlainTree {
        run("cp", [OsStr::new("-a"), self.path.as_os_str(), to.as_os_str()]);
        PlainTree { path: to.to_owned() }
    }

    /// Makes `to`, a new directory, a copy whose unchanged files are hard links to those of `before`
    /// (`rsync -aHAX --link-dest`).
    pub fn farm_to(&self, to: &Path, before: &Path) -> PlainTree {
        let mut link_dest = OsString::from("--link-dest=");
        link_dest.push(before);
        let (mut from, mut into) = (self.path.clone().into_os_string(), to.as_os_str().to_owned());
        from.push("/");
        into.push("/");
        run("rsync", [OsStr::new("-aHAX"), OsStr::new("--numeric-ids"), &link_dest, &from, &into]);
        PlainTree { path: to.to_owned() }
    }
}

/// Runs a tool that must succeed.
///
/// # Panics
/// If it does not, with what it said.
pub fn run<I: IntoIterator<Item = A>, A: AsRef<OsStr>>(program: &str, args: I) -> Vec<u8> {
    let output =
        Command::new(program).args(args).output().unwrap_or_else(|e| panic!("{program} cannot be started: {e}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} ended with {}: {said}", output.status);
    output.stdout
}
