//! Which vector gets which number: over restarts, between mounts and after damage;
//! and what is said when numbers run out.

use super::*;
use crate::catalog::{NewGeneration, NewSource, Reader, Writer};
use crate::model::{GenerationId, Level, NodeId, Rule, SourceKind, Time};
use rusqlite::Connection;
use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;

const OURS: CatalogId = CatalogId { uuid: [7; 16], incarnation: 1 };
/// The first number is that of the catalog's own record.
const FIRST: i64 = (1 << 26) + 1;
const RECORD: u64 = 32;

/// A folder for a catalog; the numbers never look at the catalog itself.
struct World(tempfile::TempDir);

impl World {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn catalog(&self) -> PathBuf {
        self.0.path().join("catalog.db")
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("catalog.db-views")
    }

    /// The numbers as a mount has them that begins now.
    fn mount(&self) -> Numbers {
        self.mount_of(OURS)
    }

    fn mount_of(&self, of: CatalogId) -> Numbers {
        Numbers { lock_wait: Duration::from_millis(10), ..Numbers::of(&self.catalog(), of) }
    }

    fn records(&self) -> u64 {
        fs::metadata(self.file()).unwrap().len() / RECORD
    }
}

/// The vector of one generation.
fn vector(id: i64) -> Vector {
    Vector::of(&[id.to_be_bytes()])
}

fn vectors(ids: Range<i64>) -> Vec<Vector> {
    ids.map(vector).collect()
}

fn views(from: Range<i64>) -> Vec<ViewId> {
    from.map(ViewId).collect()
}

fn in_memory(view: ViewId) -> bool {
    ((1 << 26) + (1 << 25) - (1 << 22)..(1 << 26) + (1 << 25)).contains(&view.0)
}

#[test]
fn a_vector_has_one_number_in_every_mount_and_after_a_restart() {
    let world = World::new();
    let (first, second) = (world.mount(), world.mount());
    assert_eq!(first.give(&vectors(0..5)).unwrap(), views(FIRST..FIRST + 5));
    assert_eq!(second.view(vector(3)).unwrap(), ViewId(FIRST + 3));
    assert_eq!(second.view(vector(9)).unwrap(), ViewId(FIRST + 5), "the next one");
    assert_eq!(first.view(vector(9)).unwrap(), ViewId(FIRST + 5));
    let third = world.mount();
    assert_eq!(third.vector(ViewId(FIRST + 2)), Some(vector(2)), "asked for by number, before anything else");
    assert_eq!(third.vector(ViewId(FIRST + 6)), None);
    assert_eq!(third.vector(ViewId(1 << 26)), None, "the record of the catalog is none of a vector");
    assert_eq!((third.known(vector(2)), third.known(vector(3))), (Some(ViewId(FIRST + 2)), None), "what it has read");
    assert_eq!(third.give(&vectors(0..5)).unwrap(), views(FIRST..FIRST + 5));
    assert_eq!(world.records(), 1 + 6);
    assert_eq!(fs::metadata(world.file()).unwrap().permissions().mode() & 0o7777, 0o600);
}

#[test]
fn what_was_forgotten_is_found_again_under_its_number() {
    let world = World::new();
    let mount = world.mount();
    mount.give(&vectors(0..5)).unwrap();
    mount.keep(|_, kept| kept == vector(4));
    assert_eq!(mount.all_known(), [(ViewId(FIRST + 4), vector(4))]);
    assert_eq!(mount.view(vector(1)).unwrap(), ViewId(FIRST + 1));
    assert_eq!(world.records(), 1 + 5);
}

#[test]
fn another_catalog_in_the_same_place_goes_on_above_and_the_first_one_finds_its_own() {
    let world = World::new();
    let live = world.mount();
    live.give(&vectors(0..3)).unwrap();
    let put_back = CatalogId { incarnation: 2, ..OURS };
    let other = CatalogId { uuid: [8; 16], incarnation: 1 };
    live.go_on_with(put_back);
    assert_eq!(live.vector(ViewId(FIRST)), None, "a number of the one before");
    assert_eq!(live.give(&vectors(0..3)).unwrap(), views(FIRST + 4..FIRST + 7));
    assert_eq!(world.mount_of(other).give(&vectors(0..3)).unwrap(), views(FIRST + 8..FIRST + 11));
    assert_eq!(world.mount_of(put_back).give(&vectors(0..3)).unwrap(), views(FIRST + 4..FIRST + 7));
    assert_eq!(world.mount().give(&vectors(0..4)).unwrap(), [FIRST, FIRST + 1, FIRST + 2, FIRST + 11].map(ViewId));
}

