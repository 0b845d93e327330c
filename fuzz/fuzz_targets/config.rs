//! config.json, from bytes to the plan: whatever they are, a plan or an error of one line.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rcrun::cgroups::Limits;
use rcrun::id::ContainerId;
use rcrun::plan::{Facts, Request, plan};

fuzz_target!(|bytes: &[u8]| {
    let one_line = |text: String| assert!(!text.contains('\n') && !text.is_empty(), "{text:?}");
    let spec = match rcrun::spec::parse(bytes) {
        Ok(spec) => spec,
        Err(error) => return one_line(error.to_string()),
    };
    if let Err(error) = Limits::new(spec.linux().as_ref().and_then(|linux| linux.resources().as_ref())) {
        one_line(error.to_string());
    }
    let id = ContainerId::parse("fuzzed").expect("an id");
    match plan(Request::plain(&id, &spec), &Facts::of_no_host()) {
        Ok(plan) => plan.steps.iter().for_each(|step| one_line(step.to_string())),
        Err(error) => one_line(error.to_string()),
    }
});
