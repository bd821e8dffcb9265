//! The bytes of a volume's files, on their way into the copy of a generation.
//!
//! A file is read from its brick, by handle, where the brick is on this machine and holds whole files; else through a
//! client mount, by gfid. Size and times are compared before and after: a file that moved is taken again, and one that
//! does not come to rest is recorded as found amiss and looked at again by the next run.
//!
//! Promises: what is recorded of a file (size, times) is what its bytes in the copy belong to. A file that cannot be read is
//! lost, and said to be; a full store ends the run.

use super::error::Error;
use super::held::HeldCopies;
use super::run::Extent;
use crate::catalog::GenerationWriter;
use crate::index::{FileToKeep, Keep, KeepError, Kept};
use crate::model::{Attrs, FileKey, RelPath, Time, Timestamp, UNPROVEN_ORIGIN};
use crate::monitor::Monitor;
use crate::source::gluster::brick::{Reader, Sight};
use crate::source::gluster::client::Client;
use crate::source::gluster::{Gfid, State};
use crate::store::{CopyWriter, WriterCounts, Written};
use crate::sys::{read, walk};
use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::os::fd::AsFd;
use std::path::PathBuf;

/// How often a file that moves is copied before it is left at that.
const TRIES_MAX: u32 = 3;
/// A file of which it is not known on which brick it is.
const ANY_BRICK: u32 = crate::index::UNKNOWN_ORIGIN;

/// Where bytes can be read.
pub(super) struct Origins<'a> {
    /// Bricks on this machine that hold whole files, by number.
    pub(super) bricks: HashMap<u32, Reader<'a>>,
    /// How to mount the volume: a server, its name, and where.
    pub(super) mount: (&'a str, &'a str, PathBuf),
    /// The mount, once it was needed.
    pub(super) client: Option<Client>,
    /// The volume is erasure coded. A client keeps the new length of a file that it wrote to itself for a second after the
    /// last write (delayed post-op of `ec-common.c`), unless another one asks under the lock of the file, as fsync
    /// does. A look-up does not: a file that was just cut to 0 bytes was seen with its 75 bytes.
    pub(super) dispersed: bool,
    /// Bricks hold copies of one file, of which any may lack changes: only who asked them all, or a client, knows which is good.
    pub(super) has_copies: bool,
}

/// What a file was when it was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Moment {
    size_bytes: u64,
    allocated_bytes: u64,
    mtime: Timestamp,
    ctime: Timestamp,
}

/// An open file of the volume, and what it was when it was opened.
struct Opened {
    file: File,
    /// The brick that it is on; none: the mount.
    brick: Option<u32>,
    moment: Moment,
}

/// Why a file cannot be taken.
enum NotTaken {
    /// It is not there any more.
    Gone,
    /// This happened.
    Lost(String),
}

/// Takes bytes into the copy.
pub(super) struct Taking<'a> {
    pub(super) copy: Option<CopyWriter>,
    pub(super) origins: Origins<'a>,
    pub(super) extent: Extent,
    pub(super) next: State,
    pub(super) monitor: &'a dyn Monitor,
    pub(super) written: WriterCounts,
    /// Files are cut into shards: see [`crate::source::gluster::part::Line::Shards`].
    pub(super) sharded: bool,
    /// Generations whose copies are gone: what they held is taken again.
    pub(super) lost: &'a BTreeSet<Time>,
    /// The copies that are there, by generation.
    pub(super) held: HeldCopies,
}

