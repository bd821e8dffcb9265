//! Changelogs of the corpus, made up ones, and every way to hurt them.
//! What is expected is written out beside the bytes.

use super::super::Gfid;
use super::parse::Form;
use super::*;
use crate::model::escape_bytes;
use proptest::prelude::*;
use std::collections::BTreeMap;

const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/gluster");
const A: &str = "a0000000-0000-0000-0000-00000000000a";
const TOP: &str = "00000000-0000-0000-0000-000000000001";

fn gfid(text: &str) -> Gfid {
    text.parse().unwrap()
}

fn records(bytes: &[u8], open: bool) -> Result<(Vec<Record<'_>>, Parsed), Broken> {
    let mut records = Vec::new();
    parse(bytes, open, &mut |record| records.push(record)).map(|parsed| (records, parsed))
}

/// Returns the bytes of a slice; in `text`, `|` stands for a zero byte, `$A` and `$T` for gfids.
fn slice(version: &str, text: &str) -> Vec<u8> {
    let header = format!("GlusterFS Changelog | version: v{version} | encoding : 2\n");
    let text = text.replace("$A", A).replace("$T", TOP).replace('|', "\0");
    [header.as_bytes(), text.as_bytes()].concat()
}

fn kind(what: &What<'_>) -> String {
    match what {
        What::Data => "D".to_owned(),
        What::Metadata { fop } => format!("M{fop}"),
        What::Create { kind, .. } => format!("{kind:?}"),
        What::Link { .. } => "Link".to_owned(),
        What::Symlink { .. } => "Symlink".to_owned(),
        What::Rename { .. } => "Rename".to_owned(),
        What::Unlink { path, .. } => format!("Unlink {}", if path.is_some() { "path" } else { "-" }),
        What::Rmdir { path, .. } => format!("Rmdir {}", if path.is_some() { "path" } else { "-" }),
    }
}

