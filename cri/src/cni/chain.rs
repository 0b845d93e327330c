//! Plugins one after another: ADD in the list's order, each told what the one before answered; DEL backwards. CNI specification 1.1,
//! section 3.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::plugin::Call;
use super::{CniError, ConfList, INTERFACE, capabilities, list, result};
use crate::api;
use crate::config::Network;

/// The kubelet gives RunPodSandbox four minutes.
const TIMEOUT: Duration = Duration::from_secs(100);
/// Status is asked every few seconds.
const STATUS_TIMEOUT: Duration = Duration::from_secs(10);

/// A Pod's attachment by CNI plugins: all that DEL needs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CniAttachment {
    /// The network as it was configured when the Pod was attached.
    list: ConfList,
    /// Arguments by capability.
    capabilities: Map<String, Value>,
    /// CNI_ARGS.
    args: String,
    /// What the last plugin answered to ADD; None: it has not come so far.
    pub result: Option<Value>,
}

impl CniAttachment {
    /// What will be asked of the plugins for this Pod. They are all there.
    pub fn plan(
        settings: &Network,
        list: ConfList,
        id: &str,
        config: &api::PodSandboxConfig,
        cgroup_parent: &str,
    ) -> Result<Self, CniError> {
        // Before anything is made: without its plugin, nothing of it could be given back either.
        programs(&list, settings)?;
        let metadata = config.metadata.clone().unwrap_or_default();
        let args = [
            ("IgnoreUnknown", "1"),
            ("K8S_POD_NAMESPACE", &metadata.namespace),
            ("K8S_POD_NAME", &metadata.name),
            ("K8S_POD_INFRA_CONTAINER_ID", id),
            ("K8S_POD_UID", &metadata.uid),
        ];
        if let Some((key, value)) = args.iter().find(|(_, value)| value.contains([';', '=', '\0'])) {
            let reason = format!("{value:?} cannot be {key} of CNI_ARGS: no ; and no =");
            return Err(CniError::Wish { field: "metadata".into(), reason });
        }
        let args = args.map(|(key, value)| format!("{key}={value}")).join(";");
        Ok(Self { capabilities: capabilities::arguments(config, cgroup_parent)?, list, args, result: None })
    }

    /// ADD. After a failure, [`Self::delete`] gives back what the plugins did before it.
    pub fn add(&mut self, settings: &Network, id: &str, namespace: &Path) -> Result<Vec<IpAddr>, CniError> {
        let programs = programs(&self.list, settings)?;
        let call = self.call("ADD", settings, id, Some(namespace));
        let mut previous = None;
        for (plugin, program) in self.list.plugins.iter().zip(&programs) {
            let configuration = self.configuration(plugin, previous.as_ref());
            let answer =
                call.run(program, &configuration).map_err(|why| failed(&self.list, plugin, "ADD", why))?;
            previous =
                Some(answer.ok_or_else(|| failed(&self.list, plugin, "ADD", "it answered nothing".into()))?);
        }
        let answer = previous.unwrap_or_default();
        let addresses = result::addresses(&answer, INTERFACE)
            .map_err(|reason| CniError::NoAddress { network: self.list.name.clone(), reason })?;
        self.result = Some(answer);
        Ok(addresses)
    }

    /// DEL of all plugins, also those that were never asked to ADD: it is idempotent by the specification. Goes on past an error,
    /// and says the first.
    pub fn delete(&self, settings: &Network, id: &str, namespace: Option<&Path>) -> Result<(), CniError> {
        let call = self.call("DEL", settings, id, namespace);
        let mut first = Ok(());
        for plugin in self.list.plugins.iter().rev() {
            let previous = self.result.as_ref().filter(|_| self.list.speaks("0.4.0"));
            let configuration = self.configuration(plugin, previous);
            let deleted = find(&self.list, plugin, settings).and_then(|program| {
                call.run(&program, &configuration).map_err(|why| failed(&self.list, plugin, "DEL", why))
            });
            first = first.and(deleted.map(drop));
        }
        first
    }

    /// CHECK, where the network's version has it.
    pub fn check(&self, settings: &Network, id: &str, namespace: &Path) -> Result<(), CniError> {
        if self.list.disable_check || !self.list.speaks("0.4.0") || self.result.is_none() {
            return Ok(());
        }
        let call = self.call("CHECK", settings, id, Some(namespace));
        for (plugin, program) in self.list.plugins.iter().zip(programs(&self.list, settings)?) {
            let configuration = self.configuration(plugin, self.result.as_ref());
            call.run(&program, &configuration).map_err(|why| failed(&self.list, plugin, "CHECK", why))?;
        }
        Ok(())
    }

