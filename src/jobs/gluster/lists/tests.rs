//! Lists of small trees: a directory is indexed, changed and indexed again, as snapshots of one file system are.
//! Lists are written out as they would be in a file; where a list is carried out, it is on a copy of the tree before.

use super::*;
use crate::catalog::{NewSource, Writer};
use crate::clock::Fixed;
use crate::index::{NewCopy, index_copy};
use crate::model::{Rule, SourceKind, escape_bytes};
use crate::monitor::Void;
use crate::source::Found;
use crate::source::nfs::{IdentityRule, Nfs, Settings};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

struct World {
    dir: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("tree")).unwrap();
        Writer::create(&dir.path().join("catalog.db")).unwrap();
        let new =
            NewSource { name: "gv", kind: SourceKind::Nfs, settings: "{}", rule: Rule::SNAPSHOTS, added_at: Time(0) };
        Writer::open(&dir.path().join("catalog.db")).unwrap().add_source(&new).unwrap();
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("tree").join(name)
    }

    fn directory(&self, name: &str) -> &Self {
        fs::create_dir(self.path(name)).unwrap();
        self
    }

    /// Writes a file whose time nobody else has.
    fn file(&self, name: &str, bytes: &str) -> &Self {
        fs::write(self.path(name), bytes).unwrap();
        let at = std::time::UNIX_EPOCH + std::time::Duration::from_secs(bytes.len() as u64);
        fs::File::options().write(true).open(self.path(name)).unwrap().set_modified(at).unwrap();
        self
    }

    fn link(&self, from: &str, to: &str) -> &Self {
        fs::hard_link(self.path(from), self.path(to)).unwrap();
        self
    }

    fn rename(&self, from: &str, to: &str) -> &Self {
        fs::rename(self.path(from), self.path(to)).unwrap();
        self
    }

    fn remove(&self, name: &str) -> &Self {
        match self.path(name).is_dir() {
            true => fs::remove_dir_all(self.path(name)).unwrap(),
            false => fs::remove_file(self.path(name)).unwrap(),
        }
        self
    }

    fn mode(&self, name: &str, mode: u32) -> &Self {
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(mode)).unwrap();
        self
    }

    /// Indexes the tree as the generation of second `at`.
    fn at(&self, at: i64) -> &Self {
        let tree = fs::canonicalize(self.path("")).unwrap();
        let settings = Settings { identity: IdentityRule::Inode, ..Settings::new(tree.clone()) };
        let nfs = Nfs::new(settings, &jiff::tz::TimeZone::UTC).unwrap();
        let (reader, source) = self.tree();
        drop(reader);
        let found = Found { taken_at: Time(at), path: tree.clone() };
        let copy = NewCopy {
            source: &source,
            found: &found,
            store: &tree,
            again: false,
            settle: std::time::Duration::ZERO,
            root: None,
        };
        let mut writer = Writer::open(&self.dir.path().join("catalog.db")).unwrap();
        index_copy(&mut writer, &copy, &nfs, &Fixed(Time(at)), &Void).unwrap();
        self
    }

    fn tree(&self) -> (Reader, SourceRow) {
        let reader = Reader::open(&self.dir.path().join("catalog.db")).unwrap();
        let source = reader.source("gv").unwrap();
        (reader, source)
    }

    /// Returns the changes from the generation of second `from` (0: from nothing) to that of second `until`.
    fn changes(&self, from: i64, until: i64) -> Vec<(Change, Kind)> {
        let (reader, source) = self.tree();
        let window = Window { from: (from > 0).then_some(Time(from)), until: Time(until) };
        let mut changes = Vec::new();
        list::<catalog::Error>(&reader, &source, window, &mut |change, kind| {
            changes.push((change, kind));
            Ok(())
        })
        .unwrap();
        changes
    }

    /// Returns the list of them.
    fn listed(&self, from: i64, until: i64) -> Vec<String> {
        let show = |path: &[u8]| escape_bytes(path).into_owned();
        let line = |(change, kind): (Change, Kind)| {
            let line = match &change {
                Change::New(path) => format!("NEW {}", show(path)),
                Change::Modify(path) => format!("MODIFY {}", show(path)),
                Change::Rename { from, to } => format!("RENAME {} {}", show(from), show(to)),
                Change::Delete(path) => format!("DELETE {}", show(path)),
            };
            format!("{line}{}", if kind == Kind::Directory { "/" } else { "" })
        };
        self.changes(from, until).into_iter().map(line).collect()
    }

    /// Copies the tree to `copy`, in place of what is there.
    fn copy(&self, copy: &Path) {
        let _ = fs::remove_dir_all(copy);
        let copied = std::process::Command::new("cp").arg("-a").arg(self.path("")).arg(copy).status().unwrap();
        assert!(copied.success());
    }

    /// Takes something out of the tree and keeps it, so that its inode is not used again.
    fn bury(&self, name: &str) {
        let grave = self.dir.path().join("graves");
        let _ = fs::create_dir(&grave);
        let number = fs::read_dir(&grave).unwrap().count();
        fs::rename(self.path(name), grave.join(number.to_string())).unwrap();
    }

    /// Returns all paths of the tree, directories with a slash.
    fn paths(&self) -> Vec<String> {
        picture(&self.path("")).into_keys().collect()
    }
}

