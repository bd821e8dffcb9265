//! Lists of glusterfind, as it wrote them on real volumes and as it might, with the files that a backup tool copies for
//! them: indexed as generations, and read through a mount.
//!
//! A generation is as right as its list and its files together: what glusterfind did not list nobody copied, so the
//! differences to what a client saw are counted here, each with the defect that it comes from. A list that is wrong about
//! what was copied must do no harm.
//!
//! Needs root and `/dev/fuse`.

mod common;

#[path = "common/brick.rs"]
mod brick;
#[path = "common/site.rs"]
mod site;

use asof::catalog::{GenerationWriter, NewSource, Reader, Writer};
use asof::clock::{Fixed, System};
use asof::index::{FileToKeep, Keep, KeepError, Kept, NewList, Taken, Told, index_list, index_taken};
use asof::model::{Attrs, FileKey, Kind, Level, Listing, RelPath, Rule, SourceKind, Time, escape_bytes};
use asof::monitor::Void;
use asof::source::gluster::list::{Form, Format};
use asof::source::gluster::{Settings, State};
use asof::source::nfs::scan_tree;
use asof::view::Tree;
use brick::{TruthEntry, compare, lay_out, load_truth, round_dir, volume};
use common::{PlainTree, Shown, ino_of, picture_of_copy, picture_of_view};
use site::{Site, assert_documented, said, sh};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

/// Makes a site with a source `gv0` that has lists only.
fn site() -> Site {
    let site = Site::new();
    site.ok(&["init"]);
    site.ok(&["source", "add", "gluster", "gv0", "--lists"]);
    site
}

/// Runs `asof index gv0` with the list `out/NAME` and the files `copies/NAME`, and returns what it said.
fn index(site: &Site, name: &str, at: &str, more: &[&str], code: i32) -> String {
    let (list, data) = (format!("out/{name}"), format!("copies/{name}"));
    let at = &format!("2026-11-{at}T00:00:00Z");
    let args = ["index", "gv0", "--list", &list, "--data", &data, "--at", at];
    said(&site.run(&[&args[..], more].concat(), code))
}

/// Makes the directory `copies/NAME` for the list `out/NAME`.
fn copied(site: &Site, name: &str, list: impl AsRef<[u8]>) -> PlainTree {
    fs::write(site.path("out").join(name), list).unwrap();
    PlainTree::at(site.path("copies").join(name))
}

/// Returns the rows of a query, the values of each joined by commas.
fn sql(site: &Site, query: &str) -> Vec<String> {
    let rows: serde_json::Value = serde_json::from_str(&format!(
        "[{}]",
        site.ok(&["sql", "--json", query]).lines().collect::<Vec<_>>().join(",")
    ))
    .expect("an object a row");
    let text = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let joined = |row: &serde_json::Value| row.as_object().unwrap().values().map(text).collect::<Vec<_>>().join(",");
    rows.as_array().unwrap().iter().map(joined).collect()
}

/// Returns the findings of the newest generation: path and detail.
fn findings(site: &Site) -> Vec<String> {
    sql(
        site,
        "SELECT kind || ' ' || path || ': ' || detail FROM findings \
         WHERE taken_at = (SELECT max(taken_at) FROM generations) ORDER BY path, number",
    )
}

/// Returns the names of the newest generation with their link counts and sizes; of directories only the name.
fn names(site: &Site) -> Vec<String> {
    sql(
        site,
        "SELECT path || CASE kind WHEN 'directory' THEN '/' ELSE ' ' || nlink || ' ' || size_bytes END FROM files \
         WHERE taken_at = (SELECT max(taken_at) FROM generations) ORDER BY path",
    )
}

/// Returns the node of a name in the generation at `at`.
fn node(site: &Site, at: &str, path: &str) -> String {
    let nodes = sql(site, &format!("SELECT node FROM files WHERE taken_at = '{at}' AND path = '{path}'"));
    assert_eq!(nodes.len(), 1, "{path} at {at}");
    nodes[0].clone()
}

/// Reads a file of the newest generation through a mount.
fn bytes(site: &Site, path: &str) -> String {
    let mount = site.mount(&[]);
    let bytes = fs::read(mount.join("@latest/gv0").join(path));
    site.umount();
    String::from_utf8(bytes.unwrap_or_else(|e| panic!("{path}: {e}"))).unwrap()
}

// Lists as they were recorded.

/// Copies, as a simple tool does, what the lines of a list name: each name by itself, directories without what is in
/// them. Names that are not there are passed over.
fn copy_listed(list: &[u8], truth: &[TruthEntry], into: &Path) {
    let mut wanted = BTreeSet::new();
    for line in list.split(|byte| *byte == b'\n') {
        let mut words = line.split(|byte| *byte == b' ');
        let path = match words.next() {
            Some(b"NEW" | b"MODIFY") => words.next(),
            Some(b"RENAME") => words.nth(1),
            _ => None,
        };
        if let Some(path) = path {
            wanted.insert(asof::source::gluster::list::decode(path).0);
        }
    }
    let listed: Vec<TruthEntry> = truth.iter().filter(|entry| wanted.contains(&entry.path)).cloned().collect();
    lay_out(&listed, into);
}

