//! The pictures of the documents can be read, whether their reader likes light or dark: their text
//! stands out from what is behind it, and no line goes through it.

// The library builds with Rust 1.63; its tests may need a newer one.
#![allow(clippy::incompatible_msrv)]

mod common;

use common::source;
use std::fs;

/// The least contrast of text, and of what else has to be seen, that WCAG 2 asks for.
const TEXT: f64 = 4.5;
const SHAPE: f64 = 3.0;

/// How high letters are, and how wide: of a proportional font in the mean, and of any other.
const SIZE: f64 = 14.0;
const WIDTH: f64 = 0.5 * SIZE;
const CODE_WIDTH: f64 = 0.6 * SIZE;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Scheme {
    Light,
    Dark,
}

struct Rule {
    selector: String,
    property: String,
    value: String,
}

/// The rules of a style sheet that hold in a scheme, in their order.
fn rules(style: &str, scheme: Scheme) -> Vec<Rule> {
    let mut rules = Vec::new();
    let mut rest = style;
    let mut holds = true;
    while let Some(at) = rest.find(['{', '}']) {
        let head = rest[..at].rsplit("*/").next().unwrap_or_default().trim();
        let opens = rest[at..].starts_with('{');
        rest = &rest[at + 1..];
        match head {
            _ if !opens => holds = true,
            "@media (prefers-color-scheme: dark)" => holds = scheme == Scheme::Dark,
            _ => {
                let (body, after) = rest.split_once('}').expect("the end of a rule");
                rest = after;
                for selector in head.split(',').filter(|_| holds) {
                    for (property, value) in body.split(';').filter_map(|line| line.split_once(':'))
                    {
                        let [selector, property, value] =
                            [selector, property, value].map(|word| word.trim().to_owned());
                        rules.push(Rule { selector, property, value });
                    }
                }
            }
        }
    }
    rules
}

#[derive(Debug, Default)]
struct Element {
    tag: String,
    attributes: Vec<(String, String)>,
    /// What stands behind it until the next one.
    text: String,
}

impl Element {
    fn attribute(&self, name: &str) -> &str {
        let found = self.attributes.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value)
    }

    fn number(&self, name: &str) -> f64 {
        self.attribute(name).parse().unwrap_or(0.0)
    }

    /// A class wins over the name of the element, and a later rule over an earlier one.
    fn property<'a>(&self, name: &str, rules: &'a [Rule]) -> Option<&'a str> {
        let of = |rule: &&Rule| match rule.selector.strip_prefix('.') {
            Some(class) => self.attribute("class").split(' ').any(|one| one == class),
            None => self.tag == rule.selector,
        };
        let matching = rules.iter().filter(|rule| rule.property == name).filter(of);
        let strongest = matching.max_by_key(|rule| rule.selector.starts_with('.'));
        strongest.map(|rule| rule.value.as_str())
    }
}

/// The elements of a picture that this project draws: quotes around all values, no comments.
fn elements(picture: &str) -> Vec<Element> {
    let mut elements = Vec::new();
    for part in picture.split('<').skip(1).filter(|part| !part.starts_with('/')) {
        let (inside, text) = part.split_once('>').expect("the end of an element");
        let mut words = inside.trim_end_matches('/').split('"');
        let first = words.next().unwrap_or_default();
        let (tag, mut name) = first.split_once(' ').unwrap_or((first, ""));
        let mut element = Element { tag: tag.into(), text: text.into(), ..Element::default() };
        while let Some(value) = words.next() {
            element.attributes.push((name.trim().trim_end_matches('=').into(), value.into()));
            name = words.next().unwrap_or_default();
        }
        elements.push(element);
    }
    elements
}

type Colour = [f64; 3];

fn colour(value: &str) -> Colour {
    let hex = value.strip_prefix('#').unwrap_or_else(|| panic!("{value}: not a colour with #"));
    assert_eq!(hex.len(), 6, "{value}");
    [0, 2, 4].map(|at| f64::from(u8::from_str_radix(&hex[at..at + 2], 16).expect("hex")) / 255.0)
}

