//! What goes over the wire.

use camscope_tui::graphics::Protocol;

use crate::double::{Rig, start};

fn rig(protocol: Protocol) -> Rig {
    let mut rig = Rig::with((120, 40), protocol, start(&["cat.jpg"]));
    rig.settle();
    rig
}

/// Bytes from a key until nothing changes any more.
fn cost(rig: &mut Rig, keys: &str) -> u64 {
    rig.settle();
    let before = rig.explorer.session().written();
    rig.keys(keys).settle();
    rig.frame();
    rig.explorer.session().written() - before
}

#[test]
fn a_frame_without_news_is_next_to_nothing() {
    for protocol in [Protocol::Kitty, Protocol::Sixel, Protocol::Iterm2, Protocol::HalfBlocks] {
        let mut rig = rig(protocol);
        rig.frame();
        let bytes = rig.frame();
        assert!(bytes < 64, "{protocol:?}: {bytes}");
    }
}

#[test]
fn a_frame_without_news_computes_nothing_again() {
    let mut rig = Rig::deep((120, 40), Protocol::HalfBlocks);
    rig.settle();
    let before = rig.explorer.state().remembered.computed();
    for _ in 0..5 {
        rig.frame();
        rig.settle();
    }
    assert_eq!(rig.explorer.state().remembered.computed(), before);
    let rows = camscope_tui::tree::rows(rig.explorer.state());
    // What they depend on: the fold of a group, the layer, the filter, heat that has come.
    rig.key("backtab");
    rig.settle();
    assert_ne!(camscope_tui::tree::rows(rig.explorer.state()), rows);
    let before = rig.explorer.state().heat_shares();
    rig.keys("right").settle();
    assert_eq!(rig.explorer.state().heat_shares().len(), before.len());
    assert!(!std::sync::Arc::ptr_eq(&rig.explorer.state().heat_shares(), &before));
}

#[test]
fn moving_in_a_list_that_changes_no_picture_sends_none() {
    for protocol in [Protocol::Kitty, Protocol::Sixel, Protocol::Iterm2, Protocol::HalfBlocks] {
        let mut rig = rig(protocol);
        cost(&mut rig, "3");
        let bytes = cost(&mut rig, "up");
        assert!(bytes < 2500, "{protocol:?}: {bytes}");
    }
}

#[test]
fn going_back_to_a_picture_that_kitty_holds_sends_no_pixels() {
    let mut rig = rig(Protocol::Kitty);
    let there = cost(&mut rig, "right");
    let back = cost(&mut rig, "left");
    assert!(there > 3 * back, "{there} {back}");
    assert!(back < 2500, "{back}");
}
