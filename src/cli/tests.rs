//! The command line as clap parses it.

use super::*;

/// The flags of command `C` from the words of a whole command line.
fn parsed<C: Command>(line: &str) -> C {
    let mut args: Vec<OsString> = line.split(' ').map(OsString::from).collect();
    let matches = parse(&args).and_then(|matches| with_options_first(&mut args, matches));
    let matches = matches.unwrap_or_else(|e| panic!("{line}: {e}"));
    let (name, matches) = matches.subcommand().unwrap();
    assert_eq!(name, C::NAME);
    C::from_arg_matches(matches).unwrap()
}

/// Why `line` is refused.
fn refusal(line: &str) -> String {
    let args: Vec<OsString> = line.split(' ').map(OsString::from).collect();
    one_line(&command_line().try_get_matches_from(&args).unwrap_err(), &args)
}

fn context(line: &str) -> anyhow::Result<Context> {
    let matches =
        command_line().try_get_matches_from(line.split(' ')).unwrap_or_else(|e| panic!("{line}: {e}"));
    Context::new(Global::from_arg_matches(&matches).unwrap())
}

#[test]
fn no_two_flags_of_a_command_collide() {
    let mut command = command_line();
    command.build();
    command.debug_assert();
}

#[test]
fn options_may_follow_the_positional_arguments() {
    let before = parsed::<create::Create>("rcrun create --bundle /b --pid-file /p --preserve-fds 2 web");
    let after = parsed::<create::Create>("rcrun create web --bundle /b --pid-file /p --preserve-fds 2");
    assert_eq!(format!("{before:?}"), format!("{after:?}"));
    assert!(format!("{after:?}").contains("preserve_fds: 2"));
}

#[test]
fn words_after_the_id_of_exec_belong_to_the_command() {
    let (id, options) =
        parsed::<exec::Exec>("rcrun exec -t -e A=1 --env B=2 web ls -l --tty --cwd /x").options().unwrap();
    assert_eq!(id.as_str(), "web");
    assert_eq!(options.args, ["ls", "-l", "--tty", "--cwd", "/x"]);
    assert_eq!(options.env, ["A=1", "B=2"]);
    assert!(options.tty);
    assert_eq!(options.cwd, None);
}

#[test]
fn global_options_after_the_id_of_exec_belong_to_the_command_too() {
    let (_, options) = parsed::<exec::Exec>("rcrun exec web rcrun --debug --root /x list").options().unwrap();
    assert_eq!(options.args, ["rcrun", "--debug", "--root", "/x", "list"]);
    let (_, options) = parsed::<exec::Exec>("rcrun exec web --cwd /x").options().unwrap();
    assert_eq!(options.args, ["--cwd", "/x"], "as runc has it: options stop at the id");
}

#[test]
fn exec_needs_a_command_or_a_process_file() {
    assert!(parsed::<exec::Exec>("rcrun exec web").options().unwrap_err().to_string().contains("no command"));
    let (_, options) =
        parsed::<exec::Exec>("rcrun exec -p /p.json -d --pid-file /pid web").options().unwrap();
    assert!(
        matches!(options.process.unwrap(), rcrun::lifecycle::WholeProcess::File(path) if path == std::path::Path::new("/p.json"))
    );
    assert!(options.detach && options.args.is_empty());
    assert!(parsed::<exec::Exec>("rcrun exec -p /p.json web ls").options().is_err());
    let (_, options) =
        parsed::<exec::Exec>("rcrun exec --cgroup cpu:/a --cgroup pids:/a web ls").options().unwrap();
    assert_eq!(options.cgroup.unwrap().controllers, ["cpu", "pids"]);
    assert!(parsed::<exec::Exec>("rcrun exec --cgroup cpu:/a --cgroup pids:/b web ls").options().is_err());
}

#[test]
fn kill_takes_all_anywhere_and_defaults_to_term() {
    let parts = |line: &str| {
        let kill = parsed::<kill::Kill>(line);
        (kill.id, kill.signal, kill.all)
    };
    assert_eq!(parts("rcrun kill web"), ("web".into(), "SIGTERM".into(), false));
    for line in ["rcrun kill -a web 9", "rcrun kill web -a 9", "rcrun kill web 9 --all"] {
        assert_eq!(parts(line), ("web".into(), "9".into(), true), "{line}");
    }
    assert!(refusal("rcrun kill -a").contains("ID"));
}

