//! A mount among users who mean harm, and an admin who errs.

use crate::lifecycle::is_running;
use crate::site::{Site, as_nobody, said, sh, shell, wait_until};
use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

/// A catalog that is mounted in a folder of the user `nobody`, who then renames the folder above the mount point and puts a link to
/// another one in its place, in which another file system is mounted under the same name.
struct Moved {
    site: Site,
    process: u32,
}

impl Moved {
    fn new() -> Self {
        let site = Site::with_source();
        site.let_everybody_pass();
        sh(&site.path("live"), "printf 18 > day");
        site.copy("2026-11-18");
        site.ok(&["index", "homes"]);
        sh(
            &site.path(""),
            "mkdir -p his/x/mnt victim/mnt; chown -R 65534:65534 his
             mount -t tmpfs none victim/mnt; printf precious > victim/mnt/file",
        );
        let process = site.mount_process_at("his/x/mnt");
        let renamed = as_nobody(&site.path(""), "mv his/x his/y; ln -s $PWD/victim his/x");
        assert!(renamed.status.success(), "{}", said(&renamed));
        Self { site, process }
    }

    fn assert_that_the_other_is_still_there(&self) {
        assert_eq!(sh(&self.site.path(""), "cat victim/mnt/file"), "precious");
        assert_eq!(mounts_below(&self.site.path("victim")), ["tmpfs"]);
    }
}

/// Returns the types of what is mounted below `dir`.
fn mounts_below(dir: &Path) -> Vec<String> {
    let mounts = std::fs::read_to_string("/proc/self/mounts").expect("/proc");
    let below = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        fields.next()?.starts_with(dir.to_str()?).then(|| fields.next().map(str::to_owned))?
    });
    below.collect()
}

#[test]
fn a_daemon_unmounts_its_own_mount_and_no_other_that_has_its_path_by_now() {
    let moved = Moved::new();
    sh(&moved.site.path(""), &format!("kill {}", moved.process));
    wait_until("the daemon has ended", || !is_running(moved.process));
    moved.assert_that_the_other_is_still_there();
    assert_eq!(mounts_below(&moved.site.path("his")), Vec::<String>::new());
}

/// The first ACL takes a new mount in the place of the one that is there.
#[test]
fn a_mount_is_renewed_where_it_is_by_now() {
    let moved = Moved::new();
    sh(&moved.site.path("live"), "printf 19 > day; setfacl -m u:65534:- day");
    moved.site.copy("2026-11-19");
    moved.site.ok(&["index", "homes"]);
    let day = moved.site.path("his/y/mnt/homes/@latest");
    wait_until("it is mounted anew", || !as_nobody(&day, "cat day").status.success());
    assert_eq!(sh(&day, "cat day"), "19");
    moved.assert_that_the_other_is_still_there();
    assert_eq!(mounts_below(&moved.site.path("his")), ["fuse.asof"]);
    moved.site.ok(&["umount", "his/y/mnt"]);
    assert!(!is_running(moved.process), "umount waits for the end of its daemon");
}

#[test]
fn umount_takes_away_what_is_at_its_path_now_if_that_is_ours() {
    let moved = Moved::new();
    let refused = said(&moved.site.run(&["umount", "his/x/mnt"], 2));
    assert!(refused.contains("/his/x\" is a symbolic link to ") && refused.contains(", of user 65534"), "{refused}");
    // What a link of root leads to is looked at.
    sh(&moved.site.path(""), "ln -s victim mine");
    let refused = said(&moved.site.run(&["umount", "mine/mnt"], 2));
    assert!(refused.contains("no catalog is mounted at"), "{refused}");
    moved.site.ok(&["umount", "his/y/mnt"]);
    assert!(!is_running(moved.process));
    moved.assert_that_the_other_is_still_there();
}

