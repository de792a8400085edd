-- The database of receiver.py: what arrived, and as views what follows from it. Needs SQLite 3.38.
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;

-- `was` is what a salvaged record says of its old place; it stands there as well, and only there it is a measurement.
-- `contradicted`: another body that came under the same key; the first one counts.
CREATE TABLE IF NOT EXISTS record(
    station, spool CHECK(length(spool) = 32), seq CHECK(typeof(seq) = 'integer' AND seq BETWEEN 1 AND 1 << 53),
    at NOT NULL CHECK(at GLOB '????-??-??T??:??:??.???Z'), kind CHECK(typeof(kind) = 'text'), instrument, was, body,
    repeated DEFAULT 0, contradicted, PRIMARY KEY(station, spool, seq));
CREATE TRIGGER IF NOT EXISTS salvaged AFTER INSERT ON record WHEN new.was ->> 'spool' IS NOT NULL BEGIN
    INSERT OR IGNORE INTO record VALUES(new.station, new.was ->> 'spool', new.was ->> 'seq', new.at, new.kind,
        new.instrument, NULL, json_set(json_remove(new.body, '$.was'), '$.seq', new.was ->> 'seq'), 0, NULL);
END;
CREATE INDEX IF NOT EXISTS told ON record(station, spool) WHERE kind IN ('ledger', 'event') AND was IS NULL;
CREATE TABLE IF NOT EXISTS spool(station, spool, newest, state, PRIMARY KEY(station, spool));
CREATE TABLE IF NOT EXISTS catalog(station PRIMARY KEY, body);
CREATE TABLE IF NOT EXISTS malformed(lane PRIMARY KEY, count, latest);
-- What the station said it has no longer.
CREATE TABLE IF NOT EXISTS absent(station, spool, first, last, PRIMARY KEY(station, spool, first, last));

CREATE VIEW IF NOT EXISTS explained AS
    SELECT station, spool, body ->> 'first' AS first, body ->> 'last' AS last FROM record
    WHERE kind IN ('ledger', 'event') AND was IS NULL AND body ->> 'ledger' IN ('dropped', 'damaged')
    UNION ALL SELECT station, copy.value ->> 'spool', range.value ->> 0, range.value ->> 1
    FROM record, json_each(body, '$.copies') AS copy, json_each(copy.value, '$.seqs') AS range
    WHERE kind IN ('ledger', 'event') AND was IS NULL AND body ->> 'ledger' = 'dropped'
    UNION ALL SELECT station, body ->> 'spool', value ->> 0, value ->> 1 FROM record, json_each(body, '$.lost')
    WHERE kind IN ('ledger', 'event') AND was IS NULL AND body ->> 'event' = 'spool_salvaged'
    UNION ALL SELECT station, body ->> 'spool', value ->> 0, value ->> 1 FROM record, json_each(body, '$.moved')
    WHERE kind IN ('ledger', 'event') AND was IS NULL AND body ->> 'event' = 'spool_salvaged';

-- The highest seq of each spool that anybody spoke of.
CREATE VIEW IF NOT EXISTS known AS SELECT station, spool, max(newest) AS newest FROM (
    SELECT station, spool, max(seq) AS newest FROM record GROUP BY station, spool
    UNION ALL SELECT station, spool, newest FROM spool
    UNION ALL SELECT station, body ->> 'spool', body ->> 'newest' FROM record
    WHERE kind IN ('ledger', 'event') AND was IS NULL AND body ->> 'event' = 'spool_damaged' AND body ->> 'newest' > 0
) WHERE spool IS NOT NULL GROUP BY station, spool;

