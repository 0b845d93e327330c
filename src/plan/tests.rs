use super::step::{FsOption, IdMap, MountFrom, TargetKind, UserNamespace};
use super::*;
use rustix::io::Errno;
use serde_json::{Value, json};

fn facts() -> Facts<'static> {
    Facts {
        is_directory: &|path| match path.to_str() {
            Some("/missing") => Err(Errno::NOENT),
            Some("/file") => Ok(false),
            _ => Ok(true),
        },
        link_target: &|path| Ok((path == Path::new("/link")).then(|| "where/to".into())),
        pseudo_mounts: &|| vec!["/proc".into(), "/bundle/rootfs/proc".into()],
        home: &|_| "/root".into(),
        find_program: &|name| Some(format!("/usr/bin/{name}").into()),
        ..Facts::of_no_host()
    }
}

fn plan_of(edit: impl FnOnce(&mut Value)) -> Result<Plan, PlanError> {
    plan_with(edit, &facts(), false)
}

fn plan_with(edit: impl FnOnce(&mut Value), facts: &Facts<'_>, create_only: bool) -> Result<Plan, PlanError> {
    let mut config = serde_json::to_value(crate::spec::default_spec()).unwrap();
    config["process"]["terminal"] = json!(false);
    edit(&mut config);
    let spec = crate::spec::parse(&serde_json::to_vec(&config).unwrap()).unwrap();
    let id = ContainerId::parse("c1").unwrap();
    plan(Request { create_only, ..Request::plain(&id, &spec) }, facts)
}

fn words(plan: &Plan) -> Vec<String> {
    plan.steps.iter().map(ToString::to_string).collect()
}

fn mounts_of(plan: &Plan) -> impl Iterator<Item = &MountFrom> {
    plan.steps.iter().filter_map(|step| match step {
        Step::Mount(mount) => Some(&mount.from),
        _ => None,
    })
}

fn position(plan: &Plan, step: &str) -> usize {
    let words = words(plan);
    words.iter().position(|w| w.starts_with(step)).unwrap_or_else(|| panic!("no {step:?} in {words:#?}"))
}

fn assert_order(plan: &Plan, steps: &[&str]) {
    let positions: Vec<usize> = steps.iter().map(|step| position(plan, step)).collect();
    assert!(positions.is_sorted(), "{steps:?} at {positions:?} in {:#?}", words(plan));
}

#[test]
fn the_parent_moves_a_process_to_its_resctrl_group_before_anything_else() {
    let spec = crate::spec::default_spec();
    let id = ContainerId::parse("c1").unwrap();
    let group = crate::resctrl::Group { clos: "gold".into(), own: false, monitoring: None };
    let resctrl = Some(GroupPlan { group, makes: true, schemata: vec!["L3:0=f".into()] });
    let plan = plan(Request { resctrl, ..Request::plain(&id, &spec) }, &facts()).unwrap();
    assert_eq!(words(&plan)[0], "wait for the parent");
    let parent: Vec<_> = plan.lines().into_iter().filter(|l| l.process == "parent").map(|l| l.step).collect();
    let at = |step: &str| {
        parent.iter().position(|line| line.starts_with(step)).unwrap_or_else(|| panic!("{parent:?}"))
    };
    let steps = [
        "make resctrl group gold",
        "set schemata \"L3:0=f\"",
        "clone3",
        "move the process to the resctrl group",
    ];
    assert!(steps.map(at).is_sorted(), "{parent:?}");
}

#[test]
fn the_default_plan_forbids_after_it_has_built() {
    let plan = plan_of(|_| ()).unwrap();
    assert_order(
        &plan,
        &[
            "set capability bounding set",
            "cut mount propagation",
            "leave the host",
            "attach root",
            "mount proc on /proc",
            "mount tmpfs on /dev: mode=755,size=65536k",
            "make device /dev/null",
            "link /dev/fd",
            "pivot root",
            "make root read-only",
            "make read-only /proc/bus",
            "mask /proc/kcore",
            "close descriptors from 3 on",
            "set RLIMIT_NOFILE to 1024:1024",
            "enter working directory /",
            "set uid 0, gid 0, capabilities, no_new_privs",
        ],
    );
    assert!(!words(&plan).iter().any(|w| w.contains("wait for")), "nobody to wait for");
}

