-- Format 3: generations of disks.
-- inode.place has three more numbers:
--   3  runs of the disk as of this generation; content: content(id), a map (src/model/disk.rs), NULL: a hole from end to end
--   6  one run of the disk as long as the file; content: where it begins, bytes
--   7  the disk itself

-- Whether the data was at rest when it was taken: app (programs had written all), frozen (the file systems had),
-- crash (as after a power failure), none (nothing is promised); NULL: not said.
ALTER TABLE generation ADD COLUMN consistency TEXT;
-- Where its bytes came from, as a URI: file:///images/a.qcow2, nbd://host/export, cinder://id; NULL: not said.
ALTER TABLE generation ADD COLUMN location TEXT;

-- What a generation holds of a disk by itself.
CREATE TABLE disk_layer(
  source     INTEGER NOT NULL,
  at         INTEGER NOT NULL,            -- taken_at
  parent     INTEGER,                     -- taken_at of the generation that has what this one has not; NULL: none
  size       INTEGER NOT NULL,            -- of the disk, bytes
  format     TEXT NOT NULL,               -- raw | qcow2 | stream | pull
  acquire    TEXT,                        -- push | pull | snapshot; NULL: not known
  checkpoint TEXT,                        -- the mark that the next increment counts from, as QEMU or libvirt name it
  stored     INTEGER NOT NULL,            -- bytes of files that it holds
  extents    BLOB NOT NULL,               -- where they are: src/model/disk.rs
  PRIMARY KEY(source, at)
) STRICT;

-- The files that a layer's bytes are in. One that is not as it is told here is not read.
CREATE TABLE disk_file(
  source   INTEGER NOT NULL,
  at       INTEGER NOT NULL,
  number   INTEGER NOT NULL,              -- 0, 1, 2 as the extents name them
  path     BLOB NOT NULL,                 -- absolute
  size     INTEGER NOT NULL,              -- bytes
  mtime    INTEGER NOT NULL,              -- unix seconds
  mtime_ns INTEGER NOT NULL,
  PRIMARY KEY(source, at, number)
) STRICT, WITHOUT ROWID;

-- What is on a disk: partitions, logical volumes, file systems.
CREATE TABLE disk_volume(
  source   INTEGER NOT NULL,
  at       INTEGER NOT NULL,
  name     TEXT NOT NULL,                 -- its directory: p1, lvm/VG/LV, fs
  size     INTEGER NOT NULL,              -- bytes
  pieces   TEXT NOT NULL,                 -- where it is on the disk: AT+LENGTH in bytes, with blanks between
  kind     TEXT,                          -- ext4, xfs, swap ...; NULL: nothing known
  browsable INTEGER NOT NULL,             -- 1: there is a tree of it
  label    TEXT NOT NULL,                 -- of the partition
  fs_label TEXT NOT NULL,
  uuid     TEXT NOT NULL,
  state    TEXT NOT NULL,                 -- clean | replayed | lost (it could not be read); empty where there is nothing to read
  features TEXT NOT NULL,                 -- with blanks between
  note     TEXT NOT NULL,                 -- why there is no tree, or what is odd
  PRIMARY KEY(source, at, name)
) STRICT, WITHOUT ROWID;

PRAGMA user_version = 3;
