//! `asof when`: in which generation a path was deleted or changed, or which files had a content.
//!
//! A digest finds the contents that were read whole, those of sources with `--checksum`.

use super::rows::{FormArgs, Rows};
use crate::catalog::{Reader, Scope};
use crate::cli::World;
use crate::cli::complete;
use crate::cli::output;
use crate::cli::report::{Failure, Outcome};
use crate::cli::say::local;
use crate::cli::target::Target;
use crate::jobs::ask::find::newest_in_doubt;
use crate::jobs::ask::when::{WhenRow, changed, deleted, with_digest};
use crate::model::{RelPath, Time};
use clap::Args;
use clap_complete::ArgValueCompleter;

#[derive(Debug, Args)]
#[group(id = "event", required = true, multiple = false, args = ["deleted", "changed", "digest"])]
pub(in crate::cli) struct WhenArgs {
    /// SOURCE:PATH, or with --digest SOURCE; :PATH asks all sources
    #[arg(add = ArgValueCompleter::new(complete::targets))]
    target: std::ffi::OsString,
    /// When was it gone?
    #[arg(long)]
    deleted: bool,
    /// When did it change? Of a directory: when did anything in it or below it?
    #[arg(long)]
    changed: bool,
    /// When was the content with this digest (BLAKE3, as b3sum prints it) there, and where?
    #[arg(long, value_name = "HEX", value_parser = digest)]
    digest: Option<[u8; 32]>,
    #[command(flatten)]
    form: FormArgs,
}

fn digest(text: &str) -> Result<[u8; 32], String> {
    let wrong = || "a digest is 64 hexadecimal digits".to_owned();
    if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(wrong());
    }
    let mut digest = [0; 32];
    for (byte, digits) in digest.iter_mut().zip(text.as_bytes().chunks(2)) {
        let digits = std::str::from_utf8(digits).map_err(|_| wrong())?;
        *byte = u8::from_str_radix(digits, 16).map_err(|_| wrong())?;
    }
    Ok(digest)
}

pub(in crate::cli) fn run(args: &WhenArgs, world: &World) -> Result<Outcome, Failure> {
    let reader = world.reader()?;
    let (name, path) = match Target::parse(&args.target)? {
        Target::Source(name) => (name, RelPath::root()),
        Target::Entry(name, path) => (name, path),
        Target::Generation(..) => return Err(Failure::new("what happened when is asked of a path, without a date")),
    };
    let scopes: Vec<Scope> = match name.as_str() {
        "" => reader.sources()?.into_iter().map(|source| reader.scope(source)).collect::<Result<_, _>>()?,
        name => vec![reader.scope_of(name)?],
    };
    let mut found = Vec::new();
    for scope in &scopes {
        found.extend(events(args, &reader, scope, &path)?);
    }
    if found.is_empty() {
        let shown = if path.is_root() { name.clone() } else { format!("{name}:{path}") };
        return Err(Failure::new(match args.digest {
            Some(_) => format!("no content with this digest is known of {shown:?}"),
            None => format!("no generation has {shown:?}"),
        }));
    }
    let mut rows = Rows::new(&args.form, &["taken_at", "what", "last_seen", "path", "details"], &[false; 5]);
    for row in found.iter().flatten() {
        rows.row(|| cells(row), row, row.restore_path.as_bytes())?;
    }
    rows.finish()?;
    let mut in_doubt = 0;
    for scope in &scopes {
        in_doubt += newest_in_doubt(&reader, scope)?;
    }
    if in_doubt == 0 {
        return Ok(Outcome::Done);
    }
    let count = output::number_of(in_doubt, "directory", "directories");
    eprintln!(
        "asof: {count} could not be listed in the newest generation: whether something there is gone or changed is not known"
    );
    Ok(Outcome::WithFindings)
}

/// Returns what happened in a source; none: it never had the path, or the content.
fn events(args: &WhenArgs, reader: &Reader, scope: &Scope, path: &RelPath) -> Result<Option<Vec<WhenRow>>, Failure> {
    Ok(match &args.digest {
        Some(digest) => Some(with_digest(reader, scope, path, digest)?).filter(|rows| !rows.is_empty()),
        None if args.deleted => deleted(reader, scope, path)?,
        None => changed(reader, scope, path)?,
    })
}

fn cells(row: &WhenRow) -> Vec<String> {
    let last = row.last_seen.as_deref().and_then(|text| text.parse::<jiff::Timestamp>().ok());
    let last = last.map_or_else(|| "-".to_owned(), |at| local(Time(at.as_second())));
    let lives = row.lives_as.as_ref().map(|path| format!("lives as {path}"));
    let details = lives.into_iter().chain(row.fields.iter().map(|field| (*field).to_owned())).collect::<Vec<_>>();
    let details = if details.is_empty() { "-".to_owned() } else { details.join(", ") };
    vec![local(Time(row.taken_at_unix)), row.what.to_owned(), last, format!("{}:{}", row.source, row.path), details]
}
