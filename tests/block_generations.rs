//! Generations of disks, made while the test runs: QEMU backs up what the kernel writes, and asof shows what was there then.
//!
//! What is compared with is the live file system of that moment where it was frozen, else what the kernel shows of a copy of
//! the disk after it replayed the log. Then what admins and guests do to images: rewrite them, lose them, link them in a
//! circle, index them in any order, have partitions on them that nobody knows.
//!
//! What is written is made of a seed alone; a failure names it, and `ASOF_SEED=N` takes another one.
//!
//! Needs root, `/dev/fuse`, loop devices, QEMU, `nbdinfo` (libnbd-bin), e2fsprogs, xfsprogs, gdisk.

mod common;

#[path = "common/disk.rs"]
mod disk;
#[path = "common/qemu.rs"]
mod qemu;
#[path = "common/site.rs"]
mod site;

use common::dice::Dice;
use common::{Picture, PlainTree, assert_same, ino_of, picture_of_copy, picture_of_view};
use qemu::{LiveDisk, name, unmount};
use site::{Site, as_nobody, difference, said, sh, shell};
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Returns up to `most` bytes, at least one.
fn some_bytes(dice: &mut Dice, most: usize) -> Vec<u8> {
    (0..=dice.roll(most)).map(|_| dice.roll(256) as u8).collect()
}

/// Does `count` things to a tree, as users would.
fn change(root: &Path, dice: &mut Dice, count: usize) {
    let tree = PlainTree::at(root.to_owned());
    for _ in 0..count {
        let (mut files, mut folders, mut todo) = (Vec::new(), vec![PathBuf::new()], vec![PathBuf::new()]);
        while let Some(folder) = todo.pop() {
            for entry in fs::read_dir(root.join(&folder)).unwrap().map(Result::unwrap) {
                let path = folder.join(entry.file_name());
                match entry.file_type().unwrap() {
                    kind if kind.is_dir() && entry.file_name() != "lost+found" => {
                        folders.push(path.clone());
                        todo.push(path);
                    }
                    kind if kind.is_file() => files.push(path),
                    _ => {}
                }
            }
        }
        files.sort();
        folders.sort();
        let number = dice.roll(100_000);
        let folder = folders[dice.roll(folders.len())].clone();
        let new = folder.join(format!("n{number}"));
        let new = new.to_str().unwrap();
        if root.join(new).symlink_metadata().is_ok() {
            continue;
        }
        let Some(old) = (!files.is_empty()).then(|| files[dice.roll(files.len())].clone()) else {
            tree.file(new, some_bytes(dice, 5000));
            continue;
        };
        let old = old.to_str().unwrap();
        let open = || fs::File::options().write(true).open(root.join(old)).unwrap();
        match dice.roll(14) {
            0 | 1 => drop(tree.file(new, some_bytes(dice, 200_000))),
            2 => drop(tree.file(new, some_bytes(dice, 60))),
            3 => drop(tree.sparse_file(new, 3_000_000, 1_234_567, &some_bytes(dice, 9000))),
            4 => drop(tree.directory(new)),
            5 => drop(tree.symlink(new, "t".repeat(1 + dice.roll(200)))),
            6 => drop(tree.hard_link(old, new)),
            7 => drop(tree.remove(old)),
            8 => drop(tree.rename(old, new)),
            // In place, with its mtime as it was.
            9 | 10 => {
                let (file, was) = (open(), fs::metadata(root.join(old)).unwrap().modified().unwrap());
                file.write_all_at(&some_bytes(dice, 9000), dice.roll(20_000) as u64).unwrap();
                file.set_modified(was).unwrap();
            }
            11 => open().set_len(dice.roll(100_000) as u64).unwrap(),
            12 => drop(tree.xattr(old, "user.number", &some_bytes(dice, 300)).mode(old, 0o600 + dice.roll(64) as u32)),
            _ => drop(tree.owner(old, 1000 + dice.roll(9) as u32, 50).mtime(old, number as i64 - 50_000, 7)),
        }
    }
}

/// Returns where the numbers begin: at `usual`, or at `ASOF_SEED`.
fn seed(usual: u64) -> u64 {
    std::env::var("ASOF_SEED").map_or(usual, |text| text.parse().expect("ASOF_SEED is a number"))
}

fn sorted(mut picture: Picture) -> Picture {
    picture.values_mut().for_each(|shown| shown.xattrs.sort());
    picture
}

/// Returns all of a file system of a generation, its bytes included.
fn shown(site: &Site, path: &str) -> Picture {
    let tree = disk::tree(&site.path("catalog.db"));
    let root = ino_of(&tree, path).unwrap_or_else(|| panic!("{path} is not there"));
    sorted(picture_of_view(&tree, root, true, false))
}

fn at(k: usize) -> String {
    format!("{}T000000Z", name(k))
}

fn site() -> Site {
    let site = Site::new();
    site.ok(&["init"]);
    site
}

/// Adds a source that is one disk.
fn add_source(site: &Site, name: &str, images: &Path) {
    fs::create_dir_all(images).unwrap();
    site.ok(&["source", "add", "block", name, "--images", images.to_str().unwrap(), "--all-disks", "no"]);
}

const MKFS_EXT4: &str = "mkfs.ext4 -q -F";
const MKFS_XFS: &str = "mkfs.xfs -q -f --unsupported";

