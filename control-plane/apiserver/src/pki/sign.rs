//! Certificates for certificate signing requests: the subject, the key and the names are the request's, byte for byte;
//! everything else is ours (RFC 5280, RFC 2986).

use super::{Authority, PkiError};
use jiff::{SignedDuration, Timestamp};
use rcgen::SigningKey as _;
use std::time::SystemTime;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer as _;
use yasna::models::ObjectIdentifier;
use yasna::{DERWriter, Tag};

/// How far before now a certificate begins: clocks differ.
const BACKDATE: SignedDuration = SignedDuration::from_mins(5);
const SERIAL_BYTES: usize = 16;

const SUBJECT_KEY_ID: &[u64] = &[2, 5, 29, 14];
const KEY_USAGE: &[u64] = &[2, 5, 29, 15];
const SUBJECT_ALT_NAME: &[u64] = &[2, 5, 29, 17];
const BASIC_CONSTRAINTS: &[u64] = &[2, 5, 29, 19];
const AUTHORITY_KEY_ID: &[u64] = &[2, 5, 29, 35];
const EXTENDED_KEY_USAGE: &[u64] = &[2, 5, 29, 37];

/// What a request asks a certificate for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestFacts {
    pub common_name: String,
    pub organizations: Vec<String>,
    pub dns_names: usize,
    pub ip_addresses: usize,
    /// E-mail addresses, URIs and the like.
    pub other_names: usize,
}

/// Why a request gets no certificate: `CertificateSigningRequest`s show the text.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    #[error("PEM block type must be CERTIFICATE REQUEST")]
    Pem,
    #[error("the certificate request cannot be read: {0}")]
    Malformed(String),
    #[error("the certificate request is not signed with its own key")]
    Signature,
    #[error("usage {0:?} is not known")]
    Usage(String),
    #[error("the CA's key is of a kind that cannot sign requests")]
    Key,
    #[error(transparent)]
    Sign(#[from] PkiError),
}

/// Reads a request and checks that it is signed with its own key.
///
/// # Errors
/// See [`RequestError`].
pub fn read_request(pem: &[u8]) -> Result<RequestFacts, RequestError> {
    let der = der(pem)?;
    facts(&parse(&der)?)
}

impl Authority {
    /// A certificate (PEM) for the request, for these usages (Kubernetes' names), from five minutes ago until `seconds`
    /// from `now`, but no longer than the CA itself.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub fn sign_request(
        &self,
        pem: &[u8],
        usages: &[String],
        now: SystemTime,
        seconds: i64,
    ) -> Result<String, RequestError> {
        let now = Timestamp::try_from(now).unwrap_or(Timestamp::UNIX_EPOCH);
        let request_der = der(pem)?;
        let request = parse(&request_der)?;
        let usages = Usages::parse(usages)?;
        let ca_der = super::issue::der(self.certificate_pem()).ok_or(RequestError::Key)?;
        let (_, ca) = x509_parser::parse_x509_certificate(&ca_der).map_err(|_| RequestError::Key)?;
        let ca_end = ca.validity().not_after.timestamp();
        let validity = ((now - BACKDATE).as_second(), now.as_second().saturating_add(seconds).min(ca_end));
        let algorithm = Algorithm::of(self.key())?;
        let tbs = yasna::construct_der(|writer| {
            let certificate = ToBeSigned { request: &request, usages: &usages, validity, algorithm };
            certificate.write(writer, ca.subject().as_raw(), self.key_id());
        });
        let signature = self.key().sign(&tbs).map_err(PkiError::Sign)?;
        let certificate = yasna::construct_der(|writer| {
            writer.write_sequence(|writer| {
                writer.next().write_der(&tbs);
                algorithm.write(writer.next());
                writer.next().write_bitvec_bytes(&signature, signature.len() * 8);
            });
        });
        Ok(to_pem(&certificate))
    }
}

/// What a certificate may be used for.
#[derive(Default)]
struct Usages {
    /// Bits of KeyUsage, the first one in the highest place.
    key: u8,
    extended: Vec<&'static [u64]>,
}

