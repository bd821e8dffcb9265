//! Nights at a site: three shares, backed up by three tools, with all that happens to copies, and kills at any moment.
//!
//! One catalog and one mount live through all of it. `homes` is a full tree per backup (`cp -a`), `farm` a rotating link farm
//! (`rsync --link-dest`), `snaps` snapshots of one btrfs, told apart by inode number. Copies come late, are half written when they are
//! indexed, change afterwards, rotate, are pruned, vanish, are forgotten and taken back, and stores are away for a night; runs of the
//! program are ended by SIGKILL, and whatever the dice say comes next. After each night the catalog is sound and the mount shows what is
//! in the copies; every few nights the public views are those of a new catalog in which the same copies were indexed alone.
//!
//! `ASOF_SEED=N` plays another history, `ASOF_NIGHTS=N` that many nights (scripts/soak). Needs root, `/dev/fuse`, `rsync`,
//! btrfs-progs and a loop device, as `scripts/test` installs them.

#[path = "common/catalogs.rs"]
mod catalogs;
#[path = "common/dice.rs"]
mod dice;
#[path = "common/site.rs"]
mod site;

use dice::{Dice, number};
use site::{Site, said, sh, shell};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

/// 2024-01-01T00:00:00Z.
const FIRST: i64 = 1_704_067_200;
const DAY: i64 = 86_400;
/// Copies that a rotation keeps.
const KEPT: usize = 4;
/// After so many nights the catalog is compared with one that was made alone.
const COMPARED_EVERY: u64 = 5;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tool {
    /// A full tree per backup.
    Copies,
    /// A link farm whose names rotate; the mtime of its root tells when a copy was taken.
    Farm,
    /// Snapshots of one file system.
    Snapshots,
}

/// A copy, and what it was.
#[derive(Clone, Debug)]
struct Copy {
    /// When it was taken, seconds since 1970.
    at: i64,
    /// Its directory now.
    path: PathBuf,
    is_there: bool,
    /// Whether a run has had the time to see it.
    is_indexed: bool,
    is_forgotten: bool,
}

impl Copy {
    /// The date as a name of a directory, and as an argument.
    fn date(&self) -> String {
        let at = jiff::Timestamp::from_second(self.at).expect("a date of our time");
        at.strftime("%Y-%m-%dT%H%M").to_string()
    }

    fn is_published(&self) -> bool {
        self.is_indexed && !self.is_forgotten
    }
}

struct Share {
    tool: Tool,
    name: &'static str,
    copies: Vec<Copy>,
}

struct World {
    site: Site,
    dice: Dice,
    shares: [Share; 3],
    kills: usize,
    files: usize,
    log: Vec<String>,
}

impl World {
    fn new(seed: u64) -> Self {
        let site = Site::new();
        site.ok(&["init"]);
        let disk = "truncate -s 256M disk.img; mkfs.btrfs -q disk.img; mkdir disk; mount -o loop disk.img disk; \
                    btrfs -q subvolume create disk/live; mkdir disk/snaps disk/truth; \
                    mkdir copies/homes copies/farm live/homes live/farm truth truth/homes truth/farm";
        sh(&site.path(""), disk);
        let shares = [(Tool::Copies, "homes"), (Tool::Farm, "farm"), (Tool::Snapshots, "snaps")];
        let shares = shares.map(|(tool, name)| Share { tool, name, copies: Vec::new() });
        let mut world = Self { site, dice: Dice::new(seed), shares, kills: 0, files: 0, log: Vec::new() };
        for share in 0..world.shares.len() {
            let (folder, how) = (world.folder(share), world.how(share));
            world.add(&world.site.path("catalog.db"), share, &folder, how);
            for _ in 0..12 {
                world.live_through(share);
            }
        }
        world
    }

