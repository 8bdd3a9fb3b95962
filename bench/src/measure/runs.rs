//! Runs in turn: every case once, then every case again, so that a machine that changes meanwhile changes all alike.

use anyhow::Context as _;

use super::{Figure, Latencies, Spread};
use crate::arguments::Common;
use crate::terminal::{Interrupt, Progress};

/// What one run gave.
#[derive(Debug, Default)]
pub struct Sample {
    /// Its figures.
    pub figures: Vec<(&'static Figure, f64)>,
    /// The latencies of its operations, where they were taken.
    pub latencies: Option<Latencies>,
    /// What else is to be said of the case.
    pub remark: Option<String>,
}

/// What all runs of a case gave.
#[derive(Debug, Default)]
pub struct Measurement {
    /// Each figure over the runs.
    pub figures: Vec<(&'static Figure, Spread)>,
    /// The latencies of all runs together.
    pub latencies: Option<Latencies>,
    /// The last run's remark.
    pub remark: Option<String>,
}

/// How often each case is run.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Runs that count.
    pub runs: u32,
    /// One before them that does not.
    pub warm_up: bool,
}

impl Plan {
    /// As the user asked for it.
    pub fn of(common: &Common) -> Self {
        Self { runs: common.runs, warm_up: !common.no_warm_up }
    }

    /// Runs of each case in all.
    pub fn rounds(&self) -> u32 {
        self.runs + u32::from(self.warm_up)
    }
}

/// Runs all cases in turn, and gives a measurement for each. Ends early, with an error, on an interrupt.
pub fn in_turn<C>(
    plan: Plan,
    progress: &Progress,
    interrupt: &Interrupt,
    cases: &[C],
    name: impl Fn(&C) -> String,
    mut run: impl FnMut(&C) -> anyhow::Result<Sample>,
) -> anyhow::Result<Vec<Measurement>> {
    let mut samples: Vec<Vec<Sample>> = cases.iter().map(|_| Vec::new()).collect();
    for round in 0..plan.rounds() {
        let warming_up = plan.warm_up && round == 0;
        for place in 0..cases.len() {
            // Every other round backwards: no case always has the same one before it.
            let place = if round % 2 == 0 { place } else { cases.len() - 1 - place };
            let case = &cases[place];
            interrupt.check()?;
            progress.doing(&if warming_up { format!("{}, warm-up", name(case)) } else { name(case) });
            // What an interrupt cuts short fails in some way; the interrupt is the reason to tell.
            let sample = run(case);
            interrupt.check()?;
            let sample = sample.with_context(|| name(case))?;
            if !warming_up {
                samples[place].push(sample);
            }
            progress.one_done();
        }
    }
    Ok(samples.into_iter().map(Measurement::of).collect())
}

impl Measurement {
    fn of(samples: Vec<Sample>) -> Self {
        let mut measurement = Measurement::default();
        let mut kinds: Vec<&'static Figure> = Vec::new();
        for sample in &samples {
            for (figure, _) in &sample.figures {
                if !kinds.contains(figure) {
                    kinds.push(figure);
                }
            }
        }
        for kind in kinds {
            let of_kind =
                samples.iter().flat_map(|sample| &sample.figures).filter(|(figure, _)| *figure == kind);
            if let Some(spread) = Spread::of(of_kind.map(|(_, value)| *value).collect()) {
                measurement.figures.push((kind, spread));
            }
        }
        for sample in samples {
            if let Some(latencies) = sample.latencies {
                measurement.latencies.get_or_insert_with(Latencies::new).add(&latencies);
            }
            measurement.remark = sample.remark.or(measurement.remark);
        }
        measurement
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::measure::figures::THROUGHPUT;

    #[test]
    fn cases_take_turns_and_the_warm_up_does_not_count() {
        let seen = RefCell::new(String::new());
        let plan = Plan { runs: 2, warm_up: true };
        let results =
            in_turn(plan, &Progress::hidden(), &Interrupt::never(), &['a', 'b'], char::to_string, |case| {
                seen.borrow_mut().push(*case);
                let value = seen.borrow().len() as f64;
                Ok(Sample { figures: vec![(&THROUGHPUT, value)], ..Default::default() })
            });
        let results = results.unwrap();
        assert_eq!(*seen.borrow(), "abbaab");
        assert_eq!(results[0].figures[0].1.runs, [4.0, 5.0]);
        assert_eq!(results[1].figures[0].1.runs, [3.0, 6.0]);
    }

    #[test]
    fn a_run_that_fails_is_named_and_ends_it() {
        let plan = Plan { runs: 1, warm_up: false };
        let result =
            in_turn(plan, &Progress::hidden(), &Interrupt::never(), &[1, 2], i32::to_string, |case| {
                anyhow::ensure!(*case == 1, "broken");
                Ok(Sample::default())
            });
        assert_eq!(format!("{:#}", result.unwrap_err()), "2: broken");
    }

    #[test]
    fn an_interrupt_ends_it_between_two_runs() {
        let interrupt = Interrupt::never();
        let plan = Plan { runs: 9, warm_up: false };
        let mut runs = 0;
        let result = in_turn(
            plan,
            &Progress::hidden(),
            &interrupt,
            &[()],
            |()| String::new(),
            |()| {
                runs += 1;
                interrupt.set();
                Ok(Sample::default())
            },
        );
        assert!(result.unwrap_err().is::<crate::terminal::Interrupted>());
        assert_eq!(runs, 1);
    }
}
