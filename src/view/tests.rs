//! The tree over a small catalog, without a mount.
//! Questions and answers as a kernel would ask them.

use super::retired::GRACE_S;
use super::*;
use crate::catalog::{NewSource, Reader, Writer};
use crate::clock::{Clock, Fixed};
use crate::index::{NewCopy, index_copy};
use crate::model::{
    Attrs, EntryName, FileKey, Finding, FindingKind, Hinted, Kind, ListedEntry, Listing, RelPath, Rule, SourceKind,
    Time, Timestamp, ViewId, XattrSet,
};
use crate::monitor::Void;
use crate::source::nfs::{Nfs, Settings};
use crate::source::told::Told;
use crate::source::{Found, Source};
use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// 2026-11-21T12:00:00Z, a Saturday.
const NOW: Time = Time(1_795_262_400);
/// 2026-11-18, -19 and -20, each at 02:00:00Z.
const WEDNESDAY: Time = Time(1_794_967_200);
const THURSDAY: Time = Time(1_795_053_600);
const FRIDAY: Time = Time(1_795_140_000);

/// A catalog in a temporary folder, with a folder of copies for each source.
struct World {
    folder: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let world = Self { folder: tempfile::tempdir().unwrap() };
        Writer::create(&world.catalog()).unwrap();
        world
    }

    fn catalog(&self) -> PathBuf {
        self.folder.path().join("catalog.db")
    }

    fn with_source(self, name: &str) -> Self {
        let new = NewSource { name, kind: SourceKind::Nfs, settings: "{}", rule: Rule::COPIES, added_at: WEDNESDAY };
        self.writer().add_source(&new).unwrap();
        fs::create_dir_all(self.copies(name)).unwrap();
        self
    }

    fn writer(&self) -> Writer {
        Writer::open(&self.catalog()).unwrap()
    }

    fn copies(&self, source: &str) -> PathBuf {
        fs::canonicalize(self.folder.path()).unwrap().join(source)
    }

    /// Makes and indexes a copy that holds these files.
    fn generation(&self, source: &str, at: Time, files: &[(&str, &str)]) {
        let path = self.copies(source).join(at.view_name());
        fs::create_dir(&path).unwrap();
        for (name, text) in files {
            let file = path.join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, text).unwrap();
            // One time for all copies: a file with the same size is the same version.
            fs::File::options().write(true).open(&file).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
        }
        let reader = Nfs::new(Settings::new(self.copies(source)), &jiff::tz::TimeZone::UTC).unwrap();
        self.index(source, at, &reader);
    }

    fn index(&self, source: &str, at: Time, reader: &dyn Source) {
        let row = Reader::open(&self.catalog()).unwrap().source(source).unwrap();
        let found = Found { taken_at: at, path: self.copies(source).join(at.view_name()) };
        let copy = NewCopy {
            source: &row,
            found: &found,
            store: &self.copies(source),
            again: false,
            settle: std::time::Duration::ZERO,
            root: None,
        };
        index_copy(&mut self.writer(), &copy, reader, &Fixed(NOW), &Void).unwrap();
    }

    fn tree(&self) -> Tree {
        self.tree_at(Arc::new(Fixed(NOW)))
    }

    fn tree_at(&self, clock: Arc<dyn Clock>) -> Tree {
        Tree::over(&self.catalog(), 16, clock, jiff::tz::TimeZone::UTC).unwrap()
    }

    /// Changes the catalog as a program does that is not here yet.
    fn sql(&self, text: &str) {
        rusqlite::Connection::open(self.catalog()).unwrap().execute_batch(text).unwrap();
    }

    /// Returns how many views of all sources were given a number, in all mounts.
    fn given(&self) -> u64 {
        fs::metadata(self.folder.path().join("catalog.db-views")).map_or(0, |file| file.len() / 32 - 1)
    }
}

/// A clock that is set by hand.
struct Hands(AtomicI64);

impl Hands {
    fn at(now: Time) -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(now.0)))
    }

    fn advance(&self, seconds: i64) {
        self.0.fetch_add(seconds, Ordering::Relaxed);
    }
}

impl Clock for Hands {
    fn now(&self) -> Time {
        Time(self.0.load(Ordering::Relaxed))
    }
}

fn attrs(kind: Kind) -> Attrs {
    let stamp = Timestamp { seconds: 1_000, nanos: 1 };
    Attrs {
        mode: kind.mode_bits() | 0o755,
        uid: 0,
        gid: 0,
        size_bytes: 7,
        allocated_bytes: None,
        mtime: stamp,
        ctime: stamp,
        nlink: 1,
        rdev: 0,
        xattrs: XattrSet::default(),
        target: Vec::new(),
    }
}

fn entry(name: &str, kind: Kind, inode: u64) -> ListedEntry {
    let key = FileKey { device: 1, inode, born_ns: 0 };
    ListedEntry {
        name: EntryName::new(name.as_bytes()).unwrap(),
        key,
        attrs: attrs(kind),
        unreadable: false,
        origin: 0,
    }
}

fn listing(number: u64, path: &str, entries: Vec<ListedEntry>) -> Listing {
    let root = (number == 0).then(|| (FileKey { device: 1, inode: 2, born_ns: 0 }, attrs(Kind::Directory)));
    let path = RelPath::parse(path.as_bytes()).unwrap();
    Listing { number, path, root, entries, complete: true, findings: Vec::new() }
}

/// A copy whose root holds `count` files `f00000`, `f00001`, ...
fn directory_of(count: u64) -> Told {
    Told(vec![listing(0, "", (0..count).map(|n| entry(&format!("f{n:05}"), Kind::File, n + 10)).collect())])
}

