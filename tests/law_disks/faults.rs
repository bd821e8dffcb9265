//! Faults that were found in disks, each a case of its kind.

use crate::seen::{What, assert_equal};
use crate::site::{Site, said, sh, shell};
use crate::{day, disk, index, seen, shown, site_over};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;

/// Returns a site over images of `tests/data/block`, a night each, none of them indexed.
fn nights(names: &[&str]) -> (Site, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let images = fs::canonicalize(folder.path()).expect("it is there");
    for (night, name) in names.iter().enumerate() {
        disk::unpack_image(name, &images.join(format!("{}.raw", day(night))));
    }
    (site_over(&images), folder)
}

/// Returns an empty folder with a site over it.
fn empty() -> (Site, tempfile::TempDir) {
    nights(&[])
}

fn findings(site: &Site) -> Vec<String> {
    let printed = site.ok(&["sql", "--csv", "SELECT path || ': ' || detail FROM findings ORDER BY 1"]);
    printed.lines().skip(1).map(|line| line.trim_matches('"').replace("\"\"", "\"")).collect()
}

fn deleted(site: &Site) -> String {
    site.ok(&["sql", "--csv", "SELECT path FROM deleted"]).lines().skip(1).collect()
}

#[test]
fn a_directory_that_becomes_reachable_is_read_with_all_that_is_below_it_though_its_record_is_as_it_was() {
    for names in [
        &["fsck-reconnect-1", "fsck-reconnect-2"][..],
        &["unreach-badroot", "unreach-good"],
        &["unreach-good", "unreach-badroot", "unreach-good"],
        &["unreach-good", "unreach-badgd", "unreach-good"],
    ] {
        let (site, _folder) = nights(names);
        index(&site, &[]);
        for (night, name) in names.iter().enumerate() {
            let (alone, _folder) = nights(&[name]);
            index(&alone, &[]);
            assert_equal(&shown(&site, night), &shown(&alone, 0), &format!("night {night} of {names:?}: "));
        }
        assert_eq!(deleted(&site), "", "{names:?}");
    }
}

#[test]
fn a_tree_that_was_removed_is_there_again_when_the_disk_is_put_back() {
    let (site, folder) = empty();
    let script = "truncate -s 300M d.raw; mkfs.xfs -q d.raw; mkdir m; mount -o loop d.raw m
        mkdir m/tree; for i in $(seq 200); do mkdir m/tree/d$i; echo $i >m/tree/d$i/f; done; umount m
        cp --sparse=always d.raw 2026-01-01.raw; mount -o loop d.raw m; rm -r m/tree; umount m
        mv d.raw 2026-01-02.raw; cp --sparse=always 2026-01-01.raw 2026-01-03.raw; rmdir m";
    sh(folder.path(), script);
    assert_eq!(index(&site, &[]), 0);
    let counts = [0, 1, 2].map(|night| shown(&site, night).len());
    assert_eq!(counts, [402, 1, 402]);
    assert_equal(&shown(&site, 2), &shown(&site, 0), "");
}

#[test]
fn a_file_system_whose_root_is_no_directory_cannot_be_read_and_nothing_of_it_counts_as_deleted() {
    let (site, _folder) = nights(&["ext2-root-good", "ext2-root-is-file", "ext2-root-good"]);
    assert_eq!(index(&site, &[]), 1);
    assert_eq!(findings(&site), ["fs: inode 2 is its top and not a directory; it is in disk.raw as it was"]);
    assert_eq!(deleted(&site), "");
    let good = shown(&site, 0);
    assert!(matches!(shown(&site, 1)[&b""[..]], What::InDoubt(_)));
    assert_eq!(good.len(), 54);
    assert_equal(&shown(&site, 2), &good, "");
}

#[test]
fn names_beside_a_damaged_block_of_a_directory_are_listed_and_read_and_the_listing_ends_with_an_error() {
    let (site, folder) = empty();
    let script = "truncate -s 8M 2026-01-01.raw; mkdir t t/d; for i in $(seq 100 399); do echo $i >t/d/a-rather-long-name-$i; done
        mkfs.ext4 -q -F -b 1024 -d t 2026-01-01.raw; rm -r t; debugfs -R 'blocks d' 2026-01-01.raw 2>/dev/null | tr ' ' '\\n' | sed -n 3p";
    let block: u64 = sh(folder.path(), script).trim().parse().expect("a number of a block");
    let image = File::options().write(true).open(folder.path().join("2026-01-01.raw")).expect("it is there");
    image.write_all_at(b"x", block * 1024 + 500).expect("it can be written");
    assert_eq!(index(&site, &[]), 1);
    let view = site.mount(&[]).join("@2026-01-01T000000Z/disk/fs");
    let listed = shell(&view, "ls d");
    assert!(said(&listed).contains("Input/output error"), "{}", said(&listed));
    let names = String::from_utf8_lossy(&listed.stdout).lines().count();
    assert!((200..300).contains(&names), "{names}");
    let first = String::from_utf8_lossy(&listed.stdout).lines().next().expect("there are some").to_owned();
    assert_eq!(sh(&view, &format!("cat d/{first}")).trim(), &first[first.len() - 3..]);
    assert!(said(&shell(&view, "cat d/what-nobody-saw")).contains("Input/output error"));
    site.umount();
}

#[test]
fn a_clean_file_system_that_was_shrunk_has_no_losses() {
    let (site, folder) = empty();
    let script = "truncate -s 32M d; mkdir t; for i in $(seq 300); do mkdir t/$i; echo $i >t/$i/f; done; mkfs.ext4 -q -F -b 1024 -d t d; rm -r t
        cp d 2026-01-01.raw; e2fsck -fp d >/dev/null; resize2fs d 12M >/dev/null 2>&1; truncate -s 12M d; mv d 2026-01-02.raw";
    sh(folder.path(), script);
    assert_eq!(index(&site, &[]), 0, "{:?}", findings(&site));
    assert_eq!(shown(&site, 1).len(), 602);
}

