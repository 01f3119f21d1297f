//! Label and field selectors. What parses prints as a text that parses to the same, and selects the same.
#![no_main]

use api::selector::{Fields, Labels};
use libfuzzer_sys::fuzz_target;
use serde_json::json;
use skiff_fuzz::{documents, soon, texts};

const LABELS: [&[(&str, &str)]; 5] =
    [&[], &[("a", "b")], &[("a", ""), ("x.io/y", "7")], &[("app", "web"), ("n", "10")], &[("n", "-1"), ("a", "c"), ("b", "")]];

fn get<'v>(labels: &'v [(&str, &str)]) -> impl Fn(&str) -> Option<&'v str> {
    |key| labels.iter().find(|(name, _)| *name == key).map(|(_, value)| *value)
}

fuzz_target!(|data: &[u8]| {
    let [text] = texts::<1>(data);
    match soon("a label selector", || Labels::parse(text)) {
        Ok(selector) => {
            let printed = selector.to_string();
            let again = Labels::parse(&printed).unwrap_or_else(|why| panic!("{text:?} prints as {printed:?}: {why:?}"));
            assert_eq!(again.to_string(), printed);
            for labels in LABELS {
                assert_eq!(again.matches(get(labels)), selector.matches(get(labels)), "{text:?} {printed:?}");
            }
        }
        Err(status) => assert_eq!(status.code, 400),
    }
    match soon("a field selector", || Fields::parse(text)) {
        Ok(fields) => {
            let escape = |text: &str| text.replace('\\', "\\\\").replace(',', "\\,").replace('=', "\\=");
            let terms = fields.terms().iter().map(|term| {
                let sign = if term.equality == api::selector::Equality::Equal { "=" } else { "!=" };
                format!("{}{sign}{}", term.field, escape(&term.value))
            });
            let printed = terms.collect::<Vec<_>>().join(",");
            assert_eq!(Fields::parse(&printed).map(|again| again.terms().to_vec()), Ok(fields.terms().to_vec()), "{printed:?}");
            let _ = fields.check(&["spec.nodeName"]);
            let _ = fields.matches(get(LABELS[1]));
        }
        Err(status) => assert_eq!(status.code, 400),
    }
    let [object] = documents::<1>(data);
    if let Ok(selector) = Labels::from_label_selector(Some(&object)) {
        let _ = selector.matches_map(json!({"a": "b"}).as_object());
        let _ = selector.to_string();
    }
});