/// Whatever a crash leaves at the end: a piece of a record, or room that was never written.
#[test]
fn a_record_that_was_never_finished_costs_a_number_and_nothing_else() {
    for left in [1, 31, 32, 33, 80] {
        for byte in [0, 0xa5] {
            let world = World::new();
            world.mount().give(&vectors(0..2)).unwrap();
            let mut bytes = fs::read(world.file()).unwrap();
            bytes.extend(vec![byte; left]);
            fs::write(world.file(), bytes).unwrap();
            let mount = world.mount();
            let next = FIRST + 2 + (left as i64 + 31) / 32;
            assert_eq!(mount.give(&vectors(1..3)).unwrap(), [FIRST + 1, next].map(ViewId), "{left} of {byte}");
            assert_eq!(world.mount().give(&vectors(1..3)).unwrap(), [FIRST + 1, next].map(ViewId), "{left} of {byte}");
        }
    }
    let world = World::new();
    fs::write(world.file(), [1; 20]).unwrap();
    assert_eq!(world.mount().view(vector(0)).unwrap(), ViewId(FIRST + 1), "the first one was never finished");
    assert_eq!(world.mount().view(vector(0)).unwrap(), ViewId(FIRST + 1));
    let world = World::new();
    fs::write(world.file(), [0; 40]).unwrap();
    assert_eq!(world.mount().view(vector(0)).unwrap(), ViewId(FIRST + 2), "nothing of the first two was written");
}

#[test]
fn a_record_in_the_place_of_another_is_of_no_vector() {
    let world = World::new();
    world.mount().give(&vectors(0..3)).unwrap();
    let mut bytes = fs::read(world.file()).unwrap();
    bytes.copy_within(32..64, 64);
    fs::write(world.file(), bytes).unwrap();
    let mount = world.mount();
    assert_eq!(mount.vector(ViewId(FIRST + 1)), None);
    assert_eq!(mount.give(&vectors(0..3)).unwrap(), [FIRST, FIRST + 3, FIRST + 2].map(ViewId));
}

#[test]
fn a_damaged_byte_never_gives_a_number_to_two_vectors() {
    let world = World::new();
    world.mount().give(&vectors(0..3)).unwrap();
    let whole = fs::read(world.file()).unwrap();
    for place in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[place] ^= 0x10;
        fs::write(world.file(), bytes).unwrap();
        let found = world.mount().give(&vectors(0..3)).unwrap();
        let damaged = (place as i64 / 32) - 1;
        let expected = match damaged {
            // The catalog's own record: all are given anew, below a new one.
            -1 => views(FIRST + 4..FIRST + 7),
            _ => (0..3).map(|n| ViewId(if n == damaged { FIRST + 3 } else { FIRST + n })).collect(),
        };
        assert_eq!(found, expected, "byte {place}");
        assert_eq!(world.mount().give(&vectors(0..3)).unwrap(), expected, "byte {place}, the next mount");
        if damaged >= 0 {
            assert_eq!(world.mount().vector(ViewId(FIRST + damaged)), None, "byte {place}");
        }
    }
}

#[test]
fn a_live_mount_goes_on_above_what_it_gave_when_the_file_is_taken_away() {
    let world = World::new();
    let live = world.mount();
    live.give(&vectors(0..3)).unwrap();
    fs::remove_file(world.file()).unwrap();
    assert_eq!(live.view(vector(1)).unwrap(), ViewId(FIRST + 1), "it knows that");
    assert_eq!(live.vector(ViewId(FIRST + 1)), Some(vector(1)), "and whose it is");
    assert_eq!(world.mount().vector(ViewId(FIRST + 1)), None, "which another one cannot know");
    assert_eq!(live.view(vector(7)).unwrap(), ViewId(FIRST + 4), "above, and above a new record of the catalog");
    let next = world.mount();
    assert_eq!(next.give(&vectors(7..9)).unwrap(), [FIRST + 4, FIRST + 5].map(ViewId));
    assert_eq!(live.view(vector(8)).unwrap(), ViewId(FIRST + 5));
}

