//! qcow2 images, versions 2 and 3 (QEMU `docs/interop/qcow2.rst`).
//!
//! Promises: the layer tells of every cluster what QEMU would read there, as long as QEMU would read it; what QEMU
//! calls corrupt is an error with its place. Reference counts are not looked at: reading needs none.
//!
//! Two deviations from QEMU, both towards saying more: a cluster that begins past the end of the file is an error (QEMU
//! reads zeros; but no writer leaves that, a copy that was cut does), and the name of an external data file counts from the
//! directory of the image (in QEMU from the directory that it was started in).

mod header;
mod mapping;
mod saved;

use self::header::Header;
use self::mapping::Mapper;
use super::error::Error;
use super::gate::{self, Opened, Why};
use super::model::{Image, Kind, Parent};
use super::moment;
use super::pieces::Budget;
use crate::model::{Layer, escape_bytes};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What is said of an image whose backing file is newer.
const LIVE: &str = "its backing file was written after it: if QEMU pushed it as an increment, that file is the disk that the guest goes \
                    on writing to, and not what it rests on; --base IMAGE says what it does";

/// Tells whether a file begins as a qcow2 image does.
pub(super) fn is_qcow2(head: &[u8]) -> bool {
    head.starts_with(header::MAGIC)
}

/// Checks that the header is one.
pub(super) fn check_header(opened: &Opened) -> Result<(), Error> {
    header::read(opened).map(drop)
}

/// Reads what the image maps.
pub(super) fn open(opened: Opened, folders: &[PathBuf]) -> Result<Image, Error> {
    let header = header::read(&opened)?;
    let data = data_file(&opened, &header, folders)?;
    let files = std::iter::once(&opened).chain(&data).map(|opened| opened.file.clone()).collect();
    let mut mapper = Mapper { image: &opened, data: data.as_ref(), header: &header, budget: budget(&opened, &data) };

    mapper.check_covers()?;
    let (extents, note) = mapper.map(header.l1, header.size_bytes)?;
    let layer = Layer { size_bytes: header.size_bytes, files, extents };
    let (parent, parent_note) = parent(&opened, &header, folders);
    let mut image = Image::new(&opened, Kind::Qcow2, layer, parent);
    image.notes.clone_from(&header.notes);
    image.notes.extend(note);
    saved::read_snapshots(&mut mapper, &mut image)?;
    saved::read_bitmaps(&opened, &header, &mut image);
    moment::apply(&mut image, folders)?;
    image.notes.extend(parent_note.filter(|_| matches!(image.parent, Parent::Image { .. })));
    Ok(image)
}

fn budget(opened: &Opened, data: &Option<Opened>) -> mapping::Budgets {
    let data_bytes = data.as_ref().map_or(0, |data| data.device.size_bytes);
    let size_bytes = opened.device.size_bytes;
    mapping::Budgets { runs: Budget::of(size_bytes.saturating_add(data_bytes)), table_bytes: mapping::TABLE_BYTES_MAX }
}

fn data_file(opened: &Opened, header: &Header, folders: &[PathBuf]) -> Result<Option<Opened>, Error> {
    let Some(name) = &header.data_file else { return Ok(None) };
    let Some(name) = name.as_deref().filter(|name| !name.is_empty()) else {
        return Err(opened.damaged("it has its data in another file and does not name that"));
    };
    let data = find(opened, name, folders).map_err(|why| {
        let file = format!("data file \"{}\"", escape_bytes(name));
        Error::File { image: opened.file.path.clone(), file, why }
    })?;
    Ok(Some(data))
}

/// Returns what the image rests on, and what a person should know of that.
fn parent(opened: &Opened, header: &Header, folders: &[PathBuf]) -> (Parent, Option<String>) {
    let Some(name) = &header.backing else { return (Parent::None, None) };
    match find(opened, name, folders) {
        Ok(found) => {
            // Nothing else tells them apart: an image of a snapshot, whose backing file is at rest, looks the same.
            let is_live = found.file.mtime > opened.file.mtime;
            let note = is_live.then(|| LIVE.to_owned());
            (Parent::Image { path: found.file.path, kind: header.backing_kind }, note)
        }
        Err(why) => (Parent::Missing { named: escape_bytes(name).into_owned(), why }, None),
    }
}

/// Opens the file that an image calls `name`: counted from the directory of the image.
fn find(opened: &Opened, name: &[u8], folders: &[PathBuf]) -> Result<Opened, Why> {
    if has_scheme(name) {
        return Err(Why::Remote);
    }
    let directory = opened.file.path.parent().unwrap_or(Path::new("/"));
    gate::open(&directory.join(OsStr::from_bytes(name)), folders)
}

/// Tells whether QEMU takes the name for more than a path: a colon comes before any slash (`path_has_protocol` in
/// `block.c`). `json:`, `nbd:` and `file:` are such.
fn has_scheme(name: &[u8]) -> bool {
    name.iter().find(|byte| matches!(byte, b':' | b'/')) == Some(&b':')
}
