//! `asof diff` between trees that have no history in common: `rsync` is the judge of what differs, `patch` of the lines.

use super::{rows, told};
use crate::site::{Site, assert_documented, sh};
use std::collections::BTreeSet;

/// A site with one copy of a living tree of every kind of file.
fn living() -> Site {
    let site = Site::with_source();
    sh(
        &site.path("live"),
        "mkdir -p docs/old empty; printf 'one\\ntwo\\nthree\\n' > docs/a; echo b > docs/old/b; ln -s a docs/link; mkfifo pipe
         echo x > plain; ln plain hard; mknod null c 1 3; setfattr -n user.k -v 1 docs/a; printf '\\377' > $'odd\\nname\\xff'",
    );
    site.copy("2026-11-18");
    site.ok(&["index"]);
    site
}

#[test]
fn a_tree_that_was_not_touched_does_not_differ() {
    let site = living();
    let live = site.path("live");
    assert_eq!(site.ok(&["diff", "homes", "--live", live.to_str().unwrap(), "--json"]), "");
    // A copy of a copy neither, whatever its inode numbers, links and sizes of directories are.
    site.keep_in_memory(&["out"]);
    sh(&site.path("out"), "cp -a ../live same");
    assert_eq!(site.ok(&["diff", "homes", "--live", "out/same", "--json"]), "");
    sh(&site.path("."), "umount out");
}

#[test]
fn what_happened_to_a_living_tree_since_a_generation_is_one_line_each() {
    let site = living();
    sh(
        &site.path("live"),
        "echo four >> docs/a; rm -r docs/old; ln -sfn b docs/link; chmod 600 plain; rm pipe; mkdir pipe; echo in > pipe/in
         mkdir -p new/sub; echo 12345 > new/sub/x; rm null; mknod null c 1 5; setfattr -n user.k -v 2 empty; touch -h docs/link",
    );
    let diff = |args: &[&str]| rows(&site, &[&["diff", "homes", "--live", "live"], args].concat());
    let all = diff(&[]);
    assert_eq!(
        told(&all, &["what", "path", "kind", "entries", "entries_bytes", "fields", "restore_path"]),
        [
            "modified docs/a file 0 0 size+mtime @2026-11-18T000000Z/homes/docs/a",
            "modified docs/link symlink 0 0 mtime+target @2026-11-18T000000Z/homes/docs/link",
            "deleted docs/old directory 1 2  @2026-11-18T000000Z/homes/docs/old",
            "attributes empty directory 0 0 xattrs @2026-11-18T000000Z/homes/empty",
            "attributes hard file 0 0 mode @2026-11-18T000000Z/homes/hard",
            "created new directory 2 6  null",
            "modified null character device 0 0 mtime+target @2026-11-18T000000Z/homes/null",
            "deleted pipe fifo 0 0  @2026-11-18T000000Z/homes/pipe",
            "created pipe directory 1 3  null",
            "attributes plain file 0 0 mode @2026-11-18T000000Z/homes/plain",
        ]
    );
    assert_documented("asof diff", &serde_json::json!(all));
    let paths = |args: &[&str]| told(&diff(args), &["what", "path"]);
    assert_eq!(paths(&["docs"]), ["modified docs/a", "modified docs/link", "deleted docs/old"]);
    assert_eq!(paths(&["docs/a"]), ["modified docs/a"]);
    assert_eq!(paths(&["new"]), ["created new"]);
    assert_eq!(paths(&["docs/old/b"]), ["deleted docs/old/b"]);
    let said = String::from_utf8(site.run(&["diff", "homes", "docs/old", "--live", "live/docs"], 0).stderr).unwrap();
    assert!(said.contains("--live names what stands for the top of the source"), "{said}");
    // Only what a mount has is printed for it.
    let raw = site.ok(&["diff", "homes", "--live", "live", "-0", "docs"]);
    assert_eq!(raw.matches('\0').count(), 3);
    let said = String::from_utf8(site.run(&["diff", "homes", "pipe", "--live", "live"], 2).stderr).unwrap();
    assert!(said.contains("\"pipe\" is a directory in one of the trees and none in the other"), "{said}");
    let said = String::from_utf8(site.run(&["diff", "homes", "--live", "nowhere"], 2).stderr).unwrap();
    assert!(said.contains("nowhere"), "{said}");
    let said = String::from_utf8(site.run(&["diff", "homes", "none", "--live", "live"], 2).stderr).unwrap();
    assert!(said.contains("there is no \"none\" in either tree"), "{said}");
    // A link above is not followed.
    sh(&site.path("live"), "ln -s docs aside");
    site.run(&["diff", "homes", "aside/a", "--live", "live"], 2);
}

