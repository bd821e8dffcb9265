//! A catalog is lost and made again from manifests: it says the same, or what it lacks is named.
//!
//! Needs root (owners, device nodes, loop devices), and the packages e2fsprogs and attr.

#[path = "common/catalogs.rs"]
mod catalogs;
#[path = "common/silent.rs"]
mod silent;
#[path = "common/site.rs"]
mod site;

use asof::catalog::Reader;
use catalogs::{asked, differences};
use silent::Silent;
use site::{Site, as_nobody, said, sh};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};

/// 2026-11-01T00:00:00Z.
const FIRST: i64 = 1_793_491_200;
const DAY: i64 = 86_400;
/// All trees.
const TREES: &str = "SELECT taken_at, path, kind, size_bytes, mtime_unix, mtime_ns, mode, uid, gid, nlink, link_target, has_acl, node FROM files";
const XATTRS: &str = "SELECT taken_at, path, attribute, value_raw FROM xattrs";

/// Makes four copies that differ in every way that a share can.
fn make_copies(site: &Site) {
    sh(
        &site.path("live"),
        r"
        mkdir -p a/b c && echo one > a/one && echo two > a/b/two && ln a/one a/b/one-again && ln -s ../a/one c/link
        mkfifo c/pipe && mknod c/null c 1 3 && mknod c/disk b 7 9 && truncate -s 1M a/hole && echo end >> a/hole
        setfattr -n user.color -v red a/one && setfattr -n user.empty c && setfacl -m u:7:rwx a
        printf x > $'odd\nname\\' && printf y > $'\xff\xfe' && chown 12:34 a/b/two && chmod 4755 a/b/two
        touch -d 2026-10-01T00:00:00.123456789 a/b/two && touch -h -d 1969-12-31T00:00:00.5Z c/link
        cp -a . ../copies/2026-11-01
        mv a/b a/moved && echo more >> a/one && rm c/pipe && setfattr -x user.color a/one && mkdir d && mknod d/null c 1 5
        cp -a . ../copies/2026-11-02
        rm -r c && ln -s /nowhere c && echo new > d/new && rm a/moved/one-again && ln a/one d/one && chmod 700 d
        cp -a . ../copies/2026-11-03
        rm c && mkdir c && mv a/moved a/b && echo changed > $'\xff\xfe' && setfattr -n user.color -v blue a/one && rm a/hole
        cp -a . ../copies/2026-11-04",
    );
    sh(&site.path(""), "cp -a copies copies-sums; cp -a copies copies-snaps; mv copies copies-homes");
}

/// Three sources over the same copies, each with another rule; the second copy is indexed last.
fn index_all(site: &Site) {
    site.ok(&["init"]);
    for (name, rule) in [("homes", [].as_slice()), ("sums", &["--checksum"]), ("snaps", &["--identity", "inode"])] {
        let copies = site.path(&format!("copies-{name}")).display().to_string();
        site.ok(&[&["source", "add", "nfs", name, "--copies", &copies], rule].concat());
        for copy in ["2026-11-01", "2026-11-03", "2026-11-04", "2026-11-02"] {
            site.ok(&["index", name, &format!("copies-{name}/{copy}")]);
        }
    }
}

fn rebuild(site: &Site, more: &[&str], code: i32) -> String {
    let into: &[&str] = if more.contains(&"--into") { &[] } else { &["--into", "new.db"] };
    said(&site.run(&[&["rebuild"], into, more].concat(), code))
}

/// Returns the manifests of a source beside the catalog, in the order of their sequences.
fn manifests(site: &Site, source: &str) -> Vec<PathBuf> {
    let uuid = Reader::open(&site.path("catalog.db")).unwrap().source(source).unwrap().uuid.unwrap();
    let folder = site.path("catalog.db-manifests").join(asof::store::uuid_text(&uuid));
    let names = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name());
    let count = names.filter(|name| !name.as_encoded_bytes().starts_with(b".")).count();
    (1..=count).map(|sequence| folder.join(format!("{sequence}.manifest"))).collect()
}

/// What stands beside the new catalog when a run is over.
fn left_beside(site: &Site) -> Vec<String> {
    let names =
        std::fs::read_dir(site.path("")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name.starts_with("new.db")).collect();
    names.sort();
    names
}

#[test]
fn a_lost_catalog_of_shares_is_made_again_as_it_was() {
    let site = Site::new();
    make_copies(&site);
    index_all(&site);
    let said = rebuild(&site, &[], 0);
    let folder = site.path("catalog.db-manifests");
    let expected = format!("made the catalog \"new.db\" from the manifests in {folder:?}: 3 sources, 12 generations");
    assert!(said.contains(&expected), "{said}");
    assert_eq!(left_beside(&site), ["new.db", "new.db-manifests"]);
    assert_eq!(differences(&site.path("catalog.db"), &site.path("new.db")), Vec::<String>::new());
    site.ok(&["--catalog", "new.db", "check", "--deep"]);
    // The new one goes on: the next copy is a generation with the next number in both.
    sh(&site.path(""), "echo later > live/later && cp -a live copies-homes/2026-11-05");
    site.ok(&["index", "homes"]);
    site.ok(&["--catalog", "new.db", "index", "homes"]);
    let but = |line: &String| {
        // It was indexed at another moment.
        !line.contains("generation") && !line.contains("copy")
    };
    let found: Vec<String> =
        differences(&site.path("catalog.db"), &site.path("new.db")).into_iter().filter(but).collect();
    assert_eq!(found, Vec::<String>::new());
    let numbers =
        "SELECT max(number), max(sequence) FROM generation g JOIN source s ON s.id = g.source WHERE s.name = 'homes'";
    assert_eq!(asked(&site.path("new.db"), numbers), ["5|5"]);
}

#[test]
fn manifests_can_be_read_by_their_owner_only() {
    let site = Site::new();
    make_copies(&site);
    index_all(&site);
    let modes = sh(&site.path(""), "find catalog.db-manifests -printf '%m %y\n' | sort | uniq -c | sed 's/^ *//'");
    assert_eq!(modes, "15 600 f\n4 700 d\n");
}

#[test]
fn what_was_forgotten_or_indexed_again_is_so_in_the_new_catalog() {
    let site = Site::new();
    make_copies(&site);
    index_all(&site);
    site.ok(&["forget", "homes@2026-11-02"]);
    sh(&site.path("copies-homes"), "echo other > 2026-11-03/d/new && rm 2026-11-03/a/one");
    site.run(&["index", "homes@2026-11-03", "--again"], 0);
    // One that counts from what was indexed again, one that is forgotten at either end, and one that comes after that.
    sh(
        &site.path(""),
        "cp -a live copies-homes/2026-11-05 && rm -r copies-homes/2026-11-05/a && cp -a live copies-homes/2026-11-06",
    );
    site.ok(&["index", "homes", "copies-homes/2026-11-05"]);
    site.ok(&["forget", "homes@2026-11-05"]);
    site.ok(&["forget", "homes@2026-11-01"]);
    site.ok(&["index", "homes", "copies-homes/2026-11-06"]);
    let said = rebuild(&site, &[], 0);
    assert!(said.contains("3 sources, 11 generations"), "{said}");
    assert_eq!(differences(&site.path("catalog.db"), &site.path("new.db")), Vec::<String>::new());
    let taken = "SELECT g.taken_at, g.number, g.sequence FROM generation g JOIN source s ON s.id = g.source WHERE s.name = 'homes'";
    let days = |day: i64, rest: &str| format!("{}|{rest}", FIRST + day * DAY);
    assert_eq!(asked(&site.path("new.db"), taken), [days(2, "2|5"), days(3, "3|3"), days(5, "6|7")]);
}

