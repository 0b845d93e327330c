use serde_json::json;

use super::*;
use crate::cri::api::{Int64Value, LinuxContainerSecurityContext};

fn of_image(spec: Value, image: &api::Image) -> Result<LinuxContainerSecurityContext, SpecError> {
    let config = container_of_image(spec, image, &Objects::default())?;
    Ok(config.linux.expect("linux").security_context.expect("context"))
}

fn of(own: Value, of_pod: Value) -> Result<LinuxContainerSecurityContext, SpecError> {
    of_image(json!({"securityContext": of_pod, "containers": [{"securityContext": own}]}), &image())
}

#[test]
fn nothing_said_is_kubelets_default() {
    let context = of(json!(null), json!(null)).expect("a context");
    assert_eq!(context.run_as_user, Some(Int64Value { value: 0 }));
    assert_eq!((context.privileged, context.readonly_rootfs, context.no_new_privs), (false, false, false));
    assert_eq!(context.seccomp.expect("seccomp").profile_type, 1);
    assert_eq!((context.apparmor, context.capabilities, context.run_as_group), (None, None, None));
    assert!(context.masked_paths.contains(&"/proc/kcore".to_owned()));
    assert!(context.readonly_paths.contains(&"/proc/sys".to_owned()));
}

#[test]
fn a_container_goes_before_its_pod() {
    let pod = json!({"runAsUser": 1, "runAsGroup": 2, "fsGroup": 5, "supplementalGroups": [6], "seLinuxOptions": {"level": "s1"},
        "seccompProfile": {"type": "RuntimeDefault"}, "appArmorProfile": {"type": "RuntimeDefault"}});
    let inherited = of(json!({}), pod.clone()).expect("a context");
    let number = |value: &Option<Int64Value>| value.as_ref().map(|value| value.value);
    assert_eq!((number(&inherited.run_as_user), number(&inherited.run_as_group)), (Some(1), Some(2)));
    assert_eq!(inherited.supplemental_groups, [5, 6]);
    assert_eq!(inherited.seccomp.expect("seccomp").profile_type, 0);
    assert_eq!(inherited.apparmor.expect("apparmor").profile_type, 0);
    let own = json!({"runAsUser": 7, "privileged": true, "readOnlyRootFilesystem": true, "allowPrivilegeEscalation": false, "procMount": "Unmasked",
        "capabilities": {"add": ["NET_ADMIN"], "drop": ["ALL"]}, "seccompProfile": {"type": "Localhost", "localhostProfile": "a/b.json"},
        "appArmorProfile": {"type": "Localhost", "localhostProfile": "p"}, "seLinuxOptions": {"type": "t"}});
    let context = of(own, pod).expect("a context");
    assert_eq!((number(&context.run_as_user), number(&context.run_as_group)), (Some(7), Some(2)));
    assert!(context.privileged && context.readonly_rootfs && context.no_new_privs);
    assert!(context.masked_paths.is_empty() && context.readonly_paths.is_empty());
    let capabilities = context.capabilities.expect("capabilities");
    assert_eq!(
        (capabilities.add_capabilities, capabilities.drop_capabilities),
        (vec!["NET_ADMIN".to_owned()], vec!["ALL".to_owned()])
    );
    let seccomp = context.seccomp.expect("seccomp");
    assert_eq!((seccomp.profile_type, seccomp.localhost_ref.as_str()), (2, "/state/seccomp/a/b.json"));
    assert_eq!(context.apparmor.expect("apparmor").localhost_ref, "p");
    let selinux = context.selinux_options.expect("selinux");
    assert_eq!((selinux.r#type.as_str(), selinux.level.as_str()), ("t", ""));
}

#[test]
fn profiles_stay_in_their_directory() {
    for (profile, wanted) in [("../x", "without .."), ("/etc/passwd", "without .."), ("", "without ..")] {
        let own = json!({"seccompProfile": {"type": "Localhost", "localhostProfile": profile}});
        let error = of(own, json!(null)).expect_err("outside");
        assert!(
            error.message.starts_with("container main: securityContext.seccompProfile: localhostProfile: "),
            "{error}"
        );
        assert!(error.message.contains(wanted), "{error}");
    }
}

#[test]
fn users_of_images() {
    let numbered = |value| api::Image { uid: Some(Int64Value { value }), ..image() };
    let named = api::Image { username: "www".into(), ..image() };
    let plain = json!({});
    let context = of_image(plain.clone(), &numbered(9)).expect("a context");
    assert_eq!((context.run_as_user, context.run_as_username.as_str()), (Some(Int64Value { value: 9 }), ""));
    let context = of_image(plain, &named).expect("a context");
    assert_eq!((context.run_as_user, context.run_as_username.as_str()), (None, "www"));
    let non_root = json!({"securityContext": {"runAsNonRoot": true}});
    assert!(of_image(non_root.clone(), &numbered(9)).is_ok());
    for (image, wanted) in [
        (numbered(0), "the image runs as root: set runAsUser"),
        (image(), "the image runs as root: set runAsUser"),
        (
            named.clone(),
            "the image's user \"www\" is a name, which may be root's: set runAsUser to its number",
        ),
    ] {
        let error = of_image(non_root.clone(), &image).expect_err("root");
        assert_eq!(error.message, format!("container main: securityContext.runAsNonRoot: {wanted}"));
        assert_eq!(error.reason, "CreateContainerConfigError");
    }
    assert!(of_image(json!({"securityContext": {"runAsNonRoot": true, "runAsUser": 5}}), &named).is_ok());
    let error = of(json!({"runAsUser": 0}), json!({"runAsNonRoot": true, "runAsUser": 5})).expect_err("root");
    assert!(error.message.ends_with("runAsUser is 0, which is root"), "{error}");
    assert!(of(json!({"runAsNonRoot": false}), json!({"runAsNonRoot": true})).is_ok());
}
