//! The key a client shows: its form, how it is kept out of logs, and the header it travels in.
//!
//! Deliberately absent: which keys there are and what they allow; that is the server's (`service-kit`).

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use http::HeaderValue;
use http::header::{AUTHORIZATION, HeaderMap};

/// Every key begins so, which lets scanners of repositories and logs find one that was lost.
const PREFIX: &str = "hm_";

/// Longest id, characters.
const ID_MAX: usize = 32;

/// The secret, characters: 32 random bytes in hexadecimal.
pub const SECRET_LENGTH: usize = 64;

/// Id of the key that opens one node to whoever is beside it. To other nodes it means nothing.
pub const LOCAL_ID: &str = "local-admin";

/// Scheme of the header.
const SCHEME: &str = "Bearer ";

/// `hm_<id>_<secret>`. Not shown by `Debug`, and it has no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey {
    text: String,
    id: std::ops::Range<usize>,
}

/// Why a text is no key. Does not repeat the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no API key: it has the form hm_<id>_<secret>, with an id of 1 to 32 letters, digits or hyphens and 64 hexadecimal digits"
)]
pub struct ApiKeyError;

/// Whether a key can have this id: 1 to 32 lower-case letters, digits or hyphens.
#[must_use]
pub fn is_id(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=ID_MAX).contains(&text.len()) && text.bytes().all(allowed)
}

impl ApiKey {
    /// The part that may be shown.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.text[self.id.clone()]
    }

    /// All of it: for the file it is kept in and for whoever asked for a new one.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.text
    }

    /// Reads the header of a request; `None` if it has none, an error if it holds no key.
    ///
    /// # Errors
    /// [`ApiKeyError`] for another scheme, or a text that is no key.
    pub fn of_headers(headers: &HeaderMap) -> Result<Option<Self>, ApiKeyError> {
        let Some(value) = headers.get(AUTHORIZATION) else { return Ok(None) };
        let text = value.to_str().map_err(|_| ApiKeyError)?;
        let (scheme, key) = text.split_at_checked(SCHEME.len()).ok_or(ApiKeyError)?;
        if scheme.eq_ignore_ascii_case(SCHEME) { key.trim().parse().map(Some) } else { Err(ApiKeyError) }
    }

    fn header(&self) -> HeaderValue {
        let mut value = HeaderValue::try_from(format!("{SCHEME}{}", self.text)).expect("letters, digits and hyphens");
        value.set_sensitive(true);
        value
    }
}

impl FromStr for ApiKey {
    type Err = ApiKeyError;

    fn from_str(text: &str) -> Result<Self, ApiKeyError> {
        let (id, secret) = text.strip_prefix(PREFIX).and_then(|rest| rest.split_once('_')).ok_or(ApiKeyError)?;
        let hexadecimal = secret.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        if is_id(id) && secret.len() == SECRET_LENGTH && hexadecimal {
            Ok(Self { text: text.to_owned(), id: PREFIX.len()..PREFIX.len() + id.len() })
        } else {
            Err(ApiKeyError)
        }
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiKey({PREFIX}{}_***)", self.id())
    }
}

/// What a client shows with every call. Clones share it, so that a key can be replaced under open connections.
#[derive(Clone, Default)]
pub struct Credentials(Option<Arc<ArcSwapOption<HeaderValue>>>);

impl Credentials {
    /// Nothing is shown.
    #[must_use]
    pub const fn none() -> Self {
        Self(None)
    }

    /// This key is shown, until it is replaced.
    #[must_use]
    pub fn new(key: Option<&ApiKey>) -> Self {
        Self(Some(Arc::new(ArcSwapOption::new(key.map(|key| Arc::new(key.header()))))))
    }

    /// From now on, this key is shown, also by clones. Does nothing to [`Self::none`].
    pub fn replace(&self, key: Option<&ApiKey>) {
        if let Some(shared) = &self.0 {
            shared.store(key.map(|key| Arc::new(key.header())));
        }
    }

