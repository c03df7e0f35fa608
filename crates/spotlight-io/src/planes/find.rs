//! The files that fit a pattern, and the places on the axes that their names give.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::axis_number;
use super::pattern::{AXES, Kind, Pattern, Token};
use crate::Error;
use crate::error::{Fault, malformed};

/// A file that fits.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) path: PathBuf,
    /// What stands in its name for every axis.
    pub(crate) texts: Texts,
}

/// A text for every axis that has a field.
type Texts = [Option<String>; 3];

/// Most files that a pattern may fit.
const MOST_FILES: usize = 1_000_000;

/// Most steps of comparing one name: far more than sane patterns take.
const MOST_STEPS: usize = 100_000;

/// All files that fit, in the order of their names.
pub(crate) fn files(pattern: &Pattern) -> Result<Vec<Found>, Error> {
    let mut found = vec![Found { path: pattern.root.clone(), texts: Texts::default() }];
    for (depth, name) in pattern.names.iter().enumerate() {
        let last = depth + 1 == pattern.names.len();
        let mut next = Vec::new();
        for folder in &found {
            list(pattern, folder, name, last, &mut next)?;
        }
        found = next;
    }
    if found.is_empty() {
        let what = "no file fits the pattern; check the spelling of the names and the number of \
                    digits"
            .to_owned();
        return Err(Error::Format { path: pattern.path.clone(), what });
    }
    Ok(found)
}

/// Adds what in a folder fits a name.
fn list(
    pattern: &Pattern,
    folder: &Found,
    name: &[Token],
    last: bool,
    into: &mut Vec<Found>,
) -> Result<(), Error> {
    let wanted = |path: &Path| if last { path.is_file() } else { path.is_dir() };
    if let [Token::Text(text)] = name {
        let path = folder.path.join(text);
        if wanted(&path) {
            into.push(Found { path, texts: folder.texts.clone() });
        }
        return Ok(());
    }
    // The folder of a pattern without one is the current one.
    let here = folder.path.as_os_str().is_empty();
    let shown = if here { Path::new(".") } else { folder.path.as_path() };
    let unreadable = |source| Error::read(shown, source);
    let mut names = Vec::new();
    for entry in std::fs::read_dir(shown).map_err(unreadable)? {
        names.extend(entry.map_err(unreadable)?.file_name().into_string());
    }
    names.sort();
    for own in names {
        let mut steps = 0;
        let Some(texts) = fit(name, &own, folder.texts.clone(), &mut steps) else {
            if steps >= MOST_STEPS {
                let what = format!("its fields and stars fit {own} in too many ways; use fewer");
                return Err(Error::Limit { path: pattern.path.clone(), what });
            }
            continue;
        };
        let path = folder.path.join(own);
        if wanted(&path) {
            into.push(Found { path, texts });
        }
        if into.len() > MOST_FILES {
            let what = format!("more than {MOST_FILES} files fit the pattern");
            return Err(Error::Limit { path: pattern.path.clone(), what });
        }
    }
    Ok(())
}

/// The texts of a name that fits, together with those that are known already.
fn fit(tokens: &[Token], name: &str, texts: Texts, steps: &mut usize) -> Option<Texts> {
    *steps += 1;
    if *steps >= MOST_STEPS {
        return None;
    }
    let Some((token, rest)) = tokens.split_first() else {
        return name.is_empty().then_some(texts);
    };
    let ends = || name.char_indices().map(|(at, letter)| at + letter.len_utf8());
    match token {
        Token::Text(text) => fit(rest, name.strip_prefix(text.as_str())?, texts, steps),
        Token::AnyLetter => fit(rest, &name[ends().next()?..], texts, steps),
        Token::AnyText => std::iter::once(0)
            .chain(ends())
            .find_map(|end| fit(rest, &name[end..], texts.clone(), steps)),
        Token::Field(axis, kind) => {
            let ends: Vec<usize> = match kind {
                Kind::Text => ends().collect(),
                Kind::Number(width) => {
                    let digits = name.bytes().take_while(u8::is_ascii_digit).count();
                    let fits = |end: &usize| end == width || !name.starts_with('0') || *width == 0;
                    ((*width).max(1)..=digits).rev().filter(fits).collect()
                }
                Kind::Names(names) => {
                    let mut ends: Vec<usize> = names
                        .iter()
                        .filter(|own| name.starts_with(own.as_str()))
                        .map(String::len)
                        .collect();
                    ends.sort_unstable_by(|a, b| b.cmp(a));
                    ends
                }
            };
            ends.into_iter().find_map(|end| {
                let (own, after) = name.split_at(end);
                let mut texts = texts.clone();
                match &texts[*axis] {
                    Some(known) if !same(known, own) => return None,
                    Some(_) => {}
                    None => texts[*axis] = Some(own.to_owned()),
                }
                fit(rest, after, texts, steps)
            })
        }
    }
}

