-- What agents report and credentials' last use: observations, not decisions, so they carry no audit event. A file of its own, written by one writer in
-- batches; losing its last second loses no decision.

CREATE TABLE host_observation (
    organization     TEXT NOT NULL,
    host             TEXT NOT NULL,
    last_seen_at_ms  BIGINT NOT NULL,
    facts            TEXT NOT NULL,
    agent_version    TEXT NOT NULL,
    PRIMARY KEY (organization, host)
);

-- The policy last compiled for a host, and how far the host is with it.
CREATE TABLE host_policy (
    organization TEXT NOT NULL,
    host         TEXT NOT NULL,
    generation   BIGINT NOT NULL,
    digest       TEXT NOT NULL,
    status       TEXT NOT NULL,
    PRIMARY KEY (organization, host)
);

CREATE TABLE metric_schema (
    organization TEXT NOT NULL,
    host         TEXT NOT NULL,
    digest       TEXT NOT NULL,
    series       TEXT NOT NULL,
    PRIMARY KEY (organization, host, digest)
);

CREATE TABLE metric_frame (
    organization TEXT NOT NULL,
    host         TEXT NOT NULL,
    time_ms      BIGINT NOT NULL,
    digest       TEXT NOT NULL,
    samples      BLOB NOT NULL,
    PRIMARY KEY (organization, host, time_ms)
);

CREATE TABLE key_use (
    account         TEXT NOT NULL,
    key_id          TEXT NOT NULL,
    used_at_ms      BIGINT NOT NULL,
    used_from       TEXT NOT NULL,
    PRIMARY KEY (account, key_id)
);