#[test]
fn rsync_names_the_same_paths_whatever_happens() {
    let site = Site::with_source();
    let live = site.path("live");
    sh(
        &live,
        "for d in a b c d; do mkdir -p $d/x/y; for f in 1 2 3; do echo $d$f > $d/$f; echo $f > $d/x/y/$f; done; done",
    );
    site.copy("2026-11-18");
    site.ok(&["index"]);
    let mut seed = 20_261_130_u64;
    let mut next = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    for round in 0..25 {
        let dir = ["a", "b/x", "c/x/y", "d"][next(4) as usize];
        let name = 1 + next(3);
        let edit = match next(9) {
            0 => format!("rm -rf {dir}/{name}"),
            1 => {
                format!("mkdir -p {dir} && rm -rf {dir}/{name} && mkdir {dir}/{name} && echo {round} > {dir}/{name}/in")
            }
            2 => format!("mkdir -p {dir} && rm -rf {dir}/n && echo {round} > {dir}/n"),
            3 => format!("rm -rf {dir}"),
            4 => format!("[ ! -d {dir} ] || chmod {} {dir}", ["700", "755"][next(2) as usize]),
            5 => format!("[ ! -f {dir}/{name} ] || echo more{round} >> {dir}/{name}"),
            6 => format!("mkdir -p {dir} && ln -sfn {round} {dir}/link"),
            7 => format!("[ ! -d {dir} ] || touch -d '2020-01-01 00:00:{round}' {dir}"),
            _ => format!("[ ! -e {dir} ] || [ -e e{round} ] || mv {dir} e{round}"),
        };
        sh(&live, &edit);
        // From the generation to what lives: what rsync would do to the copy.
        let script = "rsync -aHAXn --delete --modify-window=-1 --itemize-changes live/ copies/2026-11-18/";
        let said = sh(&site.path("."), script);
        let judged: BTreeSet<String> =
            said.lines()
                .filter(|line| !line.starts_with(".d..t......"))
                .map(|line| line[12..].split(" -> ").next().unwrap().trim_end_matches('/').to_owned())
                .map(|path| {
                    if path == "." || path.is_empty() {
                        ".".to_owned()
                    } else {
                        path.trim_start_matches("./").to_owned()
                    }
                })
                .collect();
        let lines = rows(&site, &["diff", "homes", "--live", "live"]);
        let of = |whats: &[&str]| -> BTreeSet<String> {
            let is_one = |line: &&serde_json::Value| whats.contains(&line["what"].as_str().unwrap());
            lines.iter().filter(is_one).map(|line| line["path"].as_str().unwrap().to_owned()).collect()
        };
        let whole = of(&["created", "deleted"]);
        let is_told = |path: &str| {
            of(&["created", "deleted", "modified", "attributes", "replaced"]).contains(path)
                || whole.iter().any(|top| path.starts_with(&format!("{top}/")))
        };
        for path in &judged {
            assert!(is_told(path), "round {round}, {edit}: rsync names {path:?}\n{said}\n{lines:#?}");
        }
        // A directory that has another time, and the same names, is a line of ours alone.
        let is_time =
            |line: &serde_json::Value| line["kind"] == "directory" && line["fields"] == serde_json::json!(["mtime"]);
        for line in lines.iter().filter(|line| !is_time(line)) {
            let path = line["path"].as_str().unwrap();
            assert!(judged.contains(path), "round {round}, {edit}: rsync does not name {path:?}\n{said}");
        }
    }
}

