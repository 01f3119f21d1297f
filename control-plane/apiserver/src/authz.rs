//! Whether a user may do what it asks. RBAC comes as another [`Authorizer`].

use crate::request::RequestInfo;
use crate::user::User;

/// What an authorizer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    Allow,
    /// Refused; the text ends the `Forbidden` message and may be empty.
    Deny(String),
}

/// Decides about requests whose user is known. Must be quick: it runs for each of them.
pub trait Authorizer: Send + Sync {
    fn authorize(&self, user: &User, request: &RequestInfo<'_>) -> Decision;

    /// Whether every request of this user is allowed, for who asks for the rules themselves (`kubectl auth can-i --list`).
    fn allows_everything(&self, _user: &User) -> bool {
        false
    }
}

/// Allows everything to everyone who is authenticated.
pub struct AllowAuthenticated;

impl Authorizer for AllowAuthenticated {
    fn authorize(&self, _user: &User, _request: &RequestInfo<'_>) -> Decision {
        Decision::Allow
    }

    fn allows_everything(&self, _user: &User) -> bool {
        true
    }
}
