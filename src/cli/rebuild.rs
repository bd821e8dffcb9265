//! `asof rebuild`: a lost catalog is made again from manifests.
//!
//! Promises: what could not be made again is named, with the reason and with what helps; then the exit code is 1.

use super::World;
use super::args::PRINT_JSON;
use super::output;
use super::progress::Terminal;
use super::report::{Failure, Outcome};
use crate::jobs::rebuild::{Bad, Error, Rebuilt, Report, Wish, rebuild};
use crate::model::chain;
use clap::Args;
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
pub(super) struct RebuildArgs {
    /// Directories to look in besides that beside the catalog: stores, second places of manifests
    folders: Vec<PathBuf>,
    /// The file to make [default: the catalog]; there must be none
    #[arg(long, value_name = "FILE")]
    into: Option<PathBuf>,
    #[arg(long, help = PRINT_JSON)]
    json: bool,
}

pub(super) fn run(args: &RebuildArgs, world: &World) -> Result<Outcome, Failure> {
    let folders: Vec<PathBuf> = args.folders.iter().map(|folder| canonical(folder)).collect::<Result<_, _>>()?;
    let into = args.into.as_deref().unwrap_or(&world.catalog);
    if let Some(folder) = into.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder)
            .map_err(|e| Failure::because(format!("making the directory {folder:?}"), &e))?;
    }
    let wish = Wish { catalog: &world.catalog, into, folders: &folders };
    let report = rebuild(&wish, &Terminal::new()).map_err(|e| failure(e).about("cannot make the catalog again"))?;
    tell(into, &report);
    if args.json {
        output::json(&serde_json::to_value(&report).map_err(|e| Failure::because("writing the answer", &e))?)?;
    }
    Ok(if report.is_lacking() { Outcome::WithFindings } else { Outcome::Done })
}

fn canonical(folder: &Path) -> Result<PathBuf, Failure> {
    std::fs::canonicalize(folder)
        .map_err(|e| Failure::because(format!("looking for manifests in {folder:?}"), &e).hint("nothing was made"))
}

fn failure(e: Error) -> Failure {
    let text = chain(&e);
    match e {
        Error::Catalog(e) => e.into(),
        Error::Exists { .. } => Failure::new(text).hint("move it away, or name another file with --into"),
        Error::Nothing { bad, .. } => {
            bad.iter().for_each(tell_bad);
            Failure::new(text).hint("name the stores and second places in which manifests lie: asof rebuild DIR...")
        }
        Error::Store(_) | Error::Io { .. } => Failure::new(text).hint("nothing was made"),
    }
}

fn tell(into: &Path, report: &Report) {
    for source in &report.sources {
        tell_source(source);
    }
    report.bad.iter().for_each(tell_bad);
    for what in &report.not_copied {
        eprintln!("a manifest was not copied beside the new catalog: {what}");
    }
    let generations: usize = report.sources.iter().map(|source| source.generations.len()).sum();
    let folders: Vec<String> = report.looked_in.iter().map(|folder| format!("{folder:?}")).collect();
    eprintln!(
        "made the catalog {into:?} of the manifests in {}: {}, {}",
        folders.join(", "),
        counted(report.sources.len(), "source"),
        counted(generations, "generation"),
    );
    if report.is_lacking() {
        eprintln!(
            "hint: asof index NAME indexes what copies are still there; a damaged manifest may be whole in another place"
        );
    }
}

fn tell_source(source: &Rebuilt) {
    let name = &source.name;
    if let Some(was_called) = &source.was_called {
        eprintln!("a second source \"{was_called}\" is called \"{name}\"");
    }
    for sequence in &source.missing {
        eprintln!("manifest {sequence} of \"{name}\" is missing");
    }
    for left in &source.left_out {
        eprintln!("left out {} of \"{name}\", manifest {:?}: {}", left.when.0, left.path, left.why);
    }
    for unlike in &source.unlike {
        let (said, found) = (unlike.said, unlike.found);
        eprintln!(
            "{} of \"{name}\" is not what its manifest says: it has {} and {} bytes, and the manifest counted {} and {}",
            unlike.when.0,
            counted(found.entries as usize, "entry"),
            found.size_bytes,
            said.entries,
            said.size_bytes,
        );
    }
}

fn tell_bad(bad: &Bad) {
    let instead = bad.instead.as_ref().map_or_else(String::new, |path| format!("; {path:?} was used"));
    eprintln!("cannot use {:?}: {}{instead}", bad.path, bad.what);
}

fn counted(count: usize, what: &str) -> String {
    match (count, what) {
        (1, what) => format!("1 {what}"),
        (count, "entry") => format!("{count} entries"),
        (count, what) => format!("{count} {what}s"),
    }
}
