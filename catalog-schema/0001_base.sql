-- The catalog of asof: base tables, as format 1 made them; the files that follow change them. catalog-schema/README.md tells what to ask it; the
-- views in views.sql are the contract, these tables may change with user_version.
--
-- Times of generations (taken_at, at, born, died) are unix seconds, UTC. A span [born, died) holds at
-- every instant t with born <= t AND t < died; the open end is 253402300799 (9999-12-31T23:59:59Z).
-- Readers ask only at instants of published (available) generations, so rows that an unfinished
-- index run wrote are never seen. Names and paths are BLOBs: a Unix name is bytes, not text.

PRAGMA application_id = 1634955110;   -- "asof"
PRAGMA user_version = 1;

-- What is backed up.
CREATE TABLE source(
  id        INTEGER PRIMARY KEY,
  name      TEXT NOT NULL UNIQUE,     -- its directory in every view
  kind      TEXT NOT NULL,            -- nfs | gluster | block
  settings  TEXT NOT NULL,            -- JSON that only the kind understands
  root      INTEGER NOT NULL,         -- node of its top directory, the same in every generation
  next_node INTEGER NOT NULL,         -- the next free node number in its current block
  added_at  INTEGER NOT NULL          -- unix seconds
) STRICT;

-- Node numbers are given out in blocks of 65,536: node >> 16 tells the source. Block 0 is not used, and
-- none is given out twice, also after its source was removed: a mount may still remember its nodes.
CREATE TABLE node_block(
  block  INTEGER PRIMARY KEY AUTOINCREMENT,
  source INTEGER NOT NULL REFERENCES source(id)
) STRICT;

-- A directory, on any mounted file system, that holds backup bytes.
CREATE TABLE store(
  id   INTEGER PRIMARY KEY,
  path BLOB NOT NULL UNIQUE,          -- absolute
  site TEXT                           -- where it stands, in the admin's words
) STRICT;

-- One backup of one source at one instant.
CREATE TABLE generation(
  id            INTEGER PRIMARY KEY,
  source        INTEGER NOT NULL REFERENCES source(id),
  taken_at      INTEGER NOT NULL,     -- unix seconds
  level         TEXT NOT NULL,        -- full | incremental
  status        TEXT NOT NULL,        -- creating | available; only available ones are in views
  indexed_at    INTEGER,              -- when the index run began, unix seconds
  index_ms      INTEGER,              -- how long it took
  entries       INTEGER,              -- names in it, without the root
  size_bytes    INTEGER,              -- content of its regular files, hard links counted once
  changed_nodes INTEGER,              -- nodes that differ from the generation before it
  losses        INTEGER,              -- findings that make it partial
  notices       INTEGER,              -- other findings: changed while walked, mount points
  first_content INTEGER NOT NULL,     -- first content row that its index run may have written
  UNIQUE(source, taken_at)
) STRICT;

-- The bytes of a generation, in a store. A generation may have several copies.
CREATE TABLE copy(
  id         INTEGER PRIMARY KEY,
  generation INTEGER NOT NULL REFERENCES generation(id),
  store      INTEGER NOT NULL REFERENCES store(id),
  path       BLOB NOT NULL,           -- below the store's path, empty: the store itself
  UNIQUE(generation, store, path)
) STRICT;

-- What an index run found amiss with one path.
CREATE TABLE finding(
  source INTEGER NOT NULL,
  at     INTEGER NOT NULL,            -- taken_at of the generation
  number INTEGER NOT NULL,            -- 1, 2, 3 in the order of the walk
  kind   TEXT NOT NULL,               -- unreadable | changed | boundary | missing | absent | gap | skew | anomaly
  path   BLOB NOT NULL,               -- below the source's root
  detail TEXT NOT NULL,
  PRIMARY KEY(source, at, number)
) STRICT, WITHOUT ROWID;

-- Numbers of the trees that a mount shows: the upper part of inode numbers, never given out twice.
-- source 0 is the tree of all sources as of `at`.
CREATE TABLE instant(
  id     INTEGER PRIMARY KEY AUTOINCREMENT,
  source INTEGER NOT NULL,
  at     INTEGER NOT NULL,
  UNIQUE(source, at)
) STRICT;

-- A name in a directory over a span of time. A changed file does not touch it; a renamed directory
-- is one row closed and one row opened.
CREATE TABLE dirent(
  parent INTEGER NOT NULL,            -- node of the directory
  name   BLOB NOT NULL,
  born   INTEGER NOT NULL,            -- first generation that has the name
  died   INTEGER NOT NULL DEFAULT 253402300799,   -- first generation after it that has not
  fork   INTEGER,                     -- NULL in ordinary directories; in hot ones 0 while the name lives, else the fork of [born, died-1]
  node   INTEGER NOT NULL,
  kind   INTEGER NOT NULL,            -- 0 file, 1 directory, 2 symlink, 3 fifo, 4 socket, 5 character device, 6 block device
  PRIMARY KEY(parent, name, born)
) STRICT, WITHOUT ROWID;
-- From a node to its names: paths, hard links, changes.
CREATE INDEX dirent_node ON dirent(node);
-- Listing a hot directory costs what lives, not what died: see instant_fork.
CREATE INDEX dirent_hot ON dirent(parent, fork, born, died, node, kind) WHERE fork IS NOT NULL;

