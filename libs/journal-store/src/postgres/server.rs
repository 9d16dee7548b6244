//! A database server as a URL names it: where it is, who asks, and how connections to it are protected; and what to do
//! about a connection that failed.
//!
//! The words about TLS are libpq's: `sslmode`, `sslrootcert`, `sslcert`, `sslkey`. Deliberately absent: words that libpq
//! does not have, and a protection that is not the one asked for.

use std::error::Error;
use std::fmt::Write;
use std::io;
use std::path::PathBuf;

use percent_encoding::percent_decode_str;
use rustls::CertificateError;
use tokio_postgres::Config;
use tokio_postgres::config::SslMode;
use tokio_postgres::error::{DbError, SqlState};

use super::tls::{Check, Tls};

/// A database server.
#[derive(Clone)]
pub struct Server {
    /// Where it is, and who asks. Holds a password: not for logs.
    pub options: Config,
    /// How connections to it are protected.
    pub tls: Tls,
}

/// Why a URL cannot be used. Does not repeat it: it holds a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UrlError(String);

/// What a URL says about TLS.
#[derive(Default)]
struct Words {
    mode: Option<String>,
    authority: Option<PathBuf>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
}

impl Server {
    /// Reads `postgres://…`, or `host=… user=…` without certificates. No file is opened.
    ///
    /// # Errors
    /// [`UrlError`]: which word, and what to write instead.
    pub fn parse(url: &str) -> Result<Self, UrlError> {
        let (rest, words) = split(url)?;
        let mut options: Config = rest.parse().map_err(|error: tokio_postgres::Error| UrlError(chain(&error)))?;
        let (mode, check) = match words.mode.as_deref() {
            None => (options.get_ssl_mode(), Check::Nothing),
            Some("disable") => (SslMode::Disable, Check::Nothing),
            Some("prefer") => (SslMode::Prefer, Check::Nothing),
            // As libpq does it: whoever names an authority wants it asked.
            Some("require") if words.authority.is_some() => (SslMode::Require, Check::Authority),
            Some("require") => (SslMode::Require, Check::Nothing),
            Some("verify-ca") => (SslMode::Require, Check::Authority),
            Some("verify-full") => (SslMode::Require, Check::Name),
            Some(other) => {
                let known = "disable, prefer, require, verify-ca or verify-full";
                return Err(UrlError(format!("sslmode={other} is not known: use {known}")));
            }
        };
        let problem = match (&words, check) {
            (Words { authority: None, .. }, Check::Authority | Check::Name) => {
                "sslmode=verify-ca and verify-full need sslrootcert=FILE, the authority that signed the server's certificate"
            }
            (Words { authority: Some(_), .. }, Check::Nothing) => {
                "sslrootcert is asked for nothing without sslmode=verify-full (or verify-ca, or require)"
            }
            (Words { certificate: Some(_), key: None, .. } | Words { certificate: None, key: Some(_), .. }, _) => {
                "sslcert and sslkey go together: the certificate shown to the server, and its private key"
            }
            _ => "",
        };
        if !problem.is_empty() {
            return Err(UrlError(problem.to_owned()));
        }
        options.ssl_mode(mode);
        let tls = Tls { check, authority: words.authority, identity: words.certificate.zip(words.key) };
        Ok(Self { options, tls })
    }
}

