//! Recorded GlusterFS volumes (`tests/data/gluster`) as real directories, and what a client of them saw.
//!
//! [`rebuild`] makes the directory of one brick as it was at the end of one round: names, attributes, `trusted.*`,
//! handles, changelogs. [`load_truth`] is the client's view of the same moment, [`compare`] holds any directory tree
//! against it. The record has no bytes, only their SHA-256 and number: [`stand_in`] derives bytes of these
//! two, so a test sees which version of a file it got.
//!
//! Needs root (`trusted.*`, owners, devices) and a file system with extended attributes; a value that does not fit is a
//! failure with the name of the file. Never reads the code under test, but for gfids and kinds.

// Every test file is a program of its own and uses a part of this.
#![allow(dead_code, unreachable_pub)]
// What a tree really holds is asked of the system directly: the program's own calls are what is tested.
#![allow(unsafe_code)]

use crate::common::{PlainTree, joined};
use asof::model::{Kind, escape_bytes};
use asof::source::gluster::Gfid;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::{CString, OsStr};
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The last of the rounds, which begin with 0 (taken before changelogs were switched on).
pub const LAST_ROUND: u32 = 6;

/// How much of a file is written; the rest is a hole, in memory and on the disk.
const STAND_IN_WRITTEN: u64 = 1 << 20;

/// One name as it was recorded, on the mount or on a brick.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TruthEntry {
    /// Below the root, whose own path is empty.
    pub path: Vec<u8>,
    pub kind: Kind,
    pub gfid: Gfid,
    /// `st_mode`.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub size: u64,
    pub nlink: u64,
    /// Seconds and nanoseconds.
    pub mtime: (i64, u32),
    /// Equal for the names of one file, and for nothing else in one list.
    pub ino: u64,
    /// Of a symbolic link, else empty.
    pub target: Vec<u8>,
    /// `st_rdev` of a device, else 0.
    pub rdev: u64,
    /// Hexadecimal; of a regular file with bytes of its own, so not of a pointer file of DHT.
    pub sha256: Option<String>,
    /// All of them: on a brick `trusted.*` too, ACLs as `system.posix_acl_*`.
    pub xattrs: BTreeMap<String, Vec<u8>>,
}

impl TruthEntry {
    /// Tells whether this is a pointer file of DHT, which no client sees.
    pub fn is_linkto(&self) -> bool {
        self.xattrs.contains_key("trusted.glusterfs.dht.linkto")
    }
}

/// Returns the directory of a recorded volume, `gv0` or `gr0`.
pub fn volume(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/gluster").join(name)
}

/// Returns the names of the bricks of a recorded volume, in the volume's order.
pub fn bricks(name: &str) -> Vec<String> {
    let count = if name == "gv0" { 1 } else { 4 };
    (1..=count).map(|number| format!("{name}-b{number}")).collect()
}

/// Returns the directory of a round.
///
/// # Panics
/// If there is not exactly one.
pub fn round_dir(volume: &Path, round: u32) -> PathBuf {
    let begin = format!("round-{round}-");
    let mut found: Vec<PathBuf> = entries_of(volume)
        .into_iter()
        .filter(|path| path.file_name().is_some_and(|name| name.as_bytes().starts_with(begin.as_bytes())))
        .collect();
    assert_eq!(found.len(), 1, "{} has one {begin}*: {found:?}", volume.display());
    found.remove(0)
}

/// Returns what a client of the volume saw at the end of a round, in the order of the paths.
///
/// # Panics
/// If the record cannot be read.
pub fn load_truth(volume: &Path, round: u32) -> Vec<TruthEntry> {
    load_entries(&round_dir(volume, round).join("truth.jsonl"), Side::Client)
}

/// Returns what was on a brick at the end of a round, without `.glusterfs`, in the order of the paths.
///
/// # Panics
/// If the record cannot be read.
pub fn load_namespace(volume: &Path, round: u32, brick: &str) -> Vec<TruthEntry> {
    load_entries(&round_dir(volume, round).join(brick).join("namespace.jsonl"), Side::Brick)
}

/// Returns a new directory for bricks: in memory where that keeps `user.*` attributes (Linux 6.6), else on the disk.
///
/// The handles of a brick are hundreds of directories; on a busy disk they take fifteen times as long.
///
/// # Panics
/// If it cannot be made.
pub fn room() -> TempDir {
    let keeps_all = |dir: &TempDir| try_set_xattr(dir.path(), "user.keeps", b"all").is_ok();
    if tempfile::tempdir_in("/dev/shm").ok().as_ref().is_some_and(keeps_all) {
        tempfile::tempdir_in("/dev/shm")
    } else {
        tempfile::tempdir()
    }
    .expect("a temporary directory can be made")
}

