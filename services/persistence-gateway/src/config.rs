//! Settings of a gateway. Every key has a default that works on one machine without a database server.
//!
//! Deliberately absent: reading files and the environment; that is `service_kit::config`.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use journal_store::postgres::{Server, UrlError};
use serde::{Deserialize, Serialize};
use service_kit::config::{ByteSize, HumanDuration};

/// Silence after which the kernel asks whether the server's host still exists.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);

use crate::backup::BackupConfig;

/// A gateway's settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Shards whose journal this gateway keeps. Default: only shard 0. Not a key: whoever composes the process knows.
    #[serde(skip)]
    pub shards: Vec<u32>,
    /// The journal.
    pub journal: JournalConfig,
    /// The history.
    pub history: HistoryConfig,
    /// The database server, used by whatever is set to "postgres".
    pub database: DatabaseConfig,
    /// The backups.
    pub backup: BackupConfig,
}

/// The journal's settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JournalConfig {
    /// Where entries become durable. Default: "file".
    pub backend: JournalBackend,
    /// Directory of the segment files; empty for `journal` in the data directory.
    pub directory: Option<PathBuf>,
    /// Size of a segment file, written in full when it is made. Default: "64MiB".
    pub segment_size: ByteSize,
    /// A snapshot is made after this many entries. Default: 100,000.
    pub snapshot_every_entries: u64,
    /// A snapshot is made after this many bytes of entries, if that comes first. Default: "256MiB".
    pub snapshot_every_bytes: ByteSize,
}

/// Where entries become durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JournalBackend {
    /// Segment files on this machine's disk.
    #[default]
    File,
    /// Tables of the database server; any gateway can stand in front of them.
    Postgres,
}

/// The history's settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HistoryConfig {
    /// Which database holds it. Default: "sqlite".
    pub database: HistoryDatabase,
    /// The SQLite file; empty for `history.sqlite` in the data directory.
    pub file: Option<PathBuf>,
    /// Most journal entries written in one transaction. Default: 500.
    pub batch_entries: u32,
    /// Most rows written in one transaction, checked between entries. Default: 4,000.
    pub batch_rows: u32,
    /// Pause between two transactions when little is waiting. Fewer and larger ones write fewer pages; on one disk
    /// with the journal that is what keeps its syncs short (docs/performance.md). Default: "250ms".
    pub linger: HumanDuration,
}

/// Which database holds the history.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HistoryDatabase {
    /// A file; nothing to install.
    #[default]
    Sqlite,
    /// The database server.
    Postgres,
}

/// The database server's settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DatabaseConfig {
    /// `postgres://user:password@host:port/database`, protected as `sslmode`, `sslrootcert`, `sslcert` and `sslkey` in it
    /// say. Default: none.
    pub url: DatabaseUrl,
    /// Most connections this process opens for the history, the projector's among them; at least 2. Default: 100.
    pub max_connections: u32,
    /// Longest wait for a connection, a new or a free one. Default: "30s".
    pub connection_timeout: HumanDuration,
    /// Longest run of a statement or a batch. Default: "30s".
    pub query_timeout: HumanDuration,
    /// Name the server shows for our connections. Default: "hive-mind".
    pub application_name: String,
    /// `postgres://…` of a read replica. Default: none.
    pub replica_url: DatabaseUrl,
    /// Whether the replica answers questions to the history that do not ask for what was written last. Default: false.
    pub use_read_replica: bool,
    /// Whether a journal in the database goes on while the database is away, in a file of this machine: what is
    /// acknowledged then is volatile, and says so. Default: false.
    pub enable_memory_only_mode: bool,
    /// Most that is kept in that file, for each shard. Default: "64MiB".
    pub memory_only_limit: ByteSize,
}

/// Where the database server is. Holds a password: its `Debug` form leaves it out.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DatabaseUrl(String);

/// Why a configuration cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {problem}")]
pub struct ConfigProblem {
    /// The key, with dots.
    pub key: &'static str,
    /// What to change.
    pub problem: String,
}

impl DatabaseUrl {
    /// The whole URL, password included; not for logs.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether it can be used. What is no URL could not be shown without its password either.
    fn check(&self) -> Result<(), String> {
        if self.0.is_empty() {
            Ok(())
        } else if ["postgres://", "postgresql://"].iter().any(|scheme| self.0.starts_with(scheme)) {
            Server::parse(&self.0).map(drop).map_err(|error| error.to_string())
        } else {
            Err("must begin with postgres:// or postgresql://".to_owned())
        }
    }
}

