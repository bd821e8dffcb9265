//! A brick made by hand for tests: what Gluster 10.3 keeps in one, without Gluster. Needs root, for `trusted.*`.
//!
//! Promises: what its calls make is whole, with gfid, handle and `trusted.gfid2path.*`; tests then hurt it. Never sets
//! `trusted.glusterfs.mdata`: that is for the tests that are about it.

use super::Gfid;
use crate::sys::walk::fixture;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use tempfile::TempDir;

pub(super) const VOLUME: &str = "vol";
/// The made-up volume's id.
pub(super) const VOLUME_ID: Gfid = Gfid([0x57; 16]);

pub(super) struct MadeBrick {
    dir: TempDir,
    nodes: AtomicU64,
    claims: AtomicU64,
}

/// Counts on and returns the new number.
fn next(count: &AtomicU64) -> u64 {
    count.fetch_add(1, Ordering::Relaxed) + 1
}

impl MadeBrick {
    pub(super) fn new() -> Self {
        let brick = Self { dir: tempfile::tempdir().unwrap(), nodes: AtomicU64::new(0), claims: AtomicU64::new(0) };
        brick.set("", "trusted.glusterfs.volume-id", &VOLUME_ID.0);
        brick.set("", "trusted.gfid", &Gfid::ROOT.0);
        fs::create_dir_all(brick.at(".glusterfs/00/00")).unwrap();
        symlink("../../..", brick.at(Gfid::ROOT.handle())).unwrap();
        brick
    }

    pub(super) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Returns the path on this machine of what is at `path` in the brick.
    pub(super) fn at(&self, path: impl AsRef<OsStr>) -> PathBuf {
        self.path().join(Path::new(path.as_ref()))
    }

    /// Returns a gfid that nobody has yet: `aaaaaaaa-0000-0000-0000-000000000001` and so on.
    pub(super) fn new_gfid(&self) -> Gfid {
        Gfid((0xaaaa_aaaa_u128 << 96 | u128::from(next(&self.nodes))).to_be_bytes())
    }

    pub(super) fn set(&self, path: impl AsRef<OsStr>, attribute: &str, value: &[u8]) {
        fixture::set_xattr(&self.at(path), attribute, value);
    }

    pub(super) fn unset(&self, path: impl AsRef<OsStr>, attribute: &str) {
        let done =
            std::process::Command::new("setfattr").arg("-hx").arg(attribute).arg(self.at(path)).status().unwrap();
        assert!(done.success());
    }

    pub(super) fn gfid(&self, path: impl AsRef<OsStr>) -> Gfid {
        self.gfid_of_made(&self.at(path))
    }

    fn gfid_of_made(&self, path: &Path) -> Gfid {
        use crate::sys::walk as sys;
        use std::os::fd::AsFd;
        let dir = sys::open_root(path.parent().unwrap()).unwrap();
        let name = std::ffi::CString::new(path.file_name().unwrap().as_bytes()).unwrap();
        let mut value = [0; 16];
        let calls = sys::probe_xattr_calls(dir.as_fd());
        sys::get_xattr(calls, sys::FileAt::Named(dir.as_fd(), &name), c"trusted.gfid", &mut value).unwrap();
        Gfid(value)
    }

