//! Copies live on after they were indexed: they are written to, rotated, pruned, moved, made again, unmounted. What `asof index`
//! says of them it has looked at.
//!
//! Needs root, `/dev/fuse`, `sqlite3` and `rsync`, as `scripts/test` installs them.

#[path = "common/silent.rs"]
mod silent;
#[path = "common/site.rs"]
mod site;

use asof::catalog::{LockWait, Reader, SourceLock, SourceRow, Writer};
use asof::clock::Fixed;
use asof::jobs::index::{Event, Inputs, Outcome, Wish, index_source};
use asof::jobs::patience::Patience;
use asof::model::Time;
use asof::monitor::Void;
use silent::Silent;
use site::{Site, as_nobody, assert_documented, await_view, said, sh, shell, wait_until};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Returns what the catalog says of copies, one line each: day, state, and the name of the directory.
fn states(site: &Site) -> Vec<String> {
    lines(
        site,
        "SELECT substr(taken_at, 1, 10) || ' ' || state || ' ' || replace(path, store || '/', '') FROM copies ORDER BY taken_at",
    )
}

/// Returns the status of each generation, oldest first.
fn statuses(site: &Site) -> Vec<String> {
    lines(site, "SELECT substr(taken_at, 1, 10) || ' ' || status FROM generations ORDER BY taken_at")
}

/// Returns the first column that a query gives.
fn lines(site: &Site, sql: &str) -> Vec<String> {
    let told = site.ok(&["sql", "--csv", sql]);
    told.lines().skip(1).map(str::to_owned).collect()
}

/// Runs `asof index` and returns what it said; it must end with `code`.
fn index(site: &Site, args: &[&str], code: i32) -> String {
    let args: Vec<&str> = std::iter::once("index").chain(args.iter().copied()).collect();
    String::from_utf8_lossy(&site.run(&args, code).stderr).into_owned()
}

/// A site whose copies tell their date by the mtime of their directory: names rotate.
fn rotating() -> Site {
    let site = Site::new();
    site.ok(&["init"]);
    let copies = site.path("copies");
    let copies = copies.to_str().expect("a plain path");
    site.ok(&["source", "add", "nfs", "homes", "--copies", copies, "--instant-from", "name,mtime"]);
    site
}

/// Makes the copy `name` of a tree with one file of `bytes` bytes, of 2024-11-DAY.
fn make(site: &Site, name: &str, day: u32, bytes: usize) {
    sh(
        &site.path("copies"),
        &format!(
            "mkdir {name}; head -c {bytes} /dev/zero | tr '\\0' x > {name}/f; touch -d '2024-11-{day:02} 02:00Z' {name}"
        ),
    );
}

/// Returns the size of the file `f` in the view of 2024-11-DAY, read whole.
fn read_in_view(mnt: &Path, day: u32) -> usize {
    let path = mnt.join(format!("@2024-11-{day:02}/homes/f"));
    std::fs::read(&path).unwrap_or_else(|e| panic!("{path:?}: {e}")).len()
}

#[test]
fn a_copy_that_was_indexed_while_it_was_written_is_whole_after_the_next_run() {
    let site = Site::with_source();
    sh(&site.path("copies"), "mkdir -p 2024-11-18/a; echo 1 > 2024-11-18/a/one");
    index(&site, &["homes"], 0);
    sh(&site.path("copies"), "echo 2 > 2024-11-18/a/two; echo 3 > 2024-11-18/late");

    let told = index(&site, &["homes"], 0);
    assert!(told.contains("indexed 2024-11-18T00:00:00Z of \"homes\" again from"), "{told}");
    assert!(told.contains("it was not what was indexed before"), "{told}");
    assert_eq!(said(&site.run(&["ls", "homes"], 0)).lines().count(), 3, "a, late, and the end of standard error");
    let told = index(&site, &["homes", "copies/2024-11-18"], 0);
    assert!(told.contains("is indexed already"), "{told}");
    assert_eq!(states(&site), ["2024-11-18 present 2024-11-18"]);
}

#[test]
fn a_file_that_arrives_deep_in_a_young_copy_is_found_though_nothing_above_it_shows_it() {
    let site = Site::with_source();
    sh(&site.path("copies"), "mkdir -p 2024-11-18/a/b/c");
    index(&site, &["homes"], 0);
    sh(&site.path("copies"), "echo 1 > 2024-11-18/a/b/c/late");
    let told = index(&site, &["homes"], 0);
    assert!(told.contains("\"a/b/c\" has another mtime") || told.contains("\"a/b/c/late\" is new"), "{told}");
    site.ok(&["show", "homes:a/b/c/late"]);
}

#[test]
fn a_settled_copy_is_not_walked_again_until_its_top_directory_is_touched() {
    let site = Site::with_source();
    sh(&site.path("copies"), "mkdir -p 2024-11-18/a/b; echo 1 > 2024-11-18/a/b/f");
    index(&site, &["homes", "--settle", "0"], 0);
    assert_eq!(lines(&site, "SELECT settled FROM copies"), ["1"]);
    // Two levels below the top nobody looks.
    sh(&site.path("copies"), "echo 2 > 2024-11-18/a/b/g");
    assert!(index(&site, &["homes"], 0).contains("nothing to index"));
    sh(&site.path("copies"), "touch 2024-11-18/a 2024-11-18");
    assert!(index(&site, &["homes"], 0).contains("again"));
    site.ok(&["show", "homes:a/b/g"]);
}

#[test]
fn a_young_copy_is_walked_once_more_and_then_left_alone() {
    let site = Site::with_source();
    sh(&site.path("copies"), "mkdir -p 2024-11-18/a/b");
    index(&site, &["homes"], 0);
    assert_eq!(lines(&site, "SELECT settled FROM copies"), ["0"]);
    assert!(index(&site, &["homes"], 0).contains("nothing to index"));
    assert_eq!(lines(&site, "SELECT settled FROM copies"), ["1"]);
}

#[test]
fn a_source_says_how_long_its_copies_have_to_stand_still() {
    let site = Site::with_source();
    site.ok(&["source", "set", "homes", "--settle", "0"]);
    sh(&site.path("copies"), "mkdir 2024-11-18");
    index(&site, &["homes"], 0);
    assert_eq!(lines(&site, "SELECT settled FROM copies"), ["1"]);
}

#[test]
fn a_new_copy_of_a_link_farm_does_not_have_the_older_ones_walked() {
    let site = Site::with_source();
    sh(&site.path("live"), "mkdir -p a; for n in 1 2 3; do echo $n > a/$n; done");
    sh(&site.path(""), "rsync -a live/ copies/2024-11-18");
    index(&site, &["homes", "--settle", "0"], 0);
    // Linking moves the ctime of every file of the older copy.
    sh(&site.path(""), "rsync -a --link-dest=../2024-11-18 live/ copies/2024-11-19");
    let told = index(&site, &["homes", "--settle", "0", "--json"], 0);
    assert!(!told.contains("again"), "{told}");
    let report = said(&site.run(&["index", "homes", "--json"], 0));
    assert!(!report.contains("\"same\""), "no copy was walked: {report}");
    let printed = site.ok(&["index", "homes@2024-11-19", "--again", "--json"]);
    assert_documented("asof index", &serde_json::from_str(&printed).expect("JSON"));
}

#[test]
fn an_empty_directory_that_is_filled_later_is_indexed_when_it_is_full() {
    let site = Site::with_source();
    sh(&site.path("copies"), "mkdir 2024-11-18; echo 1 > 2024-11-18/f; mkdir 2024-11-19");
    let told = index(&site, &["homes"], 1);
    assert!(told.contains("2024-11-19\" is empty: was the share mounted when it was made?"), "{told}");
    sh(&site.path("copies"), "cp 2024-11-18/f 2024-11-19/f");
    index(&site, &["homes"], 0);
    assert!(site.ok(&["ls", "homes", "--at", "2024-11-19"]).contains('f'));
}

#[test]
fn rotation_past_retention_is_healthy_and_every_copy_that_is_left_is_read() {
    let site = rotating();
    for day in 10..=15 {
        let rotate = "rm -rf daily.2; for n in 1 0; do [ ! -d daily.$n ] || mv daily.$n daily.$((n+1)); done";
        sh(&site.path("copies"), rotate);
        make(&site, "daily.0", day, day as usize * 10);
        index(&site, &["homes"], 0);
    }
    let mnt = site.mount(&[]);
    for day in 13..=15 {
        assert_eq!(read_in_view(&mnt, day), day as usize * 10);
    }
    let gone = ["2024-11-10", "2024-11-11", "2024-11-12"].map(|day| format!("{day} gone daily.2"));
    let left = [(13, 2), (14, 1), (15, 0)].map(|(day, number)| format!("2024-11-{day} present daily.{number}"));
    assert_eq!(states(&site), [gone.as_slice(), &left].concat());
    assert_eq!(statuses(&site)[..4], ["2024-11-10 gone", "2024-11-11 gone", "2024-11-12 gone", "2024-11-13 available"]);
    // It was said once, and a quiet night says nothing of it.
    assert!(!index(&site, &["homes"], 0).contains("pruned"));
}

