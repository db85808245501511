-- What was opened in one transaction and has no row in the ledger yet: a row there stands in five indexes, and most
-- requests end a moment later.
CREATE TABLE openings (
  seq INTEGER PRIMARY KEY,
  -- the records, as a JSON array
  records TEXT NOT NULL
) STRICT;