/// Returns the bytes that stand for those with this SHA-256: its text, a line of 65 bytes, again and again up
/// to the size, but zeros after the first MiB.
pub fn stand_in(sha256: &str, size: u64) -> Vec<u8> {
    let written = usize::try_from(size.min(STAND_IN_WRITTEN)).expect("a MiB fits");
    let mut bytes: Vec<u8> = sha256.bytes().chain([b'\n']).cycle().take(written).collect();
    bytes.resize(usize::try_from(size).expect("a test file fits into memory"), 0);
    bytes
}

/// Makes `into`, a new directory, the brick as it was at the end of `round`.
///
/// The changelogs are those of all rounds up to it. `.glusterfs` has the handles that belong to the names and the
/// directories that Gluster keeps there, empty. HTIME tells of the slices by the path that the brick had when it
/// was recorded, as on every brick that was moved.
///
/// # Panics
/// If anything cannot be made as it was.
pub fn rebuild(volume: &Path, round: u32, brick: &str, into: &Path) {
    let entries = load_namespace(volume, round, brick);
    let internal = into.join(".glusterfs");
    // First, so that the time of the root is the recorded one in the end.
    make_directory(&internal, 0o600);
    lay_out(&entries, into);
    rebuild_handles(&entries, into);
    for name in ["indices/xattrop", "indices/dirty", "indices/entry-changes", "landfill", "unlink", "changelogs/csnap"]
    {
        make_directory(&internal.join(name), 0o600);
    }
    make_directory(&internal.join("changelogs/htime"), 0o600);
    fs::write(internal.join("health_check"), "").expect("a file can be made");
    for past in 1..=round {
        rebuild_changelogs(&round_dir(volume, past).join(brick).join("changelogs"), &internal.join("changelogs"));
    }
    rebuild_htime(&round_dir(volume, round).join(brick).join("htime.json"), &internal.join("changelogs/htime"));
}

/// Makes `into` a plain tree of these entries, hard links and stand-ins for the bytes included.
///
/// # Panics
/// If anything cannot be made as it was.
pub fn lay_out(entries: &[TruthEntry], into: &Path) {
    let tree = PlainTree::at(into.to_owned());
    let mut made: HashMap<Gfid, &[u8]> = HashMap::new();
    for entry in entries {
        let first = *made.entry(entry.gfid).or_insert(&entry.path);
        if first == entry.path {
            lay_out_node(&tree, entry);
        } else {
            assert!(entry.kind != Kind::Directory, "{} has two names", escape_bytes(&entry.path));
            tree.hard_link(first, &entry.path);
        }
    }
    // Only now, as a new name changes the time of its directory. Rights after owners, which clear set-id bits, and
    // ACLs after rights, which are a part of them.
    for entry in entries {
        tree.owner(&entry.path, entry.uid, entry.gid);
        if entry.kind != Kind::Symlink {
            tree.mode(&entry.path, entry.mode & 0o7777);
        }
        let path = tree.join(&entry.path);
        for (name, value) in &entry.xattrs {
            set_xattr(&path, name, value);
        }
        tree.mtime(&entry.path, entry.mtime.0, entry.mtime.1);
    }
}

fn lay_out_node(tree: &PlainTree, entry: &TruthEntry) {
    match entry.kind {
        Kind::Directory => {
            tree.directory(&entry.path);
        }
        Kind::Symlink => {
            tree.symlink(&entry.path, &entry.target);
        }
        Kind::File => {
            let bytes = entry.sha256.as_ref().map_or_else(Vec::new, |sha256| stand_in(sha256, entry.size));
            assert_eq!(bytes.len() as u64, entry.size, "{} has bytes", escape_bytes(&entry.path));
            let written = usize::try_from(entry.size.min(STAND_IN_WRITTEN)).expect("a MiB fits");
            tree.sparse_file(&entry.path, entry.size, 0, &bytes[..written]);
        }
        Kind::Fifo | Kind::Socket | Kind::CharDevice | Kind::BlockDevice => {
            tree.special(&entry.path, entry.kind, entry.rdev);
        }
    }
}