fn generations_that_were_frozen(mkfs: &str, size_mib: u64, seed: u64) {
    let site = site();
    let mut live = LiveDisk::new(&site.path("disk"), size_mib, mkfs);
    let (mut dice, mut truths) = (Dice::new(seed), Vec::new());
    for k in 0..4 {
        change(&live.mount(), &mut dice, if k == 0 { 120 } else { 25 });
        let mut truth = Picture::new();
        let mut look = |mount: &Path| truth = sorted(picture_of_copy(mount));
        live.take_frozen(&mut look, &mut |mount| {
            fs::write(mount.join(format!("after-{k}")), "must not be there").unwrap();
        });
        truths.push(truth);
    }
    let (pushed, pulled) = (live.folder("push"), live.folder("pull"));
    live.finish();
    add_source(&site, "push", &pushed);
    add_source(&site, "pull", &pulled);
    for source in ["push", "pull"] {
        site.run(&["index", source, "--consistency", "frozen"], 0);
        for (k, truth) in truths.iter().enumerate() {
            let found = shown(&site, &format!("{source}/@{}/fs", at(k)));
            assert_same(&found, truth, &format!("{mkfs}, seed {seed}, generation {k} of {source}"));
        }
    }
    let mount = site.mount(&[]);
    for (k, truth) in truths.iter().enumerate() {
        let merged = pushed.join(format!("{}.qcow2", name(k)));
        for source in ["push", "pull"] {
            let disk = mount.join(format!("@{}/{source}/disk.raw", at(k)));
            sh(&mount, &format!("qemu-img compare -q -f raw -F qcow2 {} {}", disk.display(), merged.display()));
        }
        let (tree, back) = (mount.join(format!("@{}/pull/fs", at(k))), site.path(&format!("out/{k}")));
        sh(&mount, &format!("rsync -aHAXS --numeric-ids {}/ {}/", tree.display(), back.display()));
        assert_eq!(difference(&tree, &back), "", "generation {k}");
        let restored = sorted(picture_of_copy(&back));
        let plain = |picture: &Picture| -> Picture {
            // The size and the link count of a directory are those of its file system.
            let mut picture = picture.clone();
            picture.values_mut().filter(|s| s.kind == asof::model::Kind::Directory).for_each(|s| {
                (s.size_bytes, s.nlink) = (0, 0);
            });
            picture
        };
        assert_same(&plain(&restored), &plain(truth), &format!("generation {k}, brought back by rsync"));
    }
    let disk = mount.join(format!("@{}/push/disk.raw", at(3)));
    let script = format!(
        "cp --sparse=always {0} copy.raw && cmp {0} copy.raw && qemu-img convert -f raw -O qcow2 {0} copy.qcow2 && \
         qemu-img compare -q -f raw -F qcow2 copy.raw copy.qcow2 && stat -c '%b %s' copy.raw",
        disk.display()
    );
    let told = sh(&site.path("out"), &script);
    let (blocks, size_bytes) = told.trim().split_once(' ').unwrap();
    let (blocks, size_bytes): (u64, u64) = (blocks.parse().unwrap(), size_bytes.parse().unwrap());
    assert_eq!(size_bytes, size_mib << 20);
    assert!(blocks * 512 < size_bytes / 2, "its holes are holes again: {blocks} blocks of {size_bytes} bytes");
    site.umount();
}

#[test]
fn frozen_generations_of_ext4_are_what_was_mounted_then_pushed_or_pulled() {
    generations_that_were_frozen(MKFS_EXT4, 64, seed(11));
}

#[test]
fn frozen_generations_of_xfs_are_what_was_mounted_then_pushed_or_pulled() {
    generations_that_were_frozen(MKFS_XFS, 96, seed(12));
}

fn generations_that_were_not_frozen(mkfs: &str, size_mib: u64, seed: u64, options: &str) {
    let site = site();
    let mut live = LiveDisk::new(&site.path("disk"), size_mib, mkfs);
    let mut dice = Dice::new(seed);
    for k in 0..4 {
        change(&live.mount(), &mut dice, if k == 0 { 100 } else { 20 });
        // Some of it is in place, some in the log only, some nowhere yet.
        sh(&live.mount(), "sync -f .");
        change(&live.mount(), &mut dice, 15);
        sh(&live.mount(), &format!("for i in 1 2 3 4 5; do echo {k} >late-{k}-$i; done; sync late-{k}-5"));
        live.take_unfrozen();
    }
    let pushed = live.folder("push");
    live.finish();
    add_source(&site, "push", &pushed);
    site.run(&["index", "push", "--consistency", "crash"], 0);
    for k in 0..4 {
        let merged = pushed.join(format!("{}.qcow2", name(k)));
        let script = format!(
            "qemu-img convert -O raw {} live/copy.raw && mount -o {options} live/copy.raw copies",
            merged.display()
        );
        sh(&site.path(""), &script);
        let truth = sorted(picture_of_copy(&site.path("copies")));
        unmount(&site.path("copies"));
        let found = shown(&site, &format!("push/@{}/fs", at(k)));
        assert!(found.contains_key(format!("late-{k}-5").as_bytes()), "what was synced is there");
        assert_same(&found, &truth, &format!("{mkfs}, seed {seed}, generation {k}"));
    }
    let states = site.ok(&["sql", "--csv", "SELECT DISTINCT state FROM disk_volume"]);
    assert!(states.contains("replayed"), "{states}");
}

#[test]
fn generations_of_ext4_in_full_use_are_what_the_kernel_shows_after_replaying_its_journal() {
    generations_that_were_not_frozen(MKFS_EXT4, 64, seed(21), "loop,noatime");
}

#[test]
fn generations_of_xfs_in_full_use_are_what_the_kernel_shows_after_replaying_its_log() {
    generations_that_were_not_frozen(MKFS_XFS, 96, seed(22), "loop,noatime,nouuid");
}

/// The kernel writes its log from buffers, and of one that it did not fill the checksum covers only as many headers as it needs.
#[test]
fn a_log_of_an_xfs_with_large_buffers_that_were_not_filled_is_replayed() {
    let site = site();
    add_source(&site, "disk", &site.path("images"));
    for (day, buffer) in [(1, "32k"), (2, "64k"), (3, "128k"), (4, "256k")] {
        sh(
            &site.path(""),
            &format!(
                "rm -f d.raw; truncate -s 400M d.raw; {MKFS_XFS} d.raw; mkdir -p k; mount -o loop,logbsize={buffer} d.raw k
                 mkdir k/old; for i in $(seq 50); do echo $i >k/old/f$i; done; umount k; mount -o loop,logbsize={buffer} d.raw k
                 mkdir k/new; for i in 1 2 3; do echo $i >k/new/f$i; sync -f k; done; rm k/old/f1; mv k/old/f2 k/old/renamed
                 for i in $(seq 200); do echo $i >k/new/g$i; done; sync -f k
                 xfs_io -x -c 'shutdown -f' k; umount k; cp --sparse=always d.raw images/2026-11-0{day}.raw"
            ),
        );
    }
    site.run(&["index", "disk"], 0);
    for day in 1..5 {
        sh(
            &site.path(""),
            &format!("cp --sparse=always images/2026-11-0{day}.raw c.raw; mount -o loop,nouuid c.raw copies"),
        );
        let truth = sorted(picture_of_copy(&site.path("copies")));
        unmount(&site.path("copies"));
        assert_same(&shown(&site, &format!("disk/@2026-11-0{day}/fs")), &truth, &format!("day {day}"));
    }
}

