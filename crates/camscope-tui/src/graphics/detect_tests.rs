//! What is chosen, from the answers of terminals.

use super::*;

/// The choice for a terminal that answers `answer`, with these environment variables.
fn screen_of(answer: &[u8], variables: &[(&str, &str)]) -> Screen {
    in_tmux(answer, variables, None, &Overrides::default())
}

fn in_tmux(answer: &[u8], variables: &[(&str, &str)], tmux: Option<(bool, &str)>, overrides: &Overrides) -> Screen {
    let env = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
    let tmux = tmux.map(|(passthrough, terminal)| Tmux { passthrough, terminal: terminal.to_owned() });
    let window = Some(Window { cells: (80, 24), pixels: (0, 0) });
    choose(&Situation { answer: answer::parse(answer), tmux, window, overrides, env: &env })
}

/// kitty 0.42.
const KITTY: &[u8] = b"\x1b_Gi=31;OK\x1b\\\x1b[6;20;9t\x1b[4;800;1080t\x1bP>|kitty(0.42.1)\x1b\\\x1b]11;rgb:1e1e/2020/3030\x1b\\\x1b[?62;52;c";
/// tmux 3.4 built without sixel.
const TMUX: &[u8] = b"\x1bP>|tmux 3.4\x1b\\\x1b[?1;2c";
/// tmux 3.4 with sixel, in a terminal that has it.
const TMUX_SIXEL: &[u8] = b"\x1b[6;16;8t\x1bP>|tmux 3.4\x1b\\\x1b]11;rgb:0000/0000/0000\x1b\\\x1b[?1;2;4c";

#[test]
fn kitty() {
    let screen = screen_of(KITTY, &[("TERM", "xterm-kitty"), ("COLORTERM", "truecolor")]);
    assert_eq!(screen.protocol, Protocol::Kitty);
    assert_eq!((screen.cell, screen.cell_known), ((9, 20), true));
    assert_eq!(screen.background, Some([0x1e, 0x20, 0x30]));
    assert!(screen.truecolor && !screen.tmux && !screen.is_light());
    assert_eq!(screen.notes, [""; 0]);
}

#[test]
fn ghostty() {
    let answer = b"\x1b_Gi=31;OK\x1b\\\x1b[6;34;16t\x1b[4;1360;2560t\x1bP>|ghostty 1.1.3\x1b\\\x1b]11;rgb:ffff/ffff/ffff\x1b\\\x1b[?62;22c";
    let screen = screen_of(answer, &[("TERM", "xterm-ghostty")]);
    assert_eq!((screen.protocol, screen.cell), (Protocol::Kitty, (16, 34)));
    assert!(screen.truecolor && screen.is_light());
}

#[test]
fn foot() {
    let answer = b"\x1b[6;21;9t\x1b[4;1008;1440t\x1b[?2;0;10000;10000S\x1bP>|foot(1.20.2)\x1b\\\x1b]11;rgb:2424/2424/2424\x1b\\\x1b[?62;4;22;28;29c";
    let screen = screen_of(answer, &[("TERM", "foot"), ("COLORTERM", "truecolor")]);
    assert_eq!((screen.protocol, screen.cell), (Protocol::Sixel, (9, 21)));
    assert_eq!(screen.sixel_limit, Some((10000, 10000)));
}

#[test]
fn xterm_as_a_vt340() {
    // It answers CSI 14 t only where allowWindowOps is set.
    let answer =
        b"\x1b[?2;0;1000;1000S\x1bP>|XTerm(379)\x1b\\\x1b]11;rgb:0000/0000/0000\x1b\\\x1b[?63;1;2;4;6;9;15;16;22;28c";
    let screen = screen_of(answer, &[("TERM", "xterm-256color")]);
    assert_eq!((screen.protocol, screen.cell, screen.cell_known), (Protocol::Sixel, USUAL_CELL, false));
    assert_eq!(screen.sixel_limit, Some((1000, 1000)));
    // It hides COLORTERM from its programs. Old ones do not know such colours, and tmux asks its own terminal.
    assert!(screen.truecolor);
    let of = |answer: &[u8], variables: &[(&str, &str)]| screen_of(answer, variables).truecolor;
    assert!(!of(b"\x1bP>|XTerm(330)\x1b\\\x1b[?63;1;2c", &[("TERM", "xterm")]));
    assert!(!of(b"\x1bP>|XTerm(379)\x1b\\\x1b[?63;1;2c", &[("TERM", "screen"), ("TMUX", "/tmp/tmux")]));
    insta::assert_snapshot!(screen.notes.join("\n"), @"the terminal doesn't tell its font's size: if pictures don't fit, try --font-size WxH");
    // As a VT420 it has no sixel.
    let screen = screen_of(b"\x1b[?64;1;2;6;9;15;16;17;18;21;22;28c", &[("TERM", "xterm-256color")]);
    assert_eq!(screen.protocol, Protocol::HalfBlocks);
    assert_eq!(screen.notes, [""; 0]);
}

