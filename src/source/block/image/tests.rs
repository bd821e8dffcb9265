//! What image files are taken for, on files made by hand, byte by byte; `tests/block_images.rs` has those that QEMU makes.
//! Needs no program and no rights.

use super::*;
use crate::model::{Layer, Level};
use crate::model::{LayerBytes, LayerExtent, Packing};
use std::os::unix::fs::symlink;
use tempfile::TempDir;

const CLUSTER: usize = 512;
const COPIED: u64 = 1 << 63;
const COMPRESSED: u64 = 1 << 62;

/// A folder of a source.
struct World {
    directory: TempDir,
}

impl World {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().canonicalize().unwrap().join(name)
    }

    fn folders(&self) -> [PathBuf; 1] {
        [self.path("")]
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        std::fs::write(self.path(name), bytes).unwrap();
        self.path(name)
    }

    fn open(&self, name: &str) -> Result<Image, Error> {
        open(&self.path(name), &self.folders())
    }

    fn error(&self, name: &str) -> String {
        let text = self.open(name).unwrap_err().to_string();
        text.replace(&*self.path("").to_string_lossy(), "")
    }

    fn chain_error(&self, name: &str) -> String {
        let text = chain(self.open(name).unwrap(), &self.folders()).unwrap_err().to_string();
        text.replace(&*self.path("").to_string_lossy(), "")
    }
}

/// An image of a disk of 32 KiB in clusters of 512 bytes: header, L1 table, L2 table, four clusters of data.
struct Made(Vec<u8>);

impl Made {
    fn new(entries: &[(usize, u64)]) -> Self {
        let mut made = Self(vec![0; 7 * CLUSTER]);
        made.0[..4].copy_from_slice(b"QFI\xfb");
        made.be32(4, 3).be32(20, 9).be64(24, 32 << 10).be32(36, 1).be64(40, 512).be32(96, 4).be32(100, 104);
        made.be64(512, 1024 | COPIED);
        for (index, entry) in entries {
            made.be64(1024 + index * 8, *entry);
        }
        made
    }

    fn be16(&mut self, at: usize, number: u16) -> &mut Self {
        self.put(at, &number.to_be_bytes())
    }

    fn be32(&mut self, at: usize, number: u32) -> &mut Self {
        self.put(at, &number.to_be_bytes())
    }

    fn be64(&mut self, at: usize, number: u64) -> &mut Self {
        self.put(at, &number.to_be_bytes())
    }

    fn put(&mut self, at: usize, bytes: &[u8]) -> &mut Self {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
        self
    }

    fn backing(&mut self, name: &str, format: &str) -> &mut Self {
        self.be32(104, 0xe279_2aca).be32(108, format.len() as u32).put(112, format.as_bytes());
        self.be64(8, 200).be32(16, name.len() as u32).put(200, name.as_bytes())
    }
}

fn plain(offset: u64, length: u64, at: u64) -> LayerExtent {
    LayerExtent { offset, length, bytes: LayerBytes::Plain { file: 0, at } }
}

fn zero(offset: u64, length: u64) -> LayerExtent {
    LayerExtent { offset, length, bytes: LayerBytes::Zero }
}

#[test]
fn clusters_are_where_their_entries_say_and_neighbours_are_one_run() {
    let world = World::new();
    let entries = [(0, 1536 | COPIED), (1, 2048 | COPIED), (3, 3072), (5, 1), (6, 1), (7, 2560 | 1 | COPIED)];
    world.write("a.qcow2", &Made::new(&entries).0);
    let image = world.open("a.qcow2").unwrap();
    assert_eq!(image.layer.extents, [plain(0, 1024, 1536), plain(1536, 512, 3072), zero(2560, 1536)]);
    assert_eq!((image.kind, image.layer.size_bytes, &image.parent), (Kind::Qcow2, 32 << 10, &Parent::None));
    assert_eq!(image.layer.files[0].path, world.path("a.qcow2"));
    assert_eq!(image.layer.files[0].size_bytes, 3584);
    assert!(image.notes.is_empty());
}