/// Makes a raw image with a file system of the kernel's, changes it with `script`s, and keeps a copy after each.
fn raw_images(site: &Site, mkfs: &str, scripts: &[&str]) -> Vec<Picture> {
    let images = site.path("images");
    add_source(site, "disk", &images);
    sh(&site.path(""), &format!("truncate -s 32M live/disk.raw && {mkfs} live/disk.raw"));
    let mut truths = Vec::new();
    for (k, script) in scripts.iter().enumerate() {
        sh(&site.path(""), "mount -o loop,noatime live/disk.raw copies");
        sh(&site.path("copies"), script);
        truths.push(sorted(picture_of_copy(&site.path("copies"))));
        unmount(&site.path("copies"));
        sh(&site.path(""), &format!("cp --sparse=always live/disk.raw images/{}.raw", name(k)));
    }
    truths
}

fn count(site: &Site, query: &str) -> i64 {
    let told = site.ok(&["sql", "--csv", query]);
    told.lines().last().unwrap().parse().unwrap_or_else(|_| panic!("{query}: {told}"))
}

#[test]
fn a_file_that_was_overwritten_in_place_with_its_mtime_set_back_is_found_between_two_full_images() {
    let site = site();
    let truths = raw_images(
        &site,
        MKFS_EXT4,
        &[
            "head -c 50000 /dev/zero | tr '\\0' a >db; echo calm >calm; touch -d @1700000000 db",
            "printf XYZZY | dd of=db bs=1 seek=20000 conv=notrunc status=none; touch -d @1700000000 db",
        ],
    );
    // A third one with other bytes under the same inode, which nothing but comparing tells.
    let images = site.path("images");
    let mut bytes = fs::read(images.join(format!("{}.raw", name(1)))).unwrap();
    let found = bytes.windows(5).position(|five| five == b"XYZZY").expect("it is there once");
    bytes[found..found + 5].copy_from_slice(b"PLUGH");
    fs::write(images.join(format!("{}.raw", name(2))), bytes).unwrap();
    site.run(&["index", "disk"], 0);
    for (k, truth) in truths.iter().enumerate() {
        assert_same(&shown(&site, &format!("disk/@{}/fs", at(k))), truth, &k);
    }
    let third = shown(&site, &format!("disk/@{}/fs", at(2)));
    let db = third[&b"db"[..]].bytes.as_ref().unwrap();
    assert_eq!((&db[20_000..20_005], db.len()), (&b"PLUGH"[..], 50_000));
    assert_eq!(count(&site, "SELECT count(*) FROM versions WHERE name = 'db'"), 3);
    assert_eq!(count(&site, "SELECT count(*) FROM versions WHERE name = 'calm'"), 1);
}

const STEPS: [&str; 3] = [
    "mkdir d; echo one >d/a; echo stays >d/b; ln d/b c; head -c 300000 /dev/urandom >big",
    "echo two >d/a; rm c; mkdir d/e; mv d/b d/e/b; echo new >n",
    "rm -r d/e; echo three >d/a; echo other >big; mkfifo p",
];

#[test]
fn an_older_image_that_is_indexed_after_newer_ones_changes_nothing_of_them() {
    for order in [[2, 0, 1], [1, 2, 0], [2, 1, 0]] {
        let site = site();
        let truths = raw_images(&site, MKFS_EXT4, &STEPS);
        for k in order {
            site.run(&["index", "disk", &format!("images/{}.raw", name(k))], 0);
        }
        for (k, truth) in truths.iter().enumerate() {
            assert_same(&shown(&site, &format!("disk/@{}/fs", at(k))), truth, &format!("{k} of {order:?}"));
            let tree = disk::tree(&site.path("catalog.db"));
            let whole = disk::hash_at(&tree, &format!("disk/@{}/disk.raw", at(k)));
            assert_eq!(whole, disk::hash_of_file(&site.path(&format!("images/{}.raw", name(k)))));
        }
    }
}

#[test]
fn a_generation_whose_image_was_rewritten_gives_errors_and_the_others_are_read() {
    let site = site();
    let truths = raw_images(&site, MKFS_EXT4, &STEPS);
    site.run(&["index", "disk"], 0);
    sh(
        &site.path("images"),
        &format!("printf junk | dd of={}.raw bs=1 seek=5000000 conv=notrunc status=none", name(1)),
    );
    let told = said(&site.run(&["index", "disk"], 1));
    assert!(told.contains("was written after it was indexed"), "{told}");
    let mount = site.mount(&[]);
    for path in ["fs/d/a", "disk.raw"] {
        let output = shell(&mount, &format!("cat @{}/disk/{path} >/dev/null", at(1)));
        assert!(said(&output).contains("Input/output error"), "{path}: {}", said(&output));
    }
    // The next image holds the same version of this one, and serves it.
    assert_eq!(sh(&mount, &format!("ls -lR @{0}/disk/fs >/dev/null; cat @{0}/disk/fs/n", at(1))), "new\n");
    for k in [0, 2] {
        assert_same(&shown(&site, &format!("disk/@{}/fs", at(k))), &truths[k], &k);
        sh(&mount, &format!("cmp @{}/disk/disk.raw {}/{}.raw", at(k), site.path("images").display(), name(k)));
    }
    site.umount();
    assert!(site.log().contains(&format!("{}.raw", name(1))), "{}", site.log());
}

#[test]
fn increments_that_rest_on_nothing_on_themselves_or_on_what_is_gone_are_refused_by_name() {
    let site = site();
    raw_images(&site, MKFS_EXT4, &STEPS[..1]);
    let images = site.path("images");
    let overlay = |name: &str, backing: &str| {
        sh(&images, &format!("qemu-img create -q -u -f qcow2 -F qcow2 -b {backing} {name} 32M"));
    };
    overlay("2026-11-05.qcow2", "gone.qcow2");
    overlay("2026-11-06.qcow2", "2026-11-07.qcow2");
    overlay("2026-11-07.qcow2", "2026-11-06.qcow2");
    overlay("2026-11-08.qcow2", "/etc/passwd");
    for (image, why) in [
        ("2026-11-05.qcow2", "backing file \"gone.qcow2\""),
        ("2026-11-06.qcow2", "which is based on it"),
        ("2026-11-07.qcow2", "which is based on it"),
        ("2026-11-08.qcow2", "backing file \"/etc/passwd\""),
    ] {
        let told = said(&site.run(&["index", "disk", &format!("images/{image}")], 2));
        assert!(told.contains(why), "{image}: {told}");
    }
    // One that cannot be indexed does not stop those that do not rest on it.
    site.run(&["index", "disk"], 1);
    assert_eq!(count(&site, "SELECT count(*) FROM generations"), 1);
}

