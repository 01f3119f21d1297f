//! Secrets of type `kubernetes.io/service-account-token` are filled when they are made: with a token of their account that
//! has no end, the cluster's CA and the namespace. (In Kubernetes a controller does it a moment later.)

use super::{Operation, Plugin, Request};
use crate::authn::Tokens;
use crate::authn::service_account::{LEGACY_ISSUER, LegacyClaims};
use api::{Status, meta};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::future::{self, BoxFuture};
use serde_json::{Value, json};
use std::sync::Arc;

const TYPE: &str = "kubernetes.io/service-account-token";
const NAME: &str = "kubernetes.io/service-account.name";
const UID: &str = "kubernetes.io/service-account.uid";

pub(super) struct TokenSecret {
    pub tokens: Arc<Tokens>,
}

impl Plugin for TokenSecret {
    fn handles(&self, request: &Request<'_>) -> bool {
        request.operation == Operation::Create
            && request.resource.storage == "core/secrets"
            && request.object.get("type").is_some_and(|kind| kind == TYPE)
    }

    fn admit<'a>(&'a self, request: &'a mut Request<'_>) -> BoxFuture<'a, Result<(), Status>> {
        Box::pin(future::ready(self.fill(request)))
    }
}

impl TokenSecret {
    fn fill(&self, request: &mut Request<'_>) -> Result<(), Status> {
        let Some(account) = meta::annotation(request.object, NAME).map(String::from) else { return Ok(()) };
        let namespace = request.namespace;
        // The token names its Secret: one whose name is yet to be generated gets none.
        let secret = meta::name(request.object).to_owned();
        let entry = request.snapshot.get(format!("core/serviceaccounts/{namespace}/{account}").as_bytes());
        let Some(entry) = entry.filter(|_| !secret.is_empty()) else { return Ok(()) };
        let object: Value = serde_json::from_slice(&entry.value.body).map_err(Status::internal)?;
        let uid = meta::uid(&object).to_owned();
        if meta::annotation(request.object, UID).is_some_and(|wanted| wanted != uid) {
            return Ok(());
        }
        let accounts = self.tokens.accounts()?;
        let claims = LegacyClaims {
            iss: LEGACY_ISSUER.into(),
            namespace: namespace.to_owned(),
            secret,
            account: account.clone(),
            account_uid: uid.clone(),
            sub: format!("system:serviceaccount:{namespace}:{account}"),
        };
        request.object["metadata"]["annotations"][UID] = uid.into();
        if !request.object.get("data").is_some_and(Value::is_object) {
            request.object["data"] = json!({});
        }
        let data = &mut request.object["data"];
        let values = [
            ("token", accounts.sign(&claims).map_err(Status::internal)?),
            ("ca.crt", accounts.ca_pem().to_owned()),
            ("namespace", namespace.to_owned()),
        ];
        for (key, value) in values {
            if data.get(key).is_none() {
                data[key] = STANDARD.encode(value).into();
            }
        }
        Ok(())
    }
}