fn find(tree: &Tree, path: &str) -> Option<Stat> {
    let mut here = tree.stat(Ino::ROOT).unwrap().0;
    for name in path.split('/') {
        match tree.lookup(here.ino, name.as_bytes()).unwrap() {
            Looked::Found(stat, _) => here = stat,
            Looked::Missing(_) => return None,
        }
    }
    Some(here)
}

fn ino(tree: &Tree, path: &str) -> Ino {
    find(tree, path).unwrap_or_else(|| panic!("{path} is there")).ino
}

/// Returns the names after `offset`, without the dots, each with the offset that goes on after it.
fn names_after(tree: &Tree, dir: Ino, offset: u64) -> Vec<(String, u64)> {
    let mut names = Vec::new();
    tree.list(dir, offset, &mut |name, _, next, _| {
        if name != b"." && name != b".." {
            names.push((String::from_utf8(name.to_vec()).unwrap(), next));
        }
        ControlFlow::Continue(())
    })
    .unwrap();
    names
}

fn names(tree: &Tree, dir: Ino) -> Vec<String> {
    names_after(tree, dir, 0).into_iter().map(|(name, _)| name).collect()
}

/// Returns all that the top lists, the dots included, with the number of each.
fn listed(tree: &Tree) -> Vec<(String, Ino)> {
    let mut all = Vec::new();
    let mut each = |name: &[u8], stat: &Stat, _, _| {
        all.push((String::from_utf8(name.to_vec()).unwrap(), stat.ino));
        ControlFlow::Continue(())
    };
    tree.list(Ino::ROOT, 0, &mut each).unwrap();
    all
}

