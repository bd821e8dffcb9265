//! A real volume in a directory of its own, mounted, with a site that takes it, and the truth of what was taken: what a fresh client saw.
//!
//! Its bricks can be killed, hidden, replaced and healed. Everything is undone when a [`Live`] is dropped. One lives at a time.
#![allow(dead_code, unreachable_pub)] // each test binary uses its own part

use crate::gluster::{names_below, save};
use crate::site::{Site, difference, said, sh, shell, wait_until};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tempfile::TempDir;

/// Two volumes at a time are slower than one after the other.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// A running volume, mounted, a site that takes it, and copies of what clients saw.
pub struct Live {
    pub site: Site,
    pub dir: TempDir,
    /// Where its daemon listens.
    pub address: String,
    /// The instants that were taken, each with the copy of what a client saw.
    pub saved: Vec<(String, PathBuf)>,
    _alone: MutexGuard<'static, ()>,
}

impl Live {
    /// Starts a volume of this shape, mounts it and adds it as the source `vol`.
    pub fn start(shape: &str) -> Self {
        Self::start_with(shape, &[])
    }

    pub fn start_with(shape: &str, options: &[&str]) -> Self {
        let alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        // Not in memory: a brick needs all of what ext4 does. The path is short, as sockets lie below it.
        let dir = tempfile::Builder::new().prefix("asof-g").tempdir_in("/var/tmp").unwrap();
        let mut live = Self { site: Site::new(), dir, address: String::new(), saved: Vec::new(), _alone: alone };
        let here = live.dir.path().display().to_string();
        live.script(&format!("start vol {shape} {here}/g {here}/mnt --mount-options acl"));
        let info = live.gluster("volume info vol");
        let brick = info.lines().find_map(|line| line.strip_prefix("Brick1: ")).unwrap();
        brick.split_once(':').unwrap().0.clone_into(&mut live.address);
        std::fs::create_dir(live.site.path("store")).unwrap();
        live.site.ok(&["init"]);
        let (store, tool) = (live.site.path("store").display().to_string(), format!("{here}/g/gluster"));
        let mut args = vec!["source", "add", "gluster", "vol", "--volume", "vol", "--host", &live.address];
        args.extend(["--store", &store, "--gluster", &tool]);
        args.extend(options);
        live.site.ok(&args);
        live
    }

    pub fn script(&self, words: &str) -> String {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/gluster-volume");
        sh(self.dir.path(), &format!("'{}' {words} 2>&1", script.display()))
    }

    pub fn gluster(&self, words: &str) -> String {
        sh(self.dir.path(), &format!("g/gluster --mode=script {words} 2>&1"))
    }

    /// The mount of those who change things.
    pub fn mnt(&self) -> PathBuf {
        self.dir.path().join("mnt")
    }

    /// The directory of a brick, from 1.
    pub fn brick(&self, number: u32) -> PathBuf {
        self.dir.path().join(format!("g/bricks/vol-b{number}"))
    }

    /// Keeps what a client that is mounted now sees, as the truth of `at`.
    pub fn save(&mut self, at: String) {
        // Some may have been dropped from the list.
        let mut copies = (self.saved.len()..).map(|number| self.dir.path().join(format!("saved-{number}")));
        let copy = copies.find(|copy| !copy.exists()).expect("numbers do not end");
        // Right after a brick came back, a client may be told that it is not connected: then a new one is asked. And what a look-up says of
        // a dispersed file is not the last word: where a brick is not healed, one of its copies may be believed that is too short, and
        // `lstat` has that length (11 of 30 fresh clients, GlusterFS 10.3). Who asks for the attributes themselves, past
        // what md-cache keeps of the look-up, is told what all bricks agree on (none of 30).
        sh(
            self.dir.path(),
            &format!(
                "mkdir -p fresh
                 for n in $(seq 60); do
                     glusterfs --acl --read-only --volfile-server={} --volfile-id=vol --attribute-timeout=0 --entry-timeout=0 \\
                         --xlator-option='*md-cache.pass-through=true' --log-file=$PWD/g/log/fresh.log fresh
                     mountpoint -q fresh
                     if told=$(find fresh -ls 2>&1 >/dev/null); then exit 0; fi
                     umount fresh; sleep 0.5
                 done
                 echo \"$told\" >&2
                 exit 1",
                self.address
            ),
        );
        save(&self.dir.path().join("fresh"), &copy);
        sh(self.dir.path(), "umount fresh");
        self.saved.push((at, copy));
    }

