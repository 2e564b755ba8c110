//! The files of the sources, their modules, and who uses whom.

use crate::lexer::{self, Token};
use crate::reader::{self, Mention, Module, Path};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

pub struct File {
    /// Below the folder of the sources.
    pub name: String,
    pub module: Path,
    pub text: String,
    pub tokens: Vec<Token>,
}

pub struct House {
    pub files: Vec<File>,
    pub modules: BTreeMap<Path, Module>,
    /// The file of each module.
    pub homes: BTreeMap<Path, usize>,
}

/// That one file uses another, and where it says so.
pub struct Edge {
    pub from: usize,
    pub to: usize,
    pub line: usize,
    /// It names the module alone, not what is in it.
    pub names_only: bool,
}

/// What a path leads to.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    Module(Path),
    /// Something in a module.
    Item(Path),
    /// Another crate, with the path in it.
    Crate(Path),
    /// Nothing beyond the module it stands in.
    Here,
}

pub struct Found {
    pub target: Target,
    /// The module that the path names, which may have it from another.
    asked: Option<Path>,
}

impl From<Target> for Found {
    fn from(target: Target) -> Found {
        Found { target, asked: None }
    }
}

fn below(module: &[String], name: &str) -> Path {
    [module, &[name.to_owned()]].concat()
}

fn module_of(name: &str) -> Path {
    let name = name.trim_end_matches(".rs");
    let mut path: Path = name.split('/').map(str::to_owned).collect();
    if path.last().is_some_and(|last| last == "mod") || path == ["lib"] {
        path.pop();
    }
    path
}

impl House {
    /// The house in a folder.
    pub fn in_folder(folder: &std::path::Path) -> House {
        let mut texts = Vec::new();
        collect(folder, "", &mut texts);
        House::of(texts)
    }

    /// The house of these files, each with its name and text.
    pub fn of(mut texts: Vec<(String, String)>) -> House {
        texts.sort();
        let (mut files, mut modules, mut homes) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
        for (name, text) in texts {
            let (tokens, module) = (lexer::tokens(&text), module_of(&name));
            for (path, found) in reader::modules(&tokens, &module) {
                homes.insert(path.clone(), files.len());
                modules.insert(path, found);
            }
            files.push(File { name, module, text, tokens });
        }
        House { files, modules, homes }
    }

    /// The other modules that a file uses something of, in order.
    pub fn used_by(&self, file: &File) -> BTreeSet<String> {
        let own = self.homes[&file.module];
        let uses = self.edges().into_iter().filter(|edge| edge.from == own && !edge.names_only);
        uses.map(|edge| self.files[edge.to].module.join("::")).collect()
    }

    // ---- What a path leads to --------------------------------------------------------------

    pub fn edges(&self) -> Vec<Edge> {
        let mut found = Vec::new();
        for (path, module) in &self.modules {
            let mut add = |Found { target, asked }: Found, line, names_only| {
                let (to, names_only) = match (&target, &asked) {
                    (Target::Module(path), _) => (path, true),
                    (Target::Item(path), _) => (path, names_only),
                    // What a module has from another crate, it gives itself.
                    (Target::Crate(_), Some(asked)) => (asked, names_only),
                    _ => return,
                };
                // Who passes something on is named as well.
                let all = [(to, names_only), (asked.as_ref().unwrap_or(to), true)];
                for (to, names_only) in all {
                    let (from, to) = (self.homes[path], self.homes[to]);
                    if from != to {
                        found.push(Edge { from, to, line, names_only });
                    }
                }
            };
            for import in &module.imports {
                let mut what = self.resolve(path, &import.path, &mut Vec::new());
                // What is only passed on is used by those who use it.
                let passed_on = import.public && !module.words.contains(&import.name);
                if let (Target::Module(all), "*", false) = (&what.target, &*import.name, passed_on)
                {
                    what.target = Target::Item(all.clone());
                }
                add(what, import.line, passed_on);
            }
            for Mention { path: words, line } in &module.mentions {
                add(self.resolve(path, words, &mut Vec::new()), *line, false);
            }
        }
        found
    }

