//! Methods: from a layer's activation and its gradient to a heatmap.

use crate::{
    abi::{
        CAMSCOPE_METHOD_KEEPS_PLACES, CAMSCOPE_OK, CamscopeBytesSink, CamscopeHost, CamscopeMethod,
        CamscopeMethodFactory,
    },
    boundary::{c_text, guarded, leak},
    onnx::Function,
};

/// A method.
pub trait Method: Send + Sync + 'static {
    /// What `--method` takes: a to z, 0 to 9, `-` and `_`.
    fn name(&self) -> &str;
    /// What it computes and who proposed it, in one line.
    fn about(&self) -> &str;
    /// Whether heat at a place comes of the gradient at that place. One that averages gradients over all places loses what lies at one of
    /// them: a box, a pixel, a character.
    fn keeps_places(&self) -> bool {
        false
    }
    /// The method, as a function of standard nodes. Its inputs are the layer's activation and the gradient of the score there, both float32
    /// `[N, C, H, W]`. Its output is the heatmap, float32 `[N, H, W]`, positive where there is evidence. A second output, which may be left
    /// out, is float32 `[N, C, H, W]` whose sum over the channels the heatmap is, for `--smooth eigen`.
    ///
    /// # Errors
    /// Why there is none, as a message for the user.
    fn build(&self) -> Result<Function, String>;
}

/// The factory of these methods.
#[doc(hidden)]
pub fn export(methods: Vec<Box<dyn Method>>) -> CamscopeMethodFactory {
    let item = |method: Box<dyn Method>| CamscopeMethod {
        struct_size: size_of::<CamscopeMethod>() as u32,
        flags: if method.keeps_places() { CAMSCOPE_METHOD_KEEPS_PLACES } else { 0 },
        name: c_text(method.name()),
        about: c_text(method.about()),
        data: Box::into_raw(Box::new(method)).cast(),
        build: Some(build),
    };
    let (count, items) = leak(methods.into_iter().map(item).collect());
    CamscopeMethodFactory { struct_size: size_of::<CamscopeMethodFactory>() as u32, count, items }
}

unsafe extern "C" fn build(
    item: *const CamscopeMethod,
    host: *const CamscopeHost,
    sink: *const CamscopeBytesSink,
) -> i32 {
    guarded(host, || {
        // SAFETY: `item` is one of `export`, whose data is a boxed trait object that is never freed.
        let method = unsafe { &*(*item).data.cast::<Box<dyn Method>>() };
        let bytes = method.build()?.to_bytes();
        // SAFETY: the host's struct is valid during the call.
        let write = unsafe { (*sink).write }.ok_or("the host takes no bytes")?;
        // SAFETY: the sink and the bytes are valid during the call.
        let status = unsafe { write(sink, bytes.as_ptr(), bytes.len()) };
        if status == CAMSCOPE_OK { Ok(()) } else { Err("camscope refuses the function".to_owned()) }
    })
}