#[test]
fn who_needs_the_hosts_file_systems_does_not_leave_them_early() {
    fn leaves(change: impl FnOnce(&mut Value)) -> bool {
        words(&plan_of(change).unwrap()).iter().any(|word| word.starts_with("leave the host"))
    }
    assert!(leaves(|_| ()));
    assert!(leaves(
        |c| c["hooks"] = json!({"poststop": [{"path": "/h"}], "startContainer": [{"path": "/h"}]})
    ));
    for stage in ["prestart", "createRuntime", "createContainer"] {
        assert!(!leaves(|c| c["hooks"] = json!({stage: [{"path": "/h"}]})), "{stage}");
    }
    assert!(!leaves(|c| {
        let overlay = json!({"destination": "/x", "type": "overlay", "source": "overlay", "options": ["lowerdir=/a:/b"]});
        c["mounts"].as_array_mut().unwrap().push(overlay);
    }));
    assert!(!leaves(|c| {
        c["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
        c["linux"]["uidMappings"] = json!([{"containerID": 0, "hostID": 1000, "size": 10}]);
        c["linux"]["gidMappings"] = json!([{"containerID": 0, "hostID": 2000, "size": 20}]);
    }));
}

#[test]
fn the_cgroup_namespace_is_made_after_the_clone() {
    let plan = plan_of(|_| ()).unwrap();
    assert_eq!(plan.namespaces.clone_flags & Kind::Cgroup.flag(), 0);
    assert_order(&plan, &["make cgroup namespace", "mount cgroup2 on /sys/fs/cgroup"]);
}

#[test]
fn create_looks_for_the_program_before_it_waits() {
    let plan = plan_with(
        |c| c["hooks"] = json!({"startContainer": [{"path": "/h"}], "createContainer": [{"path": "/h"}]}),
        &facts(),
        true,
    )
    .unwrap();
    assert_order(
        &plan,
        &[
            "run createContainer hook 0 /h",
            "pivot",
            "set capability bounding set",
            "look for",
            "wait for start",
            "run startContainer hook 0 /h",
        ],
    );
}

#[test]
fn a_program_without_a_slash_is_looked_for_in_the_containers_path() {
    let plan = plan_of(|c| c["process"]["env"] = json!(["PATH=/a::/b", "HOME=/h"])).unwrap();
    assert_eq!(plan.program.candidates, [c"/a/sh".to_owned(), c"/b/sh".to_owned()]);
    let plan = plan_of(|c| c["process"]["args"] = json!(["/bin/sh"])).unwrap();
    assert_eq!(plan.program.candidates, [c"/bin/sh".to_owned()]);
}

#[test]
fn home_comes_from_the_containers_users_where_the_environment_has_none() {
    let plan = plan_of(|_| ()).unwrap();
    assert!(plan.program.env.contains(&c"HOME=/root".to_owned()));
    let plan = plan_of(|c| c["process"]["env"] = json!(["HOME=/x"])).unwrap();
    assert_eq!(plan.program.env, [c"HOME=/x".to_owned()]);
}

#[test]
fn a_variable_may_have_bytes_that_are_no_text() {
    let bytes = |name, value| crate::spec::variable(name, value);
    let plan = plan_of(|c| {
        c["process"]["env"] =
            json!(["A=1", bytes("A", b"\xff"), bytes("B", b"\xfe"), bytes("HOME", b"/\xff")]);
    });
    let expected = [c"A=\xff", c"B=\xfe", c"HOME=/\xff"].map(ToOwned::to_owned);
    assert_eq!(plan.unwrap().program.env, expected);
}

#[test]
fn a_new_user_namespace_waits_for_its_mappings_and_binds_devices() {
    let plan = plan_of(|c| {
        c["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
        c["linux"]["uidMappings"] = json!([{"containerID": 0, "hostID": 1000, "size": 10}]);
        c["linux"]["gidMappings"] = json!([{"containerID": 0, "hostID": 2000, "size": 20}]);
    })
    .unwrap();
    assert_order(&plan, &["wait for the parent", "become root", "attach root"]);
    let mappings = plan.namespaces.mappings.as_ref().unwrap();
    assert_eq!((mappings.uid.as_str(), mappings.gid.as_str()), ("0 1000 10\n", "0 2000 20\n"));
    let Step::Device(null) = &plan.steps[position(&plan, "make device /dev/null")] else { panic!() };
    assert!(null.bind.is_some());
    assert_eq!(plan.resource_limits.len(), 1);
    assert_order(&plan, &["set resource limits", "set uid 0"]);
}

#[test]
fn who_joins_depends_on_the_user_namespace() {
    let join = |user: Option<Value>| {
        plan_of(|c| {
            c["linux"]["namespaces"][1] = json!({"type": "network", "path": "/run/netns/a"});
            c["linux"]["namespaces"][0] = json!({"type": "pid", "path": "/proc/1/ns/pid"});
            if let Some(user) = user {
                let new = user.get("path").is_none();
                c["linux"]["namespaces"].as_array_mut().unwrap().push(user);
                if new {
                    let map = json!([{"containerID": 0, "hostID": 0, "size": 1}]);
                    (c["linux"]["uidMappings"], c["linux"]["gidMappings"]) = (map.clone(), map);
                }
            }
        })
        .unwrap()
    };
    let kinds = |list: &[(Kind, SourceId)]| list.iter().map(|(k, _)| *k).collect::<Vec<_>>();
    let plan = join(None);
    assert_eq!(kinds(&plan.namespaces.around_clone), [Kind::Pid]);
    position(&plan, "join network namespace");
    let plan = join(Some(json!({"type": "user"})));
    assert_eq!(kinds(&plan.namespaces.around_clone), [Kind::Pid, Kind::Network]);
    let plan = join(Some(json!({"type": "user", "path": "/proc/1/ns/user"})));
    assert_eq!(kinds(&plan.namespaces.through), [Kind::Pid, Kind::Network, Kind::User]);
}

#[test]
fn bind_sources_are_relative_to_the_bundle_and_cut_off_from_the_host() {
    let plan = plan_of(|c| {
        c["mounts"] = json!([{"destination": "/data", "source": "data", "options": ["rbind", "ro"]}]);
    })
    .unwrap();
    assert!(plan.sources.contains(&Source::Tree { path: "/bundle/data".into(), recursive: true }));
    let Step::Mount(step) = &plan.steps[position(&plan, "bind mount on /data")] else { panic!() };
    assert_eq!(
        step.propagation,
        Some(rustix::mount::MountPropagationFlags::PRIVATE | rustix::mount::MountPropagationFlags::REC)
    );
    assert_eq!(step.attributes.set, mount_options::MOUNT_ATTR_RDONLY);
}

#[test]
fn a_missing_bind_source_is_named_with_its_target() {
    let error =
        plan_of(|c| c["mounts"] = json!([{"destination": "/d", "source": "/missing", "options": ["bind"]}]));
    let error = error.unwrap_err().to_string();
    assert!(
        error.contains("mounts[0]") && error.contains("\"/missing\"") && error.contains("\"/d\""),
        "{error}"
    );
}

#[test]
fn a_file_is_bound_on_a_file() {
    let plan =
        plan_of(|c| c["mounts"] = json!([{"destination": "/f", "source": "/file", "options": ["bind"]}]))
            .unwrap();
    let Step::Mount(step) = &plan.steps[position(&plan, "bind mount on /f")] else { panic!() };
    assert_eq!(step.kind, TargetKind::File);
}

#[test]
fn a_read_only_tmpfs_is_closed_after_its_mount_points_are_made() {
    let plan = plan_of(|c| c["mounts"][1]["options"] = json!(["ro"])).unwrap();
    assert_order(&plan, &["mount tmpfs on /dev", "mount devpts on /dev/pts", "make device", "remount /dev"]);
}

#[test]
fn capabilities_that_rcrun_lacks_are_named() {
    let facts = Facts { permitted_capabilities: !(1 << 24), ..facts() };
    let all = json!(["CAP_SYS_RESOURCE", "CAP_KILL"]);
    let error = plan_with(|c| c["process"]["capabilities"] = json!({"permitted": all}), &facts, false);
    let error = error.unwrap_err().to_string();
    assert!(error.contains("CAP_SYS_RESOURCE") && !error.contains("CAP_KILL"), "{error}");
}

#[test]
fn a_listed_device_replaces_the_default_one() {
    let plan = plan_of(|c| {
        c["linux"]["devices"] =
            json!([{"path": "/dev/null", "type": "c", "major": 1, "minor": 5, "fileMode": 0o600}]);
    })
    .unwrap();
    let nodes: Vec<_> = plan.steps.iter().filter(|s| s.to_string() == "make device /dev/null").collect();
    let [Step::Device(node)] = nodes[..] else { panic!("{nodes:?}") };
    assert_eq!((node.mode, node.device), (libc::S_IFCHR | 0o600, rustix::fs::makedev(1, 5)));
}

#[test]
fn lines_say_what_parent_and_child_do() {
    let plan = plan_of(|_| ()).unwrap();
    let lines = plan.lines();
    let clone = lines.iter().find(|l| l.step.starts_with("clone3")).unwrap();
    assert_eq!(clone.step, "clone3 with new ipc, uts, network, pid, mount namespaces");
    assert_eq!(lines.last().unwrap().step, "execute sh");
    assert!(lines.iter().all(|l| !l.step.contains('\n')));
}

fn unprivileged() -> Facts<'static> {
    Facts { permitted_capabilities: 0, setgroups_denied: true, ..facts() }
}

#[test]
fn without_privileges_the_child_opens_every_tree_before_it_attaches_the_first() {
    let rootless = |config: &mut Value| {
        *config = serde_json::to_value(crate::spec::rootless_spec(1000, 1000)).unwrap();
    };
    let plan = plan_with(rootless, &unprivileged(), false).unwrap();
    assert!(plan.sources.iter().all(|source| *source == Source::ByChild), "{:?}", plan.sources);
    assert_order(
        &plan,
        &[
            "become root of the user namespace",
            "clone mount tree of the root file system",
            "clone mount tree /sys",
            "clone mount /dev/tty",
            "cut mount propagation",
            "attach root",
            "bind mount on /sys",
        ],
    );
    let opened = plan.steps.iter().filter_map(|step| match step {
        Step::OpenTree { source, .. } => Some(source.0),
        _ => None,
    });
    assert_eq!(opened.collect::<Vec<_>>(), (0..plan.sources.len()).collect::<Vec<_>>());
    let plan = plan_with(rootless, &facts(), false).unwrap();
    assert!(!plan.steps.iter().any(|step| matches!(step, Step::OpenTree { .. })), "{:#?}", words(&plan));
}

#[test]
fn without_privileges_a_user_namespace_is_needed_and_joined_first() {
    let error = plan_with(|_| (), &unprivileged(), false).unwrap_err().to_string();
    assert!(error.contains("user namespace") && error.contains("rcrun spec --rootless"), "{error}");
    let joined = |config: &mut Value| {
        config["linux"]["namespaces"] = json!([
            {"type": "pid", "path": "/proc/1/ns/pid"},
            {"type": "user", "path": "/proc/1/ns/user"},
            {"type": "mount"},
            {"type": "uts"},
        ]);
    };
    let order = |facts: &Facts<'_>| {
        let plan = plan_with(joined, facts, false).unwrap();
        plan.namespaces.through.iter().map(|(kind, _)| *kind).collect::<Vec<_>>()
    };
    assert_eq!(order(&unprivileged()), [Kind::User, Kind::Pid]);
    assert_eq!(order(&facts()), [Kind::Pid, Kind::User]);
}