#[test]
fn timings_takes_a_file_only_with_an_equals_sign() {
    let timings = |line: &str| parsed::<run::Run>(line).common.timings;
    assert_eq!(timings("rcrun run bundle/"), None);
    assert_eq!(timings("rcrun run --timings bundle/"), Some(None));
    assert_eq!(timings("rcrun run bundle/ --timings=t.json"), Some(Some("t.json".into())));
}

#[test]
fn memory_takes_units_and_minus_one() {
    let limits =
        |words: &str| parsed::<update::Update>(&format!("rcrun update web {words}")).limits.resources();
    let memory = |words: &str| limits(words).memory().unwrap();
    assert_eq!(memory("--memory 64M").limit(), Some(64 << 20));
    assert_eq!(memory("--memory -1 --memory-swap -1").swap(), Some(-1));
    assert_eq!(memory("--memory-reservation=1g").reservation(), Some(1 << 30));
    assert!(
        refusal("rcrun update web --memory 10x").contains("--memory"),
        "{}",
        refusal("rcrun update web --memory 10x")
    );
}

#[test]
fn limits_that_are_not_given_stay_unset() {
    let limits =
        |words: &str| parsed::<update::Update>(&format!("rcrun update {words} web")).limits.resources();
    assert_eq!(limits("--blkio-weight 0"), Default::default());
    let cpu = limits("--cpu-quota -1 --cpuset-cpus 0-1").cpu().clone().unwrap();
    assert_eq!((cpu.quota(), cpu.period(), cpu.cpus().as_deref()), (Some(-1), None, Some("0-1")));
    assert_eq!(limits("--pids-limit 0").pids().unwrap().limit(), 0);
}

#[test]
fn global_options_are_taken_before_and_after_the_command() {
    for line in ["rcrun --missing-controllers skip list", "rcrun list --missing-controllers skip"] {
        assert_eq!(
            context(line).unwrap().missing_controllers,
            rcrun::cgroups::MissingControllers::Skip,
            "{line}"
        );
    }
    for line in
        ["rcrun --systemd-cgroup list", "rcrun --cgroup-manager systemd list", "rcrun list --systemd-cgroup"]
    {
        assert_eq!(context(line).unwrap().cgroup_manager(), super::global::CgroupManager::Systemd, "{line}");
    }
    assert!(context("rcrun --rootless true spec --rootless").is_ok());
    assert!(context("rcrun --root / list").is_err());
}

#[test]
fn a_refusal_is_one_line_that_says_where_to_look() {
    assert_eq!(
        refusal("rcrun list --nonsense"),
        "unexpected argument '--nonsense' found (see 'rcrun list --help')"
    );
    let missing = refusal("rcrun state");
    assert_eq!(
        missing,
        "the following required arguments were not provided: <ID> (see 'rcrun state --help')"
    );
    assert!(refusal("rcrun lst").contains("'list'"), "{}", refusal("rcrun lst"));
}

#[test]
fn every_flag_of_runc_is_known() {
    let sockets = "--console-socket /c --pidfd-socket /f --pid-file /p";
    let create = format!("-b /b {sockets} --no-pivot --no-new-keyring --preserve-fds 1");
    let process =
        "--cwd / -e A=1 -t -u 1:2 -g 3 -g 4 --process-label l --apparmor a --no-new-privs -c CAP_KILL";
    let cpu = "--cpu-period 1 --cpu-quota 2 --cpu-burst 3 --cpu-share 4 --cpu-rt-period 5 --cpu-rt-runtime 6 --cpu-idle 1";
    let memory = "--memory 1 --memory-reservation 2 --memory-swap 3 --kernel-memory 4 --kernel-memory-tcp 5";
    let other = "--blkio-weight 10 --cpuset-cpus 0 --cpuset-mems 0 --pids-limit 9 --l3-cache-schema s --mem-bw-schema s";
    for line in [
        format!(
            "rcrun --debug --log /l --log-format json --root /r --systemd-cgroup --rootless auto create {create} web"
        ),
        format!("rcrun run {create} -d --keep --no-subreaper web"),
        format!("rcrun exec {sockets} {process} -d --preserve-fds 1 --cgroup a --ignore-paused web true"),
        format!("rcrun update {cpu} {memory} {other} web"),
        "rcrun update -r - web".into(),
        "rcrun delete -f web".into(),
        "rcrun events --interval 1s --stats web".into(),
        "rcrun list -f json -q".into(),
        "rcrun ps -f json web -ef".into(),
        "rcrun spec -b /b --rootless".into(),
        "rcrun checkpoint --image-path /i --leave-running web".into(),
        "rcrun restore -d --image-path /i --bundle /b web".into(),
    ] {
        command_line()
            .try_get_matches_from(line.split(' '))
            .unwrap_or_else(|error| panic!("{line}: {error}"));
    }
}