#[test]
fn what_was_kept_as_unknown_is_so_in_the_new_catalog() {
    let site = Site::new();
    make_copies(&site);
    site.ok(&["init"]);
    for (name, rule) in [("homes", [].as_slice()), ("snaps", &["--identity", "inode"])] {
        let copies = site.path(&format!("copies-{name}")).display().to_string();
        site.ok(&[&["source", "add", "nfs", name, "--copies", &copies], rule].concat());
    }
    let done = |args: &[&str]| {
        let output = site.asof(args).output().expect("the program starts");
        assert!(matches!(output.status.code(), Some(0 | 1)), "{args:?}: {}", said(&output));
    };
    let count = |catalog: &str, what: &str| asked(&site.path(catalog), &format!("SELECT count(*) > 0 FROM {what}"));
    let is_as_it_was = |when: &str| {
        sh(&site.path(""), "rm -f new.db new.db-wal new.db-shm");
        let _ = std::fs::remove_dir_all(site.path("new.db-manifests"));
        let said = rebuild(&site, &[], 0);
        assert_eq!(differences(&site.path("catalog.db"), &site.path("new.db")), Vec::<String>::new(), "{when}: {said}");
        site.ok(&["--catalog", "new.db", "check", "--deep"]);
        site.ok(&["check", "--deep"]);
    };
    // Another file system hides what is in two directories of the second and the third copy.
    let hidden = "for dir in copies-{homes,snaps}/2026-11-0{2/a,2/c,3/a,3/d}; do";
    sh(&site.path(""), &format!("{hidden} mount -t tmpfs none $dir; done"));
    for name in ["homes", "snaps"] {
        for copy in ["2026-11-01", "2026-11-03", "2026-11-04"] {
            done(&["index", name, &format!("copies-{name}/{copy}")]);
        }
    }
    for table in ["doubt", "kept", "files WHERE unknown"] {
        assert_eq!(count("catalog.db", table), ["1"], "{table}");
    }
    is_as_it_was("after three");
    // What the third one keeps follows one that is put in before it, and is what was there when that is gone.
    for name in ["homes", "snaps"] {
        done(&["index", name, &format!("copies-{name}/2026-11-02")]);
    }
    is_as_it_was("after one in between");
    done(&["forget", "homes@2026-11-01"]);
    done(&["forget", "snaps@2026-11-02"]);
    is_as_it_was("after two were forgotten");
    sh(&site.path(""), "umount copies-{homes,snaps}/2026-11-0{2/a,2/c,3/d}");
    for name in ["homes@2026-11-03", "snaps@2026-11-03", "homes@2026-11-02"] {
        done(&["index", name, "--again"]);
    }
    is_as_it_was("after three were indexed again");
    let error = site.asof(&["--catalog", "new.db", "ls", "snaps:a", "--at", "2026-11-03"]).output().expect("it starts");
    assert!(said(&error).contains("cannot be listed"), "{}", said(&error));
    sh(&site.path(""), "umount copies-{homes,snaps}/2026-11-03/a");
}

#[test]
fn a_damaged_manifest_is_named_with_all_that_count_from_it_and_the_rest_is_there() {
    let site = Site::new();
    make_copies(&site);
    index_all(&site);
    let all = manifests(&site, "homes");
    assert_eq!(all.len(), 4);
    // In the order of sequences: 1, 3, 4 and 2 of November.
    for (hurt, what, kept) in [
        ("truncate -s -3", "it ends after", [0, 1].as_slice()),
        ("printf '\\x55' | dd status=none conv=notrunc bs=1 seek=200 of=", "it is", &[0, 1]),
        ("cp /etc/passwd", "it is no manifest of asof", &[0, 1]),
    ] {
        let victim = all[1].display().to_string();
        sh(&site.path(""), &format!("cp -a {victim} kept"));
        let glue = if hurt.ends_with('=') { "" } else { " " };
        sh(&site.path(""), &format!("{hurt}{glue}{victim}"));
        let said = rebuild(&site, &[], 1);
        let line = format!("cannot use {victim:?}: {what}");
        assert!(said.contains(&line), "{hurt}\n{said}");
        let base = "it counts from the generation of 2026-11-03T00:00:00Z, manifest 2, which is not there";
        let left =
            format!("left out 2026-11-04T00:00:00Z of \"homes\", manifest {:?}: {base}", all[2].display().to_string());
        assert!(said.contains(&left), "{hurt}\n{said}");
        assert!(said.contains("3 sources, 10 generations"), "{hurt}\n{said}");
        assert_eq!(left_beside(&site), ["new.db", "new.db-manifests"]);
        let taken = "SELECT g.taken_at FROM generation g JOIN source s ON s.id = g.source WHERE s.name = 'homes'";
        let days: Vec<String> = kept.iter().map(|day| (FIRST + day * DAY).to_string()).collect();
        assert_eq!(asked(&site.path("new.db"), taken), days, "{hurt}");
        sh(&site.path(""), &format!("mv kept {victim} && rm -r new.db*"));
    }
    assert!(rebuild(&site, &[], 0).contains("12 generations"));
}

#[test]
fn a_missing_manifest_is_told_by_its_number() {
    let site = Site::new();
    make_copies(&site);
    index_all(&site);
    let all = manifests(&site, "sums");
    std::fs::remove_file(&all[2]).unwrap();
    let said = rebuild(&site, &[], 1);
    // The one that was put in late counts from the first, and says which was the last before it.
    assert!(said.contains("manifest 3 of \"sums\" is missing"), "{said}");
    assert!(!said.contains("left out"), "{said}");
    assert!(said.contains("3 sources, 11 generations"), "{said}");
    let taken =
        "SELECT g.taken_at, g.sequence FROM generation g JOIN source s ON s.id = g.source WHERE s.name = 'sums'";
    let day = |day: i64, sequence: i64| format!("{}|{sequence}", FIRST + day * DAY);
    assert_eq!(asked(&site.path("new.db"), taken), [day(0, 1), day(1, 4), day(2, 2)]);
}

#[test]
fn a_second_place_gives_back_what_the_first_has_lost() {
    let site = Site::new();
    make_copies(&site);
    let [copies, second] = ["copies-homes", "second"].map(|name| site.path(name).display().to_string());
    std::fs::create_dir(&second).unwrap();
    site.ok(&["init"]);
    // It is on the catalog's file system, which is said.
    let added = said(&site.run(&["source", "add", "nfs", "homes", "--copies", &copies, "--manifests", &second], 0));
    assert!(added.contains("is on the same file system as the catalog: one lost disk takes both"), "{added}");
    site.ok(&["index", "homes", "copies-homes/2026-11-01"]);
    sh(&site.path(""), "mv second away");
    let lacking = said(&site.run(&["index", "homes", "copies-homes/2026-11-02"], 1));
    assert_eq!(lacking.matches(&format!("the second place {second:?} lacks manifests")).count(), 1, "{lacking}");
    sh(&site.path(""), "mv away second");
    let name = |path: &PathBuf| path.file_name().unwrap().to_owned();
    let all = manifests(&site, "homes");
    let folder = site.path("second").join(all[0].parent().unwrap().file_name().unwrap());
    let is_all = || manifests(&site, "homes").iter().all(|path| folder.join(name(path)).is_file());
    assert!(!is_all());
    site.ok(&["index", "homes", "copies-homes/2026-11-03"]);
    let all = manifests(&site, "homes");
    assert!(is_all());
    // One is damaged: the other is used. All are lost: the second place is named, or found in the first manifest.
    sh(&site.path(""), &format!("truncate -s 100 {}", all[1].display()));
    let damaged = rebuild(&site, &[], 1);
    assert!(damaged.contains(&format!("{:?} was used", folder.join(name(&all[1])))), "{damaged}");
    assert_eq!(differences(&site.path("catalog.db"), &site.path("new.db")), Vec::<String>::new());
    sh(&site.path(""), "rm -r new.db* catalog.db-manifests");
    assert!(rebuild(&site, &["second"], 0).contains("1 source, 3 generations"));
    assert_eq!(differences(&site.path("catalog.db"), &site.path("new.db")), Vec::<String>::new());
    // They are beside the new one, for the next time.
    sh(&site.path(""), "rm -r second");
    let again = said(&site.run(&["--catalog", "new.db", "rebuild", "--into", "newer.db"], 0));
    assert!(again.contains("1 source, 3 generations"), "{again}");
    site.ok(&["source", "set", "homes", "--manifests", ""]);
    site.ok(&["index", "homes", "copies-homes/2026-11-04"]);
}