/// Gives every node its handle, `.glusterfs/aa/bb/<gfid>`: one more name, or for a directory a symbolic link.
fn rebuild_handles(entries: &[TruthEntry], brick: &Path) {
    let gfids: HashMap<&[u8], Gfid> = entries.iter().map(|entry| (entry.path.as_slice(), entry.gfid)).collect();
    let mut made = HashSet::new();
    for entry in entries.iter().filter(|entry| made.insert(entry.gfid)) {
        let handle = brick.join(entry.gfid.handle());
        make_directory(handle.parent().expect("a handle has a directory"), 0o700);
        if entry.kind == Kind::Directory {
            let target = match split(&entry.path) {
                None => b"../../..".to_vec(),
                Some((parent, name)) => {
                    let parent = gfids[parent].handle();
                    let parent = parent.strip_prefix(".glusterfs").expect("a handle lies there");
                    [b"../..", parent.as_bytes(), b"/", name].concat()
                }
            };
            std::os::unix::fs::symlink(OsStr::from_bytes(&target), &handle)
        } else {
            fs::hard_link(brick.join(OsStr::from_bytes(&entry.path)), &handle)
        }
        .unwrap_or_else(|e| {
            panic!("the handle {} of {} can be made: {e}", handle.display(), escape_bytes(&entry.path))
        });
    }
}

/// Lays the changelogs of one round over those of the rounds before.
fn rebuild_changelogs(from: &Path, to: &Path) {
    for path in entries_of(from) {
        let to = to.join(path.file_name().expect("a listed file has a name"));
        if path.is_dir() {
            make_directory(&to, 0o600);
            rebuild_changelogs(&path, &to);
        } else {
            fs::copy(&path, &to).unwrap_or_else(|e| panic!("{} can be copied: {e}", path.display()));
        }
    }
}

/// Gives HTIME and its directory the attributes that a plain copy loses. No zero byte at their ends
/// (`htime_create` and `htime_update` in `changelog-helpers.c` store `strlen` bytes).
fn rebuild_htime(record: &Path, htime: &Path) {
    let record = load_json(record);
    if let Some(current) = record["current"].as_str() {
        set_xattr(htime, "trusted.glusterfs.current_htime", current.as_bytes());
    }
    for (name, file) in record["files"].as_object().expect("a record of HTIME files") {
        let value = text(&file["trusted.glusterfs.htime"]);
        set_xattr(&htime.join(name), "trusted.glusterfs.htime", value.as_bytes());
    }
}