#[test]
fn two_sources_are_compared_by_their_paths() {
    let site = living();
    sh(&site.path("."), "mkdir mirror; cp -a live mirror/2026-11-19");
    site.ok(&["source", "add", "nfs", "mirror", "--copies", "mirror", "--identity", "inode", "--checksum"]);
    site.ok(&["index", "mirror"]);
    assert_eq!(site.ok(&["diff", "homes", "--with", "mirror", "--json"]), "");
    sh(&site.path("."), "cp -a live mirror/2026-11-20; echo z > mirror/2026-11-20/z; rm -r mirror/2026-11-20/docs/old");
    site.ok(&["index", "mirror"]);
    let told_of = |args: &[&str]| told(&rows(&site, args), &["source", "taken_at", "what", "path", "restore_path"]);
    assert_eq!(
        told_of(&["diff", "homes", "@2026-11-18", "--with", "mirror@2026-11-20"]),
        [
            "homes 2026-11-20T00:00:00Z deleted docs/old @2026-11-18T000000Z/homes/docs/old",
            "mirror 2026-11-20T00:00:00Z created z @2026-11-20T000000Z/mirror/z",
        ]
    );
    assert_eq!(told_of(&["diff", "homes", "--with", "mirror@2026-11-19"]), [""; 0]);
    assert_eq!(
        told_of(&["diff", "mirror", "--with", "homes"]),
        [
            "homes 2026-11-18T00:00:00Z created docs/old @2026-11-18T000000Z/homes/docs/old",
            "mirror 2026-11-18T00:00:00Z deleted z @2026-11-20T000000Z/mirror/z",
        ]
    );
    // Bytes that both have read whole are compared, whatever the times say.
    sh(
        &site.path("."),
        "mkdir other; cp -a live other/2026-11-21; echo y > plain; touch -r live/plain plain; cp -a --remove-destination plain other/2026-11-21/plain; touch -r live other/2026-11-21",
    );
    site.ok(&["source", "add", "nfs", "other", "--copies", "other", "--checksum"]);
    site.ok(&["index", "other"]);
    let lines = rows(&site, &["diff", "mirror", "@2026-11-19", "--with", "other"]);
    assert_eq!(told(&lines, &["what", "path", "fields"]), ["modified plain bytes"]);
}

#[test]
fn lines_of_text_that_differ_are_what_patch_takes() {
    let site = living();
    sh(&site.path("live"), "sed -i s/two/TWO/ docs/a; printf '\\0' >> plain; echo four >> docs/a; rm docs/old/b");
    site.copy("2026-11-19");
    site.ok(&["index"]);
    let expected = "2026-11-19T00:00:00Z\tmodified\thomes:docs/a\tsize 14 > 19, mtime, xattrs\n--- @2026-11-18T000000Z/homes/docs/a\n\
                    +++ @2026-11-19T000000Z/homes/docs/a\n@@ -1,3 +1,4 @@\n one\n-two\n+TWO\n three\n+four\n";
    let printed = site.ok(&["diff", "homes", "--patch"]);
    assert!(printed.contains(expected), "{printed}");
    assert!(printed.contains("modified\thomes:plain\tsize 2 > 3, mtime\nit is no text\n"), "{printed}");
    assert!(printed.contains("deleted\thomes:docs/old/b\t2 B\n"), "{printed}");
    sh(&site.path("."), "cp -a copies/2026-11-18 back");
    std::fs::write(site.path("patch"), &printed).unwrap();
    sh(&site.path("."), "patch -d back -p2 < patch; cmp back/docs/a live/docs/a");
    // What lives is read where it lives.
    sh(&site.path("live"), "echo five >> docs/a");
    let printed = site.ok(&["diff", "homes", "docs/a", "--live", "live", "--patch"]);
    assert!(printed.contains("/live/docs/a\n@@ -2,3 +2,4 @@\n TWO\n three\n four\n+five\n"), "{printed}");
    // A copy that is gone is told, and what else there is follows.
    sh(&site.path("."), "rm copies/2026-11-18/docs/a");
    let output = site.run(&["diff", "homes", "@2026-11-18", "@2026-11-19", "--patch"], 1);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("asof: comparing \"homes:docs/a\": "), "{said}");
    assert!(String::from_utf8(output.stdout).unwrap().contains("it is no text"));
}

