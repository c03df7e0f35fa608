//! A path with fields: `img_t{t}_z{z:03}_c{c:DAPI,FITC}.tif`.
//!
//! | in the path | stands for |
//! |---|---|
//! | `{t}`, `{z}` | a whole number |
//! | `{z:03}` | a whole number, filled with zeros to three digits |
//! | `{c}` | any text |
//! | `{c:DAPI,FITC}` | one of these, in this order on the axis |
//! | `*`, `?` | any text, any one letter: neither is an axis |
//!
//! A field may stand in the names of folders, and twice where a name repeats it.

use std::path::{Component, Path, PathBuf};

use super::axis_number;
use crate::Error;
use crate::error::{Fault, unsupported};

/// Letters of the fields, slowest axis first.
pub(crate) const AXES: [char; 3] = ['t', 'c', 'z'];

/// A path with fields.
#[derive(Debug)]
pub(crate) struct Pattern {
    pub(crate) path: PathBuf,
    /// The folders before the first field.
    pub(crate) root: PathBuf,
    /// The rest: names of folders, and of a file at the end.
    pub(crate) names: Vec<Vec<Token>>,
}

/// A part of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    Text(String),
    /// `*`
    AnyText,
    /// `?`
    AnyLetter,
    /// A place on an axis, by position in [`AXES`].
    Field(usize, Kind),
}

/// What a field stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A whole number of at least so many digits.
    Number(usize),
    /// One of these texts.
    Names(Vec<String>),
    /// Any text.
    Text,
}

impl Pattern {
    /// Reads a pattern.
    pub(crate) fn parse(path: &Path) -> Result<Self, Error> {
        let text = path.to_str().unwrap_or_default();
        let at = |fault: Fault| fault.at(path);
        let mut root = PathBuf::new();
        let mut names = Vec::new();
        for component in Path::new(text).components() {
            let plain = match component {
                Component::Normal(name) => name.to_str().filter(|name| has_field(name)),
                _ => None,
            };
            match (plain, component) {
                (Some(name), _) => names.push(tokens(name).map_err(at)?),
                (None, Component::Normal(name)) if !names.is_empty() => {
                    names.push(vec![Token::Text(name.to_string_lossy().into_owned())]);
                }
                (None, other) if names.is_empty() => root.push(other),
                (None, _) => {
                    unsupported("a pattern with .. after a field", "write the path without ..")
                        .map_err(at)?;
                }
            }
        }
        let pattern = Self { path: path.to_owned(), root, names };
        pattern.check().map_err(at)?;
        Ok(pattern)
    }

    /// Whether it has a field of an axis.
    pub(crate) fn has(&self, letter: char) -> bool {
        self.fields().any(|(axis, _)| axis == axis_number(letter))
    }

    /// All fields: axis and kind.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (usize, &Kind)> {
        self.names.iter().flatten().filter_map(|token| match token {
            Token::Field(axis, kind) => Some((*axis, kind)),
            _ => None,
        })
    }

    /// The list of an axis, where a field of it has one.
    pub(crate) fn list(&self, axis: usize) -> Option<&[String]> {
        self.fields().find_map(|(of, kind)| match kind {
            Kind::Names(names) if of == axis => Some(names.as_slice()),
            _ => None,
        })
    }

    /// Whether places on an axis are numbers by the pattern.
    pub(crate) fn is_number(&self, axis: usize) -> bool {
        self.fields().any(|(of, kind)| of == axis && matches!(kind, Kind::Number(_)))
    }

    /// The path of the file at texts on the axes.
    pub(crate) fn name_of(&self, texts: &[String; 3]) -> PathBuf {
        let mut path = self.root.clone();
        for name in &self.names {
            let part = |token: &Token| match token {
                Token::Text(text) => text.clone(),
                Token::AnyText => "*".to_owned(),
                Token::AnyLetter => "?".to_owned(),
                Token::Field(axis, Kind::Number(width)) => {
                    let digits = texts[*axis].trim_start_matches('0');
                    let digits = if digits.is_empty() { "0" } else { digits };
                    let own = texts[*axis].len();
                    let width = if *width == 0 { own } else { *width };
                    format!("{digits:0>width$}")
                }
                Token::Field(axis, _) => texts[*axis].clone(),
            };
            path.push(name.iter().map(part).collect::<String>());
        }
        path
    }

    fn check(&self) -> Result<(), Fault> {
        if self.fields().next().is_none() {
            return unsupported("a pattern without a field", WAY_OUT);
        }
        for (axis, letter) in AXES.into_iter().enumerate() {
            let list = self.list(axis);
            let differs = |(of, kind): (usize, &Kind)| match kind {
                Kind::Names(names) => of == axis && Some(names.as_slice()) != list,
                _ => false,
            };
            if self.fields().any(differs) {
                return unsupported(
                    format!("a pattern with two different lists for {{{letter}}}"),
                    "write the list once and only the letter at the other place",
                );
            }
        }
        Ok(())
    }
}

