//! Inode numbers as the kernel and file handles see them: what they mean after a restart, in another mount, after a late
//! insertion, and while somebody looks up dates without end.

use crate::lifecycle::Insider;
use crate::site::{Site, sh, wait_until};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// A site with generations of `homes` of the 18th and the 20th and one of `db` of the 20th, an hour later.
fn site_with_two_sources() -> Site {
    let site = Site::with_source();
    for day in ["18", "20"] {
        sh(&site.path("live"), &format!("mkdir -p sub; printf {day} > day; printf {day} > sub/day"));
        site.copy(&format!("2026-11-{day}"));
    }
    sh(&site.path(""), "mkdir -p db/2026-11-20T0100Z; printf d > db/2026-11-20T0100Z/file");
    site.ok(&["source", "add", "nfs", "db", "--copies", site.path("db").to_str().expect("a plain path")]);
    site.ok(&["index", "homes"]);
    site.ok(&["index", "db"]);
    site
}

/// Indexes a generation of `homes` of the 19th.
fn index_late(site: &Site) {
    sh(&site.path("live"), "printf 19 > day; printf 19 > sub/day");
    site.copy("2026-11-19");
    site.ok(&["index", "homes"]);
}

/// Returns path and inode number of everything in the mount.
fn numbers(mount: &Path) -> String {
    sh(mount, "find . -printf '%i %p\\n'")
}

/// Returns how many views of all sources were ever given a number.
fn given(site: &Site) -> u64 {
    std::fs::metadata(site.path("catalog.db-views")).expect("a mount has made it").len() / 32 - 1
}

fn ino(path: &Path) -> u64 {
    std::fs::metadata(path).unwrap_or_else(|e| panic!("{path:?}: {e}")).ino()
}

#[test]
fn numbers_are_the_same_in_every_mount_and_after_a_restart_of_the_daemon() {
    let site = site_with_two_sources();
    let mount = site.mount(&[]);
    std::fs::create_dir(site.path("other")).expect("a directory");
    site.ok(&["mount", "other"]);
    let before = numbers(&mount);
    assert_eq!(numbers(&site.path("other")), before);
    site.ok(&["umount", "other"]);
    let process = sh(&site.path(""), "grep -o 'mounted.*' catalog.db.log | wc -l");
    assert_eq!(process, "2\n", "each mount has a daemon of its own");
    site.umount();
    site.mount(&[]);
    assert_eq!(numbers(&mount), before);
    assert_eq!(given(&site), 3);
    assert_eq!(sh(&site.path(""), "stat -c '%a %U' catalog.db-views"), "600 root\n");
    site.umount();
}

/// Takes and opens file handles as an NFS server does (name_to_handle_at(2), open_by_handle_at(2)).
const HANDLES: &str = r#"
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
class Handle(ctypes.Structure):
    _fields_ = [("bytes", ctypes.c_uint), ("type", ctypes.c_int), ("data", ctypes.c_ubyte * 128)]
if sys.argv[1] == "take":
    for path in sys.argv[2:]:
        handle, mount = Handle(bytes=128), ctypes.c_int()
        if libc.name_to_handle_at(-100, path.encode(), ctypes.byref(handle), ctypes.byref(mount), 0):
            sys.exit(os.strerror(ctypes.get_errno()))
        print(handle.type, bytes(handle.data[:handle.bytes]).hex())
else:
    top = os.open(sys.argv[2], os.O_RDONLY)
    for line in sys.stdin:
        kind, data = line.split()
        data = bytes.fromhex(data)
        handle = Handle(bytes=len(data), type=int(kind))
        ctypes.memmove(handle.data, data, len(data))
        fd = libc.open_by_handle_at(top, ctypes.byref(handle), os.O_RDONLY)
        if fd < 0:
            print(os.strerror(ctypes.get_errno()))
        elif os.path.isdir(f"/proc/self/fd/{fd}"):
            print(*sorted(os.listdir(fd)))
        else:
            print(os.read(fd, 100).decode())
"#;

