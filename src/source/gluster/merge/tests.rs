//! The rules of the merge, each on two or three bricks that say different things.
//! Bricks 0 and 1 are one replica set, 2 and 3 the other, unless a test says otherwise.

use super::super::Gfid;
use super::super::part::{Behind, Line, Node, NodeName, Stamp, State, Text, Versions};
use super::*;
use crate::model::{EntryName, FindingKind, ListedEntry, RelPath, UNPROVEN_ORIGIN};
use std::convert::Infallible;
use std::ops::ControlFlow;

const FILE: u32 = 0o100_644;
const DIRECTORY: u32 = 0o040_755;

fn gfid(number: u8) -> Gfid {
    let mut bytes = [0x40; 16];
    bytes[15] = number;
    Gfid(bytes)
}

fn place(brick: u32) -> BrickPlace {
    BrickPlace { brick, set: brick / 2, arbiter: false, needed: 1 }
}

fn text(text: &str) -> Text {
    Text(text.as_bytes().to_vec())
}

fn state(number: u8, mode: u32, size: u64, ctime: i64) -> State {
    State {
        gfid: gfid(number),
        mode,
        uid: 0,
        gid: 0,
        size,
        allocated: size,
        nlink: 1,
        rdev: 0,
        mtime: Stamp(ctime, 0),
        ctime: Stamp(ctime, 0),
        target: None,
        xattrs: Vec::new(),
        behind: Vec::new(),
        versions: None,
        linkto: false,
        unreadable: None,
    }
}

fn behind(brick: u32, data: bool, entries: bool) -> Behind {
    Behind { brick, data, metadata: false, entries }
}

fn node(state: State, names: &[(Gfid, &str)]) -> Line {
    let names = names.iter().map(|(parent, name)| NodeName { parent: *parent, name: text(name) }).collect();
    Line::Node(Node { state, names, data: false, made: false })
}

fn gathered(parts: &[(BrickPlace, Vec<Line>)]) -> Gathered {
    let mut gathered = Gathered::default();
    for (place, lines) in parts {
        let lines: Lines<'_, Infallible> = Box::new(lines.clone().into_iter().map(Ok));
        gathered.add(*place, lines).unwrap();
    }
    gathered
}

/// Returns (node, size, origin, names) of what changed.
fn told(merged: &Merged) -> Vec<(u8, u64, u32, Vec<String>)> {
    let mut told: Vec<_> = merged
        .changes
        .nodes
        .iter()
        .map(|node| {
            let name = |(parent, name): &(_, EntryName)| {
                format!("{}/{}", Gfid::of_key(*parent).0[15], String::from_utf8_lossy(name.as_bytes()))
            };
            let number = Gfid::of_key(node.key).0[15];
            (number, node.attrs.size_bytes, node.origin, node.names.iter().map(name).collect())
        })
        .collect();
    told.sort();
    told
}

fn to_ask(merged: &Merged) -> Vec<(u32, Vec<u8>)> {
    merged.to_ask.iter().map(|(brick, gfids)| (*brick, gfids.iter().map(|gfid| gfid.0[15]).collect())).collect()
}

#[test]
fn the_copy_that_its_partner_calls_behind_does_not_count() {
    let fresh = State { behind: vec![behind(0, true, false)], ..state(7, FILE, 900, 5) };
    let stale = state(7, FILE, 100, 9);
    let names = [(Gfid::ROOT, "f")];
    let merged = gathered(&[(place(0), vec![node(stale, &names)]), (place(1), vec![node(fresh, &names)])]).merge(false);
    assert_eq!(told(&merged), [(7, 900, 1, vec!["1/f".to_owned()])]);
    assert!(merged.changes.findings.is_empty());
}

