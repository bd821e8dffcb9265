//! Telling files of one copy of a share apart from those of the next: nested subvolumes inside a copy.
//!
//! Needs root, `/dev/fuse` and btrfs on a loop device (`btrfs-progs`).

#[path = "common/site.rs"]
mod site;

use site::{Site, said, sh};

fn lines(text: &str) -> Vec<&str> {
    text.lines().map(str::trim_end).collect()
}

/// A site with a btrfs on `pool`, a subvolume `pool/live` there, and a source `snaps` over `pool/copies`, by inode number.
fn pool() -> Site {
    let site = Site::new();
    sh(
        &site.path(""),
        "truncate -s 256M pool.img; mkfs.btrfs -q pool.img; mkdir pool; mount -o loop pool.img pool\n\
         btrfs -q subvolume create pool/live; mkdir pool/copies",
    );
    site.ok(&["init"]);
    site.ok(&["source", "add", "nfs", "snaps", "--copies", "pool/copies", "--identity", "inode"]);
    site
}

fn snapshot(site: &Site, name: &str) {
    sh(&site.path("pool"), &format!("btrfs -q subvolume snapshot live copies/{name}"));
}

#[test]
fn snapshots_with_nested_subvolumes_are_the_same_each_time() {
    let site = pool();
    // The kernel makes up the times of what stands for them, at each look.
    sh(
        &site.path("pool/live"),
        "for n in {1..40}; do mkdir d$n; btrfs -q subvolume create d$n/nested; touch d$n/{1..300}; done",
    );
    snapshot(&site, "2026-01-01");
    snapshot(&site, "2026-01-02");

    let told = said(&site.run(&["index", "snaps"], 0));

    assert!(told.contains("12,080 entries"), "{told}");
    assert!(!told.contains("changed while"), "{told}");
    let changes = "SELECT path FROM changes WHERE source = 'snaps' AND taken_at = '2026-01-02T00:00:00Z'";
    assert_eq!(lines(&site.ok(&["sql", "--csv", changes])), ["path"], "two snapshots of one moment");
    let nested = site.ok(&["sql", "--csv", "SELECT DISTINCT mtime FROM files WHERE path LIKE '%/nested'"]);
    assert_eq!(lines(&nested), ["mtime", "1970-01-01T00:00:00Z"]);
}
