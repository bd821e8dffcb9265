//! Disks are taken: from real exports of QEMU, with its dirty bitmaps, while the kernel writes to the disk.
//!
//! `qemu-storage-daemon` holds a disk that is mounted through its FUSE export, so that every write of the kernel goes
//! through its bitmaps; each moment is a fleecing node (`blockdev-backup` with `sync=none`), as libvirt makes it for pull
//! backups. Smaller claims are held against `qemu-nbd`. Needs root, `/dev/fuse`, loop devices, and the packages
//! qemu-utils, e2fsprogs, rsync and util-linux.

#[path = "common/dice.rs"]
mod dice;
#[path = "block_take/moments.rs"]
mod moments;
#[path = "common/site.rs"]
mod site;

use asof::model::manifest::{BytesAt, Edit, Put, Reader};
use asof::model::{Extent, FileMap};
use serde_json::{Value, json};
use site::{Site, assert_documented, await_view, difference, said, sh, wait_until};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// A server that is ended with the test.
struct Server(Child);

impl Server {
    fn start(command: &mut Command) -> Self {
        Self(command.stdin(Stdio::null()).spawn().expect("package qemu-utils is installed"))
    }

    fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Serves an image with `qemu-nbd` and returns the address of its export, called `vda`.
fn serve(site: &Site, options: &str) -> (Server, String) {
    let socket = site.path("nbd");
    let _ = std::fs::remove_file(&socket);
    let script = format!("exec qemu-nbd -t -e 8 -x vda -k {} {options}", socket.display());
    let server = Server::start(Command::new("bash").args(["-c", &script]).current_dir(site.path("")));
    wait_until("qemu-nbd listens", || UnixStream::connect(&socket).is_ok());
    (server, format!("nbd+unix:///vda?socket={}", socket.display()))
}

/// Makes a qcow2 image of 8 MiB with two written runs and a bitmap that is begun after the first.
fn small_disk(site: &Site) {
    sh(
        &site.path(""),
        "qemu-img create -q -f qcow2 disk.qcow2 8M
         qemu-io -c 'write -q -P 1 1M 1M' disk.qcow2
         qemu-img bitmap --add -g 64k disk.qcow2 b0
         qemu-io -c 'write -q -P 2 4M 128k' -c 'write -q -z 1M 128k' disk.qcow2
         mkdir images",
    );
}

fn add(site: &Site, more: &[&str]) {
    site.ok(&["init"]);
    let images = site.path("images").display().to_string();
    let mut args = vec!["source", "add", "block", "vda", "--images", &images];
    args.extend(more);
    site.ok(&args);
}

/// What is said of a disk that has bytes and no file system, with exit code 1.
const NO_FILE_SYSTEM: &str = "unsupported: \"fs\": what it holds is not known";

/// Tells whether a run did what it was to: most disks here have stamps in the place of a file system, and that is all that may be found amiss.
fn is_done(output: &Output) -> bool {
    let found = |kind: &str| said(output).lines().any(|line| line.starts_with(&format!("{kind}: ")));
    let more = ["unreadable", "missing", "gap", "changed", "damaged", "error", "warning"];
    match output.status.code() {
        Some(0) => true,
        Some(1) => said(output).contains(NO_FILE_SYSTEM) && !more.iter().any(|kind| found(kind)),
        _ => false,
    }
}

/// Runs the program, which must do what it is to.
fn done(site: &Site, args: &[&str]) -> Output {
    let output = site.asof(args).output().expect("the program starts");
    assert!(is_done(&output), "asof {args:?}\n{}", said(&output));
    output
}

fn take(site: &Site, more: &[&str]) -> Value {
    let mut args = vec!["take", "vda", "--json"];
    args.extend(more);
    let report = serde_json::from_slice(&done(site, &args).stdout).expect("JSON");
    assert_documented("asof take", &report);
    report
}

/// Returns the checkpoint of what was taken.
fn checkpoint(report: &Value) -> &str {
    report["checkpoint"].as_str().expect("what is taken from an export has one")
}

/// Returns the map beside an image that was taken.
fn map_of(report: &Value) -> Value {
    let image = PathBuf::from(report["path"].as_str().expect("a path"));
    serde_json::from_slice(&std::fs::read(image.with_extension("json")).expect("it has a map")).expect("JSON")
}

/// Runs `asof take`, which must not take anything, and returns what it says.
fn refused(site: &Site, more: &[&str]) -> String {
    let mut args = vec!["take", "vda"];
    args.extend(more);
    said(&site.run(&args, 2)).trim().to_owned()
}

fn generations(site: &Site) -> usize {
    let listed: Value = serde_json::from_str(&site.ok(&["generations", "vda", "--json"])).expect("JSON");
    if listed.as_array().is_some_and(|listed| !listed.is_empty()) {
        assert_documented("asof generations", &listed);
    }
    listed.as_array().expect("a list").len()
}

fn sha256(path: &Path) -> String {
    let text = sh(Path::new("/"), &format!("sha256sum {:?}", path));
    text.split(' ').next().expect("a sum").to_owned()
}

/// Returns the SHA-256 of the whole disk behind an export.
fn sha256_of_export(site: &Site, uri: &str) -> String {
    let script = format!("qemu-img convert -O raw '{uri}' out/truth && sha256sum out/truth && rm out/truth");
    sh(&site.path(""), &script).split(' ').next().expect("a sum").to_owned()
}

/// Returns the names in the folder of images, sorted: those of manifests, and the others, but for the note which manifest is the newest.
fn names_now(site: &Site) -> (Vec<String>, Vec<String>) {
    let names = std::fs::read_dir(site.path("images")).expect("the folder");
    let mut names: Vec<String> = names.map(|name| name.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| !name.ends_with(".newest"));
    names.sort();
    names.into_iter().partition(|name| name.ends_with(".manifest"))
}

/// Returns the names that runs which have ended left in the folder of images, sorted, without manifests: of these each generation has one,
/// and there is no other.
fn left(site: &Site) -> Vec<String> {
    let (manifests, names) = names_now(site);
    let expected: Vec<String> = match site.path("catalog.db").exists() {
        true => {
            let sql = "SELECT replace(taken_at, ':', '') FROM disks";
            site.ok(&["sql", "--csv", sql]).lines().skip(1).map(str::to_owned).collect()
        }
        false => Vec::new(),
    };
    // IMAGE.SEQUENCE.manifest
    let found: Vec<&str> = manifests.iter().filter_map(|name| Some(name.split_once('.')?.0)).collect();
    assert_eq!(found, expected);
    names
}

/// Returns where the view of the newest generation is.
fn view(site: &Site) -> PathBuf {
    site.path("mnt/vda/@latest")
}

/// `qemu-storage-daemon`, spoken to by QMP.
struct Qsd {
    server: Server,
    qmp: BufReader<UnixStream>,
    moment: u32,
}

impl Qsd {
    fn start(site: &Site, size: &str) -> Self {
        let dir = site.path("");
        sh(&dir, &format!("qemu-img create -q -f qcow2 active.qcow2 {size}; : > live.raw"));
        let socket = site.path("qmp");
        let chardev = format!("socket,id=q,server=on,wait=off,path={}", socket.display());
        let args = ["--chardev", &chardev, "--monitor", "chardev=q"];
        let server = Server::start(Command::new("qemu-storage-daemon").args(args));
        let mut stream = None;
        wait_until("qemu-storage-daemon listens", || {
            stream = UnixStream::connect(&socket).ok();
            stream.is_some()
        });
        let mut qsd = Self { server, qmp: BufReader::new(stream.unwrap()), moment: 0 };
        let mut greeting = String::new();
        qsd.qmp.read_line(&mut greeting).expect("a greeting");
        qsd.ask("qmp_capabilities", json!({}));
        let file = json!({"driver": "file", "filename": dir.join("active.qcow2")});
        qsd.ask("blockdev-add", json!({"driver": "qcow2", "node-name": "active", "discard": "unmap", "file": file}));
        let path = json!({"type": "unix", "data": {"path": dir.join("nbd")}});
        qsd.ask("nbd-server-start", json!({"addr": path}));
        let live = dir.join("live.raw");
        qsd.ask(
            "block-export-add",
            json!({"type": "fuse", "id": "live", "node-name": "active", "mountpoint": live, "writable": true}),
        );
        qsd
    }

