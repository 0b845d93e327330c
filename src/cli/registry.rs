//! `registry`: questions about registries.

use std::fmt::Write as _;
use std::path::PathBuf;

use rcrun::image::policy::{Policy, PolicyFiles};
use rcrun::image::registry::settings::{Asked, Certified, Explanation, Known, Settings, SettingsOptions};
use rcrun::image::{Name, Reference};
use serde::Serialize;

use super::{Command, Context, output};

/// Flags of `registry`.
#[derive(clap::Args)]
pub struct Registry {
    /// What to do
    #[arg(value_enum)]
    action: Action,
    /// Name of an image, as for pull
    name: Name,
    /// Format of the answer
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Format,
    /// File with credentials [default: $REGISTRY_AUTH_FILE, or as for login]
    #[arg(long, value_name = "FILE")]
    authfile: Option<PathBuf>,
    /// Signature policy [default: ~/.config/containers/policy.json, or /etc/containers/policy.json]
    #[arg(long, value_name = "FILE")]
    signature_policy: Option<PathBuf>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Action {
    /// Say which registries are asked for NAME, in which order, with which credentials, and why
    Explain,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Format {
    /// Lines to read
    Text,
    /// One line of JSON
    Json,
}

/// The explanation, and what the signature policy says of each candidate.
#[derive(Serialize)]
struct Document {
    #[serde(flatten)]
    explanation: Explanation,
    policy: Vec<String>,
}

impl Command for Registry {
    const NAME: &'static str = "registry";
    const ABOUT: &'static str = "Explain which registries are asked for an image, and why";

    fn run(self, _: &Context) -> anyhow::Result<u8> {
        let Action::Explain = self.action;
        let settings = Settings::load(&SettingsOptions::from_environment(self.authfile))?;
        let explanation = settings.explain(&self.name)?;
        let policy = Policy::load(&PolicyFiles::from_environment(self.signature_policy))?;
        let references =
            explanation.candidates.iter().filter_map(|one| one.reference.parse::<Reference>().ok());
        let policy = references.map(|reference| policy.explain(&reference)).collect();
        let document = Document { explanation, policy };
        output::print(&match self.format {
            Format::Text => text(&document),
            Format::Json => output::json_line(&document)?,
        })?;
        Ok(0)
    }
}

fn text(document: &Document) -> String {
    let mut text = String::new();
    let explanation = &document.explanation;
    for (candidate, policy) in explanation.candidates.iter().zip(&document.policy) {
        let _ = writeln!(text, "{} is {}: {}", explanation.name, candidate.reference, candidate.why);
        if let Some(error) = &candidate.error {
            let _ = writeln!(text, "  nobody is asked: {error}");
        }
        for (number, endpoint) in (1..).zip(&candidate.endpoints) {
            add_endpoint(&mut text, number, endpoint);
        }
        let _ = writeln!(text, "  signatures: {policy}");
    }
    match explanation.files.is_empty() {
        true => text.push_str("there is no registries.conf\n"),
        false => {
            let files: Vec<String> =
                explanation.files.iter().map(|file| file.display().to_string()).collect();
            let _ = writeln!(text, "files: {}", files.join(", "));
        }
    }
    for ignored in &explanation.ignored {
        let _ = writeln!(text, "note: {ignored}");
    }
    text
}

fn add_endpoint(text: &mut String, number: usize, endpoint: &Asked) {
    let transport = match endpoint.insecure {
        true => "without verification of its certificate, and over http where it speaks no https",
        false => "over https",
    };
    let credentials = match &endpoint.credentials {
        Known::Nobody => "none: as anybody".to_owned(),
        Known::User { user, source } => format!("user {user}, from {source}"),
        Known::IdentityToken { source } => format!("an identity token, from {source}"),
        Known::Error(error) => error.clone(),
    };
    let certificates = match &endpoint.certificates {
        Certified::SystemOnly => "the system's authorities".to_owned(),
        Certified::Directory { path, authorities, client } => {
            let client = if *client { ", and shows a certificate of its own" } else { "" };
            format!("the system's authorities and {authorities} of {}{client}", path.display())
        }
        Certified::Error(error) => error.clone(),
    };
    let proxy = endpoint.proxy.as_deref().unwrap_or("none");
    let _ = writeln!(text, "  {number}. {} at {}, {transport}", endpoint.reference, endpoint.host);
    for (what, value) in [
        ("why", endpoint.why.as_str()),
        ("credentials", &credentials),
        ("trusts", &certificates),
        ("proxy", proxy),
    ] {
        let _ = writeln!(text, "     {what}: {value}");
    }
}
