//! One catalog with several sources, written as the program writes it, and what can come between: a kill, another run, a full disk.
//!
//! A kill is a copy of all that is in the folder of the catalog (database, log, manifests, locks) at one moment of a run: what SIGKILL leaves
//! there. A full disk is one: a small tmpfs, filled to a few pages.

use crate::catalogs::{Asked, History, differences};
use crate::dice::Dice;
use crate::tree::{NOW, Name, Plain, State, Told, instant};
use asof::catalog::{self, Checking, LockWait, NewSource, Reader, SourceLock, SourceRow, Writer};
use asof::clock::Fixed;
use asof::index::{self, NewCopy, index_copy};
use asof::jobs::manifests::Manifests;
use asof::jobs::patience::Patience;
use asof::jobs::rebuild::{Wish, rebuild};
use asof::model::manifest::{Edit, EditSink, End, Header, Recorder, Recording, SourceFacts};
use asof::model::{Key, Rule, SourceKind, Time};
use asof::monitor::Void;
use asof::source::Found;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Copies of one source.
pub(crate) const COPIES: usize = 6;

/// Who a file is, when two versions are the same, and of how many sides the dice are that say what happens (more for more hard links).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    pub(crate) rule: Rule,
    sides: usize,
}

pub(crate) const HOMES: Kind = Kind { name: "homes", rule: Rule::COPIES, sides: 12 };
pub(crate) const SNAPS: Kind = Kind { name: "snaps", rule: Rule::SNAPSHOTS, sides: 12 };
/// A link farm: groups of hard links, told by path.
pub(crate) const FARM: Kind = Kind { name: "farm", rule: Rule { key: Key::Digest, by_inode: false }, sides: 15 };

/// A source: its copies as they are now, and of which there are generations.
#[derive(Clone, Debug)]
pub(crate) struct Share {
    pub(crate) kind: Kind,
    pub(crate) copies: Vec<Plain>,
    pub(crate) is_there: [bool; COPIES],
    has_doubts: bool,
    next: u64,
}

impl Share {
    pub(crate) fn new(kind: Kind, has_doubts: bool, dice: &mut Dice) -> Self {
        let mut share = Self { kind, copies: Vec::new(), is_there: [false; COPIES], has_doubts, next: 1 };
        let mut plain = Plain::new();
        for number in 0..COPIES {
            let count = if number == 0 { 2 + dice.roll(10) } else { dice.roll(5) };
            plain.mutate(dice, count, kind.sides, &mut share.next);
            if has_doubts {
                plain.close_some(dice);
            }
            share.copies.push(plain.clone());
        }
        share
    }

    /// Returns one of which there is no generation, and whose copies are all alike.
    pub(crate) fn empty(kind: Kind, plain: &Plain) -> Self {
        Self { kind, copies: vec![plain.clone(); COPIES], is_there: [false; COPIES], has_doubts: false, next: 1 }
    }

    /// Notes what was done to one of its copies.
    pub(crate) fn note(&mut self, step: &Step) {
        self.copies[step.copy] = step.plain.clone();
        self.is_there[step.copy] = step.act != Act::Forget;
    }

    /// Says what is done to one of its copies next.
    fn step(&mut self, number: usize, dice: &mut Dice) -> Step {
        let copy = dice.roll(COPIES);
        let mut plain = self.copies[copy].clone();
        let act = match (self.is_there[copy], dice.roll(8)) {
            (false, _) => Act::Index,
            (true, 0..=3) => Act::Forget,
            (true, _) => {
                let count = dice.roll(3);
                plain.mutate(dice, count, self.kind.sides, &mut self.next);
                if self.has_doubts && dice.roll(2) == 0 {
                    plain.close_some(dice);
                }
                Act::Again
            }
        };
        Step { share: number, copy, act, plain }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Index,
    Forget,
    Again,
}

/// Something that is done to a copy, and what the copy is then.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) share: usize,
    pub(crate) copy: usize,
    pub(crate) act: Act,
    pub(crate) plain: Plain,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let act = match self.act {
            Act::Index => "index",
            Act::Forget => "forget",
            Act::Again => "again",
        };
        write!(f, "{act} {}.{}", self.share, self.copy)
    }
}