#[test]
fn where_the_file_cannot_be_used_numbers_are_in_memory_alone_and_are_the_same_in_the_next_mount() {
    let nowhere = World(tempfile::tempdir().unwrap());
    fs::remove_dir(nowhere.0.path()).unwrap();
    let mount = nowhere.mount();
    let given = mount.give(&vectors(0..2000)).unwrap();
    assert!(given.iter().all(|view| in_memory(*view)));
    assert_eq!(given.iter().collect::<HashSet<_>>().len(), 2000);
    assert_eq!(mount.vector(given[5]), Some(vector(5)));
    mount.keep(|_, _| false);
    assert_eq!(mount.vector(given[5]), None);
    assert_eq!(mount.give(&vectors(0..2000)).unwrap(), given, "each has its place");
    let turned: Vec<Vector> = vectors(0..2000).into_iter().rev().collect();
    let again = nowhere.mount().give(&turned).unwrap();
    let same = given.iter().zip(again.iter().rev()).filter(|(a, b)| a == b).count();
    assert!(same >= 1998, "{same}: their places are decided by what they are, in whatever order they come");
    mount.go_on_with(CatalogId { incarnation: 2, ..OURS });
    let other = mount.give(&vectors(0..2000)).unwrap();
    assert!(other.iter().all(|view| !given.contains(view)), "those of the catalog before are not given again");
}

#[test]
fn what_is_in_the_file_is_found_also_when_nothing_more_can_be_written() {
    let world = World::new();
    let mount = world.mount();
    mount.give(&vectors(0..2)).unwrap();
    let given = file::give(&world.catalog(), OURS, &vectors(1..3), FIRST..FIRST + 2, Duration::ZERO);
    assert_eq!(given.views, HashMap::from([(vector(1), ViewId(FIRST + 1))]));
    assert_eq!(chain(&given.trouble.unwrap()), format!("{:?} has given out all its numbers", world.file()));
    assert_eq!(world.records(), 1 + 2);
}

#[test]
fn the_file_is_not_waited_for_without_end_nor_touched_when_it_is_not_ours() {
    let trouble = |world: &World| {
        let given = file::give(&world.catalog(), OURS, &[vector(0)], IN_FILE, Duration::from_millis(10));
        chain(&given.trouble.expect("there is some"))
    };
    let world = World::new();
    world.mount().give(&vectors(0..1)).unwrap();
    let held = fs::File::open(world.file()).unwrap();
    held.lock().unwrap();
    let mount = world.mount();
    assert!(in_memory(mount.view(vector(5)).unwrap()));
    assert_eq!(trouble(&world), format!("{:?} is locked by another process for longer than 0.01 s", world.file()));
    held.unlock().unwrap();
    assert_eq!(mount.view(vector(6)).unwrap(), ViewId(FIRST + 1), "when it is let go, it is used again");
    assert!(in_memory(mount.view(vector(5)).unwrap()), "a number stays");

    let world = World::new();
    fs::write(world.file(), "x".repeat(100)).unwrap();
    assert!(in_memory(world.mount().view(vector(0)).unwrap()));
    let not_ours = format!("{:?} is not a file of view numbers; move it away", world.file());
    assert_eq!(trouble(&world), not_ours);
    assert_eq!(fs::read_to_string(world.file()).unwrap(), "x".repeat(100));

    let world = World::new();
    fs::create_dir(world.file()).unwrap();
    assert_eq!(trouble(&world), format!("{:?} is not a file of view numbers; move it away", world.file()));

    let world = World::new();
    fs::remove_dir(world.0.path()).unwrap();
    assert_eq!(trouble(&world), format!("opening {:?}: No such file or directory (os error 2)", world.file()));
}