const WAY_OUT: &str = "write {z}, {c} or {t} where a name has its place on that axis, such as \
                       img_z{z:03}_c{c}.tif";

fn has_field(name: &str) -> bool {
    name.contains(['{', '}', '*', '?'])
}

fn tokens(name: &str) -> Result<Vec<Token>, Fault> {
    let mut tokens = Vec::new();
    let mut rest = name;
    while let Some(letter) = rest.chars().next() {
        let end = rest.find(['{', '}', '*', '?']).unwrap_or(rest.len());
        if end > 0 {
            tokens.push(Token::Text(rest[..end].to_owned()));
            rest = &rest[end..];
            continue;
        }
        rest = &rest[1..];
        match letter {
            '*' => tokens.push(Token::AnyText),
            '?' => tokens.push(Token::AnyLetter),
            '{' => match rest.split_once('}') {
                Some((inside, after)) => {
                    tokens.push(field(inside)?);
                    rest = after;
                }
                None => {
                    return unsupported(format!("a pattern with an open brace ({name})"), WAY_OUT);
                }
            },
            _ => return unsupported(format!("a pattern with a brace too many ({name})"), WAY_OUT),
        }
    }
    Ok(tokens)
}

/// The field inside braces.
fn field(inside: &str) -> Result<Token, Fault> {
    let (letter, rule) = inside.split_once(':').map_or((inside, None), |(l, r)| (l, Some(r)));
    let axis = AXES.iter().position(|axis| letter.chars().eq([*axis]));
    let refuse = || unsupported(format!("the field {{{inside}}} in a pattern"), WAY_OUT);
    let Some(axis) = axis else { return refuse() };
    let kind = match rule {
        None if AXES[axis] == 'c' => Kind::Text,
        None => Kind::Number(0),
        Some(rule) => match rule.strip_suffix('d').unwrap_or(rule).parse::<usize>() {
            Ok(width @ 1..=20) => Kind::Number(width),
            Ok(_) => return refuse(),
            Err(_) => {
                let names: Vec<String> = rule.split(',').map(|n| n.trim().to_owned()).collect();
                let twice = (1..names.len()).any(|index| names[..index].contains(&names[index]));
                if twice || names.iter().any(String::is_empty) {
                    return refuse();
                }
                Kind::Names(names)
            }
        },
    };
    Ok(Token::Field(axis, kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_every_kind() {
        let pattern = Pattern::parse(Path::new("a/b/Z_{z}/t{t:02d}_{c:DAPI, FITC}?*.tif")).unwrap();
        assert_eq!(pattern.root, Path::new("a/b"));
        let expected = [
            vec![Token::Text("Z_".into()), Token::Field(2, Kind::Number(0))],
            vec![
                Token::Text("t".into()),
                Token::Field(0, Kind::Number(2)),
                Token::Text("_".into()),
                Token::Field(1, Kind::Names(vec!["DAPI".into(), "FITC".into()])),
                Token::AnyLetter,
                Token::AnyText,
                Token::Text(".tif".into()),
            ],
        ];
        assert_eq!(pattern.names, expected);
        let texts = ["7".to_owned(), "FITC".to_owned(), "012".to_owned()];
        assert_eq!(pattern.name_of(&texts), Path::new("a/b/Z_012/t07_FITC?*.tif"));
    }

    #[test]
    fn unclear_patterns_are_refused() {
        for path in [
            "{x}.tif", "{z.tif", "z}.tif", "{}.tif", "{zz}", "{c:}", "{c:a,,b}", "{c:a,a}", "{z:0}",
        ] {
            let error = Pattern::parse(Path::new(path)).unwrap_err().to_string();
            assert!(error.contains("write {z}, {c} or {t}"), "{error}");
        }
        assert!(Pattern::parse(Path::new("{c:a,b}/{c:b,a}.tif")).is_err());
        assert!(Pattern::parse(Path::new("{c:a,b}/{c}.tif")).is_ok());
    }
}