/// Takes the words about TLS out of a URL: the driver does not know all of them.
fn split(url: &str) -> Result<(String, Words), UrlError> {
    let mut words = Words::default();
    let is_url = ["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme));
    // A password may hold a question mark.
    let host = url.find('@').unwrap_or(0);
    let parameters = url[host..].find('?').map(|at| host + at).filter(|_| is_url);
    let Some(at) = parameters else { return Ok((url.to_owned(), words)) };
    let mut others = Vec::new();
    for parameter in url[at + 1..].split('&') {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        if !["sslmode", "sslrootcert", "sslcert", "sslkey"].contains(&name) {
            others.push(parameter);
            continue;
        }
        let value = percent_decode_str(value).decode_utf8();
        let value = value.map_err(|_| UrlError(format!("{name} is not UTF-8")))?;
        let file = Some(PathBuf::from(&*value)).filter(|file| !file.as_os_str().is_empty());
        match name {
            "sslmode" => words.mode = Some(value.into_owned()),
            "sslrootcert" => words.authority = file,
            "sslcert" => words.certificate = file,
            _ => words.key = file,
        }
    }
    let question = if others.is_empty() { "" } else { "?" };
    Ok((format!("{}{question}{}", &url[..at], others.join("&")), words))
}

/// An error of the driver with its causes, which it keeps to itself, and what to do about it where that is known.
#[must_use]
pub fn describe(error: &(dyn Error + 'static)) -> String {
    let mut text = chain(error);
    if let Some(remedy) = remedy(error) {
        // Writing to a string does not fail.
        let _ = write!(text, "; {remedy}");
    }
    text
}

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// What to do about a connection that was refused for the sake of TLS, by either side.
#[must_use]
pub fn remedy(error: &(dyn Error + 'static)) -> Option<&'static str> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let found = error.downcast_ref().and_then(of_tls).or_else(|| {
            // An error of the system does not tell of its cause like others do.
            error.downcast_ref::<io::Error>()?.get_ref()?.downcast_ref().and_then(of_tls)
        });
        let found = found.or_else(|| error.downcast_ref().and_then(of_server)).or_else(|| {
            let none = error.to_string() == "server does not support TLS";
            none.then_some(
                "give the server a certificate and ssl = on, or use sslmode=disable on a network that you trust",
            )
        });
        if found.is_some() {
            return found;
        }
        cause = error.source();
    }
    None
}

fn of_tls(error: &rustls::Error) -> Option<&'static str> {
    use CertificateError as Bad;
    Some(match error {
        rustls::Error::InvalidCertificate(Bad::NotValidForName | Bad::NotValidForNameContext { .. }) => {
            "the server's certificate is for other names: connect by one of them, have it made for this one, or use \
             sslmode=verify-ca"
        }
        rustls::Error::InvalidCertificate(Bad::UnknownIssuer | Bad::BadSignature) => {
            "the authority in sslrootcert did not sign the server's certificate: name the one that did"
        }
        rustls::Error::InvalidCertificate(_) => "the server needs another certificate",
        rustls::Error::AlertReceived(_) => {
            "the server does not take our certificate: sslcert and sslkey name it, the server's ssl_ca_file its authority"
        }
        _ => return None,
    })
}

fn of_server(error: &DbError) -> Option<&'static str> {
    let words = error.message();
    // Servers before version 14 say it the second way.
    if *error.code() != SqlState::INVALID_AUTHORIZATION_SPECIFICATION {
        None
    } else if words.contains("no encryption") || words.contains("SSL off") {
        Some("the server wants TLS: use sslmode=verify-full with sslrootcert, or at least sslmode=require")
    } else if words.contains("client certificate") {
        Some("the server wants a certificate of ours: name it by sslcert and sslkey")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(parameters: &str) -> Result<Server, String> {
        let url = format!("postgres://u:secr?t@h:5433/d{parameters}");
        Server::parse(&url).map_err(|error| error.to_string())
    }

    #[test]
    fn the_words_of_libpq_choose_the_protection() {
        let chosen = |parameters: &str| {
            let Server { options, tls } = parse(parameters).unwrap_or_else(|error| panic!("{parameters}: {error}"));
            assert_eq!((options.get_dbname(), options.get_password()), (Some("d"), Some(&b"secr?t"[..])));
            (options.get_ssl_mode(), tls.check)
        };
        let (disable, prefer, require) = (SslMode::Disable, SslMode::Prefer, SslMode::Require);
        for (parameters, expected) in [
            ("", (prefer, Check::Nothing)),
            ("?sslmode=disable", (disable, Check::Nothing)),
            ("?sslmode=prefer&connect_timeout=3", (prefer, Check::Nothing)),
            ("?connect_timeout=3&sslmode=require", (require, Check::Nothing)),
            ("?sslmode=require&sslrootcert=/ca.pem", (require, Check::Authority)),
            ("?sslrootcert=%2Fa%20b%2Fca.pem&sslmode=verify-ca", (require, Check::Authority)),
            ("?sslmode=verify-full&sslrootcert=/ca.pem&sslcert=/c.pem&sslkey=/k.pem", (require, Check::Name)),
        ] {
            assert_eq!(chosen(parameters), expected, "{parameters}");
        }
        let tls = parse("?sslrootcert=%2Fa%20b%2Fca.pem&sslmode=verify-ca").expect("known words").tls;
        assert_eq!(tls.authority, Some(PathBuf::from("/a b/ca.pem")));
        let one = Server::parse("host=h user=u sslmode=require").expect("the driver's own form");
        assert_eq!(one.options.get_ssl_mode(), require);
    }

    #[test]
    fn a_protection_that_would_not_be_the_one_meant_is_refused() {
        for (parameters, word) in [
            ("?sslmode=verify_full&sslrootcert=/ca.pem", "verify-full"),
            ("?sslmode=verify-full", "sslrootcert=FILE"),
            ("?sslmode=verify-ca&sslrootcert=", "sslrootcert=FILE"),
            ("?sslrootcert=/ca.pem", "sslmode=verify-full"),
            ("?sslmode=prefer&sslrootcert=/ca.pem", "sslmode=verify-full"),
            ("?sslmode=require&sslcert=/c.pem", "sslkey"),
            ("?sslmode=require&sslkey=/k.pem", "sslcert"),
            ("?sslcrl=/crl.pem", "sslcrl"),
            ("?sslmode=require&sslpassword=secret-too", "sslpassword"),
        ] {
            let refused = parse(parameters).map(|_| ()).expect_err(parameters);
            assert!(refused.contains(word) && !refused.contains("secr"), "{parameters}: {refused}");
        }
    }
}
