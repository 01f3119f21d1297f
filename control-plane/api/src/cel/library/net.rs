//! IP addresses and networks: `ip('10.0.0.1')`, `cidr('10.0.0.0/8')`.

use super::opaque::{Foreign, foreign, made, source};
use super::{Cost, Row, Sig, Style};
use crate::cel::error::Fault;
use crate::cel::eval::Frame;
use crate::cel::types::Opaque;
use crate::cel::value::Val;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const IP: Sig = Sig::Opaque(Opaque::Ip);
const CIDR: Sig = Sig::Opaque(Opaque::Cidr);

const fn parser(name: &'static str, result: Sig, run: super::Run) -> Row {
    Row { name, style: Style::Global, args: &[Sig::Text], result, cost: Cost::Convert, run }
}

const fn method(name: &'static str, args: &'static [Sig], result: Sig, run: super::Run) -> Row {
    Row { name, style: Style::Member, args, result, cost: Cost::One, run }
}

const fn is(name: &'static str, run: super::Run) -> Row {
    method(name, &[IP], Sig::Bool, run)
}

pub const ROWS: &[Row] = &[
    parser("ip", IP, ip),
    parser("isIP", Sig::Bool, is_ip),
    Row { cost: Cost::Twice, ..parser("ip.isCanonical", Sig::Bool, is_canonical) },
    parser("cidr", CIDR, cidr),
    parser("isCIDR", Sig::Bool, is_cidr),
    method("family", &[IP], Sig::Int, family),
    is("isUnspecified", is_unspecified),
    is("isLoopback", is_loopback),
    is("isLinkLocalMulticast", is_link_local_multicast),
    is("isLinkLocalUnicast", is_link_local_unicast),
    is("isGlobalUnicast", is_global_unicast),
    Row { cost: Cost::ContainsIp, ..method("containsIP", &[CIDR, IP], Sig::Bool, contains_ip) },
    Row { cost: Cost::ContainsIp, ..method("containsIP", &[CIDR, Sig::Text], Sig::Bool, contains_ip) },
    Row { cost: Cost::ContainsCidr, ..method("containsCIDR", &[CIDR, CIDR], Sig::Bool, contains_cidr) },
    Row { cost: Cost::ContainsCidr, ..method("containsCIDR", &[CIDR, Sig::Text], Sig::Bool, contains_cidr) },
    method("ip", &[CIDR], IP, ip_of),
    method("masked", &[CIDR], CIDR, masked),
    method("prefixLength", &[CIDR], Sig::Int, prefix_length),
];

/// An address and how many of its bits are the network's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

fn masked_address(address: IpAddr, bits: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or_default();
            IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() & mask))
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or_default();
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask))
        }
    }
}

impl Network {
    /// Bytes of the network's part of the address.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bits.div_ceil(8) as u64
    }

    fn contains(self, address: IpAddr) -> bool {
        address.is_ipv4() == self.address.is_ipv4()
            && masked_address(address, self.bits) == masked_address(self.address, self.bits)
    }
}

fn parse_ip(text: &str) -> Result<IpAddr, Fault> {
    let shown = crate::field::quoted(text);
    let address = go_address(text).map_err(|why| {
        Fault::of(format!("IP Address {shown} parse error during conversion from string: ParseAddr({shown}): {why}"))
    })?;
    if text.contains('%') {
        return Err(Fault::of(format!("IP address {shown} with zone value is not allowed")));
    }
    match address {
        IpAddr::V6(six) if six.to_ipv4_mapped().is_some() => {
            Err(Fault::of(format!("IPv4-mapped IPv6 address {shown} is not allowed")))
        }
        address => Ok(address),
    }
}

/// Go's `netip.ParseAddr`, with its words.
fn go_address(text: &str) -> Result<IpAddr, String> {
    match text.find(['.', ':', '%']).map(|at| text.as_bytes()[at]) {
        Some(b'.') => four(text).map(IpAddr::V4),
        Some(b':') => six(text).map(IpAddr::V6),
        Some(_) => Err("missing IPv6 address".into()),
        None => Err("unable to parse IP".into()),
    }
}

