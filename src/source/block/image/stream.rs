//! Streams of virtnbdbackup (its `libvirtnbdbackup/sparsestream/types.py` and `streamer.py`, versions 1 and 2).
//!
//! Promises: one pass over the headers; data is stepped over. A stream that does not end as one is an error, and so is one
//! that holds less data than it says.
//!
//! Three things that its writers do and its own documentation does not tell:
//! - A `zero` frame in an increment means *unchanged*: versions before 2022 wrote one for every clean range, and its
//!   restore has always passed over them. Later ones write none there.
//! - Since version 2.21 an increment leaves out ranges that became zeros (its extent handler keeps only what is dirty *and*
//!   allocated). Nothing in the stream tells of them; a restore shows the bytes of before, and so does the layer. It is noted.
//! - The date has no time zone.

use super::error::Error;
use super::gate::Opened;
use super::model::{Image, Kind, Parent};
use super::pieces::{Budget, Pieces, TooMany};
use crate::model::{Layer, LayerBytes, LayerExtent, Level, Packing};
use serde_json::Value;

/// `kind %016x %016x\r\n`.
const HEADER_BYTES: u64 = 40;
const END_OF_LINE: u64 = 2;
const META_BYTES_MAX: u64 = 1 << 20;
/// Sizes of compressed blocks, as JSON: 10 bytes for every 32 MiB of data, and one for every small run.
const TRAILER_BYTES_MAX: u64 = 64 << 20;
/// What one block is at most when unpacked: a request to an NBD server, 32 MiB unless the server allows for more.
const BLOCK_BYTES_MAX: u64 = 64 << 20;
/// Magic number, flags, block size, content size (LZ4 frame format 1.6.3, Frame Descriptor).
const LZ4_HEADER_BYTES: u64 = 14;
const LZ4_MAGIC: &[u8] = &[0x04, 0x22, 0x4d, 0x18];
const LZ4_HAS_SIZE: u8 = 1 << 3;

const LEFT_OUT: &str = "an increment of virtnbdbackup may leave out ranges that became zeros (version 2.21 and later without \
                        --no-sparse-detection): they read as they were before";

/// What a frame says.
struct Frame {
    kind: [u8; 4],
    start: u64,
    length: u64,
}

/// What the first frame says.
struct Meta {
    size_bytes: u64,
    data_bytes: Option<u64>,
    incremental: bool,
    compressed: bool,
    json: Value,
}

/// Tells whether a file begins as a stream does.
pub(super) fn is_stream(head: &[u8]) -> bool {
    head.get(..HEADER_BYTES as usize).and_then(parse_frame).is_some_and(|frame| &frame.kind == b"meta")
}

/// Reads the headers of a stream.
pub(super) fn open(opened: Opened) -> Result<Image, Error> {
    let (meta, first_frame) = read_meta(&opened)?;
    opened.check_disk(meta.size_bytes)?;
    let blocks = if meta.compressed { Some(read_trailer(&opened)?) } else { None };
    let mut runs =
        Runs { opened: &opened, meta: &meta, blocks, budget: Budget::of(opened.device.size_bytes), found: vec![] };
    let end = runs.read(first_frame)?;
    let extents = runs.finish()?;

    let layer = Layer { size_bytes: meta.size_bytes, files: vec![opened.file.clone()], extents };
    let parent = if meta.incremental { Parent::Given } else { Parent::None };
    let mut image = Image::new(&opened, Kind::Stream, layer, parent);
    image.level = Some(if meta.incremental { Level::Incremental } else { Level::Full });
    image.moment.disk = meta.text("diskName");
    image.moment.taken_at = meta.text("date");
    image.moment.checkpoint = meta.text("checkpointName");
    image.moment.parent = meta.text("parentCheckpoint");
    if meta.incremental {
        image.notes.push(LEFT_OUT.to_owned());
    }
    if !meta.compressed && end < opened.device.size_bytes {
        image.notes.push(format!("{} bytes follow the end of the stream", opened.device.size_bytes - end));
    }
    Ok(image)
}

fn parse_frame(bytes: &[u8]) -> Option<Frame> {
    let line = bytes.strip_suffix(b"\r\n")?;
    let mut words = line.split(|byte| *byte == b' ');
    let kind = words.next()?.try_into().ok()?;
    let mut number = || {
        let word = words.next().filter(|word| word.len() == 16 && word.iter().all(u8::is_ascii_hexdigit))?;
        u64::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok()
    };
    let (start, length) = (number()?, number()?);
    words.next().is_none().then_some(Frame { kind, start, length })
}

