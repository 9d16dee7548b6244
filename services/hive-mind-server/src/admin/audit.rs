//! `admin audit`: what was recorded, and whether it is still what was written. Absent: recording.

mod follow;

use std::collections::BTreeMap;
use std::path::PathBuf;

use admin_api::view::audit::{RecordView, RecordsView, VerificationView, VerificationsView};
use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use service_kit::audit::{Head, Verification, verify_directory};
use service_kit::clock;
use wire::pb::admin::v1 as pb;
use wire::pb::admin::v1::audit_service_client::AuditServiceClient;

use super::asked::{Asked, answered};
use crate::cli::{EXIT_DIFFERENCE, EXIT_OK};
use crate::output::line;

/// What was recorded.
#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Shows the last records of all instances, oldest first.
    Tail {
        /// How many.
        #[arg(long, short = 'n', value_name = "N", default_value_t = 20,
              value_parser = clap::value_parser!(u32).range(1..=1_000))]
        lines: u32,
        /// Go on with what is recorded meanwhile, until Ctrl-C. An instance that does not answer any more is told on
        /// standard error, and again when it does.
        #[arg(long, short)]
        follow: bool,
    },
    /// Finds records, newest first. All that is given must hold.
    Search(Search),
    /// Checks that no record was changed, inserted or removed. Exit code 4 if one was, or an instance did not answer.
    Verify {
        /// A record that must be there: INSTANCE=SEQ:HASH, as an earlier check printed it. May be repeated.
        #[arg(long, value_name = "HEAD")]
        noted: Vec<String>,
        /// Data directory of a node that is down: reads its files instead of asking anybody.
        #[arg(long, value_name = "DIR")]
        offline: Option<PathBuf>,
    },
}

/// What is looked for.
#[derive(Args, Debug)]
pub(crate) struct Search {
    /// Only this action, such as consensus.force_election; one that ends with a full stop stands for all of its area.
    #[arg(long, value_name = "ACTION", default_value = "")]
    action: String,
    /// Only what this actor ordered, or this key called.
    #[arg(long, value_name = "NAME", default_value = "")]
    who: String,
    /// Only what was done for this request or order.
    #[arg(long, value_name = "ID", default_value = "")]
    request: String,
    /// Only this result: ok, refused or failed.
    #[arg(long, value_name = "RESULT", default_value = "")]
    result: String,
    /// Only records that contain this text.
    #[arg(default_value = "")]
    text: String,
    /// Not before this time: 2026-01-31T12:00:00Z, or a duration back from now, such as 30m.
    #[arg(long, value_name = "TIME", value_parser = time)]
    from: Option<u64>,
    /// Before this time.
    #[arg(long, value_name = "TIME", value_parser = time)]
    to: Option<u64>,
    /// Most records.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    limit: u32,
}

/// Reads a time in RFC 3339, or a duration back from now.
pub(super) fn time(text: &str) -> Result<u64, String> {
    if let Some(us) = clock::parse_rfc3339(text) {
        return Ok(us);
    }
    let back: service_kit::config::HumanDuration = text
        .parse()
        .map_err(|_| format!("{text:?} is neither a time like 2026-01-31T12:00:00Z nor a duration like 30m"))?;
    let back = u64::try_from(back.0.as_micros()).unwrap_or(u64::MAX);
    Ok(clock::now_us().saturating_sub(back))
}