fn four(text: &str) -> Result<Ipv4Addr, String> {
    let (mut parts, mut value, mut digits) = (Vec::with_capacity(4), 0_u32, 0);
    for (at, c) in text.char_indices() {
        match c {
            '0'..='9' => {
                if digits == 1 && value == 0 {
                    return Err("IPv4 field has octet with leading zero".into());
                }
                value = value * 10 + c.to_digit(10).unwrap_or_default();
                digits += 1;
                if value > 255 {
                    return Err("IPv4 field has value >255".into());
                }
            }
            '.' => {
                if at == 0 || at + 1 == text.len() || text[..at].ends_with('.') {
                    let rest = crate::field::quoted(&text[at..]);
                    return Err(format!("IPv4 field must have at least one digit (at {rest})"));
                }
                if parts.len() == 3 {
                    return Err("IPv4 address too long".into());
                }
                parts.push(value as u8);
                (value, digits) = (0, 0);
            }
            _ => return Err(format!("unexpected character (at {})", crate::field::quoted(&text[at..]))),
        }
    }
    let [a, b, c] = parts[..] else { return Err("IPv4 address too short".into()) };
    Ok(Ipv4Addr::new(a, b, c, value as u8))
}

fn six(text: &str) -> Result<Ipv6Addr, String> {
    let (address, zone) = text.split_once('%').map_or((text, None), |(address, zone)| (address, Some(zone)));
    if zone == Some("") {
        return Err("zone must be a non-empty string".into());
    }
    address.parse().map_err(|_| match six_fault(address) {
        (why, None) => why.to_owned(),
        (why, Some(at)) => format!("{why} (at {})", crate::field::quoted(at)),
    })
}

/// What is wrong with the text of an IPv6 address, and where Go's parser sees it.
fn six_fault(text: &str) -> (&'static str, Option<&str>) {
    let mut rest = text;
    let (mut groups, mut gap) = (0, false);
    if let Some(after) = rest.strip_prefix("::") {
        (rest, gap) = (after, true);
    }
    while groups < 8 && !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(rest.len());
        if digits > 4 {
            return ("each group must have 4 or less digits", Some(rest));
        }
        if digits == 0 {
            return ("each colon-separated field must have at least one digit", Some(rest));
        }
        let after = &rest[digits..];
        if after.starts_with('.') {
            return if !gap && groups != 6 {
                ("embedded IPv4 address must replace the final 2 fields of the address", Some(rest))
            } else if groups > 6 {
                ("too many hex fields to fit an embedded IPv4 at the end of the address", Some(rest))
            } else {
                ("unable to parse IP", None)
            };
        }
        groups += 1;
        if after.is_empty() {
            rest = after;
            break;
        }
        let Some(next) = after.strip_prefix(':') else { return ("unexpected character, want colon", Some(after)) };
        if next.is_empty() {
            return ("colon must be followed by more characters", Some(after));
        }
        rest = next;
        if let Some(beyond) = next.strip_prefix(':') {
            if gap {
                return ("multiple :: in address", Some(next));
            }
            (rest, gap) = (beyond, true);
        }
    }
    if !rest.is_empty() {
        ("trailing garbage after address", Some(rest))
    } else if groups < 8 && !gap {
        ("address string too short", None)
    } else {
        ("the :: must expand to at least one field of zeros", None)
    }
}

fn parse_cidr(text: &str) -> Result<Network, Fault> {
    const WRONG: &str = "network address parse error during conversion from string";
    let wrong =
        |why: &str| Fault::of(format!("{WRONG}: {WRONG}: netip.ParsePrefix({}): {why}", crate::field::quoted(text)));
    let (address, length) = text.rsplit_once('/').ok_or_else(|| wrong("no '/'"))?;
    let address =
        go_address(address).map_err(|why| wrong(&format!("ParseAddr({}): {why}", crate::field::quoted(address))))?;
    if text.contains('%') {
        return Err(wrong("IPv6 zones cannot be present in a prefix"));
    }
    let most = if address.is_ipv4() { 32 } else { 128 };
    let plain = length.bytes().all(|b| b.is_ascii_digit()) && (length.len() == 1 || !length.starts_with('0'));
    let bits: Option<u16> = length.parse().ok().filter(|_| plain);
    let bits = bits.ok_or_else(|| wrong(&format!("bad bits after slash: {}", crate::field::quoted(length))))?;
    let bits = u8::try_from(bits).ok().filter(|bits| *bits <= most);
    let bits = bits.ok_or_else(|| wrong("prefix length out of range"))?;
    if matches!(address, IpAddr::V6(six) if six.to_ipv4_mapped().is_some()) {
        let shown = crate::field::quoted(text);
        return Err(Fault::of(format!("{WRONG}: IPv4-mapped IPv6 address {shown} is not allowed")));
    }
    Ok(Network { address, bits })
}