/// Returns every difference between the tree at `root` and `truth`, a line each, in the order of the paths.
///
/// A difference has a field: `missing` or `unexpected` (a name), `unreadable`, `kind`, `mode`, `uid`, `gid`, `size`,
/// `content` (against [`stand_in`]), `mtime`, `links` (which names are the same file), `nlink`, `target`, `rdev`,
/// or `xattr NAME`. Those that `but` says true to are passed over. It is asked with the entry of the truth; for
/// `unexpected` with the entry as found, and what lies below an unexpected directory that it excuses is passed
/// over too.
///
/// Sizes and link counts of directories, and access times, are not compared. Files are read whole.
pub fn compare(root: &Path, truth: &[TruthEntry], but: &dyn Fn(&TruthEntry, &str) -> bool) -> Vec<String> {
    let expected: BTreeMap<&[u8], &TruthEntry> = truth.iter().map(|entry| (entry.path.as_slice(), entry)).collect();
    assert_eq!(expected.len(), truth.len(), "a truth has every path once");
    let mut differences: BTreeMap<Vec<u8>, Vec<String>> = BTreeMap::new();
    let mut differs = |entry: &TruthEntry, field: &str, detail: String| {
        let excused = but(entry, field);
        if !excused {
            let line = format!("\"{}\" {field}: {detail}", escape_bytes(&entry.path));
            differences.entry(entry.path.clone()).or_default().push(line);
        }
        excused
    };

    let mut found: BTreeMap<Vec<u8>, TruthEntry> = BTreeMap::new();
    let mut todo = vec![Vec::new()];
    while let Some(path) = todo.pop() {
        let known = expected.get(path.as_slice()).copied();
        let entry = match find(root, &path) {
            Ok(entry) => entry,
            Err(e) => {
                let entry = known.cloned().unwrap_or_else(|| TruthEntry { path, ..nothing() });
                differs(&entry, "unreadable", e.to_string());
                continue;
            }
        };
        if known.is_none() && differs(&entry, "unexpected", format!("found a {:?}", entry.kind)) {
            continue;
        }
        if entry.kind == Kind::Directory {
            match names_of(root, &path) {
                Ok(names) => todo.extend(names.iter().map(|name| joined(&path, name))),
                Err(e) => {
                    differs(known.unwrap_or(&entry), "unreadable", e.to_string());
                }
            }
        }
        found.insert(path, entry);
    }

    let (links, links_expected) = (
        groups(found.values().filter(|entry| expected.contains_key(entry.path.as_slice()))),
        groups(expected.values().copied().filter(|entry| found.contains_key(&entry.path))),
    );
    for entry in truth {
        let Some(here) = found.get(&entry.path) else {
            differs(entry, "missing", format!("expected a {:?}", entry.kind));
            continue;
        };
        if here.kind != entry.kind {
            differs(entry, "kind", format!("found {:?}, expected {:?}", here.kind, entry.kind));
            continue;
        }
        if here.mode != entry.mode {
            differs(entry, "mode", format!("found {:o}, expected {:o}", here.mode, entry.mode));
        }
        let is_directory = entry.kind == Kind::Directory;
        for (field, found, expected) in [
            ("uid", here.uid.into(), entry.uid.into()),
            ("gid", here.gid.into(), entry.gid.into()),
            ("size", here.size, if is_directory { here.size } else { entry.size }),
            ("nlink", here.nlink, if is_directory { here.nlink } else { entry.nlink }),
            ("rdev", here.rdev, entry.rdev),
        ] {
            if found != expected {
                differs(entry, field, format!("found {found}, expected {expected}"));
            }
        }
        if here.mtime != entry.mtime {
            let [found, expected] = [here.mtime, entry.mtime].map(|(s, ns)| format!("{s}.{ns:09}"));
            differs(entry, "mtime", format!("found {found}, expected {expected}"));
        }
        if here.target != entry.target {
            differs(
                entry,
                "target",
                format!("found {}, expected {}", escape_bytes(&here.target), escape_bytes(&entry.target)),
            );
        }
        let (same, same_expected) = (links[entry.path.as_slice()], links_expected[entry.path.as_slice()]);
        if same != same_expected {
            let detail = format!(
                "found the same file as \"{}\", expected as \"{}\"",
                escape_bytes(same),
                escape_bytes(same_expected)
            );
            differs(entry, "links", detail);
        }
        compare_xattrs(here, entry, &mut differs);
        if let Some(detail) = content_differs(&root.join(OsStr::from_bytes(&entry.path)), entry) {
            differs(entry, "content", detail);
        }
    }
    differences.into_values().flatten().collect()
}

fn compare_xattrs(here: &TruthEntry, entry: &TruthEntry, differs: &mut dyn FnMut(&TruthEntry, &str, String) -> bool) {
    let names: std::collections::BTreeSet<&String> = here.xattrs.keys().chain(entry.xattrs.keys()).collect();
    for name in names {
        let (value, expected) = (here.xattrs.get(name), entry.xattrs.get(name));
        if value != expected {
            let told =
                |value: Option<&Vec<u8>>| value.map_or_else(|| "none".to_owned(), |bytes| format!("0x{}", hex(bytes)));
            differs(entry, &format!("xattr {name}"), format!("found {}, expected {}", told(value), told(expected)));
        }
    }
}

/// Returns what is wrong with the bytes of a file, if it should have any and something is.
fn content_differs(path: &Path, entry: &TruthEntry) -> Option<String> {
    let expected = stand_in(entry.sha256.as_ref()?, entry.size);
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(e) => return Some(e.to_string()),
    };
    if bytes == expected {
        return None;
    }
    let equal = bytes.iter().zip(&expected).take_while(|(byte, expected)| byte == expected).count();
    Some(format!("found {} bytes, expected {}, equal up to {equal}", bytes.len(), expected.len()))
}

/// Returns for every path the first path that is the same file.
fn groups<'a>(entries: impl Iterator<Item = &'a TruthEntry>) -> HashMap<&'a [u8], &'a [u8]> {
    let mut first: HashMap<u64, &[u8]> = HashMap::new();
    entries.map(|entry| (entry.path.as_slice(), *first.entry(entry.ino).or_insert(&entry.path))).collect()
}

