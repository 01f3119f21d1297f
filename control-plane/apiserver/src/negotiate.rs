//! Content negotiation: what the client reads (`Accept`) and what it sent (`Content-Type`).

use crate::request::Query;
use api::table::IncludeObject;
use api::{Reason, Status, Verb};
use http::{HeaderMap, header};

/// The syntax of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Json,
    Yaml,
    /// Read only: nothing is answered in it.
    Protobuf,
}

/// What objects are turned into before they are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Full,
    /// `as=Table`: what kubectl prints.
    Table(IncludeObject),
    /// `as=PartialObjectMetadata`, or `…List`.
    Metadata(Asked),
}

/// What a client takes the answer for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    One,
    List,
}

/// The version of `meta.k8s.io` that shapes are sent in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MetaVersion {
    V1,
    V1Beta1,
}

/// Whether objects are sent with their `managedFields`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owners {
    Shown,
    Hidden,
}

/// Who sends this with `none` gets objects without `managedFields`: components of this process, which have no use for them and
/// would only read over them.
pub(crate) const OWNERS: &str = "skiff-managed-fields";

/// The client's wishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Accept {
    pub format: Format,
    pub shape: Shape,
    pub meta_version: MetaVersion,
    pub gzip: bool,
    pub pretty: bool,
    pub owners: Owners,
}

impl Accept {
    /// JSON in full: what errors and internal requests get.
    pub(crate) const JSON: Self = Self {
        format: Format::Json,
        shape: Shape::Full,
        meta_version: MetaVersion::V1,
        gzip: false,
        pretty: false,
        owners: Owners::Shown,
    };

    /// The clause of `Accept` that the client likes best among those that can be served. Protobuf cannot: clients that ask
    /// for it name JSON as well.
    ///
    /// # Errors
    /// 406 when no clause can.
    pub(crate) fn parse(headers: &HeaderMap) -> Result<Self, Status> {
        let gzip = header(headers, &header::ACCEPT_ENCODING).is_some_and(|text| {
            text.split(',').any(|coding| coding.trim().split(';').next().is_some_and(|c| c.trim() == "gzip"))
        });
        let hidden = headers.get(OWNERS).is_some_and(|value| value == "none");
        let wishes = Self { gzip, owners: if hidden { Owners::Hidden } else { Owners::Shown }, ..Self::JSON };
        if header(headers, &header::ACCEPT).is_none_or(str::is_empty) {
            return Ok(wishes);
        }
        preferred(headers, |clause| served(clause, wishes))
            .ok_or_else(|| not_acceptable("application/json, application/yaml"))
    }

    /// `pretty` as the client asks for it in the query; who does not say is a human if the client is one for humans.
    pub(crate) fn prettily(mut self, headers: &HeaderMap, query: &Query<'_>) -> Self {
        self.pretty |= match query.text("pretty") {
            Some(text) => matches!(text, "1" | "t" | "T" | "true" | "TRUE" | "True"),
            None => header(headers, &header::USER_AGENT)
                .is_some_and(|agent| ["curl", "Wget", "Mozilla/5.0"].iter().any(|human| agent.starts_with(human))),
        };
        self
    }

    pub(crate) fn content_type(self) -> &'static str {
        match self.format {
            Format::Json | Format::Protobuf => "application/json",
            Format::Yaml => "application/yaml",
        }
    }
}

/// What every route of a built-in kind answers in, as go-restful says it.
const REPRESENTATIONS: [&str; 3] = ["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"];

/// Holds `Accept` to what go-restful, in front of Kubernetes' own negotiation, asks of it: one of the types to the letter, or
/// `*/*`. Custom kinds are not behind it.
///
/// # Errors
/// 406.
pub(crate) fn check_route(headers: &HeaderMap, verb: Verb) -> Result<(), Status> {
    let texts = || headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    // Of several headers it reads the first.
    let Some(text) = texts().next().filter(|text| !text.is_empty()) else { return Ok(()) };
    let range =
        |clause: &'static str| text.split(',').any(|c| c.split(';').next().unwrap_or_default().trim() == clause);
    if REPRESENTATIONS.into_iter().any(range) || range("*/*") {
        return Ok(());
    }
    let streams = match verb {
        Verb::List | Verb::Watch => ", application/json;stream=watch",
        _ => "",
    };
    // Protobuf has a route, but no answer: a client is to name another type beside it.
    let available = REPRESENTATIONS[..2].join(", ");
    let why = format!("406: Not Acceptable\n\nAvailable representations: {available}{streams}");
    Err(routing(Reason::NotAcceptable, why))
}

