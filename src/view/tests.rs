//! The tree over a small catalog, without a mount.
//! Questions and answers as a kernel would ask them.