#[test]
fn a_handle_leads_to_what_it_was_taken_of_or_nowhere() {
    let site = site_with_two_sources();
    std::fs::write(site.path("handles.py"), HANDLES).expect("a file");
    let mount = site.mount(&[]);
    let paths = [
        "mnt/homes/@2026-11-20T000000Z/day",
        "mnt/@2026-11-18T000000Z/homes/sub/day",
        "mnt/@2026-11-20T010000Z/homes/day",
        "mnt/homes/@2026-11-18T000000Z/sub",
        "mnt/@2026-11-20T000000Z",
        "mnt/@2026-11-20T000000Z/homes/day",
    ];
    sh(&site.path(""), &format!("python3 handles.py take {} > handles", paths.join(" ")));
    let opened = || sh(&site.path(""), "python3 handles.py open mnt < handles");
    let expected = "20\n18\n20\nday\nhomes\n20\n";
    assert_eq!(opened(), expected);
    site.umount();
    site.mount(&[]);
    assert_eq!(opened(), expected, "by a kernel that has seen none of them");
    // What all sources resolve to on the 20th at midnight now has a generation of `db` of the evening before.
    sh(&site.path(""), "mkdir -p db/2026-11-19T2300Z; printf e > db/2026-11-19T2300Z/file");
    site.ok(&["index", "db"]);
    wait_until("the late one is seen", || mount.join("@2026-11-20T000000Z/db/file").exists());
    let stale = "Stale file handle\n";
    assert_eq!(
        opened(),
        format!("20\n18\n20\nday\n{stale}20\n"),
        "no name leads there; who is inside goes on for a time"
    );
    site.umount();
    site.mount(&[]);
    assert_eq!(opened(), format!("20\n18\n20\nday\n{stale}{stale}"));
    assert_eq!(sh(&mount, "ls @2026-11-20T000000Z"), "db\nhomes\n");
    site.umount();
}

#[test]
fn a_late_generation_gives_numbers_only_to_what_it_changes_and_a_later_one_to_nothing_that_was_there() {
    let site = site_with_two_sources();
    let mount = site.mount(&[]);
    let views = ["@2026-11-18T000000Z", "@2026-11-20T000000Z", "@2026-11-20T010000Z", "homes/@2026-11-20T000000Z"];
    let before = views.map(|view| ino(&mount.join(view)));
    sh(&mount, "ls -l");
    assert_eq!(given(&site), 3);
    index_late(&site);
    wait_until("the late one is listed", || sh(&mount, "ls").contains("@2026-11-19T000000Z"));
    sh(&mount, "ls -l");
    assert_eq!(views.map(|view| ino(&mount.join(view))), before, "homes had a later one by then everywhere");
    assert_eq!(given(&site), 4);
    sh(&site.path(""), "mkdir -p db/2026-11-21; printf f > db/2026-11-21/file");
    site.ok(&["index", "db"]);
    wait_until("the new one is listed", || sh(&mount, "ls").contains("@2026-11-21T000000Z"));
    assert_eq!(views.map(|view| ino(&mount.join(view))), before);
    assert_eq!(given(&site), 5);
    site.umount();
}

/// The kernel knows a directory under one name only: were a date the directory of its view, somebody else's look-up would
/// rename the directory under who is inside, and a publication would take it out of the tree.
#[test]
fn who_stands_in_a_view_stays_there_whatever_dates_others_look_up() {
    let site = site_with_two_sources();
    let mount = site.mount(&[]);
    let own_names = ["@2026-11-20T010000Z", "@2026-11-20", "homes/@2026-11-20T000000Z", "homes/@2026-11-20"];
    let mut insiders = own_names.map(|name| (mount.join(name), Insider::new(&mount.join(name))));
    let others = "@latest @now @2026-11-20 @2026-11-20T010000Z @2026-11-20T01:00:00Z @2026-W47 @2026 homes/@latest homes/@2026-11-20T000000Z";
    let assert_all_stay = |insiders: &mut [(std::path::PathBuf, Insider); 4]| {
        for (path, insider) in insiders {
            let path = path.to_str().expect("a plain path");
            assert_eq!(insider.tells("readlink /proc/self/cwd"), path);
            assert_eq!(insider.tells("/bin/pwd -P"), path);
            assert_eq!(insider.tells("cd ..; ls -d */ > /dev/null; cd - > /dev/null; pwd -P"), path);
            assert_eq!(insider.tells("find . -name day -path '*sub*' -execdir cat {} \\;"), "20");
            assert_eq!(insider.tells("stat -c %i .").parse::<u64>().expect("a number") >> 63, 0);
        }
    };
    for _ in 0..20 {
        sh(&mount, &format!("ls -ld {others} && ls -l {others} && find {others} -maxdepth 1 && ls -l . homes"));
    }
    assert_all_stay(&mut insiders);
    sh(&site.path("live"), "printf 21 > day");
    site.copy("2026-11-21");
    site.ok(&["index", "homes"]);
    wait_until("@latest is another one", || sh(&mount, "cat @latest/homes/day homes/@latest/day") == "2121");
    sh(&mount, &format!("ls -l {others} . homes"));
    assert_all_stay(&mut insiders);
    drop(insiders);
    site.umount();
}

