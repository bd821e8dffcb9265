//! Faults that were found in disks, each a case of its kind.

use crate::common::{assert_same, picture_of_copy};
use crate::guest::take_dirty;
use crate::seen::{What, assert_equal};
use crate::site::{Site, said, sh, shell};
use crate::{day, disk, index, seen, shown, site_over};
use asof::source::block::Content;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

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
    let script = "set -e; truncate -s 300M d.raw; mkfs.xfs -q d.raw; mkdir m; mount -o loop d.raw m
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

/// Returns where the second block of the directory `d` lies in an image of a whole file system.
fn second_block_of_d(image: &Path, block_bytes: u64) -> u64 {
    let fs = crate::guest::open(image).expect("it is sound");
    let mut found = None;
    let root = fs.inode(fs.root()).expect("it is sound");
    fs.list(&root, &mut |entry| found = (entry.name.as_bytes() == b"d").then_some(entry.inode).or(found))
        .expect("it is sound");
    let directory = fs.inode(found.expect("it has d")).expect("it is sound");
    let Content::Mapped(map) = directory.content else { panic!("it has blocks") };
    let mut blocks = map.extents.iter().flat_map(|run| (run.at..run.at + run.length).step_by(block_bytes as usize));
    blocks.nth(1).expect("it has several blocks")
}

#[test]
fn names_beside_a_damaged_block_of_a_directory_are_listed_and_read_and_the_listing_ends_with_an_error() {
    let fill = "mkdir m/d; for i in $(seq 100 399); do echo $i >m/d/a-rather-long-name-$i; done";
    let loop_mount =
        |make: &str| format!("truncate -s 64M a; {make} a; mkdir m; mount -o loop a m; {fill}; umount m; rmdir m");
    let with_mtools = "truncate -s 8M a; mkfs.fat -F 16 -s 1 a >/dev/null; mkdir m
        mkdir m/d; for i in $(seq 100 399); do echo $i >m/d/a-rather-long-name-$i; done; mcopy -s -i a m/d ::/; rm -r m";
    // What is hurt of the second block: ext4 and XFS have checksums, of FAT its number is put into another chain.
    for (what, make, block_bytes) in [
        ("ext4", loop_mount("mkfs.ext4 -q -F -b 1024"), 1024),
        ("xfs", loop_mount("mkfs.xfs -q --unsupported"), 4096),
        ("vfat", with_mtools.to_owned(), 512),
    ] {
        let (site, folder) = empty();
        sh(folder.path(), &make);
        let at = second_block_of_d(&folder.path().join("a"), block_bytes);
        let image = File::options().read(true).write(true).open(folder.path().join("a")).expect("it is there");
        if what == "vfat" {
            let mut boot = [0; 24];
            image.read_exact_at(&mut boot, 0).expect("it is there");
            let number = |at: usize| u64::from(u16::from_le_bytes([boot[at], boot[at + 1]]));
            let data = (number(14) + u64::from(boot[16]) * number(22)) * 512 + number(17) * 32;
            let entry = (number(14) * 512) + ((at - data) / 512 + 2) * 2;
            let copy = entry + number(22) * 512;
            // Bad, in both tables.
            [entry, copy].iter().for_each(|at| image.write_all_at(&[0xf7, 0xff], *at).expect("it can be written"));
        } else {
            image.write_all_at(b"x", at + block_bytes / 2).expect("it can be written");
        }
        sh(folder.path(), "mv a 2026-01-01.raw");
        assert_eq!(index(&site, &[]), 1, "{what}");
        let view = site.mount(&[]).join("@2026-01-01T000000Z/disk/fs");
        assert!(sh(&view, "ls").lines().any(|name| name == "d"), "{what}");
        let listed = shell(&view, "ls d");
        assert!(said(&listed).contains("Input/output error"), "{what}: {}", said(&listed));
        let names = String::from_utf8_lossy(&listed.stdout).into_owned();
        let count = names.lines().count();
        // Of FAT nothing says where the chain would go on.
        let expected = if what == "vfat" { 1..20 } else { 150..300 };
        assert!(expected.contains(&count), "{what}: {count}");
        let first = names.lines().next().expect("there are some");
        assert_eq!(sh(&view, &format!("cat d/{first}")).trim(), &first[first.len() - 3..], "{what}");
        assert!(said(&shell(&view, "cat d/what-nobody-saw")).contains("Input/output error"), "{what}");
        site.umount();
    }
}

