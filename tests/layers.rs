//! The floors of `src/lib.rs`, the "only X speaks Y" list and the file docs, checked on the source text.
//!
//! [`ROOMS`] says which room may name which, [`WORDS`] says which words belong to which rooms. Changing
//! either is a design change and says so in its commit. Code under `#[cfg(test)]` is free: a test may build
//! its world from whatever it needs.
//!
//! The check reads tokens, not types: it follows `crate::`, `self::` and `super::` paths and groups in `use`,
//! and it knows comments, strings and test modules when it sees them. It does not expand macros. The tests
//! below the first two hurt small made-up trees on purpose and compare what the check says of them.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// A top-level module of the crate.
struct Room {
    name: &'static str,
    floor: u8,
    /// The other rooms that it may name, all of them on lower floors (but see [`SAME_FLOOR`]).
    may_name: &'static [&'static str],
}

const fn room(name: &'static str, floor: u8, may_name: &'static [&'static str]) -> Room {
    Room { name, floor, may_name }
}

/// Every room. Less than "all floors below" is on purpose: `fuse` decides nothing, so it asks `view`
/// and never the catalog; `index` is handed a source (of a disk its bytes, as a `Device`) and a writer, so it never sees a store.
const ROOMS: &[Room] = &[
    room("model", 0, &[]),
    room("sys", 0, &["model"]),
    room("monitor", 0, &["model"]),
    room("clock", 0, &["model"]),
    room("catalog", 1, &["model", "sys"]),
    room("store", 1, &["model", "sys"]),
    room("source", 1, &["model", "sys", "monitor", "clock"]),
    room("view", 2, &["model", "clock", "catalog", "store"]),
    room("index", 2, &["model", "monitor", "clock", "catalog", "source"]),
    room("fuse", 3, &["model", "sys", "monitor", "store", "view"]),
    room("take", 3, &["model", "sys", "monitor", "clock", "catalog", "store", "source", "index"]),
    room("jobs", 3, &["model", "sys", "monitor", "clock", "catalog", "source", "index", "take"]),
    room("daemon", 4, &["model", "sys", "monitor", "clock", "catalog", "store", "source", "view", "index", "fuse"]),
    room(
        "cli",
        5,
        &[
            "model", "sys", "monitor", "clock", "catalog", "store", "source", "view", "index", "fuse", "take", "jobs",
            "daemon",
        ],
    ),
];

/// The only neighbours on one floor that may see each other: who may name whom. Jobs put images together as `take` does.
const SAME_FLOOR: &[(&str, &str)] = &[("monitor", "model"), ("clock", "model"), ("sys", "model"), ("jobs", "take")];

/// The binary. It names the library as `asof`, and of it only this room.
const MAIN_MAY_NAME: &str = "cli";

/// A path, or the end of one, that only some rooms may write.
struct Word {
    path: &'static [&'static str],
    rooms: &'static [&'static str],
}

const fn word(path: &'static [&'static str], rooms: &'static [&'static str]) -> Word {
    Word { path, rooms }
}

const ALL_BUT_MODEL: &[&str] = &[
    "sys", "monitor", "clock", "catalog", "store", "source", "view", "index", "fuse", "take", "jobs", "daemon", "cli",
    "main",
];

/// Where the world outside comes in: the environment and the wall clock.
const OUTSIDE: &[&str] = &["cli", "daemon", "clock", "sys", "main"];

