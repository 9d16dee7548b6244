//! Commands and the rows they become, spelled out.

use types::{
    AccountId, Cancel, ClientOrderId, Command, Instrument, InstrumentId, InstrumentState, MassCancel, OrderTarget,
    OrderType, Price, Qty, Replace, SelfTradePrevention, Side, Submit, Symbol, TimeInForce,
};
use wire::pb::history::v1 as pb;

use crate::support::{Gateway, Leader, START, config};

fn id(text: &str) -> ClientOrderId {
    ClientOrderId::new(text).unwrap()
}

fn instrument() -> Command {
    Command::DefineInstrument(Instrument {
        symbol: Symbol::new("ABC").unwrap(),
        price_decimals: 2,
        quantity_decimals: 0,
        tick_size: 1,
        lot_size: 1,
        min_quantity: Qty(1),
        max_quantity: Qty(1_000),
        max_notional: 0,
        low_limit_price: Price(1),
        high_limit_price: Price(10_000),
        band_basis_points: 0,
        reference_price: Price(100),
        state: InstrumentState::Continuous,
    })
}

fn submit(account: u64, name: &str, side: Side, price: i64, quantity: u64, stp: SelfTradePrevention) -> Command {
    Command::Submit(Submit {
        account: AccountId(account),
        client_order_id: id(name),
        instrument: InstrumentId(0),
        side,
        order_type: OrderType::Limit,
        time_in_force: TimeInForce::GoodTillCancel,
        post_only: false,
        price: Price(price),
        quantity: Qty(quantity),
        self_trade_prevention: stp,
    })
}

fn line(row: &pb::Execution) -> String {
    let place = row.place.as_ref().unwrap();
    let number = |id: u64| id & 0xffff_ffff_ffff;
    let kind = row.kind().as_str_name().trim_start_matches("EXECUTION_KIND_").to_lowercase();
    let reason = row.reject_reason().as_str_name().trim_start_matches("REJECT_REASON_").to_lowercase();
    format!(
        "{}.{} {kind} order {} of {} by [{}] {} {}@{} cum {} leaves {}{}{}",
        place.index,
        row.number,
        number(row.order_id),
        row.account_id,
        row.client_order_id,
        row.side().as_str_name().trim_start_matches("SIDE_").to_lowercase(),
        row.quantity,
        row.price,
        row.cumulative_quantity,
        row.leaves_quantity,
        if row.trade_id == 0 { String::new() } else { format!(" trade {}", number(row.trade_id)) },
        if reason == "unspecified" { String::new() } else { format!(" {reason}") },
    )
}

/// Everything that can happen to an order, once.
fn commands() -> [Command; 12] {
    use SelfTradePrevention::{CancelNewest, CancelOldest, Decrement};
    let cancel = |account, name: &str, target: &str| {
        let (account, client_order_id) = (AccountId(account), id(name));
        let target = OrderTarget::ClientOrderId(id(target));
        Command::Cancel(Cancel { account, client_order_id, instrument: InstrumentId(0), target })
    };
    [
        instrument(),
        submit(1, "m1", Side::Sell, 100, 10, CancelNewest),
        submit(2, "t1", Side::Buy, 101, 4, CancelNewest),
        Command::Replace(Replace {
            account: AccountId(1),
            client_order_id: id("r1"),
            instrument: InstrumentId(0),
            target: OrderTarget::ClientOrderId(id("m1")),
            price: Price(100),
            quantity: Qty(8),
        }),
        submit(1, "own", Side::Buy, 100, 1, CancelOldest),
        cancel(1, "c1", "m1"),
        submit(1, "s2", Side::Sell, 100, 5, CancelNewest),
        submit(3, "a", Side::Sell, 105, 3, CancelNewest),
        submit(3, "b", Side::Buy, 105, 2, Decrement),
        submit(9, "bad", Side::Buy, 99_999, 2, CancelNewest),
        // A retry leaves no trace.
        submit(2, "t1", Side::Buy, 101, 4, CancelNewest),
        Command::MassCancel(MassCancel {
            account: AccountId(3),
            client_order_id: id("all"),
            instrument: None,
            side: None,
        }),
    ]
}

#[tokio::test]
async fn each_command_becomes_the_rows_it_should() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(config(), dir.path()).await;
    let mut leader = Leader::elect(&gateway, 1, START).await;
    let entry = leader.batch(&commands());
    leader.append(vec![entry]).await;
    gateway.stop().await;

    let gateway = Gateway::start(config(), dir.path()).await;
    let mut history = gateway.history();
    let answer = history.list_executions(pb::ListExecutionsRequest::default()).await.unwrap().into_inner();
    let found: Vec<String> = answer.executions.iter().rev().map(line).collect();
    let expected = [
        "1.0 new order 1 of 1 by [m1] sell 10@100 cum 0 leaves 10",
        "2.0 new order 2 of 2 by [t1] buy 4@101 cum 0 leaves 4",
        "2.1 trade order 2 of 2 by [t1] buy 4@100 cum 4 leaves 0 trade 1",
        "2.2 trade order 1 of 1 by [] sell 4@100 cum 4 leaves 6 trade 1",
        "3.0 replaced order 1 of 1 by [r1] sell 8@100 cum 4 leaves 4",
        "4.0 new order 3 of 1 by [own] buy 1@100 cum 0 leaves 1",
        "4.1 canceled order 1 of 1 by [] sell 4@100 cum 4 leaves 0",
        "5.0 rejected order 1 of 1 by [c1] unspecified 0@0 cum 4 leaves 0 order_closed",
        "6.0 new order 4 of 1 by [s2] sell 5@100 cum 0 leaves 5",
        "6.1 canceled order 4 of 1 by [s2] sell 5@100 cum 0 leaves 0",
        "7.0 new order 5 of 3 by [a] sell 3@105 cum 0 leaves 3",
        "8.0 new order 6 of 3 by [b] buy 2@105 cum 0 leaves 2",
        "8.1 decremented order 5 of 3 by [] sell 2@105 cum 0 leaves 1",
        "8.2 decremented order 6 of 3 by [b] buy 2@105 cum 0 leaves 0",
        "9.0 rejected order 0 of 9 by [bad] buy 2@99999 cum 0 leaves 0 price_outside_limits",
        "11.0 canceled order 5 of 3 by [all] sell 1@105 cum 0 leaves 0",
    ];
    assert_eq!(found, expected, "{found:#?}");

    assert_orders(&gateway).await;
    gateway.stop().await;
}

async fn assert_orders(gateway: &Gateway) {
    let answer = gateway.history().list_orders(pb::ListOrdersRequest::default()).await.unwrap().into_inner();
    let states: Vec<String> = answer
        .orders
        .iter()
        .rev()
        .map(|row| {
            let order = row.order.as_ref().unwrap();
            let status = order.status().as_str_name().trim_start_matches("ORDER_STATUS_").to_lowercase();
            let (cumulative, leaves) = (order.cumulative_quantity, order.leaves_quantity);
            format!(
                "{} {status} {}@{} cum {cumulative} leaves {leaves}",
                order.client_order_id, order.quantity, order.price
            )
        })
        .collect();
    let expected = [
        "m1 canceled 8@100 cum 4 leaves 0",
        "t1 filled 4@101 cum 4 leaves 0",
        "own new 1@100 cum 0 leaves 1",
        "s2 canceled 5@100 cum 0 leaves 0",
        "a canceled 3@105 cum 0 leaves 0",
        "b filled 2@105 cum 0 leaves 0",
        "bad rejected 2@99999 cum 0 leaves 0",
    ];
    assert_eq!(states, expected, "{states:#?}");
}
