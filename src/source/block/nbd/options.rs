//! How long a server is waited for.
//! The usual times are those of a server that is well.

use std::time::Duration;

/// How to talk to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// How long to wait for a connection to a host.
    pub connect_timeout: Duration,
    /// How long the server may be silent while something is expected of it.
    pub timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { connect_timeout: Duration::from_secs(10), timeout: Duration::from_secs(60) }
    }
}
