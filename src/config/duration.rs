//! Durations as a configuration writes them: `90s`, `5m`, `1h 30m`.

use std::time::Duration;

use jiff::{Span, SpanRelativeTo};

/// `1h 30m` for `1.5h`; `5m` for `5`, the unit of most durations here.
pub(super) fn without_fraction(text: &str) -> Option<String> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = (text[..end].parse::<f64>().ok()?, text[end..].trim());
    let (unit, seconds) = match unit {
        "" => return (number.fract() == 0.0).then(|| format!("{number}m")),
        "s" => ("s", 1.0),
        "m" | "min" => ("m", 60.0),
        "h" => ("h", 3600.0),
        "d" => ("d", 86_400.0),
        _ => return None,
    };
    let (smaller, per_unit) = match unit {
        "d" => ("h", 24.0),
        "h" => ("m", 60.0),
        "m" => ("s", 60.0),
        _ => ("ms", 1000.0),
    };
    let rest = (number.fract() * per_unit).round();
    let meant = match number.trunc() {
        0.0 => format!("{rest}{smaller}"),
        whole => format!("{whole}{unit} {rest}{smaller}"),
    };
    // Only if the value is exact.
    let is_exact =
        parse_duration(&meant).is_some_and(|meant| (meant.as_secs_f64() - number * seconds).abs() < 1e-6);
    is_exact.then_some(meant)
}

/// From a millisecond to ten years. None: not a duration, or out of range.
pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    duration_up_to_ten_years(text).filter(|duration| *duration >= Duration::from_millis(1))
}

/// jiff also accepts `PT5M`, `00:05:00` and `-5m`. A configuration accepts none of these.
pub(super) fn duration_up_to_ten_years(text: &str) -> Option<Duration> {
    const LONGEST: Duration = Duration::from_secs(3650 * 24 * 3600);
    let is_plain =
        text.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase() || byte == b' ');
    let span: Span = text.parse().ok().filter(|_| is_plain && !text.is_empty())?;
    let duration = span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
    Duration::try_from(duration).ok().filter(|duration| *duration <= LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_a_number_and_a_unit() {
        for (text, seconds) in [
            ("90s", 90),
            ("5m", 300),
            ("1h 30m", 5400),
            ("1h30m", 5400),
            ("7d", 604_800),
            ("180d", 15_552_000),
        ] {
            assert_eq!(parse_duration(text), Some(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(parse_duration("500ms"), Some(Duration::from_millis(500)));
        for text in [
            "",
            "5",
            "-5m",
            "PT5M",
            "00:05:00",
            "0s",
            "5 minutes ago",
            "1mo",
            "1y",
            "11y",
            "5M",
            "99999999999999d",
        ] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }
}
