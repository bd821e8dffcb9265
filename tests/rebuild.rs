//! A catalog is lost and made again from manifests: it says the same, or what it lacks is named.
//!
//! Needs root (owners, device nodes, loop devices), and the packages e2fsprogs and attr.

#[path = "common/catalogs.rs"]
mod catalogs;
#[path = "common/site.rs"]
mod site;

use asof::catalog::Reader;
use catalogs::{asked, differences};
use site::{Site, said, sh};
use std::path::{Path, PathBuf};

/// 2026-11-01T00:00:00Z.
const FIRST: i64 = 1_793_491_200;
const DAY: i64 = 86_400;

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
    said(&site.run(&[&["rebuild", "--into", "new.db"], more].concat(), code))
}

/// Returns the manifests of a source beside the catalog, in the order of their sequences.
fn manifests(site: &Site, source: &str) -> Vec<PathBuf> {
    let uuid = Reader::open(&site.path("catalog.db")).unwrap().source(source).unwrap().uuid.unwrap();
    let folder = site.path("catalog.db-manifests").join(asof::store::uuid_text(&uuid));
    let count = std::fs::read_dir(&folder).unwrap().count();
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
    let expected = format!("made the catalog \"new.db\" of the manifests in {folder:?}: 3 sources, 12 generations");
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
    assert_eq!(asked(&site.path("new.db"), numbers), ["5 | 5"]);
}

#[test]
fn manifests_can_be_read_by_their_owner_only() {
    let site = Site::new();
    make_copies(&site);
    index_all(&site);
    let modes = sh(&site.path(""), "find catalog.db-manifests -printf '%m %y\n' | sort | uniq -c | sed 's/^ *//'");
    assert_eq!(modes, "12 600 f\n4 700 d\n");
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
    let days = |day: i64, rest: &str| format!("{} | {rest}", FIRST + day * DAY);
    assert_eq!(asked(&site.path("new.db"), taken), [days(2, "2 | 5"), days(3, "3 | 3"), days(5, "6 | 7")]);
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
    let day = |day: i64, sequence: i64| format!("{} | {sequence}", FIRST + day * DAY);
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
    assert!(added.contains("is on the file system of the catalog, and is lost with it"), "{added}");
    site.ok(&["index", "homes", "copies-homes/2026-11-01"]);
    sh(&site.path(""), "mv second away");
    let lacking = said(&site.run(&["index", "homes", "copies-homes/2026-11-02"], 1));
    assert!(lacking.contains(&format!("the second place {second:?} lacks the manifest")), "{lacking}");
    sh(&site.path(""), "mv away second");
    site.ok(&["index", "homes", "copies-homes/2026-11-03"]);
    let all = manifests(&site, "homes");
    let name = |path: &PathBuf| path.file_name().unwrap().to_owned();
    let folder = site.path("second").join(all[0].parent().unwrap().file_name().unwrap());
    assert!(all.iter().all(|path| folder.join(name(path)).is_file()), "the next run copied what was lacking");
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
    let said = rebuild(&site, &["one.db-manifests", "two.db-manifests"], 0);
    assert!(said.contains("a second source \"homes\" is called \"homes-2\""), "{said}");
    assert!(said.contains("2 sources, 2 generations"), "{said}");
    let files = |name: &str| {
        format!(
            "SELECT path, kind, size_bytes, mtime_unix, mtime_ns, mode, uid, gid, nlink, link_target, has_acl FROM files WHERE source = '{name}'"
        )
    };
    // The one that was indexed last keeps the name.
    assert_eq!(asked(&site.path("new.db"), &files("homes")), asked(&site.path("two.db"), &files("homes")));
    assert_eq!(asked(&site.path("new.db"), &files("homes-2")), asked(&site.path("one.db"), &files("homes")));
    assert_eq!(asked(&site.path("new.db"), "SELECT count(DISTINCT root) FROM source"), ["2"]);
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
    let there = said(&site.run(&["rebuild"], 2));
    let catalog = site.path("catalog.db");
    let expected = format!(
        "asof: cannot make the catalog again: {catalog:?} exists already\nhint: move it away, or name another file with --into"
    );
    assert_eq!(there.trim(), expected);
    // What a run that was killed left is in nobody's way.
    for name in ["new.db.rebuilding", "new.db.rebuilding-wal", "new.db.rebuilding.lock"] {
        std::fs::write(site.path(name), "rubbish").unwrap();
    }
    rebuild(&site, &[], 0);
    assert_eq!(left_beside(&site), ["new.db", "new.db-manifests"]);
}

#[test]
fn a_run_that_fails_leaves_no_manifest() {
    let site = Site::new();
    make_copies(&site);
    index_all(&site);
    let before = sh(&site.path(""), "find catalog.db-manifests | sort");
    sh(&site.path(""), "cp -a live copies-homes/2026-11-07");
    // A directory that stands where the manifest has to be named makes the run fail at its very end.
    let folder = manifests(&site, "homes")[0].parent().unwrap().to_owned();
    sh(&folder, "chattr +i .");
    let failed = site.asof(&["index", "homes", "copies-homes/2026-11-07"]).output().unwrap();
    sh(&folder, "chattr -i .");
    assert_eq!(failed.status.code(), Some(2), "{}", said(&failed));
    assert!(
        said(&failed).contains("cannot keep the manifest of the generation of 2026-11-07T00:00:00Z"),
        "{}",
        said(&failed)
    );
    assert_eq!(sh(&site.path(""), "find catalog.db-manifests | sort"), before);
    site.ok(&["index", "homes", "copies-homes/2026-11-07"]);
    assert!(rebuild(&site, &[], 0).contains("13 generations"));
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
}

/// Manifests that a program of catalog format 4 wrote, of a volume: the store is all that is left.
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
            "d | directory | 4096 | 0755 | 3",
            "d/e | directory | 4096 | 0755 | 2",
            "d/f | file | 4 | 0644 | 1",
            "d/g | file | 4 | 0644 | 2",
            "d/g2 | file | 4 | 0644 | 2",
            "d/l | symlink | 4 | 0777 | 1",
        ]
    );
    assert_eq!(
        asked(&new, &files("2026-11-30T02:05:18Z")),
        [
            "d | directory | 4096 | 0755 | 3",
            "d/f | file | 9 | 0644 | 1",
            "d/g | file | 4 | 0600 | 2",
            "d/g2 | file | 4 | 0600 | 2",
            "d/h | directory | 4096 | 0755 | 2",
            "d/p | fifo | 0 | 0644 | 1",
        ]
    );
    let store = site.path("store").canonicalize().unwrap();
    let copies = "SELECT copy_path, entries, size_bytes, scan, level FROM generations";
    assert_eq!(
        asked(&new, copies),
        [
            format!("{}/vol/2026-11-30T020512Z | 6 | 8 | walk | full", store.display()),
            format!("{}/vol/2026-11-30T020518Z | 6 | 13 | changelog | incremental", store.display()),
        ]
    );
    let changes = "SELECT what, path, old_path FROM changes WHERE taken_at = '2026-11-30T02:05:18Z' AND what IN ('renamed', 'deleted', 'created')";
    assert_eq!(asked(&new, changes), ["created | d/p | NULL", "deleted | d/l | NULL", "renamed | d/h | d/e"]);
}
