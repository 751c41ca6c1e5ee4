//! Curves on logarithmic axes, as SVG.

use std::fmt::Write as _;

/// Curves that share what grows.
pub(crate) struct Panel {
    /// What grows, to the right.
    pub(crate) title: String,
    pub(crate) curves: Vec<Curve>,
}

pub(crate) struct Curve {
    pub(crate) name: String,
    /// Size, and milliseconds.
    pub(crate) points: Vec<(f64, f64)>,
}

const COLORS: [&str; 6] = ["#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf"];
const WIDTH: f64 = 460.0;
const HEIGHT: f64 = 340.0;
const MARGIN: f64 = 48.0;

/// Two panels a row. A dashed line in each shows what grows linearly.
pub(crate) fn svg(panels: &[Panel]) -> String {
    let rows = panels.len().div_ceil(2) as f64;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {}\" font-family=\"sans-serif\" font-size=\"11\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
        2.0 * WIDTH,
        rows * HEIGHT
    );
    for (index, panel) in panels.iter().enumerate() {
        let (x, y) = ((index % 2) as f64 * WIDTH, (index / 2) as f64 * HEIGHT);
        writeln!(svg, "<g transform=\"translate({x} {y})\">").unwrap();
        draw(&mut svg, panel);
        svg.push_str("</g>\n");
    }
    svg + "</svg>\n"
}

fn draw(svg: &mut String, panel: &Panel) {
    let points = || panel.curves.iter().flat_map(|curve| &curve.points);
    let decades = |values: &mut dyn Iterator<Item = f64>| {
        let (low, high) =
            values.fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(value), high.max(value)));
        (low.log10().floor(), high.log10().ceil().max(low.log10().floor() + 1.0))
    };
    let (left, right) = decades(&mut points().map(|point| point.0));
    let (bottom, top) = decades(&mut points().map(|point| point.1));
    let x = |size: f64| MARGIN + (size.log10() - left) / (right - left) * (WIDTH - 2.0 * MARGIN);
    let y = |ms: f64| HEIGHT - MARGIN - (ms.log10() - bottom) / (top - bottom) * (HEIGHT - 2.0 * MARGIN);
    let mut line = |from: (f64, f64), to: (f64, f64), style: &str| {
        writeln!(
            svg,
            "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" {style}/>",
            x(from.0),
            y(from.1),
            x(to.0),
            y(to.1)
        )
        .unwrap();
    };
    let power = |exponent: f64| 10f64.powf(exponent);
    let decade = |from: f64, to: f64| (0..=(to - from) as i32).map(move |step| power(from + f64::from(step)));
    for size in decade(left, right) {
        line((size, power(bottom)), (size, power(top)), "stroke=\"#ddd\"");
    }
    for ms in decade(bottom, top) {
        line((power(left), ms), (power(right), ms), "stroke=\"#ddd\"");
    }
    let span = (right - left).min(top - bottom);
    line(
        (power(right - span), power(top - span)),
        (power(right), power(top)),
        "stroke=\"#aaa\" stroke-dasharray=\"4\"",
    );
    let mut text = |x: f64, y: f64, anchor: &str, text: &str| {
        writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>").unwrap();
    };
    for size in decade(left, right) {
        text(x(size), HEIGHT - MARGIN + 16.0, "middle", &size.to_string());
    }
    for ms in decade(bottom, top) {
        text(MARGIN - 6.0, y(ms) + 4.0, "end", &ms.to_string());
    }
    text(WIDTH / 2.0, 20.0, "middle", &format!("milliseconds by {}", panel.title));
    for (index, curve) in panel.curves.iter().enumerate() {
        let color = COLORS[index % COLORS.len()];
        let corners: Vec<String> =
            curve.points.iter().map(|(size, ms)| format!("{:.1},{:.1}", x(*size), y(*ms))).collect();
        writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"2\"/>",
            corners.join(" ")
        )
        .unwrap();
        let below = MARGIN + 14.0 * (index as f64 + 1.0);
        writeln!(svg, "<text x=\"{}\" y=\"{below}\" fill=\"{color}\">{}</text>", MARGIN + 8.0, curve.name)
            .unwrap();
    }
}
