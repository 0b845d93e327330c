//! Which profile filters system calls: seccomp(2).

use std::path::Path;

use rcrun::image::container::security::resolved;
use rcrun::seccomp::default_profile;
use serde_json::Value;

use super::{Invalid, Request};
use crate::api::SecurityProfile;
use crate::api::security_profile::ProfileType;

const FIELD: &str = "linux.security_context.seccomp";

/// linux.seccomp for a container with these capabilities; None: no filter.
pub(super) fn profile(request: &Request<'_>, capabilities: &[String]) -> Result<Option<Value>, Invalid> {
    let security = request.security();
    if security.privileged {
        return Ok(None);
    }
    #[allow(deprecated)] // Older kubelets say it so.
    let wish = match (&security.seccomp, security.seccomp_profile_path.as_str()) {
        (Some(profile), _) => profile.clone(),
        (None, "") => return Ok(None),
        (None, text) => super::labels::profile("linux.security_context.seccomp_profile_path", text)?,
    };
    match checked(&wish, FIELD)? {
        ProfileType::Unconfined => Ok(None),
        ProfileType::RuntimeDefault => Ok(Some(default_profile(capabilities))),
        ProfileType::Localhost => localhost(request, &wish.localhost_ref, capabilities).map(Some),
    }
}

/// The type of a profile whose fields go together.
pub(super) fn checked(profile: &SecurityProfile, field: &str) -> Result<ProfileType, Invalid> {
    match ProfileType::try_from(profile.profile_type) {
        Err(_) => {
            let reason =
                format!("{} is no type: RuntimeDefault, Unconfined or Localhost", profile.profile_type);
            Err(Invalid::new(format!("{field}.profile_type"), reason))
        }
        Ok(ProfileType::Localhost) if profile.localhost_ref.is_empty() => {
            Err(Invalid::new(format!("{field}.localhost_ref"), "empty: Localhost needs it"))
        }
        Ok(ProfileType::Localhost) => Ok(ProfileType::Localhost),
        Ok(_) if !profile.localhost_ref.is_empty() => {
            let reason = format!("{:?} is given, but the type is not Localhost", profile.localhost_ref);
            Err(Invalid::new(format!("{field}.localhost_ref"), reason))
        }
        Ok(kind) => Ok(kind),
    }
}

/// A file in docker's format, which is OCI's with conditions.
fn localhost(request: &Request<'_>, name: &str, capabilities: &[String]) -> Result<Value, Invalid> {
    let refuse = |reason: String| Err(Invalid::new(format!("{FIELD}.localhost_ref"), reason));
    let path = Path::new(name.strip_prefix("localhost/").unwrap_or(name));
    if !path.is_absolute() {
        return refuse(format!("{path:?} is not an absolute path"));
    }
    let bytes = match request.host_files.read(path) {
        Ok(bytes) => bytes,
        Err(error) => return refuse(format!("read {path:?}: {error}: install the profile on this node")),
    };
    let profile: Value = match serde_json::from_slice(&bytes) {
        Ok(profile) => profile,
        Err(error) => return refuse(format!("{path:?}: not JSON: {error}")),
    };
    if !profile.get("defaultAction").is_some_and(Value::is_string) {
        return refuse(format!("{path:?}: no seccomp profile: defaultAction is missing"));
    }
    let profile = resolved(&profile, capabilities);
    // Its types are checked here, where the file's name is known.
    match serde_json::from_value::<oci_spec::runtime::LinuxSeccomp>(profile.clone()) {
        Ok(_) => Ok(profile),
        Err(error) => refuse(format!("{path:?}: {error}")),
    }
}
