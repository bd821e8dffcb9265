//! What is written comes back; what was damaged, cut or made up by somebody hostile does not.
//! Manifests of format 1 are those that a program of catalog format 4 wrote, in `tests/data/manifests`.

use super::*;
use crate::model::{EntryName, Extent, FileMap, FilesystemId, ImageFile, Layer, LayerBytes, LayerExtent, SeenRoot};
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use std::io::{Read, Write};

/// An edit that owns what it says.
#[derive(Clone, Debug, PartialEq)]
enum Said {
    Link(i64, Vec<u8>, i64, Kind),
    Unlink(i64, Vec<u8>),
    Put(bool, Version),
    Define(i64, Vec<u8>, Kind, i64),
    LeaveCtimes,
    Walked(SeenCopy),
    Identify(i64, u64, i64),
    Doubt(i64, bool, String),
    Saw(i64, Vec<u8>),
    Report(FindingKind, Vec<u8>, String),
    Hold(u32, DiskRow),
    Extents(Vec<u8>),
    Volume(u32, VolumeRow),
    Resume(Scan, String),
}

#[derive(Clone, Debug, PartialEq)]
struct Version {
    node: i64,
    owner: (u32, u32, u32, Option<XattrSet>),
    size_bytes: u64,
    allocated_bytes: Option<u64>,
    mtime: Timestamp,
    ctime: Timestamp,
    nlink: u32,
    bytes: u64,
    written: Written,
    at: Where,
}

#[derive(Clone, Debug, PartialEq)]
enum Where {
    Nowhere,
    OwnPath,
    ThisCopy,
    CopyOf(Held, Vec<u8>),
    Map(Vec<u8>),
    Run(u64),
    WholeDisk,
    Inline(Vec<u8>),
    Device(u64),
    Lost,
}

impl Version {
    fn as_put(&self) -> Put<'_> {
        let (mode, uid, gid, xattrs) = &self.owner;
        Put {
            node: NodeId(self.node),
            permissions: Permissions { mode: *mode, uid: *uid, gid: *gid, xattrs: xattrs.as_ref() },
            size_bytes: self.size_bytes,
            allocated_bytes: self.allocated_bytes,
            mtime: self.mtime,
            ctime: self.ctime,
            nlink: self.nlink,
            bytes: self.bytes,
            written: self.written,
            at: match &self.at {
                Where::Nowhere => BytesAt::Nowhere,
                Where::OwnPath => BytesAt::OwnPath,
                Where::ThisCopy => BytesAt::ThisCopy,
                Where::CopyOf(held, path) => BytesAt::CopyOf { held: *held, path },
                Where::Map(map) => BytesAt::Map(map),
                Where::Run(at) => BytesAt::Run(*at),
                Where::WholeDisk => BytesAt::WholeDisk,
                Where::Inline(bytes) => BytesAt::Inline(bytes),
                Where::Device(number) => BytesAt::Device(*number),
                Where::Lost => BytesAt::Lost,
            },
        }
    }

    fn of(put: &Put<'_>) -> Self {
        let Permissions { mode, uid, gid, xattrs } = put.permissions;
        Self {
            node: put.node.0,
            owner: (mode, uid, gid, xattrs.cloned()),
            size_bytes: put.size_bytes,
            allocated_bytes: put.allocated_bytes,
            mtime: put.mtime,
            ctime: put.ctime,
            nlink: put.nlink,
            bytes: put.bytes,
            written: put.written,
            at: match put.at {
                BytesAt::Nowhere => Where::Nowhere,
                BytesAt::OwnPath => Where::OwnPath,
                BytesAt::ThisCopy => Where::ThisCopy,
                BytesAt::CopyOf { held, path } => Where::CopyOf(held, path.to_vec()),
                BytesAt::Map(map) => Where::Map(map.to_vec()),
                BytesAt::Run(at) => Where::Run(at),
                BytesAt::WholeDisk => Where::WholeDisk,
                BytesAt::Inline(bytes) => Where::Inline(bytes.to_vec()),
                BytesAt::Device(number) => Where::Device(number),
                BytesAt::Lost => Where::Lost,
            },
        }
    }
}

