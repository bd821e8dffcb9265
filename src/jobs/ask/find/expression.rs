//! Tests of find(1) as values, and what they say of an entry.
//!
//! Promises: `and` looks at its second side only where the first holds, `or` where it does not, as find(1) does. What needs more than the
//! name is asked of the entry's version; nothing but extended attributes needs a query.

use super::glob::{Glob, Regex};
use crate::catalog::{Error, NodeRow, Perm, Reader};
use crate::model::{Kind, Timestamp};

/// An expression.
#[derive(Clone, Debug)]
pub enum Expression {
    /// It holds.
    True,
    /// Both hold.
    And(Box<Expression>, Box<Expression>),
    /// One holds.
    Or(Box<Expression>, Box<Expression>),
    /// It does not hold.
    Not(Box<Expression>),
    /// What it says holds.
    Test(Test),
}

/// How a number is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Amount {
    /// `-n`
    Less(i128),
    /// `n`
    Exactly(i128),
    /// `+n`
    More(i128),
}

impl Amount {
    pub(super) fn holds(self, value: i128) -> bool {
        match self {
            Self::Less(amount) => value < amount,
            Self::Exactly(amount) => value == amount,
            Self::More(amount) => value > amount,
        }
    }
}

/// How modes are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ModeTest {
    /// They are these bits.
    Exactly(u32),
    /// All of these are set.
    All(u32),
    /// Some of these are set, or none is asked for.
    Any(u32),
}

/// A test.
#[derive(Clone, Debug)]
pub struct Test(pub(super) Is);

#[derive(Clone, Debug)]
pub(super) enum Is {
    Name(Glob),
    Path(Glob),
    Matching(Box<Regex>),
    Size { amount: Amount, unit: u64 },
    Age { amount: Amount, unit_s: i64, now: Timestamp },
    Newer(Timestamp),
    User(Amount),
    Group(Amount),
    Links(Amount),
    Types(Vec<Kind>),
    Mode(ModeTest),
    Empty,
    Xattr(Vec<u8>),
    Acl,
}

/// What is looked at.
pub(super) struct Entry<'e> {
    /// The last part of the path.
    pub(super) name: &'e [u8],
    /// The path below the source, the name of the source and a colon before it.
    pub(super) path: &'e [u8],
    pub(super) kind: Kind,
    pub(super) row: &'e NodeRow,
    pub(super) perm: Perm,
    /// Of a directory: whether nothing is in it.
    pub(super) is_empty: &'e dyn Fn() -> Result<bool, Error>,
}

impl Expression {
    pub(super) fn holds(&self, reader: &Reader, entry: &Entry<'_>) -> Result<bool, Error> {
        Ok(match self {
            Self::True => true,
            Self::And(one, other) => one.holds(reader, entry)? && other.holds(reader, entry)?,
            Self::Or(one, other) => one.holds(reader, entry)? || other.holds(reader, entry)?,
            Self::Not(one) => !one.holds(reader, entry)?,
            Self::Test(Test(is)) => is.holds(reader, entry)?,
        })
    }
}

impl Expression {
    /// Returns what is in every name that fulfils it: runs of small letters of ASCII.
    pub(super) fn pieces(&self) -> Vec<String> {
        match self {
            Self::And(one, other) => [one.pieces(), other.pieces()].concat(),
            Self::Test(Test(Is::Name(glob))) => glob.pieces(),
            _ => Vec::new(),
        }
    }
}

impl Is {
    fn holds(&self, reader: &Reader, entry: &Entry<'_>) -> Result<bool, Error> {
        let row = entry.row;
        Ok(match self {
            Self::Name(glob) => glob.is_match(entry.name),
            Self::Path(glob) => glob.is_match(entry.path),
            Self::Matching(regex) => regex.is_match(entry.path),
            // Every unit that is begun counts.
            Self::Size { amount, unit } => amount.holds(i128::from(row.size_bytes.div_ceil(*unit))),
            Self::Age { amount, unit_s, now } => {
                let age_ns = (i128::from(now.seconds) - i128::from(row.mtime.seconds)) * 1_000_000_000
                    + i128::from(now.nanos)
                    - i128::from(row.mtime.nanos);
                amount.holds(age_ns.div_euclid(i128::from(*unit_s) * 1_000_000_000))
            }
            Self::Newer(than) => row.mtime > *than,
            Self::User(amount) => amount.holds(i128::from(entry.perm.uid)),
            Self::Group(amount) => amount.holds(i128::from(entry.perm.gid)),
            Self::Links(amount) => amount.holds(i128::from(row.nlink)),
            Self::Types(kinds) => kinds.contains(&entry.kind),
            Self::Mode(test) => {
                let mode = entry.perm.mode & 0o7777;
                match *test {
                    ModeTest::Exactly(bits) => mode == bits,
                    ModeTest::All(bits) => mode & bits == bits,
                    ModeTest::Any(bits) => bits == 0 || mode & bits != 0,
                }
            }
            Self::Empty => match entry.kind {
                Kind::File => row.size_bytes == 0,
                Kind::Directory => (entry.is_empty)()?,
                _ => false,
            },
            Self::Xattr(name) => {
                entry.perm.xattr > 0 && reader.xattrs(entry.perm.xattr)?.iter().any(|(n, _)| n == name)
            }
            Self::Acl => {
                entry.perm.xattr > 0
                    && reader.xattrs(entry.perm.xattr)?.iter().any(|(name, _)| name.starts_with(b"system.posix_acl_"))
            }
        })
    }
}