/// Indexes rounds 0 to 5 and returns the differences of each to what a client saw, without those of times and link counts
/// of directories: they are never listed.
fn differences(volume_name: &str) -> (Site, BTreeMap<u32, Vec<String>>, BTreeMap<u32, usize>) {
    let site = site();
    site.keep_in_memory(&["copies"]);
    let volume = volume(volume_name);
    let (mut anomalies, mut differences) = (BTreeMap::new(), BTreeMap::new());
    for round in 0..=5 {
        let (name, truth) = (format!("round-{round}"), load_truth(&volume, round));
        let data = site.path("copies").join(&name);
        let list = if round == 0 {
            lay_out(&truth, &data);
            Vec::new()
        } else {
            let list = fs::read(round_dir(&volume, round).join("glusterfind/inc.enc.txt")).unwrap();
            fs::create_dir(&data).unwrap();
            copy_listed(&list, &truth, &data);
            list
        };
        fs::write(site.path("out").join(&name), &list).unwrap();
        let at = format!("2026-11-20T00:0{round}:00Z");
        let args = ["index", "gv0", "--list", &format!("out/{name}"), "--data", &format!("copies/{name}"), "--at", &at];
        let output = site.asof(&args).output().unwrap();
        assert!(output.status.code().is_some_and(|code| code < 2), "{}", said(&output));
        anomalies.insert(round, findings(&site).len());
    }
    let mount = site.mount(&[]);
    for round in 0..=5 {
        let view = mount.join(format!("@2026-11-20T00-0{round}-00Z/gv0"));
        let never_listed = |entry: &TruthEntry, field: &str| entry.kind == Kind::Directory && field == "mtime";
        let found = compare(&view, &load_truth(&volume, round), &never_listed);
        differences.insert(round, found);
    }
    site.umount();
    (site, differences, anomalies)
}