impl From<String> for DatabaseUrl {
    fn from(url: String) -> Self {
        Self(url)
    }
}

impl DatabaseConfig {
    /// How to connect, as far as the driver has to know. Time limits are the caller's.
    pub(crate) fn server(&self) -> Result<Server, String> {
        let unusable = |error: &dyn std::error::Error| format!("database.url cannot be used: {error}");
        let mut server = Server::parse(self.url.expose()).map_err(|error: UrlError| unusable(&error))?;
        // Every connection reads the files again; those that cannot be used are told of now.
        server.tls.load().map_err(|error| unusable(&error))?;
        server
            .options
            .application_name(&self.application_name)
            .keepalives_idle(KEEPALIVE_IDLE)
            .tcp_user_timeout(self.query_timeout.0);
        Ok(server)
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "(none)" } else { "(set)" })
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            shards: vec![0],
            journal: JournalConfig::default(),
            history: HistoryConfig::default(),
            database: DatabaseConfig::default(),
            backup: BackupConfig::default(),
        }
    }
}

impl Default for JournalConfig {
    fn default() -> Self {
        Self {
            backend: JournalBackend::File,
            directory: None,
            segment_size: ByteSize::from_mib(64),
            // A restart replays at most this much; at a few thousand batches a second a snapshot comes every minute.
            snapshot_every_entries: 100_000,
            snapshot_every_bytes: ByteSize::from_mib(256),
        }
    }
}

impl Default for HistoryConfig {
    fn default() -> Self {
        Self {
            database: HistoryDatabase::Sqlite,
            file: None,
            batch_entries: 500,
            batch_rows: 4_000,
            linger: HumanDuration::from_millis(250),
        }
    }
}

impl Default for DatabaseConfig {
    fn default() -> Self {
        Self {
            url: DatabaseUrl::default(),
            max_connections: 100,
            connection_timeout: HumanDuration::from_secs(30),
            query_timeout: HumanDuration::from_secs(30),
            application_name: "hive-mind".to_owned(),
            replica_url: DatabaseUrl::default(),
            use_read_replica: false,
            enable_memory_only_mode: false,
            // Some minutes of a busy market; it is held in memory too.
            memory_only_limit: ByteSize::from_mib(64),
        }
    }
}

