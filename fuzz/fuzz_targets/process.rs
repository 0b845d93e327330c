//! process.json of `exec --process`, from bytes to the plan: a plan or an error of one line.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rcrun::plan::{ExecRequest, Facts, exec};

fuzz_target!(|bytes: &[u8]| {
    let one_line = |text: String| assert!(!text.contains('\n') && !text.is_empty(), "{text:?}");
    let process = match rcrun::spec::parse_process(bytes) {
        Ok(process) => process,
        Err(error) => return one_line(error.to_string()),
    };
    match exec(&ExecRequest::plain(&process), &Facts::of_no_host()) {
        Ok(plan) => plan.steps.iter().for_each(|step| one_line(step.to_string())),
        Err(error) => one_line(error.to_string()),
    }
});