/// What is wrong with a generation made of glusterfind's lists and of what a simple tool copies for them: a name, a field, the
/// rounds.
type Defect = (&'static str, &'static str, &'static [u32]);

/// What both volumes have in common, by what glusterfind did.
const DEFECTS: &[Defect] = &[
    // A name with commas comes as three lines.
    ("new/a,b,c.txt", "missing", &[1, 2, 3, 4, 5]),
    // A new name of a file is listed, and not which one it had: nobody can tell from one copied name.
    ("new/old-o1-link", "nlink", &[1, 2, 3]),
    ("old/o1", "nlink", &[1, 2, 3]),
    ("old/o1", "links", &[1, 2, 3]),
    ("docs/f15c", "nlink", &[4, 5]),
    ("lots/f15", "nlink", &[4, 5]),
    ("lots/f15", "links", &[4, 5]),
    // The same, and the file was written to: what is said of its other name is lost.
    ("docs/f14-link", "nlink", &[4, 5]),
    ("lots/f14", "nlink", &[4, 5]),
    ("lots/f14", "links", &[4, 5]),
    ("lots/f14", "mtime", &[4, 5]),
    ("lots/f14", "content", &[4, 5]),
    // Attributes of directories and symbolic links are never listed.
    ("docs/a", "xattr system.posix_acl_default", &[2, 3, 4, 5]),
    ("docs/b", "mode", &[2]),
    ("proj", "xattr user.dir", &[2, 3, 4, 5]),
    ("proj/src", "uid", &[2]),
    ("proj/src", "gid", &[2]),
    ("new/sl-rel", "uid", &[2, 3, 4, 5]),
    ("new/sl-rel", "gid", &[2, 3, 4, 5]),
    ("new/sl-rel-hard", "uid", &[2, 3, 4, 5]),
    ("new/sl-rel-hard", "gid", &[2, 3, 4, 5]),
    // fallocate leaves no record.
    ("big.bin", "mtime", &[2, 3, 4, 5]),
    ("lots/f09", "size", &[2, 3, 4, 5]),
    ("lots/f09", "mtime", &[2, 3, 4, 5]),
    ("lots/f09", "content", &[2, 3, 4, 5]),
    // Modified, then renamed: the old name is not listed.
    ("lots/f12", "unexpected", &[3, 4, 5]),
    // Modified, then deleted: not listed.
    ("lots/f19", "unexpected", &[4, 5]),
    ("lots/f21", "unexpected", &[4, 5]),
];

/// What only the volume of one brick has.
const DEFECTS_OF_GV0: &[Defect] = &[
    // Of three names one was deleted: the other two are listed as deleted, and that one is not.
    ("docs/hello-2nd-moved.txt", "unexpected", &[4, 5]),
    ("docs/a/hello-3rd.txt", "nlink", &[4, 5]),
    ("new/hello.txt", "nlink", &[4, 5]),
    // What was done before the brick's restart is not listed.
    ("lots/before-restart", "missing", &[5]),
    ("lots/f22", "mtime", &[5]),
    ("lots/f22", "content", &[5]),
];

#[test]
fn generations_made_of_recorded_lists_are_wrong_where_the_lists_are_and_nowhere_else() {
    for (name, more) in [("gv0", DEFECTS_OF_GV0), ("gr0", &[])] {
        let (_site, found, anomalies) = differences(name);
        let mut expected: BTreeMap<u32, BTreeSet<String>> = (0..=5).map(|round| (round, BTreeSet::new())).collect();
        for (path, field, rounds) in DEFECTS.iter().chain(more) {
            for round in *rounds {
                expected.get_mut(round).unwrap().insert(format!("\"{path}\" {field}"));
            }
        }
        for (round, found) in found {
            let found: BTreeSet<String> =
                found.iter().map(|line| line.split(": ").next().unwrap().to_owned()).collect();
            assert_eq!(found, expected[&round], "{name} round {round}");
        }
        // The three lines of one name in round 1, two deleted files that were copied in round 4.
        assert_eq!(anomalies, BTreeMap::from([(0, 0), (1, 3), (2, 0), (3, 0), (4, 2), (5, 0)]), "{name}");
    }
}

#[test]
fn a_full_generation_mends_all_that_lists_got_wrong() {
    for name in ["gv0", "gr0"] {
        let (site, _, _) = differences(name);
        let truth = load_truth(&volume(name), 6);
        lay_out(&truth, &site.path("copies/full"));
        // Round 6 has names that are not UTF-8: glusterfind said that all is well, and listed nothing.
        let list = fs::read(round_dir(&volume(name), 6).join("glusterfind/inc.enc.txt")).unwrap();
        assert_eq!(list, b"");
        fs::write(site.path("out/full"), list).unwrap();
        index(&site, "full", "21", &["--full"], 0);
        let mount = site.mount(&[]);
        assert_eq!(compare(&mount.join("@latest/gv0"), &truth, &|_, _| false), Vec::<String>::new(), "{name}");
        site.umount();
        let levels = sql(&site, "SELECT level FROM generations ORDER BY taken_at");
        assert_eq!(levels.join(" "), "full incremental incremental incremental incremental incremental full");
    }
}

// Lists as they may be.

/// Makes a site with a first generation, of 2026-11-01.
fn site_with_first() -> Site {
    let site = site();
    let tree = copied(&site, "first", "");
    tree.file("a", "a1").file("b", "b22").file("d/e/f", "f333").file("d/g", "g").file("x,y", "commas");
    tree.hard_link("b", "d/b-too");
    index(&site, "first", "01", &[], 0);
    assert_eq!(names(&site), ["a 1 2", "b 2 3", "d/", "d/b-too 2 3", "d/e/", "d/e/f 1 4", "d/g 1 1", "x,y 1 6"]);
    site
}

#[test]
fn a_renamed_directory_keeps_its_nodes_and_its_bytes() {
    let site = site_with_first();
    copied(&site, "second", "RENAME d z\nRENAME z/g z/h\n");
    let told = index(&site, "second", "02", &[], 0);
    assert!(told.contains("and a list of 2 lines: incremental, 8 entries, 16 B, 2 changed"), "{told}");
    assert_eq!(names(&site), ["a 1 2", "b 2 3", "x,y 1 6", "z/", "z/b-too 2 3", "z/e/", "z/e/f 1 4", "z/h 1 1"]);
    let (before, after) = ("2026-11-01T00:00:00Z", "2026-11-02T00:00:00Z");
    assert_eq!(node(&site, before, "d/e/f"), node(&site, after, "z/e/f"));
    assert_eq!(node(&site, before, "d/g"), node(&site, after, "z/h"));
    assert_eq!(bytes(&site, "z/e/f"), "f333");
}

#[test]
fn names_that_were_swapped_are_swapped_whatever_the_order_of_the_lines() {
    let site = site_with_first();
    let (before, after) = ("2026-11-01T00:00:00Z", "2026-11-02T00:00:00Z");
    copied(&site, "second", "RENAME a d/g\nRENAME d/g a\nRENAME d/e b\n");
    index(&site, "second", "02", &[], 0);
    assert_eq!(names(&site), ["a 1 1", "b/", "b/f 1 4", "d/", "d/b-too 1 3", "d/g 1 2", "x,y 1 6"]);
    assert_eq!(node(&site, before, "a"), node(&site, after, "d/g"));
    assert_eq!(node(&site, before, "d/g"), node(&site, after, "a"));
    assert_eq!((bytes(&site, "a"), bytes(&site, "d/b-too")), ("g".to_owned(), "b22".to_owned()));
}

#[test]
fn new_bytes_come_from_the_directory_and_old_ones_from_where_they_were() {
    let site = site_with_first();
    let tree = copied(&site, "second", "MODIFY a\nNEW n/m/o\nRENAME d/e n/e\nMODIFY n/e/f\n");
    tree.file("a", "newer").file("n/m/o", "o").file("n/e/f", "ff");
    assert_eq!(
        (index(&site, "second", "02", &[], 0).contains("incremental"), names(&site).join(", ")),
        (true, "a 1 5, b 2 3, d/, d/b-too 2 3, d/g 1 1, n/, n/e/, n/e/f 1 2, n/m/, n/m/o 1 1, x,y 1 6".to_owned())
    );
    assert_eq!(bytes(&site, "a"), "newer");
    assert_eq!(bytes(&site, "n/e/f"), "ff");
    assert_eq!(bytes(&site, "d/g"), "g");
    assert_eq!(node(&site, "2026-11-01T00:00:00Z", "d/e/f"), node(&site, "2026-11-02T00:00:00Z", "n/e/f"));
    let mount = site.mount(&[]);
    assert_eq!(fs::read(mount.join("@2026-11-01/gv0/a")).unwrap(), b"a1");
    site.umount();
}

#[test]
fn a_deleted_name_goes_and_a_deleted_directory_goes_with_what_is_below() {
    let site = site_with_first();
    copied(&site, "second", "DELETE b\nDELETE d/e\nDELETE d/e\n");
    let told = index(&site, "second", "02", &[], 0);
    assert!(told.contains("5 entries, 12 B"), "{told}");
    assert_eq!(names(&site), ["a 1 2", "d/", "d/b-too 1 3", "d/g 1 1", "x,y 1 6"]);
}

#[test]
fn a_directory_that_goes_with_two_names_of_one_file_takes_its_bytes_off_once() {
    let site = site();
    let tree = copied(&site, "first", "");
    tree.file("d/a", "12345").hard_link("d/a", "d/b").file("c", "1");
    index(&site, "first", "01", &[], 0);
    copied(&site, "second", "DELETE d\n");
    let told = index(&site, "second", "02", &[], 0);
    assert!(told.contains("1 entry, 1 B"), "{told}");
}

/// Whoever makes a finding of each of his files makes no catalog of them.
#[test]
fn of_very_many_findings_the_first_are_listed_and_all_are_counted_everywhere_also_in_a_catalog_made_again() {
    let site = site_with_first();
    let list: String = (1..=10_060).map(|number| format!("MODIFY d/gone-{number}\n")).collect();
    copied(&site, "second", list + "NEW new\n").file("new", "n");
    let told = index(&site, "second", "02", &[], 1);
    assert!(told.contains("in 10,060 places list and files do not agree"), "{told}");

    let count = |kinds: &str| {
        let of = format!("taken_at LIKE '2026-11-02%' AND {kinds}");
        sql(&site, &format!("SELECT count(*) FROM findings WHERE {of}"))
    };
    assert_eq!((count("path <> '.'"), count("path = '.'")), (vec!["10000".to_owned()], vec!["1".to_owned()]));
    let last = "60 more findings of this kind were counted and are not listed";
    let shown: serde_json::Value = serde_json::from_str(&site.ok(&["show", "gv0@2026-11-02", "--json"])).unwrap();
    let findings = shown["findings"].as_array().unwrap();
    assert_eq!(findings.len(), 10_001);
    assert_eq!(findings[10_000], serde_json::json!({ "kind": "anomaly", "path": ".", "detail": last }));
    let shown = site.ok(&["show", "gv0@2026-11-02"]);
    assert!(shown.ends_with(&format!("anomaly: \".\": {last}\n")), "{}", &shown[shown.len() - 300..]);
    let listed: serde_json::Value = serde_json::from_str(&site.ok(&["generations", "gv0", "--json"])).unwrap();
    let notices: Vec<u64> = listed.as_array().unwrap().iter().map(|row| row["notices"].as_u64().unwrap()).collect();
    assert_eq!(notices, [0, 10_060]);

    let said = said(&site.run(&["rebuild", "--into", "new.db"], 0));
    assert!(said.contains("2 generations"), "{said}");
    let query = "SELECT taken_at, losses, notices FROM generations UNION ALL SELECT taken_at || path, number, detail FROM findings";
    let again = site.ok(&["--catalog", "new.db", "sql", query]);
    assert_eq!(again.lines().count(), 1 + 2 + 10_001);
    assert!(again == site.ok(&["sql", query]), "the catalog that was made again tells others");
}

#[test]
fn what_was_copied_is_there_whatever_the_list_says() {
    let site = site_with_first();
    let tree = copied(&site, "second", "DELETE a\nRENAME b moved\nMODIFY d/gone\nDELETE never\nRENAME p q\n");
    tree.file("a", "a-copied").file("b", "b-copied").file("more/unlisted", "u").directory("empty");
    let told = index(&site, "second", "02", &[], 1);
    assert!(told.contains("in 9 places list and files do not agree"), "{told}");
    assert!(told.contains("hint: asof show gv0@2026-11-02T00:00:00Z lists what was found"), "{told}");
    assert_eq!(
        findings(&site),
        [
            "anomaly a: line 1 says that it was deleted, and it is among the copied files",
            "anomaly a: it is among the copied files, and not in the list",
            "anomaly b: line 2 says that \"b\" was renamed to \"moved\", and the old name is among the copied files: both \
             were kept",
            "anomaly b: it is among the copied files, and not in the list",
            "anomaly d/gone: line 3 says that it is new or modified, and it is not among the copied files",
            "anomaly empty: it is among the copied files, and not in the list",
            "anomaly more/unlisted: it is among the copied files, and not in the list",
            "anomaly never: line 4 says that it was deleted, and there was no such name",
            "anomaly q: line 5 says that \"p\" was renamed to \"q\", and neither the old name was known nor the new one is \
             among the copied files",
        ]
    );
    let expected = "a 1 8, b 2 8, d/, d/b-too 2 8, d/e/, d/e/f 1 4, d/g 1 1, empty/, more/, more/unlisted 1 1, x,y 1 6";
    assert_eq!(names(&site).join(", "), expected);
    assert_eq!(bytes(&site, "d/b-too"), "b-copied");
}

#[test]
fn a_name_that_was_deleted_and_made_again_is_another_node() {
    let site = site_with_first();
    let tree = copied(&site, "second", "NEW a\nDELETE a\nDELETE d/g\nNEW d/g\nNEW d/g/in\n");
    tree.file("a", "again").file("d/g/in", "in");
    index(&site, "second", "02", &[], 0);
    assert_eq!(
        names(&site),
        ["a 1 5", "b 2 3", "d/", "d/b-too 2 3", "d/e/", "d/e/f 1 4", "d/g/", "d/g/in 1 2", "x,y 1 6"]
    );
    assert_ne!(node(&site, "2026-11-01T00:00:00Z", "a"), node(&site, "2026-11-02T00:00:00Z", "a"));
}

#[test]
fn a_name_that_the_list_broke_is_put_together_again() {
    let site = site_with_first();
    let tree = copied(&site, "second", "NEW d/p\nNEW q,r\nNEW s\nDELETE x\nDELETE y\n");
    tree.file("d/p,q,r,s", "pqrs");
    index(&site, "second", "02", &[], 1);
    assert_eq!(
        findings(&site),
        [
            "anomaly d/p,q,r,s: lines 1 to 3 are this name, which the list broke",
            "anomaly x,y: lines 4 to 5 are this name, which the list broke",
        ]
    );
    let expected = "a 1 2, b 2 3, d/, d/b-too 2 3, d/e/, d/e/f 1 4, d/g 1 1, d/p,q,r,s 1 4";
    assert_eq!(names(&site).join(", "), expected);

    let tree = copied(&site, "third", "NEW d/line\nbreak\nMODIFY d/g\n");
    tree.file("d/line\nbreak", "n").file("d/g", "gg");
    index(&site, "third", "03", &["--list-format", "plain"], 1);
    assert_eq!(
        findings(&site),
        ["anomaly d/line\\nbreak: lines 1 to 2 are this name, which the list broke".to_owned()]
    );
}

#[test]
fn names_that_are_not_utf8_come_through_every_form() {
    let site = site_with_first();
    let forms: [(&str, &[u8]); 4] = [
        ("encoded", b"NEW d/\xff%20%0A%25\n"),
        ("plain", b"NEW d/\xff \nMODIFY d/g\n"),
        ("nul", b"NEW\0d/\xff\n\0"),
        ("json", b"{\"what\":\"new\",\"path\":\"d/\\\\xff\"}\n"),
    ];
    let copies: [&[u8]; 4] = [b"d/\xff \n%", b"d/\xff ", b"d/\xff\n", b"d/\xff"];
    for (at, ((form, list), name)) in forms.into_iter().zip(copies).enumerate() {
        let tree = copied(&site, form, list);
        tree.file(name, form);
        if form == "plain" {
            tree.file("d/g", "gg");
        }
        index(&site, form, &format!("0{}", at + 2), &["--list-format", form], 0);
    }
    assert_eq!(
        sql(
            &site,
            "SELECT path FROM files WHERE taken_at = (SELECT max(taken_at) FROM generations) AND name LIKE '%xff%' ORDER BY path"
        ),
        ["d/\\xff", "d/\\xff ", "d/\\xff \\n%", "d/\\xff\\n"]
    );
}

#[test]
fn a_list_with_a_separator_and_a_prefix_is_read() {
    let site = site_with_first();
    copied(&site, "second", "MODIFY==/snap/x/a\nRENAME==/snap/x/b==/snap/x/c\nNEW==/other\n").file("a", "aa");
    index(&site, "second", "02", &["--field-separator", "==", "--output-prefix", "/snap/x"], 1);
    assert_eq!(findings(&site), ["anomaly .: line 3 \"NEW==/other\" names a path that does not begin with the prefix"]);
    assert_eq!(names(&site).join(", "), "a 1 2, c 2 3, d/, d/b-too 2 3, d/e/, d/e/f 1 4, d/g 1 1, x,y 1 6");
}

#[test]
fn a_list_that_was_cut_off_says_so() {
    let site = site_with_first();
    copied(&site, "second", "MODIFY a\nDELETE d/").file("a", "aa");
    index(&site, "second", "02", &[], 1);
    assert_eq!(findings(&site), ["anomaly .: line 2 \"DELETE d/\" is cut off by the end of the list"]);
    assert_eq!(names(&site).len(), 8);
}

#[test]
fn hard_links_among_the_copied_files_are_one_file_and_join_the_one_that_was_known() {
    let site = site_with_first();
    let tree = copied(&site, "second", "NEW 0-first\nMODIFY d/g\n");
    tree.file("d/g", "together").hard_link("d/g", "0-first");
    index(&site, "second", "02", &[], 0);
    assert_eq!(names(&site)[..2], ["0-first 2 8", "a 1 2"]);
    assert_eq!(node(&site, "2026-11-01T00:00:00Z", "d/g"), node(&site, "2026-11-02T00:00:00Z", "0-first"));

    // Names of one file that a tool without hard links copied one by one stay one, but not where they differ.
    let tree = copied(&site, "third", "MODIFY b\nMODIFY d/b-too\nMODIFY 0-first\nMODIFY d/g\n");
    tree.file("b", "same").file("d/b-too", "same").mtime("b", 1_700_000_000, 5).mtime("d/b-too", 1_700_000_000, 5);
    tree.file("0-first", "one").file("d/g", "other");
    index(&site, "third", "03", &[], 0);
    let expected = "0-first 1 3, a 1 2, b 2 4, d/, d/b-too 2 4, d/e/, d/e/f 1 4, d/g 1 5, x,y 1 6";
    assert_eq!(names(&site).join(", "), expected);
    assert_eq!((bytes(&site, "d/b-too"), bytes(&site, "d/g")), ("same".to_owned(), "other".to_owned()));
}

#[test]
fn lines_that_would_make_a_loop_or_lose_a_tree_are_left_aside() {
    let site = site_with_first();
    copied(&site, "second", "RENAME d d/e/d\nRENAME a nowhere/a\nRENAME b d/e/b\nDELETE d/e\n");
    index(&site, "second", "02", &[], 1);
    assert_eq!(
        findings(&site),
        [
            "anomaly d/e/d: line 1 says that \"d\" was renamed to \"d/e/d\", which is below itself",
            "anomaly nowhere/a: line 2 says that \"a\" was renamed to \"nowhere/a\", into a directory that is not known: it \
             was left where it was",
        ]
    );
    // What was moved into a directory goes with it.
    assert_eq!(names(&site).join(", "), "a 1 2, d/, d/b-too 1 3, d/g 1 1, x,y 1 6");
}

#[test]
fn directories_that_a_tool_made_for_what_is_in_them_keep_their_attributes() {
    let site = site();
    let tree = copied(&site, "first", "");
    tree.file("d/f", "1").mode("d", 0o2750).owner("d", 7, 8).xattr("d", "user.kept", b"v").mtime("d", 1_700_000_000, 1);
    index(&site, "first", "01", &[], 0);
    copied(&site, "second", "MODIFY d/f\n").file("d/f", "22");
    index(&site, "second", "02", &[], 0);
    let directory = "SELECT mode, uid, gid, mtime_unix, has_xattrs FROM files WHERE taken_at = '2026-11-02T00:00:00Z' AND path = 'd'";
    assert_eq!(sql(&site, directory), ["2750,7,8,1700000000,1"]);
    copied(&site, "third", "MODIFY d\n").directory("d").mode("d", 0o700);
    index(&site, "third", "03", &[], 0);
    assert_eq!(sql(&site, &directory.replace("11-02", "11-03"))[0][..9], *"0700,0,0,");
}

// Lists and looks at the volume itself, of one source.

/// Takes no bytes: they are said to be copied.
struct Said;

impl Keep for Said {
    fn file(&mut self, file: FileToKeep<'_>) -> Result<Kept, KeepError> {
        Ok(if file.held.is_some() { Kept::Held } else { Kept::Copied { moved: None } })
    }

    fn link(&mut self, _: &RelPath, _: FileKey) -> Result<(), KeepError> {
        Ok(())
    }

    fn other(&mut self, _: &RelPath, _: &Attrs, _: bool) -> Result<(), KeepError> {
        Ok(())
    }

    fn seal(&mut self, _: &GenerationWriter<'_>) -> Result<String, KeepError> {
        Ok(State::default().to_json())
    }
}

/// Indexes `live` as a look at a volume tells it: every file with an identity for life.
fn look(site: &Site, at: Time) {
    let catalog = site.path("catalog.db");
    let source = Reader::open(&catalog).unwrap().source("gv0").unwrap();
    let (live, store) = (site.path("live"), site.path("copies"));
    let for_life = |key: FileKey| FileKey { device: 0, inode: key.inode, born_ns: 4 };
    let mut walk = |each: &mut dyn FnMut(Listing) -> ControlFlow<()>| {
        let tell = &mut |mut listing: Listing| {
            listing.root = listing.root.map(|(key, attrs)| (for_life(key), attrs));
            listing.entries.iter_mut().for_each(|entry| entry.key = for_life(entry.key));
            each(listing)
        };
        scan_tree(&live, tell).map(drop)
    };
    let taken = Taken { source: &source, at, level: Level::Incremental, store: &store, below: b"looked" };
    let mut writer = Writer::open(&catalog).unwrap();
    index_taken(&mut writer, &taken, Told::All(&mut walk), &mut Said, &System, &Void).unwrap();
}

#[test]
fn a_look_at_the_volume_finds_the_nodes_of_lists_again_by_their_paths_and_from_then_on_by_who_they_are() {
    let site = site_with_first();
    sh(&site.path(""), "rmdir live && cp -a copies/first live");
    let day = |day: u8| format!("2026-11-0{day}T00:00:00Z");
    let time = |day: i64| Time(1_793_491_200 + (day - 1) * 86_400);
    look(&site, time(2));
    assert_eq!(sql(&site, "SELECT max(taken_at) FROM generations"), [day(2)]);
    for path in ["a", "b", "d", "d/b-too", "d/e", "d/e/f", "d/g", "x,y"] {
        assert_eq!(node(&site, &day(1), path), node(&site, &day(2), path), "{path}");
    }
    assert_eq!(names(&site).len(), 8);
    sh(&site.path("live"), "mv d/e moved; mv a d/g; mv b c; echo > a");
    look(&site, time(3));
    for (before, after) in [("d/e", "moved"), ("d/e/f", "moved/f"), ("a", "d/g"), ("b", "c"), ("b", "d/b-too")] {
        assert_eq!(node(&site, &day(2), before), node(&site, &day(3), after), "{before}");
    }
    assert_ne!(node(&site, &day(2), "a"), node(&site, &day(3), "a"));

    // And a list goes on from there.
    copied(&site, "fourth", "RENAME moved d/e\nMODIFY a\n").file("a", "aaaa");
    index(&site, "fourth", "04", &[], 0);
    assert_eq!(node(&site, &day(1), "d/e/f"), node(&site, &day(4), "d/e/f"));
    assert_eq!(node(&site, &day(3), "a"), node(&site, &day(4), "a"));
    let state: serde_json::Value = {
        let writer = Writer::open(&site.path("catalog.db")).unwrap();
        let source = Reader::open(&site.path("catalog.db")).unwrap().source("gv0").unwrap();
        serde_json::from_str(&writer.resume(source.id).unwrap().unwrap().state.unwrap()).unwrap()
    };
    assert_eq!(state["walk_next"], "the generation before came from a list");
}

// Whatever lists say.

/// Numbers that look random and are the same every time (xorshift64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }

    /// Returns one of the few paths that all lists and trees are made of, so that they meet.
    fn path(&mut self) -> String {
        let depth = 1 + self.roll(3);
        let names: Vec<&str> = (0..depth).map(|_| ["a", "b", "c"][self.roll(3) as usize]).collect();
        names.join("/")
    }

    /// Makes a few names in a tree, where there is room for them.
    fn grow(&mut self, tree: &PlainTree) {
        for _ in 0..self.roll(7) {
            let (path, from) = (self.path(), self.path());
            let is_free = fs::symlink_metadata(tree.join(&path)).is_err()
                && path.match_indices('/').all(|(at, _)| {
                    fs::symlink_metadata(tree.join(&path[..at])).map_or(true, |metadata| metadata.is_dir())
                });
            if !is_free {
                continue;
            }
            match self.roll(5) {
                0 => tree.directory(&path),
                1 => tree.symlink(&path, "target"),
                2 if fs::symlink_metadata(tree.join(&from)).is_ok_and(|metadata| metadata.is_file()) => {
                    tree.hard_link(&from, &path)
                }
                _ => tree.file(&path, format!("{} bytes", self.0)),
            };
        }
    }

    fn list(&mut self, copied: &[String]) -> String {
        let mut list = String::new();
        for _ in 0..self.roll(9) {
            let path = match copied {
                [] => self.path(),
                _ if self.roll(2) == 0 => self.path(),
                copied => copied[self.roll(copied.len() as u64) as usize].clone(),
            };
            let line = match self.roll(6) {
                0 => format!("NEW {path}"),
                1 => format!("MODIFY {path}"),
                2 => format!("DELETE {path}"),
                3 | 4 => format!("RENAME {} {path}", self.path()),
                _ => path,
            };
            list += &(line + "\n");
        }
        list + "MODIFY never\n"
    }
}

