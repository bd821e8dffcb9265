//! Every generation is the copy that it was indexed from, whichever tool looks.
//!
//! Two things differ, and are not compared: the ctime (it belongs to a copy, and a version keeps the one of the
//! copy in which it was first seen), and the link count of a copy in a farm (it counts the names in other
//! generations too; the mount counts those of this one).

use crate::site::{Site, difference, said, sh, shell};
use crate::tree::{Generation, index_rich_tree};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

#[test]
fn every_tool_finds_in_each_generation_what_is_in_its_copy() {
    let site = Site::with_source();
    let generations = index_rich_tree(&site);
    site.mount(&[]);
    for generation in &generations {
        assert_same_to_all_tools(generation);
        assert_restored_by_all_tools(&site, generation);
    }
    site.umount();
}

#[test]
fn every_tool_finds_the_same_when_the_kernel_reads_by_itself() {
    let site = Site::with_source();
    let generations = index_rich_tree(&site);
    site.mount(&["passthrough"]);
    generations.iter().for_each(assert_same_to_all_tools);
    assert_restored_by_all_tools(&site, &generations[0]);
    assert_restored_by_all_tools(&site, &generations[4]);
    let log = std::fs::read_to_string(site.path("catalog.db.log")).expect("a log");
    assert!(log.contains("passthrough\n") && !log.contains("without passthrough"), "{log}");
    site.umount();
}

/// Names, bytes, holes, modes, owners, times and links; no extended attributes, ACLs included.
#[test]
fn without_extended_attributes_all_else_comes_back() {
    let site = Site::with_source();
    let generations = index_rich_tree(&site);
    site.mount(&["noxattr"]);
    for generation in &generations {
        let Generation { view, copy } = generation;
        assert_same("find", attributes(view), attributes(copy));
        assert_same("stat", status(view), status(copy));
        assert_links(view, copy);
        let rsync = "rsync -aHSn --numeric-ids --checksum --itemize-changes --delete --modify-window=-1";
        assert_eq!(sh(&site.path("out"), &format!("{rsync} {}/ {}/", copy.display(), view.display())), "");
        let refused = said(&shell(view, "getfattr -d -m - attrs/user"));
        assert!(refused.contains("Operation not supported"), "{refused}");
    }
    site.umount();
}

#[test]
fn a_directory_of_10000_names_is_listed_whole_in_each_generation() {
    let site = Site::with_source();
    site.keep_in_memory(&["live", "copies"]);
    let live = site.path("live");
    sh(&live, "mkdir many; cd many; seq -f f%05g 10000 | xargs touch");
    let first = site.copy("2026-11-18");
    sh(&live, "cd many; seq -f f%05g 3 7 9999 | xargs rm; seq -f g%05g 2000 | xargs touch");
    let second = site.copy("2026-11-19");
    sh(&live, "cd many; seq -f f%05g 3 7 9999 | xargs mkdir; seq -f f%05g 1 7 9999 | xargs chmod 600");
    let third = site.copy("2026-11-20");
    site.ok(&["index", "homes"]);
    let mount = site.mount(&[]);
    for (day, copy, count) in [("18", first, 10_000), ("19", second, 10_571), ("20", third, 12_000)] {
        let view = mount.join(format!("homes/@2026-11-{day}T000000Z"));
        let names = sh(&view.join("many"), "ls -U");
        assert_eq!(names.lines().count(), count);
        assert_eq!(names.lines().collect::<BTreeSet<_>>().len(), count, "a name is listed twice");
        assert_same("find", attributes(&view), attributes(&copy));
    }
    site.umount();
}

