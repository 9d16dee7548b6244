//! A real PostgreSQL server for tests: one per test process, an own database per test.
//!
//! It listens on a free loopback port, and runs with `fsync` off: the
//! tests do not cut the power below it. It ends, and its files go, with the test process at the latest.

use std::ffi::OsString;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Where Debian puts the server's programs, one directory per version.
const PROGRAMS: &str = "/usr/lib/postgresql";
/// A busy machine takes a while to initialise a cluster.
const START_LIMIT: Duration = Duration::from_secs(60);

/// User of [`PostgresServer::start_encrypted`] that has to show a certificate.
pub const GUARDED: &str = "guarded";

/// Runs the server, and waits for a line on its standard input: whatever happens to the test process, that input ends
/// with it. Without a line the files go too.
const SUPERVISOR: &str = r#"
directory=$1; shift
"$@" >"$directory/log" 2>&1 </dev/null &
server=$!
read -r keep
kill -QUIT $server 2>/dev/null
wait $server
[ -n "$keep" ] || rm -rf "$directory"
"#;

/// A running server.
pub struct PostgresServer {
    port: u16,
    directory: PathBuf,
    programs: PathBuf,
    supervisor: Option<Child>,
}

impl PostgresServer {
    /// The server of this test process, started by the first call. It ends with the process.
    ///
    /// # Panics
    /// If PostgreSQL is not installed or does not start; the message says what to do.
    pub fn shared() -> &'static Self {
        static SERVER: OnceLock<PostgresServer> = OnceLock::new();
        SERVER.get_or_init(Self::start)
    }

    /// Starts another server, for tests that stop or kill it.
    ///
    /// # Panics
    /// As [`Self::shared`].
    #[must_use]
    pub fn start() -> Self {
        let mut server = Self::initialise();
        server.launch();
        server
    }

    /// Starts another server that takes connections by TLS only, and those of the user [`GUARDED`] only with a certificate
    /// of `authority`. All in PEM.
    ///
    /// # Panics
    /// As [`Self::shared`].
    #[must_use]
    pub fn start_encrypted(authority: &str, certificate: &str, private_key: &str) -> Self {
        let mut server = Self::initialise();
        server.place("root.crt", authority);
        server.place("server.crt", certificate);
        server.place("server.key", private_key);
        server.place("postgresql.auto.conf", "ssl = on\nssl_ca_file = 'root.crt'\n");
        let here = "127.0.0.1/32 trust";
        server.place(
            "pg_hba.conf",
            &format!(
                "hostssl all {GUARDED} {here} clientcert=verify-ca\nhostssl all all {here}\n\
                 hostssl replication all {here}\n"
            ),
        );
        server.launch();
        let role = format!("CREATE ROLE {GUARDED} LOGIN SUPERUSER");
        server.sql(&server.url_of("/postgres"), &role);
        server
    }

    /// A server's directory, without a server.
    fn initialise() -> Self {
        let programs = programs();
        let directory = tempfile::tempdir().expect("a temporary directory").keep();
        // The server's own user must be able to enter.
        std::fs::set_permissions(&directory, PermissionsExt::from_mode(0o777)).expect("permissions of the directory");
        let output = Command::new("/bin/sh")
            .args(["-c", r#""$@""#, "sh"])
            .args(as_server_user(&programs.join("initdb")))
            .args(["--auth=trust", "--username=postgres", "--no-sync", "--encoding=UTF8", "--locale=C", "-D"])
            .arg(directory.join("data"))
            .output()
            .expect("initdb starts");
        assert!(output.status.success(), "initdb failed: {}", String::from_utf8_lossy(&output.stderr));
        Self { port: free_port(), directory, programs, supervisor: None }
    }

    /// Writes a file beside the server's data, as the server's own user: it refuses a private key of somebody else.
    fn place(&self, name: &str, text: &str) {
        let mut shell = Command::new("/bin/sh")
            .args(["-c", r#""$@""#, "sh"])
            .args(as_server_user(Path::new("/bin/sh")))
            .args(["-c", r#"umask 077; cat >"$0""#])
            .arg(self.directory.join("data").join(name))
            .stdin(Stdio::piped())
            .spawn()
            .expect("a shell starts");
        let mut input = shell.stdin.take().expect("a pipe was asked for");
        input.write_all(text.as_bytes()).expect("the shell reads");
        drop(input);
        assert!(shell.wait().expect("the shell ends").success(), "{name} was not written");
    }

    /// Starts another server that follows this one, as a hot standby.
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub fn replica(&self) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory").keep();
        std::fs::set_permissions(&directory, PermissionsExt::from_mode(0o777)).expect("permissions of the directory");
        let output = Command::new("/bin/sh")
            .args(["-c", r#""$@""#, "sh"])
            .args(as_server_user(&self.programs.join("pg_basebackup")))
            .args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", "postgres", "--write-recovery-conf"])
            .args(["--checkpoint=fast", "--no-sync", "-D"])
            .arg(directory.join("data"))
            // Certificates of whoever runs the tests are not for the server's own user to read.
            .env("HOME", &directory)
            .output()
            .expect("pg_basebackup starts");
        assert!(output.status.success(), "pg_basebackup failed: {}", String::from_utf8_lossy(&output.stderr));
        let mut server = Self { port: free_port(), directory, programs: self.programs.clone(), supervisor: None };
        server.launch();
        server
    }

    /// URL by which this server has the database that another one made.
    #[must_use]
    pub fn url_of(&self, url: &str) -> String {
        let name = url.rsplit('/').next().unwrap_or_default();
        format!("postgres://postgres@127.0.0.1:{}/{name}", self.port)
    }

    /// Starts the server again after [`Self::kill`], on the same data and port.
    ///
    /// # Panics
    /// If it does not start.
    pub fn launch(&mut self) {
        let supervisor = Command::new("/bin/sh")
            .args(["-c", SUPERVISOR, "sh"])
            .arg(&self.directory)
            .args(as_server_user(&self.programs.join("postgres")))
            .arg("-D")
            .arg(self.directory.join("data"))
            .arg("-k")
            .arg(&self.directory)
            .args(["-p", &self.port.to_string(), "-h", "127.0.0.1", "-N", "200"])
            .args(["-c", "fsync=off", "-c", "full_page_writes=off", "-c", "shared_buffers=16MB"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Ctrl-C in the terminal is for the tests; the end of the input is for the server.
            .process_group(0)
            .spawn()
            .expect("a shell starts");
        self.supervisor = Some(supervisor);
        let deadline = Instant::now() + START_LIMIT;
        while !self.is_ready() {
            let log = || std::fs::read_to_string(self.directory.join("log")).unwrap_or_default();
            assert!(Instant::now() < deadline, "the server did not start in time: {}", log());
            #[expect(clippy::disallowed_methods, reason = "there is nothing to wait on but the server's own answer")]
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends the server without warning, as a crash would; [`Self::launch`] brings it back.
    ///
    /// # Panics
    /// If the supervisor of the server is gone.
    pub fn kill(&mut self) {
        self.stop("keep\n");
    }

    /// Stops every process of the server where it stands, as a machine that hangs would: connections are taken by the
    /// kernel, and nothing is answered until [`Self::thaw`].
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on after [`Self::freeze`].
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// To the server and to each process it has made for a session.
    fn signal(&self, signal: Signal) {
        let file = std::fs::read_to_string(self.directory.join("data/postmaster.pid")).unwrap_or_default();
        let server = file.lines().next().unwrap_or_default();
        let children = std::fs::read_to_string(format!("/proc/{server}/task/{server}/children")).unwrap_or_default();
        for process in std::iter::once(server).chain(children.split_whitespace()) {
            if let Some(process) = process.parse().ok().and_then(Pid::from_raw) {
                // A session may have ended just now.
                let _ = kill_process(process, signal);
            }
        }
    }

    fn stop(&mut self, line: &str) {
        if let Some(mut supervisor) = self.supervisor.take() {
            let mut input = supervisor.stdin.take().expect("a pipe was asked for");
            input.write_all(line.as_bytes()).expect("the supervisor reads");
            drop(input);
            supervisor.wait().expect("the supervisor ends");
        }
    }

    /// A new, empty database; the answer is its URL.
    ///
    /// # Panics
    /// If the server does not make it.
    pub fn database(&self) -> String {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let output = self.client("createdb").arg(&name).output().expect("createdb starts");
        assert!(output.status.success(), "createdb failed: {}", String::from_utf8_lossy(&output.stderr));
        format!("postgres://postgres@127.0.0.1:{}/{name}", self.port)
    }

    /// Runs SQL in a database made by [`Self::database`] and returns what it prints, unaligned and without headers.
    ///
    /// # Panics
    /// If the statement fails.
    pub fn sql(&self, url: &str, statement: &str) -> String {
        let output = Command::new(self.programs.join("psql"))
            .args([url, "-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", statement])
            .output()
            .expect("psql starts");
        assert!(output.status.success(), "{statement}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// A session named "sleeper" that has run `statement` in a transaction and does nothing more, until the result is
    /// dropped.
    ///
    /// # Panics
    /// If psql does not start.
    #[must_use]
    pub fn hold_a_transaction(&self, url: &str, statement: &str) -> OpenTransaction {
        let mut psql = Command::new(self.programs.join("psql"))
            .args([url, "-X", "-q"])
            .env("PGAPPNAME", "sleeper")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("psql starts");
        // It reads on, in the transaction, until its input ends.
        let input = psql.stdin.as_mut().expect("a pipe was asked for");
        input.write_all(format!("BEGIN;\n{statement};\n").as_bytes()).expect("psql reads");
        OpenTransaction(psql)
    }

    fn is_ready(&self) -> bool {
        let status = self.client("pg_isready").stdout(Stdio::null()).stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    }

    fn client(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command.args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", "postgres"]);
        command
    }
}

/// See [`PostgresServer::hold_a_transaction`].
pub struct OpenTransaction(Child);

impl Drop for OpenTransaction {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        // One that stands still cannot end.
        self.signal(Signal::CONT);
        self.stop("");
    }
}

fn programs() -> PathBuf {
    let mut found: Vec<PathBuf> = std::fs::read_dir(PROGRAMS)
        .into_iter()
        .flatten()
        .flatten()
        .map(|version| version.path().join("bin"))
        .filter(|bin| bin.join("initdb").exists() && bin.join("postgres").exists())
        .collect();
    found.sort();
    found.pop().unwrap_or_else(|| panic!("no PostgreSQL server in {PROGRAMS}: apt-get install postgresql"))
}

/// The words of a command. The server refuses to run as root; Debian's package makes a user for it.
fn as_server_user(program: &Path) -> Vec<OsString> {
    let mut words: Vec<OsString> = Vec::new();
    if rustix::process::geteuid().is_root() {
        words.extend(["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"].map(OsString::from));
    }
    words.push(program.into());
    words
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a loopback port");
    listener.local_addr().expect("a bound address").port()
}
