//! A disk that a real QEMU has: the kernel writes its file system through `qemu-storage-daemon`, which backs it up, pushed and
//! pulled, as libvirt has it done.
//!
//! The daemon exports its disk as a file (FUSE), and that is mounted with a loop device. While a push is running nothing is
//! written: with QEMU 10.0.2 the export then stopped answering, one time in five. Everything ends when it is dropped.
#![allow(dead_code, unreachable_pub)] // each test binary uses its own part

use super::site::{sh, shell, wait_until};
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Longer than any answer takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A monitor of QEMU: lines of JSON.
struct Monitor {
    replies: BufReader<UnixStream>,
    commands: UnixStream,
}

impl Monitor {
    fn connect(path: &Path) -> Self {
        let began = Instant::now();
        let commands = loop {
            match UnixStream::connect(path) {
                Ok(stream) => break stream,
                Err(e) => assert!(began.elapsed() < PATIENCE, "{path:?}: {e}"),
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        commands.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut monitor = Self { replies: BufReader::new(commands.try_clone().unwrap()), commands };
        monitor.replies.read_line(&mut String::new()).unwrap();
        monitor.ask("qmp_capabilities", json!({}));
        monitor
    }

    fn ask(&mut self, command: &str, arguments: Value) -> Value {
        let line = json!({"execute": command, "arguments": arguments});
        writeln!(self.commands, "{line}").unwrap();
        loop {
            let mut line = String::new();
            self.replies.read_line(&mut line).unwrap_or_else(|e| panic!("{command}: {e}"));
            let reply: Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{command}: {line:?}: {e}"));
            if let Some(answer) = reply.get("return") {
                return answer.clone();
            }
            assert!(reply.get("error").is_none(), "{command} {arguments}: {reply}");
        }
    }

    /// Waits until a job is over, and forgets it.
    fn finish_job(&mut self, job: &str) {
        let began = Instant::now();
        loop {
            let jobs = self.ask("query-jobs", json!({}));
            let found = jobs.as_array().unwrap().iter().find(|one| one["id"] == job).cloned();
            let found = found.unwrap_or_else(|| panic!("job {job} is there"));
            if found["status"] == "concluded" {
                let is_well = found.get("error").is_none_or(|e| e.as_str().unwrap_or("").contains("cancel"));
                assert!(is_well, "{found}");
                break;
            }
            assert!(began.elapsed() < PATIENCE, "{found}");
            std::thread::sleep(Duration::from_millis(10));
        }
        self.ask("job-dismiss", json!({"id": job}));
    }
}

/// The disk, mounted.
pub struct LiveDisk {
    dir: PathBuf,
    daemon: Child,
    monitor: Monitor,
    size_bytes: u64,
    generations: usize,
}

impl LiveDisk {
    /// Makes a disk in `dir`, which is new, with a file system made by the command `mkfs`, and mounts it.
    pub fn new(dir: &Path, size_mib: u64, mkfs: &str) -> Self {
        for name in ["push", "pull", "mnt"] {
            fs::create_dir_all(dir.join(name)).unwrap();
        }
        fs::write(dir.join("live.raw"), "").unwrap();
        sh(dir, &format!("qemu-img create -q -f qcow2 active.qcow2 {size_mib}M"));
        let daemon = Command::new("qemu-storage-daemon")
            .args(["--chardev", "socket,id=q,server=on,wait=off,path=monitor", "--monitor", "chardev=q"])
            .current_dir(dir)
            .stdin(Stdio::null())
            .spawn()
            .expect("qemu-storage-daemon is installed");
        let monitor = Monitor::connect(&dir.join("monitor"));
        let mut disk = Self { dir: dir.to_owned(), daemon, monitor, size_bytes: size_mib << 20, generations: 0 };
        let ask = |disk: &mut Self, command, arguments| disk.monitor.ask(command, arguments);
        let file = json!({"driver": "file", "filename": dir.join("active.qcow2")});
        ask(
            &mut disk,
            "blockdev-add",
            json!({"driver": "qcow2", "node-name": "active", "discard": "unmap", "file": file}),
        );
        let socket = json!({"type": "unix", "data": {"path": dir.join("nbd")}});
        ask(&mut disk, "nbd-server-start", json!({"addr": socket}));
        let export = json!({"type": "fuse", "id": "live", "node-name": "active", "mountpoint": dir.join("live.raw"), "writable": true});
        ask(&mut disk, "block-export-add", export);
        sh(dir, &format!("{mkfs} live.raw && mount -o loop,noatime live.raw mnt"));
        disk
    }

    /// Returns where it is mounted.
    pub fn mount(&self) -> PathBuf {
        self.dir.join("mnt")
    }

    /// Returns the image of generation `k` that was pushed: a qcow2 file that rests on the one before it.
    pub fn pushed(&self, k: usize) -> PathBuf {
        self.dir.join(format!("push/{}.qcow2", name(k)))
    }

    /// Returns the folder of images that were pulled, or pushed.
    pub fn folder(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Takes a generation of a frozen file system, pushed and pulled; `look` sees it while it is frozen, and `after` may write while
    /// it is pulled.
    pub fn take_frozen(&mut self, look: &mut dyn FnMut(&Path), after: &mut dyn FnMut(&Path)) {
        sh(&self.dir, "sync -f mnt && fsfreeze -f mnt");
        let k = self.push();
        let scratch = format!("scratch{k}");
        sh(&self.dir, &format!("qemu-img create -q -f qcow2 {scratch}.qcow2 {}", self.size_bytes));
        let file = json!({"driver": "file", "filename": self.dir.join(format!("{scratch}.qcow2"))});
        let node = json!({"driver": "qcow2", "node-name": scratch, "file": file, "backing": "active"});
        self.monitor.ask("blockdev-add", node);
        let fleece =
            json!({"job-id": "fleece", "device": "active", "target": scratch, "sync": "none", "auto-dismiss": false});
        self.monitor.ask("blockdev-backup", fleece);
        look(&self.mount());
        sh(&self.dir, "fsfreeze -u mnt");
        after(&self.mount());
        sh(&self.dir, "sync -f mnt");
        self.pull(k, &scratch);
        self.end_generation(k);
        self.monitor.ask("blockdev-del", json!({"node-name": scratch}));
    }

    /// Takes a generation while the file system is mounted and its journal is in use: pushed only.
    pub fn take_unfrozen(&mut self) {
        let k = self.push();
        self.end_generation(k);
    }

    fn push(&mut self) -> usize {
        let k = self.generations;
        self.generations += 1;
        let (target, path) = (format!("target{k}"), self.pushed(k));
        sh(&self.dir, &format!("qemu-img create -q -f qcow2 {} {}", path.display(), self.size_bytes));
        let file = json!({"driver": "file", "filename": path});
        self.monitor.ask("blockdev-add", json!({"driver": "qcow2", "node-name": target, "file": file}));
        let action = |kind: &str, data: Value| json!({"type": kind, "data": data});
        let mut actions = vec![action(
            "block-dirty-bitmap-add",
            json!({"node": "active", "name": format!("ck{k}"), "persistent": true}),
        )];
        let mut backup =
            json!({"job-id": "push", "device": "active", "target": target, "sync": "full", "auto-dismiss": false});
        if k > 0 {
            let before = format!("ck{}", k - 1);
            for bitmap in [format!("push{k}"), format!("pull{k}")] {
                let add = json!({"node": "active", "name": bitmap, "disabled": true});
                actions.push(action("block-dirty-bitmap-add", add));
                let merge = json!({"node": "active", "target": bitmap, "bitmaps": [before]});
                actions.push(action("block-dirty-bitmap-merge", merge));
            }
            actions.push(action("block-dirty-bitmap-disable", json!({"node": "active", "name": before})));
            backup["sync"] = "incremental".into();
            backup["bitmap"] = format!("push{k}").into();
            backup["bitmap-mode"] = "on-success".into();
        }
        actions.push(action("blockdev-backup", backup));
        self.monitor.ask("transaction", json!({"actions": actions}));
        self.monitor.finish_job("push");
        k
    }

    /// Reads what changed, as a client of the NBD server, into a raw file with a map beside it.
    fn pull(&mut self, k: usize, node: &str) {
        let mut export = json!({"type": "nbd", "id": "pull", "node-name": node, "name": "disk"});
        if k > 0 {
            export["bitmaps"] = json!([{"node": "active", "name": format!("pull{k}")}]);
        }
        self.monitor.ask("block-export-add", export);
        let uri = "nbd+unix:///disk?socket=nbd";
        let map = |context: &str, bit: u64| -> Vec<(u64, u64)> {
            let told = sh(&self.dir, &format!("nbdinfo --json --map={context} '{uri}'"));
            let told: Value = serde_json::from_str(&told).unwrap();
            let runs = told.as_array().unwrap().iter().filter(|run| run["type"].as_u64().unwrap() & bit != 0);
            runs.map(|run| (run["offset"].as_u64().unwrap(), run["length"].as_u64().unwrap())).collect()
        };
        let bitmap = format!("pull{k}");
        let dirty = if k > 0 { map(&format!("qemu:dirty-bitmap:{bitmap}"), 1) } else { vec![(0, self.size_bytes)] };
        let zero = map("base:allocation", 2);
        sh(&self.dir, &format!("qemu-img convert -f raw -O raw '{uri}' whole.raw"));
        let whole = fs::File::open(self.dir.join("whole.raw")).unwrap();
        let raw = fs::File::create(self.dir.join(format!("pull/{}.raw", name(k)))).unwrap();
        raw.set_len(self.size_bytes).unwrap();
        for (at, length) in &dirty {
            for from in (*at..at + length).step_by(1 << 20) {
                let mut piece = vec![0; (at + length - from).min(1 << 20) as usize];
                whole.read_exact_at(&mut piece, from).unwrap();
                if piece.iter().any(|byte| *byte != 0) {
                    raw.write_all_at(&piece, from).unwrap();
                }
            }
        }
        let bitmap = (k > 0).then_some(bitmap);
        let told = json!({"size": self.size_bytes, "bitmap": bitmap, "dirty": dirty, "zero": zero});
        fs::write(self.dir.join(format!("pull/{}.json", name(k))), told.to_string()).unwrap();
        self.monitor.ask("block-export-del", json!({"id": "pull", "mode": "hard"}));
        let began = Instant::now();
        while self
            .monitor
            .ask("query-block-exports", json!({}))
            .as_array()
            .unwrap()
            .iter()
            .any(|one| one["id"] == "pull")
        {
            assert!(began.elapsed() < PATIENCE, "the export ends");
            std::thread::sleep(Duration::from_millis(10));
        }
        self.monitor.ask("job-cancel", json!({"id": "fleece"}));
        self.monitor.finish_job("fleece");
    }

    fn end_generation(&mut self, k: usize) {
        if k > 0 {
            for bitmap in [format!("push{k}"), format!("pull{k}")] {
                self.monitor.ask("block-dirty-bitmap-remove", json!({"node": "active", "name": bitmap}));
            }
        }
        self.monitor.ask("blockdev-del", json!({"node-name": format!("target{k}")}));
    }

    /// Ends the daemon and links the images that were pushed, as admins do.
    pub fn finish(mut self) {
        self.end();
        for k in 1..self.generations {
            let (below, image) = (name(k - 1), name(k));
            sh(&self.dir.join("push"), &format!("qemu-img rebase -u -f qcow2 -F qcow2 -b {below}.qcow2 {image}.qcow2"));
        }
    }

    fn end(&mut self) {
        let _ = shell(&self.dir, "fsfreeze -u mnt");
        if shell(&self.dir, "mountpoint -q mnt").status.success() {
            unmount(&self.dir.join("mnt"));
        }
        if let Ok(None) = self.daemon.try_wait() {
            let _ = writeln!(self.monitor.commands, "{}", json!({"execute": "quit"}));
            let began = Instant::now();
            while let Ok(None) = self.daemon.try_wait() {
                if began.elapsed() > Duration::from_secs(10) {
                    let _ = self.daemon.kill();
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        let _ = shell(&self.dir, "umount -l live.raw");
    }
}

impl Drop for LiveDisk {
    fn drop(&mut self) {
        self.end();
    }
}

/// Unmounts. A child of another test may hold, for a moment until it becomes another program, what is open here.
pub fn unmount(path: &Path) {
    wait_until("it is unmounted", || shell(Path::new("/"), &format!("umount {}", path.display())).status.success());
}

/// The name of the images of generation `k`, which tells its instant.
pub fn name(k: usize) -> String {
    format!("2026-11-{:02}", k + 1)
}