    /// What a path in a module leads to. `looking` are the names that are being looked for already.
    pub fn resolve(&self, from: &[String], path: &[String], looking: &mut Vec<Path>) -> Found {
        let Some(first) = path.first() else {
            return Target::Module(from.to_vec()).into();
        };
        match &**first {
            "crate" => self.walk(&[], &path[1..], looking),
            "self" => self.walk(from, &path[1..], looking),
            "super" => {
                let parent = from.split_last().map(|(_, parent)| parent).unwrap_or_default();
                match path.get(1) {
                    Some(next) if next == "super" => self.resolve(parent, &path[1..], looking),
                    _ => self.walk(parent, &path[1..], looking),
                }
            }
            _ => self.resolve_name(from, path, looking),
        }
    }

    fn resolve_name(&self, from: &[String], path: &[String], looking: &mut Vec<Path>) -> Found {
        const CRATES: [&str; 4] = ["alloc", "core", "libc", "std"];
        let first = &path[0];
        let module = &self.modules[from];
        let import = module.imports.iter().find(|import| import.name == *first);
        if let Some(import) = import.filter(|import| import.path != [first.clone()]) {
            let whole = [&import.path, &path[1..]].concat();
            return self.once(from, first, looking, |looking| self.resolve(from, &whole, looking));
        }
        if self.modules.contains_key(&below(from, first)) {
            return self.walk(from, path, looking);
        }
        if CRATES.contains(&&**first) {
            return Target::Crate(path.to_vec()).into();
        }
        Target::Here.into()
    }

    /// Looks for a name in a module, unless that is being done already.
    fn once(
        &self,
        module: &[String],
        name: &str,
        looking: &mut Vec<Path>,
        look: impl FnOnce(&mut Vec<Path>) -> Found,
    ) -> Found {
        let question = below(module, name);
        if looking.contains(&question) {
            return Target::Here.into();
        }
        looking.push(question);
        let found = look(looking);
        looking.pop();
        found
    }

    /// Goes down from a module.
    fn walk(&self, from: &[String], path: &[String], looking: &mut Vec<Path>) -> Found {
        let mut at = from.to_vec();
        for (i, word) in path.iter().enumerate() {
            let next = below(&at, word);
            if self.modules.contains_key(&next) {
                at = next;
                continue;
            }
            let target = self.find(&at, word, &path[i + 1..], looking);
            let target = target.unwrap_or_else(|| Target::Item(at.clone()));
            return Found { target, asked: Some(at) };
        }
        Target::Module(at).into()
    }

    /// Where an item of a module comes from: from itself, or from whom it passes on.
    fn find(
        &self,
        at: &[String],
        name: &str,
        rest: &[String],
        looking: &mut Vec<Path>,
    ) -> Option<Target> {
        let module = self.modules.get(at)?;
        if module.items.contains(name) {
            return Some(Target::Item(at.to_vec()));
        }
        for import in &module.imports {
            let mut whole = import.path.clone();
            if import.name == "*" {
                whole.push(name.to_owned());
            } else if import.name != name {
                continue;
            }
            whole.extend_from_slice(rest);
            let found = self.once(at, name, looking, |looking| self.resolve(at, &whole, looking));
            let is_there = match &found.target {
                Target::Item(path) => import.name != "*" || self.has(path, name),
                Target::Here => false,
                _ => true,
            };
            if is_there {
                return Some(found.target);
            }
        }
        None
    }

    fn has(&self, module: &[String], name: &str) -> bool {
        self.modules.get(module).is_some_and(|module| module.items.contains(name))
    }
}

fn collect(folder: &std::path::Path, below: &str, texts: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).expect("a folder of sources") {
        let entry = entry.expect("an entry");
        let name = format!("{below}{}", entry.file_name().to_string_lossy());
        if entry.file_type().expect("its type").is_dir() {
            collect(&entry.path(), &format!("{name}/"), texts);
        } else {
            texts.push((name, fs::read_to_string(entry.path()).expect("a text")));
        }
    }
}