#[test]
fn a_mount_that_has_read_from_a_copy_reads_from_the_next_one_under_that_name() {
    let site = rotating();
    make(&site, "daily.0", 10, 10);
    index(&site, &["homes"], 0);
    let mnt = site.mount(&[]);
    assert_eq!(read_in_view(&mnt, 10), 10);
    sh(&site.path("copies"), "mv daily.0 daily.1");
    make(&site, "daily.0", 11, 11);
    index(&site, &["homes"], 0);
    await_view(&mnt.join("homes"), "2024-11-11T02:00:00Z");
    assert_eq!((read_in_view(&mnt, 11), read_in_view(&mnt, 10)), (11, 10));
}

#[test]
fn copies_that_are_promoted_through_three_levels_are_followed() {
    let site = rotating();
    let levels = [("hourly", 2), ("daily", 2), ("weekly", 2)];
    for day in 1..=14_u32 {
        // The oldest of a level is promoted when the next level is due, else it is deleted.
        for level in [2, 1] {
            let every = if level == 2 { 4 } else { 2 };
            let (from, to) = (levels[level - 1].0, levels[level].0);
            if day % every == 0 {
                let script = format!(
                    "if [ -d {from}.1 ]; then rm -rf {to}.1; [ ! -d {to}.0 ] || mv {to}.0 {to}.1; mv {from}.1 {to}.0; fi"
                );
                sh(&site.path("copies"), &script);
            }
        }
        sh(&site.path("copies"), "rm -rf hourly.1; [ ! -d hourly.0 ] || mv hourly.0 hourly.1");
        make(&site, "hourly.0", day, day as usize);
        index(&site, &["homes"], 0);
    }
    let there: Vec<(PathBuf, i64)> = std::fs::read_dir(site.path("copies"))
        .unwrap()
        .map(|entry| {
            use std::os::unix::fs::MetadataExt;
            let entry = entry.unwrap();
            (entry.path(), entry.metadata().unwrap().mtime())
        })
        .collect();
    assert_eq!(there.len(), 6, "two of each level: {there:?}");
    for (path, taken_at) in &there {
        let sql = format!("SELECT path FROM copies WHERE taken_at_unix = {taken_at} AND state = 'present'");
        assert_eq!(lines(&site, &sql), [path.to_str().unwrap()]);
    }
    assert_eq!(lines(&site, "SELECT count(*) FROM copies WHERE state = 'present'"), ["6"]);
    assert_eq!(lines(&site, "SELECT count(*) FROM generations"), ["14"]);
    let mnt = site.mount(&[]);
    for (_, taken_at) in &there {
        let day = (taken_at - 1_730_426_400) / 86_400 + 1;
        assert_eq!(read_in_view(&mnt, u32::try_from(day).unwrap()), usize::try_from(day).unwrap());
    }
}

#[test]
fn a_directory_that_is_linked_away_before_it_is_refreshed_in_place_keeps_its_generation() {
    let site = rotating();
    make(&site, "daily.0", 10, 10);
    index(&site, &["homes"], 0);
    // As rsnapshot does without link_dest.
    let refresh =
        "cp -al daily.0 daily.1; head -c 11 /dev/zero > new; mv new daily.0/f; touch -d '2024-11-11 02:00Z' daily.0";
    sh(&site.path("copies"), refresh);
    index(&site, &["homes"], 0);
    assert_eq!(states(&site), ["2024-11-10 present daily.1", "2024-11-11 present daily.0"]);
    let mnt = site.mount(&[]);
    assert_eq!((read_in_view(&mnt, 10), read_in_view(&mnt, 11)), (10, 11));
}

#[test]
fn a_copy_that_another_backup_was_written_over_is_told_in_every_run() {
    let site = rotating();
    make(&site, "current", 10, 10);
    index(&site, &["homes"], 0);
    sh(&site.path("copies"), "head -c 11 /dev/zero > current/f; touch -d '2024-11-11 02:00Z' current");
    for _ in 0..2 {
        let told = index(&site, &["homes"], 1);
        assert!(told.contains("another backup was written over it"), "{told}");
        assert_eq!(states(&site), ["2024-11-10 changed current", "2024-11-11 present current"]);
        assert_eq!(statuses(&site), ["2024-11-10 degraded", "2024-11-11 available"]);
    }
}

#[test]
fn a_disk_that_is_not_mounted_is_a_finding_and_its_copies_are_not_gone() {
    let site = Site::with_source();
    sh(&site.path("copies"), "for d in 20 21; do mkdir 2024-11-$d; echo x > 2024-11-$d/f; done");
    index(&site, &["homes"], 0);
    sh(&site.path(""), "mv copies off; mkdir copies");
    for _ in 0..2 {
        let told = index(&site, &["homes"], 1);
        assert!(told.contains("cannot look at the 2 copies of \"homes\" in"), "{told}");
        assert!(told.contains("is its file system mounted?"), "{told}");
    }
    assert_eq!(states(&site), ["2024-11-20 present 2024-11-20", "2024-11-21 present 2024-11-21"]);
    assert_eq!(statuses(&site), ["2024-11-20 unreachable", "2024-11-21 unreachable"]);
    assert_eq!(lines(&site, "SELECT DISTINCT reach FROM copies"), ["unreachable"]);
    assert!(site.ok(&["generations", "homes"]).contains("unreachable"));
}

#[test]
fn a_disk_that_was_unmounted_for_one_night_is_known_the_next() {
    let site = Site::with_source();
    let disk = "truncate -s 32M disk.img; mkfs.ext4 -q disk.img; mount -o loop disk.img copies";
    sh(&site.path(""), disk);
    sh(&site.path("copies"), "mkdir 2024-11-20; echo x > 2024-11-20/f");
    index(&site, &["homes", "--settle", "0"], 0);
    sh(&site.path(""), "umount copies");
    index(&site, &["homes"], 1);
    assert_eq!(statuses(&site), ["2024-11-20 unreachable"]);
    // Something that is there meanwhile is not the store, and is not indexed.
    sh(&site.path("copies"), "mkdir 2024-11-21");
    index(&site, &["homes"], 1);
    assert_eq!(statuses(&site), ["2024-11-20 unreachable"]);
    sh(&site.path(""), "rmdir copies/2024-11-21; mount -o loop disk.img copies");
    sh(&site.path("copies"), "cp -a 2024-11-20 2024-11-21");
    let told = index(&site, &["homes"], 0);
    assert!(!told.contains("again"), "{told}");
    assert_eq!(statuses(&site), ["2024-11-20 available", "2024-11-21 available"]);
}

#[test]
fn another_disk_is_taken_for_the_store_when_the_admin_says_so() {
    let site = Site::with_source();
    sh(&site.path("copies"), "mkdir 2024-11-20; echo x > 2024-11-20/f");
    index(&site, &["homes", "--settle", "0"], 0);
    sh(&site.path(""), "mv copies off; cp -a off copies");
    let told = index(&site, &["homes"], 1);
    assert!(told.contains("another directory is there"), "{told}");
    site.ok(&["source", "set", "homes", "--copies", site.path("copies").to_str().unwrap()]);
    let told = index(&site, &["homes"], 0);
    assert!(!told.contains("again"), "what is there is what was indexed: {told}");
    assert_eq!(statuses(&site), ["2024-11-20 available"]);
}

#[test]
fn copies_that_moved_to_another_folder_are_found_by_what_they_are() {
    let site = Site::with_source();
    sh(&site.path("copies"), "for d in 20 21; do mkdir 2024-11-$d; echo $d > 2024-11-$d/f; done");
    index(&site, &["homes"], 0);
    sh(&site.path(""), "mv copies moved; mkdir copies");
    site.ok(&["source", "set", "homes", "--copies", site.path("moved").to_str().unwrap()]);
    let told = index(&site, &["homes"], 0);
    assert!(told.contains("2 copies moved: that of 2024-11-20T00:00:00Z from"), "{told}");
    assert!(!told.contains("not there any more"), "{told}");
    assert_eq!(statuses(&site), ["2024-11-20 available", "2024-11-21 available"]);
}

#[test]
fn a_folder_in_which_only_copies_were_that_are_gone_may_be_gone_too() {
    let site = Site::with_source();
    sh(&site.path("copies"), "for d in 19 20 21; do mkdir 2024-11-$d; echo $d > 2024-11-$d/f; done");
    index(&site, &["homes"], 0);
    sh(&site.path("copies"), "rm -r 2024-11-19");
    index(&site, &["homes"], 0);
    sh(&site.path(""), "mv copies moved");
    site.ok(&["source", "set", "homes", "--copies", site.path("moved").to_str().unwrap()]);
    for _ in 0..2 {
        let told = index(&site, &["homes"], 0);
        assert!(!told.contains("cannot look at"), "{told}");
    }
    assert_eq!(statuses(&site), ["2024-11-19 gone", "2024-11-20 available", "2024-11-21 available"]);
    // With one of them that is not known to be gone it is a finding.
    sh(&site.path(""), "mkdir other && cp -a moved/2024-11-20 other/2024-11-18");
    site.ok(&["index", "homes", "other/2024-11-18", "--at", "2024-11-18"]);
    sh(&site.path(""), "mv other away");
    let told = index(&site, &["homes"], 1);
    assert!(told.contains("cannot look at the 1 copy of"), "{told}");
}