    fn ask(&mut self, command: &str, arguments: Value) -> Value {
        let line = json!({"execute": command, "arguments": arguments});
        writeln!(self.qmp.get_mut(), "{line}").expect("it listens");
        loop {
            let mut line = String::new();
            self.qmp.read_line(&mut line).expect("it answers");
            let answer: Value = serde_json::from_str(&line).expect("JSON");
            assert!(answer.get("error").is_none(), "{command}: {answer}");
            if let Some(answer) = answer.get("return") {
                return answer.clone();
            }
        }
    }

    /// Makes a moment: an export `disk` of the disk as it is now, with the bitmap `since-K` of what changed since the last
    /// one, and begins the bitmap `ck-K`. Returns K.
    fn make_moment(&mut self, site: &Site) -> u32 {
        let k = self.moment;
        let scratch = site.path(&format!("scratch-{k}.qcow2"));
        sh(&site.path(""), &format!("qemu-img create -q -f qcow2 {} $(stat -c %s live.raw)", scratch.display()));
        let node = format!("scratch-{k}");
        let file = json!({"driver": "file", "filename": scratch});
        self.ask("blockdev-add", json!({"driver": "qcow2", "node-name": node, "file": file, "backing": "active"}));
        let bitmap = |name: String, disabled| {
            let data = json!({"node": "active", "name": name, "disabled": disabled});
            json!({"type": "block-dirty-bitmap-add", "data": data})
        };
        let mut actions = vec![bitmap(format!("ck-{k}"), false)];
        if k > 0 {
            let before = format!("ck-{}", k - 1);
            let merge = json!({"node": "active", "target": format!("since-{k}"), "bitmaps": [before]});
            actions.push(bitmap(format!("since-{k}"), true));
            actions.push(json!({"type": "block-dirty-bitmap-merge", "data": merge}));
            let disable = json!({"node": "active", "name": before});
            actions.push(json!({"type": "block-dirty-bitmap-disable", "data": disable}));
        }
        let backup =
            json!({"job-id": "fleece", "device": "active", "target": node, "sync": "none", "auto-dismiss": false});
        actions.push(json!({"type": "blockdev-backup", "data": backup}));
        self.ask("transaction", json!({"actions": actions}));
        let mut export = json!({"type": "nbd", "id": "export", "node-name": node, "name": "disk"});
        if k > 0 {
            export["bitmaps"] = json!([{"node": "active", "name": format!("since-{k}")}]);
        }
        self.ask("block-export-add", export);
        self.moment += 1;
        k
    }

    fn end_moment(&mut self) {
        let k = self.moment - 1;
        self.ask("block-export-del", json!({"id": "export", "mode": "hard"}));
        wait_until("the export is gone", || {
            let exports = self.ask("query-block-exports", json!({}));
            exports.as_array().unwrap().iter().all(|export| export["id"] != "export")
        });
        self.ask("job-cancel", json!({"id": "fleece"}));
        wait_until("the job has ended", || {
            let jobs = self.ask("query-jobs", json!({}));
            jobs.as_array().unwrap().iter().any(|job| job["id"] == "fleece" && job["status"] == "concluded")
        });
        self.ask("job-dismiss", json!({"id": "fleece"}));
        self.ask("blockdev-del", json!({"node-name": format!("scratch-{k}")}));
    }

    fn uri(&self, site: &Site) -> String {
        format!("nbd+unix:///disk?socket={}", site.path("nbd").display())
    }
}

/// A file system on the live disk. It is thawed, unmounted and its loop device detached when the test ends.
struct Mounted {
    dir: PathBuf,
    device: String,
}

impl Mounted {
    fn make(site: &Site) -> Self {
        let device = sh(&site.path(""), "losetup -f --show live.raw").trim().to_owned();
        let mounted = Self { dir: site.path("live"), device };
        let (dir, device) = (mounted.dir.display(), &mounted.device);
        sh(&site.path(""), &format!("mkfs.ext4 -q -F -b 4096 {device}; mount -o noatime {device} {dir}"));
        mounted
    }

