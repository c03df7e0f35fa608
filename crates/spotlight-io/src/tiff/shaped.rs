//! Files of tifffile's own kind: a JSON description with the shape of the array.

use serde_json::Value;

use super::directory::Directories;
use super::series::{Series, add_contiguous, pixel_size_um};
use crate::error::{Fault, malformed};
use crate::metadata::{micrometres_per_unit, positive};

/// Whether a description is of this kind.
pub(crate) fn is_shaped(description: &[u8]) -> bool {
    let text = description.trim_ascii_start();
    text.starts_with(b"{\"shape\":") || text.starts_with(b"shape=")
}

/// All series of a file; each begins with a page that has a shape.
pub(crate) fn series(file: &mut Directories) -> Result<Vec<Series>, Fault> {
    let mut all = Vec::new();
    let mut first = 0;
    let stored = file.pages.len();
    while first < stored {
        let (one, count) = one_series(file, first, stored)?;
        all.push(one);
        first += count;
    }
    Ok(all)
}

/// The series that begins at a page, and how many stored pages it has.
fn one_series(
    file: &mut Directories,
    first: usize,
    stored: usize,
) -> Result<(Series, usize), Fault> {
    let json = parse(&file.pages[first].description)?;
    let shape = lengths(&json["shape"])?;
    let page = &file.pages[first];
    let (letters, in_page) = page.axes();
    let size = shape.iter().try_fold(1_usize, |size, length| size.checked_mul(*length));
    let numbers = page.numbers()?;
    let Some(count) = size.filter(|size| size % numbers == 0).map(|size| size / numbers) else {
        return malformed(format!("the shape {shape:?} does not fit planes of {in_page:?} pixels"));
    };
    let mut pages: Vec<usize> = Vec::with_capacity(count.min(stored));
    let truncated = json["truncated"].as_bool().unwrap_or(false);
    let alone = truncated || (count > 1 && first + 1 == stored);
    let used = if alone { 1 } else { count };
    if alone {
        let added = file.pages.len();
        add_contiguous(file, first, count)?;
        pages.push(first);
        pages.extend(added..file.pages.len());
    } else if first + count > stored {
        let found = stored - first;
        return malformed(format!("{count} planes are announced, but {found} are in the file"));
    } else {
        pages.extend(first..first + count);
    }
    let page = &file.pages[first];
    if let Some(odd) = pages.iter().position(|other| !file.pages[*other].matches(page)) {
        return malformed(format!("plane {odd} differs in size or type from the first"));
    }
    let mut plane_axes = vec![('Q', count)];
    plane_axes.extend(letters.chars().zip(in_page.iter().copied()));
    let named = json["axes"].as_str().filter(|axes| axes.chars().count() == shape.len());
    let axes = named.map_or_else(|| reshape(&plane_axes, &shape), str::to_owned);
    let mut series = Series::of_pages(pages);
    series.leading = leading(&axes, &shape, letters, &in_page, count);
    series.whole = Some((axes, shape));
    series.name = json["name"].as_str().unwrap_or("").to_owned();
    series.spacing_um = spacing_um(&json, page);
    Ok((series, used))
}

fn parse(description: &[u8]) -> Result<Value, Fault> {
    let text = String::from_utf8_lossy(description);
    // The first versions wrote `shape=(1, 2, 3)`.
    if let Some(list) = text.trim().strip_prefix("shape=(").and_then(|t| t.strip_suffix(')')) {
        let numbers: Vec<usize> = list.split(',').filter_map(|n| n.trim().parse().ok()).collect();
        return Ok(serde_json::json!({ "shape": numbers }));
    }
    match serde_json::from_str::<Value>(text.trim()) {
        Ok(json) if json["shape"].is_array() => Ok(json),
        _ => malformed("the JSON description with the shape of the array is damaged"),
    }
}

fn lengths(list: &Value) -> Result<Vec<usize>, Fault> {
    let length = |value: &Value| value.as_u64().and_then(|n| usize::try_from(n).ok());
    let all = list.as_array().map(|list| list.iter().map(length).collect::<Option<Vec<_>>>());
    match all.flatten() {
        Some(all) if !all.is_empty() && all.iter().all(|n| *n > 0) && all.len() <= 32 => Ok(all),
        _ => malformed(format!("the shape {list} is not one of an array")),
    }
}

/// Letters for a shape that holds the same numbers as known axes: an axis keeps its letter
/// where its length and its place are the same, others are unknown (`Q`).
fn reshape(known: &[(char, usize)], shape: &[usize]) -> String {
    let mut letters = Vec::with_capacity(shape.len());
    let (mut inner, mut known_inner) = (1_usize, 1_usize);
    let mut rest = known;
    for length in shape.iter().rev() {
        inner = inner.saturating_mul(*length);
        while let [before @ .., (_, 1)] = rest
            && !before.is_empty()
            && *length != 1
        {
            rest = before;
        }
        match rest {
            [before @ .., (letter, known_length)]
                if known_length == length && known_inner.saturating_mul(*length) == inner =>
            {
                known_inner = inner;
                letters.push(*letter);
                rest = before;
            }
            _ => letters.push('Q'),
        }
    }
    letters.iter().rev().collect()
}

/// Axes over the planes: those of the array before those of a plane.
fn leading(
    axes: &str,
    shape: &[usize],
    letters: &str,
    in_page: &[usize],
    count: usize,
) -> Vec<(char, usize)> {
    let mut all: Vec<(char, usize)> = axes.chars().zip(shape.iter().copied()).collect();
    while all.len() > in_page.len() && all.last().is_some_and(|axis| axis.1 == 1) {
        all.pop();
    }
    let from = all.len().saturating_sub(in_page.len());
    let last = &all[from..];
    let same = last.iter().map(|axis| axis.1).eq(in_page.iter().copied());
    let named = last.iter().map(|axis| axis.0).eq(letters.chars());
    if same && named { all[..from].to_vec() } else { vec![('Q', count)] }
}

/// Voxel size along (z, y, x) in µm from the words that `ImageJ` files use, too.
fn spacing_um(json: &Value, page: &super::page::Page) -> [Option<f64>; 3] {
    let unit = json["unit"].as_str().and_then(micrometres_per_unit);
    let z = json["spacing"].as_f64().and_then(positive).zip(unit).map(|(z, um)| z * um);
    let [y, x] = pixel_size_um(page, [unit, unit]);
    [z, y, x]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(known: &[(char, usize)], shape: &[usize], letters: &str) {
        assert_eq!(reshape(known, shape), letters);
    }

    // Expected values are those of tifffile.reshape_axes, version 2026.3.3.
    #[test]
    fn letters_of_another_shape() {
        check(&[('Y', 219), ('X', 301), ('S', 1)], &[219, 301], "YX");
        check(&[('I', 12), ('Y', 219), ('X', 301)], &[3, 4, 219, 1, 301, 1], "QQYQXQ");
        check(&[('Q', 2), ('S', 3), ('Y', 8), ('X', 9)], &[2, 3, 8, 9], "QSYX");
        check(&[('Q', 6), ('Y', 8), ('X', 9)], &[2, 3, 8, 9], "QQYX");
    }
}
