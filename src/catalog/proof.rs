//! The proof before a generation is published: what was told holds together.
//!
//! Every name that was told hangs below a directory that lives, and leads to a node that has a version; nothing lives below a directory
//! that died; a directory has one name; link counts are the numbers of names; as many entries were counted as there are names. The whole
//! catalog is proved by `check`; this costs what was told.
//!
//! Promises: a generation that fails is not published, and the error names the path. Never writes.

use super::draft::Mode;
use super::paths::path_at;
use super::{Error, GenerationWriter, parts, tables};
use crate::model::{Kind, NodeId, escape_bytes};
use rusqlite::Connection;

/// What does not hold, and of which node.
type Flaw = Option<(NodeId, String)>;

/// Proves the generation that `writer` was told, whose rows are written.
pub(super) fn prove(writer: &GenerationWriter<'_>, walked: Option<u64>) -> Result<(), Error> {
    debug_assert!(matches!(writer.mode, Mode::Append), "the rows are there");
    for node in writer.ledger.linked.iter().copied().chain(writer.ledger.named()) {
        if let Some((node, what)) = links(writer, node)? {
            return Err(unproved(writer, node, what)?);
        }
    }
    let flaw = writer.sql("proving a generation", |c| {
        for node in writer.ledger.named() {
            if let Some(flaw) = has_version(writer, c, node)? {
                return Ok(Some(flaw));
            }
        }
        for dir in &writer.ledger.parents {
            if let Some(flaw) = lives(writer, c, *dir)? {
                return Ok(Some(flaw));
            }
        }
        Ok(None)
    })?;
    match flaw {
        Some((node, what)) => Err(unproved(writer, node, what)?),
        None => entries(writer, walked),
    }
}

fn has_version(writer: &GenerationWriter<'_>, c: &Connection, node: NodeId) -> rusqlite::Result<Flaw> {
    if !tables::has_name_at(c, node, writer.at)? || tables::version_at(c, node, writer.at)?.is_some() {
        return Ok(None);
    }
    Ok(Some((node, "it has a name and no attributes".to_owned())))
}

fn lives(writer: &GenerationWriter<'_>, c: &Connection, dir: NodeId) -> rusqlite::Result<Flaw> {
    if dir == writer.root {
        return Ok(None);
    }
    if !tables::has_name_at(c, dir, writer.at)? {
        // It is no flaw if what was put into it was taken away again.
        return Ok(tables::any_in(c, dir, writer.at)?
            .map(|name| (dir, format!("\"{}\" is in a directory that has no name", escape_bytes(&name)))));
    }
    let kind = kind(c, writer, dir)?;
    Ok((kind != Some(Kind::Directory)).then(|| (dir, "names are in it, and it is not a directory".to_owned())))
}

fn kind(c: &Connection, writer: &GenerationWriter<'_>, node: NodeId) -> rusqlite::Result<Option<Kind>> {
    let row = tables::version_at(c, node, writer.at)?;
    row.map_or(Ok(None), |row| Ok(Kind::from_mode(parts::perm(c, row.perm)?.mode)))
}

/// Proves the link count of a node; of a directory that died, that nothing lives below it.
fn links(writer: &GenerationWriter<'_>, node: NodeId) -> Result<Flaw, Error> {
    let doing = "proving a generation";
    let (names, kind) =
        writer.sql(doing, |c| Ok((tables::names_at(c, node, writer.at)?.len(), kind(c, writer, node)?)))?;
    if kind == Some(Kind::Directory) {
        if names > 1 {
            return Ok(Some((node, format!("a directory has {names} names"))));
        }
        let is_gone = names == 0 && node != writer.root;
        return if is_gone { writer.sql(doing, |c| lives(writer, c, node)) } else { Ok(None) };
    }
    // Of what was not seen the base's count holds. A disk says itself how many names its files have; where it contradicts itself it is
    // shown as it is.
    let names = if writer.unknown.is_some() { writer.seen_names(node)? } else { names };
    if names == 0 || writer.disk.is_some() {
        return Ok(None);
    }
    let row = writer.sql(doing, |c| tables::version_at(c, node, writer.at))?;
    Ok(row
        .filter(|row| row.nlink as usize != names)
        .map(|row| (node, format!("its link count is {}, and it has {names} names", row.nlink))))
}

/// Proves that as many names were counted as there are.
fn entries(writer: &GenerationWriter<'_>, walked: Option<u64>) -> Result<(), Error> {
    let (there, _) = writer.totals()?;
    let what = match walked {
        _ if there < 0 => format!("{there} entries are written"),
        Some(walked) if (walked + writer.kept_count()) as i64 != there => {
            let kept = match writer.kept_count() {
                0 => String::new(),
                kept => format!(" and {kept} kept"),
            };
            format!("{walked} entries were seen{kept}, and {there} are written")
        }
        _ => return Ok(()),
    };
    Err(unproved(writer, writer.root, what)?)
}

fn unproved(writer: &GenerationWriter<'_>, node: NodeId, what: String) -> Result<Error, Error> {
    let path = writer.sql("proving a generation", |c| match path_at(c, writer.root, node, writer.at)? {
        Some(path) => Ok(path),
        // What it was called before.
        None => Ok(match writer.previous {
            Some(previous) => path_at(c, writer.root, node, previous)?.unwrap_or_default(),
            None => Vec::new(),
        }),
    })?;
    let path = if path.is_empty() { ".".to_owned() } else { escape_bytes(&path).into_owned() };
    Ok(Error::Unproved { at: writer.at, path, what })
}