#[test]
fn whatever_a_list_says_what_was_copied_is_there_and_the_tree_is_whole() {
    for seed in 1..=50_u64 {
        let mut dice = Dice(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed));
        let dir = tempfile::tempdir().unwrap();
        let catalog = dir.path().join("catalog.db");
        Writer::create(&catalog).unwrap();
        let mut writer = Writer::open(&catalog).unwrap();
        let settings = Settings::of_lists().to_json().unwrap();
        let source = NewSource {
            name: "gv0",
            kind: SourceKind::Gluster,
            settings: &settings,
            rule: Rule::WRITES,
            added_at: Time(1_000_000_000),
        };
        writer.add_source(&source).unwrap();
        let source = Reader::open(&catalog).unwrap().source("gv0").unwrap();
        let format = Format::new(Form::Encoded, b" ", None).unwrap();
        for round in 0..8 {
            let at = Time(1_793_491_200 + round);
            let (list, data) = (dir.path().join(format!("list-{round}")), dir.path().join(round.to_string()));
            dice.grow(&PlainTree::at(data.clone()));
            let copied = picture_of_copy(&data);
            let paths: Vec<String> =
                copied.keys().skip(1).map(|path| String::from_utf8(path.clone()).unwrap()).collect();
            let lines = dice.list(&paths);
            fs::write(&list, &lines).unwrap();
            let full = round == 5;
            let (list, data) = (list.as_path(), data.as_path());
            let new = NewList { source: &source, list, format: &format, data, at, full, may_be_empty: true };
            let listed = index_list(&mut writer, &Reader::open(&catalog).unwrap(), &new, &System, &Void).unwrap();

            let what = format!("seed {seed} round {round}\n{lines}");
            let clock = Arc::new(Fixed(Time(at.0 + 10)));
            let tree = Tree::over(&catalog, 8, clock, jiff::tz::TimeZone::UTC).unwrap();
            let root = ino_of(&tree, "@latest/gv0").unwrap();
            let shown = picture_of_view(&tree, root, true, false);
            for (path, copied) in copied.iter().skip(1) {
                let shown = shown.get(path).unwrap_or_else(|| panic!("{what}: {} is lost", escape_bytes(path)));
                let picture = |one: &Shown| (one.kind, one.bytes.clone(), one.target.clone());
                assert_eq!(picture(shown), picture(copied), "{what}: {}", escape_bytes(path));
            }
            assert!(!full || shown.len() == copied.len(), "{what}");
            assert_eq!(listed.done.counts.entries, shown.len() as u64 - 1, "{what}");
            let files = shown.iter().filter(|(path, one)| one.kind == Kind::File && one.same_file_as == **path);
            let size: u64 = files.map(|(_, one)| one.size_bytes).sum();
            assert_eq!(listed.done.counts.size_bytes, size, "{what}");
            // A name for each link, and none that is not counted.
            let mut groups: BTreeMap<&[u8], u32> = BTreeMap::new();
            shown
                .values()
                .filter(|one| one.kind != Kind::Directory)
                .for_each(|one| *groups.entry(&one.same_file_as).or_default() += 1);
            for (path, one) in shown.iter().filter(|(_, one)| one.kind != Kind::Directory) {
                assert_eq!(one.nlink, groups[one.same_file_as.as_slice()], "{what}: {}", escape_bytes(path));
            }
        }
    }
}

