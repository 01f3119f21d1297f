//! Named formats: `format.dns1123Label().validate(self.name)`.

use super::calls::text as text_of;
use super::opaque::{Foreign, foreign, made, source};
use super::{Cost, Row, Sig, Style, cost};
use crate::cel::error::Fault;
use crate::cel::eval::Frame;
use crate::cel::types::Opaque;
use crate::cel::value::Val;
use crate::crd::formats::Format;
use crate::crd::url::Url;
use crate::names;

/// A format that strings can be checked against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    Dns1123Label,
    Dns1123Subdomain,
    Dns1035Label,
    QualifiedName,
    Dns1123LabelPrefix,
    Dns1123SubdomainPrefix,
    Dns1035LabelPrefix,
    LabelValue,
    Uri,
    Uuid,
    Byte,
    Date,
    DateTime,
}

const NAMES: &[(&str, Named)] = &[
    ("dns1123Label", Named::Dns1123Label),
    ("dns1123Subdomain", Named::Dns1123Subdomain),
    ("dns1035Label", Named::Dns1035Label),
    ("qualifiedName", Named::QualifiedName),
    ("dns1123LabelPrefix", Named::Dns1123LabelPrefix),
    ("dns1123SubdomainPrefix", Named::Dns1123SubdomainPrefix),
    ("dns1035LabelPrefix", Named::Dns1035LabelPrefix),
    ("labelValue", Named::LabelValue),
    ("uri", Named::Uri),
    ("uuid", Named::Uuid),
    ("byte", Named::Byte),
    ("date", Named::Date),
    ("datetime", Named::DateTime),
];

const F: Sig = Sig::Opaque(Opaque::Format);

const fn named(name: &'static str, run: super::Run) -> Row {
    Row { name, style: Style::Global, args: &[], result: F, cost: Cost::One, run }
}

pub const ROWS: &[Row] = &[
    Row {
        name: "format.named",
        style: Style::Global,
        args: &[Sig::Text],
        result: Sig::Optional(&F),
        cost: Cost::One,
        run: by_name,
    },
    Row {
        name: "validate",
        style: Style::Member,
        args: &[F, Sig::Text],
        result: Sig::Optional(&Sig::List(&Sig::Text)),
        cost: Cost::Validate,
        run: validate,
    },
    named("format.dns1123Label", |_, _| give(Named::Dns1123Label)),
    named("format.dns1123Subdomain", |_, _| give(Named::Dns1123Subdomain)),
    named("format.dns1035Label", |_, _| give(Named::Dns1035Label)),
    named("format.qualifiedName", |_, _| give(Named::QualifiedName)),
    named("format.dns1123LabelPrefix", |_, _| give(Named::Dns1123LabelPrefix)),
    named("format.dns1123SubdomainPrefix", |_, _| give(Named::Dns1123SubdomainPrefix)),
    named("format.dns1035LabelPrefix", |_, _| give(Named::Dns1035LabelPrefix)),
    named("format.labelValue", |_, _| give(Named::LabelValue)),
    named("format.uri", |_, _| give(Named::Uri)),
    named("format.uuid", |_, _| give(Named::Uuid)),
    named("format.byte", |_, _| give(Named::Byte)),
    named("format.date", |_, _| give(Named::Date)),
    named("format.datetime", |_, _| give(Named::DateTime)),
];

fn give<'a>(named: Named) -> Result<Val<'a>, Fault> {
    Ok(made(Foreign::Format(named)))
}

fn by_name<'a>(_: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    let wanted = source(args)?;
    let found = NAMES.iter().find(|(name, _)| *name == wanted);
    Ok(found.map_or(Val::Optional(None), |(_, named)| Val::some(made(Foreign::Format(*named)))))
}

impl Named {
    /// Bytes of the expression that Kubernetes counts for the format.
    const fn expression(self) -> u64 {
        match self {
            Self::Dns1123Label | Self::Dns1035Label | Self::Dns1123LabelPrefix | Self::Dns1035LabelPrefix => 30,
            Self::Dns1123Subdomain | Self::Dns1123SubdomainPrefix | Self::QualifiedName => 60,
            Self::LabelValue => 40,
            Self::Uri => 1_104,
            Self::Uuid => 72,
            Self::Byte => 84,
            Self::Date | Self::DateTime => 72,
        }
    }

    /// What is wrong with a text.
    fn check(self, text: &str) -> Vec<String> {
        let of = |format: Format, why: &str| if format.accepts(text) { Vec::new() } else { vec![why.to_owned()] };
        // A prefix may end in what only the middle of a name may be. The character before is not looked at, either.
        let prefix = || match text.strip_suffix('-').and_then(|start| start.char_indices().next_back()) {
            Some((last, _)) => format!("{}a", &text[..last]),
            None => text.to_owned(),
        };
        match self {
            Self::Dns1123Label => names::check_dns1123_label(text),
            Self::Dns1123Subdomain => names::check_dns1123_subdomain(text),
            Self::Dns1035Label => names::check_dns1035_label(text),
            Self::QualifiedName => names::check_qualified_name(text),
            Self::Dns1123LabelPrefix => names::check_dns1123_label(&prefix()),
            Self::Dns1123SubdomainPrefix => names::check_dns1123_subdomain(&prefix()),
            Self::Dns1035LabelPrefix => names::check_dns1035_label(&prefix()),
            Self::LabelValue => names::check_label_value(text),
            Self::Uri => Url::parse_request(text).err().into_iter().collect(),
            Self::Uuid => of(Format::Uuid, "does not match the UUID format"),
            Self::Byte => of(Format::Byte, "invalid base64"),
            Self::Date => of(Format::Date, "invalid date"),
            Self::DateTime => of(Format::DateTime, "invalid datetime"),
        }
    }
}

fn validate<'a>(frame: &mut Frame<'a>, args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    let (Foreign::Format(named), Some(value)) = (foreign(args.first())?, args.get(1)) else {
        return Err(Fault::no_overload());
    };
    let text = text_of(value)?.as_str();
    frame.charge(cost::validated(text, named.expression()))?;
    let wrong: Vec<Val<'a>> = named.check(text).into_iter().map(Val::from).collect();
    Ok(if wrong.is_empty() { Val::Optional(None) } else { Val::some(wrong.into()) })
}
