//! Disks with tables that are put together here, and those of real tools from `tests/data/block`.
//! What is odd about a table has to be told by its text.

use super::*;
use std::io;

const MIB: u64 = 1 << 20;

/// Bytes with zeros behind them.
struct Disk {
    bytes: Vec<u8>,
    size_bytes: u64,
}

impl Device for Disk {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        if offset + buffer.len() as u64 > self.size_bytes {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        for (byte, at) in buffer.iter_mut().zip(offset as usize..) {
            *byte = self.bytes.get(at).copied().unwrap_or(0);
        }
        Ok(())
    }
}

fn look(bytes: Vec<u8>, size_bytes: u64) -> Volumes {
    let device: Arc<dyn Device> = Arc::new(Disk { bytes, size_bytes });
    find(&device).unwrap()
}

/// Name, label, and the first byte and length of each piece.
#[expect(clippy::type_complexity)]
fn told(found: &Volumes) -> Vec<(&str, &str, Vec<(u64, u64)>)> {
    let pieces = |volume: &Volume| volume.pieces.iter().map(|piece| (piece.at, piece.length)).collect();
    found.volumes.iter().map(|volume| (volume.name.as_str(), volume.label.as_str(), pieces(volume))).collect()
}

fn names(found: &Volumes) -> Vec<&str> {
    found.volumes.iter().map(|volume| volume.name.as_str()).collect()
}

fn notes(found: &Volumes) -> Vec<String> {
    let members = found.members.iter().map(|(volume, what)| format!("{}: {what}", volume.name));
    members.chain(found.notes.iter().map(|(place, text)| format!("{place}: {text}"))).collect()
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

const LINUX: [u8; 16] =
    [0xaf, 0x3d, 0xc6, 0x0f, 0x83, 0x84, 0x72, 0x47, 0x8e, 0x79, 0x3d, 0x69, 0xd8, 0x47, 0x7d, 0xe4];
const UNKNOWN: [u8; 16] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16];

/// A disk of 100 sectors with a primary and a backup table: (type, first sector, last sector, name), by index.
fn gpt_disk(sector: usize, partitions: &[([u8; 16], u64, u64, &str)]) -> Vec<u8> {
    let mut disk = vec![0; 100 * sector];
    let mut entries = vec![0; 128 * 16];
    for (index, (kind, first, last, name)) in partitions.iter().enumerate() {
        let entry = &mut entries[128 * index..128 * (index + 1)];
        put(entry, 0, kind);
        put(entry, 32, &first.to_le_bytes());
        put(entry, 40, &last.to_le_bytes());
        let units: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
        put(entry, 56, &units);
    }
    for (lba, entries_lba) in [(1_u64, 2_u64), (99, 90)] {
        let mut header = vec![0; 92];
        put(&mut header, 0, b"EFI PART");
        put(&mut header, 12, &92_u32.to_le_bytes());
        put(&mut header, 24, &lba.to_le_bytes());
        put(&mut header, 72, &entries_lba.to_le_bytes());
        put(&mut header, 80, &16_u32.to_le_bytes());
        put(&mut header, 84, &128_u32.to_le_bytes());
        put(&mut header, 88, &crc32fast::hash(&entries).to_le_bytes());
        let crc = crc32fast::hash(&header);
        put(&mut header, 16, &crc.to_le_bytes());
        put(&mut disk, lba as usize * sector, &header);
        put(&mut disk, entries_lba as usize * sector, &entries);
    }
    disk
}

/// Puts a slot of a partition table into the sector at `at` and marks that as a table: (status, type, first, count).
fn slot(disk: &mut [u8], at: usize, index: usize, (status, kind, first, count): (u8, u8, u32, u32)) {
    let place = at + 446 + 16 * index;
    disk[place] = status;
    disk[place + 4] = kind;
    put(disk, place + 8, &first.to_le_bytes());
    put(disk, place + 12, &count.to_le_bytes());
    put(disk, at + 510, &[0x55, 0xaa]);
}

