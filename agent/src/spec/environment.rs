//! A container's variables: of Services, `envFrom`, `env`. What comes later wins.

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{ConfigMap, Container, EnvFromSource, EnvVar, EnvVarSource, Pod, Secret};

use super::service_variables::service_variables;
use super::{Settings, SpecError, downward, expand};
use crate::objects::{Objects, Typed as _};

/// Variables in the order in which they came first.
#[derive(Default)]
struct Variables {
    all: Vec<(String, Vec<u8>)>,
    places: BTreeMap<String, usize>,
}

impl Variables {
    fn get(&self, name: &str) -> Option<&[u8]> {
        self.places.get(name).map(|&place| self.all[place].1.as_slice())
    }

    fn put(&mut self, name: &str, value: Vec<u8>) {
        match self.places.get(name) {
            Some(&place) => self.all[place].1 = value,
            None => {
                self.places.insert(name.to_owned(), self.all.len());
                self.all.push((name.to_owned(), value));
            }
        }
    }
}

/// All variables of a container, as text; what of them is a Secret's is in there, too.
pub fn environment(
    pod: &Pod,
    container: &Container,
    objects: &Objects,
    addresses: &[IpAddr],
    settings: &Settings,
) -> Result<BTreeMap<String, String>, SpecError> {
    let variables = variables(pod, container, objects, addresses, settings)?;
    Ok(variables
        .into_iter()
        .map(|(name, value)| (name, String::from_utf8_lossy(&value).into_owned()))
        .collect())
}

/// The same, in their order, each value as it is.
pub(super) fn variables(
    pod: &Pod,
    container: &Container,
    objects: &Objects,
    addresses: &[IpAddr],
    settings: &Settings,
) -> Result<Vec<(String, Vec<u8>)>, SpecError> {
    let mut variables = Variables::default();
    for (name, value) in service_variables(pod, objects) {
        variables.put(&name, value.into());
    }
    let source = Source { pod, container, objects, addresses, settings };
    for (index, from) in container.env_from.iter().flatten().enumerate() {
        source.put_all(from, &mut variables).map_err(|why| {
            SpecError::config(format!("container {}: envFrom[{index}]: {why}", container.name))
        })?;
    }
    for variable in container.env.iter().flatten() {
        let of =
            |why| SpecError::config(format!("container {}: env {}: {why}", container.name, variable.name));
        if let Some(value) = source.value(variable, &variables).map_err(of)? {
            variables.put(&variable.name, value);
        }
    }
    match variables.all.iter().find(|(_, value)| value.contains(&0)) {
        Some((name, _)) => Err(SpecError::config(format!(
            "container {}: the value of variable {name} has a NUL byte, which no variable can have: use a volume",
            container.name
        ))),
        None => Ok(variables.all),
    }
}

/// Where values come from.
struct Source<'a> {
    pod: &'a Pod,
    container: &'a Container,
    objects: &'a Objects,
    addresses: &'a [IpAddr],
    settings: &'a Settings,
}

impl Source<'_> {
    fn put_all(&self, from: &EnvFromSource, variables: &mut Variables) -> Result<(), String> {
        let prefix = from.prefix.as_deref().unwrap_or_default();
        let mut put = |name: &str, value: &[u8]| {
            let name = format!("{prefix}{name}");
            if is_name(&name) {
                variables.put(&name, value.into());
            }
        };
        if let Some(wanted) = &from.config_map_ref {
            match self.objects.find::<ConfigMap>(self.pod.namespace(), &wanted.name) {
                Some(map) => map.data.iter().flatten().for_each(|(name, value)| put(name, value.as_bytes())),
                None if wanted.optional == Some(true) => {}
                None => return Err(self.missing("configmap", &wanted.name)),
            }
        }
        if let Some(wanted) = &from.secret_ref {
            match self.objects.find::<Secret>(self.pod.namespace(), &wanted.name) {
                Some(secret) => secret.data.iter().flatten().for_each(|(name, value)| put(name, &value.0)),
                None if wanted.optional == Some(true) => {}
                None => return Err(self.missing("secret", &wanted.name)),
            }
        }
        Ok(())
    }

    /// None: there is no such variable, which is fine.
    fn value(&self, variable: &EnvVar, before: &Variables) -> Result<Option<Vec<u8>>, String> {
        let written = variable.value.as_deref().unwrap_or_default();
        match &variable.value_from {
            Some(from) if written.is_empty() => self.value_from(from),
            _ => Ok(Some(expand(written, |name| before.get(name)))),
        }
    }

    fn value_from(&self, from: &EnvVarSource) -> Result<Option<Vec<u8>>, String> {
        if let Some(field) = &from.field_ref {
            let value = downward::field(self.pod, &field.field_path, self.addresses, &self.settings.node);
            return value.map(|value| Some(value.into_bytes()));
        }
        if let Some(resource) = &from.resource_field_ref {
            return downward::resource(self.pod, self.container, resource)
                .map(|value| Some(value.into_bytes()));
        }
        let namespace = self.pod.namespace();
        if let Some(wanted) = &from.config_map_key_ref {
            let optional = wanted.optional == Some(true);
            let map = self.objects.find::<ConfigMap>(namespace, &wanted.name);
            let Some(map) = map else {
                return self.absent(optional, || self.missing("configmap", &wanted.name));
            };
            return match map.data.as_ref().and_then(|data| data.get(&wanted.key)) {
                Some(value) => Ok(Some(value.clone().into_bytes())),
                None => self.absent(optional, || self.no_key("configmap", &wanted.name, &wanted.key)),
            };
        }
        if let Some(wanted) = &from.secret_key_ref {
            let optional = wanted.optional == Some(true);
            let secret = self.objects.find::<Secret>(namespace, &wanted.name);
            let Some(secret) = secret else {
                return self.absent(optional, || self.missing("secret", &wanted.name));
            };
            return match secret.data.as_ref().and_then(|data| data.get(&wanted.key)) {
                Some(value) => Ok(Some(value.0.clone())),
                None => self.absent(optional, || self.no_key("secret", &wanted.name, &wanted.key)),
            };
        }
        Err("valueFrom: no source that is supported".into())
    }

    fn absent(&self, optional: bool, why: impl Fn() -> String) -> Result<Option<Vec<u8>>, String> {
        if optional { Ok(None) } else { Err(why()) }
    }

    fn missing(&self, kind: &str, name: &str) -> String {
        format!("{kind} {}/{name} not found", self.pod.namespace())
    }

    fn no_key(&self, kind: &str, name: &str, key: &str) -> String {
        format!("{kind} {}/{name} has no key {key:?}", self.pod.namespace())
    }
}

/// What the kernel and Kubernetes take as a variable's name.
fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'=')
}