    /// Adds the header, unless the call has one of its own: that of whoever asked this process to ask on. A local key
    /// does not go on.
    pub(crate) fn show(&self, headers: &mut HeaderMap) {
        let Some(shared) = &self.0 else { return };
        if let Ok(Some(key)) = ApiKey::of_headers(headers)
            && key.id() == LOCAL_ID
        {
            headers.remove(AUTHORIZATION);
        }
        if let Some(value) = &*shared.load()
            && !headers.contains_key(AUTHORIZATION)
        {
            headers.insert(AUTHORIZATION, HeaderValue::clone(value));
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.0.as_ref().is_some_and(|shared| shared.load().is_some());
        f.write_str(if shown { "Credentials(***)" } else { "Credentials(none)" })
    }
}

impl PartialEq for Credentials {
    /// Whether they are clones of one.
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (one, other) => one.is_none() && other.is_none(),
        }
    }
}

impl Eq for Credentials {}

#[cfg(test)]
mod tests {
    use super::*;

    fn text() -> String {
        format!("hm_night-shift_{}", "0123456789abcdef".repeat(4))
    }

    #[test]
    fn a_key_is_read_and_not_shown() {
        let key: ApiKey = text().parse().expect("a key");
        assert_eq!((key.id(), key.reveal()), ("night-shift", text().as_str()));
        let credentials = Credentials::new(Some(&key));
        for shown in [format!("{key:?}"), format!("{credentials:?}"), format!("{:?}", key.header())] {
            assert!(!shown.contains("0123456789abcdef"), "{shown}");
        }
        let short = &text()[..70];
        let upper = text().to_uppercase();
        for bad in ["", "hm_", "hm_a_b", short, &upper, &text().replace("night-shift", ""), &format!("{}0", text())] {
            assert_eq!(bad.parse::<ApiKey>(), Err(ApiKeyError), "{bad}");
        }
    }

    #[test]
    fn the_header_is_written_read_and_replaced_under_way() {
        let key: ApiKey = text().parse().expect("a key");
        let credentials = Credentials::new(None);
        let shown = |credentials: &Credentials| {
            let mut headers = HeaderMap::new();
            credentials.clone().show(&mut headers);
            ApiKey::of_headers(&headers)
        };
        assert_eq!(shown(&credentials), Ok(None));
        credentials.replace(Some(&key));
        assert_eq!(shown(&credentials), Ok(Some(key.clone())));
        credentials.replace(None);
        assert_eq!(shown(&credentials), Ok(None));

        let mut asked_on = HeaderMap::new();
        let local: ApiKey = text().replace("night-shift", LOCAL_ID).parse().expect("a key");
        asked_on.insert(AUTHORIZATION, local.header());
        Credentials::none().show(&mut asked_on);
        assert!(asked_on.contains_key(AUTHORIZATION), "tools beside the node show it");
        Credentials::new(None).show(&mut asked_on);
        assert!(!asked_on.contains_key(AUTHORIZATION), "a process does not show it to another");
        asked_on.insert(AUTHORIZATION, key.header());
        Credentials::new(Some(&local)).show(&mut asked_on);
        assert_eq!(ApiKey::of_headers(&asked_on), Ok(Some(key.clone())), "who asked is known to whoever is asked on");

        let mut headers = HeaderMap::new();
        for (value, expected) in [
            (format!("bearer {}", text()), Ok(Some(key))),
            (format!("Basic {}", text()), Err(ApiKeyError)),
            ("Bear".to_owned(), Err(ApiKeyError)),
            ("Bearer".to_owned(), Err(ApiKeyError)),
        ] {
            headers.insert(AUTHORIZATION, HeaderValue::try_from(value).expect("a header"));
            assert_eq!(ApiKey::of_headers(&headers), expected);
        }
    }
}
