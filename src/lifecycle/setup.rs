//! What `create` and `run` decide before they make anything: bundle, limits, plan.

use std::path::{Path, PathBuf};

use super::filters::Filters;
use super::{CreateOptions, Error};
use crate::bundle::{self, Bundle};
use crate::cgroups::systemd::{Manager, Scope, ScopePlan, UnitPath, round_quotas};
use crate::cgroups::{self, Cgroup, CgroupError, CgroupPath, Controllers, Hierarchy, Limits};
use crate::host;
use crate::id::ContainerId;
use crate::plan::{self, CgroupPlan, Facts, Plan, Request};
use crate::resctrl::{GroupPlan, Resctrl, Wanted};
use crate::state::Store;

/// Everything decided.
pub(super) struct Setup {
    pub bundle: Bundle,
    pub hierarchy: Option<Hierarchy>,
    pub resctrl: Option<Resctrl>,
    pub plan: Plan,
    /// The service manager's NOTIFY_SOCKET.
    pub notify: Option<String>,
    /// Where the plan's filter is kept.
    pub filters: Filters,
}

impl Setup {
    /// Reads the bundle and plans it. Nothing is made.
    pub fn new(store: &Store, options: &CreateOptions, create_only: bool) -> Result<Self, Error> {
        check_passed_descriptors(host::listen_fds(), options.preserve_fds)?;
        Self::of(store, Bundle::open(&options.bundle)?, options, create_only)
    }

    /// Plans `bundle`.
    pub fn of(
        store: &Store,
        bundle: Bundle,
        options: &CreateOptions,
        create_only: bool,
    ) -> Result<Self, Error> {
        let listen_fds = host::listen_fds();
        let notify = std::env::var("NOTIFY_SOCKET").ok().filter(|socket| !socket.is_empty());
        let home = |uid| bundle::home_directory(bundle.files(), uid);
        let filters = Filters::of(store);
        let known_filter = |seccomp: &_| filters.find(seccomp);
        let mut facts = facts(&home, listen_fds, options.console_socket.is_none());
        facts.known_filter = &known_filter;
        let unprivileged = facts.setgroups_denied || facts.in_user_namespace;
        let rootless = options.rootless.unwrap_or(unprivileged);
        let (hierarchy, cgroup) = match options.no_cgroup {
            true => (None, None),
            false => plan_cgroup(&bundle, options, rootless, unprivileged)
                .map(|(hierarchy, cgroup)| (Some(hierarchy), Some(cgroup)))?,
        };
        let (resctrl, group) = plan_group(&bundle, options)?.unzip();
        let request = Request {
            id: &options.id,
            spec: &bundle.spec,
            bundle: &bundle.path,
            root: &bundle.root,
            cgroup,
            resctrl: group,
            create_only,
            no_pivot: options.no_pivot,
            no_new_keyring: options.no_new_keyring,
            preserve_fds: options.preserve_fds,
            notify: notify.as_ref().map(|_| notify_directory(store, &options.id)),
            root_is_mount: bundle.image.is_some(),
            loopback: bundle.image.as_ref().is_some_and(|image| image.loopback),
        };
        let plan = plan::plan(request, &facts)?;
        Ok(Self { bundle, hierarchy, resctrl, plan, notify, filters })
    }

    /// Says what is done differently than asked.
    pub fn warn(&self, store: &Store) {
        if let Some(warning) = &self.plan.warning {
            store.warn(warning);
        }
        if let Some(cgroup) = &self.plan.cgroup {
            warn_of_skipped(store, &cgroup.limits);
        }
    }
}

/// Where the container's notify socket lives.
fn notify_directory(store: &Store, id: &ContainerId) -> PathBuf {
    store.root().join(id.as_str()).join("notify")
}

/// The facts of this host; `home` looks into the container's /etc/passwd. `relayed`: a terminal of the
/// process would be relayed to rcrun's own.
pub(super) fn facts<'a>(home: &'a dyn Fn(u32) -> String, listen_fds: u32, relayed: bool) -> Facts<'a> {
    Facts {
        is_directory: &host::is_directory,
        link_target: &host::link_target,
        pseudo_mounts: &host::pseudo_mounts,
        home,
        permitted_capabilities: host::permitted_capabilities(),
        in_user_namespace: host::in_user_namespace(),
        owns_network: &host::owns_network,
        setgroups_denied: !rustix::process::geteuid().is_root(),
        find_program: &host::find_program,
        listen_fds,
        listen_fd_names: std::env::var("LISTEN_FDNAMES").ok(),
        security_modules: &host::security_modules,
        known_filter: &|_| None,
        window_size: if relayed { &host::window_size } else { &|| None },
    }
}

