//! Bricks with changelogs and nothing else, made up and from the corpus: what is to be read of them, and what is lacking.
//! Each test begins with what Gluster does to its files.

use super::htime::each_line;
use super::slices::{first_day, number};
use super::window::plan_window_with;
use super::*;
use crate::sys::walk::fixture;
use std::fs::{self, File};
use std::io::{self, BufReader, Write};

const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/gluster");
const ROUNDS: [&str; 6] = [
    "round-1-create",
    "round-2-modify",
    "round-3-rename",
    "round-4-link-delete",
    "round-5-brick-restart",
    "round-6-odd-names",
];
const VOLUME: Gfid = Gfid([7; 16]);
const HTIME: &str = "HTIME.1795218773";

/// A brick with changelogs and nothing else.
struct Brick(tempfile::TempDir);

impl Brick {
    /// One on which changelogs were switched on at second 1000000, with an open slice.
    fn new() -> Self {
        let brick = Self(tempfile::tempdir().unwrap());
        fs::create_dir_all(brick.changelogs().join("htime")).unwrap();
        brick.htime("HTIME.1000000", &[]).file("CHANGELOG");
        brick
    }

    /// A brick of the corpus as it was at the end of round `last`, but for the extended attributes.
    fn of_corpus(volume: &str, name: &str, last: usize) -> Self {
        let brick = Self(tempfile::tempdir().unwrap());
        for round in &ROUNDS[..last] {
            let from = Path::new(CORPUS).join(volume).join(round).join(name).join("changelogs");
            lay_over(&from, &brick.changelogs());
        }
        brick
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn changelogs(&self) -> PathBuf {
        self.path().join(".glusterfs/changelogs")
    }

    /// Adds lines to an HTIME file, which is made if it is not there; the prefix is that of a brick that was moved.
    fn htime(&self, name: &str, lines: &[&str]) -> &Self {
        let path = self.changelogs().join("htime").join(name);
        let mut file = File::options().create(true).append(true).open(path).unwrap();
        for line in lines {
            file.write_all(format!("/old/place/.glusterfs/changelogs/{line}\0").as_bytes()).unwrap();
        }
        self
    }

    fn file(&self, name: &str) -> &Self {
        let path = self.changelogs().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, b"GlusterFS Changelog | version: v1.2 | encoding : 2\n").unwrap();
        self
    }

    fn remove(&self, name: &str) -> &Self {
        fs::remove_file(self.changelogs().join(name)).unwrap();
        self
    }

    fn plan(&self, since: Option<&Cursor>) -> Plan {
        plan_with(self.path(), VOLUME, since, &mut || ()).unwrap()
    }

    /// Returns the cursor after all that is there.
    fn now(&self) -> Cursor {
        let plan = self.plan(None);
        assert_eq!((plan.read.len(), plan.gaps.len()), (0, 0));
        plan.next.unwrap()
    }
}