impl Usages {
    fn parse(names: &[String]) -> Result<Self, RequestError> {
        let mut usages = Self::default();
        for name in names {
            match name.as_str() {
                "signing" | "digital signature" => usages.key |= 0x80,
                "content commitment" => usages.key |= 0x40,
                "key encipherment" => usages.key |= 0x20,
                "data encipherment" => usages.key |= 0x10,
                "key agreement" => usages.key |= 0x08,
                "cert sign" | "crl sign" => return Err(RequestError::Usage(name.clone())),
                "any" => usages.extended.push(&[2, 5, 29, 37, 0]),
                "server auth" => usages.extended.push(&[1, 3, 6, 1, 5, 5, 7, 3, 1]),
                "client auth" => usages.extended.push(&[1, 3, 6, 1, 5, 5, 7, 3, 2]),
                "code signing" => usages.extended.push(&[1, 3, 6, 1, 5, 5, 7, 3, 3]),
                "email protection" | "s/mime" => usages.extended.push(&[1, 3, 6, 1, 5, 5, 7, 3, 4]),
                "timestamping" => usages.extended.push(&[1, 3, 6, 1, 5, 5, 7, 3, 8]),
                "ocsp signing" => usages.extended.push(&[1, 3, 6, 1, 5, 5, 7, 3, 9]),
                _ => return Err(RequestError::Usage(name.clone())),
            }
        }
        Ok(usages)
    }
}

/// How the CA signs.
#[derive(Clone, Copy)]
struct Algorithm {
    id: &'static [u64],
    /// RSA's identifier has a NULL behind it.
    has_null: bool,
}

impl Algorithm {
    fn of(key: &rcgen::KeyPair) -> Result<Self, RequestError> {
        let known: [(&rcgen::SignatureAlgorithm, &'static [u64], bool); 4] = [
            (&rcgen::PKCS_ECDSA_P256_SHA256, &[1, 2, 840, 10045, 4, 3, 2], false),
            (&rcgen::PKCS_ECDSA_P384_SHA384, &[1, 2, 840, 10045, 4, 3, 3], false),
            (&rcgen::PKCS_RSA_SHA256, &[1, 2, 840, 113_549, 1, 1, 11], true),
            (&rcgen::PKCS_ED25519, &[1, 3, 101, 112], false),
        ];
        let found = known.into_iter().find(|(algorithm, ..)| *algorithm == key.algorithm());
        found.map(|(_, id, has_null)| Self { id, has_null }).ok_or(RequestError::Key)
    }

    fn write(self, writer: DERWriter<'_>) {
        writer.write_sequence(|writer| {
            writer.next().write_oid(&ObjectIdentifier::from_slice(self.id));
            if self.has_null {
                writer.next().write_null();
            }
        });
    }
}

struct ToBeSigned<'a> {
    request: &'a X509CertificationRequest<'a>,
    usages: &'a Usages,
    /// Unix seconds.
    validity: (i64, i64),
    algorithm: Algorithm,
}

