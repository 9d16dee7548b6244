//! Whatever is sent, a conversion answers: with a command, or with an error that names a field that exists.

use bytes::Bytes;
use proptest::prelude::*;
use prost::Message;

use super::OneInstrument;
use crate::convert;
use crate::pb::{admin, consensus, history, journal, marketdata, orders};
use crate::status::{ApiError, ErrorCode};

/// Texts at and beyond the edges of what is allowed.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), "[!-~]{1,40}", ".{0,50}", Just("ACME".to_owned())]
}

/// Numbers of enums, most of them near the known ones.
fn number() -> impl Strategy<Value = i32> {
    prop_oneof![4 => -2..25_i32, 1 => any::<i32>()]
}

fn quantity() -> impl Strategy<Value = u64> {
    prop_oneof![0..3_u64, any::<u64>(), Just(u64::MAX)]
}

fn submit() -> impl Strategy<Value = orders::v1::SubmitOrderRequest> {
    let texts = (text(), text());
    let numbers = (number(), number(), number(), number());
    (quantity(), texts, numbers, any::<bool>(), any::<i64>(), quantity()).prop_map(
        |(account_id, (client_order_id, symbol), numbers, post_only, price, quantity)| {
            let (side, order_type, time_in_force, self_trade_prevention) = numbers;
            orders::v1::SubmitOrderRequest {
                account_id,
                client_order_id,
                symbol,
                side,
                order_type,
                time_in_force,
                post_only,
                price,
                quantity,
                self_trade_prevention,
            }
        },
    )
}

fn names_a_field<T>(result: Result<T, ApiError>, fields: &[&str]) -> Result<(), TestCaseError> {
    if let Err(error) = result {
        prop_assert_eq!(error.code, ErrorCode::InvalidArgument);
        let field = error.field.unwrap_or_default();
        prop_assert!(fields.contains(&field.as_str()), "{}", field);
    }
    Ok(())
}

const SUBMIT_FIELDS: &[&str] = &[
    "account_id",
    "client_order_id",
    "symbol",
    "side",
    "order_type",
    "time_in_force",
    "quantity",
    "self_trade_prevention",
];

/// Decodes `bytes` as each request there is and converts what can be decoded.
fn decode_and_convert(bytes: &Bytes) {
    macro_rules! each {
        ($($message:ty => $convert:expr;)+) => {
            $(if let Ok(message) = <$message>::decode(bytes.clone()) {
                let _ = $convert(message);
            })+
        };
    }
    each! {
        orders::v1::SubmitOrderRequest => |m| convert::submit(&m, &OneInstrument);
        orders::v1::CancelOrderRequest => |m| convert::cancel(&m, &OneInstrument);
        orders::v1::ReplaceOrderRequest => |m| convert::replace(&m, &OneInstrument);
        orders::v1::MassCancelRequest => |m| convert::mass_cancel(&m, &OneInstrument);
        orders::v1::OrderSessionRequest => |m| convert::session_command(&m, &OneInstrument);
        orders::v1::GetOrderRequest => |m| convert::order_key(&m);
        admin::v1::DefineInstrumentRequest => |m| convert::define_instrument(&m);
        admin::v1::SetInstrumentStateRequest => |m| convert::set_instrument_state(&m, &OneInstrument);
        marketdata::v1::GetBookRequest => |m| convert::book_request(&m);
        history::v1::ListOrdersRequest => |m| convert::list_orders(&m);
        history::v1::ListExecutionsRequest => |m| convert::list_executions(&m);
        history::v1::ListTradesRequest => |m| convert::list_trades(&m);
        journal::v1::FenceRequest => |m| convert::fence_request(&m);
        journal::v1::FenceResponse => |m| convert::fence_reply(&m);
        journal::v1::AppendRequest => convert::append_request;
        journal::v1::AppendResponse => |m| convert::append_reply(&m);
        consensus::v1::Engine => |m| convert::engine("engine", Some(&m));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    #[test]
    fn any_order_is_taken_or_refused_by_field(request in submit()) {
        names_a_field(convert::submit(&request, &OneInstrument), SUBMIT_FIELDS)?;
    }

    /// Fields of other requests land in each one, at the right and at the wrong numbers.
    #[test]
    fn any_bytes_are_survived(request in submit(), noise in prop::collection::vec(any::<u8>(), 0..200)) {
        decode_and_convert(&Bytes::from(request.encode_to_vec()));
        let nested = orders::v1::OrderSessionRequest {
            client_seq: 1,
            command: Some(orders::v1::order_session_request::Command::Submit(request)),
            ..Default::default()
        };
        decode_and_convert(&Bytes::from(nested.encode_to_vec()));
        decode_and_convert(&Bytes::from(noise));
    }
}
