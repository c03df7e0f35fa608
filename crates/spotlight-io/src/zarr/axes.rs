//! [`Axes`]: which axis of an array is time, channel, z, y and x.
//!
//! By the names of the metadata, then by their types. Where the metadata are silent, the last
//! three axes are z, y, x, the one before them c, the one before that t.

use super::ome::Axis;
use crate::error::{Fault, malformed, unsupported};

/// What an axis of an array is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Time,
    Channel,
    Z,
    Y,
    X,
    /// None of these; its length is 1.
    Other,
}

/// The axes of an array, slowest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Axes {
    pub(super) roles: Vec<Role>,
    shape: Vec<usize>,
    /// Whether the metadata are silent.
    pub(super) assumed: bool,
    pub(super) warnings: Vec<String>,
}

impl Axes {
    /// The axes that metadata name.
    pub(super) fn named(axes: &[Axis], shape: &[usize]) -> Result<Self, Fault> {
        if axes.len() != shape.len() {
            return malformed(format!(
                "the metadata name {} axes, but the array has {}",
                axes.len(),
                shape.len()
            ));
        }
        let mut roles: Vec<Option<Role>> = axes.iter().map(role).collect();
        let mut warnings = Vec::new();
        let spatial = [Role::Z, Role::Y, Role::X];
        if !roles.iter().flatten().any(|role| spatial.contains(role)) {
            // Names of space that are not z, y, x: the order decides.
            let space =
                (0..axes.len()).rev().filter(|i| roles[*i].is_none() && axes[*i].is_space());
            let space: Vec<usize> = space.collect();
            for (axis, role) in space.into_iter().zip([Role::X, Role::Y, Role::Z]) {
                warnings.push(format!("the axis \"{}\" is taken for {role:?}", axes[axis].name));
                roles[axis] = Some(role);
            }
        }
        for (axis, length) in axes
            .iter()
            .zip(shape)
            .zip(&roles)
            .filter_map(|(named, role)| role.is_none().then_some(named))
        {
            if *length != 1 {
                return unsupported(
                    format!("an axis \"{}\" of length {length}", axis.name),
                    "only t, c, z, y and x may be longer than 1: save one position of that axis",
                );
            }
            warnings.push(format!("the axis \"{}\" of length 1 is left out", axis.name));
        }
        let roles = roles.into_iter().map(|role| role.unwrap_or(Role::Other)).collect();
        Self::checked(roles, shape, warnings)
    }

    /// The axes of an array whose metadata are silent.
    pub(super) fn unnamed(shape: &[usize], what: &str) -> Result<Self, Fault> {
        const LAST: [Role; 5] = [Role::X, Role::Y, Role::Z, Role::Channel, Role::Time];
        let surplus = shape.len().saturating_sub(LAST.len());
        if shape[..surplus].iter().any(|length| *length != 1) {
            return unsupported(
                format!("an array of {} axes without names", shape.len()),
                "name them t, c, z, y, x in OME-Zarr metadata",
            );
        }
        let other = std::iter::repeat_n(Role::Other, surplus);
        let known = LAST[..shape.len() - surplus].iter().rev().copied();
        let roles: Vec<Role> = other.chain(known).collect();
        let letters: String = roles.iter().map(|role| letter(*role)).collect();
        let warnings = vec![format!("{what} no axes; they are taken for {letters}")];
        Ok(Self { assumed: true, ..Self::checked(roles, shape, warnings)? })
    }

    fn checked(roles: Vec<Role>, shape: &[usize], warnings: Vec<String>) -> Result<Self, Fault> {
        let axes = Self { roles, shape: shape.to_vec(), assumed: false, warnings };
        for role in [Role::Time, Role::Channel, Role::Z, Role::Y, Role::X] {
            if axes.roles.iter().filter(|known| **known == role).count() > 1 {
                return malformed(format!("two axes are {role:?}"));
            }
        }
        if axes.position(Role::Y).is_none() || axes.position(Role::X).is_none() {
            return unsupported("an array without the axes y and x", "name an array of images");
        }
        Ok(axes)
    }

