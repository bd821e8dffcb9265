//! What is kept of very many findings,
//! and what is counted.

use super::*;

fn finding(kind: FindingKind, path: &str) -> Finding {
    Finding { kind, path: RelPath::parse(path.as_bytes()).unwrap(), detail: "it changed".into() }
}

/// Returns kind, number of rows, and the detail of the last row of each kind of findings as of a day.
fn kept(world: &World, n: i64) -> Vec<String> {
    world.rows(&format!(
        "SELECT kind, count(*), (SELECT detail FROM finding l WHERE l.source = f.source AND l.at = f.at AND l.kind = f.kind \
         ORDER BY number DESC LIMIT 1) FROM finding f WHERE at = {} GROUP BY kind",
        at(n).0
    ))
}

/// Whether it is the newest generation or one that is put in between.
#[test]
fn of_very_many_findings_of_a_kind_the_first_ones_are_kept_and_all_are_counted() {
    let world = World::new();
    world.generation(0, |_| {});
    world.generation(4, |_| {});
    for n in [2, 6] {
        let mut writer = world.writer();
        let mut generation = begin(&mut writer, &world.source(), n);
        for number in 0..10_003 {
            generation.report(&finding(FindingKind::Changed, &format!("f{number}"))).unwrap();
        }
        generation.report(&finding(FindingKind::Unreadable, "secret")).unwrap();
        let counts = generation.publish(None, 0).unwrap().counts;
        assert_eq!((counts.losses, counts.notices, counts.gaps), (1, 10_003, 0));
        let more = "3 more findings of this kind were counted and are not listed";
        assert_eq!(kept(&world, n), [format!("changed 10001 {more}"), "unreadable 1 it changed".to_owned()], "day {n}");
        let numbers = format!("SELECT count(*), min(number), max(number) FROM finding WHERE at = {}", at(n).0);
        assert_eq!(world.rows(&numbers), ["10002 1 10002"]);
        let found = world.reader().findings(world.source().id, at(n)).unwrap();
        assert_eq!(found.last().unwrap(), &("changed".to_owned(), Vec::new(), more.to_owned()));
        assert_eq!(found[9_999].1, b"f9999");
    }
}

#[test]
fn of_findings_with_long_paths_fewer_are_kept() {
    let world = World::new();
    let long = vec!["d".repeat(250); 80].join("/");
    world.generation(0, |g| {
        for number in 0..300 {
            g.report(&finding(FindingKind::Changed, &format!("{long}/{number}"))).unwrap();
        }
        // Short ones after them are not: those that are kept are the first.
        g.report(&finding(FindingKind::Changed, "short")).unwrap();
    });
    assert_eq!(kept(&world, 0), ["changed 209 93 more findings of this kind were counted and are not listed"]);
}

/// What a manifest tells is told again: also to a program that keeps fewer.
#[test]
fn what_stands_for_others_counts_as_many_and_is_added_to() {
    let world = World::new();
    world.generation(0, |g| {
        g.report(&finding(FindingKind::Changed, "f")).unwrap();
        g.report(&Finding::more(FindingKind::Changed, 5)).unwrap();
        g.report(&finding(FindingKind::Changed, "g")).unwrap();
        // The words alone are no number.
        g.report(&Finding { detail: Finding::more(FindingKind::Changed, 7).detail, ..finding(FindingKind::Skew, "x") })
            .unwrap();
    });
    let counted = world.rows("SELECT losses, notices FROM generation");
    assert_eq!(counted, ["0 8"]);
    let more = "more findings of this kind were counted and are not listed";
    assert_eq!(kept(&world, 0), [format!("changed 2 6 {more}"), format!("skew 1 7 {more}")]);
}