#[test]
fn copies_that_call_each_other_behind_are_a_split_brain_and_none_counts() {
    let one = State { behind: vec![behind(1, true, false)], ..state(7, FILE, 100, 5) };
    let other = State { behind: vec![behind(0, true, false)], ..state(7, FILE, 900, 9) };
    let names = [(Gfid::ROOT, "f")];
    let merged = gathered(&[(place(0), vec![node(one, &names)]), (place(1), vec![node(other, &names)])]).merge(false);
    assert_eq!(told(&merged), [(7, 900, UNPROVEN_ORIGIN, vec!["1/f".to_owned()])]);
    let finding = &merged.changes.findings[0];
    assert_eq!(finding.kind, FindingKind::Missing);
    assert!(finding.detail.starts_with("its copies contradict each other (split brain)"), "{}", finding.detail);
}

#[test]
fn an_arbiter_tells_names_and_never_sizes() {
    let arbiter = BrickPlace { arbiter: true, ..place(1) };
    let names = [(Gfid::ROOT, "f")];
    let parts =
        [(place(0), vec![node(state(7, FILE, 900, 5), &names)]), (arbiter, vec![node(state(7, FILE, 0, 9), &names)])];
    assert_eq!(told(&gathered(&parts).merge(false)), [(7, 900, 0, vec!["1/f".to_owned()])]);
}

#[test]
fn a_pointer_file_has_the_other_set_asked_for_the_file_itself() {
    let pointer = State { linkto: true, ..state(7, 0o101_000, 0, 9) };
    let names = [(Gfid::ROOT, "f")];
    let mut gathered = gathered(&[
        (place(0), vec![node(pointer.clone(), &names)]),
        (place(1), vec![node(pointer, &names)]),
        (place(2), Vec::new()),
    ]);
    let merged = gathered.merge(false);
    assert_eq!((told(&merged), to_ask(&merged)), (Vec::new(), vec![(2, vec![7])]));
    let answer: Lines<'_, Infallible> = Box::new([Ok(node(state(7, FILE, 900, 5), &names))].into_iter());
    gathered.add(place(2), answer).unwrap();
    let merged = gathered.merge(false);
    assert_eq!((told(&merged), to_ask(&merged)), (vec![(7, 900, 2, vec!["1/f".to_owned()])], Vec::new()));
}

#[test]
fn a_node_is_gone_when_bricks_of_every_set_say_so() {
    let gone = || Line::Gone { gfid: gfid(7) };
    let merged = gathered(&[(place(0), vec![gone()]), (place(2), Vec::new())]).merge(false);
    assert_eq!((merged.changes.gone.len(), to_ask(&merged)), (0, vec![(2, vec![7])]));
    let both = [(place(0), vec![gone()]), (place(2), vec![gone()])];
    assert_eq!(gathered(&both).merge(false).changes.gone, [gfid(7).key()]);
    // A set that did not answer may have it.
    assert!(gathered(&both).merge(true).changes.gone.is_empty());
}

#[test]
fn a_name_in_a_directory_in_which_the_brick_is_behind_does_not_count() {
    let directory = state(3, DIRECTORY, 4096, 5);
    let accuser = State { behind: vec![behind(0, false, true)], ..directory.clone() };
    let dir = gfid(3);
    let merged = gathered(&[
        (place(0), vec![node(directory, &[(Gfid::ROOT, "d")]), node(state(7, FILE, 100, 5), &[(dir, "old")])]),
        (place(1), vec![node(accuser, &[(Gfid::ROOT, "d")]), Line::Gone { gfid: gfid(7) }]),
    ])
    .merge(false);
    assert_eq!(merged.changes.gone, [gfid(7).key()]);
    assert_eq!(told(&merged), [(3, 4096, 1, vec!["1/d".to_owned()])]);
}

