//! Tells scalars from tensors of unknown rank among a session's outputs: the binding has no axes for either.

use ort::AsPointer;

/// For each output, whether its rank is known.
pub(super) fn ranked(session: &ort::session::Session) -> Vec<bool> {
    (0..session.outputs().len()).map(|at| is_ranked(session, at)).collect()
}

fn is_ranked(session: &ort::session::Session, at: usize) -> bool {
    let api = ort::api();
    let mut info = std::ptr::null_mut();
    // SAFETY: the session lives and has such an output; what is written is released below.
    let status =
        unsafe { ort::Error::result_from_status((api.SessionGetOutputTypeInfo)(session.ptr(), at, &mut info)) };
    if status.is_err() || info.is_null() {
        return false;
    }
    let mut tensor = std::ptr::null();
    // SAFETY: the information lives until it is released; what is written belongs to it, and is null for what is no tensor.
    unsafe {
        let status = ort::Error::result_from_status((api.CastTypeInfoToTensorInfo)(info, &mut tensor));
        let ranked = status.is_ok() && !tensor.is_null() && (api.TensorTypeAndShape_HasShape)(tensor);
        (api.ReleaseTypeInfo)(info);
        ranked
    }
}
