//! Limits that the process was given: reaching one costs speed, and no error.

use crate::site::{Site, sh};

/// A site with three sources, each in a store of its own, of a hundred files in each of two copies.
fn site() -> Site {
    let site = Site::new();
    site.ok(&["init"]);
    for source in ["a", "b", "c"] {
        let script = format!(
            "mkdir -p {source}/2026-11-20; for n in $(seq 100); do echo {source}$n > {source}/2026-11-20/$n; done
             cp -a {source}/2026-11-20 {source}/2026-11-21; for n in $(seq 100); do echo {source}$n. > {source}/2026-11-21/$n; done"
        );
        sh(&site.path(""), &script);
        let copies = site.path(source);
        site.ok(&["source", "add", "nfs", source, "--copies", copies.to_str().expect("a plain path")]);
    }
    site.ok(&["index"]);
    site
}

#[test]
fn with_64_descriptors_all_files_are_read_by_many_at_once() {
    let site = site();
    let mount = format!(
        "export ASOF_CATALOG=$PWD/catalog.db
         setpriv --bounding-set -sys_resource bash -c 'ulimit -n 64; {} mount mnt' 2> told
         pid=$(sed 's/.*process //; s/,.*//' told); awk '/Max open files/ {{ print $4, $5 }}' /proc/$pid/limits",
        env!("CARGO_BIN_EXE_asof")
    );
    assert_eq!(sh(&site.path(""), &mount), "64 64\n");
    let read = "for source in a b c; do for day in 20 21; do for part in 1 2 3 4; do
                  (for n in $(seq $part 4 100); do cmp mnt/$source/@2026-11-$day/$n $source/2026-11-$day/$n; done) &
                done; done; done; wait; echo done";
    assert_eq!(sh(&site.path(""), read), "done\n");
    assert!(!site.log().contains("Too many open files") && !site.log().contains("ERROR"), "{}", site.log());
    site.umount();
}
