//! Images of disks that mkfs, the kernel, QEMU and libvirt made, indexed by the program, against what the kernel's own
//! mounts told of them: type, rights, owner, size, times, link counts, device numbers, targets, extended attributes, ACLs, the
//! hashes of all files, and which names are one file. `tests/data/block/README.md` tells how each image was made.
//!
//! Needs root and `/dev/fuse`.

mod common;

#[path = "common/disk.rs"]
mod disk;
#[path = "common/site.rs"]
mod site;

use common::{Picture, assert_same, ino_of, shown_on_disk};
use disk::{HUGE_BYTES, hash_at, hash_of_file, picture, tree, truth, truth_of_image, unpack_chain, unpack_image};
use site::{Site, said, sh};
use std::ffi::OsStr;
use std::fs;
use std::io::BufReader;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The instant of generation `k`.
fn at(k: usize) -> String {
    format!("2026-11-{:02}T000000Z", k + 1)
}

/// Makes a site with a catalog and the folder `images`.
fn site() -> Site {
    let site = Site::new();
    site.ok(&["init"]);
    fs::create_dir(site.path("images")).unwrap();
    site
}

/// Where both ways of taking have a folder of their own, these are no disks.
fn add_source(site: &Site, name: &str, images: &Path) {
    site.ok(&["source", "add", "block", name, "--images", images.to_str().unwrap(), "--all-disks", "no"]);
}

/// Indexes one image as generation `k` of `source`; nothing may be amiss.
fn index(site: &Site, source: &str, image: &Path, k: usize, more: &[&str]) {
    let (at, image) = (at(k), image.to_str().unwrap());
    site.run(&[&["index", source, image, "--at", &at], more].concat(), 0);
}

fn truth_at(path: &Path) -> Picture {
    truth(&mut BufReader::new(fs::File::open(path).unwrap()))
}

/// Compares every `step`th path of a tree in a mount with the truth.
fn assert_same_in_mount(root: &Path, truth: &Picture, step: usize) {
    let mut compared = 0;
    for (path, expected) in truth.iter().step_by(step).filter(|(_, told)| told.size_bytes <= HUGE_BYTES) {
        let here = root.join(OsStr::from_bytes(path));
        let metadata = fs::symlink_metadata(&here).unwrap_or_else(|e| panic!("{here:?}: {e}"));
        let mut found = shown_on_disk(&here, &metadata);
        found.bytes = found.bytes.map(|bytes| disk::hash_of_bytes(&bytes).into_bytes());
        (found.ctime, found.same_file_as) = (expected.ctime, expected.same_file_as.clone());
        assert_eq!(&found, expected, "{here:?}");
        compared += 1;
    }
    assert!(compared > 5, "only {compared} paths were compared");
}

#[test]
fn every_image_of_a_file_system_reads_as_the_kernel_showed_it_by_the_library_and_through_a_mount() {
    let site = site();
    for (name, least) in [("ext2", 400), ("ext4-crash", 400), ("xfs", 400), ("vfat", 50)] {
        let folder = site.path("images").join(name);
        fs::create_dir(&folder).unwrap();
        unpack_image(name, &folder.join("2026-11-01.raw"));
        add_source(&site, name, &folder);
        site.run(&["index", name], 0);
        let expected = truth_of_image(name);
        assert!(expected.len() > least, "the truth is not empty");
        let tree = tree(&site.path("catalog.db"));
        assert_same(&picture(&tree, &format!("{name}/@{}/fs", at(0))), &expected, &name);
        let whole = hash_at(&tree, &format!("{name}/@{}/disk.raw", at(0)));
        assert_eq!(whole, hash_of_file(&folder.join("2026-11-01.raw")), "{name}");
    }
    let mount = site.mount(&[]);
    for name in ["ext2", "ext4-crash", "xfs", "vfat"] {
        let root = mount.join(format!("@{}/{name}", at(0)));
        assert_same_in_mount(&root.join("fs"), &truth_of_image(name), 5);
        sh(&root, &format!("cmp disk.raw {}", site.path("images").join(name).join("2026-11-01.raw").display()));
    }
    site.umount();
}