/// Every file of the corpus whose name begins with CHANGELOG.
fn corpus() -> Vec<PathBuf> {
    let (mut files, mut folders) = (Vec::new(), vec![PathBuf::from(CORPUS)]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.file_name().unwrap().to_str().unwrap().starts_with("CHANGELOG") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

#[test]
fn every_changelog_of_the_corpus_is_read_whole() {
    let mut kinds: BTreeMap<String, u32> = BTreeMap::new();
    let files = corpus();
    for path in &files {
        let mut told = 0;
        let parsed = read(path, &mut |record| {
            told += 1;
            *kinds.entry(kind(&record.what)).or_default() += 1;
        });
        assert_eq!(parsed.unwrap(), Parsed { records: told, torn_bytes: 0 }, "{path:?}");
    }
    assert_eq!(files.len(), 120);
    let kinds: Vec<(&str, u32)> = kinds.iter().map(|(kind, count)| (kind.as_str(), *count)).collect();
    assert_eq!(
        kinds,
        [
            ("Create", 195),
            ("D", 302),
            ("Link", 24),
            ("M17", 115),
            ("M19", 3),
            ("M38", 44),
            ("Mkdir", 124),
            ("Mknod", 17),
            ("Rename", 135),
            ("Rmdir path", 95),
            ("Symlink", 18),
            ("Unlink path", 122),
        ]
    );
}

#[test]
fn the_kinds_of_records_of_some_slices_are_these() {
    let table: [(&str, &[(&str, u32)]); 3] = [
        (
            "gv0/round-1-create/gv0-b1/changelogs/2026/11/20/CHANGELOG.1795218794",
            &[("Create", 19), ("D", 18), ("Link", 5), ("Mkdir", 16), ("Mknod", 5), ("Symlink", 5)],
        ),
        (
            "gv0/round-4-link-delete/gv0-b1/changelogs/2026/11/20/CHANGELOG.1795218959",
            &[
                ("Create", 5),
                ("D", 8),
                ("Link", 2),
                ("M38", 1),
                ("Mkdir", 2),
                ("Rename", 2),
                ("Rmdir path", 19),
                ("Unlink path", 24),
            ],
        ),
        (
            "gr0/round-5-brick-restart/gr0-b2/changelogs/2026/11/20/CHANGELOG.1795219071",
            &[("D", 2), ("M19", 3), ("M38", 5), ("Mkdir", 1), ("Mknod", 2), ("Unlink path", 1)],
        ),
    ];
    for (path, expected) in table {
        let mut kinds: BTreeMap<String, u32> = BTreeMap::new();
        read(&Path::new(CORPUS).join(path), &mut |record| *kinds.entry(kind(&record.what)).or_default() += 1).unwrap();
        let kinds: Vec<(&str, u32)> = kinds.iter().map(|(kind, count)| (kind.as_str(), *count)).collect();
        assert_eq!(kinds, expected, "{path}");
    }
}

#[test]
fn names_that_are_not_utf8_are_told_as_they_are() {
    let path = Path::new(CORPUS).join("gv0/round-6-odd-names/gv0-b1/changelogs/2026/11/20/CHANGELOG.1795219080");
    let mut names = Vec::new();
    read(&path, &mut |record| {
        if let What::Create { kind: CreateKind::Create, at, .. } = record.what {
            names.push(escape_bytes(at.name).into_owned());
        }
    })
    .unwrap();
    let rtl_and_accents = ["\u{202e}rtl", "e\u{301}", "\u{e9}"].map(|name| escape_bytes(name.as_bytes()).into_owned());
    let plain = [
        "latin1-\\xe9\\xe8",
        "\\xff\\xfe\\x80",
        "child",
        "tab\\tname",
        "cr\\x0dname",
        "nl\\n",
        " ",
        "%",
        "%00",
        "\\x01\\x1b[31m",
    ];
    assert_eq!(names[..10], plain);
    assert_eq!(names[10..], rtl_and_accents);
}

#[test]
fn every_kind_of_record_is_told_with_all_that_it_holds() {
    let bytes = slice(
        "1.2",
        "D$A|M$A|38|E$A|23|33184|1000|100|$T/a\nb|E$A|3|4516|0|0|$T/p q|E$A|4|16877|0|0|$T/%|E$A|9|$T/l|\
         E$A|7|$T/s|E$A|8|$T/o|$A/n|E$A|5|$T/u|/x/u|E$A|5|$T/u|||E$A|6|$T/r|/x/r|E$A|6|$T/r|||",
    );
    let top = |name| Spot { parent: gfid(TOP), name };
    let expected = [
        What::Data,
        What::Metadata { fop: 38 },
        What::Create { kind: CreateKind::Create, mode: 33184, uid: 1000, gid: 100, at: top(b"a\nb") },
        What::Create { kind: CreateKind::Mknod, mode: 4516, uid: 0, gid: 0, at: top(b"p q") },
        What::Create { kind: CreateKind::Mkdir, mode: 16877, uid: 0, gid: 0, at: top(b"%") },
        What::Link { at: top(b"l") },
        What::Symlink { at: top(b"s") },
        What::Rename { from: top(b"o"), to: Spot { parent: gfid(A), name: b"n" } },
        What::Unlink { at: top(b"u"), path: Some(b"/x/u") },
        What::Unlink { at: top(b"u"), path: None },
        What::Rmdir { at: top(b"r"), path: Some(b"/x/r") },
        What::Rmdir { at: top(b"r"), path: None },
    ];
    let expected: Vec<Record<'_>> = expected.into_iter().map(|what| Record { gfid: gfid(A), what }).collect();
    assert_eq!(records(&bytes, false), Ok((expected, Parsed { records: 12, torn_bytes: 0 })));
}

#[test]
fn version_1_1_has_no_path_of_what_was_deleted() {
    let bytes = slice("1.1", "E$A|5|$T/u|E$A|6|$T/r|D$A|");
    let (told, _) = records(&bytes, false).unwrap();
    let at = |name| Spot { parent: gfid(TOP), name };
    assert_eq!(
        told.iter().map(|record| record.what).collect::<Vec<_>>(),
        [What::Unlink { at: at(b"u"), path: None }, What::Rmdir { at: at(b"r"), path: None }, What::Data]
    );
}

#[test]
fn a_header_may_stand_between_records_and_changes_the_form() {
    let bytes = [slice("1.2", "D$A|"), slice("1.1", "E$A|5|$T/u|"), slice("1.2", "E$A|5|$T/u|||")].concat();
    assert_eq!(records(&bytes, false).unwrap().1, Parsed { records: 3, torn_bytes: 0 });
}

#[test]
fn binary_numbers_and_gfids_may_hold_any_byte() {
    let mut bytes = b"GlusterFS Changelog | version: v1.2 | encoding : 1\n".to_vec();
    let odd = Gfid([0, b'\n', b'/', b'D', 0, 0, 0, 0, b'E', 0, 0, 0, 0, 0, 0, 0]);
    for part in [&b"E"[..], &odd.0, b"\0", &23_u32.to_ne_bytes(), b"\0", &0x2f_u32.to_ne_bytes(), b"\0"] {
        bytes.extend_from_slice(part);
    }
    for part in [&0_u32.to_ne_bytes()[..], b"\0", &10_u32.to_ne_bytes(), b"\0", &odd.0, b"/x\0"] {
        bytes.extend_from_slice(part);
    }
    let at = Spot { parent: odd, name: b"x" };
    let what = What::Create { kind: CreateKind::Create, mode: 0x2f, uid: 0, gid: 10, at };
    assert_eq!(records(&bytes, false).unwrap().0, [Record { gfid: odd, what }]);
}

#[test]
fn what_is_not_understood_is_refused_with_its_place() {
    let expected = "\"GlusterFS Changelog | version: v1.1 or v1.2 | encoding : 1 or 2\" and a line end";
    let v = |text: &str| slice("1.2", text);
    let table: &[(Vec<u8>, String)] = &[
        (Vec::new(), "ends 0 bytes into the header or record that begins at byte 0".to_owned()),
        (
            b"PK\x03\x04".to_vec(),
            format!("found \"PK\\x03\\x04\" at byte 0, in the record that begins at byte 0, expected {expected}"),
        ),
        (
            slice("1.3", ""),
            format!("found \"GlusterFS Changelog | ve\" at byte 0, in the record that begins at byte 0, expected {expected}"),
        ),
        (v("D$A"), "ends 37 bytes into the header or record that begins at byte 51".to_owned()),
        (
            v("D$A|X$A|"),
            "found \"Xa0000000-0000-0000-0000\" at byte 89, in the record that begins at byte 89, expected a \
             record: D, M or E"
                .to_owned(),
        ),
        (
            v("D$T0|"),
            "found \"0\\x00\" at byte 88, in the record that begins at byte 51, expected a zero byte after the gfid"
                .to_owned(),
        ),
        (
            v("M$A|0|"),
            "found \"0\\x00\" at byte 89, in the record that begins at byte 51, expected the number of an \
             operation, 1 to 58"
                .to_owned(),
        ),
        (
            v("M$A|59|"),
            "found \"59\\x00\" at byte 89, in the record that begins at byte 51, expected the number of an \
             operation, 1 to 58"
                .to_owned(),
        ),
        (
            v("M$A|+8|"),
            "found \"+8\\x00\" at byte 89, in the record that begins at byte 51, expected a decimal number".to_owned(),
        ),
        (
            v("M$A||"),
            "found \"\\x00\" at byte 89, in the record that begins at byte 51, expected a decimal number of 32 bits"
                .to_owned(),
        ),
        (
            v("E$A|4|4294967296|0|0|$T/d|"),
            "found \"4294967296\\x000\\x000\\x0000000000-\" at byte 91, in the record that begins at byte 51, expected a \
             decimal number of 32 bits"
                .to_owned(),
        ),
        (
            v("E$A|46|$T/f|"),
            "found \"46\\x0000000000-0000-0000-00\" at byte 89, in the record that begins at byte 51, expected the \
             number of an operation on names: 3 to 9 or 23"
                .to_owned(),
        ),
        (
            v("E$A|9|$T.f|"),
            "found \".f\\x00\" at byte 127, in the record that begins at byte 51, expected a slash between the gfid \
             of a directory and a name"
                .to_owned(),
        ),
        (
            v("E$A|9|$T/a/b|"),
            "found \"a/b\\x00\" at byte 128, in the record that begins at byte 51, expected a name of 1 to 255 bytes \
             without a slash, not . or .."
                .to_owned(),
        ),
        (
            v("E$A|9|$T/|"),
            "found \"\\x00\" at byte 128, in the record that begins at byte 51, expected a name of 1 to 255 bytes \
             without a slash, not . or .."
                .to_owned(),
        ),
        (
            v("E$A|5|$T/u||D$A|"),
            "found \"Da0000000-0000-0000-0000\" at byte 131, in the record that begins at byte 51, expected a second \
             zero byte for a path that is not told"
                .to_owned(),
        ),
    ];
    for (bytes, text) in table {
        assert_eq!(&records(bytes, false).unwrap_err().to_string(), text);
    }
    let long = "n".repeat(256);
    assert!(records(&v(&format!("E$A|9|$T/{long}|")), false).is_err());
    assert!(records(&v(&format!("E$A|9|$T/{}|", &long[1..])), false).is_ok());
}

#[test]
fn an_error_names_the_slice() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("CHANGELOG.5");
    let missing = read(&path, &mut |_| ()).unwrap_err();
    assert_eq!(missing.to_string(), format!("cannot read the changelog {path:?}"));
    std::fs::write(&path, slice("1.2", "Q")).unwrap();
    let broken = read(&path, &mut |_| ()).unwrap_err();
    assert_eq!(broken.to_string(), format!("cannot understand the changelog {path:?}"));
    assert!(std::error::Error::source(&broken).is_some());
}

#[test]
fn a_slice_that_is_cut_anywhere_is_refused_unless_it_is_still_open() {
    let path = "gv0/round-4-link-delete/gv0-b1/changelogs/2026/11/20/CHANGELOG.1795218961";
    let bytes = std::fs::read(Path::new(CORPUS).join(path)).unwrap();
    let (all, _) = records(&bytes, false).unwrap();
    assert_eq!((bytes.len(), all.len()), (363, 4));
    let mut whole = Vec::new();
    for cut in 0..=bytes.len() {
        let (told, parsed) = records(&bytes[..cut], true).unwrap();
        assert_eq!(told, all[..told.len()], "cut at {cut}");
        match records(&bytes[..cut], false) {
            Ok(_) => {
                assert_eq!(parsed.torn_bytes, 0, "cut at {cut}");
                whole.push(cut);
            }
            Err(Broken::Ends { length, .. }) => assert_eq!(parsed.torn_bytes, length, "cut at {cut}"),
            Err(other) => panic!("cut at {cut}: {other}"),
        }
    }
    assert_eq!(whole.len(), 5, "after the header and after each record: {whole:?}");
}

/// A record with its own bytes.
#[derive(Clone, Debug)]
struct Made {
    gfids: [[u8; 16]; 3],
    kind: u8,
    fop: u32,
    numbers: [u32; 3],
    names: [Vec<u8>; 2],
    path: Option<Vec<u8>>,
}

impl Made {
    fn record(&self, has_path: bool) -> Record<'_> {
        let at = Spot { parent: Gfid(self.gfids[1]), name: &self.names[0] };
        let to = Spot { parent: Gfid(self.gfids[2]), name: &self.names[1] };
        let [mode, uid, gid] = self.numbers;
        let path = self.path.as_deref().filter(|_| has_path);
        let create = |kind| What::Create { kind, mode, uid, gid, at };
        let what = match self.kind {
            0 => What::Data,
            1 => What::Metadata { fop: self.fop },
            2 => create(CreateKind::Create),
            3 => create(CreateKind::Mknod),
            4 => create(CreateKind::Mkdir),
            5 => What::Link { at },
            6 => What::Symlink { at },
            7 => What::Rename { from: at, to },
            8 => What::Unlink { at, path },
            _ => What::Rmdir { at, path },
        };
        Record { gfid: Gfid(self.gfids[0]), what }
    }
}