/// Whether two texts are the same place: equal, or equal as numbers.
fn same(one: &str, other: &str) -> bool {
    one == other || number(one).is_some_and(|value| number(other) == Some(value))
}

/// A text of digits as a number.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

/// The places on every axis, in order.
#[derive(Debug)]
pub(crate) struct Places {
    axes: [Line; 3],
}

/// The places on one axis.
#[derive(Debug)]
enum Line {
    /// The axis has no field.
    None,
    /// Numbers from the first to the last, and the digits that they are written with.
    Numbers {
        first: u64,
        count: usize,
        digits: usize,
    },
    Names(Vec<String>),
}

impl Places {
    /// The places that the names of files give.
    pub(crate) fn of(pattern: &Pattern, found: &[Found]) -> Result<Self, Fault> {
        let axis = |axis: usize| {
            if let Some(list) = pattern.list(axis) {
                return Ok(Line::Names(list.to_vec()));
            }
            let texts: BTreeSet<&str> =
                found.iter().filter_map(|file| file.texts[axis].as_deref()).collect();
            let numbers: Option<BTreeMap<u64, &str>> =
                texts.iter().map(|text| Some((number(text)?, *text))).collect();
            match numbers {
                _ if texts.is_empty() => Ok(Line::None),
                Some(numbers) => numbered(axis, &numbers, pattern, &texts),
                None if pattern.is_number(axis) => {
                    malformed(format!("a number for {} is too large", AXES[axis]))
                }
                None => Ok(Line::Names(texts.iter().map(|text| (*text).to_owned()).collect())),
            }
        };
        Ok(Self { axes: [axis(0)?, axis(1)?, axis(2)?] })
    }

    /// Number of places along (t, c, z).
    pub(crate) fn lengths(&self) -> [usize; 3] {
        [0, 1, 2].map(|axis| match &self.axes[axis] {
            Line::None => 1,
            Line::Numbers { count, .. } => *count,
            Line::Names(names) => names.len(),
        })
    }

    /// The place of a file; none where its text is not in the list of an axis.
    pub(crate) fn place_of(&self, file: &Found) -> Option<[usize; 3]> {
        let mut place = [0; 3];
        for (axis, position) in place.iter_mut().enumerate() {
            let text = file.texts[axis].as_deref().unwrap_or_default();
            *position = match &self.axes[axis] {
                Line::None => 0,
                Line::Numbers { first, .. } => {
                    usize::try_from(number(text)?.checked_sub(*first)?).ok()?
                }
                Line::Names(names) => names.iter().position(|name| name == text)?,
            };
        }
        Some(place)
    }

    /// What stands in the name of the file at a place.
    pub(crate) fn texts_of(&self, place: [usize; 3]) -> [String; 3] {
        [0, 1, 2].map(|axis| match &self.axes[axis] {
            Line::None => String::new(),
            Line::Numbers { first, digits, .. } => {
                format!("{:0>digits$}", first + place[axis] as u64, digits = *digits)
            }
            Line::Names(names) => names[place[axis]].clone(),
        })
    }

    /// Names of the channels. A number alone would be taken for a position: it is named `c1`.
    pub(crate) fn channel_names(&self) -> Vec<Option<String>> {
        let channel = axis_number('c');
        let count = self.lengths()[channel];
        if matches!(self.axes[channel], Line::None) {
            return Vec::new();
        }
        let name = |index: usize| {
            let mut place = [0; 3];
            place[channel] = index;
            let text = self.texts_of(place)[channel].clone();
            Some(if number(&text).is_some() { format!("c{text}") } else { text })
        };
        (0..count).map(name).collect()
    }