/// What a chain is: its file systems, each with the middle of the name of its truth, and how many generations.
struct Chain {
    name: &'static str,
    file_systems: &'static [(&'static str, &'static str)],
    generations: usize,
}

/// Returns the SHA-256 of the disk of each generation.
fn disks(chain: &Path, count: usize) -> Vec<String> {
    if let Ok(text) = fs::read(chain.join("disk.json")) {
        let told: serde_json::Value = serde_json::from_slice(&text).unwrap();
        return (0..count).map(|k| told["generations"][k]["disk_sha256"].as_str().unwrap().to_owned()).collect();
    }
    (0..count).map(|k| fs::read_to_string(chain.join(format!("gen-{k}.sha256"))).unwrap().trim().to_owned()).collect()
}

/// Compares a generation of a chain with its truth: each file system, and the disk.
fn assert_generation(site: &Site, source: &str, folder: &Path, chain: &Chain, k: usize) {
    let tree = tree(&site.path("catalog.db"));
    for (volume, part) in chain.file_systems {
        let expected = truth_at(&folder.join(format!("gen-{k}{part}.jsonl")));
        let found = picture(&tree, &format!("{source}/@{}/{volume}", at(k)));
        assert_same(&found, &expected, &format!("generation {k} of {source}, {volume}"));
    }
    let whole = hash_at(&tree, &format!("{source}/@{}/disk.raw", at(k)));
    assert_eq!(whole, disks(folder, chain.generations)[k], "the disk of generation {k} of {source}");
}

/// Indexes the newest generation of a chain anew, as one raw image, and compares it with the increments.
fn assert_as_a_single_full(site: &Site, source: &str, folder: &Path, chain: &Chain) {
    let last = chain.generations - 1;
    let single = site.path("images").join(format!("{source}-single"));
    fs::create_dir(&single).unwrap();
    sh(folder, &format!("qemu-img convert -O raw push/gen-{last}.qcow2 {}/disk.raw", single.display()));
    let name = format!("{source}-single");
    add_source(site, &name, &single);
    index(site, &name, &single.join("disk.raw"), last, &[]);
    let tree = tree(&site.path("catalog.db"));
    for (volume, _) in chain.file_systems {
        let of = |source: &str| picture(&tree, &format!("{source}/@{}/{volume}", at(last)));
        assert_same(&of(source), &of(&name), &format!("increments of {source} and one image, {volume}"));
    }
    assert_eq!(counts(site, source, last), counts(site, &name, last), "entries and bytes of {source}");
}

/// Returns how many entries and bytes the catalog counts in a generation.
fn counts(site: &Site, source: &str, k: usize) -> String {
    let query = format!(
        "SELECT entries, size_bytes, losses FROM generations WHERE source = '{source}' AND taken_at = '2026-11-{:02}T00:00:00Z'",
        k + 1
    );
    site.ok(&["sql", "--csv", &query])
}

#[test]
fn frozen_generations_of_a_disk_with_partitions_read_as_the_kernel_showed_them_pushed_or_pulled() {
    let site = site();
    let chain = Chain { name: "chain-gpt", file_systems: &[("p2", ".p2"), ("p3", ".p3")], generations: 4 };
    let folder = unpack_chain(chain.name, &site.path("images"));
    for (source, ending) in [("push", "qcow2"), ("pull", "raw")] {
        add_source(&site, source, &folder.join(source));
        for k in 0..chain.generations {
            index(&site, source, &folder.join(format!("{source}/gen-{k}.{ending}")), k, &[]);
        }
        for k in 0..chain.generations {
            assert_generation(&site, source, &folder, &chain, k);
        }
    }
    assert_as_a_single_full(&site, "push", &folder, &chain);
    let rows = |source: &str| {
        let query = format!(
            "SELECT taken_at, entries, size_bytes, changed, losses FROM generations WHERE source = '{source}' ORDER BY taken_at"
        );
        site.ok(&["sql", "--csv", &query])
    };
    assert_eq!(rows("push"), rows("pull"), "who moved the bytes makes no difference");
    let mount = site.mount(&[]);
    for (volume, part) in chain.file_systems {
        let expected = truth_at(&folder.join(format!("gen-2{part}.jsonl")));
        assert_same_in_mount(&mount.join(format!("@{}/pull/{volume}", at(2))), &expected, 11);
    }
    site.umount();
}