#[test]
fn the_last_entry_of_a_variable_is_the_only_one() {
    let plan = plan_of(|c| c["process"]["env"] = json!(["A=1", "AB=2", "HOME=/", "A=3"])).unwrap();
    let env: Vec<_> = plan.program.env.iter().map(|v| v.to_str().unwrap()).collect();
    assert_eq!(env, ["AB=2", "HOME=/", "A=3"]);
}

#[test]
fn without_pivot_root_the_hosts_pseudo_file_systems_go_away() {
    let words = |no_pivot| {
        let spec = crate::spec::default_spec();
        let id = ContainerId::parse("c1").unwrap();
        let request = Request {
            id: &id,
            spec: &spec,
            bundle: Path::new("/bundle"),
            root: Path::new("/bundle/rootfs"),
            cgroup: None,
            resctrl: None,
            create_only: false,
            no_pivot,
            no_new_keyring: false,
            preserve_fds: 0,
            notify: None,
            ..Request::plain(&id, &spec)
        };
        words(&plan(request, &facts()).unwrap())
    };
    let plan = words(true);
    assert!(!plan.contains(&"drop the host's /bundle/rootfs/proc".into()));
    let drop = plan.iter().position(|word| word == "drop the host's /proc");
    assert!(drop.is_some() && drop < plan.iter().position(|word| word == "change root"));
    assert!(!words(false).iter().any(|word| word.starts_with("drop")));
}

