"""The SQL that reduces a recording where it lies. Parameters are bound, never pasted in.

Every query ends in a total order, so that equal recordings give equal bytes with any number of threads.
"""

LIMIT_MARGIN = 1
"""One row more than allowed is fetched, to know that there are more."""

METRICS = """
WITH sample AS (
    SELECT left(metric, 512) AS metric, ts, max(value) AS value
    FROM read_parquet($file)
    WHERE entity = $entity AND ts >= $start AND ts < $stop AND isfinite(value) AND abs(value) < 1e300
    GROUP BY ALL
)
SELECT metric, epoch_us(ts) AS ts, value FROM sample ORDER BY metric, ts LIMIT $rows
"""

METRICS_TOTAL = """
SELECT count(*), count(*) FILTER (WHERE value IS NULL OR NOT isfinite(value) OR abs(value) >= 1e300)
FROM read_parquet($file) WHERE entity = $entity AND ts >= $start AND ts < $stop
"""

_LOGS = r"""
WITH line AS (
    SELECT
        lower(left(coalesce(severity, ''), 64)) AS severity,
        left(message, 2000) AS message,
        epoch_us(ts) AS at_us,
        {request} AS request
    FROM read_parquet($file)
    WHERE entity = $entity AND ts >= $start AND ts < $stop AND message IS NOT NULL
),
masked AS (
    SELECT severity, at_us, request, message, left(regexp_extract(regexp_replace(regexp_replace(
        message,
        '\b[0-9a-fA-F]{{8}}(?:-[0-9a-fA-F]{{4}}){{3}}-[0-9a-fA-F]{{12}}\b|\b0x[0-9a-fA-F]+\b|\b[0-9a-fA-F]{{12,}}\b',
        '<*>', 'g'),
        '(^|[^A-Za-z0-9_#.<])[A-Za-z]?[-+]?\d[\w.:-]*', '\1<*>', 'g'), '^\s*(?:\S+\s+){{0,11}}\S*'), 240) AS template
    FROM line
),
template AS (SELECT severity, template, min(message) AS example, count(*) AS total FROM masked GROUP BY ALL),
kept AS (
    SELECT *, row_number() OVER (ORDER BY total DESC, severity, template) AS number FROM template
    ORDER BY number LIMIT $templates
),
numbered AS (
    SELECT kept.number, masked.at_us, masked.request FROM masked JOIN kept USING (severity, template)
),
placed AS (
    SELECT number, at_us, lag(number, 1, 0) OVER (PARTITION BY request ORDER BY at_us, number) AS before
    FROM numbered WHERE request IS NOT NULL
    UNION ALL
    SELECT number, at_us, NULL FROM numbered WHERE request IS NULL
),
counted AS (
    SELECT number, before, at_us - at_us % $bucket AS ts, count(*) AS count FROM placed GROUP BY ALL
)
SELECT kept.severity, kept.template, counted.ts, counted.count, kept.example,
       CASE WHEN counted.before = 0 THEN '' ELSE previous.template END AS after
FROM counted JOIN kept USING (number) LEFT JOIN kept AS previous ON previous.number = counted.before
ORDER BY kept.severity, kept.template, counted.ts, after, previous.severity
LIMIT $rows
"""

LOGS = _LOGS.format(request="NULL")
"""For lines that do not say which request they belong to."""

LOGS_OF_REQUESTS = _LOGS.format(
    request="nullif(coalesce(trace_id, '') || ' ' || coalesce(span_id, ''), ' ')",
)
"""For lines that name their trace and span: each is reported with the line before it."""

_SPANS = """
CREATE OR REPLACE TABLE span AS
SELECT trace_id, span_id, coalesce(parent_span_id, '') AS parent_span_id, entity, left(operation, 512) AS operation,
       coalesce(peer, '') AS peer, coalesce(error, false) AS error, epoch_us(ts) AS start_us, duration_us,
       {weight} AS weight
FROM read_parquet($file)
WHERE ts >= $start AND duration_us BETWEEN 0 AND 86400000000
      AND epoch_us(ts) + duration_us <= epoch_us($stop::TIMESTAMPTZ)
QUALIFY row_number() OVER (
    PARTITION BY trace_id, span_id ORDER BY ts, entity, operation, duration_us, parent_span_id, peer, error
) = 1
"""

