//! What the manual promises of the mount, sentence by sentence: each promise of docs/mount.md stands above the test that
//! holds it.
//!
//! The tests are small; `mount.rs` has the same with every kind of file, `slow_store.rs` has stores that hang. The first
//! test holds the quotations to the manual.

#[path = "common/site.rs"]
mod site;

use site::{Site, as_nobody, difference, said, sh, shell, wait_until};
use std::path::Path;

/// The text of `docs/mount.md` from "What the mount promises" to the next heading, blanks and line ends made one blank.
fn promises() -> String {
    let manual =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/mount.md")).expect("the manual");
    let section = manual.split_once("## What the mount promises").expect("the section").1;
    let section = section.split_once("\n##").expect("a section after it").0;
    section.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The lines of a test file that begin with `/// >`, those that follow each other joined.
fn quotations(text: &str) -> Vec<String> {
    let mut out = Vec::new();
    let mut is_going_on = false;
    for line in text.lines() {
        match line.strip_prefix("/// > ") {
            Some(words) if is_going_on => {
                let last: &mut String = out.last_mut().expect("one was begun");
                last.push(' ');
                last.push_str(words.trim());
            }
            Some(words) => out.push(words.trim().to_owned()),
            None => {}
        }
        is_going_on = line.starts_with("/// > ");
    }
    out
}

#[test]
fn every_promise_of_the_manual_is_quoted_above_a_test_that_holds_it() {
    let mut left = promises();
    for quotation in
        quotations(include_str!("semantics.rs")).into_iter().chain(quotations(include_str!("slow_store.rs")))
    {
        assert!(left.contains(&quotation), "the manual does not say (or was quoted twice): {quotation}");
        left = left.replace(&quotation, "");
    }
    let left: String = left.chars().filter(|c| !c.is_whitespace() && *c != '-').collect();
    assert_eq!(left, "", "no test quotes this");
}

/// > A view is what was backed up: names as bytes, contents, holes, times in ns, owners, modes, hard links, symlinks, xattrs, POSIX
/// > ACLs, device numbers: everything that `rsync -aHAXS --numeric-ids` carries.
#[test]
fn a_view_is_what_was_backed_up() {
    let site = Site::with_source();
    sh(
        &site.path("live"),
        "printf x > $'not \\xff utf8'; truncate -s 1M hole; printf y > a; ln a b; ln -s a link; mknod dev b 7 9; mkfifo pipe
         chown 4000000000:5 a; chmod 4751 a; setfattr -n user.x -v y a; setfacl -m u:7:rw hole; touch -d 1960-01-01T00:00:00.1 link",
    );
    let copy = site.copy("2026-11-20");
    site.ok(&["index", "homes"]);
    let mount = site.mount(&[]);
    assert_eq!(difference(&copy, &mount.join("homes/@2026-11-20")), "");
    assert_eq!(difference(&copy, &mount.join("@2026-11-20/homes")), "");
    assert_eq!(sh(&mount, "du -B1 homes/@latest/hole | cut -f1"), "0\n");
    site.umount();
}

/// > The ctime shown is that of the copy that had the version first; the link count is the number of names inside the generation.
#[test]
fn ctime_is_of_the_first_copy_and_the_link_count_of_the_generation() {
    let site = Site::with_source();
    sh(&site.path("live"), "printf x > one; printf y > two; ln two two-again");
    let first = site.copy("2026-11-18");
    let second = site.copy("2026-11-19");
    sh(&site.path("copies"), "rsync -aH --link-dest=../2026-11-19 ../live/ 2026-11-20");
    site.ok(&["index", "homes"]);
    let mount = site.mount(&[]);
    let status = |dir: &Path, format: &str| sh(dir, &format!("stat -c '{format}' one two"));
    assert_ne!(status(&first, "%.9Z"), status(&second, "%.9Z"), "two copies are made at two times");
    assert_eq!(status(&mount.join("homes/@2026-11-18"), "%.9Z"), status(&mount.join("homes/@2026-11-19"), "%.9Z"));
    assert_eq!(status(&second, "%h"), "2\n4\n", "the farm has linked to it");
    for day in ["18", "19", "20"] {
        assert_eq!(status(&mount.join(format!("homes/@2026-11-{day}")), "%h"), "1\n2\n");
    }
    site.umount();
}

/// > A date or a longer period means its end: `@2026-11-20` is the newest backup of that day or before.
#[test]
fn a_date_or_a_longer_period_means_its_end() {
    let site = Site::with_source();
    for name in ["2026-10-31T2359", "2026-11-20T0100", "2026-11-20T2300"] {
        sh(&site.path("live"), &format!("printf {name} > name"));
        site.copy(name);
    }
    site.ok(&["index", "homes"]);
    let mount = site.mount(&[]);
    let by = |date: &str| sh(&mount, &format!("cat homes/{date}/name"));
    assert_eq!(by("@2026-11-20"), "2026-11-20T2300");
    assert_eq!(by("@2026-11-20T22:59"), "2026-11-20T0100");
    assert_eq!(by("@2026-11-19"), "2026-10-31T2359");
    assert_eq!(by("@2026-11"), "2026-11-20T2300");
    assert_eq!(by("@2026-10"), "2026-10-31T2359");
    assert_eq!(by("@2026"), "2026-11-20T2300");
    site.umount();
}

/// > Times without an offset are local to the daemon; of an hour that a clock change repeats, the later one.
#[test]
fn times_without_an_offset_are_local_to_the_daemon() {
    // In Berlin clocks went from 03:00 (+02:00) back to 02:00 (+01:00) on 2026-10-25, at 01:00 UTC.
    let site = Site::with_source();
    for name in ["2026-10-25T0015Z", "2026-10-25T0115Z", "2026-11-20T1130Z"] {
        sh(&site.path("live"), &format!("printf {name} > name"));
        site.copy(name);
    }
    site.ok(&["index", "homes"]);
    let mounted = site.asof(&["mount", "mnt"]).env("TZ", "Europe/Berlin").output().expect("it starts");
    assert!(mounted.status.success(), "{}", said(&mounted));
    let by = |date: &str| sh(&site.path("mnt"), &format!("cat homes/{date}/name"));
    assert_eq!(by("@2026-11-20T12:30"), "2026-11-20T1130Z");
    assert_eq!(by("@2026-11-20T12:29"), "2026-10-25T0115Z");
    assert_eq!(by("@2026-11-20T11:30Z"), "2026-11-20T1130Z");
    assert_eq!(by("@2026-10-25T02:30"), "2026-10-25T0115Z");
    assert_eq!(by("@2026-10-25T02:30+02:00"), "2026-10-25T0015Z");
    site.umount();
}

/// > A name that is not a date does not exist.
#[test]
fn what_is_no_date_is_not_there() {
    let site = Site::with_source();
    site.copy("2026-11-20");
    site.ok(&["index", "homes"]);
    let mount = site.mount(&[]);
    for name in ["@2026-13-01", "@2026-02-30", "@20261120T", "@tomorrow?", "@", "@ 2026-11-20", "2026-11-20", "nothing"]
    {
        let refused = said(&shell(&mount, &format!("ls '{name}' 'homes/{name}' 2>&1 || true")));
        assert_eq!(refused.matches("No such file or directory").count(), 2, "{refused}");
    }
    site.umount();
}

/// > A source that has no backup by then is absent from the view, never an empty directory; `.asof/absent` says why.
#[test]
fn a_source_that_has_no_backup_by_then_is_absent() {
    let site = Site::with_source();
    sh(&site.path(""), "mkdir -p copies/2026-11-18 other/2026-11-20");
    site.ok(&["source", "add", "nfs", "other", "--copies", site.path("other").to_str().expect("a plain path")]);
    site.ok(&["index", "homes"]);
    site.ok(&["index", "other"]);
    let mount = site.mount(&[]);
    assert_eq!(sh(&mount, "ls @2026-11-19"), "homes\n");
    assert_eq!(sh(&mount, "ls @2026-11-20"), "homes\nother\n");
    assert_eq!(sh(&mount, "cat @2026-11-19/.asof/absent"), {
        "source=other\twhy=no generation by then\tabsent_before=2026-11-20T00:00:00Z\n"
    });
    assert_eq!(sh(&mount, "cat @2026-11-20/.asof/absent"), "");
    site.umount();
}

/// > Views are read-only (EROFS, for root too), nosuid and nodev.
#[test]
fn views_are_read_only_nosuid_and_nodev() {
    let site = Site::with_source();
    sh(&site.path("live"), "printf x > file; mknod -m 666 null c 1 3");
    site.copy("2026-11-20");
    site.ok(&["index", "homes"]);
    let mount = site.mount(&[]);
    for write in ["touch homes/@latest/file", "rm @latest/homes/file", "mkdir new", "chmod 700 homes"] {
        let refused = said(&shell(&mount, write));
        assert!(refused.contains("Read-only file system"), "{write}: {refused}");
    }
    let options = sh(&mount, "findmnt -no OPTIONS .");
    assert!(options.starts_with("ro,nosuid,nodev,"), "{options}");
    assert!(said(&shell(&mount, "cat homes/@latest/null")).contains("Permission denied"));
    site.umount();
}

/// > Users see what modes and ACLs of that day let them see.
#[test]
fn users_see_what_modes_and_acls_of_that_day_let_them_see() {
    let site = Site::with_source();
    site.let_everybody_pass();
    sh(
        &site.path("live"),
        "printf m > by-mode; printf a > by-acl; chmod 644 by-mode; chmod 600 by-acl; setfacl -m u:65534:r by-acl",
    );
    site.copy("2026-11-19");
    sh(&site.path("live"), "chmod 600 by-mode; setfacl -b by-acl");
    site.copy("2026-11-20");
    site.ok(&["index", "homes"]);
    let mount = site.mount(&[]);
    for (day, is_let_in) in [("19", true), ("20", false)] {
        for file in ["by-mode", "by-acl"] {
            let output = as_nobody(&mount, &format!("cat homes/@2026-11-{day}/{file}"));
            assert_eq!(output.status.success(), is_let_in, "{file} of the {day}th: {}", said(&output));
        }
    }
    site.umount();
}

/// > The bytes come from the view's own copy. If that file is gone, shorter, changed since it was indexed (its size or mtime is
/// > another one, looked at with each read; its owner, group or mode, looked at when it is opened), or unreadable, another copy that
/// > holds the same version serves it, and the log says so; if there is none, it is EIO.
#[test]
fn bytes_come_from_the_views_own_copy_or_from_one_that_holds_the_same_version() {
    let site = Site::with_source();
    let files = ["gone", "shorter", "changed", "unreadable"];
    sh(
        &site.path("live"),
        &format!("printf right | tee {} intact > /dev/null; printf first > only-here", files.join(" ")),
    );
    site.copy("2026-11-19");
    sh(&site.path("live"), "printf second > only-here");
    let copy = site.copy("2026-11-20");
    site.ok(&["index", "homes"]);
    let hurt = "rm gone only-here; printf r > shorter; printf wrong > changed; rm unreadable; ln -s nowhere unreadable";
    sh(&copy, hurt);
    let view = site.mount(&[]).join("homes/@2026-11-20");
    assert_eq!(sh(&view, "cat intact"), "right");
    assert_eq!(site.log().matches("is read from the copy of").count(), 0);
    for file in files {
        assert_eq!(sh(&view, &format!("cat {file}")), "right", "{file}");
        let line = format!("\"homes/{file}\" as of 2026-11-20T00:00:00Z is read from the copy of 2026-11-19T00:00:00Z");
        assert!(site.log().contains(&line), "{}", site.log());
    }
    assert!(said(&shell(&view, "cat only-here")).contains("Input/output error"));
    site.umount();
}

/// > Bytes come from the very directory that was indexed as the copy: its inode number, birth time and file system are looked at before a file in it is
/// > opened. Where names rotated it is read beside the place that it had; where it is not there, or a copy was made again, its files are EIO
/// > (or another copy serves them) until the next `asof index`. The log says once of each copy what was found. No link below the folder of copies is followed, and nothing that is mounted over a
/// > part of a copy is shown.
#[test]
fn bytes_come_from_the_directory_that_was_indexed() {
    let site = Site::with_source();
    let copies = site.path("copies");
    let make =
        "mkdir 2026-11-18 2026-11-19; for f in one two; do echo old > 2026-11-18/$f; echo 19 > 2026-11-19/$f; done";
    sh(&copies, make);
    site.ok(&["index", "homes"]);
    // Files of the same sizes and times.
    sh(&copies, "mv 2026-11-19 ../away; mkdir 2026-11-19; echo 20 | tee 2026-11-19/one > 2026-11-19/two");
    sh(&copies, "for f in one two; do touch -r ../away/$f 2026-11-19/$f; done");
    let mount = site.mount(&[]);
    for file in ["one", "two"] {
        let refused = shell(&mount, &format!("cat homes/@2026-11-19/{file}"));
        assert!(said(&refused).contains("Input/output error"), "{}", said(&refused));
    }
    let log = site.log();
    assert_eq!(log.matches("/copies/2026-11-19\" is another directory").count(), 1, "{log}");
    // Under another name beside the others.
    sh(&copies, "mv 2026-11-19 new; mv ../away renamed");
    wait_until("it is found", || shell(&mount, "cat homes/@2026-11-19/one").stdout == b"19\n");
    sh(&copies, "mv renamed ../away; mv new 2026-11-19");
    // The same directory, but over a link; and there again with a part of it covered.
    sh(&copies, "rm -r 2026-11-19; ln -s ../away 2026-11-19");
    assert!(said(&shell(&mount, "cat homes/@2026-11-19/two")).contains("Input/output error"));
    sh(&copies, "rm 2026-11-19; mv ../away 2026-11-19; mount --bind 2026-11-18/two 2026-11-19/two");
    assert_eq!(sh(&mount, "cat homes/@2026-11-19/one"), "19\n");
    assert!(said(&shell(&mount, "cat homes/@2026-11-19/two")).contains("Input/output error"));
    site.umount();
}

/// > A mount whose catalog is replaced (put back from a copy, moved, its log removed) ends within a second, and its log says why: what
/// > another catalog numbers alike may be something else. Mount again.
#[test]
fn a_mount_whose_catalog_is_replaced_ends() {
    let site = Site::with_source();
    sh(&site.path("copies"), "mkdir 2026-11-18");
    site.ok(&["index", "homes"]);
    let mount = site.mount(&[]);
    sh(&site.path(""), "cp catalog.db put-back; mv put-back catalog.db; rm -f catalog.db-wal catalog.db-shm");
    wait_until("the mount is gone", || !mount.join("homes").exists());
    wait_until("the log says why", || site.log().contains("is not the one that was opened"));
    sh(&site.mount(&[]), "ls homes/@2026-11-18T000000Z");
    site.umount();
}

/// > Never zeros, never a
/// > shorter listing: a directory that could not be read when it was indexed, or on which another file system was mounted,
/// > fails to list.
#[test]
fn never_zeros_and_never_a_shorter_listing() {
    let site = Site::with_source();
    sh(&site.path("live"), "mkdir barred; printf x > barred/file; head -c 300000 /dev/zero | tr '\\0' x > cut");
    let copy = site.copy("2026-11-20");
    sh(&copy, "chown 1234 barred; chmod 700 barred");
    let without_rights = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"].join(" ");
    let program = env!("CARGO_BIN_EXE_asof");
    let script = format!("{without_rights} {program} --catalog catalog.db index homes");
    let indexed = shell(&site.path(""), &script);
    assert_eq!(indexed.status.code(), Some(1), "{}", said(&indexed));
    // The size stays, the bytes are a hole: what a file system leaves after a crash.
    sh(&copy, "touch -r cut ref; truncate -s 0 cut; truncate -s 300000 cut");
    let view = site.mount(&[]).join("homes/@latest");
    assert_eq!(sh(&view, "ls"), "barred\ncut\n");
    for script in ["ls barred", "cat barred/file", "cat cut"] {
        let refused = shell(&view, script);
        assert!(
            refused.stdout.is_empty() && said(&refused).contains("Input/output error"),
            "{script}: {}",
            said(&refused)
        );
    }
    site.umount();
}

/// > `getfattr -n user.asof.generation FILE` tells which backup you look at (`source`, `generation`, `taken_at`, `version_since`,
/// > `evidence`, `restore_source`); these are not listed, so `rsync -X` does not copy them.
#[test]
fn a_file_tells_which_backup_it_is_from_and_copies_do_not_carry_that() {
    let site = Site::with_source();
    sh(&site.path("live"), "printf x > file; setfattr -n user.own -v kept file");
    sh(&site.path("live"), "printf x > tagged; setfattr -n user.asof.tag -v kept tagged");
    site.copy("2026-11-19");
    let copy = site.copy("2026-11-20");
    site.ok(&["index", "homes"]);
    let view = site.mount(&[]).join("homes/@latest");
    let stored = copy.join("file");
    let answers = [
        ("source", "homes"),
        ("generation", "2026-11-20T00:00:00Z"),
        ("taken_at", "1795132800"),
        ("version_since", "2026-11-19T00:00:00Z"),
        ("evidence", "seen in a full copy"),
        ("restore_source", stored.to_str().expect("a plain path")),
    ];
    for (question, answer) in answers {
        assert_eq!(sh(&view, &format!("getfattr --only-values -n user.asof.{question} file")), answer);
    }
    assert_eq!(sh(&view, "getfattr -d -m - file"), "# file: file\nuser.own=\"kept\"\n\n");
    // What was backed up under such a name is an attribute like any other.
    assert_eq!(sh(&view, "getfattr -d -m - tagged"), "# file: tagged\nuser.asof.tag=\"kept\"\n\n");
    assert_eq!(difference(&copy, &view), "");
    sh(&site.path("out"), &format!("rsync -aX {0}/ by-rsync; cp -a {0} by-cp", view.display()));
    for copied in ["by-rsync", "by-cp"] {
        let attributes = sh(&site.path("out").join(copied), "getfattr -d -m - file");
        assert_eq!(attributes, "# file: file\nuser.own=\"kept\"\n\n");
    }
    site.umount();
}

/// > An inode number never means another tree, and is the same in every mount and after a restart. A generation that is indexed
/// > late gives new numbers to the views of all sources that show something else now; who is inside an old one stays there for an
/// > hour. Dates that are not listed have numbers that hold for one mount.
#[test]
fn an_inode_number_never_means_another_tree() {
    let site = Site::with_source();
    sh(&site.path(""), "mkdir -p other more/2026-11-20; printf m > more/2026-11-20/file");
    site.ok(&["source", "add", "nfs", "more", "--copies", site.path("more").to_str().expect("a plain path")]);
    for day in ["18", "21"] {
        sh(&site.path("live"), &format!("printf {day} > day"));
        site.copy(&format!("2026-11-{day}"));
    }
    site.ok(&["index", "homes"]);
    site.ok(&["index", "more"]);
    let mount = site.mount(&[]);
    site.ok(&["mount", "other"]);
    let numbers = |dir: &str| sh(&site.path(dir), "find . -printf '%i %p\\n'");
    let before = numbers("mnt");
    assert_eq!(numbers("other"), before);
    site.ok(&["umount", "other"]);
    site.umount();
    site.mount(&[]);
    assert_eq!(numbers("mnt"), before);
    let inside = std::fs::File::open(mount.join("@2026-11-20T000000Z")).expect("a directory");
    let named_by_date = sh(&mount, "stat -c %i @2026-11-20");

    sh(&site.path("live"), "printf 19 > day");
    site.copy("2026-11-19");
    site.ok(&["index", "homes"]);
    wait_until("the late one is seen", || sh(&mount, "cat @2026-11-20T000000Z/homes/day") == "19");

    let day = format!("/proc/self/fd/{}/homes/day", std::os::fd::AsRawFd::as_raw_fd(&inside));
    assert_eq!(std::fs::read_to_string(day).expect("he is still inside"), "18");
    let after = numbers("mnt");
    let is_changed = |line: &&str| !after.lines().any(|l| l == *line);
    let changed: Vec<&str> =
        before.lines().filter(is_changed).map(|line| line.split_once(' ').expect("two").1).collect();
    let below = ["", "/homes", "/homes/day", "/more", "/more/file"];
    assert_eq!(changed, below.map(|below| format!("./@2026-11-20T000000Z{below}")));
    assert_ne!(sh(&mount, "stat -c %i @2026-11-20"), named_by_date);
    drop(inside);
    site.umount();
}

/// > A generation is there whole or not at all. A killed `asof index` leaves nothing behind; the next one cleans up.
#[test]
fn a_generation_is_there_whole_or_not_at_all() {
    let site = Site::with_source();
    site.keep_in_memory(&["live", "copies"]);
    sh(&site.path("live"), "for dir in $(seq 40); do mkdir $dir; (cd $dir; seq 100 | xargs touch); done");
    sh(&site.path(""), "mkdir copies/2026-11-19");
    site.ok(&["index", "homes"]);
    site.copy("2026-11-20");
    let mount = site.mount(&[]);
    let count = || sh(&mount.join("homes/@2026-11-20"), "find . | wc -l");
    let mut killed = 0;
    for wait_ms in (2..200).step_by(6) {
        // timeout(1) has been killed itself when the program was.
        let program = env!("CARGO_BIN_EXE_asof");
        let index = format!("timeout --signal=KILL 0.{wait_ms:03} {program} --catalog catalog.db index homes");
        let is_killed = shell(&site.path(""), &index).status.code() != Some(0);
        // By its date the older one is found as long as the newer one is not there, and never anything else.
        let is_listed = sh(&mount, "ls homes").contains("@2026-11-20");
        let found = count();
        assert!(found == "4041\n" || found == "1\n" && !is_listed, "{found}");
        if !is_killed || is_listed {
            break;
        }
        killed += 1;
    }
    assert!(killed > 0, "no run was killed half way");
    site.ok(&["index", "homes"]);
    wait_until("the generation is seen", || count() == "4041\n");
    assert_eq!(difference(&site.path("copies/2026-11-20"), &mount.join("homes/@2026-11-20")), "");
    assert_eq!(sh(&mount, "ls homes"), "@2026-11-19T000000Z\n@2026-11-20T000000Z\n");
    site.umount();
}
