//! The command line: arguments to calls, answers to text.
//!
//! Promises: data goes to standard output, everything else to standard error. Exit code 0 done, 1 done with
//! losses or findings, 2 not done (wrong usage included). Every listing has `--json`. With `--quiet` a run that ends with 0 says
//! nothing. This floor alone reads
//! the environment, the home directory and the terminal, and gives what it finds to the floors below as
//! arguments.

/// Prints a line to standard error. It stands in for that of `std` in all of this floor, so that nothing is printed past
/// [`output::say`], which lets nothing through that a terminal obeys.
macro_rules! eprintln {
    ($($text:tt)*) => { crate::cli::output::say(format_args!($($text)*)) };
}

mod args;
mod ask;
mod catalog;
mod check;
mod complete;
mod forget;
mod generations;
mod gluster;
mod index;
mod init;
mod ls;
mod migrate;
mod mount;
mod output;
mod pages;
mod progress;
mod rebuild;
mod report;
mod resolve;
mod say;
mod show;
mod source;
mod sql;
mod take;
mod target;
mod units;
mod world;

use args::{Cli, Verb};
use clap::error::{ContextKind, ContextValue};
use clap::{Command, CommandFactory, FromArgMatches};
use report::{Failure, Outcome};
use std::ffi::OsString;
use std::process::ExitCode;
use world::{SourceRun, World};

/// Runs the program with `args`, the first of which is its name.
pub fn main(args: Vec<OsString>) -> ExitCode {
    complete::answer_a_shell(command);
    let args = mount::from_helper_form(args, &Cli::command());
    let parsed = command().try_get_matches_from(args).and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(e) => {
            // Help and version are answers, the rest is a usage error.
            let code = if e.use_stderr() { 2 } else { 0 };
            output::usage(&with_tips(without_hidden(e)));
            return ExitCode::from(code);
        }
    };
    say::set_amount(cli.amount());
    let world = match World::new(cli.catalog, cli.wait) {
        Ok(world) => world,
        Err(failure) => return report::end(Err(failure)),
    };
    let is_writing = cli.verb.is_writing();
    let outcome = run(cli.verb, &world);
    let all_show_it = !is_writing || mount::show_what_is_new(&world);
    report::end(outcome.map(|outcome| match outcome {
        Outcome::Done if world.is_lacking() || !all_show_it => Outcome::WithFindings,
        outcome => outcome,
    }))
}

/// Returns a usage error that names no verb which is for the program itself.
fn without_hidden(mut e: clap::Error) -> clap::Error {
    let is_hidden = |name: &String| Cli::command().find_subcommand(name).is_some_and(Command::is_hide_set);
    for of in [ContextKind::SuggestedSubcommand, ContextKind::ValidSubcommand] {
        let Some(ContextValue::Strings(names)) = e.get(of) else { continue };
        let shown: Vec<String> = names.iter().filter(|name| !is_hidden(name)).cloned().collect();
        e.remove(of);
        match shown.is_empty() {
            // An empty line otherwise.
            true => drop(e.remove(ContextKind::Suggested)),
            false => drop(e.insert(of, ContextValue::Strings(shown))),
        }
    }
    e
}

/// Words that people try as verbs, and what does what they want.
const TIPS: [(&str, &str); 7] = [
    ("add", "asof source add adds a source"),
    ("list", "asof source list, asof generations and asof ls list what there is"),
    ("remove", "asof source remove removes a source, asof forget a generation"),
    ("set", "asof source set changes the settings of a source"),
    ("restore", "restoring is cp or rsync from the mount: asof mount --help"),
    ("backup", "asof take backs up volumes and disks; asof index takes in what other tools copied"),
    ("verify", "asof check checks the catalog; the contents of copies are not verified"),
];

/// Returns a usage error that says what to do in place of a verb that there is not.
fn with_tips(mut e: clap::Error) -> clap::Error {
    let Some(ContextValue::String(word)) = e.get(ContextKind::InvalidSubcommand) else { return e };
    let Some((_, tip)) = TIPS.iter().find(|(tried, _)| tried == word) else { return e };
    e.remove(ContextKind::SuggestedSubcommand);
    e.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![(*tip).into()]));
    e
}

/// Returns the command line with the examples of its verbs.
fn command() -> Command {
    pages::with_examples(Cli::command(), "asof")
}

fn run(verb: Verb, world: &World) -> Result<Outcome, Failure> {
    match verb {
        Verb::Init(args) => init::run(&args, world),
        Verb::Migrate => migrate::run(world),
        Verb::Source(args) => source::run(args, world),
        Verb::Index(args) => index::run(&args, world),
        Verb::Forget(args) => forget::run(&args, world),
        Verb::Take(args) => take::run(&args, world),
        Verb::Generations(args) => generations::run(&args, world),
        Verb::Show(args) => show::run(&args, world),
        Verb::Ls(args) => ls::run(&args, world),
        Verb::History(args) => ask::history::run(&args, world),
        Verb::Find(args) => ask::find::run(&args, world),
        Verb::When(args) => ask::when::run(&args, world),
        Verb::Growth(args) => ask::growth::run(&args, world),
        Verb::Churn(args) => ask::churn::run(&args, world),
        Verb::Du(args) => ask::du::run(&args, world),
        Verb::Diff(args) => ask::diff::run(&args, world),
        Verb::Resolve(args) => resolve::run(&args, world),
        Verb::Rebuild(args) => rebuild::run(&args, world),
        Verb::Sql(args) => sql::run(&args, world),
        Verb::Check(args) => check::run(&args, world),
        Verb::Catalog(verb) => catalog::run(&verb, world),
        Verb::Mount(args) => mount::run(&args, world),
        Verb::Umount(args) => mount::umount(&args, world),
        Verb::Units(args) => units::run(&args, world),
        Verb::Gluster(verb) => gluster::run(verb, world),
        Verb::LetGo => take::let_go(),
        Verb::Man(args) => pages::man(&args, Cli::command()),
        Verb::Completions(args) => complete::script(&args),
    }
}
