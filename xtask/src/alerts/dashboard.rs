//! Grafana's dashboards, each made of a source in deploy/grafana: rows of panels, each with its unit and its questions. What
//! a panel looks like is said once, here. Absent: pixels; Grafana's defaults are good.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::Deserialize;
use serde_json::{Value, json};

use super::DASHBOARDS;

/// Grafana's grid is 24 wide.
const WIDTH: usize = 8;
const HEIGHT: usize = 8;
const IN_A_ROW: usize = 24 / WIDTH;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Dashboard {
    pub(super) uid: String,
    title: String,
    /// Whose instances it shows; all of them if none.
    role: Option<String>,
    row: Vec<Row>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    title: String,
    panel: Vec<Panel>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Panel {
    title: String,
    /// What it shows, and what is good.
    description: String,
    /// A unit of Grafana's: s, bytes, ops, percentunit, short, bool.
    unit: String,
    /// Legends and expressions.
    query: Vec<(String, String)>,
}

/// Every dashboard, by the name of its source without extension.
pub(super) fn read(root: &Path) -> Result<Vec<(String, Dashboard)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root.join(DASHBOARDS)).context(DASHBOARDS)? {
        let path = entry?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".toml")) else { continue };
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let dashboard = toml::from_str(&text).with_context(|| path.display().to_string())?;
        found.push((name.to_owned(), dashboard));
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(found)
}

impl Dashboard {
    /// All expressions, as they stand.
    #[cfg(test)]
    pub(super) fn expressions(&self) -> impl Iterator<Item = &str> {
        let panels = self.row.iter().flat_map(|row| &row.panel);
        panels.flat_map(|panel| &panel.query).map(|(_, expr)| expr.as_str())
    }

    /// As Grafana reads it.
    pub(super) fn render(&self) -> Result<String> {
        let mut panels = Vec::new();
        let mut top = 0;
        for row in &self.row {
            let id = panels.len() + 1;
            panels.push(json!({
                "id": id, "type": "row", "title": row.title, "collapsed": false, "panels": [],
                "gridPos": {"x": 0, "y": top, "w": 24, "h": 1},
            }));
            for (at, panel) in row.panel.iter().enumerate() {
                let place = json!({
                    "x": at % IN_A_ROW * WIDTH, "y": top + 1 + at / IN_A_ROW * HEIGHT, "w": WIDTH, "h": HEIGHT,
                });
                panels.push(panel.render(panels.len() + 1, &place));
            }
            top += 1 + row.panel.len().div_ceil(IN_A_ROW) * HEIGHT;
        }
        let dashboard = json!({
            "uid": self.uid, "title": self.title, "tags": ["hive-mind"], "editable": false, "schemaVersion": 38,
            "refresh": "15s", "time": {"from": "now-1h", "to": "now"}, "timezone": "utc",
            "templating": {"list": [
                {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"},
                variable("job", "Job", "label_values(hive_mind_build_info, job)"),
                self.instances(),
            ]},
            "links": [{
                "type": "dashboards", "title": "Other pages", "tags": ["hive-mind"], "asDropdown": true,
                "includeVars": false, "keepTime": true,
            }],
            "annotations": {"list": [{
                "name": "Alerts", "datasource": source(), "enable": true, "iconColor": "red",
                "expr": "ALERTS{alertstate=\"firing\",priority=~\"P1|P2\"}", "titleFormat": "{{alertname}}",
            }]},
            "panels": panels,
        });
        Ok(format!("{}\n", serde_json::to_string_pretty(&dashboard)?))
    }

    /// The instances that can be chosen from. "All" are those of the role: a process has one or several.
    fn instances(&self) -> Value {
        let role = self.role.as_ref().map(|role| format!(",role=~\"(.*,)?{role}(,.*)?\"")).unwrap_or_default();
        let query = format!("label_values(hive_mind_build_info{{job=~\"$job\"{role}}}, instance)");
        let mut instances = variable("instance", "Instance", &query);
        if self.role.is_some() {
            instances["allValue"] = Value::Null;
        }
        instances
    }
}

impl Panel {
    fn render(&self, id: usize, place: &Value) -> Value {
        let letters = 'A'..='Z';
        let targets: Vec<_> = self
            .query
            .iter()
            .zip(letters)
            .map(|((legend, expr), letter)| {
                json!({"refId": letter.to_string(), "expr": expr, "legendFormat": legend, "datasource": source()})
            })
            .collect();
        json!({
            "id": id, "type": "timeseries", "title": self.title, "description": self.description,
            "datasource": source(), "gridPos": place, "targets": targets,
            "fieldConfig": {"defaults": {"unit": self.unit, "min": 0}, "overrides": []},
        })
    }
}

fn source() -> Value {
    json!({"type": "prometheus", "uid": "${datasource}"})
}

fn variable(name: &str, label: &str, query: &str) -> Value {
    json!({
        "name": name, "label": label, "type": "query", "datasource": source(), "query": query, "refresh": 2,
        "includeAll": true, "multi": true, "allValue": ".*", "current": {"text": "All", "value": "$__all"},
    })
}
