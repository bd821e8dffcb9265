//! All disks of a guest as one source: one generation has them as they were at one moment, each in a folder of its own.
//!
//! What is compared with is each disk indexed as a source of its own, and the disk itself. The disks are file systems by e2fsprogs in images
//! by QEMU, and the streams of virtnbdbackup. Needs qemu-utils and e2fsprogs.

mod common;

#[path = "common/disk.rs"]
mod disk;
#[path = "common/silent.rs"]
mod silent;
#[path = "common/site.rs"]
mod site;

use common::{Picture, ino_of, picture_of_view};
use serde_json::Value;
use silent::Silent;
use site::{Site, assert_documented, said, sh, shell};
use std::fs;
use std::path::Path;

const MIB: usize = 1 << 20;

fn site() -> Site {
    let site = Site::new();
    site.ok(&["init"]);
    fs::create_dir(site.path("images")).unwrap();
    site
}

fn add(site: &Site, name: &str, images: &str, more: &[&str]) -> String {
    let images = site.path(images).display().to_string();
    said(&site.run(&[&["source", "add", "block", name, "--images", &images], more].concat(), 0))
}

fn query(site: &Site, sql: &str) -> String {
    site.ok(&["sql", "--csv", sql]).lines().skip(1).collect::<Vec<_>>().join("\n")
}

fn index(site: &Site, code: i32) -> Value {
    let printed: Value = serde_json::from_slice(&site.run(&["index", "vm1", "--json"], code).stdout).expect("JSON");
    assert_documented("asof index", &printed);
    printed
}

/// Returns all of a directory of a view, its bytes included, without what is only known of it where it is seen in a mount.
fn shown(site: &Site, path: &str) -> Picture {
    let tree = disk::tree(&site.path("catalog.db"));
    let root = ino_of(&tree, path).unwrap_or_else(|| panic!("{path} is not there"));
    let mut picture = picture_of_view(&tree, root, true, false);
    picture.values_mut().for_each(|shown| shown.xattrs.sort());
    picture
}

fn hash(site: &Site, path: &str) -> String {
    disk::hash_at(&disk::tree(&site.path("catalog.db")), path)
}

/// Returns why a file of a view cannot be opened.
fn unreadable(site: &Site, path: &str) -> String {
    let tree = disk::tree(&site.path("catalog.db"));
    let file = ino_of(&tree, path).unwrap_or_else(|| panic!("{path} is not there"));
    asof::model::chain(&tree.open(file).expect_err("it has no bytes"))
}

/// Returns why no copy gives the bytes of a file of a view.
fn unread(site: &Site, path: &str) -> String {
    let tree = disk::tree(&site.path("catalog.db"));
    let file = ino_of(&tree, path).unwrap_or_else(|| panic!("{path} is not there"));
    asof::model::chain(&tree.ask(file, |file| file.read_at(&mut [0; 16], 0)).expect_err("it has no bytes"))
}

/// Returns the names in a directory of a view.
fn names(site: &Site, path: &str) -> Vec<String> {
    let tree = disk::tree(&site.path("catalog.db"));
    let dir = ino_of(&tree, path).unwrap_or_else(|| panic!("{path} is not there"));
    common::listing(&tree, dir).into_iter().map(|(name, _)| String::from_utf8(name).unwrap()).collect()
}

/// Writes a stream as virtnbdbackup does: `data` is where bytes are and what each of them is. It saves one disk after the other, so the
/// dates of one moment differ.
fn write_stream(path: &Path, disk: &str, (number, second): (u32, u32), data: &[(usize, u8)], packed: bool) {
    const RUN: usize = 64 << 10;
    let parent = (number > 0).then(|| format!("virtnbdbackup.{}", number - 1));
    let meta = serde_json::json!({
        "virtualSize": MIB, "dataSize": data.len() * RUN, "date": format!("2026-01-0{}T02:00:0{second}", number + 1),
        "diskName": disk, "diskFormat": "qcow2", "checkpointName": format!("virtnbdbackup.{number}"), "compressed": packed,
        "parentCheckpoint": parent, "incremental": number > 0, "streamVersion": 2
    })
    .to_string();
    let frame = |kind: &str, start: usize, length: usize| format!("{kind} {start:016x} {length:016x}\r\n").into_bytes();
    let mut bytes = [frame("meta", 0, meta.len()), meta.into_bytes(), b"\r\n".to_vec()].concat();
    let mut sizes = Vec::new();
    for (at, byte) in data {
        let mut run = vec![*byte; RUN];
        if packed {
            let info = lz4_flex::frame::FrameInfo::new().content_size(Some(RUN as u64));
            let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(info, Vec::new());
            std::io::Write::write_all(&mut encoder, &run).unwrap();
            run = encoder.finish().unwrap();
            sizes.push(run.len());
        }
        bytes.extend([frame("data", *at, RUN), run, b"\r\n".to_vec()].concat());
    }
    bytes.extend(frame("stop", 0, 0));
    if packed {
        let sizes = serde_json::to_vec(&sizes).unwrap();
        bytes.extend([sizes.clone(), b"\r\n".to_vec(), frame("comp", 0, sizes.len())].concat());
    }
    fs::write(path, bytes).unwrap();
}