/// Every line of runc-flags.txt: command, long name, letter, whether it takes a value.
fn flags_of_runc() -> impl Iterator<Item = (&'static str, &'static str, Option<char>, bool)> {
    let lines = include_str!("runc-flags.txt").lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| {
        let words: Vec<&str> = line.split(' ').collect();
        let [command, names, kind] = words[..] else { panic!("{line}") };
        let (long, letter) = match names.split_once(',') {
            Some((long, letter)) => (long, letter.chars().next()),
            None => (names, None),
        };
        (command, long, letter, kind == "value")
    })
}

#[test]
fn each_command_has_the_flags_that_runc_lists_for_it() {
    let mut line = command_line();
    line.build();
    for (command, long, letter, takes_value) in flags_of_runc() {
        let declared = match command {
            "runc" => &line,
            name => line.find_subcommand(name).unwrap_or_else(|| panic!("{name}")),
        };
        let Some(arg) = declared.get_arguments().find(|arg| arg.get_long() == Some(long)) else {
            // A command that takes any words refuses them itself.
            let any = |arg: &clap::Arg| arg.is_hide_set() && arg.is_allow_hyphen_values_set();
            assert!(declared.get_positionals().any(any), "{command} has no --{long}");
            continue;
        };
        assert!(letter.is_none() || arg.get_short() == letter, "{command} --{long} has no -{letter:?}");
        let values = arg.get_num_args().map_or((0, 0), |range| (range.min_values(), range.max_values()));
        match takes_value {
            true => assert_eq!(values, (1, 1), "{command} --{long} takes a value"),
            false => assert_eq!(values.0, 0, "{command} --{long} takes no value"),
        }
    }
}

#[test]
fn the_last_of_a_flag_that_is_given_twice_counts() {
    let create = parsed::<create::Create>("rcrun create --bundle /a --bundle /b --no-pivot --no-pivot web");
    assert!(format!("{create:?}").contains("/b"));
    assert!(context("rcrun --root /a --root /b --log-format json --log-format text list").is_ok());
    let (_, options) =
        parsed::<exec::Exec>("rcrun exec --cwd /a --cwd /b -t -t -e A=1 -e B=2 web ls").options().unwrap();
    assert_eq!((options.cwd.as_deref(), options.env.len()), (Some("/b"), 2));
}

#[test]
fn no_new_privs_can_be_taken_back() {
    let of = |flag: &str| parsed::<exec::Exec>(&format!("rcrun exec {flag} -d web ls")).options().unwrap().1;
    assert_eq!(of("--no-new-privs").no_new_privileges, Some(true));
    assert_eq!(of("--no-new-privs=false").no_new_privileges, Some(false));
    assert_eq!(of("-d").no_new_privileges, None);
}

#[test]
fn the_actions_of_a_group_have_help_of_their_own() {
    for line in ["rcrun image ls --help", "rcrun image prune -h", "rcrun system df --help"] {
        let refused = command_line().try_get_matches_from(line.split(' ')).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::DisplayHelp, "{line}");
    }
    assert!(refusal("rcrun image bogus").contains("unrecognized subcommand"));
    assert!(refusal("rcrun image ls --format {{.ID}}").contains("Go templates are not supported"));
}
