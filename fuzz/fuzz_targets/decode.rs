//! Bodies in JSON, YAML and protobuf. What decodes is encoded and decoded again to the same; JSON is YAML as well.
#![no_main]

use apiserver::fuzzing::{Syntax, body};
use libfuzzer_sys::fuzz_target;
use skiff_fuzz::soon;

fuzz_target!(|data: &[u8]| {
    let Some((mode, data)) = data.split_first() else { return };
    let syntax = match mode % 3 {
        0 => Syntax::Json,
        1 => Syntax::Yaml,
        _ => Syntax::Protobuf,
    };
    let value = match soon("decoding", || body(syntax, data)) {
        Ok(value) => value,
        Err(status) => {
            assert!(matches!(status.code, 400 | 415), "{status:?}");
            assert!(status.message.len() < 4_000, "an answer does not repeat its body: {} bytes", status.message.len());
            return;
        }
    };
    let text = serde_json::to_vec(&value).unwrap();
    assert_eq!(body(Syntax::Json, &text).as_ref(), Ok(&value), "what is stored must be read again");
    // Control characters that JSON lets stand as they are and YAML does not.
    let text = String::from_utf8(text).unwrap();
    if text.contains(|c: char| matches!(c, '\u{7f}'..='\u{9f}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')) {
        return;
    }
    assert_eq!(soon("YAML", || body(Syntax::Yaml, text.as_bytes())).as_ref(), Ok(&value), "{text}");
});
