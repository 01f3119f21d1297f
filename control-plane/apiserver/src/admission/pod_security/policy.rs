//! Which policy a namespace's labels ask for (`pod-security-admission/api`).

use api::field::{Error as FieldError, Path};
use std::fmt;

/// How much a policy forbids, from nothing on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    Privileged,
    Baseline,
    Restricted,
}

impl Level {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "privileged" => Some(Self::Privileged),
            "baseline" => Some(Self::Baseline),
            "restricted" => Some(Self::Restricted),
            _ => None,
        }
    }
}

/// A minor version of Kubernetes 1; newer than all: the latest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Version {
    Minor(u32),
    Latest,
}

impl Version {
    fn parse(text: &str) -> Option<Self> {
        if text == "latest" {
            return Some(Self::Latest);
        }
        let digits = text.strip_prefix("v1.")?;
        let plain = digits.bytes().all(|byte| byte.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'));
        digits.parse().ok().filter(|_| plain).map(Self::Minor)
    }

    pub(super) fn is_at_least(self, minor: u32) -> bool {
        self >= Self::Minor(minor)
    }
}

/// `restricted:latest`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    pub level: Level,
    pub version: Version,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.level {
            Level::Privileged => "privileged",
            Level::Baseline => "baseline",
            Level::Restricted => "restricted",
        })?;
        match self.version {
            Version::Latest => f.write_str(":latest"),
            Version::Minor(minor) => write!(f, ":v1.{minor}"),
        }
    }
}

/// What a namespace asks for. The audit rule goes nowhere: there is no audit log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Policy {
    pub enforce: Rule,
    pub warn: Rule,
}

const PREFIX: &str = "pod-security.kubernetes.io/";

impl Policy {
    const NONE: Self = {
        let none = Rule { level: Level::Privileged, version: Version::Latest };
        Self { enforce: none, warn: none }
    };

    /// Whether pods need not be looked at.
    pub(super) fn is_open(&self) -> bool {
        self.enforce.level == Level::Privileged && self.warn.level == Level::Privileged
    }

    /// The policy of a namespace whose labels `label` finds. There always is one; what is wrong with the labels is told
    /// beside it. A bad level to enforce is the strictest, a bad level to warn of is none.
    pub(super) fn of<'v>(label: impl Fn(&str) -> Option<&'v str>) -> (Self, Vec<FieldError>) {
        let (mut policy, mut errors) = (Self::NONE, Vec::new());
        let mut audit = Self::NONE.warn;
        for (mode, rule, fallback) in [
            ("enforce", &mut policy.enforce, Level::Restricted),
            ("audit", &mut audit, Level::Privileged),
            ("warn", &mut policy.warn, Level::Privileged),
        ] {
            let mut wrong = |key: String, value: &str, why: &str| {
                let labels = Path::new("metadata.labels");
                errors.push(FieldError::invalid(&labels.key(&key), value, why));
            };
            let key = format!("{PREFIX}{mode}");
            if let Some(text) = label(&key) {
                rule.level = Level::parse(text).unwrap_or_else(|| {
                    wrong(key, text, "must be one of privileged, baseline, restricted");
                    fallback
                });
            }
            let key = format!("{PREFIX}{mode}-version");
            if let Some(text) = label(&key) {
                rule.version = Version::parse(text).unwrap_or_else(|| {
                    wrong(key, text, "must be \"latest\" or \"v1.x\"");
                    Version::Latest
                });
            }
        }
        (policy, errors)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_say_level_and_version() {
        let of = |pairs: &[(&str, &'static str)]| {
            let pairs: Vec<(String, &'static str)> = pairs.iter().map(|(k, v)| (format!("{PREFIX}{k}"), *v)).collect();
            Policy::of(|key| pairs.iter().find(|(k, _)| k == key).map(|(_, value)| *value))
        };
        let (policy, errors) = of(&[("enforce", "baseline"), ("enforce-version", "v1.25"), ("warn", "restricted")]);
        assert!(errors.is_empty());
        assert_eq!(
            (policy.enforce.to_string(), policy.warn.to_string()),
            ("baseline:v1.25".into(), "restricted:latest".into())
        );
        let (policy, errors) = of(&[("enforce", "strict"), ("warn", "x"), ("audit-version", "v1.01")]);
        assert_eq!((policy.enforce.level, policy.warn.level), (Level::Restricted, Level::Privileged));
        let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: \"strict\": must be one of privileged, baseline, restricted",
                "metadata.labels[pod-security.kubernetes.io/audit-version]: Invalid value: \"v1.01\": must be \"latest\" or \"v1.x\"",
                "metadata.labels[pod-security.kubernetes.io/warn]: Invalid value: \"x\": must be one of privileged, baseline, restricted",
            ]
        );
        assert!(of(&[]).0.is_open());
    }
}