/// A btrfs on `copies`, with the subvolume `.live` that snapshots are made of.
fn snapshots(site: &Site) {
    let make = "truncate -s 128M disk.img; mkfs.btrfs -q disk.img; mount -o loop disk.img copies; \
                btrfs -q subvolume create copies/.live; mkdir copies/.live/d; echo 1 > copies/.live/d/f";
    sh(&site.path(""), make);
}

#[test]
fn a_snapshot_made_again_under_its_name_is_indexed_anew_though_its_root_looks_the_same() {
    let site = Site::with_source();
    snapshots(&site);
    sh(&site.path("copies"), "btrfs -q subvolume snapshot -r .live 2024-11-18");
    site.ok(&["source", "set", "homes", "--copies", site.path("copies").to_str().unwrap()]);
    index(&site, &["homes", "--settle", "0"], 0);
    let again = "btrfs -q subvolume delete 2024-11-18; rm .live/d/f; echo 2 > .live/d/g; btrfs -q subvolume snapshot -r .live 2024-11-18";
    sh(&site.path("copies"), again);
    let told = index(&site, &["homes", "--settle", "0"], 0);
    assert!(told.contains("again from"), "{told}");
    assert_eq!(lines(&site, "SELECT path FROM files ORDER BY path"), ["d", "d/g"]);
}

#[test]
fn another_snapshot_of_the_same_subvolume_is_not_one_that_moved() {
    let site = Site::with_source();
    snapshots(&site);
    sh(
        &site.path("copies"),
        "btrfs -q subvolume snapshot -r .live 2024-11-18; btrfs -q subvolume snapshot -r .live 2024-11-19",
    );
    site.ok(&["source", "set", "homes", "--copies", site.path("copies").to_str().unwrap()]);
    index(&site, &["homes", "--settle", "0"], 0);
    sh(
        &site.path("copies"),
        "btrfs -q subvolume delete 2024-11-19; echo 2 > .live/d/f; btrfs -q subvolume snapshot -r .live by-hand",
    );
    let told = index(&site, &["homes", "--settle", "0"], 1);
    assert!(told.contains("not there any more: the copy of 2024-11-19"), "{told}");
    assert_eq!(states(&site), ["2024-11-18 present 2024-11-18", "2024-11-19 gone 2024-11-19"]);
}

#[test]
fn a_copy_that_moved_and_got_a_name_at_its_top_is_walked_again() {
    let site = Site::with_source();
    sh(&site.path("copies"), "mkdir -p 2024-11-18/d; echo 1 > 2024-11-18/d/f; ");
    index(&site, &["homes", "--settle", "0"], 0);
    sh(&site.path(""), "mv copies moved; mkdir copies; echo 2 > moved/2024-11-18/new; rm moved/2024-11-18/d/f");
    site.ok(&["source", "set", "homes", "--copies", site.path("moved").to_str().unwrap()]);
    let told = index(&site, &["homes", "--settle", "0"], 0);
    assert!(told.contains("again from"), "{told}");
    assert_eq!(lines(&site, "SELECT path FROM files ORDER BY path"), ["d", "new"]);
}

#[test]
fn names_that_rotate_while_a_run_is_at_it_give_no_generation_another_nights_tree() {
    let site = rotating();
    make(&site, "daily.1", 10, 10);
    make(&site, "daily.0", 11, 11);
    sh(
        &site.path("copies"),
        "for n in $(seq 60); do mkdir daily.1/$n; (cd daily.1/$n; seq 500 | xargs touch); done; touch -d '2024-11-10 02:00Z' daily.1",
    );
    let mut run = site.asof(&["index", "homes", "--settle", "0"]);
    let run = run.stderr(std::process::Stdio::piped()).spawn().unwrap();
    // It has begun to write, so it has looked at all of them.
    let begun =
        || site.path("catalog.db-wal").metadata().is_ok_and(|wal| wal.len() > 0) && !lines_now(&site).is_empty();
    wait_until("the first copy is being indexed", begun);
    sh(&site.path(""), &format!("kill -STOP {}", run.id()));
    sh(&site.path("copies"), "mv daily.1 daily.2; mv daily.0 daily.1");
    make(&site, "daily.0", 12, 12);
    sh(&site.path(""), &format!("kill -CONT {}", run.id()));
    let output = run.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    // Whether the first one was opened before the names rotated or was refused, too, is for chance.
    assert!(matches!(output.status.code(), Some(1 | 2)), "{told}");
    assert!(told.contains("daily.0\" is another directory than when this run began, or has another date"), "{told}");
    index(&site, &["homes", "--settle", "0"], 0);
    let mnt = site.mount(&[]);
    assert_eq!([10, 11, 12].map(|day| read_in_view(&mnt, day)), [10, 11, 12]);
}

#[test]
fn bytes_that_are_compared_are_those_of_the_copy_that_is_walked_though_its_name_rotates_meanwhile() {
    let site = Site::new();
    site.ok(&["init"]);
    let copies = site.path("copies");
    site.keep_in_memory(&["copies"]);
    let path = copies.to_str().unwrap();
    site.ok(&["source", "add", "nfs", "homes", "--copies", path, "--instant-from", "name,mtime", "--checksum"]);
    // Two nights whose files differ in their bytes alone.
    for (number, day) in [(1, 10), (0, 11)] {
        let name = format!("daily.{number}");
        let file = format!("head -c 200000 /dev/zero | tr '\\0' {number} > {name}/f000");
        let files = format!("for n in $(seq 100 400); do cp {name}/f000 {name}/f$n; done");
        let times = format!("touch -d '2024-10-01Z' {name}/*; touch -d '2024-11-{day} 02:00Z' {name}");
        sh(&copies, &format!("mkdir {name}; {file}; {files}; {times}"));
    }
    index(&site, &["homes", "copies/daily.1", "--settle", "0"], 0);
    let mut run = site.asof(&["index", "homes", "--settle", "0"]);
    let run = run.stderr(std::process::Stdio::piped()).spawn().unwrap();
    wait_until("the second copy is being indexed", || !lines_now(&site).is_empty());
    sh(&site.path(""), &format!("kill -STOP {}", run.id()));
    sh(&copies, "mv daily.1 other; mv daily.0 daily.1; mv other daily.0");
    sh(&site.path(""), &format!("kill -CONT {}", run.id()));
    let output = run.wait_with_output().unwrap();
    assert!(matches!(output.status.code(), Some(0 | 1)), "{}", said(&output));
    let versions = "SELECT count(DISTINCT version_since) FROM files WHERE name = 'f400'";
    assert_eq!(lines(&site, versions), ["2"], "{}", said(&output));
    index(&site, &["homes", "--settle", "0"], 0);
    assert_eq!(lines(&site, versions), ["2"]);
}

/// Two file systems, `1.img` and `2.img`, that were made in the same second.
fn twins(site: &Site) {
    sh(
        &site.path(""),
        "for n in 1 2; do truncate -s 16M $n.img; E2FSPROGS_FAKE_TIME=1700000000 mkfs.ext4 -q $n.img; done",
    );
}

#[test]
fn a_copy_that_is_a_file_system_is_not_taken_for_another_one_that_was_made_in_the_same_second() {
    let site = Site::with_source();
    twins(&site);
    let mount = |image: u32, day: u32| {
        sh(&site.path(""), &format!("mount -o loop {image}.img copies/2024-11-{day}"));
    };
    sh(&site.path("copies"), "mkdir 2024-11-18 2024-11-19");
    mount(1, 18);
    mount(2, 19);
    for day in [18, 19] {
        sh(&site.path("copies"), &format!("cd 2024-11-{day}; echo {day} > f; touch -d 2024-10-01Z f . lost+found"));
    }
    let roots = sh(&site.path("copies"), "stat -c '%i %W' 2024-11-18 2024-11-19");
    assert_eq!(roots, "2 1700000000\n2 1700000000\n", "nothing but their file systems tells them apart");
    index(&site, &["homes", "--settle", "0"], 0);
    let mnt = site.mount(&[]);
    sh(&site.path("copies"), "umount 2024-11-18 2024-11-19");
    mount(1, 19);
    mount(2, 18);

    let read = |day: u32| std::fs::read_to_string(mnt.join(format!("@2024-11-{day}/homes/f")));
    // Each is read where it is now.
    assert_eq!((read(18).unwrap().as_str(), read(19).unwrap().as_str()), ("18\n", "19\n"));
}

