//! FAT12, FAT16 and FAT32 with long names, as on EFI partitions.
//!
//! Promises: what is told is what a mount as `vfat` with UTC and UTF-8 would show: directories and files with the permissions 0755 (0555 what
//! is read-only), of root, times in steps of two seconds. FAT has no checksums: chains that meet, end early or lead nowhere, directories that
//! are not those that an entry leads to, and copies of the table that differ are what can be known of damage. Names beside it are told.
//! Nothing is ever written; the counts of free clusters are not looked at.
//!
//! Never tells attributes that Linux has no place for (hidden, system, archive), times of creation, or the label as a file.
//!
//! Source: `fs/fat` of Linux 6.12, and "Microsoft FAT Specification" of 2005.

mod boot;
mod names;
mod slots;
mod table;
#[cfg(test)]
mod tests;
mod tree;
mod volume;

use super::{Content, Device, Entry, Error, FileSystem, Info, Inode, Records, State};
use crate::model::{Attrs, EntryName, FileMap, Kind, Timestamp, XattrSet, escape_bytes};
use boot::Shape;
use slots::Slot;
use std::collections::{HashSet, VecDeque};
use std::ops::ControlFlow;
use std::sync::Arc;
use tree::{ROOT, Tree, number_of};
use volume::{Chain, Volume};

/// Tells whether a sector seems to be the first of such a file system.
pub use boot::is as is_boot_sector;

/// A FAT file system.
pub struct Fat {
    info: Info,
    volume: Volume,
    tree: Tree,
}

/// Opens the file system on `device`.
///
/// Cost: reads all directories, and the table as far as it is used.
///
/// # Errors
/// [`Error::Damaged`] where the boot sector contradicts itself; [`Error::Unsupported`] for millions of entries.
pub fn open(device: Arc<dyn Device>) -> Result<Fat, Error> {
    let volume = Volume::open(device)?;
    let tree = Tree::survey(&volume)?;
    let info = info(&volume);
    Ok(Fat { info, volume, tree })
}

fn info(volume: &Volume) -> Info {
    let shape = &volume.shape;
    let differs = || "the two copies of its table are not the same; the first is read, as the kernel does".to_owned();
    Info {
        kind: "vfat",
        uuid: shape.serial_text(),
        label: label(volume).unwrap_or_default(),
        state: if shape.is_dirty { State::InUse } else { State::Clean },
        features: vec![shape.width.name().to_owned()],
        odd: volume.table.differs().then(differs),
    }
}

/// Returns the label, which is among the entries of the top directory: what the boot sector has for one may be an old one.
fn label(volume: &Volume) -> Option<String> {
    let chain = volume.root_chain(circle_free(&volume.shape));
    let text = names::short_text(&volume.label_in(&chain.extents)?);
    Some(escape_bytes(text.trim_end_matches([' ', '\0']).as_bytes()).into_owned())
}

/// Lets a chain have as many clusters as there are.
fn circle_free(shape: &Shape) -> impl FnMut(u32) -> Result<(), Error> + use<> {
    let mut left = shape.end;
    move |_| {
        left = left.checked_sub(1).ok_or_else(|| Error::Damaged("its chain goes in a circle".to_owned()))?;
        Ok(())
    }
}

impl Fat {
    /// Returns what a slot says of a node.
    fn told(&self, number: u64, slot: &Slot) -> Result<Inode, Error> {
        let told = match slot.is_directory() {
            true => self.told_directory(self.tree.directory(&self.volume, number, Some(slot))),
            false => {
                Told { kind: Kind::File, size_bytes: slot.size_bytes()?, nlink: 1, content: self.file_content(slot)? }
            }
        };
        Ok(node(number, slot.permissions(), slot.mtime()?, told))
    }

    fn told_directory(&self, chain: Result<Chain, Error>) -> Told {
        let kind = Kind::Directory;
        match chain {
            Ok(chain) => {
                let nlink = self.volume.links(&chain.extents);
                Told { kind, size_bytes: chain.length, nlink, content: mapped(chain.extents) }
            }
            Err(why) => Told { kind, size_bytes: 0, nlink: 2, content: Content::Unreadable(why.to_string()) },
        }
    }

