//! A guest with two or three disks, each with a history of its own. Of any night there may be no image of a disk, or it comes when the others are
//! indexed; a disk is added later, another one is removed; each image is full or an increment by itself; runs are killed.
//!
//! After each night each disk equals what its image shows in a new catalog, the night has the disks that it has to have and no other, and
//! one that is missing is listed with what it had before and without bytes of its own. When all are there, the same holds for images
//! that are indexed in another order, for a history of which nights were forgotten and indexed again, and a catalog that is made again from manifests says
//! the same in all tables and public views.

use crate::catalogs::{asked, differences};
use crate::common::dice::{Dice, number};
use crate::common::ino_of;
use crate::guest::{Form, Guest};
use crate::seen::{Seen, What, assert_equal, seen};
use crate::site::{Site, said};
use crate::{day, disk, index};
use asof::model::Kind;
use asof::view::Content;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tempfile::TempDir;

const NIGHTS: usize = 7;
const NAMES: [&str; 3] = ["vda", "vdb", "vdc"];

/// A disk of the guest.
struct Disk {
    name: &'static str,
    disk: Guest,
    /// The night in which it is added.
    first: usize,
    /// The night from which on it is removed.
    last: usize,
}

impl Disk {
    fn is_there(&self, night: usize) -> bool {
        (self.first..self.last).contains(&night)
    }

    /// Its nights are counted from the one in which it is added; images are called by those of the guest.
    fn images(&self, place: &Path) -> PathBuf {
        place.join("images").join(self.name)
    }
}

/// What a night has to have.
#[derive(Clone, Default)]
struct Expected {
    /// Of each disk with an image what it shows alone.
    there: BTreeMap<&'static str, Seen>,
    missing: BTreeSet<&'static str>,
}

struct Played {
    nights: usize,
    missing: usize,
    late: usize,
    killed: usize,
}

fn site_over(images: &Path) -> Site {
    let site = Site::new();
    site.ok(&["init"]);
    site.ok(&["source", "add", "block", "disk", "--all-disks", "--images", images.to_str().expect("it is UTF-8")]);
    site
}

/// Returns what a catalog shows of a disk in a night. What is on no file system has the time at which it was first met.
fn shown(site: &Site, night: usize, name: &str) -> Seen {
    let mut seen = seen(&disk::tree(&site.path("catalog.db")), &format!("disk/@{}T000000Z/{name}", day(night)));
    for (path, what) in &mut seen {
        if let What::Is(shown) | What::InDoubt(shown) = what
            && (path.is_empty() || path == b"disk.raw")
        {
            shown.mtime = (0, 0);
        }
    }
    seen
}

/// Returns the disks that a night has.
fn disks(site: &Site, night: usize) -> BTreeSet<String> {
    let at = format!("SELECT path FROM files WHERE taken_at = '{}T00:00:00Z' AND path NOT LIKE '%/%'", day(night));
    asked(&site.path("catalog.db"), &at).into_iter().collect()
}

/// Fails unless a night is what it has to be.
fn check(site: &Site, night: usize, expected: &Expected, what: &str) {
    let names: BTreeSet<&str> = expected.there.keys().chain(&expected.missing).copied().collect();
    assert_eq!(disks(site, night), names.iter().map(|name| (*name).to_owned()).collect(), "{what}night {night}");
    for (name, expected) in &expected.there {
        assert_equal(&shown(site, night, name), expected, &format!("{what}night {night}, {name}: "));
    }
    let missing = format!("SELECT path FROM findings WHERE kind = 'missing' AND taken_at = '{}T00:00:00Z'", day(night));
    let found: BTreeSet<String> = asked(&site.path("catalog.db"), &missing).into_iter().collect();
    assert_eq!(found, expected.missing.iter().map(|name| (*name).to_owned()).collect(), "{what}night {night}");
}