/// As WCAG 2 defines it, from 1 to 21.
fn contrast(one: Colour, other: Colour) -> f64 {
    let luminance = |colour: Colour| {
        let linear = colour.map(|part| match part {
            ..=0.04045 => part / 12.92,
            _ => ((part + 0.055) / 1.055).powf(2.4),
        });
        0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    };
    let (one, other) = (luminance(one), luminance(other));
    (one.max(other) + 0.05) / (one.min(other) + 0.05)
}

/// From left to right, and from top to bottom.
#[derive(Clone, Copy, Debug)]
struct Area {
    x: [f64; 2],
    y: [f64; 2],
}

impl Area {
    fn has(&self, (x, y): (f64, f64)) -> bool {
        (self.x[0]..=self.x[1]).contains(&x) && (self.y[0]..=self.y[1]).contains(&y)
    }

    fn has_all_of(&self, other: &Area) -> bool {
        [0, 1].iter().all(|i| self.has((other.x[*i], other.y[*i])))
    }

    fn middle(&self) -> (f64, f64) {
        ((self.x[0] + self.x[1]) / 2.0, (self.y[0] + self.y[1]) / 2.0)
    }
}

fn area_of_text(element: &Element, rules: &[Rule]) -> Area {
    let code = element.property("font-family", rules) == Some("monospace");
    let letters = element.text.chars().count() as f64;
    let width = letters * if code { CODE_WIDTH } else { WIDTH };
    let before = match element.property("text-anchor", rules) {
        Some("middle") => width / 2.0,
        Some("end") => width,
        _ => 0.0,
    };
    // Of what stands upright, as plots have it beside them.
    if let Some(way) = element.attribute("transform").strip_prefix("translate(") {
        let place = way.strip_suffix(") rotate(-90)").and_then(|place| place.split_once(' '));
        let (x, y) = place.expect("a known transformation");
        let (x, y): (f64, f64) = (x.parse().expect("x"), y.parse().expect("y"));
        return Area { x: [x - SIZE, x], y: [y + before - width, y + before] };
    }
    let (x, y) = (element.number("x") - before, element.number("y"));
    Area { x: [x, x + width], y: [y - SIZE, y] }
}

/// Points on a path, of which two that follow each other are near.
fn points(path: &str) -> Vec<(f64, f64)> {
    let mut all: Vec<(f64, f64)> = Vec::new();
    let spaced = path.replace(['M', 'L'], " L ").replace('C', " C ").replace(',', " ");
    let mut words = spaced.split_whitespace();
    while let Some(step) = words.next() {
        let mut point = || -> (f64, f64) {
            let mut number = || words.next().and_then(|word| word.parse().ok()).expect("a number");
            (number(), number())
        };
        let from = all.last().copied();
        let [one, other, to] = match step {
            "C" => [point(), point(), point()],
            "L" => [point(); 3],
            _ => panic!("{path}: {step}"),
        };
        let Some(from) = from else {
            all.push(to);
            continue;
        };
        let (one, other) = if step == "C" { (one, other) } else { (from, to) };
        for i in 1..=100 {
            let t = f64::from(i) / 100.0;
            let weigh = |p: fn((f64, f64)) -> f64| {
                let s = 1.0 - t;
                s * s * s * p(from)
                    + 3.0 * s * s * t * p(one)
                    + 3.0 * s * t * t * p(other)
                    + t * t * t * p(to)
            };
            all.push((weigh(|(x, _)| x), weigh(|(_, y)| y)));
        }
    }
    all
}

/// Or a bar; but not the tip of an arrow, which is drawn elsewhere.
fn is_line(element: &Element) -> bool {
    element.tag == "path" && !element.attribute("class").contains("tip")
}

