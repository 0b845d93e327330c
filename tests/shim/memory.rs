//! What a shim costs while nothing happens.

use rcrun::monitor::Program;

use crate::bundle::{copy_program, script, wait_for};

/// In KiB: what goes away when the process does.
fn private(pid: i32) -> u64 {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let value = |line: &str| line.split_whitespace().nth(1).and_then(|number| number.parse::<u64>().ok());
    let of =
        |key: &str| rollup.lines().find(|line| line.starts_with(key)).and_then(value).unwrap_or(u64::MAX / 4);
    of("Private_Clean:") + of("Private_Dirty:")
}

#[test]
fn an_idle_shim_has_less_than_a_mebibyte_of_its_own_before_and_after_it_worked() {
    let bundle = script!("read go; seq 1 200000; read end").stdin(false);
    // A file of its own: pages that other tests' shims have mapped, too, are not private.
    let alone = bundle.file("rcrun-shim");
    copy_program(crate::bundle::program().path(), &alone);
    bundle.write_config();
    Program::open(&alone).unwrap().launch(&bundle.settings, None).unwrap();
    let shim = bundle.shim();
    let begin = wait_for("little memory", || Some(private(shim)).filter(|kib| *kib <= 1024));
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    let _attached = bundle.monitor().attach(Some(reader), None, None).unwrap();
    rustix::io::write(&writer, b"go\n").unwrap();
    wait_for("its output", || (bundle.log().len() == 200_000).then_some(()));
    let end = wait_for("little memory again", || Some(private(shim)).filter(|kib| *kib <= 1024));
    eprintln!("an idle shim: {begin} KiB private, after 200,000 lines of output {end} KiB");
    bundle.kill();
}