/// At which moment of a run its process is killed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Moment {
    Never,
    /// After so many edits, listings and commits.
    Nth(usize),
    /// When so many generations were published or forgotten, and the manifest or tombstone of the next is there: right before its last
    /// commit.
    BeforeCommit(usize),
    /// After all that it does.
    AtTheEnd,
}

/// Watches a run, and copies the folder of the catalog when it is killed.
pub(crate) struct Kill {
    when: Moment,
    passed: AtomicUsize,
    /// How many manifests and tombstones were written.
    written: AtomicUsize,
    /// What is done at this moment, as the caller counts it.
    done: AtomicUsize,
    /// What was done when it was killed.
    died: Mutex<Option<usize>>,
    folder: PathBuf,
    dead: PathBuf,
}

impl Kill {
    /// A moment of the run passes.
    fn pass(&self) {
        let passed = self.passed.fetch_add(1, Ordering::Relaxed);
        if matches!(self.when, Moment::Nth(wanted) if wanted == passed) {
            self.die();
        }
    }

    /// The process dies, if it has not.
    pub(crate) fn die(&self) {
        let mut died = self.died.lock().expect("nobody panics while it is held");
        if died.is_none() {
            copy_folder(&self.folder, &self.dead);
            *died = Some(self.done.load(Ordering::Relaxed));
        }
    }

    /// Returns what was done when it was killed; none: it was not.
    pub(crate) fn died(&self) -> Option<usize> {
        *self.died.lock().expect("nobody panics while it is held")
    }

    fn before_the_last_commit(&self) {
        let written = self.written.fetch_add(1, Ordering::Relaxed);
        if matches!(self.when, Moment::BeforeCommit(wanted) if wanted == written) {
            self.die();
        }
    }
}

/// Copies a folder as a crash leaves it: all but shared memory.
fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir(to).expect("a folder can be made");
    for entry in std::fs::read_dir(from).expect("it can be listed") {
        let entry = entry.expect("it can be listed");
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        match entry.file_type().expect("it is there").is_dir() {
            true => copy_folder(&path, &to),
            false if path.to_string_lossy().ends_with("-shm") => {}
            // Closing it ends SQLite's locks on it, of which nobody else asks here.
            false => drop(std::fs::copy(&path, &to).expect("it can be copied")),
        }
    }
}

/// Keeps manifests as the program does, and lets moments pass.
struct Watched {
    inner: Manifests,
    kill: Arc<Kill>,
}

impl Recorder for Watched {
    fn begin(&mut self, header: &Header) -> io::Result<Box<dyn Recording>> {
        self.kill.pass();
        let inner = self.inner.begin(header)?;
        Ok(Box::new(WatchedRecording { inner, kill: Arc::clone(&self.kill) }))
    }

    fn forget(&mut self, header: &Header, after: u64) -> io::Result<PathBuf> {
        self.kill.pass();
        let path = self.inner.forget(header, after)?;
        self.kill.before_the_last_commit();
        Ok(path)
    }

    fn forgot(&mut self, header: &Header, path: &Path) {
        self.inner.forgot(header, path);
    }

    fn take_back(&mut self, path: &Path) {
        self.inner.take_back(path);
    }

    fn tidy(&mut self, source: &SourceFacts, last: u64, published: &BTreeSet<u64>) -> io::Result<u64> {
        self.kill.pass();
        self.inner.tidy(source, last, published)
    }

    fn catch_up(&mut self, source: &SourceFacts) {
        self.inner.catch_up(source);
    }
}

struct WatchedRecording {
    inner: Box<dyn Recording>,
    kill: Arc<Kill>,
}

impl EditSink for WatchedRecording {
    fn edit(&mut self, edit: &Edit<'_>) -> io::Result<()> {
        self.kill.pass();
        self.inner.edit(edit)
    }
}

impl Recording for WatchedRecording {
    fn finish(&mut self, end: &End) -> io::Result<()> {
        self.kill.pass();
        self.inner.finish(end)?;
        self.kill.before_the_last_commit();
        Ok(())
    }

    fn published(&mut self) {
        self.inner.published();
    }

    fn withdraw(&mut self) {
        self.inner.withdraw();
    }
}

/// A folder in memory; small ones are file systems of their own, which can be filled.
struct Place {
    folder: tempfile::TempDir,
    is_small: bool,
}

