//! Small texts: quantities, times, durations, names, percentages, JSON paths, patterns and formats. What is printed in
//! canonical form reads as the same amount or time, and prints the same again.
#![no_main]

use api::crd::jsonpath::JsonPath;
use api::quantity::Quantity;
use api::{intstr, names, time};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use skiff_fuzz::{soon, texts};

fuzz_target!(|data: &[u8]| {
    let [text] = texts::<1>(data);
    soon("a quantity", || {
        let Ok(quantity) = Quantity::parse(text) else { return };
        let printed = quantity.to_string();
        let again = Quantity::parse(&printed).unwrap_or_else(|why| panic!("{text:?} prints as {printed:?}: {why}"));
        assert_eq!(again, quantity, "{text:?} {printed:?}");
        assert_eq!(again.to_string(), printed, "{text:?}");
        let _ = (quantity.value(), quantity.milli_value(), quantity.round_up_to_milli().to_string());
        let _ = (quantity + quantity).to_string();
    });
    soon("a time", || {
        let Some(at) = time::parse(text) else { return };
        for format in [time::format, time::format_micro] {
            let printed = format(at);
            assert_eq!(time::parse(&printed).map(format), Some(printed));
        }
        let _ = time::age(Some(text), Default::default());
    });
    soon("names", || {
        for check in [
            names::check_dns1123_label,
            names::check_dns1123_subdomain,
            names::check_dns1035_label,
            names::check_qualified_name,
            names::check_label_value,
            names::check_path_segment,
            names::check_config_map_key,
            names::check_port_name,
        ] {
            let _ = check(text);
        }
        assert_eq!(names::is_qualified_name(text), names::check_qualified_name(text).is_empty());
        assert_eq!(names::is_label_value(text), names::check_label_value(text).is_empty());
        if names::check_dns1123_label(text).is_empty() {
            assert!(names::check_dns1123_subdomain(text).is_empty(), "{text:?}");
        }
    });
    for value in [json!(text), text.parse::<i64>().map_or(Value::Null, Value::from)] {
        if let Ok(amount) = intstr::parse(&value) {
            for total in [0, 7, i64::MAX] {
                let _ = amount.scaled(total, intstr::Rounding::Up);
                let _ = amount.scaled(total, intstr::Rounding::Down);
            }
            let _ = intstr::rolling_update(&value, &value, 5);
        }
    }
    if let Some(path) = soon("a JSON path", || JsonPath::parse(text)) {
        let _ = path.first(&json!({"a": [{"b": 1}, {"c": "x"}], "metadata": {"labels": {"a.b/c": "d"}}}));
    }
    let _ = soon("a timeout", || apiserver::fuzzing::timeout(text));
});
