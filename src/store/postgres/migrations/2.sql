-- Nothing is looked up by it: it orders what came at the same time.
ALTER TABLE kancy_ledger DROP CONSTRAINT kancy_ledger_seq_key;

CREATE TABLE kancy_jobs (
  seq bigserial PRIMARY KEY,
  id text NOT NULL UNIQUE,
  version bigint NOT NULL,
  -- the row of the ledger that is completed at the job's end
  record_id text,
  workspace text NOT NULL,
  project text NOT NULL,
  environment text,
  key_id text NOT NULL,
  model text NOT NULL,
  state text NOT NULL,
  created_at bigint NOT NULL,
  -- a lease moves it ahead
  due_at bigint,
  -- taken away when its day is over
  idempotency_key text,
  -- the job as JSON; due_at is the column's
  job text NOT NULL
);
CREATE UNIQUE INDEX kancy_jobs_once ON kancy_jobs (key_id, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX kancy_jobs_due ON kancy_jobs (due_at, seq) WHERE due_at IS NOT NULL;
CREATE INDEX kancy_jobs_of ON kancy_jobs (workspace, project, seq);
CREATE INDEX kancy_jobs_record ON kancy_jobs (record_id) WHERE record_id IS NOT NULL;

CREATE TABLE kancy_outbox (
  seq bigserial PRIMARY KEY,
  id text NOT NULL UNIQUE,
  endpoint_id text NOT NULL,
  state text NOT NULL,
  attempts integer NOT NULL,
  last_status integer,
  due_at bigint,
  -- the delivery as JSON; what has a column above is the column's
  delivery text NOT NULL
);
CREATE INDEX kancy_outbox_due ON kancy_outbox (due_at, seq) WHERE due_at IS NOT NULL;
CREATE INDEX kancy_outbox_of ON kancy_outbox (endpoint_id) WHERE state = 'pending';
CREATE INDEX kancy_outbox_state ON kancy_outbox (state, seq);

CREATE TABLE kancy_endpoints (
  seq bigserial PRIMARY KEY,
  id text NOT NULL UNIQUE,
  endpoint text NOT NULL,
  -- the newest first
  secrets text[] NOT NULL
);