#[test]
fn a_disk_without_a_table_is_one_volume() {
    let found = look(vec![], 5000);
    assert_eq!(told(&found), [("fs", "", vec![(0, 5000)])]);
    assert_eq!(told(&look(vec![], 0)), [("fs", "", vec![(0, 0)])]);
}

#[test]
fn partitions_of_a_gpt_have_the_number_of_their_slot_and_the_name_of_their_type() {
    for sector in [512_u64, 4096] {
        let partitions = [(LINUX, 10, 19, "Würzel"), ([0; 16], 0, 0, ""), (UNKNOWN, 20, 20, "")];
        let found = look(gpt_disk(sector as usize, &partitions), 100 * sector);
        let expected = [
            ("p1", "Linux filesystem \"Würzel\"", vec![(10 * sector, 10 * sector)]),
            ("p3", "04030201-0605-0807-090a-0b0c0d0e0f10", vec![(20 * sector, sector)]),
        ];
        assert_eq!(told(&found), expected);
        assert_eq!(notes(&found), Vec::<String>::new());
    }
}

#[test]
fn a_damaged_primary_table_is_replaced_by_the_backup_and_that_is_told() {
    let whole = gpt_disk(512, &[(LINUX, 10, 19, "a")]);
    let mut header = whole.clone();
    header[512 + 60] ^= 1;
    let mut entries = whole;
    entries[1024 + 40] ^= 1;
    let because = [
        (header, "primary GPT header at byte 512 does not have the checksum that it says"),
        (entries, "the entries of the primary GPT header at byte 512 do not have the checksum that it says"),
    ];
    for (disk, text) in because {
        let found = look(disk, 51_200);
        assert_eq!(told(&found), [("p1", "Linux filesystem \"a\"", vec![(5120, 5120)])]);
        let backup = "gpt: the primary table is not usable, the backup at the end of the disk was taken";
        assert_eq!(notes(&found), [format!("gpt: {text}"), backup.to_owned()]);
    }
}

#[test]
fn a_file_system_made_over_a_gpt_is_not_hidden_by_the_backup_that_stayed() {
    let mut disk = gpt_disk(512, &[(LINUX, 10, 19, "a")]);
    disk[..4096].fill(0);
    put(&mut disk, 1024 + 56, &[0x53, 0xef]);
    let found = look(disk, 51_200);
    assert_eq!(told(&found), [("fs", "", vec![(0, 51_200)])]);
}

#[test]
fn a_protective_mbr_without_a_table_is_told_and_the_disk_is_not_taken_for_a_file_system() {
    let mut disk = vec![0; 512];
    slot(&mut disk, 0, 0, (0, 0xee, 1, 99));
    let found = look(disk, 51_200);
    assert_eq!(told(&found), []);
    assert_eq!(notes(&found), ["gpt: a protective MBR announces a table, and there is none that can be read"]);
}

#[test]
fn a_partition_that_does_not_lie_on_the_disk_is_a_note() {
    let partitions = [(LINUX, 10, 100, ""), (LINUX, 20, 19, ""), (LINUX, 1, u64::MAX, ""), (LINUX, 99, 99, "")];
    let found = look(gpt_disk(512, &partitions), 51_200);
    assert_eq!(names(&found), ["p4"]);
    let text = "of 512 bytes do not lie on the disk of 51200 bytes; not read";
    let expected = [
        format!("p1: sectors 10 to 100 {text}"),
        format!("p2: sectors 20 to 19 {text}"),
        format!("p3: sectors 1 to 18446744073709551615 {text}"),
    ];
    assert_eq!(notes(&found), expected);
}

#[test]
fn partitions_that_overlap_are_told() {
    let found = look(gpt_disk(512, &[(LINUX, 30, 39, ""), (LINUX, 10, 31, ""), (LINUX, 12, 13, "")]), 51_200);
    assert_eq!(names(&found), ["p1", "p2", "p3"]);
    assert_eq!(notes(&found), ["p3: overlaps p2 by 1024 bytes", "p1: overlaps p2 by 1024 bytes"]);
}

