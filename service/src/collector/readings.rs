//! The documents that snapshots of this host have, as they are stored.

use std::collections::BTreeMap;

use foundation::database::PoolStatus;
use serde::Serialize;

/// The processors.
#[derive(Debug, Serialize)]
pub(super) struct Cpu {
    /// How busy all of them were since the reading before: 100 is every core.
    pub(super) usage_percent: f64,
    pub(super) cores: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) load_1: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) load_5: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) load_15: Option<f64>,
}

/// The memory. What can be had at once is available, caches included; the rest is used.
#[derive(Debug, Serialize)]
pub(super) struct Memory {
    pub(super) total_bytes: u64,
    pub(super) used_bytes: u64,
    pub(super) available_bytes: u64,
    pub(super) used_percent: f64,
    pub(super) swap_total_bytes: u64,
    pub(super) swap_used_bytes: u64,
    pub(super) swap_used_percent: f64,
}

/// One mounted disk.
#[derive(Debug, Serialize)]
pub(super) struct Mount {
    pub(super) total_bytes: u64,
    pub(super) available_bytes: u64,
    pub(super) used_percent: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) read_bytes_per_second: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) written_bytes_per_second: Option<f64>,
}

/// All disks together, and each by where it is mounted.
#[derive(Debug, Default, Serialize)]
pub(super) struct Disk {
    total_bytes: u64,
    available_bytes: u64,
    used_percent: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    read_bytes_per_second: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    written_bytes_per_second: Option<f64>,
    pub(super) mounts: BTreeMap<String, Mount>,
}

impl Disk {
    pub(super) fn add(&mut self, mount: &Mount) {
        self.total_bytes += mount.total_bytes;
        self.available_bytes += mount.available_bytes;
        self.used_percent = percent(self.total_bytes.saturating_sub(self.available_bytes), self.total_bytes);
        self.read_bytes_per_second = sum(self.read_bytes_per_second, mount.read_bytes_per_second);
        self.written_bytes_per_second = sum(self.written_bytes_per_second, mount.written_bytes_per_second);
    }
}

/// One network interface.
#[derive(Debug, Serialize)]
pub(super) struct Interface {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) received_bytes_per_second: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sent_bytes_per_second: Option<f64>,
}

/// All interfaces together, without the host's talk to itself, and each by its name.
#[derive(Debug, Default, Serialize)]
pub(super) struct Network {
    #[serde(skip_serializing_if = "Option::is_none")]
    received_bytes_per_second: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sent_bytes_per_second: Option<f64>,
    pub(super) interfaces: BTreeMap<String, Interface>,
}

impl Network {
    pub(super) fn add(&mut self, interface: &Interface) {
        self.received_bytes_per_second =
            sum(self.received_bytes_per_second, interface.received_bytes_per_second);
        self.sent_bytes_per_second = sum(self.sent_bytes_per_second, interface.sent_bytes_per_second);
    }
}

/// This process.
#[derive(Debug, Serialize)]
pub(super) struct Process {
    pub(super) rss_bytes: u64,
    /// 100 is one core.
    pub(super) cpu_percent: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) threads: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) open_files: Option<usize>,
}

/// The connections of the pool.
#[derive(Debug, Serialize)]
struct Pool {
    size: usize,
    available: usize,
    waiting: usize,
    maximum: usize,
}

/// This process and its pool.
#[derive(Debug, Serialize)]
struct Service {
    #[serde(flatten)]
    process: Option<Process>,
    uptime_seconds: u64,
    pool: Pool,
}

/// What one reading found.
#[derive(Debug)]
pub(super) struct Readings {
    pub(super) cpu: Cpu,
    pub(super) memory: Memory,
    pub(super) disk: Option<Disk>,
    pub(super) network: Option<Network>,
    pub(super) process: Option<Process>,
}

impl Readings {
    /// The type of each snapshot and its document, with the state of the pool and how long the process runs.
    pub(super) fn documents(
        self,
        pool: PoolStatus,
        uptime_seconds: u64,
    ) -> serde_json::Result<Vec<(&'static str, String)>> {
        let PoolStatus { size, available, waiting, maximum } = pool;
        let pool = Pool { size, available, waiting, maximum };
        let service = Service { process: self.process, uptime_seconds, pool };
        let mut documents = vec![
            ("cpu", serde_json::to_string(&self.cpu)?),
            ("memory", serde_json::to_string(&self.memory)?),
            ("service", serde_json::to_string(&service)?),
        ];
        if let Some(disk) = &self.disk {
            documents.push(("disk", serde_json::to_string(disk)?));
        }
        if let Some(network) = &self.network {
            documents.push(("network", serde_json::to_string(network)?));
        }
        Ok(documents)
    }
}

fn sum(left: Option<f64>, right: Option<f64>) -> Option<f64> {
    match (left, right) {
        (Some(left), Some(right)) => Some(rounded(left + right)),
        (left, right) => left.or(right),
    }
}

/// How much of the whole a part is, in percent; 0 where the whole is 0.
#[expect(clippy::cast_precision_loss, reason = "a share is no exact number")]
pub(super) fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { rounded(part as f64 / whole as f64 * 100.0) }
}

/// To two digits. What is no number becomes zero, because JSON has no word for it.
pub(super) fn rounded(value: f64) -> f64 {
    if value.is_finite() { (value * 100.0).round() / 100.0 } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_sums_are_numbers() {
        assert_eq!((percent(1, 3), percent(0, 0), percent(5, 5)), (33.33, 0.0, 100.0));
        assert_eq!((rounded(f64::NAN), rounded(1.005_1)), (0.0, 1.01));
        assert_eq!(
            (sum(None, None), sum(Some(1.0), None), sum(Some(1.0), Some(0.5))),
            (None, Some(1.0), Some(1.5))
        );
    }

    #[test]
    fn disks_add_up() {
        let mount = |total, available, read| Mount {
            total_bytes: total,
            available_bytes: available,
            used_percent: 0.0,
            read_bytes_per_second: read,
            written_bytes_per_second: None,
        };
        let mut disk = Disk::default();
        disk.add(&mount(300, 100, Some(5.0)));
        disk.add(&mount(100, 100, Some(7.0)));
        let document = serde_json::to_value(&disk).unwrap();
        let expected = serde_json::json!({
            "total_bytes": 400, "available_bytes": 200, "used_percent": 50.0,
            "read_bytes_per_second": 12.0, "mounts": {},
        });
        assert_eq!(document, expected);
    }
}