#[test]
fn sources_of_two_catalogs_with_the_same_numbers_come_into_one() {
    let site = Site::new();
    make_copies(&site);
    let copies = site.path("copies-homes").display().to_string();
    for (catalog, copy) in [("one.db", "2026-11-01"), ("two.db", "2026-11-04")] {
        for words in [
            ["init"].as_slice(),
            &["source", "add", "nfs", "homes", "--copies", &copies],
            &["index", "homes", &format!("copies-homes/{copy}")],
        ] {
            site.ok(&[&["--catalog", catalog], words].concat());
        }
    }
    let files = |name: &str| {
        format!(
            "SELECT path, kind, size_bytes, mtime_unix, mtime_ns, mode, uid, gid, nlink, link_target, has_acl FROM files WHERE source = '{name}'"
        )
    };
    let [one, two] = ["one.db", "two.db"].map(|catalog| asked(&site.path(catalog), &files("homes")));
    // A new one: the source that was indexed last keeps the name.
    let told = rebuild(&site, &["one.db-manifests", "two.db-manifests"], 0);
    assert!(told.contains("a second source \"homes\" is called \"homes-2\""), "{told}");
    assert!(told.contains("has other node numbers, which another source had"), "{told}");
    assert!(told.contains("2 sources, 2 generations"), "{told}");
    assert_eq!(asked(&site.path("new.db"), &files("homes")), two);
    assert_eq!(asked(&site.path("new.db"), &files("homes-2")), one);
    assert_eq!(asked(&site.path("new.db"), "SELECT count(DISTINCT root) FROM source"), ["2"]);
    // One that is there: what it has stays, and the second time there is nothing to do.
    let into_two = ["--catalog", "two.db", "rebuild", "one.db-manifests"];
    let told = said(&site.run(&into_two, 0));
    assert!(told.contains("went on with the catalog \"two.db\""), "{told}");
    assert_eq!(asked(&site.path("two.db"), &files("homes")), two);
    assert_eq!(asked(&site.path("two.db"), &files("homes-2")), one);
    let told = said(&site.run(&into_two, 0));
    assert!(told.contains("the catalog \"two.db\" lacks nothing"), "{told}");
    // Manifests of the source that has other numbers now say these, and go with those that it gets from now on.
    site.ok(&["--catalog", "two.db", "index", "homes-2", "copies-homes/2026-11-02"]);
    let told = said(&site.run(&["--catalog", "two.db", "rebuild", "--into", "three.db"], 0));
    assert!(told.contains("2 sources, 3 generations"), "{told}");
    assert_eq!(differences(&site.path("two.db"), &site.path("three.db")), Vec::<String>::new());
}

#[test]
fn a_catalog_from_a_backup_gets_what_came_after_it() {
    let site = Site::new();
    make_copies(&site);
    index_all(&site);
    sh(&site.path(""), "cp catalog.db old.db && cp catalog.db diverged.db");
    site.ok(&["forget", "homes@2026-11-02"]);
    sh(&site.path(""), "echo other > copies-homes/2026-11-03/d/new && cp -a live copies-homes/2026-11-05");
    site.ok(&["index", "homes@2026-11-03", "--again"]);
    site.ok(&["index", "homes", "copies-homes/2026-11-05"]);
    sh(&site.path(""), "mkdir copies-late && cp -a live copies-late/2026-11-06");
    let late = site.path("copies-late").display().to_string();
    site.ok(&["source", "add", "nfs", "late", "--copies", &late]);
    site.ok(&["index", "late"]);
    let told = said(&site.run(&["rebuild", "--into", "old.db"], 0));
    assert!(told.contains("went on with the catalog \"old.db\""), "{told}");
    assert!(told.contains("4 sources, 3 generations"), "{told}");
    assert_eq!(differences(&site.path("catalog.db"), &site.path("old.db")), Vec::<String>::new());
    site.ok(&["--catalog", "old.db", "check", "--deep"]);
    // One that went on by itself keeps what it has; what does not go with that is named.
    sh(&site.path(""), "cp -a live copies-homes/2026-11-07");
    site.ok(&["--catalog", "diverged.db", "index", "homes", "copies-homes/2026-11-07"]);
    let told = said(&site.run(&["rebuild", "--into", "diverged.db"], 1));
    for (day, why) in [
        (3, "the catalog knows later ones of its source: only a new catalog can have it"),
        (5, "it does not know the generation of 2026-11-07T00:00:00Z, which the catalog has"),
    ] {
        let left = format!("left out 2026-11-{day:02}T00:00:00Z of \"homes\"");
        assert!(told.contains(&left) && told.contains(why), "{told}");
    }
    let taken = "SELECT g.taken_at FROM generation g JOIN source s ON s.id = g.source WHERE s.name = 'homes'";
    let days = [0, 1, 2, 3, 6].map(|day| (FIRST + day * DAY).to_string());
    assert_eq!(asked(&site.path("diverged.db"), taken), days);
    site.ok(&["--catalog", "diverged.db", "check", "--deep"]);
}

#[test]
fn a_source_that_was_removed_stays_so_and_one_of_the_same_name_keeps_it() {
    let site = Site::new();
    make_copies(&site);
    index_all(&site);
    let uuid = Reader::open(&site.path("catalog.db")).unwrap().source("homes").unwrap().uuid.unwrap();
    site.ok(&["source", "remove", "homes", "--force"]);
    site.ok(&["source", "add", "nfs", "homes", "--copies", &site.path("copies-homes").display().to_string()]);
    site.ok(&["index", "homes", "copies-homes/2026-11-04"]);
    let told = rebuild(&site, &[], 0);
    assert!(told.contains("source \"homes\" was removed, and stays so"), "{told}");
    assert_eq!(
        asked(&site.path("new.db"), "SELECT source, count(*) FROM generations GROUP BY 1"),
        ["homes|1", "snaps|4", "sums|4"]
    );
    assert_eq!(differences(&site.path("catalog.db"), &site.path("new.db")), Vec::<String>::new());
    // Into the catalog that is there it does not come back either, until it is asked for.
    rebuild(&site, &["--into", "catalog.db"], 0);
    let marker = site.path("catalog.db-manifests").join(asof::store::uuid_text(&uuid)).join("removed");
    std::fs::remove_file(marker).unwrap();
    sh(&site.path(""), "rm -r new.db*");
    assert!(rebuild(&site, &[], 0).contains("a second source \"homes\" is called \"homes-2\""));
}

#[test]
fn a_log_of_the_lost_catalog_is_not_mixed_into_the_new_one() {
    let site = Site::new();
    make_copies(&site);
    index_all(&site);
    sh(&site.path(""), "printf old > new.db-wal");
    let told = rebuild(&site, &[], 2);
    assert!(told.contains("new.db-wal\" is still there, of a catalog that was here; move it away"), "{told}");
    assert!(!site.path("new.db").exists());
}

/// Puts the catalog back as it was when `before.db` was made.
fn put_back(site: &Site) {
    sh(&site.path(""), "rm -f catalog.db catalog.db-wal catalog.db-shm; cp before.db catalog.db; chmod 600 catalog.db");
}

/// Makes a copy of one file on a day of November.
fn one_file(site: &Site, day: u32, name: &str) -> String {
    let copy = format!("copies-homes/2026-11-{day:02}");
    sh(&site.path(""), &format!("mkdir -p {copy} && echo {name} > {copy}/{name}"));
    copy
}

/// Returns the names of all files of a catalog with the days on which they are there.
fn names_by_day(site: &Site, catalog: &str) -> Vec<String> {
    let sql = "SELECT substr(taken_at, 9, 2) || ' ' || group_concat(path) FROM \
               (SELECT taken_at, path FROM files WHERE kind = 'file' ORDER BY taken_at, path) GROUP BY taken_at";
    asked(&site.path(catalog), sql)
}

/// A site with a second place whose catalog was backed up after the first night.
fn backed_up() -> Site {
    let site = Site::new();
    sh(&site.path(""), "mkdir copies-homes second");
    let [copies, second] = ["copies-homes", "second"].map(|name| site.path(name).display().to_string());
    site.ok(&["init"]);
    site.run(&["source", "add", "nfs", "homes", "--copies", &copies, "--manifests", &second], 0);
    site.ok(&["index", "homes", &one_file(&site, 1, "a")]);
    sh(&site.path(""), "sqlite3 catalog.db '.backup before.db'");
    site
}

