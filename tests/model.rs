//! The model of the catalog's algebra, against the naive model: what later laws of the real catalog rest on.
//!
//! Random histories are made of their seed alone; a violation names the seed, the setting and what was done.
//! `ASOF_SOAK=SECONDS cargo test --test model -- --ignored` goes on with other seeds for that long.

#[path = "model/mod.rs"]
mod model;
#[path = "model/recorded.rs"]
mod recorded;

use model::*;
use std::time::Duration;

const STAMP: Setting = Setting::new(Rule::Stamp);
const DIGEST: Setting = Setting::new(Rule::Digest);
const WRITE: Setting = Setting::new(Rule::Write);
const DISK: Setting = Setting::new(Rule::Disk);

const SETTINGS: [Setting; 11] = [
    STAMP,
    DIGEST,
    WRITE,
    DISK,
    STAMP.with_doubts(),
    DIGEST.with_doubts(),
    WRITE.with_doubts(),
    DISK.with_doubts(),
    STAMP.by_path(),
    DIGEST.by_path(),
    DIGEST.by_path().with_doubts(),
];

/// Puts walks in, in this order.
fn catalog(setting: Setting, walks: &[(Instant, &str)]) -> Catalog {
    let mut catalog = Catalog::new(setting);
    for (at, walk) in walks {
        put_in(&mut catalog, *at, walk);
    }
    catalog
}

fn put_in(catalog: &mut Catalog, at: Instant, walk: &str) {
    let walk = catalog.recognise(at, &Walk::of(walk));
    let object = catalog.new_object(at);
    catalog.insert(&Insertion { at, walk, object, places: [].into(), paths: [].into() });
}

/// Returns the paths of a generation, sorted; kept ones end with `?`.
fn shown(catalog: &Catalog, at: Instant) -> String {
    let (names, seen) = (catalog.state(Some(at)), catalog.seen(at));
    let tree = Tree { names, ..Tree::default() };
    let mut paths: Vec<(String, &str)> =
        tree.names.keys().map(|slot| (tree.path(*slot), if seen.contains_key(slot) { "" } else { "?" })).collect();
    paths.sort();
    paths.into_iter().map(|(path, mark)| path + mark).collect::<Vec<_>>().join(" ")
}

/// Returns the node at a path of one name.
fn node(catalog: &Catalog, at: Instant, name: char) -> Node {
    catalog.state(Some(at))[&(ROOT, name)]
}

// Histories.

#[test]
fn histories_recorded_of_another_implementation_come_out_row_by_row() {
    let recorded = match std::env::var("ASOF_HISTORIES") {
        Ok(path) => std::fs::read(&path).unwrap_or_else(|e| panic!("cannot read {path}: {e}")),
        Err(_) => zstd::decode_all(&include_bytes!("data/model/histories.jsonl.zst")[..]).expect("it is whole"),
    };
    let lines = String::from_utf8(recorded).expect("JSON is UTF-8");
    let states: usize = lines.lines().map(recorded::replay).sum();
    println!("{} histories, {states} states", lines.lines().count());
    assert!(lines.lines().count() >= 300, "{} histories", lines.lines().count());
}

#[test]
fn any_history_leaves_the_rows_of_indexing_what_is_left_in_order() {
    for setting in SETTINGS {
        let states: usize =
            (0..400).map(|seed| run(seed, setting).unwrap_or_else(|violation| panic!("{violation}"))).sum();
        assert!(states > 2000, "{states} states of {setting:?}");
    }
}

#[test]
fn every_state_that_a_small_world_can_reach_is_that_of_indexing_in_order() {
    let mut dice = Dice::new(7);
    for (setting, instants, histories) in
        [(STAMP, 4, 100), (DIGEST, 4, 100), (STAMP.with_doubts(), 4, 100), (DIGEST.with_doubts(), 4, 200)]
    {
        let edges: usize = (0..histories).map(|_| small_world(&mut dice, setting, instants)).sum();
        assert!(edges > histories * 100, "{edges} edges of {setting:?}");
    }
}

fn small_world(dice: &mut Dice, setting: Setting, instants: Instant) -> usize {
    let walks = small_walks(setting.has_doubts);
    let truth: Truth = (1..=instants).map(|i| (i * 10, dice.pick(&walks).clone())).collect();
    exhaustive(setting, &truth).unwrap_or_else(|violation| panic!("{violation}"))
}

