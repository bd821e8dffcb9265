//! A tiny file system made byte by byte: one group of 64 blocks, 64 inodes at block 8, the log at block 32.
//! Real ones, with the truth beside them, are in `tests/`.

use super::super::{Content, Device, Entry, Error, FileSystem, Inode, Records, State};
use super::inode::{big_time, device_number, old_time};
use super::{is, open};
use crate::model::{Extent, FileMap, Timestamp};
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

const BLOCK: usize = 4096;
const INODE: usize = 512;
const ROOT: u64 = 64;
const FILE: u64 = 65;
const LINK: u64 = 66;
const DEVICE: u64 = 67;
const UUID: [u8; 16] = [7; 16];
const LOG_AT: usize = 32 * BLOCK;
const LOG_BLOCKS: usize = 16;

#[derive(Clone)]
struct World {
    bytes: Vec<u8>,
}

struct Disk {
    bytes: Vec<u8>,
}

impl Device for Disk {
    fn size_bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let from = offset as usize;
        buffer.copy_from_slice(self.bytes.get(from..from + buffer.len()).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

fn put(bytes: &mut [u8], at: usize, width: usize, value: u64) {
    bytes[at..at + width].copy_from_slice(&value.to_be_bytes()[8 - width..]);
}

fn seal(bytes: &mut [u8], crc_at: usize) {
    bytes[crc_at..crc_at + 4].fill(0);
    let crc = crc32c::crc32c(bytes);
    bytes[crc_at..crc_at + 4].copy_from_slice(&crc.to_le_bytes());
}

fn inode_at(number: u64) -> usize {
    number as usize * INODE
}

impl World {
    /// A root with a file, a link and a device, unmounted.
    fn new() -> Self {
        let mut world = Self { bytes: vec![0; 64 * BLOCK] };
        world.superblock(|_| {});
        world.inode_tree();
        for number in 64..128 {
            world.inode(number, 0, 2, |_| {});
        }
        world.inode(ROOT, 0o040755, 1, |inode| {
            let short = b"\x03\x00\x00\x00\x00\x40\x04\x00\x60file\x01\x00\x00\x00\x41\
                \x04\x00\x70link\x07\x00\x00\x00\x42\x03\x00\x80dev\x03\x00\x00\x00\x43";
            put(inode, 56, 8, short.len() as u64);
            inode[176..176 + short.len()].copy_from_slice(short);
        });
        world.inode(FILE, 0o100640, 2, |inode| {
            put(inode, 56, 8, 10_000);
            put(inode, 64, 8, 2);
            put(inode, 76, 4, 2);
            extent(&mut inode[176..], 0, 40, 1, false);
            extent(&mut inode[192..], 2, 42, 1, true);
            inode[82] = 8;
            inode[83] = 1;
            let acl = b"\0\0\0\x02\0\0\0\x01\0\0\0\0\0\x06\0\0\0\0\0\x02\0\0\x03\xe8\0\x04\0\0";
            let short = [b"\0\0\x02\0\x01\x02\0akv\x0c\x1c\x02SGI_ACL_FILE".as_slice(), acl].concat();
            inode[240..240 + short.len()].copy_from_slice(&short);
            put(inode, 240, 2, short.len() as u64);
        });
        world.inode(LINK, 0o120777, 1, |inode| {
            put(inode, 56, 8, 6);
            inode[176..182].copy_from_slice(b"target");
        });
        world.inode(DEVICE, 0o060600, 0, |inode| put(inode, 176, 4, 259 << 18 | 70_000));
        world
    }

    fn superblock(&mut self, change: impl FnOnce(&mut [u8])) {
        let sector = &mut self.bytes[..512];
        sector.fill(0);
        sector[..4].copy_from_slice(b"XFSB");
        let numbers: [(usize, usize, u64); 24] = [
            (4, 4, BLOCK as u64),
            (8, 8, 64),
            (48, 8, 32),
            (56, 8, ROOT),
            (64, 8, 126),
            (72, 8, 127),
            (84, 4, 64),
            (88, 4, 1),
            (96, 4, LOG_BLOCKS as u64),
            (100, 2, 0xb4a5),
            (102, 2, 512),
            (104, 2, INODE as u64),
            (106, 2, 8),
            (120, 1, 12),
            (121, 1, 9),
            (122, 1, 9),
            (123, 1, 3),
            (124, 1, 6),
            (160, 8, u64::MAX),
            (168, 8, u64::MAX),
            (200, 4, 0x18a),
            (216, 4, 0x9),
            (232, 8, u64::MAX),
            (240, 8, 1 << 32),
        ];
        numbers.into_iter().for_each(|(at, width, value)| put(sector, at, width, value));
        sector[32..48].copy_from_slice(&UUID);
        sector[108..112].copy_from_slice(b"tiny");
        change(sector);
        seal(sector, 224);
    }

    fn inode_tree(&mut self) {
        let header = &mut self.bytes[1024..1536];
        header[..4].copy_from_slice(b"XAGI");
        put(header, 20, 4, 2);
        put(header, 24, 4, 1);
        header[296..312].copy_from_slice(&UUID);
        seal(header, 312);
        let block = &mut self.bytes[2 * BLOCK..3 * BLOCK];
        block[..4].copy_from_slice(b"IAB3");
        put(block, 6, 2, 1);
        put(block, 16, 8, 16);
        block[32..48].copy_from_slice(&UUID);
        put(block, 56, 4, 64);
        put(block, 64, 8, !0xf);
        seal(block, 52);
    }

    fn inode(&mut self, number: u64, mode: u64, format: u8, change: impl FnOnce(&mut [u8])) {
        let inode = &mut self.bytes[inode_at(number)..inode_at(number) + INODE];
        inode.fill(0);
        inode[..2].copy_from_slice(b"IN");
        put(inode, 2, 2, mode);
        inode[4] = 3;
        inode[5] = format;
        put(inode, 8, 4, 1000);
        put(inode, 12, 4, 100);
        put(inode, 16, 4, 1);
        put(inode, 40, 8, (1u64 << 31) * 1_000_000_000 + 5);
        inode[83] = 2;
        put(inode, 92, 4, 9);
        put(inode, 120, 8, 1 << 3);
        put(inode, 152, 8, number);
        inode[160..176].copy_from_slice(&UUID);
        change(inode);
        seal(inode, 100);
    }

    /// Writes records to the log, each of one transaction.
    fn log(&mut self, records: &[Vec<(u8, Vec<u8>)>]) -> Vec<usize> {
        let mut at = 0;
        let mut places = Vec::new();
        for (index, operations) in records.iter().enumerate() {
            let record = record(at, index as u32 + 1, operations);
            self.bytes[LOG_AT + at * 512..LOG_AT + at * 512 + record.len()].copy_from_slice(&record);
            places.push(LOG_AT + at * 512);
            at += record.len() / 512;
        }
        places
    }

    fn open(&self) -> Result<super::Xfs, Error> {
        open(self.disk())
    }

    fn disk(&self) -> Arc<Disk> {
        Arc::new(Disk { bytes: self.bytes.clone() })
    }

    fn refusal(&self) -> String {
        self.open().err().expect("it is refused").to_string()
    }
}

fn extent(bytes: &mut [u8], offset: u64, block: u64, count: u64, unwritten: bool) {
    put(bytes, 0, 8, u64::from(unwritten) << 63 | offset << 9 | block >> 43);
    put(bytes, 8, 8, block << 21 | count);
}

/// A record of the first cycle, at a sector of the log.
fn record(at: usize, id: u32, operations: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let mut data = Vec::new();
    for (flags, bytes) in operations {
        data.extend(id.to_be_bytes());
        data.extend((bytes.len() as u32).to_be_bytes());
        data.extend([0x69, *flags, 0, 0]);
        data.extend(bytes);
    }
    data.resize(data.len().next_multiple_of(512), 0);
    let mut header = vec![0; 512];
    let numbers = [
        (0, 4, 0xfeed_babe),
        (4, 4, 1),
        (8, 4, 2),
        (12, 4, data.len() as u64),
        (16, 8, 1 << 32 | at as u64),
        (24, 8, 1 << 32),
        (40, 4, operations.len() as u64),
        (300, 4, 1),
        (320, 4, 32768),
    ];
    numbers.into_iter().for_each(|(at, width, value)| put(&mut header, at, width, value));
    header[304..320].copy_from_slice(&UUID);
    for (index, sector) in data.chunks_exact_mut(512).enumerate() {
        header[44 + index * 4..48 + index * 4].copy_from_slice(&sector[..4]);
        sector[..4].copy_from_slice(&1u32.to_be_bytes());
    }
    let crc = crc32c::crc32c_append(crc32c::crc32c(&header[..328]), &data);
    header[32..36].copy_from_slice(&crc.to_le_bytes());
    [header, data].concat()
}

/// The operations of a transaction of these items, with its commit.
fn transaction(items: &[Vec<Vec<u8>>]) -> Vec<(u8, Vec<u8>)> {
    let header = [0x5452_414eu32, 40, 1, items.len() as u32].iter().flat_map(|word| word.to_le_bytes()).collect();
    let regions = items.iter().flatten().map(|region| (0, region.clone()));
    let begin = [(0x01, Vec::new()), (0, header)];
    begin.into_iter().chain(regions).chain([(0x02, Vec::new())]).collect()
}

/// An item that sets the owner of a file to 77, as little-endian machines log it.
fn inode_item(world: &World, number: u64) -> Vec<Vec<u8>> {
    let mut format = vec![0; 56];
    format[..2].copy_from_slice(&0x123bu16.to_le_bytes());
    format[2] = 2;
    format[4] = 1;
    format[16..24].copy_from_slice(&number.to_le_bytes());
    format[40..48].copy_from_slice(&(inode_at(ROOT) as u64 / 512).to_le_bytes());
    format[48] = 32;
    format[52..56].copy_from_slice(&((inode_at(number) - inode_at(ROOT)) as u32).to_le_bytes());
    let mut core = world.bytes[inode_at(number)..inode_at(number) + 176].to_vec();
    let widths = [2, 2, 1, 1, 2, 4, 4, 4, 2, 2, 8, 8, 8, 8, 8, 8, 4, 4, 2, 1, 1, 4, 2, 2, 4, 4, 4, 8, 8, 8, 4];
    let mut at = 0;
    for width in widths {
        core[at..at + width].reverse();
        at += width;
    }
    core[144..152].reverse();
    core[152..160].reverse();
    core[8..12].copy_from_slice(&77u32.to_le_bytes());
    vec![format, core]
}

/// An item that writes `bytes` to the beginning of a sector.
fn buffer_item(sector: u64, flags: u16, bytes: &[u8; 128]) -> Vec<Vec<u8>> {
    let mut format = vec![0; 24];
    format[..2].copy_from_slice(&0x123cu16.to_le_bytes());
    format[2] = if flags == 0 { 2 } else { 1 };
    format[4..6].copy_from_slice(&flags.to_le_bytes());
    format[6] = 8;
    format[8..16].copy_from_slice(&sector.to_le_bytes());
    format[16] = 1;
    format[20] = u8::from(flags == 0);
    if flags == 0 { vec![format, bytes.to_vec()] } else { vec![format] }
}

fn intent(kind: u16) -> Vec<Vec<u8>> {
    let mut format = vec![0; 16];
    format[..2].copy_from_slice(&kind.to_le_bytes());
    format[2] = 1;
    format[8] = 5;
    vec![format]
}

fn scan(world: &World) -> Vec<Result<Inode, (u64, String)>> {
    let mut told = Vec::new();
    let outcome = world.open().unwrap().scan_inodes(&mut |inode| {
        told.push(inode.map_err(|(number, error)| (number, error.to_string())));
        ControlFlow::Continue(())
    });
    outcome.unwrap();
    told
}

fn list(world: &World, number: u64) -> (Vec<(String, u64)>, Result<(), String>) {
    let xfs = world.open().unwrap();
    let mut entries = Vec::new();
    let directory = xfs.inode(number).unwrap();
    let outcome = xfs.list(&directory, &mut |entry: Entry| entries.push((entry.name.to_string(), entry.inode)));
    (entries, outcome.map_err(|error| error.to_string()))
}

#[test]
fn a_file_system_says_what_it_is() {
    let world = World::new();
    let xfs = world.open().unwrap();
    assert!(is(world.disk().as_ref()));
    assert_eq!(xfs.root(), 64);
    let info = xfs.info();
    assert_eq!((info.kind, info.label.as_str(), info.state), ("xfs", "tiny", State::Clean));
    assert_eq!(info.uuid, "07070707-0707-0707-0707-070707070707");
    assert_eq!(info.features, ["crc", "ftype", "bigtime", "lazy-count", "attr2", "projid32bit"]);
}

#[test]
fn inodes_in_use_are_told_with_what_the_kernel_would_tell() {
    let told: Vec<Inode> = scan(&World::new()).into_iter().map(Result::unwrap).collect();
    assert_eq!(told.iter().map(|inode| inode.number).collect::<Vec<_>>(), [64, 65, 66, 67]);
    let file = &told[1];
    let attrs = &file.attrs;
    assert_eq!((file.generation, attrs.mode, attrs.uid, attrs.gid, attrs.nlink), (9, 0o100640, 1000, 100, 1));
    assert_eq!((attrs.size_bytes, attrs.allocated_bytes), (10_000, Some(8192)));
    assert_eq!(attrs.mtime, Timestamp { seconds: 0, nanos: 5 });
    assert_eq!(attrs.xattrs.get(b"user.a"), Some(b"kv".as_slice()));
    assert_eq!(
        attrs.xattrs.get(b"system.posix_acl_access"),
        Some(b"\x02\0\0\0\x01\0\x06\0\xff\xff\xff\xff\x02\0\x04\0\xe8\x03\0\0".as_slice())
    );
    assert!(attrs.xattrs.get(b"trusted.SGI_ACL_FILE").is_some_and(|stored| stored.len() == 28));
    assert_eq!(attrs.xattrs.iter().count(), 3);
    let extents = vec![
        Extent { offset: 0, at: 40 * 4096, length: 4096, unwritten: false },
        Extent { offset: 8192, at: 42 * 4096, length: 4096, unwritten: true },
    ];
    assert_eq!(file.content, Content::Mapped(FileMap { extents, rests_on: vec![] }));
    assert_eq!(told[2].attrs.target, b"target");
    assert_eq!(told[3].attrs.rdev, device_number(259, 70_000));
}

#[test]
fn a_short_directory_tells_its_entries() {
    let entries = vec![("file".to_owned(), 65), ("link".to_owned(), 66), ("dev".to_owned(), 67)];
    assert_eq!(list(&World::new(), ROOT), (entries, Ok(())));
}

#[test]
fn a_name_with_a_slash_is_an_error_after_all_other_names() {
    let mut world = World::new();
    let from = inode_at(ROOT);
    world.bytes[from + 176 + 9] = b'/';
    seal(&mut world.bytes[from..from + INODE], 100);
    let entries = vec![("link".to_owned(), 66), ("dev".to_owned(), 67)];
    let error = "inode 64: name \"/ile\" contains a slash or a zero byte".to_owned();
    assert_eq!(list(&world, ROOT), (entries, Err(error)));
}

#[test]
fn a_flipped_bit_in_an_inode_is_told_and_the_others_are_read() {
    let mut world = World::new();
    world.bytes[inode_at(FILE) + 300] ^= 4;
    let told = scan(&world);
    assert_eq!(told.len(), 4);
    let error = "inode 65 at byte 33280: its checksum does not hold".to_owned();
    assert_eq!(told[1].as_ref().err(), Some(&(65, error)));
    assert!(told[2].is_ok());
}

#[test]
fn where_a_record_lies_leads_back_to_its_number() {
    let xfs = World::new().open().unwrap();
    let at = inode_at(LINK) as u64;
    assert_eq!(xfs.record_of(LINK), Some((at, INODE as u64)));
    let mut told = Vec::new();
    xfs.numbers_in(at, 1, &mut |run| told.push(run));
    // Those that share its block.
    assert_eq!(told, [64..=71]);
    assert_eq!(xfs.record_of(1 << 40), None);
}

#[test]
fn extents_that_overlap_make_the_content_unreadable_and_leave_the_attributes() {
    let mut world = World::new();
    let from = inode_at(FILE);
    extent(&mut world.bytes[from + 192..], 0, 44, 1, false);
    seal(&mut world.bytes[from..from + INODE], 100);
    let file = scan(&world)[1].clone().unwrap();
    assert_eq!(file.attrs.size_bytes, 10_000);
    assert_eq!(file.content, Content::Unreadable("inode 65 has extents that overlap at byte 4096".to_owned()));
}

#[test]
fn a_file_on_the_realtime_device_has_no_content_here() {
    let mut world = World::new();
    world.inode(FILE, 0o100600, 2, |inode| put(inode, 90, 2, 1));
    let file = scan(&world)[1].clone().unwrap();
    assert_eq!(file.content, Content::Unreadable("inode 65 lies on the realtime device".to_owned()));
}

#[test]
fn an_inode_without_a_name_is_not_told() {
    let mut world = World::new();
    world.inode(LINK, 0o100600, 2, |inode| put(inode, 16, 4, 0));
    assert_eq!(scan(&world).len(), 3);
    assert_eq!(world.open().unwrap().inode(LINK).unwrap_err().to_string(), "inode 66 is not in use");
}

#[test]
fn features_that_are_not_read_are_refused_by_name() {
    let cases: [(usize, u64, &str); 5] = [
        (216, 0x101, "xfs with the feature metadir is not read"),
        (216, 0x11, "xfs with the feature needsrepair is not read"),
        (216, 0x8000_0001, "xfs with the unknown incompatible feature 0x80000000 is not read"),
        (220, 0x2, "xfs with the unknown log features 0x2 is not read"),
        (52, 0, "xfs with its log on another device is not read"),
    ];
    for (at, value, text) in cases {
        let mut world = World::new();
        world.superblock(|sector| put(sector, at, 4, value));
        assert_eq!(world.refusal(), text);
    }
}

#[test]
fn a_volume_that_is_cut_short_is_refused() {
    let mut world = World::new();
    world.bytes.truncate(60 * BLOCK);
    assert_eq!(world.refusal(), "superblock: 64 blocks of 4096 bytes do not fit on 245760 bytes");
}

#[test]
fn what_the_log_says_of_an_inode_is_told() {
    let mut world = World::new();
    world.log(&[transaction(&[inode_item(&world, FILE)])]);
    let xfs = world.open().unwrap();
    assert_eq!(xfs.info().state, State::Replayed { blocks: 1 });
    let mut told = Vec::new();
    let outcome = xfs.scan_inodes(&mut |inode| {
        told.push(inode.unwrap());
        ControlFlow::Continue(())
    });
    outcome.unwrap();
    assert_eq!(told.len(), 4);
    let attrs = &told[1].attrs;
    assert_eq!((told[1].number, attrs.uid, attrs.gid, attrs.mode), (65, 77, 100, 0o100640));
    assert_eq!((attrs.mtime, attrs.size_bytes), (Timestamp { seconds: 0, nanos: 5 }, 10_000));
    assert_eq!(attrs.xattrs.iter().count(), 3);
}

#[test]
fn an_inode_that_is_newer_than_the_log_stays() {
    let mut world = World::new();
    let item = inode_item(&world, FILE);
    let from = inode_at(FILE);
    put(&mut world.bytes[from..], 112, 8, 2 << 32);
    seal(&mut world.bytes[from..from + INODE], 100);
    world.log(&[transaction(&[item])]);
    let xfs = world.open().unwrap();
    assert_eq!(xfs.info().state, State::Clean);
    assert_eq!(xfs.inode(FILE).unwrap().attrs.uid, 1000);
}

#[test]
fn an_inode_that_was_damaged_before_the_log_changed_it_stays_damaged() {
    let mut world = World::new();
    world.log(&[transaction(&[inode_item(&world, FILE)])]);
    world.bytes[inode_at(FILE) + 300] ^= 4;
    let error = "inode 65 at byte 33280: its checksum did not hold before the log changed it".to_owned();
    assert_eq!(scan(&world)[1].as_ref().err(), Some(&(65, error)));
}

#[test]
fn a_transaction_without_its_commit_never_happened() {
    let mut world = World::new();
    let mut operations = transaction(&[inode_item(&world, FILE)]);
    operations.pop();
    world.log(&[operations]);
    assert_eq!(world.open().unwrap().info().state, State::Clean);
}

#[test]
fn a_record_that_was_being_written_is_left_out_and_those_before_it_count() {
    let mut world = World::new();
    let items = [FILE, LINK].map(|number| transaction(&[inode_item(&world, number)]));
    let places = world.log(&items);
    world.bytes[places[1] + 700] ^= 1;
    let xfs = world.open().unwrap();
    assert_eq!(xfs.inode(FILE).unwrap().attrs.uid, 77);
    assert_eq!(xfs.inode(LINK).unwrap().attrs.uid, 1000);
}

#[test]
fn an_unmounted_log_is_not_replayed() {
    let mut world = World::new();
    let transaction = transaction(&[inode_item(&world, FILE)]);
    world.log(&[transaction, vec![(0x20, b"nU\0\0\0\0\0\0".to_vec())]]);
    let xfs = world.open().unwrap();
    assert_eq!(xfs.info().state, State::Clean);
    assert_eq!(xfs.inode(FILE).unwrap().attrs.uid, 1000);
}

#[test]
fn a_buffer_that_is_freed_later_is_not_written() {
    let sector = 8 * 20;
    let written = transaction(&[buffer_item(sector, 0, &[0xaa; 128])]);
    let mut world = World::new();
    world.log(std::slice::from_ref(&written));
    assert_eq!(world.open().unwrap().info().state, State::Replayed { blocks: 1 });
    world.log(&[written, transaction(&[buffer_item(sector, 2, &[0; 128])])]);
    assert_eq!(world.open().unwrap().info().state, State::Clean);
}

#[test]
fn an_unfinished_change_of_a_file_is_refused_by_name_and_one_of_free_space_is_not() {
    let mut world = World::new();
    world.log(&[transaction(&[intent(0x1244)])]);
    assert_eq!(world.refusal(), "unfinished intent BUI in the log; freeze the guest");
    world.log(&[transaction(&[intent(0x1244)]), transaction(&[intent(0x1245)])]);
    assert!(world.open().is_ok());
    let mut world = World::new();
    world.log(&[transaction(&[intent(0x1236)])]);
    assert!(world.open().is_ok());
    let mut world = World::new();
    world.log(&[transaction(&[intent(0x1300)])]);
    assert_eq!(world.refusal(), "the log has an item of the unknown type 0x1300; freeze the guest");
}

#[test]
fn times_of_both_forms_reach_from_1901_on() {
    assert_eq!(big_time(0), Timestamp { seconds: -2_147_483_648, nanos: 0 });
    assert_eq!(big_time((1 << 31) * 1_000_000_000 + 1), Timestamp { seconds: 0, nanos: 1 });
    assert_eq!(old_time(0xffff_ffff_0000_0007), Timestamp { seconds: -1, nanos: 7 });
}

#[test]
fn no_flipped_bits_make_it_panic_or_tell_other_inodes_than_there_are() {
    let mut world = World::new();
    world.log(&[FILE, LINK].map(|number| transaction(&[inode_item(&world, number)])));
    let mut state = 1u64;
    let mut random = move |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    for _ in 0..500 {
        let mut hurt = world.clone();
        for _ in 0..1 + random(8) {
            let place = [0, 1024, 2 * BLOCK, 8 * BLOCK, inode_at(FILE), LOG_AT][random(6)] + random(700);
            hurt.bytes[place] ^= 1 << random(8);
        }
        let Ok(xfs) = hurt.open() else { continue };
        let outcome = xfs.scan_inodes(&mut |inode| {
            let number = inode.as_ref().map_or_else(|error| error.0, |inode| inode.number);
            assert!((64..68).contains(&number));
            if let Ok(inode) = inode {
                let _ = xfs.list(&inode, &mut |_| {});
            }
            ControlFlow::Continue(())
        });
        let _ = outcome;
    }
}