impl ToBeSigned<'_> {
    fn write(&self, writer: DERWriter<'_>, issuer: &[u8], issuer_key_id: &[u8]) {
        let info = &self.request.certification_request_info;
        writer.write_sequence(|writer| {
            writer.next().write_tagged(Tag::context(0), |writer| writer.write_u8(2));
            let mut serial: [u8; SERIAL_BYTES] = rand::random();
            // Positive, and never shorter.
            serial[0] = serial[0] & 0x7f | 0x40;
            writer.next().write_bigint_bytes(&serial, true);
            self.algorithm.write(writer.next());
            writer.next().write_der(issuer);
            writer.next().write_sequence(|writer| {
                write_time(writer.next(), self.validity.0);
                write_time(writer.next(), self.validity.1);
            });
            writer.next().write_der(info.subject.as_raw());
            writer.next().write_der(info.subject_pki.raw);
            writer.next().write_tagged(Tag::context(3), |writer| {
                writer.write_sequence(|writer| {
                    if self.usages.key != 0 {
                        let unused = self.usages.key.trailing_zeros() as usize;
                        let bits = yasna::construct_der(|w| w.write_bitvec_bytes(&[self.usages.key], 8 - unused));
                        extension(writer.next(), KEY_USAGE, Criticality::Critical, &bits);
                    }
                    if !self.usages.extended.is_empty() {
                        let list = yasna::construct_der(|writer| {
                            writer.write_sequence(|writer| {
                                for id in &self.usages.extended {
                                    writer.next().write_oid(&ObjectIdentifier::from_slice(id));
                                }
                            });
                        });
                        extension(writer.next(), EXTENDED_KEY_USAGE, Criticality::Plain, &list);
                    }
                    let no_ca = yasna::construct_der(|writer| writer.write_sequence(|_| {}));
                    extension(writer.next(), BASIC_CONSTRAINTS, Criticality::Critical, &no_ca);
                    let key_id = ring::digest::digest(&ring::digest::SHA256, info.subject_pki.raw);
                    let own = yasna::construct_der(|writer| writer.write_bytes(&key_id.as_ref()[..20]));
                    extension(writer.next(), SUBJECT_KEY_ID, Criticality::Plain, &own);
                    let authority = yasna::construct_der(|writer| {
                        writer.write_sequence(|writer| {
                            writer.next().write_tagged_implicit(Tag::context(0), |w| w.write_bytes(issuer_key_id));
                        });
                    });
                    extension(writer.next(), AUTHORITY_KEY_ID, Criticality::Plain, &authority);
                    if let Some(names) = alternative_names(self.request) {
                        extension(writer.next(), SUBJECT_ALT_NAME, Criticality::Plain, names);
                    }
                });
            });
        });
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Criticality {
    Plain,
    Critical,
}

fn extension(writer: DERWriter<'_>, id: &[u64], criticality: Criticality, value: &[u8]) {
    writer.write_sequence(|writer| {
        writer.next().write_oid(&ObjectIdentifier::from_slice(id));
        if criticality == Criticality::Critical {
            writer.next().write_bool(true);
        }
        writer.next().write_bytes(value);
    });
}

/// RFC 5280 4.1.2.5: UTCTime until 2049, GeneralizedTime from then on.
fn write_time(writer: DERWriter<'_>, seconds: i64) {
    const YEAR_2050: i64 = 2_524_608_000;
    let time = Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH);
    let (tag, format) = if seconds < YEAR_2050 {
        (yasna::tags::TAG_UTCTIME, "%y%m%d%H%M%SZ")
    } else {
        (yasna::tags::TAG_GENERALIZEDTIME, "%Y%m%d%H%M%SZ")
    };
    let text = time.strftime(format).to_string();
    writer.write_tagged_implicit(tag, |writer| writer.write_bytes(text.as_bytes()));
}

fn der(pem: &[u8]) -> Result<Vec<u8>, RequestError> {
    let (_, block) = x509_parser::pem::parse_x509_pem(pem).map_err(|_| RequestError::Pem)?;
    if block.label == "CERTIFICATE REQUEST" { Ok(block.contents) } else { Err(RequestError::Pem) }
}

fn parse(der: &[u8]) -> Result<X509CertificationRequest<'_>, RequestError> {
    let (rest, request) =
        X509CertificationRequest::from_der(der).map_err(|error| RequestError::Malformed(error.to_string()))?;
    if !rest.is_empty() {
        return Err(RequestError::Malformed("there is more behind it".into()));
    }
    request.verify_signature().map_err(|_| RequestError::Signature)?;
    Ok(request)
}

fn facts(request: &X509CertificationRequest<'_>) -> Result<RequestFacts, RequestError> {
    let subject = &request.certification_request_info.subject;
    let text = |error: x509_parser::error::X509Error| RequestError::Malformed(error.to_string());
    let mut facts = RequestFacts::default();
    if let Some(name) = subject.iter_common_name().next() {
        facts.common_name = name.as_str().map_err(text)?.to_owned();
    }
    for organization in subject.iter_organization() {
        facts.organizations.push(organization.as_str().map_err(text)?.to_owned());
    }
    for extension in request.requested_extensions().into_iter().flatten() {
        let ParsedExtension::SubjectAlternativeName(names) = extension else { continue };
        for name in &names.general_names {
            match name {
                GeneralName::DNSName(_) => facts.dns_names += 1,
                GeneralName::IPAddress(_) => facts.ip_addresses += 1,
                _ => facts.other_names += 1,
            }
        }
    }
    Ok(facts)
}

