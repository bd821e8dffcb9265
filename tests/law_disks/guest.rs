//! A guest with one file system, and what happens to its disk from night to night.
//!
//! Deeds and their order are made of dice; what the kernel makes of them (times, numbers, hashes) is its own.

use crate::common::dice::Dice;
use crate::common::{Picture, picture_of_copy};
use crate::site::{sh, shell, wait_until};
use asof::model::Kind;
use asof::source::block::{Content, Device, FileDevice, FileSystem, ext4, fat, xfs};
use std::fs::{self, File};
use std::ops::ControlFlow;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;

/// Its file systems: name, size in MiB, how it is made.
const FILE_SYSTEMS: [(&str, u64, &str); 6] = [
    ("ext2", 4, "mkfs.ext2 -q -F -b 1024"),
    ("ext3", 8, "mkfs.ext3 -q -F -b 1024"),
    ("ext4", 16, "mkfs.ext4 -q -F"),
    ("ext4 without checksums", 8, "mkfs.ext4 -q -F -b 1024 -I 128 -O ^metadata_csum,^extent,^64bit"),
    ("ext4 of many groups", 16, "mkfs.ext4 -q -F -b 1024 -g 1024 -N 2048 -O inline_data,^flex_bg -I 256"),
    ("xfs", 64, "mkfs.xfs -q -f --unsupported -d agcount=3"),
];
const GRAIN: usize = 64 << 10;

/// How a night is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Raw,
    /// All of it.
    Whole,
    Qcow2,
    Pull,
    /// There is no image.
    None,
}

pub(crate) struct Guest {
    dir: TempDir,
    file_system: (&'static str, u64, &'static str),
    size_mib: u64,
    /// Whether something is wrong with the disk.
    is_hurt: bool,
    /// Whether the disk lies beside it as it was before it was hurt.
    has_whole: bool,
    /// What was done last.
    pub(crate) told: String,
    mounted: Option<Picture>,
    /// Of the nights so far: whether something was wrong, and the size.
    nights: Vec<(bool, u64)>,
    pub(crate) forms: Vec<Form>,
}

impl Guest {
    pub(crate) fn new(dice: &mut Dice) -> Self {
        let file_system = FILE_SYSTEMS[dice.roll(FILE_SYSTEMS.len())];
        let guest = Self {
            dir: tempfile::tempdir().expect("a temporary folder can be made"),
            file_system,
            size_mib: file_system.1,
            is_hurt: false,
            has_whole: false,
            told: String::new(),
            mounted: None,
            nights: Vec::new(),
            forms: Vec::new(),
        };
        guest.run(&format!("mkdir m; truncate -s {}M disk; {} disk", file_system.1, file_system.2));
        guest
    }

