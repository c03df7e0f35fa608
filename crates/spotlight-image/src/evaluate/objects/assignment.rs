//! The assignment that is worth most: the Hungarian method by shortest augmenting paths.
//!
//! ```text
//! for each row: search the columns in the order of their distance, measured in reduced costs
//!     (cost − row price − column price ≥ 0), until a free column is reached;
//!     lower the prices on the way so that the path costs nothing; assign along the path
//! ```
//!
//! Own code, since the crates that offer it want whole numbers or a square matrix of another
//! crate's type, and it is this short. Rows that share no column with the rest are a problem
//! of their own and are solved alone: with thousands of cells that is what makes it fast.
//!
//! References:
//! - H. W. Kuhn (1955), "The Hungarian method for the assignment problem".
//! - R. Jonker, A. Volgenant (1987), "A shortest augmenting path algorithm for dense and
//!   sparse linear assignment problems".

/// What it is worth to assign a column to a row; a pair that is not given is worth 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Worth {
    pub(super) row: usize,
    pub(super) column: usize,
    pub(super) value: f64,
}

/// The pairs (row, column), at most one for each row and column, of the largest total value,
/// in the order of rows; only pairs that were given and are worth more than 0.
pub(super) fn best_assignment(worths: &[Worth]) -> Vec<(usize, usize)> {
    let mut assigned: Vec<(usize, usize)> =
        components(worths).iter().flat_map(|part| solve(part)).collect();
    assigned.sort_unstable();
    assigned
}

/// Groups of pairs that share rows or columns, directly or by others.
fn components(worths: &[Worth]) -> Vec<Vec<Worth>> {
    let rows = worths.iter().map(|worth| worth.row + 1).max().unwrap_or(0);
    let columns = worths.iter().map(|worth| worth.column + 1).max().unwrap_or(0);
    // Each row and column points to another of its group, the last to itself.
    let mut group: Vec<usize> = (0..rows + columns).collect();
    fn root(group: &mut [usize], mut member: usize) -> usize {
        while group[member] != member {
            group[member] = group[group[member]];
            member = group[member];
        }
        member
    }
    for worth in worths {
        let (a, b) = (root(&mut group, worth.row), root(&mut group, rows + worth.column));
        group[a.max(b)] = a.min(b);
    }
    let mut parts: Vec<Vec<Worth>> = vec![Vec::new(); rows];
    for worth in worths {
        parts[root(&mut group, worth.row)].push(*worth);
    }
    parts.retain(|part| !part.is_empty());
    parts
}

