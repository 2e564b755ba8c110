//! Pictures as SVG, which look as `tools/pictures.css` says.

use std::fmt::{Display, Write};

/// The letters of a picture are about so wide, for who has to leave room for them.
pub const LETTER: f64 = 7.5;

pub struct Picture {
    size: (f64, f64),
    content: String,
}

impl Picture {
    /// The title is for who cannot see it.
    pub fn new(width: f64, height: f64, title: &str) -> Picture {
        let style = include_str!("../../tools/pictures.css");
        let content = format!(
            "<title>{}</title>\n<style>{style}</style>\n\
             <rect width=\"{width}\" height=\"{height}\" class=\"ground\"/>\n",
            escape(title)
        );
        Picture { size: (width, height), content }
    }

    fn element(&mut self, element: impl Display) {
        let _ = writeln!(self.content, "{element}");
    }

    /// `y` is where the letters stand.
    pub fn text(&mut self, x: f64, y: f64, kinds: &str, words: &str) {
        let words = escape(words);
        self.element(format_args!(r#"<text x="{x:.0}" y="{y:.0}" class="{kinds}">{words}</text>"#));
    }

    /// From the bottom to the top, in the middle of `y`.
    pub fn text_upwards(&mut self, x: f64, y: f64, kinds: &str, words: &str) {
        let words = escape(words);
        self.element(format_args!(
            r#"<text transform="translate({x:.0} {y:.0}) rotate(-90)" class="{kinds}">{words}</text>"#
        ));
    }

    pub fn path(&mut self, kinds: &str, points: impl IntoIterator<Item = (f64, f64)>) {
        let mut way = String::new();
        for (x, y) in points {
            let step = if way.is_empty() { 'M' } else { 'L' };
            let _ = write!(way, "{step}{x:.1},{y:.1}");
        }
        self.element(format_args!(r#"<path d="{way}" class="{kinds}"/>"#));
    }

    pub fn finish(self) -> String {
        let Picture { size: (width, height), content } = self;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
             width=\"{width}\" height=\"{height}\" role=\"img\">\n{content}</svg>\n"
        )
    }
}

fn escape(words: &str) -> String {
    words.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
