//! `asof rebuild`: a lost catalog is made again from manifests, or one that is there gets what it lacks.
//!
//! Promises: what could not be made again is named, with the reason and with what helps; then the exit code is 1.

use super::World;
use super::args::PRINT_JSON;
use super::output;
use super::progress::Terminal;
use super::report::{Failure, Outcome};
use super::say::{local, say};
use crate::catalog::Busy;
use crate::clock::Clock;
use crate::jobs::rebuild::{Bad, Error, NotTaken, Rebuilt, Report, Wish, rebuild};
use crate::model::chain;
use clap::Args;
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
pub(super) struct RebuildArgs {
    /// More directories with manifests: stores, second places [default: only the one beside the catalog]
    folders: Vec<PathBuf>,
    /// The file to make [default: the catalog]; an existing catalog gets what it lacks
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
    if into.exists() {
        world.bring_one_up_to_date("rebuild", into).map_err(|failure| {
            failure.about("cannot make the catalog again").hint("move it away, or name another file with --into FILE")
        })?;
    }
    let wait = world.lock_wait("rebuild");
    let busy = |busy: &Busy| say!("waiting: {busy}");
    let (catalog, patience, now) = (&world.catalog, &world.patience, world.clock.now());
    let wish = Wish { patience, catalog, into, folders: &folders, wait: &wait, busy, now };
    let report = rebuild(&wish, &Terminal::new()).map_err(|e| failure(e).about("cannot make the catalog again"))?;
    print(into, &report);
    if args.json {
        output::report(&report)?;
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
        Error::Exists { .. } => Failure::new(text).hint("run it again: the existing catalog gets what it lacks"),
        Error::Nothing { bad, .. } => {
            bad.iter().for_each(print_bad);
            Failure::new(text).hint("name the stores and second places in which manifests lie: asof rebuild DIR...")
        }
        Error::Store(_) | Error::Io { .. } => Failure::new(text).hint("nothing was made"),
    }
}

fn print(into: &Path, report: &Report) {
    for source in &report.sources {
        print_source(source);
    }
    for removed in &report.removed {
        let (name, marker) = (&removed.name, &removed.marker);
        say!("source \"{name}\" was removed, and stays so; delete {marker:?} to bring it back");
    }
    report.bad.iter().for_each(print_bad);
    for what in &report.not_copied {
        eprintln!("a manifest was not copied beside the new catalog: {what}");
    }
    let generations: usize = report.sources.iter().map(|source| source.generations.len()).sum();
    let folders: Vec<String> = report.looked_in.iter().map(|folder| format!("{folder:?}")).collect();
    let (deed, folders) = (if report.was_there { "went on with" } else { "made" }, folders.join(", "));
    let generations = counted(generations, "generation");
    match (report.was_there, generations.as_str()) {
        (true, "0 generations") => say!("the catalog {into:?} lacks nothing that the manifests in {folders} have"),
        _ => {
            let sources = counted(report.sources.len(), "source");
            say!("{deed} the catalog {into:?} from the manifests in {folders}: {sources}, {generations}");
        }
    }
    if report.is_lacking() {
        eprintln!(
            "hint: asof index NAME indexes the copies that are still there; a damaged manifest may be whole in another directory"
        );
    }
}

fn print_source(source: &Rebuilt) {
    let name = &source.name;
    if let Some(was_called) = &source.was_called {
        eprintln!("a second source \"{was_called}\" is called \"{name}\"");
    }
    if source.renumbered && !source.generations.is_empty() {
        eprintln!("\"{name}\" has other node numbers, which another source had: it is another source from now on");
    }
    for command in &source.commands {
        eprintln!("asof take {name} will run {command:?}, as its manifests say: is that yours?");
    }
    if let Some(NotTaken { user, options }) = &source.not_taken {
        let options: Vec<String> = options.iter().map(|(option, value)| format!("{option} {value:?}")).collect();
        eprintln!(
            "not taken over to \"{name}\", since user {user} wrote its newest manifest or could have: {}",
            options.join(", ")
        );
        let option = options[0].split(' ').next().unwrap_or_default();
        eprintln!("hint: asof source set {name} {option} VALUE sets what is yours of it");
    }
    match source.older {
        0 => {}
        1 => eprintln!("generation 1 of \"{name}\" has no manifest: it is older than manifests, or that is lost"),
        older => eprintln!(
            "generations 1 to {older} of \"{name}\" have no manifests: they are older than manifests, or these are lost"
        ),
    }
    for missing in &source.missing {
        let of = missing.when.map_or_else(String::new, |when| format!(", of the generation of {},", local(when.0)));
        let newest = if missing.newest {
            ": it is the newest one; others between it and the last one that is there may be, too"
        } else {
            ""
        };
        eprintln!("manifest {} of \"{name}\"{of} is missing{newest}", missing.sequence);
    }
    if !source.forgotten.is_empty() {
        let days: Vec<String> = source.forgotten.iter().map(|when| local(when.0).to_string()).collect();
        say!("left out of \"{name}\", because they were forgotten: {}", days.join(", "));
    }
    for undecided in &source.undecided {
        let when = local(undecided.when.0);
        eprintln!(
            "{when} of \"{name}\" is there, and may have been forgotten: asof forget was killed, and left {:?}",
            undecided.path
        );
        eprintln!("hint: asof forget {name}@{when} forgets it");
    }
    for left in &source.left_out {
        eprintln!("left out {} of \"{name}\", manifest {:?}: {}", local(left.when.0), left.path, left.why);
    }
    for unlike in &source.unlike {
        let (said, found) = (unlike.said, unlike.found);
        eprintln!(
            "{} of \"{name}\" is not what its manifest says: it has {} and {} bytes, the manifest says {} and {}",
            local(unlike.when.0),
            counted(found.entries as usize, "entry"),
            found.size_bytes,
            said.entries,
            said.size_bytes,
        );
    }
}

fn print_bad(bad: &Bad) {
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
