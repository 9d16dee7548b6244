//! What clients did: when each operation began, when it came back and with what.