/// 8 mounts give numbers to the same vectors at once, in their own order.
#[test]
fn mounts_that_give_numbers_at_once_agree() {
    let world = World::new();
    let all: Vec<Vec<(Vector, ViewId)>> = std::thread::scope(|scope| {
        let mounts: Vec<_> = (0..8)
            .map(|n| {
                let world = &world;
                scope.spawn(move || {
                    // Longer than any machine is busy.
                    let mount = Numbers { lock_wait: Duration::from_secs(60), ..world.mount() };
                    let asked = (0..40).map(|step| vector((step * 7 + n * 11) % 40));
                    asked.map(|vector| (vector, mount.view(vector).unwrap())).collect()
                })
            })
            .collect();
        mounts.into_iter().map(|mount| mount.join().unwrap()).collect()
    });
    let of_one: HashMap<Vector, ViewId> = all[0].iter().copied().collect();
    assert_eq!(of_one.values().collect::<HashSet<_>>().len(), 40);
    for (vector, view) in all.into_iter().flatten() {
        assert_eq!(of_one[&vector], view);
    }
    assert_eq!(world.records(), 1 + 40);
}

#[test]
fn what_runs_out_is_named_and_nothing_is_given_twice() {
    let world = World::new();
    let mount = Numbers { in_memory: IN_MEMORY.start..IN_MEMORY.start + 2, ..world.mount() };
    mount.giving.lock().unwrap().free.end = FIRST + 2;
    assert_eq!(mount.give(&vectors(0..2)).unwrap(), views(FIRST..FIRST + 2));
    let above = mount.give(&vectors(2..4)).unwrap();
    assert_eq!(above.iter().collect::<HashSet<_>>(), views(IN_MEMORY.start..IN_MEMORY.start + 2).iter().collect());
    assert_eq!(
        chain(&mount.view(vector(4)).unwrap_err()),
        format!(
            "catalog {:?} has used up the numbers of views of all sources, of which there are 2^25",
            world.catalog()
        )
    );
    assert_eq!(mount.give(&vectors(0..4)).unwrap()[..2], views(FIRST..FIRST + 2), "what has one keeps it");
}

/// A catalog with the source `homes`.
fn catalog() -> World {
    let world = World::new();
    Writer::create(&world.catalog()).unwrap();
    let new = NewSource { name: "homes", kind: SourceKind::Nfs, settings: "{}", rule: Rule::COPIES, added_at: Time(1) };
    Writer::open(&world.catalog()).unwrap().add_source(&new).unwrap();
    world
}

fn sql(world: &World, text: &str) {
    Connection::open(world.catalog()).unwrap().execute_batch(text).unwrap();
}

fn used_up(world: &World, of: &str, bits: u32) -> String {
    format!("catalog {:?} has used up the numbers of {of}, of which there are 2^{bits}", world.catalog())
}

#[test]
fn the_last_node_has_number_2_36_less_1() {
    let world = catalog();
    sql(
        &world,
        "UPDATE source SET next_node = (1 << 36) - 1; UPDATE sqlite_sequence SET seq = (1 << 20) - 1 WHERE name = 'node_block'",
    );
    let source = Reader::open(&world.catalog()).unwrap().source("homes").unwrap();
    let mut writer = Writer::open(&world.catalog()).unwrap();
    let store = writer.store_at(Path::new("/copies")).unwrap();
    let mut generation = writer
        .begin(&NewGeneration {
            source: &source,
            at: Time(1),
            level: Level::Full,
            copy: (store, b"1".as_slice()),
            now: Time(2),
            again: false,
        })
        .unwrap();
    assert_eq!(generation.new_node().unwrap(), NodeId((1 << 36) - 1));
    assert_eq!(chain(&generation.new_node().unwrap_err()), used_up(&world, "nodes", 36));
    generation.abandon().unwrap();
    let new = NewSource { name: "web", kind: SourceKind::Nfs, settings: "{}", rule: Rule::COPIES, added_at: Time(1) };
    assert_eq!(chain(&writer.add_source(&new).unwrap_err()), used_up(&world, "nodes", 36));
    sql(&world, "UPDATE sqlite_sequence SET seq = (1 << 20) - 2 WHERE name = 'node_block'");
    writer.add_source(&new).unwrap();
}

