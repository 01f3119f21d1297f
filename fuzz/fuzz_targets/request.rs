//! Everything that is read before a body: method, path, query, headers; and continue tokens.
#![no_main]

use api::Kinds;
use apiserver::RequestInfo;
use apiserver::fuzzing::{continue_token, head, timeout};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use libfuzzer_sys::fuzz_target;
use skiff_fuzz::soon;
use std::sync::LazyLock;

static KINDS: LazyLock<Kinds> = LazyLock::new(Kinds::builtin);

// `METHOD URI`, then a header on each line.
fuzz_target!(|data: &[u8]| {
    let mut lines = data.split(|byte| *byte == b'\n');
    let first = lines.next().unwrap_or_default();
    if let Ok(text) = std::str::from_utf8(first) {
        if let Ok(token) = continue_token(text) {
            assert_eq!(continue_token(&token).as_ref(), Ok(&token));
        }
        let _ = timeout(text);
    }
    let mut words = first.splitn(2, |byte| *byte == b' ');
    let method = words.next().and_then(|word| Method::from_bytes(word).ok()).unwrap_or(Method::GET);
    let Some(uri) = words.next().and_then(|word| Uri::try_from(word).ok()) else { return };
    let mut headers = HeaderMap::new();
    for line in lines.take(20) {
        let mut parts = line.splitn(2, |byte| *byte == b':');
        let name = parts.next().and_then(|name| HeaderName::from_bytes(name).ok());
        let value = parts.next().and_then(|value| HeaderValue::from_bytes(value.trim_ascii()).ok());
        if let Some((name, value)) = name.zip(value) {
            headers.append(name, value);
        }
    }
    soon("reading a request's head", || {
        for status in head(&KINDS, &method, &uri, &headers) {
            assert!((400..500).contains(&status.code), "{status:?}");
        }
    });
    let info = RequestInfo::parse(&method, &uri);
    let _ = info.verb_name();
    if let Some(asked) = &info.resource {
        assert!(!asked.plural.is_empty() && !asked.plural.contains('/'), "{asked:?}");
        assert!(!asked.subresource.contains('/'), "{asked:?}");
        assert!(!asked.name.is_empty() || asked.subresource.is_empty(), "{asked:?}");
        let _ = asked.is_long_running();
    }
});
