//! One rule each, in the world of [`super::simulator`].

mod down;
mod probing;
mod random;
mod telling;
mod up;

use serde_json::{Value, json};

use super::simulator::World;

/// A Pod of a main container `a`.
fn one() -> Value {
    json!({"containers": [{"name": "a", "image": "busybox"}], "restartPolicy": "Always"})
}

/// A Pod of main containers `a` and `b`.
fn two() -> Value {
    json!({"containers": [{"name": "a", "image": "busybox"}, {"name": "b", "image": "busybox"}]})
}

/// An init container, a sidecar, another init container, two main containers.
fn many(policy: &str) -> Value {
    json!({
        "restartPolicy": policy,
        "initContainers": [
            {"name": "i", "image": "busybox"},
            {"name": "s", "image": "busybox", "restartPolicy": "Always"},
            {"name": "j", "image": "busybox"},
            {"name": "t", "image": "busybox", "restartPolicy": "Always"},
        ],
        "containers": [{"name": "a", "image": "busybox"}, {"name": "b", "image": "busybox"}],
    })
}

/// A world in which the Pod runs.
fn running(spec: Value) -> World {
    let mut world = World::new(spec);
    world.go();
    for init in ["i", "j"] {
        world.exit(init, 0);
        world.go();
    }
    assert_eq!(world.phase(), "Running", "{:?}", world.status());
    world.take();
    world.events.clear();
    world
}
