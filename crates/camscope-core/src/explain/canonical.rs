//! A layer's value of one image with its channels first, whatever its layout, and the way back.

use ndarray::{Array3, ArrayD, Axis, Ix3};

use crate::{
    error::{Error, Result},
    layer::Layout,
};

/// A value of one image as `[channels, height, width]`, all of space in a plane.
pub(super) fn canonical(value: ArrayD<f32>, layout: Layout) -> Result<Array3<f32>> {
    let one = value.index_axis_move(Axis(0), 0);
    let fail = |error: ndarray::ShapeError| Error::Value(error.to_string());
    match layout {
        Layout::Nchw => one.into_dimensionality::<Ix3>().map_err(fail),
        Layout::Nhwc => Ok(one.into_dimensionality::<Ix3>().map_err(fail)?.permuted_axes([2, 0, 1])),
        Layout::Ncl => one.insert_axis(Axis(1)).into_dimensionality::<Ix3>().map_err(fail),
        Layout::Ncdhw | Layout::Ndhwc => {
            let one = if layout == Layout::Ncdhw { one } else { one.permuted_axes(vec![3, 0, 1, 2]) };
            let one = one.into_dimensionality::<ndarray::Ix4>().map_err(fail)?;
            let (channels, depth, height, width) = one.dim();
            let plane = one.as_standard_layout().into_owned();
            plane.into_shape_with_order((channels, depth * height, width)).map_err(fail)
        }
        Layout::Tokens { prefix, height, width } => {
            let tokens = one.slice_axis(Axis(0), (prefix..prefix + height * width).into()).to_owned();
            let channels = tokens.len_of(Axis(1));
            let grid = tokens.reversed_axes().as_standard_layout().into_owned();
            grid.into_shape_with_order((channels, height, width)).map_err(fail)
        }
    }
}

/// The way back, a batch of one first; tokens that stand for no place are those of `own`.
pub(super) fn uncanonical(value: Array3<f32>, layout: Layout, own: &ArrayD<f32>) -> Result<ArrayD<f32>> {
    Ok(match layout {
        Layout::Nchw => value.insert_axis(Axis(0)).into_dyn(),
        Layout::Nhwc => value.permuted_axes([1, 2, 0]).insert_axis(Axis(0)).into_dyn(),
        Layout::Ncl => value.index_axis_move(Axis(1), 0).insert_axis(Axis(0)).into_dyn(),
        Layout::Ncdhw | Layout::Ndhwc => {
            let own = if layout == Layout::Ncdhw { own.view() } else { own.view().permuted_axes(vec![0, 4, 1, 2, 3]) };
            let value = value.as_standard_layout().into_owned().into_shape_with_order(own.shape());
            let value = value.map_err(|error| Error::Value(error.to_string()))?;
            if layout == Layout::Ncdhw { value } else { value.permuted_axes(vec![0, 2, 3, 4, 1]) }
        }
        Layout::Tokens { prefix, height, width } => {
            let mut all = own.clone();
            let channels = value.len_of(Axis(0));
            let tokens = value.as_standard_layout().into_owned().into_shape_with_order((channels, height * width));
            let tokens = tokens.map_err(|error| Error::Value(error.to_string()))?.reversed_axes();
            all.slice_axis_mut(Axis(1), (prefix..prefix + height * width).into())
                .index_axis_mut(Axis(0), 0)
                .assign(&tokens);
            all
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_go_to_channels_first_and_back() {
        let tokens = Layout::Tokens { prefix: 1, height: 2, width: 3 };
        for (layout, shape) in [
            (Layout::Nchw, vec![1, 4, 2, 3]),
            (Layout::Nhwc, vec![1, 2, 3, 4]),
            (Layout::Ncdhw, vec![1, 4, 2, 1, 3]),
            (Layout::Ndhwc, vec![1, 2, 1, 3, 4]),
            (tokens, vec![1, 7, 4]),
        ] {
            let count: usize = shape.iter().product();
            let value = ArrayD::from_shape_vec(shape, (0..count).map(|at| at as f32).collect()).unwrap();
            let found = canonical(value.clone(), layout).unwrap();
            assert_eq!(found.dim(), (4, 2, 3));
            let expected = match layout {
                Layout::Nchw => value[[0, 3, 1, 2]],
                Layout::Nhwc => value[[0, 1, 2, 3]],
                Layout::Ncdhw => value[[0, 3, 1, 0, 2]],
                Layout::Ndhwc => value[[0, 1, 0, 2, 3]],
                Layout::Ncl | Layout::Tokens { .. } => value[[0, 6, 3]],
            };
            assert_eq!(found[[3, 1, 2]], expected);
            assert_eq!(uncanonical(found, layout, &value).unwrap(), value);
        }
    }
}
