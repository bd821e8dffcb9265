//! What is odd about a list beside its directory, in words.
//! Each text names the line, and what the directory has instead.

use crate::model::{Finding, FindingKind, RelPath};

pub(super) fn anomaly(path: &RelPath, detail: String) -> Finding {
    Finding { kind: FindingKind::Anomaly, path: path.clone(), detail }
}

pub(super) fn not_copied(path: &RelPath, line: u64, unsure: bool) -> Finding {
    let more = if unsure { "; the line is not encoded as the others are" } else { "" };
    anomaly(path, format!("line {line} says that it is new or modified, and it is not among the copied files{more}"))
}

pub(super) fn still_there(path: &RelPath, line: u64) -> Finding {
    anomaly(path, format!("line {line} says that it was deleted, and it is among the copied files"))
}
