//! What is asked of a history, against plain trees: what differs between two of them, and how each path came to be what it is.
//!
//! The model holds whole trees side by side, name by name. It knows no notes, no rows and no generation that is not there.

use crate::tree::{Name, State, Who};
use asof::catalog::{Difference, Reader, Scope, Version, Within};
use asof::model::{Kind, RelPath, Time};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

type Slot = (Who, &'static str);

/// Fails if the answers about a source are not what its trees say, of which there is one a generation.
pub(crate) fn assert_asked(reader: &Reader, source: &str, states: &[(Time, State)], what: &str) {
    let scope = reader.scope_of(source).expect("the source is there");
    assert_eq!(scope.instants().collect::<Vec<_>>(), states.iter().map(|(at, _)| *at).collect::<Vec<_>>(), "{what}");
    for (number, old) in states.iter().enumerate() {
        // With the next one, with itself and one after that, and the other way around.
        for new in states[number..].iter().take(3) {
            for (old, new) in [(old, new), (new, old)] {
                let found = reader.diff(&scope, (old.0, new.0), &Within::all()).expect("it can be asked");
                let found: Vec<String> = found.iter().map(line).collect();
                assert_eq!(found, diff(&old.1, &new.1), "{what}: {source} from {} to {}", old.0, new.0);
            }
        }
    }
    assert_amounts(reader, &scope, states, what);
    let paths: BTreeSet<String> =
        states.iter().flat_map(|(_, state)| state.names.keys().map(|slot| state.path(slot))).collect();
    for path in paths {
        assert_story(reader, &scope, states, &path, what);
    }
}

fn line(difference: &Difference) -> String {
    let old = difference.old_path.as_ref().map(ToString::to_string).unwrap_or_default();
    format!("{}|{old}|{}|{}", difference.path, difference.what.word(), difference.below.entries)
}

/// The names of one node in two trees.
#[derive(Default)]
struct Both<'s> {
    old: BTreeMap<&'s Slot, &'s Name>,
    new: BTreeMap<&'s Slot, &'s Name>,
}

/// Tells whether a directory lives in a tree: it has a name, or is the top.
fn lives(state: &State, dir: &Who) -> bool {
    *dir == state.top || state.names.values().any(|name| name.is_directory && name.who == *dir)
}

/// Returns what differs between two trees.
fn diff(old: &State, new: &State) -> Vec<String> {
    let mut nodes: BTreeMap<&Who, Both<'_>> = BTreeMap::new();
    for (slot, name) in &old.names {
        nodes.entry(&name.who).or_default().old.insert(slot, name);
    }
    for (slot, name) in &new.names {
        nodes.entry(&name.who).or_default().new.insert(slot, name);
    }
    let mut lines: Vec<(String, String, &str, bool)> = Vec::new();
    // Names that are told with the directory that they are in, by that directory.
    let (mut came, mut went): (Vec<&Slot>, Vec<&Slot>) = (Vec::new(), Vec::new());
    for both in nodes.values() {
        let is_directory = both.old.values().chain(both.new.values()).any(|name| name.is_directory);
        let mut lost: Vec<(String, &Slot)> = only(&both.old, &both.new).map(|slot| (old.path(slot), slot)).collect();
        let mut got: Vec<(String, &Slot)> = only(&both.new, &both.old).map(|slot| (new.path(slot), slot)).collect();
        lost.sort();
        got.sort();
        let stays = !both.old.is_empty() && !both.new.is_empty();
        let pairs = if stays { lost.len().min(got.len()) } else { 0 };
        let has_moved = !(lost.is_empty() && got.is_empty());
        for ((was, _), (is, _)) in lost.iter().zip(&got).take(pairs) {
            lines.push((is.clone(), was.clone(), "renamed", is_directory));
        }
        for (path, slot) in lost.into_iter().skip(pairs) {
            match lives(new, &slot.0) {
                true => lines.push((path, String::new(), if stays { "unlinked" } else { "deleted" }, is_directory)),
                false => went.push(slot),
            }
        }
        let targets: Vec<&Slot> = got.iter().take(pairs).map(|(_, slot)| *slot).collect();
        for (path, slot) in got.into_iter().skip(pairs) {
            match lives(old, &slot.0) {
                true => lines.push((path, String::new(), if stays { "linked" } else { "created" }, is_directory)),
                false => came.push(slot),
            }
        }
        let (Some(was), Some(is)) = (both.old.values().next(), both.new.values().next()) else { continue };
        let is_as_readable = old.unreadable.contains(&was.who) == new.unreadable.contains(&is.who);
        let differs = differs(&was.is, &is.is, has_moved).or((!is_as_readable).then_some("attributes"));
        let Some(word) = differs else { continue };
        for slot in both.new.keys().filter(|slot| both.old.contains_key(*slot) || targets.contains(slot)) {
            lines.push((new.path(slot), String::new(), word, is_directory));
        }
    }
    if old.unreadable.contains(&old.top) != new.unreadable.contains(&new.top) {
        lines.push((String::new(), String::new(), "attributes", true));
    }
    join_replaced(&mut lines);
    let mut told: Vec<String> = Vec::new();
    for (path, was, word, is_directory) in lines {
        let (slots, state) = if word == "deleted" { (&went, old) } else { (&came, new) };
        let counts = is_directory && matches!(word, "created" | "deleted");
        let below = slots.iter().filter(|slot| counts && state.path(slot).starts_with(&format!("{path}/"))).count();
        told.push(format!("{path}|{was}|{word}|{below}"));
    }
    told.sort_by_key(|line| order(line));
    told
}