impl Said {
    fn as_edit(&self) -> Edit<'_> {
        match self {
            Self::Link(dir, name, node, kind) => {
                Edit::Link { dir: NodeId(*dir), name, node: NodeId(*node), kind: *kind }
            }
            Self::Unlink(dir, name) => Edit::Unlink { dir: NodeId(*dir), name },
            Self::Put(false, version) => Edit::Put(version.as_put()),
            Self::Put(true, version) => Edit::Amend(version.as_put()),
            Self::Define(dir, name, kind, node) => {
                Edit::Define { dir: NodeId(*dir), name, kind: *kind, node: NodeId(*node) }
            }
            Self::LeaveCtimes => Edit::LeaveCtimes,
            Self::Walked(seen) => Edit::Walked(*seen),
            Self::Identify(node, inode, born_ns) => {
                Edit::Identify { node: NodeId(*node), inode: *inode, born_ns: *born_ns }
            }
            Self::Doubt(node, subtree, reason) => Edit::Doubt { node: NodeId(*node), subtree: *subtree, reason },
            Self::Saw(dir, name) => Edit::Saw { dir: NodeId(*dir), name },
            Self::Report(kind, path, detail) => Edit::Report { kind: *kind, path, detail },
            Self::Hold(disk, row) => Edit::Hold { disk: *disk, row },
            Self::Extents(piece) => Edit::Extents(piece),
            Self::Volume(disk, row) => Edit::Volume { disk: *disk, row },
            Self::Resume(scan, state) => Edit::Resume { scan: *scan, state },
        }
    }

    fn of(edit: &Edit<'_>) -> Self {
        match *edit {
            Edit::Link { dir, name, node, kind } => Self::Link(dir.0, name.to_vec(), node.0, kind),
            Edit::Unlink { dir, name } => Self::Unlink(dir.0, name.to_vec()),
            Edit::Put(ref put) => Self::Put(false, Version::of(put)),
            Edit::Amend(ref put) => Self::Put(true, Version::of(put)),
            Edit::Define { dir, name, kind, node } => Self::Define(dir.0, name.to_vec(), kind, node.0),
            Edit::LeaveCtimes => Self::LeaveCtimes,
            Edit::Walked(seen) => Self::Walked(seen),
            Edit::Identify { node, inode, born_ns } => Self::Identify(node.0, inode, born_ns),
            Edit::Doubt { node, subtree, reason } => Self::Doubt(node.0, subtree, reason.to_owned()),
            Edit::Saw { dir, name } => Self::Saw(dir.0, name.to_vec()),
            Edit::Report { kind, path, detail } => Self::Report(kind, path.to_vec(), detail.to_owned()),
            Edit::Hold { disk, row } => Self::Hold(disk, row.clone()),
            Edit::Extents(piece) => Self::Extents(piece.to_vec()),
            Edit::Volume { disk, row } => Self::Volume(disk, row.clone()),
            Edit::Resume { scan, state } => Self::Resume(scan, state.to_owned()),
        }
    }
}

fn header() -> Header {
    Header {
        format: 2,
        source: SourceFacts {
            uuid: Some(*b"sixteen bytes ab"),
            name: "homes".to_owned(),
            kind: SourceKind::Nfs,
            settings: r#"{"copies":"/copies"}"#.to_owned(),
            policy: "{}".to_owned(),
            rule: Rule::COPIES,
            root: NodeId(65_536),
            added_at: Time(5),
        },
        taken_at: Time(1_763_604_000),
        level: Level::Incremental,
        number: 7,
        sequence: 9,
        after: 8,
        base: Some(Base {
            at: Time(1_763_517_600),
            sequence: 8,
            indexed_at: Some(Time(1_763_517_601)),
            state_hash: Some([5; 32]),
        }),
        replaces: Some(6),
        indexed_at: Time(1_763_604_001),
        copy: Some(CopyAt { store: b"/copies".to_vec(), path: b"2026-11-20\xff".to_vec() }),
    }
}

fn counts() -> Counts {
    Counts { entries: 3, size_bytes: 1 << 40, losses: 1, notices: 2, gaps: 1, index_ms: 12 }
}

fn written(edits: &[Said]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), &header()).unwrap();
    for edit in edits {
        writer.edit(&edit.as_edit()).unwrap();
    }
    writer.finish(&End::new(counts(), Some([7; 32]))).unwrap()
}

