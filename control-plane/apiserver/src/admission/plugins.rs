//! The names of admission plugins, as `--enable-admission-plugins` and `--disable-admission-plugins` take them
//! (`pkg/kubeapiserver/options/plugins.go`), and which of them a server runs.

use std::collections::BTreeSet;

/// Where a plugin of Kubernetes stands here.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    On,
    Off,
    /// Its work is done whether it is asked for or not.
    Always,
    Absent,
}
use Standing::{Absent, Always, Off, On};

/// In Kubernetes' order. NodeRestriction is on, as kubeadm has it.
const ALL: &[(&str, Standing)] = &[
    ("AlwaysAdmit", Off),
    ("NamespaceAutoProvision", Absent),
    ("NamespaceLifecycle", Always),
    ("NamespaceExists", Always),
    ("LimitPodHardAntiAffinityTopology", Absent),
    ("LimitRanger", On),
    ("ServiceAccount", On),
    ("NodeRestriction", On),
    ("TaintNodesByCondition", Absent),
    ("AlwaysPullImages", Off),
    ("ImagePolicyWebhook", Absent),
    ("PodSecurity", On),
    ("PodNodeSelector", Absent),
    ("Priority", On),
    ("DefaultTolerationSeconds", On),
    ("PodTolerationRestriction", Absent),
    ("EventRateLimit", Absent),
    ("ExtendedResourceToleration", Absent),
    ("DefaultStorageClass", On),
    ("StorageObjectInUseProtection", On),
    ("PodGroupProtection", Absent),
    ("OwnerReferencesPermissionEnforcement", Off),
    ("PersistentVolumeClaimResize", On),
    ("RuntimeClass", On),
    ("CertificateApproval", Always),
    ("CertificateSigning", Always),
    ("ClusterTrustBundleAttest", Absent),
    ("CertificateSubjectRestriction", Always),
    ("DefaultIngressClass", On),
    ("DenyServiceExternalIPs", Off),
    ("PodTopologyLabels", On),
    ("PodGroupWorkloadExists", Absent),
    ("NodeDeclaredFeatureValidator", Absent),
    ("JobValidation", Absent),
    ("PodResizeValidator", Absent),
    ("MutatingAdmissionPolicy", Absent),
    ("MutatingAdmissionWebhook", On),
    ("ValidatingAdmissionPolicy", Absent),
    ("ValidatingAdmissionWebhook", On),
    ("ResourceQuota", On),
    ("AlwaysDeny", Off),
];

/// Names that cannot be obeyed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PluginsError {
    #[error("{flag} plugin {name:?} is unknown")]
    Unknown { flag: &'static str, name: String },
    #[error("[{0}] in enable-admission-plugins and disable-admission-plugins overlapped")]
    Both(String),
    #[error("enable-admission-plugins plugin {0:?} is not in this version of skiff")]
    Absent(String),
    #[error("disable-admission-plugins plugin {0:?} cannot be switched off in skiff")]
    Always(String),
}

/// Which plugins a server runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdmissionPlugins(BTreeSet<&'static str>);

impl Default for AdmissionPlugins {
    fn default() -> Self {
        Self(ALL.iter().filter(|(_, standing)| matches!(standing, On | Always)).map(|(name, _)| *name).collect())
    }
}

impl AdmissionPlugins {
    /// The default ones, with those of `enable` and without those of `disable`: names with commas between them.
    ///
    /// # Errors
    /// See [`PluginsError`].
    pub fn parse(enable: &str, disable: &str) -> Result<Self, PluginsError> {
        let mut plugins = Self::default();
        let (enable, disable) =
            (names("enable-admission-plugins", enable)?, names("disable-admission-plugins", disable)?);
        let both: Vec<&str> = enable.iter().filter(|plugin| disable.contains(plugin)).map(|(name, _)| *name).collect();
        if !both.is_empty() {
            return Err(PluginsError::Both(both.join(" ")));
        }
        for (name, standing) in enable {
            if standing == Absent {
                return Err(PluginsError::Absent(name.into()));
            }
            plugins.0.insert(name);
        }
        for (name, standing) in disable {
            if standing == Always {
                return Err(PluginsError::Always(name.into()));
            }
            plugins.0.remove(name);
        }
        Ok(plugins)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains(name)
    }
}

fn names(flag: &'static str, list: &str) -> Result<Vec<(&'static str, Standing)>, PluginsError> {
    let parts = list.split(',').map(str::trim).filter(|name| !name.is_empty());
    let known = parts.map(|name| {
        let found = ALL.iter().find(|(known, _)| *known == name).copied();
        found.ok_or_else(|| PluginsError::Unknown { flag, name: name.into() })
    });
    known.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_change_the_defaults_and_name_only_what_is_known() {
        let plugins =
            AdmissionPlugins::parse("OwnerReferencesPermissionEnforcement, LimitRanger", "PodSecurity").unwrap();
        assert!(plugins.has("OwnerReferencesPermissionEnforcement") && plugins.has("LimitRanger"));
        assert!(!plugins.has("PodSecurity") && !plugins.has("AlwaysDeny"));
        let refused = |enable: &str, disable: &str| AdmissionPlugins::parse(enable, disable).unwrap_err().to_string();
        assert_eq!(refused("Magic", ""), "enable-admission-plugins plugin \"Magic\" is unknown");
        assert_eq!(refused("", "Magic"), "disable-admission-plugins plugin \"Magic\" is unknown");
        assert_eq!(
            refused("Priority", "Priority"),
            "[Priority] in enable-admission-plugins and disable-admission-plugins overlapped"
        );
        assert!(refused("EventRateLimit", "").contains("not in this version"));
        assert!(refused("", "NamespaceLifecycle").contains("cannot be switched off"));
    }
}