#[test]
fn a_link_is_copied_bound_itself_or_followed() {
    let of = |options: Value| {
        plan_of(|c| {
            let mount = json!({"destination": "/l", "type": "bind", "source": "/link", "options": options});
            c["mounts"].as_array_mut().unwrap().push(mount);
        })
        .unwrap()
    };
    assert!(words(&of(json!(["bind", "copy-symlink"]))).contains(&"copy link /l to where/to".into()));
    let itself = Source::Unfollowed { path: "/link".into(), recursive: false };
    assert!(of(json!(["bind", "src-nofollow"])).sources.contains(&itself));
    let followed = Source::Tree { path: "/link".into(), recursive: false };
    assert!(of(json!(["bind"])).sources.contains(&followed));
}

fn without_mount_namespace(config: &mut Value) {
    config["linux"]["namespaces"] = json!([{"type": "pid"}]);
    config["linux"]["maskedPaths"] = json!([]);
    config["linux"]["readonlyPaths"] = json!([]);
    config["root"]["readonly"] = json!(false);
    config["hostname"] = json!("");
    config["mounts"] = json!([{"destination": "/proc", "type": "proc"}]);
}

#[test]
fn mounts_without_a_mount_namespace_are_below_a_root_that_can_be_taken_away() {
    let plan = plan_of(without_mount_namespace).unwrap();
    assert_order(&plan, &["attach root", "mount proc on /proc", "make device /dev/null", "change root"]);
    assert!(
        !words(&plan).iter().any(|step| step.starts_with("cut mount propagation")),
        "{:#?}",
        words(&plan)
    );
    assert!(plan.root_on_host().is_some());
    assert_eq!(plan_of(|_| ()).unwrap().root_on_host(), None);
    let without = |config: &mut Value| {
        without_mount_namespace(config);
        config["mounts"] = json!([]);
    };
    let plan = plan_of(without).unwrap();
    assert_eq!(plan.root_on_host(), None);
    assert_order(&plan, &["enter root", "change root"]);
}

