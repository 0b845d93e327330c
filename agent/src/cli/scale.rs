//! `scale`.

use hyper::Method;
use serde_json::json;

use super::apply::Files;
use super::client::{Error, Result, object};
use super::target::{self, prefix};
use super::value::Look as _;
use super::{Scope, Session};

/// `scale`.
#[derive(clap::Args, Debug)]
pub struct Scale {
    /// Deployments, ReplicaSets, StatefulSets
    #[arg(value_name = "KIND/NAME", required_unless_present = "filename")]
    what: Vec<String>,
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    scope: Scope,
    /// How many
    #[arg(long, value_name = "NUMBER")]
    replicas: u32,
    /// Only if there are so many now
    #[arg(long, value_name = "NUMBER")]
    current_replicas: Option<i64>,
}

impl Scale {
    pub async fn run(self, session: &mut Session<'_>) -> Result<()> {
        for target in target::named(&self.what, &self.files)? {
            let key = target.key(self.scope.name());
            let key = key.ok_or_else(|| Error::usage("names of what is to be scaled are needed"))?;
            let path = format!("{}/scale", object(&key));
            if let Some(expected) = self.current_replicas {
                let scale = session.client.json(Method::GET, &path, "").await?;
                let now = scale.number("/spec/replicas");
                if now != expected {
                    return Err(Error::usage(format!("Expected replicas to be {expected}, was {now}")));
                }
            }
            let scale = json!({"spec": {"replicas": self.replicas}}).to_string();
            session.client.json(Method::PATCH, &path, scale).await?;
            writeln!(session.out, "{}/{} scaled", prefix(key.kind), key.name)?;
        }
        Ok(())
    }
}
