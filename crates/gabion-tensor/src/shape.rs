//! Shapes: a dim for each axis.

use std::fmt;
use std::ops::{Deref, DerefMut};

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::bindings::Bindings;
use crate::dim::{Dim, DimError};

/// The sizes of a tensor's axes. Printed as `[tokens, 576]`; rank 0 is `[]`.
///
/// ```
/// use gabion_tensor::{Dim, Shape};
/// let shape = Shape::from([Dim::symbol("tokens").unwrap(), Dim::fixed(576)]);
/// assert_eq!(shape.to_string(), "[tokens, 576]");
/// assert_eq!(shape.numel().to_string(), "576*tokens");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Shape(pub SmallVec<[Dim; 4]>);

/// Why a shape has no sizes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("axis {axis} of {shape}: {source}")]
pub struct ShapeError {
    /// The shape.
    pub shape: Box<Shape>,
    /// The axis.
    pub axis: usize,
    /// What is wrong with its dim.
    pub source: DimError,
}

impl Shape {
    /// A shape of known sizes.
    pub fn fixed(sizes: &[usize]) -> Shape {
        sizes.iter().map(|&size| Dim::from(size)).collect()
    }

    /// The number of axes.
    pub fn rank(&self) -> usize {
        self.0.len()
    }

    /// The number of elements: 1 for rank 0.
    pub fn numel(&self) -> Dim {
        self.0.iter().product()
    }

    /// The sizes, if all are known (and none is negative).
    pub fn as_fixed(&self) -> Option<SmallVec<[usize; 4]>> {
        let size = |dim: &Dim| usize::try_from(dim.as_fixed()?).ok();
        self.0.iter().map(size).collect()
    }

    /// The sizes in one run.
    ///
    /// # Errors
    /// If a dim has no value, or a negative one.
    pub fn eval(&self, bindings: &Bindings) -> Result<SmallVec<[usize; 4]>, ShapeError> {
        let sizes = self.0.iter().enumerate().map(|(axis, dim)| {
            dim.eval(bindings)
                .and_then(|value| {
                    usize::try_from(value).map_err(|_| DimError::NegativeSize {
                        dim: dim.to_string(),
                        value,
                    })
                })
                .map_err(|source| self.error(axis, source))
        });
        sizes.collect()
    }

    /// Checks that no dim carries an error and none is always negative.
    ///
    /// # Errors
    /// For the first dim that does.
    pub fn check(&self) -> Result<(), ShapeError> {
        for (axis, dim) in self.0.iter().enumerate() {
            dim.check().map_err(|source| self.error(axis, source))?;
            if let (_, Some(value)) = dim.range()
                && value < 0
            {
                let dim = dim.to_string();
                return Err(self.error(axis, DimError::NegativeSize { dim, value }));
            }
        }
        Ok(())
    }

    fn error(&self, axis: usize, source: DimError) -> ShapeError {
        ShapeError {
            shape: Box::new(self.clone()),
            axis,
            source,
        }
    }
}

impl Deref for Shape {
    type Target = [Dim];

    fn deref(&self) -> &[Dim] {
        &self.0
    }
}

impl DerefMut for Shape {
    fn deref_mut(&mut self) -> &mut [Dim] {
        &mut self.0
    }
}

impl<D: Into<Dim>> FromIterator<D> for Shape {
    fn from_iter<I: IntoIterator<Item = D>>(dims: I) -> Self {
        Shape(dims.into_iter().map(Into::into).collect())
    }
}

impl<D: Into<Dim>, const N: usize> From<[D; N]> for Shape {
    fn from(dims: [D; N]) -> Self {
        dims.into_iter().collect()
    }
}

impl<D: Into<Dim> + Clone> From<&[D]> for Shape {
    fn from(dims: &[D]) -> Self {
        dims.iter().cloned().collect()
    }
}

impl<D: Into<Dim>> From<Vec<D>> for Shape {
    fn from(dims: Vec<D>) -> Self {
        dims.into_iter().collect()
    }
}

impl From<&Shape> for Shape {
    fn from(shape: &Shape) -> Self {
        shape.clone()
    }
}

impl<'a> IntoIterator for &'a Shape {
    type Item = &'a Dim;
    type IntoIter = std::slice::Iter<'a, Dim>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl IntoIterator for Shape {
    type Item = Dim;
    type IntoIter = smallvec::IntoIter<[Dim; 4]>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (i, dim) in self.0.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            write!(f, "{comma}{dim}")?;
        }
        f.write_str("]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_of_known_and_unknown_sizes() {
        let known = Shape::fixed(&[2, 3]);
        assert_eq!(known.as_fixed().unwrap().as_slice(), [2, 3]);
        assert_eq!((known.rank(), known.numel()), (2, Dim::fixed(6)));
        assert_eq!(Shape::default().numel(), Dim::ONE);
        let open: Shape = [Dim::symbol("a").unwrap(), Dim::fixed(4)].into();
        assert_eq!(open.as_fixed(), None);
        let mut bindings = Bindings::new();
        let error = open.eval(&bindings).unwrap_err();
        assert_eq!(
            error.to_string(),
            "axis 0 of [a, 4]: symbol `a` in `a` has no value"
        );
        bindings.bind("a", 7).unwrap();
        assert_eq!(open.eval(&bindings).unwrap().as_slice(), [7, 4]);
    }

    #[test]
    fn sizes_are_not_negative() {
        let shape = Shape::from([Dim::ONE, "a - 5".parse().unwrap()]);
        assert_eq!(shape.check(), Ok(()));
        let mut bindings = Bindings::new();
        bindings.bind("a", 2).unwrap();
        let error = shape.eval(&bindings).unwrap_err();
        assert_eq!(
            error.to_string(),
            "axis 1 of [1, a - 5]: size `a - 5` is -3; sizes are not negative"
        );
        let error = |shape: Shape| shape.check().unwrap_err().to_string();
        assert_eq!(
            error(Shape::from([-1])),
            "axis 0 of [-1]: size `-1` is -1; sizes are not negative"
        );
        assert_eq!(Shape::from([-1]).as_fixed(), None);
        assert_eq!(
            error(Shape::from(["-1 - a".parse::<Dim>().unwrap()])),
            "axis 0 of [-a - 1]: size `-a - 1` is -1; sizes are not negative"
        );
        assert_eq!(
            error(Shape::from([Dim::from(usize::MAX)])),
            "axis 0 of [<overflow>]: size overflows 64 bits"
        );
    }

    #[test]
    fn json_is_a_list_of_sizes() {
        let shape = Shape::from(["tokens".parse().unwrap(), Dim::fixed(576)]);
        let json = serde_json::to_string(&shape).unwrap();
        assert_eq!(json, r#"["tokens",576]"#);
        assert_eq!(serde_json::from_str::<Shape>(&json).unwrap(), shape);
    }
}
