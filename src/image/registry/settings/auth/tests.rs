use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::super::{AuthFiles, RegistriesFiles, Settings, SettingsError, SettingsOptions};
use super::{AuthFile, Logout, login, logout, logout_all};
use crate::image::registry::{Credentials, Secret};

/// A directory with authentication files, helpers, and settings that know them.
struct Home {
    directory: tempfile::TempDir,
    options: SettingsOptions,
}

impl Home {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let mut helpers = path("bin").into_os_string();
        helpers.push(":/usr/bin:/bin");
        fs::create_dir(path("bin")).unwrap();
        let options = SettingsOptions {
            registries: RegistriesFiles::Usual { system: path("etc"), user: None, short_names: None },
            auth: AuthFiles {
                primary: Some(path("run/auth.json")),
                chosen_by: None,
                others: vec![path("config.json"), path(".dockercfg")],
            },
            certificates: Vec::new(),
            helpers: Some(helpers),
            helper_patience: Duration::from_secs(20),
            tls_verify: None,
        };
        Self { directory, options }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn file(self, name: &str, content: &Value) -> Self {
        self.text(name, &content.to_string())
    }

    fn text(self, name: &str, content: &str) -> Self {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), content).unwrap();
        self
    }

    /// A helper that runs `script`; its first argument is the action.
    fn helper(self, name: &str, script: &str) -> Self {
        let path = self.path(&format!("bin/docker-credential-{name}"));
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        self
    }

    fn settings(&self) -> Settings {
        Settings::load(&self.options).unwrap()
    }

    fn find(&self, registry: &str, repository: &str) -> Result<Option<Credentials>, SettingsError> {
        // Another test's fork may hold the script open for writing for a moment: ETXTBSY.
        for _ in 0..100 {
            match self.settings().credentials(registry, repository) {
                Err(error) if error.to_string().contains("busy") => {
                    std::thread::sleep(Duration::from_millis(20))
                }
                other => return other,
            }
        }
        panic!("the helper stays busy")
    }

    fn user(&self, registry: &str, repository: &str) -> Option<String> {
        self.find(registry, repository).unwrap().map(|credentials| match credentials.secret {
            Secret::Password { user, password } => format!("{user}:{password}"),
            Secret::IdentityToken(token) | Secret::RegistryToken(token) => format!("token {token}"),
        })
    }

    fn json(&self, name: &str) -> Value {
        serde_json::from_slice(&fs::read(self.path(name)).unwrap()).unwrap()
    }
}

fn auth(text: &str) -> Value {
    json!({"auth": STANDARD.encode(text)})
}

/// Keeps one registry's credentials in a file beside it.
const KEEPER: &str = r#"file="$0.store"; case "$1" in
store) cat > "$file" ;;
get) url=$(cat); if grep -qs "\"ServerURL\":\"$url\"" "$file"; then cat "$file"; else echo "credentials not found in native keychain"; exit 1; fi ;;
erase) rm -f "$file" ;;
esac"#;

#[test]
fn the_entry_nearest_to_the_repository_counts() {
    let home = Home::new().file(
        "run/auth.json",
        &json!({"auths": {"r.e:5": auth("host:1"), "r.e:5/team": auth("team:2"), "r.e:5/team/app": auth("app:3:4"),
            "other.e/team": auth("x:y")}}),
    );
    assert_eq!(home.user("r.e:5", "team/app").unwrap(), "app:3:4");
    assert_eq!(home.user("r.e:5", "team/app/deep").unwrap(), "app:3:4");
    assert_eq!(home.user("r.e:5", "team/other").unwrap(), "team:2");
    assert_eq!(home.user("r.e:5", "teamwork").unwrap(), "host:1");
    assert_eq!(home.user("r.e:5", "").unwrap(), "host:1");
    assert_eq!(home.user("other.e", "x"), None);
    assert_eq!(home.user("r.e", "team"), None);
    let source = home.find("r.e:5", "team/x").unwrap().unwrap().source;
    assert!(source.ends_with("run/auth.json, entry \"r.e:5/team\""), "{source}");
}

