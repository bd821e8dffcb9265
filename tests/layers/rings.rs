//! No ring inside of a room: which file needs which, and that none needs itself by way of others.
//!
//! One file *needs* another one of its room if, outside of tests, it names something that is defined there. A path is
//! followed through `mod`, `use` and `pub use` to the file in which its item stands, so whoever passes a name on is not
//! needed and needs nobody: a parent that declares `mod child;` and re-exports what is in it does not need the child, and
//! a child that writes `super::Thing` needs the file that defines `Thing`, which is its parent only if it stands there.
//! `use` for oneself is a need (a trait is rarely named again); `pub use`, `pub(...) use` and `mod` are none, unless the
//! name is written again further down.
//!
//! A *ring* is a set of files of which each needs every other one, directly or by way of the others. Parents and children
//! are files like all others: what both of them need stands in a third file. No room has one.
//!
//! The check reads names and knows no types: a call of a method needs nobody, and a name that a macro makes is not seen.

use super::read::{File, Token, is_name, is_test_file, load_sources, module_path, room_of, test_files, tokens_of};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// The names of a module, from the crate's root.
type ModulePath = Vec<String>;

/// What a name in a module means.
enum Means {
    /// Something that stands in this file.
    Item(usize),
    /// A module.
    Module(ModulePath),
    /// What this path, written in that module, means.
    Path(Vec<String>),
}

/// Where a path leads.
enum Target {
    Item(usize),
    Module(ModulePath),
}

/// A path that is written in a file.
struct Mention {
    file: usize,
    module: ModulePath,
    line: usize,
    path: Vec<String>,
}

/// What all files together say.
#[derive(Default)]
struct Survey {
    /// The file of each module that has one of its own.
    files: BTreeMap<ModulePath, usize>,
    names: BTreeMap<ModulePath, BTreeMap<String, Means>>,
    /// What a module takes in with `*`.
    globs: BTreeMap<ModulePath, Vec<Vec<String>>>,
    mentions: Vec<Mention>,
}

/// The files that each file needs, with the line on which that shows first.
type Needs = BTreeMap<usize, BTreeMap<usize, usize>>;

#[test]
fn no_room_has_a_ring_of_files() {
    let found = rings(&load_sources());
    assert!(found.is_empty(), "{} rings:\n{}", found.len(), found.join("\n"));
}

/// Returns each ring as text: who needs whom in it, a line each.
fn rings(files: &[File]) -> Vec<String> {
    let needs = needs(files);
    let reached: Vec<BTreeSet<usize>> = (0..files.len()).map(|file| reach(&needs, file)).collect();
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    for first in 0..files.len() {
        let ring: BTreeSet<usize> =
            reached[first].iter().copied().filter(|other| reached[*other].contains(&first)).collect();
        if ring.is_empty() || !seen.insert(ring.clone()) {
            continue;
        }
        let mut text = format!("a ring of {} files of {}:", ring.len(), room_of(&files[first].path));
        for from in &ring {
            for (to, line) in needs[from].iter().filter(|(to, _)| ring.contains(to)) {
                write!(text, "\n  {}:{line} needs {}", files[*from].path, files[*to].path).expect("a String takes all");
            }
        }
        found.push(text);
    }
    found
}

/// Returns all that `file` needs, directly or by way of others; itself only if it is in a ring.
fn reach(needs: &Needs, file: usize) -> BTreeSet<usize> {
    let mut reached = BTreeSet::new();
    let mut left = vec![file];
    while let Some(at) = left.pop() {
        let next = needs.get(&at).into_iter().flat_map(BTreeMap::keys);
        left.extend(next.copied().filter(|next| reached.insert(*next)));
    }
    reached
}

fn needs(files: &[File]) -> Needs {
    let tests = test_files(files);
    let mut survey = Survey::default();
    for (number, file) in files.iter().enumerate() {
        if file.path != "src/main.rs" && !is_test_file(&file.path, &tests) {
            survey.add(number, file);
        }
    }
    let mut needs = Needs::new();
    for mention in &survey.mentions {
        let Some(Target::Item(to)) = survey.resolve(&mention.module, &mention.path, &mut BTreeSet::new()) else {
            continue;
        };
        if to != mention.file && room_of(&files[to].path) == room_of(&files[mention.file].path) {
            needs.entry(mention.file).or_default().entry(to).or_insert(mention.line);
        }
    }
    needs
}

