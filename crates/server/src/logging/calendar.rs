//! Times of records, in UTC, and when a log file is due to be rotated.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use time::{Date, Month, OffsetDateTime, Time, UtcOffset, Weekday};

use crate::config::log::RotationDate;

/// A moment, as it is written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    at: OffsetDateTime,
    pub(super) microseconds: u32,
}

impl Moment {
    pub(super) fn of(time: SystemTime) -> Self {
        let at = OffsetDateTime::from(time).to_offset(UtcOffset::UTC);
        Self { at, microseconds: at.microsecond() }
    }

    /// Date and time, with this between them.
    pub(super) fn clock(self, between: char) -> impl std::fmt::Display {
        let at = self.at;
        std::fmt::from_fn(move |f| {
            let (year, month, day) = at.to_calendar_date();
            let (hour, minute, second) = at.to_hms();
            write!(f, "{year:04}-{:02}-{day:02}{between}{hour:02}:{minute:02}:{second:02}", u8::from(month))
        })
    }

    /// Appends what a pattern such as `%Y-%m-%d %H:%M:%S` comes to. A letter that stands for nothing stays as it is.
    pub(super) fn pattern(self, pattern: &str, out: &mut String) {
        let at = self.at;
        let mut characters = pattern.chars();
        while let Some(character) = characters.next() {
            if character != '%' {
                out.push(character);
                continue;
            }
            let month = at.month().to_string();
            let weekday = at.weekday().to_string();
            let short = |name: &str| name.get(..3).unwrap_or_default().to_owned();
            let _ = match characters.next() {
                Some('Y') => write!(out, "{:04}", at.year()),
                Some('y') => write!(out, "{:02}", at.year() % 100),
                Some('m') => write!(out, "{:02}", u8::from(at.month())),
                Some('d') => write!(out, "{:02}", at.day()),
                Some('e') => write!(out, "{:2}", at.day()),
                Some('H') => write!(out, "{:02}", at.hour()),
                Some('I') => write!(out, "{:02}", (at.hour() + 11) % 12 + 1),
                Some('p') => out.write_str(if at.hour() < 12 { "AM" } else { "PM" }),
                Some('M') => write!(out, "{:02}", at.minute()),
                Some('S') => write!(out, "{:02}", at.second()),
                Some('j') => write!(out, "{:03}", at.ordinal()),
                Some('b' | 'h') => out.write_str(&short(&month)),
                Some('B') => out.write_str(&month),
                Some('a') => out.write_str(&short(&weekday)),
                Some('A') => out.write_str(&weekday),
                Some('F') => write!(out, "{:04}-{:02}-{:02}", at.year(), u8::from(at.month()), at.day()),
                Some('T') => write!(out, "{:02}:{:02}:{:02}", at.hour(), at.minute(), at.second()),
                Some('f') => write!(out, "{:06}", self.microseconds),
                Some('s') => write!(out, "{}", at.unix_timestamp()),
                Some('z') => out.write_str("+0000"),
                Some('Z') => out.write_str("UTC"),
                Some('%') | None => out.write_char('%'),
                Some(other) => write!(out, "%{other}"),
            };
        }
    }
}

/// The first moment after `after` at which a file is due to be rotated.
pub(super) fn next_rotation(date: RotationDate, after: SystemTime) -> SystemTime {
    let at = OffsetDateTime::from(after).to_offset(UtcOffset::UTC);
    let next = match date {
        RotationDate::Hour { minute } => {
            let hour = at.replace_time(Time::from_hms(at.hour(), minute.min(59), 0).unwrap_or(Time::MIDNIGHT));
            if hour > at { hour } else { hour + Duration::from_hours(1) }
        }
        RotationDate::Day { hour } => next_day(at, hour, |_| true),
        RotationDate::Week { day, hour } => {
            let weekday = Weekday::Sunday.nth_next(day % 7);
            next_day(at, hour, move |date| date.weekday() == weekday)
        }
        RotationDate::Month { day, hour } => next_day(at, hour, move |date| {
            let last = date.month().length(date.year());
            date.day() == day.map_or(last, |day| day.min(last))
        }),
    };
    next.into()
}

