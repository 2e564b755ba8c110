//! What stands in the documents: files to save, commands, what they print; and in the manual pages.

use super::source;
use std::fs;
use std::path::PathBuf;

/// The documents, which are in Markdown, by their path from the top.
pub fn documents() -> Vec<Document> {
    let mut found = Vec::new();
    for folder in ["", "c-examples", "docs", "tests"] {
        for entry in fs::read_dir(source().join(folder)).expect("a folder") {
            let file = entry.expect("an entry").path();
            if file.extension().is_some_and(|extension| extension == "md") {
                found.push(Document::read(file.strip_prefix(source()).unwrap().to_str().unwrap()));
            }
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    assert!(found.len() > 3);
    found
}

pub struct Document {
    pub name: String,
    pub text: String,
    pub blocks: Vec<Block>,
}

/// What stands between fences.
pub struct Block {
    pub language: String,
    pub text: String,
    /// Where to find it, for failures.
    pub place: String,
}

/// What a reader is to type, and what it prints, where the document says that. When a program is
/// left in the background, what follows in the block is typed into the same shell.
pub struct Step {
    pub command: String,
    pub output: Option<Vec<String>>,
    pub place: String,
}

impl Step {
    fn goes_on(&self) -> bool {
        self.command.lines().any(|line| line.ends_with('&'))
    }
}

impl Document {
    pub fn read(name: &str) -> Document {
        let text = fs::read_to_string(source().join(name)).expect(name);
        let mut blocks = Vec::new();
        let mut open: Option<Block> = None;
        let mut before = "";
        for (number, line) in text.lines().enumerate() {
            let place = format!("{name}, line {}", number + 1);
            match (&mut open, line.strip_prefix("```")) {
                (Some(_), Some("")) => blocks.extend(open.take()),
                (Some(block), _) => block.text += &format!("{line}\n"),
                (None, Some(language)) => {
                    let language = language.to_owned();
                    open = Some(Block { language, text: String::new(), place });
                }
                // Markdown knows more ways, which nothing here would look at.
                (None, None) => {
                    let code =
                        line.starts_with('\t') || before.is_empty() && line.starts_with("    ");
                    assert!(!code, "{place}: code that is not between fences");
                }
            }
            before = line;
        }
        assert!(open.is_none(), "{name}: a fence is missing");
        Document { name: name.to_owned(), text, blocks }
    }

    /// What stands between backquotes, and not between fences.
    pub fn quoted(&self) -> Vec<String> {
        self.prose().split('`').skip(1).step_by(2).map(|text| text.replace('\n', " ")).collect()
    }

    /// The text without what stands between fences.
    pub fn prose(&self) -> String {
        self.text.split("```").step_by(2).collect()
    }
}

impl Block {
    /// The name under which it is to be saved: the comment that it begins with says it.
    pub fn file(&self) -> Option<&str> {
        let start = match self.language.as_str() {
            "c" => "/* ",
            "python" | "cmake" | "meson" => "# ",
            _ => return None,
        };
        let comment = self.text.strip_prefix(start);
        let name = comment.and_then(|comment| comment.split_whitespace().next());
        assert!(
            name.is_some_and(|name| name.contains('.')),
            "{}: no comment that begins with the name of the file",
            self.place
        );
        name
    }

    /// The commands in it. In `sh` each line is one, in `console` each line behind a `$`, and the
    /// other lines are what it prints.
    pub fn steps(&self) -> Vec<Step> {
        let step = |command: &str, output| {
            // Comments are for the reader.
            let command = command.split(" #").next().expect("a text").trim().to_owned();
            assert!(!command.ends_with('\\'), "{}: a command has one line", self.place);
            Step { command, output, place: self.place.clone() }
        };
        let mut steps: Vec<Step> = Vec::new();
        for line in self.text.lines() {
            let new = match (self.language.as_str(), line.strip_prefix("$ ")) {
                ("sh", _) => step(line, None),
                ("console", Some(command)) => step(command, Some(Vec::new())),
                ("console", None) => {
                    let output = steps.last_mut().and_then(|step| step.output.as_mut());
                    output.expect("a command before what it prints").push(line.to_owned());
                    continue;
                }
                _ => return steps,
            };
            match steps.last_mut() {
                Some(last) if last.goes_on() => {
                    last.command += "\n";
                    last.command += &new.command;
                }
                _ => steps.push(new),
            }
        }
        steps
    }
}

/// The files of the manual pages.
pub fn manual() -> Vec<PathBuf> {
    let entries = fs::read_dir(source().join("man")).expect("the folder of the manual pages");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("a page").path()).collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

/// What stands in the literal displays of a manual page.
pub fn displays(page: &str) -> Vec<String> {
    let display = |rest: &str| {
        let (kind, text) = rest.split_once('\n').expect("a display");
        assert_eq!(kind, "-literal", "a display of another kind");
        plain(text.split(".Ed\n").next().expect("a text"))
    };
    page.split("\n.Bd ").skip(1).map(display).collect()
}

/// What stands in the literal lines of a manual page.
pub fn literal_lines(page: &str) -> Vec<String> {
    page.lines().filter_map(|line| line.strip_prefix(".Dl ")).map(plain).collect()
}

fn plain(mdoc: &str) -> String {
    mdoc.replace("\\e", "\\").replace("\\&", "")
}
