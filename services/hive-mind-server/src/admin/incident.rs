//! `admin incident`: what happened, from what is on record. Absent: opinions.

use admin_api::view::incident::IncidentView;
use anyhow::Result;
use clap::Subcommand;
use wire::pb::admin::v1 as pb;
use wire::pb::admin::v1::incident_service_client::IncidentServiceClient;

use super::asked::{Asked, answered};
use super::audit::time;
use crate::cli::EXIT_OK;
use crate::output::line;

/// What happened.
#[derive(Debug, Subcommand)]
pub(crate) enum IncidentCommand {
    /// Prints the report of an incident as Markdown: timeline, who did what, orders affected, what is missing.
    Report {
        /// From when: 2026-01-31T12:00:00Z, or a duration back from now, such as 2h.
        #[arg(long, value_name = "TIME", value_parser = time)]
        from: u64,
        /// Until when; now if not given.
        #[arg(long, value_name = "TIME", value_parser = time)]
        to: Option<u64>,
    },
}

pub(super) async fn run(command: IncidentCommand, asked: &Asked) -> Result<u8> {
    let IncidentCommand::Report { from, to } = command;
    let mut client = IncidentServiceClient::new(asked.channel()?);
    let request = asked.request(pb::GetIncidentReportRequest { from_us: from, to_us: to.unwrap_or(0) })?;
    let view = IncidentView::from(answered(client.get_incident_report(request).await)?);
    asked.report(&view, |view| line(view.to_markdown().trim_end()))?;
    Ok(EXIT_OK)
}