/// Returns all that is below `top`: its path and what is in it; of a directory the path with a slash.
fn picture(top: &Path) -> std::collections::BTreeMap<String, Vec<u8>> {
    let mut all = std::collections::BTreeMap::new();
    let mut todo = vec![String::new()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(top.join(&dir)).unwrap() {
            let path = format!("{dir}{}", entry.unwrap().file_name().to_str().unwrap());
            if top.join(&path).is_dir() {
                all.insert(format!("{path}/"), Vec::new());
                todo.push(format!("{path}/"));
            } else {
                let bytes = fs::read(top.join(&path)).unwrap();
                all.insert(path, bytes);
            }
        }
    }
    all
}

/// Does to a copy of the tree before what one line says; bytes come from the tree after.
fn carry_out(change: &Change, kind: Kind, copy: &Path, after: &Path) -> std::io::Result<()> {
    let at = |top: &Path, path: &[u8]| top.join(std::ffi::OsStr::from_bytes(path));
    match (change, kind) {
        (Change::New(path), Kind::Directory) if at(copy, path).is_dir() => Ok(()),
        (Change::New(path), Kind::Directory) => fs::create_dir(at(copy, path)),
        (Change::Modify(path), Kind::Directory) => fs::metadata(at(copy, path)).map(drop),
        (Change::New(path), _) => {
            // Not into a file of several names.
            let _ = fs::remove_file(at(copy, path));
            fs::copy(at(after, path), at(copy, path)).map(drop)
        }
        (Change::Modify(path), _) => {
            fs::metadata(at(copy, path)).and(fs::copy(at(after, path), at(copy, path))).map(drop)
        }
        (Change::Rename { from, to }, _) => fs::rename(at(copy, from), at(copy, to)),
        (Change::Delete(path), Kind::Directory) => fs::remove_dir(at(copy, path)),
        (Change::Delete(path), _) => fs::remove_file(at(copy, path)),
    }
}

