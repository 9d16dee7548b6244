//! Logs: one JSON object a line (UTC in RFC 3339, level, target, fields, the ids of the request and of its trace) or
//! lines for people, and the end of the process when a task panics. What is logged can be changed while it runs
//! ([`LogLevel`]). Absent: traces to a collector (see [`crate::trace`]); metrics (see [`crate::metrics`]).

mod level;

use std::io::{self, IsTerminal, Write};
use std::{fmt, panic, process, thread};

use serde::{Deserialize, Serialize};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{DefaultFields, Format, Json, JsonFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter, SubscriberBuilder};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::reload;

use crate::{request_id, trace};

pub use level::{LevelState, LogLevel, ORDERED_MAX};

/// What is logged, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// Least level, in general and by target: `info`, `info,order_engine=debug`.
    pub level: String,
    /// `json` for machines, `human` for people.
    pub format: LogFormat,
}

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// One JSON object.
    Json,
    /// Text, with colours on a terminal.
    Human,
}

/// Where the log goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogOutput {
    /// Standard error; for commands whose standard output is their answer.
    Stderr,
    /// Standard output; for a server, whose log is its output.
    Stdout,
}

/// Why logging cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The level cannot be read.
    #[error(
        "log.level \"{level}\" is not understood: {reason}; write a level like info or target=level, comma separated"
    )]
    Level {
        /// As given.
        level: String,
        /// The parser's reason.
        reason: String,
    },
    /// It was set up before.
    #[error("logging was set up twice in one process")]
    Twice,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: LogFormat::Json }
    }
}

/// Sets up logging for the process; what is logged can then be changed.
///
/// # Errors
/// [`TelemetryError`] when the level is not understood or logging was set up before.
pub fn init(config: &LogConfig, output: LogOutput) -> Result<LogLevel, TelemetryError> {
    let filter = filter(&config.level)?;
    let writer = move || -> Box<dyn Write> {
        match output {
            LogOutput::Stderr => Box::new(io::stderr()),
            LogOutput::Stdout => Box::new(io::stdout()),
        }
    };
    let (set, level) = match config.format {
        LogFormat::Json => {
            let builder = json_subscriber(filter, writer).with_filter_reloading();
            let level = LogLevel::new(&config.level, apply_by(builder.reload_handle()));
            (tracing::subscriber::set_global_default(builder.finish()), level)
        }
        LogFormat::Human => {
            let terminal = match output {
                LogOutput::Stderr => io::stderr().is_terminal(),
                LogOutput::Stdout => io::stdout().is_terminal(),
            };
            let builder = human_subscriber(filter, writer, terminal).with_filter_reloading();
            let level = LogLevel::new(&config.level, apply_by(builder.reload_handle()));
            (tracing::subscriber::set_global_default(builder.finish()), level)
        }
    };
    set.map_err(|_| TelemetryError::Twice)?;
    Ok(level)
}

fn apply_by<S: 'static>(handle: reload::Handle<EnvFilter, S>) -> impl Fn(EnvFilter) + Send + Sync + 'static {
    // Fails only when the subscriber is gone, and with it whoever would read the log.
    move |filter| handle.reload(filter).unwrap_or(())
}

/// From now on a panic of any task or thread is logged and ends the process at once. A half-finished state must not
/// go on serving; what was acknowledged is in the journal.
pub fn abort_on_panic() {
    panic::set_hook(Box::new(|info| {
        let payload = info.payload();
        let message = payload.downcast_ref::<&str>().copied();
        let message = message.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message");
        let location = info.location().map(ToString::to_string).unwrap_or_default();
        let thread = thread::current();
        tracing::error!(location, thread = thread.name().unwrap_or("unnamed"), "panic: {message}");
        // The log's standard output may be buffered, and abort flushes nothing.
        io::stdout().flush().ok();
        process::abort();
    }));
}

impl LogConfig {
    /// Keys that may change while the process runs.
    pub const HOT: &'static [&'static str] = &["level"];

    /// Whether [`init`] would understand it.
    ///
    /// # Errors
    /// [`TelemetryError::Level`].
    pub fn check(&self) -> Result<(), TelemetryError> {
        filter(&self.level).map(drop)
    }
}

fn filter(level: &str) -> Result<EnvFilter, TelemetryError> {
    let error = |reason: String| TelemetryError::Level { level: level.to_owned(), reason };
    if level.trim().is_empty() {
        return Err(error("it is empty".to_owned()));
    }
    // A lone word that is no level would be taken for a target, and everything else would be silent.
    let lone = level.split(',').map(str::trim).find(|part| {
        let word = part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':');
        word && part.parse::<LevelFilter>().is_err()
    });
    if let Some(part) = lone {
        return Err(error(format!("{part:?} is no level: there are off, error, warn, info, debug, trace")));
    }
    EnvFilter::builder().parse(level).map_err(|reason| error(reason.to_string()))
}

fn json_subscriber<W>(
    filter: EnvFilter,
    writer: W,
) -> SubscriberBuilder<JsonFields, WithIds<Format<Json>>, EnvFilter, W>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let format = tracing_subscriber::fmt::format().json().flatten_event(true);
    let format = WithIds { format, of: LogFormat::Json };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .fmt_fields(JsonFields::new())
        .event_format(format)
        .with_writer(writer)
}