/// The value of the requested subjectAltName extension, as it stands in the request.
fn alternative_names<'r>(request: &'r X509CertificationRequest<'_>) -> Option<&'r [u8]> {
    use x509_parser::cri_attributes::ParsedCriAttribute;
    let attributes = request.certification_request_info.attributes();
    attributes.iter().find_map(|attribute| match attribute.parsed_attribute() {
        ParsedCriAttribute::ExtensionRequest(requested) => requested
            .extensions
            .iter()
            .find(|extension| matches!(extension.parsed_extension(), ParsedExtension::SubjectAlternativeName(_)))
            .map(|extension| extension.value),
        _ => None,
    })
}

fn to_pem(der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in text.as_bytes().chunks(64) {
        pem.extend(line.iter().map(|byte| char::from(*byte)));
        pem.push('\n');
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    pem
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authn::certificate_user;
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    fn request(name: &str, organization: &str, host: Option<&str>) -> String {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, organization);
        params.distinguished_name.push(DnType::CommonName, name);
        params.subject_alt_names.extend(host.map(|host| SanType::DnsName(host.try_into().unwrap())));
        let key = KeyPair::generate().unwrap();
        params.serialize_request(&key).unwrap().pem().unwrap()
    }

    #[test]
    fn a_signed_request_is_a_certificate_of_this_ca_for_its_subject() {
        let authority = Authority::generate().unwrap();
        let pem = request("system:node:n1", "system:nodes", Some("n1.example.com"));
        let facts = read_request(pem.as_bytes()).unwrap();
        assert_eq!((facts.common_name.as_str(), facts.dns_names), ("system:node:n1", 1));
        assert_eq!(facts.organizations, ["system:nodes"]);
        let now = SystemTime::now();
        let usages = ["digital signature".to_owned(), "server auth".to_owned()];
        let signed = authority.sign_request(pem.as_bytes(), &usages, now, 3600).unwrap();
        let der = super::super::issue::der(&signed).unwrap();
        let (_, certificate) = x509_parser::parse_x509_certificate(&der).unwrap();
        let ca_der = super::super::issue::der(authority.certificate_pem()).unwrap();
        let (_, ca) = x509_parser::parse_x509_certificate(&ca_der).unwrap();
        certificate.verify_signature(Some(ca.public_key())).unwrap();
        assert_eq!(certificate.issuer(), ca.subject());
        let now = Timestamp::try_from(now).unwrap();
        assert_eq!(certificate.validity().not_after.timestamp(), now.as_second() + 3600);
        assert!(certificate.key_usage().unwrap().unwrap().value.digital_signature());
        assert!(certificate.extended_key_usage().unwrap().unwrap().value.server_auth);
        assert!(!certificate.is_ca());
        let names = &certificate.subject_alternative_name().unwrap().unwrap().value.general_names;
        assert_eq!(names, &[GeneralName::DNSName("n1.example.com")]);
        let user = certificate_user(&der).unwrap();
        assert_eq!(user.groups, ["system:nodes", "system:authenticated"]);
    }

    #[test]
    fn requests_that_make_no_sense_get_nothing() {
        let authority = Authority::generate().unwrap();
        let now = SystemTime::now();
        assert!(matches!(read_request(b"junk"), Err(RequestError::Pem)));
        let ca = authority.certificate_pem().as_bytes();
        assert!(matches!(authority.sign_request(ca, &[], now, 600), Err(RequestError::Pem)));
        let pem = request("x", "y", None);
        let sign = |usage: &str| authority.sign_request(pem.as_bytes(), &[usage.to_owned()], now, 600);
        assert!(matches!(sign("cert sign"), Err(RequestError::Usage(_))));
        assert!(matches!(sign("nonsense"), Err(RequestError::Usage(_))));
        assert!(sign("client auth").is_ok());
    }
}