fn note(tree: &Tree, path: &str) -> String {
    match tree.content(ino(tree, path)).unwrap() {
        Content::Bytes(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
        Content::Stored { .. } => panic!("{path} is made up by the mount"),
    }
}

fn text(tree: &Tree, path: &str) -> String {
    let file = tree.open(ino(tree, path)).unwrap();
    let mut bytes = vec![0; file.size_bytes() as usize];
    file.read_at(&mut bytes, 0).unwrap();
    String::from_utf8(bytes).unwrap()
}

fn chain_of(error: &dyn std::error::Error) -> String {
    crate::model::chain(error)
}

/// Two sources; `homes` has Wednesday and Friday, `web` has Friday one hour later.
fn two_sources() -> World {
    let world = World::new().with_source("homes").with_source("web");
    world.generation("homes", WEDNESDAY, &[("a", "old")]);
    world.generation("homes", FRIDAY, &[("a", "newer"), ("b/c", "see")]);
    world.generation("web", Time(FRIDAY.0 + 3600), &[("index", "hello")]);
    world
}

#[test]
fn the_top_lists_notes_sources_and_the_instants_of_all() {
    let world = two_sources();
    let tree = world.tree();
    let expected = [".asof", "homes", "web", "@2026-11-18T020000Z", "@2026-11-20T020000Z", "@2026-11-20T030000Z"]
        .map(str::to_owned);
    assert_eq!(names(&tree, Ino::ROOT), expected);
    assert_eq!(names(&tree, ino(&tree, "homes")), ["@2026-11-18T020000Z", "@2026-11-20T020000Z"]);
    assert_eq!(names(&tree, ino(&tree, "@2026-11-20T030000Z")), ["homes", "web"]);
    assert_eq!(names(&tree, ino(&tree, "@2026-11-20T030000Z/homes/b")), ["c"]);
}

#[test]
fn a_date_shows_the_newest_generation_at_or_before_its_end() {
    let world = two_sources();
    let tree = world.tree();
    for date in ["@2026-11-20", "@yesterday", "@latest", "@now", "@-1d", "@2026-W47", "@1795140000"] {
        assert_eq!(text(&tree, &format!("{date}/homes/a")), "newer", "{date}");
    }
    for date in ["@2026-11-18", "@2026-11-19", "@oldest", "@-2d12h", "@2026-11-20T01:59:59"] {
        assert_eq!(text(&tree, &format!("homes/{date}/a")), "old", "{date}");
    }
    for none in ["@2026-11-17", "@2026-13-01", "@monday", "@", "2026-11-20", "@2026-11-20 ", "nosuch"] {
        assert_eq!(find(&tree, none), None, "{none}");
    }
    assert_eq!(names(&tree, Ino::ROOT).len(), 6, "a date is looked up and never listed");
}

#[test]
fn a_source_without_a_generation_by_then_is_absent_and_the_notes_say_why() {
    let world = two_sources().with_source("db");
    let tree = world.tree();
    let wednesday = "@2026-11-18T020000Z";
    assert_eq!(names(&tree, ino(&tree, wednesday)), ["homes"]);
    assert_eq!(find(&tree, &format!("{wednesday}/web")), None);
    assert_eq!(
        note(&tree, &format!("{wednesday}/.asof/absent")),
        "source=db\twhy=no generation yet\tabsent_before=none\n\
         source=web\twhy=no generation by then\tabsent_before=2026-11-20T03:00:00Z\n"
    );
    assert_eq!(note(&tree, "@latest/.asof/absent"), "source=db\twhy=no generation yet\tabsent_before=none\n");
    assert_eq!(note(&tree, "@latest/.asof/gaps"), "");
    assert_eq!(
        note(&tree, &format!("{wednesday}/.asof/sources")),
        "source=db\tkind=nfs\tgenerations=0\toldest=none\tnewest=none\tvisible_to=modes\n\
         source=homes\tkind=nfs\tgenerations=1\toldest=2026-11-18T02:00:00Z\tnewest=2026-11-18T02:00:00Z\tvisible_to=modes\n\
         source=web\tkind=nfs\tgenerations=0\toldest=none\tnewest=none\tvisible_to=modes\n"
    );
}

#[test]
fn notes_are_listed_at_the_top_and_hidden_in_views() {
    let world = two_sources();
    let tree = world.tree();
    let files = ["version", "version.json", "sources", "sources.json", "absent", "absent.json", "gaps", "gaps.json"];
    assert_eq!(names(&tree, ino(&tree, ".asof")), files);
    assert_eq!(names(&tree, ino(&tree, "@latest/.asof")), files);
    assert!(!names(&tree, ino(&tree, "@latest")).contains(&".asof".to_owned()));
    let json: serde_json::Value = serde_json::from_str(&note(&tree, ".asof/sources.json")).unwrap();
    assert_eq!(json[0]["source"], "homes");
    let size = find(&tree, ".asof/version").unwrap().size_bytes;
    assert_eq!(size, note(&tree, ".asof/version").len() as u64);
}

#[test]
fn each_name_of_a_date_has_a_number_of_its_own_that_stays() {
    let world = two_sources();
    let tree = world.tree();
    let dates = ["@2026-11-20", "@yesterday", "@latest", "@2026-11-20T030000Z"];
    let numbers: std::collections::BTreeSet<Ino> = dates.iter().map(|date| ino(&tree, date)).collect();
    assert_eq!(numbers.len(), dates.len());
    let again: std::collections::BTreeSet<Ino> = dates.iter().map(|date| ino(&tree, date)).collect();
    assert_eq!(again, numbers);
    assert_ne!(ino(&tree, "@latest/homes/a"), ino(&tree, "@yesterday/homes/a"));
    assert_ne!(ino(&tree, "homes/@latest"), ino(&tree, "homes/@yesterday"));
}

#[test]
fn a_directory_knows_the_one_above_it_in_its_own_view() {
    let world = two_sources();
    let tree = world.tree();
    for path in ["@2026-11-20T020000Z/homes/b", "@latest/homes/b", "@latest/web", "@latest/.asof", "homes/@latest"] {
        let above = path.rsplit_once('/').unwrap().0;
        assert_eq!(tree.parent(ino(&tree, path)).unwrap(), ino(&tree, above), "{path}");
    }
    for top in ["homes", "@latest", "@2026-11-20T020000Z", ".asof"] {
        assert_eq!(tree.parent(ino(&tree, top)).unwrap(), Ino::ROOT, "{top}");
    }
    assert_eq!(tree.parent(Ino::ROOT).unwrap(), Ino::ROOT);
}

#[test]
fn what_is_published_appears_with_the_next_refresh_and_not_before() {
    let world = two_sources();
    let tree = world.tree();
    assert_eq!(tree.refresh().unwrap(), None);
    let saturday = Time(FRIDAY.0 + 86_400);
    world.generation("homes", saturday, &[("a", "newest")]);
    assert_eq!(text(&tree, "@latest/homes/a"), "newer");
    let latest = ino(&tree, "@latest");
    let refreshed = tree.refresh().unwrap().expect("something was published");
    assert!(refreshed.inodes.contains(&Ino::ROOT) && refreshed.inodes.contains(&ino(&tree, "homes")));
    assert!(refreshed.names.contains(&(Ino::ROOT, b"@latest".to_vec())));
    assert_eq!(text(&tree, "@latest/homes/a"), "newest");
    assert_ne!(ino(&tree, "@latest"), latest, "another tree has another number");
    assert_eq!(names(&tree, latest), ["homes", "web"], "the old number goes on");
    assert_eq!(tree.refresh().unwrap(), None);
}

/// A view of all sources shows something else once a generation was put in before it, so its number is another one; who
/// has the old number open goes on to see what he saw, for an hour.
#[test]
fn a_generation_put_in_between_gives_the_views_that_it_changes_new_numbers() {
    let world = two_sources();
    let clock = Hands::at(NOW);
    let tree = world.tree_at(clock.clone());
    let views = ["@2026-11-18T020000Z", "@2026-11-20T020000Z", "@2026-11-20T030000Z"];
    let before = views.map(|name| ino(&tree, name));
    let own = ino(&tree, "homes/@2026-11-20T020000Z");
    world.generation("web", THURSDAY, &[("index", "early")]);
    let refreshed = tree.refresh().unwrap().expect("something was published");
    let after = views.map(|name| ino(&tree, name));
    assert_eq!(after[0], before[0], "it lies before");
    assert_ne!(after[1], before[1], "it has one source more");
    assert_eq!(after[2], before[2], "web has a generation of its own by then");
    assert_eq!(ino(&tree, "homes/@2026-11-20T020000Z"), own, "homes has not changed");
    assert_eq!(refreshed.names, [(Ino::ROOT, b"@2026-11-20T020000Z".to_vec())]);
    assert_eq!(names(&tree, before[1]), ["homes"]);
    assert_eq!(names(&tree, after[1]), ["homes", "web"]);
    assert_eq!(text(&tree, "@2026-11-20T020000Z/web/index"), "early");
    let Looked::Found(stat, _) = tree.lookup(before[1], b"homes").unwrap() else { panic!("it was there") };
    assert_eq!(names(&tree, stat.ino), ["a", "b"]);
    // Another mount, or the next one, never showed the old one.
    assert_eq!(world.tree().stat(before[1]).unwrap_err().class(), ErrorClass::Stale);
    clock.advance(GRACE_S - 1);
    tree.rest();
    assert_eq!(names(&tree, stat.ino), ["a", "b"]);
    clock.advance(1);
    tree.rest();
    for ino in [before[1], stat.ino] {
        assert_eq!(tree.stat(ino).unwrap_err().class(), ErrorClass::Stale);
    }
    assert_eq!(names(&tree, after[1]), ["homes", "web"]);
}

/// Of what is forgotten the rows are gone, and what is left at its instant is the tree of the one before.
#[test]
fn the_number_of_a_generation_that_is_forgotten_is_stale_at_once_and_so_is_that_of_a_view_with_it() {
    let world = two_sources();
    world.generation("web", THURSDAY, &[("index", "early")]);
    let tree = world.tree();
    let before: BTreeMap<_, _> = NAMES_OF_VIEWS.iter().map(|name| (*name, ino(&tree, name))).collect();
    let below = ino(&tree, "@2026-11-19T020000Z/web/index");
    world.sql(&format!("DELETE FROM generation WHERE taken_at = {}", THURSDAY.0));
    let refreshed = tree.refresh().unwrap().expect("something was forgotten");
    for gone in ["@2026-11-19T020000Z", "web/@2026-11-19T020000Z", "@2026-11-20T020000Z"] {
        assert_eq!(tree.stat(before[gone]).unwrap_err().class(), ErrorClass::Stale, "{gone}");
        let (dir, name) = gone.rsplit_once('/').map_or((Ino::ROOT, gone), |(dir, name)| (ino(&tree, dir), name));
        assert!(refreshed.names.contains(&(dir, name.as_bytes().to_vec())), "{gone}");
    }
    assert_eq!(tree.stat(below).unwrap_err().class(), ErrorClass::Stale);
    for stays in ["@2026-11-18T020000Z", "@2026-11-20T030000Z", "homes/@2026-11-20T020000Z"] {
        assert_eq!(ino(&tree, stays), before[stays], "{stays}");
    }
    assert_eq!(names(&tree, ino(&tree, "@2026-11-20T020000Z")), ["homes"]);
}

/// All views of [`two_sources`] with a Thursday of `web`.
const NAMES_OF_VIEWS: [&str; 8] = [
    "@2026-11-18T020000Z",
    "@2026-11-19T020000Z",
    "@2026-11-20T020000Z",
    "@2026-11-20T030000Z",
    "homes/@2026-11-18T020000Z",
    "homes/@2026-11-20T020000Z",
    "web/@2026-11-19T020000Z",
    "web/@2026-11-20T030000Z",
];

#[test]
fn a_generation_that_is_indexed_again_is_another_one_wherever_it_is_seen() {
    let world = two_sources();
    let tree = world.tree();
    let view = |name: &str| ino(&tree, name);
    let old = (view("homes/@2026-11-20"), view("homes/@2026-11-20T020000Z"), view("@2026-11-20T030000Z"));
    let kept = (view("homes/@2026-11-18T020000Z"), view("@2026-11-18T020000Z"), view("web/@2026-11-20T030000Z"));
    world.sql(&format!(
        "UPDATE object SET generation = 99 WHERE at = {0}; UPDATE generation SET id = 99 WHERE taken_at = {0}",
        FRIDAY.0
    ));
    tree.refresh().unwrap().expect("something was indexed again");
    for ino in [old.0, old.1, old.2] {
        assert_eq!(tree.stat(ino).unwrap_err().class(), ErrorClass::Stale);
    }
    assert_eq!((view("homes/@2026-11-18T020000Z"), view("@2026-11-18T020000Z"), view("web/@2026-11-20T030000Z")), kept);
    assert_eq!(text(&tree, "homes/@2026-11-20/a"), "newer");
    assert_eq!(text(&tree, "@2026-11-20/homes/a"), "newer");
}

#[test]
fn what_is_indexed_again_has_no_bytes_under_an_older_number_before_the_mount_has_seen_it() {
    let world = two_sources();
    let tree = world.tree();
    let (old, other) = (ino(&tree, "homes/@2026-11-20/a"), ino(&tree, "homes/@2026-11-18/a"));
    world.sql(&format!(
        "UPDATE object SET generation = 99 WHERE at = {0}; UPDATE generation SET id = 99 WHERE taken_at = {0}",
        FRIDAY.0
    ));
    // A reader that is opened now sees it; what the kernel was told of the file is of the generation before.
    tree.readers.turn().unwrap();
    tree.copies.clear();
    assert_eq!(tree.open(old).map(drop).unwrap_err().class(), ErrorClass::Stale);
    assert_eq!(tree.stat(old).unwrap_err().class(), ErrorClass::Stale);
    assert!(tree.open(other).is_ok() && tree.stat(other).is_ok());
    tree.refresh().unwrap().expect("something was indexed again");
    assert_eq!(text(&tree, "homes/@2026-11-20/a"), "newer");
}

#[test]
fn a_view_has_one_number_in_all_mounts_after_a_restart_and_when_it_comes_back() {
    let world = two_sources();
    let (first, second) = (world.tree(), world.tree());
    let friday = ino(&second, "@2026-11-20T020000Z");
    let before = listed(&first);
    assert!(before.contains(&("@2026-11-20T020000Z".to_owned(), friday)));
    assert_eq!(listed(&second), before);
    assert_eq!(world.given(), 3);
    let third = world.tree();
    assert_eq!(names(&third, friday), ["homes"], "by its number, before anything was looked up");
    assert_eq!(listed(&third), before);
    world.generation("web", THURSDAY, &[("index", "early")]);
    for tree in [&first, &second, &third] {
        tree.refresh().unwrap();
    }
    assert_ne!(ino(&first, "@2026-11-20T020000Z"), friday);
    assert_eq!(ino(&second, "@2026-11-20T020000Z"), ino(&first, "@2026-11-20T020000Z"));
    world.sql(&format!("DELETE FROM generation WHERE taken_at = {}", THURSDAY.0));
    for tree in [&first, &second, &third, &world.tree()] {
        tree.refresh().unwrap();
        assert_eq!(ino(tree, "@2026-11-20T020000Z"), friday, "the view that it was");
        assert_eq!(listed(tree), before);
    }
    assert_eq!(world.given(), 4);
}

#[test]
fn the_views_of_a_catalog_that_was_put_back_have_numbers_above_all_others() {
    let world = two_sources();
    let tree = world.tree();
    let before: Vec<Ino> = ["@2026-11-18T020000Z", "@latest"].iter().map(|name| ino(&tree, name)).collect();
    names(&tree, Ino::ROOT);
    assert_eq!(world.given(), 3);
    world.sql("UPDATE catalog SET incarnation = incarnation + 1");
    tree.refresh().unwrap().expect("it is another one");
    for ino in &before {
        assert_eq!(tree.stat(*ino).unwrap_err().class(), ErrorClass::Stale);
    }
    let after = ino(&tree, "@2026-11-18T020000Z");
    assert_eq!(
        after,
        Ino::of_view(ViewId((1 << 26) + 5)),
        "above a record of the catalog, three views and another record"
    );
    assert_eq!(ino(&world.tree(), "@2026-11-18T020000Z"), after);
}

/// 100 sources with 100 nightly generations each, at minutes of their own.
#[test]
fn ten_thousand_generations_need_ten_thousand_numbers_and_the_next_one_needs_one() {
    let mut world = World::new();
    for n in 0..100 {
        world = world.with_source(&format!("s{n:02}"));
        world.generation(&format!("s{n:02}"), Time(WEDNESDAY.0 + n * 60), &[]);
    }
    world.sql(
        "WITH RECURSIVE night(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM night WHERE n < 99)
         INSERT INTO generation(source, taken_at, number, sequence, level, status, losses, first_content)
         SELECT source, taken_at + n * 86400, n + 1, n + 1, 'full', 'published', 0, 1 FROM night, generation ORDER BY n, source",
    );
    let later = Time(WEDNESDAY.0 + 100 * 86_400);
    let tree = world.tree_at(Hands::at(later));
    let before = listed(&tree);
    assert_eq!(before.len(), 2 + 1 + 100 + 10_000);
    assert_eq!(world.given(), 10_000);
    let (mut views, mut sources) = (std::collections::BTreeSet::new(), 0);
    for (night, (name, view)) in before.iter().filter(|(name, _)| name.starts_with('@')).enumerate() {
        assert_eq!(ino(&tree, name), *view, "{name}");
        assert!(view.0 < 1 << 63 && views.insert(*view), "{name}");
        if night % 500 == 50 {
            let shown = names(&tree, *view);
            assert_eq!(shown.len(), if night == 50 { 51 } else { 100 }, "{name}");
            sources += shown.len();
        }
    }
    assert_eq!(sources, 51 + 19 * 100);
    world.generation("s42", later, &[]);
    tree.refresh().unwrap().expect("something was published");
    let after = listed(&tree);
    assert_eq!(after[..before.len()], before, "nothing is numbered anew");
    assert_eq!((after.len(), world.given()), (before.len() + 1, 10_001));
    // Put in late, on the second of 100 nights: what the 100 instants until the next one of its source show is another tree.
    world.generation("s42", Time(WEDNESDAY.0 + 86_400 + 42 * 60 + 1), &[]);
    tree.refresh().unwrap().expect("something was published");
    let renumbered = listed(&tree).iter().filter(|view| !after.contains(view)).count();
    assert_eq!(renumbered, 100);
    assert_eq!(world.given(), 10_101);
}

#[test]
fn dates_that_are_looked_up_use_nothing_up() {
    let world = two_sources();
    let tree = world.tree();
    let inside = ino(&tree, "@2026-11-20/homes/b");
    names(&tree, Ino::ROOT);
    assert_eq!(world.given(), 3);
    let oldest = NOW.0 - WEDNESDAY.0;
    for n in 0..100_000 {
        let date = format!("@-{}s", n % oldest);
        assert!(find(&tree, &date).is_some_and(|stat| stat.ino.0 < 1 << 63), "{date}");
    }
    assert_eq!(world.given(), 3);
    assert_eq!(names(&tree, inside), ["c"]);
    assert_eq!(text(&tree, "@2026-11-20/homes/b/c"), "see");
    assert_eq!(text(&tree, "@2026-11-19/homes/a"), "old", "a new one resolves");
    assert_eq!(text(&tree, "homes/@-12345s/a"), "newer");
}

/// What a tree keeps in memory goes by node and instant; both come again when a source is removed and the same
/// copies are added under another one.
#[test]
fn a_source_that_takes_the_place_of_a_removed_one_shows_its_own_files() {
    let world = World::new().with_source("homes");
    world.generation("homes", FRIDAY, &[("a", "first")]);
    let tree = world.tree();
    assert_eq!(text(&tree, "@latest/homes/a"), "first");
    assert_eq!(names(&tree, ino(&tree, "@latest/homes")), ["a"]);
    let old_file = ino(&tree, "@latest/homes/a");
    let old = Reader::open(&world.catalog()).unwrap().source("homes").unwrap();
    world.writer().remove_source(old.id).unwrap();
    let world = world.with_source("other");
    world.generation("other", FRIDAY, &[("b", "second")]);
    tree.refresh().unwrap();
    assert_eq!(names(&tree, ino(&tree, "@latest/other")), ["b"]);
    assert_eq!(text(&tree, "@latest/other/b"), "second");
    assert!(tree.stat(old_file).is_err(), "the old number does not lead to a file of the new source");
}

#[test]
fn a_listing_of_ten_thousand_names_is_one_query_for_4096_of_them() {
    let world = World::new().with_source("homes");
    world.index("homes", FRIDAY, &directory_of(10_000));
    let tree = world.tree();
    let root = ino(&tree, "homes/@latest");
    tree.stat(ino(&tree, "homes/@latest/f00000")).unwrap();
    let before = tree.query_count();
    assert_eq!(names(&tree, root).len(), 10_000);
    assert_eq!(tree.query_count() - before, 1 + 3, "the directory itself, then three windows");
    let before = tree.query_count();
    assert_eq!(names(&tree, root).len(), 10_000);
    assert_eq!(tree.query_count() - before, 1, "the windows are kept");
    let before = tree.query_count();
    let file = ino(&tree, "homes/@latest/f09999");
    assert_eq!(tree.query_count() - before, 1 + 2, "the root's attributes, then a look-up is two");
    let before = tree.query_count();
    tree.stat(file).unwrap();
    assert_eq!(tree.query_count() - before, 1);
    let before = tree.query_count();
    assert_eq!(tree.xattr(file, b"security.capability").unwrap(), None);
    assert_eq!(tree.xattr_names(file).unwrap(), Vec::<Vec<u8>>::new());
    assert_eq!(tree.query_count() - before, 0, "a node without attributes is answered from memory");
    let before = tree.query_count();
    names(&tree, Ino::ROOT);
    find(&tree, "@yesterday");
    assert_eq!(tree.query_count() - before, 0, "the top is in memory");
}

#[test]
fn one_query_tells_which_nodes_have_attributes() {
    let world = World::new().with_source("homes");
    let mut copy = directory_of(100);
    let recorded = [("user.a", "1"), ("user.asof.source", "a file's own")];
    let recorded = recorded.map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()));
    copy.0[0].entries[7].attrs.xattrs = XattrSet::new(recorded.to_vec());
    world.index("homes", FRIDAY, &copy);
    let tree = world.tree();
    assert_eq!(tree.xattr_need(), XattrNeed::Plain);
    let files: Vec<Ino> = (0..100).map(|n| ino(&tree, &format!("homes/@latest/f{n:05}"))).collect();
    let before = tree.query_count();
    let with: Vec<usize> = (0..100).filter(|n| !tree.xattr_names(files[*n]).unwrap().is_empty()).collect();
    assert_eq!(with, [7]);
    assert_eq!(tree.query_count() - before, 1 + 2, "the bits, then version and set of the one that has some");
    assert_eq!(tree.xattr(files[7], b"user.a").unwrap(), Some(b"1".to_vec()));
    assert_eq!(tree.xattr(files[7], b"user.asof.generation").unwrap(), Some(b"2026-11-20T02:00:00Z".to_vec()));
    assert_eq!(
        tree.xattr(files[7], b"user.asof.source").unwrap(),
        Some(b"a file's own".to_vec()),
        "what was backed up"
    );
    assert_eq!(tree.xattr(files[8], b"user.asof.source").unwrap(), Some(b"homes".to_vec()));
}

