//! A page in headless Chromium, driven over its debugging protocol as a person drives it: keys are pressed, text is
//! written. The protocol goes over two named pipes, one JSON document after another, each ended by a zero byte.
//!
//! Deliberately absent: everything else that a browser can do, and pictures; Chromium makes those by itself.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;

use anyhow::{Context, Result, bail, ensure};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::{Value, json};

use crate::{LIMIT, until};

/// Chromium reads orders from descriptor 3 and writes answers to 4.
const LAUNCH: &str = r#"exec chromium "$@" 3<"$0/orders" 4>"$0/answers""#;

/// Answers that wait to be read; whoever asks for one reads all before it.
const ANSWERS: usize = 64;

/// A browser with one page. Dropping it ends it.
pub struct Browser {
    child: Child,
    orders: File,
    answers: Receiver<Value>,
    session: Value,
    last: u64,
}

impl Browser {
    /// Opens a page; everything the browser keeps lies below `directory`.
    ///
    /// # Errors
    /// When there is no Chromium (Debian: `apt-get install chromium`), or it does not answer.
    pub fn open(directory: &Path, url: &str) -> Result<Self> {
        for pipe in ["orders", "answers"] {
            mknodat(CWD, directory.join(pipe), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
        }
        let profile = format!("--user-data-dir={}", directory.join("browser").display());
        let child = Command::new("/bin/sh")
            .args(["-c", LAUNCH])
            .arg(directory)
            .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
            .args(["--remote-debugging-pipe", &profile])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(directory.join("browser.log"))?)
            .spawn()?;
        // Opened for both, so that this does not wait for a browser that never comes.
        let orders = File::options().read(true).write(true).open(directory.join("orders"))?;
        let (tell, answers) = sync_channel(ANSWERS);
        let path = directory.join("answers");
        thread::spawn(move || -> Option<()> {
            for document in BufReader::new(File::open(path).ok()?).split(0) {
                tell.send(serde_json::from_slice(&document.ok()?).ok()?).ok()?;
            }
            None
        });
        let mut browser = Self { child, orders, answers, session: Value::Null, last: 0 };
        let made = browser.call("Target.createTarget", &json!({"url": url}))?;
        let attach = json!({"targetId": made["targetId"], "flatten": true});
        browser.session = browser.call("Target.attachToTarget", &attach)?["sessionId"].take();
        Ok(browser)
    }

    /// The value of an expression in the page.
    ///
    /// # Errors
    /// When it throws.
    pub fn value(&mut self, expression: &str) -> Result<Value> {
        let parameters = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let mut answer = self.call("Runtime.evaluate", &parameters)?;
        ensure!(answer["exceptionDetails"].is_null(), "{expression}: {}", answer["exceptionDetails"]);
        Ok(answer["result"]["value"].take())
    }

    /// Waits until an expression is true.
    ///
    /// # Errors
    /// When it throws, or is not true in time.
    pub async fn until(&mut self, expression: &str) -> Result<()> {
        until(expression, async || Ok(self.value(expression)? == true)).await
    }

    /// Puts the focus on what this selector finds.
    ///
    /// # Errors
    /// When it finds nothing that takes the focus.
    pub fn focus(&mut self, selector: &str) -> Result<()> {
        let found = format!("document.querySelector({selector:?})");
        let focused =
            self.value(&format!("({found}?.focus(), {found} !== null && document.activeElement === {found})"))?;
        ensure!(focused == true, "{selector} does not take the focus");
        Ok(())
    }

    /// Writes where the focus is.
    ///
    /// # Errors
    /// When the browser does not answer.
    pub fn write(&mut self, text: &str) -> Result<()> {
        self.call("Input.insertText", &json!({ "text": text })).map(drop)
    }

    /// Presses Enter where the focus is.
    ///
    /// # Errors
    /// When the browser does not answer.
    pub fn enter(&mut self) -> Result<()> {
        self.press("Enter", 13, "\r")
    }

    /// Presses Escape.
    ///
    /// # Errors
    /// When the browser does not answer.
    pub fn escape(&mut self) -> Result<()> {
        self.press("Escape", 27, "")
    }

    fn press(&mut self, key: &str, number: u32, text: &str) -> Result<()> {
        for kind in ["keyDown", "keyUp"] {
            let text = if kind == "keyDown" { text } else { "" };
            let event = json!({"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": number, "text": text});
            self.call("Input.dispatchKeyEvent", &event)?;
        }
        Ok(())
    }

    fn call(&mut self, method: &str, parameters: &Value) -> Result<Value> {
        self.last += 1;
        let mut order = json!({"id": self.last, "method": method, "params": parameters});
        if !self.session.is_null() {
            order["sessionId"] = self.session.clone();
        }
        let mut bytes = serde_json::to_vec(&order)?;
        bytes.push(0);
        self.orders.write_all(&bytes)?;
        loop {
            let mut answer = match tokio::task::block_in_place(|| self.answers.recv_timeout(LIMIT)) {
                Ok(answer) => answer,
                Err(RecvTimeoutError::Timeout) => bail!("{method}: no answer from the browser after {LIMIT:?}"),
                Err(RecvTimeoutError::Disconnected) => bail!("{method}: there is no browser, see browser.log"),
            };
            // Between answers it tells of what happens.
            if answer["id"] == self.last {
                let error = answer["error"].take();
                ensure!(error.is_null(), "{method}: {error}");
                return answer.get_mut("result").map(Value::take).context("an answer has a result");
            }
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