    /// Takes a generation, which must end with `code`, and keeps the truth of it. Returns what was said.
    pub fn take(&mut self, options: &[&str], code: i32) -> String {
        self.take_one(options, &[code])
    }

    /// Does so while bricks may have something to heal, which is a finding.
    pub fn take_while_healing(&mut self, options: &[&str]) -> String {
        self.take_one(options, &[0, 1])
    }

    fn take_one(&mut self, options: &[&str], codes: &[i32]) -> String {
        let words: Vec<&str> = ["take", "vol", "--json"].into_iter().chain(options.iter().copied()).collect();
        let output = self.site.asof(&words).output().expect("the program starts");
        let is_expected = output.status.code().is_some_and(|code| codes.contains(&code));
        assert!(is_expected, "asof {words:?} ended with {}, expected {codes:?}\n{}", output.status, said(&output));
        let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        self.save(told["taken_at"].as_str().unwrap().to_owned());
        said(&output)
    }

    /// Returns one column for each generation.
    pub fn column(&self, what: &str) -> Vec<String> {
        let table = self.site.ok(&["sql", &format!("SELECT {what} FROM generations ORDER BY taken_at")]);
        table.lines().skip(1).map(str::to_owned).collect()
    }

    /// Returns the kinds of what was found amiss in the newest generation.
    pub fn kinds(&self) -> Vec<String> {
        let newest = "(SELECT max(taken_at) FROM generations)";
        let table =
            self.site.ok(&["sql", &format!("SELECT DISTINCT kind FROM findings WHERE taken_at = {newest} ORDER BY 1")]);
        table.lines().skip(1).map(str::to_owned).collect()
    }

    /// Fails with every difference between what a generation shows and the truth of it, and with what a run left behind.
    #[track_caller]
    pub fn assert_all_equal(&self) {
        self.assert_all_equal_but(&|_, _| false);
    }

    /// Does so but for lines of `rsync` (see [`difference`]) of a generation, counted from 0, that `but` says true to.
    #[track_caller]
    pub fn assert_all_equal_but(&self, but: &dyn Fn(usize, &str) -> bool) {
        let mount = self.site.mount(&[]);
        let mut found = Vec::new();
        for (number, (at, copy)) in self.saved.iter().enumerate() {
            let shown = mount.join(format!("@{at}/vol"));
            for (from, to, way) in [(copy, &shown, "lacks"), (&shown, copy, "has")] {
                let lines = difference(from, to);
                let lines = lines.lines().filter(|line| !but(number, line));
                found.extend(lines.map(|line| format!("{number} {way} {line}")));
            }
        }
        self.site.umount();
        let store = names_below(&self.site.path("store/vol"));
        let leftovers: Vec<String> = store
            .keys()
            // The note of the newest manifest belongs there.
            .filter(|path| path.starts_with(b".") && !path.ends_with(b".newest"))
            .map(|path| String::from_utf8_lossy(path).into_owned())
            .collect();
        assert_eq!((found, leftovers), (Vec::<String>::new(), Vec::<String>::new()));
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/gluster-volume");
        let _ = shell(self.dir.path(), "umount fresh 2>/dev/null");
        let ended: Output = shell(self.dir.path(), &format!("'{}' stop-all g", script.display()));
        if !ended.status.success() {
            eprintln!("the volume in {} could not be stopped: {}", self.dir.path().display(), said(&ended));
        }
    }
}

impl Live {
    /// Kills the process of a brick, as a crash does, and waits until the daemon knows.
    pub fn kill_brick(&self, number: u32) {
        let status = self.gluster("volume status vol --xml");
        let path = format!("<path>{}</path>", self.brick(number).display());
        let rest = status.split_once(&path).expect("the status tells of the brick").1;
        let pid = rest.split_once("<pid>").and_then(|(_, rest)| rest.split_once('<')).unwrap().0;
        // As long as the number is known, also of a zombie, the daemon takes the brick for one that runs.
        sh(self.dir.path(), &format!("kill -KILL {pid}; find g/run -name '*-b{number}.pid' -delete"));
        wait_until("the brick is down", || {
            let status = self.gluster("volume status vol --xml");
            status.split_once(&path).unwrap().1.split_once("<status>").unwrap().1.starts_with('0')
        });
    }

