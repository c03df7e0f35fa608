//! TIFF without a description that we know: pages of one size are a stack.

use super::directory::Directories;
use super::series::{Series, pixel_size_um};
use crate::metadata::AxisOrigin;

/// One series for every kind of page, in the order in which the kinds appear.
///
/// Pages marked as smaller versions of others are left out where there are others. The
/// pages of a series are taken as a z-stack: nothing in the file says otherwise.
pub(crate) fn series(file: &Directories) -> Vec<Series> {
    let whole = |page: &usize| !file.pages[*page].reduced;
    let some_whole = (0..file.pages.len()).any(|page| whole(&page));
    let mut kinds: Vec<Vec<usize>> = Vec::new();
    for page in (0..file.pages.len()).filter(|page| !some_whole || whole(page)) {
        let same = |kind: &&mut Vec<usize>| file.pages[kind[0]].matches(&file.pages[page]);
        match kinds.iter_mut().find(same) {
            Some(kind) => kind.push(page),
            None => kinds.push(vec![page]),
        }
    }
    kinds.into_iter().map(|kind| one_series(file, kind)).collect()
}

fn one_series(file: &Directories, pages: Vec<usize>) -> Series {
    let [y, x] = pixel_size_um(&file.pages[pages[0]], [None, None]);
    let planes = pages.len();
    let leading = vec![('Z', planes)];
    let mut series = Series::of_pages(pages);
    series.leading = leading;
    series.spacing_um = [None, y, x];
    series.origins = Some([AxisOrigin::Absent; 3]);
    if planes > 1 {
        series.origins = Some([AxisOrigin::Absent, AxisOrigin::Absent, AxisOrigin::Assumed]);
        let warning = format!("the file names no axes; its {planes} pages are taken for z");
        series.warnings.push(warning);
    }
    series
}
