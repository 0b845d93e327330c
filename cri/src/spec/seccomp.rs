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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::Wish;
    use super::*;

    fn wish(kind: ProfileType, localhost_ref: &str) -> Wish {
        Wish::with(|wish| {
            wish.security().seccomp =
                Some(SecurityProfile { profile_type: kind.into(), localhost_ref: localhost_ref.into() });
            wish.host_files.files = vec![
                (
                    "/p.json",
                    r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["chmod"], "action": "SCMP_ACT_ERRNO"},
                        {"name": "mount", "action": "SCMP_ACT_ERRNO", "excludes": {"caps": ["CAP_CHOWN"]}}]}"#,
                ),
                ("/bad.json", "{"),
                ("/empty.json", "{}"),
                ("/odd.json", r#"{"defaultAction": "SCMP_ACT_PRAY"}"#),
            ];
        })
    }

    #[test]
    fn each_type_is_what_it_says() {
        let of = |wish: &Wish| wish.json()["linux"].get("seccomp").cloned();
        assert_eq!(of(&Wish::new()), None);
        assert_eq!(of(&wish(ProfileType::Unconfined, "")), None);
        let default = of(&wish(ProfileType::RuntimeDefault, "")).unwrap();
        assert_eq!(default["defaultAction"], "SCMP_ACT_ERRNO");
        for name in ["/p.json", "localhost//p.json"] {
            let own = of(&wish(ProfileType::Localhost, name)).unwrap();
            assert_eq!(
                own["syscalls"],
                json!([{"names": ["chmod"], "action": "SCMP_ACT_ERRNO", "args": []}]),
                "{name}"
            );
        }
        let mut privileged = wish(ProfileType::Localhost, "/nonesuch.json");
        privileged.privileged();
        assert_eq!(of(&privileged), None);
    }

    #[test]
    #[allow(deprecated)]
    fn the_older_field_counts_where_the_newer_one_is_not() {
        let old = |text: &str| Wish::with(|wish| wish.security().seccomp_profile_path = text.into());
        let mut both = wish(ProfileType::Unconfined, "");
        both.security().seccomp_profile_path = "runtime/default".into();
        assert!(both.json()["linux"].get("seccomp").is_none());
        assert!(old("runtime/default").json()["linux"].get("seccomp").is_some());
        assert!(old("unconfined").json()["linux"].get("seccomp").is_none());
        assert_eq!(
            old("localhost//no.json").error(),
            "linux.security_context.seccomp.localhost_ref: read \"/no.json\": No such file or directory (os error 2): \
             install the profile on this node"
        );
        assert_eq!(
            old("strict").error(),
            "linux.security_context.seccomp_profile_path: \"strict\" is none of runtime/default, unconfined and \
             localhost/NAME"
        );
    }

    #[test]
    fn profiles_that_are_none_are_named() {
        for (kind, name, expected) in [
            (ProfileType::Localhost, "", "empty: Localhost needs it"),
            (ProfileType::Localhost, "p.json", "\"p.json\" is not an absolute path"),
            (
                ProfileType::Localhost,
                "/bad.json",
                "\"/bad.json\": not JSON: EOF while parsing an object at line 1 column 1",
            ),
            (
                ProfileType::Localhost,
                "/empty.json",
                "\"/empty.json\": no seccomp profile: defaultAction is missing",
            ),
            (ProfileType::RuntimeDefault, "/p.json", "\"/p.json\" is given, but the type is not Localhost"),
        ] {
            let expected = format!("linux.security_context.seccomp.localhost_ref: {expected}");
            assert_eq!(wish(kind, name).error(), expected);
        }
        let odd = wish(ProfileType::Localhost, "/odd.json").error();
        assert!(odd.starts_with("linux.security_context.seccomp.localhost_ref: \"/odd.json\": "), "{odd}");
        assert!(odd.contains("SCMP_ACT_PRAY"), "{odd}");
        let strange = Wish::with(|wish| {
            wish.security().seccomp = Some(SecurityProfile { profile_type: 5, localhost_ref: String::new() });
        });
        assert_eq!(
            strange.error(),
            "linux.security_context.seccomp.profile_type: 5 is no type: RuntimeDefault, Unconfined or Localhost"
        );
    }
}