#[test]
fn dockers_spellings_are_read() {
    let home = Home::new()
        .file(
            "config.json",
            &json!({"auths": {"https://index.docker.io/v1/": auth("hub:1"), "https://r.e/v2/": auth("r:2\0\0"),
            "token.e": {"auth": STANDARD.encode("<token>:"), "identitytoken": "T"}, "plain.e": {"username": "p", "password": "q"},
            "none.e": {}, "null.e": null, "nopass.e": auth("u:")}, "HttpHeaders": {"User-Agent": "x"}}),
        )
        .file(".dockercfg", &json!({"https://old.e/v1/": auth("old:3")}));
    assert_eq!(home.user("docker.io", "library/busybox").unwrap(), "hub:1");
    assert_eq!(home.user("registry-1.docker.io", "library/busybox").unwrap(), "hub:1");
    assert_eq!(home.user("r.e", "x").unwrap(), "r:2");
    assert_eq!(home.user("token.e", "x").unwrap(), "token T");
    assert_eq!(home.user("plain.e", "x").unwrap(), "p:q");
    assert_eq!(home.user("old.e", "x").unwrap(), "old:3");
    for nobody in ["none.e", "null.e", "nopass.e", "unknown.e"] {
        assert_eq!(home.user(nobody, "x"), None, "{nobody}");
    }
}

#[test]
fn files_are_searched_in_order_and_empty_ones_are_fine() {
    let home = Home::new()
        .text("run/auth.json", " \n")
        .file("config.json", &json!({"auths": {"a.e": auth("docker:1")}}));
    assert_eq!(home.user("a.e", "x").unwrap(), "docker:1");
    let home = home.file("run/auth.json", &json!({"auths": {"a.e": auth("first:1")}}));
    assert_eq!(home.user("a.e", "x").unwrap(), "first:1");
}

#[test]
fn a_file_that_was_asked_for_is_the_only_one_and_must_be_there() {
    let mut home = Home::new().file("config.json", &json!({"auths": {"a.e": auth("docker:1")}}));
    home.options.auth =
        AuthFiles { primary: Some(home.path("mine")), chosen_by: Some("--authfile"), others: Vec::new() };
    let error = home.find("a.e", "x").unwrap_err().to_string();
    assert!(error.contains("mine\" is named by --authfile but does not exist"), "{error}");
}

