//! The power goes while the catalog is written: what was acknowledged is there afterwards, and what was not is nowhere.
//!
//! The catalog lies on an XFS of its own, which `xfs_io shutdown` stops at some moment of a run, without its log being written: what the
//! program had not synced is lost, as with the power. After each loss the file system is mounted again and the log replayed; the catalog
//! is sound, has every generation that a run had said it made and none that one had said it forgot, and after the next run its views are
//! those of a catalog that was made alone. A number that a mount gave leads to the tree that it was given for, or nowhere.
//!
//! `ASOF_SEED=N` plays another order of events, `ASOF_LOSSES=N` that many losses. Needs root, `/dev/fuse`, xfsprogs and a loop device.

#[path = "common/catalogs.rs"]
mod catalogs;
#[path = "common/dice.rs"]
mod dice;
#[path = "common/site.rs"]
mod site;

use dice::{Dice, number};
use site::{Site, said, sh, shell, wait_until};
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::Duration;

struct World {
    site: Site,
    dice: Dice,
    /// Days of which there is a copy.
    days: u32,
    /// Those that are forgotten, and were not taken back.
    forgotten: BTreeSet<u32>,
    /// Those of which a run was ended by a loss while it took them back or forgot them: either is right.
    unsure: BTreeSet<u32>,
    /// Those that no run has had the time to index.
    waiting: BTreeSet<u32>,
    /// What the number of a view was given for.
    given: BTreeMap<u64, String>,
    log: Vec<String>,
}

impl World {
    fn new(seed: u64) -> Self {
        let site = Site::new();
        sh(&site.path(""), "truncate -s 320M disk.img; mkfs.xfs -q disk.img; mkdir disk; mount -o loop disk.img disk");
        let world = Self {
            site,
            dice: Dice::new(seed),
            days: 0,
            forgotten: BTreeSet::new(),
            unsure: BTreeSet::new(),
            waiting: BTreeSet::new(),
            given: BTreeMap::new(),
            log: Vec::new(),
        };
        world.ok(&["init"]);
        let copies = world.site.path("copies");
        world.ok(&["source", "add", "nfs", "homes", "--copies", copies.to_str().expect("a plain path")]);
        // The file system's own part of making files is not what is tested.
        sh(&world.site.path("disk"), "sync -f .");
        world
    }

    fn catalog(&self) -> PathBuf {
        self.site.path("disk/catalog.db")
    }

    fn asof(&self, args: &[&str]) -> Output {
        self.site.asof(args).env("ASOF_CATALOG", self.catalog()).output().expect("the program starts")
    }

    fn ok(&self, args: &[&str]) -> String {
        let output = self.asof(args);
        assert!(output.status.success(), "{}\n{args:?}\n{}", self.log.join(", "), said(&output));
        said(&output)
    }

    fn date(day: u32) -> String {
        format!("2024-{:02}-{:02}", 1 + day / 28, 1 + day % 28)
    }

    fn copy(&self, day: u32) -> PathBuf {
        self.site.path("copies").join(Self::date(day))
    }

    /// One more copy, with a few other files than the one before.
    fn back_up(&mut self) {
        self.days += 1;
        let changes = 1 + self.dice.roll(40);
        let numbers: Vec<String> = (0..changes).map(|_| self.dice.roll(200).to_string()).collect();
        let script = format!(
            "mkdir -p live/a live/b; for n in {}; do [ -e live/a/$n ] && mv live/a/$n live/b/$n || echo {}$n > live/a/$n; done; \
             cp -a live {}",
            numbers.join(" "),
            self.days,
            self.copy(self.days).to_str().expect("a plain path")
        );
        sh(&self.site.path(""), &script);
    }