/// As above, but what the link leads to is a mount of ours, too.
#[test]
fn umount_takes_away_no_mount_that_a_link_or_a_name_of_somebody_else_leads_to() {
    let (site, other) = (Site::with_source(), Site::with_source());
    site.let_everybody_pass();
    other.let_everybody_pass();
    sh(&site.path(""), "mkdir -p his/x/mnt; chown -R 65534:65534 his");
    let processes = [site.mount_process_at("his/x/mnt"), other.mount_process(&[])];
    let kept = other.path("");
    let renamed = as_nobody(&site.path(""), &format!("mv his/x his/y; ln -s {} his/x", kept.display()));
    assert!(renamed.status.success(), "{}", said(&renamed));
    // The last name, the folder above it, and another catalog than the one that is named.
    sh(&site.path(""), &format!("ln -s {} to-mnt; ln -s {} to-folder", kept.join("mnt").display(), kept.display()));
    let found = [
        ("his/x/mnt", "/his/x\" is a symbolic link to \""),
        ("to-mnt", "/to-mnt\" is a symbolic link to \""),
        ("to-folder/mnt", "/mnt\" is a mount of catalog \""),
    ];
    for (dir, found) in found {
        let refused = said(&site.run(&["umount", dir], 2));
        assert!(refused.contains(found), "{dir}: {refused}");
        let refused = said(&site.run(&["umount", "--lazy", dir], 2));
        assert!(refused.contains(found), "{dir}: {refused}");
    }
    let refused = said(&site.run(&["mount", "to-mnt"], 2));
    assert!(refused.contains("/to-mnt\" is a symbolic link to \""), "{refused}");
    assert!(processes.iter().all(|process| is_running(*process)));
    site.ok(&["umount", "his/y/mnt"]);
    // By way of a link of root, it is said where it was.
    sh(&other.path(""), "ln -s . here");
    let told = said(&other.run(&["umount", "here/mnt"], 0));
    assert!(told.contains("unmounted \"here/mnt\", which is \""), "{told}");
    assert!(!processes.iter().any(|process| is_running(*process)));
}

#[test]
fn what_is_mounted_over_a_mount_is_not_taken_away_in_its_place() {
    let site = Site::with_source();
    let process = site.mount_process(&[]);
    sh(&site.path(""), "mount -t tmpfs none mnt; printf kept > mnt/file");
    let refused = said(&site.run(&["umount", "mnt"], 2));
    assert!(refused.contains("something else is mounted over it"), "{refused}");
    assert_eq!(sh(&site.path(""), "cat mnt/file"), "kept");
    sh(&site.path(""), &format!("umount mnt; kill {process}"));
    wait_until("the daemon has ended", || !is_running(process));
    assert_eq!(mounts_below(&site.path("mnt")), Vec::<String>::new());
}

/// The kernel gives the number of a mount that has ended to the next one, whatever that is.
#[test]
fn a_daemon_that_ends_leaves_alone_what_is_mounted_with_the_number_of_its_mount() {
    let site = Site::with_source();
    let number = |dir: &str| {
        let line = format!("awk -v dir=\"$PWD/{dir}\" '$5 == dir {{ print $1 }}' /proc/self/mountinfo");
        sh(&site.path(""), &line).trim().to_owned()
    };
    // Somebody else on the machine may be given it first.
    let rounds = (0..20).filter(|round| {
        let process = site.mount_process(&[]);
        let own = number("mnt");
        // It is told of both at once.
        sh(&site.path(""), &format!("kill -STOP {process}; umount -i -l mnt"));
        let others: Vec<String> = (0..5).map(|n| format!("other{round}.{n}")).collect();
        for other in &others {
            sh(&site.path(""), &format!("mkdir {other}; mount -t tmpfs none {other}; printf kept > {other}/file"));
        }
        let has_it = others.iter().any(|other| number(other) == own);
        sh(&site.path(""), &format!("kill -CONT {process}"));
        wait_until("the daemon has ended", || !is_running(process));
        for other in &others {
            assert_eq!(mounts_below(&site.path(other)), ["tmpfs"]);
            assert_eq!(sh(&site.path(other), "printf ' and written' >> file; cat file"), "kept and written");
        }
        sh(&site.path(""), &format!("umount {}", others.join(" ")));
        has_it
    });
    assert_eq!(rounds.take(5).count(), 5, "a number is given out again");
    assert!(!site.log().contains("remounted"), "{}", site.log());
}

