//! Whose a container's process is: what the security context says, looked up in the image's own files.

use std::os::fd::OwnedFd;

use rcrun::image::container::users;
use tonic::Status;

use crate::api;
use crate::spec::User;

/// The user in the root file system `root` of an image whose `User` is `of_image`.
pub fn resolve(
    root: &OwnedFd,
    security: &api::LinuxContainerSecurityContext,
    of_image: &str,
) -> Result<User, Status> {
    let wish = Wish::of(security, of_image)?;
    let look_up = |text: &str| {
        users::resolve(root, text, &[])
            .map_err(|error| Status::invalid_argument(format!("{}: user {text:?}: {error}", wish.field)))
    };
    let user = look_up(&wish.user)?;
    let gid = match (wish.gid, &wish.group) {
        (Some(gid), _) => gid,
        (None, Some(group)) => look_up(&format!("{}:{group}", wish.user))?.gid,
        (None, None) => user.gid,
    };
    let of_files = if wish.strict { &[] } else { user.groups.as_slice() };
    let mut groups = vec![gid];
    for group in of_files.iter().chain(&wish.groups) {
        if !groups.contains(group) {
            groups.push(*group);
        }
    }
    let home = rcrun::bundle::home_directory(root, user.uid);
    Ok(User { uid: user.uid, gid, additional_gids: groups, home })
}

/// Of the security context and the image, before anything is looked up.
#[derive(Debug, PartialEq, Eq)]
struct Wish {
    /// For messages.
    field: &'static str,
    /// A name or a number; empty: root.
    user: String,
    /// The image's group, a name or a number.
    group: Option<String>,
    /// run_as_group.
    gid: Option<u32>,
    /// supplemental_groups.
    groups: Vec<u32>,
    /// Not those of /etc/group.
    strict: bool,
}

impl Wish {
    fn of(security: &api::LinuxContainerSecurityContext, of_image: &str) -> Result<Self, Status> {
        let name = security.run_as_username.as_str();
        let uid = security.run_as_user.as_ref().map(|id| id.value);
        let gid = security.run_as_group.as_ref().map(|id| id.value);
        if gid.is_some() && name.is_empty() && uid.is_none() {
            return Err(Status::invalid_argument(
                "linux.security_context.run_as_group needs run_as_user or run_as_username beside it",
            ));
        }
        if name.contains(':') {
            return Err(Status::invalid_argument(format!(
                "linux.security_context.run_as_username: {name:?} has a colon: give the group as run_as_group"
            )));
        }
        let (field, text) = match (name, uid) {
            ("", Some(uid)) => ("linux.security_context.run_as_user", uid.to_string()),
            ("", None) => ("the image's User", of_image.to_owned()),
            (name, _) => ("linux.security_context.run_as_username", name.to_owned()),
        };
        let (user, group) = match text.split_once(':') {
            Some((user, group)) => {
                (user.to_owned(), Some(group.to_owned()).filter(|group| !group.is_empty()))
            }
            None => (text, None),
        };
        let gid = gid.map(|gid| id("linux.security_context.run_as_group", gid)).transpose()?;
        let groups = security.supplemental_groups.iter();
        let groups = groups.map(|gid| id("linux.security_context.supplemental_groups", *gid));
        let strict = security.supplemental_groups_policy() == api::SupplementalGroupsPolicy::Strict;
        Ok(Self { field, user, group, gid, groups: groups.collect::<Result<_, _>>()?, strict })
    }
}

fn id(field: &str, value: i64) -> Result<u32, Status> {
    match u32::try_from(value) {
        Ok(id) if value <= i64::from(i32::MAX) => Ok(id),
        _ => {
            Err(Status::invalid_argument(format!("{field}: {value} is no id: the largest one is 2147483647")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> (tempfile::TempDir, OwnedFd) {
        let directory = tempfile::tempdir().unwrap();
        let etc = directory.path().join("etc");
        std::fs::create_dir(&etc).unwrap();
        std::fs::write(etc.join("passwd"), "root:x:0:0::/root:/bin/sh\nwww:x:1000:1000::/srv:/bin/sh\n")
            .unwrap();
        std::fs::write(etc.join("group"), "www:x:1000:\nmore:x:50000:www\nstaff:x:50:\n").unwrap();
        let fd = std::fs::File::open(directory.path()).unwrap().into();
        (directory, fd)
    }

    fn security(uid: Option<i64>, gid: Option<i64>, groups: &[i64]) -> api::LinuxContainerSecurityContext {
        let value = |value| api::Int64Value { value };
        api::LinuxContainerSecurityContext {
            run_as_user: uid.map(value),
            run_as_group: gid.map(value),
            supplemental_groups: groups.to_vec(),
            ..Default::default()
        }
    }

    fn resolved(security: &api::LinuxContainerSecurityContext, image: &str) -> (u32, u32, Vec<u32>) {
        let (_directory, root) = root();
        let user = resolve(&root, security, image).unwrap();
        (user.uid, user.gid, user.additional_gids)
    }

    #[test]
    fn groups_of_the_image_are_merged_unless_the_policy_is_strict() {
        let mut wish = security(Some(1000), None, &[1234]);
        assert_eq!(resolved(&wish, ""), (1000, 1000, vec![1000, 50000, 1234]));
        wish.supplemental_groups_policy = api::SupplementalGroupsPolicy::Strict as i32;
        assert_eq!(resolved(&wish, ""), (1000, 1000, vec![1000, 1234]));
    }

    #[test]
    fn the_security_context_comes_before_the_image() {
        assert_eq!(resolved(&security(None, None, &[]), ""), (0, 0, vec![0]));
        assert_eq!(resolved(&security(None, None, &[]), "www:staff"), (1000, 50, vec![50, 50000]));
        assert_eq!(resolved(&security(Some(7), None, &[]), "www"), (7, 0, vec![0]));
        assert_eq!(resolved(&security(Some(1000), Some(9), &[]), "root"), (1000, 9, vec![9, 50000]));
        let named = api::LinuxContainerSecurityContext {
            run_as_username: "www".into(),
            ..security(Some(7), None, &[])
        };
        assert_eq!(resolved(&named, ""), (1000, 1000, vec![1000, 50000]));
    }

    #[test]
    fn wrong_users_name_the_field() {
        let (_directory, root) = root();
        let named = |name: &str| api::LinuxContainerSecurityContext {
            run_as_username: name.into(),
            ..Default::default()
        };
        for (wish, image, fragment) in [
            (security(None, Some(1), &[]), "", "run_as_group needs run_as_user"),
            (security(Some(-1), None, &[]), "", "run_as_user: user \"-1\""),
            (security(Some(1), Some(1 << 31), &[]), "", "run_as_group: 2147483648 is no id"),
            (security(None, None, &[-5]), "", "supplemental_groups: -5 is no id"),
            (named("nobody"), "", "run_as_username: user \"nobody\""),
            (named("a:b"), "", "has a colon"),
            (security(None, None, &[]), "nobody", "the image's User: user \"nobody\""),
        ] {
            let status = resolve(&root, &wish, image).unwrap_err();
            assert_eq!(status.code(), tonic::Code::InvalidArgument);
            assert!(status.message().contains(fragment), "{}", status.message());
        }
    }
}
