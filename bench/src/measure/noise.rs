//! The machine that is measured, and whether it was quiet enough to conclude anything.

use std::fs;
use std::time::Duration;

use serde::Serialize;

use super::processors;

/// How long the machine is watched before anything runs.
const WATCH: Duration = Duration::from_millis(250);
/// More than this share of all processors at work for others, before anything runs, disturbs what follows.
const BUSY_SHARE: f64 = 0.1;
/// More than this share of the time taken by the hypervisor for other guests does.
const STOLEN_SHARE: f64 = 0.02;
/// A load average of more than this for each processor, before anything runs, tells of other work.
const LOAD_PER_PROCESSOR: f64 = 0.5;

/// What it was measured on.
#[derive(Debug, Clone, Serialize)]
pub struct Machine {
    /// The host's name.
    pub host: String,
    /// The kernel's version.
    pub kernel: String,
    /// The kind of processor.
    pub processor: String,
    /// Processors that this process may use.
    pub processors: usize,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// The 1-minute load average before anything ran.
    pub load_before: f64,
    /// How TCP reacts to congestion (`net.ipv4.tcp_congestion_control`).
    pub congestion_control: String,
}

impl Machine {
    /// This one, now.
    pub fn this() -> Self {
        let uname = rustix::system::uname();
        let system = rustix::system::sysinfo();
        Self {
            host: uname.nodename().to_string_lossy().into_owned(),
            kernel: uname.release().to_string_lossy().into_owned(),
            processor: processor_of(&fs::read_to_string("/proc/cpuinfo").unwrap_or_default()),
            processors: processors().len(),
            memory_bytes: wide(system.totalram).saturating_mul(system.mem_unit.into()),
            load_before: load_average(&fs::read_to_string("/proc/loadavg").unwrap_or_default()),
            congestion_control: fs::read_to_string("/proc/sys/net/ipv4/tcp_congestion_control")
                .map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned()),
        }
    }
}

impl Machine {
    /// What to know before one compares figures that were taken over loopback.
    pub fn about_loopback(&self) -> Option<String> {
        (self.congestion_control == "bbr").then(|| {
            "TCP's congestion control is bbr here, which paces on loopback too and makes everything slow and alike; for \
             comparisons: sysctl net.ipv4.tcp_congestion_control=cubic."
                .to_owned()
        })
    }
}

/// The kernel's `long` is 64 bits here and 32 elsewhere.
fn wide(number: impl TryInto<u64>) -> u64 {
    number.try_into().unwrap_or(u64::MAX)
}

fn processor_of(cpuinfo: &str) -> String {
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name"));
    model.and_then(|rest| rest.split_once(':')).map_or("unknown", |(_, name)| name.trim()).to_owned()
}

fn load_average(loadavg: &str) -> f64 {
    loadavg.split_ascii_whitespace().next().and_then(|first| first.parse().ok()).unwrap_or(0.0)
}

/// Where the time of all processors went, in clock ticks since the start of the machine.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Ticks {
    all: u64,
    idle: u64,
    stolen: u64,
}

impl Ticks {
    fn now() -> Self {
        Self::of(&fs::read_to_string("/proc/stat").unwrap_or_default())
    }

    /// proc(5): user, nice, system, idle, iowait, irq, softirq, steal; what follows is counted in user already.
    fn of(stat: &str) -> Self {
        let Some(line) = stat.lines().find_map(|line| line.strip_prefix("cpu ")) else {
            return Self::default();
        };
        let numbers: Vec<u64> = line.split_ascii_whitespace().take(8).flat_map(str::parse).collect();
        let at = |place: usize| numbers.get(place).copied().unwrap_or(0);
        Self { all: numbers.iter().sum(), idle: at(3) + at(4), stolen: at(7) }
    }