#[test]
fn logical_partitions_are_numbered_from_5_along_their_chain() {
    let mut disk = vec![0; 60 * 512];
    slot(&mut disk, 0, 0, (0x80, 0x83, 2, 10));
    slot(&mut disk, 0, 2, (0, 0x05, 20, 40));
    slot(&mut disk, 20 * 512, 0, (0, 0x82, 1, 4));
    slot(&mut disk, 20 * 512, 1, (0, 0x05, 20, 10));
    slot(&mut disk, 40 * 512, 0, (0, 0x99, 1, 5));
    let found = look(disk, 60 * 512);
    let expected = [
        ("p1", "Linux", vec![(1024, 5120)]),
        ("p5", "Linux swap / Solaris", vec![(21 * 512, 2048)]),
        ("p6", "type 99", vec![(41 * 512, 2560)]),
    ];
    assert_eq!(told(&found), expected);
}

#[test]
fn a_chain_of_logical_partitions_that_goes_round_is_cut() {
    let mut disk = vec![0; 60 * 512];
    slot(&mut disk, 0, 0, (0, 0x83, 2, 10));
    slot(&mut disk, 0, 1, (0, 0x0f, 20, 40));
    slot(&mut disk, 20 * 512, 1, (0, 0x05, 20, 10));
    slot(&mut disk, 40 * 512, 1, (0, 0x05, 0, 10));
    slot(&mut disk, 20 * 512, 0, (0, 0x83, 0, 0));
    let found = look(disk, 60 * 512);
    assert_eq!(names(&found), ["p1"]);
    assert_eq!(notes(&found), ["mbr: the chain of logical partitions leads back to byte 10240"]);
}

#[test]
fn the_boot_sector_of_a_file_system_is_not_a_partition_table() {
    let mut fat = vec![0; 512];
    put(&mut fat, 0, &[0xeb, 0x3c, 0x90]);
    put(&mut fat, 11, &[0, 2, 4, 1, 0, 2]);
    put(&mut fat, 21, &[0xf8, 20, 0]);
    slot(&mut fat, 0, 0, (0, 0x83, 2, 10));
    let mut ntfs = vec![0; 512];
    put(&mut ntfs, 3, b"NTFS    ");
    slot(&mut ntfs, 0, 0, (0, 0x83, 2, 10));
    let mut code = vec![0; 512];
    slot(&mut code, 0, 0, (0x72, 0x83, 2, 10));
    let mut empty = vec![0; 512];
    put(&mut empty, 510, &[0x55, 0xaa]);
    let mut beyond = vec![0; 512];
    slot(&mut beyond, 0, 0, (0, 0x83, 2, 4_000_000_000));
    for sector in [fat, ntfs, code, empty, beyond] {
        assert_eq!(names(&look(sector, 51_200)), ["fs"]);
    }
}

fn unpack(packed: &[u8]) -> Vec<u8> {
    zstd::decode_all(packed).unwrap()
}

fn wrapped() -> Vec<u8> {
    unpack(include_bytes!("../../../../tests/data/block/lvm-wrapped.zst"))
}

#[test]
fn logical_volumes_are_found_where_lvs_says_though_their_text_wraps() {
    let found = look(wrapped(), 64 * MIB);
    let extra = |name, extent: u64| (name, "LVM linear", vec![((1 + extent) * MIB, MIB)]);
    let expected = [
        extra("lvm/vg0/extra1", 18),
        extra("lvm/vg0/extra2", 19),
        extra("lvm/vg0/extra3", 20),
        extra("lvm/vg0/extra4", 21),
        extra("lvm/vg0/extra5", 22),
        extra("lvm/vg0/extra6", 23),
        ("lvm/vg0/my-home_1.x", "LVM linear", vec![(9 * MIB, 4 * MIB)]),
        ("lvm/vg0/root", "LVM linear", vec![(MIB, 8 * MIB), (13 * MIB, 6 * MIB)]),
    ];
    assert_eq!(told(&found), expected);
    assert_eq!(notes(&found), ["fs: is an LVM physical volume of group \"vg0\""]);
}