fn read(bytes: &[u8]) -> Result<(Header, Vec<Said>, End), Error> {
    let mut reader = Reader::new(bytes)?;
    let mut edits = Vec::new();
    let end = reader.skip_to_end(|edit| edits.push(Said::of(edit)))?;
    Ok((reader.header().clone(), edits, end))
}

/// Returns what is inside of the stream, for those who would hurt it there.
fn unpacked(bytes: &[u8]) -> Vec<u8> {
    zstd::decode_all(bytes).unwrap()
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

fn name_of(bytes: Vec<u8>) -> Vec<u8> {
    match EntryName::check(&bytes) {
        Ok(()) => bytes,
        Err(_) => b"plain".to_vec(),
    }
}

prop_compose! {
    fn time()(near in any::<bool>(), seconds in any::<i64>(), nanos in prop_oneof![Just(0), 0..1_000_000_000_u32])
        -> Timestamp
    {
        let seconds = if near { 1_700_000_000 + seconds % 1000 } else { seconds };
        Timestamp { seconds, nanos }
    }
}

fn xattrs() -> impl Strategy<Value = Option<XattrSet>> {
    let item = ("[a-c]{1,3}".prop_map(String::into_bytes), prop::collection::vec(any::<u8>(), 0..4));
    prop_oneof![
        4 => Just(Some(XattrSet::default())),
        1 => Just(None),
        2 => prop::collection::btree_map(item.0, item.1, 1..3)
            .prop_map(|items| Some(XattrSet::new(items.into_iter().collect()))),
    ]
}

fn whereabouts() -> impl Strategy<Value = Where> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..20);
    prop_oneof![
        Just(Where::Nowhere),
        Just(Where::OwnPath),
        Just(Where::ThisCopy),
        (1..u64::MAX, any::<i64>(), any::<bool>(), "[a-z]{0,3}(/[a-z]{1,3}){0,2}").prop_map(
            |(sequence, at, by_time, path)| {
                let held = if by_time { Held::At(Time(at)) } else { Held::Sequence(sequence) };
                Where::CopyOf(held, path.into_bytes())
            }
        ),
        bytes().prop_map(Where::Map),
        any::<u64>().prop_map(Where::Run),
        Just(Where::WholeDisk),
        bytes().prop_map(Where::Inline),
        any::<u64>().prop_map(Where::Device),
        Just(Where::Lost),
    ]
}

fn node() -> impl Strategy<Value = i64> {
    prop_oneof![65_536..65_550_i64, 0..(1_i64 << 40)]
}

prop_compose! {
    fn version()(
        node in node(),
        kind in 0..7_usize, perm in 0..3_u32, uid in 0..2_u32, set in xattrs(),
        size_bytes in any::<u64>(), allocated_bytes in any::<Option<u64>>(),
        (mtime, ctime) in prop_oneof![
            (time(), time()),
            time().prop_map(|t| (t, t)),
        ],
        nlink in prop_oneof![Just(1), any::<u32>()],
        bytes in prop_oneof![Just(9), Just(0), any::<u64>()],
        written in prop_oneof![
            3 => Just(Written::Unknown), 1 => Just(Written::No), 1 => Just(Written::Yes), 1 => any::<[u8; 32]>().prop_map(Written::Digest)
        ],
        at in whereabouts(),
    ) -> Version {
        let mode = columns::KINDS[kind].mode_bits() | perm;
        Version { node, owner: (mode, uid, 0, set), size_bytes, allocated_bytes, mtime, ctime, nlink, bytes, written, at }
    }
}

