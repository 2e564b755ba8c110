//! Draws the results of a run. The background is left out, and the colours are such that they can
//! be told apart on a light and on a dark one.

use crate::ways;
use plotters::prelude::*;
use serde_json::Value;
use std::error::Error;
use std::path::Path;

const TEXT: RGBColor = RGBColor(125, 133, 144);
const OURS: RGBColor = RGBColor(46, 160, 67);
const OTHERS: RGBColor = RGBColor(84, 142, 214);
/// For lines, in the order of the results.
const LINES: [RGBColor; 4] = [RGBColor(150, 150, 150), OURS, OTHERS, RGBColor(214, 120, 40)];

type Drawn = Result<(), Box<dyn Error>>;

pub fn write(results: &Value, folder: &Path) {
    let growth = &results["growth"];
    let drawn = || -> Drawn {
        comparison(&results["compared"][0]["results"], &folder.join("comparison.svg"))?;
        let about = "one message in one process, µs";
        lines(
            &growth["descriptors"],
            "descriptors in a message",
            about,
            &folder.join("descriptors.svg"),
        )?;
        let about = "one descriptor from process to process, µs";
        lines(&growth["payload"], "bytes of payload", about, &folder.join("payload.svg"))?;
        lines(&growth["senders"], "threads that send", about, &folder.join("senders.svg"))
    };
    drawn().expect("plots");
}

fn all(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or(f64::NAN)
}

fn font(size: u32) -> TextStyle<'static> {
    TextStyle::from(("sans-serif", size)).color(&TEXT)
}

/// For each way a bar, as long as its time is above the floor. What is far above is cut.
fn comparison(results: &Value, file: &Path) -> Drawn {
    const CUT: f64 = 1.25;
    const BAR: i32 = 24;
    const LEFT: i32 = 190;
    const WIDTH: i32 = 460;
    let bars: Vec<&Value> = all(results).iter().skip(1).collect();
    let size = (720, (bars.len() as i32 * BAR + 70) as u32);
    let root = SVGBackend::new(file, size).into_drawing_area();
    let title =
        "Time of a round with one descriptor, as a multiple of the hand-written system calls";
    root.draw(&Text::new(title, (10, 10), font(15)))?;
    let place = |ratio: f64| LEFT + ((ratio - 1.0) / (CUT - 1.0) * WIDTH as f64) as i32;
    let (top, bottom) = (40, 40 + bars.len() as i32 * BAR);
    for tick in [1.0, 1.05, 1.1, 1.15, 1.2, 1.25] {
        let line = vec![(place(tick), top), (place(tick), bottom)];
        root.draw(&PathElement::new(line, TEXT.mix(0.35)))?;
        root.draw(&Text::new(format!("{tick:.2}"), (place(tick) - 12, bottom + 8), font(13)))?;
    }
    for (i, result) in bars.iter().enumerate() {
        let (name, ratio) = (result["name"].as_str().unwrap_or_default(), number(&result["ratio"]));
        let y = top + i as i32 * BAR;
        let color = match name {
            _ if name.starts_with(ways::FLOOR) => TEXT,
            _ if name.starts_with("libancillary") => OURS,
            _ => OTHERS,
        };
        // One that is level has a bar as well.
        let end = place(ratio.min(CUT)).max(place(1.0) + 2);
        root.draw(&Rectangle::new([(place(1.0), y + 4), (end, y + BAR - 4)], color.filled()))?;
        let more = if ratio > CUT { "… " } else { "" };
        root.draw(&Text::new(name.to_owned(), (10, y + 6), font(14)))?;
        root.draw(&Text::new(format!("{more}{ratio:.3}"), (end + 6, y + 6), font(13)))?;
    }
    root.present()?;
    Ok(())
}

/// For each way a line, over what grows.
fn lines(cases: &Value, what: &str, time: &str, file: &Path) -> Drawn {
    let cases = all(cases);
    let Some(first) = cases.first() else { return Ok(()) };
    // By the ratio, which is more exact than the time of each.
    let time_of = |case: &Value, way: usize| {
        let results = &case["results"];
        number(&results[0]["ns"]) * number(&results[way]["ratio"]) / 1000.0
    };
    let points =
        |way: usize| cases.iter().map(move |case| (number(&case["x"]), time_of(case, way)));
    let names = all(&first["results"]).iter().map(|result| result["name"].as_str());
    let shown: Vec<(usize, &str)> = names
        .enumerate()
        .filter_map(|(way, name)| Some((way, name?)))
        .filter(|(_, name)| *name != ways::AGAIN)
        .collect();
    let times = || shown.iter().flat_map(|(way, _)| points(*way)).map(|(_, y)| y);
    let (low, high) = (times().fold(f64::MAX, f64::min), times().fold(0.0, f64::max));
    let (first, last) = (number(&cases[0]["x"]), number(&cases[cases.len() - 1]["x"]));

    let root = SVGBackend::new(file, (720, 400)).into_drawing_area();
    let mut chart = ChartBuilder::on(&root)
        .margin(12)
        .margin_right(24)
        .x_label_area_size(44)
        .y_label_area_size(60)
        .build_cartesian_2d(
            (first..last).log_scale().base(2.0),
            // With room for the names above.
            (low.log2().floor().exp2()..high.log2().ceil().exp2() * 2.0).log_scale().base(2.0),
        )?;
    chart
        .configure_mesh()
        .axis_style(TEXT)
        .bold_line_style(TEXT.mix(0.35))
        .max_light_lines(0)
        .label_style(font(13))
        .axis_desc_style(font(14))
        .x_desc(what)
        .y_desc(time)
        .x_label_formatter(&|x| format!("{x}"))
        .y_label_formatter(&|y| format!("{y}"))
        .draw()?;
    for ((way, name), color) in shown.iter().zip(LINES) {
        // The floor is broad, so that it can be seen below a line that is level with it.
        let width = if *way == 0 { 6 } else { 2 };
        chart
            .draw_series(LineSeries::new(points(*way), color.stroke_width(width)))?
            .label(*name)
            .legend(move |(x, y)| {
                PathElement::new(vec![(x, y), (x + 24, y)], color.stroke_width(width))
            });
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .legend_area_size(32)
        .label_font(font(14))
        .draw()?;
    root.present()?;
    Ok(())
}
