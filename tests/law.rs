//! The law of the house: indexing on top of any history equals indexing alone.
//!
//! Random histories of three sources in one catalog, told in memory: by path, by inode number, and a link farm by path with digests. Copies
//! are indexed in any order, forgotten (the newest, the oldest, one in between), and indexed again with what they hold now; bytes change
//! while size and mtime stay; some copies have directories that cannot be listed while they are indexed. A run does one to four of these
//! steps. One of another source comes in the middle of it; it is killed at any moment and followed by another input; the disk of the
//! catalog is full, and the same writer is given another input.
//!
//! **After every run** each source of which a generation came, went or changed is what was told: paths, attributes, digests, and what is
//! kept as unknown, by a naive model; generations of the others have the ids, numbers and state hashes that they had. **After every fifth
//! run** what changed is what indexing what is left of it alone gives, in the order of time: all rows of six public views but ids, and what
//! `history` and `diff` say, and a mount shows of them, is what its trees say ([`ask`], [`shown`]); in the end all sources are, beside a new catalog. **After every tenth run** the
//! catalog is sound (`check --deep`, which counts every state hash anew), and of every fifth history it is made again from its manifests, and
//! an older one that was made so goes on: by all tables and views both say what it says.
//!
//! `ASOF_SEED=N` plays one history, `ASOF_LAW=N` plays N, from `ASOF_LAW_FIRST` on; `ASOF_FARMS=N` farms that rotate ([`rotation`]);
//! `ASOF_SMALL=N` small worlds, from `ASOF_SMALL_FIRST` on, are searched for all their histories ([`small`]); scripts/soak plays more of all.
//! Needs root, for small file systems.

#[path = "law/ask.rs"]
mod ask;
#[path = "common/catalogs.rs"]
mod catalogs;
#[path = "common/dice.rs"]
mod dice;
#[path = "law/rotation.rs"]
mod rotation;
#[path = "law/shown.rs"]
mod shown;
#[path = "law/small.rs"]
mod small;
#[path = "law/tree.rs"]
mod tree;
#[path = "law/world.rs"]
mod world;

use asof::catalog::{DirEntry, NewGeneration, Reader, Written};
use asof::jobs::index::Which;
use asof::model::{EntryName, Finding, Kind, Level};
use asof::monitor::{Monitor, Void};
use asof::source::nfs::InstantFrom;
use catalogs::asked;
use dice::{Dice, number};
use rotation::Nights;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use tree::{NOW, Node, Plain, instant};
use world::{Act, Alone, Catalog, FARM, HOMES, Kill, Moment, Played, SNAPS, Step, World};

/// Runs of one history, each of one to four steps.
const RUNS: usize = 20;
/// Runs between two comparisons with what is left indexed alone.
const COMPARED_EVERY: usize = 5;
/// Runs between two checks of the rows against each other.
const CHECKED_EVERY: usize = 10;
/// Of so many histories one is made again from its manifests.
const REBUILT_OF: u64 = 5;
/// Histories in CI: more than 10,000 steps.
const HISTORIES: u64 = 216;

/// Histories that once came out otherwise.
const FOUND: [u64; 2] = [1122, 1266];

/// Plays one history.
fn play(seed: u64, alone: &mut Alone) -> Played {
    let mut world = World::new(seed, seed.is_multiple_of(4));
    for run in 1..=RUNS {
        world.happen();
        world.look();
        if run.is_multiple_of(COMPARED_EVERY) && run < RUNS {
            world.compare(alone);
        }
        if run.is_multiple_of(CHECKED_EVERY) {
            world.look_inside();
        }
        if run.is_multiple_of(CHECKED_EVERY) && seed % REBUILT_OF == 1 {
            world.rebuild();
        }
    }
    world.look_at_all();
    world.played
}

/// Plays a half of the histories.
fn play_half(half: u64) {
    let seed = std::env::var("ASOF_SEED").ok().and_then(|seed| seed.parse().ok());
    let (first, count) = match seed {
        Some(seed) => (seed, 1),
        None => (number("ASOF_LAW_FIRST", 0), number("ASOF_LAW", HISTORIES)),
    };
    let mut played = Played::default();
    let seeds = (first..first + count).filter(|seed| seed % 2 == half);
    let mut alone = Alone::new();
    let found =
        FOUND.into_iter().filter(|seed| half == 0 && count == HISTORIES && !(first..first + count).contains(seed));
    for (number, seed) in seeds.chain(found).enumerate() {
        // It gets slower with its size.
        if number % 10 == 0 {
            alone = Alone::new();
        }
        played += play(seed, &mut alone);
    }
    println!("histories {first} to {}, every second one: {played:?}", first + count - 1);
    if count >= HISTORIES {
        let Played { steps, kills, full, meanwhile, rebuilt } = played;
        assert!(steps >= 5_000 && kills >= 500 && full >= 40 * (1 - half as usize), "{played:?}");
        assert!(meanwhile >= 200 && rebuilt >= 10, "{played:?}");
    }
}