/// The group of linux.intelRdt; without that field nobody asks what the host has.
fn plan_group(bundle: &Bundle, options: &CreateOptions) -> Result<Option<(Resctrl, GroupPlan)>, Error> {
    let linux = bundle.spec.linux().as_ref();
    let Some(rdt) = linux.and_then(|linux| linux.intel_rdt().as_ref()) else { return Ok(None) };
    let wanted = Wanted::of(rdt, &options.id)?;
    let resctrl = Resctrl::find()?;
    let plan = GroupPlan::new(&wanted, &resctrl.look(&wanted)?)?;
    Ok(Some((resctrl, plan)))
}

fn plan_cgroup(
    bundle: &Bundle,
    options: &CreateOptions,
    rootless: bool,
    unprivileged: bool,
) -> Result<(Hierarchy, CgroupPlan), Error> {
    let hierarchy = Hierarchy::find()?;
    let linux = bundle.spec.linux().as_ref();
    let wanted = linux.and_then(|linux| linux.cgroups_path().as_deref());
    let delegated = || hierarchy.delegated().filter(|_| unprivileged);
    let unit = options
        .systemd_cgroup
        .then(|| {
            let manager = match (rootless, options.rootless) {
                (true, None) if rustix::process::geteuid().is_root() => Scope::manager_of_namespaced_root(),
                (true, _) => Manager::User,
                (false, _) => Manager::System,
            };
            ScopePlace::find(&hierarchy, wanted, &options.id, manager)
        })
        .transpose()?;
    let path = match &unit {
        Some(unit) => unit.cgroup()?,
        None => CgroupPath::for_container(wanted, &options.id, || hierarchy.own_path(), delegated)?,
    };
    // Who may not give files away keeps what it makes.
    let may_give = |_: &_| host::permitted_capabilities() & caps::Capability::CAP_CHOWN.bitmask() != 0;
    let owner = cgroups::owner(&bundle.spec).filter(may_give);
    let mut limits = Limits::new(linux.and_then(|linux| linux.resources().as_ref()))?;
    match unit.as_ref().and_then(|place| place.controllers.as_ref()) {
        Some(delegated) => {
            limits.settle(delegated, options.missing_controllers, &path).map_err(CgroupError::from)?
        }
        None => limits.settle_on(&hierarchy, options.missing_controllers, &path)?,
    }
    if unit.is_some() {
        round_quotas(&mut limits.settings);
    }
    let scope =
        unit.map(|place| ScopePlan::new(place.unit, place.manager, &limits, &bundle.spec)).transpose()?;
    Ok((hierarchy, CgroupPlan { path, limits, scope, owner, rootless }))
}

/// Which systemd makes a container's scope, and where.
struct ScopePlace {
    unit: UnitPath,
    manager: Manager,
    /// The cgroup of the manager.
    base: CgroupPath,
    /// The controllers that are delegated to a user's manager.
    controllers: Option<Controllers>,
}

impl ScopePlace {
    /// The system's manager is at the root of the hierarchy; a user's is asked where it is.
    fn find(
        hierarchy: &Hierarchy,
        wanted: Option<&Path>,
        id: &ContainerId,
        manager: Manager,
    ) -> Result<Self, Error> {
        let unit = UnitPath::for_container(wanted, id, manager)?;
        let (base, controllers) = match manager {
            Manager::System => (CgroupPath::root(), None),
            Manager::User => {
                let base = Scope::connect(&unit.scope, manager)?.manager_cgroup()?;
                let controllers = Cgroup::open(hierarchy, &base)?.controllers()?;
                (base, Some(controllers))
            }
        };
        Ok(Self { unit, manager, base, controllers })
    }

    fn cgroup(&self) -> Result<CgroupPath, CgroupError> {
        self.unit.cgroup(&self.base)
    }
}

/// Descriptors to pass must be open, and must be so before rcrun opens any of its own: a number that
/// is free now would be one of ours later, and end up in the container.
pub(super) fn check_passed_descriptors(listen_fds: u32, preserve_fds: u32) -> Result<(), Error> {
    const MOST: u32 = 1 << 20;
    let option = if preserve_fds > 0 { "--preserve-fds" } else { "LISTEN_FDS" };
    let refuse = |reason: String| Err(Error::Option { option, reason });
    let Some(count) = listen_fds.checked_add(preserve_fds).filter(|count| *count <= MOST) else {
        return refuse("more descriptors than a process can have".into());
    };
    match (3..3 + count).find(|fd| !crate::sys::process::descriptor_is_open(*fd)) {
        Some(fd) => refuse(format!("descriptor {fd} is not open")),
        None => Ok(()),
    }
}

/// Says which limits are left out.
pub(super) fn warn_of_skipped(store: &Store, limits: &Limits) {
    for setting in &limits.skipped {
        let controller = setting.controller.as_deref().unwrap_or_default();
        let field = &setting.field;
        store.warn(&format!("{field} is skipped: this host has no cgroup controller {controller}"));
    }
}