    /// Takes the disk of a brick away, and gives it back.
    pub fn hide_brick(&self, number: u32, hidden: bool) {
        let (path, aside) = (self.brick(number), self.dir.path().join(format!("g/aside-{number}")));
        if hidden { std::fs::rename(path, aside) } else { std::fs::rename(aside, path) }.unwrap();
    }

    /// Starts the bricks that are down and waits until all are up.
    pub fn start_bricks(&self) {
        self.gluster("volume start vol force");
        let info = self.gluster("volume info vol --xml");
        let count = info.matches("<hostUuid>").count();
        wait_until("all bricks are up", || {
            let status = self.gluster("volume status vol --xml");
            let bricks = status.split("<node>").filter(|node| node.contains("/bricks/vol-b"));
            bricks.filter(|node| node.contains("<status>1</status>")).count() == count
        });
        // The mount has to find them too.
        sh(&self.mnt(), "for n in 1 2 3 4 5 6 7 8 9; do ls >/dev/null 2>&1 || true; sleep 0.2; done");
    }

    /// Waits until no brick knows of a copy that is behind, or until healing gets no further: a link that GlusterFS 10.3
    /// cannot make ("Stale file handle", again and again) stays behind for good. What is taken has to be right all the same.
    pub fn wait_until_healed(&self) {
        let (mut before, mut same) = (String::new(), 0);
        while same < 5 {
            // One crawl may make what the next one heals. Refused while a daemon is about to start.
            let _ = shell(self.dir.path(), "g/gluster --mode=script volume heal vol");
            std::thread::sleep(std::time::Duration::from_secs(1));
            let left = sh(self.dir.path(), "find g/bricks/*/.glusterfs/indices/xattrop -type f ! -name 'xattrop-*'");
            if left.is_empty() {
                return;
            }
            same = if left == before { same + 1 } else { 0 };
            before = left;
        }
    }

    /// Returns the paths, as `rsync` writes them, of nodes of which the bricks of a replica set tell different rights, ACLs or
    /// times: GlusterFS may leave that behind after healing, blames no brick for it, and a client tells those of either.
    pub fn told_differently(&self, bricks: &[u32]) -> BTreeSet<String> {
        self.told_differently_of(bricks, "find . -path ./.glusterfs -prune -o -print0")
    }

    /// Does so of the nodes that the command `find` prints: their paths below a brick, which begin with a dot, each with a zero byte behind.
    pub fn told_differently_of(&self, bricks: &[u32], find: &str) -> BTreeSet<String> {
        let lines = |number: &u32| {
            let told = sh(
                &self.brick(*number),
                &format!("# Names come and go where something is being healed.
                 {{ {find} 2>/dev/null || true; }} | sort -z | while IFS= read -r -d '' node; do
                     if [ ! -e \"$node\" ] && [ ! -L \"$node\" ]; then continue; fi
                     values=$(getfattr -h -d -e hex -m 'mdata|posix_acl' -- \"$node\" 2>/dev/null | {{ grep = || true; }} | sort | tr '\\n' ' ')
                     # Without that attribute the time of a link is that of the brick.
                     if [ -L \"$node\" ] && [ -z \"$values\" ]; then values=$(stat -c %y -- \"$node\" || true); fi
                     printf '%s %s\\t%s\\0' \"$(stat -c %f:%u:%g -- \"$node\")\" \"$values\" \"$node\"
                 done"),
            );
            let lines = told.split('\0').filter_map(|line| line.split_once('\t'));
            lines.map(|(what, path)| (as_rsync_writes(&path[1..]), what.to_owned())).collect::<BTreeMap<_, _>>()
        };
        let all: Vec<_> = bricks.iter().map(lines).collect();
        let differs = |path: &&String| all.iter().any(|told| told.get(*path) != all[0].get(*path));
        all.iter().flat_map(BTreeMap::keys).filter(differs).cloned().collect()
    }

    pub fn newest(&self, what: &str) -> String {
        self.column(what).pop().unwrap()
    }
}

/// Returns a path as `rsync --itemize-changes` writes it, without the slash that ends a directory.
pub fn as_rsync_writes(path: &str) -> String {
    let written = path.trim_start_matches('/').chars().map(|c| match c {
        c if c.is_ascii_control() => format!("\\#{:03o}", c as u32),
        c => c.to_string(),
    });
    written.collect()
}
