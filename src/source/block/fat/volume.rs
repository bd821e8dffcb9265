//! The clusters: chains of them, and the entries that lie in those of directories.
//!
//! Promises: a chain is followed as far as it is sound, and says why no farther. Chains are told when to end by their caller, for nothing
//! in the table keeps one from going in a circle.

use super::boot::{LENGTH, Root, Shape, Width};
use super::slots::{Parser, Role, SLOT_BYTES, Slot};
use super::table::{Next, Table};
use crate::model::Extent;
use crate::source::block::{Device, Error, bytes};
use std::sync::Arc;

/// How much of a directory is read at once.
const READ_BYTES: u64 = 64 << 10;
/// 128 MiB of memory for one file.
const EXTENTS_MAX: usize = 4 << 20;

pub(super) struct Volume {
    pub(super) device: Arc<dyn Device>,
    pub(super) shape: Shape,
    pub(super) table: Table,
}

/// Where the bytes of a file or directory are, as far as its chain is sound.
pub(super) struct Chain {
    pub(super) extents: Vec<Extent>,
    pub(super) length: u64,
    /// Why it ends before it should, if it does.
    pub(super) trouble: Option<Error>,
}

impl Volume {
    pub(super) fn open(device: Arc<dyn Device>) -> Result<Self, Error> {
        let shape = Shape::parse(&bytes::read(&*device, 0, LENGTH)?)?;
        let table = Table::new(Arc::clone(&device), &shape);
        Ok(Self { device, shape, table })
    }

    /// Follows the chain from a cluster on, `most` clusters at most. Where `visit` says why not, it ends before that one.
    pub(super) fn chain(&self, first: u32, most: u64, mut visit: impl FnMut(u32) -> Result<(), Error>) -> Chain {
        let mut chain = Chain { extents: Vec::new(), length: 0, trouble: None };
        let mut next = Next::Cluster(first);
        while chain.length < most.saturating_mul(self.shape.cluster_bytes) {
            let Next::Cluster(cluster) = next else { return chain };
            match self.visit(cluster, &mut visit) {
                Ok(following) => next = following,
                Err(e) => {
                    chain.trouble = Some(e);
                    return chain;
                }
            }
            chain.push(self.shape.cluster_at(cluster), self.shape.cluster_bytes);
            if chain.extents.len() > EXTENTS_MAX {
                chain.trouble = Some(Error::Unsupported(format!("more than {EXTENTS_MAX} pieces")));
                return chain;
            }
        }
        chain
    }

    /// Looks at one cluster of a chain, and returns what follows.
    fn visit(&self, cluster: u32, visit: &mut impl FnMut(u32) -> Result<(), Error>) -> Result<Next, Error> {
        if !self.shape.has(cluster) {
            let last = self.shape.end - 1;
            return Err(Error::Damaged(format!("its chain leads to cluster {cluster}, and the last is {last}")));
        }
        visit(cluster)?;
        let end = self.shape.cluster_at(cluster) + self.shape.cluster_bytes;
        if end > self.device.size_bytes() {
            let size = self.device.size_bytes();
            return Err(Error::Damaged(format!("its cluster {cluster} ends at byte {end} of {size} that there are")));
        }
        let what = match self.table.next(cluster)? {
            Next::Free => "free",
            Next::Bad => "bad",
            next => return Ok(next),
        };
        Err(Error::Damaged(format!("its chain has cluster {cluster}, which is marked as {what}")))
    }

    /// Returns the chain of the top directory.
    pub(super) fn root_chain(&self, visit: impl FnMut(u32) -> Result<(), Error>) -> Chain {
        match self.shape.root {
            Root::Fixed { at, length } => {
                let mut chain = Chain { extents: Vec::new(), length: 0, trouble: None };
                chain.push(at, length);
                chain
            }
            Root::Chain(first) => self.chain(first, u64::MAX, visit),
        }
    }

