-- Copies of the audit logs of all instances, line by line as they stand there: `line` is what its hash covers.
CREATE TABLE audit (
    node    TEXT   NOT NULL,
    log     TEXT   NOT NULL,
    seq     BIGINT NOT NULL,
    at_us   BIGINT NOT NULL,
    action  TEXT   NOT NULL,
    actor   TEXT   NOT NULL,
    result  TEXT   NOT NULL,
    hash    TEXT   NOT NULL,
    line    TEXT   NOT NULL,
    PRIMARY KEY (node, log, seq)
);
CREATE INDEX audit_by_time ON audit (at_us, node, seq);