/// The next day of that kind, at the beginning of an hour.
fn next_day(at: OffsetDateTime, hour: u8, is: impl Fn(Date) -> bool) -> OffsetDateTime {
    let time = Time::from_hms(hour.min(23), 0, 0).unwrap_or(Time::MIDNIGHT);
    let mut day = at.date();
    // A month and a day later there was one of every kind.
    for _ in 0..=32 {
        let due = day.with_time(time).assume_utc();
        if due > at && is(day) {
            return due;
        }
        day = day.next_day().unwrap_or(Date::MAX);
    }
    Date::from_calendar_date(9999, Month::December, 31).unwrap_or(Date::MAX).midnight().assume_utc()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SystemTime {
        let number = |from: usize, to: usize| text[from..to].parse::<u8>().unwrap();
        let month = Month::try_from(number(5, 7)).unwrap();
        let date = Date::from_calendar_date(text[..4].parse().unwrap(), month, number(8, 10)).unwrap();
        let time = Time::from_hms(number(11, 13), number(14, 16), number(17, 19)).unwrap();
        date.with_time(time).assume_utc().into()
    }

    #[test]
    fn the_next_rotation_is_the_next_moment_of_its_kind() {
        let week = |day, hour| RotationDate::Week { day, hour };
        let month = |day, hour| RotationDate::Month { day, hour };
        for (date, after, expected) in [
            (RotationDate::Hour { minute: 30 }, "2026-11-20 17:29:59", "2026-11-20 17:30:00"),
            (RotationDate::Hour { minute: 30 }, "2026-11-20 17:30:00", "2026-11-20 18:30:00"),
            (RotationDate::Day { hour: 0 }, "2026-11-20 00:00:00", "2026-11-21 00:00:00"),
            (RotationDate::Day { hour: 23 }, "2026-11-20 17:31:15", "2026-11-20 23:00:00"),
            (RotationDate::Day { hour: 0 }, "2026-12-31 17:31:15", "2027-01-01 00:00:00"),
            // 2026-11-20 is a Friday.
            (week(0, 23), "2026-11-20 17:31:15", "2026-11-22 23:00:00"),
            (week(5, 18), "2026-11-20 17:31:15", "2026-11-20 18:00:00"),
            (week(5, 17), "2026-11-20 17:31:15", "2026-11-27 17:00:00"),
            (month(Some(1), 5), "2026-11-20 17:31:15", "2026-12-01 05:00:00"),
            (month(Some(31), 0), "2026-02-20 17:31:15", "2026-02-28 00:00:00"),
            (month(None, 0), "2028-02-20 17:31:15", "2028-02-29 00:00:00"),
            (month(Some(31), 0), "2026-01-31 00:00:00", "2026-02-28 00:00:00"),
        ] {
            assert_eq!(next_rotation(date, at(after)), at(expected), "{date:?} after {after}");
        }
    }

    #[test]
    fn a_pattern_has_letters_for_parts_of_a_time() {
        let moment = Moment::of(at("2026-11-20 17:31:15") + Duration::from_micros(42));
        for (pattern, expected) in [
            ("%Y-%m-%d %H:%M:%S", "2026-11-20 17:31:15"),
            ("%d.%m.%y %I:%M %p", "20.11.26 05:31 PM"),
            ("%a %b %e, %A %B %j", "Fri Nov 20, Friday November 324"),
            ("%F %T.%f%z 100%% %q %", "2026-11-20 17:31:15.000042+0000 100% %q %"),
        ] {
            let mut text = String::new();
            moment.pattern(pattern, &mut text);
            assert_eq!(text, expected);
        }
    }
}
