//! Two runs at once: who waits for whom, what is said of it, and who can hold a lock at all.
//!
//! One run is stopped at a known point: its `--pre` command says that it runs and waits until the test lets it go on, both
//! through named pipes. So events are ordered and no time is measured. Needs root.

#[path = "common/site.rs"]
mod site;

use site::{Site, as_nobody, said, sh};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, ExitStatus, Stdio};

/// A run of asof that is ended with the test.
struct Run {
    child: Child,
    errors: BufReader<std::process::ChildStderr>,
}

impl Run {
    fn start(site: &Site, args: &[&str]) -> Self {
        let mut child = site.asof(args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("asof starts");
        let errors = BufReader::new(child.stderr.take().expect("a pipe"));
        Self { child, errors }
    }

    fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns the next line on standard error.
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.errors.read_line(&mut line).expect("text");
        line
    }

    /// Waits for the end and returns what was said until then.
    fn end(&mut self) -> (ExitStatus, String) {
        let mut text = String::new();
        self.errors.read_to_string(&mut text).expect("text");
        (self.child.wait().expect("it ends"), text)
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A site with the sources `homes`, a share, and `disk`, whose `--pre` command is at `begun` until `gate` is written to.
fn site_with_a_gate() -> Site {
    let site = Site::with_source();
    sh(&site.path(""), "truncate -s 1M disk.raw; mkfifo begun gate; mkdir images");
    fs::write(
        site.path("pre"),
        "#!/bin/bash\necho > begun\nread -r < gate\nfor fd in /proc/$$/fd/*; do readlink $fd || true; done > fds\n",
    )
    .unwrap();
    fs::set_permissions(site.path("pre"), PermissionsExt::from_mode(0o755)).unwrap();
    let images = site.path("images").display().to_string();
    let pre = format!("sh -c 'cd {} && exec ./pre'", site.path("").display());
    let snapshot = format!("sh -c 'cp {} \"$ASOF_IMAGE\"'", site.path("disk.raw").display());
    let commands = ["--pre", &pre, "--snapshot", &snapshot, "--format", "raw"];
    site.ok(&[&["source", "add", "block", "disk", "--images", &images][..], &commands].concat());
    site
}

/// Starts `asof take disk` and returns it once its `--pre` command runs.
fn take_at_the_gate(site: &Site) -> Run {
    let run = Run::start(site, &["take", "disk"]);
    fs::read(site.path("begun")).expect("the command begins");
    run
}

fn open_the_gate(site: &Site) {
    fs::write(site.path("gate"), "\n").expect("the command reads");
}

/// Asserts that `text` is that source `disk` is in use by `asof take disk`, run by `pid`, since some moment; returns what follows.
#[track_caller]
fn names(text: &str, pid: u32) -> &str {
    let begins = format!("source \"disk\" is in use by process {pid} (asof take disk, since ");
    let rest = text.trim_start().strip_prefix(&begins).unwrap_or_else(|| panic!("{text}"));
    let (since, rest) = rest.split_once(')').expect("a bracket");
    assert!(since.len() == "2026-11-20T02:00:00Z".len() && since.starts_with("20"), "{since}");
    rest
}

#[test]
fn a_second_run_of_a_source_waits_for_the_first_says_for_whom_and_goes_on() {
    let site = site_with_a_gate();
    let mut first = take_at_the_gate(&site);
    let mut second = Run::start(&site, &["index", "disk"]);
    let waiting = second.line();
    let busy = waiting.strip_prefix("waiting: ").expect("who waits says so");
    assert_eq!(names(busy, first.pid()), "\n");
    open_the_gate(&site);
    let (status, text) = first.end();
    assert!(status.success() && text.contains("took "), "{text}");
    let (status, text) = second.end();
    assert!(status.success(), "{text}");
    assert_eq!(
        text, "nothing to index: no image of \"disk\" is new (1 is indexed)\n",
        "it saw what the first had made"
    );
}

#[test]
fn who_does_not_want_to_wait_is_refused_at_once_by_name_and_changes_nothing() {
    let site = site_with_a_gate();
    let mut first = take_at_the_gate(&site);
    let verbs: [&[&str]; 4] = [
        &["index", "disk"],
        &["take", "disk"],
        &["source", "set", "disk", "--format", "qcow2"],
        &["source", "remove", "disk", "--force"],
    ];
    for verb in verbs {
        let text = said(&site.run(&[verb, &["--wait", "0"]].concat(), 2));
        let text = text.trim_start().strip_prefix("asof: ").expect("an error");
        let hint = "\nhint: --wait 10m waits until it ends; reading and mounting go on meanwhile\n";
        assert_eq!(names(text, first.pid()), hint, "{verb:?}");
    }
    let text = said(&site.run(&["--wait", "50ms", "index", "disk"], 2));
    let rest = names(text.trim_start().strip_prefix("asof: ").expect("an error"), first.pid());
    let pid = first.pid();
    assert_eq!(
        rest,
        format!(
            ", also after a wait of 50 ms\nhint: ps -fp {pid} shows what holds it, kill {pid} ends that if it hangs; \
             --wait DURATION waits longer; reading and mounting go on meanwhile\n"
        )
    );
    assert_eq!(site.ok(&["ls"]), "disk\nhomes\n", "reading goes on");
    open_the_gate(&site);
    let (status, text) = first.end();
    assert!(status.success(), "{text}");
    assert!(site.ok(&["source", "show", "disk"]).contains("\"raw\""), "nothing was set");
}

#[test]
fn a_killed_run_holds_nothing() {
    let site = site_with_a_gate();
    drop(take_at_the_gate(&site));
    site.ok(&["source", "set", "disk", "--wait", "0", "--format", "raw"]);
    site.ok(&["source", "remove", "disk", "--wait", "0"]);
    assert_eq!(fs::read_dir(site.path("catalog.db-locks")).unwrap().count(), 0, "the lock went with the source");
}

#[test]
fn commands_that_a_run_starts_inherit_no_lock() {
    let site = site_with_a_gate();
    let mut first = take_at_the_gate(&site);
    open_the_gate(&site);
    assert!(first.end().0.success());
    let open = fs::read_to_string(site.path("fds")).unwrap();
    assert!(open.lines().count() >= 3 && !open.contains("catalog.db"), "{open}");
}

#[test]
fn users_without_permission_cannot_hold_a_lock() {
    let site = Site::with_source();
    site.let_everybody_pass();
    site.ok(&["index", "homes"]);
    // As programs before this one left it.
    fs::set_permissions(site.path("catalog.db.lock"), PermissionsExt::from_mode(0o644)).unwrap();
    site.ok(&["index", "homes"]);
    for lock in ["catalog.db.lock", "catalog.db-locks", "catalog.db-locks/1", "catalog.db"] {
        let held = as_nobody(&site.path(""), &format!("flock --nonblock --shared {lock} true"));
        assert!(said(&held).contains("Permission denied"), "{lock}: {}", said(&held));
    }
}

#[test]
fn a_lock_that_another_user_made_beside_the_catalog_is_refused() {
    let site = Site::with_source();
    fs::remove_file(site.path("catalog.db.lock")).unwrap();
    sh(&site.path(""), "chmod 1777 .; mkdir -m 777 catalog.db-locks; chown 65534 catalog.db-locks");
    let refused = |args: &[&str]| said(&site.run(args, 2)).trim().to_owned();
    let place = |name: &str| site.path(name);
    assert_eq!(
        refused(&["index", "homes"]),
        format!(
            "asof: locking a source of catalog {:?}: {:?} belongs to user 65534, who could hold it",
            place("catalog.db"),
            place("catalog.db-locks")
        )
    );
    sh(&site.path(""), "rmdir catalog.db-locks; ln -s live/file catalog.db.lock");
    assert_eq!(
        refused(&["index", "homes"]),
        format!("asof: locking catalog {:?}: Too many levels of symbolic links (os error 40)", place("catalog.db"))
    );
    assert!(!place("live/file").exists());
}

#[test]
fn a_lock_that_names_nobody_is_told_of_as_such() {
    let site = Site::with_source();
    // As a script does that copies the catalog, or a program before this one.
    let lock = File::options().write(true).truncate(true).open(site.path("catalog.db.lock")).unwrap();
    lock.lock().unwrap();
    fs::write(site.path("catalog.db.lock"), "4711\n").unwrap();
    let refused = said(&site.run(&["index", "homes", "--wait", "0"], 2));
    assert_eq!(
        refused,
        format!(
            "\nasof: catalog {:?} is being written by a process that the lock does not name\n\
             hint: --wait 10m waits until it ends; reading and mounting go on meanwhile\n",
            site.path("catalog.db")
        )
    );
    assert_eq!(site.ok(&["ls"]), "homes\n", "reading goes on");
}

#[test]
fn a_wait_that_is_no_length_of_time_is_refused() {
    let site = Site::with_source();
    for wait in ["10", "soon", "-5m", ""] {
        let text = said(&site.run(&[&format!("--wait={wait}"), "index", "homes"], 2));
        assert!(text.contains("write a number and a unit, as in 30s, 10m or 2h"), "{wait}: {text}");
    }
    for wait in ["0", "0s", "90s", "1h30m", "2 hours"] {
        site.ok(&["index", "homes", "--wait", wait]);
    }
}

#[test]
fn while_one_source_waits_in_a_command_another_publishes() {
    let site = site_with_a_gate();
    let mut first = take_at_the_gate(&site);
    sh(&site.copy("2024-11-18"), "echo 1 > f");
    let text = said(&site.run(&["--wait", "0", "index", "homes"], 0));
    assert!(text.contains("indexed 2024-11-18T00:00:00Z of \"homes\""), "{text}");
    assert_eq!(site.ok(&["sql", "SELECT source FROM generations"]).trim(), "source\nhomes", "the first is still held");
    open_the_gate(&site);
    let (status, text) = first.end();
    assert!(status.success() && text.contains("took "), "{text}");
    assert_eq!(site.ok(&["sql", "SELECT source FROM generations ORDER BY source"]).trim(), "source\ndisk\nhomes");
}
