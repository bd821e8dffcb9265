//! Disks for tests: the images of `tests/data/block`, what the kernel told of them, and what a view shows of them.
//!
//! A truth is a [`Picture`] in which `bytes` are the SHA-256 of a file's content, in hexadecimal digits, of files over 1 GiB
//! `data:` and that of their pieces that are not zero. Never looks into an image by itself.
#![allow(dead_code, unreachable_pub)] // each test binary uses its own part

use super::common::{Picture, Shown, ino_of, joined, listing, picture_of_view};
use asof::clock::Fixed;
use asof::model::Kind;
use asof::view::{Ino, Looked, Tree};
use base64::Engine;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

/// Files above are compared by what of them is not zero.
pub const HUGE_BYTES: u64 = 1 << 30;

/// Returns the folder of the images.
pub fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/block")
}

fn unpacked(path: &Path) -> impl Read + use<> {
    let file = File::open(path).expect("the file is there");
    let mut decoder = zstd::Decoder::new(file).expect("it is zstd");
    decoder.window_log_max(27).expect("as it was made");
    decoder
}

/// Unpacks `NAME.img.zst` to `to`, its zeros as holes.
pub fn unpack_image(name: &str, to: &Path) {
    unpack_sparse(&mut unpacked(&data().join(format!("{name}.img.zst"))), to);
}

/// Unpacks the file `from` to `to`, its zeros as holes.
pub fn unpack_file(from: &Path, to: &Path) {
    unpack_sparse(&mut unpacked(from), to);
}

fn unpack_sparse(from: &mut dyn Read, to: &Path) {
    let file = File::create(to).expect("a file can be made");
    let (mut at, mut piece) = (0, vec![0; 64 << 10]);
    loop {
        let mut there = 0;
        while there < piece.len() {
            match from.read(&mut piece[there..]).expect("it is whole") {
                0 => break,
                n => there += n,
            }
        }
        if piece[..there].iter().any(|byte| *byte != 0) {
            file.write_all_at(&piece[..there], at).expect("it can be written");
        }
        at += there as u64;
        if there < piece.len() {
            break;
        }
    }
    file.set_len(at).expect("it can be written");
}

/// Unpacks `NAME.tar.zst`, in which everything is below `NAME`, into `folder`.
pub fn unpack_chain(name: &str, folder: &Path) -> PathBuf {
    unpack_tar(&data().join(format!("{name}.tar.zst")), folder);
    folder.join(name)
}

/// Unpacks the tar file `from` into `folder`.
pub fn unpack_tar(from: &Path, folder: &Path) {
    let mut tar =
        Command::new("tar").arg("-x").arg("-C").arg(folder).stdin(Stdio::piped()).spawn().expect("tar is here");
    let mut into = tar.stdin.take().expect("it is a pipe");
    std::io::copy(&mut unpacked(from), &mut into).expect("tar reads");
    into.flush().expect("tar reads");
    drop(into);
    assert!(tar.wait().expect("it ends").success(), "{from:?} is a tar file");
}

/// Reads the truth of `NAME.jsonl.zst`.
pub fn truth_of_image(name: &str) -> Picture {
    truth(&mut BufReader::new(unpacked(&data().join(format!("{name}.jsonl.zst")))))
}

/// Reads a truth: JSON lines.
pub fn truth(lines: &mut dyn BufRead) -> Picture {
    let mut picture = Picture::new();
    let mut groups: HashMap<u64, Vec<u8>> = HashMap::new();
    let mut inodes = BTreeMap::new();
    for line in lines.lines() {
        let line: Value = serde_json::from_str(&line.expect("it can be read")).expect("it is JSON");
        let path = bytes_of(&line, "path").expect("everything has a path");
        let path = if path == b"." { Vec::new() } else { path };
        let inode = number(&line, "ino");
        let first = groups.entry(inode).or_insert_with(|| path.clone());
        *first = (*first).clone().min(path.clone());
        inodes.insert(path.clone(), inode);
        picture.insert(path, told(&line));
    }
    for (path, shown) in &mut picture {
        shown.same_file_as.clone_from(&groups[&inodes[path]]);
    }
    picture
}

fn told(line: &Value) -> Shown {
    let mode = u32::from_str_radix(line["mode"].as_str().expect("text"), 8).expect("octal");
    let mut xattrs: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    for (name, value) in line["xattrs"].as_object().into_iter().flatten() {
        xattrs.push((name.clone().into_bytes(), base64(value.as_str().expect("text"))));
    }
    xattrs.sort();
    let mtime = time(line, "mtime_ns");
    Shown {
        kind: Kind::from_mode(mode).expect("a mode has a type"),
        perm: mode & 0o7777,
        uid: number(line, "uid") as u32,
        gid: number(line, "gid") as u32,
        size_bytes: number(line, "size"),
        mtime,
        ctime: Some(time(line, "ctime_ns")).filter(|_| keeps_ctime(mtime)),
        nlink: number(line, "nlink") as u32,
        rdev: line["rdev"].as_str().map_or(0, |text| {
            let (major, minor) = text.split_once(':').expect("two numbers");
            libc::makedev(major.parse().expect("a number"), minor.parse().expect("a number"))
        }),
        target: bytes_of(line, "target").unwrap_or_default(),
        xattrs,
        same_file_as: Vec::new(),
        bytes: line["sha256"].as_str().map(|text| text.as_bytes().to_vec()),
    }
}

