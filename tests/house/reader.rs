//! Reads Rust as far as it takes to know what a file uses: the modules and items it has, and the
//! paths in it.

use crate::lexer::{Kind, Token};
use std::collections::{BTreeMap, BTreeSet};

/// Words with `::` between them, as they stand there or as `use` has put them together.
pub type Path = Vec<String>;

/// What `use` makes known in a module.
#[derive(Clone, Debug)]
pub struct Import {
    pub path: Path,
    /// How it is called here; `*` is all that is there.
    pub name: String,
    pub public: bool,
    pub line: usize,
}

/// A path elsewhere, where it has two words or more.
#[derive(Clone, Debug)]
pub struct Mention {
    pub path: Path,
    pub line: usize,
}

/// A module: that of a file, or one inside of it.
#[derive(Default, Debug)]
pub struct Module {
    pub items: BTreeSet<String>,
    pub imports: Vec<Import>,
    pub mentions: Vec<Mention>,
    /// All words that stand alone, for what is made known and used here.
    pub words: BTreeSet<String>,
}

/// The modules of a file whose own module has this path.
pub fn modules(tokens: &[Token], path: &[String]) -> BTreeMap<Path, Module> {
    let mut reader = Reader { tokens, at: 0, found: BTreeMap::new() };
    reader.found.insert(path.to_vec(), Module::default());
    reader.module(path, false);
    reader.found
}

struct Reader<'a> {
    tokens: &'a [Token],
    at: usize,
    found: BTreeMap<Path, Module>,
}

impl Reader<'_> {
    fn text(&self, ahead: usize) -> &str {
        self.tokens.get(self.at + ahead).map_or("", |token| match token.kind {
            Kind::Value => "",
            _ => &token.text,
        })
    }

    fn is_word(&self, ahead: usize) -> bool {
        self.tokens.get(self.at + ahead).is_some_and(|token| token.kind == Kind::Word)
    }

    fn line(&self) -> usize {
        self.tokens.get(self.at).map_or(0, |token| token.line)
    }

    /// Reads to the end of a module, or of the file.
    fn module(&mut self, path: &[String], inside: bool) {
        let mut depth = 0;
        while self.at < self.tokens.len() {
            match self.text(0) {
                "}" if depth == 0 && inside => {
                    self.at += 1;
                    return;
                }
                "{" => depth += 1,
                "}" => depth -= 1,
                "use" => {
                    self.import(path);
                    continue;
                }
                "mod" if self.is_word(1) && self.text(2) == "{" => {
                    let name = self.text(1).to_owned();
                    self.item(path, name.clone());
                    let inner = [path, &[name]].concat();
                    self.found.entry(inner.clone()).or_default();
                    self.at += 3;
                    self.module(&inner, true);
                    continue;
                }
                "fn" | "struct" | "enum" | "union" | "const" | "static" | "type" | "trait"
                | "mod"
                    if depth == 0 =>
                {
                    if let Some(name) = self.defined() {
                        self.item(path, name);
                    }
                }
                "macro_rules" if depth == 0 => {
                    let name = self.text(2).to_owned();
                    self.item(path, name);
                }
                _ => {}
            }
            if self.is_word(0) || (self.text(0) == "::" && self.is_word(1)) {
                self.mention(path);
            } else {
                self.at += 1;
            }
        }
    }

    /// The name that is defined at a keyword, if one is: `const` and `static` may stand in front of
    /// another, `fn` and `union` may be something else.
    fn defined(&self) -> Option<String> {
        let place = if self.text(0) == "static" && self.text(1) == "mut" { 2 } else { 1 };
        const KEYWORDS: [&str; 4] = ["fn", "unsafe", "extern", "async"];
        let name = self.text(place);
        (self.is_word(place) && !KEYWORDS.contains(&name)).then(|| name.to_owned())
    }

    fn of(&mut self, path: &[String]) -> &mut Module {
        self.found.get_mut(path).expect("a module that is being read")
    }

    fn item(&mut self, path: &[String], name: String) {
        self.of(path).items.insert(name);
    }

    fn mention(&mut self, path: &[String]) {
        let line = self.line();
        if self.text(0) == "::" {
            self.at += 1;
        }
        let mut words = vec![self.text(0).to_owned()];
        self.at += 1;
        while self.text(0) == "::" && self.is_word(1) {
            words.push(self.text(1).to_owned());
            self.at += 2;
        }
        let module = self.of(path);
        match &words[..] {
            [word] => {
                module.words.insert(word.clone());
            }
            _ => module.mentions.push(Mention { path: words, line }),
        }
    }

    fn import(&mut self, path: &[String]) {
        // `pub use`, or `pub(crate) use` and the like.
        let before: Vec<&str> =
            self.tokens[..self.at].iter().rev().take(6).map(|token| &*token.text).collect();
        let public = match before[..] {
            ["pub", ..] => true,
            [")", ..] => before.contains(&"pub"),
            _ => false,
        };
        self.at += 1;
        if self.text(0) == "::" {
            self.at += 1;
        }
        let mut found = Vec::new();
        self.tree(&[], public, &mut found);
        self.at += 1;
        self.of(path).imports.extend(found);
    }

    /// A part of what `use` lists, behind a path; ends in front of what ends it.
    fn tree(&mut self, before: &[String], public: bool, found: &mut Vec<Import>) {
        let mut path = before.to_vec();
        let line = self.line();
        loop {
            match self.text(0) {
                "{" => {
                    self.at += 1;
                    while !matches!(self.text(0), "}" | "") {
                        self.tree(&path, public, found);
                        if self.text(0) == "," {
                            self.at += 1;
                        }
                    }
                    self.at += 1;
                    return;
                }
                "*" => {
                    self.at += 1;
                    found.push(Import { path, name: "*".to_owned(), public, line });
                    return;
                }
                "," | ";" | "}" | "" => return,
                word => {
                    // `self` stands for what is in front of the braces.
                    if word != "self" || path.is_empty() {
                        path.push(word.to_owned());
                    }
                    self.at += 1;
                }
            }
            if self.text(0) == "::" {
                self.at += 1;
                continue;
            }
            let mut name = path.last().cloned().unwrap_or_default();
            if self.text(0) == "as" {
                name = self.text(1).to_owned();
                self.at += 2;
            }
            found.push(Import { path, name, public, line });
            return;
        }
    }
}
