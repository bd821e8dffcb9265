//! An error with its causes, as one line.
//! Each error text speaks for its own floor only, so only the whole chain tells a person what happened.

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
