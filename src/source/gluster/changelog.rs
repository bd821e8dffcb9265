//! One changelog of a brick: a header line, then the records of a slice of time.
//!
//! Promises: every byte is understood or the slice is refused with the place and what was found there; nothing is
//! skipped. Names are raw bytes and are told only if they can be names. Memory is that of the slice.
//! Never judges a record: what was done, by whom and in what order is told as it is written, and
//! only the present state of the brick says what it means.
//!
//! # The format
//!
//! ```text
//!  GlusterFS Changelog | version: v1.2 | encoding : 2\n                          '|' below: a zero byte
//!  D gfid |                                                data
//!  M gfid | fop |                                          attributes or extended attributes
//!  E gfid | 23,3,4 | mode | uid | gid | parent/name |      create, mknod, mkdir
//!  E gfid | 9,7 | parent/name |                            link, symlink
//!  E gfid | 8 | parent/name | parent/name |                rename, from and to
//!  E gfid | 5,6 | parent/name | path |                     unlink, rmdir; without a path three zero bytes follow
//!                                                          the name; v1.1 has no path field
//! ```
//!
//! In encoding 2 (ascii, the default) gfids are UUIDs as text and numbers are decimal; in encoding 1 (binary) gfids
//! are 16 raw bytes and numbers are 4 bytes in the byte order of the brick's machine, all else is the same.
//! A zero byte after a binary value is still written, so a value's length tells where it ends, never its bytes.
//!
//! Source: `changelog-encoders.c`, `changelog-misc.h`, `changelog.c` and `gf-changelog-journal-handler.c`
//! of the GlusterFS sources, tags v3.6.0 (v1.1) to v10.3; encoding 1 was read there and not seen on a real brick.
//! `libgfchangelog` expects line ends in encoding 1, which the encoder has not written since v1.1.

use super::Gfid;
use crate::model::{EntryName, escape_bytes};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// A slice larger than this is refused: slices of a busy brick are megabytes (about 90 bytes a record).
const SLICE_BYTES_MAX: u64 = 1 << 30;

/// The text that every header begins with. No record begins with a `G`, so it is known wherever it stands.
const HEADER: &[u8] = b"GlusterFS Changelog | version: v";

/// Numbers below this name an operation (`GF_FOP_MAXVALUE`, `glusterfs-fops.h`).
const FOP_END: u32 = 59;

/// Something that happened to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'b> {
    /// The node.
    pub gfid: Gfid,
    /// What happened.
    pub what: What<'b>,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What<'b> {
    /// Bytes were written or cut off. At most one such record per node and slice.
    Data,
    /// Attributes or extended attributes changed. At most one such record of each per node and slice.
    Metadata {
        /// The operation of the request, 1 to 58 (`glusterfs_fop_t`): mostly 38 or 39 (`setattr`), 17 or 36
        /// (`setxattr`), 19 or 45 (`removexattr`), 33 or 34 (`xattrop`).
        fop: u32,
    },
    /// A file, special file or directory was made.
    Create {
        /// By which operation.
        kind: CreateKind,
        /// `st_mode` as it was asked for, before umask and inheritance: not what the node has.
        mode: u32,
        /// Who asked, not the owner.
        uid: u32,
        /// The group that asked.
        gid: u32,
        /// Its name.
        at: Spot<'b>,
    },
    /// A node got one more name.
    Link {
        /// The new name.
        at: Spot<'b>,
    },
    /// A symbolic link was made; its target is not told.
    Symlink {
        /// Its name.
        at: Spot<'b>,
    },
    /// A name moved. What had the new name before lost it, and no record tells of that.
    Rename {
        /// The name before.
        from: Spot<'b>,
        /// The name after.
        to: Spot<'b>,
    },
    /// A name of a node that is no directory was removed; it may have others.
    Unlink {
        /// The name.
        at: Spot<'b>,
        /// The path below the volume's root, where `changelog.capture-del-path` is on.
        path: Option<&'b [u8]>,
    },
    /// A directory was removed.
    Rmdir {
        /// Its name.
        at: Spot<'b>,
        /// The path below the volume's root, where `changelog.capture-del-path` is on.
        path: Option<&'b [u8]>,
    },
}

