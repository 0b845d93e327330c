//! The words of a command line that kubectl takes and clap does not, in clap's spelling: a switch may have a value, as in
//! `--watch=false`. In and out: the arguments. Pure.

use std::ffi::OsString;

use clap::{Arg, ArgAction, Command};

/// `words`, the program's name first: a switch that is true without its value, one that is false left out. What is no value of a switch
/// stays for clap to refuse.
pub fn in_claps_spelling(command: &Command, words: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut words = words.into_iter();
    let mut out: Vec<OsString> = words.next().into_iter().collect();
    let (mut command, mut flags) = (command, command.get_arguments().collect::<Vec<_>>());
    while let Some(word) = words.next() {
        let text = word.to_str().unwrap_or_default();
        if text == "--" {
            out.push(word);
            break;
        }
        if let Some(verb) = command.find_subcommand(text) {
            command = verb;
            flags.retain(|flag| flag.is_global_set());
            flags.extend(verb.get_arguments());
        }
        let (name, value) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
        let flag = flags.iter().find(|flag| is_called(flag, name));
        let is_switch = flag.is_some_and(|flag| matches!(flag.get_action(), ArgAction::SetTrue));
        match value.filter(|_| is_switch).and_then(truth) {
            Some(true) => out.push(name.into()),
            Some(false) => {}
            None => {
                // The next word is this flag's, and no verb.
                let takes_next = value.is_none() && flag.is_some_and(|flag| takes_the_next_word(flag));
                out.push(word);
                out.extend(takes_next.then(|| words.next()).flatten());
            }
        }
    }
    out.extend(words);
    out
}

fn is_called(flag: &Arg, name: &str) -> bool {
    match (name.strip_prefix("--"), name.strip_prefix('-')) {
        (Some(long), _) => flag.get_long() == Some(long),
        (None, Some(short)) => flag.get_short().is_some_and(|of| short.chars().eq([of])),
        (None, None) => false,
    }
}

fn takes_the_next_word(flag: &Arg) -> bool {
    flag.get_action().takes_values() && !flag.is_require_equals_set()
}

/// As kubectl's flags are read.
fn truth(value: &str) -> Option<bool> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spelled(line: &str) -> String {
        let switch = |short, long| Arg::new(long).short(short).long(long).action(ArgAction::SetTrue);
        let command = Command::new("p")
            .arg(Arg::new("namespace").short('n').long("namespace").global(true))
            .subcommand(Command::new("get").arg(switch('w', "watch")).arg(Arg::new("what").num_args(1..)))
            .subcommand(Command::new("top").subcommand(Command::new("pods").arg(switch('A', "all"))));
        let words = in_claps_spelling(&command, line.split(' ').map(OsString::from));
        words.join(" ".as_ref()).into_string().unwrap()
    }

    #[test]
    fn switches_may_have_values() {
        for (line, expected) in [
            ("p get pods --watch=true", "p get pods --watch"),
            ("p get --watch=false pods", "p get pods"),
            ("p get pods -w=true -w=0", "p get pods -w"),
            ("p -n top get pods --watch=false", "p -n top get pods"),
            ("p --namespace=top get pods --watch=false", "p --namespace=top get pods"),
            ("p top pods --all=1 -n x", "p top pods --all -n x"),
            ("p get pods --watch=maybe", "p get pods --watch=maybe"),
            ("p get pods --all=true", "p get pods --all=true"),
            ("p get pods -- --watch=true", "p get pods -- --watch=true"),
        ] {
            assert_eq!(spelled(line), expected);
        }
    }
}