/// Fails unless of a disk that is missing nothing is listed, nothing can be read of the disk itself, and what was there when it was seen last has the same
/// names and is the same.
fn check_missing(site: &Site, night: usize, name: &str, last: &Seen, what: &str) {
    let what = format!("{what}night {night}, {name}, which is missing: ");
    let listed = shown(site, night, name);
    assert_eq!(listed.keys().collect::<Vec<_>>(), [b"".as_slice(), b"disk.raw"], "{what}what is listed");
    assert!(matches!(listed[b"".as_slice()], What::InDoubt(_)), "{what}{listed:?}");
    assert!(matches!(listed[b"disk.raw".as_slice()], What::Unreadable(_)), "{what}{listed:?}");
    let tree = disk::tree(&site.path("catalog.db"));
    for (path, was) in last.iter().filter(|(path, _)| path.as_slice() != b"disk.raw") {
        let path = String::from_utf8(path.clone()).expect("names here are text");
        let ino = ino_of(&tree, &format!("disk/@{}T000000Z/{name}/{path}", day(night)));
        let ino = ino.unwrap_or_else(|| panic!("{what}{path} is not there"));
        let (stat, _) = tree.stat(ino).expect("it has attributes");
        if let What::Is(was) = was {
            assert_eq!((stat.kind, stat.size_bytes), (was.kind, was.size_bytes), "{what}{path}");
            let bytes = was.bytes.as_ref().filter(|_| was.kind == Kind::File).map(|bytes| disk::hash_of_bytes(bytes));
            if let (Some(bytes), Ok(Content::Stored { .. })) = (bytes, tree.content(ino)) {
                assert_eq!(disk::hash(&tree, ino), bytes, "{what}{path}");
            }
        }
    }
}

