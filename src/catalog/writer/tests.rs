//! What the writer does to the rows of a small history,
//! told by reading it back at every instant.