    /// Calls `each` for every entry in these pieces of a directory: where on the volume it is, and its name. Parts that cannot be read hide no
    /// others.
    ///
    /// # Errors
    /// The first part that cannot be read, after all others were told.
    pub(super) fn entries(&self, extents: &[Extent], mut each: impl FnMut(u64, Slot, Vec<u8>)) -> Result<(), Error> {
        let mut parser = Parser::default();
        self.slots(extents, |at, slot| match slot {
            Some(slot) => {
                if let Some(name) = parser.push(&slot)
                    && slot.role() == Role::Entry
                {
                    each(at, slot, name);
                }
            }
            None => parser = Parser::default(),
        })
    }

    /// Calls `each` for every slot in these pieces, and with none for a part that cannot be read.
    fn slots(&self, extents: &[Extent], mut each: impl FnMut(u64, Option<Slot>)) -> Result<(), Error> {
        let mut trouble = Ok(());
        for extent in extents {
            for from in (0..extent.length).step_by(READ_BYTES as usize) {
                let at = extent.at + from;
                match bytes::read(&*self.device, at, READ_BYTES.min(extent.length - from)) {
                    Ok(piece) => {
                        let slots = piece.as_chunks::<SLOT_BYTES>().0.iter().enumerate();
                        slots.for_each(|(index, bytes)| {
                            each(at + (index * SLOT_BYTES) as u64, Some(Slot { bytes: *bytes }));
                        });
                    }
                    Err(e) => {
                        trouble = trouble.and(Err(e));
                        each(at, None);
                    }
                }
            }
        }
        trouble
    }

    /// Returns the number of links to the directory of these pieces that are in it, as the kernel counts them.
    pub(super) fn links(&self, extents: &[Extent]) -> u32 {
        let mut links = 0;
        // What cannot be read of it is said where it is listed.
        let _ = self.slots(extents, |_, slot| links += u32::from(slot.is_some_and(|slot| slot.is_link_to_directory())));
        links
    }

    /// Returns the label among the entries in these pieces of the top directory, if there is one.
    pub(super) fn label_in(&self, extents: &[Extent]) -> Option<[u8; 11]> {
        let mut label = None;
        // What cannot be read of it is said where it is listed.
        let _ = self.slots(extents, |_, slot| {
            if slot.is_some_and(|slot| slot.is_label()) && label.is_none() {
                label = slot.map(|slot| slot.stored_name());
            }
        });
        label
    }

    /// Returns the entry at a place.
    pub(super) fn slot(&self, at: u64) -> Result<Slot, Error> {
        let bytes = bytes::read(&*self.device, at, SLOT_BYTES as u64)?;
        Ok(Slot { bytes: bytes.try_into().expect("as long as a slot") })
    }

    /// Checks that at cluster `start` there is a directory that says that it is this one, and that it lies in the one at `above` (0: the top): a
    /// number that was altered leads to what is no directory, or to another one.
    pub(super) fn check_directory(&self, start: u32, above: u32) -> Result<(), Error> {
        if !self.shape.has(start) {
            return Err(Error::Damaged(format!("it begins at cluster {start}, and there is none")));
        }
        let at = self.shape.cluster_at(start);
        let (own, dots) = (self.slot(at)?, self.slot(at + SLOT_BYTES as u64)?);
        let is_directory = own.role() == Role::Own && own.is_directory() && dots.role() == Role::Above;
        if !is_directory || !dots.is_directory() {
            return Err(Error::Damaged(format!("there is no directory at cluster {start}, where it should begin")));
        }
        let (says_start, says_above) = (self.start(&own)?, self.start(&dots)?);
        let is_above = says_above == above || above == 0 && self.shape.root == Root::Chain(says_above);
        if says_start != start || !is_above {
            return Err(Error::Damaged(format!(
                "at cluster {start}, where it should begin, there is a directory that says that it begins at {says_start} and lies in the \
                 one at {says_above}, and not at {above}"
            )));
        }
        Ok(())
    }

    /// Returns the first cluster of an entry.
    pub(super) fn start(&self, slot: &Slot) -> Result<u32, Error> {
        slot.start(self.shape.width == Width::ThirtyTwo)
    }
}

impl Chain {
    fn push(&mut self, at: u64, length: u64) {
        match self.extents.last_mut() {
            Some(last) if last.at + last.length == at => last.length += length,
            _ => self.extents.push(Extent { offset: self.length, at, length, unwritten: false }),
        }
        self.length += length;
    }
}
