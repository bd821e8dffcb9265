//! The process behind a mount: keeps it fresh, ends it when told to, and starts in the background.
//!
//! Promises: what is published is seen within a second (looked for four times a second), and at once by whoever asks through the door.
//! SIGHUP opens the log anew. SIGTERM and SIGINT
//! unmount: at once if nobody is inside, else after `GRACE` without waiting for them. Ends also when
//! somebody else unmounts. In the background, the caller learns whether the mount answers before he goes on.
//!
//! Never prints; what there is to say goes to `tracing` or is returned. Floors below are plain threads; the
//! asynchronous runtime lives here only, on one thread, for signals and clocks.

mod background;
mod blocking;
mod door;
mod error;
mod log;
mod read_only;

pub use background::{Started, is_in_background, start_in_background, tell_starter};
pub use door::{Daemon, Daemons, Up, show, up_at, wait_for_end};
pub use error::Error;
pub use log::{BESIDE as LOG_BESIDE, Log, Place, path_of as path_of_log};

use blocking::blocking;
use door::Door;

use crate::fuse::{self, Mount, WhenBusy};
use crate::model::chain;
use crate::sys::process;
use crate::view::{self, Tree};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;
use tokio::task::JoinError;
use tokio::time::{MissedTickBehavior, interval, sleep};

/// How often a new generation is looked for; costs one PRAGMA.
const REFRESH: Duration = Duration::from_millis(250);
/// How often what is no longer used is given back.
const REST: Duration = Duration::from_secs(1);
/// How long a mount in use is waited for when told to end.
const GRACE: Duration = Duration::from_secs(5);
/// How often it is tried meanwhile.
const RETRY: Duration = Duration::from_millis(200);
/// Descriptors: one for each file that is kept open, and room for threads and databases.
const OPEN_FILES_WANTED: u64 = 65_536;
/// Descriptors of files of copies that stay open, where so many may be.
const OPEN_FILES_MAX: usize = 1024;

/// What to mount where.
#[derive(Clone, Debug)]
pub struct MountOptions {
    /// The mount point.
    pub dir: PathBuf,
    /// The catalog that the tree is of.
    pub catalog: PathBuf,
    /// How.
    pub fuse: fuse::Options,
    /// The log of this process, which SIGHUP opens anew.
    pub log: Log,
}

/// What a caller learns when the mount answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ready {
    /// The mount point, absolute.
    pub dir: PathBuf,
    /// Whether other users are let in.
    pub allows_other: bool,
    /// Whether the kernel reads files by itself.
    pub is_passthrough: bool,
}

/// Why a daemon ended without an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// By a signal; nothing is mounted any more.
    Stopped,
    /// By a signal, with the mount in use: it is out of the tree, and who was inside has lost it.
    StoppedInUse,
    /// Somebody unmounted.
    Unmounted,
}

/// Keeps this process within the addresses that it was given, raises the limit of open files, and returns how many files of copies may stay
/// open: the others are for catalogs, threads and disks. To be called before there are threads.
pub fn room_in_process() -> usize {
    if let Err(e) = process::keep_within_addresses() {
        tracing::debug!("the limit of addresses is not known: {e}");
    }
    let limit = process::raise_open_files(OPEN_FILES_WANTED).unwrap_or_else(|e| {
        tracing::debug!("the limit of open files is not known: {e}");
        0
    });
    usize::try_from(limit / 4).unwrap_or(usize::MAX).clamp(1, OPEN_FILES_MAX)
}

/// Mounts `tree` and serves it until a signal or an unmount ends it.
///
/// `ready` is called once the mount answers; service managers are told too (`NOTIFY_SOCKET`).
///
/// # Errors
/// [`Error`] if it could not be mounted or, at the end, not be unmounted.
pub fn run(tree: Arc<Tree>, options: MountOptions, ready: impl FnOnce(&Ready)) -> Result<Exit, Error> {
    let setup = |source| Error::Setup { source };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(setup)?;
    let result = runtime.block_on(serve(tree, options, ready));
    // A refresh that hangs must not keep the process.
    runtime.shutdown_background();
    result
}

async fn serve(tree: Arc<Tree>, options: MountOptions, ready: impl FnOnce(&Ready)) -> Result<Exit, Error> {
    // Before mounting: a signal in between must not leave a mount without a daemon.
    let mut signals = Signals::new(options.log).map_err(|source| Error::Setup { source })?;
    let door = Door::open(&options.catalog);
    let ended = Arc::new(Notify::new());
    let on_end = {
        let ended = Arc::clone(&ended);
        Arc::new(move || ended.notify_one())
    };
    tree.start_list_ahead();
    let mount = Mount::start(Arc::clone(&tree), &options.dir, options.fuse, on_end)?;
    ready(&Ready {
        dir: mount.dir().to_owned(),
        allows_other: mount.allows_other(),
        is_passthrough: mount.is_passthrough(),
    });
    notify_manager("READY=1");
    let layers = mount.layers();
    let mount = Arc::new(Mutex::new(mount));
    let fresh = Fresh { tree: Arc::clone(&tree), mount: Arc::clone(&mount), turn: Arc::default() };
    match door {
        Ok(door) => {
            let fresh = fresh.clone();
            let show = move || {
                let fresh = fresh.clone();
                async move {
                    // What is lost is seen by whoever keeps it fresh, too.
                    let _ = fresh.see().await;
                }
            };
            tokio::spawn(door.answer(move || layers.dir(), show));
        }
        Err(e) => tracing::info!("nobody can ask this mount to show at once what was published: {e}"),
    }
    let fresh = tokio::spawn(keep_fresh(fresh));
    let read_only = tokio::spawn(read_only::keep(Arc::clone(&mount)));
    tokio::spawn(keep_rested(tree));
    tokio::select! {
        // Nobody is to go on with what another catalog may call by the same numbers.
        lost = fresh => end(&mount, lost).await,
        // Nor with what somebody else wrote.
        lost = read_only => end(&mount, lost).await,
        () = ended.notified() => Ok(Exit::Unmounted),
        () = signals.any() => {
            notify_manager("STOPPING=1");
            stop(&mount, &mut signals).await
        }
    }
}