fn said() -> impl Strategy<Value = Said> {
    let name = || prop::collection::vec(any::<u8>(), 1..12).prop_map(name_of);
    let text = || "[ -~é]{0,8}";
    prop_oneof![
        4 => (node(), name(), node(), 0..7_usize)
            .prop_map(|(dir, name, node, kind)| Said::Link(dir, name, node, columns::KINDS[kind])),
        2 => (node(), name()).prop_map(|(dir, name)| Said::Unlink(dir, name)),
        6 => (any::<bool>(), version()).prop_map(|(again, version)| Said::Put(again, version)),
        1 => (node(), name(), node()).prop_map(|(dir, name, node)| Said::Define(dir, name, Kind::File, node)),
        1 => Just(Said::LeaveCtimes),
        1 => (any::<u64>(), any::<i64>(), any::<Option<u64>>(), any::<bool>()).prop_map(|(inode, time, filesystem, settled)| {
            let newest_ctime_ns = time.wrapping_add(7);
            let root = SeenRoot { inode, born_ns: time, ctime_ns: -1, filesystem: filesystem.map(FilesystemId) };
            Said::Walked(SeenCopy { root, newest_ctime_ns, settled, at: Time(time) })
        }),
        1 => (node(), any::<u64>(), any::<i64>()).prop_map(|(node, inode, born)| Said::Identify(node, inode, born)),
        1 => (node(), any::<bool>(), text()).prop_map(|(node, subtree, reason)| Said::Doubt(node, subtree, reason)),
        1 => (node(), name()).prop_map(|(dir, name)| Said::Saw(dir, name)),
        1 => text().prop_map(|detail| Said::Report(FindingKind::Gap, b"a/b".to_vec(), detail)),
        1 => prop::collection::vec(any::<u8>(), 0..30).prop_map(Said::Extents),
        1 => text().prop_map(|state| Said::Resume(Scan::List, state)),
        1 => text().prop_map(|name| {
            Said::Volume(1, VolumeRow { name, size_bytes: u64::MAX, kind: Some("ext4".to_owned()), ..VolumeRow::default() })
        }),
        1 => text().prop_map(|format| {
            let files = vec![ImageFile { path: "/a\n".into(), size_bytes: 7, mtime: Timestamp { seconds: -1, nanos: 5 } }];
            let layer = Layer { size_bytes: 1 << 44, files, extents: Vec::new() };
            Said::Hold(3, DiskRow { layer, parent: Some(Time(-4)), format, ..DiskRow::default() })
        }),
    ]
}

/// In memory: a seed that fails is in the message.
fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: Some(Box::new(FileFailurePersistence::Off)),
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn what_was_written_is_read(edits in prop::collection::vec(said(), 0..40)) {
        let (found, read_edits, end) = read(&written(&edits)).unwrap();
        prop_assert_eq!(found, header());
        prop_assert_eq!(&read_edits, &edits);
        prop_assert_eq!((end.counts, end.state_hash, end.edits), (Some(counts()), Some([7; 32]), edits.len() as u64));
    }

    /// Below zstd, whose checksum sees nearly all of it, so that each length and number is met with a wrong value.
    #[test]
    fn what_was_changed_inside_is_an_error(
        edits in prop::collection::vec(said(), 1..20),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4_u8), 1..4),
    ) {
        let whole = unpacked(&written(&edits));
        let mut hurt = whole.clone();
        for (at, byte, how) in changes {
            let at = at.index(hurt.len());
            match how {
                0 => hurt[at] = byte,
                1 => hurt.truncate(at.max(1)),
                2 => hurt.insert(at, byte),
                // One byte stays, for the next change to have a place.
                _ if hurt.len() > 1 => drop(hurt.remove(at)),
                _ => {}
            }
        }
        // Numbers in the end, and blanks in JSON, may be others without harm to what is read.
        match read(&packed(&hurt)) {
            Err(_) => {}
            Ok((_, read_edits, _)) => prop_assert_eq!(read_edits, edits),
        }
    }
}

/// A short manifest with some of everything.
fn small() -> Vec<Said> {
    let owner = (0o100644, 1000, 100, Some(XattrSet::new(vec![(b"user.a".to_vec(), b"1".to_vec())])));
    let time = Timestamp { seconds: 1_763_600_000, nanos: 123_456_789 };
    let version = Version {
        node: 65_537,
        owner,
        size_bytes: 5,
        allocated_bytes: None,
        mtime: time,
        ctime: time,
        nlink: 1,
        bytes: 9,
        written: Written::Yes,
        at: Where::OwnPath,
    };
    vec![
        Said::Unlink(65_536, b"old".to_vec()),
        Said::Link(65_536, b"new".to_vec(), 65_537, Kind::File),
        Said::Put(false, version.clone()),
        Said::Put(true, Version { nlink: 2, at: Where::CopyOf(Held::Sequence(3), b"d/old".to_vec()), ..version }),
        Said::Report(FindingKind::Unreadable, b"d".to_vec(), "Permission denied".to_owned()),
        Said::Resume(Scan::Walk, "{}".to_owned()),
    ]
}

