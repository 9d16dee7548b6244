//! Random requests, most of them wrong: the engine answers each and goes on.

use std::sync::Arc;

use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;
use wire::pb::orders::v1::order_session_request::Command;
use wire::pb::orders::v1::order_session_response::Result as Answered;
use wire::pb::orders::v1::{self as pb, cancel_order_request, replace_order_request};

use crate::support::Rig;
use crate::support::requests::{SYMBOL, buy};

const REQUESTS: u64 = 10_000;

struct Fuzz(ChaCha8Rng);

impl Fuzz {
    fn account(&mut self) -> u64 {
        *[0, 1, 2, 3, u64::MAX].choose(&mut self.0).unwrap()
    }

    fn id(&mut self) -> String {
        match self.0.random_range(0..10) {
            0 => String::new(),
            1 => "with a space".to_owned(),
            2 => "ü".repeat(20),
            3 => "x".repeat(self.0.random_range(30..50)),
            _ => format!("id{}", self.0.random_range(0..500)),
        }
    }

    fn symbol(&mut self) -> String {
        (*[SYMBOL, SYMBOL, "BTC-USD", "NOPE", "", "MUCH-TOO-LONG-A-NAME"].choose(&mut self.0).unwrap()).to_owned()
    }

    fn price(&mut self) -> i64 {
        *[0, 100, 1000, 1100, 1234, -100, i64::MIN, i64::MAX].choose(&mut self.0).unwrap()
    }

    fn quantity(&mut self) -> u64 {
        *[0, 1, 5, 1_000_000, u64::MAX].choose(&mut self.0).unwrap()
    }

    fn number(&mut self) -> u64 {
        *[0, 1, 2, 50, u64::MAX].choose(&mut self.0).unwrap()
    }

    fn word(&mut self) -> i32 {
        *[0, 1, 1, 2, 2, 3, 4, -1, 99, i32::MIN].choose(&mut self.0).unwrap()
    }

    fn command(&mut self) -> Option<Command> {
        Some(match self.0.random_range(0..9) {
            0..5 => Command::Submit(pb::SubmitOrderRequest {
                account_id: self.account(),
                client_order_id: self.id(),
                symbol: self.symbol(),
                side: self.word(),
                order_type: self.word(),
                time_in_force: self.word(),
                post_only: self.0.random(),
                price: self.price(),
                quantity: self.quantity(),
                self_trade_prevention: self.word(),
            }),
            5 => Command::Cancel(pb::CancelOrderRequest {
                account_id: self.account(),
                client_order_id: self.id(),
                symbol: self.symbol(),
                target: self.0.random::<bool>().then(|| cancel_order_request::Target::OrderId(self.number())),
            }),
            6 => Command::Replace(pb::ReplaceOrderRequest {
                account_id: self.account(),
                client_order_id: self.id(),
                symbol: self.symbol(),
                target: Some(replace_order_request::Target::OriginalClientOrderId(self.id())),
                price: self.price(),
                quantity: self.quantity(),
            }),
            7 => Command::MassCancel(pb::MassCancelRequest {
                account_id: self.account(),
                client_order_id: self.id(),
                symbol: self.symbol(),
                side: self.word(),
            }),
            _ => return None,
        })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_requests_are_answered_and_break_nothing() {
    let rig = Rig::new();
    let engine = rig.start().await;
    let mut fuzz = Fuzz(ChaCha8Rng::seed_from_u64(11));
    let (requests, queue) = mpsc::channel(64);
    let mut answers = engine.orders().order_session(ReceiverStream::new(queue)).await.unwrap().into_inner();
    // Well within what a session may have unanswered.
    let room = Arc::new(Semaphore::new(500));
    let permits = Arc::clone(&room);
    let sender = tokio::spawn(async move {
        for client_seq in 0..REQUESTS {
            permits.acquire().await.unwrap().forget();
            let request = pb::OrderSessionRequest { client_seq, command: fuzz.command(), ..Default::default() };
            requests.send(request).await.unwrap();
        }
    });
    let (mut reports, mut errors) = (0_u64, 0_u64);
    for client_seq in 0..REQUESTS {
        let answer = answers.message().await.unwrap().unwrap();
        room.add_permits(1);
        assert_eq!(answer.client_seq, client_seq);
        match answer.result.unwrap() {
            Answered::Report(_) => reports += 1,
            Answered::Error(error) => {
                assert_eq!(error.code, Code::InvalidArgument as i32, "{}", error.message);
                errors += 1;
            }
        }
    }
    sender.await.unwrap();
    assert!(reports > 500 && errors > 500, "{reports} answered, {errors} refused");
    let good = buy(77, "good", 1000, 1);
    assert!(engine.orders().submit_order(good).await.unwrap().into_inner().report.unwrap().order_id > 0);
    let before = engine.digest().await;
    engine.kill().await;
    rig.coordinator.free();
    let engine = rig.start().await;
    assert_eq!(engine.digest().await.state_hash, before.state_hash, "and it replays");
    engine.stop().await;
}