/// An error of go-restful's: its details are empty, but there.
fn routing(reason: Reason, why: impl Into<String>) -> Status {
    let mut status = Status::new(reason, why);
    status.details = Some(Box::default());
    status
}

/// 415 for a patch in a syntax that no built-in kind's route takes.
pub(crate) fn unrouted() -> Status {
    routing(Reason::UnsupportedMediaType, "415: Unsupported Media Type")
}

/// 406, naming what would be `accepted`.
pub(crate) fn not_acceptable(accepted: &str) -> Status {
    Status::new(Reason::NotAcceptable, format!("only the following media types are accepted: {accepted}"))
}

/// One clause of `Accept`: a range of media types and its parameters.
#[derive(Clone, Copy)]
struct Clause<'h> {
    kind: &'h str,
    subtype: &'h str,
    parameters: &'h str,
}

impl<'h> Clause<'h> {
    /// None for what is no media range.
    fn parse(text: &'h str) -> Option<Self> {
        let (range, parameters) = text.split_once(';').unwrap_or((text, ""));
        let (kind, subtype) = match range.trim() {
            "*" => ("*", "*"),
            range => range.split_once('/')?,
        };
        Some(Self { kind: kind.trim(), subtype: subtype.trim(), parameters })
    }

    fn parameters(self) -> impl Iterator<Item = (&'h str, &'h str)> {
        let pairs = self.parameters.split(';').filter_map(|pair| pair.split_once('='));
        pairs.map(|(name, value)| (name.trim(), value.trim()))
    }

    /// How much it is liked: 1 unless it says so; not at all where what it says is no number.
    fn quality(self) -> f32 {
        self.parameters().find(|(name, _)| *name == "q").map_or(1.0, |(_, value)| value.parse().unwrap_or(0.0))
    }

    fn covers(self, subtype: &str) -> bool {
        match (self.kind, self.subtype) {
            ("*" | "application", "*") => true,
            ("application", own) => own == subtype,
            _ => false,
        }
    }

    /// The position among others: quality first, then types before ranges of types.
    fn rank(self) -> (f32, bool, bool) {
        (-self.quality(), self.kind == "*", self.subtype == "*")
    }
}