#[test]
fn a_user_who_looks_up_dates_without_end_uses_nothing_up_and_disturbs_nobody() {
    let site = site_with_two_sources();
    let process = site.mount_process(&[]);
    let mount = site.path("mnt");
    site.let_everybody_pass();
    sh(&mount, "ls -l");
    let mut insider = Insider::new(&mount.join("@2026-11-20/homes/sub"));
    let memory_kib = || -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it has a size");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    };
    let before = memory_kib();
    let look_up = "import os; [os.stat(f'{dir}@{2000000000 + n}') for n in range(20000) for dir in ('', 'homes/')]";
    let output = crate::site::as_nobody(&mount, &format!("python3 -c \"{look_up}\""));
    assert!(output.status.success(), "{}", crate::site::said(&output));
    assert_eq!(given(&site), 3);
    assert!(memory_kib() < before + 16 * 1024, "{} KiB, before that {before}", memory_kib());
    assert_eq!(
        insider.tells("cat day; readlink /proc/self/cwd"),
        format!("20{}", mount.join("@2026-11-20/homes/sub").display())
    );
    assert_eq!(sh(&mount, "cat @2026-11-19/homes/day homes/@2026-11-18T12:00/day @1999999999/homes/sub/day"), "181820");
    drop(insider);
    site.umount();
}

/// By SQL, with trees of a top directory alone.
const SOURCES_AND_NIGHTS: &str = "
    WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < 100)
    INSERT INTO source(id, uuid, name, kind, settings, rule, by_inode, root, next_node, added_at)
    SELECT i, randomblob(16), printf('s%03d', i), kind, settings, rule, by_inode, i << 16, (i << 16) + 1, added_at FROM n, source WHERE id = 1;
    INSERT INTO node_block(block, source) SELECT id, id FROM source WHERE id > 1;
    INSERT INTO inode SELECT s.root, i.born, i.perm, i.size, i.allocated, i.mtime, i.mtime_ns, i.ctime_ns, i.nlink, i.place, i.content, i.bytes
      FROM inode i, source s WHERE i.node = 1 << 16 AND s.id > 1;
    WITH RECURSIVE night(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM night WHERE n < 99)
    INSERT INTO generation(source, taken_at, number, sequence, level, status, losses, first_content)
    SELECT s.id, g.taken_at + n * 86400 + s.id, n + 1, n + 1, 'full', 'published', 0, 1
      FROM night, source s, (SELECT min(taken_at) taken_at FROM generation) g WHERE s.id > 1;";

#[test]
fn a_hundred_sources_with_a_hundred_nights_list_resolve_and_are_not_numbered_anew() {
    let site = Site::with_source();
    sh(&site.path("live"), "mkdir sub");
    for night in 0..100 {
        let day = sh(&site.path(""), &format!("date -u -d '2026-08-01 + {night} days' +%F"));
        site.copy(day.trim());
    }
    site.ok(&["index", "homes"]);
    std::fs::write(site.path("fill.sql"), SOURCES_AND_NIGHTS).expect("a file");
    sh(&site.path(""), "sqlite3 catalog.db < fill.sql");
    let mount = site.mount(&[]);
    let listed = sh(&mount, "ls -di @*");
    assert_eq!(listed.lines().count(), 10_000);
    assert_eq!(given(&site), 10_000);
    assert_eq!(sh(&mount, "ls | wc -l"), "10100\n");
    assert_eq!(sh(&mount, "ls @2026-08-01T000003Z | wc -l"), "3\n", "those of the first seconds");
    assert_eq!(
        sh(&mount, "for v in @2026-08-02 @2026-09-15 @2026-11-08 @latest; do ls $v | wc -l; done"),
        "100\n".repeat(4)
    );
    assert_eq!(sh(&mount, "ls s050 | wc -l; ls -d s050/@2026-10-01T000050Z/"), "100\ns050/@2026-10-01T000050Z/\n");
    site.copy("2026-11-09");
    site.ok(&["index", "homes"]);
    wait_until("the next night is listed", || sh(&mount, "ls | wc -l") == "10101\n");
    assert_eq!(sh(&mount, "ls -di @* | head -10000"), listed, "nothing is numbered anew");
    assert_eq!(given(&site), 10_001);
    site.umount();
}

#[test]
fn a_mount_that_cannot_write_its_numbers_shows_all_the_same_and_says_so_once() {
    let site = site_with_two_sources();
    // Also root cannot write a directory.
    std::fs::create_dir(site.path("catalog.db-views")).expect("a directory");
    let mount = site.mount(&[]);
    let before = numbers(&mount);
    assert_eq!(sh(&mount, "cat @2026-11-20/homes/day @latest/homes/day"), "2020");
    index_late(&site);
    wait_until("the late one is listed", || sh(&mount, "ls").contains("@2026-11-19T000000Z"));
    assert_eq!(sh(&mount, "cat @2026-11-19/homes/day"), "19");
    let told = format!(
        "new numbers of views are in memory alone and may be other ones in the next mount: {:?} is not a file of view numbers; move it away",
        site.path("catalog.db-views")
    );
    assert_eq!(site.log().matches(&told).count(), 1, "{}", site.log());
    site.umount();
    site.mount(&[]);
    let after = numbers(&mount);
    for line in before.lines().filter(|line| line.contains("/@")) {
        assert!(after.contains(line), "{line}");
    }
    site.umount();
}
