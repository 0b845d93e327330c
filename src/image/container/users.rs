//! USER and `--user`: names of the image's own /etc/passwd and /etc/group to numbers, as docker does it.
//!
//! Both files are the image's: they are read inside the root, up to a limit, and nothing but numbers comes out.

use std::os::fd::OwnedFd;

use crate::bundle::text_inside;

/// Whom the process belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Further groups.
    pub groups: Vec<u32>,
}

/// Why a text is no user of an image.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum UserError {
    #[error("the image's /etc/passwd has no user {0:?}: use one that it has, or a number")]
    NoUser(String),
    #[error("the image's /etc/group has no group {0:?}: use one that it has, or a number")]
    NoGroup(String),
    #[error("{0} is no id: the largest one is 2147483647")]
    Range(String),
}

/// The largest id that docker takes.
const MOST: u64 = i32::MAX as u64;

/// Resolves `USER[:GROUP]` and further groups in the root file system `root`.
pub fn resolve(root: &OwnedFd, text: &str, group_add: &[String]) -> Result<User, UserError> {
    // The usual case needs neither file's contents but for root's groups, which change nothing for root.
    if matches!(text, "" | "0" | "0:0") && group_add.is_empty() {
        return Ok(User::default());
    }
    let read = |path| text_inside(root, path).unwrap_or_default();
    within(&read("etc/passwd"), &read("etc/group"), text, group_add)
}

/// The same with the files' texts.
pub fn within(passwd: &str, group: &str, text: &str, group_add: &[String]) -> Result<User, UserError> {
    let (name, group_name) = text.split_once(':').unwrap_or((text, ""));
    let wanted = number(name)?;
    let entry = passwd.lines().filter_map(PasswdEntry::parse).find(|entry| match (name, wanted) {
        ("", _) => entry.uid == 0,
        (_, Some(uid)) => entry.uid == uid,
        (name, None) => entry.name == name,
    });
    let mut user = match (&entry, wanted, name) {
        (Some(entry), ..) => User { uid: entry.uid, gid: entry.gid, groups: vec![] },
        (None, Some(uid), _) => User { uid, gid: 0, groups: vec![] },
        (None, None, "") => User::default(),
        (None, None, name) => return Err(UserError::NoUser(name.into())),
    };
    let groups: Vec<GroupEntry<'_>> = group.lines().filter_map(GroupEntry::parse).collect();
    if !group_name.is_empty() {
        user.gid = group_id(&groups, group_name)?;
    } else if let Some(entry) = &entry {
        let of_user =
            groups.iter().filter(|group| group.members.split(',').any(|member| member == entry.name));
        user.groups = of_user.map(|group| group.gid).filter(|gid| *gid != user.gid).collect();
    }
    for more in group_add {
        let gid = group_id(&groups, more)?;
        if !user.groups.contains(&gid) {
            user.groups.push(gid);
        }
    }
    Ok(user)
}

fn group_id(groups: &[GroupEntry<'_>], name: &str) -> Result<u32, UserError> {
    if let Some(gid) = number(name)? {
        return Ok(gid);
    }
    let found = groups.iter().find(|group| group.name == name);
    found.map(|group| group.gid).ok_or_else(|| UserError::NoGroup(name.into()))
}

/// None where it is no number but a name.
fn number(text: &str) -> Result<Option<u32>, UserError> {
    let negative = text.strip_prefix('-').unwrap_or(text);
    if negative.is_empty() || !negative.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(None);
    }
    let range = || UserError::Range(text.into());
    match text.parse::<u64>() {
        Ok(id) if id <= MOST => Ok(u32::try_from(id).ok()),
        _ => Err(range()),
    }
}

struct PasswdEntry<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
}

impl<'a> PasswdEntry<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let uid = id(fields.nth(1)?)?;
        let gid = id(fields.next()?)?;
        Some(Self { name, uid, gid })
    }
}

struct GroupEntry<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

impl<'a> GroupEntry<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let gid = id(fields.nth(1)?)?;
        Some(Self { name, gid, members: fields.next().unwrap_or_default().trim() })
    }
}

fn id(text: &str) -> Option<u32> {
    text.trim().parse::<u32>().ok().filter(|id| u64::from(*id) <= MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nbroken\nbig:x:4294967295:1::/:/bin/sh\n\
        www:x:33:34:www:/var/www:/bin/sh\nother:x:33:99::/:\n";
    const GROUP: &str = "root:x:0:\nwww:x:34:\nlogs:x:4:root,www\nstaff:x:50:www\n";

    fn user(text: &str, more: &[&str]) -> Result<User, UserError> {
        let more: Vec<String> = more.iter().map(|&group| group.to_owned()).collect();
        within(PASSWD, GROUP, text, &more)
    }

    fn is(uid: u32, gid: u32, groups: &[u32]) -> Result<User, UserError> {
        Ok(User { uid, gid, groups: groups.to_vec() })
    }

    #[test]
    fn names_and_numbers_are_found_as_docker_finds_them() {
        for (text, expected) in [
            ("", is(0, 0, &[4])),
            ("www", is(33, 34, &[4, 50])),
            ("33", is(33, 34, &[4, 50])),
            ("www:staff", is(33, 50, &[])),
            ("www:77", is(33, 77, &[])),
            ("1234", is(1234, 0, &[])),
            ("1234:staff", is(1234, 50, &[])),
            (":staff", is(0, 50, &[])),
        ] {
            assert_eq!(user(text, &[]), expected, "{text:?}");
        }
        assert_eq!(user("1234", &["logs", "50", "4"]), is(1234, 0, &[4, 50]));
        assert_eq!(within("", "", "", &[]), is(0, 0, &[]));
    }

    #[test]
    fn who_is_not_there_and_too_large_numbers_are_errors() {
        assert_eq!(user("nobody", &[]), Err(UserError::NoUser("nobody".into())));
        assert_eq!(user("big", &[]), Err(UserError::NoUser("big".into())));
        assert_eq!(user("www:nogroup", &[]), Err(UserError::NoGroup("nogroup".into())));
        assert_eq!(user("", &["wheel"]), Err(UserError::NoGroup("wheel".into())));
        for text in ["4294967296", "2147483648", "-1", "99999999999999999999999", "0:4294967295"] {
            assert!(matches!(user(text, &[]), Err(UserError::Range(_))), "{text}");
        }
    }
}