#[test]
fn healthy_guests_exit_0_and_what_nothing_was_read_of_is_a_finding_under_its_own_name() {
    let fat = "truncate -s 8M f; mkfs.fat f >/dev/null; dd if=f of=d.raw bs=1M seek=1 conv=notrunc status=none; rm f";
    let ntfs = "printf '\\xeb\\x52\\x90NTFS    ' | dd of=d.raw bs=1M seek=1 conv=notrunc status=none";
    let random = "head -c 65536 /dev/urandom | dd of=d.raw bs=1M seek=3 conv=notrunc status=none";
    let part = |kind: &str| format!("truncate -s 16M d.raw; sgdisk -n 1:2048:+8M -t 1:{kind} d.raw >/dev/null");
    let unknown = |place: &str| format!("{place}: what it holds is not known; it is in disk.raw as it was");
    let cases = [
        ("an EFI partition", format!("{}; {fat}", part("ef00")), None, "p1,vfat"),
        ("a FAT partition", format!("{}; {fat}", part("0700")), None, "p1,vfat"),
        ("NTFS", format!("{}; {ntfs}", part("0700")), Some("p1: ntfs is not read; it is in disk.raw as it was".to_owned()), "p1,ntfs"),
        ("a boot loader's", format!("{}; {random}", part("ef02")), None, "p1,"),
        ("random bytes", format!("{}; {random}", part("8300")), Some(unknown("p1")), "p1,"),
        ("an empty partition", part("8300"), None, "p1,"),
        ("an empty disk", "truncate -s 16M d.raw".to_owned(), None, "fs,"),
        ("a zeroed superblock", "truncate -s 16M d.raw; mkfs.ext4 -q -F d.raw; dd if=/dev/zero of=d.raw bs=4096 count=1 conv=notrunc status=none".to_owned(), Some(unknown("fs")), "fs,"),
        ("swap", "truncate -s 16M d.raw; mkswap -q d.raw".to_owned(), None, "fs,swap"),
        ("UFS", "truncate -s 16M d.raw; printf '\\x19\\x01\\x54\\x19' | dd of=d.raw bs=1 seek=66908 conv=notrunc status=none".to_owned(), Some("fs: ufs is not read; it is in disk.raw as it was".to_owned()), "fs,ufs"),
        ("a group of LVM", format!("zstd -qdc {}/lvm-wrapped.zst >d.raw; truncate -s 64M d.raw", disk::data().display()), None, "fs,LVM2_member"),
    ];
    for (what, script, finding, volume) in cases {
        let (site, folder) = empty();
        sh(folder.path(), &format!("{script}\nmv d.raw 2026-01-01.raw"));
        assert_eq!(index(&site, &[]), i32::from(finding.is_some()), "{what}: {:?}", findings(&site));
        assert_eq!(findings(&site), Vec::from_iter(finding), "{what}");
        let volumes = site.ok(&["sql", "--csv", "SELECT volume, kind FROM volumes"]);
        assert!(volumes.lines().any(|line| line == volume), "{what}: {volumes}");
    }
}

/// Writes a physical volume of 1 MiB extents to the beginning of an image, with these logical volumes: name, first extent, count.
fn write_group(image: &Path, name: &str, volumes: &[(&str, u32, u32)]) {
    let crc = |bytes: &[u8]| {
        bytes.iter().fold(0xf597_a6cf_u32, |crc, byte| {
            (0..8).fold(crc ^ u32::from(*byte), |crc, _| crc >> 1 ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 })
        })
    };
    let mut text = format!(
        "{name} {{ id = \"1\" seqno = 7 extent_size = 2048\n physical_volumes {{ pv0 {{ \
         id = \"abcdef-abcd-abcd-abcd-abcd-abcd-abcdef\" pe_start = 2048 pe_count = 31 }} }}\n logical_volumes {{ "
    );
    for (name, first, count) in volumes {
        text.push_str(&format!(
            "{name} {{ status = [\"READ\", \"VISIBLE\"] segment1 {{ start_extent = 0 extent_count = {count} \
             type = \"striped\" stripe_count = 1 stripes = [ \"pv0\", {first} ] }} }} "
        ));
    }
    text.push_str("} }\n");
    let mut disk = vec![0; 65_536];
    let mut put = |at: usize, bytes: &[u8]| disk[at..at + bytes.len()].copy_from_slice(bytes);
    put(512, b"LABELONE\x01");
    put(532, &[32]);
    put(536, b"LVM2 001");
    put(544, b"abcdefabcdabcdabcdabcdabcdabcdef");
    put(584, &(1_u64 << 20).to_le_bytes());
    put(616, &4096_u64.to_le_bytes());
    put(624, &61_440_u64.to_le_bytes());
    put(4100, b" LVM2 x[5A%r0N*>\x01");
    put(4096 + 24, &4096_u64.to_le_bytes());
    put(4096 + 32, &61_440_u64.to_le_bytes());
    put(4096 + 40, &512_u64.to_le_bytes());
    put(4096 + 48, &(text.len() as u64).to_le_bytes());
    put(4096 + 56, &crc(text.as_bytes()).to_le_bytes());
    put(4608, text.as_bytes());
    let (label, area) = (crc(&disk[532..1024]), crc(&disk[4100..4608]));
    disk[528..532].copy_from_slice(&label.to_le_bytes());
    disk[4096..4100].copy_from_slice(&area.to_le_bytes());
    let image = File::options().write(true).open(image).expect("it is there");
    image.write_all_at(&disk, 0).expect("it can be written");
}

