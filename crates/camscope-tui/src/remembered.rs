//! What follows from the state and takes time for a model of many layers: kept until what it depends on is another.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    sync::Arc,
};

use crate::{
    engine::{HeatKey, ModelInfo},
    state::{LayerState, State},
    tree::Row,
};

/// A layer's share of the heat, by its number.
pub type Shares = Arc<HashMap<usize, f32>>;

/// What was computed last.
#[derive(Default)]
pub struct Remembered {
    rows: RefCell<Option<(RowsOf, Arc<[Row]>)>>,
    shares: RefCell<Option<(SharesOf, Shares)>>,
    inside: RefCell<Option<(HeatKey, Option<f32>)>>,
    computed: Cell<usize>,
}

/// What the rows of the list of layers depend on.
struct RowsOf {
    model: Arc<ModelInfo>,
    filter: String,
    folds: HashMap<usize, bool>,
    layer: usize,
    layers: Vec<LayerState>,
}

/// What the shares of the heat depend on: the model, what is shown, and which heatmaps are there.
#[derive(PartialEq)]
struct SharesOf(*const ModelInfo, Option<HeatKey>, u64);

impl Remembered {
    /// The rows of the list of layers.
    pub(crate) fn rows(&self, state: &State, compute: impl FnOnce(&ModelInfo) -> Vec<Row>) -> Arc<[Row]> {
        let Some(model) = &state.model else { return Arc::default() };
        if let Some((of, rows)) = &*self.rows.borrow()
            && Arc::ptr_eq(&of.model, model)
            && of.layer == state.layer
            && of.filter == state.filter
            && of.folds == state.folds
            && of.layers == state.layers
        {
            return Arc::clone(rows);
        }
        self.computed.set(self.computed.get() + 1);
        let rows: Arc<[Row]> = compute(model).into();
        let of = RowsOf {
            model: Arc::clone(model),
            filter: state.filter.clone(),
            folds: state.folds.clone(),
            layer: state.layer,
            layers: state.layers.clone(),
        };
        *self.rows.borrow_mut() = Some((of, Arc::clone(&rows)));
        rows
    }

    /// The layers' shares of the heat.
    pub(crate) fn shares(&self, state: &State, compute: impl FnOnce() -> HashMap<usize, f32>) -> Shares {
        let model = state.model.as_ref().map_or(std::ptr::null(), Arc::as_ptr);
        // The layer that is shown is none of what they depend on.
        let key = state.current_key().map(|key| HeatKey { layer: 0, ..key });
        let of = SharesOf(model, key, state.heats.generation());
        if let Some((known, shares)) = &*self.shares.borrow()
            && *known == of
        {
            return Arc::clone(shares);
        }
        self.computed.set(self.computed.get() + 1);
        let shares = Arc::new(compute());
        *self.shares.borrow_mut() = Some((of, Arc::clone(&shares)));
        shares
    }

    /// The share of a heatmap that lies in its box.
    pub(crate) fn inside(&self, key: HeatKey, compute: impl FnOnce() -> Option<f32>) -> Option<f32> {
        if let Some((known, share)) = &*self.inside.borrow()
            && *known == key
        {
            return *share;
        }
        self.computed.set(self.computed.get() + 1);
        let share = compute();
        *self.inside.borrow_mut() = Some((key, share));
        share
    }

    /// How often something had to be computed.
    pub fn computed(&self) -> usize {
        self.computed.get()
    }
}