/// ext4 ends in 2446 and cannot hold such a time; tmpfs can.
#[test]
fn a_time_in_the_year_2500_comes_back_to_the_nanosecond() {
    let site = Site::with_source();
    site.keep_in_memory(&["copies"]);
    sh(&site.path("copies"), "mkdir 2026-11-20; printf t > 2026-11-20/t");
    sh(&site.path("copies/2026-11-20"), "touch -d 2500-01-02T03:04:05.000000006 t");
    site.ok(&["index", "homes"]);
    let mount = site.mount(&[]);
    let time = sh(&mount.join("homes/@latest"), "stat -c %y t; cat t");
    assert_eq!(time, "2500-01-02 03:04:05.000000006 +0000\nt");
    site.umount();
}

fn assert_same_to_all_tools(generation: &Generation) {
    let Generation { view, copy } = generation;
    assert_eq!(difference(copy, view), "", "rsync {view:?}");
    assert_same("find", attributes(view), attributes(copy));
    assert_same("stat", status(view), status(copy));
    assert_same("getfattr", paragraphs(view, "getfattr -R -P -h -d -m - -e hex ."), {
        paragraphs(copy, "getfattr -R -P -h -d -m - -e hex .")
    });
    assert_same("getfacl", paragraphs(view, "getfacl -R -P -n ."), paragraphs(copy, "getfacl -R -P -n ."));
    assert_links(view, copy);
    // What cannot be compared by its bytes is of one type on both sides, or diff says another sentence.
    let diff = shell(copy, &format!("diff -r --no-dereference --exclude=special . {}", view.display()));
    let told = String::from_utf8_lossy(&diff.stdout);
    let fifos = |line: &&str| !line.contains(" is a fifo while file ") || !line.ends_with(" is a fifo");
    let devices = |line: &&str| !line.contains("special file");
    let differences: Vec<&str> = told.lines().filter(fifos).filter(devices).collect();
    assert_eq!(differences, Vec::<&str>::new(), "{}", String::from_utf8_lossy(&diff.stderr));
    assert_same("tar", archive(view), archive(copy));
}

fn assert_restored_by_all_tools(site: &Site, generation: &Generation) {
    let Generation { view, copy } = generation;
    let (from, out) = (view.display(), site.path("out"));
    let tar = "--xattrs --acls --xattrs-include='*' --numeric-owner -S";
    let tools = [
        ("cp", format!("cp -a {from} to")),
        ("rsync", format!("rsync -aHAXS --numeric-ids {from}/ to")),
        ("tar", format!("mkdir to; tar {tar} -C {from} -cf - . | tar {tar} -C to -xpf -; ")),
    ];
    for (tool, script) in tools {
        sh(&out, &script);
        if tool == "tar" {
            // tar leaves sockets out and keeps no links of pipes.
            let put_back = format!("cp -a {from}/special/socket to/special/; ln -f to/special/fifo to/links/fifo");
            sh(&out, &format!("{put_back}; for dir in special links; do touch -r {from}/$dir to/$dir; done"));
        }
        assert_eq!(difference(copy, &out.join("to")), "", "{tool} of {view:?}");
        for file in ["few", "hole"] {
            let bytes: u64 = sh(&out, &format!("du -B1 to/sparse/{file} | cut -f1")).trim().parse().expect("a number");
            assert!(bytes <= 64 << 10, "{tool} wrote {bytes} bytes for sparse/{file} of {view:?}");
        }
        sh(&out, "rm -r to");
    }
}

/// Type, mode, owner, size, time, target and name of each file; of a directory also its link count.
fn attributes(dir: &Path) -> Vec<Vec<u8>> {
    let format = r"%y %m %U %G %s %T@ %l %P\0";
    let script = format!(r"find . -printf '{format}'; find . -type d -printf '%n %P\0'");
    records(dir, &script, |bytes| split(bytes, b"\0"))
}

fn status(dir: &Path) -> Vec<Vec<u8>> {
    let format = r"%f %u %g %s %t:%T %.9Y %n\0";
    records(dir, &format!("find . -print0 | xargs -0 stat --printf '{format}'"), |bytes| split(bytes, b"\0"))
}