/// Who alone speaks what. A last part with `!` is a macro call.
///
/// `SystemTime` as a type is free (`fuser` carries time stamps in it), asking it for the time is not.
/// `Instant` is not in the row of the wall clock: it can only measure how long something took, and
/// deadlines and progress need that on every floor. `model` stays pure of it, and of files and threads.
const WORDS: &[Word] = &[
    word(&["rusqlite"], &["catalog"]),
    word(&["fuser"], &["fuse"]),
    word(&["tokio"], &["daemon"]),
    word(&["libc"], &["sys"]),
    word(&["rustls"], &["source"]),
    word(&["flate2"], &["store"]),
    word(&["lz4_flex"], &["store"]),
    word(&["unsafe"], &["sys"]),
    word(&["std", "env"], OUTSIDE),
    word(&["SystemTime", "now"], OUTSIDE),
    word(&["Timestamp", "now"], OUTSIDE),
    word(&["Zoned", "now"], OUTSIDE),
    word(&["TimeZone", "system"], OUTSIDE),
    word(&["TimeZone", "try_system"], OUTSIDE),
    word(&["time", "Instant"], ALL_BUT_MODEL),
    word(&["std", "fs"], ALL_BUT_MODEL),
    word(&["std", "net"], ALL_BUT_MODEL),
    word(&["std", "process"], ALL_BUT_MODEL),
    word(&["std", "thread"], ALL_BUT_MODEL),
    word(&["print!"], &["cli", "main"]),
    word(&["println!"], &["cli", "main"]),
    word(&["eprint!"], &["cli", "main"]),
    word(&["eprintln!"], &["cli", "main"]),
    word(&["dbg!"], &[]),
];

/// How many `//!` lines a file opens with at least.
const DOC_LINES_MIN: usize = 2;

#[test]
fn every_file_keeps_to_its_floor() {
    let files = load_sources();
    let violations = check(&files);
    assert!(violations.is_empty(), "{} violations:\n{}", violations.len(), violations.join("\n"));
}

#[test]
fn the_check_reads_the_whole_tree() {
    let files = load_sources();
    let found: BTreeSet<String> = files
        .iter()
        .map(|file| room_of(&file.path).to_owned())
        .filter(|name| name != "main" && name != "lib")
        .collect();
    let expected: BTreeSet<String> = ROOMS.iter().map(|room| room.name.to_owned()).collect();
    assert_eq!(found, expected, "rooms with files against rooms in the table");
    let count = files.iter().map(|file| read(file).mentions.len()).sum::<usize>();
    assert!(count > files.len(), "{count} paths in {} files: the reader sees too little", files.len());
}

#[test]
fn the_table_allows_lower_floors_only() {
    let floor = |name: &str| ROOMS.iter().find(|room| room.name == name).expect("the table knows its own names").floor;
    for room in ROOMS {
        for other in room.may_name {
            let allowed = floor(other) < room.floor || SAME_FLOOR.contains(&(room.name, other));
            assert!(
                allowed,
                "{} (floor {}) may not be allowed {other} (floor {})",
                room.name,
                room.floor,
                floor(other)
            );
        }
    }
    for word in WORDS {
        for name in word.rooms.iter().filter(|name| **name != "main") {
            floor(name);
        }
    }
}

/// One source file: its path below the crate, and its text.
struct File {
    path: String,
    text: String,
}

fn load_sources() -> Vec<File> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![root.join("src")];
    let mut paths: Vec<PathBuf> = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                paths.push(path);
            }
        }
    }
    paths.sort();
    paths
        .into_iter()
        .map(|path| File {
            path: path.strip_prefix(root).unwrap().to_str().unwrap().to_owned(),
            text: std::fs::read_to_string(&path).unwrap(),
        })
        .collect()
}

/// Returns every violation in `files` as `path:line: what`, in the order of the files.
fn check(files: &[File]) -> Vec<String> {
    let tests: BTreeSet<String> = files.iter().flat_map(|file| read(file).test_files).collect();
    files.iter().flat_map(|file| check_file(file, is_test(&file.path, &tests))).collect()
}

/// Tells whether `path` is one of `tests` (paths without `.rs`) or lies below one.
fn is_test(path: &str, tests: &BTreeSet<String>) -> bool {
    let module = module_path(path);
    (1..=module.len()).any(|depth| tests.contains(&module[..depth].join("/")))
}

