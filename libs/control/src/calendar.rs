//! Wall clock time as systemd prints it. Pure; always UTC.
//!
//! The only time zone of this version is UTC, and every form that has room for the zone says so.

/// A moment as people read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CivilTime {
    /// Year of our era.
    pub year: i64,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31.
    pub day: u8,
    /// 0 to 23.
    pub hour: u8,
    /// 0 to 59.
    pub minute: u8,
    /// 0 to 59.
    pub second: u8,
    /// 0 to 999999.
    pub microsecond: u32,
}

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const DAY_S: u64 = 86_400;
const SECOND_US: u64 = 1_000_000;
/// Later times (the year 9999) are shown as this one.
const LATEST_US: u64 = 253_402_300_799 * SECOND_US;

impl CivilTime {
    /// The moment `us` microseconds after the beginning of 1970.
    pub fn from_us(us: u64) -> Self {
        let us = us.min(LATEST_US);
        let seconds = us / SECOND_US;
        let (year, month, day) = date_of_day((seconds / DAY_S) as i64);
        let in_day = seconds % DAY_S;
        Self {
            year,
            month,
            day,
            hour: (in_day / 3600) as u8,
            minute: (in_day / 60 % 60) as u8,
            second: (in_day % 60) as u8,
            microsecond: (us % SECOND_US) as u32,
        }
    }

    /// Microseconds since 1970; `None` for a date that does not exist or is before 1970.
    pub fn to_us(self) -> Option<u64> {
        let day = day_of_date(self.year, self.month, self.day);
        let in_day = u64::from(self.hour) * 3600 + u64::from(self.minute) * 60 + u64::from(self.second);
        let us = (u64::try_from(day).ok()? * DAY_S + in_day) * SECOND_US + u64::from(self.microsecond);
        (CivilTime::from_us(us) == self).then_some(us)
    }
}

/// `Wed 2026-11-25 15:04:05 UTC`, as in `systemctl status`.
pub fn weekday_stamp(us: u64) -> String {
    let time = CivilTime::from_us(us);
    let weekday = WEEKDAYS.get((us.min(LATEST_US) / SECOND_US / DAY_S % 7) as usize).copied().unwrap_or("?");
    let CivilTime { year, month, day, hour, minute, second, .. } = time;
    format!("{weekday} {year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

/// `Nov 25 15:04:05`, as in `journalctl -o short`.
pub fn short_stamp(us: u64) -> String {
    let CivilTime { month, day, hour, minute, second, .. } = CivilTime::from_us(us);
    let name = MONTHS.get(usize::from(month).saturating_sub(1)).copied().unwrap_or("?");
    format!("{name} {day:02} {hour:02}:{minute:02}:{second:02}")
}

/// `Nov 25 15:04:05.123456`, as in `journalctl -o short-precise`.
pub fn short_precise_stamp(us: u64) -> String {
    format!("{}.{:06}", short_stamp(us), us % SECOND_US)
}

/// `2026-11-25T15:04:05+00:00`, as in `journalctl -o short-iso`.
pub fn iso_stamp(us: u64) -> String {
    let CivilTime { year, month, day, hour, minute, second, .. } = CivilTime::from_us(us);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}+00:00")
}

/// Days are counted in eras of 400 years that begin in March, so that the leap day is the last of its year.
fn date_of_day(day: i64) -> (i64, u8, u8) {
    let shifted = day + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month as u8, day_of_month as u8)
}

fn day_of_date(year: i64, month: u8, day: u8) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let month_from_march = (i64::from(month) + 9) % 12;
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * month_from_march + 2) / 5 + i64::from(day) - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    year.div_euclid(400) * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_print_in_all_forms() {
        let us = 1_795_619_045_123_456;
        assert_eq!(weekday_stamp(us), "Wed 2026-11-25 15:04:05 UTC");
        assert_eq!(short_stamp(us), "Nov 25 15:04:05");
        assert_eq!(short_precise_stamp(us), "Nov 25 15:04:05.123456");
        assert_eq!(iso_stamp(us), "2026-11-25T15:04:05+00:00");
        assert_eq!(weekday_stamp(0), "Thu 1970-01-01 00:00:00 UTC");
        assert_eq!(weekday_stamp(951_782_400_000_000), "Tue 2000-02-29 00:00:00 UTC");
        assert_eq!(weekday_stamp(u64::MAX), "Fri 9999-12-31 23:59:59 UTC");
    }

    #[test]
    fn every_day_of_four_centuries_goes_there_and_back() {
        for day in 0..146_097_u64 {
            let us = day * DAY_S * SECOND_US + 86_399_999_999;
            assert_eq!(CivilTime::from_us(us).to_us(), Some(us));
        }
    }

    #[test]
    fn a_date_that_does_not_exist_has_no_time() {
        let date = |year, month, day| CivilTime { year, month, day, hour: 0, minute: 0, second: 0, microsecond: 0 };
        assert_eq!(date(2026, 2, 29).to_us(), None);
        assert_eq!(date(2026, 13, 1).to_us(), None);
        assert_eq!(date(2026, 0, 1).to_us(), None);
        assert_eq!(date(1969, 12, 31).to_us(), None);
        assert!(date(2028, 2, 29).to_us().is_some());
    }
}