impl Survey {
    /// Takes in what the tokens of one file say.
    fn add(&mut self, number: usize, file: &File) {
        const ITEMS: &[&str] = &["fn", "struct", "enum", "union", "trait", "type", "const", "static"];
        let tokens = tokens_of(file);
        let text = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
        let mut module = module_path(&file.path);
        self.files.insert(module.clone(), number);
        self.names.entry(module.clone()).or_default();
        // At which depth of braces the items of each module around this place stand.
        let (mut depth, mut depths) = (0, vec![0]);
        let mut at = 0;
        while at < tokens.len() {
            let is_at_top = depths.last() == Some(&depth);
            match text(at) {
                "{" => depth += 1,
                "}" => {
                    if is_at_top && depths.len() > 1 {
                        depths.pop();
                        module.pop();
                    }
                    depth -= 1;
                }
                "mod" => {
                    let inner = [module.as_slice(), &[text(at + 1).to_owned()]].concat();
                    self.define(&module, text(at + 1), Means::Module(inner.clone()));
                    if text(at + 2) == "{" {
                        module = inner;
                        self.names.entry(module.clone()).or_default();
                        depth += 1;
                        depths.push(depth);
                    }
                    at += 2;
                }
                "use" => {
                    let is_passed_on = at > 0 && matches!(text(at - 1), "pub" | ")");
                    let mut paths = Vec::new();
                    let end = read_use(&tokens, at + 1, &mut Vec::new(), &mut paths);
                    for (path, name) in paths {
                        self.take_use(number, &module, tokens[at].line, (path, name), is_passed_on && is_at_top);
                    }
                    at = end;
                    continue;
                }
                "macro_rules" => self.define(&module, text(at + 2), Means::Item(number)),
                word if is_at_top && ITEMS.contains(&word) && is_name(text(at + 1)) && text(at + 1) != "fn" => {
                    self.define(&module, text(at + 1), Means::Item(number));
                    at += 1;
                }
                word if is_name(word) && (at == 0 || !matches!(text(at - 1), "." | "::")) => {
                    let mut path = vec![word.to_owned()];
                    while text(at + 1) == "::" && is_name(text(at + 2)) {
                        path.push(text(at + 2).to_owned());
                        at += 2;
                    }
                    self.mentions.push(Mention { file: number, module: module.clone(), line: tokens[at].line, path });
                }
                _ => {}
            }
            at += 1;
        }
    }

    /// Takes in one path of a `use`, and the name by which it goes from here on.
    fn take_use(
        &mut self,
        file: usize,
        module: &[String],
        line: usize,
        (path, name): (Vec<String>, String),
        is_passed_on: bool,
    ) {
        if !is_passed_on {
            self.mentions.push(Mention { file, module: module.to_vec(), line, path: path.clone() });
        }
        match name.as_str() {
            "_" => {}
            "*" => self.globs.entry(module.to_vec()).or_default().push(path),
            name => self.define(module, name, Means::Path(path)),
        }
    }

    /// The first meaning stays: a `use` inside of a function may take a name that the module uses for something else.
    fn define(&mut self, module: &[String], name: &str, means: Means) {
        self.names.entry(module.to_vec()).or_default().entry(name.to_owned()).or_insert(means);
    }

    /// Follows a path that is written in `module`. None: it leads out of the crate, or to something that has no name of its
    /// own in a module, as a variable.
    fn resolve(&self, module: &[String], path: &[String], seen: &mut BTreeSet<(ModulePath, String)>) -> Option<Target> {
        let ups = path.iter().take_while(|part| matches!(part.as_str(), "self" | "super")).count();
        let up = path[..ups].iter().filter(|part| *part == "super").count();
        match path.first()?.as_str() {
            "crate" => self.walk(Vec::new(), &path[1..], seen),
            "self" | "super" => self.walk(module[..module.len().saturating_sub(up)].to_vec(), &path[ups..], seen),
            first => match self.look(module, first, seen)? {
                Target::Module(inner) => self.walk(inner, &path[1..], seen),
                item @ Target::Item(_) => Some(item),
            },
        }
    }

