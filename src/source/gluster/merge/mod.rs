//! The parts of all bricks become one tree: listings after a walk, changes otherwise.
//!
//! Of a node that several bricks tell, that copy counts which no brick of its replica set calls behind
//! (`trusted.afr.*`), which is no arbiter's and no pointer file, which agrees with most of its set, and which changed
//! last. Names are the union over bricks, without those that a brick has in a directory in which it is behind: it may not
//! know yet that they are gone.
//! Each set has its own times of a directory, of which clients are told the newest (`dht_iatt_merge`).
//!
//! Promises: a name that some brick tells and that no brick contradicts is in the result, exactly once. What a brick tells
//! counts only beside what all others of its set say: a brick that is being healed has records that they have not, and
//! they know what it lacks. A node is gone only when bricks of every set were asked and none has it; who was not asked
//! yet is in [`Merged::to_ask`]. Where copies of one node contradict each other without one being called behind, the newest
//! counts and a finding says so. Memory: one directory and the directories not yet listed, or the changes.

mod changes;
mod copies;
#[cfg(test)]
mod tests;
mod walk;

pub use changes::{Gathered, Merged};
pub use copies::{BrickPlace, Lines};
pub use walk::merge_walk;