/// The program is quicker than the daemon for sure: that is stopped until it has written.
const WRITER: &str = r#"
import ctypes, mmap, os, signal, sys
mount, daemon = sys.argv[1], int(sys.argv[2])
shown = os.open(mount + "/homes/@2026-11-18/day", os.O_RDONLY)
assert os.read(shown, 9) == b"18"
os.kill(daemon, signal.SIGSTOP)
MS_REMOUNT = 32
libc = ctypes.CDLL(None, use_errno=True)
assert libc.mount(None, mount.encode(), None, MS_REMOUNT, None) == 0, os.strerror(ctypes.get_errno())
mapped = mmap.mmap(os.open("/proc/self/fd/%d" % shown, os.O_RDWR), 2, mmap.MAP_SHARED)
mapped[0:2] = b"XX"
assert os.pread(shown, 9, 0) == b"XX"
os.kill(daemon, signal.SIGCONT)
print("written", flush=True)
sys.stdin.read()
os._exit(0)
"#;

#[test]
fn what_is_written_through_a_mapping_after_a_remount_is_not_shown() {
    let site = Site::with_source();
    sh(&site.path("live"), "printf 18 > day");
    site.copy("2026-11-18");
    site.ok(&["index", "homes"]);
    let process = site.mount_process(&[]).to_string();
    let mount = site.path("mnt");
    let mut writer = Command::new("python3")
        .args([OsStr::new("-c"), OsStr::new(WRITER), mount.as_os_str(), OsStr::new(&process)])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 is installed");
    let mut told = String::new();
    BufReader::new(writer.stdout.take().expect("a pipe")).read_line(&mut told).expect("a line");
    assert_eq!(told, "written\n");
    wait_until("the log says it", || site.log().contains("somebody remounted it read-write"));
    assert_eq!(sh(&mount, "cat homes/@2026-11-18/day"), "18");
    assert_eq!(sh(&site.path("copies/2026-11-18"), "cat day"), "18");
    let line = sh(&site.path(""), "grep \" $PWD/mnt \" /proc/self/mountinfo | sed 's/,.* - /,- /; s/.*mnt //'");
    assert!(line.starts_with("ro,") && line.contains(" ro,"), "{line}");
    drop(writer.stdin.take());
    writer.wait().expect("it ends");
    site.umount();
}

/// In a namespace of its own, of which the daemon is told nothing.
#[test]
fn whatever_would_change_something_is_refused_as_on_any_read_only_file_system() {
    let site = Site::with_source();
    sh(&site.path("live"), "printf 18 > day; mkdir dir");
    site.copy("2026-11-18");
    site.ok(&["index", "homes"]);
    let mount = site.mount(&[]);
    let commands = [
        "touch new",
        "touch day",
        "mkdir new",
        "ln day new",
        "ln -s day new",
        "mv day new",
        "rm day",
        "rmdir dir",
        "chmod 600 day",
        "chown 1 day",
        "mknod new p",
        "truncate -s 0 day",
        "fallocate -l 9 day",
        "setfattr -n user.a -v b day",
        "echo >> day",
        "echo > new",
    ];
    let script = format!(
        "mount -i -o remount,rw {mount}; cd {mount}/homes/@2026-11-18; cat day; echo
         for command in \"$@\"; do eval \"$command\" 2>&1 && echo \"done: $command\"; done; cat day; ls",
        mount = mount.display()
    );
    let output = Command::new("unshare")
        .args(["--mount", "bash", "-uc", &script, "bash"])
        .args(commands)
        .env("LC_ALL", "C.UTF-8")
        .output()
        .expect("unshare is installed");
    let told = said(&output);
    let refusals = told.lines().filter(|line| line.ends_with("Read-only file system"));
    assert_eq!(refusals.count(), commands.len(), "{told}");
    assert!(told.starts_with("18\n") && told.contains("18day\ndir\n"), "{told}");
    site.umount();
}