/// The first answer of `accept` to the clauses of `Accept`, the dearest first. A clause that is worth nothing (`q=0`) comes last
/// but counts, as in Kubernetes (`goautoneg`).
fn preferred<T>(headers: &HeaderMap, accept: impl Fn(Clause<'_>) -> Option<T>) -> Option<T> {
    let texts = || headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let clauses = || texts().flat_map(|text| text.split(',')).filter_map(Clause::parse);
    // Hardly a client ranks what it names; then the order is the one it is written in, and nothing need be kept.
    if !texts().any(|text| text.contains('*') || text.contains("q=")) {
        return clauses().find_map(accept);
    }
    let mut ranked: Vec<Clause<'_>> = clauses().collect();
    ranked.sort_by(|a, b| a.rank().partial_cmp(&b.rank()).unwrap_or(std::cmp::Ordering::Equal));
    ranked.into_iter().find_map(accept)
}

/// What a clause of `Accept` asks for, if it can be served.
fn served(clause: Clause<'_>, wishes: Accept) -> Option<Accept> {
    let format = match () {
        () if clause.covers("json") => Format::Json,
        () if clause.covers("yaml") => Format::Yaml,
        () => return None,
    };
    let (mut group, mut version, mut target, mut pretty) = ("", "", None, false);
    for (name, value) in clause.parameters() {
        match name {
            "g" => group = value,
            "v" => version = value,
            "as" => target = Some(value),
            "pretty" => pretty = value == "1",
            // Only watches are streamed, and only as JSON.
            "stream" if !matches!(value, "" | "watch") || format != Format::Json => return None,
            _ => {}
        }
    }
    let known = group == "meta.k8s.io" && matches!(version, "v1" | "v1beta1");
    let shape = match target {
        None if group.is_empty() && version.is_empty() => Shape::Full,
        Some("Table") if known => Shape::Table(IncludeObject::default()),
        Some("PartialObjectMetadata") if known => Shape::Metadata(Asked::One),
        Some("PartialObjectMetadataList") if known => Shape::Metadata(Asked::List),
        _ => return None,
    };
    let meta_version = if version == "v1beta1" { MetaVersion::V1Beta1 } else { MetaVersion::V1 };
    Some(Accept { format, shape, meta_version, pretty, ..wishes })
}

/// Whether a clause of `Accept` asks for the aggregated discovery document, and in which version.
pub(crate) fn aggregated_discovery(headers: &HeaderMap) -> Option<api::discovery::AggregatedVersion> {
    use api::discovery::AggregatedVersion::{V2, V2Beta1};
    preferred(headers, |clause| {
        if !clause.covers("json") && !clause.covers("yaml") {
            return None;
        }
        let of = |wanted: &str| clause.parameters().find(|(name, _)| *name == wanted).map_or("", |(_, value)| value);
        match (of("g"), of("v"), of("as")) {
            ("", "", "") => Some(None),
            ("apidiscovery.k8s.io", "v2", "APIGroupDiscoveryList") => Some(Some(V2)),
            ("apidiscovery.k8s.io", "v2beta1", "APIGroupDiscoveryList") => Some(Some(V2Beta1)),
            _ => None,
        }
    })
    .flatten()
}

/// The syntax of a request's body. None at all means JSON, as in Kubernetes.
///
/// # Errors
/// 415 for anything but JSON, YAML and protobuf.
pub(crate) fn body_format(headers: &HeaderMap) -> Result<Format, Status> {
    let formats = [
        ("application/json", Format::Json),
        ("application/yaml", Format::Yaml),
        ("application/vnd.kubernetes.protobuf", Format::Protobuf),
    ];
    let Some(text) = header(headers, &header::CONTENT_TYPE).filter(|text| !text.is_empty()) else {
        return Ok(Format::Json);
    };
    let (media, parameters) = text.split_once(';').unwrap_or((text, ""));
    let named = |parameter: &str| parameter.trim().is_empty() || parameter.contains('=');
    let found = formats.into_iter().find(|(known, _)| media.trim().eq_ignore_ascii_case(known));
    found
        .filter(|_| parameters.split(';').all(named))
        .map(|(_, format)| format)
        .ok_or_else(|| unsupported("application/json, application/yaml, application/vnd.kubernetes.protobuf"))
}

pub(crate) fn unsupported(accepted: &str) -> Status {
    let message =
        format!("the body of the request was in an unknown format - accepted media types include: {accepted}");
    Status::new(Reason::UnsupportedMediaType, message)
}

/// `Content-Type` without its parameters.
pub(crate) fn media_type(headers: &HeaderMap) -> Option<&str> {
    header(headers, &header::CONTENT_TYPE)
        .and_then(|text| text.split(';').next())
        .map(str::trim)
        .filter(|text| !text.is_empty())
}

fn header<'h>(headers: &'h HeaderMap, name: &header::HeaderName) -> Option<&'h str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::discovery::AggregatedVersion;

    fn accept(text: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::ACCEPT, text.parse().unwrap())])
    }

    #[test]
    fn kubectl_gets_its_table() {
        let headers = accept(
            "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json",
        );
        assert!(matches!(Accept::parse(&headers).unwrap().shape, Shape::Table(_)));
    }

    #[test]
    fn protobuf_clients_fall_back_to_json_or_get_406() {
        let headers = accept("application/vnd.kubernetes.protobuf,application/json");
        assert_eq!(Accept::parse(&headers).unwrap(), Accept::JSON);
        assert_eq!(Accept::parse(&accept("application/vnd.kubernetes.protobuf")).unwrap_err().code, 406);
        let metadata = accept(
            "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json",
        );
        assert_eq!(Accept::parse(&metadata).unwrap().shape, Shape::Metadata(Asked::List));
    }

    #[test]
    fn what_a_client_likes_best_is_what_it_gets() {
        let of = |text: &str| Accept::parse(&accept(text)).map(|accept| (accept.format, accept.shape));
        let (json, yaml) = ((Format::Json, Shape::Full), (Format::Yaml, Shape::Full));
        let cases = [
            ("", json),
            ("*", json),
            ("*/*", json),
            ("application/*", json),
            ("application/yaml", yaml),
            ("application/yaml,*/*", yaml),
            ("*/*,application/yaml", yaml),
            ("application/*;q=0.9,application/yaml;q=0.8", json),
            ("application/json;q=0.5,application/yaml", yaml),
            ("application/json;q=0.5, application/yaml;q=0.7", yaml),
            ("text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8", json),
            ("application/json;q=0", json),
            ("application/json;charset=utf-8", json),
            ("application/json;stream=watch", json),
            ("application/vnd.kubernetes.protobuf;stream=watch,application/json", json),
            ("application/json;as=Table;v=v9;g=meta.k8s.io,application/yaml", yaml),
            (
                "application/yaml;as=PartialObjectMetadata;v=v1;g=meta.k8s.io",
                (Format::Yaml, Shape::Metadata(Asked::One)),
            ),
            ("application/json;q=0.1;as=PartialObjectMetadata;v=v1;g=meta.k8s.io,application/json", json),
        ];
        for (text, expected) in cases {
            assert_eq!(of(text).unwrap(), expected, "{text}");
        }
        for text in [
            "text/html",
            "json",
            ",",
            "image/*",
            "application/json;as=Pod;v=v1;g=meta.k8s.io",
            "application/json;as=Table;v=v1",
            "application/yaml;stream=watch",
            "application/json;stream=logs",
        ] {
            let error = of(text).unwrap_err();
            assert_eq!(error.code, 406, "{text}");
            let why = "only the following media types are accepted: application/json, application/yaml";
            assert_eq!(error.message, why);
        }
        assert!(Accept::parse(&accept("application/json;pretty=1")).unwrap().pretty);
    }

    #[test]
    fn routes_know_types_to_the_letter() {
        let route = |text: &str, verb| check_route(&accept(text), verb).map_err(|status| status.message);
        for known in ["application/json;as=Table", "text/html, */*;q=0.1", "application/vnd.kubernetes.protobuf"] {
            assert_eq!(route(known, Verb::Get), Ok(()), "{known}");
        }
        assert_eq!(check_route(&HeaderMap::new(), Verb::Get), Ok(()));
        for unknown in ["*", "application/*", "text/html", "APPLICATION/json"] {
            let why = "406: Not Acceptable\n\nAvailable representations: application/json, application/yaml";
            assert_eq!(route(unknown, Verb::Get).unwrap_err(), why);
            assert!(
                route(unknown, Verb::List).unwrap_err().starts_with(&format!("{why}, application/json;stream=watch"))
            );
        }
    }

    #[test]
    fn humans_are_answered_in_lines() {
        let pretty = |agent: &str, query: &str| {
            let headers = HeaderMap::from_iter([(header::USER_AGENT, agent.parse().unwrap())]);
            Accept::JSON.prettily(&headers, &Query::parse(query)).pretty
        };
        assert!(pretty("curl/8.5.0", "") && pretty("Wget/1.21", "") && pretty("Mozilla/5.0 (X11)", "pretty="));
        assert!(pretty("kubectl/v1.36.0", "pretty=true") && pretty("", "pretty=1"));
        for (agent, query) in [("kubectl/v1.36.0", ""), ("curl/8.5.0", "pretty=false"), ("curl/8.5.0", "pretty=yes")] {
            assert!(!pretty(agent, query), "{agent} {query}");
        }
    }

    #[test]
    fn discovery_is_aggregated_only_for_who_asks_first() {
        let both = accept(
            "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json",
        );
        assert_eq!(aggregated_discovery(&both), Some(AggregatedVersion::V2));
        let old = accept("application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json");
        assert_eq!(aggregated_discovery(&old), Some(AggregatedVersion::V2Beta1));
        for plain in ["application/json", "*/*", "text/html", "application/json;v=v2;as=APIGroupDiscoveryList"] {
            assert_eq!(aggregated_discovery(&accept(plain)), None, "{plain}");
        }
        let ranked =
            accept("application/json;q=0.9;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json");
        assert_eq!(aggregated_discovery(&ranked), None);
    }

    #[test]
    fn bodies_are_json_yaml_or_protobuf() {
        let of = |text: &str| body_format(&HeaderMap::from_iter([(header::CONTENT_TYPE, text.parse().unwrap())]));
        assert_eq!(of("application/json; charset=utf-8").unwrap(), Format::Json);
        assert_eq!(of("application/yaml").unwrap(), Format::Yaml);
        assert_eq!(of("application/vnd.kubernetes.protobuf").unwrap(), Format::Protobuf);
        assert_eq!(of("APPLICATION/JSON;").unwrap(), Format::Json);
        for other in ["application/cbor", "text/yaml", "text/plain", "application/json;q", ";", "*/*"] {
            assert_eq!(of(other).unwrap_err().code, 415, "{other}");
        }
        assert_eq!(body_format(&HeaderMap::new()).unwrap(), Format::Json);
    }
}
