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
fn differs(was: &str, is: &str, has_moved: bool) -> Option<&'static str> {
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

/// Returns all that makes a version another one.
fn described(state: &State, name: &Name) -> String {
    format!("{}|{}", name.is, state.unreadable.contains(&name.who))
}

/// Fails if the history of a path is not what the trees say: that of its last file, and that of its name.
fn assert_story(reader: &Reader, scope: &Scope, states: &[(Time, State)], path: &str, what: &str) {
    let asked = RelPath::parse(path.as_bytes()).expect("a plain path");
    let at_path =
        |state: &State| state.names.iter().find(|(slot, _)| state.path(slot) == path).map(|(_, name)| name.clone());
    let by_name: Vec<Option<(String, String)>> =
        states.iter().map(|(_, state)| at_path(state).map(|name| (path.to_owned(), described(state, &name)))).collect();
    let found = reader.story_of_name(scope, &asked).expect("it can be asked");
    assert_eq!(told(&found), versions(states, &by_name), "{what}: the name {path}");
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
