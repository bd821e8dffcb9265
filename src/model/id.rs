//! Row ids as types of their own, so that swapping two does not compile.
//!
//! Promises: an id is only ever what the catalog gave out; the number behind it means nothing but
//! "which row".

macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub i64);

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    };
}

id_type!(
    /// A source: a share, a volume, a disk.
    SourceId
);
id_type!(
    /// One backup of one source at one instant.
    GenerationId
);
id_type!(
    /// A file, directory, symlink or device; unique over the whole catalog, below 2^36.
    NodeId
);
id_type!(
    /// A directory that holds backup bytes.
    StoreId
);
id_type!(
    /// What holds bytes: the tree of a copy, a layer of a disk. It may outlive its generation.
    ObjectId
);
id_type!(
    /// One place in a store where an object lies.
    CopyId
);
id_type!(
    /// A tree that a mount shows, below 2^27; the upper part of an inode number.
    ViewId
);
