//! `api-resources` and `version`.

use hyper::Method;

use super::Session;
use super::client::Result;
use super::table::Table;
use super::value::Look as _;
use crate::objects::Kind;

/// `api-resources`.
#[derive(clap::Args, Debug)]
pub struct ApiResources {
    /// No headings
    #[arg(long)]
    no_headers: bool,
}

impl ApiResources {
    pub fn run(self, session: &mut Session<'_>) -> Result<()> {
        let mut table = Table::new(&["NAME", "SHORTNAMES", "APIVERSION", "NAMESPACED", "KIND"]);
        let mut kinds = Kind::ALL.to_vec();
        kinds.sort_by_key(|kind| (kind.api_version().contains('/'), kind.api_version(), kind.plural()));
        for kind in kinds {
            table.rows.push(vec![
                kind.plural().to_owned(),
                kind.short().join(","),
                kind.api_version().to_owned(),
                kind.namespaced().to_string(),
                kind.name().to_owned(),
            ]);
        }
        session.out.write_all(table.text(!self.no_headers, &mut Vec::new()).as_bytes())?;
        Ok(())
    }
}

/// `version`.
#[derive(clap::Args, Debug)]
pub struct Version {
    /// Only of this program
    #[arg(long)]
    client: bool,
}

impl Version {
    pub async fn run(self, session: &mut Session<'_>) -> Result<()> {
        writeln!(session.out, "Client Version: v{}", env!("CARGO_PKG_VERSION"))?;
        if !self.client {
            let version = session.client.json(Method::GET, "/version", "").await?;
            writeln!(session.out, "Server Version: {}", version.text("/gitVersion"))?;
        }
        Ok(())
    }
}
