//! `login` and `logout`.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use rcrun::image::Limits;
use rcrun::image::registry::settings::auth::{self, Logout as Outcome};
use rcrun::image::registry::settings::{Place, Settings, SettingsOptions};
use rcrun::image::registry::{Credentials, Registry, Secret, Timeouts};

use super::{Command, Context, log, output, prompt, words};

/// Flags of `login`.
#[derive(clap::Args)]
pub struct Login {
    /// User's name; asked for on a terminal
    #[arg(short, long, value_name = "NAME")]
    username: Option<String>,
    /// Password or token; asked for on a terminal
    #[arg(short, long, value_name = "PASSWORD", conflicts_with = "password_stdin")]
    password: Option<String>,
    /// Read the password from stdin
    #[arg(long, requires = "username")]
    password_stdin: bool,
    /// File to keep the credentials in
    /// [default: $REGISTRY_AUTH_FILE, or $XDG_RUNTIME_DIR/containers/auth.json; for root without one /run/containers/0/auth.json]
    #[arg(long, value_name = "FILE")]
    authfile: Option<PathBuf>,
    /// Verify the registry's certificate, and speak https alone [default: as registries.conf says]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
        value_parser = words::parsed_boolean)]
    tls_verify: Option<bool>,
    /// Print who is logged in, and do nothing
    #[arg(long, conflicts_with_all = ["username", "password", "password_stdin"])]
    get_login: bool,
    /// HOST[:PORT], or HOST[:PORT]/NAMESPACE for credentials of a part of it
    #[arg(default_value = "docker.io")]
    registry: Place,
}

/// Flags of `logout`.
#[derive(clap::Args)]
pub struct Logout {
    /// Forget the credentials of all registries
    #[arg(short, long, conflicts_with = "registry")]
    all: bool,
    /// File with the credentials [default: as for login]
    #[arg(long, value_name = "FILE")]
    authfile: Option<PathBuf>,
    /// HOST[:PORT], or HOST[:PORT]/NAMESPACE [default: docker.io]
    registry: Option<Place>,
}

impl Command for Login {
    const NAME: &'static str = "login";
    const ABOUT: &'static str = "Log in to a registry";

    fn run(self, _: &Context) -> anyhow::Result<u8> {
        let mut options = SettingsOptions::from_environment(self.authfile.clone());
        options.tls_verify = self.tls_verify;
        let settings = Settings::load(&options)?;
        if self.get_login {
            return self.print_login(&settings);
        }
        let (user, password) = self.ask(&settings)?;
        let settings = Arc::new(settings);
        let registry =
            Registry::new(settings.clone(), Timeouts::from_environment()?, Limits::from_environment()?);
        let secret = Secret::Password { user: user.clone(), password: password.clone() };
        let source = "what was given to login".to_owned();
        registry.login(self.registry.registry(), Credentials { secret, source })?;
        let kept = auth::login(&settings, &self.registry.to_string(), &user, &password)?;
        output::print(&format!("Login Succeeded: the credentials are kept in {kept}\n"))?;
        Ok(0)
    }
}

impl Login {
    fn print_login(&self, settings: &Settings) -> anyhow::Result<u8> {
        let found = settings.credentials(self.registry.registry(), self.registry.path())?;
        let user = match found.map(|found| found.secret) {
            Some(Secret::Password { user, .. }) => user,
            Some(Secret::IdentityToken(_) | Secret::RegistryToken(_)) => "<token>".to_owned(),
            None => bail!("nobody is logged in to {}", self.registry),
        };
        output::print(&format!("{user}\n"))?;
        Ok(0)
    }

    /// User and password, from whom they are to be had.
    fn ask(&self, settings: &Settings) -> anyhow::Result<(String, String)> {
        let missing = self.username.is_none() || (self.password.is_none() && !self.password_stdin);
        if missing && !prompt::is_possible() {
            bail!("there is no terminal to ask for the login on: say --username NAME and --password-stdin");
        }
        let user = match &self.username {
            Some(user) => user.clone(),
            None => self.ask_user(settings)?,
        };
        if user.is_empty() {
            bail!("a login needs a user's name");
        }
        if user.contains(':') {
            bail!("user {user:?}: a name with a colon cannot be told from its password");
        }
        let password = match &self.password {
            Some(password) => {
                log::warning("--password is seen in the list of processes: --password-stdin is not");
                password.clone()
            }
            None if self.password_stdin => prompt::piped_line()?,
            None => prompt::ask_secret("Password: ")?,
        };
        match password.is_empty() {
            true => bail!("a login needs a password"),
            false => Ok((user, password)),
        }
    }

    /// Who is logged in is offered.
    fn ask_user(&self, settings: &Settings) -> anyhow::Result<String> {
        let known = settings.credentials(self.registry.registry(), self.registry.path()).ok().flatten();
        match known.map(|known| known.secret) {
            Some(Secret::Password { user, .. }) => {
                let answer = prompt::ask(&format!("Username ({user}): "))?;
                Ok(if answer.is_empty() { user } else { answer })
            }
            _ => prompt::ask("Username: "),
        }
    }
}

impl Command for Logout {
    const NAME: &'static str = "logout";
    const ABOUT: &'static str = "Forget the login to a registry";

    fn run(self, _: &Context) -> anyhow::Result<u8> {
        let settings = Settings::load(&SettingsOptions::from_environment(self.authfile))?;
        if self.all {
            let path = auth::logout_all(&settings)?;
            output::print(&format!("Removed all credentials from {}\n", path.display()))?;
            return Ok(0);
        }
        let place = match self.registry {
            Some(place) => place,
            None => "docker.io".parse().context("the default registry")?,
        };
        match auth::logout(&settings, &place.to_string())? {
            Outcome::From(places) => {
                output::print(&format!("Removed the credentials for {place} from {}\n", places.join(", ")))?;
            }
            Outcome::Elsewhere(path) => bail!(
                "the credentials for {place} are in {}, which rcrun does not change unless told: say --authfile",
                path.display()
            ),
            Outcome::Nothing => bail!("nobody is logged in to {place}"),
        }
        Ok(0)
    }
}
