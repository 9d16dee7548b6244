//! Matching over a plain vector of orders: find the best one, do what is due, look again.

use super::acceptable;
use types::{InstrumentId, OrderSnapshot, Price, Qty, SelfTradePrevention, Side, Trade, TradeId};

/// One thing that happened; orders are as they are after it.
pub(super) enum Step {
    /// A trade, its number not given yet, and the maker.
    Trade(Trade, OrderSnapshot),
    Decrement {
        maker: OrderSnapshot,
        taker: OrderSnapshot,
        by: Qty,
    },
    CancelMaker(OrderSnapshot),
    CancelTaker,
}

/// Distance from the best possible price: the smaller the better.
fn badness(side: Side, price: Price) -> i128 {
    match side {
        Side::Buy => -i128::from(price.0),
        Side::Sell => i128::from(price.0),
    }
}

/// The orders of one side in the order they would trade.
pub(super) fn in_turn(orders: &[OrderSnapshot], instrument: InstrumentId, side: Side) -> Vec<OrderSnapshot> {
    let mut found: Vec<OrderSnapshot> =
        orders.iter().filter(|order| order.instrument == instrument && order.side == side).copied().collect();
    found.sort_by_key(|order| (badness(side, order.price), order.priority));
    found
}

/// Matches `taker`, which is not among `orders`, and takes what is done out of `orders`.
pub(super) fn match_order(orders: &mut Vec<OrderSnapshot>, taker: &mut OrderSnapshot) -> Vec<Step> {
    let mut steps = Vec::new();
    while taker.leaves > Qty(0) {
        let side = taker.side.opposite();
        let best = orders
            .iter_mut()
            .filter(|order| order.instrument == taker.instrument && order.side == side)
            .filter(|order| acceptable(taker.side, taker.price, order.price))
            .min_by_key(|order| (badness(side, order.price), order.priority));
        let Some(maker) = best else { break };
        let quantity = if maker.leaves < taker.leaves { maker.leaves } else { taker.leaves };
        if maker.account != taker.account {
            maker.leaves.0 -= quantity.0;
            maker.cumulative.0 += quantity.0;
            taker.leaves.0 -= quantity.0;
            taker.cumulative.0 += quantity.0;
            let trade = Trade {
                trade_id: TradeId(0),
                instrument: taker.instrument,
                price: maker.price,
                quantity,
                maker: maker.order_id,
                maker_account: maker.account,
                maker_leaves: maker.leaves,
                maker_cumulative: maker.cumulative,
                taker: taker.order_id,
                taker_account: taker.account,
                taker_side: taker.side,
                taker_leaves: taker.leaves,
                taker_cumulative: taker.cumulative,
            };
            steps.push(Step::Trade(trade, *maker));
        } else {
            match taker.self_trade_prevention {
                SelfTradePrevention::CancelNewest => {
                    steps.push(Step::CancelTaker);
                    break;
                }
                SelfTradePrevention::CancelOldest => {
                    steps.push(Step::CancelMaker(*maker));
                    maker.leaves = Qty(0);
                }
                SelfTradePrevention::CancelBoth => {
                    steps.push(Step::CancelMaker(*maker));
                    steps.push(Step::CancelTaker);
                    maker.leaves = Qty(0);
                    orders.retain(|order| order.leaves > Qty(0));
                    break;
                }
                SelfTradePrevention::Decrement => {
                    maker.leaves.0 -= quantity.0;
                    taker.leaves.0 -= quantity.0;
                    steps.push(Step::Decrement { maker: *maker, taker: *taker, by: quantity });
                }
            }
        }
        orders.retain(|order| order.leaves > Qty(0));
    }
    steps
}
