//! The parts of all bricks become one tree: listings after a walk, changes otherwise.
//!
//! Of a node that several bricks tell, that copy counts which its replica or disperse set believes (`belief`), which is no arbiter's
//! and no pointer file, which agrees with most of its set, and which changed last. A name counts that a brick tells which is believed in
//! what is in the directory, if the directory is there itself; on which brick each directory above it is proven does not matter.
//! Each set has its own times of a directory, of which clients are told the newest (`dht_iatt_merge`).
//!
//! Promises: a name that some brick tells and that no brick contradicts is in the result, exactly once. What a brick tells
//! counts only beside what all others of its set say: a brick that is being healed has records that they have not, and
//! they know what it lacks. A node is gone only when bricks of every set were asked and none has it; who was not asked
//! yet is in [`Merged::to_ask`]. What nobody is believed in is unknown, which is a finding: a directory in doubt, or a node that is as it
//! was before. What one brick that is believed has and another one has not, and nobody is blamed for, is there, with a finding: healing makes
//! all of that on every brick, too (`__afr_selfheal_name_do`, `xlators/cluster/afr/src/afr-self-heal-name.c`). Memory: one directory and the directories not yet listed, or the changes.

mod belief;
mod changes;
mod copies;
#[cfg(test)]
mod tests;
mod walk;

pub use belief::BrickPlace;
pub use changes::{Gathered, Merged};
pub use copies::Lines;
pub use walk::{Contradiction, merge_walk};