pub(super) async fn run(command: AuditCommand, asked: &Asked) -> Result<u8> {
    match command {
        AuditCommand::Tail { lines, follow: false } => {
            let mut view = found(asked, pb::AuditFilter { limit: lines, ..Default::default() }).await?;
            view.records.reverse();
            asked.report(&view, |view| {
                view.records.iter().for_each(print);
                print_missing(view);
            })?;
            Ok(EXIT_OK)
        }
        AuditCommand::Tail { lines, follow: true } => follow::follow(asked, lines).await,
        AuditCommand::Search(search) => {
            let Search { action, who, request: request_id, result, text, from, to, limit } = search;
            let (from_us, to_us) = (from.unwrap_or(0), to.unwrap_or(0));
            let without_action = String::new();
            let filter =
                pb::AuditFilter { limit, from_us, to_us, action, who, request_id, result, text, without_action };
            asked.report(&found(asked, filter).await?, |view| {
                view.records.iter().for_each(print);
                print_missing(view);
            })?;
            Ok(EXIT_OK)
        }
        AuditCommand::Verify { noted, offline: Some(directory) } => {
            let mut heads = heads(&noted)?.into_values();
            let (head, more) = (heads.next(), heads.next());
            if more.is_some() {
                bail!("a directory is that of one instance: give one --noted");
            }
            let head = head.map(|pb::AuditHead { seq, hash }| Head { seq, hash });
            let checked = verify_directory(&directory, head)
                .with_context(|| format!("cannot read the audit log in {}", directory.display()))?;
            asked.report(&offline_view(&directory.display().to_string(), checked.clone()), print_verifications)?;
            Ok(if checked.findings_total == 0 { EXIT_OK } else { EXIT_DIFFERENCE })
        }
        AuditCommand::Verify { noted, offline: None } => {
            let mut client = AuditServiceClient::new(asked.channel()?);
            let request = asked.request(pb::VerifyAuditRequest { noted: heads(&noted)? })?;
            let view = VerificationsView::from(answered(client.verify_audit(request).await)?);
            asked.report(&view, print_verifications)?;
            Ok(if view.intact { EXIT_OK } else { EXIT_DIFFERENCE })
        }
    }
}

async fn found(asked: &Asked, filter: pb::AuditFilter) -> Result<RecordsView> {
    let mut client = AuditServiceClient::new(asked.channel()?);
    let request = asked.request(pb::SearchAuditRequest { filter: Some(filter) })?;
    Ok(answered(client.search_audit(request).await)?.into())
}

fn heads(noted: &[String]) -> Result<BTreeMap<String, pb::AuditHead>> {
    let read = |text: &String| {
        let (node, head) = text.rsplit_once('=')?;
        Head::parse(head).map(|Head { seq, hash }| (node.to_owned(), pb::AuditHead { seq, hash }))
    };
    noted.iter().map(|text| read(text).with_context(|| format!("--noted {text}: write INSTANCE=SEQ:HASH"))).collect()
}

fn offline_view(directory: &str, found: Verification) -> VerificationsView {
    let answer = Some(pb::NodeAnswer { target: directory.to_owned(), ..Default::default() });
    let instance = pb::InstanceAudit { answer, verification: Some(found.into()) };
    pb::VerifyAuditResponse { instances: vec![instance] }.into()
}

fn print(record: &RecordView) {
    let RecordView { at, node, action, target, subject, actor, reason, result, detail, before, after, .. } = record;
    let mut text = format!("{} {node} {action}", at.as_deref().unwrap_or("-"));
    let mut add = |label: &str, value: Option<&str>| {
        if let Some(value) = value {
            text.push_str(label);
            text.push_str(value);
        }
    };
    add(" ", target.as_deref());
    add(" by ", Some(actor.as_deref().unwrap_or(subject)));
    add(": ", reason.as_deref());
    add(" -> ", Some(result));
    add(" (", detail.as_deref());
    add(")", detail.as_ref().map(|_| ""));
    let change = [before, after].map(|value| (!value.is_null()).then(|| value.to_string()));
    add("\n    before ", change[0].as_deref());
    add("\n    after  ", change[1].as_deref());
    line(&text);
}

fn print_missing(view: &RecordsView) {
    for instance in &view.instances {
        if let Some(error) = &instance.error {
            line(&format!("{} did not answer: {error}", instance.target));
        }
    }
}

fn print_verifications(view: &VerificationsView) {
    for VerificationView { answer, records, files, head, findings, findings_total } in &view.instances {
        let name = answer.instance.as_ref().unwrap_or(&answer.target);
        if let Some(error) = &answer.error {
            line(&format!("{name} did not answer: {error}"));
            continue;
        }
        let verdict = if *findings_total == 0 { "intact".to_owned() } else { format!("{findings_total} findings") };
        line(&format!("{name}: {verdict}, {records} records in {files} files"));
        for finding in findings {
            let place = finding.file.as_ref().map_or(String::new(), |file| format!("{file}:{}: ", finding.line));
            line(&format!("  {place}record {}: {}", finding.seq, finding.problem));
        }
        if let Some(head) = head {
            line(&format!("  note down elsewhere: --noted {name}={head}"));
        }
    }
}