#[test]
fn a_manifest_that_is_cut_anywhere_is_told_from_a_whole_one() {
    let whole = written(&small());
    for length in 0..whole.len() {
        match read(&whole[..length]) {
            Err(Error::EndsEarly { .. } | Error::NotOne) => {}
            other => panic!("cut to {length} bytes: {other:?}"),
        }
    }
    assert!(read(&whole).is_ok());
    assert_eq!(read(&whole[..whole.len() - 1]).unwrap_err().to_string(), "it ends after 6 edits, without its end mark");
}

#[test]
fn a_manifest_without_its_end_mark_is_not_whole_though_its_stream_is() {
    let whole = unpacked(&written(&small()));
    let end = whole.windows(9).rposition(|bytes| bytes == b"{\"edits\":").unwrap() - 3;
    let error = read(&packed(&whole[..end])).unwrap_err();
    assert_eq!(error.to_string(), "it ends after 6 edits, without its end mark");
}

#[test]
fn a_flipped_bit_never_gives_other_edits() {
    let (whole, edits) = (written(&small()), small());
    for at in 0..whole.len() {
        for bit in 0..8 {
            let mut hurt = whole.clone();
            hurt[at] ^= 1 << bit;
            if let Ok((_, found, _)) = read(&hurt) {
                assert_eq!(found, edits, "byte {at}, bit {bit}");
            }
        }
    }
}

#[test]
fn damage_is_told_with_what_was_found() {
    let whole = unpacked(&written(&small()));
    let hurt = |from: &[u8], to: &[u8]| {
        let at = whole.windows(from.len()).position(|bytes| bytes == from).unwrap();
        let bytes = [&whole[..at], to, &whole[at + from.len()..]].concat();
        read(&packed(&bytes)).unwrap_err().to_string()
    };
    assert_eq!(hurt(b"asof manifest 2", b"asof manifest 3"), "it has format 3, and this asof reads formats up to 2");
    assert_eq!(hurt(b"asof manifest 2", b"asof Manifest 2"), "it is no manifest of asof");
    assert_eq!(hurt(b"\"nfs\"", b"\"nfz\""), "it is damaged after 0 edits: its header says what cannot be");
    assert_eq!(hurt(b"user.a", b"user.b"), "it is damaged after 6 edits: its checksum is another one");
    assert_eq!(
        hurt(b"\"edits\":6", b"\"edits\":7"),
        "it is damaged after 6 edits: its end counts another number of edits"
    );
    let more = [whole.clone(), vec![0]].concat();
    assert_eq!(read(&packed(&more)).unwrap_err().to_string(), "it is damaged after 6 edits: something follows its end");
    for bytes in [b"".as_slice(), b"{\"a\":1}\n", b"plain text"] {
        assert!(matches!(read(&packed(bytes)), Err(Error::NotOne | Error::EndsEarly { edits: 0 })), "{bytes:?}");
    }
    assert!(matches!(read(b"no zstd at all, and longer than its magic"), Err(Error::NotOne)));
    let tail = [written(&small()), b"more".to_vec()].concat();
    assert!(read(&tail).is_err(), "bytes behind the stream");
}

/// A few bytes that unpack to gigabytes, or say that they would: neither is waited for, nor is there room made for it.
#[test]
fn what_says_to_be_huge_is_refused_before_it_is_read() {
    let head_bytes = {
        let whole = unpacked(&written(&[]));
        let end = whole.windows(9).rposition(|bytes| bytes == b"{\"edits\":").unwrap() - 3;
        whole[..end].to_vec()
    };
    let with = |tail: &[u8], zeros: usize| {
        let mut out = zstd::Encoder::new(Vec::new(), 1).unwrap();
        out.write_all(&head_bytes).unwrap();
        out.write_all(tail).unwrap();
        std::io::copy(&mut std::io::repeat(0).take(zeros as u64), &mut out).unwrap();
        read(&out.finish().unwrap()).unwrap_err().to_string()
    };
    let huge = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
    let block = |lengths: &[u8]| [&[columns::BLOCK, 1], lengths].concat();
    assert_eq!(with(&block(&huge), 1 << 30), "it is damaged after 0 edits: a block is too long");
    assert_eq!(
        with(&[&[columns::BLOCK], &huge[..]].concat(), 0),
        "it is damaged after 0 edits: a block has too many edits, or none"
    );
    assert_eq!(with(&[&[columns::END], &huge[..]].concat(), 0), "it is damaged after 0 edits: a record is too long");
    // 32 MiB are said to be there, and are not.
    let short = [&[0x80, 0x80, 0x80, 0x10][..], &[0; 12]].concat();
    assert_eq!(with(&block(&short), 10), "it ends after 0 edits, without its end mark");
    let mut window = zstd::Encoder::new(Vec::new(), 1).unwrap();
    window.window_log(27).unwrap();
    window.write_all(&unpacked(&written(&small()))).unwrap();
    assert!(read(&window.finish().unwrap()).is_err(), "a window of 128 MiB");
}

