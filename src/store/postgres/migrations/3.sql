-- What nobody has settled yet, by whomever it was made.
CREATE INDEX kancy_jobs_unsettled ON kancy_jobs (seq) WHERE due_at IS NOT NULL;

-- Holds of jobs outlive their instance: until then, unless they are kept on. NULL = it ends with its instance.
ALTER TABLE kancy_quota_grants ADD COLUMN until timestamptz;
CREATE INDEX kancy_quota_grants_until ON kancy_quota_grants (until) WHERE until IS NOT NULL;
