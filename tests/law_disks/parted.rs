//! A disk with a table of partitions: an EFI partition with FAT, an ext4, and a volume group of LVM with ext4 in its volumes. From night to
//! night there are edits (mtools, the kernel), partitions and volumes are removed, renamed, added and made anew, tables are put back, and
//! bits of the FAT flip.
//!
//! After each night all that is on the disk equals what the same image shows in a new catalog. What is known to be sound exits 0, and
//! `fsck.fat` is asked whether the FAT is. Not in here: damage to a table or a superblock, after which a history keeps what it had as unknown, and
//! the image alone has nothing to keep.

use crate::common::dice::{Dice, number};
use crate::guest::{edit, take_dirty, unmount};
use crate::seen::{Seen, What, assert_equal, seen};
use crate::site::{Site, sh, shell};
use crate::{day, disk, index, site_over};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const NIGHTS: usize = 8;
const MIB: u64 = 1 << 20;
/// Number, first and last MiB, type.
const PARTITIONS: [(u32, u64, u64, &str); 3] = [(1, 1, 37, "ef00"), (2, 38, 54, "8300"), (3, 56, 88, "8e00")];
/// Forms of the FAT in a partition of 36 MiB.
const FATS: [&str; 4] = ["-F 12 -s 32", "-F 16 -s 2 -r 128", "-F 16 -s 8", "-F 32 -s 1"];

struct Parted {
    dir: TempDir,
    /// What was done since the night before.
    told: String,
    /// Whether bits of the FAT were flipped since it was made.
    is_hurt: bool,
    /// Of the nights so far.
    was_hurt: Vec<bool>,
}