fn check_file(file: &File, is_test: bool) -> Vec<String> {
    let mut found = Vec::new();
    let doc_lines = file.text.lines().take_while(|line| line.starts_with("//!")).count();
    if doc_lines < DOC_LINES_MIN {
        found
            .push(format!("{}:1: opens with {doc_lines} lines of `//!`, expected at least {DOC_LINES_MIN}", file.path));
    }
    let name = room_of(&file.path);
    let room = ROOMS.iter().find(|room| room.name == name);
    if room.is_none() && name != "main" && name != "lib" {
        found.push(format!("{}:1: {name} is no room of the table", file.path));
        return found;
    }
    if is_test {
        return found;
    }
    for mention in read(file).mentions {
        let mut complain = |what: String| found.push(format!("{}:{}: {what}", file.path, mention.line));
        if let Some(what) = check_import(name, room, &mention.path) {
            complain(what);
        }
        for word in WORDS.iter().filter(|word| !word.rooms.contains(&name)) {
            if mention.path.windows(word.path.len()).any(|part| part == word.path) {
                complain(format!("{name} speaks {}, only {:?} may", word.path.join("::"), word.rooms));
            }
        }
    }
    found
}

/// Returns what is wrong with `path`, which begins with `crate` (or `asof`, in the binary) if it is of this crate.
fn check_import(name: &str, room: Option<&Room>, path: &[String]) -> Option<String> {
    let first = path.first()?.as_str();
    let target = path.get(1).map_or("", String::as_str);
    let Some(room) = room else {
        return match (name, first) {
            ("lib", "mod") if ROOMS.iter().any(|room| room.name == target) => None,
            ("lib", "mod") => Some(format!("{target} is no room of the table")),
            ("lib", "crate" | "use") => Some("lib.rs lists the rooms and names nothing in them".to_owned()),
            ("main", "crate" | "mod") => Some("main.rs has no rooms of its own".to_owned()),
            ("main", "asof") if target != MAIN_MAY_NAME => {
                Some(format!("main names {target:?} of the library, only {MAIN_MAY_NAME} is allowed"))
            }
            _ => None,
        };
    };
    if first == "asof" && path.len() > 1 {
        return Some("the library names itself as crate".to_owned());
    }
    if first != "crate" || target == room.name || room.may_name.contains(&target) {
        return None;
    }
    if matches!(target, "" | "*" | "self") {
        return Some("names the crate as a whole, which hides who depends on whom".to_owned());
    }
    Some(match ROOMS.iter().find(|other| other.name == target) {
        None => format!("crate::{target} is no room of the table"),
        Some(other) => {
            format!(
                "{} (floor {}) names {target} (floor {}), allowed are {:?}",
                room.name, room.floor, other.floor, room.may_name
            )
        }
    })
}

/// Returns the room that a file belongs to: the first part of its path below `src`.
fn room_of(path: &str) -> &str {
    let below = path.strip_prefix("src/").unwrap_or(path);
    let first = below.split('/').next().unwrap_or(below);
    first.strip_suffix(".rs").unwrap_or(first)
}

/// Returns the names of the module that a file is, from the crate's root; empty for the root itself.
fn module_path(path: &str) -> Vec<String> {
    let below = path.strip_prefix("src/").unwrap_or(path);
    let below = below.strip_suffix(".rs").unwrap_or(below);
    let mut names: Vec<String> = below.split('/').map(str::to_owned).collect();
    if names.last().is_some_and(|name| name == "mod") || below == "lib" || below == "main" {
        names.pop();
    }
    names
}

/// What the check wants to know of one file.
struct Read {
    /// Every path outside of tests, with `use` groups written out and `self` and `super` resolved to `crate`.
    mentions: Vec<Mention>,
    /// Modules in files of their own that are declared under `#[cfg(test)]`: `store/tests`.
    test_files: Vec<String>,
}

struct Mention {
    line: usize,
    path: Vec<String>,
}