#[test]
fn a_directory_has_the_newest_times_of_all_sets() {
    let names = [(Gfid::ROOT, "d")];
    let late = State { mtime: Stamp(50, 7), ..state(3, DIRECTORY, 4096, 5) };
    let parts = [(place(0), vec![node(state(3, DIRECTORY, 4096, 9), &names)]), (place(2), vec![node(late, &names)])];
    let merged = gathered(&parts).merge(false);
    let attrs = &merged.changes.nodes[0].attrs;
    assert_eq!((attrs.mtime.seconds, attrs.mtime.nanos, attrs.ctime.seconds), (50, 7, 9));
}

#[test]
fn a_copy_that_is_caught_half_healed_does_not_count_against_two_that_agree() {
    let three = |brick| BrickPlace { brick, set: 0, arbiter: false, needed: 1 };
    let names = [(Gfid::ROOT, "d")];
    let healing = State { mode: 0o040_700, ..state(3, DIRECTORY, 4096, 99) };
    let good = || node(state(3, DIRECTORY, 4096, 5), &names);
    let parts = [(three(0), vec![good()]), (three(1), vec![node(healing, &names)]), (three(2), vec![good()])];
    let merged = gathered(&parts).merge(false);
    assert_eq!(merged.changes.nodes[0].attrs.mode, DIRECTORY);
}

/// What became of `d` is known where `old` is gone: the brick that was away has it there, and nobody accuses it of that any more.
#[test]
fn a_name_in_a_directory_that_is_gone_does_not_count() {
    let (old, new) = (gfid(3), gfid(4));
    let top = || State { gfid: Gfid::ROOT, ..state(0, DIRECTORY, 4096, 1) };
    let accuser = State { behind: vec![behind(1, false, true)], ..top() };
    let gone = |gfid| Line::Gone { gfid };
    let good = vec![
        node(accuser, &[]),
        gone(old),
        node(state(4, DIRECTORY, 4096, 9), &[(Gfid::ROOT, "p")]),
        node(state(7, DIRECTORY, 4096, 9), &[(new, "d")]),
    ];
    let stale = vec![
        node(top(), &[]),
        node(state(3, DIRECTORY, 4096, 1), &[(Gfid::ROOT, "p")]),
        gone(new),
        node(state(7, DIRECTORY, 4096, 1), &[(old, "d")]),
    ];
    let merged = gathered(&[(place(0), good.clone()), (place(1), stale.clone())]).merge(false);
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let expected = [(1, 4096, 0, names(&[])), (4, 4096, 0, names(&["1/p"])), (7, 4096, 0, names(&["4/d"]))];
    assert_eq!((told(&merged), to_ask(&merged)), (expected.to_vec(), Vec::new()));
    assert_eq!(merged.changes.gone, [old.key()]);
    assert!(merged.changes.findings.is_empty() && merged.changes.doubts.is_empty());
    // Whoever has not told of a directory that matters is asked.
    let merged = gathered(&[(place(0), vec![good[3].clone()]), (place(1), vec![stale[3].clone()])]).merge(false);
    assert_eq!(to_ask(&merged), [(0, vec![3, 4]), (1, vec![3, 4])]);
}

#[test]
fn where_no_brick_is_believed_in_a_directory_it_is_in_doubt_and_its_nodes_are_as_they_were() {
    let dir = gfid(3);
    let of = |other| State { behind: vec![behind(other, false, true)], ..state(3, DIRECTORY, 4096, 5) };
    let names = [(Gfid::ROOT, "d")];
    let one = vec![node(of(1), &names), node(state(7, FILE, 100, 5), &[(dir, "f")])];
    let other = vec![node(of(0), &names), Line::Gone { gfid: gfid(7) }];
    let merged = gathered(&[(place(0), one), (place(1), other)]).merge(false);
    assert_eq!(merged.changes.doubts.iter().map(|(key, _)| *key).collect::<Vec<_>>(), [dir.key()]);
    assert_eq!((told(&merged).len(), merged.changes.gone.len()), (1, 0), "nothing is said of the file");
    assert!(merged.changes.findings.iter().all(|finding| finding.kind == FindingKind::Missing));
}