fn number(line: &Value, key: &str) -> u64 {
    line[key].as_u64().unwrap_or_else(|| panic!("{key} is a number: {line}"))
}

fn time(line: &Value, key: &str) -> (i64, u32) {
    // Beyond the year 2262 it fits into an unsigned number only.
    let ns = line[key].as_i64().map(i128::from).or_else(|| line[key].as_u64().map(i128::from));
    let ns = ns.unwrap_or_else(|| panic!("{key} is a number: {line}"));
    (ns.div_euclid(1_000_000_000) as i64, ns.rem_euclid(1_000_000_000) as u32)
}

/// The catalog keeps a ctime as its distance from the mtime, which is at most 292 years.
fn keeps_ctime(mtime: (i64, u32)) -> bool {
    mtime.0 < 9_223_372_036
}

fn base64(text: &str) -> Vec<u8> {
    base64::engine::general_purpose::STANDARD.decode(text).expect("it is base64")
}

/// Returns a path or a target, which is not always text.
fn bytes_of(line: &Value, key: &str) -> Option<Vec<u8>> {
    match line[key].as_str() {
        Some(text) => Some(text.as_bytes().to_vec()),
        None => line[format!("{key}_b64")].as_str().map(base64),
    }
}

/// Opens the catalog of a site as the mount would; the present is the end of 2026.
pub fn tree(catalog: &Path) -> Tree {
    Tree::over(catalog, 64, Arc::new(Fixed(super::common::NOW)), jiff::tz::TimeZone::UTC)
        .expect("a tree over the catalog")
}

/// Returns all of the tree below `path` of a view, with the hashes of its files.
pub fn picture(tree: &Tree, path: &str) -> Picture {
    let root = ino_of(tree, path).unwrap_or_else(|| panic!("{path} is not there"));
    let mut picture = picture_of_view(tree, root, false, true);
    for (path, ino) in files_below(tree, root) {
        let shown = picture.get_mut(&path).expect("it was listed");
        shown.bytes = Some(hash(tree, ino).into_bytes());
    }
    for shown in picture.values_mut() {
        shown.xattrs.sort();
        shown.ctime = shown.ctime.filter(|_| keeps_ctime(shown.mtime));
    }
    picture
}

/// Returns the regular files below a directory, those that have several names under each.
pub fn files_below(tree: &Tree, root: Ino) -> Vec<(Vec<u8>, Ino)> {
    let (mut files, mut todo) = (Vec::new(), vec![(Vec::new(), root)]);
    while let Some((path, dir)) = todo.pop() {
        for (name, stat) in listing(tree, dir) {
            let below = joined(&path, &name);
            match stat.kind {
                Kind::Directory => todo.push((below, stat.ino)),
                Kind::File => files.push((below, stat.ino)),
                _ => {}
            }
        }
    }
    files
}

/// Returns the SHA-256 of a file of a view.
pub fn hash(tree: &Tree, ino: Ino) -> String {
    let file = tree.open(ino).unwrap_or_else(|e| panic!("cannot open: {}", asof::model::chain(&e)));
    let (size_bytes, mut hasher, mut piece) = (file.size_bytes(), Sha256::new(), vec![0; 1 << 20]);
    if size_bytes <= HUGE_BYTES {
        let mut at = 0;
        while at < size_bytes {
            let wanted = (size_bytes - at).min(piece.len() as u64) as usize;
            let read = file
                .read_at(&mut piece[..wanted], at)
                .unwrap_or_else(|e| panic!("at {at}: {}", asof::model::chain(&e)));
            assert_eq!(read, wanted, "an open file is read to its end");
            hasher.update(&piece[..wanted]);
            at += wanted as u64;
        }
        return hex(hasher);
    }
    let mut at = 0;
    while let Some(start) = file.seek_data(at).expect("it is open") {
        let end = file.seek_hole(start).expect("it is open").expect("there is a hole at its end");
        let mut segment = vec![0; usize::try_from(end - start).expect("a test's segment fits into memory")];
        let read = file.read_at(&mut segment, start).expect("it can be read");
        assert_eq!(read, segment.len());
        if segment.iter().any(|byte| *byte != 0) {
            hasher.update(format!("{start}:{}:", segment.len()));
            hasher.update(&segment);
        }
        at = end;
    }
    format!("data:{}", hex(hasher))
}

/// Returns the SHA-256 of a plain file.
pub fn hash_of_file(path: &Path) -> String {
    let (mut file, mut hasher) = (File::open(path).expect("it is there"), Sha256::new());
    std::io::copy(&mut file, &mut hasher).expect("it can be read");
    hex(hasher)
}

/// Returns the SHA-256 of bytes.
pub fn hash_of_bytes(bytes: &[u8]) -> String {
    hex(Sha256::new_with_prefix(bytes))
}

fn hex(hasher: Sha256) -> String {
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns the SHA-256 of the file `path` of a view, which is not huge.
pub fn hash_at(tree: &Tree, path: &str) -> String {
    hash(tree, ino_of(tree, path).unwrap_or_else(|| panic!("{path} is not there")))
}

/// Looks up one name.
pub fn look(tree: &Tree, dir: Ino, name: &[u8]) -> Option<Ino> {
    match tree.lookup(dir, name).expect("a look-up answers") {
        Looked::Found(stat, _) => Some(stat.ino),
        Looked::Missing(_) => None,
    }
}
