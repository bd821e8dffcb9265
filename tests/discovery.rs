//! Finding copies of shares, dating them, and telling files of one apart from those of the next, as an admin meets it: rules
//! that may not change, links, time zones, folders that overlap, nested subvolumes and mounts inside a copy.
//!
//! Needs root, `/dev/fuse` and btrfs on a loop device (`btrfs-progs`). What every message says is in `tests/cli.rs`.

#[path = "common/site.rs"]
mod site;

use site::{Site, said, sh, shell};
use std::path::Path;

/// Returns the instants of the generations of `source`, oldest first.
fn instants(site: &Site, source: &str) -> Vec<String> {
    let query = format!("SELECT taken_at FROM generations WHERE source = '{source}' ORDER BY 1");
    lines(&site.ok(&["sql", "--csv", &query])).into_iter().skip(1).map(str::to_owned).collect()
}

fn lines(text: &str) -> Vec<&str> {
    text.lines().map(str::trim_end).collect()
}

/// Makes empty copies, each with the same time of last change: 2025-11-20T02:00:00Z.
fn make_copies(site: &Site, names: &[&str]) {
    for name in names {
        let copy = site.path("copies").join(name);
        std::fs::create_dir(&copy).unwrap();
        std::fs::write(copy.join("f"), name.as_bytes()).unwrap();
        sh(&copy, "touch -d 2025-11-20T02:00:00Z f .");
    }
}

#[test]
fn a_mistyped_date_is_never_indexed_under_its_time_of_last_change() {
    let site = Site::new();
    site.ok(&["init"]);
    let rules = ["--zone", "Europe/Berlin", "--instant-from", "name,mtime"];
    site.ok(&[&["source", "add", "nfs", "homes", "--copies", "copies"], &rules[..]].concat());
    // No such day, a time that the clocks skipped, a year that no date can name.
    make_copies(&site, &["2026-02-30", "2026-03-29T0230", "1969-12-31", "2026-03-29T0330", "2026-03-29T02:30+0100"]);

    let told = said(&site.run(&["index", "homes"], 1));

    for name in ["2026-02-30", "2026-03-29T0230", "1969-12-31"] {
        assert!(told.contains(&format!("copies/{name}\": \"{name}\"")), "{name} is left aside: {told}");
    }
    // 02:30 at an hour east of UTC was shown as 03:30: the same second, so that only one of them is indexed.
    assert_eq!(instants(&site, "homes"), ["2026-03-29T01:30:00Z"]);
    sh(&site.path("copies"), "rm -r 1969-12-31 2026-02-30 2026-03-29T0230 2026-03-29T0330");
    make_copies(&site, &["2026-03-28", "0f3a"]);
    site.run(&["index", "homes"], 0);
    assert_eq!(instants(&site, "homes"), ["2025-11-20T02:00:00Z", "2026-03-27T23:00:00Z", "2026-03-29T01:30:00Z"]);
}

#[test]
fn every_name_by_which_a_copy_is_found_is_a_date_in_the_mount() {
    let site = Site::new();
    site.ok(&["init"]);
    site.ok(&["source", "add", "nfs", "homes", "--copies", "copies", "--zone", "UTC"]);
    let names = ["20261109", "2026-11-20T02:00-0330", "2026-11-21_0200", "20261122T020000+0100", "20261123-0200"];
    make_copies(&site, &names);
    site.run(&["index", "homes"], 0);
    assert_eq!(
        instants(&site, "homes"),
        [
            "2026-11-09T00:00:00Z",
            "2026-11-20T05:30:00Z",
            "2026-11-21T02:00:00Z",
            "2026-11-22T01:00:00Z",
            "2026-11-23T02:00:00Z"
        ]
    );
    let mount = site.mount(&[]);
    for name in names {
        assert_eq!(std::fs::read_to_string(mount.join(format!("@{name}/homes/f"))).unwrap(), name);
    }
    // Eight digits that are no day are no date, and no number of seconds either.
    assert!(!mount.join("@20261399").exists());
    assert!(!mount.join("@12345678").exists());
}