/// Writes as `changelog-encoders.c` does: a zero byte before each field, and one at the end.
fn write(record: &Record<'_>, form: Form, out: &mut Vec<u8>) {
    fn gfid(gfid: Gfid, form: Form, out: &mut Vec<u8>) {
        if form.binary { out.extend(gfid.0) } else { out.extend(gfid.to_string().bytes()) }
    }
    fn number(number: u32, form: Form, out: &mut Vec<u8>) {
        out.push(0);
        if form.binary { out.extend(number.to_ne_bytes()) } else { out.extend(number.to_string().bytes()) }
    }
    fn spot(spot: &Spot<'_>, form: Form, out: &mut Vec<u8>) {
        out.push(0);
        gfid(spot.parent, form, out);
        out.push(b'/');
        out.extend(spot.name);
    }
    out.push(match record.what {
        What::Data => b'D',
        What::Metadata { .. } => b'M',
        _ => b'E',
    });
    gfid(record.gfid, form, out);
    match record.what {
        What::Data => {}
        What::Metadata { fop } => number(fop, form, out),
        What::Create { kind, mode, uid, gid, at } => {
            let fop = match kind {
                CreateKind::Create => 23,
                CreateKind::Mknod => 3,
                CreateKind::Mkdir => 4,
            };
            for value in [fop, mode, uid, gid] {
                number(value, form, out);
            }
            spot(&at, form, out);
        }
        What::Link { at } | What::Symlink { at } => {
            number(if matches!(record.what, What::Link { .. }) { 9 } else { 7 }, form, out);
            spot(&at, form, out);
        }
        What::Rename { from, to } => {
            number(8, form, out);
            spot(&from, form, out);
            spot(&to, form, out);
        }
        What::Unlink { at, path } | What::Rmdir { at, path } => {
            number(if matches!(record.what, What::Unlink { .. }) { 5 } else { 6 }, form, out);
            spot(&at, form, out);
            if form.delete_has_path {
                out.push(0);
                out.extend(path.unwrap_or(b"\0"));
            }
        }
    }
    out.push(0);
}