/// Returns the entry at `path` as it is in the tree at `root`, without gfid and hash.
fn find(root: &Path, path: &[u8]) -> io::Result<TruthEntry> {
    let here = root.join(OsStr::from_bytes(path));
    let metadata = fs::symlink_metadata(&here)?;
    let kind = Kind::from_mode(metadata.mode()).ok_or_else(|| io::Error::other("a kind that nobody knows"))?;
    let is_device = matches!(kind, Kind::CharDevice | Kind::BlockDevice);
    Ok(TruthEntry {
        path: path.to_owned(),
        kind,
        mode: metadata.mode(),
        uid: metadata.uid(),
        gid: metadata.gid(),
        size: metadata.size(),
        nlink: metadata.nlink(),
        mtime: (metadata.mtime(), u32::try_from(metadata.mtime_nsec()).expect("below a billion")),
        ino: metadata.ino(),
        target: if kind == Kind::Symlink { fs::read_link(&here)?.into_os_string().into_vec() } else { Vec::new() },
        rdev: if is_device { metadata.rdev() } else { 0 },
        xattrs: xattrs_of(&here)?,
        ..nothing()
    })
}

fn nothing() -> TruthEntry {
    TruthEntry {
        path: Vec::new(),
        kind: Kind::File,
        gfid: Gfid([0; 16]),
        mode: 0,
        uid: 0,
        gid: 0,
        size: 0,
        nlink: 0,
        mtime: (0, 0),
        ino: 0,
        target: Vec::new(),
        rdev: 0,
        sha256: None,
        xattrs: BTreeMap::new(),
    }
}

fn names_of(root: &Path, path: &[u8]) -> io::Result<Vec<Vec<u8>>> {
    let listed = fs::read_dir(root.join(OsStr::from_bytes(path)))?;
    listed.map(|entry| entry.map(|entry| entry.file_name().into_vec())).collect()
}

/// Returns all extended attributes of `path` itself.
///
/// # Errors
/// As `llistxattr(2)` and `lgetxattr(2)`.
pub fn xattrs_of(path: &Path) -> io::Result<BTreeMap<String, Vec<u8>>> {
    let c_path = CString::new(path.as_os_str().as_bytes())?;
    let mut list = vec![0_u8; 65_536];
    // SAFETY: `list` has the room that is told, and `c_path` ends with a zero byte.
    let length = unsafe { libc::llistxattr(c_path.as_ptr(), list.as_mut_ptr().cast(), list.len()) };
    list.truncate(usize::try_from(length).map_err(|_| io::Error::last_os_error())?);
    let mut xattrs = BTreeMap::new();
    for name in list.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let c_name = CString::new(name)?;
        let mut value = vec![0_u8; 65_536];
        // SAFETY: as above, for `value` and `c_name`.
        let length =
            unsafe { libc::lgetxattr(c_path.as_ptr(), c_name.as_ptr(), value.as_mut_ptr().cast(), value.len()) };
        value.truncate(usize::try_from(length).map_err(|_| io::Error::last_os_error())?);
        xattrs.insert(escape_bytes(name).into_owned(), value);
    }
    Ok(xattrs)
}

/// Sets an extended attribute of `path` itself.
///
/// # Panics
/// If that is refused; a value that does not fit (ext4: one block for all of a file) is.
pub fn set_xattr(path: &Path, name: &str, value: &[u8]) {
    try_set_xattr(path, name, value)
        .unwrap_or_else(|e| panic!("cannot set {name} ({} bytes) of \"{}\": {e}", value.len(), path.display()));
}

fn try_set_xattr(path: &Path, name: &str, value: &[u8]) -> io::Result<()> {
    let (path, name) = (CString::new(path.as_os_str().as_bytes())?, CString::new(name)?);
    // SAFETY: both names end with a zero byte, and `value` has the length that is told.
    let done = unsafe { libc::lsetxattr(path.as_ptr(), name.as_ptr(), value.as_ptr().cast(), value.len(), 0) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Makes a directory and those above it, which may be there.
fn make_directory(path: &Path, mode: u32) {
    fs::create_dir_all(path).unwrap_or_else(|e| panic!("\"{}\" can be made: {e}", path.display()));
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("rights can be set");
}

/// Returns the directory and the name of a path, none for the root.
fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(at) => Some((&path[..at], &path[at + 1..])),
        None => (!path.is_empty()).then_some((b"", path)),
    }
}

