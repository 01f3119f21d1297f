//! Running guests, one file per kind of life: to the end, or request by request.

pub(crate) mod command;
pub(crate) mod http;
