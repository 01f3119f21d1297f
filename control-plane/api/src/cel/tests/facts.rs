//! What Kubernetes 1.36 makes of expressions: whether they compile, what they come to, and what it estimates that they cost.

use super::*;

/// An expression; `=` and its value, `?` and its error, or `!` and why it does not compile; its estimated cost.
#[rustfmt::skip]
const ROWS: &[(&str, &str, &str)] = &[
    (r#"self.l["a"]"#, "! ERROR: <input>:1:7: found no matching overload for '_[_]' applied to '(list(int), string)'", ""),
    ("size(self.i)", "! ERROR: <input>:1:5: found no matching overload for 'size' applied to '(int)'", ""),
    ("self.m.exists(k, self.m[k] == 2)", "= bool:true", "51"),
    (r#"["a","a"].transformMapEntry(i, v, {v: i})"#, "? insert failed: key a already exists", "109"),
    (r#"int("a")"#, "! type conversion error from 'string' to 'int'", ""),
    ("int(1e30)", "! integer overflow", ""),
    ("uint(-1)", "! unsigned integer overflow", ""),
    (r#"double("x")"#, "! type conversion error from 'string' to 'double'", ""),
    (r#"string(b"\xff")"#, "! invalid UTF-8 in bytes, cannot convert to string", ""),
    (r#"bool("yes")"#, "! type conversion error from 'string' to 'bool'", ""),
    ("type(self.s) == string", "= bool:true", "4"),
    (r#"timestamp("0001-01-01T00:00:00Z") - duration("1s")"#, "? timestamp overflow", "3"),
    (r#"self.s.matches("(")"#, "! ERROR: <input>:1:16: invalid matches argument", ""),
    (r#"["a","b"].join("-")"#, "= string:a-b", "1844674407370955274"),
    (r#""%d".format(["a"])"#, "! ERROR: <input>:1:14: error during formatting: decimal clause can only be used on integers, was given string", ""),
    (r#""%s %s".format(["a"])"#, "! ERROR: <input>:1:15: index 1 out of range", ""),
    (r#""%q".format(["a"])"#, r#"! ERROR: <input>:1:12: could not parse formatting clause: unrecognized formatting clause "q""#, ""),
    (r#""%".format([])"#, "! ERROR: <input>:1:11: unexpected end of string", ""),
    (r#"["b","a"].min()"#, "= string:a", "3689348814741910540"),
    ("url(self.u).getQuery()", "= {string:x: [string:1, string:2], string:y: [string: z]}", "43"),
    (r#"url("https://a%zz")"#, r#"? URL parse error during conversion from string: parse "https://a%zz": invalid URL escape "%zz""#, "2"),
    (r#"url("https://a:x")"#, r#"? URL parse error during conversion from string: parse "https://a:x": invalid port ":x" after host"#, "2"),
    (r#"quantity("1.5Gi").isInteger()"#, "= bool:false", "2"),
    (r#"quantity("9999999999999999999999").asInteger()"#, "? cannot convert value to integer", "4"),
    (r#"ip("fe80::1%eth0")"#, r#"? IP address "fe80::1%eth0" with zone value is not allowed"#, "2"),
    (r#"cidr("10.0.0.0/8").containsIP("bad")"#, "? no such overload", "6"),
    (r#"cidr("10.0.0.0/8").containsCIDR("10.1.0.0/16")"#, "= bool:true", "10"),
    (r#"{"a": 1, "a": 2}"#, "= {string:a: int:2}", "30"),
    ("self.l.filter(x, x)", "! ERROR: <input>:1:14: found no matching overload for '_?_:_' applied to '(int, list(int), list(int))'", ""),
    ("self.`s`", "= string:hello", "2"),
    (r#""a".matches("a{1,1001}")"#, "! ERROR: <input>:1:13: invalid matches argument", ""),
    (r#""a".matches("a++")"#, "! ERROR: <input>:1:13: invalid matches argument", ""),
    ("self.`a-b`", "! ERROR: <input>:1:5: undefined field 'a-b'", ""),
    ("self.`namespace`", "= string:ns", "2"),
    ("has(self.`a-b`)", "! ERROR: <input>:1:4: undefined field 'a-b'", ""),
    ("self.m.`a`", "= int:1", "3"),
    ("self.ms.`k-x`", "? no such key: k-x", "3"),
    ("self.ios == 5", "= bool:true", "3"),
    ("string(self.ios)", "= string:5", "314575"),
    (r#"self.en.contains("b")"#, "= bool:false", "3"),
    ("self.t.getFullYear()", "= int:2024", "3"),
    (r#"self.by == b"hello""#, "= bool:true", "3"),
    (r#"self.lu.join(",").size() < 100"#, "= bool:true", "329853068907"),
    ("self.lu.isSorted()", "= bool:true", "329854432052"),
    (r#"self.e == "abc""#, "= bool:false", "3"),
    (r#"self.e.matches("[a-z]+")"#, "= bool:false", "629148"),
    (r#"self.e.split(",", 3).all(x, x.size() > 1)"#, "= bool:false", "629167"),
    (r#"self.e.replace("", "bb") == "x""#, "= bool:false", "629149"),
    (r#"self.e.replace("aaa", "bb") == "x""#, "= bool:false", "629149"),
    (r#"self.e.replace("a", self.s) == "x""#, "= bool:false", "629151"),
    ("self.ms.all(k, v, k != v)", "= bool:true", "1966078"),
    (r#"self.ms.transformMap(k, v, v + "x")"#, "= {string:k: string:vx, string:kk: string:vvvx}", "123696395088"),
    ("self.m.transformMap(k, v, v > 1, v * 2)", "= {string:b: int:4}", "75"),
    ("self.i in [1, 2, 3]", "= bool:false", "15"),
    (r#"self.deep.all(k, v, v.all(x, x == "a"))"#, "= bool:false", "53"),
    ("self.deep.k.map(x, x + x)", "= [string:aa, string:bb]", "18446744073709551615"),
    ("self == oldSelf", "= bool:true", "2"),
    ("self.objs.all(o, oldSelf.objs.exists(p, p.k == o.k))", "= bool:true", "4923"),
    ("self.?o.x.y[?0].orValue(1)", "= int:1", "4"),
    (r#"optional.of(self.e).optMap(x, x + "a").orValue("b")"#, "= string:a", "1844674407370955294"),
    (r#"(self.b ? self.lu : self.ls).map(x, x + "a")"#, "= [string:xa, string:ya]", "14680065"),
    (r#"quantity("1").sign()"#, "! ERROR: <input>:1:19: found no matching overload for 'sign' applied to 'kubernetes.Quantity.()'", ""),
    (r#"quantity("1e3").asInteger()"#, "= int:1000", "2"),
    (r#"quantity("1Ei").isInteger()"#, "= bool:false", "2"),
    (r#"quantity("9223372036854775807").add(1).isInteger()"#, "= bool:false", "4"),
    ("ip.isCanonical(self.ip)", "= bool:true", "629148"),
    (r#"ip("1.2.3")"#, r#"? IP Address "1.2.3" parse error during conversion from string: ParseAddr("1.2.3"): IPv4 address too short"#, "1"),
    (r#"ip("1.2.3.256")"#, r#"? IP Address "1.2.3.256" parse error during conversion from string: ParseAddr("1.2.3.256"): IPv4 field has value >255"#, "1"),
    (r#"ip("1::2::3")"#, r#"? IP Address "1::2::3" parse error during conversion from string: ParseAddr("1::2::3"): multiple :: in address (at ":3")"#, "1"),
    (r#"ip("12345::")"#, r#"? IP Address "12345::" parse error during conversion from string: ParseAddr("12345::"): each group must have 4 or less digits (at "12345::")"#, "1"),
    (r#"ip("g::")"#, r#"? IP Address "g::" parse error during conversion from string: ParseAddr("g::"): each colon-separated field must have at least one digit (at "g::")"#, "1"),
    (r#"cidr("10.0.0.0/8").containsIP(self.ip)"#, "= bool:true", "314580"),
    (r#"cidr("/8")"#, r#"? network address parse error during conversion from string: network address parse error during conversion from string: netip.ParsePrefix("/8"): ParseAddr(""): unable to parse IP"#, "1"),
    (r#"cidr("10.0.0/8")"#, r#"? network address parse error during conversion from string: network address parse error during conversion from string: netip.ParsePrefix("10.0.0/8"): ParseAddr("10.0.0"): IPv4 address too short"#, "1"),
    (r#"cidr("fe80::1%eth0/64")"#, r#"? network address parse error during conversion from string: network address parse error during conversion from string: netip.ParsePrefix("fe80::1%eth0/64"): IPv6 zones cannot be present in a prefix"#, "2"),
    (r#"cidr("::ffff:10.0.0.0/104")"#, r#"? network address parse error during conversion from string: IPv4-mapped IPv6 address "::ffff:10.0.0.0/104" is not allowed"#, "2"),
    ("url(self.u) == url(self.u)", "= bool:true", "124"),
    ("isURL(self.u)", "= bool:true", "3"),
    (r#"isURL("https://a:80:80")"#, "= bool:true", "1"),
    (r#"isURL("https://user:pa ss@a")"#, "= bool:false", "1"),
    (r#"isURL("*")"#, "= bool:true", "1"),
    (r#"url("https://a/b#c").getEscapedPath()"#, "= string:/b", "3"),
    (r#"url("https://[fe80::1%25en0]:80/").getHostname()"#, "= string:fe80::1%en0", "4"),
    (r#"url("")"#, r#"? URL parse error during conversion from string: parse "": empty url"#, "0"),
    (r#"url("https://a b")"#, r#"? URL parse error during conversion from string: parse "https://a b": invalid character " " in host name"#, "2"),
    (r#"semver("1.2.x")"#, r#"? Invalid character(s) found in patch number "x""#, "1"),
    (r#"semver("1.2.3-01")"#, r#"? Numeric PreRelease version must not contain leading zeroes "01""#, "1"),
    (r#"semver("1.2.3+a_b")"#, r#"? Invalid character(s) found in build meta data "a_b""#, "1"),
    (r#"semver("")"#, "? Version string empty", "0"),
    (r#"semver("v1-a", true)"#, "? short version cannot contain PreRelease/Build meta data", "1"),
    (r#"semver("V1.2.3", true)"#, r#"? Invalid character(s) found in major number "0V1""#, "1"),
    (r#"format.named("uuid").value().validate(self.e).orValue([]).size()"#, "= int:1", "10066352"),
    (r#"format.dns1035LabelPrefix().validate("1-")"#, "= none", "33"),
    (r#""%s".format([self.objs])"#, r#"= string:[{"k":"a", "v":1}, {"k":"b", "v":2}]"#, "13"),
    (r#""%s".format([self.o])"#, "! ERROR: <input>:1:18: error during formatting: string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, types, durations, and timestamps, was given object.o", ""),
    (r#""%.2f".format([self.i])"#, "! ERROR: <input>:1:20: error during formatting: fixed-point clause can only be used on doubles, was given int", ""),
    (r#""%s".format([1, 2])"#, "! ERROR: <input>:1:12: too many arguments supplied to string.format (expected 1, got 2)", ""),
    (r#""%s".format([quantity("1")])"#, "! ERROR: <input>:1:22: error during formatting: string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, types, durations, and timestamps, was given kubernetes.Quantity", ""),
    ("timestamp(self.s)", r#"? invalid RFC 3339 timestamp "hello""#, "3"),
    ("duration(self.s)", "? type conversion error from 'string' to 'google.protobuf.Duration'", "3"),
    ("int(self.dur)", "= int:5400000000000", "3"),
    (r#"timestamp("0000-12-31T00:00:00Z")"#, "! ERROR: <input>:1:11: invalid timestamp argument", ""),
    (r#"timestamp("2024-01-02T03:04:05,5Z")"#, "! ERROR: <input>:1:11: invalid timestamp argument", ""),
    (r#"timestamp("9999-12-31T23:59:59.999999999Z").getMilliseconds()"#, "= int:999", "2"),
    ("self.l.slice(0, self.i)", "? cannot slice(0, 5), list is length 3", "25"),
    (r#"self.lu.distinct().all(x, x == "a")"#, "= bool:false", "6707008136827"),
    ("self.lu.sort()", "= [string:x, string:y]", "2308970014326"),
    ("self.objs.sortBy(o, o.k).map(o, o.v)", "= [int:1, int:2]", "6767"),
    ("lists.range(3).all(x, x < 3)", "= bool:true", "30"),
    ("lists.range(1000000000)", "? lists.range: size 1000000000 exceeds maximum allowed (1000000)", "1000000011"),
    ("sets.equivalent(self.l, [1, 2, 3])", "= bool:true", "73"),
    ("self.nested.flatten(2)", "= [int:1, int:2, int:3]", "21"),
    (r#"self.lu.filter(x, x.startsWith("a")).all(z, z.contains("a"))"#, "= bool:true", "19922939"),
    (r#"self.lu.map(x, x.split(",")).all(l, l.all(y, y == "a"))"#, "= bool:false", "659725641314"),
    ("self.lu.all(x, self.lu.all(y, x == y))", "= bool:false", "345881509131242703"),
    ("dyn(self.l).all(x, x > 0)", "= bool:true", "54"),
    (r#"[dyn(1), "a"]"#, "! ERROR: <input>:1:10: expected type 'dyn' but found 'string'", ""),
    (r#""abc".matches("(a{100}){100}")"#, "! ERROR: <input>:1:15: invalid matches argument", ""),
    (r#""abc".matches("\\p{Greek}")"#, "= bool:false", "3"),
    (r#""abc".matches("(?P<n>a)(?P<n>b)")"#, "= bool:true", "4"),
    (r#""abc".find("(")"#, "! error parsing regexp: missing closing ): `(`", ""),
    (r#"self.s.find("*")"#, "! error parsing regexp: missing argument to repetition operator: `*`", ""),
    ("self.l.sortBy(1, x)", "! ERROR: <input>:1:15: argument is not an identifier", ""),
    ("self.l.sortBy(x, [x])", "! ERROR: <input>:1:14: found no matching overload for '@sortByAssociatedKeys' applied to 'list(int).(list(list(int)))'", ""),
];

const SCHEMA: &str = r#"{"type": "object", "properties": {"s": {"type": "string", "maxLength": 20}, "e": {"type": "string"}, "i": {"type": "integer"}, "neg": {"type": "integer"}, "d": {"type": "number"}, "b": {"type": "boolean"}, "n": {"type": "string", "nullable": true}, "l": {"type": "array", "items": {"type": "integer"}, "maxItems": 10}, "ls": {"type": "array", "items": {"type": "string", "maxLength": 5}, "maxItems": 8}, "le": {"type": "array", "items": {"type": "integer"}}, "lu": {"type": "array", "items": {"type": "string"}}, "m": {"type": "object", "additionalProperties": {"type": "integer"}, "maxProperties": 6}, "ms": {"type": "object", "additionalProperties": {"type": "string"}}, "o": {"type": "object", "properties": {"x": {"type": "object", "properties": {"y": {"type": "array", "items": {"type": "integer"}}}}}}, "dup": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "atomic"}, "set": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set", "maxItems": 5}, "objs": {"type": "array", "items": {"type": "object", "required": ["k"], "properties": {"k": {"type": "string", "maxLength": 10}, "v": {"type": "integer"}}}, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"], "maxItems": 20}, "t": {"type": "string", "format": "date-time"}, "date": {"type": "string", "format": "date"}, "dur": {"type": "string", "format": "duration"}, "by": {"type": "string", "format": "byte"}, "big": {"type": "integer"}, "uni": {"type": "string"}, "nested": {"type": "array", "items": {"type": "array", "items": {"type": "integer"}, "maxItems": 3}, "maxItems": 4}, "q": {"type": "string"}, "ip": {"type": "string"}, "u": {"type": "string", "maxLength": 100}, "ios": {"x-kubernetes-int-or-string": true}, "en": {"type": "string", "enum": ["a", "bcd"]}, "emb": {"type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true, "properties": {"spec": {"type": "object", "properties": {"a": {"type": "integer"}}}}}, "pu": {"x-kubernetes-preserve-unknown-fields": true}, "pt": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}, "a-b": {"type": "string"}, "a.b": {"type": "integer"}, "a/b": {"type": "integer"}, "namespace": {"type": "string"}, "x__y": {"type": "integer"}, "in": {"type": "integer"}, "$odd": {"type": "integer"}, "deep": {"type": "object", "additionalProperties": {"type": "array", "items": {"type": "string", "maxLength": 3}, "maxItems": 4}, "maxProperties": 2}}}"#;
const THIS: &str = r#"{"s": "hello", "e": "", "i": 5, "neg": -3, "d": 1.5, "b": true, "l": [1, 2, 3], "ls": ["a", "b", "c"], "le": [], "lu": ["x", "y"], "m": {"a": 1, "b": 2}, "ms": {"k": "v", "kk": "vvv"}, "o": {"x": {"y": [1, 2]}}, "dup": ["a", "b", "a"], "set": ["b", "a"], "objs": [{"k": "a", "v": 1}, {"k": "b", "v": 2}], "t": "2024-01-02T03:04:05.678Z", "date": "2024-01-02", "dur": "1h30m", "by": "aGVsbG8=", "big": 9223372036854775807, "uni": "äöü😀", "nested": [[1, 2], [3]], "q": "1.5Gi", "ip": "10.0.0.1", "u": "https://user@example.com:8080/a/b?x=1&x=2&y=%20z#frag", "ios": 5, "en": "a", "emb": {"apiVersion": "v1", "kind": "K", "metadata": {"name": "n"}, "spec": {"a": 1}}, "pt": {"z": 1}, "a-b": "d", "a.b": 2, "a/b": 3, "namespace": "ns", "x__y": 4, "in": 7, "deep": {"k": ["a", "b"]}}"#;

/// A value as the table has it.
fn shown(value: &Val<'_>) -> String {
    let joined = |texts: Vec<String>| texts.join(", ");
    match value {
        Val::Null => "null".into(),
        Val::Bool(it) => format!("bool:{it}"),
        Val::Int(it) => format!("int:{it}"),
        Val::Uint(it) => format!("uint:{it}"),
        Val::Double(it) => format!("double:{it}"),
        Val::Text(it) => format!("string:{}", it.as_str()),
        Val::Bytes(it) => format!("bytes:{it:x?}"),
        Val::Duration(it) => format!("duration:{it}"),
        Val::Timestamp(it) => format!("timestamp:{it}"),
        Val::List(it) => format!("[{}]", joined(it.items().map(|item| shown(&item.unwrap())).collect())),
        Val::Map(it) => {
            let pairs =
                it.entries().map(|entry| entry.map(|(key, value)| format!("{}: {}", shown(&key), shown(&value))));
            format!("{{{}}}", joined(pairs.map(Result::unwrap).collect()))
        }
        Val::Optional(Some(it)) => format!("some({})", shown(it)),
        Val::Optional(None) => "none".into(),
        Val::Type(_) => "type".into(),
        Val::Foreign(it) => it.kind().name().into(),
    }
}

#[test]
fn expressions_come_to_what_they_come_to_in_kubernetes() {
    let (ty, this): (Type, Value) =
        (schema(&serde_json::from_str(SCHEMA).unwrap()), serde_json::from_str(THIS).unwrap());
    let declared = Declared::new().with("self", ty.clone()).with("oldSelf", ty);
    let mut wrong = Vec::new();
    for (source, wanted, cost) in ROWS {
        let (found, estimated) = match Program::compile(source, &declared) {
            Err(error) => (format!("! {}", error.to_string().lines().next().unwrap_or_default()), String::new()),
            Ok(program) => {
                let inputs = [("self", &this), ("oldSelf", &this)];
                let found = match program.evaluate(&inputs, &mut PER_CALL_LIMIT.clone()) {
                    Ok(value) => format!("= {}", shown(&value)),
                    Err(fault) => format!("? {fault}"),
                };
                (found, program.cost().to_string())
            }
        };
        if found != *wanted || estimated != *cost {
            wrong.push(format!("{source}\n  wanted {wanted} at {cost}\n  found  {found} at {estimated}"));
        }
    }
    assert!(wrong.is_empty(), "{} of them\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn what_is_written_out_is_paid_for_once() {
    let cost = |source: &str| {
        let program = Program::compile(source, &Declared::new().with("self", Type::Dyn)).unwrap();
        let this = json!({"i": 5, "l": [1, 2, 3], "s": "hello"});
        let mut left = PER_CALL_LIMIT;
        program.evaluate(&[("self", &this)], &mut left).unwrap();
        PER_CALL_LIMIT - left
    };
    for (source, wanted) in [
        ("self.i in [1, 2, 3, 4, 5]", 2),
        ("int('12') == 12", 1),
        ("self.l.all(x, x in [1, 2, 3])", 15),
        ("self.s == 'hello'", 3),
        ("self.l.map(x, x * 2)", 45),
        ("has(self.s)", 1),
    ] {
        assert_eq!(cost(source), wanted, "{source}");
    }
}