impl Place {
    fn new(is_small: bool) -> Self {
        // Generations are synced, and a disk would be waited for.
        let memory = Path::new("/dev/shm");
        let prefix = "asof-law-";
        let mut builder = tempfile::Builder::new();
        let folder = builder.prefix(prefix);
        let folder = if memory.is_dir() { folder.tempdir_in(memory) } else { folder.tempdir() };
        let folder = folder.expect("a temporary folder can be made");
        if is_small {
            let mount =
                Command::new("mount").args(["-t", "tmpfs", "-o", "size=8m", "none"]).arg(folder.path()).output();
            let mount = mount.expect("mount is here");
            assert!(mount.status.success(), "this test needs root: {}", String::from_utf8_lossy(&mount.stderr));
        }
        std::fs::create_dir(folder.path().join("catalog")).expect("a folder can be made");
        std::fs::create_dir(folder.path().join("made")).expect("a folder can be made");
        Self { folder, is_small }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Fills the disk up to so many pages.
    fn fill(&self, pages: u64) {
        let mut ballast = std::fs::File::create(self.path("ballast")).expect("a file can be made");
        let zeros = vec![0; 1 << 16];
        let mut written = 0;
        while let Ok(count) = ballast.write(&zeros) {
            written += count as u64;
        }
        ballast.set_len(written.saturating_sub(pages * 4096)).expect("a file can be cut");
    }

    fn make_room(&self) {
        std::fs::remove_file(self.path("ballast")).expect("it was made");
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.is_small {
            let _ = Command::new("umount").arg("-l").arg(self.folder.path()).status();
        }
    }
}

/// Catalogs without generations, by their sources.
static MADE: Mutex<BTreeMap<String, Vec<u8>>> = Mutex::new(BTreeMap::new());

/// A catalog.
pub(crate) struct Catalog {
    place: Place,
    sources: Vec<SourceRow>,
    keeps_manifests: bool,
    /// Runs that began.
    runs: AtomicUsize,
}

/// A catalog in which what is left of sources is indexed alone, each time as a source of its own.
pub(crate) struct Alone {
    catalog: Catalog,
    writer: Writer,
    reader: Reader,
    asked: Asked,
    count: usize,
}

impl Alone {
    pub(crate) fn new() -> Self {
        let catalog = Catalog::new(&[], false);
        let wait = LockWait::refuse("law");
        let writer = Writer::open_by_turns(&catalog.path(), &wait, |busy| panic!("waiting: {busy}"));
        let writer = writer.expect("it can be written");
        let reader = Reader::open(&catalog.path()).expect("it can be read");
        let asked = Asked::open(&catalog.path());
        Self { catalog, writer, reader, asked, count: 0 }
    }

    /// Returns what is told of what is left of a share.
    pub(crate) fn history(&mut self, share: &Share) -> History {
        let Kind { rule, .. } = share.kind;
        self.count += 1;
        let name = format!("alone{}", self.count);
        let new = NewSource { name: &name, kind: SourceKind::Nfs, settings: "{}", rule, added_at: Time(0) };
        self.writer.add_source(&new).expect("a source can be added");
        let source = self.reader.rest().and_then(|()| self.reader.source(&name)).expect("it was added");
        for (copy, plain) in share.copies.iter().enumerate().filter(|(copy, _)| share.is_there[*copy]) {
            let step = Step { share: 0, copy, act: Act::Index, plain: plain.clone() };
            let how = How { kill: self.catalog.kill(Moment::Never), pauses: 0, between: &|_| () };
            let done = play(&mut self.writer, &source, &step, &how);
            done.unwrap_or_else(|e| panic!("{step}: {}", asof::model::chain(&e)));
        }
        self.asked.history(&name)
    }
}

/// Does a step of a run.
fn play(writer: &mut Writer, source: &SourceRow, step: &Step, how: &How<'_>) -> Result<(), index::Error> {
    let at = instant(step.copy);
    if step.act == Act::Forget {
        return writer.forget(source, at).map(drop).map_err(index::Error::from);
    }
    let found = Found { taken_at: at, path: PathBuf::from(format!("/copies/{}", step.copy)) };
    let again = step.act == Act::Again;
    let new = NewCopy { source, found: &found, store: Path::new("/copies"), again, settle: Duration::ZERO, root: None };
    let before = |listing: usize| {
        how.kill.pass();
        (how.between)(listing);
        how.kill.pass();
    };
    let told = Told { plain: &step.plain, copy: step.copy, rule: source.rule, pauses: how.pauses, before: &before };
    index_copy(writer, &new, &told, &Fixed(NOW), &Void).map(drop)
}

/// A run that writes it, and the lock of its source.
pub(crate) struct Run {
    pub(crate) writer: Writer,
    _lock: SourceLock,
}

/// How a step goes.
pub(crate) struct How<'h> {
    pub(crate) kill: Arc<Kill>,
    pub(crate) pauses: u64,
    /// Is called before each listing, with its number.
    pub(crate) between: &'h (dyn Fn(usize) + Sync),
}