fn read_frame(opened: &Opened, at: u64) -> Result<Frame, Error> {
    let bytes = opened.read(at, HEADER_BYTES)?;
    parse_frame(&bytes).ok_or_else(|| opened.damaged(format!("no header of a frame is at byte {at}")))
}

/// Checks for the end of a line at `at`, and returns what comes after it.
fn end_line(opened: &Opened, at: u64) -> Result<u64, Error> {
    let bytes = opened.read(at, END_OF_LINE)?;
    if bytes != b"\r\n" {
        return Err(opened.damaged(format!("the frame that ends at byte {at} has no end of line")));
    }
    Ok(at + END_OF_LINE)
}

fn read_meta(opened: &Opened) -> Result<(Meta, u64), Error> {
    let frame = read_frame(opened, 0)?;
    if &frame.kind != b"meta" || frame.length > META_BYTES_MAX {
        return Err(opened.damaged("its first frame does not say what it is of"));
    }
    let json = opened.read(HEADER_BYTES, frame.length)?;
    let next = end_line(opened, HEADER_BYTES + frame.length)?;
    let json: Value =
        serde_json::from_slice(&json).map_err(|error| opened.damaged(format!("its description: {error}")))?;
    // The names of before version 0.30 or so, and those of oVirt's examples.
    let number = |new: &str, old: &str| json.get(new).or_else(|| json.get(old)).and_then(Value::as_u64);
    let size_bytes = number("virtualSize", "virtual-size");
    let version = number("streamVersion", "stream-version").unwrap_or(1);
    if version > 2 {
        return Err(opened.unsupported(format!("it is of version {version} of the stream format")));
    }
    let compressed = version == 2 && json.get("compressed").is_some_and(|value| *value != Value::Bool(false));
    let meta = Meta {
        size_bytes: size_bytes.ok_or_else(|| opened.damaged("its description lacks the size of the disk"))?,
        data_bytes: number("dataSize", "data-size"),
        incremental: json.get("incremental").and_then(Value::as_bool).unwrap_or(false),
        compressed,
        json,
    };
    Ok((meta, next))
}

impl Meta {
    fn text(&self, name: &str) -> Option<String> {
        self.json.get(name).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
    }
}

/// Reads how long the compressed blocks of each frame are, from the end of the file.
fn read_trailer(opened: &Opened) -> Result<std::vec::IntoIter<Vec<u64>>, Error> {
    let cut = || opened.cut("the sizes of its compressed blocks should be at its end");
    let comp_at = opened.device.size_bytes.checked_sub(HEADER_BYTES).ok_or_else(cut)?;
    let frame = parse_frame(&opened.read(comp_at, HEADER_BYTES)?).filter(|frame| &frame.kind == b"comp");
    let frame = frame.ok_or_else(cut)?;
    let json_at = comp_at.checked_sub(END_OF_LINE).and_then(|end| end.checked_sub(frame.length));
    let json_at = json_at.filter(|_| frame.length <= TRAILER_BYTES_MAX);
    let json_at = json_at.ok_or_else(|| opened.damaged("the sizes of its compressed blocks do not fit into it"))?;
    let json = opened.read(json_at, frame.length)?;
    let wrong = |what: String| opened.damaged(format!("the sizes of its compressed blocks: {what}"));
    let entries: Vec<Value> = serde_json::from_slice(&json).map_err(|error| wrong(error.to_string()))?;
    let sizes = entries.iter().map(block_sizes).collect::<Option<Vec<_>>>();
    Ok(sizes.ok_or_else(|| wrong("they are no numbers".to_owned()))?.into_iter())
}

/// One number for a frame of one block, else `{"sum": [number, ...]}`.
fn block_sizes(entry: &Value) -> Option<Vec<u64>> {
    match entry {
        Value::Object(sum) => sum.values().next()?.as_array()?.iter().map(Value::as_u64).collect(),
        number => Some(vec![number.as_u64()?]),
    }
}

/// The runs of a stream, as far as they are known.
struct Runs<'a> {
    opened: &'a Opened,
    meta: &'a Meta,
    blocks: Option<std::vec::IntoIter<Vec<u64>>>,
    budget: Budget,
    found: Vec<LayerExtent>,
}

