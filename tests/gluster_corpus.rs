//! Recorded GlusterFS volumes, rebuilt as real bricks: the rebuild against its record, and a backup against what a
//! client of the volume saw.
//!
//! Needs root, for `trusted.*` attributes, owners and devices. The records are real and old; nothing here needs
//! GlusterFS.

mod common;

#[path = "common/brick.rs"]
mod brick;
#[path = "common/catalogs.rs"]
mod catalogs;
#[path = "common/site.rs"]
mod site;

use asof::model::Kind;
use asof::source::gluster::Gfid;
use brick::{
    LAST_ROUND, TruthEntry, bricks, compare, lay_out, load_namespace, load_truth, rebuild, room, round_dir, stand_in,
    volume, xattrs_of,
};
use catalogs::{asked, differences};
use common::PlainTree;
use site::{Site, assert_documented, wait_until};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

// A rebuilt brick.

/// All that is there is held against the record; handles against what was recorded of them, as they were made from the
/// names.
#[test]
fn every_brick_of_every_round_is_rebuilt_as_it_was_recorded() {
    let mut names = 0;
    for volume_name in ["gv0", "gr0"] {
        let volume = volume(volume_name);
        for (round, brick) in (0..=LAST_ROUND).flat_map(|n| bricks(volume_name).into_iter().map(move |b| (n, b))) {
            let dir = room();
            rebuild(&volume, round, &brick, dir.path());
            let entries = load_namespace(&volume, round, &brick);
            let internal = |entry: &TruthEntry, field: &str| field == "unexpected" && entry.path == b".glusterfs";
            assert_eq!(compare(dir.path(), &entries, &internal), Vec::<String>::new(), "{brick} round {round}");
            names += entries.len();

            let record = round_dir(&volume, round).join(&brick);
            let (links, files) = handles_of(dir.path());
            assert_eq!(links, recorded_handles(&record), "{brick} round {round}");
            let htime: serde_json::Value =
                serde_json::from_str(&fs::read_to_string(record.join("htime.json")).unwrap()).unwrap();
            assert_eq!(Some(files), htime["file_handles"].as_u64(), "{brick} round {round}");
        }
    }
    assert_eq!(names, 2674, "names of all records together");
}

