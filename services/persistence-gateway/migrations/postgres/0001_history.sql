-- History of orders, executions and trades, as derived from the journal. Every number is a 64-bit integer in two's
-- complement: values from 2^63 on appear negative. Enumerations carry the numbers of the published contracts
-- (hivemind.orders.v1, hivemind.history.v1), 0 for "none". Times are microseconds since the Unix epoch, UTC.
-- Rows are found newest first, by the primary keys.

CREATE TABLE projection (
    shard      BIGINT NOT NULL PRIMARY KEY,
    log_id     BYTEA  NOT NULL,
    seq        BIGINT NOT NULL,
    chain      BYTEA  NOT NULL
);

CREATE TABLE instruments (
    shard             BIGINT   NOT NULL,
    instrument        BIGINT   NOT NULL,
    log_id            BYTEA    NOT NULL,
    epoch             BIGINT   NOT NULL,
    seq               BIGINT   NOT NULL,
    idx               BIGINT   NOT NULL,
    symbol            TEXT     NOT NULL,
    price_decimals    SMALLINT NOT NULL,
    quantity_decimals SMALLINT NOT NULL,
    tick_size         BIGINT   NOT NULL,
    lot_size          BIGINT   NOT NULL,
    min_quantity      BIGINT   NOT NULL,
    max_quantity      BIGINT   NOT NULL,
    max_notional      TEXT     NOT NULL,
    low_limit_price   BIGINT   NOT NULL,
    high_limit_price  BIGINT   NOT NULL,
    band_basis_points BIGINT   NOT NULL,
    reference_price   BIGINT   NOT NULL,
    state             SMALLINT NOT NULL,
    updated_us        BIGINT   NOT NULL,
    PRIMARY KEY (shard, instrument)
);

CREATE TABLE orders (
    shard           BIGINT   NOT NULL,
    log_id          BYTEA    NOT NULL,
    epoch           BIGINT   NOT NULL,
    seq             BIGINT   NOT NULL,
    idx             BIGINT   NOT NULL,
    created_us      BIGINT   NOT NULL,
    updated_us      BIGINT   NOT NULL,
    order_id        BIGINT   NOT NULL,
    account_id      BIGINT   NOT NULL,
    client_order_id TEXT     NOT NULL,
    symbol          TEXT     NOT NULL,
    side            SMALLINT NOT NULL,
    order_type      SMALLINT NOT NULL,
    time_in_force   SMALLINT NOT NULL,
    price           BIGINT   NOT NULL,
    quantity        BIGINT   NOT NULL,
    cumulative      BIGINT   NOT NULL,
    leaves          BIGINT   NOT NULL,
    status          SMALLINT NOT NULL,
    reject_reason   SMALLINT NOT NULL,
    PRIMARY KEY (created_us, shard, idx)
);
CREATE UNIQUE INDEX orders_by_number ON orders (order_id) WHERE order_id <> 0;
CREATE INDEX orders_by_account ON orders (account_id, created_us, shard, idx);
CREATE INDEX orders_by_client_id ON orders (account_id, client_order_id);
CREATE INDEX orders_by_symbol ON orders (symbol, created_us, shard, idx);

CREATE TABLE executions (
    shard           BIGINT   NOT NULL,
    log_id          BYTEA    NOT NULL,
    epoch           BIGINT   NOT NULL,
    seq             BIGINT   NOT NULL,
    idx             BIGINT   NOT NULL,
    transact_us     BIGINT   NOT NULL,
    number          BIGINT   NOT NULL,
    kind            SMALLINT NOT NULL,
    order_id        BIGINT   NOT NULL,
    account_id      BIGINT   NOT NULL,
    client_order_id TEXT     NOT NULL,
    symbol          TEXT     NOT NULL,
    side            SMALLINT NOT NULL,
    price           BIGINT   NOT NULL,
    quantity        BIGINT   NOT NULL,
    cumulative      BIGINT   NOT NULL,
    leaves          BIGINT   NOT NULL,
    trade_id        BIGINT   NOT NULL,
    reject_reason   SMALLINT NOT NULL,
    PRIMARY KEY (transact_us, shard, idx, number)
);
CREATE INDEX executions_by_account ON executions (account_id, transact_us, shard, idx, number);
CREATE INDEX executions_by_order ON executions (order_id, transact_us, shard, idx, number) WHERE order_id <> 0;
CREATE INDEX executions_by_symbol ON executions (symbol, transact_us, shard, idx, number);

CREATE TABLE trades (
    shard            BIGINT   NOT NULL,
    log_id           BYTEA    NOT NULL,
    epoch            BIGINT   NOT NULL,
    seq              BIGINT   NOT NULL,
    idx              BIGINT   NOT NULL,
    transact_us      BIGINT   NOT NULL,
    number           BIGINT   NOT NULL,
    trade_id         BIGINT   NOT NULL,
    symbol           TEXT     NOT NULL,
    price            BIGINT   NOT NULL,
    quantity         BIGINT   NOT NULL,
    maker_order_id   BIGINT   NOT NULL,
    maker_account_id BIGINT   NOT NULL,
    taker_order_id   BIGINT   NOT NULL,
    taker_account_id BIGINT   NOT NULL,
    taker_side       SMALLINT NOT NULL,
    PRIMARY KEY (transact_us, shard, idx, number)
);
CREATE INDEX trades_by_symbol ON trades (symbol, transact_us, shard, idx, number);
