//! Contenders take turns, in another random order each round.

use std::time::Duration;

use super::contender::with_id;
use super::spawner::in_words;
use super::{BenchError, Contender, Ended, Spawner};

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    /// Turns of each contender.
    pub count: usize,
    /// Containers in a turn: each step's commands are started at once.
    pub parallel: usize,
    /// Turns of each before those, which are not counted.
    pub warm_up: usize,
    /// How long a step may take.
    pub limit: Duration,
}

/// Whose turn it was, and what went wrong.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct TurnError {
    /// The contender's place in the list.
    pub contender: usize,
    /// Why there are no figures.
    pub error: BenchError,
}

/// Gives every contender its turns. The first command that fails ends it all; the containers of its
/// turn are deleted.
pub fn measure(
    spawner: &mut Spawner,
    contenders: &mut [Contender],
    schedule: &Schedule,
) -> Result<(), TurnError> {
    let mut ids = Ids::new();
    for round in 0..schedule.warm_up + schedule.count {
        for at in shuffled(contenders.len()) {
            let ids: Vec<String> = (0..schedule.parallel).map(|_| ids.next()).collect();
            turn(spawner, &mut contenders[at], &ids, schedule.limit, round >= schedule.warm_up)
                .map_err(|error| TurnError { contender: at, error })?;
        }
    }
    Ok(())
}

fn turn(
    spawner: &mut Spawner,
    contender: &mut Contender,
    ids: &[String],
    limit: Duration,
    counted: bool,
) -> Result<(), BenchError> {
    let mut series = 0;
    for step in &contender.steps {
        let commands: Vec<_> = ids.iter().map(|id| with_id(&step.words, id)).collect();
        let ended = spawner.run(&commands, limit).and_then(|ended| {
            let failed = ended.iter().position(|ended| ended.status != Ok(0));
            match failed {
                Some(at) => Err(failure(spawner, in_words(&commands[at]), &ended[at])),
                None => Ok(ended),
            }
        });
        let ended = match ended {
            Ok(ended) => ended,
            Err(error) => {
                if let Some(words) = &contender.clean_up {
                    let commands: Vec<_> = ids.iter().map(|id| with_id(words, id)).collect();
                    // Of what went wrong the first is told.
                    let _ = spawner.run(&commands, limit);
                }
                return Err(error);
            }
        };
        if step.measured {
            if counted {
                contender.costs[series].extend(ended.iter().map(|ended| ended.cost));
            }
            series += 1;
        }
    }
    Ok(())
}

fn failure(spawner: &Spawner, command: String, ended: &Ended) -> BenchError {
    let how = match ended.status {
        Err(errno) => {
            let program = command.split(' ').next().unwrap_or_default().to_owned();
            return BenchError::Start { program, errno };
        }
        Ok(status) if libc::WIFSIGNALED(status) => format!("signal {}", libc::WTERMSIG(status)),
        Ok(status) => format!("exit status {}", libc::WEXITSTATUS(status)),
    };
    let said = spawner.complaint().map(|line| format!(": {line}")).unwrap_or_default();
    BenchError::Failed { command, how, said }
}

/// Names of containers: no two benchmarks of one host share any.
struct Ids {
    prefix: String,
    next: usize,
}

impl Ids {
    fn new() -> Self {
        Self { prefix: format!("bench-{:06x}", random() & 0xff_ffff), next: 0 }
    }

    fn next(&mut self) -> String {
        self.next += 1;
        format!("{}-{}", self.prefix, self.next)
    }
}

fn random() -> u64 {
    let mut bytes = [0; 8];
    crate::sys::random(&mut bytes);
    u64::from_ne_bytes(bytes)
}

/// The numbers below `count` in random order: Fisher and Yates.
fn shuffled(count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    for at in (1..count).rev() {
        order.swap(at, (random() % (at as u64 + 1)) as usize);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{Step, Word};

    fn script(text: &str) -> Vec<Word> {
        vec![Word::text("/bin/sh"), Word::text("-c"), Word::text(text), Word::Id]
    }

    const ONCE: Schedule = Schedule { count: 1, parallel: 1, warm_up: 0, limit: Duration::from_secs(60) };

    #[test]
    fn every_order_comes_and_no_number_is_lost() {
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..500 {
            let order = shuffled(3);
            let mut sorted = order.clone();
            sorted.sort();
            assert_eq!(sorted, [0, 1, 2]);
            seen.insert(order);
        }
        assert_eq!(seen.len(), 6);
    }

    #[test]
    fn each_turn_has_ids_of_its_own_and_only_measured_steps_count() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("ids").display().to_string();
        let steps = vec![
            Step { words: script(&format!("echo made $0 >>{file}")), measured: false },
            Step { words: script(&format!("echo used $0 >>{file}")), measured: true },
        ];
        let mut contenders = [Contender::new("a", steps.clone(), None), Contender::new("b", steps, None)];
        let schedule = Schedule { count: 3, parallel: 2, warm_up: 1, ..ONCE };
        measure(&mut Spawner::start().unwrap(), &mut contenders, &schedule).unwrap();
        assert!(
            contenders.iter().all(|contender| contender.costs.len() == 1 && contender.costs[0].len() == 6)
        );
        let text = std::fs::read_to_string(&file).unwrap();
        let mut lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2 * 2 * 4 * 2);
        lines.sort();
        lines.dedup();
        assert_eq!(lines.len(), 2 * 2 * 4 * 2, "each id was made once and used once");
    }

    #[test]
    fn a_failure_is_told_in_one_line_and_cleaned_up_after() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("deleted");
        let steps = vec![Step { words: script("echo no such bundle >&2; exit 4"), measured: true }];
        let delete = script(&format!("echo $0 >{}", file.display()));
        let mut contenders = [Contender::new("a", steps, Some(delete))];
        let error = measure(&mut Spawner::start().unwrap(), &mut contenders, &ONCE).unwrap_err().to_string();
        let id = std::fs::read_to_string(&file).unwrap();
        let id = id.trim();
        assert!(id.starts_with("bench-"), "{id:?}");
        let expected =
            format!("/bin/sh -c echo no such bundle >&2; exit 4 {id} failed: exit status 4: no such bundle");
        assert_eq!(error, expected);
    }

    #[test]
    fn a_missing_program_is_named() {
        let mut contenders = [Contender::program("x", std::path::Path::new("/nowhere/crun"))];
        let error = measure(&mut Spawner::start().unwrap(), &mut contenders, &ONCE).unwrap_err();
        assert!(error.to_string().starts_with("start /nowhere/crun: "), "{error}");
    }
}