#[test]
fn the_lines_of_a_file_that_was_renamed_are_those_of_its_old_name() {
    let site = super::snapshots();
    let printed = site.ok(&["diff", "web", "@2026-11-20", "@2026-11-19", "--patch"]);
    assert!(!printed.contains("---"), "its bytes are the same, and the bytes of the first night are gone: {printed}");
    // Both nights are one directory now, so the older bytes are nowhere.
    let output = site.run(&["diff", "web", "@2026-11-18", "@2026-11-19", "--patch"], 1);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("comparing \"web:papers/a\""), "{said}");
    assert!(said.contains("docs/a"), "{said}");
}

#[test]
fn what_could_not_be_looked_at_is_not_called_deleted() {
    let site = living();
    let live = site.path("live");
    // Another file system over a directory: what is below it is not the tree's.
    sh(&live, "mount -t tmpfs none docs");
    let said = |args: &[&str], code: i32| super::site::said(&site.run(&[&["diff", "homes"], args].concat(), code));
    for path in ["docs/a", "docs/old", "docs/old/b"] {
        let told = said(&[path, "--live", "live"], 2);
        assert!(told.contains("live/docs"), "{path}: {told}");
    }
    let told = said(&["--live", "live"], 1);
    assert!(told.contains("1 directory could not be looked into or at") && !told.contains("deleted"), "{told}");
    sh(&live, "umount docs");
    // One that can be listed, and whose entries cannot be asked about.
    site.let_everybody_pass();
    sh(
        &site.path(""),
        "chmod 644 catalog.db; chmod 444 live/docs; chown 65534 catalog.db .; rm -f catalog.db-wal catalog.db-shm",
    );
    let program = env!("CARGO_BIN_EXE_asof");
    for path in ["docs/a", "docs/old/b"] {
        let asked = format!("ASOF_CATALOG=$PWD/catalog.db {program} diff homes {path} --live live");
        let output = super::site::as_nobody(&site.path(""), &asked);
        assert_eq!(output.status.code(), Some(2), "{}", super::site::said(&output));
    }
    sh(&site.path(""), "chmod 755 live/docs; chown 0 catalog.db .; rm -f catalog.db-wal catalog.db-shm");
    // A link is no directory of the tree.
    sh(&live, "mv docs aside; ln -s aside docs");
    assert_eq!(told_of_live(&site, "docs/a"), ["deleted docs/a"]);
}

fn told_of_live(site: &Site, path: &str) -> Vec<String> {
    told(&rows(site, &["diff", "homes", path, "--live", "live"]), &["what", "path"])
}

#[test]
fn patch_finds_files_by_the_names_that_are_printed_whatever_is_in_them() {
    let site = Site::with_source();
    let names = [
        "plain",
        "budget",
        "budget 2026",
        "back\\slash",
        "quo\"te",
        "\u{fc}ml\u{e4}ut",
        "tab\there",
        "new\nline",
        "--- a",
        "@@ -1 +1 @@",
    ];
    for name in names {
        std::fs::write(site.path("live").join(name), "1\n2\n3\n").unwrap();
    }
    sh(&site.path("live"), "printf '1\\n' > $'latin\\xff1'; ln plain hard");
    site.copy("2026-11-18");
    for (number, name) in names.iter().enumerate().filter(|(number, _)| number % 2 == 0 || *number > 7) {
        std::fs::write(site.path("live").join(name), format!("1\nnew{number}\n3\n")).unwrap();
    }
    sh(&site.path("live"), "printf '2\\n' > $'latin\\xff1'");
    site.copy("2026-11-19");
    site.ok(&["index"]);
    let printed = site.run(&["diff", "homes", "--patch"], 0).stdout;
    std::fs::write(site.path("patch"), printed).unwrap();
    sh(
        &site.path(""),
        "cp -a copies/2026-11-18 patched; patch -d patched -p2 < patch; diff -r patched copies/2026-11-19",
    );
}