#[test]
fn of_a_group_over_two_disks_only_what_lies_wholly_on_this_one_is_listed() {
    let found = look(unpack(include_bytes!("../../../../tests/data/block/lvm-two-1.zst")), 32 * MIB);
    assert_eq!(told(&found), [("lvm/two/here", "LVM linear", vec![(MIB, 5 * MIB)])]);
    let expected = [
        "fs: is an LVM physical volume of group \"two\"",
        "lvm/two: 1 of its 2 physical volumes are not on this disk",
        "lvm/two/both: segment2: lies on pv1, which is not on this disk",
        "lvm/two/stripes: segment1: has 2 stripes; only linear ones are read",
        "lvm/two/there: segment1: lies on pv1, which is not on this disk",
    ];
    assert_eq!(notes(&found), expected);
}

#[test]
fn a_group_over_two_partitions_of_one_disk_is_read() {
    let mut disk = vec![0; 65 * MIB as usize];
    slot(&mut disk, 0, 0, (0, 0x8e, 2048, 65_536));
    slot(&mut disk, 0, 1, (0, 0x8e, 67_584, 65_536));
    put(&mut disk, MIB as usize, &unpack(include_bytes!("../../../../tests/data/block/lvm-two-1.zst")));
    put(&mut disk, 33 * MIB as usize, &unpack(include_bytes!("../../../../tests/data/block/lvm-two-2.zst")));
    let found = look(disk, 65 * MIB);
    let expected = [
        ("lvm/two/both", "LVM linear", vec![(7 * MIB, 5 * MIB), (39 * MIB, 3 * MIB)]),
        ("lvm/two/here", "LVM linear", vec![(2 * MIB, 5 * MIB)]),
        ("lvm/two/there", "LVM linear", vec![(34 * MIB, 5 * MIB)]),
    ];
    assert_eq!(told(&found), expected);
    assert_eq!(found.volumes[0].pieces[1].offset, 5 * MIB);
}

#[test]
fn of_two_physical_volumes_with_one_id_neither_is_read() {
    let copy = unpack(include_bytes!("../../../../tests/data/block/lvm-wrapped.zst"));
    let mut disk = vec![0; 130 * MIB as usize];
    slot(&mut disk, 0, 0, (0, 0x8e, 2048, 131_072));
    slot(&mut disk, 0, 1, (0, 0x8e, 133_120, 131_072));
    put(&mut disk, MIB as usize, &copy);
    put(&mut disk, 65 * MIB as usize, &copy);
    let found = look(disk, 130 * MIB);
    assert_eq!(told(&found), []);
    let id = "SgcgMZjm8n1RyErysrgqqwiT1UbFIAsC";
    assert_eq!(notes(&found)[2], format!("p2: has the id {id} of another physical volume here; neither is read"));
    assert_eq!(notes(&found)[3], "lvm/vg0: 1 of its 1 physical volumes are not on this disk");
}

/// The label, area header and `text` of a physical volume of 8 extents of 4 KiB from byte 8192 on.
fn physical_volume(text: impl AsRef<[u8]>) -> Vec<u8> {
    let text = text.as_ref();
    let mut disk = vec![0; 16_384];
    put(&mut disk, 512, b"LABELONE\x01");
    put(&mut disk, 512 + 20, &[32]);
    put(&mut disk, 512 + 24, b"LVM2 001");
    put(&mut disk, 544, b"abcdefabcdabcdabcdabcdabcdabcdef");
    put(&mut disk, 544 + 40, &8192_u64.to_le_bytes());
    put(&mut disk, 544 + 72, &1024_u64.to_le_bytes());
    put(&mut disk, 544 + 80, &7168_u64.to_le_bytes());
    let crc = lvm::crc(&disk[532..1024]);
    put(&mut disk, 528, &crc.to_le_bytes());
    put(&mut disk, 1024 + 4, b" LVM2 x[5A%r0N*>\x01");
    put(&mut disk, 1024 + 24, &1024_u64.to_le_bytes());
    put(&mut disk, 1024 + 32, &7168_u64.to_le_bytes());
    put(&mut disk, 1024 + 40, &512_u64.to_le_bytes());
    put(&mut disk, 1024 + 48, &(text.len() as u64).to_le_bytes());
    put(&mut disk, 1024 + 56, &lvm::crc(text).to_le_bytes());
    let crc = lvm::crc(&disk[1028..1536]);
    put(&mut disk, 1024, &crc.to_le_bytes());
    put(&mut disk, 1536, text);
    disk
}