impl Parted {
    fn new(dice: &mut Dice) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder can be made");
        let mut parted = Self { dir, told: String::new(), is_hurt: false, was_hurt: Vec::new() };
        parted.run("mkdir m images; truncate -s 96M disk; sgdisk -o disk >/dev/null");
        for partition in PARTITIONS {
            parted.add_partition(partition);
        }
        parted.make_fat(dice);
        parted.run(
            "truncate -s 16M p2; mkfs.ext4 -q -F -b 1024 p2; dd if=p2 of=disk bs=1M seek=38 conv=notrunc,sparse status=none; rm p2",
        );
        let lvm = "lv pvcreate -ff -y --dataalignment 1m $loop; lv vgcreate -s 1m vg $loop; lv lvcreate -an -Zn -Wn -y -l 8 -n a vg";
        parted.lvm(lvm);
        parted.fill_volume("a");
        parted
    }

    fn path(&self, name: &str) -> PathBuf {
        fs::canonicalize(self.dir.path()).expect("it is there").join(name)
    }

    fn run(&self, script: &str) -> String {
        sh(&self.path(""), script)
    }

    fn add_partition(&self, (number, first, last, kind): (u32, u64, u64, &str)) {
        let (first, last) = (first * 2048, last * 2048 - 1);
        self.run(&format!("sgdisk -n {number}:{first}:{last} -t {number}:{kind} disk >/dev/null"));
    }

    fn make_fat(&mut self, dice: &mut Dice) {
        let form = FATS[dice.roll(FATS.len())];
        self.is_hurt = false;
        self.told.push_str(&format!("mkfs.fat {form}; "));
        self.run(&format!(
            "truncate -s 36M p1; mkfs.fat {form} -n EFI p1 >/dev/null; fallocate -p -o 1M -l 36M disk
             dd if=p1 of=disk bs=64k seek=16 conv=notrunc,sparse status=none; rm p1"
        ));
    }

    /// Runs the tools of LVM on the third partition; without the device mapper, which they need for nothing that is on the disk.
    fn lvm(&self, script: &str) -> String {
        self.run(&format!(
            r#"loop=$(losetup -f --show -o 56M --sizelimit 32M disk)
            trap 'losetup -d $loop' EXIT
            lv() {{ local tool=$1; shift; $tool --driverloaded n --config "devices {{ use_devicesfile=0 filter=[\"a|^$loop\$|\",\"r|.*|\"] scan=[\"/dev\"] }} backup {{ backup=0 archive=0 }} activation {{ udev_sync=0 udev_rules=0 }}" "$@" 2>/dev/null; }}
            {script}"#
        ))
    }

    /// Returns the names of the logical volumes, and which megabyte of the disk each begins at.
    fn volumes(&self) -> Vec<(String, u64)> {
        let listed = self.lvm("lv lvs --noheadings -o lv_name,seg_pe_ranges");
        let volume = |line: &str| {
            let (name, range) = line.trim().split_once(' ')?;
            let first: u64 = range.rsplit_once(':')?.1.split('-').next()?.parse().ok()?;
            Some((name.to_owned(), 56 + 1 + first))
        };
        listed.lines().filter_map(volume).collect()
    }

    fn fill_volume(&mut self, name: &str) {
        let (_, at) = self.volumes().into_iter().find(|(volume, _)| volume == name).expect("it was made");
        self.run(&format!(
            "mkdir t; echo {name} >t/file; truncate -s 8M v; mkfs.ext4 -q -F -b 1024 -d t v; rm -r t
             dd if=v of=disk bs=1M seek={at} conv=notrunc status=none; rm v"
        ));
    }

    /// Lets a day pass.
    fn live(&mut self, dice: &mut Dice, night: usize) {
        self.told.clear();
        if night > 0 && dice.roll(6) == 0 {
            let to = dice.roll(night);
            fs::copy(self.path(&format!("state-{to}")), self.path("disk")).expect("it can be copied");
            self.is_hurt = self.was_hurt[to];
            self.told = format!("put back to night {to}; ");
        }
        for _ in 0..=dice.roll(3) {
            match dice.roll(12) {
                0..=4 => self.edit_fat(dice),
                5 => self.edit_ext4(dice),
                6 | 7 => self.alter_table(dice),
                8 | 9 => self.alter_volumes(dice),
                10 => self.flip(dice),
                _ if dice.roll(3) == 0 => self.make_fat(dice),
                _ => self.edit_fat(dice),
            }
        }
    }

    /// Does things to the FAT, as users would. What there is no room for is left out.
    fn edit_fat(&mut self, dice: &mut Dice) {
        let listed = shell(&self.path(""), "mdir -b -/ -a -i disk@@1M ::/ 2>/dev/null | sed 's,^::,,'");
        let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
        let (folders, files): (Vec<&str>, Vec<&str>) = listed.lines().partition(|path| path.ends_with('/'));
        let mut script = String::from("export MTOOLS_SKIP_CHECK=1 MTOOLS_FAT_COMPATIBILITY=1\n");
        for index in 0..=dice.roll(6) {
            let number = dice.roll(100_000);
            let name =
                ["N{}.TXT", "a long name {}", "ümläut {}", "m{}"][dice.roll(4)].replace("{}", &number.to_string());
            let folder = dice.pick(&folders).unwrap_or("/");
            let (file, below) = (dice.pick(&files).unwrap_or("/none"), dice.pick(&folders).unwrap_or("/none"));
            let size = [0, 1 + dice.roll(500), dice.roll(9000), dice.roll(200_000)][dice.roll(4)];
            let deed = match dice.roll(12) {
                0..=4 => format!(
                    "head -c {size} /dev/urandom >f{index}; mcopy -D o -o -i disk@@1M f{index} '::{folder}{name}'"
                ),
                5 => format!("head -c {size} /dev/urandom >f{index}; mcopy -D o -o -i disk@@1M f{index} '::{file}'"),
                6 => format!("mmd -D s -i disk@@1M '::{folder}{name}'"),
                7 => format!("mdel -i disk@@1M '::{file}'"),
                8 => format!("mdeltree -i disk@@1M '::{}'", below.trim_end_matches('/')),
                9 => format!("mmove -D s -i disk@@1M '::{file}' '::{folder}'"),
                10 => format!("mren -D s -i disk@@1M '::{file}' '::{folder}{name}'"),
                _ => format!("mattrib -i disk@@1M +r +h '::{file}'"),
            };
            script.push_str(&format!("({deed}) </dev/null >/dev/null 2>&1 || true\n"));
        }
        self.run(&format!("{script}rm -f f?"));
        self.told.push_str("edited the FAT; ");
    }

    fn edit_ext4(&mut self, dice: &mut Dice) {
        self.run("mount -o loop,offset=$((38 << 20)),sizelimit=$((16 << 20)) disk m");
        edit(&self.path("m"), dice, 5);
        unmount(&self.path("m"));
        self.told.push_str("edited the ext4; ");
    }

    fn alter_table(&mut self, dice: &mut Dice) {
        let (number, first, last, kind) = PARTITIONS[dice.roll(PARTITIONS.len())];
        let is_there = shell(&self.path(""), &format!("sgdisk -i {number} disk | grep -q GUID")).status.success();
        match (is_there, dice.roll(3)) {
            (false, _) => self.add_partition((number, first, last, kind)),
            (true, 0) => drop(self.run(&format!("sgdisk -c {number}:name{} disk >/dev/null", dice.roll(9)))),
            (true, _) => drop(self.run(&format!("sgdisk -d {number} disk >/dev/null"))),
        }
        self.told.push_str(&format!("altered the table at {number}, which was there: {is_there}; "));
    }

    fn alter_volumes(&mut self, dice: &mut Dice) {
        let group = self.lvm("lv vgs --noheadings -o vg_name").trim().to_owned();
        let volumes = self.volumes();
        let new = format!("v{}", dice.roll(1000));
        let old = &volumes.get(dice.roll(volumes.len().max(1))).map_or("none".to_owned(), |(name, _)| name.clone());
        let deed = match dice.roll(4) {
            _ if volumes.iter().any(|(name, _)| *name == new) => return,
            0 if !volumes.is_empty() => format!("lvremove -y {group}/{old}"),
            1 if !volumes.is_empty() => format!("lvrename {group} {old} {new}"),
            2 => format!("vgrename {group} g{}", dice.roll(1000)),
            _ if volumes.len() < 3 => format!("lvcreate -an -Zn -Wn -y -l 8 -n {new} {group}"),
            _ => return,
        };
        self.lvm(&format!("lv {deed}"));
        if deed.starts_with("lvcreate") {
            self.fill_volume(&new);
        }
        self.told.push_str(&format!("{deed}; "));
    }

    /// Flips bits in tables and directories of the FAT.
    fn flip(&mut self, dice: &mut Dice) {
        let file = File::options().read(true).write(true).open(self.path("disk")).expect("it is there");
        for _ in 0..=dice.roll(2) {
            let mut sector = [0; 512];
            // Not the boot sector, nor its copy.
            let places = (0..300).map(|_| MIB + 512 * (8 + dice.roll(1400) as u64));
            let mut used = places
                .filter(|at| file.read_exact_at(&mut sector, *at).is_ok() && sector.iter().any(|byte| *byte != 0))
                .collect::<Vec<_>>();
            let Some(at) = used.pop() else { continue };
            let at = at + dice.roll(512) as u64;
            let (mut byte, bit) = ([0], dice.roll(8));
            file.read_exact_at(&mut byte, at).expect("it lies on the disk");
            byte[0] ^= 1 << bit;
            file.write_all_at(&byte, at).expect("it lies on the disk");
            self.told.push_str(&format!("bit {bit} at {at}; "));
        }
        self.is_hurt = true;
    }

    /// Keeps the disk of this night as an image.
    fn take(&mut self, dice: &mut Dice, night: usize) {
        self.run(&format!("cp --sparse=always disk state-{night}"));
        let stem = self.path("images").join(day(night));
        if night > 0 && dice.roll(2) == 0 {
            let (now, then) = (self.path("disk"), self.path(&format!("state-{}", night - 1)));
            take_dirty(&now, &then, stem.to_str().expect("it is UTF-8"));
            self.told.push_str("taken as an increment");
        } else {
            self.run(&format!("cp --sparse=always disk {}.raw", stem.display()));
        }
        self.was_hurt.push(self.is_hurt);
    }
}