-- Ranges of seqs that are neither there nor explained; `next_at` is the time of the record that follows.
CREATE VIEW IF NOT EXISTS missing AS SELECT * FROM (
    SELECT station, spool, ifnull(max(last) OVER (PARTITION BY station, spool ORDER BY first
        ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) + 1 AS first, first - 1 AS last, at AS next_at FROM (
        SELECT station, spool, seq AS first, seq AS last, at FROM record
        UNION ALL SELECT station, spool, first, last, '' FROM explained
        UNION ALL SELECT station, spool, newest + 1, newest + 1, '9' FROM known)
) WHERE first <= last;

-- What of it the station has not said to have no longer.
CREATE VIEW IF NOT EXISTS askable AS SELECT * FROM missing WHERE NOT EXISTS (
    SELECT 1 FROM absent WHERE (absent.station, absent.spool) = (missing.station, missing.spool)
    AND absent.first <= missing.first AND absent.last >= missing.last);

-- Hours of which the ledger counts more records than there are: some of first to last are missing.
CREATE VIEW IF NOT EXISTS short_hour AS
    SELECT ledger.station, ledger.spool, body ->> 'from' AS hour, min(body ->> 'first') AS first,
        max(body ->> 'last') AS last, sum(body ->> 'records') AS records, ifnull(arrived, 0) AS arrived
    FROM record AS ledger LEFT JOIN (
        SELECT station, spool, substr(at, 1, 13) AS hour, count(*) AS arrived FROM record
        WHERE kind <> 'ledger' AND was IS NULL GROUP BY 1, 2, 3
    ) AS there ON (there.station, there.spool, hour) = (ledger.station, ledger.spool, substr(body ->> 'from', 1, 13))
    WHERE kind IN ('ledger', 'event') AND was IS NULL AND body ->> 'ledger' = 'hour'
    GROUP BY 1, 2, 3 HAVING records > arrived;

-- Transmission and valid-data rate of each hour and channel, in percent and rounded down: 100 means all. Ledgers of one
-- hour add up; where 0 is expected, a longer span that was taken for empty has these slots already.
CREATE VIEW IF NOT EXISTS rate AS
    SELECT one.*, ifnull(arrived, 0) AS arrived, 10000 * ifnull(arrived, 0) / expected / 100.0 AS transmission,
        10000 * valid / expected / 100.0 AS valid_data FROM (
        SELECT station, body ->> 'from' AS hour, one.key AS instrument, channel.key AS channel,
            sum(one.value ->> 'expected') AS expected, sum(one.value ->> 'polled') AS polled,
            ifnull(sum(channel.value ->> 'valid'), 0) AS valid
        FROM record JOIN json_each(body, '$.instruments') AS one LEFT JOIN json_each(one.value, '$.channels') AS channel
        WHERE kind IN ('ledger', 'event') AND was IS NULL AND body ->> 'ledger' = 'hour' GROUP BY 1, 2, 3, 4) AS one
    LEFT JOIN (SELECT station, substr(at, 1, 13) AS begin, instrument, count(*) AS arrived FROM record
        WHERE kind = 'raw' AND was IS NULL GROUP BY 1, 2, 3) AS there
    ON (there.station, begin, there.instrument) = (one.station, substr(hour, 1, 13), one.instrument);

-- All hours and instruments of a station, each slot once, and each value that was due; its own channels do not count.
CREATE VIEW IF NOT EXISTS summary AS
    SELECT station, min(since) AS since, 10000 * sum(arrived) / sum(expected) / 100.0 AS transmission,
        10000 * sum(valid) / sum(expected * channels) / 100.0 AS valid_data FROM (
        SELECT station, min(hour) AS since, sum(expected) AS expected, sum(arrived) AS arrived, sum(valid) AS valid,
            max(channels) AS channels FROM (
            SELECT station, hour, instrument, max(expected) AS expected, max(arrived) AS arrived, sum(valid) AS valid,
                count(*) AS channels FROM rate WHERE instrument <> 'station' GROUP BY 1, 2, 3)
        GROUP BY station, instrument) GROUP BY station;

-- Damaged spools of which not every lost number is known: there may have been more behind `newest`.
CREATE VIEW IF NOT EXISTS unsure AS
    SELECT record.station, body ->> 'spool' AS spool, body ->> 'lost_records' AS lost, newest AS unknown_behind
    FROM record LEFT JOIN known ON (known.station, known.spool) = (record.station, body ->> 'spool')
    WHERE kind IN ('ledger', 'event') AND was IS NULL AND body ->> 'event' = 'spool_salvaged'
    AND body ->> 'complete' = 0;

CREATE VIEW IF NOT EXISTS account AS
    SELECT station, spool, newest, count(seq) AS received,
        (SELECT ifnull(sum(last - first + 1), 0) FROM missing AS one
         WHERE (one.station, one.spool) = (known.station, known.spool)) AS missing,
        total(repeated) AS repeated, count(contradicted) AS contradictory
    FROM known LEFT JOIN record USING (station, spool) GROUP BY 1, 2;