-- The forks to look at for the listing of a hot directory as of `at`: the ancestors of `at` in the
-- binary tree over all seconds (relational interval tree; Kriegel, Poetke, Seidl: "Managing Intervals
-- Efficiently in Object-Relational Databases", VLDB 2000). About 33 rows an instant.
CREATE TABLE instant_fork(
  at   INTEGER NOT NULL,
  fork INTEGER NOT NULL,
  PRIMARY KEY(at, fork)
) STRICT, WITHOUT ROWID;

-- Directories in which names died; hot ones are those whose dead names outnumber the living many times.
CREATE TABLE directory_history(
  dir  INTEGER PRIMARY KEY,           -- node
  dead INTEGER NOT NULL,              -- names that died in it, about
  hot  INTEGER NOT NULL DEFAULT 0     -- 1: all its dirent rows have a fork
) STRICT;
CREATE INDEX directory_history_hot ON directory_history(dir) WHERE hot;

-- Attributes and place of the content of a node, from `born` to the node's next row (or its last unlink).
CREATE TABLE inode(
  node      INTEGER NOT NULL,
  born      INTEGER NOT NULL,
  perm      INTEGER NOT NULL,         -- perm(id)
  size      INTEGER NOT NULL,         -- bytes
  allocated INTEGER,                  -- bytes allocated where less than size (sparse, compressed), else NULL
  mtime     INTEGER NOT NULL,         -- unix seconds, may be negative
  mtime_ns  INTEGER NOT NULL,         -- nanoseconds after that second
  ctime_ns  INTEGER NOT NULL,         -- ctime minus mtime in nanoseconds
  nlink     INTEGER NOT NULL,         -- names inside the generation; a directory's as its file system said
  place     INTEGER NOT NULL,         -- 0 no content, 1 at its own path in the copies of every generation of its span,
                                      -- 2 at its path as of the generation `content`, in the copies of that one,
                                      -- 4 in content.bytes (symlink target), 5 none but a device number, 9 could not be read
  content   INTEGER,                  -- place 2: taken_at; place 4: content(id); place 5: st_rdev
  PRIMARY KEY(node, born)
) STRICT, WITHOUT ROWID;

-- Owner and rights, shared by all that have the same.
CREATE TABLE perm(
  id    INTEGER PRIMARY KEY,
  mode  INTEGER NOT NULL,             -- st_mode, type included
  uid   INTEGER NOT NULL,
  gid   INTEGER NOT NULL,
  xattr INTEGER NOT NULL,             -- xattr_set(id); 0 none; -1 could not be read
  UNIQUE(mode, uid, gid, xattr)
) STRICT;

-- A set of extended attributes, POSIX ACLs among them, shared by all that have the same.
CREATE TABLE xattr_set(
  id      INTEGER PRIMARY KEY,
  digest  BLOB NOT NULL UNIQUE,       -- BLAKE3 of names and values, each with its length
  has_acl INTEGER NOT NULL            -- 1: holds system.posix_acl_access or system.posix_acl_default
) STRICT;
CREATE INDEX xattr_set_acl ON xattr_set(id) WHERE has_acl;
CREATE TABLE xattr_item(
  xattr INTEGER NOT NULL,             -- xattr_set(id)
  name  BLOB NOT NULL,                -- as listxattr(2) gives it: user.comment, system.posix_acl_access
  value BLOB NOT NULL,                -- as getxattr(2) gives it
  PRIMARY KEY(xattr, name)
) STRICT, WITHOUT ROWID;
-- Nodes that have, or ever had, extended attributes.
CREATE TABLE xattr_node(node INTEGER PRIMARY KEY) STRICT;

-- Bytes kept in the catalog itself.
CREATE TABLE content(
  id    INTEGER PRIMARY KEY,
  bytes BLOB NOT NULL
) STRICT;

-- What each generation changed against the one before it. The first generation of a source has no rows:
-- all of it is new.
CREATE TABLE change(
  source INTEGER NOT NULL,
  at     INTEGER NOT NULL,            -- taken_at
  node   INTEGER NOT NULL,
  op     INTEGER NOT NULL,            -- sum of 1 created, 2 content, 4 attributes, 8 got a name, 16 lost a name
  PRIMARY KEY(source, at, node)
) STRICT, WITHOUT ROWID;

-- Sources whose copies keep inode numbers: who a file is over all generations.
CREATE TABLE identity(
  source  INTEGER NOT NULL,
  inode   INTEGER NOT NULL,           -- st_ino, as a signed number
  born_ns INTEGER NOT NULL,           -- birth time in ns since the epoch, 0 where unknown
  node    INTEGER NOT NULL,
  PRIMARY KEY(source, inode, born_ns)
) STRICT, WITHOUT ROWID;
CREATE INDEX identity_node ON identity(node);

-- Text for the names, paths and link targets that are not plain UTF-8 text; views show it in their place.
CREATE TABLE odd_name(
  name BLOB PRIMARY KEY,
  text TEXT NOT NULL                  -- \n, \t, \\ and \xNN in place of what cannot be shown
) STRICT, WITHOUT ROWID;