#[test]
fn which_names_of_attributes_were_ever_recorded_is_one_query_after_a_publication() {
    let with = |names: &[&str]| {
        let mut copy = directory_of(2);
        let items = names.iter().map(|name| (name.as_bytes().to_vec(), b"1".to_vec())).collect();
        copy.0[0].entries[0].attrs.xattrs = XattrSet::new(items);
        copy
    };
    let world = World::new().with_source("homes");
    world.index("homes", THURSDAY, &directory_of(2));
    let tree = world.tree();
    let known = |name: &str| tree.may_have_xattr(name.as_bytes()).unwrap();
    let before = tree.query_count();
    assert!(!known("security.selinux") && known("user.asof.source"));
    assert_eq!(tree.query_count() - before, 0, "there is no attribute at all");
    world.index("homes", FRIDAY, &with(&["security.capability", "user.a", "userx.a"]));
    tree.refresh().unwrap();
    let before = tree.query_count();
    for _ in 0..3 {
        assert!(known("security.capability") && known("user.b") && known("userx.a"));
        assert!(!known("security.selinux") && !known("security.") && !known("trusted.a"));
    }
    assert_eq!(tree.query_count() - before, 1);
}

#[test]
fn a_listing_goes_on_after_any_name() {
    let world = two_sources();
    let tree = world.tree();
    for dir in [Ino::ROOT, ino(&tree, "homes"), ino(&tree, "@latest"), ino(&tree, "@latest/homes"), ino(&tree, ".asof")]
    {
        let all = names_after(&tree, dir, 0);
        for (place, (_, offset)) in all.iter().enumerate() {
            assert_eq!(names_after(&tree, dir, *offset), all[place + 1..]);
        }
        assert_eq!(names_after(&tree, dir, 1_000_000), []);
    }
}