impl Catalog {
    pub(crate) fn new(kinds: &[Kind], is_small: bool) -> Self {
        Self::in_place(Place::new(is_small), kinds, |_| "{}".to_owned())
    }

    /// Makes one whose sources have these settings, when they are told the folder that it is in.
    pub(crate) fn with_settings(kind: Kind, settings: impl Fn(&Path) -> String) -> Self {
        Self::in_place(Place::new(false), &[kind], settings)
    }

    fn in_place(place: Place, kinds: &[Kind], settings: impl Fn(&Path) -> String) -> Self {
        let settings = settings(place.folder.path());
        let path = place.path("catalog/catalog.db");
        let wanted = format!("{settings} {kinds:?}");
        // A new one takes a third of the time of a step; what is made is the same but for its numbers.
        let made = MADE.lock().expect("nobody panics while it is held").get(&wanted).cloned();
        match made {
            Some(bytes) => std::fs::write(&path, bytes).expect("it can be written"),
            None => {
                Self::make(&path, kinds, &settings);
                let bytes = std::fs::read(&path).expect("it can be read");
                MADE.lock().expect("nobody panics while it is held").insert(wanted, bytes);
            }
        }
        let reader = Reader::open(&path).expect("it can be read");
        let sources = kinds.iter().map(|kind| reader.source(kind.name).expect("it was added")).collect();
        Self { place, sources, keeps_manifests: true, runs: AtomicUsize::new(0) }
    }

    fn make(path: &Path, kinds: &[Kind], settings: &str) {
        Writer::create(path).expect("a new catalog can be made");
        let mut writer = Writer::open(path).expect("it can be written");
        for kind in kinds {
            let Kind { name, rule, .. } = *kind;
            let new = NewSource { name, kind: SourceKind::Nfs, settings, rule, added_at: Time(0) };
            writer.add_source(&new).expect("a source can be added");
        }
    }

    /// Makes one that keeps no manifests.
    pub(crate) fn without_manifests(kind: Kind) -> Self {
        Self { keeps_manifests: false, ..Self::new(&[kind], false) }
    }