#[test]
fn a_catalog_that_was_put_back_gives_no_number_out_again_and_says_what_it_does_not_know() {
    let site = backed_up();
    site.ok(&["index", "homes", &one_file(&site, 2, "old-b")]);
    sh(&site.path(""), "cp -a copies-homes/2026-11-02 copies-homes/2026-11-03; echo c > copies-homes/2026-11-03/c");
    site.ok(&["index", "homes", "copies-homes/2026-11-03"]);
    put_back(&site);
    sh(&site.path(""), "rm -r copies-homes/2026-11-0[23]");
    let told = said(&site.run(&["index", "homes", &one_file(&site, 2, "new-b")], 1));
    assert!(told.contains("does not know manifest 3 of \"homes\"") && told.contains("3.manifest"), "{told}");
    site.ok(&["index", "homes"]);
    site.ok(&["check", "--deep"]);
    let folder = manifests(&site, "homes")[0].parent().unwrap().to_owned();
    for number in [1, 2, 3, 5] {
        assert!(folder.join(format!("{number}.manifest")).is_file(), "{number}");
    }
    // What the other catalog wrote of that night gives way to what was written last, and its next night is what it was.
    let told = rebuild(&site, &[], 1);
    assert!(
        told.contains("2.manifest\": manifest 5, which came later, has the generation of that time: it was used"),
        "{told}"
    );
    assert_eq!(names_by_day(&site, "new.db"), ["01 a", "02 new-b", "03 c,old-b"]);
    site.ok(&["--catalog", "new.db", "check", "--deep"]);
    // Indexed before that, nothing of it is lost.
    put_back(&site);
    sh(&site.path(""), &format!("rm -r second {0}/.*.newest; mv {0}/5.manifest kept", folder.display()));
    let told = said(&site.run(&["rebuild"], 0));
    assert!(told.contains("1 source, 2 generations"), "{told}");
    assert_eq!(names_by_day(&site, "catalog.db"), ["01 a", "02 old-b", "03 c,old-b"]);
}

#[test]
fn no_two_generations_have_one_number_after_a_catalog_was_put_back() {
    let site = backed_up();
    sh(&site.path(""), "mkdir copies-homes/2026-10-31; echo z > copies-homes/2026-10-31/z");
    site.ok(&["index", "homes", "copies-homes/2026-10-31"]);
    put_back(&site);
    // The second generation of each of the two catalogs, and neither is in the way of the other.
    site.run(&["index", "homes", &one_file(&site, 2, "b")], 1);
    rebuild(&site, &[], 0);
    assert_eq!(names_by_day(&site, "new.db"), ["01 a", "02 b", "31 z"]);
    let numbers = "SELECT group_concat(number) FROM (SELECT number FROM generations ORDER BY taken_at)";
    assert_eq!(asked(&site.path("new.db"), numbers), ["2,1,3"]);
    site.ok(&["--catalog", "new.db", "check", "--deep"]);
}

#[test]
fn what_a_replaced_catalog_forgot_is_not_forgotten_by_the_one_that_took_its_place() {
    let site = backed_up();
    site.ok(&["index", "homes", &one_file(&site, 2, "b")]);
    site.ok(&["forget", "homes@2026-11-02"]);
    put_back(&site);
    site.run(&["index", "homes", "copies-homes/2026-11-02"], 1);
    for places in [[].as_slice(), &["second"]] {
        sh(&site.path(""), "rm -rf new.db*");
        rebuild(&site, places, 0);
        assert_eq!(names_by_day(&site, "new.db"), ["01 a", "02 b"]);
    }
}

#[test]
fn what_a_user_left_in_a_copy_is_no_manifest() {
    let site = Site::new();
    sh(
        &site.path(""),
        r#"mkdir -p copies-homes/2026-11-01/eve images theirs && truncate -s 1M img
        for who in ours theirs; do printf '#!/bin/sh\ncp %s/img "$ASOF_IMAGE"\n' "$PWD" > $who.cmd; done; chmod 755 *.cmd"#,
    );
    let path = |name: &str| site.path(name).display().to_string();
    let disk = |catalog: &str, images: &str, command: &str| {
        let (images, command) = (path(images), path(command));
        site.ok(&["--catalog", catalog, "init"]);
        let add = ["source", "add", "block", "db01", "--images", &images, "--format", "raw", "--snapshot", &command];
        site.ok(&[&["--catalog", catalog], add.as_slice()].concat());
        site.run(&["--catalog", catalog, "take", "db01"], 0);
    };
    disk("catalog.db", "images", "ours.cmd");
    site.ok(&["source", "add", "nfs", "homes", "--copies", &path("copies-homes")]);
    site.ok(&["index", "homes"]);
    // Who has a home on the share makes a source of the same name, a moment later.
    sh(&site.path(""), "sleep 1.1");
    disk("theirs.db", "theirs", "theirs.cmd");
    let plant = |owner: &str, folder: &str, mode: &str| {
        let copies = path(&format!("copies-homes/{folder}"));
        sh(
            &site.path(""),
            &format!(
                "rm -f copies-homes/2026-11-01/*.manifest copies-homes/2026-11-01/eve/*; cp theirs/*.manifest {copies}; chown -R {owner} {copies}/*.manifest; chmod {mode} {copies}/*.manifest"
            ),
        );
    };
    let snapshot = |catalog: &str| {
        asked(&site.path(catalog), "SELECT json_extract(settings, '$.snapshot') FROM source WHERE kind = 'block'")
    };
    for (owner, folder, mode) in [("4321:4321", "2026-11-01", "600"), ("root:root", "2026-11-01", "666")] {
        plant(owner, folder, mode);
        let told = rebuild(&site, &["copies-homes", "images"], 1);
        assert!(told.contains("it belongs to another user, or everybody can write to it"), "{told}");
        assert!(told.contains(&format!("asof take db01 will run {:?}", path("ours.cmd"))), "{told}");
        assert_eq!(snapshot("new.db"), [path("ours.cmd")]);
        sh(&site.path(""), "rm -r new.db*");
    }
    // Below a directory of hers nothing is looked for.
    sh(&site.path(""), "chown 4321:4321 copies-homes/2026-11-01/eve");
    plant("root:root", "2026-11-01/eve", "600");
    let told = rebuild(&site, &["copies-homes", "images"], 0);
    assert!(!told.contains("theirs.cmd"), "{told}");
    assert_eq!(snapshot("new.db"), [path("ours.cmd")]);
    sh(&site.path(""), "rm -r new.db*");
    // Where a copy does not keep its owners, what it brings is told, and what is known to be ours keeps its name.
    sh(&site.path(""), "mkdir -p catalog.db-manifests/kept && cp images/*.manifest catalog.db-manifests/kept");
    plant("root:root", "2026-11-01", "600");
    let told = rebuild(&site, &["copies-homes", "images"], 0);
    assert!(told.contains("a second source \"db01\" is called \"db01-2\""), "{told}");
    assert!(told.contains(&format!("asof take db01-2 will run {:?}", path("theirs.cmd"))), "{told}");
    assert!(told.contains(&format!("asof take db01 will run {:?}", path("ours.cmd"))), "{told}");
}

/// What lies beside a catalog says which commands are run once that is lost.
#[test]
fn a_folder_of_manifests_that_somebody_else_made_is_used_by_no_verb() {
    let site = Site::new();
    site.let_everybody_pass();
    sh(&site.path(""), "mkdir open copies/2026-11-18; chmod 1777 open; echo one > copies/2026-11-18/f");
    let run = |args: &[&str], code| said(&site.run(&[&["--catalog", "open/c.db"], args].concat(), code));
    let plants = [
        ("mkdir -m 700 c.db-manifests", "it belongs to user 65534, who could put there what he likes"),
        ("mkdir real; ln -s real c.db-manifests", "it is a symbolic link"),
        ("mkfifo c.db-manifests", "it is a fifo"),
    ];
    let is_refused = |plant: &str, why: &str, verbs: &[&[&str]]| {
        let planted = as_nobody(&site.path("open"), plant);
        assert!(planted.status.success(), "{}", said(&planted));
        for verb in verbs {
            let told = run(verb, 2);
            assert!(told.contains("open/c.db-manifests\"") && told.contains(why), "{verb:?}: {told}");
        }
        sh(&site.path("open"), "rm -r c.db-manifests");
    };
    for (plant, why) in plants {
        is_refused(plant, why, &[&["init"], &["rebuild"]]);
    }
    assert_eq!(sh(&site.path("open"), "ls -A"), "real\n");
    run(&["init"], 0);
    run(&["source", "add", "nfs", "homes", "--copies", &site.path("copies").display().to_string()], 0);
    run(&["index", "homes"], 0);
    sh(&site.path("open"), "mv c.db-manifests ours; rm -r real");
    for (plant, why) in plants {
        is_refused(
            plant,
            why,
            &[&["index"], &["forget", "homes@2026-11-18"], &["rebuild"], &["source", "remove", "homes"]],
        );
    }
    // One that root has, and that everybody may write to.
    sh(&site.path("open"), "mkdir -m 1777 c.db-manifests");
    let told = run(&["index"], 2);
    assert!(told.contains("it can be written to by everybody"), "{told}");
    sh(&site.path("open"), "rmdir c.db-manifests; mv ours c.db-manifests; rm c.db");
    assert!(run(&["rebuild"], 0).contains("1 source, 1 generation"));
    run(&["ls", "homes@2026-11-18"], 0);
}