#[test]
fn any_history_of_three_sources_equals_what_is_left_indexed_alone() {
    play_half(0);
}

#[test]
fn so_does_any_other_history() {
    play_half(1);
}

#[test]
fn a_link_farm_that_rotates_while_its_copies_change_equals_what_is_left_indexed_alone() {
    let (first, count) = (number("ASOF_LAW_FIRST", 0), number("ASOF_FARMS", 4));
    let mut played = rotation::Nights::default();
    for seed in first..first + count {
        let mut farm = rotation::Farm::new(seed);
        for night in 1..=20 {
            farm.happen();
            if night % 4 == 0 {
                farm.look();
            }
        }
        let Nights { nights, kills, changed, moved } = farm.played;
        played.nights += nights;
        played.kills += kills;
        played.changed += changed;
        played.moved += moved;
    }
    println!("farms {first} to {}: {played:?}", first + count - 1);
    assert!(played.kills > 0 && played.changed > 0 && played.moved > 0, "{played:?}");
}

#[test]
fn every_history_of_a_small_world_equals_what_is_left_indexed_alone() {
    let trees = small::trees();
    let pairs: Vec<[Plain; 2]> = (0..trees.len())
        .flat_map(|one| (0..one).map(move |other| [one, other]))
        .map(|pair| pair.map(|tree| trees[tree].clone()))
        .collect();
    let (first, count) = (number("ASOF_SMALL_FIRST", 0) as usize, number("ASOF_SMALL", 0) as usize);
    // One in CI, of the kind that has most to tell apart.
    let (kinds, count) = if count == 0 { (&[FARM][..], 1) } else { (&[HOMES, SNAPS, FARM][..], count) };
    for kind in kinds.iter().copied() {
        let mut dice = Dice::new(7);
        let mut worlds = pairs.clone();
        dice.shuffle(&mut worlds);
        let mut searched = small::Searched::default();
        for two in worlds.iter().cycle().skip(first).take(count) {
            let one = small::search(kind, two);
            searched.states += one.states;
            searched.edges += one.edges;
        }
        println!("{}: {count} of {} small worlds from {first} on: {searched:?}", kind.name, pairs.len());
        assert!(searched.states >= 27 * count, "{searched:?}");
    }
}

#[test]
fn a_run_that_ends_does_not_lay_out_anew_a_directory_in_which_a_run_of_another_source_goes_on() {
    let file = Node { kind: Kind::File, content: 0, mode: 0o644, comment: false };
    let mut many = Plain::new();
    // So many names that their deaths turn a directory hot.
    for number in 1..=1_200 {
        many.names.insert((0, Box::leak(format!("gone {number}").into_boxed_str())), number);
        many.nodes.insert(number, file.clone());
    }
    let catalog = Catalog::new(&[HOMES, SNAPS], false);
    catalog.do_step(&Step { share: 0, copy: 0, act: Act::Index, plain: many.clone() });
    let mut run = catalog.open(0, &catalog.kill(Moment::Never)).expect("a run can begin");
    let store = run.writer.store_at(Path::new("/copies")).expect("a store");
    let (source, at) = (catalog.source(0), instant(1));
    let new = NewGeneration { source, at, level: Level::Full, copy: (store, b"1"), now: NOW, again: false };
    let mut generation = run.writer.begin(&new).expect("it can be begun");
    let root = generation.root();
    for (_, name) in many.names.keys() {
        generation.unlink(root, &EntryName::new(name.as_bytes()).expect("a name")).expect("it is there");
    }
    generation.let_go().expect("it can be committed");
    // Another run comes in, and ends.
    catalog.do_step(&Step { share: 1, copy: 0, act: Act::Index, plain: Plain::new() });
    let node = generation.new_node().expect("a number");
    generation.link(root, &EntryName::new(b"new").expect("a name"), node, Kind::File).expect("it is free");
    many.names.insert((0, "new"), 1);
    let row = generation.encode(&many.attrs(1, 1), false, None).expect("attributes");
    generation.put(node, None, row, Written::Yes).expect("a version");
    generation.publish(None, 0).expect("it can be published");
    drop(run);
    catalog.assert_sound("after both");
    let reader = Reader::open(&catalog.path()).expect("it can be read");
    let mut names = Vec::new();
    let each = |entry: DirEntry| {
        names.push(entry.name.as_bytes().to_vec());
        ControlFlow::Continue(())
    };
    reader.list(root, at, None, 10, each).expect("it can be listed");
    assert_eq!(names, [b"new"]);
}

