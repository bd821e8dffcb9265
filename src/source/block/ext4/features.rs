//! The feature bits of a superblock, with the names that `dumpe2fs` gives them.
//!
//! Source: `fs/ext4/ext4.h` of Linux 6.12 and `lib/e2p/feature.c` of e2fsprogs 1.47.

use crate::source::block::Error;

/// The feature words.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Features {
    /// Do not keep anybody from reading or writing.
    pub(super) compat: u32,
    /// Keep those who do not know them from reading.
    pub(super) incompat: u32,
    /// Keep those who do not know them from writing.
    pub(super) ro_compat: u32,
}

const HAS_JOURNAL: u32 = 0x4;
const SPARSE_SUPER2: u32 = 0x200;
const FAST_COMMIT: u32 = 0x400;

const FILETYPE: u32 = 0x2;
const RECOVER: u32 = 0x4;
const META_BG: u32 = 0x10;
const EXTENT: u32 = 0x40;
const BIT64: u32 = 0x80;
const MMP: u32 = 0x100;
const FLEX_BG: u32 = 0x200;
const EA_INODE: u32 = 0x400;
const CSUM_SEED: u32 = 0x2000;
const LARGE_DIR: u32 = 0x4000;
const INLINE_DATA: u32 = 0x8000;
const ENCRYPT: u32 = 0x1_0000;
const CASEFOLD: u32 = 0x2_0000;

const SPARSE_SUPER: u32 = 0x1;
const LARGE_FILE: u32 = 0x2;
const BTREE_DIR: u32 = 0x4;
const HUGE_FILE: u32 = 0x8;
const GDT_CSUM: u32 = 0x10;
const BIGALLOC: u32 = 0x200;
const METADATA_CSUM: u32 = 0x400;
const ORPHAN_PRESENT: u32 = 0x1_0000;

/// What this reader knows how to read.
const READABLE: u32 = FILETYPE
    | RECOVER
    | META_BG
    | EXTENT
    | BIT64
    | MMP
    | FLEX_BG
    | EA_INODE
    | CSUM_SEED
    | LARGE_DIR
    | INLINE_DATA
    | ENCRYPT
    | CASEFOLD;

const COMPAT_NAMES: [(u32, &str); 13] = [
    (0x1, "dir_prealloc"),
    (0x2, "imagic_inodes"),
    (HAS_JOURNAL, "has_journal"),
    (0x8, "ext_attr"),
    (0x10, "resize_inode"),
    (0x20, "dir_index"),
    (0x40, "lazy_bg"),
    (0x100, "snapshot_bitmap"),
    (SPARSE_SUPER2, "sparse_super2"),
    (FAST_COMMIT, "fast_commit"),
    (0x800, "stable_inodes"),
    (0x1000, "orphan_file"),
    (0x80, "exclude_inode"),
];

const INCOMPAT_NAMES: [(u32, &str); 16] = [
    (0x1, "compression"),
    (FILETYPE, "filetype"),
    (RECOVER, "needs_recovery"),
    (0x8, "journal_dev"),
    (META_BG, "meta_bg"),
    (EXTENT, "extent"),
    (BIT64, "64bit"),
    (MMP, "mmp"),
    (FLEX_BG, "flex_bg"),
    (EA_INODE, "ea_inode"),
    (0x1000, "dirdata"),
    (CSUM_SEED, "metadata_csum_seed"),
    (LARGE_DIR, "large_dir"),
    (INLINE_DATA, "inline_data"),
    (ENCRYPT, "encrypt"),
    (CASEFOLD, "casefold"),
];

const RO_COMPAT_NAMES: [(u32, &str); 17] = [
    (SPARSE_SUPER, "sparse_super"),
    (LARGE_FILE, "large_file"),
    (BTREE_DIR, "btree_dir"),
    (HUGE_FILE, "huge_file"),
    (GDT_CSUM, "uninit_bg"),
    (0x20, "dir_nlink"),
    (0x40, "extra_isize"),
    (0x80, "has_snapshot"),
    (0x100, "quota"),
    (BIGALLOC, "bigalloc"),
    (METADATA_CSUM, "metadata_csum"),
    (0x800, "replica"),
    (0x1000, "read-only"),
    (0x2000, "project"),
    (0x4000, "shared_blocks"),
    (0x8000, "verity"),
    (ORPHAN_PRESENT, "orphan_present"),
];

macro_rules! has {
    ($($name:ident: $word:ident & $bit:ident;)+) => {
        $(pub(super) fn $name(self) -> bool {
            self.$word & $bit != 0
        })+
    };
}

impl Features {
    has! {
        has_journal: compat & HAS_JOURNAL;
        sparse_super2: compat & SPARSE_SUPER2;
        recover: incompat & RECOVER;
        meta_bg: incompat & META_BG;
        bit64: incompat & BIT64;
        ea_inode: incompat & EA_INODE;
        csum_seed: incompat & CSUM_SEED;
        large_dir: incompat & LARGE_DIR;
        sparse_super: ro_compat & SPARSE_SUPER;
        huge_file: ro_compat & HUGE_FILE;
        gdt_csum: ro_compat & GDT_CSUM;
        bigalloc: ro_compat & BIGALLOC;
        metadata_csum: ro_compat & METADATA_CSUM;
    }

    /// Refuses what cannot be read without knowing more than this reader does.
    pub(super) fn check_readable(self) -> Result<(), Error> {
        let unknown = self.incompat & !READABLE;
        if unknown == 0 {
            return Ok(());
        }
        let mut names = Vec::new();
        push_names(&mut names, unknown, &INCOMPAT_NAMES, 'I');
        Err(Error::Unsupported(format!(
            "the file system uses what is not read: {} (incompatible features {unknown:#x})",
            names.join(", ")
        )))
    }

    /// Returns those that neither mounting nor unmounting alters.
    pub(super) fn without_state(self) -> Self {
        Self { incompat: self.incompat & !RECOVER, ro_compat: self.ro_compat & !ORPHAN_PRESENT, ..self }
    }

    /// Returns `ext2`, `ext3` or `ext4`, by the oldest kernel driver that would mount it (as `blkid` does).
    pub(super) fn kind(self) -> &'static str {
        let ext3_incompat = FILETYPE | RECOVER | META_BG;
        let ext3_ro_compat = SPARSE_SUPER | LARGE_FILE | BTREE_DIR;
        if self.incompat & !ext3_incompat != 0 || self.ro_compat & !ext3_ro_compat != 0 {
            "ext4"
        } else if self.has_journal() {
            "ext3"
        } else {
            "ext2"
        }
    }

    /// Returns the names of all that are set.
    pub(super) fn names(self) -> Vec<String> {
        let mut names = Vec::new();
        push_names(&mut names, self.compat, &COMPAT_NAMES, 'C');
        push_names(&mut names, self.incompat, &INCOMPAT_NAMES, 'I');
        push_names(&mut names, self.ro_compat, &RO_COMPAT_NAMES, 'R');
        names
    }
}

/// Appends the names of the bits of `word`; one without a name is told as `dumpe2fs` does: `FEATURE_I31`.
fn push_names(names: &mut Vec<String>, word: u32, known: &[(u32, &str)], letter: char) {
    for bit in (0..32).filter(|bit| word >> bit & 1 == 1) {
        let name = known.iter().find(|(mask, _)| *mask == 1 << bit);
        names.push(name.map_or_else(|| format!("FEATURE_{letter}{bit}"), |(_, name)| (*name).to_owned()));
    }
}