    fn parent_and_name<'p>(&self, path: &'p OsStr) -> (Gfid, &'p [u8]) {
        let path = Path::new(path);
        let parent = match path.parent().unwrap().as_os_str() {
            top if top.is_empty() => Gfid::ROOT,
            parent => self.gfid(parent),
        };
        (parent, path.file_name().unwrap().as_bytes())
    }

    fn make_room_for_handle(&self, gfid: Gfid) -> PathBuf {
        let handle = self.at(gfid.handle());
        fs::create_dir_all(handle.parent().unwrap()).unwrap();
        handle
    }

    /// Makes a directory.
    pub(super) fn directory(&self, path: impl AsRef<OsStr>) -> Gfid {
        self.directory_of(path, self.new_gfid())
    }

    pub(super) fn directory_of(&self, path: impl AsRef<OsStr>, gfid: Gfid) -> Gfid {
        let path = path.as_ref();
        fs::create_dir(self.at(path)).unwrap();
        self.set(path, "trusted.gfid", &gfid.0);
        let (parent, name) = self.parent_and_name(path);
        self.set_handle(gfid, parent, name);
        gfid
    }

    /// Makes the handle of the directory `gfid` say that it is `name` in `parent`.
    pub(super) fn set_handle(&self, gfid: Gfid, parent: Gfid, name: &[u8]) {
        let handle = self.make_room_for_handle(gfid);
        let _ = fs::remove_file(&handle);
        let mut target = b"../..".to_vec();
        target.extend_from_slice(&parent.handle().as_bytes()[".glusterfs".len()..]);
        target.push(b'/');
        target.extend_from_slice(name);
        symlink(OsStr::from_bytes(&target), handle).unwrap();
    }

    /// Makes a file.
    pub(super) fn file(&self, path: impl AsRef<OsStr>, bytes: &[u8]) -> Gfid {
        fs::write(self.at(&path), bytes).unwrap();
        self.adopt(path)
    }

    /// Makes a symbolic link.
    pub(super) fn symlink(&self, path: impl AsRef<OsStr>, target: &str) -> Gfid {
        symlink(target, self.at(&path)).unwrap();
        self.adopt(path)
    }

    /// Gives gfid, handle and name to what is at `path` and is no directory.
    pub(super) fn adopt(&self, path: impl AsRef<OsStr>) -> Gfid {
        let gfid = self.new_gfid();
        self.set(&path, "trusted.gfid", &gfid.0);
        fs::hard_link(self.at(&path), self.make_room_for_handle(gfid)).unwrap();
        self.claim(&path, &path);
        gfid
    }

    /// Makes a second name of a file.
    pub(super) fn link(&self, old: impl AsRef<OsStr>, new: impl AsRef<OsStr>) {
        fs::hard_link(self.at(&old), self.at(&new)).unwrap();
        self.claim(new.as_ref(), new.as_ref());
    }

    /// Makes what is at `path` claim, by `trusted.gfid2path.*`, that it is at `claimed`. Returns the attribute.
    pub(super) fn claim(&self, path: impl AsRef<OsStr>, claimed: impl AsRef<OsStr>) -> String {
        let (parent, name) = self.parent_and_name(claimed.as_ref());
        let attribute = format!("trusted.gfid2path.{:016x}", next(&self.claims));
        self.set(path, &attribute, &[parent.to_string().as_bytes(), b"/", name].concat());
        attribute
    }

    /// Makes a pointer file of DHT.
    pub(super) fn pointer(&self, path: impl AsRef<OsStr>) -> Gfid {
        use std::os::unix::fs::PermissionsExt;
        let gfid = self.file(&path, b"");
        fs::set_permissions(self.at(&path), fs::Permissions::from_mode(0o1000)).unwrap();
        self.set(&path, "trusted.glusterfs.dht.linkto", b"vol-client-1\0");
        gfid
    }

    /// Switches changelogs on, at second 1000.
    pub(super) fn switch_changelogs_on(&self) {
        let dir = ".glusterfs/changelogs/htime";
        fs::create_dir_all(self.at(dir)).unwrap();
        fs::write(self.at(dir).join("HTIME.1000"), b"").unwrap();
        self.set(dir, "trusted.glusterfs.current_htime", b"HTIME.1000");
        self.slice("CHANGELOG", &[]);
    }

    /// Writes a changelog that ends at `second` and is listed.
    pub(super) fn listed_slice(&self, second: u64, records: &[Vec<u8>]) {
        let path = self.slice(&format!("CHANGELOG.{second}"), records);
        let htime = self.at(".glusterfs/changelogs/htime/HTIME.1000");
        let listed = [&fs::read(&htime).unwrap()[..], path.as_os_str().as_bytes(), b"\0"].concat();
        fs::write(htime, listed).unwrap();
    }

    /// Writes a changelog and returns its path.
    pub(super) fn slice(&self, name: &str, records: &[Vec<u8>]) -> PathBuf {
        let dir = self.at(".glusterfs/changelogs");
        fs::create_dir_all(&dir).unwrap();
        let mut bytes = b"GlusterFS Changelog | version: v1.2 | encoding : 2\n".to_vec();
        bytes.extend(records.concat());
        fs::write(dir.join(name), bytes).unwrap();
        dir.join(name)
    }
}

/// Records in text encoding, as of version v1.2.
pub(super) mod record {
    use super::Gfid;

    fn spot(parent: Gfid, name: &[u8]) -> Vec<u8> {
        [parent.to_string().as_bytes(), b"/", name, b"\0"].concat()
    }

    pub(in super::super) fn data(gfid: Gfid) -> Vec<u8> {
        format!("D{gfid}\0").into_bytes()
    }

    pub(in super::super) fn create(gfid: Gfid, parent: Gfid, name: &[u8]) -> Vec<u8> {
        [format!("E{gfid}\x0023\x0033188\x000\x000\0").as_bytes(), &spot(parent, name)].concat()
    }

    pub(in super::super) fn rename(gfid: Gfid, from: (Gfid, &[u8]), to: (Gfid, &[u8])) -> Vec<u8> {
        [format!("E{gfid}\x008\0").as_bytes(), &spot(from.0, from.1), &spot(to.0, to.1)].concat()
    }

    pub(in super::super) fn unlink(gfid: Gfid, parent: Gfid, name: &[u8]) -> Vec<u8> {
        [format!("E{gfid}\x005\0").as_bytes(), &spot(parent, name), b"\0\0"].concat()
    }
}
