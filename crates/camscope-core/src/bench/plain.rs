//! The model as a bare ONNX Runtime program runs it: the file as it is, all outputs, nothing of camscope's.

use ndarray::{ArrayD, Axis, concatenate};

use crate::{
    error::{Error, Result},
    runtime::{Session, Value},
};

/// A session straight from a model's file, with its input.
pub struct Plain {
    session: Session,
    picture: Value,
}

impl Plain {
    /// The session with a prepared image, `tensor` as the model takes it, a batch of one first.
    ///
    /// # Errors
    /// The model has no input, or one of a type that numbers can't be converted to.
    pub fn new(session: Session, tensor: &ArrayD<f32>) -> Result<Self> {
        let input = session.inputs().first().ok_or_else(|| Error::Value("the model has no input".into()))?;
        let copies = input.shape.first().copied().flatten().unwrap_or(1);
        let views = vec![tensor.view(); copies];
        let all = concatenate(Axis(0), &views).map_err(|error| Error::Value(error.to_string()))?;
        let picture = Value::from_f32_as(all, input.elem)?;
        Ok(Self { session, picture })
    }

    /// A tensor as the model takes it.
    ///
    /// # Errors
    /// The input is of a type that numbers can't be converted to.
    pub(super) fn value(&self, tensor: ArrayD<f32>) -> Result<Value> {
        let input = self.session.inputs().first().ok_or_else(|| Error::Value("the model has no input".into()))?;
        Ok(Value::from_f32_as(tensor, input.elem)?)
    }

    /// The session: it says on which provider it runs.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// One run.
    ///
    /// # Errors
    /// The runtime's.
    pub fn run(&self) -> Result<()> {
        self.run_on(&self.picture)
    }

    pub(super) fn run_on(&self, input: &Value) -> Result<()> {
        let name = self.session.inputs().first().map_or("", |input| input.name.as_str());
        Ok(self.session.run(&[(name, input)]).map(drop)?)
    }
}
