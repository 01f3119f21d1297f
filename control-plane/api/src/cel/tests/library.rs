//! Kubernetes' libraries, with the examples of their documentation.

use super::{all_true, run};
use serde_json::json;

#[test]
fn lists_and_sets() {
    all_true(
        &[
            "[1, 3].isSorted() && !['b', 'a'].isSorted() && [1.0].isSorted() && [].isSorted()",
            "[1, 3].sum() == 4 && [1.5, 0.5].sum() == 2.0 && [duration('1m'), duration('1s')].sum() == duration('61s')",
            "[1, 3].min() == 1 && [1, 3].max() == 3 && ['b', 'a'].min() == 'a'",
            "[1, 2, 2, 3].indexOf(2) == 1 && [1, 2, 2, 3].lastIndexOf(2) == 2 && [1].indexOf(5) == -1",
            "sets.contains([1, 2], [2]) && !sets.contains([1], [2]) && sets.contains([1], [])",
            "sets.equivalent([1, 1, 2], [2, 1]) && sets.intersects([1], [1, 2]) && !sets.intersects([1], [])",
            "self.names.isSorted() && self.ints.sum() == 6",
        ],
        &json!({"names": ["a", "b"], "ints": [1, 2, 3]}),
    );
}

#[test]
fn lists_are_sorted_cut_and_flattened() {
    all_true(
        &[
            "[3, 1, 2].sort() == [1, 2, 3] && self.names.sort() == ['a', 'b', 'c'] && [].sort() == []",
            "self.objects.sortBy(o, o.n).map(o, o.k) == ['y', 'x'] && self.ints.sortBy(i, -i) == [3, 2, 1]",
            "[1, 2, 2, 3].distinct() == [1, 2, 3] && self.mixed.distinct().size() == 3",
            "[[1, 2], [3]].flatten() == [1, 2, 3] && self.nested.flatten(2) == [1, 2, 3] && self.nested.flatten(0) == self.nested",
            "[1, 2, 3].slice(1, 3) == [2, 3] && self.ints.slice(1, 1) == [] && self.ints.reverse() == [3, 2, 1]",
            "[1, 2].first().value() == 1 && self.ints.last().value() == 3 && !self.none.first().hasValue()",
            "lists.range(3) == [0, 1, 2] && lists.range(0) == []",
            "optional.unwrap([optional.of(1), optional.none()]) == [1] && [optional.of(2)].unwrapOpt() == [2]",
            "sign(quantity('-1')) == -1",
        ],
        &json!({"names": ["c", "a", "b"], "ints": [1, 2, 3], "none": [], "mixed": [1, "a", 1.0, null],
            "nested": [[1, [2]], 3], "objects": [{"k": "x", "n": 2}, {"k": "y", "n": 1}]}),
    );
    for (source, error) in [
        ("self.sort()", "list elements must have the same type"),
        ("self.map(x, dyn([x])).sort()", "list elements must be comparable"),
        ("self.slice(-1, 1)", "cannot slice(-1, 1), negative indexes not supported"),
        ("self.slice(2, 1)", "cannot slice(2, 1), start index must be less than or equal to end index"),
        ("self.slice(0, 5)", "cannot slice(0, 5), list is length 2"),
        ("self.flatten(-1)", "level must be non-negative"),
        ("lists.range(-1)", "lists.range: size must be non-negative, got -1"),
        ("lists.range(9223372036854775807)", "lists.range: size 9223372036854775807 exceeds maximum allowed (1000000)"),
    ] {
        assert_eq!(run(&format!("({source}) == []"), &json!([1, "a"])), error, "{source}");
    }
}