    fn how(&self, share: usize) -> &'static [&'static str] {
        match self.shares[share].tool {
            Tool::Copies => &[],
            Tool::Farm => &["--instant-from", "name,mtime"],
            Tool::Snapshots => &["--identity", "inode"],
        }
    }

    fn add(&self, catalog: &Path, share: usize, folder: &Path, how: &[&str]) {
        let name = self.shares[share].name;
        let mut args = vec!["source", "add", "nfs", name, "--copies", folder.to_str().expect("a plain path")];
        args.extend(how);
        let output = self.site.asof(&args).env("ASOF_CATALOG", catalog).output().expect("the program starts");
        assert!(output.status.success(), "{}", said(&output));
    }

    /// Where the copies of a share are.
    fn folder(&self, share: usize) -> PathBuf {
        match self.shares[share].tool {
            Tool::Copies | Tool::Farm => self.site.path("copies").join(self.shares[share].name),
            Tool::Snapshots => self.site.path("disk/snaps"),
        }
    }

    fn live(&self, share: usize) -> PathBuf {
        match self.shares[share].tool {
            Tool::Copies | Tool::Farm => self.site.path("live").join(self.shares[share].name),
            Tool::Snapshots => self.site.path("disk/live"),
        }
    }

    /// Where what the copies of a share held is kept out of sight.
    fn truths(&self, share: usize) -> PathBuf {
        match self.shares[share].tool {
            Tool::Copies | Tool::Farm => self.site.path("truth").join(self.shares[share].name),
            Tool::Snapshots => self.site.path("disk/truth"),
        }
    }

    fn truth(&self, share: usize, copy: &Copy) -> PathBuf {
        self.truths(share).join(copy.date())
    }

    /// Something happens to the live tree.
    fn live_through(&mut self, share: usize) {
        let live = self.live(share);
        let (dirs, files) = tree(&live);
        let dir = self.dice.pick(&dirs).expect("the top is there");
        let to = dir.join(["a", "b", "c", "d\n", "\u{e4}", "f"][self.dice.roll(6)]);
        let file = self.dice.pick(&files);
        let is_free = fs::symlink_metadata(&to).is_err();
        self.files += 1;
        let content = self.files.to_string().repeat(1 + self.dice.roll(400));
        match (self.dice.roll(10), file) {
            (0..=2, _) if is_free => fs::write(&to, content).expect("a file"),
            (3, _) if is_free => fs::create_dir(&to).expect("a directory"),
            (4, _) if is_free => symlink(format!("../{}", self.files), &to).expect("a link"),
            (5, Some(file)) if is_free => fs::hard_link(file, &to).expect("a link"),
            (6, Some(file)) if is_free => fs::rename(file, &to).expect("a name"),
            // A directory with all that is in it, not below itself.
            (7, _) if is_free => {
                let from = self.dice.pick(&dirs).expect("the top is there");
                if from != live && !to.starts_with(&from) {
                    fs::rename(from, &to).expect("a name");
                }
            }
            (8, Some(file)) => match self.dice.roll(4) {
                0 => fs::remove_file(file).expect("a file"),
                1 => fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap_or_default(),
                _ => fs::write(file, content).unwrap_or_default(),
            },
            (9, _) if dir != live && self.dice.roll(3) == 0 => fs::remove_dir_all(&dir).expect("a directory"),
            _ => {}
        }
    }

    /// A backup is made, of `at`; `None`: nothing of the share is left to be taken at that second.
    fn back_up(&mut self, share: usize, at: i64) -> usize {
        let (live, folder) = (self.live(share), self.folder(share));
        let mut copy = Copy { at, path: PathBuf::new(), is_there: true, is_indexed: false, is_forgotten: false };
        copy.path = folder.join(copy.date());
        match self.shares[share].tool {
            Tool::Copies => drop(sh(&live, &format!("cp -a . {}", quoted(&copy.path)))),
            Tool::Farm => {
                self.rotate(share);
                let newest = if folder.join("daily.1").exists() { "--link-dest=../daily.1" } else { "" };
                sh(&folder, &format!("rsync -aHAX {newest} {}/ daily.0/; touch -d @{at} daily.0", quoted(&live)));
                copy.path = folder.join("daily.0");
            }
            Tool::Snapshots => {
                drop(sh(&live, &format!("btrfs -q subvolume snapshot -r . {}", quoted(&copy.path))));
            }
        }
        self.remember(share, &copy);
        self.shares[share].copies.push(copy);
        self.shares[share].copies.len() - 1
    }

    /// Notes what is in a copy.
    fn remember(&self, share: usize, copy: &Copy) {
        let truth = quoted(&self.truth(share, copy));
        let from = quoted(&copy.path);
        match self.shares[share].tool {
            Tool::Copies | Tool::Farm => sh(&self.site.path(""), &format!("rm -rf {truth}; cp -a {from} {truth}")),
            Tool::Snapshots => {
                let delete = format!("[ ! -e {truth} ] || btrfs -q subvolume delete {truth}");
                sh(&self.site.path(""), &format!("{delete}; btrfs -q subvolume snapshot -r {from} {truth}"))
            }
        };
    }

    fn rotate(&mut self, share: usize) {
        let folder = self.folder(share);
        for number in (0..KEPT).rev() {
            let from = folder.join(format!("daily.{number}"));
            let Some(copy) = self.shares[share].copies.iter_mut().find(|copy| copy.is_there && copy.path == from)
            else {
                continue;
            };
            if number + 1 == KEPT {
                copy.is_there = false;
                fs::remove_dir_all(&from).expect("the oldest one");
            } else {
                copy.path = folder.join(format!("daily.{}", number + 1));
                fs::rename(&from, &copy.path).expect("the next name is free");
            }
        }
    }

    /// Returns the copies of a share that are so.
    fn those(&self, share: usize, is_so: impl Fn(&Copy) -> bool) -> Vec<usize> {
        let copies = self.shares[share].copies.iter().enumerate();
        copies.filter(|(_, copy)| is_so(copy)).map(|(number, _)| number).collect()
    }

    fn delete(&mut self, share: usize, number: usize) {
        let path = self.shares[share].copies[number].path.clone();
        match self.shares[share].tool {
            Tool::Copies | Tool::Farm => fs::remove_dir_all(&path).expect("a copy"),
            Tool::Snapshots => drop(sh(&self.site.path(""), &format!("btrfs -q subvolume delete {}", quoted(&path)))),
        }
        self.shares[share].copies[number].is_there = false;
        if !self.shares[share].copies[number].is_indexed {
            // Nobody will ever know.
            self.shares[share].copies.remove(number);
        }
    }

    /// Runs the program, which may have found that a copy is gone.
    fn index(&self, args: &[&str]) {
        let output = self.site.asof(args).output().expect("the program starts");
        assert!(matches!(output.status.code(), Some(0 | 1)), "{}\n{args:?}\n{}", self.story(), said(&output));
    }

    /// Runs the program and kills it at some moment.
    fn kill(&mut self, args: &[&str]) {
        let mut child = self.site.asof(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
        std::thread::sleep(Duration::from_micros(self.dice.roll(60_000) as u64));
        let _ = child.kill();
        child.wait().expect("it ends");
        self.kills += 1;
    }

    /// What happens to a share in a night, before it is indexed.
    fn happen(&mut self, share: usize, night: i64) {
        for _ in 0..1 + self.dice.roll(6) {
            self.live_through(share);
        }
        let (tool, name) = (self.shares[share].tool, self.shares[share].name);
        let tonight = FIRST + night * DAY + 7_200;
        let settled_there = self.those(share, |copy| copy.is_there && copy.is_published());
        let what = self.dice.roll(17);
        self.log.push(format!("{night} {name} {what}"));
        match what {
            0..=4 => drop(self.back_up(share, tonight)),
            // None tonight.
            5 => {}
            6 | 7 if tool != Tool::Snapshots => self.index_half(share, tonight),
            6..=8 if tool != Tool::Farm => {
                let late = tonight - DAY * (1 + self.dice.roll(6) as i64) + 3_600;
                if late > FIRST && self.those(share, |copy| copy.at == late).is_empty() {
                    self.back_up(share, late);
                }
            }
            9 if tool == Tool::Copies => {
                if let Some(number) = self.dice.pick(&settled_there) {
                    let copy = self.shares[share].copies[number].clone();
                    self.files += 1;
                    fs::write(copy.path.join("late"), self.files.to_string()).expect("a file");
                    // Also where it was there: a new time of the top directory is what a later run goes by.
                    sh(&copy.path, "touch .");
                    self.remember(share, &copy);
                }
                self.back_up(share, tonight);
            }
            10 if settled_there.len() > 2 => {
                let oldest = settled_there.iter().copied().min_by_key(|n| self.shares[share].copies[*n].at);
                self.delete(share, oldest.expect("there are some"));
            }
            11 => {
                if let Some(number) = self.dice.pick(&self.those(share, |copy| copy.is_there)) {
                    self.delete(share, number);
                }
                self.back_up(share, tonight);
            }
            12 => self.forget(share),
            13 => self.take_back(share),
            14 => {
                if let Some(number) = self.dice.pick(&settled_there) {
                    let target = format!("{name}@{}", self.shares[share].copies[number].date());
                    if self.dice.roll(2) == 0 {
                        self.kill(&["index", &target, "--again"]);
                    }
                    self.index(&["index", &target, "--again"]);
                }
            }
            15 => self.store_away(share),
            _ => drop(self.back_up(share, tonight)),
        }
    }

    /// A run comes while a copy is still being written.
    fn index_half(&mut self, share: usize, at: i64) {
        let number = self.back_up(share, at);
        let copy = self.shares[share].copies[number].clone();
        let (_, files) = tree(&copy.path);
        let Some(last) = self.dice.pick(&files) else { return };
        fs::rename(&last, self.site.path("out/last")).expect("a file");
        if self.shares[share].tool == Tool::Farm {
            // One that is indexed under the time at which it was written is another generation than the one it becomes.
            sh(&copy.path, &format!("touch -d @{at} ."));
        }
        self.index(&["index", self.shares[share].name]);
        self.indexed(share);
        fs::rename(self.site.path("out/last"), &last).expect("a file");
        // As rsync leaves it: directories get their times at the end.
        let (to, from) = (quoted(&copy.path), quoted(&self.truth(share, &copy)));
        sh(&self.site.path(""), &format!("cd {from}; find . -type d -exec touch -r {{}} {to}/{{}} \\;"));
    }

    fn forget(&mut self, share: usize) {
        let name = self.shares[share].name;
        let Some(number) = self.dice.pick(&self.those(share, Copy::is_published)) else { return };
        let target = format!("{name}@{}", self.shares[share].copies[number].date());
        if self.dice.roll(2) == 0 {
            self.kill(&["forget", &target]);
        }
        // It may have been done before the end came.
        let output = self.site.asof(&["forget", &target]).output().expect("the program starts");
        self.log.push(format!("{target}: {}", said(&output)));
        let is_gone = said(&output).contains("has no generation");
        assert!(output.status.success() || is_gone, "{}", said(&output));
        match self.shares[share].copies[number].is_there {
            true => self.shares[share].copies[number].is_forgotten = true,
            false => drop(self.shares[share].copies.remove(number)),
        }
    }

    fn take_back(&mut self, share: usize) {
        let (name, forgotten) = (self.shares[share].name, self.those(share, |copy| copy.is_there && copy.is_forgotten));
        let Some(number) = self.dice.pick(&forgotten) else { return };
        let copy = self.shares[share].copies[number].clone();
        let path = copy.path.to_str().expect("a plain path");
        if self.dice.roll(2) == 0 {
            self.kill(&["index", name, path]);
        }
        self.index(&["index", name, path]);
        self.shares[share].copies[number].is_forgotten = false;
    }

    /// The store is not there for one run.
    fn store_away(&mut self, share: usize) {
        let (folder, away) = (self.folder(share), self.folder(share).with_extension("away"));
        fs::rename(&folder, &away).expect("the store");
        if self.dice.roll(2) == 0 {
            fs::create_dir(&folder).expect("an empty mount point");
        }
        let known = !self.those(share, Copy::is_published).is_empty();
        let output = self.site.asof(&["index", self.shares[share].name]).output().expect("the program starts");
        assert!(output.status.code() != Some(0) || !known, "{}", said(&output));
        let _ = fs::remove_dir(&folder);
        fs::rename(&away, &folder).expect("the store");
    }

    /// Notes that a run has seen all that is there.
    fn indexed(&mut self, share: usize) {
        self.shares[share].copies.iter_mut().for_each(|copy| copy.is_indexed = true);
    }

    /// Runs are killed, whatever comes next.
    fn die_often(&mut self) {
        for _ in 0..self.dice.roll(6) {
            let name = self.shares[self.dice.roll(3)].name;
            match self.dice.roll(4) {
                0 => self.kill(&["index"]),
                1 => self.kill(&["check", "--deep"]),
                _ => self.kill(&["index", name]),
            }
        }
    }

    /// Tells whether a copy is gone that nobody pruned; none where that hangs on copies that were forgotten.
    fn is_amiss(&self, share: usize) -> Option<bool> {
        let copies = &self.shares[share].copies;
        let mut amiss = false;
        for gone in copies.iter().filter(|copy| copy.is_published() && !copy.is_there) {
            if copies.iter().any(|copy| copy.is_there && copy.is_forgotten) {
                return None;
            }
            let is_there = |is: fn(i64, i64) -> bool| copies.iter().any(|copy| copy.is_there && is(copy.at, gone.at));
            amiss |= is_there(|at, gone| at < gone) || !is_there(|at, gone| at > gone);
        }
        Some(amiss)
    }

    /// The last run of a night.
    fn index_all(&mut self) {
        let output = self.site.asof(&["index"]).output().expect("the program starts");
        self.log.push(said(&output));
        (0..3).for_each(|share| self.indexed(share));
        let amiss: Vec<Option<bool>> = (0..3).map(|share| self.is_amiss(share)).collect();
        let expected = match amiss.contains(&Some(true)) {
            true => Some(1),
            false if amiss.contains(&None) => output.status.code().filter(|code| matches!(code, 0 | 1)),
            false => Some(0),
        };
        assert_eq!(output.status.code(), expected, "{}\n{}", self.story(), said(&output));
    }

    fn story(&self) -> String {
        self.log.join(", ")
    }

    /// The catalog is sound, has exactly the generations it should have, and the mount shows what is in some of their copies.
    fn assert_sound(&mut self) {
        let check = self.site.asof(&["check", "--deep"]).output().expect("the program starts");
        assert!(check.status.success(), "{}\n{}", self.story(), said(&check));
        let mut told = BTreeSet::new();
        for share in &self.shares {
            let published = share.copies.iter().filter(|copy| copy.is_published());
            told.extend(published.map(|copy| format!("{}|{}", share.name, copy.at)));
        }
        let found = catalogs::asked(&self.site.path("catalog.db"), "SELECT source, taken_at_unix FROM generations");
        assert_eq!(found, told.into_iter().collect::<Vec<_>>(), "{}", self.story());
        for share in 0..3 {
            let there = self.those(share, |copy| copy.is_there && copy.is_published());
            for _ in 0..2 {
                let Some(number) = self.dice.pick(&there) else { continue };
                let copy = &self.shares[share].copies[number];
                let name = jiff::Timestamp::from_second(copy.at).expect("a date").strftime("@%Y-%m-%dT%H%M%SZ");
                let view = self.site.path("mnt").join(self.shares[share].name).join(name.to_string());
                // A live mount sees what was published a moment later.
                let began = std::time::Instant::now();
                loop {
                    let differs = differs(&copy.path, &view);
                    if differs.is_empty() {
                        break;
                    }
                    let patience = Duration::from_secs(10);
                    assert!(began.elapsed() < patience, "{}\n{view:?} and {:?}:\n{differs}", self.story(), copy.path);
                    std::thread::sleep(Duration::from_millis(50));
                }
            }
        }
    }

    /// The public views are those of a catalog in which what is left was indexed alone.
    fn assert_equals_alone(&self) {
        let alone = self.site.path("alone.db");
        let run = |args: &[&str]| {
            let output = self.site.asof(args).env("ASOF_CATALOG", &alone).output().expect("the program starts");
            assert!(matches!(output.status.code(), Some(0 | 1)), "{args:?}\n{}", said(&output));
        };
        sh(&self.site.path(""), "rm -rf alone.db*");
        run(&["init"]);
        for share in 0..3 {
            let how = if self.shares[share].tool == Tool::Snapshots { self.how(share) } else { &[] };
            self.add(&alone, share, &self.truths(share), how);
            let published = self.shares[share].copies.iter().filter(|copy| copy.is_published());
            let paths: Vec<String> =
                published.map(|copy| self.truth(share, copy).to_str().expect("a plain path").to_owned()).collect();
            let mut args = vec!["index", self.shares[share].name];
            args.extend(paths.iter().map(String::as_str));
            // Without a path it would be all of them.
            if !paths.is_empty() {
                run(&args);
            }
        }
        let found = catalogs::differences_in_history(&self.site.path("catalog.db"), &alone);
        assert!(found.is_empty(), "{}\n{}", self.story(), found.join("\n"));
    }
}

