//! Times as people write them after `--since` and `--until`. Pure.

use anyhow::{Result, anyhow};
use ferrite_unit::timestamp;
use ferrite_unit::zone::Zones;

/// The moment a text means, in microseconds since 1970.
pub fn parse(text: &str, now_us: u64, zones: &Zones) -> Result<u64> {
    timestamp::parse(text.trim(), now_us, zones)
        .map_err(|_| anyhow!("'{text}' is no time: write '2026-11-25 15:04:05', '15:04', 'today' or '1h ago'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_leads_to_a_moment_and_anything_else_is_refused() {
        let now_us = 1_795_619_045_000_000;
        let zones = Zones::utc();
        assert_eq!(parse(" 1h ago ", now_us, &zones).expect("valid"), now_us - 3_600_000_000);
        assert_eq!(parse("5 min ago", now_us, &zones).expect("valid"), now_us - 300_000_000);
        assert_eq!(parse("2026-11-25 15:04:05", 0, &zones).expect("valid"), now_us);
        assert!(parse("soon", now_us, &zones).expect_err("no time").to_string().contains("is no time"));
    }
}
