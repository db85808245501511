-- The number by which the log beside this file knows it.
CREATE TABLE log (owner INTEGER NOT NULL) STRICT;
INSERT INTO log VALUES (random());

-- What was opened is kept as lines of the log; of version 3 it gets its rows.
INSERT INTO ledger (
  id, request_id, time, workspace, project, team, environment, key_id, endpoint, modality, model, provider,
  upstream_model, upstream_request_id, status, code, outcome, streamed, latency_ms, first_byte_ms, input_tokens,
  cached_input_tokens, cache_write_tokens, output_tokens, reasoning_tokens, images, video_seconds, audio_seconds,
  characters, image_input_tokens, image_output_tokens, audio_input_tokens, audio_output_tokens, videos, estimated, cost,
  held
)
SELECT
  line ->> '$[0][0]', line ->> '$[0][1]', line ->> '$[0][2]', line ->> '$[0][3].workspace',
  line ->> '$[0][3].project', line ->> '$[0][3].team', line ->> '$[0][3].environment', line ->> '$[0][4]',
  line ->> '$[0][5]', line ->> '$[1][0]', line ->> '$[1][1]', line ->> '$[1][2]', line ->> '$[1][3]',
  line ->> '$[1][4]', line ->> '$[2][0]', line ->> '$[2][1]', NULL, line ->> '$[2][2]', line ->> '$[2][3]',
  line ->> '$[2][4]', coalesce(line ->> '$[3][0].input_tokens', 0),
  coalesce(line ->> '$[3][0].cached_input_tokens', 0), coalesce(line ->> '$[3][0].cache_write_tokens', 0),
  coalesce(line ->> '$[3][0].output_tokens', 0), coalesce(line ->> '$[3][0].reasoning_tokens', 0),
  coalesce(line ->> '$[3][0].images', 0), coalesce(line ->> '$[3][0].video_seconds', 0),
  coalesce(line ->> '$[3][0].audio_seconds', 0), coalesce(line ->> '$[3][0].characters', 0),
  coalesce(line ->> '$[3][0].image_input_tokens', 0), coalesce(line ->> '$[3][0].image_output_tokens', 0),
  coalesce(line ->> '$[3][0].audio_input_tokens', 0), coalesce(line ->> '$[3][0].audio_output_tokens', 0),
  coalesce(line ->> '$[3][0].videos', 0), line ->> '$[3][1]',
  coalesce(CAST(replace(line ->> '$[3][2]', '.', '') AS INTEGER), 0),
  iif(line ->> '$[3][3]' IS NULL, NULL, json_object(
    'requests', line ->> '$[3][3][0]', 'input_tokens', line ->> '$[3][3][1]', 'output_tokens', line ->> '$[3][3][2]',
    'spend', format('%d.%09d', (line ->> '$[3][3][3]') / 1000000000, (line ->> '$[3][3][3]') % 1000000000),
    'images', line ->> '$[3][3][4]', 'video_seconds', line ->> '$[3][3][5]',
    'audio_seconds', line ->> '$[3][3][6]', 'characters', line ->> '$[3][3][7]'
  ))
FROM (SELECT value AS line FROM openings, json_each(openings.records) ORDER BY openings.number, json_each.key)
WHERE true ON CONFLICT (id) DO NOTHING;

DROP TABLE openings;
CREATE TABLE openings (
  number INTEGER PRIMARY KEY,
  -- lines one after the other, and zeros up to a fixed length
  lines BLOB NOT NULL
) STRICT;