/// Whoever writes manifests brings his tree in, and runs nothing as root.
#[test]
fn what_another_user_wrote_comes_in_without_its_commands_and_stays_so() {
    let site = Site::new();
    site.let_everybody_pass();
    sh(
        &site.path(""),
        r#"mkdir -m 755 his his/images his/second; truncate -s 1M his/images/2026-11-18.raw; cp "$ASOF" his/asof
        printf '#!/bin/sh\nid > %s/ran\n' "$PWD" > his/run; chmod 755 his/run; chown -R 65534:65534 his"#
            .replace("$ASOF", env!("CARGO_BIN_EXE_asof"))
            .as_str(),
    );
    let his = as_nobody(
        &site.path("his"),
        "export ASOF_CATALOG=$PWD/c.db HOME=$PWD; ./asof init
         ./asof source add block db01 --images $PWD/images --format raw --pre $PWD/run --snapshot $PWD/run --manifests $PWD/second
         ./asof index db01",
    );
    assert!(his.status.success(), "{}", said(&his));
    let settings = |catalog: &str| asked(&site.path(catalog), "SELECT settings, policy FROM source");
    let (told, path) = (rebuild(&site, &["his/second"], 1), |name: &str| site.path(name));
    let kept = format!(
        "not taken over to \"db01\", since user 65534 wrote its newest manifest or could have: --pre {0:?}, --snapshot {0:?}, --manifests {1:?}\n\
         hint: asof source set db01 --pre VALUE sets what is yours of it\n",
        path("his/run"),
        path("his/second")
    );
    assert!(told.contains(&kept) && !told.contains("will run"), "{told}");
    let is_disarmed = || {
        let settings = settings("new.db").concat();
        settings.contains("his/images") && !settings.contains("his/run") && !settings.contains("his/second")
    };
    assert!(is_disarmed(), "{:?}", settings("new.db"));
    site.run(&["--catalog", "new.db", "ls", "db01@2026-11-18"], 0);
    site.run(&["--catalog", "new.db", "take", "db01"], 2);
    // The copy beside the new catalog is no manifest of root's either.
    sh(&site.path(""), "mv his away; rm new.db");
    let told = said(&site.run(&["--catalog", "new.db", "rebuild"], 1));
    assert!(told.contains("1 source, 1 generation") && told.contains("--snapshot"), "{told}");
    assert!(is_disarmed(), "{:?}", settings("new.db"));
    assert!(!site.path("ran").exists());
    // He himself gets them.
    let his = as_nobody(&site.path("away"), "export HOME=$PWD; ./asof --catalog d.db rebuild second");
    assert!(said(&his).contains("asof take db01 will run"), "{}", said(&his));
}

#[test]
fn a_file_that_is_called_by_the_last_number_there_is_stops_no_run() {
    let site = backed_up();
    sh(
        &site.path(""),
        "for folder in second/* catalog.db-manifests/*; do touch $folder/9223372036854775806.manifest; done",
    );
    for day in [2, 3] {
        site.ok(&["index", "homes", &one_file(&site, day, "b")]);
    }
    assert_eq!(asked(&site.path("catalog.db"), "SELECT last_sequence FROM source"), ["3"]);
}

#[test]
fn a_second_place_that_was_away_gets_what_it_lacks_by_a_run_that_indexes_nothing() {
    let site = backed_up();
    sh(&site.path(""), "mv second away");
    site.run(&["index", "homes", &one_file(&site, 2, "b")], 1);
    sh(&site.path(""), "mv away second");
    let told = said(&site.run(&["index", "homes", "copies-homes/2026-11-02"], 0));
    assert!(told.contains("is indexed already"), "{told}");
    sh(&site.path(""), "diff -r catalog.db-manifests second");
}

#[test]
fn a_second_place_whose_disk_is_not_mounted_is_told_and_nothing_is_written_below_it() {
    let site = backed_up();
    let second = site.path("second").display().to_string();
    sh(&site.path(""), "rm -r second; mkdir second; mount -t tmpfs none second");
    assert_eq!(said(&site.run(&["source", "set", "homes", "--manifests", &second], 0)), "\nchanged source \"homes\"\n");
    site.ok(&["index", "homes", &one_file(&site, 2, "b")]);
    sh(&site.path(""), "mkdir aside; cp -a second/. aside; umount second");
    for copy in [&one_file(&site, 3, "c"), "copies-homes/2026-11-03"] {
        let told = said(&site.run(&["index", "homes", copy], 1));
        let away =
            format!("the second place {second:?} is on the file system of the catalog, and was not when it was set");
        assert_eq!(told.matches(&away).count(), 1, "{told}");
        assert_eq!(sh(&site.path("second"), "ls -A"), "");
    }
    sh(&site.path(""), "mount -t tmpfs none second; cp -a aside/. second");
    site.ok(&["index", "homes", "copies-homes/2026-11-03"]);
    sh(&site.path(""), "diff -r catalog.db-manifests second; umount second");
    // What is there is taken as it is when somebody says so.
    site.run(&["index", "homes", "copies-homes/2026-11-03"], 1);
    let told = said(&site.run(&["source", "set", "homes", "--manifests", &second], 1));
    assert!(told.contains("is on the same file system as the catalog"), "{told}");
    site.ok(&["index", "homes", "copies-homes/2026-11-03"]);
    sh(&site.path(""), "diff -r catalog.db-manifests second");
    let none = site.path("none").display().to_string();
    let told = said(&site.run(&["source", "set", "homes", "--manifests", &none], 2));
    assert!(told.contains(&format!("\nhint: mkdir {none:?}, once its disk is mounted\n")), "{told}");
}

#[test]
fn what_is_silent_is_named_and_holds_up_no_other_source() {
    let site = backed_up();
    sh(&site.path(""), "mkdir images; truncate -s 1M images/vm1-2026-11-01.raw");
    let images = site.path("images").display().to_string();
    site.run(&["source", "add", "block", "a-disk", "--images", &images], 0);
    site.ok(&["index"]);
    // Where manifests lie a second time, and where those of a disk lie, with its images.
    for (silent, told) in [
        ("second", "the second place {} may lack manifests that are in"),
        ("images", "cannot look at the 1 copy of \"a-disk\" in {}: it does not answer within 10 s\n"),
    ] {
        let path = site.path(silent);
        let hangs = Silent::mount(&path, 0, "");
        one_file(&site, if silent == "second" { 2 } else { 3 }, "b");
        let output = said(&site.run(&["--quiet", "index"], 1));
        assert!(output.contains(&told.replace("{}", &format!("{path:?}"))), "{output}");
        drop(hangs);
    }
    assert_eq!(names_by_day(&site, "catalog.db"), ["01 a,disk.raw", "02 b", "03 b"]);
    assert_eq!(said(&site.run(&["--quiet", "index"], 0)), "\n");
    sh(&site.path(""), "for kept in second/*; do diff -r catalog.db-manifests/${kept#*/} $kept; done");
}