/// What tools tell of each file in a paragraph of its own, in the order of the directory.
fn paragraphs(dir: &Path, script: &str) -> Vec<Vec<u8>> {
    records(dir, script, |bytes| split(bytes, b"\n\n"))
}

fn records(dir: &Path, script: &str, split: impl Fn(&[u8]) -> Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let output = shell(dir, script);
    assert!(output.status.success(), "{script}\n{}", String::from_utf8_lossy(&output.stderr));
    let mut records = split(&output.stdout);
    records.sort();
    records
}

fn split(bytes: &[u8], end: &[u8]) -> Vec<Vec<u8>> {
    let mut out = vec![Vec::new()];
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at..].starts_with(end) {
            out.push(Vec::new());
            at += end.len();
        } else {
            out.last_mut().expect("one").push(bytes[at]);
            at += 1;
        }
    }
    out
}

fn assert_same(tool: &str, view: Vec<Vec<u8>>, copy: Vec<Vec<u8>>) {
    assert!(copy.len() > 2, "{tool} tells nothing");
    let only_in = |one: &[Vec<u8>], other: &[Vec<u8>]| -> Vec<String> {
        let lines = one.iter().filter(|line| other.binary_search(line).is_err());
        lines.take(10).map(|line| line.escape_ascii().to_string()).collect()
    };
    if view != copy {
        panic!("{tool}: only in the view {:#?}, only in the copy {:#?}", only_in(&view, &copy), only_in(&copy, &view));
    }
}

/// The names of each file share an inode number in the view as in the copy, and are counted.
fn assert_links(view: &Path, copy: &Path) {
    let names = |dir: &Path| {
        let mut links: BTreeMap<String, (u32, BTreeSet<Vec<u8>>)> = BTreeMap::new();
        for record in records(dir, r"find . ! -type d -printf '%i %n %P\0'", |bytes| split(bytes, b"\0")) {
            let mut fields = record.splitn(3, |b| *b == b' ').map(<[u8]>::to_vec);
            let text = |field: Option<Vec<u8>>| String::from_utf8(field.unwrap_or_default()).expect("a number");
            let (inode, count) = (text(fields.next()), text(fields.next()));
            let Some(name) = fields.next() else { continue };
            let link = links.entry(inode).or_default();
            link.0 = count.parse().expect("a number");
            link.1.insert(name);
        }
        links.into_values().collect::<Vec<_>>()
    };
    let in_view = names(view);
    for (count, names) in &in_view {
        assert_eq!(*count as usize, names.len(), "{view:?}: {names:?}");
    }
    let sets = |links: Vec<(u32, BTreeSet<Vec<u8>>)>| links.into_iter().map(|l| l.1).collect::<BTreeSet<_>>();
    assert_eq!(sets(in_view), sets(names(copy)), "{view:?}");
}

/// What an archive holds: names, types, modes, owners, times to the nanosecond, targets, hard links, device
/// numbers, extended attributes, ACLs, maps of holes and bytes.
fn archive(dir: &Path) -> Vec<Vec<u8>> {
    // tar keeps extended attributes in the order in which the file system lists them, which means nothing.
    const READ: &str = r#"
import hashlib, sys, tarfile
archive = tarfile.open(fileobj=sys.stdin.buffer, mode="r|")
for file in archive:
    headers = sorted(file.pax_headers.items())
    sum = hashlib.sha256(archive.extractfile(file).read()).hexdigest() if file.isreg() else ""
    print(ascii((file.name, file.type, file.mode, file.uid, file.gid, file.size, file.mtime, file.linkname,
        file.devmajor, file.devminor, headers, sum)))
"#;
    let options =
        "--pax-option=delete=atime,delete=ctime --sort=name --format=posix --numeric-owner --sparse-version=0.1";
    let tar = format!("tar {options} --xattrs --acls --xattrs-include='*' -S -cf - .");
    records(dir, &format!("{tar} | python3 -c '{READ}'"), |bytes| split(bytes, b"\n"))
}
