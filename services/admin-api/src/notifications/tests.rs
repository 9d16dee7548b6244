//! Receivers get exact bodies, once, in order, however they behave; what waits outlives the process.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use service_kit::Components;
use service_kit::audit::Audit;
use service_kit::config::{HumanDuration, Live};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::outbox::Put;
use super::*;

/// A receiver that answers with these statuses, one after the other, and 200 from then on; what it gets is told.
async fn receiver(statuses: &'static [u16]) -> (String, mpsc::Receiver<(String, String)>) {
    let (tell, told) = mpsc::channel(100);
    let count = Arc::new(AtomicUsize::new(0));
    let answer = async move |headers: HeaderMap, body: String| {
        let key = headers.get("idempotency-key").and_then(|key| key.to_str().ok()).unwrap_or_default().to_owned();
        tell.send((key, body)).await.expect("listened to");
        let status = statuses.get(count.fetch_add(1, Ordering::SeqCst)).copied().unwrap_or(200);
        StatusCode::from_u16(status).expect("a status")
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let url = format!("http://{}/hook?token=canary", listener.local_addr().expect("bound"));
    let router = Router::new().route("/hook", post(answer));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, told)
}

fn config(urls: [&str; 3]) -> Config {
    let toml = format!(
        "security_webhook = {:?}\nstatus_page_webhook = {:?}\nnotification_webhook = {:?}\n",
        urls[0], urls[1], urls[2]
    );
    toml::from_str(&toml).expect("a configuration")
}

fn entry(kind: Kind, id: &str, body: &str) -> Entry {
    Entry {
        id: id.to_owned(),
        kind,
        body: body.to_owned(),
        dedupe_key: body.to_owned(),
        request_id: String::new(),
        created_us: clock(),
        state: State::Waiting,
        attempts: 0,
        due_us: clock(),
        last_error: String::new(),
    }
}

fn clock() -> u64 {
    service_kit::clock::now_us()
}

fn open(directory: &Path) -> Arc<Outbox> {
    Arc::new(Outbox::open(directory).expect("opened"))
}

fn deliver(outbox: &Arc<Outbox>, config: Config) -> tokio::task::JoinHandle<()> {
    let component = Components::new().register_optional("notifications");
    let delivery = Delivery::new(Arc::clone(outbox), Live::fixed(config), Audit::none(), component);
    tokio::spawn(delivery.expect("a client").run())
}

