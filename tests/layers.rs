//! The floors of `src/lib.rs`, the "only X speaks Y" list, who may name a kind of source, and the file docs, checked on the source
//! text; rings inside of a room are looked for in `layers/rings.rs`.
//!
//! [`ROOMS`] says which room may name which, [`WORDS`] says which words belong to which rooms, [`KIND_LISTS`] where kinds are
//! told apart. Changing one of them is a design change and says so in its commit. Code under `#[cfg(test)]` is free: a test may build
//! its world from whatever it needs.
//!
//! The check reads tokens, not types: it follows `crate::`, `self::` and `super::` paths and groups in `use`,
//! and it knows comments, strings and test modules when it sees them. It does not expand macros. The tests
//! below the first two hurt small made-up trees on purpose and compare what the check says of them.

#[path = "layers/read.rs"]
mod read;
#[path = "layers/rings.rs"]
mod rings;

use read::{File, is_test_file, load_sources, module_path, read, room_of, test_files};
use std::collections::BTreeSet;
use std::fmt::Write as _;

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
    room("jobs", 3, &["model", "sys", "monitor", "clock", "catalog", "store", "source", "view", "index"]),
    room("daemon", 4, &["model", "sys", "monitor", "clock", "catalog", "store", "source", "view", "index", "fuse"]),
    room(
        "cli",
        5,
        &["model", "sys", "monitor", "clock", "catalog", "store", "source", "view", "index", "fuse", "jobs", "daemon"],
    ),
];

/// The only neighbours on one floor that may see each other: who may name whom.
const SAME_FLOOR: &[(&str, &str)] = &[("monitor", "model"), ("clock", "model"), ("sys", "model")];

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
    "sys", "monitor", "clock", "catalog", "store", "source", "view", "index", "fuse", "jobs", "daemon", "cli", "main",
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

/// Files of other rooms that speak a word, each for the reason that it gives in its docs.
const BESIDE: &[(&str, &[&str])] = &[
    // Tables of SQLite that are computed: rusqlite's traits for them are unsafe, and only the catalog speaks rusqlite.
    ("src/catalog/functions/table.rs", &["unsafe"]),
];

/// The lists of kinds, one a floor that needs one: what differs between kinds is an entry there, and whoever needs it asks the
/// entry. A kind is named by its variant of `SourceKind` elsewhere only in `src/source/KIND/`, and by its `DESCRIPTION` only in files
/// that have the name of the kind in their path.
const KIND_LISTS: &[&str] =
    &["src/model/generation.rs", "src/source/kinds.rs", "src/jobs/kinds.rs", "src/cli/source/set.rs"];

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

/// Returns every violation in `files` as `path:line: what`, in the order of the files.
fn check(files: &[File]) -> Vec<String> {
    let tests = test_files(files);
    files.iter().flat_map(|file| check_file(file, is_test_file(&file.path, &tests))).collect()
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
        if let Some(what) = check_kind(&file.path, &mention.path) {
            complain(what);
        }
        let is_beside =
            |word: &Word| BESIDE.iter().any(|(path, word_of_it)| *path == file.path && *word_of_it == word.path);
        for word in WORDS.iter().filter(|word| !word.rooms.contains(&name) && !is_beside(word)) {
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

/// Returns what is wrong with `path` if it names a kind of source.
fn check_kind(file: &str, path: &[String]) -> Option<String> {
    if KIND_LISTS.contains(&file) {
        return None;
    }
    path.windows(2).find_map(|pair| match [pair[0].as_str(), pair[1].as_str()] {
        ["SourceKind", name] if name == "*" || name.starts_with(char::is_uppercase) => {
            let is_own = file.starts_with(&format!("src/source/{}/", name.to_lowercase()));
            (!is_own).then(|| format!("names SourceKind::{name}, only src/source/KIND/ and {KIND_LISTS:?} may"))
        }
        [kind, "DESCRIPTION"] if kind != "describe" => {
            let is_own = module_path(file).iter().any(|part| part == kind);
            (!is_own).then(|| format!("names the description of {kind}, only files of that kind may"))
        }
        _ => None,
    })
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
fn a_kind_that_is_told_apart_outside_of_the_lists_is_found() {
    let lists = format!("{KIND_LISTS:?}");
    assert_eq!(
        check_made_up(&[
            (
                "src/jobs/forget.rs",
                "use crate::model::SourceKind::{self, Nfs};\nfn f(kind: SourceKind) { kind == SourceKind::Gluster }\n\
                 fn g(word: &str) { SourceKind::from_word(word) }\nuse crate::model::SourceKind::*;\n"
            ),
            (
                "src/jobs/kinds.rs",
                "fn f(kind: SourceKind) { match kind { SourceKind::Nfs => 1, SourceKind::Block => 2 } }\n"
            ),
            ("src/source/nfs/describe.rs", "fn f() { SourceKind::Nfs; SourceKind::Block }\n"),
            (
                "src/cli/source/nfs.rs",
                "use crate::source::nfs::{DESCRIPTION, Nfs};\nuse crate::source::block::DESCRIPTION as B;\n"
            ),
            (
                "src/jobs/take/mod.rs",
                "#[cfg(test)]\nmod tests { use crate::model::SourceKind::Nfs; }\nuse crate::source::gluster;\n\
                 fn f() { gluster::DESCRIPTION }\n"
            ),
        ]),
        format!(
            "src/jobs/forget.rs:3: names SourceKind::Nfs, only src/source/KIND/ and {lists} may\n\
             src/jobs/forget.rs:4: names SourceKind::Gluster, only src/source/KIND/ and {lists} may\n\
             src/jobs/forget.rs:6: names SourceKind::*, only src/source/KIND/ and {lists} may\n\
             src/source/nfs/describe.rs:3: names SourceKind::Block, only src/source/KIND/ and {lists} may\n\
             src/cli/source/nfs.rs:4: names the description of block, only files of that kind may\n\
             src/jobs/take/mod.rs:6: names the description of gluster, only files of that kind may\n"
        )
    );
}

#[test]
fn a_file_without_docs_is_found() {
    let bare = File { path: "src/clock.rs".to_owned(), text: "//! One line.\n\nfn f() {}\n".to_owned() };
    assert_eq!(check(&[bare]), ["src/clock.rs:1: opens with 1 lines of `//!`, expected at least 2"]);
}
