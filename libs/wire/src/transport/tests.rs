//! Addresses as operators write them.

use super::*;

#[test]
fn addresses_read_back() {
    for (text, expected) in [
        ("127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://localhost:1", "http://localhost:1"),
        ("[::1]:9", "http://[::1]:9"),
        ("https://a:1", "https://a:1"),
    ] {
        let address: Address = text.parse().expect(text);
        assert_eq!(address.to_string(), expected);
    }
    for text in ["", "localhost", "http://a:1/path", "https://a", "ftp://a:1", ":80", "a b:1"] {
        assert!(text.parse::<Address>().is_err(), "{text}");
    }
}
