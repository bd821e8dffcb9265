//! One reply to the kernel that two may want to give: the thread that does the work, and the watchdog.
//!
//! Promises: exactly one of them gives it. An error goes to the log once, with what was asked of which
//! file and the whole chain of causes.

use super::convert;
use super::lane::{Asker, Late};
use crate::model::chain;
use crate::view::{self, Ino, Tree};
use fuser::{Errno, ReplyAttr, ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEntry, ReplyLseek, ReplyOpen};
use fuser::{ReplyStatfs, ReplyXattr};
use std::sync::{Arc, Mutex};

/// A reply object that can carry an error.
pub(super) trait Reply: Send + 'static {
    fn errno(self, errno: Errno);
}

macro_rules! replies {
    ($($reply:ty),+) => {
        $(impl Reply for $reply {
            fn errno(self, errno: Errno) {
                self.error(errno);
            }
        })+
    };
}

replies!(ReplyAttr, ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEntry, ReplyLseek, ReplyOpen);
replies!(ReplyStatfs, ReplyXattr);

/// Answers with the errno of `error`, and says why in the log.
pub(super) fn fail(tree: &Tree, operation: &'static str, ino: Ino, error: &view::Error, reply: impl Reply) {
    let class = error.class();
    match class {
        // A copy that moved is said once, and not for each file in it.
        view::ErrorClass::Io if error.is_in_the_log() => {
            tracing::debug!("{operation} of {}: {}", tree.describe(ino), chain(error));
        }
        view::ErrorClass::Io => tracing::error!("{operation} of {}: {}", tree.describe(ino), chain(error)),
        // The asker's own doing, or a view that retention took away under him: for the curious only.
        view::ErrorClass::NotFound
        | view::ErrorClass::Stale
        | view::ErrorClass::NotADirectory
        | view::ErrorClass::IsADirectory
        | view::ErrorClass::Invalid => tracing::debug!("{operation} of {}: {}", tree.describe(ino), chain(error)),
    }
    reply.errno(convert::errno(class));
}

/// A reply on its way through a lane.
pub(super) struct Ticket<R> {
    pub(super) tree: Arc<Tree>,
    pub(super) operation: &'static str,
    pub(super) ino: Ino,
    reply: Mutex<Option<R>>,
}

impl<R: Reply> Ticket<R> {
    pub(super) fn new(tree: &Arc<Tree>, operation: &'static str, ino: Ino, reply: R) -> Arc<Self> {
        Arc::new(Self { tree: Arc::clone(tree), operation, ino, reply: Mutex::new(Some(reply)) })
    }

    /// Returns the reply, once; none if the watchdog has answered.
    pub(super) fn claim(&self) -> Option<R> {
        self.reply.lock().expect("no holder of the lock panics").take()
    }

    /// Tells whether nobody waits any more, so that work not begun need not be done.
    pub(super) fn is_answered(&self) -> bool {
        self.reply.lock().expect("no holder of the lock panics").is_none()
    }

    /// Answers with an error, if nobody has answered yet.
    pub(super) fn fail(&self, error: &view::Error) {
        if let Some(reply) = self.claim() {
            fail(&self.tree, self.operation, self.ino, error, reply);
        }
    }
}

impl<R: Reply> Asker for Ticket<R> {
    fn give_up(&self, why: Late) {
        let Some(reply) = self.claim() else { return };
        let why = match why {
            Late::Timeout(timeout) => format!("its store gave no answer within {} s", timeout.as_secs_f32()),
            Late::Hung => "its store does not answer, earlier requests still wait".to_owned(),
            Late::NoThread => "no thread can be started for its store".to_owned(),
            Late::Full => "its store is too slow, too many requests wait already".to_owned(),
        };
        tracing::error!("{} of {}: {why}", self.operation, self.tree.describe(self.ino));
        reply.errno(Errno::EIO);
    }
}