#[test]
fn a_large_directory_is_listed_from_any_offset_by_a_tree_that_never_saw_it() {
    let world = World::new().with_source("homes");
    world.index("homes", FRIDAY, &directory_of(12_289));
    // Inside, at and around the windows of 4,096 names, and at the end; two of the offset are the dots.
    for start in [1, 4095, 4096, 4097, 8192, 8193, 12_287, 12_288, 12_289] {
        let tree = world.tree();
        let rest = names_after(&tree, ino(&tree, "homes/@latest"), start + 2);
        let expected: Vec<(String, u64)> = (start..12_289).map(|n| (format!("f{n:05}"), n + 3)).collect();
        assert_eq!(rest.len(), expected.len(), "after {start}");
        assert_eq!(rest, expected, "after {start}");
    }
}

#[test]
fn a_file_that_one_copy_lost_is_read_from_another_with_the_same_version() {
    let world = World::new().with_source("homes");
    for at in [WEDNESDAY, THURSDAY, FRIDAY] {
        world.generation("homes", at, &[("a", "kept")]);
    }
    fs::remove_file(world.copies("homes").join(THURSDAY.view_name()).join("a")).unwrap();
    assert_eq!(text(&world.tree(), "@2026-11-19/homes/a"), "kept");
}

#[test]
fn a_file_that_no_copy_has_as_it_was_indexed_fails_and_tells_what_was_tried() {
    let world = World::new().with_source("homes");
    for at in [WEDNESDAY, THURSDAY] {
        world.generation("homes", at, &[("a", "kept")]);
    }
    let copies = world.copies("homes");
    fs::remove_file(copies.join(THURSDAY.view_name()).join("a")).unwrap();
    fs::write(copies.join(WEDNESDAY.view_name()).join("a"), "longer").unwrap();
    let epoch = std::time::UNIX_EPOCH;
    fs::File::options()
        .write(true)
        .open(copies.join(WEDNESDAY.view_name()).join("a"))
        .unwrap()
        .set_modified(epoch)
        .unwrap();
    let tree = world.tree();
    let error = tree.open(ino(&tree, "@2026-11-19/homes/a")).unwrap_err();
    assert_eq!(error.class(), ErrorClass::Io);
    let copies = copies.display();
    assert_eq!(
        chain_of(&error),
        format!(
            "\"homes/a\" as of 2026-11-19T02:00:00Z has no bytes: file \"{copies}/2026-11-19T020000Z/a\" is missing; \
             \"{copies}/2026-11-18T020000Z/a\" changed after it was indexed: found 6 bytes of 1970-01-01T00:00:00.000000000Z, \
             expected 4 bytes of 1970-01-01T00:00:00.000000000Z"
        )
    );
}