    pub(crate) fn kind(&self) -> &'static str {
        self.file_system.0
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        fs::canonicalize(self.dir.path()).expect("it is there").join(name)
    }

    /// Returns the whole disk as it was in a night.
    pub(crate) fn state(&self, night: usize) -> PathBuf {
        self.path(&format!("state-{night}"))
    }

    /// Returns what the kernel showed of this night, if it was mounted.
    pub(crate) fn mounted(&self) -> Option<&Picture> {
        self.mounted.as_ref()
    }

    fn run(&self, script: &str) -> String {
        sh(&self.path(""), script)
    }

    fn is_xfs(&self) -> bool {
        self.file_system.0 == "xfs"
    }

    /// Lets a day pass, and returns what happened in it.
    pub(crate) fn live(&mut self, dice: &mut Dice, night: usize) -> &'static str {
        self.mounted = None;
        self.told.clear();
        let deed = match (night, self.is_hurt, dice.roll(12)) {
            (0, _, _) => "edited",
            (_, true, 0..=3) if self.has_whole => "healed",
            (_, true, 0..=6) => "repaired",
            (_, true, 7..=9) => "put back",
            (_, true, _) => "hurt",
            (_, false, 0..=3) => "edited",
            (_, false, 4) => "crashed",
            (_, false, 5..=6) => "put back",
            (_, false, 7) => "resized",
            (_, false, 8..=9) => "altered",
            (_, false, _) => "hurt",
        };
        match deed {
            "edited" => self.edit(dice, if night == 0 { 40 } else { 12 }),
            "crashed" if self.file_system.0 == "ext2" => self.edit(dice, 12),
            "crashed" => self.crash(dice),
            "healed" => {
                self.run("mv whole disk");
                (self.is_hurt, self.has_whole) = (false, false);
            }
            "repaired" => self.repair(),
            "put back" => {
                let to = dice.roll(night);
                fs::copy(self.state(to), self.path("disk")).expect("it can be copied");
                (self.is_hurt, self.size_mib) = self.nights[to];
                self.has_whole = false;
                self.told = format!("to night {to}");
            }
            "resized" if self.is_xfs() => self.edit(dice, 12),
            "resized" => self.resize(dice),
            "altered" => self.begin_hurt(|guest| guest.alter(dice)),
            _ => self.begin_hurt(|guest| guest.flip(dice)),
        }
        if self.mounted.is_none() && !self.is_hurt {
            let options = if self.is_xfs() { "loop,nouuid" } else { "loop" };
            // A log may have to be replayed: into a copy.
            self.run(&format!("cp --sparse=always disk copy; mount -o {options} copy m"));
            self.look();
            self.unmount();
            self.run("rm copy");
        }
        self.told = format!("{deed} {}", self.told);
        deed
    }

    /// Keeps the disk of this night as an image.
    pub(crate) fn take(&mut self, dice: &mut Dice, night: usize, stem: &Path) -> Form {
        let before = night.checked_sub(1).map(|before| (self.nights[before].1, self.forms[before]));
        let form = match before {
            Some((size, form)) if size == self.size_mib => match dice.roll(5) {
                0 | 1 => Form::Pull,
                2 | 3 if form != Form::Pull => Form::Qcow2,
                _ => Form::Raw,
            },
            _ => Form::Raw,
        };
        self.keep(form, night, stem);
        form
    }

    /// Returns the newest night that there is an image of, if the disk had the size then that it has now.
    pub(crate) fn counts_from(&self) -> Option<usize> {
        let newest = self.forms.iter().rposition(|form| *form != Form::None)?;
        Some(newest).filter(|night| self.nights[*night].1 == self.size_mib)
    }

    /// Keeps the disk of this night in a form. What counts from another image counts from the newest.
    pub(crate) fn keep(&mut self, form: Form, night: usize, stem: &Path) {
        self.run(&format!("cp --sparse=always disk state-{night}"));
        let before = self.counts_from();
        let images = stem.parent().expect("it is in a folder");
        let stem = stem.to_str().expect("it is UTF-8");
        match form {
            Form::Raw => drop(self.run(&format!("cp --sparse=always disk {stem}.raw"))),
            Form::Whole => drop(self.run(&format!("qemu-img convert -f raw -O qcow2 disk {stem}.qcow2"))),
            Form::Qcow2 => {
                let before = before.expect("there is one");
                let below = if self.forms[before] == Form::Raw { "raw" } else { "qcow2" };
                let backing = images.join(format!("{}.{below}", crate::day(before)));
                self.run(&format!(
                    "qemu-img convert -f raw -O qcow2 -B {} -F {below} disk {stem}.qcow2",
                    backing.display()
                ));
            }
            Form::Pull => take_dirty(&self.path("disk"), &self.state(before.expect("there is one")), stem),
            Form::None => {}
        }
        self.nights.push((self.is_hurt, self.size_mib));
        self.forms.push(form);
    }

    fn mount(&self) -> PathBuf {
        self.run(if self.is_xfs() { "mount -o loop,noatime,nouuid disk m" } else { "mount -o loop,noatime disk m" });
        self.path("m")
    }

    fn unmount(&self) {
        unmount(&self.path("m"));
    }

    fn edit(&mut self, dice: &mut Dice, count: usize) {
        let mount = self.mount();
        let count = 1 + dice.roll(count);
        edit(&mount, dice, count);
        self.look();
        self.unmount();
    }

    /// Looks at what is mounted. What the kernel itself cannot read whole is hurt, whatever the tools say.
    fn look(&mut self) {
        let mount = self.path("m");
        self.mounted = std::panic::catch_unwind(|| picture_of_copy(&mount)).ok();
        self.is_hurt = self.mounted.is_none();
    }

    /// Keeps the disk as it is while it is written to.
    fn crash(&mut self, dice: &mut Dice) {
        let mount = self.mount();
        edit(&mount, dice, 8);
        self.run("sync -f m");
        edit(&mount, dice, 5);
        self.run("echo late >m/late; sync m/late; cp --sparse=always disk crashed");
        self.unmount();
        self.run("mv crashed disk");
    }

    fn repair(&mut self) {
        let script = if self.is_xfs() {
            "xfs_repair -L -f disk >/dev/null 2>&1; xfs_repair -n -f disk >/dev/null 2>&1"
        } else {
            "e2fsck -fy disk >/dev/null 2>&1; e2fsck -fy disk >/dev/null 2>&1; e2fsck -fn disk >/dev/null 2>&1"
        };
        self.is_hurt = !shell(&self.path(""), script).status.success();
        self.has_whole &= self.is_hurt;
    }

    fn resize(&mut self, dice: &mut Dice) {
        let usual = self.file_system.1;
        let size_mib = [usual / 2, usual, usual * 3 / 2][dice.roll(3)];
        if size_mib > self.size_mib {
            self.run(&format!("truncate -s {size_mib}M disk"));
        }
        let is_done = shell(&self.path(""), &format!("e2fsck -fp disk && resize2fs disk {size_mib}M")).status.success();
        if is_done && size_mib < self.size_mib && dice.roll(2) == 0 {
            self.run(&format!("truncate -s {size_mib}M disk"));
        }
        self.size_mib = fs::metadata(self.path("disk")).expect("it is there").len() >> 20;
        self.told = format!("to {size_mib} MiB, done: {is_done}, the disk has {} MiB", self.size_mib);
    }

    fn begin_hurt(&mut self, hurt: impl FnOnce(&mut Self)) {
        if !self.is_hurt {
            self.run("cp --sparse=always disk whole");
            self.has_whole = true;
        }
        self.is_hurt = true;
        hurt(self);
    }

    fn open(&self) -> Option<Box<dyn FileSystem>> {
        open(&self.path("disk"))
    }

    /// Returns numbers of inodes in use, those of directories again, and runs of directories' blocks.
    fn metadata(&self) -> (Vec<u64>, Vec<u64>, Vec<(u64, u64)>) {
        let (mut numbers, mut directories, mut blocks) = (Vec::new(), Vec::new(), Vec::new());
        let Some(fs) = self.open() else { return (numbers, directories, blocks) };
        let _ = fs.scan_inodes(&mut |inode| {
            if let Ok(inode) = inode {
                numbers.push(inode.number);
                let is_directory = Kind::from_mode(inode.attrs.mode) == Some(Kind::Directory);
                if is_directory {
                    directories.push(inode.number);
                }
                if let Content::Mapped(map) = inode.content {
                    blocks.extend(map.rests_on);
                    let runs = map.extents.iter().filter(|_| is_directory);
                    blocks.extend(runs.map(|run| (run.at, run.length)));
                }
            }
            ControlFlow::Continue(())
        });
        (numbers, directories, blocks)
    }

    /// Flips bits, mostly in metadata.
    fn flip(&mut self, dice: &mut Dice) {
        let (numbers, _, blocks) = self.metadata();
        let file = File::options().read(true).write(true).open(self.path("disk")).expect("it is there");
        let size = file.metadata().expect("it is there").len();
        for _ in 0..=dice.roll(3) {
            let record = dice.pick(&numbers).and_then(|number| self.open()?.records()?.record_of(number));
            let at = match (dice.roll(10), record, dice.pick(&blocks)) {
                (0..=3, Some((at, length)), _) => at + dice.roll(length as usize) as u64,
                (4..=6, _, Some((at, length))) => at + dice.roll(length as usize) as u64,
                (7, _, _) => dice.roll(8192) as u64,
                _ => {
                    let mut sector = [0; 512];
                    let tries = (0..200).map(|_| dice.roll(size as usize / 512) as u64 * 512);
                    let mut used = tries.filter(|at| {
                        file.read_exact_at(&mut sector, *at).is_ok() && sector.iter().any(|byte| *byte != 0)
                    });
                    let Some(at) = used.next() else { continue };
                    drop(used);
                    at + dice.roll(512) as u64
                }
            };
            let (mut byte, bit) = ([0], dice.roll(8));
            file.read_exact_at(&mut byte, at).expect("it lies on the disk");
            byte[0] ^= 1 << bit;
            file.write_all_at(&byte, at).expect("it lies on the disk");
            self.told.push_str(&format!("bit {bit} at {at} "));
        }
    }

    /// Alters an inode or a name as no kernel would, with checksums that hold.
    fn alter(&mut self, dice: &mut Dice) {
        let (numbers, directories, _) = self.metadata();
        let root = self.open().map_or(2, |fs| fs.root());
        let (Some(number), Some(directory)) = (dice.pick(&numbers), dice.pick(&directories)) else { return };
        let (roll, other) = (dice.roll(8), dice.roll(1000));
        if self.is_xfs() {
            let (number, field) = match roll {
                0 => (root, "core.mode 0100644".to_owned()),
                1 | 2 => (directory, "core.mode 0100644".to_owned()),
                3 => (number, "core.mode 0040755".to_owned()),
                4 => (directory, "core.nlinkv2 0".to_owned()),
                5 => (number, format!("core.gen {other}")),
                6 => (number, format!("core.uid {other}")),
                _ => (number, "core.mode 0".to_owned()),
            };
            self.told = format!("inode {number}: {field}");
            self.run(&format!("xfs_db -x -c 'inode {number}' -c 'write {field}' disk >/dev/null 2>&1 || true"));
            return;
        }
        let request = match roll {
            0 => format!("sif <{root}> mode 0100644"),
            1 => format!("sif <{directory}> mode 0100644"),
            2 => format!("sif <{number}> mode 040755"),
            3 => format!("clri <{number}>"),
            4 => format!("ln <{directory}> again{other}"),
            5 => format!("sif <{number}> generation {other}"),
            6 => format!("sif <{directory}> links_count 0"),
            _ => format!("sif <{number}> mode 0010644"),
        };
        self.run(&format!("debugfs -w -R '{request}' disk >/dev/null 2>&1 || true"));
        self.told = request;
    }
}

