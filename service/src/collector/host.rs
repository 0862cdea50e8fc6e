//! What this host and this process say about themselves. Every call here blocks for a moment: it reads files
//! of the operating system.

use std::collections::{BTreeMap, HashMap};

use sysinfo::{
    DiskRefreshKind, Disks, MemoryRefreshKind, Networks, Pid, ProcessRefreshKind, ProcessesToUpdate, System,
};
use tokio::time::Instant;

use super::readings::{Cpu, Disk, Interface, Memory, Mount, Network, Process, Readings, percent, rounded};

/// The most mounts, and the most network interfaces, that one document names.
const NAMED: usize = 32;

/// The traffic of a host with itself is not counted in the sums.
const LOOPBACK: [&str; 2] = ["lo", "lo0"];

/// Reads the figures. What is a rate is one since the reading before.
pub(super) struct Host {
    system: System,
    disks: Disks,
    networks: Networks,
    process: Option<Pid>,
    counters: Counters,
    read_at: Instant,
}

impl Host {
    /// Begins to count: the first reading that means something comes [`Host::WARM_UP`] later.
    pub(super) fn new() -> Result<Self, sysinfo::Error> {
        let mut host = Self {
            system: System::new()?,
            disks: Disks::new()?,
            networks: Networks::new()?,
            process: sysinfo::get_current_pid().ok(),
            counters: Counters::default(),
            read_at: Instant::now(),
        };
        host.read();
        Ok(host)
    }

    /// How long the use of the processors has to be watched at least.
    pub(super) const WARM_UP: std::time::Duration = sysinfo::MINIMUM_CPU_UPDATE_INTERVAL;

    /// Reads everything.
    pub(super) fn read(&mut self) -> Readings {
        self.system.refresh_cpu_usage();
        self.system.refresh_memory_specifics(MemoryRefreshKind::everything());
        self.disks.refresh_specifics(true, DiskRefreshKind::nothing().with_storage().with_io_usage());
        self.networks.refresh(true);
        if let Some(process) = self.process {
            let kind = ProcessRefreshKind::nothing().with_cpu().with_memory();
            self.system.refresh_processes_specifics(ProcessesToUpdate::Some(&[process]), true, kind);
        }
        let seconds = self.read_at.elapsed().as_secs_f64();
        self.read_at = Instant::now();
        self.counters.begin(seconds);
        Readings {
            cpu: self.cpu(),
            memory: self.memory(),
            disk: self.disk(),
            network: self.network(),
            process: self.process(),
        }
    }

    fn cpu(&self) -> Cpu {
        let load = System::load_average().ok();
        Cpu {
            usage_percent: rounded(self.system.global_cpu_usage().into()),
            cores: self.system.cpus().len(),
            load_1: load.as_ref().map(|it| rounded(it.one)),
            load_5: load.as_ref().map(|it| rounded(it.five)),
            load_15: load.as_ref().map(|it| rounded(it.fifteen)),
        }
    }

    fn memory(&self) -> Memory {
        let (total, available) = (self.system.total_memory(), self.system.available_memory());
        let used = total.saturating_sub(available);
        let (swap_total, swap_used) = (self.system.total_swap(), self.system.used_swap());
        Memory {
            total_bytes: total,
            used_bytes: used,
            available_bytes: available,
            used_percent: percent(used, total),
            swap_total_bytes: swap_total,
            swap_used_bytes: swap_used,
            swap_used_percent: percent(swap_used, swap_total),
        }
    }

    /// Nothing where there is no disk that can be seen, as in some containers.
    fn disk(&mut self) -> Option<Disk> {
        let mut disk = Disk::default();
        for it in by_device(&self.disks) {
            let usage = it.usage();
            let mount_point = it.mount_point().to_string_lossy().into_owned();
            let mut rate =
                |what: &str, total| self.counters.per_second(format!("{what} {mount_point}"), total);
            let mount = Mount {
                total_bytes: it.total_space(),
                available_bytes: it.available_space(),
                used_percent: percent(
                    it.total_space().saturating_sub(it.available_space()),
                    it.total_space(),
                ),
                read_bytes_per_second: rate("read", usage.total_read_bytes),
                written_bytes_per_second: rate("written", usage.total_written_bytes),
            };
            disk.add(&mount);
            if disk.mounts.len() < NAMED {
                disk.mounts.insert(mount_point, mount);
            }
        }
        (!disk.mounts.is_empty()).then_some(disk)
    }

