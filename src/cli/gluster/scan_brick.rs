//! `asof gluster scan-brick`: what runs beside a brick.
//!
//! Promises: it reads one brick and writes one part, nothing else; whoever runs it, over whatever connection, gives the
//! request on standard input and gets the part from standard output.

use crate::cli::World;
use crate::cli::report::{Failure, Outcome};
use crate::model::chain;
use crate::source::gluster::part::Request;
use crate::source::gluster::scan::scan;
use clap::Args;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
pub(in crate::cli) struct ScanBrickArgs {
    /// The request, JSON; - reads it from standard input
    #[arg(long, value_name = "FILE", default_value = "-")]
    request: PathBuf,
    /// The part; - writes it to standard output
    #[arg(long, value_name = "FILE", default_value = "-")]
    out: PathBuf,
}

pub(super) fn run(args: &ScanBrickArgs, world: &World) -> Result<Outcome, Failure> {
    let text = read_request(&args.request)?;
    let request: Request = serde_json::from_slice(&text).map_err(|e| {
        Failure::because(format!("the request in {:?} is not one that this asof knows", args.request), &e)
    })?;
    let failed = |e: &dyn std::error::Error| Failure::new(chain(e));
    let version = env!("CARGO_PKG_VERSION");
    let summary = if args.out == Path::new("-") {
        scan(&request, version, &world.clock, &mut std::io::stdout().lock())
    } else {
        let mut file = std::fs::File::create(&args.out)
            .map_err(|e| Failure::because(format!("making the part {:?}", args.out), &e))?;
        let summary = scan(&request, version, &world.clock, &mut file);
        file.flush().and_then(|()| file.sync_all()).map_err(|e| Failure::because("writing the part", &e))?;
        summary
    };
    let summary = summary.map_err(|e| failed(&e))?;
    Ok(if summary.troubles > 0 { Outcome::WithFindings } else { Outcome::Done })
}

fn read_request(path: &Path) -> Result<Vec<u8>, Failure> {
    let mut text = Vec::new();
    let read = if path == Path::new("-") {
        std::io::stdin().lock().read_to_end(&mut text)
    } else {
        std::fs::File::open(path).and_then(|mut file| file.read_to_end(&mut text))
    };
    read.map_err(|e| Failure::because(format!("reading the request {path:?}"), &e))?;
    Ok(text)
}