#[test]
fn mounts_that_could_not_be_made_or_taken_away_without_a_mount_namespace_are_refused() {
    let over_root = |config: &mut Value| {
        without_mount_namespace(config);
        config["mounts"][0]["destination"] = json!("/./");
    };
    let in_user_namespace = |config: &mut Value| {
        without_mount_namespace(config);
        config["linux"]["namespaces"] = json!([{"type": "user"}]);
        let mapping = json!([{"containerID": 0, "hostID": 1000, "size": 1}]);
        config["linux"]["uidMappings"] = mapping.clone();
        config["linux"]["gidMappings"] = mapping;
    };
    for error in [plan_of(over_root).unwrap_err(), plan_of(in_user_namespace).unwrap_err()] {
        assert!(error.to_string().contains("linux.namespaces: mount: missing"), "{error}");
    }
}

#[test]
fn a_read_only_sysfs_of_a_network_that_is_not_the_containers_is_the_hosts() {
    let sysfs = |namespaces: Value, options: Value| {
        let plan = plan_of(|config| {
            let mapping = json!([{"containerID": 0, "hostID": 1000, "size": 1}]);
            if namespaces[0]["type"] == "user" {
                config["linux"]["uidMappings"] = mapping.clone();
                config["linux"]["gidMappings"] = mapping;
            }
            config["linux"]["namespaces"] = namespaces;
            config["hostname"] = json!("");
            config["mounts"] = json!([{"destination": "/sys", "type": "sysfs", "options": options}]);
        });
        let plan = plan.unwrap();
        (plan.sources.contains(&Source::Tree { path: "/sys".into(), recursive: true }), words(&plan))
    };
    let (user, mount, net) = (json!({"type": "user"}), json!({"type": "mount"}), json!({"type": "network"}));
    assert!(sysfs(json!([user, mount]), json!(["ro", "nosuid"])).0);
    for (namespaces, options) in [
        (json!([user, mount]), json!(["nosuid"])),
        (json!([user, mount, net]), json!(["ro"])),
        (json!([mount]), json!(["ro"])),
    ] {
        let (bound, steps) = sysfs(namespaces, options);
        assert!(!bound && steps.iter().any(|step| step.starts_with("mount sysfs on /sys")), "{steps:#?}");
    }
}