#[test]
fn a_listing_shows_what_was_seen_and_ends_with_an_error_and_what_was_not_seen_is_looked_up_as_unknown() {
    let world = World::new().with_source("homes");
    let root = || listing(0, "", vec![entry("dir", Kind::Directory, 10)]);
    let (a, b) = (entry("a", Kind::File, 11), entry("b", Kind::File, 12));
    let below = listing(2, "dir/sub", vec![entry("x", Kind::File, 14)]);
    let whole = listing(1, "dir", vec![a.clone(), b, entry("sub", Kind::Directory, 13)]);
    world.index("homes", THURSDAY, &Told(vec![root(), whole, below]));
    let mut closed = listing(1, "dir", vec![a]);
    closed.complete = false;
    closed.findings = vec![Finding {
        kind: FindingKind::Unreadable,
        path: RelPath::parse(b"dir").unwrap(),
        detail: "Input/output error (os error 5)".to_owned(),
    }];
    world.index("homes", FRIDAY, &Told(vec![root(), closed]));
    let tree = world.tree();
    let shown = |dir: Ino| {
        let mut names = Vec::new();
        let ended = tree.list(dir, 0, &mut |name, _, _, _| {
            names.push(String::from_utf8(name.to_vec()).unwrap());
            ControlFlow::Continue(())
        });
        (names.join(" "), ended.map_err(|e| e.to_string()))
    };
    let unlisted = |what| {
        Err(format!(
            "\"homes/{what}\" as of 2026-11-20T02:00:00Z cannot be listed: it could not be read when it was indexed"
        ))
    };
    let (dir, sub) = (ino(&tree, "@latest/homes/dir"), ino(&tree, "@latest/homes/dir/sub"));
    assert_eq!(shown(dir), (". .. a".to_owned(), unlisted("dir")));
    assert_eq!(shown(sub), (". ..".to_owned(), unlisted("dir/sub")));
    assert_eq!(tree.lookup(dir, b"new").unwrap_err().to_string(), unlisted("dir").unwrap_err());
    let evidence = |path| tree.xattr(ino(&tree, path), b"user.asof.evidence").unwrap().unwrap();
    assert_eq!(evidence("@latest/homes/dir/a"), b"seen in a full copy");
    assert_eq!(evidence("@latest/homes/dir/b"), b"unknown");
    assert_eq!(evidence("@latest/homes/dir/sub/x"), b"unknown");
    assert_eq!(evidence("@2026-11-19T020000Z/homes/dir/b"), b"seen in a full copy");
}

