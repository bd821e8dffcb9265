//! Taking a generation: what a source is now, its bytes into a copy of its own, indexed and published.
//!
//! Promises: a generation is published when its copy is whole and on the disk, with the cursor from which the next one
//! goes on, in one transaction; a run that ends before that leaves the catalog as it was, and the next one goes on
//! with what it had copied. Nothing of the source is changed. Never decides when: whoever calls does.

pub mod block;
pub mod gluster;