#[test]
fn manifests_of_two_catalogs_under_one_number_are_not_taken_for_each_other() {
    let site = backed_up();
    site.ok(&["index", "homes", &one_file(&site, 2, "old-b")]);
    sh(&site.path(""), "cp -a copies-homes/2026-11-02 copies-homes/2026-11-03; echo c > copies-homes/2026-11-03/c");
    site.ok(&["index", "homes", "copies-homes/2026-11-03"]);
    // Another disk has the catalog now: its manifests are gone, and the second place is not there when it goes on.
    put_back(&site);
    // What is indexed in one second is told apart by its state alone, which other node numbers change.
    sh(&site.path(""), "mv catalog.db-manifests gone; mv second away; rm -r copies-homes/2026-11-0[23]; sleep 1.1");
    site.run(&["index", "homes", &one_file(&site, 2, "new-bb")], 1);
    sh(&site.path(""), "mv away second");
    let told = said(&site.run(&["index", "homes"], 1));
    assert!(told.contains("does not know manifest 3 of \"homes\""), "{told}");
    let told = said(&site.run(&["rebuild", "second", "--into", "new.db"], 1));
    assert!(
        told.contains("it counts from another generation of 2026-11-02T00:00:00Z than the one that is there"),
        "{told}"
    );
    assert!(names_by_day(&site, "new.db").contains(&"02 new-bb".to_owned()), "{told}");
    assert!(!names_by_day(&site, "new.db").iter().any(|line| line.starts_with("03")), "{told}");
    site.ok(&["--catalog", "new.db", "check", "--deep"]);
    // Beside a source that has its node numbers the state is no help.
    site.ok(&["--catalog", "other.db", "init"]);
    sh(&site.path(""), "mkdir -p others/2026-11-01 && echo o > others/2026-11-01/o");
    let others = site.path("others").display().to_string();
    site.ok(&["--catalog", "other.db", "source", "add", "nfs", "others", "--copies", &others]);
    site.ok(&["--catalog", "other.db", "index"]);
    let told = said(&site.run(&["rebuild", "second", "--into", "other.db"], 1));
    assert!(told.contains("it counts from another generation of 2026-11-02T00:00:00Z"), "{told}");
    assert!(!names_by_day(&site, "other.db").iter().any(|line| line.starts_with("03")), "{told}");
}

#[test]
fn a_run_that_was_killed_is_gone_on_with() {
    let site = Site::new();
    make_copies(&site);
    index_all(&site);
    // The kernel ends it when a file would get larger than this, in the middle of writing.
    let killed = |words: &str, kib: u32| {
        let program = env!("CARGO_BIN_EXE_asof");
        let script = format!("ulimit -c 0; ulimit -f {kib}; exec {program} {words}");
        let mut command = std::process::Command::new("bash");
        command.args(["-c", &script]).current_dir(site.path("")).env("ASOF_CATALOG", site.path("catalog.db"));
        let ended = command.env("TZ", "UTC").output().unwrap();
        assert_eq!(ended.status.signal(), Some(25), "SIGXFSZ: {}", said(&ended));
    };
    killed("rebuild --into new.db", 600);
    assert!(!site.path("new.db").exists());
    rebuild(&site, &[], 0);
    assert_eq!(left_beside(&site), ["new.db", "new.db-manifests"]);
    assert_eq!(differences(&site.path("catalog.db"), &site.path("new.db")), Vec::<String>::new());
    // One that is there has whole generations only.
    site.ok(&["--catalog", "there.db", "init"]);
    killed("rebuild --into there.db", 600);
    let there: usize = asked(&site.path("there.db"), "SELECT count(*) FROM generations")[0].parse().unwrap();
    assert!((1..12).contains(&there), "{there}");
    let told = said(&site.run(&["rebuild", "--into", "there.db"], 0));
    assert!(told.contains(&format!("3 sources, {} generations", 12 - there)), "{told}");
    let but = |line: &String| !line.starts_with("counters: ");
    let found = differences(&site.path("catalog.db"), &site.path("there.db"));
    assert_eq!(found.into_iter().filter(but).collect::<Vec<_>>(), Vec::<String>::new());
}

#[test]
fn copies_whose_bytes_are_gone_are_in_the_new_catalog_and_named_by_its_first_look() {
    let site = Site::new();
    make_copies(&site);
    index_all(&site);
    sh(&site.path(""), "rm -r copies-homes/2026-11-02");
    site.run(&["index", "homes"], 1);
    assert!(rebuild(&site, &[], 0).contains("3 sources, 12 generations"), "no copy is read");
    let told = said(&site.run(&["--catalog", "new.db", "index", "homes"], 1));
    assert!(told.contains("not there any more: the copy of 2026-11-02T00:00:00Z"), "{told}");
    let but = |line: &String| !line.starts_with("copy: ") && !line.starts_with("view copies");
    let found = differences(&site.path("catalog.db"), &site.path("new.db"));
    // Since when it is known differs.
    assert_eq!(found.into_iter().filter(but).collect::<Vec<_>>(), Vec::<String>::new());
    let states = "SELECT c.path, c.state FROM copy c";
    assert_eq!(asked(&site.path("catalog.db"), states), asked(&site.path("new.db"), states));
}

#[test]
fn generations_that_are_older_than_manifests_are_named() {
    let site = Site::new();
    make_copies(&site);
    index_all(&site);
    let [homes, sums] = ["homes", "sums"].map(|name| manifests(&site, name));
    for old in [&homes[0], &homes[1], &sums[0]] {
        std::fs::remove_file(old).unwrap();
    }
    let told = rebuild(&site, &[], 1);
    for line in [
        "generations 1 to 2 of \"homes\" have no manifests: they are older than manifests, or these are lost",
        "generation 1 of \"sums\" has no manifest: it is older than manifests, or that is lost",
        "manifest 2 of \"homes\", of the generation of 2026-11-03T00:00:00Z, is missing",
        "left out 2026-11-04T00:00:00Z of \"homes\"",
        "it counts from the generation of 2026-11-03T00:00:00Z, manifest 2, which is not there",
        "hint: asof index NAME indexes the copies that are still there",
    ] {
        assert!(told.contains(line), "{line}\n{told}");
    }
    // The catalog itself, if it is there, has them and what counts from them.
    sh(&site.path(""), "cp catalog.db old.db");
    site.ok(&["index", "homes", "copies-homes/2026-11-04", "--again"]);
    let told = said(&site.run(&["rebuild", "--into", "old.db"], 0));
    assert!(told.contains("3 sources, 1 generation"), "{told}");
    assert_eq!(differences(&site.path("catalog.db"), &site.path("old.db")), Vec::<String>::new());
}

#[test]
fn nothing_is_made_where_there_is_nothing_or_something_already() {
    let site = Site::new();
    let nothing = rebuild(&site, &["out"], 2);
    assert_eq!(
        nothing.trim(),
        format!(
            "asof: cannot make the catalog again: no manifest was found in {:?}\n\
             hint: name the stores and second places in which manifests lie: asof rebuild DIR...",
            site.path("out").canonicalize().unwrap()
        )
    );
    assert_eq!(left_beside(&site), Vec::<String>::new());
    make_copies(&site);
    index_all(&site);
    std::fs::write(site.path("new.db"), "notes").unwrap();
    let there = rebuild(&site, &[], 2);
    assert!(there.contains("asof: cannot make the catalog again: "), "{there}");
    assert!(there.contains("hint: move it away, or name another file with --into"), "{there}");
    assert_eq!(std::fs::read(site.path("new.db")).unwrap(), b"notes");
    sh(&site.path(""), "rm new.db; rm -f new.db-wal new.db-shm");
    // What a run that was killed left is in nobody's way.
    for name in ["new.db.rebuilding", "new.db.rebuilding-wal", "new.db.rebuilding.lock"] {
        std::fs::write(site.path(name), "rubbish").unwrap();
    }
    rebuild(&site, &[], 0);
    assert_eq!(left_beside(&site), ["new.db", "new.db-manifests"]);
}

/// A generation without a manifest could not be made again.
#[test]
fn what_cannot_keep_a_manifest_does_nothing_and_says_why() {
    let site = Site::new();
    make_copies(&site);
    site.ok(&["init"]);
    let copies = site.path("copies-homes").display().to_string();
    site.ok(&["source", "add", "nfs", "homes", "--copies", &copies]);
    sh(&site.path(""), "mkdir catalog.db-manifests && mount -t tmpfs -o size=64k,mode=700 none catalog.db-manifests");
    for copy in ["2026-11-01", "2026-11-02"] {
        site.ok(&["index", "homes", &format!("copies-homes/{copy}")]);
    }
    let there = "SELECT taken_at, number, sequence, indexed_at FROM generation WHERE status = 'published'";
    let before = || sh(&site.path(""), "find catalog.db-manifests ! -name full | sort");
    let (manifests, generations) = (before(), asked(&site.path("catalog.db"), there));
    for (hurt, heal, cause) in [
        (
            "mount -o remount,ro catalog.db-manifests",
            "mount -o remount,rw catalog.db-manifests",
            "Read-only file system",
        ),
        (
            "cat /dev/zero > catalog.db-manifests/full || true",
            "rm catalog.db-manifests/full",
            "No space left on device",
        ),
    ] {
        sh(&site.path(""), &format!("({hurt}) 2>&1"));
        // A new one, one that is indexed again, and one that is forgotten.
        for (words, day) in [
            (["index", "homes", "copies-homes/2026-11-03"].as_slice(), 3),
            (&["index", "homes@2026-11-02", "--again"], 2),
            (&["forget", "homes@2026-11-01"], 1),
        ] {
            let failed = said(&site.run(words, 2));
            let expected = format!("cannot keep the manifest of the generation of 2026-11-{day:02}T00:00:00Z");
            assert!(failed.contains(&expected) && failed.contains(cause), "{words:?}\n{failed}");
            assert_eq!(
                (before(), asked(&site.path("catalog.db"), there)),
                (manifests.clone(), generations.clone()),
                "{words:?}"
            );
        }
        sh(&site.path(""), heal);
    }
    site.ok(&["index", "homes", "copies-homes/2026-11-03"]);
    site.ok(&["forget", "homes@2026-11-01"]);
    assert!(rebuild(&site, &[], 0).contains("1 source, 2 generations"));
    assert_eq!(asked(&site.path("catalog.db"), TREES), asked(&site.path("new.db"), TREES));
}