/// Makes, moves, swaps and removes things at random, among few names so that they meet.
fn change_at_random(world: &World, roll: &mut dyn FnMut(usize) -> usize, fresh: &mut usize) {
    let paths = world.paths();
    let dirs: Vec<&str> =
        [""].into_iter().chain(paths.iter().map(String::as_str).filter(|path| path.ends_with('/'))).collect();
    let new = format!("{}{}", dirs[roll(dirs.len())], ["a", "b", "c", "d"][roll(4)]);
    let is_free = !world.path(&new).exists();
    let one = (!paths.is_empty()).then(|| paths[roll(paths.len())].trim_end_matches('/').to_owned());
    let is_inside = |path: &str, dir: &str| path == dir || path.starts_with(&format!("{dir}/"));
    match (roll(8), one) {
        (0 | 1, _) if is_free => drop(world.directory(&new)),
        (2 | 3, _) if is_free => {
            *fresh += 1;
            world.file(&new, &"x".repeat(*fresh));
        }
        (4, Some(one)) => world.bury(&one),
        (5 | 6, Some(one)) if !is_inside(&new, &one) => {
            // Onto what is there, as if that had been removed just before.
            if !is_free && !is_inside(&one, &new) {
                world.bury(&new);
            }
            if !world.path(&new).exists() {
                world.rename(&one, &new);
            }
        }
        (7, Some(one)) if !is_free && !is_inside(&new, &one) && !is_inside(&one, &new) => {
            let aside = world.dir.path().join("swap");
            fs::rename(world.path(&one), &aside).unwrap();
            world.rename(&new, &one);
            fs::rename(aside, world.path(&new)).unwrap();
        }
        _ => {}
    }
}

#[test]
fn a_list_that_is_carried_out_line_by_line_makes_the_old_tree_the_new_one() {
    for seed in 0..20_u64 {
        let mut state = seed * 2 + 1;
        let mut roll = |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % below
        };
        let (world, mut fresh) = (World::new(), 0);
        let copy = world.dir.path().join("copy");
        (0..25).for_each(|_| change_at_random(&world, &mut roll, &mut fresh));
        world.at(1);
        for round in 2..8 {
            world.copy(&copy);
            (0..12).for_each(|_| change_at_random(&world, &mut roll, &mut fresh));
            world.at(round);
            for (change, kind) in world.changes(round - 1, round) {
                let done = carry_out(&change, kind, &copy, &world.path(""));
                assert!(
                    done.is_ok(),
                    "seed {seed}, round {round}: {change:?}: {done:?}\n{:#?}",
                    world.listed(round - 1, round)
                );
            }
            assert_eq!(
                picture(&copy),
                picture(&world.path("")),
                "seed {seed}, round {round}\n{:#?}",
                world.listed(round - 1, round)
            );
        }
    }
}

#[test]
fn what_comes_to_the_path_of_a_removed_directory_or_of_another_kind_finds_it_free() {
    let world = World::new();
    world.directory("d").directory("d/sub").file("d/x", "1").file("d/saved", "12").directory("e").file("e/x", "123");
    world.file("f", "1234").directory("g").directory("h").file("h/y", "12345").file(".asof-aside-1", "123456").at(1);
    world.rename("d/saved", "kept");
    for gone in ["d", "f", "h"] {
        world.bury(gone);
    }
    world.rename("e", "d").rename("g", "f").file("h", "1234567").at(2);
    assert_eq!(
        world.listed(1, 2),
        [
            "RENAME d .asof-aside-2/",
            "RENAME e d/",
            "DELETE f",
            "RENAME g f/",
            "RENAME .asof-aside-2/saved kept",
            "DELETE h/y",
            "DELETE h/",
            "DELETE .asof-aside-2/x",
            "DELETE .asof-aside-2/sub/",
            "DELETE .asof-aside-2/",
            "NEW h",
        ]
    );
}

#[test]
fn the_first_list_tells_every_name_a_directory_before_what_is_in_it() {
    let world = World::new();
    world.directory("b").directory("b/c").file("b/c/deep", "x").file("a", "x").link("a", "b/second").at(1);
    assert_eq!(world.listed(0, 1), ["NEW a", "NEW b/", "NEW b/c/", "NEW b/second", "NEW b/c/deep"]);
}

#[test]
fn what_did_not_change_is_not_listed() {
    let world = World::new();
    world.directory("d").file("d/f", "x").at(1).at(2);
    assert_eq!(world.listed(1, 2), [""; 0]);
    assert_eq!(world.listed(2, 2), [""; 0]);
}

