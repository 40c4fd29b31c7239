-- The coordinator's state. One SQL text in the subset SQLite and PostgreSQL share: ids as text, times in milliseconds since 1970.
-- The organization comes first in every key. Forward only: a later change is a later file.

CREATE TABLE account (
    id            TEXT PRIMARY KEY,
    email         TEXT NOT NULL UNIQUE,
    name          TEXT NOT NULL,
    password_hash TEXT NOT NULL,
    created_at_ms BIGINT NOT NULL
);

CREATE TABLE account_key (
    account       TEXT NOT NULL REFERENCES account (id),
    id            TEXT NOT NULL UNIQUE,
    kind          TEXT NOT NULL,
    description   TEXT NOT NULL,
    secret_hash   TEXT NOT NULL,
    created_at_ms BIGINT NOT NULL,
    expires_at_ms BIGINT NOT NULL,
    revoked_at_ms BIGINT,
    PRIMARY KEY (account, id)
);

CREATE TABLE organization (
    id            TEXT PRIMARY KEY,
    slug          TEXT NOT NULL UNIQUE,
    name          TEXT NOT NULL,
    verification  TEXT NOT NULL,
    state         TEXT NOT NULL,
    limits        TEXT NOT NULL,
    revision      BIGINT NOT NULL,
    created_at_ms BIGINT NOT NULL
);

CREATE TABLE membership (
    organization  TEXT NOT NULL REFERENCES organization (id),
    id            TEXT NOT NULL,
    account       TEXT NOT NULL REFERENCES account (id),
    created_at_ms BIGINT NOT NULL,
    PRIMARY KEY (organization, id),
    UNIQUE (organization, account)
);
CREATE INDEX membership_of_account ON membership (account);

CREATE TABLE role (
    organization  TEXT NOT NULL REFERENCES organization (id),
    id            TEXT NOT NULL,
    slug          TEXT NOT NULL,
    name          TEXT NOT NULL,
    permissions   TEXT NOT NULL,
    created_at_ms BIGINT NOT NULL,
    PRIMARY KEY (organization, id),
    UNIQUE (organization, slug)
);

CREATE TABLE project (
    organization  TEXT NOT NULL REFERENCES organization (id),
    id            TEXT NOT NULL,
    slug          TEXT NOT NULL,
    name          TEXT NOT NULL,
    created_at_ms BIGINT NOT NULL,
    PRIMARY KEY (organization, id),
    UNIQUE (organization, slug)
);

CREATE TABLE workspace (
    organization  TEXT NOT NULL,
    id            TEXT NOT NULL,
    project       TEXT NOT NULL,
    slug          TEXT NOT NULL,
    name          TEXT NOT NULL,
    created_at_ms BIGINT NOT NULL,
    PRIMARY KEY (organization, id),
    UNIQUE (organization, project, slug),
    FOREIGN KEY (organization, project) REFERENCES project (organization, id)
);

-- A removed host keeps its row, so that its certificate stays refused and its history keeps its name; its slug is free again. It outlives its
-- workspace, which is why it does not refer to one.
CREATE TABLE host (
    organization  TEXT NOT NULL,
    id            TEXT NOT NULL,
    project       TEXT NOT NULL,
    workspace     TEXT NOT NULL,
    slug          TEXT NOT NULL,
    machine_id    TEXT NOT NULL,
    token         TEXT NOT NULL,
    created_at_ms BIGINT NOT NULL,
    removed_at_ms BIGINT,
    PRIMARY KEY (organization, id)
);
CREATE UNIQUE INDEX host_slug ON host (organization, workspace, slug) WHERE removed_at_ms IS NULL;

CREATE TABLE binding (
    organization  TEXT NOT NULL,
    id            TEXT NOT NULL,
    account       TEXT NOT NULL,
    role          TEXT NOT NULL,
    project       TEXT,
    workspace     TEXT,
    host          TEXT,
    expires_at_ms BIGINT,
    created_at_ms BIGINT NOT NULL,
    PRIMARY KEY (organization, id),
    FOREIGN KEY (organization, account) REFERENCES membership (organization, account),
    FOREIGN KEY (organization, role) REFERENCES role (organization, id)
);

-- A machine shows a token before it has an organization: the one table also looked up by id alone.
CREATE TABLE agent_token (
    organization  TEXT NOT NULL,
    id            TEXT NOT NULL UNIQUE,
    project       TEXT NOT NULL,
    workspace     TEXT NOT NULL,
    description   TEXT NOT NULL,
    secret_hash   TEXT NOT NULL,
    expires_at_ms BIGINT NOT NULL,
    max_uses      BIGINT NOT NULL,
    uses          BIGINT NOT NULL,
    revoked_at_ms BIGINT,
    created_at_ms BIGINT NOT NULL,
    created_by    TEXT NOT NULL,
    PRIMARY KEY (organization, id),
    FOREIGN KEY (organization, workspace) REFERENCES workspace (organization, id)
);

-- Of an organization (no workspace, a stage) or of a workspace (no stage).
CREATE TABLE firewall (
    organization     TEXT NOT NULL REFERENCES organization (id),
    id               TEXT NOT NULL,
    project          TEXT,
    workspace        TEXT,
    slug             TEXT NOT NULL,
    description      TEXT NOT NULL,
    stage            TEXT,
    default_inbound  TEXT NOT NULL,
    default_outbound TEXT NOT NULL,
    created_at_ms    BIGINT NOT NULL,
    updated_at_ms    BIGINT NOT NULL,
    PRIMARY KEY (organization, id)
);
CREATE UNIQUE INDEX firewall_slug_of_organization ON firewall (organization, slug) WHERE workspace IS NULL;
CREATE UNIQUE INDEX firewall_slug_of_workspace ON firewall (organization, workspace, slug) WHERE workspace IS NOT NULL;

CREATE TABLE firewall_rule (
    organization TEXT NOT NULL,
    firewall     TEXT NOT NULL,
    position     BIGINT NOT NULL,
    id           TEXT NOT NULL,
    spec         TEXT NOT NULL,
    PRIMARY KEY (organization, firewall, position),
    FOREIGN KEY (organization, firewall) REFERENCES firewall (organization, id)
);

CREATE TABLE shell_session (
    organization  TEXT NOT NULL,
    id            TEXT NOT NULL,
    project       TEXT NOT NULL,
    workspace     TEXT NOT NULL,
    host          TEXT NOT NULL,
    account       TEXT NOT NULL,
    email         TEXT NOT NULL,
    host_path     TEXT NOT NULL,
    run_as        TEXT NOT NULL,
    reason        TEXT NOT NULL,
    state         TEXT NOT NULL,
    ended         TEXT,
    recording     TEXT,
    started_at_ms BIGINT NOT NULL,
    ended_at_ms   BIGINT,
    PRIMARY KEY (organization, id)
);
CREATE INDEX shell_session_open ON shell_session (organization, state);

CREATE TABLE audit_event (
    trail      TEXT NOT NULL,
    sequence   BIGINT NOT NULL,
    id         TEXT NOT NULL,
    time_ms    BIGINT NOT NULL,
    actor_name TEXT NOT NULL,
    action     TEXT NOT NULL,
    target     TEXT NOT NULL,
    event      TEXT NOT NULL,
    hash       TEXT NOT NULL,
    PRIMARY KEY (trail, sequence)
);
CREATE INDEX audit_event_time ON audit_event (trail, time_ms);
