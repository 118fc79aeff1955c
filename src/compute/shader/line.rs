//! The line directives of shader files.

/// A line of a shader file.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Line<'a> {
    /// WGSL.
    Text,
    /// `//#include NAME`.
    Include(&'a str),
    /// `//#if SWITCH`.
    If(&'a str),
    /// `//#else`.
    Else,
    /// `//#endif`.
    EndIf,
    /// Another directive.
    Unknown(&'a str),
}

impl<'a> Line<'a> {
    /// Reads `line`.
    pub fn of(line: &'a str) -> Self {
        let Some(directive) = line.trim_start().strip_prefix("//#") else { return Self::Text };
        let (word, rest) = directive.split_once(' ').unwrap_or((directive, ""));
        match (word.trim_end(), rest.trim()) {
            ("include", name) => Self::Include(name),
            ("if", switch) => Self::If(switch),
            ("else", _) => Self::Else,
            ("endif", _) => Self::EndIf,
            (other, _) => Self::Unknown(other),
        }
    }
}

/// The pieces that `text` includes, each with its line number.
///
/// # Errors
/// The line of the first unbalanced or unknown directive.
pub fn includes(text: &str) -> Result<Vec<(usize, &str)>, String> {
    let mut includes = Vec::new();
    // The line of each open #if, and whether its #else has come.
    let mut open: Vec<(usize, bool)> = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let wrong = |what: &str| Err(format!("line {number}: {what}"));
        match Line::of(line) {
            Line::Text => {}
            Line::Include("") => return wrong("//#include without a name"),
            Line::Include(name) => includes.push((number, name)),
            Line::If("") => return wrong("//#if without a switch"),
            Line::If(_) => open.push((number, false)),
            Line::Else => match open.last_mut() {
                None => return wrong("//#else without //#if"),
                Some((_, true)) => return wrong("a second //#else"),
                Some((_, seen)) => *seen = true,
            },
            Line::EndIf if open.pop().is_none() => return wrong("//#endif without //#if"),
            Line::EndIf => {}
            Line::Unknown(word) => return wrong(&format!("unknown directive //#{word}")),
        }
    }
    match open.pop() {
        None => Ok(includes),
        Some((number, _)) => Err(format!("line {number}: //#if without //#endif")),
    }
}

#[cfg(test)]
mod tests {
    use crate::compute::shader::line::*;

    #[test]
    fn directives_are_read_and_their_balance_is_checked() {
        let good =
            "a\n//#if X\n//#include half\n  //#if Y\n//#else\n//#endif\n//#else\n//#include clip\n//#endif\n";
        assert_eq!(includes(good), Ok(vec![(3, "half"), (8, "clip")]));
        for (text, message) in [
            ("//#else", "line 1: //#else without //#if"),
            ("a\n//#endif", "line 2: //#endif without //#if"),
            ("//#if X\n//#else\n//#else\n//#endif", "line 3: a second //#else"),
            ("//#if X\n//#if Y\n//#endif\n", "line 1: //#if without //#endif"),
            ("\n\n//#elif X", "line 3: unknown directive //#elif"),
            ("//#if", "line 1: //#if without a switch"),
            ("//#include ", "line 1: //#include without a name"),
        ] {
            assert_eq!(includes(text), Err(message.to_owned()), "{text}");
        }
    }
}