/// Indexes what each disk is in a night in a catalog of its own, and returns the exit code with what it shows.
fn alone(place: &Path, night: usize, states: &[(&'static str, PathBuf)]) -> (i32, BTreeMap<&'static str, Seen>) {
    for (name, state) in states {
        fs::create_dir_all(place.join(name)).expect("it can be made");
        fs::copy(state, place.join(name).join(format!("{}.raw", day(night)))).expect("it can be copied");
    }
    let site = site_over(place);
    let code = index(&site, &[]);
    let shown = states.iter().map(|(name, _)| (*name, shown(&site, night, name))).collect();
    fs::remove_dir_all(place).expect("it is there");
    (code, shown)
}

/// Starts a run and kills it after a time that dice tell.
fn index_killed(site: &Site, dice: &mut Dice) {
    let mut run = site.asof(&["index", "disk", "--quiet"]);
    let mut run = run.stderr(Stdio::null()).spawn().expect("the program is there");
    std::thread::sleep(Duration::from_millis(dice.roll(200) as u64));
    run.kill().expect("it is ours");
    run.wait().expect("it ends");
}

/// Chooses in which form each disk is kept: beside a map a raw image without one is refused, since its own may be lost.
fn forms(dice: &mut Dice, disks: &[&Disk]) -> Vec<Form> {
    let mut forms: Vec<Form> = disks
        .iter()
        .map(|disk| {
            let newest = disk.disk.forms.iter().rfind(|form| **form != Form::None);
            match (dice.roll(8), disk.disk.counts_from(), newest) {
                (0, Some(_), _) => Form::None,
                (1..=3, Some(_), _) => Form::Pull,
                (4 | 5, Some(_), Some(newest)) if *newest != Form::Pull => Form::Qcow2,
                (6, ..) => Form::Whole,
                _ => Form::Raw,
            }
        })
        .collect();
    if forms.contains(&Form::Pull) {
        forms.iter_mut().filter(|form| **form == Form::Raw).for_each(|form| *form = Form::Whole);
    }
    if forms.iter().all(|form| *form == Form::None) {
        forms[0] = Form::Whole;
    }
    forms
}

/// Moves what there is of one image from one folder to another.
fn move_image(from: &Path, to: &Path, night: usize) {
    fs::create_dir_all(to).expect("it can be made");
    for ending in ["raw", "json", "qcow2"] {
        let name = format!("{}.{ending}", day(night));
        let _ = fs::rename(from.join(&name), to.join(&name));
    }
}

fn play(seed: u64, played: &mut Played) {
    let mut dice = Dice::new(seed);
    let dir: TempDir = tempfile::tempdir().expect("a temporary folder can be made");
    let place = fs::canonicalize(dir.path()).expect("it is there");
    let count = 2 + dice.roll(2);
    let mut guest: Vec<Disk> = (0..count)
        .map(|number| Disk {
            name: NAMES[number],
            disk: Guest::new(&mut dice),
            first: if number > 0 && dice.roll(3) == 0 { 1 + dice.roll(3) } else { 0 },
            last: if number == 2 && dice.roll(2) == 0 { 5 } else { NIGHTS },
        })
        .collect();
    let images = place.join("images");
    fs::create_dir(&images).expect("it can be made");
    let history = site_over(&images);
    let (mut log, mut nights) = (Vec::new(), Vec::<Expected>::new());
    let mut is_removed = false;
    for night in 0..NIGHTS {
        for disk in guest.iter_mut() {
            disk.disk.live(&mut dice, night);
        }
        let here: Vec<&Disk> = guest.iter().filter(|disk| disk.is_there(night)).collect();
        let mut forms = forms(&mut dice, &here).into_iter();
        let mut late = None;
        for disk in guest.iter_mut() {
            let form = if disk.is_there(night) { forms.next().expect("one each") } else { Form::None };
            let folder = disk.images(&place);
            fs::create_dir_all(&folder).expect("it can be made");
            disk.disk.keep(form, night, &folder.join(day(night)));
            log.push(format!("{night}: {} {} as {form:?}", disk.name, disk.disk.told));
            if form != Form::None && night > 0 && late.is_none() && dice.roll(6) == 0 {
                late = Some(folder);
            }
        }
        if !is_removed && guest.iter().any(|disk| disk.last <= night) {
            is_removed = true;
            history.ok(&["source", "set", "disk", "--removed-disk", "vdc"]);
        }
        let what = format!("seed {seed}:\n  {}\n", log.join("\n  "));
        let states: Vec<(&str, PathBuf)> = guest
            .iter()
            .filter(|disk| disk.disk.forms[night] != Form::None)
            .map(|disk| (disk.name, disk.disk.state(night)))
            .collect();
        if let Some(folder) = late.filter(|_| states.len() > 1) {
            // The others are indexed, then it comes.
            let away = place.join("away");
            move_image(&folder, &away, night);
            index(&history, &[]);
            move_image(&away, &folder, night);
            played.late += 1;
        }
        if dice.roll(3) == 0 {
            index_killed(&history, &mut dice);
            played.killed += 1;
        }
        // A run that was killed may have been at its end; its exit code is that of what it found.
        let code = index(&history, &[]);
        let (code_alone, there) = alone(&place.join("alone"), night, &states);
        let mut missing: BTreeSet<&'static str> = nights
            .last()
            .map(|before| before.there.keys().chain(&before.missing).copied().collect())
            .unwrap_or_default();
        missing.retain(|name| !(there.contains_key(name) || is_removed && *name == "vdc"));
        assert!(code <= code_alone.max(i32::from(!missing.is_empty())), "{what}exit code {code}");
        let expected = Expected { there, missing };
        check(&history, night, &expected, &what);
        for name in &expected.missing {
            let last = nights.iter().rev().find_map(|night| night.there.get(name)).expect("it was there");
            check_missing(&history, night, name, last, &what);
        }
        played.nights += 1;
        played.missing += expected.missing.len();
        nights.push(expected);
    }
    let what = format!("seed {seed}:\n  {}\n", log.join("\n  "));
    let check_all = |site: &Site, nights: &[Expected], what: &str| {
        for (night, expected) in nights.iter().enumerate() {
            check(site, night, expected, what);
        }
        let deep = site.asof(&["check", "--deep"]).output().expect("the program is there");
        assert!(deep.status.success(), "{what}{}", said(&deep));
    };
    check_all(&history, &nights, &format!("{what}when all were indexed: "));

    // From its manifests it is the same catalog.
    let from = images.to_str().expect("it is UTF-8");
    let catalog = history.path("catalog.db").display().to_string();
    history.run(&["rebuild", "--into", "new.db", from, &history.path("").display().to_string()], 0);
    // What a copy is known by was seen by later runs; those that were killed left what nobody sees.
    let mut differ = differences(Path::new(&catalog), &history.path("new.db"));
    differ.retain(|line| !["copy: ", "dead: ", "nameless content: "].iter().any(|table| line.starts_with(table)));
    assert!(differ.is_empty(), "{what}made again: {differ:#?}");

    // In another order, as far as increments let. What a setting says of a disk that is removed holds from then on: so that is left out.
    if !is_removed {
        let other = site_over(&images);
        let is_full = |night: &usize| {
            guest.iter().all(|disk| matches!(disk.disk.forms[*night], Form::Raw | Form::Whole | Form::None))
        };
        let mut order: Vec<usize> = (0..NIGHTS).filter(is_full).collect();
        dice.shuffle(&mut order);
        for night in &order {
            let paths = guest.iter().flat_map(|disk| {
                ["raw", "qcow2"].map(|ending| disk.images(&place).join(format!("{}.{ending}", day(*night))))
            });
            let paths: Vec<String> =
                paths.filter(|path| path.exists()).map(|path| path.display().to_string()).collect();
            index(&other, &paths.iter().map(String::as_str).collect::<Vec<_>>());
        }
        index(&other, &[]);
        check_all(&other, &nights, &format!("{what}in the order {order:?}: "));
    }

    // Again, and without one that is forgotten: the others are what they were.
    let (again, forgotten) = (dice.roll(NIGHTS), dice.roll(NIGHTS - 1));
    let of = |night: usize| format!("disk@{}", day(night));
    let output = history.asof(&["index", &of(again), "--again"]).output().expect("the program is there");
    assert!(output.status.code() < Some(2), "{what}again {again}: {}", said(&output));
    if is_removed && nights[again..].iter().all(|later| !later.there.contains_key("vdc")) {
        // That it is removed is known now, and since when: no later night has it.
        nights[again].missing.remove("vdc");
    }
    check_all(&history, &nights, &format!("{what}{again} again: "));
    history.ok(&["forget", &of(forgotten)]);
    history.run(&["index", "disk"], 0);
    assert!(disks(&history, forgotten).is_empty(), "{what}{forgotten} was forgotten");
    for (night, expected) in nights.iter().enumerate().filter(|(night, _)| *night != forgotten) {
        for (name, expected) in &expected.there {
            assert_equal(
                &shown(&history, night, name),
                expected,
                &format!("{what}without {forgotten}, {night}, {name}: "),
            );
        }
    }
    let deep = history.asof(&["check", "--deep"]).output().expect("the program is there");
    assert!(deep.status.success(), "{what}{}", said(&deep));
}

#[test]
fn each_disk_of_a_guest_with_any_history_shows_what_it_shows_alone() {
    let (first, count) = (number("ASOF_DISKS_FIRST", 0), number("ASOF_DISKS", 10) / 3);
    let mut played = Played { nights: 0, missing: 0, late: 0, killed: 0 };
    for seed in first..first + count {
        play(seed, &mut played);
    }
    let Played { nights, missing, late, killed } = played;
    println!(
        "histories {first} to {} of guests: {nights} nights, {missing} missing disks, {late} late images, {killed} kills",
        first + count - 1
    );
    assert!(count == 0 || missing + late > 0);
}
