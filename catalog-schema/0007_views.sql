-- Format 7: more views, and more columns in those that there were. Tables are as in format 6.

PRAGMA user_version = 7;