#[test]
fn the_manifest_of_a_run_that_was_killed_before_it_published_goes() {
    let site = Site::new();
    make_copies(&site);
    index_all(&site);
    sh(&site.path(""), "cp -a live copies-homes/2026-11-05");
    site.ok(&["index", "homes", "copies-homes/2026-11-05"]);
    let last = manifests(&site, "homes").pop().unwrap();
    // As power loss leaves it: the manifest is whole, and the generation is not published.
    let connection = rusqlite::Connection::open(site.path("catalog.db")).unwrap();
    let sql = "UPDATE generation SET status = 'creating' WHERE sequence = 5 AND source = (SELECT id FROM source WHERE name = 'homes')";
    assert_eq!(connection.execute(sql, []).unwrap(), 1);
    drop(connection);
    // And as a kill leaves it: half a manifest, of which the catalog knows nothing.
    let drafts = [".9.manifest.draft", ".3.tombstone.draft"].map(|name| last.with_file_name(name));
    drafts.iter().for_each(|draft| std::fs::write(draft, "half").unwrap());
    sh(&site.path(""), "rm -r copies-homes/2026-11-05 && cp -a live copies-homes/2026-11-06");
    site.ok(&["index", "homes", "copies-homes/2026-11-06"]);
    assert!(!last.exists());
    assert!(drafts.iter().all(|draft| !draft.exists()));
    assert!(rebuild(&site, &[], 0).contains("3 sources, 13 generations"));
    assert_eq!(differences(&site.path("catalog.db"), &site.path("new.db")), Vec::<String>::new());
}

/// A disk with a file system, taken whole and indexed from images of another tool, one of them late.
#[test]
fn a_lost_catalog_of_a_disk_is_made_again_as_it_was() {
    let site = Site::new();
    sh(&site.path(""), "mkdir images change && truncate -s 32M disk.raw && mkfs.ext4 -q disk.raw");
    site.ok(&["init"]);
    let images = site.path("images").display().to_string();
    let snapshot = format!("sh -c 'cp {} \"$ASOF_IMAGE\"'", site.path("disk.raw").display());
    let add = ["source", "add", "block", "vda", "--images", &images, "--snapshot", &snapshot, "--format", "raw"];
    site.ok(&add);
    let change = |script: &str| {
        sh(&site.path(""), &format!("mount -o loop disk.raw change; (cd change && {script}); umount change"));
    };
    change(
        "mkdir a && seq 9999 > a/long && echo short > a/short && ln -s a/long link && setfattr -n user.k -v v a/short && mknod d c 1 3",
    );
    sh(&site.path(""), "cp disk.raw images/vda-2026-11-01.raw");
    change(
        "seq 7777 > a/more && rm a/short && mv a b && truncate -s 100K b/hole && printf end >> b/hole && ln b/long l",
    );
    sh(&site.path(""), "cp disk.raw images/vda-2026-11-02.raw");
    change("rm -r b/hole && mkdir e && seq 5 > e/five && setfattr -n user.k -v w link -h || true; chmod 600 l");
    for image in ["vda-2026-11-01.raw", "vda-2026-11-02.raw"] {
        site.ok(&["index", "vda", &format!("images/{image}")]);
    }
    site.ok(&["take", "vda"]);
    let own = sh(&site.path("images"), "ls *.manifest | wc -l");
    assert_eq!(own.trim(), "1", "that of its own image lies beside it");
    assert!(said(&site.run(&["index", "vda"], 0)).contains("nothing to index"), "it is not taken for an image");
    // The store is found in what the other manifests say.
    let said = rebuild(&site, &[], 0);
    assert!(said.contains("1 source, 3 generations"), "{said}");
    // What a look at the images saw is not in the manifests: each catalog looks for itself.
    site.ok(&["--catalog", "new.db", "index", "vda"]);
    assert_eq!(differences(&site.path("catalog.db"), &site.path("new.db")), Vec::<String>::new());
    site.ok(&["--catalog", "new.db", "check", "--deep"]);
    // Indexed again, the images say what they said.
    sh(&site.path(""), "cp catalog.db before.db && rm -r new.db*");
    for image in ["vda@2026-11-01", "vda@2026-11-02"] {
        let again = site::said(&site.run(&["index", image, "--again"], 0));
        assert!(again.contains("it was asked for"), "{again}");
    }
    for sql in [TREES, XATTRS] {
        assert_eq!(asked(&site.path("before.db"), sql), asked(&site.path("catalog.db"), sql));
    }
    site.ok(&["check", "--deep"]);
    assert!(rebuild(&site, &[], 0).contains("1 source, 3 generations"));
    for catalog in ["catalog.db", "new.db"] {
        site.ok(&["--catalog", catalog, "index", "vda"]);
    }
    assert_eq!(differences(&site.path("catalog.db"), &site.path("new.db")), Vec::<String>::new());
}

/// Manifests that a program of catalog format 4 wrote, of a volume: the store is all that is left.
#[test]
fn what_a_damaged_disk_keeps_as_unknown_is_so_in_the_new_catalog() {
    let site = Site::new();
    sh(
        &site.path(""),
        "mkdir images change && truncate -s 32M disk.raw && mkfs.ext4 -q -b 4096 -O metadata_csum disk.raw",
    );
    site.ok(&["init"]);
    let images = site.path("images").display().to_string();
    site.ok(&["source", "add", "block", "vda", "--images", &images, "--format", "raw"]);
    let change = |script: &str| {
        sh(&site.path(""), &format!("mount -o loop disk.raw change; (cd change && {script}); umount change"));
    };
    let image = |day: u32, is_hurt: bool| {
        let image = format!("images/vda-2026-11-0{day}.raw");
        sh(&site.path(""), &format!("cp disk.raw {image}"));
        if is_hurt {
            // The directory does not have its checksum any more.
            let block = "$(debugfs -R 'blocks /a' disk.raw 2>/dev/null | tr -d ' \n')";
            sh(
                &site.path(""),
                &format!("printf zzzz | dd of={image} bs=1 seek=$(({block} * 4096 + 16)) conv=notrunc status=none"),
            );
        }
        let output = site.asof(&["index", "vda", &image]).output().expect("the program starts");
        assert_eq!(output.status.code(), Some(i32::from(is_hurt)), "{}", said(&output));
    };
    change("mkdir -p a/b c && seq 99 > a/one && seq 5 > a/b/two && echo 1 > three && ln a/one c/also");
    image(1, false);
    change("echo more >> a/b/two && rm c/also");
    image(2, true);
    change("echo new > a/new && mv a/b c/b");
    image(3, true);
    change("rm a/one && echo last > a/last");
    image(4, false);
    let is_as_it_was = |when: &str| {
        let said = rebuild(&site, &[], 0);
        for catalog in ["catalog.db", "new.db"] {
            site.ok(&["--catalog", catalog, "index", "vda"]);
            site.ok(&["--catalog", catalog, "check", "--deep"]);
        }
        // Of a forgotten image that is there nobody writes down any more when it was changed.
        let but = |line: &String| !line.starts_with("copy: ");
        let found = differences(&site.path("catalog.db"), &site.path("new.db"));
        let found: Vec<String> = found.into_iter().filter(but).collect();
        assert_eq!(found, Vec::<String>::new(), "{when}: {said}");
        assert_eq!(asked(&site.path("new.db"), "SELECT count(*) > 0 FROM kept"), ["1"], "{when}");
        sh(&site.path(""), "rm -r new.db*");
    };
    is_as_it_was("after four");
    site.ok(&["forget", "vda@2026-11-02"]);
    is_as_it_was("after one was forgotten");
}

