//! What a mount shows of several generations, against plain trees: every name and every version there was, and what differs between two.
//!
//! The model goes by paths and holds whole trees side by side. It knows no notes, no rows and no numbers.

use crate::ask::{differs, told_by_name};
use crate::tree::{NOW, Name, State};
use asof::catalog::Reader;
use asof::clock::Fixed;
use asof::model::{Kind, Time};
use asof::view::{Ino, Looked, Stat, Tree};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;

type Names<'s> = BTreeMap<String, &'s Name>;

/// Fails if histories and differences of a source are not shown as its trees are, of which there is one a generation.
pub(crate) fn assert_shown(reader: &Reader, source: &str, states: &[(Time, State)], what: &str) {
    if states.is_empty() {
        return;
    }
    let tree =
        || Tree::over(reader.path(), 8, Arc::new(Fixed(NOW)), jiff::tz::TimeZone::UTC).expect("it can be opened");
    // What differs is told in one way as long as it is little, and in another one beyond that.
    let (tree, many) = (tree(), tree().keeping_few_differing(0));
    let top = found(&tree, Ino::ROOT, source).expect("the source is there").ino;
    let paths: Vec<Names<'_>> = states
        .iter()
        .map(|(_, state)| state.names.iter().map(|(slot, name)| (state.path(slot), name)).collect())
        .collect();
    let ever: BTreeSet<&String> = paths.iter().flat_map(BTreeMap::keys).collect();
    let history = found(&tree, top, "@history").expect("there is a generation").ino;
    for path in std::iter::once("").chain(ever.iter().map(|path| path.as_str())) {
        let dir = reached(&tree, history, path).unwrap_or_else(|| panic!("{what}: the history of {source}:{path}"));
        let below = |other: &&&String| other.rsplit_once('/').map_or("", |(above, _)| above) == path;
        let mut expected: Vec<String> =
            ever.iter().filter(below).map(|other| other.rsplit('/').next().expect("a name").to_owned()).collect();
        let since = told_by_name(states, path).into_iter().filter(|since| {
            let place = states.iter().position(|(at, _)| at == since).expect("one of them");
            !path.is_empty() && !paths[place][path].is_directory
        });
        expected.splice(0..0, since.map(|at| format!("@{}", at.view_name())));
        assert_eq!(listed(&tree, dir.ino), Some(expected), "{what}: the history of {source}:{path}");
    }
    let last = states.len() - 1;
    for (number, old) in states.iter().enumerate() {
        // With itself, with its neighbours, and the oldest with the newest.
        let is_asked = |other: usize| number.abs_diff(other) <= 1 || (number, other) == (0, last);
        for (other, new) in states.iter().enumerate().filter(|(other, _)| is_asked(*other)) {
            let tree = if number % 2 == 0 { &tree } else { &many };
            let name = format!("@{}..@{}", old.0.view_name(), new.0.view_name());
            let after = found(tree, top, &name).expect("both are there").ino;
            let before = found(tree, after, ".before").expect("it is always there").ino;
            for (dir, (own, there)) in [(after, (other, number)), (before, (number, other))] {
                let (own, there) = ((&states[own].1, &paths[own]), (&states[there].1, &paths[there]));
                let expected = differing(own, there);
                for path in &ever {
                    let is_shown = reached(tree, dir, path).is_some();
                    assert_eq!(is_shown, expected.contains(*path), "{what}: {source}:{path} in {name}, {dir:?}");
                }
                // A directory that was not seen as a whole fails to list, behind the names that were seen.
                if own.0.unreadable.is_empty() {
                    let (mut shown, mut open) = (BTreeSet::new(), vec![String::new()]);
                    while let Some(path) = open.pop() {
                        let ino = reached(tree, dir, &path).expect("it was listed").ino;
                        for name in listed(tree, ino).into_iter().flatten().filter(|name| name != ".before") {
                            let below = if path.is_empty() { name } else { format!("{path}/{name}") };
                            if own.1[&below].is_directory {
                                open.push(below.clone());
                            }
                            shown.insert(below);
                        }
                    }
                    assert_eq!(shown, expected, "{what}: {name} of {source}, {dir:?}");
                }
            }
        }
    }
}

fn found(tree: &Tree, dir: Ino, name: &str) -> Option<Stat> {
    match tree.lookup(dir, name.as_bytes()) {
        Ok(Looked::Found(stat, _)) => Some(stat),
        // Of a directory that was not seen as a whole, a name that is not there may be.
        Ok(Looked::Missing(_)) | Err(asof::view::Error::Unlisted(_)) => None,
        Err(e) => panic!("{name}: {e}"),
    }
}

fn reached(tree: &Tree, top: Ino, path: &str) -> Option<Stat> {
    let mut names = path.split('/').filter(|name| !name.is_empty());
    let top = tree.stat(top).expect("it is there").0;
    names.try_fold(top, |dir, name| if dir.kind == Kind::Directory { found(tree, dir.ino, name) } else { None })
}

/// Returns the names of a directory; none if it cannot be listed.
fn listed(tree: &Tree, dir: Ino) -> Option<Vec<String>> {
    let mut names = Vec::new();
    let listed = tree.list(dir, 0, &mut |name, _, _, _| {
        names.push(String::from_utf8(name.to_vec()).expect("a plain name"));
        ControlFlow::Continue(())
    });
    listed.ok().map(|()| names.split_off(2))
}

/// Returns the paths of a tree that differ from another one, with the directories above them.
fn differing((own, names): (&State, &Names<'_>), (other, there): (&State, &Names<'_>)) -> BTreeSet<String> {
    let mut differing: BTreeSet<String> = BTreeSet::new();
    let slots = |state: &State, name: &Name| -> BTreeSet<String> {
        state.names.iter().filter(|(_, one)| one.who == name.who).map(|(slot, _)| state.path(slot)).collect()
    };
    // Directories come before what is in them.
    let mut whole: BTreeSet<&str> = BTreeSet::new();
    for (path, name) in names {
        let above = path.rsplit_once('/').map_or("", |(above, _)| above);
        let is_other = there.get(path).is_none_or(|is| is.who != name.who) || whole.contains(above);
        let is_told = || {
            let was = there[path];
            let has_moved = slots(own, name) != slots(other, was);
            let is_as_readable = own.unreadable.contains(&name.who) == other.unreadable.contains(&was.who);
            let word = differs(&was.is, &name.is, has_moved);
            // Of directories type, size, time and links go by what is in them.
            let is_mode = |column: usize| was.is.split('|').nth(column) != name.is.split('|').nth(column);
            !is_as_readable || if name.is_directory { is_mode(3) || is_mode(5) } else { word.is_some() }
        };
        if is_other {
            whole.insert(path);
        }
        if is_other || is_told() {
            let mut here = path.as_str();
            differing.insert(here.to_owned());
            while let Some((above, _)) = here.rsplit_once('/') {
                differing.insert(above.to_owned());
                here = above;
            }
        }
    }
    differing
}
