//! Making and judging certificates. No files here.

use super::PkiError;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair as SigningKey, KeyUsagePurpose, SanType,
};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::X509Certificate;

const CA_YEARS: i32 = 10;
const LEAF_YEARS: i32 = 1;
/// A certificate with less than this left is made again at start.
const RENEW_BEFORE_DAYS: i64 = 30;

/// A certificate with its private key, both PEM.
#[derive(Clone)]
pub struct KeyPair {
    pub certificate_pem: String,
    pub key_pem: String,
}

/// The names that the serving certificate carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    dns: BTreeSet<String>,
    ips: BTreeSet<IpAddr>,
}

impl Names {
    /// Loopback, this host's name, the in-cluster names of the API, its service address, and `extra` (host names or addresses).
    #[must_use]
    pub fn new(service_ip: Option<IpAddr>, extra: &[String]) -> Self {
        let mut dns: BTreeSet<String> = [
            "localhost",
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            "kubernetes.default.svc.cluster.local",
        ]
        .map(String::from)
        .into();
        dns.extend(hostname());
        let mut ips = BTreeSet::from([IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)]);
        ips.extend(service_ip);
        for name in extra {
            match name.parse::<IpAddr>() {
                Ok(ip) => _ = ips.insert(ip),
                Err(_) => _ = dns.insert(name.clone()),
            }
        }
        Self { dns, ips }
    }

    fn alternative_names(&self) -> Vec<SanType> {
        // A host name that is no IA5String cannot be in a certificate; the server works without it.
        let dns = self.dns.iter().filter_map(|name| name.as_str().try_into().ok().map(SanType::DnsName));
        dns.chain(self.ips.iter().copied().map(SanType::IpAddress)).collect()
    }
}

fn hostname() -> Option<String> {
    let text = std::fs::read_to_string("/proc/sys/kernel/hostname").ok().or_else(|| std::env::var("HOSTNAME").ok())?;
    let name = text.trim().to_ascii_lowercase();
    (!name.is_empty() && name.is_ascii()).then_some(name)
}

/// Whom a client certificate speaks for: CN is the user, O the group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    pub user: String,
    pub group: Option<String>,
}

impl Subject {
    #[must_use]
    pub fn admin() -> Self {
        Self { user: "kubernetes-admin".into(), group: Some("system:masters".into()) }
    }

    #[must_use]
    pub fn node(name: &str) -> Self {
        Self { user: format!("system:node:{name}"), group: Some("system:nodes".into()) }
    }
}

/// The certificate authority of one cluster.
#[derive(Clone)]
pub struct Authority {
    certificate_pem: String,
    issuer: Arc<Issuer<'static, SigningKey>>,
    /// The CA's subject key identifier: leaves name it, so a leaf of another CA is noticed.
    key_id: Vec<u8>,
}

impl Authority {
    /// A new CA with a fresh key.
    ///
    /// # Errors
    /// [`PkiError::Sign`].
    pub fn generate() -> Result<Self, PkiError> {
        let key = SigningKey::generate().map_err(PkiError::Sign)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = distinguished_name("skiff-ca", None);
        set_validity(&mut params, CA_YEARS);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages =
            vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key_id = params.key_identifier(&key);
        let certificate_pem = params.self_signed(&key).map_err(PkiError::Sign)?.pem();
        Ok(Self { certificate_pem, issuer: Arc::new(Issuer::new(params, key)), key_id })
    }

    /// A CA from its PEM texts; the error says in a few words what is wrong with them.
    pub(super) fn from_pem(pair: &KeyPair) -> Result<Self, String> {
        let key = SigningKey::from_pem(&pair.key_pem).map_err(|e| format!("its key cannot be read: {e}"))?;
        let der = der(&pair.certificate_pem).ok_or("its certificate cannot be read")?;
        let (_, parsed) =
            x509_parser::parse_x509_certificate(&der).map_err(|e| format!("its certificate cannot be read: {e}"))?;
        if !parsed.is_ca() {
            return Err("its certificate is not a CA's".into());
        }
        if parsed.public_key().subject_public_key.data.as_ref() != key.public_key_raw() {
            return Err("its certificate and key do not belong together".into());
        }
        let key_id = key_identifier(&parsed, Which::Own).ok_or("its certificate has no key identifier")?;
        let issuer = Issuer::from_ca_cert_der(&der.as_slice().into(), key).map_err(|e| e.to_string())?;
        Ok(Self { certificate_pem: pair.certificate_pem.clone(), issuer: Arc::new(issuer), key_id })
    }

    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    pub(super) fn key(&self) -> &SigningKey {
        self.issuer.key()
    }

    pub(super) fn key_id(&self) -> &[u8] {
        &self.key_id
    }

    pub(super) fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    pub(super) fn pair(&self) -> KeyPair {
        KeyPair { certificate_pem: self.certificate_pem.clone(), key_pem: self.key_pem() }
    }

