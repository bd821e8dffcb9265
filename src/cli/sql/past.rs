//! What was asked before: a file of its user alone, one statement a line.
//!
//! Promises: the file and its folder are closed to others (0600, 0700). A folder that belongs to somebody else is not written to, so root in the
//! home of another user leaves nothing there. What is not text, or a terminal would obey, comes back written out.

use crate::model::printable;
use crate::sys::lock::{make_private_folder, open_private_file};
use crate::sys::process::effective_ids;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// Statements that are kept; the file is cut to these when it has twice as many.
const KEPT: usize = 1000;
/// Bytes of the file that are read.
const BYTES_MAX: u64 = 8 << 20;

/// The statements of this session and those before it.
pub(super) struct Past {
    file: Option<File>,
    pub(super) statements: Vec<String>,
}

impl Past {
    /// Reads what there is in the folder for state of this user; where there is none, or it cannot be used, nothing is kept.
    pub(super) fn open() -> Self {
        let mut past = Self { file: None, statements: Vec::new() };
        if let Some(Ok(file)) = state_folder().map(open_in) {
            past.file = Some(file);
            // A file that cannot be read is not written to, either.
            if past.load().is_err() {
                past.file = None;
            }
        }
        past
    }

    fn load(&mut self) -> io::Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let mut bytes = Vec::new();
        file.take(BYTES_MAX).read_to_end(&mut bytes)?;
        let text = String::from_utf8_lossy(&bytes);
        let lines = text.lines().filter(|line| !line.is_empty()).map(|line| printable(line).into_owned());
        self.statements = lines.collect();
        if self.statements.len() >= 2 * KEPT {
            self.statements.drain(..self.statements.len() - KEPT);
            file.set_len(0)?;
            file.seek(SeekFrom::Start(0))?;
            file.write_all((self.statements.join("\n") + "\n").as_bytes())?;
        }
        Ok(())
    }

    /// Adds a statement, but not the last one again.
    pub(super) fn add(&mut self, statement: &str) {
        let line = printable(&statement.replace(['\n', '\r', '\t'], " ")).into_owned();
        if self.statements.last() == Some(&line) {
            return;
        }
        if let Some(file) = &mut self.file {
            let written = file.seek(SeekFrom::End(0)).and_then(|_| file.write_all(format!("{line}\n").as_bytes()));
            // A history is not worth an error.
            if written.is_err() {
                self.file = None;
            }
        }
        self.statements.push(line);
    }
}

/// Returns `$XDG_STATE_HOME`, else `~/.local/state`.
fn state_folder() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    set("XDG_STATE_HOME").or_else(|| set("HOME").map(|home| home.join(".local/state")))
}

fn open_in(state: PathBuf) -> io::Result<File> {
    let us = effective_ids().0;
    // Folders above it are made as `mkdir` does, by whom they belong to alone.
    let there = state.ancestors().find(|folder| folder.exists()).map(std::fs::metadata).transpose()?;
    if there.is_none_or(|folder| folder.uid() != us) {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    std::fs::create_dir_all(&state)?;
    let folder = state.join("asof");
    make_private_folder(&folder, us)?;
    open_private_file(&folder.join("sql_history"), us)
}