fn ip<'a>(frame: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    if let Some(Val::Foreign(_)) = args.first() {
        return ip_of(frame, args);
    }
    parse_ip(source(args)?).map(|address| made(Foreign::Ip(address)))
}

fn is_ip<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    Ok(Val::Bool(parse_ip(source(args)?).is_ok()))
}

fn is_canonical<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    let text = source(args)?;
    Ok(Val::Bool(parse_ip(text)?.to_string() == text))
}

fn cidr<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    parse_cidr(source(args)?).map(|network| made(Foreign::Cidr(network)))
}

fn is_cidr<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    Ok(Val::Bool(parse_cidr(source(args)?).is_ok()))
}

fn address(args: &[Val<'_>]) -> Result<IpAddr, Fault> {
    match foreign(args.first())? {
        Foreign::Ip(address) => Ok(*address),
        _ => Err(Fault::no_overload()),
    }
}

fn network(args: &[Val<'_>]) -> Result<Network, Fault> {
    match foreign(args.first())? {
        Foreign::Cidr(network) => Ok(*network),
        _ => Err(Fault::no_overload()),
    }
}

fn family<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    Ok(Val::Int(if address(args)?.is_ipv4() { 4 } else { 6 }))
}

fn is_unspecified<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    Ok(Val::Bool(address(args)?.is_unspecified()))
}

fn is_loopback<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    Ok(Val::Bool(address(args)?.is_loopback()))
}

fn link_local_multicast(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(four) => four.octets()[..3] == [224, 0, 0],
        IpAddr::V6(six) => six.segments()[0] & 0xff0f == 0xff02,
    }
}

fn link_local_unicast(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(four) => four.is_link_local(),
        IpAddr::V6(six) => six.is_unicast_link_local(),
    }
}

fn is_link_local_multicast<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    Ok(Val::Bool(link_local_multicast(address(args)?)))
}

fn is_link_local_unicast<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    Ok(Val::Bool(link_local_unicast(address(args)?)))
}

fn is_global_unicast<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    let address = address(args)?;
    let broadcast = address == IpAddr::V4(Ipv4Addr::BROADCAST);
    let local = address.is_unspecified() || address.is_loopback() || address.is_multicast();
    Ok(Val::Bool(!broadcast && !local && !link_local_unicast(address)))
}

fn contains_ip<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    let network = network(args)?;
    let other = match args.get(1) {
        // What is no address fits no overload, as in Kubernetes.
        Some(Val::Text(_)) => parse_ip(source(&args[1..])?).map_err(|_| Fault::no_overload())?,
        _ => address(args.get(1..).unwrap_or_default())?,
    };
    Ok(Val::Bool(network.contains(other)))
}

fn contains_cidr<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    let outer = network(args)?;
    let inner = match args.get(1) {
        Some(Val::Text(_)) => parse_cidr(source(&args[1..])?)?,
        _ => network(args.get(1..).unwrap_or_default())?,
    };
    Ok(Val::Bool(outer.bits <= inner.bits && outer.contains(inner.address)))
}

fn ip_of<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    Ok(made(Foreign::Ip(network(args)?.address)))
}

fn masked<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    let Network { address, bits } = network(args)?;
    Ok(made(Foreign::Cidr(Network { address: masked_address(address, bits), bits })))
}

fn prefix_length<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    Ok(Val::Int(i64::from(network(args)?.bits)))
}