#[test]
fn the_last_generation_has_number_2_26_less_1() {
    let world = catalog();
    let last = "UPDATE sqlite_sequence SET seq = (1 << 26) - 2 WHERE name = 'generation'";
    sql(
        &world,
        &format!(
            "INSERT INTO sqlite_sequence(name, seq) SELECT 'generation', 0 WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'generation'); {last}"
        ),
    );
    let source = Reader::open(&world.catalog()).unwrap().source("homes").unwrap();
    let mut writer = Writer::open(&world.catalog()).unwrap();
    let store = writer.store_at(Path::new("/copies")).unwrap();
    let begun = writer
        .begin(&NewGeneration {
            source: &source,
            at: Time(1),
            level: Level::Full,
            copy: (store, b"1".as_slice()),
            now: Time(2),
            again: false,
        })
        .unwrap();
    begun.publish(None, 0).unwrap();
    let registry = Reader::open(&world.catalog()).unwrap().registry().unwrap();
    assert_eq!(registry.sources[0].generations, [GenerationId((1 << 26) - 1)]);
    let refused = writer
        .begin(&NewGeneration {
            source: &source,
            at: Time(2),
            level: Level::Full,
            copy: (store, b"2".as_slice()),
            now: Time(2),
            again: false,
        })
        .err()
        .unwrap();
    assert_eq!(chain(&refused), used_up(&world, "generations", 26));
    drop(writer);
    sql(&world, "UPDATE generation SET id = 1 << 26");
    let refused = Reader::open(&world.catalog()).unwrap().registry().unwrap_err();
    assert_eq!(chain(&refused), used_up(&world, "generations", 26), "one that was written by somebody else");
}

/// Against a model that looks for the newest generation of each source at each instant.
#[test]
fn each_instant_resolves_to_the_newest_generations_by_then() {
    let world = catalog();
    for name in ["a", "b", "c", "d"] {
        let new = NewSource { name, kind: SourceKind::Nfs, settings: "{}", rule: Rule::COPIES, added_at: Time(1) };
        Writer::open(&world.catalog()).unwrap().add_source(&new).unwrap();
    }
    // Ids are not in the order of instants, and some instants are those of several sources.
    sql(
        &world,
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200)
         INSERT INTO generation(source, taken_at, number, sequence, level, status, first_content)
         SELECT i % 4 + 1, (i * 37) % 101 + 1000 * (i % 4 = 0), i, i, 'full', 'published', 1 FROM n WHERE true
           ON CONFLICT DO NOTHING",
    );
    let registry = Reader::open(&world.catalog()).unwrap().registry().unwrap();
    let mut model: BTreeMap<Time, Vec<[u8; 8]>> = BTreeMap::new();
    let instants: Vec<Time> = registry.sources.iter().flat_map(|s| s.instants.clone()).collect();
    for at in instants {
        let newest = |s: &crate::catalog::RegistrySource| {
            let both = s.instants.iter().zip(&s.generations).filter(|(t, _)| **t <= at);
            both.max().map(|(_, generation)| generation.0.to_be_bytes())
        };
        let mut ids: Vec<_> = registry.sources.iter().filter_map(newest).collect();
        ids.sort_unstable();
        model.insert(at, ids);
    }
    assert!(model.len() > 100 && model.values().any(|ids| ids.len() == 4));
    let expected: Vec<(Time, Vector)> = model.iter().map(|(at, ids)| (*at, Vector::of(ids))).collect();
    assert_eq!(registry.vectors(), expected);
    assert_eq!(expected.iter().map(|(_, vector)| *vector).collect::<HashSet<_>>().len(), expected.len());
}

#[test]
fn a_number_tells_of_what_it_is() {
    assert_eq!(numbered(ViewId(1)), Numbered::Generation(GenerationId(1)));
    assert_eq!(numbered(view_of(GenerationId((1 << 26) - 1))), Numbered::Generation(GenerationId((1 << 26) - 1)));
    assert_eq!(numbered(ViewId(1 << 26)), Numbered::Vector);
    assert_eq!(numbered(ViewId((1 << 26) + (1 << 25) - 1)), Numbered::Vector);
    assert_eq!(numbered(ViewId((1 << 26) + (1 << 25))), Numbered::Passing);
    assert_eq!(numbered(ViewId(PASSING.end)), Numbered::Made);
    assert_eq!((PASSING.end, numbered(ViewId((1 << 27) - 1))), (FIRST_MADE, Numbered::Made));
}