/// Returns the hash of a disk of zeros with these runs.
fn hash_of(data: &[(usize, u8)]) -> String {
    let mut bytes = vec![0; MIB];
    data.iter().for_each(|(at, byte)| bytes[*at..at + (64 << 10)].fill(*byte));
    disk::hash_of_bytes(&bytes)
}

/// virtnbdbackup writes all disks of a guest to one folder, with the same checkpoints.
#[test]
fn the_folder_of_virtnbdbackup_is_one_generation_of_all_disks_a_moment() {
    let site = site();
    let disks = [("vda", 1, false), ("vdb", 2, true), ("vdc", 3, false)];
    let data = |night: u32, byte: u8| match night {
        0 => vec![(0, byte), (64 << 10, byte)],
        _ => vec![(64 << 10, byte + 100), (128 << 10, byte + 10 * night as u8)],
    };
    let write = |disk: &str, byte: u8, packed: bool, night: u32| {
        let name = match night {
            0 => format!("images/{disk}.full.data"),
            _ => format!("images/{disk}.inc.virtnbdbackup.{night}.data"),
        };
        write_stream(&site.path(&name), disk, (night, u32::from(byte)), &data(night, byte), packed);
    };
    for (disk, byte, packed) in disks {
        write(disk, byte, packed, 0);
    }
    let text = add(&site, "vm1", "images", &[]);
    assert!(text.contains("added source \"vm1\": all disks of a guest (vda, vdb, vdc), images in"), "{text}");
    // They hold bytes and no file system. That is what is said, and nothing else.
    index(&site, 1);
    for (disk, byte, packed) in disks {
        write(disk, byte, packed, 1);
    }
    index(&site, 1);
    // One of them comes when the others are indexed: the disk is missing until then.
    write("vda", 1, false, 2);
    write("vdc", 3, false, 2);
    index(&site, 1);
    assert_eq!(
        query(&site, "SELECT taken_at, path, detail FROM findings WHERE kind = 'missing'"),
        "2026-01-03T02:00:01Z,vdb,there is no image of this disk of that moment"
    );
    assert_eq!(names(&site, "vm1/@2026-01-03T020001Z"), ["vda", "vdb", "vdc"]);
    write("vdb", 2, true, 2);
    let printed = index(&site, 1).to_string();
    assert!(printed.contains(r#""again":"an image of another of its disks came""#), "{printed}");
    assert_eq!(query(&site, "SELECT count(*) FROM findings WHERE kind = 'missing'"), "0");
    site.ok(&["index", "vm1"]);
    assert_eq!(
        query(&site, "SELECT taken_at, level FROM generations ORDER BY 1"),
        "2026-01-01T02:00:01Z,full\n2026-01-02T02:00:01Z,incremental\n2026-01-03T02:00:01Z,incremental"
    );
    for (disk, byte, _) in disks {
        let mut all = Vec::new();
        for night in 0..3 {
            all.extend(data(night, byte));
            let path = format!("vm1/@2026-01-0{}T020001Z/{disk}/disk.raw", night + 1);
            assert_eq!(hash(&site, &path), hash_of(&all), "{path}");
        }
    }
    assert_eq!(
        query(
            &site,
            "SELECT volume, size_bytes FROM volumes WHERE kind = 'disk' AND taken_at = '2026-01-02T02:00:01Z'"
        ),
        "vda,1048576\nvdb,1048576\nvdc,1048576"
    );
    site.ok(&["check", "--deep"]);
}

/// Disks that are written by somebody, night by night.
struct Guest<'s> {
    site: &'s Site,
}

impl Guest<'_> {
    /// Makes the disk as it is in a night: that of the night before with another file, or a new one.
    fn write(&self, disk: &str, night: u32, size_mib: u32) {
        let script = format!(
            "mkdir -p truth images/{disk} t; cd truth; before={disk}-{}.raw; now={disk}-{night}.raw
             if [ -e $before ]; then cp --sparse=always $before $now; truncate -s {size_mib}M $now
             else mkdir -p ../t/d; seq 1 20000 >../t/d/{disk}; mkfs.ext4 -q -F -b 1024 -d ../t $now {size_mib}M; rm -r ../t; fi
             # Bytes that are there in every other night, where the file system has nothing: an image has a hole there in between.
             if [ {odd} = 1 ]; then from=/dev/urandom; else from=/dev/zero; fi
             dd if=$from of=$now bs=64k seek=90 count=1 conv=notrunc status=none
             seq {night} 9999 >word; debugfs -w -R 'write word night-{night}' $now 2>/dev/null; rm word",
            night - 1,
            odd = night % 2,
        );
        sh(&self.site.path(""), &script);
    }

    /// Backs it up: all of it as a raw file, or what changed since a night as qcow2.
    fn back_up(&self, disk: &str, night: u32, since: Option<u32>) {
        let script = match since {
            None => format!("cp --sparse=always truth/{disk}-{night}.raw images/{disk}/2026-01-0{night}.raw"),
            Some(since) => format!(
                "cd images/{disk}; base=$(ls 2026-01-0{since}.*)
                 qemu-img convert -f raw -O qcow2 -B $base -F ${{base##*.}} ../../truth/{disk}-{night}.raw 2026-01-0{night}.qcow2"
            ),
        };
        sh(&self.site.path(""), &script);
    }

    /// Holds a disk in a view against the disk, and against the view of it as a source of its own.
    fn check(&self, disk: &str, night: u32) {
        let here = format!("vm1/@2026-01-0{night}/{disk}");
        let truth = self.site.path(&format!("truth/{disk}-{night}.raw"));
        assert_eq!(hash(self.site, &format!("{here}/disk.raw")), disk::hash_of_file(&truth), "{here}");
        let alone = format!("{disk}/@2026-01-0{night}");
        let (mut found, mut expected) = (shown(self.site, &here), shown(self.site, &alone));
        // That of what asof makes itself is the date of the generation in which it came to be.
        for picture in [&mut found, &mut expected] {
            picture.retain(|path, _| !matches!(path.as_slice(), b"" | b"disk.raw"));
        }
        assert!(found.len() > 3);
        common::assert_same(&found, &expected, &here);
    }
}

/// The law for several disks: whatever a disk does, each is what it would be alone.
#[test]
fn disks_that_are_full_beside_increments_missing_added_grown_and_removed_are_as_each_is_alone() {
    let site = site();
    let guest = Guest { site: &site };
    // Night 1: both. 2: vda is an increment, vdb is full. 3: there is none of vdb. 4: vdb counts from night 2, vdc is new. 5: vda is full and
    // vdb an increment of night 4, larger. 6: vdb counts from night 4, vda from 5, vdc is removed.
    let nights: [&[(&str, Option<u32>)]; 6] = [
        &[("vda", None), ("vdb", None)],
        &[("vda", Some(1)), ("vdb", None)],
        &[("vda", Some(2))],
        &[("vda", Some(3)), ("vdb", Some(2)), ("vdc", None)],
        &[("vda", None), ("vdb", Some(4)), ("vdc", Some(4))],
        &[("vda", Some(5)), ("vdb", Some(4))],
    ];
    for (night, disks) in (1..).zip(nights) {
        for disk in ["vda", "vdb", "vdc"] {
            if night > 3 || disk != "vdc" {
                guest.write(disk, night, if disk == "vdb" && night > 4 { 12 } else { 8 });
            }
        }
        for (disk, since) in disks {
            guest.back_up(disk, night, *since);
        }
        if night == 1 {
            add(&site, "vm1", "images", &[]);
            for disk in ["vda", "vdb", "vdc"] {
                fs::create_dir_all(site.path(&format!("images/{disk}"))).unwrap();
                add(&site, disk, &format!("images/{disk}"), &["--all-disks", "no"]);
            }
        }
        if night == 6 {
            site.ok(&["source", "set", "vm1", "--removed-disk", "vdc"]);
        }
        index(&site, i32::from(night == 3));
        for (disk, _) in disks {
            site.ok(&["index", disk]);
            guest.check(disk, night);
        }
    }
    assert_eq!(query(&site, "SELECT taken_at, path FROM findings WHERE kind = 'missing'"), "2026-01-03T00:00:00Z,vdb");
    assert_eq!(names(&site, "vm1/@2026-01-03"), ["vda", "vdb"]);
    assert_eq!(names(&site, "vm1/@2026-01-06"), ["vda", "vdb"]);
    assert_eq!(
        query(
            &site,
            "SELECT count(*) FROM deleted WHERE source = 'vm1' AND path = 'vdc' AND deleted_in = '2026-01-06T00:00:00Z'"
        ),
        "1"
    );
    // The disk of that moment cannot be read; it is there again, and whole, in the next one.
    assert_eq!(
        unreadable(&site, "vm1/@2026-01-03/vdb/disk.raw"),
        "\"vm1/vdb/disk.raw\" as of 2026-01-03T00:00:00Z has no content: they could not be read when it was indexed"
    );
    // What was not seen is as it was, where it is known by name; what is in its directories is not vouched for.
    assert_eq!(hash(&site, "vm1/@2026-01-03/vdb/fs/d/vdb"), hash(&site, "vm1/@2026-01-02/vdb/fs/d/vdb"));
    let all = |site: &Site| -> Vec<Picture> {
        let below = |night: usize| if night == 3 { "/vda" } else { "" };
        (1..=6).map(|night| shown(site, &format!("vm1/@2026-01-0{night}{}", below(night)))).collect()
    };
    let before = all(&site);

    // Generations are indexed again, one is forgotten, all are indexed in one run in another catalog: it is the same.
    site.ok(&["check", "--deep"]);
    site.run(&["index", "vm1@2026-01-04", "--again"], 0);
    site.run(&["index", "vm1@2026-01-03", "--again"], 1);
    assert_eq!(all(&site), before);
    site.ok(&["forget", "vm1@2026-01-02"]);
    let fresh = Site::new();
    fresh.ok(&["init"]);
    let images = site.path("images").display().to_string();
    fresh.ok(&["source", "add", "block", "vm1", "--images", &images]);
    fresh.ok(&["source", "set", "vm1", "--removed-disk", "vdc"]);
    fresh.run(&["index", "vm1"], 1);
    let at_once = all(&fresh);
    assert_eq!(before, at_once);
    for night in [1, 4, 5, 6] {
        assert_eq!(shown(&site, &format!("vm1/@2026-01-0{night}")), before[night - 1], "night {night}");
    }
    site.ok(&["check", "--deep"]);
}

#[test]
fn which_layout_a_source_has_is_fixed_when_it_is_added() {
    let site = site();
    sh(&site.path(""), "truncate -s 1M images/vm1-vda-2026-01-01.raw; mkdir none");
    let text = add(&site, "vm1", "images", &[]);
    assert!(text.contains("added source \"vm1\": a disk, images in"), "{text}");
    site.ok(&["index", "vm1"]);
    assert_eq!(names(&site, "vm1/@2026-01-01"), ["disk.raw"]);
    // A second disk comes: names stay as they are, and what to do is said.
    sh(&site.path(""), "truncate -s 1M images/vm1-vdb-2026-01-02.raw");
    let text = said(&site.run(&["index", "vm1"], 2));
    assert!(text.contains("is of disk \"vdb\", and what is indexed of \"vm1\" is of disk \"vda\""), "{text}");
    let text = said(&site.run(&["source", "set", "vm1", "--all-disks"], 2));
    assert!(
        text.contains(
            "cannot change --all-disks of source \"vm1\": its 1 generation was indexed with the present setting"
        ),
        "{text}"
    );
    site.ok(&["source", "set", "vm1", "--disk", "vda"]);

    // The other way round: a guest with one disk has a folder for it.
    let text = add(&site, "vm2", "none", &["--all-disks"]);
    assert!(text.contains("added source \"vm2\": all disks of a guest, images in"), "{text}");
    sh(&site.path(""), "truncate -s 1M none/vda-2026-01-01.raw none/2026-01-01.raw");
    let text = said(&site.run(&["index", "vm2"], 1));
    assert!(
        text.contains("nothing says which disk of the guest it is of: the image, its folder or its name"),
        "{text}"
    );
    assert_eq!(names(&site, "vm2/@2026-01-01"), ["vda"]);
    let refused = said(&site.run(&["source", "set", "vm2", "--disk", "vda"], 2));
    assert!(refused.contains("--disk, an export and a snapshot command are of one disk"), "{refused}");
}

#[test]
fn an_image_of_one_disk_that_cannot_be_used_leaves_the_others_as_they_are() {
    let site = site();
    for disk in ["vda", "vdb"] {
        write_stream(&site.path(&format!("images/{disk}.full.data")), disk, (0, 0), &[(0, 1)], false);
        for night in 1..3 {
            let name = format!("images/{disk}.inc.virtnbdbackup.{night}.data");
            write_stream(&site.path(&name), disk, (night, 0), &[(64 << 10, night as u8 + 1)], false);
        }
    }
    // The middle one of three is lost: what counts from it is put on nothing else.
    sh(&site.path(""), "rm images/vdb.inc.virtnbdbackup.1.data");
    add(&site, "vm1", "images", &[]);
    index(&site, 1);
    let missing = query(&site, "SELECT taken_at, detail FROM findings WHERE kind = 'missing' ORDER BY 1");
    let (first, second) = missing.split_once('\n').expect("two nights");
    assert_eq!(first, "2026-01-02T02:00:00Z,there is no image of this disk of that moment");
    assert!(second.starts_with("2026-01-03T02:00:00Z,") && second.contains("no generation before"), "{second}");
    let at = |night: u32| format!("vm1/@2026-01-0{night}T020000Z/vda/disk.raw");
    assert_eq!(hash(&site, &at(3)), hash_of(&[(0, 1), (64 << 10, 3)]));
    let generations = query(&site, "SELECT taken_at, indexed_at FROM generations ORDER BY 1");
    // It says so again, and does nothing again.
    let text = said(&site.run(&["index", "vm1"], 2));
    assert!(text.contains("no generation before"), "{text}");
    assert_eq!(query(&site, "SELECT taken_at, indexed_at FROM generations ORDER BY 1"), generations);
    // An image of one disk is damaged later: the others are read as before.
    sh(&site.path(""), "echo >>images/vdb.full.data");
    let text = said(&site.run(&["index", "vm1"], 2));
    assert!(text.contains("it was written after it was indexed"), "{text}");
    assert_eq!(hash(&site, &at(1)), hash_of(&[(0, 1)]));
    site.ok(&["check", "--deep"]);
}

/// Returns the generations of a source: when, and what was last seen of their images.
fn generations(site: &Site, source: &str) -> String {
    query(
        site,
        &format!("SELECT substr(taken_at, 1, 10), status FROM generations WHERE source = '{source}' ORDER BY 1"),
    )
}

#[test]
fn what_is_forgotten_of_a_guest_is_not_made_again_from_what_is_left_of_it() {
    let site = site();
    let script =
        "cd images; for disk in vda vdb vdc; do for day in 1 2; do truncate -s 1M $disk-2026-01-0$day.raw; done; done";
    sh(&site.path(""), script);
    add(&site, "vm1", "images", &[]);
    site.ok(&["index", "vm1"]);
    let text = said(&site.run(&["forget", "vm1@2026-01-01"], 0));
    for disk in ["vda", "vdb", "vdc"] {
        let path = site.path(&format!("images/{disk}-2026-01-01.raw"));
        assert!(text.contains(&format!("its copy stays in {path:?}, and is not indexed again by itself")), "{text}");
    }
    let second = "2026-01-02,available";
    let stays_forgotten = |site: &Site| {
        site.ok(&["index", "vm1"]);
        assert_eq!(generations(site, "vm1"), second);
    };
    stays_forgotten(&site);
    // The manifest says it, too.
    let rebuilt = Site::new();
    let from = site.path("").display().to_string();
    rebuilt.run(&["rebuild", &from], 0);
    rebuilt.ok(&["index", "vm1"]);
    assert_eq!(generations(&rebuilt, "vm1"), second);
    // The image that the generation was called by is gone; one of another disk of that moment comes.
    sh(&site.path(""), "mv images/vda-2026-01-01.raw .; truncate -s 1M images/vdd-2026-01-01.raw");
    stays_forgotten(&site);
    let text = said(&site.run(&["index", "vm1"], 0));
    assert!(text.contains("vdd-2026-01-01.raw\": the generation of its moment was forgotten"), "{text}");
    sh(&site.path(""), "rm images/vdd-2026-01-01.raw; mv images moved; mkdir images");
    site.ok(&["source", "set", "vm1", "--images", &site.path("moved").display().to_string()]);
    stays_forgotten(&site);
    // Named by one of its images it comes back with all that are there.
    site.ok(&["index", "vm1", &site.path("moved/vdb-2026-01-01.raw").display().to_string()]);
    assert_eq!(names(&site, "vm1/@2026-01-01"), ["vdb", "vdc"]);
    site.ok(&["forget", "vm1@2026-01-01"]);
    sh(&site.path(""), "mv vda-2026-01-01.raw moved");
    // That one is new, and of a moment that is forgotten.
    stays_forgotten(&site);
    site.ok(&["check", "--deep"]);
}

#[test]
fn each_generation_that_cannot_be_read_without_an_image_is_named_with_that_image() {
    let site = site();
    let script = "cd images; for disk in vda vdb; do
        head -c 1M /dev/urandom >$disk-2026-01-01.raw
        for day in 2 3; do
            base=$(ls $disk-2026-01-0$((day - 1)).*); over=$disk-2026-01-0$day.qcow2
            qemu-img create -q -f qcow2 -b $base -F ${base##*.} $over; qemu-io -c 'write -q -P 7 0 64k' $over
        done; done
        for disk in vda vdb; do head -c 1M /dev/urandom >$disk-2026-01-04.raw; done";
    sh(&site.path(""), script);
    add(&site, "vm1", "images", &[]);
    add(&site, "vda", "images", &["--disk", "vda"]);
    // They hold bytes and no file system.
    index(&site, 1);
    site.run(&["index", "vda"], 1);
    let all = "2026-01-01,available\n2026-01-02,available\n2026-01-03,available\n2026-01-04,available";
    assert_eq!(generations(&site, "vm1"), all);

    // The second disk's full image is gone: it is that one which is named, and who needs it.
    sh(&site.path(""), "mv images/vdb-2026-01-01.raw .");
    let full = site.path("images/vdb-2026-01-01.raw");
    let text = said(&site.run(&["index", "vm1"], 1));
    assert!(text.contains(&format!("{full:?}, is not what was indexed: it is not there any more")), "{text}");
    let needed = format!(
        "the generations 2026-01-02T00:00:00Z, 2026-01-03T00:00:00Z of \"vm1\" are based on {full:?} and cannot be read as a whole: it is not \
         there any more"
    );
    assert!(text.contains(&needed), "{text}");
    let degraded = "2026-01-01,degraded\n2026-01-02,degraded\n2026-01-03,degraded\n2026-01-04,available";
    assert_eq!(generations(&site, "vm1"), degraded);
    let printed = index(&site, 1);
    let events = printed["sources"][0]["events"].as_array().unwrap();
    let cut_off = events.iter().find(|event| event["what"] == "cut_off").unwrap();
    assert_eq!(cut_off["copies"].as_array().unwrap().len(), 2);
    sh(&site.path(""), "mv vdb-2026-01-01.raw images");
    site.ok(&["index", "vm1"]);
    assert_eq!(generations(&site, "vm1"), all);

    // Of one disk: the image in between is written, then the full one is gone, then that is forgotten.
    site.ok(&["index", "vda"]);
    sh(&site.path(""), "touch -d 2020-01-01 images/vda-2026-01-02.qcow2");
    let text = said(&site.run(&["index", "vda"], 1));
    assert!(text.contains("hint: asof index vda@2026-01-02T00:00:00Z --again indexes it as it is now"), "{text}");
    assert!(text.contains("the generation 2026-01-03T00:00:00Z of \"vda\" is based on"), "{text}");
    site.run(&["index", "vda@2026-01-02", "--again"], 1);
    site.ok(&["index", "vda"]);
    sh(&site.path(""), "mv images/vda-2026-01-01.raw .");
    let gone = "2026-01-01,gone\n2026-01-02,degraded\n2026-01-03,degraded\n2026-01-04,available";
    for _ in 0..2 {
        let text = said(&site.run(&["index", "vda"], 1));
        assert!(
            text.contains("the generations 2026-01-02T00:00:00Z, 2026-01-03T00:00:00Z of \"vda\" are based on"),
            "{text}"
        );
        assert_eq!(generations(&site, "vda"), gone);
    }
    site.ok(&["forget", "vda@2026-01-01"]);
    for _ in 0..2 {
        let text = said(&site.run(&["index", "vda"], 1));
        assert!(
            text.contains("the generations 2026-01-02T00:00:00Z, 2026-01-03T00:00:00Z of \"vda\" are based on"),
            "{text}"
        );
    }
    assert_eq!(generations(&site, "vda"), gone.split_once('\n').unwrap().1);
}

#[test]
fn a_disk_that_only_an_older_image_has_is_missing_in_the_later_generations() {
    let site = site();
    sh(
        &site.path(""),
        "cd images; for day in 2 3 4; do truncate -s 1M vda-2026-01-0$day.raw; done; truncate -s 1M vdb-2026-01-04.raw",
    );
    add(&site, "vm1", "images", &["--all-disks"]);
    site.ok(&["index", "vm1"]);
    sh(&site.path(""), "truncate -s 1M images/vda-2026-01-01.raw images/vdb-2026-01-01.raw");
    let text = said(&site.run(&["index", "vm1"], 1));
    assert!(text.contains("; an older image is of a disk that it has not"), "{text}");
    let missing = "SELECT substr(taken_at, 1, 10), path FROM findings WHERE kind = 'missing' ORDER BY 1";
    assert_eq!(query(&site, missing), "2026-01-02,vdb\n2026-01-03,vdb");
    for night in 1..=4 {
        assert_eq!(names(&site, &format!("vm1/@2026-01-0{night}")), ["vda", "vdb"]);
    }
    unreadable(&site, "vm1/@2026-01-03/vdb/disk.raw");
    assert_eq!(hash(&site, "vm1/@2026-01-04/vdb/disk.raw"), hash_of(&[]));
    site.ok(&["index", "vm1"]);
    // It is the same where all come at once.
    let fresh = Site::new();
    fresh.ok(&["init"]);
    fresh.ok(&["source", "add", "block", "vm1", "--images", &site.path("images").display().to_string()]);
    fresh.run(&["index", "vm1"], 1);
    assert_eq!(query(&fresh, missing), query(&site, missing));
    site.ok(&["check", "--deep"]);
}

/// Makes a raw disk with an ext4 file system of what a folder has.
fn ext4(site: &Site, folder: &str, image: &str) {
    sh(
        &site.path(""),
        &format!("rm -f {image}; truncate -s 4M {image}; mkfs.ext4 -q -F -O ^has_journal -d {folder} {image}"),
    );
}

#[test]
fn a_file_whose_image_is_lost_is_read_from_no_disk_that_has_it_no_more() {
    for kind in ["", "vda"] {
        let site = site();
        let (one, folder) = (site.path("images").join(kind), if kind.is_empty() { "fs" } else { "vda/fs" });
        fs::create_dir_all(&one).unwrap();
        sh(&site.path("live"), "(yes contract || true) | head -c 20000 > contract; echo stays > stays");
        ext4(&site, "live", "disk.raw");
        sh(&site.path(""), &format!("cp disk.raw images/{kind}/2026-01-01.raw"));
        // Another file has its blocks.
        sh(&site.path("live"), "rm contract; (yes SALARIES || true) | head -c 20000 > salaries; chmod 600 salaries");
        ext4(&site, "live", "disk.raw");
        sh(
            &site.path(""),
            &format!("cp disk.raw images/{kind}/2026-01-02.raw; cp disk.raw images/{kind}/2026-01-03.raw"),
        );
        add(&site, "vm1", "images", if kind.is_empty() { &[] } else { &["--all-disks"] });
        index(&site, 0);
        let contract = format!("vm1/@2026-01-01T000000Z/{folder}/contract");
        let bytes = hash(&site, &contract);
        assert_eq!(bytes, disk::hash_of_bytes(&"contract\n".repeat(3000).as_bytes()[..20000]), "{kind}");
        sh(&site.path(""), &format!("mv images/{kind}/2026-01-01.raw aside.raw"));
        for run in 0..2 {
            assert!(unread(&site, &contract).contains("2026-01-01"), "{kind} {run}");
            site.asof(&["-q", "index"]).output().unwrap();
        }
        sh(&site.path(""), &format!("mv aside.raw images/{kind}/2026-01-01.raw"));
        index(&site, 0);
        assert_eq!(hash(&site, &contract), bytes, "{kind}");
        // What lives in another generation as it was is read there.
        sh(&site.path(""), &format!("rm images/{kind}/2026-01-02.raw"));
        let tree = disk::tree(&site.path("catalog.db"));
        let salaries = ino_of(&tree, &format!("vm1/@2026-01-02T000000Z/{folder}/salaries")).unwrap();
        let mut bytes = [0; 9];
        assert_eq!(tree.ask(salaries, |file| file.read_at(&mut bytes, 0)).unwrap(), 9, "{kind}");
        assert_eq!(&bytes, b"SALARIES\n", "{kind}");
    }
}

#[test]
fn what_is_on_top_of_an_image_that_is_indexed_again_is_indexed_again_too() {
    for (below, disks) in [("01.raw", &["v"][..]), ("02.qcow2", &["v"]), ("02.qcow2", &["v-vda", "v-vdb"])] {
        let site = site();
        sh(
            &site.path(""),
            "mkdir d1 d2; echo old > d1/f; echo keep > d1/k; echo keep > d2/k; echo new-and-longer > d2/f; echo x > d2/extra",
        );
        ext4(&site, "d1", "x.raw");
        ext4(&site, "d2", "y.raw");
        for disk in disks {
            sh(
                &site.path("images"),
                &format!(
                    "cp ../x.raw {disk}-2026-01-01.raw; qemu-img create -q -f qcow2 -b {disk}-2026-01-01.raw -F raw {disk}-2026-01-02.qcow2
                     qemu-img create -q -f qcow2 -b {disk}-2026-01-02.qcow2 -F qcow2 {disk}-2026-01-03.qcow2"
                ),
            );
        }
        add(&site, "vm1", "images", &[]);
        index(&site, 0);
        let changed = format!("{}-2026-01-{below}", disks[disks.len() - 1]);
        let script = if below == "01.raw" {
            format!("cp ../y.raw {changed}; touch -d '2026-02-01' {changed}")
        } else {
            format!("qemu-io -c 'write -s ../y.raw 0 4M' {changed} > ../out/io; touch -d '2026-02-01' {changed}")
        };
        sh(&site.path("images"), &script);
        let folder = if disks.len() == 1 { "fs" } else { "vdb/fs" };
        let file = |day: &str, name: &str| format!("vm1/@2026-01-{day}T000000Z/{folder}/{name}");
        site.run(&["-q", "index"], 1);
        let told = said(&site.run(&["index", &format!("vm1@2026-01-{}", &below[..2]), "--again"], 0));
        assert!(told.contains("2026-01-03"), "{below} {disks:?}: {told}");
        for day in [&below[..2], "03"] {
            for (name, bytes) in [("f", "new-and-longer\n"), ("k", "keep\n"), ("extra", "x\n")] {
                assert_eq!(
                    hash(&site, &file(day, name)),
                    disk::hash_of_bytes(bytes.as_bytes()),
                    "{below} {disks:?} {day} {name}"
                );
            }
        }
        assert_eq!(site.ok(&["-q", "index"]), "");
        site.ok(&["check", "--deep"]);
        // As a program left it that did not know of this: read by nobody until the next run.
        let older =
            "UPDATE generation SET sequence = sequence - 100 WHERE taken_at = (SELECT max(taken_at) FROM generation)";
        sh(&site.path(""), &format!("sqlite3 catalog.db '{older}'"));
        let told = said(&site.run(&["index"], 0));
        assert!(told.contains("indexed 2026-01-03") && told.contains("again"), "{told}");
        assert_eq!(hash(&site, &file("03", "f")), disk::hash_of_bytes(b"new-and-longer\n"));
    }
}

#[test]
fn images_of_several_guests_in_one_folder_are_never_generations_of_one_disk() {
    let site = site();
    for (guest, day) in [("web01", "16"), ("mail", "22"), ("web01", "23")] {
        sh(&site.path("live"), &format!("rm -f *; echo {guest} > hostname"));
        ext4(&site, "live", &format!("images/{guest}-202611{day}.img"));
    }
    add(&site, "vm1", "images", &[]);
    let told = said(&site.run(&["index"], 2));
    assert!(told.contains("are of 2 disks: \"mail\" (") && told.contains("--disk mail"), "{told}");
    assert_eq!(query(&site, "SELECT count(*) FROM generations"), "0");
    site.ok(&["source", "set", "vm1", "--disk", "web01"]);
    let told = said(&site.run(&["index"], 0));
    assert!(told.contains("passed over the images of disk \"mail\": 1"), "{told}");
    assert_eq!(query(&site, "SELECT count(*) FROM generations"), "2");
    assert_eq!(hash(&site, "vm1/@2026-11-23T000000Z/fs/hostname"), disk::hash_of_bytes(b"web01\n"));
    // One that comes later is not taken for the next generation either.
    add(&site, "vm2", "images", &["--disk", "mail"]);
    site.ok(&["index", "vm2"]);
    site.ok(&["source", "set", "vm2", "--disk", ""]);
    fs::create_dir(site.path("one")).unwrap();
    sh(&site.path(""), "cp images/web01-20261116.img one/");
    add(&site, "vm3", "one", &[]);
    site.ok(&["index", "vm3"]);
    sh(&site.path(""), "cp images/mail-20261122.img one/");
    let told = said(&site.run(&["index", "vm3"], 2));
    assert!(told.contains("mail-20261122.img\" is of disk \"mail\"") && told.contains("\"web01\""), "{told}");
}

/// Whoever may write to a folder of images may mount a file system of his own in it, which never answers.
#[test]
fn what_another_user_mounted_among_images_is_not_asked_for_anything() {
    let site = site();
    let script = "cd images; mkdir vda vdb eve; truncate -s 1M vda/2026-01-01.raw vdb/2026-01-01.raw vdb/2026-01-02.raw
        truncate -s 1M vda/2026-01-02.raw; echo {} >vda/2026-01-02.json; touch eve/2026-01-01.raw";
    sh(&site.path(""), script);
    add(&site, "vm1", "images", &[]);
    let over = ["eve", "vda/2026-01-02.json", "vdb/2026-01-02.raw"];
    let mounts = over.map(|path| Silent::mount(&site.path("images").join(path), 1001, ",allow_other"));
    let run = format!("timeout -s KILL 100 {} --catalog catalog.db index vm1", env!("CARGO_BIN_EXE_asof"));
    let output = shell(&site.path(""), &run);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert_eq!(text.matches("user 1001 mounted a file system of his own there").count(), 4, "{text}");
    assert_eq!(generations(&site, "vm1"), "2026-01-01,available");
    assert_eq!(names(&site, "vm1/@2026-01-01"), ["vda", "vdb"]);
    drop(mounts);
    sh(&site.path(""), "rm -r images/eve images/vda/2026-01-02.json");
    site.ok(&["index", "vm1"]);
    assert_eq!(generations(&site, "vm1"), "2026-01-01,available\n2026-01-02,available");
}