    /// Nothing where there is no network that can be seen.
    fn network(&mut self) -> Option<Network> {
        let mut network = Network::default();
        // In the order of names, so that the same ones are named each time.
        let interfaces: BTreeMap<_, _> =
            self.networks.iter().map(|(name, data)| (name.to_string_lossy(), data)).collect();
        for (name, data) in interfaces {
            let mut rate = |what: &str, total| self.counters.per_second(format!("{what} {name}"), total);
            let interface = Interface {
                received_bytes_per_second: rate("received", data.total_received()),
                sent_bytes_per_second: rate("sent", data.total_transmitted()),
            };
            if !LOOPBACK.contains(&&*name) {
                network.add(&interface);
            }
            if network.interfaces.len() < NAMED {
                network.interfaces.insert(name.into_owned(), interface);
            }
        }
        (!network.interfaces.is_empty()).then_some(network)
    }

    fn process(&self) -> Option<Process> {
        let process = self.system.process(self.process?)?;
        Some(Process {
            rss_bytes: process.memory(),
            cpu_percent: rounded(process.cpu_usage().into()),
            threads: process.tasks().map(|tasks| tasks.len() + 1),
            open_files: process.open_files(),
        })
    }
}

/// One of each device, by its shortest mount point: containers mount single files of a disk many times.
fn by_device(disks: &Disks) -> impl Iterator<Item = &sysinfo::Disk> {
    let mut devices: HashMap<_, &sysinfo::Disk> = HashMap::new();
    for disk in disks.iter().filter(|it| it.total_space() > 0) {
        let shown = devices.entry(disk.name()).or_insert(disk);
        if disk.mount_point().as_os_str().len() < shown.mount_point().as_os_str().len() {
            *shown = disk;
        }
    }
    let mut disks: Vec<_> = devices.into_values().collect();
    disks.sort_by_key(|it| it.mount_point());
    disks.into_iter()
}

/// What counters said at the reading before.
#[derive(Default)]
struct Counters {
    seconds: f64,
    before: HashMap<String, u64>,
    now: HashMap<String, u64>,
}

impl Counters {
    /// Begins a reading, so long after the one before. Counters of what is gone are not kept.
    fn begin(&mut self, seconds: f64) {
        self.seconds = seconds;
        self.before = std::mem::take(&mut self.now);
    }

    /// The rate since the reading before; nothing where there was none, or where the counter began anew.
    fn per_second(&mut self, counter: String, total: u64) -> Option<f64> {
        let more = self.before.get(&counter).and_then(|before| total.checked_sub(*before));
        self.now.insert(counter, total);
        #[expect(clippy::cast_precision_loss, reason = "a rate is no exact number")]
        more.filter(|_| self.seconds > 0.0).map(|more| rounded(more as f64 / self.seconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_needs_two_readings_of_the_same_counter() {
        let mut counters = Counters::default();
        counters.begin(1.0);
        assert_eq!(counters.per_second("sent".to_owned(), 1_000), None);
        counters.begin(2.0);
        assert_eq!(counters.per_second("sent".to_owned(), 2_000), Some(500.0));
        assert_eq!(counters.per_second("received".to_owned(), 7), None);
        counters.begin(0.5);
        // The counter began anew.
        assert_eq!(counters.per_second("sent".to_owned(), 10), None);
        // It was not there the last time.
        counters.begin(1.0);
        assert_eq!(counters.per_second("received".to_owned(), 9), None);
    }

    #[tokio::test]
    async fn a_host_has_plausible_figures() {
        let mut host = Host::new().unwrap();
        tokio::time::sleep(Host::WARM_UP).await;
        let readings = host.read();
        let cpu = &readings.cpu;
        assert!(cpu.cores >= 1 && (0.0..=100.0).contains(&cpu.usage_percent), "{cpu:?}");
        let memory = &readings.memory;
        assert_eq!(memory.used_bytes + memory.available_bytes, memory.total_bytes);
        assert!(memory.used_percent > 0.0 && memory.used_percent < 100.0, "{memory:?}");
        let process = readings.process.unwrap();
        assert!(process.rss_bytes > 0 && process.rss_bytes < memory.total_bytes, "{process:?}");
    }
}
