//! `asof gluster requests | merge`: lists of volumes with bricks beside which nothing can be run from here.
//!
//! Promises: nothing is overwritten but a list that may be. What a merge lacks is written as requests, and then there is no list.

use super::list::ListArgs;
use super::stateless::{list_of, span_of};
use super::volume::{AskArgs, VolumeArgs, settings};
use crate::cli::World;
use crate::cli::report::{Failure, Outcome};
use crate::cli::say::say;
use crate::jobs::gluster::merge::{list_parts, requests};
use crate::jobs::take::gluster::Error;
use crate::model::chain;
use crate::source::gluster::collect::{self, Parts};
use crate::source::gluster::part::Request;
use clap::Args;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
pub(in crate::cli) struct RequestsArgs {
    #[command(flatten)]
    volume: VolumeArgs,
    /// The beginning of a time span: unix seconds, or any date [default: everything is listed]
    #[arg(allow_hyphen_values = true)]
    start: Option<String>,
    /// Its end; a day or longer means its end [default: now]
    #[arg(allow_hyphen_values = true)]
    end: Option<String>,
    /// The directory that the requests are written into
    #[arg(long, value_name = "DIR")]
    into: PathBuf,
    #[command(flatten)]
    how: AskArgs,
}

pub(super) fn write_requests(args: RequestsArgs, world: &World) -> Result<Outcome, Failure> {
    let settings = settings(args.volume, args.how, 0);
    settings.check()?;
    let span = match &args.start {
        None => None,
        Some(start) => {
            let (from, until) = span_of(start, args.end.as_deref(), world)?;
            Some((from.0.unsigned_abs(), until.0.unsigned_abs()))
        }
    };
    for (number, host, request) in requests(&settings, span, &world.clock)? {
        let path = write_request(&args.into, &format!("{}-brick-{number}", settings.volume), &request)?;
        say!("wrote {path:?} for brick {host}:{}", request.brick);
    }
    say!(
        "hint: beside each brick: asof gluster scan-brick --request FILE --out {0}-brick-N.part; then asof gluster merge {0}-brick-*.part",
        settings.volume
    );
    Ok(Outcome::Done)
}

fn write_request(folder: &Path, name: &str, request: &Request) -> Result<PathBuf, Failure> {
    let path = folder.join(format!("{name}.request"));
    let text = serde_json::to_vec(request).map_err(|e| Failure::because("writing a request", &e))?;
    let written = fs::File::create_new(&path).and_then(|mut file| {
        file.write_all(&text)?;
        file.sync_all()
    });
    written.map_err(|e| Failure::because(format!("making the request {path:?}"), &e))?;
    Ok(path)
}

#[derive(Debug, Args)]
pub(in crate::cli) struct MergeArgs {
    /// The part files, of all bricks
    #[arg(value_name = "PART", required = true)]
    parts: Vec<PathBuf>,
    /// Where requests are written for what bricks have to tell besides
    #[arg(long, value_name = "DIR")]
    requests: Option<PathBuf>,
    #[command(flatten)]
    list: ListArgs,
}

pub(super) fn merge(args: &MergeArgs, world: &World) -> Result<Outcome, Failure> {
    let parts = Parts::load(&args.parts).map_err(Error::from)?;
    let mut to_ask = None;
    let listed = list_of(parts.name(), &args.list, |monitor, list| {
        let each = &mut |change, kind| list.line(&change, kind).map_err(Stop::Failed);
        list_parts::<Stop>(&parts, (&world.clock, monitor), each).map_err(|stop| match stop {
            Stop::Failed(failure) => failure,
            Stop::Take(Error::Collect(collect::Error::ToAsk { nodes, requests })) => {
                let failure = Failure::new(chain(&collect::Error::ToAsk { nodes, requests: Vec::new() }));
                to_ask = Some(requests);
                failure
            }
            Stop::Take(e) => e.into(),
        })
    });
    match (listed, to_ask) {
        (Ok(outcome), _) => {
            if let Some((from, until)) = parts.span() {
                say!("window {from} {until}");
            }
            Ok(outcome)
        }
        (Err(failure), None) => Err(failure),
        (Err(failure), Some(requests)) => match &args.requests {
            None => Err(failure.hint("--requests DIR writes requests for them; merge their parts with these")),
            Some(folder) => {
                for (number, request) in requests {
                    let name = |round: u32| format!("{}-brick-{number}-more-{round}", parts.name());
                    let round = (1..).find(|round| !folder.join(format!("{}.request", name(*round))).exists());
                    let path = write_request(folder, &name(round.unwrap_or(1)), &request)?;
                    say!("wrote {path:?} for brick {number}, {}", request.brick);
                }
                Err(failure.hint(
                    "no list was written: answer these requests, and merge their parts with those that there are",
                ))
            }
        },
    }
}

/// Why a list ends early.
enum Stop {
    Take(Error),
    Failed(Failure),
}

impl From<Error> for Stop {
    fn from(e: Error) -> Self {
        Self::Take(e)
    }
}