    /// Returns the whole file. Nobody has it open.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        std::fs::read(self.path()).expect("it can be read")
    }

    /// Makes it what it was.
    pub(crate) fn put_bytes(&self, bytes: &[u8]) {
        std::fs::write(self.path(), bytes).expect("it can be written");
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.place.path("catalog/catalog.db")
    }

    pub(crate) fn source(&self, share: usize) -> &SourceRow {
        &self.sources[share]
    }

    /// Watches a run that is killed then.
    pub(crate) fn kill(&self, when: Moment) -> Arc<Kill> {
        let (folder, dead) = (self.place.path("catalog"), self.place.path("dead"));
        let (passed, written, done, died) = Default::default();
        Arc::new(Kill { when, passed, written, done, died, folder, dead })
    }

    /// Returns the path of something in the folder that it is in.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.place.path(name)
    }

    /// Begins a run, as the program does.
    pub(crate) fn open(&self, share: usize, kill: &Arc<Kill>) -> Result<Run, catalog::Error> {
        let lock = self.lock(share)?;
        Ok(Run { writer: self.writer(share, kill)?, _lock: lock })
    }

    pub(crate) fn lock(&self, share: usize) -> Result<SourceLock, catalog::Error> {
        SourceLock::acquire(&self.path(), &self.sources[share], &LockWait::refuse("law"))
    }

    /// Opens it for writing to a source that is locked.
    pub(crate) fn writer(&self, share: usize, kill: &Arc<Kill>) -> Result<Writer, catalog::Error> {
        let (path, source, wait) = (self.path(), &self.sources[share], LockWait::refuse("law"));
        let mut writer = Writer::open_by_turns(&path, &wait, |busy| panic!("waiting: {busy}"))?;
        if self.keeps_manifests {
            // What is forgotten at one time is forgotten in any order when a catalog is made again.
            let now = Time(NOW.0 + self.runs.fetch_add(1, Ordering::Relaxed) as i64);
            let inner = Manifests::new(
                &path,
                Box::new(Fixed(now)),
                Patience::new(std::time::Duration::from_secs(10)),
                |lacking| panic!("{lacking}"),
            );
            writer.keep_manifests(Box::new(Watched { inner, kill: Arc::clone(kill) }));
        }
        writer.clean_up(source.id)?;
        Ok(writer)
    }

    /// Does a step of a run.
    pub(crate) fn play(&self, run: &mut Run, step: &Step, how: &How<'_>) -> Result<(), index::Error> {
        play(&mut run.writer, &self.sources[step.share], step, how)
    }

    /// Does a step that nothing comes between.
    pub(crate) fn do_step(&self, step: &Step) {
        let how = How { kill: self.kill(Moment::Never), pauses: 0, between: &|_| () };
        let mut run = self.open(step.share, &how.kill).expect("a run can begin");
        self.play(&mut run, step, &how).unwrap_or_else(|e| panic!("{step}: {}", asof::model::chain(&e)));
    }

    /// Does a step that is killed, and goes on from there.
    pub(crate) fn do_killed(&self, step: &Step, when: Moment) {
        let how = How { kill: self.kill(when), pauses: u64::MAX, between: &|_| () };
        let mut run = self.open(step.share, &how.kill).expect("a run can begin");
        self.play(&mut run, step, &how).unwrap_or_else(|e| panic!("{step}: {}", asof::model::chain(&e)));
        drop(run);
        assert!(how.kill.died().is_some(), "{step}: {when:?} comes");
        self.resurrect();
    }

    /// Fails if the catalog contradicts itself.
    pub(crate) fn assert_sound(&self, what: &str) {
        Looking::at(self).assert_sound(what);
    }

    /// Fails if what is made again from the manifests, or was and goes on, says anything else.
    pub(crate) fn assert_rebuilt(&self, what: &str) {
        let (path, wait) = (self.path(), LockWait::refuse("law"));
        let [new, older] = ["made/new.db", "made/older.db"].map(|name| self.place.path(name));
        for into in [&new, &older] {
            let patience = &Patience::new(std::time::Duration::from_secs(10));
            let wish = Wish { patience, catalog: &path, into, folders: &[], wait: &wait, busy: |_| (), now: NOW };
            let report = rebuild(&wish, &Void).expect("it can be made again");
            assert!(!report.is_lacking(), "{what}: {report:?}");
            // A run that was killed used up numbers, counted names that died with it, left parts that versions share, and says for ever of
            // nodes that they may have attributes.
            let left = ["counters: ", "dead: ", "nameless content: ", "xattr_node: only the first"];
            let but = |line: &String| !left.iter().any(|what| line.starts_with(what));
            let found: Vec<String> = differences(&path, into).into_iter().filter(but).collect();
            assert!(found.is_empty(), "{what}: {into:?}\n{}", found.join("\n"));
        }
        let made = ["made/new.db", "made/new.db-wal", "made/new.db-shm", "made/new.db-manifests"];
        for name in made.map(|name| self.place.path(name)) {
            let _ = std::fs::remove_file(&name).or_else(|_| std::fs::remove_dir_all(&name));
        }
    }

    /// Goes on from what a kill left.
    pub(crate) fn resurrect(&self) {
        let (folder, dead) = (self.place.path("catalog"), self.place.path("dead"));
        std::fs::remove_dir_all(&folder).expect("nobody is in it");
        std::fs::rename(dead, folder).expect("it was copied");
    }
}

/// A catalog that is looked at again and again.
pub(crate) struct Looking {
    reader: Reader,
    asked: Asked,
}

impl Looking {
    pub(crate) fn at(catalog: &Catalog) -> Self {
        let reader = Reader::open(&catalog.path()).expect("it can be read");
        Self { reader, asked: Asked::open(&catalog.path()) }
    }

