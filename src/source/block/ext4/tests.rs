//! On a file system of 256 blocks that is made here, byte by byte.
//! Real ones, with the truth beside them, are in `tests/`.

use super::checksum::{crc16, crc32_be, crc32c};
use super::*;
use crate::model::{Extent, FileMap, Timestamp, chain};
use crate::source::block::Content;
use std::io;

const BLOCK: usize = 1024;
const TABLE: usize = 5;
const ROOT_BLOCK: usize = 21;
const JOURNAL_BLOCK: usize = 100;
const JOURNAL_BLOCKS: u32 = 16;
const UUID: [u8; 16] = [0xA5; 16];
const EXTENTS_FLAG: u32 = 0x8_0000;
const INLINE_FLAG: u32 = 0x1000_0000;

struct Bytes {
    bytes: Vec<u8>,
}

impl Device for Bytes {
    fn size_bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let start = offset as usize;
        buffer.copy_from_slice(self.bytes.get(start..start + buffer.len()).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

/// The file system, while it is made: 64 inodes of 256 bytes, blocks of 1 KiB, metadata checksums.
#[derive(Clone)]
struct Made {
    bytes: Vec<u8>,
}

impl Made {
    /// With an empty root directory.
    fn new() -> Self {
        let mut made = Self { bytes: vec![0; 256 * BLOCK] };
        for (at, value) in
            [(0, 64), (0x4, 256), (0x14, 1), (0x20, 8192), (0x24, 8192), (0x28, 64), (0x4C, 1), (0x54, 11)]
        {
            made.put32(BLOCK + at, value);
        }
        made.put16(BLOCK + 0x38, 0xEF53);
        made.put16(BLOCK + 0x58, 256);
        made.put32(BLOCK + 0x60, 0x42);
        made.put32(BLOCK + 0x64, 0x400);
        made.bytes[BLOCK + 0x68..BLOCK + 0x78].copy_from_slice(&UUID);
        made.bytes[BLOCK + 0x78..BLOCK + 0x7C].copy_from_slice(b"made");
        made.bytes[BLOCK + 0x175] = 1;
        made.put32(2 * BLOCK + 0x4, 4);
        made.put32(2 * BLOCK + 0x8, TABLE as u32);
        made.inode(2, 0o40755, 1024);
        made.extent(2, 0, ROOT_BLOCK as u32, 1);
        made.directory(ROOT_BLOCK, 2, &[(2, b"."), (2, b"..")]);
        made
    }

    fn put16(&mut self, at: usize, value: u16) {
        self.bytes[at..at + 2].copy_from_slice(&value.to_le_bytes());
    }

    fn put32(&mut self, at: usize, value: u32) {
        self.bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }

    fn put32_be(&mut self, at: usize, value: u32) {
        self.bytes[at..at + 4].copy_from_slice(&value.to_be_bytes());
    }

    fn inode_at(number: u32) -> usize {
        TABLE * BLOCK + (number as usize - 1) * 256
    }

    /// Makes an inode with one link, an empty extent tree and 32 bytes of extra fields.
    fn inode(&mut self, number: u32, mode: u16, size: u32) {
        let at = Self::inode_at(number);
        self.put16(at, mode);
        self.put32(at + 0x4, size);
        self.put16(at + 0x1A, 1);
        self.put32(at + 0x1C, 64);
        self.put32(at + 0x20, EXTENTS_FLAG);
        self.put16(at + 0x28, 0xF30A);
        self.put16(at + 0x2C, 4);
        self.put16(at + 0x80, 32);
    }

    /// Appends an extent to the tree in an inode.
    fn extent(&mut self, number: u32, logical: u32, block: u32, length: u16) {
        let at = Self::inode_at(number) + 0x28;
        let count = u16::from(self.bytes[at + 2]) + 1;
        self.put16(at + 2, count);
        let entry = at + 12 * usize::from(count);
        self.put32(entry, logical);
        self.put16(entry + 4, length);
        self.put32(entry + 8, block);
    }

    fn directory(&mut self, block: usize, inode: u32, names: &[(u32, &[u8])]) {
        let content = directory_block(inode, names);
        self.bytes[block * BLOCK..(block + 1) * BLOCK].copy_from_slice(&content);
    }

    /// A journal from transaction 7 at its block `start` on, with checksums and revoke records.
    fn journal(&mut self, start: u32) {
        self.put32(BLOCK + 0x5C, 0x4);
        self.put32(BLOCK + 0x60, 0x46);
        self.put32(BLOCK + 0xE0, 8);
        self.inode(8, 0o100600, JOURNAL_BLOCKS * BLOCK as u32);
        self.extent(8, 0, JOURNAL_BLOCK as u32, JOURNAL_BLOCKS as u16);
        let at = JOURNAL_BLOCK * BLOCK;
        for (field, value) in [(0, 0xC03B_3998), (4, 4), (0xC, BLOCK as u32), (0x10, JOURNAL_BLOCKS), (0x14, 1)] {
            self.put32_be(at + field, value);
        }
        for (field, value) in [(0x18, 7), (0x1C, start), (0x28, 0x11)] {
            self.put32_be(at + field, value);
        }
        self.bytes[at + 0x50] = 4;
        self.seal_journal_superblock();
    }

    fn seal_journal_superblock(&mut self) {
        let at = JOURNAL_BLOCK * BLOCK;
        self.put32_be(at + 0xFC, 0);
        let sum = crc32c(!0, &self.bytes[at..at + 1024]);
        self.put32_be(at + 0xFC, sum);
    }

    fn journal_block(&mut self, block: u32, kind: u32, sequence: u32) -> usize {
        let at = (JOURNAL_BLOCK + block as usize) * BLOCK;
        self.bytes[at..at + BLOCK].fill(0);
        for (field, value) in [(0, 0xC03B_3998), (4, kind), (8, sequence)] {
            self.put32_be(at + field, value);
        }
        at
    }

    fn seal_journal_block(&mut self, at: usize, sum_at: usize) {
        let sum = crc32c(crc32c(!0, &[0; 16]), &self.bytes[at..at + BLOCK]);
        self.put32_be(at + sum_at, sum);
    }

    /// Logs one new block at the first two of `blocks` of the journal.
    fn logged(&mut self, blocks: [u32; 2], sequence: u32, target: u32, content: &[u8]) {
        let mut content = content.to_vec();
        let escaped = content[..4] == [0xC0, 0x3B, 0x39, 0x98];
        if escaped {
            content[..4].fill(0);
        }
        let at = self.journal_block(blocks[0], 1, sequence);
        self.put32_be(at + 12, target);
        self.put32_be(at + 16, 2 + 8 + u32::from(escaped));
        let sum = crc32c(crc32c(crc32c(!0, &[0; 16]), &sequence.to_be_bytes()), &content);
        self.put32_be(at + 24, sum);
        self.seal_journal_block(at, BLOCK - 4);
        let data = (JOURNAL_BLOCK + blocks[1] as usize) * BLOCK;
        self.bytes[data..data + BLOCK].copy_from_slice(&content);
    }

    fn committed(&mut self, block: u32, sequence: u32) {
        let at = self.journal_block(block, 2, sequence);
        self.put32_be(at + 52, 1000 + sequence);
        self.seal_journal_block(at, 16);
    }

    fn revoked(&mut self, block: u32, sequence: u32, target: u32) {
        let at = self.journal_block(block, 5, sequence);
        self.put32_be(at + 12, 20);
        self.put32_be(at + 16, target);
        self.seal_journal_block(at, BLOCK - 4);
    }

    /// Computes all checksums that are not of a block of its own.
    fn seal(mut self) -> Vec<u8> {
        let seed = crc32c(!0, &UUID);
        for number in 1..=64 {
            let at = Self::inode_at(number);
            if self.bytes[at..at + 256].iter().any(|byte| *byte != 0) {
                self.put16(at + 0x7C, 0);
                self.put16(at + 0x82, 0);
                let generation = &self.bytes[at + 0x64..at + 0x68];
                let start = crc32c(crc32c(seed, &number.to_le_bytes()), generation);
                let sum = crc32c(start, &self.bytes[at..at + 256]);
                self.put16(at + 0x7C, sum as u16);
                self.put16(at + 0x82, (sum >> 16) as u16);
            }
        }
        self.bytes[4 * BLOCK..4 * BLOCK + 8].copy_from_slice(&[0xFF, 0xFF, 0, 0, 0, 0, 0, 0]);
        let bitmap = crc32c(seed, &self.bytes[4 * BLOCK..4 * BLOCK + 8]);
        self.put16(2 * BLOCK + 0x1A, bitmap as u16);
        let start = crc32c(crc32c(seed, &[0; 4]), &self.bytes[2 * BLOCK..2 * BLOCK + 0x1E]);
        self.put16(2 * BLOCK + 0x1E, crc32c(start, &[0, 0]) as u16);
        let sum = crc32c(!0, &self.bytes[BLOCK..BLOCK + 0x3FC]);
        self.put32(BLOCK + 0x3FC, sum);
        self.bytes
    }

    fn open(self) -> Result<Ext4, Error> {
        open_bytes(self.seal())
    }
}

fn open_bytes(bytes: Vec<u8>) -> Result<Ext4, Error> {
    open(Arc::new(Bytes { bytes }))
}

fn directory_block(inode: u32, names: &[(u32, &[u8])]) -> Vec<u8> {
    let mut block = Vec::new();
    for (index, (number, name)) in names.iter().enumerate() {
        let length =
            if index + 1 == names.len() { BLOCK - 12 - block.len() } else { (8 + name.len()).next_multiple_of(4) };
        let end = block.len() + length;
        block.extend_from_slice(&number.to_le_bytes());
        block.extend_from_slice(&(length as u16).to_le_bytes());
        block.extend_from_slice(&[name.len() as u8, 1]);
        block.extend_from_slice(name);
        block.resize(end, 0);
    }
    let sum = crc32c(crc32c(crc32c(crc32c(!0, &UUID), &inode.to_le_bytes()), &[0; 4]), &block);
    block.extend_from_slice(&[0, 0, 0, 0, 12, 0, 0, 0xDE]);
    block.extend_from_slice(&sum.to_le_bytes());
    block
}

fn names(fs: &Ext4, directory: u64) -> (Vec<String>, Option<String>) {
    let mut names = Vec::new();
    let inode = fs.inode(directory).unwrap();
    let outcome = fs.list(&inode, &mut |entry| names.push(format!("{} {}", entry.inode, entry.name)));
    (names, outcome.err().map(|error| chain(&error)))
}

fn scanned(fs: &Ext4) -> Vec<String> {
    let mut told = Vec::new();
    fs.scan_inodes(&mut |inode| {
        told.push(match inode {
            Ok(inode) => inode.number.to_string(),
            Err((number, error)) => format!("{number} {error}"),
        });
        ControlFlow::Continue(())
    })
    .unwrap();
    told
}

fn refusal(outcome: Result<Ext4, Error>) -> String {
    chain(&outcome.err().expect("refused"))
}

#[test]
fn checksums_are_those_of_the_catalogue_of_crcs() {
    // The check values of CRC-32/ISCSI (inverted: the kernel does not), CRC-16/ARC and CRC-32/MPEG-2.
    assert_eq!(crc32c(!0, b"123456789"), !0xE306_9283);
    assert_eq!(crc16(0, b"123456789"), 0xBB3D);
    assert_eq!(crc32_be(!0, b"123456789"), 0x0376_E6E7);
}

#[test]
fn a_file_system_tells_its_kind_label_and_features() {
    let fs = Made::new().open().unwrap();
    let info = fs.info();
    assert_eq!((info.kind, info.label.as_str(), info.state), ("ext4", "made", State::Clean));
    assert_eq!(info.uuid, "a5a5a5a5-a5a5-a5a5-a5a5-a5a5a5a5a5a5");
    assert_eq!(info.features, ["filetype", "extent", "metadata_csum"]);
}

#[test]
fn a_file_has_its_owner_times_and_extents_and_what_was_never_written_says_so() {
    let mut made = Made::new();
    made.inode(12, 0o100640, 9000);
    made.extent(12, 0, 40, 2);
    made.extent(12, 2, 42, 1);
    made.extent(12, 5, 50, 32768 + 3);
    let at = Made::inode_at(12);
    made.put16(at + 0x2, 0xBEEF);
    made.put16(at + 0x78, 0x1);
    made.put32(at + 0x10, 0xFFFF_FFFF);
    made.put32(at + 0x88, 999_999_999 << 2);
    made.put32(at + 0xC, 0x7FFF_FFFF);
    made.put32(at + 0x84, 5 << 2 | 3);
    made.put32(at + 0x1C, 10);

    let inode = made.open().unwrap().inode(12).unwrap();

    assert_eq!((inode.attrs.mode, inode.attrs.uid, inode.attrs.gid), (0o100640, 0x1_BEEF, 0));
    assert_eq!((inode.attrs.size_bytes, inode.attrs.allocated_bytes), (9000, Some(5120)));
    assert_eq!(inode.attrs.mtime, Timestamp { seconds: -1, nanos: 999_999_999 });
    assert_eq!(inode.attrs.ctime, Timestamp { seconds: 15_032_385_535, nanos: 5 });
    let extents = vec![
        Extent { offset: 0, at: 40960, length: 3072, unwritten: false },
        Extent { offset: 5120, at: 51200, length: 3072, unwritten: true },
    ];
    assert_eq!(inode.content, Content::Mapped(FileMap { extents, rests_on: vec![] }));
}

#[test]
fn a_block_map_finds_direct_and_indirect_blocks_and_rests_on_the_latter() {
    let mut made = Made::new();
    made.inode(12, 0o100644, 20 << 10);
    let at = Made::inode_at(12);
    made.put32(at + 0x20, 0);
    made.bytes[at + 0x28..at + 0x64].fill(0);
    made.put32(at + 0x28, 40);
    made.put32(at + 0x28 + 12 * 4, 60);
    made.put32(60 * BLOCK, 41);
    made.put32(60 * BLOCK + 4, 42);

    let inode = made.open().unwrap().inode(12).unwrap();

    let extents = vec![
        Extent { offset: 0, at: 40960, length: 1024, unwritten: false },
        Extent { offset: 12288, at: 41984, length: 2048, unwritten: false },
    ];
    assert_eq!(inode.content, Content::Mapped(FileMap { extents, rests_on: vec![(61440, 1024)] }));
}

#[test]
fn a_map_that_leads_into_itself_or_off_the_disk_is_unreadable_and_the_file_is_told() {
    let mut made = Made::new();
    for number in [12, 13] {
        made.inode(number, 0o100644, 300 << 10);
        let at = Made::inode_at(number);
        made.put32(at + 0x20, 0);
        made.bytes[at + 0x28..at + 0x64].fill(0);
    }
    made.put32(Made::inode_at(12) + 0x28 + 13 * 4, 60);
    made.put32(60 * BLOCK, 60);
    made.put32(Made::inode_at(13) + 0x28, 256);

    let fs = made.open().unwrap();

    let twice = "inode 12: block 60 is twice in its map";
    assert_eq!(fs.inode(12).unwrap().content, Content::Unreadable(twice.to_owned()));
    let off = "inode 13: its map points to 1 blocks at 256, and there are 256";
    assert_eq!(fs.inode(13).unwrap().content, Content::Unreadable(off.to_owned()));
}

#[test]
fn inline_data_and_extended_attributes_come_out_of_the_inode_and_acls_as_getxattr_gives_them() {
    let mut made = Made::new();
    made.put32(BLOCK + 0x60, 0x8042);
    made.inode(12, 0o100644, 62);
    let at = Made::inode_at(12);
    made.put32(at + 0x20, INLINE_FLAG);
    made.bytes[at + 0x28..at + 0x64].fill(b'a');
    let xattrs = at + 160;
    made.put32(xattrs, 0xEA02_0000);
    // Entries of name length, name index, place of the value; then the length of the value; then the name.
    for (entry, head, length, name) in
        [(4, [4, 7, 88, 0], 2, &b"data"[..]), (24, [1, 1, 84, 0], 3, b"k"), (44, [0, 2, 64, 0], 20, b"")]
    {
        made.bytes[xattrs + entry..xattrs + entry + 4].copy_from_slice(&head);
        made.put32(xattrs + entry + 8, length);
        made.bytes[xattrs + entry + 16..xattrs + entry + 16 + name.len()].copy_from_slice(name);
    }
    made.bytes[xattrs + 4 + 88..xattrs + 4 + 90].copy_from_slice(b"bb");
    made.bytes[xattrs + 4 + 84..xattrs + 4 + 87].copy_from_slice(b"val");
    let acl = [1, 0, 0, 0, 1, 0, 6, 0, 2, 0, 7, 0, 0xE8, 3, 0, 0, 4, 0, 4, 0];
    made.bytes[xattrs + 4 + 64..xattrs + 4 + 84].copy_from_slice(&acl);

    let inode = made.clone().open().unwrap().inode(12).unwrap();

    let content = [&[b'a'; 60][..], b"bb"].concat();
    assert_eq!((inode.unreadable, inode.content), (None, Content::Bytes(content)));
    assert_eq!(inode.attrs.xattrs.iter().count(), 2);
    assert_eq!(inode.attrs.xattrs.get(b"user.k"), Some(&b"val"[..]));
    let told = [
        &[2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 7, 0, 0xE8, 3, 0, 0][..],
        &[4, 0, 4, 0, 255, 255, 255, 255],
    ];
    assert_eq!(inode.attrs.xattrs.get(b"system.posix_acl_access"), Some(&told.concat()[..]));

    for (place, expected) in [(70, "byte 70 lies over what ends at 84"), (40, "byte 40 lies over what ends at 60")] {
        made.bytes[xattrs + 24 + 2] = place;
        let refused = made.clone().open().unwrap().inode(12).expect_err("two values share bytes").to_string();
        assert_eq!(refused, format!("inode 12: the value of an extended attribute at {expected}"));
    }
}

#[test]
fn a_scan_tells_no_free_or_own_inodes_and_goes_on_after_a_damaged_one() {
    let mut made = Made::new();
    made.journal(0);
    for number in [9, 12, 13, 14, 15, 20] {
        made.inode(number, 0o100644, 0);
    }
    made.put16(Made::inode_at(14) + 0x1A, 0);
    let mut bytes = made.seal();
    // Number 13 is in use; of number 20 the bitmap says that it is free.
    bytes[Made::inode_at(13) + 4] ^= 1;
    bytes[Made::inode_at(20) + 4] ^= 1;

    let fs = open_bytes(bytes).unwrap();

    assert_eq!(scanned(&fs), ["2", "12", "13 inode 13: its checksum does not hold", "15"]);
    assert_eq!(fs.inode(14).unwrap_err().to_string(), "inode 14 is not in use");
    assert_eq!(fs.inode(8).unwrap_err().to_string(), "inode 8 is none that a name can point to");
}

#[test]
fn where_a_record_lies_leads_back_to_its_number() {
    let fs = Made::new().open().unwrap();
    let at = Made::inode_at(12) as u64;
    assert_eq!(fs.record_of(12), Some((at, 256)));
    let mut told = Vec::new();
    fs.numbers_in(at + 255, 2, &mut |run| told.push(run));
    // What lies in no table is no inode.
    fs.numbers_in((ROOT_BLOCK * BLOCK) as u64, BLOCK as u64, &mut |run| told.push(run));
    assert_eq!(told, [12..=13]);
    assert_eq!((fs.record_of(0), fs.record_of(1 << 33)), (None, None));
}

#[test]
fn a_name_that_cannot_be_one_is_damage_and_all_others_are_told_before() {
    let mut made = Made::new();
    let entries: [(u32, &[u8]); 6] = [(2, b"."), (2, b".."), (12, b"a/b"), (13, b"good"), (2, b".."), (12, b"too")];
    made.directory(ROOT_BLOCK, 2, &entries);
    let fs = made.open().unwrap();
    let why = "inode 2: 2 of its entries have no possible name, the first is \"a/b\"";
    assert_eq!(names(&fs, 2), (vec!["13 good".to_owned(), "12 too".to_owned()], Some(why.to_owned())));
}

#[test]
fn a_flipped_bit_in_a_directory_is_told() {
    let mut made = Made::new();
    made.directory(ROOT_BLOCK, 2, &[(2, b"."), (2, b".."), (12, b"name")]);
    let mut bytes = made.seal();
    bytes[ROOT_BLOCK * BLOCK + 32] ^= 1;
    let fs = open_bytes(bytes).unwrap();
    let why = "inode 2: the checksum of a directory block does not hold";
    assert_eq!(names(&fs, 2), (vec![], Some(why.to_owned())));
}

#[test]
fn what_is_complete_in_the_log_is_replayed_across_its_end_and_what_is_not_is_not() {
    let mut made = Made::new();
    made.journal(14);
    let root = |name: &[u8]| directory_block(2, &[(2, b"."), (2, b".."), (12, name)]);
    made.logged([14, 15], 7, ROOT_BLOCK as u32, &root(b"seventh"));
    made.committed(1, 7);
    made.logged([2, 3], 8, ROOT_BLOCK as u32, &root(b"eighth"));
    made.committed(4, 8);
    made.logged([5, 6], 9, ROOT_BLOCK as u32, &root(b"ninth"));

    let fs = made.open().unwrap();

    assert_eq!(fs.info().state, State::Replayed { blocks: 1 });
    assert_eq!(names(&fs, 2), (vec!["12 eighth".to_owned()], None));
}

#[test]
fn a_block_that_was_revoked_later_is_not_replayed_and_one_that_was_logged_again_is() {
    let mut made = Made::new();
    made.journal(1);
    made.inode(12, 0o100644, 2048);
    made.extent(12, 0, 40, 2);
    made.logged([1, 2], 7, 40, &[7; BLOCK]);
    made.committed(3, 7);
    made.logged([4, 5], 8, 41, &[8; BLOCK]);
    made.revoked(6, 8, 40);
    made.revoked(7, 8, 41);
    made.committed(8, 8);
    let magic = [&[0xC0, 0x3B, 0x39, 0x98][..], &[9; BLOCK - 4]].concat();
    made.logged([9, 10], 9, 41, &magic);
    made.committed(11, 9);

    let fs = made.open().unwrap();

    assert_eq!(fs.info().state, State::Replayed { blocks: 1 });
    // A file with data in the log comes as bytes; the log blanks the magic number, which comes back.
    let content = [&[0; BLOCK][..], &magic].concat();
    assert_eq!(fs.inode(12).unwrap().content, Content::Bytes(content));
}

#[test]
fn a_flipped_bit_within_a_complete_transaction_is_refused() {
    let mut made = Made::new();
    made.journal(1);
    made.logged([1, 2], 7, ROOT_BLOCK as u32, &directory_block(2, &[(2, b"."), (2, b"..")]));
    made.committed(3, 7);
    let mut bytes = made.seal();
    bytes[(JOURNAL_BLOCK + 2) * BLOCK + 50] ^= 1;
    let why = "journal: the checksum of block 21 in transaction 7 does not hold";
    assert_eq!(refusal(open_bytes(bytes)), why);
}

#[test]
fn inodes_in_the_log_are_told() {
    let mut made = Made::new();
    made.journal(1);
    made.inode(12, 0o100644, 0);
    let sealed = Made { bytes: made.bytes.clone() }.seal();
    let table = TABLE + 2;
    made.logged([1, 2], 7, table as u32, &sealed[table * BLOCK..(table + 1) * BLOCK]);
    made.committed(3, 7);
    assert_eq!(scanned(&made.open().unwrap()), ["2", "12"]);
}

#[test]
fn fast_commits_that_continue_the_log_are_refused_and_older_ones_are_not() {
    let made = |head: u32| {
        let mut made = Made::new();
        made.journal(1);
        let at = JOURNAL_BLOCK * BLOCK;
        // A log of 1024 blocks with 4 for fast commits; only those that are used here are there.
        made.put32(Made::inode_at(8) + 0x4, 1028 * BLOCK as u32);
        made.extent(8, 1025, 150, 1);
        made.put32_be(at + 0x10, 1028);
        made.put32_be(at + 0x28, 0x31);
        made.put32_be(at + 0x54, 4);
        made.seal_journal_superblock();
        made.logged([1, 2], 7, ROOT_BLOCK as u32, &directory_block(2, &[(2, b"."), (2, b"..")]));
        made.committed(3, 7);
        made.put16(150 * BLOCK, 9);
        made.put32(150 * BLOCK + 8, head);
        made.open()
    };
    assert_eq!(made(7).unwrap().info().state, State::Replayed { blocks: 1 });
    let why = "journal: it ends with fast commits, which are not replayed; freeze the guest, or make its backup again";
    assert_eq!(refusal(made(8)), why);
}

#[test]
fn features_that_are_not_known_are_refused_by_name() {
    let mut made = Made::new();
    made.put32(BLOCK + 0x60, 0x8000_0043);
    let why = "the file system uses what is not read: compression, FEATURE_I31 (incompatible features 0x80000001)";
    assert_eq!(refusal(made.open()), why);
    let mut made = Made::new();
    made.put32(BLOCK + 0x5C, 0x4);
    made.put32(BLOCK + 0x60, 0x46);
    let why = "journal: it is on another device, and what it holds is not in place yet";
    assert_eq!(refusal(made.open()), why);
}

#[test]
fn a_superblock_that_is_damaged_or_larger_than_its_device_is_refused() {
    let mut bytes = Made::new().seal();
    bytes[BLOCK + 0x20] ^= 1;
    assert_eq!(refusal(open_bytes(bytes)), "superblock: its checksum does not hold");
    let mut bytes = Made::new().seal();
    bytes.truncate(200 * BLOCK);
    let why = "superblock: 256 blocks of 1024 bytes do not lie on the 204800 bytes that there are";
    assert_eq!(refusal(open_bytes(bytes)), why);
}

#[test]
fn a_file_that_is_flagged_as_inline_and_is_not_has_a_hole_as_for_the_kernel() {
    let mut made = Made::new();
    made.put32(BLOCK + 0x60, 0x8042);
    made.inode(12, 0o100644, 70000);
    let at = Made::inode_at(12);
    made.put32(at + 0x20, INLINE_FLAG);
    made.bytes[at + 0x28..at + 0x64].fill(0);
    assert_eq!(made.open().unwrap().inode(12).unwrap().content, Content::Mapped(FileMap::default()));
}

#[test]
fn encrypted_files_are_told_without_their_content() {
    let mut made = Made::new();
    made.put32(BLOCK + 0x60, 0x1_0042);
    made.inode(12, 0o100644, 10);
    made.extent(12, 0, 40, 1);
    made.inode(13, 0o120777, 20);
    for number in [12, 13] {
        made.put32(Made::inode_at(number) + 0x20, EXTENTS_FLAG | 0x800);
    }
    let fs = made.open().unwrap();
    assert_eq!(fs.inode(12).unwrap().content, Content::Unreadable("it is encrypted".to_owned()));
    let link = fs.inode(13).unwrap();
    assert_eq!((link.attrs.target, link.unreadable), (vec![], Some("its target is encrypted".to_owned())));
}

#[test]
fn device_numbers_come_in_both_encodings() {
    let mut made = Made::new();
    for (number, word, value) in [(12, 0, 0x0803), (13, 1, 0x0FF_103FF)] {
        made.inode(number, 0o60660, 0);
        let at = Made::inode_at(number);
        made.put32(at + 0x20, 0);
        made.bytes[at + 0x28..at + 0x64].fill(0);
        made.put32(at + 0x28 + 4 * word, value);
    }
    let fs = made.open().unwrap();
    // 8:3, and major 0x103 with minor 0xFFFF: `makedev(3)` puts the high bits of the minor number above the major.
    assert_eq!(fs.inode(12).unwrap().attrs.rdev, 0x803);
    assert_eq!(fs.inode(13).unwrap().attrs.rdev, 0xFF1_03FF);
}