#[test]
fn a_copy_of_a_catalog_that_knows_no_file_systems_is_known_by_what_it_knows_and_then_by_that() {
    let site = Site::with_source();
    twins(&site);
    sh(&site.path(""), "mkdir copies/2024-11-18; mount -o loop 1.img copies/2024-11-18; echo x > copies/2024-11-18/f");
    index(&site, &["homes", "--settle", "0"], 0);
    sh(&site.path(""), "sqlite3 catalog.db 'UPDATE copy SET root_filesystem = NULL'");
    assert!(index(&site, &["homes", "--settle", "0"], 0).contains("nothing to index"));
    let known = sh(&site.path(""), "sqlite3 -readonly catalog.db 'SELECT root_filesystem IS NOT NULL FROM copy'");
    assert_eq!(known, "1\n");
}

#[test]
fn a_store_is_not_taken_for_another_file_system_that_was_made_in_the_same_second() {
    let site = Site::with_source();
    twins(&site);
    sh(&site.path(""), "mount -o loop 1.img copies; mkdir copies/2024-11-18; echo x > copies/2024-11-18/f");
    index(&site, &["homes", "--settle", "0"], 0);
    sh(&site.path(""), "umount copies; mount -o loop 2.img copies; mkdir copies/2024-11-19");
    let told = index(&site, &["homes"], 1);
    assert!(told.contains("another directory is there than the one that was known"), "{told}");
    sh(&site.path(""), "umount copies; mount -o loop 1.img copies");
    assert!(index(&site, &["homes", "--settle", "0"], 0).contains("nothing to index"));
}

/// Returns the generations that are being made, as the base tables have them.
fn lines_now(site: &Site) -> String {
    let asked =
        shell(&site.path(""), "sqlite3 -readonly catalog.db \"SELECT id FROM generation WHERE status = 'creating'\"");
    String::from_utf8_lossy(&asked.stdout).into_owned()
}

#[test]
fn bytes_of_a_file_with_two_names_that_change_in_a_young_copy_are_found_where_bytes_count() {
    let site = Site::new();
    site.ok(&["init"]);
    let copies = site.path("copies");
    site.ok(&["source", "add", "nfs", "homes", "--copies", copies.to_str().unwrap(), "--checksum"]);
    for day in [18, 19] {
        sh(&copies, &format!("mkdir 2024-11-{day}; cd 2024-11-{day}; echo aaaa > f; touch -d 2020-01-01 f; ln f g"));
    }
    index(&site, &["homes"], 0);
    sh(&copies, "printf bbbb | dd of=2024-11-19/f conv=notrunc status=none; touch -d 2020-01-01 2024-11-19/f");
    let told = index(&site, &["homes"], 0);
    assert!(told.contains("\"f\" has other bytes"), "{told}");
    assert_eq!(
        lines(
            &site,
            "SELECT what || ' ' || path FROM changes WHERE taken_at LIKE '2024-11-19%' AND kind = 'file' ORDER BY path"
        ),
        ["modified f", "modified g"]
    );
    // Links that come and go move ctimes and no bytes.
    sh(&copies, "ln 2024-11-18/f x; rm x");
    assert!(!index(&site, &["homes"], 0).contains("again"));
}

/// A file system that has whole seconds and no birth times is mounted on `name`.
fn old_disk(site: &Site, name: &str) {
    sh(
        &site.path(""),
        &format!(
            "truncate -s 32M {name}.img; mkfs.ext4 -q -I 128 {name}.img; mkdir -p {name}; mount -o loop {name}.img {name}"
        ),
    );
}

#[test]
fn copies_that_were_brought_to_a_disk_that_cuts_their_times_are_indexed_anew_and_read() {
    let site = Site::with_source();
    sh(
        &site.path("copies"),
        "for d in 20 21; do mkdir 2024-11-$d; echo $d > 2024-11-$d/f; touch -d '2024-11-01 01:00:00.25Z' 2024-11-$d/f; done",
    );
    index(&site, &["homes", "--settle", "0"], 0);
    old_disk(&site, "old");
    sh(&site.path(""), "cp -a copies/2024-* old/; rm -r copies/2024-*");
    site.ok(&["source", "set", "homes", "--copies", site.path("old").to_str().unwrap()]);
    let told = index(&site, &["homes", "--settle", "0"], 0);
    assert_eq!(told.matches("has another mtime").count(), 2, "{told}");
    assert_eq!(statuses(&site), ["2024-11-20 available", "2024-11-21 available"]);
    let mnt = site.mount(&[]);
    let read = |day: u32| std::fs::read_to_string(mnt.join(format!("@2024-11-{day}/homes/f"))).unwrap();
    assert_eq!((read(20), read(21)), ("20\n".to_owned(), "21\n".to_owned()));
    assert!(index(&site, &["homes"], 0).contains("nothing to index"));
}

#[test]
fn copies_that_a_disk_without_birth_times_holds_as_they_were_have_moved() {
    let site = Site::with_source();
    let times = "find . -exec touch -h -d '2024-11-01 01:00:00Z' {} +";
    sh(&site.path("copies"), &format!("for d in 20 21; do mkdir 2024-11-$d; echo $d > 2024-11-$d/f; done; {times}"));
    index(&site, &["homes", "--settle", "0"], 0);
    old_disk(&site, "old");
    sh(&site.path(""), "cp -a copies/2024-* old/; rm -r copies/2024-*");
    site.ok(&["source", "set", "homes", "--copies", site.path("old").to_str().unwrap()]);
    let told = index(&site, &["homes", "--settle", "0"], 0);
    assert!(!told.contains("again"), "{told}");
    assert_eq!(told.matches(" moved from ").count(), 2, "{told}");
    let mnt = site.mount(&[]);
    assert_eq!(std::fs::read_to_string(mnt.join("@2024-11-21/homes/f")).unwrap(), "21\n");
}

#[test]
fn names_that_rotate_on_a_disk_without_birth_times_are_followed_without_a_walk() {
    let site = Site::new();
    site.ok(&["init"]);
    old_disk(&site, "old");
    let old = site.path("old");
    site.ok(&["source", "add", "nfs", "homes", "--copies", old.to_str().unwrap(), "--instant-from", "name,mtime"]);
    for day in 10..=12 {
        let rotate = "for n in 1 0; do [ ! -d daily.$n ] || mv daily.$n daily.$((n+1)); done";
        let make = format!("mkdir daily.0; echo {day} > daily.0/f; touch -d '2024-11-{day} 02:00Z' daily.0");
        sh(&old, &format!("{rotate}; {make}"));
        let report = said(&site.run(&["index", "homes", "--settle", "0", "--json"], 0));
        assert!(!report.contains("\"same\"") && !report.contains("again"), "no copy was walked: {report}");
    }
    let left = [(10, 2), (11, 1), (12, 0)].map(|(day, number)| format!("2024-11-{day} present daily.{number}"));
    assert_eq!(states(&site), left);
    let mnt = site.mount(&[]);
    assert_eq!(std::fs::read_to_string(mnt.join("@2024-11-11/homes/f")).unwrap(), "11\n");
}

#[test]
fn lost_and_found_beside_the_copies_is_no_finding() {
    let site = Site::with_source();
    sh(&site.path("copies"), "mkdir lost+found 2024-11-20; echo x > 2024-11-20/f");
    index(&site, &["homes"], 0);
}

#[test]
fn a_copy_that_is_gone_from_the_middle_is_told_until_it_is_back_or_forgotten() {
    let site = Site::with_source();
    sh(&site.path("copies"), "for d in 18 19 20; do mkdir 2024-11-$d; echo $d > 2024-11-$d/f; done");
    index(&site, &["homes"], 0);
    sh(&site.path(""), "mv copies/2024-11-20 away");
    for _ in 0..2 {
        let told = index(&site, &["homes"], 1);
        assert!(told.contains("not there any more: the copy of 2024-11-20T00:00:00Z"), "{told}");
        assert_eq!(statuses(&site), ["2024-11-18 available", "2024-11-19 available", "2024-11-20 gone"]);
    }
    sh(&site.path(""), "mv away copies/2024-11-20");
    let told = index(&site, &["homes"], 0);
    assert!(told.contains("the copy of 2024-11-20T00:00:00Z is back"), "{told}");
    assert!(!told.contains("again"), "{told}");
    assert_eq!(statuses(&site)[2], "2024-11-20 available");

    sh(&site.path(""), "rm -r copies/2024-11-20");
    index(&site, &["homes"], 1);
    let forgotten = site.ok(&["forget", "homes@2024-11-20", "--json"]);
    assert_documented("asof forget", &serde_json::from_str(&forgotten).expect("JSON"));
    index(&site, &["homes"], 0);
    assert_eq!(statuses(&site), ["2024-11-18 available", "2024-11-19 available"]);
    assert_eq!(states(&site).len(), 2, "what stood for the forgotten copy went with it");
}