    /// Runs something, and cuts the power at some moment. Returns whether it had said before that it was done.
    fn lose(&mut self, args: &[&str]) -> bool {
        let mut child = self.site.asof(args);
        child.env("ASOF_CATALOG", self.catalog()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = child.spawn().expect("the program starts");
        std::thread::sleep(Duration::from_micros(self.dice.roll(120_000) as u64));
        let ended = child.try_wait().expect("it was started");
        sh(&self.site.path(""), "xfs_io -x -c shutdown disk");
        let _ = child.wait();
        // Whoever looks into the mount, or has a mount namespace of this moment, keeps the file system as it is for a while.
        wait_until("the file system is mounted anew", || {
            let again = "umount disk || true; mount -o loop disk.img disk; ls disk";
            shell(&self.site.path(""), again).status.success()
        });
        let is_done = ended.is_some_and(|ended| ended.success());
        self.log.push(format!("{args:?} {}", if is_done { "done" } else { "cut" }));
        is_done
    }

    /// Days of which there is a generation.
    fn there(&self) -> Vec<u32> {
        (1..=self.days).filter(|day| !self.forgotten.contains(day) && !self.waiting.contains(day)).collect()
    }

    fn happen(&mut self) {
        match self.dice.roll(5) {
            0 if self.days > 2 => {
                let there = self.there();
                let Some(day) = self.dice.pick(&there) else { return };
                let is_done = self.lose(&["forget", &format!("homes@{}", Self::date(day))]);
                self.forgotten.insert(day);
                if !is_done {
                    self.unsure.insert(day);
                }
            }
            1 => {
                let forgotten: Vec<u32> = self.forgotten.iter().copied().collect();
                let Some(day) = self.dice.pick(&forgotten) else { return };
                let copy = self.copy(day);
                let is_done = self.lose(&["index", "homes", copy.to_str().expect("a plain path")]);
                self.forgotten.remove(&day);
                if !is_done {
                    self.unsure.insert(day);
                }
            }
            2 if self.days > 1 => {
                let there = self.there();
                let Some(day) = self.dice.pick(&there) else { return };
                self.lose(&["index", &format!("homes@{}", Self::date(day)), "--again"]);
            }
            _ => {
                self.back_up();
                self.waiting.insert(self.days);
                match self.lose(&["index", "homes"]) {
                    true => self.waiting.clear(),
                    false => self.unsure.append(&mut self.waiting),
                }
            }
        }
    }

    fn published(&self) -> BTreeSet<String> {
        let rows = catalogs::asked(&self.catalog(), "SELECT substr(taken_at, 1, 10) FROM generations");
        rows.into_iter().collect()
    }

    /// What was acknowledged is there, and nothing else.
    fn assert_kept(&mut self) {
        self.ok(&["check", "--deep"]);
        let found = self.published();
        for day in 1..=self.days {
            if !self.unsure.contains(&day) {
                let (is_there, what) = (found.contains(&Self::date(day)), Self::date(day));
                let expected = !self.forgotten.contains(&day) && !self.waiting.contains(&day);
                assert_eq!(is_there, expected, "{}\n{what}: {found:?}", self.log.join(", "));
            }
        }
        for day in std::mem::take(&mut self.unsure) {
            match found.contains(&Self::date(day)) {
                true => drop(self.forgotten.remove(&day)),
                // What was cut short while it was new is made by the next run; a copy that was forgotten stays so.
                false if self.forgotten.contains(&day) || self.is_forgotten(day) => drop(self.forgotten.insert(day)),
                false => drop(self.waiting.insert(day)),
            }
        }
    }

    fn is_forgotten(&self, day: u32) -> bool {
        let sql = format!("SELECT 1 FROM copies WHERE forgotten AND path LIKE '%/{}'", Self::date(day));
        !catalogs::asked(&self.catalog(), &sql).is_empty()
    }

    fn assert_equals_alone(&self) {
        let alone = self.site.path("alone.db");
        let run = |args: &[&str]| {
            let output = self.site.asof(args).env("ASOF_CATALOG", &alone).output().expect("the program starts");
            assert!(output.status.success(), "{args:?}\n{}", said(&output));
        };
        sh(&self.site.path(""), "rm -rf alone.db*");
        run(&["init"]);
        run(&["source", "add", "nfs", "homes", "--copies", self.site.path("copies").to_str().expect("a plain path")]);
        let days = (1..=self.days).filter(|day| !self.forgotten.contains(day));
        let paths: Vec<String> = days.map(|day| self.copy(day).to_str().expect("a plain path").to_owned()).collect();
        let mut args = vec!["index", "homes"];
        args.extend(paths.iter().map(String::as_str));
        // Without a path it would be all of them.
        if !paths.is_empty() {
            run(&args);
        }
        let found = catalogs::differences_in_history(&self.catalog(), &alone);
        assert!(found.is_empty(), "{}\n{}", self.log.join(", "), found.join("\n"));
    }

    /// A number that was given for one tree is never another one's.
    fn assert_numbers(&mut self) {
        self.ok(&["mount", "mnt"]);
        for entry in std::fs::read_dir(self.site.path("mnt")).expect("it is mounted") {
            let entry = entry.expect("a name");
            let name = entry.file_name().into_string().expect("a plain name");
            if !name.starts_with('@') {
                continue;
            }
            let number = entry.metadata().expect("a view").ino();
            // The generation that it shows is a part of what it was given for: indexed again it is another tree.
            let at = name.trim_start_matches('@');
            let sql = format!(
                "SELECT g.id FROM generation g WHERE strftime('%Y-%m-%dT%H%M%SZ', g.taken_at, 'unixepoch') = '{at}'"
            );
            let told = sh(&self.site.path(""), &format!("sqlite3 -readonly disk/catalog.db \"{sql}\""));
            let shows = format!("{name} generation {}", told.trim());
            let before = self.given.entry(number).or_insert_with(|| shows.clone());
            assert_eq!(*before, shows, "{}\nthe view {number:#x}", self.log.join(", "));
        }
        self.ok(&["umount", "mnt"]);
    }
}

#[test]
fn what_was_acknowledged_survives_a_loss_of_power_and_what_was_not_is_nowhere() {
    let (seed, losses) = (number("ASOF_SEED", 1), number("ASOF_LOSSES", 16));
    let mut world = World::new(seed);
    world.back_up();
    world.ok(&["index", "homes"]);
    for loss in 1..=losses {
        world.happen();
        world.assert_kept();
        if loss % 2 == 0 {
            world.ok(&["index", "homes"]);
            world.waiting.clear();
            world.assert_kept();
            world.assert_equals_alone();
            world.assert_numbers();
        }
    }
    println!("seed {seed}: {losses} losses, {} copies, {} numbers", world.days, world.given.len());
}
