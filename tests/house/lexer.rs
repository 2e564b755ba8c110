//! The words and signs of Rust.

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Word,
    Sign,
    /// A string, a character, a number, a lifetime: nothing that could name anything.
    Value,
}

#[derive(Clone, Debug)]
pub struct Token {
    pub kind: Kind,
    pub text: String,
    pub line: usize,
}

impl Token {
    pub fn is(&self, text: &str) -> bool {
        self.kind != Kind::Value && self.text == text
    }
}

/// Takes a text apart, without its comments. `::` is one sign.
pub fn tokens(text: &str) -> Vec<Token> {
    let mut lexer = Lexer { text: text.chars().collect(), at: 0, line: 1, found: Vec::new() };
    while lexer.at < lexer.text.len() {
        lexer.next();
    }
    lexer.found
}

struct Lexer {
    text: Vec<char>,
    at: usize,
    line: usize,
    found: Vec<Token>,
}

impl Lexer {
    fn peek(&self, ahead: usize) -> char {
        self.text.get(self.at + ahead).copied().unwrap_or('\0')
    }

    fn starts(&self, with: &str) -> bool {
        with.chars().enumerate().all(|(i, c)| self.peek(i) == c)
    }

    fn skip(&mut self, count: usize) {
        for _ in 0..count {
            self.line += usize::from(self.peek(0) == '\n');
            self.at += 1;
        }
    }

    fn push(&mut self, kind: Kind, from: usize, line: usize) {
        let text = self.text[from..self.at.min(self.text.len())].iter().collect();
        self.found.push(Token { kind, text, line });
    }

    fn next(&mut self) {
        let (from, line) = (self.at, self.line);
        let c = self.peek(0);
        if c.is_whitespace() {
            self.skip(1);
        } else if self.starts("//") {
            while self.at < self.text.len() && self.peek(0) != '\n' {
                self.skip(1);
            }
        } else if self.starts("/*") {
            self.comment();
        } else if self.is_string() {
            self.string();
            self.push(Kind::Value, from, line);
        } else if c == '\'' {
            self.quote();
            self.push(Kind::Value, from, line);
        } else if c.is_alphabetic() || c == '_' {
            // A raw identifier is the same without its beginning.
            let from = if self.starts("r#") { from + 2 } else { from };
            self.skip(from - self.at);
            self.word();
            self.push(Kind::Word, from, line);
        } else if c.is_ascii_digit() {
            self.word();
            self.push(Kind::Value, from, line);
        } else {
            self.skip(if self.starts("::") { 2 } else { 1 });
            self.push(Kind::Sign, from, line);
        }
    }

    fn word(&mut self) {
        while self.peek(0).is_alphanumeric() || self.peek(0) == '_' {
            self.skip(1);
        }
    }

    fn comment(&mut self) {
        let mut depth = 0;
        while self.at < self.text.len() {
            if self.starts("/*") {
                depth += 1;
                self.skip(2);
            } else if self.starts("*/") {
                depth -= 1;
                self.skip(2);
            } else {
                self.skip(1);
            }
            if depth == 0 {
                return;
            }
        }
    }

    /// How many letters stand in front of a string, if one begins here: b, c, r and two of them.
    fn prefix(&self) -> usize {
        (0..2).take_while(|i| matches!(self.peek(*i), 'b' | 'c' | 'r')).count()
    }

    fn is_string(&self) -> bool {
        let prefix = self.prefix();
        let mut hashes = 0;
        while self.peek(prefix + hashes) == '#' {
            hashes += 1;
        }
        let raw = prefix > 0 && self.peek(prefix - 1) == 'r';
        self.peek(prefix + hashes) == '"' && (raw || hashes == 0)
    }

    fn string(&mut self) {
        let prefix = self.prefix();
        let raw = prefix > 0 && self.peek(prefix - 1) == 'r';
        self.skip(prefix);
        let mut end = "\"".to_owned();
        while self.peek(0) == '#' {
            end.push('#');
            self.skip(1);
        }
        self.skip(1);
        while self.at < self.text.len() && !self.starts(&end) {
            self.skip(if !raw && self.peek(0) == '\\' { 2 } else { 1 });
        }
        self.skip(end.len());
    }

    /// A character, or a lifetime, which has no quote behind it.
    fn quote(&mut self) {
        self.skip(1);
        if self.peek(0) == '\\' {
            self.skip(2);
        } else if self.peek(1) == '\'' {
            self.skip(1);
        } else {
            return self.word();
        }
        while self.at < self.text.len() && self.peek(0) != '\'' {
            self.skip(1);
        }
        self.skip(1);
    }
}