#[test]
fn more_permissions_than_a_dictionary_holds_come_back() {
    let mut edits = Vec::new();
    for number in 0..140_000_u32 {
        let set = match number % 1000 {
            0 => XattrSet::new(vec![(b"user.n".to_vec(), vec![number as u8; 60_000])]),
            _ => XattrSet::default(),
        };
        let Said::Put(_, version) = &small()[2] else { unreachable!() };
        let owner = (0o100600, number % 70_000, 0, Some(set));
        edits.push(Said::Put(false, Version { node: 65_537 + i64::from(number), owner, ..version.clone() }));
    }
    let (_, found, _) = read(&written(&edits)).unwrap();
    assert!(found == edits);
}

#[test]
fn a_layer_with_its_extents_comes_back_in_pieces() {
    let files = vec![ImageFile { path: "/images/a.raw".into(), size_bytes: 1 << 40, mtime: Timestamp::default() }];
    let extent =
        |at: u64| LayerExtent { offset: at << 16, length: 512, bytes: LayerBytes::Plain { file: 0, at: at * 7 } };
    let layer = Layer { size_bytes: 1 << 44, files, extents: (0..400_000).map(extent).collect() };
    let row = DiskRow { layer, format: "raw".to_owned(), ..DiskRow::default() };
    let bytes = written(&[Said::Hold(0, row.clone()), Said::Resume(Scan::Walk, String::new())]);
    let (_, edits, _) = read(&bytes).unwrap();
    let Said::Hold(0, mut found) = edits[0].clone() else { panic!("{:?}", edits[0]) };
    assert!(found.layer.extents.is_empty());
    let pieces: Vec<&Vec<u8>> =
        edits.iter().filter_map(|edit| if let Said::Extents(piece) = edit { Some(piece) } else { None }).collect();
    assert!(pieces.len() > 1, "{}", pieces.len());
    found.layer.decode_extents(&pieces.into_iter().flatten().copied().collect::<Vec<u8>>()).unwrap();
    assert!(found == row);
    assert_eq!(edits.last(), Some(&Said::Resume(Scan::Walk, String::new())));
}

#[test]
fn one_edit_that_is_longer_than_a_block_can_be_is_refused() {
    let mut writer = Writer::new(Vec::new(), &header()).unwrap();
    let state = "x".repeat(65 << 20);
    let error = writer.edit(&Edit::Resume { scan: Scan::Walk, state: &state }).unwrap_err();
    assert_eq!(error.to_string(), "what edit 1 says is longer than a manifest can hold");
}

/// Files as in a home: names like others beside them, sizes and times of their own, few owners, copied in one go.
#[test]
fn a_tree_of_ordinary_files_takes_at_most_15_bytes_an_entry() {
    let mut random = 88_172_645_463_325_252_u64;
    let mut roll = |below: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % below
    };
    let words = ["report", "photo", "IMG_", "draft-", "main", "test_", "lib", "notes", "index", "mod", "data", "2026-"];
    let endings = [".txt", ".jpg", ".rs", ".c", ".h", ".md", ".json", "", ".pdf", ".html"];
    let mut edits = Vec::new();
    let (mut node, mut ctime) = (65_537, 1_763_600_000_000_000_000_i64);
    for dir in 0..500_i64 {
        let day = 1_600_000_000 + roll(150_000_000) as i64;
        let mut names: Vec<String> = (0..40)
            .map(|_| {
                let word = words[roll(words.len() as u64) as usize];
                format!("{word}{}{}", roll(2000), endings[roll(endings.len() as u64) as usize])
            })
            .collect();
        names.sort();
        names.dedup();
        for name in names {
            edits.push(Said::Link(65_536 + dir * 41, name.into_bytes(), node, Kind::File));
            ctime += roll(400_000) as i64;
            // The kernel's clock for files ticks every 4 ms.
            let tick = ctime / 4_000_000 * 4_000_000;
            let bits = 8 + roll(12);
            let version = Version {
                node,
                owner: (if roll(20) == 0 { 0o100755 } else { 0o100644 }, 1000, 100, Some(XattrSet::default())),
                size_bytes: roll(1 << bits),
                allocated_bytes: None,
                mtime: Timestamp { seconds: day + roll(100_000) as i64, nanos: roll(1_000_000_000) as u32 },
                ctime: Timestamp { seconds: tick / 1_000_000_000, nanos: (tick % 1_000_000_000) as u32 },
                nlink: 1,
                bytes: 9,
                written: Written::Unknown,
                at: Where::OwnPath,
            };
            edits.push(Said::Put(false, version));
            node += 1;
        }
    }
    let entries = edits.len() / 2;
    let bytes = written(&edits).len();
    assert!(bytes <= 15 * entries, "{bytes} bytes for {entries} entries: {}", bytes as f64 / entries as f64);
}