#[test]
fn volumes_that_were_removed_or_renamed_are_gone_and_no_loss() {
    let (site, folder) = empty();
    let image = |night: usize| folder.path().join(format!("{}.raw", day(night)));
    let make = "truncate -s 32M d.raw; for v in a b; do mkdir t; echo $v >t/file; truncate -s 8M $v; mkfs.ext4 -q -F -d t $v; rm -r t; done
        dd if=a of=d.raw bs=1M seek=1 conv=notrunc status=none; dd if=b of=d.raw bs=1M seek=9 conv=notrunc status=none; rm a b
        for i in 1 2 3; do cp --sparse=always d.raw 2026-01-0$i.raw; done; rm d.raw";
    sh(folder.path(), make);
    write_group(&image(0), "vg", &[("a", 0, 8), ("b", 8, 8)]);
    write_group(&image(1), "vg", &[("a", 0, 8)]);
    write_group(&image(2), "new", &[("other", 0, 8)]);
    assert_eq!(index(&site, &[]), 0, "{:?}", findings(&site));
    let files = "SELECT taken_at || ' ' || path FROM files WHERE name = 'file' ORDER BY 1";
    let printed = site.ok(&["sql", "--csv", files]);
    let expected = [
        "2026-01-01T00:00:00Z lvm/vg/a/file",
        "2026-01-01T00:00:00Z lvm/vg/b/file",
        "2026-01-02T00:00:00Z lvm/vg/a/file",
        "2026-01-03T00:00:00Z lvm/new/other/file",
    ];
    assert_eq!(printed.lines().skip(1).collect::<Vec<_>>(), expected);
}