#[test]
fn a_rebuilt_brick_carries_what_gluster_wrote_on_it() {
    let dir = room();
    rebuild(&volume("gv0"), 1, "gv0-b1", dir.path());

    let root = xattrs_of(dir.path()).unwrap();
    assert_eq!(root["trusted.gfid"], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    assert_eq!(root["trusted.glusterfs.volume-id"][..4], [0x50, 0x36, 0xd1, 0xc0]);

    let file = dir.path().join("docs/a/hello-3rd.txt");
    let handle = dir.path().join(".glusterfs/18/c1/18c1d8ef-fbf0-4839-8594-df62ee24091d");
    let (metadata, of_handle) = (fs::symlink_metadata(&file).unwrap(), fs::symlink_metadata(&handle).unwrap());
    assert_eq!((metadata.nlink(), metadata.ino()), (4, of_handle.ino()));
    assert_eq!(fs::read(&handle).unwrap().len(), 4000);
    let names: BTreeSet<Vec<u8>> = xattrs_of(&file)
        .unwrap()
        .into_iter()
        .filter(|(name, _)| name.starts_with("trusted.gfid2path."))
        .map(|(_, value)| value)
        .collect();
    let expected: [&[u8]; 3] = [
        b"27d11188-9013-4944-8b8a-c37b03528840/hello-2nd.txt",
        b"27d11188-9013-4944-8b8a-c37b03528840/hello.txt",
        b"5ee8f335-e113-4b5e-b811-17095c0b95be/hello-3rd.txt",
    ];
    assert_eq!(names, expected.into_iter().map(<[u8]>::to_vec).collect());

    let handle = dir.path().join(".glusterfs/19/ad/19ad18fa-1ace-4304-8522-67c0bfd21b1f");
    let target = fs::read_link(&handle).unwrap();
    assert_eq!(target.as_os_str(), "../../27/d1/27d11188-9013-4944-8b8a-c37b03528840/sub dir");
    assert_eq!(fs::metadata(&handle).unwrap().ino(), fs::metadata(dir.path().join("new/sub dir")).unwrap().ino());
}

#[test]
fn a_rebuilt_brick_has_the_changelogs_of_all_rounds_so_far() {
    let dir = room();
    rebuild(&volume("gv0"), 5, "gv0-b1", dir.path());
    let changelogs = dir.path().join(".glusterfs/changelogs");

    assert_eq!(names_in(&changelogs.join("2026/11/20")).len(), 1 + 5 + 4 + 3 + 2);
    assert!(names_in(&changelogs.join("2026/11/20")).contains("CHANGELOG.1795219020"), "HTIME does not list it");
    assert_eq!(names_in(&changelogs), ["2026", "CHANGELOG", "csnap", "htime"].map(str::to_owned).into());
    let open = fs::read(changelogs.join("CHANGELOG")).unwrap();
    let recorded = round_dir(&volume("gv0"), 5).join("gv0-b1/changelogs/CHANGELOG");
    assert_eq!(open, fs::read(recorded).unwrap(), "the open one is the last one");

    let htime = changelogs.join("htime");
    assert_eq!(xattrs_of(&htime).unwrap()["trusted.glusterfs.current_htime"], b"HTIME.1795218773");
    let htime = htime.join("HTIME.1795218773");
    assert_eq!(xattrs_of(&htime).unwrap()["trusted.glusterfs.htime"], b"1795219032:102");
    assert_eq!(fs::read(htime).unwrap().len(), 6003);
}

#[test]
fn a_brick_from_before_the_changelogs_has_none() {
    let dir = room();
    rebuild(&volume("gr0"), 0, "gr0-b3", dir.path());
    let changelogs = dir.path().join(".glusterfs/changelogs");
    assert_eq!(names_in(&changelogs), ["csnap", "htime"].map(str::to_owned).into());
    assert_eq!(names_in(&changelogs.join("htime")), BTreeSet::new());
    assert_eq!(xattrs_of(&changelogs.join("htime")).unwrap(), BTreeMap::new());
}

// What a client saw.

/// A volume of one brick has all its names on it. What a client sees in another way: the times, which Gluster keeps in
/// `trusted.glusterfs.mdata`, one link less, and nothing internal.
#[test]
fn a_brick_differs_from_what_a_client_sees_in_known_ways_only() {
    let volume = volume("gv0");
    let mut found = Vec::new();
    for round in 0..=LAST_ROUND {
        let dir = room();
        rebuild(&volume, round, "gv0-b1", dir.path());
        let on_brick = load_namespace(&volume, round, "gv0-b1");
        let on_brick: BTreeMap<&[u8], &TruthEntry> = on_brick.iter().map(|e| (e.path.as_slice(), e)).collect();
        let known = |entry: &TruthEntry, field: &str| match field {
            "unexpected" => entry.path == b".glusterfs",
            "mtime" => mdata_mtime(on_brick[entry.path.as_slice()]) == entry.mtime,
            "nlink" => on_brick[entry.path.as_slice()].nlink == entry.nlink + 1,
            _ => field.starts_with("xattr trusted."),
        };
        let differences = compare(dir.path(), &load_truth(&volume, round), &known);
        found.extend(differences.into_iter().map(|line| format!("{round} {line}")));
    }
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn a_tree_laid_out_from_the_truth_is_the_truth() {
    for volume_name in ["gv0", "gr0"] {
        for round in 0..=LAST_ROUND {
            let truth = load_truth(&volume(volume_name), round);
            let dir = room();
            lay_out(&truth, dir.path());
            assert_eq!(compare(dir.path(), &truth, &|_, _| false), Vec::<String>::new(), "{volume_name} {round}");
        }
    }
}

/// What is done to a tree, and what must then be said of it.
type Injury = (fn(&PlainTree), &'static [&'static str]);

const INJURIES: &[Injury] = &[
    (
        |tree| {
            tree.remove("docs/b/c/n1").mtime("docs/b/c", 1_795_218_764, 629_783_691);
        },
        &[r#""docs/b/c/n1" missing: expected a File"#],
    ),
    (
        |tree| {
            tree.file("docs/b/c/ÿ/n", "n").mtime("docs/b/c", 1_795_218_764, 629_783_691);
        },
        &[r#""docs/b/c/ÿ" unexpected: found a Directory"#, r#""docs/b/c/ÿ/n" unexpected: found a File"#],
    ),
    (
        |tree| {
            tree.remove("to-docs").file("to-docs", "docs").mtime("", 1_795_218_793, 667_812_193);
        },
        &[r#""to-docs" kind: found File, expected Symlink"#],
    ),
    (
        |tree| {
            tree.mode("docs/a", 0o700);
        },
        &[r#""docs/a" mode: found 40700, expected 40755"#],
    ),
    (
        |tree| {
            tree.owner("new/sl-rel", 34, 35);
        },
        &[
            r#""new/sl-rel" uid: found 34, expected 33"#,
            r#""new/sl-rel" gid: found 35, expected 33"#,
            r#""new/sl-rel-hard" uid: found 34, expected 33"#,
            r#""new/sl-rel-hard" gid: found 35, expected 33"#,
        ],
    ),
    (
        |tree| {
            tree.file("lots/f00", "407").mtime("lots/f00", 1_795_218_764, 482_956_041);
        },
        &[
            r#""lots/f00" size: found 3, expected 30"#,
            r#""lots/f00" mtime: found 1795218764.482956041, expected 1795218764.482956040"#,
            r#""lots/f00" content: found 3 bytes, expected 30, equal up to 3"#,
        ],
    ),
    (
        |tree| {
            tree.sparse_file("new/sparse", 5_242_880, 5_000_000, b"x").mtime("new/sparse", 1_795_218_793, 728_525_031);
        },
        &[r#""new/sparse" content: found 5242880 bytes, expected 5242880, equal up to 0"#],
    ),
    (
        |tree| {
            tree.remove("old/o1").hard_link("old/o0", "old/o1").mtime("old", 1_795_218_764, 713_648_535);
        },
        &[
            r#""new/old-o1-link" nlink: found 1, expected 2"#,
            r#""old/o0" nlink: found 2, expected 1"#,
            r#""old/o1" mtime: found 1795218764.638796594, expected 1795218764.645809073"#,
            r#""old/o1" links: found the same file as "old/o0", expected as "new/old-o1-link""#,
            r#""old/o1" content: found 64 bytes, expected 64, equal up to 0"#,
        ],
    ),
    (
        |tree| {
            tree.remove("to-docs").symlink("to-docs", "dogs").mtime("to-docs", 1_795_218_764, 713_006_157).mtime(
                "",
                1_795_218_793,
                667_812_193,
            );
        },
        &[r#""to-docs" target: found dogs, expected docs"#],
    ),
    (
        |tree| {
            tree.remove("new/null")
                .special("new/null", Kind::CharDevice, libc::makedev(1, 5))
                .owner("new/null", 1, 1)
                .mode("new/null", 0o644)
                .mtime("new/null", 1_795_218_793, 699_621_371)
                .mtime("new", 1_795_218_858, 400_686_508);
        },
        &[r#""new/null" rdev: found 261, expected 259"#],
    ),
    (
        |tree| {
            tree.xattr("lots/f06", "user.note", b"v2")
                .xattr("lots/f05", "user.more", b"")
                .no_xattr("docs/a", "system.posix_acl_default");
        },
        &[
            r#""docs/a" xattr system.posix_acl_default: found none, expected 0x0200000001000700ffffffff04000500ffffffff080005003700000010000500ffffffff20000500ffffffff"#,
            r#""lots/f05" xattr user.more: found 0x, expected none"#,
            r#""lots/f06" xattr user.note: found 0x7632, expected 0x7631"#,
        ],
    ),
];

#[test]
fn a_tree_that_is_not_the_truth_is_told_from_it() {
    let truth = load_truth(&volume("gv0"), 2);
    for (injure, expected) in INJURIES {
        let dir = room();
        lay_out(&truth, dir.path());
        injure(&PlainTree::at(dir.path().to_owned()));
        assert_eq!(compare(dir.path(), &truth, &|_, _| false), *expected);
    }
}

#[test]
fn what_is_excused_is_not_told_and_nothing_else() {
    let truth = load_truth(&volume("gv0"), 2);
    let dir = room();
    lay_out(&truth, dir.path());
    let tree = PlainTree::at(dir.path().to_owned());
    tree.file("internal/a/b", "x")
        .mtime("", 1_795_218_793, 667_812_193)
        .owner("lots/f00", 1, 1)
        .owner("lots/f01", 1, 0);
    let but = |entry: &TruthEntry, field: &str| match field {
        "unexpected" => entry.path == b"internal",
        "uid" => entry.path == b"lots/f00",
        _ => false,
    };
    assert_eq!(
        compare(dir.path(), &truth, &but),
        [r#""lots/f00" gid: found 1, expected 0"#, r#""lots/f01" uid: found 1, expected 0"#,]
    );
}

#[test]
fn stand_ins_of_two_versions_differ() {
    assert_eq!(stand_in("0123", 12), b"0123\n0123\n01");
    assert_eq!(stand_in("", 0), b"");
    let long = stand_in("ab", (1 << 20) + 2);
    assert_eq!((long.len(), &long[(1 << 20) - 4..]), (1_048_578, b"ab\na\0\0".as_slice()));
}

// The rounds as backups: one generation a round, read through the mount. `rebuild` makes the bricks, `load_truth` and
// `compare` tell whether the date of a round shows what its client saw.

/// A recorded volume whose bricks are rebuilt at one place, and a site that takes it.
struct Recorded {
    name: &'static str,
    site: Site,
    bricks: TempDir,
}

/// What is asked about a generation: how it was scanned, its level, gaps and losses.
const HOW: &str =
    "SELECT scan || ' ' || level || ' ' || gaps || ' ' || losses AS how FROM generations ORDER BY taken_at";

impl Recorded {
    /// Makes the site, and a program that tells of the volume what `gluster` does.
    fn new(name: &'static str) -> Self {
        let recorded = Self { name, site: Site::new(), bricks: room() };
        fs::write(recorded.site.path("info.xml"), recorded.info()).unwrap();
        fs::write(recorded.site.path("status.xml"), recorded.status()).unwrap();
        let program = recorded.site.path("gluster");
        let here = recorded.site.path("").display().to_string();
        let script = format!(
            "#!/bin/sh\ncase \"$*\" in\n*' info '*) cat '{here}info.xml' ;;\n*' status '*) cat '{here}status.xml' ;;\n\
             *) exit 1 ;;\nesac\n"
        );
        fs::write(&program, script).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(recorded.site.path("store")).unwrap();
        recorded.site.ok(&["init"]);
        let [store, program] = ["store", "gluster"].map(|file| recorded.site.path(file).display().to_string());
        recorded.site.ok(&[
            "source",
            "add",
            "gluster",
            name,
            "--volume",
            name,
            "--store",
            &store,
            "--gluster",
            &program,
        ]);
        recorded
    }

    fn brick(&self, brick: &str) -> PathBuf {
        self.bricks.path().join(brick)
    }

    /// Puts all bricks where they were before, as they were at the end of `round`.
    fn rebuild(&self, round: u32) {
        for brick in bricks(self.name) {
            let path = self.brick(&brick);
            if path.exists() {
                fs::remove_dir_all(&path).unwrap();
            }
            rebuild(&volume(self.name), round, &brick, &path);
        }
    }

    /// What `gluster volume info --xml` says, as far as it is read.
    fn info(&self) -> String {
        let record = load_namespace(&volume(self.name), 0, &bricks(self.name)[0]);
        let id = record[0].xattrs["trusted.glusterfs.volume-id"].clone();
        let id = Gfid::from_bytes(&id).unwrap();
        let names = bricks(self.name);
        let kind = if names.len() == 1 { "Distribute" } else { "Distributed-Replicate" };
        let replicas = if names.len() == 1 { 1 } else { 2 };
        let listed: String = names
            .iter()
            .map(|brick| {
                let path = self.brick(brick).display().to_string();
                format!("<brick><name>127.1.1.1:{path}</name><isArbiter>0</isArbiter></brick>")
            })
            .collect();
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?><cliOutput><opRet>0</opRet><opErrno>0</opErrno>\
             <volInfo><volumes><volume><name>{}</name><id>{id}</id><status>1</status><brickCount>{}</brickCount>\
             <replicaCount>{replicas}</replicaCount><arbiterCount>0</arbiterCount><disperseCount>0</disperseCount>\
             <redundancyCount>0</redundancyCount><typeStr>{kind}</typeStr><bricks>{listed}</bricks>\
             <options><option><name>changelog.changelog</name><value>on</value></option></options>\
             </volume></volumes></volInfo></cliOutput>",
            self.name,
            names.len(),
        )
    }

    /// What `gluster volume status --xml` says: all bricks are up.
    fn status(&self) -> String {
        let listed: String = bricks(self.name)
            .iter()
            .map(|brick| {
                let path = self.brick(brick).display().to_string();
                format!("<node><hostname>127.1.1.1</hostname><path>{path}</path><status>1</status></node>")
            })
            .collect();
        format!(
            "<cliOutput><opRet>0</opRet><opErrno>0</opErrno><volStatus><volumes><volume><volName>{}</volName>{listed}\
             </volume></volumes></volStatus></cliOutput>",
            self.name
        )
    }

    /// Takes a generation and returns its instant.
    ///
    /// Waits where the generations before, of a second each, are further ahead of the clock than the program lets them be.
    fn take(&self, options: &[&str]) -> String {
        let ahead = "SELECT coalesce(max(taken_at_unix), 0) - unixepoch() FROM generations";
        wait_until("the clock has come near the newest generation", || {
            self.site.ok(&["sql", ahead]).trim().lines().last().unwrap().parse::<i64>().unwrap() < 4
        });
        let words: Vec<&str> = ["take", self.name, "--json"].into_iter().chain(options.iter().copied()).collect();
        let told: serde_json::Value = serde_json::from_str(&self.site.ok(&words)).unwrap();
        assert_documented("asof take", &told);
        told["taken_at"].as_str().unwrap().to_owned()
    }

    /// Returns how the generation of `at` in the mount differs from what a client saw at the end of `round`.
    fn differences(&self, mount: &Path, at: &str, round: u32, but: &dyn Fn(&TruthEntry, &str) -> bool) -> Vec<String> {
        let root = mount.join(format!("@{at}")).join(self.name);
        let lines = compare(&root, &load_truth(&volume(self.name), round), but);
        lines.into_iter().map(|line| format!("{round} {line}")).collect()
    }

    /// What `user.asof.evidence` says of the entries of a generation is how that found out what changed.
    fn assert_evidence(&self, mount: &Path, at: &str) {
        let scan = self.site.ok(&["sql", &format!("SELECT scan FROM generations WHERE taken_at = '{at}'")]);
        let said = site::sh(
            &mount.join(format!("@{at}")).join(self.name),
            "find . -mindepth 1 '(' -type f -o -type d ')' -exec getfattr -n user.asof.evidence {} + 2>/dev/null | grep evidence= | cut -c1-45 | sort | uniq -c",
        );
        let lines: Vec<&str> = said.lines().map(|line| line.trim().split_once(' ').expect("a count").1).collect();
        if scan.contains("walk") {
            assert_eq!(lines, ["user.asof.evidence=\"seen by a walk\""], "{at}");
        } else {
            assert!(scan.contains("changelog"), "{scan}");
            let forms =
                ["user.asof.evidence=\"named by a changelog\"", "user.asof.evidence=\"named by no changelog sin"];
            assert_eq!(lines, forms, "{at}");
        }
    }

    /// Takes every round, then looks at everything once more. Returns how generations were found out, and the differences.
    fn take_all(&self) -> (String, Vec<String>) {
        let mut taken = Vec::new();
        for round in 0..=LAST_ROUND {
            self.rebuild(round);
            taken.push(self.take(&[]));
        }
        let rescanned = self.take(&["--rescan"]);
        let mount = self.site.mount(&[]);
        let mut found = Vec::new();
        for (round, at) in (0..).zip(&taken) {
            found
                .extend(self.differences(&mount, at, round, &|entry, field| round >= 2 && is_unrecorded(entry, field)));
        }
        found.extend(self.differences(&mount, &rescanned, LAST_ROUND, &|_, _| false));
        for at in taken.iter().chain([&rescanned]) {
            self.assert_evidence(&mount, at);
        }
        self.site.umount();
        (self.site.ok(&["sql", HOW]), found)
    }
}

/// Tells what round 2 did and no changelog tells: `fallocate` made a file longer, and a range that the volume was asked
/// to zero, and did not, changed a time. No record has either (`xlators/features/changelog` has no call for them).
fn is_unrecorded(entry: &TruthEntry, field: &str) -> bool {
    match entry.path.as_slice() {
        b"lots/f09" => matches!(field, "size" | "mtime" | "content"),
        b"big.bin" => field == "mtime",
        _ => false,
    }
}

/// Changelogs begin in round 1, so this one is told by a look at everything, and round 2 by the first changelogs. In round
/// 5 the brick was started anew, and what changed before is in a changelog that no list tells of.
#[test]
fn each_round_of_one_brick_is_a_generation_that_shows_what_its_client_saw() {
    let (how, differences) = Recorded::new("gv0").take_all();
    assert_eq!(differences, Vec::<String>::new());
    assert_eq!(how, ALL_ROUNDS);
}

/// The same on two times two bricks, of which one is down in round 5 and is healed by its end.
#[test]
fn each_round_of_a_replicated_volume_is_a_generation_that_shows_what_its_client_saw() {
    let (how, differences) = Recorded::new("gr0").take_all();
    assert_eq!(differences, Vec::<String>::new());
    assert_eq!(how, ALL_ROUNDS);
}

/// All that is left of the catalog are the manifests beside the copies: full ones and increments, walks and changelogs, hard links,
/// renames, what a copy of another generation holds, and where the next one goes on.
#[test]
fn a_lost_catalog_of_a_volume_is_made_again_from_its_store() {
    let recorded = Recorded::new("gv0");
    for round in 0..=LAST_ROUND {
        recorded.rebuild(round);
        let options: &[&str] = if round == 3 { &["--differential"] } else { &[] };
        recorded.take(options);
    }
    recorded.take(&["--full"]);
    let site = &recorded.site;
    assert!(!site.path("catalog.db-manifests").exists(), "all of them lie beside copies");
    let said = site::said(&site.run(&["rebuild", "store", "--into", "new.db"], 0));
    assert!(said.contains("1 source, 8 generations"), "{said}");
    assert_eq!(differences(&site.path("catalog.db"), &site.path("new.db")), Vec::<String>::new());
    site.ok(&["--catalog", "new.db", "check", "--deep"]);
}

/// The bricks have gone on, or are gone: what was in one is not asked.
#[test]
fn a_generation_of_a_volume_is_indexed_again_from_its_manifest() {
    let recorded = Recorded::new("gv0");
    let taken: Vec<String> = (0..=4)
        .map(|round| {
            recorded.rebuild(round);
            recorded.take(&[])
        })
        .collect();
    let site = &recorded.site;
    let at = |number: usize| format!("gv0@{}", taken[number]);
    // What the last two count from is forgotten: the manifest of that is there.
    site.ok(&["forget", &at(2)]);
    for name in ["g", "bricks"] {
        let _ = std::fs::rename(recorded.bricks.path().join(name), recorded.bricks.path().join("away"));
    }
    std::fs::copy(site.path("catalog.db"), site.path("before.db")).unwrap();
    for number in [3, 0, 4, 1] {
        let again = site::said(&site.run(&["index", &at(number), "--again"], 0));
        assert!(again.contains(".manifest\""), "{again}");
        for sql in [
            "SELECT taken_at, path, kind, size_bytes, mtime_unix, mode, uid, gid, nlink, link_target, node FROM files",
            "SELECT taken_at, path, attribute, value_raw FROM xattrs",
        ] {
            assert_eq!(asked(&site.path("before.db"), sql), asked(&site.path("catalog.db"), sql), "{number}");
        }
        site.ok(&["check", "--deep"]);
    }
    site.ok(&["rebuild", "store", "--into", "new.db"]);
    // What a look at the copies saw is not in the manifests.
    for catalog in ["catalog.db", "new.db"] {
        site.ok(&["--catalog", catalog, "index"]);
    }
    assert_eq!(differences(&site.path("catalog.db"), &site.path("new.db")), Vec::<String>::new());
    // Without it nothing can be done, and nothing is.
    let said = site::said(&site.run(&["index", &at(1)], 2));
    assert!(said.contains("is indexed already") && said.contains("--again indexes it anew"), "{said}");
    for manifest in std::fs::read_dir(site.path("store/gv0")).unwrap().map(|entry| entry.unwrap().path()) {
        if manifest.extension().is_some_and(|ending| ending == "manifest") {
            std::fs::remove_file(manifest).unwrap();
        }
    }
    let said = site::said(&site.run(&["index", &at(1), "--again"], 2));
    assert!(said.contains("manifest 9 of \"gv0\"") && said.contains("is not there"), "{said}");
}

/// It does not take the generation back; where the run failed as well, that is what the run ends with.
#[test]
fn a_last_command_that_fails_is_told_beside_what_became_of_the_generation() {
    let recorded = Recorded::new("gv0");
    recorded.rebuild(0);
    let site = &recorded.site;
    site.ok(&["source", "set", "gv0", "--post", "sh -c 'exit 3'"]);
    let post = "the post command \"sh -c 'exit 3'\" ended with exit status: 3";
    let output = site.run(&["take", "gv0", "--json"], 1);
    let printed: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_documented("asof take", &printed);
    assert_eq!((&printed["trouble"], &printed["level"]), (&post.into(), &"full".into()));
    let said = site::said(&output);
    assert!(said.contains(&format!("asof: {post}\nhint: the generation is there\n")), "{said}");
    assert_eq!(site.ok(&["sql", "SELECT count(*) AS n FROM generations"]), "n\n1\n");
    site.ok(&["source", "set", "gv0", "--gluster", "/no/such/gluster"]);
    let said = site::said(&site.run(&["take", "gv0"], 2));
    assert!(said.contains(&format!("{post}\nasof: cannot take a generation of \"gv0\": ")), "{said}");
}

#[test]
fn what_is_asked_of_another_kind_of_source_is_refused_before_anything_is_run() {
    let recorded = Recorded::new("gv0");
    let site = &recorded.site;
    site.ok(&["source", "set", "gv0", "--pre", "touch ran"]);
    for option in [&["--nbd", "nbd://host/x"][..], &["--domain", "vm1"], &["--consistency", "app"]] {
        let said = site::said(&site.run(&[&["take", "gv0"], option].concat(), 2));
        let expected = "asof: source \"gv0\" is a Gluster volume: --nbd, --bitmap, --checkpoint, --since, --consistency, \
                        --location, --domain, --disk and --method are for disks";
        assert_eq!(said.trim(), expected, "{option:?}");
    }
    assert!(!site.path("ran").exists());
    site.ok(&["source", "add", "block", "disk", "--images", "copies"]);
    let said = site::said(&site.run(&["take", "disk", "--rescan"], 2));
    let expected = "asof: source \"disk\" is a disk: --differential and --rescan are for volumes";
    assert_eq!(said.trim(), expected);
    site.ok(&["source", "remove", "disk"]);
    site.ok(&["source", "add", "nfs", "homes", "--copies", "copies"]);
    let said = site::said(&site.run(&["take", "homes"], 2));
    let expected = "asof: source \"homes\" is of kind nfs: another tool makes its copies\n\
                    hint: asof index homes indexes those that are there";
    assert_eq!(said.trim(), expected);
}

/// What [`HOW`] tells in the end: the rounds from 0 to 6, and a look at everything.
const ALL_ROUNDS: &str = "\
how
walk full 0 0
walk incremental 0 0
changelog incremental 0 0
changelog incremental 0 0
changelog incremental 0 0
changelog incremental 0 0
changelog incremental 0 0
walk incremental 0 0
";

/// Returns the time of last change that a client is told, of an entry of a brick.
fn mdata_mtime(entry: &TruthEntry) -> (i64, u32) {
    let Some(mdata) = entry.xattrs.get("trusted.glusterfs.mdata") else { return entry.mtime };
    let number = |at: usize| u64::from_be_bytes(mdata[at..at + 8].try_into().unwrap());
    (number(25) as i64, u32::try_from(number(33)).unwrap())
}

fn names_in(path: &Path) -> BTreeSet<String> {
    fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// Returns the handles of a brick that are symbolic links, with link count and target, and the number of the others.
fn handles_of(brick: &Path) -> (BTreeSet<(String, u64, Vec<u8>)>, u64) {
    let internal = brick.join(".glusterfs");
    let (mut links, mut files) = (BTreeSet::new(), 0);
    for first in names_in(&internal).into_iter().filter(|name| name.len() == 2) {
        for second in names_in(&internal.join(&first)) {
            let directory = internal.join(&first).join(&second);
            for name in names_in(&directory) {
                assert_eq!((&name[..2], &name[2..4]), (first.as_str(), second.as_str()), "{name}");
                let metadata = fs::symlink_metadata(directory.join(&name)).unwrap();
                if metadata.is_symlink() {
                    let target = fs::read_link(directory.join(&name)).unwrap();
                    links.insert((name, metadata.nlink(), target.as_os_str().as_bytes().to_vec()));
                } else {
                    files += 1;
                }
            }
        }
    }
    (links, files)
}

fn recorded_handles(record: &Path) -> BTreeSet<(String, u64, Vec<u8>)> {
    let record = fs::read_to_string(record.join("handles.jsonl")).unwrap();
    let lines = record.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    lines
        .map(|line| {
            let target = brick::bytes(&line, "target").unwrap();
            (line["gfid"].as_str().unwrap().to_owned(), line["nlink"].as_u64().unwrap(), target)
        })
        .collect()
}
