//! What the agent's answers promise, on bricks made by hand; most need root, for `trusted.*`.
//! Never uses Gluster itself: what a real brick holds is what the sources and real volumes showed.

use super::super::Gfid;
use super::super::made_brick::{MadeBrick, VOLUME, VOLUME_ID, record};
use super::super::part::{NodeName, Text};
use super::walk::BATCH;
use super::*;
use crate::clock::Fixed;
use crate::model::{Time, Timestamp, escape_bytes};
use crate::sys::walk::fixture::{self, is_root};
use std::fs;
use std::path::PathBuf;

const CLOCK: Fixed = Fixed(Time(1_790_000_000));

fn request(made: &MadeBrick, want: Want) -> Request {
    let brick = Text(made.path().as_os_str().as_bytes().to_vec());
    Request {
        format: FORMAT,
        volume: VOLUME.to_owned(),
        volume_id: VOLUME_ID,
        brick,
        want,
        fragments: false,
        whole: None,
    }
}

fn lines(bytes: &[u8]) -> Vec<Line> {
    let text = std::str::from_utf8(bytes).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn ask(made: &MadeBrick, want: Want) -> (Vec<Line>, Summary) {
    let mut out = Vec::new();
    let summary = scan(&request(made, want), "1.2.3", &CLOCK, &mut out).unwrap();
    (lines(&out), summary)
}

/// Answers with changelogs that the history would have named.
fn ask_since(made: &MadeBrick, plan: Plan, also: &[Gfid]) -> (Vec<Line>, Summary) {
    let mut out = Vec::new();
    let brick = Brick::open(made.path(), VOLUME, false).unwrap();
    let mut reader = brick.reader().unwrap();
    let mut part = Part::new(made.path(), &mut out);
    let end = since(&mut reader, plan, also, &mut part).unwrap();
    let summary = part.finish(end).unwrap();
    (lines(&out), summary)
}

fn plan_of(read: Vec<PathBuf>, open: Option<PathBuf>) -> Plan {
    let next = Cursor { volume_id: VOLUME_ID, htime: "HTIME.1".to_owned(), last: 30, done: BTreeSet::new() };
    let open = open.map(|path| history::Open { file: fs::File::open(&path).unwrap(), path });
    Plan { read, open, next: Some(next), gaps: Vec::new() }
}

/// What a person would note of a line.
fn notes(lines: &[Line]) -> Vec<String> {
    let text = |text: &Text| escape_bytes(&text.0).into_owned();
    let short = |gfid: Gfid| match gfid.to_string() {
        gfid if gfid.starts_with("aaaaaaaa") => format!("#{}", gfid[30..].trim_start_matches('0')),
        gfid if gfid == Gfid::ROOT.to_string() => "root".to_owned(),
        gfid => gfid,
    };
    lines
        .iter()
        .map(|line| match line {
            Line::Part(header) => format!("part {} {}", header.want, header.began_ns),
            Line::Node(node) => {
                let names: Vec<_> =
                    node.names.iter().map(|at| format!(" {}/{}", short(at.parent), text(&at.name))).collect();
                let data = if node.data { " data" } else { "" };
                format!("node {}{}{data}", short(node.state.gfid), names.concat())
            }
            Line::Directory { path } => {
                format!("directory {}", path.iter().map(|name| format!("/{}", text(name))).collect::<String>())
            }
            Line::Entry { name, state } => format!("entry {} {}", text(name), short(state.gfid)),
            Line::Gone { gfid } => format!("gone {}", short(*gfid)),
            Line::Name { parent, name, gfid } => {
                format!("name {}/{} {}", short(*parent), text(name), gfid.map_or("nobody".to_owned(), short))
            }
            Line::Shards { base, .. } => format!("shards of {}", short(*base)),
            Line::Recorded(recorded) => {
                let said =
                    [(recorded.made, " made"), (recorded.changed, " changed"), (recorded.directory, " directory")];
                let said: String = said.iter().filter(|(is_so, _)| *is_so).map(|(_, word)| *word).collect();
                let name = |at: &NodeName| format!("{}/{}", short(at.parent), text(&at.name));
                let was = recorded.was.iter().map(|was| {
                    format!(
                        " was {}{}",
                        name(&was.name),
                        was.path.as_ref().map_or(String::new(), |p| format!(" ({})", text(p)))
                    )
                });
                let came = recorded.came.iter().map(|at| format!(" came {}", name(at)));
                format!("recorded {}{said}{}", short(recorded.gfid), was.chain(came).collect::<String>())
            }
            Line::Trouble { path, detail } => format!("trouble {}: {detail}", text(path)),
            Line::End(end) => format!("end {} {:?} {}", end.lines, end.slices, end.records),
        })
        .collect()
}

#[test]
fn a_walk_tells_directories_breadth_first_and_names_in_the_order_of_their_bytes() {
    if !is_root() {
        return;
    }
    let made = MadeBrick::new();
    made.directory("b"); // 1
    made.directory("a"); // 2
    made.directory("a-"); // 3
    made.directory("a/z"); // 4
    made.directory("a-/y"); // 5
    made.file("b/f", b""); // 6
    made.file(OsStr::from_bytes(b"a/z/caf\xe9\n"), b""); // 7
    made.symlink("l", "a"); // 8
    made.pointer("a/pointer");
    made.directory_of(".trashcan", Gfid::TRASHCAN);
    made.file(".trashcan/thrown", b"");
    made.directory_of(".shard", Gfid::SHARDS);
    let mut anonymous = VOLUME_ID;
    anonymous.0[0] ^= 1;
    made.directory_of(format!(".glusterfs-anonymous-inode-{VOLUME_ID}"), anonymous);
    fs::create_dir(made.at(".landfill")).unwrap();
    made.switch_changelogs_on();

    let (lines, summary) = ask(&made, Want::Walk);

    assert_eq!(
        notes(&lines),
        [
            "part walk 1790000000000000000",
            "node root",
            "directory ",
            "entry a #2",
            "entry a- #3",
            "entry b #1",
            "entry l #8",
            "directory /a",
            "entry z #4",
            "directory /a-",
            "entry y #5",
            "directory /b",
            "entry f #6",
            "directory /a/z",
            "entry caf\\xe9\\n #7",
            "directory /a-/y",
            "end 16 [] 0",
        ]
    );
    let Line::Part(header) = &lines[0] else { panic!("no header") };
    assert_eq!((header.format, header.asof.as_str(), header.volume.as_str()), (2, "1.2.3", "vol"));
    assert_eq!((header.volume_id, header.brick.0.as_slice()), (VOLUME_ID, made.path().as_os_str().as_bytes()));
    let Line::Entry { name, state } = &lines[14] else { panic!("no entry") };
    assert_eq!((name.0.as_slice(), state.nlink), (&b"caf\xe9\n"[..], 1));
    let Some(Line::End(end)) = lines.last() else { panic!("no end") };
    assert!(end.cursor.is_some() && end.gaps.is_empty());
    assert_eq!(summary, Summary { lines: 17, nodes: 1, directories: 6, entries: 8, ..Summary::default() });
}

#[test]
fn a_directory_of_many_names_is_told_in_one_order_over_all_batches() {
    if !is_root() {
        return;
    }
    let made = MadeBrick::new();
    for number in 0..BATCH + 10 {
        let name = format!("{}", (number * 7919) % (BATCH + 10));
        fs::write(made.at(&name), b"").unwrap();
        made.set(&name, "trusted.gfid", &made.new_gfid().0);
    }
    let (lines, summary) = ask(&made, Want::Walk);
    let names: Vec<_> = lines
        .iter()
        .filter_map(|line| match line {
            Line::Entry { name, .. } => Some(&name.0),
            _ => None,
        })
        .collect();
    assert_eq!(summary.entries, 4106);
    assert!(names.windows(2).all(|pair| pair[0] < pair[1]));
}

#[test]
fn what_lies_on_the_brick_without_a_gfid_is_trouble() {
    if !is_root() {
        return;
    }
    let made = MadeBrick::new();
    made.directory("d"); // 1
    fs::write(made.at("d/by-hand"), b"").unwrap();
    // What is stamped after the scan began is of this very moment.
    let stamped = fs::metadata(made.at("d/by-hand")).unwrap();
    while sys::stamp_clock() <= Timestamp::from(part_stamp(&stamped)) {
        std::thread::yield_now();
    }
    let (lines, summary) = ask(&made, Want::Walk);
    assert_eq!(
        notes(&lines)[4..6],
        [
            "directory /d",
            "trouble d/by-hand: it has no trusted.gfid: it was put onto the brick by hand, and is not in the volume \
             before a client has looked it up"
        ]
    );
    assert_eq!((summary.troubles, summary.entries), (1, 1));
    let brick = Brick::open(made.path(), VOLUME, false).unwrap();
    let mut reader = brick.reader().unwrap();
    let mut out = Vec::new();
    let mut part = Part::new(made.path(), &mut out);
    walk(&mut reader, Timestamp { seconds: 0, nanos: 0 }, &mut part).unwrap();
    assert_eq!(part.summary.troubles, 0);
}

fn part_stamp(metadata: &fs::Metadata) -> super::super::part::Stamp {
    use std::os::unix::fs::MetadataExt;
    super::super::part::Stamp(metadata.ctime(), metadata.ctime_nsec() as u32)
}

#[test]
fn another_file_system_inside_is_trouble_and_not_entered() {
    if !is_root() {
        return;
    }
    let made = MadeBrick::new();
    made.directory("d"); // 1
    let (lines, _) = fixture::in_own_mounts(|| {
        fixture::mount_tmpfs(&made.at("d"));
        fs::write(made.at("d/secret"), b"").unwrap();
        ask(&made, Want::Walk)
    });
    assert_eq!(
        notes(&lines)[2..],
        ["directory ", "trouble d: another file system is mounted here; it was not entered", "end 4 [] 0"]
    );
}

#[test]
fn records_tell_which_nodes_and_names_are_told_as_they_are_now() {
    if !is_root() {
        return;
    }
    let made = MadeBrick::new();
    let d = made.directory("d"); // 1
    let written = made.file("d/written", b"new"); // 2
    let renamed = made.file("d/renamed", b""); // 3, over an older file
    let untouched = made.file("untouched", b""); // 4
    let also = made.file("also", b""); // 5
    let removed = made.new_gfid(); // 6
    let victim = made.new_gfid(); // 7, which no record names
    let first = made.slice(
        "CHANGELOG.10",
        &[
            record::create(written, d, b"written"),
            record::rename(renamed, (Gfid::ROOT, b"old\nname"), (d, b"renamed")),
            record::create(removed, Gfid::ROOT, b"short lived"),
            record::unlink(removed, Gfid::ROOT, b"short lived"),
        ],
    );
    let open = made.slice("CHANGELOG", &[record::data(written), record::data(written), b"Dtorn".to_vec()]);

    let (lines, summary) = ask_since(&made, plan_of(vec![first], Some(open)), &[also, also, victim]);

    assert_eq!(
        notes(&lines),
        [
            "name root/old\\nname nobody",
            "name root/short lived nobody",
            "name #1/renamed #3",
            "name #1/written #2",
            "node root",
            "node #1 root/d",
            "node #2 #1/written data",
            "node #3 #1/renamed",
            "node #5 root/also",
            "gone #6",
            "gone #7",
            "end 11 [\"CHANGELOG.10\"] 6",
        ]
    );
    let Some(Line::End(end)) = lines.last() else { panic!("no end") };
    assert_eq!(end.cursor.as_ref().unwrap().last, 30);
    assert_eq!(
        summary,
        Summary { lines: 12, nodes: 5, gone: 2, names: 4, slices: 1, records: 6, ..Summary::default() }
    );
    assert_ne!(untouched, also);
}

#[test]
fn a_scan_goes_on_where_the_walk_began() {
    if !is_root() {
        return;
    }
    let made = MadeBrick::new();
    made.switch_changelogs_on();
    let f = made.file("f", b""); // 1
    made.listed_slice(1010, &[record::create(f, Gfid::ROOT, b"f")]);
    let next = |want: Want| {
        let (mut lines, _) = ask(&made, want);
        let Some(Line::End(end)) = lines.pop() else { panic!("no end") };
        assert_eq!(end.gaps, []);
        (notes(&lines), Want::Since { cursor: end.cursor.unwrap(), also: Vec::new() })
    };
    let began = "1790000000000000000";
    let (told, want) = next(Want::Walk);
    assert_eq!(told[1..], ["node root", "directory ", "entry f #1"]);
    let (told, want) = next(want);
    assert_eq!(told, [format!("part since {began}")]);
    made.listed_slice(1020, &[record::data(f)]);
    let (told, want) = next(want);
    assert_eq!(told[1..], ["node #1 root/f data"]);
    let (told, _) = next(want);
    assert_eq!(told, [format!("part since {began}")]);
}

#[test]
fn a_window_tells_what_records_prove_of_the_past_and_the_directories_above_the_present() {
    if !is_root() {
        return;
    }
    let made = MadeBrick::new();
    made.switch_changelogs_on();
    let a = made.directory("a"); // 1
    let b = made.directory("a/b"); // 2
    let moved = made.file("a/b/moved", b""); // 3
    let fresh = made.file("fresh", b""); // 4
    let outside = made.file("outside", b""); // 5
    let gone = made.new_gfid(); // 6
    made.listed_slice(1010, &[record::data(outside)]);
    made.listed_slice(
        1020,
        &[
            record::create(fresh, Gfid::ROOT, b"tmp"),
            record::rename(fresh, (Gfid::ROOT, b"tmp"), (Gfid::ROOT, b"fresh")),
            record::rename(moved, (Gfid::ROOT, b"old"), (b, b"between")),
            record::rename(moved, (b, b"between"), (b, b"moved")),
            record::data(gone),
            record::unlink(gone, a, b"gone"),
        ],
    );
    made.listed_slice(1030, &[record::data(outside)]);

    let (lines, summary) = ask(&made, Want::Window { from: 1015, until: 1018 });

    assert_eq!(
        notes(&lines)[1..],
        [
            "recorded #3 was root/old came #2/between came #2/moved",
            "recorded #4 made came root/fresh came root/tmp",
            "recorded #6 changed was #1/gone",
            "name root/fresh #4",
            "name root/old nobody",
            "name root/tmp nobody",
            "name #1/gone nobody",
            "name #2/between nobody",
            "name #2/moved #3",
            "node root",
            "node #1 root/a",
            "node #2 #1/b",
            "node #3 #2/moved",
            "node #4 root/fresh",
            "gone #6",
            "end 16 [\"CHANGELOG.1020\"] 6",
        ]
    );
    assert_eq!((summary.slices, summary.gaps), (1, 0));
}

#[test]
fn a_window_with_a_hole_tells_the_hole_and_what_there_is() {
    if !is_root() {
        return;
    }
    let made = MadeBrick::new();
    made.switch_changelogs_on();
    let f = made.file("f", b""); // 1
    made.listed_slice(1010, &[record::data(f)]);
    made.listed_slice(1020, &[b"rubbish".to_vec()]);

    let (lines, _) = ask(&made, Want::Window { from: 990, until: 1030 });

    assert_eq!(
        notes(&lines)[1..],
        ["recorded #1 changed", "node #1 root/f data", "node root", "end 4 [\"CHANGELOG.1010\"] 1"]
    );
    let Some(Line::End(end)) = lines.last() else { panic!("no end") };
    let gaps: Vec<_> = end.gaps.iter().map(|gap| (gap.why.as_str(), gap.from, gap.until)).collect();
    assert_eq!(gaps[0], ("nothing is known of the time before HTIME.1000: changelogs were off", Some(990), Some(1000)));
    assert_eq!((gaps.len(), gaps[1].1, gaps[1].2), (2, None, Some(1020)));
    assert!(gaps[1].0.contains("CHANGELOG.1020"), "{}", gaps[1].0);
}

#[test]
fn where_changelogs_were_never_on_a_walk_is_all_and_says_so() {
    if !is_root() {
        return;
    }
    let made = MadeBrick::new();
    made.file("f", b""); // 1
    let (lines, summary) = ask(&made, Want::Walk);
    assert_eq!(notes(&lines)[1..], ["node root", "directory ", "entry f #1", "end 4 [] 0"]);
    let Some(Line::End(end)) = lines.last() else { panic!("no end") };
    assert_eq!((end.gaps[0].why.as_str(), &end.cursor, summary.gaps), ("changelogs were never on", &None, 1));
    let cursor = Cursor { volume_id: VOLUME_ID, htime: "HTIME.1".to_owned(), last: 1, done: BTreeSet::new() };
    let (lines, summary) = ask(&made, Want::Since { cursor, also: vec![made.gfid("f")] });
    assert_eq!((lines.len(), summary.gaps), (2, 1));
}

#[test]
fn with_a_gap_no_record_is_looked_at() {
    if !is_root() {
        return;
    }
    let made = MadeBrick::new();
    let f = made.file("f", b"");
    let good = made.slice("CHANGELOG.10", &[record::data(f)]);
    let broken = made.slice("CHANGELOG.20", &[record::data(f), b"X".to_vec()]);
    let gone = made.at(".glusterfs/changelogs/CHANGELOG.15");
    let gap = Gap { why: "changelogs were off".to_owned(), from: Some(1), until: Some(2) };
    let mut with_gap = plan_of(vec![good.clone()], None);
    with_gap.gaps.push(gap.clone());

    let (lines, _) = ask_since(&made, with_gap, &[f]);
    let [Line::End(end)] = &lines[..] else { panic!("{lines:?}") };
    assert_eq!((&end.gaps[..], end.lines, end.records), (&[gap][..], 0, 0));

    for (bad, until) in [(broken.clone(), 20), (gone, 15)] {
        let (lines, _) = ask_since(&made, plan_of(vec![good.clone(), bad], None), &[f]);
        let [Line::End(end)] = &lines[..] else { panic!("{lines:?}") };
        let why = &end.gaps[0].why;
        assert!(why.contains(&format!("/CHANGELOG.{until}\"")), "{why}");
        assert_eq!((end.gaps.len(), end.gaps[0].until, &end.cursor), (1, Some(until), &None));
        assert_eq!((end.slices.len(), end.records), (0, 0));
    }
    let (lines, _) = ask_since(&made, plan_of(vec![good], Some(broken)), &[f]);
    assert!(matches!(&lines[..], [Line::End(end)] if end.gaps.len() == 1 && end.cursor.is_none()), "{lines:?}");
}

#[test]
fn a_write_into_a_shard_is_a_change_of_its_file() {
    if !is_root() {
        return;
    }
    let made = MadeBrick::new();
    made.directory_of(".shard", Gfid::SHARDS);
    let big = made.file("big", b"first"); // 1
    let here = made.file(format!(".shard/{big}.1"), b""); // 2
    let elsewhere = made.new_gfid(); // 3: its first shard is on another brick
    let other = made.file(format!(".shard/{elsewhere}.7"), b""); // 4
    let old = made.file("old", b""); // 5
    let nameless = made.file(format!(".shard/{old}.2"), b""); // 6: of before gfid2path
    made.unset(format!(".shard/{old}.2"), "trusted.gfid2path.0000000000000005");
    let cut = made.file("cut", b""); // 7
    let removed = made.new_gfid(); // 8
    let slice = made.slice(
        "CHANGELOG.10",
        &[
            record::data(here),
            record::data(other),
            record::data(nameless),
            record::unlink(removed, Gfid::SHARDS, format!("{cut}.1").as_bytes()),
            record::create(made.new_gfid(), Gfid::SHARDS_TO_REMOVE, b"x"),
        ],
    );
    let (lines, _) = ask_since(&made, plan_of(vec![slice], None), &[]);
    assert_eq!(
        notes(&lines),
        [
            "shards of #1",
            "shards of #3",
            "shards of #5",
            "node #1 root/big data",
            "gone #3",
            "node #5 root/old data",
            "node #7 root/cut data",
            // The marker of a removal, whose records are internal: it has no handle here.
            "gone #9",
            "end 8 [\"CHANGELOG.10\"] 5",
        ]
    );
}

#[test]
fn what_the_trash_took_is_gone_and_what_was_always_in_it_is_not_told() {
    if !is_root() {
        return;
    }
    let made = MadeBrick::new();
    let trashcan = made.directory_of(".trashcan", Gfid::TRASHCAN);
    let nested = made.directory(".trashcan/a"); // 1
    let thrown = made.file(".trashcan/a/thrown", b""); // 2
    let inside = made.file(".trashcan/a/inside", b""); // 3
    let slice = made.slice(
        "CHANGELOG.10",
        &[
            record::unlink(thrown, Gfid::ROOT, b"thrown"),
            record::create(nested, trashcan, b"a"),
            record::data(inside),
            record::create(inside, nested, b"inside"),
            record::create(trashcan, Gfid::ROOT, b".trashcan"),
        ],
    );
    let (lines, _) = ask_since(&made, plan_of(vec![slice], None), &[]);
    let told = notes(&lines);
    assert_eq!(told[..2], ["name root/thrown nobody", "node root"]);
    assert!(told.contains(&"gone #2".to_owned()));
    assert!(!told.iter().any(|line| line.starts_with("node #") || line.starts_with("name #")), "{told:?}");
}

#[test]
fn names_that_records_and_attributes_do_not_tell_are_searched_for_in_one_walk() {
    if !is_root() {
        return;
    }
    let made = MadeBrick::new();
    let d = made.directory("d"); // 1
    let f = made.file("d/f", b""); // 2
    fs::hard_link(made.at("d/f"), made.at("unclaimed")).unwrap();
    let sure = made.file("sure", b""); // 3
    made.set_handle(d, Gfid::ROOT, b"where it was");
    let slice = made.slice("CHANGELOG.10", &[record::data(f), record::data(sure), record::create(f, d, b"f")]);
    let (lines, _) = ask_since(&made, plan_of(vec![slice], None), &[]);
    assert_eq!(
        notes(&lines),
        [
            "node #3 root/sure data",
            "name #1/f #2",
            "node #1 root/d",
            "node #2 root/unclaimed #1/f data",
            "end 4 [\"CHANGELOG.10\"] 3",
        ]
    );
}

#[test]
fn a_look_tells_each_node_once() {
    if !is_root() {
        return;
    }
    let made = MadeBrick::new();
    let f = made.file("f", b""); // 1
    made.directory_of(".trashcan", Gfid::TRASHCAN);
    let thrown = made.file(".trashcan/thrown", b""); // 2
    let none = made.new_gfid(); // 3
    let hurt = made.file("hurt", b""); // 4
    made.unset("hurt", "trusted.gfid");
    let (lines, summary) = ask(&made, Want::Look { gfids: vec![none, f, f, thrown, Gfid::ROOT, hurt] });
    assert_eq!(
        notes(&lines),
        [
            "part look 1790000000000000000",
            "node root",
            "node #1 root/f",
            "gone #2",
            "gone #3",
            &format!(
                "trouble {0}: handle \"{0}\" is without trusted.gfid, expected aaaaaaaa-0000-0000-0000-000000000004",
                hurt.handle()
            ),
            "end 6 [] 0",
        ]
    );
    assert_eq!((summary.nodes, summary.gone, summary.troubles), (2, 2, 1));
    let Line::Node(node) = &lines[2] else { panic!("no node") };
    assert_eq!(node.names, [NodeName { parent: Gfid::ROOT, name: Text(b"f".to_vec()) }]);
    let Some(Line::End(end)) = lines.last() else { panic!("no end") };
    assert_eq!(end.cursor, None);
}

#[test]
fn a_request_that_does_not_fit_gets_no_part() {
    if !is_root() {
        return;
    }
    let made = MadeBrick::new();
    let refuse = |change: &dyn Fn(&mut Request)| {
        let mut request = request(&made, Want::Walk);
        change(&mut request);
        let mut out = Vec::new();
        let error = scan(&request, "1", &CLOCK, &mut out).unwrap_err();
        assert_eq!(out, b"");
        chain(&error)
    };
    assert_eq!(refuse(&|request| request.format = 3), "the request is of format 3, this program answers format 2");
    assert_eq!(
        refuse(&|request| request.volume_id = Gfid::ROOT),
        format!(
            "the brick {:?} is of the volume with the id {VOLUME_ID}, expected {}",
            made.path().to_str().unwrap(),
            Gfid::ROOT
        )
    );
    assert_eq!(
        refuse(&|request| request.brick = Text(b"/no/brick".to_vec())),
        "cannot scan a brick of \"vol\": cannot open the brick \"/no/brick\": No such file or directory (os error 2)"
    );
}

#[test]
fn a_part_that_cannot_be_written_is_an_error() {
    if !is_root() {
        return;
    }
    let made = MadeBrick::new();
    let mut full = fs::File::options().write(true).open("/dev/full").unwrap();
    let error = scan(&request(&made, Want::Walk), "1", &CLOCK, &mut full).unwrap_err();
    let brick = made.path().to_str().unwrap();
    assert_eq!(
        chain(&error),
        format!("cannot write the part of the brick {brick:?}: No space left on device (os error 28)")
    );
}
