//! Limits that the process was given: reaching one costs speed, and no error.

use crate::site::{Site, said, sh, shell};
use std::path::{Path, PathBuf};

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

/// glibc takes 64 MiB of addresses for each thread that asks for memory, and a program that gets none is aborted.
#[test]
fn within_a_limit_of_addresses_all_files_are_read_by_many_at_once() {
    let site = site();
    let mount = format!(
        "export ASOF_CATALOG=$PWD/catalog.db; ulimit -v 160000; {} mount mnt 2> told; sed 's/.*process //; s/,.*//' told",
        env!("CARGO_BIN_EXE_asof")
    );
    let process = sh(&site.path(""), &mount);
    let limit =
        sh(&site.path(""), &format!("awk '/Max address space/ {{ print $4 }}' /proc/{}/limits", process.trim()));
    assert_eq!(limit, "163840000\n");
    let read = "for source in a b c; do for day in 20 21; do for part in 1 2; do
                  (for n in $(seq $part 2 100); do cmp mnt/$source/@2026-11-$day/$n $source/2026-11-$day/$n; done) &
                done; done; done; wait; find mnt/@latest -type f -size +0 | wc -l; echo done";
    assert_eq!(sh(&site.path(""), read), "300\ndone\n");
    assert!(!site.log().contains("ERROR"), "{}", site.log());
    site.umount();
}

/// A control group of version 2, or of version 1 where that has the controller.
struct Group {
    dir: PathBuf,
    is_v1: bool,
}

impl Group {
    fn new(controller: &str) -> Self {
        let top = Path::new("/sys/fs/cgroup");
        let is_v1 = top.join(controller).join("cgroup.procs").exists();
        if !is_v1 {
            std::fs::write(top.join("cgroup.subtree_control"), format!("+{controller}")).expect("control groups");
        }
        let base = if is_v1 { top.join(controller) } else { top.to_owned() };
        let dir = base.join(format!("asof-test-{controller}-{}", std::process::id()));
        std::fs::create_dir(&dir).expect("control groups can be made, as root");
        Self { dir, is_v1 }
    }

    fn set(&self, file: &str, value: &str) {
        std::fs::write(self.dir.join(file), value).unwrap_or_else(|e| panic!("{file}: {e}"));
    }

    fn get(&self, file: &str) -> String {
        std::fs::read_to_string(self.dir.join(file)).expect("a file of the group").trim().to_owned()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Its processes have ended, and the kernel may not know it yet.
        let gone = (0..200).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            std::fs::remove_dir(&self.dir).is_ok()
        });
        if !gone {
            eprintln!("{:?} stays", self.dir);
        }
    }
}

#[test]
fn with_64_mib_of_memory_a_thousand_views_are_walked_and_read() {
    let site = Site::with_source();
    let group = Group::new("memory");
    if group.is_v1 {
        group.set("memory.limit_in_bytes", "64M");
    } else {
        group.set("memory.max", "64M");
        group.set("memory.swap.max", "0");
    }
    sh(&site.path("live"), "mkdir -p d{0..9}; for n in $(seq 100); do echo $n > d$((n % 10))/$n; done");
    for day in 10..20 {
        sh(
            &site.path("live"),
            &format!("for n in $(seq 10); do echo {day} >> d$n/{day} || true; done 2> /dev/null; echo {day} > day"),
        );
        site.copy(&format!("2026-11-{day}"));
    }
    site.ok(&["index", "homes"]);
    let mount =
        format!("echo $$ > {}/cgroup.procs; exec {} mount mnt", group.dir.display(), env!("CARGO_BIN_EXE_asof"));
    sh(&site.path(""), &format!("export ASOF_CATALOG=$PWD/catalog.db; bash -c '{mount}'"));
    // Each date that is written is a view of its own; outside of the group, so that all the memory is the daemon's.
    let walk = "for day in $(seq 10 19); do for minute in $(seq 100); do
          echo mnt/@2026-11-${day}T$(printf %02d:%02d $((minute / 60)) $((minute % 60)))
        done; done | xargs -P 4 -n 25 sh -c 'find \"$@\" -type f -printf x; for view; do cat $view/homes/day; done' sh | tr -d '\\n' | tee out/told | tr -cd x | wc -c";
    let names: usize = sh(&site.path(""), walk).trim().parse().expect("a number");
    assert!(names > 100_000, "{names}");
    let days = sh(&site.path(""), "tr -d x < out/told | wc -c");
    assert_eq!(days, "2000\n", "the days that 1,000 views say");
    let killed = if group.is_v1 { group.get("memory.oom_control") } else { group.get("memory.events") };
    assert!(killed.contains("oom_kill 0"), "{killed}");
    assert!(!site.log().contains("ERROR"), "{}", site.log());
    site.umount();
}

#[test]
fn a_thread_that_cannot_be_started_for_a_store_is_an_error_at_once_and_others_go_on() {
    let site = site();
    let group = Group::new("pids");
    let process = site.mount_process(&["no_store_ahead", "store_timeout=600"]);
    sh(&site.path("mnt"), "ls -l a/@2026-11-20 b/@2026-11-20 > /dev/null");
    group.set("cgroup.procs", &process.to_string());
    group.set("pids.max", &group.get("pids.current"));
    // The bytes are not in memory: they are read by a thread of their store.
    sh(&site.path(""), "sync; echo 3 > /proc/sys/vm/drop_caches");
    let refused = said(&shell(&site.path("mnt"), "timeout 60 cat a/@2026-11-20/1"));
    assert!(refused.contains("Input/output error"), "{refused}");
    assert!(site.log().contains("no thread can be started for its store"), "{}", site.log());
    assert_eq!(sh(&site.path("mnt"), "ls b/@2026-11-20 | wc -l; cat .asof/sources | wc -l"), "100\n3\n");
    group.set("pids.max", "max");
    assert_eq!(sh(&site.path("mnt"), "cat a/@2026-11-20/1 b/@2026-11-20/2"), "a1\nb2\n");
    site.umount();
}