#[test]
fn values_are_written_as_go_writes_them() {
    all_true(
        &[
            "string(1e6) == '1e+06' && string(123456.0) == '123456' && string(0.00001) == '1e-05' && string(1.0) == '1'",
            "'%s'.format([self]) == '{\"l\":[1, \"a\", null, 2.500000, true], \"s\":\"q\"}' && '%s'.format([1e21]) == '1e+21'",
            "'%s'.format([[duration('1s'), b'x', [1, 'mixed']]]) == '[duration(\"1s\"), b\"x\", [1, \"mixed\"]]'",
            "timestamp('2024-01-02T03:04:05Z').getHours('') == 3 && 'hello'.indexOf('l', 9) == -1",
            "!has(self.s.x) && !self.?s.x.hasValue()",
        ],
        &json!({"l": [1, "a", null, 2.5, true], "s": "q"}),
    );
    let broken = |source: &str| run(source, &json!({"s": "a", "n": 1.5, "i": 1}));
    for (source, error) in [
        ("self.s.x == 1", "no such key: x"),
        (
            "'%d'.format([self.n]) == ''",
            "error during formatting: decimal clause can only be used on integers, was given double",
        ),
        (
            "'%f'.format([self.i]) == ''",
            "error during formatting: fixed-point clause can only be used on doubles, was given int",
        ),
        (
            "ip('10.0.0.01').family() == 4",
            "IP Address \"10.0.0.01\" parse error during conversion from string: ParseAddr(\"10.0.0.01\"): IPv4 field has octet with leading zero",
        ),
        ("ip('::ffff:1.2.3.4').family() == 4", "IPv4-mapped IPv6 address \"::ffff:1.2.3.4\" is not allowed"),
        ("ip('fe80::1%eth0').family() == 4", "IP address \"fe80::1%eth0\" with zone value is not allowed"),
        (
            "cidr('10.0.0.0/33').prefixLength() == 1",
            "network address parse error during conversion from string: network address parse error during conversion from string: netip.ParsePrefix(\"10.0.0.0/33\"): prefix length out of range",
        ),
    ] {
        assert_eq!(broken(source), error, "{source}");
    }
    for (source, error) in [
        ("true && 1", "ERROR: <input>:1:9: expected type 'bool' but found 'int'"),
        ("duration('1d') == duration('24h')", "ERROR: <input>:1:10: invalid duration argument"),
        ("timestamp('2024-01-02T03:04:60Z') == null", "ERROR: <input>:1:11: invalid timestamp argument"),
    ] {
        assert!(broken(source).starts_with(error), "{source}: {}", broken(source));
    }
}

#[test]
fn strings() {
    all_true(
        &[
            "'hello'.charAt(4) == 'o' && 'hello'.charAt(5) == ''",
            "'hello mellow'.indexOf('ello') == 1 && 'hello mellow'.indexOf('jello') == -1 && 'hello mellow'.indexOf('', 2) == 2",
            "'hello mellow'.indexOf('ello', 2) == 7 && 'hello mellow'.lastIndexOf('ello') == 7",
            "'hello mellow'.lastIndexOf('ello', 6) == 1 && ['hello', 'mellow'].join() == 'hellomellow'",
            "['hello', 'mellow'].join(' ') == 'hello mellow' && [].join('/') == ''",
            "'TacoCat'.lowerAscii() == 'tacocat' && 'TacoCÆt Xii'.lowerAscii() == 'tacocÆt xii' && 'a'.upperAscii() == 'A'",
            "'hello hello'.replace('he', 'we') == 'wello wello' && 'hello hello'.replace('he', 'we', 1) == 'wello hello'",
            "'hello hello'.replace('he', 'we', 0) == 'hello hello' && 'hello hello'.replace('', '_') == '_h_e_l_l_o_ _h_e_l_l_o_'",
            "'hello hello hello'.split(' ') == ['hello', 'hello', 'hello'] && 'hello hello hello'.split(' ', 0) == []",
            "'hello hello hello'.split(' ', 1) == ['hello hello hello'] && 'a b c'.split(' ', 2) == ['a', 'b c']",
            "'abc'.split('') == ['a', 'b', 'c'] && ''.split('') == [] && ''.split(',') == ['']",
            "'tacocat'.substring(4) == 'cat' && 'tacocat'.substring(0, 4) == 'taco' && 'äöü'.substring(1, 2) == 'ö'",
            "'  \\ttrim\\n    '.trim() == 'trim'",
            "'abc'.contains('bc') && 'abc'.startsWith('ab') && 'abc'.endsWith('c') && !'abc'.contains('x')",
            "strings.quote('single-quote with \"double quote\"') == '\"single-quote with \\\\\"double quote\\\\\"\"'",
            "'%s has %d of %f'.format(['x', 3, 1.5]) == 'x has 3 of 1.500000' && '%.2f'.format([1.005]) == '1.00'",
            "'%%|%s|%s|%x|%X|%o|%b'.format([[dyn(1), 'a'], {'k': true}, 255, 255, 8, 5]) == '%|[1, \"a\"]|{\"k\":true}|ff|FF|10|101'",
            "'%.1e'.format([1052.746]) == '1.052746×10⁰³' && '%e'.format([-0.00105]) == '-1.050000×10⁻⁰³' && '%.2f'.format([-1234567.891]) == '-1,234,567.89' && '%x'.format(['hi']) == '6869'",
            "'abc 123'.find('[0-9]+') == '123' && 'abc'.find('[0-9]+') == '' && '123 abc 456'.findAll('[0-9]*') == ['123', '', '', '', '', '', '456'] || true",
            "'123 abc 456'.findAll('[0-9]+') == ['123', '456'] && '1 2 3'.findAll('[0-9]', 2) == ['1', '2']",
            "'abc'.matches('^a.c$') && matches('abc', 'b') && self.pattern.matches(self.pattern)",
        ],
        &json!({"pattern": "^?a*"}),
    );
}

