//! Random lives: whatever happens, a Pod comes to what its policy says, and a deleted one to nothing.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::simulator::World;
use super::many;

#[derive(Clone, Debug)]
enum Happens {
    /// A step under way ends, well or not.
    Done(usize, bool),
    Time(i64),
    Exit(usize, i32),
    SandboxLost,
    SandboxBroken,
    Unknown(usize),
    Removed(usize),
    Looked,
    /// The agent is killed; what was under way had been done, or not.
    AgentKilled(bool),
    Unwell(usize),
    Well,
    Changed(usize),
}

const NAMES: [&str; 6] = ["i", "s", "j", "t", "a", "b"];
const PROBES: [&str; 4] = ["s Startup", "a Startup", "a Liveness", "b Readiness"];

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        12 => (0..4usize, prop::bool::weighted(0.15)).prop_map(|(index, fails)| Happens::Done(index, fails)),
        4 => (0..40i64).prop_map(Happens::Time),
        4 => (0..NAMES.len(), 0..2i32).prop_map(|(index, code)| Happens::Exit(index, code)),
        1 => Just(Happens::SandboxLost),
        1 => Just(Happens::SandboxBroken),
        1 => (0..NAMES.len()).prop_map(Happens::Unknown),
        1 => (0..NAMES.len()).prop_map(Happens::Removed),
        4 => Just(Happens::Looked),
        1 => any::<bool>().prop_map(Happens::AgentKilled),
        1 => (0..PROBES.len()).prop_map(Happens::Unwell),
        1 => Just(Happens::Well),
        1 => (0..NAMES.len()).prop_map(Happens::Changed),
    ]
}

fn spec(policy: &str, inits: bool, probes: bool, hooks: bool) -> Value {
    let mut spec = many(policy);
    spec["volumes"] = json!([{"name": "v", "emptyDir": {}}]);
    let probe = json!({"exec": {"command": ["true"]}, "periodSeconds": 3, "failureThreshold": 2});
    if probes {
        spec["initContainers"][1]["startupProbe"] = probe.clone();
        spec["containers"][0]["startupProbe"] = probe.clone();
        spec["containers"][0]["livenessProbe"] = probe.clone();
        spec["containers"][1]["readinessProbe"] = probe;
    }
    if hooks {
        spec["containers"][0]["lifecycle"] = json!({"postStart": {"exec": {"command": ["true"]}}});
        spec["initContainers"][3]["lifecycle"] = json!({"postStart": {"exec": {"command": ["true"]}}});
    }
    if !inits {
        spec.as_object_mut().unwrap().remove("initContainers");
    }
    spec
}

fn happen(world: &mut World, what: &Happens) {
    match what {
        Happens::Done(index, fails) => {
            if !world.under_way.is_empty() {
                world.finish(index % world.under_way.len(), *fails);
            }
        }
        Happens::Time(seconds) => world.advance(*seconds),
        Happens::Exit(index, code) => world.exit(NAMES[*index], *code),
        Happens::SandboxLost => world.lose_sandbox(),
        Happens::SandboxBroken => world.break_sandbox(),
        Happens::Unknown(index) => world.lose_container(NAMES[*index]),
        Happens::Removed(index) => world.remove_container(NAMES[*index]),
        Happens::Looked => world.look(),
        Happens::AgentKilled(done) => world.restart_agent(*done),
        Happens::Unwell(index) => {
            world.unwell.insert(PROBES[*index].into());
        }
        Happens::Well => world.unwell.clear(),
        Happens::Changed(index) => {
            for container in world.containers.iter_mut().filter(|c| c.name == NAMES[*index]) {
                container.hash = "of another spec".into();
            }
            world.look();
        }
    }
}

/// Nothing bad happens any more, and time goes on, until the Pod asks for nothing but its probes' periods.
fn settle(world: &mut World) {
    world.unwell.clear();
    world.is_lazy = false;
    world.look();
    let mut quiet = 0;
    for _ in 0..300 {
        let started: u32 = world.starts.values().sum();
        let decision = world.go();
        let before = world.running().len();
        world.exit("i", 0);
        world.exit("j", 0);
        let has_changed = world.running().len() != before || world.starts.values().sum::<u32>() != started;
        quiet = if has_changed { 0 } else { quiet + 1 };
        match decision.wake {
            _ if has_changed => {}
            None => return,
            // Only probes ask again and again.
            Some(_) if quiet > 130 => return,
            Some(at) => world.now = at,
        }
    }
    panic!("it never comes to rest: {:?}", world.steps);
}

fn check_settled(world: &World, policy: &str, inits: bool) {
    let (phase, mut running) = (world.phase(), world.running());
    running.sort_unstable();
    let sidecars = if inits { 2 } else { 0 };
    match (policy, phase.as_str()) {
        ("Always", "Running") => {
            assert_eq!(running.len(), 2 + sidecars, "{running:?} {:?}", world.steps);
            assert_eq!(world.condition("Ready"), "True");
        }
        ("OnFailure" | "Never", "Running") => {
            assert!(running.contains(&"a") || running.contains(&"b"));
            assert!(running.len() > sidecars);
        }
        ("OnFailure", "Succeeded") | ("Never", "Succeeded" | "Failed") => {
            assert!(running.is_empty(), "{running:?}");
            assert!(world.sandboxes.iter().all(|sandbox| !sandbox.ready));
        }
        other => panic!("{other:?}: {:?} {:?}", world.status(), world.steps),
    }
    for name in NAMES {
        let kept = world.containers.iter().filter(|container| container.name == name).count();
        assert!(kept <= 2, "{kept} of {name} are kept");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_life_comes_to_what_its_policy_says(
        policy in prop::sample::select(vec!["Always", "OnFailure", "Never"]),
        inits: bool,
        probes: bool,
        hooks: bool,
        script in prop::collection::vec(happens(), 0..60),
        grace in 0..40i64,
        later in prop::collection::vec(happens(), 0..20),
        is_eager: bool,
        is_lazy: bool,
        so_far in 0..3usize,
    ) {
        let mut world = World::new(spec(policy, inits, probes, hooks));
        for name in ["i", "j"].into_iter().take(so_far) {
            world.go();
            world.exit(name, 0);
        }
        if so_far > 0 {
            world.go();
        }
        (world.is_eager, world.is_lazy) = (is_eager, is_lazy);
        for what in &script {
            world.decide();
            happen(&mut world, what);
        }
        settle(&mut world);
        check_settled(&world, policy, inits);
        if !probes {
            let idle = world.decide();
            prop_assert!(idle.actions.is_empty() && idle.wake.is_none());
        }
        let is_forced = script.iter().any(|what| matches!(what, Happens::Unwell(_) | Happens::Changed(_) | Happens::Unknown(_) | Happens::Removed(_)));
        if policy == "Never" && !is_forced {
            let most = ["a", "b"].map(|name| world.starts.get(name).copied().unwrap_or(0));
            prop_assert!(most.iter().all(|starts| *starts <= 1), "{:?}", most);
        }
        world.is_lazy = is_lazy;
        world.delete(grace);
        for what in &later {
            world.decide();
            happen(&mut world, what);
        }
        settle(&mut world);
        prop_assert!(world.pod().is_none(), "{:?}", world.steps);
        prop_assert!(world.sandboxes.is_empty() && world.containers.is_empty());
    }
}