    /// Where an axis is.
    pub(super) fn position(&self, role: Role) -> Option<usize> {
        self.roles.iter().position(|known| *known == role)
    }

    /// Length of an axis; 1 where it is absent.
    pub(super) fn length(&self, role: Role) -> usize {
        self.position(role).map_or(1, |axis| self.shape[axis])
    }

    /// One letter an axis, `Q` for those without a role.
    pub(super) fn letters(&self) -> String {
        self.roles.iter().map(|role| letter(*role)).collect()
    }

    /// Of a value for each axis, those of (z, y, x), where the axis is there.
    pub(super) fn spatial<T: Copy>(&self, values: &[T]) -> [Option<T>; 3] {
        [Role::Z, Role::Y, Role::X]
            .map(|role| self.position(role).and_then(|axis| values.get(axis).copied()))
    }
}

fn letter(role: Role) -> char {
    match role {
        Role::Time => 'T',
        Role::Channel => 'C',
        Role::Z => 'Z',
        Role::Y => 'Y',
        Role::X => 'X',
        Role::Other => 'Q',
    }
}

fn role(axis: &Axis) -> Option<Role> {
    match (axis.name.to_lowercase().as_str(), axis.kind.as_deref()) {
        ("t" | "time", _) => Some(Role::Time),
        ("c" | "channel" | "channels", _) => Some(Role::Channel),
        ("z", _) => Some(Role::Z),
        ("y", _) => Some(Role::Y),
        ("x", _) => Some(Role::X),
        (_, Some("time")) => Some(Role::Time),
        (_, Some("channel")) => Some(Role::Channel),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axes(names: &[(&str, &str)]) -> Vec<Axis> {
        let axis = |(name, kind): &(&str, &str)| Axis {
            name: (*name).to_owned(),
            kind: Some((*kind).to_owned()),
            unit: None,
        };
        names.iter().map(axis).collect()
    }

    #[test]
    fn names_and_types_decide_in_any_order() {
        let named =
            axes(&[("x", "space"), ("modality", "custom"), ("frame", "time"), ("Y", "space")]);
        let found = Axes::named(&named, &[4, 1, 3, 5]).unwrap();
        assert_eq!(found.letters(), "XQTY");
        assert_eq!(found.warnings, ["the axis \"modality\" of length 1 is left out"]);
        assert_eq!(found.spatial(&[1, 2, 3, 4]), [None, Some(4), Some(1)]);
        assert_eq!((found.length(Role::Time), found.length(Role::Z)), (3, 1));
        assert!(Axes::named(&named, &[4, 2, 3, 5]).is_err());
        assert!(Axes::named(&named, &[4, 1, 3]).is_err());
    }

    #[test]
    fn axes_of_space_with_other_names_go_by_their_order() {
        let named =
            axes(&[("depth", "space"), ("c", "channel"), ("row", "space"), ("col", "space")]);
        let found = Axes::named(&named, &[2, 3, 4, 5]).unwrap();
        assert_eq!(found.letters(), "ZCYX");
        assert_eq!(found.warnings.len(), 3);
    }

    #[test]
    fn axes_twice_or_without_a_plane_are_refused() {
        assert!(
            Axes::named(&axes(&[("y", "space"), ("y", "space"), ("x", "space")]), &[2, 3, 4])
                .is_err()
        );
        assert!(Axes::named(&axes(&[("t", "time"), ("x", "space")]), &[2, 3]).is_err());
    }

    #[test]
    fn silent_metadata_are_read_from_the_end() {
        let letters =
            |shape: &[usize]| Axes::unnamed(shape, "the array names").map(|a| a.letters());
        assert_eq!(letters(&[4, 5]).unwrap(), "YX");
        assert_eq!(letters(&[2, 3, 4, 5]).unwrap(), "CZYX");
        assert_eq!(letters(&[1, 9, 2, 3, 4, 5]).unwrap(), "QTCZYX");
        assert!(letters(&[2, 9, 2, 3, 4, 5]).is_err());
        assert!(letters(&[5]).is_err());
    }
}