#[test]
fn a_tombstone_comes_back_and_a_changed_one_does_not() {
    let tombstone = Tombstone {
        source: *b"sixteen bytes ab",
        at: Time(7),
        sequence: 3,
        indexed_at: Some(Time(8)),
        after: 5,
        forgotten_at: Time(9),
    };
    let bytes = tombstone.encode();
    assert_eq!(Tombstone::decode(&bytes).unwrap(), tombstone);
    let text = String::from_utf8(bytes).unwrap();
    let other = Tombstone::decode(text.replace("\"sequence\":3", "\"sequence\":4").as_bytes());
    assert_eq!(other.unwrap_err().to_string(), "it is damaged after 0 edits: its checksum is another one");
    assert!(Tombstone::decode(text.replace("\"indexed_at\":8", "\"indexed_at\":9").as_bytes()).is_err());
    assert!(matches!(Tombstone::decode(b"{}"), Err(Error::NotOne)));
    let newer = Tombstone::decode(text.replace("\"tombstone\":1", "\"tombstone\":2").as_bytes());
    assert!(matches!(newer, Err(Error::TooNew { found: 2 })));
}

// Format 1: what a program of catalog format 4 wrote.

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/tests/data/manifests/{name}.manifest.zst", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn version_1(node: i64, mode: u32, mtime: (i64, u32), ctime: (i64, u32)) -> Version {
    Version {
        node,
        owner: (mode, 0, 0, Some(XattrSet::default())),
        size_bytes: 4096,
        allocated_bytes: None,
        mtime: Timestamp { seconds: mtime.0, nanos: mtime.1 },
        ctime: Timestamp { seconds: ctime.0, nanos: ctime.1 },
        nlink: 1,
        bytes: 0,
        written: Written::Unknown,
        at: Where::Nowhere,
    }
}