impl Config {
    /// Keys that may change while the process runs; all others need a restart.
    pub const HOT: &'static [&'static str] = &[
        "database.max_connections",
        "database.connection_timeout",
        "database.query_timeout",
        "database.use_read_replica",
        "database.enable_memory_only_mode",
    ];

    /// Connections for questions: what the projectors leave.
    pub(crate) fn question_connections(&self) -> u32 {
        let shards = u32::try_from(self.shards.len()).unwrap_or(u32::MAX);
        self.database.max_connections.saturating_sub(shards).max(1)
    }

    /// Sessions on the database server that are none of the pool for questions: a projector's for each shard and, of a
    /// journal that is kept there, those of its writers, readers, snapshots, and of the one that looks after it.
    pub(crate) fn sessions_beside_questions(&self) -> u32 {
        let shards = u32::try_from(self.shards.len()).unwrap_or(u32::MAX);
        let journal = match self.journal.backend {
            JournalBackend::File => 0,
            JournalBackend::Postgres => shards.saturating_mul(journal_store::postgres::SESSIONS).saturating_add(1),
        };
        shards.saturating_add(journal)
    }

    /// Checks what the types cannot.
    ///
    /// # Errors
    /// The first key that cannot be used.
    pub fn check(&self) -> Result<(), ConfigProblem> {
        let problem = |key, problem: &str| Err(ConfigProblem { key, problem: problem.to_owned() });
        if self.shards.is_empty() || self.shards.iter().any(|shard| *shard > u32::from(u16::MAX)) {
            return problem("shards", "name at least one shard, numbered 0 to 65535");
        }
        if self.shards.iter().enumerate().any(|(at, shard)| self.shards[..at].contains(shard)) {
            return problem("shards", "name each shard once");
        }
        let segment = self.journal.segment_size.bytes();
        if !segment.is_multiple_of(4096) || !(8192..=1 << 31).contains(&segment) {
            return problem("journal.segment_size", "a multiple of 4KiB from 8KiB to 2GiB");
        }
        if self.journal.snapshot_every_entries == 0 || self.journal.snapshot_every_bytes.bytes() == 0 {
            return problem("journal.snapshot_every_entries", "snapshots need at least one entry and one byte between");
        }
        if self.history.batch_entries == 0 || self.history.batch_rows == 0 {
            return problem("history.batch_entries", "a transaction needs room for at least one entry and one row");
        }
        if self.database.max_connections < 2 {
            return problem("database.max_connections", "at least 2: one for the projector, one for questions");
        }
        if self.database.connection_timeout.0.is_zero() || self.database.query_timeout.0.is_zero() {
            return problem("database.connection_timeout", "timeouts must be above 0");
        }
        if self.database.use_read_replica && self.database.replica_url.expose().is_empty() {
            return problem(
                "database.use_read_replica",
                "needs database.replica_url: name the replica, or switch it off",
            );
        }
        if !self.database.replica_url.expose().is_empty() && self.history.database != HistoryDatabase::Postgres {
            return problem("database.replica_url", "is of use only with history.database = \"postgres\"");
        }
        if self.database.memory_only_limit.bytes() == 0 {
            return problem("database.memory_only_limit", "must be above 0");
        }
        let server =
            self.journal.backend == JournalBackend::Postgres || self.history.database == HistoryDatabase::Postgres;
        if server && self.database.url.expose().is_empty() {
            return problem("database.url", "is needed by journal.backend or history.database = \"postgres\"");
        }
        for (key, url) in [("database.url", &self.database.url), ("database.replica_url", &self.database.replica_url)] {
            url.check().map_err(|problem| ConfigProblem { key, problem })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_usable_and_each_mistake_names_its_key() {
        assert_eq!(Config::default().check(), Ok(()));
        let key = |edit: fn(&mut Config)| {
            let mut config = Config::default();
            edit(&mut config);
            config.check().map_err(|problem| problem.key)
        };
        assert_eq!(key(|c| c.shards.clear()), Err("shards"));
        assert_eq!(key(|c| c.shards = vec![1, 1]), Err("shards"));
        assert_eq!(key(|c| c.shards = vec![65_536]), Err("shards"));
        assert_eq!(key(|c| c.journal.backend = JournalBackend::Postgres), Err("database.url"));
        assert_eq!(key(|c| c.history.database = HistoryDatabase::Postgres), Err("database.url"));
        assert_eq!(key(|c| c.database.max_connections = 1), Err("database.max_connections"));
        assert_eq!(key(|c| c.database.use_read_replica = true), Err("database.use_read_replica"));
        assert_eq!(key(|c| c.database.url = DatabaseUrl::from("postgres:u:p@h/d".to_owned())), Err("database.url"));
        let replica = |c: &mut Config| {
            c.history.database = HistoryDatabase::Postgres;
            c.database.url = DatabaseUrl::from("postgres://u@h/d".to_owned());
            c.database.replica_url = DatabaseUrl::from("postgres://u@h/d?sslmode=verify-full".to_owned());
        };
        assert_eq!(key(replica), Err("database.replica_url"));
        assert_eq!(key(|c| c.history.batch_rows = 0), Err("history.batch_entries"));
    }

    /// T12: the same URL is given to psql 13 by hand; what only newer clients know is refused with its name.
    #[test]
    fn t12_a_url_that_psql_13_takes_is_taken() {
        let server = |parameters: &str| {
            let url = DatabaseUrl::from(format!("postgres://u:secret@h:5433/d?{parameters}"));
            DatabaseConfig { url, ..DatabaseConfig::default() }.server()
        };
        let taken =
            "sslmode=prefer&connect_timeout=10&application_name=psql&keepalives_idle=30&target_session_attrs=any";
        let taken = server(taken).expect("all of these are of libpq 13").options;
        assert_eq!((taken.get_dbname(), taken.get_application_name()), (Some("d"), Some("hive-mind")), "ours wins");
        for (parameters, word) in [
            ("load_balance_hostz=random", "load_balance_hostz"),
            ("sslmode=verify-full", "sslrootcert"),
            ("sslmode=verify-full&sslrootcert=/nowhere/ca.pem", "/nowhere/ca.pem"),
        ] {
            let refused = server(parameters).map(drop).expect_err(parameters);
            assert!(refused.contains(word) && !refused.contains("secret"), "{refused}");
        }
    }

    #[test]
    fn debug_output_keeps_the_password() {
        let url = DatabaseUrl::from("postgres://u:secret@h/d".to_owned());
        assert!(!format!("{url:?}").contains("secret"));
    }
}