/// What is wrong with a picture, in a scheme.
fn faults(picture: &str, scheme: Scheme) -> Vec<String> {
    let all = elements(picture);
    let Some(style) = all.iter().find(|element| element.tag == "style") else {
        return vec!["nothing says how it looks in the dark".into()];
    };
    let rules = rules(&style.text, scheme);
    let root = &all[0];
    let paint = |element: &Element, what: &str| {
        let value = element.property(what, &rules).filter(|value| *value != "none")?;
        let own = || element.property("color", &rules).or(root.property("color", &rules));
        let value = if value == "currentColor" { own().expect("a colour") } else { value };
        Some(colour(value))
    };
    let size = |name| root.number(name);
    let whole = Area { x: [0.0, size("width")], y: [0.0, size("height")] };

    let mut faults = Vec::new();
    let mut fault = |what: String| faults.push(format!("{scheme:?}: {what}"));
    let mut surfaces: Vec<(Area, Colour)> = Vec::new();
    let mut texts: Vec<(&str, Area)> = Vec::new();
    for element in &all {
        let below = |place| surfaces.iter().rev().find(|(area, _)| area.has(place)).copied();
        match element.tag.as_str() {
            "rect" => {
                let [x, y, width, height] =
                    ["x", "y", "width", "height"].map(|n| element.number(n));
                let area = Area { x: [x, x + width], y: [y, y + height] };
                if let Some(fill) = paint(element, "fill") {
                    surfaces.push((area, fill));
                }
            }
            "text" => {
                let text = element.text.as_str();
                let area = area_of_text(element, &rules);
                texts.push((text, area));
                let ink = paint(element, "fill");
                match (ink, below(area.middle())) {
                    (None, _) => fault(format!("{text:?} has no colour")),
                    (_, None) => fault(format!("nothing is behind {text:?}")),
                    (_, Some((surface, _))) if !surface.has_all_of(&area) => {
                        fault(format!("{text:?} is larger than what is behind it"));
                    }
                    (Some(ink), Some((_, behind))) if contrast(ink, behind) < TEXT => {
                        fault(format!("{text:?}: contrast of {:.1}", contrast(ink, behind)));
                    }
                    _ => {}
                }
            }
            "path" if is_line(element) => {
                let points = points(element.attribute("d"));
                let stroke = paint(element, "stroke");
                let grid = element.attribute("class") == "grid";
                let ink = stroke.or(paint(element, "fill")).expect("a colour");
                for place in points.iter().filter(|_| !grid) {
                    let Some((_, behind)) = below(*place) else {
                        fault(format!("nothing is behind a line at {place:?}"));
                        break;
                    };
                    if contrast(ink, behind) < SHAPE {
                        let is = contrast(ink, behind);
                        fault(format!("a line at {place:?}: contrast of {is:.1}"));
                        break;
                    }
                }
            }
            _ => {}
        }
    }
    for (text, area) in &texts {
        if !whole.has_all_of(area) {
            fault(format!("{text:?} is not all in the picture"));
        }
        for path in all.iter().filter(|element| is_line(element)) {
            let way = path.attribute("d");
            if points(way).iter().any(|at| area.has(*at)) {
                fault(format!("a line goes through {text:?}: {way}"));
            }
        }
    }
    faults
}

#[test]
fn they_can_be_read() {
    let mut seen = 0;
    for entry in fs::read_dir(source().join("docs")).expect("docs") {
        let path = entry.expect("a file").path();
        if path.extension().is_none_or(|extension| extension != "svg") {
            continue;
        }
        seen += 1;
        let picture = fs::read_to_string(&path).expect("text");
        for scheme in [Scheme::Light, Scheme::Dark] {
            let faults = faults(&picture, scheme);
            assert!(faults.is_empty(), "{}:\n{}", path.display(), faults.join("\n"));
        }
    }
    assert!(seen >= 5, "{seen} pictures");
}

#[test]
fn what_cannot_be_read_is_found() {
    let good = fs::read_to_string(source().join("docs/passing.svg")).expect("the picture");
    let cases = [
        (Scheme::Dark, "svg { color: #e6edf3; }", "", "contrast"),
        (Scheme::Light, "svg { color: #1f2328; }", "svg { color: #8c959f; }", "contrast"),
        (Scheme::Light, ".blue { color: #0a5dc2; }", ".blue { color: #9ecbff; }", "a line at"),
        (Scheme::Dark, "class=\"ground\"", "class=\"none\"", "nothing is behind"),
        (Scheme::Light, "L336,78", "L336,40", "goes through"),
        (Scheme::Light, ">server<", ">server of all that there is<", "larger"),
        (Scheme::Light, "<text x=\"10\"", "<text x=\"400\"", "not all in the picture"),
    ];
    for (scheme, from, to, fault) in cases {
        assert!(good.contains(from), "{from}");
        let faults = faults(&good.replace(from, to), scheme);
        assert!(faults.iter().any(|found| found.contains(fault)), "{from}: {faults:?}");
    }
}
