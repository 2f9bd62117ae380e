//! Dates and times of day without a zone, and their arithmetic. Pure.
//!
//! Fields may be out of range (day 32, hour -1): they carry into the next one, as in C's `mktime`.

/// A date and a time of day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Civil {
    /// Year of our era.
    pub year: i64,
    /// 1 to 12.
    pub month: i64,
    /// 1 to 31.
    pub day: i64,
    /// 0 to 23.
    pub hour: i64,
    /// 0 to 59.
    pub minute: i64,
    /// 0 to 59.
    pub second: i64,
}

const DAY_S: i64 = 86_400;

/// English short names, Monday first.
pub const WEEKDAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
/// English short names of the months.
pub const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

impl Civil {
    /// What a clock without an offset shows so many seconds after the beginning of 1970.
    pub fn from_seconds(seconds: i64) -> Civil {
        let (year, month, day) = date_of_day(seconds.div_euclid(DAY_S));
        let in_day = seconds.rem_euclid(DAY_S);
        Civil { year, month, day, hour: in_day / 3600, minute: in_day / 60 % 60, second: in_day % 60 }
    }

    /// The reverse; fields that are out of range carry.
    pub fn to_seconds(self) -> i64 {
        let months = self.year.saturating_mul(12).saturating_add(self.month - 1);
        let (year, month) = (months.div_euclid(12), months.rem_euclid(12) + 1);
        let day = day_of_date(year, month, 1).saturating_add(self.day - 1);
        let in_day = self.hour.saturating_mul(3600) + self.minute.saturating_mul(60) + self.second;
        day.saturating_mul(DAY_S).saturating_add(in_day)
    }

    /// Midnight of the same day.
    pub fn midnight(self) -> Civil {
        Civil { hour: 0, minute: 0, second: 0, ..self }
    }

    /// Its day of the week, 0 for Monday.
    pub fn weekday(self) -> usize {
        let day = self.to_seconds().div_euclid(DAY_S);
        usize::try_from((day + 3).rem_euclid(7)).unwrap_or(0)
    }

    /// Is this a date of the calendar and a time of the clock? Second 60 is one.
    pub fn is_valid(self) -> bool {
        let second = self.second.min(59);
        Civil::from_seconds(Civil { second, ..self }.to_seconds()) == Civil { second, ..self } && self.second <= 60
    }
}

/// The number of days of a month.
pub fn days_of_month(year: i64, month: i64) -> i64 {
    let (next_year, next) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
    day_of_date(next_year, next, 1) - day_of_date(year, month, 1)
}

/// Days are counted in eras of 400 years that begin in March, so that the leap day is the last of its year.
fn date_of_day(day: i64) -> (i64, i64, i64) {
    let shifted = day + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day_of_month)
}

fn day_of_date(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let month_from_march = (month + 9) % 12;
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    year.div_euclid(400).saturating_mul(146_097).saturating_add(day_of_era - 719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn date(year: i64, month: i64, day: i64) -> Civil {
        Civil { year, month, day, hour: 0, minute: 0, second: 0 }
    }

    #[test]
    fn every_day_of_four_centuries_goes_there_and_back() {
        for day in -10_000..146_097_i64 {
            let seconds = day * DAY_S + 86_399;
            let civil = Civil::from_seconds(seconds);
            assert_eq!(civil.to_seconds(), seconds);
            assert!(civil.is_valid());
        }
    }

    #[test]
    fn fields_out_of_range_carry() {
        let of = |civil: Civil| Civil::from_seconds(civil.to_seconds());
        assert_eq!(of(date(2024, 14, 1)), date(2025, 2, 1));
        assert_eq!(of(date(2025, 2, 30)), date(2025, 3, 2));
        assert_eq!(of(Civil { hour: -1, ..date(2025, 1, 1) }), Civil { hour: 23, ..date(2024, 12, 31) });
    }

    #[test]
    fn dates_that_do_not_exist_are_told_from_dates_that_do() {
        assert!(!date(2026, 2, 29).is_valid() && date(2028, 2, 29).is_valid());
        assert!(!date(2026, 13, 1).is_valid() && !date(2026, 0, 1).is_valid());
        assert!(Civil { second: 60, ..date(2026, 1, 1) }.is_valid());
        assert_eq!(days_of_month(2024, 2), 29);
        assert_eq!(days_of_month(2025, 12), 31);
    }

    #[test]
    fn weekdays_are_right() {
        assert_eq!(date(1970, 1, 1).weekday(), 3);
        assert_eq!(date(2026, 11, 25).weekday(), 2);
        assert_eq!(date(1969, 12, 28).weekday(), 6);
    }
}
