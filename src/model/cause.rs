//! An error with its causes, as one line, and what a person can do about it.
//! Each error text speaks for its own floor only, so only the whole chain tells a person what happened. A hint stands
//! beside the error that it explains; who passes an error on passes its hint on.

use super::DateError;

/// An error that a person gets to read.
pub trait Hinted: std::error::Error {
    /// Returns what can be done about it, if that is one thing.
    fn hint(&self) -> Option<String> {
        None
    }
}

impl Hinted for DateError {}

impl<E: Hinted> Hinted for &E {
    fn hint(&self) -> Option<String> {
        (*self).hint()
    }
}

/// Returns an error and its causes, joined by `: `.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
