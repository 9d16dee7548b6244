//! `admin keys`: which keys are in force, and how one is replaced or taken away.
//!
//! Deliberately absent: showing a key that is in force; nobody knows it.

use anyhow::{Context, Result};
use clap::{Subcommand, ValueEnum};
use serde::Serialize;
use service_kit::auth::new_entry_until;
use service_kit::config::HumanDuration;
use service_kit::{Accounts, Role, clock};
use wire::pb::admin::v1 as pb;
use wire::pb::admin::v1::key_service_client::KeyServiceClient;

use super::asked::{Asked, answered};
use super::ordered::Ordered;
use crate::cli::{EXIT_FAILURE, EXIT_OK};
use crate::output::line;

/// What can be asked and ordered.
#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// Shows the keys in force at every instance, until when they are, and those whose time is over.
    List,
    /// Makes a new key, without a node: prints it and the entry to put into a *.toml of the keys' directory or secret.
    New {
        /// Its id: 1 to 32 lower-case letters, digits or hyphens.
        id: String,
        /// What it is for.
        #[arg(long, value_enum)]
        role: RoleArgument,
        /// Accounts a trader may send orders for, with commas between them; all if not given.
        #[arg(long, value_delimiter = ',', value_name = "ACCOUNTS")]
        accounts: Vec<u64>,
        /// When it is refused from: a time like 2027-01-31T00:00:00Z, or a duration from now, such as 90d. Never if not
        /// given.
        #[arg(long, value_name = "TIME", value_parser = time_to_come)]
        expires: Option<u64>,
    },
    /// Makes a new key like the one of this id and revokes the former one, at the asked instance.
    ///
    /// The new key is printed once. Refused where the directory of the keys is mounted read-only: there, `keys new`
    /// prints what to put into the secret.
    Rotate {
        /// Id of the key.
        id: String,
        /// Leaves the former key in force, until it is revoked.
        #[arg(long)]
        keep_former: bool,
        /// When the new key is refused from, as for `keys new`; when the former one is, if not given.
        #[arg(long, value_name = "TIME", value_parser = time_to_come)]
        expires: Option<u64>,
        #[command(flatten)]
        order: Ordered,
    },
    /// Revokes the keys of this id at every instance, whatever the secret lists. Open streams of them end at once.
    Revoke {
        /// Id of the keys.
        id: String,
        /// Only the key whose fingerprint begins so; `keys list` shows them.
        #[arg(long, default_value = "", value_name = "DIGITS")]
        fingerprint: String,
        #[command(flatten)]
        order: Ordered,
    },
}

/// Roles that a key can have.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum RoleArgument {
    /// Sees everything, changes nothing.
    Viewer,
    /// Sends orders for its accounts.
    Trader,
    /// Acts on the system.
    Operator,
    /// Everything, keys included.
    Admin,
    /// A process of the cluster.
    Node,
}

#[derive(Serialize)]
struct ListView {
    instances: Vec<InstanceView>,
}

#[derive(Serialize)]
struct InstanceView {
    instance: String,
    error: Option<String>,
    problems: Vec<String>,
    keys: Vec<KeyView>,
}

#[derive(Serialize)]
struct KeyView {
    id: String,
    role: String,
    accounts: Vec<u64>,
    fingerprint: String,
    loopback_only: bool,
    /// When it is refused from; null for never.
    expires: Option<String>,
    expired: bool,
}

#[derive(Serialize)]
struct NewView {
    key: String,
    entry: String,
}

#[derive(Serialize)]
struct RotatedView {
    key: Option<String>,
    fingerprint: String,
    /// When the new key is refused from; null for never.
    expires: Option<String>,
    revoked: u32,
    dry_run: bool,
}

#[derive(Serialize)]
struct RevokedView {
    revoked: u32,
    changed: bool,
    dry_run: bool,
    instances: Vec<RevokedInstance>,
}

#[derive(Serialize)]
struct RevokedInstance {
    instance: String,
    error: Option<String>,
    revoked: u32,
}

impl From<RoleArgument> for Role {
    fn from(role: RoleArgument) -> Self {
        match role {
            RoleArgument::Viewer => Self::Viewer,
            RoleArgument::Trader => Self::Trader,
            RoleArgument::Operator => Self::Operator,
            RoleArgument::Admin => Self::Admin,
            RoleArgument::Node => Self::Node,
        }
    }
}

pub(super) async fn run(command: KeysCommand, asked: &Asked) -> Result<u8> {
    match command {
        KeysCommand::List => list(asked).await,
        KeysCommand::New { id, role, accounts, expires } => new(asked, &id, role.into(), accounts, expires),
        KeysCommand::Rotate { id, keep_former, expires, order } => {
            rotate(asked, id, keep_former, expires, &order).await
        }
        KeysCommand::Revoke { id, fingerprint, order } => revoke(asked, id, fingerprint, &order).await,
    }
}

async fn list(asked: &Asked) -> Result<u8> {
    let mut client = KeyServiceClient::new(asked.channel()?);
    let answer = answered(client.list_keys(asked.request(pb::ListKeysRequest { timeout_ms: 0 })?).await)?;
    let instances = answer.instances.into_iter().map(|one| {
        let (instance, error) = who(one.answer);
        let keys = one.keys.into_iter().map(|key| {
            let pb::KeyInfo { id, role, accounts, fingerprint, loopback_only, expires_us, expired } = key;
            KeyView { id, role, accounts, fingerprint, loopback_only, expires: expires(expires_us), expired }
        });
        InstanceView { instance, error, problems: one.problems, keys: keys.collect() }
    });
    let view = ListView { instances: instances.collect() };
    asked.report(&view, print_list)?;
    let whole = view.instances.iter().all(|one| one.error.is_none() && one.problems.is_empty());
    Ok(if whole { EXIT_OK } else { EXIT_FAILURE })
}

