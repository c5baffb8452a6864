//! Samples of how long things take.

use std::time::{Duration, Instant};

/// How long something took, again and again.
#[derive(Clone, Debug, Default)]
pub struct Samples(Vec<Duration>);

impl Samples {
    /// The time below which that many of a thousand lie.
    ///
    /// # Panics
    ///
    /// Where there is none.
    pub fn quantile(&self, of_thousand: usize) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        sorted[(sorted.len() - 1) * of_thousand / 1000]
    }

    /// The time below which half of them lie.
    ///
    /// # Panics
    ///
    /// Where there is none.
    pub fn median(&self) -> Duration {
        self.quantile(500)
    }
}

/// Does all things once in every round, in an order that is shuffled for each.
pub fn interleaved<T>(things: &[T], rounds: usize, run: impl Fn(&T)) -> Vec<Samples> {
    let mut samples = vec![Samples::default(); things.len()];
    let mut order: Vec<usize> = (0..things.len()).collect();
    for _ in 0..rounds {
        fastrand::shuffle(&mut order);
        for &place in &order {
            let begin = Instant::now();
            run(&things[place]);
            samples[place].0.push(begin.elapsed());
        }
    }
    samples
}