#[test]
fn increments_without_links_rest_on_each_other_in_the_order_in_which_they_are_named() {
    let site = site();
    let truths = raw_images(&site, MKFS_EXT4, &STEPS);
    let images = site.path("images");
    for k in [1, 2] {
        // What differs from the one before, and no word of what it rests on.
        let script = format!(
            "cp {1}.raw below.img && qemu-img create -q -f qcow2 -F raw -b below.img inc.tmp && \
             qemu-img convert -O raw {0}.raw now.img && qemu-img convert -O qcow2 -B below.img -F raw now.img inc.tmp && \
             qemu-img rebase -u -b '' inc.tmp && mv inc.tmp {0}.qcow2 && rm {0}.raw.keep below.img now.img 2>/dev/null || true",
            name(k),
            name(k - 1)
        );
        sh(&images, &script);
    }
    for k in [1, 2] {
        fs::remove_file(images.join(format!("{}.raw", name(k)))).unwrap();
        assert!(images.join(format!("{}.qcow2", name(k))).metadata().unwrap().len() < 8 << 20, "it is an increment");
    }
    let paths: Vec<String> = (1..3).map(|k| format!("images/{}.qcow2", name(k))).collect();
    let base = format!("images/{}.raw", name(0));
    let told = said(&site.run(&["index", "disk", &paths[0], "--base", &base], 2));
    assert!(told.contains("is not indexed: nothing can be based on it"), "{told}");
    site.run(&["index", "disk", &base], 0);
    let wrong = said(&site.run(&["index", "disk", &paths[1], &paths[0], "--base", &base], 1));
    assert!(wrong.contains("is not older"), "{wrong}");
    let site = {
        let fresh = self::site();
        add_source(&fresh, "disk", &images);
        fresh.run(&["index", "disk", images.join(format!("{}.raw", name(0))).to_str().unwrap()], 0);
        let paths: Vec<String> =
            (1..3).map(|k| images.join(format!("{}.qcow2", name(k))).display().to_string()).collect();
        let base = images.join(format!("{}.raw", name(0))).display().to_string();
        fresh.run(&["index", "disk", &paths[0], &paths[1], "--base", &base], 0);
        for (k, truth) in truths.iter().enumerate() {
            assert_same(&shown(&fresh, &format!("disk/@{}/fs", at(k))), truth, &k);
        }
        let mount = fresh.mount(&[]);
        let evidence = |k: usize| {
            let all = "find . -type f -exec getfattr -n user.asof.evidence {} + | grep -o '\"[a-z ]*' | sort -u | tr -d '\"\n'";
            sh(&mount.join(format!("@{}/disk/fs", at(k))), all)
        };
        assert_eq!(evidence(0), "read from a full disk");
        assert_eq!(evidence(2), "in no increment since read from an increment");
        fresh.umount();
        fresh
    };
    assert_eq!(count(&site, "SELECT count(*) FROM generations"), 3);
}

/// An increment that names nothing counts from the image before it, also where the generation of that was forgotten.
#[test]
fn an_increment_on_a_generation_that_was_forgotten_is_put_on_no_other() {
    let site = site();
    let images = site.path("images");
    add_source(&site, "vda", &images);
    let increment = |day: u32, byte: u8| {
        let at = usize::from(byte) << 16;
        let mut bytes = vec![0; 1 << 20];
        bytes[at..at + (64 << 10)].fill(byte);
        fs::write(images.join(format!("2026-01-0{day}.raw")), &bytes).unwrap();
        let map = serde_json::json!({"size": 1 << 20, "bitmap": "b", "dirty": [[at, 64 << 10]], "zero": []});
        fs::write(images.join(format!("2026-01-0{day}.json")), map.to_string()).unwrap();
    };
    fs::write(images.join("2026-01-01.raw"), vec![9; 1 << 20]).unwrap();
    (2..4).for_each(|day| increment(day, day as u8));
    site.run(&["index", "vda"], 1);
    site.ok(&["forget", "vda@2026-01-03"]);
    increment(4, 4);
    let text = said(&site.run(&["index", "vda"], 2));
    assert!(
        text.contains("is an increment, and the generation of 2026-01-03T00:00:00Z right before it was forgotten"),
        "{text}"
    );
    site.run(&["index", "vda", &images.join("2026-01-03.raw").display().to_string()], 1);
    site.run(&["index", "vda"], 1);
    let tree = disk::tree(&site.path("catalog.db"));
    let mut expected = vec![9; 1 << 20];
    (2..5).for_each(|byte: u8| expected[usize::from(byte) << 16..][..64 << 10].fill(byte));
    assert_eq!(disk::hash_at(&tree, "vda/@2026-01-04/disk.raw"), disk::hash_of_bytes(&expected));
}

#[test]
fn partitions_that_are_not_read_are_named_and_the_others_are_browsed() {
    let site = site();
    let images = site.path("images");
    add_source(&site, "disk", &images);
    let script = "truncate -s 64M d.raw; sgdisk -n 1:2048:+16M -n 2:0:+8M -n 3:0:+8M -n 4:0:+8M d.raw >/dev/null; \
         truncate -s 16M p1; mkdir t; echo hello >t/file; mkfs.ext4 -q -F -d t p1; truncate -s 8M p2; mkswap -q p2; \
         dd if=p1 of=d.raw bs=1M seek=1 conv=notrunc status=none; dd if=p2 of=d.raw bs=1M seek=17 conv=notrunc status=none; \
         printf 'LUKS\\xba\\xbe\\x00\\x02' | dd of=d.raw bs=1M seek=25 conv=notrunc status=none; \
         printf '\\xeb\\x52\\x90NTFS    ' | dd of=d.raw bs=1M seek=33 conv=notrunc status=none; mv d.raw 2026-11-01.raw; rm -r p1 p2 t";
    sh(&images, script);
    site.run(&["index", "disk"], 1);
    let findings = site.ok(&["sql", "--csv", "SELECT kind, path, detail FROM findings ORDER BY path"]);
    assert!(findings.contains("p3") && findings.to_lowercase().contains("luks"), "{findings}");
    assert!(findings.contains("p4") && findings.to_lowercase().contains("ntfs"), "{findings}");
    let mount = site.mount(&[]);
    let view = mount.join("@2026-11-01T000000Z");
    assert_eq!(sh(&view, "cat disk/p1/file"), "hello\n");
    let volumes = site.ok(&["sql", "--csv", "SELECT name, kind, browsable FROM disk_volume ORDER BY name"]);
    assert!(volumes.contains("p2,swap,0"), "{volumes}");
    let listed = sh(&view, "ls disk");
    assert_eq!(listed, "disk.raw\np1\n", "what is not read has no directory, and is in the disk");
    sh(&view, &format!("cmp disk/disk.raw {}/2026-11-01.raw", images.display()));
    site.umount();
}

