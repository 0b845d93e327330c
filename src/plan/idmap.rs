//! The mapping of an id-mapped mount: config-linux.md, "Mounts", and crun's `idmap=uids=...;gids=...`.

use oci_spec::runtime::{LinuxIdMapping, Mount};

use super::mount_options::MountOptions;
use super::namespaces::lines;
use super::step::{IdMap, UserNamespace};
use super::{Builder, PlanError};
use crate::namespaces::Kind;
use crate::spec::{SpecError, joined_path};

/// The mapping that `mounts[index]` asks for; None where it asks for none.
pub(super) fn of(
    b: &Builder<'_>,
    index: usize,
    mount: &Mount,
    options: &MountOptions,
) -> Result<Option<IdMap>, PlanError> {
    let option = options.idmap.as_ref();
    let (uids, gids) = (mount.uid_mappings().as_deref(), mount.gid_mappings().as_deref());
    if uids.is_none() && gids.is_none() && option.is_none() {
        return Ok(None);
    }
    let invalid = |field: &str, reason: &str| {
        Err(PlanError::from(SpecError::invalid(format!("mounts[{index}]{field}"), reason)))
    };
    if options.remount {
        return invalid("", "a mount is id-mapped when it is made: a remount cannot change that");
    }
    if !b.facts.may_administer() {
        return invalid("", "an id-mapped mount needs CAP_SYS_ADMIN: run rcrun as root");
    }
    let namespace = match (uids.unwrap_or_default(), gids.unwrap_or_default()) {
        ([], []) => match option.and_then(|option| option.ids.as_deref()) {
            Some(ids) => parse(b, ids)
                .map_err(|reason| SpecError::invalid(format!("mounts[{index}].options: idmap"), reason))?,
            None => match of_container(b) {
                Some(namespace) => namespace,
                None => {
                    return invalid(
                        "",
                        "without a user namespace an id-mapped mount needs uidMappings and gidMappings",
                    );
                }
            },
        },
        ([], _) => return invalid(".uidMappings", "missing: an id-mapped mount needs it with gidMappings"),
        (_, []) => return invalid(".gidMappings", "missing: an id-mapped mount needs it with uidMappings"),
        (uids, gids) => {
            for (field, list) in [(".uidMappings", uids), (".gidMappings", gids)] {
                if let Some(at) = list.iter().position(|mapping| mapping.size() == 0) {
                    return invalid(&format!("{field}[{at}].size"), "is 0");
                }
            }
            UserNamespace::New { uids: lines(Some(uids)), gids: lines(Some(gids)) }
        }
    };
    Ok(Some(IdMap { namespace, recursive: option.is_some_and(|option| option.recursive) }))
}

/// A mapping counts, not the namespace that it was written for: before the clone there is none of a
/// new container, so another one is made with the same mapping.
fn of_container(b: &Builder<'_>) -> Option<UserNamespace> {
    let linux = b.linux()?;
    let namespaces = linux.namespaces().as_deref().unwrap_or_default();
    let user = namespaces.iter().find(|namespace| Kind::from(namespace.typ()) == Kind::User)?;
    Some(match joined_path(user) {
        Some(path) => UserNamespace::Existing(path.into()),
        None => UserNamespace::New {
            uids: lines(linux.uid_mappings().as_deref()),
            gids: lines(linux.gid_mappings().as_deref()),
        },
    })
}

/// `uids=0-1-10#10-11-10;gids=0-100-10`: triplets of the file system's first id, the one that it is
/// seen as, and how many. After `@` the second is one of the container's ids.
fn parse(b: &Builder<'_>, text: &str) -> Result<UserNamespace, String> {
    let linux = b.linux();
    let (mut uids, mut gids) = (String::new(), String::new());
    for part in text.split(';').filter(|part| !part.is_empty()) {
        let (list, map, container) = match part.split_once('=') {
            Some(("uids", list)) => (list, &mut uids, linux.and_then(|l| l.uid_mappings().as_deref())),
            Some(("gids", list)) => (list, &mut gids, linux.and_then(|l| l.gid_mappings().as_deref())),
            _ => return Err(format!("{part:?} is neither uids=... nor gids=...")),
        };
        for triplet in list.split('#') {
            map.push_str(&line(triplet, container.unwrap_or_default())?);
        }
    }
    match uids.is_empty() || gids.is_empty() {
        true => Err(format!("{text:?} must have both uids=... and gids=...")),
        false => Ok(UserNamespace::New { uids, gids }),
    }
}

fn line(triplet: &str, container: &[LinuxIdMapping]) -> Result<String, String> {
    let wrong = || format!("{triplet:?} is not of the form ID-ID-COUNT");
    let (relative, numbers) = match triplet.strip_prefix('@') {
        Some(numbers) => (true, numbers),
        None => (false, triplet),
    };
    let numbers: Vec<u32> =
        numbers.split('-').map(str::parse).collect::<Result<_, _>>().map_err(|_| wrong())?;
    let &[from, to, count] = numbers.as_slice() else { return Err(wrong()) };
    if count == 0 {
        return Err(wrong());
    }
    let to = if relative { on_host(to, count, container, triplet)? } else { to };
    Ok(format!("{from} {to} {count}\n"))
}

/// What the container's id `id` is on the host; all `count` must be in one range.
fn on_host(id: u32, count: u32, container: &[LinuxIdMapping], triplet: &str) -> Result<u32, String> {
    let within = |mapping: &&LinuxIdMapping| {
        let end = u64::from(mapping.container_id()) + u64::from(mapping.size());
        id >= mapping.container_id() && u64::from(id) + u64::from(count) <= end
    };
    let mapping = container.iter().find(within);
    let host = mapping.and_then(|m| m.host_id().checked_add(id - m.container_id()));
    host.ok_or_else(|| format!("{triplet:?} is not in one range of the container's own mappings"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci_spec::runtime::LinuxIdMappingBuilder;

    fn mapping(container: u32, host: u32, size: u32) -> LinuxIdMapping {
        LinuxIdMappingBuilder::default().container_id(container).host_id(host).size(size).build().unwrap()
    }

    #[test]
    fn a_relative_id_is_one_of_the_containers() {
        let container = [mapping(0, 0, 1), mapping(1, 2, 1000)];
        assert_eq!(line("@1-3-10", &container).unwrap(), "1 4 10\n");
        assert_eq!(line("1-3-10", &container).unwrap(), "1 3 10\n");
        for outside in ["@0-0-2", "@0-1001-1", "@0-1000-2"] {
            assert!(line(outside, &container).unwrap_err().contains(outside), "{outside}");
        }
    }

    #[test]
    fn anything_but_three_numbers_is_refused() {
        for wrong in ["", "1", "1-2", "1-2-3-4", "1-2-0", "a-b-c", "1-2-", "-1-2-3", "1-2-4294967296"] {
            assert!(line(wrong, &[]).is_err(), "{wrong:?}");
        }
    }
}
