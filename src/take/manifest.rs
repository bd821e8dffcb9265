//! The manifest of a generation: what it did to the tree, beside its copy, so that a catalog can be made again.
//!
//! JSON lines, compressed with zstd: a header, then what the catalog was told ([`Deed`]), then an end mark with the number
//! of lines. Names, targets and bytes that lie in the catalog itself are text, escaped as in [`crate::model::escape_bytes`]; values
//! of attributes are hexadecimal; nodes are numbers that mean the same in all manifests of one source. The runs of a file on a
//! disk are `[offset in the file, offset on the disk, length]` in bytes, with a `true` behind where nothing was ever written.
//!
//! Promises: a manifest that has its name is whole and on the disk, and only its owner can read it: it has every name. Never read by a
//! mount.

use super::durable::create_anew;
use crate::catalog::{Deed, DiskRow, GenerationWriter, NodeRow, Place, TellError};
use crate::model::{Extent, Level, Time, escape_bytes};
use crate::source::gluster::Gfid;
use crate::source::gluster::part::Hex;
use serde_json::{Value, json};
use std::io::{self, BufWriter, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The version of manifests that this program writes.
const FORMAT: u32 = 1;
/// Fast, and a third of the size.
const COMPRESSION: i32 = 3;

/// What the header of a manifest says.
#[derive(Clone, Copy, Debug)]
pub(super) struct About<'a> {
    pub(super) source: &'a str,
    pub(super) settings: &'a str,
    pub(super) taken_at: Time,
    pub(super) level: Level,
    /// What it holds of a disk, if it is of one.
    pub(super) disk: Option<&'a DiskRow>,
}

/// Returns where the manifest of the copy `folder/name` is.
pub(super) fn path_of(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.manifest.zst"))
}

/// Writes the manifest of `generation` to `path`, and syncs it.
///
/// # Errors
/// That of writing, or of the catalog.
pub(super) fn write(
    path: &Path,
    about: &About<'_>,
    generation: &GenerationWriter<'_>,
    resume: Option<&str>,
) -> io::Result<()> {
    let draft = path.with_extension("new");
    let mut out = zstd::Encoder::new(BufWriter::new(create_anew(&draft)?), COMPRESSION)?;
    let mut lines: u64 = 1;
    line(&mut out, &header(about, generation))?;
    let told = generation.tell(|deed| {
        lines += 1;
        let runs = match &deed {
            Deed::Version { row, .. } if about.disk.is_some() => runs(generation, row)?,
            _ => None,
        };
        let held = match &deed {
            Deed::Version { row: NodeRow { place: Place::InObject(object), .. }, .. } => {
                generation.object_at(*object).map_err(io::Error::other)?
            }
            _ => None,
        };
        line(&mut out, &as_json(&deed, runs, held, about.disk.is_some()))
    });
    match told {
        Ok(()) => {}
        Err(TellError::Told(e)) => return Err(e),
        Err(TellError::Catalog(e)) => return Err(io::Error::other(e)),
    }
    line(&mut out, &json!({ "end": { "lines": lines, "resume": resume } }))?;
    let file = out.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.sync_all()?;
    std::fs::rename(&draft, path)
}

fn line(out: &mut impl Write, value: &Value) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    out.write_all(b"\n")
}

fn header(about: &About<'_>, generation: &GenerationWriter<'_>) -> Value {
    json!({
        "manifest": FORMAT,
        "asof": env!("CARGO_PKG_VERSION"),
        "source": about.source,
        "settings": serde_json::from_str(about.settings).unwrap_or(Value::Null),
        "taken_at": about.taken_at.0,
        "previous": generation.previous().map(|t| t.0),
        "level": about.level.word(),
        "root": generation.root().0,
        "disk": about.disk.map(|disk| json!({
            "size": disk.layer.size_bytes,
            "parent": disk.parent.map(|parent| parent.0),
            "files": disk.layer.files.iter().map(|file| escape_bytes(file.path.as_os_str().as_bytes())).collect::<Vec<_>>(),
            "format": disk.format,
            "acquire": disk.acquire,
            "checkpoint": disk.checkpoint,
            "consistency": disk.consistency,
            "location": disk.location,
        })),
    })
}

/// Returns the runs of a file on its disk; none if its bytes are elsewhere.
fn runs(generation: &GenerationWriter<'_>, row: &NodeRow) -> io::Result<Option<Vec<Value>>> {
    if !matches!(row.place, Place::OnDisk(_) | Place::Run(_)) {
        return Ok(None);
    }
    let map = generation.map_of(row).map_err(io::Error::other)?;
    let run = |run: &Extent| match run.unwritten {
        true => json!([run.offset, run.at, run.length, true]),
        false => json!([run.offset, run.at, run.length]),
    };
    Ok(Some(map.extents.iter().map(run).collect()))
}

fn as_json(deed: &Deed, runs: Option<Vec<Value>>, held: Option<Time>, is_disk: bool) -> Value {
    match deed {
        Deed::Closed { parent, name } => json!({ "close": { "parent": parent.0, "name": escape_bytes(name) } }),
        Deed::Opened { parent, name, node, kind } => {
            let kind = kind.letter().to_string();
            json!({ "open": { "parent": parent.0, "name": escape_bytes(name), "node": node.0, "kind": kind } })
        }
        Deed::Version { node, key, row, perm, xattrs, target } => {
            let (place, number) = match row.place {
                Place::None => ("none", None),
                Place::OwnPath => ("own path", None),
                Place::InObject(_) => ("copy", held.map(|at| at.0)),
                Place::Inline(_) => ("target", None),
                Place::OnDisk(_) | Place::Run(_) => ("runs", None),
                Place::WholeDisk => ("disk", None),
                Place::Device(number) => ("device", Some(number as i64)),
                Place::Lost => ("lost", None),
            };
            let xattrs: Vec<Value> =
                xattrs.iter().map(|(name, value)| json!([escape_bytes(name), Hex(value.to_vec())])).collect();
            let mut version = json!({
                "node": node.0,
                "mode": perm.mode, "uid": perm.uid, "gid": perm.gid,
                "size": row.size_bytes, "allocated": row.allocated_bytes,
                "mtime": [row.mtime.seconds, row.mtime.nanos], "ctime": [row.ctime.seconds, row.ctime.nanos],
                "nlink": row.nlink, "place": place, "at": number,
                "target": target.as_deref().map(escape_bytes),
                "xattrs": xattrs,
            });
            // Who the node is in the source: a gfid; or an inode and which of those that had the number.
            match (key, is_disk) {
                (Some(key), true) => version["inode"] = json!([key.inode, key.born_ns]),
                (key, false) => version["gfid"] = json!(key.map(|key| Gfid::of_key(key).to_string())),
                (None, true) => {}
            }
            if let Some(runs) = runs {
                version["runs"] = Value::Array(runs);
            }
            json!({ "version": version })
        }
    }
}