#[test]
fn a_store_of_an_older_program_gives_its_names_back() {
    let site = Site::new();
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/manifests");
    std::fs::create_dir_all(site.path("store/vol")).unwrap();
    for (name, at) in
        [("vol-1", "2026-11-30T020512Z"), ("vol-2", "2026-11-30T020518Z"), ("vda-1", "2026-11-30T020457Z")]
    {
        let to = site.path(if name == "vda-1" { "store/vda" } else { "store/vol" });
        std::fs::create_dir_all(&to).unwrap();
        std::fs::copy(data.join(format!("{name}.manifest.zst")), to.join(format!("{at}.manifest.zst"))).unwrap();
    }
    let said = rebuild(&site, &["store"], 1);
    assert!(said.contains("left out 2026-11-30T02:04:57Z of \"vda\""), "{said}");
    assert!(said.contains("it has the old format, which does not say where bytes lie in the images"), "{said}");
    assert!(said.contains("2 sources, 2 generations"), "{said}");
    let new = site.path("new.db");
    let files = |at: &str| {
        format!("SELECT path, kind, size_bytes, mode, nlink FROM files WHERE source = 'vol' AND taken_at = '{at}'")
    };
    assert_eq!(
        asked(&new, &files("2026-11-30T02:05:12Z")),
        [
            "d/e|directory|4096|0755|2",
            "d/f|file|4|0644|1",
            "d/g2|file|4|0644|2",
            "d/g|file|4|0644|2",
            "d/l|symlink|4|0777|1",
            "d|directory|4096|0755|3",
        ]
    );
    assert_eq!(
        asked(&new, &files("2026-11-30T02:05:18Z")),
        [
            "d/f|file|9|0644|1",
            "d/g2|file|4|0600|2",
            "d/g|file|4|0600|2",
            "d/h|directory|4096|0755|2",
            "d/p|fifo|0|0644|1",
            "d|directory|4096|0755|3",
        ]
    );
    let store = site.path("store").canonicalize().unwrap();
    let copies = "SELECT copy_path, entries, size_bytes, scan, level FROM generations";
    assert_eq!(
        asked(&new, copies),
        [
            format!("{}/vol/2026-11-30T020512Z|6|8|walk|full", store.display()),
            format!("{}/vol/2026-11-30T020518Z|6|13|changelog|incremental", store.display()),
        ]
    );
    // The second time there is nothing to do: the sources are known by their names.
    let again = rebuild(&site, &["store"], 1);
    assert!(again.contains("lacks nothing that the manifests in"), "{again}");
    assert_eq!(asked(&new, "SELECT name FROM source"), ["vda", "vol"]);
    // Nor where a catalog of that program was brought up to date, and its sources got UUIDs that no manifest knows.
    let connection = rusqlite::Connection::open(&new).unwrap();
    connection.execute("UPDATE source SET uuid = randomblob(16)", []).unwrap();
    drop(connection);
    let again = rebuild(&site, &["store"], 1);
    assert!(again.contains("lacks nothing that the manifests in"), "{again}");
    assert_eq!(asked(&new, "SELECT name FROM source"), ["vda", "vol"]);
    // What such a catalog lacks it gets, with the numbers that its nodes have.
    site.ok(&["--catalog", "new.db", "forget", "vol@2026-11-30T020518Z"]);
    sh(&site.path(""), "rm -rf new.db-manifests");
    rebuild(&site, &["store"], 1);
    assert_eq!(asked(&new, "SELECT name FROM source"), ["vda", "vol"]);
    assert_eq!(asked(&new, copies).len(), 2);
    site.ok(&["--catalog", "new.db", "check", "--deep"]);
    let changes = "SELECT what, path, old_path FROM changes WHERE taken_at = '2026-11-30T02:05:18Z' AND what IN ('renamed', 'deleted', 'created')";
    assert_eq!(asked(&new, changes), ["created|d/p|NULL", "deleted|d/l|NULL", "renamed|d/h|d/e"]);
}

/// A site with three generations of one source, in manifests 1 to 3.
fn three_nights() -> Site {
    let site = Site::with_source();
    for day in 1..=3 {
        sh(&site.path("live"), &format!("echo {day} > f"));
        site.copy(&format!("2026-11-{day:02}"));
        site.ok(&["index", "homes"]);
    }
    site
}

/// Each manifest names the one before it, and none the newest.
#[test]
fn a_newest_manifest_that_is_lost_is_said_to_be_missing() {
    let site = three_nights();
    assert!(rebuild(&site, &[], 0).contains("1 source, 3 generations"));
    sh(&site.path(""), "rm -r new.db new.db-manifests");
    let newest = manifests(&site, "homes").pop().unwrap();
    std::fs::remove_file(&newest).unwrap();
    let said = rebuild(&site, &[], 1);
    let expected = "manifest 3 of \"homes\" is missing: it is the newest one; others between it and the last one that is there may be, too";
    assert!(said.contains(expected) && said.contains("1 source, 2 generations"), "{said}");
    let printed = site.run(&["rebuild", "--into", "other.db", "--json"], 1).stdout;
    let printed: serde_json::Value = serde_json::from_slice(&printed).unwrap();
    assert_eq!(printed["sources"][0]["missing"], serde_json::json!([{ "manifest": 3, "newest": true }]));
    // The new one does not give its number to another, and has a newest one of its own.
    site.ok(&["--catalog", "new.db", "index", "homes"]);
    let numbers = "SELECT group_concat(sequence) FROM (SELECT sequence FROM generation ORDER BY taken_at)";
    assert_eq!(asked(&site.path("new.db"), numbers), ["1,2,4"]);
    sh(&site.path(""), "rm -rf other.db* new.db new.db-manifests/*/4.manifest; mv new.db-manifests kept");
    let said = rebuild(&site, &["kept", "--into", "other.db"], 1);
    assert!(said.contains("2 generations") && said.contains("manifest 4 of \"homes\" is missing: it is the"), "{said}");
    // One that was cut off says nothing, as one that is not there.
    sh(&site.path(""), "rm -rf other.db* kept; printf 3 > catalog.db-manifests/*/.*.newest");
    assert!(rebuild(&site, &["--into", "other.db"], 0).contains("2 generations"));
}

#[test]
fn what_was_forgotten_is_named_and_what_may_have_been_is_kept_and_named() {
    let site = three_nights();
    let manifest = manifests(&site, "homes").swap_remove(1);
    for day in ["2026-11-01", "2026-11-02"] {
        site.ok(&["forget", &format!("homes@{day}")]);
    }
    let told = rebuild(&site, &[], 0);
    let forgotten = "left out of \"homes\", because they were forgotten: 2026-11-01T00:00:00Z, 2026-11-02T00:00:00Z";
    assert!(told.contains(forgotten) && told.contains("1 source, 1 generation\n"), "{told}");
    // As a run leaves it that was killed after its commit and before it gave the tombstone its name; then the catalog is lost.
    let prepared = manifest.with_file_name(".2.tombstone.prepared");
    std::fs::rename(manifest.with_extension("tombstone"), &prepared).unwrap();
    sh(&site.path(""), "rm -rf new.db new.db-manifests catalog.db catalog.db-wal catalog.db-shm");
    let told = said(&site.run(&["rebuild"], 1));
    let undecided = format!(
        "2026-11-02T00:00:00Z of \"homes\" is there, and may have been forgotten: asof forget was killed, and left {prepared:?}\n\
         hint: asof forget homes@2026-11-02T00:00:00Z forgets it"
    );
    assert!(told.contains(&undecided) && told.contains("1 source, 2 generations"), "{told}");
    assert!(told.contains("because they were forgotten: 2026-11-01T00:00:00Z\n"), "{told}");
    // The hint is right: then nothing is undecided any more.
    site.ok(&["forget", "homes@2026-11-02T00:00:00Z"]);
    assert!(!prepared.exists());
    let told = rebuild(&site, &[], 0);
    assert!(told.contains(forgotten), "{told}");
}