fn order(line: &str) -> (String, usize) {
    const WORDS: [&str; 8] =
        ["created", "deleted", "modified", "attributes", "renamed", "linked", "unlinked", "replaced"];
    let parts: Vec<&str> = line.split('|').collect();
    (parts[0].to_owned(), WORDS.iter().position(|word| *word == parts[2]).expect("a word"))
}

fn only<'m>(
    these: &'m BTreeMap<&'m Slot, &'m Name>,
    others: &'m BTreeMap<&'m Slot, &'m Name>,
) -> impl Iterator<Item = &'m Slot> {
    these.keys().filter(|slot| !others.contains_key(*slot)).copied()
}

/// Says how two versions differ: type, size, mtime, mode, links, attributes, target, digest.
pub(crate) fn differs(was: &str, is: &str, has_moved: bool) -> Option<&'static str> {
    let (was, is): (Vec<&str>, Vec<&str>) = (was.split('|').collect(), is.split('|').collect());
    let differ: Vec<usize> = (0..was.len()).filter(|column| was[*column] != is[*column]).collect();
    let is_content = |column: &usize| [1, 2, 6, 7].contains(column);
    match differ.as_slice() {
        [] => None,
        // As many links more or less as names.
        [4] if has_moved => None,
        columns if columns.iter().any(is_content) => Some("modified"),
        _ => Some("attributes"),
    }
}

/// One file came and another went, under one name.
fn join_replaced(lines: &mut Vec<(String, String, &str, bool)>) {
    let is_came = |word: &str| matches!(word, "created" | "linked");
    let is_went = |word: &str| matches!(word, "deleted" | "unlinked");
    let came: Vec<String> = lines.iter().filter(|line| is_came(line.2) && !line.3).map(|line| line.0.clone()).collect();
    let went: Vec<String> = lines.iter().filter(|line| is_went(line.2) && !line.3).map(|line| line.0.clone()).collect();
    for path in came.into_iter().filter(|path| went.contains(path)) {
        lines.retain(|line| line.0 != path || line.3 || !(is_came(line.2) || is_went(line.2)));
        lines.push((path, String::new(), "replaced", false));
    }
}

/// A version as the model has it: since, until, path, what it is.
type Told = (Time, Option<Time>, String);

fn told(versions: &[Version]) -> Vec<Told> {
    use asof::catalog::End;
    let until = |end: End| match end {
        End::Newest => None,
        End::Changes(at) | End::Gone(at) => Some(at),
    };
    versions.iter().map(|version| (version.since, until(version.end), version.path.to_string())).collect()
}

