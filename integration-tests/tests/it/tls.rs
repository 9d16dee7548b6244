//! Encrypted doors of real nodes: who is let in by certificate, certificates that change under way, and processes that
//! meet over TLS with nothing but what their secret holds.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use integration_tests::LOOK_AGAIN;
use integration_tests::node::Node;
use integration_tests::requests::Requests;
use integration_tests::{http, record, tool};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use service_kit::auth::new_entry;
use service_kit::{Accounts, Role};
use tonic::Code;
use wire::api_key::{ApiKey, Credentials};
use wire::pb::admin::v1::GetHealthRequest;
use wire::pb::admin::v1::admin_service_client::AdminServiceClient;
use wire::pb::journal::v1::LeaderSeenRequest;
use wire::pb::journal::v1::journal_service_client::JournalServiceClient;
use wire::transport::{Address, Channel, ClientOptions, ClientTls, connect};

use crate::keys::outer_address;

/// Certificates are read again every two seconds; a busy machine may take a while to come to it.
const PATIENCE: Duration = Duration::from_secs(60);

/// An authority and a certificate it gave, in PEM.
pub(crate) struct Issued {
    authority: String,
    certificate: String,
    pub(crate) private_key: String,
}

/// A certificate for this machine by a new authority.
pub(crate) fn issue() -> Result<Issued> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), outer_address()?.to_string()];
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(names)?;
    // One that has its authority's name would be taken for self-signed.
    params.distinguished_name.push(DnType::CommonName, "a node");
    let certificate = params.signed_by(&key, &issuer)?;
    Ok(Issued { authority: issuer.pem(), certificate: certificate.pem(), private_key: key.serialize_pem() })
}

impl Issued {
    pub(crate) fn write(&self, directory: &Path) -> Result<()> {
        fs::create_dir_all(directory)?;
        for (name, text) in
            [("ca.pem", &self.authority), ("tls.crt", &self.certificate), ("tls.key", &self.private_key)]
        {
            let new = directory.join(format!("{name}.new"));
            fs::write(&new, text)?;
            fs::rename(new, directory.join(name))?;
        }
        Ok(())
    }

    fn client(&self, identity: Option<&Self>) -> Result<ClientTls> {
        let identity = identity.map(|own| (own.certificate.as_bytes(), own.private_key.as_bytes()));
        Ok(ClientTls::new(self.authority.as_bytes(), identity)?)
    }
}

fn configuration(tls: &Path, keys: &Path, more: &str) -> String {
    format!(
        "{more}{}[security]\nkeys_dir = {keys:?}\n[security.tls]\ncertificate = {:?}\nprivate_key = {:?}\nclient_ca = {:?}\n",
        crate::PLAIN,
        tls.join("tls.crt"),
        tls.join("tls.key"),
        tls.join("ca.pem")
    )
}

fn channel(address: &str, tls: ClientTls, key: Option<&ApiKey>) -> Result<Channel> {
    let options = ClientOptions { credentials: Credentials::new(key), tls: Some(tls), ..ClientOptions::default() };
    Ok(connect(&format!("https://{address}").parse::<Address>()?, &options))
}

async fn health(channel: Channel) -> Result<Code> {
    let answer = AdminServiceClient::new(channel).get_health(GetHealthRequest { timeout_ms: 0 }).await;
    Ok(answer.err().map_or(Code::Ok, |status| status.code()))
}