#[test]
fn a_copy_that_became_a_link_is_reported_each_time_and_the_link_to_the_newest_copy_is_not() {
    let site = Site::with_source();
    make_copies(&site, &["2026-01-01", "2026-01-02"]);
    sh(&site.path("copies"), "ln -s 2026-01-02 latest; ln -s \"$PWD/2026-01-02\" current; ln -s nowhere dangling");
    assert_eq!(lines(&said(&site.run(&["index", "homes"], 0))).iter().filter(|l| l.contains("aside")).count(), 0);

    // Moved to another disk and linked back; and a new one that lies there from the start.
    sh(
        &site.path(""),
        "mv copies/2026-01-01 out/; ln -s ../out/2026-01-01 copies/; cp -a out/2026-01-01 out/2026-01-03",
    );
    sh(&site.path(""), "ln -s \"$PWD/out/2026-01-03\" copies/");

    for _ in 0..2 {
        let told = said(&site.run(&["index", "homes"], 1));
        for name in ["2026-01-01", "2026-01-03"] {
            let line = format!("skipped {:?}: it is a symbolic link to ", site.path("copies").join(name));
            assert!(told.contains(&line), "{told}");
        }
        assert!(!told.contains("latest") && !told.contains("current") && !told.contains("dangling"), "{told}");
    }
    // What the message says to do helps.
    sh(
        &site.path(""),
        "rm copies/2026-01-0[13]; mkdir copies/2026-01-01; mount --bind out/2026-01-01 copies/2026-01-01; mv out/2026-01-03 copies/",
    );
    site.run(&["index", "homes"], 0);
    assert_eq!(instants(&site, "homes"), ["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z"]);
    assert_eq!(std::fs::read_to_string(site.mount(&[]).join("@2026-01-01/homes/f")).unwrap(), "2026-01-01");
}

#[test]
fn a_copy_whose_place_an_alias_took_is_followed_to_where_it_is() {
    let site = Site::new();
    site.ok(&["init"]);
    site.ok(&["source", "add", "nfs", "homes", "--copies", "copies", "--instant-from", "name,mtime"]);
    make_copies(&site, &["daily.0"]);
    site.run(&["index", "homes"], 0);
    sh(&site.path("copies"), "mv daily.0 daily.1; ln -s daily.1 daily.0");
    let told = said(&site.run(&["index", "homes"], 0));
    let (from, to) = (site.path("copies/daily.0"), site.path("copies/daily.1"));
    assert!(told.contains(&format!("moved from {from:?} to {to:?}")), "{told}");
}

#[test]
fn copies_at_the_top_of_a_disk_are_indexed_without_a_word_about_what_the_file_system_keeps_there() {
    for rule in ["name", "name,mtime"] {
        let site = Site::new();
        sh(&site.path(""), "truncate -s 16M disk; mkfs.ext4 -q disk; mount -o loop disk copies");
        site.ok(&["init"]);
        site.ok(&["source", "add", "nfs", "homes", "--copies", "copies", "--instant-from", rule]);
        make_copies(&site, &["2026-01-01"]);
        let told = said(&site.run(&["index", "homes"], 0));
        assert!(!told.contains("lost+found"), "{told}");
        assert_eq!(instants(&site, "homes"), ["2026-01-01T00:00:00Z"], "{rule}");
    }
}

#[test]
fn what_generations_were_indexed_by_cannot_change_under_them() {
    let site = Site::new();
    site.ok(&["init"]);
    site.ok(&["source", "add", "nfs", "homes", "--copies", "copies", "--zone", "Europe/Berlin"]);
    // Nothing is indexed yet: a mistake can be mended.
    site.ok(&["source", "set", "homes", "--zone", "Europe/Rome", "--checksum", "--instant-from", "mtime"]);
    site.ok(&["source", "set", "homes", "--zone", "Europe/Berlin", "--checksum=no", "--instant-from", "name"]);
    make_copies(&site, &["2026-06-01T0800", "2026-06-01T0900"]);
    site.run(&["index", "homes"], 0);
    let settings = site.ok(&["source", "show", "homes", "--json"]);
    for (rule, value) in [
        ("--zone", "UTC"),
        ("--name-pattern", "%FT%H%M"),
        ("--instant-from", "name,mtime"),
        ("--identity", "inode"),
        ("--checksum", "yes"),
    ] {
        let told = said(&site.run(&["source", "set", "homes", rule, value], 2));
        assert!(
            told.contains(&format!(
                "cannot change {rule} of source \"homes\": its 2 generations were indexed with the present setting"
            )),
            "{told}"
        );
        assert!(told.contains("hint: asof source remove homes --force forgets them, then add it again"), "{told}");
        assert_eq!(site.ok(&["source", "show", "homes", "--json"]), settings, "nothing was changed");
    }
    // The same value, and another folder, change no rule.
    sh(&site.path(""), "mv copies/* out/");
    site.ok(&["source", "set", "homes", "--copies", "out", "--zone", "Europe/Berlin", "--identity", "path"]);
    site.run(&["index", "homes"], 0);
    assert_eq!(instants(&site, "homes"), ["2026-06-01T06:00:00Z", "2026-06-01T07:00:00Z"]);
    // What the hint says, done.
    site.ok(&["source", "remove", "homes", "--force"]);
    site.ok(&["source", "add", "nfs", "homes", "--copies", "out", "--zone", "UTC"]);
    site.run(&["index", "homes"], 0);
    assert_eq!(instants(&site, "homes"), ["2026-06-01T08:00:00Z", "2026-06-01T09:00:00Z"]);
}