/// A script that names a copy after the moment at which it makes it gives it a time of last change that equals its name.
#[test]
fn copies_named_after_the_moment_at_which_they_were_made_are_one_series_in_which_only_the_oldest_may_go() {
    let site = Site::with_source();
    let make = "for d in 09-29 09-30 10-01 10-02; do n=2024-${d}T020000Z; mkdir $n; echo $d > $n/f; touch -d 2024-${d}T02:00:00Z $n; done";
    sh(&site.path("copies"), make);
    index(&site, &["homes"], 0);
    // With the last one of its month, and with the last one of its day.
    sh(&site.path("copies"), "rm -r 2024-09-29*");
    let told = index(&site, &["homes"], 0);
    assert!(told.contains("2024-09-29T02:00:00Z"), "{told}");
    sh(&site.path("copies"), "rm -r 2024-09-30*");
    index(&site, &["homes"], 0);
    sh(
        &site.path("copies"),
        "rm -r 2024-10-02*; mkdir 2024-10-03T020000Z; touch -d 2024-10-03T02:00:00Z 2024-10-03T020000Z",
    );
    let told = index(&site, &["homes"], 1);
    assert!(told.contains("not there any more: the copy of 2024-10-02T02:00:00Z"), "{told}");
}

#[test]
fn all_copies_gone_are_no_retention() {
    let site = Site::with_source();
    sh(&site.path("copies"), "for d in 18 19; do mkdir 2024-11-$d; echo $d > 2024-11-$d/f; done; mkdir .keep");
    index(&site, &["homes"], 0);
    sh(&site.path("copies"), "rm -r 2024-11-*");
    index(&site, &["homes"], 1);
    assert_eq!(statuses(&site), ["2024-11-18 gone", "2024-11-19 gone"]);
    index(&site, &["homes"], 1);
}

#[test]
fn a_copy_made_again_under_its_name_is_indexed_anew() {
    let site = Site::with_source();
    sh(&site.path("copies"), "mkdir 2024-11-20; echo first > 2024-11-20/f");
    index(&site, &["homes", "--settle", "0"], 0);
    sh(&site.path("copies"), "rm -r 2024-11-20; mkdir 2024-11-20; echo second > 2024-11-20/g");
    let told = index(&site, &["homes"], 0);
    assert!(told.contains("again from"), "{told}");
    assert_eq!(site.ok(&["ls", "homes"]), "g\n");
    assert_eq!(states(&site), ["2024-11-20 present 2024-11-20"]);
}

#[test]
fn a_copy_replaced_by_other_content_with_the_same_times_is_indexed_anew() {
    let site = Site::with_source();
    let times = "touch -d 2024-11-19T01:00Z 2024-11-20/f 2024-11-20";
    sh(&site.path("copies"), &format!("mkdir 2024-11-20; echo first > 2024-11-20/f; {times}"));
    index(&site, &["homes", "--settle", "0"], 0);
    sh(&site.path("copies"), &format!("rm -r 2024-11-20; mkdir 2024-11-20; echo other bytes > 2024-11-20/f; {times}"));
    let told = index(&site, &["homes"], 0);
    assert!(told.contains("\"f\" has another size"), "{told}");
    let mnt = site.mount(&[]);
    assert_eq!(std::fs::read_to_string(mnt.join("@2024-11-20/homes/f")).unwrap(), "other bytes\n");
}

#[test]
fn a_copy_under_a_wrong_date_is_forgotten_and_taken_back_under_the_right_one() {
    let site = Site::with_source();
    sh(&site.path(""), "mkdir copies/by-hand; echo x > copies/by-hand/f");
    index(&site, &["homes", "copies/by-hand", "--at", "2024-11-02"], 0);
    let told = index(&site, &["homes", "copies/by-hand", "--at", "2024-11-20"], 2);
    assert!(told.contains("is indexed already, as 2024-11-02T00:00:00Z and not 2024-11-20T00:00:00Z"), "{told}");
    assert!(told.contains("hint: asof forget homes@2024-11-02T000000Z; then"), "{told}");

    let told = said(&site.run(&["forget", "homes@2024-11-02"], 0));
    assert!(told.contains("copies/by-hand\", and is not indexed again by itself"), "{told}");
    assert!(site.path("copies/by-hand/f").exists());
    assert_eq!(statuses(&site), [""; 0]);
    // It has no date of its own, and is known: nothing is amiss.
    let told = index(&site, &["homes"], 0);
    assert!(told.contains("nothing to index: no copy of \"homes\" is new (0 are indexed, 1 is forgotten)"), "{told}");

    index(&site, &["homes", "copies/by-hand", "--at", "2024-11-20"], 0);
    assert_eq!(states(&site), ["2024-11-20 present by-hand"]);
    assert_eq!(lines(&site, "SELECT forgotten FROM copies"), ["0"]);
}

#[test]
fn who_forgets_a_copy_that_is_gone_is_not_told_that_it_stays() {
    let site = Site::with_source();
    sh(&site.path("copies"), "for d in 18 19; do mkdir 2024-11-$d; echo $d > 2024-11-$d/f; done");
    index(&site, &["homes"], 0);
    sh(&site.path("copies"), "rm -r 2024-11-19");
    let told = index(&site, &["homes"], 1);
    assert!(told.contains("hint: asof forget homes@2024-11-19T00:00:00Z removes"), "{told}");
    let told = said(&site.run(&["forget", "homes@2024-11-19T00:00:00Z"], 0));
    let path = site.path("copies/2024-11-19");
    assert!(told.contains(&format!("its copy is not there, {path:?}: only one that is put there again")), "{told}");
    assert!(!told.contains("stays") && !told.contains("hint"), "{told}");
    let told = said(&site.run(&["forget", "homes@2024-11-18"], 0));
    assert!(told.contains("stays") && told.contains("takes it back"), "{told}");
}

#[test]
fn a_forgotten_copy_is_left_alone_for_as_long_as_it_is_that_copy() {
    let site = Site::with_source();
    sh(&site.path("copies"), "for d in 18 19; do mkdir 2024-11-$d; echo $d > 2024-11-$d/f; done");
    index(&site, &["homes"], 0);
    site.ok(&["forget", "homes@2024-11-19"]);
    for _ in 0..2 {
        index(&site, &["homes"], 0);
        assert_eq!(statuses(&site), ["2024-11-18 available"]);
    }
    // Made again it is another one.
    sh(&site.path("copies"), "rm -r 2024-11-19; mkdir 2024-11-19; echo new > 2024-11-19/g");
    index(&site, &["homes"], 0);
    assert_eq!(statuses(&site), ["2024-11-18 available", "2024-11-19 available"]);
    assert_eq!(lines(&site, "SELECT count(*) FROM copies"), ["2"]);
}

#[test]
fn a_forgotten_copy_stays_forgotten_under_a_name_at_which_one_that_was_pruned_was_last_seen() {
    let site = rotating();
    for (day, name) in [(10, "daily.1"), (11, "daily.0")] {
        make(&site, name, day, day as usize);
    }
    index(&site, &["homes"], 0);
    sh(&site.path("copies"), "rm -r daily.1; mv daily.0 daily.1");
    make(&site, "daily.0", 12, 12);
    index(&site, &["homes"], 0);
    site.ok(&["forget", "homes@2024-11-11"]);
    for _ in 0..2 {
        index(&site, &["homes"], 0);
        assert_eq!(statuses(&site), ["2024-11-10 gone", "2024-11-12 available"]);
    }
}

#[test]
fn a_live_mount_follows_copies_that_moved_though_nothing_new_came() {
    let site = rotating();
    for (day, name) in [(10, "daily.1"), (11, "daily.0")] {
        make(&site, name, day, 10);
        // All look equal by size and mtime.
        sh(
            &site.path("copies"),
            &format!("echo {day} > {name}/g; touch -d 2020-01-01 {name}/g; touch -d '2024-11-{day} 02:00Z' {name}"),
        );
    }
    index(&site, &["homes"], 0);
    let mnt = site.mount(&[]);
    assert_eq!((read_in_view(&mnt, 10), read_in_view(&mnt, 11)), (10, 10));
    sh(&site.path("copies"), "mv daily.1 daily.2; mv daily.0 daily.1");
    index(&site, &["homes"], 0);
    // The mount looks every quarter of a second; what is read before is read from where the copies were.
    std::thread::sleep(Duration::from_secs(2));
    let read = |day: u32| std::fs::read_to_string(mnt.join(format!("@2024-11-{day}/homes/g"))).unwrap();
    assert_eq!((read(10), read(11)), ("10\n".to_owned(), "11\n".to_owned()));
}

#[test]
fn a_forgotten_copy_does_not_stand_for_another_backup_that_was_written_over_it() {
    let site = rotating();
    for day in 10..=12 {
        sh(
            &site.path("copies"),
            &format!("mkdir -p current; echo {day} > current/a{day}; touch -d '2024-11-{day} 02:00Z' current"),
        );
        index(&site, &["homes"], i32::from(day > 10));
    }
    for day in [10, 11] {
        site.ok(&["forget", &format!("homes@2024-11-{day}T020000Z")]);
    }
    let told = index(&site, &["homes"], 0);
    assert!(!told.contains("written over"), "{told}");
    assert_eq!(statuses(&site), ["2024-11-12 available"]);
    sh(&site.path("copies"), "echo 13 > current/a13; touch -d '2024-11-13 02:00Z' current");
    index(&site, &["homes"], 1);
    assert_eq!(statuses(&site), ["2024-11-12 degraded", "2024-11-13 available"]);
}

