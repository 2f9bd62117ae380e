//! Sizes as systemctl prints them. Pure.

/// A number of bytes, `3.2M`.
pub fn bytes(count: u64) -> String {
    for (shift, letter) in [(60, 'E'), (50, 'P'), (40, 'T'), (30, 'G'), (20, 'M'), (10, 'K')] {
        if count >= 1 << shift {
            let whole = count >> shift;
            let tenth = (count - (whole << shift)) / 1024_u64.pow(shift / 10 - 1) * 10 / 1024;
            return if tenth > 0 { format!("{whole}.{tenth}{letter}") } else { format!("{whole}{letter}") };
        }
    }
    format!("{count}B")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        assert_eq!(bytes(512), "512B");
        assert_eq!(bytes(3_355_443), "3.1M");
        assert_eq!(bytes(1 << 30), "1G");
        assert_eq!(bytes(u64::MAX), "15.9E");
    }
}
