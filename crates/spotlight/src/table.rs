//! Tables as text: aligned columns for a terminal.

/// A table of words and numbers with a header.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// Names of the columns.
    pub header: Vec<String>,
    /// The rows, each with one cell for each column.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table with these columns.
    #[must_use]
    pub fn new(header: &[&str]) -> Self {
        Self { header: header.iter().map(|&name| name.to_owned()).collect(), rows: Vec::new() }
    }

    /// The table as lines of text: words to the left, numbers to the right.
    ///
    /// A column is one of numbers if every cell in it is a number or `-` (no value).
    ///
    /// # Examples
    ///
    /// ```
    /// let mut table = spotlight::table::Table::new(&["model", "PSNR (dB)"]);
    /// table.rows.push(vec!["F-net".into(), "30.12".into()]);
    /// table.rows.push(vec!["Spotlight".into(), "9.80".into()]);
    /// assert_eq!(table.text(), "\
    /// model      PSNR (dB)
    /// ─────────  ─────────
    /// F-net          30.12
    /// Spotlight       9.80
    /// ");
    /// ```
    ///
    /// # Panics
    ///
    /// If a row has another number of cells than the header.
    #[must_use]
    pub fn text(&self) -> String {
        assert!(self.rows.iter().all(|row| row.len() == self.header.len()), "uneven rows");
        let columns = 0..self.header.len();
        let cells = |column: usize| self.rows.iter().map(move |row| row[column].as_str());
        let widths: Vec<usize> = columns
            .clone()
            .map(|c| cells(c).map(width).fold(width(&self.header[c]), usize::max))
            .collect();
        let numbers: Vec<bool> = columns.map(|c| cells(c).all(is_number)).collect();
        let line = |cells: &[String]| {
            let padded = cells.iter().zip(&widths).zip(&numbers).map(|((cell, width), number)| {
                if *number { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
            });
            format!("{}\n", padded.collect::<Vec<_>>().join("  ").trim_end())
        };
        let rule: Vec<String> = widths.iter().map(|width| "─".repeat(*width)).collect();
        let mut text = line(&self.header);
        text.push_str(&line(&rule));
        text.extend(self.rows.iter().map(|row| line(row)));
        text
    }
}

fn width(cell: &str) -> usize {
    cell.chars().count()
}

fn is_number(cell: &str) -> bool {
    cell == "-" || cell.trim_end_matches(" %").parse::<f64>().is_ok()
}

/// A number with a fixed number of decimals; `-` where there is none.
///
/// # Examples
///
/// ```
/// use spotlight::table::number;
/// assert_eq!(number(Some(0.12345), 3), "0.123");
/// assert_eq!(number(None, 3), "-");
/// ```
#[must_use]
pub fn number(value: Option<f64>, decimals: usize) -> String {
    value.filter(|v| !v.is_nan()).map_or_else(|| "-".to_owned(), |v| format!("{v:.decimals$}"))
}

/// A number of things in words.
///
/// # Examples
///
/// ```
/// use spotlight::table::count;
/// assert_eq!(count(1, "image"), "1 image");
/// assert_eq!(count(2, "image"), "2 images");
/// ```
#[must_use]
pub fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_go_left_and_numbers_right_whatever_their_length() {
        let mut table = Table::new(&["name", "n", "what"]);
        table.rows.push(vec!["µm".into(), "5".into(), "é".into()]);
        table.rows.push(vec!["longer".into(), "-".into(), "8 voxels".into()]);
        let expected = "\
name    n  what
──────  ─  ────────
µm      5  é
longer  -  8 voxels
";
        assert_eq!(table.text(), expected);
    }

    #[test]
    fn not_a_number_is_no_value() {
        assert_eq!(number(Some(f64::NAN), 2), "-");
        assert_eq!(number(Some(f64::INFINITY), 2), "inf");
    }
}
