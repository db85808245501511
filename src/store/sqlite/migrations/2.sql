-- Nothing was ever written to version 1's tables of jobs and deliveries.
DROP TABLE jobs;
DROP TABLE outbox;

CREATE TABLE jobs (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  workspace TEXT NOT NULL,
  project TEXT NOT NULL,
  environment TEXT,
  model TEXT NOT NULL,
  state TEXT NOT NULL,
  version INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  -- NULL once it is settled
  due_at INTEGER,
  -- whoever has it under way is left alone until then
  leased_until INTEGER,
  -- the ledger's row that it completes
  record_id TEXT,
  key_id TEXT NOT NULL,
  idempotency_key TEXT,
  -- the job as JSON; version and due_at as of their columns
  job TEXT NOT NULL
) STRICT;
CREATE INDEX jobs_due ON jobs (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX jobs_unsettled ON jobs (seq) WHERE due_at IS NOT NULL;
CREATE INDEX jobs_of ON jobs (workspace, project, seq);
CREATE INDEX jobs_once ON jobs (key_id, idempotency_key, created_at) WHERE idempotency_key IS NOT NULL;

CREATE TABLE outbox (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  endpoint_id TEXT NOT NULL,
  state TEXT NOT NULL,
  attempts INTEGER NOT NULL,
  last_status INTEGER,
  due_at INTEGER,
  leased_until INTEGER,
  -- the delivery as JSON; what has a column here as of that
  delivery TEXT NOT NULL
) STRICT;
CREATE INDEX outbox_due ON outbox (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX outbox_pending ON outbox (endpoint_id) WHERE state = 'pending';

CREATE TABLE endpoints (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  endpoint TEXT NOT NULL,
  -- the signing secrets as a JSON array, the newest first
  secrets TEXT NOT NULL
) STRICT;
