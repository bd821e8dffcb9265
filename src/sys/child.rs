//! Runs a program to its end, with a deadline, while its pipes are written and read.
//!
//! Promises: after the deadline the program is killed by its handle; one that reads late, or leaves its pipes to another one,
//! holds nobody up; at most the last [`SAID_BYTES_MAX`] bytes of its standard error are kept, in one line that cannot act on
//! a terminal. Never decides what an exit code means.

use crate::model::escape_bytes;
use crate::sys::process;
use std::fs::File;
use std::io::{self, Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How much of a program's standard error is kept, in bytes: the last of it.
pub const SAID_BYTES_MAX: usize = 4096;

/// Where the standard output of a program goes.
pub enum Output {
    /// Into a file, by the program itself.
    File(File),
    /// Into memory, up to so many bytes; the rest is read and dropped.
    Memory(usize),
}

/// How a program ended.
pub struct Finished {
    /// Its exit code or signal.
    pub status: ExitStatus,
    /// What it wrote, for [`Output::Memory`].
    pub stdout: Vec<u8>,
    /// The end of its standard error, escaped and in one line.
    pub said: String,
    /// How long it ran.
    pub took: Duration,
}

/// Why there is no end of a program to tell of.
pub enum ChildError {
    /// It cannot be started.
    Start(io::Error),
    /// Its end cannot be waited for; it was killed.
    Wait(io::Error),
    /// It was killed; the end of its standard error.
    Late(String),
}

/// Runs a program to its end, with `input` on its standard input, and kills it after `deadline`.
///
/// Cost: a process, and a thread for each pipe.
///
/// # Errors
/// [`ChildError`].
pub fn run_child(
    mut command: Command,
    input: Vec<u8>,
    output: Output,
    deadline: Duration,
) -> Result<Finished, ChildError> {
    let began = Instant::now();
    let (stdout, stdout_bytes_max) = match output {
        Output::File(file) => (Stdio::from(file), 0),
        Output::Memory(bytes_max) => (Stdio::piped(), bytes_max),
    };
    let stdin = if input.is_empty() { Stdio::null() } else { Stdio::piped() };
    let mut child = command.stdin(stdin).stdout(stdout).stderr(Stdio::piped()).spawn().map_err(ChildError::Start)?;
    // Our copy of the file must not outlive the child's.
    drop(command);
    let drains = start_drains(&mut child, input, stdout_bytes_max);
    let (stdout, stderr) = match drains {
        Ok(drains) => drains,
        Err(e) => {
            end_child(&mut child);
            return Err(ChildError::Start(e));
        }
    };
    let ended = wait_until(&mut child, began + deadline);
    if !matches!(ended, Ok(Some(_))) {
        end_child(&mut child);
    }
    let stdout = stdout.map(Drain::take).unwrap_or_default();
    let said = stderr.map(Drain::take).unwrap_or_default();
    let lines: Vec<String> = said
        .split(|byte| *byte == b'\n')
        .map(|line| escape_bytes(line.trim_ascii()).into_owned())
        .filter(|line| !line.is_empty())
        .collect();
    let said = lines.join("; ");
    match ended {
        Ok(Some(status)) => Ok(Finished { status, stdout, said, took: began.elapsed() }),
        Ok(None) => Err(ChildError::Late(said)),
        Err(e) => Err(ChildError::Wait(e)),
    }
}

type Drains = (Option<Drain>, Option<Drain>);

/// Starts what writes and reads the pipes of `child`: a program that nobody reads from, or that reads late, may
/// not hold us up.
fn start_drains(child: &mut Child, input: Vec<u8>, stdout_bytes_max: usize) -> io::Result<Drains> {
    if let Some(mut stdin) = child.stdin.take() {
        // A program that ends before it has read all tells why on its standard error.
        thread::Builder::new().name("child-stdin".to_owned()).spawn(move || drop(stdin.write_all(&input)))?;
    }
    let stdout = child.stdout.take().map(|pipe| Drain::start(pipe, Keep::First(stdout_bytes_max))).transpose()?;
    let stderr = child.stderr.take().map(|pipe| Drain::start(pipe, Keep::Last(SAID_BYTES_MAX))).transpose()?;
    Ok((stdout, stderr))
}

/// Waits for `child`; returns none if it still runs at `until`.
///
/// That its pipes are closed says nothing: ssh may leave a master process with them. Before Linux 5.3 there is no wait with a deadline: then
/// by asking again and again, up to 20 ms apart.
fn wait_until(child: &mut Child, until: Instant) -> io::Result<Option<ExitStatus>> {
    let watched = process::watch(child.id()).ok();
    let mut pause = Duration::from_micros(500);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        if let Some(watched) = &watched {
            watched.wait(left)?;
            continue;
        }
        thread::sleep(pause.min(left));
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

fn end_child(child: &mut Child) {
    // Both can only fail if it has ended already.
    let _ = child.kill();
    let _ = child.wait();
}

/// Which bytes of a stream are kept.
#[derive(Clone, Copy)]
enum Keep {
    First(usize),
    Last(usize),
}

/// A thread that reads a pipe to its end.
struct Drain {
    kept: Arc<Mutex<Vec<u8>>>,
    done: Receiver<()>,
}

impl Drain {
    /// How long the rest of a pipe is waited for once its program has ended. Somebody else may hold it open.
    const GRACE: Duration = Duration::from_secs(1);

    fn start(mut pipe: impl Read + Send + 'static, keep: Keep) -> io::Result<Self> {
        let (sender, done) = channel();
        let kept = Arc::new(Mutex::new(Vec::new()));
        let ours = Arc::clone(&kept);
        thread::Builder::new().name("child-output".to_owned()).spawn(move || {
            let mut block = vec![0; 16 << 10];
            loop {
                match pipe.read(&mut block) {
                    Ok(0) => break,
                    Ok(got) => keep.add(&mut kept.lock().unwrap_or_else(PoisonError::into_inner), &block[..got]),
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                    Err(_) => break,
                }
            }
            // Nobody listens any more after the grace time.
            let _ = sender.send(());
        })?;
        Ok(Self { kept: ours, done })
    }

    /// Returns what was kept, after the end of the pipe if that comes soon.
    fn take(self) -> Vec<u8> {
        match self.done.recv_timeout(Self::GRACE) {
            Ok(()) | Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
        }
        std::mem::take(&mut self.kept.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Keep {
    fn add(self, kept: &mut Vec<u8>, bytes: &[u8]) {
        match self {
            Self::First(bytes_max) => {
                let room = bytes_max.saturating_sub(kept.len());
                kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
            }
            Self::Last(bytes_max) => {
                kept.extend_from_slice(bytes);
                kept.drain(..kept.len().saturating_sub(bytes_max));
            }
        }
    }
}