fn group(volumes: &str) -> String {
    format!(
        "# a comment\nvg {{ id = \"1\" seqno = 7 extent_size = 8\n physical_volumes {{ pv0 {{ \
         id = \"abcdef-abcd-abcd-abcd-abcd-abcd-abcdef\" pe_start = 16 pe_count = 8 }} }}\n \
         logical_volumes {{ {volumes} }} }}\n"
    )
}

fn linear(name: &str, first: u32, count: u32) -> String {
    format!(
        "{name} {{ status = [\"READ\", \"VISIBLE\"] segment1 {{ start_extent = 0 extent_count = {count} \
         type = \"striped\" stripe_count = 1 stripes = [ \"pv0\", {first} ] }} }} "
    )
}

#[test]
fn logical_volumes_that_are_not_linear_are_named_with_their_type() {
    let other = |name: &str, body: &str| format!("{name} {{ status = [\"VISIBLE\"] segment1 {{ {body} }} }} ");
    let volumes = [
        linear("plain", 0, 2),
        other("thin", "type = \"thin\" start_extent = 0 extent_count = 1"),
        other("mirrored", "type = \"raid1\""),
        other("moving", "type = \"striped\" stripe_count = 1 stripes = [\"pvmove0\", 0]"),
        linear("snap", 2, 1),
        "snapshot0 { status = [\"READ\"] segment1 { type = \"snapshot\" origin = \"plain\" cow_store = \"snap\" } } "
            .to_owned(),
        linear("outside", 7, 2),
        linear("\"a/b\"", 3, 1),
        linear("\"..\"", 3, 1),
        other("gap", "type = \"striped\" stripe_count = 1 stripes = [\"pv0\", 4] start_extent = 1 extent_count = 1"),
    ];
    let found = look(physical_volume(group(&volumes.concat())), 40_960);
    assert_eq!(told(&found), [("lvm/vg/plain", "LVM linear", vec![(8192, 8192)])]);
    let expected = [
        "fs: is an LVM physical volume of group \"vg\"",
        "lvm/vg/..: is a name that no directory can have; not read",
        "lvm/vg/a/b: is a name that no directory can have; not read",
        "lvm/vg/gap: has a segment at byte 4096 where byte 0 should follow",
        "lvm/vg/mirrored: segment1: is of type raid1; only linear ones are read",
        "lvm/vg/moving: segment1: lies on \"pvmove0\", which is not a physical volume",
        "lvm/vg/outside: segment1: 2 extents from 7 on are not on its physical volume",
        "lvm/vg/snap: is a snapshot of \"plain\"; not read",
        "lvm/vg/thin: segment1: is of type thin; only linear ones are read",
    ];
    assert_eq!(notes(&found), expected);
}

#[test]
fn an_origin_that_takes_back_its_snapshot_is_not_read() {
    let hidden = "snapshot0 { segment1 { type = \"snapshot\" origin = \"plain\" merging_store = \"snap\" } } ";
    let text = group(&(linear("plain", 0, 2) + &linear("snap", 2, 1) + hidden));
    let found = look(physical_volume(&text), 40_960);
    assert_eq!(told(&found), []);
    assert_eq!(notes(&found)[1], "lvm/vg/plain: is taking back its snapshot \"snap\"; not read");
}

#[test]
fn texts_that_nest_too_deep_or_break_off_are_told() {
    let deep = "a { ".repeat(3000);
    let open = "vg { id = \"unfinished";
    for (text, at) in [(deep.get(..6000).unwrap(), "byte 34 "), (open, "byte 22 ")] {
        let found = look(physical_volume(text), 40_960);
        assert_eq!(names(&found), Vec::<&str>::new());
        assert!(found.notes[0].1.starts_with(at), "{:?}", found.notes);
    }
}

