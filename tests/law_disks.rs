//! The law of disks: indexing on top of any history equals indexing alone, whatever happens to a disk between two nights.
//!
//! A history is made of a seed alone. The kernel makes ext2, ext3, ext4 and XFS file systems and writes to them; between two nights there are edits, trees that
//! are removed, disks that are put back as they were on any night before, checks that repair, other sizes, inodes whose type is altered in
//! place, names that lead nowhere or twice to one directory, and bits that flip in metadata and flip back. Each night is a full image, or
//! an increment on top of the night before: qcow2, or a map of what is dirty.
//!
//! After each night its view equals that of the same image in a new catalog, with the same exit code; and where the kernel mounted
//! the disk, what the kernel shows. A disk that nothing was done to but what a kernel or its tools do exits 0.
//! A failure names its seed: `ASOF_DISKS_FIRST=SEED ASOF_DISKS=1`. `ASOF_DISKS` says how many histories, of ten nights each.
//!
//! Needs root, loop devices, qemu-img, e2fsprogs, xfsprogs, dosfstools, mtools, gdisk, lvm2.

mod common;

#[path = "common/catalogs.rs"]
mod catalogs;
#[path = "common/disk.rs"]
mod disk;
#[path = "common/site.rs"]
mod site;

#[path = "law_disks/faults.rs"]
mod faults;
#[path = "law_disks/guest.rs"]
mod guest;
#[path = "law_disks/parted.rs"]
mod parted;
#[path = "law_disks/seen.rs"]
mod seen;
#[path = "law_disks/several.rs"]
mod several;

use common::dice::{Dice, number};
use guest::{Form, Guest};
use seen::{assert_equal, seen, seen_by_kernel};
use site::Site;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

const NIGHTS: usize = 10;

/// How the nights were that were played.
#[derive(Debug, Default)]
struct Played {
    nights: usize,
    by_deed: BTreeMap<&'static str, usize>,
    with_losses: usize,
    compared_with_the_kernel: usize,
}

fn day(night: usize) -> String {
    format!("2026-01-{:02}", night + 1)
}

/// Indexes what is new and returns the exit code.
fn index(site: &Site, args: &[&str]) -> i32 {
    let output = site.asof(&[&["index", "disk"], args].concat()).output().expect("the program is there");
    let code = output.status.code().expect("it ends by itself");
    assert!(code < 2, "{}", site::said(&output));
    code
}

fn site_over(images: &Path) -> Site {
    let site = Site::new();
    site.ok(&["init"]);
    site.ok(&["source", "add", "block", "disk", "--images", images.to_str().expect("a temporary path is UTF-8")]);
    site
}

/// Returns what a catalog shows of a night.
fn shown(site: &Site, night: usize) -> seen::Seen {
    seen(&disk::tree(&site.path("catalog.db")), &format!("disk/@{}T000000Z/fs", day(night)))
}

fn play(seed: u64, played: &mut Played) {
    let mut dice = Dice::new(seed);
    let mut guest = Guest::new(&mut dice);
    let images = guest.path("images");
    fs::create_dir(&images).expect("it can be made");
    let history = site_over(&images);
    let mut log: Vec<String> = Vec::new();
    let mut alone = Vec::new();
    for night in 0..NIGHTS {
        let deed = guest.live(&mut dice, night);
        let form = guest.take(&mut dice, night, &images.join(day(night)));
        log.push(format!("{night}: {} as {form:?}", guest.told));
        let what = format!("seed {seed}, {}:\n  {}\n", guest.kind(), log.join("\n  "));
        let code = index(&history, &[]);

        let place = guest.path(&format!("alone-{night}"));
        fs::create_dir(&place).expect("it can be made");
        fs::copy(guest.state(night), place.join(format!("{}.raw", day(night)))).expect("it can be copied");
        let site = site_over(&place);
        let code_alone = index(&site, &[]);
        assert_eq!(code, code_alone, "{what}the exit codes of the history and of the night alone");
        let expected = shown(&site, night);
        assert_equal(&shown(&history, night), &expected, &what);
        if let Some(mounted) = guest.mounted() {
            assert_eq!(code, 0, "{what}nothing is wrong with it\n{}", site.ok(&["sql", "SELECT * FROM findings"]));
            assert_equal(&expected, &seen_by_kernel(mounted), &format!("{what}against the kernel: "));
            played.compared_with_the_kernel += 1;
        }
        fs::remove_dir_all(&place).expect("it is there");
        alone.push(expected);
        played.nights += 1;
        played.with_losses += usize::from(code == 1);
        *played.by_deed.entry(deed).or_default() += 1;
    }
    let what = format!("seed {seed}, {}:\n  {}\n", guest.kind(), log.join("\n  "));
    for (night, expected) in alone.iter().enumerate() {
        assert_equal(&shown(&history, night), expected, &format!("{what}night {night}, when all were indexed: "));
    }
    let check = history.asof(&["check", "--deep"]).output().expect("the program is there");
    assert!(check.status.success(), "{what}{}", site::said(&check));
    if seed.is_multiple_of(3) {
        return;
    }
    // In another order, as far as increments let.
    let other = site_over(&images);
    let mut order: Vec<usize> = (0..NIGHTS).filter(|night| guest.forms[*night] == Form::Raw).collect();
    dice.shuffle(&mut order);
    for night in &order {
        index(&other, &[images.join(format!("{}.raw", day(*night))).to_str().expect("it is UTF-8")]);
    }
    index(&other, &[]);
    for (night, expected) in alone.iter().enumerate() {
        assert_equal(
            &shown(&other, night),
            expected,
            &format!("{what}night {night}, indexed in the order {order:?}: "),
        );
    }
}

#[test]
fn a_disk_with_any_history_shows_what_it_shows_alone() {
    let (first, count) = (number("ASOF_DISKS_FIRST", 0), number("ASOF_DISKS", 10));
    let mut played = Played::default();
    for seed in first..first + count {
        play(seed, &mut played);
    }
    println!("histories {first} to {}: {played:?}", first + count - 1);
    assert!(count < 10 || played.with_losses > 0 && played.compared_with_the_kernel > 0, "{played:?}");
}
