//! Where the settings are: the places of containers-registries.conf(5), containers-auth.json(5) and
//! containers-certs.d(5), and docker's. Pure: the environment comes in as a function.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// How long a credential helper may take: one may ask somebody for a passphrase.
const HELPER_PATIENCE: Duration = Duration::from_secs(60);

/// Which files to read. Those that are not there are as good as empty, but one that was asked for by name.
#[derive(Clone, Debug)]
pub struct SettingsOptions {
    /// registries.conf.
    pub registries: RegistriesFiles,
    /// What holds credentials.
    pub auth: AuthFiles,
    /// Directories `certs.d`: the first that has one for the registry counts.
    pub certificates: Vec<PathBuf>,
    /// Where credential helpers are, as in PATH; None: PATH itself.
    pub helpers: Option<OsString>,
    /// How long a credential helper may take.
    pub helper_patience: Duration,
    /// `--tls-verify`: stands above what registries.conf says of any registry.
    pub tls_verify: Option<bool>,
}

/// The files that make up registries.conf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegistriesFiles {
    /// This file alone, and nothing beside it: `CONTAINERS_REGISTRIES_CONF`.
    Only(PathBuf),
    /// Directories which have `registries.conf` and `registries.conf.d`, and the file of the short names that
    /// other programs have asked their user about.
    Usual {
        /// `/etc/containers`.
        system: PathBuf,
        /// `~/.config/containers`: its registries.conf replaces the system's, drop-ins included.
        user: Option<PathBuf>,
        /// `short-name-aliases.conf`.
        short_names: Option<PathBuf>,
    },
}

/// The files with credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthFiles {
    /// Where `login` writes.
    pub primary: Option<PathBuf>,
    /// Who said so (`--authfile`, `REGISTRY_AUTH_FILE`): no other file is read then.
    pub chosen_by: Option<&'static str>,
    /// The others, in the order of searching.
    pub others: Vec<PathBuf>,
}

impl SettingsOptions {
    /// Where everything is for this process. `authfile` is the command line's.
    pub fn from_environment(authfile: Option<PathBuf>) -> Self {
        let user = rustix::process::geteuid().as_raw();
        Self::from_variables(user, authfile, |name| std::env::var_os(name))
    }

    /// Where everything is for `user` in an environment.
    pub fn from_variables(
        user: u32,
        authfile: Option<PathBuf>,
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Self {
        let path = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let home = path("HOME");
        let below_home = |name: &str| home.as_ref().map(|home| home.join(name));
        let config = path("XDG_CONFIG_HOME").or_else(|| below_home(".config"));
        let config = config.map(|config| config.join("containers"));
        let short_names = match user {
            0 => Some(PathBuf::from("/var/cache")),
            _ => path("XDG_CACHE_HOME").or_else(|| below_home(".cache")),
        };
        let registries = match path("CONTAINERS_REGISTRIES_CONF") {
            Some(only) => RegistriesFiles::Only(only),
            None => RegistriesFiles::Usual {
                system: "/etc/containers".into(),
                user: config.clone(),
                short_names: short_names.map(|cache| cache.join("containers/short-name-aliases.conf")),
            },
        };
        let docker = path("DOCKER_CONFIG").or_else(|| below_home(".docker"));
        let own = config.as_ref().map(|config| config.join("certs.d"));
        let shared = ["/etc/containers/certs.d", "/etc/docker/certs.d"].map(PathBuf::from);
        let certificates = own.into_iter().chain(shared).collect();
        let chosen = authfile.map(|file| (file, "--authfile"));
        let chosen = chosen.or_else(|| path("REGISTRY_AUTH_FILE").map(|file| (file, "REGISTRY_AUTH_FILE")));
        let auth = match chosen {
            Some((file, by)) => AuthFiles { primary: Some(file), chosen_by: Some(by), others: Vec::new() },
            None => {
                let runtime = path("XDG_RUNTIME_DIR").map(|runtime| runtime.join("containers"));
                let runtime = runtime.or_else(|| (user == 0).then(|| "/run/containers/0".into()));
                let persistent = config.map(|config| config.join("auth.json"));
                let (primary, persistent) = match runtime {
                    Some(runtime) => (Some(runtime.join("auth.json")), persistent),
                    None => (persistent, None),
                };
                let docker = docker.map(|docker| docker.join("config.json"));
                let others = [persistent, docker, below_home(".dockercfg")].into_iter().flatten().collect();
                AuthFiles { primary, chosen_by: None, others }
            }
        };
        let (helpers, helper_patience, tls_verify) = (None, HELPER_PATIENCE, None);
        Self { registries, auth, certificates, helpers, helper_patience, tls_verify }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(user: u32, variables: &[(&str, &str)]) -> SettingsOptions {
        SettingsOptions::from_variables(user, None, |name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into())
        })
    }

    #[test]
    fn a_user_has_places_of_their_own() {
        let options = of(7, &[("HOME", "/h"), ("XDG_RUNTIME_DIR", "/run/user/7"), ("DOCKER_CONFIG", "/d")]);
        let RegistriesFiles::Usual { user, short_names, .. } = options.registries else { panic!("usual") };
        assert_eq!(user.unwrap(), PathBuf::from("/h/.config/containers"));
        assert_eq!(short_names.unwrap(), PathBuf::from("/h/.cache/containers/short-name-aliases.conf"));
        assert_eq!(options.auth.primary.unwrap(), PathBuf::from("/run/user/7/containers/auth.json"));
        let others = ["/h/.config/containers/auth.json", "/d/config.json", "/h/.dockercfg"];
        assert_eq!(options.auth.others, others.map(PathBuf::from));
        let certificates =
            ["/h/.config/containers/certs.d", "/etc/containers/certs.d", "/etc/docker/certs.d"];
        assert_eq!(options.certificates, certificates.map(PathBuf::from));
    }

    #[test]
    fn a_file_that_is_named_is_the_only_one() {
        let options =
            of(0, &[("HOME", "/h"), ("CONTAINERS_REGISTRIES_CONF", "/r"), ("REGISTRY_AUTH_FILE", "/a")]);
        assert_eq!(options.registries, RegistriesFiles::Only("/r".into()));
        let chosen = Some("REGISTRY_AUTH_FILE");
        assert_eq!(
            options.auth,
            AuthFiles { primary: Some("/a".into()), chosen_by: chosen, others: Vec::new() }
        );
    }

    #[test]
    fn without_home_there_is_little() {
        let options = of(7, &[("HOME", "")]);
        assert_eq!((options.auth.primary, options.auth.others), (None, Vec::new()));
        assert_eq!(of(0, &[]).auth.primary.unwrap(), PathBuf::from("/run/containers/0/auth.json"));
    }
}