#[test]
fn what_dates_the_images_of_a_disk_cannot_change_under_its_generations() {
    let site = Site::new();
    site.ok(&["init"]);
    site.ok(&["source", "add", "block", "vda", "--images", "copies", "--zone", "Europe/Berlin"]);
    site.ok(&["source", "set", "vda", "--zone", "UTC"]);
    sh(&site.path("copies"), "truncate -s 1M vda-2026-06-01T0800.raw vda-2026-02-30.raw");
    let told = said(&site.run(&["index", "vda"], 1));
    assert!(told.contains("vda-2026-02-30.raw\" has no date: \"2026-02-30\" is not a date"), "{told}");
    assert_eq!(instants(&site, "vda"), ["2026-06-01T08:00:00Z"]);
    for (rule, value) in [("--zone", "Europe/Berlin"), ("--name-pattern", "vda-%F")] {
        let told = said(&site.run(&["source", "set", "vda", rule, value], 2));
        let text =
            format!("cannot change {rule} of source \"vda\": its 1 generation was indexed with the present setting");
        assert!(told.contains(&text), "{told}");
    }
    site.ok(&["source", "set", "vda", "--consistency", "frozen"]);
    let told = said(&site.run(&["source", "add", "block", "vdb", "--images", "copies", "--zone", "Mars/Olympus"], 2));
    assert!(told.contains("no time zone is named \"Mars/Olympus\""), "{told}");
}

#[test]
fn a_source_keeps_the_name_of_its_zone_or_is_not_added() {
    let site = Site::new();
    site.ok(&["init"]);
    let add = |name: &str, zone: &str, more: &[&str]| {
        std::fs::create_dir_all(site.path(&format!("out/{name}"))).unwrap();
        let copies = format!("out/{name}");
        let mut command = site.asof(&[&["source", "add", "nfs", name, "--copies", &copies], more].concat());
        command.env("TZ", zone).output().unwrap()
    };
    let kept = |name: &str| {
        let shown: serde_json::Value = serde_json::from_str(&site.ok(&["source", "show", name, "--json"])).unwrap();
        shown["settings"]["zone"].as_str().map(str::to_owned)
    };
    for (number, (zone, name)) in [
        ("Europe/Berlin", "Europe/Berlin"),
        (":Europe/Berlin", "Europe/Berlin"),
        ("/usr/share/zoneinfo/Europe/Berlin", "Europe/Berlin"),
        ("EST5EDT", "EST5EDT"),
        ("UTC", "UTC"),
        ("", "UTC"),
    ]
    .into_iter()
    .enumerate()
    {
        let source = format!("named{number}");
        assert_eq!(add(&source, zone, &[]).status.code(), Some(0), "TZ={zone}");
        assert_eq!(kept(&source).as_deref(), Some(name), "TZ={zone}");
    }
    for (number, zone) in ["CET-1CEST,M3.5.0,M10.5.0/3", "<+03>-3", "Nonsense/Zone"].into_iter().enumerate() {
        let source = format!("unnamed{number}");
        let told = add(&source, zone, &[]);
        assert_eq!(told.status.code(), Some(2), "TZ={zone}");
        assert!(
            said(&told).contains(&format!("TZ is {zone:?}, which is not the name of a time zone")),
            "{}",
            said(&told)
        );
        assert!(said(&told).contains("hint: give it with --zone Europe/Berlin"), "{}", said(&told));
        assert_eq!(add(&source, zone, &["--zone", "Asia/Tokyo"]).status.code(), Some(0), "TZ={zone}");
        assert_eq!(kept(&source).as_deref(), Some("Asia/Tokyo"));
    }
    // A zone that is none is said where dates are read, too.
    let told = site.asof(&["resolve", "2026-07-01T02:00"]).env("TZ", "Nonsense/Zone").output().unwrap();
    assert!(
        said(&told).contains("TZ is \"Nonsense/Zone\", which is not a time zone: dates without one are read as UTC")
    );
}