#[test]
fn a_compressed_cluster_is_told_with_all_sectors_that_it_may_lie_in() {
    let world = World::new();
    let entry = |at: u64, more: u64| COMPRESSED | more << 61 | at;
    world.write("a.qcow2", &Made::new(&[(0, entry(1636, 0)), (1, entry(1700, 1)), (63, entry(3500, 1))]).0);
    let packed = |offset, at, stored_bytes| {
        let packing = Packing::Deflate;
        let bytes = LayerBytes::Packed { file: 0, at, stored_bytes, unpacked_bytes: 512, skip: 0, packing };
        LayerExtent { offset, length: 512, bytes }
    };
    let expected = [packed(0, 1636, 412), packed(512, 1700, 860), packed(63 * 512, 3500, 84)];
    assert_eq!(world.open("a.qcow2").unwrap().layer.extents, expected);
}

#[test]
fn subclusters_are_told_one_by_one() {
    let world = World::new();
    let mut made = Made(vec![0; 4 << 14]);
    made.put(0, b"QFI\xfb").be32(4, 3).be32(20, 14).be64(24, 48 << 10).be32(36, 1).be64(40, 1 << 14);
    made.be64(72, 16).be32(96, 4).be32(100, 104).be64(1 << 14, 2 << 14);
    made.be64(2 << 14, 3 << 14).be64((2 << 14) + 8, 0b0000_1100 << 32 | 0b1_0011);
    made.be64((2 << 14) + 24, 0x8000_0000 << 32);
    world.write("a.qcow2", &made.0);
    let at = 3 << 14;
    let expected = [plain(0, 1024, at), zero(1024, 1024), plain(2048, 512, at + 2048), zero((2 << 14) - 512, 512)];
    assert_eq!(world.open("a.qcow2").unwrap().layer.extents, expected);

    made.be64((2 << 14) + 8, 1 << 32 | 1);
    world.write("a.qcow2", &made.0);
    let text = "image \"a.qcow2\" is damaged: the subclusters of the cluster at byte 0 of the disk are 0x0000000100000001, \
                which contradicts itself";
    assert_eq!(world.error("a.qcow2"), text);
    made.be64(2 << 14, (3 << 14) + 512);
    world.write("a.qcow2", &made.0);
    let text = "image \"a.qcow2\" is damaged: the cluster at byte 0 of the disk begins at byte 49664, inside a cluster";
    assert_eq!(world.error("a.qcow2"), text);
}

#[test]
fn what_a_file_does_not_have_of_its_last_cluster_are_zeros() {
    let world = World::new();
    let mut made = Made::new(&[(0, 3072)]);
    made.0.truncate(3172);
    world.write("a.qcow2", &made.0);
    assert_eq!(world.open("a.qcow2").unwrap().layer.extents, [plain(0, 100, 3072), zero(100, 412)]);
}

#[test]
fn what_lies_past_the_end_of_the_disk_is_the_memory_of_the_guest_and_passed_over() {
    let world = World::new();
    world.write("a.qcow2", Made::new(&[(0, 1536), (1, 1 << 40), (2, COMPRESSED | 1 << 40)]).be64(24, 512).0.as_slice());
    assert_eq!(world.open("a.qcow2").unwrap().layer.extents, [plain(0, 512, 1536)]);
}