#[test]
fn texts_with_other_bytes_never_give_volumes_that_are_not_on_their_physical_volume() {
    let whole = group(&(linear("one", 0, 2) + &linear("two", 2, 4) + &linear("three", 6, 2)));
    let others = b"0179 {}[]\",#=-.\\\0va\xff\n";
    for step in 0..20_000_usize {
        let mut text = whole.clone().into_bytes();
        for turn in 1..4 {
            let at = step.wrapping_mul(2_654_435_761).wrapping_add(turn * step / 7) % text.len();
            text[at] = others[(step / 3 + turn) % others.len()];
        }
        for volume in look(physical_volume(&text), 40_960).volumes {
            let is_inside = |piece: &Piece| piece.at + piece.length <= 40_960;
            assert!(volume.pieces.iter().all(is_inside), "{volume:?}");
        }
    }
}

#[test]
fn flipped_bits_of_an_lvm_header_never_give_other_volumes() {
    let whole = wrapped();
    let good = look(whole.clone(), 64 * MIB).volumes;
    for at in (512..1024).chain(4096..4608) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        let found = look(bytes, 64 * MIB);
        let wrong = found.volumes.iter().filter(|volume| volume.name != "fs" && !good.contains(volume)).count();
        assert_eq!(wrong, 0, "byte {at}");
    }
}

#[test]
fn volumes_are_named_by_what_they_hold() {
    let with = |at: usize, magic: &[u8]| {
        let mut bytes = vec![0; at + magic.len()];
        put(&mut bytes, at, magic);
        identify(&Disk { bytes, size_bytes: 4 * MIB })
    };
    assert_eq!(with(0, b""), None);
    assert_eq!(with(0, b"XFSB"), Some("xfs"));
    assert_eq!(with(0, b"LUKS\xba\xbe"), Some("crypto_LUKS"));
    assert_eq!(with(4086, b"SWAPSPACE2"), Some("swap"));
    assert_eq!(with(0x10040, b"_BHRfS_M"), Some("btrfs"));
    assert_eq!(with(65526, b"SWAP-SPACE"), Some("swap"));
    assert_eq!(with(8182, b"S1SUSPEND"), Some("swsuspend"));
    assert_eq!(with(0x410, &[0x7f, 0x13]), Some("minix"));
    assert_eq!(with(0x8001, b"CD001"), Some("iso9660"));
    let mut both = b"CD001".to_vec();
    both.resize(2048, 0);
    both.extend(b"NSR02");
    assert_eq!(with(0x8001, &both), Some("udf"));
    assert_eq!(with(0x20000, &0x00ba_b10c_u64.to_le_bytes()), Some("zfs_member"));
    assert_eq!(with(4 * MIB as usize - 0x10000, &[0xfc, 0x4e, 0x2b, 0xa9]), Some("linux_raid_member"));
    assert_eq!(with(1024 + 56, &[0x53, 0xef]), Some("ext2"));
    let mut journal = vec![0x53, 0xef];
    journal.resize(36, 0);
    journal.push(4);
    assert_eq!(with(1024 + 56, &journal), Some("ext3"));
    journal.resize(40, 0);
    journal.push(0x40);
    assert_eq!(with(1024 + 56, &journal), Some("ext4"));
}

#[test]
fn a_volume_of_several_pieces_reads_across_them() {
    let device = Arc::new(Disk { bytes: (0..=99).collect(), size_bytes: 100 });
    let pieces = vec![Piece { offset: 0, at: 50, length: 3 }, Piece { offset: 3, at: 10, length: 5 }];
    let volume = VolumeDevice { device, volume: Volume { name: "fs".to_owned(), label: String::new(), pieces } };
    let mut buffer = [0; 5];
    volume.read_at(&mut buffer, 1).unwrap();
    assert_eq!(buffer, [51, 52, 10, 11, 12]);
    assert_eq!(volume.read_at(&mut buffer, 4).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
}
