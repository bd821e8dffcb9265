//! What a file beside an image tells of the moment that the image is of: what it is called, what changed since when,
//! how much the data was at rest, whose disk it is.
//!
//! Increments that QEMU pushed to a qcow2 file have such a note, `NAME.json` beside `NAME.qcow2`, one JSON object with
//! `"format": "asof-push"`; the maps of pull increments have the same fields. Without it an increment that QEMU pushed tells the
//! wrong thing: the backing file that it names is the disk that the guest goes on writing to.
//!
//! Promises: a file of that name that does not call itself such a note is not looked at further; one that does and cannot
//! be read is an error.

use super::error::Error;
use super::gate::{self, Why};
use super::model::{Image, Moment, Parent};
use crate::model::Level;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What notes say in `format`.
const FORMAT: &str = "asof-push";
const VERSION: u32 = 1;
/// The description of a guest in its checkpoint is some KiB long.
const NOTE_BYTES_MAX: u64 = 4 << 20;

/// The note beside an image that was pushed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PushNote {
    format: String,
    version: u32,
    /// What is told.
    #[serde(flatten)]
    pub moment: Moment,
}

impl PushNote {
    /// Returns a note of this version.
    pub fn new(moment: Moment) -> Self {
        Self { format: FORMAT.to_owned(), version: VERSION, moment }
    }

    /// Tells whether it calls itself such a note.
    pub fn is_own(&self) -> bool {
        self.format == FORMAT
    }

    /// Returns the note as it is stored, one line of JSON.
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string(self).expect("numbers and text have a form in JSON");
        text.push('\n');
        text
    }
}

/// Returns the note beside an image, none if there is none.
fn load(image: &Image, folders: &[PathBuf]) -> Result<Option<PushNote>, Error> {
    let path = image.path.with_extension("json");
    let opened = match gate::open(&path, folders) {
        Ok(opened) => opened,
        Err(Why::Missing) => return Ok(None),
        Err(why) => {
            let file = format!("its note {:?}", path.file_name().unwrap_or_default());
            return Err(Error::File { image: image.path.clone(), file, why });
        }
    };
    if opened.device.size_bytes > NOTE_BYTES_MAX {
        return Ok(None);
    }
    let text = opened.read(0, opened.device.size_bytes)?;
    let is_note = text.windows(FORMAT.len()).any(|word| word == FORMAT.as_bytes());
    if !is_note {
        return Ok(None);
    }
    match serde_json::from_slice::<PushNote>(&text) {
        Ok(note) if !note.is_own() => Ok(None),
        Ok(note) if note.version > VERSION => {
            Err(opened.unsupported(format!("it is a note of version {}", note.version)))
        }
        Ok(note) => Ok(Some(note)),
        Err(e) => Err(opened.damaged(format!("it is the note of an image and cannot be read: {e}"))),
    }
}

/// Has an image be what the note beside it says, if there is one: an increment rests on the checkpoint that the note names, not
/// on the file that the image does.
pub(super) fn apply(image: &mut Image, folders: &[PathBuf]) -> Result<(), Error> {
    let Some(note) = load(image, folders)? else { return Ok(()) };
    image.moment = note.moment;
    (image.parent, image.level) = match image.moment.parent {
        Some(_) => (Parent::Given, Some(Level::Incremental)),
        None => (Parent::None, Some(Level::Full)),
    };
    Ok(())
}
