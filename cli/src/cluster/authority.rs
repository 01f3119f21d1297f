//! The cluster's CA, as the controllers that sign with it see it.

use apiserver::pki::{Pki, read_request};
use controllers::certificates::{Authority, Facts};
use std::time::SystemTime;

pub struct ClusterAuthority(pub Pki);

impl Authority for ClusterAuthority {
    fn read(&self, request: &[u8]) -> Result<Facts, String> {
        let facts = read_request(request).map_err(|error| error.to_string())?;
        Ok(Facts {
            common_name: facts.common_name,
            organizations: facts.organizations,
            dns_names: facts.dns_names,
            ip_addresses: facts.ip_addresses,
            other_names: facts.other_names,
        })
    }

    fn sign(&self, request: &[u8], usages: &[String], seconds: i64) -> Result<String, String> {
        self.0.authority().sign_request(request, usages, SystemTime::now(), seconds).map_err(|error| error.to_string())
    }
}