#[test]
fn a_brick_that_accuses_itself_is_not_believed_and_accuses_nobody() {
    let new = State { behind: vec![behind(1, true, false), behind(0, true, false)], ..state(7, FILE, 0, 9) };
    let names = [(Gfid::ROOT, "f")];
    let parts = [(place(0), vec![node(state(7, FILE, 900, 5), &names)]), (place(1), vec![node(new, &names)])];
    assert_eq!(told(&gathered(&parts).merge(false)), [(7, 900, 0, vec!["1/f".to_owned()])]);
}

#[test]
fn bricks_that_contradict_each_other_and_accuse_nobody_are_asked_again_and_the_last_answer_counts() {
    let top = || node(State { gfid: Gfid::ROOT, ..state(0, DIRECTORY, 4096, 1) }, &[]);
    let of = |name| node(state(7, FILE, 9, 5), &[(Gfid::ROOT, name)]);
    let mut gathered = gathered(&[(place(0), vec![top(), of("new")]), (place(1), vec![top(), of("old")])]);
    assert_eq!(to_ask(&gathered.merge(false)), [(0, vec![7]), (1, vec![7])]);
    for brick in [0, 1] {
        gathered.note_asked(brick, &[gfid(7)].into());
        let answer: Lines<'_, Infallible> = Box::new([Ok(of("new"))].into_iter());
        gathered.add(place(brick), answer).unwrap();
    }
    let merged = gathered.merge(false);
    assert_eq!((told(&merged).pop(), to_ask(&merged)), (Some((7, 9, 0, vec!["1/new".to_owned()])), Vec::new()));
}

/// Healing makes a pointer file with its mode first, and newer than all others.
#[test]
fn a_pointer_file_that_is_half_made_is_not_the_file() {
    let pointer = State { linkto: true, ..state(7, 0o101_000, 0, 5) };
    let half_made = state(7, 0o101_000, 0, 99);
    let names = [(Gfid::ROOT, "f")];
    let mut gathered = gathered(&[
        (place(0), vec![node(pointer, &names)]),
        (place(1), vec![node(half_made, &names)]),
        (place(2), Vec::new()),
    ]);
    let merged = gathered.merge(false);
    assert_eq!((told(&merged), to_ask(&merged)), (Vec::new(), vec![(2, vec![7])]));
    let answer: Lines<'_, Infallible> = Box::new([Ok(node(state(7, FILE, 900, 5), &names))].into_iter());
    gathered.add(place(2), answer).unwrap();
    assert_eq!(told(&gathered.merge(false)), [(7, 900, 2, vec!["1/f".to_owned()])]);
}

#[test]
fn of_fragments_as_many_as_make_the_whole_are_believed() {
    let part = |brick| BrickPlace { brick, set: 0, arbiter: false, needed: 2 };
    let of = |content, metadata, mode, ctime| {
        let versions = Some(Versions { content, metadata });
        node(State { versions, ..state(3, mode, 4096, ctime) }, &[(Gfid::ROOT, "d")])
    };
    let mode = |parts: &[(BrickPlace, Vec<Line>)]| gathered(parts).merge(false).changes.nodes[0].attrs.mode;
    let (good, stale) = (DIRECTORY, 0o040_700);
    let one_missed =
        [(part(0), vec![of(2, 7, good, 5)]), (part(1), vec![of(2, 6, stale, 99)]), (part(2), vec![of(2, 7, good, 5)])];
    assert_eq!(mode(&one_missed), good);
    // What too few have is not done.
    let one_is_ahead =
        [(part(0), vec![of(2, 6, good, 5)]), (part(1), vec![of(2, 7, stale, 99)]), (part(2), vec![of(2, 6, good, 5)])];
    assert_eq!(mode(&one_is_ahead), good);
    let merged = gathered(&[(part(0), vec![of(2, 7, good, 5)])]).merge(false);
    assert_eq!(merged.changes.nodes[0].origin, UNPROVEN_ORIGIN);
}

