//! One voter behind several gateways: any of them may go away while orders are on their way.

use order_engine::Config;
use wire::pb::marketdata::v1::GetBookRequest;
use wire::status::{ApiError, ErrorCode};

use crate::support::requests::{SYMBOL, buy};
use crate::support::{Door, Engine, Rig};

const ACCOUNTS: u64 = 8;

fn two_ways() -> Rig {
    let mut rig = Rig::with(Config { answer_timeout_ms: 60_000, ..Config::default() });
    rig.ways.push(rig.voter.another_way());
    rig
}

/// Every account submits orders, one after another, until it is told to stop; the answer is how many.
async fn load(engine: &Engine, stop: &std::sync::atomic::AtomicBool) -> u64 {
    let account = |account| {
        let mut orders = engine.orders();
        async move {
            let mut number = 0;
            while !stop.load(std::sync::atomic::Ordering::SeqCst) {
                let request = buy(account + 1, &format!("o{number}"), 1000, 1);
                match orders.submit_order(request).await {
                    Ok(response) => {
                        assert!(!response.into_inner().report.unwrap().duplicate, "executed twice or answered twice");
                        number += 1;
                    }
                    Err(status) => {
                        assert_eq!(ApiError::from_status(&status).code, ErrorCode::NotReady);
                        engine.ready().await;
                    }
                }
            }
            number
        }
    };
    futures::future::join_all((0..ACCOUNTS).map(account)).await.into_iter().sum()
}

async fn progress(engine: &Engine) {
    let applied = engine.digest().await.as_of_seq;
    while engine.digest().await.as_of_seq <= applied + 3 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_goes_on_over_another_gateway() {
    let rig = two_ways();
    let engine = rig.start().await;
    let epoch = engine.detail("epoch-0");
    let stop = std::sync::atomic::AtomicBool::new(false);
    let faults = async {
        for round in 0..12 {
            let (here, there) = if round % 2 == 0 { (&rig.voter, &rig.ways[0]) } else { (&rig.ways[0], &rig.voter) };
            there.set_door(Door::Open);
            // What was written and not answered is sent again over the other way.
            rig.voter.lose_next_answer();
            here.set_door(if round % 4 == 3 { Door::Silent } else { Door::Shut });
            progress(&engine).await;
        }
        stop.store(true, std::sync::atomic::Ordering::SeqCst);
    };
    let (orders, ()) = tokio::join!(load(&engine, &stop), faults);
    engine.ready().await;
    let request = GetBookRequest { symbol: SYMBOL.to_owned(), depth: 1, ..Default::default() };
    let book = engine.market_data().get_book(request).await.unwrap().into_inner().book.unwrap();
    assert_eq!(book.bids[0].quantity, orders);
    assert_eq!(engine.detail("epoch-0"), epoch, "the leadership was not lost");
    engine.stop().await;
}

/// Fence, snapshot and entries are asked for over whichever way there is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_starts_while_a_gateway_is_gone() {
    let rig = two_ways();
    for (here, there) in [(&rig.voter, &rig.ways[0]), (&rig.ways[0], &rig.voter)] {
        here.set_door(Door::Shut);
        there.set_door(Door::Open);
        let engine = rig.start().await;
        for n in 0..3 {
            engine.orders().submit_order(buy(1, &format!("o{n}"), 1000, 1)).await.unwrap();
        }
        engine.stop().await;
    }
    assert!(rig.voter.snapshots_read() >= 2, "{}", rig.voter.snapshots_read());
}
