//! FAT file systems against the kernel's own view of the same images.
//!
//! Real ones, made by `mkfs.fat` and written to by the kernel; and directories of random slots, sound and unsound, as no kernel writes them.
//! Everything that the kernel shows of them is compared: names, permissions, times, sizes, bytes. The same again through a mount.
//!
//! Needs root, `/dev/fuse`, dosfstools, and a kernel that mounts FAT or user-mode-linux.

mod common;

#[path = "common/disk.rs"]
mod disk;
#[path = "common/other_kernel.rs"]
mod other_kernel;
#[path = "common/site.rs"]
mod site;

use common::dice::Dice;
use common::{Picture, assert_same};
use other_kernel::with_fat;
use site::{Site, said, sh};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Images that the kernel writes: name, size, options of `mkfs.fat`, options of the mount.
const IMAGES: [(&str, &str, &str, &str); 6] = [
    ("floppy", "1440K", "-F 12 -n LABEL", ""),
    ("fat12", "6M", "-F 12 -s 4 -f 1", ",shortname=winnt"),
    ("fat16", "20M", "-F 16 -s 1 -r 224", ""),
    ("fat32", "40M", "-F 32 -s 1 -n 'ESP 32'", ",shortname=winnt"),
    ("large-sectors", "40M", "-F 16 -S 4096 -s 1 -i deadbeef", ""),
    ("large-clusters", "64M", "-F 16 -s 32", ""),
];

/// What is done to each, in the mounted tree.
const EDITS: &str = r#"
import os, random, sys, time
os.chdir(sys.argv[1])
dice = random.Random(7)
def put(name, data, how="wb"):
    with open(name, how) as file:
        file.write(data)
