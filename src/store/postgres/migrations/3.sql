-- What nobody has settled yet, by whomever it was made.
CREATE INDEX kancy_jobs_unsettled ON kancy_jobs (seq) WHERE due_at IS NOT NULL;

-- Holds of jobs outlive their instance: until then, unless they are kept on. NULL = it ends with its instance.
ALTER TABLE kancy_quota_grants ADD COLUMN until timestamptz;
-- One that was never kept is of no job: nobody was paid for it.
ALTER TABLE kancy_quota_grants ADD COLUMN kept boolean NOT NULL DEFAULT false;
CREATE INDEX kancy_quota_grants_until ON kancy_quota_grants (until) WHERE until IS NOT NULL;
