//! Tokenises an author's statement just far enough: its words, names and parameters, apart from
//! quoted text and comments.
//!
//! Used by the engines' `sql.rs`, which decide what a statement may do. Not a parser. Their
//! checks guard against mistakes, not attacks: the author's program has the password anyway.

/// How a server writes what is quoted and what is a comment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// `"name"`, `$tag$text$tag$`, nested `/* */`, backslashes in `E'…'` alone.
    #[cfg(feature = "postgres")]
    Postgres,
    /// `` `name` ``, `"text"`, `#` comments, backslashes in every text. To a server
    /// whose SQL mode has neither ANSI_QUOTES nor NO_BACKSLASH_ESCAPES.
    #[cfg(feature = "mysql")]
    MySql,
}

/// A piece of a statement. All of them one after another are the statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token<'a> {
    /// A keyword or a name.
    Word(&'a str),
    /// A name in quotes, which belong to it.
    Quoted(&'a str),
    /// `?` and the digits after it, if any.
    Parameter(&'a str),
    /// A comment that the server executes: `/*! … */`.
    #[cfg(feature = "mysql")]
    Executed(&'a str),
    /// Anything else.
    Other(&'a str),
}

/// What a statement is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// Written by the author, for a turn.
    Turn,
    /// Asked by the author.
    Question,
    /// This crate's own.
    Ours,
}

/// The pieces of a statement, in order.
pub(crate) struct Tokens<'a> {
    dialect: Dialect,
    rest: &'a str,
}

impl<'a> Tokens<'a> {
    pub(crate) fn of(sql: &'a str, dialect: Dialect) -> Self {
        Tokens { dialect, rest: sql }
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        let rest = self.rest;
        let c = rest.chars().next()?;
        let (length, kind): (usize, fn(&'a str) -> Token<'a>) = match c {
            '?' => (1 + digits(&rest[1..]), Token::Parameter),
            c if c.is_alphabetic() || c == '_' => (word(rest), Token::Word),
            c if c.is_ascii_digit() => (word(rest), Token::Other),
            _ => match self.dialect {
                #[cfg(feature = "postgres")]
                Dialect::Postgres => match c {
                    '\'' => (quoted(rest, '\''), Token::Other),
                    '"' => (quoted(rest, '"'), Token::Quoted),
                    '-' if rest.starts_with("--") => (line(rest), Token::Other),
                    '/' if rest.starts_with("/*") => (nested_comment(rest), Token::Other),
                    '$' => (dollar_quoted(rest).unwrap_or(1), Token::Other),
                    c => (c.len_utf8(), Token::Other),
                },
                #[cfg(feature = "mysql")]
                Dialect::MySql => match c {
                    '\'' | '"' => (escaped(rest, c), Token::Other),
                    '`' => (quoted(rest, '`'), Token::Quoted),
                    '#' => (line(rest), Token::Other),
                    '-' if is_dash_comment(rest) => (line(rest), Token::Other),
                    '/' if rest.starts_with("/*!") || rest.starts_with("/*M!") => {
                        (comment(rest), Token::Executed)
                    }
                    '/' if rest.starts_with("/*") => (comment(rest), Token::Other),
                    c => (c.len_utf8(), Token::Other),
                },
            },
        };
        let (piece, rest) = rest.split_at(length);
        self.rest = rest;
        Some(kind(piece))
    }
}

impl Token<'_> {
    /// Whether it names a table of ours, or another thing that would be called so.
    pub(crate) fn is_ours(&self) -> bool {
        const OURS: &str = "turnkey_";
        let name = match self {
            Token::Word(name) => name,
            Token::Quoted(name) => &name[1..],
            _ => return false,
        };
        name.get(..OURS.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(OURS))
    }
}

fn digits(text: &str) -> usize {
    text.find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len())
}

/// Bytes of the name or number at the start.
fn word(text: &str) -> usize {
    text.find(|c: char| !c.is_alphanumeric() && c != '_' && c != '$')
        .unwrap_or(text.len())
}

/// Bytes of the rest of the line.
fn line(text: &str) -> usize {
    text.find('\n').map_or(text.len(), |n| n + 1)
}

/// Bytes of the quoted text at the start. A doubled quote ends one and starts the
/// next, which comes to the same.
fn quoted(text: &str, quote: char) -> usize {
    text[1..].find(quote).map_or(text.len(), |n| n + 2)
}

/// The same, where a backslash takes what follows it.
#[cfg(feature = "mysql")]
fn escaped(text: &str, quote: char) -> usize {
    let mut taken = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if taken => taken = false,
            '\\' => taken = true,
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// `--` is a comment before a space, a control character or the end.
#[cfg(feature = "mysql")]
fn is_dash_comment(text: &str) -> bool {
    text.strip_prefix("--").is_some_and(|after| {
        after
            .chars()
            .next()
            .is_none_or(|c| c == ' ' || c.is_control())
    })
}

/// Bytes of the comment at the start; it ends at the first `*/`.
#[cfg(feature = "mysql")]
fn comment(text: &str) -> usize {
    text[2..].find("*/").map_or(text.len(), |n| n + 4)
}

/// The same, where they nest.
#[cfg(feature = "postgres")]
fn nested_comment(text: &str) -> usize {
    let mut depth = 0_u32;
    let mut at = 0;
    while at < text.len() {
        if text[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if text[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

/// Bytes of `$$…$$` or `$tag$…$tag$` at the start, if it is one.
#[cfg(feature = "postgres")]
fn dollar_quoted(text: &str) -> Option<usize> {
    let end = text[1..].find('$')? + 2;
    let tag = &text[..end];
    let inner = &tag[1..end - 1];
    if inner.starts_with(|c: char| c.is_ascii_digit())
        || !inner.chars().all(|c| c.is_alphanumeric() || c == '_')
    {
        return None;
    }
    Some(
        text[end..]
            .find(tag)
            .map_or(text.len(), |n| end + n + tag.len()),
    )
}