    fn since(self, earlier: Self) -> Self {
        Self {
            all: self.all.saturating_sub(earlier.all),
            idle: self.idle.saturating_sub(earlier.idle),
            stolen: self.stolen.saturating_sub(earlier.stolen),
        }
    }

    fn share(self, part: u64) -> f64 {
        if self.all == 0 { 0.0 } else { part as f64 / self.all as f64 }
    }
}

/// Watches how quiet the machine is.
#[derive(Debug)]
pub struct NoiseWatch {
    machine: Machine,
    idle: Ticks,
    started: Ticks,
}

impl NoiseWatch {
    /// Watches the machine for a moment, before anything runs.
    pub fn start() -> Self {
        let machine = Machine::this();
        let before = Ticks::now();
        std::thread::sleep(WATCH);
        let started = Ticks::now();
        Self { machine, idle: started.since(before), started }
    }

    /// The machine.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// The machine, and what casts doubt on what was measured since the start: one line each.
    pub fn finish(self) -> (Machine, Vec<String>) {
        let doubts = doubts(&self.machine, self.idle, Ticks::now().since(self.started));
        (self.machine, doubts)
    }
}

fn doubts(machine: &Machine, idle: Ticks, measured: Ticks) -> Vec<String> {
    let mut doubts = Vec::new();
    let busy = idle.share(idle.all.saturating_sub(idle.idle));
    if busy > BUSY_SHARE {
        doubts.push(format!(
            "other programs used {:.0} % of the processors before anything was measured; stop them, or believe nothing",
            busy * 100.0
        ));
    } else if machine.load_before > LOAD_PER_PROCESSOR * machine.processors.max(1) as f64 {
        doubts.push(format!(
            "the load average was {:.1} before anything was measured; wait until the machine is quiet",
            machine.load_before
        ));
    }
    let stolen = measured.share(measured.stolen);
    if stolen > STOLEN_SHARE {
        doubts.push(format!(
            "the hypervisor took {:.0} % of the processors' time for other guests (steal); measure at another hour",
            stolen * 100.0
        ));
    }
    if cfg!(debug_assertions) {
        doubts.push(
            "this program was built without optimisation; measure with cargo run --release -p penstock-bench"
                .to_owned(),
        );
    }
    doubts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(load_before: f64) -> Machine {
        Machine { load_before, processors: 2, ..Machine::this() }
    }

    fn said(load: f64, idle: Ticks, measured: Ticks) -> String {
        doubts(&machine(load), idle, measured).join("\n")
    }

    #[test]
    fn the_kernels_lines_are_read() {
        let ticks = Ticks::of("cpu  100 1 50 800 20 3 4 22 7 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n");
        assert_eq!(ticks, Ticks { all: 1000, idle: 820, stolen: 22 });
        assert_eq!(Ticks::of("nonsense"), Ticks::default());
        assert_eq!(load_average("1.25 0.5 0.1 1/100 4242\n"), 1.25);
        assert_eq!(processor_of("processor: 0\nmodel name\t: Fast 9000\n"), "Fast 9000");
        assert_eq!(processor_of(""), "unknown");
    }

    #[test]
    fn a_quiet_machine_is_not_doubted() {
        let quiet = Ticks { all: 100, idle: 99, stolen: 0 };
        let text = said(0.2, quiet, Ticks { all: 1000, idle: 10, stolen: 5 });
        assert!(
            !text.contains("other programs") && !text.contains("load") && !text.contains("steal"),
            "{text}"
        );
    }

    #[test]
    fn other_work_and_stolen_time_are_told() {
        let quiet = Ticks { all: 100, idle: 99, stolen: 0 };
        assert!(said(0.2, Ticks { all: 100, idle: 65, stolen: 0 }, quiet).contains("used 35 %"));
        assert!(said(1.5, quiet, quiet).contains("load average was 1.5"));
        assert!(said(0.0, quiet, Ticks { all: 100, idle: 0, stolen: 7 }).contains("took 7 %"));
    }
}
