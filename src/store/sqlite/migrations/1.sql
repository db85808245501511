-- Times are nanoseconds since the epoch, money is nano-dollars.

CREATE TABLE keys (
  id TEXT PRIMARY KEY,
  created_at INTEGER NOT NULL,
  workspace TEXT NOT NULL,
  project TEXT NOT NULL,
  -- the record as JSON, last_used_at left out
  record TEXT NOT NULL,
  last_used_at INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX keys_by_age ON keys (created_at, id);

CREATE TABLE limits (
  scope TEXT PRIMARY KEY,
  -- the whole set, as a JSON array
  limits TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE ledger (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
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
CREATE INDEX ledger_by_age ON ledger (time);
CREATE INDEX ledger_of ON ledger (workspace, time);
CREATE INDEX ledger_request ON ledger (request_id);

CREATE TABLE alerts (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL,
  time INTEGER NOT NULL,
  -- what makes it one: the limit, the window and the threshold
  mark TEXT NOT NULL UNIQUE,
  alert TEXT NOT NULL
) STRICT;

CREATE TABLE audit (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL,
  time INTEGER NOT NULL,
  actor TEXT NOT NULL,
  action TEXT NOT NULL,
  target TEXT NOT NULL,
  detail TEXT NOT NULL
) STRICT;

CREATE TABLE jobs (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  workspace TEXT NOT NULL,
  key_id TEXT NOT NULL,
  state TEXT NOT NULL,
  version INTEGER NOT NULL,
  due_at INTEGER,
  job TEXT NOT NULL
) STRICT;
CREATE INDEX jobs_due ON jobs (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX jobs_of ON jobs (workspace, seq);

CREATE TABLE outbox (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  workspace TEXT NOT NULL,
  state TEXT NOT NULL,
  due_at INTEGER,
  delivery TEXT NOT NULL
) STRICT;
CREATE INDEX outbox_due ON outbox (due_at) WHERE due_at IS NOT NULL;