/// `lseek(2)` in a directory takes any number.
#[test]
fn a_listing_from_an_absurd_offset_is_empty_at_once() {
    let site = Site::with_source();
    sh(&site.path("live"), "mkdir dir; touch dir/file");
    site.copy("2026-11-18");
    site.ok(&["index", "homes"]);
    let process = site.mount_process(&[]);
    let list = "import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
for dir in sys.argv[1:]:
    for offset in 2**62, 2**63 - 1, 2**40:
        fd = os.open(dir, os.O_RDONLY | os.O_DIRECTORY)
        assert libc.lseek(fd, ctypes.c_long(offset), 0) in (-1, ctypes.c_int(offset).value)
        print(libc.syscall(217, fd, ctypes.create_string_buffer(4096), 4096))";
    let dirs = ". .asof homes @latest @latest/homes homes/@2026-11-18T000000Z homes/@latest/dir";
    // 217 is getdents64 on this kind of processor.
    if cfg!(target_arch = "x86_64") {
        let told = shell(&site.path("mnt"), &format!("timeout 20 python3 -c '{list}' {dirs}"));
        // Of a process that spins nothing else ends the mount.
        if !told.status.success() {
            sh(&site.path(""), &format!("kill -9 {process}"));
        }
        assert_eq!(said(&told).trim(), "0\n".repeat(21).trim());
    }
    site.umount();
}

/// A user makes 300 names of a file, where a path is 4 KB long, and changes it after it was indexed.
#[test]
fn what_is_told_of_a_file_with_many_names_is_bounded() {
    let site = Site::with_source();
    let deep = "for n in $(seq 15); do d=$(printf 'd%.0s' $(seq 200)); mkdir -p $d; cd $d; done";
    let files = "echo text > f; echo text > g; for n in $(seq 300); do ln f f$n; ln g g$n; done";
    sh(&site.path("live"), &format!("{deep}; {files}"));
    let copy = site.copy("2026-11-18");
    site.ok(&["index", "homes"]);
    // Of the one nothing is as it was, of the other some names are gone.
    sh(&copy, &format!("{deep}; touch f; rm g g1*"));
    let view = site.mount(&[]).join("homes/@latest");
    let read = |name: &str| shell(&view, &format!("{}; cat {name}", deep.replace("mkdir -p $d; ", "")));
    let refused = said(&read("f17"));
    assert!(refused.contains("Input/output error"), "{refused}");
    // Of a long line the log has the beginning, and says how much more it was.
    let log = site.log();
    let more = log.rsplit_once(" bytes more)").and_then(|(before, _)| before.rsplit_once('('));
    let more: u32 = more.expect("a line that is cut").1.parse().expect("a number");
    assert!(more < 50_000, "{more} bytes");
    assert_eq!(said(&read("g217")).trim(), "text");
    site.umount();
}

/// What waits for one slow store must not take all that there is for the others; the kernel tells how much that is.
#[test]
fn the_kernel_sends_a_thousand_reads_before_it_waits_for_answers() {
    let site = Site::with_source();
    site.mount(&[]);
    let background = "mkdir ctl; mount -t fusectl none ctl
        device=$(awk -v dir=\"$PWD/mnt\" '$5 == dir { split($3, device, \":\"); print device[2] }' /proc/self/mountinfo)
        cat ctl/$device/max_background; umount ctl";
    let reads: u32 = sh(&site.path(""), background).trim().parse().expect("a number");
    assert!(reads >= 1000, "{reads}");
    site.umount();
}