#[test]
fn volumes_of_a_group_whose_text_is_damaged_are_kept_as_unknown() {
    let (site, folder) = empty();
    let make =
        "mkdir t; echo a >t/file; truncate -s 8M a; mkfs.ext4 -q -F -d t a; rm -r t; truncate -s 32M 2026-01-01.raw
        dd if=a of=2026-01-01.raw bs=1M seek=1 conv=notrunc status=none; rm a";
    sh(folder.path(), make);
    write_group(&folder.path().join("2026-01-01.raw"), "vg", &[("a", 0, 8)]);
    sh(
        folder.path(),
        "cp 2026-01-01.raw 2026-01-02.raw; printf X | dd of=2026-01-02.raw bs=1 seek=4700 conv=notrunc status=none",
    );
    assert_eq!(index(&site, &[]), 1);
    assert_eq!(deleted(&site), "");
    let tree = disk::tree(&site.path("catalog.db"));
    let seen = seen(&tree, "disk/@2026-01-02T000000Z/lvm/vg/a");
    assert!(matches!(seen[&b""[..]], What::InDoubt(_)), "{seen:?}");
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

#[test]
fn a_file_system_on_the_whole_disk_is_not_hidden_by_a_table_that_was_left_in_front_of_it() {
    let (site, folder) = nights(&["mbr-over-ext3"]);
    assert_eq!(index(&site, &[]), 0, "{:?}", findings(&site));
    sh(folder.path(), "cp 2026-01-01.raw c; mkdir m; mount -o loop c m");
    let mut truth = picture_of_copy(&folder.path().join("m"));
    sh(folder.path(), "umount m");
    let tree = disk::tree(&site.path("catalog.db"));
    let root = crate::common::ino_of(&tree, "disk/@2026-01-01T000000Z/fs").expect("it is there");
    let mut found = crate::common::picture_of_view(&tree, root, true, false);
    for picture in [&mut truth, &mut found] {
        picture.values_mut().for_each(|shown| shown.xattrs.sort());
    }
    assert_same(&found, &truth, &"mbr-over-ext3");
}

#[test]
fn what_is_no_image_is_refused_by_name_with_what_makes_one_of_it() {
    let cases = [
        ("a.img", "BZh91AY", "is a bzip2 file", "bzip2 -dc IMAGE >NEW.raw"),
        ("a.raw", "\\x04\\x22\\x4d\\x18", "is a lz4 file", "lz4 -dc IMAGE >NEW.raw"),
        ("a.raw", "EVF\\x09\\x0d\\x0a\\xff\\x00", "is a EWF (E01) file", "ewfexport -f raw -t NEW IMAGE"),
        ("a.img", "\\x3a\\xff\\x26\\xed", "is a Android sparse file", "simg2img IMAGE NEW.raw"),
        ("a.img", "VMA\\x00", "is a VMA file", "vma extract IMAGE DIR"),
    ];
    for (name, bytes, what, command) in cases {
        let (site, folder) = empty();
        sh(folder.path(), &format!("printf '{bytes}' >{name}; truncate -s 1M {name}"));
        let printed = said(&site.run(&["index", "disk"], 2));
        assert!(printed.contains(what) && printed.contains(command), "{name}: {printed}");
    }
    let (site, folder) = empty();
    sh(folder.path(), "mkdir t; head -c 100000 /dev/urandom >t/disk.vmdk; tar -cf a.raw -C t .; rm -r t");
    assert!(said(&site.run(&["index", "disk"], 2)).contains("tar -xf IMAGE -C DIR"));
    let (site, folder) = empty();
    sh(
        folder.path(),
        "truncate -s 1M 2026-01-01.raw; qemu-img create -q -f qcow2 q 1M; dd if=q of=2026-01-01.raw conv=notrunc status=none; rm q",
    );
    let printed = said(&site.run(&["index", "disk"], 2));
    assert!(printed.contains("begins as a qcow2 image does") && printed.contains("--format raw"), "{printed}");
    site.ok(&["source", "set", "disk", "--format", "raw"]);
    site.run(&["index", "disk"], 1);
}

/// A record that is in use and has no name is read with the others, and is nobody's: also where the edits of its generation are kept aside.
#[test]
fn files_that_no_name_leads_to_are_not_counted_whatever_order_their_generation_comes_in() {
    let (site, folder) = empty();
    let script = r#"mkdir t; echo one >t/stays; echo two >t/goes; mkfs.ext4 -q -F -b 1024 -d t disk 4M; rm -r t
        cp disk 2026-01-01.raw
        # One that has lost its name, and is longer than it was; and one that never had one.
        inode=$(debugfs -R 'stat goes' disk 2>/dev/null | sed -n 's/^Inode: \([0-9]*\).*/\1/p')
        seq 500 >new; debugfs -w -R 'write new new' disk 2>/dev/null; debugfs -w -R 'unlink new' disk 2>/dev/null; rm new
        debugfs -w -R "sif <$inode> size 5000" disk 2>/dev/null; debugfs -w -R 'unlink goes' disk 2>/dev/null
        mv disk 2026-01-02.raw; cp 2026-01-01.raw 2026-01-03.raw"#;
    sh(folder.path(), script);
    let counted = |site: &Site| {
        site.ok(&["check", "--deep"]);
        site.ok(&["sql", "--csv", "SELECT entries, size_bytes FROM generations ORDER BY taken_at"])
    };
    assert_eq!(index(&site, &[]), 0);
    let expected = counted(&site);
    assert_eq!(expected.lines().nth(1), expected.lines().nth(3), "{expected}");
    site.ok(&["index", "disk@2026-01-02", "--again"]);
    assert_eq!(counted(&site), expected);
    site.ok(&["forget", "disk@2026-01-02"]);
    let image = fs::canonicalize(folder.path().join("2026-01-02.raw")).expect("it is there");
    assert_eq!(index(&site, &[image.to_str().expect("it is UTF-8")]), 0);
    assert_eq!(counted(&site), expected);
}

/// What an inode was keeps who it is, whatever took its place in a generation that is put in later: an increment on the one in which it lives has to
/// find it.
#[test]
fn an_inode_that_is_of_another_type_in_an_older_generation_is_found_when_its_type_changes_in_the_next() {
    let (site, folder) = empty();
    let place = fs::canonicalize(folder.path()).expect("it is there");
    let script = r#"mkdir -p t/d; echo one >t/d/f; mkfs.ext4 -q -F -b 1024 -d t disk 4M; rm -r t; mkdir late
        inode=$(debugfs -R 'stat d' disk 2>/dev/null | sed -n 's/^Inode: \([0-9]*\).*/\1/p')
        alter() { debugfs -w -R "sif <$inode> mode 0100644" $1 2>/dev/null; }
        cp disk 2026-01-01.raw; cp disk late/2026-01-02.raw; alter late/2026-01-02.raw; cp disk 2026-01-03.raw; cp disk now; alter now"#;
    sh(&place, script);
    assert_eq!(index(&site, &[]), 0);
    sh(&place, "mv late/2026-01-02.raw .; rmdir late");
    index(&site, &[]);
    take_dirty(&place.join("now"), &place.join("2026-01-03.raw"), place.join(day(3)).to_str().expect("it is UTF-8"));
    index(&site, &[]);
    let (alone, other) = empty();
    sh(other.path(), &format!("cp {}/now {}.raw", place.display(), day(3)));
    index(&alone, &[]);
    assert_equal(&shown(&site, 3), &shown(&alone, 3), "");
    site.ok(&["check", "--deep"]);
}