#[test]
fn a_folder_of_copies_is_one_sources_alone() {
    let site = Site::with_source();
    make_copies(&site, &["2026-01-01"]);
    sh(&site.path(""), "mkdir copies/below bound; mount --bind copies bound; ln -s copies linked");
    let add = |name: &str, copies: &str, more: &[&str], code: i32| {
        said(&site.run(&[&["source", "add", "nfs", name, "--copies", copies], more].concat(), code))
    };
    for overlapping in ["copies", "copies/below", "copies/2026-01-01", ".", "linked", "bound", "bound/below"] {
        let told = add("other", overlapping, &[], 2);
        assert!(told.contains("and that of source \"homes\", ") && told.contains(", overlap"), "{overlapping}: {told}");
        assert!(told.contains("hint: each source needs a folder of its own"), "{told}");
    }
    add("other", "out", &[], 0);
    for overlapping in ["copies", "copies/below"] {
        let told = said(&site.run(&["source", "set", "other", "--copies", overlapping], 2));
        assert!(told.contains("and that of source \"homes\", "), "{told}");
    }
    // Names beside each other that are no dates to both: no conflict.
    add("etc", "copies", &["--name-pattern", "etc-%F"], 0);
    add("var", "copies", &["--name-pattern", "var-%F"], 0);
    let told = add("etc2", "copies", &["--name-pattern", "etc-%Y-%m-%d"], 2);
    assert!(told.contains("and that of source \"etc\", "), "{told}");
    add("below", "copies/below", &["--name-pattern", "below-%F"], 2);
    // Copies that a volume's generations are kept in hold only what changed.
    site.ok(&["source", "add", "gluster", "gv0", "--volume", "gv0", "--store", "live"]);
    sh(&site.path("live"), "mkdir gv0 other");
    add("tree", "live/other", &[], 0);
    assert!(add("inside", "live/gv0", &[], 2).contains("that of source \"gv0\", "));
}

