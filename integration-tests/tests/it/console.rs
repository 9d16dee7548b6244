//! The console in headless Chromium: the page as it stands after its first looks at a real node under load, in light and
//! dark, wide and as narrow as a phone; and its dialogs, worked with the keyboard, to the effect of what they offer.
//! Screenshots stay in `target/console` for whoever wants to see them.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use integration_tests::browser::Browser;
use integration_tests::node::Node;
use integration_tests::tool::{self, Said};
use integration_tests::until;
use wire::pb::orders::v1::order_service_client::OrderServiceClient;
use wire::pb::orders::v1::{OrderType, Side, SubmitOrderRequest};

/// Time that passes for the page, milliseconds; for us it is over when nothing is asked any more.
const PAGE_TIME: &str = "--virtual-time-budget=6000";

fn chromium(directory: &Path, arguments: &[&str]) -> Result<Said> {
    let profile = format!("--user-data-dir={}", directory.join("profile").display());
    let mut all = vec![
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--hide-scrollbars",
        "--enable-logging=stderr",
        PAGE_TIME,
        &profile,
    ];
    all.extend_from_slice(arguments);
    tool::run(&PathBuf::from("chromium"), &all, directory)
}

/// What stands between the first tag with this id and the next tag that closes it.
fn inside<'a>(page: &'a str, id: &str, close: &str) -> Result<&'a str> {
    let (_, rest) = page.split_once(&format!("id=\"{id}\"")).with_context(|| format!("no {id} on the page"))?;
    let (_, rest) = rest.split_once('>').context("a tag")?;
    Ok(rest.split_once(close).context("the end of a tag")?.0)
}