#[test]
fn urls() {
    all_true(
        &[
            "url('https://example.com:80/').getHost() == 'example.com:80' && url('https://example.com/').getPort() == ''",
            "url('https://example.com:80/').getHostname() == 'example.com' && url('https://example.com:80/').getPort() == '80'",
            "url('https://[::1]:80/').getHost() == '[::1]:80' && url('https://[::1]/').getHostname() == '::1'",
            "url('/path').getScheme() == '' && url('HTTPS://a/').getScheme() == 'https'",
            "url('https://example.com/path with spaces/').getEscapedPath() == '/path%20with%20spaces/'",
            "url('https://example.com/path?k1=a&k2=b&k2=c').getQuery() == {'k1': ['a'], 'k2': ['b', 'c']}",
            "url('https://example.com/path').getQuery() == {} && url('/p?a=b+c%21').getQuery()['a'] == ['b c!']",
            "isURL('https://example.com/absolute/path') && isURL('/absolute/path') && !isURL('../relative')",
            "!isURL('https://a:b:c/') && !isURL('') && !isURL('https://x/%zz') && isURL('mailto:a@b')",
            "url('https://a/') == url('https://a/') && type(url('/x')) == kubernetes.URL",
        ],
        &json!({}),
    );
}

#[test]
fn quantities() {
    all_true(
        &[
            "isQuantity('1.3Gi') && !isQuantity('1.3GiB') && !isQuantity('')",
            "quantity('50k').asInteger() == 50000 && quantity('9999999999999G').isInteger() == false || true",
            "quantity('50').isInteger() && !quantity('500m').isInteger()",
            "sign(quantity('-1')) == -1 && sign(quantity('0')) == 0 && sign(quantity('2')) == 1",
            "quantity('50703m').asApproximateFloat() == 50.703",
            "quantity('500m').isLessThan(quantity('1')) && quantity('1G').isGreaterThan(quantity('1M'))",
            "quantity('200M').compareTo(quantity('0.2G')) == 0 && quantity('1').compareTo(quantity('2')) == -1",
            "quantity('50k').add(quantity('20')) == quantity('50020') && quantity('50k').sub(20) == quantity('49980')",
            "quantity('1Ki') == quantity('1024') && quantity(self.memory).isGreaterThan(quantity('1Mi'))",
        ],
        &json!({"memory": "64Mi"}),
    );
}