#[test]
fn a_file_system_with_a_damaged_superblock_cannot_be_listed_and_its_disk_is_served() {
    let site = site();
    raw_images(&site, MKFS_EXT4, &STEPS[..1]);
    let images = site.path("images");
    // The number of blocks: the magic number stays, the checksum does not hold.
    sh(&images, "printf '\\xff\\xff' | dd of=2026-11-01.raw bs=1 seek=1028 conv=notrunc status=none");
    site.run(&["index", "disk"], 1);
    let mount = site.mount(&[]);
    let output = shell(&mount, &format!("ls @{}/disk/fs", at(0)));
    assert!(said(&output).contains("Input/output error"), "{}", said(&output));
    sh(&mount, &format!("cmp @{}/disk/disk.raw {}/2026-11-01.raw", at(0), images.display()));
    site.umount();
    assert_eq!(count(&site, "SELECT count(*) FROM findings"), 1);
}

/// A device has no time of its last change: that it is there is all that is known of it.
#[test]
fn a_device_that_was_indexed_is_there_for_as_long_as_it_is() {
    let site = site();
    let images = site.path("images");
    add_source(&site, "vda", &images);
    sh(&images, "mkfs.ext4 -q -b 1024 disk 4M");
    let device = sh(&images, "losetup -f --show disk").trim().to_owned();
    let indexed = site.asof(&["index", "vda", &device, "--at", "2026-01-01"]).output().unwrap();
    let again = site.asof(&["index", "vda"]).output().unwrap();
    sh(&images, &format!("losetup -d {device}"));
    assert_eq!(indexed.status.code(), Some(0), "{}", said(&indexed));
    assert_eq!(again.status.code(), Some(0), "{}", said(&again));
    assert_eq!(count(&site, "SELECT count(*) FROM generations WHERE status = 'available'"), 1);
}

#[test]
fn users_of_the_machine_see_nothing_of_a_disk_whoever_owns_the_files_on_it() {
    let site = site();
    raw_images(&site, MKFS_EXT4, &["echo secret >f; chmod 777 . f; chown 65534:65534 f ."]);
    site.run(&["index", "disk"], 0);
    site.let_everybody_pass();
    let mount = site.mount(&[]);
    for (path, what) in [("", "ls"), ("/fs", "ls"), ("/fs/f", "cat"), ("/disk.raw", "head -c 1")] {
        let output = as_nobody(&mount, &format!("{what} @{}/disk{path}", at(0)));
        assert!(said(&output).contains("Permission denied"), "{path}: {}", said(&output));
    }
    assert_eq!(sh(&mount, &format!("cat @{}/disk/fs/f; stat -c %a @{0}/disk", at(0))), "secret\n700\n");
    site.umount();
}

/// Returns a site with the source `disk` and an ext4 image of the first of November with 1,800 files, made without a mount.
fn site_of_many_files() -> Site {
    let site = site();
    let images = site.path("images");
    add_source(&site, "disk", &images);
    sh(
        &images,
        "mkdir -p t/d t/other; for i in $(seq 1000 2500); do echo c$i >t/d/f$i; done; for i in $(seq 100 400); do echo c$i >t/other/f$i; done
         mkfs.ext4 -q -F -b 4096 -d t 2026-11-01.raw 64M; rm -r t",
    );
    site
}

#[test]
fn another_file_under_the_inode_number_of_an_old_one_is_not_the_old_one_though_its_directory_did_not_change() {
    let site = site_of_many_files();
    sh(
        &site.path("images"),
        "cp 2026-11-01.raw 2026-11-02.raw
         for what in 'generation 77' 'uid 4242' 'size 3'; do
             debugfs -w -R \"set_inode_field /d/f2500 $what\" 2026-11-02.raw 2>/dev/null
         done",
    );
    site.run(&["index", "disk"], 0);
    let mount = site.mount(&[]);
    let shown = |day: &str| sh(&mount, &format!("cd @2026-11-{day}/disk/fs/d; stat -c %u:%s f2500; cat f2500"));
    assert_eq!((shown("01"), shown("02")), ("0:6\nc2500\n".to_owned(), "4242:3\nc25".to_owned()));
    site.umount();
    assert_eq!(count(&site, "SELECT count(DISTINCT entries) FROM generations"), 1);
}

