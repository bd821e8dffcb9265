//! The mount as an admin and his users meet it: real tools, real copies, a real kernel.

#[path = "common/site.rs"]
mod site;

#[path = "mount/access.rs"]
mod access;
#[path = "mount/ahead.rs"]
mod ahead;
#[path = "mount/attributes.rs"]
mod attributes;
#[path = "mount/compared.rs"]
mod compared;
#[path = "mount/damage.rs"]
mod damage;
#[path = "mount/escapes.rs"]
mod escapes;
#[path = "mount/fidelity.rs"]
mod fidelity;
#[path = "mount/hostile.rs"]
mod hostile;
#[path = "mount/lifecycle.rs"]
mod lifecycle;
#[path = "mount/limits.rs"]
mod limits;
#[path = "mount/numbers.rs"]
mod numbers;
#[path = "mount/odd_files.rs"]
mod odd_files;
#[path = "mount/past.rs"]
mod past;
#[path = "mount/served.rs"]
mod served;
#[path = "mount/tree.rs"]
mod tree;
#[path = "mount/units.rs"]
mod units;