// What is refused.

#[test]
fn an_empty_list_with_nothing_copied_is_refused_unless_it_is_meant() {
    let site = site_with_first();
    copied(&site, "second", "");
    let told = index(&site, "second", "02", &[], 2);
    let at = site.path("copies/second");
    assert_eq!(
        told.trim(),
        format!(
            "asof: cannot index generation 2026-11-02T00:00:00Z of \"gv0\": no file was copied: {at:?} is empty, and the \
             list \"out/second\" has 0 lines\nhint: glusterfind leaves an empty list when it fails; --empty, if it is so"
        )
    );
    index(&site, "second", "02", &["--full"], 2);
    index(&site, "second", "02", &["--empty"], 0);
    assert_eq!(names(&site).len(), 8);
    // A directory that should have been mounted.
    copied(&site, "third", "MODIFY a\nDELETE b\n");
    index(&site, "third", "03", &[], 2);
    assert_eq!(names(&site).len(), 8);
}

#[test]
fn what_cannot_be_the_next_generation_is_refused_with_a_reason() {
    let site = site_with_first();
    copied(&site, "second", "MODIFY a\n").file("a", "aa");
    for (at, more, expected) in [
        (
            "01",
            &[][..],
            "the generation would be of 2026-11-01T00:00:00Z, and the newest one is of 2026-11-01T00:00:00Z: a list goes on \
             from the newest\nhint: give it a later --at; asof source remove forgets a source, to index it anew",
        ),
        (
            "02",
            &["--field-separator", "=="],
            "none of 1 lines of the list \"out/second\" is understood; the first one begins with none of NEW, MODIFY, RENAME, \
             DELETE\nhint: --list-format, --field-separator and --output-prefix describe its format",
        ),
        ("02", &["--list", "out/none"], "cannot open the list \"out/none\": No such file or directory (os error 2)"),
        ("02", &["--data", "copies/none"], "No such file or directory (os error 2)"),
        ("02", &["--data", "out/second"], "/out/second\" holds no copied files: it is not a directory"),
        (
            "02",
            &["--data", "copies/first"],
            "/copies/first\" is indexed already, as the copy of 2026-11-01T00:00:00Z\n\
             hint: every generation needs a directory of its own, which stays as it is",
        ),
        ("02", &["--field-separator", ""], "reading the options: the field separator is empty"),
    ] {
        let mut args = vec!["index", "gv0", "--list", "out/second", "--data", "copies/second", "--at", "DATE"];
        let date = format!("2026-11-{at}T00:00:00Z");
        args[7] = &date;
        if let [option, value] = more {
            match args.iter().position(|arg| arg == option) {
                Some(at) => args[at + 1] = value,
                None => args.extend([*option, *value]),
            }
        }
        let told = said(&site.run(&args, 2));
        assert!(told.trim().ends_with(expected), "{told}\nexpected {expected}");
    }
    assert_eq!(sql(&site, "SELECT count(*) FROM generations"), ["1"]);
}