SPANS = _SPANS.format(weight="1::BIGINT")
"""For all spans there were."""

WEIGHTED_SPANS = _SPANS.format(weight="weight::BIGINT")
"""For a sample of them."""

UNUSABLE_SPANS = """
SELECT entity, count(*) FROM read_parquet($file)
WHERE ts >= $start AND ts < $stop AND entity IS NOT NULL
      AND (duration_us IS NULL OR duration_us NOT BETWEEN 0 AND 86400000000)
GROUP BY entity
"""

ROWS = """
SELECT count(*) FROM read_parquet($file)
"""

COVERED = """
CREATE OR REPLACE TABLE covered AS
WITH child AS (
    SELECT trace_id, parent_span_id AS span_id, entity, error, start_us, start_us + duration_us AS stop_us,
           max(entity) OVER (PARTITION BY trace_id, parent_span_id) AS last_entity,
           min(entity) OVER (PARTITION BY trace_id, parent_span_id) AS first_entity,
           max(start_us + duration_us) OVER (
               PARTITION BY trace_id, parent_span_id ORDER BY start_us, start_us + duration_us
               ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
           ) AS seen_us
    FROM span WHERE parent_span_id <> ''
)
SELECT trace_id, span_id, count(*) AS children, bool_or(error) AS child_failed,
       min(first_entity) AS first_entity, max(last_entity) AS last_entity,
       sum(greatest(0, stop_us - greatest(start_us, coalesce(seen_us, start_us)))) AS covered_us
FROM child GROUP BY trace_id, span_id
"""

SPAN_FACTS = """
CREATE OR REPLACE TABLE span_fact AS
SELECT s.entity, s.operation, coalesce(p.entity, '') AS caller, coalesce(p.operation, '') AS caller_operation,
       s.peer, s.start_us, s.weight, s.error, s.error AND NOT coalesce(c.child_failed, false) AS own_error,
       s.peer <> '' AND coalesce(c.children, 0) = 0 AS unanswered, s.duration_us,
       CASE WHEN c.children IS NULL OR (c.first_entity = s.entity AND c.last_entity = s.entity)
            THEN greatest(0, s.duration_us - coalesce(c.covered_us, 0))::BIGINT ELSE 0 END AS self_us,
       CASE WHEN p.entity IS NOT NULL AND p.entity <> s.entity
            THEN greatest(0, p.duration_us - pc.covered_us)::BIGINT ELSE 0 END AS gap_us
FROM span s
LEFT JOIN span p ON p.trace_id = s.trace_id AND p.span_id = s.parent_span_id AND s.parent_span_id <> ''
LEFT JOIN covered c ON c.trace_id = s.trace_id AND c.span_id = s.span_id
LEFT JOIN covered pc ON pc.trace_id = s.trace_id AND pc.span_id = s.parent_span_id
"""

TRACES = """
SELECT operation, caller, caller_operation, peer, start_us - start_us % $bucket AS ts, unanswered,
       sum(weight)::BIGINT AS count,
       coalesce(sum(weight) FILTER (WHERE error), 0)::BIGINT AS errors,
       coalesce(sum(weight) FILTER (WHERE own_error), 0)::BIGINT AS originating_errors,
       sum(weight * duration_us)::BIGINT AS duration_us,
       sum(weight * self_us)::BIGINT AS self_us, sum(weight * gap_us)::BIGINT AS gap_us, max(duration_us) AS max_us
FROM span_fact
WHERE entity = $entity AND start_us >= $start AND start_us < $stop
GROUP BY ALL
ORDER BY operation, caller, caller_operation, peer, unanswered, ts
LIMIT $rows
"""

TRACE_EDGES = """
SELECT DISTINCT caller AS source, entity AS target FROM span_fact WHERE caller <> '' AND caller <> entity
UNION
SELECT DISTINCT entity AS source, peer AS target FROM span_fact WHERE peer <> '' AND peer <> entity
ORDER BY source, target LIMIT $rows
"""

ENTITIES = """
SELECT DISTINCT entity FROM read_parquet($file) WHERE entity IS NOT NULL ORDER BY entity LIMIT $rows
"""
