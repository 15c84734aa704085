//! How much memory this process held at most.

/// The most memory that was ever resident in this process, in bytes; `None` where the system is not Linux, whose `VmHWM` this is.
pub fn peak_resident() -> Option<u64> {
    if cfg!(target_os = "linux") { high_water(&std::fs::read_to_string("/proc/self/status").ok()?) } else { None }
}

/// `VmHWM` in the text of `/proc/PID/status`, in bytes.
fn high_water(status: &str) -> Option<u64> {
    let value = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = value.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_high_water_mark_is_read() {
        let status = "Name:\tprogram\nVmPeak:\t  999999 kB\nVmHWM:\t   12345 kB\nVmRSS:\t    1000 kB\n";
        assert_eq!(high_water(status), Some(12_345 * 1024));
        assert_eq!(high_water("Name:\tprogram\n"), None);
        assert_eq!(high_water("VmHWM:\tmuch\n"), None);
    }

    #[test]
    fn this_process_has_held_some_memory() {
        assert_eq!(peak_resident().is_some_and(|peak| peak > 1 << 20), cfg!(target_os = "linux"));
    }
}
