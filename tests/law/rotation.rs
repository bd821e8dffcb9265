//! A link farm that rotates, with real directories in memory: `daily.0` is linked from `daily.1`, the mtime of its top tells its date, and
//! each night every copy gets another name. Copies change after they were indexed, are half written when they are, vanish, are
//! forgotten and taken back; runs are killed, and something else happens before the next one.

use crate::catalogs::differences_in_history;
use crate::dice::Dice;
use crate::tree::{FIRST, NOW};
use crate::world::{Catalog, FARM, HOMES, Kill, Kind, Moment};
use asof::catalog::{SourceLock, SourceRow};
use asof::clock::Fixed;
use asof::jobs::forget::forget;
use asof::jobs::index::{ANSWER_WITHIN, Inputs, Outcome, Report, Which, Wish, index_source};
use asof::jobs::patience::Patience;
use asof::model::{Time, chain};
use asof::monitor::{Monitor, Void};
use asof::source::nfs::{InstantFrom, Settings};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Copies that a rotation keeps.
const KEPT: usize = 4;

/// A tree: by path the file that it is, and what that holds. Contents `2n` and `2n + 1` look equal by size and mtime.
type Files = BTreeMap<String, (u64, u64)>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// No run has seen it.
    New,
    Published,
    Forgotten,
}

#[derive(Clone, Debug)]
struct Copy {
    at: i64,
    /// The number in its name; none: it is gone.
    place: Option<usize>,
    state: State,
    files: Files,
}

/// What was played.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Nights {
    pub(crate) nights: usize,
    pub(crate) kills: usize,
    pub(crate) changed: usize,
    pub(crate) moved: usize,
}

pub(crate) struct Farm {
    catalog: Catalog,
    kind: Kind,
    dice: Dice,
    live: Files,
    /// The next file, and the next content.
    next: u64,
    night: i64,
    copies: Vec<Copy>,
    title: String,
    log: Vec<String>,
    pub(crate) played: Nights,
}

pub(crate) fn settings(copies: PathBuf, kind: Kind, instant_from: InstantFrom) -> String {
    let checksum = kind.rule == FARM.rule;
    Settings { instant_from: vec![instant_from], checksum, ..Settings::new(copies) }.to_json().expect("a plain path")
}

fn set_mtime(path: &Path, seconds: i64) {
    let at = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.unsigned_abs());
    File::open(path).and_then(|file| file.set_modified(at)).expect("a time can be set");
}

/// Writes a tree; what is the same file in `linked` is linked from there.
fn write_tree(to: &Path, at: i64, files: &Files, linked: Option<(&Path, &Files)>) {
    fs::create_dir(to).expect("a directory");
    let mut first: BTreeMap<u64, &str> = BTreeMap::new();
    let mut dirs = BTreeSet::new();
    for (path, (id, content)) in files {
        let here = to.join(path);
        let dir = here.parent().expect("it is below the top");
        fs::create_dir_all(dir).expect("a directory");
        dirs.extend(dir.ancestors().take_while(|dir| *dir != to).map(Path::to_owned));
        if let Some(other) = first.get(id) {
            fs::hard_link(to.join(other), &here).expect("a link");
            continue;
        }
        first.insert(*id, path);
        match linked.filter(|(_, before)| before.get(path) == Some(&(*id, *content))) {
            Some((from, _)) => fs::hard_link(from.join(path), &here).expect("a link"),
            None => write_file(&here, *content),
        }
    }
    dirs.iter().for_each(|dir| set_mtime(dir, 900));
    set_mtime(to, at);
}

fn write_file(path: &Path, content: u64) {
    fs::write(path, format!("{content:06}{}", "x".repeat((content / 2 % 50) as usize))).expect("a file");
    set_mtime(path, 1_000 + (content / 2) as i64);
}

/// Indexes the copies of a catalog, as the program does.
pub(crate) fn index(
    catalog: &Catalog,
    kind: Kind,
    (which, again): (Which, bool),
    kill: &Arc<Kill>,
    monitor: &dyn Monitor,
) -> Report {
    let lock = |name: &str| -> Result<(SourceRow, SourceLock), asof::catalog::Error> {
        let lock = catalog.lock(0)?;
        Ok((asof::catalog::Reader::open(&catalog.path())?.source(name)?, lock))
    };
    let open = |_: &SourceRow| catalog.writer(0, kill);
    let (path, zone) = (catalog.path(), jiff::tz::TimeZone::UTC);
    let inputs = Inputs {
        catalog: &path,
        lock: &lock,
        open: &open,
        zone: &zone,
        clock: &Fixed(NOW),
        patience: &Patience::new(ANSWER_WITHIN),
        monitor,
    };
    let wish = Wish { which, again, settle: Some(Duration::ZERO), ..Wish::default() };
    index_source(&inputs, &wish, kind.name, &mut |_, _| ()).unwrap_or_else(|e| panic!("{}", chain(&e)))
}

