//! Which volume is asked, and how its bricks are.
//! Nothing is asked here: the settings that come out are for those who do.

use crate::cli::args::{HOST, ProgramArgs, VOLUME};
use crate::source::gluster::Settings;
use clap::Args;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(in crate::cli) struct VolumeArgs {
    #[arg(help = HOST)]
    host: String,
    #[arg(help = VOLUME)]
    volume: String,
}

/// How the bricks of a volume are asked.
#[derive(Debug, Args)]
pub(in crate::cli) struct AskArgs {
    /// The command that runs a program on {host}, beside its bricks: "ssh -o BatchMode=yes {host}"
    /// [default: all bricks are on this machine]
    #[arg(long, value_name = "COMMAND")]
    exec: Option<String>,
    #[command(flatten)]
    programs: ProgramArgs,
}

impl AskArgs {
    /// Puts what is given in the place of what `scan` has.
    pub(super) fn change(&self, scan: &mut Settings) {
        if let Some(exec) = &self.exec {
            scan.exec.clone_from(exec);
        }
        if let Some(program) = &self.programs.program {
            scan.program = Some(program.clone());
        }
        if let Some(gluster) = &self.programs.gluster {
            scan.gluster.clone_from(gluster);
        }
    }
}

/// Returns the settings of a volume of which lists are made and nothing is copied.
pub(super) fn settings(of: VolumeArgs, how: AskArgs, rescan_every_s: u64) -> Settings {
    Settings {
        host: of.host,
        volume: of.volume,
        store: PathBuf::new(),
        exec: how.exec.unwrap_or_default(),
        program: how.programs.program,
        gluster: how.programs.gluster.unwrap_or_else(|| PathBuf::from("gluster")),
        client_reads: false,
        pre: None,
        post: None,
        lists_only: false,
        rescan_every_s,
    }
}
