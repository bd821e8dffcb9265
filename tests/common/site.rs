//! A site for tests that use the program as an admin does: a directory of its own, a catalog, copies made by
//! real tools, a mount.
//!
//! Everything is undone when the [`Site`] is dropped: mounts first, then files. Needs root, `/dev/fuse` and the
//! tools that `scripts/test` installs; where one is missing the test fails and says which.
#![allow(dead_code, unreachable_pub)] // each test binary uses its own part

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A catalog `catalog.db`, a folder `copies`, a tree `live` and a mount point `mnt`, all in one directory.
pub struct Site {
    dir: tempfile::TempDir,
}

impl Site {
    /// Makes the directories; the catalog is not made yet.
    pub fn new() -> Self {
        assert!(Path::new("/dev/fuse").exists(), "this test needs /dev/fuse");
        let dir = tempfile::Builder::new().prefix("asof-test-").tempdir().expect("a temporary directory");
        for name in ["copies", "live", "mnt", "out"] {
            std::fs::create_dir(dir.path().join(name)).expect("a directory");
        }
        Self { dir }
    }

    /// Makes the directories, the catalog and a source `homes` over `copies`.
    pub fn with_source() -> Self {
        let site = Self::new();
        site.ok(&["init"]);
        let copies = site.path("copies");
        site.ok(&["source", "add", "nfs", "homes", "--copies", copies.to_str().expect("a plain path")]);
        site
    }

    /// Returns the path of `name` in the site's directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Puts the directories `names`, which are empty, on a file system in memory (tmpfs).
    ///
    /// Many small files are made there in a tenth of the time that a disk takes.
    pub fn keep_in_memory(&self, names: &[&str]) {
        for name in names {
            sh(self.dir.path(), &format!("mount -t tmpfs none {name}"));
        }
    }

    /// Lets every user of the machine pass through the site's directory, as the kernel's modes of what is in it let him.
    pub fn let_everybody_pass(&self) {
        sh(self.dir.path(), "chmod 755 .");
    }

    /// Returns the program with the site's catalog, in the site's directory, in UTC.
    pub fn asof(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_asof"));
        command.args(args).current_dir(self.dir.path()).stdin(Stdio::null());
        command.env("ASOF_CATALOG", self.path("catalog.db")).env("TZ", "UTC");
        command
    }

    /// Runs the program and returns what it said; asserts that it exited with `code`.
    pub fn run(&self, args: &[&str], code: i32) -> Output {
        let output = self.asof(args).output().expect("the program starts");
        assert_eq!(output.status.code(), Some(code), "asof {args:?}\n{}", said(&output));
        output
    }

    /// Runs the program, which must exit with 0, and returns its standard output.
    pub fn ok(&self, args: &[&str]) -> String {
        String::from_utf8(self.run(args, 0).stdout).expect("text")
    }

    /// Copies `live` to `copies/NAME` with `cp -a`, as a full copy.
    pub fn copy(&self, name: &str) -> PathBuf {
        let to = self.path("copies").join(name);
        sh(self.dir.path(), &format!("cp -a live copies/{name}"));
        to
    }

    /// Mounts on `mnt` and returns the mount point.
    pub fn mount(&self, options: &[&str]) -> PathBuf {
        let mut args = vec!["mount", "mnt"];
        options.iter().for_each(|option| args.extend(["-o", option]));
        self.ok(&args);
        self.path("mnt")
    }

    /// Mounts like [`Site::mount`] and returns the daemon's process, for tests that stop or kill it.
    pub fn mount_process(&self, options: &[&str]) -> u32 {
        let mut args = vec!["mount", "mnt"];
        options.iter().for_each(|option| args.extend(["-o", option]));
        self.process_of(&args)
    }

    /// Mounts at `dir` and returns the daemon's process.
    pub fn mount_process_at(&self, dir: &str) -> u32 {
        self.process_of(&["mount", dir])
    }

    fn process_of(&self, mount: &[&str]) -> u32 {
        let told = said(&self.run(mount, 0));
        let process = told.split_once("(process ").and_then(|(_, rest)| rest.split_once(','));
        process.expect("the process is told").0.parse().expect("a number")
    }