#[test]
fn each_kind_of_change_is_one_line_with_the_path_of_now() {
    let world = World::new();
    world.directory("d").directory("d/sub").file("d/sub/kept", "1").file("d/moved", "12").file("d/gone", "123");
    world.file("written", "1234").file("both", "12345").file("elsewhere", "123456").at(1);
    world.rename("d", "e").rename("e/moved", "e/moved2").remove("e/gone").rename("elsewhere", "e/sub/elsewhere");
    world.file("written", "1234567").rename("both", "both2").file("both2", "12345678");
    world.directory("n").file("n/new", "x").mode("e/sub", 0o700).at(2);
    assert_eq!(
        world.listed(1, 2),
        [
            "RENAME both both2",
            "RENAME d e/",
            "RENAME e/moved e/moved2",
            "RENAME elsewhere e/sub/elsewhere",
            "NEW n/",
            "DELETE e/gone",
            "NEW n/new",
            "MODIFY both2",
            "MODIFY e/sub/",
            "MODIFY written",
        ]
    );
}

#[test]
fn a_removed_tree_is_listed_with_all_its_names_children_before_parents() {
    let world = World::new();
    world.directory("d").directory("d/a").file("d/a/x", "1").file("d-a", "1").file("d/y", "12").file("keep", "1");
    world.at(1).remove("d").remove("d-a").at(2);
    assert_eq!(world.listed(1, 2), ["DELETE d/y", "DELETE d/a/x", "DELETE d/a/", "DELETE d-a", "DELETE d/"]);
}

#[test]
fn what_was_saved_from_a_removed_tree_moved() {
    let world = World::new();
    world.directory("d").directory("d/a").file("d/a/x", "1").file("d/a/y", "1").at(1);
    world.rename("d/a/x", "saved").remove("d").at(2);
    assert_eq!(world.listed(1, 2), ["RENAME d/a/x saved", "DELETE d/a/y", "DELETE d/a/", "DELETE d/"]);
}

#[test]
fn what_took_the_place_of_another_is_told_and_no_deletion_of_its_path() {
    let world = World::new();
    world.file("over", "1").file("onto", "12").file("again", "123").directory("d").file("d/f", "1").file("d/g", "1");
    world.at(1);
    // A new file and not a new content: the old one is kept meanwhile, so that its inode is not used again.
    world.rename("over", "onto").rename("again", "d/out").file("again", "1234").remove("d/out");
    world.rename("d", "old").directory("d").file("d/f", "12").remove("old").at(2);
    assert_eq!(world.listed(1, 2), ["NEW d/", "RENAME over onto", "DELETE d/g", "NEW again", "NEW d/f"]);
}

#[test]
fn a_name_is_left_before_something_else_takes_it() {
    let world = World::new();
    world.file("log.1", "1").file("log.2", "12").file("log.3", "123").file("log", "1234").at(1);
    world.remove("log.3").rename("log.2", "log.3").rename("log.1", "log.2").rename("log", "log.1");
    world.file("log", "12345").at(2);
    assert_eq!(world.listed(1, 2), ["RENAME log.2 log.3", "RENAME log.1 log.2", "RENAME log log.1", "NEW log"]);
}

#[test]
fn a_directory_is_there_before_something_is_put_into_it_or_renamed_below_it() {
    let world = World::new();
    world.directory("x").directory("x/y").file("x/y/f", "1").file("z", "12").at(1);
    world.directory("0").rename("x", "0/x").rename("0/x/y", "a").rename("z", "a/z").directory("x").at(2);
    assert_eq!(
        world.listed(1, 2),
        ["NEW 0/", "RENAME x 0/x/", "RENAME 0/x/y a/", "RENAME z a/z", "NEW x/"],
        "what was x/y is 0/x/y once x is 0/x"
    );
}