/// Returns a tree of files in the top directory, by name and number.
fn files(names: &[(&'static str, u64)]) -> Plain {
    let mut plain = Plain::new();
    for (name, node) in names {
        plain.names.insert((0, name), *node);
        plain.nodes.insert(*node, Node { kind: Kind::File, content: 0, mode: 0o644, comment: false });
    }
    plain
}

#[test]
fn a_generation_of_which_a_killed_run_wrote_the_tombstone_is_not_forgotten_when_the_catalog_is_made_again() {
    let catalog = Catalog::new(&[HOMES], false);
    let step = |act, copy| Step { share: 0, copy, act, plain: files(&[("a", 1)]) };
    catalog.do_step(&step(Act::Index, 0));
    catalog.do_step(&step(Act::Index, 1));
    catalog.do_killed(&step(Act::Forget, 0), Moment::BeforeCommit(0));
    catalog.do_step(&step(Act::Index, 2));
    catalog.assert_rebuilt("after a forget that was killed");
}

#[test]
fn the_manifest_of_a_killed_run_goes_though_the_next_one_is_killed_too() {
    let catalog = Catalog::new(&[HOMES], false);
    let step = |copy| Step { share: 0, copy, act: Act::Index, plain: files(&[("a", 1)]) };
    catalog.do_step(&step(1));
    catalog.do_killed(&step(5), Moment::BeforeCommit(0));
    // When it looks for what was left.
    catalog.do_killed(&step(2), Moment::Nth(0));
    catalog.do_step(&step(0));
    catalog.assert_rebuilt("after two runs that were killed");
}

#[test]
fn a_manifest_that_another_one_replaced_is_not_applied_again_once_both_are_forgotten() {
    let catalog = Catalog::new(&[HOMES], false);
    let step = |act, copy| Step { share: 0, copy, act, plain: files(&[("a", 1)]) };
    for (act, copy) in [(Act::Index, 0), (Act::Index, 1), (Act::Again, 1), (Act::Forget, 1)] {
        catalog.do_step(&step(act, copy));
    }
    catalog.assert_rebuilt("once");
    catalog.do_step(&step(Act::Index, 2));
    catalog.assert_rebuilt("again");
}

#[test]
fn a_directory_that_a_killed_run_could_not_list_is_as_it_was() {
    let catalog = Catalog::new(&[HOMES], false);
    let step = |copy, plain| Step { share: 0, copy, act: Act::Index, plain };
    let plain = files(&[("a", 1)]);
    let closed = Plain { closed: [(0, Vec::new())].into(), ..plain.clone() };
    catalog.do_step(&step(0, plain.clone()));
    catalog.do_killed(&step(1, closed), Moment::BeforeCommit(0));
    catalog.do_step(&step(2, plain));
    catalog.assert_sound("after a killed run");
}

#[test]
fn which_name_defines_a_file_is_not_known_from_a_killed_run() {
    let catalog = Catalog::new(&[HOMES], false);
    let step = |copy, plain| Step { share: 0, copy, act: Act::Index, plain };
    catalog.do_step(&step(0, files(&[("a", 1)])));
    catalog.do_killed(&step(1, files(&[("a", 1), ("b", 1)])), Moment::BeforeCommit(0));
    catalog.do_step(&step(2, files(&[("a", 1), ("b", 1)])));
    catalog.assert_rebuilt("after a killed run");
}

/// Dies as soon as a copy is walked again.
struct DiesWalking(Arc<Kill>);

impl Monitor for DiesWalking {
    fn begin(&self, _what: &str, _expected_entries: Option<u64>) {
        self.0.die();
    }
    fn advance(&self, _entries: u64) {}
    fn finding(&self, _finding: &Finding) {}
    fn warn(&self, _text: &str) {}
    fn end(&self) {}
}

#[test]
fn a_copy_that_moved_and_changed_is_walked_by_the_next_run_too_if_the_first_one_is_killed() {
    let of = |folder: &Path| rotation::settings(folder.join("copies"), HOMES, InstantFrom::Name);
    let catalog = Catalog::with_settings(HOMES, of);
    let [old, new] = ["copies/2026-01-05", "copies/moved"].map(|name| catalog.beside(name));
    std::fs::create_dir_all(&old).expect("a directory");
    let index = |kill: &Arc<Kill>, monitor: &dyn Monitor| {
        rotation::index(&catalog, HOMES, (Which::All, false), kill, monitor);
    };
    index(&catalog.kill(Moment::Never), &Void);
    std::fs::rename(&old, &new).expect("it is free");
    std::fs::write(new.join("late"), "late").expect("a file");
    let kill = catalog.kill(Moment::Never);
    index(&kill, &DiesWalking(Arc::clone(&kill)));
    assert!(kill.died().is_some(), "it is walked");
    catalog.resurrect();
    let shown = || asked(&catalog.path(), "SELECT path FROM files");
    assert_eq!(shown(), [""; 0]);
    index(&catalog.kill(Moment::Never), &Void);
    assert_eq!(shown(), ["late"]);
}

#[test]
fn a_version_that_a_killed_run_wrote_before_its_name_is_gone_after_it() {
    let file = Node { kind: Kind::File, content: 0, mode: 0o644, comment: false };
    let mut plain = Plain::new();
    plain.names.insert((0, "a"), 1);
    plain.nodes.insert(1, file);
    let catalog = Catalog::new(&[HOMES], false);
    catalog.do_step(&Step { share: 0, copy: 0, act: Act::Index, plain: plain.clone() });
    let mut run = catalog.open(0, &catalog.kill(Moment::Never)).expect("a run can begin");
    let store = run.writer.store_at(Path::new("/copies")).expect("a store");
    let (source, at) = (catalog.source(0), instant(1));
    let new = NewGeneration { source, at, level: Level::Full, copy: (store, b"1"), now: NOW, again: false };
    let mut generation = run.writer.begin(&new).expect("it can be begun");
    let node = generation.new_node().expect("a number");
    let row = generation.encode(&plain.attrs(1, 1), false, None).expect("attributes");
    generation.put(node, None, row, Written::Yes).expect("a version");
    generation.let_go().expect("it can be committed");
    drop(generation);
    drop(run);
    catalog.do_step(&Step { share: 0, copy: 2, act: Act::Index, plain });
    catalog.assert_sound("after a killed run");
}

#[test]
fn names_in_a_directory_that_cannot_be_listed_are_those_of_the_generation_before_whatever_comes_between_later() {
    let dir = Node { kind: Kind::Directory, content: 0, mode: 0o755, comment: false };
    let file = Node { kind: Kind::File, content: 0, mode: 0o644, comment: false };
    let plain = |name, is_closed: bool| {
        let mut plain = Plain::new();
        plain.nodes.extend([(1, dir.clone()), (2, file.clone())]);
        plain.names.extend([((0, "d"), 1), ((1, name), 2)]);
        plain.closed.extend(is_closed.then_some((1, Vec::new())));
        plain
    };
    let catalog = Catalog::new(&[HOMES], false);
    let sql = "SELECT taken_at_unix / 86400 - 20454, path, unknown FROM files WHERE path <> 'd'";
    let shown = || asked(&catalog.path(), sql);
    let act = |act, copy, plain| catalog.do_step(&Step { share: 0, copy, act, plain });
    act(Act::Index, 0, plain("a", false));
    act(Act::Index, 3, plain("c", true));
    act(Act::Index, 4, plain("c", true));
    assert_eq!(shown(), ["0|d/a|0", "3|d/a|1", "4|d/a|1"]);
    act(Act::Index, 2, plain("b", false));
    assert_eq!(shown(), ["0|d/a|0", "2|d/b|0", "3|d/b|1", "4|d/b|1"]);
    act(Act::Again, 2, plain("a", true));
    assert_eq!(shown(), ["0|d/a|0", "2|d/a|1", "3|d/a|1", "4|d/a|1"]);
    act(Act::Again, 3, plain("c", false));
    assert_eq!(shown(), ["0|d/a|0", "2|d/a|1", "3|d/c|0", "4|d/c|1"]);
    act(Act::Forget, 0, Plain::new());
    assert_eq!(shown(), ["3|d/c|0", "4|d/c|1"]);
    act(Act::Forget, 3, Plain::new());
    assert_eq!(shown(), [""; 0]);
    catalog.assert_sound("after all");
}