async fn quote(node: &Node) -> Result<()> {
    let mut client = OrderServiceClient::new(node.channel());
    for level in 0..20_i64 {
        for (side, price) in [(Side::Buy, 4_999_900 - level * 100), (Side::Sell, 5_000_100 + level * 100)] {
            let request = SubmitOrderRequest {
                account_id: 9,
                client_order_id: format!("q-{}-{level}", side as i32),
                symbol: "BTC-USD".to_owned(),
                side: side.into(),
                order_type: OrderType::Limit.into(),
                price,
                quantity: 1_000_000 * (1 + level.unsigned_abs() % 5),
                ..SubmitOrderRequest::default()
            };
            client.submit_order(request).await?;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r57_the_console_shows_a_live_system() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let node = Node::start(directory.path(), "all", crate::PLAIN).await?;
    quote(&node).await?;
    let url = format!("http://{}/", node.admin);

    let said = tokio::task::block_in_place(|| chromium(directory.path(), &["--dump-dom", &url]))?;
    let page = &said.out;
    let complaint = |line: &&str| {
        line.contains("CONSOLE") && ["Error", "Uncaught", "Failed to load"].iter().any(|word| line.contains(word))
    };
    assert_eq!(said.err.lines().find(complaint), None, "the page complains");
    assert_eq!(inside(page, "status", "<")?, "ok", "{page}");
    assert!(inside(page, "shards", "</tbody>")?.contains("hive-mind-0"), "the leader is shown");
    assert!(inside(page, "instances", "</tbody>")?.contains("order_engine"), "components are shown");
    assert!(inside(page, "pools", "</tbody>")?.contains("history"), "pools are shown");
    assert!(inside(page, "memory", "</tbody>")?.contains("MiB"), "memory is shown");
    assert!(inside(page, "levels", "</tbody>")?.contains("49999.00"), "the book is shown: {page}");
    let depth = page.split_once("id=\"chart-depth\"").context("the picture of the depth")?.1;
    assert!(depth.contains("bids for") && depth.contains("<path"), "and drawn, and told in words");
    assert!(inside(page, "symbol", "</select>")?.contains("AAPL"), "other books can be chosen");
    assert!(inside(page, "tile-requests", "<")?.ends_with("/s"), "rates are shown");

    let pictures = std::env::current_exe()?.ancestors().nth(3).context("the target directory")?.join("console");
    std::fs::create_dir_all(&pictures)?;
    for (name, size, dark) in
        [("wide-light", "1400,2000", false), ("wide-dark", "1400,2000", true), ("phone-light", "400,3600", false)]
    {
        let picture = pictures.join(format!("{name}.png"));
        let (shot, size) = (format!("--screenshot={}", picture.display()), format!("--window-size={size}"));
        let mut arguments = vec![shot.as_str(), size.as_str()];
        if dark {
            arguments.push("--blink-settings=preferredColorScheme=0");
        }
        arguments.push(&url);
        let said = tokio::task::block_in_place(|| chromium(directory.path(), &arguments))?;
        let bytes = std::fs::metadata(&picture).map(|file| file.len()).unwrap_or(0);
        assert!(bytes > 20_000, "{name} is an empty picture: {}", said.err);
    }
    assert!(node.terminate().await?.success());
    Ok(())
}

/// Opens the dialog of an act by the keyboard. It takes the reason first, and does nothing without one.
fn order(page: &mut Browser, act: &str) -> Result<()> {
    page.focus(&format!("[data-act=\"{act}\"]"))?;
    page.enter()?;
    let state =
        page.value("[document.getElementById('confirm').open, document.activeElement.id, document.getElementById('confirm-go').disabled]")?;
    assert_eq!(state, serde_json::json!([true, "confirm-reason", true]), "{act}");
    Ok(())
}

/// What came of the last act, once it begins so.
async fn outcome(page: &mut Browser, begin: &str, kind: &str) -> Result<String> {
    page.until(&format!("outcome.textContent.startsWith({begin:?}) && outcome.classList.contains({kind:?})"))
        .await
        .with_context(|| format!("{:?}", page.value("outcome.outerHTML")))?;
    Ok(page.value("outcome.textContent")?.as_str().unwrap_or_default().to_owned())
}

/// State of BTC-USD, and the prices in its book.
async fn market(node: &Node) -> Result<(String, usize)> {
    let told = node.get("/admin/instruments").await?;
    let all = told["instruments"].as_array().context("instruments")?;
    let state = all.iter().find(|one| one["symbol"] == "BTC-USD").context("BTC-USD")?["state"].clone();
    let book = node.get("/admin/book?symbol=BTC-USD&depth=40").await?;
    let levels = |side: &str| book[side].as_array().map_or(0, Vec::len);
    Ok((state.as_str().context("a state")?.to_owned(), levels("bids") + levels("asks")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r47_r57_what_the_console_offers_is_asked_for_done_or_refused() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let node = Node::start(directory.path(), "all", crate::PLAIN).await?;
    quote(&node).await?;
    let mut page = Browser::open(directory.path(), &format!("http://{}/", node.admin))?;
    page.until("document.getElementById('symbol')?.options.length > 1").await?;
    page.value("(symbol.value = 'BTC-USD', symbol.dispatchEvent(new Event('change')))")?;
    page.until("document.getElementById('symbol-state').textContent === 'continuous'").await?;

    // Whoever thinks again has done nothing; whoever shows no key is told to.
    order(&mut page, "halt")?;
    assert_eq!(page.value("document.getElementById('confirm-title').textContent")?, "Halt BTC-USD");
    page.write("a slip")?;
    page.escape()?;
    assert_eq!(
        page.value("[document.getElementById('confirm').open, outcome.textContent]")?,
        serde_json::json!([false, ""])
    );
    order(&mut page, "halt")?;
    page.write("a drill")?;
    page.enter()?;
    let told = outcome(&mut page, "Halt BTC-USD: ", "bad").await?;
    assert!(told.contains("Use a key of an operator."), "{told}");
    assert_eq!(market(&node).await?, ("continuous".to_owned(), 40));

    // With one it is done, seen on the page, and on the record with its reason.
    page.focus("#key-open")?;
    page.enter()?;
    page.focus("#key-value")?;
    page.write(node.key()?.reveal())?;
    page.enter()?;
    page.until("!document.getElementById('key').open && sessionStorage.getItem('key') !== null").await?;
    order(&mut page, "halt")?;
    page.write("a drill")?;
    page.enter()?;
    let told = outcome(&mut page, "Halt BTC-USD: done.", "ok").await?;
    assert!(told.contains("BTC-USD: continuous → halted, 40 resting orders"), "{told}");
    assert_eq!(market(&node).await?.0, "halted");
    page.until("document.getElementById('symbol-state').textContent === 'halted'").await?;
    let halted = node.json(&["audit", "search", "--action", "trading.halt"])?;
    let records = halted["records"].as_array().context("records")?;
    assert!(records.len() == 1 && records[0]["reason"] == "a drill", "{halted}");
    page.until("records.textContent.includes('trading.halt') && records.textContent.includes('a drill')").await?;

    // What would be done is only said.
    order(&mut page, "resume")?;
    page.write("a look")?;
    page.focus("#confirm-dry")?;
    page.enter()?;
    outcome(&mut page, "Resume BTC-USD: would be done.", "ok").await?;
    assert_eq!(market(&node).await?.0, "halted");
    // What the system refuses is told in its words.
    order(&mut page, "force-election")?;
    page.write("a drill")?;
    page.enter()?;
    let told = outcome(&mut page, "Move shard 0: ", "bad").await?;
    assert!(told.contains("engine") && !told.contains("key"), "{told}");

    // The red button wants its name.
    order(&mut page, "kill")?;
    page.write("a drill")?;
    page.enter()?;
    page.focus("#confirm-name")?;
    page.write("al")?;
    page.enter()?;
    let still = "[document.getElementById('confirm').open, document.getElementById('confirm-go').disabled]";
    assert_eq!(page.value(still)?, serde_json::json!([true, true]));
    assert_eq!(market(&node).await?.1, 40);
    page.write("l")?;
    page.enter()?;
    outcome(&mut page, "Kill switch: done.", "ok").await?;
    until("the book is empty", async || Ok(market(&node).await?.1 == 0)).await?;
    assert!(node.terminate().await?.success());
    Ok(())
}