#[test]
fn what_a_copy_held_before_it_was_indexed_again_moves_with_it() {
    let site = rotating();
    make(&site, "daily.0", 10, 10);
    // The same file, twice.
    sh(
        &site.path("copies"),
        "cp -al daily.0 daily.x; touch -d '2024-11-11 02:00Z' daily.x; mv daily.0 daily.1; mv daily.x daily.0",
    );
    index(&site, &["homes"], 0);
    index(&site, &["homes@2024-11-10", "--again"], 0);
    index(&site, &["homes@2024-11-11", "--again"], 0);
    sh(&site.path("copies"), "mv daily.1 daily.2; mv daily.0 daily.1");
    make(&site, "daily.0", 12, 12);
    index(&site, &["homes"], 0);
    let mnt = site.mount(&[]);
    assert_eq!([10, 11, 12].map(|day| read_in_view(&mnt, day)), [10, 10, 12]);
    site.ok(&["forget", "homes@2024-11-11"]);
    index(&site, &["homes"], 0);
    assert_eq!(statuses(&site), ["2024-11-10 available", "2024-11-12 available"]);
}

#[test]
fn a_forgotten_copy_stays_forgotten_when_names_rotate() {
    let site = rotating();
    make(&site, "daily.0", 10, 10);
    index(&site, &["homes"], 0);
    site.ok(&["forget", "homes@2024-11-10"]);
    sh(&site.path("copies"), "mv daily.0 daily.1");
    make(&site, "daily.0", 11, 11);
    index(&site, &["homes"], 0);
    assert_eq!(statuses(&site), ["2024-11-11 available"]);
    assert_eq!(states(&site), ["2024-11-10 present daily.1", "2024-11-11 present daily.0"]);
}

#[test]
fn a_date_that_means_no_generation_or_several_is_refused_by_what_changes_one() {
    let site = Site::with_source();
    sh(&site.path("copies"), "mkdir 2024-11-18 2024-11-20T0100 2024-11-20T0200");
    index(&site, &["homes"], 0);
    let told = said(&site.run(&["forget", "homes@2024-11-19"], 2));
    assert!(told.contains("source \"homes\" has no generation of \"2024-11-19\""), "{told}");
    let told = said(&site.run(&["forget", "homes@2024-11-20"], 2));
    assert!(
        told.contains("has 2 generations of \"2024-11-20\", from 2024-11-20T01:00:00Z to 2024-11-20T02:00:00Z"),
        "{told}"
    );
    assert_eq!(statuses(&site).len(), 3);
    site.ok(&["forget", "homes@2024-11-20T02:00"]);
    assert_eq!(statuses(&site).len(), 2);
}

#[test]
fn a_generation_is_indexed_again_when_it_is_asked_for() {
    let site = Site::with_source();
    sh(&site.path("copies"), "mkdir -p 2024-11-20/a/b; echo 1 > 2024-11-20/a/b/f");
    index(&site, &["homes", "--settle", "0"], 0);
    sh(&site.path("copies"), "echo 2 > 2024-11-20/a/b/g");
    let told = index(&site, &["homes@2024-11-20"], 0);
    assert!(told.contains("is indexed already"), "{told}");
    let told = index(&site, &["homes@2024-11-20", "--again"], 0);
    assert!(told.contains("again from"), "{told}");
    site.ok(&["show", "homes:a/b/g"]);
    sh(&site.path("copies"), "echo 3 > 2024-11-20/a/b/h");
    index(&site, &["homes", "copies/2024-11-20", "--again", "--settle", "0"], 0);
    site.ok(&["show", "homes:a/b/h"]);
    // Without a name of a copy: those that may have changed, and this one is touched by nobody.
    assert!(index(&site, &["homes", "--again", "--settle", "0"], 0).contains("nothing to index"));
    let told = index(&site, &["homes@2024-11-21", "--again"], 2);
    assert!(told.contains("has no generation of \"2024-11-21\""), "{told}");
    sh(&site.path(""), "mv copies/2024-11-20 away");
    let told = index(&site, &["homes@2024-11-20", "--again"], 2);
    assert!(told.contains("is not there"), "{told}");
}

#[test]
fn what_could_not_be_read_is_read_when_all_is_indexed_again() {
    let site = Site::new();
    sh(&site.path(""), "chmod 755 .; mkdir state; chown 65534:65534 state");
    sh(
        &site.path("copies"),
        "for d in 18 19; do mkdir -p 2024-11-$d/a; echo $d > 2024-11-$d/a/f; done; chmod 0 2024-11-18/a; chown -R 65534 2024-11-18",
    );
    let program = env!("CARGO_BIN_EXE_asof");
    let copies = site.path("copies");
    let script = format!(
        "export ASOF_CATALOG=$PWD/state/catalog.db; cp {program} state/asof; state/asof init; \
         state/asof source add nfs homes --copies {} --settle 0; \
         tell() {{ state/asof sql --csv 'SELECT substr(taken_at, 1, 10), entries, losses FROM generations ORDER BY 1'; }}; \
         state/asof index homes || true; tell; chmod 700 {0}/2024-11-18/a; state/asof index homes; tell; \
         state/asof index homes --again; tell",
        copies.display()
    );
    let output = as_nobody(&site.path(""), &script);
    let told = said(&output);
    assert!(output.status.success(), "{told}");
    assert!(
        told.contains("when it can be read, asof index homes@2024-11-18T00:00:00Z --again reads it once more"),
        "{told}"
    );
    let partial = "2024-11-18,1,1\n2024-11-19,2,0\n";
    assert_eq!(told.matches(partial).count(), 2, "{told}");
    assert!(told.contains("2024-11-18,2,0\n2024-11-19,2,0\n"), "{told}");
}

#[test]
fn one_copy_that_cannot_be_walked_leaves_the_others_right() {
    let site = Site::new();
    sh(&site.path(""), "chmod 755 .; mkdir state; chown 65534:65534 state");
    sh(
        &site.path("copies"),
        "for d in 18 19 20; do mkdir 2024-11-$d; echo $d > 2024-11-$d/f; done; chmod 700 2024-11-19",
    );
    let program = env!("CARGO_BIN_EXE_asof");
    let copies = site.path("copies");
    let script = format!(
        "export ASOF_CATALOG=$PWD/state/catalog.db; cp {program} state/asof; state/asof init; \
         state/asof source add nfs homes --copies {}; code=0; state/asof index homes || code=$?; echo code $code; \
         state/asof sql --csv 'SELECT substr(taken_at, 1, 10), entries, losses FROM generations'",
        copies.display()
    );
    let output = as_nobody(&site.path(""), &script);
    let told = said(&output);
    assert!(output.status.success(), "{told}");
    assert!(told.contains("code 1"), "{told}");
    assert!(told.contains("cannot index generation 2024-11-19T00:00:00Z of \"homes\": cannot open the copy"), "{told}");
    assert!(told.contains("2024-11-18,1,0\n2024-11-20,1,0\n"), "{told}");
}