#[test]
fn an_id_mapped_tmpfs_is_made_by_the_parent_with_its_options() {
    let ids = json!([{"containerID": 1000, "hostID": 0, "size": 10}]);
    let mapped = |fstype: &str, options: Value| {
        let plan = plan_of(|config| {
            config["mounts"] = json!([{"destination": "/mnt", "type": fstype, "source": "shm", "options": options,
                "uidMappings": ids, "gidMappings": ids}]);
        })?;
        let made = plan.sources.iter().find(|source| matches!(source, Source::MappedNew { .. })).cloned();
        Ok::<_, PlanError>((made, plan))
    };
    let (made, plan) = mapped("tmpfs", json!(["size=1m", "ro", "nosuid", "ridmap"])).unwrap();
    let map = IdMap {
        namespace: UserNamespace::New { uids: "1000 0 10\n".into(), gids: "1000 0 10\n".into() },
        recursive: true,
    };
    let options = vec![FsOption::Value(c"size".into(), c"1m".into())];
    let (target, fstype, source) = (c"/mnt".into(), c"tmpfs".into(), Some(c"shm".into()));
    assert_eq!(made, Some(Source::MappedNew { target, fstype, source, options, attributes: 2, map }));
    assert!(plan.lines().iter().any(|line| line.step == "make tmpfs for /mnt, id-mapped: size=1m"));
    assert_order(&plan, &["mount id-mapped file system on /mnt", "pivot root", "remount /mnt"]);
    for (options, wanted) in [(json!([]), true), (json!(["mode=755"]), false)] {
        let (_, plan) = mapped("tmpfs", options).unwrap();
        let is_it =
            |from: &MountFrom| matches!(from, MountFrom::Mapped { takes_mode, .. } if *takes_mode == wanted);
        assert!(mounts_of(&plan).any(is_it), "{plan:?}");
    }
    let long = format!("lowerdir=/{}", "a".repeat(300));
    for (fstype, options, words) in [
        ("proc", json!([]), "type proc cannot be id-mapped"),
        ("cgroup2", json!(["ro"]), "type cgroup2 cannot be id-mapped"),
        ("sysfs", json!(["ro"]), "type sysfs cannot be id-mapped"),
        ("overlay", json!([long]), "255 bytes"),
        ("tmpfs", json!(["remount"]), "a remount cannot change that"),
    ] {
        let error = mapped(fstype, options).unwrap_err().to_string();
        assert!(error.contains("mounts[0]") && error.contains(words), "{error}");
    }
}