/// Returns what is in a directory, by name.
fn entries_of(path: &Path) -> Vec<PathBuf> {
    let listed = fs::read_dir(path).unwrap_or_else(|e| panic!("\"{}\" can be listed: {e}", path.display()));
    let mut paths: Vec<PathBuf> = listed.map(|entry| entry.expect("a directory can be listed").path()).collect();
    paths.sort();
    paths
}

/// Where a record was made.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Client,
    Brick,
}

fn load_entries(path: &Path, side: Side) -> Vec<TruthEntry> {
    let record = fs::read_to_string(path).unwrap_or_else(|e| panic!("\"{}\" can be read: {e}", path.display()));
    let mut entries: Vec<TruthEntry> = record
        .lines()
        .map(|line| entry_of(&serde_json::from_str(line).expect("a line of a record is JSON"), side))
        .collect();
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    entries
}

fn entry_of(line: &Value, side: Side) -> TruthEntry {
    let path = match bytes(line, "path").expect("an entry has a path") {
        root if root == b"." => Vec::new(),
        path => path,
    };
    let mode = u32::from_str_radix(text(&line["mode"]), 8).expect("a mode is octal");
    let kind = Kind::from_mode(mode).expect("a recorded kind is known");
    let mtime = line["mtime_ns"].as_i64().expect("a time is a number");
    let device = line.get("rdev").map_or(0, |numbers| libc::makedev(number(&numbers[0]), number(&numbers[1])));
    let gfid: Gfid = text(&line["gfid"]).parse().expect("a gfid is a UUID");
    let mut xattrs: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for (name, value) in line.get("xattrs").and_then(Value::as_object).into_iter().flatten() {
        xattrs.insert(name.clone(), of_hex(text(value)));
    }
    if side == Side::Brick {
        xattrs.insert("trusted.gfid".to_owned(), gfid.0.to_vec());
        for name in line.get("gfid2path").and_then(Value::as_array).into_iter().flatten() {
            let value = bytes(name, "value").expect("a name of a node has a value");
            xattrs.insert(text(&name["xattr"]).to_owned(), value);
        }
        if let Some(mdata) = line.get("mdata") {
            xattrs.insert("trusted.glusterfs.mdata".to_owned(), of_hex(text(mdata)));
        }
        if let Some(linkto) = line.get("linkto") {
            let value = [text(linkto).as_bytes(), b"\0"].concat();
            xattrs.insert("trusted.glusterfs.dht.linkto".to_owned(), value);
        }
    }
    TruthEntry {
        path,
        kind,
        gfid,
        mode,
        uid: number(&line["uid"]),
        gid: number(&line["gid"]),
        size: line["size"].as_u64().expect("a size is a number"),
        nlink: line["nlink"].as_u64().expect("a link count is a number"),
        mtime: (mtime.div_euclid(1_000_000_000), u32::try_from(mtime.rem_euclid(1_000_000_000)).expect("below")),
        ino: line["ino"].as_u64().expect("a number of an inode is a number"),
        target: bytes(line, "target").unwrap_or_default(),
        rdev: device,
        sha256: line.get("sha256").map(|sha256| text(sha256).to_owned()),
        xattrs,
    }
}

fn load_json(path: &Path) -> Value {
    let record = fs::read_to_string(path).unwrap_or_else(|e| panic!("\"{}\" can be read: {e}", path.display()));
    serde_json::from_str(&record).expect("a record is JSON")
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is text"))
}

fn number(value: &Value) -> u32 {
    let number = value.as_u64().unwrap_or_else(|| panic!("{value} is a number"));
    u32::try_from(number).expect("a recorded number is small")
}

/// Returns the bytes at `key`, which are text, or base64 at `<key>_b64` where they are not UTF-8.
pub fn bytes(line: &Value, key: &str) -> Option<Vec<u8>> {
    match line.get(key) {
        Some(value) => Some(text(value).as_bytes().to_vec()),
        None => line.get(format!("{key}_b64")).map(|value| of_base64(text(value))),
    }
}

fn of_base64(text: &str) -> Vec<u8> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bytes, mut bits, mut count) = (Vec::new(), 0_u32, 0);
    for digit in text.trim_end_matches('=').bytes() {
        let value = DIGITS.iter().position(|known| *known == digit).expect("a digit of base64");
        bits = bits << 6 | u32::try_from(value).expect("below 64");
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    bytes
}

fn of_hex(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2) && text.is_ascii(), "{text} is bytes in hexadecimal");
    (0..text.len() / 2).map(|at| u8::from_str_radix(&text[2 * at..][..2], 16).expect("hexadecimal digits")).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