    /// Returns what the daemon has written to its log.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path("catalog.db.log")).unwrap_or_default()
    }

    /// Unmounts what [`Site::mount`] has mounted.
    pub fn umount(&self) {
        self.ok(&["umount", "mnt"]);
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // Also what a failed test left; an error means that nothing was mounted.
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let prefix = self.dir.path().to_string_lossy().into_owned();
        let mut points: Vec<&str> =
            mounts.lines().filter_map(|l| l.split(' ').nth(4)).filter(|p| p.starts_with(&prefix)).collect();
        points.reverse();
        for point in points {
            let _ = Command::new("umount").args(["-l", point]).output();
        }
    }
}

/// Runs a shell script in `dir`; it must succeed. Returns its standard output.
pub fn sh(dir: &Path, script: &str) -> String {
    let output = shell(dir, script);
    assert!(output.status.success(), "{script}\n{}", said(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs a shell script in `dir` and returns how it ended.
pub fn shell(dir: &Path, script: &str) -> Output {
    Command::new("bash")
        .args([OsStr::new("-euo"), OsStr::new("pipefail"), OsStr::new("-c"), OsStr::new(script)])
        .current_dir(dir)
        .env("LC_ALL", "C.UTF-8")
        .env("TZ", "UTC")
        .output()
        .expect("bash starts")
}

/// Runs a shell script in `dir` as the user `nobody` and returns how it ended.
pub fn as_nobody(dir: &Path, script: &str) -> Output {
    let user = ["--reuid", "65534", "--regid", "65534", "--clear-groups", "bash", "-euo", "pipefail", "-c", script];
    let mut command = Command::new("setpriv");
    command.args(user).current_dir(dir).env("LC_ALL", "C.UTF-8").env("TZ", "UTC");
    command.output().expect("setpriv is installed")
}

/// Waits until `is_so` says so; fails after a time that is long for any machine.
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = std::time::Instant::now();
    while !is_so() {
        assert!(began.elapsed() < std::time::Duration::from_secs(30), "waited for 30 s until {what}");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

/// Waits until the mount lists the generation of `taken_at` (RFC 3339, UTC) in the directory of its source, and returns the view of it.
/// Until then that name is a date at which the generation before is the newest.
pub fn await_view(source: &Path, taken_at: &str) -> PathBuf {
    let name = format!("@{}", taken_at.replace(':', ""));
    let is_listed = || std::fs::read_dir(source).unwrap().any(|one| one.unwrap().file_name() == name.as_str());
    wait_until("the mount lists the generation", is_listed);
    source.join(name)
}

/// Checks that every field of what `--json` printed is in the section of `docs/json.md` about `verb`, and that `taken_at` is in it.
pub fn assert_documented(verb: &str, printed: &serde_json::Value) {
    assert_fields_documented(verb, printed, "taken_at");
}

/// As [`assert_documented`], of what tells of no generations; `known` is a field that has to be there.
pub fn assert_fields_documented(verb: &str, printed: &serde_json::Value, known: &str) {
    fn fields(value: &serde_json::Value, into: &mut std::collections::BTreeSet<String>) {
        match value {
            serde_json::Value::Array(values) => values.iter().for_each(|value| fields(value, into)),
            serde_json::Value::Object(map) => map.iter().for_each(|(name, value)| {
                into.insert(name.clone());
                fields(value, into);
            }),
            _ => {}
        }
    }
    let docs = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/json.md")).expect("the page");
    let section = docs.split("\n## ").find_map(|section| section.strip_prefix(&format!("`{verb}`\n")));
    let section = section.unwrap_or_else(|| panic!("docs/json.md has no section {verb:?}"));
    let mut printed_fields = std::collections::BTreeSet::new();
    fields(printed, &mut printed_fields);
    assert!(printed_fields.contains(known), "{verb} printed no {known}: {printed}");
    let missing: Vec<&String> = printed_fields.iter().filter(|name| !section.contains(&format!("`{name}`"))).collect();
    assert!(missing.is_empty(), "docs/json.md does not say what these are that {verb} prints: {missing:?}");
}

/// Returns both outputs of a command, for messages.
pub fn said(output: &Output) -> String {
    format!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Returns what `rsync -aHAXSn --checksum` would still change to make `to` equal to `from`; empty if they are equal.
pub fn difference(from: &Path, to: &Path) -> String {
    let output = Command::new("rsync")
        .args(["-aHAXSn", "--numeric-ids", "--checksum", "--itemize-changes", "--delete", "--modify-window=-1"])
        .arg(from.join(""))
        .arg(to.join(""))
        .output()
        .expect("rsync is installed");
    assert!(output.status.success(), "rsync {from:?} {to:?}\n{}", said(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
