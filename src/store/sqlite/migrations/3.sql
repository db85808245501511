-- What was opened and has no row in the ledger yet: a row there stands in five trees, and most requests end a moment later.
CREATE TABLE openings (
  number INTEGER PRIMARY KEY,
  -- the records as a JSON array, and spaces up to a fixed length
  records TEXT NOT NULL
) STRICT;

-- Nothing is deleted from the ledger, so its numbers rise without AUTOINCREMENT, which writes a table of its own each time.
CREATE TABLE ledger_3 (
  seq INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  request_id TEXT NOT NULL,
  time INTEGER NOT NULL,
  workspace TEXT NOT NULL,
  project TEXT NOT NULL,
  team TEXT,
  environment TEXT,
  key_id TEXT NOT NULL,
  endpoint TEXT NOT NULL,
  modality TEXT,
  model TEXT,
  provider TEXT,
  upstream_model TEXT,
  upstream_request_id TEXT,
  status INTEGER,
  code TEXT,
  outcome TEXT,
  streamed INTEGER NOT NULL,
  latency_ms INTEGER,
  first_byte_ms INTEGER,
  input_tokens INTEGER NOT NULL,
  cached_input_tokens INTEGER NOT NULL,
  cache_write_tokens INTEGER NOT NULL,
  output_tokens INTEGER NOT NULL,
  reasoning_tokens INTEGER NOT NULL,
  images INTEGER NOT NULL,
  video_seconds INTEGER NOT NULL,
  audio_seconds INTEGER NOT NULL,
  characters INTEGER NOT NULL,
  image_input_tokens INTEGER NOT NULL,
  image_output_tokens INTEGER NOT NULL,
  audio_input_tokens INTEGER NOT NULL,
  audio_output_tokens INTEGER NOT NULL,
  videos INTEGER NOT NULL,
  estimated INTEGER NOT NULL,
  cost INTEGER NOT NULL,
  -- the amounts held while it runs, as JSON
  held TEXT
) STRICT;
INSERT INTO ledger_3 SELECT * FROM ledger ORDER BY seq;
DROP TABLE ledger;
ALTER TABLE ledger_3 RENAME TO ledger;
CREATE INDEX ledger_by_age ON ledger (time);
CREATE INDEX ledger_of ON ledger (workspace, time);
CREATE INDEX ledger_request ON ledger (request_id);