fn lay_over(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            lay_over(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// Returns what is to be read, below the directory of changelogs.
fn read(brick: &Brick, plan: &Plan) -> Vec<String> {
    let below = brick.changelogs();
    plan.read.iter().map(|path| path.strip_prefix(&below).unwrap().to_str().unwrap().to_owned()).collect()
}

fn why(plan: &Plan) -> Vec<(&str, Option<u64>, Option<u64>)> {
    plan.gaps.iter().map(|gap| (gap.why.as_str(), gap.from, gap.until)).collect()
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn from_now_on_nothing_is_read_and_all_that_is_closed_is_done() {
    let brick = Brick::of_corpus("gv0", "gv0-b1", 2);
    let plan = brick.plan(None);
    assert_eq!((read(&brick, &plan), why(&plan)), (vec![], vec![]));
    assert_eq!(plan.open.unwrap().path, brick.changelogs().join("CHANGELOG"));
    let done = names(&[
        "CHANGELOG.1795218794",
        "CHANGELOG.1795218838",
        "CHANGELOG.1795218841",
        "CHANGELOG.1795218847",
        "CHANGELOG.1795218856",
        "CHANGELOG.1795218859",
    ]);
    // The last line of HTIME is an empty slice.
    let expected = Cursor { volume_id: VOLUME, htime: HTIME.to_owned(), last: 1_795_218_866, done };
    assert_eq!(plan.next, Some(expected));
}

#[test]
fn each_round_of_the_corpus_reads_its_own_slices_and_has_no_gap() {
    for (volume, name) in
        [("gv0", "gv0-b1"), ("gr0", "gr0-b1"), ("gr0", "gr0-b2"), ("gr0", "gr0-b3"), ("gr0", "gr0-b4")]
    {
        let mut cursor = Brick::of_corpus(volume, name, 1).now();
        for last in 2..=ROUNDS.len() {
            let brick = Brick::of_corpus(volume, name, last);
            let plan = brick.plan(Some(&cursor));
            let told = Path::new(CORPUS).join(volume).join(ROUNDS[last - 1]).join(name).join("htime.json");
            let told: serde_json::Value = serde_json::from_slice(&fs::read(told).unwrap()).unwrap();
            assert_eq!(serde_json::json!(read(&brick, &plan)), told["new_changelogs"], "{name} {last}");
            assert_eq!(why(&plan), [], "{name} {last}");
            cursor = plan.next.unwrap();
            assert_eq!(read(&brick, &brick.plan(Some(&cursor))), Vec::<String>::new(), "{name} {last}");
        }
    }
}

#[test]
fn the_slice_that_a_restart_left_out_of_htime_is_read() {
    let cursor = Brick::of_corpus("gv0", "gv0-b1", 4).now();
    let brick = Brick::of_corpus("gv0", "gv0-b1", 5);
    let plan = brick.plan(Some(&cursor));
    assert_eq!(read(&brick, &plan), ["2026/11/20/CHANGELOG.1795219020", "2026/11/20/CHANGELOG.1795219029"]);
    assert_eq!(why(&plan), []);
}

#[test]
fn a_slice_that_appears_out_of_order_is_read_once() {
    let brick = Brick::new();
    brick.htime("HTIME.1000000", &["1970/01/12/CHANGELOG.1005000"]).file("1970/01/12/CHANGELOG.1005000");
    let cursor = brick.now();
    brick.file("1970/01/12/CHANGELOG.1004990");
    let plan = brick.plan(Some(&cursor));
    assert_eq!(read(&brick, &plan), ["1970/01/12/CHANGELOG.1004990"]);
    let next = plan.next.unwrap();
    assert_eq!(next.done, names(&["CHANGELOG.1004990", "CHANGELOG.1005000"]));
    assert_eq!(read(&brick, &brick.plan(Some(&next))), Vec::<String>::new());
}

#[test]
fn slices_are_known_by_name_for_an_hour() {
    let brick = Brick::new();
    let lines = ["CHANGELOG.1001000", "CHANGELOG.1001001", "changelog.1004600"];
    brick.htime("HTIME.1000000", &lines).file(lines[0]).file(lines[1]);
    assert_eq!(brick.now().done, names(&["CHANGELOG.1001000", "CHANGELOG.1001001"]));
    brick.htime("HTIME.1000000", &["changelog.1004601"]);
    let cursor = brick.now();
    assert_eq!((cursor.last, cursor.done.clone()), (1_004_601, names(&["CHANGELOG.1001001"])));
    let plan = brick.plan(Some(&cursor));
    assert_eq!((read(&brick, &plan), why(&plan)), (vec![], vec![]));
}

#[test]
fn the_old_flat_layout_and_the_dated_one_are_read_together_oldest_first() {
    let brick = Brick::new();
    brick.htime("HTIME.1000000", &["changelog.1000010"]);
    let cursor = brick.now();
    let lines =
        ["CHANGELOG.1000020", "1970/01/12/CHANGELOG.1000040", "CHANGELOG.1000030", "1970/02/01/CHANGELOG.2700000"];
    lines.iter().fold(&brick, |brick, line| brick.file(line));
    brick.htime("HTIME.1000000", &[lines[0], lines[2], lines[1], lines[3]]);
    for other in
        ["CHANGELOG.1000050.gz", "CHANGELOG.01000060", "CHANGELOG.", "changelog.1000070", "csnap/CHANGELOG.SNAP"]
    {
        brick.file(other);
    }
    let plan = brick.plan(Some(&cursor));
    assert_eq!(read(&brick, &plan), [lines[0], lines[2], lines[1], lines[3]]);
    assert_eq!(why(&plan), []);
}

#[test]
fn directories_from_before_the_day_before_the_cursor_are_not_listed() {
    let brick = Brick::new();
    // 1970-03-02T00:00:10Z: its hour begins the day before.
    brick.htime("HTIME.1000000", &["1970/03/02/CHANGELOG.5184010"]).file("1970/03/02/CHANGELOG.5184010");
    let cursor = Cursor { done: BTreeSet::new(), ..brick.now() };
    brick.file("1970/03/01/CHANGELOG.5183000");
    // A directory that cannot be listed shows that nobody tries.
    for old in ["1970/02/27", "1970/01", "1969"] {
        fs::create_dir_all(brick.changelogs().join(old).parent().unwrap()).unwrap();
        fs::write(brick.changelogs().join(old), b"no directory").unwrap();
    }
    let plan = brick.plan(Some(&cursor));
    assert_eq!(read(&brick, &plan), ["1970/03/01/CHANGELOG.5183000", "1970/03/02/CHANGELOG.5184010"]);
    fs::write(brick.changelogs().join("1971"), b"no directory").unwrap();
    let error = plan_with(brick.path(), VOLUME, Some(&cursor), &mut || ()).unwrap_err();
    assert_eq!(error.to_string(), format!("cannot list the changelogs in {:?}", brick.changelogs().join("1971")));
}

#[test]
fn the_open_slice_is_never_done_and_is_still_the_same_after_a_rollover() {
    let brick = Brick::new();
    let cursor = brick.now();
    assert_eq!((cursor.last, cursor.done.len()), (1_000_000, 0));
    fs::write(brick.changelogs().join("CHANGELOG"), b"before").unwrap();
    let plan = brick.plan(Some(&cursor));
    assert_eq!((why(&plan), plan.next.as_ref()), (vec![], Some(&cursor)));
    fs::create_dir_all(brick.changelogs().join("1970/01/12")).unwrap();
    fs::rename(brick.changelogs().join("CHANGELOG"), brick.changelogs().join("1970/01/12/CHANGELOG.1000015")).unwrap();
    brick.htime("HTIME.1000000", &["1970/01/12/CHANGELOG.1000015"]).file("CHANGELOG");
    assert_eq!(io::read_to_string(plan.open.unwrap().file).unwrap(), "before");
    assert_eq!(read(&brick, &brick.plan(plan.next.as_ref())), ["1970/01/12/CHANGELOG.1000015"]);
}

#[test]
fn a_rollover_in_progress_is_waited_for_and_is_no_gap() {
    let brick = Brick::new();
    brick.remove("CHANGELOG");
    let mut pauses = 0;
    let plan = plan_with(brick.path(), VOLUME, None, &mut || {
        pauses += 1;
        if pauses == 3 {
            brick.file("CHANGELOG");
        }
    });
    let plan = plan.unwrap();
    assert_eq!((pauses, why(&plan)), (3, vec![]));
    assert!(plan.open.is_some() && plan.next.is_some());
}

#[test]
fn changelogs_that_are_off_are_a_gap_and_leave_no_cursor() {
    let brick = Brick::new();
    brick.htime("HTIME.1000000", &["CHANGELOG.1000015"]).file("CHANGELOG.1000015");
    let cursor = brick.now();
    brick.htime("HTIME.1000000", &["CHANGELOG.1000030"]).file("CHANGELOG.1000030").remove("CHANGELOG");
    let mut pauses = 0;
    let plan = plan_with(brick.path(), VOLUME, Some(&cursor), &mut || pauses += 1).unwrap();
    assert_eq!(pauses, 50);
    assert_eq!(why(&plan), [("changelogs are off", Some(1_000_030), None)]);
    assert_eq!(read(&brick, &plan), ["CHANGELOG.1000030"]);
    assert_eq!((plan.next, plan.open.is_none()), (None, true));
    assert_eq!(why(&brick.plan(None)), [("changelogs are off", Some(1_000_030), None)]);
}

#[test]
fn a_brick_without_changelogs_is_a_gap() {
    let brick = Brick(tempfile::tempdir().unwrap());
    for _ in ["no directory at all", "an empty one"] {
        let plan = brick.plan(None);
        assert_eq!((why(&plan), &plan.next), (vec![("changelogs were never on", None, None)], &None));
        fs::create_dir_all(brick.changelogs().join("htime")).unwrap();
    }
}

#[test]
fn another_htime_means_that_changelogs_were_off() {
    let brick = Brick::new();
    brick.htime("HTIME.1000000", &["CHANGELOG.1000015"]).file("CHANGELOG.1000015");
    let cursor = brick.now();
    brick.htime("HTIME.1000000", &["CHANGELOG.1000020"]).file("CHANGELOG.1000020");
    brick.htime("HTIME.1000900", &["CHANGELOG.1000915"]).file("CHANGELOG.1000915");
    let plan = brick.plan(Some(&cursor));
    let expected = "changelogs were off for a while: HTIME.1000900 goes on where HTIME.1000000 was";
    assert_eq!(why(&plan), [(expected, Some(1_000_015), Some(1_000_900))]);
    assert_eq!(read(&brick, &plan), ["CHANGELOG.1000020", "CHANGELOG.1000915"]);
    let next = plan.next.unwrap();
    assert_eq!((next.htime.as_str(), next.last), ("HTIME.1000900", 1_000_915));
    assert_eq!(why(&brick.plan(Some(&next))), []);
}

#[test]
fn the_htime_file_that_is_noted_counts_not_the_newest() {
    if !fixture::is_root() {
        return;
    }
    let brick = Brick::new();
    brick.htime("HTIME.2000000", &[]);
    assert_eq!(brick.now().htime, "HTIME.2000000");
    let folder = brick.changelogs().join("htime");
    fixture::set_xattr(&folder, "trusted.glusterfs.current_htime", b"HTIME.1000000");
    assert_eq!(brick.now().htime, "HTIME.1000000");
    fixture::set_xattr(&folder, "trusted.glusterfs.current_htime", b"HTIME.3000000");
    let plan = brick.plan(None);
    let expected = "HTIME.3000000 is noted as the current list of changelogs and is missing";
    assert_eq!((why(&plan), &plan.next), (vec![(expected, None, None)], &None));
    fixture::set_xattr(&folder, "trusted.glusterfs.current_htime", b"../x");
    let error = plan_with(brick.path(), VOLUME, None, &mut || ()).unwrap_err();
    assert_eq!(error.to_string(), format!("cannot read trusted.glusterfs.current_htime of {folder:?}"));
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(cause, "found \"../x\", expected HTIME.<unix seconds>");
}

#[test]
fn slices_that_are_listed_and_gone_are_a_gap_unless_they_were_read() {
    let brick = Brick::new();
    let lines =
        ["CHANGELOG.1000015", "changelog.1000030", "CHANGELOG.1000045", "CHANGELOG.1000060", "CHANGELOG.1000075"];
    brick.htime("HTIME.1000000", &lines[..1]).file(lines[0]);
    let cursor = brick.now();
    brick.htime("HTIME.1000000", &lines[1..]).remove(lines[0]).file(lines[4]);
    let plan = brick.plan(Some(&cursor));
    let expected = "2 of the changelogs that HTIME.1000000 lists are missing, the first is CHANGELOG.1000045";
    assert_eq!(why(&plan), [(expected, Some(1_000_015), Some(1_000_060))]);
    assert_eq!(read(&brick, &plan), ["CHANGELOG.1000075"]);
    assert_eq!(why(&brick.plan(plan.next.as_ref())), []);
    assert_eq!(why(&brick.plan(Some(&brick.now()))), []);
}

#[test]
fn a_window_reads_every_slice_that_overlaps_it_and_no_other() {
    let brick = Brick::new();
    let lines =
        ["CHANGELOG.1000015", "changelog.1000030", "CHANGELOG.1000045", "CHANGELOG.1000060", "changelog.1000075"];
    brick.htime("HTIME.1000000", &lines);
    brick.file(lines[0]).file(lines[2]).file(lines[3]);
    let window = |from: u64, until: u64| {
        let plan = plan_window_with(brick.path(), from, until, &mut || ()).unwrap();
        assert_eq!((why(&plan), &plan.next), (vec![], &None));
        let mut names = read(&brick, &plan);
        names.extend(plan.open.map(|_| "open".to_owned()));
        names
    };
    assert_eq!(window(1_000_002, 1_000_010), ["CHANGELOG.1000015"]);
    assert_eq!(window(1_000_016, 1_000_029), Vec::<String>::new(), "nothing was recorded");
    assert_eq!(window(1_000_031, 1_000_044), ["CHANGELOG.1000045"]);
    assert_eq!(window(1_000_045, 1_000_045), ["CHANGELOG.1000045", "CHANGELOG.1000060"], "a second of two slices");
    assert_eq!(window(1_000_050, 1_000_074), ["CHANGELOG.1000060"]);
    assert_eq!(window(1_000_076, 1_000_076), ["open"]);
    assert_eq!(window(1_000_001, 2_000_000), ["CHANGELOG.1000015", "CHANGELOG.1000045", "CHANGELOG.1000060", "open"]);
}

#[test]
fn what_a_window_lacks_is_a_gap() {
    let brick = Brick::new();
    brick.htime("HTIME.1000000", &["CHANGELOG.1000015", "CHANGELOG.1000030"]).file("CHANGELOG.1000015");
    brick.htime("HTIME.1000100", &["CHANGELOG.1000115"]).file("CHANGELOG.1000115");
    let window = |from: u64, until: u64| plan_window_with(brick.path(), from, until, &mut || ()).unwrap();
    let missing = "1 listed changelogs are missing, the first is CHANGELOG.1000030";
    let off = "nothing is known of the time before HTIME.1000100: changelogs were off";
    assert_eq!(
        why(&window(1_000_010, 1_000_110)),
        [(off, Some(1_000_030), Some(1_000_100)), (missing, Some(1_000_015), Some(1_000_030))]
    );
    assert_eq!(why(&window(1_000_101, 1_000_110)), []);
    let before = "nothing is known of the time before HTIME.1000000: changelogs were off";
    assert_eq!(why(&window(5, 1_000_001)), [(before, Some(5), Some(1_000_000))]);
    brick.remove("CHANGELOG");
    assert_eq!(why(&window(1_000_101, 1_000_120)), [("changelogs are off", Some(1_000_115), None)]);
    assert_eq!(why(&window(1_000_101, 1_000_110)), []);
}

#[test]
fn another_volume_id_is_a_gap_and_a_new_beginning() {
    let brick = Brick::new();
    brick.htime("HTIME.1000000", &["CHANGELOG.1000015"]);
    let cursor = Cursor { volume_id: Gfid::ROOT, ..brick.now() };
    brick.htime("HTIME.1000000", &["CHANGELOG.1000030"]).file("CHANGELOG.1000030");
    let plan = brick.plan(Some(&cursor));
    let expected = "the brick is of volume id 07070707-0707-0707-0707-070707070707, its changelogs were read for \
                    00000000-0000-0000-0000-000000000001";
    assert_eq!(why(&plan), [(expected, None, None)]);
    assert_eq!(read(&brick, &plan), Vec::<String>::new());
    let next = plan.next.unwrap();
    assert_eq!((next.volume_id, next.last), (VOLUME, 1_000_030));
}

#[test]
fn a_brick_that_lacks_the_last_slice_that_was_read_was_restored() {
    let brick = Brick::new();
    brick.htime("HTIME.1000000", &["CHANGELOG.1000015"]).file("CHANGELOG.1000015");
    let cursor = brick.now();
    let path = brick.changelogs().join("htime/HTIME.1000000");
    fs::write(&path, b"").unwrap();
    // It is enough that it is there, or that it is listed.
    assert_eq!(why(&brick.plan(Some(&cursor))), []);
    brick.remove("CHANGELOG.1000015").htime("HTIME.1000000", &["CHANGELOG.1000015"]);
    assert_eq!(why(&brick.plan(Some(&cursor))), []);
    fs::write(&path, b"").unwrap();
    let plan = brick.plan(Some(&cursor));
    let expected = "CHANGELOG.1000015 was read before and is neither there nor in HTIME.1000000: the brick was \
                    replaced or restored";
    assert_eq!(why(&plan), [(expected, Some(1_000_015), None)]);
    assert_eq!(plan.next.unwrap().last, 1_000_000);
}

#[test]
fn a_clock_that_went_back_is_a_gap_once() {
    let brick = Brick::new();
    brick.htime("HTIME.1000000", &["1970/01/24/CHANGELOG.2000000"]).file("1970/01/24/CHANGELOG.2000000");
    let cursor = brick.now();
    brick.htime("HTIME.1000000", &["changelog.1000010"]);
    assert_eq!(why(&brick.plan(Some(&cursor))), []);
    brick.htime("HTIME.1000000", &["1970/01/12/CHANGELOG.1000020"]).file("1970/01/12/CHANGELOG.1000020");
    let plan = brick.plan(Some(&cursor));
    let expected = "the clock of the brick went back: CHANGELOG.1000020 came after the last that was read";
    assert_eq!(why(&plan), [(expected, Some(2_000_000), None)]);
    let next = brick.now();
    assert_eq!((next.last, next.done.clone()), (1_000_020, names(&["CHANGELOG.1000020", "CHANGELOG.2000000"])));
    brick.htime("HTIME.1000000", &["1970/01/12/CHANGELOG.1000030"]).file("1970/01/12/CHANGELOG.1000030");
    let plan = brick.plan(Some(&next));
    assert_eq!((read(&brick, &plan), why(&plan)), (vec!["1970/01/12/CHANGELOG.1000030".to_owned()], vec![]));
}

#[test]
fn a_slice_that_overwrote_another_is_a_gap_and_two_empty_ones_are_none() {
    let brick = Brick::new();
    brick.htime("HTIME.1000000", &["changelog.1000010"]);
    let cursor = brick.now();
    brick.htime("HTIME.1000000", &["changelog.1000020", "changelog.1000020", "CHANGELOG.1000020"]);
    brick.file("CHANGELOG.1000020");
    assert_eq!(why(&brick.plan(Some(&cursor))), []);
    brick.htime("HTIME.1000000", &["CHANGELOG.1000020"]);
    let expected = "CHANGELOG.1000020 is listed twice: the second overwrote the first";
    assert_eq!(why(&brick.plan(Some(&cursor))), [(expected, Some(1_000_010), None)]);
}

#[test]
fn damage_in_htime_matters_after_the_cursor_and_a_line_that_is_being_written_never() {
    let brick = Brick::new();
    let path = brick.changelogs().join("htime/HTIME.1000000");
    let add = |bytes: &[u8]| File::options().append(true).open(&path).unwrap().write_all(bytes).unwrap();
    // Without a line of its own, a cursor at the beginning stands before all lines.
    let begin = brick.now();
    add(b"/x/junk\0\0");
    add(&[b'x'; 300_000]);
    add(b"\0/x/CHANGELOG.1000015\0");
    brick.file("CHANGELOG.1000015");
    let cursor = brick.now();
    assert_eq!(cursor.last, 1_000_015);
    add(b"/x/CHANGELOG.10000");
    assert_eq!(why(&brick.plan(Some(&cursor))), []);
    let damaged = "the list of changelogs is damaged: it holds \"junk\"";
    let empty = "the list of changelogs is damaged: it holds \"\"";
    let expected = [damaged, empty, empty].map(|why| (why, Some(1_000_000), None));
    assert_eq!(why(&brick.plan(Some(&begin))), expected);
}

#[test]
fn a_list_longer_than_the_buffer_is_read_to_its_end() {
    let brick = Brick::new();
    let lines: Vec<String> = (0..20_000).map(|n| format!("changelog.{}", 1_000_015 + 15 * n)).collect();
    brick.htime("HTIME.1000000", &lines.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(brick.now().last, 1_300_000);
    let mut seen = Vec::new();
    each_line(BufReader::with_capacity(3, &b"ab\0\0cdefgh\0i"[..]), &mut |line| seen.push(line.unwrap().to_owned()))
        .unwrap();
    assert_eq!(seen, [&b"ab"[..], b"", b"cdefgh"]);
}

#[test]
fn only_what_a_program_would_write_is_a_number() {
    let table = [
        ("0", Some(0)),
        ("17", Some(17)),
        ("18446744073709551615", Some(u64::MAX)),
        ("18446744073709551616", None),
        ("", None),
        ("+1", None),
        ("01", None),
        ("1a", None),
    ];
    for (digits, value) in table {
        assert_eq!(number(digits.as_bytes()), value, "{digits:?}");
    }
}

#[test]
fn any_cursor_has_a_first_day() {
    assert_eq!(first_day(0), (1969, 12, 31));
    assert_eq!(first_day(1_795_219_089), (2026, 11, 19));
    assert_eq!(first_day(u64::MAX), (0, 0, 0));
}