    /// What the axes run over, for an error: `z from 1 to 5, c DAPI, FITC`.
    pub(crate) fn ranges(&self) -> String {
        let axis = |axis: usize| match &self.axes[axis] {
            Line::None => None,
            Line::Numbers { first, count, .. } => {
                let last = first + (*count as u64).saturating_sub(1);
                Some(format!("{} runs from {first} to {last}", AXES[axis]))
            }
            Line::Names(names) => {
                let more = if names.len() > 8 { ", ..." } else { "" };
                let shown: Vec<&str> = names.iter().take(8).map(String::as_str).collect();
                Some(format!("{} is {}{more}", AXES[axis], shown.join(", ")))
            }
        };
        (0..3).filter_map(axis).collect::<Vec<_>>().join("; ")
    }
}

/// Numbers from the first to the last, without a gap.
fn numbered(
    axis: usize,
    numbers: &BTreeMap<u64, &str>,
    pattern: &Pattern,
    texts: &BTreeSet<&str>,
) -> Result<Line, Fault> {
    // Zeros before a number tell with how many digits all are written.
    let filled = texts.iter().filter(|text| text.len() > 1 && text.starts_with('0'));
    let digits = filled.map(|text| text.len()).max().unwrap_or(1);
    let first = numbers.keys().next().copied().unwrap_or(0);
    let gap = numbers.keys().zip(0_u64..).find(|(number, index)| **number != first + index);
    let Some((after, index)) = gap else {
        return Ok(Line::Numbers { first, count: numbers.len(), digits });
    };
    let missing = first + index;
    let mut names = AXES.map(|letter| format!("{{{letter}}}"));
    names[axis] = format!("{missing:0>digits$}");
    let letter = AXES[axis];
    malformed(format!(
        "the file {} is missing: {letter} goes on with {after} after {}; put it there, or name the \
         places that you want as {{{letter}:{first},{after}}}",
        pattern.name_of(&names).display(),
        missing - 1
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn texts_of(pattern: &str, name: &str, expected: Option<[&str; 3]>) {
        let pattern = Pattern::parse(Path::new(pattern)).unwrap();
        let texts = fit(&pattern.names[0], name, Texts::default(), &mut 0);
        let texts = texts.map(|texts| texts.map(Option::unwrap_or_default));
        let expected = expected.map(|texts| texts.map(str::to_owned));
        assert_eq!(texts, expected, "{name}");
    }

    #[test]
    fn names_that_fit() {
        texts_of("z{z}_c{c}.tif", "z12_cDAPI x.tif", Some(["", "DAPI x", "12"]));
        texts_of("z{z:02}.tif", "z7.tif", None);
        texts_of("z{z:02}.tif", "z007.tif", None);
        texts_of("z{z:02}.tif", "z107.tif", Some(["", "", "107"]));
        texts_of("{z:02}{t:02}", "1203", Some(["03", "", "12"]));
        texts_of("A{c:02}Z{z:02}C{c:02}.tif", "A02Z01C02.tif", Some(["", "02", "01"]));
        texts_of("A{c:02}Z{z:02}C{c:02}.tif", "A01Z01C02.tif", None);
        texts_of("{z}_{z:03}", "4_004", Some(["", "", "4"]));
        texts_of("{c:a,ab}b.tif", "ab.tif", Some(["", "a", ""]));
        texts_of("{c:a,ab}b.tif", "abb.tif", Some(["", "ab", ""]));
        texts_of("w{c:1,2}???-*.tif", "w1abc-d-e.tif", Some(["", "1", ""]));
        texts_of("w{c:1,2}???-*.tif", "w1_thumb-d.tif", None);
        texts_of("µ{c}.tif", "µü.tif", Some(["", "ü", ""]));
    }

    #[test]
    fn names_that_fit_in_too_many_ways_end() {
        let pattern = Pattern::parse(Path::new("*a*a*a*a*a*a*a*a{z}")).unwrap();
        let mut steps = 0;
        assert_eq!(fit(&pattern.names[0], &"a".repeat(200), Texts::default(), &mut steps), None);
        assert!((MOST_STEPS..2 * MOST_STEPS).contains(&steps), "{steps}");
    }
}
