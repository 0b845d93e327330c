//! What one Pod or claim may have: a namespace's LimitRanges.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Container, LimitRange, LimitRangeItem, Pod, PodSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::Refusal;
use crate::objects::quantity::{Format, milli, of_milli, parse};
use crate::objects::{Object, Objects, usage, validate};

type Amounts = BTreeMap<String, Quantity>;

/// Gives a Pod's containers the limits and requests of their namespace where they say none.
pub(super) fn complete(objects: &Objects, object: &mut Object) {
    if let Object::Pod(pod) = object {
        let namespace = pod.metadata.namespace.clone().unwrap_or_default();
        if items(objects, &namespace).next().is_some() {
            complete_pod(objects, Arc::make_mut(pod));
        }
    }
}

/// The same for a Pod that a controller makes.
pub fn complete_pod(objects: &Objects, pod: &mut Pod) {
    let namespace = pod.metadata.namespace.clone().unwrap_or_default();
    let Some(spec) = &mut pod.spec else { return };
    for item in items(objects, &namespace).filter(|item| item.type_ == "Container") {
        for container in spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten()) {
            fill(container, item.default.as_ref(), true);
            fill(container, item.default_request.as_ref(), false);
        }
    }
}

fn items<'a>(objects: &'a Objects, namespace: &str) -> impl Iterator<Item = &'a LimitRangeItem> + use<'a> {
    objects.list_in::<LimitRange>(namespace).flat_map(|range| range.spec.iter().flat_map(|spec| &spec.limits))
}

fn fill(container: &mut Container, amounts: Option<&Amounts>, limits: bool) {
    let Some(amounts) = amounts.filter(|amounts| !amounts.is_empty()) else { return };
    let resources = container.resources.get_or_insert_default();
    let map = if limits { &mut resources.limits } else { &mut resources.requests }.get_or_insert_default();
    for (name, amount) in amounts {
        map.entry(name.clone()).or_insert_with(|| amount.clone());
    }
}

/// A Pod that is there keeps what its namespace's limits gave it: it cannot be changed.
pub(super) fn keep(live: &Object, wanted: &mut Object) {
    let (Object::Pod(live), Object::Pod(wanted)) = (live, wanted) else { return };
    let (Some(live), Some(wanted)) = (&live.spec, &mut Arc::make_mut(wanted).spec) else { return };
    for container in wanted.containers.iter_mut().chain(wanted.init_containers.iter_mut().flatten()) {
        let same = validate::containers(live).find(|(_, _, live)| live.name == container.name);
        if let Some(resources) = same.and_then(|(_, _, live)| live.resources.as_ref()) {
            fill(container, resources.limits.as_ref(), true);
            fill(container, resources.requests.as_ref(), false);
        }
    }
}

/// Whether a Pod or a claim keeps to the limits of its namespace.
pub(super) fn check(objects: &Objects, object: &Object) -> Result<(), Refusal> {
    let key = object.key();
    let check = || -> Result<(), String> {
        for item in items(objects, &key.namespace) {
            match (object, item.type_.as_str()) {
                (Object::Pod(pod), "Container") => {
                    for (_, _, container) in pod.spec.iter().flat_map(validate::containers) {
                        let of = |name: &str, limits| usage::container_amount(container, name, limits);
                        keeps_to(item, &of)?;
                    }
                }
                (Object::Pod(pod), "Pod") => {
                    pod.spec.as_ref().map_or(Ok(()), |spec| keeps_to(item, &of_pod(spec)))?
                }
                (Object::PersistentVolumeClaim(claim), "PersistentVolumeClaim") => {
                    let resources = claim.spec.as_ref().and_then(|spec| spec.resources.as_ref());
                    let requests = resources.and_then(|resources| resources.requests.as_ref());
                    // What a claim requests is what it has.
                    keeps_to(item, &|name, _| requests?.get(name).and_then(milli))?;
                }
                _ => {}
            }
        }
        Ok(())
    };
    check().map_err(|why| {
        Refusal::new(403, format!("{} \"{}\" is forbidden: {why}", key.kind.plural(), key.name))
    })
}

fn of_pod(spec: &PodSpec) -> impl Fn(&str, bool) -> Option<i128> {
    |name, limits| {
        let said =
            validate::containers(spec).any(|(_, _, of)| usage::container_amount(of, name, limits).is_some());
        said.then(|| usage::pod_amount(spec, name, limits))
    }
}

fn keeps_to(item: &LimitRangeItem, amount: &dyn Fn(&str, bool) -> Option<i128>) -> Result<(), String> {
    let written = |milli: i128, like: &Quantity| {
        of_milli(milli, parse(&like.0).map_or(Format::Decimal, |(_, format)| format)).0
    };
    let of = |limits: bool| if limits { "limit" } else { "request" };
    for (name, least) in item.min.iter().flatten() {
        let start = format!("minimum {name} usage per {} is {}, but ", item.type_, least.0);
        let wanted = milli(least).unwrap_or(0);
        let request = amount(name, false).ok_or_else(|| format!("{start}no request is specified"))?;
        for (amount, limits) in [(Some(request), false), (amount(name, true), true)] {
            if let Some(amount) = amount.filter(|amount| *amount < wanted) {
                return Err(format!("{start}{} is {}", of(limits), written(amount, least)));
            }
        }
    }
    for (name, most) in item.max.iter().flatten() {
        let start = format!("maximum {name} usage per {} is {}, but ", item.type_, most.0);
        let wanted = milli(most).unwrap_or(i128::MAX);
        let limit = amount(name, true).ok_or_else(|| format!("{start}no limit is specified"))?;
        for (amount, limits) in [(Some(limit), true), (amount(name, false), false)] {
            if let Some(amount) = amount.filter(|amount| *amount > wanted) {
                return Err(format!("{start}{} is {}", of(limits), written(amount, most)));
            }
        }
    }
    for (name, most) in item.max_limit_request_ratio.iter().flatten() {
        let start = format!("{name} max limit to request ratio per {} is {}, but ", item.type_, most.0);
        match (amount(name, true), amount(name, false)) {
            (Some(limit), Some(request)) if request > 0 => {
                let ratio = milli(most).unwrap_or(i128::MAX);
                if limit.saturating_mul(1000) > request.saturating_mul(ratio) {
                    let provided = limit.saturating_mul(1000) / request;
                    return Err(format!(
                        "{start}provided ratio is {}",
                        of_milli(provided, Format::Decimal).0
                    ));
                }
            }
            _ => return Err(format!("{start}no request is specified or request is 0")),
        }
    }
    Ok(())
}