impl Farm {
    pub(crate) fn new(seed: u64) -> Self {
        let kind = if seed.is_multiple_of(2) { HOMES } else { FARM };
        let of = |folder: &Path| settings(folder.join("copies"), kind, InstantFrom::Mtime);
        let catalog = Catalog::with_settings(kind, of);
        fs::create_dir(catalog.beside("copies")).expect("a directory");
        let mut farm = Self {
            catalog,
            kind,
            dice: Dice::new(seed),
            live: Files::new(),
            next: 1,
            night: 0,
            copies: Vec::new(),
            title: format!("seed {seed}"),
            log: Vec::new(),
            played: Nights::default(),
        };
        for _ in 0..8 {
            farm.live_through();
        }
        farm
    }

    fn story(&self) -> String {
        format!("{}: {}", self.title, self.log.join(", "))
    }

    fn path(&self, place: usize) -> PathBuf {
        self.catalog.beside("copies").join(format!("daily.{place}"))
    }

    fn those(&self, is_so: impl Fn(&Copy) -> bool) -> Vec<usize> {
        (0..self.copies.len()).filter(|number| is_so(&self.copies[*number])).collect()
    }

    /// Something happens to the live tree.
    fn live_through(&mut self) {
        let path = format!("{}{}", ["", "d/", "d/e/", "f/"][self.dice.roll(4)], ["a", "b", "c"][self.dice.roll(3)]);
        let paths: Vec<String> = self.live.keys().cloned().collect();
        self.next += 1;
        match (self.dice.roll(6), self.dice.pick(&paths)) {
            (0, Some(other)) => drop(self.live.insert(path, self.live[&other])),
            (1, Some(other)) => {
                let file = self.live.remove(&other).expect("it is there");
                self.live.insert(path, file);
            }
            (2, _) => drop(self.live.remove(&path)),
            (3, Some(other)) => {
                // All names of the file, with the same size and mtime every other time.
                let (id, content) = self.live[&other];
                let new = if self.dice.roll(2) == 0 { content ^ 1 } else { 2 * self.next };
                self.live.values_mut().filter(|file| file.0 == id).for_each(|file| file.1 = new);
            }
            _ => drop(self.live.insert(path, (self.next, 2 * self.next))),
        }
    }

    /// All copies get their next name, and a new one is made.
    fn back_up(&mut self) {
        self.night += 1;
        for place in (0..KEPT).rev() {
            let Some(number) = self.those(|copy| copy.place == Some(place)).pop() else { continue };
            if place + 1 == KEPT {
                fs::remove_dir_all(self.path(place)).expect("the oldest one");
                self.copies[number].place = None;
            } else {
                fs::rename(self.path(place), self.path(place + 1)).expect("the next name is free");
                self.copies[number].place = Some(place + 1);
                self.played.moved += usize::from(self.copies[number].state == State::Published);
            }
        }
        let linked = self.those(|copy| copy.place == Some(1)).pop();
        let from = self.path(1);
        let linked = linked.map(|number| (from.as_path(), &self.copies[number].files));
        let at = FIRST + self.night * 86_400;
        write_tree(&self.path(0), at, &self.live, linked);
        self.copies.push(Copy { at, place: Some(0), state: State::New, files: self.live.clone() });
        self.log.push(format!("back up {}", self.night));
    }

    /// A copy that was indexed changes: a file is another one, or gone.
    fn change(&mut self) {
        // Whether a copy that moved changed meanwhile is told by the mtime of its top, which is its date here.
        self.index(&self.catalog, Which::All, false, &self.catalog.kill(Moment::Never));
        self.see_what_is_done();
        let Some(number) = self.dice.pick(&self.those(|copy| copy.place.is_some() && copy.state == State::Published))
        else {
            return;
        };
        let (at, place) = (self.copies[number].at, self.copies[number].place.expect("it is there"));
        self.next += 1;
        let (next, is_new) = (self.next, self.dice.roll(2) == 0);
        let files = &mut self.copies[number].files;
        let path = files.keys().next().cloned().filter(|_| !is_new).unwrap_or_else(|| "late".to_owned());
        files.insert(path, (next, 2 * next));
        let top = self.path(place);
        let ctime = |top: &Path| std::os::unix::fs::MetadataExt::ctime_nsec(&fs::metadata(top).expect("it is there"));
        let before = ctime(&top);
        // Other copies have links to its files.
        fs::remove_dir_all(self.catalog.beside("spare")).unwrap_or_default();
        write_tree(&self.catalog.beside("spare"), at, &self.copies[number].files, None);
        for entry in fs::read_dir(&top).expect("it can be listed") {
            let path = entry.expect("it can be listed").path();
            if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.expect("it is there");
        }
        for entry in fs::read_dir(self.catalog.beside("spare")).expect("it can be listed") {
            let entry = entry.expect("it can be listed");
            fs::rename(entry.path(), top.join(entry.file_name())).expect("it is free");
        }
        set_mtime(&top, at);
        // The clock of the file system may be coarse.
        while ctime(&top) == before {
            set_mtime(&top, at);
        }
        self.played.changed += 1;
        self.log.push(format!("change {}", (at - FIRST) / 86_400));
    }