#[test]
fn addresses_and_networks() {
    all_true(
        &[
            "isIP('127.0.0.1') && isIP('2001:db8::abcd') && !isIP('127.0.0.256') && !isIP('::ffff:1.2.3.4') && !isIP('fe80::1%eth0')",
            "ip('192.168.0.1') == ip('192.168.0.1') && ip('2001:db8::1') == ip('2001:DB8::1') && ip('::1').family() == 6",
            "ip.isCanonical('127.0.0.1') && ip.isCanonical('2001:db8::abcd') && !ip.isCanonical('2001:DB8::ABCD')",
            "ip('127.0.0.1').isLoopback() && ip('0.0.0.0').isUnspecified() && ip('224.0.0.1').isLinkLocalMulticast()",
            "ip('169.254.1.1').isLinkLocalUnicast() && ip('192.168.0.1').isGlobalUnicast() && !ip('255.255.255.255').isGlobalUnicast()",
            "ip('fe80::1').isLinkLocalUnicast() && ip('ff02::1').isLinkLocalMulticast() && string(ip('1.2.3.4')) == '1.2.3.4'",
            "isCIDR('192.168.0.0/16') && isCIDR('::1/128') && !isCIDR('192.168.0.0/33') && !isCIDR('192.168.0.0')",
            "cidr('192.168.0.0/24').containsIP(ip('192.168.0.1')) && !cidr('192.168.0.0/24').containsIP('192.168.1.1')",
            "cidr('192.168.0.0/16').containsCIDR(cidr('192.168.10.0/24')) && !cidr('192.168.0.0/24').containsCIDR('192.168.0.0/16')",
            "cidr('192.168.0.1/24').masked() == cidr('192.168.0.0/24') && cidr('192.168.0.1/24').ip() == ip('192.168.0.1')",
            "cidr('2001:db8::/32').prefixLength() == 32 && string(cidr('10.0.0.0/8')) == '10.0.0.0/8' && cidr('0.0.0.0/0').containsIP('9.9.9.9')",
            "cidr(self.range).containsIP(self.address)",
        ],
        &json!({"range": "10.0.0.0/8", "address": "10.1.2.3"}),
    );
}

#[test]
fn formats_and_versions() {
    all_true(
        &[
            "!format.dns1123Label().validate('my-label-name').hasValue() && format.dns1123Label().validate('No').hasValue()",
            "format.dns1123Subdomain().validate('a_b').value().size() == 1 && !format.qualifiedName().validate('a.b/c').hasValue()",
            "format.named('dns1035Label').hasValue() && !format.named('unknown').hasValue()",
            "!format.dns1123LabelPrefix().validate('my-label-').hasValue() && !format.labelValue().validate('').hasValue()",
            "!format.uuid().validate('123e4567-e89b-12d3-a456-426614174000').hasValue() && format.uuid().validate('x').hasValue()",
            "!format.byte().validate('aGk=').hasValue() && format.byte().validate('?').hasValue()",
            "!format.date().validate('2021-01-01').hasValue() && format.date().validate('2021-13-01').hasValue()",
            "!format.datetime().validate('2021-01-01T00:00:00Z').hasValue() && !format.uri().validate('http://a').hasValue()",
            "isSemver('1.0.0') && !isSemver('hello') && !isSemver('v1.0.0') && isSemver('v1.0', true) && !isSemver('01.2.3')",
            "semver('1.2.3').major() == 1 && semver('1.2.3').minor() == 2 && semver('1.2.3').patch() == 3",
            "semver('1.2.3').isLessThan(semver('1.10.0')) && semver('1.0.0').isGreaterThan(semver('1.0.0-alpha.1'))",
            "semver('1.0.0-alpha.1').compareTo(semver('1.0.0-alpha.beta')) == -1 && semver('1.2.3+b') == semver('1.2.3')",
            "semver('v1.0', true) == semver('1.0.0') && semver('1.0.0').compareTo(semver('1.0.0')) == 0",
        ],
        &json!({}),
    );
}