#[test]
fn of_the_files_in_grains_that_were_written_those_are_changed_whose_bytes_are_others_and_no_other() {
    let site = site_of_many_files();
    let images = site.path("images");
    sh(
        &images,
        "mkdir t; for size in 300 3000 20000; do head -c ${size}k /dev/zero | tr '\\0' x >t/k$size; done
         debugfs -w -R 'write t/k300 k300' 2026-11-01.raw 2>/dev/null; debugfs -w -R 'write t/k3000 k3000' 2026-11-01.raw 2>/dev/null
         debugfs -w -R 'write t/k20000 k20000' 2026-11-01.raw 2>/dev/null; rm -r t
         qemu-img create -q -f qcow2 -F raw -b 2026-11-01.raw 2026-11-02.qcow2
         for file in /d/f2000 /k300 /k3000 /k20000; do
             block=$(debugfs -R \"blocks $file\" 2026-11-01.raw 2>/dev/null | awk '{ print $(int(NF / 2) + 1) }')
             qemu-io -c \"write -q -P 65 $((block * 4096)) 512\" 2026-11-02.qcow2
         done",
    );
    site.run(&["index", "disk"], 0);
    let changed =
        site.ok(&["sql", "--csv", "SELECT what, path FROM changes WHERE taken_at LIKE '2026-11-02%' ORDER BY path"]);
    let expected =
        ["modified,disk.raw", "modified,fs/d/f2000", "modified,fs/k20000", "modified,fs/k300", "modified,fs/k3000"];
    assert_eq!(changed.lines().skip(1).collect::<Vec<_>>(), expected, "{changed}");
    // Written, and nothing is other than before.
    sh(&images, "qemu-img create -q -f qcow2 -F qcow2 -b 2026-11-02.qcow2 2026-11-03.qcow2");
    sh(
        &images,
        "dd if=2026-11-01.raw of=head bs=1M count=1 skip=1 status=none; qemu-io -c 'write -q -s head 1M 1M' 2026-11-03.qcow2; rm head",
    );
    site.run(&["index", "disk"], 0);
    assert_eq!(
        count(&site, "SELECT count(*) FROM changes WHERE taken_at LIKE '2026-11-03%' AND path <> 'disk.raw'"),
        0
    );
}

#[test]
fn a_file_that_was_damaged_in_the_first_generation_is_read_when_it_is_repaired() {
    let site = site_of_many_files();
    sh(
        &site.path("images"),
        "cp 2026-11-01.raw 2026-11-02.raw
         debugfs -w -R 'set_inode_field /d/f2500 checksum 0x1234' 2026-11-01.raw 2>/dev/null",
    );
    site.run(&["index", "disk"], 1);
    let mount = site.mount(&[]);
    assert!(said(&shell(&mount, "cat @2026-11-01/disk/fs/d/f2500")).contains("Input/output error"));
    assert_eq!(sh(&mount, "cd @2026-11-02/disk/fs/d; stat -c %a:%s f2500; cat f2500"), "644:6\nc2500\n");
    site.umount();
}

#[test]
fn a_file_whose_blocks_could_not_be_found_is_told_again_and_read_when_they_can_though_its_record_is_as_before() {
    let site = site_of_many_files();
    sh(
        &site.path("images"),
        "for i in 0 2 4 6 8 10; do seq $i 9999 >s; dd if=s of=frag bs=4k count=1 seek=$i conv=notrunc status=none; done
         debugfs -w -R 'write frag frag' 2026-11-01.raw 2>/dev/null; rm frag s
         block=$(debugfs -R 'dump_extents -n /frag' 2026-11-01.raw 2>/dev/null | awk 'END { print $8 }')
         dd if=2026-11-01.raw of=whole bs=4096 skip=$block count=1 status=none
         dd if=/dev/zero of=2026-11-01.raw bs=4096 seek=$block count=1 conv=notrunc status=none
         qemu-img create -q -f qcow2 -F raw -b 2026-11-01.raw 2026-11-02.qcow2
         qemu-io -c 'write -q -P 1 60M 64k' 2026-11-02.qcow2
         qemu-img create -q -f qcow2 -F qcow2 -b 2026-11-02.qcow2 2026-11-03.qcow2
         qemu-io -c \"write -q -s whole $((block * 4096)) 4096\" 2026-11-03.qcow2; rm whole",
    );
    site.run(&["index", "disk"], 1);
    let losses =
        |day: &str| count(&site, &format!("SELECT losses FROM generations WHERE taken_at LIKE '2026-11-{day}%'"));
    assert_eq!((losses("01"), losses("02"), losses("03")), (1, 1, 0));
    let mount = site.mount(&[]);
    for day in ["01", "02"] {
        assert!(said(&shell(&mount, &format!("cat @2026-11-{day}/disk/fs/frag"))).contains("Input/output error"));
    }
    let dir = site.path("").display().to_string();
    let whole = format!(
        "seq 0 9999 >{dir}/s; seq 10 9999 >{dir}/t
         cd @2026-11-03/disk/fs; cmp -n 4096 frag {dir}/s; cmp -n 4096 -i 40960:0 frag {dir}/t"
    );
    sh(&mount, &whole);
    site.umount();
}

#[test]
fn attributes_that_could_not_be_read_are_an_error_until_they_can_be_and_a_changed_block_of_them_is_seen() {
    let site = site();
    let images = site.path("images");
    add_source(&site, "disk", &images);
    sh(
        &images,
        "mkdir t; echo f >t/f; echo plain >t/plain; setfattr -n user.big -v $(head -c 600 /dev/zero | tr '\\0' 1) t/f
         mkfs.ext4 -q -F -b 4096 -I 128 -O metadata_csum -d t 2026-11-01.raw 32M; rm -r t
         block=$(debugfs -R 'stat /f' 2026-11-01.raw 2>/dev/null | sed -n 's/.*File ACL: \\([0-9]*\\).*/\\1/p')
         dd if=2026-11-01.raw of=whole bs=4096 skip=$block count=1 status=none
         printf X | dd of=2026-11-01.raw bs=1 seek=$((block * 4096 + 4000)) conv=notrunc status=none
         qemu-img create -q -f qcow2 -F raw -b 2026-11-01.raw 2026-11-02.qcow2; qemu-io -c 'write -q -P 1 20M 64k' 2026-11-02.qcow2
         qemu-img create -q -f qcow2 -F qcow2 -b 2026-11-02.qcow2 2026-11-03.qcow2
         qemu-io -c \"write -q -s whole $((block * 4096)) 4096\" 2026-11-03.qcow2
         cp 2026-11-01.raw next.img; dd if=whole of=next.img bs=4096 seek=$block conv=notrunc status=none
         debugfs -w -R 'ea_set /f user.big 2' next.img 2>/dev/null; debugfs -w -R \"ea_set /f user.big $(head -c 600 /dev/zero | tr '\\0' 3)\" next.img 2>/dev/null
         dd if=next.img of=other bs=4096 skip=$block count=1 status=none; cmp -s other whole && exit 1
         qemu-img create -q -f qcow2 -F qcow2 -b 2026-11-03.qcow2 2026-11-04.qcow2
         qemu-io -c \"write -q -s other $((block * 4096)) 4096\" 2026-11-04.qcow2; rm whole other next.img",
    );
    site.run(&["index", "disk"], 1);
    let losses =
        |day: u32| count(&site, &format!("SELECT losses FROM generations WHERE taken_at LIKE '2026-11-0{day}%'"));
    assert_eq!((1..=4).map(losses).collect::<Vec<_>>(), [1, 1, 0, 0]);
    let mount = site.mount(&[]);
    let value = |day: u32| {
        said(&shell(&mount, &format!("getfattr --only-values -n user.big @2026-11-0{day}/disk/fs/f | cut -c1-3")))
    };
    for day in [1, 2] {
        assert!(value(day).contains("Input/output error"), "day {day}: {}", value(day));
        assert!(said(&shell(&mount, &format!("getfattr -d @2026-11-0{day}/disk/fs/f"))).contains("Input/output error"));
        assert_eq!(
            sh(&mount, &format!("getfattr -d @2026-11-0{day}/disk/fs/plain; cat @2026-11-0{day}/disk/fs/f")),
            "f\n"
        );
    }
    assert_eq!((value(3).trim(), value(4).trim()), ("111", "333"));
    site.umount();
}

#[test]
fn a_target_of_a_link_that_was_damaged_is_right_again_when_its_block_is() {
    let site = site();
    add_source(&site, "disk", &site.path("images"));
    sh(
        &site.path("images"),
        "mkdir t; ln -s $(head -c 200 /dev/zero | tr '\\0' a) t/long; ln -s short t/short
         mkfs.ext4 -q -F -b 4096 -d t 2026-11-02.raw 32M; rm -r t; cp 2026-11-02.raw 2026-11-01.raw
         block=$(debugfs -R 'blocks /long' 2026-11-02.raw 2>/dev/null | tr -d ' ')
         printf X | dd of=2026-11-01.raw bs=1 seek=$((block * 4096 + 3)) conv=notrunc status=none",
    );
    site.run(&["index", "disk"], 0);
    let mount = site.mount(&[]);
    let target = |day: u32| sh(&mount, &format!("readlink @2026-11-0{day}/disk/fs/long | cut -c1-6"));
    assert_eq!((target(1).trim(), target(2).trim()), ("aaaXaa", "aaaaaa"));
    site.umount();
}

#[test]
fn a_file_system_that_cannot_be_read_twice_is_not_told_as_deleted_and_comes_back() {
    let site = site_of_many_files();
    sh(
        &site.path("images"),
        "dd if=2026-11-01.raw of=head bs=4096 count=1 status=none
         before=2026-11-01.raw format=raw
         for day in 2 3 4; do
             qemu-img create -q -f qcow2 -F $format -b $before 2026-11-0$day.qcow2; before=2026-11-0$day.qcow2 format=qcow2
         done
         qemu-io -c 'write -q -P 9 0 4k' 2026-11-02.qcow2; qemu-io -c 'write -q -P 8 0 4k' 2026-11-03.qcow2
         qemu-io -c 'write -q -s head 0 4k' 2026-11-04.qcow2; rm head",
    );
    site.run(&["index", "disk"], 1);
    let mount = site.mount(&[]);
    for day in ["02", "03"] {
        let output = shell(&mount, &format!("ls @2026-11-{day}/disk/fs"));
        assert!(said(&output).contains("Input/output error"), "{day}: {}", said(&output));
    }
    assert_eq!(sh(&mount, "cat @2026-11-04/disk/fs/other/f400; ls @2026-11-04/disk/fs/d | wc -l"), "c400\n1501\n");
    site.umount();
    assert_eq!(count(&site, "SELECT count(*) FROM changes WHERE what = 'deleted'"), 0);
    assert_eq!(count(&site, "SELECT count(*) FROM generations WHERE partial"), 2);
}

#[test]
fn an_increment_on_an_image_that_is_gone_is_refused_by_name() {
    let site = site_of_many_files();
    let images = site.path("images");
    sh(
        &images,
        "qemu-img create -q -f qcow2 -F raw -b 2026-11-01.raw 2026-11-02.qcow2
         qemu-io -c 'write -q -P 9 32M 4k' 2026-11-02.qcow2",
    );
    site.run(&["index", "disk"], 0);
    sh(
        &images,
        "qemu-img create -q -f qcow2 -F qcow2 -b 2026-11-02.qcow2 2026-11-03.qcow2
         qemu-io -c 'write -q -P 9 33M 4k' 2026-11-03.qcow2
         mv 2026-11-01.raw ../gone",
    );
    let told = said(&site.run(&["index", "disk"], 2));
    assert!(told.contains("2026-11-01.raw\" is missing"), "{told}");
    assert!(told.contains("nothing was recorded"), "{told}");
    assert_eq!(count(&site, "SELECT count(*) FROM generations"), 2);
    sh(&images, "mv ../gone 2026-11-01.raw");
    site.run(&["index", "disk"], 0);
    assert_eq!(count(&site, "SELECT count(*) FROM generations"), 3);
}

#[test]
fn images_that_moved_to_another_folder_are_those_that_they_were() {
    let site = site();
    let truths = raw_images(&site, MKFS_EXT4, &STEPS);
    // The second night lies on top of the first.
    let overlay = format!(
        "mv {1}.raw full && qemu-img create -q -f qcow2 -F raw -b {0}.raw {1}.qcow2 && \
         qemu-img convert -n -O qcow2 full {1}.qcow2 && rm full",
        name(0),
        name(1)
    );
    sh(&site.path("images"), &overlay);
    site.run(&["index", "disk"], 0);
    let are_as_they_were = |nights: std::ops::Range<usize>| {
        for k in nights {
            assert_same(&shown(&site, &format!("disk/@{}/fs", at(k))), &truths[k], &k);
        }
    };
    let index = |code: i32| said(&site.run(&["index", "disk"], code));
    let set = |folder: &str| site.ok(&["source", "set", "disk", "--images", site.path(folder).to_str().unwrap()]);
    sh(&site.path(""), "mv images moved");
    set("moved");
    let told = index(0);
    assert!(told.contains("3 copies moved: that of"), "{told}");
    assert!(index(0).contains("no image of \"disk\" is new (3 are indexed)"));
    are_as_they_were(0..3);
    site.ok(&["check", "--deep"]);
    // Copied to another disk they are the same; what was written since is another image.
    sh(&site.path(""), &format!("cp -a moved other; touch other/{}.raw", name(2)));
    set("other");
    let told = index(2);
    assert!(told.contains("2 copies moved: that of"), "{told}");
    assert!(told.contains(&format!("has a generation of {}T00:00:00Z already", name(2))), "{told}");
    sh(&site.path(""), "rm -r moved");
    are_as_they_were(0..2);
}

/// Writes a stream as virtnbdbackup does: `data` is where bytes are and what each of them is.
fn write_stream(path: &Path, disk: &str, number: u32, data: &[(usize, u8)]) {
    const SIZE: usize = 1 << 20;
    const RUN: usize = 64 << 10;
    let parent = (number > 0).then(|| format!("virtnbdbackup.{}", number - 1));
    let meta = serde_json::json!({
        "virtualSize": SIZE, "dataSize": data.len() * RUN, "date": format!("2026-01-0{}T02:00:00", number + 1),
        "diskName": disk, "diskFormat": "qcow2", "checkpointName": format!("virtnbdbackup.{number}"), "compressed": false,
        "parentCheckpoint": parent, "incremental": number > 0, "streamVersion": 2
    })
    .to_string();
    let frame = |kind: &str, start: usize, length: usize| format!("{kind} {start:016x} {length:016x}\r\n").into_bytes();
    let mut bytes = [frame("meta", 0, meta.len()), meta.into_bytes(), b"\r\n".to_vec()].concat();
    for (at, byte) in data {
        bytes.extend([frame("data", *at, RUN), vec![*byte; RUN], b"\r\n".to_vec()].concat());
    }
    bytes.extend(frame("stop", 0, 0));
    fs::write(path, bytes).unwrap();
}

/// virtnbdbackup writes all disks of a guest to one folder, with the same checkpoints.
#[test]
fn of_a_folder_with_the_streams_of_two_disks_one_is_chosen_by_name_and_nothing_is_mixed() {
    let site = site();
    let folder = site.path("images");
    fs::create_dir(&folder).unwrap();
    for (disk, byte) in [("vda", 1), ("vdb", 2)] {
        write_stream(&folder.join(format!("{disk}.full.data")), disk, 0, &[(0, byte), (64 << 10, byte)]);
        write_stream(&folder.join(format!("{disk}.inc.virtnbdbackup.1.data")), disk, 1, &[(128 << 10, byte + 10)]);
    }
    add_source(&site, "vm1", &folder);
    let text = said(&site.run(&["index", "vm1"], 2));
    assert!(text.contains("the images of \"vm1\" are of 2 disks: \"vda\" (") && text.contains("\"vdb\" ("), "{text}");
    assert!(text.contains("hint: a source is one disk: asof source set vm1 --disk vda chooses that one"), "{text}");
    assert_eq!(count(&site, "SELECT count(*) FROM generations"), 0);
    site.ok(&["source", "set", "vm1", "--disk", "vda"]);
    let images = folder.display().to_string();
    site.ok(&["source", "add", "block", "vm1b", "--images", &images, "--disk", "vdb"]);
    for (source, byte) in [("vm1", 1), ("vm1b", 2)] {
        // They hold bytes and no file system.
        site.run(&["index", source], 1);
        let tree = disk::tree(&site.path("catalog.db"));
        let (mut full, run) = (vec![0; 1 << 20], 64 << 10);
        full[..2 * run].fill(byte);
        assert_eq!(disk::hash_at(&tree, &format!("{source}/@2026-01-01T020000Z/disk.raw")), disk::hash_of_bytes(&full));
        full[2 * run..3 * run].fill(byte + 10);
        assert_eq!(disk::hash_at(&tree, &format!("{source}/@2026-01-02T020000Z/disk.raw")), disk::hash_of_bytes(&full));
    }
    let named = folder.join("vdb.full.data").display().to_string();
    let text = said(&site.run(&["index", "vm1", &named], 2));
    assert!(text.contains("source \"vm1\" is disk \"vda\", and an image of disk \"vdb\" is named"), "{text}");

    // The first images are of one disk; another one comes later.
    let late = site.path("late");
    fs::create_dir(&late).unwrap();
    fs::copy(folder.join("vda.full.data"), late.join("vda.full.data")).unwrap();
    add_source(&site, "late", &late);
    site.run(&["index", "late"], 1);
    fs::copy(folder.join("vdb.inc.virtnbdbackup.1.data"), late.join("vdb.inc.virtnbdbackup.1.data")).unwrap();
    let text = said(&site.run(&["index", "late"], 2));
    assert!(text.contains("is of disk \"vdb\", and what is indexed of \"late\" is of disk \"vda\""), "{text}");
    assert_eq!(count(&site, "SELECT count(*) FROM generations WHERE source = 'late'"), 1);
}

#[test]
fn raw_images_whose_names_are_those_of_two_disks_are_not_taken_for_two_moments_of_one() {
    let site = site();
    let folder = site.path("images");
    fs::create_dir(&folder).unwrap();
    for name in ["vm1-vda-2026-11-18T0200.raw", "vm1-vdb-2026-11-18T0201.raw"] {
        fs::write(folder.join(name), vec![7; 1 << 20]).unwrap();
    }
    add_source(&site, "vm1", &folder);
    let text = said(&site.run(&["index", "vm1"], 2));
    assert!(text.contains("the images of \"vm1\" are of 2 disks"), "{text}");
    site.ok(&["source", "set", "vm1", "--disk", "vdb"]);
    let text = said(&site.run(&["index", "vm1"], 1));
    assert!(text.contains("passed over the images of disk \"vda\": 1"), "{text}");
    assert_eq!(count(&site, "SELECT count(*) FROM generations"), 1);
}

#[test]
fn an_image_that_a_running_qemu_writes_to_is_refused_until_it_is_closed() {
    let site = site();
    let folder = site.path("images");
    sh(
        &site.path(""),
        "mkdir images; qemu-img create -q -f qcow2 images/disk-2026-11-18.qcow2 8M; cp images/*.qcow2 images/base-2026-11-17.qcow2",
    );
    let serve = |options: &str| {
        let socket = site.path("lock.nbd");
        let script = format!("exec qemu-nbd -t -k {} {options}", socket.display());
        let server = std::process::Command::new("bash").args(["-c", &script]).current_dir(&folder).spawn();
        site::wait_until("qemu-nbd listens", || std::os::unix::net::UnixStream::connect(&socket).is_ok());
        server.unwrap()
    };
    let mut server = serve("disk-2026-11-18.qcow2");
    add_source(&site, "vm1", &folder);
    let text = said(&site.run(&["index", "vm1"], 1));
    assert!(text.contains("disk-2026-11-18.qcow2\" is being written to by a running QEMU"), "{text}");
    assert!(text.contains("hint: asof take takes a generation of a disk in use"), "{text}");
    assert_eq!(count(&site, "SELECT count(*) FROM generations"), 1, "the other image is indexed");
    server.kill().unwrap();
    server.wait().unwrap();
    // Who only reads it does not change it.
    let mut server = serve("-r disk-2026-11-18.qcow2");
    site.run(&["index", "vm1"], 0);
    assert_eq!(count(&site, "SELECT count(*) FROM generations"), 2);
    server.kill().unwrap();
    server.wait().unwrap();
}