def block(size):
    return b"".join(dice.randbytes(16) * 32 for _ in range(-(-size // 512)))[:size]
def stamp(name, *when):
    import calendar
    os.utime(name, (0, calendar.timegm(when + (0, 0, 0))))
long = "a directory with a long name"
for folder in ("EFI/BOOT", "EFI/debian", long + "/below/and below"):
    os.makedirs(folder)
put("EFI/BOOT/BOOTX64.EFI", b"hello")
for name in ("lower.txt", "UPPER.TXT", "lower.EXT", "Mixed.Case"):
    put(name, name.encode())
for name in ("ümläut €", "😀 beyond the plane", "with.many.dots.tar", "trailing.", "+,;=[] allowed", "日本語", "é" * 255):
    put("EFI/debian/" + name, name.encode())
for number in range(60):
    put(f"{long}/file number {number} of sixty", b"%d" % number)
for number in range(0, 60, 2):
    os.remove(f"{long}/file number {number} of sixty")
for _ in range(40):
    for name, size in (("comb-1", 3000), ("comb-2", 1500), ("comb-3", 700)):
        put(name, block(size), "ab")
os.remove("comb-2")
put("in the gaps", block(100000))
put("empty", b"")
put("sector", block(512))
put("zeros", b"")
os.truncate("zeros", 70000)
os.rename("comb-1", "EFI/renamed")
os.rename(long + "/below", "moved")
os.truncate("EFI/renamed", 5000)
os.chmod("UPPER.TXT", 0o555)
stamp("empty", 1980, 1, 1, 0, 0, 0)
stamp("sector", 2107, 12, 31, 23, 59, 58)
stamp("zeros", 2000, 2, 29, 12, 34, 56)
stamp("lower.txt", 2100, 3, 1, 0, 0, 0)
os.mkdir("deleted")
put("deleted/file", b"x")
os.remove("deleted/file")
os.rmdir("deleted")
"#;

fn day(number: usize) -> String {
    format!("2026-01-{:02}", number + 1)
}

fn site_over(images: &Path) -> Site {
    let site = Site::new();
    site.ok(&["init"]);
    site.ok(&["source", "add", "block", "disk", "--images", images.to_str().expect("a temporary path is UTF-8")]);
    site
}

fn truth(dir: &Path, name: &str) -> Picture {
    let text = fs::read(dir.join(format!("{name}.jsonl"))).expect("the script wrote it");
    disk::truth(&mut text.as_slice())
}

/// Compares what a catalog has of a night with what the kernel showed.
fn assert_as_the_kernel(site: &Site, at: &str, truth: &Picture, what: &str) {
    let tree = disk::tree(&site.path("catalog.db"));
    assert_same(&disk::picture(&tree, &format!("disk/@{at}T000000Z/fs")), truth, &what);
}

#[test]
fn every_width_reads_as_the_kernel_shows_it_by_the_library_and_through_a_mount() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let dir = fs::canonicalize(folder.path()).expect("it is there");
    let mut script = "mkdir -p m images\n".to_owned();
    for (number, (name, size, make, options)) in IMAGES.iter().enumerate() {
        let image = format!("images/{}.raw", day(number));
        script.push_str(&format!(
            "truncate -s {size} {image}; mkfs.fat {make} {image} >/dev/null
             mount -t vfat -o loop,utf8,tz=UTC{options} {image} m; python3 edits.py m; umount m
             mount -t vfat -o loop,ro,utf8,tz=UTC {image} m; truth m >{name}.jsonl; umount m\n"
        ));
    }
    fs::write(dir.join("edits.py"), EDITS).expect("it can be written");
    with_fat(&dir, &script);
    let site = site_over(&dir.join("images"));
    site.run(&["index", "disk"], 0);
    let view = site.mount(&[]);
    for (number, (name, ..)) in IMAGES.iter().enumerate() {
        let truth = truth(&dir, name);
        assert!(truth.len() > 50, "{name}: {}", truth.len());
        assert_as_the_kernel(&site, &day(number), &truth, name);
        let mounted = view.join(format!("@{}T000000Z/disk/fs", day(number)));
        let files = sh(&mounted, "find . -type f -print0 | xargs -0 sha256sum | sort | sed 's, .*,,'");
        let mut expected: Vec<_> = truth.values().filter_map(|shown| shown.bytes.clone()).collect();
        expected.sort();
        let expected: Vec<_> = expected.iter().map(|sum| String::from_utf8_lossy(sum)).collect();
        assert_eq!(files.lines().collect::<Vec<_>>(), expected, "{name}");
    }
    site.umount();
    let volumes =
        site.ok(&["sql", "--csv", "SELECT kind, uuid, fs_label, state, features FROM volumes ORDER BY taken_at"]);
    let volumes: Vec<&str> = volumes.lines().skip(1).collect();
    assert!(volumes[0].ends_with(",LABEL,clean,FAT12") && volumes[3].ends_with(",ESP 32,clean,FAT32"), "{volumes:?}");
    assert_eq!(volumes[4], "vfat,DEAD-BEEF,,clean,FAT16");
}

/// Writes slots over the top directory of a fresh image of 16-bit entries.
fn write_slots(image: &Path, slots: &[[u8; 32]]) {
    let file = File::options().read(true).write(true).open(image).expect("it is there");
    let mut boot = [0; 512];
    file.read_exact_at(&mut boot, 0).expect("it is there");
    let number = |at: usize| u64::from(u16::from_le_bytes([boot[at], boot[at + 1]]));
    let at = (number(14) + u64::from(boot[16]) * number(22)) * number(11);
    assert!(slots.len() as u64 <= number(17), "they have room in the top directory");
    file.write_all_at(slots.as_flattened(), at).expect("it can be written");
}

fn short_slot(name: &[u8; 11], attributes: u8, cases: u8, date: u16, time: u16) -> [u8; 32] {
    let mut slot = [0; 32];
    slot[..11].copy_from_slice(name);
    slot[11] = attributes;
    slot[12] = cases;
    slot[22..24].copy_from_slice(&time.to_le_bytes());
    slot[24..26].copy_from_slice(&date.to_le_bytes());
    slot
}

/// Returns the parts of a long name, the last first, as they lie in front of a short one.
fn long_slots(units: &[u16], sum: u8) -> Vec<[u8; 32]> {
    let parts = units.len().div_ceil(13);
    let part = |number: usize| {
        let mut slot = [0; 32];
        slot[0] = number as u8 | if number == parts { 0x40 } else { 0 };
        (slot[11], slot[13]) = (0x0f, sum);
        let places = (1..11).step_by(2).chain((14..26).step_by(2)).chain((28..32).step_by(2));
        for (index, at) in places.enumerate() {
            let here = (number - 1) * 13 + index;
            let unit = match here.cmp(&units.len()) {
                std::cmp::Ordering::Less => units[here],
                std::cmp::Ordering::Equal => 0,
                std::cmp::Ordering::Greater => 0xffff,
            };
            slot[at..at + 2].copy_from_slice(&unit.to_le_bytes());
        }
        slot
    };
    (1..=parts).rev().map(part).collect()
}

fn sum_of(name: &[u8; 11]) -> u8 {
    name.iter().fold(0, |sum: u8, byte| sum.rotate_right(1).wrapping_add(*byte))
}

/// Slots of a directory in which much is not as it should be; no name in it is there twice.
fn random_slots(dice: &mut Dice, count: usize) -> Vec<[u8; 32]> {
    let mut slots: Vec<[u8; 32]> = Vec::new();
    for number in 0.. {
        let mut name = *b"           ";
        name[..6].copy_from_slice(format!("N{number:05}").as_bytes());
        if dice.roll(3) == 0 {
            name[8 + dice.roll(3)] = b'A' + dice.roll(26) as u8;
        }
        if dice.roll(6) == 0 {
            name[6 + dice.roll(2)] = [0, 0x80 + dice.roll(128) as u8, b' ', b'X'][dice.roll(4)];
        }
        let attributes = [0x20, 0x20, 0x20, 0x01, 0x06, 0x08, 0x28][dice.roll(7)];
        let (date, time) = (dice.roll(65_536) as u16, dice.roll(65_536) as u16);
        let entry = short_slot(&name, attributes, dice.roll(256) as u8, date, time);
        let mut group = Vec::new();
        if dice.roll(4) != 0 {
            let mut units: Vec<u16> = format!("long {number} ").encode_utf16().collect();
            for _ in 0..dice.roll(40) {
                units.push([0x41, 0xe9, 0x65e5, 0xd83d, 0xde00, 0xd83d, 0x2d, 0xfffe][dice.roll(8)]);
            }
            units.push(u16::from(b'a') + number as u16 % 26);
            group = long_slots(&units, sum_of(&name).wrapping_add(u8::from(dice.roll(6) == 0)));
        }
        group.push(entry);
        match dice.roll(12) {
            // A part is lost, doubled, marked as gone or as the first, or bytes of one are others.
            0 => drop(group.remove(dice.roll(group.len()))),
            1 if group.len() > 1 => group.insert(0, group[dice.roll(group.len() - 1)]),
            2 => {
                let at = dice.roll(group.len());
                group[at][0] = 0xe5;
            }
            3 if group.len() > 1 => {
                let at = dice.roll(group.len() - 1);
                group[at][0] ^= [0x40, 0x01, 0x80, 0x02][dice.roll(4)];
            }
            4 if group.len() > 1 => {
                let at = dice.roll(group.len() - 1);
                group[at][13] ^= 1;
            }
            5 => group.insert(dice.roll(group.len()), [0; 32]),
            _ => {}
        }
        if slots.len() + group.len() > count {
            return slots;
        }
        slots.extend(group);
    }
    unreachable!("it ends when there is no room")
}

#[test]
fn slots_that_no_kernel_writes_make_the_names_and_times_that_the_kernel_makes_of_them() {
    const COUNT: usize = 5;
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let dir = fs::canonicalize(folder.path()).expect("it is there");
    sh(&dir, "mkdir images m; truncate -s 20M fresh; mkfs.fat -F 16 -s 1 -r 2048 fresh >/dev/null");
    let mut script = String::new();
    for number in 0..COUNT {
        let image = dir.join(format!("images/{}.raw", day(number)));
        fs::copy(dir.join("fresh"), &image).expect("it can be copied");
        let slots = match number {
            // Every character of the code page, as it is and in lower case.
            0 => (0..256_usize)
                .filter(|byte| !matches!(byte, 0 | 0x20 | 0x2e | 0x2f | 0xe5))
                .flat_map(|byte| {
                    let mut name = *b"C          ";
                    name[1..4].copy_from_slice(format!("{byte:03}").as_bytes());
                    (name[5], name[9]) = (byte as u8, byte as u8);
                    let mut lower = name;
                    lower[0] = b'L';
                    let mut first = name;
                    (first[0], first[4]) = (byte as u8, b'F');
                    [
                        short_slot(&name, 0x20, 0, 0x21, 0),
                        short_slot(&lower, 0x20, 0x18, 0x21, 0),
                        short_slot(&first, 0x20, 0x08, 0x21, 0),
                    ]
                })
                .collect(),
            _ => random_slots(&mut Dice::new(number as u64), 2000),
        };
        write_slots(&image, &slots);
        script.push_str(&format!(
            "mount -t vfat -o loop,ro,utf8,tz=UTC images/{}.raw m; truth m >{number}.jsonl; umount m\n",
            day(number)
        ));
    }
    with_fat(&dir, &script);
    let site = site_over(&dir.join("images"));
    let indexed = site.asof(&["index", "disk"]).output().expect("the program is there");
    for number in 0..COUNT {
        let truth = truth(&dir, &number.to_string());
        assert!(truth.len() > 300, "{number}: {}", truth.len());
        assert_as_the_kernel(&site, &day(number), &truth, &format!("image {number}"));
    }
    assert_eq!(indexed.status.code(), Some(0), "{}", said(&indexed));
}
