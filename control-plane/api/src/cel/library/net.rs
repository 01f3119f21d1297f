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
    parser("ip.isCanonical", Sig::Bool, is_canonical),
    parser("cidr", CIDR, cidr),
    parser("isCIDR", Sig::Bool, is_cidr),
    method("family", &[IP], Sig::Int, family),
    is("isUnspecified", is_unspecified),
    is("isLoopback", is_loopback),
    is("isLinkLocalMulticast", is_link_local_multicast),
    is("isLinkLocalUnicast", is_link_local_unicast),
    is("isGlobalUnicast", is_global_unicast),
    method("containsIP", &[CIDR, IP], Sig::Bool, contains_ip),
    method("containsIP", &[CIDR, Sig::Text], Sig::Bool, contains_ip),
    method("containsCIDR", &[CIDR, CIDR], Sig::Bool, contains_cidr),
    method("containsCIDR", &[CIDR, Sig::Text], Sig::Bool, contains_cidr),
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
    fn contains(self, address: IpAddr) -> bool {
        address.is_ipv4() == self.address.is_ipv4()
            && masked_address(address, self.bits) == masked_address(self.address, self.bits)
    }
}

fn parse_ip(text: &str) -> Result<IpAddr, Fault> {
    let shown = crate::field::quoted(text);
    if text.contains('%') {
        return Err(Fault::of(format!("IP address {shown} with zone value is not allowed")));
    }
    let padded = |part: &str| part.len() > 1 && part.starts_with('0') && part.bytes().all(|b| b.is_ascii_digit());
    let address: IpAddr = text.parse().map_err(|_| {
        let four = !text.contains(':') && text.split('.').count() == 4;
        let zeros = four && text.split('.').any(padded);
        let why = if zeros { "IPv4 field has octet with leading zero" } else { "unable to parse IP" };
        Fault::of(format!("IP Address {shown} parse error during conversion from string: ParseAddr({shown}): {why}"))
    })?;
    match address {
        IpAddr::V6(six) if six.to_ipv4_mapped().is_some() => {
            Err(Fault::of(format!("IPv4-mapped IPv6 address {shown} is not allowed")))
        }
        address => Ok(address),
    }
}

fn parse_cidr(text: &str) -> Result<Network, Fault> {
    let wrong = |why: &str| {
        let wrong = "network address parse error during conversion from string";
        Fault::of(format!("{wrong}: {wrong}: netip.ParsePrefix({}): {why}", crate::field::quoted(text)))
    };
    let (address, length) = text.split_once('/').ok_or_else(|| wrong("no '/'"))?;
    let address = parse_ip(address)?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let plain = length.bytes().all(|b| b.is_ascii_digit()) && (length.len() == 1 || !length.starts_with('0'));
    let bits = length.parse().ok().filter(|_| plain);
    let bits = bits.ok_or_else(|| wrong(&format!("bad bits after slash: {}", crate::field::quoted(length))))?;
    if bits > most {
        return Err(wrong("prefix length out of range"));
    }
    Ok(Network { address, bits })
}

fn ip<'a>(frame: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    if let Some(Val::Foreign(_)) = args.first() {
        return ip_of(frame, args);
    }
    parse_ip(source(frame, args)?).map(|address| made(Foreign::Ip(address)))
}

fn is_ip<'a>(frame: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    Ok(Val::Bool(parse_ip(source(frame, args)?).is_ok()))
}

fn is_canonical<'a>(frame: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    let text = source(frame, args)?;
    Ok(Val::Bool(parse_ip(text)?.to_string() == text))
}

fn cidr<'a>(frame: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    parse_cidr(source(frame, args)?).map(|network| made(Foreign::Cidr(network)))
}

fn is_cidr<'a>(frame: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    Ok(Val::Bool(parse_cidr(source(frame, args)?).is_ok()))
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

fn contains_ip<'a>(frame: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    let network = network(args)?;
    let other = match args.get(1) {
        Some(Val::Text(_)) => parse_ip(source(frame, &args[1..])?)?,
        _ => address(args.get(1..).unwrap_or_default())?,
    };
    Ok(Val::Bool(network.contains(other)))
}

fn contains_cidr<'a>(frame: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    let outer = network(args)?;
    let inner = match args.get(1) {
        Some(Val::Text(_)) => parse_cidr(source(frame, &args[1..])?)?,
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