#[test]
fn a_manifest_of_a_volume_of_format_1_is_read() {
    let (header, edits, end) = read(&fixture("vol-2")).unwrap();
    assert_eq!(
        (header.format, header.source.name.as_str(), header.source.kind, header.source.root, header.level),
        (1, "vol", SourceKind::Gluster, NodeId(131_072), Level::Incremental)
    );
    assert_eq!(header.base, Some(Base { at: Time(1_796_004_312), sequence: 0, indexed_at: None, state_hash: None }));
    assert!(header.source.settings.starts_with(r#"{"host":"127.111.125.129","volume":"vol","#));
    assert_eq!((end.counts, end.edits), (None, 15));
    assert_eq!(
        edits[..4],
        [
            Said::Unlink(131_073, b"e".to_vec()),
            Said::Unlink(131_073, b"l".to_vec()),
            Said::Link(131_073, b"h".to_vec(), 131_074, Kind::Directory),
            Said::Link(131_073, b"p".to_vec(), 131_078, Kind::Fifo),
        ]
    );
    let changed = (1_796_004_312, 835_894_713);
    assert_eq!(edits[4], Said::Identify(131_073, 0xa081_fcbc_c719_4d8a, 0x8a4a_34b9_aa59_3ab6_u64 as i64));
    assert_eq!(edits[5], Said::Put(false, Version { nlink: 3, ..version_1(131_073, 0o40755, changed, changed) }));
    let appended = (1_796_004_312, 818_106_468);
    let xattrs = XattrSet::new(vec![(b"user.c".to_vec(), b"1".to_vec())]);
    assert_eq!(
        edits[9],
        Said::Put(
            false,
            Version {
                size_bytes: 9,
                owner: (0o100644, 0, 0, Some(xattrs)),
                at: Where::ThisCopy,
                ..version_1(131_075, 0o100644, appended, appended)
            }
        )
    );
    // Its bytes are where they were.
    let held = Where::CopyOf(Held::At(Time(1_796_004_312)), Vec::new());
    assert_eq!(
        edits[11],
        Said::Put(
            false,
            Version {
                size_bytes: 4,
                nlink: 2,
                at: held,
                ..version_1(131_076, 0o100600, (1_796_004_307, 26_414_252), (1_796_004_312, 824_901_688))
            }
        )
    );
    let Said::Resume(Scan::Changelog, state) = &edits[14] else { panic!("{:?}", edits[14]) };
    assert!(state.starts_with("{\"cursors\":"), "{state}");
    let (_, first, _) = read(&fixture("vol-1")).unwrap();
    assert!(matches!(first.last(), Some(Said::Resume(Scan::Walk, _))));
}

#[test]
fn a_manifest_of_a_disk_of_format_1_is_read() {
    let (header, edits, _) = read(&fixture("vda-2")).unwrap();
    assert_eq!((header.source.kind, header.level), (SourceKind::Block, Level::Full));
    let Said::Hold(0, row) = &edits[0] else { panic!("{:?}", edits[0]) };
    assert_eq!((row.layer.size_bytes, row.format.as_str()), (16 << 20, "raw"));
    assert_eq!(row.layer.files[0].path.to_str(), Some("/tmp/mfix/images/2026-11-30T020458Z.raw"));
    assert_eq!(row.consistency.as_deref(), Some("crash"));
    assert!(edits.contains(&Said::Link(65_540, b"Odd\\name\nx".to_vec(), 65_541, Kind::File)));
    let version = edits.iter().rev().find_map(|edit| match edit {
        Said::Put(false, version) if version.node == 65_546 => Some(version),
        _ => None,
    });
    let run = Extent { offset: 0, at: 15_729_664, length: 3000, unwritten: false };
    let map = FileMap { extents: vec![run], rests_on: Vec::new() };
    assert_eq!(version.unwrap().at, Where::Map(map.encode()));
    assert!(edits.contains(&Said::Identify(65_546, 17, 1_053_750_330_196_805_615)));
}

#[test]
fn a_manifest_of_format_1_that_is_hurt_is_an_error() {
    let whole = fixture("vol-2");
    for length in 0..whole.len() {
        assert!(read(&whole[..length]).is_err(), "cut to {length} bytes");
    }
    let text = String::from_utf8(unpacked(&whole)).unwrap();
    let hurt = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        read(&packed(text.replacen(from, to, 1).as_bytes())).unwrap_err().to_string()
    };
    assert_eq!(hurt("\"manifest\":1", "\"manifest\":4"), "it has format 4, and this asof reads formats up to 2");
    assert_eq!(
        hurt("\"lines\":10", "\"lines\":9"),
        "it is damaged after 14 edits: its end counts another number of lines"
    );
    assert_eq!(hurt("\"name\":\"e\"", "\"name\":\"e/\""), "it is damaged after 0 edits: a name is none");
    assert_eq!(hurt("{\"close\"", "{\"clode\""), "it is damaged after 0 edits: a line is no edit");
    assert_eq!(
        hurt("\"node\":131074,\"kind\":\"d\"", "\"node\":-1,\"kind\":\"d\""),
        "it is damaged after 2 edits: a node is none of a catalog"
    );
    assert_eq!(
        hurt("\"place\":\"none\"", "\"place\":\"nine\""),
        "it is damaged after 6 edits: bytes are nowhere that is known"
    );
    assert_eq!(hurt("{\"end\"", ""), "it is damaged after 14 edits: a line is no edit");
    let cut = text.rfind("{\"end\"").unwrap();
    let error = read(&packed(&text.as_bytes()[..cut])).unwrap_err();
    assert_eq!(error.to_string(), "it ends after 14 edits, without its end mark");
}
