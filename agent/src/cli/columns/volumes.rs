//! PersistentVolumes and claims.

use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use super::super::value::{Look as _, or};
use super::{Columns, created, name};

pub const VOLUME: Columns = Columns {
    headings: &[
        "NAME",
        "CAPACITY",
        "ACCESS MODES",
        "RECLAIM POLICY",
        "STATUS",
        "CLAIM",
        "STORAGECLASS",
        "REASON",
        "AGE",
        "VOLUMEMODE*",
    ],
    cells: volume,
};

fn volume(volume: &Value, now: Timestamp) -> Vec<String> {
    let claim = match volume.text("/spec/claimRef/name") {
        "" => String::new(),
        claim => format!("{}/{claim}", volume.text("/spec/claimRef/namespace")),
    };
    vec![
        name(volume),
        volume.plain("/spec/capacity/storage"),
        modes(volume, "/spec/accessModes"),
        or(volume.text("/spec/persistentVolumeReclaimPolicy"), "Retain").to_owned(),
        state(volume),
        claim,
        volume.text("/spec/storageClassName").to_owned(),
        volume.text("/status/reason").to_owned(),
        created(volume, now),
        or(volume.text("/spec/volumeMode"), "Filesystem").to_owned(),
    ]
}

pub const CLAIM: Columns = Columns {
    headings: &["NAME", "STATUS", "VOLUME", "CAPACITY", "ACCESS MODES", "STORAGECLASS", "AGE", "VOLUMEMODE*"],
    cells: claim,
};

fn claim(claim: &Value, now: Timestamp) -> Vec<String> {
    vec![
        name(claim),
        state(claim),
        claim.text("/spec/volumeName").to_owned(),
        claim.plain("/status/capacity/storage"),
        modes(claim, "/status/accessModes"),
        claim.text("/spec/storageClassName").to_owned(),
        created(claim, now),
        or(claim.text("/spec/volumeMode"), "Filesystem").to_owned(),
    ]
}

fn state(object: &Value) -> String {
    match object.has("/metadata/deletionTimestamp") {
        true => "Terminating".to_owned(),
        false => or(object.text("/status/phase"), "Pending").to_owned(),
    }
}

/// `RWO,ROX`.
pub fn modes(object: &Value, pointer: &str) -> String {
    let short = |mode: &str| match mode {
        "ReadWriteOnce" => "RWO",
        "ReadOnlyMany" => "ROX",
        "ReadWriteMany" => "RWX",
        "ReadWriteOncePod" => "RWOP",
        _ => "?",
    };
    let modes: Vec<&str> = object.items(pointer).iter().filter_map(Value::as_str).map(short).collect();
    modes.join(",")
}
