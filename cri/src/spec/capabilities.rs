//! Which capabilities a container has: capabilities(7).
//!
//! As containerd has it: the default ones, all of them or none (`ALL`), then what is added by name, then what is dropped by
//! name. The inheritable set stays empty (CVE-2022-24769: programs with file capabilities would gain more than was meant)
//! but for ambient ones, which the kernel keeps only there.

use std::collections::BTreeSet;

use rcrun::image::container::security::capabilities as dockers;

use super::{Invalid, Request};

const FIELD: &str = "linux.security_context.capabilities";

/// The sets of a process; permitted and effective are as bounding.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Sets {
    /// `CAP_...`, sorted.
    pub bounding: Vec<String>,
    /// Inheritable and ambient.
    pub ambient: Vec<String>,
}

pub(super) fn sets(request: &Request<'_>) -> Result<Sets, Invalid> {
    let permitted = request.host.capabilities;
    if request.security().privileged {
        return Ok(Sets { bounding: all(permitted)?, ambient: Vec::new() });
    }
    let wishes = request.security().capabilities.clone().unwrap_or_default();
    let add = names("add_capabilities", &wishes.add_capabilities, permitted)?;
    let drop = names("drop_capabilities", &wishes.drop_capabilities, permitted)?;
    let ambient = names("add_ambient_capabilities", &wishes.add_ambient_capabilities, permitted)?;
    let mut bounding: BTreeSet<String> = match (add.all || ambient.all, drop.all) {
        (_, true) => BTreeSet::new(),
        (true, false) => all(permitted)?.into_iter().collect(),
        (false, false) => of(&[], permitted)?.into_iter().collect(),
    };
    bounding.extend(add.named.iter().chain(&ambient.named).cloned());
    bounding.retain(|name| !drop.named.contains(name));
    check_permitted(&bounding, permitted)?;
    let ambient = match ambient.all {
        true => bounding.iter().cloned().collect(),
        false => bounding.iter().filter(|name| ambient.named.contains(*name)).cloned().collect(),
    };
    Ok(Sets { bounding: bounding.into_iter().collect(), ambient })
}

struct Names {
    all: bool,
    /// In full: `CAP_CHOWN`.
    named: BTreeSet<String>,
}

fn names(list: &str, words: &[String], permitted: u64) -> Result<Names, Invalid> {
    let is_all = |word: &&String| word.eq_ignore_ascii_case("ALL") || word.eq_ignore_ascii_case("CAP_ALL");
    let (all, others): (Vec<&String>, Vec<&String>) = words.iter().partition(is_all);
    let full = |word: &String| {
        // Nothing but the word is left of docker's list.
        dockers(std::slice::from_ref(word), &["ALL".to_owned()], permitted).map_err(|_| {
            Invalid::new(
                format!("{FIELD}.{list}"),
                format!("unknown capability {word:?}: see capabilities(7)"),
            )
        })
    };
    let named = others.into_iter().map(full).collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect();
    Ok(Names { all: !all.is_empty(), named })
}

fn all(permitted: u64) -> Result<Vec<String>, Invalid> {
    of(&["ALL".to_owned()], permitted)
}

fn of(add: &[String], permitted: u64) -> Result<Vec<String>, Invalid> {
    dockers(add, &[], permitted).map_err(|reason| Invalid::new(FIELD, reason))
}

fn check_permitted(bounding: &BTreeSet<String>, permitted: u64) -> Result<(), Invalid> {
    let there = all(permitted)?;
    match bounding.iter().find(|name| !there.contains(name)) {
        None => Ok(()),
        Some(name) => {
            let reason = format!(
                "rcrun-cri itself does not have {name} to give: remove it, or run rcrun-cri with it in its bounding set"
            );
            Err(Invalid::new(format!("{FIELD}.add_capabilities"), reason))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::Wish;
    use crate::api::Capability;

    fn own(words: &[&str]) -> Vec<String> {
        words.iter().map(|&word| word.to_owned()).collect()
    }

    fn wish(add: &[&str], drop: &[&str], ambient: &[&str]) -> Wish {
        Wish::with(|wish| {
            wish.security().capabilities = Some(Capability {
                add_capabilities: own(add),
                drop_capabilities: own(drop),
                add_ambient_capabilities: own(ambient),
            });
        })
    }

    /// The five sets of a process, each sorted.
    fn of(wish: &Wish) -> serde_json::Value {
        let mut sets = wish.json()["process"]["capabilities"].clone();
        for set in sets.as_object_mut().unwrap().values_mut() {
            set.as_array_mut().unwrap().sort_by_key(|name| name.as_str().unwrap().to_owned());
        }
        sets
    }

    fn count(wish: &Wish) -> usize {
        of(wish)["bounding"].as_array().unwrap().len()
    }

    #[test]
    fn names_are_added_and_dropped_and_dropping_wins() {
        assert_eq!(count(&Wish::new()), 14);
        let with = |wish: &Wish, name: &str| of(wish)["bounding"].as_array().unwrap().contains(&name.into());
        assert!(with(&wish(&["NET_ADMIN"], &[], &[]), "CAP_NET_ADMIN"));
        assert!(with(&wish(&["cap_net_admin"], &[], &[]), "CAP_NET_ADMIN"));
        assert!(!with(&wish(&[], &["NET_RAW"], &[]), "CAP_NET_RAW"));
        assert_eq!(of(&wish(&["CHOWN"], &["ALL"], &[]))["bounding"], serde_json::json!(["CAP_CHOWN"]));
        assert_eq!(count(&wish(&["ALL"], &["all"], &[])), 0);
        let most = wish(&["ALL"], &["CHOWN"], &[]);
        assert!(count(&most) > 35 && !with(&most, "CAP_CHOWN"));
        assert!(!with(&wish(&["SYS_TIME"], &["SYS_TIME"], &[]), "CAP_SYS_TIME"));
    }

    #[test]
    fn only_ambient_ones_are_inheritable() {
        let sets = of(&wish(&["SYS_TIME"], &["ALL"], &["NET_ADMIN"]));
        let both = serde_json::json!(["CAP_NET_ADMIN", "CAP_SYS_TIME"]);
        for set in ["bounding", "permitted", "effective"] {
            assert_eq!(sets[set], both, "{set}");
        }
        for set in ["inheritable", "ambient"] {
            assert_eq!(sets[set], serde_json::json!(["CAP_NET_ADMIN"]), "{set}");
        }
        assert_eq!(of(&wish(&["SYS_TIME"], &[], &[]))["inheritable"], serde_json::json!([]));
    }

    #[test]
    fn a_privileged_container_has_all_that_there_are_to_give() {
        let mut wish = wish(&[], &["ALL"], &[]);
        wish.privileged();
        wish.host.capabilities = 0b1001;
        assert_eq!(of(&wish)["effective"], serde_json::json!(["CAP_CHOWN", "CAP_FOWNER"]));
    }

    #[test]
    fn what_cannot_be_given_is_named() {
        assert_eq!(
            wish(&[], &["WORLD"], &[]).error(),
            "linux.security_context.capabilities.drop_capabilities: unknown capability \"WORLD\": see capabilities(7)"
        );
        let mut wish = wish(&["SYS_RESOURCE"], &[], &[]);
        wish.host.capabilities = 1;
        assert_eq!(
            wish.error(),
            "linux.security_context.capabilities.add_capabilities: rcrun-cri itself does not have CAP_SYS_RESOURCE to \
             give: remove it, or run rcrun-cri with it in its bounding set"
        );
    }
}