impl Taking<'_> {
    fn copy(&mut self) -> &mut CopyWriter {
        self.copy.as_mut().expect("nothing is taken after the end")
    }

    /// Opens the file on its brick, or through the mount.
    fn open(&mut self, gfid: Gfid, origin: u32) -> Result<Result<Opened, NotTaken>, Error> {
        let mut numbers: Vec<u32> = match origin {
            ANY_BRICK if self.origins.has_copies => Vec::new(),
            ANY_BRICK => self.origins.bricks.keys().copied().collect(),
            one => vec![one],
        };
        numbers.sort_unstable();
        for number in numbers {
            let Some(reader) = self.origins.bricks.get_mut(&number) else { continue };
            let opened = reader.brick().open_file(gfid);
            let looked = match &opened {
                Ok(Some(file)) => look_on_brick(reader, file),
                _ => Ok(None),
            };
            match (opened, looked) {
                (Ok(Some(file)), Ok(Some(moment))) => {
                    return Ok(Ok(Opened { file, brick: Some(number), moment }));
                }
                // Moved to another brick since, or removed: the mount knows.
                (Ok(_), Ok(_)) => {}
                (Err(e), _) | (_, Err(e)) => {
                    return Ok(Err(NotTaken::Lost(format!("cannot open it on brick {}: {e}", number + 1))));
                }
            }
        }
        if self.origins.client.is_none() {
            let (host, volume, dir) = &self.origins.mount;
            self.origins.client = Some(Client::mount(host, volume, dir)?);
        }
        let client = self.origins.client.as_ref().expect("it was mounted");
        let opened = client.open(gfid).and_then(|file| {
            if self.origins.dispersed {
                file.sync_all()?;
            }
            Ok((look_through_mount(&file)?, file))
        });
        Ok(match opened {
            Ok((moment, file)) => Ok(Opened { file, brick: None, moment }),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound || read::is_stale(&e) => Err(NotTaken::Gone),
            Err(e) => Err(NotTaken::Lost(format!("cannot open it through the client mount: {e}"))),
        })
    }

    /// Returns what an open file is now.
    fn look(&mut self, opened: &Opened) -> std::io::Result<Moment> {
        match opened.brick {
            Some(number) => {
                let reader = self.origins.bricks.get_mut(&number).expect("a file was opened there");
                look_on_brick(reader, &opened.file)?
                    .ok_or_else(|| std::io::Error::other("it was moved to another brick"))
            }
            None => look_through_mount(&opened.file),
        }
    }

    fn take(&mut self, file: &mut FileToKeep<'_>) -> Result<Kept, Error> {
        let gfid = Gfid::of_key(file.key);
        if self.copy().take_over(file.path, file.key, file.attrs)? {
            return Ok(Kept::Copied { moved: None });
        }
        let mut said = String::new();
        for attempt in 1..=TRIES_MAX {
            let opened = match self.open(gfid, file.origin)? {
                Ok(opened) => opened,
                Err(NotTaken::Gone) => return Ok(Kept::Gone),
                Err(NotTaken::Lost(why)) => return Ok(self.lost(gfid, why)),
            };
            let before = opened.moment;
            let told = file.attrs.ctime;
            set_moment(file.attrs, before);
            if self.sharded {
                // The scan told when shards changed, which the file itself does not show.
                file.attrs.ctime = file.attrs.ctime.max(told);
            }
            let attrs = file.attrs.clone();
            match self.copy().file(file.path, file.key, &attrs, &opened.file)? {
                Written::Whole => {}
                Written::Short(at) => {
                    said = format!("it ended at byte {at} of {} while it was copied", before.size_bytes);
                    continue;
                }
                Written::Unreadable(e) => return Ok(self.lost(gfid, format!("cannot read it: {e}"))),
            }
            match self.look(&opened) {
                Ok(after) if same(after, before) => return Ok(Kept::Copied { moved: None }),
                Ok(_) => said = "it was written to while it was copied".to_owned(),
                Err(e) => return Ok(self.lost(gfid, format!("cannot look at it: {e}"))),
            }
            if attempt == TRIES_MAX {
                self.next.retake.insert(gfid);
                let moved = format!("{said}, {TRIES_MAX} times; its bytes may be of several moments");
                return Ok(Kept::Copied { moved: Some(moved) });
            }
        }
        Ok(self.lost(gfid, format!("{said}, {TRIES_MAX} times")))
    }

    fn lost(&mut self, gfid: Gfid, why: String) -> Kept {
        self.next.retake.insert(gfid);
        Kept::Lost(why)
    }
}