/// Unmounts, whoever is inside, because of what was `lost`.
async fn end<E: Into<Error>>(mount: &Arc<Mutex<Mount>>, lost: Result<E, JoinError>) -> Result<Exit, Error> {
    notify_manager("STOPPING=1");
    let mount = Arc::clone(mount);
    if let Err(e) = blocking(move || mount.lock().expect(UNPOISONED).unmount(WhenBusy::Detach)).await {
        tracing::error!("{}", chain(&e));
    }
    match lost {
        Ok(lost) => Err(lost.into()),
        Err(e) => std::panic::resume_unwind(e.into_panic()),
    }
}

/// Unmounts; a second signal ends the waiting for those who are inside.
async fn stop(mount: &Arc<Mutex<Mount>>, signals: &mut Signals) -> Result<Exit, Error> {
    let unmount = |when_busy| {
        let mount = Arc::clone(mount);
        blocking(move || mount.lock().expect(UNPOISONED).unmount(when_busy))
    };
    let until_idle = async {
        loop {
            match unmount(WhenBusy::Refuse).await {
                Err(fuse::Error::Busy { .. }) => sleep(RETRY).await,
                other => return other,
            }
        }
    };
    let idle = tokio::select! {
        result = until_idle => Some(result),
        () = sleep(GRACE) => None,
        () = signals.any() => None,
    };
    match idle {
        Some(Ok(()) | Err(fuse::Error::NotMounted { .. })) => Ok(Exit::Stopped),
        Some(Err(e)) => Err(e.into()),
        None => {
            unmount(WhenBusy::Detach).await?;
            Ok(Exit::StoppedInUse)
        }
    }
}

/// A mount that is to show what is published.
#[derive(Clone)]
struct Fresh {
    tree: Arc<Tree>,
    mount: Arc<Mutex<Mount>>,
    /// One looks at a time: whoever comes second goes when the kernel was told.
    turn: Arc<Mutex<()>>,
}

impl Fresh {
    /// Shows what is published. Returns why it cannot any more: the catalog is not the one that is mounted.
    async fn see(&self) -> Option<view::Error> {
        let this = self.clone();
        blocking(move || {
            let _turn = this.turn.lock().expect(UNPOISONED);
            refresh(&this.tree, &this.mount)
        })
        .await
    }
}

/// Shows what is published, until the catalog is not the one that is mounted any more: returns that.
async fn keep_fresh(fresh: Fresh) -> view::Error {
    let mut ticks = interval(REFRESH);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Some(lost) = fresh.see().await {
            return lost;
        }
    }
}

fn refresh(tree: &Tree, mount: &Mutex<Mount>) -> Option<view::Error> {
    let prepare = |need| match mount.lock().expect(UNPOISONED).prepare(need) {
        Ok(false) => {}
        Ok(true) => tracing::info!("mounted anew: the catalog has its first extended attributes or ACLs"),
        Err(e) => tracing::error!(
            "until the next mount extended attributes are not shown, and files with ACLs are refused: {}",
            chain(&e)
        ),
    };
    match tree.refresh_after(prepare) {
        Ok(None) => {}
        Ok(Some(changed)) => mount.lock().expect(UNPOISONED).invalidate(&changed),
        Err(lost @ view::Error::Replaced { .. }) => return Some(lost),
        Err(e) => tracing::error!("cannot look for new generations: {}", chain(&e)),
    }
    None
}

async fn keep_rested(tree: Arc<Tree>) {
    let mut ticks = interval(REST);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let tree = Arc::clone(&tree);
        blocking(move || tree.rest()).await;
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    log: Log,
}

impl Signals {
    fn new(log: Log) -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            // A closed terminal does not end the mount.
            hangup: signal(SignalKind::hangup())?,
            log,
        })
    }

    /// Waits for a signal that means the end.
    async fn any(&mut self) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hangup.recv() => match self.log.reopen() {
                    Ok(()) => {}
                    Err(e) => tracing::error!("the log stays where it was: {}", chain(&e)),
                },
            }
        }
    }
}

/// Tells the service manager, if there is one (sd_notify(3)).
fn notify_manager(state: &str) {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let bytes = path.as_encoded_bytes();
    let address = match bytes.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(&path),
    };
    let sent = address.and_then(|address| UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address));
    if let Err(e) = sent {
        tracing::debug!("the service manager was not told {state}: {e}");
    }
}

const UNPOISONED: &str = "no holder of the lock panics";
