//! Times several ways to do the same, interleaved: in each turn every one of them makes some
//! rounds, so that what disturbs the machine disturbs all, and each is compared with the first
//! one's time of the same turn. The order of a turn is drawn, so that it does not matter who comes
//! before whom.

use serde_json::{json, Value};
use std::time::{Duration, Instant};

/// A way: makes so many rounds, and says how long that took.
pub type Contestant<'a> = (String, Box<dyn FnMut(usize) -> Duration + 'a>);

/// The least number of turns, whatever they take.
const TURNS: usize = 30;

pub fn clocked(run: impl FnOnce()) -> Duration {
    let start = Instant::now();
    run();
    start.elapsed()
}

/// The same in time on a processor, of this process and the kernel for it.
pub fn clocked_on_processor(run: impl FnOnce()) -> Duration {
    let used = || {
        let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: there is room for it.
        let result = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut now) };
        assert_eq!(result, 0, "clock_gettime: {}", std::io::Error::last_os_error());
        Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
    };
    let start = used();
    run();
    used() - start
}

/// Takes turns for as long. In one the first contestant is busy for about the time of a turn; the
/// others make as many rounds. For each: the medians of the nanoseconds of a round and of the ratio
/// to the first one's.
pub fn interleave(mut contestants: Vec<Contestant>, turn: Duration, time: Duration) -> Value {
    let rounds = rounds_in(&mut contestants[0].1, turn);
    // The one before has made the caches cold.
    let to_warm_up = rounds.div_ceil(8);
    let mut order: Vec<usize> = (0..contestants.len()).collect();
    let mut turns: Vec<Vec<f64>> = Vec::new();
    let start = Instant::now();
    while start.elapsed() < time || turns.len() < TURNS {
        let mut turn = vec![0.0; order.len()];
        fastrand::shuffle(&mut order);
        for &which in &order {
            contestants[which].1(to_warm_up);
            let took = contestants[which].1(rounds);
            turn[which] = took.as_secs_f64() * 1e9 / rounds as f64;
        }
        turns.push(turn);
    }
    let results = contestants.iter().enumerate().map(|(i, (name, _))| {
        let time = median(turns.iter().map(|turn| turn[i]));
        let ratio = median(turns.iter().map(|turn| turn[i] / turn[0]));
        json!({ "name": name, "ns": time, "ratio": ratio, "turns": turns.len() })
    });
    Value::Array(results.collect())
}

/// How many rounds fill a turn.
fn rounds_in(run: &mut impl FnMut(usize) -> Duration, turn: Duration) -> usize {
    let mut rounds = 1;
    loop {
        // The first one warms up.
        run(rounds);
        let took = run(rounds);
        if took >= turn / 2 {
            let more = turn.as_secs_f64() / took.as_secs_f64();
            return ((rounds as f64 * more) as usize).max(1);
        }
        rounds *= 2;
    }
}

pub fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    let n = sorted.len();
    (sorted[(n - 1) / 2] + sorted[n / 2]) / 2.0
}