fn human_subscriber<W>(
    filter: EnvFilter,
    writer: W,
    terminal: bool,
) -> SubscriberBuilder<DefaultFields, WithIds<Format>, EnvFilter, W>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let format = WithIds { format: tracing_subscriber::fmt::format().with_ansi(terminal), of: LogFormat::Human };
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(terminal).event_format(format).with_writer(writer)
}

/// Adds the id of the request that is being worked on, and that of its trace, to every line; at no cost where there is
/// none.
struct WithIds<F> {
    format: F,
    of: LogFormat,
}

impl<S, N, F> FormatEvent<S, N> for WithIds<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let (request, place) = (request_id::current(), trace::current());
        if request.is_none() && place.is_none() {
            return self.format.format_event(context, out, event);
        }
        let mut line = String::new();
        self.format.format_event(context, Writer::new(&mut line), event)?;
        let line = line.trim_end();
        let (line, end) = match self.of {
            LogFormat::Json => (line.strip_suffix('}').unwrap_or(line), "}"),
            LogFormat::Human => (line, ""),
        };
        out.write_str(line)?;
        // Neither holds a character that JSON would have to escape.
        let mut id = |key: &str, id: fmt::Arguments<'_>| match self.of {
            LogFormat::Json => write!(out, ",\"{key}\":\"{id}\""),
            LogFormat::Human => write!(out, " {key}={id}"),
        };
        if let Some(request) = request {
            id("request_id", format_args!("{}", request.as_str()))?;
        }
        if let Some(place) = place {
            id("trace_id", format_args!("{}", place.trace))?;
        }
        writeln!(out, "{end}")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use futures::FutureExt;
    use serde_json::Value;

    use super::*;
    use crate::request_id::RequestId;
    use crate::trace::{SpanId, TraceContext, TraceId};

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("not poisoned").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Sink {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().expect("not poisoned").clone()).expect("text")
        }
    }

    fn logged(level: &str, work: impl FnOnce()) -> Vec<Value> {
        let sink = Sink::default();
        let writer = sink.clone();
        let subscriber = json_subscriber(filter(level).expect("a level"), move || writer.clone()).finish();
        tracing::subscriber::with_default(subscriber, work);
        sink.text().lines().map(|line| serde_json::from_str(line).expect(line)).collect()
    }

    #[test]
    fn lines_of_a_request_name_it_and_its_trace_in_both_formats() {
        let place = TraceContext { trace: TraceId(0xab), span: SpanId(1), sampled: false };
        let work = || {
            let id = RequestId::accept(b"abc-1").expect("an id");
            let inside = trace::within(Some(place), async { tracing::info!(seq = 7, "inside") });
            request_id::sync_scope(id, || inside.now_or_never().expect("it waits for nothing"));
            tracing::info!("outside");
        };
        let trace = format!("{:032x}", 0xab);
        let lines = logged("info", work);
        assert_eq!((&lines[0]["request_id"], &lines[0]["trace_id"]), (&"abc-1".into(), &trace.as_str().into()));
        assert_eq!((&lines[0]["seq"], lines[1].get("trace_id")), (&7.into(), None));

        let sink = Sink::default();
        let writer = sink.clone();
        let subscriber = human_subscriber(filter("info").expect("a level"), move || writer.clone(), false).finish();
        tracing::subscriber::with_default(subscriber, work);
        let text = sink.text();
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[0].ends_with(&format!("inside seq=7 request_id=abc-1 trace_id={trace}")), "{text}");
        assert!(lines.len() == 2 && lines[1].ends_with("outside"), "{text}");
    }

    #[test]
    fn a_line_is_json_in_utc_with_the_id_of_its_request() {
        let lines = logged("info", || {
            tracing::warn!(seq = 7, "hello \"you\"");
            tracing::debug!("not shown");
            let id = RequestId::accept(b"abc-1").expect("an id");
            request_id::sync_scope(id, || tracing::info!("inside"));
        });
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert_eq!((&lines[0]["level"], &lines[0]["seq"]), (&"WARN".into(), &7.into()));
        assert_eq!(lines[0]["message"], "hello \"you\"");
        assert!(lines[0]["target"].as_str().is_some_and(|target| target.starts_with("service_kit")));
        assert!(lines[0].get("request_id").is_none());
        let timestamp = lines[0]["timestamp"].as_str().expect("a timestamp");
        assert!(timestamp.ends_with('Z') && timestamp.as_bytes()[10] == b'T', "{timestamp}");
        assert_eq!((&lines[1]["message"], &lines[1]["request_id"]), (&"inside".into(), &"abc-1".into()));
    }

    #[test]
    fn a_level_by_target_counts_and_nonsense_is_refused() {
        let lines = logged("warn,special=debug", || {
            tracing::info!("no");
            tracing::debug!(target: "special", "yes");
        });
        assert_eq!(lines.len(), 1, "{lines:?}");
        for level in ["", "loud=very", "info,==", "loud", "special=debug,infos"] {
            let error = filter(level).expect_err(level).to_string();
            assert!(error.contains(&format!("\"{level}\"")), "{error}");
        }
    }
}