/// Returns versions of what is given for each generation (path, what it is; none: it is not there), equal neighbours as one.
fn versions(states: &[(Time, State)], each: &[Option<(String, String)>]) -> Vec<Told> {
    let mut told: Vec<Told> = Vec::new();
    for (number, (at, _)) in states.iter().enumerate() {
        let before = number.checked_sub(1).and_then(|before| each[before].as_ref());
        let here = each[number].as_ref();
        if here == before {
            continue;
        }
        if let (Some(_), Some(last)) = (before, told.last_mut()) {
            last.1 = Some(*at);
        }
        if let Some((path, _)) = here {
            told.push((*at, None, path.clone()));
        }
    }
    told
}

/// Returns the generations in which the versions of whatever a path led to appear.
pub(crate) fn told_by_name(states: &[(Time, State)], path: &str) -> Vec<Time> {
    versions(states, &by_name(states, path)).into_iter().map(|told| told.0).collect()
}

/// Returns what a path led to in each generation.
fn by_name(states: &[(Time, State)], path: &str) -> Vec<Option<(String, String)>> {
    let at_path = |state: &State| {
        let name = state.names.iter().find(|(slot, _)| state.path(slot) == path);
        name.map(|(_, name)| (path.to_owned(), described(state, name)))
    };
    states.iter().map(|(_, state)| at_path(state)).collect()
}

/// Returns all that makes a version another one.
fn described(state: &State, name: &Name) -> String {
    format!("{}|{}", name.is, state.unreadable.contains(&name.who))
}

/// Fails if the history of a path is not what the trees say: that of its last file, and that of its name.
fn assert_story(reader: &Reader, scope: &Scope, states: &[(Time, State)], path: &str, what: &str) {
    let asked = RelPath::parse(path.as_bytes()).expect("a plain path");
    let at_path =
        |state: &State| state.names.iter().find(|(slot, _)| state.path(slot) == path).map(|(_, name)| name.clone());
    let found = reader.story_of_name(scope, &asked).expect("it can be asked");
    assert_eq!(told(&found), versions(states, &by_name(states, path)), "{what}: the name {path}");
    let stays = reader.stays(scope, &asked).expect("it can be asked");
    let stay = stays.last().expect("it led somewhere");
    let who = states.iter().rev().find_map(|(_, state)| at_path(state)).expect("it is in one of them").who;
    let mut by_node: Vec<Option<(String, String)>> = Vec::new();
    for (_, state) in states {
        let names: BTreeMap<String, &Name> = state
            .names
            .iter()
            .filter(|(_, name)| name.who == who)
            .map(|(slot, name)| (state.path(slot), name))
            .collect();
        let before = by_node.iter().rev().flatten().next().map(|(path, _)| path.clone());
        let path = [Some(path.to_owned()), before].into_iter().flatten().find(|path| names.contains_key(path));
        let path = path.or_else(|| names.keys().next().cloned());
        by_node.push(path.map(|path| (path.clone(), described(state, names[&path]))));
    }
    let found = reader.story(scope, (stay.node, stay.kind), &asked).expect("it can be asked");
    assert_eq!(told(&found), versions(states, &by_node), "{what}: the file {path}");
    if stay.kind == Kind::Directory {
        assert_below(reader, scope, states, &by_node, stay.node, what);
    }
}

/// Fails if the history of a directory is not what the generations differ in there.
fn assert_below(
    reader: &Reader,
    scope: &Scope,
    states: &[(Time, State)],
    each: &[Option<(String, String)>],
    dir: asof::model::NodeId,
    what: &str,
) {
    let path = |number: usize| each[number].as_ref().map(|(path, _)| RelPath::parse(path.as_bytes()).expect("a path"));
    let (mut expected, mut found) = (Vec::new(), Vec::new());
    for number in 1..states.len() {
        let within = Within { before: path(number - 1), after: path(number) };
        let times = (states[number - 1].0, states[number].0);
        let lines = reader.diff(scope, times, &within).expect("it can be asked");
        expected.extend(lines.iter().map(|one| format!("{} {}", times.1, line(one))));
    }
    let each = &mut |at, lines: Vec<Difference>| {
        found.extend(lines.iter().map(|one| format!("{at} {}", line(one))));
        ControlFlow::Continue(())
    };
    reader.changes_below(scope, dir, Time(i64::MIN), each).expect("it can be asked");
    assert_eq!(found, expected, "{what}: the directory {dir}");
}