#[test]
fn wezterm() {
    let answer = b"\x1b_Gi=31;OK\x1b\\\x1b[6;22;10t\x1b[4;528;800t\x1bP>|WezTerm 20240203-110809-5046fc22\x1b\\\x1b]11;rgb:0000/0000/0000\x1b\\\x1b[?65;4;6;18;22c";
    assert_eq!(screen_of(answer, &[("TERM", "xterm-256color")]).protocol, Protocol::Kitty);
    // By default its kitty protocol is off.
    let screen = screen_of(&answer[12..], &[("TERM", "xterm-256color"), ("TERM_PROGRAM", "WezTerm")]);
    assert_eq!(screen.protocol, Protocol::Iterm2);
    assert!(screen.truecolor);
}

#[test]
fn konsole() {
    let answer = b"\x1b_Gi=31;OK\x1b\\\x1b[6;17;8t\x1b[4;408;640t\x1bP>|Konsole 24.12.0\x1b\\\x1b]11;rgb:2323/2626/2727\x1b\\\x1b[?62;1;4c";
    assert_eq!(screen_of(answer, &[("TERM", "xterm-256color")]).protocol, Protocol::Kitty);
}

#[test]
fn iterm2_here_and_over_ssh() {
    let answer =
        b"\x1b[4;600;1000t\x1bP>|iTerm2 3.5.10\x1b\\\x1b]11;rgb:0000/0000/0000\x07\x1b[?64;1;2;4;6;17;18;21;22c";
    let screen = screen_of(answer, &[("TERM", "xterm-256color")]);
    assert_eq!((screen.protocol, screen.cell), (Protocol::Iterm2, (12, 25)));
    assert!(screen.truecolor);
    for (name, value) in [("TERM_PROGRAM", "iTerm.app"), ("LC_TERMINAL", "iTerm2"), ("TERM_PROGRAM", "mintty")] {
        assert_eq!(screen_of(b"\x1b[?62;4c", &[("TERM", "xterm"), (name, value)]).protocol, Protocol::Iterm2);
    }
}

#[test]
fn vs_code() {
    let answer = b"\x1bP>|xterm.js(5.6.0)\x1b\\\x1b]11;rgb:1818/1818/1818\x1b\\\x1b[?62;4;9;22c";
    let screen =
        screen_of(answer, &[("TERM", "xterm-256color"), ("TERM_PROGRAM", "vscode"), ("COLORTERM", "truecolor")]);
    assert_eq!(screen.protocol, Protocol::Iterm2);
}

#[test]
fn nothing_is_answered() {
    // mosh answers the device attributes only, some nothing at all.
    for answer in [b"\x1b[?62;c".as_slice(), b""] {
        let screen = screen_of(answer, &[("TERM", "xterm-256color")]);
        assert_eq!(screen, Screen { truecolor: false, ..Screen::new(Protocol::HalfBlocks) });
    }
    let terminal = screen_of(b"\x1b[?1;2c", &[("TERM", "xterm-256color"), ("TERM_PROGRAM", "Apple_Terminal")]);
    assert_eq!(terminal.protocol, Protocol::HalfBlocks);
}

#[test]
fn tmux_with_and_without_passthrough() {
    let variables = [("TERM", "tmux-256color"), ("TERM_PROGRAM", "tmux"), ("COLORTERM", "truecolor")];
    let auto = Overrides::default();
    let choose = |answer: &[u8], tmux| in_tmux(answer, &variables, Some(tmux), &auto);
    let through = [b"\x1b_Gi=31;OK\x1b\\", TMUX].concat();

    let screen = choose(&through, (true, "kitty(0.42.1) xterm-kitty"));
    assert_eq!((screen.protocol, screen.tmux), (Protocol::KittyPlaceholders, true));
    // A line too slow for the answer, and a terminal that tmux doesn't know.
    assert_eq!(choose(TMUX, (true, "ghostty 1.1.3 xterm-ghostty")).protocol, Protocol::KittyPlaceholders);
    assert_eq!(choose(&through, (true, "xterm-256color")).protocol, Protocol::KittyPlaceholders);
    // No placeholders there.
    assert_eq!(choose(&through, (true, "kitty(0.26.5) xterm-kitty")).protocol, Protocol::HalfBlocks);
    assert_eq!(choose(&through, (true, "Konsole 24.12.0 xterm-256color")).protocol, Protocol::HalfBlocks);
    let screen = choose(&through, (true, "WezTerm 20240203 xterm-256color"));
    assert_eq!((screen.protocol, screen.tmux), (Protocol::Iterm2, true));

    let screen = choose(TMUX, (false, "kitty(0.42.1) xterm-kitty"));
    assert_eq!((screen.protocol, screen.tmux), (Protocol::HalfBlocks, false));
    insta::assert_snapshot!(
        screen.notes.join("\n"),
        @"`tmux set -g allow-passthrough on` shows pictures in full: tmux hides the terminal's graphics"
    );
    let screen = choose(TMUX_SIXEL, (false, "foot(1.20.2) foot"));
    assert_eq!((screen.protocol, screen.tmux, screen.cell), (Protocol::Sixel, false, (8, 16)));
    assert_eq!(screen.notes, [""; 0]);
    assert_eq!(choose(TMUX_SIXEL, (false, "ghostty 1.1.3 xterm-ghostty")).notes, [TMUX_HIDES]);
    assert_eq!(choose(TMUX_SIXEL, (true, "foot(1.20.2) foot")).notes, [""; 0]);
}