#[test]
fn a_full_disk_ends_the_run_with_one_line() {
    let site = Site::new();
    sh(&site.path(""), "mkdir state; mount -t tmpfs -o size=1500k none state");
    sh(
        &site.path("copies"),
        "mkdir 2024-11-01; cd 2024-11-01; seq 1 20000 | xargs touch; cd ..; for d in 02 03; do mkdir 2024-11-$d; echo $d > 2024-11-$d/f; done",
    );
    let asof = |args: &[&str]| {
        let mut command = site.asof(args);
        command.env("ASOF_CATALOG", site.path("state/catalog.db"));
        command.output().unwrap()
    };
    assert!(asof(&["init"]).status.success());
    assert!(
        asof(&["source", "add", "nfs", "homes", "--copies", site.path("copies").to_str().unwrap()]).status.success()
    );
    let output = asof(&["index", "homes"]);
    let told = said(&output);
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert_eq!(told.matches("the disk is full").count(), 1, "{told}");
    assert!(!told.contains("2024-11-02"), "the others are not walked: {told}");

    sh(&site.path(""), "mount -o remount,size=64m state");
    let output = asof(&["index", "homes"]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let told = said(&asof(&["sql", "--csv", "SELECT entries FROM generations"]));
    assert!(told.starts_with("entries\n20000\n1\n1\n"), "{told}");
}

#[test]
fn without_a_name_every_source_is_indexed_and_one_that_fails_stops_nobody() {
    let site = Site::with_source();
    let other = site.path("other");
    sh(
        &site.path(""),
        "mkdir -p other/2024-11-20 copies/2024-11-20; echo x > other/2024-11-20/f; echo y > copies/2024-11-20/f; cp -a other web",
    );
    site.ok(&["source", "add", "nfs", "alone", "--copies", other.to_str().unwrap()]);
    site.ok(&["source", "add", "nfs", "web", "--copies", site.path("web").to_str().unwrap()]);
    sh(&site.path(""), "sqlite3 catalog.db \"UPDATE source SET settings = '{}' WHERE name = 'alone'\"");
    let told = index(&site, &[], 1);
    assert!(told.contains("asof: cannot index \"alone\": cannot read the settings of the source"), "{told}");
    assert!(told.contains("of \"homes\" from") && told.contains("of \"web\" from"), "{told}");
    site.ok(&["source", "remove", "alone", "--force"]);
    let told = index(&site, &[], 0);
    assert_eq!(told, "nothing to index: nothing of 2 sources is new\n");
}

#[test]
fn volumes_are_looked_at_with_all_sources_though_they_have_no_copies_of_others() {
    let site = Site::with_source();
    site.ok(&["source", "add", "gluster", "gv0", "--volume", "gv0", "--store", site.path("out").to_str().unwrap()]);
    sh(&site.path("copies"), "mkdir 2024-11-20; echo x > 2024-11-20/f");
    index(&site, &[], 0);
    let told = index(&site, &["gv0"], 2);
    assert!(told.contains("its generations are taken, or come from lists"), "{told}");
}

/// Adds the disk `vm1` with a raw image of 2024-11-18 and one of 2024-11-19; of swap, so that nothing is amiss.
fn disk(site: &Site) {
    sh(
        &site.path("live"),
        "for day in 18 19; do mkswap -q -U 00000000-0000-4000-8000-0000000000$day $(truncate -s 1M vm1-2024-11-$day.raw; echo vm1-2024-11-$day.raw); done",
    );
    site.ok(&["source", "add", "block", "vm1", "--images", site.path("live").to_str().unwrap()]);
    index(site, &["vm1"], 0);
}

#[test]
fn images_that_are_gone_are_told_unless_they_were_the_oldest() {
    let site = Site::with_source();
    disk(&site);
    sh(&site.path(""), "mv live/vm1-2024-11-19.raw away");
    for _ in 0..2 {
        let told = index(&site, &["vm1"], 1);
        assert!(told.contains("not there any more: the copy of 2024-11-19T00:00:00Z"), "{told}");
    }
    assert_eq!(statuses(&site), ["2024-11-18 available", "2024-11-19 gone"]);
    sh(&site.path(""), "mv away live/vm1-2024-11-19.raw; rm live/vm1-2024-11-18.raw");
    let told = index(&site, &["vm1"], 0);
    assert!(told.contains("pruned by whoever makes the copies: the copy of 2024-11-18T00:00:00Z"), "{told}");
    assert_eq!(statuses(&site), ["2024-11-18 gone", "2024-11-19 available"]);
    assert!(index(&site, &["vm1"], 0).contains("nothing to index"));
}

/// A full image a month and increments on top of it; the oldest month goes.
#[test]
fn a_chain_of_images_that_is_gone_as_a_whole_was_pruned_unless_something_that_is_there_is_on_top_of_it() {
    let site = Site::with_source();
    let qcow2 = "qemu-img create -q -f qcow2 -F";
    sh(
        &site.path("live"),
        &format!(
            "truncate -s 1M vm1-2024-10-01.raw vm1-2024-11-01.raw; {qcow2} raw -b vm1-2024-10-01.raw vm1-2024-10-02.qcow2; \
             {qcow2} qcow2 -b vm1-2024-10-02.qcow2 vm1-2024-10-03.qcow2; {qcow2} raw -b vm1-2024-11-01.raw vm1-2024-11-02.qcow2"
        ),
    );
    site.ok(&["source", "add", "block", "vm1", "--images", site.path("live").to_str().unwrap()]);
    index(&site, &["vm1"], 0);
    sh(&site.path(""), "mkdir away; mv live/vm1-2024-10-0[12]* away");
    let told = index(&site, &["vm1"], 1);
    assert!(told.contains("not there any more: the copy of 2024-10-01T00:00:00Z"), "{told}");
    sh(&site.path(""), "rm live/vm1-2024-10-03.qcow2");
    let told = index(&site, &["vm1"], 0);
    assert!(told.contains("pruned by whoever makes the copies: the copy of 2024-10-03T00:00:00Z"), "{told}");
    index(&site, &["vm1"], 0);
    // The disk with the images is exchanged, and what was left was brought to the new one.
    sh(&site.path(""), "mv live old && mkdir live && cp -a old/. live/");
    index(&site, &["vm1"], 1);
    site.ok(&["source", "set", "vm1", "--images", site.path("live").to_str().unwrap()]);
    sh(&site.path("live"), "truncate -s 1M vm1-2024-11-09.raw");
    let told = index(&site, &["vm1"], 0);
    assert!(told.contains("indexed 2024-11-09"), "{told}");
}

#[test]
fn a_folder_of_images_that_is_not_mounted_is_a_finding() {
    let site = Site::with_source();
    disk(&site);
    sh(&site.path(""), "mv live off; mkdir live");
    let told = index(&site, &["vm1"], 1);
    assert!(told.contains("cannot look at the 2 copies of \"vm1\""), "{told}");
    assert_eq!(statuses(&site), ["2024-11-18 unreachable", "2024-11-19 unreachable"]);
}

#[test]
fn a_forgotten_image_is_left_alone_and_taken_back_by_its_path() {
    let site = Site::with_source();
    disk(&site);
    site.ok(&["forget", "vm1@2024-11-19"]);
    let told = index(&site, &["vm1"], 0);
    assert!(told.contains("no image of \"vm1\" is new (1 is indexed, 1 is forgotten)"), "{told}");
    index(&site, &["vm1", "live/vm1-2024-11-19.raw"], 0);
    assert_eq!(statuses(&site), ["2024-11-18 available", "2024-11-19 available"]);
    assert_eq!(lines(&site, "SELECT sum(forgotten) FROM copies"), ["0"]);
}

#[test]
fn a_run_that_may_read_less_than_the_one_before_takes_nothing_away() {
    let site = Site::with_source();
    sh(
        &site.path("copies"),
        "mkdir -p 2024-11-18/own; echo 1 > 2024-11-18/own/f; chown -R 1000:1000 2024-11-18/own; chmod 700 2024-11-18/own",
    );
    index(&site, &["homes"], 0);
    let asof = format!("{} index homes", env!("CARGO_BIN_EXE_asof"));
    let bounded = format!("ASOF_CATALOG=catalog.db setpriv --bounding-set=-dac_override,-dac_read_search {asof}");
    let output = shell(&site.path(""), &bounded);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("changed: \"own\" cannot be listed"), "{}", said(&output));
    assert_eq!(lines(&site, "SELECT losses FROM generations"), ["0"]);
    assert_eq!(site.ok(&["ls", "homes:own"]), "f\n");
}

#[test]
fn snapshots_under_names_that_rotate_are_not_indexed_again() {
    let site = Site::new();
    site.ok(&["init"]);
    let copies = site.path("copies");
    let how = ["--instant-from", "name,mtime", "--identity", "inode"];
    let add = ["source", "add", "nfs", "homes", "--copies", copies.to_str().unwrap()];
    site.ok(&[add.as_slice(), &how].concat());
    make(&site, "daily.0", 10, 10);
    index(&site, &["homes"], 0);
    for day in 11..=13 {
        sh(&copies, "for n in 3 2 1 0; do [ ! -d daily.$n ] || mv daily.$n daily.$((n+1)); done");
        make(&site, "daily.0", day, 10);
        assert!(!index(&site, &["homes"], 0).contains("again"));
    }
}

#[test]
fn a_copy_dated_in_the_future_is_reported_and_is_not_the_latest() {
    let site = Site::with_source();
    sh(&site.path("copies"), "for d in 2024-11-18 9000-01-01; do mkdir $d; echo $d > $d/$d; done");
    let told = index(&site, &["homes"], 1);
    assert!(told.contains("the generation 9000-01-01T00:00:00Z lies in the future"), "{told}");
    index(&site, &["homes"], 0);
    assert_eq!(site.ok(&["ls", "homes"]), "2024-11-18\n");
    let mnt = site.mount(&[]);
    assert_eq!(sh(&mnt, "ls @latest/homes homes/@latest").matches("2024-11-18").count(), 2);
    assert_eq!(sh(&mnt, "ls @9000-01-01T000000Z/homes"), "9000-01-01\n");
}

#[test]
fn the_report_in_json_is_what_was_said() {
    let site = Site::with_source();
    sh(&site.path("copies"), "mkdir 2024-11-18 undated; echo 1 > 2024-11-18/f");
    let output = site.run(&["index", "homes", "--json"], 1);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let source = &report["sources"][0];
    assert_eq!((&source["source"], &source["result"]), (&"homes".into(), &"findings".into()));
    let whats: Vec<&str> = source["events"].as_array().unwrap().iter().map(|e| e["what"].as_str().unwrap()).collect();
    assert_eq!(whats, ["left_aside", "note", "indexed"]);
    let indexed = &source["events"][2];
    assert_eq!(indexed["taken_at"], "2024-11-18T00:00:00Z");
    assert_eq!((&indexed["taken_at_unix"], &indexed["entries"]), (&1_731_888_000.into(), &1.into()));
    assert!(indexed["settled"] == false && indexed["path"].as_str().unwrap().ends_with("/copies/2024-11-18"));
}

