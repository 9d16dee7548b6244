//! TLS to a database server: all that a gateway asks goes over it, and what does not fit is refused with a remedy.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use journal_store::postgres::PostgresStorage;
use journal_store::testing::{GUARDED, PostgresServer};
use persistence_gateway::config::{DatabaseUrl, JournalBackend};
use persistence_gateway::history::HistoryReader;
use persistence_gateway::pools::PoolGauge;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use wire::pb::admin::v1 as pb;
use wire::pb::admin::v1::audit_store_service_client::AuditStoreServiceClient;
use wire::pb::admin::v1::backup_service_client::BackupServiceClient;
use wire::pb::history::v1::ListOrdersRequest;

use crate::support::{Gateway, Leader, SHARD, START, commands, with_postgres};

/// Stands in every URL, and must be in no error.
const PASSWORD: &str = "canary-of-a-password";

/// An authority and a certificate of it for 127.0.0.1, in files that URLs name.
struct Issued {
    directory: PathBuf,
}

impl Issued {
    fn into(directory: PathBuf) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        // One that has its authority's name would be taken for self-signed.
        params.distinguished_name.push(DnType::CommonName, "a database");
        let certificate = params.signed_by(&key, &issuer).unwrap();
        fs::create_dir(&directory).unwrap();
        for (name, pem) in [("ca.pem", issuer.pem()), ("crt.pem", certificate.pem()), ("key.pem", key.serialize_pem())]
        {
            fs::write(directory.join(name), pem).unwrap();
        }
        Self { directory }
    }

    fn path(&self, name: &str) -> String {
        self.directory.join(name).to_str().unwrap().to_owned()
    }

    fn server(&self) -> PostgresServer {
        let read = |name| fs::read_to_string(self.path(name)).unwrap();
        PostgresServer::start_encrypted(&read("ca.pem"), &read("crt.pem"), &read("key.pem"))
    }
}

#[tokio::test]
async fn everything_that_asks_a_database_does_so_over_tls() {
    let dir = tempfile::tempdir().unwrap();
    let issued = Issued::into(dir.path().join("certificates"));
    let server = issued.server();
    let plain = server.database();
    let replica = server.replica();
    let protected = |url: &str| format!("{url}?sslmode=verify-full&sslrootcert={}", issued.path("ca.pem"));
    let mut config = with_postgres(protected(&plain));
    config.journal.backend = JournalBackend::Postgres;
    config.database.replica_url = DatabaseUrl::from(protected(&replica.url_of(&plain)));
    config.database.use_read_replica = true;
    let gateway = Gateway::start(config, dir.path()).await;
    let mut leader = Leader::elect(&gateway, 3, START).await;
    leader.apply(&commands(41, 200)).await;
    let mut backups = BackupServiceClient::new(gateway.channel.clone());
    let made = backups.create_backup(pb::CreateBackupRequest::default()).await.unwrap().into_inner();
    assert!(made.backup.unwrap().rows > 0, "tables were made, rows written and exported");
    let copy = pb::GetAuditCopyRequest { node: "g0".to_owned(), log: "0".repeat(64) };
    let copied = AuditStoreServiceClient::new(gateway.channel.clone()).get_audit_copy(copy).await.unwrap();
    assert_eq!(copied.into_inner().last_seq, 0);
    gateway.history().list_orders(ListOrdersRequest::default()).await.unwrap();

    let sessions = "SELECT string_agg(DISTINCT application_name, ' ' ORDER BY application_name), bool_and(ssl) \
                    FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name LIKE 'hive%'";
    assert_eq!(server.sql(&plain, sessions), "hive-mind hivemind-journal|t");
    assert_eq!(replica.sql(&replica.url_of(&plain), sessions), "hive-mind|t");
    gateway.stop().await;
}

/// What a journal and what a pool say of a server; nothing if they came in.
async fn ask(url: &str, dir: &Path) -> [Option<String>; 2] {
    let journal = url.to_owned();
    let journal = tokio::task::spawn_blocking(move || PostgresStorage::connect(&journal, SHARD).map(drop));
    let gauge = Arc::new(PoolGauge::new("test", "postgres", 1));
    let history = match HistoryReader::new(&with_postgres(url.to_owned()), dir, 1, gauge) {
        Ok(reader) => reader.cursors().await.map(drop),
        Err(error) => Err(error),
    };
    // There are no tables: whoever is told so came in.
    let history = history.err().map(|error| error.to_string()).filter(|error| !error.contains("42P01"));
    [journal.await.unwrap().err().map(|error| error.to_string()), history]
}

#[tokio::test]
async fn what_tls_refuses_is_said_with_a_remedy_and_without_the_password() {
    let dir = tempfile::tempdir().unwrap();
    let (own, other) = (Issued::into(dir.path().join("own")), Issued::into(dir.path().join("other")));
    let (ca, foreign) = (own.path("ca.pem"), other.path("ca.pem"));
    let (encrypted, clear) = (own.server(), PostgresServer::shared());
    let (own_url, clear_url) = (encrypted.database(), clear.database());
    let with = |url: &str, user: &str, host: &str, parameters: &str| {
        let url = url.replace("postgres@127.0.0.1", &format!("{user}:{PASSWORD}@{host}"));
        format!("{url}?{parameters}")
    };
    let here = |parameters: &str| with(&own_url, "postgres", "127.0.0.1", parameters);
    // The certificate is not for this name.
    let named = |parameters: &str| with(&own_url, "postgres", "db.test", &format!("hostaddr=127.0.0.1&{parameters}"));
    let guarded = |parameters: &str| with(&own_url, GUARDED, "127.0.0.1", parameters);
    let identity = format!("sslcert={}&sslkey={}", own.path("crt.pem"), own.path("key.pem"));
    let (full, authority) =
        (format!("sslmode=verify-full&sslrootcert={ca}"), format!("sslmode=verify-ca&sslrootcert={ca}"));
    for (url, expected) in [
        (here("connect_timeout=5"), None),
        (here("sslmode=require"), None),
        (here(&full), None),
        (named(&authority), None),
        (guarded(&format!("{full}&{identity}")), None),
        (here(&format!("sslmode=require&sslrootcert={foreign}")), Some("did not sign the server's certificate")),
        (here(&format!("sslmode=verify-full&sslrootcert={foreign}")), Some("did not sign the server's certificate")),
        (named(&format!("sslmode=verify-ca&sslrootcert={foreign}")), Some("did not sign the server's certificate")),
        (named(&full), Some("is for other names")),
        (here("sslmode=disable"), Some("the server wants TLS")),
        (guarded(&full), Some("name it by sslcert and sslkey")),
        (with(&clear_url, "postgres", "127.0.0.1", "sslmode=require"), Some("give the server a certificate")),
        (here("sslmode=verify-ca&sslrootcert=/nowhere/ca.pem"), Some("sslrootcert=/nowhere/ca.pem: ")),
        (here(&format!("{full}&sslcert={ca}&sslkey={ca}")), Some(&*format!("sslkey={ca}: "))),
    ] {
        for said in ask(&url, dir.path()).await {
            let fits = match (&said, expected) {
                (None, None) => true,
                (Some(said), Some(expected)) => said.contains(expected) && !said.contains(PASSWORD),
                _ => false,
            };
            assert!(fits, "{url}: {said:?}, not {expected:?}");
        }
    }
}
