//! docker-compose.yml and what belongs to it, as both versions of compose read it. Absent: running it; `cargo xtask
//! compose-test` does.

use std::fs;

use serde_json::Value;

use super::output;
use crate::tools::{COMPOSE, COMPOSE_OF_DEBIAN};
use crate::workspace_root;

/// With every overlay that there is.
const FILES: [&str; 6] =
    ["-f", "docker-compose.yml", "-f", "deploy/compose/offline.yml", "-f", "deploy/compose/test.yml"];

/// What compose makes of some files.
fn read(program: &str, files: &[&str], question: &[&str]) -> String {
    output(&[&["env", "COMPOSE_PROJECT_NAME=hive-mind", program], files, &["config"], question].concat(), "")
}

/// All services of some files, whatever profile they belong to, as the second version understands them.
fn services(files: &[&str]) -> Vec<(String, Value)> {
    let files = [files, &["--profile", "*"]].concat();
    let read: Value = serde_json::from_str(&read(COMPOSE, &files, &["--format", "json"])).expect("JSON");
    let services = read["services"].as_object().expect("services");
    services.iter().map(|(name, service)| (name.clone(), service.clone())).collect()
}

fn names(program: &str, files: &[&str]) -> Vec<String> {
    let said = read(program, files, &["--services"]);
    let mut names: Vec<_> = said.lines().map(str::to_owned).collect();
    names.sort();
    names
}

#[test]
fn r102_both_versions_of_compose_read_the_same_services() {
    for files in [&FILES[..2], &FILES[..4], &FILES[..]] {
        // The first version names those of profiles too.
        let names = names(COMPOSE, &[files, &["--profile", "*"]].concat());
        assert_eq!(names, self::names(COMPOSE_OF_DEBIAN, files), "{files:?}");
        assert!(names.len() > 8, "{names:?}");
    }
}

#[test]
fn r102_nothing_is_published_beyond_this_machine_and_everything_is_looked_after() {
    let mut published = 0;
    for (name, service) in services(&FILES) {
        for port in service["ports"].as_array().into_iter().flatten() {
            assert_eq!(port["host_ip"], "127.0.0.1", "{name}: {port}");
            published += 1;
        }
        let check = &service["healthcheck"];
        for key in ["test", "interval", "timeout", "retries", "start_period"] {
            assert!(!check[key].is_null(), "the healthcheck of {name} has no {key}");
        }
        assert_eq!(service["restart"], "on-failure", "{name}");
        let image = service["image"].as_str().unwrap_or_default();
        assert!(image.contains(':') && !image.ends_with(":latest"), "{name} has the image {image}");
    }
    assert!(published > 6, "{published}");
}

#[test]
fn r102_without_a_registry_everything_is_built() {
    let services = services(&FILES);
    let built: Vec<_> =
        services.iter().filter(|(_, one)| one["build"].is_object()).map(|(_, one)| &one["image"]).collect();
    for (name, service) in &services {
        let left_out = service["profiles"].as_array().is_some_and(|profiles| !profiles.is_empty());
        assert!(left_out || built.contains(&&service["image"]), "{name} would be fetched from a registry");
    }
    let started = names(COMPOSE, &FILES);
    assert!(!started.contains(&"grafana".to_owned()), "Debian has none: {started:?}");
}

#[test]
fn r79_r86_the_scripts_know_the_services() {
    let there = names(COMPOSE, &FILES[..2]);
    let text = fs::read_to_string(workspace_root().join("scripts/production/lib.sh")).expect("lib.sh");
    let assumed: Vec<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("readonly ")?.split_once("_SERVICE:-"))
        .map(|(_, rest)| rest.trim_end_matches('}').to_owned())
        .collect();
    assert_eq!(assumed.len(), 5, "{assumed:?}");
    for service in assumed {
        assert!(there.contains(&service), "{service} is not among {there:?}");
    }
}

#[test]
fn the_files_of_compose_can_be_used() {
    let root = workspace_root();
    let text = fs::read_to_string(root.join("deploy/compose/config/production.toml")).expect("production.toml");
    let environment = services(&FILES[..2]).into_iter().find(|(name, _)| name == "persistence-gateway");
    let environment = environment.expect("a gateway").1["environment"].clone();
    let environment: Vec<_> = environment
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    super::manifests::validate("compose", &text, &environment.iter().map(String::as_str).collect::<Vec<_>>());
    output(&["promtool", "check", "config", "--syntax-only", "deploy/compose/prometheus.yml"], "");
    output(&["shellcheck", "deploy/compose/postgres.sh", "deploy/compose/offline/base.sh"], "");
}
