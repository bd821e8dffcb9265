//! Files that the kernel reads by itself (passthrough): which inode is open how, and how often.
//!
//! Promises: all opens of one inode share one backing file and one way of reading for as long as any of
//! them lasts; the kernel answers EIO otherwise. What is opened is what was indexed at that moment; nobody is asked when the kernel
//! reads. The backing is given back at the last release.

use crate::store::OpenFile;
use crate::view::Ino;
use fuser::{BackingId, FileHandle, FopenFlags, ReplyOpen};
use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex};

#[derive(Default)]
pub(super) struct Backings {
    open: Mutex<HashMap<Ino, Open>>,
}

struct Open {
    count: usize,
    how: How,
}

enum How {
    /// The kernel reads; the file is held so that its descriptor stays the one that was registered.
    Passthrough { id: BackingId, file: Arc<OpenFile> },
    /// Reads come to us, through the page cache.
    Plain,
}

/// What became of an open.
#[derive(Debug)]
pub(super) enum Opened {
    Done,
    /// The kernel takes no backing file for this one; it is read in the plain way.
    Plain(io::Error),
    /// The kernel takes no backing files from us at all; the reply is given back.
    Refused(ReplyOpen),
}

/// The handle says nothing: reads, seeks and releases go by inode, so that another daemon could take over.
const NO_HANDLE: FileHandle = FileHandle(0);

impl Backings {
    /// Answers an open of `ino` whose bytes are `file`.
    pub(super) fn open(&self, ino: Ino, file: Arc<OpenFile>, reply: ReplyOpen) -> Opened {
        let mut map = self.open.lock().expect(UNPOISONED);
        if let Some(open) = map.get_mut(&ino) {
            open.count += 1;
            open.how.answer(reply);
            return Opened::Done;
        }
        let Some(descriptor) = file.as_fd() else {
            // Runs of a disk: there is no one file behind it.
            map.insert(ino, Open { count: 1, how: How::Plain });
            How::Plain.answer(reply);
            return Opened::Done;
        };
        let (how, result) = match reply.open_backing(descriptor) {
            Ok(id) => (How::Passthrough { id, file }, Opened::Done),
            // Without CAP_SYS_ADMIN, or compiled out: no other file will fare better.
            Err(e)
                if matches!(e.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported)
                    && map.is_empty() =>
            {
                return Opened::Refused(reply);
            }
            // The backing file system is stacked itself (overlay) or cannot be read so.
            Err(e) => (How::Plain, Opened::Plain(e)),
        };
        how.answer(reply);
        map.insert(ino, Open { count: 1, how });
        result
    }

    /// Returns the file that the kernel reads `ino` from at this moment: another open gets the same.
    pub(super) fn held(&self, ino: Ino) -> Option<Arc<OpenFile>> {
        match &self.open.lock().expect(UNPOISONED).get(&ino)?.how {
            How::Passthrough { file, .. } => Some(Arc::clone(file)),
            How::Plain => None,
        }
    }

    /// Forgets one open of `ino`.
    pub(super) fn release(&self, ino: Ino) {
        let mut map = self.open.lock().expect(UNPOISONED);
        let Some(open) = map.get_mut(&ino) else { return };
        open.count -= 1;
        let last = (open.count == 0).then(|| map.remove(&ino));
        drop(map);
        drop(last);
    }
}

impl How {
    fn answer(&self, reply: ReplyOpen) {
        match self {
            // KEEP_CACHE beside passthrough is EIO: the kernel's mask of flags does not have it.
            Self::Passthrough { id, .. } => reply.opened_passthrough(NO_HANDLE, FopenFlags::FOPEN_NOFLUSH, id),
            Self::Plain => reply.opened(NO_HANDLE, FopenFlags::FOPEN_KEEP_CACHE | FopenFlags::FOPEN_NOFLUSH),
        }
    }
}

const UNPOISONED: &str = "no holder of the lock panics";