#[test]
fn of_names_that_change_places_one_is_moved_aside() {
    let world = World::new();
    world.file("a", "1").file("b", "12").at(1);
    world.rename("a", "c").rename("b", "a").rename("c", "b").at(2);
    assert_eq!(world.listed(1, 2), ["RENAME b .asof-aside-1", "RENAME a b", "RENAME .asof-aside-1 a"]);
    // Of three, directories with something in them, one is enough; a name that is there is not taken.
    world.directory("x").directory("y").directory("z").file("y/in", "1").file("z/in", "12").at(3);
    world.rename("x", "t").rename("y", "x").rename("z", "y").rename("t", "z").file(".asof-aside-1", "1").at(4);
    assert_eq!(
        world.listed(3, 4),
        ["RENAME y .asof-aside-2/", "RENAME z y/", "RENAME x z/", "RENAME .asof-aside-2 x/", "NEW .asof-aside-1"]
    );
}

#[test]
fn names_of_one_file_are_told_one_by_one() {
    let world = World::new();
    world.directory("d").directory("e").file("a", "1").link("a", "b").link("a", "d/same").link("a", "d/z").at(1);
    world.remove("b").link("a", "new").rename("d/same", "e/same").at(2);
    // d/same went to e under its name; b and new are in one directory.
    assert_eq!(world.listed(1, 2), ["RENAME d/same e/same", "RENAME b new"]);
    world.link("a", "more").at(3).file("a", "12").link("a", "last").at(4);
    assert_eq!(world.listed(2, 3), ["NEW more"]);
    assert_eq!(
        world.listed(3, 4),
        ["NEW last", "MODIFY a", "MODIFY d/z", "MODIFY e/same", "MODIFY more", "MODIFY new"],
        "the new name is new, the others have other bytes"
    );
    world.remove("new").at(5);
    assert_eq!(world.listed(4, 5), ["DELETE new"]);
}

#[test]
fn a_directory_is_modified_by_its_rights_and_not_by_names_in_it() {
    let world = World::new();
    world.directory("d").directory("e").at(1).file("d/new", "1").mode("e", 0o711).at(2);
    assert_eq!(world.listed(1, 2), ["NEW d/new", "MODIFY e/"]);
    world.mode("", 0o711).at(3);
    assert_eq!(world.listed(2, 3), ["MODIFY ./"]);
}

#[test]
fn a_window_over_several_generations_tells_its_two_ends() {
    let world = World::new();
    world.file("f", "1").file("stays", "12").at(1).file("came", "123").rename("f", "g").at(2);
    world.remove("came").rename("g", "h").file("stays", "123").at(3).file("stays", "1234").at(4);
    assert_eq!(world.listed(1, 4), ["RENAME f h", "MODIFY stays"]);
    assert_eq!(world.listed(2, 3), ["RENAME g h", "DELETE came", "MODIFY stays"]);
}

#[test]
fn names_are_bytes() {
    let world = World::new();
    world.file("a,b", "1").file("c\nd", "12").file("50%", "123").at(1);
    let odd = std::ffi::OsStr::from_bytes(b"\xff,\n%");
    fs::rename(world.path("a,b"), world.dir.path().join("tree").join(odd)).unwrap();
    world.remove("c\nd").file("50%", "1234").at(2);
    assert_eq!(world.listed(1, 2), ["RENAME a,b \\xff,\\n%", "DELETE c\\nd", "MODIFY 50%"]);
}

#[test]
fn a_trouble_of_the_consumer_ends_the_list() {
    let world = World::new();
    world.directory("d").file("d/a", "1").file("b", "1").at(1);
    let (reader, source) = world.tree();
    let mut lines = 0;
    let window = Window { from: None, until: Time(1) };
    let ended = list(&reader, &source, window, &mut |_, _| {
        lines += 1;
        Err(Full)
    });
    assert_eq!((ended, lines), (Err(Full), 1));
}

#[derive(Debug, PartialEq)]
struct Full;

impl From<catalog::Error> for Full {
    fn from(e: catalog::Error) -> Self {
        panic!("{e}")
    }
}
