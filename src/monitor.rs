//! Where long work reports to: progress, counts, and trouble that does not stop it.
//!
//! Promises: a call is cheap enough for every directory of a walk. Never fails and never stops the
//! work.

use crate::model::Finding;
use std::sync::Mutex;

/// Receives what happens during an index run. Called from more than one thread.
pub trait Monitor: Send + Sync {
    /// Work on `what` begins; `expected_entries` is a guess at its size, if there is one.
    fn begin(&self, what: &str, expected_entries: Option<u64>);
    /// `entries` more entries have been merged.
    fn advance(&self, entries: u64);
    /// Something is amiss with one path; the run goes on.
    fn finding(&self, finding: &Finding);
    /// Something that is worth knowing, not about one path, and no fault; a warning to who makes no difference.
    fn note(&self, text: &str) {
        self.warn(text);
    }
    /// Something that a person should look at and that is not about one path.
    fn warn(&self, text: &str);
    /// The work named by the last `begin` is over.
    fn end(&self);
}

/// A monitor that hears nothing.
#[derive(Debug, Default)]
pub struct Void;

impl Monitor for Void {
    fn begin(&self, _what: &str, _expected_entries: Option<u64>) {}
    fn advance(&self, _entries: u64) {}
    fn finding(&self, _finding: &Finding) {}
    fn warn(&self, _text: &str) {}
    fn end(&self) {}
}

/// A monitor that keeps findings and warnings, for tests.
#[derive(Debug, Default)]
pub struct Collect {
    /// Findings in the order in which they came.
    pub findings: Mutex<Vec<Finding>>,
    /// Notes and warnings in the order in which they came.
    pub warnings: Mutex<Vec<String>>,
}

impl Monitor for Collect {
    fn begin(&self, _what: &str, _expected_entries: Option<u64>) {}
    fn advance(&self, _entries: u64) {}
    fn finding(&self, finding: &Finding) {
        self.findings.lock().expect("no holder of the lock panics").push(finding.clone());
    }
    fn warn(&self, text: &str) {
        self.warnings.lock().expect("no holder of the lock panics").push(text.to_owned());
    }
    fn end(&self) {}
}
