//! Questions about history: where a path led, how a file came to be what it is, how two generations differ.
//!
//! Promises: a path is looked for by (directory, name), one seek a level, and a node by its number: no question reads all names of a
//! source. What differs between two generations is found by the notes of those between them, so it costs what changed. Each question
//! is asked of a [`Scope`], the published generations of one source, so what is being written, or taken away, shows nowhere. Answers
//! are in the order of time, or of paths (bytewise), whatever the order in which generations were indexed. Never writes.

mod amounts;
mod below;
mod content;
mod diff;
mod differing;
mod ever;
mod fields;
mod places;
#[cfg(test)]
mod plans;
mod scope;
mod sides;
mod story;

pub use amounts::{Churn, Growth};
pub use diff::{Difference, Together, What, Within};
pub use differing::{Differing, Named};
pub use ever::Found;
pub use fields::Fields;
pub use scope::Scope;
pub use sides::Side;
pub use story::{Began, End, Stay, Version};