    fn index(&self, catalog: &Catalog, which: Which, again: bool, kill: &Arc<Kill>) -> Report {
        let report = index(catalog, self.kind, (which, again), kill, &Void);
        let outcome = report.sources[0].result;
        assert!(outcome != Outcome::Failed, "{}: {report:?}", self.story());
        report
    }

    /// A run of any kind that is killed; returns nothing, for nobody is there to hear of it.
    fn die(&mut self, act: impl FnOnce(&Self, &Arc<Kill>)) {
        let when = if self.dice.roll(2) == 0 {
            Moment::Nth(self.dice.roll(60))
        } else {
            Moment::BeforeCommit(self.dice.roll(3))
        };
        let kill = self.catalog.kill(when);
        act(self, &kill);
        kill.die();
        self.catalog.resurrect();
        self.played.kills += 1;
        self.log.push(format!("killed {when:?}"));
    }

    /// What is published is what the catalog has: a run that was killed may have ended one copy and not the next.
    fn see_what_is_done(&mut self) {
        let sql = "SELECT taken_at_unix FROM generations";
        let found: Vec<i64> =
            crate::catalogs::asked(&self.catalog.path(), sql).iter().map(|at| at.parse().expect("a number")).collect();
        for copy in &mut self.copies {
            match (copy.state, found.contains(&copy.at)) {
                (State::New | State::Forgotten, true) => copy.state = State::Published,
                (State::Published, false) => copy.state = State::Forgotten,
                _ => {}
            }
        }
    }

    /// A night.
    pub(crate) fn happen(&mut self) {
        self.played.nights += 1;
        for _ in 0..self.dice.roll(5) {
            self.live_through();
        }
        match self.dice.roll(8) {
            0..=2 => self.back_up(),
            3 => self.change(),
            4 => {
                self.back_up();
                self.change();
            }
            5 => {
                let Some(number) = self.dice.pick(&self.those(|copy| copy.state == State::Published)) else { return };
                let at = Time(self.copies[number].at);
                let is_killed = self.dice.roll(2) == 0;
                let act = move |farm: &Self, kill: &Arc<Kill>| {
                    let mut run = farm.catalog.open(0, kill).expect("a run can begin");
                    let done = forget(&mut run.writer, farm.catalog.source(0), at);
                    done.unwrap_or_else(|e| panic!("{}: {}", farm.story(), chain(&e)));
                };
                self.log.push(format!("forget {}", (at.0 - FIRST) / 86_400));
                if is_killed {
                    self.die(act)
                } else {
                    act(self, &self.catalog.kill(Moment::Never))
                }
                self.see_what_is_done();
            }
            6 => {
                let forgotten = self.those(|copy| copy.place.is_some() && copy.state == State::Forgotten);
                let Some(number) = self.dice.pick(&forgotten) else { return };
                let path = self.path(self.copies[number].place.expect("it is there"));
                self.log.push(format!("take back {}", (self.copies[number].at - FIRST) / 86_400));
                self.index(&self.catalog, Which::Named(vec![path], None), false, &self.catalog.kill(Moment::Never));
                self.copies[number].state = State::Published;
            }
            _ => {
                let Some(number) =
                    self.dice.pick(&self.those(|copy| copy.place.is_some() && copy.state == State::Published))
                else {
                    return;
                };
                let at = Time(self.copies[number].at);
                self.log.push(format!("again {}", (at.0 - FIRST) / 86_400));
                let act = move |farm: &Self, kill: &Arc<Kill>| {
                    drop(farm.index(&farm.catalog, Which::Generation(at), true, kill));
                };
                if self.dice.roll(2) == 0 { self.die(act) } else { act(self, &self.catalog.kill(Moment::Never)) }
            }
        }
        if self.dice.roll(3) == 0 {
            self.die(|farm, kill| drop(farm.index(&farm.catalog, Which::All, false, kill)));
            self.see_what_is_done();
            // Another input than the one that was cut short.
            match self.dice.roll(3) {
                0 => self.back_up(),
                1 => self.change(),
                _ => {}
            }
        }
        self.index(&self.catalog, Which::All, false, &self.catalog.kill(Moment::Never));
        self.copies.retain(|copy| copy.place.is_some() || copy.state == State::Published);
        for copy in self.copies.iter_mut().filter(|copy| copy.state == State::New) {
            copy.state = State::Published;
        }
    }

    /// Fails if the catalog is not that of what is left, made alone.
    pub(crate) fn look(&self) {
        let story = self.story();
        self.catalog.assert_sound(&story);
        let alone =
            Catalog::with_settings(self.kind, |folder| settings(folder.join("copies"), self.kind, InstantFrom::Mtime));
        let folder = alone.beside("copies");
        fs::create_dir(&folder).expect("a directory");
        let published = self.those(|copy| copy.state == State::Published);
        for number in &published {
            let copy = &self.copies[*number];
            write_tree(&folder.join(number.to_string()), copy.at, &copy.files, None);
        }
        if !published.is_empty() {
            self.index(&alone, Which::All, false, &alone.kill(Moment::Never));
        }
        let found = differences_in_history(&self.catalog.path(), &alone.path());
        assert!(found.is_empty(), "{story}: indexing what is left alone says otherwise: {}", found.join("\n"));
    }
}