/// The state of a notification as soon as it is settled.
async fn settled(outbox: &Arc<Outbox>, id: &str) -> Entry {
    loop {
        let found = outbox.newest(100).into_iter().find(|entry| entry.id == id).expect("it is there");
        if found.state != State::Waiting {
            return found;
        }
        // The outbox tells only its one reader; the test's time limit is the end of this.
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn r87_a_receiver_that_fails_gets_the_same_again_under_the_same_key() {
    let directory = tempfile::tempdir().expect("a directory");
    let (url, mut told) = receiver(&[503]).await;
    let outbox = open(directory.path());
    let body = r#"{"incident":"security_breach","severity":"P1","system":"hive-mind-rust"}"#;
    assert!(matches!(outbox.put(entry(Kind::Security, "1", body), 0).expect("written"), Put::New(_)));
    let task = deliver(&outbox, config([&url, "", ""]));
    for _ in 0..2 {
        assert_eq!(told.recv().await, Some(("1".to_owned(), body.to_owned())));
    }
    let found = settled(&outbox, "1").await;
    assert_eq!((found.state, found.attempts, found.last_error.as_str()), (State::Delivered, 2, ""));
    task.abort();
}

#[tokio::test]
async fn r87_a_newer_one_waits_while_an_older_one_is_tried_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let (url, mut told) = receiver(&[503]).await;
    let outbox = open(directory.path());
    for (id, body) in [("1", "outage"), ("2", "operational")] {
        outbox.put(entry(Kind::Security, id, body), 0).expect("written");
    }
    let task = deliver(&outbox, config([&url, "", ""]));
    for id in ["1", "1", "2"] {
        assert_eq!(told.recv().await.expect("delivered").0, id);
    }
    task.abort();
}

#[tokio::test]
async fn r87_what_waits_outlives_the_process_and_a_receiver_that_hangs_up() {
    let directory = tempfile::tempdir().expect("a directory");
    // A port where nobody listens.
    let gone = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let nobody = format!("http://{}/hook?token=canary", gone.local_addr().expect("bound"));
    drop(gone);
    let outbox = open(directory.path());
    outbox.put(entry(Kind::Security, "1", "{}"), 0).expect("written");
    let task = deliver(&outbox, config([&nobody, "", ""]));
    let failed = loop {
        let found = outbox.newest(1).remove(0);
        if found.attempts > 0 {
            break found;
        }
        // As above: there is nothing to wait for but the file.
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    };
    assert!(!failed.last_error.is_empty() && !failed.last_error.contains("canary"), "{failed:?}");
    task.abort();
    assert!(task.await.is_err());
    drop(outbox);
    let outbox = open(directory.path());
    assert_eq!(outbox.waiting(), 1);
    let (url, mut told) = receiver(&[]).await;
    let task = deliver(&outbox, config([&url, "", ""]));
    assert_eq!(told.recv().await, Some(("1".to_owned(), "{}".to_owned())));
    assert_eq!(settled(&outbox, "1").await.state, State::Delivered);
    task.abort();
}

#[tokio::test]
async fn r87_a_refusal_for_good_and_the_end_of_patience_are_given_up() {
    let directory = tempfile::tempdir().expect("a directory");
    let (refusing, _told) = receiver(&[400]).await;
    let (failing, _told) = receiver(&[500, 500, 500]).await;
    let outbox = open(directory.path());
    outbox.put(entry(Kind::Security, "1", "{}"), 0).expect("written");
    let old = Entry { created_us: 1, ..entry(Kind::Message, "2", "{}") };
    outbox.put(old, 0).expect("written");
    let task = deliver(&outbox, config([&refusing, "", &failing]));
    let found = settled(&outbox, "1").await;
    assert_eq!((found.state, found.attempts), (State::GivenUp, 1));
    assert!(found.last_error.contains("400"), "{found:?}");
    assert_eq!(settled(&outbox, "2").await.state, State::GivenUp);
    task.abort();
    // What was given up may be sent again.
    assert!(matches!(outbox.put(entry(Kind::Security, "3", "{}"), 0).expect("written"), Put::New(_)));
}

#[tokio::test]
async fn r88_several_that_are_due_come_in_order_the_urgent_first() {
    let directory = tempfile::tempdir().expect("a directory");
    let (url, mut told) = receiver(&[]).await;
    let outbox = open(directory.path());
    for (kind, id) in [(Kind::Message, "1"), (Kind::Status, "2"), (Kind::Status, "3"), (Kind::Security, "4")] {
        outbox.put(entry(kind, id, id), 0).expect("written");
    }
    let task = deliver(&outbox, config([&url, &url, &url]));
    for id in ["4", "2", "3", "1"] {
        assert_eq!(told.recv().await, Some((id.to_owned(), id.to_owned())));
    }
    task.abort();
}

#[test]
fn r87_the_same_is_sent_once() {
    let directory = tempfile::tempdir().expect("a directory");
    let outbox = open(directory.path());
    let first = entry(Kind::Security, "1", "{}");
    let again = Entry { id: "2".to_owned(), ..first.clone() };
    assert_eq!(outbox.put(first.clone(), 0).expect("written"), Put::New(first.clone()));
    assert_eq!(outbox.put(again.clone(), 0).expect("written"), Put::Known(first.clone()));
    // To somebody else, or later, it is another one.
    let other = Entry { kind: Kind::Message, ..again.clone() };
    assert_eq!(outbox.put(other.clone(), 0).expect("written"), Put::New(other));
    let later = first.created_us + 1;
    let third = Entry { id: "3".to_owned(), ..again };
    assert_eq!(outbox.put(third.clone(), later).expect("written"), Put::New(third));
}

#[test]
fn a_configuration_is_refused_without_its_secret_in_the_words() {
    let bad = config(["hooks.example/canary", "", ""]).validate().expect_err("no address");
    assert!(bad.to_string().starts_with("notifications.security_webhook: ") && !bad.to_string().contains("canary"));
    assert!(!format!("{:?}", config(["http://h/canary", "", ""])).contains("canary"));
    let slow = Config { timeout: HumanDuration::from_secs(100), ..Config::default() };
    assert!(slow.validate().is_err());
    assert_eq!(Config::default().validate(), Ok(()));
}
