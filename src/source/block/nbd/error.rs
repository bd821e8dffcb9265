//! Why a disk cannot be had from a server.
//! Names and reasons are in the words of the server where it has any.

use super::place::Place;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Why a disk cannot be had from a server.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is none.
    #[error("{uri:?} is not a disk of an NBD server: {why}")]
    Uri {
        /// As it was given.
        uri: String,
        /// What about it.
        why: &'static str,
    },
    /// Nobody answers there.
    #[error("cannot connect to {place}")]
    Connect {
        /// Where.
        place: Place,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The connection broke.
    #[error("the connection to the NBD server broke while {doing}")]
    Broken {
        /// What was going on.
        doing: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The server is silent.
    #[error("the NBD server said nothing for {} s while {doing}", .waited.as_secs_f32())]
    Silent {
        /// For how long.
        waited: Duration,
        /// What was going on.
        doing: &'static str,
    },
    /// The server gives the export over encrypted connections only, and the address does not ask for one.
    #[error("the NBD server gives export {export:?} over TLS only; its address begins with nbds:// then")]
    NeedsTls {
        /// Its name.
        export: String,
    },
    /// The certificates that the address names are not usable.
    #[error("cannot use the TLS certificates in {dir:?}")]
    Certificates {
        /// Their folder.
        dir: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The two ends do not agree on encryption, or the server cannot prove that it has the name that the address says.
    #[error("no encrypted connection to the NBD server")]
    Tls {
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The server has no such export.
    #[error("the NBD server has no export {export:?}; it has {}", listed(.there))]
    NoExport {
        /// What was asked for.
        export: String,
        /// Those that it tells of.
        there: Vec<String>,
    },
    /// The export has no such context: there is no bitmap of that name, or it is not exported.
    #[error("export {export:?} has no context {context:?}; it has {}", listed(.there))]
    NoContext {
        /// The export.
        export: String,
        /// What was asked for.
        context: String,
        /// Those that it has.
        there: Vec<String>,
    },
    /// The server does not want to.
    #[error("the NBD server refuses {what}: {why}")]
    Refused {
        /// What was asked for.
        what: &'static str,
        /// Its reason, in its words if it has any.
        why: String,
    },
    /// It cannot read its own disk.
    #[error("the NBD server cannot describe {length} bytes at byte {offset}: {why}")]
    Failed {
        /// Where.
        offset: u64,
        /// How much was asked for.
        length: u64,
        /// Its reason.
        why: String,
    },
    /// A range was asked for that is not on the disk.
    #[error("{length} bytes at byte {offset} are not on the disk of {size} bytes")]
    Range {
        /// Where.
        offset: u64,
        /// How much.
        length: u64,
        /// How long the disk is.
        size: u64,
    },
    /// It does not keep to the protocol.
    #[error("the NBD server does not keep to the protocol: {0}")]
    Protocol(String),
    /// Something went wrong earlier, and where in the stream the connection is is not known.
    #[error("the connection to the NBD server is not usable after what went wrong before")]
    Spent,
    /// Who wanted the bytes could not take them.
    #[error("cannot keep what the NBD server gave of byte {offset}")]
    Taker {
        /// Which bytes.
        offset: u64,
        /// Why.
        #[source]
        source: io::Error,
    },
}

fn listed(names: &[String]) -> String {
    match names {
        [] => "none that it lists".to_owned(),
        names => names.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", "),
    }
}
