//! The bytes of a changelog, record by record.
//!
//! Promises: pure; every byte is understood or the slice is refused with the place and what was found there; nothing is
//! skipped. Only an open slice may end inside a record.

use super::record::{CreateKind, Record, Spot, What};
use crate::model::{EntryName, escape_bytes};
use crate::source::gluster::Gfid;

/// The text that every header begins with. No record begins with a `G`, so it is known wherever it stands.
const HEADER: &[u8] = b"GlusterFS Changelog | version: v";

/// Numbers below this name an operation (`GF_FOP_MAXVALUE`, `glusterfs-fops.h`).
const FOP_END: u32 = 59;

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
pub(super) struct Form {
    pub(super) binary: bool,
    pub(super) delete_has_path: bool,
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