    /// Fails if the catalog contradicts itself.
    pub(crate) fn assert_sound(&self, what: &str) {
        // What was committed since.
        self.reader.rest().expect("it can be read");
        let mut found = Vec::new();
        let each = &mut |checking: Checking<'_>| {
            if let Checking::Found(violation) = checking {
                found.push(format!("{violation:?}"));
            }
        };
        self.reader.check(true, each).expect("it can be checked");
        assert!(found.is_empty(), "{what}: {}", found.join("\n"));
    }

    /// Fails if the generations of a share are not what was told.
    pub(crate) fn assert_told(&self, share: &Share, what: &str) {
        let Kind { name, rule, .. } = share.kind;
        let digest = "(SELECT hex(d.blake3) FROM inode i JOIN digest d ON d.node = i.node AND d.bytes = i.bytes \
                      WHERE i.node = f.node AND i.born <= f.taken_at_unix ORDER BY i.born DESC LIMIT 1)";
        let found = self.asked.rows(&format!(
            "SELECT taken_at_unix, path, unknown, kind, size_bytes, mtime_unix, mode, nlink, has_xattrs, link_target, {digest} \
             FROM files f WHERE source = '{name}'"
        ));
        let (mut expected, mut state) = (Vec::new(), State::default());
        for (copy, plain) in share.copies.iter().enumerate().filter(|(copy, _)| share.is_there[*copy]) {
            state = State::of(plain, copy, rule, &state);
            let at = instant(copy).0;
            let row = |slot, name: &Name| format!("{at}|{}|{}", state.path(slot), name.told());
            expected.extend(state.names.iter().map(|(slot, name)| row(slot, name)));
        }
        expected.sort();
        assert_eq!(found, expected, "{what}: the trees of {name}");
    }

    /// Fails if what is asked of the history of a share is not what its trees say.
    pub(crate) fn assert_asked(&self, share: &Share, what: &str) {
        self.reader.rest().expect("it can be read");
        let mut state = State::default();
        let there = share.copies.iter().enumerate().filter(|(copy, _)| share.is_there[*copy]);
        let states = there.map(|(copy, plain)| {
            state = State::of(plain, copy, share.kind.rule, &state);
            (instant(copy), state.clone())
        });
        let states: Vec<_> = states.collect();
        crate::ask::assert_asked(&self.reader, share.kind.name, &states, what);
        crate::shown::assert_shown(&self.reader, share.kind.name, &states, what);
    }

    /// Fails if a share is not what indexing what is left of it alone gives.
    pub(crate) fn assert_alone(&self, share: &Share, alone: &History, what: &str) {
        let name = share.kind.name;
        let found = self.asked.history(name).differences(alone);
        assert!(found.is_empty(), "{what}: indexing what is left of {name} alone says otherwise: {}", found.join("\n"));
    }

    /// Returns what its generations are known by: none changes but by a step of its share.
    fn marks(&self, share: &Share) -> Vec<String> {
        self.asked.rows(&format!(
            "SELECT g.id, g.taken_at, g.number, g.sequence, g.entries, g.changed_nodes, g.losses, hex(g.state_hash) FROM generation g \
             JOIN source s ON s.id = g.source WHERE s.name = '{}' AND g.status = 'published'",
            share.kind.name
        ))
    }
}

/// A history of several sources in one catalog.
pub(crate) struct World {
    catalog: Catalog,
    /// None: it was not looked at since it was another one.
    looking: Option<Looking>,
    shares: Vec<Share>,
    dice: Dice,
    title: String,
    log: Vec<String>,
    marks: Vec<Vec<String>>,
    /// Whether something changed since they were compared.
    has_changed: Vec<bool>,
    /// Whether a killed run may have left a manifest, which the next run of the share removes.
    has_leftover: Vec<bool>,
    /// What was played.
    pub(crate) played: Played,
}

/// Added to the number of steps that are done when that of another source is.
const OTHER: usize = 1 << 16;

/// What was played and compared.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Played {
    pub(crate) steps: usize,
    pub(crate) kills: usize,
    pub(crate) full: usize,
    pub(crate) meanwhile: usize,
    pub(crate) rebuilt: usize,
}

