//! [`PageAxes`]: what the pages of a TIFF are, told by the caller where the file is silent.

use std::fmt;
use std::str::FromStr;

use super::series::{Image, Series};
use crate::Error;
use crate::error::{Fault, malformed, unsupported};
use crate::metadata::AxisOrigin;

/// The axes of the pages of a TIFF that does not name them, slowest first, with their lengths.
///
/// # Examples
///
/// ```
/// use spotlight_io::PageAxes;
///
/// // Two channels, one after the other, each a stack of as many planes as there are.
/// let axes: PageAxes = "c=2,z".parse()?;
/// assert_eq!(axes.to_string(), "c=2,z");
/// assert!("c=2,q=3".parse::<PageAxes>().is_err());
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageAxes(Vec<(char, Option<usize>)>);

impl FromStr for PageAxes {
    type Err = String;

    /// Reads `c=2,z`: letters out of t, c, z, the slowest first; one may be without a length.
    fn from_str(text: &str) -> Result<Self, String> {
        const EXPECTED: &str = "expected letters out of t, c, z, slowest first, each but one with \
                                its length, such as c=2,z";
        let mut axes: Vec<(char, Option<usize>)> = Vec::new();
        for part in text.split(',') {
            let (letter, length) = match part.split_once('=') {
                None => (part, None),
                Some((letter, length)) => {
                    let length = length.trim().parse().ok().filter(|length: &usize| *length > 0);
                    (letter, Some(length.ok_or(EXPECTED)?))
                }
            };
            let letter = match letter.trim() {
                "t" | "T" => 'T',
                "c" | "C" => 'C',
                "z" | "Z" => 'Z',
                _ => return Err(EXPECTED.to_owned()),
            };
            if axes.iter().any(|axis| axis.0 == letter) {
                return Err(format!("{EXPECTED}; {letter} is there twice").to_lowercase());
            }
            axes.push((letter, length));
        }
        if axes.iter().filter(|axis| axis.1.is_none()).count() > 1 {
            return Err(EXPECTED.to_owned());
        }
        Ok(Self(axes))
    }
}

impl fmt::Display for PageAxes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let axis = |(letter, length): &(char, Option<usize>)| {
            let letter = letter.to_ascii_lowercase();
            length.map_or_else(|| letter.to_string(), |length| format!("{letter}={length}"))
        };
        let axes: Vec<String> = self.0.iter().map(axis).collect();
        f.write_str(&axes.join(","))
    }
}

impl PageAxes {
    /// The lengths of the axes over this many pages.
    fn over(&self, pages: usize) -> Result<Vec<(char, usize)>, Fault> {
        let known = self.0.iter().filter_map(|axis| axis.1);
        let known = known.fold(1_usize, usize::saturating_mul);
        let open = self.0.iter().any(|axis| axis.1.is_none());
        let rest = if open { pages / known } else { 1 };
        if rest == 0 || known.checked_mul(rest) != Some(pages) {
            return malformed(format!("it has {pages} pages, which the axes {self} do not fit"));
        }
        Ok(self.0.iter().map(|(letter, length)| (*letter, length.unwrap_or(rest))).collect())
    }
}

impl Image {
    /// Names the axes of pages that the file leaves open.
    pub(crate) fn name_axes(&mut self, axes: &PageAxes) -> Result<(), Error> {
        let path = self.path.clone();
        let named = |series: &mut Series| name(series, axes);
        self.series.iter_mut().try_for_each(named).map_err(|fault| fault.at(&path))
    }
}

fn name(series: &mut Series, axes: &PageAxes) -> Result<(), Fault> {
    let pages = series.planes.len();
    let unknown = series.leading.iter().any(|axis| !"TCZ".contains(axis.0) && axis.1 > 1);
    let assumed = matches!(series.origins, Some([.., AxisOrigin::Assumed]));
    // The only plane of a file needs no axis.
    let single = pages == 1 && series.origins.is_some();
    if !unknown && !assumed && !single {
        let said: Vec<String> =
            series.leading.iter().map(|axis| format!("{}={}", axis.0, axis.1)).collect();
        return unsupported(
            format!("naming the axes of a file that names them itself ({})", said.join(", ")),
            "leave the option out",
        );
    }
    series.leading = axes.over(pages)?;
    series.whole = None;
    series.warnings.retain(|warning| !warning.contains("names no axes"));
    series.origins = Some(['T', 'C', 'Z'].map(|letter| {
        let named = series.leading.iter().any(|axis| axis.0 == letter);
        if named { AxisOrigin::Given } else { AxisOrigin::Absent }
    }));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_open_axis_takes_what_is_left() {
        let axes: PageAxes = "c=2, Z".parse().unwrap();
        assert_eq!(axes.over(6).unwrap(), [('C', 2), ('Z', 3)]);
        assert!(axes.over(7).is_err() && axes.over(1).is_err());
        let all: PageAxes = "t=2,c=3".parse().unwrap();
        assert!(all.over(6).is_ok() && all.over(12).is_err());
    }

    #[test]
    fn wrong_axes_are_refused() {
        for wrong in ["", "x=2", "c,z", "c=0,z", "c=2,c", "c=two", "z=2;c"] {
            assert!(wrong.parse::<PageAxes>().is_err(), "{wrong}");
        }
    }
}