fn read(file: &File) -> Read {
    let module = module_path(&file.path);
    let (tokens, test_modules) = without_tests(&tokenize(&file.text));
    let test_files = test_modules.into_iter().map(|name| [module.as_slice(), &[name]].concat().join("/")).collect();
    let mut mentions = Vec::new();
    // The modules around this place, and at which depth of braces each inner one was opened.
    let mut around = module;
    let mut opened: Vec<usize> = Vec::new();
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        let text = token.text.as_str();
        match text {
            "{" => depth += 1,
            "}" => {
                depth = depth.saturating_sub(1);
                if opened.last() == Some(&depth) {
                    opened.pop();
                    around.pop();
                }
            }
            "mod" => {
                let name = tokens.get(at + 1).map_or("", |token| token.text.as_str()).to_owned();
                mentions.push(Mention { line: token.line, path: vec!["mod".to_owned(), name.clone()] });
                if tokens.get(at + 2).is_some_and(|token| token.text == "{") {
                    opened.push(depth);
                    around.push(name);
                }
                at += 2;
                continue;
            }
            _ if is_name(text)
                && !at.checked_sub(1).is_some_and(|before| matches!(tokens[before].text.as_str(), "." | "::")) =>
            {
                // `pub(crate)` and `pub(super)` name nobody.
                let in_brackets =
                    at > 0 && tokens[at - 1].text == "(" && tokens.get(at + 1).is_some_and(|t| t.text == ")");
                let mut paths = Vec::new();
                at = read_path(&tokens, at, &mut Vec::new(), &mut paths);
                if !(in_brackets && matches!(text, "crate" | "super" | "self")) {
                    mentions
                        .extend(paths.into_iter().map(|m| Mention { line: m.line, path: resolve(&around, m.path) }));
                }
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    Read { mentions, test_files }
}

/// Reads the path that begins at `at`, with its groups, appends each way through it, and returns the place after it.
fn read_path(tokens: &[Token], mut at: usize, prefix: &mut Vec<String>, out: &mut Vec<Mention>) -> usize {
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
    let length = prefix.len();
    let line = tokens[at].line;
    loop {
        prefix.push(text(at).to_owned());
        at += 1;
        if text(at) != "::" {
            break;
        }
        if text(at + 1) == "{" {
            at += 2;
            while at < tokens.len() && text(at) != "}" {
                if is_name(text(at)) || text(at) == "*" {
                    at = read_path(tokens, at, prefix, out);
                }
                // What may follow a path in a group: `as name`, and the comma.
                while at < tokens.len() && !matches!(text(at), "," | "}") {
                    at += 1;
                }
                if text(at) == "," {
                    at += 1;
                }
            }
            prefix.truncate(length);
            return at + 1;
        }
        if !is_name(text(at + 1)) && text(at + 1) != "*" {
            break;
        }
        at += 1;
    }
    let mut path = prefix.clone();
    if text(at) == "!" && matches!(text(at + 1), "(" | "[" | "{") {
        path.last_mut().expect("a path has a name").push('!');
    }
    out.push(Mention { line, path });
    prefix.truncate(length);
    at
}

/// Returns `path` from the crate's root if it begins with `self` or `super`, else as it is.
fn resolve(around: &[String], path: Vec<String>) -> Vec<String> {
    if !matches!(path[0].as_str(), "self" | "super") {
        return path;
    }
    let steps = path.iter().take_while(|part| matches!(part.as_str(), "self" | "super")).count();
    let up = path[..steps].iter().filter(|part| *part == "super").count();
    let base = &around[..around.len().saturating_sub(up)];
    [&["crate".to_owned()], base, &path[steps..]].concat()
}

/// A name, a number, `::` or one other character.
#[derive(Clone)]
struct Token {
    line: usize,
    text: String,
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Returns the tokens of `text` without comments, strings, characters and lifetimes.
fn tokenize(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let get = |at: usize| chars.get(at).copied().unwrap_or('\0');
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    let mut tokens = Vec::new();
    let mut line = 1;
    let mut at = 0;
    while at < chars.len() {
        let start = at;
        let mut token = None;
        match chars[at] {
            '/' if get(at + 1) == '/' => {
                while at < chars.len() && chars[at] != '\n' {
                    at += 1;
                }
            }
            '/' if get(at + 1) == '*' => {
                let mut depth = 0;
                while at < chars.len() {
                    match (get(at), get(at + 1)) {
                        ('/', '*') => (depth, at) = (depth + 1, at + 2),
                        ('*', '/') => (depth, at) = (depth - 1, at + 2),
                        _ => at += 1,
                    }
                    if depth == 0 {
                        break;
                    }
                }
            }
            '"' => at = after_string(&chars, at),
            '\'' if get(at + 1) == '\\' || get(at + 2) == '\'' => at = after_character(&chars, at),
            '\'' => {
                at += 1;
                while is_part(get(at)) {
                    at += 1;
                }
            }
            c if is_part(c) => {
                while is_part(get(at)) {
                    at += 1;
                }
                let name: String = chars[start..at].iter().collect();
                let hashes = chars[at..].iter().take_while(|c| **c == '#').count();
                let is_raw = matches!(name.as_str(), "r" | "br" | "cr");
                if is_raw && get(at + hashes) == '"' {
                    at = after_raw_string(&chars, at + hashes + 1, hashes);
                } else if matches!(name.as_str(), "b" | "c") && get(at) == '"' {
                    at = after_string(&chars, at);
                } else if name == "b" && get(at) == '\'' {
                    at = after_character(&chars, at);
                } else if name == "r" && hashes == 1 {
                    // A raw name: `r#type`. The name itself is the next token.
                    at += 1;
                } else {
                    token = Some(name);
                }
            }
            ':' if get(at + 1) == ':' => {
                at += 2;
                token = Some("::".to_owned());
            }
            c => {
                at += 1;
                token = (!c.is_whitespace()).then(|| c.to_string());
            }
        }
        tokens.extend(token.map(|text| Token { line, text }));
        line += chars[start..at.min(chars.len())].iter().filter(|c| **c == '\n').count();
    }
    tokens
}

fn after_string(chars: &[char], quote: usize) -> usize {
    let mut at = quote + 1;
    while at < chars.len() && chars[at] != '"' {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

fn after_raw_string(chars: &[char], mut at: usize, hashes: usize) -> usize {
    while at < chars.len() {
        let closing = chars[at + 1..].iter().take(hashes).filter(|c| **c == '#').count();
        at += 1;
        if chars[at - 1] == '"' && closing == hashes {
            return at + hashes;
        }
    }
    at
}

fn after_character(chars: &[char], quote: usize) -> usize {
    let mut at = quote + 1;
    while at < chars.len() && chars[at] != '\'' {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

/// Returns `tokens` without what stands under `#[test]` or `#[cfg(test)]`, and the names of modules in
/// other files that are declared there.
fn without_tests(tokens: &[Token]) -> (Vec<Token>, Vec<String>) {
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
    let mut kept = Vec::new();
    let mut modules = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let is_inner = text(at) == "#" && text(at + 1) == "!" && text(at + 2) == "[";
        let is_outer = text(at) == "#" && text(at + 1) == "[";
        if !is_inner && !is_outer {
            kept.push(tokens[at].clone());
            at += 1;
            continue;
        }
        let open = if is_inner { at + 2 } else { at + 1 };
        let end = after_group(tokens, open);
        let words: Vec<&str> = tokens[open + 1..end].iter().map(|token| token.text.as_str()).collect();
        if !matches!(words.as_slice(), ["test", "]"] | ["cfg", "(", "test", ..] | ["cfg", "(", "all", "(", "test", ..])
        {
            kept.extend_from_slice(&tokens[at..end]);
            at = end;
            continue;
        }
        if is_inner {
            return (Vec::new(), modules);
        }
        at = end;
        while text(at) == "#" && text(at + 1) == "[" {
            at = after_group(tokens, at + 1);
        }
        let mut item = at;
        while matches!(text(item), "pub") {
            item = if text(item + 1) == "(" { after_group(tokens, item + 1) } else { item + 1 };
        }
        if text(item) == "mod" && text(item + 2) == ";" {
            modules.push(text(item + 1).to_owned());
        }
        at = after_item(tokens, at);
    }
    (kept, modules)
}

/// Returns the place after the bracket that closes the one at `open`.
fn after_group(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match token.text.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    tokens.len()
}

/// Returns the place after the item, field or arm that begins at `at`.
///
/// An item ends with its braces or a semicolon; a field or an arm, which begins with no keyword, also
/// with a comma. A `use` goes on after its braces, up to the semicolon.
fn after_item(tokens: &[Token], mut at: usize) -> usize {
    const KEYWORDS: &[&str] = &[
        "pub",
        "mod",
        "use",
        "fn",
        "impl",
        "struct",
        "enum",
        "union",
        "trait",
        "type",
        "const",
        "static",
        "unsafe",
        "async",
        "extern",
        "let",
        "macro_rules",
    ];
    let is_item = tokens.get(at).is_some_and(|token| KEYWORDS.contains(&token.text.as_str()));
    let is_use = tokens.get(at).is_some_and(|token| token.text == "use");
    while let Some(token) = tokens.get(at) {
        match token.text.as_str() {
            ";" => return at + 1,
            "," if !is_item => return at + 1,
            "{" if !is_use => return after_group(tokens, at),
            "(" | "[" | "{" => at = after_group(tokens, at),
            ")" | "]" | "}" => return at,
            _ => at += 1,
        }
    }
    at
}

/// Builds a tree of made-up files, each under two lines of docs, and returns what the check says of it.
///
/// The given text begins at line 3.
fn check_made_up(files: &[(&str, &str)]) -> String {
    let files: Vec<File> = files
        .iter()
        .map(|(path, text)| File { path: (*path).to_owned(), text: format!("//! One.\n//! Two.\n{text}") })
        .collect();
    check(&files).iter().fold(String::new(), |mut all, line| {
        writeln!(all, "{line}").expect("a String takes all");
        all
    })
}

#[test]
fn an_import_from_a_higher_floor_is_found() {
    assert_eq!(
        check_made_up(&[("src/catalog/reader.rs", "use crate::model::Time;\nuse crate::view::Tree;\n")]),
        "src/catalog/reader.rs:4: catalog (floor 1) names view (floor 2), allowed are [\"model\", \"sys\"]\n"
    );
}

#[test]
fn a_neighbour_and_a_room_that_is_off_limits_are_found() {
    assert_eq!(
        check_made_up(&[
            ("src/store/mod.rs", "fn f() { crate::source::open() }\n"),
            ("src/fuse/attr.rs", "use crate::store::OpenFile;\nuse crate::catalog::Reader;\n"),
            ("src/model/mod.rs", "use crate::sys::statx;\n"),
            ("src/view/mod.rs", "use crate::index::Rules;\n"),
        ]),
        "src/store/mod.rs:3: store (floor 1) names source (floor 1), allowed are [\"model\", \"sys\"]\n\
         src/fuse/attr.rs:4: fuse (floor 3) names catalog (floor 1), allowed are \
         [\"model\", \"sys\", \"monitor\", \"store\", \"view\"]\n\
         src/model/mod.rs:3: model (floor 0) names sys (floor 0), allowed are []\n\
         src/view/mod.rs:3: view (floor 2) names index (floor 2), allowed are [\"model\", \"clock\", \"catalog\", \"store\"]\n"
    );
}

#[test]
fn groups_over_several_lines_are_read_to_the_innermost_name() {
    assert_eq!(
        check_made_up(&[(
            "src/store/handle.rs",
            "use crate::{\n    model::{Time, node::{Kind, Attrs}},\n    sys as s,\n    cli::{self, run as go},\n    fuse,\n};\n"
        )]),
        "src/store/handle.rs:6: store (floor 1) names cli (floor 5), allowed are [\"model\", \"sys\"]\n\
         src/store/handle.rs:6: store (floor 1) names cli (floor 5), allowed are [\"model\", \"sys\"]\n\
         src/store/handle.rs:7: store (floor 1) names fuse (floor 3), allowed are [\"model\", \"sys\"]\n"
    );
}

#[test]
fn a_way_around_through_super_is_found() {
    assert_eq!(
        check_made_up(&[
            ("src/clock.rs", "use super::model::Time;\nuse super::catalog::Reader;\npub(super) fn f() {}\n"),
            ("src/store/cache.rs", "use super::OpenFile;\nuse super::super::view::Tree;\nuse self::inner::X;\n"),
            (
                "src/store/mod.rs",
                "mod inner {\n    use super::OpenFile;\n    use super::super::index;\n}\nuse super::fuse;\n"
            ),
        ]),
        "src/clock.rs:4: clock (floor 0) names catalog (floor 1), allowed are [\"model\"]\n\
         src/store/cache.rs:4: store (floor 1) names view (floor 2), allowed are [\"model\", \"sys\"]\n\
         src/store/mod.rs:5: store (floor 1) names index (floor 2), allowed are [\"model\", \"sys\"]\n\
         src/store/mod.rs:7: store (floor 1) names fuse (floor 3), allowed are [\"model\", \"sys\"]\n"
    );
}

#[test]
fn the_crate_as_a_whole_and_names_that_are_no_room_are_found() {
    assert_eq!(
        check_made_up(&[
            (
                "src/cli/mod.rs",
                "use crate::*;\nuse crate::{self as all};\nuse crate as c;\nuse super::*;\npub(crate) fn f() {}\n"
            ),
            ("src/view/mod.rs", "use crate::Time;\nuse asof::model::Time;\n"),
            ("src/extra/mod.rs", "fn f() {}\n"),
            ("src/lib.rs", "pub mod model;\npub mod extra;\npub use model::Time;\n"),
            ("src/main.rs", "fn main() { asof::cli::run(); asof::daemon::run() }\nmod own;\n"),
        ]),
        "src/cli/mod.rs:3: names the crate as a whole, which hides who depends on whom\n\
         src/cli/mod.rs:4: names the crate as a whole, which hides who depends on whom\n\
         src/cli/mod.rs:5: names the crate as a whole, which hides who depends on whom\n\
         src/cli/mod.rs:6: names the crate as a whole, which hides who depends on whom\n\
         src/view/mod.rs:3: crate::Time is no room of the table\n\
         src/view/mod.rs:4: the library names itself as crate\n\
         src/extra/mod.rs:1: extra is no room of the table\n\
         src/lib.rs:4: extra is no room of the table\n\
         src/lib.rs:5: lib.rs lists the rooms and names nothing in them\n\
         src/main.rs:3: main names \"daemon\" of the library, only cli is allowed\n\
         src/main.rs:4: main.rs has no rooms of its own\n"
    );
}

#[test]
fn a_word_outside_of_its_room_is_found() {
    assert_eq!(
        check_made_up(&[(
            "src/index/mod.rs",
            "use rusqlite::Connection;\nfn f(x: fuser::INodeNo) { unsafe { libc::getpid() }; }\n\
             use std::{env, time::{Instant, SystemTime}};\nfn g() { SystemTime::now(); jiff::Zoned::now(); println!(\"x\") }\n\
             use tokio;\nfn h() { dbg!(1); TimeZone::system() }\n"
        )]),
        "src/index/mod.rs:3: index speaks rusqlite, only [\"catalog\"] may\n\
         src/index/mod.rs:4: index speaks fuser, only [\"fuse\"] may\n\
         src/index/mod.rs:4: index speaks unsafe, only [\"sys\"] may\n\
         src/index/mod.rs:4: index speaks libc, only [\"sys\"] may\n\
         src/index/mod.rs:5: index speaks std::env, only [\"cli\", \"daemon\", \"clock\", \"sys\", \"main\"] may\n\
         src/index/mod.rs:6: index speaks SystemTime::now, only [\"cli\", \"daemon\", \"clock\", \"sys\", \"main\"] may\n\
         src/index/mod.rs:6: index speaks Zoned::now, only [\"cli\", \"daemon\", \"clock\", \"sys\", \"main\"] may\n\
         src/index/mod.rs:6: index speaks println!, only [\"cli\", \"main\"] may\n\
         src/index/mod.rs:7: index speaks tokio, only [\"daemon\"] may\n\
         src/index/mod.rs:8: index speaks dbg!, only [] may\n\
         src/index/mod.rs:8: index speaks TimeZone::system, only [\"cli\", \"daemon\", \"clock\", \"sys\", \"main\"] may\n"
    );
    let model = check_made_up(&[("src/model/time.rs", "use std::{fs, thread, fmt};\nuse std::time::Instant;\n")]);
    assert_eq!(model.lines().count(), 3, "{model}");
}

#[test]
fn every_word_of_the_table_is_found_in_a_room_that_may_not_say_it() {
    for word in WORDS {
        let room = ROOMS.iter().find(|room| !word.rooms.contains(&room.name)).expect("some room may not say it");
        let path = word.path.join("::");
        let call = if path.ends_with('!') { format!("{path}()") } else { path.clone() };
        let found = check_made_up(&[(&format!("src/{}.rs", room.name), &format!("fn f() {{ {call}; }}"))]);
        assert_eq!(found, format!("src/{0}.rs:3: {0} speaks {path}, only {1:?} may\n", room.name, word.rooms));
    }
}

#[test]
fn tests_comments_and_strings_are_free() {
    assert_eq!(
        check_made_up(&[
            (
                "src/store/mod.rs",
                "/// See [`crate::view`]: unsafe, libc.\n/* crate::fuse /* unsafe */ libc */\n\
                 const A: &str = \"crate::view::X \\\" unsafe\";\nconst B: &[u8] = br#\"libc::x() \" crate::cli\"#;\n\
                 const C: [char; 3] = ['\"', '\\'', '\\\\'];\nfn f<'unsafe_like>(b: u8) -> bool { b == b'\"' }\n\
                 fn g() { x.unsafe_field.libc() }\n\
                 #[cfg(test)]\nuse crate::{cli, view};\n#[cfg(all(test, unix))]\n#[allow(unsafe_code)]\n\
                 mod tests {\n    use crate::view::Tree;\n    #[test]\n    fn t() { unsafe { libc::x() } }\n}\n\
                 #[cfg(test)]\npub(crate) mod far;\n"
            ),
            ("src/store/far.rs", "use crate::cli;\n"),
            ("src/store/far/deep.rs", "use crate::fuse;\n"),
        ]),
        ""
    );
}

#[test]
fn what_follows_a_test_or_a_string_is_checked_again() {
    assert_eq!(
        check_made_up(&[
            (
                "src/store/mod.rs",
                "#[cfg(test)]\nmod tests { fn f() { \"}\"; } }\nuse crate::view;\n#[cfg(test)]\nuse crate::{cli, fuse};\n\
                 use crate::index;\nconst A: &str = r#\"a\"b\"#; use crate::daemon;\n#[cfg(not(test))]\nuse crate::cli;\n\
                 struct S {\n    #[cfg(test)]\n    field: u8,\n    other: crate::fuse::X,\n}\n#[cfg(test)]\nmod far;\n"
            ),
            ("src/store/near.rs", "use crate::cli;\n"),
        ]),
        "src/store/mod.rs:5: store (floor 1) names view (floor 2), allowed are [\"model\", \"sys\"]\n\
         src/store/mod.rs:8: store (floor 1) names index (floor 2), allowed are [\"model\", \"sys\"]\n\
         src/store/mod.rs:9: store (floor 1) names daemon (floor 4), allowed are [\"model\", \"sys\"]\n\
         src/store/mod.rs:11: store (floor 1) names cli (floor 5), allowed are [\"model\", \"sys\"]\n\
         src/store/mod.rs:15: store (floor 1) names fuse (floor 3), allowed are [\"model\", \"sys\"]\n\
         src/store/near.rs:3: store (floor 1) names cli (floor 5), allowed are [\"model\", \"sys\"]\n"
    );
}

#[test]
fn a_file_without_docs_is_found() {
    let bare = File { path: "src/clock.rs".to_owned(), text: "//! One line.\n\nfn f() {}\n".to_owned() };
    assert_eq!(check(&[bare]), ["src/clock.rs:1: opens with 1 lines of `//!`, expected at least 2"]);
}
