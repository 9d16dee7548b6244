//! HTTP/1.1, as much of it as health checks, metrics and actions of a node on loopback take.

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use wire::api_key::ApiKey;

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Body.
    pub body: String,
}

/// Sends `GET path` to `address`.
///
/// # Errors
/// When nobody answers, or not in HTTP.
pub async fn get(address: &str, path: &str) -> Result<Answer> {
    request(address, "GET", path).await
}

/// Sends a request without a body.
///
/// # Errors
/// When nobody answers, or not in HTTP.
pub async fn request(address: &str, method: &str, path: &str) -> Result<Answer> {
    request_with(address, method, path, "").await
}

/// Sends a request without a body. `headers` are whole lines.
///
/// # Errors
/// When nobody answers, or not in HTTP.
pub async fn request_with(address: &str, method: &str, path: &str, headers: &str) -> Result<Answer> {
    send(address, method, path, &format!("{headers}Content-Length: 0\r\n\r\n")).await
}

/// Sends `POST path` with a JSON document and, if given, an API key.
///
/// # Errors
/// When nobody answers, or not in HTTP.
pub async fn post(address: &str, path: &str, key: Option<&ApiKey>, document: &serde_json::Value) -> Result<Answer> {
    let body = document.to_string();
    let key = key.map(|key| format!("Authorization: Bearer {}\r\n", key.reveal())).unwrap_or_default();
    let rest = format!("{key}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    send(address, "POST", path, &rest).await
}

async fn send(address: &str, method: &str, path: &str, rest: &str) -> Result<Answer> {
    let mut stream = TcpStream::connect(address).await?;
    let text = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{rest}");
    stream.write_all(text.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").context("an HTTP answer has a head")?;
    let status = head.split(' ').nth(1).context("a status line has a code")?.parse()?;
    let body =
        if head.to_ascii_lowercase().contains("transfer-encoding: chunked") { unchunk(body) } else { body.to_owned() };
    Ok(Answer { status, body })
}

fn unchunk(mut rest: &str) -> String {
    let mut body = String::new();
    while let Some((size, tail)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16).unwrap_or(0);
        let Some(chunk) = tail.get(..size).filter(|_| size > 0) else { break };
        body.push_str(chunk);
        rest = tail.get(size + 2..).unwrap_or_default();
    }
    body
}