    /// Goes from `module` down `path` to the first item on it: what follows belongs to that.
    fn walk(&self, module: ModulePath, path: &[String], seen: &mut BTreeSet<(ModulePath, String)>) -> Option<Target> {
        let mut at = module;
        for name in path {
            match self.look(&at, name, seen) {
                Some(Target::Module(inner)) => at = inner,
                item @ Some(Target::Item(_)) => return item,
                // A macro made it.
                None => return self.files.get(&at).copied().map(Target::Item),
                // A room is there by its files: `lib.rs` only lists it, and a made-up tree has none.
            }
        }
        Some(Target::Module(at))
    }

    fn look(&self, module: &[String], name: &str, seen: &mut BTreeSet<(ModulePath, String)>) -> Option<Target> {
        if !seen.insert((module.to_vec(), name.to_owned())) {
            return None;
        }
        match self.names.get(module).and_then(|names| names.get(name)) {
            Some(Means::Item(file)) => Some(Target::Item(*file)),
            Some(Means::Module(inner)) => Some(Target::Module(inner.clone())),
            Some(Means::Path(path)) => self.resolve(module, path, seen),
            None => {
                let inner = [module, &[name.to_owned()]].concat();
                let is_room = module.is_empty() && self.files.keys().any(|path| path.starts_with(&inner));
                if is_room { Some(Target::Module(inner)) } else { self.look_in_globs(module, name, seen) }
            }
        }
    }

    fn look_in_globs(
        &self,
        module: &[String],
        name: &str,
        seen: &mut BTreeSet<(ModulePath, String)>,
    ) -> Option<Target> {
        self.globs.get(module).into_iter().flatten().find_map(|path| match self.resolve(module, path, seen)? {
            Target::Module(inner) => self.look(&inner, name, seen),
            Target::Item(_) => None,
        })
    }
}

/// Reads what follows a `use` at `at`: each way through its groups, with the name by which it goes, `*` for all that is
/// there. Returns the place after it.
fn read_use(tokens: &[Token], mut at: usize, prefix: &mut Vec<String>, out: &mut Vec<(Vec<String>, String)>) -> usize {
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
    let length = prefix.len();
    loop {
        match text(at) {
            "{" => {
                at += 1;
                while at < tokens.len() && text(at) != "}" {
                    at = if text(at) == "," { at + 1 } else { read_use(tokens, at, prefix, out) };
                }
                at += 1;
                break;
            }
            "*" => {
                out.push((prefix.clone(), "*".to_owned()));
                at += 1;
                break;
            }
            "::" => at += 1,
            name => {
                // `a::{self}` is `a`.
                if name != "self" || prefix.is_empty() {
                    prefix.push(name.to_owned());
                }
                at += 1;
                if text(at) == "::" {
                    continue;
                }
                let mut called = prefix.last().cloned().unwrap_or_default();
                if text(at) == "as" {
                    called = text(at + 1).to_owned();
                    at += 2;
                }
                out.push((prefix.clone(), called));
                break;
            }
        }
    }
    prefix.truncate(length);
    at
}

/// Builds a tree of made-up files and returns the rings in it.
fn rings_of(files: &[(&str, &str)]) -> String {
    let files: Vec<File> =
        files.iter().map(|(path, text)| File { path: (*path).to_owned(), text: (*text).to_owned() }).collect();
    rings(&files).iter().map(|ring| format!("{ring}\n")).collect()
}