/// How a node was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CreateKind {
    /// `open` with `O_CREAT`.
    Create,
    /// `mknod`; self-heal makes ordinary files so too.
    Mknod,
    /// `mkdir`.
    Mkdir,
}

/// A name in a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Spot<'b> {
    /// The directory.
    pub parent: Gfid,
    /// The name: any bytes that [`EntryName`] permits.
    pub name: &'b [u8],
}

/// What a slice held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parsed {
    /// Whole records.
    pub records: u64,
    /// Bytes at the end that are the beginning of a record; only in an open slice.
    pub torn_bytes: u64,
}

/// Why bytes are no changelog.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// They end too early: the brick's machine went down, or the file was cut.
    #[error("ends {length} bytes into the header or record that begins at byte {begins}")]
    Ends {
        /// Where that begins.
        begins: u64,
        /// How many bytes of it there are.
        length: u64,
    },
    /// They are not what can stand there.
    #[error("found \"{found}\" at byte {at}, in the record that begins at byte {begins}, expected {expected}")]
    Found {
        /// Where.
        at: u64,
        /// Where the record begins.
        begins: u64,
        /// The bytes, escaped, as far as they help.
        found: String,
        /// What can stand there.
        expected: &'static str,
    },
}

/// Why a slice cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The disk, or the slice vanished.
    #[error("cannot read the changelog {path:?}")]
    Read {
        /// The slice.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It is not one.
    #[error("cannot understand the changelog {path:?}")]
    Broken {
        /// The slice.
        path: PathBuf,
        /// Why not.
        #[source]
        source: Broken,
    },
    /// Nobody has ever seen a slice like that.
    #[error("the changelog {path:?} is larger than {SLICE_BYTES_MAX} bytes, the most that is read")]
    TooLarge {
        /// The slice.
        path: PathBuf,
    },
}

