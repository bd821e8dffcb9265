//! `asof ls`: a directory as of a date, straight from the catalog; no mount is needed and no copy is opened.
//! Names that are not plain text are shown escaped, as in SQL.

use super::World;
use super::args::PRINT_JSON;
use super::complete;
use super::output;
use super::report::{Failure, Outcome};
use super::say::local;
use super::target::{Target, generation_at, is_in_doubt, node_at, unlisted};
use crate::catalog::{DirEntry, Place, Reader};
use crate::model::{Kind, RelPath, Time, escape_bytes, mode_text};
use clap::Args;
use clap_complete::ArgValueCompleter;
use serde_json::{Value, json};
use std::ops::ControlFlow;

/// Entries read from the catalog before they are printed.
const BATCH: usize = 4096;

#[derive(Debug, Args)]
pub(super) struct LsArgs {
    /// SOURCE or SOURCE:PATH [default: the sources]
    #[arg(add = ArgValueCompleter::new(complete::targets))]
    target: Option<std::ffi::OsString>,
    /// As of when [default: latest]
    #[arg(long, value_name = "DATE", allow_hyphen_values = true, add = ArgValueCompleter::new(complete::dates))]
    at: Option<String>,
    /// Long listing: mode, links, owner, group, size, mtime, name
    #[arg(short, long)]
    long: bool,
    #[arg(long, help = PRINT_JSON)]
    json: bool,
}

pub(super) fn run(args: &LsArgs, world: &World) -> Result<Outcome, Failure> {
    let reader = world.reader()?;
    let Some(target) = &args.target else {
        let names: Vec<String> = reader.sources()?.into_iter().map(|s| s.name).collect();
        match args.json {
            true => output::json(&names.into())?,
            false => names.iter().try_for_each(|name| output::line(name))?,
        }
        return Ok(Outcome::Done);
    };
    let (name, path, date) = match Target::parse(target)? {
        Target::Source(name) => (name, RelPath::root(), args.at.clone()),
        Target::Entry(name, path) => (name, path, args.at.clone()),
        Target::Generation(name, date) if args.at.is_none() => (name, RelPath::root(), Some(date)),
        Target::Generation(..) => return Err(Failure::new("two dates are given: one after @ and one with --at")),
    };
    let source = reader.source(&name)?;
    let at = generation_at(&reader, &source, date.as_deref(), world)?.taken_at;
    let (node, kind) = node_at(&reader, &source, &path, at)?;
    if kind != Kind::Directory {
        return Err(Failure::new(format!("\"{name}/{path}\" is not a directory as of {}", local(at)))
            .hint(format!("asof show {name}:{path} describes it")));
    }
    let is_in_doubt = is_in_doubt(&reader, node, at)?;
    let mut values = Vec::new();
    let mut after: Option<Vec<u8>> = None;
    loop {
        let mut batch: Vec<DirEntry> = Vec::new();
        reader.list(node, at, after.as_deref(), BATCH, |entry| {
            batch.push(entry);
            ControlFlow::Continue(())
        })?;
        let Some(last) = batch.last() else { break };
        after = Some(last.name.as_bytes().to_vec());
        if is_in_doubt {
            // What nobody saw is not listed.
            let mut seen = Vec::with_capacity(batch.len());
            for entry in batch {
                if !reader.is_kept(node, entry.name.as_bytes(), at)? {
                    seen.push(entry);
                }
            }
            batch = seen;
        }
        for entry in &batch {
            match (args.json, args.long) {
                (true, _) => values.push(as_json(&reader, entry)?),
                (false, true) => output::line(&long_line(&reader, entry)?)?,
                (false, false) => output::line(&entry.name.to_string())?,
            }
        }
    }
    if args.json {
        output::json(&values.into())?;
    }
    if is_in_doubt { Err(unlisted(&source, &path, at)) } else { Ok(Outcome::Done) }
}

fn long_line(reader: &Reader, entry: &DirEntry) -> Result<String, Failure> {
    let perm = reader.perm(entry.row.perm)?;
    let size = match entry.row.place {
        Place::Device(number) => device(number),
        _ => entry.row.size_bytes.to_string(),
    };
    let mut line = format!(
        "{}{} {:>3} {:>5} {:>5} {size:>12} {} {}",
        mode_text(perm.mode),
        if perm.xattr == 0 { ' ' } else { '+' },
        entry.row.nlink,
        perm.uid,
        perm.gid,
        local(Time(entry.row.mtime.seconds)),
        entry.name,
    );
    if let Some(target) = link_target(reader, entry.row.place, entry.kind)? {
        line.push_str(&format!(" -> {target}"));
    }
    Ok(line)
}

fn as_json(reader: &Reader, entry: &DirEntry) -> Result<Value, Failure> {
    let perm = reader.perm(entry.row.perm)?;
    Ok(json!({
        "name": entry.name.to_string(),
        "kind": entry.kind.word(),
        "mode": format!("{:04o}", perm.mode & 0o7777),
        "uid": perm.uid,
        "gid": perm.gid,
        "size_bytes": entry.row.size_bytes,
        "mtime": entry.row.mtime.to_string(),
        "nlink": entry.row.nlink,
        "has_xattrs": perm.xattr != 0,
        "link_target": link_target(reader, entry.row.place, entry.kind)?,
    }))
}

/// Returns the target of a symbolic link as text.
pub(super) fn link_target(reader: &Reader, place: Place, kind: Kind) -> Result<Option<String>, Failure> {
    match (kind, place) {
        (Kind::Symlink, Place::Inline(id)) => Ok(Some(escape_bytes(&reader.inline(id)?).into_owned())),
        _ => Ok(None),
    }
}

/// Returns major and minor number of a device, as `ls` writes them.
pub(super) fn device(number: u64) -> String {
    // The kernel's encoding for user space: gnu_dev_major and gnu_dev_minor of glibc.
    let major = (number >> 8 & 0xfff) | (number >> 32 & 0xffff_f000);
    let minor = (number & 0xff) | (number >> 12 & 0xffff_ff00);
    format!("{major}, {minor}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_numbers_are_told_apart() {
        assert_eq!(device(0x0103), "1, 3");
        assert_eq!(device(0x0011_2345), "291, 325");
    }
}