/// The best assignment within one group.
fn solve(worths: &[Worth]) -> Vec<(usize, usize)> {
    if let [only] = worths {
        return if only.value > 0.0 { vec![(only.row, only.column)] } else { Vec::new() };
    }
    let numbers = |number: &dyn Fn(&Worth) -> usize| {
        let mut numbers: Vec<usize> = worths.iter().map(number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    };
    let (rows, columns) = (numbers(&|worth| worth.row), numbers(&|worth| worth.column));
    // A matrix that is at least as wide as high, of costs.
    let wide = rows.len() <= columns.len();
    let (short, long) = if wide { (&rows, &columns) } else { (&columns, &rows) };
    let mut costs = vec![0.0; short.len() * long.len()];
    for worth in worths {
        let (line, place) =
            if wide { (worth.row, worth.column) } else { (worth.column, worth.row) };
        let line = short.partition_point(|number| *number < line);
        let place = long.partition_point(|number| *number < place);
        costs[line * long.len() + place] = -worth.value;
    }
    let assigned = cheapest(&costs, short.len(), long.len()).into_iter().enumerate();
    let worthwhile = assigned.filter(|(line, place)| costs[line * long.len() + place] < 0.0);
    let pairs = worthwhile.map(|(line, place)| (short[line], long[place]));
    if wide { pairs.collect() } else { pairs.map(|(column, row)| (row, column)).collect() }
}

/// The column of every row in the cheapest assignment; there are at least as many columns.
fn cheapest(costs: &[f64], rows: usize, columns: usize) -> Vec<usize> {
    let mut row_price = vec![0.0; rows];
    let mut column_price = vec![0.0; columns];
    let mut row_of: Vec<Option<usize>> = vec![None; columns];
    for start in 0..rows {
        let mut distance = vec![f64::INFINITY; columns];
        let mut before: Vec<Option<usize>> = vec![None; columns];
        let mut done = vec![false; columns];
        let (mut row, mut at, mut reached) = (start, None, 0.0);
        let end = loop {
            // Distances through this row, and the nearest column of all.
            let mut nearest: Option<usize> = None;
            for column in (0..columns).filter(|column| !done[*column]) {
                let reduced = costs[row * columns + column] - row_price[row] - column_price[column];
                if reached + reduced < distance[column] {
                    distance[column] = reached + reduced;
                    before[column] = at;
                }
                if nearest.is_none_or(|nearest| distance[column] < distance[nearest]) {
                    nearest = Some(column);
                }
            }
            let Some(column) = nearest else { unreachable!("a column is free for every row") };
            (at, reached) = (nearest, distance[column]);
            done[column] = true;
            match row_of[column] {
                Some(other) => row = other,
                None => break column,
            }
        };
        row_price[start] += reached;
        for column in (0..columns).filter(|column| done[*column] && *column != end) {
            let slack = reached - distance[column];
            column_price[column] -= slack;
            if let Some(row) = row_of[column] {
                row_price[row] += slack;
            }
        }
        let mut column = end;
        while let Some(previous) = before[column] {
            row_of[column] = row_of[previous];
            column = previous;
        }
        row_of[column] = Some(start);
    }
    let mut column_of = vec![0; rows];
    for (column, row) in row_of.into_iter().enumerate() {
        if let Some(row) = row {
            column_of[row] = column;
        }
    }
    column_of
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn total(worths: &[Worth], pairs: &[(usize, usize)]) -> f64 {
        let value = |(row, column): &(usize, usize)| {
            worths.iter().find(|w| w.row == *row && w.column == *column).unwrap().value
        };
        pairs.iter().map(value).sum()
    }

    /// Tries everything.
    fn exhaustive(worths: &[Worth], used_columns: u32) -> f64 {
        let Some(row) = worths.first().map(|worth| worth.row) else { return 0.0 };
        let end = worths.iter().position(|worth| worth.row != row).unwrap_or(worths.len());
        let rest = &worths[end..];
        let mut best = exhaustive(rest, used_columns);
        for worth in worths[..end].iter().filter(|worth| used_columns >> worth.column & 1 == 0) {
            best = best.max(worth.value + exhaustive(rest, used_columns | 1 << worth.column));
        }
        best
    }

    fn worths() -> impl Strategy<Value = Vec<Worth>> {
        let cell = prop_oneof![Just(0.0), (0..5_u8).prop_map(f64::from), 0.0..1.0_f64];
        (1..7_usize, 1..7_usize, proptest::collection::vec(cell, 49)).prop_map(
            |(rows, columns, cells)| {
                let all = (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column)));
                all.zip(cells)
                    .filter(|(_, value)| *value > 0.0)
                    .map(|((row, column), value)| Worth { row, column, value })
                    .collect()
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

        #[test]
        fn no_assignment_is_worth_more(worths in worths()) {
            let found = best_assignment(&worths);
            let mut columns: Vec<usize> = found.iter().map(|pair| pair.1).collect();
            columns.sort_unstable();
            columns.dedup();
            prop_assert_eq!(columns.len(), found.len());
            prop_assert!(found.windows(2).all(|pairs| pairs[0].0 < pairs[1].0));
            prop_assert!((total(&worths, &found) - exhaustive(&worths, 0)).abs() < 1e-9);
        }
    }

    // The best pair first would leave nothing for the second row.
    #[test]
    fn better_than_greedy() {
        let worth = |row, column, value| Worth { row, column, value };
        let worths = [worth(0, 0, 0.9), worth(0, 1, 0.8), worth(1, 0, 0.7)];
        assert_eq!(best_assignment(&worths), [(0, 1), (1, 0)]);
        assert_eq!(best_assignment(&[]), []);
    }
}