#[test]
fn a_known_filter_is_planned_as_it_is() {
    let instruction = crate::sys::seccomp::Instruction { code: 6, jump_true: 0, jump_false: 0, constant: 7 };
    let known = Filter { program: vec![instruction], flags: 4, listener: None };
    let with_profile =
        |config: &mut Value| config["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW"});
    let filter_of = |facts: &Facts<'_>| {
        let plan = plan_with(with_profile, facts, false).unwrap();
        plan.steps.into_iter().find_map(|step| match step {
            Step::Seccomp(step) => Some(step.filter),
            _ => None,
        })
    };
    let find = |_: &LinuxSeccomp| Some(known.clone());
    assert_eq!(filter_of(&Facts { known_filter: &find, ..facts() }), Some(known.clone()));
    let compiled = filter_of(&facts()).unwrap();
    assert_ne!(compiled, known);
}

#[test]
fn the_mount_label_is_the_context_of_every_new_file_system() {
    let ids = json!([{"containerID": 0, "hostID": 1, "size": 1}]);
    let label = |modules: &dyn Fn() -> SecurityModules, ipc: bool| {
        let edit = |config: &mut Value| {
            config["linux"]["mountLabel"] = json!("u:r:t:s0:c1,c2");
            config["linux"]["namespaces"].as_array_mut().unwrap().retain(|kind| ipc || kind["type"] != "ipc");
            let long = format!("lowerdir=/{}", "a".repeat(300));
            config["mounts"].as_array_mut().unwrap().extend([
                json!({"destination": "/long", "type": "overlay", "options": [long]}),
                json!({"destination": "/mapped", "type": "tmpfs", "uidMappings": ids, "gidMappings": ids}),
                json!({"destination": "/bind", "source": "/data", "options": ["bind"]}),
            ]);
        };
        plan_with(edit, &Facts { security_modules: modules, ..facts() }, false)
    };
    let selinux = || SecurityModules { selinux: true, ..SecurityModules::default() };
    let plan = label(&selinux, true).unwrap();
    let lines: Vec<String> = plan.lines().into_iter().map(|line| line.step).collect();
    let line =
        |start: &str| lines.iter().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("{start}"));
    let context = "context=u:r:t:s0:c1,c2";
    for start in [
        "mount tmpfs on /dev:",
        "mount devpts on /dev/pts:",
        "mount tmpfs on /dev/shm:",
        "mount overlay on /long:",
        "make tmpfs for /mapped, id-mapped:",
        "mask /proc/acpi:",
        "mask /proc/kcore:",
    ] {
        assert!(line(start).ends_with(context), "{}", line(start));
    }
    for start in ["mount proc", "mount sysfs", "mount mqueue", "bind mount on /bind", "mount id-mapped"] {
        assert!(!line(start).contains("context"), "{}", line(start));
    }
    let labelled = |plan: &Plan| -> Vec<_> {
        let root = |from: &MountFrom| match from {
            MountFrom::New { fstype, root_context: Some(context), .. } => {
                Some((fstype.clone(), context.clone()))
            }
            _ => None,
        };
        mounts_of(plan).filter_map(root).collect()
    };
    assert_eq!(labelled(&plan), [(c"mqueue".into(), c"u:r:t:s0:c1,c2".into())]);
    assert_eq!(labelled(&label(&selinux, false).unwrap()), [], "the host's");
    let quoted = |from: &MountFrom| {
        matches!(from, MountFrom::Long { data, .. }
        if data.to_bytes().ends_with(b"aaa,context=\"u:r:t:s0:c1,c2\""))
    };
    assert!(mounts_of(&plan).any(quoted), "{plan:?}");
    let error = label(&SecurityModules::default, true).unwrap_err().to_string();
    assert!(error.contains("linux.mountLabel") && error.contains("SELinux"), "{error}");
}
