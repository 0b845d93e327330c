//! The words of a command line that runc takes and clap does not, in clap's spelling.
//!
//! runc's flags are those of Go's package flag: `-bundle` is `--bundle`, `--b` is `-b`, a switch may
//! have a value (`--force=false`), the value of a flag may begin with a dash, and an empty value is
//! none. In and out: the arguments. Most command lines have nothing of this and come out as they are.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use clap::{Arg, ArgAction};

use super::{COMMANDS, command_line};

/// `args`, the program's name first, in clap's spelling.
pub fn in_claps_spelling(args: Vec<OsString>) -> Vec<OsString> {
    match args.iter().skip(1).any(|word| is_unusual(word.as_bytes())) {
        true => Words::new(args).translated(),
        false => args,
    }
}

/// Could clap read this word in another way than Go does?
fn is_unusual(word: &[u8]) -> bool {
    match word {
        b"" => true,
        [b'-', b'-', _] => true,
        [b'-', b'-', rest @ ..] => rest.contains(&b'='),
        [b'-', _, _, ..] => true,
        _ => false,
    }
}

/// A walk over the words that knows which of them are flags, and of which command.
struct Words {
    rest: std::vec::IntoIter<OsString>,
    out: Vec<OsString>,
    flags: Vec<Arg>,
    in_command: bool,
}

impl Words {
    fn new(args: Vec<OsString>) -> Self {
        let mut rest = args.into_iter();
        let out = rest.next().into_iter().collect();
        let flags = command_line().get_arguments().cloned().collect();
        Self { rest, out, flags, in_command: false }
    }

    fn translated(mut self) -> Vec<OsString> {
        while let Some(word) = self.rest.next() {
            let bytes = word.as_bytes();
            let is_flag = bytes.len() > 1 && bytes[0] == b'-' && bytes != b"--";
            if is_flag {
                self.flag(word);
            } else {
                let last = bytes == b"--" || !self.positional(&word);
                self.out.push(word);
                if last {
                    break;
                }
            }
        }
        self.out.extend(self.rest);
        self.out
    }

    /// Takes a word that is no flag; false where no flags follow it.
    fn positional(&mut self, word: &OsStr) -> bool {
        if self.in_command {
            // After the id of exec and ps the words belong to another program.
            return !self.flags.iter().any(|arg| arg.is_trailing_var_arg_set());
        }
        self.in_command = true;
        let Some(entry) = COMMANDS.iter().find(|entry| word == entry.name) else { return false };
        self.flags.retain(|arg| arg.is_global_set());
        let command = (entry.declare)(clap::Command::new(entry.name));
        self.flags.extend(command.get_arguments().cloned());
        true
    }

    /// Takes letters behind one dash, the last of which may take the rest for its value: `-itu1000`.
    fn letters(&mut self, word: OsString) {
        let Some(letters) = word.to_str().and_then(|word| word.strip_prefix('-')) else {
            return self.out.push(word);
        };
        let find = |letter: char| self.flags.iter().find(|arg| arg.get_short() == Some(letter));
        let takes_value = |arg: &&Arg| matches!(arg.get_action(), ArgAction::Set | ArgAction::Append);
        let known = letters.char_indices().map_while(|(at, letter)| Some((at, letter, find(letter)?)));
        let Some((at, letter, arg)) = known.into_iter().find(|(_, _, arg)| takes_value(arg)) else {
            return self.out.push(word);
        };
        let rest = &letters[at + letter.len_utf8()..];
        let value =
            if rest.is_empty() { self.rest.next() } else { Some(rest.trim_start_matches('=').into()) };
        let name = OsString::from(spelled(arg, letter));
        if at > 0 {
            self.out.push(format!("-{}", &letters[..at]).into());
        }
        self.out.push(value.map_or_else(|| name.clone(), |value| joined(name.clone(), &value)));
    }

    fn flag(&mut self, word: OsString) {
        let Some(flag) = Flag::of(&word, &self.flags) else { return self.letters(word) };
        match flag.arg.get_action() {
            ArgAction::Set | ArgAction::Append => {
                let optional = flag.arg.get_num_args().is_some_and(|range| range.min_values() == 0);
                let value = match flag.value.clone() {
                    None if optional => return self.out.push(flag.name),
                    None => self.rest.next(),
                    value => value,
                };
                match value {
                    // Nothing is left for it: clap says so.
                    None => self.out.push(flag.name),
                    Some(value) if value.is_empty() && flag.is_left_out() => {}
                    Some(value) => self.out.push(joined(flag.name, &value)),
                }
            }
            _ => match flag.value.as_deref().map(boolean) {
                None | Some(Some(true)) => self.out.push(flag.name),
                Some(Some(false)) => {}
                Some(None) => self.out.push(word),
            },
        }
    }
}

/// A word that is a flag of the command.
struct Flag {
    arg: Arg,
    /// As clap has it, `--name`, or `-n` of what has no longer name.
    name: OsString,
    /// What follows an equals sign.
    value: Option<OsString>,
}

impl Flag {
    fn of(word: &OsStr, flags: &[Arg]) -> Option<Self> {
        let bytes = word.as_bytes();
        let bare = bytes.strip_prefix(b"--").or_else(|| bytes.strip_prefix(b"-"))?;
        let (name, value) = match bare.iter().position(|byte| *byte == b'=') {
            Some(at) => (&bare[..at], Some(OsString::from_vec(bare[at + 1..].to_vec()))),
            None => (bare, None),
        };
        let name = std::str::from_utf8(name).ok()?;
        let mut letters = name.chars();
        let (arg, name) = match (letters.next(), letters.next()) {
            (Some(letter), None) => {
                let arg = flags.iter().find(|arg| arg.get_short() == Some(letter))?;
                (arg, spelled(arg, letter))
            }
            _ => (flags.iter().find(|arg| arg.get_long() == Some(name))?, format!("--{name}")),
        };
        Some(Self { arg: arg.clone(), name: name.into(), value })
    }

