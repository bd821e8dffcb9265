//! Has the bytes of one file taken, or leaves them where an earlier generation has them.
//!
//! Promises: whoever takes bytes is asked once for each file, with the catalog let go if he may wait; what he answers is what is recorded.

use super::Error;
use super::keep::{FileToKeep, Keep, Kept};
use crate::catalog::{GenerationWriter, NodeRow, Place, Written};
use crate::model::{Attrs, FileKey, FindingKind, Kind, NodeId, RelPath};

/// When a file whose size and mtime are as before still may have other bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doubt {
    /// Never: the source said what changed, and did not name its bytes.
    None,
    /// If its ctime is another one: the source said that its bytes changed, or nothing.
    IfTouched,
}

/// What is to be recorded of a file.
pub(super) enum Outcome {
    Recorded { place: Place, written: Written, finding: Option<(FindingKind, String)> },
    Gone,
}

/// Has the bytes of one file taken, or leaves them where `base` has them.
pub(super) fn keep_file(
    keep: &mut dyn Keep,
    writer: &mut GenerationWriter<'_>,
    (path, key, origin): (&RelPath, FileKey, u32),
    attrs: &mut Attrs,
    base: Option<(NodeId, &NodeRow)>,
    doubt: Doubt,
) -> Result<Outcome, Error> {
    debug_assert_eq!(attrs.kind(), Kind::File);
    let same = |row: &NodeRow| {
        row.size_bytes == attrs.size_bytes
            && row.mtime == attrs.mtime
            && (doubt == Doubt::None || row.ctime == attrs.ctime)
    };
    let held = base.filter(|(_, row)| same(row)).and_then(|(node, row)| match row.place {
        Place::InObject(held) => Some((node, held)),
        _ => None,
    });
    let held_at = match held {
        Some((node, object)) if keep.looks_at_held() => writer.held_path(object, node)?,
        _ => None,
    };
    let held = match held {
        Some((_, object)) => writer.object_at(object)?.map(|at| (object, at)),
        None => None,
    };
    // A copy may take long: whoever waits for the catalog comes in.
    if keep.may_wait() {
        writer.let_go()?;
    }
    let file = FileToKeep { path, key, origin, attrs, held: held.map(|(_, at)| at), held_at };
    let kept = keep.file(file).map_err(Error::Keep)?;
    Ok(match (kept, held) {
        (Kept::Held, Some((object, _))) => {
            Outcome::Recorded { place: Place::InObject(object), written: Written::No, finding: None }
        }
        (Kept::Copied { moved }, _) => {
            let finding = moved.map(|how| (FindingKind::Changed, how));
            Outcome::Recorded { place: Place::InObject(writer.object()), written: Written::Yes, finding }
        }
        (Kept::Lost(why), _) => {
            let finding = Some((FindingKind::Unreadable, why));
            Outcome::Recorded { place: Place::Lost, written: Written::Yes, finding }
        }
        (Kept::Gone, _) => Outcome::Gone,
        (Kept::Held, None) => unreachable!("nobody holds the bytes of \"{path}\""),
    })
}