#[test]
fn what_could_not_be_read_when_it_was_indexed_fails_and_is_no_empty_directory() {
    let world = World::new().with_source("homes");
    let mut lost_link = entry("link", Kind::Symlink, 11);
    lost_link.unreadable = true;
    let mut closed = listing(1, "dir", Vec::new());
    closed.complete = false;
    closed.findings = vec![Finding {
        kind: FindingKind::Unreadable,
        path: RelPath::parse(b"dir").unwrap(),
        detail: "Permission denied (os error 13)".to_owned(),
    }];
    world.index(
        "homes",
        FRIDAY,
        &Told(vec![listing(0, "", vec![entry("dir", Kind::Directory, 10), lost_link]), closed]),
    );
    let tree = world.tree();
    let (dir, link) = (ino(&tree, "@latest/homes/dir"), ino(&tree, "@latest/homes/link"));
    let told = tree.list(dir, 0, &mut |_, _, _, _| ControlFlow::Continue(())).unwrap_err();
    let unlisted =
        "\"homes/dir\" as of 2026-11-20T02:00:00Z cannot be listed: it could not be read when it was indexed";
    assert_eq!((told.to_string().as_str(), told.class()), (unlisted, ErrorClass::Io));
    assert_eq!(tree.lookup(dir, b"x").unwrap_err().to_string(), unlisted);
    assert_eq!(
        tree.readlink(link).unwrap_err().to_string(),
        "\"homes/link\" as of 2026-11-20T02:00:00Z has no target: they could not be read when it was indexed"
    );
    assert_eq!(
        tree.xattr_names(link).unwrap_err().to_string(),
        "\"homes/link\" as of 2026-11-20T02:00:00Z has no extended attributes: they could not be read when it was indexed"
    );
    assert_eq!(
        note(&tree, ".asof/gaps"),
        "source=homes\tgeneration=2026-11-20T02:00:00Z\tlosses=1\tgaps=0\tunsupported=0\tsee=asof show homes@2026-11-20T020000Z\n"
    );
}