#[test]
fn a_broken_file_is_an_error_that_tells_nothing_of_its_content() {
    for (content, reason) in [
        ("{", "no JSON at line 1"),
        ("[]", "JSON object"),
        (r#"{"auths": {"a.e": "SECRET"}}"#, "another kind"),
        (r#"{"auths": {"a.e": {"auth": "SECRET!"}}}"#, "no base64"),
        (r#"{"auths": {"a.e": {"auth": "U0VDUkVU"}}}"#, "without a colon"),
        (r#"{"auths": {"a.e": {"auth": "/v8="}}}"#, "not UTF-8"),
        (r#"{"auths": {"a.e": {"registrytoken": "SECRET"}}}"#, "registrytoken"),
    ] {
        let error = Home::new().text("run/auth.json", content).find("a.e", "x").unwrap_err().to_string();
        assert!(error.contains(reason) && error.contains("auth.json"), "{content}: {error}");
        assert!(!error.contains("SECRET") && !error.contains("U0VDUkVU"), "{error}");
    }
}

#[test]
fn helpers_are_asked_for_the_registries_that_name_them() {
    let say = |user: &str| {
        format!("read url; echo \"{{\\\"Username\\\":\\\"{user}\\\",\\\"Secret\\\":\\\"$url\\\"}}\"")
    };
    let home = Home::new().helper("one", &say("u")).helper("all", &say("<token>")).file(
        "run/auth.json",
        &json!({"auths": {"file.e": auth("f:1")}, "credHelpers": {"one.e": "one"}, "credsStore": "all"}),
    );
    assert_eq!(home.user("one.e", "x").unwrap(), "u:one.e");
    assert_eq!(home.user("file.e", "x").unwrap(), "f:1");
    assert_eq!(home.user("else.e", "x").unwrap(), "token else.e");
    assert_eq!(home.user("docker.io", "x").unwrap(), "token https://index.docker.io/v1/");
    let source = home.find("one.e", "x").unwrap().unwrap().source;
    assert!(source.starts_with("credential helper docker-credential-one (credHelpers in "), "{source}");
}

#[test]
fn registries_conf_may_name_helpers_before_the_files() {
    let home = Home::new()
        .helper("keeper", KEEPER)
        .text(
            "etc/registries.conf",
            "credential-helpers = [\"missing\", \"keeper\", \"containers-auth.json\"]",
        )
        .file("config.json", &json!({"auths": {"a.e": auth("docker:1")}}));
    assert_eq!(home.user("a.e", "x").unwrap(), "docker:1", "a broken helper is no reason to ask nobody else");
    let error = home.find("b.e", "x").unwrap_err().to_string();
    assert!(error.contains("docker-credential-missing is not in PATH"), "{error}");
}

#[test]
fn a_helper_that_misbehaves_is_one_line() {
    for (script, reason) in [
        ("echo rubbish", "expected JSON"),
        ("echo; echo 'no such key ring' >&2; echo second >&2; exit 1", "it failed: no such key ring"),
        ("echo 'locked: try again'; echo noise >&2; exit 3", "it failed: locked: try again"),
        ("exit 7", "exit status: 7"),
        ("head -c 2000000 /dev/zero", "more than 1048576 bytes"),
    ] {
        let home = Home::new().helper("bad", script);
        let home = home.file("run/auth.json", &json!({"credHelpers": {"a.e": "bad"}}));
        let error = home.find("a.e", "x").unwrap_err().to_string();
        assert!(error.contains(reason) && !error.contains('\n'), "{script}: {error}");
        assert!(error.contains("\"bad\" of credHelpers in "), "{error}");
    }
    let home = Home::new().file("run/auth.json", &json!({"credHelpers": {"a.e": "../bad"}}));
    assert!(home.find("a.e", "x").unwrap_err().to_string().contains("letters, digits"));
}

#[test]
fn a_helper_that_hangs_is_not_waited_for() {
    for script in ["exec sleep 300", "exec >&- 2>&-; exec sleep 300"] {
        let mut home = Home::new().helper("slow", script);
        home.options.helper_patience = Duration::from_secs(1);
        let home = home.file("run/auth.json", &json!({"credsStore": "slow"}));
        let start = Instant::now();
        let error = home.find("a.e", "x").unwrap_err().to_string();
        assert!(error.contains("no answer within 1 seconds"), "{error}");
        assert!(start.elapsed() < Duration::from_secs(60));
    }
}

#[test]
fn login_keeps_what_others_wrote_and_nobody_else_can_read_it() {
    let home = Home::new().file(
        "run/auth.json",
        &json!({"auths": {"a.e": auth("old:1"), "b.e": auth("b:2")}, "theirs": [1, 2]}),
    );
    fs::set_permissions(home.path("run/auth.json"), fs::Permissions::from_mode(0o644)).unwrap();
    let place = login(&home.settings(), "a.e", "me", "pass:word").unwrap();
    assert!(place.ends_with("run/auth.json"));
    assert_eq!(home.user("a.e", "x").unwrap(), "me:pass:word");
    assert_eq!(home.json("run/auth.json")["theirs"], json!([1, 2]));
    assert_eq!(home.user("b.e", "x").unwrap(), "b:2");
    assert_eq!(fs::metadata(home.path("run/auth.json")).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(home.path("run")).unwrap().count(), 1, "nothing else is left");
}

#[test]
fn login_makes_the_file_and_its_directory_for_the_user_alone() {
    let home = Home::new();
    login(&home.settings(), "index.docker.io", "me", "1").unwrap();
    assert_eq!(home.json("run/auth.json")["auths"]["docker.io"], auth("me:1"));
    assert_eq!(fs::metadata(home.path("run")).unwrap().permissions().mode() & 0o777, 0o700);
    login(&home.settings(), "r.e/team", "team", "2").unwrap();
    assert_eq!(home.user("r.e", "team/x").unwrap(), "team:2");
    assert_eq!(home.user("r.e", "x"), None);
}

#[test]
fn login_into_dockers_file_uses_dockers_name_of_its_hub() {
    let mut home = Home::new().file("config.json", &json!({"auths": {"docker.io": auth("a:b")}}));
    home.options.auth.primary = Some(home.path("config.json"));
    login(&home.settings(), "docker.io", "me", "1").unwrap();
    assert_eq!(home.json("config.json")["auths"], json!({"https://index.docker.io/v1/": auth("me:1")}));
}

#[test]
fn login_at_once_from_many_threads_loses_none() {
    let home = Home::new();
    std::thread::scope(|scope| {
        for number in 0..8 {
            let home = &home;
            scope.spawn(move || login(&home.settings(), &format!("r{number}.e"), "me", "1").unwrap());
        }
    });
    assert_eq!(home.json("run/auth.json")["auths"].as_object().unwrap().len(), 8);
}

#[test]
fn login_goes_to_the_helper_that_is_set_up() {
    let home = Home::new().helper("keeper", KEEPER);
    let home = home.file("run/auth.json", &json!({"credHelpers": {"a.e": "keeper"}}));
    assert_eq!(home.user("a.e", "x"), None);
    let place = login(&home.settings(), "a.e", "me", "1").unwrap();
    assert!(place.contains("docker-credential-keeper"), "{place}");
    assert_eq!(home.user("a.e", "x").unwrap(), "me:1");
    assert_eq!(home.json("run/auth.json"), json!({"credHelpers": {"a.e": "keeper"}}));
    let Logout::From(from) = logout(&home.settings(), "a.e").unwrap() else { panic!("it was logged in") };
    assert!(from[0].contains("docker-credential-keeper"), "{from:?}");
    assert_eq!(logout(&home.settings(), "a.e").unwrap(), Logout::Nothing);
}

#[test]
fn logout_forgets_one_registry_or_all() {
    let home = Home::new()
        .file(
            "run/auth.json",
            &json!({"auths": {"https://a.e/v2/": auth("a:1"), "b.e": auth("b:2"), "b.e/x": auth("c:3")}}),
        )
        .file("config.json", &json!({"auths": {"d.e": auth("d:4")}}));
    assert!(matches!(logout(&home.settings(), "a.e").unwrap(), Logout::From(_)));
    assert_eq!(home.user("a.e", "x"), None);
    assert!(matches!(logout(&home.settings(), "b.e").unwrap(), Logout::From(_)));
    assert_eq!(home.user("b.e", "x").unwrap(), "c:3");
    assert_eq!(logout(&home.settings(), "d.e").unwrap(), Logout::Elsewhere(home.path("config.json")));
    assert_eq!(logout(&home.settings(), "unknown.e").unwrap(), Logout::Nothing);
    logout_all(&home.settings()).unwrap();
    assert_eq!(home.json("run/auth.json")["auths"], json!({}));
    assert_eq!(home.user("d.e", "x").unwrap(), "d:4");
}

#[test]
fn nothing_but_a_file_is_replaced() {
    let mut home = Home::new();
    home.options.auth.primary = Some("/dev/null".into());
    let error = login(&home.settings(), "a.e", "me", "1").unwrap_err().to_string();
    assert!(error.contains("no regular file"), "{error}");
    let home = Home::new().file("real.json", &json!({}));
    fs::create_dir(home.path("run")).unwrap();
    std::os::unix::fs::symlink("../real.json", home.path("run/auth.json")).unwrap();
    login(&home.settings(), "a.e", "me", "1").unwrap();
    assert!(home.path("run/auth.json").is_symlink());
    assert_eq!(home.json("real.json")["auths"]["a.e"], auth("me:1"));
}

#[test]
fn what_is_no_json_is_not_overwritten() {
    for content in ["{broken", "[]", "{\"theirs\": 1e999}"] {
        let home = Home::new().text("run/auth.json", content);
        assert!(login(&home.settings(), "a.e", "me", "1").is_err(), "{content}");
        assert_eq!(fs::read_to_string(home.path("run/auth.json")).unwrap(), content);
    }
    assert!(AuthFile::parse(Path::new("/x"), b"{}").is_ok());
}