#[test]
fn two_files_that_name_each_other_are_a_ring() {
    assert_eq!(
        rings_of(&[
            ("src/store/mod.rs", "mod a;\nmod b;\n"),
            ("src/store/a.rs", "use super::b::B;\npub struct A;\n"),
            ("src/store/b.rs", "pub struct B;\nfn f() { crate::store::a::A }\n"),
        ]),
        "a ring of 2 files of store:\n  src/store/a.rs:1 needs src/store/b.rs\n  src/store/b.rs:2 needs src/store/a.rs\n"
    );
}

#[test]
fn a_ring_may_go_through_many_files_and_a_branch_of_it_is_none() {
    assert_eq!(
        rings_of(&[
            ("src/view.rs", "mod a;\nmod b;\nmod c;\nmod d;\n"),
            ("src/view/a.rs", "use super::{b::B as Other, d::D};\npub struct A;\n"),
            ("src/view/b.rs", "use crate::view::c::*;\npub struct B(C);\n"),
            ("src/view/c.rs", "pub struct C;\npub fn f(a: &super::a::A) {}\n"),
            ("src/view/d.rs", "pub struct D;\n"),
        ]),
        "a ring of 3 files of view:\n  src/view/a.rs:1 needs src/view/b.rs\n  src/view/b.rs:2 needs src/view/c.rs\n  \
         src/view/c.rs:2 needs src/view/a.rs\n"
    );
}

#[test]
fn a_parent_that_passes_on_what_its_children_have_is_no_ring() {
    assert_eq!(
        rings_of(&[
            ("src/store/mod.rs", "mod error;\nmod file;\npub use error::Error;\npub(crate) use file::File;\n"),
            ("src/store/error.rs", "pub enum Error {}\n"),
            ("src/store/file.rs", "use super::Error;\npub struct File(Error);\n"),
        ]),
        ""
    );
}

#[test]
fn a_parent_that_uses_its_child_and_has_what_the_child_uses_is_a_ring() {
    let files = |parent: &'static str| {
        rings_of(&[("src/store/mod.rs", parent), ("src/store/file.rs", "use super::Error;\npub struct File(Error);\n")])
    };
    let ring = "a ring of 2 files of store:\n  src/store/mod.rs:3 needs src/store/file.rs\n  \
                src/store/file.rs:1 needs src/store/mod.rs\n";
    assert_eq!(files("mod file;\npub enum Error {}\nuse file::File;\n"), ring);
    // Passed on and written again.
    assert_eq!(files("mod file; pub use file::File;\npub enum Error {}\nfn f(file: &File) {}\n"), ring);
    assert_eq!(files("mod file; pub use file::File;\npub enum Error {}\nfn f() { self.file.File() }\n"), "");
}

#[test]
fn modules_inside_of_a_file_belong_to_it() {
    assert_eq!(
        rings_of(&[
            ("src/sys/mod.rs", "mod a;\nmod b;\n"),
            ("src/sys/a.rs", "pub mod inner { pub struct In; fn f() { super::super::b::g() } }\n"),
            ("src/sys/b.rs", "use super::a::inner;\npub fn g() { inner::In }\n"),
        ]),
        "a ring of 2 files of sys:\n  src/sys/a.rs:1 needs src/sys/b.rs\n  src/sys/b.rs:2 needs src/sys/a.rs\n"
    );
}

#[test]
fn tests_comments_variables_and_other_rooms_make_no_ring() {
    assert_eq!(
        rings_of(&[
            ("src/store/mod.rs", "mod a;\nmod b;\n#[cfg(test)]\nmod tests;\n"),
            (
                "src/store/a.rs",
                "use super::b::B;\npub struct A;\npub fn call() {}\n#[cfg(test)]\nmod tests { use super::super::b::B; }\n"
            ),
            (
                "src/store/b.rs",
                "//! [`super::a::A`]\npub struct B { call: u8 }\nfn f(a: u8) { a.call(); }\n#[cfg(test)]\n\
                 mod tests { use crate::store::a::A; }\n"
            ),
            ("src/store/tests.rs", "use super::a::A;\n"),
            ("src/view.rs", "use crate::store::A;\npub struct V;\n"),
            ("src/index.rs", "use crate::view::V;\n"),
        ]),
        ""
    );
}