#[test]
fn a_disk_that_no_file_could_hold_is_refused() {
    let world = World::new();
    world.write("a.data", stream(r#"{"virtualSize":9223372036854775808}"#, &[STOP]));
    let text = "image \"a.data\" is damaged: it describes a disk of 9223372036854775808 bytes";
    assert_eq!(world.error("a.data"), text);
}

#[test]
fn what_contradicts_the_format_is_told_with_its_place() {
    type Hurt = fn(&mut Made) -> &mut Made;
    let cases: [(Hurt, &str); 19] = [
        (
            |made| made.be64(1032, 3584),
            "is cut: the cluster at byte 512 of the disk begins at byte 3584, and the file has 3584 bytes",
        ),
        (|made| made.be64(512, 4096), "is cut: 512 bytes at byte 4096 are needed, and the file has 3584 bytes"),
        (|made| made.be64(40, 513), "is damaged: its L1 table begins at byte 513, inside a cluster"),
        (|made| made.be32(36, 0), "is damaged: its L1 table has 0 entries, expected 1"),
        (|made| made.be32(36, u32::MAX), "is damaged: its L1 table has 4294967295 entries, expected at most 4194304"),
        (|made| made.be64(24, 64 << 10), "is damaged: its L1 table has 1 entries, expected 2"),
        (|made| made.be64(24, u64::MAX), "is damaged: its L1 table has 1 entries, expected 562949953421312"),
        (
            |made| made.be64(24, 64 << 10).be32(36, 2).be64(520, 1024),
            "is damaged: its L2 table at byte 1024 is used twice",
        ),
        (|made| made.be32(20, 22), "is damaged: its clusters have 2^22 bytes, expected 2^9 to 2^21"),
        (|made| made.be32(20, u32::MAX), "is damaged: its clusters have 2^4294967295 bytes, expected 2^9 to 2^21"),
        (|made| made.be32(100, 96), "is damaged: its header has 96 bytes, expected 104 to a cluster"),
        (
            |made| made.be64(8, 1 << 60),
            "is damaged: the name of its backing file has 0 bytes at byte 1152921504606846976",
        ),
        (
            |made| made.be64(8, 200).be32(16, 1024),
            "is damaged: the name of its backing file has 1024 bytes at byte 200",
        ),
        (|made| made.be32(104, 7).be32(108, 500), "is damaged: header extension 0x00000007 has 500 bytes at byte 104"),
        (|made| made.be64(72, 16), "is damaged: it has subclusters in clusters of 2^9 bytes, expected 2^14"),
        (|made| made.be64(72, 8), "is damaged: its compression method 0 contradicts its features"),
        (
            |made| made.be32(4, 2).be64(1024, 1),
            "is damaged: the cluster at byte 0 of the disk is marked as zeros, which version 2 does not have",
        ),
        (|made| made.be32(4, 4), ": it is of version 4 of qcow2, which this version does not read"),
        (|made| made.be64(72, 4), "is damaged: it has its data in another file and does not name that"),
    ];
    let world = World::new();
    for (hurt, text) in cases {
        let mut made = Made::new(&[(0, 1536)]);
        hurt(&mut made);
        world.write("a.qcow2", &made.0);
        assert_eq!(
            world.error("a.qcow2"),
            format!("image \"a.qcow2\"{}{text}", if text.starts_with(':') { "" } else { " " })
        );
    }
}

#[test]
fn unknown_features_and_encryption_are_refused_by_name() {
    let world = World::new();
    let mut made = Made::new(&[]);
    made.be64(72, 1 << 7 | 1 << 9).be32(104, 0x6803_f857).be32(108, 48).put(112, b"\0\x07time travel\0");
    world.write("a.qcow2", &made.0);
    let text = "image \"a.qcow2\": it needs the feature \"time travel\", incompatible feature 9, which this version does not read";
    assert_eq!(world.error("a.qcow2"), text);
    world.write("a.qcow2", &Made::new(&[]).be32(32, 1).0);
    assert_eq!(world.error("a.qcow2"), "image \"a.qcow2\" is encrypted (AES), and no key is known");
}

#[test]
fn an_image_that_is_odd_and_readable_says_so() {
    let world = World::new();
    let mut made = Made::new(&[(0, 1536 | 1 << 60)]);
    made.be64(72, 3).backing("b.qcow2", "");
    // A backing file that is the younger one is told, too.
    world.write("b.qcow2", &Made::new(&[]).0);
    world.write("a.qcow2", &made.0);
    let image = world.open("a.qcow2").unwrap();
    assert_eq!(
        image.notes,
        [
            "it was not closed: its reference counts are outdated, which reading does not need",
            "it is marked as corrupt: QEMU found it to contradict itself; check it with qemu-img check",
            "it does not name the format of its backing file: found out from that file",
            "reserved bits are set, first in the entry of the cluster at byte 0: it may be damaged",
        ]
    );
    assert_eq!(image.layer.extents, [plain(0, 512, 1536)]);
}

#[test]
fn states_saved_in_an_image_have_layers_and_one_that_is_damaged_is_left_out() {
    let world = World::new();
    let mut made = Made::new(&[(0, 1536)]);
    made.be32(60, 2).be64(64, 3072);
    made.be64(3072, 2048).be32(3080, 1).be16(3084, 1).be16(3086, 5).be32(3088, 1_795_000_000).be32(3108, 16);
    made.be64(3120, 1024).put(3128, b"7first");
    made.be64(3136, 2050).be32(3144, 1).be16(3148, 1).be16(3150, 3).put(3176, b"8bad");
    made.be64(2048, 2560).be64(2560, 1536).be64(2568, 2048).be64(2576, 1 << 40);
    world.write("a.qcow2", &made.0);
    let image = world.open("a.qcow2").unwrap();
    let [first] = &image.snapshots[..] else { panic!("{:?}", image.snapshots) };
    assert_eq!((first.id.as_str(), first.name.as_str(), first.taken_at), ("7", "first", 1_795_000_000));
    assert_eq!((first.layer.size_bytes, &first.layer.extents[..]), (1024, &[plain(0, 1024, 1536)][..]));
    let path = world.path("a.qcow2");
    let note = format!(
        "snapshot \"bad\" is left out: image {path:?} is damaged: its L1 table begins at byte 2050, inside a cluster"
    );
    assert_eq!(image.notes, [note]);
}

#[test]
fn clusters_in_a_data_file_lie_in_their_own_places() {
    let world = World::new();
    world.write("a.data", [7; 1024]);
    let mut made = Made::new(&[(0, COPIED), (1, 512 | COPIED)]);
    made.be64(72, 4).be32(104, 0x4441_5441).be32(108, 6).put(112, b"a.data");
    world.write("a.qcow2", &made.0);
    let image = world.open("a.qcow2").unwrap();
    assert_eq!(image.layer.files[1].path, world.path("a.data"));
    let bytes = LayerBytes::Plain { file: 1, at: 0 };
    assert_eq!(image.layer.extents, [LayerExtent { offset: 0, length: 1024, bytes }]);

    std::fs::remove_file(world.path("a.data")).unwrap();
    assert_eq!(world.error("a.qcow2"), "image \"a.qcow2\": data file \"a.data\" is missing");
    made.put(112, b"/a:b/c");
    world.write("a.qcow2", &made.0);
    assert_eq!(world.error("a.qcow2"), "image \"a.qcow2\": data file \"/a:b/c\" is missing");
    made.put(112, b"nbd:/c");
    world.write("a.qcow2", &made.0);
    let text = "image \"a.qcow2\": data file \"nbd:/c\" is not a plain file name, and only files are read";
    assert_eq!(world.error("a.qcow2"), text);
}

#[test]
fn only_files_in_the_folders_are_opened() {
    let world = World::new();
    std::fs::create_dir(world.path("in")).unwrap();
    world.write("out.raw", b"secret");
    symlink("../out.raw", world.path("in/link")).unwrap();
    symlink("..", world.path("in/up")).unwrap();
    let folders = [world.path("in")];
    let why = |name: &str| match open(&world.path(name), &folders).unwrap_err() {
        Error::Open { why, .. } => why,
        other => panic!("{other}"),
    };
    assert_eq!(why("out.raw"), Why::Outside);
    assert_eq!(why("in/../out.raw"), Why::Outside);
    assert_eq!(why("in/up/out.raw"), Why::Outside);
    assert_eq!(why("in/link"), Why::Link);
    assert_eq!(why("in/gone"), Why::Missing);
    assert_eq!(why("in"), Why::NotAFile);
    std::fs::create_dir(world.path("in/directory")).unwrap();
    assert_eq!(why("in/directory"), Why::NotAFile);
    symlink("directory", world.path("in/also")).unwrap();
    world.write("in/directory/a.img", b"disk");
    let image = open(&world.path("in/also/a.img"), &folders).unwrap();
    assert_eq!(image.path, world.path("in/directory/a.img"));
}

#[test]
fn a_chain_ends_at_its_base_and_never_runs_in_circles() {
    let world = World::new();
    world.write("a.qcow2", &Made::new(&[(0, 1536)]).backing("b.qcow2", "qcow2").0);
    world.write("b.qcow2", &Made::new(&[]).backing("c.raw", "raw").0);
    world.write("c.raw", [1; 1000]);
    let images = chain(world.open("a.qcow2").unwrap(), &world.folders()).unwrap();
    let kinds: Vec<_> = images.iter().map(|image| image.kind).collect();
    assert_eq!(kinds, [Kind::Qcow2, Kind::Qcow2, Kind::Raw]);
    assert_eq!(images[1].layer.extents, [zero(1000, 31768)]);
    assert_eq!(images[2].layer.extents, [plain(0, 1000, 0)]);

    world.write("b.qcow2", &Made::new(&[]).backing("a.qcow2", "qcow2").0);
    assert_eq!(world.chain_error("a.qcow2"), "image \"b.qcow2\" is based on \"a.qcow2\", which is based on it");
    world.write("b.qcow2", &Made::new(&[]).backing("b.qcow2", "qcow2").0);
    assert_eq!(world.chain_error("b.qcow2"), "image \"b.qcow2\" is based on \"b.qcow2\", which is based on it");
    world.write("b.qcow2", &Made::new(&[]).backing("/etc/passwd", "raw").0);
    let text = "image \"b.qcow2\": backing file \"/etc/passwd\" is outside of the folders of the source";
    assert_eq!(world.chain_error("a.qcow2"), text);
    world.write("b.qcow2", &Made::new(&[]).backing("c.raw", "vmdk").0);
    let text = "image \"b.qcow2\": its backing file is of format \"vmdk\", which this version does not read";
    assert_eq!(world.chain_error("a.qcow2"), text);
    world.write("b.qcow2", &Made::new(&[]).backing("c.raw", "qcow2").0);
    assert_eq!(world.chain_error("b.qcow2"), "image \"c.raw\" is damaged: it has no qcow2 header");
}

#[test]
fn a_chain_of_more_than_1024_images_is_refused() {
    let world = World::new();
    for number in 0..=CHAIN_MAX {
        let name = format!("{}.qcow2", number + 1);
        world.write(&format!("{number}.qcow2"), &Made::new(&[]).backing(&name, "qcow2").0);
    }
    world.write(&format!("{}.qcow2", CHAIN_MAX + 1), &Made::new(&[]).0);
    assert_eq!(world.chain_error("0.qcow2"), "image \"0.qcow2\" is based on more than 1024 others");
    assert_eq!(chain(world.open("2.qcow2").unwrap(), &world.folders()).unwrap().len(), 1024);
}

#[test]
fn a_raw_file_is_read_by_its_name_only_if_it_is_no_image() {
    let world = World::new();
    world.write("a.raw", &Made::new(&[]).0);
    assert_eq!(world.error("a.raw"), "image \"a.raw\" is named as a raw image and begins as a qcow2 image does");
    world.write("a.raw", Made::new(&[]).be32(20, 0).0.as_slice());
    let image = world.open("a.raw").unwrap();
    assert_eq!(image.kind, Kind::Raw);
    let note = "it begins as a qcow2 image does and has no header of one: read as the raw image it is named";
    assert_eq!(image.notes, [note]);
    world.write("a.img", b"KDMV....");
    let text = "image \"a.img\" is a VMDK file, expected raw, qcow2 or a stream of virtnbdbackup; \
                qemu-img convert -O qcow2 IMAGE NEW.qcow2 makes an image of it";
    assert_eq!(world.error("a.img"), text);
    world.write("a.img", b"");
    assert_eq!(world.open("a.img").unwrap().layer.extents, []);
}

#[test]
fn past_the_end_of_a_shorter_parent_there_are_zeros_where_the_layer_tells_nothing() {
    let extents = vec![plain(0, 100, 0), plain(300, 100, 0), plain(500, 100, 0)];
    let mut layer = Layer { size_bytes: 1000, files: Vec::new(), extents };
    cover_beyond(&mut layer, 1000);
    assert_eq!(layer.extents.len(), 3);
    cover_beyond(&mut layer, 350);
    let expected = [plain(0, 100, 0), plain(300, 100, 0), zero(400, 100), plain(500, 100, 0), zero(600, 400)];
    assert_eq!(layer.extents, expected);
}

fn stream(meta: &str, frames: &[&str]) -> String {
    let mut text = format!("meta {:016x} {:016x}\r\n{meta}\r\n", 0, meta.len());
    frames.iter().for_each(|frame| text.push_str(frame));
    text
}

const DATA: &str = "data 0000000000000200 0000000000000004\r\nabcd\r\n";
const ZERO: &str = "zero 0000000000000300 0000000000000100\r\n";
const STOP: &str = "stop 0000000000000000 0000000000000000\r\n";

#[test]
fn a_stream_tells_its_runs_and_whom_it_rests_on() {
    let world = World::new();
    let meta = r#"{"virtualSize":4096,"dataSize":4,"date":"2026-11-20T02:00:00","diskName":"vda","checkpointName":"c.0",
        "compressed":false,"parentCheckpoint":"","incremental":false,"streamVersion":2}"#;
    world.write("vda.full.data", stream(meta, &[DATA, ZERO, STOP]));
    let image = world.open("vda.full.data").unwrap();
    let at = 40 + meta.len() as u64 + 2 + 40;
    assert_eq!(image.layer.extents, [plain(512, 4, at), zero(768, 256)]);
    assert_eq!((image.level, &image.parent, image.layer.size_bytes), (Some(Level::Full), &Parent::None, 4096));
    assert_eq!((image.moment.disk.as_deref(), image.moment.checkpoint.as_deref()), (Some("vda"), Some("c.0")));
    assert_eq!((image.moment.taken_at.as_deref(), image.moment.parent), (Some("2026-11-20T02:00:00"), None));
    assert!(image.notes.is_empty());
}

#[test]
fn a_zero_frame_in_an_increment_says_unchanged() {
    let world = World::new();
    let meta =
        r#"{"virtualSize":4096,"dataSize":4,"checkpointName":"c.1","parentCheckpoint":"c.0","incremental":true}"#;
    world.write("vda.inc.data", stream(meta, &[DATA, ZERO, STOP]));
    let image = world.open("vda.inc.data").unwrap();
    assert_eq!(image.layer.extents.len(), 1);
    assert_eq!((image.level, &image.parent), (Some(Level::Incremental), &Parent::Given));
    assert_eq!(image.moment.parent.as_deref(), Some("c.0"));
    let note = "an increment of virtnbdbackup may leave out ranges that became zeros (version 2.21 and later without \
                --no-sparse-detection): they read as they were before";
    assert_eq!(image.notes, [note]);
}

#[test]
fn a_compressed_stream_tells_every_block() {
    let world = World::new();
    let frame = |size: u64| {
        let head = [&b"\x04\x22\x4d\x18\x6c\x40"[..], &size.to_le_bytes()].concat();
        head.into_iter().chain(std::iter::repeat_n(b'-', 6)).map(char::from).collect::<String>()
    };
    let meta = r#"{"virtualSize":4096,"dataSize":1536,"compressed":2,"incremental":false,"streamVersion":2}"#;
    let first = format!("data {:016x} {:016x}\r\n{}{}\r\n", 0, 1024, frame(512), frame(512));
    let second = format!("data {:016x} {:016x}\r\n{}\r\n", 2048, 512, frame(512));
    let make = |sizes: &str| {
        let end = format!("{sizes}\r\ncomp {:016x} {:016x}\r\n", 0, sizes.len());
        stream(meta, &[&first, &second, STOP, &end]).chars().map(|letter| letter as u8).collect::<Vec<u8>>()
    };
    world.write("a.data", make(r#"[{"40": [20, 20]}, 20]"#));
    let packed = |offset, at| {
        let (packing, unpacked_bytes) = (Packing::Lz4, 512);
        let bytes = LayerBytes::Packed { file: 0, at, stored_bytes: 20, unpacked_bytes, skip: 0, packing };
        LayerExtent { offset, length: 512, bytes }
    };
    let at = 40 + meta.len() as u64 + 2 + 40;
    let expected = [packed(0, at), packed(512, at + 20), packed(2048, at + 40 + 2 + 40)];
    assert_eq!(world.open("a.data").unwrap().layer.extents, expected);

    world.write("a.data", make("[{\"40\": [20, 20]}]"));
    assert_eq!(world.error("a.data"), "image \"a.data\" is damaged: it has the sizes of too few blocks");
    world.write("a.data", make("[20, 20]"));
    let text = format!(
        "image \"a.data\" is damaged: the blocks before byte {} do not have the 1024 bytes of their frame",
        at + 20
    );
    assert_eq!(world.error("a.data"), text);
    world.write("a.data", make("[{\"40\": [19, 21]}, 20]"));
    assert_eq!(world.error("a.data"), format!("image \"a.data\" is damaged: no LZ4 frame is at byte {}", at + 19));
    world.write("a.data", make("[\"x\"]"));
    let text = "image \"a.data\" is damaged: the sizes of its compressed blocks: they are no numbers";
    assert_eq!(world.error("a.data"), text);
    let mut cut = make("[20, 20]");
    cut.truncate(cut.len() - 1);
    world.write("a.data", cut);
    assert!(
        world
            .error("a.data")
            .starts_with("image \"a.data\" is cut: the sizes of its compressed blocks should be at its end")
    );
}

#[test]
fn a_stream_that_is_not_whole_is_refused() {
    let world = World::new();
    let meta = r#"{"virtualSize":4096,"dataSize":4,"incremental":false}"#;
    let at = 40 + meta.len() + 2;
    let length = at + 46;
    let cases = [
        (vec![DATA], format!("is cut: 40 bytes at byte {length} are needed, and the file has {length} bytes")),
        (vec![STOP], "is damaged: it holds 0 bytes of data, expected 4".to_owned()),
        (vec![DATA, DATA, STOP], "is damaged: it holds 8 bytes of data, expected 4".to_owned()),
        (
            vec!["junk 0000000000000000 0000000000000000\r\n"],
            format!("is damaged: the frame at byte {at} is of no kind"),
        ),
        (vec![&DATA[..44], STOP], format!("is damaged: the frame that ends at byte {} has no end of line", at + 44)),
        (
            vec!["zero 0000000000000000 0000000000001001\r\n"],
            format!("is damaged: the frame before byte {} is of 4097 bytes at byte 0 of a disk of 4096 bytes", at + 40),
        ),
    ];
    for (frames, text) in cases {
        world.write("a.data", stream(meta, &frames));
        assert_eq!(world.error("a.data"), format!("image \"a.data\" {text}"));
    }
    world.write("a.data", stream(&meta.replace('4', "8"), &[DATA, DATA, STOP]));
    assert!(world.error("a.data").starts_with("image \"a.data\" is damaged: "));
}

#[test]
fn a_raw_file_beside_a_map_is_what_the_map_says() {
    let world = World::new();
    world.write("gen-1.raw", [1; 1000]);
    let map = r#"{"size":1000,"bitmap":"b0","dirty":[[600,100],[0,200]],"zero":[[100,550],[900,100]]}"#;
    world.write("gen-1.json", map);
    let image = world.open("gen-1.raw").unwrap();
    assert_eq!(image.layer.extents, [plain(0, 100, 0), zero(100, 100), zero(600, 50), plain(650, 50, 650)]);
    assert_eq!((image.kind, image.level, &image.parent), (Kind::Pull, Some(Level::Incremental), &Parent::Given));

    world.write("gen-1.json", r#"{"size":1000,"bitmap":null,"dirty":[[0,1000]]}"#);
    let image = world.open("gen-1.raw").unwrap();
    assert_eq!((image.level, &image.parent), (Some(Level::Full), &Parent::None));
    world.write("gen-1.json", r#"{"size":1000,"dirty":[[0,999]]}"#);
    assert_eq!(world.open("gen-1.raw").unwrap().parent, Parent::Given);
    world.write("gen-1.json", r#"{"about":"something else"}"#);
    assert_eq!(world.open("gen-1.raw").unwrap().kind, Kind::Raw);

    world.write("gen-1.json", r#"{"size":1000,"dirty":[[0,1001]]}"#);
    let text = "image \"gen-1.raw\" is damaged: its map calls 1001 bytes at byte 0 dirty, on a disk of 1000 bytes";
    assert_eq!(world.error("gen-1.raw"), text);
    world.write("gen-1.json", r#"{"size":2000,"dirty":[[900,101]]}"#);
    let text = "image \"gen-1.raw\" is cut: its map describes 101 bytes at byte 900, and the file has 1000 bytes";
    assert_eq!(world.error("gen-1.raw"), text);
    world.write("gen-1.json", r#"{"size":1000,"dirty":[[0,"#);
    let text = "image \"gen-1.json\" is damaged: it is beside a raw file and no map: EOF while parsing a value at line 1 column 25";
    assert_eq!(world.error("gen-1.raw"), text);
}

#[test]
fn a_map_of_our_own_comes_back_as_it_was_written() {
    let world = World::new();
    let mut map = PullMap::new(4096);
    map.bitmap = Some("asof-1".to_owned());
    map.dirty = vec![(0, 512)];
    map.moment.checkpoint = Some("c1".to_owned());
    map.moment.parent = Some("c0".to_owned());
    map.moment.taken_at = Some("2026-11-20T02:00:00Z".to_owned());
    let text = "{\"format\":\"asof-pull\",\"version\":1,\"size\":4096,\"bitmap\":\"asof-1\",\"dirty\":[[0,512]],\"zero\":[],\
                \"checkpoint\":\"c1\",\"parent\":\"c0\",\"taken_at\":\"2026-11-20T02:00:00Z\"}\n";
    assert_eq!(map.to_json(), text);
    assert_eq!(serde_json::from_str::<PullMap>(text).unwrap(), map);
    world.write("a.raw", [0; 4096]);
    world.write("a.json", text);
    let image = world.open("a.raw").unwrap();
    assert_eq!((image.moment.checkpoint.as_deref(), image.moment.parent.as_deref()), (Some("c1"), Some("c0")));
    world.write("a.json", text.replace("\"version\":1", "\"version\":2"));
    assert_eq!(world.error("a.raw"), "image \"a.json\": it is a map of version 2, which this version does not read");
}

#[test]
fn a_note_beside_a_pushed_image_tells_whom_it_rests_on_whatever_its_backing_file_is() {
    let world = World::new();
    let mut made = Made::new(&[(0, 1536)]);
    made.backing("/no/such/live-disk.qcow2", "qcow2");
    world.write("a.qcow2", &made.0);
    assert!(matches!(world.open("a.qcow2").unwrap().parent, Parent::Missing { .. }));
    let moment = Moment { checkpoint: Some("c1".to_owned()), parent: Some("c0".to_owned()), ..Moment::default() };
    let text = PushNote::new(moment.clone()).to_json();
    assert_eq!(text, "{\"format\":\"asof-push\",\"version\":1,\"checkpoint\":\"c1\",\"parent\":\"c0\"}\n");
    world.write("a.json", &text);
    let image = world.open("a.qcow2").unwrap();
    assert_eq!((&image.parent, image.level, &image.moment), (&Parent::Given, Some(Level::Incremental), &moment));
    world.write("a.json", text.replace(",\"parent\":\"c0\"", ""));
    let image = world.open("a.qcow2").unwrap();
    assert_eq!((&image.parent, image.level), (&Parent::None, Some(Level::Full)));
    world.write("a.json", text.replace("\"version\":1", "\"version\":2"));
    assert_eq!(world.error("a.qcow2"), "image \"a.json\": it is a note of version 2, which this version does not read");
    world.write("a.json", &text[..40]);
    assert_eq!(
        world.error("a.qcow2"),
        "image \"a.json\" is damaged: it is the note of an image and cannot be read: EOF while parsing a string at line 1 column 40"
    );
    // Somebody else's file of that name.
    world.write("a.json", "{\"format\":\"1.2\"}");
    assert!(matches!(world.open("a.qcow2").unwrap().parent, Parent::Missing { .. }));
}

#[test]
fn a_backing_file_that_is_newer_than_the_image_is_told() {
    let world = World::new();
    world.write("live.raw", [0; 4096]);
    let mut made = Made::new(&[(0, 1536)]);
    made.backing("live.raw", "raw");
    world.write("a.qcow2", &made.0);
    let is_told = || {
        world
            .open("a.qcow2")
            .unwrap()
            .notes
            .iter()
            .any(|note| note.starts_with("its backing file was written after it"))
    };
    let at = |seconds| std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
    let written = |name: &str, seconds| {
        let file = std::fs::File::options().write(true).open(world.path(name)).unwrap();
        file.set_modified(at(seconds)).unwrap();
    };
    written("live.raw", 1_000);
    written("a.qcow2", 2_000);
    assert!(!is_told());
    written("live.raw", 3_000);
    assert!(is_told());
}

#[test]
fn flipped_bits_are_survived() {
    let world = World::new();
    let mut made = Made::new(&[(0, 1536), (1, 2048 | COPIED), (2, COMPRESSED | 1700), (9, 1)]);
    made.be32(60, 1).be64(64, 3072).be64(3072, 512).be32(3080, 1).backing("a.qcow2", "qcow2");
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as usize
    };
    for _ in 0..2000 {
        let mut bytes = made.0.clone();
        for _ in 0..1 + next() % 8 {
            let at = next() % bytes.len();
            bytes[at] ^= 1 << (next() % 8);
        }
        bytes.truncate(bytes.len() - next() % 2 * (next() % 3000));
        world.write("a.qcow2", &bytes);
        let opened = world.open("a.qcow2").and_then(|image| chain(image, &world.folders()));
        for image in opened.into_iter().flatten() {
            let ends = image.layer.extents.iter().map(|run| run.offset + run.length);
            assert!(ends.is_sorted() && image.layer.extents.len() < 4096);
        }
    }
}