fn print_list(view: &ListView) {
    line(&format!("{:<20} {:<32} {:<9} {:<13} {:<27} accounts", "instance", "id", "role", "fingerprint", "expires"));
    for one in &view.instances {
        for key in &one.keys {
            let accounts = match (&*key.role, key.accounts.as_slice()) {
                ("trader", []) => "all".to_owned(),
                (_, []) if key.loopback_only => "(this machine only)".to_owned(),
                (_, accounts) => accounts.iter().map(u64::to_string).collect::<Vec<_>>().join(","),
            };
            let KeyView { id, role, fingerprint, expires, expired, .. } = key;
            let expires = if *expired { "expired" } else { expires.as_deref().unwrap_or("never") };
            line(&format!("{:<20} {id:<32} {role:<9} {fingerprint:<13} {expires:<27} {accounts}", one.instance));
        }
        for trouble in one.problems.iter().chain(&one.error) {
            line(&format!("{:<20} {trouble}", one.instance));
        }
    }
}

/// Reads a time in RFC 3339, or a duration from now.
fn time_to_come(text: &str) -> Result<u64, String> {
    let now = clock::now_us();
    let later = |duration: HumanDuration| now.saturating_add(u64::try_from(duration.0.as_micros()).unwrap_or(u64::MAX));
    let us = clock::parse_rfc3339(text).or_else(|| text.parse().ok().map(later));
    let us =
        us.ok_or_else(|| format!("{text:?} is neither a time like 2027-01-31T00:00:00Z nor a duration like 90d"))?;
    if us > now { Ok(us) } else { Err(format!("{text:?} is over already")) }
}

/// As shown; `None` for never.
fn expires(us: u64) -> Option<String> {
    (us > 0).then(|| clock::rfc3339(us))
}

fn new(asked: &Asked, id: &str, role: Role, mut accounts: Vec<u64>, expires_us: Option<u64>) -> Result<u8> {
    accounts.sort_unstable();
    let accounts = if accounts.is_empty() { Accounts::All } else { Accounts::Only(accounts.into()) };
    anyhow::ensure!(role == Role::Trader || accounts == Accounts::All, "only a trader has accounts");
    let (key, entry) = new_entry_until(id, role, accounts, expires_us)
        .context("an id has 1 to 32 lower-case letters, digits or hyphens")?;
    asked.report(&NewView { key: key.reveal().to_owned(), entry }, |view| {
        line(&format!("# The key, for whoever is to use it; it cannot be shown again:\n{}\n", view.key));
        line(&format!("# Its entry, for a *.toml in security.keys_dir; it holds only the hash:\n{}", view.entry));
    })?;
    Ok(EXIT_OK)
}

async fn rotate(asked: &Asked, id: String, keep_former: bool, expires_us: Option<u64>, order: &Ordered) -> Result<u8> {
    let mut client = KeyServiceClient::new(asked.channel()?);
    let expires_us = expires_us.unwrap_or(0);
    let request = pb::RotateKeyRequest { order: Some(order.order()), id, keep_former, expires_us };
    let answer = answered(client.rotate_key(asked.request(request)?).await)?;
    let info = answer.info.unwrap_or_default();
    let view = RotatedView {
        key: (!answer.key.is_empty()).then_some(answer.key),
        fingerprint: info.fingerprint,
        expires: expires(info.expires_us),
        revoked: answer.revoked,
        dry_run: order.dry_run,
    };
    asked.report(&view, |view| match &view.key {
        Some(key) => {
            line(&key.to_string());
            line(&format!("# shown this once; {} former keys were revoked", view.revoked));
        }
        None => line(&format!("a new key would be made, {} former keys would be revoked", view.revoked)),
    })?;
    Ok(EXIT_OK)
}

async fn revoke(asked: &Asked, id: String, fingerprint: String, order: &Ordered) -> Result<u8> {
    order.confirm(&format!("Every key {id} is refused from now on at every instance, and cannot be taken back"))?;
    let mut client = KeyServiceClient::new(asked.channel()?);
    let request = pb::RevokeKeyRequest { order: Some(order.order()), id, fingerprint };
    let answer = answered(client.revoke_key(asked.request(request)?).await)?;
    let instances: Vec<_> = answer
        .instances
        .into_iter()
        .map(|one| {
            let (instance, error) = who(one.answer);
            RevokedInstance { instance, error, revoked: one.revoked }
        })
        .collect();
    let revoked = instances.iter().map(|one| one.revoked).max().unwrap_or(0);
    let view = RevokedView { revoked, changed: revoked > 0, dry_run: order.dry_run, instances };
    asked.report(&view, |view| {
        for one in &view.instances {
            let what = one.error.clone().unwrap_or_else(|| format!("{} keys", one.revoked));
            line(&format!("{:<20} {what}", one.instance));
        }
        line(match (view.changed, view.dry_run) {
            (false, _) => "no change: no such key was in force",
            (true, true) => "would be revoked",
            (true, false) => "revoked",
        });
    })?;
    Ok(if view.instances.iter().all(|one| one.error.is_none()) { EXIT_OK } else { EXIT_FAILURE })
}

fn who(answer: Option<pb::NodeAnswer>) -> (String, Option<String>) {
    let pb::NodeAnswer { target, node, error, .. } = answer.unwrap_or_default();
    (if node.is_empty() { target } else { node }, (!error.is_empty()).then_some(error))
}