/// Merges walks and returns for each directory its path, its entries with their origins, and whether it is complete.
fn walked(parts: &[(BrickPlace, Vec<Line>)]) -> Vec<(String, Vec<String>, bool)> {
    let parts = parts
        .iter()
        .map(|(place, lines)| (*place, Box::new(lines.clone().into_iter().map(Ok)) as Lines<'_, Infallible>))
        .collect();
    let mut walked = Vec::new();
    merge_walk(parts, &mut |_| (), &mut |listing| {
        let entry = |e: &ListedEntry| format!("{}@{}", String::from_utf8_lossy(e.name.as_bytes()), e.origin);
        assert_eq!(listing.number, walked.len() as u64, "directories are listed in the order in which they were named");
        walked.push((listing.path.to_string(), listing.entries.iter().map(entry).collect(), listing.complete));
        ControlFlow::Continue(())
    })
    .unwrap();
    walked
}

fn root() -> Line {
    Line::Node(Node {
        state: State { gfid: Gfid::ROOT, ..state(0, DIRECTORY, 4096, 1) },
        names: Vec::new(),
        data: false,
        made: false,
    })
}

fn directory(path: &[&str]) -> Line {
    Line::Directory { path: path.iter().map(|name| text(name)).collect() }
}

fn entry(name: &str, state: State) -> Line {
    Line::Entry { name: text(name), state }
}

#[test]
fn walks_of_two_sets_are_one_tree_in_the_order_of_names() {
    let dir = |number| state(number, DIRECTORY, 4096, 1);
    let file = |number| state(number, FILE, 9, 1);
    let one = vec![
        root(),
        directory(&[]),
        entry("a", dir(1)),
        entry("f", file(10)),
        entry("z", dir(2)),
        directory(&["a"]),
        entry("sub", dir(3)),
        directory(&["z"]),
        entry("x", file(11)),
        directory(&["a", "sub"]),
    ];
    let other = vec![
        root(),
        directory(&[]),
        entry("a", dir(1)),
        entry("b", dir(4)),
        entry("g", file(12)),
        entry("z", dir(2)),
        directory(&["a"]),
        entry("sub", dir(3)),
        directory(&["b"]),
        directory(&["z"]),
        entry("y", file(13)),
        directory(&["a", "sub"]),
        entry("deep", file(14)),
    ];
    let of = |path: &str, entries: &[&str]| (path.to_owned(), entries.iter().map(|e| (*e).to_owned()).collect(), true);
    assert_eq!(
        walked(&[(place(0), one), (place(2), other)]),
        [
            of("", &["a@0", "b@2", "f@0", "g@2", "z@0"]),
            of("a", &["sub@0"]),
            of("b", &[]),
            of("z", &["x@0", "y@2"]),
            of("a/sub", &["deep@2"]),
        ]
    );
}

#[test]
fn a_directory_that_no_brick_of_a_set_could_list_is_incomplete() {
    let lines = || vec![root(), directory(&[]), entry("d", state(3, DIRECTORY, 4096, 1))];
    let mut good = lines();
    good.extend([directory(&["d"]), entry("f", state(7, FILE, 9, 1))]);
    let dir = |complete| ("d".to_owned(), vec!["f@0".to_owned()], complete);
    assert_eq!(walked(&[(place(0), good.clone()), (place(2), lines())])[1], dir(false));
    // Its partner has told all of it.
    assert_eq!(walked(&[(place(0), good), (place(1), lines())])[1], dir(true));
}

#[test]
fn a_walk_leaves_out_what_a_brick_that_is_behind_still_has() {
    let accuser = State { behind: vec![behind(0, false, true)], ..state(3, DIRECTORY, 4096, 1) };
    let stale = vec![
        root(),
        directory(&[]),
        entry("d", state(3, DIRECTORY, 4096, 1)),
        directory(&["d"]),
        entry("gone", state(7, FILE, 9, 1)),
        entry("lost", state(8, DIRECTORY, 4096, 1)),
        directory(&["d", "lost"]),
        entry("below", state(9, FILE, 9, 1)),
    ];
    let fresh =
        vec![root(), directory(&[]), entry("d", accuser), directory(&["d"]), entry("kept", state(6, FILE, 9, 1))];
    let walked = walked(&[(place(0), stale), (place(1), fresh)]);
    assert_eq!(walked[1], ("d".to_owned(), vec!["kept@1".to_owned()], true));
    assert_eq!(walked.len(), 2);
}

#[test]
fn a_walk_believes_a_directory_by_whoever_proves_that_it_is_there() {
    let accuse = |brick, of: State| State { behind: vec![behind(brick, false, true)], ..of };
    let top = || State { gfid: Gfid::ROOT, ..state(0, DIRECTORY, 4096, 1) };
    let (old, moved) = (state(3, DIRECTORY, 4096, 1), state(4, DIRECTORY, 4096, 9));
    let good = vec![
        Line::Node(Node { state: accuse(1, top()), names: Vec::new(), data: false, made: false }),
        directory(&[]),
        entry("p", moved),
        directory(&["p"]),
        entry("new", state(6, FILE, 9, 1)),
    ];
    // By the same path there is another directory, with another in it that was moved away.
    let stale = vec![
        root(),
        directory(&[]),
        entry("p", old),
        directory(&["p"]),
        entry("new", state(8, FILE, 9, 1)),
        entry("old", state(7, FILE, 9, 1)),
    ];
    let walked = walked(&[(place(0), good), (place(1), stale)]);
    assert_eq!(walked[1], ("p".to_owned(), vec!["new@0".to_owned()], true));
}

#[test]
fn a_directory_in_which_no_brick_is_believed_is_incomplete() {
    let lines = |other, name| {
        let dir = State { behind: vec![behind(other, false, true)], ..state(3, DIRECTORY, 4096, 1) };
        vec![root(), directory(&[]), entry("d", dir), directory(&["d"]), entry(name, state(7, FILE, 9, 1))]
    };
    let walked = walked(&[(place(0), lines(1, "a")), (place(1), lines(0, "b"))]);
    assert_eq!(walked[1], ("d".to_owned(), Vec::new(), false));
}

#[test]
fn a_walk_takes_what_bricks_contradict_each_other_about_and_says_so() {
    let file = |number| state(number, FILE, 9, 1);
    let one = vec![root(), directory(&[]), entry("a", file(6)), entry("b", file(7)), entry("c", file(8))];
    let two = vec![root(), directory(&[]), entry("b", file(7)), entry("c", file(9))];
    // It has not listed the directory, and is of another set.
    let (silent, other) = (vec![root()], vec![root(), directory(&[]), entry("d", file(5))]);
    let parts = [(place(0), one), (place(1), two), (place(2), other), (place(3), silent)];
    let lines = |lines: &Vec<Line>| Box::new(lines.clone().into_iter().map(Ok)) as Lines<'_, Infallible>;
    let parts = parts.iter().map(|(place, part)| (*place, lines(part))).collect();
    let (mut met, mut names) = (Vec::new(), Vec::new());
    merge_walk(parts, &mut |contradiction| met.push(contradiction), &mut |listing| {
        names.extend(listing.entries.iter().map(|entry| entry.name.to_string()));
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(names, ["a", "b", "c", "d"]);
    let of = |name: &str, number| Contradiction {
        path: RelPath::parse(name.as_bytes()).unwrap(),
        gfid: gfid(number),
        set: 0,
    };
    assert_eq!(met, [of("a", 6), of("c", 8)]);
    assert_eq!(met[0].clone().into_finding().kind, FindingKind::Changed);
}
