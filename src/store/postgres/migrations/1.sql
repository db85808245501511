-- Times are nanoseconds since the epoch, money is nano-dollars.

CREATE TABLE kancy_instances (
  id text PRIMARY KEY,
  seen timestamptz NOT NULL
);

CREATE TABLE kancy_keys (
  id text PRIMARY KEY,
  workspace text NOT NULL,
  project text NOT NULL,
  created_at bigint NOT NULL,
  -- the record as JSON, last_used_at left out
  record text NOT NULL,
  last_used_at bigint
);
CREATE INDEX kancy_keys_of ON kancy_keys (workspace, project, created_at);

CREATE TABLE kancy_limits (
  scope text NOT NULL,
  place integer NOT NULL,
  limit_json text NOT NULL,
  PRIMARY KEY (scope, place)
);

CREATE TABLE kancy_ledger (
  seq bigserial UNIQUE,
  id text PRIMARY KEY,
  -- who runs it: rows of an instance that is gone are posted at what they held
  instance text NOT NULL,
  request_id text NOT NULL,
  "time" bigint NOT NULL,
  workspace text NOT NULL,
  project text NOT NULL,
  team text,
  environment text,
  key_id text NOT NULL,
  endpoint text NOT NULL,
  modality text,
  model text,
  provider text,
  upstream_model text,
  upstream_request_id text,
  status integer,
  code text,
  outcome text,
  streamed boolean NOT NULL,
  latency_ms bigint,
  first_byte_ms bigint,
  input_tokens bigint NOT NULL,
  cached_input_tokens bigint NOT NULL,
  cache_write_tokens bigint NOT NULL,
  output_tokens bigint NOT NULL,
  reasoning_tokens bigint NOT NULL,
  images bigint NOT NULL,
  video_seconds bigint NOT NULL,
  audio_seconds bigint NOT NULL,
  characters bigint NOT NULL,
  image_input_tokens bigint NOT NULL,
  image_output_tokens bigint NOT NULL,
  audio_input_tokens bigint NOT NULL,
  audio_output_tokens bigint NOT NULL,
  videos bigint NOT NULL,
  estimated boolean NOT NULL,
  cost bigint NOT NULL,
  -- the amounts held while it runs
  held jsonb
);
CREATE INDEX kancy_ledger_time ON kancy_ledger ("time", seq);
CREATE INDEX kancy_ledger_of ON kancy_ledger (workspace, "time", seq);
CREATE INDEX kancy_ledger_key ON kancy_ledger (key_id, "time", seq);
CREATE INDEX kancy_ledger_request ON kancy_ledger (request_id);
CREATE INDEX kancy_ledger_running ON kancy_ledger (instance) WHERE outcome IS NULL;

CREATE TABLE kancy_alerts (
  seq bigserial PRIMARY KEY,
  -- what makes it one: the limit, the window and the threshold
  mark text NOT NULL UNIQUE,
  alert text NOT NULL
);

CREATE TABLE kancy_audit (
  seq bigserial PRIMARY KEY,
  id text NOT NULL,
  "time" bigint NOT NULL,
  actor text NOT NULL,
  action text NOT NULL,
  target text NOT NULL,
  detail text NOT NULL
);

-- Whoever changes counters or grants of a workspace locks its row first.
CREATE TABLE kancy_quota_workspaces (
  workspace text PRIMARY KEY
);

CREATE TABLE kancy_quota_counters (
  workspace text NOT NULL,
  name text NOT NULL,
  state text NOT NULL,
  touched timestamptz NOT NULL,
  PRIMARY KEY (workspace, name)
) WITH (fillfactor = 70);
CREATE INDEX kancy_quota_counters_named ON kancy_quota_counters (name);

CREATE TABLE kancy_quota_grants (
  id text PRIMARY KEY,
  workspace text NOT NULL,
  instance text NOT NULL,
  -- the names of the counters that it holds of
  counters text[] NOT NULL,
  open_grant text NOT NULL
);
CREATE INDEX kancy_quota_grants_of ON kancy_quota_grants (workspace);
CREATE INDEX kancy_quota_grants_instance ON kancy_quota_grants (instance);
