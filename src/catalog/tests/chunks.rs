//! What is committed while a generation is told,
//! and what it numbers and counts.

use super::*;
use std::time::{Duration, Instant};

/// Tells whether another process can write to the catalog.
fn is_free(world: &World) -> bool {
    let other = Connection::open(world.path()).unwrap();
    other.busy_timeout(Duration::ZERO).unwrap();
    other.execute_batch("BEGIN IMMEDIATE; ROLLBACK").is_ok()
}

/// A generation in between has no rows until it is put in: of it only the time counts.
#[test]
fn the_catalog_is_let_go_after_50_000_rows_or_half_a_second_and_no_earlier() {
    let world = World::new();
    world.generation(0, |_| {});
    world.generation(4, |_| {});
    for (n, is_newest) in [(2, false), (6, true)] {
        let (mut writer, source) = (world.writer(), world.source());
        let mut generation = begin(&mut writer, &source, n);
        let root = generation.root();
        let mut number = 0;
        let mut is_free_after = |rows, began| {
            generation.write("beginning a chunk", |_| Ok(())).unwrap();
            (generation.chunk_rows, generation.began) = (rows, began);
            number += 1;
            // Two rows: the name, and the note of it.
            generation.link(root, &name(&number.to_string()), NodeId(root.0 + 1), Kind::File).unwrap();
            let is_free = is_free(&world);
            generation.let_go().unwrap();
            is_free
        };
        let now = Instant::now();
        let later = now + Duration::from_secs(3600);
        assert!(!is_free_after(0, later), "day {n}");
        assert!(!is_free_after(49_997, later), "day {n}");
        assert_eq!(is_free_after(49_998, later), is_newest, "day {n}");
        // The clock is asked after every 64 rows.
        assert!(is_free_after(62, now - Duration::from_millis(501)), "day {n}");
        generation.abandon().unwrap();
    }
}

#[test]
fn a_source_whose_block_of_numbers_is_used_up_goes_on_in_the_next_one_that_is_free() {
    const BLOCK: i64 = 1 << 16;
    let world = World::new();
    let web = NewSource { name: "web", kind: SourceKind::Nfs, settings: "{}", rule: Rule::COPIES, added_at: at(0) };
    world.writer().add_source(&web).unwrap();
    let connection = Connection::open(world.path()).unwrap();
    connection.execute("UPDATE source SET next_node = ?1 WHERE name = 'homes'", [2 * BLOCK - 1]).unwrap();
    let mut nodes = Vec::new();
    world.generation(0, |g| nodes = ["a", "b", "c"].map(|file| create(g, file, 1)).to_vec());
    // The second block is that of the other source.
    assert_eq!(nodes, [2 * BLOCK - 1, 3 * BLOCK, 3 * BLOCK + 1].map(NodeId));
    assert_eq!(world.names(0), ["a", "b", "c"]);
    world.generation(1, |g| assert_eq!(create(g, "d", 1), NodeId(3 * BLOCK + 2), "it goes on there"));
}

#[test]
fn findings_are_counted_by_what_they_mean_and_numbered_as_they_were_reported() {
    use FindingKind::{Gap, Missing, Skew, Unreadable};
    let world = World::new();
    world.generation(0, |_| {});
    world.generation(4, |_| {});
    for n in [2, 6] {
        let (mut writer, source) = (world.writer(), world.source());
        let mut generation = begin(&mut writer, &source, n);
        for (kind, path) in [(Unreadable, "z"), (Gap, "y"), (Skew, "x"), (Missing, "w"), (Skew, "v"), (Gap, "u")] {
            let path = RelPath::parse(path.as_bytes()).unwrap();
            // As a name in it would have it; whatever prints the catalog prints this.
            let harm = if kind == Skew { " \u{202e}x\x1b[2J" } else { "" };
            generation.report(&Finding { kind, path, detail: format!("{}{harm}", kind.word()) }).unwrap();
        }
        let counts = generation.publish(None, 7).unwrap().counts;
        assert_eq!((counts.losses, counts.notices, counts.gaps, counts.index_ms), (2, 4, 2, 7), "day {n}");
        let sql = format!("SELECT number, path, detail FROM finding WHERE at = {} ORDER BY number", at(n).0);
        let told = [
            "1 z unreadable",
            "2 y gap",
            r"3 x skew \\xe2\\x80\\xaex\\x1b[2J",
            "4 w missing",
            r"5 v skew \\xe2\\x80\\xaex\\x1b[2J",
            "6 u gap",
        ];
        assert_eq!(world.rows(&sql), told, "day {n}");
    }
}

#[test]
fn entries_and_bytes_are_those_of_the_names_and_files_that_are_left() {
    for n in [2, 6] {
        let world = World::new();
        let mut kept = NodeId(0);
        world.generation(0, |g| {
            let root = g.root();
            create(g, "a", 5);
            kept = create(g, "k", 11);
            let dir = add(g, root, "d", Kind::Directory);
            let file = g.new_node().unwrap();
            g.link(dir, &name("x"), file, Kind::File).unwrap();
            resize(g, file, 7);
            add(g, dir, "link", Kind::Symlink);
        });
        world.generation(4, |_| {});
        let (mut writer, source) = (world.writer(), world.source());
        let mut generation = begin(&mut writer, &source, n);
        let root = generation.root();
        for gone in ["a", "d"] {
            assert!(generation.unlink(root, &name(gone)).unwrap().is_some());
        }
        // What is below a directory that lost its name is gone with it.
        generation.bury().unwrap();
        create(&mut generation, "b", 3);
        resize(&mut generation, kept, 13);
        let counts = generation.publish(Some(2), 0).unwrap().counts;
        assert_eq!((counts.entries, counts.size_bytes), (2, 16), "day {n}");
        assert_eq!(world.names(n), ["b", "k"]);
        let sums = "SELECT taken_at, entries, size_bytes FROM generation WHERE number <> 3 ORDER BY taken_at";
        assert_eq!(world.rows(sums), ["day 0 5 23", "day 4 5 23"], "day {n}");
    }
}