#[test]
fn generations_that_were_never_frozen_read_as_after_the_kernel_replayed_their_journal() {
    let site = site();
    let chain = Chain { name: "chain-ext4-crash", file_systems: &[("fs", "")], generations: 4 };
    let folder = unpack_chain(chain.name, &site.path("images"));
    add_source(&site, "push", &folder.join("push"));
    for k in 0..chain.generations {
        index(&site, "push", &folder.join(format!("push/gen-{k}.qcow2")), k, &[]);
        assert_generation(&site, "push", &folder, &chain, k);
    }
    (0..chain.generations).for_each(|k| assert_generation(&site, "push", &folder, &chain, k));
    assert_as_a_single_full(&site, "push", &folder, &chain);
}

#[test]
fn generations_of_a_guest_under_libvirt_read_as_after_the_kernel_replayed_their_journal() {
    let site = site();
    let chain = Chain { name: "chain-guest", file_systems: &[("fs", "")], generations: 3 };
    let folder = unpack_chain(chain.name, &site.path("images"));
    add_source(&site, "push", &folder.join("push"));
    for k in 0..chain.generations {
        index(&site, "push", &folder.join(format!("push/gen-{k}.qcow2")), k, &[]);
        assert_generation(&site, "push", &folder, &chain, k);
    }
    assert_as_a_single_full(&site, "push", &folder, &chain);
    // Each was pulled a moment after a push, since the checkpoint of the push before it.
    for k in 1..chain.generations {
        let source = format!("pull{k}");
        add_source(&site, &source, &folder);
        index(&site, &source, &folder.join(format!("push/gen-{}.qcow2", k - 1)), 0, &[]);
        let base = folder.join(format!("push/gen-{}.qcow2", k - 1));
        let pulled = folder.join(format!("pull/gen-{k}.raw"));
        index(&site, &source, &pulled, 1, &["--base", base.to_str().unwrap()]);
        let map: serde_json::Value =
            serde_json::from_slice(&fs::read(folder.join(format!("pull/gen-{k}.json"))).unwrap()).unwrap();
        let tree = tree(&site.path("catalog.db"));
        let whole = hash_at(&tree, &format!("{source}/@{}/disk.raw", at(1)));
        assert_eq!(whole, map["disk_sha256"].as_str().unwrap(), "the disk that was pulled, {k}");
        assert!(picture(&tree, &format!("{source}/@{}/fs", at(1))).len() > 20);
    }
}

#[test]
fn a_full_image_and_the_whole_chain_of_another_source_show_the_same_names_after_indexing_in_one_go() {
    let site = site();
    let folder = unpack_chain("chain-ext4-crash", &site.path("images"));
    // Only the newest is named: those that it rests on are part of it.
    add_source(&site, "newest", &folder.join("push"));
    index(&site, "newest", &folder.join("push/gen-3.qcow2"), 3, &[]);
    let chain = Chain { name: "chain-ext4-crash", file_systems: &[("fs", "")], generations: 4 };
    assert_generation(&site, "newest", &folder, &chain, 3);
    let told = said(&site.run(&["index", "newest", folder.join("push/gen-3.qcow2").to_str().unwrap()], 0));
    assert!(told.contains("is indexed already"), "{told}");
    let tree = tree(&site.path("catalog.db"));
    assert!(ino_of(&tree, &format!("newest/@{}/fs", at(2))).is_none(), "nothing is told of the moments between");
}
