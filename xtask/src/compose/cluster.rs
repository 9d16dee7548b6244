//! A cluster of docker-compose.yml of its own, on free ports and with a configuration that may be changed: up, down, and what
//! is done to its services. Everything is waited for until an end.
//!
//! Absent: what is tested with it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::daemon::{self, Daemon};
use super::{images, look_again, seconds};
use crate::testing::command;
use crate::tools;

/// Which compose starts it: the first is Debian's, the second comes as a wheel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    One,
    Two,
}

/// What is started, and how.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) version: Version,
    /// The optimised server instead of the one that the tests use.
    pub(crate) release: bool,
    /// It goes on running when this program ends.
    pub(crate) keep: bool,
}

/// Ports on this machine: the variable of docker-compose.yml and what it is there by default.
pub(crate) const PORTS: [(&str, u16); 7] = [
    ("HIVE_PORT_ORDERS", 8080),
    ("HIVE_PORT_HISTORY", 8081),
    ("HIVE_PORT_ADMIN", 8091),
    ("HIVE_PORT_PROMETHEUS", 9095),
    ("HIVE_PORT_ALERTMANAGER", 9093),
    ("HIVE_PORT_POSTGRES", 5432),
    ("HIVE_PORT_REPLICA", 5433),
];

/// What is promised of a cluster whose images are there.
const HEALTHY_WITHIN: Duration = Duration::from_secs(60);

/// Seconds for what starts or stops containers; a server drains for up to 45.
const ACT_LIMIT: &str = "180";

/// Seconds for a program in a container, or a question to the daemon.
const QUESTION_LIMIT: &str = "60";

/// A running cluster. Taken down when it is dropped, unless it is to be kept.
pub(crate) struct Cluster {
    root: PathBuf,
    options: Options,
    environment: BTreeMap<String, OsString>,
    /// Its configuration, and what a shell has to read to speak with it.
    directory: PathBuf,
    started: bool,
    /// Seconds until its images were there, tools and daemon included.
    pub(super) built_s: f64,
    /// Seconds from the last `up` until everything was healthy.
    pub(super) healthy_s: f64,
    /// Ends after the cluster: fields are dropped in this order, and after `drop`.
    _daemon: Option<Daemon>,
}

impl Cluster {
    /// What there is before anything runs: a daemon, tools, ports, a configuration.
    pub(super) fn prepare(root: &Path, options: Options) -> Result<Self> {
        let search_path = tools::ensure_for_containers(root)?;
        let (daemon, host) = daemon::ensure(root, options.keep)?;
        let project = format!("hive-mind-{}", std::process::id());
        let directory = tools::target_directory(root).join("compose").join(&project);
        let config = directory.join("config");
        fs::create_dir_all(&config).with_context(|| config.display().to_string())?;
        fs::copy(root.join("deploy/compose/config/production.toml"), config.join("production.toml"))
            .context("copy deploy/compose/config/production.toml")?;
        let mut environment = BTreeMap::from([
            ("PATH".to_owned(), search_path),
            ("COMPOSE_PROJECT_NAME".to_owned(), project.into()),
            ("COMPOSE_FILE".to_owned(), "docker-compose.yml:deploy/compose/offline.yml:deploy/compose/test.yml".into()),
            ("HIVE_CONFIG_DIR".to_owned(), config.into()),
            // The other builder asks a registry for a part of its own.
            ("DOCKER_BUILDKIT".to_owned(), "0".into()),
            // Where `docker compose` finds the second version.
            ("DOCKER_CONFIG".to_owned(), tools::docker_with_compose(root)?.into()),
        ]);
        environment.extend(host.map(|host| ("DOCKER_HOST".to_owned(), host.into())));
        // Held together, so that all are different.
        let free = PORTS.iter().map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<Vec<_>, _>>()?;
        for ((variable, _), listener) in PORTS.iter().zip(&free) {
            environment.insert((*variable).to_owned(), listener.local_addr()?.port().to_string().into());
        }
        let (built_s, healthy_s) = (0.0, 0.0);
        let cluster = Self {
            root: root.to_owned(),
            options,
            environment,
            directory,
            started: false,
            built_s,
            healthy_s,
            _daemon: daemon,
        };
        cluster.hand_over()?;
        Ok(cluster)
    }