#[test]
fn a_store_that_does_not_answer_is_not_waited_for_longer_than_it_may_be_silent() {
    let site = Site::with_source();
    sh(&site.path("copies"), "mkdir 2024-11-20; echo x > 2024-11-20/f");
    index(&site, &["homes"], 0);
    // Whoever opens a fifo waits for somebody who writes to it, as one waits for a file server that is down.
    sh(&site.path(""), "mv copies off; mkfifo copies");
    let catalog = site.path("catalog.db");
    let lock = |name: &str| {
        let source = Reader::open(&catalog)?.source(name)?;
        let lock = SourceLock::acquire(&catalog, &source, &LockWait::refuse("index"))?;
        Ok((source, lock))
    };
    let open = |_: &SourceRow| Writer::open(&catalog);
    let inputs = Inputs {
        catalog: &catalog,
        lock: &lock,
        open: &open,
        zone: &jiff::tz::TimeZone::UTC,
        clock: &Fixed(Time(1_800_000_000)),
        patience: &Patience::new(Duration::from_millis(100)),
        monitor: &Void,
    };
    let report = index_source(&inputs, &Wish::default(), "homes", &mut |_, _| {}).unwrap();
    assert_eq!(report.outcome(), Outcome::Findings);
    let [Event::Unreachable { why, copies: 1, .. }] = report.sources[0].events.as_slice() else { panic!("{report:?}") };
    assert!(why.starts_with("it does not answer within"), "{why}");
    assert_eq!(statuses(&site), ["2024-11-20 unreachable"]);
}

/// Runs `asof index homes` where something may never answer: that ends the test, and not the other way round.
fn index_in_time(site: &Site, code: i32) -> String {
    let output = shell(
        &site.path(""),
        &format!("timeout -s KILL 100 {} --catalog catalog.db index homes", env!("CARGO_BIN_EXE_asof")),
    );
    let told = said(&output);
    assert_eq!(output.status.code(), Some(code), "{told}");
    told
}

/// Whoever owns a directory of a copy may mount a file system of his own there (`fusermount3`), and lets in whom he likes.
#[test]
fn a_file_system_inside_a_copy_is_not_asked_for_anything() {
    let site = Site::with_source();
    let tree = "mkdir -p eve/dir eve/closed eve/sub bob; echo mine > eve/mine; echo f > eve/file; echo his > bob/his";
    sh(&site.path("live"), tree);
    let copy = site.copy("2026-11-20");
    let mounts = [
        Silent::mount(&copy.join("eve/dir"), 1001, ",allow_other"),
        Silent::mount(&copy.join("eve/closed"), 1001, ""),
        Silent::mount(&copy.join("eve/file"), 1001, ",allow_other"),
    ];
    let told = index_in_time(&site, 1);
    assert!(told.contains("7 entries"), "{told}");
    assert_eq!(
        lines(&site, "SELECT path || ': ' || kind || ': ' || detail FROM findings ORDER BY path"),
        [
            "eve/closed: boundary: another file system is mounted here; it was not entered",
            "eve/dir: boundary: another file system is mounted here; it was not entered",
            "eve/file: boundary: another file system is mounted here; this file is not of the copy",
        ]
    );
    let names = "SELECT path || ' ' || kind FROM files WHERE path LIKE 'eve/%' ORDER BY path";
    let expected = ["eve/closed directory", "eve/dir directory", "eve/mine file", "eve/sub directory"];
    assert_eq!(lines(&site, names), expected);
    // The look of the next run, and the mount that serves, ask it for nothing either.
    index_in_time(&site, 0);
    let mount = site.mount(&[]);
    let read =
        shell(&mount, "cd @latest/homes; cat bob/his eve/mine; timeout -s KILL 100 cat eve/file || true; ls eve/dir");
    let told = said(&read);
    assert!(told.contains("his\nmine\n") && told.matches("Input/output error").count() == 2, "{told}");
    site.umount();
    drop(mounts);
    let told = index(&site, &["homes@2026-11-20", "--again"], 0);
    assert!(told.contains("indexed 2026-11-20T00:00:00Z"), "{told}");
    assert_eq!(lines(&site, "SELECT path FROM findings"), Vec::<String>::new());
}

/// Who may write to a folder of images mounts over one that no run has seen, over one that was indexed, over what lies beside it, and over
/// the folder of a disk.
#[test]
fn an_image_that_a_user_mounted_over_is_refused_and_holds_up_nobody() {
    let site = Site::with_source();
    let (images, why) =
        (site.path("images"), "user 1001 mounted a file system of his own there, which is not asked for anything");
    sh(
        &site.path(""),
        "mkdir -p images/vdb; truncate -s 1M images/2026-11-17.raw; head -c 1M /dev/urandom > images/2026-11-18.raw",
    );
    site.ok(&["source", "add", "block", "disk", "--images", images.to_str().unwrap(), "--format", "raw"]);
    // What it holds is not known, and its bytes are in it.
    site.run(&["index", "disk"], 1);
    sh(&images, "truncate -s 1M 2026-11-19.raw 2026-11-20.raw; touch 2026-11-20.raw.9.manifest 2026-11-20.json");
    let view = site.mount(&[]);
    let run = |args: &str| {
        let call =
            format!("timeout -s KILL 100 {} --catalog catalog.db {args}; echo code $?", env!("CARGO_BIN_EXE_asof"));
        let told = said(&shell(&site.path(""), &format!("set +e; {call}")));
        assert!(!told.contains("code 137"), "{args}: {told}");
        told
    };
    let over = |names: &[&str]| -> Vec<Silent> {
        names.iter().map(|name| Silent::mount(&images.join(name), 1001, ",allow_other")).collect()
    };
    let mounts = over(&["2026-11-18.raw", "2026-11-19.raw", "2026-11-20.raw.9.manifest", "2026-11-20.json"]);
    let told = run("index disk");
    for file in ["2026-11-18.raw\"", "2026-11-19.raw\"", "2026-11-20.json\""] {
        assert!(told.lines().any(|line| line.contains(file) && line.contains(why)), "{file}: {told}");
    }
    run("rebuild --into other.db images");
    run("forget disk@2026-11-17");
    run("take disk");
    let read = shell(&view, "timeout -s KILL 100 cat disk/@2026-11-18/disk.raw | wc -c");
    assert!(said(&read).contains("Input/output error"), "{}", said(&read));
    drop(mounts);
    sh(&images, "rm 2026-11-20.json");
    let told = run("index disk");
    assert!(told.contains("indexed 2026-11-19") && told.contains("indexed 2026-11-20"), "{told}");
    site.ok(&[
        "source",
        "add",
        "block",
        "guest",
        "--images",
        images.to_str().unwrap(),
        "--format",
        "raw",
        "--all-disks",
    ]);
    let mounts = over(&["vdb"]);
    let told = run("index guest");
    assert!(told.contains("images/vdb") && told.contains(why), "{told}");
    drop(mounts);
    site.umount();
}

/// A copy whose top directory is a user's (`rsync -a /home/eve/ COPY`) is his to mount over.
#[test]
fn a_copy_that_a_user_mounted_over_is_an_error_and_holds_up_nobody() {
    let site = Site::with_source();
    sh(&site.path("live"), "echo one > f");
    for day in ["2026-11-18", "2026-11-19"] {
        site.copy(day);
    }
    index_in_time(&site, 0);
    let copy = site.copy("2026-11-20");
    let view = site.mount(&[]);
    assert_eq!(sh(&view, "cat @2026-11-19/homes/f"), "one\n");
    let why = "user 1001 mounted a file system of his own there, which is not asked for anything";
    let over = [Silent::mount(&copy, 1001, ",allow_other"), Silent::mount(&site.path("copies/2026-11-19"), 1001, "")];
    let told = index_in_time(&site, 1);
    assert!(told.contains("2026-11-20") && told.contains(why), "{told}");
    let shown = site.ok(&["show", "homes@2026-11-19"]);
    assert!(shown.contains("copies/2026-11-19 (not there now)"), "{shown}");
    let read = shell(&view, "timeout -s KILL 100 cat homes/@2026-11-19/f; cat homes/@2026-11-18/f");
    assert!(said(&read).contains("one\n"), "{}", said(&read));
    assert_eq!(lines(&site, "SELECT substr(taken_at, 1, 10) FROM generations"), ["2026-11-18", "2026-11-19"]);
    drop(over);
    index_in_time(&site, 0);
    assert_eq!(sh(&view, "cat @2026-11-20/homes/f @2026-11-19/homes/f"), "one\none\n");
    site.umount();
    // Those of root, and of whoever runs asof, are copies as any other.
    let own = sh(&site.path("copies"), "mkdir 2026-11-21; mount -t tmpfs none 2026-11-21; echo x > 2026-11-21/x");
    assert_eq!(own, "");
    index_in_time(&site, 0);
    sh(&site.path("copies"), "umount 2026-11-21");
}