impl Runs<'_> {
    /// Reads all frames, and returns where the stream ends.
    fn read(&mut self, mut at: u64) -> Result<u64, Error> {
        let mut data_bytes = 0_u64;
        loop {
            let frame = read_frame(self.opened, at)?;
            at += HEADER_BYTES;
            match &frame.kind {
                b"data" => {
                    self.check_on_disk(&frame, at)?;
                    data_bytes = data_bytes.saturating_add(frame.length);
                    at = self.data(&frame, at)?;
                }
                b"zero" => {
                    self.check_on_disk(&frame, at)?;
                    if !self.meta.incremental {
                        self.push(frame.start, frame.length, LayerBytes::Zero)?;
                    }
                }
                b"stop" => break,
                _ => return Err(self.opened.damaged(format!("the frame at byte {} is of no kind", at - HEADER_BYTES))),
            }
        }
        match self.meta.data_bytes {
            Some(expected) if expected != data_bytes => {
                Err(self.opened.damaged(format!("it holds {data_bytes} bytes of data, expected {expected}")))
            }
            _ => Ok(at),
        }
    }

    fn check_on_disk(&self, frame: &Frame, at: u64) -> Result<(), Error> {
        let end = frame.start.checked_add(frame.length);
        if end.is_none_or(|end| end > self.meta.size_bytes) {
            let (start, length, size) = (frame.start, frame.length, self.meta.size_bytes);
            return Err(self.opened.damaged(format!(
                "the frame before byte {at} is of {length} bytes at byte {start} of a disk of {size} bytes"
            )));
        }
        Ok(())
    }

    /// Adds the run of a frame whose content begins at `at`, and returns where the next frame begins.
    fn data(&mut self, frame: &Frame, at: u64) -> Result<u64, Error> {
        let end = match &mut self.blocks {
            None => {
                self.push(frame.start, frame.length, LayerBytes::Plain { file: 0, at })?;
                at.saturating_add(frame.length)
            }
            Some(blocks) => {
                let sizes = blocks.next();
                let sizes = sizes.ok_or_else(|| self.opened.damaged("it has the sizes of too few blocks"))?;
                self.packed(frame, at, &sizes)?
            }
        };
        end_line(self.opened, end)
    }

    fn packed(&mut self, frame: &Frame, mut at: u64, sizes: &[u64]) -> Result<u64, Error> {
        let end = frame.start + frame.length;
        let mut offset = frame.start;
        for stored in sizes {
            let only = (sizes.len() == 1).then_some(frame.length);
            let unpacked = self.unpacked_bytes(at, only)?;
            let (Ok(stored_bytes), true) = (u32::try_from(*stored), unpacked <= BLOCK_BYTES_MAX) else {
                let what = format!("the block at byte {at} has {stored} bytes, {unpacked} when unpacked");
                return Err(self.opened.unsupported(what));
            };
            let unpacked_bytes = unpacked as u32;
            let bytes =
                LayerBytes::Packed { file: 0, at, stored_bytes, unpacked_bytes, skip: 0, packing: Packing::Lz4 };
            self.push(offset, unpacked.min(end - offset), bytes)?;
            offset += unpacked;
            at = at.saturating_add(*stored);
            if offset > end {
                break;
            }
        }
        if offset != end {
            let what = format!("the blocks before byte {at} do not have the {} bytes of their frame", frame.length);
            return Err(self.opened.damaged(what));
        }
        Ok(at)
    }

    /// Returns how long an LZ4 frame is when unpacked; its header says so, or else it is the `only` one of its run.
    fn unpacked_bytes(&self, at: u64, only: Option<u64>) -> Result<u64, Error> {
        let header = self.opened.read(at, LZ4_HEADER_BYTES)?;
        let (Some(rest), Some(flags)) = (header.strip_prefix(LZ4_MAGIC), header.get(4)) else {
            return Err(self.opened.damaged(format!("no LZ4 frame is at byte {at}")));
        };
        let size = rest.get(2..).and_then(|size| Some(u64::from_le_bytes(size.try_into().ok()?)));
        let told = size.filter(|_| flags & LZ4_HAS_SIZE != 0).or(only);
        told.ok_or_else(|| self.opened.unsupported(format!("the LZ4 frame at byte {at} does not say its length")))
    }

    fn push(&mut self, offset: u64, length: u64, bytes: LayerBytes) -> Result<(), Error> {
        self.budget.take().map_err(|TooMany| too_many(self.opened))?;
        self.found.push(LayerExtent { offset, length, bytes });
        Ok(())
    }

    /// Returns the runs in the order of the disk.
    fn finish(mut self) -> Result<Vec<LayerExtent>, Error> {
        self.found.sort_by_key(|run| run.offset);
        let mut budget = Budget::of(self.opened.device.size_bytes);
        let mut pieces = Pieces::new(self.meta.size_bytes);
        let mut end = 0;
        for run in self.found {
            if run.offset < end {
                return Err(self.opened.damaged(format!("two frames describe byte {} of the disk", run.offset)));
            }
            end = run.offset + run.length;
            pieces.add(&mut budget, run).map_err(|TooMany| too_many(self.opened))?;
        }
        Ok(pieces.finish())
    }
}

fn too_many(opened: &Opened) -> Error {
    opened.unsupported("it is in more pieces than its length can have")
}