    /// A serving certificate for `names`.
    ///
    /// # Errors
    /// [`PkiError::Sign`].
    pub fn issue_serving(&self, names: &Names) -> Result<KeyPair, PkiError> {
        let mut params = leaf(distinguished_name("kube-apiserver", None), ExtendedKeyUsagePurpose::ServerAuth);
        params.subject_alt_names = names.alternative_names();
        self.sign(&params)
    }

    /// A client certificate for `subject`.
    ///
    /// # Errors
    /// [`PkiError::Sign`].
    pub fn issue_client(&self, subject: &Subject) -> Result<KeyPair, PkiError> {
        self.sign(&leaf(
            distinguished_name(&subject.user, subject.group.as_deref()),
            ExtendedKeyUsagePurpose::ClientAuth,
        ))
    }

    fn sign(&self, params: &CertificateParams) -> Result<KeyPair, PkiError> {
        let key = SigningKey::generate().map_err(PkiError::Sign)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(PkiError::Sign)?;
        Ok(KeyPair { certificate_pem: certificate.pem(), key_pem: key.serialize_pem() })
    }

    /// Whether `pair` was signed by this CA, is whole, and is far from its end.
    pub(super) fn is_current(&self, pair: &KeyPair) -> bool {
        self.judge(pair, |_| true)
    }

    /// [`Self::is_current`], and the certificate carries exactly `names`.
    pub(super) fn serves(&self, pair: &KeyPair, names: &Names) -> bool {
        self.judge(pair, |certificate| alternative_names(certificate).as_ref() == Some(names))
    }

    fn judge(&self, pair: &KeyPair, more: impl FnOnce(&X509Certificate<'_>) -> bool) -> bool {
        let (Ok(key), Some(der)) = (SigningKey::from_pem(&pair.key_pem), der(&pair.certificate_pem)) else {
            return false;
        };
        let Ok((_, parsed)) = x509_parser::parse_x509_certificate(&der) else { return false };
        let left = parsed.validity().not_after.timestamp() - jiff::Timestamp::now().as_second();
        left > RENEW_BEFORE_DAYS * 86_400
            && parsed.public_key().subject_public_key.data.as_ref() == key.public_key_raw()
            && key_identifier(&parsed, Which::Issuer).as_deref() == Some(self.key_id.as_slice())
            && more(&parsed)
    }
}

fn leaf(name: DistinguishedName, usage: ExtendedKeyUsagePurpose) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = name;
    set_validity(&mut params, LEAF_YEARS);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    params.extended_key_usages = vec![usage];
    params.use_authority_key_identifier_extension = true;
    params
}

fn distinguished_name(common_name: &str, organization: Option<&str>) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    if let Some(organization) = organization {
        name.push(DnType::OrganizationName, organization);
    }
    name.push(DnType::CommonName, common_name);
    name
}

/// From yesterday (clocks differ) for some years, in whole days.
fn set_validity(params: &mut CertificateParams, years: i32) {
    let today = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date();
    let start = today.saturating_sub(jiff::Span::new().days(1));
    let end = today.saturating_add(jiff::Span::new().years(years));
    params.not_before =
        rcgen::date_time_ymd(start.year().into(), start.month().unsigned_abs(), start.day().unsigned_abs());
    params.not_after = rcgen::date_time_ymd(end.year().into(), end.month().unsigned_abs(), end.day().unsigned_abs());
}

pub(super) fn der(pem: &str) -> Option<Vec<u8>> {
    use rustls::pki_types::{CertificateDer, pem::PemObject};
    CertificateDer::from_pem_slice(pem.as_bytes()).ok().map(|der| der.as_ref().to_vec())
}

#[derive(Clone, Copy)]
enum Which {
    Own,
    Issuer,
}

fn key_identifier(certificate: &X509Certificate<'_>, which: Which) -> Option<Vec<u8>> {
    certificate.extensions().iter().find_map(|extension| match (extension.parsed_extension(), &which) {
        (ParsedExtension::SubjectKeyIdentifier(id), Which::Own) => Some(id.0.to_vec()),
        (ParsedExtension::AuthorityKeyIdentifier(id), Which::Issuer) => {
            id.key_identifier.as_ref().map(|id| id.0.to_vec())
        }
        _ => None,
    })
}

fn alternative_names(certificate: &X509Certificate<'_>) -> Option<Names> {
    let mut names = Names { dns: BTreeSet::new(), ips: BTreeSet::new() };
    for name in &certificate.subject_alternative_name().ok()??.value.general_names {
        match name {
            GeneralName::DNSName(dns) => _ = names.dns.insert((*dns).into()),
            GeneralName::IPAddress(bytes) => _ = names.ips.insert(address(bytes)?),
            _ => {}
        }
    }
    Some(names)
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    <[u8; 4]>::try_from(bytes).map(IpAddr::from).or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}
