//! On a file system of 200 clusters that is made here, byte by byte, and damaged.
//! Real ones, with the kernel beside them, are in `tests/block_fat.rs`.

use super::names;
use super::*;
use crate::model::{Extent, chain};
use std::io;

const SECTOR: usize = 512;
const TABLE: usize = SECTOR;
const ROOT_AT: usize = 3 * SECTOR;
const DATA_AT: usize = 4 * SECTOR;
const CLUSTERS: u32 = 200;
const FILE: u8 = 0x20;
const DIRECTORY: u8 = 0x10;
/// The end of a chain.
const END: u32 = 0xfff;

struct Bytes(Vec<u8>);

impl Device for Bytes {
    fn size_bytes(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let start = offset as usize;
        buffer.copy_from_slice(self.0.get(start..start + buffer.len()).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

/// The file system, while it is made: entries of 12 bits, clusters of 512 bytes, room for 16 entries at the top.
struct Made(Vec<u8>);

impl Made {
    /// With nothing in it.
    fn empty() -> Self {
        let mut made = Self(vec![0; DATA_AT + CLUSTERS as usize * SECTOR]);
        made.put(0, b"\xeb\x3c\x90mkfs.fat\x00\x02\x01\x01\x00\x02\x10\x00");
        made.put(19, &((made.0.len() / SECTOR) as u16).to_le_bytes());
        made.put(21, &[0xf8, 1, 0]);
        made.put(38, b"\x29\x78\x56\x34\x12AN OLD ONE ");
        made.slot(ROOT_AT, 5, b"\x05ADE HERE  ", 0x08, 0, 0);
        made.put(510, &[0x55, 0xaa]);
        made
    }

    /// `A` of 1,000 bytes in clusters 2 and 5, `D` in 3 and 4 with 20 files `F00` to `F19` of no bytes, `E` in 6 with `G` of 10 bytes in 7.
    fn new() -> Self {
        let mut made = Self::empty();
        made.chain(&[2, 5]);
        made.chain(&[3, 4]);
        made.chain(&[6]);
        made.chain(&[7]);
        made.put(Self::cluster(2), &[b'a'; 512]);
        made.put(Self::cluster(5), &[b'b'; 512]);
        made.slot(ROOT_AT, 0, b"A          ", FILE, 2, 1000);
        made.slot(ROOT_AT, 1, b"D          ", DIRECTORY, 3, 0);
        made.slot(ROOT_AT, 2, b"E          ", DIRECTORY, 6, 0);
        made.directory(3, 0);
        made.directory(6, 0);
        for number in 0..20 {
            let (cluster, index) = if number < 14 { (3, number + 2) } else { (4, number - 14) };
            let name = format!("F{number:02}        ");
            made.slot(Self::cluster(cluster), index, name.as_bytes().try_into().expect("11 bytes"), FILE, 0, 0);
        }
        made.slot(Self::cluster(6), 2, b"G          ", FILE, 7, 10);
        made
    }

    fn cluster(number: u32) -> usize {
        DATA_AT + (number as usize - 2) * SECTOR
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
    }

    /// Sets what follows a cluster, in both copies of the table.
    fn next(&mut self, cluster: u32, next: u32) {
        self.next_in(TABLE, cluster, next);
        self.next_in(TABLE + SECTOR, cluster, next);
    }

    fn next_in(&mut self, table: usize, cluster: u32, next: u32) {
        let at = table + cluster as usize * 3 / 2;
        let pair = u16::from_le_bytes([self.0[at], self.0[at + 1]]);
        let pair =
            if cluster.is_multiple_of(2) { pair & 0xf000 | next as u16 } else { pair & 0xf | (next as u16) << 4 };
        self.put(at, &pair.to_le_bytes());
    }

    fn chain(&mut self, clusters: &[u32]) {
        for (index, cluster) in clusters.iter().enumerate() {
            self.next(*cluster, clusters.get(index + 1).copied().unwrap_or(END));
        }
    }

    fn slot(&mut self, at: usize, index: usize, name: &[u8; 11], attributes: u8, start: u16, size: u32) {
        let mut slot = [0; 32];
        slot[..11].copy_from_slice(name);
        slot[11] = attributes;
        slot[24..26].copy_from_slice(&0x21_u16.to_le_bytes());
        slot[26..28].copy_from_slice(&start.to_le_bytes());
        slot[28..].copy_from_slice(&size.to_le_bytes());
        self.put(at + index * 32, &slot);
    }

    /// Writes the entries of a directory for itself and the one above.
    fn directory(&mut self, cluster: u16, above: u16) {
        let at = Self::cluster(cluster.into());
        self.slot(at, 0, b".          ", DIRECTORY, cluster, 0);
        self.slot(at, 1, b"..         ", DIRECTORY, above, 0);
    }

    fn open(&self) -> Fat {
        open(Arc::new(Bytes(self.0.clone()))).expect("it can be opened")
    }
}

/// Returns all paths from the top down, directories with what ends their listing, files with their extents or what is wrong.
fn walk(fs: &Fat) -> Vec<String> {
    let (mut lines, mut todo) = (Vec::new(), vec![("".to_owned(), ROOT)]);
    while let Some((path, number)) = todo.pop() {
        let inode = fs.inode(number).expect("what is listed can be looked at");
        if Kind::from_mode(inode.attrs.mode) == Some(Kind::Directory) {
            let mut below = Vec::new();
            let listed = fs.list(&inode, &mut |entry| below.push((format!("{path}/{}", entry.name), entry.inode)));
            let end = listed.map_or_else(|e| format!(": {}", chain(&e)), |()| String::new());
            lines.push(format!("{path}/ {}{end}", below.len()));
            assert!(lines.len() < 100, "it ends");
            todo.extend(below);
            continue;
        }
        let content = match inode.content {
            Content::Mapped(map) => {
                let runs =
                    map.extents.iter().map(|Extent { offset, at, length, .. }| format!("{offset}:{at}+{length}"));
                runs.collect::<Vec<_>>().join(" ")
            }
            Content::Unreadable(why) => why,
            _ => continue,
        };
        lines.push(format!("{path} {content}"));
    }
    lines.sort();
    lines
}

const SOUND: [&str; 5] = ["/ 3", "/A 0:2048+512 512:3584+512", "/D/ 20", "/E/ 1", "/E/G 0:4608+512"];

#[test]
fn what_is_sound_is_told_with_its_places() {
    let fs = Made::new().open();
    assert_eq!(walk(&fs), SOUND);
    let info = fs.info();
    assert_eq!((info.kind, &*info.uuid, &*info.label), ("vfat", "1234-5678", "σADE HERE"));
    assert_eq!((info.state, &info.features, &info.odd), (State::Clean, &vec!["FAT12".to_owned()], &None));
    let mut scanned = 0;
    fs.scan_inodes(&mut |inode| {
        scanned += usize::from(inode.is_ok());
        ControlFlow::Continue(())
    })
    .expect("it is sound");
    assert_eq!(scanned, 25);
}

#[test]
fn damage_is_told_of_what_it_is_in_and_names_beside_it_are_there() {
    type Hurt = fn(&mut Made);
    let cases: [(&str, Hurt, &[&str]); 15] = [
        ("a chain in a circle", |made| made.next(5, 2), &["/A 0:2048+512 512:3584+512"]),
        ("a chain in a circle that is needed", |made| made.next(2, 2), &["/A its cluster 2 is in more than one chain"]),
        ("a free cluster", |made| made.next(5, 0), &["/A its chain has cluster 5, which is marked as free"]),
        ("a bad one", |made| made.next(2, 0xff7), &["/A its chain has cluster 2, which is marked as bad"]),
        (
            "one that there is not",
            |made| made.next(2, 900),
            &["/A its chain leads to cluster 900, and the last is 201"],
        ),
        ("the end too early", |made| made.next(2, END), &["/A it has 1000 bytes, and clusters for 512"]),
        (
            "no cluster",
            |made| made.slot(ROOT_AT, 0, b"A          ", FILE, 0, 1000),
            &["/A its chain leads to cluster 0, and the last is 201"],
        ),
        (
            "a file in another",
            |made| made.next(2, 7),
            &["/A its cluster 7 is in more than one chain", "/E/G its cluster 7 is in more than one chain"],
        ),
        (
            "a file in a directory",
            |made| made.next(2, 4),
            &["/A its cluster 4 is in more than one chain", "/D/ 20: its cluster 4 is in more than one chain"],
        ),
        (
            "a directory that ends too early",
            |made| made.next(3, 0),
            &["/D/ 0: its chain has cluster 3, which is marked as free"],
        ),
        (
            "a directory whose second cluster is bad",
            |made| made.next(4, 0xff7),
            &["/D/ 14: its chain has cluster 4, which is marked as bad"],
        ),
        (
            "a directory that goes on in another",
            |made| made.next(6, 4),
            &["/D/ 14: its cluster 4 is in more than one chain", "/E/ 1: its cluster 4 is in more than one chain"],
        ),
        (
            "a directory below itself",
            |made| made.slot(Made::cluster(6), 3, b"LOOP       ", DIRECTORY, 6, 0),
            &[
                "/E/ 2",
                "/E/LOOP/ 0: at cluster 6, where it should begin, there is a directory that says that it begins at 6 and lies in the one at 0, \
             and not at 6",
            ],
        ),
        (
            "a directory that is a file",
            |made| made.slot(ROOT_AT, 2, b"E          ", DIRECTORY, 2, 0),
            &["/E/ 0: there is no directory at cluster 2, where it should begin"],
        ),
        ("one name twice", |made| made.slot(ROOT_AT, 3, b"A          ", FILE, 7, 3), &["/ 3: \"A\" is there twice"]),
    ];
    for (what, hurt, expected) in cases {
        let mut made = Made::new();
        hurt(&mut made);
        let told = walk(&made.open());
        for line in expected {
            assert!(told.iter().any(|told| told == line), "{what}: {told:#?}");
        }
        // Everything else is as it was, but for what is below a directory that is hurt.
        let path = |line: &str| line.split(' ').next().expect("a line begins with a path").to_owned();
        let hurt: Vec<String> = expected.iter().map(|line| path(line)).collect();
        let is_below = |line: &str| hurt.iter().any(|hurt| hurt.len() > 1 && path(line).starts_with(hurt));
        for line in SOUND.iter().filter(|line| path(line) != "/" && !is_below(line)) {
            assert!(told.iter().any(|told| told == line), "{what}: {line}: {told:#?}");
        }
    }
}

#[test]
fn a_chain_of_more_than_its_size_needs_is_no_damage() {
    let mut made = Made::new();
    made.chain(&[7, 8, 9]);
    assert_eq!(walk(&made.open()), SOUND);
}

#[test]
fn copies_of_the_table_that_are_not_the_same_are_said_and_the_first_is_read() {
    let mut made = Made::new();
    made.next_in(TABLE + SECTOR, 2, 7);
    let fs = made.open();
    let odd = "the two copies of its table are not the same; the first is read, as the kernel does";
    assert_eq!(fs.info().odd.as_deref(), Some(odd));
    assert_eq!(walk(&fs), SOUND);
    made.0[37] = 1;
    assert_eq!(made.open().info().state, State::InUse);
}

#[test]
fn a_boot_sector_that_contradicts_itself_is_refused() {
    for (at, bytes, expected) in [
        (17, &[7, 0][..], "boot sector: 7 entries in the top directory"),
        (19, &[3, 0], "boot sector: 3 sectors, and clusters begin at byte 2048"),
        (13, &[3], "boot sector: it is none of a FAT file system"),
        (21, &[0xf1], "boot sector: it is none of a FAT file system"),
    ] {
        let mut made = Made::new();
        made.put(at, bytes);
        let refused = open(Arc::new(Bytes(made.0))).err().map(|e| e.to_string());
        assert_eq!(refused.as_deref(), Some(expected), "{at}");
    }
}

#[test]
fn names_are_those_of_the_code_page_and_halves_of_characters_are_left_out() {
    assert_eq!(names::short(b"ABC     TXT", 0), b"ABC.TXT");
    assert_eq!(names::short(b"ABC     TXT", 0x08), b"abc.TXT");
    assert_eq!(names::short(b"\x05\x8e      \x99  ", 0x18), "σä.ö".as_bytes());
    assert_eq!(names::short(b"           ", 0), b"");
    assert_eq!(names::short(b"A B\0 C  D  ", 0), b"A B.D");
    assert_eq!(names::long(&[0x61, 0xd83d, 0xde00, 0xde00, 0xd83d, 0x62, 0, 0x63]), "a😀b".as_bytes());
}