/// Returns what an open file on a brick is for clients; none: a pointer file, whose bytes are elsewhere.
fn look_on_brick(reader: &mut Reader<'_>, file: &File) -> std::io::Result<Option<Moment>> {
    match reader.sight(walk::FileAt::Open(file.as_fd()))? {
        Sight::Node(state) if state.linkto => Ok(None),
        Sight::Node(state) => Ok(Some(Moment {
            size_bytes: state.size,
            allocated_bytes: state.allocated,
            mtime: state.mtime.into(),
            ctime: state.ctime.into(),
        })),
        Sight::Stranger(_) | Sight::Boundary => Err(std::io::Error::other("it has no gfid")),
    }
}

fn look_through_mount(file: &File) -> std::io::Result<Moment> {
    let stat = walk::stat_fd(file.as_fd())?;
    Ok(Moment {
        size_bytes: stat.size_bytes,
        allocated_bytes: stat.allocated_bytes,
        mtime: stat.mtime,
        ctime: stat.ctime,
    })
}

fn same(a: Moment, b: Moment) -> bool {
    a.size_bytes == b.size_bytes && a.mtime == b.mtime && a.ctime == b.ctime
}

fn set_moment(attrs: &mut Attrs, moment: Moment) {
    attrs.size_bytes = moment.size_bytes;
    attrs.allocated_bytes = (moment.allocated_bytes < moment.size_bytes).then_some(moment.allocated_bytes);
    attrs.mtime = moment.mtime;
    attrs.ctime = moment.ctime;
}

impl Keep for Taking<'_> {
    fn file(&mut self, mut file: FileToKeep<'_>) -> Result<Kept, KeepError> {
        if file.origin == UNPROVEN_ORIGIN {
            let lost = self.lost(Gfid::of_key(file.key), "no brick has a copy of it that its set believes".to_owned());
            return Ok(if file.held.is_some() { Kept::Held } else { lost });
        }
        let Some(held) = file.held.filter(|held| !self.lost.contains(held)) else { return Ok(self.take(&mut file)?) };
        if let Some(path) = &file.held_at
            && self.held.is_missing(held, path, file.attrs.size_bytes)
        {
            return Ok(match self.take(&mut file)? {
                Kept::Copied { moved } => {
                    let said = format!("its bytes were gone from the copy of {held}, and were taken again");
                    Kept::Copied { moved: Some(moved.map_or(said.clone(), |moved| format!("{said}; {moved}"))) }
                }
                other => other,
            });
        }
        let again = match self.extent {
            Extent::Changed => false,
            Extent::All => true,
            Extent::SinceFull(full) => held > full,
        };
        if again {
            let attrs = file.attrs.clone();
            // What holds them already goes on to; a second copy that could not be made is no loss.
            if let Kept::Gone = self.take(&mut file)? {
                return Ok(Kept::Gone);
            }
            *file.attrs = attrs;
        }
        Ok(Kept::Held)
    }

    fn looks_at_held(&self) -> bool {
        true
    }

    fn link(&mut self, path: &RelPath, key: FileKey) -> Result<(), KeepError> {
        Ok(self.copy().link(path, key)?)
    }

    fn other(&mut self, path: &RelPath, attrs: &Attrs, is_new: bool) -> Result<(), KeepError> {
        // A copy of what changed has the directories of its files, and what is new.
        if self.extent != Extent::All && !is_new {
            return Ok(());
        }
        Ok(self.copy().other(path, attrs)?)
    }

    fn wants_again_since(&self) -> Option<Time> {
        match self.extent {
            Extent::SinceFull(full) => Some(full),
            Extent::Changed | Extent::All => None,
        }
    }

    fn seal(&mut self, _generation: &GenerationWriter<'_>) -> Result<String, KeepError> {
        let copy = self.copy.take().expect("nothing is taken after the end");
        let resume = self.next.to_json();
        self.written = copy.finish()?;
        if self.written.attributes_lost > 0 {
            self.monitor.warn(&format!(
                "the store could not keep owner, rights or attributes of {} files; the catalog has them",
                self.written.attributes_lost
            ));
        }
        Ok(resume)
    }
}
