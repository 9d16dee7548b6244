//! Instruments, their states, limits: what operators change.

use crate::check::{Desk, check};

#[test]
fn the_same_command_again_changes_nothing() {
    check(
        "define B lot=2 min=2                => defined 1 | Done 0/0
         define B lot=2 min=2                => | Done 0/0
         define B lot=1                      => no InstrumentExists | Rejected 0/0
         state 1 Halted                      => state 1 Halted | Done 0/0
         state 1 Halted                      => | Done 0/0
         define B lot=2 min=2                => | Done 0/0
         state 2 Halted                      => no UnknownInstrument | Rejected 0/0
         limit 7 3                           => limit 7 3 | Done 0/0
         limit 7 3                           => | Done 0/0
         limit 0 3                           => no InvalidAccount | Rejected 0/0
         rules open=5                        => rules | Done 0/0
         rules open=5                        => | Done 0/0
         rules window=0                      => no InvalidRules | Rejected 0/0
         rules capacity=0                    => no InvalidRules | Rejected 0/0
         kept                                => 0",
    );
}

#[test]
fn definitions_that_allow_no_order_are_refused() {
    check(
        "define B tick=0                     => no InvalidInstrument | Rejected 0/0
         define B lot=0                      => no InvalidInstrument | Rejected 0/0
         define B lot=10 min=9               => no InvalidInstrument | Rejected 0/0
         define B min=9 max=8                => no InvalidInstrument | Rejected 0/0
         define B lot=10 min=11 max=19       => no InvalidInstrument | Rejected 0/0
         define B low=2 high=1               => no InvalidInstrument | Rejected 0/0
         define B tick=10 low=1 high=9       => no InvalidInstrument | Rejected 0/0
         define B tick=10 low=-9 high=-1     => no InvalidInstrument | Rejected 0/0
         define B decimals=13                => no InvalidInstrument | Rejected 0/0
         define B band=5                     => no InvalidInstrument | Rejected 0/0
         define B band=5 reference=9 low=10  => no InvalidInstrument | Rejected 0/0
         define B tick=10 low=-9 high=0 decimals=12 => defined 1 | Done 0/0
         define C band=5 reference=-9        => defined 2 | Done 0/0
         define D lot=10 min=11 max=20       => defined 3 | Done 0/0",
    );
}

#[test]
fn states_allow_what_they_say() {
    let mut desk = Desk::new();
    desk.line("define A");
    for (number, state) in ["PreOpen", "Halted", "CancelOnly", "Closed"].into_iter().enumerate() {
        let cancels = state != "Closed";
        let shrinks = state == "CancelOnly";
        let refused = "no InstrumentNotTrading | Rejected 0/0";
        desk.line("state 0 Continuous");
        for order in ["a", "b", "c"] {
            desk.line(&format!("submit 1 {order}{number} sell 5@100"));
        }
        desk.line(&format!("state 0 {state}"));
        assert_eq!(desk.line(&format!("submit 2 d{number} buy 5@100 ioc")), refused, "{state}");
        let shrunk = desk.line(&format!("replace 1 e{number} a{number} 4@100"));
        assert_eq!(shrunk.starts_with("keep"), shrinks, "{state}: {shrunk}");
        assert!(shrinks || shrunk == refused, "{state}: {shrunk}");
        for what in ["6@100", "4@101"] {
            let moved = desk.line(&format!("replace 1 f{number}{what} a{number} {what}"));
            assert!(moved.starts_with("no InstrumentNotTrading"), "{state}: {moved}");
        }
        let canceled = desk.line(&format!("cancel 1 g{number} a{number}"));
        assert_eq!(canceled.starts_with("off"), cancels, "{state}: {canceled}");
        let canceled = desk.line(&format!("mass 1 h{number} on 0"));
        assert_eq!(canceled.ends_with("x2"), cancels, "{state}: {canceled}");
        assert!(cancels || canceled == refused, "{state}: {canceled}");
        assert_eq!(desk.line("book"), "/", "{state}");
    }
}

#[test]
fn closing_cancels_everything_in_the_order_it_would_have_traded() {
    check(
        "define B                => defined 1 | Done 0/0
         submit 1 a sell 5@101   => accept #1, rest #1 5@101 | New 0/5
         submit 1 b buy 5@90     => accept #2, rest #2 5@90 | New 0/5
         submit 2 c sell 5@100   => accept #3, rest #3 5@100 | New 0/5
         submit 2 d buy 5@91     => accept #4, rest #4 5@91 | New 0/5
         submit 3 e buy 5@90     => accept #5, rest #5 5@90 | New 0/5
         submit 3 f buy 5@90 on 1 => accept #6, rest #6 5@90 | New 0/5
         state 0 Closed          => state 0 Closed, off #4 5 InstrumentClosed, off #2 5 InstrumentClosed, off #5 5 InstrumentClosed, off #3 5 InstrumentClosed, off #1 5 InstrumentClosed | Done 0/0
         order 1 a               => #1 sell 5@101 Canceled 0/0
         cancel 1 g a            => no InstrumentNotTrading | Rejected 0/0
         mass 3 h                => off #6 5 MassCancel | Canceled 0/0 x1
         state 0 PreOpen         => state 0 PreOpen | Done 0/0
         state 0 Continuous      => state 0 Continuous | Done 0/0
         submit 1 i sell 5@101   => accept #7, rest #7 5@101 | New 0/5",
    );
}

#[test]
fn an_instrument_starts_in_its_state() {
    check(
        "define B state=PreOpen  => defined 1 | Done 0/0
         submit 1 a buy 5@90 on 1 => no InstrumentNotTrading | Rejected 0/0
         state 1 Continuous      => state 1 Continuous | Done 0/0
         define B state=PreOpen  => | Done 0/0
         submit 1 b buy 5@90 on 1 => accept #1, rest #1 5@90 | New 0/5",
    );
}