#[test]
fn a_late_answer_changes_the_protocol() {
    let mut screen = screen_of(b"", &[("TERM", "xterm-256color")]);
    let auto = Overrides::default();
    assert!(!screen.learn("\x1b]11;rgb:ff/ff/ff\x1b\\", &auto));
    assert!(screen.is_light());
    let asked = Overrides { graphics: Some(GraphicsChoice::HalfBlocks), ..auto };
    assert!(!screen.learn("\x1b_Gi=31;OK\x1b\\", &asked));
    assert!(screen.learn("\x1b_Gi=31;OK\x1b\\", &auto));
    assert_eq!(screen.protocol, Protocol::Kitty);
    assert!(!screen.learn("\x1b_Gi=31;OK\x1b\\", &auto));
}

#[test]
fn gnu_screen_has_half_blocks() {
    for variables in [[("TERM", "screen.xterm-256color"), ("X", "")], [("TERM", "xterm"), ("STY", "1.pts-0")]] {
        let screen = screen_of(b"\x1b_Gi=31;OK\x1b\\\x1b[?1;2;4c", &variables);
        assert_eq!(screen.protocol, Protocol::HalfBlocks);
    }
    // What its terminal says of colours is not what it takes.
    for variables in [[("TERM", "screen"), ("COLORTERM", "truecolor")], [("STY", "1"), ("COLORTERM", "24bit")]] {
        assert!(!screen_of(b"", &variables).truecolor);
    }
    let variables = [("TERM", "screen-256color"), ("TMUX", "/tmp/tmux"), ("COLORTERM", "truecolor")];
    assert!(in_tmux(TMUX, &variables, Some((false, "xterm-256color")), &Overrides::default()).truecolor);
}

#[test]
fn no_color_has_no_half_blocks() {
    let variables = [("TERM", "xterm"), ("NO_COLOR", "1")];
    let screen = screen_of(b"\x1b[?1;2c", &variables);
    assert_eq!(screen.protocol, Protocol::None);
    insta::assert_snapshot!(
        screen.notes.join("\n"),
        @"NO_COLOR is set, so there are no pictures; --graphics halfblocks draws them anyway"
    );
    assert_eq!(screen_of(KITTY, &variables).protocol, Protocol::Kitty);
    let asked = Overrides { graphics: Some(GraphicsChoice::HalfBlocks), ..Overrides::default() };
    let screen = in_tmux(b"", &variables, None, &asked);
    assert_eq!((screen.protocol, screen.notes.len()), (Protocol::HalfBlocks, 0));
}

#[test]
fn the_user_has_the_last_word() {
    let overrides = |graphics| Overrides { graphics: Some(graphics), font_size: Some((7, 15)) };
    let screen = in_tmux(KITTY, &[("TERM", "xterm-kitty")], None, &overrides(GraphicsChoice::Sixel));
    assert_eq!((screen.protocol, screen.cell, screen.cell_known), (Protocol::Sixel, (7, 15), true));
    let screen = in_tmux(TMUX, &[], Some((false, "")), &overrides(GraphicsChoice::Kitty));
    assert_eq!((screen.protocol, screen.tmux), (Protocol::KittyPlaceholders, true));
    assert_eq!(screen.notes, [TMUX_HIDES]);
    let screen = in_tmux(TMUX, &[], Some((false, "")), &overrides(GraphicsChoice::HalfBlocks));
    assert_eq!((screen.tmux, screen.notes.len()), (false, 0));
}

#[test]
fn a_cell_is_measured_by_the_driver_where_the_terminal_says_nothing() {
    let env = |_: &str| None;
    let window = Some(Window { cells: (100, 50), pixels: (800, 850) });
    let situation =
        Situation { answer: Answer::default(), tmux: None, window, overrides: &Overrides::default(), env: &env };
    let screen = choose(&situation);
    assert_eq!((screen.cell, screen.cell_known), ((8, 17), true));
    assert_eq!(cell_of((800, 850), (0, 0)), None);
}

#[test]
fn over_ssh_pictures_have_a_budget() {
    assert_eq!(screen_of(KITTY, &[("TERM", "xterm-kitty")]).pixel_budget, None);
    let screen = screen_of(KITTY, &[("TERM", "xterm-kitty"), ("SSH_CONNECTION", "10.0.0.1 50000 10.0.0.2 22")]);
    assert_eq!(screen.pixel_budget, Some(REMOTE_PIXELS));
}