    /// Freezes the file system, calls `deed`, thaws it.
    fn frozen<T>(&self, deed: impl FnOnce() -> T) -> T {
        sh(&self.dir, &format!("sync -f .; fsfreeze -f {:?}", self.dir));
        let done = deed();
        sh(Path::new("/"), &format!("fsfreeze -u {:?}", self.dir));
        done
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let dir = self.dir.display();
        let script = format!("fsfreeze -u {dir}; umount {dir} || umount -l {dir}; losetup -d {}", self.device);
        let _ = Command::new("bash").args(["-c", &script]).output();
    }
}

#[test]
fn a_full_generation_and_increments_are_the_disk_and_the_files_as_they_were_at_each_moment() {
    let site = Site::new();
    std::fs::create_dir(site.path("images")).unwrap();
    // Dropped in reverse: the mount goes before its disk.
    let mut qsd = Qsd::start(&site, "64M");
    let live = Mounted::make(&site);
    let uri = qsd.uri(&site);
    add(&site, &["--nbd", &uri, "--consistency", "frozen"]);
    let mut truth: Vec<(String, String, u64)> = Vec::new();
    for k in 0..4 {
        let script = format!(
            "mkdir -p dir-{k}; head -c 300000 /dev/urandom > dir-{k}/random; echo {k} > same-name; ln -sf {k} link
             head -c 3000000 /dev/urandom > large; truncate -s 9M holes; printf {k} >> holes
             rm -rf dir-$(({k} - 2)); for f in $(seq 50); do echo {k} $f > dir-{k}/$f; done"
        );
        sh(&live.dir, &script);
        live.frozen(|| {
            qsd.make_moment(&site);
            sh(&site.path(""), &format!("cp -a --sparse=always live out/truth-{k}"));
        });
        // The guest goes on.
        sh(&live.dir, "head -c 2000000 /dev/urandom > large; echo after > same-name; sync -f .");
        let sum = sha256_of_export(&site, &uri);
        let (checkpoint, bitmap, since) = (format!("ck-{k}"), format!("since-{k}"), format!("ck-{}", k - 1));
        let mut args = vec!["--checkpoint", &checkpoint];
        if k > 0 {
            args.extend(["--bitmap", &bitmap, "--since", &since]);
        }
        let report = take(&site, &args);
        qsd.end_moment();
        assert_eq!(report["level"], if k == 0 { "full" } else { "incremental" }, "{report}");
        assert_eq!((&report["checkpoint"], &report["consistency"]), (&checkpoint.into(), &"frozen".into()));
        let fetched = report["fetched_bytes"].as_u64().unwrap();
        let dirty = report["dirty_bytes"].as_u64().unwrap();
        assert!(fetched <= dirty && fetched < 12 << 20, "{report}");
        if k > 0 {
            assert!(dirty < 32 << 20, "{report}");
            assert_eq!(report["parent"].as_str(), Some(truth[k as usize - 1].0.as_str()));
        }
        let path = PathBuf::from(report["path"].as_str().unwrap());
        let file = std::fs::metadata(path).unwrap();
        assert_eq!((file.len(), file.mode() & 0o777), (64 << 20, 0o600));
        assert!(file.blocks() * 512 <= fetched + (1 << 16), "only what was read is stored");
        truth.push((report["taken_at"].as_str().unwrap().to_owned(), sum, fetched));
    }
    let instants: Vec<&str> = truth.iter().map(|(at, ..)| at.as_str()).collect();
    let names = instants.iter().flat_map(|at| {
        let name = at.replace(':', "");
        [format!("{name}.json"), format!("{name}.raw")]
    });
    assert_eq!(left(&site), names.collect::<Vec<_>>(), "nothing else is left");
    let mount = site.mount(&[]);
    for (k, (at, sum, _)) in truth.iter().enumerate() {
        let view = mount.join(format!("vda/@{}", at.replace(':', "")));
        assert_eq!(&sha256(&view.join("disk.raw")), sum, "the disk as of {at}");
        let tree = sh(&view, "ls -d */").trim().trim_end_matches('/').to_owned();
        let truth = site.path(&format!("out/truth-{k}"));
        assert_eq!(difference(&truth, &view.join(&tree)), "", "the files as of {at}");
    }
    // What is not dirty is not asked for again: nothing changed, nothing comes but what the journal wrote.
    live.frozen(|| qsd.make_moment(&site));
    let report = take(&site, &["--checkpoint", "ck-4", "--bitmap", "since-4", "--since", "ck-3"]);
    assert!(report["fetched_bytes"].as_u64().unwrap() < 8 << 20, "{report}");
    qsd.end_moment();
    live.frozen(|| qsd.make_moment(&site));
    let report = take(&site, &["--checkpoint", "ck-5", "--bitmap", "since-5", "--since", "ck-4"]);
    assert!(report["fetched_bytes"].as_u64().unwrap() <= 1 << 20, "{report}");
    qsd.end_moment();
    drop(live);
    qsd.server.kill();
}

#[test]
fn an_increment_reads_what_is_dirty_and_not_zero_and_a_bitmap_that_is_not_there_is_told_with_those_that_are() {
    let site = Site::new();
    small_disk(&site);
    let (_server, uri) = serve(&site, "-r -B b0 disk.qcow2");
    add(&site, &["--nbd", &uri, "--bitmap", "b0"]);
    let sum = sha256_of_export(&site, &uri);
    let full = take(&site, &[]);
    assert_eq!(full["level"], "full");
    // One MiB less what was written over with zeros, and 128 KiB.
    assert_eq!(full["fetched_bytes"], 1 << 20, "{full}");
    let inc = take(&site, &["--since", checkpoint(&full)]);
    assert_eq!((&inc["level"], &inc["consistency"]), (&"incremental".into(), &"crash".into()));
    assert_eq!((&inc["dirty_bytes"], &inc["fetched_bytes"]), (&(256 << 10).into(), &(128 << 10).into()), "{inc}");
    let (map, map_of_full) = (map_of(&inc), map_of(&full));
    assert_eq!(map["dirty"], json!([[1 << 20, 128 << 10], [4 << 20, 128 << 10]]));
    assert_eq!(map["zero"], json!([[1 << 20, 128 << 10]]));
    assert_eq!((&map["parent"], &map["parent_id"]), (&full["checkpoint"], &map_of_full["id"]));
    assert_eq!((&map["parent_at"], &map["format"]), (&full["taken_at"], &"asof-pull".into()));
    assert_eq!((&map["bitmap"], &map["counted_by"]), (&"b0".into(), &"said".into()));
    assert_eq!(map["source"], map_of_full["source"]);
    assert!(
        checkpoint(&inc).starts_with("asof-") && checkpoint(&inc) != checkpoint(&full),
        "each has a name of its own"
    );
    site.mount(&[]);
    assert_eq!(sha256(&view(&site).join("disk.raw")), sum);
    site.umount();

    let before = left(&site);
    let text = refused(&site, &["--bitmap", "other", "--since", checkpoint(&inc)]);
    assert!(text.contains("export \"vda\" has no context \"qemu:dirty-bitmap:other\""), "{text}");
    assert!(text.contains("\"base:allocation\", \"qemu:dirty-bitmap:b0\""), "{text}");
    assert!(text.contains("hint: export the disk with that bitmap, or take --full"), "{text}");
    let text = refused(&site, &["--since", "b7"]);
    assert!(text.contains("said to count from checkpoint \"b7\", and the newest generation"), "{text}");
    let text = refused(&site, &["--nbd", &uri.replace("/vda", "/vdb"), "--full"]);
    assert!(text.contains("no export \"vdb\""), "{text}");
    assert_eq!(generations(&site), 2);
    // A bitmap that has one name for all generations may have been cleared, or made anew, for another one than the newest.
    let report = take(&site, &[]);
    assert_eq!(report["level"], "full");
    assert!(
        report["full_because"].as_str().unwrap().contains("nothing tells that bitmap \"b0\" counts from"),
        "{report}"
    );
    assert_eq!(take(&site, &["--since", checkpoint(&report)])["level"], "incremental");
    assert_eq!(left(&site).len(), before.len() + 4);
}

#[test]
fn a_bitmap_of_which_nobody_says_what_it_counts_from_makes_a_full_generation() {
    let site = Site::new();
    small_disk(&site);
    let (_server, uri) = serve(&site, "-r -B b0 disk.qcow2");
    add(&site, &["--nbd", &uri]);
    take(&site, &["--checkpoint", "monday"]);
    let report = take(&site, &["--bitmap", "b0", "--checkpoint", "tuesday"]);
    assert_eq!(report["level"], "full");
    assert!(report["full_because"].as_str().unwrap().contains("whose checkpoint is \"monday\""), "{report}");
    let report = take(&site, &["--bitmap", "b0", "--since", "tuesday", "--checkpoint", "wednesday"]);
    assert_eq!(report["level"], "incremental");
    // A run that failed would have made another mark, so this one still counts from where it did.
    refused(&site, &["--bitmap", "none", "--since", "wednesday", "--checkpoint", "thursday"]);
    refused(&site, &["--bitmap", "none", "--since", "wednesday", "--checkpoint", "friday"]);
    let report = take(&site, &["--bitmap", "b0", "--since", "wednesday", "--checkpoint", "saturday"]);
    assert_eq!(report["level"], "incremental", "{report}");
    // One that would have made the same mark may have had it begin anew.
    refused(&site, &["--bitmap", "none", "--since", "saturday", "--checkpoint", "saturday"]);
    let report = take(&site, &["--bitmap", "b0", "--since", "saturday", "--checkpoint", "wednesday"]);
    assert_eq!(report["level"], "full", "{report}");
    let report = take(&site, &["--bitmap", "b0", "--since", "wednesday"]);
    assert!(report["full_because"].as_str().unwrap().contains("have the same checkpoint \"wednesday\""), "{report}");
    let report = take(&site, &["--bitmap", "b0", "--since", checkpoint(&report)]);
    assert_eq!(report["level"], "incremental", "{report}");
    // What it would rest on is gone.
    std::fs::remove_file(report["path"].as_str().unwrap()).unwrap();
    let report = take(&site, &["--bitmap", "b0", "--since", checkpoint(&report)]);
    assert_eq!(report["level"], "full");
    assert!(report["full_because"].as_str().unwrap().contains("is gone or was written to"), "{report}");
}

#[test]
fn a_disk_that_has_grown_is_taken_with_all_that_it_has_grown_by_and_a_smaller_one_is_taken_whole() {
    let site = Site::new();
    small_disk(&site);
    let (mut server, uri) = serve(&site, "-r -B b0 disk.qcow2");
    add(&site, &["--nbd", &uri, "--bitmap", "b0"]);
    let full = take(&site, &[]);
    server.kill();
    sh(&site.path(""), "qemu-img resize -q disk.qcow2 10M; qemu-io -c 'write -q -P 7 9M 64k' disk.qcow2");
    let (mut server, _) = serve(&site, "-r -B b0 disk.qcow2");
    let sum = sha256_of_export(&site, &uri);
    let report = take(&site, &["--since", checkpoint(&full)]);
    assert_eq!((&report["level"], &report["disk_bytes"]), (&"incremental".into(), &(10 << 20).into()));
    site.mount(&[]);
    assert_eq!(sha256(&view(&site).join("disk.raw")), sum);
    site.umount();
    server.kill();
    sh(&site.path(""), "qemu-img create -q -f qcow2 disk.qcow2 4M; qemu-img bitmap --add disk.qcow2 b0");
    let (_server, _) = serve(&site, "-r -B b0 disk.qcow2");
    let sum = sha256_of_export(&site, &uri);
    let report = take(&site, &["--since", checkpoint(&report)]);
    assert_eq!(report["level"], "full");
    let why = report["full_because"].as_str().unwrap();
    assert!(why.contains("gives a disk of 4194304 bytes, and the generation of"), "{why}");
    site.mount(&[]);
    assert_eq!(sha256(&view(&site).join("disk.raw")), sum);
    site.umount();
}

/// A disk that gives 4 MiB a second.
fn serve_slowly(site: &Site) -> (Server, String) {
    serve(
        site,
        "-r --object throttle-group,id=t,x-bps-read=4194304,x-bps-read-max=4194304 --image-opts \
         driver=throttle,throttle-group=t,file.driver=qcow2,file.file.driver=file,file.file.filename=disk.qcow2",
    )
}

fn start(site: &Site, args: &[&str]) -> Child {
    site.asof(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts")
}

fn is_part_growing(site: &Site) -> bool {
    let (_, names) = names_now(site);
    let part = names.iter().find(|name| name.ends_with(".raw.part"));
    part.is_some_and(|part| std::fs::metadata(site.path("images").join(part)).is_ok_and(|file| file.blocks() > 0))
}

fn ended(child: Child, code: Option<i32>) -> String {
    let output: Output = child.wait_with_output().expect("it ends");
    assert!(output.status.code() == code || (code == Some(0) && is_done(&output)), "{}", said(&output));
    said(&output)
}

fn big_disk(site: &Site) {
    sh(
        &site.path(""),
        "qemu-img create -q -f qcow2 disk.qcow2 64M; qemu-io -c 'write -q -P 1 0 32M' disk.qcow2; mkdir images",
    );
}

#[test]
fn a_server_that_is_gone_in_the_middle_leaves_nothing() {
    let site = Site::new();
    big_disk(&site);
    let (mut server, uri) = serve_slowly(&site);
    add(&site, &["--nbd", &uri]);
    let run = start(&site, &["take", "vda"]);
    wait_until("bytes come", || is_part_growing(&site));
    server.kill();
    let text = ended(run, Some(2));
    assert!(text.contains("cannot pull from \"nbd+unix:///vda") && text.contains("broke while"), "{text}");
    assert_eq!((generations(&site), left(&site)), (0, vec![]));
    let text = refused(&site, &[]);
    assert!(text.contains("cannot connect to"), "{text}");
}

#[test]
fn a_run_that_is_killed_leaves_the_catalog_as_it_was_and_the_next_one_says_what_it_removes() {
    let site = Site::new();
    big_disk(&site);
    let (mut server, uri) = serve_slowly(&site);
    add(&site, &["--nbd", &uri]);
    let mut run = start(&site, &["take", "vda"]);
    wait_until("bytes come", || is_part_growing(&site));
    run.kill().unwrap();
    ended(run, None);
    assert_eq!(generations(&site), 0);
    assert_eq!(done(&site, &["index", "vda"]).stdout, b"", "what is not whole is not indexed");
    assert_eq!(generations(&site), 0);
    server.kill();
    let (_server, _) = serve(&site, "-r disk.qcow2");
    let sum = sha256_of_export(&site, &uri);
    let text = said(&done(&site, &["take", "vda"]));
    assert!(text.contains("removed") && text.contains(".raw.part"), "{text}");
    assert_eq!((generations(&site), left(&site).len()), (1, 2));
    site.mount(&[]);
    assert_eq!(sha256(&view(&site).join("disk.raw")), sum);
    site.umount();
}

#[test]
fn runs_that_are_killed_at_any_moment_are_gone_on_from_and_no_generation_is_wrong() {
    let site = Site::new();
    small_disk(&site);
    let (_server, uri) = serve(&site, "-r -B b0 disk.qcow2");
    add(&site, &["--nbd", &uri, "--bitmap", "b0"]);
    let sum = sha256_of_export(&site, &uri);
    take(&site, &[]);
    let has = |site: &Site, what: &str, count: usize| {
        names_now(site).1.iter().filter(|name| name.ends_with(what) && !name.starts_with('.')).count() >= count
    };
    for (kill_at, count) in [(".raw.part", 0), (".json", 1), (".raw", 1), (".raw", 1), (".json", 1)] {
        let count = match kill_at {
            ".raw.part" => 1,
            what => left(&site).iter().filter(|name| name.ends_with(what) && !name.starts_with('.')).count() + count,
        };
        let mut run = start(&site, &["take", "vda"]);
        // It may be over before it is caught: then it was not killed, and that is a moment too.
        wait_until("it is there", || has(&site, kill_at, count) || run.try_wait().unwrap().is_some());
        let _ = run.kill();
        let _ = run.wait();
        take(&site, &[]);
        assert!(left(&site).iter().all(|name| !name.contains("part") && !name.contains("asof-")), "{:?}", left(&site));
        let raws = left(&site).iter().filter(|name| name.ends_with(".raw")).count();
        assert_eq!(generations(&site), raws, "every image is of a generation");
    }
    let mount = site.mount(&[]);
    for name in left(&site).iter().filter_map(|name| name.strip_suffix(".raw")) {
        assert_eq!(sha256(&mount.join(format!("vda/@{name}/disk.raw"))), sum, "{name}");
    }
    site.umount();
}

#[test]
fn a_run_that_is_killed_around_its_commands_is_gone_on_from_and_the_guest_is_let_go() {
    let moments = [
        ("pre", 1, "full", false),
        ("snapshot", 1, "full", false),
        // The moment is made then, and its bytes have not come.
        ("post", 1, "full", false),
        ("post", 1, "full", true),
    ];
    for (when, indexed, next, by_index) in moments {
        let site = Site::new();
        small_disk(&site);
        let (_server, uri) = serve(&site, "-r -B b0 disk.qcow2");
        let log = site.path("log").display().to_string();
        let flag = site.path(&format!("flag-{when}")).display().to_string();
        let command = |what: &str| {
            let kill = if what == when { format!("test -e {flag} || kill -9 $PPID") } else { "true".to_owned() };
            format!("sh -c 'echo {what} $ASOF_STATUS >> {log}; {kill}'")
        };
        let commands = (command("pre"), command("snapshot"), command("post"));
        add(
            &site,
            &["--nbd", &uri, "--bitmap", "b0", "--pre", &commands.0, "--snapshot", &commands.1, "--post", &commands.2],
        );
        std::fs::write(&flag, "").unwrap();
        take(&site, &[]);
        std::fs::remove_file(&flag).unwrap();
        ended(start(&site, &["take", "vda"]), None);
        assert_eq!(generations(&site), 1, "killed in {when}");
        std::fs::write(&flag, "").unwrap();
        // The command that lets go was cut off itself: the next run has it run again. Else it was not begun, and is by what outlives the run.
        let by_next = if when == "post" { "post interrupted\n" } else { "" };
        if when != "post" {
            let logged = || std::fs::read_to_string(&log).unwrap_or_default();
            wait_until("the guest is let go", || logged().ends_with("post interrupted\n"));
            wait_until("it is known", || !site.path("images/.asof-thaw-vda.json").exists());
        }
        std::fs::write(&log, "").unwrap();
        if by_index {
            done(&site, &["index", "vda"]);
            assert_eq!(generations(&site), 1);
        }
        let report = take(&site, &[]);
        assert_eq!(report["level"], next, "killed in {when}: {report}");
        assert_eq!(generations(&site), indexed + 1, "killed in {when}");
        let logged = std::fs::read_to_string(&log).unwrap();
        assert_eq!(logged, format!("{by_next}pre\nsnapshot\npost taken\n"), "killed in {when}");
        let names = left(&site);
        assert_eq!(names.len(), 2 * (indexed + 1), "killed in {when}: {names:?}");
        let sum = sha256_of_export(&site, &uri);
        let mount = site.mount(&[]);
        for name in names.iter().filter_map(|name| name.strip_suffix(".raw")) {
            assert_eq!(sha256(&mount.join(format!("vda/@{name}/disk.raw"))), sum, "killed in {when}: {name}");
        }
        site.umount();
    }
}

#[test]
fn commands_run_in_their_order_and_an_image_that_one_makes_is_indexed_after_the_guest_was_let_go() {
    let site = Site::new();
    small_disk(&site);
    sh(&site.path(""), "qemu-img convert -O raw disk.qcow2 disk.raw; rm disk.qcow2");
    let log = site.path("log").display().to_string();
    let said_by = |what: &str| format!("sh -c 'echo {what} $ASOF_SOURCE $ASOF_STATUS >> {log}'");
    let disk = site.path("disk.raw").display().to_string();
    let snapshot = format!("sh -c 'echo snapshot >> {log}; cp --reflink=auto {disk} \"$ASOF_IMAGE\"; echo done'");
    add(&site, &["--pre", &said_by("pre"), "--snapshot", &snapshot, "--post", &said_by("post")]);
    let report = take(&site, &[]);
    assert_eq!((&report["consistency"], &report["level"]), (&"app".into(), &"full".into()));
    assert_eq!(std::fs::read_to_string(&log).unwrap(), "pre vda\nsnapshot\npost vda taken\n");
    site.mount(&[]);
    assert_eq!(sha256(&view(&site).join("disk.raw")), sha256(&site.path("disk.raw")));
    site.umount();
    assert_eq!(left(&site).len(), 1, "{:?}", left(&site));

    // Its path may be printed, too.
    let site = Site::new();
    small_disk(&site);
    let disk = site.path("disk.qcow2").display().to_string();
    let snapshot = format!("sh -c 'cp -v {disk} $ASOF_IMAGES/mine.qcow2; echo mine.qcow2'");
    add(&site, &["--snapshot", &snapshot]);
    let report = take(&site, &[]);
    assert_eq!(report["path"], site.path("images/mine.qcow2").display().to_string());
    assert_eq!((&report["consistency"], report["entries"].is_number()), (&"crash".into(), true));
    let text = refused(&site, &[]);
    assert!(text.contains("which is the generation of"), "{text}");
}

#[test]
fn the_guest_is_let_go_whatever_fails() {
    let site = Site::new();
    small_disk(&site);
    let (_server, uri) = serve(&site, "-r disk.qcow2");
    let log = site.path("log").display().to_string();
    let post = format!("sh -c 'echo post $ASOF_STATUS >> {log}'");
    let logged = || std::fs::read_to_string(site.path("log")).unwrap_or_default();
    add(&site, &["--nbd", &uri, "--pre", "sh -c 'sleep 1000 & wait'", "--hook-timeout", "1", "--post", &post]);
    let text = refused(&site, &[]);
    assert!(text.contains("was killed: it had not ended after 1 s"), "{text}");
    assert_eq!(logged(), "post failed\n");

    site.ok(&["source", "remove", "vda"]);
    let images = site.path("images").display().to_string();
    let add_again = |pre: &str, post: &str| {
        let args = ["source", "add", "block", "vda", "--images", &images, "--nbd", &uri, "--pre", pre, "--post", post];
        site.ok(&args);
    };
    add_again("false", &post);
    refused(&site, &[]);
    assert_eq!(logged(), "post failed\npost failed\n");
    site.ok(&["source", "remove", "vda"]);
    add_again("true", &post);
    refused(&site, &["--nbd", &uri.replace("vda", "none")]);
    assert_eq!(logged(), "post failed\npost failed\npost failed\n");
    assert_eq!(left(&site), [""; 0]);

    // A command that lets the guest go and does not succeed is told, and run again by the next run.
    site.ok(&["source", "remove", "vda"]);
    let flag = site.path("flag").display().to_string();
    add_again("true", &format!("sh -c 'echo post $ASOF_STATUS >> {log}; test -e {flag}'"));
    std::fs::write(&log, "").unwrap();
    let text = said(&site.run(&["take", "vda"], 1));
    assert!(text.contains("the guest may be held still"), "{text}");
    assert_eq!(generations(&site), 1);
    // It keeps nothing from being taken.
    let text = said(&site.run(&["take", "vda"], 1));
    assert_eq!(text.matches("the guest may be held still").count(), 2, "{text}");
    assert_eq!(generations(&site), 2);
    std::fs::write(&flag, "").unwrap();
    let text = said(&done(&site, &["index", "vda"]));
    assert!(text.contains("an interrupted run had not let the guest go"), "{text}");
    assert_eq!(logged(), "post taken\npost interrupted\npost taken\npost interrupted\n");
}

#[test]
fn the_guest_is_let_go_when_the_run_is_told_to_end_is_killed_or_hangs() {
    let site = Site::new();
    big_disk(&site);
    let (mut server, uri) = serve_slowly(&site);
    let log = site.path("log").display().to_string();
    let said_by = |what: &str| format!("sh -c 'echo {what} $ASOF_STATUS >> {log}'");
    let logged = || std::fs::read_to_string(site.path("log")).unwrap_or_default();
    add(&site, &["--nbd", &uri, "--pre", &said_by("pre"), "--post", &said_by("post")]);
    for signal in ["TERM", "INT", "HUP"] {
        std::fs::write(&log, "").unwrap();
        let run = start(&site, &["take", "vda"]);
        wait_until("bytes come", || is_part_growing(&site));
        sh(Path::new("/"), &format!("kill -{signal} {}", run.id()));
        let text = ended(run, Some(2));
        assert!(text.contains("the run was ended by a signal before all was read"), "{text}");
        assert_eq!(logged(), "pre\npost failed\n", "SIG{signal}");
        assert_eq!((generations(&site), left(&site)), (0, vec![]));
    }
    // Also if the server says nothing any more.
    std::fs::write(&log, "").unwrap();
    let run = start(&site, &["take", "vda"]);
    wait_until("bytes come", || is_part_growing(&site));
    sh(Path::new("/"), &format!("kill -STOP {}; kill -TERM {}", server.0.id(), run.id()));
    let text = ended(run, Some(2));
    assert!(text.contains("ended by a signal; nothing was published"), "{text}");
    assert_eq!(logged(), "pre\npost failed\n");
    sh(Path::new("/"), &format!("kill -CONT {}", server.0.id()));
    std::fs::write(&log, "").unwrap();
    // By a process that outlives it.
    let mut run = start(&site, &["take", "vda"]);
    wait_until("the guest is held", || logged() == "pre\n");
    run.kill().unwrap();
    ended(run, None);
    wait_until("the guest is let go", || logged() == "pre\npost interrupted\n");
    // One that does not get on is late, and what it read meanwhile is of no moment.
    site.ok(&["source", "set", "vda", "--freeze-max", "1"]);
    std::fs::write(&log, "").unwrap();
    let run = start(&site, &["take", "vda"]);
    wait_until("bytes come", || is_part_growing(&site));
    sh(Path::new("/"), &format!("kill -STOP {}", run.id()));
    wait_until("the guest is let go", || logged() == "pre\npost late\n");
    sh(Path::new("/"), &format!("kill -CONT {}", run.id()));
    let text = ended(run, Some(2));
    assert!(text.contains("the guest had been held for 1 s and was let go before the moment was made"), "{text}");
    assert!(text.contains("hint: --freeze-max SECONDS lets it be held longer"), "{text}");
    // The note of the run that was killed stays until something is published.
    assert_eq!((generations(&site), left(&site)), (0, vec![".asof-pull-vda.json".to_owned()]));
    site.ok(&["source", "set", "vda", "--freeze-max", "600"]);
    // If that is gone, too, by the next run.
    std::fs::write(&log, "").unwrap();
    let mut run = start(&site, &["take", "vda"]);
    wait_until("the guest is held", || logged() == "pre\n");
    sh(Path::new("/"), &format!("kill -KILL $(pgrep -P {} -f let-go)", run.id()));
    run.kill().unwrap();
    ended(run, None);
    assert_eq!(logged(), "pre\n");
    server.kill();
    let (_server, _) = serve(&site, "-r disk.qcow2");
    let text = said(&done(&site, &["take", "vda"]));
    assert!(text.contains("an interrupted run had not let the guest go: the post command"), "{text}");
    assert_eq!(logged(), "pre\npost interrupted\npre\npost taken\n");
    assert_eq!((generations(&site), left(&site).len()), (1, 2));
}

#[test]
fn the_guest_goes_on_when_the_moment_is_made_and_what_it_was_read_from_is_removed_at_the_end() {
    let site = Site::new();
    big_disk(&site);
    let (_server, uri) = serve_slowly(&site);
    let log = site.path("log").display().to_string();
    let logged = || std::fs::read_to_string(site.path("log")).unwrap_or_default();
    let said_by = |what: &str| format!("sh -c 'echo {what} $ASOF_STATUS >> {log}'");
    let (pre, snapshot, post, cleanup) = (said_by("pre"), said_by("snapshot"), said_by("post"), said_by("cleanup"));
    add(&site, &["--nbd", &uri, "--pre", &pre, "--snapshot", &snapshot, "--post", &post, "--cleanup", &cleanup]);
    let run = start(&site, &["take", "vda"]);
    wait_until("bytes come", || is_part_growing(&site));
    assert_eq!(logged(), "pre\nsnapshot\npost taken\n");
    ended(run, Some(0));
    assert_eq!(logged(), "pre\nsnapshot\npost taken\ncleanup taken\n");
    refused(&site, &["--nbd", &uri.replace("vda", "none")]);
    assert!(logged().ends_with("post taken\ncleanup failed\n"), "{}", logged());
}

#[test]
fn a_command_that_may_hold_the_guest_ends_with_a_run_that_is_killed() {
    let site = Site::new();
    small_disk(&site);
    let number = site.path("number").display().to_string();
    let begins = format!("sh -c 'echo $$ > {number}.part; mv {number}.part {number}; exec sleep 60'");
    for (source, pre, snapshot) in [("pre", &*begins, "true"), ("snapshot", "true", &*begins)] {
        let _ = std::fs::remove_file(&number);
        let images = site.path(source).display().to_string();
        sh(&site.path(""), &format!("mkdir {source}; rm -rf catalog.db*"));
        site.ok(&["init"]);
        let commands = ["--pre", pre, "--snapshot", snapshot, "--post", "true"];
        site.ok(&[&["source", "add", "block", source, "--images", &images][..], &commands].concat());
        let mut run = start(&site, &["take", source]);
        wait_until("the command runs", || Path::new(&number).exists());
        run.kill().unwrap();
        let stat = format!("/proc/{}/stat", std::fs::read_to_string(&number).unwrap().trim());
        let has_ended = || std::fs::read_to_string(&stat).map_or(true, |text| text.contains(") Z "));
        wait_until("it has ended", has_ended);
        ended(run, None);
        wait_until("the guest is let go", || !site.path(source).join(format!(".asof-thaw-{source}.json")).exists());
    }
}

#[test]
fn a_full_folder_is_told_and_left_as_it_was() {
    let site = Site::new();
    big_disk(&site);
    sh(&site.path(""), "mount -t tmpfs -o size=8M tmpfs images");
    let (_server, uri) = serve(&site, "-r disk.qcow2");
    add(&site, &["--nbd", &uri, "--post", "true"]);
    let text = refused(&site, &[]);
    assert!(text.contains(".raw.part") && text.contains("No space left on device"), "{text}");
    assert!(text.contains("hint: make room and run it again"), "{text}");
    assert_eq!((generations(&site), left(&site)), (0, vec![]));
    sh(&site.path(""), "mount -o remount,size=64M images");
    assert_eq!(take(&site, &[])["level"], "full");
}

/// `asof source set` changes what is given, "" takes it back, and what other kinds of sources have is refused.
#[test]
fn the_settings_of_a_disk_change() {
    let site = Site::new();
    std::fs::create_dir_all(site.path("images")).unwrap();
    std::fs::create_dir_all(site.path("other")).unwrap();
    add(&site, &["--nbd", "nbd://host/vda", "--bitmap", "b0", "--pre", "sync"]);
    let settings = || -> Value {
        let shown: Value = serde_json::from_str(&site.ok(&["source", "show", "vda", "--json"])).expect("JSON");
        shown["settings"].clone()
    };
    let other = site.path("other").display().to_string();
    site.ok(&["source", "set", "vda", "--bitmap", "", "--pre", "", "--post", "true", "--store", &other]);
    site.ok(&["source", "set", "vda", "--consistency", "frozen", "--hook-timeout", "5", "--nbd", "nbd://other/vda"]);
    let now = settings();
    assert_eq!((&now["nbd"], &now["post"], &now["store"]), (&"nbd://other/vda".into(), &"true".into(), &other.into()));
    assert_eq!((&now["consistency"], &now["hook_timeout_s"]), (&"frozen".into(), &5.into()));
    assert_eq!((&now["bitmap"], &now["pre"]), (&Value::Null, &Value::Null));

    let set = |more: &[&str]| {
        let mut args = vec!["source", "set", "vda"];
        args.extend(more);
        said(&site.run(&args, 2)).trim().to_owned()
    };
    let hint = "hint: asof source show vda prints its settings; nothing was changed";
    assert_eq!(
        set(&["--host", "h"]),
        format!(
            "asof: source \"vda\" is of kind block: --host and the settings of bricks are for sources of kind gluster\n{hint}"
        )
    );
    assert_eq!(
        set(&["--checksum"]),
        format!(
            "asof: source \"vda\" is of kind block: --copies and how they are compared are for sources of kind nfs\n{hint}"
        )
    );
    assert_eq!(
        set(&["--domain", "vm1"]),
        "asof: the domain \"vm1\" cannot be: an export, its bitmap and a snapshot command are other ways to take a disk; choose one"
    );
    site.ok(&["source", "set", "vda", "--nbd", "", "--domain", "vm1", "--freeze", "--method", "push"]);
    let domain = serde_json::json!({"name": "vm1", "method": "push", "freeze": true});
    assert_eq!(settings()["domain"], domain);
    // Another guest is not frozen because the one before it was.
    site.ok(&["source", "set", "vda", "--domain", "vm2"]);
    assert_eq!(settings()["domain"], serde_json::json!({"name": "vm2", "method": "push"}));
    site.ok(&["source", "set", "vda", "--domain", ""]);
    assert_eq!(settings()["domain"], Value::Null);
    let told = said(&site.run(&["take", "vda", "--location", "swift://x"], 2));
    let bad = "asof: \"swift://x\" is no location: the scheme \"swift\" is not known, expected file:///PATH, nbd://HOST/EXPORT, \
               nbd+unix:///EXPORT?socket=PATH, cinder://ID or libvirt:///DOMAIN/DISK";
    assert_eq!(told.trim(), bad);
}

/// Each waits for a second of its own: names in a folder are those of seconds. What a run that was killed had claimed is in nobody's way.
#[test]
fn two_sources_with_one_folder_never_take_each_others_images_for_their_own() {
    let site = Site::new();
    sh(&site.path(""), "mkdir images; for n in 1 2; do head -c 2M /dev/urandom > disk$n.raw; done");
    site.ok(&["init"]);
    let images = site.path("images").display().to_string();
    let mut servers = Vec::new();
    for n in ["1", "2"] {
        let socket = site.path(&format!("nbd{n}"));
        let script = format!("exec qemu-nbd -t -e 8 -r -f raw -x vda -k {} disk{n}.raw", socket.display());
        servers.push(Server::start(Command::new("bash").args(["-c", &script]).current_dir(site.path(""))));
        wait_until("qemu-nbd listens", || UnixStream::connect(&socket).is_ok());
        let uri = format!("nbd+unix:///vda?socket={}", socket.display());
        site.ok(&["source", "add", "block", &format!("d{n}"), "--images", &images, "--nbd", &uri]);
    }
    let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64;
    for round in 0..4 {
        if round == 2 {
            let left = asof::model::Time(now() + 1).view_name();
            std::fs::write(site.path("images").join(format!(".asof-second-{left}")), "of nobody").unwrap();
        }
        let runs = [start(&site, &["take", "d1"]), start(&site, &["take", "d2"]), start(&site, &["take", "d1"])];
        for run in runs {
            let output = run.wait_with_output().expect("it ends");
            assert!(is_done(&output), "{}", said(&output));
        }
    }
    let mount = site.mount(&[]);
    for n in ["1", "2"] {
        done(&site, &["take", &format!("d{n}")]);
        let listed =
            site.ok(&["sql", "--csv", &format!("SELECT replace(taken_at, ':', '') FROM disks WHERE source = 'd{n}'")]);
        assert_eq!(listed.lines().count(), [1 + 9, 1 + 5][usize::from(n == "2")], "{listed}");
        for name in listed.lines().skip(1) {
            let shown =
                await_view(&mount.join(format!("d{n}")), &format!("{}:{}:{}", &name[..13], &name[13..15], &name[15..]));
            assert_eq!(sha256(&shown.join("disk.raw")), sha256(&site.path(&format!("disk{n}.raw"))), "d{n} {name}");
        }
    }
    site.umount();
}

#[test]
fn an_increment_is_put_on_the_moment_that_it_counts_from_and_on_no_other() {
    let site = Site::new();
    small_disk(&site);
    let (_server, uri) = serve(&site, "-r -B b0 disk.qcow2");
    add(&site, &["--nbd", &uri, "--bitmap", "b0"]);
    let full = take(&site, &["--checkpoint", "monday"]);
    let first = take(&site, &["--since", "monday", "--checkpoint", "monday"]);
    let second = take(&site, &["--full", "--checkpoint", "tuesday"]);
    let third = take(&site, &["--since", "tuesday"]);
    let path = |report: &Value| report["path"].as_str().unwrap().to_owned();
    let index_anew = |code: i32| {
        sh(&site.path(""), "rm -rf catalog.db*");
        site.ok(&["init"]);
        site.ok(&["source", "add", "block", "vda", "--images", &site.path("images").display().to_string()]);
        let output = site.asof(&["index", "vda"]).output().expect("the program starts");
        assert!(if code == 0 { is_done(&output) } else { output.status.code() == Some(code) }, "{}", said(&output));
        said(&output)
    };
    index_anew(0);
    assert_eq!(generations(&site), 4);

    // The full one that an increment counts from is lost, and another one has a checkpoint of that name.
    let fake = std::fs::read_to_string(Path::new(&path(&second)).with_extension("json")).unwrap();
    std::fs::write(
        Path::new(&path(&second)).with_extension("json"),
        fake.replace(map_of(&second)["id"].as_str().unwrap(), &"0".repeat(32)),
    )
    .unwrap();
    let text = index_anew(1);
    assert!(
        text.contains(&format!(
            "is an increment since checkpoint \"tuesday\" of moment {}",
            map_of(&third)["parent_id"].as_str().unwrap()
        )),
        "{text}"
    );
    assert_eq!(generations(&site), 3);
    std::fs::write(Path::new(&path(&second)).with_extension("json"), fake).unwrap();

    // Without its map a raw file is no disk, as long as its manifest says that it had one.
    let map = Path::new(&path(&first)).with_extension("json");
    let kept = std::fs::read(&map).unwrap();
    std::fs::remove_file(&map).unwrap();
    let text = index_anew(1);
    assert!(text.contains("is no image of a whole disk") && text.contains("hint: put back"), "{text}");
    assert_eq!(generations(&site), 3);
    std::fs::write(&map, kept).unwrap();

    // Bytes that became a hole have another digest.
    sh(&site.path(""), &format!("fallocate -p -o 4M -l 64k {:?}", path(&third)));
    let text = index_anew(1);
    assert!(text.contains("its data has the digest"), "{text}");
    assert_eq!((generations(&site), full["level"].as_str()), (3, Some("full")));
}

#[test]
fn a_folder_that_is_not_mounted_is_not_filled_and_a_generation_of_the_future_is_in_nobodys_way() {
    let site = Site::new();
    small_disk(&site);
    sh(&site.path(""), "mount -t tmpfs -o size=64M tmpfs images");
    let (_server, uri) = serve(&site, "-r -B b0 disk.qcow2");
    add(&site, &["--nbd", &uri, "--bitmap", "b0"]);
    let report = take(&site, &[]);
    sh(
        &site.path(""),
        "mkdir elsewhere; mount --move images elsewhere 2>/dev/null || { mount --make-private images; mount --move images elsewhere; } || { mount --bind images elsewhere; umount images; }",
    );
    for full in [&[][..], &["--full"]] {
        let text = refused(&site, full);
        assert!(
            text.contains("cannot be written to: another directory is there than the one that was known"),
            "{text}"
        );
        assert!(text.contains("hint: mount what holds the images"), "{text}");
    }
    assert_eq!(names_now(&site), (vec![], vec![]));
    sh(&site.path(""), "mount --bind elsewhere images");
    assert_eq!(take(&site, &["--since", checkpoint(&report)])["level"], "incremental");

    let future = site.path("elsewhere/ahead.raw").display().to_string();
    sh(&site.path(""), &format!("head -c 8M /dev/urandom > {future}"));
    site.run(&["index", "vda", &site.path("images/ahead.raw").display().to_string(), "--at", "2037-01-01"], 1);
    let report = take(&site, &[]);
    assert_eq!(report["level"], "full");
    assert_eq!(take(&site, &["--since", checkpoint(&report)])["parent"], report["taken_at"]);
    assert_eq!(generations(&site), 5);
    sh(&site.path(""), "umount images; umount elsewhere");
}

#[test]
fn what_is_of_no_moment_or_no_disk_is_refused_before_anything_is_written() {
    let site = Site::new();
    small_disk(&site);
    let (mut server, uri) = serve(&site, "disk.qcow2");
    add(&site, &["--nbd", &uri]);
    let text = refused(&site, &[]);
    assert!(
        text.contains("can be written to while it is read") && text.contains("hint: export it read-only"),
        "{text}"
    );
    assert_eq!(take(&site, &["--consistency", "none"])["consistency"], "none");
    server.kill();
    let before = left(&site);
    for size in ["0", "4611686018427387904"] {
        let (_server, _) = serve(&site, &format!("-r --image-opts driver=null-co,size={size}"));
        let text = refused(&site, &[]);
        assert!(text.contains(&format!("gives a disk of {size} bytes")), "{text}");
    }
    assert_eq!(left(&site), before);

    // What a command prints before its last line does not matter.
    site.ok(&["source", "set", "vda", "--nbd", "", "--snapshot", "sh -c 'qemu-img convert -O raw disk.qcow2 $ASOF_IMAGES/mine.raw; head -c 3M /dev/zero | tr \\\\0 x; echo; echo mine.raw'"]);
    assert_eq!(take(&site, &[])["path"], site.path("images/mine.raw").display().to_string());
}

/// Every generation that is taken leaves a manifest: applied one after the other they give the tree, and say where on the disk the
/// bytes of each file are.
#[test]
fn manifests_tell_what_each_generation_did_and_where_bytes_are() {
    let site = Site::new();
    sh(&site.path(""), "mkdir images change && truncate -s 32M disk.raw && mkfs.ext4 -q disk.raw");
    let snapshot = format!("sh -c 'cp {} \"$ASOF_IMAGE\"'", site.path("disk.raw").display());
    add(&site, &["--snapshot", &snapshot, "--format", "raw"]);
    let scripts = [
        "mkdir a && seq 9999 > a/long && echo short > a/short && ln -s a/long link && setfattr -n user.k -v v a/short",
        "seq 7777 > a/more && rm a/short && mv a b && truncate -s 100K b/hole && printf end >> b/hole",
    ];
    let mnt = site.mount(&[]);
    let mut tree = Manifests::default();
    for script in scripts {
        sh(&site.path(""), &format!("mount -o loop disk.raw change; (cd change && {script}); umount change"));
        let taken = take(&site, &[]);
        let at = taken["taken_at"].as_str().unwrap();
        let image = Path::new(taken["path"].as_str().unwrap()).file_name().unwrap().to_str().unwrap();
        let sequence = tree.told + 1;
        tree.apply(&site.path("images").join(format!("{image}.{sequence}.manifest")), &taken);
        let view = await_view(&mnt.join("vda"), at);
        let found = tree.check(&view);
        assert_eq!(found.to_string(), sh(&view, "find . -mindepth 1 | wc -l").trim(), "names of {at}");
    }
    // They are not taken for images.
    assert!(said(&done(&site, &["index", "vda"])).contains("nothing to index"));
}

/// What manifests say until now.
#[derive(Default)]
struct Manifests {
    told: u64,
    root: i64,
    names: BTreeMap<(i64, Vec<u8>), i64>,
    versions: BTreeMap<i64, Version>,
}

/// What a manifest says of a node.
struct Version {
    mode: u32,
    size_bytes: u64,
    target: Option<Vec<u8>>,
    /// Where on the disk its bytes are.
    runs: Option<Vec<Extent>>,
}

impl Manifests {
    fn apply(&mut self, path: &Path, taken: &Value) {
        let mut reader = Reader::new(std::fs::File::open(path).unwrap()).unwrap();
        let header = reader.header().clone();
        self.told += 1;
        assert_eq!((header.level.word(), header.source.name.as_str()), (taken["level"].as_str().unwrap(), "vda"));
        assert_eq!((header.number, header.sequence, header.after), (self.told, self.told, self.told - 1));
        self.root = header.source.root.0;
        let mut disk_bytes = None;
        let end = reader
            .skip_to_end(|edit| match *edit {
                Edit::Hold { row, .. } => disk_bytes = Some(row.layer.size_bytes),
                Edit::Unlink { dir, name } => {
                    assert!(self.names.remove(&(dir.0, name.to_vec())).is_some(), "{dir} {name:?}");
                }
                Edit::Link { dir, name, node, .. } => drop(self.names.insert((dir.0, name.to_vec()), node.0)),
                Edit::Put(ref put) | Edit::Amend(ref put) => drop(self.versions.insert(put.node.0, Version::of(put))),
                _ => {}
            })
            .unwrap();
        assert_eq!((disk_bytes, end.counts.unwrap().entries), (Some(32 << 20), self.names.len() as u64));
    }

    /// Compares what was told with a view, and returns how many names there are.
    fn check(&self, view: &Path) -> usize {
        let disk = std::fs::read(view.join("disk.raw")).unwrap();
        let mut next = vec![(self.root, view.to_owned())];
        let mut count = 0;
        while let Some((dir, path)) = next.pop() {
            for ((_, name), node) in self.names.range((dir, Vec::new())..(dir + 1, Vec::new())) {
                count += 1;
                let (path, version) = (path.join(OsStr::from_bytes(name)), &self.versions[node]);
                let now = std::fs::symlink_metadata(&path).unwrap();
                assert_eq!(version.mode, now.mode(), "{path:?}");
                if now.is_dir() {
                    next.push((*node, path));
                } else if now.is_symlink() {
                    let target = std::fs::read_link(&path).unwrap();
                    assert_eq!(version.target.as_deref(), Some(target.as_os_str().as_bytes()));
                } else if let Some(runs) = &version.runs {
                    assert_eq!(version.size_bytes, now.len());
                    let mut bytes = vec![0; version.size_bytes as usize];
                    for run in runs {
                        let (offset, at) = (run.offset as usize, run.at as usize);
                        let length = (run.length as usize).min(bytes.len().saturating_sub(offset));
                        bytes[offset..offset + length].copy_from_slice(&disk[at..at + length]);
                    }
                    assert!(bytes == std::fs::read(&path).unwrap(), "the bytes of {path:?}");
                }
            }
        }
        count
    }
}

impl Version {
    fn of(put: &Put<'_>) -> Self {
        let runs = match put.at {
            BytesAt::Map([]) => Some(Vec::new()),
            BytesAt::Map(map) => Some(FileMap::decode(map).unwrap().extents),
            BytesAt::Run(at) => Some(vec![Extent { offset: 0, at, length: put.size_bytes, unwritten: false }]),
            _ => None,
        };
        let target = if let BytesAt::Inline(target) = put.at { Some(target.to_vec()) } else { None };
        Self { mode: put.permissions.mode, size_bytes: put.size_bytes, target, runs }
    }
}