    fn call<'a>(
        &'a self,
        command: &'static str,
        settings: &'a Network,
        id: &'a str,
        namespace: Option<&'a Path>,
    ) -> Call<'a> {
        Call {
            command,
            id,
            namespace,
            interface: INTERFACE,
            args: &self.args,
            directories: &settings.cni_bin_dirs,
            timeout: TIMEOUT,
        }
    }

    /// What one plugin reads: its own configuration, the arguments that it has the capability for, the previous plugin's answer.
    fn configuration(&self, plugin: &Map<String, Value>, previous: Option<&Value>) -> Value {
        let mut configuration = request(&self.list, plugin);
        let asked = plugin.get("capabilities").and_then(Value::as_object);
        let asked = asked.into_iter().flatten().filter(|(_, wanted)| wanted.as_bool() == Some(true));
        let given: BTreeMap<&String, &Value> =
            asked.filter_map(|(name, _)| self.capabilities.get_key_value(name)).collect();
        if !given.is_empty() {
            configuration["runtimeConfig"] = json!(given);
        }
        if let Some(previous) = previous {
            configuration["prevResult"] = previous.clone();
        }
        configuration
    }
}

/// Is the network able to take Pods? All its programs are there, and each that speaks CNI 1.1 says so.
pub fn status(list: &ConfList, settings: &Network) -> Result<(), CniError> {
    let programs = programs(list, settings)?;
    if list.speaks("1.1.0") {
        let call = of_network("STATUS", settings);
        for (plugin, program) in list.plugins.iter().zip(&programs) {
            call.run(program, &request(list, plugin)).map_err(|why| failed(list, plugin, "STATUS", why))?;
        }
    }
    Ok(())
}

/// GC: plugins give back what belongs to none of the Pods in `alive`. Goes on past an error, and says the first.
pub fn collect(list: &ConfList, settings: &Network, alive: &[&str]) -> Result<(), CniError> {
    if list.disable_gc || !list.speaks("1.1.0") {
        return Ok(());
    }
    let valid: Vec<Value> = alive.iter().map(|id| json!({"containerID": id, "ifname": INTERFACE})).collect();
    let call = of_network("GC", settings);
    let mut first = Ok(());
    for plugin in &list.plugins {
        let mut configuration = request(list, plugin);
        configuration["cni.dev/valid-attachments"] = json!(valid);
        let collected = find(list, plugin, settings).and_then(|program| {
            call.run(&program, &configuration).map_err(|why| failed(list, plugin, "GC", why))
        });
        first = first.and(collected.map(drop));
    }
    first
}

fn of_network<'a>(command: &'static str, settings: &'a Network) -> Call<'a> {
    Call {
        command,
        id: "",
        namespace: None,
        interface: "",
        args: "",
        directories: &settings.cni_bin_dirs,
        timeout: STATUS_TIMEOUT,
    }
}

fn request(list: &ConfList, plugin: &Map<String, Value>) -> Value {
    let mut configuration = plugin.clone();
    configuration.remove("capabilities");
    configuration.insert("name".into(), list.name.clone().into());
    configuration.insert("cniVersion".into(), list.version.clone().into());
    Value::Object(configuration)
}

fn programs(list: &ConfList, settings: &Network) -> Result<Vec<PathBuf>, CniError> {
    list.plugins.iter().map(|plugin| find(list, plugin, settings)).collect()
}

fn find(list: &ConfList, plugin: &Map<String, Value>, settings: &Network) -> Result<PathBuf, CniError> {
    let name = list::kind(plugin);
    let places = settings.cni_bin_dirs.iter().map(|directory| directory.join(name));
    places.into_iter().find(|place| place.is_file()).ok_or_else(|| {
        let directories: Vec<_> =
            settings.cni_bin_dirs.iter().map(|path| path.display().to_string()).collect();
        CniError::NoPlugin {
            plugin: name.into(),
            network: list.name.clone(),
            directories: directories.join(", "),
        }
    })
}

fn failed(list: &ConfList, plugin: &Map<String, Value>, command: &'static str, reason: String) -> CniError {
    CniError::Plugin { plugin: list::kind(plugin).into(), network: list.name.clone(), command, reason }
}

#[cfg(test)]
mod tests;