/// Calls `each` for every record of the closed slice `path`, in the order of the file.
///
/// **Cost:** one open and the bytes of the file, in memory while it runs.
///
/// # Errors
/// [`Error`]; records before the broken place have been told by then.
pub fn read(path: &Path, each: &mut dyn FnMut(Record<'_>)) -> Result<Parsed, Error> {
    let file = File::open(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    read_from(&file, path, false, each)
}

/// Does the same with the slice that is still written: open as `file`, named `path`. It may end inside a record.
///
/// All that it tells must be looked at again when the slice is closed: a node that was told once in a slice may change
/// again without another record.
///
/// # Errors
/// [`Error`], but not for an end inside a record.
pub fn read_open(file: &File, path: &Path, each: &mut dyn FnMut(Record<'_>)) -> Result<Parsed, Error> {
    read_from(file, path, true, each)
}

fn read_from(file: &File, path: &Path, open: bool, each: &mut dyn FnMut(Record<'_>)) -> Result<Parsed, Error> {
    let mut bytes = Vec::new();
    let length = file
        .take(SLICE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|source| Error::Read { path: path.to_owned(), source })?;
    if length as u64 > SLICE_BYTES_MAX {
        return Err(Error::TooLarge { path: path.to_owned() });
    }
    parse(&bytes, open, each).map_err(|source| Error::Broken { path: path.to_owned(), source })
}

/// Calls `each` for every record in `bytes`, the whole of a changelog, in order. Pure.
///
/// A slice that is `open` may end inside a record or its header: what is there of it is counted and not told.
///
/// # Errors
/// [`Broken`]; records before that place have been told by then.
pub fn parse<'b>(bytes: &'b [u8], open: bool, each: &mut dyn FnMut(Record<'b>)) -> Result<Parsed, Broken> {
    let mut reader = Reader { bytes, at: 0, begins: 0 };
    let mut parsed = Parsed::default();
    match reader.read_records(&mut parsed, each) {
        Err(Broken::Ends { length, .. }) if open => Ok(Parsed { torn_bytes: length, ..parsed }),
        Err(broken) => Err(broken),
        Ok(()) => Ok(parsed),
    }
}

/// What a header says of the records after it.
#[derive(Clone, Copy)]
struct Form {
    binary: bool,
    delete_has_path: bool,
}

/// Reads forward; every step takes what it expects or says what is there.
struct Reader<'b> {
    bytes: &'b [u8],
    at: usize,
    begins: usize,
}

impl<'b> Reader<'b> {
    fn read_records(&mut self, parsed: &mut Parsed, each: &mut dyn FnMut(Record<'b>)) -> Result<(), Broken> {
        let mut form = self.header()?;
        while self.at < self.bytes.len() {
            self.begins = self.at;
            if self.bytes[self.at] == HEADER[0] {
                form = self.header()?;
                continue;
            }
            let record = self.record(form)?;
            parsed.records += 1;
            each(record);
        }
        Ok(())
    }

    fn header(&mut self) -> Result<Form, Broken> {
        const EXPECTED: &str = "\"GlusterFS Changelog | version: v1.1 or v1.2 | encoding : 1 or 2\" and a line end";
        const LENGTH: usize = HEADER.len() + b"1.2 | encoding : 2\n".len();
        let line = &self.bytes[self.at..self.bytes.len().min(self.at + LENGTH)];
        let shared = line.iter().zip(HEADER).take_while(|(one, other)| one == other).count();
        if shared < HEADER.len() {
            // What has begun right and is cut off is torn; what is something else is not.
            return Err(if shared == line.len() { self.ends() } else { self.found(self.at, EXPECTED) });
        }
        if line.len() < LENGTH {
            return Err(self.ends());
        }
        let form = match &line[HEADER.len()..] {
            b"1.1 | encoding : 1\n" => Form { binary: true, delete_has_path: false },
            b"1.1 | encoding : 2\n" => Form { binary: false, delete_has_path: false },
            b"1.2 | encoding : 1\n" => Form { binary: true, delete_has_path: true },
            b"1.2 | encoding : 2\n" => Form { binary: false, delete_has_path: true },
            _ => return Err(self.found(self.at, EXPECTED)),
        };
        self.at += LENGTH;
        Ok(form)
    }

    fn record(&mut self, form: Form) -> Result<Record<'b>, Broken> {
        let letter = self.bytes[self.at];
        if !matches!(letter, b'D' | b'M' | b'E') {
            return Err(self.found(self.at, "a record: D, M or E"));
        }
        self.at += 1;
        let gfid = self.gfid(form)?;
        self.zero("a zero byte after the gfid")?;
        let what = match letter {
            b'D' => What::Data,
            b'M' => What::Metadata { fop: self.fop(form)? },
            _ => self.entry(form)?,
        };
        Ok(Record { gfid, what })
    }

    /// The operation of a change of attributes. It is that of the client's request, so no list of those that should
    /// lead to such a change would be whole.
    fn fop(&mut self, form: Form) -> Result<u32, Broken> {
        let start = self.at;
        match self.number(form)? {
            fop @ 1..FOP_END => Ok(fop),
            _ => Err(self.found(start, "the number of an operation, 1 to 58")),
        }
    }

    fn entry(&mut self, form: Form) -> Result<What<'b>, Broken> {
        let start = self.at;
        // glusterfs_fop_t, `glusterfs-fops.h`
        match self.number(form)? {
            23 => self.create(form, CreateKind::Create),
            3 => self.create(form, CreateKind::Mknod),
            4 => self.create(form, CreateKind::Mkdir),
            9 => Ok(What::Link { at: self.spot(form)? }),
            7 => Ok(What::Symlink { at: self.spot(form)? }),
            8 => Ok(What::Rename { from: self.spot(form)?, to: self.spot(form)? }),
            5 => Ok(What::Unlink { at: self.spot(form)?, path: self.path(form)? }),
            6 => Ok(What::Rmdir { at: self.spot(form)?, path: self.path(form)? }),
            _ => Err(self.found(start, "the number of an operation on names: 3 to 9 or 23")),
        }
    }

    fn create(&mut self, form: Form, kind: CreateKind) -> Result<What<'b>, Broken> {
        let (mode, uid, gid) = (self.number(form)?, self.number(form)?, self.number(form)?);
        Ok(What::Create { kind, mode, uid, gid, at: self.spot(form)? })
    }

    fn gfid(&mut self, form: Form) -> Result<Gfid, Broken> {
        const EXPECTED: &str = "a gfid: 8-4-4-4-12 hexadecimal digits";
        let start = self.at;
        if form.binary {
            return Ok(Gfid(self.take()?));
        }
        let text: [u8; 36] = self.take()?;
        let text = std::str::from_utf8(&text).ok();
        text.and_then(|text| text.parse().ok()).ok_or_else(|| self.found(start, EXPECTED))
    }

    fn number(&mut self, form: Form) -> Result<u32, Broken> {
        let start = self.at;
        if form.binary {
            let number = u32::from_ne_bytes(self.take()?);
            self.zero("a zero byte after a number")?;
            return Ok(number);
        }
        let digits = self.until_zero()?;
        if !digits.iter().all(u8::is_ascii_digit) {
            return Err(self.found(start, "a decimal number"));
        }
        let number = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
        number.ok_or_else(|| self.found(start, "a decimal number of 32 bits"))
    }

    fn spot(&mut self, form: Form) -> Result<Spot<'b>, Broken> {
        let parent = self.gfid(form)?;
        match self.take()? {
            [b'/'] => {}
            [_] => return Err(self.found(self.at - 1, "a slash between the gfid of a directory and a name")),
        }
        let start = self.at;
        let name = self.until_zero()?;
        // 255: NAME_MAX of every file system that can hold a brick.
        if name.len() > 255 || EntryName::new(name).is_err() {
            return Err(self.found(start, "a name of 1 to 255 bytes without a slash, not . or .."));
        }
        Ok(Spot { parent, name })
    }

    fn path(&mut self, form: Form) -> Result<Option<&'b [u8]>, Broken> {
        if !form.delete_has_path {
            return Ok(None);
        }
        let path = self.until_zero()?;
        if !path.is_empty() {
            return Ok(Some(path));
        }
        // An empty path is written as a zero byte of its own, before the one that ends the field.
        self.zero("a second zero byte for a path that is not told")?;
        Ok(None)
    }

    fn zero(&mut self, expected: &'static str) -> Result<(), Broken> {
        match self.take()? {
            [0] => Ok(()),
            [_] => Err(self.found(self.at - 1, expected)),
        }
    }

    fn until_zero(&mut self) -> Result<&'b [u8], Broken> {
        let rest = &self.bytes[self.at..];
        let length = rest.iter().position(|byte| *byte == 0).ok_or_else(|| self.ends())?;
        self.at += length + 1;
        Ok(&rest[..length])
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Broken> {
        let taken = *self.bytes[self.at..].first_chunk().ok_or_else(|| self.ends())?;
        self.at += N;
        Ok(taken)
    }

    fn ends(&self) -> Broken {
        Broken::Ends { begins: self.begins as u64, length: (self.bytes.len() - self.begins) as u64 }
    }

    fn found(&self, at: usize, expected: &'static str) -> Broken {
        let found = &self.bytes[at..self.bytes.len().min(at + 24)];
        Broken::Found { at: at as u64, begins: self.begins as u64, found: escape_bytes(found).into_owned(), expected }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
            read(&Path::new(CORPUS).join(path), &mut |record| *kinds.entry(kind(&record.what)).or_default() += 1)
                .unwrap();
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
        let rtl_and_accents =
            ["\u{202e}rtl", "e\u{301}", "\u{e9}"].map(|name| escape_bytes(name.as_bytes()).into_owned());
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
}