impl std::ops::AddAssign for Played {
    fn add_assign(&mut self, other: Self) {
        self.steps += other.steps;
        self.kills += other.kills;
        self.full += other.full;
        self.meanwhile += other.meanwhile;
        self.rebuilt += other.rebuilt;
    }
}

impl World {
    pub(crate) fn new(seed: u64, can_be_full: bool) -> Self {
        let mut dice = Dice::new(seed);
        let shares: Vec<Share> =
            [HOMES, SNAPS, FARM].map(|kind| Share::new(kind, dice.roll(2) == 0, &mut dice)).into_iter().collect();
        let catalog = Catalog::new(&shares.iter().map(|share| share.kind).collect::<Vec<_>>(), can_be_full);
        let (marks, has_leftover) = (vec![Vec::new(); shares.len()], vec![false; shares.len()]);
        let has_changed = has_leftover.clone();
        let title = format!("seed {seed}");
        let (looking, log, played) = (None, Vec::new(), Played::default());
        Self { catalog, looking, shares, dice, title, log, marks, has_changed, has_leftover, played }
    }

    fn story(&self) -> String {
        format!("{}: {}", self.title, self.log.join(", "))
    }

    fn note(&mut self, step: &Step) {
        self.played.steps += 1;
        self.shares[step.share].note(step);
    }

    fn any_step(&mut self) -> Step {
        let share = self.dice.roll(self.shares.len());
        self.shares[share].step(share, &mut self.dice)
    }

    /// Something happens: a run of one to four steps.
    pub(crate) fn happen(&mut self) {
        if self.catalog.place.is_small && self.dice.roll(6) == 0 {
            return self.full();
        }
        let number = self.dice.roll(self.shares.len());
        let mut share = self.shares[number].clone();
        let mut steps = Vec::new();
        for _ in 0..1 + self.dice.roll(4) {
            let step = share.step(number, &mut self.dice);
            share.note(&step);
            steps.push(step);
        }
        self.shares[number].next = share.next;
        let when = match self.dice.roll(9) {
            0 => Moment::Nth(self.dice.roll(40 * steps.len())),
            1 => Moment::BeforeCommit(self.dice.roll(steps.len())),
            2 => Moment::AtTheEnd,
            _ => Moment::Never,
        };
        let other = (self.dice.roll(3) == 0).then(|| self.any_step()).filter(|other| other.share != number);
        self.run(&steps, when, other.as_ref());
    }

    /// A run, which may be killed, and in the middle of which one of another source may come.
    fn run(&mut self, steps: &[Step], when: Moment, other: Option<&Step>) {
        let share = steps[0].share;
        let (at, pauses) = (self.dice.roll(8), if self.dice.roll(2) == 0 { 0 } else { self.dice.roll(16) as u64 });
        let kill = self.catalog.kill(when);
        let (catalog, did_other, listings) = (&self.catalog, AtomicUsize::new(0), AtomicUsize::new(0));
        let do_other = || {
            if let Some(other) = other
                && did_other.swap(1, Ordering::Relaxed) == 0
            {
                catalog.do_step(other);
                kill.done.fetch_add(OTHER, Ordering::Relaxed);
            }
        };
        let between = |_| {
            if listings.fetch_add(1, Ordering::Relaxed) == at {
                do_other();
            }
        };
        let pauses = if other.is_some() { u64::MAX } else { pauses };
        let how = How { kill: Arc::clone(&kill), pauses, between: &between };
        let mut run = catalog.open(share, &kill).expect("a run can begin");
        self.has_leftover[share] = false;
        for step in steps {
            let done = catalog.play(&mut run, step, &how);
            done.unwrap_or_else(|e| panic!("{}, then {step}: {}", self.story(), asof::model::chain(&e)));
            kill.done.fetch_add(1, Ordering::Relaxed);
        }
        do_other();
        if !matches!(when, Moment::Never) {
            kill.die();
        }
        drop(run);
        let died = kill.died();
        let done = died.unwrap_or(kill.done.load(Ordering::Relaxed));
        let (count, did_other) = (done % OTHER, done >= OTHER);
        let text: Vec<String> = steps.iter().map(Step::to_string).collect();
        let meanwhile = other.map_or_else(String::new, |other| format!(", {other} meanwhile"));
        let killed = died.map_or_else(String::new, |_| format!(", killed {when:?} with {count} done"));
        self.log.push(format!("[{}{meanwhile}{killed}]", text.join(", ")));
        if died.is_some() {
            self.looking = None;
            self.catalog.resurrect();
            self.played.kills += 1;
            self.has_leftover[share] = true;
        }
        for step in &steps[..count] {
            self.note(step);
        }
        if let Some(other) = other.filter(|_| did_other) {
            self.played.meanwhile += 1;
            self.note(other);
        }
    }

