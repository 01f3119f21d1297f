//! Content negotiation: what the client reads (`Accept`) and what it sent (`Content-Type`).

use api::table::IncludeObject;
use api::{Reason, Status};
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
    /// `as=PartialObjectMetadata` or `…List`.
    Metadata,
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
    pub gzip: bool,
    pub pretty: bool,
    pub owners: Owners,
}

impl Accept {
    /// JSON in full: what errors and internal requests get.
    pub(crate) const JSON: Self =
        Self { format: Format::Json, shape: Shape::Full, gzip: false, pretty: false, owners: Owners::Shown };

    /// The first clause of `Accept` that can be served. Protobuf cannot: clients that ask for it name JSON as well.
    ///
    /// # Errors
    /// 406 when no clause can.
    pub(crate) fn parse(headers: &HeaderMap) -> Result<Self, Status> {
        let gzip = header(headers, &header::ACCEPT_ENCODING).is_some_and(|text| {
            text.split(',').any(|coding| coding.trim().split(';').next().is_some_and(|c| c.trim() == "gzip"))
        });
        let hidden = headers.get(OWNERS).is_some_and(|value| value == "none");
        let wishes = Self { gzip, owners: if hidden { Owners::Hidden } else { Owners::Shown }, ..Self::JSON };
        let mut clauses = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).peekable();
        if clauses.peek().is_none() {
            return Ok(wishes);
        }
        clauses.flat_map(|value| value.split(',')).find_map(|clause| served(clause.trim())).map_or_else(
            || Err(not_acceptable("application/json, application/yaml")),
            |(format, shape)| Ok(Self { format, shape, ..wishes }),
        )
    }

    pub(crate) fn content_type(self) -> &'static str {
        match self.format {
            Format::Json | Format::Protobuf => "application/json",
            Format::Yaml => "application/yaml",
        }
    }
}

/// 406, naming what would be `accepted`.
pub(crate) fn not_acceptable(accepted: &str) -> Status {
    Status::new(Reason::NotAcceptable, format!("only the following media types are accepted: {accepted}"))
}

/// One clause of `Accept`, if it can be served.
fn served(clause: &str) -> Option<(Format, Shape)> {
    let mut parts = clause.split(';').map(str::trim);
    let format = match parts.next()? {
        "application/json" | "*/*" | "application/*" | "" => Format::Json,
        "application/yaml" => Format::Yaml,
        _ => return None,
    };
    let (mut group, mut version, mut target) = ("", "", "");
    for part in parts {
        match part.split_once('=') {
            Some(("g", value)) => group = value,
            Some(("v", value)) => version = value,
            Some(("as", value)) => target = value,
            _ => {}
        }
    }
    let known = group == "meta.k8s.io" && matches!(version, "v1" | "v1beta1");
    match target {
        "" => Some((format, Shape::Full)),
        "Table" if known => Some((format, Shape::Table(IncludeObject::default()))),
        "PartialObjectMetadata" | "PartialObjectMetadataList" if known => Some((format, Shape::Metadata)),
        _ => None,
    }
}

/// Whether a clause of `Accept` asks for the aggregated discovery document, and in which version.
pub(crate) fn aggregated_discovery(headers: &HeaderMap) -> Option<api::discovery::AggregatedVersion> {
    use api::discovery::AggregatedVersion::{V2, V2Beta1};
    let clauses = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    for clause in clauses.flat_map(|value| value.split(',')) {
        let has = |wanted: &str| clause.split(';').any(|part| part.trim() == wanted);
        if !has("application/json") {
            continue;
        }
        if !has("as=APIGroupDiscoveryList") {
            return None;
        }
        match () {
            () if has("v=v2") => return Some(V2),
            () if has("v=v2beta1") => return Some(V2Beta1),
            () => {}
        }
    }
    None
}

/// The syntax of a request's body. None at all means JSON, as in Kubernetes.
///
/// # Errors
/// 415 for anything but JSON, YAML and protobuf.
pub(crate) fn body_format(headers: &HeaderMap) -> Result<Format, Status> {
    match media_type(headers) {
        None | Some("application/json" | "text/plain" | "application/x-www-form-urlencoded") => Ok(Format::Json),
        Some("application/yaml" | "application/x-yaml" | "text/yaml") => Ok(Format::Yaml),
        Some("application/vnd.kubernetes.protobuf") => Ok(Format::Protobuf),
        Some(other) => {
            Err(unsupported(other, "application/json, application/yaml, application/vnd.kubernetes.protobuf"))
        }
    }
}

pub(crate) fn unsupported(found: &str, accepted: &str) -> Status {
    let message = format!(
        "the body of the request was in an unknown format - accepted media types include: {accepted} (not {found})"
    );
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
        assert_eq!(Accept::parse(&metadata).unwrap().shape, Shape::Metadata);
    }

    #[test]
    fn discovery_is_aggregated_only_for_who_asks_first() {
        let both = accept(
            "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json",
        );
        assert_eq!(aggregated_discovery(&both), Some(AggregatedVersion::V2));
        let old = accept("application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json");
        assert_eq!(aggregated_discovery(&old), Some(AggregatedVersion::V2Beta1));
        assert_eq!(aggregated_discovery(&accept("application/json")), None);
    }

    #[test]
    fn bodies_are_json_yaml_or_protobuf() {
        let of = |text: &str| body_format(&HeaderMap::from_iter([(header::CONTENT_TYPE, text.parse().unwrap())]));
        assert_eq!(of("application/json; charset=utf-8").unwrap(), Format::Json);
        assert_eq!(of("application/yaml").unwrap(), Format::Yaml);
        assert_eq!(of("application/vnd.kubernetes.protobuf").unwrap(), Format::Protobuf);
        assert_eq!(of("application/cbor").unwrap_err().code, 415);
        assert_eq!(body_format(&HeaderMap::new()).unwrap(), Format::Json);
    }
}