fn made() -> impl Strategy<Value = Made> {
    let name =
        || proptest::collection::vec(any::<u8>().prop_map(|b| if b == 0 || b == b'/' { b'\n' } else { b }), 1..40);
    let name = move || name().prop_filter("dots", |name| !matches!(name.as_slice(), b"." | b".."));
    let path = proptest::option::of(proptest::collection::vec(1_u8.., 1..60));
    (any::<[[u8; 16]; 3]>(), 0_u8..10, 1_u32..59, any::<[u32; 3]>(), [name(), name()], path)
        .prop_map(|(gfids, kind, fop, numbers, names, path)| Made { gfids, kind, fop, numbers, names, path })
}

proptest! {
    #[test]
    fn records_are_read_as_they_were_written(
        made in proptest::collection::vec(made(), 0..20), binary: bool, delete_has_path: bool,
    ) {
        let form = Form { binary, delete_has_path };
        let (version, encoding) = (if delete_has_path { "1.2" } else { "1.1" }, if binary { 1 } else { 2 });
        let mut bytes = format!("GlusterFS Changelog | version: v{version} | encoding : {encoding}\n").into_bytes();
        let expected: Vec<Record<'_>> = made.iter().map(|made| made.record(delete_has_path)).collect();
        for record in &expected {
            write(record, form, &mut bytes);
        }
        let parsed = Parsed { records: expected.len() as u64, torn_bytes: 0 };
        prop_assert_eq!(records(&bytes, false), Ok((expected, parsed)));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), form in 0..4, open: bool) {
        let _ = records(&bytes, open);
        let header = format!("GlusterFS Changelog | version: v1.{} | encoding : {}\n", 1 + form / 2, 1 + form % 2);
        let _ = records(&[header.as_bytes(), &bytes].concat(), open);
    }

    #[test]
    fn no_damage_to_a_real_slice_makes_it_panic(
        flips in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..8),
        cut: proptest::sample::Index,
        file: proptest::sample::Index,
    ) {
        thread_local!(static FILES: Vec<Vec<u8>> = corpus().iter().map(|path| std::fs::read(path).unwrap()).collect());
        let mut bytes = FILES.with(|files| file.get(files).clone());
        for (at, byte) in &flips {
            *at.get_mut(&mut bytes) = *byte;
        }
        bytes.truncate(cut.index(bytes.len()) + 1);
        for open in [false, true] {
            if let Ok((told, parsed)) = records(&bytes, open) {
                prop_assert_eq!(told.len() as u64, parsed.records);
            }
        }
    }
}