    /// A run on a disk that is almost full; then another input, at first by the same writer.
    fn full(&mut self) {
        let step = &self.any_step();
        self.catalog.place.fill(self.dice.roll(60) as u64);
        let how = How { kill: self.catalog.kill(Moment::Never), pauses: 0, between: &|_| () };
        self.has_leftover[step.share] = false;
        let mut run = self.catalog.open(step.share, &how.kill);
        let done = match &mut run {
            Ok(run) => self.catalog.play(run, step, &how).map_err(|e| asof::model::chain(&e)),
            Err(e) => Err(asof::model::chain(e)),
        };
        self.catalog.place.make_room();
        let Err(error) = done else {
            self.log.push(format!("{step} with little room"));
            return self.note(step);
        };
        self.played.full += 1;
        self.log.push(format!("{step} without room"));
        let is_told = error.contains("the disk is full") || error.contains("No space left on device");
        assert!(is_told, "{}: {error}", self.story());
        self.look();
        let Ok(mut run) = run else { return };
        let next = self.shares[step.share].step(step.share, &mut self.dice);
        match self.catalog.play(&mut run, &next, &how) {
            Ok(()) => {
                self.log.push(format!("{next} by the same writer"));
                self.note(&next);
            }
            Err(index::Error::Catalog(catalog::Error::Spent { .. })) => self.log.push("spent".to_owned()),
            Err(e) => panic!("{}, then {next} by the same writer: {}", self.story(), asof::model::chain(&e)),
        }
    }

    /// Fails if a source of which something changed is not what was told, or if one changed to which nothing was done.
    pub(crate) fn look(&mut self) {
        let story = self.story();
        let looking = self.looking.get_or_insert_with(|| Looking::at(&self.catalog));
        for (number, share) in self.shares.iter().enumerate() {
            let marks = looking.marks(share);
            let there = share.is_there.iter().filter(|is_there| **is_there).count();
            assert_eq!(marks.len(), there, "{story}: generations of {}", share.kind.name);
            if marks != self.marks[number] {
                looking.assert_told(share, &story);
                self.marks[number] = marks;
                self.has_changed[number] = true;
            }
        }
    }

    /// Fails if a source of which something changed since the last time is not what indexing it alone gives.
    pub(crate) fn compare(&mut self, alone: &mut Alone) {
        let story = self.story();
        let looking = self.looking.get_or_insert_with(|| Looking::at(&self.catalog));
        for (share, has_changed) in self.shares.iter().zip(&mut self.has_changed) {
            if std::mem::take(has_changed) {
                looking.assert_asked(share, &story);
                looking.assert_alone(share, &alone.history(share), &story);
            }
        }
    }

    /// Fails if the catalog contradicts itself.
    pub(crate) fn look_inside(&mut self) {
        let story = self.story();
        self.looking.get_or_insert_with(|| Looking::at(&self.catalog)).assert_sound(&story);
    }

    /// Fails if a source is not what was told and what indexing it in a new catalog gives.
    pub(crate) fn look_at_all(&mut self) {
        let story = self.story();
        let looking = self.looking.get_or_insert_with(|| Looking::at(&self.catalog));
        let mut alone = Alone::new();
        for share in &self.shares {
            looking.assert_told(share, &story);
            looking.assert_alone(share, &alone.history(share), &story);
        }
    }

    /// Fails if the catalog is not what its manifests say.
    pub(crate) fn rebuild(&mut self) {
        // Nothing says of a source without generations that it is there.
        let all_are_known = !self.marks.iter().any(Vec::is_empty);
        if all_are_known && !self.has_leftover.contains(&true) {
            self.catalog.assert_rebuilt(&self.story());
            self.played.rebuilt += 1;
        }
    }
}