#[test]
fn a_source_of_lists_is_not_taken_and_a_share_needs_no_list() {
    let site = site_with_first();
    assert_eq!(
        said(&site.run(&["take", "gv0"], 2)).trim(),
        "asof: cannot take a generation of \"gv0\": source \"gv0\" has no volume: its generations come from lists\n\
         hint: asof index gv0 --list LIST --data DIR --at DATE indexes what another tool copied"
    );
    assert_eq!(
        said(&site.run(&["index", "gv0"], 2)).trim(),
        "asof: source \"gv0\" is a Gluster volume: its generations are taken, or come from lists\n\
         hint: asof take gv0, or asof index gv0 --list LIST --data DIR --at DATE"
    );
    site.ok(&["source", "add", "nfs", "homes", "--copies", "copies"]);
    let refused = site.run(&["index", "homes", "--list", "l", "--data", "copies", "--at", "2026-11-02"], 2);
    assert_eq!(
        said(&refused).trim(),
        "asof: source \"homes\" is of kind nfs: its copies need no list\n\
         hint: asof index homes PATH --at DATE indexes a full copy"
    );
}

#[test]
fn what_is_indexed_from_a_list_is_printed_as_json_and_its_copy_is_not_ours() {
    let site = site();
    copied(&site, "first", "").file(b"a", b"1");
    let (data, at) = (site.path("copies/first"), "2026-11-01T00:00:00Z");
    let args = ["index", "gv0", "--list", "out/first", "--data", "copies/first", "--at", at, "--empty", "--json"];
    let printed = serde_json::from_str(&site.ok(&args)).expect("JSON");
    assert_documented("asof index NAME --list", &printed);
    assert_eq!((&printed[0]["taken_at"], &printed[0]["entries"]), (&at.into(), &1.into()));
    let output = site.run(&["forget", &format!("gv0@{at}"), "--json"], 0);
    let printed: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_documented("asof forget", &printed);
    assert_eq!((&printed["own"], &printed["indexed_by_path"]), (&false.into(), &false.into()));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let stays = format!("its copy stays in {data:?}, and is not indexed again by itself\n");
    assert_eq!(said, format!("forgot {at} of \"gv0\"\n{stays}"));
}