/// The regular files of a tree, each once, with their sizes.
fn sizes(state: &State) -> BTreeMap<&Who, i64> {
    let parts = state.names.values().map(|name| (&name.who, name.is.split('|').collect::<Vec<_>>()));
    parts.filter(|(_, is)| is[0] == "file").map(|(who, is)| (who, is[1].parse().expect("a size"))).collect()
}

/// Fails if growth and churn of a source are not what its trees say.
fn assert_amounts(reader: &Reader, scope: &Scope, states: &[(Time, State)], what: &str) {
    let totals: Vec<(Time, i64, i64)> =
        states.iter().map(|(at, state)| (*at, state.names.len() as i64, sizes(state).into_values().sum())).collect();
    let growth = reader.growth(scope).expect("it can be asked");
    let found: Vec<(Time, i64, i64)> = growth.iter().map(|one| (one.at, one.entries, one.size_bytes)).collect();
    assert_eq!(found, totals, "{what}: growth");
    let more = totals.windows(2).map(|pair| (Some(pair[1].1 - pair[0].1), Some(pair[1].2 - pair[0].2)));
    let more: Vec<_> = [(None, None)].into_iter().chain(more).take(totals.len()).collect();
    assert_eq!(growth.iter().map(|one| (one.more_entries, one.more_bytes)).collect::<Vec<_>>(), more, "{what}: growth");
    let churn = reader.churn(scope, Time(i64::MIN)).expect("it can be asked");
    let found: Vec<(Time, [i64; 8])> = churn
        .iter()
        .map(|one| {
            let kinds = [one.changed, one.created, one.deleted, one.modified, one.renamed, one.attributes];
            (one.at, [&kinds[..], &[one.new_bytes, one.gone_bytes]].concat().try_into().expect("eight"))
        })
        .collect();
    let expected: Vec<(Time, [i64; 8])> =
        states.windows(2).map(|pair| (pair[1].0, amounts(&pair[0].1, &pair[1].1))).collect();
    assert_eq!(found, expected, "{what}: churn");
}

/// Returns how many nodes differ between two trees; are new, gone, have other content, other names, other attributes; bytes that are new and gone.
fn amounts(old: &State, new: &State) -> [i64; 8] {
    let by_node = |state: &'_ State| {
        let mut nodes: BTreeMap<Who, (BTreeSet<Slot>, String)> = BTreeMap::new();
        for (slot, name) in &state.names {
            let node = nodes.entry(name.who.clone()).or_insert_with(|| (BTreeSet::new(), described(state, name)));
            node.0.insert(slot.clone());
        }
        nodes
    };
    let (was, is) = (by_node(old), by_node(new));
    let (old_sizes, new_sizes) = (sizes(old), sizes(new));
    let size = |sizes: &BTreeMap<&Who, i64>, who: &Who| sizes.get(who).copied().unwrap_or(0);
    let mut found = [0; 8];
    let mut count = |kind: usize, who: &Who| {
        found[0] += 1;
        found[kind] += 1;
        found[6] += if [1, 3].contains(&kind) { size(&new_sizes, who) } else { 0 };
        found[7] += if [2, 3].contains(&kind) { size(&old_sizes, who) } else { 0 };
    };
    for who in was.keys().chain(is.keys().filter(|who| !was.contains_key(*who))) {
        match (was.get(who), is.get(who)) {
            (None, Some(_)) => count(1, who),
            (Some(_), None) => count(2, who),
            (Some(was), Some(is)) if was == is => {}
            (Some(was), Some(is)) => {
                let parts = |text: &str| text.split('|').map(str::to_owned).collect::<Vec<_>>();
                let (one, other) = (parts(&was.1), parts(&is.1));
                let is_content = [1, 2, 6, 7].into_iter().any(|column| one[column] != other[column]);
                count(
                    if is_content {
                        3
                    } else if was.0 != is.0 {
                        4
                    } else {
                        5
                    },
                    who,
                );
            }
            (None, None) => {}
        }
    }
    if old.unreadable.contains(&old.top) != new.unreadable.contains(&new.top) {
        found[0] += 1;
        found[5] += 1;
    }
    found
}
