//! What a coordinator's word changes, without a coordinator.

use super::*;
use crate::health::EngineHealth;
use service_kit::Components;
use types::Incarnation;

struct Fixture {
    session: Session,
    said: mpsc::Receiver<Said>,
    components: Components,
}

fn own() -> Engine {
    Engine { name: "own".to_owned(), incarnation: Incarnation(1), address: "http://own:1".to_owned() }
}

fn fixture() -> Fixture {
    let components = Components::new();
    let health = EngineHealth::new(components.register("engine"), 1);
    let (said_in, said) = mpsc::channel(8);
    let standing = Standing {
        shard: ShardId(0),
        status: Arc::default(),
        published: Arc::new(Published::new("starting")),
        health: health.of(ShardId(0)),
        said: said_in,
    };
    let nowhere = wire::transport::connect(&"http://127.0.0.1:9".parse().unwrap(), &Default::default());
    let coordinators = Coordinators::new(vec![nowhere]).unwrap();
    let session = Session::new(own(), coordinators, vec![standing], Arc::default());
    Fixture { session, said, components }
}

fn leader(incarnation: u128, epoch: u64) -> pb::ShardLeader {
    let engine = Engine {
        name: "other".to_owned(),
        incarnation: Incarnation(incarnation),
        address: "http://other:1".to_owned(),
    };
    pb::ShardLeader {
        shard: 0,
        engine: Some(convert::engine_to_pb(&engine)),
        epoch: Some(convert::epoch_to_pb(Epoch { number: epoch, owner: Incarnation(incarnation) })),
        ..Default::default()
    }
}

fn said_by(leaders: Vec<pb::ShardLeader>) -> pb::HeartbeatResponse {
    pb::HeartbeatResponse { leaders, ..Default::default() }
}

impl Fixture {
    fn epoch(&self, number: u64) {
        self.session.shards[0].status.epoch.store(number, Ordering::Relaxed);
    }

    fn hint(&self) -> Option<(String, u64)> {
        let leader = self.session.shards[0].published.leader.load();
        leader.as_ref().map(|hint| (hint.engine.clone(), hint.epoch))
    }

    fn learns(&self, leaders: Vec<pb::ShardLeader>) {
        for leader in said_by(leaders).leaders {
            self.session.shards[0].learn(&self.session.engine, &leader);
        }
    }
}

#[tokio::test]
async fn the_newest_leader_is_known_until_there_is_none() {
    let fixture = fixture();
    fixture.learns(vec![leader(2, 7)]);
    assert_eq!(fixture.hint(), Some(("other".to_owned(), 7)));
    assert!(fixture.components.is_ready(), "it follows");
    fixture.learns(vec![leader(3, 6)]);
    assert_eq!(fixture.hint(), Some(("other".to_owned(), 7)), "a coordinator that lags behind");
    fixture.learns(vec![pb::ShardLeader::default()]);
    assert_eq!(fixture.hint(), None);
    fixture.epoch(8);
    fixture.learns(vec![leader(2, 9)]);
    assert_eq!(fixture.hint(), None, "whoever leads knows better, until it is told otherwise");
}

#[tokio::test]
async fn only_an_answer_to_the_present_epoch_deposes() {
    let mut fixture = fixture();
    fixture.epoch(4);
    let first = fixture.session.beats();
    let mut stream = Told { number: 1, since: vec![1], last: first };
    let deposed = |number| pb::HeartbeatResponse { number, deposed_shards: vec![0], ..Default::default() };
    let heard = |fixture: &mut Fixture, told: &Told, answer: &pb::HeartbeatResponse| {
        fixture.session.heard(told, answer);
        fixture.said.try_recv().ok()
    };
    assert_eq!(heard(&mut fixture, &stream, &deposed(1)), Some(Said::Deposed));
    assert_eq!(heard(&mut fixture, &stream, &deposed(0)), Some(Said::Deposed), "unasked");
    let kept = pb::HeartbeatResponse { leaders: vec![leader(1, 4)], ..deposed(1) };
    assert_eq!(heard(&mut fixture, &stream, &kept), None, "it is named in the same breath");
    fixture.epoch(5);
    assert_eq!(heard(&mut fixture, &stream, &deposed(0)), None, "the coordinator has not heard of the new epoch");
    let now = fixture.session.beats();
    stream.note(now);
    assert_eq!(heard(&mut fixture, &stream, &deposed(1)), None, "an answer to what was said of the old one");
    assert_eq!(heard(&mut fixture, &stream, &deposed(2)), Some(Said::Deposed));
    fixture.epoch(0);
    assert_eq!(heard(&mut fixture, &stream, &deposed(2)), None, "there is nothing to lose");
}

#[tokio::test]
async fn offers_and_requests_to_resign_reach_their_shard() {
    let mut fixture = fixture();
    let told = Told { number: 1, since: vec![1], last: fixture.session.beats() };
    let resign = pb::Resign { shard: 0, epoch: 4, reason: "drain".to_owned() };
    let answer = pb::HeartbeatResponse { offered_shards: vec![0, 9], resigns: vec![resign], ..Default::default() };
    fixture.session.heard(&told, &answer);
    assert_eq!(fixture.said.try_recv().ok(), Some(Said::Resign { epoch: 4 }));
    assert_eq!(fixture.said.try_recv().ok(), Some(Said::Offered));
    assert!(fixture.said.try_recv().is_err());
}

#[tokio::test]
async fn a_change_of_epoch_role_or_journal_is_news() {
    let fixture = fixture();
    let before = fixture.session.beats();
    assert!(!news(&before, &fixture.session.beats()));
    fixture.session.shards[0].status.applied.store(7, Ordering::Relaxed);
    assert!(!news(&before, &fixture.session.beats()), "progress waits for its time");
    fixture.session.shards[0].status.journal_reachable.store(true, Ordering::Relaxed);
    assert!(news(&before, &fixture.session.beats()));
    let before = fixture.session.beats();
    fixture.epoch(1);
    assert!(news(&before, &fixture.session.beats()));
}
