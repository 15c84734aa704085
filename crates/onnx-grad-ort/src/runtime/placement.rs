//! On which execution providers a session's operators were put.

use std::ffi::CStr;

use ort::AsPointer;

/// The option that has a session remember it.
pub(super) const RECORD: (&str, &str) = ("session.record_ep_graph_assignment_info", "1");

/// How many operators of a session its provider runs. ONNX Runtime gives those that a provider has no kernel for to the
/// CPU without a word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Placement {
    /// Operators on the session's provider.
    pub on_provider: usize,
    /// Operators elsewhere, mostly on the CPU.
    pub elsewhere: usize,
}

/// Counts the operators of a session that was made with [`RECORD`]. `name` is ONNX Runtime's name of the provider.
pub(super) fn count(session: &ort::session::Session, name: &str) -> Result<Placement, ort::Error> {
    let api = ort::api();
    let check = |status| {
        // SAFETY: the status comes from a function of the interface, and is given up here.
        unsafe { ort::Error::result_from_status(status) }
    };
    let mut placement = Placement::default();
    let (mut parts, mut part_count) = (std::ptr::null(), 0);
    // SAFETY: the session lives; what is written belongs to it and lives as long.
    check(unsafe { (api.Session_GetEpGraphAssignmentInfo)(session.ptr(), &mut parts, &mut part_count) })?;
    for i in 0..part_count {
        let (mut provider, mut nodes, mut node_count) = (std::ptr::null(), std::ptr::null(), 0);
        // SAFETY: `parts` holds `part_count` pointers; what is written belongs to the session, the name ends with a zero.
        let is_ours = unsafe {
            let part = *parts.add(i);
            check((api.EpAssignedSubgraph_GetEpName)(part, &mut provider))?;
            check((api.EpAssignedSubgraph_GetNodes)(part, &mut nodes, &mut node_count))?;
            CStr::from_ptr(provider.cast()).to_bytes() == name.as_bytes()
        };
        *(if is_ours { &mut placement.on_provider } else { &mut placement.elsewhere }) += node_count;
    }
    Ok(placement)
}