/// Returns the directories of a tree, the top first, and everything else in it.
fn tree(top: &Path) -> (Vec<PathBuf>, Vec<PathBuf>) {
    let (mut dirs, mut files, mut next) = (vec![top.to_owned()], Vec::new(), 0);
    while next < dirs.len() {
        let mut entries: Vec<_> = fs::read_dir(&dirs[next]).expect("a directory").map(Result::unwrap).collect();
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            match entry.file_type().expect("a type").is_dir() {
                true => dirs.push(entry.path()),
                false => files.push(entry.path()),
            }
        }
        next += 1;
    }
    (dirs, files)
}

/// Returns how `view` differs from `copy`, or why that cannot be told: one that was just indexed again is stale, and then another.
fn differs(copy: &Path, view: &Path) -> String {
    let how = "rsync -aHAXSn --numeric-ids --checksum --itemize-changes --delete --modify-window=-1";
    let output = shell(copy, &format!("{how} ./ {}/", quoted(view)));
    if output.status.success() { String::from_utf8_lossy(&output.stdout).into_owned() } else { said(&output) }
}

fn quoted(path: &Path) -> String {
    format!("'{}'", path.to_str().expect("a plain path"))
}

#[test]
fn whatever_happens_in_a_night_the_catalog_is_that_of_the_copies_and_the_mount_shows_them() {
    let (seed, nights) = (number("ASOF_SEED", 1), number("ASOF_NIGHTS", 30));
    let mut world = World::new(seed);
    world.index_all();
    let daemon = world.site.mount_process(&[]);
    for night in 1..=nights {
        for share in 0..3 {
            world.happen(share, night as i64);
            world.die_often();
        }
        world.index_all();
        world.assert_sound();
        if night % COMPARED_EVERY == 0 || night == nights {
            world.assert_equals_alone();
        }
    }
    let daemon =
        fs::read_to_string(format!("/proc/{daemon}/comm")).expect("the daemon that was there from the beginning");
    assert_eq!(daemon.trim(), "asof");
    assert!(world.kills as u64 > nights, "{} kills in {nights} nights", world.kills);
    println!("seed {seed}: {nights} nights, {} kills, {} changes of live trees", world.kills, world.files);
}