#[test]
#[ignore = "takes as long as ASOF_SOAK says, in seconds"]
fn more_histories_and_small_worlds() {
    let seconds = std::env::var("ASOF_SOAK").map_or(60, |text| text.parse().expect("ASOF_SOAK is seconds"));
    let (began, mut seed, mut states, mut edges) = (std::time::Instant::now(), 1000, 0, 0);
    while began.elapsed() < Duration::from_secs(seconds) {
        for setting in SETTINGS {
            states += run(seed, setting).unwrap_or_else(|violation| panic!("{violation}"));
        }
        let mut dice = Dice::new(seed);
        for setting in [STAMP, DIGEST, STAMP.with_doubts(), DIGEST.with_doubts()] {
            edges += small_world(&mut dice, setting, 3 + (seed % 2) as Instant);
        }
        seed += 1;
    }
    println!("{} histories, {states} states; {edges} edges of small worlds", (seed - 1000) * SETTINGS.len() as u64);
}

// Rules.

#[test]
fn a_rule_that_is_left_out_is_noticed() {
    use Break::*;
    let cases = [
        (PinsOnlyBetween, WRITE, "the path of"),
        (PinsByNotes, WRITE, "the path of"),
        (PinsOnlyForLater, WRITE, "the path of"),
        (PinsAfterNames, WRITE, "the path of"),
        (NoPathsInManifest, WRITE, "the path of"),
        (ObjectsByInstant, WRITE, "bytes of"),
        (GcWithoutParents, DISK, "the disk of"),
        (VersionsOverGaps, STAMP, "views differ"),
        (MovedVersionAlone, STAMP, "views differ"),
        (OlderBirthsOnly, STAMP, "names at"),
        (BirthsStay, STAMP, "names at"),
        (DeadVersionsStay, STAMP, "views differ"),
        (NoJoin, STAMP, "adjacent"),
        (ForkStays, STAMP, "the fork is"),
        (NotesWithoutLife, STAMP, "notes at"),
        (BytesByInstant, DIGEST, "bytes of"),
        (SomeDigests, DIGEST, "bytes of"),
        (NumberByStamp, DISK, "bytes of"),
        (EditsOnAnyBase, WRITE, "names at"),
        (DoubtsStay, DIGEST.with_doubts(), "names at"),
        (NextOnly, DIGEST.with_doubts(), "names at"),
        (KeptUnmarked, DIGEST.with_doubts(), "names at"),
        (KeptSeen, DIGEST.with_doubts(), "names at"),
        (DirectoriesTwice, DIGEST.with_doubts(), "names at"),
        (NoSubtrees, DIGEST.with_doubts(), "names at"),
        (LinksWithKept, DIGEST.with_doubts(), "version of"),
        (KeptPaths, WRITE.with_doubts(), "bytes of"),
        (IdentityOfNeighbours, DIGEST.by_path(), "views differ"),
        (IdentityOfAnyLink, DIGEST.by_path(), "views differ"),
        (IdentityOfAnyName, DIGEST.by_path(), "views differ"),
        (IdentityOfKept, DIGEST.by_path().with_doubts(), "views differ"),
    ];
    for (rule, setting, what) in cases {
        let is_caught = |seed| run(seed, setting.without(rule)).is_err_and(|violation| violation.0.contains(what));
        assert!((0..1500).any(is_caught), "{rule:?} goes unnoticed");
    }
}

#[test]
fn a_kept_directory_that_does_not_bring_its_names_is_noticed_in_a_small_world() {
    let (mut dice, walks) = (Dice::new(1), small_walks(true));
    let setting = DIGEST.with_doubts().without(Break::NamesOneByOne);
    let is_caught = |_| {
        let truth: Truth = (1..=4).map(|i| (i * 10, dice.pick(&walks).clone())).collect();
        exhaustive(setting, &truth).is_err_and(|violation| violation.0.contains("names at"))
    };
    assert!((0..200).any(is_caught), "it goes unnoticed");
}

// Objects.