#[test]
fn what_a_mount_of_asof_shows_is_no_folder_of_copies() {
    let site = Site::with_source();
    make_copies(&site, &["2026-01-01"]);
    site.ok(&["index", "homes"]);
    site.mount(&[]);
    sh(&site.path(""), "mkdir bound; mount --bind mnt/homes bound");
    for inside in ["mnt", "mnt/homes", "mnt/@2026-01-01/homes", "bound"] {
        for args in [
            &["source", "add", "nfs", "again", "--copies", inside][..],
            &["source", "add", "block", "again", "--images", inside],
            &["source", "add", "gluster", "again", "--volume", "v", "--store", inside],
            &["source", "set", "homes", "--copies", inside],
        ] {
            let told = said(&site.run(args, 2));
            assert!(told.contains("lies in a mount of asof, of the catalog "), "{args:?}: {told}");
        }
    }
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

/// Returns every path below `root`, and what files hold.
fn contents(root: &Path) -> String {
    sh(root, "find . -printf '%P %y\\n' | sort; find . -type f | sort | xargs -r grep -H ''")
}

/// Returns the nodes that the generation of `day` created, by path.
fn created(site: &Site, day: &str) -> Vec<String> {
    let query = format!(
        "SELECT path FROM changes WHERE source = 'snaps' AND taken_at = '{day}T00:00:00Z' AND what = 'created' ORDER BY path"
    );
    lines(&site.ok(&["sql", "--csv", &query])).into_iter().skip(1).map(str::to_owned).collect()
}

#[test]
fn a_directory_keeps_its_content_when_a_subvolume_takes_its_name() {
    // In front of the old name, behind it, and deeper.
    for target in ["g", "z", "deep/er/z"] {
        for order in [[1, 2, 3], [3, 2, 1], [2, 1, 3]] {
            let site = pool();
            sh(&site.path("pool/live"), "mkdir -p h/sub deep/er; echo one > h/f; echo two > h/sub/s");
            snapshot(&site, "2026-01-01");
            sh(
                &site.path("pool"),
                &format!("mv live/h live/{target}; btrfs -q subvolume create live/h; echo x > live/h/inner"),
            );
            snapshot(&site, "2026-01-02");
            sh(&site.path("pool"), &format!("btrfs -q subvolume delete live/h; mv live/{target} live/h"));
            snapshot(&site, "2026-01-03");
            for day in order {
                site.run(&["index", "snaps", &format!("pool/copies/2026-01-0{day}")], 0);
            }

            let mount = site.mount(&[]);
            for day in 1..=3 {
                let view = contents(&mount.join(format!("snaps/@2026-01-0{day}")));
                let copy = contents(&site.path(&format!("pool/copies/2026-01-0{day}")));
                assert_eq!(view, copy, "{target}, order {order:?}, day {day}");
            }
            let second = contents(&mount.join("snaps/@2026-01-02"));
            assert!(second.contains(&format!("{target}/f:one")) && second.contains("\nh d\n"), "{second}");
            assert!(!second.contains("h/"), "it holds nothing: {second}");
            // It moved: of what is in it nothing is new.
            assert_eq!(created(&site, "2026-01-02"), ["h"], "{target}, order {order:?}");
            assert_eq!(created(&site, "2026-01-03"), [] as [&str; 0], "{target}, order {order:?}");
        }
    }
}

#[test]
fn a_directory_keeps_its_content_when_something_is_mounted_where_it_was() {
    for target in ["g", "z", "deep/er/z"] {
        // Another file system, and another directory of the copy: in front of the mount point and behind it.
        for mounted in ["-t tmpfs none", "--bind a", "--bind x"] {
            let site = pool();
            sh(
                &site.path("pool/live"),
                "mkdir -p h/sub deep/er a x; echo one > h/f; echo two > h/sub/s; echo a > a/a; echo x > x/x",
            );
            snapshot(&site, "2026-01-01");
            sh(&site.path("pool/live"), &format!("mv h {target}; mkdir h"));
            snapshot(&site, "2026-01-02");
            sh(&site.path("pool/copies/2026-01-02"), &format!("mount {mounted} h"));

            site.run(&["index", "snaps"], 1);

            let mount = site.mount(&[]);
            let first = contents(&mount.join("snaps/@2026-01-01"));
            assert_eq!(first, contents(&site.path("pool/copies/2026-01-01")));
            let view = mount.join("snaps/@2026-01-02");
            let read = |path: &str| std::fs::read_to_string(view.join(path)).unwrap();
            let texts = [read(&format!("{target}/f")), read(&format!("{target}/sub/s")), read("a/a"), read("x/x")];
            assert_eq!(texts, ["one\n", "two\n", "a\n", "x\n"], "{target}, {mounted}");
            let listed = shell(&view, "ls h");
            assert!(
                said(&listed).contains("Input/output error"),
                "what is below the mount is unknown: {}",
                said(&listed)
            );
            assert_eq!(created(&site, "2026-01-02"), ["h"], "{target}, {mounted}");
        }
    }
}

#[test]
fn a_directory_that_something_is_mounted_over_is_the_same_when_that_is_gone() {
    let site = pool();
    sh(&site.path("pool/live"), "mkdir -p h/sub; echo one > h/f; echo two > h/sub/s");
    for day in ["2026-01-01", "2026-01-02", "2026-01-03"] {
        snapshot(&site, day);
    }
    sh(&site.path("pool/copies/2026-01-02"), "mount -t tmpfs none h");

    site.run(&["index", "snaps"], 1);

    let mount = site.mount(&[]);
    assert!(said(&shell(&mount, "ls snaps/@2026-01-02/h")).contains("Input/output error"));
    assert_eq!(contents(&mount.join("snaps/@2026-01-03")), contents(&site.path("pool/copies/2026-01-03")));
    assert_eq!(created(&site, "2026-01-03"), [] as [&str; 0]);
    let deleted = site.ok(&["sql", "--csv", "SELECT path FROM deleted"]);
    assert_eq!(lines(&deleted), ["path"], "it is unknown, not gone");
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
