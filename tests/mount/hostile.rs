//! A mount among users who mean harm, and an admin who errs.

use crate::lifecycle::is_running;
use crate::site::{Site, as_nobody, said, sh, wait_until};
use std::path::Path;

/// A catalog that is mounted in a folder of the user `nobody`, who then renames the folder above the mount point and puts a link to
/// another one in its place, in which another file system is mounted under the same name.
struct Moved {
    site: Site,
    process: u32,
}

impl Moved {
    fn new() -> Self {
        let site = Site::with_source();
        site.let_everybody_pass();
        sh(&site.path("live"), "printf 18 > day");
        site.copy("2026-11-18");
        site.ok(&["index", "homes"]);
        sh(
            &site.path(""),
            "mkdir -p his/x/mnt victim/mnt; chown -R 65534:65534 his
             mount -t tmpfs none victim/mnt; printf precious > victim/mnt/file",
        );
        let process = site.mount_process_at("his/x/mnt");
        let renamed = as_nobody(&site.path(""), "mv his/x his/y; ln -s $PWD/victim his/x");
        assert!(renamed.status.success(), "{}", said(&renamed));
        Self { site, process }
    }

    fn assert_that_the_other_is_still_there(&self) {
        assert_eq!(sh(&self.site.path(""), "cat victim/mnt/file"), "precious");
        assert_eq!(mounts_below(&self.site.path("victim")), ["tmpfs"]);
    }
}

/// Returns the types of what is mounted below `dir`.
fn mounts_below(dir: &Path) -> Vec<String> {
    let mounts = std::fs::read_to_string("/proc/self/mounts").expect("/proc");
    let below = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        fields.next()?.starts_with(dir.to_str()?).then(|| fields.next().map(str::to_owned))?
    });
    below.collect()
}

#[test]
fn a_daemon_unmounts_its_own_mount_and_no_other_that_has_its_path_by_now() {
    let moved = Moved::new();
    sh(&moved.site.path(""), &format!("kill {}", moved.process));
    wait_until("the daemon has ended", || !is_running(moved.process));
    moved.assert_that_the_other_is_still_there();
    assert_eq!(mounts_below(&moved.site.path("his")), Vec::<String>::new());
}

/// The first ACL takes a new mount in the place of the one that is there.
#[test]
fn a_mount_is_renewed_where_it_is_by_now() {
    let moved = Moved::new();
    sh(&moved.site.path("live"), "printf 19 > day; setfacl -m u:65534:- day");
    moved.site.copy("2026-11-19");
    moved.site.ok(&["index", "homes"]);
    let day = moved.site.path("his/y/mnt/homes/@latest");
    wait_until("it is mounted anew", || !as_nobody(&day, "cat day").status.success());
    assert_eq!(sh(&day, "cat day"), "19");
    moved.assert_that_the_other_is_still_there();
    assert_eq!(mounts_below(&moved.site.path("his")), ["fuse.asof"]);
    moved.site.ok(&["umount", "his/y/mnt"]);
    assert!(!is_running(moved.process), "umount waits for the end of its daemon");
}

#[test]
fn umount_takes_away_what_is_at_its_path_now_if_that_is_ours() {
    let moved = Moved::new();
    let refused = said(&moved.site.run(&["umount", "his/x/mnt"], 2));
    assert!(refused.contains("no catalog is mounted at"), "{refused}");
    moved.site.ok(&["umount", "his/y/mnt"]);
    assert!(!is_running(moved.process));
    moved.assert_that_the_other_is_still_there();
}

#[test]
fn what_is_mounted_over_a_mount_is_not_taken_away_in_its_place() {
    let site = Site::with_source();
    let process = site.mount_process(&[]);
    sh(&site.path(""), "mount -t tmpfs none mnt; printf kept > mnt/file");
    let refused = said(&site.run(&["umount", "mnt"], 2));
    assert!(refused.contains("something else is mounted over it"), "{refused}");
    assert_eq!(sh(&site.path(""), "cat mnt/file"), "kept");
    sh(&site.path(""), &format!("umount mnt; kill {process}"));
    wait_until("the daemon has ended", || !is_running(process));
    assert_eq!(mounts_below(&site.path("mnt")), Vec::<String>::new());
}