    /// Is it the same with an empty value as without the flag? Every one that takes one value; but
    /// an empty `--root` is a mistake, for runc too.
    fn is_left_out(&self) -> bool {
        matches!(self.arg.get_action(), ArgAction::Set) && self.arg.get_id() != "root"
    }
}

/// The name to which a value can be joined. Where another program's words follow, clap takes no value that is
/// joined to a letter, but the whole for one of these words.
fn spelled(arg: &Arg, letter: char) -> String {
    let takes_value = matches!(arg.get_action(), ArgAction::Set | ArgAction::Append);
    arg.get_long().filter(|_| takes_value).map_or_else(|| format!("-{letter}"), |long| format!("--{long}"))
}

/// Name and value as one word: a value may begin with a dash.
fn joined(mut name: OsString, value: &OsStr) -> OsString {
    name.push("=");
    name.push(value);
    name
}

/// A boolean as Go's strconv.ParseBool has it.
pub fn boolean(word: &OsStr) -> Option<bool> {
    match word.to_str()? {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// The same for clap.
pub fn parsed_boolean(word: &str) -> Result<bool, &'static str> {
    boolean(word.as_ref()).ok_or("expected true or false")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn translated(words: &[&str]) -> Vec<String> {
        let args = std::iter::once("rcrun").chain(words.iter().copied()).map(OsString::from).collect();
        let out = in_claps_spelling(args);
        out.into_iter().skip(1).map(|word| word.into_string().unwrap()).collect()
    }

    #[test]
    fn the_usual_words_stay_as_they_are() {
        for line in [
            "--root /r --log /l --log-format json create --bundle /b --pid-file /p web",
            "run -d -b /b web",
            "kill web 9",
            "list -q",
            "update --resources - web",
        ] {
            let words: Vec<&str> = line.split(' ').collect();
            assert_eq!(translated(&words), words);
        }
    }

    #[test]
    fn one_dash_or_two_are_the_same() {
        assert_eq!(translated(&["-root", "/r", "list", "-quiet"]), ["--root=/r", "list", "--quiet"]);
        assert_eq!(translated(&["create", "--b", "/b", "web"]), ["create", "--bundle=/b", "web"]);
        assert_eq!(translated(&["create", "web", "-pid-file=/p"]), ["create", "web", "--pid-file=/p"]);
        assert_eq!(translated(&["--v"]), ["-v"]);
        assert_eq!(translated(&["list", "-help"]), ["list", "--help"]);
        assert_eq!(translated(&["exec", "-td", "web", "sh"]), ["exec", "-td", "web", "sh"]);
    }

    #[test]
    fn letters_share_a_dash_and_the_last_may_have_a_value() {
        let run =
            |words: &[&str]| translated(&[&["run"], words, &["app", "-ux", ""]].concat())[1..].join(" ");
        assert_eq!(run(&["-it"]), "-it app -ux ");
        assert_eq!(run(&["-itu1000"]), "-it --user=1000 app -ux ");
        assert_eq!(run(&["-eA=b", "-v/a:/b", "-u=7"]), "--env=A=b --volume=/a:/b --user=7 app -ux ");
        assert_eq!(run(&["-ite", "A=b"]), "-it --env=A=b app -ux ");
        assert_eq!(run(&["-itQ"]), "-itQ app -ux ");
    }

    #[test]
    fn a_switch_may_have_a_value() {
        assert_eq!(translated(&["delete", "--force=true", "web"]), ["delete", "--force", "web"]);
        assert_eq!(translated(&["delete", "-f=0", "web"]), ["delete", "web"]);
        assert_eq!(translated(&["--debug=false", "list"]), ["list"]);
        assert_eq!(translated(&["delete", "--force=maybe", "web"]), ["delete", "--force=maybe", "web"]);
    }

    #[test]
    fn an_empty_value_is_none() {
        assert_eq!(translated(&["create", "--console-socket", "", "web"]), ["create", "web"]);
        assert_eq!(translated(&["--log=", "update", "--memory", "", "web"]), ["update", "web"]);
        assert_eq!(translated(&["exec", "--env", "", "web", "true"]), ["exec", "--env=", "web", "true"]);
        assert_eq!(translated(&["--root", "", "list"]), ["--root=", "list"]);
    }

    #[test]
    fn a_value_may_begin_with_a_dash() {
        assert_eq!(
            translated(&["exec", "--cwd", "-xy", "--env", "--", "web", "true"]),
            ["exec", "--cwd=-xy", "--env=--", "web", "true"]
        );
    }

    #[test]
    fn words_of_another_program_are_not_touched() {
        let line = ["exec", "-u=1", "web", "ls", "-la", "--cwd=", "", "-user", "x"];
        assert_eq!(translated(&line)[1..], ["--user=1", "web", "ls", "-la", "--cwd=", "", "-user", "x"]);
        assert_eq!(translated(&["ps", "web", "-aux", ""]), ["ps", "web", "-aux", ""]);
        assert_eq!(translated(&["kill", "--", "-web", ""]), ["kill", "--", "-web", ""]);
    }

    #[test]
    fn an_optional_value_stands_behind_an_equals_sign_alone() {
        assert_eq!(translated(&["run", "-timings", "bundle/"]), ["run", "--timings", "bundle/"]);
        assert_eq!(translated(&["run", "-timings=t", "bundle/"]), ["run", "--timings=t", "bundle/"]);
    }
}