/// Keys of a viewer and a trader, the key of the processes, and the directory that holds them.
fn keys(directory: &Path) -> Result<(PathBuf, BTreeMap<&'static str, ApiKey>)> {
    let path = directory.join("keys");
    fs::create_dir_all(&path)?;
    let (mut file, mut keys) = (String::new(), BTreeMap::new());
    for (name, role) in [("viewer", Role::Viewer), ("trader", Role::Trader)] {
        let (key, entry) = new_entry(name, role, Accounts::All)?;
        file += &entry;
        keys.insert(name, key);
    }
    fs::write(path.join("keys.toml"), file)?;
    fs::write(path.join("node.key"), new_entry("processes", Role::Node, Accounts::All)?.0.reveal())?;
    Ok((path, keys))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doors_are_encrypted_and_certificates_change_under_way() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let (first, second) = (issue()?, issue()?);
    let tls = directory.path().join("tls");
    first.write(&tls)?;
    let (keys_dir, keys) = keys(directory.path())?;
    let node = Node::start_anywhere(directory.path(), "all", &configuration(&tls, &keys_dir, "")).await?;
    let outer = outer_address()?;
    let away = |address: &str| format!("{outer}:{}", address.rsplit(':').next().unwrap_or_default());
    let grpc = away(&node.grpc);
    let viewer = Some(&keys["viewer"]);

    assert_eq!(health(channel(&grpc, first.client(None)?, viewer)?).await?, Code::Ok);
    assert_eq!(health(channel(&grpc, first.client(None)?, None)?).await?, Code::Unauthenticated);
    assert_ne!(health(channel(&grpc, second.client(None)?, viewer)?).await?, Code::Ok, "of another authority");
    let plain = integration_tests::node::channel_with(&grpc, viewer);
    assert_ne!(health(plain).await?, Code::Ok, "keys are not taken in the clear from elsewhere");
    assert_eq!(health(node.channel()).await?, Code::Ok, "tools beside the node need no certificate");
    assert_eq!(http::get(&node.admin, "/health").await?.status, 200);
    let ca = tls.join("ca.pem");
    let url = format!("https://{}/health", away(&node.admin));
    let curl = ["-sf", "--cacert", ca.to_str().context("a path")?, &url];
    let said = tool::run(Path::new("curl"), &curl, directory.path())?;
    assert!(said.code == 0 && said.out.contains("\"status\""), "{}{}", said.out, said.err);

    // A certificate of the authority stands in place of the key of a process.
    let seen = async |identity| -> Result<Code> {
        let channel = channel(&grpc, first.client(identity)?, None)?;
        let answer = JournalServiceClient::new(channel).leader_seen(LeaderSeenRequest::default()).await;
        Ok(answer.err().map_or(Code::Ok, |status| status.code()))
    };
    assert_eq!(seen(None).await?, Code::Unauthenticated);
    assert!(!matches!(seen(Some(&first)).await?, Code::Unauthenticated | Code::PermissionDenied | Code::Unavailable));
    // The handshake fails, which a client sees as a connection that was lost under way.
    let code = seen(Some(&second)).await?;
    assert!(matches!(code, Code::Unavailable | Code::Cancelled | Code::Unknown), "{code:?} of another authority");

    fs::write(tls.join("tls.crt"), "not a certificate")?;
    let said_so = "certificates cannot be used, the former ones stay in force";
    let begin = Instant::now();
    while !node.log().contains(said_so) {
        ensure!(begin.elapsed() < PATIENCE, "nothing is said about a broken certificate");
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    assert_eq!(health(channel(&grpc, first.client(None)?, viewer)?).await?, Code::Ok, "the former one holds");
    second.write(&tls)?;
    let begin = Instant::now();
    while health(channel(&grpc, second.client(None)?, viewer)?).await? != Code::Ok {
        ensure!(begin.elapsed() < PATIENCE, "the new certificate is not used:\n{}", node.log_end());
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    assert_ne!(health(channel(&grpc, first.client(None)?, viewer)?).await?, Code::Ok, "the former one is gone");
    assert!(node.terminate().await?.success());
    Ok(())
}

/// Engine and gateway in two processes: everything between them is encrypted and shows the key of the secret.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_meet_over_tls_with_the_key_of_their_secret() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let issued = issue()?;
    let tls = directory.path().join("tls");
    issued.write(&tls)?;
    let (keys_dir, keys) = keys(directory.path())?;
    let back = Node::start(
        &directory.path().join("back"),
        "persistence-gateway,consensus-coordinator",
        &configuration(&tls, &keys_dir, ""),
    )
    .await?;
    let peers =
        format!("[peers]\npersistence_gateway = \"https://{0}\"\nconsensus_coordinator = \"https://{0}\"\n", back.grpc);
    let front_configuration = configuration(&tls, &keys_dir, &peers);
    let front = Node::start(&directory.path().join("front"), "order-engine,admin-api", &front_configuration).await?;
    let trading = channel(&front.grpc, issued.client(None)?, Some(&keys["trader"]))?;
    let mut requests = Requests::new(1, 1, "tls");
    for _ in 0..20 {
        let report = record::send(trading.clone(), requests.next().context("a request")?).await?;
        requests.learn(&report);
    }
    let looking = channel(&front.grpc, issued.client(None)?, Some(&keys["viewer"]))?;
    let answer = AdminServiceClient::new(looking).get_health(GetHealthRequest { timeout_ms: 0 }).await?.into_inner();
    let silent: Vec<_> = answer.instances.iter().filter_map(|one| one.answer.as_ref()).map(|one| &one.error).collect();
    assert!(silent.len() == 2 && silent.iter().all(|error| error.is_empty()), "{silent:?}");
    assert!(front.terminate().await?.success());
    assert!(back.terminate().await?.success());
    Ok(())
}
