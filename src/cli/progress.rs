//! The monitor of a terminal: a bar with rate and time left, findings as lines.
//!
//! Promises: everything goes to standard error; the bar only where that is a terminal, and not with `--quiet`. After
//! [`SHOWN_MAX`] findings of a run the rest is counted only, unless `--verbose` is given; `asof show` lists them.

use super::output::grouped;
use super::say::{Amount, amount, say};
use crate::model::{Finding, escape_bytes, printable};
use crate::monitor::Monitor;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use std::sync::Mutex;

/// Findings that are shown for one generation.
const SHOWN_MAX: u64 = 20;

/// Shows an index run on standard error.
pub(super) struct Terminal {
    bar: Mutex<ProgressBar>,
    shown: Mutex<u64>,
}

impl Terminal {
    pub(super) fn new() -> Self {
        Self { bar: Mutex::new(ProgressBar::hidden()), shown: Mutex::new(0) }
    }

    fn bar(&self) -> ProgressBar {
        self.bar.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// Prints something while the bar is out of the way.
    pub(super) fn suspend<T>(&self, print: impl FnOnce() -> T) -> T {
        self.bar().suspend(print)
    }

    fn line(&self, text: &str) {
        self.suspend(|| eprintln!("{text}"));
    }
}

impl Monitor for Terminal {
    fn begin(&self, what: &str, expected_entries: Option<u64>) {
        let bar = match expected_entries {
            Some(expected) => ProgressBar::new(expected)
                .with_style(style("{msg} {wide_bar} {human_pos}/about {human_len} entries, {rate}, {eta} left")),
            None => {
                ProgressBar::no_length().with_style(style("{msg} {spinner} {human_pos} entries, {rate}, {elapsed}"))
            }
        };
        bar.set_draw_target(match amount() {
            Amount::Quiet => ProgressDrawTarget::hidden(),
            _ => ProgressDrawTarget::stderr(),
        });
        bar.set_message(printable(what).into_owned());
        *self.bar.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = bar;
        *self.shown.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = 0;
    }

    fn advance(&self, entries: u64) {
        self.bar().inc(entries);
    }

    fn finding(&self, finding: &Finding) {
        let mut shown = self.shown.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *shown += 1;
        if *shown <= shown_max() {
            let path = if finding.path.is_root() { ".".into() } else { escape_bytes(finding.path.as_bytes()) };
            self.line(&format!("{}: \"{path}\": {}", finding.kind, finding.detail));
        }
    }

    fn note(&self, text: &str) {
        self.suspend(|| say!("{text}"));
    }

    fn warn(&self, text: &str) {
        self.line(text);
    }

    fn end(&self) {
        self.bar().finish_and_clear();
        let shown = *self.shown.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if shown > shown_max() {
            eprintln!("... and {} more", shown - shown_max());
        }
    }
}

/// Returns how many findings are shown.
fn shown_max() -> u64 {
    if amount() >= Amount::Verbose { u64::MAX } else { SHOWN_MAX }
}

fn style(template: &str) -> ProgressStyle {
    let rate = |state: &ProgressState, out: &mut dyn std::fmt::Write| {
        let _ = write!(out, "{}/s", grouped(state.per_sec().round() as i64));
    };
    ProgressStyle::with_template(template).expect("the templates above are well formed").with_key("rate", rate)
}