    fn file_content(&self, slot: &Slot) -> Result<Content, Error> {
        let size = slot.size_bytes()?;
        if size == 0 {
            return Ok(Content::None);
        }
        let chain = self.tree.file(&self.volume, slot)?;
        Ok(match chain.trouble {
            Some(why) => Content::Unreadable(crate::model::chain(&why)),
            None if chain.length < size => {
                Content::Unreadable(format!("it has {size} bytes, and clusters for {}", chain.length))
            }
            None => mapped(chain.extents),
        })
    }
}

fn mapped(extents: Vec<crate::model::Extent>) -> Content {
    Content::Mapped(FileMap { extents, rests_on: Vec::new() })
}

/// What is known of a node beside its entry.
struct Told {
    kind: Kind,
    size_bytes: u64,
    nlink: u32,
    content: Content,
}

fn node(number: u64, permissions: u32, time: Timestamp, told: Told) -> Inode {
    Inode {
        number,
        // A path that was a file and is a directory is another node.
        generation: u32::from(told.kind == Kind::Directory),
        attrs: Attrs {
            mode: told.kind.mode_bits() | permissions,
            uid: 0,
            gid: 0,
            size_bytes: told.size_bytes,
            allocated_bytes: None,
            mtime: time,
            ctime: time,
            nlink: told.nlink,
            rdev: 0,
            xattrs: XattrSet::default(),
            target: Vec::new(),
        },
        content: told.content,
        unreadable: None,
    }
}

impl FileSystem for Fat {
    fn info(&self) -> &Info {
        &self.info
    }

    fn logged(&self, _each: &mut dyn FnMut(u64, u64)) {}

    fn root(&self) -> u64 {
        ROOT
    }

    fn records(&self) -> Option<&dyn Records> {
        None
    }

    fn scan_inodes(&self, each: &mut dyn FnMut(Result<Inode, (u64, Error)>) -> ControlFlow<()>) -> Result<(), Error> {
        let (mut todo, mut met) = (VecDeque::from([ROOT]), HashSet::from([ROOT]));
        while let Some(number) = todo.pop_front() {
            let told = self.inode(number);
            if let Ok(inode) = &told
                && Kind::from_mode(inode.attrs.mode) == Some(Kind::Directory)
            {
                // What is wrong with it is met again when it is listed.
                let _ = self.list(inode, &mut |entry| {
                    if met.insert(entry.inode) {
                        todo.push_back(entry.inode);
                    }
                });
            }
            if each(told.map_err(|e| (number, e))).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn inode(&self, number: u64) -> Result<Inode, Error> {
        if number == ROOT {
            let told = self.told_directory(self.tree.directory(&self.volume, ROOT, None));
            // It has no entry, so no time either; nor one for itself and one for that above.
            let told = Told { nlink: told.nlink + 2, ..told };
            return Ok(node(ROOT, 0o755, Timestamp { seconds: 0, nanos: 0 }, told));
        }
        let place = self.tree.place(number).ok_or(Error::NotInUse(number))?;
        self.told(number, &self.volume.slot(place)?)
    }

    fn list(&self, directory: &Inode, each: &mut dyn FnMut(Entry)) -> Result<(), Error> {
        let number = directory.number;
        let slot = match number {
            ROOT => None,
            _ => Some(self.volume.slot(self.tree.place(number).ok_or(Error::NotInUse(number))?)?),
        };
        if slot.is_some_and(|slot| !slot.is_directory()) {
            return Err(Error::Damaged("it is no directory".to_owned()));
        }
        let chain = self.tree.directory(&self.volume, number, slot.as_ref())?;
        let mut odd = None;
        let told = self.volume.entries(&chain.extents, |at, _, name| {
            let inode = number_of(number, &name);
            let escaped = || escape_bytes(&name).into_owned();
            match EntryName::new(&name) {
                Ok(name) if self.tree.place(inode) == Some(at) => each(Entry { name, inode }),
                Ok(_) => drop(odd.get_or_insert_with(|| format!("\"{}\" is there twice", escaped()))),
                Err(e) => drop(odd.get_or_insert_with(|| e.to_string())),
            }
        });
        chain.trouble.or(told.err()).or(odd.map(Error::Damaged)).map_or(Ok(()), Err)
    }
}