    /// Builds what is missing and starts everything.
    pub(super) fn build_and_up(&mut self) -> Result<()> {
        let began = Instant::now();
        images::ensure(self, self.options.release)?;
        self.built_s = seconds(began);
        self.up()
    }

    /// Starts the containers of images that are there, and waits until they are healthy.
    fn up(&mut self) -> Result<()> {
        let began = Instant::now();
        self.started = true;
        self.act(&["up", "--detach", "--no-build"])?;
        self.wait_healthy(HEALTHY_WITHIN.saturating_sub(began.elapsed()))?;
        self.healthy_s = seconds(began);
        Ok(())
    }

    /// The compose that starts it, as it names itself.
    pub(super) fn version(&self) -> Result<String> {
        Ok(self.said(&["version", "--short"])?.trim().to_owned())
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// With these variables scripts/production and compose itself speak of this cluster.
    pub(crate) fn environment(&self) -> &BTreeMap<String, OsString> {
        &self.environment
    }

    /// A port on this machine, by its variable.
    pub(crate) fn port(&self, variable: &str) -> Result<u16> {
        let port = self.environment.get(variable).with_context(|| format!("there is no port {variable}"))?;
        port.to_string_lossy().parse().with_context(|| variable.to_owned())
    }

    /// `compose` with arguments, in the root, ended after so many seconds.
    pub(super) fn compose(&self, limit: &str, arguments: &[&str]) -> Command {
        self.compose_of(self.options.version, limit, arguments)
    }

    fn compose_of(&self, version: Version, limit: &str, arguments: &[&str]) -> Command {
        let program = match version {
            Version::One => tools::COMPOSE_OF_DEBIAN,
            Version::Two => tools::COMPOSE,
        };
        let mut compose = command(&self.root, &["timeout", "--kill-after=10", limit, program]);
        compose.args(arguments).envs(&self.environment);
        compose
    }

    /// What compose says to that.
    pub(super) fn said(&self, arguments: &[&str]) -> Result<String> {
        output(&mut self.compose(QUESTION_LIMIT, arguments))
    }

    fn docker(&self, arguments: &[&str]) -> Result<String> {
        let mut docker = command(&self.root, &["timeout", "--kill-after=10", ACT_LIMIT, "docker"]);
        output(docker.args(arguments).envs(&self.environment))
    }

    /// Runs a program in a container of a service; its output.
    pub(crate) fn exec(&self, service: &str, words: &[&str]) -> Result<String> {
        self.said(&[&["exec", "-T", service], words].concat())
    }

    /// Ids of a service's containers, those that do not run too.
    pub(crate) fn containers(&self, service: &str) -> Result<Vec<String>> {
        let service = format!("label=com.docker.compose.service={service}");
        let ids = self.docker(&["ps", "--all", "--quiet", "--filter", &self.own(), "--filter", &service])?;
        Ok(ids.lines().map(str::to_owned).collect())
    }

    /// Filter for what belongs to this cluster.
    fn own(&self) -> String {
        let project = self.environment.get("COMPOSE_PROJECT_NAME").map(|name| name.to_string_lossy().into_owned());
        format!("label=com.docker.compose.project={}", project.unwrap_or_default())
    }

    /// Ends all containers of a service by SIGKILL. They are not started again until `start`.
    pub(crate) fn kill(&self, service: &str) -> Result<()> {
        self.act(&["kill", service])
    }

    /// Starts what is stopped.
    pub(crate) fn start(&self, service: &str) -> Result<()> {
        self.act(&["start", service])
    }

    /// Brings a service to so many containers, and leaves those that run alone.
    pub(crate) fn scale(&self, service: &str, containers: u32) -> Result<()> {
        let number = format!("{service}={containers}");
        let how = ["up", "--detach", "--no-build", "--no-recreate", "--no-deps", "--scale", &number, service];
        self.act(&how)?;
        self.wait_healthy(HEALTHY_WITHIN)
    }

    /// Whatever else compose does to services, such as `pause`, `stop` or `restart`.
    pub(crate) fn act(&self, arguments: &[&str]) -> Result<()> {
        images::quiet(&mut self.compose(ACT_LIMIT, arguments))
    }

    /// What a service printed, without names in front.
    pub(crate) fn logs(&self, service: &str) -> Result<String> {
        self.said(&["logs", "--no-color", "--no-log-prefix", service])
    }

    /// Waits until every service that is configured has containers, and all of them are healthy.
    pub(crate) fn wait_healthy(&self, within: Duration) -> Result<()> {
        // The first version names those of profiles too.
        let services = output(&mut self.compose_of(Version::Two, QUESTION_LIMIT, &["config", "--services"]))?;
        let end = Instant::now() + within;
        loop {
            let unhealthy = self.unhealthy(&services)?;
            if unhealthy.is_empty() {
                return Ok(());
            }
            if Instant::now() > end {
                let logs: Vec<_> = unhealthy.iter().map(|(service, state)| self.last_words(service, state)).collect();
                bail!("not healthy within {} s:\n{}", within.as_secs(), logs.join("\n"));
            }
            look_again();
        }
    }

    /// Services that are not healthy yet, with their states.
    fn unhealthy(&self, services: &str) -> Result<BTreeMap<String, String>> {
        let ids = self.docker(&["ps", "--all", "--quiet", "--filter", &self.own()])?;
        let mut missing: BTreeMap<String, String> =
            services.lines().map(|service| (service.to_owned(), "no container".to_owned())).collect();
        if ids.is_empty() {
            return Ok(missing);
        }
        let words: Vec<_> = ["inspect"].into_iter().chain(ids.lines()).collect();
        let containers: Vec<Value> = serde_json::from_str(&self.docker(&words)?).context("docker inspect")?;
        let mut states: BTreeMap<String, String> = BTreeMap::new();
        for container in &containers {
            let service = container["Config"]["Labels"]["com.docker.compose.service"].as_str().unwrap_or_default();
            missing.remove(service);
            let state = &container["State"];
            if state["Health"]["Status"] != "healthy" {
                let last = state["Health"]["Log"].as_array().and_then(|log| log.last()).map(|last| &last["Output"]);
                states.insert(service.to_owned(), format!("{}, {}", state["Status"], last.unwrap_or(&Value::Null)));
            }
        }
        states.extend(missing);
        Ok(states)
    }

    /// The end of what a service printed.
    fn last_words(&self, service: &str, state: &str) -> String {
        let logs = self.logs(service).unwrap_or_else(|error| format!("{error:#}"));
        let lines: Vec<_> = logs.lines().rev().take(8).collect();
        format!("{service}: {state}\n  {}", lines.into_iter().rev().collect::<Vec<_>>().join("\n  "))
    }

    /// Writes down what a shell has to read to speak with the cluster.
    fn hand_over(&self) -> Result<()> {
        let lines: Vec<_> =
            self.environment.iter().map(|(name, value)| format!("export {name}='{}'\n", value.display())).collect();
        let place = self.shell_file();
        fs::write(&place, lines.concat()).with_context(|| place.display().to_string())
    }

    /// Where that is, while the cluster runs.
    pub(crate) fn shell_file(&self) -> PathBuf {
        self.directory.join("environment.sh")
    }

    /// Removes containers, networks and volumes.
    pub(crate) fn down(&mut self) -> Result<()> {
        self.started = false;
        self.act(&["down", "--volumes", "--remove-orphans"])
    }

    /// Takes it down and starts it anew, empty, by another compose.
    pub(super) fn again_by(&mut self, version: Version) -> Result<()> {
        self.down()?;
        self.options.version = version;
        self.up()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.options.keep {
            return;
        }
        if self.started
            && let Err(error) = self.down()
        {
            eprintln!("the cluster could not be taken down: {error:#}");
        }
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Runs a command; what it printed, if it ended well.
pub(super) fn output(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let done = command.stdin(Stdio::null()).output().with_context(|| format!("cannot start {program}"))?;
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    if !done.status.success() {
        let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy()).collect();
        let error = String::from_utf8_lossy(&done.stderr);
        bail!("{program} {} ended with {}: {}{}", words.join(" "), done.status, said.trim(), error.trim());
    }
    Ok(said)
}