/// Unmounts, and waits until the image is written: a process that another test is about to start has what is open here for a moment, and one
/// with mounts of its own keeps the file system up until it ends.
pub(crate) fn unmount(mount: &Path) {
    let root = Path::new("/");
    wait_until("it is unmounted", || shell(root, &format!("umount '{}'", mount.display())).status.success());
    let folder = mount.parent().expect("it is in a folder").display().to_string();
    wait_until("its loop device is gone", || !sh(root, "losetup --list --noheadings -O BACK-FILE").contains(&folder));
}

/// Opens the file system that an image is of, by what it is.
pub(crate) fn open(image: &Path) -> Option<Box<dyn FileSystem>> {
    let file = File::open(image).expect("it is there");
    let size_bytes = file.metadata().expect("it is there").len();
    let device: Arc<dyn Device> = Arc::new(FileDevice { file, size_bytes });
    if ext4::is(&*device) {
        return Some(Box::new(ext4::open(device).ok()?));
    }
    if xfs::is(&*device) {
        return Some(Box::new(xfs::open(device).ok()?));
    }
    Some(Box::new(fat::open(device).ok()?))
}

/// Keeps what differs between two states of a disk as an increment, with its map beside it.
pub(crate) fn take_dirty(now: &Path, then: &Path, stem: &str) {
    let (now, then) = (fs::read(now).expect("it is there"), fs::read(then).expect("it is there"));
    let file = File::create(format!("{stem}.raw")).expect("it can be made");
    file.set_len(now.len() as u64).expect("it can be made");
    let mut dirty = Vec::new();
    for (index, (new, old)) in now.chunks(GRAIN).zip(then.chunks(GRAIN)).enumerate() {
        if new != old {
            file.write_all_at(new, (index * GRAIN) as u64).expect("it can be written");
            dirty.push([index * GRAIN, new.len()]);
        }
    }
    let map = serde_json::json!({ "size": now.len(), "bitmap": "b", "dirty": dirty, "zero": [] });
    fs::write(format!("{stem}.json"), map.to_string()).expect("it can be written");
}