/// Returns all that a catalog shows of a night. What is on no file system has the time at which it was first met, which a night alone cannot know.
fn shown(site: &Site, night: usize) -> Seen {
    let mut seen = seen(&disk::tree(&site.path("catalog.db")), &format!("disk/@{}T000000Z", day(night)));
    for (path, what) in &mut seen {
        let is_group = path.starts_with(b"lvm") && path.iter().filter(|byte| **byte == b'/').count() < 2;
        if let What::Is(shown) = what
            && (is_group || path.is_empty() || path == b"disk.raw")
        {
            shown.mtime = (0, 0);
        }
    }
    seen
}

/// Indexes the image of a night in a catalog of its own.
fn alone(image: &Path, place: &Path, night: usize) -> (i32, Seen) {
    fs::create_dir(place).expect("it can be made");
    fs::copy(image, place.join(format!("{}.raw", day(night)))).expect("it can be copied");
    let site = site_over(place);
    let code = index(&site, &[]);
    let seen = shown(&site, night);
    fs::remove_dir_all(place).expect("it is there");
    (code, seen)
}

fn play(seed: u64, sound: &mut usize) {
    let mut dice = Dice::new(seed);
    let mut parted = Parted::new(&mut dice);
    let history = site_over(&parted.path("images"));
    let (mut log, mut nights) = (Vec::new(), Vec::new());
    for night in 0..NIGHTS {
        parted.live(&mut dice, night);
        parted.take(&mut dice, night);
        log.push(format!("{night}: {}", parted.told));
        let what = format!("seed {seed}:\n  {}\n", log.join("\n  "));
        let code = index(&history, &[]);
        let (code_alone, expected) =
            alone(&parted.path(&format!("state-{night}")), &parted.path(&format!("alone-{night}")), night);
        assert_eq!(code, code_alone, "{what}the exit codes of the history and of the night alone");
        assert_equal(&shown(&history, night), &expected, &what);
        if !parted.is_hurt {
            let fsck = "dd if=disk of=p1 bs=1M skip=1 count=36 status=none; fsck.fat -n p1 >/dev/null";
            assert!(shell(&parted.path(""), fsck).status.success(), "{what}the tools left a sound FAT");
            assert_eq!(code, 0, "{what}nothing is wrong with it\n{}", history.ok(&["sql", "SELECT * FROM findings"]));
            *sound += 1;
        }
        nights.push(expected);
    }
    let what = format!("seed {seed}:\n  {}\n", log.join("\n  "));
    for (night, expected) in nights.iter().enumerate() {
        assert_equal(&shown(&history, night), expected, &format!("{what}night {night}, when all were indexed: "));
    }
}

#[test]
fn a_disk_with_partitions_and_volumes_shows_what_it_shows_alone() {
    let (first, count) = (number("ASOF_DISKS_FIRST", 0), number("ASOF_DISKS", 10) / 5);
    let mut sound = 0;
    for seed in first..first + count {
        play(seed, &mut sound);
    }
    println!("histories {first} to {} of disks with partitions, {sound} sound nights", first + count - 1);
    assert!(count == 0 || sound > 0);
}
