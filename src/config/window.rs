//! `window`: the days and times at which a stage may be deployed to.

use jiff::civil::{Time, Weekday};
use jiff::tz::{TimeZone, TimeZoneDatabase};

use super::key::{DAYS, Section};
use super::read::{Field, Table};
use super::suggest::nearest;
use crate::target::gate::Window;
use crate::target::lint::list;

pub(super) fn windows(field: &Field<'_>) -> Option<Vec<Window>> {
    // An empty list removes the windows of [settings.stage].
    let windows: Vec<Option<Window>> = field.list()?.iter().map(window).collect();
    windows.into_iter().collect()
}

fn window(field: &Field<'_>) -> Option<Window> {
    let table = field.table(Section::Window)?;
    let days = table.get("days").map_or(Some(Window::EVERY_DAY.to_vec()), |field| {
        if field.is_text() {
            let days = field.text().and_then(days_of).unwrap_or_else(|| vec![DAYS[0], DAYS[1]]);
            field.expected("a list of days", field.write(list(&days)));
            return None;
        }
        let days: Vec<Option<Weekday>> = field.list()?.iter().map(weekday).collect();
        if days.is_empty() {
            field.fault("a window without days never opens", "remove `days` for every day");
            return None;
        }
        days.into_iter().collect()
    });
    let from = clock(&table, "from", field);
    let to = match table.get("to") {
        Some(to) if to.is_text() && to.text() == Some("24:00") => Some(None),
        _ => clock(&table, "to", field).map(Some),
    };
    let zone = table.get("timezone").map_or(Some(TimeZone::UTC), |field| zone(&field));
    Some(Window { days: days?, from: from?, to: to?, zone: zone? })
}

fn weekday(field: &Field<'_>) -> Option<Weekday> {
    let text = field.text()?;
    let Some(day) = DAYS.iter().position(|day| *day == text) else {
        let help = match days_of(text) {
            Some(days) => days.iter().map(|day| format!("{day:?}")).collect::<Vec<_>>().join(", "),
            None => DAYS.map(|day| format!("{day:?}")).join(", "),
        };
        field.fault(format!("unknown day {text:?}"), format!("write {help}"));
        return None;
    };
    Weekday::from_monday_zero_offset(i8::try_from(day).ok()?).ok()
}

/// Days in other notations: `monday`, `Mon-Fri`, `mon,tue`, `weekdays`.
fn days_of(text: &str) -> Option<Vec<&'static str>> {
    const NAMES: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
    let lower = text.to_ascii_lowercase();
    match lower.as_str() {
        "weekdays" | "workdays" => return Some(DAYS[..5].to_vec()),
        "weekend" => return Some(DAYS[5..].to_vec()),
        "daily" | "*" => return Some(DAYS.to_vec()),
        _ => {}
    }
    let day = |word: &str| NAMES.iter().position(|name| word.len() >= 2 && name.starts_with(word));
    let mut days = Vec::new();
    for part in lower.split([',', ' ']).filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (day(first)?, day(last)?);
        let span = (last + 7 - first) % 7;
        days.extend((first..=first + span).map(|day| DAYS[day % 7]));
    }
    Some(days).filter(|days| !days.is_empty())
}

/// `09:00`
fn clock(table: &Table<'_>, name: &str, window: &Field<'_>) -> Option<Time> {
    let Some(field) = table.get(name) else {
        table.requires(name, window.write("{ days = [\"Mon\"], from = \"09:00\", to = \"16:00\" }"));
        return None;
    };
    let text = field.text()?;
    let time = text.split_once(':').and_then(|(hour, minute)| {
        let is_two = |part: &str| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
        let parsed = || Some((hour.parse().ok()?, minute.parse().ok()?));
        let (hour, minute) = parsed().filter(|_| is_two(hour) && is_two(minute))?;
        Time::new(hour, minute, 0, 0).ok()
    });
    if time.is_none() {
        let help = field.write(format!("{:?}", time_meant(text).unwrap_or("09:00".to_owned())));
        field.fault(format!("expected a time of day, found {text:?}"), help);
    }
    time
}

/// `09:00` for `9:00`, `9` and `9am`.
fn time_meant(text: &str) -> Option<String> {
    let lower = text.trim().to_ascii_lowercase();
    let (digits, is_pm) = match (lower.strip_suffix("am"), lower.strip_suffix("pm")) {
        (Some(digits), _) => (digits.trim(), Some(false)),
        (_, Some(digits)) => (digits.trim(), Some(true)),
        _ => (lower.as_str(), None),
    };
    let (hour, minute) = digits.split_once([':', '.']).unwrap_or((digits, "0"));
    let (hour, minute): (i8, i8) = (hour.parse().ok()?, minute.parse().ok()?);
    let hour = match is_pm {
        Some(is_pm) => (1..=12).contains(&hour).then_some(hour % 12 + if is_pm { 12 } else { 0 })?,
        None => hour,
    };
    Time::new(hour, minute, 0, 0).is_ok().then(|| format!("{hour:02}:{minute:02}"))
}

/// Looks the zone up in the system's database, then in the built-in one: a system may have no zones, or only
/// some.
fn zone(field: &Field<'_>) -> Option<TimeZone> {
    let name = field.some_text()?;
    if let Ok(zone) = TimeZone::get(name).or_else(|_| TimeZoneDatabase::bundled().get(name)) {
        return Some(zone);
    }
    let meant = zone_meant(name);
    let help = match meant.as_slice() {
        [] => "write a name of the IANA database, such as \"Europe/Berlin\" or \"UTC\"".to_owned(),
        [one] => field.write(format!("{one:?}")),
        several => format!("write one of {}", list(several)),
    };
    field.fault(format!("unknown time zone {name:?}"), help);
    None
}

/// The zones that were probably intended, at most three: `Europe/Berlin` for `Berlin`.
fn zone_meant(name: &str) -> Vec<String> {
    let names: Vec<String> =
        TimeZoneDatabase::bundled().available().map(|name| name.as_str().to_owned()).collect();
    let wanted = name.replace(' ', "_").to_ascii_lowercase();
    let is_city = |zone: &&String| {
        let zone = zone.to_ascii_lowercase();
        zone == wanted || zone.rsplit('/').next() == wanted.rsplit('/').next()
    };
    let cities: Vec<String> = names.iter().filter(is_city).take(3).cloned().collect();
    if !cities.is_empty() {
        return cities;
    }
    // Zones with names similar to `CEST` or `UTC+1` have other offsets.
    let has_lower_case = name.contains(|character: char| character.is_ascii_lowercase());
    if !name.contains('/') && (!has_lower_case || name.contains(|character: char| character.is_ascii_digit()))
    {
        return Vec::new();
    }
    let known: Vec<&str> = names.iter().map(String::as_str).collect();
    nearest(name, &known).into_iter().map(str::to_owned).collect()
}