/// Does `count` things to a tree, as users would. What there is no room for is left out.
pub(crate) fn edit(root: &Path, dice: &mut Dice, count: usize) {
    for _ in 0..count {
        let (mut files, mut folders, mut todo) = (Vec::new(), vec![root.to_owned()], vec![root.to_owned()]);
        while let Some(folder) = todo.pop() {
            for entry in fs::read_dir(folder).expect("it can be listed").map(Result::unwrap) {
                match entry.file_type().expect("it has a type") {
                    kind if kind.is_dir() && entry.file_name() != "lost+found" => {
                        folders.push(entry.path());
                        todo.push(entry.path());
                    }
                    kind if kind.is_dir() => {}
                    _ => files.push(entry.path()),
                }
            }
        }
        files.sort();
        folders.sort();
        let number = dice.roll(100_000);
        let folder = dice.pick(&folders).expect("the top is one");
        let new = folder.join(format!("n{number}"));
        let old = dice.pick(&files).unwrap_or_else(|| root.join("first"));
        let below: Vec<PathBuf> = folders[1..].to_vec();
        let bytes: Vec<u8> = (0..=dice.roll(9000)).map(|at| (at + number) as u8).collect();
        let is_plain = old.symlink_metadata().is_ok_and(|old| old.is_file());
        // What cannot be done (no room, a directory into itself) is not.
        let _ = match dice.roll(18) {
            0 | 1 => fs::write(&new, &bytes),
            2 => fs::write(&new, bytes.repeat(8)),
            3 => File::create(&new).and_then(|file| {
                file.write_all_at(&bytes, 70_000)?;
                file.write_all_at(&bytes, 300_000)
            }),
            4 => fs::create_dir(&new),
            5 => (0..25).try_for_each(|index| {
                let folder = new.join(format!("d{index}"));
                fs::create_dir_all(&folder)?;
                fs::write(folder.join("f"), format!("{number} {index}"))
            }),
            6 => symlink("t".repeat(1 + dice.roll(200)), &new),
            7 => fs::hard_link(&old, &new),
            8 => fs::remove_file(&old),
            9 => fs::rename(&old, &new),
            10 | 11 => dice.pick(&below).map_or(Ok(()), |moved| fs::rename(moved, &new)),
            12 | 13 => dice.pick(&below).map_or(Ok(()), fs::remove_dir_all),
            14 if is_plain => File::options().write(true).open(&old).and_then(|file| {
                let mtime = file.metadata()?.modified()?;
                file.write_all_at(&bytes, dice.roll(5000) as u64)?;
                file.set_modified(mtime)
            }),
            15 if is_plain => {
                let script = format!("setfattr -n user.a -v {} {}", "v".repeat(1 + number % 700), old.display());
                drop(shell(root, &script));
                Ok(())
            }
            16 if is_plain => fs::set_permissions(&old, PermissionsExt::from_mode(0o400 + number as u32 % 64)),
            _ => {
                let long = "long".repeat(20);
                fs::create_dir(&new)
                    .and_then(|()| (0..60).try_for_each(|index| fs::write(new.join(format!("{long}{index}")), "")))
            }
        };
    }
}