/// Takes the same file four times, whole, and forgets all generations but the newest; returns what objects are left.
fn objects_left(setting: Setting) -> Vec<ObjectId> {
    let mut catalog = Catalog::new(setting);
    for at in [10, 20, 30, 40] {
        let object = catalog.new_object(at);
        let content = Content::Files { is_full: true, files: [("a".to_owned(), 0)].into() };
        catalog.objects.insert(object, Object { at, content });
        let held = if at == 10 { None } else { Some((3, 1)) };
        let paths = held.map(|(node, _)| (node, "a".to_owned()));
        let (places, paths) = (held.into_iter().collect(), paths.into_iter().collect());
        catalog.insert(&Insertion { at, walk: Walk::of("a=3"), object, places, paths });
    }
    for at in [10, 20, 30] {
        catalog.forget(at);
        catalog.gc();
    }
    catalog.objects.into_keys().collect()
}

#[test]
fn a_full_copy_frees_those_before_it_of_a_file_that_never_changes() {
    assert_eq!(objects_left(WRITE), [4]);
    assert_eq!(objects_left(WRITE.without(Break::PlacesForEver)), [1, 4]);
}

#[test]
fn a_layer_stays_as_long_as_one_that_stays_needs_it_at_any_depth() {
    let mut catalog = Catalog::new(DISK);
    for (at, parent) in [(10, None), (20, Some(1)), (30, Some(2)), (40, None)] {
        let object = catalog.new_object(at);
        let cells = if parent.is_none() { [(0, 0), (1, 0)].into() } else { [(1, object as u8)].into() };
        catalog.objects.insert(object, Object { at, content: Content::Layer { parent, cells } });
        catalog.insert(&Insertion { at, walk: Walk::of("a=3"), object, places: [].into(), paths: [].into() });
    }
    catalog.forget(10);
    catalog.forget(20);
    catalog.gc();
    assert_eq!(catalog.objects.keys().copied().collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert_eq!((catalog.read_disk(3, 0), catalog.read_disk(3, 1)), (Some(0), Some(3)));
    catalog.forget(30);
    catalog.gc();
    assert_eq!(catalog.objects.keys().copied().collect::<Vec<_>>(), [4]);
}

// Doubts.

#[test]
fn a_directory_that_cannot_be_listed_has_the_names_of_the_generation_before() {
    let catalog =
        catalog(DIGEST, &[(10, "d/=1 d/a=3 d/e/=2 d/e/b=4 c=5"), (20, "d/=1 c=5 ?d/"), (30, "d/=1 d/a=3 c=5")]);
    assert_eq!(shown(&catalog, 20), "c d d/a? d/e? d/e/b?");
    assert_eq!(shown(&catalog, 30), "c d d/a");
    // 20 knows nothing that 10 does not, so it notes nothing; what is gone is gone at 30.
    assert!(catalog.notes[&20].is_empty());
    assert_eq!(catalog.notes[&30], [(2, 16), (4, 16)].into());
}

#[test]
fn what_is_kept_follows_the_generation_before() {
    let mut catalog = catalog(DIGEST, &[(10, "d/=1 d/a=3"), (30, "d/=1 ?d/")]);
    assert_eq!(shown(&catalog, 30), "d d/a?");
    put_in(&mut catalog, 20, "d/=1 d/b=4");
    assert_eq!(shown(&catalog, 30), "d d/b?");
    catalog.forget(20);
    assert_eq!(shown(&catalog, 30), "d d/a?");
    catalog.forget(10);
    assert_eq!(shown(&catalog, 30), "d");
}

#[test]
fn what_is_kept_follows_through_a_chain_of_doubts() {
    let mut catalog = catalog(DIGEST, &[(10, "a=3"), (30, "?"), (40, "b=4 ?"), (50, "?")]);
    assert_eq!(shown(&catalog, 50), "a? b?");
    put_in(&mut catalog, 20, "c=5");
    assert_eq!([30, 40, 50].map(|at| shown(&catalog, at)), ["c?", "b c?", "b? c?"]);
}

#[test]
fn a_name_that_was_seen_in_a_doubtful_directory_stays_when_the_one_before_loses_it() {
    let mut catalog = catalog(DIGEST, &[(10, "a=3 b=4"), (30, "a=3 ?")]);
    assert_eq!(shown(&catalog, 30), "a b?");
    put_in(&mut catalog, 20, "");
    assert_eq!(shown(&catalog, 30), "a");
}

#[test]
fn a_kept_directory_brings_its_names_though_these_did_not_change() {
    let mut catalog = catalog(DIGEST, &[(10, "d/=1 d/a=3 f/=2"), (30, "f/=2 ?f/")]);
    assert_eq!(shown(&catalog, 30), "f");
    // Of what is below the directory only its own name is another one than at 10.
    put_in(&mut catalog, 20, "f/=2 f/d/=1 f/d/a=3");
    assert_eq!(shown(&catalog, 30), "f f/d? f/d/a?");
    catalog.forget(20);
    assert_eq!(shown(&catalog, 30), "f");
}

#[test]
fn doubt_with_all_below_reaches_directories_that_were_listed() {
    let catalog = catalog(DIGEST, &[(10, "d/=1 d/a=3 d/b=4"), (20, "d/=1 d/a=3 ??"), (30, "d/=1 d/a=3 ?")]);
    assert_eq!(shown(&catalog, 20), "d d/a d/b?");
    assert_eq!(shown(&catalog, 30), "d d/a");
}

#[test]
fn a_directory_that_was_seen_elsewhere_is_not_kept_where_it_was() {
    let catalog = catalog(DIGEST, &[(10, "d/=1 d/e/=2 d/e/a=3"), (20, "d/=1 e/=2 ?d/ ?e/")]);
    assert_eq!(shown(&catalog, 20), "d e e/a?");
}

#[test]
fn links_of_what_was_seen_are_those_that_were_seen_and_of_the_rest_those_of_the_one_before() {
    let catalog = catalog(DIGEST, &[(10, "d/=1 a=3 d/a=3 d/b=4 d/c=4"), (20, "d/=1 a=3 ?d/")]);
    assert_eq!(shown(&catalog, 20), "a d d/a? d/b? d/c?");
    assert_eq!([3, 4].map(|node| catalog.version(node, 20).map(|version| version.nlink)), [Some(1), Some(2)]);
    // Only what was seen has rows.
    let born_at_20: Vec<Node> =
        catalog.versions.keys().filter(|(_, born)| *born == 20).map(|(node, _)| *node).collect();
    assert_eq!(born_at_20, [3]);
}

// Identity by path.

#[test]
fn a_name_that_comes_back_is_the_same_file_however_long_it_was_gone() {
    let by_path = DIGEST.by_path();
    let mut catalog = catalog(by_path, &[(10, "a=1"), (20, "b=1"), (30, "c=1"), (40, "a=1")]);
    assert_eq!(node(&catalog, 10, 'a'), node(&catalog, 40, 'a'));
    put_in(&mut catalog, 5, "a=7 b=8");
    assert_eq!(node(&catalog, 5, 'a'), node(&catalog, 40, 'a'));
    assert_eq!(node(&catalog, 5, 'b'), node(&catalog, 20, 'b'));
    // A directory of that name is something else.
    put_in(&mut catalog, 50, "a/=1");
    assert_ne!(node(&catalog, 50, 'a'), node(&catalog, 40, 'a'));
}

#[test]
fn a_link_group_is_its_first_name_and_no_other() {
    let catalog = catalog(DIGEST.by_path(), &[(10, "a=1 b=1"), (20, "b=1"), (30, "a=1 b=2"), (40, "b=1 c=1")]);
    let [a, b] = ['a', 'b'].map(|name| [10, 20, 30, 40].map(|at| catalog.state(Some(at)).get(&(ROOT, name)).copied()));
    assert_eq!(a[0], a[2]);
    assert_eq!(a[0], b[0]);
    assert_ne!(b[0], b[1]);
    assert_eq!([b[1], b[1]], [b[2], b[3]]);
}

#[test]
fn a_kept_name_does_not_say_who_a_group_is() {
    // At 20 nobody saw "a", so "b" alone is the first of its group; that the kept "b" of 30 belongs to "a" tells nothing.
    let mut catalog = catalog(DIGEST.by_path(), &[(10, "a=1 b=1"), (20, "?")]);
    catalog.forget(10);
    put_in(&mut catalog, 10, "a=1 b=1");
    put_in(&mut catalog, 30, "b=1");
    assert_ne!(node(&catalog, 30, 'b'), node(&catalog, 10, 'a'));
    assert_eq!(node(&catalog, 20, 'b'), node(&catalog, 10, 'a'));
}
