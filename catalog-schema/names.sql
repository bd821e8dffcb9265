-- An index of names over all time, made by `asof catalog index-names`; a catalog works without it, and is of the same format. Whoever
-- writes a name that its directory never had puts it into name_new (src/catalog/name_index.rs).

-- Some names of one directory: one text in name_text.
CREATE TABLE name_doc(
  id  INTEGER PRIMARY KEY,
  dir INTEGER NOT NULL                    -- the directory's node
) STRICT;
-- The trigrams of the names of each text, with a newline between two; capital letters are small ones.
CREATE VIRTUAL TABLE name_text USING fts5(names, content='', detail='none', columnsize=0, tokenize='trigram');
-- Names that are in no text yet.
CREATE TABLE name_new(
  id     INTEGER PRIMARY KEY,
  parent INTEGER NOT NULL,
  name   BLOB NOT NULL
) STRICT;
-- How far older names have been put in: one row.
CREATE TABLE name_fill(
  upto INTEGER                            -- the last directory; NULL: all of them
) STRICT;
INSERT INTO name_fill(upto) VALUES (-1);