#[test]
fn a_question_that_does_not_fit_what_it_is_asked_of_is_refused_by_name() {
    let world = two_sources();
    let tree = world.tree();
    let (dir, file) = (ino(&tree, "@latest/homes/b"), ino(&tree, "@latest/homes/a"));
    let list = |ino| tree.list(ino, 0, &mut |_, _, _, _| ControlFlow::Continue(())).unwrap_err();
    let cases = [
        (list(file), "\"homes/a\" as of 2026-11-20T02:00:00Z is not a directory", ErrorClass::NotADirectory),
        (
            tree.readlink(file).unwrap_err(),
            "\"homes/a\" as of 2026-11-20T02:00:00Z is not a symbolic link",
            ErrorClass::Invalid,
        ),
        (
            tree.open(dir).unwrap_err(),
            "\"homes/b\" as of 2026-11-20T02:00:00Z is not a regular file",
            ErrorClass::IsADirectory,
        ),
        (tree.stat(Ino(5)).unwrap_err(), "inode 0x5 belongs to no view", ErrorClass::NotFound),
        (
            tree.stat(Ino(999 << 36 | 65_536)).unwrap_err(),
            "inode 0x3e7000010000 belongs to view 999, which is not there any more",
            ErrorClass::Stale,
        ),
        (
            tree.stat(Ino((dir.0 & !0xffff) | 0xfff0)).unwrap_err(),
            &format!("inode {:#x} is not there as of 2026-11-20T02:00:00Z", (dir.0 & !0xffff) | 0xfff0),
            ErrorClass::Stale,
        ),
    ];
    for (error, expected, class) in cases {
        assert_eq!((error.to_string().as_str(), error.class()), (expected, class));
    }
}

#[test]
fn a_copy_that_is_another_directory_is_an_error_that_says_what_finds_it() {
    let world = World::new().with_source("homes");
    world.generation("homes", WEDNESDAY, &[("f", "aaaa")]);
    let tree = world.tree();
    let file = ino(&tree, "@latest/homes/f");
    let copy = world.copies("homes").join(WEDNESDAY.view_name());
    // Beside the others it would be found.
    fs::rename(&copy, world.copies("homes").with_file_name("away")).unwrap();
    fs::create_dir(&copy).unwrap();
    fs::write(copy.join("f"), "bbbb").unwrap();
    fs::File::options().write(true).open(copy.join("f")).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    let error = tree.open(file).unwrap_err();
    let text = error.to_string();
    let begins =
        format!("\"homes/f\" as of 2026-11-18T02:00:00Z has no bytes: copy \"{}\" is another dir", copy.display());
    assert!(text.starts_with(&begins), "{text}");
    assert_eq!(error.hint().as_deref(), Some("asof index homes finds where its copies are now"));
    assert_eq!((error.class(), error.is_in_the_log()), (ErrorClass::Io, true));
}

#[test]
fn a_catalog_that_is_another_file_is_not_gone_on_with() {
    let world = World::new().with_source("homes");
    let tree = world.tree();
    assert!(tree.refresh().unwrap().is_none());
    let kept = world.folder.path().join("kept");
    fs::copy(world.catalog(), &kept).unwrap();
    fs::rename(&kept, world.catalog()).unwrap();
    let error = tree.refresh().unwrap_err();
    let expected = format!(
        "the catalog {:?} is not the one that was opened: it was put back from a copy, moved, or its log was removed",
        world.catalog()
    );
    assert_eq!(error.to_string(), expected);
    assert_eq!(error.hint().as_deref(), Some("mount again: what is at its path now may number other things alike"));
}

/// Snapshots may be kept for an hour after each of many publications.
#[test]
fn what_was_asked_of_histories_goes_with_the_next_publication_and_not_with_the_snapshot() {
    let world = World::new().with_source("homes");
    world.generation("homes", WEDNESDAY, &[("f", "aaaa")]);
    let tree = world.tree();
    let file = ino(&tree, "homes/@history/f/@latest");
    let between = ino(&tree, "homes/@latest..@latest");
    tree.list(between, 0, &mut |_, _, _, _| ControlFlow::Continue(())).unwrap();
    let old = tree.snapshot();
    assert!(!old.past.is_empty());
    world.generation("homes", FRIDAY, &[("f", "bbbbbb")]);
    tree.refresh().unwrap().unwrap();
    assert!(old.past.is_empty());
    assert_ne!(ino(&tree, "homes/@history/f/@latest"), file);
    assert_eq!(ino(&tree, "homes/@latest/f").0 & 0xf_ffff_ffff, file.0 & 0xf_ffff_ffff, "one file, in two generations");
}
